"""A store that is away, breaks connections, has forgotten the scripts, or stalls."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tests.library.conftest import MakeCoordinator
from tests.library.support.builders import INPUT, WORLD, drain, make_message, send_ids, take
from tests.library.support.peek import Peek
from tests.library.support.proxy import faulty_proxy
from tests.library.support.servers import Lane, RealLane, RealServer
from tta_agent_coordination import (
    InMemoryMetrics,
    MessageCoordinatorError,
    MessageType,
    RedisMessageCoordinator,
)
from tta_agent_coordination.coordinators import _subscriptions


def closed_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_send_to_an_absent_store_says_so() -> None:
    """Broken: no byte was written, so the sender may be told for certain; send never raises."""
    lane = RealLane(port=closed_port())
    metrics = InMemoryMetrics()
    client = lane.client(retry=Retry(NoBackoff(), 0))
    async with RedisMessageCoordinator(client, metrics=metrics) as coordinator:
        result = await coordinator.send_message(INPUT, WORLD, make_message())
    await lane.close()
    assert (result.delivered, result.cause) == (False, "store unavailable")
    assert result.error
    with pytest.raises(MessageCoordinatorError):
        result.raise_for_error()
    assert metrics.snapshot()["delivery"] == {"delivered_ok": 0, "delivered_error": 1}


async def test_other_operations_raise_when_the_store_is_absent() -> None:
    """Broken: an outage is an error with its cause, never an empty inbox or an unknown token."""
    lane = RealLane(port=closed_port())
    client = lane.client(retry=Retry(NoBackoff(), 0))
    async with RedisMessageCoordinator(client) as coordinator:
        calls: list[Any] = [
            coordinator.receive(WORLD),
            coordinator.ack(WORLD, "res_0000000000000000"),
            coordinator.nack(WORLD, "res_0000000000000000"),
            coordinator.extend(WORLD, "res_0000000000000000", 5),
            coordinator.release(WORLD, "res_0000000000000000"),
            coordinator.recover_pending(WORLD),
            coordinator.recover_pending(),
            coordinator.stats(WORLD),
            coordinator.explain("message-1", WORLD),
            coordinator.dead_letters(WORLD),
            coordinator.requeue_dead(WORLD, ["some-id"]),
            coordinator.purge_dead(WORLD),
            coordinator.unsubscribe(WORLD),
            coordinator.broadcast_message(INPUT, make_message()),
        ]
        for call in calls:
            with pytest.raises(MessageCoordinatorError) as caught:
                await call
            assert caught.value.__cause__ is not None
    await lane.close()


async def test_failed_subscription_is_told_to_who_awaits_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: awaiting a subscription that could not be stored raises; not awaiting it harms nobody."""
    monkeypatch.setattr(_subscriptions, "_RETRY_DELAYS_S", (0.01,))
    lane = RealLane(port=closed_port())
    coordinator = RedisMessageCoordinator(lane.client(retry=Retry(NoBackoff(), 0)))
    with pytest.raises(MessageCoordinatorError):
        await coordinator.subscribe_to_messages(WORLD, [MessageType.EVENT])
    await coordinator.aclose()
    await lane.close()


async def test_scripts_are_reloaded_when_the_server_forgot_them(
    coordinator: RedisMessageCoordinator, lane: Lane
) -> None:
    """Broken: a restart or a failover empties the script cache; no operation may fail for it."""
    client: Any = lane.client()

    async def forget() -> None:
        await client.script_flush()

    await forget()
    await send_ids(coordinator, ["message-1", "message-2"])
    await forget()
    received = await take(coordinator)
    await forget()
    assert await coordinator.extend(WORLD, received.token, 5) is True
    await forget()
    assert await coordinator.release(WORLD, received.token) is True
    await forget()
    assert await coordinator.nack(WORLD, (await take(coordinator)).token) is True
    await forget()
    assert await coordinator.ack(WORLD, (await take(coordinator)).token) is True
    await forget()
    results = await coordinator.broadcast_message(INPUT, make_message("to both"), [WORLD, INPUT])
    assert [result.delivered for result in results] == [True, True]
    await forget()
    assert (await coordinator.stats(WORLD)).depth == 2
    assert await drain(coordinator) == ["to both"]
    assert await drain(coordinator, INPUT) == ["to both"]


