"""The counters: concrete by default, copied when looked at, harmless when broken."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.library.conftest import MakeCoordinator
from tests.library.support.builders import INPUT, WORLD, make_message, take
from tta_agent_coordination import (
    FailureType,
    InMemoryMetrics,
    MessageMetrics,
    NullMetrics,
    RedisMessageCoordinator,
)
from tta_agent_coordination.testing import ManualClock


def test_snapshot_has_v0_shape() -> None:
    """Broken: TTA's component, polling and diagnostics read exactly these names."""
    metrics = InMemoryMetrics()
    metrics.inc_delivered_ok()
    metrics.inc_delivered_error(2)
    metrics.inc_nacks(3)
    metrics.inc_permanent(4)
    metrics.inc_retries_scheduled(5, 1.5)
    metrics.set_queue_length("world:1", priority=9, length=7)
    metrics.set_dlq_length("world:1", 2)
    snapshot = metrics.snapshot()
    assert snapshot["delivery"] == {"delivered_ok": 1, "delivered_error": 2}
    assert snapshot["retry"] == {
        "total_nacks": 3,
        "total_permanent_failures": 4,
        "total_retries_scheduled": 5,
        "last_backoff_seconds": 1.5,
    }
    assert snapshot["gauges"] == {"queue_lengths": {"world:1|9": 7}, "dlq_lengths": {"world:1": 2}}
    assert snapshot["last_update"] > 0
    assert metrics.gauges.queue_lengths == {("world:1", 9): 7}


def test_retries_keyword_is_v0s() -> None:
    """Broken: v0's caller passes `last_backoff_seconds` by keyword."""
    metrics = InMemoryMetrics()
    metrics.inc_retries_scheduled(last_backoff_seconds=2.0)
    assert metrics.snapshot()["retry"]["last_backoff_seconds"] == 2.0


def test_counters_add_up() -> None:
    """Broken: a counter shows the last event instead of all, or an event counts as two."""
    metrics = InMemoryMetrics()
    for count in (
        metrics.inc_delivered_ok,
        metrics.inc_delivered_error,
        metrics.inc_nacks,
        metrics.inc_permanent,
        metrics.inc_retries_scheduled,
    ):
        count()
        count(2)
    snapshot = metrics.snapshot()
    assert snapshot["delivery"] == {"delivered_ok": 3, "delivered_error": 3}
    assert snapshot["retry"] == {
        "total_nacks": 3,
        "total_permanent_failures": 3,
        "total_retries_scheduled": 3,
        "last_backoff_seconds": 0.0,
    }


def test_snapshot_is_a_copy() -> None:
    """Broken: v0 returned live objects, so a difference between two snapshots was always 0."""
    metrics = InMemoryMetrics()
    metrics.set_dlq_length("world:1", 1)
    before = metrics.snapshot()
    metrics.inc_nacks()
    metrics.set_dlq_length("world:1", 9)
    assert before["retry"]["total_nacks"] == 0
    assert before["gauges"]["dlq_lengths"] == {"world:1": 1}


def test_repr_shows_the_counters() -> None:
    """Broken: a collector in a log line shows what it counted."""
    metrics = InMemoryMetrics()
    metrics.inc_nacks(42)
    assert "42" in repr(metrics)


def test_null_metrics_count_nothing() -> None:
    """Broken: switching counting off leaves every method in place."""
    metrics = NullMetrics()
    for name in (
        "inc_delivered_ok",
        "inc_delivered_error",
        "inc_nacks",
        "inc_permanent",
        "inc_retries_scheduled",
    ):
        getattr(metrics, name)(1)
    metrics.set_queue_length("world:1", 9, 1)
    metrics.set_dlq_length("world:1", 1)
    assert metrics.snapshot() == {}


async def test_default_is_the_concrete_collector(coordinator: RedisMessageCoordinator) -> None:
    """Broken: TTA's /metrics reads snapshot() and gauges from a coordinator it built without metrics."""
    assert isinstance(coordinator.metrics, InMemoryMetrics)


class Broken:
    """A metrics object whose every method raises."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Fail on whatever is asked."""
        if name.startswith("__"):
            raise AttributeError(name)
        raise RuntimeError(f"{name} is broken")


@pytest.mark.parametrize("metrics", [Broken(), NullMetrics()], ids=["broken", "null"])
async def test_metrics_never_break_an_operation(
    make_coordinator: MakeCoordinator, clock: ManualClock, metrics: MessageMetrics
) -> None:
    """Broken: a metrics object that raises cost a message."""
    coordinator = make_coordinator(metrics=metrics, queue_size=2)
    for n in range(3):
        await coordinator.send_message(INPUT, WORLD, make_message(f"message-{n}"))
    await coordinator.nack(WORLD, (await take(coordinator)).token)
    await coordinator.nack(WORLD, (await take(coordinator)).token, FailureType.PERMANENT)
    clock.advance(5)
    received = await take(coordinator)
    assert received.queue_message.message.message_id == "message-0"
    assert await coordinator.ack(WORLD, received.token) is True
