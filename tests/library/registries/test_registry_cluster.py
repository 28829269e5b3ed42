"""The registry on a real Redis Cluster: all its keys share a slot, and events reach every node's clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio.cluster import RedisCluster

from tests.library.registries.agents import FakeAgent
from tests.library.registries.test_liveness import ONE, names, noting, sweep
from tests.library.support.cluster import Cluster, started_cluster
from tta_agent_coordination import AgentEventKind, AgentId, RedisAgentRegistry
from tta_agent_coordination.testing import ManualClock


@pytest.fixture(scope="module")
def cluster(server_binary: str) -> Iterator[Cluster]:
    """One cluster for the tests of this file."""
    with started_cluster(server_binary) as made:
        yield made


@pytest.fixture
async def cluster_client(cluster: Cluster) -> AsyncIterator[RedisCluster]:
    """A client of the cluster, which is empty before and after."""
    client = cluster.client()
    yield client
    await client.execute_command("FLUSHALL", target_nodes=RedisCluster.PRIMARIES)
    await client.aclose()


async def test_cluster_client_without_hash_tags_is_refused(cluster_client: RedisCluster) -> None:
    """Broken: the first script fails with CROSSSLOT, in production."""
    with pytest.raises(ValueError, match="hash_tags=True"):
        RedisAgentRegistry(cluster_client)


async def test_registry_works_on_a_cluster(cluster_client: RedisCluster, clock: ManualClock) -> None:
    """Broken: a key outside the registry's slot, or an event that only one node's clients see."""
    options = {"hash_tags": True, "clock": clock}
    ours = RedisAgentRegistry(cluster_client, **options)  # type: ignore[arg-type]
    theirs = RedisAgentRegistry(cluster_client, **options)  # type: ignore[arg-type]
    deaths = noting(theirs)
    async with theirs.watch() as watch:
        for number in range(1, 13):
            await ours.register(FakeAgent(instance=str(number)))
        await theirs.register(FakeAgent("other"))
        assert len(await names(theirs)) == 13
        await ours.set_draining(ONE)
        await ours.deregister(AgentId(type="world", instance="12"))
        for _ in range(4):
            clock.advance(15)
            await sweep(theirs)
        assert await names(theirs) == {"other:1": "alive"}
        assert len(deaths) == 11
        kinds: list[AgentEventKind] = []
        while kinds.count(AgentEventKind.DIED) < 11:
            kinds.append((await asyncio.wait_for(anext(watch), timeout=20)).kind)
    assert kinds.count(AgentEventKind.REGISTERED) == 13
    assert kinds.count(AgentEventKind.DEREGISTERED) == 1
    await ours.aclose()
    await theirs.aclose()
