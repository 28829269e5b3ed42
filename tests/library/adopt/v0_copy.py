"""One copy of v0 as files: breaker, retries, agents, router, and who subclasses and wraps the coordinator.

The other half is in `v0_contract`. `copy` gives a whole copy below a folder.
"""

from __future__ import annotations

from tests.library.adopt.v0_contract import (
    COORDINATOR,
    INTERFACES,
    MATCHER,
    MESSAGING,
    METRICS,
    MODELS,
    REGISTRY,
)

__all__ = ["MODULES", "copy"]

BREAKER = '''\
from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class CircuitBreakerState(str, Enum):
    CLOSED = "closed"  # calls pass
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass
class CircuitBreakerConfig:
    failure_threshold: int = 5
    timeout_seconds: int = 60


class CircuitBreakerOpenError(Exception):
    """Raised when the breaker is open."""

    pass


class CircuitBreaker:
    def __init__(
        self, redis, name: str, config: CircuitBreakerConfig | None = None, key_prefix: str = "ao"
    ) -> None:
        self._name = name
        self._config = config or CircuitBreakerConfig()
        self._state = CircuitBreakerState.CLOSED
        self._failure_count = 0

    async def call(self, func, correlation_id: str | None = None):
        from .circuit_breaker_metrics import get_circuit_breaker_metrics

        if self._state is CircuitBreakerState.OPEN:
            raise CircuitBreakerOpenError(f"Circuit breaker {self._name} is OPEN")
        try:
            result = await func()
        except Exception:
            self._failure_count += 1
            get_circuit_breaker_metrics().failed_calls += 1
            if self._failure_count >= self._config.failure_threshold:
                await self._transition_to_open()
            raise
        get_circuit_breaker_metrics().successful_calls += 1
        return result

    async def get_state(self) -> CircuitBreakerState:
        return self._state

    async def _transition_to_open(self) -> None:
        self._state = CircuitBreakerState.OPEN
'''

BREAKER_METRICS = '''\
from __future__ import annotations

import logging
from dataclasses import dataclass

from .circuit_breaker import CircuitBreakerState

logger = logging.getLogger(__name__)


@dataclass
class CircuitBreakerMetricsCollector:
    successful_calls: int = 0
    failed_calls: int = 0

    def record_state_transition(self, name: str, old: CircuitBreakerState, new: CircuitBreakerState) -> None:
        logger.info("%s: %s to %s", name, old, new)


class CircuitBreakerLogger:
    """TTA's own."""

    def __init__(self, logger_name: str = __name__) -> None:
        self.logger = logging.getLogger(logger_name)
        self.metrics_collector = CircuitBreakerMetricsCollector()


# The one of this process
_global_metrics_collector = CircuitBreakerMetricsCollector()


def get_circuit_breaker_metrics() -> CircuitBreakerMetricsCollector:
    return _global_metrics_collector


def record_state_transition(name: str, old: CircuitBreakerState, new: CircuitBreakerState) -> None:
    _global_metrics_collector.record_state_transition(name, old, new)
'''

ADAPTERS = '''\
"""Between proxies and real agents."""

from __future__ import annotations

import asyncio
import logging
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# The real agents live elsewhere
real_agents = Path(__file__).parent.parent / "tta.prod"
if str(real_agents) not in sys.path:
    sys.path.insert(0, str(real_agents))

try:
    from real_agents.ipa import process_input
except ImportError as e:
    logging.getLogger(__name__).info("no real agents: %s", e)
    process_input = None

logger = logging.getLogger(__name__)


class AgentCommunicationError(Exception):
    """An agent could not be reached."""


class RetryConfig:
    def __init__(self, max_retries: int = 3, base_delay: float = 1.0, jitter: bool = True) -> None:
        self.max_retries = max_retries
        self.base_delay = base_delay
        self.jitter = jitter


async def retry_with_backoff(
    func: Callable[..., Any], retry_config: RetryConfig, *args: Any, **kwargs: Any
) -> Any:
    last: Exception | None = None
    for attempt in range(retry_config.max_retries + 1):
        try:
            return await func(*args, **kwargs)
        except Exception as error:
            last = error
            logger.warning("attempt %s failed", attempt)
            await asyncio.sleep(retry_config.base_delay * random.random())
    raise AgentCommunicationError(f"All {retry_config.max_retries + 1} attempts failed. Last error: {last}")


class IPAAdapter:
    def __init__(self, fallback_to_mock: bool = True, retry_config: RetryConfig | None = None) -> None:
        self.fallback_to_mock = fallback_to_mock
        self.retry_config = retry_config or RetryConfig()

    async def process(self, text: str) -> dict[str, Any]:
        async def once() -> dict[str, Any]:
            if process_input is None and not self.fallback_to_mock:
                raise OSError("the real agent is not there")
            return {"text": text}

        return await retry_with_backoff(once, self.retry_config)
'''

