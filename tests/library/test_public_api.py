"""The public names: what the contract lists is there, sorted, and nothing else."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import pytest

import tta_agent_coordination as package
from tta_agent_coordination import AgentProxy, MessageCoordinator, RedisMessageCoordinator

CONTRACT = {
    "models": ["AgentId", "AgentMessage", "MessagePriority", "MessageType", "RoutingKey"],
    "messaging": ["MessageResult", "MessageSubscription", "FailureType", "QueueMessage", "ReceivedMessage"],
    "interfaces": ["MessageCoordinator", "AgentProxy", "Agent"],
    "coordinators": ["RedisMessageCoordinator"],
    "registries": ["AgentRegistry", "RedisAgentRegistry", "AgentEvent", "AgentEventKind"],
    "metrics": ["MessageMetrics", "InMemoryMetrics", "NullMetrics"],
    "resilience": [
        "CircuitBreaker",
        "CircuitBreakerConfig",
        "CircuitBreakerMetrics",
        "CircuitBreakerRegistry",
        "CircuitBreakerState",
        "RetryConfig",
        "get_circuit_breaker_metrics",
        "record_state_transition",
        "retry_with_backoff",
    ],
    "worker": ["AgentWorker"],
    "exceptions": [
        "CoordinationError",
        "MessageCoordinatorError",
        "AgentRegistryError",
        "CircuitBreakerOpenError",
        "RetryExhaustedError",
    ],
}
NAMES = [(module, name) for module, names in CONTRACT.items() for name in names]


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_name_is_importable_from_module_and_root(module: str, name: str) -> None:
    """Broken: TTA adopts the package by changing imports only."""
    inner = importlib.import_module(f"tta_agent_coordination.{module}")
    assert getattr(inner, name) is getattr(package, name)
    assert name in inner.__all__
    assert name in package.__all__


def test_root_exports_are_exactly_all() -> None:
    """Broken: what is exported and what is listed agree, and the list is sorted."""
    assert sorted(package.__all__, key=str) == list(package.__all__)
    assert len(set(package.__all__)) == len(package.__all__)
    for name in package.__all__:
        assert hasattr(package, name), name
    visible = {
        name
        for name, value in vars(package).items()
        if not name.startswith("_") and (inspect.isclass(value) or inspect.isfunction(value))
    }
    assert visible <= set(package.__all__)


def test_root_names_are_ours() -> None:
    """Broken: the root re-exports its own names, not somebody else's."""
    for name in package.__all__:
        value = getattr(package, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__module__.startswith("tta_agent_coordination"), name
            assert value.__doc__, f"{name} has no docstring"


def test_importing_the_root_needs_no_extra() -> None:
    """Broken: the package root imports neither fakeredis nor anything else that is optional."""
    code = (
        "import sys; import tta_agent_coordination; roots = {name.split('.')[0] for name in sys.modules}; "
        "print(sorted(roots & {'fakeredis', 'lupa', 'pytest', 'hypothesis'}))"
    )
    said = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert (said.stdout.strip(), said.stderr) == ("[]", "")


SIGNATURES = {
    "send_message": "sender recipient message * delay=0 expires_in=None dedup_id=None",
    "broadcast_message": "sender message recipients=None",
    "subscribe_to_messages": "agent_id message_types",
    "unsubscribe": "agent_id message_types=None",
    "ack": "agent_id token * then_send=()",
    "nack": "agent_id token failure=transient error=None",
    "extend": "agent_id token seconds",
    "release": "agent_id token",
    "recover_pending": "agent_id=None",
    "stats": "agent_id",
    "explain": "message_id agent_id",
    "dead_letters": "agent_id",
    "requeue_dead": "agent_id ids",
    "purge_dead": "agent_id ids=None",
}


def written(signature: inspect.Signature) -> str:
    """Return a signature in the table's short form."""
    words: list[str] = []
    starred = False
    for parameter in signature.parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            words.append("*")
            starred = True
        default = "" if parameter.default is parameter.empty else f"={parameter.default}"
        words.append(parameter.name + default)
    return " ".join(words)


@pytest.mark.parametrize("name", SIGNATURES)
def test_coordinator_signature_is_the_contract(name: str) -> None:
    """Broken: parameters are called by position and by keyword; names, order and defaults are a contract."""
    assert written(inspect.signature(getattr(RedisMessageCoordinator, name))) == SIGNATURES[name]


def test_coordinator_constructor_is_the_contract() -> None:
    """Broken: v0 passes redis and key_prefix by position or keyword; everything else is keyword-only."""
    parameters = inspect.signature(RedisMessageCoordinator).parameters
    assert list(parameters)[:2] == ["redis", "key_prefix"]
    assert parameters["key_prefix"].default == "ao"
    keyword_only = {name: p.default for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
    expected = {
        "queue_size": 10_000,
        "retry_attempts": 3,
        "backoff_base": 1.0,
        "backoff_factor": 2.0,
        "backoff_max": 30.0,
        "max_deliveries": 10,
        "dedup_ttl": 3600,
        "metrics": None,
        "audit": "exact",
        "hash_tags": False,
        "jitter": False,
        "ageing": None,
        "clock": None,
    }
    assert expected.items() <= keyword_only.items()
    assert set(parameters) == {"redis", "key_prefix"} | set(keyword_only)


def test_coordinator_is_a_message_coordinator() -> None:
    """Broken: TTA's tests use Mock(spec=MessageCoordinator) and isinstance."""
    assert issubclass(RedisMessageCoordinator, MessageCoordinator)
    for interface in (MessageCoordinator, AgentProxy):
        assert inspect.isabstract(interface)
