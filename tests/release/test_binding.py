"""How a stage is bound to its ledger, in both modes, alone and in a workflow, on real checkouts."""

from dataclasses import dataclass, replace

import pytest

from release.binding import bound, bound_or_none, index_mode, record, tag_problems
from release.checkout import Checkout
from release.context import Context, Options
from release.evidence import FOLDER, Outcome, Ran, read_evidence
from release.ledger import NAME, Ledger
from release.model import Kind, Mode, Refused, Report
from release.plan import RELEASE
from release.runner import LocalRunner
from tests.release.ledger_support import HERE, SDIST, WHEEL, create, rules_of
from tests.release.repo_support import NOW, Repo, context_on, printed

DONE = Report(kind=Kind.DONE, sentence="fine", figures={"checks": 3}, tools={"ruff": "0.1"})


def open_ledger(repo: Repo, *, mode: Mode = Mode.REHEARSAL, **changes: object) -> Ledger:
    """A ledger of what is checked out."""
    checkout = Checkout(repo.root, LocalRunner())
    facts = {"commit": checkout.head(), "tree": checkout.tree(), "epoch": checkout.epoch()}
    return create(repo.root / "ledger", mode=mode, **facts, **changes)


def on(repo: Repo, **options: object) -> Context:
    """A context with these options."""
    return context_on(repo.root, options=Options(**options))  # pyright: ignore[reportArgumentType] - by name


def refusal(context: Context, mode: Mode | None = None) -> list[str]:
    with pytest.raises(Refused) as caught:
        bound(context, mode=mode)
    return rules_of(caught.value)


@pytest.mark.parametrize("mode", list(Mode))
def test_a_ledger_of_what_is_checked_out_is_bound(repo: Repo, mode: Mode) -> None:
    """The good case, in both modes."""
    made = open_ledger(repo, mode=mode)
    for asked in (None, mode):
        assert bound(on(repo), mode=asked).head == made.head
        found = bound_or_none(on(repo, mode=asked))
        assert found is not None
        assert found.head == made.head


@pytest.mark.parametrize(("has", "runs"), [(Mode.REHEARSAL, Mode.RELEASE), (Mode.RELEASE, Mode.REHEARSAL)])
def test_each_mode_refuses_the_others_ledger(repo: Repo, has: Mode, runs: Mode) -> None:
    """Line 0's mode is the only switch."""
    open_ledger(repo, mode=has)
    assert refusal(on(repo), runs) == ["binding.same-mode"]
    assert refusal(on(repo, mode=runs)) == ["binding.same-mode"]
    with pytest.raises(Refused) as caught:
        bound_or_none(on(repo, mode=runs))
    assert rules_of(caught.value) == ["binding.same-mode"]


@pytest.mark.parametrize("mode", list(Mode))
def test_another_commit_is_refused(repo: Repo, mode: Mode) -> None:
    """Evidence about one commit says nothing about the next."""
    made = open_ledger(repo, mode=mode).opening
    repo.write("more.txt", "x")
    repo.commit()
    with pytest.raises(Refused) as caught:
        bound(on(repo), mode=None)
    (problem,) = caught.value.problems
    assert (problem.rule, problem.where) == ("binding.same-commit", "HEAD")
    assert problem.remedy.startswith(f"check out {made.tag if mode is Mode.RELEASE else made.commit},")


def test_a_release_refuses_a_dirty_tree_and_names_each_path(repo: Repo) -> None:
    """What is checked would not be what was committed."""
    open_ledger(repo, mode=Mode.RELEASE)
    repo.write("untracked.txt", "x")
    repo.write("pyproject.toml", "x")
    with pytest.raises(Refused) as caught:
        bound(on(repo), mode=Mode.RELEASE)
    assert rules_of(caught.value) == ["binding.clean-tree"] * 2
    assert [problem.where for problem in caught.value.problems] == ["pyproject.toml", "untracked.txt"]
    with pytest.raises(Refused):
        bound_or_none(on(repo))


