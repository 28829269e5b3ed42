"""The `mutation` stage itself: what was asked for, what refuses, what is recorded.

A whole run or a shard is evidence for a release. A sample counts in a rehearsal only, and a run over what
changed or over chosen modules is for a person or a pull request and is recorded nowhere.
"""

import importlib.metadata
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from release.binding import bound_or_none, record
from release.checkout import MAIN, Checkout
from release.context import Context, Options
from release.gates.mutation.campaign import Campaign, Part, Scope, sampled_modules
from release.gates.mutation.floors import FLOORS, Floors, floor_problems, read_floors
from release.gates.mutation.imports import Graph
from release.gates.mutation.mutants import Shard, function_lines
from release.gates.mutation.report import report_of, write
from release.gates.mutation.scratch import Kept, Settings, ask_git, files, git, outside, snapshot
from release.gates.mutation.verdicts import (
    SURVIVORS,
    Measured,
    explanation_problems,
    is_surely_under,
    is_under,
    judge,
    read_explanations,
)
from release.ledger import Outcome
from release.model import Kind, Mode, Problem, Refused, Report
from release.resume import done

__all__ = ["mutmut_version", "run", "scope_of"]

_REST_IS_UNDER = {
    Part.ALL: is_under,
    Part.SHARD: is_surely_under,
    Part.SAMPLE: is_surely_under,
    Part.CHANGED: None,
    Part.ONLY: None,
}
"""How modules without a floor of their own are held against `*`: a chosen one may be the weakest of them."""


def scope_of(options: Options) -> Scope:
    """What the options ask for.

    Raises:
        Refused: when they contradict each other, or ask for a sample of a release.
    """
    part = options.shard is not None or options.sample is not None
    if sum([options.changed, bool(options.only), part]) > 1:
        what = "--changed, --only and --shard or --sample exclude each other"
        raise Refused(_usage(what), kind=Kind.USAGE)
    if options.at_most is not None and (options.at_most < 1 or not options.only):
        raise Refused(
            _usage("--at-most takes a number of mutants, at least 1, and goes with --only"), kind=Kind.USAGE
        )
    if options.changed:
        return Scope(part=Part.CHANGED)
    if options.only:
        return Scope(part=Part.ONLY, only=options.only, at_most=options.at_most)
    shard = None
    if options.shard is not None:
        shard = Shard.read(options.shard)
        if shard is None:
            raise Refused(_usage(f"--shard {options.shard} is not I/N with I from 1 to N"), kind=Kind.USAGE)
    if options.sample is not None:
        if options.sample < 1:
            raise Refused(_usage("--sample takes seconds, at least 1"), kind=Kind.USAGE)
        if options.mode is Mode.RELEASE:
            raise Refused(_no_sample("--mode release"))
        return Scope(part=Part.SAMPLE, shard=shard, seconds=options.sample)
    return Scope(part=Part.ALL if shard is None else Part.SHARD, shard=shard)


def run(stage: str, context: Context) -> Report:
    """Measure what was asked for, judge it, leave `report/mutation.json`, record the evidence."""
    scope = scope_of(context.options)
    recorded = scope.part not in (Part.CHANGED, Part.ONLY)
    ledger = bound_or_none(context) if recorded else None
    sampled = scope.part is Part.SAMPLE
    if sampled and ledger is not None and ledger.opening.mode is Mode.RELEASE:
        raise Refused(_no_sample("ledger/ledger.jsonl"))
    if done(ledger, stage, scope.leg, again=context.options.again):
        return Report(kind=Kind.DONE, sentence=f"{scope.leg} passed before; `-- --again` repeats it")
    try:
        report = _work(context, scope, tool=mutmut_version())
    except Refused as refused:
        if ledger is not None:
            failed = Report(kind=Kind.REFUSED, sentence="", figures={"problems": len(refused.problems)})
            record(context, ledger, stage, scope.leg, failed, Outcome.FAILED)
        raise
    if ledger is not None:
        record(context, ledger, stage, scope.leg, report, Outcome.SAMPLE if sampled else Outcome.PASSED)
    return report


