"""Owns what an argument may be. Everything raises ValueError, before anything is sent."""

from __future__ import annotations

import math
from typing import cast

__all__ = [
    "MAX_DELAY_S",
    "MAX_LEASE_S",
    "backoff",
    "choice",
    "dedup_id",
    "delay_and_expiry",
    "lease",
    "number",
    "positive",
    "token",
    "whole",
]

MAX_LEASE_S = 604_800
"""Longest lease: a week."""
MAX_DELAY_S = 31_536_000
"""Longest delay: a year."""
_MAX_EXPIRY_S = 100 * MAX_DELAY_S
_MAX_FINITE = 1e300


def number(
    name: str, value: object, *, low: float, high: float = _MAX_FINITE, open_low: bool = False
) -> float:
    """Return a finite number in [low, high], or (low, high] with `open_low`."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            found = float(value)
        except OverflowError:
            found = math.nan
        if math.isfinite(found) and low <= found <= high and not (open_low and found == low):
            return found
    bounds = f"{'(' if open_low else '['}{low:g}, {high:g}]"
    raise ValueError(f"{name} must be a number in {bounds}, not {_shown(value)}")


def whole(name: str, value: object, *, low: int) -> int:
    """Return an integer of at least `low`."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= low:
        return value
    raise ValueError(f"{name} must be a whole number of at least {low}, not {_shown(value)}")


def positive(name: str, value: object, *, high: float) -> float:
    """Return a number in (0, high]."""
    return number(name, value, low=0, high=high, open_low=True)


def lease(name: str, value: object) -> float:
    """Return the length of a lease in seconds, in (0, 604800]."""
    return positive(name, value, high=MAX_LEASE_S)


def backoff(name: str, value: object) -> float:
    """Return a part of the backoff: finite, at least 0, the factor at least 1."""
    return number(name, value, low=1 if name.endswith("factor") else 0)


def choice(name: str, value: object, allowed: tuple[str, ...]) -> str:
    """Return one of the allowed words."""
    if value in allowed:
        return cast("str", value)
    raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {_shown(value)}")


def delay_and_expiry(delay: object, expires_in: object) -> tuple[float, float]:
    """Return both in seconds, with 0 for no expiry; a message must live longer than it is delayed."""
    wait = number("delay", delay, low=0, high=MAX_DELAY_S)
    if expires_in is None:
        return wait, 0
    life = positive("expires_in", expires_in, high=_MAX_EXPIRY_S)
    if life <= wait:
        raise ValueError(f"expires_in ({life:g} s) must be longer than delay ({wait:g} s)")
    return wait, life


def dedup_id(value: object) -> str | None:
    """Return an idempotency key: any text but the empty one, or None."""
    if value is None or (isinstance(value, str) and value):
        return value
    raise ValueError(f"dedup_id must be a text that is not empty, or None, not {_shown(value)}")


def token(value: object) -> None:
    """Refuse what can be no token; a text that names no reservation is an answer, not an error."""
    if not isinstance(value, str):
        raise ValueError(f"token must be a text, not {_shown(value)}")  # noqa: TRY004 - bad arguments are one error


def _shown(value: object) -> str:
    if isinstance(value, int) and abs(value) >= 10**20:
        return "an integer beyond 10^20"
    return repr(value)
