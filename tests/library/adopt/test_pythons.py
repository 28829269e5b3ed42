"""Which Pythons a workspace is for, and what says otherwise: each rule by its whole lines and changes."""

from __future__ import annotations

import pytest

from tests.library.adopt.workspaces import ROOT, changes, member, said, workspace
from tta_agent_coordination.adopt.findings import ReplaceOnLine, SetValue
from tta_agent_coordination.adopt.pythons import agree, authority, classifiers, declared, targets

A = "packages/a/pyproject.toml"
GROUP = '[tool.uv.workspace]\nmembers = ["packages/*"]\n'
SAY_IT = 'add requires-python, such as ">=3.12", to [project]; the other files are held against it'
CLASSIFIER = "Programming Language :: Python :: "


def asking(requires: str, name: str = "a") -> str:
    """Return a pyproject.toml that asks for a range of Pythons."""
    return f'[project]\nname = "{name}"\nrequires-python = "{requires}"\n'


@pytest.mark.parametrize(
    ("requires", "floor"),
    [
        (">=3.12", "3.12"),
        (">=2.7", "3.0"),
        ("", "3.0"),
        (">=3.39", "3.39"),
        (">=3.11.4,<3.12", "3.11"),
        ("==3.12", "3.12"),
        (">3.12", "3.12"),
        ("!=3.0.*,!=3.1.*", "3.2"),
    ],
)
def test_floor_is_the_oldest_python_with_a_release_that_fits(requires: str, floor: str) -> None:
    """Broken: the tools are told to check for a Python that nobody may use, or not for one that many have."""
    held = authority(workspace({"pyproject.toml": asking(requires)}))
    assert held is not None
    assert (held.floor, held.said) == (floor, requires)


@pytest.mark.parametrize("requires", [">=3.40", ">=4", "<3", "snake", ">=3.12,<3.12"])
def test_range_that_no_python_fits_holds_nobody(requires: str) -> None:
    """Broken: every other file is held against a range that means nothing."""
    files = {"pyproject.toml": asking(requires)}
    assert authority(workspace(files)) is None
    assert said(declared, files) == [
        f"pyproject.toml:3: python.declared: no Python fits requires-python {requires!r}; {SAY_IT}"
    ]


@pytest.mark.parametrize(
    ("requires", "version", "fits"),
    [
        (">=3.12.5", "3.12", True),
        (">=3.12.5", "3.12.4", False),
        (">=3.12.5", "3.12.5", True),
        (">=3.12.5", "3.11", False),
        ("==3.12", "3.12", True),
        ("==3.12", "3.12.1", False),
    ],
)
def test_minor_version_fits_if_some_release_does_and_a_release_by_itself(
    requires: str, version: str, *, fits: bool
) -> None:
    """Broken: an image with the wrong release passes, or one that only names the minor version is refused."""
    held = authority(workspace({"pyproject.toml": asking(requires)}))
    assert held is not None
    assert held.fits(version) is fits


def test_root_that_is_no_project_has_the_newest_floor_of_its_members() -> None:
    """Broken: the workspace is held against a Python that one of its members refuses."""
    files = {"pyproject.toml": GROUP} | {
        f"packages/{name}/pyproject.toml": asking(requires)
        for name, requires in {"a": ">=3.9", "b": ">=3.12", "c": ">=3.10", "d": "snake", "e": ">=4"}.items()
    }
    held = authority(workspace(files))
    assert held is not None
    assert (held.project.file, held.floor) == ("packages/b/pyproject.toml", "3.12")
    assert said(declared, files) == []


@pytest.mark.parametrize(
    ("root", "line"), [("[project]\nname = 'r'\n" + GROUP, 1), (GROUP, 1), ("#\n[project]\n", 2)]
)
def test_root_has_to_say_it_unless_a_member_does(root: str, line: int) -> None:
    """Broken: nothing is held against anything, and nobody hears of it."""
    without = member("[project]\nname = 'a'\n", root=root)
    assert said(declared, without) == [
        f"pyproject.toml:{line}: python.declared: has no requires-python; {SAY_IT}"
    ]
    held = member(asking(">=3.12"), root=root)
    assert (said(declared, held) == []) is ("[project]" not in root)


