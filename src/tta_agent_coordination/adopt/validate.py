"""Whether a workspace builds from nothing: uv, the tests, ruff and pyright in a scratch copy."""

import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tta_agent_coordination.adopt.running import Run
from tta_agent_coordination.adopt.tree import MADE

__all__ = ["STEPS", "Verdict", "validate"]

STEPS: tuple[tuple[str, ...], ...] = (
    ("uv", "lock"),
    ("uv", "sync", "--all-extras"),
    ("uv", "run", "pytest", "-v"),
    ("uv", "run", "ruff", "check", "."),
    ("uv", "run", "pyright"),
)
"""In order; what follows a failed `uv` step of its own is not run."""

_COPIED = (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)


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
    with tempfile.TemporaryDirectory(prefix="tta-adopt-", ignore_cleanup_errors=True) as scratch:
        copy = Path(scratch, root.resolve().name)
        stopped = ""
        if missed := _copy(root, copy):
            stopped = "copying"
            yield Verdict(step=stopped, passed=False, detail=missed)
        for step in STEPS:
            command = " ".join(step)
            if stopped:
                yield Verdict(step=command, passed=None, detail=f"{stopped} failed")
                continue
            if step[1] == "run" and not _has(copy / ".venv", step[2]):
                detail = f"the root's environment has no {step[2]}; add it to [dependency-groups] dev"
                yield Verdict(step=command, passed=False, detail=detail)
                continue
            ended = run(step, cwd=copy)
            detail = f"exit {ended.code}: {ended.reason}" if ended.code else ended.last_line
            yield Verdict(step=command, passed=not ended.code, detail=detail)
            if ended.code and step[1] != "run":
                stopped = command


def _copy(root: Path, copy: Path) -> str:
    """Copy the workspace; return the first thing that could not be read, or nothing."""
    try:
        shutil.copytree(root, copy, symlinks=True, ignore=_left_out)
    except shutil.Error as error:
        source, _, why = error.args[0][0]
        return f"{Path(source).relative_to(root).as_posix()}: {why}"
    except OSError as error:
        return str(error)
    return ""


def _left_out(folder: str, names: list[str]) -> set[str]:
    """What is not copied of a folder: what tools make anew, and what is neither file, folder nor link."""
    made = {*(MADE - {".git"}), "uv.lock"}
    return {
        name
        for name in names
        if name in made or stat.S_IFMT(Path(folder, name).lstat().st_mode) not in _COPIED
    }


def _has(environment: Path, tool: str) -> bool:
    """Whether an environment has a program of its own: `uv run` would take any on PATH."""
    return any((environment / place).exists() for place in (f"bin/{tool}", f"Scripts/{tool}.exe"))
