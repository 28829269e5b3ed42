"""The whole walk with act played: what it is given, and what is done with what it leaves."""

import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from release.model import Refused
from release.rehearsal.hosted import run
from release.rehearsal.hosted.walk import LAST_LEDGER, Course, walk
from release.rehearsal.issuer import Issuer
from release.rehearsal.world import World, now
from release.runner import Finished
from release.signing.check import TRUST
from tests.release.ledger_support import rules_of
from tests.release.rehearsal.support import FACTS
from tests.release.repo_support import context_on, printed
from tests.release.runner_support import Call, Double
from tests.release.workflow_support import FOLDER, ROOT, SETUP

PASSED = "[release/announce] 🏁  Job succeeded\n"
FAILED = "[release/announce]   | RESULT refused announce: no\n[release/announce] 🏁  Job failed\n"


@dataclass
class Act(Double):
    """Looks at what act would run, and leaves a ledger as the workflow's jobs would."""

    code: int = 0
    said: str = PASSED
    ledger: str = LAST_LEDGER
    words: list[str] = field(default_factory=list[str])
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    workflow: str = ""
    event: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def answer(self, call: Call) -> Finished:
        assert call.show
        assert call.timeout_s is None
        self.words, self.env = call.words, call.env
        assert call.cwd.name == "clone"
        self.workflow = Path(self.after("--workflows")).read_text(encoding="utf-8")
        self.event = json.loads(Path(self.after("--eventpath")).read_text(encoding="utf-8"))
        artefact = call.cwd.parent / "hosted" / "artefacts" / "1"
        (artefact / "files").mkdir(parents=True)
        (artefact / "name").write_text(self.ledger)
        (artefact / "files" / "ledger.jsonl").write_text("of the last job")
        return call.ended(self.code, self.said)

    def after(self, option: str) -> str:
        return self.words[self.words.index(option) + 1]


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Course:
    """A clone with the committed workflow, in a folder as the rehearsal makes it."""
    clone = tmp_path / "clone"
    for name in (f"{FOLDER}/release.yml", f"{SETUP}/action.yml", "release/action-pins.toml"):
        path = clone / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
    (clone / "ledger").mkdir()
    (clone / "ledger" / "old").touch()

    def program(root: Path) -> str:
        return f"act for {root.name}"

    monkeypatch.setattr(run, "program", program)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    issuer = Issuer(FACTS, now)
    issuer.base = "http://127.0.0.1:5"
    world = cast(World, type("Played", (), {"issuer": issuer, "trust": tmp_path / "trust.json"}))
    return Course(
        clone=clone,
        origin=tmp_path / "origin.git",
        tag="v1",
        sha="a" * 40,
        folder=tmp_path,
        world=world,
        facts=FACTS,
        env={"HOME": "scratch"},
        nox=[sys.executable, "-m", "nox"],
        pythons=["3.12", "3.13"],
        tested=["3.13"],
        sample_s=5,
        fast=False,
        signed=frozenset({"pypi", "verify"}),
    )


def test_act_runs_the_copy_in_the_tagged_clone(course: Course) -> None:
    """With the event of the tag's push, the child's environment, and nothing of the person's."""
    act = Act()
    context = replace(context_on(course.folder), runner=act)
    done = walk(context, course)
    assert [each.name for each in done] == ["job announce"]
    assert act.words[0] == f"act for {course.folder.name}"
    assert act.env == {"HOME": "scratch"}
    assert act.event["ref"] == "refs/tags/v1"
    assert act.event["after"] == "a" * 40
    assert '        python: ["3.13"]\n' in act.workflow
    assert "--mode rehearsal --sample 5 --shard" in act.workflow
    assert act.after("--concurrent-jobs") == "2"
    place = course.folder / "hosted"
    assert act.after("--workflows") == str(place / "release.yml")
    assert act.after("--eventpath") == str(place / "event.json")
    assert act.after("--action-cache-path") == str(place / "cache")
    checkout = act.after("--local-repository")
    assert checkout.startswith("actions/checkout@")
    assert checkout.endswith(f"={place / 'actions' / 'actions' / 'checkout'}")
    assert any(word.startswith("REHEARSAL_TEST_EVIDENCE_3_13=") for word in act.words)
    head, *kinds = printed(context).splitlines()
    assert head.startswith("the workflow file, run by act ")
    assert any("differs in 12 lines: `--mode rehearsal`" in kind for kind in kinds)
    assert [path.name for path in (course.clone / "ledger").iterdir()] == ["ledger.jsonl"]


def test_jobs_come_to_the_scratch_repository_and_store(course: Course) -> None:
    """A checkout of anything else would rehearse another commit; artefacts of a run stay in its folder."""
    walk(replace(context_on(course.folder), runner=Act()), course)
    actions = course.folder / "hosted" / "actions" / "actions"
    scripts = {path.parent.name: path.read_text(encoding="utf-8") for path in actions.glob("*/action.yml")}
    assert f"git remote add origin {course.origin}" in scripts["checkout"]
    assert f" {course.folder / 'hosted' / 'artefacts'} upload" in scripts["upload-artifact"]


