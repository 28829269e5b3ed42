"""The only place that speaks to mutmut: makes the mutants of modules, and runs tests against single mutants.

A script of its own, started with `python -P` and a job file, because the tests of a mutant import the mutated
`release` package: this process must not have imported the real one. It decides nothing. It keeps to mutmut's
parts that others build on as well: the generator, the trampolines, the statistics run and the fork server. A
worker is forked from a pytest session that has collected the tests and run none of them.
"""

import importlib
import json
import math
import multiprocessing
import os
import queue
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pytest

__all__ = ["Session", "generate", "judge"]

NO_TESTS = 33
"""mutmut's own code for a mutant that no test executes."""

CONTROL = "control.x_nothing__mutmut_0"
"""A mutant that does not exist: the tests must pass under it, or what they say of real ones is worthless."""

FIRST_TIMED = 2
"""Time counts from the second mutant on; in front of the first is the control."""

POLL_S = 0.2


class _Config(Protocol):
    """Of mutmut's configuration what is used here; times are in seconds."""

    timeout_constant: float
    timeout_multiplier: float
    pytest_add_cli_args: list[str]
    pytest_add_cli_args_test_selection: list[str]


class _Result(Protocol):
    exit_code: int


class _Runner(Protocol):
    """Of mutmut's fork server what is used here."""

    def startup(self) -> None: ...

    def stop_all_workers(self) -> None: ...

    def submit(
        self, mutant_name: str, tests: list[str], cpu_time_limit: int, estimated_time: float
    ) -> None: ...

    def wait_for_result(self, timeout: float | None = None) -> _Result: ...


def generate(job: Mapping[str, Any]) -> None:
    """Write the mutants of each module of the job to a file of its own.

    Args:
        job: `modules`: a list of `path`, `lines` (None: every line) and `out`; `processes`: how many at once.
    """
    modules: list[dict[str, Any]] = job["modules"]
    # Forked workers: what they need of mutmut is imported once.
    _mutmut("mutation.file_mutation")
    context = multiprocessing.get_context("fork")
    with context.Pool(processes=job["processes"]) as pool:
        for done, path in enumerate(pool.imap_unordered(_generate_one, modules), start=1):
            print(f"{done}/{len(modules)} {path}", flush=True)


def _generate_one(module: Mapping[str, Any]) -> str:
    path = Path(module["path"])
    source = path.read_text(encoding="utf-8")
    lines = None if module["lines"] is None else set(module["lines"])
    made = _mutmut("mutation.file_mutation").mutate_file_contents(str(path), source, lines)
    code: list[str] = made.code.splitlines(keepends=True)
    sources = {
        name: "".join(code[span.start - 1 : span.end])
        for name, span in made.line_span_by_function_name.items()
    }
    named = _mutmut("utils.format_utils").get_mutant_name
    kept = {
        "code": made.code,
        "mutants": {
            named(path, name): [sources[f"{name.partition('__mutmut_')[0]}__mutmut_orig"], sources[name]]
            for name in made.mutant_names
        },
    }
    out = Path(module["out"])
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_suffix(".partial")
    partial.write_text(json.dumps(kept), encoding="utf-8")
    partial.replace(out)
    return str(path)


def judge(job: Mapping[str, Any]) -> None:
    """Run the tests against each mutant of the job, one after another, and write each answer at once.

    The working directory holds `pyproject.toml` with mutmut's table and `mutants/`, a copy of the project in
    which one module is the mutated one.

    Args:
        job: `tests`: the files that judge; `mutants`: names; `results`: where answers go, one JSON line each
            (`baseline`, `control`, then `mutant` with the exit code of pytest); `stop`: a file whose presence
            ends the work; `parent`: the process whose end does, too; `sign`: a file that the first verdict
            of all drivers leaves; `until`: seconds since the epoch after which no mutant is begun, and after
            which nothing goes on once there is the sign; or None.
    """
    if job["until"] is None:
        _judge(job)
        return

    def on_alarm(number: int, frame: FrameType | None) -> None:
        del number, frame
        _end_if_late(job)

    signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, POLL_S, POLL_S)
    try:
        _judge(job)
    finally:
        # While Python shuts down, an alarm would end it with a failure.
        signal.setitimer(signal.ITIMER_REAL, 0)


def _judge(job: Mapping[str, Any]) -> None:
    for folder in ("mutants", "mutants/src"):
        sys.path.insert(0, str(Path(folder).absolute()))
    config = _mutmut("configuration").config()
    config.pytest_add_cli_args_test_selection = list(job["tests"])
    activate = _mutmut("mutation.trampoline").set_mutant_under_test
    # Imports every test and runs none: the statistics run and the session inherit that.
    _mutmut("runners.harness").PytestRunner().warm_up()
    with Path(job["results"]).open("a", encoding="utf-8") as results:

        def tell(kind: str, code: int, name: str = "") -> None:
            results.write(json.dumps({"kind": kind, "code": code, "name": name}) + "\n")
            results.flush()

        activate("stats")
        code = _mutmut("workers.isolation").get_mutant_runner(1).collect_stats([])
        tell("baseline", code)
        if code != 0:
            return
        activate("")
        note = Path(job["results"]).with_suffix(".failed")
        session: Session = Session(lambda: _tell_all(job, session, config, tell), note)
        os.chdir("mutants")
        code = importlib.import_module("pytest").main(
            ["--rootdir=.", "--tb=native", "-q", *job["tests"], *config.pytest_add_cli_args],
            plugins=[session],
        )
        if code != 0:
            raise RuntimeError(f"pytest ended with {code} when it collected what had passed before")


