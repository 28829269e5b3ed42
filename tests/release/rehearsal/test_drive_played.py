"""How a rehearsal is driven, with all that it drives played."""

import io
import os
import shutil
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from release.model import Kind, Refused
from release.publisher import PublisherFacts
from release.rehearsal import drive
from release.rehearsal.summary import Ran
from release.rehearsal.world import World
from release.signing.check import TRUST
from tests.release.rehearsal import drive_support
from tests.release.rehearsal.drive_support import (
    FACTS,
    GRANT,
    PLAN,
    RELEASED,
    WHOLE,
    WRONG,
    Stand,
    not_shown,
    refused,
)
from tests.release.repo_support import CHANGELOG, printed

played = drive_support.played


def _lines(first: int, end: int) -> str:
    return "\n".join(f"line {number}" for number in range(first, end))


def test_the_sessions_of_a_release_run_in_the_clone(played: Stand) -> None:
    """Installed first, all of them; then one after another with nothing to install, and shown."""
    drive.run("rehearse", played.context())
    ((_, folder, env),) = played.calls["clone"]
    nox = [sys.executable, "-m", "nox", "--envdir", str(played.root / ".nox")]
    (install, settings), *runs = played.runs
    assert install == [*nox, "--install-only", "--session", *dict.fromkeys(WHOLE)]
    assert settings == {"cwd": folder / "clone", "env": dict(os.environ), "show": True}
    assert [words[:8] for words, _ in runs] == [[*nox, "-R", "--session", session] for session in WHOLE]
    assert all(words[8:11] == ["--", "--mode", "rehearsal"] for words, _ in runs)
    assert all((given["cwd"], given["show"]) == (folder / "clone", True) for _, given in runs)
    assert played.env("lint") == env == {"HOME": "child", "TTA_WHEELHOUSE": f"{played.root}/.nox/wheelhouse"}
    assert played.words("mutation")[2:5] == ["--sample", "30", "--evidence"]
    assert played.words("smoke")[2:4] == ["--index", "testpypi"]
    assert not folder.exists()
    assert played.calls["world ended"] == [()]
    assert "reusable" not in played.calls


def test_each_session_is_told_what_the_one_before_has_left(played: Stand) -> None:
    """As a workflow's job is: another ledger, or other files, would be refused."""
    drive.run("rehearse", played.context())
    assert played.words("build") == ["--mode", "rehearsal", "--tag", "v0.1.0"]
    for before, session in (("build", "lint"), ("lint", "test-3.12"), ("verify", "announce")):
        handed = ["--expect-head", f"after {before}", "--expect-digests", "of both files"]
        assert played.words(session)[-4:] == handed


def test_jobs_that_upload_get_a_grant_and_jobs_that_look_at_signatures_a_trust_root(played: Stand) -> None:
    """For the environment, the tag and the commit that a workflow's job would have; no other session does."""
    drive.run("rehearse", played.context())
    assert played.calls["job"] == [
        ("testpypi", "refs/tags/v0.1.0", RELEASED),
        ("releases", "refs/tags/v0.1.0", RELEASED),
    ]
    granted = {name: played.env(name)[GRANT] for name in WHOLE if GRANT in played.env(name)}
    assert granted == {"testpypi": "testpypi", "pypi": "releases"}
    assert played.env("pypi").keys() == {*played.env("lint"), GRANT, TRUST}
    trusting = {name: Path(played.env(name)[TRUST]).name for name in WHOLE if TRUST in played.env(name)}
    assert trusting == dict.fromkeys(("pypi", "verify"), "trust.json")


