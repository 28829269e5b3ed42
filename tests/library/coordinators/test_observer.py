"""What a coordinator counts and says of its work, word for word."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from tests.library.conftest import MakeCoordinator
from tests.library.support.builders import INPUT, NARRATIVE, WORLD, drain, make_message, send_ids, take
from tests.library.support.peek import Peek
from tests.library.test_metrics import Broken
from tta_agent_coordination import InMemoryMetrics, RedisMessageCoordinator
from tta_agent_coordination.coordinators import _observer
from tta_agent_coordination.testing import ManualClock


def counted(coordinator: RedisMessageCoordinator) -> dict[str, Any]:
    """Return what the coordinator's own metrics have counted."""
    assert isinstance(coordinator.metrics, InMemoryMetrics)
    snapshot = coordinator.metrics.snapshot()
    return {**snapshot["delivery"], **snapshot["retry"]}


async def test_metrics_that_fail_are_named_once(
    make_coordinator: MakeCoordinator, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: nobody learns that nothing is counted, or every message says so again."""
    metrics = Broken()
    coordinator = make_coordinator(metrics=metrics)
    await send_ids(coordinator, ["message-1", "message-2"])
    (record,) = caplog.records
    assert record.getMessage() == (
        f"The metrics object {metrics!r} failed; messages go on without it, and this is said once"
    )
    assert record.exc_info is not None
    await drain(coordinator)


async def test_follow_ups_count_as_delivered(coordinator: RedisMessageCoordinator) -> None:
    """Broken: what goes out with an ack is missing in the counters; what was refused is not."""
    await send_ids(coordinator, ["message-1"])
    token = (await take(coordinator)).token
    follow_ups = [(NARRATIVE, make_message(f"follow-{n}")) for n in range(3)]
    assert await coordinator.ack(WORLD, token, then_send=follow_ups)
    assert not await coordinator.ack(WORLD, token, then_send=follow_ups)
    assert counted(coordinator)["delivered_ok"] == 4
    assert len(await drain(coordinator, NARRATIVE)) == 3


async def test_retry_is_counted_with_its_delay(coordinator: RedisMessageCoordinator) -> None:
    """Broken: the counters tell neither how often nor how long messages are put off."""
    await send_ids(coordinator, ["message-1"])
    await coordinator.nack(WORLD, (await take(coordinator)).token)
    found = counted(coordinator)
    assert (found["total_retries_scheduled"], found["total_nacks"]) == (1, 1)
    assert found["last_backoff_seconds"] == 1.0


async def test_what_died_on_the_way_is_counted_and_said(
    coordinator: RedisMessageCoordinator, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: messages that nobody took in time vanish without a line and without a number."""
    await send_ids(coordinator, ["message-1", "message-2"], expires_in=1)
    clock.advance(2)
    assert await coordinator.receive(WORLD) is None
    assert counted(coordinator)["total_permanent_failures"] == 2
    assert caplog.messages == ["DLQ enqueue for world:1: 2 messages, expired or poison after too many leases"]


async def test_unreadable_entry_is_said_without_an_id(
    coordinator: RedisMessageCoordinator, peek: Peek, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: TTA's alerts, which look for v0's words, pass over what nobody can read."""
    await peek.raw("ZADD", peek.level_key(WORLD, 5), 1, "junk")
    assert await coordinator.receive(WORLD) is None
    (told,) = caplog.messages
    assert told.startswith("DLQ enqueue for world:1 message_id=None attempts=0 error=undecodable entry: ")
    assert counted(coordinator)["total_permanent_failures"] == 1


async def test_long_audit_list_is_named_with_its_length(
    coordinator: RedisMessageCoordinator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: the warning comes too early, with each message, or does not say which inbox is long."""
    monkeypatch.setattr(_observer, "_LONG_AUDIT", 2)
    await send_ids(coordinator, ["message-1", "message-2"])
    assert caplog.messages == []
    await send_ids(coordinator, ["message-3", "message-4"])
    (told,) = caplog.messages
    assert told.startswith("Inbox world:1 holds 3 messages: with audit='exact' an ack out of order")
    await drain(coordinator)


async def test_recovery_says_which_inboxes_got_something_back(
    coordinator: RedisMessageCoordinator, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: every look at an empty inbox is a line in the log."""
    caplog.set_level(logging.INFO)
    await coordinator.send_message(INPUT, NARRATIVE, make_message())
    await drain(coordinator, NARRATIVE)
    await send_ids(coordinator, ["message-1"])
    await take(coordinator, WORLD, 1)
    clock.advance(2)
    assert await coordinator.recover_pending() == 1
    assert [text for text in caplog.messages if "Recovered" in text] == [
        "Recovered 1 messages for agent world:1"
    ]
