"""Programs are run as asked, and every way they can end is told apart."""

import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from release import runner
from release.runner import Finished, LocalRunner, ends_with_children

Child = subprocess.Popen[str]


@pytest.fixture(autouse=True)
def nobody_is_still_ended() -> Iterator[None]:
    """The thread that ends a program looks once more after the program is gone."""
    yield
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join()


def test_runner_keeps_both_streams_and_the_code(tmp_path: Path) -> None:
    """A failure message quotes what the program said."""
    script = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    finished = LocalRunner()([sys.executable, "-c", script], cwd=tmp_path)
    assert (finished.code, finished.stdout, finished.stderr, finished.ok) == (3, "out\n", "err\n", False)
    assert finished.argv == [sys.executable, "-c", script]
    assert finished.tail() == "out\n\nerr"
    assert finished.tail(1) == "err"


def test_a_failure_is_quoted_to_its_last_lines() -> None:
    """Thirty are what a person reads."""
    printed = "".join(f"line {number}\n" for number in range(31))
    finished = Finished(argv=[], code=1, stdout=printed, stderr="", took_ms=0)
    assert finished.tail().splitlines() == printed.splitlines()[1:]


def test_a_program_that_ends_in_time_is_not_killed(tmp_path: Path) -> None:
    """Its time is what it was given."""
    finished = LocalRunner()([sys.executable, "-c", "print('done')"], cwd=tmp_path, timeout_s=60)
    assert (finished.code, finished.stdout, finished.stderr) == (0, "done\n", "")