def test_a_rehearsal_may_go_on_with_a_dirty_tree_where_files_are_looked_at(repo: Repo) -> None:
    """Its files are the ledger's; only evidence about the tree is not recorded then."""
    made = open_ledger(repo)
    repo.write("untracked.txt", "x")
    assert bound(on(repo), mode=None).head == made.head
    context = on(repo)
    assert bound_or_none(context) is None
    assert "no evidence recorded: the tree has uncommitted changes" in printed(context)


def test_gates_run_without_a_ledger_and_say_so(repo: Repo) -> None:
    """Lint and test are for every day, not for releases only."""
    context = on(repo)
    assert bound_or_none(context) is None
    assert "no evidence recorded: there is no ledger" in printed(context)
    assert refusal(on(repo)) == ["ledger.present"]


@pytest.mark.parametrize("mode", list(Mode))
def test_gates_do_not_mind_the_ledger_of_an_older_commit(repo: Repo, mode: Mode) -> None:
    """The ledger of last week's release stays where it is."""
    old = open_ledger(repo, mode=mode).opening.commit
    repo.write("more.txt", "x")
    repo.commit()
    context = on(repo)
    assert bound_or_none(context) is None
    assert f"of commit {old[:12]}, which is not checked out" in printed(context)


@pytest.mark.parametrize(
    "options", [{"mode": Mode.RELEASE}, {"evidence": True}, {"expect_head": ""}, {"expect_digests": ""}]
)
def test_a_gate_of_a_release_or_a_workflow_must_have_its_ledger(
    repo: Repo, options: dict[str, object]
) -> None:
    """A job whose artefact did not arrive must not pass for want of it."""
    with pytest.raises(Refused) as caught:
        bound_or_none(on(repo, **options))
    assert rules_of(caught.value) == ["ledger.present"]


def test_a_broken_ledger_is_not_taken_for_none(repo: Repo) -> None:
    """A break is told, whatever the stage."""
    open_ledger(repo)
    (repo.root / "ledger" / NAME).write_bytes(b"{}\n")
    with pytest.raises(Refused) as caught:
        bound_or_none(on(repo))
    assert rules_of(caught.value) == ["ledger.readable"]


def test_a_torn_line_is_reported(repo: Repo) -> None:
    """A person learns what the crash cost, and where it is."""
    made = open_ledger(repo)
    with (repo.root / "ledger" / NAME).open("ab") as file:
        file.write(b'{"at"')
    context = on(repo)
    assert bound(context, mode=None).head == made.head
    assert "torn" in printed(context)
    assert "ledger/torn-1-" in printed(context)


def test_what_the_job_before_handed_on_must_fit(repo: Repo) -> None:
    """A chain can be rewritten whole; a job output cannot."""
    made = open_ledger(repo)
    good = {"expect_head": made.head, "expect_digests": made.digests}
    assert bound(on(repo, **good), mode=None).head == made.head
    assert refusal(on(repo, **{**good, "expect_head": made.digests})) == ["binding.expected-head"]
    assert refusal(on(repo, **{**good, "expect_digests": made.head})) == ["binding.expected-digests"]
    with pytest.raises(Refused) as caught:
        bound(on(repo, expect_head="", expect_digests=made.head), mode=None)
    assert [(each.rule, each.what) for each in caught.value.problems] == [
        (
            "binding.expected-head",
            f"the ledger's last line has sha256 {made.head}, the job before handed on nothing",
        ),
        (
            "binding.expected-digests",
            f"the ledger's artefact list has sha256 {made.digests}, the job before handed on {made.head}",
        ),
    ]


