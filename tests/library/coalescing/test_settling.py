"""Outages, acknowledgements, closing, event loops and a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import redis.asyncio as aioredis
from redis.exceptions import ResponseError

from tests.library.coalescing.support import (
    BOX,
    Barrier,
    Recorded,
    barrier_in,
    behind,
    numbered,
    sending,
    turns,
    warm,
)
from tests.library.support.builders import INPUT, WORLD, drain, make_message, send_ids, take_many
from tests.library.support.cluster import Cluster, started_cluster
from tests.library.support.peek import Peek
from tests.library.support.proxy import FaultyProxy
from tests.library.support.servers import Lane, RealLane, RealServer, started_server
from tests.library.support.waiting import eventually
from tta_agent_coordination import (
    AgentId,
    AgentMessage,
    InMemoryMetrics,
    MessageResult,
    RedisMessageCoordinator,
    StoreUnavailableError,
)
from tta_agent_coordination.coordinators import _coalescing
from tta_agent_coordination.coordinators._coalescing import Coalescer


async def batch_on_the_wire(
    coordinator: RedisMessageCoordinator, proxy: FaultyProxy, ids: Sequence[str]
) -> list[asyncio.Task[MessageResult]]:
    """Start a first send that waits in the proxy, and those of `ids` behind it; let them go."""
    proxy.hold = 1
    held = proxy.held
    first = sending(coordinator, "message-first")
    await eventually("the first one is on the wire", lambda: proxy.held > held)
    waiting = [sending(coordinator, message_id) for message_id in ids]
    await turns(2)
    proxy.let_go()
    return [first, *waiting]


def errors_counted(coordinator: RedisMessageCoordinator) -> int:
    """Return how many failed sends the metrics know."""
    assert isinstance(coordinator.metrics, InMemoryMetrics)
    return coordinator.metrics.delivery.delivered_error


async def test_lost_reply_of_a_batch_doubles_nothing(proxy: FaultyProxy, real_lane: RealLane) -> None:
    """Broken: the batch that the client library sends again is carried out again."""
    client = real_lane.client(port=proxy.port)
    async with RedisMessageCoordinator(client) as coordinator:
        await warm(coordinator)
        tasks = await batch_on_the_wire(coordinator, proxy, numbered(5))
        await tasks[0]
        proxy.lose_replies = 2
        results = await asyncio.gather(*tasks)
        assert proxy.lose_replies == 0, "the fault this test is about never happened"
        assert [result.cause for result in results] == [None] * 6
        assert len(await Peek(real_lane.client()).queue(WORLD)) == 6
        assert await drain(coordinator) == ["message-first", *numbered(5)]


async def test_connection_that_breaks_under_a_batch_is_an_unknown_outcome_for_each(
    proxy: FaultyProxy, real_lane: RealLane
) -> None:
    """Broken: of a batch whose outcome nobody knows, somebody is told that it worked, or that it did not."""
    client: Any = real_lane.client(port=proxy.port, retry=None)
    async with RedisMessageCoordinator(client) as coordinator:
        await warm(coordinator)
        before = errors_counted(coordinator)
        tasks = await batch_on_the_wire(coordinator, proxy, numbered(5))
        await tasks[0]
        proxy.lose_replies = 1
        results = await asyncio.gather(*tasks)
        assert [result.cause for result in results] == [None] + ["outcome unknown"] * 5
        assert errors_counted(coordinator) - before == 5, "each message counts"
        await send_ids(coordinator, ["message-next"])
        assert await drain(coordinator) == ["message-first", *numbered(5), "message-next"]


async def test_batch_that_the_server_refuses_is_refused_to_each(private_server: RealServer) -> None:
    """Broken: a server that is full takes a part of a batch, or one refusal is told to one caller alone."""
    client = RealLane(port=private_server.port).client()
    peek = Peek(client)
    async with RedisMessageCoordinator(client) as coordinator:
        await warm(coordinator)
        with barrier_in(client) as barrier:
            tasks = await behind(coordinator, barrier, numbered(4))
            await peek.raw("CONFIG", "SET", "maxmemory", 1)
            barrier.is_open.set()
            results = await asyncio.gather(*tasks)
        assert len(barrier.scripts) == 2
        assert [result.cause for result in results] == ["store unavailable"] * 5
        await peek.raw("CONFIG", "SET", "maxmemory", 0)
        await send_ids(coordinator, ["message-next"])
        assert await drain(coordinator) == ["message-next"]
    await client.aclose()


async def test_server_that_dies_under_a_batch_fails_each_and_the_next_goes_on(server_binary: str) -> None:
    """Broken: after a crash in the middle of a batch the line stands still."""
    with started_server(server_binary) as server:
        client: Any = RealLane(port=server.port).client(retry=None)
        coordinator = RedisMessageCoordinator(client)
        await warm(coordinator)
        server.pause()
        tasks = [sending(coordinator, message_id) for message_id in numbered(6)]
        await turns(5)
        server.end()
        results = await asyncio.gather(*tasks)
        assert {result.delivered for result in results} == {False}
        assert {result.cause for result in results} <= {"outcome unknown", "store unavailable"}
        port = server.port
    with started_server(server_binary, port=port):
        await warm(coordinator)
        await send_ids(coordinator, ["message-next"])
        assert await drain(coordinator) == ["message-next"]
        await coordinator.aclose()
        await client.aclose()


async def acking(
    coordinator: RedisMessageCoordinator, barrier: Barrier, tokens: Sequence[str]
) -> list[asyncio.Task[bool]]:
    """Start acks of which all but the first have to wait for it."""
    tasks = [asyncio.create_task(coordinator.ack(WORLD, tokens[0]))]
    await barrier.holds(len(barrier.scripts) + 1)
    tasks += [asyncio.create_task(coordinator.ack(WORLD, token)) for token in tokens[1:]]
    await turns(2)
    return tasks


async def test_acks_share_a_script_and_each_gets_its_own_answer(
    client: aioredis.Redis, coordinator: RedisMessageCoordinator, peek: Peek
) -> None:
    """Broken: acks cost a script each, or one caller gets another's answer."""
    await send_ids(coordinator, numbered(4))
    tokens = [one.token for one in await take_many(coordinator, 4)]
    with barrier_in(client) as barrier:
        tasks = await acking(
            coordinator, barrier, [tokens[0], "res_gone", tokens[1], tokens[0], tokens[2], tokens[2]]
        )
        barrier.is_open.set()
        answers = await asyncio.gather(*tasks)
    assert answers == [True, False, True, False, True, False], "a second ack of a token is False"
    assert len(barrier.scripts) == 2
    assert list(await peek.reserved(WORLD)) == [tokens[3]]
    assert await coordinator.ack(WORLD, tokens[3])


