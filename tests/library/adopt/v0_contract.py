"""v0's contract as files: models, messages, interfaces, metrics, the coordinator and the Redis registry.

Written anew in the shape that TTA's have, and running: names, bases and habits of formatting are TTA's,
the code is not. `v0_copy` puts a copy together.
"""

from __future__ import annotations

__all__ = ["COORDINATOR", "INTERFACES", "MATCHER", "MESSAGING", "METRICS", "MODELS", "REGISTRY"]

MODELS = '''\
"""Models of agents and messages."""

# Logseq: [[Orchestration/Models]]
from __future__ import annotations

import re
from enum import Enum, StrEnum
from typing import Any

from pydantic import BaseModel, Field, field_validator


class AgentType(StrEnum):
    IPA = "input_processor"
    WBA = "world_builder"
    NGA = "narrative_generator"  # tells the story


class MessageType(StrEnum):
    REQUEST = "request"
    RESPONSE = "response"
    EVENT = "event"


class MessagePriority(int, Enum):
    LOW = 1
    NORMAL = 5
    HIGH = 9


class RoutingKey(BaseModel):
    topic: str | None = None
    tags: list[str] = Field(default_factory=list)


class AgentId(BaseModel):
    type: AgentType = Field(..., description="What kind of agent")
    instance: str | None = Field(default=None, description="Which one")


class AgentMessage(BaseModel):
    message_id: str = Field(..., min_length=6)
    sender: AgentId
    recipient: AgentId
    message_type: MessageType
    payload: dict[str, Any] = Field(default_factory=dict)
    priority: MessagePriority = MessagePriority.NORMAL
    routing: RoutingKey = Field(default_factory=RoutingKey)
    timestamp: str | None = None


# --- TTA's own half ---
class OrchestrationRequest(BaseModel):
    session_id: str | None = None
    entrypoint: AgentType = AgentType.IPA


class AgentCapability(BaseModel):
    name: str
    version: str

    @field_validator("version")
    @classmethod
    def _three_numbers(cls, value: str) -> str:
        if not re.match(r"^\\d+\\.\\d+\\.\\d+$", value):
            raise ValueError("a version has three numbers")
        return value


class AgentCapabilitySet(BaseModel):
    agent_id: AgentId
    capabilities: list[AgentCapability] = Field(default_factory=list)
'''

MESSAGING = '''\
"""What travels between agents."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, Field

from .models import AgentId, AgentMessage, MessagePriority, MessageType


class MessageResult(BaseModel):
    message_id: str
    delivered: bool
    error: str | None = None


class MessageSubscription(BaseModel):
    subscription_id: str
    agent_id: AgentId
    message_types: list[MessageType] = Field(default_factory=list)


class FailureType(StrEnum):
    TRANSIENT = "transient"
    PERMANENT = "permanent"
    TIMEOUT = "timeout"


class QueueMessage(BaseModel):
    message: AgentMessage
    priority: MessagePriority = MessagePriority.NORMAL
    enqueued_at: str | None = None
    delivery_attempts: int = 0
    last_error: str | None = None


class ReceivedMessage(BaseModel):
    token: str
    queue_message: QueueMessage
    visibility_deadline: str | None = None
'''

INTERFACES = """\
from __future__ import annotations

from abc import ABC, abstractmethod

from .messaging import FailureType, MessageResult, ReceivedMessage
from .models import AgentId, AgentMessage


class MessageCoordinator(ABC):
    @abstractmethod
    async def send_message(
        self, sender: AgentId, recipient: AgentId, message: AgentMessage
    ) -> MessageResult: ...

    @abstractmethod
    async def receive(self, agent_id: AgentId, visibility_timeout: int = 5) -> ReceivedMessage | None: ...

    @abstractmethod
    async def ack(self, agent_id: AgentId, token: str) -> bool: ...

    @abstractmethod
    async def nack(
        self,
        agent_id: AgentId,
        token: str,
        failure: FailureType = FailureType.TRANSIENT,
        error: str | None = None,
    ) -> bool: ...


class AgentProxy(ABC):
    @abstractmethod
    async def process(self, input_payload: dict) -> dict: ...
"""

METRICS = '''\
from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class DeliveryStats:
    delivered_ok: int = 0
    delivered_error: int = 0


@dataclass
class QueueGauges:
    queue_lengths: dict[tuple[str, int], int] = field(default_factory=dict)
    dlq_lengths: dict[str, int] = field(default_factory=dict)


class MessageMetrics:
    """Counts in memory."""

    def __init__(self) -> None:
        self.delivery = DeliveryStats()
        self.gauges = QueueGauges()

    # --- Counters ---
    def inc_delivered_ok(self, n: int = 1) -> None:
        self.delivery.delivered_ok += n

    def set_dlq_length(self, agent_key: str, length: int) -> None:
        self.gauges.dlq_lengths[agent_key] = length

    def snapshot(self) -> dict:
        return {"delivery": self.delivery.__dict__}
'''

