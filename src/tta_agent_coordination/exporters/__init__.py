"""Adapters that show the package's numbers to Prometheus and OpenTelemetry, each needs an extra.

`exporters.prometheus.PrometheusMetrics` and `exporters.otel.OpenTelemetryMetrics` have the same methods. Give
one to a coordinator as `metrics`; it is an `InMemoryMetrics` too, so `snapshot` and `gauges` go on working.
"""
