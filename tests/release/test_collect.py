"""The fan-in, played as several jobs in folders of their own."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from release import collect
from release.binding import record
from release.checkout import Checkout
from release.context import Context, Options
from release.evidence import FOLDER, Evidence, Outcome, Ran, read_evidence, write_evidence
from release.ledger import NAME, Ledger
from release.model import Kind, Mode, Refused, Report
from release.plan import RELEASE
from release.runner import LocalRunner
from tests.release.conftest import Drilled
from tests.release.ledger_support import WHEEL, create, rules_of
from tests.release.repo_support import Repo, context_on, printed

DONE = Report(kind=Kind.DONE, sentence="fine", figures={"checks": 3}, tools={"ruff": "0.1"})
PLAN = {
    "lint": ("all",),
    "test": ("3.12", "3.13"),
    "coverage": ("all",),
    "mutation": ("all",),
    "testpypi": ("all",),
}
LEGS = [("lint", "all"), ("test", "3.12"), ("test", "3.13"), ("coverage", "all"), ("mutation", "all")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fan:
    """A build's checkout and ledger, and the jobs that fan out from it."""

    repo: Repo
    ledger: Ledger

    def context(self, **options: object) -> Context:
        return context_on(self.repo.root, options=Options(**options))  # pyright: ignore[reportArgumentType] - by name

    def job(self, stage: str, leg: str, outcome: Outcome = Outcome.PASSED, *, into: str = "") -> Path:
        """Run a job in a folder of its own with a copy of the ledger; returns the evidence fetched."""
        own = self.repo.root.parent / f"job-{stage}-{leg}"
        (own / "ledger").mkdir(parents=True)
        shutil.copy(self.repo.root / "ledger" / NAME, own / "ledger")
        context = context_on(own, options=Options(evidence=True))
        record(context, Ledger.read(context.ledger), stage, leg, DONE, outcome)
        files = list((context.ledger / FOLDER).iterdir())
        assert [file.name for file in files] == [f"{stage}-{leg}.json"]
        target = self.repo.root / "ledger" / FOLDER / into
        target.mkdir(parents=True, exist_ok=True)
        fetched = Path(shutil.copy(files[0], target))
        shutil.rmtree(own)
        return fetched

    def jobs(self) -> dict[tuple[str, str], Path]:
        return {leg: self.job(*leg) for leg in LEGS}

    def refusal(self, said: str = "") -> list[str]:
        """The rules by which `collect` refuses, `said` in the last of them; the ledger must stay as it is."""
        path = self.repo.root / "ledger" / NAME
        before = path.read_bytes()
        with pytest.raises(Refused) as caught:
            collect.run("collect", self.context())
        assert path.read_bytes() == before
        assert said in caught.value.problems[-1].what
        return rules_of(caught.value)


def edit(path: Path, **changes: object) -> None:
    """Write an evidence file again with other values, well formed."""
    evidence: Evidence = replace(read_evidence(path), **changes)  # pyright: ignore[reportArgumentType] - by name
    path.unlink()
    written = write_evidence(path.parent.parent / "scratch", evidence)
    shutil.move(written, path)


@pytest.fixture
def fan(repo: Repo) -> Fan:
    """A rehearsal's ledger in its checkout."""
    checkout = Checkout(repo.root, LocalRunner())
    ledger = create(repo.root / "ledger", commit=checkout.head(), tree=checkout.tree(), plan=PLAN)
    return Fan(repo=repo, ledger=ledger)


def test_the_evidence_of_all_jobs_is_added_in_plan_order(fan: Fan) -> None:
    """Whatever the order in which jobs end, one build and its evidence give one ledger."""
    files = fan.jobs()
    context = fan.context(expect_head=fan.ledger.head, expect_digests=fan.ledger.digests)
    report = collect.run("collect", context)
    ledger = Ledger.read(context.ledger)
    assert [(line.stage, line.leg) for line in ledger.lines] == LEGS
    assert all(ledger.passed(*leg) for leg in LEGS)
    for line in ledger.lines:
        evidence = read_evidence(files[line.stage, line.leg])
        assert Evidence.of(line, genesis=ledger.genesis) == evidence
    assert report.sentence == f"5 legs collected, 5 of 5 proved; head {ledger.head}"
    assert {each.what: each.found for each in report.checked} == {
        "evidence files": "5",
        "legs": "lint all, test 3.12, test 3.13, coverage all, mutation all",
        "head": ledger.head,
    }
    assert report.figures == {"collected": 5, "legs": 5}
    assert "test 3.13: passed, ledger line n=3" in printed(context)


