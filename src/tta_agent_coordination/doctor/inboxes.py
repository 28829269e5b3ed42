"""Owns the doctor's look into inboxes: what is suspect by a plain reading, and what the scripts then say.

The reading is by pages and no picture of one moment, so it only names suspects. The script judges each of
them in one step.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import AsyncGenerator, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, cast

from tta_agent_coordination import _codec, _keys
from tta_agent_coordination._clock import Clock, script_time
from tta_agent_coordination._redis.doctor_scripts import Look, doctor_entries, doctor_leases
from tta_agent_coordination._redis.replies import Lane, Reply
from tta_agent_coordination._redis.script import Call
from tta_agent_coordination.coordinators._calls import Calls
from tta_agent_coordination.doctor.findings import MARKS, Debris, message_of, shown

__all__ = ["Inboxes", "Suspect"]

_PAGE = 1_000
"""Elements that one read asks for."""

_PAIRS_A_SCRIPT = 100
_BYTES_A_SCRIPT = 1 << 20
_STEPS_A_REPAIR = 2_000_000
"""Elements of audit list and dead letters that one mending script may pass over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A token (`lease`) or an entry of an inbox that is not as it should be, and the mark that it has."""

    text: bytes
    lease: bool
    readable: bool
    mark: str = ""

    def finding(self, box: _keys.Inbox, *, mended: bool) -> Debris:
        """Return how a report tells it."""
        kind = MARKS[self.mark]
        subject = shown(self.text)
        if not self.lease:
            message_id = message_of(self.text)
            digest = blake2b(self.text, digest_size=6).hexdigest()
            subject = f"{len(self.text)} bytes, {digest}" if message_id is None else shown(message_id)
        place = box.queue
        if self.lease:
            place = box.deadlines if kind == "deadline" else box.reserved
        return Debris(kind, shown(place), subject, mended)


class Inboxes:
    """Looks into the inboxes of one server."""

    def __init__(self, calls: Calls, clock: Clock | None) -> None:
        self._calls = calls
        self._clock = clock

    async def wrong_types(self, boxes: Mapping[_keys.Inbox, Container[bytes]]) -> dict[bytes, _keys.Inbox]:
        """Return which of the keys that some inboxes have hold another type than the contract says."""
        expected = [
            (box, key, kind) for box, there in boxes.items() for key, kind in _types(box) if key in there
        ]
        answers: list[bytes] = await self._calls.commands([("TYPE", key) for _, key, _ in expected])
        return {
            key: box
            for (box, key, kind), answer in zip(expected, answers, strict=True)
            if answer not in (kind, b"none")
        }

    async def first_pages(self, boxes: Mapping[_keys.Inbox, Container[bytes]]) -> dict[bytes, Any]:
        """Read the beginning of every key that some inboxes have, the audit lists before all others."""
        lists = [box.queue for box, there in boxes.items() if box.queue in there]
        scans = [
            (command, key)
            for box, there in boxes.items()
            for command, key in (("HSCAN", box.reserved), *(("ZSCAN", key) for key in _sets(box)))
            if key in there
        ]
        pages = await self._calls.commands([("LRANGE", key, 0, _PAGE - 1) for key in lists])
        answers = await self._calls.commands([(command, key, 0, "COUNT", _PAGE) for command, key in scans])
        return dict(zip(lists, pages, strict=True)) | {
            key: answer for (_, key), answer in zip(scans, answers, strict=True)
        }

    async def suspects(self, box: _keys.Inbox, first: Mapping[bytes, Any]) -> AsyncGenerator[Suspect]:
        """Yield what is suspect in an inbox, of whose keys the first pages are read."""
        listed: Counter[bytes] = Counter()
        async for entry in self._list(box.queue, first.get(box.queue, ())):
            listed[_digest(entry)] += 1
        placed: Counter[bytes] = Counter()
        uncounted: dict[bytes, bytes] = {}
        unreadable: list[bytes] = []
        tokens: dict[bytes, bool] = {}

        def place(entry: bytes) -> None:
            digest = _digest(entry)
            placed[digest] += 1
            # Without a nonce it is v0's; one of ours may be without a copy on purpose (`audit="off"`).
            if digest not in listed and _codec.entry_id(entry).encode() == entry:
                uncounted[digest] = entry

        async for token, entry in self._pairs("HSCAN", box.reserved, first):
            tokens[token] = message_of(entry) is not None
            place(entry)
        leased = {token async for token, _ in self._pairs("ZSCAN", box.deadlines, first)}
        for level in box.levels:
            async for entry, _ in self._pairs("ZSCAN", level, first):
                if message_of(entry) is None:
                    unreadable.append(entry)
                else:
                    place(entry)
        for token in sorted(leased ^ tokens.keys()):
            yield Suspect(text=token, lease=True, readable=tokens.get(token, True))
        for entry in dict.fromkeys(unreadable):
            yield Suspect(text=entry, lease=False, readable=False)
        beside = {_digest(entry) for entry in unreadable}
        surplus = {digest for digest, count in listed.items() if count > placed[digest]} - beside
        if surplus:
            async for entry in self._list(box.queue):
                digest = _digest(entry)
                if digest in surplus:
                    surplus.discard(digest)
                    yield Suspect(text=entry, lease=False, readable=message_of(entry) is not None)
        for entry in uncounted.values():
            yield Suspect(text=entry, lease=False, readable=True)

    async def judge(
        self, box: _keys.Inbox, suspects: Sequence[Suspect], *, repair: bool
    ) -> AsyncGenerator[Suspect]:
        """Have the scripts look at an inbox's suspects; with `repair`, mend who keeps the mark it had.

        Yields:
            Who has a mark, and the same as before if it had one.
        """
        entries = [suspect for suspect in suspects if not suspect.lease]
        many = await self._entries_a_script(box) if entries and repair else _PAIRS_A_SCRIPT
        leases = _batches([suspect for suspect in suspects if suspect.lease], _PAIRS_A_SCRIPT)
        for batch in itertools.chain(leases, _batches(entries, many)):
            for suspect in await self._judged(box, batch, repair=repair):
                yield suspect

    async def _judged(self, box: _keys.Inbox, batch: list[Suspect], *, repair: bool) -> list[Suspect]:
        looks = [Look(each.text, each.readable, each.mark if repair else "") for each in batch]
        now_us = script_time(self._clock)

        def build(lane: Lane) -> Call[Reply]:
            if batch[0].lease:
                return doctor_leases(lane, box, now_us=now_us, leases=looks)
            return doctor_entries(lane, box, now_us=now_us, entries=looks)

        reply = await self._calls.run(box, build)
        return [
            replace(suspect, mark=mark)
            for suspect, mark in zip(batch, reply.text, strict=True)
            if mark != "-" and suspect.mark in ("", mark)
        ]

    async def _entries_a_script(self, box: _keys.Inbox) -> int:
        lengths = await self._calls.commands([("LLEN", box.queue), ("LLEN", box.dlq)])
        return max(1, min(_PAIRS_A_SCRIPT, _STEPS_A_REPAIR // (sum(lengths) + 1)))

    async def _list(self, key: bytes, page: Sequence[bytes] | None = None) -> AsyncGenerator[bytes]:
        start = 0
        while True:
            read = page
            if read is None:
                [read] = await self._calls.commands([("LRANGE", key, start, start + _PAGE - 1)])
            for entry in read:
                yield entry
            if len(read) < _PAGE:
                return
            start, page = start + _PAGE, None

    async def _pairs(
        self, command: str, key: bytes, first: Mapping[bytes, Any]
    ) -> AsyncGenerator[tuple[bytes, bytes]]:
        """Yield what a hash or a sorted set holds; what is there all the time comes once or more."""
        cursor, answer = first.get(key, (0, ()))
        while True:
            # The client makes a dict of a hash, and pairs of a sorted set.
            page = cast("dict[bytes, bytes] | Sequence[tuple[bytes, bytes]]", answer)
            for pair in page.items() if isinstance(page, dict) else page:
                yield pair
            if int(cursor) == 0:
                return
            cursor, answer = await self._calls.scan_page(command, key, cursor, "COUNT", _PAGE)


def _sets(box: _keys.Inbox) -> tuple[bytes, ...]:
    return (box.deadlines, *box.levels)


def _types(box: _keys.Inbox) -> list[tuple[bytes, bytes]]:
    """Every key that the doctor's scripts touch, and its type."""
    return [
        *((key, b"list") for key in (box.queue, box.dlq)),
        *((key, b"zset") for key in _sets(box)),
        *((key, b"hash") for key in (box.reserved, box.inflight, box.lapses, box.dlq_info)),
    ]


def _batches(suspects: list[Suspect], many: int) -> Iterator[list[Suspect]]:
    """Part suspects into what one script takes: so many, or so many bytes."""
    batch: list[Suspect] = []
    size = 0
    for suspect in suspects:
        if batch and (len(batch) == many or size + len(suspect.text) > _BYTES_A_SCRIPT):
            yield batch
            batch, size = [], 0
        batch.append(suspect)
        size += len(suspect.text)
    if batch:
        yield batch


def _digest(entry: bytes) -> bytes:
    return blake2b(entry, digest_size=16).digest()
