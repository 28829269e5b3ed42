"""Recovery: what happens to a message whose consumer died."""

# ruff: noqa: ANN401 - commands and answers of a Redis client may be anything
from __future__ import annotations

import json
from typing import Any

import pytest

from tests.library.conftest import START_US, MakeCoordinator
from tests.library.support.builders import (
    INPUT,
    NARRATIVE,
    WORLD,
    drain,
    id_of,
    make_message,
    send_ids,
    take,
    take_many,
)
from tests.library.support.commands import Send, intercept
from tests.library.support.peek import Peek
from tests.library.support.servers import Lane
from tests.library.v0_model import V0Coordinator, v0_entry
from tta_agent_coordination import AgentId, FailureType, MessagePriority, RedisMessageCoordinator
from tta_agent_coordination.testing import ManualClock


async def test_receive_reclaims_an_expired_lease(
    coordinator: RedisMessageCoordinator, clock: ManualClock
) -> None:
    """Broken: nobody has to call for recovery; the next receive finds what a dead consumer held."""
    await coordinator.send_message(INPUT, WORLD, make_message())
    first = await take(coordinator, WORLD, 1)
    clock.advance(0.9)
    assert await coordinator.receive(WORLD) is None
    clock.advance(0.2)
    again = await take(coordinator)
    assert id_of(again) == "message-1"
    assert again.token != first.token
    assert again.queue_message.delivery_attempts == 0


async def test_recover_returns_how_many_it_requeued(
    coordinator: RedisMessageCoordinator, clock: ManualClock, peek: Peek
) -> None:
    """Broken: TTA logs and asserts the number."""
    for n in range(3):
        await coordinator.send_message(INPUT, WORLD, make_message(f"message-{n}"))
    for _ in range(2):
        await take(coordinator, WORLD, 1)
    await take(coordinator, WORLD, 100)
    assert await coordinator.recover_pending(WORLD) == 0
    clock.advance(2)
    assert await coordinator.recover_pending(WORLD) == 2
    assert await coordinator.recover_pending(WORLD) == 0
    assert len(await peek.ready(WORLD)) == 2
    assert len(await peek.reserved(WORLD)) == 1


async def test_recover_without_an_agent_finds_every_inbox(
    coordinator: RedisMessageCoordinator, clock: ManualClock
) -> None:
    """Broken: all agents are recovered, of whatever type, not only those v0 knew by name."""
    agents = [WORLD, NARRATIVE, AgentId(type="custom-type"), AgentId(type="custom-type", instance="x.y")]
    for agent in agents:
        await coordinator.send_message(INPUT, agent, make_message())
        await take(coordinator, agent, 1)
    clock.advance(2)
    assert await coordinator.recover_pending() == len(agents)
    for agent in agents:
        assert await drain(coordinator, agent) == ["message-1"]


async def test_recover_without_an_agent_finds_what_only_v0_wrote(
    coordinator: RedisMessageCoordinator, clock: ManualClock
) -> None:
    """Broken: an inbox that no process of ours ever touched is recovered too."""
    v0 = V0Coordinator(coordinator._redis, now_us=lambda: START_US)
    await v0.send("stranger:7", "message-1")
    assert await v0.receive("stranger:7", 1) is not None
    clock.advance(2)
    assert await coordinator.recover_pending() == 1
    assert await drain(coordinator, AgentId(type="stranger", instance="7")) == ["message-1"]


async def test_recover_counts_a_deadline_moved_into_the_past(
    coordinator: RedisMessageCoordinator, peek: Peek
) -> None:
    """Broken: TTA's tests and tools move deadlines by ZADD and expect recovery."""
    await coordinator.send_message(INPUT, WORLD, make_message())
    received = await take(coordinator, WORLD, 100)
    await peek.raw("ZADD", peek.key("reserved_deadlines", WORLD), START_US - 1, received.token)
    assert await coordinator.recover_pending(WORLD) == 1
    assert await drain(coordinator) == ["message-1"]


