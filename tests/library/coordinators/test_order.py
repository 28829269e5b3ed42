"""Order: HIGH, NORMAL, LOW, and first in, first out inside a level, whatever the clock does."""

from __future__ import annotations

import random

import pytest

from tests.library.conftest import MakeCoordinator
from tests.library.support.builders import INPUT, NARRATIVE, WORLD, drain, id_of, make_message, send_ids, take
from tests.library.support.peek import Peek
from tta_agent_coordination import FailureType, MessagePriority, RedisMessageCoordinator
from tta_agent_coordination.testing import ManualClock


async def test_order_is_high_normal_low(coordinator: RedisMessageCoordinator) -> None:
    """Broken: a more urgent message is delivered first, however late it was sent."""
    for priority in (MessagePriority.LOW, MessagePriority.NORMAL, MessagePriority.HIGH):
        for n in range(2):
            await coordinator.send_message(
                INPUT, WORLD, make_message(f"{priority.name}-id-{n}", priority=priority)
            )
    assert await drain(coordinator) == [
        f"{level}-id-{n}" for level in ("HIGH", "NORMAL", "LOW") for n in range(2)
    ]


async def test_order_is_fifo_within_one_microsecond(coordinator: RedisMessageCoordinator) -> None:
    """Broken: messages of one microsecond are delivered in the order of sending, not of their ids."""
    ids = [f"message-{n}" for n in random.Random(7).sample(range(100, 1_000), 60)]
    for message_id in ids:
        await coordinator.send_message(INPUT, WORLD, make_message(message_id))
    assert await drain(coordinator) == ids


async def test_order_survives_a_clock_that_steps_back(
    coordinator: RedisMessageCoordinator, clock: ManualClock
) -> None:
    """Broken: after a step back or a failover nothing is hidden, and order still is the order of sending."""
    await coordinator.send_message(INPUT, WORLD, make_message("message-1"))
    clock.advance(-3_600)
    await coordinator.send_message(INPUT, WORLD, make_message("message-2"))
    clock.advance(-3_600)
    await coordinator.send_message(INPUT, WORLD, make_message("message-3"))
    assert await drain(coordinator) == ["message-1", "message-2", "message-3"]


@pytest.mark.parametrize("held", [2**53 - 2, 2**53 - 1, 2**53])
async def test_last_score_at_the_end_of_whole_numbers_hides_no_message(
    coordinator: RedisMessageCoordinator, peek: Peek, held: int
) -> None:
    """Broken: what is sent behind a clock that somebody set is not received before the year 2255."""
    await peek.raw("SET", peek.key("clock", WORLD), held)
    sent = await send_ids(coordinator, ["message-1", "message-2"])
    await coordinator.send_many(INPUT, WORLD, [make_message("message-3"), make_message("message-4")])
    first = await take(coordinator)
    follow_ups = [(WORLD, make_message("message-5")), (WORLD, make_message("message-6"))]
    assert await coordinator.ack(WORLD, first.token, then_send=follow_ups)
    rest = await drain(coordinator)
    assert sorted([id_of(first) or "", *rest]) == [*sent, *(f"message-{n}" for n in range(3, 7))]


@pytest.mark.parametrize("held", [2**53 - 1, 2**53])
async def test_follow_up_behind_the_end_of_whole_numbers_is_not_hidden(
    coordinator: RedisMessageCoordinator, peek: Peek, held: int
) -> None:
    """Broken: a follow-up is the last thing that is sent to an inbox, and nobody gets it."""
    await send_ids(coordinator, ["message-1"])
    await peek.raw("SET", peek.key("clock", NARRATIVE), held)
    first = await take(coordinator)
    follow_up = make_message("message-2", recipient=NARRATIVE)
    assert await coordinator.ack(WORLD, first.token, then_send=[(NARRATIVE, follow_up)])
    assert await drain(coordinator, NARRATIVE) == ["message-2"]


async def test_order_is_by_due_time_for_delayed_messages(
    coordinator: RedisMessageCoordinator, clock: ManualClock
) -> None:
    """Broken: delayed entries queue by their due time and push nobody else back."""
    await coordinator.send_message(INPUT, WORLD, make_message("in ten seconds"), delay=10)
    await coordinator.send_message(INPUT, WORLD, make_message("in five seconds"), delay=5)
    await coordinator.send_message(INPUT, WORLD, make_message("at once"))
    assert await drain(coordinator) == ["at once"]
    clock.advance(20)
    await coordinator.send_message(INPUT, WORLD, make_message("afterwards"))
    assert await drain(coordinator) == ["in five seconds", "in ten seconds", "afterwards"]


