"""Owns what whoever runs a system asks of an inbox: its counts, where a message is, and its dead letters.

It is a part of `RedisMessageCoordinator`.
"""

from __future__ import annotations

from collections.abc import Sequence

from tta_agent_coordination import _clock
from tta_agent_coordination._clock import Clock
from tta_agent_coordination.coordinators import _inspect
from tta_agent_coordination.coordinators import _validation as check
from tta_agent_coordination.coordinators._addressing import Addressing
from tta_agent_coordination.coordinators._calls import Calls
from tta_agent_coordination.coordinators._deadletters import DeadLetters
from tta_agent_coordination.coordinators._discovery import Discovery
from tta_agent_coordination.messaging import DeadLetter, InboxStats, MessageExplanation
from tta_agent_coordination.models import AgentId

__all__ = ["Upkeep"]


class Upkeep(Addressing):
    """The part of a coordinator that looks into inboxes and handles dead letters."""

    _calls: Calls
    _discovery: Discovery
    _dead: DeadLetters
    _audit: bool
    _clock: Clock | None

    def _now(self) -> str:
        return _clock.script_time(self._clock)

    async def stats(self, agent_id: AgentId) -> InboxStats:
        """Count what an inbox holds, in one moment; nothing is changed.

        Raises:
            MessageCoordinatorError: If the store failed.
        """
        return await _inspect.stats(self._calls, self._box(agent_id), now_us=self._now())

    async def explain(self, message_id: str, agent_id: AgentId) -> MessageExplanation | None:
        """Say where a message is and why; nothing is changed.

        It looks page by page, so a message that moves meanwhile may be missed.

        Returns:
            The first copy found, or None: never sent, acknowledged, purged, or in another inbox.

        Raises:
            MessageCoordinatorError: If the store failed.
        """
        needle = check.text("message_id", message_id)
        return await _inspect.explain(self._calls, agent_id, self._box(agent_id), needle, now_us=self._now())

    async def dead_letters(self, agent_id: AgentId) -> list[DeadLetter]:
        """Return an inbox's dead letters, the oldest first, read in pages of up to 1,000.

        Raises:
            MessageCoordinatorError: If the store failed.
        """
        return await self._dead.list(self._box(agent_id))

    async def requeue_dead(self, agent_id: AgentId, ids: Sequence[str]) -> int:
        """Send dead letters again: without attempts, expiries and expiry, at the back, up to `queue_size`.

        Each letter goes at most once; 100 letters are one atomic step. What cannot be read stays dead.

        Args:
            agent_id: Whose inbox.
            ids: Ids from `dead_letters`; unknown ones are passed over.

        Returns:
            How many were sent.

        Raises:
            MessageCoordinatorError: If the store failed.
        """
        ids = check.items("ids", ids)
        limit = self._limit()
        box = self._box(agent_id)
        await self._discovery.register([box])
        return await self._dead.requeue(box, ids, now_us=self._now(), audit=self._audit, limit=limit)

    async def purge_dead(self, agent_id: AgentId, ids: Sequence[str] | None = None) -> int:
        """Delete dead letters for good.

        Args:
            agent_id: Whose inbox.
            ids: Ids from `dead_letters`; None for all.

        Returns:
            How many were deleted.

        Raises:
            MessageCoordinatorError: If the store failed.
        """
        named = None if ids is None else check.items("ids", ids)
        return await self._dead.purge(self._box(agent_id), named)
