"""Owns which inboxes exist: the indexes that sends and subscriptions write, and a bounded look for v0's keys.

An index names an inbox before the first write to it, so a crash in between leaves a name without an inbox and
never an inbox without a name. Names are not removed: an index says where to look, the inbox itself says what
is there. With hash tags the index may lie on another node of a cluster than the inbox: a failover there
loses a name alone, so names are given again from time to time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import cast

from tta_agent_coordination import _keys
from tta_agent_coordination._redis.client import STORE_ERRORS
from tta_agent_coordination.coordinators._calls import Calls

__all__ = ["Discovery"]

logger = logging.getLogger("tta_agent_coordination.coordinators")

_MAX_PAGES = 1_000
_PAGE = 1_000
_MEMO = 100_000
"""Inbox names a coordinator remembers as indexed; beyond it forgets them all and names them again."""
_NAMED_FOR_S = 600.0
"""How long a name counts as indexed where only the index tells of the inbox, seconds."""
_SCAN_SUBSCRIPTIONS_EVERY_S = 60.0


class Discovery:
    """Finds the inboxes of one prefix."""

    def __init__(self, calls: Calls, prefix: str, *, hash_tags: bool) -> None:
        self._calls = calls
        self._prefix = prefix
        self._hash_tags = hash_tags
        self._indexed: set[str] = set()
        self._indexed_since = time.monotonic()
        self._cursors: dict[str, int] = {}
        self._policy_checked = False
        self._subscriptions_scanned_at: float | None = None

    async def register(self, boxes: Iterable[_keys.Inbox]) -> None:
        """Name inboxes in the index before the first write to them by this process.

        With hash tags no scan finds what the index lost: there they are named again, ten minutes later at the
        earliest, by the next write to them.
        """
        if self._hash_tags and (now := time.monotonic()) - self._indexed_since >= _NAMED_FOR_S:
            self._indexed.clear()
            self._indexed_since = now
        new = {box.name for box in boxes} - self._indexed
        if not new:
            return
        await self._check_policy()
        await self._calls.add_to_set(_keys.inboxes_index(self._prefix), *sorted(new))
        if len(self._indexed) > _MEMO:
            self._indexed.clear()
        self._indexed |= new

    async def _check_policy(self) -> None:
        """Warn once when the server may evict messages to make room."""
        if self._policy_checked:
            return
        self._policy_checked = True
        try:
            memory = await self._calls.client.execute_command("INFO", "memory")
        except STORE_ERRORS:
            return
        facts = cast("dict[str, object]", memory) if isinstance(memory, dict) else {}
        policy = facts.get("maxmemory_policy")
        if isinstance(policy, str) and policy != "noeviction":
            logger.warning(
                "Redis may evict messages: maxmemory-policy is %s; set it to noeviction so that a full "
                "server refuses new messages instead of losing old ones",
                policy,
            )

    def box(self, name: str) -> _keys.Inbox:
        """Return the keys of an inbox by its name."""
        return _keys.inbox_of(self._prefix, name, self._hash_tags)

    async def inboxes(self) -> list[_keys.Inbox]:
        """Return every inbox that may hold reservations, those that only v0 wrote included."""
        names = await self._members(_keys.inboxes_index(self._prefix))
        names |= await self._scan("reserved_deadlines")
        return [self.box(name) for name in sorted(names)]

    async def index_subscriber(self, box: _keys.Inbox, types: Iterable[str]) -> None:
        """Name a subscriber before it is one."""
        for message_type in types:
            await self._calls.add_to_set(_keys.subscribers_index(self._prefix, message_type), box.name)

    async def subscribers(self, message_type: str) -> list[_keys.Inbox]:
        """Return the inboxes that are subscribed to a type."""
        index = _keys.subscribers_index(self._prefix, message_type)
        names = await self._members(index)
        now = time.monotonic()
        found: set[str] = set()
        last = self._subscriptions_scanned_at
        if last is None or now - last > _SCAN_SUBSCRIPTIONS_EVERY_S:
            self._subscriptions_scanned_at = now
            found = await self._scan("subs") - names
        boxes = [self.box(name) for name in sorted(names | found)]
        answers = await self._calls.commands([("SISMEMBER", box.subs, message_type) for box in boxes])
        subscribed = [box for box, is_member in zip(boxes, answers, strict=True) if is_member]
        if new := [box.name for box in subscribed if box.name in found]:
            await self._calls.add_to_set(index, *new)  # the next broadcast need not look for them
        return subscribed

    async def _members(self, index: bytes) -> set[str]:
        names: set[str] = set()
        cursor = 0
        while True:
            cursor, page = await self._calls.scan_page("SSCAN", index, cursor, "COUNT", _PAGE)
            names |= {name for member in page if (name := _name(member)) is not None}
            if cursor == 0:
                return names

    async def _scan(self, family: str) -> set[str]:
        """Look through at most a million keys for a family; the next call goes on where this one stopped."""
        names: set[str] = set()
        if self._hash_tags:
            return names  # v0 writes no braced keys
        cursor = self._cursors.get(family, 0)
        for _ in range(_MAX_PAGES):
            cursor, page = await self._calls.scan_page(
                "SCAN", cursor, "MATCH", _keys.scan_pattern(self._prefix, family), "COUNT", _PAGE
            )
            names |= {
                name
                for key in page
                if (name := _keys.parse_inbox_name(self._prefix, family, key)) is not None
            }
            if cursor == 0:
                break
        self._cursors[family] = cursor
        return names


def _name(member: bytes) -> str | None:
    try:
        name = member.decode()
    except UnicodeDecodeError:
        return None
    return name if name.count(":") == 1 else None
