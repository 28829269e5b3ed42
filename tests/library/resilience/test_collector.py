"""The process's collector of breakers: when it counted, what it logged, and that a reset leaves nothing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import pytest

from tta_agent_coordination.resilience import (
    CircuitBreakerState,
    get_circuit_breaker_metrics,
    record_state_transition,
)
from tta_agent_coordination.resilience.collector import CircuitBreakerMetricsCollector

CLOSED, OPEN, HALF_OPEN = CircuitBreakerState


@pytest.fixture
def collector() -> CircuitBreakerMetricsCollector:
    """One that nobody else counts with."""
    return CircuitBreakerMetricsCollector()


type Count = Callable[[CircuitBreakerMetricsCollector], None]

COUNTS: dict[str, Count] = {
    "transition": lambda it: it.record_state_transition("a", CLOSED, OPEN),
    "rejected": lambda it: it.record_call_rejected("a", "circuit_breaker_open"),
    "successful": lambda it: it.record_successful_call("a", 1.5),
    "failed": lambda it: it.record_failed_call("a", "boom", 1.5),
    "duration": lambda it: it.record_state_duration("a", OPEN, 1.5),
    "reset": lambda it: it.reset(),
}


@pytest.mark.parametrize("what", COUNTS)
def test_last_update_is_when_it_last_counted(collector: CircuitBreakerMetricsCollector, what: str) -> None:
    """Broken: whoever watches the collector takes it for dead, or for alive."""
    collector.last_update = 0.0
    before = time.time()
    COUNTS[what](collector)
    assert before <= collector.last_update <= time.time()


def test_counts_add_up(collector: CircuitBreakerMetricsCollector) -> None:
    """Broken: a second event of a kind is lost, or counted for another breaker."""
    for name, seconds in (("a", 1.5), ("a", 2.0), ("b", 4.0)):
        collector.record_state_transition(name, CLOSED, OPEN)
        collector.record_state_transition(name, OPEN, HALF_OPEN)
        collector.record_state_duration(name, OPEN, seconds)
        collector.record_call_permitted(name)
        collector.record_call_permitted(name)
        collector.record_call_rejected(name, "circuit_breaker_open")
        collector.record_successful_call(name, 1.0)
        collector.record_successful_call(name, 1.0)
        collector.record_successful_call(name, 1.0)
        collector.record_failed_call(name, "boom", 1.0)
    snapshot = collector.get_snapshot()
    assert snapshot.pop("last_update") > 0
    assert snapshot == {
        "state_transitions": {"closed_to_open": 3, "open_to_half_open": 3},
        "calls_permitted": 6,
        "calls_rejected": 3,
        "successful_calls": 9,
        "failed_calls": 3,
        "state_durations": {"a_open": 3.5, "b_open": 4.0},
        "success_rate": 0.75,
        "rejection_rate": pytest.approx(1 / 3),
    }
    assert collector.states == {"a": HALF_OPEN, "b": HALF_OPEN}


def test_reset_leaves_nothing(collector: CircuitBreakerMetricsCollector) -> None:
    """Broken: after a reset one counter goes on from where it was."""
    for count in COUNTS.values():
        count(collector)
    collector.record_call_permitted("a")
    collector.reset()
    fresh = CircuitBreakerMetricsCollector().get_snapshot()
    assert collector.get_snapshot() | {"last_update": 0} == fresh | {"last_update": 0}
    assert fresh["success_rate"] == fresh["rejection_rate"] == 0.0


RECORDS: list[tuple[Count, int, str, dict[str, Any]]] = [
    (
        lambda it: it.record_state_transition("a", CLOSED, OPEN, "id-1"),
        logging.WARNING,
        "Circuit breaker a: closed to open",
        {"from_state": "closed", "to_state": "open", "event_type": "circuit_breaker_state_transition"},
    ),
    (
        lambda it: it.record_state_transition("a", OPEN, HALF_OPEN, "id-1"),
        logging.INFO,
        "Circuit breaker a: open to half_open",
        {"from_state": "open", "to_state": "half_open", "event_type": "circuit_breaker_state_transition"},
    ),
    (
        lambda it: it.record_call_rejected("a", "circuit_breaker_open", "id-1"),
        logging.INFO,
        "Circuit breaker a rejected a call: circuit_breaker_open",
        {"reason": "circuit_breaker_open", "event_type": "circuit_breaker_call_rejected"},
    ),
    (
        lambda it: it.record_failed_call("a", "boom", 2.5, "id-1"),
        logging.INFO,
        "Circuit breaker a saw a call fail: boom",
        {"error": "boom", "duration_ms": 2.5, "event_type": "circuit_breaker_failed_call"},
    ),
]
"""What is counted, and the level, text and fields of its record."""


@pytest.mark.parametrize(("what", "level", "text", "fields"), RECORDS)
def test_log_record_has_v0s_fields(
    collector: CircuitBreakerMetricsCollector,
    what: Count,
    level: int,
    text: str,
    fields: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Broken: a search over TTA's logs by breaker, event or correlation finds nothing, or alarms too much."""
    with caplog.at_level(logging.INFO):
        what(collector)
    [record] = caplog.records
    assert (record.levelno, record.getMessage()) == (level, text)
    wanted = fields | {"circuit_breaker_name": "a", "correlation_id": "id-1"}
    assert wanted.items() <= vars(record).items()


def test_function_counts_in_the_processs_collector(caplog: pytest.LogCaptureFixture) -> None:
    """Broken: what TTA counts by itself is counted nowhere, or not under its correlation."""
    record_state_transition("a", CLOSED, OPEN, "id-1")
    assert get_circuit_breaker_metrics().states == {"a": OPEN}
    assert get_circuit_breaker_metrics().state_transitions == {"closed_to_open": 1}
    assert vars(caplog.records[0])["correlation_id"] == "id-1"
