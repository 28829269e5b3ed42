"""Owns a Redis Cluster for the tests: three servers of our own on loopback ports, joined by hand.

Joined with plain commands that Redis 6.2 knows too, so no `redis-cli` is needed.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from redis.asyncio.cluster import RedisCluster

from tests.library.support.servers import RealServer, started_server

__all__ = ["Cluster", "started_cluster"]

NODES = 3
SLOTS = 16_384
BUS_OFFSET = 10_000
"""A node's bus listens on its port plus this, so a port above 55,535 has none."""
JOIN_DEADLINE_S = 20.0
START_ATTEMPTS = 20


@dataclass(kw_only=True)
class Cluster:
    """Three primaries that share all slots."""

    nodes: list[RealServer]

    def client(self) -> RedisCluster:
        """Return a new client of the cluster; the caller closes it."""
        return RedisCluster(host="127.0.0.1", port=self.nodes[0].port)

    @contextlib.contextmanager
    def node(self, index: int) -> Generator[Any]:
        """A plain client of one node."""
        with _plain(self.nodes[index].port) as client:
            yield client

    def owner_of(self, slot: int) -> int:
        """Return the index of the node that serves a slot."""
        with self.node(0) as client:
            for low, high, primary, *_ in client.execute_command("CLUSTER SLOTS"):
                if low <= slot <= high:
                    return [server.port for server in self.nodes].index(int(primary[1]))
        raise AssertionError(f"no node serves slot {slot}")

    def move(self, slot: int, target: int) -> None:
        """Move a slot with its keys to another node, as an operator's resharding does."""
        source = self.owner_of(slot)
        with self.node(source) as giver, self.node(target) as taker:
            ids = {at: client.execute_command("CLUSTER MYID") for at, client in ((0, giver), (1, taker))}
            taker.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
            giver.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
            while keys := giver.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
                port = self.nodes[target].port
                giver.execute_command("MIGRATE", "127.0.0.1", port, "", 0, 5000, "KEYS", *keys)
            for client in (taker, giver):
                client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[1])


@contextlib.contextmanager
def _plain(port: int) -> Generator[Any]:
    client: Any = redis.Redis(host="127.0.0.1", port=port)
    try:
        yield client
    finally:
        client.close()


def _with_bus(binary: str, stack: contextlib.ExitStack) -> RealServer:
    """Start a server whose port leaves room for its bus."""
    for _ in range(START_ATTEMPTS):
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="tta-cluster-"))
        file = str(Path(folder) / "nodes.conf")
        trial = contextlib.ExitStack()
        server = trial.enter_context(
            started_server(binary, "--cluster-enabled", "yes", "--cluster-config-file", file)
        )
        if server.port + BUS_OFFSET <= 65_535:
            stack.push(trial)
            return server
        trial.close()
    raise AssertionError(f"no free port below {65_535 - BUS_OFFSET} in {START_ATTEMPTS} tries")


def _is_joined(port: int) -> bool:
    with _plain(port) as client:
        info: str = client.execute_command("CLUSTER", "INFO").decode()
        return "cluster_state:ok" in info and f"cluster_known_nodes:{NODES}" in info


@contextlib.contextmanager
def started_cluster(binary: str) -> Generator[Cluster]:
    """Run a cluster of our own for the length of a block.

    Raises:
        AssertionError: The nodes did not join within `JOIN_DEADLINE_S`.
    """
    with contextlib.ExitStack() as stack:
        nodes = [_with_bus(binary, stack) for _ in range(NODES)]
        for index, node in enumerate(nodes):
            with _plain(node.port) as client:
                mine = range(SLOTS * index // NODES, SLOTS * (index + 1) // NODES)
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
                client.execute_command("CLUSTER", "ADDSLOTS", *mine)
                client.execute_command("CLUSTER", "MEET", "127.0.0.1", nodes[0].port)
        deadline = time.monotonic() + JOIN_DEADLINE_S
        while not all(_is_joined(node.port) for node in nodes):
            assert time.monotonic() < deadline, "the nodes did not join; start them by hand to see why"
            time.sleep(0.05)
        yield Cluster(nodes=nodes)
