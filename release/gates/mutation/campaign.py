"""One run over many modules: which mutants, in which copy of the project, in which order, until when.

The candidate need not be installed: a copy of the checkout is mutated and imported. One process a core
judges one module at a time; each answer is kept at once, so that an interrupted run goes on where it stopped.
"""

import dataclasses
import enum
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent import futures
from dataclasses import dataclass
from itertools import batched
from pathlib import Path
from queue import SimpleQueue

from release.context import Context
from release.gates.mutation import driver
from release.gates.mutation.imports import Graph
from release.gates.mutation.mutants import (
    Mutant,
    Shard,
    Verdict,
    function_lines,
    interleaved,
    read_mutant,
    skipped,
    spread,
    verdict,
)
from release.gates.mutation.scratch import Kept, Settings, Slot, environment
from release.gates.mutation.verdicts import Measured
from release.model import Problem, Refused
from release.runner import Finished

__all__ = ["Campaign", "Part", "Scope", "sampled_lines", "sampled_modules"]

PROGRESS_S = 15.0
"""A line of progress that often."""

SAMPLE_MODULE_S = 20.0
"""A module that takes longer in a sample is left with what was judged by then."""

SAMPLE_LATE_S = 10.0
"""A module that was begun in a sample's time is left so long after its end."""

SAMPLE_LEAST_S = 5.0
"""So long the first mutants are run at least, however long it took to make them."""

SAMPLE_TRIES = 4
"""While nothing is judged, a sample turns to other modules so many times."""

SAMPLE_BATCH = 4
"""A sample makes and runs the mutants of so many modules before it turns to the next ones."""

SAMPLE_LINES = 40
"""Of a module, a sample makes mutants of functions of together so many lines."""

SAMPLE_MUTANTS = 12
"""Of those mutants, a sample runs at most so many."""

SAMPLE_TEST_FILES = 3
"""A module that more test files judge takes too long for a sample."""

KILLED = (124, -9)
"""The codes of a driver that the runner ended because its time was over, and of one that ended itself."""


