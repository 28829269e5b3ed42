"""Durable per-agent inboxes, a live agent registry and resilience patterns on Redis, for asyncio.

Everything public is importable from here, but `testing`, which users' own tests import by name.
"""

from typing import TYPE_CHECKING

from tta_agent_coordination.coordinators import RedisMessageCoordinator
from tta_agent_coordination.exceptions import (
    AgentRegistryError,
    CircuitBreakerOpenError,
    CoordinationError,
    MessageCoordinatorError,
    OutcomeUnknownError,
    PayloadError,
    PayloadNotJSONError,
    PayloadTooLargeError,
    QueueFullError,
    RetryExhaustedError,
    SlotMismatchError,
    StoreUnavailableError,
)
from tta_agent_coordination.interfaces import Agent, AgentProxy, MessageCoordinator
from tta_agent_coordination.messaging import (
    DeadLetter,
    FailureType,
    InboxStats,
    MessageExplanation,
    MessageResult,
    MessageSubscription,
    QueueMessage,
    ReceivedMessage,
)
from tta_agent_coordination.metrics import InMemoryMetrics, MessageMetrics, NullMetrics
from tta_agent_coordination.models import AgentId, AgentMessage, MessagePriority, MessageType, RoutingKey
from tta_agent_coordination.registries import (
    AgentEvent,
    AgentEventKind,
    AgentRegistry,
    CapabilityMatch,
    Liveness,
    RedisAgentRegistry,
    RegistryWatch,
)
from tta_agent_coordination.resilience import (
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitBreakerMetrics,
    CircuitBreakerRegistry,
    CircuitBreakerState,
    RetryConfig,
    get_circuit_breaker_metrics,
    record_state_transition,
    retry_with_backoff,
)
from tta_agent_coordination.worker import AgentWorker

if TYPE_CHECKING:
    __version__: str

__all__ = [
    "Agent",
    "AgentEvent",
    "AgentEventKind",
    "AgentId",
    "AgentMessage",
    "AgentProxy",
    "AgentRegistry",
    "AgentRegistryError",
    "AgentWorker",
    "CapabilityMatch",
    "CircuitBreaker",
    "CircuitBreakerConfig",
    "CircuitBreakerMetrics",
    "CircuitBreakerOpenError",
    "CircuitBreakerRegistry",
    "CircuitBreakerState",
    "CoordinationError",
    "DeadLetter",
    "FailureType",
    "InMemoryMetrics",
    "InboxStats",
    "Liveness",
    "MessageCoordinator",
    "MessageCoordinatorError",
    "MessageExplanation",
    "MessageMetrics",
    "MessagePriority",
    "MessageResult",
    "MessageSubscription",
    "MessageType",
    "NullMetrics",
    "OutcomeUnknownError",
    "PayloadError",
    "PayloadNotJSONError",
    "PayloadTooLargeError",
    "QueueFullError",
    "QueueMessage",
    "ReceivedMessage",
    "RedisAgentRegistry",
    "RedisMessageCoordinator",
    "RegistryWatch",
    "RetryConfig",
    "RetryExhaustedError",
    "RoutingKey",
    "SlotMismatchError",
    "StoreUnavailableError",
    "__version__",
    "get_circuit_breaker_metrics",
    "record_state_transition",
    "retry_with_backoff",
]


def __getattr__(name: str) -> str:
    """Read the version when somebody asks for it (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415 - most programs never ask

        return version("tta-agent-coordination")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