def test_a_gate_that_is_not_planned_is_not_waited_for(repo: Repo) -> None:
    """The plan is line 0's alone."""
    checkout = Checkout(repo.root, LocalRunner())
    plan = {"lint": ("all",)}
    ledger = create(repo.root / "ledger", commit=checkout.head(), tree=checkout.tree(), plan=plan)
    fan = Fan(repo=repo, ledger=ledger)
    fan.job("lint", "all")
    assert collect.run("collect", fan.context()).figures == {"collected": 1, "legs": 1}


def test_jobs_may_be_fetched_into_folders_of_their_own(fan: Fan) -> None:
    """As artefacts are, when they are not merged."""
    for stage, leg in LEGS:
        fan.job(stage, leg, into=f"evidence-{stage}-{leg}-1")
    collect.run("collect", fan.context())
    assert len(Ledger.read(fan.repo.root / "ledger").lines) == len(LEGS)


def test_collecting_again_adds_nothing(fan: Fan) -> None:
    """The same command again ends in the same state."""
    fan.jobs()
    collect.run("collect", fan.context())
    head = Ledger.read(fan.repo.root / "ledger").head
    report = collect.run("collect", fan.context())
    assert report.figures["collected"] == 0
    assert Ledger.read(fan.repo.root / "ledger").head == head


@pytest.mark.parametrize("added", range(1, 5))
def test_a_run_cut_short_is_taken_up(fan: Fan, added: int) -> None:
    """`kill -9` between any two lines."""
    fan.jobs()
    context = fan.context()
    collect.run("collect", context)
    path = context.ledger / NAME
    whole = path.read_bytes()
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[: 1 + added]))
    collect.run("collect", fan.context())
    assert path.read_bytes() == whole


def test_legs_proved_one_after_the_other_need_no_file(fan: Fan) -> None:
    """On a laptop gates write lines; nothing is left to collect."""
    for stage, leg in LEGS:
        record(fan.context(), fan.ledger, stage, leg, DONE)
    report = collect.run("collect", fan.context())
    assert report.figures == {"collected": 0, "legs": 5}


def test_a_leg_without_evidence_is_missing(fan: Fan) -> None:
    """Each one is named."""
    fan.job("lint", "all")
    fan.job("test", "3.13")
    with pytest.raises(Refused) as caught:
        collect.run("collect", fan.context())
    assert [(problem.rule, problem.where) for problem in caught.value.problems] == [
        ("collect.every-leg", "test 3.12"),
        ("collect.every-leg", "coverage all"),
        ("collect.every-leg", "mutation all"),
    ]


def test_evidence_of_another_ledger_is_refused(fan: Fan) -> None:
    """Another build's job proves nothing about these bytes."""
    edit(fan.jobs()["lint", "all"], genesis="0" * 64)
    assert fan.refusal() == ["collect.same-genesis"]


def test_evidence_of_an_earlier_build_of_the_same_commit_is_refused(fan: Fan) -> None:
    """Set aside, built again: the files of the first round stay behind."""
    fan.jobs()
    facts = {"commit": fan.ledger.opening.commit, "tree": fan.ledger.opening.tree, "plan": PLAN}
    (fan.repo.root / "ledger" / NAME).unlink()
    again = Ledger.create(
        fan.repo.root / "ledger",
        replace(fan.ledger.opening, **facts),
        at=fan.ledger.opened_at.replace(second=8),
    )
    assert again.opening == fan.ledger.opening
    assert fan.refusal() == ["collect.same-genesis"] * len(LEGS)


@pytest.mark.drill
def test_evidence_of_another_run_is_refused(fan: Fan, drilled: Drilled) -> None:
    """No evidence crosses workflow runs, not even about the same ledger; attempts of one run may differ."""
    files = fan.jobs()
    here = Ran.here()
    edit(files["lint", "all"], ran=replace(here, attempt=2))
    edit(files["test", "3.12"], ran=replace(here, kind="github-actions", run="7"))
    edit(files["mutation", "all"], ran=replace(here, run="8"))
    found = fan.refusal()
    assert found == ["collect.same-run"] * 2
    drilled("an evidence file of another run", found)


