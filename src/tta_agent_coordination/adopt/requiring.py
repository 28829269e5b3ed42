"""Rules on what is required: requirements that mean something, versions, extras and groups. Pure."""

from collections.abc import Iterator, Mapping
from typing import cast

from packaging.utils import NormalizedName, canonicalize_name

from tta_agent_coordination.adopt.findings import Finding, ReplaceInArray
from tta_agent_coordination.adopt.sourcing import own_requirements
from tta_agent_coordination.adopt.tables import at, strings, table
from tta_agent_coordination.adopt.tree import Declared, Project, Workspace
from tta_agent_coordination.adopt.versioning import version_of

__all__ = ["constraints", "extras", "groups", "requirements"]


def constraints(workspace: Workspace) -> Iterator[Finding]:
    """`dependency.constraint`: a workspace package is required with a constraint, and its version fits.

    uv takes a member whatever the constraint says; whoever installs from an index does not.
    """
    for project in workspace.projects:
        for declared in own_requirements(workspace, project):
            own = cast("Project", workspace.named(declared.name))
            version, asked = version_of(workspace, own), declared.requirement.specifier
            change = None
            if declared.requirement.url:
                continue
            if not asked:
                what = f"{declared.name} is required without a version"
                remedy = f"say which versions fit; {own.file} does not say which it has, only a build does"
                if version is not None:
                    remedy = _with_version(declared, f">={version.public}")
                    change = ReplaceInArray(path=declared.path, old=declared.text, new=remedy)
            elif version is not None and not asked.contains(version, prereleases=True):
                what = f"{declared.name} is required as {asked}, and its version here is {version}"
                remedy = f"let the range hold {version}, or correct the version in {own.file}"
            else:
                continue
            yield Finding(
                rule="dependency.constraint",
                file=project.file,
                line=project.line(*declared.path, needle=declared.text),
                what=what,
                remedy=remedy,
                change=change,
            )


def _with_version(declared: Declared, constraint: str) -> str:
    """The requirement with a constraint; its name's spelling, extras and marker stay."""
    extras = ",".join(sorted(declared.requirement.extras))
    marker = f"; {declared.requirement.marker}" if declared.requirement.marker else ""
    return declared.requirement.name + (f"[{extras}]" if extras else "") + constraint + marker


def extras(workspace: Workspace) -> Iterator[Finding]:
    """`dependency.extra`: no extra that the workspace's own dependency lacks."""
    for project in workspace.projects:
        for declared in (*project.dependencies, *project.development):
            own = workspace.named(declared.name)
            if own is None or own.dynamic("optional-dependencies"):
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


def groups(workspace: Workspace) -> Iterator[Finding]:
    """`dependency.group`: groups that are included, or installed by default, are there and in no circle."""
    for project in workspace.projects:
        tables = table(project.data, "dependency-groups")
        included = {canonicalize_name(name): _included(entries) for name, entries in tables.items()}
        for written in tables:
            name, path = canonicalize_name(written), ("dependency-groups", written)
            for other in included[name]:
                if other not in included:
                    what = f"{written} includes {other}, which is no group"
                    yield _group(project, path, "include-group", what)
                elif name in _reached(other, included):
                    what = f"{written} includes itself by way of {other}"
                    yield _group(project, path, "include-group", what)
        path = ("tool", "uv", "default-groups")
        old = at(project.data, "tool", "uv", "dev-dependencies")
        known = included.keys() if old is None else {*included, "dev"}
        # Instead of an array it may be "all".
        listed = strings(project.data, *path) if isinstance(at(project.data, *path), list) else []
        for name in listed:
            if canonicalize_name(name) not in known:
                yield _group(project, path, name, f"`default-groups` names {name}, which is no group")


def _group(project: Project, path: tuple[str, ...], needle: str, what: str) -> Finding:
    return Finding(
        rule="dependency.group",
        file=project.file,
        line=project.line(*path, needle=needle),
        what=what,
        remedy="correct [dependency-groups]; uv refuses the project as it is",
    )


def _included(entries: object) -> list[NormalizedName]:
    """The normalised names that a group includes."""
    each = cast("list[object]", entries) if isinstance(entries, list) else []
    names = [at(entry, "include-group") for entry in each]
    return [canonicalize_name(name) for name in names if isinstance(name, str)]


def _reached(
    name: NormalizedName, included: Mapping[NormalizedName, list[NormalizedName]]
) -> set[NormalizedName]:
    """A group, and all that it includes, directly or not."""
    reached, pending = set[NormalizedName](), [name]
    while pending:
        if (here := pending.pop()) not in reached:
            reached.add(here)
            pending += included.get(here, ())
    return reached
