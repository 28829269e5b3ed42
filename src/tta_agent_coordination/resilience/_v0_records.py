"""Owns v0's two JSON records of a breaker: the state that a v0 process wrote, and the counters.

Pure: no Redis, no asyncio. Our own state record is written by the scripts; the counters are written here.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError

from tta_agent_coordination.resilience._breaker_state import CircuitBreakerState, Foreign

__all__ = ["CircuitBreakerMetrics", "read_counters", "read_foreign", "write_counters"]

STATE_TTL_S = 86_400
"""How long v0 keeps a state record; what is left of it tells when it was written, by the server's clock."""


@dataclass
class CircuitBreakerMetrics:
    """What one breaker counted. `total_calls` holds refused calls too; times are seconds since the epoch."""

    total_calls: int = 0
    failed_calls: int = 0
    successful_calls: int = 0
    state_changes: int = 0
    last_failure_time: float | None = None
    last_success_time: float | None = None


class _State(BaseModel):
    state: CircuitBreakerState
    failure_count: int = 0
    last_failure_time: float | None = None
    state_changed_at: float | None = None
    updated_at: float | None = None


class _Counters(BaseModel):
    total_calls: int = 0
    failed_calls: int = 0
    successful_calls: int = 0
    state_changes: int = 0
    last_failure_time: float | None = None
    last_success_time: float | None = None
    updated_at: float | None = None


def read_foreign(text: bytes, ttl_ms: int) -> Foreign | None:
    """Return what a v0 process wrote, None where nothing can be read.

    Ages are free of that process's clock: how long ago it wrote comes from what is left of the key's time to
    live, the rest is a difference of two of its own stamps.

    Args:
        text: The stored JSON, may be empty.
        ttl_ms: What is left of the key's time to live, milliseconds; -1 for none.
    """
    if not text:
        return None
    try:
        stored = _State.model_validate_json(text)
    except ValidationError:
        return None
    written_ago = STATE_TTL_S - ttl_ms / 1000 if 0 <= ttl_ms <= STATE_TTL_S * 1000 else 0.0

    def age_of(stamp: float | None) -> float:
        if stamp is None or stored.updated_at is None:
            return math.inf
        return written_ago + max(0.0, stored.updated_at - stamp)

    age = age_of(stored.state_changed_at)
    return Foreign(
        state=stored.state,
        age=written_ago if math.isinf(age) else age,
        failure_count=max(0, stored.failure_count),
        failure_age=age_of(stored.last_failure_time),
    )


def read_counters(text: bytes) -> CircuitBreakerMetrics | None:
    """Return stored counters, None where nothing can be read."""
    if not text:
        return None
    try:
        stored = _Counters.model_validate_json(text)
    except ValidationError:
        return None
    return CircuitBreakerMetrics(**stored.model_dump(exclude={"updated_at"}))


def write_counters(metrics: CircuitBreakerMetrics) -> bytes:
    """Return counters as v0 stores them."""
    return (
        _Counters(
            total_calls=metrics.total_calls,
            failed_calls=metrics.failed_calls,
            successful_calls=metrics.successful_calls,
            state_changes=metrics.state_changes,
            last_failure_time=metrics.last_failure_time,
            last_success_time=metrics.last_success_time,
            updated_at=time.time(),
        )
        .model_dump_json()
        .encode()
    )
