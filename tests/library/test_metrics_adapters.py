"""The exporters: the same numbers for Prometheus, for OpenTelemetry and in memory."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.library.support.builders import INPUT, WORLD, make_message
from tta_agent_coordination import AgentId, InMemoryMetrics, MessagePriority, QueueMessage, ReceivedMessage
from tta_agent_coordination.exporters import otel as otel_module
from tta_agent_coordination.exporters._base import SECONDS_BUCKETS, ExportedMetrics
from tta_agent_coordination.exporters.otel import OpenTelemetryMetrics
from tta_agent_coordination.exporters.prometheus import PrometheusMetrics
from tta_agent_coordination.messaging import InboxStats
from tta_agent_coordination.resilience import CircuitBreakerMetricsCollector, CircuitBreakerState

type Numbers = dict[tuple[str, tuple[tuple[str, str], ...]], float]
type Exporter = tuple[ExportedMetrics, Callable[[], Numbers]]

NAMES = {
    "tta.agents.messages.sent": "messages_sent_total",
    "tta.agents.nacks": "nacks_total",
    "tta.agents.dead_letters": "dead_letters_total",
    "tta.agents.retries": "retries_scheduled_total",
    "tta.agents.last_backoff": "last_backoff_seconds",
    "tta.agents.queue.length": "queue_length",
    "tta.agents.queue.depth": "queue_depth",
    "tta.agents.dlq.length": "dead_letter_queue_length",
    "tta.agents.queue.oldest_ready": "oldest_ready_seconds",
    "tta.agents.queue.time": "time_in_queue_seconds",
    "tta.agents.handling.time": "handling_seconds",
    "tta.agents.breaker.state": "breaker_state",
    "tta.agents.breaker.calls": "breaker_calls_total",
    "tta.agents.breaker.transitions": "breaker_transitions_total",
}
"""The two exporters' names for one thing."""


def breakers() -> CircuitBreakerMetricsCollector:
    """Return the numbers of some breakers."""
    made = CircuitBreakerMetricsCollector(successful_calls=5, failed_calls=2, calls_rejected=1)
    made.record_state_transition("svc", CircuitBreakerState.CLOSED, CircuitBreakerState.OPEN)
    return made


def prometheus() -> Exporter:
    registry = CollectorRegistry()
    metrics = PrometheusMetrics(registry, breakers=breakers())

    def read() -> Numbers:
        families = text_string_to_metric_families(generate_latest(registry).decode())
        return {
            (sample.name.removeprefix("tta_agents_"), tuple(sorted(sample.labels.items()))): sample.value
            for family in families
            for sample in family.samples
            if not sample.name.endswith(("_bucket", "_created"))
        }

    return metrics, read


def otel() -> Exporter:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    metrics = OpenTelemetryMetrics(provider.get_meter("test"), breakers=breakers())

    def read() -> Numbers:
        numbers: Numbers = {}
        data: Any = reader.get_metrics_data()
        for metric in (each for scope in data.resource_metrics[0].scope_metrics for each in scope.metrics):
            name = NAMES[metric.name]
            for point in metric.data.data_points:
                labels = tuple(sorted((key, str(value)) for key, value in point.attributes.items()))
                if hasattr(point, "sum"):
                    numbers[f"{name}_count", labels] = point.count
                    numbers[f"{name}_sum", labels] = point.sum
                else:
                    numbers[name, labels] = point.value
        return numbers

    return metrics, read


@pytest.fixture(params=[prometheus, otel])
def exporter(request: pytest.FixtureRequest) -> Exporter:
    """An exporter, and what its reader sees."""
    made: Exporter = request.param()
    return made


def label(**labels: str) -> tuple[tuple[str, str], ...]:
    """Return labels in order."""
    return tuple(sorted(labels.items()))


def test_counters_are_exported(exporter: Exporter) -> None:
    """Broken: alerts on failed deliveries never fire."""
    metrics, read = exporter
    metrics.inc_delivered_ok(3)
    metrics.inc_delivered_error()
    metrics.inc_nacks(2)
    metrics.inc_permanent()
    metrics.inc_retries_scheduled(2, last_backoff_seconds=1.5)
    seen = read()
    assert seen["messages_sent_total", label(outcome="ok")] == 3
    assert seen["messages_sent_total", label(outcome="error")] == 1
    assert (seen["nacks_total", ()], seen["dead_letters_total", ()]) == (2, 1)
    assert (seen["retries_scheduled_total", ()], seen["last_backoff_seconds", ()]) == (2, 1.5)
    metrics.inc_delivered_ok()
    assert read()["messages_sent_total", label(outcome="ok")] == 4


