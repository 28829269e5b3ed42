"""The recording `gh` as a program of its own, as rehearsed commands start it."""

import json
import subprocess
from pathlib import Path

from release.rehearsal import github
from release.rehearsal.github import CALLS


def test_it_runs_by_itself_and_writes_every_call_down(tmp_path: Path) -> None:
    """By the real one's name, on nothing but the standard library."""
    github.install(tmp_path / "bin", tmp_path / "state")
    words = ["release", "view", "v1", "--json", "assets", "--repo", "o/r"]
    (program,) = (tmp_path / "bin").iterdir()
    finished = subprocess.run([program, *words], capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stderr) == (1, "release not found\n")
    assert json.loads((tmp_path / "state" / CALLS).read_text(encoding="utf-8")) == words
