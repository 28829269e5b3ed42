"""Which version a project has: the one it states, or the one its build backend reads from its files.

Reads what hatchling, setuptools, flit and pdm read by default; runs nothing. A version that comes from tags,
from a program or by an own pattern is not known here.
"""

import posixpath
import re

from packaging.version import InvalidVersion, Version

from tta_agent_coordination.adopt.tables import at
from tta_agent_coordination.adopt.tree import Project, Workspace

__all__ = ["version_of"]

_ASSIGNED = r"^{name}(?:[ \t]*:[ \t]*str)?[ \t]*=[ \t]*[\"']v?([^\"'\n]+)[\"']"
_USUAL = "(?:__version__|VERSION|version)"


def version_of(workspace: Workspace, project: Project) -> Version | None:
    """The version of one of the workspace's projects; None where only a build can tell."""
    said = at(project.data, "project", "version")
    if said is None and project.dynamic("version"):
        said = _from_files(workspace, project)
    try:
        return Version(said) if isinstance(said, str) else None
    except InvalidVersion:
        return None


def _from_files(workspace: Workspace, project: Project) -> str | None:
    hatch = at(project.data, "tool", "hatch", "version")
    path = at(hatch, "path")
    if at(hatch, "source") in {None, "regex"} and at(hatch, "pattern") is None and isinstance(path, str):
        return _assigned(workspace, project, path, _USUAL)
    pdm = at(project.data, "tool", "pdm", "version")
    path = at(pdm, "path")
    if at(pdm, "source") == "file" and isinstance(path, str):
        return _assigned(workspace, project, path, "__version__")
    setuptools = at(project.data, "tool", "setuptools", "dynamic", "version")
    path = at(setuptools, "file")
    if isinstance(path, str):
        return workspace.read(_inside(project, path)).strip()
    attribute = at(setuptools, "attr")
    if isinstance(attribute, str):
        module, _, name = attribute.rpartition(".")
        return _in_module(workspace, project, module.replace(".", "/"), re.escape(name))
    if "flit_core" in str(at(project.data, "build-system", "build-backend")):
        module = at(project.data, "tool", "flit", "module", "name")
        return _in_module(
            workspace, project, module if isinstance(module, str) else project.module, "__version__"
        )
    return None


def _in_module(workspace: Workspace, project: Project, module: str, name: str) -> str | None:
    places = (f"{root}{module}{end}" for root in ("src/", "") for end in ("/__init__.py", ".py"))
    return next(
        (found for place in places if (found := _assigned(workspace, project, place, name)) is not None), None
    )


def _assigned(workspace: Workspace, project: Project, path: str, name: str) -> str | None:
    text = workspace.read(_inside(project, path))
    found = re.search(_ASSIGNED.format(name=name), text, re.MULTILINE)
    return found[1] if found else None


def _inside(project: Project, path: str) -> str:
    return posixpath.normpath(project.inside(path))
