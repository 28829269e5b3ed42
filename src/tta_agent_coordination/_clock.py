"""Owns what time means to a client: the server's clock decides; a manual one stands in for it in tests.

Pure: no Redis, no asyncio.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Protocol

__all__ = ["Clock", "from_us", "iso_from_us", "iso_now", "score_us", "script_time", "to_us"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_US = -62_135_596_800_000_000
_LAST_US = 253_402_300_799_000_000


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


def score_us(text: str) -> int:
    """Return a score as whole microseconds; what somebody set to infinity ends at the years 1 and 9999."""
    return int(min(max(float(text), _FIRST_US), _LAST_US))


def iso_from_us(microseconds: int) -> str:
    """Return a moment in microseconds since the epoch as ISO-8601 UTC, within the years 1 to 9999."""
    within = min(max(microseconds, _FIRST_US), _LAST_US)
    return (_EPOCH + timedelta(microseconds=within)).isoformat()


def iso_now(clock: Clock | None) -> str:
    """Return the present as ISO-8601 UTC, for the fields that only inform: no decision reads them."""
    if clock is not None:
        return iso_from_us(clock.now_us())
    seconds, microseconds = divmod(time.time_ns() // 1_000, 1_000_000)
    return f"{_iso_second(seconds)}.{microseconds:06}+00:00"


@lru_cache(maxsize=1)
def _iso_second(seconds: int) -> str:
    """Return a second without its zone: the same for all that is sent within it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]