async def test_recover_leaves_other_prefixes_alone(
    make_coordinator: MakeCoordinator, clock: ManualClock
) -> None:
    """Broken: a prefix is a world of its own, also where one is the beginning of another."""
    ours, other = make_coordinator(key_prefix="ao"), make_coordinator(key_prefix="ao2")
    await other.send_message(INPUT, WORLD, make_message())
    await take(other, WORLD, 1)
    clock.advance(2)
    assert await ours.recover_pending() == 0
    assert await other.recover_pending() == 1
    assert await drain(other) == ["message-1"]


async def test_recover_takes_glob_characters_in_a_prefix_literally(
    make_coordinator: MakeCoordinator, clock: ManualClock
) -> None:
    """Broken: a prefix is text, not a pattern."""
    pattern, other = make_coordinator(key_prefix="a?[x]*"), make_coordinator(key_prefix="abx")
    await other.send_message(INPUT, WORLD, make_message())
    await take(other, WORLD, 1)
    clock.advance(2)
    assert await pattern.recover_pending() == 0
    assert await other.recover_pending() == 1
    assert await drain(other) == ["message-1"]


async def test_recover_finds_more_than_one_page(
    coordinator: RedisMessageCoordinator, clock: ManualClock
) -> None:
    """Broken: one script reclaims a bounded number; a call of recover goes on until nothing has expired."""
    ids = await send_ids(coordinator, [f"message-{n:03}" for n in range(105)])
    await take_many(coordinator, 105)
    clock.advance(6)
    assert await coordinator.recover_pending(WORLD) == 105
    assert await drain(coordinator) == ids


async def test_receive_reclaims_behind_more_than_one_page(
    coordinator: RedisMessageCoordinator, clock: ManualClock
) -> None:
    """Broken: a receive after a mass death hands something over, and order inside the level holds."""
    ids = await send_ids(coordinator, [f"message-{n:03}" for n in range(105)])
    await take_many(coordinator, 105)
    clock.advance(6)
    assert sorted(await drain(coordinator)) == ids


async def test_tenth_expiry_is_poison(
    coordinator: RedisMessageCoordinator, clock: ManualClock, peek: Peek
) -> None:
    """Broken: a message that kills its consumer does not loop for ever."""
    await coordinator.send_message(INPUT, WORLD, make_message("poison", priority=MessagePriority.HIGH))
    await coordinator.send_message(INPUT, WORLD, make_message("behind"))
    for delivery in range(1, 11):
        received = await take(coordinator, WORLD, 1)
        assert (id_of(received), received.deliveries) == ("poison", delivery)
        clock.advance(2)
    assert id_of(await coordinator.receive(WORLD)) == "behind"
    (letter,) = await coordinator.dead_letters(WORLD)
    assert letter.cause == "poison"
    assert len(await peek.queue(WORLD)) == 1


@pytest.mark.parametrize("by", ["receive", "recover_pending"])
async def test_poison_limit_is_configurable(
    make_coordinator: MakeCoordinator, clock: ManualClock, peek: Peek, by: str
) -> None:
    """Broken: `max_deliveries` expiries, by whichever call sees the last one."""
    coordinator = make_coordinator(max_deliveries=2)
    await coordinator.send_message(INPUT, WORLD, make_message())
    for _ in range(2):
        assert id_of(await coordinator.receive(WORLD, 1)) == "message-1"
        clock.advance(2)
        if by == "recover_pending":
            await coordinator.recover_pending(WORLD)
    assert await coordinator.receive(WORLD) is None
    assert len(await peek.dead(WORLD)) == 1


