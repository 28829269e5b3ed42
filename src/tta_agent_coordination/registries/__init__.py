"""Registries that know who is alive: one in memory, and one that many processes share through Redis."""

from tta_agent_coordination.registries._capabilities import CapabilityMatch
from tta_agent_coordination.registries._events import AgentEvent, AgentEventKind, RegistryWatch
from tta_agent_coordination.registries._liveness import Liveness
from tta_agent_coordination.registries.agent_registry import AgentRegistry
from tta_agent_coordination.registries.redis_agent_registry import RedisAgentRegistry

__all__ = [
    "AgentEvent",
    "AgentEventKind",
    "AgentRegistry",
    "CapabilityMatch",
    "Liveness",
    "RedisAgentRegistry",
    "RegistryWatch",
]
