"""The one way a stage runs a program: argument lists, a chosen environment, captured or shown output.

Tests inject their own `Runner`; nothing else in `release/` starts a process.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

__all__ = ["Finished", "LocalRunner", "Runner"]


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
            timeout_s: Seconds after which the child is killed; the code is then 124.

        Returns:
            How it ended. A program that cannot be started ends with code 127 and the reason in `stderr`.
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
                argv=words, code=127, stdout="", stderr=f"{words[0]} could not be started: {error}", took_ms=0
            )
        expired = threading.Event()
        timer = threading.Timer(timeout_s or 0, lambda: (expired.set(), _kill(child)))
        if timeout_s is not None:
            timer.start()
        with child:
            try:
                out, err = (_relay(child), "") if show else child.communicate()
                code = child.wait()
            except BaseException:
                _kill(child)
                raise
            finally:
                timer.cancel()
        if expired.is_set():
            code, err = 124, f"{err}\nkilled after {timeout_s} s"
        took_ms = round((time.monotonic() - began) * 1000)
        return Finished(argv=words, code=code, stdout=out, stderr=err, took_ms=took_ms)


def _kill(child: subprocess.Popen[str]) -> None:
    """End the child and all it started: a grandchild that keeps the pipe open would hold the stage."""
    if os.name == "posix":
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    else:
        child.kill()


def _relay(child: subprocess.Popen[str]) -> str:
    """Print each line as it comes and keep it."""
    kept: list[str] = []
    assert child.stdout is not None  # noqa: S101 - opened with PIPE above
    for line in child.stdout:
        sys.stdout.write(line)
        sys.stdout.flush()
        kept.append(line)
    return "".join(kept)
