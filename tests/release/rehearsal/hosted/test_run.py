"""What act is asked, and what is read from what it prints."""

import json
import os
import shutil
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from release.model import Refused
from release.rehearsal.hosted.run import act_words, event, failure, job_ends, program, ran
from tests.release.ledger_support import rules_of
from tests.release.rehearsal.support import FACTS

PRINTED = """\
time="2026-01-01T00:00:00Z" level=warning msg="no docker"
[release/build         ] ⭐ Run Main Build
[release/build         ]   | nox > Running session build
[release/build         ]   | RESULT done build: two files
[release/build         ]   | nox > success
[release/build         ]   ✅  Success - Main Build [1m2.5s]
[release/build         ]   ✅  Success - Main Hand on the candidate [250ms]
[release/build         ] 🏁  Job succeeded
[release/test 3.13-2   ]   | RESULT done test: 10 passed
[release/test 3.13-2   ]   ✅  Success - Main Test [1h0m0.25s]
[release/lint          ]   | RESULT refused lint: 2 problems
[release/lint          ]   ❌  Failure - Main Lint [59.8µs]
[release/test 3.13-2   ] 🏁  Job succeeded
[release/lint          ] 🏁  Job failed
Error: Job 'lint' failed
"""


def test_each_job_ends_with_what_its_session_said() -> None:
    """Lines of jobs that run at once come mixed; the time is that of the step which told the result."""
    ends = job_ends(PRINTED)
    assert [(each.name, each.passed, each.result, each.sentence) for each in ends] == [
        ("build", True, "done", "two files"),
        ("test 3.13-2", True, "done", "10 passed"),
        ("lint", False, "refused", "2 problems"),
    ]
    assert [each.seconds for each in ends] == pytest.approx([62.5, 3600.25, 59.8e-6])
    assert [(each.name, each.seconds, each.proved) for each in ran(ends)] == [
        ("job build", ends[0].seconds, "two files"),
        ("job test 3.13-2", ends[1].seconds, "10 passed"),
        ("job lint", ends[2].seconds, "2 problems"),
    ]


def test_a_sentence_ends_where_its_words_end() -> None:
    """A program's line may end with spaces; what it begins with belongs to it."""
    (job,) = job_ends("[release/build]   | RESULT done build:  two files \t\n")
    assert job.sentence == " two files"


def test_a_failed_job_is_told_by_its_sessions_sentence() -> None:
    """That is what a person mends."""
    problem = failure(job_ends(PRINTED), "the tail")
    assert (problem.rule, problem.where, problem.what) == ("rehearsal.hosted", "job lint", "2 problems")


def test_the_leg_that_broke_is_told_of_before_those_that_fell_with_it() -> None:
    """Of a matrix, act calls every leg failed once one has."""
    fell = "[release/test 1]   | RESULT done test: fine\n[release/test 1] 🏁  Job failed\n"
    broke = "[release/test 2]   | RESULT refused test: broken\n[release/test 2]   ❌  Failure - Main T [1s]\n"
    problem = failure(job_ends(f"{fell}{broke}[release/test 2] 🏁  Job failed\n"), "the tail")
    assert (problem.where, problem.what) == ("job test 2", "broken")


def test_a_job_that_failed_beside_its_session_is_told_by_its_last_lines() -> None:
    """A set-up or an upload that failed has no RESULT line of its own."""
    lines = "".join(f"[release/x]   | line {number}\n" for number in range(20))
    failed = "[release/x]   | RESULT done build: fine\n[release/x]   ❌  Failure - Main Upload [1s]\n"
    problem = failure(job_ends(f"{lines}{failed}[release/x] 🏁  Job failed\n"), "the tail")
    assert problem.what.splitlines()[0] == "line 10"
    assert problem.what.endswith("❌  Failure - Main Upload [1s]")
    unended = failure(job_ends("[release/x]   | no space left\n[release/x] 🏁  Job failed\n"), "the tail")
    assert (unended.where, unended.what) == ("job x", "no space left")
    silent = failure(job_ends("[release/x] ⭐ Run Set up job\n[release/x] 🏁  Job failed\n"), "the tail")
    assert (silent.where, silent.what) == ("job x", "ended without a word")


def test_without_a_job_acts_own_words_are_told() -> None:
    """A workflow that act cannot read starts no job."""
    problem = failure(job_ends("Error: workflow is not valid"), "Error: workflow is not valid")
    assert (problem.where, problem.what) == ("act", "Error: workflow is not valid")


def test_act_is_the_sessions_own_or_the_one_on_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without one, the message says which command brings it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none" / "python"))
    with pytest.raises(Refused) as caught:
        program(tmp_path)
    assert rules_of(caught.value) == ["hosted.act"]
    assert caught.value.problems[0].where == str(tmp_path)
    assert "nox -s rehearse -- --act" in caught.value.problems[0].remedy
    name = "act.exe" if os.name == "nt" else "act"
    (tmp_path / name).write_text("#!/bin/sh\n")
    (tmp_path / name).chmod(0o755)
    assert Path(program(tmp_path)) == tmp_path / name
    monkeypatch.delenv("PATH")
    monkeypatch.setattr(os, "defpath", str(tmp_path))
    assert Path(program(tmp_path)) == tmp_path / name
    own = tmp_path / "none"
    own.mkdir()
    shutil.copy2(tmp_path / name, own / name)
    assert Path(program(tmp_path)) == own / name


def test_the_event_is_the_push_of_the_tag() -> None:
    """Jobs read the tag's name from it."""
    assert json.loads(event(FACTS, "v1", "a" * 40)) == {
        "ref": "refs/tags/v1",
        "after": "a" * 40,
        "created": True,
        "repository": {
            "name": "demo-project",
            "full_name": "Somebody/demo-project",
            "owner": {"login": "Somebody"},
            "default_branch": "main",
        },
    }


def test_act_runs_on_this_machine_and_listens_nowhere_else() -> None:
    """No container, no fetched action, no server beyond loopback; checkout is the stand-in's."""
    words = act_words(
        "act",
        workflow=Path("copy.yml"),
        event_file=Path("event.json"),
        cache=Path("cache"),
        facts=FACTS,
        jobs=2,
        variables={"A": "${{ a }}"},
        stand_ins=["--local-repository", "x"],
    )
    assert words[:4] == ["act", "push", "--workflows", "copy.yml"]
    pairs = dict(pairwise(words))
    assert pairs["--platform"] == "ubuntu-latest=-self-hosted"
    assert pairs["--cache-server-addr"] == pairs["--artifact-server-addr"] == "127.0.0.1"
    assert {"--no-cache-server", "--no-skip-checkout", "--action-offline-mode", "--pull=false"} <= {*words}
    assert pairs["--eventpath"] == "event.json"
    assert pairs["--action-cache-path"] == "cache"
    assert pairs["--concurrent-jobs"] == "2"
    assert pairs["--actor"] == "Somebody"
    assert pairs["--secret"] == "GITHUB_TOKEN=rehearsal-token-of-no-use", "a session may ask for it"
    assert pairs["--env"] == "GITHUB_REPOSITORY=Somebody/demo-project"
    assert pairs["--var"] == "A=${{ a }}"
    assert words[-2:] == ["--local-repository", "x"]
