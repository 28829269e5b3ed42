"""What travels from job to job: the committed workflow, played with a folder for each job.

The ledger, evidence and outputs are the real ones; only what a stage checks besides is left out.
"""

import shutil
from collections.abc import Iterator

import pytest

from release.ledger import Ledger
from release.model import Refused
from release.plan import RELEASE, unproved
from release.rules.workflow_model import read_workflow
from tests.release.hosted_support import FILES, TAG, Hosted
from tests.release.repo_support import Repo
from tests.release.workflow_support import FOLDER, rules, text_of


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory, repo_template: Repo) -> Iterator[Hosted]:
    """A run in which every job has passed; tests go on from a fork of it."""
    folder = tmp_path_factory.mktemp("hosted")
    shutil.copytree(repo_template.root.parent, folder / "repo", symlinks=True)
    repo = Repo(root=folder / "repo" / repo_template.root.name, key=folder / "repo" / repo_template.key.name)
    repo.write(".gitignore", "/dist/\n/ledger/\n/report/\n")
    repo.commit("Ignore what sessions leave")
    repo.push()
    repo.sign(TAG)
    repo.git("push", "--quiet", "origin", TAG)
    (folder / "jobs").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        run = Hosted(
            workflow=read_workflow(f"{FOLDER}/release.yml", text_of("release.yml")),
            repo=repo,
            folder=folder / "jobs",
            patch=patch,
        )
        for name in run.order():
            run.play(name)
        yield run


def ledger_of(run: Hosted, job: str) -> Ledger:
    """The ledger a job handed on."""
    return Ledger.read(run.store[run.outputs[job]["ledger"]])


def again(run: Hosted, *jobs: str) -> Hosted:
    """A fork in which these jobs ran once more, as an attempt of its own."""
    fork = run.fork()
    fork.attempt = run.attempt + 1
    for name in jobs:
        fork.play(name)
    return fork


def refusal(run: Hosted, job: str) -> set[str]:
    """The rules by which one more attempt of a job is refused."""
    with pytest.raises(Refused) as refused:
        again(run, job)
    return rules(list(refused.value.problems))


def test_hosted_release_proves_its_whole_plan(played: Hosted) -> None:
    """The last job's ledger holds every stage and leg of the plan as passed, for the bytes of build."""
    ledger = ledger_of(played, "verify")
    assert unproved(ledger, [*RELEASE]) == []
    assert played.outputs["verify"]["head"] == ledger.head
    assert {artifact.name for artifact in ledger.opening.artifacts} == set(FILES)
    assert played.outputs["build"]["digests"] == ledger.digests


def test_hosted_heads_are_those_of_the_ledgers(played: Hosted) -> None:
    """What a job hands on as its head is the last line of the ledger it hands on."""
    recording = [name for name, handed in played.outputs.items() if "ledger" in handed]
    assert len(recording) == 7
    for name in recording:
        assert ledger_of(played, name).head == played.outputs[name]["head"]
    heads = [played.outputs[name]["head"] for name in recording]
    assert len(set(heads)) == len(heads)


def test_hosted_failed_job_is_run_again(played: Hosted) -> None:
    """The button "Re-run failed jobs": the others' outputs stand, the job and those behind it run anew."""
    run = again(played, "smoke-testpypi", "pypi", "smoke-pypi", "verify")
    ledger = ledger_of(run, "verify")
    assert unproved(ledger, [*RELEASE]) == []
    assert {line.ran.attempt for line in ledger.lines if line.stage in {"pypi", "verify"}} == {2}
    assert ledger.genesis == ledger_of(played, "verify").genesis


def test_hosted_one_gate_is_run_again(played: Hosted) -> None:
    """A gate runs once more; collect takes its new evidence, and of the others what they handed on."""
    run = again(played, "lint", "collect")
    attempts = {line.stage: line.ran.attempt for line in ledger_of(run, "collect").lines}
    assert (attempts["lint"], attempts["mutation"]) == (2, 1)


def test_hosted_all_jobs_are_run_again(played: Hosted) -> None:
    """The button "Re-run all jobs": nothing of the first attempt is taken up."""
    run = again(played, "build", "lint", "test", "mutation", "coverage", "collect")
    assert {line.ran.attempt for line in ledger_of(run, "collect").lines} == {2}


def test_hosted_job_refuses_another_ledger(played: Hosted) -> None:
    """A ledger that is whole, of this very release, but not the one handed on: the head gives it away."""
    run = played.fork()
    run.outputs["collect"]["ledger"] = run.outputs["build"]["ledger"]
    assert refusal(run, "testpypi") == {"binding.expected-head"}


def test_hosted_job_refuses_without_what_to_expect(played: Hosted) -> None:
    """An output that was lost on the way is not an expectation that holds."""
    run = played.fork()
    del run.outputs["collect"]["head"]
    del run.outputs["build"]["digests"]
    assert refusal(run, "testpypi") == {"binding.expected-head", "binding.expected-digests"}


def test_hosted_collect_misses_a_leg(played: Hosted) -> None:
    """A leg whose evidence was not handed on is missed, whatever the job's colour."""
    run = played.fork()
    del run.outputs["test"]["evidence-3-14"]
    assert refusal(run, "collect") == {"collect.every-leg"}


def test_hosted_collect_refuses_evidence_of_another_build(played: Hosted) -> None:
    """Evidence is for one line 0: after a new build, no older gate counts."""
    rebuilt = again(played, "build")
    assert ledger_of(rebuilt, "build").genesis != ledger_of(played, "build").genesis
    assert refusal(rebuilt, "collect") == {"collect.same-genesis"}


def test_hosted_collect_refuses_evidence_of_another_run(played: Hosted) -> None:
    """No evidence crosses workflow runs, even for the same bytes."""
    run = played.fork()
    run.run = "42"
    assert refusal(run, "collect") == {"collect.same-run"}
