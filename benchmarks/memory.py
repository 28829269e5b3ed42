"""Owns the measurement of server bytes a message, beside a sorted set that holds the same entry text."""

from __future__ import annotations

import redis.asyncio as aioredis

from benchmarks.cycle import RECIPIENT, SENDER, message
from tta_agent_coordination import RedisMessageCoordinator

_COPY = """
for i = 0, tonumber(ARGV[1]), 500 do
  local page = redis.call('ZRANGE', KEYS[1], i, i + 499, 'WITHSCORES')
  for j = 1, #page, 2 do redis.call('ZADD', KEYS[2], page[j + 1], page[j]) end
end
"""


async def _used(client: aioredis.Redis) -> int:
    return int((await client.info("memory"))["used_memory"])


async def bytes_per_message(client: aioredis.Redis, *, audit: str, messages: int) -> tuple[float, float]:
    """Return bytes a message of ours, and of a plain zset with the same members and scores."""
    await client.flushall()
    coordinator = RedisMessageCoordinator(client, audit=audit, queue_size=10**7)
    await coordinator.send_message(SENDER, RECIPIENT, message(0))
    before = await _used(client)
    for number in range(1, messages):
        await coordinator.send_message(SENDER, RECIPIENT, message(number))
    ours = (await _used(client) - before) / messages
    level = "ao:sched:recipient:default:prio:5"
    before = await _used(client)
    await client.eval(_COPY, 2, level, "plain", messages)
    plain = (await _used(client) - before) / messages
    await coordinator.aclose()
    return ours, plain
