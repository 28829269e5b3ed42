"""What the stage records in a real ledger, with a stand-in for mutmut's driver."""

import os
from pathlib import Path

import pytest

from release.checkout import Checkout
from release.context import Options
from release.gates.mutation import stage
from release.ledger import Ledger, Opening, Outcome
from release.model import Artifact, Kind, Mode, Refused
from release.plan import RELEASE
from release.runner import LocalRunner
from tests.release.gates.mutation.support import Machine, context_of, project

LEGS = ("all", "shard-1-of-2", "shard-2-of-2")


@pytest.fixture(autouse=True)
def one_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """mutmut is a stand-in."""
    monkeypatch.setattr(stage, "mutmut_version", lambda: "3.8.1")
    monkeypatch.setattr(os, "cpu_count", lambda: 1)


def opened(root: Path, *, mode: Mode = Mode.REHEARSAL) -> Path:
    """The tree under git, with a ledger that is open for its commit."""
    project(root)
    checkout = Checkout(root, LocalRunner())
    opening = Opening(
        mode=mode,
        project="demo",
        version="1.0",
        tag="v1.0" if mode is Mode.RELEASE else "",
        tag_object="e" * 40 if mode is Mode.RELEASE else "",
        commit=checkout.head(),
        tree=checkout.tree(),
        epoch=1,
        locks={},
        plan=RELEASE if mode is Mode.RELEASE else {"build": ("all",), "mutation": LEGS},
        artifacts=(Artifact(name="demo-1.0-py3-none-any.whl", size=1, sha256="0" * 64),),
    )
    context, _ = context_of(root, Machine())
    Ledger.create(context.ledger, opening, at=context.now())
    return root


def ran(root: Path, machine: Machine, options: Options | None = None) -> Ledger:
    """Run the stage; returns the ledger as it is then."""
    context, _ = context_of(root, machine, options)
    assert stage.run("mutation", context).kind is Kind.DONE
    return Ledger.read(context.ledger)


def test_whole_run_is_evidence_and_is_not_repeated(tmp_path: Path) -> None:
    """Passed is done; `--again` repeats it."""
    root, again = opened(tmp_path), Machine()
    line = ran(root, Machine()).latest("mutation", "all")
    assert line is not None
    assert line.outcome is Outcome.PASSED
    assert (line.figures["killed"], line.tools["mutmut"]) == (6, "3.8.1")
    assert len(ran(root, again).lines) == 1
    assert again.jobs == []
    assert len(ran(root, again, Options(again=True)).lines) == 2


def test_sample_is_recorded_as_one(tmp_path: Path) -> None:
    """In a rehearsal a sample counts, and the ledger says that it was no more."""
    line = ran(opened(tmp_path), Machine(), Options(sample=600)).latest("mutation", "all")
    assert line is not None
    assert line.outcome is Outcome.SAMPLE


def test_sample_is_refused_on_a_release_ledger(tmp_path: Path) -> None:
    """Without `--mode`, too: the ledger's own mode decides."""
    context, _ = context_of(opened(tmp_path, mode=Mode.RELEASE), Machine(), Options(sample=600))
    with pytest.raises(Refused, match="sample proves nothing"):
        stage.run("mutation", context)
    assert Ledger.read(context.ledger).lines == ()


def test_shard_is_evidence_for_its_own_leg(tmp_path: Path) -> None:
    """Parallel jobs record their parts."""
    ledger = ran(opened(tmp_path), Machine(), Options(shard="2/2"))
    assert ledger.passed("mutation", "shard-2-of-2")
    assert not ledger.passed("mutation", "all")


def test_sample_of_a_shard_is_a_sample_of_that_leg(tmp_path: Path) -> None:
    """The workflow's jobs share the mutants out in a rehearsal as in a release."""
    line = ran(opened(tmp_path), Machine(), Options(shard="2/2", sample=600)).latest(
        "mutation", "shard-2-of-2"
    )
    assert line is not None
    assert line.outcome is Outcome.SAMPLE


def test_changed_is_no_evidence(tmp_path: Path) -> None:
    """A look at what changed proves nothing of the rest."""
    assert ran(opened(tmp_path), Machine(), Options(changed=True)).lines == ()


def test_refused_run_undoes_a_pass(tmp_path: Path) -> None:
    """Only the last line counts."""
    root = opened(tmp_path)
    ran(root, Machine())
    context, _ = context_of(root, Machine(baseline=1), Options(again=True))
    with pytest.raises(Refused):
        stage.run("mutation", context)
    ledger = Ledger.read(context.ledger)
    line = ledger.latest("mutation", "all")
    assert line is not None
    assert (line.outcome, line.figures["problems"]) == (Outcome.FAILED, 3)
    assert not ledger.passed("mutation", "all")
