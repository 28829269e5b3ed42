"""Owns how a worker asks for messages: waiting for some, and the next one with an acknowledgement."""

from __future__ import annotations

import asyncio

from tta_agent_coordination.coordinators import RedisMessageCoordinator
from tta_agent_coordination.messaging import ReceivedMessage
from tta_agent_coordination.models import AgentId

__all__ = ["ack_and_take", "take"]

_POLL_S = 0.05


async def take(
    coordinator: RedisMessageCoordinator, agent: AgentId, wanted: int, lease_s: float
) -> list[ReceivedMessage]:
    """Wait until there are messages; return up to `wanted`."""
    taken: list[ReceivedMessage] = []
    while True:
        while len(taken) < wanted and (received := await coordinator.receive(agent, lease_s)) is not None:
            taken.append(received)
        if taken:
            return taken
        await asyncio.sleep(_POLL_S)


async def ack_and_take(
    coordinator: RedisMessageCoordinator, agent: AgentId, token: str, lease_s: float
) -> ReceivedMessage | None:
    """Acknowledge one message and take the next, if there is one."""
    await coordinator.ack(agent, token)
    return await coordinator.receive(agent, lease_s)
