"""The rule on what a member is built from: it is there, where its backend looks. Pure.

Each backend's own defaults are followed; where a project configures what is built, only the paths it names
are looked for.
"""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from tta_agent_coordination.adopt.findings import Finding
from tta_agent_coordination.adopt.tables import at, strings, table
from tta_agent_coordination.adopt.tree import Project, Workspace

__all__ = ["built"]

_WHEEL = ("tool", "hatch", "build", "targets", "wheel")
_CHOSEN = frozenset({"bypass-selection", "force-include", "include", "only-include", "packages"})
"""Options of hatchling that say what is built."""
_PURE = ("setuptools", "flit_core", "poetry", "pdm")
"""Backends that build Python only, unless a project has sources in another language too."""
_NO_SOURCE = frozenset({"conftest.py", "noxfile.py", "setup.py", "hatch_build.py"})


def built(workspace: Workspace) -> Iterator[Finding]:
    """`workspace.sources`: a member that declares a build has something to build, where its backend looks."""
    known = workspace.paths | workspace.folders
    for project in workspace.members:
        if at(project.data, "build-system") is None or at(project.data, "tool", "uv", "package") is False:
            continue
        for path in strings(project.data, *_WHEEL, "packages"):
            if project.inside(path.removeprefix("./").strip("/")) not in known:
                yield Finding(
                    rule="workspace.sources",
                    file=project.file,
                    line=project.line(*_WHEEL, "packages", needle=path),
                    what=f"`packages` names {path}, which does not exist",
                    remedy="name the folder that holds the sources",
                )
        backend = str(at(project.data, "build-system", "build-backend") or "setuptools")
        missing = _missing(project, workspace, backend)
        if missing:
            yield Finding(
                rule="workspace.sources",
                file=project.file,
                line=project.line("build-system"),
                what=f"there is nothing to build: {missing}",
                remedy=f"add the sources, or name their folder as {backend.partition('.')[0]} wants it",
            )


def _missing(project: Project, workspace: Workspace, backend: str) -> str:
    """What a backend looks for and does not find; empty where it finds it, or is told where to look."""
    if "hatchling" in backend:
        settings = {**table(project.data, "tool", "hatch", "build"), **table(project.data, *_WHEEL)}
        return "" if _CHOSEN & settings.keys() else _missing_for_hatchling(project, workspace)
    if "uv_build" in backend:
        return _missing_for_uv(project, workspace)
    own = [
        PurePosixPath(path.removeprefix(f"{project.folder}/"))
        for path in workspace.paths
        if path.startswith(f"{project.folder}/")
    ]
    sources = [path for path in own if "tests" not in path.parts and path.name not in _NO_SOURCE]
    if any(path.suffix in {".py", ".pyi"} for path in sources):
        return ""
    if not backend.startswith(_PURE) and any(len(path.parts) > 1 for path in sources):
        return ""
    return "no Python file outside of tests/"


def _missing_for_hatchling(project: Project, workspace: Workspace) -> str:
    raw = str(at(project.data, "project", "name"))
    names = dict.fromkeys(re.sub(r"[^\w.]+", "_", name) for name in (project.name, raw))
    for name in names:
        places = (f"{name}/__init__.py", f"src/{name}/__init__.py", f"{name}.py")
        if any(project.inside(place) in workspace.paths for place in places):
            return ""
        # A namespace package: the name below exactly one folder.
        pattern = re.compile(re.escape(project.inside("")) + r"[^/]+/" + re.escape(name) + r"/__init__\.py")
        if sum(pattern.fullmatch(path) is not None for path in workspace.paths) == 1:
            return ""
    return f"no {project.module}/__init__.py, src/{project.module}/__init__.py or {project.module}.py"


def _missing_for_uv(project: Project, workspace: Workspace) -> str:
    options = table(project.data, "tool", "uv", "build-backend")
    root = options.get("module-root", "src")
    modules = strings(options, "module-name") or [project.module]
    for module in modules:
        place = "/".join(filter(None, (str(root).strip("/"), *module.split("."))))
        if options.get("namespace") is True:
            if project.inside(place) not in workspace.folders:
                return f"no {place}/"
        elif not module.endswith("_stubs") and project.inside(f"{place}/__init__.py") not in workspace.paths:
            return f"no {place}/__init__.py"
    return ""