async def test_ack_does_not_wait_for_sends(
    client: aioredis.Redis, coordinator: RedisMessageCoordinator
) -> None:
    """Broken: a slow send holds up who only wants to acknowledge."""
    await send_ids(coordinator, ["message-1"])
    (received,) = await take_many(coordinator, 1)
    with barrier_in(client) as barrier:
        tasks = await behind(coordinator, barrier, numbered(2))
        ack = asyncio.create_task(coordinator.ack(WORLD, received.token))
        await barrier.holds(2)
        barrier.is_open.set()
        assert await ack is True
        await asyncio.gather(*tasks)
    await drain(coordinator)


async def test_token_that_cannot_be_sent_fails_alone(
    client: aioredis.Redis, coordinator: RedisMessageCoordinator
) -> None:
    """Broken: one caller's broken token fails the acks of the others."""
    await send_ids(coordinator, numbered(2))
    tokens = [one.token for one in await take_many(coordinator, 2)]
    with barrier_in(client) as barrier:
        tasks = await acking(coordinator, barrier, [tokens[0], tokens[1], "res_\ud800"])
        barrier.is_open.set()
        first, second, broken = await asyncio.gather(*tasks, return_exceptions=True)
    assert (first, second) == (True, True)
    assert isinstance(broken, ValueError)


async def test_acks_do_not_depend_on_the_dead_letters(
    client: aioredis.Redis, coordinator: RedisMessageCoordinator, peek: Peek
) -> None:
    """Broken: acks that share a script touch what a lone one does not, and fail by it."""
    await send_ids(coordinator, numbered(3))
    tokens = [one.token for one in await take_many(coordinator, 3)]
    await peek.raw("SET", "ao:dlq:world:1", "damaged")
    with barrier_in(client) as barrier:
        tasks = await acking(coordinator, barrier, tokens)
        barrier.is_open.set()
        assert await asyncio.gather(*tasks) == [True, True, True]
    await peek.raw("DEL", "ao:dlq:world:1")


async def test_acks_that_fail_together_raise_an_error_each(
    client: aioredis.Redis, coordinator: RedisMessageCoordinator, peek: Peek
) -> None:
    """Broken: callers share one exception, whose traceback grows with each of them."""
    await send_ids(coordinator, numbered(3))
    tokens = [one.token for one in await take_many(coordinator, 3)]
    await peek.raw("RENAME", "ao:reserved:world:1", "aside")
    await peek.raw("SET", "ao:reserved:world:1", "damaged")
    with barrier_in(client) as barrier:
        tasks = await acking(coordinator, barrier, tokens)
        barrier.is_open.set()
        errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert len({id(error) for error in errors}) == 3
    for error in errors:
        assert isinstance(error, StoreUnavailableError)
        assert "WRONGTYPE" in str(error)
        assert isinstance(error.__cause__, ResponseError)
    await peek.raw("RENAME", "aside", "ao:reserved:world:1")
    assert await coordinator.ack_many(WORLD, tokens) == [True] * 3


