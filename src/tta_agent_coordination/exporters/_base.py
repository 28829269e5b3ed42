"""Owns what the exporters have in common: further gauges, and how long things took.

Knows no exporting library.
"""

from __future__ import annotations

from abc import abstractmethod
from datetime import UTC, datetime

from tta_agent_coordination.messaging import InboxStats, ReceivedMessage
from tta_agent_coordination.metrics import InMemoryMetrics
from tta_agent_coordination.models import AgentId
from tta_agent_coordination.resilience import CircuitBreakerMetricsCollector, get_circuit_breaker_metrics

__all__ = ["SECONDS_BUCKETS", "ExportedMetrics", "agent_key"]

SECONDS_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0, 1800.0)
"""Upper bounds of the histograms' buckets, seconds: from a wake-up to the longest handler."""


def agent_key(agent_id: AgentId) -> str:
    """Return the label of an agent: `type:inst`, with `default` for a missing instance, as TTA writes it."""
    return f"{agent_id.type}:{agent_id.instance or 'default'}"


class ExportedMetrics(InMemoryMetrics):
    """The in-memory collector, and what an exporter shows besides.

    Args:
        breakers: Whose breakers are shown; None for the process's collector.
    """

    def __init__(self, breakers: CircuitBreakerMetricsCollector | None = None) -> None:
        super().__init__()
        self.breakers: CircuitBreakerMetricsCollector = (
            get_circuit_breaker_metrics() if breakers is None else breakers
        )
        self.depths: dict[str, int] = {}
        self.oldest_ready: dict[str, float] = {}

    def observe_inbox(self, agent_id: AgentId, stats: InboxStats) -> None:
        """Show what `coordinator.stats(agent_id)` counted: depth, dead letters, age of the oldest."""
        key = agent_key(agent_id)
        for priority, length in stats.by_priority.items():
            self.set_queue_length(key, int(priority), length)
        self.set_dlq_length(key, stats.dead)
        self.depths[key] = stats.depth
        self.oldest_ready[key] = stats.oldest_ready_s

    def observe_received(self, agent_id: AgentId, received: ReceivedMessage) -> None:
        """Note how long a message was in its queue, by the sender's clock and this one; never below zero."""
        if received.queue_message.enqueued_at is None:
            return
        sent = datetime.fromisoformat(received.queue_message.enqueued_at)
        sent = sent if sent.tzinfo else sent.replace(tzinfo=UTC)
        self.observe_time_in_queue(agent_id, max(0.0, (datetime.now(UTC) - sent).total_seconds()))

    @abstractmethod
    def observe_time_in_queue(self, agent_id: AgentId, seconds: float) -> None:
        """Note how long a message was in its queue."""

    @abstractmethod
    def observe_handling_time(self, agent_id: AgentId, seconds: float, outcome: str) -> None:
        """Note how long a handler took, and how it ended: `ok`, `transient`, `permanent` or `timeout`."""
