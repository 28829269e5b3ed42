"""Owns what can be asked of an inbox without changing it: its counts, and where one message is."""

from __future__ import annotations

from tta_agent_coordination import _clock, _codec, _keys
from tta_agent_coordination._redis import upkeep_scripts as scripts
from tta_agent_coordination.coordinators._calls import Calls
from tta_agent_coordination.coordinators._deadletters import cause_and_time
from tta_agent_coordination.messaging import InboxStats, MessageExplanation, QueueMessage
from tta_agent_coordination.models import AgentId, MessagePriority

__all__ = ["explain", "stats"]


async def stats(calls: Calls, box: _keys.Inbox, *, now_us: str) -> InboxStats:
    """Count what an inbox holds, in one script."""
    reply = await calls.read(scripts.stats(box, now_us=now_us))
    waiting = sum(total for total, _ in reply.levels)
    ready = sum(due for _, due in reply.levels)
    by_priority = zip(
        (MessagePriority.HIGH, MessagePriority.NORMAL, MessagePriority.LOW), reply.levels, strict=True
    )
    return InboxStats(
        ready=ready,
        delayed=waiting - ready,
        reserved=reply.reserved,
        dead=reply.dead,
        depth=waiting + reply.reserved,
        overdue=reply.overdue,
        audit=reply.audit,
        oldest_ready_s=_clock.from_us(max(0, reply.oldest_us)),
        by_priority={priority: total for priority, (total, _) in by_priority},
    )


async def explain(
    calls: Calls, agent_id: AgentId, box: _keys.Inbox, message_id: str, *, now_us: str
) -> MessageExplanation | None:
    """Look for a message page by page, in the order of a message's life; a snapshot it is not."""
    places = [(level, level, "level") for level in box.levels]
    places += [(box.reserved, box.deadlines, "reserved"), (box.dlq, box.dlq_info, "dead")]
    needle = _codec.needle(message_id)
    for place, companion, kind in places:
        cursor = "0"
        while True:
            page = await calls.read(scripts.find(place, companion, kind=kind, cursor=cursor, needle=needle))
            for found in page.found:
                queue_message = _of(found.entry, message_id)
                if queue_message is None:
                    continue
                if kind == "level":
                    ready = (await calls.read(scripts.stats(box, now_us=now_us))).ready_until_us
                    return _scheduled(
                        agent_id, message_id, queue_message, _clock.score_us(found.detail), ready
                    )
                return (
                    _held(agent_id, message_id, queue_message, found)
                    if kind == "reserved"
                    else _dead(agent_id, message_id, queue_message, found)
                )
            cursor = page.cursor
            if cursor == "0":
                break
    return None


def _of(entry: bytes, message_id: str) -> QueueMessage | None:
    try:
        queue_message = _codec.decode(entry)
    except _codec.UndecodableEntryError:
        return None
    return queue_message if queue_message.message.message_id == message_id else None


def _scheduled(
    agent_id: AgentId, message_id: str, queue_message: QueueMessage, score_us: int, ready_us: int
) -> MessageExplanation:
    due_at = _clock.iso_from_us(score_us)
    ready = score_us <= ready_us
    tried = (
        f" after {queue_message.delivery_attempts} failed attempts" if queue_message.delivery_attempts else ""
    )
    return MessageExplanation(
        message_id=message_id,
        agent_id=agent_id,
        state="ready" if ready else "delayed",
        queue_message=queue_message,
        due_at=due_at,
        summary=f"{'waits for a receiver since' if ready else 'may not be received before'} {due_at}{tried}",
    )


def _held(
    agent_id: AgentId, message_id: str, queue_message: QueueMessage, found: scripts.Found
) -> MessageExplanation:
    deadline = _clock.iso_from_us(_clock.score_us(found.detail)) if found.detail else None
    return MessageExplanation(
        message_id=message_id,
        agent_id=agent_id,
        state="reserved",
        queue_message=queue_message,
        token=found.name,
        visibility_deadline=deadline,
        summary=f"is held as {found.name} until {deadline or 'somebody clears it: it has no deadline'}",
    )


def _dead(
    agent_id: AgentId, message_id: str, queue_message: QueueMessage, found: scripts.Found
) -> MessageExplanation:
    cause, died_at = cause_and_time(found.detail)
    error = f", last error: {queue_message.last_error}" if queue_message.last_error else ""
    return MessageExplanation(
        message_id=message_id,
        agent_id=agent_id,
        state="dead",
        queue_message=queue_message,
        cause=cause,
        died_at=died_at,
        summary=f"is a dead letter ({cause or 'cause unknown'}){error}",
    )
