"""The `rehearse` stage: a whole release of HEAD on this machine, offline, against the embedded world.

1. A scratch clone of HEAD is made ready: version, changelog date, signed tag.
2. Environments and wheelhouse are made warm, with the person's own settings; then no network is needed.
3. Each session of a release runs in the clone, unchanged, in an environment without settings or secrets.
4. What the indexes hold is compared with the ledger, and all of it is shown.
"""

import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.version import Version
from rich.console import Console

from release import pythons
from release.binding import record
from release.checkout import Checkout
from release.context import Context
from release.environments import WHEELHOUSE, fill_wheelhouse
from release.gates.test import REAL_SERVER_NOT_RUN, coverage_file, is_newest
from release.ledger import Ledger
from release.model import Checked, Kind, Problem, Refused, Report
from release.plan import Plan, here
from release.project import Project
from release.publisher import FILE as PUBLISHER
from release.publisher import PublisherFacts
from release.rehearsal import github, scratch, world
from release.rehearsal.environment import child_environment
from release.rehearsal.hosted import walk as hosted
from release.rehearsal.reuse import Reused, reusable
from release.rehearsal.scratch import Scratch
from release.rehearsal.steps import FAST_SAMPLE_S, Step, sessions, steps
from release.rehearsal.summary import (
    Ran,
    announced_problems,
    defects,
    digest_problems,
    digest_table,
    stage_table,
)
from release.rehearsal.world import World
from release.rules import changelog
from release.rules.tag import name_of
from release.signing.check import TRUST

__all__ = ["nox_words", "result", "run"]

_RESULT = re.compile(r"^RESULT (?P<kind>\S+) (?P<stage>\S+): (?P<sentence>.*)$", re.MULTILINE)
_WHEELS = ("runtime", "build", "test")
"""Locks that stages install from into environments of their own."""
_LOG_WIDTH = 140
"""Columns of the tables where no terminal says how many it has."""
_SIGNED = frozenset({"pypi", "verify"})
"""Sessions that sign or look at signatures; no other is told of the rehearsal's trust root."""
_STAND_IN = "1000001"
"""Takes the place of the owner's number until a person has filled it in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rehearsal:
    """What every part of one rehearsal needs."""

    context: Context
    folder: Path
    facts: PublisherFacts
    world: World
    env: dict[str, str]
    hidden: Path
    """First on the children's PATH; empty unless Pythons are hidden."""
    github: Path
    """What the recording `gh` keeps: it stands behind `hidden` on their PATH."""
    nox: Sequence[str]


def run(stage: str, context: Context) -> Report:
    """Rehearse the release of HEAD; a failing stage stops it and leaves the scratch folder."""
    del stage
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="tta-rehearsal-"))
    try:
        with ExitStack() as stack:
            report = _rehearsed(_begin(context, folder, stack), began)
    except BaseException:
        context.console.print(f"\nThe scratch folder is left for a look: {folder}")
        raise
    shutil.rmtree(folder, ignore_errors=True)
    return report


def _begin(context: Context, folder: Path, stack: ExitStack) -> _Rehearsal:
    facts = PublisherFacts.read(context.root)
    if not facts.owner_id:
        facts = facts.model_copy(update={"owner_id": _STAND_IN})
    started = stack.enter_context(world.start(folder / "world", facts))
    hidden, programs, kept = folder / "hidden", folder / "programs", folder / "github"
    github.install(programs, kept)
    env = child_environment(
        {**os.environ, "PATH": _path()},
        folder=folder / "child",
        authority=started.authority,
        proxy=started.proxy_url,
        first_on_path=[hidden, programs],
    )
    env[WHEELHOUSE] = str(_environments(context.root) / "wheelhouse")
    return _Rehearsal(
        context=context,
        folder=folder,
        facts=facts,
        world=started,
        env=env,
        hidden=hidden,
        github=kept,
        nox=nox_words(context.root),
    )


