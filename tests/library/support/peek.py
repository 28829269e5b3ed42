"""A look at the stored form, by the key names of the contract written out once more.

The names are spelled here on purpose and not taken from the package: a renamed key would break v0 beside us.
"""

# ruff: noqa: ANN401 - commands and answers of a Redis client may be anything
from __future__ import annotations

import json
from typing import Any, cast

import redis.asyncio as aioredis

from tta_agent_coordination import AgentId

__all__ = ["LEVELS", "Peek"]

LEVELS = (9, 5, 1)


def _text(value: Any) -> str:
    return value.decode(errors="surrogateescape") if isinstance(value, bytes) else str(value)


def _pairs(answer: Any) -> list[tuple[str, str]]:
    """Return pairs of text from any shape in which clients and protocols answer with them."""
    if isinstance(answer, dict):
        answer = [item for pair in cast("dict[Any, Any]", answer).items() for item in pair]
    parts = cast("list[Any]", answer)
    if parts and isinstance(parts[0], list | tuple):
        parts = [item for pair in parts for item in pair]
    values = [_text(value) for value in parts]
    return list(zip(values[::2], values[1::2], strict=True))


class Peek:
    """Reads and writes raw keys of one prefix."""

    def __init__(self, client: aioredis.Redis, prefix: str = "ao") -> None:
        self._client: Any = client
        self.prefix = prefix

    async def raw(self, *command: Any) -> Any:
        """Run one command as it stands."""
        return await self._client.execute_command(*command)

    def key(self, family: str, agent: AgentId) -> str:
        """Return `{prefix}:{family}:{type}:{inst}`."""
        return f"{self.prefix}:{family}:{agent.type}:{agent.instance or 'default'}"

    def level_key(self, agent: AgentId, level: int) -> str:
        """Return the sorted set of one level."""
        return f"{self.key('sched', agent)}:prio:{level}"

    async def keys(self) -> set[str]:
        """Return every key of the database."""
        return {_text(key) for key in await self.raw("KEYS", "*")}

    async def queue(self, agent: AgentId) -> list[str]:
        """Return the audit list."""
        return [_text(item) for item in await self.raw("LRANGE", self.key("queue", agent), 0, -1)]

    async def level(self, agent: AgentId, level: int) -> dict[str, int]:
        """Return one level, entry -> score in microseconds, in the order of delivery."""
        flat = await self.raw("ZRANGE", self.level_key(agent, level), 0, -1, "WITHSCORES")
        return {member: int(float(score)) for member, score in _pairs(flat)}

    async def ready(self, agent: AgentId) -> list[str]:
        """Return all ready and delayed entries, HIGH first."""
        return [entry for level in LEVELS for entry in await self.level(agent, level)]

    async def reserved(self, agent: AgentId) -> dict[str, str]:
        """Return the reservations, token -> entry."""
        flat = await self.raw("HGETALL", self.key("reserved", agent))
        return dict(_pairs(flat))

    async def deadlines(self, agent: AgentId) -> dict[str, int]:
        """Return the leases, token -> deadline in microseconds."""
        flat = await self.raw("ZRANGE", self.key("reserved_deadlines", agent), 0, -1, "WITHSCORES")
        return {token: int(float(score)) for token, score in _pairs(flat)}

    async def dead(self, agent: AgentId) -> list[str]:
        """Return the dead letters."""
        return [_text(item) for item in await self.raw("LRANGE", self.key("dlq", agent), 0, -1)]

    async def outstanding(self, agent: AgentId) -> int:
        """Return depth as the contract defines it: ready, delayed and reserved."""
        return len(await self.ready(agent)) + len(await self.reserved(agent))

    async def ids(self, agent: AgentId) -> list[str]:
        """Return every message id that is stored for an inbox anywhere: ready, delayed, reserved, dead."""
        entries = [*await self.ready(agent), *(await self.reserved(agent)).values(), *await self.dead(agent)]
        return sorted(str(json.loads(entry)["message"]["message_id"]) for entry in entries)

    async def snapshot(self) -> dict[str, bytes]:
        """Return the whole database, key -> serialised value; equal snapshots mean that nothing changed."""
        return {key: repr(await self._value(key)).encode() for key in await self.keys()}

    async def _value(self, key: str) -> Any:
        kind = _text(await self.raw("TYPE", key))
        match kind:
            case "list":
                return await self.raw("LRANGE", key, 0, -1)
            case "set":
                return sorted(await self.raw("SMEMBERS", key))
            case "hash":
                return sorted(_pairs(await self.raw("HGETALL", key)))
            case "zset":
                return _pairs(await self.raw("ZRANGE", key, 0, -1, "WITHSCORES"))
            case _:
                return await self.raw("GET", key)
