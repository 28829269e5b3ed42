"""Owns the contracts that others implement or fulfil: coordinators, agent proxies, agents.

Knows no implementation. The docstrings state guarantees, not mechanics.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Sequence
from typing import Any, Protocol

from tta_agent_coordination.messaging import FailureType, MessageResult, MessageSubscription, ReceivedMessage
from tta_agent_coordination.models import AgentId, AgentMessage, MessageType

__all__ = ["Agent", "AgentProxy", "MessageCoordinator"]


class MessageCoordinator(ABC):
    """Durable inboxes between agents, delivered at least once."""

    @abstractmethod
    async def send_message(self, sender: AgentId, recipient: AgentId, message: AgentMessage) -> MessageResult:
        """Put a message into the recipient's inbox; a failed delivery is a result, not an exception."""

    @abstractmethod
    async def broadcast_message(
        self, sender: AgentId, message: AgentMessage, recipients: Sequence[AgentId] | None = None
    ) -> list[MessageResult]:
        """Send to each recipient, or to all subscribers of the type; one result a recipient, in order."""

    @abstractmethod
    def subscribe_to_messages(
        self, agent_id: AgentId, message_types: list[MessageType]
    ) -> MessageSubscription:
        """Record an agent's interest in message types; the answer can be awaited."""

    @abstractmethod
    async def receive(self, agent_id: AgentId, visibility_timeout: float = 5) -> ReceivedMessage | None:
        """Take the next message under a lease of `visibility_timeout` seconds; None when nothing is due."""

    @abstractmethod
    async def ack(self, agent_id: AgentId, token: str) -> bool:
        """End a lease for good; False when the token holds nothing any more."""

    @abstractmethod
    async def nack(
        self,
        agent_id: AgentId,
        token: str,
        failure: FailureType = FailureType.TRANSIENT,
        error: str | None = None,
    ) -> bool:
        """Give a message back as failed: it is retried later, or becomes a dead letter."""

    @abstractmethod
    async def recover_pending(self, agent_id: AgentId | None = None) -> int:
        """Put messages whose lease ran out back into their inboxes; return how many."""

    @abstractmethod
    def configure(
        self,
        *,
        queue_size: int | None = None,
        retry_attempts: int | None = None,
        backoff_base: float | None = None,
        backoff_factor: float | None = None,
        backoff_max: float | None = None,
    ) -> Awaitable[None]:
        """Change limits from now on; None leaves a value. Awaiting the answer is allowed, not needed."""


class AgentProxy(ABC):
    """Stands for an agent that lives elsewhere."""

    @abstractmethod
    async def process(self, input_payload: dict[str, Any]) -> dict[str, Any]:
        """Have the agent work on a payload and return its structured answer."""


class Agent(Protocol):
    """What a registry expects of an agent."""

    agent_id: AgentId
    name: str

    def status_snapshot(self) -> dict[str, Any]:
        """Return the agent's state as a JSON object."""
        ...

    async def health_check(self) -> dict[str, Any]:
        """Return an object with a `status`."""
        ...

    def set_degraded(self, degraded: bool, /) -> None:
        """Mark the agent as degraded, or as well again."""
        ...

    async def export_state(self) -> dict[str, Any]:
        """Return what a successor needs to go on."""
        ...

    async def import_state(self, state: dict[str, Any], /) -> None:
        """Go on from what a predecessor exported."""
        ...
