"""Owns one typed function for each script that carries messages: keys and arguments in, status and facts out.

A function returns a `Call`; `script.run` sends it. The contract of each script stands in its file's header.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from tta_agent_coordination._keys import Inbox
from tta_agent_coordination._redis.replies import Lane, Reply, Status, reply_of, status_of, text_of
from tta_agent_coordination._redis.script import Call, load

__all__ = [
    "LEASES_A_SCRIPT",
    "Exchanged",
    "Lane",
    "Nacked",
    "Put",
    "Reclaimed",
    "Reply",
    "Reserved",
    "Retry",
    "Status",
    "ack",
    "ack_send",
    "enqueue",
    "enqueue_many",
    "exchange",
    "extend",
    "nack",
    "reclaim",
    "release",
    "reserve",
    "subscribe",
    "unsubscribe",
]


LEASES_A_SCRIPT = 100
"""Expired leases one script ends at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserved:
    """The answer of `reserve`; token to deliveries are meant only where the status is OK.

    `pause_us` comes with EMPTY for a caller that waits: until something is due or a lease ends, -1 for never.
    """

    status: Status
    token: str = ""
    entry: bytes = b""
    deadline_us: int = 0
    deliveries: int = 0
    requeued: int = 0
    dead: int = 0
    pause_us: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchanged:
    """The answer of `exchange`; `held` says of each token to end whether it held something."""

    status: Status
    held: tuple[bool, ...] = ()
    taken: tuple[Reserved, ...] = ()
    dead: int = 0
    pause_us: int = -1


class Put(NamedTuple):
    """One message to put into an inbox; times in microseconds, 0 for none.

    A tuple, since one is made for each message and a frozen dataclass takes four times as long to make.
    """

    level: int
    delay_us: int
    expires_us: int
    entry: bytes
    message_id: str
    dedup: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Nacked:
    """The answer of `nack`; the entry comes with DEAD (unless repeated) and UNKNOWN_TAIL."""

    status: Status
    attempts: int = 0
    delay_us: int = 0
    cause: str = ""
    entry: bytes = b""


@dataclass(frozen=True, slots=True)
class Reclaimed:
    """The answer of `reclaim`: what went back, what died, how many leases were looked at."""

    status: Status
    requeued: int = 0
    dead: int = 0
    seen: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How failures are retried; times in seconds."""

    attempts: int
    base_s: float
    factor: float
    max_s: float
    jitter: float


_ENQUEUE, _RESERVE, _ACK, _ACK_SEND = load("enqueue"), load("reserve"), load("ack"), load("ack_send")
_NACK, _RELEASE, _EXTEND, _RECLAIM = load("nack"), load("release"), load("extend"), load("reclaim")
_EXCHANGE, _ENQUEUE_MANY = load("exchange"), load("enqueue_many")
_SUBSCRIBE, _UNSUBSCRIBE = load("subscribe"), load("unsubscribe")


def _held(lane: Lane, box: Inbox) -> tuple[bytes, ...]:
    return (
        lane.key,
        box.reserved,
        box.deadlines,
        box.inflight,
        box.lapses,
        box.clock,
        *box.levels,
        box.queue,
    )


def _buried(lane: Lane, box: Inbox) -> tuple[bytes, ...]:
    return (*_held(lane, box), box.dlq, box.dlq_info, box.wake)


def enqueue(
    lane: Lane, box: Inbox, *, now_us: str, audit: bool, limit: int, put: Put, dedup_ms: int
) -> Call[Reply]:
    """Put one message into an inbox: OK and FULL with the depth, DUPLICATE with the first message's id."""
    keys = (lane.key, box.reserved, box.clock, *box.levels, box.queue, box.wake)
    args = (lane.seq, now_us, int(audit), put.level, limit, put.delay_us, put.expires_us, put.entry)
    if put.dedup is None:
        return Call(script=_ENQUEUE, keys=keys, args=args, read=reply_of)
    return Call(
        script=_ENQUEUE, keys=(*keys, put.dedup), args=(*args, put.message_id, dedup_ms), read=reply_of
    )


