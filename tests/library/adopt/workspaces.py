"""Workspaces that are on no disk, for tests of single rules, whose findings are lines of text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath

from tta_agent_coordination.adopt import tree
from tta_agent_coordination.adopt.findings import Change, Finding, as_text

__all__ = ["ROOT", "Rule", "changes", "member", "said", "workspace"]

type Rule = Callable[[tree.Workspace], Iterable[Finding]]

ROOT = '[project]\nname = "root"\nrequires-python = ">=3.12"\n[tool.uv.workspace]\nmembers = ["packages/*"]\n'
NOWHERE = Path("/no/such/workspace")


def workspace(files: Mapping[str, str], root: Path = NOWHERE) -> tree.Workspace:
    """Return a workspace of these files; all of them are read, and only those below `root` exist."""
    unread: list[Finding] = []
    projects = [*tree._projects(files, unread)]
    folders = {folder.as_posix() for path in files for folder in PurePosixPath(path).parents}
    return tree.Workspace(
        root=root,
        projects=tuple(sorted(projects, key=lambda each: each.folder)),
        paths=frozenset(files),
        folders=frozenset(folders - {"."}),
        texts=files,
        unread=tuple(unread),
    )


def member(text: str, *paths: str, folder: str = "packages/a", root: str = ROOT) -> dict[str, str]:
    """Return a root and one member, with files below the member's folder."""
    return {"pyproject.toml": root, f"{folder}/pyproject.toml": text} | {
        f"{folder}/{path}": "" for path in paths
    }


def said(rule: Rule, files: Mapping[str, str], root: Path = NOWHERE) -> list[str]:
    """Return what one rule finds in these files, a line each."""
    return as_text([*rule(workspace(files, root))]).splitlines()


def changes(rule: Rule, files: Mapping[str, str], root: Path = NOWHERE) -> list[Change | None]:
    """Return how `--fix` would mend what one rule finds."""
    return [each.change for each in rule(workspace(files, root))]
