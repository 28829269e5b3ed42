"""What v0 wrote, read without v0's clock; and the process-wide collector by v0's names."""

from __future__ import annotations

import json
import logging
import math
import time

import pytest

from tta_agent_coordination.resilience import (
    CircuitBreakerMetrics,
    CircuitBreakerState,
    get_circuit_breaker_metrics,
    record_state_transition,
)
from tta_agent_coordination.resilience._breaker_state import Foreign
from tta_agent_coordination.resilience._v0_records import read_counters, read_foreign, write_counters

DAY_MS = 86_400_000


def stored(**fields: object) -> bytes:
    """Return a state record of v0."""
    return json.dumps({"state": "open", "failure_count": 4, **fields}).encode()


def test_age_is_that_of_the_key_and_of_the_record_together() -> None:
    """Broken: an old opening that v0 writes again looks like a new one, or the other way round."""
    text = stored(state_changed_at=1_000.0, last_failure_time=990.0, updated_at=1_030.0)
    read = read_foreign(text, DAY_MS - 12_500)
    assert read == Foreign(state=CircuitBreakerState.OPEN, age=42.5, failure_count=4, failure_age=52.5)


@pytest.mark.parametrize("ttl_ms", [-1, DAY_MS + 1])
def test_key_without_v0s_day_counts_as_written_now(ttl_ms: int) -> None:
    """Broken: a key with another time to live makes a record a day old, or of the future."""
    read = read_foreign(stored(state_changed_at=1_000.0, updated_at=1_030.0), ttl_ms)
    assert read is not None
    assert (read.age, read.failure_age) == (30, math.inf)


@pytest.mark.parametrize(("ttl_ms", "age"), [(0, 86_430), (1, 86_429.999), (DAY_MS, 30)])
def test_age_counts_to_the_ends_of_v0s_day(ttl_ms: int, age: float) -> None:
    """Broken: a record in its last moment looks as if it was written now."""
    read = read_foreign(stored(state_changed_at=1_000.0, updated_at=1_030.0), ttl_ms)
    assert read is not None
    assert read.age == age


def test_record_without_stamps_is_as_old_as_its_key() -> None:
    """Broken: a record without stamps is taken for a new one, or for an endless one."""
    for text in (stored(), stored(updated_at=1_030.0), stored(state_changed_at=1_000.0)):
        read = read_foreign(text, DAY_MS - 5_000)
        assert read is not None
        assert (read.age, read.failure_age) == (5, math.inf)


def test_stamps_out_of_order_make_no_negative_age() -> None:
    """Broken: a clock that stepped back on v0's machine makes its opening newer than anything."""
    read = read_foreign(
        stored(state_changed_at=1_040.0, updated_at=1_030.0, failure_count=-3), DAY_MS - 5_000
    )
    assert read is not None
    assert (read.age, read.failure_count) == (5, 0)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"state": "ajar"}', b"\xff"])
def test_what_cannot_be_read_is_nothing(text: bytes) -> None:
    """Broken: a broken record stops a process."""
    assert read_foreign(text, DAY_MS) is None
    assert read_counters(text if text != b'{"state": "ajar"}' else b'{"total_calls": "many"}') is None


def test_counters_survive_the_way_there_and_back() -> None:
    """Broken: counters change on their way through the store."""
    metrics = CircuitBreakerMetrics(9, 2, 6, 3, 1_000.5, 1_001.5)
    before = time.time()
    written = write_counters(metrics)
    assert read_counters(written) == metrics
    assert before <= json.loads(written)["updated_at"] <= time.time()
    assert read_counters(b"{}") == CircuitBreakerMetrics()


def test_collector_has_v0s_methods(caplog: pytest.LogCaptureFixture) -> None:
    """Broken: TTA's own modules call these on the object they get."""
    caplog.set_level(logging.INFO)
    collector = get_circuit_breaker_metrics()
    collector.record_call_permitted("a", "id")
    collector.record_call_rejected("a", "circuit_breaker_open", "id")
    collector.record_successful_call("a", 1.5, "id")
    collector.record_failed_call("a", "boom", 2.5, "id")
    collector.record_state_duration("a", CircuitBreakerState.OPEN, 2.0)
    collector.record_state_duration("a", CircuitBreakerState.OPEN, 3.0)
    record_state_transition("a", CircuitBreakerState.CLOSED, CircuitBreakerState.OPEN, "id")
    record_state_transition("a", CircuitBreakerState.OPEN, CircuitBreakerState.HALF_OPEN)
    snapshot = collector.get_snapshot()
    assert snapshot.pop("last_update") == collector.last_update
    assert snapshot == {
        "state_transitions": {"closed_to_open": 1, "open_to_half_open": 1},
        "calls_permitted": 1,
        "calls_rejected": 1,
        "successful_calls": 1,
        "failed_calls": 1,
        "state_durations": {"a_open": 5.0},
        "success_rate": 0.5,
        "rejection_rate": 0.5,
    }
    assert [record.levelname for record in caplog.records] == ["INFO", "INFO", "WARNING", "INFO"]
    snapshot["state_transitions"]["closed_to_open"] = 99
    assert collector.state_transitions["closed_to_open"] == 1
    collector.reset()
    assert collector.get_snapshot()["success_rate"] == collector.get_snapshot()["rejection_rate"] == 0.0
