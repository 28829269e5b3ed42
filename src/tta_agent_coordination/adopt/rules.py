"""Rules on a workspace's projects: members, sources, dependencies, names, licences. Pure.

The rules on Python versions are in `pythons`, those on imports in `imported`, the lock's in `lock`.
"""

from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from packaging.utils import canonicalize_name

from tta_agent_coordination.adopt import imported, pythons
from tta_agent_coordination.adopt.findings import AddToArray, Finding, ReplaceInArray, SetValue
from tta_agent_coordination.adopt.tables import at, strings, table
from tta_agent_coordination.adopt.tree import Declared, Project, Workspace, matches

__all__ = ["RULES", "Rule", "check"]

type Rule = Callable[[Workspace], Iterator[Finding]]

_MEMBERS = ("tool", "uv", "workspace", "members")
_SOURCES = ("tool", "uv", "sources")


def members(workspace: Workspace) -> Iterator[Finding]:
    """`workspace.member`: every `packages/*` with a pyproject.toml is a member of the root."""
    top = workspace.top
    if top is None:
        return
    globs, excluded = strings(top.data, *_MEMBERS), strings(top.data, "tool", "uv", "workspace", "exclude")
    for project in workspace.members:
        if any(matches(project.folder, glob) for glob in globs):
            if not any(matches(project.folder, glob) for glob in excluded):
                continue
            change, remedy = None, "take it out of `exclude` in [tool.uv.workspace]"
        else:
            change = AddToArray(path=_MEMBERS, value=project.folder)
            remedy = f'add "{project.folder}" to `members` in [tool.uv.workspace]'
        yield Finding(
            rule="workspace.member",
            file=top.file,
            line=top.line(*_MEMBERS),
            what=f"{project.folder} has a pyproject.toml and is no member",
            remedy=remedy,
            change=change,
        )


def built(workspace: Workspace) -> Iterator[Finding]:
    """`workspace.sources`: a member that declares a build has something to build, where its backend looks."""
    known = workspace.paths | workspace.folders
    for project in workspace.members:
        if at(project.data, "build-system") is None or at(project.data, "tool", "uv", "package") is False:
            continue
        wheel = ("tool", "hatch", "build", "targets", "wheel")
        listed = strings(project.data, *wheel, "packages")
        for path in listed:
            if project.inside(path.strip("/")) not in known:
                yield Finding(
                    rule="workspace.sources",
                    file=project.file,
                    line=project.line(*wheel, "packages", needle=path),
                    what=f"`packages` names {path}, which does not exist",
                    remedy="name the folder that holds the sources",
                )
        if listed or table(project.data, *wheel) or table(project.data, "tool", "setuptools"):
            continue
        hatch = "hatchling" in str(at(project.data, "build-system", "build-backend"))
        if not _has_sources(project, workspace, by_name=hatch):
            yield Finding(
                rule="workspace.sources",
                file=project.file,
                line=project.line("build-system"),
                what="there is nothing to build"
                + (f": no {project.module}/, src/{project.module}/ or {project.module}.py" if hatch else ""),
                remedy="add the sources, or name their folder in [tool.hatch.build.targets.wheel] packages",
            )


def _has_sources(project: Project, workspace: Workspace, *, by_name: bool) -> bool:
    if by_name:
        places = (
            f"{project.module}/__init__.py",
            f"src/{project.module}/__init__.py",
            f"{project.module}.py",
        )
        return any(project.inside(place) in workspace.paths for place in places)
    return any(
        path.startswith(f"{project.folder}/")
        and path.endswith(".py")
        and "tests" not in PurePosixPath(path).parts
        for path in workspace.paths
    )


def sources(workspace: Workspace) -> Iterator[Finding]:
    """`source.workspace`, `source.folder`, `source.undeclared`: sources fit declarations and folders."""
    top = workspace.top
    for project in workspace.projects:
        declared = {each.name for each in (*project.dependencies, *project.development)}
        if project is top:
            everyone = workspace.projects
            declared = {d.name for each in everyone for d in (*each.dependencies, *each.development)}
        for name, source in table(project.data, *_SOURCES).items():
            where = (*_SOURCES, name)
            own = workspace.named(canonicalize_name(name))
            path = at(source, "path")
            if canonicalize_name(name) not in declared:
                yield Finding(
                    rule="source.undeclared",
                    file=project.file,
                    line=project.line(*where),
                    what=f"a source for {name}, which no dependency asks for",
                    remedy="declare the dependency or remove the source",
                )
            if own is not None and own.folder and at(source, "workspace") is not True:
                yield Finding(
                    rule="source.workspace",
                    file=project.file,
                    line=project.line(*where),
                    what=f"{name} is a member of this workspace, and its source is not `workspace = true`",
                    remedy=f"{name} = {{ workspace = true }}",
                    change=SetValue(path=where, value={"workspace": True}),
                )
            elif isinstance(path, str) and not _exists(project, path, workspace):
                yield Finding(
                    rule="source.folder",
                    file=project.file,
                    line=project.line(*where),
                    what=f"the source of {name} is {path}, which does not exist",
                    remedy="correct the path or remove the source",
                )
            elif own is None and at(source, "workspace") is True:
                yield Finding(
                    rule="source.folder",
                    file=project.file,
                    line=project.line(*where),
                    what=f"{name} is to come from the workspace, which has no such project",
                    remedy="add it below packages/, or remove the source",
                )
        yield from _without_source(workspace, project)


def _exists(project: Project, path: str, workspace: Workspace) -> bool:
    return (workspace.root / project.folder / path).exists()


