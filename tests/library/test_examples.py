"""Every example runs as a newcomer would run it: embedded, and against a real server."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.library.support.servers import Lane, RealLane

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))


def run(example: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one example in a process of its own, with warnings as errors."""
    inherited = {
        name: value for name, value in os.environ.items() if name not in {"REDIS_URL", "PYTHONWARNINGS"}
    }
    return subprocess.run(
        [sys.executable, "-W", "error", str(example)],
        env={**inherited, **environment, "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_there_are_examples() -> None:
    """Broken: README's first program is one of these files."""
    assert "basic_usage.py" in {example.name for example in EXAMPLES}


@pytest.mark.parametrize("example", EXAMPLES, ids=[example.stem for example in EXAMPLES])
@pytest.mark.leaves_keys("*")
def test_example_runs(example: Path, sync_lane: tuple[asyncio.Runner, Lane]) -> None:
    """Broken: a program that the documentation shows fails on a reader's machine."""
    _, lane = sync_lane
    where = {"REDIS_URL": lane.url} if isinstance(lane, RealLane) else {}
    done = run(example, **where)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip(), "an example shows what it does"
    assert not done.stderr


@pytest.mark.parametrize("example", EXAMPLES, ids=[example.stem for example in EXAMPLES])
def test_example_explains_itself(example: Path) -> None:
    """Broken: a newcomer reads the example before running it."""
    assert example.read_text("utf-8").startswith('"""')