AGENTS = '''\
from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from .interfaces import AgentProxy, MessageCoordinator
from .messaging import MessageResult, ReceivedMessage
from .models import AgentId, AgentMessage, AgentType, MessageType

logger = logging.getLogger(__name__)


class Agent(AgentProxy):
    """TTA's base class of agents."""

    def __init__(self, *, agent_id: AgentId, coordinator: MessageCoordinator | None = None) -> None:
        self.agent_id = agent_id
        self.name = f"{agent_id.type.value}:{agent_id.instance or 'default'}"
        self.started_at = time.time()
        self._coordinator = coordinator
        self._running = True
        self._degraded = False

    async def process(self, input_payload: dict) -> dict:
        return input_payload

    async def send(self, recipient: AgentId, payload: dict[str, Any]) -> MessageResult:
        try:
            from src.agent_orchestration.router import AgentRouter  # late: a circle

            router = getattr(self._coordinator, "_agent_router", None)
            if isinstance(router, AgentRouter):
                recipient = await router.resolve_target(recipient)
        except ImportError:
            pass
        message = AgentMessage(
            message_id=uuid.uuid4().hex,
            sender=self.agent_id,
            recipient=recipient,
            message_type=MessageType.REQUEST,
            payload=payload,
        )
        return await self._coordinator.send_message(
            sender=self.agent_id, recipient=recipient, message=message
        )

    async def receive_next(self) -> ReceivedMessage | None:
        return await self._coordinator.receive(self.agent_id, visibility_timeout=5)

    async def health_check(self) -> dict[str, Any]:
        return {"status": "healthy"}

    def set_degraded(self, degraded: bool = True) -> None:
        self._degraded = degraded

    def status_snapshot(self) -> dict[str, Any]:
        return {"name": self.name, "running": self._running}

    async def export_state(self) -> dict[str, Any]:
        return {}

    async def import_state(self, state: dict[str, Any]) -> None:
        return


class AgentRegistry:
    """Agents in memory."""

    def __init__(self) -> None:
        self._agents: dict[tuple[str, str], Agent] = {}
        self._restart_cb: Callable[[Agent], Awaitable[bool]] | None = None

    def _key(self, agent_id: AgentId) -> tuple[str, str]:
        return (agent_id.type.value, agent_id.instance or "default")

    def register(self, agent: Agent) -> None:
        self._agents[self._key(agent.agent_id)] = agent
        logger.info("registered %s", agent.name)

    def get(self, agent_id: AgentId) -> Agent | None:
        return self._agents.get((agent_id.type.value, agent_id.instance or "default"))

    def discover(self, agent_type: AgentType) -> list[Agent]:
        return [agent for (kind, _), agent in self._agents.items() if kind == agent_type.value]

    def all(self) -> list[Agent]:
        return list(self._agents.values())
'''

ROUTER = '''\
from __future__ import annotations

import contextlib
from typing import Any

from .models import AgentId, AgentType


class AgentRouter:
    """Chooses the instance with the shortest queue."""

    def __init__(self, registry: Any, redis_client: Any) -> None:
        self._registry = registry
        self._redis = redis_client

    async def _queue_length(self, agent: Any) -> int:
        key = f"ao:queue:{agent.agent_id.type.value}:{agent.agent_id.instance or 'default'}"
        return int(await self._redis.llen(key))

    async def resolve(self, agent_type: AgentType) -> AgentId | None:
        best: tuple[int, AgentId] | None = None
        for agent in self._registry.all():
            with contextlib.suppress(TypeError):
                if agent.agent_id.type == agent_type:
                    length = await self._queue_length(agent)
                    if best is None or length < best[0]:
                        best = (length, agent.agent_id)
        return best[1] if best else None

    async def resolve_target(self, recipient: AgentId) -> AgentId:
        return await self.resolve(recipient.type) or recipient
'''

