"""What `--fast` may take from the checkout's own ledger, and as what it then counts."""

from pathlib import Path

import pytest

from release.evidence import Outcome
from release.ledger import Ledger
from release.rehearsal.reuse import Reused, reusable
from tests.release.ledger_support import COMMIT, add, create

PLAN = {
    "lint": ("all",),
    "test": ("3.12", "3.13"),
    "coverage": ("all",),
    "mutation": ("all",),
    "pypi": ("all",),
}


LEGS = ("3.12", "3.13")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    found = create(tmp_path)
    add(found, "lint")
    add(found, "test", "3.12")
    add(found, "test", "3.13", Outcome.FAILED)
    add(found, "mutation", outcome=Outcome.SAMPLE)
    return found


def kinds(found: list[Reused]) -> dict[tuple[str, str], Outcome]:
    return {(each.stage, each.leg): each.outcome for each in found}


def test_reuse_takes_what_passed_for_this_very_commit(ledger: Ledger) -> None:
    """The tree is the same, so the evidence is too: passed stays passed, a failure is run again."""
    found = reusable(ledger, head=COMMIT, released=COMMIT, plan=PLAN, unmeasured=())
    assert kinds(found) == {
        ("lint", "all"): Outcome.PASSED,
        ("test", "3.12"): Outcome.PASSED,
        ("mutation", "all"): Outcome.SAMPLE,
    }
    assert found[0].figures == {"took_ms": 12, "reused_line": 1, "same_tree": 1}
    assert (found[0].n, found[0].tools) == (1, {"ruff": "0.1"})


def test_reuse_behind_prepare_is_a_sample(ledger: Ledger) -> None:
    """Version and changelog differ: that may serve a rehearsal, and never a release."""
    found = reusable(ledger, head=COMMIT, released="f" * 40, plan=PLAN, unmeasured=())
    assert set(kinds(found).values()) == {Outcome.SAMPLE}
    assert found[0].figures["same_tree"] == 0


def test_reuse_takes_nothing_from_another_commit(ledger: Ledger) -> None:
    """Evidence of yesterday's commit proves nothing about today's."""
    assert reusable(ledger, head="f" * 40, released="f" * 40, plan=PLAN, unmeasured=()) == []
    assert reusable(None, head=COMMIT, released=COMMIT, plan=PLAN, unmeasured=()) == []


def test_reuse_takes_only_what_is_planned(ledger: Ledger) -> None:
    """A leg that the rehearsal does not have is not carried over."""
    assert kinds(reusable(ledger, head=COMMIT, released=COMMIT, plan={"lint": ("all",)}, unmeasured=())) == {
        ("lint", "all"): Outcome.PASSED
    }


def test_reuse_of_tests_needs_their_coverage_data(ledger: Ledger) -> None:
    """Coverage has to run, and what a leg executed is known only where its data is."""
    bare = reusable(ledger, head=COMMIT, released=COMMIT, plan=PLAN, unmeasured=LEGS)
    assert ("test", "3.12") not in kinds(bare)
    add(ledger, "coverage")
    covered = reusable(ledger, head=COMMIT, released=COMMIT, plan=PLAN, unmeasured=LEGS)
    assert {("test", "3.12"), ("coverage", "all")} <= kinds(covered).keys()
