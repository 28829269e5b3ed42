"""Rules on Python versions in projects: one `requires-python`, and targets and classifiers agree. Pure.

Owns what a range means, for `workflows` too: which Pythons fit it, and which is the oldest. A bound at
Python 4 says nothing, as there is none.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from tta_agent_coordination.adopt.findings import Finding, ReplaceOnLine, SetValue
from tta_agent_coordination.adopt.tables import at, strings
from tta_agent_coordination.adopt.tree import Project, Workspace

__all__ = ["Authority", "agree", "authority", "classifiers", "declared", "targets"]

_REQUIRES = ("project", "requires-python")
_NEWEST = 40
"""Minor versions looked at, in decades to come."""


def _range(project: Project) -> SpecifierSet | None:
    """The Pythons a project asks for; None where it does not say, or not in a form that means something."""
    text = at(project.data, *_REQUIRES)
    try:
        return SpecifierSet(text) if isinstance(text, str) else None
    except InvalidSpecifier:
        return None


def _allows(wanted: SpecifierSet, minor: int) -> bool:
    """Whether some release of Python 3.`minor` fits."""
    return wanted.contains(f"3.{minor}") or wanted.contains(f"3.{minor}.999")


def _floor(wanted: SpecifierSet) -> str | None:
    """The oldest Python 3 that fits, as `3.12`; None where none does."""
    return next((f"3.{minor}" for minor in range(_NEWEST) if _allows(wanted, minor)), None)


def _meant(wanted: SpecifierSet, others: SpecifierSet) -> frozenset[str]:
    """The Pythons that fit, of all minor versions and of those that either of two ranges names."""
    named = {each.version for each in (*wanted, *others) if each.version.startswith("3.")}
    points = {f"3.{minor}{patch}" for minor in range(_NEWEST) for patch in ("", ".999")} | named
    return frozenset(wanted.filter(point for point in points if "*" not in point))


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """The range that everything else is held against, as its project has it, and the oldest Python in it."""

    project: Project
    wanted: SpecifierSet
    floor: str

    @property
    def said(self) -> str:
        """The range as it is written."""
        return str(at(self.project.data, *_REQUIRES))

    def fits(self, version: str) -> bool:
        """Whether a Python 3 fits: `3.12` if some release of it does, `3.12.4` if just that one does."""
        _, minor, *patch = version.split(".")
        return self.wanted.contains(version) if patch else _allows(self.wanted, int(minor))


def authority(workspace: Workspace) -> Authority | None:
    """The root's range; where the root is no project, that of the member with the newest floor."""
    top = workspace.top
    if top is None:
        return None
    found = [
        Authority(project=project, wanted=wanted, floor=floor)
        for project in ((top,) if at(top.data, "project") is not None else workspace.members)
        if (wanted := _range(project)) is not None and (floor := _floor(wanted))
    ]
    return max(found, key=lambda each: int(each.floor.removeprefix("3.")), default=None)


def declared(workspace: Workspace) -> Iterator[Finding]:
    """`python.declared`: the root says which Pythons it needs, in a form that some Python fits.

    Where the root is no project, a member has to say it.
    """
    if workspace.top is not None and authority(workspace) is None:
        said = at(workspace.top.data, *_REQUIRES)
        yield Finding(
            rule="python.declared",
            file=workspace.top.file,
            line=workspace.top.line(*_REQUIRES),
            what="has no requires-python" if said is None else f"no Python fits requires-python {said!r}",
            remedy='add requires-python, such as ">=3.12", to [project]; the other files are held against it',
        )


def agree(workspace: Workspace) -> Iterator[Finding]:
    """`python.requires`: every member asks for the same Pythons as the root, however it is spelled."""
    held = authority(workspace)
    if held is None:
        return
    for project in workspace.members:
        own = _range(project)
        if own is None or _meant(own, held.wanted) != _meant(held.wanted, own):
            said = at(project.data, *_REQUIRES)
            yield Finding(
                rule="python.requires",
                file=project.file,
                line=project.line(*_REQUIRES),
                what=f"requires-python is {said!r}, that of {held.project.file} is {held.said!r}",
                remedy=f'requires-python = "{held.said}"',
                change=SetValue(path=_REQUIRES, value=held.said) if at(project.data, "project") else None,
            )


