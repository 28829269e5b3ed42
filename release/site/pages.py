"""Reads the package and the tree, and writes every generated reference page.

The only module of the site that imports the package; whoever calls it has it on the path.
"""

import importlib
import inspect
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from release.site import code, errors, lua, messages

__all__ = ["FOLDER", "PACKAGE", "generate", "public_names", "write"]

PACKAGE = "tta_agent_coordination"
FOLDER = "docs/reference/generated"
"""Ignored by git: the pages are made anew by every build."""

BESIDE = ("testing", "exporters.prometheus", "exporters.otel")
"""Public modules that the package root does not import."""

ADAPTERS = {"PrometheusMetrics": "prometheus", "OpenTelemetryMetrics": "otel"}
"""Class -> module below `exporters` that says in a table what it exports."""


def generate(root: Path) -> dict[str, str]:
    """File name -> Markdown, of every generated page."""
    headers = [
        lua.read_header(path.stem, path.read_text(encoding="utf-8"))
        for path in sorted((root / "src" / PACKAGE / "_redis" / "lua").glob("*.lua"))
    ]
    return {
        "api.md": code.api_page(public_names()),
        "errors.md": _errors(root),
        "keys.md": lua.keys_page(list(_patterns()), headers),
        "metrics.md": code.metrics_page(
            {
                name: (root / "src" / PACKAGE / "exporters" / f"{module}.py").read_text(encoding="utf-8")
                for name, module in ADAPTERS.items()
            }
        ),
        "scripts.md": lua.scripts_page(headers),
        "sessions.md": code.sessions_page((root / "noxfile.py").read_text(encoding="utf-8")),
    }


def write(root: Path) -> list[Path]:
    """Write every page below `FOLDER`, and leave alone what is there already with the same text."""
    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for name, text in generate(root).items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8", newline="\n")
        written.append(path)
    return written


def _errors(root: Path) -> str:
    package = root / "src" / PACKAGE
    raised: list[messages.Raised] = []
    logged: list[messages.Logged] = []
    said: list[messages.Said] = []
    findings: list[messages.Stated] = []
    kinds: list[messages.Stated] = []
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        module = ".".join(part for part in parts if part != "__init__") or PACKAGE
        source = path.read_text(encoding="utf-8")
        raised += messages.raised_in(module, source)
        logged += messages.logged_in(module, source)
        said += messages.said_in(module, source)
        findings += messages.findings_in(source)
        kinds += messages.kinds_in(source)
    problems = [
        each
        for path in sorted((root / "release").rglob("*.py"))
        for each in messages.problems_in(path.read_text(encoding="utf-8"))
    ]
    return errors.errors_page(
        raised=raised, logged=logged, said=said, findings=findings, kinds=kinds, problems=problems
    )


def public_names() -> dict[str, list[tuple[str, str]]]:
    """Module that defines them -> public names, classes and functions, with autodoc's word for each.

    The order of modules and names is the alphabet's.
    """
    found: dict[str, list[tuple[str, str]]] = {}
    modules = [
        PACKAGE,
        *(f"{PACKAGE}.{name}" for name in BESIDE if find_spec(f"{PACKAGE}.{name}") is not None),
    ]
    for module in map(importlib.import_module, modules):
        for name in sorted({*module.__all__} - {"__version__"}):
            value = getattr(module, name)
            if not inspect.isclass(value) and not inspect.isfunction(value):
                continue
            word = "function"
            if inspect.isclass(value):
                word = "exception" if issubclass(value, BaseException) else "class"
            entry = (value.__name__, word)
            names = found.setdefault(value.__module__, [])
            if entry not in names:
                names.append(entry)
    return {module: sorted(names) for module, names in sorted(found.items())}


def _patterns() -> Iterator[tuple[str, str, str]]:
    """What owns a key, the key, and the key with hash tags, as `_keys` makes them."""
    keys: Any = importlib.import_module(f"{PACKAGE}._keys")
    models: Any = importlib.import_module(f"{PACKAGE}.models")
    agent = models.AgentId(type="world_builder", instance="main")
    plain, tagged = (keys.inbox("ao", agent, hash_tags=tags) for tags in (False, True))
    yield from _fields("inbox", plain, tagged)
    lane: Callable[[Any], bytes] = lambda box: keys.lane(box, "OWNER", 0)  # noqa: E731 - two of a kind
    yield "lane", lane(plain).decode(), lane(tagged).decode()
    known = [keys.dedup(box, "order-7").decode() for box in (plain, tagged)]
    yield "idempotency key", known[0], known[1]
    for owner, key in (
        ("all inboxes", keys.inboxes_index("ao")),
        ("subscribers of a type", keys.subscribers_index("ao", "event")),
        ("all breakers", keys.breaker_registry("ao")),
    ):
        yield owner, key.decode(), key.decode()
    breakers = [keys.breaker("ao", "payments", hash_tags=tags) for tags in (False, True)]
    yield from _fields("breaker", breakers[0], breakers[1])


def _fields(owner: str, plain: object, tagged: object) -> Iterator[tuple[str, str, str]]:
    """Every key among the fields of two objects of one kind."""
    for name in sorted(vars(type(plain))["__dataclass_fields__"]):
        value, braced = getattr(plain, name), getattr(tagged, name)
        if isinstance(value, bytes):
            yield f"{owner}, {name.replace('_', ' ')}", value.decode(), bytes(braced).decode()
