"""Owns the dead letters of an inbox: listing them in pages, sending them again, deleting them."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterable

from tta_agent_coordination import _clock, _codec, _keys
from tta_agent_coordination._redis import upkeep_scripts as scripts
from tta_agent_coordination._redis.replies import Status
from tta_agent_coordination.coordinators._calls import Calls
from tta_agent_coordination.messaging import DeadLetter

__all__ = ["DeadLetters", "cause_and_time"]

_PAGE = 1_000
_LETTERS_A_SCRIPT = 100
_MAX_DIGITS = 18


def cause_and_time(info: str) -> tuple[str | None, str | None]:
    """Split `cause|microseconds` as the scripts note it; None for what is not there."""
    cause, _, at = info.partition("|")
    return cause or None, _clock.iso_from_us(int(at)) if at.isdecimal() and len(at) <= _MAX_DIGITS else None


class DeadLetters:
    """Works on the dead letters of a coordinator's inboxes."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def _pages(self, box: _keys.Inbox) -> AsyncIterator[tuple[tuple[bytes, str], ...]]:
        start: int | None = 0
        while start is not None:
            page = await self._calls.read(scripts.dead_letters(box, start=start, count=_PAGE))
            yield page.letters
            start = page.next_start

    async def list(self, box: _keys.Inbox) -> list[DeadLetter]:
        """Return all dead letters, the oldest first."""
        return [_letter(entry, info) async for page in self._pages(box) for entry, info in page]

    async def _named(self, box: _keys.Inbox, ids: Iterable[str]) -> list[bytes]:
        wanted = set(ids)
        if not wanted:
            return []
        return [
            entry async for page in self._pages(box) for entry, _ in page if _codec.entry_id(entry) in wanted
        ]

    async def requeue(
        self, box: _keys.Inbox, ids: Iterable[str], *, now_us: str, audit: bool, limit: int
    ) -> int:
        """Send dead letters again; those that cannot be read, or do not fit, stay dead."""
        letters: list[tuple[bytes, int, bytes]] = []
        for entry in await self._named(box, ids):
            revived = _codec.revive(entry, secrets.token_hex(8))
            if revived is not None:
                letters.append((entry, *revived))
        requeued = 0
        for start in range(0, len(letters), _LETTERS_A_SCRIPT):
            page = letters[start : start + _LETTERS_A_SCRIPT]
            reply = await self._calls.run(
                box,
                lambda lane, page=page: scripts.requeue(
                    lane, box, now_us=now_us, audit=audit, limit=limit, letters=page
                ),
            )
            requeued += int(reply.text)
            if reply.status is Status.FULL:
                break
        return requeued

    async def purge(self, box: _keys.Inbox, ids: Iterable[str] | None) -> int:
        """Delete dead letters, all of them where no id is given."""
        if ids is None:
            return int((await self._calls.run(box, lambda lane: scripts.purge(lane, box, letters=()))).text)
        named = await self._named(box, ids)
        purged = 0
        for start in range(0, len(named), _LETTERS_A_SCRIPT):
            page = named[start : start + _LETTERS_A_SCRIPT]
            reply = await self._calls.run(box, lambda lane, page=page: scripts.purge(lane, box, letters=page))
            purged += int(reply.text)
        return purged


def _letter(entry: bytes, info: str) -> DeadLetter:
    cause, died_at = cause_and_time(info)
    try:
        queue_message = _codec.decode(entry)
    except _codec.UndecodableEntryError:
        queue_message = None
    return DeadLetter(
        id=_codec.entry_id(entry), cause=cause, died_at=died_at, queue_message=queue_message, raw=entry
    )
