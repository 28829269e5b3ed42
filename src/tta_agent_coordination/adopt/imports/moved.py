"""What moved out of TTA: each name of v0, the module that defined it, and where this package has it.

Data only. A test holds the tables against the package itself; nothing of it is imported here.
"""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["MODULES", "PACKAGE", "STAYS_WHERE_UNSEEN", "Moved", "Target"]

PACKAGE = "tta_agent_coordination"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a name is to be imported from."""

    module: str = PACKAGE
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """One name of v0 that this package defines now.

    `members` are v0's public members that the package's class has too; what else a copy's class has stays in
    TTA. `private` are names below the underscore that keep their effect. `takes` are the arguments that the
    package's constructor understands, `narrows` is a field whose type TTA narrows in a subclass.
    """

    target: Target
    members: frozenset[str] = frozenset()
    private: frozenset[str] = frozenset()
    takes: tuple[str, ...] = ()
    narrows: str = ""


def _class(name: str, members: str, *, private: str = "", takes: str = "", module: str = PACKAGE) -> Moved:
    return Moved(
        target=Target(module=module, name=name),
        members=frozenset(members.split()),
        private=frozenset(private.split()),
        takes=tuple(takes.split()),
    )


def _function(name: str) -> Moved:
    return Moved(target=Target(name=name))


_COORDINATOR = (
    "send_message broadcast_message subscribe_to_messages receive ack nack recover_pending configure"
)
_REGISTRY = (
    "register deregister get discover all snapshot run_health_checks_once detect_and_recover "
    "start_periodic_health_checks stop_periodic_health_checks set_restart_callback set_fallback_callback"
)
_METRICS_MODULE = f"{PACKAGE}.metrics"
_RESILIENCE_MODULE = f"{PACKAGE}.resilience"

MODULES: Mapping[str, Mapping[str, Moved]] = {
    "models": {
        "AgentId": Moved(
            target=Target(name="AgentId"), members=frozenset({"type", "instance"}), narrows="type"
        ),
        "AgentMessage": _class(
            "AgentMessage", "message_id sender recipient message_type payload priority routing timestamp"
        ),
        "MessagePriority": _class("MessagePriority", "LOW NORMAL HIGH"),
        "MessageType": _class("MessageType", "REQUEST RESPONSE EVENT"),
        "RoutingKey": _class("RoutingKey", "topic tags"),
    },
    "messaging": {
        "FailureType": _class("FailureType", "TRANSIENT PERMANENT TIMEOUT"),
        "MessageResult": _class("MessageResult", "message_id delivered error"),
        "MessageSubscription": _class("MessageSubscription", "subscription_id agent_id message_types"),
        "QueueMessage": _class("QueueMessage", "message priority enqueued_at delivery_attempts last_error"),
        "ReceivedMessage": _class("ReceivedMessage", "token queue_message visibility_deadline"),
    },
    "interfaces": {
        "AgentProxy": _class("AgentProxy", "process"),
        "MessageCoordinator": _class("MessageCoordinator", _COORDINATOR),
    },
    "metrics": {
        "DeliveryStats": _class("DeliveryStats", "delivered_ok delivered_error", module=_METRICS_MODULE),
        "MessageMetrics": _class(
            "InMemoryMetrics",
            "retry delivery gauges inc_delivered_ok inc_delivered_error inc_nacks inc_permanent "
            "inc_retries_scheduled set_queue_length set_dlq_length snapshot",
        ),
        "QueueGauges": _class("QueueGauges", "queue_lengths dlq_lengths", module=_METRICS_MODULE),
        "RetryStats": _class(
            "RetryStats",
            "total_nacks total_permanent_failures total_retries_scheduled last_backoff_seconds",
            module=_METRICS_MODULE,
        ),
    },
    "coordinators.redis_message_coordinator": {
        "RedisMessageCoordinator": _class(
            "RedisMessageCoordinator",
            f"metrics {_COORDINATOR}",
            private="_redis _pfx _queue_size _retry_attempts _backoff_base _backoff_factor _backoff_max "
            "_agent_router _reserved_hash",
            takes="redis key_prefix queue_size retry_attempts backoff_base backoff_factor backoff_max "
            "metrics",
        ),
    },
    "registries.redis_agent_registry": {
        "RedisAgentRegistry": _class(
            "RedisAgentRegistry",
            f"{_REGISTRY} start_heartbeats stop_heartbeats restore_state_if_available list_registered "
            "snapshot_async get_all_agents get_agent_info register_capabilities",
            private="_redis _pfx _ttl _hb_interval_s _agents _key _delete",
            takes="redis key_prefix heartbeat_ttl_s heartbeat_interval_s enable_events event_publisher",
        ),
    },
    "circuit_breaker": {
        "CircuitBreaker": _class(
            "CircuitBreaker",
            "initialize call execute get_state get_metrics is_call_permitted reset",
            private="_name _config _metrics _state _state_changed_at _failure_count _transition_to_open",
            takes="redis name config key_prefix",
        ),
        "CircuitBreakerConfig": _class(
            "CircuitBreakerConfig",
            "failure_threshold timeout_seconds recovery_timeout_seconds half_open_max_calls "
            "success_threshold",
        ),
        "CircuitBreakerMetrics": _class(
            "CircuitBreakerMetrics",
            "total_calls failed_calls successful_calls state_changes last_failure_time last_success_time",
        ),
        "CircuitBreakerOpenError": _class("CircuitBreakerOpenError", ""),
        "CircuitBreakerState": _class("CircuitBreakerState", "CLOSED OPEN HALF_OPEN"),
    },
    "circuit_breaker_metrics": {
        "CircuitBreakerMetricsCollector": _class(
            "CircuitBreakerMetricsCollector",
            "state_transitions calls_permitted calls_rejected successful_calls failed_calls state_durations "
            "last_update record_state_transition record_call_permitted record_call_rejected "
            "record_successful_call record_failed_call record_state_duration get_snapshot reset",
            module=_RESILIENCE_MODULE,
        ),
        "get_circuit_breaker_metrics": _function("get_circuit_breaker_metrics"),
        "record_state_transition": _function("record_state_transition"),
    },
    "adapters": {
        "AgentCommunicationError": _class("RetryExhaustedError", ""),
        "RetryConfig": _class(
            "RetryConfig",
            "max_retries base_delay max_delay exponential_base jitter",
            takes="max_retries base_delay max_delay exponential_base jitter",
        ),
        "retry_with_backoff": _function("retry_with_backoff"),
    },
    "agents": {
        "AgentRegistry": _class("AgentRegistry", _REGISTRY, private="_agents _key"),
    },
}
"""By module of a copy, below its root; then by name."""

STAYS_WHERE_UNSEEN = frozenset({"AgentId", "RedisAgentRegistry"})
"""Names that TTA keeps a subclass of; imports from a copy that is not in the tree go on naming it."""