def test_what_runs_is_ended_with_whoever_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Ctrl-C while a program prints leaves no program behind."""
    children: list[Child] = []

    def interrupted(child: Child) -> str:
        children.append(child)
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "_relay", interrupted)
    with pytest.raises(KeyboardInterrupt):
        LocalRunner()([sys.executable, "-c", "import time; time.sleep(60)"], cwd=tmp_path, show=True)
    assert children[0].returncode == -signal.SIGTERM


def test_runner_works_where_it_is_told_and_says_how_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In milliseconds; what ran is forgotten, so that no signal goes to a later one of its number."""
    clock = iter([10.0, 11.5])
    monkeypatch.setattr(runner, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    finished = LocalRunner()([sys.executable, "-c", "import os; print(os.getcwd())"], cwd=tmp_path)
    assert finished.stdout == f"{tmp_path.resolve()}\n"
    assert finished.took_ms == 1500
    assert runner._STATE.running == set()  # pyright: ignore[reportPrivateUsage]


def test_runner_waits_for_nobody_to_type(tmp_path: Path) -> None:
    """A tool that asks a question would hold a stage for ever."""
    typed, typing = os.pipe()
    before = os.dup(0)
    try:
        os.write(typing, b"yes\n")
        os.close(typing)
        os.dup2(typed, 0)
        finished = LocalRunner()([sys.executable, "-c", "print(repr(input()))"], cwd=tmp_path)
    finally:
        os.dup2(before, 0)
        os.close(before)
        os.close(typed)
    assert "EOFError" in finished.stderr


def test_runner_hands_its_own_environment_on_when_it_is_given_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a person has set counts, unless a stage says otherwise."""
    monkeypatch.setenv("OURS", "kept")
    finished = LocalRunner()([sys.executable, "-c", "import os; print(os.environ['OURS'])"], cwd=tmp_path)
    assert finished.stdout == "kept\n"


def test_runner_shows_lines_as_they_come(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A long step whose output stays hidden looks like a hang."""
    finished = LocalRunner()([sys.executable, "-c", "print('one'); print('two')"], cwd=tmp_path, show=True)
    assert finished.ok
    assert capsys.readouterr().out == finished.stdout == "one\ntwo\n"
    assert finished.stderr == ""


def test_runner_shows_both_streams_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line at once, also where the screen is a pipe that keeps what it gets."""
    shown = io.StringIO()
    flushed: list[str] = []
    monkeypatch.setattr(shown, "flush", lambda: flushed.append(shown.getvalue()))
    monkeypatch.setattr(sys, "stdout", shown)
    script = "import sys; print('one', flush=True); print('two', file=sys.stderr)"
    finished = LocalRunner()([sys.executable, "-c", script], cwd=tmp_path, show=True)
    assert (finished.stdout, finished.stderr) == ("one\ntwo\n", "")
    assert flushed == ["one\n", "one\ntwo\n"]


def test_runner_shows_nothing_unless_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A stage says itself what came of it."""
    LocalRunner()([sys.executable, "-c", "print('one')"], cwd=tmp_path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("show", [False, True])
def test_runner_kills_after_the_timeout(tmp_path: Path, show: bool) -> None:
    """A program that hangs must not hold a release for ever."""
    script = "import time; print('began', flush=True); time.sleep(60)"
    finished = LocalRunner()([sys.executable, "-c", script], cwd=tmp_path, show=show, timeout_s=0.5)
    assert finished.code == 124
    assert "killed after 0.5 s" in finished.stderr


def test_runner_reports_a_program_that_cannot_start(tmp_path: Path) -> None:
    """A missing tool is a finding with its name, not a traceback."""
    finished = LocalRunner()(["no-such-program", "--now"], cwd=tmp_path)
    said = finished.stderr
    assert said.startswith("no-such-program could not be started: ")
    assert finished == Finished(
        argv=["no-such-program", "--now"], code=127, stdout="", stderr=said, took_ms=0
    )


def test_runner_starts_nothing_while_its_process_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller gets an answer that is no success, and the reason."""
    monkeypatch.setattr(runner._STATE, "ending", threading.Event())  # pyright: ignore[reportPrivateUsage]
    runner._STATE.ending.set()  # pyright: ignore[reportPrivateUsage]
    words = [sys.executable, "-c", "print('started')"]
    said = f"{sys.executable} was not started: this process was told to end"
    expected = Finished(argv=words, code=143, stdout="", stderr=said, took_ms=0)
    assert LocalRunner()(words, cwd=tmp_path) == expected


class Programs:
    """Programs by name, with how often each says that something of it is left before it is gone."""

    def __init__(self, **left: int) -> None:
        self.left = left
        self.sent: list[tuple[str, int]] = []
        self.now = 0.0
        self.slept: list[float] = []

    def send(self, child: Child, number: int) -> bool:
        name = str(child)
        self.sent.append((name, number))
        self.left[name] -= 1
        return self.left[name] >= 0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += 1.0

    def end(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
        monkeypatch.setattr(runner, "_send", self.send)
        monkeypatch.setattr(runner, "time", self)
        monkeypatch.setattr(runner, "GRACE_S", 3.0)
        runner._end(cast("list[Child]", [*self.left]))  # pyright: ignore[reportPrivateUsage]
        return self.sent


def test_programs_are_asked_once_and_looked_at_until_they_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is gone is not looked at again, and nobody waits longer than for the last one."""
    programs = Programs(gone=0, soon=1, later=2)
    assert programs.end(monkeypatch) == [
        *(("gone", signal.SIGTERM), ("soon", signal.SIGTERM), ("later", signal.SIGTERM)),
        *(("soon", 0), ("later", 0), ("later", 0)),
    ]
    assert len(programs.slept) == 2
    assert all(0 < seconds < 1 for seconds in programs.slept)


def test_programs_that_stay_are_killed_after_their_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """After three looks of a second each, here; one that ends in time is not killed."""
    programs = Programs(ends=2, stays=99)
    asked = [("ends", signal.SIGTERM), ("stays", signal.SIGTERM)]
    looked = [("ends", 0), ("stays", 0), ("ends", 0), ("stays", 0), ("stays", 0)]
    assert programs.end(monkeypatch) == [*asked, *looked, ("stays", signal.SIGKILL)]


class OneChild:
    """A program of which this much is known: its number, and whether it has ended."""

    pid = 7

    def __init__(self, code: int | None) -> None:
        self.code = code
        self.terminated = 0

    def poll(self) -> int | None:
        return self.code

    def terminate(self) -> None:
        self.terminated += 1

    def send(self, number: int) -> bool:
        return runner._send(cast("Child", self), number)  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize(
    ("error", "left"), [(None, True), (ProcessLookupError, False), (PermissionError, False)]
)
@pytest.mark.parametrize("code", [None, 0])
def test_a_signal_goes_to_all_that_a_program_started(
    monkeypatch: pytest.MonkeyPatch, error: type[OSError] | None, left: bool, code: int | None
) -> None:
    """Whether the program itself has ended does not matter: what it started may be there."""
    sent: list[tuple[int, int]] = []

    def killpg(group: int, number: int) -> None:
        sent.append((group, number))
        if error:
            raise error

    monkeypatch.setattr(os, "killpg", killpg)
    assert OneChild(code).send(15) is left
    assert sent == [(7, 15)]


@pytest.mark.parametrize(
    ("code", "number", "left", "terminated"),
    [(None, 15, True, 1), (None, 0, True, 0), (0, 15, False, 0), (0, 0, False, 0)],
)
def test_where_there_are_no_groups_the_program_alone_is_ended(
    monkeypatch: pytest.MonkeyPatch, code: int | None, number: int, left: bool, terminated: int
) -> None:
    """On Windows; a look at it does not end it."""
    child = OneChild(code)
    with monkeypatch.context() as windows:
        windows.setattr(os, "name", "nt")
        found = child.send(number)
    assert (found, child.terminated) == (left, terminated)


def test_a_process_whose_parent_is_gone_tells_itself_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, and as a person would; while the parent is there it only looks."""
    parents, killed, closed = iter([1, 1, 2, 2]), list[tuple[int, int]](), threading.Event()
    monkeypatch.setattr(runner, "_PARENT_LOOK_S", 0.001)
    monkeypatch.setattr(os, "getppid", lambda: next(parents))
    monkeypatch.setattr(os, "kill", lambda pid, number: killed.append((pid, number)))  # pyright: ignore[reportUnknownArgumentType,reportUnknownLambdaType]
    runner._watch_parent(1, closed)  # pyright: ignore[reportPrivateUsage]
    assert killed == [(os.getpid(), signal.SIGTERM)]
    assert list(parents) == [2]
    closed.set()
    runner._watch_parent(1, closed)  # pyright: ignore[reportPrivateUsage]
    assert len(killed) == 1


@pytest.fixture
def signals() -> Iterator[None]:
    """Whoever runs the tests may handle these signals and is given them back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    for number in before:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_what_runs_and_unwinds(monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
    """Every program that this process runs, and nothing is started from then on."""
    ended, running = list[list[object]](), [object(), object()]
    done = threading.Event()

    def end(children: list[object]) -> None:
        ended.append(children)
        done.set()

    monkeypatch.setattr(runner, "_end", end)
    monkeypatch.setattr(runner._STATE, "running", set(running))  # pyright: ignore[reportPrivateUsage]

    def told(ending: Callable[[], bool]) -> None:
        with ends_with_children({}):
            try:
                signal.raise_signal(number)
            finally:
                seen.append(ending())

    seen: list[bool] = []
    with pytest.raises(KeyboardInterrupt):
        told(lambda: runner._STATE.ending.is_set())  # pyright: ignore[reportPrivateUsage]
    assert done.wait(30)
    assert {*ended[0]} == {*running}
    assert seen == [True]
    assert not runner._STATE.ending.is_set()  # pyright: ignore[reportPrivateUsage]


def test_runner_gives_the_child_only_the_environment_it_is_handed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scrubbed environment that leaks a token is no scrubbed environment."""
    monkeypatch.setenv("TWINE_PASSWORD", "secret")
    finished = LocalRunner()(
        [sys.executable, "-c", "import os; print(os.environ.get('TWINE_PASSWORD'))"],
        cwd=tmp_path,
        env={"A": "1"},
    )
    assert finished.stdout == "None\n"


def test_runner_replaces_bytes_that_are_not_text(tmp_path: Path) -> None:
    """A tool that prints a broken byte must not stop the stage."""
    script = "import sys; sys.stdout.buffer.write(bytes([255, 10]))"
    assert LocalRunner()([sys.executable, "-c", script], cwd=tmp_path).stdout == "\N{REPLACEMENT CHARACTER}\n"


@pytest.mark.parametrize("show", [False, True])
def test_runner_kills_what_the_program_started_too(tmp_path: Path, show: bool) -> None:
    """A grandchild that keeps the pipe open would hold the stage after its parent is gone."""
    script = (
        "import subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "import time; time.sleep(60)"
    )
    finished = LocalRunner()([sys.executable, "-c", script], cwd=tmp_path, show=show, timeout_s=0.5)
    assert finished.code == 124
    assert finished.took_ms < 30_000
