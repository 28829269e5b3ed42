"""Where a workspace takes this package from: a commit in git until it is on PyPI, then a version.

Pure: the text of a pyproject.toml in, its new text out. Also names the files of TTA's own copies that go.
"""

from collections.abc import Collection, Iterator
from typing import Any

import tomlkit
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from tta_agent_coordination.adopt.tables import BOM, at, is_a, table

__all__ = ["NAME", "leftovers", "taken_from_git", "taken_from_pypi"]

NAME = "tta-agent-coordination"
_GIT = "https://github.com/theinterneti/tta-agent-coordination"
_FIRST = ">=0.1.0"

_COPIES = ("src/agent_orchestration", "packages/tta-ai-framework/src/tta_ai/orchestration")
"""Where v0 lives in TTA, twice."""
_MOVED = (
    "messaging.py",
    "interfaces.py",
    "metrics.py",
    "coordinators/redis_message_coordinator.py",
    "registries/redis_agent_registry.py",
    "circuit_breaker.py",
    "circuit_breaker_metrics.py",
)
_HALVES = ("models.py", "adapters.py", "agents.py")
"""What keeps a half of TTA's own."""


def taken_from_git(text: str, rev: str) -> str:
    """Require the package, with a commit of its repository as the source; again changes nothing.

    Args:
        text: A pyproject.toml with a [project].
        rev: The commit or tag.

    Raises:
        ValueError: If there is no [project] to declare it in, or no table where one belongs.
    """
    document: Any = tomlkit.parse(text.removeprefix(BOM))
    _require(document, NAME)
    sources = document
    for key in ("tool", "uv", "sources"):
        if key not in sources:
            sources[key] = tomlkit.table()
        sources = sources[key]
        if not is_a(dict, sources):
            raise ValueError(f"`{key}` on the way to [tool.uv.sources] is no table; correct it")
    wanted = {"git": _GIT, "rev": rev}
    key = _key(sources)
    if sources.get(key) != wanted:
        sources[key] = tomlkit.inline_table()
        for word, value in wanted.items():
            sources[key][word] = value
    return text[: text.startswith(BOM)] + tomlkit.dumps(document)


def taken_from_pypi(text: str) -> str:
    """Require the package from its first release on, without a source; again changes nothing.

    Args:
        text: A pyproject.toml with a [project].

    Raises:
        ValueError: If there is no [project] to declare it in, or no table where one belongs.
    """
    document: Any = tomlkit.parse(text.removeprefix(BOM))
    _require(document, NAME + _FIRST)
    sources = table(document, "tool", "uv", "sources")
    key = _key(sources)
    if key in sources:
        del sources[key]
        if not sources:
            del document["tool"]["uv"]["sources"]
            if not document["tool"]["uv"]:
                del document["tool"]["uv"]
    return text[: text.startswith(BOM)] + tomlkit.dumps(document)


def leftovers(paths: Collection[str]) -> Iterator[str]:
    """One line for each file of v0 that goes, or loses a half, once nothing imports it.

    Args:
        paths: The workspace's files, relative to it, with `/`.
    """
    for copy in _COPIES:
        for module in (*_MOVED, *_HALVES):
            path = f"{copy}/{module}"
            if path in paths:
                yield f"{path}: " + (
                    "delete what moved, keep TTA's own half"
                    if module in _HALVES
                    else "delete once nothing imports it"
                )


def _key(sources: Any) -> str:  # noqa: ANN401 - a table of tomlkit's, or none
    """The package's name as a table of sources spells it."""
    return next((str(key) for key in sources if canonicalize_name(str(key)) == NAME), NAME)


def _require(document: Any, wanted: str) -> None:  # noqa: ANN401 - tomlkit's document
    """Put one requirement in place of any other on the package; its extras and marker stay."""
    if not is_a(dict, at(document, "project")):
        raise ValueError("there is no [project] in this pyproject.toml; name the folder of a project")
    project = document["project"]
    if "dependencies" not in project:
        project["dependencies"] = tomlkit.array()
    array = project["dependencies"]
    if not is_a(list, array):
        raise ValueError("`dependencies` in [project] is no array; correct it")
    for index, written in enumerate(array):
        try:
            old = Requirement(str(written))
        except InvalidRequirement:
            continue
        if canonicalize_name(old.name) == NAME:
            extras = f"[{','.join(sorted(old.extras))}]" if old.extras else ""
            marker = f"; {old.marker}" if old.marker else ""
            new = NAME + extras + wanted.removeprefix(NAME) + marker
            if written != new:
                array[index] = new
            return
    array.append(wanted)