def reserve(
    lane: Lane,
    box: Inbox,
    *,
    now_us: str,
    audit: bool,
    max_deliveries: int,
    token: str,
    lease_us: int,
    ageing_us: int = 0,
    waiting: int = 0,
    owner: str = "",
) -> Call[Reserved]:
    """Hand out the first ready message: OK with it, EMPTY, or AGAIN where a call's share of work is done.

    `waiting` is 0, 1 for a caller that waits, or 2 for one that waited and took the wake-up marker.
    """

    def read(answer: list[Any]) -> Reserved:
        status = status_of(answer[0])
        if status is Status.OK:
            deadline, deliveries, requeued, dead = map(int, answer[2].split(b"|"))
            return Reserved(
                status=status,
                token=token,
                entry=answer[1],
                deadline_us=deadline,
                deliveries=deliveries,
                requeued=requeued,
                dead=dead,
            )
        if status is Status.STALE:
            return Reserved(status=status)
        requeued, dead, *pause = map(int, answer[2].split(b"|"))
        return Reserved(status=status, requeued=requeued, dead=dead, pause_us=pause[0] if pause else -1)

    return Call(
        script=_RESERVE,
        keys=_buried(lane, box),
        args=(lane.seq, now_us, int(audit), max_deliveries, token, lease_us, ageing_us, waiting, owner),
        read=read,
    )


_LEVELS = {9: b"9", 5: b"5", 1: b"1"}
"""As text: the client takes twice as long to turn a number into one."""


def enqueue_many(
    lane: Lane, box: Inbox, *, now_us: str, audit: bool, limit: int, puts: Sequence[Put], dedup_ms: int
) -> Call[list[Reply | ResponseError] | Reply]:
    """Put up to 128 messages into an inbox, each for itself.

    For each OK and FULL with the depth after all, DUPLICATE with an id, or the error of its own dedup key.
    """
    dedups = [put.dedup for put in puts if put.dedup is not None]
    args: list[bytes | str | int] = [lane.seq, now_us, int(audit), limit, dedup_ms]
    number = 0
    for put in puts:
        if put.dedup is None and not put.delay_us and not put.expires_us:
            args += (_LEVELS[put.level], put.entry)
            continue
        number += put.dedup is not None
        mine = 0 if put.dedup is None else number
        how = f"{put.level}|{put.delay_us}|{put.expires_us}|{mine}|{put.message_id}"
        args += (how, put.entry)

    def read(answer: list[Any]) -> list[Reply | ResponseError] | Reply:
        if status_of(answer[0]) is Status.STALE:
            return Reply(Status.STALE, "")
        depth, _, outcomes = answer[1].partition(b"|")
        sent = Reply(Status.OK, text_of(depth))
        return list(_outcomes(outcomes, sent)) if outcomes.strip(b"o") else [sent for _ in puts]

    return Call(
        script=_ENQUEUE_MANY,
        keys=(lane.key, box.reserved, box.clock, *box.levels, box.queue, box.wake, *dedups),
        args=tuple(args),
        read=read,
    )


def _outcomes(told: bytes, sent: Reply) -> Iterator[Reply | ResponseError]:
    """Read a letter for each message, and behind some of them a length, a colon and a text."""
    full = Reply(Status.FULL, sent.text)
    start = 0
    while start < len(told):
        letter, start = told[start : start + 1], start + 1
        if letter in _TELLING:
            colon = told.index(b":", start)
            end = colon + 1 + int(told[start:colon])
            fact, start = text_of(told[colon + 1 : end]), end
            yield ResponseError(fact) if letter == b"e" else Reply(Status.DUPLICATE, fact)
        else:
            yield sent if letter == b"o" else full


_TELLING = (b"d", b"e")


def exchange(
    lane: Lane,
    box: Inbox,
    *,
    now_us: str,
    audit: bool,
    max_deliveries: int,
    lease_us: int,
    ageing_us: int,
    waiting: int,
    ended: Sequence[str],
    tokens: Sequence[str],
    owner: str,
) -> Call[Exchanged]:
    """End up to 100 reservations and hand out a message for each of up to 100 new tokens, if there are.

    OK, or AGAIN where a call's share of burying expired messages is done.
    """

    def read(answer: list[Any]) -> Exchanged:
        status = Status(text_of(answer[0]))
        if status is Status.STALE:
            return Exchanged(status=status)
        held, _, dead, pause = answer[1].split(b"|")
        facts = (fact.split(b"|") for fact in answer[3::2])
        return Exchanged(
            status=status,
            held=tuple(mark == "1" for mark in text_of(held)),
            taken=tuple(
                Reserved(
                    status=Status.OK,
                    token=text_of(token),
                    entry=entry,
                    deadline_us=int(deadline),
                    deliveries=int(deliveries),
                )
                for entry, (token, deadline, deliveries) in zip(answer[2::2], facts, strict=True)
            ),
            dead=int(dead),
            pause_us=int(pause),
        )

    return Call(
        script=_EXCHANGE,
        keys=_buried(lane, box),
        args=(
            lane.seq,
            now_us,
            int(audit),
            max_deliveries,
            lease_us,
            ageing_us,
            waiting,
            len(ended),
            owner,
            *ended,
            *tokens,
        ),
        read=read,
    )


