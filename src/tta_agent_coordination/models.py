"""Owns the models of agents and messages, the part of the contract that crosses Redis inside an entry.

Knows nothing of Redis, keys or delivery: it says what an agent and a message are, not what happens to them.
"""

from __future__ import annotations

import re
from enum import Enum, IntEnum, StrEnum
from typing import Any

from pydantic import BaseModel, Field, field_validator

__all__ = ["AgentId", "AgentMessage", "MessagePriority", "MessageType", "RoutingKey"]

_UNSAFE = re.compile(r"[:{}*?\[\]\\\s\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""What would make a Redis key ambiguous, a pattern match too much, or a text unencodable."""


class MessageType(StrEnum):
    """What a message is to its recipient."""

    REQUEST = "request"
    RESPONSE = "response"
    EVENT = "event"


class MessagePriority(IntEnum):
    """The three levels of an inbox, delivered highest first."""

    LOW = 1
    NORMAL = 5
    HIGH = 9


class RoutingKey(BaseModel):
    """Free routing hints that travel with a message; the coordinator does not read them."""

    topic: str | None = None
    tags: list[str] = Field(default_factory=list)


class AgentId(BaseModel, frozen=True):
    """Names an agent, and with it an inbox.

    Frozen and hashable. Equality is by value, over subclasses too: a `str` enum member is normalised to its
    value.
    `AgentId(type="a")` and `AgentId(type="a", instance="default")` share one inbox and compare unequal.

    Args:
        type: What kind of agent it is. Not empty, without `:`, braces, glob characters, whitespace and
            control characters, since keys are built from it.
        instance: Which one of its kind, under the same rules. None stands for the only one.

    Raises:
        pydantic.ValidationError: If a part could make a key ambiguous.
    """

    type: str
    instance: str | None = None

    @field_validator("type", "instance", mode="before")
    @classmethod
    def _only_safe_text(cls, value: object) -> object:
        if isinstance(value, Enum):
            value = value.value
        if value is None:
            return value
        if not isinstance(value, str) or not value:
            raise ValueError(f"must be a text that is not empty, not {value!r}")
        if found := _UNSAFE.search(value):
            raise ValueError(
                f"must not contain {found.group()!r}: separators, braces, glob characters, whitespace and "
                "control characters would make Redis keys ambiguous"
            )
        return value

    def _identity(self) -> tuple[str, str | None]:
        kind: object = self.type
        return str(kind.value) if isinstance(kind, Enum) else self.type, self.instance

    def __eq__(self, other: object) -> bool:
        """Compare by value, whatever subclass either side is."""
        return self._identity() == other._identity() if isinstance(other, AgentId) else NotImplemented

    def __hash__(self) -> int:
        """Hash by value, so that an id works in sets and as a dictionary key."""
        return hash(self._identity())

    def __str__(self) -> str:
        """Return `type:instance`, with `default` for a missing instance."""
        kind, instance = self._identity()
        return f"{kind}:{instance or 'default'}"


class AgentMessage(BaseModel):
    """One message from one agent to another.

    Args:
        message_id: The sender's name for it, at least 6 characters. Two sends of one id are two messages.
        sender: Who sent it.
        recipient: Whom it is for. The inbox is chosen by the recipient *argument* of a send, not by this.
        message_type: Request, response or event.
        payload: A JSON object; it is checked when the message is sent.
        priority: Its level in the inbox.
        routing: Free hints for the receiver.
        timestamp: ISO-8601; a send fills it in when it is missing.
    """

    message_id: str = Field(min_length=6)
    sender: AgentId
    recipient: AgentId
    message_type: MessageType
    payload: dict[str, Any] = Field(default_factory=dict)
    priority: MessagePriority = MessagePriority.NORMAL
    routing: RoutingKey = Field(default_factory=RoutingKey)
    timestamp: str | None = None
