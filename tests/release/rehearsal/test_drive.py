"""The whole rehearsal with its sessions played: real uploads and collect, quick stand-ins for the gates.

What it leaves out and refuses is in test_drive_played and test_drive_fast, where everything is played.
"""

import os
import shutil
import sys
import tempfile
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from unittest import mock

import pytest

from release import announce, collect, prepare, publish
from release.binding import record
from release.checkout import Checkout
from release.context import Context, Options
from release.environments import WHEELHOUSE
from release.evidence import Outcome
from release.ledger import Ledger
from release.model import Kind, Mode, Refused, Report
from release.plan import Plan
from release.rehearsal import drive
from release.rehearsal.hosted import walk as hosted
from release.rehearsal.hosted.walk import Course
from release.rehearsal.steps import Step, steps
from release.rehearsal.summary import Ran
from release.rules.archives import measure
from release.runner import Finished
from release.signing.check import TRUST
from tests.release.ledger_support import opening, rules_of
from tests.release.rehearsal.support import written
from tests.release.repo_support import NOW, Repo, context_on, printed
from tests.release.runner_support import Call, Double
from tests.release.test_publish import PUBLISHER

PLAN = Plan(
    legs={
        "build": ("all",),
        "lint": ("all",),
        "test": ("3.12", "3.13"),
        "coverage": ("all",),
        "mutation": ("all",),
        "testpypi": ("all",),
        "smoke": ("local", "testpypi", "pypi"),
        "pypi": ("all",),
        "verify": ("all",),
    },
    absent=("test 3.14: no Python 3.14 here",),
)


@dataclass
class Player(Double):
    """Runs git and twine for real, and plays nox: each session does the least that leaves its evidence."""

    fails: str = ""
    """A session that refuses."""
    sessions: list[str] = field(default_factory=list[str])
    installed: list[str] = field(default_factory=list[str])
    environments: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    words: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    downloads: int = 0

    def answer(self, call: Call) -> Finished:
        words = call.words
        if "download" in words:
            self.downloads += 1
            return call.ended()
        if words[1:3] != ["-m", "nox"]:
            return call.really()
        asked = words[words.index("--session") + 1 :]
        if "--install-only" in words:
            self.installed = asked
            return call.ended()
        session, posargs = asked[0], asked[2:]
        assert words[words.index("--session") - 1] == "-R", "nothing is installed while the network is away"
        self.sessions.append(session)
        self.environments[session] = call.env
        self.words[session] = posargs
        if session == self.fails:
            return call.ended(1, f"RESULT refused {session}: it is broken\nnox > failed")
        with mock.patch.dict(os.environ, self.environments[session], clear=True):
            self.play(session, posargs, call.cwd)
        return call.ended(said=f"RESULT done {session.partition('-')[0]}: {session} is proved\nnox > done")

    def play(self, session: str, posargs: list[str], root: Path) -> None:
        given = dict(pairwise(posargs))
        options = Options(
            mode=Mode.REHEARSAL,
            evidence="--evidence" in posargs,
            expect_head=given.get("--expect-head"),
            expect_digests=given.get("--expect-digests"),
        )
        context = context_on(root, options=options)
        stage, _, leg = session.partition("-")
        if stage == "prepare":
            asked = replace(context, options=Options(version=posargs[0]))
            prepare.run(stage, asked)
        elif stage == "build":
            self.build(context, posargs[posargs.index("--tag") + 1] if "--tag" in posargs else "")
        elif stage == "collect":
            collect.run(stage, context)
        elif stage in {"testpypi", "pypi"}:
            publish.run(stage, context)
        elif stage == "announce":
            announce.run(stage, context)
        else:
            leg = posargs[posargs.index("--index") + 1] if stage == "smoke" else leg or "all"
            outcome = Outcome.SAMPLE if "--sample" in posargs else Outcome.PASSED
            report = Report(kind=Kind.DONE, sentence="", figures={"played": 1})
            record(context, Ledger.read(context.ledger), stage, leg, report, outcome)

    @staticmethod
    def build(context: Context, tag: str) -> None:
        files = written(context.root / "dist")
        checkout = Checkout(context.root, context.runner)
        opened = opening(
            project="demo-project",
            tag=tag,
            tag_object=checkout.tag_facts(tag).tag_object if tag else "",
            commit=checkout.head(),
            tree=checkout.tree(),
            plan=PLAN.legs,
            artifacts=tuple(measure(path) for path in sorted(files)),
        )
        ledger = Ledger.create(context.ledger, opened, at=NOW)
        record(context, ledger, "build", "all", Report(kind=Kind.DONE, sentence=""))


