"""Expiry: a message that came too late is a dead letter, not a delivery."""

from __future__ import annotations

import pytest

from tests.library.conftest import MakeCoordinator
from tests.library.support.builders import INPUT, WORLD, drain, id_of, ids_of, make_message, send_ids, take
from tests.library.support.peek import Peek
from tta_agent_coordination import RedisMessageCoordinator
from tta_agent_coordination.testing import ManualClock


async def test_expired_message_is_not_delivered(
    coordinator: RedisMessageCoordinator, clock: ManualClock, peek: Peek
) -> None:
    """Broken: after `expires_in` nobody wants the message; it is kept as a dead letter with its cause."""
    await coordinator.send_message(INPUT, WORLD, make_message("too late"), expires_in=10)
    await coordinator.send_message(INPUT, WORLD, make_message("in time"), expires_in=100)
    clock.advance(10.001)
    assert id_of(await coordinator.receive(WORLD)) == "in time"
    (letter,) = await coordinator.dead_letters(WORLD)
    assert (letter.cause, ids_of([letter])) == ("expired", ["too late"])
    assert len(await peek.queue(WORLD)) == 1


async def test_message_is_delivered_until_it_expires(
    coordinator: RedisMessageCoordinator, clock: ManualClock
) -> None:
    """Broken: a message is good until its time."""
    await coordinator.send_message(INPUT, WORLD, make_message(), expires_in=10)
    clock.advance(9.999)
    assert id_of(await coordinator.receive(WORLD)) == "message-1"


async def test_expiry_does_not_cut_a_running_lease(
    coordinator: RedisMessageCoordinator, clock: ManualClock
) -> None:
    """Broken: who has the message may finish it."""
    await coordinator.send_message(INPUT, WORLD, make_message(), expires_in=2)
    received = await take(coordinator, WORLD, 100)
    clock.advance(50)
    assert await coordinator.ack(WORLD, received.token) is True
    assert await coordinator.dead_letters(WORLD) == []


async def test_nack_of_an_expired_message_dead_letters_it(
    coordinator: RedisMessageCoordinator, clock: ManualClock
) -> None:
    """Broken: a message past its time is not scheduled again."""
    await coordinator.send_message(INPUT, WORLD, make_message(), expires_in=2)
    received = await take(coordinator, WORLD, 100)
    clock.advance(50)
    assert await coordinator.nack(WORLD, received.token, error="failed") is True
    (letter,) = await coordinator.dead_letters(WORLD)
    assert letter.cause == "expired"


@pytest.mark.parametrize("by", ["receive", "recover_pending"])
async def test_reclaim_of_an_expired_message_dead_letters_it(
    coordinator: RedisMessageCoordinator, clock: ManualClock, by: str
) -> None:
    """Broken: a dead consumer's message past its time is not delivered again."""
    await coordinator.send_message(INPUT, WORLD, make_message(), expires_in=2)
    await take(coordinator, WORLD, 1)
    clock.advance(50)
    if by == "recover_pending":
        await coordinator.recover_pending(WORLD)
    assert await coordinator.receive(WORLD) is None
    (letter,) = await coordinator.dead_letters(WORLD)
    assert letter.cause == "expired"


async def test_expired_message_counts_as_depth_until_it_is_moved(
    make_coordinator: MakeCoordinator, clock: ManualClock
) -> None:
    """Broken: depth is what is stored; expiry frees its place when receive moves it."""
    coordinator = make_coordinator(queue_size=1)
    await coordinator.send_message(INPUT, WORLD, make_message(), expires_in=2)
    clock.advance(5)
    assert (await coordinator.send_message(INPUT, WORLD, make_message("message-2"))).error == "queue full"
    assert await coordinator.receive(WORLD) is None
    assert (await coordinator.send_message(INPUT, WORLD, make_message("message-2"))).delivered


async def test_many_expired_messages_do_not_hide_a_good_one(
    coordinator: RedisMessageCoordinator, clock: ManualClock, peek: Peek
) -> None:
    """Broken: one script moves at most 100; a receive still finds the message behind 220 expired ones."""
    await send_ids(coordinator, [f"late-{n:03}" for n in range(220)], expires_in=2)
    await coordinator.send_message(INPUT, WORLD, make_message("good one"))
    clock.advance(5)
    assert await drain(coordinator) == ["good one"]
    assert len(await peek.dead(WORLD)) == 220
    assert await peek.queue(WORLD) == []


async def test_expiry_survives_a_retry(coordinator: RedisMessageCoordinator, clock: ManualClock) -> None:
    """Broken: a nack rewrites the entry; what it says about its end is kept."""
    await coordinator.send_message(INPUT, WORLD, make_message(), expires_in=10)
    await coordinator.nack(WORLD, (await take(coordinator)).token)
    clock.advance(11)
    assert await coordinator.receive(WORLD) is None
    (letter,) = await coordinator.dead_letters(WORLD)
    assert letter.cause == "expired"


async def test_expiry_is_by_server_time(make_coordinator: MakeCoordinator, clock: ManualClock) -> None:
    """Broken: a delayed message lives from its sending by the server's clock, not by a machine's."""
    coordinator = make_coordinator()
    await coordinator.send_message(INPUT, WORLD, make_message(), delay=5, expires_in=6)
    clock.advance(5.5)
    assert id_of(await coordinator.receive(WORLD)) == "message-1"