def test_a_clone_without_a_ledger_gets_the_last_one(course: Course) -> None:
    """The first job of the workflow makes it, not the clone."""
    shutil.rmtree(course.clone / "ledger")
    walk(replace(context_on(course.folder), runner=Act()), course)
    assert [path.name for path in (course.clone / "ledger").iterdir()] == ["ledger.jsonl"]


@pytest.mark.parametrize("fast", [True, False])
def test_a_fast_rehearsal_smokes_fast(course: Course, fast: bool) -> None:
    """And no other does."""
    act = Act()
    walk(replace(context_on(course.folder), runner=act), replace(course, fast=fast))
    assert ("--fast" in act.workflow) is fast


def test_one_core_runs_one_job_at_once(course: Course, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where nobody knows how many there are."""
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    act = Act()
    walk(replace(context_on(course.folder), runner=act), course)
    assert act.after("--concurrent-jobs") == "1"


def test_a_token_is_for_its_own_environment(course: Course) -> None:
    """Each of the two jobs that may mint one asks for itself; the signers alone are told whom to trust."""
    act = Act()
    walk(replace(context_on(course.folder), runner=act), course)
    testpypi, rest = split(act.workflow)
    assert "ACTIONS_ID_TOKEN_REQUEST_TOKEN" in testpypi
    assert TRUST not in testpypi
    assert act.workflow.count("ACTIONS_ID_TOKEN_REQUEST_TOKEN") == 2
    assert rest.count(f'{TRUST}: "{course.world.trust}"') == 2
    issuer = course.world.issuer
    for block, environment in ((testpypi, "testpypi"), (rest, "pypi")):
        bearer = block.partition("ACTIONS_ID_TOKEN_REQUEST_TOKEN: ")[2].partition("\n")[0].strip('"')
        claims = issuer.claims(bearer, "pypi")
        assert claims["environment"] == environment
        assert (claims["ref"], claims["sha"]) == ("refs/tags/v1", "a" * 40)


def split(workflow: str) -> tuple[str, str]:
    """Job testpypi, and all behind it."""
    behind = workflow.partition("\n  testpypi:\n")[2]
    own, _, rest = behind.partition("\n  smoke-testpypi:\n")
    return own, rest


def test_a_failed_job_refuses(course: Course) -> None:
    """With the session's own sentence; no ledger is taken over."""
    with pytest.raises(Refused) as caught:
        walk(replace(context_on(course.folder), runner=Act(code=1, said=FAILED)), course)
    assert rules_of(caught.value) == ["rehearsal.hosted"]
    assert caught.value.problems[0].what == "no"
    assert (course.clone / "ledger" / "old").exists()


def test_an_act_that_starts_no_job_is_told_by_its_last_lines(course: Course) -> None:
    """Its own words say what it cannot read."""
    lines = [f"line {number}" for number in range(20)]
    with pytest.raises(Refused) as caught:
        walk(replace(context_on(course.folder), runner=Act(code=1, said="\n".join(lines))), course)
    (problem,) = caught.value.problems
    assert (problem.where, problem.what.splitlines()) == ("act", lines[-10:])


def test_without_the_last_ledger_nothing_was_shown(course: Course) -> None:
    """All jobs green and no ledger: the workflow hands it on under another name."""
    with pytest.raises(Refused) as caught:
        walk(replace(context_on(course.folder), runner=Act(ledger="ledger-verify-2")), course)
    assert rules_of(caught.value) == ["hosted.ledger"]


def test_an_action_without_a_stand_in_stops_it_before_act_starts(course: Course) -> None:
    """Together with what is wrong in the list of pins."""
    path = course.clone / SETUP / "action.yml"
    path.write_text(
        path.read_text(encoding="utf-8").replace("actions/setup-python@", "a/b@"), encoding="utf-8"
    )
    act = Act()
    with pytest.raises(Refused) as caught:
        walk(replace(context_on(course.folder), runner=act), course)
    assert rules_of(caught.value) == ["hosted.stand-in"]
    assert caught.value.problems[0].where.startswith(f"{SETUP}/action.yml:")
    assert act.words == []
    workflow = course.clone / FOLDER / "release.yml"
    workflow.write_text(
        workflow.read_text(encoding="utf-8").replace("actions/upload-artifact@", "c/d@"), encoding="utf-8"
    )
    with pytest.raises(Refused) as caught:
        walk(replace(context_on(course.folder), runner=act), course)
    places = {problem.where.rpartition(":")[0] for problem in caught.value.problems}
    assert places == {f"{FOLDER}/release.yml", f"{SETUP}/action.yml"}
    (course.clone / "release" / "action-pins.toml").write_text("[broken", encoding="utf-8")
    with pytest.raises(Refused) as caught:
        walk(replace(context_on(course.folder), runner=act), course)
    assert rules_of(caught.value)[0] == "pins.readable"
