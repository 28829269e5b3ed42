"""Rules on where dependencies come from: `[tool.uv.sources]` against declarations, members and folders.

A source is one table or a list of them with markers, as uv has it; the root's sources are every member's too.
"""

import posixpath
from collections.abc import Iterator
from typing import Any, cast

from packaging.utils import canonicalize_name

from tta_agent_coordination.adopt.findings import Finding, SetValue
from tta_agent_coordination.adopt.tables import at, table
from tta_agent_coordination.adopt.tree import Declared, Project, Workspace

__all__ = ["own_requirements", "sources", "without"]

_SOURCES = ("tool", "uv", "sources")
_OWN = {"workspace": True}


def sources(workspace: Workspace) -> Iterator[Finding]:
    """`source.workspace`, `source.folder`, `source.undeclared`: sources fit declarations and folders."""
    for project in workspace.projects:
        asked = _asked(workspace, project)
        for name, written in table(project.data, *_SOURCES).items():
            where = (*_SOURCES, name)
            entries = _entries(written)
            wrong = "" if asked is None else _undeclared(project, name, entries, asked)
            if wrong:
                yield Finding(
                    rule="source.undeclared",
                    file=project.file,
                    line=project.line(*where),
                    what=wrong,
                    remedy="declare the dependency or remove the source",
                )
            own = workspace.named(canonicalize_name(name))
            if own is not None and not workspace.excludes(own.folder):
                if any(at(entry, "workspace") is not True for entry in entries):
                    yield Finding(
                        rule="source.workspace",
                        file=project.file,
                        line=project.line(*where),
                        what=f"{name} is a member of this workspace, and has another source",
                        remedy=f"{name} = {{ workspace = true }}",
                        change=SetValue(path=where, value=_OWN) if len(entries) == 1 else None,
                    )
                continue
            for entry in entries if own is None and workspace.is_whole else _with_path(entries):
                yield from _leading_nowhere(workspace, project, name, entry)


def _entries(written: object) -> list[dict[str, Any]]:
    """A source's tables: one, or a list of them."""
    each = cast("list[object]", written) if isinstance(written, list) else [written]
    return [cast("dict[str, Any]", entry) for entry in each if isinstance(entry, dict)]


def _with_path(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that lead to a folder, whatever projects there are."""
    return [each for each in entries if "path" in each]


def _asked(workspace: Workspace, project: Project) -> set[str] | None:
    """The names that sources may be for, the root's for everyone's; None where not all are known."""
    everyone = workspace.projects if project is workspace.top else (project,)
    fields = ("dependencies", "optional-dependencies")
    hidden = any(each.dynamic(field) for each in everyone for field in fields)
    if hidden or (project is workspace.top and not workspace.is_whole):
        return None
    return {
        declared.name
        for each in everyone
        for declared in (*each.dependencies, *each.development, *each.other)
    }


def _undeclared(project: Project, name: str, entries: list[dict[str, Any]], asked: set[str]) -> str:
    """What is wrong where nothing asks for a source, or not where it says; empty if nothing is."""
    wanted = canonicalize_name(name)
    if wanted not in asked:
        return f"a source for {name}, which no dependency asks for"
    for key, array, among in (
        ("extra", ("project", "optional-dependencies"), project.dependencies),
        ("group", ("dependency-groups",), project.development),
    ):
        for entry in entries:
            said = at(entry, key)
            if isinstance(said, str) and not any(
                declared.name == wanted
                and declared.path[:-1] == array
                and canonicalize_name(declared.path[-1]) == canonicalize_name(said)
                for declared in among
            ):
                return f"the source of {name} is for the {key} {said}, which does not ask for it"
    return ""


def _leading_nowhere(
    workspace: Workspace, project: Project, name: str, entry: dict[str, Any]
) -> Iterator[Finding]:
    """`source.folder` for a source that is not a member's."""
    path, what, remedy = at(entry, "path"), "", "correct the path or remove the source"
    if at(entry, "workspace") is True:
        what = f"{name} is to come from the workspace, which has no such project"
        remedy = "add it below packages/, or remove the source"
    elif isinstance(path, str):
        target = posixpath.join(project.folder, path)
        if not workspace.exists(target):
            what = f"the source of {name} is {path}, which does not exist"
        elif workspace.is_folder(target) and not any(
            workspace.exists(f"{target}/{file}") for file in ("pyproject.toml", "setup.py")
        ):
            what = f"the source of {name} is {path}, which has neither pyproject.toml nor setup.py"
    if what:
        yield Finding(
            rule="source.folder",
            file=project.file,
            line=project.line(*_SOURCES, name, needle=path if isinstance(path, str) else ""),
            what=what,
            remedy=remedy,
        )


def without(workspace: Workspace) -> Iterator[Finding]:
    """`source.workspace`: what a project requires of the workspace's own projects has a source."""
    everywhere = _named(workspace.top)
    for project in workspace.projects:
        names = everywhere | _named(project)
        for declared in own_requirements(workspace, project):
            if declared.name in names:
                continue
            names.add(declared.name)
            url = declared.requirement.url
            yield Finding(
                rule="source.workspace",
                file=project.file,
                line=project.line(*declared.path, needle=declared.text),
                what=f"{declared.name} is a member of this workspace and "
                + (f"is required by its address, {url}" if url else "has no source here"),
                remedy=("require it by name and version, and " if url else "")
                + f"add `{declared.name} = {{ workspace = true }}` to [tool.uv.sources]",
                change=None if url else SetValue(path=(*_SOURCES, declared.name), value=_OWN),
            )


def _named(project: Project | None) -> set[str]:
    return {canonicalize_name(name) for name in table(project.data if project else None, *_SOURCES)}


def own_requirements(workspace: Workspace, project: Project) -> Iterator[Declared]:
    """What a project requires of the workspace's other projects, in its dependencies, extras and groups."""
    for declared in (*project.dependencies, *project.development):
        own = workspace.named(declared.name)
        if own is not None and own is not project and not workspace.excludes(own.folder):
            yield declared
