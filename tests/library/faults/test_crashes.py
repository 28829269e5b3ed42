"""A client's process dies between any two awaits and between any two operations: nothing is lost.

One ordinary day of a consumer is run again and again; each time it ends at another place. Afterwards a new
process takes over, and every message that was accepted must be acknowledged once, delivered again, or a dead
letter.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import pytest
import redis.asyncio as aioredis

from tests.library.conftest import MakeCoordinator
from tests.library.support.builders import INPUT, NARRATIVE, WORLD, drain, id_of, ids_of, make_message
from tests.library.support.commands import Crash, count_commands, crash_after, crash_before
from tests.library.support.peek import Peek
from tests.library.support.servers import Lane, RealLane
from tta_agent_coordination import FailureType, RedisMessageCoordinator
from tta_agent_coordination.testing import ManualClock


@dataclass
class Day:
    """What the process that died knew: what it was promised, and what it was about to do."""

    accepted: list[str] = field(default_factory=list[str])
    perhaps_accepted: list[str] = field(default_factory=list[str])
    acknowledged: list[str] = field(default_factory=list[str])
    perhaps_acknowledged: list[str] = field(default_factory=list[str])

    async def send(self, coordinator: RedisMessageCoordinator, message_id: str) -> None:
        """Send one message."""
        self.perhaps_accepted.append(message_id)
        if (await coordinator.send_message(INPUT, WORLD, make_message(message_id))).delivered:
            self.accepted.append(message_id)

    async def ack(self, coordinator: RedisMessageCoordinator, message_id: str, token: str) -> None:
        """Acknowledge one message."""
        self.perhaps_acknowledged.append(message_id)
        if await coordinator.ack(WORLD, token):
            self.acknowledged.append(message_id)

    async def live(self, coordinator: RedisMessageCoordinator, clock: ManualClock) -> None:
        """Send, receive and settle in every way there is."""
        for n in range(5):
            await self.send(coordinator, f"message-{n}")
        for n in range(5):
            received = await coordinator.receive(WORLD, 5)
            assert received is not None
            message_id = str(id_of(received))
            match n:
                case 0:
                    await self.ack(coordinator, message_id, received.token)
                case 1:
                    await coordinator.nack(WORLD, received.token, FailureType.TRANSIENT, "later")
                case 2:
                    await coordinator.nack(WORLD, received.token, FailureType.PERMANENT, "never")
                case 3:
                    await coordinator.extend(WORLD, received.token, 1)
                case _:
                    clock.advance(6)
        await coordinator.recover_pending(WORLD)
        letters = await coordinator.dead_letters(WORLD)
        await coordinator.requeue_dead(WORLD, [letter.id for letter in letters])
        received = await coordinator.receive(WORLD, 5)
        if received is not None:
            await coordinator.release(WORLD, received.token)
        received = await coordinator.receive(WORLD, 5)
        if received is not None:
            message_id = str(id_of(received))
            self.perhaps_acknowledged.append(message_id)
            if await coordinator.ack(
                WORLD, received.token, then_send=[(NARRATIVE, make_message("follow-up"))]
            ):
                self.acknowledged.append(message_id)


async def hold_the_promises(
    day: Day, survivor: RedisMessageCoordinator, clock: ManualClock, peek: Peek
) -> None:
    """Take over as a new process, and compare what is left with what the dead one knew."""
    clock.advance(100)
    left = await drain(survivor)
    dead = [str(dead_id) for dead_id in ids_of(await survivor.dead_letters(WORLD))]
    found = left + dead
    assert len(found) == len(set(found)), f"twice: {found}"
    assert set(found) <= set(day.perhaps_accepted), "a message that nobody sent"
    lost = set(day.accepted) - set(found) - set(day.perhaps_acknowledged)
    assert not lost, f"lost: {lost}"
    assert not set(found) & set(day.acknowledged), "acknowledged and still there"
    assert await peek.queue(WORLD) == []
    follow_ups = await drain(survivor, NARRATIVE)
    assert len(follow_ups) <= 1


CRASHES = [pytest.param(crash_before, id="before"), pytest.param(crash_after, id="after")]


@pytest.mark.parametrize("crash", CRASHES)
async def test_crash_at_any_command_loses_nothing(
    lane: Lane,
    clock: ManualClock,
    make_coordinator: MakeCoordinator,
    crash: Callable[[aioredis.Redis, int], AbstractContextManager[None]],
) -> None:
    """Broken: somewhere between two commands a message was neither here nor there."""
    client = lane.client()
    await Day().live(make_coordinator(key_prefix="warm"), clock)
    with count_commands(client) as counted:
        await Day().live(make_coordinator(client=client, key_prefix="whole"), clock)
    total = len(counted.names)
    assert total >= 20
    for nth in range(total):
        prefix = f"day{nth}"
        client = lane.client()
        day = Day()
        with crash(client, nth), pytest.raises(Crash):
            await day.live(make_coordinator(client=client, key_prefix=prefix), clock)
        survivor = make_coordinator(key_prefix=prefix)
        await hold_the_promises(day, survivor, clock, Peek(lane.client(), prefix))


async def test_cancellation_at_any_await_loses_nothing(real_lane: RealLane, clock: ManualClock) -> None:
    """Broken: cancelling a task at one of its awaits lost or doubled a message."""
    turns, finished = 0, False
    while not finished:
        prefix = f"turn{turns}"
        day = Day()
        coordinator = RedisMessageCoordinator(real_lane.client(), prefix, clock=clock)
        task = asyncio.create_task(day.live(coordinator, clock))
        for _ in range(turns):
            await asyncio.sleep(0)
        finished = task.done()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await hold_the_promises(day, coordinator, clock, Peek(real_lane.client(), prefix))
        turns += 1 + turns // 10
    assert turns > 20
