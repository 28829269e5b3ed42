"""The one way the adoption tools run a program; tests inject their own."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

__all__ = ["Ended", "Run", "run"]


_NOT_THEIRS = frozenset(
    {"PYTHONHOME", "PYTHONPATH", "UV_FROZEN", "UV_LOCKED", "UV_NO_SYNC", "UV_PROJECT"}
    | {"UV_PROJECT_ENVIRONMENT", "UV_WORKING_DIRECTORY", "VIRTUAL_ENV"}
)
"""Variables that say where this process's project is, or keep uv from doing what it is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a program ended: its exit code (127 where it could not be started) and all it printed."""

    code: int
    output: str

    @property
    def last_line(self) -> str:
        """The last line that is not empty; empty where nothing was printed."""
        return next((line.strip() for line in reversed(self.output.splitlines()) if line.strip()), "")

    @property
    def reason(self) -> str:
        """Why it failed, on one line: uv's error with its causes; else the last line."""
        lines = self.output.splitlines()
        start = next((number for number, line in enumerate(lines) if line.startswith("error: ")), None)
        if start is None:
            return self.last_line
        said = (line.strip() for line in lines[start:] if line.startswith(("error: ", "  cause: ")))
        return ": ".join(line.partition(": ")[2] for line in said)


class Run(Protocol):
    """Runs one program to its end."""

    def __call__(self, argv: Sequence[str], *, cwd: Path) -> Ended:
        """Run `argv` in `cwd`; a program that cannot be started ends with code 127."""
        ...


def run(argv: Sequence[str], *, cwd: Path) -> Ended:
    """Run a program on this machine; see `Run`. It does not see in which environment this one runs."""
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_THEIRS}
    # Else uv breaks its sentences at the width of a terminal, where there is none.
    environment["UV_NO_WRAP"] = "1"
    try:
        ended = subprocess.run(
            argv,
            cwd=cwd,
            env=environment,
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
