"""Owns one typed function for each script of the circuit breaker: a status word and the record come out.

A function returns a `Call`; `script.run` sends it. The contract of each script stands in its file's header.
An answer of another shape raises `BadReplyError`: whatever answers is not a Redis server that ran the script.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import cast

from tta_agent_coordination._keys import Breaker
from tta_agent_coordination._redis.script import Call, load
from tta_agent_coordination.resilience._breaker_state import CircuitBreakerState, Record

__all__ = [
    "BadReplyError",
    "BreakerReply",
    "BreakerStatus",
    "Look",
    "Renewed",
    "breaker_probe",
    "breaker_read",
    "breaker_renew",
    "breaker_reset",
    "breaker_result",
    "breaker_trip",
    "parse_change",
]


class BadReplyError(Exception):
    """What answered did not run the script."""


class BreakerStatus(StrEnum):
    """The first element of every answer."""

    OK = "ok"
    TRIPPED = "tripped"
    OPEN = "open"
    CLOSED = "closed"
    STALE = "stale"
    GRANTED = "granted"
    BUSY = "busy"
    COUNTED = "counted"
    OPENED = "opened"
    RELEASED = "released"
    IGNORED = "ignored"
    RESET = "reset"
    HELD = "held"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerReply:
    """A status word, and the record as it now is."""

    status: BreakerStatus
    record: Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The answer of `breaker_read`.

    Attributes:
        record: What our processes decided.
        foreign: What a v0 process wrote over our mirror, empty where it did not.
        foreign_ttl_ms: How long that still lives, -1 for ever; v0 gives it a day when it writes.
        counters: v0's JSON of counters, empty where there is none or new ones were given.
    """

    record: Record
    foreign: bytes
    foreign_ttl_ms: int
    counters: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewed:
    """The answer of `breaker_renew`: HELD with the new deadline, or LOST."""

    status: BreakerStatus
    deadline_us: int


_TRIP, _PROBE, _RESULT = load("breaker_trip"), load("breaker_probe"), load("breaker_result")
_RENEW, _RESET, _READ = load("breaker_renew"), load("breaker_reset"), load("breaker_read")

_RECORD_LENGTH = 7

_MAX_DIGITS = 18
"""Of a generation or a moment in microseconds; what is longer is none of ours."""


def _word(value: object) -> str:
    if not isinstance(value, bytes):
        raise BadReplyError(f"expected bytes from a script, got {type(value).__name__}")
    return value.decode("ascii", "backslashreplace")


def _number(value: object) -> int:
    word = _word(value)
    try:
        return int(word)
    except ValueError as error:
        raise BadReplyError(f"expected a number from a script, got {word!r}") from error


def _items(answer: object, length: int) -> list[object]:
    if not isinstance(answer, list):
        raise BadReplyError(f"expected a list from a script, got {type(answer).__name__}")
    items = cast("list[object]", answer)
    if len(items) != length:
        raise BadReplyError(f"expected {length} elements from a script, got {len(items)}")
    return items


def _read_head(items: list[object]) -> BreakerReply:
    status, state = _word(items[0]), _word(items[1])
    if status not in BreakerStatus or state not in CircuitBreakerState:
        raise BadReplyError(f"not a breaker's record: {status!r}, {state!r}")
    generation, since_us, successes, probes, now_us = map(_number, items[2:_RECORD_LENGTH])
    record = Record(
        state=CircuitBreakerState(state),
        generation=generation,
        since_us=since_us,
        successes=successes,
        probes=probes,
        now_us=now_us,
    )
    return BreakerReply(status=BreakerStatus(status), record=record)


def _reply(answer: object) -> BreakerReply:
    return _read_head(_items(answer, _RECORD_LENGTH))


def _look(answer: object) -> Look:
    items = _items(answer, _RECORD_LENGTH + 3)
    foreign, ttl, counters = items[_RECORD_LENGTH:]
    if not isinstance(foreign, bytes) or not isinstance(counters, bytes):
        raise BadReplyError("expected the stored JSON as bytes")
    return Look(
        record=_read_head(items).record, foreign=foreign, foreign_ttl_ms=_number(ttl), counters=counters
    )


