"""Owns what delivery looks like from outside: results, received messages, subscriptions, views of an inbox.

Knows no Redis and no exceptions; `exceptions` registers here which error stands for which cause.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, Field, PrivateAttr

from tta_agent_coordination.models import AgentId, AgentMessage, MessagePriority, MessageType

__all__ = [
    "DeadLetter",
    "FailureType",
    "InboxStats",
    "MessageExplanation",
    "MessageResult",
    "MessageSubscription",
    "QueueMessage",
    "ReceivedMessage",
    "register_causes",
]

_error_of_cause: dict[str, Callable[[str], Exception]] = {}


def register_causes(errors: dict[str, Callable[[str], Exception]]) -> None:
    """Say which exception `MessageResult.raise_for_error` makes of a cause; called once, by `exceptions`."""
    _error_of_cause.update(errors)


class FailureType(StrEnum):
    """Why a consumer gives a message back; TIMEOUT is handled like TRANSIENT."""

    TRANSIENT = "transient"
    PERMANENT = "permanent"
    TIMEOUT = "timeout"


class MessageResult(BaseModel):
    """The answer to one send.

    Args:
        message_id: The message it is about; for a duplicate, the first message's id.
        delivered: True when the message is in the inbox.
        error: What went wrong, for people.
        cause: The same for programs: `queue full`, `store unavailable` (nothing was stored), `outcome
            unknown` (it may have been), `payload not JSON`, `payload too large`; `duplicate` on a delivered
            result.
        recipient_liveness: `alive`, `suspect`, `dead` or `unknown` as a registry last knew it; None where the
            coordinator was not told to say.
    """

    message_id: str
    delivered: bool
    error: str | None = None
    cause: str | None = None
    recipient_liveness: str | None = None

    _origin: BaseException | None = PrivateAttr(default=None)

    def raise_for_error(self) -> None:
        """Do nothing for a delivered message, and raise otherwise.

        Raises:
            MessageCoordinatorError: The leaf that matches `cause`, chained to the error that led to it.
        """
        if not self.delivered:
            make = _error_of_cause.get(self.cause or "", _error_of_cause[""])
            raise make(self.error or self.cause or "the message was not delivered") from self._origin

    def caused_by(self, origin: BaseException) -> MessageResult:
        """Remember the exception behind the result, for the chain of `raise_for_error`."""
        self._origin = origin
        return self


class MessageSubscription(BaseModel):
    """A recorded interest of an agent in message types.

    Awaiting it returns it once it is stored; not awaiting it is fine too.
    """

    subscription_id: str
    agent_id: AgentId
    message_types: list[MessageType] = Field(default_factory=list[MessageType])

    _stored: Callable[[], Awaitable[None]] | None = PrivateAttr(default=None)

    def stored_by(self, stored: Callable[[], Awaitable[None]]) -> MessageSubscription:
        """Say what awaiting this subscription waits for."""
        self._stored = stored
        return self

    def __await__(self) -> Generator[Any, None, MessageSubscription]:
        """Wait until the subscription is stored.

        Raises:
            MessageCoordinatorError: If it could not be stored.
        """
        if self._stored is not None:
            yield from self._stored().__await__()
        return self


class QueueMessage(BaseModel):
    """A message as it is stored: the entry of an inbox."""

    message: AgentMessage
    priority: MessagePriority = MessagePriority.NORMAL
    enqueued_at: str | None = None
    delivery_attempts: int = 0
    last_error: str | None = None


class ReceivedMessage(BaseModel):
    """A message under a lease.

    Args:
        token: Names the reservation, for ack, nack, extend and release.
        queue_message: The message and what is known of its earlier deliveries.
        visibility_deadline: When the lease ends by the server's clock, ISO-8601 UTC.
        deliveries: How often the message was handed out, this time included.
    """

    token: str
    queue_message: QueueMessage
    visibility_deadline: str | None = None
    deliveries: int = 1


class DeadLetter(BaseModel):
    """An entry of the dead letter queue.

    Args:
        id: Names it for requeueing and purging: the entry's nonce, or its raw text where it has none.
        cause: `permanent`, `retries exhausted`, `poison`, `expired`, `undecodable`, or `ghost` where the
            doctor found an audit copy that v0 left behind; None where nobody noted one.
        died_at: When, ISO-8601 UTC by the server's clock; None where nobody noted it.
        queue_message: The message, None where the entry cannot be read.
        raw: The entry as it is stored.
    """

    id: str
    cause: str | None
    died_at: str | None
    queue_message: QueueMessage | None
    raw: bytes


class InboxStats(BaseModel, frozen=True):
    """What an inbox holds, counted in one moment.

    Args:
        ready: Messages that may be received now.
        delayed: Messages whose time has not come.
        reserved: Messages under a lease, run out or not.
        dead: Dead letters; they are not part of `depth`.
        depth: Ready, delayed and reserved: what `queue_size` limits.
        overdue: Reservations whose lease has run out and nobody reclaimed yet.
        audit: Length of the audit list.
        oldest_ready_s: Seconds the longest waiting ready message has been due.
        by_priority: Ready and delayed messages of each level.
    """

    ready: int
    delayed: int
    reserved: int
    dead: int
    depth: int
    overdue: int
    audit: int
    oldest_ready_s: float
    by_priority: dict[MessagePriority, int]


class MessageExplanation(BaseModel):
    """Where a message is and why it is there.

    Args:
        message_id: The message.
        agent_id: The inbox that was searched.
        state: `ready`, `delayed`, `reserved` or `dead`.
        queue_message: What is stored.
        due_at: From when it may be received (ready, delayed), ISO-8601 UTC.
        token: The reservation that holds it.
        visibility_deadline: When that lease ends, ISO-8601 UTC.
        cause: Why it is dead.
        died_at: When it died, ISO-8601 UTC.
        summary: The same in one sentence.
    """

    message_id: str
    agent_id: AgentId
    state: Literal["ready", "delayed", "reserved", "dead"]
    queue_message: QueueMessage
    due_at: str | None = None
    token: str | None = None
    visibility_deadline: str | None = None
    cause: str | None = None
    died_at: str | None = None
    summary: str = ""
