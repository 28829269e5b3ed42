"""Where dependencies come from: each rule on sources by its whole lines and changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.library.adopt.workspaces import ROOT, changes, member, said, workspace
from tta_agent_coordination.adopt.findings import SetValue
from tta_agent_coordination.adopt.sourcing import own_requirements, sources, without

A = "packages/a/pyproject.toml"
B = "packages/b/pyproject.toml"
MEMBER_B = {B: "[project]\nname = 'b'\n"}
WORKSPACE = {"workspace": True}
UNDECLARED = "declare the dependency or remove the source"


def sourced(written: str, dependencies: str = "'b', 'c', 'd'", more: str = "") -> str:
    """Return a pyproject.toml with dependencies and sources, the sources from its fifth line on."""
    return f"[project]\nname = 'a'\ndependencies = [{dependencies}]\n[tool.uv.sources]\n{written}\n{more}"


def test_member_that_comes_from_elsewhere_is_turned_into_a_member() -> None:
    """Broken: a package is tested beside another version of its neighbour than the one in the tree."""
    files = member(sourced("B = { path = '../b' }")) | MEMBER_B
    assert said(sources, files) == [
        (
            f"{A}:5: source.workspace: B is a member of this workspace, and has another source; "
            "B = { workspace = true }"
        )
    ]
    assert changes(sources, files) == [SetValue(path=("tool", "uv", "sources", "B"), value=WORKSPACE)]


@pytest.mark.parametrize(
    "written",
    [
        "[{ workspace = true, marker = 'x' }, { git = 'y', marker = 'z' }]",
        "[{ git = 'y' }, { workspace = true }]",
        "[{ git = 'y' }, { index = 'x' }, 5]",
    ],
)
def test_member_with_several_sources_is_left_to_a_person(written: str) -> None:
    """Broken: `--fix` undoes what somebody meant."""
    files = member(sourced(f"b = {written}")) | MEMBER_B
    assert [line.split(": ")[1] for line in said(sources, files)] == ["source.workspace"]
    assert changes(sources, files) == [None]


@pytest.mark.parametrize(
    "written",
    [
        "b = { workspace = true }",
        "b = [{ workspace = true }]",
        "b = [{ workspace = true }, { workspace = true, marker = 'x' }]",
        "c = { index = 'x' }",
        "c = 'no table'",
        "c = [5]",
    ],
)
def test_source_that_fits_is_fine(written: str) -> None:
    """Broken: a false alarm."""
    assert said(sources, member(sourced(written)) | MEMBER_B) == []


def test_source_that_no_dependency_asks_for_is_found() -> None:
    """Broken: a source that was left behind is taken for one that is used."""
    files = (
        member(sourced("C_c = { index = 'x' }\nx = { index = 'x' }\nb = { git = 'y' }", "'c.c'")) | MEMBER_B
    )
    assert said(sources, files) == [
        f"{A}:6: source.undeclared: a source for x, which no dependency asks for; {UNDECLARED}",
        f"{A}:7: source.undeclared: a source for b, which no dependency asks for; {UNDECLARED}",
        (
            f"{A}:7: source.workspace: b is a member of this workspace, and has another source; "
            "b = { workspace = true }"
        ),
    ]


def test_sources_of_the_root_are_everybodys() -> None:
    """Broken: what only a member asks for counts as asked for by nobody, or the other way round."""
    root = ROOT + "[tool.uv.sources]\nc = { index = 'x' }\nd = { index = 'x' }\n"
    assert [line.split(" ")[5] for line in said(sources, member(sourced("", "'c'"), root=root))] == ["d,"]
    asking = ROOT.replace("requires-python", "dependencies = ['d']\nrequires-python")
    files = member(sourced("d = { index = 'x' }", ""), root=asking)
    assert [line.split(":")[0] for line in said(sources, files)] == [A]


@pytest.mark.parametrize(
    "asking",
    [
        "[project.optional-dependencies]\nx = ['e']\n",
        "[dependency-groups]\nx = ['e']\n",
        "[build-system]\nrequires = ['e']\n",
        "[tool.uv]\nconstraint-dependencies = ['e']\n",
    ],
)
def test_whatever_asks_for_a_source_counts(asking: str) -> None:
    """Broken: a source that uv needs is to be removed."""
    assert said(sources, member(sourced("e = { index = 'x' }", more=asking))) == []


@pytest.mark.parametrize("field", ["dependencies", "optional-dependencies"])
def test_dependencies_that_a_backend_finds_may_ask_for_any_source(field: str) -> None:
    """Broken: a source for what only a build knows is to be removed."""
    hidden = f"[project]\nname = 'a'\ndynamic = ['{field}']\n[tool.uv.sources]\nx = {{ index = 'y' }}\n"
    assert said(sources, member(hidden)) == []
    root = ROOT + "[tool.uv.sources]\nx = { index = 'y' }\n"
    assert said(sources, member(hidden, root=root)) == []
    assert len(said(sources, member("[project]\nname = 'a'\n", root=root))) == 1


def test_with_a_project_that_cannot_be_read_nobody_says_that_a_source_is_for_nobody() -> None:
    """Broken: one broken file makes followers of the root's sources."""
    root = ROOT + "[tool.uv.sources]\nx = { index = 'y' }\nz = { workspace = true }\n"
    files = member(sourced("x = { index = 'y' }"), root=root) | {B: "broken ["}
    assert [line.split(":")[0] for line in said(sources, files)] == [A]


