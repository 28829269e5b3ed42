"""A repository shaped like TTA: v0 in two copies that differ, a component, tests with their own imports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import tta_agent_coordination
from tests.library.adopt.trees import in_order
from tests.library.adopt.v0_copy import copy

__all__ = ["FIRST", "SECOND", "imported_by", "run_own_tests", "tta"]

FIRST = "src/agent_orchestration"
SECOND = "packages/tta-ai-framework/src/tta_ai/orchestration"

COMPONENT = '''\
"""Builds the parts and watches them."""

from __future__ import annotations


class AgentOrchestrationComponent:
    def __init__(self, redis) -> None:
        from src.agent_orchestration.coordinators.redis_message_coordinator import RedisMessageCoordinator
        from src.agent_orchestration.models import AgentId, AgentMessage, AgentType  # late

        self.ids = [AgentId(type=kind) for kind in AgentType]
        self.message_class = AgentMessage
        self.coordinator = RedisMessageCoordinator(redis, key_prefix="ao")
        self.coordinator._queue_size = 2

    def backlog_warning(self) -> int:
        return int(getattr(self.coordinator, "_queue_size", 10000))
'''

TEST_COORDINATOR = '''\
"""The coordinator, its subclass and its wrapper."""

import pytest
import redis.asyncio as aioredis
from src.agent_orchestration import AgentId, AgentType, MessageType
from src.agent_orchestration.coordinators.redis_message_coordinator import RedisMessageCoordinator
from src.agent_orchestration.enhanced_coordinator import EnhancedRedisMessageCoordinator
from src.agent_orchestration.messaging import FailureType, ReceivedMessage  # noqa: F401
from src.agent_orchestration.models import AgentMessage, MessagePriority
from src.agent_orchestration.realtime.message_workflow_integration import WorkflowAwareMessageCoordinator

IPA = AgentId(type=AgentType.IPA)
NGA = AgentId(type=AgentType.NGA, instance="one")


def message(name: str, priority: MessagePriority = MessagePriority.NORMAL) -> AgentMessage:
    return AgentMessage(
        message_id=name, sender=IPA, recipient=NGA, message_type=MessageType.REQUEST, priority=priority
    )


@pytest.mark.parametrize("kind", [RedisMessageCoordinator, EnhancedRedisMessageCoordinator])
async def test_highest_first(client: aioredis.Redis, kind: type[RedisMessageCoordinator]) -> None:
    coordinator = kind(redis=client, key_prefix="testao")
    assert (await coordinator.send_message(IPA, NGA, message("normal"))).delivered
    assert (await coordinator.send_message(IPA, NGA, message("urgent", MessagePriority.HIGH))).delivered
    assert await client.llen("testao:queue:narrative_generator:one") == 2
    for name in ("urgent", "normal"):
        received = await coordinator.receive(NGA)
        assert received is not None
        assert received.queue_message.message.message_id == name
        assert received.queue_message.message.sender == IPA
        assert await coordinator.ack(NGA, received.token)
    assert await coordinator.receive(NGA) is None


async def test_queue_limit_of_the_subclass(client: aioredis.Redis) -> None:
    coordinator = EnhancedRedisMessageCoordinator(client, "testao", queue_size=1)
    assert (await coordinator.send_message(IPA, IPA, message("first1"))).delivered
    refused = await coordinator.send_message(IPA, IPA, message("second"))
    assert (refused.delivered, refused.error) == (False, "queue full")


async def test_wrapper_reads_what_is_reserved(client: aioredis.Redis) -> None:
    wrapper = WorkflowAwareMessageCoordinator(RedisMessageCoordinator(client, "testao"))
    await wrapper.send_message(IPA, NGA, message("story1"))
    received = await wrapper.receive(NGA)
    assert '"story1"' in wrapper.seen[0]
    assert wrapper.agents == {"narrative_generator"}
    assert wrapper.is_story(received.queue_message.message)
    assert await wrapper.fail(NGA, received.token, "no")
    assert await client.llen("testao:dlq:narrative_generator:one") == 1
'''

TEST_REST = '''\
"""Agents, registries, router, breaker, retries."""

import asyncio

import pytest
import redis.asyncio as aioredis

from src.agent_orchestration.adapters import (
    AgentCommunicationError,
    IPAAdapter,
    RetryConfig,
)
from src.agent_orchestration.agents import Agent, AgentRegistry
from src.agent_orchestration.circuit_breaker import (
    CircuitBreaker,
    CircuitBreakerOpenError,
    CircuitBreakerState,
)
from src.agent_orchestration.circuit_breaker_metrics import CircuitBreakerLogger, get_circuit_breaker_metrics
from src.agent_orchestration.metrics import MessageMetrics
from src.agent_orchestration.models import AgentCapability, AgentCapabilitySet, AgentId, AgentType
from src.agent_orchestration.registries.redis_agent_registry import RedisAgentRegistry
from src.agent_orchestration.router import AgentRouter
from src.components.agent_orchestration_component import AgentOrchestrationComponent


def test_agent_ids_keep_the_enumeration() -> None:
    one, other = AgentId(type=AgentType.WBA), AgentId(type="world_builder")
    assert one == other
    assert one.type is AgentType.WBA
    assert one.type.value == "world_builder"
    with pytest.raises(ValueError):
        AgentId(type="nobody")


async def test_router_takes_the_shorter_queue(client: aioredis.Redis) -> None:
    from src.agent_orchestration.coordinators.redis_message_coordinator import RedisMessageCoordinator

    coordinator = RedisMessageCoordinator(client, key_prefix="ao")
    registry = AgentRegistry()
    busy = Agent(agent_id=AgentId(type=AgentType.NGA, instance="busy"), coordinator=coordinator)
    idle = Agent(agent_id=AgentId(type=AgentType.NGA, instance="idle"), coordinator=coordinator)
    for agent in (busy, idle):
        registry.register(agent)
    assert (await idle.send(busy.agent_id, {"n": 1})).delivered
    coordinator._agent_router = AgentRouter(registry, client)
    assert (await idle.send(busy.agent_id, {"n": 2})).delivered
    received = await idle.receive_next()
    assert received.queue_message.message.payload == {"n": 2}
    assert registry.get(idle.agent_id) is idle
    assert registry.discover(AgentType.NGA) == [busy, idle]


async def test_registry_has_capabilities(client: aioredis.Redis) -> None:
    registry = RedisAgentRegistry(client, key_prefix="testao", heartbeat_ttl_s=5.0)
    assert isinstance(registry, AgentRegistry)
    agent = Agent(agent_id=AgentId(type=AgentType.WBA))
    registry.register(agent)
    while not await client.exists("testao:agents:world_builder:default"):
        await asyncio.sleep(0.01)
    build = AgentCapability(name="build", version="1.0.0")
    can = AgentCapabilitySet(agent_id=agent.agent_id, capabilities=[build])
    assert await registry.store_capabilities(can)
    assert await registry.discover_capabilities(agent.agent_id, "build")
    assert not await registry.discover_capabilities(agent.agent_id, "sing")


async def test_breaker_counts_in_the_global_collector(client: aioredis.Redis) -> None:
    breaker = CircuitBreaker(redis=client, name="workflow:x", key_prefix="testao")
    before = get_circuit_breaker_metrics().successful_calls

    async def fine() -> int:
        return 1

    assert await breaker.call(fine) == 1
    assert get_circuit_breaker_metrics().successful_calls == before + 1
    await breaker._transition_to_open()
    assert await breaker.get_state() == CircuitBreakerState.OPEN
    with pytest.raises(CircuitBreakerOpenError, match="OPEN"):
        await breaker.call(fine)
    assert CircuitBreakerLogger("x").logger.name == "x"


async def test_retries_end_in_the_error_that_callers_catch() -> None:
    adapter = IPAAdapter(fallback_to_mock=False, retry_config=RetryConfig(max_retries=1, base_delay=0.001))
    with pytest.raises(AgentCommunicationError, match="All 2 attempts failed"):
        await adapter.process("x")
    with pytest.raises(AgentCommunicationError):
        raise AgentCommunicationError("the agent is gone")


async def test_component_sets_the_limit(client: aioredis.Redis) -> None:
    component = AgentOrchestrationComponent(client)
    metrics = component.coordinator.metrics
    assert isinstance(metrics, MessageMetrics)
    metrics.set_dlq_length("a", 3)
    assert metrics.gauges.dlq_lengths == {"a": 3}
    assert component.backlog_warning() == 2
    assert [each.type for each in component.ids] == [*AgentType]
'''

TEST_PACKAGE = '''\
"""The copy in packages/."""

import redis.asyncio as aioredis
from tta_ai.orchestration import AgentId, AgentMessage, AgentType, MessageType, OrchestrationRequest
from tta_ai.orchestration.coordinators.redis_message_coordinator import RedisMessageCoordinator


async def test_other_enumeration_makes_the_same_keys(client: aioredis.Redis) -> None:
    from tta_ai.orchestration.messaging import MessageResult

    coordinator = RedisMessageCoordinator(client, key_prefix="testao")
    me = AgentId(type=AgentType.IPA)
    assert f"{AgentType.IPA}" == "AgentType.IPA"
    sent = await coordinator.send_message(
        me, me, AgentMessage(message_id="abcdef", sender=me, recipient=me, message_type=MessageType.EVENT)
    )
    assert isinstance(sent, MessageResult)
    assert await client.llen("testao:queue:input_processor:default") == 1
    assert await coordinator.queued(me) == 1
    assert OrchestrationRequest().entrypoint is AgentType.IPA
'''

TEST_BARE = '''\
"""The first copy by its bare name."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "src"))

