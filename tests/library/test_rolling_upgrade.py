"""A rolling upgrade and its way back: v0 only, both, ours only, both, v0 only, on one Redis, without a stop.

What a phase leaves behind (a backlog, leases that nobody settles, retries that are not yet due) is what the
next one finds. 10,000 messages on a real server, 1,000 on the embedded one.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from tests.library.support.builders import INPUT, WORLD, make_message
from tests.library.support.peek import Peek
from tests.library.support.servers import Lane
from tests.library.v0_model import V0Coordinator
from tta_agent_coordination import FailureType, RedisMessageCoordinator
from tta_agent_coordination.testing import ManualClock

BOX = "world:1"
BACKLOG = 50
"""Messages that each process leaves unread in a phase."""


@dataclass
class Record:
    """What was sent and what came of it."""

    sent: list[str] = field(default_factory=list[str])
    acked: Counter[str] = field(default_factory=Counter[str])
    taken: Counter[str] = field(default_factory=Counter[str])

    def fate(self, message_id: str) -> str:
        """Say what the receiver does now: some first deliveries are refused, some are never settled."""
        self.taken[message_id] += 1
        number = int(message_id.rpartition("-")[2])
        if self.taken[message_id] == 1 and number % 40 == 0:
            return "nack"
        if self.taken[message_id] == 1 and number % 50 == 1:
            return "die"
        return "ack"


class Old:
    """A v0 process."""

    def __init__(self, v0: V0Coordinator, record: Record) -> None:
        self.v0, self.record = v0, record

    async def send(self, message_id: str) -> None:
        """Send one message, which must be accepted."""
        assert (await self.v0.send(BOX, message_id)).delivered

    async def work(self) -> bool:
        """Receive one message and settle it; False when nothing is due."""
        got = await self.v0.receive(BOX)
        if got is None:
            return False
        match self.record.fate(got.message_id):
            case "ack":
                if await self.v0.ack(BOX, got.token):
                    self.record.acked[got.message_id] += 1
            case "nack":
                await self.v0.nack(BOX, got.token, error="not now")
            case _:
                pass
        return True

    async def recover(self) -> None:
        """Put expired leases back, as an operator has v0 do it."""
        await self.v0.recover(BOX)


class New:
    """A process of ours."""

    def __init__(self, coordinator: RedisMessageCoordinator, record: Record) -> None:
        self.coordinator, self.record = coordinator, record

    async def send(self, message_id: str) -> None:
        """Send one message, which must be accepted."""
        assert (await self.coordinator.send_message(INPUT, WORLD, make_message(message_id))).delivered

    async def work(self) -> bool:
        """Receive one message and settle it; False when nothing is due."""
        got = await self.coordinator.receive(WORLD)
        if got is None:
            return False
        message_id = got.queue_message.message.message_id
        match self.record.fate(message_id):
            case "ack":
                if await self.coordinator.ack(WORLD, got.token):
                    self.record.acked[message_id] += 1
            case "nack":
                await self.coordinator.nack(WORLD, got.token, FailureType.TRANSIENT, "not now")
            case _:
                pass
        return True

    async def recover(self) -> None:
        """Put expired leases back."""
        await self.coordinator.recover_pending(WORLD)


async def phase(name: str, processes: Sequence[Old | New], share: int, clock: ManualClock) -> None:
    """Let every process send its share and work beside it; leases end on the way, a backlog is left."""

    async def process(who: Old | New, number: int) -> None:
        for index in range(share // len(processes)):
            message_id = f"{name}-{number}-{index}"
            await who.send(message_id)
            who.record.sent.append(message_id)
            clock.advance(0.05)
            if index >= BACKLOG:
                await who.work()
        await who.recover()

    await asyncio.gather(*(process(who, number) for number, who in enumerate(processes)))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.leaves_keys("ao:clock:*", "ao:lapses:*", "ao:inflight:*", "ao:wake:*")
async def test_no_message_is_lost_on_the_way_over_and_back(
    coordinator: RedisMessageCoordinator, lane: Lane, peek: Peek, clock: ManualClock
) -> None:
    """Broken: an upgrade without a stop, or its way back, costs messages."""
    share = 2_000 if lane.name == "real" else 200
    record = Record()
    ours = New(coordinator, record)
    v0 = Old(V0Coordinator(lane.client(), now_us=clock.now_us), record)
    for name, processes in (
        ("before", [v0]),
        ("mixed", [v0, ours]),
        ("after", [ours]),
        ("mixed-back", [v0, ours]),
        ("back", [v0]),
    ):
        await phase(name, processes, share, clock)
    # Leases end after 5 s and retries are due after 1 s; twice, for what is refused at the end.
    for _ in range(3):
        clock.advance(60)
        await v0.recover()
        while await v0.work():
            pass
    assert len(record.sent) == len(set(record.sent)) == share * 5
    assert set(record.sent) - set(record.acked) == set()
    assert await peek.outstanding(WORLD) == 0
    assert await coordinator.dead_letters(WORLD) == []
