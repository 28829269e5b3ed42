"""Deduplication: an idempotency key chosen by the sender."""

from __future__ import annotations

from tests.library.conftest import MakeCoordinator
from tests.library.support.builders import INPUT, NARRATIVE, WORLD, drain, make_message, take
from tests.library.support.peek import Peek
from tta_agent_coordination import InMemoryMetrics, RedisMessageCoordinator
from tta_agent_coordination.testing import ManualClock


async def test_dedup_answers_with_the_first_message(coordinator: RedisMessageCoordinator) -> None:
    """Broken: the sender of a duplicate learns that it is delivered, and as which message."""
    first = await coordinator.send_message(INPUT, WORLD, make_message("message-1"), dedup_id="order 7")
    second = await coordinator.send_message(INPUT, WORLD, make_message("message-2"), dedup_id="order 7")
    assert (first.delivered, first.cause, first.message_id) == (True, None, "message-1")
    assert (second.delivered, second.cause, second.message_id) == (True, "duplicate", "message-1")
    second.raise_for_error()
    assert await drain(coordinator) == ["message-1"]


async def test_dedup_outlives_the_message(coordinator: RedisMessageCoordinator) -> None:
    """Broken: a duplicate is one also after the first was acknowledged."""
    await coordinator.send_message(INPUT, WORLD, make_message("message-1"), dedup_id="order 7")
    assert await drain(coordinator) == ["message-1"]
    again = await coordinator.send_message(INPUT, WORLD, make_message("message-2"), dedup_id="order 7")
    assert (again.cause, again.message_id) == ("duplicate", "message-1")
    assert await coordinator.receive(WORLD) is None


async def test_dedup_ends_after_its_time(make_coordinator: MakeCoordinator, clock: ManualClock) -> None:
    """Broken: an idempotency key is kept `dedup_ttl` seconds and then free."""
    coordinator = make_coordinator(dedup_ttl=60)
    await coordinator.send_message(INPUT, WORLD, make_message("message-1"), dedup_id="order 7")
    clock.advance(59)
    again = await coordinator.send_message(INPUT, WORLD, make_message("message-2"), dedup_id="order 7")
    assert again.cause == "duplicate"
    clock.advance(2)
    later = await coordinator.send_message(INPUT, WORLD, make_message("message-3"), dedup_id="order 7")
    assert (later.cause, later.message_id) == (None, "message-3")
    assert await drain(coordinator) == ["message-1", "message-3"]


async def test_dedup_is_per_inbox(coordinator: RedisMessageCoordinator) -> None:
    """Broken: the same key in another inbox is another message."""
    for agent in (WORLD, NARRATIVE):
        result = await coordinator.send_message(INPUT, agent, make_message(), dedup_id="order 7")
        assert result.cause is None
    assert await drain(coordinator, WORLD) == await drain(coordinator, NARRATIVE) == ["message-1"]


async def test_dedup_records_nothing_when_the_queue_is_full(make_coordinator: MakeCoordinator) -> None:
    """Broken: a refused message must not make its own second try look like a duplicate."""
    coordinator = make_coordinator(queue_size=1)
    await coordinator.send_message(INPUT, WORLD, make_message("message-1"))
    refused = await coordinator.send_message(INPUT, WORLD, make_message("message-2"), dedup_id="order 7")
    assert refused.cause == "queue full"
    assert await drain(coordinator) == ["message-1"]
    again = await coordinator.send_message(INPUT, WORLD, make_message("message-2"), dedup_id="order 7")
    assert (again.delivered, again.cause) == (True, None)
    assert await drain(coordinator) == ["message-2"]


async def test_dedup_of_a_duplicate_in_a_full_queue_is_still_a_duplicate(
    make_coordinator: MakeCoordinator,
) -> None:
    """Broken: a duplicate needs no place, so a full queue does not refuse it."""
    coordinator = make_coordinator(queue_size=1)
    await coordinator.send_message(INPUT, WORLD, make_message("message-1"), dedup_id="order 7")
    again = await coordinator.send_message(INPUT, WORLD, make_message("message-2"), dedup_id="order 7")
    assert (again.delivered, again.cause) == (True, "duplicate")


async def test_dedup_accepts_any_text(coordinator: RedisMessageCoordinator, peek: Peek) -> None:
    """Broken: an idempotency key is opaque: separators, control and non-ASCII characters stay apart."""
    keys = ["a:b", "a", "b", "a:b:c", "{a}", "*", "ä\U0001f409", "new\nline", " ", "x" * 1_000]
    for n, key in enumerate(keys):
        result = await coordinator.send_message(INPUT, WORLD, make_message(f"message-{n}"), dedup_id=key)
        assert (result.cause, result.message_id) == (None, f"message-{n}")
    for n, key in enumerate(keys):
        result = await coordinator.send_message(INPUT, WORLD, make_message("message-again"), dedup_id=key)
        assert (result.cause, result.message_id) == ("duplicate", f"message-{n}")
    assert len(await peek.ready(WORLD)) == len(keys)


async def test_dedup_does_not_count_as_a_second_delivery(make_coordinator: MakeCoordinator) -> None:
    """Broken: depth and audit know the message once; the coordinator stays usable for others."""
    metrics = InMemoryMetrics()
    coordinator = make_coordinator(metrics=metrics)
    for _ in range(3):
        await coordinator.send_message(INPUT, WORLD, make_message(), dedup_id="order 7")
    received = await take(coordinator)
    assert await coordinator.ack(WORLD, received.token)
    assert await coordinator.receive(WORLD) is None