def _renewed(answer: object) -> Renewed:
    status, deadline = _items(answer, 2)
    if status == b"lost":
        return Renewed(status=BreakerStatus.LOST, deadline_us=0)
    if status != b"held":
        raise BadReplyError(f"not a renewal: {status!r}")
    return Renewed(status=BreakerStatus.HELD, deadline_us=_number(deadline))


def _base(keys: Breaker) -> tuple[bytes, bytes, bytes]:
    return keys.shared, keys.probes, keys.mirror


def breaker_trip(
    keys: Breaker, *, generation: int, now_us: str, age_us: int, failures: int, ttl_ms: int
) -> Call[BreakerReply]:
    """Open a breaker that is at `generation`: TRIPPED, OPEN where it was, STALE where it has changed."""
    args = (generation, now_us, age_us, failures, keys.name, keys.channel, ttl_ms)
    return Call(script=_TRIP, keys=_base(keys), args=args, read=_reply)


def breaker_probe(
    keys: Breaker,
    *,
    probe: str,
    now_us: str,
    open_us: int,
    half_open_us: int,
    lease_us: int,
    slots: int,
    budget: int,
    ttl_ms: int,
) -> Call[BreakerReply]:
    """Ask for a probe's slot: GRANTED, BUSY, OPEN where it is not due, CLOSED where none is needed."""
    times = (open_us, half_open_us, lease_us)
    args = (probe, now_us, *times, slots, budget, keys.name, keys.channel, ttl_ms)
    return Call(script=_PROBE, keys=_base(keys), args=args, read=_reply)


def breaker_result(
    keys: Breaker, *, probe: str, now_us: str, generation: int, verdict: str, threshold: int, ttl_ms: int
) -> Call[BreakerReply]:
    """End a probe with `ok`, `failed` or `gone`.

    CLOSED and OPENED change the breaker, COUNTED and RELEASED do not; IGNORED: the lease was over, STALE: so
    was the period.
    """
    args = (probe, now_us, generation, verdict, threshold, keys.name, keys.channel, ttl_ms)
    return Call(script=_RESULT, keys=_base(keys), args=args, read=_reply)


def breaker_renew(keys: Breaker, *, probe: str, now_us: str, generation: int, lease_us: int) -> Call[Renewed]:
    """Keep a slot for `lease_us` from now: HELD, or LOST where it lapsed or the period is over."""
    args = (probe, now_us, generation, lease_us)
    return Call(script=_RENEW, keys=(keys.shared, keys.probes), args=args, read=_renewed)


def breaker_reset(keys: Breaker, *, generation: int, now_us: str, ttl_ms: int) -> Call[BreakerReply]:
    """Close a breaker that is at `generation`: RESET, CLOSED where it was, STALE where it has changed."""
    args = (generation, now_us, keys.name, keys.channel, ttl_ms)
    return Call(script=_RESET, keys=_base(keys), args=args, read=_reply)


def breaker_read(keys: Breaker, *, counters: bytes, now_us: str) -> Call[Look]:
    """Look at a breaker; `counters` are kept for 7 days, empty ones fetch what is kept."""
    return Call(script=_READ, keys=(*_base(keys), keys.metrics), args=(counters, now_us), read=_look)


def parse_change(message: bytes) -> tuple[str, Record] | None:
    """Return the breaker and its record from a message of the channel, None where it is not one of ours."""
    parts = message.split(b"|", 4)
    try:
        state, generation, since_us, now_us, name = (part.decode() for part in parts)
        if max(map(len, (generation, since_us, now_us))) > _MAX_DIGITS:
            return None
        record = Record(
            state=CircuitBreakerState(state),
            generation=int(generation),
            since_us=int(since_us),
            successes=0,
            probes=0,
            now_us=int(now_us),
        )
    except ValueError:
        return None
    return name, record