COORDINATOR = '''\
"""Messages through Redis."""

from __future__ import annotations

import json
import logging
import time
import uuid

from redis.asyncio import Redis

logger = logging.getLogger(__name__)

from ..interfaces import MessageCoordinator
from ..messaging import (
    FailureType,
    MessageResult,
    QueueMessage,
    ReceivedMessage,
)
from ..models import AgentId, AgentMessage


def _now_us() -> int:
    return int(time.time() * 1_000_000)


class RedisMessageCoordinator(MessageCoordinator):
    def __init__(self, redis: Redis, key_prefix: str = "ao") -> None:
        self._agent_router = None
        self._redis = redis
        self._pfx = key_prefix.rstrip(":")
        self._queue_size = 10000
        from ..metrics import MessageMetrics

        self.metrics = MessageMetrics()

    # ---- Keys ----
    def _key(self, kind: str, agent_id: AgentId) -> str:
        return f"{self._pfx}:{kind}:{agent_id.type.value}:{agent_id.instance or 'default'}"

    def _reserved_hash(self, agent_id: AgentId) -> str:
        return self._key("reserved", agent_id)

    async def send_message(self, sender: AgentId, recipient: AgentId, message: AgentMessage) -> MessageResult:
        if await self._redis.llen(self._key("queue", recipient)) >= self._queue_size:
            return MessageResult(message_id=message.message_id, delivered=False, error="queue full")
        entry = json.dumps(QueueMessage(message=message, priority=message.priority).model_dump())
        await self._redis.rpush(self._key("queue", recipient), entry)
        lane = f"{self._key('sched', recipient)}:prio:{int(message.priority)}"
        await self._redis.zadd(lane, {entry: _now_us()})
        self.metrics.inc_delivered_ok()
        return MessageResult(message_id=message.message_id, delivered=True)

    async def receive(self, agent_id: AgentId, visibility_timeout: int = 5) -> ReceivedMessage | None:
        for level in (9, 5, 1):
            lane = f"{self._key('sched', agent_id)}:prio:{level}"
            for entry, _ in await self._redis.zpopmin(lane):
                token = f"res_{uuid.uuid4().hex[:16]}"
                await self._redis.hset(self._reserved_hash(agent_id), token, entry)
                return ReceivedMessage(token=token, queue_message=QueueMessage(**json.loads(entry)))
        return None

    async def ack(self, agent_id: AgentId, token: str) -> bool:
        entry = await self._redis.hget(self._reserved_hash(agent_id), token)
        await self._redis.hdel(self._reserved_hash(agent_id), token)
        return entry is not None and bool(await self._redis.lrem(self._key("queue", agent_id), 1, entry))

    async def nack(
        self,
        agent_id: AgentId,
        token: str,
        failure: FailureType = FailureType.TRANSIENT,
        error: str | None = None,
    ) -> bool:
        entry = await self._redis.hget(self._reserved_hash(agent_id), token)
        await self._redis.hdel(self._reserved_hash(agent_id), token)
        if entry is not None and failure == FailureType.PERMANENT:
            logger.error("dead: %s", error)
            await self._redis.rpush(self._key("dlq", agent_id), entry)
        return entry is not None
'''

REGISTRY = '''\
from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from redis.asyncio import Redis

from ..agents import Agent, AgentRegistry
from ..capability_matcher import CapabilityMatcher
from ..models import AgentCapabilitySet, AgentId


class RedisAgentRegistry(AgentRegistry):
    """Agents in Redis, and what they can do."""

    def __init__(
        self,
        redis: Redis,
        key_prefix: str = "ao",
        heartbeat_ttl_s: float = 30.0,
        heartbeat_interval_s: float | None = None,
        enable_events: bool = False,
        event_publisher: Any | None = None,
    ) -> None:
        super().__init__()
        self._redis = redis
        self._pfx = key_prefix.rstrip(":")
        self._ttl = float(heartbeat_ttl_s)
        self._events = enable_events

        # Matching
        threshold = 0.5
        self._capability_matcher = CapabilityMatcher(threshold)

    def _key(self, agent_id: AgentId) -> str:
        return f"{self._pfx}:agents:{agent_id.type.value}:{agent_id.instance or 'default'}"

    def _capability_key(self, agent_id: AgentId) -> str:
        return f"{self._pfx}:capabilities:{agent_id.type.value}:{agent_id.instance or 'default'}"

    def register(self, agent: Agent) -> None:
        self._agents[(agent.agent_id.type.value, agent.agent_id.instance or "default")] = agent
        asyncio.get_running_loop().create_task(self._persist(agent))

    async def _persist(self, agent: Agent) -> None:
        entry = {"name": agent.name, "last_heartbeat": time.time()}
        await self._redis.set(self._key(agent.agent_id), json.dumps(entry), px=int(self._ttl * 1000))

    # ---- Capabilities ----
    async def store_capabilities(self, capability_set: AgentCapabilitySet) -> bool:
        """Keep a set beside the agent."""
        key = self._capability_key(capability_set.agent_id)
        return bool(await self._redis.set(key, capability_set.model_dump_json(), px=int(self._ttl * 1000)))

    async def discover_capabilities(self, agent_id: AgentId, name: str) -> bool:
        text = await self._redis.get(self._capability_key(agent_id))
        if text is None:
            return False
        return self._capability_matcher.matches(AgentCapabilitySet.model_validate_json(text), name)
'''

MATCHER = """\
from .models import AgentCapabilitySet


class CapabilityMatcher:
    def __init__(self, threshold: float) -> None:
        self.threshold = threshold

    def matches(self, capability_set: AgentCapabilitySet, name: str) -> bool:
        return any(capability.name == name for capability in capability_set.capabilities)
"""
