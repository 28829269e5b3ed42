"""Owns the counters of delivery: the Protocol, the in-memory collector and the one that counts nothing.

Knows nothing of exporters; those are adapters in extras that fulfil the same Protocol.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

__all__ = ["DeliveryStats", "InMemoryMetrics", "MessageMetrics", "NullMetrics", "QueueGauges", "RetryStats"]


class MessageMetrics(Protocol):
    """What the coordinator tells a metrics object. One that raises never breaks an operation."""

    def inc_delivered_ok(self, n: int = 1, /) -> None:
        """Count messages that reached an inbox."""
        ...

    def inc_delivered_error(self, n: int = 1, /) -> None:
        """Count sends that failed; a full inbox counts as neither."""
        ...

    def inc_nacks(self, n: int = 1, /) -> None:
        """Count messages that were given back and will be retried."""
        ...

    def inc_permanent(self, n: int = 1, /) -> None:
        """Count messages that became dead letters."""
        ...

    def inc_retries_scheduled(self, n: int = 1, /, last_backoff_seconds: float = 0.0) -> None:
        """Count scheduled retries; `last_backoff_seconds` is the delay of the last one."""
        ...


@dataclass(slots=True)
class RetryStats:
    """Counters of what came back."""

    total_nacks: int = 0
    total_permanent_failures: int = 0
    total_retries_scheduled: int = 0
    last_backoff_seconds: float = 0.0


@dataclass(slots=True)
class DeliveryStats:
    """Counters of sends."""

    delivered_ok: int = 0
    delivered_error: int = 0


@dataclass(slots=True)
class QueueGauges:
    """Lengths that somebody measured: queues by (agent, priority), dead letter queues by agent."""

    queue_lengths: dict[tuple[str, int], int] = field(default_factory=dict[tuple[str, int], int])
    dlq_lengths: dict[str, int] = field(default_factory=dict[str, int])


class InMemoryMetrics:
    """The default collector: plain numbers in this process."""

    def __init__(self) -> None:
        self.retry: RetryStats = RetryStats()
        self.delivery: DeliveryStats = DeliveryStats()
        self.gauges: QueueGauges = QueueGauges()

    def __repr__(self) -> str:
        """Show the counters."""
        return f"InMemoryMetrics({self.delivery}, {self.retry})"

    def inc_delivered_ok(self, n: int = 1) -> None:
        """Count messages that reached an inbox."""
        self.delivery.delivered_ok += n

    def inc_delivered_error(self, n: int = 1) -> None:
        """Count sends that failed."""
        self.delivery.delivered_error += n

    def inc_nacks(self, n: int = 1) -> None:
        """Count messages that were given back and will be retried."""
        self.retry.total_nacks += n

    def inc_permanent(self, n: int = 1) -> None:
        """Count messages that became dead letters."""
        self.retry.total_permanent_failures += n

    def inc_retries_scheduled(self, n: int = 1, last_backoff_seconds: float = 0.0) -> None:
        """Count scheduled retries and keep the last delay, in seconds."""
        self.retry.total_retries_scheduled += n
        self.retry.last_backoff_seconds = last_backoff_seconds

    def set_queue_length(self, agent_key: str, priority: int, length: int) -> None:
        """Note the length of one level of an agent's inbox."""
        self.gauges.queue_lengths[agent_key, priority] = length

    def set_dlq_length(self, agent_key: str, length: int) -> None:
        """Note the length of an agent's dead letter queue."""
        self.gauges.dlq_lengths[agent_key] = length

    def snapshot(self) -> dict[str, Any]:
        """Return a copy of all numbers; later counting does not change it.

        Returns:
            `retry`, `delivery` and `gauges` by v0's names, queue lengths keyed `agent|priority`, and
            `last_update`, the time of this call in seconds since the epoch.
        """
        return {
            "retry": asdict(self.retry),
            "delivery": asdict(self.delivery),
            "gauges": {
                "queue_lengths": {
                    f"{agent}|{priority}": length
                    for (agent, priority), length in self.gauges.queue_lengths.items()
                },
                "dlq_lengths": dict(self.gauges.dlq_lengths),
            },
            "last_update": time.time(),
        }


class NullMetrics:
    """Counts nothing."""

    def inc_delivered_ok(self, n: int = 1) -> None:
        """Ignore it."""

    def inc_delivered_error(self, n: int = 1) -> None:
        """Ignore it."""

    def inc_nacks(self, n: int = 1) -> None:
        """Ignore it."""

    def inc_permanent(self, n: int = 1) -> None:
        """Ignore it."""

    def inc_retries_scheduled(self, n: int = 1, last_backoff_seconds: float = 0.0) -> None:
        """Ignore it."""

    def set_queue_length(self, agent_key: str, priority: int, length: int) -> None:
        """Ignore it."""

    def set_dlq_length(self, agent_key: str, length: int) -> None:
        """Ignore it."""

    def snapshot(self) -> dict[str, Any]:
        """Return nothing."""
        return {}
