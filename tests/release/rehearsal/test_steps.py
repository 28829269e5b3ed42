"""What a rehearsal runs and in which order: the order of a release, for any plan."""

import pytest

from release import plan
from release.indexes import IndexName
from release.rehearsal.steps import FAST_SAMPLE_S, SAMPLE_S, Step, sessions, steps

LEGS = plan.rehearsal(found=["3.12", "3.13"], with_server=["3.12", "3.13"]).legs


def named(found: list[Step]) -> list[str]:
    return [step.name for step in found]


def test_steps_follow_the_order_of_a_release() -> None:
    """Each stage runs, behind everything it needs."""
    assert named(steps(LEGS, tag="v1.0", fast=False, reused=[])) == [
        "build",
        "lint",
        "test-3.12",
        "test-3.13",
        "coverage",
        "mutation",
        "collect",
        "testpypi",
        "smoke testpypi",
        "pypi",
        "smoke pypi",
        "verify",
        "announce",
    ]


def test_steps_run_every_stage_that_leaves_evidence() -> None:
    """A stage that is added to a release is rehearsed, or this fails."""
    found = {step.session.partition("-")[0] for step in steps(LEGS, tag=None, fast=False, reused=[])}
    assert found == {*plan.RELEASE, "collect", "announce"}


def test_gates_leave_evidence_files_and_collect_joins_them() -> None:
    """The rehearsal hands evidence on as the parallel jobs of the workflow do."""
    found = steps(LEGS, tag="v1.0", fast=False, reused=[])
    assert [step.session for step in found if "--evidence" in step.words] == [
        "lint",
        "test-3.12",
        "test-3.13",
        "coverage",
        "mutation",
    ]
    others = [step for step in found if "--evidence" in step.words and step.session != "mutation"]
    assert all(step.words == ["--evidence"] for step in others)


@pytest.mark.parametrize(("fast", "seconds"), [(False, SAMPLE_S), (True, FAST_SAMPLE_S)])
def test_mutation_is_a_sample(fast: bool, seconds: int) -> None:
    """A rehearsal has minutes, not hours."""
    (step,) = [each for each in steps(LEGS, tag=None, fast=fast, reused=[]) if each.session == "mutation"]
    assert step.words == ["--sample", str(seconds), "--evidence"]


def test_fast_leaves_out_what_is_proved_and_installs_less() -> None:
    """What the checkout's ledger holds is not run again."""
    whole = steps(LEGS, tag="v1.0", fast=False, reused=[])
    assert [step.words for step in whole if step.session == "smoke"] == [
        ["--index", "testpypi"],
        ["--index", "pypi"],
    ]
    found = steps(LEGS, tag="v1.0", fast=True, reused=[("lint", "all"), ("test", "3.12")])
    assert named(found)[:3] == ["build", "test-3.13", "coverage"]
    assert [step.words for step in found if step.session == "smoke"] == [
        ["--index", "testpypi", "--fast"],
        ["--index", "pypi", "--fast"],
    ]


def test_a_python_without_a_server_is_tested_too() -> None:
    """It leaves no evidence, but what it executes counts, and what it finds stops the rehearsal."""
    bare = plan.rehearsal(found=["3.12", "3.13"], with_server=[]).legs
    found = steps(bare, tag=None, fast=False, reused=[], tested=["3.13", "3.12"])
    assert [step.session for step in found if step.session.startswith("test-")] == ["test-3.12", "test-3.13"]


def test_only_uploads_may_ask_for_an_id_token() -> None:
    """As in the workflow, exactly two jobs have the grant, each for its own index."""
    found = steps(LEGS, tag="v1.0", fast=False, reused=[])
    assert {step.session: step.uploads_to for step in found if step.uploads_to is not None} == {
        "testpypi": IndexName.TESTPYPI,
        "pypi": IndexName.PYPI,
    }


def test_build_stands_for_the_tag_where_there_is_one() -> None:
    """Without a key there is no tag, and the build says that it was not checked."""
    assert steps(LEGS, tag="v1.0", fast=False, reused=[])[0].words == ["--tag", "v1.0"]
    assert steps(LEGS, tag=None, fast=False, reused=[])[0].words == []


def test_sessions_are_named_once() -> None:
    """Each environment is made warm once."""
    found = sessions(steps(LEGS, tag=None, fast=False, reused=[]))
    assert found.count("smoke") == 1
    assert len(found) == len(set(found))


def test_pythons_are_tested_in_their_own_order() -> None:
    """3.9 is older than 3.10: a failure on the oldest one is seen first."""
    found = steps(LEGS, tag=None, fast=False, reused=[], tested=["3.9", "3.100"])
    pythons = [step.session for step in found if step.session.startswith("test-")]
    assert (pythons[0], pythons[-1]) == ("test-3.9", "test-3.100")
