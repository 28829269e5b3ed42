"""A workspace as values: its projects and the files that rules look at, read once.

Owns the walk and everything that can be wrong with reading: each unreadable thing is one finding, and the
rest goes on. Links are never followed.
"""

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from tta_agent_coordination.adopt.findings import Finding
from tta_agent_coordination.adopt.tables import at, line_of, strings, table

__all__ = ["IGNORED", "Declared", "Project", "Workspace", "is_image_file", "matches", "read_workspace"]

IGNORED = frozenset(
    {".git", ".hg", ".mypy_cache", ".nox", ".pytest_cache", ".ruff_cache", ".tox", ".venv", "__pycache__"}
    | {"build", "dist", "node_modules", "site-packages", "venv"}
)
"""Folders that tools make; never entered."""


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

    def line(self, *path: str, needle: str = "") -> int:
        """The line of a key, or of a text in its value."""
        return line_of(self.text, *path, needle=needle)

    def inside(self, path: str) -> str:
        """A path of this project as the workspace spells it."""
        return f"{self.folder}/{path}" if self.folder else path


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """All that was read below one folder."""

    root: Path
    projects: tuple[Project, ...]
    """The root's first where it could be read, then by folder."""
    paths: frozenset[str]
    """Every file, relative to the root, with `/`."""
    folders: frozenset[str]
    texts: Mapping[str, str]
    """The text of each file that some rule reads."""
    unread: tuple[Finding, ...] = ()

    @property
    def top(self) -> Project | None:
        """The root's project."""
        return next((each for each in self.projects if not each.folder), None)

    @property
    def members(self) -> tuple[Project, ...]:
        """The projects in `packages/` and those that the root's members name."""
        return tuple(each for each in self.projects if each.folder)

    def named(self, name: str) -> Project | None:
        """The workspace's own project of a normalised name."""
        return next((each for each in self.projects if each.name == name), None)

    def owner(self, path: str) -> Project | None:
        """The innermost project that a file belongs to."""
        holding = [each for each in self.projects if not each.folder or path.startswith(f"{each.folder}/")]
        return max(holding, key=lambda each: len(each.folder), default=None)


@dataclass(slots=True)
class _Walk:
    root: Path
    paths: set[str] = field(default_factory=set[str])
    folders: set[str] = field(default_factory=set[str])
    unread: list[Finding] = field(default_factory=list[Finding])

    def run(self) -> None:
        for here, folders, files in os.walk(self.root, onerror=self._failed):
            folders[:] = sorted(name for name in folders if name not in IGNORED)
            for name in [*folders, *files]:
                path = Path(here, name)
                relative = path.relative_to(self.root).as_posix()
                if path.is_symlink() and not self._usable(path, relative):
                    continue
                (self.folders if path.is_dir() else self.paths).add(relative)

    def _failed(self, error: OSError) -> None:
        where = Path(error.filename).relative_to(self.root).as_posix()
        self.unread.append(
            Finding(
                rule="input.unreadable",
                file=where,
                what=f"cannot be listed: {error.strerror}",
                remedy="give the user who runs this the right to read it",
            )
        )

    def _usable(self, path: Path, relative: str) -> bool:
        """Whether a link leads to a file or folder that does not hold the link itself."""
        try:
            target = path.resolve(strict=True)
        except (OSError, RuntimeError):
            target = None
        if target is not None and target not in path.absolute().parents:
            return True
        self.unread.append(
            Finding(
                rule="input.link",
                file=relative,
                what="is a link that leads nowhere or in a circle",
                remedy="remove it; it was not followed",
            )
        )
        return False


def matches(folder: str, glob: str) -> bool:
    """Whether a member pattern means a folder: `*` stays inside one part of a path, `**` is any number."""
    return _parts_match(folder.split("/"), glob.strip("/").removeprefix("./").split("/"))


def _parts_match(parts: list[str], globs: list[str]) -> bool:
    if not globs or not parts:
        return not parts and all(glob == "**" for glob in globs)
    if globs[0] == "**":
        return _parts_match(parts, globs[1:]) or _parts_match(parts[1:], globs)
    return fnmatchcase(parts[0], globs[0]) and _parts_match(parts[1:], globs[1:])