def _without_source(workspace: Workspace, project: Project) -> Iterator[Finding]:
    """Dependencies on the workspace's own projects that would be looked for on an index."""
    names: set[str] = {canonicalize_name(name) for name in table(project.data, *_SOURCES)}
    if workspace.top is not None:
        names |= {canonicalize_name(name) for name in table(workspace.top.data, *_SOURCES)}
    for declared in _own_requirements(workspace, project):
        if declared.name not in names:
            names.add(declared.name)
            yield Finding(
                rule="source.workspace",
                file=project.file,
                line=project.line(*declared.path, needle=declared.text),
                what=f"{declared.name} is a member of this workspace and has no source here",
                remedy=f"add `{declared.name} = {{ workspace = true }}` to [tool.uv.sources]",
                change=SetValue(path=(*_SOURCES, declared.name), value={"workspace": True}),
            )


def _own_requirements(workspace: Workspace, project: Project) -> Iterator[Declared]:
    """What a project requires of the workspace's other projects."""
    for declared in (*project.dependencies, *project.development):
        own = workspace.named(declared.name)
        if own is not None and own is not project:
            yield declared


def constraints(workspace: Workspace) -> Iterator[Finding]:
    """`dependency.constraint`: a workspace package carries a version constraint where it is depended on."""
    for project in workspace.projects:
        for declared in _own_requirements(workspace, project):
            own = workspace.named(declared.name)
            version = at(own.data if own else None, "project", "version")
            if declared.requirement.specifier or declared.requirement.url:
                continue
            change = None
            remedy = "say which versions fit"
            if isinstance(version, str):
                extras = ",".join(sorted(declared.requirement.extras))
                marker = f"; {declared.requirement.marker}" if declared.requirement.marker else ""
                name = declared.requirement.name + (f"[{extras}]" if extras else "")
                remedy = f"{name}>={version}{marker}"
                change = ReplaceInArray(path=declared.path, old=declared.text, new=remedy)
            yield Finding(
                rule="dependency.constraint",
                file=project.file,
                line=project.line(*declared.path, needle=declared.text),
                what=f"{declared.name} is required without a version",
                remedy=remedy,
                change=change,
            )


def extras(workspace: Workspace) -> Iterator[Finding]:
    """`dependency.extra`: no extra that the workspace's own dependency lacks."""
    for project in workspace.projects:
        for declared in (*project.dependencies, *project.development):
            own = workspace.named(declared.name)
            if own is None:
                continue
            has = {canonicalize_name(name) for name in table(own.data, "project", "optional-dependencies")}
            for extra in sorted(declared.requirement.extras):
                if canonicalize_name(extra) not in has:
                    yield Finding(
                        rule="dependency.extra",
                        file=project.file,
                        line=project.line(*declared.path, needle=declared.text),
                        what=f"{declared.name} has no extra {extra}",
                        remedy=f"use one of {', '.join(sorted(has)) or 'none'}, or add it to {own.file}",
                    )


def requirements(workspace: Workspace) -> Iterator[Finding]:
    """`dependency.requirement`: what is declared is a requirement by PEP 508."""
    for project in workspace.projects:
        for text, path in project.broken:
            yield Finding(
                rule="dependency.requirement",
                file=project.file,
                line=project.line(*path, needle=text),
                what=f"{text!r} is no requirement",
                remedy="write it as PEP 508 says: name[extra]>=version; marker",
            )


def names(workspace: Workspace) -> Iterator[Finding]:
    """`project.name`: every project has a name, and no two the same."""
    seen: dict[str, Project] = {}
    for project in workspace.projects:
        if not project.name and not project.folder:
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


def licences(workspace: Workspace) -> Iterator[Finding]:
    """`licence.file`: a declared licence has its file."""
    for project in workspace.projects:
        here = [
            path.removeprefix(f"{project.folder}/" if project.folder else "")
            for path in workspace.paths
            if not project.folder or path.startswith(f"{project.folder}/")
        ]
        licence = at(project.data, "project", "license")
        named = at(licence, "file")
        globs = strings(project.data, "project", "license-files")
        if isinstance(named, str):
            globs = [*globs, named]
        for glob in globs:
            if not any(fnmatchcase(path, glob) for path in here):
                yield Finding(
                    rule="licence.file",
                    file=project.file,
                    line=project.line("project", "license-files" if named is None else "license"),
                    what=f"the licence file {glob} does not exist",
                    remedy="add the file",
                )
        usual = ("license*", "licence*", "copying*")
        beside = [path.lower() for path in here if "/" not in path]
        if licence and not globs and not any(fnmatchcase(path, glob) for path in beside for glob in usual):
            yield Finding(
                rule="licence.file",
                file=project.file,
                line=project.line("project", "license"),
                what="declares a licence, and there is no licence file beside it",
                remedy="add a LICENSE file to the folder",
            )


RULES: tuple[Rule, ...] = (
    members,
    built,
    sources,
    constraints,
    extras,
    requirements,
    names,
    licences,
    pythons.declared,
    pythons.agree,
    pythons.targets,
    pythons.classifiers,
    pythons.version_files,
    pythons.workflows,
    pythons.images,
    imported.undeclared,
)
"""Every pure rule; each docstring names the ids it reports."""


def check(workspace: Workspace) -> list[Finding]:
    """What the reading and all pure rules found, by file, line and rule."""
    found = [*workspace.unread, *(finding for rule in RULES for finding in rule(workspace))]
    return sorted(found, key=lambda each: (each.file, each.line, each.rule, each.what))
