"""Owns the way of a message out: encoding it once, and turning what happened into a `MessageResult`."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from tta_agent_coordination import _codec
from tta_agent_coordination._redis.scripts import Reply, Status
from tta_agent_coordination.exceptions import (
    MessageCoordinatorError,
    PayloadNotJSONError,
    PayloadTooLargeError,
)
from tta_agent_coordination.messaging import MessageResult
from tta_agent_coordination.models import AgentMessage, MessagePriority

__all__ = ["Outgoing", "encoded", "result_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """An encoded message, from which each recipient's entry is made."""

    message_id: str
    level: int
    json: str
    enqueued_at: str

    def entry(self) -> bytes:
        """Return a new entry; its nonce makes it unlike every other, equal payloads included."""
        return _codec.encode_entry(
            self.json, priority=self.level, enqueued_at=self.enqueued_at, nonce=secrets.token_hex(8)
        )


def encoded(message: AgentMessage, *, now_iso: str, max_payload_bytes: int) -> Outgoing:
    """Encode a message, filling in a missing timestamp.

    Raises:
        PayloadNotJSONError: If it is not strict JSON.
        PayloadTooLargeError: If its payload is larger than allowed.
    """
    if not message.timestamp:
        message.timestamp = now_iso
    try:
        text, payload_bytes = _codec.encode_message(message)
        level = int(MessagePriority(message.priority))
    except (TypeError, ValueError, AttributeError) as error:
        raise PayloadNotJSONError(str(error)) from error
    if payload_bytes > max_payload_bytes:
        raise PayloadTooLargeError(f"payload is {payload_bytes} bytes of JSON, more than {max_payload_bytes}")
    return Outgoing(message_id=message.message_id, level=level, json=text, enqueued_at=now_iso)


def result_of(message_id: str, outcome: Reply | MessageCoordinatorError) -> MessageResult:
    """Return the answer to a send."""
    if isinstance(outcome, MessageCoordinatorError):
        result = MessageResult(
            message_id=message_id, delivered=False, error=str(outcome), cause=outcome.cause
        )
        return result.caused_by(outcome.__cause__ or outcome)
    if outcome.status is Status.FULL:
        return MessageResult(message_id=message_id, delivered=False, error="queue full", cause="queue full")
    if outcome.status is Status.DUPLICATE:
        return MessageResult(message_id=outcome.text, delivered=True, cause="duplicate")
    return MessageResult(message_id=message_id, delivered=True)
