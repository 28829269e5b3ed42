"""A small model of v0's Redis registry: the same steps in the same order.

It stands in for TTA's first version wherever a test has to show that a promise was broken before, and
wherever a test needs a v0 process beside ours. It is written from v0's description and shares no code with
the package.
"""

# ruff: noqa: ANN401 - clients and agents are of any kind here

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from typing import Any

import redis.asyncio as aioredis

__all__ = ["V0Registry"]


class V0Registry:
    """v0's registry: a key with a TTL, a set that nobody prunes, and tasks that nobody holds.

    Args:
        redis: a redis-py client.
        ttl_s: the heartbeat TTL.
        wall: this machine's clock, seconds since the epoch.
    """

    def __init__(
        self, redis: aioredis.Redis, *, ttl_s: float = 30.0, wall: Callable[[], float] = time.time
    ) -> None:
        self._redis: Any = redis
        self._ttl_s, self._wall = ttl_s, wall
        self.agents: dict[str, Any] = {}
        self.tasks: list[asyncio.Task[None]] = []
        self.loop_ended = False

    @staticmethod
    def _key(agent_id: Any) -> str:
        return f"ao:agents:{agent_id.type}:{agent_id.instance or 'default'}"

    def register(self, agent: Any) -> None:
        """Store in the background; whoever called goes on at once."""
        self.agents[self._key(agent.agent_id)] = agent
        self.tasks.append(asyncio.create_task(self.persist(agent)))

    def deregister(self, agent_id: Any) -> None:
        """Delete in the background, whoever is registered there."""
        self.agents.pop(self._key(agent_id), None)
        self.tasks.append(asyncio.create_task(self._delete(agent_id)))

    async def _entry(self, agent: Any) -> str:
        state = await agent.export_state()
        entry = {
            "name": agent.name,
            "agent_id": agent.agent_id.model_dump(),
            "status": agent.status_snapshot(),
            "last_heartbeat": self._wall(),
        }
        if state:
            entry["state"] = state
        return json.dumps(entry)

    async def persist(self, agent: Any) -> None:
        """Write the key, then the index."""
        key = self._key(agent.agent_id)
        await self._redis.set(key, await self._entry(agent), px=int(self._ttl_s * 1000))
        await self._redis.sadd("ao:agents:index", key)

    async def _delete(self, agent_id: Any) -> None:
        await self._redis.delete(self._key(agent_id))
        await self._redis.srem("ao:agents:index", self._key(agent_id))

    async def heartbeat(self, agent: Any) -> None:
        """Write the key again, with nothing that says whose it is."""
        with contextlib.suppress(Exception):
            key = self._key(agent.agent_id)
            await self._redis.set(key, await self._entry(agent), px=int(self._ttl_s * 1000))

    async def heartbeat_once(self) -> None:
        """One agent after the other."""
        for agent in list(self.agents.values()):
            await self.heartbeat(agent)

    async def heartbeat_loop(self, interval_s: float) -> None:
        """Until the first surprise."""
        try:
            while True:
                await asyncio.sleep(interval_s)
                for agent in self.agents.values():
                    await self.heartbeat(agent)
        except RuntimeError:
            self.loop_ended = True

    async def list_registered(self) -> list[dict[str, Any]]:
        """What the index names and Redis still has; nothing when anything fails."""
        try:
            found: list[dict[str, Any]] = []
            for key in await self._redis.smembers("ao:agents:index"):
                text = await self._redis.get(key)
                if text:
                    entry = json.loads(text)
                    entry["alive"] = self._wall() - entry["last_heartbeat"] <= self._ttl_s
                    found.append(entry)
        except Exception:  # noqa: BLE001 - v0 does
            return []
        return found
