"""A process of the tests': it registers an agent, heartbeats, and holds messages until it is killed.

Run as `python -m tests.library.registries.process PORT TTL_S MESSAGES`. It says `ready` once it holds them.
"""

from __future__ import annotations

import asyncio
import os
import sys

import redis.asyncio as aioredis

from tests.library.registries.agents import FakeAgent
from tests.library.support.builders import WORLD
from tta_agent_coordination import RedisAgentRegistry, RedisMessageCoordinator

__all__: list[str] = []


async def main(port: int, ttl_s: float, messages: int) -> None:
    """Take part until killed."""
    client = aioredis.Redis(port=port)
    registry = RedisAgentRegistry(client, heartbeat_ttl_s=ttl_s, heartbeat_interval_s=ttl_s / 5)
    coordinator = RedisMessageCoordinator(client)
    await registry.register(FakeAgent())
    await registry.start_heartbeats()
    coordinator.bind_leases(WORLD, lambda: registry.epoch_of(WORLD))
    if messages:
        await coordinator.receive_many(WORLD, messages, 600)
    os.write(1, b"ready\n")
    await asyncio.Event().wait()


if __name__ == "__main__":
    port_, ttl_, messages_ = sys.argv[1:]
    asyncio.run(main(int(port_), float(ttl_), int(messages_)))
