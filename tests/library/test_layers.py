"""The map: a module imports only from layers above its own, and few may import redis."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

ROOT = Path(str(files("tta_agent_coordination")))

LAYERS: list[tuple[str, ...]] = [
    ("models",),
    ("messaging",),
    ("interfaces", "exceptions", "metrics"),
    (
        "_keys",
        "_clock",
        "_codec",
        "_numbers",
        "resilience._breaker_state",
        "resilience._backoff",
        "registries._liveness",
        "registries._restart",
        "registries._capabilities",
        "registries._entries",
    ),
    ("_redis",),
    ("coordinators", "registries", "resilience"),
    ("worker", "doctor", "cli", "exporters", "__main__"),
]
"""From the inside out; within a layer, modules may import each other."""

MAY_IMPORT_REDIS = ("_redis", "coordinators", "registries", "resilience", "testing")
PURE = LAYERS[3]
OUTSIDE = ("testing", "adopt", "")
"""What stands beside the layers: the helpers for users' tests, the tools for TTA, the package root."""


def modules() -> dict[str, Path]:
    """Return every module of the package, by its name below the root; the root itself is ''."""
    found: dict[str, Path] = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = list(path.relative_to(ROOT).with_suffix("").parts)
        if parts[-1] == "__init__":
            parts.pop()
        found[".".join(parts)] = path
    return found


MODULES = modules()


def imports(path: Path) -> Iterator[str]:
    """Return the absolute names that a module imports, those for the type checker included."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def inside(name: str) -> str | None:
    """Return the module below the package root that an imported name belongs to; None for somebody else's."""
    package, _, rest = name.partition(".")
    if package != "tta_agent_coordination":
        return None
    while rest and rest not in MODULES:
        rest = rest.rpartition(".")[0]
    return rest


def belongs(name: str, group: tuple[str, ...]) -> bool:
    """Tell whether a module is one of a group, or inside one."""
    return any(name == member or (member and name.startswith(f"{member}.")) for member in group)


def layer_of(name: str) -> int | None:
    """Return the number of a module's layer; the more exact name wins, None stands beside the layers."""
    exact = [number for number, group in enumerate(LAYERS) if name in group]
    inner = [number for number, group in enumerate(LAYERS) if belongs(name, group)]
    return (exact or inner or [None])[0]


@pytest.mark.parametrize("name", MODULES)
def test_module_has_a_place_in_the_map(name: str) -> None:
    """Broken: a module that the map does not know has no rule to keep."""
    assert layer_of(name) is not None or belongs(name, OUTSIDE)


@pytest.mark.parametrize("name", [name for name in MODULES if layer_of(name) is not None])
def test_module_imports_only_from_above(name: str) -> None:
    """Broken: an import from below makes two modules know each other."""
    own = layer_of(name)
    assert own is not None
    for imported in imports(MODULES[name]):
        target = inside(imported)
        if target is None or target == name:
            continue
        layer = layer_of(target)
        assert layer is not None, f"{name} imports {target!r}, which stands outside the layers"
        assert layer <= own, f"{name} imports {target} from a layer below its own"


@pytest.mark.parametrize("name", [name for name in MODULES if not belongs(name, MAY_IMPORT_REDIS)])
def test_module_does_not_import_redis(name: str) -> None:
    """Broken: redis is spoken in a few places only."""
    assert not [imported for imported in imports(MODULES[name]) if imported.split(".")[0] == "redis"]


@pytest.mark.parametrize("name", [name for name in MODULES if belongs(name, PURE)])
def test_pure_module_imports_no_loop_and_no_network(name: str) -> None:
    """Broken: what is pure can be tested without a server and without a loop."""
    assert not {imported.split(".")[0] for imported in imports(MODULES[name])} & {
        "redis",
        "asyncio",
        "socket",
    }


def test_nothing_imports_the_adoption_tools() -> None:
    """Broken: the tools that move TTA over stand beside the library."""
    for name, path in MODULES.items():
        if not belongs(name, ("adopt",)):
            assert not [
                imported for imported in imports(path) if (inside(imported) or "").startswith("adopt")
            ]


def test_adoption_tools_import_nothing_of_the_library() -> None:
    """Broken: a tool that only reads files needs a Redis client, and the two can no longer move apart."""
    for name, path in MODULES.items():
        if belongs(name, ("adopt",)):
            targets = {inside(imported) for imported in imports(path)} - {None}
            assert all(belongs(target or "", ("adopt",)) for target in targets), name


def test_package_root_imports_neither_testing_nor_extras() -> None:
    """Broken: importing the package must not need fakeredis, nor any other extra."""
    roots = {imported.split(".")[0] for imported in imports(MODULES[""])}
    assert not roots & {"fakeredis", "prometheus_client", "opentelemetry", "click", "typer"}
    assert not [imported for imported in imports(MODULES[""]) if inside(imported) == "testing"]


@pytest.mark.parametrize("name", MODULES)
def test_module_stays_readable(name: str) -> None:
    """Broken: at 600 lines it is two modules; without a docstring nobody knows what it owns."""
    text = MODULES[name].read_text("utf-8")
    assert len(text.splitlines()) < 600
    assert ast.get_docstring(ast.parse(text))
