"""A store that says no: a key of the wrong type, a server that is full. Nothing is half done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis.asyncio as aioredis

from tests.library.conftest import MakeCoordinator
from tests.library.support.builders import INPUT, NARRATIVE, WORLD, drain, make_message, send_ids, take
from tests.library.support.peek import Peek
from tests.library.support.servers import RealLane, RealServer
from tta_agent_coordination import (
    FailureType,
    MessageCoordinatorError,
    MessagePriority,
    RedisMessageCoordinator,
)
from tta_agent_coordination.testing import ManualClock

type Operation = Callable[[RedisMessageCoordinator, str], Awaitable[Any]]


async def _send(coordinator: RedisMessageCoordinator, token: str) -> None:
    del token
    result = await coordinator.send_message(INPUT, WORLD, make_message("refused"))
    assert result.cause != "queue full"
    result.raise_for_error()


OPERATIONS: dict[str, Operation] = {
    "send": _send,
    "receive": lambda coordinator, _: coordinator.receive(WORLD),
    "ack": lambda coordinator, token: coordinator.ack(WORLD, token),
    "ack_then_send": lambda coordinator, token: coordinator.ack(
        WORLD, token, then_send=[(NARRATIVE, make_message("follow-up"))]
    ),
    "nack": lambda coordinator, token: coordinator.nack(WORLD, token, error="x"),
    "nack_permanent": lambda coordinator, token: coordinator.nack(WORLD, token, FailureType.PERMANENT),
    "extend": lambda coordinator, token: coordinator.extend(WORLD, token, 60),
    "release": lambda coordinator, token: coordinator.release(WORLD, token),
    "recover": lambda coordinator, _: coordinator.recover_pending(WORLD),
    "purge": lambda coordinator, _: coordinator.purge_dead(WORLD),
}
FAMILIES = [
    "queue",
    "sched:high",
    "sched:normal",
    "sched:low",
    "reserved",
    "reserved_deadlines",
    "dlq",
    "inflight",
    "lapses",
    "clock",
    "dlq_info",
]


def _key(peek: Peek, family: str) -> str:
    levels = {"sched:high": 9, "sched:normal": 5, "sched:low": 1}
    return peek.level_key(WORLD, levels[family]) if family in levels else peek.key(family, WORLD)


async def lived_in(coordinator: RedisMessageCoordinator, clock: ManualClock) -> str:
    """Fill an inbox with held, run out, waiting, late and dead messages; return a held token."""
    await send_ids(coordinator, ["to hold", "to expire", "waiting"])
    token = (await take(coordinator, WORLD, 600)).token
    await take(coordinator, WORLD, 1)
    urgent = make_message("expired", priority=MessagePriority.HIGH)
    await coordinator.send_message(INPUT, WORLD, urgent, expires_in=1)
    await coordinator.nack(WORLD, (await take(coordinator, WORLD, 600)).token, FailureType.PERMANENT)
    await coordinator.send_message(INPUT, WORLD, urgent, expires_in=1)
    clock.advance(5)
    return token


@pytest.mark.leaves_keys("*")
@pytest.mark.parametrize("family", FAMILIES)
async def test_wrong_type_changes_nothing(
    make_coordinator: MakeCoordinator, client: aioredis.Redis, clock: ManualClock, family: str
) -> None:
    """Broken: a script met a key of the wrong type after its first write, which cannot be taken back."""
    refused: list[str] = []
    for operation, run in OPERATIONS.items():
        prefix = f"{operation}-{family}".replace(":", "-")
        coordinator, peek = make_coordinator(client=client, key_prefix=prefix), Peek(client, prefix)
        token = await lived_in(coordinator, clock)
        key = _key(peek, family)
        await peek.raw("DEL", key)
        await peek.raw("RPUSH" if family == "clock" else "SET", key, "of the wrong type")
        before = _data(await peek.snapshot())
        try:
            await run(coordinator, token)
            problem = None
        except MessageCoordinatorError as raised:
            problem = str(raised)
        if problem is not None:
            assert "WRONGTYPE" in problem
            assert _data(await peek.snapshot()) == before, f"{operation} changed something before it failed"
            refused.append(operation)
        else:
            kept = await peek.raw("TYPE", key) in {b"string", b"list"}
            assert kept, f"{operation} removed a {family} that it could not read"
        await peek.raw("FLUSHALL")
    assert refused, f"no operation reads {family}"


def _data(snapshot: dict[str, Any]) -> dict[str, Any]:
    """Return a snapshot without the lanes and the index, which hold no messages."""
    return {key: value for key, value in snapshot.items() if key.split(":")[1] not in {"op", "inboxes"}}


async def fill(peek: Peek) -> None:
    """Make the server refuse every command that needs memory."""
    await peek.raw("CONFIG", "SET", "maxmemory", "1")


async def test_ack_works_on_a_full_server(private_server: RealServer) -> None:
    """Broken: who cannot acknowledge on a full server can never make it emptier."""
    lane = RealLane(port=private_server.port)
    peek = Peek(lane.client())
    async with RedisMessageCoordinator(lane.client()) as coordinator:
        await send_ids(coordinator, ["message-1", "message-2", "message-3", "message-4", "message-5"])
        held = [await take(coordinator, WORLD, 600) for _ in range(4)]
        await coordinator.extend(WORLD, held[0].token, 700)
        for warm in (coordinator.nack, coordinator.release):
            await warm(NARRATIVE, "res_unknown")
        await fill(peek)
        assert await coordinator.ack(WORLD, held[0].token) is True
        assert await coordinator.ack(WORLD, held[0].token) is False
        assert await coordinator.nack(WORLD, held[1].token, error="e" * 2_000) is True
        assert await coordinator.release(WORLD, held[2].token) is True
        assert await coordinator.extend(WORLD, held[3].token, 700) is True
        assert (await take(coordinator)).queue_message.message.message_id == "message-3"
        assert sorted(await peek.ids(WORLD)) == ["message-2", "message-3", "message-4", "message-5"]
        assert len(await peek.queue(WORLD)) == 4
    await lane.close()


async def test_send_to_a_full_server_stores_nothing(private_server: RealServer) -> None:
    """Broken: the first write of a send is the one that a full server refuses; no half of a message stays."""
    lane = RealLane(port=private_server.port)
    peek = Peek(lane.client())
    async with RedisMessageCoordinator(lane.client()) as coordinator:
        await send_ids(coordinator, ["message-1"])
        before = await peek.snapshot()
        await fill(peek)
        result = await coordinator.send_message(INPUT, WORLD, make_message("message-2"), dedup_id="order 7")
        assert (result.delivered, result.cause) == (False, "store unavailable")
        assert await peek.snapshot() == before
        await peek.raw("CONFIG", "SET", "maxmemory", "0")
        again = await coordinator.send_message(INPUT, WORLD, make_message("message-2"), dedup_id="order 7")
        assert (again.delivered, again.cause) == (True, None)
        assert await drain(coordinator) == ["message-1", "message-2"]
    await lane.close()


async def test_reclaim_works_on_a_full_server(private_server: RealServer, clock: ManualClock) -> None:
    """Broken: a full server must still hand dead consumers' messages to living ones, and bury poison."""
    lane = RealLane(port=private_server.port)
    peek = Peek(lane.client())
    async with RedisMessageCoordinator(lane.client(), clock=clock, max_deliveries=2) as coordinator:
        await send_ids(coordinator, ["message-1"])
        await take(coordinator, WORLD, 1)
        clock.advance(2)
        await fill(peek)
        await take(coordinator, WORLD, 1)
        clock.advance(2)
        assert await coordinator.receive(WORLD) is None
        assert len(await peek.dead(WORLD)) == 1
    await lane.close()


