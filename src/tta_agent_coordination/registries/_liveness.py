"""Owns who is alive: what the time since a heartbeat means, and when mass expiry is held back.

Pure: no Redis, no asyncio, no clock. Times are microseconds of one clock, the server's. `include/lapse.lua`
takes the same decisions where they must be atomic; a test holds the two against each other.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["GUARD_FROM", "GUARD_TTLS", "Liveness", "dies_at", "is_mass_lapse", "liveness"]

GUARD_FROM = 20
"""From this many agents on, half of them lapsing together is held to be the store's fault, not theirs."""

GUARD_TTLS = 2
"""How long expiry is held back then at most, in heartbeat TTLs."""


class Liveness(StrEnum):
    """What is known of an agent by its heartbeats."""

    ALIVE = "alive"
    """The heartbeat is younger than one TTL."""
    SUSPECT = "suspect"
    """It is younger than two, or deaths are held back."""
    DEAD = "dead"
    """It is older; the next process that heartbeats takes it away."""
    UNKNOWN = "unknown"
    """Nobody is registered, or nobody has looked yet."""


def liveness(*, seen_us: int, ttl_us: int, now_us: int, paused: bool = False) -> Liveness:
    """Return what a heartbeat's age means; while expiry is paused nobody is dead."""
    age = now_us - seen_us
    if age < ttl_us:
        return Liveness.ALIVE
    return Liveness.SUSPECT if age < 2 * ttl_us or paused else Liveness.DEAD


def dies_at(*, due_us: int, ttl_us: int, now_us: int) -> int:
    """Return when an agent that was due at `due_us`, and is found lapsed only now, counts as dead.

    One TTL after it was due. Where it is found later than half a TTL, the store or the finder stood still,
    and it gets half a TTL to come back.
    """
    return max(due_us + ttl_us, now_us + ttl_us // 2)


def is_mass_lapse(*, total: int, lapsed: int) -> bool:
    """Return whether so many have lapsed together that the store is to blame."""
    return total >= GUARD_FROM and 2 * lapsed >= total
