"""The driver keeps to its protocol; that it fits the real mutmut, each rehearsal shows."""

import itertools
import json
import os
import queue
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest

from release.gates.mutation import driver


@dataclass(kw_only=True)
class StandIn:
    """mutmut, as far as the driver uses it; mutants end with the codes given."""

    codes: dict[str, int] = field(default_factory=dict[str, int])
    baseline: int = 0
    slow: int = 0
    """So many times an answer is not there yet."""
    on_wait: Callable[[], object] = lambda: None
    submitted: list[tuple[str, list[str], int]] = field(default_factory=list[tuple[str, list[str], int]])
    active: list[str] = field(default_factory=list[str])
    stopped: bool = False
    collected: tuple[str, ...] = ("t::slow", "t::quick", "t::of another module")
    ended: int = 0
    """The session's own exit code."""
    silenced: list[str] = field(default_factory=list[str])
    fails: dict[str, str] = field(default_factory=dict[str, str])
    """Mutant -> the test that notices it."""
    tests: Any = None
    note: Path = Path()
    worked_in: str = ""

    def __post_init__(self) -> None:
        tests = defaultdict[str, set[str]](set)
        tests["a.x_make"] = {"t::slow", "t::quick"}
        tests["a.x_other"] = {"t::quick"}
        self.state = SimpleNamespace(
            duration_by_test={"t::slow": 2.0, "t::quick": 0.5}, tests_by_mangled_function_name=tests
        )
        self.config = SimpleNamespace(
            timeout_constant=1.0,
            timeout_multiplier=3.0,
            pytest_add_cli_args=["-m", "quick"],
            pytest_add_cli_args_test_selection=[],
        )

    def module(self, name: str) -> SimpleNamespace:
        return {
            "configuration": SimpleNamespace(config=lambda: self.config),
            "mutation.trampoline": SimpleNamespace(set_mutant_under_test=self.active.append),
            "runners.harness": SimpleNamespace(PytestRunner=lambda: SimpleNamespace(warm_up=lambda: None)),
            "workers.isolation": SimpleNamespace(
                get_mutant_runner=self.statistics, ForkServerRunner=self.runner
            ),
            "state": SimpleNamespace(state=lambda: self.state),
        }[name]

    def pytest(self) -> SimpleNamespace:
        """pytest, as far as the driver uses it."""
        return SimpleNamespace(main=self.collect)

    def collect(self, words: list[str], plugins: list[Any]) -> int:
        """Collect tests and have the plugin do something with them."""
        assert words == ["--rootdir=.", "--tb=native", "-q", "t", "-m", "quick"]
        (plugin,) = plugins
        self.worked_in = Path.cwd().name
        items = [SimpleNamespace(nodeid=name) for name in self.collected]
        config = SimpleNamespace(pluginmanager=SimpleNamespace(unregister=self.silence))
        if items:
            assert plugin.pytest_runtestloop(SimpleNamespace(items=items, config=config)) is True
        return self.ended

    def silence(self, *, name: str) -> None:
        self.silenced.append(name)

    def statistics(self, workers: int) -> Self:
        assert workers == 1
        return self

    def runner(
        self, max_workers: int, test_runner_class: Callable[[], Any], test_runner_args: dict[str, Any]
    ) -> Self:
        assert (max_workers, test_runner_args) == (1, {})
        self.tests = test_runner_class()
        return self

    def collect_stats(self, tests: list[str]) -> int:
        assert tests == []
        assert self.active == ["stats"]
        return self.baseline

    def startup(self) -> None:
        assert self.active == ["stats", ""]
        assert self.silenced == ["terminalreporter"]

    def submit(self, mutant_name: str, tests: list[str], cpu_time_limit: int, estimated_time: float) -> None:
        assert estimated_time > 0
        self.submitted.append((mutant_name, tests, cpu_time_limit))

    def wait_for_result(self, timeout: float | None = None) -> SimpleNamespace:
        assert timeout == driver.POLL_S
        self.on_wait()
        if self.slow:
            self.slow -= 1
            raise queue.Empty
        name = self.submitted[-1][0]
        if name in self.fails:
            self.note.write_text(self.fails[name], encoding="utf-8")
        return SimpleNamespace(exit_code=self.codes.get(name, 0))

    def stop_all_workers(self) -> None:
        self.stopped = True


