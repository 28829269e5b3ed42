"""Owns one typed function for each script that looks into an inbox, or handles its dead letters.

A function returns a `Call`; `script.run` sends it. The contract of each script stands in its file's header.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tta_agent_coordination._keys import Inbox
from tta_agent_coordination._redis.replies import Lane, Reply, reply_of, text_of
from tta_agent_coordination._redis.script import Call, load

__all__ = [
    "DeadPage",
    "FindPage",
    "Found",
    "StatsReply",
    "dead_letters",
    "find",
    "purge",
    "requeue",
    "stats",
]


@dataclass(frozen=True, slots=True)
class DeadPage:
    """One page of dead letters: entry and `cause|time`; a `next_start` of None ends it."""

    next_start: int | None
    letters: tuple[tuple[bytes, str], ...]


@dataclass(frozen=True, slots=True)
class Found:
    """An entry that contains what was looked for."""

    entry: bytes
    name: str
    detail: str


@dataclass(frozen=True, slots=True)
class FindPage:
    """One page of a search; a `cursor` of "0" ends it."""

    cursor: str
    found: tuple[Found, ...]


@dataclass(frozen=True, slots=True)
class StatsReply:
    """Counts of one inbox; levels are (total, ready), HIGH first."""

    levels: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    reserved: int
    overdue: int
    audit: int
    dead: int
    oldest_us: int
    ready_until_us: int


_REQUEUE, _PURGE, _DEAD_LETTERS = load("requeue"), load("purge"), load("dead_letters")
_FIND, _STATS = load("find"), load("stats")


def requeue(
    lane: Lane,
    box: Inbox,
    *,
    now_us: str,
    audit: bool,
    limit: int,
    letters: Sequence[tuple[bytes, int, bytes]],
) -> Call[Reply]:
    """Send dead letters (dead entry, level, new entry) again: OK or FULL, with how many went."""
    flat = [part for letter in letters for part in letter]
    return Call(
        script=_REQUEUE,
        keys=(lane.key, box.reserved, box.clock, *box.levels, box.queue, box.dlq, box.dlq_info, box.wake),
        args=(lane.seq, now_us, int(audit), limit, *flat),
        read=reply_of,
    )


def purge(lane: Lane, box: Inbox, *, letters: Sequence[bytes]) -> Call[Reply]:
    """Delete dead letters, or all of them where none is named: OK with how many."""
    return Call(
        script=_PURGE, keys=(lane.key, box.dlq, box.dlq_info), args=(lane.seq, *letters), read=reply_of
    )


def dead_letters(box: Inbox, *, start: int, count: int) -> Call[DeadPage]:
    """Read one page of dead letters with their causes."""

    def read(answer: list[Any]) -> DeadPage:
        letters = zip(answer[2::2], answer[3::2], strict=True)
        following = int(answer[1])
        return DeadPage(
            None if following < 0 else following, tuple((entry, text_of(info)) for entry, info in letters)
        )

    return Call(script=_DEAD_LETTERS, keys=(box.dlq, box.dlq_info), args=(start, count), read=read)


def find(place: bytes, companion: bytes, *, kind: str, cursor: str, needle: bytes) -> Call[FindPage]:
    """Look through one page of a level, the reservations or the dead letters for a text."""

    def read(answer: list[Any]) -> FindPage:
        parts = answer[2:]
        return FindPage(
            text_of(answer[1]),
            tuple(
                Found(entry, text_of(name), text_of(detail))
                for entry, name, detail in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
            ),
        )

    return Call(script=_FIND, keys=(place, companion), args=(kind, cursor, needle), read=read)


def stats(box: Inbox, *, now_us: str) -> Call[StatsReply]:
    """Count what an inbox holds."""

    def read(answer: list[Any]) -> StatsReply:
        n = [int(number) for number in answer[1:]]
        return StatsReply(((n[0], n[1]), (n[2], n[3]), (n[4], n[5])), *n[6:])

    return Call(
        script=_STATS,
        keys=(box.reserved, box.deadlines, box.clock, *box.levels, box.queue, box.dlq),
        args=("", now_us),
        read=read,
    )
