"""Owns the metrics as Prometheus reads them. Needs the extra `prometheus`."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import REGISTRY, CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tta_agent_coordination.exporters._base import SECONDS_BUCKETS, ExportedMetrics, agent_key
from tta_agent_coordination.models import AgentId
from tta_agent_coordination.resilience import CircuitBreakerMetricsCollector, CircuitBreakerState

__all__ = ["PrometheusMetrics"]


class PrometheusMetrics(ExportedMetrics, Collector):
    """Counts in memory, and shows the numbers whenever Prometheus scrapes.

    | name (after the namespace) | kind | labels |
    |---|---|---|
    | `messages_sent_total` | counter | outcome: ok, error |
    | `nacks_total`, `dead_letters_total`, `retries_scheduled_total` | counter | |
    | `last_backoff_seconds` | gauge | |
    | `queue_length` | gauge | agent, priority |
    | `queue_depth` (waiting and under a lease), `dead_letter_queue_length` | gauge | agent |
    | `oldest_ready_seconds` | gauge | agent |
    | `time_in_queue_seconds` | histogram | agent |
    | `handling_seconds` | histogram | agent, outcome |
    | `breaker_state` | gauge, 1 for the state it is in | breaker, state |
    | `breaker_calls_total` | counter | outcome: ok, error, rejected |
    | `breaker_transitions_total` | counter | transition |

    Args:
        registry: Where the metrics are registered; one object a registry and namespace.
        namespace: What every name begins with.
        breakers: Whose breakers are shown; None for the process's collector.

    Raises:
        ValueError: The registry has metrics of these names already.
    """

    def __init__(
        self,
        registry: CollectorRegistry = REGISTRY,
        *,
        namespace: str = "tta_agents",
        breakers: CircuitBreakerMetricsCollector | None = None,
    ) -> None:
        super().__init__(breakers)
        self._registry, self._namespace = registry, namespace
        self._time_in_queue = Histogram(
            "time_in_queue_seconds",
            "From sending to receiving.",
            ["agent"],
            namespace=namespace,
            registry=None,
            buckets=SECONDS_BUCKETS,
        )
        self._handling = Histogram(
            "handling_seconds",
            "How long handlers took.",
            ["agent", "outcome"],
            namespace=namespace,
            registry=None,
            buckets=SECONDS_BUCKETS,
        )
        registry.register(self)

    def unregister(self) -> None:
        """Take the metrics out of the registry."""
        self._registry.unregister(self)

    def observe_time_in_queue(self, agent_id: AgentId, seconds: float) -> None:
        """Note how long a message was in its queue."""
        self._time_in_queue.labels(agent_key(agent_id)).observe(seconds)

    def observe_handling_time(self, agent_id: AgentId, seconds: float, outcome: str) -> None:
        """Note how long a handler took, and how it ended."""
        self._handling.labels(agent_key(agent_id), outcome).observe(seconds)

    def describe(self) -> Iterator[Metric]:
        """Return what there is, so that a registry can refuse a second one of the same names."""
        return self.collect()

    def collect(self) -> Iterator[Metric]:
        """Return the numbers as they are now; Prometheus calls this."""
        yield from self._messages()
        yield from self._time_in_queue.collect()
        yield from self._handling.collect()
        yield from self._breakers()

    def _counter(self, name: str, text: str, label: str, values: dict[str, float]) -> CounterMetricFamily:
        family = CounterMetricFamily(f"{self._namespace}_{name}", text, labels=[label] if label else [])
        for value, number in values.items():
            family.add_metric([value] if label else [], number)
        return family

    def _gauge(
        self, name: str, text: str, labels: list[str], values: dict[tuple[str, ...], float]
    ) -> GaugeMetricFamily:
        family = GaugeMetricFamily(f"{self._namespace}_{name}", text, labels=labels)
        for key, number in values.items():
            family.add_metric(list(key), number)
        return family

    def _messages(self) -> Iterator[Metric]:
        sent = {"ok": float(self.delivery.delivered_ok), "error": float(self.delivery.delivered_error)}
        yield self._counter("messages_sent", "Sends by outcome; a full inbox is neither.", "outcome", sent)
        retry = self.retry
        yield self._counter("nacks", "Messages given back.", "", {"": retry.total_nacks})
        dead = {"": float(retry.total_permanent_failures)}
        yield self._counter("dead_letters", "Messages that became dead letters.", "", dead)
        scheduled = {"": float(retry.total_retries_scheduled)}
        yield self._counter("retries_scheduled", "Retries scheduled.", "", scheduled)
        backoff: dict[tuple[str, ...], float] = {(): retry.last_backoff_seconds}
        yield self._gauge("last_backoff_seconds", "Delay of the last retry.", [], backoff)
        lengths: dict[tuple[str, ...], float] = {
            (agent, str(priority)): length
            for (agent, priority), length in list(self.gauges.queue_lengths.items())
        }
        yield self._gauge(
            "queue_length", "Waiting messages, as last observed.", ["agent", "priority"], lengths
        )
        depths: dict[tuple[str, ...], float] = {(agent,): depth for agent, depth in list(self.depths.items())}
        yield self._gauge("queue_depth", "What `queue_size` limits, as last observed.", ["agent"], depths)
        letters: dict[tuple[str, ...], float] = {
            (agent,): length for agent, length in list(self.gauges.dlq_lengths.items())
        }
        yield self._gauge("dead_letter_queue_length", "Dead letters, as last observed.", ["agent"], letters)
        ages: dict[tuple[str, ...], float] = {(agent,): age for agent, age in list(self.oldest_ready.items())}
        yield self._gauge("oldest_ready_seconds", "How long the oldest has been due.", ["agent"], ages)

    def _breakers(self) -> Iterator[Metric]:
        breakers = self.breakers
        states: dict[tuple[str, ...], float] = {
            (name, state.value): float(state is held)
            for name, held in list(breakers.states.items())
            for state in CircuitBreakerState
        }
        yield self._gauge("breaker_state", "1 for the state it is in.", ["breaker", "state"], states)
        calls = {
            "ok": float(breakers.successful_calls),
            "error": float(breakers.failed_calls),
            "rejected": float(breakers.calls_rejected),
        }
        yield self._counter("breaker_calls", "Calls through all breakers.", "outcome", calls)
        changes = {name: float(number) for name, number in list(breakers.state_transitions.items())}
        yield self._counter("breaker_transitions", "Changes of state.", "transition", changes)