EXTRAS = "[project.optional-dependencies]\nFast_one = ['d>=1', 'c']\nslow = ['b']\n"
GROUPS = "[dependency-groups]\nFast_one = ['d>=1', 'c']\nslow = ['b']\n"


@pytest.mark.parametrize(("key", "more"), [("extra", EXTRAS), ("group", GROUPS)])
def test_source_of_an_extra_or_group_is_for_what_it_asks_for(key: str, more: str) -> None:
    """Broken: uv refuses the project, and says less."""
    for name in ("Fast_one", "fast-one"):
        fine = f"d = {{ index = 'x', {key} = '{name}' }}\nD_d = {{ index = 'x' }}"
        assert said(sources, member(sourced(fine, "'d', 'd-d'", more))) == []
    wrong = f"d = [{{ index = 'x' }}, {{ index = 'x', {key} = 'slow' }}, {{ index = 'y', {key} = 'gone' }}]"
    assert said(sources, member(sourced(wrong, "'d'", more))) == [
        (
            f"{A}:5: source.undeclared: the source of d is for the {key} slow, which does not ask for it; "
            f"{UNDECLARED}"
        )
    ]


@pytest.mark.parametrize(("key", "more"), [("extra", GROUPS), ("group", EXTRAS)])
def test_extra_is_no_group(key: str, more: str) -> None:
    """Broken: a source for a group passes because an extra has its name."""
    assert len(said(sources, member(sourced(f"d = {{ index = 'x', {key} = 'fast-one' }}", "'d'", more)))) == 1


def test_source_from_the_workspace_that_is_no_member_is_found() -> None:
    """Broken: uv refuses the workspace."""
    files = member(sourced("b = { workspace = true }\nc = { workspace = true, path = 5 }")) | MEMBER_B
    assert said(sources, files) == [
        (
            f"{A}:6: source.folder: c is to come from the workspace, which has no such project; "
            "add it below packages/, or remove the source"
        )
    ]
    for entry in ("{ workspace = false }", "{ workspace = 'x' }", "{}"):
        assert said(sources, member(sourced(f"c = {entry}"))) == []


