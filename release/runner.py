"""The one way a stage runs a program: argument lists, a chosen environment, captured or shown output.

Tests inject their own `Runner`; nothing else in `release/` starts a process. Each program is the head of a
process group of its own, so that all it started can be ended with it: see `ends_with_children`.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

__all__ = [
    "GRACE_S",
    "NOT_STARTED",
    "TIMED_OUT",
    "Finished",
    "LocalRunner",
    "Runner",
    "ends_with_children",
]

TIMED_OUT = 124
"""The code of a program that was killed when its time was up; as of the command `timeout`."""

NOT_STARTED = 127
"""The code of a program that could not be started; a shell's."""

GRACE_S = 5.0
"""How long a program that was asked to end has for ending what it started in groups of its own."""

_LOOK_S = 0.02
_PARENT_LOOK_S = 0.5
_ENDED = 143
"""The code of a program that was not started because this process is ending; a shell's for SIGTERM."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A program that ended: its exit code and what it printed, decoded as UTF-8."""

    argv: Sequence[str]
    code: int
    stdout: str
    stderr: str
    took_ms: int

    @property
    def ok(self) -> bool:
        """True when the program exited with 0."""
        return self.code == 0

    def tail(self, lines: int = 30) -> str:
        """The last lines it printed, standard error last: what a failure message quotes."""
        return "\n".join(f"{self.stdout}\n{self.stderr}".strip().splitlines()[-lines:])


class Runner(Protocol):
    """Runs one program to its end."""

    def __call__(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        show: bool = False,
        timeout_s: float | None = None,
    ) -> Finished:
        """Run `argv` in `cwd`.

        Args:
            argv: The program and its arguments; never a shell line.
            cwd: The working directory.
            env: The whole environment of the child; None inherits this process's.
            show: Print the child's output as it comes (its standard output and error share one stream,
                returned as `stdout`); otherwise capture both silently.
            timeout_s: Seconds after which the child is killed; the code is then `TIMED_OUT`.

        Returns:
            How it ended. A program that cannot be started ends with `NOT_STARTED` and the reason in `stderr`.
        """
        ...


class LocalRunner:
    """Runs programs on this machine."""

    def __call__(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        show: bool = False,
        timeout_s: float | None = None,
    ) -> Finished:
        """Run `argv`; see `Runner`."""
        words = [os.fspath(word) for word in argv]
        began = time.monotonic()
        if _STATE.ending.is_set():
            said = f"{words[0]} was not started: this process was told to end"
            return Finished(argv=words, code=_ENDED, stdout="", stderr=said, took_ms=0)
        try:
            child = subprocess.Popen(
                words,
                cwd=cwd,
                env=None if env is None else dict(env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if show else subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                process_group=0 if os.name == "posix" else None,
            )
        except OSError as error:
            return Finished(
                argv=words,
                code=NOT_STARTED,
                stdout="",
                stderr=f"{words[0]} could not be started: {error}",
                took_ms=0,
            )
        expired = threading.Event()
        timer = threading.Timer(timeout_s or 0, lambda: (expired.set(), _end([child])))
        _STATE.running.add(child)
        if timeout_s is not None:
            timer.start()
        with child:
            try:
                out, err = (_relay(child), "") if show else child.communicate()
                code = child.wait()
            except BaseException:
                _end([child])
                raise
            finally:
                timer.cancel()
                _STATE.running.discard(child)
        if expired.is_set():
            code, err = TIMED_OUT, f"{err}\nkilled after {timeout_s} s"
        took_ms = round((time.monotonic() - began) * 1000)
        return Finished(argv=words, code=code, stdout=out, stderr=err, took_ms=took_ms)


@dataclass(slots=True, kw_only=True)
class _State:
    """What runs in this process, whichever thread waits for it."""

    running: set[subprocess.Popen[str]] = field(default_factory=set["subprocess.Popen[str]"])
    ending: threading.Event = field(default_factory=threading.Event)


_STATE = _State()


@contextmanager
def ends_with_children(environ: Mapping[str, str] | None = None) -> Generator[None]:
    """While this is open, a signal to end this process ends every program that it runs, too.

    SIGTERM, SIGINT and SIGHUP then raise KeyboardInterrupt in the main thread. Under nox the end of nox
    counts as well, since nox ends at a SIGTERM without a word to what it runs.

    Args:
        environ: The environment; this process's by default.
    """
    closed = threading.Event()
    before: dict[signal.Signals, object] = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGINT", "SIGHUP"):
            number = getattr(signal, name, None)
            # What somebody chose to ignore (nohup) or to handle stays as it is.
            if number is not None and signal.getsignal(number) in _DEFAULTS:
                before[number] = signal.signal(number, _told_to_end)
    if "NOX_CURRENT_SESSION" in (os.environ if environ is None else environ):
        watch = threading.Thread(target=_watch_parent, args=(os.getppid(), closed), daemon=True)
        watch.start()
    try:
        yield
    finally:
        closed.set()
        for number, handler in before.items():
            signal.signal(number, handler)  # type: ignore[arg-type] # what signal.signal returned
        _STATE.ending.clear()


_DEFAULTS = (signal.SIG_DFL, signal.default_int_handler)


def _told_to_end(number: int, frame: object) -> None:
    """Ask every program to end, then let the main thread unwind; other threads' programs are ended here."""
    del number, frame
    _STATE.ending.set()
    children = list(_STATE.running)
    # Waiting inside a signal handler could wait for a lock that the interrupted code holds.
    threading.Thread(target=_end, args=(children,)).start()
    raise KeyboardInterrupt


def _watch_parent(parent: int, closed: threading.Event) -> None:
    """Tell this process to end when the one that started it is gone."""
    while not closed.wait(_PARENT_LOOK_S):
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)
            return


def _end(children: Iterable[subprocess.Popen[str]]) -> None:
    """End programs and all they started: a grandchild that keeps the pipe open would hold the stage.

    Each is asked first: a stage that runs in one of them ends its own programs, which are out of reach from
    here. What is left after `GRACE_S` is killed.
    """
    waiting = [child for child in children if _send(child, signal.SIGTERM)]
    until = time.monotonic() + GRACE_S
    while waiting and time.monotonic() < until:
        time.sleep(_LOOK_S)
        waiting = [child for child in waiting if _send(child, 0)]
    for child in waiting:
        _send(child, _KILL)


_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)


def _send(child: subprocess.Popen[str], number: int) -> bool:
    """Send a signal to a program's group; False when nothing of it is left."""
    ended = child.poll() is not None
    if os.name != "posix":  # Windows has no process groups to signal
        if not ended and number:
            child.terminate()
        return not ended
    try:
        os.killpg(child.pid, number)
    except (ProcessLookupError, PermissionError):
        # macOS answers for a group of which only ended processes are left that it may not be signalled.
        return False
    return True


def _relay(child: subprocess.Popen[str]) -> str:
    """Print each line as it comes and keep it."""
    kept: list[str] = []
    assert child.stdout is not None  # noqa: S101 - opened with PIPE above
    for line in child.stdout:
        sys.stdout.write(line)
        sys.stdout.flush()
        kept.append(line)
    return "".join(kept)
