"""Walks a tagged clone through the workflow file with act: from the push of the tag to the announcement."""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from release.context import Context
from release.model import Problem, Refused
from release.publisher import PublisherFacts
from release.rehearsal.hosted import run, standins
from release.rehearsal.hosted.artefacts import held
from release.rehearsal.hosted.transcript import Asked, Transcript, transcribed
from release.rehearsal.summary import Ran
from release.rehearsal.world import World
from release.rules import pins
from release.rules.workflow_model import Composite, Job, Workflow, read_composite, read_workflow
from release.signing.check import TRUST

__all__ = ["LAST_LEDGER", "Course", "walk"]

LAST_LEDGER = "ledger-verify-1"
"""The artefact with the ledger as the last job that writes one left it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What a walk needs to know."""

    clone: Path
    """HEAD is the tagged commit."""
    origin: Path
    tag: str
    sha: str
    folder: Path
    """A scratch folder."""
    world: World
    facts: PublisherFacts
    env: Mapping[str, str]
    nox: Sequence[str]
    pythons: Sequence[str]
    tested: Sequence[str]
    sample_s: int
    fast: bool
    signed: frozenset[str]
    """Jobs that sign or look at signatures."""


def walk(context: Context, course: Course) -> list[Ran]:
    """Run the workflow; its last ledger is laid into the clone.

    Raises:
        Refused: the file cannot be rehearsed, a job failed, or the ledger did not arrive.
    """
    act = run.program(context.root)
    workflow, composites = _read(course)
    pinned, wrong = pins.read((course.clone / pins.FILE).read_text(encoding="utf-8"))
    wrong += standins.problems(standins.used(workflow, composites), pinned)
    if wrong:
        raise Refused(*wrong)
    copy = transcribed(workflow, _asked(course))
    _say(context, copy)
    place = course.folder / "hosted"
    store = place / "artefacts"
    tools = standins.Tools(origin=course.origin, store=store, pythons=course.pythons, nox=course.nox)
    stand_ins = standins.install(place / "actions", tools, pinned)
    store.mkdir()
    file, told = place / course.facts.workflow, place / "event.json"
    file.write_bytes(copy.text.encode())
    told.write_bytes(run.event(course.facts, course.tag, course.sha).encode())
    words = run.act_words(
        act,
        workflow=file,
        event_file=told,
        cache=place / "cache",
        facts=course.facts,
        jobs=max(1, (os.cpu_count() or 1) // 2),
        variables=copy.variables,
        stand_ins=stand_ins,
    )
    finished = context.runner(words, cwd=course.clone, env=course.env, show=True)
    ends = run.job_ends(finished.stdout)
    if not finished.ok:
        raise Refused(run.failure(ends, finished.tail(10)))
    _lay_ledger(store, course.clone / "ledger")
    return list(run.ran(ends))


def _read(course: Course) -> tuple[Workflow, dict[str, Composite]]:
    github = course.clone / ".github"
    name = f".github/workflows/{course.facts.workflow}"
    workflow = read_workflow(name, (course.clone / name).read_text(encoding="utf-8"))
    composites: dict[str, Composite] = {}
    for path in sorted(github.glob("actions/*/action.y*ml")):
        file = path.relative_to(course.clone)
        text = path.read_text(encoding="utf-8")
        composites[file.parent.as_posix()] = read_composite(file.as_posix(), text)
    return workflow, composites


def _asked(course: Course) -> Asked:
    ref = f"refs/tags/{course.tag}"

    def grant(job: Job) -> Mapping[str, str]:
        return course.world.issuer.job(job.environment, ref=ref, sha=course.sha).grant

    trust = {TRUST: str(course.world.trust)}
    return Asked(
        pythons=course.pythons,
        tested=course.tested,
        sample_s=course.sample_s,
        fast=course.fast,
        grant=grant,
        trust=dict.fromkeys(course.signed, trust),
    )


def _say(context: Context, copy: Transcript) -> None:
    """Which kinds of lines differ from the file, and how many."""
    context.console.rule("the workflow file, run by act", align="left")
    kinds = [kind for edit in copy.edits for kind in edit.why]
    for kind in dict.fromkeys(kinds):
        context.console.print(f"  differs in {kinds.count(kind)} lines: {kind}")


def _lay_ledger(store: Path, target: Path) -> None:
    found = held(store, LAST_LEDGER)
    if found is None:
        raise Refused(
            Problem(
                rule="hosted.ledger",
                where=LAST_LEDGER,
                what="was uploaded by no job, though all of them passed",
                remedy="see which job of the workflow hands on the last ledger, and under which name",
            )
        )
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(found, target)