from agent_orchestration.models import AgentId, AgentType, RoutingKey  # noqa: E402


def test_bare_name() -> None:
    if RoutingKey(): from agent_orchestration.messaging import FailureType; assert FailureType("timeout")
    assert AgentId(type=AgentType.WBA).type.value == "world_builder"
'''

CONFTEST = """\
import os

import pytest
import redis.asyncio as aioredis


@pytest.fixture
async def client():
    made = aioredis.Redis.from_url(os.environ["TTA_TREE_REDIS"])
    await made.flushdb()
    yield made
    await made.flushdb()
    await made.aclose()
"""

README = """\
# TTA

Messages: see `src/agent_orchestration/messaging.py` and
`src/agent_orchestration/coordinators/redis_message_coordinator.py`.
"""

EXTRA = '''
    async def queued(self, agent_id: AgentId) -> int:
        """How many wait, dead ones not counted."""
        return int(await self._redis.llen(self._queue_name(agent_id)))

    def _queue_name(self, agent_id: AgentId) -> str:
        return self._reserved_hash(agent_id).replace(":reserved:", ":queue:")
'''
"""What only the second copy's coordinator can."""


def tta() -> dict[str, str]:
    """Return the files of the repository."""
    second = copy(SECOND)
    models = f"{SECOND}/models.py"
    # The other flavour of enumeration: an f-string of it has the member's name.
    second[models] = second[models].replace("(StrEnum)", "(str, Enum)").replace("Enum, StrEnum", "Enum")
    second[f"{SECOND}/coordinators/redis_message_coordinator.py"] += EXTRA
    return {
        **in_order(),
        **copy(FIRST),
        **second,
        "src/components/__init__.py": "",
        "src/components/agent_orchestration_component.py": COMPONENT,
        "tests/conftest.py": CONFTEST,
        "tests/test_bare.py": TEST_BARE,
        "tests/test_coordinator.py": TEST_COORDINATOR,
        "tests/test_package.py": TEST_PACKAGE,
        "tests/test_rest.py": TEST_REST,
        "README.md": README,
        "pytest.ini": "[pytest]\nasyncio_mode = auto\naddopts = -p no:cacheprovider -p no:randomly\n",
    }


def _environment(root: Path, port: int | None = None) -> dict[str, str]:
    library = Path(tta_agent_coordination.__file__).parent.parent
    places = [root, root / "packages/tta-ai-framework/src", library]
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        "PYTHONPATH": os.pathsep.join(map(str, places)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TTA_TREE_REDIS": f"redis://127.0.0.1:{port}/0",
    }


def run_own_tests(root: Path, port: int) -> str:
    """Run the repository's own tests against a server and return how they ended, the last line of pytest."""
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--no-header", "tests"],
        cwd=root,
        env=_environment(root, port),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout.strip().splitlines()[-1]


def imported_by(root: Path, statement: str, expression: str) -> str:
    """Run an import in the repository and return what an expression prints afterwards."""
    ended = subprocess.run(
        [sys.executable, "-c", f"{statement}; print({expression})"],
        cwd=root,
        env=_environment(root),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()