class Part(enum.StrEnum):
    """How much of the mutants a run looks at."""

    ALL = "all"
    CHANGED = "changed"
    ONLY = "only"
    SHARD = "shard"
    SAMPLE = "sample"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What was asked for."""

    part: Part
    shard: Shard | None = None
    seconds: int = 0
    """Of a sample."""
    only: tuple[str, ...] = ()
    """Modules, or folders of modules; empty unless the part is `only`."""
    at_most: int | None = None
    """So many mutants of each of them, chosen by the hash of their names; None: all."""

    @property
    def leg(self) -> str:
        """The leg it is evidence for."""
        return self.shard.leg if self.shard is not None else "all"


def sampled_modules(graph: Graph, modules: Sequence[str], *, seed: str) -> list[str]:
    """The modules a sample may take: one below each root in turn, in an order that the seed decides.

    Left out are those without functions or tests of their own, and those that too many files judge.
    """
    quick = [
        module
        for module in modules
        if function_lines(graph.sources[module]) and 0 < len(graph.own_tests(module)) <= SAMPLE_TEST_FILES
    ]
    roots = sorted({module.partition("/")[0] for module in quick})
    groups = [spread([each for each in quick if each.startswith(f"{root}/")], seed) for root in roots]
    return list(interleaved(groups))


def sampled_lines(source: str, *, seed: str) -> list[int]:
    """The lines of some functions that are not long: the mutants of a whole module take too long to make."""
    functions = dict(function_lines(source))
    lines: list[int] = []
    for name in spread(functions, seed):
        if len(lines) + len(functions[name]) <= SAMPLE_LINES:
            lines.extend(functions[name])
    return sorted(lines or min(functions.values(), key=len))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One module: the mutants to run and what their verdicts depend on."""

    measured: Measured
    """What is known before."""
    code: str
    """The module with all its mutants in it."""
    names: Sequence[str]
    inputs: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """One run over many modules."""

    context: Context
    scope: Scope
    scratch: Path
    """An empty folder outside of the checkout but for `pristine`, the copy of the tree."""
    settings: Settings
    graph: Graph
    modules: Sequence[str]
    seed: str
    """Decides which mutants a sample takes."""
    outside: str
    """Digest of what verdicts depend on besides imported Python."""
    kept: Kept

    def measure(self) -> list[Measured]:
        """Have the mutants made, choose, run them; every module that was reached comes back, by name."""
        if not self._sampled:
            return self._measured(self.modules)
        until = time.time() + self.scope.seconds
        found: list[Measured] = []
        for number, batch in enumerate(batched(self.modules, SAMPLE_BATCH)):
            judged = any(each.verdicts for each in found)
            if time.time() >= until and (judged or number == SAMPLE_TRIES):
                break
            found.extend(self._measured(batch, until, at_least_s=0 if judged else SAMPLE_LEAST_S))
        return sorted(found, key=lambda measured: measured.module)

    @property
    def _sampled(self) -> bool:
        return self.scope.part is Part.SAMPLE

    def _measured(
        self, modules: Sequence[str], until: float | None = None, at_least_s: float = 0
    ) -> list[Measured]:
        """Measure some modules.

        Args:
            modules: Which.
            until: When a sample is over, in seconds since the epoch.
            at_least_s: Seconds a sample runs mutants even so.
        """
        jobs = [self._job(module, path) for module, path in self._generated(modules)]
        finished = {job.measured.module: job.measured for job in jobs if not job.names}
        waiting = [job for job in jobs if job.names]
        if not self._sampled:
            # The longest first, so that none is left running alone at the end.
            waiting.sort(key=lambda job: -len(job.names))
        copies = [
            Slot.make(self.scratch / f"slot-{number}", self._pristine)
            for number in range(min(os.cpu_count() or 1, len(waiting)))
        ]
        if until is not None:
            until = max(until, time.time() + at_least_s)
        for measured in self._judged(waiting, copies, until):
            finished[measured.module] = measured
        return [finished[module] for module in sorted(finished)]

    @property
    def _pristine(self) -> Path:
        return self.scratch / "pristine"

    @property
    def _stop(self) -> Path:
        """While this file exists, no mutant is begun."""
        return self.scratch / "stop"

    @property
    def _sign(self) -> Path:
        """This file exists as soon as a mutant is judged."""
        return self.scratch / "sign"

    def _say(self, text: str) -> None:
        self.context.console.print(f"  {text}")

    def _drive(
        self,
        verb: str,
        job: Mapping[str, object],
        cwd: Path,
        temporary: Path,
        *,
        show: bool = False,
        timeout_s: float | None = None,
    ) -> Finished:
        """Start the driver on a job and wait for its end."""
        file = cwd / f"{verb}.json"
        file.write_text(json.dumps(job), encoding="utf-8")
        return self.context.runner(
            # Python then warns of a file that is opened without an encoding; `lane` makes it an error.
            [sys.executable, "-P", "-X", "warn_default_encoding", driver.__file__, verb, file],
            cwd=cwd,
            env=environment(self._pristine, temporary),
            show=show,
            timeout_s=timeout_s,
        )

    def _generated(self, modules: Sequence[str]) -> list[tuple[str, Path]]:
        """Each module and its file of mutants, after those that are not there yet were made."""
        wanted: list[tuple[str, Path, list[int] | None]] = []
        for module in modules:
            source = self.graph.sources[module]
            lines = sampled_lines(source, seed=f"{self.seed} {module}") if self._sampled else None
            wanted.append((module, self.kept.generated(module, source, lines), lines))
        missing = [
            {"path": module, "lines": lines, "out": str(path)}
            for module, path, lines in wanted
            if not path.exists()
        ]
        if missing:
            self._say(f"making the mutants of {len(missing)} modules")
            job = {"modules": missing, "processes": os.cpu_count() or 1}
            made = self._drive("generate", job, self._pristine, self.scratch, show=not self._sampled)
            if not made.ok:
                raise Refused(
                    Problem(
                        rule="mutation.generates",
                        where=", ".join(self.settings.roots),
                        what=f"mutmut could not make the mutants:\n{made.tail()}",
                        remedy="see which module is not among those it names; [tool.mutmut] can leave it out",
                    )
                )
        if self.scope.part in (Part.ALL, Part.SHARD):
            self.kept.forget(path for _, path, _ in wanted)
        return [(module, path) for module, path, _ in wanted if path.exists()]

    def _job(self, module: str, path: Path) -> _Job:
        """Which mutants of a module to run: not the inert, those of the shard, those not known yet."""
        made = json.loads(path.read_text(encoding="utf-8"))
        mutants = [
            read_mutant(module=module, name=name, original=before, mutated=after)
            for name, (before, after) in made["mutants"].items()
        ]
        tests = self.graph.own_tests(module)
        inputs = self.graph.inputs(module, tests, self.outside)
        names = [mutant.name for mutant in mutants if self._holds(mutant)]
        if self._sampled:
            names = spread(names, self.seed)[:SAMPLE_MUTANTS]
        elif self.scope.at_most is not None:
            names = spread(names, "")[: self.scope.at_most]
        known: dict[str, Verdict] = {}
        if not tests:
            known = dict.fromkeys(names, Verdict.NO_TEST)
        elif not self.context.options.again:
            codes = self.kept.codes(module, inputs)
            known = {name: verdict(codes[name]) for name in names if name in codes}
        measured = Measured(
            module=module,
            tests=tests,
            mutants=mutants,
            verdicts=known,
            skipped=skipped(module, self.graph.sources[module]),
            reused=len(known) if tests else 0,
        )
        left = [name for name in names if name not in known]
        return _Job(measured=measured, code=made["code"], names=left, inputs=inputs)

    def _holds(self, mutant: Mutant) -> bool:
        shard = self.scope.shard
        return not mutant.inert and (shard is None or shard.holds(mutant.name))

    def _judged(
        self, waiting: Sequence[_Job], copies: Sequence[Slot], until: float | None
    ) -> Iterator[Measured]:
        """Judge all modules, as many at once as there are copies; each comes back when it is done."""
        free: SimpleQueue[Slot] = SimpleQueue()
        for slot in copies:
            free.put(slot)
        total, judged = sum(len(job.names) for job in waiting), 0
        began = said = time.monotonic()
        with futures.ThreadPoolExecutor(max(1, len(copies))) as pool:
            running = {pool.submit(self._judge, job, free, until) for job in waiting}
            try:
                while running:
                    over, running = futures.wait(running, timeout=1, return_when=futures.FIRST_COMPLETED)
                    for measured in (each.result() for each in over):
                        judged += len(measured.verdicts) - measured.reused
                        self._say_module(measured)
                        yield measured
                    if running and time.monotonic() - said >= PROGRESS_S:
                        said = time.monotonic()
                        now = judged + sum(slot.judged() for slot in copies)
                        self._say(f"{now} of {total} mutants judged after {said - began:.0f} s")
            except BaseException:
                # The pool waits for its threads, and they for drivers that look at this file.
                self._stop.touch()
                pool.shutdown(cancel_futures=True)
                raise

    def _say_module(self, measured: Measured) -> None:
        if measured.took_ms:
            counts = ", ".join(f"{measured.count(each)} {each}" for each in Verdict if measured.count(each))
            self._say(f"{measured.module}: {counts or 'none judged'}, {measured.took_ms / 1000:.1f} s")

    def _judge(self, job: _Job, free: "SimpleQueue[Slot]", until: float | None) -> Measured:
        """Run one module's mutants in the next free copy."""
        slot = free.get()
        try:
            late = until is not None and time.time() >= until
            return job.measured if late else self._judge_in(slot, job, until)
        finally:
            # However it ended: the other modules wait for this copy.
            free.put(slot)

    def _judge_in(self, slot: Slot, job: _Job, until: float | None) -> Measured:
        """Run one module's mutants in a copy; what is known by then is kept, however it ends."""
        measured = job.measured
        began = time.monotonic()
        original = slot.prepare(measured.module, job.code)
        try:
            work = {
                "tests": list(measured.tests),
                "mutants": list(job.names),
                "results": str(slot.results),
                "stop": str(self._stop),
                "parent": os.getpid(),
                "sign": str(self._sign),
                "until": until,
            }
            left = None if until is None else min(SAMPLE_MODULE_S, until + SAMPLE_LATE_S - time.time())
            ended = self._drive("judge", work, slot.folder, slot.temporary, timeout_s=left)
            answers = slot.answers()
        finally:
            codes = slot.codes()
            if not self._sampled:
                self.kept.keep(measured.module, job.inputs, codes)
            slot.restore(measured.module, original)
        return dataclasses.replace(
            _with_troubles(measured, job.names, answers, ended, sampled=self._sampled),
            took_ms=round((time.monotonic() - began) * 1000),
        )


def _with_troubles(
    measured: Measured,
    names: Sequence[str],
    answers: Sequence[tuple[str, str, int]],
    ended: Finished,
    *,
    sampled: bool,
) -> Measured:
    """Add what a driver answered: verdicts, or why there are none."""
    verdicts = dict(measured.verdicts)
    baseline, failure = "", ""
    for kind, name, code in answers:
        if kind == "mutant":
            verdicts[name] = verdict(code)
        elif kind == "baseline" and verdict(code) is Verdict.NO_TEST:
            verdicts |= dict.fromkeys(names, Verdict.NO_TEST)
        elif kind == "baseline" and code != 0:
            baseline = ended.tail()
        elif kind == "control" and code != 0:
            failure = f"the tests pass once and fail when they are run again without a mutant (code {code})"
    if not ended.ok and not (sampled and ended.code in KILLED):
        # Without a single answer it was the tests that could not be imported.
        baseline, failure = (baseline, ended.tail()) if answers else (ended.tail(), "")
    return dataclasses.replace(measured, verdicts=verdicts, baseline=baseline, failure=failure)
