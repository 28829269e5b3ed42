"""What a fast rehearsal leaves out, and what one of the workflow file hands on, with all else played."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from release.context import Options
from release.evidence import Outcome
from release.model import Kind, Report
from release.rehearsal import drive
from release.rehearsal.reuse import Reused
from release.rehearsal.summary import Ran
from tests.release.rehearsal import drive_support
from tests.release.rehearsal.drive_support import (
    HEAD,
    PLAN,
    RELEASED,
    WHOLE,
    Stand,
    not_shown,
    refused,
)
from tests.release.repo_support import CHANGELOG

played = drive_support.played

FAST = Options(fast=True)
TESTS = [
    Reused(stage="test", leg=leg, outcome=Outcome.SAMPLE, figures={"tests": n}, tools={"pytest": "9"}, n=n)
    for n, leg in enumerate(("3.12", "3.13"), start=4)
]
LINT = Reused(stage="lint", leg="all", outcome=Outcome.PASSED, figures={"rules": 7}, tools={"ruff": "1"}, n=3)


def test_fast_uses_the_newest_python_alone(played: Stand) -> None:
    """The others are hidden by launchers that say why they fail; each is named as left out."""
    played.pythons = {f"3.{minor}": f"/bin/python3.{minor}" for minor in (11, 12, 13)}
    played.fails = "announce"
    played.result = "RESULT refused {session}: broken"
    assert refused(played, FAST).where == "announce (12 of 12, refused)"
    assert played.sessions() == [*WHOLE[:2], *WHOLE[3:]]
    assert played.runs[0][0][7:] == [*dict.fromkeys([*WHOLE[:2], *WHOLE[3:]])]
    assert played.words("mutation")[2:5] == ["--sample", "5", "--evidence"]
    assert played.words("smoke")[2:5] == ["--index", "testpypi", "--fast"]
    ((_, _, given),) = played.calls["wheelhouse"]
    assert given["pythons"] == ["/bin/python3.13"]
    hidden = played.scratch / "hidden"
    assert sorted(path.name for path in hidden.iterdir()) == ["python3.11", "python3.12"]
    for program in hidden.iterdir():
        assert program.read_bytes() == b"#!/bin/sh\necho 'hidden by rehearse --fast' >&2\nexit 127\n"
        assert program.stat().st_mode & 0o777 == 0o755


def test_a_fast_rehearsal_names_the_pythons_it_left_out(played: Stand) -> None:
    """Behind those that are not here at all."""
    report = drive.run("rehearse", played.context(FAST))
    assert not_shown(report) == [*PLAN.absent, "test 3.12: left out by --fast"]


@pytest.mark.parametrize("why", ["no server for the newest", "Windows"])
def test_fast_leaves_no_python_out_where_it_cannot(
    played: Stand, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """The one Python that proves something must be seen; a launcher of Windows is no script."""
    if why == "Windows":
        names = {name: getattr(os, name) for name in ("environ", "defpath", "pathsep")}
        monkeypatch.setattr(drive, "os", SimpleNamespace(name="nt", **names))
    else:
        played.plan = replace(PLAN, legs={**PLAN.legs, "test": ("3.12",)})
    report = drive.run("rehearse", played.context(FAST))
    assert played.sessions() == WHOLE
    assert played.runs[0][0][7:] == [*dict.fromkeys(WHOLE)]
    assert not_shown(report) == [*PLAN.absent]


def test_without_fast_the_own_ledger_is_not_looked_at(played: Stand) -> None:
    """A whole rehearsal proves everything itself."""
    played.reused = [LINT, *TESTS]
    drive.run("rehearse", played.context())
    assert "reusable" not in played.calls
    assert played.sessions() == WHOLE


def test_fast_takes_over_what_the_own_ledger_has_proved(played: Stand) -> None:
    """It is recorded in the clone, as a ledger line, with its figures; what tests have covered goes along."""
    played.reused = [LINT, *TESTS]
    for leg in ("3.12", "3.13"):
        data = played.root / "report" / "coverage" / f".coverage.{leg}"
        data.parent.mkdir(parents=True, exist_ok=True)
        data.write_text(leg, encoding="utf-8")
    played.fails, played.result = "announce", "RESULT refused {session}: broken"
    refused(played, Options(fast=True, evidence=True))
    assert played.sessions() == [each for each in WHOLE if each != "lint" and not each.startswith("test-")]
    clone = played.scratch / "clone"
    assert not (played.scratch / "hidden").exists()
    assert [
        path.read_text(encoding="utf-8") for path in sorted((clone / "report" / "coverage").iterdir())
    ] == [
        "3.12",
        "3.13",
    ]
    for each, given in zip(played.reused, played.calls["record"], strict=True):
        inside, ledger, stage, leg, report, outcome = given
        assert (inside.root, inside.options) == (clone, Options(fast=True))
        assert ledger.opening.commit == RELEASED
        assert (stage, leg, outcome) == (each.stage, each.leg, each.outcome)
        assert report == Report(kind=Kind.DONE, sentence="", figures=each.figures, tools=each.tools)


def test_tests_that_were_taken_over_hide_no_python(played: Stand) -> None:
    """They ran on all of them, even where nothing else was taken over."""
    played.reused = TESTS
    report = drive.run("rehearse", played.context(FAST))
    assert played.sessions() == [each for each in WHOLE if not each.startswith("test-")]
    assert not_shown(report) == [*PLAN.absent]


def test_what_was_taken_over_stands_behind_the_build(played: Stand) -> None:
    """With the line that proves it, and no time of its own; nothing is copied that was not measured."""
    played.reused = [LINT, *TESTS]
    drive.run("rehearse", played.context(FAST))
    ((done, _),) = played.calls["stage_table"]
    assert [ran.name for ran in done[:2]] == ["environments", "build"]
    assert done[2:5] == [
        Ran(name="lint", seconds=0, proved="taken from this checkout's ledger, line n=3, as passed"),
        Ran(name="test-3.12", seconds=0, proved="taken from this checkout's ledger, line n=4, as sample"),
        Ran(name="test-3.13", seconds=0, proved="taken from this checkout's ledger, line n=5, as sample"),
    ]


@pytest.mark.parametrize(("changelog", "expected"), [(None, HEAD), (CHANGELOG, "")])
@pytest.mark.parametrize(("measured", "unmeasured"), [([], ["3.13"]), (["3.13"], []), (["3.12"], ["3.13"])])
def test_what_can_be_taken_over_is_asked_before_and_after_the_release_is_made(
    played: Stand, changelog: str | None, expected: str, measured: list[str], unmeasured: list[str]
) -> None:
    """Before, its commit is HEAD's or not known yet; only the newest Python's coverage is looked at."""
    played.changelog = changelog or played.changelog
    for leg in measured:
        data = played.root / "report" / "coverage" / f".coverage.{leg}"
        data.parent.mkdir(parents=True, exist_ok=True)
        data.touch()
    own = played.leave(played.root / "ledger")
    drive.run("rehearse", played.context(FAST))
    first, second = played.calls["reusable"]
    given = {"head": HEAD, "plan": PLAN.legs, "unmeasured": unmeasured}
    assert first[1] == {**given, "released": expected}
    left = {**PLAN.legs, "test": ("3.13",)}
    assert second[1] == {**given, "plan": left, "released": RELEASED}
    assert [outer for outer, _ in (first, second)] == [own, own]


def test_a_checkout_without_a_ledger_has_nothing_to_take_over(played: Stand) -> None:
    """A missing one is no reason to refuse."""
    drive.run("rehearse", played.context(FAST))
    assert played.calls["reusable"][0][0] is None


def test_the_workflows_run_gets_what_the_sessions_would(played: Stand) -> None:
    """And what it leaves is judged as theirs is; nothing is taken over, even where it is to be fast."""
    played.pythons = {f"3.{minor}": f"/bin/python3.{minor}" for minor in (12, 13)}
    context = played.context(Options(act=True, fast=True))
    report = drive.run("rehearse", context)
    assert report.kind is Kind.DONE
    assert played.sessions() == []
    assert "reusable" not in played.calls
    ((given, course),) = played.calls["walk"]
    ((_, folder, env),) = played.calls["clone"]
    ((world, _),) = played.calls["digest_problems"]
    assert given is context
    assert (course.clone, course.origin, course.folder) == (folder / "clone", folder / "origin.git", folder)
    assert (course.tag, course.sha, course.fast) == ("v0.1.0", RELEASED, True)
    assert (course.world, course.env) == (world, env)
    assert course.facts.environments["pypi"] == "releases"
    assert [*course.nox] == [sys.executable, "-m", "nox", "--envdir", str(played.root / ".nox")]
    assert (course.pythons, course.tested, course.sample_s) == (("3.13",), ("3.13",), 5)
    assert course.signed == {"pypi", "verify"}
    ((done, _),) = played.calls["stage_table"]
    assert [ran.name for ran in done] == ["environments", "job announce"]


def test_the_workflow_starts_at_a_signed_tag(played: Stand) -> None:
    """Without one there is nothing to run; two ways out are named."""
    played.tag = False
    problem = refused(played, Options(act=True))
    assert (problem.rule, problem.where) == ("hosted.tag", "v0.1.0")
    assert problem.what.startswith("could not be signed without ssh-keygen")
    assert problem.remedy == "install OpenSSH's ssh-keygen, or rehearse without --act"
    assert "walk" not in played.calls


def test_result_reads_the_last_line_that_is_one() -> None:
    """What a stage printed on its way is not its result."""
    text = "RESULT done lint: old\nnox > x\nRESULT not-yet smoke: index lags  \nnox > failed\n"
    assert drive.result(text) == ("not-yet", "index lags")
    assert drive.result("nothing") == ("", "")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("home = x\nuv = 0.13\n", ["--default-venv-backend", "uv"]),
        ("home = ü\nuv=0.13\n", ["--default-venv-backend", "uv"]),
        ("home = x\nversion_uv = 1\n", ["--default-venv-backend", "virtualenv"]),
        (None, []),
    ],
)
def test_children_make_the_outer_kind_of_environments(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, config: str | None, words: list[str]
) -> None:
    """Environments are shared, so both runs of nox must mean the same kind."""
    own = tmp_path / "rehearse"
    own.mkdir()
    if config is not None:
        (own / "pyvenv.cfg").write_text(config, encoding="utf-8")
    monkeypatch.setattr(sys, "prefix", str(own))
    monkeypatch.setenv("NOX_CURRENT_SESSION", "rehearse")
    nox = [sys.executable, "-m", "nox", "--envdir"]
    assert drive.nox_words(Path("/elsewhere")) == [*nox, str(tmp_path), *words]
    monkeypatch.delenv("NOX_CURRENT_SESSION")
    assert drive.nox_words(Path("/checkout")) == [*nox, "/checkout/.nox"]


def test_under_nox_the_wheelhouse_is_with_its_environments(
    played: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kept between rehearsals, as they are."""
    monkeypatch.setenv("NOX_CURRENT_SESSION", "rehearse")
    drive.run("rehearse", played.context())
    assert played.calls["wheelhouse"][0][1] == Path(sys.prefix).parent / "wheelhouse"
