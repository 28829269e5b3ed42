"""Stats and explain: what an operator can ask of an inbox and of a message."""

from __future__ import annotations

from typing import Any

import redis.asyncio as aioredis

from tests.library.conftest import START_US, MakeCoordinator
from tests.library.support.builders import INPUT, NARRATIVE, WORLD, make_message, send_ids, take
from tests.library.support.commands import Send, intercept
from tests.library.support.peek import Peek
from tests.library.v0_model import v0_entry
from tta_agent_coordination import FailureType, MessagePriority, RedisMessageCoordinator
from tta_agent_coordination.testing import ManualClock


async def test_stats_of_an_unknown_inbox_are_zero(coordinator: RedisMessageCoordinator, peek: Peek) -> None:
    """Broken: asking writes nothing and an inbox that never was is empty."""
    stats = await coordinator.stats(WORLD)
    assert (stats.ready, stats.delayed, stats.reserved, stats.dead, stats.depth) == (0, 0, 0, 0, 0)
    assert stats.oldest_ready_s == 0
    assert await peek.keys() == set()


async def test_stats_tell_ready_delayed_reserved_and_dead_apart(
    coordinator: RedisMessageCoordinator, clock: ManualClock
) -> None:
    """Broken: depth is ready and delayed and reserved; the dead are counted apart."""
    await coordinator.send_message(INPUT, WORLD, make_message("to die"))
    await coordinator.nack(WORLD, (await take(coordinator)).token, FailureType.PERMANENT)
    await coordinator.send_message(INPUT, WORLD, make_message("to hold"))
    await take(coordinator)
    await coordinator.send_message(INPUT, WORLD, make_message("delayed"), delay=60)
    for priority in MessagePriority:
        await coordinator.send_message(
            INPUT, WORLD, make_message(f"ready-{priority.name}", priority=priority)
        )
    stats = await coordinator.stats(WORLD)
    assert (stats.ready, stats.delayed, stats.reserved, stats.dead, stats.depth) == (3, 1, 1, 1, 5)
    clock.advance(61)
    stats = await coordinator.stats(WORLD)
    assert (stats.ready, stats.delayed) == (4, 0)


async def test_stats_count_each_level_whole(coordinator: RedisMessageCoordinator) -> None:
    """Broken: a level tells only what is due, or another level's number."""
    counts = {MessagePriority.HIGH: 1, MessagePriority.NORMAL: 2, MessagePriority.LOW: 3}
    for priority, ready in counts.items():
        for n in range(ready + 1):
            message = make_message(f"message-{priority.name}-{n}", priority=priority)
            await coordinator.send_message(INPUT, WORLD, message, delay=60 if n == ready else 0)
    stats = await coordinator.stats(WORLD)
    assert (stats.ready, stats.delayed) == (6, 3)
    assert stats.by_priority == {priority: ready + 1 for priority, ready in counts.items()}


async def test_explain_finds_a_message_in_each_state(
    coordinator: RedisMessageCoordinator, clock: ManualClock
) -> None:
    """Broken: "where is my message?" has one answer in every state of its life."""

    async def state() -> str | None:
        found = await coordinator.explain("message-1", WORLD)
        return None if found is None else str(found.state)

    assert await state() is None
    await coordinator.send_message(INPUT, WORLD, make_message(), delay=5)
    assert await state() == "delayed"
    clock.advance(5)
    assert await state() == "ready"
    received = await take(coordinator)
    assert await state() == "reserved"
    await coordinator.nack(WORLD, received.token, FailureType.PERMANENT, "why")
    assert await state() == "dead"
    await coordinator.purge_dead(WORLD)
    assert await state() is None


async def test_explain_keeps_inboxes_and_ids_apart(coordinator: RedisMessageCoordinator) -> None:
    """Broken: an id that is part of another id, or of a payload, is not that message."""
    await coordinator.send_message(INPUT, WORLD, make_message("message-10", {"message_id": "message-1"}))
    assert await coordinator.explain("message-1", WORLD) is None
    assert await coordinator.explain("message-10", NARRATIVE) is None
    assert await coordinator.explain("message-10", WORLD) is not None


async def test_explain_changes_nothing(
    coordinator: RedisMessageCoordinator, peek: Peek, clock: ManualClock
) -> None:
    """Broken: looking is not touching, expired leases included."""
    await coordinator.send_message(INPUT, WORLD, make_message())
    await take(coordinator, WORLD, 1)
    clock.advance(5)
    before = await peek.snapshot()
    assert await coordinator.explain("message-1", WORLD) is not None
    await coordinator.stats(WORLD)
    assert await peek.snapshot() == before


async def test_explain_pages_through_a_large_inbox(coordinator: RedisMessageCoordinator, peek: Peek) -> None:
    """Broken: a message is found wherever it stands."""
    pairs = [(START_US + n, v0_entry("world:1", f"message-{n:04}")) for n in range(2_500)]
    await peek.raw("ZADD", peek.level_key(WORLD, 5), *(value for pair in pairs for value in pair))
    for message_id in ("message-0000", "message-1250", "message-2499"):
        assert await coordinator.explain(message_id, WORLD) is not None


