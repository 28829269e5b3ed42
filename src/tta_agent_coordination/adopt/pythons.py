"""Rules on Python versions: one `requires-python`, and everything else agrees with it. Pure."""

import re
from collections.abc import Iterator

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from tta_agent_coordination.adopt.findings import Finding, ReplaceOnLine, SetValue
from tta_agent_coordination.adopt.tables import at, strings
from tta_agent_coordination.adopt.tree import Project, Workspace, is_image_file

__all__ = ["agree", "classifiers", "declared", "images", "targets", "version_files", "workflows"]

_REQUIRES = ("project", "requires-python")
_VERSION = re.compile(r"(?<![\d.])3\.(\d+)(?:\.\d+)?")
_IN_WORKFLOW = re.compile(r"^(?P<indent>\s*)(?:-\s+)?(?:python-version|python)\s*:\s*(?P<value>.*)$")
_IMAGE = re.compile(r"(?:\bpython:?|\bPYTHON_VERSION=[\"']?)(?P<version>3\.(?P<minor>\d+)(?:\.\d+)?)")
_IMAGE_LINE = re.compile(r"^\s*(?:-\s+)?(?:FROM\b|ARG\b|ENV\b|image:|PYTHON_VERSION\b)", re.IGNORECASE)


def _range(project: Project | None) -> SpecifierSet | None:
    """The Pythons a project asks for; None where it does not say, or not in a form that means something."""
    text = at(project.data if project else None, *_REQUIRES)
    try:
        return SpecifierSet(text) if isinstance(text, str) else None
    except InvalidSpecifier:
        return None


def _allows(wanted: SpecifierSet, minor: int) -> bool:
    """Whether some release of Python 3.`minor` fits."""
    return wanted.contains(f"3.{minor}") or wanted.contains(f"3.{minor}.999")


def _floor(wanted: SpecifierSet) -> str:
    """The oldest Python 3 that fits, as `3.12`; empty where none does."""
    return next((f"3.{minor}" for minor in range(100) if _allows(wanted, minor)), "")


def _authority(workspace: Workspace) -> tuple[SpecifierSet, str] | None:
    """The root's range and its floor, which everything else is held against."""
    wanted = _range(workspace.top)
    floor = _floor(wanted) if wanted is not None else ""
    return (wanted, floor) if wanted is not None and floor else None


def declared(workspace: Workspace) -> Iterator[Finding]:
    """`python.declared`: the root says which Pythons it needs, in a form that some Python fits."""
    if workspace.top is not None and _authority(workspace) is None:
        said = at(workspace.top.data, *_REQUIRES)
        yield Finding(
            rule="python.declared",
            file=workspace.top.file,
            line=workspace.top.line(*_REQUIRES),
            what="has no requires-python" if said is None else f"no Python fits requires-python {said!r}",
            remedy='add requires-python, such as ">=3.12", to [project]; the other files are held against it',
        )


def agree(workspace: Workspace) -> Iterator[Finding]:
    """`python.requires`: every member asks for the same Pythons as the root."""
    authority = _authority(workspace)
    if authority is None or workspace.top is None:
        return
    said = str(at(workspace.top.data, *_REQUIRES))
    for project in workspace.members:
        if _range(project) != authority[0]:
            own = at(project.data, *_REQUIRES)
            yield Finding(
                rule="python.requires",
                file=project.file,
                line=project.line(*_REQUIRES),
                what=f"requires-python is {own!r}, the root's is {said!r}",
                remedy=f'requires-python = "{said}"',
                change=SetValue(path=_REQUIRES, value=said) if at(project.data, "project") else None,
            )


_TARGETS = (
    ("python.ruff", ("tool", "ruff", "target-version")),
    ("python.pyright", ("tool", "pyright", "pythonVersion")),
    ("python.mypy", ("tool", "mypy", "python_version")),
)