def _rehearsed(rehearsal: _Rehearsal, began: float) -> Report:
    context, fast = rehearsal.context, rehearsal.context.options.fast
    checkout = Checkout(context.root, context.runner)
    head, outer = checkout.head(), _own_ledger(context)
    notes = _left_out(rehearsal, checkout)
    clone = scratch.clone(context.runner, context.root, rehearsal.folder, rehearsal.env)
    version = _version_to_prepare(context, clone)
    plan, tested = here(), tuple(pythons.found())
    # What prepare is going to change is known before it runs: version and changelog, nothing else.
    expected = _reused(context, outer, head, head if version is None else "", plan)
    if fast and not {("test", leg) for leg in plan.legs["test"]} <= _keys(expected):
        plan, tested = _one_python(rehearsal, plan, tested)
    before = [Step(session="prepare", words=[str(version)])] if version is not None else []
    needed = [
        *before,
        *steps(plan.legs, tag=None, fast=fast, reused=_keys(expected), tested=tested),
    ]
    _warm(rehearsal, clone, sessions(needed), tested)
    done = [Ran(name="environments", seconds=time.monotonic() - began, proved="as the locks say, and warm")]
    for step in before:
        clone.add_entry()
        done.append(_step(rehearsal, clone, step, place=f"before {len(needed) - 1}"))
        clone.commit_release(step.words[0])
    name = name_of(Project.read(clone.root).version)
    tag: str | None = name
    if not clone.publish(name):
        if context.options.act:
            raise Refused(_no_tag(name))
        notes.append("a signed tag: there is no ssh-keygen here, so the tag's rules were not checked")
        context.console.print(f"  not part of this rehearsal: {notes[-1]}")
        tag = None
    released = Checkout(clone.root, context.runner).head()
    if context.options.act:
        done += hosted.walk(context, _course(rehearsal, clone, name, released, tested, plan))
        return _judged(rehearsal, clone, plan, done, notes, began)
    reused = _reused(context, outer, head, released, plan)
    chosen = steps(plan.legs, tag=tag, fast=fast, reused=_keys(reused), tested=tested)
    # Where no tag can be made, what is released stands on main alone.
    ref = "refs/heads/main" if tag is None else f"refs/tags/{tag}"
    handed: list[str] = []
    for number, step in enumerate(chosen, start=1):
        place = f"{number} of {len(chosen)}"
        ran = _step(rehearsal, clone, step, place=place, ref=ref, sha=released, handed=handed)
        done.append(ran)
        if step.session == "build":
            done += _take_over(context, clone, reused)
        # As a workflow's job does: what this stage leaves is what the next one must find.
        ledger = Ledger.read(clone.root / "ledger")
        handed = ["--expect-head", ledger.head, "--expect-digests", ledger.digests]
    return _judged(rehearsal, clone, plan, done, notes, began)


def _course(
    rehearsal: _Rehearsal, clone: Scratch, tag: str, released: str, tested: Sequence[str], plan: Plan
) -> hosted.Course:
    """What the workflow's run is given: the same world, environments and tag as the sessions are."""
    return hosted.Course(
        clone=clone.root,
        origin=clone.origin,
        tag=tag,
        sha=released,
        folder=rehearsal.folder,
        world=rehearsal.world,
        facts=rehearsal.facts,
        env=rehearsal.env,
        nox=rehearsal.nox,
        pythons=tested,
        tested=plan.legs["test"],
        sample_s=FAST_SAMPLE_S,
        fast=rehearsal.context.options.fast,
        signed=_SIGNED,
    )


def _no_tag(tag: str) -> Problem:
    return Problem(
        rule="hosted.tag",
        where=tag,
        what="could not be signed without ssh-keygen, and the workflow starts when a signed tag is pushed",
        remedy="install OpenSSH's ssh-keygen, or rehearse without --act",
    )


def _left_out(rehearsal: _Rehearsal, checkout: Checkout) -> list[str]:
    """What this rehearsal cannot show, as far as it is known at the start."""
    notes: list[str] = []
    if dirty := checkout.dirty():
        notes.append(f"{len(dirty)} uncommitted files: a release is of a commit")
    if rehearsal.facts.owner_id == _STAND_IN:
        notes.append(f"the owner's number: {PUBLISHER} does not have it yet, {_STAND_IN} stood in")
    for note in notes:
        rehearsal.context.console.print(f"  not part of this rehearsal: {note}")
    return notes


def _own_ledger(context: Context) -> Ledger | None:
    """The checkout's own ledger; a missing or broken one is nothing to reuse."""
    try:
        return Ledger.read(context.ledger)
    except Refused:
        return None


def _version_to_prepare(context: Context, clone: Scratch) -> Version | None:
    text = (clone.root / changelog.FILE).read_text(encoding="utf-8")
    tags = Checkout(clone.root, context.runner).tags()
    return scratch.next_version(Project.read(clone.root), text, tags, today=context.now().date())


