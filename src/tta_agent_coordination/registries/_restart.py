"""Owns when an agent that failed may be restarted: spacing that grows, a budget, a lockout that ends.

Pure: no asyncio, no clock. `now` is in seconds of one clock that never goes back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["RestartHistory", "RestartPolicy", "after_attempt", "may_restart"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """How often a failing agent is restarted. Times are seconds.

    Attributes:
        spacing_s: Shortest time between two attempts.
        factor: Growth of that time with each failed attempt.
        longest_s: Its cap.
        window_s: The budget counts the attempts of this long.
        budget: Attempts in a window, successful or not.
        failures: Failed attempts in a row that lock an agent out.
        lockout_s: How long that lasts. The first attempt after it decides: one more failure locks out again.
    """

    spacing_s: float = 5.0
    factor: float = 2.0
    longest_s: float = 60.0
    window_s: float = 60.0
    budget: int = 5
    failures: int = 3
    lockout_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartHistory:
    """What was tried with one agent: when, how many failures in a row, and until when it is locked out."""

    attempts: tuple[float, ...] = ()
    failures: int = 0
    locked_until: float = float("-inf")


def may_restart(history: RestartHistory, now: float, policy: RestartPolicy) -> bool:
    """Return whether an agent may be restarted now."""
    if now < history.locked_until:
        return False
    recent = [at for at in history.attempts if now - at <= policy.window_s]
    if len(recent) >= policy.budget:
        return False
    if not history.attempts:
        return True
    growth = policy.factor ** min(history.failures, 64)
    return now - history.attempts[-1] >= min(policy.spacing_s * growth, policy.longest_s)


def after_attempt(
    history: RestartHistory, now: float, policy: RestartPolicy, *, succeeded: bool
) -> RestartHistory:
    """Return the history with one attempt more."""
    attempts = (*(at for at in history.attempts if now - at <= policy.window_s), now)
    if succeeded:
        return RestartHistory(attempts=attempts)
    counted = replace(history, attempts=attempts, failures=history.failures + 1)
    if counted.failures >= policy.failures:
        return replace(counted, locked_until=now + policy.lockout_s)
    return counted
