"""What is required of the workspace's own packages: each rule by its whole lines and changes."""

from __future__ import annotations

import pytest

from tests.library.adopt.workspaces import ROOT, changes, member, said
from tta_agent_coordination.adopt.findings import ReplaceInArray
from tta_agent_coordination.adopt.requiring import constraints, extras, groups, requirements

A = "packages/a/pyproject.toml"
B = "packages/b/pyproject.toml"
DEPENDENCIES = ("project", "dependencies")


def two(dependencies: str, b: str = "version = '2.1'\n", more: str = "") -> dict[str, str]:
    """Return a workspace whose member a requires something, the member b among it."""
    return member(f"[project]\nname = 'a'\ndependencies = [\n  {dependencies}\n]\n{more}") | {
        B: f"[project]\nname = 'b'\n{b}"
    }


@pytest.mark.parametrize(
    ("written", "constrained"),
    [
        ("b", "b>=2.1"),
        ("B", "B>=2.1"),
        ("b[x]", "b[x]>=2.1"),
        ("b[y,x]", "b[x,y]>=2.1"),
        ("b; python_version < '3.13'", 'b>=2.1; python_version < "3.13"'),
    ],
)
def test_package_of_the_workspace_gets_the_version_it_has(written: str, constrained: str) -> None:
    """Broken: whoever installs from an index gets any version, or not what was asked for besides."""
    files = two(f'"c>=1",\n  "{written}",')
    assert said(constraints, files) == [
        f"{A}:5: dependency.constraint: b is required without a version; {constrained}"
    ]
    assert changes(constraints, files) == [ReplaceInArray(path=DEPENDENCIES, old=written, new=constrained)]


def test_public_part_of_a_version_is_the_constraint() -> None:
    """Broken: the constraint names a build that no index has."""
    (change,) = changes(constraints, two("'b'", "version = '2.1.dev3+local'\n"))
    assert change == ReplaceInArray(path=DEPENDENCIES, old="b", new="b>=2.1.dev3")


def test_version_that_only_a_build_knows_is_asked_for() -> None:
    """Broken: a version is made up."""
    files = two("'b'", "dynamic = ['version']\n")
    remedy = f"say which versions fit; {B} does not say which it has, only a build does"
    assert said(constraints, files) == [
        f"{A}:4: dependency.constraint: b is required without a version; {remedy}"
    ]
    assert changes(constraints, files) == [None]
    assert said(constraints, two("'b>=1'", "dynamic = ['version']\n")) == []


def test_version_outside_of_the_range_is_found() -> None:
    """Broken: a package is released that nobody may install beside its neighbours."""
    files = two("'c',\n  'b<2'")
    remedy = f"let the range hold 2.1, or correct the version in {B}"
    assert said(constraints, files) == [
        f"{A}:5: dependency.constraint: b is required as <2, and its version here is 2.1; {remedy}"
    ]
    assert changes(constraints, files) == [None]


@pytest.mark.parametrize("written", ["b>=2", "b @ https://example.org/b.whl", "c", "a"])
def test_requirement_that_fits_or_is_another_rules_is_fine(written: str) -> None:
    """Broken: a false alarm."""
    assert said(constraints, two(f"'{written}'")) == []


def test_version_before_a_release_fits_a_range_that_holds_it() -> None:
    """Broken: what is developed now counts as missing from every range."""
    assert said(constraints, two("'b>=2'", "version = '2.1.dev3'\n")) == []


def test_every_requirement_of_every_project_is_looked_at() -> None:
    """Broken: what comes after a requirement that is fine is overlooked."""
    more = "[project.optional-dependencies]\nx = ['b<1']\n[dependency-groups]\ny = ['b']\n"
    root = ROOT.replace("requires-python", 'dependencies = ["a"]\nrequires-python')
    files = two("'b @ https://example.org/b.whl', 'b>1', 'b'", more=more) | {"pyproject.toml": root}
    assert [line.partition(": ")[0] for line in said(constraints, files)] == [
        "pyproject.toml:3",
        f"{A}:4",
        f"{A}:7",
        f"{A}:9",
    ]
    assert changes(constraints, files)[1:] == [
        ReplaceInArray(path=DEPENDENCIES, old="b", new="b>=2.1"),
        None,
        ReplaceInArray(path=("dependency-groups", "y"), old="b", new="b>=2.1"),
    ]


