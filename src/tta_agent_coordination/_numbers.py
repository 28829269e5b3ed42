"""Owns what a number may be: finite, whole where it counts, and small enough to mean the same everywhere.

Pure. Lua counts in doubles, so a whole number ends where a double stops being exact. No message prints
an integer of thousands of digits; everything raises ValueError with the argument's name.
"""

from __future__ import annotations

import math

__all__ = ["MAX_SECONDS", "MAX_WHOLE", "number", "shown", "whole"]

MAX_WHOLE = 2**53
"""Largest whole number: up to here a double, and so Lua, is exact."""
MAX_SECONDS = 3_153_600_000.0
"""Longest time: a hundred years."""
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
    raise ValueError(f"{name} must be a number in {bounds}, not {shown(value)}")


def whole(name: str, value: object, *, low: int, high: int = MAX_WHOLE) -> int:
    """Return an integer in [low, high]."""
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return value
    raise ValueError(f"{name} must be a whole number in [{low}, {high}], not {shown(value)}")


def shown(value: object) -> str:
    """Return a value as a message may show it."""
    if isinstance(value, int) and abs(value) >= 10**20:
        return "an integer beyond 10^20"
    return repr(value)
