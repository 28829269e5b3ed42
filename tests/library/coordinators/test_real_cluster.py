"""The coordinator and the breaker on a real Redis Cluster of three nodes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from redis.asyncio.cluster import RedisCluster
from redis.crc import key_slot

from tests.library.support.builders import INPUT, drain, make_message
from tests.library.support.cluster import Cluster, started_cluster
from tests.library.support.waiting import eventually
from tta_agent_coordination import (
    AgentId,
    CircuitBreaker,
    CircuitBreakerOpenError,
    CircuitBreakerState,
    MessageType,
    RedisMessageCoordinator,
)
from tta_agent_coordination.testing import ManualClock

AGENTS = [AgentId(type="world", instance=str(number)) for number in range(12)]


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


def nodes_of(cluster: Cluster, agents: list[AgentId]) -> set[int]:
    """Return the nodes that hold the agents' inboxes."""
    return {cluster.owner_of(key_slot(f"{agent.type}:{agent.instance}".encode())) for agent in agents}


async def test_agents_spread_and_every_operation_works(
    cluster: Cluster, cluster_client: RedisCluster
) -> None:
    """Broken: a key outside its inbox's slot, or a pipeline for one node, fails on a cluster alone."""
    async with RedisMessageCoordinator(cluster_client, hash_tags=True) as coordinator:
        assert nodes_of(cluster, AGENTS) == {0, 1, 2}
        for agent in AGENTS:
            await coordinator.subscribe_to_messages(agent, [MessageType.EVENT])
        sent = await asyncio.gather(
            *(
                coordinator.send_message(INPUT, agent, make_message(f"direct-{agent.instance}"), dedup_id="d")
                for agent in AGENTS
            )
        )
        assert [result.error for result in sent] == [None] * len(AGENTS)
        event = make_message("broadcast", message_type=MessageType.EVENT)
        told = await coordinator.broadcast_message(INPUT, event)
        assert [result.delivered for result in told] == [True] * len(AGENTS)
        for agent in AGENTS:
            first = await coordinator.receive(agent)
            assert first is not None
            assert first.queue_message.message.message_id == f"direct-{agent.instance}"
            assert await coordinator.nack(agent, first.token) is True
            assert (await coordinator.stats(agent)).depth == 2
            assert await drain(coordinator, agent) == ["broadcast"]
            assert await coordinator.explain(f"direct-{agent.instance}", agent)
        assert await coordinator.recover_pending() == 0


async def test_a_node_that_forgot_the_scripts_is_told_them_again(
    cluster: Cluster, cluster_client: RedisCluster
) -> None:
    """Broken: after a failover one node of three has no scripts, alone and in the middle of a pipeline."""
    async with RedisMessageCoordinator(cluster_client, hash_tags=True) as coordinator:
        await coordinator.broadcast_message(INPUT, make_message("message-1"), AGENTS)
        with cluster.node(1) as client:
            client.execute_command("SCRIPT", "FLUSH")
        told = await coordinator.broadcast_message(INPUT, make_message("message-2"), AGENTS)
        assert [result.error for result in told] == [None] * len(AGENTS)
        with cluster.node(2) as client:
            client.execute_command("SCRIPT", "FLUSH")
        for agent in AGENTS:
            assert await drain(coordinator, agent) == ["message-1", "message-2"]


async def test_an_inbox_that_moves_to_another_node_loses_nothing(
    cluster: Cluster, cluster_client: RedisCluster
) -> None:
    """Broken: a resharding in the middle of a lease makes the token worthless or hides what waits."""
    agent = AGENTS[0]
    async with RedisMessageCoordinator(cluster_client, hash_tags=True) as coordinator:
        for number in range(3):
            await coordinator.send_message(INPUT, agent, make_message(f"message-{number}"))
        held = await coordinator.receive(agent, 60)
        assert held is not None
        slot = key_slot(f"{agent.type}:{agent.instance}".encode())
        before = cluster.owner_of(slot)
        cluster.move(slot, (before + 1) % 3)
        assert cluster.owner_of(slot) != before
        assert await coordinator.ack(agent, held.token) is True
        assert await drain(coordinator, agent) == ["message-1", "message-2"]


async def test_the_breaker_is_shared_over_a_cluster(cluster: Cluster, cluster_client: RedisCluster) -> None:
    """Broken: a breaker whose keys lie in two slots works locally and shares nothing."""

    async def fail() -> None:
        raise ConnectionError("no answer")

    other_client = cluster.client()
    async with (
        CircuitBreaker(cluster_client, "model:api", hash_tags=True) as breaker,
        CircuitBreaker(other_client, "model:api", hash_tags=True) as other,
    ):
        for _ in range(5):
            with pytest.raises(ConnectionError):
                await breaker.call(fail)

        async def others_refuse() -> bool:
            await other.initialize()
            return await other.get_state() is CircuitBreakerState.OPEN

        await eventually("the other process's breaker is open", others_refuse)
        with pytest.raises(CircuitBreakerOpenError):
            await other.call(fail)
    await other_client.aclose()


async def test_leases_are_renewed_on_the_node_of_their_inbox(
    cluster: Cluster, cluster_client: RedisCluster
) -> None:
    """Broken: on a cluster a worker's leases run out while it works, or it does not start."""
    assert nodes_of(cluster, AGENTS) == {0, 1, 2}
    clock = ManualClock()
    async with RedisMessageCoordinator(cluster_client, hash_tags=True, clock=clock) as coordinator:
        held: list[tuple[AgentId, str]] = []
        for agent in AGENTS:
            await coordinator.send_message(INPUT, agent, make_message("message-1"))
            received = await coordinator.receive(agent, 0.3)
            assert received is not None
            held.append((agent, received.token))
        clock.advance(0.2)
        keepers = [coordinator.lease_keeper(agent, 0.3) for agent in AGENTS]
        for keeper, (_, token) in zip(keepers, held, strict=True):
            keeper.keep(token, 60)

        client: Any = cluster_client

        async def renewed() -> bool:
            boxes = [f"{{{agent.type}:{agent.instance}}}" for agent in AGENTS]
            ends = [
                await client.zscore(f"ao:reserved_deadlines:{box}", token)
                for box, (_, token) in zip(boxes, held, strict=True)
            ]
            return ends == [clock.now_us() + 300_000] * len(AGENTS)

        try:
            await eventually("every lease is renewed", renewed)
        finally:
            for keeper in keepers:
                keeper.close()
        for agent, token in held:
            assert await coordinator.ack(agent, token) is True