async def test_ack_then_send_on_a_full_server_keeps_the_lease(private_server: RealServer) -> None:
    """Broken: all or nothing also when the follow-up cannot be stored."""
    lane = RealLane(port=private_server.port)
    peek = Peek(lane.client())
    async with RedisMessageCoordinator(lane.client()) as coordinator:
        await send_ids(coordinator, ["message-1"])
        received = await take(coordinator, WORLD, 600)
        await fill(peek)
        with pytest.raises(MessageCoordinatorError):
            await coordinator.ack(WORLD, received.token, then_send=[(NARRATIVE, make_message("follow-up"))])
        assert list(await peek.reserved(WORLD)) == [received.token]
        assert await peek.outstanding(NARRATIVE) == 0
        assert await coordinator.ack(WORLD, received.token) is True
    await lane.close()


async def test_server_time_is_used_without_a_clock(real_lane: RealLane) -> None:
    """Broken: without a manual clock every score is the server's own TIME."""
    peek = Peek(real_lane.client())
    async with RedisMessageCoordinator(real_lane.client()) as coordinator:
        first = await peek.raw("TIME")
        await send_ids(coordinator, ["message-1"])
        second = await peek.raw("TIME")
        (score,) = (await peek.level(WORLD, 5)).values()
        assert first[0] * 1_000_000 + first[1] <= score <= second[0] * 1_000_000 + second[1]
        assert await drain(coordinator) == ["message-1"]