@pytest.fixture
def player(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Player:
    monkeypatch.setattr(drive, "here", lambda: PLAN)
    monkeypatch.setattr(drive.pythons, "found", lambda: {"3.12": sys.executable, "3.13": sys.executable})
    monkeypatch.setattr(tempfile, "tempdir", str(made(tmp_path / "temp")))
    monkeypatch.delenv("NOX_CURRENT_SESSION", raising=False)
    return Player()


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def left(tmp_path: Path) -> list[Path]:
    """The scratch folders that were not removed."""
    return list((tmp_path / "temp").glob("tta-rehearsal-*"))


def context(repo: Repo, player: Player, *, fast: bool = False, act: bool = False) -> Context:
    repo.write("release/publisher.toml", PUBLISHER)
    repo.write(".gitignore", "/dist/\n/ledger/\n/report/\n/.nox/\n")
    for name in ("runtime", "build", "test"):
        repo.write(f"release/locks/{name}.txt", "")
    repo.write("README.md", "A demo.\n")
    repo.commit()
    return replace(context_on(repo.root, options=Options(fast=fast, act=act)), runner=player)


WHOLE = [
    *("build", "lint", "test-3.12", "test-3.13", "coverage", "mutation", "collect"),
    *("testpypi", "smoke", "pypi", "smoke", "verify", "announce"),
]


def test_rehearsal_goes_all_the_way(repo: Repo, player: Player, tmp_path: Path) -> None:
    """A commit without a dated section goes from prepare to announce, and nothing else changes."""
    ready = context(repo, player)
    report = drive.run("rehearse", ready)
    assert report.kind is Kind.DONE
    assert "0.1.0 went from v0.1.0 to PyPI" in report.sentence
    assert player.sessions == ["prepare", *WHOLE]
    assert player.installed == ["prepare", *dict.fromkeys(WHOLE)]
    said = printed(ready)
    kept = Ledger.read(repo.root / "report" / "rehearsal")
    assert "lint is proved" in said
    assert said.count("the same") >= 4
    assert all(artifact.sha256 in said for artifact in kept.opening.artifacts), "a digest is folded"
    notes = {each.found for each in report.checked if each.what == "not shown here"}
    assert "test 3.14: no Python 3.14 here" in notes
    assert left(tmp_path) == []
    assert "announced on a recording GitHub" in report.sentence
    assert [(line.stage, line.leg) for line in kept.lines][-5:] == [
        ("testpypi", "all"),
        ("smoke", "testpypi"),
        ("pypi", "all"),
        ("smoke", "pypi"),
        ("verify", "all"),
    ]
    assert kept.opening.tag == "v0.1.0"
    assert repo.git("tag") == ""
    # The jobs are given what the workflow's jobs are given, and no more.
    environments = player.environments
    granted = {name for name in environments if any(key.startswith("ACTIONS_") for key in environments[name])}
    assert granted == {"testpypi", "pypi"}
    trusting = {name for name in environments if TRUST in environments[name]}
    assert trusting == {"pypi", "verify"}, (
        "a suite that runs in the rehearsal plays releases, which refuse it"
    )
    assert "--expect-head" not in player.words["build"]
    assert all({"--expect-head", "--expect-digests"} <= {*player.words[name]} for name in WHOLE[1:])
    for env in environments.values():
        assert env["HTTPS_PROXY"].startswith("http://127.0.0.1:")
        assert Path(env[WHEELHOUSE]) == repo.root / ".nox" / "wheelhouse"


def test_a_dated_commit_is_released_as_it_is(repo: Repo, player: Player, tmp_path: Path) -> None:
    """Nothing is prepared where nothing has to be, so the rehearsed tree is HEAD's own."""
    text = (repo.root / "CHANGELOG.md").read_text()
    repo.write(
        "CHANGELOG.md", text.replace("[Unreleased]:", f"## [0.1.0] - {NOW.date()}\n\n- It.\n\n[Unreleased]:")
    )
    player.fails = "lint"
    with pytest.raises(Refused):
        drive.run("rehearse", context(repo, player))
    assert player.sessions == ["build", "lint"]
    (folder,) = left(tmp_path)
    assert Ledger.read(folder / "clone" / "ledger").opening.commit == repo.git("rev-parse", "HEAD")


def test_a_failing_stage_stops_it_and_leaves_the_scratch_folder(
    repo: Repo, player: Player, tmp_path: Path
) -> None:
    """The person gets the stage's own sentence, and something to look at."""
    player.fails = "coverage"
    ready = context(repo, player)
    with pytest.raises(Refused) as caught:
        drive.run("rehearse", ready)
    assert rules_of(caught.value) == ["rehearsal.stage"]
    assert "it is broken" in caught.value.problems[0].what
    assert "coverage" in caught.value.problems[0].where
    assert player.sessions[-1] == "coverage"
    (folder,) = left(tmp_path)
    assert (folder / "clone" / "ledger").is_dir()
    assert str(folder) in printed(ready)


def test_fast_takes_over_what_the_own_ledger_proves(repo: Repo, player: Player, tmp_path: Path) -> None:
    """Gates that passed for this commit are not run again; behind prepare they count as samples."""
    ready = context(repo, player, fast=True)
    own = replace(ready, options=Options(mode=Mode.REHEARSAL))
    player.build(own, "")
    ledger = Ledger.read(ready.ledger)
    for stage, leg in (("lint", "all"), ("test", "3.12"), ("test", "3.13")):
        record(own, ledger, stage, leg, Report(kind=Kind.DONE, sentence="", figures={"took_ms": 5}))
    shutil.rmtree(repo.root / "dist")
    for leg in ("3.12", "3.13"):
        repo.write(f"report/coverage/.coverage.{leg}", leg)
    player.fails = "collect"
    with pytest.raises(Refused):
        drive.run("rehearse", ready)
    assert player.sessions == ["prepare", "build", "coverage", "mutation", "collect"]
    (folder,) = left(tmp_path)
    line = Ledger.read(folder / "clone" / "ledger").latest("test", "3.13")
    assert line is not None
    assert line.outcome == "sample"
    assert line.figures["reused_line"] == 4
    assert (folder / "clone" / "report" / "coverage" / ".coverage.3.12").read_text() == "3.12"


def test_what_an_index_does_not_hold_is_refused(
    repo: Repo, player: Player, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Stages that all say done are not believed: the rehearsal looks at what the indexes keep."""
    monkeypatch.setattr(drive, "steps", mock.Mock(return_value=[Step(session="build")]))
    with pytest.raises(Refused) as caught:
        drive.run("rehearse", context(repo, player))
    assert rules_of(caught.value) == [*["rehearsal.same-digests"] * 4, "rehearsal.announced"]
    assert len(left(tmp_path)) == 1


def walked(context: Context, course: Course) -> list[Ran]:
    """Play the workflow: every session in the clone, with what the course gives its jobs."""
    for step in steps(PLAN.legs, tag=course.tag, fast=False, reused=()):
        env = dict(course.env)
        if step.uploads_to is not None:
            ref = f"refs/tags/{course.tag}"
            env |= course.world.issuer.job(step.uploads_to, ref=ref, sha=course.sha).grant
        if step.session in course.signed:
            env[TRUST] = str(course.world.trust)
        context.runner(
            ["x", "-m", "nox", "-R", "--session", step.session, "--", *step.words], cwd=course.clone, env=env
        )
    return [Ran(name="job announce", seconds=1, proved="announced")]


def test_with_act_the_workflow_takes_the_sessions_place(
    repo: Repo, player: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets the tagged clone, its origin, the warm environments; what it leaves is judged alike."""
    courses: list[Course] = []

    def walk(context: Context, course: Course) -> list[Ran]:
        courses.append(course)
        return walked(context, course)

    monkeypatch.setattr(hosted, "walk", walk)
    ready = context(repo, player, act=True)
    report = drive.run("rehearse", ready)
    assert report.kind is Kind.DONE
    assert "job announce" in printed(ready)
    assert player.sessions == ["prepare", *WHOLE]
    (course,) = courses
    assert (course.tag, course.fast) == ("v0.1.0", False)
    assert course.origin == course.folder / "origin.git"
    assert (course.pythons, course.tested) == (("3.12", "3.13"), ("3.12", "3.13"))
    assert [*course.nox[1:3]] == ["-m", "nox"]
    assert Ledger.read(repo.root / "report" / "rehearsal").opening.commit == course.sha