def _reused(context: Context, outer: Ledger | None, head: str, released: str, plan: Plan) -> list[Reused]:
    """What --fast takes from the checkout's own ledger; a whole rehearsal and a workflow take nothing."""
    if not context.options.fast or context.options.act:
        return []
    legs = [leg for leg in plan.legs["test"] if is_newest(leg)]
    unmeasured = [leg for leg in legs if not coverage_file(context.root, leg).is_file()]
    return reusable(outer, head=head, released=released, plan=plan.legs, unmeasured=unmeasured)


def _keys(reused: Sequence[Reused]) -> set[tuple[str, str]]:
    return {(each.stage, each.leg) for each in reused}


def _one_python(rehearsal: _Rehearsal, plan: Plan, tested: tuple[str, ...]) -> tuple[Plan, tuple[str, ...]]:
    """Let the rehearsed commands see the newest Python alone: --fast, where nothing can be reused.

    Where that one has no real server to test against, or launchers cannot be hidden, all stay.
    """
    *others, newest = tested
    if os.name == "nt" or newest not in plan.legs["test"]:
        return plan, tested
    rehearsal.hidden.mkdir()
    for version in others:
        program = rehearsal.hidden / f"python{version}"
        program.write_text("#!/bin/sh\necho 'hidden by rehearse --fast' >&2\nexit 127\n", encoding="utf-8")
        program.chmod(0o755)
    absent = tuple(f"test {version}: left out by --fast" for version in others)
    left = replace(plan, legs={**plan.legs, "test": (newest,)}, absent=(*plan.absent, *absent))
    return left, (newest,)


def _warm(rehearsal: _Rehearsal, clone: Scratch, names: Sequence[str], tested: Sequence[str]) -> None:
    """Install every environment and fill the wheelhouse, with the person's own settings and network."""
    context = rehearsal.context
    console = context.console
    console.rule("environments and wheelhouse", align="left")
    began = time.monotonic()
    words = [*rehearsal.nox, "--install-only", "--session", *names]
    finished = context.runner(words, cwd=clone.root, env={**os.environ, "PATH": _path()}, show=True)
    if not finished.ok:
        raise Refused(
            Problem(
                rule="rehearsal.warm",
                where="environments",
                what=f"could not be installed:\n{finished.tail(10)}",
                remedy="connect to the network once and run the same command again; later runs need none",
            )
        )
    found = [path for version, path in pythons.found().items() if version in tested]
    interpreters = dict.fromkeys([found[0], found[-1]])
    fill_wheelhouse(
        context.runner,
        Path(rehearsal.env[WHEELHOUSE]),
        locks=[clone.root / "release" / "locks" / f"{name}.txt" for name in _WHEELS],
        pythons=list(interpreters),
        console=console,
        home=rehearsal.folder,
        env=os.environ,
    )
    console.print(f"  warm after {time.monotonic() - began:.1f} s; nothing from here on needs a network")


def _step(
    rehearsal: _Rehearsal,
    clone: Scratch,
    step: Step,
    *,
    place: str,
    ref: str = "",
    sha: str = "",
    handed: Sequence[str] = (),
) -> Ran:
    """Run one session in the clone; a failure refuses with the stage's own words."""
    context, env = rehearsal.context, dict(rehearsal.env)
    if step.uploads_to is not None:
        environment = rehearsal.facts.environments[step.uploads_to]
        env |= rehearsal.world.issuer.job(environment, ref=ref, sha=sha).grant
    if step.session in _SIGNED:
        env[TRUST] = str(rehearsal.world.trust)
    mode = [] if step.session == "prepare" else ["--mode", "rehearsal"]
    words = [*rehearsal.nox, "-R", "--session", step.session, "--", *mode, *step.words, *handed]
    context.console.rule(f"{place}: {step.name}", align="left")
    began = time.monotonic()
    finished = context.runner(words, cwd=clone.root, env=env, show=True)
    seconds = time.monotonic() - began
    kind, sentence = result(finished.stdout)
    if not finished.ok or kind != "done":
        said = sentence or finished.tail(10)
        raise Refused(
            Problem(
                rule="rehearsal.stage",
                where=f"{step.name} ({place}, {kind or f'exit code {finished.code}'})",
                what=said,
                remedy="mend what the stage says above, commit, rehearse again: a release would stop there",
            )
        )
    return Ran(name=step.name, seconds=seconds, proved=sentence)


