"""Rules on what belongs to a workspace: members, their names, versions and licences. Pure.

What uv refuses is refused here for the same reason; what it only overlooks has a line of its own.
"""

from collections.abc import Iterator
from fnmatch import fnmatchcase

from tta_agent_coordination.adopt.findings import AddToArray, Finding
from tta_agent_coordination.adopt.tables import at, strings
from tta_agent_coordination.adopt.tree import Project, Workspace, matches

__all__ = ["folders", "licences", "members", "names", "nested", "versions"]

_MEMBERS = ("tool", "uv", "workspace", "members")
_WILD = frozenset("*?[")
"""What makes a pattern of a path."""


def members(workspace: Workspace) -> Iterator[Finding]:
    """`workspace.member`: every `packages/*` with a pyproject.toml is a member that uv manages."""
    top = workspace.top
    if top is None:
        return
    for project in workspace.members:
        file, line, change = top.file, top.line(*_MEMBERS), None
        what = f"{project.folder} has a pyproject.toml and is no member"
        if workspace.has_member(project.folder):
            if at(project.data, "tool", "uv", "managed") is not False:
                continue
            file, line = project.file, project.line("tool", "uv", "managed")
            what = f"{project.folder} is no member, since uv is told not to manage it"
            remedy = "take `managed = false` out of [tool.uv]"
        elif any(matches(project.folder, glob) for glob in workspace.globs):
            remedy = "take it out of `exclude` in [tool.uv.workspace]"
        else:
            change = AddToArray(path=_MEMBERS, value=project.folder)
            remedy = f'add "{project.folder}" to `members` in [tool.uv.workspace]'
        yield Finding(rule="workspace.member", file=file, line=line, what=what, remedy=remedy, change=change)


def folders(workspace: Workspace) -> Iterator[Finding]:
    """`workspace.folder`: what `members` names is there, and each folder it means has a pyproject.toml.

    Hidden folders do not count, nor do those without a file: uv and git leave them out.
    """
    top = workspace.top
    if top is None:
        return
    for glob in workspace.globs:
        if not _WILD & set(glob) and not workspace.exists(glob):
            yield Finding(
                rule="workspace.folder",
                file=top.file,
                line=top.line(*_MEMBERS, needle=glob),
                what=f"`members` names {glob}, which does not exist",
                remedy="correct the path or remove it",
            )
    for folder in sorted(workspace.folders):
        if (
            f"{folder}/pyproject.toml" not in workspace.paths
            and not folder.rpartition("/")[2].startswith(".")
            and workspace.has_member(folder)
            and any(path.startswith(f"{folder}/") for path in workspace.paths)
        ):
            yield Finding(
                rule="workspace.folder",
                file=top.file,
                line=top.line(*_MEMBERS),
                what=f"{folder} is meant by `members` and has no pyproject.toml",
                remedy="add one, or name the folder in `exclude` in [tool.uv.workspace]",
            )


def nested(workspace: Workspace) -> Iterator[Finding]:
    """`workspace.nested`: no member is a workspace of its own; uv has none inside another."""
    for project in workspace.members:
        if at(project.data, "tool", "uv", "workspace") is not None:
            yield Finding(
                rule="workspace.nested",
                file=project.file,
                line=project.line("tool", "uv", "workspace"),
                what=f"{project.folder} is a member and has a [tool.uv.workspace] itself",
                remedy="remove the table, and name its members in the root's",
            )


def names(workspace: Workspace) -> Iterator[Finding]:
    """`project.name`: every project has a name, and no two the same."""
    seen: dict[str, Project] = {}
    for project in workspace.projects:
        if not project.name and not project.folder and at(project.data, "project") is None:
            continue
        if not project.name:
            yield Finding(
                rule="project.name",
                file=project.file,
                line=project.line("project"),
                what="has no project name",
                remedy="add `name` to [project]",
            )
        elif (first := seen.setdefault(project.name, project)) is not project:
            yield Finding(
                rule="project.name",
                file=project.file,
                line=project.line("project", "name"),
                what=f"{project.name} is the name of {first.file} too",
                remedy="rename one of the two",
            )


def versions(workspace: Workspace) -> Iterator[Finding]:
    """`project.version`: every project has a version, or says that its backend finds it."""
    for project in workspace.projects:
        if project.name and at(project.data, "project", "version") is None and not project.dynamic("version"):
            yield Finding(
                rule="project.version",
                file=project.file,
                line=project.line("project"),
                what=f"{project.name} has no version",
                remedy='add `version`, or `dynamic = ["version"]`, to [project]',
            )


def licences(workspace: Workspace) -> Iterator[Finding]:
    """`licence.file`: a declared licence has its file; `license-files = []` says that there is none."""
    for project in workspace.projects:
        licence = at(project.data, "project", "license")
        stated = at(project.data, "project", "license-files")
        if not licence and not stated:
            continue
        start = project.inside("")
        here = [path.removeprefix(start) for path in workspace.paths if path.startswith(start)]
        named = at(licence, "file")
        # The tables are what PEP 639 was before it was accepted.
        globs = [glob for keys in ((), ("paths",), ("globs",)) for glob in strings(stated, *keys)]
        if isinstance(named, str):
            globs.append(named)
        for glob in globs:
            if not any(matches(path, glob) for path in here):
                yield Finding(
                    rule="licence.file",
                    file=project.file,
                    line=project.line("project", "license-files" if glob != named else "license"),
                    what=f"the licence file {glob} does not exist",
                    remedy="add the file",
                )
        if stated is None and not globs and not any(_is_licence(path) for path in here):
            yield Finding(
                rule="licence.file",
                file=project.file,
                line=project.line("project", "license"),
                what="declares a licence, and there is no licence file beside it",
                remedy="add a LICENSE file to the folder",
            )


def _is_licence(path: str) -> bool:
    """Whether a build backend takes a file for a licence unasked, or REUSE does."""
    usual = ("license*", "licence*", "copying*", "unlicense*")
    beside = "/" not in path and any(fnmatchcase(path.lower(), glob) for glob in usual)
    return beside or path.startswith("LICENSES/")
