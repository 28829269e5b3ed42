"""A gate against a real ledger: what it records, when it runs again, and that a failure undoes a pass."""

from collections.abc import Callable
from pathlib import Path

import pytest

from release.context import Context, Options
from release.gates.gate import run_gate
from release.ledger import Ledger, Opening
from release.model import Artifact, Kind, Mode, Problem, Refused, Report
from release.runner import LocalRunner
from tests.release.gates.support import commit_all, make_context

PASSED = Report(kind=Kind.DONE, sentence="fine", figures={"checks": 3})


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with one commit and a ledger that is open for it."""
    (tmp_path / ".gitignore").write_text("/ledger/\n", encoding="utf-8")
    commit = commit_all(tmp_path)
    opening = Opening(
        mode=Mode.REHEARSAL,
        project="demo",
        version="1.0",
        tag="",
        tag_object="",
        commit=commit,
        tree=commit,
        epoch=1,
        locks={},
        plan={"build": ("all",), "lint": ("all",)},
        artifacts=(Artifact(name="demo-1.0-py3-none-any.whl", size=1, sha256="0" * 64),),
    )
    context = context_of(tmp_path)
    Ledger.create(context.ledger, opening, at=context.now())
    return tmp_path


def context_of(root: Path, *, again: bool = False) -> Context:
    context, _ = make_context(root, LocalRunner(), Options(again=again))
    return context


def gate(root: Path, work: Callable[[], Report], *, again: bool = False) -> Report:
    context = context_of(root, again=again)
    return run_gate(context, Ledger.read(context.ledger), "lint", "all", work)


def passes() -> Report:
    return PASSED


def fails() -> Report:
    raise Refused(Problem(rule="a.b", where="here", what="broken", remedy="mend"))


def never() -> Report:
    pytest.fail("the gate ran although it had passed")


def lines(root: Path) -> list[tuple[str, str]]:
    return [(line.stage, line.outcome.value) for line in Ledger.read(root / "ledger").lines]


def test_a_pass_is_recorded_with_its_figures(tree: Path) -> None:
    """Evidence that is not written is no evidence."""
    assert gate(tree, passes) is PASSED
    line = Ledger.read(tree / "ledger").latest("lint", "all")
    assert line is not None
    assert dict(line.figures) == {"checks": 3}


def test_a_pass_is_not_repeated_unless_asked(tree: Path) -> None:
    """A second run after a half-done one goes on where it stopped."""
    gate(tree, passes)
    again = gate(tree, never)
    assert again.kind is Kind.DONE
    assert "passed before" in again.sentence
    assert gate(tree, passes, again=True) is PASSED
    assert lines(tree) == [("lint", "passed"), ("lint", "passed")]


def test_a_failure_is_recorded_and_undoes_an_older_pass(tree: Path) -> None:
    """Only the last line counts: a gate that fails now must not be open because it passed yesterday."""
    gate(tree, passes)
    with pytest.raises(Refused, match="broken"):
        gate(tree, fails, again=True)
    assert lines(tree) == [("lint", "passed"), ("lint", "failed")]
    assert not Ledger.read(tree / "ledger").passed("lint", "all")
    assert Ledger.read(tree / "ledger").lines[-1].figures == {"problems": 1}


def test_not_yet_is_no_failure(tree: Path) -> None:
    """An index that is down says nothing about the bytes; an older pass still stands."""

    def later() -> Report:
        problem = Problem(rule="a.b", where="there", what="is down", remedy="run it again")
        raise Refused(problem, kind=Kind.NOT_YET)

    gate(tree, passes)
    with pytest.raises(Refused, match="is down"):
        gate(tree, later, again=True)
    assert lines(tree) == [("lint", "passed")]


def test_without_a_ledger_the_gate_runs_and_records_nothing(tree: Path) -> None:
    """A developer's run in a changed tree vouches for nothing."""
    assert run_gate(context_of(tree), None, "lint", "all", passes) is PASSED
    with pytest.raises(Refused, match="broken"):
        run_gate(context_of(tree), None, "lint", "all", fails)
    assert lines(tree) == []