def test_the_world_and_the_environment_are_made_in_the_scratch_folder(
    played: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hidden Pythons come first on PATH, then the recording GitHub, then the person's own programs."""
    monkeypatch.setenv("PATH", os.pathsep.join(["/one", "/own/bin", "/run/bin", "/two"]))
    monkeypatch.setattr(sys, "executable", "/run/bin/python")
    monkeypatch.setattr(sys, "prefix", "/own")
    drive.run("rehearse", played.context())
    ((source, folder, _),) = played.calls["clone"]
    path = os.pathsep.join(["/one", "/two"])
    assert source == played.root
    assert played.calls["world"][0][0] == folder / "world"
    assert played.calls["gh"] == [(folder / "programs", folder / "github")]
    assert played.calls["environment"] == [
        (
            {**os.environ, "PATH": path},
            {
                "folder": folder / "child",
                "authority": folder / "world" / "ca.pem",
                "proxy": "http://proxy",
                "first_on_path": [folder / "hidden", folder / "programs"],
            },
        )
    ]
    assert played.runs[0][1]["env"] == {**os.environ, "PATH": path}


def test_without_a_path_programs_are_looked_for_where_the_system_does(
    played: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty PATH would be the working folder."""
    monkeypatch.delenv("PATH")
    drive.run("rehearse", played.context())
    assert played.calls["environment"][0][0]["PATH"] == os.defpath


def test_wheels_are_fetched_for_the_oldest_and_the_newest_python(played: Stand) -> None:
    """With the person's own settings; what lies between takes the same wheels."""
    played.pythons = {f"3.{minor}": f"/bin/python3.{minor}" for minor in (12, 13, 14)}
    drive.run("rehearse", played.context())
    ((runner, wheelhouse, given),) = played.calls["wheelhouse"]
    ((_, folder, _),) = played.calls["clone"]
    assert runner == played.run
    assert wheelhouse == played.root / ".nox" / "wheelhouse"
    assert isinstance(given.pop("console"), Console)
    locks = folder / "clone" / "release" / "locks"
    assert given == {
        "locks": [locks / f"{name}.txt" for name in ("runtime", "build", "test")],
        "pythons": ["/bin/python3.12", "/bin/python3.14"],
        "home": folder,
        "env": os.environ,
    }


def test_what_is_shown_while_it_runs(played: Stand) -> None:
    """Each part has its heading at the left, with its place in the whole; the tables stand at the end."""
    context = played.context()
    drive.run("rehearse", context)
    lines = printed(context).splitlines()
    headings = [line.rstrip(" ─") for line in lines if line.endswith("──")]
    assert headings == [
        "environments and wheelhouse",
        *(
            f"{number} of 13: {session}"
            for number, session in enumerate(
                [*WHOLE[:8], "smoke testpypi", "pypi", "smoke pypi", "verify", "announce"], start=1
            )
        ),
        "rehearsed",
    ]
    assert "  warm after 1.0 s; nothing from here on needs a network" in lines
    assert printed(context).index("stage_table") < printed(context).index("digest_table")


def test_a_log_is_wide_enough_for_a_digest_on_each_index(played: Stand) -> None:
    """A folded one cannot be searched for; other lines are as wide as the log."""
    kept = io.StringIO()
    own = Console(file=kept, width=60, markup=False)
    drive.run("rehearse", replace(played.context(), console=own))
    assert kept.getvalue().count(f"[i]{'y' * 100}") == 2


def test_a_terminal_is_as_wide_as_it_is(played: Stand) -> None:
    """The tables go to the very console that everything else goes to."""
    kept = io.StringIO()
    own = Console(file=kept, force_terminal=True, width=60, markup=False, color_system=None)
    drive.run("rehearse", replace(played.context(), console=own))
    assert "stage_table" in kept.getvalue()
    assert max(len(line) for line in kept.getvalue().splitlines()) == 60


def test_the_report_says_what_was_proved_and_what_was_not(played: Stand) -> None:
    """How long it took, which hosts were asked for and are none of the world's, where the ledger is."""
    played.refused = {"b.example": 2, "a.example": 1}
    kept = played.root / "report" / "rehearsal"
    kept.mkdir(parents=True)
    (kept / "of-the-last-time").touch()
    report = drive.run("rehearse", played.context())
    assert report.kind is Kind.DONE
    assert report.sentence == (
        "demo 0.1.0 went from v0.1.0 to PyPI in 30 s and 14 stages; "
        "2 files have the same digests everywhere, announced on a recording GitHub"
    )
    assert [(each.what, each.found) for each in report.checked] == [
        ("hosts refused", "a.example (1), b.example (2)"),
        ("not shown here", "test 3.14: no Python 3.14 here"),
        ("ledger kept", "report/rehearsal/ledger.jsonl"),
    ]
    assert report.figures == {"stages": 14, "took_ms": 30_000}
    assert not (kept / "of-the-last-time").exists()
    assert (kept / "ledger.jsonl").read_text(encoding="utf-8") == "played"
    ((done, seconds),) = played.calls["stage_table"]
    assert seconds == 30
    assert done == [
        Ran(name="environments", seconds=3, proved="as the locks say, and warm"),
        *(
            Ran(name=step.name, seconds=1, proved=f"{step.session} is proved")
            for step in drive.steps(PLAN.legs, tag="v0.1.0", fast=False, reused=())
        ),
    ]


def test_a_scratch_folder_that_is_gone_is_no_failure(played: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is proved is proved, whoever tidied up."""
    start = drive.world.start

    @contextmanager
    def removing(folder: Path, facts: PublisherFacts) -> Generator[World, None, None]:
        with start(folder, facts) as started:
            yield started
        shutil.rmtree(folder.parent)

    monkeypatch.setattr(drive.world, "start", removing)
    assert drive.run("rehearse", played.context()).kind is Kind.DONE
    assert played.calls["world ended"] == [()]


def test_a_version_that_is_not_ready_is_prepared_first(played: Stand) -> None:
    """With the version as its word and no mode; what it changes is committed before the tag is made."""
    played.changelog = CHANGELOG
    context = played.context()
    drive.run("rehearse", context)
    assert played.sessions() == ["prepare", *WHOLE]
    assert played.runs[0][0][6:] == ["--session", "prepare", *dict.fromkeys(WHOLE)]
    assert played.words("prepare") == ["0.1.0"]
    assert (GRANT in played.env("prepare"), TRUST in played.env("prepare")) == (False, False)
    assert (played.calls["entry"], played.calls["commit"]) == ([()], [("0.1.0",)])
    assert "before 13: prepare" in printed(context)
    ((done, _),) = played.calls["stage_table"]
    assert [ran.name for ran in done][:3] == ["environments", "prepare", "build"]


def test_a_version_that_is_ready_stays_as_it_is(played: Stand) -> None:
    """Nothing is committed, and the tag is the version's."""
    drive.run("rehearse", played.context())
    assert ("entry" in played.calls, "commit" in played.calls) == (False, False)
    assert played.calls["publish"] == [("v0.1.0",)]


def test_without_a_signed_tag_main_is_released(played: Stand) -> None:
    """No job claims a tag, the report begins at the commit, and says what was not checked."""
    played.tag = False
    context = played.context()
    report = drive.run("rehearse", context)
    assert played.words("build") == ["--mode", "rehearsal"]
    assert {ref for _, ref, _ in played.calls["job"]} == {"refs/heads/main"}
    note = "a signed tag: there is no ssh-keygen here, so the tag's rules were not checked"
    assert f"  not part of this rehearsal: {note}\n" in printed(context)
    assert not_shown(report) == [note, *PLAN.absent]
    assert f"went from {RELEASED[:12]} to PyPI" in report.sentence


def test_what_is_not_part_of_it_is_said_at_once(played: Stand) -> None:
    """Uncommitted files, and an owner's number that nobody has filled in: another stands in for it."""
    played.dirty = ["one", "two"]
    (played.root / "release" / "publisher.toml").write_text(FACTS.replace("4711", ""), encoding="utf-8")
    context = played.context()
    report = drive.run("rehearse", context)
    notes = [
        "2 uncommitted files: a release is of a commit",
        "the owner's number: release/publisher.toml does not have it yet, 1000001 stood in",
    ]
    assert not_shown(report) == [*notes, *PLAN.absent]
    assert printed(context).startswith("".join(f"  not part of this rehearsal: {note}\n" for note in notes))
    assert [facts.owner_id for _, facts in played.calls["world"]] == ["1000001"]


def test_the_owners_own_number_is_taken(played: Stand) -> None:
    """Nothing stands in for what is known."""
    report = drive.run("rehearse", played.context())
    assert [facts.owner_id for _, facts in played.calls["world"]] == ["4711"]
    assert not_shown(report) == [*PLAN.absent]


def test_a_suite_without_a_real_server_is_noted_once(played: Stand) -> None:
    """Each Python's tests say it; the report says it of the rehearsal."""
    played.result = "RESULT done {session}: passed, real server: NOT RUN\n"
    report = drive.run("rehearse", played.context())
    assert not_shown(report) == [*PLAN.absent, "real server: NOT RUN"]


def test_no_host_that_is_refused_is_said_as_well(played: Stand) -> None:
    """An empty line would leave the reader in doubt."""
    report = drive.run("rehearse", played.context())
    assert report.checked[0].found == "none was asked for"


def test_what_could_not_be_installed_is_quoted(played: Stand) -> None:
    """Ten lines of it; no session is run."""
    played.fails = "install"
    problem = refused(played)
    assert (problem.rule, problem.where) == ("rehearsal.warm", "environments")
    said = "\n".join(f"line {number}" for number in range(2, 12))
    assert problem.what == f"could not be installed:\n{said}"
    assert problem.remedy.startswith("connect to the network once and run the same command again")
    assert played.sessions() == []


@pytest.mark.parametrize(
    ("code", "result", "how", "said"),
    [
        (1, "RESULT refused {session}: it is broken\n", "refused", "it is broken"),
        (0, "RESULT not-yet {session}: come again\n", "not-yet", "come again"),
        (9, "RESULT done {session}: and then died\n", "done", "and then died"),
        (
            9,
            _lines(0, 12),
            "exit code 9",
            "\n".join(f"line {n}" for n in range(2, 12)),
        ),
    ],
)
def test_a_session_that_is_not_done_stops_it(
    played: Stand, code: int, result: str, how: str, said: str
) -> None:
    """Its own sentence is the reason, and the scratch folder is left for a look."""
    played.fails, played.code, played.result = "lint", code, result
    context = played.context()
    with pytest.raises(Refused) as caught:
        drive.run("rehearse", context)
    (problem,) = caught.value.problems
    assert (problem.rule, problem.where) == ("rehearsal.stage", f"lint (2 of 13, {how})")
    assert problem.what == said
    assert problem.remedy.startswith("mend what the stage says above, commit, rehearse again")
    assert played.sessions() == ["build", "lint"]
    assert printed(context).endswith(f"\n\nThe scratch folder is left for a look: {played.scratch}\n")
    assert played.calls["world ended"] == [()]


def test_what_the_indexes_hold_is_compared_after_all_is_done(played: Stand) -> None:
    """Everything wrong is named at once, behind the tables; no ledger is kept for a look."""
    for name in ("digest_problems", "announced_problems", "defects"):
        played.wrong[name] = [replace(WRONG, where=name)]
    with pytest.raises(Refused) as caught:
        drive.run("rehearse", played.context())
    assert [each.where for each in caught.value.problems] == [*played.wrong]
    ((_, folder, _),) = played.calls["clone"]
    ((world, ledger),) = played.calls["digest_problems"]
    assert ledger.opening.commit == RELEASED
    assert played.calls["announced_problems"] == [(folder / "github", ledger)]
    assert played.calls["defects"] == [(world,)]
    assert played.calls["digest_table"] == [(world, ledger)]
    assert not (played.root / "report").exists()
