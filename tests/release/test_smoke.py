"""The `smoke` stage: when it runs, where it takes the candidate from, and what it records."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import pytest

from release import environments, pythons, smoke
from release.context import Context, Options
from release.indexes import INDEXES, IndexName
from release.install_check import Candidate, Leg, legs
from release.ledger import Ledger, Outcome
from release.model import Checked, Kind, Mode, Problem, Refused, Report
from release.rules.archives import digest_of, read_archive
from release.runner import Finished, Runner
from tests.release.build_support import FILES, built, exported, rules
from tests.release.index_support import Answer, Served, serving
from tests.release.ledger_support import COMMIT, add, opening
from tests.release.repo_support import NOW, context_on, printed
from tests.release.runner_support import Call
from tests.release.smoke_support import Played

REHEARSED = Options(index="testpypi", mode=Mode.REHEARSAL)
LOCKS = {smoke.RUNTIME_LOCK: "# runtime\n", smoke.TEST_LOCK: "# test\n"}
PYTHONS = {"3.12": sys.executable}
NOT_HERE = "not run here: a full smoke from dist/ or TestPyPI runs them against the same bytes"


class Patient:
    """A clock that only `sleep` moves, and what is played to take its time."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> Patient:
    made = Patient()
    monkeypatch.setattr(smoke, "time", made)
    return made


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patient: Patient) -> Path:
    """The tiny project after its build: locks, `dist/` and a ledger; waiting takes no time."""
    del patient
    monkeypatch.setattr(pythons, "found", lambda: PYTHONS)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    root = exported(LOCKS, tmp_path / "repo")
    (root / "dist").mkdir()
    for name, data in built().files.items():
        (root / "dist" / name).write_bytes(data)
    opened = opening(
        project="tiny-demo",
        version="1.2.0",
        artifacts=built().artifacts,
        locks={name: digest_of(text.encode()) for name, text in LOCKS.items()},
    )
    Ledger.create(root / "ledger", opened, at=NOW)
    return root


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """An index that serves both files, as TestPyPI."""
    with serving() as served:
        monkeypatch.setitem(INDEXES, IndexName.TESTPYPI, served.index)
        served.files("tiny-demo", built().files)
        yield served


@dataclass(slots=True, kw_only=True)
class Slow(Played):
    """The shipped tests take their time."""

    patient: Patient

    def answer(self, call: Call) -> Finished:
        self.patient.now += 2.5 if "pytest" in call.words else 0
        return Played.answer(self, call)


def ledger_of(root: Path) -> Ledger:
    return Ledger.read(root / "ledger")


def context_with(root: Path, runner: Runner | None = None, options: Options | None = None) -> Context:
    return replace(context_on(root, options=options), runner=runner or Played())


def run(root: Path, options: Options | None = None, runner: Runner | None = None) -> Report:
    return smoke.run("smoke", context_with(root, runner, options))


def refused(root: Path, options: Options | None = None, runner: Runner | None = None) -> Refused:
    with pytest.raises(Refused) as caught:
        run(root, options, runner)
    assert rules(caught.value.problems)
    return caught.value


def outcomes(root: Path, leg: str) -> list[str]:
    return [line.outcome for line in ledger_of(root).lines if (line.stage, line.leg) == ("smoke", leg)]


def test_the_files_in_dist_are_smoked_and_recorded(tiny: Path, patient: Patient) -> None:
    """Four clean installations of the ledger's files, from the folder they stand in."""
    runner = Slow(patient=patient)
    report = run(tiny, runner=runner)
    assert report.kind is Kind.DONE
    assert report.sentence == (
        "tiny-demo 1.2.0 from local: 4 clean installations work, all with the ledger's bytes"
    )
    assert report.checked[0] == Checked(what="local", found="dist/ holds the ledger's 2 files")
    assert [each.what for each in report.checked[1:]] == [
        "sdist by uv on Python 3.12",
        "wheel by pip on Python 3.12",
        "sdist by pip on Python 3.12",
        "wheel by uv on Python 3.12",
    ]
    assert report.figures == {
        "installations": 4,
        "shipped_tests": "run once",
        "waited_ms": 0,
        "took_ms": 2500,
    }
    assert report.tools == {name: version(name) for name in ("pip", "uv")}
    assert outcomes(tiny, "local") == ["passed"]
    candidates = [words for words in runner.ran if any("candidate-" in word for word in words)]
    assert len(candidates) == 4
    assert all(words[words.index("--find-links") + 1] == str(tiny / "dist") for words in candidates)
    line = ledger_of(tiny).latest("smoke", "local")
    assert line is not None
    assert (line.figures, line.tools) == (report.figures, report.tools)
    assert len([words for words in runner.ran if "pytest" in words]) == 1