def result(output: str) -> tuple[str, str]:
    """Kind and sentence of the last RESULT line a stage printed; empty texts without one."""
    found = list(_RESULT.finditer(output))
    return (found[-1]["kind"], found[-1]["sentence"].rstrip()) if found else ("", "")


def _take_over(context: Context, clone: Scratch, reused: Sequence[Reused]) -> list[Ran]:
    """Record what the checkout's own ledger has proved already in the rehearsal's ledger."""
    inside = replace(context, root=clone.root, options=replace(context.options, evidence=False))
    ledger = Ledger.read(inside.ledger)
    for each in reused:
        report = Report(kind=Kind.DONE, sentence="", figures=each.figures, tools=each.tools)
        record(inside, ledger, each.stage, each.leg, report, each.outcome)
        data = coverage_file(context.root, each.leg)
        if each.stage == "test" and data.is_file():
            target = coverage_file(clone.root, each.leg)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(data, target)
    return [
        Ran(
            name=each.stage if each.leg == "all" else f"{each.stage}-{each.leg}",
            seconds=0.0,
            proved=f"taken from this checkout's ledger, line n={each.n}, as {each.outcome.value}",
        )
        for each in reused
    ]


def _judged(
    rehearsal: _Rehearsal, clone: Scratch, plan: Plan, done: Sequence[Ran], notes: list[str], began: float
) -> Report:
    """Compare what the indexes hold with the ledger, show everything, keep the ledger for a look."""
    context, started = rehearsal.context, rehearsal.world
    ledger = Ledger.read(clone.root / "ledger")
    opening = ledger.opening
    problems = [
        *digest_problems(started, ledger),
        *announced_problems(rehearsal.github, ledger),
        *defects(started),
    ]
    seconds = time.monotonic() - began
    context.console.rule("rehearsed", align="left")
    # A log has no width of its own, and a folded digest cannot be searched for.
    own = context.console
    wide = own if own.is_terminal else Console(file=own.file, width=_LOG_WIDTH, markup=False)
    wide.print(stage_table(done, seconds))
    wide.print(digest_table(started, ledger))
    if problems:
        raise Refused(*problems)
    notes += plan.absent
    notes += sorted({REAL_SERVER_NOT_RUN for each in done if REAL_SERVER_NOT_RUN in each.proved})
    kept = context.root / "report" / "rehearsal"
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(clone.root / "ledger", kept)
    start = opening.tag or opening.commit[:12]
    refused = ", ".join(f"{host} ({count})" for host, count in sorted(started.proxy.refused.items()))
    return Report(
        kind=Kind.DONE,
        sentence=(
            f"{opening.project} {opening.version} went from {start} to PyPI in {seconds:.0f} s and "
            f"{len(done)} stages; {len(opening.artifacts)} files have the same digests everywhere"
            f", announced on a recording GitHub"
        ),
        checked=[
            Checked(what="hosts refused", found=refused or "none was asked for"),
            *(Checked(what="not shown here", found=note) for note in notes),
            Checked(what="ledger kept", found="report/rehearsal/ledger.jsonl"),
        ],
        figures={"stages": len(done), "took_ms": round(seconds * 1000)},
    )


def _environments(root: Path) -> Path:
    """The folder of nox's environments: the one this session runs in, or the checkout's own."""
    return Path(sys.prefix).parent if os.environ.get("NOX_CURRENT_SESSION") else root / ".nox"


def nox_words(root: Path) -> list[str]:
    """How the children's nox is started: with this session's nox, and the outer run's environments.

    Environments are shared, so it must be told which kind the outer nox has made.
    """
    words = [sys.executable, "-m", "nox", "--envdir", str(_environments(root))]
    config = Path(sys.prefix) / "pyvenv.cfg"
    if not os.environ.get("NOX_CURRENT_SESSION") or not config.is_file():
        return words
    made_by_uv = re.search(r"^uv *=", config.read_text(encoding="utf-8"), re.MULTILINE) is not None
    return [*words, "--default-venv-backend", "uv" if made_by_uv else "virtualenv"]


def _path() -> str:
    """PATH without this session's own environment: its python would be taken for the machine's."""
    own = {str(Path(sys.executable).parent), str(Path(sys.prefix) / "bin")}
    parts = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(part for part in parts if part not in own)