def _work(context: Context, scope: Scope, *, tool: str) -> Report:
    """Measure and judge.

    Raises:
        Refused: with everything that keeps the gate from holding.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tta-mutation-") as scratch:
        campaign = _campaign(context, scope, Path(scratch), tool=tool)
        if not campaign.modules:
            return Report(kind=Kind.DONE, sentence=f"no module to mutate: nothing differs from {MAIN}")
        measured = campaign.measure()
    took_ms = round((time.monotonic() - began) * 1000)
    explained, problems = read_explanations(_text(context.root / SURVIVORS))
    floors, unreadable = read_floors(_text(context.root / FLOORS))
    sources = campaign.graph.sources
    functions = [
        name for name in sources if campaign.settings.mutated(name) and function_lines(sources[name])
    ]
    problems += unreadable
    problems += floor_problems(floors, _floors_before(context), sources.__contains__, functions)
    whole = scope.part is not Part.SAMPLE
    if whole:
        problems += explanation_problems(explained, measured)
    problems += judge(measured, floors, explained, whole=whole, rest_is_under=_REST_IS_UNDER[scope.part])
    problems += _nothing_judged(scope, measured)
    without = [name for name in functions if name not in floors.percent and name not in floors.estimated]
    write(
        context.root / "report",
        measured,
        floors,
        explained,
        without,
        part=scope.part,
        leg=scope.leg,
        tool=tool,
        took_ms=took_ms,
    )
    report = report_of(measured, floors, explained, without, part=scope.part, tool=tool, took_ms=took_ms)
    if problems:
        for line in report.checked:
            context.console.print(f"  {line.what}  {line.found}")
        raise Refused(*problems)
    return report


def _campaign(context: Context, scope: Scope, scratch: Path, *, tool: str) -> Campaign:
    """Copy the tree, read who imports whom, and choose the modules."""
    names = files(context)
    pristine = scratch / "pristine"
    snapshot(context, names, pristine)
    settings = Settings.read(_text(pristine / "pyproject.toml"))
    folders = tuple(f"{root}/" for root in ("tests", *settings.roots))
    graph = Graph.of(
        {name: _text(pristine / name) for name in names if name.endswith(".py") and name.startswith(folders)},
        named=settings.tests,
    )
    modules = [name for name in names if settings.mutated(name)]
    sampled = scope.part is Part.SAMPLE
    seed = Checkout(context.root, context.runner).tree() if sampled else ""
    if sampled:
        modules = sampled_modules(graph, modules, seed=seed)
    elif scope.part is Part.CHANGED:
        changed = _changed(context)
        modules = [name for name in modules if name in changed]
    elif scope.part is Part.ONLY:
        modules = _chosen(modules, scope.only)
    return Campaign(
        context=context,
        scope=scope,
        scratch=scratch,
        settings=settings,
        graph=graph,
        modules=modules,
        seed=seed,
        outside="" if sampled else outside(pristine, names, tool=tool),
        kept=Kept(folder=scratch / "kept" if sampled else context.root / "mutants", tool=tool),
    )


def _changed(context: Context) -> set[str]:
    """Files that differ from where this branch left the main branch, uncommitted and new ones included."""
    base = git(context, "merge-base", _main(context), "HEAD").strip()
    differing = git(context, "diff", "--name-only", "-z", base, "--")
    untracked = git(context, "ls-files", "-z", "--others", "--exclude-standard")
    return {name for name in (differing + untracked).split("\0") if name}


def _chosen(modules: Sequence[str], only: Sequence[str]) -> list[str]:
    """The modules that are named, or lie in a named folder.

    Raises:
        Refused: a name is of no module that is mutated.
    """
    chosen: set[str] = set()
    for name in only:
        found = {module for module in modules if PurePosixPath(module).is_relative_to(name)}
        if not found:
            what = f"--only {name} is no module that is mutated, and no folder of such"
            raise Refused(_usage(what), kind=Kind.USAGE)
        chosen |= found
    return [module for module in modules if module in chosen]


def _main(context: Context) -> str:
    """The main branch: the remote's, or where there is none the local one."""
    known = git(context, "for-each-ref", "--format=%(refname)", f"refs/remotes/{MAIN}", "refs/heads/main")
    refs = known.split()
    if not refs:
        raise Refused(
            Problem(
                rule="mutation.main-known",
                where="the git checkout",
                what=f"has neither {MAIN} nor main, so what has changed is not known",
                remedy="fetch the main branch, or leave --changed out",
            )
        )
    return next((ref for ref in refs if ref.startswith("refs/remotes/")), refs[0])


def _floors_before(context: Context) -> Floors:
    """The floors on the main branch; none where it is not known or has no such file."""
    for ref in (f"refs/remotes/{MAIN}", "refs/heads/main"):
        found = ask_git(context, "cat-file", "blob", f"{ref}:{FLOORS}")
        if found.ok:
            return read_floors(found.stdout)[0]
    return Floors()


def _nothing_judged(scope: Scope, measured: Sequence[Measured]) -> list[Problem]:
    if scope.part is not Part.SAMPLE or any(each.verdicts for each in measured):
        return []
    return [
        Problem(
            rule="mutation.sample-judged",
            where=f"--sample {scope.seconds}",
            what="not one mutant was judged in that time",
            remedy="give it more seconds, or look at what else this machine is doing",
        )
    ]


def mutmut_version(platform: str = sys.platform) -> str:
    """The version of mutmut that is installed.

    Raises:
        Refused: when there is none, or when it cannot run on this platform.
    """
    remedy = "run `nox -s mutation`, which installs its lock; on Windows run it in WSL"
    if platform == "win32":
        what = "does not run on Windows"
        raise Refused(Problem(rule="mutation.tool", where="mutmut", what=what, remedy=remedy))
    try:
        return importlib.metadata.version("mutmut")
    except importlib.metadata.PackageNotFoundError:
        what = "is not installed for this Python"
        raise Refused(Problem(rule="mutation.tool", where="mutmut", what=what, remedy=remedy)) from None


def _usage(what: str) -> Problem:
    return Problem(
        rule="mutation.options",
        where="the command line",
        what=what,
        remedy="`nox -s mutation -- --changed`, `-- --only release/ledger.py`, `-- --shard 2/4`, "
        "or nothing for everything",
    )


def _no_sample(where: str) -> Problem:
    return Problem(
        rule="mutation.sample-is-for-rehearsals",
        where=where,
        what="a sample proves nothing for a release",
        remedy="leave --sample out, or run `nox -s rehearse`",
    )


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""
