"""The lock: it is there, and uv agrees with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.library.adopt.trees import in_order, without, write
from tta_agent_coordination.adopt.findings import Finding, as_text
from tta_agent_coordination.adopt.lock import locked
from tta_agent_coordination.adopt.running import Ended
from tta_agent_coordination.adopt.tree import read_workspace


class Uv:
    """Stands for uv: keeps what it was asked, and ends as it was told to."""

    def __init__(self, code: int, output: str = "") -> None:
        """Set how it ends."""
        self.ended = Ended(code=code, output=output)
        self.asked: list[tuple[list[str], Path]] = []

    def __call__(self, argv: Sequence[str], *, cwd: Path) -> Ended:
        """Keep the command and its folder."""
        self.asked.append(([*argv], cwd))
        return self.ended


def looked(root: Path, uv: Uv) -> list[Finding]:
    """Return what the rule finds."""
    return [*locked(read_workspace(root), uv)]


def test_lock_that_uv_agrees_with_is_in_order(tmp_path: Path) -> None:
    """Broken: a current lock is a finding, or another folder's is looked at."""
    uv = Uv(0)
    assert looked(write(tmp_path, in_order()), uv) == []
    assert uv.asked == [(["uv", "lock", "--check"], tmp_path)]


def test_lock_that_is_missing_is_not_asked_about(tmp_path: Path) -> None:
    """Broken: uv makes a lock where a person should, or its error stands for the missing file."""
    uv = Uv(0)
    found = looked(write(tmp_path, without("uv.lock")), uv)
    assert as_text(found) == "uv.lock:1: lock.missing: does not exist; run `uv lock` and commit the file\n"
    assert uv.asked == []


def test_lock_that_uv_refuses_is_told_with_its_reason(tmp_path: Path) -> None:
    """Broken: a person does not learn why the lock is out of date."""
    uv = Uv(2, "Resolved 3 packages\nerror: The lockfile needs to be updated\n")
    assert as_text(looked(write(tmp_path, in_order()), uv)) == (
        "uv.lock:1: lock.current: `uv lock --check` ended with 2: The lockfile needs to be updated; "
        "run `uv lock` and commit the file; see that uv can be started and reach its index\n"
    )


def test_folder_that_is_no_workspace_has_no_lock(tmp_path: Path) -> None:
    """Broken: a wrong path is told twice, once as a missing lock."""
    uv = Uv(0)
    assert looked(write(tmp_path, without("uv.lock", "pyproject.toml")), uv) == []
    assert uv.asked == []
