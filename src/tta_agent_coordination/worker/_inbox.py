"""Owns how a worker asks for messages: waiting for some, and the next one with an acknowledgement."""

from __future__ import annotations

from tta_agent_coordination.coordinators import RedisMessageCoordinator
from tta_agent_coordination.messaging import ReceivedMessage
from tta_agent_coordination.models import AgentId

__all__ = ["ack_and_take", "take"]

_WAIT_S = 30.0
"""Longest wait for a message in one call; the next call follows at once."""


async def take(
    coordinator: RedisMessageCoordinator, agent: AgentId, wanted: int, lease_s: float
) -> list[ReceivedMessage]:
    """Wait for messages and take up to `wanted` that are due; none when the wait is over."""
    return await coordinator.receive_many(agent, wanted, lease_s, wait=_WAIT_S)


async def ack_and_take(
    coordinator: RedisMessageCoordinator, agent: AgentId, token: str, lease_s: float
) -> ReceivedMessage | None:
    """Acknowledge one message and take the next, if there is one: one script."""
    _, received = await coordinator._ack_and_receive(agent, [token], 1, lease_s)  # noqa: SLF001 - made for this
    return received[0] if received else None