def test_a_leg_nobody_planned_is_refused(fan: Fan) -> None:
    """A stage that is not collected, and a leg that the plan does not have."""
    files = fan.jobs()
    extra = files["lint", "all"].with_name("testpypi-all.json")
    shutil.copy(files["lint", "all"], extra)
    edit(extra, stage="testpypi")
    other = files["lint", "all"].with_name("test-3.11.json")
    shutil.copy(files["test", "3.12"], other)
    edit(other, leg="3.11")
    assert fan.refusal() == ["collect.known-leg"] * 2


def test_two_outcomes_for_one_leg_are_refused(fan: Fan) -> None:
    """Nobody chooses the one that passed."""
    fan.jobs()
    second = fan.job("lint", "all", into="second")
    earlier = replace(DONE, figures={"checks": 1})
    record(fan.context(), fan.ledger, "lint", "all", earlier, Outcome.FAILED)
    both = "evidence/lint-all.json, evidence/second/lint-all.json"
    assert fan.refusal(f"has 2 outcomes: {both}") == ["collect.one-outcome"]
    edit(second, outcome=Outcome.FAILED)
    assert fan.refusal() == ["collect.passed", "collect.one-outcome"]


def test_a_file_that_contradicts_the_ledger_is_refused(fan: Fan) -> None:
    """The leg has passed in the ledger; a second word about it is one too many."""
    record(fan.context(), fan.ledger, "lint", "all", DONE)
    edit(fan.jobs()["lint", "all"], genesis=fan.ledger.genesis, figures={"checks": 4})
    said = "has 2 outcomes: evidence/lint-all.json, ledger line n=1"
    assert fan.refusal(said) == ["collect.one-outcome"]


def test_a_leg_that_failed_before_is_proved_by_a_later_job(fan: Fan) -> None:
    """Only the last line of a leg counts."""
    record(fan.context(), fan.ledger, "lint", "all", DONE, Outcome.FAILED)
    fan.jobs()
    collect.run("collect", fan.context())
    assert Ledger.read(fan.repo.root / "ledger").passed("lint")


def test_a_failure_is_not_collected(fan: Fan) -> None:
    """A red gate stops here also when the workflow did not."""
    edit(fan.jobs()["mutation", "all"], outcome=Outcome.FAILED)
    assert fan.refusal() == ["collect.passed"]


def test_evidence_about_other_bytes_is_refused(fan: Fan) -> None:
    """A wheel swapped between the jobs."""
    edit(fan.jobs()["test", "3.12"], subject={WHEEL.name: "0" * 64})
    assert fan.refusal() == ["ledger.same-subject"]


def test_an_edited_or_renamed_file_is_refused(fan: Fan) -> None:
    """Each by its own rule, both at once."""
    files = fan.jobs()
    path = files["lint", "all"]
    path.write_bytes(path.read_bytes().replace(b"passed", b"passed "))
    files["mutation", "all"].rename(path.with_name("mutation.json"))
    assert fan.refusal() == ["evidence.readable", "collect.named", "collect.every-leg"]


def test_another_head_than_the_one_handed_on_is_refused(fan: Fan) -> None:
    """The ledger is checked before any evidence is looked at."""
    fan.jobs()
    with pytest.raises(Refused) as caught:
        collect.run("collect", fan.context(expect_head="0" * 64))
    assert rules_of(caught.value) == ["binding.expected-head"]


@pytest.mark.parametrize("mode", list(Mode))
def test_a_sample_is_collected_in_a_rehearsal_only(repo: Repo, mode: Mode) -> None:
    """A release rests on the whole work."""
    checkout = Checkout(repo.root, LocalRunner())
    plan = RELEASE if mode is Mode.RELEASE else PLAN
    ledger = create(repo.root / "ledger", mode=mode, commit=checkout.head(), tree=checkout.tree(), plan=plan)
    fan = Fan(repo=repo, ledger=ledger)
    for stage in ("lint", "test", "coverage"):
        for leg in plan[stage]:
            fan.job(stage, leg)
    for leg in plan["mutation"]:
        fan.job("mutation", leg, Outcome.SAMPLE)
    if mode is Mode.RELEASE:
        assert fan.refusal() == ["collect.passed"] * len(plan["mutation"])
    else:
        assert collect.run("collect", fan.context()).figures["collected"] == len(LEGS)