def test_depth_and_age_of_the_oldest_are_exported(exporter: Exporter) -> None:
    """Broken: a queue that grows, or a message that starves, is seen by nobody."""
    metrics, read = exporter
    stats = InboxStats(
        ready=3,
        delayed=1,
        reserved=2,
        dead=7,
        depth=6,
        overdue=0,
        audit=4,
        oldest_ready_s=12.5,
        by_priority={MessagePriority.HIGH: 1, MessagePriority.NORMAL: 3, MessagePriority.LOW: 0},
    )
    metrics.observe_inbox(WORLD, stats)
    metrics.observe_inbox(AgentId(type="input"), stats)
    seen = read()
    assert seen["queue_length", label(agent="world:1", priority="9")] == 1
    assert seen["queue_length", label(agent="input:default", priority="5")] == 3
    assert seen["queue_depth", label(agent="world:1")] == 6
    assert seen["dead_letter_queue_length", label(agent="world:1")] == 7
    assert seen["oldest_ready_seconds", label(agent="world:1")] == 12.5


def test_times_are_exported(exporter: Exporter) -> None:
    """Broken: nobody can say how long messages wait and handlers take."""
    metrics, read = exporter
    for aware in (True, False):
        sent = datetime.now(UTC) - timedelta(seconds=30)
        stamp = (sent if aware else sent.replace(tzinfo=None)).isoformat()
        queued = QueueMessage(message=make_message(), priority=MessagePriority.NORMAL, enqueued_at=stamp)
        received = ReceivedMessage(token="res_1", queue_message=queued, visibility_deadline=stamp)
        metrics.observe_received(WORLD, received)
    unknown = received.model_copy(update={"queue_message": queued.model_copy(update={"enqueued_at": None})})
    metrics.observe_received(WORLD, unknown)
    metrics.observe_time_in_queue(INPUT, 0.25)
    metrics.observe_handling_time(WORLD, 2.0, "ok")
    metrics.observe_handling_time(WORLD, 3.0, "ok")
    seen = read()
    assert seen["time_in_queue_seconds_count", label(agent="world:1")] == 2
    assert 60 <= seen["time_in_queue_seconds_sum", label(agent="world:1")] < 120
    assert seen["time_in_queue_seconds_sum", label(agent="input:1")] == 0.25
    assert seen["handling_seconds_count", label(agent="world:1", outcome="ok")] == 2
    assert seen["handling_seconds_sum", label(agent="world:1", outcome="ok")] == 5


def test_time_in_a_queue_is_between_two_clocks(exporter: Exporter) -> None:
    """Broken: a stamp in another zone counts hours, or a sender whose clock is ahead takes time away."""
    metrics, read = exporter
    zone = timezone(timedelta(hours=5))
    for agent, age in ((WORLD, 30), (INPUT, -3600)):
        stamp = (datetime.now(zone) - timedelta(seconds=age)).isoformat()
        queued = QueueMessage(message=make_message(), priority=MessagePriority.NORMAL, enqueued_at=stamp)
        metrics.observe_received(
            agent, ReceivedMessage(token="res_1", queue_message=queued, visibility_deadline=stamp)
        )
    seen = read()
    assert 30 <= seen["time_in_queue_seconds_sum", label(agent="world:1")] < 90
    assert seen["time_in_queue_seconds_sum", label(agent="input:1")] == 0


def test_breakers_are_exported(exporter: Exporter) -> None:
    """Broken: an open breaker shows on no dashboard."""
    metrics, read = exporter
    seen = read()
    assert seen["breaker_state", label(breaker="svc", state="open")] == 1
    assert seen["breaker_state", label(breaker="svc", state="closed")] == 0
    assert seen["breaker_calls_total", label(outcome="ok")] == 5
    assert seen["breaker_calls_total", label(outcome="error")] == 2
    assert seen["breaker_calls_total", label(outcome="rejected")] == 1
    assert seen["breaker_transitions_total", label(transition="closed_to_open")] == 1
    metrics.breakers.record_state_transition("svc", CircuitBreakerState.OPEN, CircuitBreakerState.HALF_OPEN)
    assert read()["breaker_state", label(breaker="svc", state="half_open")] == 1