def _tell_all(
    job: Mapping[str, Any], session: "Session", config: _Config, tell: Callable[[str, int, str], None]
) -> None:
    """Start the fork server in the collected session and pass its answers on."""
    runner: _Runner = _mutmut("workers.isolation").ForkServerRunner(
        max_workers=1, test_runner_class=lambda: session, test_runner_args={}
    )
    runner.startup()
    try:
        for name, verdict in _answers(job, session, runner, config):
            tell("control" if name == CONTROL else "mutant", verdict, name)
            if name != CONTROL:
                Path(job["sign"]).touch()
            elif verdict != 0:
                return
    finally:
        runner.stop_all_workers()


class Session:
    """A pytest plugin that does something else with the collected tests than running them all.

    For mutmut's fork server it is what runs tests in a worker.
    """

    def __init__(self, work: Callable[[], None], note: Path) -> None:
        """Keep what is to be done, and where a worker names the test that failed."""
        self._work = work
        self._note = note.absolute()
        self._session: pytest.Session
        self._items: dict[str, pytest.Item] = {}
        # A stream that is dropped unclosed would fail some test.
        self._streams: list[object] = []

    def pytest_runtestloop(self, session: "pytest.Session") -> bool:
        """Do the work in place of the tests."""
        self._session = session
        self._items = {item.nodeid: item for item in session.items}
        # Nobody reads the tracebacks of thousands of mutants.
        session.config.pluginmanager.unregister(name="terminalreporter")
        self._work()
        return True

    def check(self, tests: Iterable[str]) -> None:
        """See that all tests are the session's: in a worker a missing one would count as a failure.

        Raises:
            RuntimeError: with those that are not.
        """
        unknown = sorted(set(tests) - self._items.keys())
        if unknown:
            raise RuntimeError(f"not collected a second time: {', '.join(unknown)}")

    def failed(self) -> str:
        """The test that failed since it was asked last, or nothing."""
        try:
            name = self._note.read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""
        self._note.unlink()
        return name

    def warm_up(self) -> None:
        """Everything is imported; hold what the server puts in the place of stdout."""
        self._streams.append(sys.stdout)

    def run_tests(self, *, mutant_name: str | None, tests: Sequence[str]) -> int:
        """In a worker: run tests until one fails, and whatever ends a session.

        An exception that comes out of pytest itself is the mutant's as well: without one there was none.

        Returns:
            0 when all have passed, otherwise 1.
        """
        del mutant_name
        self._streams.append(sys.stdout)
        session = self._session
        items = [self._items[test] for test in tests]
        try:
            for item, following in zip(items, [*items[1:], None], strict=True):
                session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if session.testsfailed:
                    self._note.write_text(item.nodeid, encoding="utf-8")
                    break
            code = int(session.testsfailed > 0)
            session.config.hook.pytest_sessionfinish(session=session, exitstatus=code)
            # What the last test left behind, a coroutine or a connection, shows here.
            session.config._ensure_unconfigure()  # pyright: ignore[reportPrivateUsage] # noqa: SLF001 - no other way
        except BaseException:  # noqa: BLE001 - a worker must end here, whatever it is
            return 1
        return code


def _answers(
    job: Mapping[str, Any], session: Session, runner: _Runner, config: _Config
) -> Iterator[tuple[str, int]]:
    """Each mutant and what its tests said; ends early when time is over or it is told to stop."""
    state = _mutmut("state").state()
    took: Mapping[str, float] = state.duration_by_test
    session.check(took)
    last: dict[str, str] = {}
    for place, name in enumerate([CONTROL, *job["mutants"]]):
        # The first mutant is judged however late it is: the time before it was for nothing otherwise.
        over = _deserted if place < FIRST_TIMED else _over
        if over(job):
            return
        function = name.partition("__mutmut_")[0]
        # What noticed the function's last mutant may notice this one; of the others the quick ones first.
        tests = sorted(
            took if name == CONTROL else state.tests_by_mangled_function_name.get(function, ()),
            key=lambda test: (test != last.get(function), took[test], test),
        )
        if not tests:
            yield name, NO_TESTS
            continue
        estimate = sum(took[test] for test in tests)
        # The fork server takes a limit in seconds of CPU and ends a worker after half of it on the wall.
        limit = math.ceil((estimate + config.timeout_constant) * config.timeout_multiplier * 2)
        runner.submit(name, tests, limit, estimate)
        while True:
            try:
                result = runner.wait_for_result(timeout=POLL_S)
            except queue.Empty:
                if over(job):
                    return
                continue
            last[function] = session.failed() or last.get(function, "")
            yield name, result.exit_code
            break


def _end_if_late(job: Mapping[str, Any]) -> None:
    """End this process and all it started, in a sample that has a verdict and no time left."""
    if time.time() >= job["until"] and Path(job["sign"]).exists():
        os.killpg(os.getpgrp(), signal.SIGKILL)


def _over(job: Mapping[str, Any]) -> bool:
    """True when no further mutant is to be begun."""
    return _deserted(job) or (job["until"] is not None and time.time() >= job["until"])


def _deserted(job: Mapping[str, Any]) -> bool:
    """True when nobody waits for the answers any more."""
    return Path(job["stop"]).exists() or os.getppid() != job["parent"]


def _mutmut(name: str) -> ModuleType:
    """A module of mutmut; imported late, as most environments that read this file have none."""
    return importlib.import_module(f"mutmut.{name}")


if __name__ == "__main__":
    work = {"generate": generate, "judge": judge}[sys.argv[1]]
    work(json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")))
