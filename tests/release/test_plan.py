"""What has to be proved, and what a ledger does not prove yet."""

import itertools
import platform
import shutil
import sys
from pathlib import Path

import pytest

from release import plan, pythons
from release.evidence import Outcome
from release.model import Mode
from tests.release.ledger_support import add, create


def test_the_plan_of_a_release_is_every_gate_on_every_python() -> None:
    """A constant: what is missing on a machine is not left out of a release."""
    release = plan.plan_for(Mode.RELEASE)
    assert release.legs == plan.RELEASE
    assert release.absent == ()
    assert [stage for stage in plan.RELEASE if stage in plan.GATES] == [*plan.GATES]
    assert plan.RELEASE["test"] == ("3.12", "3.13", "3.14", "3.15")
    assert plan.RELEASE["smoke"] == ("testpypi", "pypi")


def test_a_rehearsal_of_the_workflow_plans_its_mutation_jobs() -> None:
    """Each hands on evidence of its own; a release's plan is sharded whether asked or not."""
    plain, sharded = plan.plan_for(Mode.REHEARSAL), plan.plan_for(Mode.REHEARSAL, sharded=True)
    assert sharded.legs == {**plain.legs, "mutation": plan.RELEASE["mutation"]}
    assert sharded.absent == plain.absent
    assert plain.legs["mutation"] == ("all",)
    assert plan.plan_for(Mode.RELEASE, sharded=True) == plan.plan_for(Mode.RELEASE)


def test_no_variable_loosens_the_plan_of_a_release(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever is on the machine, or in its environment."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CI", "")
    assert plan.plan_for(Mode.RELEASE).legs["test"] == pythons.SUPPORTED


def test_a_rehearsal_plans_what_is_here_and_names_what_is_not() -> None:
    """Nobody should take a rehearsal on two Pythons for one on four."""
    made = plan.rehearsal(found=["3.13", "3.12"], with_server=["3.12"])
    assert made.legs["test"] == ("3.12",)
    assert made.legs["smoke"] == ("local", "testpypi", "pypi")
    assert made.legs["mutation"] == ("all",), "one machine takes one sample"
    own = {"test", "smoke", "mutation"}
    assert {stage: legs for stage, legs in made.legs.items() if stage not in own} == {
        stage: legs for stage, legs in plan.RELEASE.items() if stage not in own
    }
    assert made.absent == (
        "test 3.13: no redis-server for it here",
        "test 3.14: no Python 3.14 here",
        "test 3.15: no Python 3.15 here",
    )


@pytest.mark.parametrize("server", [True, False], ids=["a server", "no server"])
def test_this_machines_plan_follows_from_what_is_on_it(monkeypatch: pytest.MonkeyPatch, server: bool) -> None:
    """With a redis-server every Python here; without one only the Python whose wheel carries a server."""

    def which(name: str) -> str | None:
        return f"somewhere/{name}" if server and name == "redis-server" else None

    monkeypatch.setattr(shutil, "which", which)
    monkeypatch.setattr(pythons, "found", lambda: {"3.12": "a", "3.14": "b"})
    for system, machine in itertools.product(("linux", "darwin"), ("x86_64", "aarch64")):
        monkeypatch.setattr(sys, "platform", system)
        monkeypatch.setattr(platform, "machine", lambda machine=machine: machine)
        carried = ("3.12",) if (system, machine) == ("linux", "x86_64") else ()
        assert plan.plan_for(Mode.REHEARSAL).legs["test"] == (("3.12", "3.14") if server else carried)


def test_unproved_lists_every_leg_that_does_not_count(tmp_path: Path) -> None:
    """`pypi` refuses with all of them, and with the session that proves each."""
    ledger = create(tmp_path)
    add(ledger, "lint")
    add(ledger, "test", "3.12", outcome=Outcome.FAILED)
    add(ledger, "smoke", "testpypi")
    add(ledger, "testpypi")
    problems = plan.unproved(ledger, ("lint", "test", "coverage", "testpypi", "smoke", "moon"))
    assert [(problem.where, problem.rule) for problem in problems] == [
        ("test 3.12", "plan.proved"),
        ("test 3.13", "plan.proved"),
        ("coverage all", "plan.proved"),
        ("smoke local", "plan.proved"),
        ("smoke testpypi", "plan.proved"),
        ("smoke pypi", "plan.proved"),
    ]
    assert "ended as failed" in problems[0].what
    assert "nox -s test-3.12" in problems[0].remedy
    assert problems[1].what == "has no evidence in the ledger"
    assert "`nox -s coverage`" in problems[2].remedy
    assert "(n=3) came before the last upload" in problems[4].what
    assert "nox -s smoke -- --index testpypi" in problems[4].remedy


def test_a_missing_shard_is_named_with_its_command(tmp_path: Path) -> None:
    """Four jobs share the mutants of a release; one that is missing is a gap in the gate."""
    ledger = create(tmp_path, mode=Mode.RELEASE)
    for number in (1, 2, 4):
        add(ledger, "mutation", f"shard-{number}-of-4")
    (problem,) = plan.unproved(ledger, ("mutation",))
    assert problem.where == "mutation shard-3-of-4"
    assert "`nox -s mutation -- --shard 3/4`" in problem.remedy


def test_what_is_proved_is_not_listed(tmp_path: Path) -> None:
    """An empty list is the only way on to PyPI."""
    ledger = create(tmp_path)
    for leg in ("3.12", "3.13"):
        add(ledger, "test", leg)
    assert plan.unproved(ledger, ("test",)) == []
