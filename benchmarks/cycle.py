"""Owns the measurement of a cycle: send, receive, ack of a 200-byte payload, ours and the floor's in turn."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import redis.asyncio as aioredis

from benchmarks.floor import Floor, load
from tta_agent_coordination import AgentId, AgentMessage, MessageType, RedisMessageCoordinator

SENDER = AgentId(type="sender")
RECIPIENT = AgentId(type="recipient")
PAYLOAD = {"text": "x" * 188}
OPERATIONS = ("send", "receive", "ack")


@dataclass(frozen=True, kw_only=True)
class CycleFigures:
    """What one kind of coordinator costs beside the floor; CPU in microseconds of server time a script."""

    audit: str
    commands: float
    wall_ratio: float
    wall_us: float
    cpu_us: dict[str, float]
    floor_cpu_us: dict[str, float]


def message(number: int) -> AgentMessage:
    """Return a message with a 200-byte payload."""
    return AgentMessage(
        message_id=f"message-{number}",
        sender=SENDER,
        recipient=RECIPIENT,
        message_type=MessageType.REQUEST,
        payload=PAYLOAD,
    )


@dataclass(frozen=True, slots=True)
class _Block:
    """One block of one operation."""

    commands: int
    cpu_us: float
    wall_s: float


class _Ours:
    """The library's three operations, on messages made beforehand."""

    def __init__(self, coordinator: RedisMessageCoordinator) -> None:
        self._coordinator = coordinator
        self._tokens: list[str] = []

    async def run(self, name: str, messages: list[AgentMessage]) -> None:
        """Run one operation for a block of messages."""
        if name == "send":
            for one in messages:
                await self._coordinator.send_message(SENDER, RECIPIENT, one)
        elif name == "receive":
            self._tokens.clear()
            for _ in messages:
                received = await self._coordinator.receive(RECIPIENT, 60)
                assert received is not None
                self._tokens.append(received.token)
        else:
            for token in self._tokens:
                assert await self._coordinator.ack(RECIPIENT, token)


class _Theirs:
    """The floor's three operations."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._tokens: list[bytes] = []
        self._sent = 0

    async def run(self, name: str, messages: list[AgentMessage]) -> None:
        """Run one operation as often as there are messages."""
        if name == "send":
            for _ in messages:
                self._sent += 1
                await self._floor.send(self._sent)
        elif name == "receive":
            self._tokens = [await self._floor.receive(self._sent + index) for index in range(len(messages))]
        else:
            for token in self._tokens:
                await self._floor.ack(token)


async def _block(
    client: aioredis.Redis, side: _Ours | _Theirs, name: str, messages: list[AgentMessage]
) -> _Block:
    """Run one block; what reached the server from outside is EVALSHA, the rest ran inside the scripts."""
    await client.config_resetstat()
    begin = time.perf_counter()
    await side.run(name, messages)
    wall_s = time.perf_counter() - begin
    scripts = (await client.info("commandstats"))["cmdstat_evalsha"]
    return _Block(scripts["calls"], scripts["usec"] / scripts["calls"], wall_s)


async def measure(client: aioredis.Redis, *, audit: str, rounds: int, block: int) -> CycleFigures:
    """Measure in blocks, ours and the floor's in turn.

    Server CPU is the least of all blocks, since what disturbs it only adds; the wall ratio is the median of
    the ratios of the rounds.
    """
    await client.flushall()
    coordinator = RedisMessageCoordinator(client, audit=audit, queue_size=10**7)
    sides: dict[str, _Ours | _Theirs] = {
        "ours": _Ours(coordinator),
        "floor": _Theirs(Floor(client, await load(client), b"e" * 520)),
    }
    cpu = {side: dict.fromkeys(OPERATIONS, float("inf")) for side in sides}
    walls: dict[str, list[float]] = {side: [] for side in sides}
    commands = 0
    for round_number in range(rounds + 1):
        messages = [message(round_number * block + index) for index in range(block)]
        for side, work in sides.items():
            blocks = {name: await _block(client, work, name, messages) for name in OPERATIONS}
            if round_number == 0:
                continue  # the first round warms up
            walls[side].append(sum(one.wall_s for one in blocks.values()) / block * 1e6)
            for name, one in blocks.items():
                cpu[side][name] = min(cpu[side][name], one.cpu_us)
                commands += one.commands if side == "ours" else 0
    await coordinator.aclose()
    return CycleFigures(
        audit=audit,
        commands=commands / (rounds * block),
        wall_ratio=statistics.median(a / b for a, b in zip(walls["ours"], walls["floor"], strict=True)),
        wall_us=statistics.median(walls["ours"]),
        cpu_us=cpu["ours"],
        floor_cpu_us=cpu["floor"],
    )
