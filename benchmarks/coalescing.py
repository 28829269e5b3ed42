"""Owns the figures of concurrent calls: 50 tasks that send and acknowledge, beside the uncoalesced floor.

The floor is one minimal script a message by as many tasks, with prepared arguments and undecoded replies.
Both are measured in turn, in one process. Commands and CPU are what other programs disturb least.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import redis.asyncio as aioredis

from benchmarks.cycle import RECIPIENT, SENDER, message
from benchmarks.floor import Floor, load
from tta_agent_coordination import AgentMessage, RedisMessageCoordinator

TASKS = 50
_LONE_TARGET = 1.05


@dataclass(frozen=True, slots=True)
class _Cost:
    """What one message cost; times in microseconds."""

    wall: float
    client_cpu: float
    server_cpu: float
    commands: float


class _Direct:
    """Stands where calls are coalesced and coalesces nothing: each call runs a script of its own."""

    def __init__(self, flush: Callable[..., Awaitable[Sequence[Any]]]) -> None:
        self._flush = flush

    async def join(self, box: object, items: Sequence[object], *, size: int, terms: object) -> Sequence[Any]:
        """Carry the items out at once."""
        del size
        return await self._flush(box, items, terms)

    async def settle(self) -> None:
        """Wait for nothing."""


async def run(port: int, *, quick: bool) -> None:
    """Print the figures."""
    client = aioredis.Redis(port=port)
    rounds, messages = (7, 2_000) if quick else (25, 10_000)
    try:
        print(
            f"\ncoalescing: {TASKS} tasks, 200-byte payloads, audit='off'; floor = minimal scripts, one each"
        )
        print(f"{'':30}{'ours':>10}{'floor':>10}{'times':>8}{'target':>8}")
        sends, acks, floor_sends, floor_acks = await _many(client, rounds, messages)
        for name, ours, floor, target in (
            ("send", sends, floor_sends, ">= 3"),
            ("ack", acks, floor_acks, ""),
        ):
            _row(f"wall, us a {name}", [one.wall for one in ours], [one.wall for one in floor], target)
            _row(f"client CPU, us a {name}", [o.client_cpu for o in ours], [o.client_cpu for o in floor])
            _row(f"server CPU, us a {name}", [o.server_cpu for o in ours], [o.server_cpu for o in floor])
            _row(f"commands a {name}", [o.commands for o in ours], [o.commands for o in floor])
        joined, direct = await _lone(client, rounds * 4, messages // 20)
        ratio = joined / direct
        print("a lone send, client CPU in us: with coalescing, without it, their ratio (target <= 1.05)")
        print(f"  {joined:28.1f}{direct:10.1f}{ratio:10.2f}{'' if ratio <= _LONE_TARGET else '   missed'}")
    finally:
        await client.aclose()


def _row(name: str, ours: list[float], floor: list[float], target: str = "") -> None:
    """Print medians, and the median of the rounds' ratios: how many times less ours takes."""
    times = statistics.median(theirs / mine for mine, theirs in zip(ours, floor, strict=True))
    print(
        f"  {name:28}{statistics.median(ours):10.2f}{statistics.median(floor):10.2f}{times:8.2f}{target:>8}"
    )


async def _cost(client: aioredis.Redis, calls: int, work: Callable[[int], Awaitable[None]]) -> _Cost:
    """Have all tasks do their share of the calls: the numbers `k, k + TASKS, ...`."""

    async def share(first: int) -> None:
        for number in range(first, calls, TASKS):
            await work(number)

    raw: Any = client
    await raw.config_resetstat()
    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(share(first) for first in range(TASKS)))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    scripts = (await raw.info("commandstats"))["cmdstat_evalsha"]
    return _Cost(
        wall=wall / calls * 1e6,
        client_cpu=cpu / calls * 1e6,
        server_cpu=scripts["usec"] / calls,
        commands=scripts["calls"] / calls,
    )


async def _many(
    client: aioredis.Redis, rounds: int, count: int
) -> tuple[list[_Cost], list[_Cost], list[_Cost], list[_Cost]]:
    """Measure sends and acks in turn: ours, then the floor's."""
    sends: list[_Cost] = []
    acks: list[_Cost] = []
    floor_sends: list[_Cost] = []
    floor_acks: list[_Cost] = []
    async with RedisMessageCoordinator(client, audit="off", queue_size=10**7) as coordinator:
        floor = Floor(client, await load(client), b"e" * 520)

        async def send(number: int) -> None:
            assert (await coordinator.send_message(SENDER, RECIPIENT, messages[number])).delivered

        async def ack(number: int) -> None:
            assert await coordinator.ack(RECIPIENT, tokens[number])

        async def floor_ack(number: int) -> None:
            await floor.ack(floor_tokens[number])

        for round_number in range(rounds + 1):
            messages: list[AgentMessage] = [message(round_number * count + n) for n in range(count)]
            sent = await _cost(client, count, send)
            floor_sent = await _cost(client, count, floor.send)
            tokens = [one.token for one in await coordinator.receive_many(RECIPIENT, count, 600)]
            floor_tokens = [await floor.receive(number) for number in range(count)]
            acked = await _cost(client, count, ack)
            floor_acked = await _cost(client, count, floor_ack)
            if round_number:  # the first round warms up
                sends.append(sent)
                acks.append(acked)
                floor_sends.append(floor_sent)
                floor_acks.append(floor_acked)
    return sends, acks, floor_sends, floor_acks


async def _lone(client: aioredis.Redis, rounds: int, count: int) -> tuple[float, float]:
    """Return the least client CPU of a block of lone sends, with coalescing and without it."""
    costs: dict[bool, list[float]] = {True: [], False: []}
    async with (
        RedisMessageCoordinator(client, audit="off", queue_size=10**7) as joined,
        RedisMessageCoordinator(client, audit="off", queue_size=10**7) as direct,
    ):
        sender: Any = direct._sender  # noqa: SLF001 - nothing public goes around what is measured
        sender._coalescer = _Direct(sender._flush)  # noqa: SLF001 - the same
        for round_number in range(rounds):
            messages = [message(round_number * count + n) for n in range(count)]
            for coordinator in (joined, direct) if round_number % 2 else (direct, joined):
                begin = time.process_time()
                for one in messages:
                    await coordinator.send_message(SENDER, RECIPIENT, one)
                costs[coordinator is joined].append((time.process_time() - begin) / count * 1e6)
    return min(costs[True]), min(costs[False])
