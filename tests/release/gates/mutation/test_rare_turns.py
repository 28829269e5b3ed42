"""The gate's rare turns: a long run's progress, a sample's end between modules, a tree without a main."""

import itertools
import os
import re
import subprocess
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from release.context import Options
from release.gates.mutation import campaign, stage
from release.model import Kind, Refused
from tests.release.gates.mutation.support import Machine, context_of, project, with_floors


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """mutmut is a stand-in."""
    monkeypatch.setattr(stage, "mutmut_version", lambda: "3.8.1")


def test_a_long_run_says_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody watches a silent hour; modules that are still being judged count by their answers so far."""
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(campaign, "PROGRESS_S", 0.0)
    said, turns = threading.Event(), itertools.count()

    def held() -> None:
        if next(turns):
            assert said.wait(60), "nothing was said while two modules were waiting"

    context, output = context_of(project(tmp_path), Machine(during=held))
    show = context.console.print

    def heard(*words: object, **settings: bool) -> None:
        show(*words, **settings)  # type: ignore[arg-type] # handed on as they are
        if "mutants judged after" in output.getvalue():
            said.set()

    monkeypatch.setattr(context.console, "print", heard)
    assert stage.run("mutation", context).kind is Kind.DONE
    assert re.search(r"^  2 of 6 mutants judged after \d+ s$", output.getvalue(), re.MULTILINE)


def test_a_sample_that_is_over_begins_no_further_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for a copy of the tree then is left out, and no words are made about it."""
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    now = [0.0]
    monkeypatch.setattr(
        campaign, "time", SimpleNamespace(time=lambda: now[0], monotonic=itertools.count().__next__)
    )
    machine = Machine(during=lambda: now.insert(0, 10_000.0))
    context, output = context_of(project(tmp_path), machine, Options(sample=600))
    assert stage.run("mutation", context).kind is Kind.DONE
    (judged,) = machine.modules
    told = [line for line in output.getvalue().splitlines() if line.startswith(("  release/", "  src/"))]
    assert [line.split(":")[0].strip() for line in told] == [judged]


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