ENHANCED = '''\
"""Messages to real agents."""

from __future__ import annotations

from redis.asyncio import Redis

from .adapters import IPAAdapter, RetryConfig
from .coordinators.redis_message_coordinator import RedisMessageCoordinator
from .messaging import MessageResult
from .models import AgentId, AgentMessage, AgentType


class EnhancedRedisMessageCoordinator(RedisMessageCoordinator):
    def __init__(self, redis: Redis, key_prefix: str = "ao", queue_size: int = 1000) -> None:
        super().__init__(redis=redis, key_prefix=key_prefix)
        self._queue_size = queue_size
        self.adapter = IPAAdapter(retry_config=RetryConfig(max_retries=1, base_delay=0.01))

    async def send_message(self, sender: AgentId, recipient: AgentId, message: AgentMessage) -> MessageResult:
        if recipient.type == AgentType.IPA:
            message.payload = {**message.payload, **await self.adapter.process("x")}
        return await super().send_message(sender, recipient, message)
'''

WRAPPER = '''\
from __future__ import annotations

from typing import Any

from ..coordinators.redis_message_coordinator import RedisMessageCoordinator
from ..messaging import FailureType, ReceivedMessage
from ..models import (
    AgentId,
    AgentMessage,  # for annotations
    # the enumeration stays with us
    AgentType,
)


class WorkflowAwareMessageCoordinator:
    """Follows messages, and hands everything else on."""

    def __init__(self, coordinator: RedisMessageCoordinator) -> None:
        self.coordinator = coordinator
        self.seen: list[str] = []
        self.agents: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.coordinator, name)

    async def receive(self, agent_id: AgentId, visibility_timeout: float = 5) -> ReceivedMessage | None:
        self.agents.add(agent_id.type.value)
        received = await self.coordinator.receive(agent_id, visibility_timeout)
        if received is not None:
            reserved = self.coordinator._reserved_hash(agent_id)
            stored = await self.coordinator._redis.hget(reserved, received.token)
            self.seen.append(stored.decode() if isinstance(stored, bytes) else stored)
        return received

    async def fail(self, agent: AgentId, token: str, error: str) -> bool:
        return await self.coordinator.nack(agent, token, FailureType.PERMANENT, error)

    def is_story(self, message: AgentMessage) -> bool:
        return message.recipient.type == AgentType.NGA
'''

ROOT = '''\
"""Agents, and what they say to each other."""

from .agents import Agent, AgentRegistry
from .circuit_breaker import CircuitBreaker, CircuitBreakerConfig, CircuitBreakerState
from .messaging import (
    FailureType,
    MessageResult,
)
from .models import (
    AgentId,
    AgentMessage,
    AgentType,
    MessageType,
    # TTA's
    OrchestrationRequest,
)

__all__ = [
    "Agent",
    "AgentId",
    "AgentMessage",
    "AgentRegistry",
    "AgentType",
    "CircuitBreaker",
    "CircuitBreakerConfig",
    "CircuitBreakerState",
    "FailureType",
    "MessageResult",
    "MessageType",
    "OrchestrationRequest",
]
'''

MODULES = {
    "__init__.py": ROOT,
    "adapters.py": ADAPTERS,
    "agents.py": AGENTS,
    "capability_matcher.py": MATCHER,
    "circuit_breaker.py": BREAKER,
    "circuit_breaker_metrics.py": BREAKER_METRICS,
    "coordinators/__init__.py": '"""Backends."""\n',
    "coordinators/redis_message_coordinator.py": COORDINATOR,
    "enhanced_coordinator.py": ENHANCED,
    "interfaces.py": INTERFACES,
    "messaging.py": MESSAGING,
    "metrics.py": METRICS,
    "models.py": MODELS,
    "realtime/__init__.py": "",
    "realtime/message_workflow_integration.py": WRAPPER,
    "registries/__init__.py": "",
    "registries/redis_agent_registry.py": REGISTRY,
    "router.py": ROUTER,
}
"""The files of a copy, below its root."""


def copy(folder: str) -> dict[str, str]:
    """Return the files of a copy below a folder."""
    return {f"{folder}/{path}": text for path, text in MODULES.items()}
