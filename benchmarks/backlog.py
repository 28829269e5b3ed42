"""Owns the measurement of flatness: what receive and ack cost behind a short and behind a long backlog."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import redis.asyncio as aioredis

from benchmarks.cycle import RECIPIENT, SENDER, message
from tta_agent_coordination import MessagePriority, RedisMessageCoordinator

SHORT, LONG, QUICK_LONG = 1_000, 1_000_000, 50_000


# A copy of a real entry with a nonce and a score of its own: what as many sends leave behind.
_FILL = """
local first = tonumber(ARGV[2])
for i = first, first + tonumber(ARGV[3]) - 1 do
  redis.call('ZADD', KEYS[1], ARGV[4] + i, string.sub(ARGV[1], 1, -19) .. string.format('%016x', i) .. '"}')
end
"""


@dataclass(frozen=True, kw_only=True)
class Flatness:
    """What one backlog costs; CPU in microseconds of server time a script, the slowest of a hundred in ms."""

    receive_us: float
    ack_us: float
    p99_ms: float
    server_p99_ms: float
    bytes_a_message: float


async def _spent(client: aioredis.Redis) -> int:
    return int((await client.info("commandstats")).get("cmdstat_evalsha", {"usec": 0})["usec"])


async def _used(client: aioredis.Redis) -> int:
    return int((await client.info("memory"))["used_memory"])


async def measure(client: aioredis.Redis, *, messages: int, high: bool, calls: int) -> Flatness:
    """Receive and acknowledge with `messages` of LOW waiting; with `high`, HIGH messages sent behind them.

    CPU is the least of all blocks, since what disturbs it only adds.
    """
    await client.flushall()
    before = await _used(client)
    coordinator = RedisMessageCoordinator(client, audit="off", queue_size=10**9)
    low = message(0).model_copy(update={"priority": MessagePriority.LOW})
    await coordinator.send_message(SENDER, RECIPIENT, low)
    key = "ao:sched:recipient:default:prio:1"
    [(entry, score)] = await client.zrange(key, 0, 0, withscores=True)
    for start in range(1, messages, 10_000):
        await client.eval(_FILL, 1, key, entry, start, min(10_000, messages - start), int(score) - messages)
    bytes_a_message = (await _used(client) - before) / messages
    await client.config_resetstat()
    walls: list[float] = []
    cpu: dict[str, list[float]] = {"receive": [], "ack": []}
    block = 20
    for start in range(0, calls, block):
        if high:
            for number in range(start, start + block):
                one = message(number).model_copy(update={"priority": MessagePriority.HIGH})
                await coordinator.send_message(SENDER, RECIPIENT, one)
        tokens: list[str] = []
        spent = await _spent(client)
        for _ in range(block):
            began = time.perf_counter()
            received = await coordinator.receive(RECIPIENT, 600)
            walls.append((time.perf_counter() - began) * 1_000)
            assert received is not None
            assert (received.queue_message.priority is MessagePriority.HIGH) is high
            tokens.append(received.token)
        cpu["receive"].append((await _spent(client) - spent) / block)
        spent = await _spent(client)
        for token in tokens:
            began = time.perf_counter()
            assert await coordinator.ack(RECIPIENT, token)
            walls.append((time.perf_counter() - began) * 1_000)
        cpu["ack"].append((await _spent(client) - spent) / block)
    percentiles = (await client.info("latencystats"))["latency_percentiles_usec_evalsha"]
    await coordinator.aclose()
    return Flatness(
        receive_us=min(cpu["receive"]),
        ack_us=min(cpu["ack"]),
        p99_ms=statistics.quantiles(walls, n=100)[98],
        server_p99_ms=percentiles["p99"] / 1_000,
        bytes_a_message=bytes_a_message,
    )


async def run(port: int, *, quick: bool) -> None:
    """Measure and print both backlogs, in order and with HIGH messages behind LOW ones."""
    client = aioredis.Redis(port=port, socket_timeout=60)
    long, calls = (QUICK_LONG, 200) if quick else (LONG, 1_000)
    calls_short = min(calls, SHORT - 100)
    try:
        print(f"\nbacklog of LOW messages, audit=off; receive and ack behind {SHORT:,} and {long:,}")
        print(f"{'':32}{SHORT:>10,}{long:>12,}{'ratio':>8}{'target':>10}")
        for high in (False, True):
            print("HIGH messages behind it" if high else "in order")
            a = await measure(client, messages=SHORT, high=high, calls=calls if high else calls_short)
            b = await measure(client, messages=long, high=high, calls=calls)
            _row("server CPU, us a receive", a.receive_us, b.receive_us, "<= 1.5")
            _row("server CPU, us an ack", a.ack_us, b.ack_us, "<= 1.5")
            _row("client, ms, p99 of the calls", a.p99_ms, b.p99_ms, "< 5 ms")
            _row("server, ms, p99 of the scripts", a.server_p99_ms, b.server_p99_ms, "< 5 ms")
            _row("server bytes a message", a.bytes_a_message, b.bytes_a_message, "")
    finally:
        await client.aclose()


def _row(name: str, short: float, long: float, goal: str) -> None:
    print(f"  {name:30}{short:10.2f}{long:12.2f}{long / short:8.2f}{goal:>10}")
