"""The gate's rare turns: a tree without a main branch, and one where every module has its floor."""

import subprocess
from pathlib import Path

import pytest

from release.gates.mutation import stage
from release.model import Kind, Refused
from tests.release.gates.mutation.support import Machine, context_of, project, with_floors


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """mutmut is a stand-in."""
    monkeypatch.setattr(stage, "mutmut_version", lambda: "3.8.1")


def test_a_tree_without_a_main_branch_has_no_floors_to_fall_below(tmp_path: Path) -> None:
    """A clone of a single branch is judged by its own floors."""
    root = project(tmp_path, floors={"release/a.py": 50, "*": 10})
    subprocess.run(["git", "branch", "--quiet", "--move", "main", "topic"], cwd=root, check=True)
    with_floors(root, {"release/a.py": 49, "*": 10})
    assert stage.run("mutation", context_of(root, Machine())[0]).kind is Kind.DONE


def test_where_every_module_has_a_floor_none_is_listed_without(tmp_path: Path) -> None:
    """The line about modules without a floor is about modules, not a heading."""
    floors = {
        f"{root}/{name}.py": 0
        for root, names in (("release", ("a", "b", "untested")), ("src/pkg", ("c",)))
        for name in names
    }
    context, output = context_of(project(tmp_path, floors=floors), Machine())
    with pytest.raises(Refused) as refused:
        stage.run("mutation", context)
    assert {each.rule for each in refused.value.problems} == {"mutation.has-test"}
    assert "no floor of their own" not in output.getvalue()
    assert "not mutated" in output.getvalue()