@pytest.fixture
def timers(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """What the driver asked of the system's clock and signals; nothing is really set."""
    asked: list[tuple[object, ...]] = []

    def ask(*words: object) -> None:
        asked.append(words)

    monkeypatch.setattr(driver.signal, "signal", ask)
    monkeypatch.setattr(driver.signal, "setitimer", ask)
    monkeypatch.setattr(driver.os, "killpg", ask)
    return asked


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, timers: list[tuple[object, ...]]) -> Path:
    """A working directory and a `sys.path` that the driver may change."""
    assert timers == []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def judged(
    stand_in: StandIn,
    monkeypatch: pytest.MonkeyPatch,
    *mutants: str,
    until: float | None = None,
    parent: int | None = None,
) -> list[tuple[str, int, str]]:
    """Run the driver on mutants; returns its answers."""
    monkeypatch.setattr(driver, "_mutmut", stand_in.module)
    monkeypatch.setitem(sys.modules, "pytest", stand_in.pytest())  # type: ignore[arg-type] # as far as it is used
    folder = Path.cwd()
    (folder / "mutants").mkdir(exist_ok=True)
    stand_in.note = folder / "results.failed"
    job = {"tests": ["t"], "mutants": mutants, "until": until}
    job |= {name: str(folder / name) for name in ("results", "stop", "sign")}
    try:
        driver.judge(job | {"parent": os.getppid() if parent is None else parent})
    finally:
        os.chdir(folder)
    lines = Path("results").read_text(encoding="utf-8").splitlines()
    return [(each["kind"], each["code"], each["name"]) for each in map(json.loads, lines)]


