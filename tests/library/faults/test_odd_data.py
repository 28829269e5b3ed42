"""Inboxes with what none of our scripts wrote: scores without an end, keys that were damaged meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from tests.library.support.builders import INPUT, WORLD, drain, id_of, make_message, send_ids, take
from tests.library.support.peek import Peek
from tests.library.support.waiting import eventually
from tta_agent_coordination import MessagePriority, RedisMessageCoordinator

WAIT_S = 0.01
"""A wait that is over at once."""


async def park(coordinator: RedisMessageCoordinator, peek: Peek, place: str) -> None:
    """Put one message where no time reaches it, as somebody does by hand."""
    await send_ids(coordinator, ["parked"])
    key = peek.level_key(WORLD, 5)
    if place == "deadline":
        await take(coordinator)
        key = peek.key("reserved_deadlines", WORLD)
    (member,) = await peek.raw("ZRANGE", key, 0, -1)
    await peek.raw("ZADD", key, "+inf", member)


@pytest.mark.parametrize("place", ["level", "deadline"])
async def test_who_waits_is_not_stopped_by_a_message_that_is_never_due(
    coordinator: RedisMessageCoordinator, peek: Peek, place: str
) -> None:
    """Broken: a score of infinity, set by hand, ends every receive that waits, and with it a worker."""
    await park(coordinator, peek, place)
    assert await coordinator.receive(WORLD, wait=WAIT_S) is None
    assert await coordinator.receive_many(WORLD, 2, wait=WAIT_S) == []
    await send_ids(coordinator, ["message-1"])
    assert id_of(await coordinator.receive(WORLD, wait=WAIT_S)) == "message-1"
    assert (await coordinator.stats(WORLD)).depth == 2


async def test_marker_is_followed_where_another_level_is_damaged(
    coordinator: RedisMessageCoordinator, peek: Peek
) -> None:
    """Broken: the script fails behind its last write, and nobody knows of the lease on a good message."""
    await coordinator.send_message(INPUT, WORLD, make_message(priority=MessagePriority.HIGH))
    ((entry, score),) = (await peek.level(WORLD, 9)).items()
    await peek.raw("DEL", peek.level_key(WORLD, 9), peek.key("queue", WORLD), peek.key("wake", WORLD))
    task = asyncio.create_task(coordinator.receive(WORLD, wait=60))
    await eventually("the marker is read", lambda: coordinator._waker._blocked is not None)
    await peek.raw("SET", peek.level_key(WORLD, 1), "of the wrong type")
    await peek.raw("ZADD", peek.level_key(WORLD, 9), score, entry)
    await peek.raw("ZADD", peek.key("wake", WORLD), 0, "1")
    async with asyncio.timeout(30):
        assert id_of(await task) == "message-1"
    await peek.raw("DEL", peek.level_key(WORLD, 1))
    assert await coordinator.recover_pending(WORLD) == 0
    assert await drain(coordinator) == []
