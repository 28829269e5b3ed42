"""Owns the metrics as OpenTelemetry reads them. Needs the extra `otel`; the SDK is the application's."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from opentelemetry.metrics import CallbackOptions, Meter, Observation, get_meter

from tta_agent_coordination.exporters._base import SECONDS_BUCKETS, ExportedMetrics, agent_key
from tta_agent_coordination.models import AgentId
from tta_agent_coordination.resilience import CircuitBreakerMetricsCollector, CircuitBreakerState

__all__ = ["OpenTelemetryMetrics"]

type Numbers = Callable[[], Iterable[Observation]]


class OpenTelemetryMetrics(ExportedMetrics):
    """Counts in memory, and shows the numbers whenever a reader collects.

    | name | kind | attributes |
    |---|---|---|
    | `tta.agents.messages.sent` | counter | outcome: ok, error |
    | `tta.agents.nacks`, `tta.agents.dead_letters`, `tta.agents.retries` | counter | |
    | `tta.agents.last_backoff` (s) | gauge | |
    | `tta.agents.queue.length` | gauge | agent, priority |
    | `tta.agents.queue.depth` (waiting and under a lease) | gauge | agent |
    | `tta.agents.dlq.length`, `tta.agents.queue.oldest_ready` (s) | gauge | agent |
    | `tta.agents.queue.time` (s) | histogram | agent |
    | `tta.agents.handling.time` (s) | histogram | agent, outcome |
    | `tta.agents.breaker.state` | gauge, 1 for the state it is in | breaker, state |
    | `tta.agents.breaker.calls` | counter | outcome: ok, error, rejected |
    | `tta.agents.breaker.transitions` | counter | transition |

    Args:
        meter: Where the instruments are made; None for the global provider's.
        breakers: Whose breakers are shown; None for the process's collector.
    """

    def __init__(
        self, meter: Meter | None = None, *, breakers: CircuitBreakerMetricsCollector | None = None
    ) -> None:
        super().__init__(breakers)
        self._meter = get_meter("tta_agent_coordination") if meter is None else meter
        buckets = list(SECONDS_BUCKETS)
        self._time_in_queue = self._meter.create_histogram(
            "tta.agents.queue.time",
            unit="s",
            description="From sending to receiving.",
            explicit_bucket_boundaries_advisory=buckets,
        )
        self._handling = self._meter.create_histogram(
            "tta.agents.handling.time",
            unit="s",
            description="How long handlers took.",
            explicit_bucket_boundaries_advisory=buckets,
        )
        self._show_messages()
        self._show_gauges()
        self._show_breakers()

    def observe_time_in_queue(self, agent_id: AgentId, seconds: float) -> None:
        """Note how long a message was in its queue."""
        self._time_in_queue.record(seconds, {"agent": agent_key(agent_id)})

    def observe_handling_time(self, agent_id: AgentId, seconds: float, outcome: str) -> None:
        """Note how long a handler took, and how it ended."""
        self._handling.record(seconds, {"agent": agent_key(agent_id), "outcome": outcome})

    def _counter(self, name: str, text: str, numbers: Numbers) -> None:
        def read(_: CallbackOptions) -> Iterable[Observation]:
            return numbers()

        self._meter.create_observable_counter(f"tta.agents.{name}", [read], description=text)

    def _gauge(self, name: str, text: str, numbers: Numbers, unit: str = "") -> None:
        def read(_: CallbackOptions) -> Iterable[Observation]:
            return numbers()

        self._meter.create_observable_gauge(f"tta.agents.{name}", [read], unit=unit, description=text)

    def _show_messages(self) -> None:
        def sent() -> Iterable[Observation]:
            yield Observation(self.delivery.delivered_ok, {"outcome": "ok"})
            yield Observation(self.delivery.delivered_error, {"outcome": "error"})

        self._counter("messages.sent", "Sends by outcome; a full inbox is neither.", sent)
        self._counter("nacks", "Messages given back.", lambda: [Observation(self.retry.total_nacks)])
        self._counter(
            "dead_letters",
            "Messages that became dead letters.",
            lambda: [Observation(self.retry.total_permanent_failures)],
        )
        self._counter(
            "retries", "Retries scheduled.", lambda: [Observation(self.retry.total_retries_scheduled)]
        )
        self._gauge(
            "last_backoff",
            "Delay of the last retry.",
            lambda: [Observation(self.retry.last_backoff_seconds)],
            "s",
        )

    def _show_gauges(self) -> None:
        def lengths() -> Iterable[Observation]:
            for (agent, priority), length in list(self.gauges.queue_lengths.items()):
                yield Observation(length, {"agent": agent, "priority": priority})

        def depths() -> Iterable[Observation]:
            for agent, depth in list(self.depths.items()):
                yield Observation(depth, {"agent": agent})

        def dead() -> Iterable[Observation]:
            for agent, length in list(self.gauges.dlq_lengths.items()):
                yield Observation(length, {"agent": agent})

        def oldest() -> Iterable[Observation]:
            for agent, age in list(self.oldest_ready.items()):
                yield Observation(age, {"agent": agent})

        self._gauge("queue.length", "Waiting messages, as last observed.", lengths)
        self._gauge("queue.depth", "What `queue_size` limits, as last observed.", depths)
        self._gauge("dlq.length", "Dead letters, as last observed.", dead)
        self._gauge("queue.oldest_ready", "How long the oldest has been due.", oldest, "s")

    def _show_breakers(self) -> None:
        breakers = self.breakers

        def states() -> Iterable[Observation]:
            for name, held in list(breakers.states.items()):
                for state in CircuitBreakerState:
                    yield Observation(int(state is held), {"breaker": name, "state": state.value})

        def calls() -> Iterable[Observation]:
            yield Observation(breakers.successful_calls, {"outcome": "ok"})
            yield Observation(breakers.failed_calls, {"outcome": "error"})
            yield Observation(breakers.calls_rejected, {"outcome": "rejected"})

        def transitions() -> Iterable[Observation]:
            for name, number in list(breakers.state_transitions.items()):
                yield Observation(number, {"transition": name})

        self._gauge("breaker.state", "1 for the state it is in.", states)
        self._counter("breaker.calls", "Calls through all breakers.", calls)
        self._counter("breaker.transitions", "Changes of state.", transitions)
