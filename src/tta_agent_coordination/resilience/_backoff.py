"""Owns how long a retry waits: exponential growth with a cap, spread by jitter.

Pure: no clock, no randomness of its own, and no overflow for any finite input.
"""

from __future__ import annotations

__all__ = ["delay_before_retry"]


def delay_before_retry(
    retry: int, *, base: float, factor: float, longest: float, spread: float = 1.0
) -> float:
    """Return the seconds to wait before the `retry`-th retry, counted from 0.

    Args:
        retry: 0 for the wait after the first failure.
        base: Seconds before the first retry.
        factor: Growth from one retry to the next.
        longest: The cap, seconds.
        spread: A roll of the dice from 0 to 1; the delay is multiplied with 0.5 to 1.0 by it, so it never
            exceeds the cap. 1 is no jitter.
    """
    try:
        grown = base * float(factor) ** retry
    except OverflowError:
        grown = longest if base else 0.0
    return min(grown, longest) * (0.5 + 0.5 * spread)
