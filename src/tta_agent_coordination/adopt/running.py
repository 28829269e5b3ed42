"""The one way the adoption tools run a program; tests inject their own."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

__all__ = ["Ended", "Run", "run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a program ended: its exit code (127 where it could not be started) and all it printed."""

    code: int
    output: str

    @property
    def last_line(self) -> str:
        """The last line that is not empty; empty where nothing was printed."""
        return next((line.strip() for line in reversed(self.output.splitlines()) if line.strip()), "")


class Run(Protocol):
    """Runs one program to its end."""

    def __call__(self, argv: Sequence[str], *, cwd: Path) -> Ended:
        """Run `argv` in `cwd`; a program that cannot be started ends with code 127."""
        ...


def run(argv: Sequence[str], *, cwd: Path) -> Ended:
    """Run a program on this machine; see `Run`."""
    try:
        ended = subprocess.run(
            argv,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError as error:
        return Ended(
            code=127,
            output=f"{argv[0]} could not be started ({error.strerror}); install it, or put it on PATH",
        )
    return Ended(code=ended.returncode, output=ended.stdout)