def test_a_release_in_a_workflow_must_be_told_what_to_expect(
    repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A workflow line that lost its option must not pass."""
    made = open_ledger(repo, mode=Mode.RELEASE)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert refusal(on(repo)) == ["binding.expected-head", "binding.expected-digests"]
    assert refusal(on(repo, expect_head=made.head)) == ["binding.expected-digests"]
    assert bound(on(repo, expect_head=made.head, expect_digests=made.digests), mode=None).head == made.head


def test_a_release_with_a_smaller_plan_is_refused(repo: Repo) -> None:
    """The plan of a release is a constant, also for whoever writes line 0."""
    open_ledger(repo, mode=Mode.RELEASE, plan={**RELEASE, "test": ("3.12",)})
    assert refusal(on(repo)) == ["binding.whole-plan"]


def test_every_misfit_is_told_at_once(repo: Repo) -> None:
    """A person mends all of them in one go."""
    open_ledger(repo)
    repo.write("more.txt", "x")
    repo.commit()
    repo.write("dirty.txt", "x")
    assert refusal(on(repo, expect_head="x", expect_digests="y"), Mode.RELEASE) == [
        "binding.same-mode",
        "binding.same-commit",
        "binding.clean-tree",
        "binding.expected-head",
        "binding.expected-digests",
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vouched:
    """What a stage's evidence is about."""

    stage: str
    leg: str
    names: set[str]


@pytest.mark.parametrize(
    "case",
    [
        Vouched(stage="lint", leg="all", names={"commit", "tree"}),
        Vouched(stage="mutation", leg=RELEASE["mutation"][0], names={"commit", "tree"}),
        Vouched(stage="test", leg="3.12", names={WHEEL.name}),
        Vouched(stage="build", leg="all", names={"commit", "tree", WHEEL.name, SDIST.name}),
        Vouched(stage="testpypi", leg="all", names={WHEEL.name, SDIST.name}),
        Vouched(stage="smoke", leg="pypi", names={WHEEL.name, SDIST.name}),
    ],
    ids=lambda case: case.stage,
)
def test_evidence_is_about_what_the_stage_looked_at(
    repo: Repo, case: Vouched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lint saw the tree, test the wheel, an upload both files."""
    ledger = open_ledger(repo, mode=Mode.RELEASE)
    context = on(repo)
    elsewhere = replace(HERE, attempt=7)
    with monkeypatch.context() as patch:
        looks = iter([elsewhere])
        patch.setattr(Ran, "here", lambda: next(looks))
        record(context, ledger, case.stage, case.leg, DONE)
    line = Ledger.read(context.ledger).lines[0]
    assert (line.stage, line.leg, line.outcome) == (case.stage, case.leg, Outcome.PASSED)
    assert set(line.subject) == case.names
    assert (line.figures, line.tools) == (DONE.figures, DONE.tools)
    assert line.at == NOW.replace(microsecond=0)
    assert line.ran == elsewhere
    assert ledger.head in printed(context)


def test_a_job_writes_an_evidence_file_and_leaves_the_ledger_alone(repo: Repo) -> None:
    """Parallel jobs each have their own copy of the ledger: only `collect` adds to it."""
    ledger = open_ledger(repo)
    before = (repo.root / "ledger" / NAME).read_bytes()
    context = on(repo, evidence=True)
    record(context, ledger, "test", "3.12", DONE, Outcome.SAMPLE)
    path = context.ledger / FOLDER / "test-3.12.json"
    evidence = read_evidence(path)
    assert evidence.genesis == ledger.genesis
    assert (evidence.stage, evidence.leg, evidence.outcome) == ("test", "3.12", Outcome.SAMPLE)
    assert (repo.root / "ledger" / NAME).read_bytes() == before
    assert "ledger/evidence/test-3.12.json" in printed(context)


@pytest.mark.parametrize("evidence", [True, False])
def test_a_leg_that_is_not_planned_leaves_no_evidence_and_says_so(repo: Repo, evidence: bool) -> None:
    """A person may run more than the plan asks for."""
    ledger = open_ledger(repo)
    context = on(repo, evidence=evidence)
    record(context, ledger, "test", "3.11", DONE)
    assert Ledger.read(context.ledger).lines == ()
    assert not (context.ledger / FOLDER).exists()
    assert "no evidence recorded: test 3.11 is not in the ledger's plan" in printed(context)


def test_a_stage_that_no_plan_names_leaves_no_evidence(repo: Repo) -> None:
    """Sessions beside the release may print, not vouch."""
    ledger = open_ledger(repo)
    context = on(repo)
    record(context, ledger, "moon", "all", DONE)
    assert Ledger.read(context.ledger).lines == ()
    assert "no evidence recorded: moon all is not in the ledger's plan" in printed(context)


def test_evidence_about_something_else_is_refused(repo: Repo) -> None:
    """Also in a file, before it travels."""
    ledger = open_ledger(repo)
    for evidence in (True, False):
        with pytest.raises(Refused) as caught:
            record(on(repo, evidence=evidence), ledger, "lint", "all", DONE, subject={"commit": "0" * 40})
        assert rules_of(caught.value) == ["ledger.same-subject"]


@pytest.mark.parametrize(
    ("environ", "stays"),
    [
        ({"HTTPS_PROXY": "http://127.0.0.1:8080"}, True),
        ({"HTTPS_PROXY": "http://localhost:8080"}, True),
        ({"HTTPS_PROXY": "http://[::1]:8080"}, True),
        ({"https_proxy": "http://127.0.0.1:8080"}, True),
        ({}, False),
        ({"HTTPS_PROXY": ""}, False),
        ({"HTTPS_PROXY": "http://proxy.example.org:8080"}, False),
        ({"HTTPS_PROXY": "127.0.0.1:8080"}, False),
        ({"HTTPS_PROXY": "http://127.0.0.1.example.org:8080"}, False),
        ({"HTTPS_PROXY": "http://127.0.0.1@example.org:8080"}, False),
        ({"HTTPS_PROXY": "http://127.0.0.1:1", "https_proxy": "http://example.org"}, False),
        ({"HTTPS_PROXY": "http://127.0.0.1:1", "NO_PROXY": "localhost, 127.0.0.1"}, True),
        ({"HTTPS_PROXY": "http://127.0.0.1:1", "NO_PROXY": "*"}, False),
        ({"HTTPS_PROXY": "http://127.0.0.1:1", "no_proxy": "localhost,example.org"}, False),
    ],
)
def test_a_rehearsal_cannot_reach_a_real_index(repo: Repo, environ: dict[str, str], stays: bool) -> None:
    """Without the loopback proxy it does not start; a release needs none."""
    assert index_mode(on(repo), environ) is Mode.RELEASE
    assert index_mode(on(repo, mode=Mode.RELEASE), environ) is Mode.RELEASE
    context = on(repo, mode=Mode.REHEARSAL)
    if stays:
        assert index_mode(context, environ) is Mode.REHEARSAL
        return
    with pytest.raises(Refused) as caught:
        index_mode(context, environ)
    assert rules_of(caught.value) == ["binding.rehearsal-stays-here"]


def test_the_environment_is_asked_for_the_proxy(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    """What twine and pip would obey."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    assert index_mode(on(repo, mode=Mode.REHEARSAL)) is Mode.REHEARSAL


def test_the_tag_must_be_the_ledgers_here_and_at_origin(repo: Repo) -> None:
    """A release is of one tag object, wherever it is looked up."""
    tag_object = repo.sign("v0.1.0")
    repo.git("push", "--quiet", "origin", "v0.1.0")
    opening = open_ledger(repo, tag="v0.1.0", tag_object=tag_object).opening
    assert tag_problems(on(repo), opening) == []
    repo.git("tag", "--delete", "v0.1.0")
    assert [problem.where for problem in tag_problems(on(repo), opening)] == ["tag v0.1.0 in this checkout"]
    repo.git("push", "--quiet", "--delete", "origin", "v0.1.0")
    assert len(tag_problems(on(repo), opening)) == 2


def test_a_ledger_that_stands_for_no_tag_has_none_to_look_up(repo: Repo) -> None:
    """A rehearsal may be of a commit alone, in a checkout without origin."""
    repo.git("remote", "remove", "origin")
    assert tag_problems(on(repo), open_ledger(repo, tag="", tag_object="").opening) == []