async def test_lost_reply_of_acks_is_true_for_each(proxy: FaultyProxy, real_lane: RealLane) -> None:
    """Broken: acks that the client library sends again answer that the tokens are unknown."""
    client = real_lane.client(port=proxy.port)
    async with RedisMessageCoordinator(client) as coordinator:
        await warm(coordinator)
        await send_ids(coordinator, numbered(4))
        tokens = [one.token for one in await take_many(coordinator, 4)]
        proxy.hold = 1
        tasks = [asyncio.create_task(coordinator.ack(WORLD, token)) for token in tokens]
        await eventually("the first one is on the wire", lambda: proxy.held == 1)
        proxy.let_go()
        await tasks[0]
        proxy.lose_replies = 2
        assert await asyncio.gather(*tasks) == [True] * 4
        assert proxy.lose_replies == 0


async def test_cancelled_ack_is_withdrawn_and_leaves_the_others(
    client: aioredis.Redis, coordinator: RedisMessageCoordinator, peek: Peek
) -> None:
    """Broken: an ack that was given up before it left ends the reservation, or ends other callers' acks."""
    await send_ids(coordinator, numbered(4))
    tokens = [one.token for one in await take_many(coordinator, 4)]
    with barrier_in(client) as barrier:
        tasks = await acking(coordinator, barrier, tokens)
        tasks[2].cancel()
        tasks[0].cancel()
        await barrier.holds(2)
        barrier.is_open.set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert answers[1] is True
    assert answers[3] is True
    assert set(await peek.reserved(WORLD)) == {tokens[0], tokens[2]}
    assert await coordinator.ack_many(WORLD, [tokens[0], tokens[2]]) == [True, True]


async def test_closing_waits_for_all_who_wait(client: aioredis.Redis) -> None:
    """Broken: a coordinator is closed under the callers of a batch."""
    coordinator = RedisMessageCoordinator(client)
    await warm(coordinator)
    with barrier_in(client) as barrier:
        first, *waiting = await behind(coordinator, barrier, numbered(3))
        closing = asyncio.create_task(coordinator.aclose())
        await turns(5)
        assert not closing.done()
        first.cancel()
        await barrier.holds(2)
        again = asyncio.create_task(coordinator.aclose())
        await turns(5)
        assert not closing.done()
        assert not again.done()
        barrier.is_open.set()
        await asyncio.gather(closing, again)
        assert all(task.done() for task in waiting)
    await drain(coordinator)


def test_loops_share_no_line(sync_lane: tuple[asyncio.Runner, Lane]) -> None:
    """Broken: a loop that ended in the middle of a send leaves a line in which the next loop waits."""
    _, lane = sync_lane
    client = lane.client()
    coordinator = RedisMessageCoordinator(client)

    async def whole_life() -> None:
        await warm(coordinator)
        await asyncio.gather(*(sending(coordinator, message_id) for message_id in numbered(5)))
        assert await drain(coordinator) == numbered(5)
        await coordinator.aclose()
        await client.connection_pool.disconnect()

    for _ in range(2):
        asyncio.run(whole_life())
    abandoned = asyncio.new_event_loop()
    line = _coalescing._Line[Any, int, Any](abandoned, BOX)  # as a loop leaves it that ended under a send
    coordinator._sender._coalescer._lines[abandoned, BOX.name] = line
    abandoned.close()
    asyncio.run(whole_life())


async def test_settling_looks_at_its_own_loop_alone() -> None:
    """Broken: closing in one loop waits for a call of another, which it cannot see end."""
    recorded = Recorded()
    coalescer = Coalescer(recorded)
    other = asyncio.new_event_loop()
    coalescer._lines[other, BOX.name] = line = _coalescing._Line[int, int, int](other, BOX)
    line.waiting[other.create_future()] = _coalescing._Parcel([1], 1, 0)
    async with asyncio.timeout(10):
        await coalescer.settle()
    other.close()


@pytest.fixture(scope="module")
def cluster(server_binary: str) -> Iterator[Cluster]:
    """One cluster for the tests of this file."""
    with started_cluster(server_binary) as made:
        yield made


async def test_concurrent_calls_on_a_cluster_go_to_the_inboxes_own_nodes(cluster: Cluster) -> None:
    """Broken: a batch carries keys of two slots, which a cluster refuses."""
    client = await cluster.client().initialize()  # redis-py fails where its first commands are concurrent
    agents = [AgentId(type="world", instance=str(number)) for number in range(9)]
    async with RedisMessageCoordinator(client, hash_tags=True) as coordinator:

        def message(number: int) -> AgentMessage:
            return make_message(f"message-{number:03}")

        sent = await asyncio.gather(
            *(
                coordinator.send_message(INPUT, agent, message(number), dedup_id=str(number))
                for number in range(20)
                for agent in agents
            )
        )
        assert [result.error for result in sent] == [None] * len(sent)
        for agent in agents:
            held = await take_many(coordinator, 20, agent)
            assert [one.queue_message.message.message_id for one in held] == numbered(20)
            assert all(await asyncio.gather(*(coordinator.ack(agent, one.token) for one in held)))
    await client.execute_command("FLUSHALL", target_nodes=client.PRIMARIES)
    await client.aclose()
