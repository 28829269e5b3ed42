"""The `smoke` stage: when it runs, where it takes the candidate from, and what it records."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from release import build, pythons, smoke
from release.context import Options
from release.indexes import INDEXES, IndexName
from release.ledger import Ledger, Outcome
from release.model import Kind, Mode, Refused, Report
from tests.release.build_support import built, context_with, copied, project, replaying, rules
from tests.release.index_support import Answer, Served, serving
from tests.release.ledger_support import add
from tests.release.repo_support import Repo, printed
from tests.release.smoke_support import Played

REHEARSED = Options(index="testpypi", mode=Mode.REHEARSAL)
LOCKS = {smoke.RUNTIME_LOCK: "# runtime\n", smoke.TEST_LOCK: "# test\n"}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """The tiny project, built."""
    repo = project(tmp_path_factory.mktemp("tiny"), LOCKS)
    build.run("build", context_with(repo, replaying()))
    return repo


@pytest.fixture
def tiny(template: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    monkeypatch.setattr(pythons, "found", lambda: {"3.12": sys.executable})
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    return copied(template, tmp_path / "repo")


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """An index that serves both files, as TestPyPI."""
    with serving() as served:
        monkeypatch.setitem(INDEXES, IndexName.TESTPYPI, served.index)
        served.files("tiny-demo", built().files)
        yield served


def ledger_of(repo: Repo) -> Ledger:
    return Ledger.read(repo.root / "ledger")


def run(repo: Repo, options: Options | None = None, runner: Played | None = None) -> Report:
    return smoke.run("smoke", context_with(repo, runner or Played(), options))


def refused(repo: Repo, options: Options | None = None, runner: Played | None = None) -> Refused:
    with pytest.raises(Refused) as caught:
        run(repo, options, runner)
    assert rules(caught.value.problems)
    return caught.value


def outcomes(repo: Repo, leg: str) -> list[str]:
    return [line.outcome for line in ledger_of(repo).lines if (line.stage, line.leg) == ("smoke", leg)]


def test_the_files_in_dist_are_smoked_and_recorded(tiny: Repo) -> None:
    """Four clean installations of the ledger's files, from the folder they stand in."""
    runner = Played()
    report = run(tiny, runner=runner)
    assert report.kind is Kind.DONE
    assert "4 clean installations" in report.sentence
    assert outcomes(tiny, "local") == ["passed"]
    candidates = [words for words in runner.ran if any("candidate-" in word for word in words)]
    assert len(candidates) == 4
    assert all(words[words.index("--find-links") + 1] == str(tiny.root / "dist") for words in candidates)
    line = ledger_of(tiny).latest("smoke", "local")
    assert line is not None
    assert line.figures["installations"] == 4
    assert line.figures["shipped_tests"] == "run once"
    assert len([words for words in runner.ran if "pytest" in words]) == 1
    assert {"pip", "uv"} <= line.tools.keys()


def test_a_smoke_that_passed_is_done_until_it_is_asked_for_again(tiny: Repo) -> None:
    """Resuming costs nothing."""
    run(tiny)
    runner = Played()
    assert "passed before" in run(tiny, runner=runner).sentence
    assert runner.ran == []
    run(tiny, Options(again=True))
    assert outcomes(tiny, "local") == ["passed", "passed"]


def test_a_fast_smoke_is_recorded_as_a_sample(tiny: Repo) -> None:
    """Half the installations never pass for all of them in a release."""
    run(tiny, Options(fast=True))
    assert outcomes(tiny, "local") == ["sample"]


def test_a_failing_installation_is_recorded_and_every_leg_is_shown(tiny: Repo) -> None:
    """All legs run, all problems are shown, and an older pass counts no more."""
    run(tiny)
    caught = refused(tiny, Options(again=True), Played(fails="hello.py"))
    assert rules(caught.problems) == ["smoke.example"] * 4
    assert len({problem.where for problem in caught.problems}) == 4
    assert outcomes(tiny, "local") == ["passed", "failed"]
    assert not ledger_of(tiny).passed("smoke", "local")


def test_an_edited_or_absent_dist_is_refused(tiny: Repo) -> None:
    """What is smoked is what the ledger opened with."""
    wheel = tiny.root / "dist" / built().declared.wheel
    wheel.write_bytes(wheel.read_bytes() + b" ")
    assert rules(refused(tiny).problems) == ["build.dist"]
    (tiny.root / "dist").rename(tiny.root / "dist.gone")
    assert rules(refused(tiny).problems) == ["smoke.dist"]