async def test_killed_connections_are_replaced(real_lane: RealLane) -> None:
    """Broken: a connection killed between or during operations costs no message and no caller."""
    admin: Any = real_lane.client()
    async with RedisMessageCoordinator(real_lane.client()) as coordinator:
        for n in range(10):
            await admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await send_ids(coordinator, [f"message-{n}"])
        delivered: list[str] = []
        while (received := await coordinator.receive(WORLD)) is not None:
            delivered.append(received.queue_message.message.message_id)
            await admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            assert await coordinator.ack(WORLD, received.token) is True
    assert delivered == [f"message-{n}" for n in range(10)]


async def test_connections_broken_in_flight_double_nothing(real_lane: RealLane) -> None:
    """Broken: whatever moment the network dies in, an accepted message is there once."""
    async with (
        faulty_proxy(real_lane.port) as proxy,
        RedisMessageCoordinator(real_lane.client(port=proxy.port)) as coordinator,
    ):
        await send_ids(coordinator, ["message-first"])
        accepted = ["message-first"]
        for turns in range(30):
            sending = asyncio.create_task(
                coordinator.send_message(INPUT, WORLD, make_message(f"message-{turns:02}"))
            )
            for _ in range(turns):
                await asyncio.sleep(0)
            proxy.break_connections()
            result = await sending
            if result.delivered:
                accepted.append(result.message_id)
            else:
                assert result.cause in {"outcome unknown", "store unavailable"}
        stored = await Peek(real_lane.client()).ids(WORLD)
        assert len(stored) == len(set(stored)), "a message is there twice"
        assert set(accepted) <= set(stored)
        assert sorted(await drain(coordinator)) == stored


@pytest.mark.slow
async def test_server_stalled_for_six_seconds_loses_and_doubles_nothing(private_server: RealServer) -> None:
    """Broken: a stall of 12 s turned one push into two; silence beyond the socket timeout doubles nothing."""
    lane = RealLane(port=private_server.port)
    async with RedisMessageCoordinator(lane.client()) as coordinator:
        await send_ids(coordinator, ["to ack", "to nack", "to receive"])
        to_ack, to_nack = await take(coordinator, WORLD, 600), await take(coordinator, WORLD, 600)
        private_server.pause()
        sending = asyncio.create_task(
            coordinator.send_message(INPUT, WORLD, make_message("sent in the stall"))
        )
        acking = asyncio.create_task(coordinator.ack(WORLD, to_ack.token))
        nacking = asyncio.create_task(coordinator.nack(WORLD, to_nack.token))
        receiving = asyncio.create_task(coordinator.receive(WORLD, 600))
        cancelled = asyncio.create_task(
            coordinator.send_message(INPUT, WORLD, make_message("cancelled in it"))
        )
        await asyncio.sleep(1)  # the stall itself, not a guess about anybody's progress
        cancelled.cancel()
        await asyncio.sleep(5)
        private_server.resume()
        assert (await sending).delivered
        assert await acking is True
        assert await nacking is True
        assert await receiving is not None
        await asyncio.gather(cancelled, return_exceptions=True)
        peek = Peek(lane.client())
        stored = await peek.ids(WORLD)
        assert stored.count("sent in the stall") == 1
        assert stored.count("cancelled in it") <= 1
        assert stored.count("to nack") == 1
        assert stored.count("to receive") == 1
        assert stored.count("to ack") == 0
        assert len(await peek.queue(WORLD)) == await peek.outstanding(WORLD)
    await lane.close()


async def test_restarted_server_without_memory_is_an_empty_inbox(
    make_coordinator: MakeCoordinator, lane: Lane
) -> None:
    """Broken: when the server lost everything, tokens are unknown and the coordinator goes on."""
    coordinator = make_coordinator()
    await send_ids(coordinator, ["message-1"])
    received = await take(coordinator)
    client: Any = lane.client()
    await client.flushall()
    assert await coordinator.ack(WORLD, received.token) is False
    assert await coordinator.receive(WORLD) is None
    await send_ids(coordinator, ["message-2"])
    assert await drain(coordinator) == ["message-2"]
