"""Protection against what keeps failing: circuit breakers for many processes, and retries with backoff."""

from tta_agent_coordination.resilience._breaker_state import CircuitBreakerConfig, CircuitBreakerState
from tta_agent_coordination.resilience._v0_records import CircuitBreakerMetrics
from tta_agent_coordination.resilience.breaker import CircuitBreaker
from tta_agent_coordination.resilience.collector import (
    CircuitBreakerMetricsCollector,
    get_circuit_breaker_metrics,
    record_state_transition,
)
from tta_agent_coordination.resilience.registry import CircuitBreakerRegistry
from tta_agent_coordination.resilience.retry import RetryConfig, retry_with_backoff, retry_without_sleeping

__all__ = [
    "CircuitBreaker",
    "CircuitBreakerConfig",
    "CircuitBreakerMetrics",
    "CircuitBreakerMetricsCollector",
    "CircuitBreakerRegistry",
    "CircuitBreakerState",
    "RetryConfig",
    "get_circuit_breaker_metrics",
    "record_state_transition",
    "retry_with_backoff",
    "retry_without_sleeping",
]
