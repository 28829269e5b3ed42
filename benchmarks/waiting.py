"""Owns the figures of waiting and of batches: a wake-up beside its floor, and what is sent to the server.

The floor of a wake-up is the least that can do it: a marker popped by BZPOPMIN, then one minimal reserve.
Both are measured in turn, in one process, to the message in the consumer's hands: from a prepared command
that stores it and sets the marker, which is the wake-up alone, and from before a send, which also encodes it.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Any

import redis.asyncio as aioredis

from benchmarks.cycle import RECIPIENT, SENDER, message
from benchmarks.floor import RAW, Floor, load
from tta_agent_coordination import RedisMessageCoordinator, _codec, _keys
from tta_agent_coordination._redis.scripts import Lane, Put, enqueue

_SETTLE_S = 0.003
"""Pause in which the consumer gets to its blocking read; both sides have the same."""


async def run(port: int, *, quick: bool) -> None:
    """Print the figures."""
    client = aioredis.Redis(port=port)
    rounds = 200 if quick else 1_500
    try:
        print("\nwaiting: to the message, microseconds; floor = marker pop + one reserve")
        ours, floor = await _wake_ups(client, rounds, prepared=True)
        for name, at, target in (("p50", 50, 1.3), ("p99", 99, 1.5)):
            mine, theirs = _percentile(ours, at), _percentile(floor, at)
            print(f"  wake-up {name:18}{mine:10.0f}{theirs:10.0f}{mine / theirs:8.2f}{f'<= {target:g}':>8}")
        ours, floor = await _wake_ups(client, rounds, prepared=False)
        for name, at in (("p50", 50), ("p99", 99)):
            mine, theirs = _percentile(ours, at), _percentile(floor, at)
            print(f"  send and wake-up {name:9}{mine:10.0f}{theirs:10.0f}{mine / theirs:8.2f}")
        print(f"  commands a second of an idle waiter{await _idle_commands(client, 10):8.2f}")
        print("batches of 100: commands a message, send + receive + ack (target 0.05 each)")
        print(f"  {await _batch_commands(client, 3_000):.3f} together")
        steady = await _steady_commands(client, 500)
        print(f"  {steady:.3f} in a worker's steady state: one send, one ack-and-receive (target 2)")
    finally:
        await client.aclose()


def _percentile(values: list[float], at: int) -> float:
    return statistics.quantiles(values, n=100)[at - 1]


async def _wake_ups(
    client: aioredis.Redis, rounds: int, *, prepared: bool
) -> tuple[list[float], list[float]]:
    other = aioredis.Redis(port=client.get_connection_kwargs()["port"])
    raw: Any = other
    ours: list[float] = []
    theirs: list[float] = []
    async with RedisMessageCoordinator(client) as consumer, RedisMessageCoordinator(client) as sender:
        floor = Floor(other, await load(other), b"x" * 400)
        await sender.send_message(SENDER, RECIPIENT, message(rounds))  # the server has the script now
        received = await consumer.receive(RECIPIENT, 60)
        for number in range(rounds):
            assert received is not None
            await consumer.ack(RECIPIENT, received.token)
            task = asyncio.create_task(consumer.receive(RECIPIENT, 60, wait=30))
            one, command = message(number), _enqueue(number)
            while consumer._waker._blocked is None:  # noqa: ASYNC110, SLF001 - nothing else tells that it waits
                await asyncio.sleep(_SETTLE_S)
            await asyncio.sleep(_SETTLE_S)
            start = time.perf_counter()
            if prepared:
                await raw.execute_command(*command, **RAW)
            else:
                await sender.send_message(SENDER, RECIPIENT, one)
            received = await task
            ours.append((time.perf_counter() - start) * 1e6)

            tokens: list[bytes] = []

            async def wait_for_marker(mark: int, tokens: list[bytes] = tokens) -> None:
                await raw.execute_command("BZPOPMIN", "floor:wake", 2)
                tokens.append(await floor.receive(mark))

            pop = asyncio.create_task(wait_for_marker(number))
            await asyncio.sleep(_SETTLE_S)
            start = time.perf_counter()
            await floor.send(number, wake=True)
            await pop
            theirs.append((time.perf_counter() - start) * 1e6)
            await floor.ack(tokens[0])
        assert received is not None
        await consumer.ack(RECIPIENT, received.token)
    await other.aclose()
    return ours, theirs


def _enqueue(number: int) -> tuple[Any, ...]:
    """Return what `send_message` sends, encoded and built beforehand, on a lane that nobody else has."""
    box = _keys.inbox("ao", RECIPIENT, hash_tags=False)
    text, _ = _codec.encode_message(message(number))
    entry = _codec.encode_entry(
        text, priority=5, enqueued_at="2026-11-29T00:00:00+00:00", nonce=f"{number:016x}"
    )
    put = Put(level=5, delay_us=0, expires_us=0, entry=entry, message_id="", dedup=None)
    lane = Lane(_keys.lane(box, "benchmark", 0), number + 1)
    return enqueue(lane, box, now_us="", audit=True, limit=10_000, put=put, dedup_ms=1).command()


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