def test_each_mutant_is_answered_after_baseline_and_control(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the tests say counts only when they pass without a mutant, twice."""
    stand_in = StandIn(codes={"a.x_make__mutmut_1": 1}, slow=2)
    assert judged(stand_in, monkeypatch, "a.x_make__mutmut_1", "a.x_other__mutmut_1") == [
        ("baseline", 0, ""),
        ("control", 0, driver.CONTROL),
        ("mutant", 1, "a.x_make__mutmut_1"),
        ("mutant", 0, "a.x_other__mutmut_1"),
    ]
    assert sys.path[:2] == [str(workplace / "mutants/src"), str(workplace / "mutants")]
    assert stand_in.config.pytest_add_cli_args_test_selection == ["t"]
    assert stand_in.worked_in == "mutants"
    assert stand_in.tests.warm_up() is None
    assert stand_in.stopped


def test_quick_tests_run_first_and_time_is_limited(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most mutants die in the first test; an endless one must end."""
    del workplace
    stand_in = StandIn()
    judged(stand_in, monkeypatch, "a.x_make__mutmut_1")
    assert stand_in.submitted == [
        (driver.CONTROL, ["t::quick", "t::slow"], 21),
        ("a.x_make__mutmut_1", ["t::quick", "t::slow"], 21),
    ]


def test_test_that_noticed_the_last_mutant_runs_first(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It notices most mutants of the same function; one that survives leaves it in its place."""
    del workplace
    mutants = [f"a.x_make__mutmut_{number}" for number in (1, 2, 3)]
    stand_in = StandIn(codes={mutants[0]: 1}, fails={mutants[0]: "t::slow"})
    judged(stand_in, monkeypatch, *mutants, "a.x_other__mutmut_1")
    assert [tests for _, tests, _ in stand_in.submitted[1:]] == [
        ["t::quick", "t::slow"],
        ["t::slow", "t::quick"],
        ["t::slow", "t::quick"],
        ["t::quick"],
    ]


def test_test_that_is_not_collected_again_ends_the_work(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker without it would end as if it had failed."""
    del workplace
    stand_in = StandIn(collected=("t::quick",))
    with pytest.raises(RuntimeError, match="not collected a second time: t::slow"):
        judged(stand_in, monkeypatch, "a.x_make__mutmut_1")
    assert stand_in.stopped


def test_session_that_fails_ends_the_work(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer at all would look like no mutant."""
    del workplace
    with pytest.raises(RuntimeError, match="pytest ended with 2 when it collected what had passed before"):
        judged(StandIn(collected=(), ended=2), monkeypatch, "a.x_make__mutmut_1")


def test_mutant_without_tests_is_not_run(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Running no test would pass."""
    del workplace
    stand_in = StandIn()
    assert judged(stand_in, monkeypatch, "a.x_none__mutmut_1")[-1] == ("mutant", 33, "a.x_none__mutmut_1")
    assert len(stand_in.submitted) == 1


def test_nothing_runs_after_a_red_baseline(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every mutant would look killed."""
    del workplace
    stand_in = StandIn(baseline=1)
    assert judged(stand_in, monkeypatch, "a.x_make__mutmut_1") == [("baseline", 1, "")]
    assert not stand_in.submitted


def test_nothing_runs_after_a_failed_control(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests that fail in a worker without a mutant would kill every mutant."""
    del workplace
    stand_in = StandIn(codes={driver.CONTROL: 1})
    assert judged(stand_in, monkeypatch, "a.x_make__mutmut_1")[-1] == ("control", 1, driver.CONTROL)
    assert stand_in.stopped


def test_time_over_leaves_the_first_mutant(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample ends in time, and what it took to get there was not for nothing."""
    del workplace
    stand_in = StandIn(slow=3)
    answers = judged(stand_in, monkeypatch, "a.x_make__mutmut_1", "a.x_make__mutmut_2", until=1.0)
    assert [name for _, _, name in answers] == ["", driver.CONTROL, "a.x_make__mutmut_1"]


def test_time_over_under_a_running_mutant(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer of a mutant that would come too late is not waited for."""
    del workplace
    clock = itertools.count()
    monkeypatch.setattr(driver, "time", SimpleNamespace(time=clock.__next__))
    stand_in = StandIn()
    stand_in.on_wait = lambda: setattr(stand_in, "slow", 9 * (len(stand_in.submitted) == 3))
    answers = judged(stand_in, monkeypatch, "a.x_make__mutmut_1", "a.x_make__mutmut_2", until=2.0)
    assert [name for _, _, name in answers] == ["", driver.CONTROL, "a.x_make__mutmut_1"]
    assert len(stand_in.submitted) == 3


def test_late_driver_ends_itself_once_anything_is_judged(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, timers: list[tuple[object, ...]]
) -> None:
    """A module whose tests are slow does not hold up a sample that has what it needs."""
    judged(StandIn(), monkeypatch, "a.x_none__mutmut_1", until=1.0)
    (number, handler), timer, no_timer = timers
    assert number == signal.SIGALRM
    assert callable(handler)
    assert timer == (signal.ITIMER_REAL, driver.POLL_S, driver.POLL_S)
    assert no_timer == (signal.ITIMER_REAL, 0)
    assert (workplace / "sign").exists()
    handler(number, None)
    assert timers[3:] == [(os.getpgrp(), signal.SIGKILL)]
    (workplace / "sign").unlink()
    handler(number, None)
    assert len(timers) == 4


def test_driver_in_time_goes_on(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, timers: list[tuple[object, ...]]
) -> None:
    """Without a sample's end there is no timer; before it the timer does nothing."""
    del workplace
    judged(StandIn(), monkeypatch, "a.x_none__mutmut_1")
    assert timers == []
    judged(StandIn(), monkeypatch, "a.x_none__mutmut_1", until=time.time() + 99)
    handler = timers[0][1]
    assert callable(handler)
    handler(signal.SIGALRM, None)
    assert len(timers) == 3


def test_driver_ends_with_the_stage_that_started_it(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage that was killed leaves nothing that goes on for hours."""
    del workplace
    assert judged(StandIn(), monkeypatch, "a.x_make__mutmut_1", parent=-1) == [("baseline", 0, "")]


def test_stop_file_ends_the_work_under_a_running_mutant(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupted stage does not wait for hours of mutants."""
    stand_in = StandIn(slow=1000, on_wait=(workplace / "stop").touch)
    assert judged(stand_in, monkeypatch, "a.x_make__mutmut_1") == [("baseline", 0, "")]
    assert stand_in.slow == 999
    assert stand_in.stopped


SOURCE = "def make():\n    return 1\n"
MUTATED = "def x_make__mutmut_orig():\n    return 1\ndef x_make__mutmut_1():\n    return 2\n"


def test_generate_writes_each_mutant_with_its_original(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The stage compares the two to say what changed."""
    (workplace / "a.py").write_text(SOURCE, encoding="utf-8")
    asked: list[object] = []

    def mutate(path: str, source: str, lines: set[int] | None) -> SimpleNamespace:
        asked.extend([path, source, lines])
        spans = {"x_make__mutmut_orig": (1, 2), "x_make__mutmut_1": (3, 4)}
        return SimpleNamespace(
            code=MUTATED,
            mutant_names=["x_make__mutmut_1"],
            line_span_by_function_name={
                name: SimpleNamespace(start=start, end=end) for name, (start, end) in spans.items()
            },
        )

    def named(path: Path, name: str) -> str:
        return f"{path.stem}.{name}"

    def forked(method: str) -> SimpleNamespace:
        assert method == "fork"
        return SimpleNamespace(Pool=InProcess)

    modules = {
        "mutation.file_mutation": SimpleNamespace(mutate_file_contents=mutate),
        "utils.format_utils": SimpleNamespace(get_mutant_name=named),
    }
    monkeypatch.setattr(driver, "_mutmut", modules.__getitem__)
    monkeypatch.setattr(driver.multiprocessing, "get_context", forked)
    out = workplace / "made" / "a.json"
    driver.generate({"modules": [{"path": "a.py", "lines": [1, 2], "out": str(out)}], "processes": 1})
    assert asked == ["a.py", SOURCE, {1, 2}]
    assert json.loads(out.read_text(encoding="utf-8")) == {
        "code": MUTATED,
        "mutants": {
            "a.x_make__mutmut_1": [
                "def x_make__mutmut_orig():\n    return 1\n",
                "def x_make__mutmut_1():\n    return 2\n",
            ]
        },
    }
    assert [path.name for path in out.parent.iterdir()] == ["a.json"]
    assert capsys.readouterr().out == "1/1 a.py\n"


class InProcess:
    """A pool without processes."""

    def __init__(self, processes: int) -> None:
        assert processes == 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def imap_unordered(self, work: Callable[[object], str], jobs: list[object]) -> list[str]:
        return [work(job) for job in jobs]