def test_a_smoke_that_passed_is_done_until_it_is_asked_for_again(tiny: Path) -> None:
    """Resuming costs nothing."""
    run(tiny)
    runner = Played()
    done = run(tiny, runner=runner)
    assert done == Report(kind=Kind.DONE, sentence="local passed before; `-- --again` repeats it")
    assert runner.ran == []
    run(tiny, Options(again=True))
    assert outcomes(tiny, "local") == ["passed", "passed"]


def test_a_fast_smoke_is_recorded_as_a_sample(tiny: Path) -> None:
    """Half the installations never pass for all of them in a release."""
    report = run(tiny, Options(fast=True))
    assert outcomes(tiny, "local") == ["sample"]
    assert (report.figures["installations"], report.figures["shipped_tests"]) == (2, "not run")
    assert report.checked[-1] == Checked(what="shipped tests", found=NOT_HERE)


def test_a_failing_installation_is_recorded_and_every_leg_is_shown(tiny: Path) -> None:
    """All legs run, all problems are shown, and an older pass counts no more."""
    run(tiny)
    caught = refused(tiny, Options(again=True), Played(fails="hello.py"))
    assert rules(caught.problems) == ["smoke.example"] * 4
    assert len({problem.where for problem in caught.problems}) == 4
    assert outcomes(tiny, "local") == ["passed", "failed"]
    assert not ledger_of(tiny).passed("smoke", "local")
    line = ledger_of(tiny).latest("smoke", "local")
    assert line is not None
    assert line.figures == {"problems": 4}


def test_an_edited_or_absent_dist_is_refused(tiny: Path) -> None:
    """What is smoked is what the ledger opened with."""
    wheel = tiny / "dist" / built().declared.wheel
    wheel.write_bytes(wheel.read_bytes() + b" ")
    assert rules(refused(tiny).problems) == ["build.dist"]
    (tiny / "dist").rename(tiny / "dist.gone")
    [problem] = refused(tiny).problems
    assert problem == Problem(
        rule="smoke.dist", where="dist/", what="does not exist", remedy="run `nox -s build`"
    )


