"""Owns what a coordinator tells about its work: metrics and log lines. Nothing here can fail an operation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from tta_agent_coordination import _codec
from tta_agent_coordination.messaging import MessageResult
from tta_agent_coordination.metrics import MessageMetrics

__all__ = ["Observer"]

logger = logging.getLogger("tta_agent_coordination.coordinators")

_LONG_AUDIT = 50_000
"""Audit entries from which on an ack out of order may have to look far for its own."""


class _HasMetrics(Protocol):
    metrics: MessageMetrics


class Observer:
    """Counts and logs for one coordinator, whose `metrics` may be replaced at any time."""

    def __init__(self, owner: _HasMetrics) -> None:
        self._owner = owner
        self._warned_of_metrics = False
        self._warned_of_audit = False

    def _count(self, tell: Callable[[MessageMetrics], None]) -> None:
        """Tell the metrics; they are the user's, and one that raises never breaks an operation."""
        try:
            tell(self._owner.metrics)
        except Exception:
            if not self._warned_of_metrics:
                self._warned_of_metrics = True
                logger.exception(
                    "The metrics object %r failed; messages go on without it, and this is said once",
                    self._owner.metrics,
                )

    def sent(self, result: MessageResult) -> MessageResult:
        """Note the outcome of one send and hand it on; a full inbox counts as neither success nor error."""
        if result.delivered:
            self._count(lambda metrics: metrics.inc_delivered_ok(1))
        elif result.cause != "queue full":
            self._count(lambda metrics: metrics.inc_delivered_error(1))
        return result

    def followed_up(self, messages: int) -> None:
        """Note messages that went out with an ack."""
        self._count(lambda metrics: metrics.inc_delivered_ok(messages))

    def depth(self, inbox: str, messages: int) -> None:
        """Warn once when an inbox with an audit list is long."""
        if messages > _LONG_AUDIT and not self._warned_of_audit:
            self._warned_of_audit = True
            logger.warning(
                "Inbox %s holds %s messages: with audit='exact' an ack out of order has to look through the "
                "audit list; where no v0 process shares the inbox, audit='off' costs the same at any length",
                inbox,
                messages,
            )

    def retried(self, delay_s: float) -> None:
        """Note a message that will be retried."""
        self._count(lambda metrics: metrics.inc_retries_scheduled(1, last_backoff_seconds=delay_s))
        self._count(lambda metrics: metrics.inc_nacks(1))

    def died(self, inbox: str, entry: bytes, attempts: int, error: object) -> None:
        """Note one dead letter."""
        self._count(lambda metrics: metrics.inc_permanent(1))
        try:
            message_id = _codec.decode(entry).message.message_id
        except _codec.UndecodableEntryError:
            message_id = None
        logger.error(
            "DLQ enqueue for %s message_id=%s attempts=%s error=%s", inbox, message_id, attempts, error
        )

    def recovered(self, messages: Mapping[str, int]) -> None:
        """Note how many messages went back into each inbox."""
        for inbox, count in messages.items():
            if count:
                logger.info("Recovered %s messages for agent %s", count, inbox)

    def reclaimed(self, inbox: str, dead: int) -> None:
        """Note what died while expired leases and expired messages were cleared away."""
        if dead:
            self._count(lambda metrics: metrics.inc_permanent(dead))
            logger.error(
                "DLQ enqueue for %s: %s messages, expired or poison after too many leases", inbox, dead
            )
