"""Every example runs as a newcomer would run it: embedded, and against a real server."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.library.support.cluster import started_cluster
from tests.library.support.servers import Lane, RealLane, RealServer

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))
CLUSTER = next(example for example in EXAMPLES if example.stem == "cluster")
ON_ONE_SERVER = [example for example in EXAMPLES if example is not CLUSTER]
LONGEST = 80
"""Lines of an example."""


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


@pytest.mark.parametrize("example", ON_ONE_SERVER, ids=[example.stem for example in ON_ONE_SERVER])
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
    text = example.read_text("utf-8")
    assert text.startswith('"""')
    assert f"python examples/{example.name}" in text, "the line to run it with"
    assert "pip install '.[embedded]'" in text or example is CLUSTER, "what it needs first, from a checkout"
    assert len(text.splitlines()) < LONGEST


def test_cluster_example_says_what_it_needs() -> None:
    """Broken: without a cluster a newcomer gets a traceback, or believes that it has shown something."""
    done = run(CLUSTER)
    assert done.returncode == 0
    assert "needs a Redis Cluster: set REDIS_URL" in done.stdout


def test_cluster_example_refuses_a_single_server(shared_server: RealServer) -> None:
    """Broken: the address of an ordinary server ends in a traceback."""
    done = run(CLUSTER, REDIS_URL=f"redis://127.0.0.1:{shared_server.port}/0")
    assert done.returncode == 1
    assert "needs a Redis Cluster, and redis://127.0.0.1" in done.stderr
    assert "Traceback" not in done.stderr


def test_cluster_example_runs_on_a_cluster(server_binary: str) -> None:
    """Broken: the program shown for a cluster fails on one, or spreads nothing."""
    with started_cluster(server_binary) as cluster:
        done = run(CLUSTER, REDIS_URL=f"redis://127.0.0.1:{cluster.nodes[0].port}")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "6 inboxes on 3 nodes\n"