def test_without_a_root_nothing_is_held_against_anything() -> None:
    """Broken: a folder that is no workspace ends the run."""
    files = {
        A: asking(">=3.11") + f"classifiers = ['{CLASSIFIER}3.9']\n[tool.ruff]\ntarget-version = 'py38'\n"
    }
    for rule in (declared, agree, targets, classifiers):
        assert said(rule, files) == []


def test_member_that_asks_for_other_pythons_gets_the_roots_range() -> None:
    """Broken: a package is installed where the workspace was never tested."""
    held = "that of pyproject.toml is '>=3.12'; requires-python = \">=3.12\""
    change = SetValue(path=("project", "requires-python"), value=">=3.12")
    for text, line, own, mended in (
        (asking(">=3.11"), 3, "'>=3.11'", change),
        (asking("snake"), 3, "'snake'", change),
        ("\n[project]\nname = 'a'\n", 2, "None", change),
        ("\n[tool.x]\n", 1, "None", None),
        ("[project]\nrequires-python = 3.12\n", 2, "3.12", change),
    ):
        assert said(agree, member(text)) == [f"{A}:{line}: python.requires: requires-python is {own}, {held}"]
        assert changes(agree, member(text)) == [mended]


def test_range_of_a_member_is_held_against_the_members_that_stand_for_the_root() -> None:
    """Broken: the finding names a file that says nothing of the kind."""
    files = member(asking(">=3.11"), root=GROUP) | {"packages/b/pyproject.toml": asking(">=3.12", "b")}
    (line,) = said(agree, files)
    assert "requires-python is '>=3.11', that of packages/b/pyproject.toml is '>=3.12'" in line


@pytest.mark.parametrize(
    ("own", "root"),
    [
        (">=3.12,!=3.13.2", ">=3.12"),
        (">=3.12", ">=3.12,!=3.13.2"),
        (">=3.12", ">3.12"),
        (">=3.12,<3.40", ">=3.12,<3.39"),
        (">=3.12,<3.14", ">=3.12,<3.13.999"),
        (">=3.12,!=3.13.*", ">=3.12"),
        (">=3.0", ">=3.1"),
        ("==3.12.*", "==3.12.999"),
        ("==3.12.*", "==3.12.0"),
    ],
)
def test_ranges_that_differ_in_one_release_differ(own: str, root: str) -> None:
    """Broken: one of two packages cannot be installed where the other can."""
    assert len(said(agree, member(asking(own), root=asking(root, "root")))) == 1


@pytest.mark.parametrize(
    ("own", "root"),
    [
        ("~=3.12", ">=3.12,<4"),
        (">=3.12,<4.5", ">=3.12.0"),
        ("!=3.13.*,>=3.12", ">=3.12,!=3.13.*"),
        (">=3.12,<4.0.1", ">=3.12,<5"),
        ("==3.*,>=3.9", ">=3.9"),
    ],
)
def test_ranges_that_mean_the_same_agree(own: str, root: str) -> None:
    """Broken: a person has to spell what means the same in the same way everywhere."""
    assert said(agree, member(asking(own), root=asking(root, "root"))) == []


TARGETS = [
    ("python.ruff", ("tool", "ruff", "target-version"), "py312", '"py311"', "'py311'"),
    ("python.pyright", ("tool", "pyright", "pythonVersion"), "3.12", '"3.13"', "'3.13'"),
    ("python.pyright", ("tool", "basedpyright", "pythonVersion"), "3.12", '"3.11"', "'3.11'"),
    ("python.mypy", ("tool", "mypy", "python_version"), "3.12", "3.11", "3.11"),
]