def test_extra_that_the_workspaces_own_package_lacks_is_found() -> None:
    """Broken: an installation misses what it asked for, and pip only warns."""
    has = "[project.optional-dependencies]\nFast_one = []\nall = []\n"
    files = two("'c[x]', 'b[all]',\n  'b[z,fast.one,y]'", has, "[dependency-groups]\nd = ['b[w]']\n")
    why = f"use one of all, fast-one, or add it to {B}"
    assert said(extras, files) == [
        f"{A}:5: dependency.extra: b has no extra y; {why}",
        f"{A}:5: dependency.extra: b has no extra z; {why}",
        f"{A}:8: dependency.extra: b has no extra w; {why}",
    ]
    assert said(extras, two("'b[x]'", "")) == [
        f"{A}:4: dependency.extra: b has no extra x; use one of none, or add it to {B}"
    ]


def test_extras_that_a_backend_finds_are_not_judged() -> None:
    """Broken: an extra that only a build knows is called missing, or the rest is no longer looked at."""
    files = two("'b[x]', 'a[y]'", "dynamic = ['optional-dependencies']\n")
    assert [line.split(" ")[6] for line in said(extras, files)] == ["y;"]


def test_what_is_no_requirement_is_named_where_it_stands() -> None:
    """Broken: a typing error is found only when somebody installs the package."""
    more = "[dependency-groups]\nd = [\n'fine',\n'= no',\n]\n"
    remedy = "write it as PEP 508 says: name[extra]>=version; marker"
    assert said(requirements, two("'fine',\n  'not one'", more=more)) == [
        f"{A}:5: dependency.requirement: 'not one' is no requirement; {remedy}",
        f"{A}:10: dependency.requirement: '= no' is no requirement; {remedy}",
    ]


REFUSED = "correct [dependency-groups]; uv refuses the project as it is"


def test_group_that_includes_none_is_found() -> None:
    """Broken: uv refuses the project, and says less."""
    text = (
        "[project]\nname = 'a'\n[dependency-groups]\n"
        "x = ['pytest', { include-group = 'Y.y' }, { include-group = 'gone' }]\n"
        "y-y = [{ include-group = 3 }, { other = 'x' }]\n"
        "z = 3\n"
        "w = [\n'ruff',\n{ include-group = 'Far' },\n]\n"
    )
    assert said(groups, member(text)) == [
        f"{A}:4: dependency.group: x includes gone, which is no group; {REFUSED}",
        f"{A}:9: dependency.group: w includes far, which is no group; {REFUSED}",
    ]


def test_group_that_includes_itself_is_found_by_way_of_others() -> None:
    """Broken: the run never ends, or uv refuses the project and says less."""
    text = (
        "[dependency-groups]\n"
        "A_a = [{ include-group = 'b' }]\n"
        "b = [{ include-group = 'c' }, { include-group = 'd' }, { include-group = 'd' }]\n"
        "c = [{ include-group = 'gone' }]\n"
        "d = [{ include-group = 'a.a' }]\n"
        "e = [\n'x',\n{ include-group = 'e' },\n]\n"
        "f = [{ include-group = 'b' }]\n"
    )
    what = [line.partition("; ")[0] for line in said(groups, member(text))]
    assert what == [
        f"{A}:2: dependency.group: A_a includes itself by way of b",
        f"{A}:3: dependency.group: b includes itself by way of d",
        f"{A}:3: dependency.group: b includes itself by way of d",
        f"{A}:4: dependency.group: c includes gone, which is no group",
        f"{A}:5: dependency.group: d includes itself by way of a-a",
        f"{A}:8: dependency.group: e includes itself by way of e",
    ]


def test_group_that_is_installed_by_default_has_to_be_there() -> None:
    """Broken: uv refuses the project, and says less."""
    groups_there = "[dependency-groups]\nTe_st = []\n"
    text = f"{groups_there}[tool.uv]\ndefault-groups = [\n'te-st',\n'dev',\n'docs',\n]\n"
    assert said(groups, member(text)) == [
        f"{A}:{line}: dependency.group: `default-groups` names {name}, which is no group; {REFUSED}"
        for line, name in ((6, "dev"), (7, "docs"))
    ]
    with_old = text + "dev-dependencies = []\n"
    assert [line.partition(": ")[0] for line in said(groups, member(with_old))] == [f"{A}:7"]
    assert said(groups, member(groups_there + "[tool.uv]\ndefault-groups = 'all'\n")) == []


def test_groups_of_every_project_are_looked_at() -> None:
    """Broken: only the root's groups are looked at."""
    wrong = "[dependency-groups]\nx = [{ include-group = 'y' }]\n"
    files = member(wrong, root=ROOT + wrong) | {B: "", "packages/c/pyproject.toml": wrong}
    assert len(said(groups, files)) == 3
