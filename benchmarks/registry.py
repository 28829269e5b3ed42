"""Owns what the agent registry costs: `python -m benchmarks registry [--quick]`.

Two tables: commands, server CPU and wall time of one heartbeat of all agents and of listing them, beside v0's
heartbeat (one SET an agent); and the time from `kill -9` of a process to the event of its agent's death, and
to the return of the messages that it held.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import redis.asyncio as aioredis

from tta_agent_coordination import (
    AgentEventKind,
    AgentId,
    AgentMessage,
    MessageType,
    RedisAgentRegistry,
    RedisMessageCoordinator,
)

VICTIM = AgentId(type="victim", instance="1")
TTL_S = 3.0
"""Heartbeat TTL of the processes that are killed; heartbeats come every third of it."""
LEASE_S = 600.0


class Idle:
    """An agent with v0's default status."""

    def __init__(self, agent_id: AgentId) -> None:
        self.agent_id = agent_id
        self.name = str(agent_id)

    def status_snapshot(self) -> dict[str, Any]:
        """Return v0's default snapshot."""
        return {
            "name": self.name,
            "agent_id": self.agent_id.model_dump(),
            "running": True,
            "degraded": False,
            "status": "idle",
            "metrics": {"uptime_s": time.monotonic(), "requests": 0, "errors": 0},
        }

    async def health_check(self) -> dict[str, Any]:
        """Be well."""
        return {"status": "healthy"}

    def set_degraded(self, degraded: bool, /) -> None:
        """Ignore it."""

    async def export_state(self) -> dict[str, Any]:
        """Have none."""
        return {}

    async def import_state(self, state: dict[str, Any], /) -> None:
        """Ignore it."""


async def _server(client: Any, commands: Sequence[str]) -> tuple[int, float]:  # noqa: ANN401 - redis-py
    """Return how often some commands ran, and their CPU, microseconds; what scripts call is in theirs."""
    stats: dict[str, dict[str, float]] = await client.info("commandstats")
    ours = [stats.get(f"cmdstat_{name}", {}) for name in commands]
    return sum(int(one.get("calls", 0)) for one in ours), sum(one.get("usec", 0.0) for one in ours)


async def _cost(
    client: aioredis.Redis,
    work: Callable[[], Awaitable[object]],
    rounds: int,
    commands: Sequence[str] = ("evalsha", "sscan", "mget"),
) -> tuple[float, float, float]:
    """Return commands, milliseconds of server CPU and milliseconds of wall time of one round; medians."""
    figures: list[tuple[float, float, float]] = []
    for _ in range(rounds):
        calls, cpu_us = await _server(client, commands)
        began = time.perf_counter()
        await work()
        wall_s = time.perf_counter() - began
        calls_after, cpu_after_us = await _server(client, commands)
        figures.append((calls_after - calls, (cpu_after_us - cpu_us) / 1_000, wall_s * 1_000))
    calls, cpu_ms, wall_ms = (statistics.median(column) for column in zip(*figures, strict=True))
    return calls, cpu_ms, wall_ms


def _row(name: str, figures: tuple[float, float, float], agents: int) -> None:
    commands, cpu_ms, wall_ms = figures
    longest = cpu_ms / commands if commands else 0.0
    each = cpu_ms * 1_000 / agents
    print(f"  {name:34}{commands:10.0f}{cpu_ms:12.2f}{longest:12.3f}{each:10.2f}{wall_ms:12.1f}")