def targets(workspace: Workspace) -> Iterator[Finding]:
    """`python.ruff`, `python.pyright`, `python.mypy`: the tools' targets are the oldest Python that fits."""
    authority = _authority(workspace)
    if authority is None:
        return
    for project in workspace.projects:
        for rule, path in _TARGETS:
            said = at(project.data, *path)
            wanted = f"py{authority[1].replace('.', '')}" if rule == "python.ruff" else authority[1]
            if said is not None and said != wanted:
                yield Finding(
                    rule=rule,
                    file=project.file,
                    line=project.line(*path),
                    what=f"{path[-1]} is {said!r}, the oldest Python that fits is {authority[1]}",
                    remedy=f'{path[-1]} = "{wanted}"',
                    change=SetValue(path=path, value=wanted),
                )


def classifiers(workspace: Workspace) -> Iterator[Finding]:
    """`python.classifier`: classifiers name only Pythons that fit, the oldest among them."""
    authority = _authority(workspace)
    if authority is None:
        return
    start = "Programming Language :: Python :: 3."
    for project in workspace.projects:
        listed = [text for text in strings(project.data, "project", "classifiers") if text.startswith(start)]
        for text in listed:
            minor = text.removeprefix(start)
            if minor.isdigit() and not _allows(authority[0], int(minor)):
                yield Finding(
                    rule="python.classifier",
                    file=project.file,
                    line=project.line("project", "classifiers", needle=text),
                    what=f"the classifier names Python 3.{minor}, which {authority[0]} excludes",
                    remedy="remove the classifier",
                )
        if listed and start[:-2] + authority[1] not in listed:
            yield Finding(
                rule="python.classifier",
                file=project.file,
                line=project.line("project", "classifiers"),
                what=f"no classifier names Python {authority[1]}, the oldest that fits",
                remedy=f'add "{start[:-2]}{authority[1]}"',
            )


def version_files(workspace: Workspace) -> Iterator[Finding]:
    """`python.version-file`: each `.python-version` names a Python that fits."""
    authority = _authority(workspace)
    for path, text in workspace.texts.items():
        if authority is None or path.rpartition("/")[2] != ".python-version":
            continue
        for number, line in enumerate(text.splitlines(), start=1):
            yield from _unfit(authority[0], path, number, line, rule="python.version-file")


def workflows(workspace: Workspace) -> Iterator[Finding]:
    """`python.workflow`: the versions that workflows and their matrices name fit."""
    authority = _authority(workspace)
    for path, text in workspace.texts.items():
        if authority is None or not path.startswith(".github/"):
            continue
        inside = -1
        for number, raw in enumerate(text.splitlines(), start=1):
            line = re.sub(r"(^|\s)#.*", "", raw)
            indent = len(line) - len(line.lstrip())
            if found := _IN_WORKFLOW.match(line):
                value = found["value"].strip()
                open_list = not value or (value.startswith("[") and "]" not in value)
                inside = len(found["indent"]) if open_list else -1
            elif inside < 0 or not line.strip():
                continue
            elif indent < inside or (indent == inside and line.strip()[0] not in "-]"):
                inside = -1
                continue
            else:
                value = line
            yield from _unfit(authority[0], path, number, value, rule="python.workflow")


def _unfit(wanted: SpecifierSet, path: str, number: int, text: str, *, rule: str) -> Iterator[Finding]:
    """One finding for each version in a text that does not fit."""
    for found in _VERSION.finditer(text):
        if not _allows(wanted, int(found[1])):
            yield Finding(
                rule=rule,
                file=path,
                line=number,
                what=f"names Python {found[0]}, which {wanted} excludes",
                remedy=f"name one that fits, such as {_floor(wanted)}",
            )


def images(workspace: Workspace) -> Iterator[Finding]:
    """`python.image`: no container image carries a Python that does not fit."""
    authority = _authority(workspace)
    for path, text in workspace.texts.items():
        if authority is None or not (is_image_file(path) or path.startswith(".github/")):
            continue
        for number, line in enumerate(text.splitlines(), start=1):
            for found in _IMAGE.finditer(line) if _IMAGE_LINE.match(line) else ():
                if not _allows(authority[0], int(found["minor"])):
                    old = found[0]
                    new = old.removesuffix(found["version"]) + authority[1]
                    yield Finding(
                        rule="python.image",
                        file=path,
                        line=number,
                        what=f"the image has Python {found['version']}, which {authority[0]} excludes",
                        remedy=new,
                        change=ReplaceOnLine(line=number, old=old, new=new),
                    )
