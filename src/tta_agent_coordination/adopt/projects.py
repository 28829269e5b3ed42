"""One pyproject.toml as a value: its name, what it requires and where each requirement stands.

Owns which arrays of a pyproject.toml hold requirements; knows no other project and nothing of the disk.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from tta_agent_coordination.adopt.tables import at, line_of, strings, table

__all__ = ["Declared", "Project", "project"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """One requirement as a project writes it."""

    text: str
    requirement: Requirement
    path: tuple[str, ...]
    """The array it stands in."""

    @property
    def name(self) -> str:
        """The normalised name of what is required."""
        return canonicalize_name(self.requirement.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """One pyproject.toml that could be read."""

    folder: str
    """Relative to the workspace, with `/`; empty for the root."""
    text: str
    data: Mapping[str, Any]
    dependencies: tuple[Declared, ...]
    """Those every installation brings, and those of extras."""
    development: tuple[Declared, ...]
    """Those of dependency groups."""
    other: tuple[Declared, ...] = ()
    """What the build needs, and what uv's own settings constrain, override or add to builds."""
    broken: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Requirements that are none, with the array they stand in."""

    @property
    def file(self) -> str:
        """The path of the pyproject.toml, relative to the workspace."""
        return f"{self.folder}/pyproject.toml" if self.folder else "pyproject.toml"

    @property
    def name(self) -> str:
        """The normalised project name; empty where it has none."""
        name = at(self.data, "project", "name")
        return canonicalize_name(name) if isinstance(name, str) else ""

    @property
    def module(self) -> str:
        """The import name that a build backend looks for when nothing else is configured."""
        return self.name.replace("-", "_")

    def dynamic(self, field: str) -> bool:
        """Whether the build backend decides a field of [project]."""
        return field in strings(self.data, "project", "dynamic")

    def line(self, *path: str, needle: str = "") -> int:
        """The line of a key, or of a text in its value."""
        return line_of(self.text, *path, needle=needle)

    def inside(self, path: str) -> str:
        """A path of this project as the workspace spells it."""
        return f"{self.folder}/{path}" if self.folder else path


_SETTINGS = ("build-constraint-dependencies", "constraint-dependencies", "override-dependencies")
"""Arrays of [tool.uv] whose requirements uv looks for in the sources too."""


def project(folder: str, text: str, data: Mapping[str, Any]) -> Project:
    """Read the requirements of one pyproject.toml.

    Args:
        folder: Relative to the workspace, with `/`; empty for the root.
        text: The file.
        data: The same, parsed.
    """
    broken: list[tuple[str, tuple[str, ...]]] = []

    def declared(*path: str) -> Iterator[Declared]:
        for written in strings(data, *path):
            try:
                yield Declared(text=written, requirement=Requirement(written), path=path)
            except InvalidRequirement:
                broken.append((written, path))

    dependencies = [*declared("project", "dependencies")]
    for extra in table(data, "project", "optional-dependencies"):
        dependencies += declared("project", "optional-dependencies", extra)
    development = [*declared("tool", "uv", "dev-dependencies")]
    for group in table(data, "dependency-groups"):
        development += declared("dependency-groups", group)
    other = [*declared("build-system", "requires")]
    for setting in _SETTINGS:
        other += declared("tool", "uv", setting)
    for package in table(data, "tool", "uv", "extra-build-dependencies"):
        other += declared("tool", "uv", "extra-build-dependencies", package)
    return Project(
        folder=folder,
        text=text,
        data=data,
        dependencies=tuple(dependencies),
        development=tuple(development),
        other=tuple(other),
        broken=tuple(broken),
    )
