"""Short ways to say what a test is about: an agent, a message, a received id."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tta_agent_coordination import (
    AgentId,
    AgentMessage,
    DeadLetter,
    MessagePriority,
    MessageType,
    ReceivedMessage,
    RedisMessageCoordinator,
)

__all__ = [
    "INPUT",
    "NARRATIVE",
    "WORLD",
    "drain",
    "id_of",
    "ids_of",
    "make_message",
    "send_ids",
    "take",
    "take_many",
]

WORLD = AgentId(type="world", instance="1")
"""The recipient in most tests."""
INPUT = AgentId(type="input", instance="1")
"""The sender in most tests."""
NARRATIVE = AgentId(type="narrative", instance="1")
"""Somebody else."""


def make_message(
    message_id: str = "message-1",
    payload: dict[str, Any] | None = None,
    *,
    recipient: AgentId = WORLD,
    priority: MessagePriority = MessagePriority.NORMAL,
    message_type: MessageType = MessageType.REQUEST,
) -> AgentMessage:
    """Return a message from INPUT."""
    return AgentMessage(
        message_id=message_id,
        sender=INPUT,
        recipient=recipient,
        message_type=message_type,
        payload={} if payload is None else payload,
        priority=priority,
    )


def id_of(received: ReceivedMessage | None) -> str | None:
    """Return the id of the message inside, None for no message."""
    return None if received is None else received.queue_message.message.message_id


async def take(
    coordinator: RedisMessageCoordinator, agent: AgentId = WORLD, visibility_timeout: float = 5
) -> ReceivedMessage:
    """Receive one message that must be there."""
    received = await coordinator.receive(agent, visibility_timeout)
    assert received is not None, f"nothing due for {agent}"
    return received


def ids_of(letters: Iterable[DeadLetter]) -> list[str | None]:
    """Return the ids of the messages in dead letters, None for one that nobody can read."""
    return [
        None if letter.queue_message is None else letter.queue_message.message.message_id
        for letter in letters
    ]


async def drain(coordinator: RedisMessageCoordinator, agent: AgentId = WORLD) -> list[str]:
    """Receive and acknowledge until nothing is due; return the ids in order of delivery."""
    ids: list[str] = []
    while (received := await coordinator.receive(agent)) is not None:
        ids.append(received.queue_message.message.message_id)
        assert await coordinator.ack(agent, received.token)
    return ids


async def send_ids(
    coordinator: RedisMessageCoordinator,
    ids: Iterable[str],
    agent: AgentId = WORLD,
    **options: Any,  # noqa: ANN401 - whatever send_message takes
) -> list[str]:
    """Send one message for each id, which must all be accepted; return the ids."""
    sent = list(ids)
    for message_id in sent:
        result = await coordinator.send_message(INPUT, agent, make_message(message_id), **options)
        assert result.delivered, result
    return sent


async def take_many(
    coordinator: RedisMessageCoordinator, count: int, agent: AgentId = WORLD, visibility_timeout: float = 5
) -> list[ReceivedMessage]:
    """Receive `count` messages that must be there."""
    return [await take(coordinator, agent, visibility_timeout) for _ in range(count)]
