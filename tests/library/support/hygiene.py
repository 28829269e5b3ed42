"""What may be left in Redis when a test is over: nothing but the keys of the contract.

Two rules. A key of an unknown family is litter. A side key (one that v0 does not know) either ends by itself
or goes when its inbox is empty; an inbox is empty when its ready, delayed and reserved entries are gone.
"""

from __future__ import annotations

import fnmatch
from typing import Any

import redis.asyncio as aioredis

__all__ = ["litter"]

CONTRACT_FAMILIES = {
    "queue",
    "sched",
    "reserved",
    "reserved_deadlines",
    "dlq",
    "subs",
    "agents",
    "capabilities",
    "cb",
}
"""The nine families that v0 knows; they stay as long as they hold something."""

INDEX_FAMILIES = {"inboxes", "subscribers"}
"""Sets that name inboxes; they outlive a single inbox."""

DEAD_LETTER_SIDE_FAMILIES = {"dlq_info"}
"""Side keys of the dead letter queue: gone when it is."""


def _split(key: str) -> tuple[str, str]:
    """Return family and inbox (`type:inst`) of a key whose prefix has no colon."""
    segments = key.split(":")
    return segments[1] if len(segments) > 1 else "", ":".join(segments[2:4])


async def litter(client: aioredis.Redis, *, allowed: tuple[str, ...] = ()) -> list[str]:
    """Return a sentence for each key that should not be there; `allowed` holds glob patterns."""
    raw: Any = client
    keys = sorted(key.decode(errors="replace") for key in await raw.execute_command("KEYS", "*"))
    families: dict[str, set[str]] = {}
    for key in keys:
        family, inbox = _split(key)
        families.setdefault(inbox, set()).add(family)
    found: list[str] = []
    for key in keys:
        if any(fnmatch.fnmatchcase(key, pattern) for pattern in allowed):
            continue
        family, inbox = _split(key)
        lives = int(await raw.execute_command("PTTL", key)) >= 0
        if family in CONTRACT_FAMILIES | INDEX_FAMILIES or lives:
            continue
        here = families[inbox]
        if family == "registry":
            if "agents" not in families.get("index", ()):
                found.append(f"{key} outlives the last registered agent")
        elif family in DEAD_LETTER_SIDE_FAMILIES:
            if "dlq" not in here:
                found.append(f"{key} outlives the dead letter queue")
        elif not here & {"sched", "reserved", "reserved_deadlines"}:
            found.append(f"{key} outlives its inbox and has no TTL")
    return found
