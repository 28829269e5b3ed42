"""The one way a stage runs a program: argument lists, a chosen environment, captured or shown output.

Tests inject their own `Runner`; nothing else in `release/` starts a process.
"""

import os
import subprocess
import sys
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
        stderr = subprocess.STDOUT if show else subprocess.PIPE
        try:
            with subprocess.Popen(
                words,
                cwd=cwd,
                env=None if env is None else dict(env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                encoding="utf-8",
                errors="replace",
            ) as child:
                try:
                    if show:
                        out, err = _relay(child), ""
                        child.wait(timeout_s)
                    else:
                        out, err = child.communicate(timeout=timeout_s)
                    code = child.returncode
                except subprocess.TimeoutExpired:
                    child.kill()
                    out, err = child.communicate()
                    code, err = 124, f"{err or ''}\nkilled after {timeout_s} s"
        except OSError as error:
            code, out, err = 127, "", f"{words[0]} could not be started: {error}"
        took_ms = round((time.monotonic() - began) * 1000)
        return Finished(argv=words, code=code, stdout=out or "", stderr=err or "", took_ms=took_ms)


def _relay(child: subprocess.Popen[str]) -> str:
    """Print each line as it comes and keep it."""
    kept: list[str] = []
    assert child.stdout is not None  # noqa: S101 - opened with PIPE above
    for line in child.stdout:
        sys.stdout.write(line)
        sys.stdout.flush()
        kept.append(line)
    return "".join(kept)
