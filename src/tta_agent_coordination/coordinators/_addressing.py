"""Owns what every group of a coordinator's operations needs: an agent's keys, and the limit of an inbox."""

from __future__ import annotations

from tta_agent_coordination import _keys
from tta_agent_coordination.coordinators import _validation as check
from tta_agent_coordination.models import AgentId

__all__ = ["Addressing"]


class Addressing:
    """Names inboxes for one coordinator."""

    _pfx: str
    _hash_tags: bool
    _queue_size: int

    def _box(self, agent_id: AgentId) -> _keys.Inbox:
        return _keys.inbox(self._pfx, agent_id, hash_tags=self._hash_tags)

    def _limit(self) -> int:
        """Return the size limit; TTA assigns the attribute, so it is checked where it is read."""
        return check.whole("queue_size", self._queue_size, low=1)
