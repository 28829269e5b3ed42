"""Whether a workspace builds from nothing: uv, the tests, ruff and pyright in a scratch copy."""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tta_agent_coordination.adopt.running import Run
from tta_agent_coordination.adopt.tree import IGNORED

__all__ = ["STEPS", "Verdict", "validate"]

STEPS: tuple[tuple[str, ...], ...] = (
    ("uv", "lock"),
    ("uv", "sync", "--all-extras"),
    ("uv", "run", "pytest", "-v"),
    ("uv", "run", "ruff", "check", "."),
    ("uv", "run", "pyright"),
)
"""In order; what follows a failed `uv` step of its own is not run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one step came to; `passed` is None where it was not run."""

    step: str
    passed: bool | None
    detail: str

    def __str__(self) -> str:
        """One line: the verdict, the command, the last thing it said."""
        word = {True: "passed", False: "FAILED", None: "not run"}[self.passed]
        return f"{word}: {self.step}" + (f": {self.detail}" if self.detail else "")


def validate(root: Path, run: Run) -> Iterator[Verdict]:
    """One verdict a step, as it ends; the workspace itself stays as it is.

    Args:
        root: The workspace. Its `.venv`, `uv.lock` and caches are not copied; links stay links.
        run: What starts the programs.
    """
    left_out = shutil.ignore_patterns(*(IGNORED - {".git"}), "uv.lock")
    with tempfile.TemporaryDirectory(prefix="tta-adopt-") as scratch:
        copy = Path(scratch, root.resolve().name)
        shutil.copytree(root, copy, symlinks=True, ignore=left_out)
        stopped = ""
        for step in STEPS:
            command = " ".join(step)
            if stopped:
                yield Verdict(step=command, passed=None, detail=f"{stopped} failed")
                continue
            ended = run(step, cwd=copy)
            detail = ended.last_line if not ended.code else f"exit {ended.code}: {ended.last_line}"
            yield Verdict(step=command, passed=not ended.code, detail=detail)
            if ended.code and step[1] != "run":
                stopped = command