async def test_explain_passes_over_what_only_looks_like_the_message(
    coordinator: RedisMessageCoordinator, peek: Peek
) -> None:
    """Broken: an unreadable entry that mentions the id hides the message, or is taken for it."""
    await peek.raw("ZADD", peek.level_key(WORLD, 9), START_US, 'junk with "message-1" in it')
    assert await coordinator.explain("message-1", WORLD) is None
    await peek.raw("ZADD", peek.level_key(WORLD, 5), START_US, 'more junk with "message-1" in it')
    await coordinator.send_message(INPUT, WORLD, make_message())
    assert await coordinator.explain("message-1", WORLD) is not None


async def test_explain_brings_over_only_what_may_be_the_message(
    client: aioredis.Redis, make_coordinator: MakeCoordinator
) -> None:
    """Broken: to find one message, every message of the inbox crosses the network."""
    coordinator = make_coordinator(client=client)
    await send_ids(coordinator, [f"message-{n}" for n in range(5)])
    pages: list[Any] = []

    async def around(send: Send, args: tuple[Any, ...], options: dict[str, Any]) -> Any:  # noqa: ANN401
        answer = await send(*args, **options)
        pages.append(answer)
        return answer

    with intercept(client, around):
        assert await coordinator.explain("message-9", WORLD) is None
    assert [page[2:] for page in pages if isinstance(page, list)] == [[]] * 5


async def test_explain_says_it_in_a_sentence(
    coordinator: RedisMessageCoordinator, clock: ManualClock, peek: Peek
) -> None:
    """Broken: an operator reads that a delayed message waits for a receiver, or half a sentence."""

    async def summary() -> str:
        found = await coordinator.explain("message-1", WORLD)
        assert found is not None
        return found.summary

    await coordinator.send_message(INPUT, WORLD, make_message(), delay=5)
    assert await summary() == "may not be received before 2023-11-14T22:13:25+00:00"
    clock.advance(5)
    assert await summary() == "waits for a receiver since 2023-11-14T22:13:25+00:00"
    await coordinator.nack(WORLD, (await take(coordinator)).token)
    assert await summary() == "may not be received before 2023-11-14T22:13:26+00:00 after 1 failed attempts"
    clock.advance(1)
    token = (await take(coordinator, WORLD, 60)).token
    assert await summary() == f"is held as {token} until 2023-11-14T22:14:26+00:00"
    await coordinator.nack(WORLD, token, FailureType.PERMANENT, "why")
    assert await summary() == "is a dead letter (permanent), last error: why"
    await coordinator.purge_dead(WORLD)
    await peek.raw("RPUSH", peek.key("dlq", WORLD), v0_entry("world:1", "message-1"))
    assert await summary() == "is a dead letter (cause unknown)"


async def test_explain_says_that_a_reservation_has_no_deadline(
    coordinator: RedisMessageCoordinator, peek: Peek
) -> None:
    """Broken: a reservation that a v0 process left halfway cannot be looked at, or seems to end."""
    await coordinator.send_message(INPUT, WORLD, make_message())
    token = (await take(coordinator)).token
    await peek.raw("ZREM", peek.key("reserved_deadlines", WORLD), token)
    found = await coordinator.explain("message-1", WORLD)
    assert found is not None
    assert (found.token, found.visibility_deadline) == (token, None)
    assert found.summary == f"is held as {token} until somebody clears it: it has no deadline"
    await coordinator.ack(WORLD, token)


async def test_explain_names_the_reservation_of_the_message_itself(
    coordinator: RedisMessageCoordinator,
) -> None:
    """Broken: where several messages mention an id, the answer names the reservation of another one."""
    tokens: dict[str, str] = {}
    for n in range(4):
        message = make_message(f"message-{n}", {"about": [f"message-{m}" for m in range(4)]})
        await coordinator.send_message(INPUT, WORLD, message)
        tokens[message.message_id] = (await take(coordinator)).token
    for message_id, token in tokens.items():
        found = await coordinator.explain(message_id, WORLD)
        assert found is not None
        assert found.token == token


async def test_explain_tells_what_an_operator_needs(
    coordinator: RedisMessageCoordinator, clock: ManualClock
) -> None:
    """Broken: the answer names the reservation, the deadline, the cause and the last error."""
    await coordinator.send_message(INPUT, WORLD, make_message())
    received = await take(coordinator)
    held = await coordinator.explain("message-1", WORLD)
    assert held is not None
    assert (held.token, held.visibility_deadline) == (received.token, received.visibility_deadline)
    assert received.token in held.summary
    await coordinator.nack(WORLD, received.token, error="first")
    retried = await coordinator.explain("message-1", WORLD)
    assert retried is not None
    assert retried.due_at is not None
    assert "1 failed" in retried.summary
    clock.advance(5)
    await coordinator.nack(WORLD, (await take(coordinator)).token, FailureType.PERMANENT, "second")
    dead = await coordinator.explain("message-1", WORLD)
    assert dead is not None
    assert (dead.cause, dead.died_at is not None) == ("permanent", True)
    assert "second" in dead.summary
