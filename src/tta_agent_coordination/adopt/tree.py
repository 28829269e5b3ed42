"""A workspace as values: its projects and the files that rules look at, read once.

Owns the walk and everything that can be wrong with reading: each unreadable thing is one finding, and the
rest goes on. Links are never followed.
"""

import errno
import os
import posixpath
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from tta_agent_coordination.adopt.findings import Finding
from tta_agent_coordination.adopt.projects import Declared, Project, project
from tta_agent_coordination.adopt.tables import BOM, strings

__all__ = ["MADE", "Declared", "Project", "Workspace", "is_image_file", "matches", "read_workspace"]

MADE = frozenset(
    {".git", ".hg", ".mypy_cache", ".nox", ".pytest_cache", ".ruff_cache", ".tox", ".venv", "__pycache__"}
    | {"node_modules", "site-packages", "venv"}
)
"""Folders that tools make; never entered."""
_BUILT = frozenset({"build", "dist"})
"""Folders that builds make, unless they are packages."""
_READ = frozenset(
    {".mypy.ini", ".python-version", ".ruff.toml", "mypy.ini", "pyproject.toml", "pyrightconfig.json"}
    | {"ruff.toml", "setup.cfg"}
)
_MEMBERS = ("tool", "uv", "workspace", "members")
_EXCLUDE = ("tool", "uv", "workspace", "exclude")


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
        """The projects in `packages/` and those that the root's members name and do not exclude."""
        return tuple(each for each in self.projects if each.folder)

    @property
    def globs(self) -> list[str]:
        """The patterns of the root's members."""
        return strings(self.top.data if self.top else None, *_MEMBERS)

    def excludes(self, folder: str) -> bool:
        """Whether the root keeps a folder out of the members."""
        return _is_excluded(folder, strings(self.top.data if self.top else None, *_EXCLUDE))

    def has_member(self, folder: str) -> bool:
        """Whether the root's patterns make a folder a member."""
        return any(matches(folder, glob) for glob in self.globs) and not self.excludes(folder)

    def exists(self, path: str) -> bool:
        """Whether a path, relative to the root or absolute, is on the disk: also outside of the workspace."""
        try:
            return (self.root / path).exists()
        except (OSError, ValueError):
            return False

    def is_folder(self, path: str) -> bool:
        """Whether a path that exists leads to a folder."""
        return (self.root / path).is_dir()

    def read(self, path: str) -> str:
        """A file's text; empty where it is not in the workspace or cannot be read."""
        if path in self.texts:
            return self.texts[path]
        try:
            return _text(self.root / path) if path in self.paths else ""
        except (OSError, UnicodeDecodeError):
            return ""

    def named(self, name: str) -> Project | None:
        """The workspace's own project of a normalised name."""
        return next((each for each in self.projects if each.name == name), None)

    def owner(self, path: str) -> Project | None:
        """The project that a file belongs to; None where it is another's, or one that cannot be read."""
        while path:
            path = path.rpartition("/")[0]
            if (f"{path}/pyproject.toml" if path else "pyproject.toml") in self.paths:
                return next((each for each in self.projects if each.folder == path), None)
        return None

    @property
    def is_whole(self) -> bool:
        """Whether every pyproject.toml could be read: else a missing name may stand in one of them."""
        return not any(PurePosixPath(each.file).name == "pyproject.toml" for each in self.unread)


@dataclass(slots=True)
class _Walk:
    root: Path
    paths: set[str] = field(default_factory=set[str])
    folders: set[str] = field(default_factory=set[str])
    unread: list[Finding] = field(default_factory=list[Finding])

    def run(self) -> None:
        for here, folders, files in os.walk(self.root, onerror=self._failed):
            folders[:] = sorted(name for name in folders if self._entered(Path(here, name)))
            inside = Path(here).relative_to(self.root).as_posix()
            for names, found in ((folders, self.folders), (files, self.paths)):
                for name in names:
                    path, relative = Path(here, name), name if inside == "." else f"{inside}/{name}"
                    if not path.is_symlink() or self._usable(path, relative):
                        found.add(relative)

    @staticmethod
    def _entered(path: Path) -> bool:
        return path.name not in MADE and (path.name not in _BUILT or (path / "__init__.py").is_file())

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
    """Whether a member pattern means a folder, as uv reads it.

    `*` stays inside one part of a path, `**` is any number of parts, and at least one at the end.
    """
    return _parts_match(folder.split("/"), posixpath.normpath(glob).strip("/").split("/"))


def _parts_match(parts: list[str], globs: list[str]) -> bool:
    if not globs or not parts:
        return not parts and not globs
    if globs[0] != "**":
        return fnmatchcase(parts[0], globs[0]) and _parts_match(parts[1:], globs[1:])
    if globs[1:2] in ([], ["**"]):
        return len(globs) == 1 or _parts_match(parts, globs[1:])
    return _parts_match(parts, globs[1:]) or _parts_match(parts[1:], globs)


def _is_excluded(folder: str, globs: list[str]) -> bool:
    """Whether some pattern excludes a folder; uv lets `*` cross `/` here."""
    return any(fnmatchcase(folder, posixpath.normpath(glob)) or matches(folder, glob) for glob in globs)


def is_image_file(path: str) -> bool:
    """Whether a file names container images: a Dockerfile, a compose file, a dev container."""
    name = PurePosixPath(path).name.lower()
    return (
        name.startswith(("dockerfile", "containerfile"))
        or name.endswith(".dockerfile")
        or ("compose" in name and name.endswith((".yml", ".yaml")))
        or name == "devcontainer.json"
    )


def _is_read(path: str) -> bool:
    """Whether some rule reads a file's text."""
    return (
        path.endswith(".py")
        or PurePosixPath(path).name in _READ
        or (path.startswith(".github/") and path.endswith((".yml", ".yaml")))
        or is_image_file(path)
    )


def _text(path: Path) -> str:
    """A file's text; what is neither file nor link to one, such as a pipe, would keep a reader waiting."""
    if not path.is_file():
        raise OSError(errno.EINVAL, "it is no file")
    return path.read_bytes().decode("utf-8")


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
            texts[path] = _text(root / path)
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


def _line_in(message: str, text: str) -> int:
    """The line that tomllib's message names; its last where the text ends too early, else the first."""
    if "at end of document" in message:
        return len(text.splitlines())
    found = re.search(r"at line (\d+)", message)
    return int(found[1]) if found else 1


def _projects(texts: Mapping[str, str], unread: list[Finding]) -> Iterator[Project]:
    """The root's project, those in `packages/`, and those that the root's members name."""
    tables: dict[str, dict[str, Any]] = {}
    for path in sorted(path for path in texts if PurePosixPath(path).name == "pyproject.toml"):
        try:
            tables[path] = tomllib.loads(texts[path].removeprefix(BOM))
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            unread.append(
                Finding(
                    rule="input.toml",
                    file=path,
                    line=_line_in(str(error), texts[path]),
                    what=f"is no TOML: {error}",
                    remedy="correct it; it was left out",
                )
            )
    globs = strings(tables.get("pyproject.toml"), *_MEMBERS)
    excluding = strings(tables.get("pyproject.toml"), *_EXCLUDE)
    for path, data in tables.items():
        folder = path.removesuffix("pyproject.toml").rstrip("/")
        named = any(matches(folder, glob) for glob in globs) and not _is_excluded(folder, excluding)
        if not folder or named or matches(folder, "packages/*"):
            yield project(folder, texts[path], data)