async def _heartbeats(client: Any, agents: int, rounds: int) -> None:  # noqa: ANN401 - redis-py's
    await client.flushall()
    registry = RedisAgentRegistry(client, heartbeat_ttl_s=600)
    began = time.perf_counter()
    await asyncio.gather(
        *(registry.register(Idle(AgentId(type="a", instance=str(number)))) for number in range(agents))
    )
    print(f"\n{agents} agents; registering them took {time.perf_counter() - began:.1f} s")
    print(f"  {'':34}{'commands':>10}{'CPU, ms':>12}{'a command':>12}{'us/agent':>10}{'wall, ms':>12}")
    membership = registry._membership  # noqa: SLF001 - one heartbeat, when we want it
    await membership.beat()
    _row("heartbeat", await _cost(client, membership.beat, rounds), agents)
    beats = [record.beat(time.time()) for record in membership.records.values()]

    async def v0_heartbeat() -> None:
        for beat in beats:
            await client.set(f"ao:agents:{beat.name}", beat.entry, px=600_000)

    floor = await _cost(client, v0_heartbeat, max(1, rounds // 5), ("set",))
    _row("floor: one SET an agent, as v0", floor, agents)
    _row("list_registered", await _cost(client, registry.list_registered, rounds), agents)
    _row("liveness of all, without entries", await _cost(client, registry._directory.view, rounds), agents)  # noqa: SLF001
    await registry.aclose()


async def _victim(port: int) -> None:
    """Register, heartbeat, hold a message; until killed."""
    client = aioredis.Redis(port=port)
    registry = RedisAgentRegistry(client, heartbeat_ttl_s=TTL_S, heartbeat_interval_s=TTL_S / 3)
    coordinator = RedisMessageCoordinator(client)
    await registry.register(Idle(VICTIM))
    await registry.start_heartbeats()
    coordinator.bind_leases(VICTIM, lambda: registry.epoch_of(VICTIM))
    assert await coordinator.receive(VICTIM, LEASE_S) is not None
    print("holds", flush=True)
    await asyncio.Event().wait()


async def _kills(port: int, rounds: int) -> None:
    died: list[float] = []
    back: list[float] = []
    client: Any = aioredis.Redis(port=port)
    await client.flushall()
    coordinator = RedisMessageCoordinator(client)
    async with RedisAgentRegistry(client, heartbeat_ttl_s=TTL_S, heartbeat_interval_s=TTL_S / 3) as finder:
        finder.return_leases_through(coordinator)
        await finder.start_heartbeats()
        for number in range(rounds):
            message = AgentMessage(
                message_id=f"held-{number}", sender=VICTIM, recipient=VICTIM, message_type=MessageType.EVENT
            )
            await coordinator.send_message(VICTIM, VICTIM, message)
            command = [sys.executable, "-m", "benchmarks.registry", "--victim", str(port)]
            process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
            assert process.stdout is not None
            assert await process.stdout.readline() == b"holds\n"
            await asyncio.sleep(0.2 + number % 5 * TTL_S / 9)  # not in step with its heartbeats
            async with finder.watch() as watch:
                process.kill()
                killed = time.monotonic()
                returning = asyncio.create_task(coordinator.receive(VICTIM, LEASE_S, wait=60))
                while (await anext(watch)).kind is not AgentEventKind.DIED:
                    pass
                died.append(time.monotonic() - killed)
                received = await returning
                back.append(time.monotonic() - killed)
                assert received is not None
                await coordinator.ack(VICTIM, received.token)
            await process.wait()
    await client.aclose()
    print(f"\nkill -9 of a process, {rounds} times; TTL {TTL_S:g} s, heartbeats every {TTL_S / 3:g} s")
    print(f"  {'':34}{'median, s':>12}{'longest, s':>12}{'in TTLs':>10}")
    for name, figures in (("to the death event", died), ("to its message's next delivery", back)):
        longest = max(figures)
        print(f"  {name:34}{statistics.median(figures):12.2f}{longest:12.2f}{longest / TTL_S:10.2f}")
    print(f"  the lease itself would have ended after {LEASE_S:g} s")


async def run(port: int, *, quick: bool) -> None:
    """Measure and print."""
    client = aioredis.Redis(port=port)
    try:
        for agents in (1_000,) if quick else (1_000, 10_000):
            await _heartbeats(client, agents, 5 if quick else 15)
    finally:
        await client.aclose()
    await _kills(port, 3 if quick else 10)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--victim", type=int, required=True, metavar="PORT")
    asyncio.run(_victim(parser.parse_args().victim))