def test_path_of_a_source_is_looked_for_on_the_disk(tmp_path: Path) -> None:
    """Broken: an installation stops at a folder that is not there."""
    written = (
        "c = [\n{ path = 'gone' },\n{ path = '../../empty' },\n{ path = '../../a.whl' },\n"
        "{ path = '../../old' },\n{ path = '../b' },\n]"
    )
    files = member(sourced(written))
    for path in ("packages/a/x", "packages/b/pyproject.toml", "old/setup.py", "empty/README", "a.whl"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    remedy = "correct the path or remove the source"
    assert said(sources, files, tmp_path) == [
        f"{A}:6: source.folder: the source of c is gone, which does not exist; {remedy}",
        (
            f"{A}:7: source.folder: the source of c is ../../empty, "
            f"which has neither pyproject.toml nor setup.py; {remedy}"
        ),
    ]


def test_path_is_looked_for_though_a_project_cannot_be_read(tmp_path: Path) -> None:
    """Broken: a broken file hides what has nothing to do with it, or what may well be right is reported."""
    files = member(sourced("c = { workspace = true }\nd = { path = 'gone' }")) | {B: "broken ["}
    assert [line.split(" ")[5] for line in said(sources, files, tmp_path)] == ["d"]


def test_member_that_the_root_keeps_out_may_come_from_a_path(tmp_path: Path) -> None:
    """Broken: what uv refuses is called for, or the path of what is kept out is not looked for."""
    root = ROOT.replace("members", "exclude = ['packages/b']\nmembers")
    for written, what in (
        ("b = { path = '../gone' }", ["source.folder"]),
        ("b = { workspace = true }", []),
        ("b = { git = 'x' }", []),
    ):
        files = member(sourced(written), root=root) | MEMBER_B
        assert [line.split(": ")[1] for line in said(sources, files, tmp_path)] == what


def test_what_is_required_of_the_workspace_gets_a_source() -> None:
    """Broken: uv takes the neighbour from an index."""
    files = member("[project]\nname = 'a'\ndependencies = [\n'c',\n'B_b>=1',\n'b.b[x]',\n]\n") | {
        B: "[project]\nname = 'b-b'\n"
    }
    assert said(without, files) == [
        (
            f"{A}:5: source.workspace: b-b is a member of this workspace and has no source here; "
            "add `b-b = { workspace = true }` to [tool.uv.sources]"
        )
    ]
    assert changes(without, files) == [SetValue(path=("tool", "uv", "sources", "b-b"), value=WORKSPACE)]


def test_what_is_required_by_its_address_is_left_to_a_person() -> None:
    """Broken: `--fix` writes what uv refuses."""
    files = member("[project]\nname = 'a'\ndependencies = ['b @ https://example.org/b.whl']\n") | MEMBER_B
    assert said(without, files) == [
        (
            f"{A}:3: source.workspace: b is a member of this workspace and is required by its address, "
            "https://example.org/b.whl; require it by name and version, and "
            "add `b = { workspace = true }` to [tool.uv.sources]"
        )
    ]
    assert changes(without, files) == [None]


def test_source_of_the_root_or_of_the_project_is_enough() -> None:
    """Broken: a source has to be written twice; or one member's source counts for another."""
    root = ROOT + "[tool.uv.sources]\nB_b = { workspace = true }\n"
    a = "[project]\nname = 'a'\ndependencies = ['b.b', 'c']\n"
    b = "[project]\nname = 'b-b'\n"
    c = "[project]\nname = 'c'\ndependencies = ['a']\n[tool.uv.sources]\nA = { workspace = true }\n"
    files = member(a, root=root) | {B: b, "packages/c/pyproject.toml": c}
    assert [line.split(" ")[2] for line in said(without, files)] == ["c"]
    files["packages/d/pyproject.toml"] = "[project]\nname = 'd'\ndependencies = ['a']\n"
    assert [line.split(" ")[2] for line in said(without, files)] == ["c", "a"]


def test_without_a_root_each_project_needs_its_sources() -> None:
    """Broken: a folder that is no workspace ends the run."""
    files = {A: "[project]\nname = 'a'\ndependencies = ['b']\n"} | MEMBER_B
    assert len(said(without, files)) == 1


def test_own_requirements_are_those_of_other_members_that_are_not_kept_out() -> None:
    """Broken: a project is asked for a source of itself, or of what uv does not see."""
    root = ROOT.replace("members", "exclude = ['packages/c']\nmembers")
    more = "[project.optional-dependencies]\nx = ['a[y]', 'b>1']\n[dependency-groups]\ny = ['B']\n"
    a = f"[project]\nname = 'a'\ndependencies = ['c', 'z', 'b']\n{more}"
    files = member(a, root=root) | MEMBER_B | {"packages/c/pyproject.toml": "[project]\nname = 'c'\n"}
    read = workspace(files)
    project = read.named("a")
    assert project is not None
    assert [each.text for each in own_requirements(read, project)] == ["b", "b>1", "B"]
