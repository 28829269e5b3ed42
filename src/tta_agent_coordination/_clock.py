"""Owns what time means to a client: the server's clock decides; a manual one stands in for it in tests.

Pure: no Redis, no asyncio.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol

__all__ = ["Clock", "from_us", "iso_from_us", "iso_now", "script_time", "to_us"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """A clock that takes the place of the server's."""

    def now_us(self) -> int:
        """Return microseconds since the epoch."""
        ...


def script_time(clock: Clock | None) -> str:
    """Return what a script gets as its time: a manual clock's microseconds, or nothing for `TIME`."""
    return "" if clock is None else str(clock.now_us())


def to_us(seconds: float) -> int:
    """Return whole microseconds, at least one for any positive duration."""
    return max(1, round(seconds * 1_000_000)) if seconds else 0


def from_us(microseconds: float) -> float:
    """Return seconds."""
    return microseconds / 1_000_000


def iso_from_us(microseconds: int) -> str:
    """Return a moment in microseconds since the epoch as ISO-8601 UTC; far futures end at the year 9999."""
    try:
        return (_EPOCH + timedelta(microseconds=microseconds)).isoformat()
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC).isoformat()


def iso_now(clock: Clock | None) -> str:
    """Return the present as ISO-8601 UTC, for the fields that only inform: no decision reads them."""
    return datetime.now(UTC).isoformat() if clock is None else iso_from_us(clock.now_us())