async def test_order_is_not_advanced_by_a_delay(
    coordinator: RedisMessageCoordinator, clock: ManualClock
) -> None:
    """Broken: a message delayed by a year must not make everything before its time look due."""
    await coordinator.send_message(INPUT, WORLD, make_message("next year"), delay=31_536_000)
    await coordinator.send_message(INPUT, WORLD, make_message("at once"))
    assert await drain(coordinator) == ["at once"]
    clock.advance(1)
    assert await coordinator.receive(WORLD) is None


async def test_order_of_a_retry_is_its_due_time(
    coordinator: RedisMessageCoordinator, clock: ManualClock
) -> None:
    """Broken: a nacked message comes back when it is due, behind what was due before it."""
    await coordinator.send_message(INPUT, WORLD, make_message("failing"))
    received = await take(coordinator)
    await coordinator.nack(WORLD, received.token, FailureType.TRANSIENT)
    await coordinator.send_message(INPUT, WORLD, make_message("waiting"))
    clock.advance(5)
    assert await drain(coordinator) == ["waiting", "failing"]


async def test_order_after_reclaim_is_the_original(
    coordinator: RedisMessageCoordinator, clock: ManualClock
) -> None:
    """Broken: a consumer's death costs its message no place."""
    for n in range(3):
        await coordinator.send_message(INPUT, WORLD, make_message(f"message-{n}"))
    await take(coordinator, WORLD, 1)
    clock.advance(2)
    assert await drain(coordinator) == ["message-0", "message-1", "message-2"]


async def test_order_without_ageing_is_strict(make_coordinator: MakeCoordinator, clock: ManualClock) -> None:
    """Broken: the default is strict: LOW waits as long as there is HIGH."""
    coordinator = make_coordinator()
    await coordinator.send_message(INPUT, WORLD, make_message("patient", priority=MessagePriority.LOW))
    clock.advance(1_000_000)
    await coordinator.send_message(INPUT, WORLD, make_message("urgent", priority=MessagePriority.HIGH))
    assert await drain(coordinator) == ["urgent", "patient"]


@pytest.mark.parametrize("count", [200])
async def test_order_keeps_microseconds_apart(
    coordinator: RedisMessageCoordinator, peek: Peek, count: int
) -> None:
    """Broken: 16-digit stamps cut to 14 digits in Lua would tie whole runs of messages."""
    await send_ids(coordinator, [f"message-{n:03}" for n in range(count)])
    scores = list((await peek.level(WORLD, 5)).values())
    assert scores == sorted(set(scores))
    assert len(scores) == count
    assert scores[-1] - scores[0] == count - 1


async def test_order_with_ageing_serves_low_messages(
    make_coordinator: MakeCoordinator, clock: ManualClock
) -> None:
    """Broken: with ageing, a LOW message that waited long enough goes ahead of newer HIGH ones."""
    coordinator = make_coordinator(ageing=10)
    await coordinator.send_message(INPUT, WORLD, make_message("patient", priority=MessagePriority.LOW))
    delivered: list[str] = []
    for n in range(4):
        clock.advance(4)
        urgent = make_message(f"urgent-{n}", priority=MessagePriority.HIGH)
        await coordinator.send_message(INPUT, WORLD, urgent)
        received = await take(coordinator)
        delivered.append(received.queue_message.message.message_id)
        assert await coordinator.ack(WORLD, received.token)
    assert delivered == ["urgent-0", "urgent-1", "patient", "urgent-2"]


async def test_order_among_aged_messages_is_the_oldest_first(
    make_coordinator: MakeCoordinator, clock: ManualClock
) -> None:
    """Broken: among messages that have all waited too long, the levels count no longer and age does."""
    coordinator = make_coordinator(ageing=10)
    for priority in (MessagePriority.LOW, MessagePriority.HIGH, MessagePriority.NORMAL):
        clock.advance(1)
        await coordinator.send_message(INPUT, WORLD, make_message(f"{priority.name}-id", priority=priority))
    clock.advance(20)
    assert await drain(coordinator) == ["LOW-id", "HIGH-id", "NORMAL-id"]


async def test_aged_message_goes_back_to_its_own_level(
    make_coordinator: MakeCoordinator, clock: ManualClock, peek: Peek
) -> None:
    """Broken: a message that was served for its age forgets how urgent it is."""
    coordinator = make_coordinator(ageing=10)
    for priority in (MessagePriority.LOW, MessagePriority.NORMAL, MessagePriority.HIGH):
        await coordinator.send_message(INPUT, WORLD, make_message(f"{priority.name}-id", priority=priority))
    clock.advance(20)
    for level in (1, 5, 9):
        before = await peek.level(WORLD, level)
        received = await take(coordinator)
        assert await coordinator.release(WORLD, received.token) is True
        assert await peek.level(WORLD, level) == before
        assert await coordinator.ack(WORLD, (await take(coordinator)).token) is True
        assert await peek.level(WORLD, level) == {}