def ack(lane: Lane, box: Inbox, *, now_us: str, audit: bool, token: str) -> Call[Reply]:
    """End a reservation for good: OK or LOST."""
    return Call(
        script=_ACK,
        keys=(*_held(lane, box), box.wake),
        args=(lane.seq, now_us, int(audit), token),
        read=reply_of,
    )


def ack_send(
    lane: Lane,
    box: Inbox,
    *,
    now_us: str,
    audit: bool,
    token: str,
    limit: int,
    targets: Sequence[Inbox],
    sends: Sequence[tuple[int, int, bytes]],
) -> Call[Reply]:
    """End a reservation and send (target number from 1, level, entry): OK, LOST, or FULL with the number."""
    keys = (*_held(lane, box), box.wake)
    for target in targets:
        keys += (target.reserved, target.clock, *target.levels, target.queue, target.wake)
    flat = [part for send in sends for part in send]
    return Call(
        script=_ACK_SEND, keys=keys, args=(lane.seq, now_us, int(audit), token, limit, *flat), read=reply_of
    )


def nack(
    lane: Lane,
    box: Inbox,
    *,
    now_us: str,
    audit: bool,
    token: str,
    error: str,
    dead_cause: str,
    retry: Retry,
    expected: bytes | None = None,
    replacement: bytes | None = None,
    attempts: int = 0,
) -> Call[Nacked]:
    """End a reservation that failed: RETRIED, DEAD, LOST, or UNKNOWN_TAIL with the entry.

    Without `expected` the script splices the entry's tail. With it, and if it still is what is held, the
    entry is replaced, or kept as it is where there is no `replacement`.
    """
    how = "splice" if expected is None else "keep" if replacement is None else "replace"

    def read(answer: list[Any]) -> Nacked:
        status, text = status_of(answer[0]), text_of(answer[1])
        entry: bytes = answer[2] if len(answer) > 2 else b""
        first, _, second = text.partition("|")
        if status is Status.RETRIED:
            return Nacked(status=status, attempts=int(first), delay_us=int(second))
        if status is Status.DEAD:
            return Nacked(status=status, attempts=int(first), cause=second, entry=entry)
        return Nacked(status=status, entry=entry)

    return Call(
        script=_NACK,
        keys=_buried(lane, box),
        args=(
            lane.seq,
            now_us,
            int(audit),
            token,
            error,
            dead_cause,
            retry.attempts,
            repr(retry.base_s),
            repr(retry.factor),
            repr(retry.max_s),
            repr(retry.jitter),
            how,
            expected or b"",
            replacement or b"",
            attempts,
        ),
        read=read,
    )


def release(lane: Lane, box: Inbox, *, now_us: str, audit: bool, token: str) -> Call[Reply]:
    """Give a reservation back uncounted: OK or LOST."""
    return Call(
        script=_RELEASE,
        keys=(*_held(lane, box), box.wake),
        args=(lane.seq, now_us, int(audit), token),
        read=reply_of,
    )


def extend(lane: Lane, box: Inbox, *, now_us: str, token: str, lease_us: int) -> Call[Reply]:
    """Move the end of a lease: OK with the deadline, or LOST."""
    return Call(
        script=_EXTEND,
        keys=(lane.key, box.reserved, box.deadlines),
        args=(lane.seq, now_us, token, lease_us),
        read=reply_of,
    )


def reclaim(lane: Lane, box: Inbox, *, now_us: str, audit: bool, max_deliveries: int) -> Call[Reclaimed]:
    """End at most 100 expired leases."""

    def read(answer: list[Any]) -> Reclaimed:
        reply = reply_of(answer)
        numbers = [int(number) for number in reply.text.split("|")] if reply.text else []
        return Reclaimed(reply.status, *numbers)

    return Call(
        script=_RECLAIM,
        keys=_buried(lane, box),
        args=(lane.seq, now_us, int(audit), max_deliveries),
        read=read,
    )


def subscribe(lane: Lane, box: Inbox, *, types: Sequence[str]) -> Call[Reply]:
    """Add message types to an agent's subscriptions: OK with how many were new."""
    return Call(script=_SUBSCRIBE, keys=(lane.key, box.subs), args=(lane.seq, *types), read=reply_of)


def unsubscribe(lane: Lane, box: Inbox, *, types: Sequence[str]) -> Call[Reply]:
    """Take message types from an agent's subscriptions, all where none is named: OK with how many."""
    return Call(script=_UNSUBSCRIBE, keys=(lane.key, box.subs), args=(lane.seq, *types), read=reply_of)