def test_no_upload_no_lock_and_no_python_are_all_named(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that is missing, before anything is installed."""
    monkeypatch.setattr(pythons, "found", dict[str, str])
    (tiny / smoke.RUNTIME_LOCK).write_text("edited\n", encoding="utf-8")
    (tiny / smoke.TEST_LOCK).unlink()
    what = "is missing, or is not the lock the ledger opened with"
    restore = f"restore it from the commit: `git checkout {COMMIT[:12]} -- "
    assert refused(tiny, REHEARSED).problems == (
        Problem(
            rule="smoke.after-upload",
            where="testpypi",
            what="the ledger holds no passed upload to it",
            remedy="run `nox -s testpypi` first",
        ),
        Problem(
            rule="smoke.python",
            where="this machine",
            what="has no supported Python",
            remedy="install one of 3.12, 3.13, 3.14, 3.15",
        ),
        Problem(
            rule="smoke.lock",
            where=smoke.RUNTIME_LOCK,
            what=what,
            remedy=f"{restore}{smoke.RUNTIME_LOCK}`",
        ),
        Problem(rule="smoke.lock", where=smoke.TEST_LOCK, what=what, remedy=f"{restore}{smoke.TEST_LOCK}`"),
    )


def test_an_upload_that_failed_is_none(tiny: Path) -> None:
    """What an index refused is not there to be smoked."""
    add(ledger_of(tiny), "testpypi", outcome=Outcome.FAILED)
    assert rules(refused(tiny, REHEARSED).problems) == ["smoke.after-upload"]


@pytest.mark.parametrize("leg", ["local", "testpypi"])
def test_each_installation_gets_the_candidate_that_the_ledger_names(
    tiny: Path, index: Served, monkeypatch: pytest.MonkeyPatch, leg: str
) -> None:
    """One candidate for all, each installed in a folder of its own that is gone when the smoke ends."""
    given: list[tuple[object, Leg, Candidate, Path]] = []

    def check(runner: object, leg: Leg, candidate: Candidate, folder: Path) -> str:
        assert (candidate.shipped / "examples/hello.py").is_file()
        given.append((runner, leg, candidate, folder))
        return f"{leg.kind} works"

    monkeypatch.setattr(smoke, "check", check)
    monkeypatch.setenv(environments.WHEELHOUSE, str(tiny))
    add(ledger_of(tiny), "testpypi")
    runner = Played()
    report = run(tiny, replace(REHEARSED, index=leg), runner)
    chosen = legs(PYTHONS, fast=False, shipped_tests=True)
    assert sorted((each.name, each.shipped_tests) for _, each, _, _ in given) == sorted(
        (each.name, each.shipped_tests) for each in chosen
    )
    assert list(report.checked[1:]) == [
        Checked(what=each.name, found=f"{each.kind} works") for each in chosen
    ]
    [scratch] = {folder.parent for _, _, _, folder in given}
    assert scratch.name.startswith("tta-smoke-")
    assert not scratch.exists()
    assert {folder.name for _, _, _, folder in given} == {
        f"{each.kind}-{each.tool.value}-3.12" for each in chosen
    }
    sdist, wheel = built().artifacts
    for by, _, candidate, _ in given:
        assert by is runner
        assert candidate == Candidate(
            project="tiny-demo",
            version="1.2.0",
            wheel=wheel,
            sdist=sdist,
            source=tiny / "dist" if leg == "local" else index.index.simple_url,
            contents=read_archive(wheel.name, built().wheel),
            shipped=scratch / "shipped",
            runtime_lock=tiny / "release/locks/runtime.txt",
            test_lock=tiny / "release/locks/test.txt",
            wheels=tiny.resolve(),
        )


@pytest.mark.parametrize(
    ("problems", "ends"),
    [((), "works (2.5 s)"), ((Problem(rule="r", where="w", what="x", remedy="y"),), "FAILED")],
)
def test_each_installation_says_how_it_ended(
    tiny: Path,
    patient: Patient,
    monkeypatch: pytest.MonkeyPatch,
    problems: Sequence[Problem],
    ends: str,
) -> None:
    """Who watches knows which installation takes long, and which one failed before all have ended."""

    def check(*_: object) -> str:
        patient.sleep(2.5)
        if problems:
            raise Refused(*problems)
        return "fine"

    def chosen(found: Mapping[str, str], *, fast: bool, shipped_tests: bool) -> list[Leg]:
        return legs(found, fast=fast, shipped_tests=shipped_tests)[:1]

    monkeypatch.setattr(smoke, "legs", chosen)
    monkeypatch.setattr(smoke, "check", check)
    context = context_with(tiny)
    if problems:
        with pytest.raises(Refused) as caught:
            smoke.run("smoke", context)
        assert caught.value.problems == problems
    else:
        smoke.run("smoke", context)
    assert printed(context).startswith(
        f"  sdist by uv on Python 3.12: installing\n  sdist by uv on Python 3.12: {ends}\n"
    )


def test_an_index_is_smoked_after_its_upload(tiny: Path, index: Served) -> None:
    """The candidate is installed from the index's own address, by the ledger's digests."""
    add(ledger_of(tiny), "testpypi", subject={"commit": ledger_of(tiny).opening.commit})
    runner = Played()
    report = run(tiny, REHEARSED, runner)
    assert report.kind is Kind.DONE
    assert report.checked[0] == Checked(
        what="testpypi", found="lists and serves 2 files with the ledger's digests"
    )
    assert outcomes(tiny, "testpypi") == ["passed"]
    addresses = {word for words in runner.ran for word in words if word.startswith("http")}
    assert addresses == {index.index.simple_url}
    assert {path for path, _ in index.asked} >= {"/simple/tiny-demo/", f"/files/{built().declared.wheel}"}


def test_the_shipped_tests_are_not_repeated_for_the_same_bytes(tiny: Path) -> None:
    """Once is enough, and where they do not run the report says so."""
    with serving() as served, pytest.MonkeyPatch.context() as patch:
        patch.setitem(INDEXES, IndexName.PYPI, served.index)
        served.files("tiny-demo", built().files)
        add(ledger_of(tiny), "pypi")
        runner = Played()
        report = run(tiny, Options(index="pypi", mode=Mode.REHEARSAL), runner)
    assert not [words for words in runner.ran if "pytest" in words]
    assert (report.figures["installations"], report.figures["shipped_tests"]) == (4, "not run")
    assert report.checked[-1] == Checked(what="shipped tests", found=NOT_HERE)


def test_an_upload_after_the_smoke_asks_for_another_smoke(tiny: Path, index: Served) -> None:
    """A smoke counts for the upload it follows."""
    del index
    add(ledger_of(tiny), "testpypi")
    run(tiny, REHEARSED)
    add(ledger_of(tiny), "testpypi")
    run(tiny, REHEARSED)
    assert outcomes(tiny, "testpypi") == ["passed", "passed"]


def test_an_index_that_lags_is_waited_for(tiny: Path, index: Served, patient: Patient) -> None:
    """Not visible yet is not broken."""
    page = index.answers["/simple/tiny-demo/"]
    assert isinstance(page, Answer)
    answers = [Answer(status=404), Answer(status=503), page]
    index.answers["/simple/tiny-demo/"] = lambda: answers.pop(0)
    add(ledger_of(tiny), "testpypi")
    context = context_with(tiny, Slow(patient=patient), REHEARSED)
    report = smoke.run("smoke", context)
    assert report.kind is Kind.DONE
    assert (report.figures["waited_ms"], report.figures["took_ms"]) == (3000, 5500)
    assert patient.slept == [1, 2]
    assert "lists 0 of 2 files; asked 1 times" in printed(context)


def test_an_index_that_stays_down_ends_in_not_yet_and_records_nothing(
    tiny: Path, index: Served, patient: Patient
) -> None:
    """The same command again goes on; no failure is recorded where nothing has failed."""
    del patient
    index.answers["/simple/tiny-demo/"] = Answer(status=503)
    add(ledger_of(tiny), "testpypi")
    assert refused(tiny, REHEARSED).kind is Kind.NOT_YET
    assert outcomes(tiny, "testpypi") == []


def test_an_index_with_other_bytes_is_refused_at_once(tiny: Path, index: Served) -> None:
    """Broken is not late: other bytes under the release's name."""
    wheel = built().declared.wheel
    index.files("tiny-demo", {**built().files, wheel: b"other"})
    add(ledger_of(tiny), "testpypi")
    caught = refused(tiny, REHEARSED)
    assert (caught.kind, rules(caught.problems)) == (Kind.REFUSED, ["index.digest"])
    assert outcomes(tiny, "testpypi") == [Outcome.FAILED]


def test_a_rehearsals_ledger_is_not_smoked_as_a_release(tiny: Path) -> None:
    """A stage that reaches an index is a release unless it is told otherwise."""
    assert rules(refused(tiny, Options(index="testpypi")).problems) == ["binding.same-mode"]


def test_an_sdists_source_is_left_behind(tmp_path: Path) -> None:
    """Only what is installed can be imported by the examples and the shipped tests."""
    smoke.unpack_shipped(built().sdist, tmp_path / "shipped")
    names = {path.name for path in (tmp_path / "shipped").iterdir()}
    assert names == {"examples", "tests", "pyproject.toml"}
    for name in ("examples/hello.py", "tests/library/test_tiny.py", "pyproject.toml"):
        assert (tmp_path / "shipped" / name).read_text(encoding="utf-8") == FILES[name]


def test_a_release_takes_no_dependencies_from_a_folder(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a release is smoked with is what an index serves to everybody."""
    rehearsed = ledger_of(tiny).opening
    (tiny / "ledger/ledger.jsonl").unlink()
    released = opening(
        mode=Mode.RELEASE,
        project=rehearsed.project,
        version=rehearsed.version,
        tag="v1.2.0",
        artifacts=rehearsed.artifacts,
        locks=rehearsed.locks,
    )
    Ledger.create(tiny / "ledger", released, at=NOW)
    monkeypatch.setenv(environments.WHEELHOUSE, str(tiny))
    assert rules(refused(tiny).problems) == ["environment.wheelhouse"]