_TARGETS = (
    ("python.ruff", ("tool", "ruff", "target-version")),
    ("python.pyright", ("tool", "pyright", "pythonVersion")),
    ("python.pyright", ("tool", "basedpyright", "pythonVersion")),
    ("python.mypy", ("tool", "mypy", "python_version")),
)
_RUFF = re.compile(r"^\s*target-version\s*=\s*[\"'](?P<target>[^\"']*)")
_PYRIGHT = re.compile(r"^(?:(?!//).)*\"pythonVersion\"\s*:\s*\"(?P<target>[^\"]*)")
_MYPY = re.compile(r"^python_version\s*[=:]\s*(?P<target>[\d.]+)")
_TARGET_FILES = {
    ".mypy.ini": ("python.mypy", _MYPY),
    ".ruff.toml": ("python.ruff", _RUFF),
    "mypy.ini": ("python.mypy", _MYPY),
    "pyrightconfig.json": ("python.pyright", _PYRIGHT),
    "ruff.toml": ("python.ruff", _RUFF),
    "setup.cfg": ("python.mypy", _MYPY),
}
"""Files beside a pyproject.toml that hold a target on a line of its own."""


def targets(workspace: Workspace) -> Iterator[Finding]:
    """`python.ruff`, `python.pyright`, `python.mypy`: the tools' targets are the oldest Python that fits."""
    held = authority(workspace)
    if held is None:
        return
    wanted = {"python.ruff": f"py{held.floor.replace('.', '')}"}
    for project in workspace.projects:
        for rule, path in _TARGETS:
            said, target = at(project.data, *path), wanted.get(rule, held.floor)
            # mypy takes a number for a string.
            if said is not None and str(said) != target:
                yield Finding(
                    rule=rule,
                    file=project.file,
                    line=project.line(*path),
                    what=f"{path[-1]} is {said!r}, the oldest Python that fits is {held.floor}",
                    remedy=f'{path[-1]} = "{target}"',
                    change=SetValue(path=path, value=target),
                )
        for name, (rule, pattern) in _TARGET_FILES.items():
            file, target = project.inside(name), wanted.get(rule, held.floor)
            for number, line in enumerate(workspace.texts.get(file, "").splitlines(), start=1):
                found = pattern.match(line)
                said = found["target"] if found else target
                if found and said != target:
                    yield Finding(
                        rule=rule,
                        file=file,
                        line=number,
                        what=f"the target is {said!r}, the oldest Python that fits is {held.floor}",
                        remedy=target,
                        change=ReplaceOnLine(
                            line=number, old=found[0], new=found[0].removesuffix(said) + target
                        ),
                    )


def classifiers(workspace: Workspace) -> Iterator[Finding]:
    """`python.classifier`: classifiers name only Pythons that fit, the oldest among them."""
    held = authority(workspace)
    if held is None:
        return
    start = "Programming Language :: Python :: 3."
    for project in workspace.projects:
        listed = [text for text in strings(project.data, "project", "classifiers") if text.startswith(start)]
        for text in listed:
            minor = text.removeprefix(start)
            if minor.isdigit() and not held.fits(f"3.{minor}"):
                yield Finding(
                    rule="python.classifier",
                    file=project.file,
                    line=project.line("project", "classifiers", needle=text),
                    what=f"the classifier names Python 3.{minor}, which {held.wanted} excludes",
                    remedy="remove the classifier",
                )
        if listed and start[:-2] + held.floor not in listed:
            yield Finding(
                rule="python.classifier",
                file=project.file,
                line=project.line("project", "classifiers"),
                what=f"no classifier names Python {held.floor}, the oldest that fits",
                remedy=f'add "{start[:-2]}{held.floor}"',
            )
