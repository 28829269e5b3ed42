"""Owns the process-wide numbers of all circuit breakers, which TTA reads too.

There is one collector in a process, whichever breaker counts. Exporters read `snapshot` methods and `states`.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import Any

from tta_agent_coordination.resilience._breaker_state import CircuitBreakerState

__all__ = ["CircuitBreakerMetricsCollector", "get_circuit_breaker_metrics", "record_state_transition"]

_log = logging.getLogger(__name__)


@dataclass
class CircuitBreakerMetricsCollector:
    """Counts calls and transitions of all breakers in this process.

    Attributes:
        state_transitions: Transitions by `closed_to_open` and the like.
        calls_permitted: Calls that were let through.
        calls_rejected: Calls that were refused.
        successful_calls: Calls that returned.
        failed_calls: Calls that raised; a cancelled one counts as neither.
        state_durations: Seconds spent in a state that has ended, by `{name}_{state}`.
        last_update: Seconds since the epoch.
        states: The state of each breaker that was initialised or changed.
    """

    state_transitions: dict[str, int] = field(default_factory=dict[str, int])
    calls_permitted: int = 0
    calls_rejected: int = 0
    successful_calls: int = 0
    failed_calls: int = 0
    state_durations: dict[str, float] = field(default_factory=dict[str, float])
    last_update: float = field(default_factory=time.time)
    states: dict[str, CircuitBreakerState] = field(default_factory=dict[str, CircuitBreakerState])

    def record_state_transition(
        self,
        circuit_breaker_name: str,
        from_state: CircuitBreakerState,
        to_state: CircuitBreakerState,
        correlation_id: str | None = None,
    ) -> None:
        """Count a transition and log it, an opening as a warning."""
        key = f"{from_state.value}_to_{to_state.value}"
        self.state_transitions[key] = self.state_transitions.get(key, 0) + 1
        self.states[circuit_breaker_name] = to_state
        self.last_update = time.time()
        _log.log(
            logging.WARNING if to_state is CircuitBreakerState.OPEN else logging.INFO,
            "Circuit breaker %s: %s to %s",
            circuit_breaker_name,
            from_state.value,
            to_state.value,
            extra={
                "circuit_breaker_name": circuit_breaker_name,
                "from_state": from_state.value,
                "to_state": to_state.value,
                "correlation_id": correlation_id,
                "event_type": "circuit_breaker_state_transition",
            },
        )

    def record_call_permitted(self, circuit_breaker_name: str, correlation_id: str | None = None) -> None:  # noqa: ARG002 - v0's signature
        """Count a call that was let through."""
        self.calls_permitted += 1

    def record_call_rejected(
        self, circuit_breaker_name: str, reason: str, correlation_id: str | None = None
    ) -> None:
        """Count a refused call and log why."""
        self.calls_rejected += 1
        self.last_update = time.time()
        _log.info(
            "Circuit breaker %s rejected a call: %s",
            circuit_breaker_name,
            reason,
            extra={
                "circuit_breaker_name": circuit_breaker_name,
                "reason": reason,
                "correlation_id": correlation_id,
                "event_type": "circuit_breaker_call_rejected",
            },
        )

    def record_successful_call(
        self,
        circuit_breaker_name: str,  # noqa: ARG002 - v0's signature
        duration_ms: float,  # noqa: ARG002 - v0's signature
        correlation_id: str | None = None,  # noqa: ARG002 - v0's signature
    ) -> None:
        """Count a call that returned; `duration_ms` milliseconds."""
        self.successful_calls += 1
        self.last_update = time.time()

    def record_failed_call(
        self, circuit_breaker_name: str, error: str, duration_ms: float, correlation_id: str | None = None
    ) -> None:
        """Count a call that raised, and log it; `duration_ms` milliseconds."""
        self.failed_calls += 1
        self.last_update = time.time()
        _log.info(
            "Circuit breaker %s saw a call fail: %s",
            circuit_breaker_name,
            error,
            extra={
                "circuit_breaker_name": circuit_breaker_name,
                "error": error,
                "duration_ms": duration_ms,
                "correlation_id": correlation_id,
                "event_type": "circuit_breaker_failed_call",
            },
        )

    def record_state_duration(
        self, circuit_breaker_name: str, state: CircuitBreakerState, duration_seconds: float
    ) -> None:
        """Add to the time that a breaker spent in a state, seconds."""
        key = f"{circuit_breaker_name}_{state.value}"
        self.state_durations[key] = self.state_durations.get(key, 0.0) + duration_seconds
        self.last_update = time.time()

    def get_snapshot(self) -> dict[str, Any]:
        """Return a copy of all numbers and two rates from 0 to 1; later counting does not change it."""
        finished = self.successful_calls + self.failed_calls
        asked = self.calls_permitted + self.calls_rejected
        return {
            "state_transitions": dict(self.state_transitions),
            "calls_permitted": self.calls_permitted,
            "calls_rejected": self.calls_rejected,
            "successful_calls": self.successful_calls,
            "failed_calls": self.failed_calls,
            "state_durations": dict(self.state_durations),
            "last_update": self.last_update,
            "success_rate": self.successful_calls / finished if finished else 0.0,
            "rejection_rate": self.calls_rejected / asked if asked else 0.0,
        }

    def reset(self) -> None:
        """Set every number back to zero."""
        self.state_transitions.clear()
        self.state_durations.clear()
        self.calls_permitted = self.calls_rejected = self.successful_calls = self.failed_calls = 0
        self.last_update = time.time()


_COLLECTOR = CircuitBreakerMetricsCollector()


def get_circuit_breaker_metrics() -> CircuitBreakerMetricsCollector:
    """Return the one collector of this process."""
    return _COLLECTOR


def record_state_transition(
    circuit_breaker_name: str,
    from_state: CircuitBreakerState,
    to_state: CircuitBreakerState,
    correlation_id: str | None = None,
) -> None:
    """Count a transition in the process's collector."""
    _COLLECTOR.record_state_transition(circuit_breaker_name, from_state, to_state, correlation_id)