def test_no_upload_no_lock_and_no_python_are_all_named(tiny: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that is missing, before anything is installed."""
    monkeypatch.setattr(pythons, "found", dict[str, str])
    (tiny.root / smoke.RUNTIME_LOCK).write_text("edited\n", encoding="utf-8")
    caught = refused(tiny, REHEARSED)
    assert rules(caught.problems) == ["smoke.after-upload", "smoke.python", "smoke.lock"]


def test_an_index_is_smoked_after_its_upload(tiny: Repo, index: Served) -> None:
    """The candidate is installed from the index's own address, by the ledger's digests."""
    add(ledger_of(tiny), "testpypi", subject={"commit": ledger_of(tiny).opening.commit})
    runner = Played()
    assert run(tiny, REHEARSED, runner).kind is Kind.DONE
    assert outcomes(tiny, "testpypi") == ["passed"]
    addresses = {word for words in runner.ran for word in words if word.startswith("http")}
    assert addresses == {index.index.simple_url}
    assert {path for path, _ in index.asked} >= {"/simple/tiny-demo/", f"/files/{built().declared.wheel}"}


def test_the_shipped_tests_are_not_repeated_for_the_same_bytes(tiny: Repo) -> None:
    """Once is enough, and where they do not run the report says so."""
    with serving() as served, pytest.MonkeyPatch.context() as patch:
        patch.setitem(INDEXES, IndexName.PYPI, served.index)
        served.files("tiny-demo", built().files)
        add(ledger_of(tiny), "pypi")
        runner = Played()
        report = run(tiny, Options(index="pypi", mode=Mode.REHEARSAL), runner)
    assert not [words for words in runner.ran if "pytest" in words]
    assert report.figures["shipped_tests"] == "not run"
    assert report.checked[-1].what == "shipped tests"


def test_an_upload_after_the_smoke_asks_for_another_smoke(tiny: Repo, index: Served) -> None:
    """A smoke counts for the upload it follows."""
    del index
    add(ledger_of(tiny), "testpypi")
    run(tiny, REHEARSED)
    add(ledger_of(tiny), "testpypi")
    run(tiny, REHEARSED)
    assert outcomes(tiny, "testpypi") == ["passed", "passed"]


class Patient:
    """A clock that only `sleep` moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def test_an_index_that_lags_is_waited_for(tiny: Repo, index: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not visible yet is not broken."""
    patient = Patient()
    monkeypatch.setattr(smoke, "time", patient)
    page = index.answers["/simple/tiny-demo/"]
    assert isinstance(page, Answer)
    answers = [Answer(status=404), Answer(status=503), page]
    index.answers["/simple/tiny-demo/"] = lambda: answers.pop(0)
    add(ledger_of(tiny), "testpypi")
    context = context_with(tiny, Played(), REHEARSED)
    assert smoke.run("smoke", context).kind is Kind.DONE
    assert patient.slept == [1, 2]
    assert "lists 0 of 2 files; asked 1 times" in printed(context)


def test_an_index_that_stays_down_ends_in_not_yet_and_records_nothing(
    tiny: Repo, index: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command again goes on; no failure is recorded where nothing has failed."""
    monkeypatch.setattr(smoke, "time", Patient())
    index.answers["/simple/tiny-demo/"] = Answer(status=503)
    add(ledger_of(tiny), "testpypi")
    assert refused(tiny, REHEARSED).kind is Kind.NOT_YET
    assert outcomes(tiny, "testpypi") == []


def test_an_index_with_other_bytes_is_refused_at_once(tiny: Repo, index: Served) -> None:
    """Broken is not late: other bytes under the release's name."""
    wheel = built().declared.wheel
    index.files("tiny-demo", {**built().files, wheel: b"other"})
    add(ledger_of(tiny), "testpypi")
    caught = refused(tiny, REHEARSED)
    assert (caught.kind, rules(caught.problems)) == (Kind.REFUSED, ["index.digest"])
    assert outcomes(tiny, "testpypi") == [Outcome.FAILED]


def test_a_rehearsals_ledger_is_not_smoked_as_a_release(tiny: Repo) -> None:
    """A stage that reaches an index is a release unless it is told otherwise."""
    assert rules(refused(tiny, Options(index="testpypi")).problems) == ["binding.same-mode"]


def test_an_sdists_source_is_left_behind(tmp_path: Path) -> None:
    """Only what is installed can be imported by the examples and the shipped tests."""
    smoke.unpack_shipped(built().sdist, tmp_path / "shipped")
    names = {path.name for path in (tmp_path / "shipped").iterdir()}
    assert names == {"examples", "tests", "pyproject.toml"}