def is_image_file(path: str) -> bool:
    """Whether a file names container images to build from: a Dockerfile or a compose file."""
    name = PurePosixPath(path).name.lower()
    return (
        name.startswith(("dockerfile", "containerfile"))
        or name.endswith(".dockerfile")
        or ("compose" in name and name.endswith((".yml", ".yaml")))
    )


def _is_read(path: str) -> bool:
    """Whether some rule reads a file's text."""
    return (
        path.endswith(".py")
        or PurePosixPath(path).name in {".python-version", "pyproject.toml"}
        or (path.startswith(".github/") and path.endswith((".yml", ".yaml")))
        or is_image_file(path)
    )


def read_workspace(root: Path) -> Workspace:
    """Read a workspace; whatever cannot be read becomes a finding in `unread`.

    Args:
        root: The folder with the workspace's pyproject.toml.
    """
    walk = _Walk(root)
    walk.run()
    texts: dict[str, str] = {}
    unread = walk.unread
    for path in sorted(filter(_is_read, walk.paths)):
        try:
            texts[path] = (root / path).read_bytes().decode("utf-8")
        except UnicodeDecodeError as error:
            unread.append(
                Finding(
                    rule="input.encoding",
                    file=path,
                    what=f"is not UTF-8 at byte {error.start}",
                    remedy="save it as UTF-8; it was left out",
                )
            )
        except OSError as error:
            unread.append(
                Finding(
                    rule="input.unreadable",
                    file=path,
                    what=f"cannot be read: {error.strerror}",
                    remedy="give the user who runs this the right to read it",
                )
            )
    if "pyproject.toml" not in walk.paths:
        unread.append(
            Finding(
                rule="input.pyproject",
                file="pyproject.toml",
                what="does not exist: this is not a workspace's root",
                remedy="name the folder that holds it",
            )
        )
    projects = [*_projects(texts, unread)]
    return Workspace(
        root=root,
        projects=tuple(sorted(projects, key=lambda each: each.folder)),
        paths=frozenset(walk.paths),
        folders=frozenset(walk.folders),
        texts=texts,
        unread=tuple(unread),
    )


def _projects(texts: Mapping[str, str], unread: list[Finding]) -> Iterator[Project]:
    """The root's project, those in `packages/`, and those that the root's members name."""
    tables: dict[str, dict[str, Any]] = {}
    for path in sorted(path for path in texts if PurePosixPath(path).name == "pyproject.toml"):
        try:
            tables[path] = tomllib.loads(texts[path].replace("\r\n", "\n"))
        except tomllib.TOMLDecodeError as error:
            unread.append(
                Finding(
                    rule="input.toml",
                    file=path,
                    line=getattr(error, "lineno", 1),
                    what=f"is no TOML: {error}",
                    remedy="correct it; it was left out",
                )
            )
    globs = strings(tables.get("pyproject.toml"), "tool", "uv", "workspace", "members")
    for path, data in tables.items():
        folder = path.removesuffix("pyproject.toml").rstrip("/")
        if folder and not any(matches(folder, glob) for glob in ["packages/*", *globs]):
            continue
        yield _project(folder, texts[path], data)


def _project(folder: str, text: str, data: Mapping[str, Any]) -> Project:
    broken: list[tuple[str, tuple[str, ...]]] = []

    def declared(*path: str) -> Iterator[Declared]:
        for written in strings(data, *path):
            try:
                yield Declared(text=written, requirement=Requirement(written), path=path)
            except InvalidRequirement:
                broken.append((written, path))

    extras = table(data, "project", "optional-dependencies")
    groups = table(data, "dependency-groups")
    dependencies = [*declared("project", "dependencies")]
    for extra in extras:
        dependencies += declared("project", "optional-dependencies", extra)
    development = [*declared("tool", "uv", "dev-dependencies")]
    for group in groups:
        development += declared("dependency-groups", group)
    return Project(
        folder=folder,
        text=text,
        data=data,
        dependencies=tuple(dependencies),
        development=tuple(development),
        broken=tuple(broken),
    )