def test_exporter_is_the_in_memory_collector_too(exporter: Exporter) -> None:
    """Broken: TTA's /metrics reads `snapshot` and `gauges`; an exporter takes them away."""
    metrics, _ = exporter
    assert isinstance(metrics, InMemoryMetrics)
    metrics.inc_delivered_ok()
    metrics.set_queue_length("world:1", 5, 2)
    assert metrics.snapshot()["delivery"] == {"delivered_ok": 1, "delivered_error": 0}
    assert metrics.gauges.queue_lengths == {("world:1", 5): 2}


def test_exporters_have_the_same_methods() -> None:
    """Broken: changing the exporter changes the program."""
    for name, method in inspect.getmembers(ExportedMetrics, inspect.isfunction):
        if not name.startswith("_"):
            for kind in (PrometheusMetrics, OpenTelemetryMetrics):
                assert inspect.signature(getattr(kind, name)) == inspect.signature(method)


def test_one_exporter_a_registry() -> None:
    """Broken: the same numbers are shown twice and added up."""
    registry = CollectorRegistry()
    first = PrometheusMetrics(registry)
    with pytest.raises(ValueError, match="Duplicated"):
        PrometheusMetrics(registry)
    PrometheusMetrics(registry, namespace="other").unregister()
    first.unregister()
    PrometheusMetrics(registry)


def test_defaults_are_the_processs_own() -> None:
    """Broken: the default exporter shows an empty collector."""
    from tta_agent_coordination.resilience import get_circuit_breaker_metrics  # noqa: PLC0415 - beside its use

    assert OpenTelemetryMetrics().breakers is get_circuit_breaker_metrics()


def shown_by_prometheus() -> dict[str, Any]:
    """Return what Prometheus is told of each metric, by its name there."""
    registry = CollectorRegistry()
    metrics = PrometheusMetrics(registry, breakers=breakers())
    fill(metrics)
    counters = {"counter": "_total"}
    return {
        family.name.removeprefix("tta_agents_") + counters.get(family.type, ""): family
        for family in registry.collect()
    }


def shown_by_otel() -> dict[str, Any]:
    """Return what OpenTelemetry is told of each metric, by its name for Prometheus."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    fill(OpenTelemetryMetrics(provider.get_meter("test"), breakers=breakers()))
    data: Any = reader.get_metrics_data()
    scopes = data.resource_metrics[0].scope_metrics
    return {NAMES[metric.name]: metric for scope in scopes for metric in scope.metrics}


def fill(metrics: ExportedMetrics) -> None:
    """Give every metric a number."""
    metrics.set_queue_length("world:1", 5, 2)
    metrics.set_dlq_length("world:1", 1)
    metrics.depths["world:1"] = 3
    metrics.oldest_ready["world:1"] = 1.5
    metrics.observe_time_in_queue(WORLD, 0.25)
    metrics.observe_handling_time(WORLD, 0.25, "ok")


def test_exporters_say_the_same_of_each_metric() -> None:
    """Broken: a dashboard shows seconds as a plain number, or another text than the other exporter's."""
    ours, theirs = shown_by_prometheus(), shown_by_otel()
    assert ours.keys() == theirs.keys() == set(NAMES.values())
    for name, metric in theirs.items():
        assert metric.description == ours[name].documentation
        assert metric.description.endswith(".")
        assert metric.unit == ("s" if name.endswith("_seconds") else "")


def test_histograms_have_our_buckets() -> None:
    """Broken: a handler that takes minutes falls into the last bucket of a web server's."""
    ours, theirs = shown_by_prometheus(), shown_by_otel()
    bounds = [float(bound) for bound in SECONDS_BUCKETS]
    for name in ("time_in_queue_seconds", "handling_seconds"):
        [point] = theirs[name].data.data_points
        assert list(point.explicit_bounds) == bounds
        samples = [sample for sample in ours[name].samples if sample.name.endswith("_bucket")]
        assert [float(sample.labels["le"]) for sample in samples] == [*bounds, float("inf")]


def test_default_meter_is_named_after_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: an application cannot tell our metrics from others', or switch them off by name."""
    asked: list[object] = []
    get_meter = otel_module.get_meter

    def noting(name: str) -> Any:  # noqa: ANN401 - a meter
        asked.append(name)
        return get_meter(name)

    monkeypatch.setattr(otel_module, "get_meter", noting)
    OpenTelemetryMetrics()
    assert asked == ["tta_agent_coordination"]
