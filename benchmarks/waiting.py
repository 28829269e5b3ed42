"""Owns the figures of waiting and of batches: a wake-up beside its floor, and what is sent to the server.

The floor of a wake-up is the least that can do it: a marker popped by BZPOPMIN, then one minimal reserve.
Both are measured in turn, in one process, from before the send to the message in the consumer's hands.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Any

import redis.asyncio as aioredis

from benchmarks.cycle import RECIPIENT, SENDER, message
from benchmarks.floor import Floor, load
from tta_agent_coordination import RedisMessageCoordinator

_SETTLE_S = 0.003
"""Pause in which the consumer gets to its blocking read; both sides have the same."""


async def run(port: int, *, quick: bool) -> None:
    """Print the figures."""
    client = aioredis.Redis(port=port)
    try:
        ours, floor = await _wake_ups(client, rounds=200 if quick else 1_500)
        print(
            "\nwaiting: from before the send to the message, microseconds; floor = marker pop + one reserve"
        )
        for name, at, target in (("p50", 50, 1.3), ("p99", 99, 1.5)):
            mine, theirs = _percentile(ours, at), _percentile(floor, at)
            print(f"  wake-up {name:6}{mine:10.0f}{theirs:10.0f}{mine / theirs:8.2f}{f'<= {target:g}':>8}")
        print(f"  commands a second of an idle waiter{await _idle_commands(client, 10):8.2f}")
        print("batches of 100: commands a message, send + receive + ack (target 0.05 each)")
        print(f"  {await _batch_commands(client, 3_000):.3f} together")
        steady = await _steady_commands(client, 500)
        print(f"  {steady:.3f} in a worker's steady state: one send, one ack-and-receive (target 2)")
    finally:
        await client.aclose()


def _percentile(values: list[float], at: int) -> float:
    return statistics.quantiles(values, n=100)[at - 1]


async def _wake_ups(client: aioredis.Redis, rounds: int) -> tuple[list[float], list[float]]:
    other = aioredis.Redis(port=client.get_connection_kwargs()["port"])
    raw: Any = other
    ours: list[float] = []
    theirs: list[float] = []
    async with RedisMessageCoordinator(client) as consumer, RedisMessageCoordinator(client) as sender:
        floor = Floor(other, await load(other), b"x" * 400)
        for number in range(rounds):
            task = asyncio.create_task(consumer.receive(RECIPIENT, 60, wait=30))
            while consumer._waker._blocked is None:  # noqa: ASYNC110, SLF001 - nothing else tells that it waits
                await asyncio.sleep(_SETTLE_S)
            await asyncio.sleep(_SETTLE_S)
            start = time.perf_counter()
            await sender.send_message(SENDER, RECIPIENT, message(number))
            received = await task
            ours.append((time.perf_counter() - start) * 1e6)
            assert received is not None
            await consumer.ack(RECIPIENT, received.token)

            tokens: list[bytes] = []

            async def wait_for_marker(mark: int, tokens: list[bytes] = tokens) -> None:
                await raw.execute_command("BZPOPMIN", "floor:wake", 2)
                tokens.append(await floor.receive(mark))

            pop = asyncio.create_task(wait_for_marker(number))
            await asyncio.sleep(_SETTLE_S)
            start = time.perf_counter()
            await floor.send(number)
            await raw.execute_command("ZADD", "floor:wake", 0, "1")
            await pop
            theirs.append((time.perf_counter() - start) * 1e6)
            await floor.ack(tokens[0])
    await other.aclose()
    return ours, theirs


async def _commands(client: aioredis.Redis) -> int:
    """Return how many commands clients sent: what scripts call inside them is not counted."""
    raw: Any = client
    stats: Any = await raw.info("commandstats")
    wanted = {"cmdstat_evalsha", "cmdstat_bzpopmin", "cmdstat_sadd", "cmdstat_client|setinfo"}
    return sum(int(stat["calls"]) for name, stat in stats.items() if name in wanted)


async def _idle_commands(client: aioredis.Redis, seconds: float) -> float:
    async with RedisMessageCoordinator(client) as consumer:
        await consumer.receive(RECIPIENT)
        before = await _commands(client)
        await consumer.receive(RECIPIENT, wait=seconds)
        return (await _commands(client) - before) / seconds


async def _batch_commands(client: aioredis.Redis, count: int) -> float:
    async with RedisMessageCoordinator(client) as coordinator:
        before = await _commands(client)
        for start in range(0, count, 100):
            await coordinator.send_many(SENDER, RECIPIENT, [message(start + n) for n in range(100)])
            received = await coordinator.receive_many(RECIPIENT, 100, 60)
            assert all(await coordinator.ack_many(RECIPIENT, [one.token for one in received]))
        return (await _commands(client) - before) / count


async def _steady_commands(client: aioredis.Redis, count: int) -> float:
    async with RedisMessageCoordinator(client) as coordinator:
        await coordinator.send_message(SENDER, RECIPIENT, message(0))
        received = await coordinator.receive_many(RECIPIENT, 1, 60)
        before = await _commands(client)
        for number in range(1, count + 1):
            await coordinator.send_message(SENDER, RECIPIENT, message(number))
            _, received = await coordinator._ack_and_receive(  # noqa: SLF001 - what a worker calls
                RECIPIENT, [received[0].token], 1, 60
            )
        spent = await _commands(client) - before
        await coordinator.ack_many(RECIPIENT, [one.token for one in received])
        return spent / count