@pytest.mark.parametrize(("rule", "path", "target", "written", "shown"), TARGETS)
def test_target_of_a_tool_is_the_oldest_python(
    rule: str, path: tuple[str, ...], target: str, written: str, shown: str
) -> None:
    """Broken: a tool lets code pass that fails on the oldest Python, or refuses what every Python can do."""
    text = asking(">=3.12") + f"[{path[0]}.{path[1]}]\n{path[2]} = "
    files = member(text + written + "\n")
    assert said(targets, files) == [
        f'{A}:5: {rule}: {path[2]} is {shown}, the oldest Python that fits is 3.12; {path[2]} = "{target}"'
    ]
    assert changes(targets, files) == [SetValue(path=path, value=target)]
    fine = member(f'{text}"{target}"\n', root=f'{ROOT}[{path[0]}.{path[1]}]\n{path[2]} = "{target}"\n')
    assert said(targets, fine) == []


FILES = [
    ("python.mypy", "mypy.ini", "[mypy]\npython_version = 3.11\n", "python_version = 3.11", "3.12"),
    ("python.mypy", ".mypy.ini", "[mypy]\npython_version:3.11\n", "python_version:3.11", "3.12"),
    ("python.mypy", "setup.cfg", "[mypy]\npython_version=3.11 ; why\n", "python_version=3.11", "3.12"),
    ("python.ruff", "ruff.toml", "\n target-version='py311' # why\n", " target-version='py311", "py312"),
    ("python.ruff", ".ruff.toml", '\ntarget-version = "py311"\n', 'target-version = "py311', "py312"),
    (
        "python.pyright",
        "pyrightconfig.json",
        '{\n "a": 1, "pythonVersion" : "3.11"}\n',
        ' "a": 1, "pythonVersion" : "3.11',
        "3.12",
    ),
]


@pytest.mark.parametrize(("rule", "name", "text", "old", "target"), FILES)
def test_target_in_a_file_of_the_tool_is_the_oldest_python(
    rule: str, name: str, text: str, old: str, target: str
) -> None:
    """Broken: a setting beside the pyproject.toml goes on meaning another Python."""
    there = target.replace("12", "11")
    why = f"the target is {there!r}, the oldest Python that fits is 3.12"
    for folder in ("", "packages/a/"):
        files = member(asking(">=3.12")) | {f"{folder}{name}": text}
        assert said(targets, files) == [f"{folder}{name}:2: {rule}: {why}; {target}"]
        assert changes(targets, files) == [
            ReplaceOnLine(line=2, old=old, new=old.removesuffix(there) + target)
        ]
        assert said(targets, {**files, f"{folder}{name}": text.replace("11", "12")}) == []
    assert said(targets, member(asking(">=3.12")) | {f"docs/{name}": text}) == []


def test_classifier_for_a_python_that_does_not_fit_is_found() -> None:
    """Broken: an index lists a package for a Python that it refuses."""
    listed = ["3", "3.12", "3.9", "3 :: Only", "3.x", "3.11"]
    lines = "".join(f'"{CLASSIFIER}{each}",\n' for each in listed)
    text = f"{asking('>=3.12')}description = '{CLASSIFIER}3.9 {CLASSIFIER}3.11'\nclassifiers = [\n{lines}]\n"
    why = "which >=3.12 excludes; remove the classifier"
    assert said(classifiers, member(text)) == [
        f"{A}:8: python.classifier: the classifier names Python 3.9, {why}",
        f"{A}:11: python.classifier: the classifier names Python 3.11, {why}",
    ]


def test_oldest_python_has_a_classifier_where_any_python_has() -> None:
    """Broken: an index says that a package is not for the oldest Python that its tests run on."""
    text = asking(">=3.12") + f"classifiers = ['Topic :: X', '{CLASSIFIER}3.13']\n"
    why = "no classifier names Python 3.12, the oldest that fits"
    assert said(classifiers, member(text)) == [f'{A}:4: python.classifier: {why}; add "{CLASSIFIER}3.12"']
    for listed in ("", f"'{CLASSIFIER}3'", f"'{CLASSIFIER}3.13', '{CLASSIFIER}3.12'"):
        assert said(classifiers, member(asking(">=3.12") + f"classifiers = [{listed}]\n")) == []