async def test_nack_between_expiries_does_not_reset_them(
    make_coordinator: MakeCoordinator, clock: ManualClock, peek: Peek
) -> None:
    """Broken: expiries are counted over the message's whole life; nack and release neither add nor forget."""
    coordinator = make_coordinator(max_deliveries=2)
    await coordinator.send_message(INPUT, WORLD, make_message())
    await take(coordinator, WORLD, 1)
    clock.advance(2)
    received = await take(coordinator)
    await coordinator.nack(WORLD, received.token)
    clock.advance(10)
    await coordinator.release(WORLD, (await take(coordinator)).token)
    await take(coordinator, WORLD, 1)
    clock.advance(2)
    assert await coordinator.receive(WORLD) is None
    assert len(await peek.dead(WORLD)) == 1


async def test_recover_dead_letters_an_unreadable_reservation(
    coordinator: RedisMessageCoordinator, peek: Peek
) -> None:
    """Broken: a reservation that nobody can read ends as a dead letter and stops nothing."""
    reserved, deadlines = peek.key("reserved", WORLD), peek.key("reserved_deadlines", WORLD)
    await peek.raw("HSET", reserved, "res_junk", "junk", "res_good", v0_entry("world:1", "message-1"))
    await peek.raw("ZADD", deadlines, START_US - 5, "res_junk", START_US - 5, "res_good")
    await coordinator.recover_pending(WORLD)
    assert await drain(coordinator) == ["message-1"]
    assert await peek.dead(WORLD) == ["junk"]
    assert await peek.deadlines(WORLD) == {}


async def test_recover_drops_a_deadline_without_a_reservation(
    coordinator: RedisMessageCoordinator, peek: Peek
) -> None:
    """Broken: half a trace, left by a dead v0 process, is cleared and counts as nothing."""
    await peek.raw("ZADD", peek.key("reserved_deadlines", WORLD), START_US - 5, "res_ghost")
    assert await coordinator.recover_pending(WORLD) == 0
    assert await peek.deadlines(WORLD) == {}


async def test_recovered_entry_keeps_its_text(
    coordinator: RedisMessageCoordinator, clock: ManualClock, peek: Peek
) -> None:
    """Broken: audit copy and zset member stay one text, or the ack of the second delivery leaves a corpse."""
    await coordinator.send_message(INPUT, WORLD, make_message())
    await take(coordinator, WORLD, 1)
    clock.advance(2)
    await coordinator.recover_pending(WORLD)
    assert await peek.queue(WORLD) == await peek.ready(WORLD)
    entry = json.loads((await peek.ready(WORLD))[0])
    assert (entry["delivery_attempts"], entry["last_error"]) == (0, None)


@pytest.mark.parametrize("end", ["ack", "nack_permanent"])
async def test_what_was_counted_of_a_message_goes_with_it(
    coordinator: RedisMessageCoordinator, clock: ManualClock, peek: Peek, end: str
) -> None:
    """Broken: each message that ever came back leaves a count behind as long as its inbox is busy."""
    await send_ids(coordinator, ["message-1", "message-2"])
    await take(coordinator, WORLD, 1)
    clock.advance(2)
    received = await take(coordinator)
    assert await peek.raw("HLEN", peek.key("lapses", WORLD)) == 1
    if end == "ack":
        assert await coordinator.ack(WORLD, received.token) is True
    else:
        assert await coordinator.nack(WORLD, received.token, FailureType.PERMANENT) is True
    assert await peek.raw("HLEN", peek.key("lapses", WORLD)) == 0
    assert len(await peek.ready(WORLD)) == 1


async def test_what_is_no_error_of_the_store_is_not_taken_for_one(
    lane: Lane, make_coordinator: MakeCoordinator
) -> None:
    """Broken: a mistake in the client is told as an outage, and tried again for ever."""
    client = lane.client()
    coordinator = make_coordinator(client=client)
    await send_ids(coordinator, ["message-1"])

    async def around(send: Send, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        answer = await send(*args, **options)
        return [LookupError("a mistake")] if args == ("PIPELINE",) else answer

    with intercept(client, around), pytest.raises(LookupError, match="a mistake"):
        await coordinator.recover_pending(WORLD)
    assert await drain(coordinator) == ["message-1"]
