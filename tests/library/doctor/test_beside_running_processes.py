"""The doctor mends while v0 processes and ours send, receive and settle, and while some of them die.

v0 itself hands one message to two consumers that receive at the same moment; receiving takes turns here, so
that whatever is handled twice would be the doctor's work.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from dataclasses import dataclass, field

import pytest

from tests.library.doctor.support import BOX, died, examine, found_in
from tests.library.support.builders import INPUT, WORLD, make_message
from tests.library.support.peek import Peek
from tests.library.support.servers import Lane
from tests.library.v0_model import ProcessDied, V0Coordinator
from tta_agent_coordination import RedisMessageCoordinator
from tta_agent_coordination.testing import ManualClock

LEASE_S = 3_600
SENDERS, CONSUMERS = 2, 2
DEATHS = {
    "send": ("send.rpush", "send.zadd"),
    "receive": ("receive.zrem", "receive.hset", "receive.deadline"),
    "ack": ("ack.zrem", "ack.lrem"),
    "nack": ("nack.hdel", "nack.zrem", "nack.lrem", "nack.rpush"),
}
"""Where a process may end. Two places are left out: before nack.zadd v0 loses the message without a trace,
and before ack.hdel the lease of a handled message ends, and it comes again as it should."""


@dataclass
class World:
    """The inbox, who works at it, and what came of every message."""

    lane: Lane
    ours: RedisMessageCoordinator
    clock: ManualClock
    chance: random.Random
    accepted: set[str] = field(default_factory=set[str])
    handled: Counter[str] = field(default_factory=Counter[str])
    refused: set[str] = field(default_factory=set[str])
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    done: Counter[str] = field(default_factory=Counter[str])
    living: set[str] = field(default_factory=set[str])
    progress: asyncio.Condition = field(default_factory=asyncio.Condition)
    sending: int = SENDERS

    def v0(self, operation: str = "") -> V0Coordinator:
        """Return a process of v0, one that dies in an operation if one is named."""
        fatal = self.chance.choice(DEATHS[operation]) if operation else ""

        async def step(name: str) -> None:
            await asyncio.sleep(0)  # the embedded server answers at once, and nobody else would get a turn
            if name == fatal:
                raise ProcessDied(name)

        return V0Coordinator(self.lane.client(), now_us=self.clock.now_us, step=step)

    def dies(self) -> bool:
        """Tell whether the next operation is the last of its process."""
        return self.chance.random() < 0.06

    async def finished(self, who: str) -> None:
        """Note that a process has come to the end of an operation."""
        self.clock.advance(0.02)
        self.done[who] += 1
        async with self.progress:
            self.progress.notify_all()

    async def settle(self) -> None:
        """Pass when nobody who lives is at the step where it was: what a pause of the doctor is for."""
        before = Counter(self.done)
        async with self.progress:
            await self.progress.wait_for(lambda: all(self.done[who] > before[who] + 1 for who in self.living))

    async def send(self, who: str, share: int) -> None:
        """Send a share of messages, by v0 or by ours; some senders die on the way."""
        self.living.add(who)
        v0 = self.v0()
        for number in range(share):
            message_id = f"{who}-{number}"
            if self.dies():
                await died(self.v0("send").send(BOX, message_id))
            elif number % 2:
                assert (await v0.send(BOX, message_id)).delivered
                self.accepted.add(message_id)
            else:
                assert (await self.ours.send_message(INPUT, WORLD, make_message(message_id))).delivered
                self.accepted.add(message_id)
            await self.finished(who)
        self.sending -= 1
        await self.leave(who)

    async def leave(self, who: str) -> None:
        """End for good."""
        self.living.discard(who)
        async with self.progress:
            self.progress.notify_all()

    async def consume(self, who: str) -> None:
        """Receive and settle until nothing comes any more; some consumers die on the way."""
        self.living.add(who)
        v0, empty = self.v0(), 0
        while self.sending or empty < 50:
            empty = 0 if await self.consume_one(v0) else empty + 1
            await self.finished(who)
        await self.leave(who)

    async def consume_one(self, v0: V0Coordinator) -> bool:
        """Receive one message and settle it; False when nothing is due."""
        async with self.turn:
            if self.dies():
                return await self.receive_and_die()
            if self.chance.random() < 0.3:
                received = await self.ours.receive(WORLD, LEASE_S)
                if received is None:
                    return False
                self.handled[received.queue_message.message.message_id] += 1
                assert await self.ours.ack(WORLD, received.token)
                return True
            got = await v0.receive(BOX, LEASE_S)
        if got is None:
            return False
        first = got.message_id not in self.refused and self.chance.random() < 0.1
        if first:
            self.refused.add(got.message_id)
            await (died(self.v0("nack").nack(BOX, got.token)) if self.dies() else v0.nack(BOX, got.token))
            return True
        self.handled[got.message_id] += 1
        await (died(self.v0("ack").ack(BOX, got.token)) if self.dies() else v0.ack(BOX, got.token))
        return True

    async def receive_and_die(self) -> bool:
        """End in the middle of receiving; False when nothing is due."""
        try:
            got = await self.v0("receive").receive(BOX, LEASE_S)
        except ProcessDied:
            return True
        assert got is None
        return False

    async def doctor(self) -> Counter[str]:
        """Mend, again and again, as long as anybody lives; return what was found."""
        found: Counter[str] = Counter()
        client = self.lane.client()
        while self.living:
            report = await examine(client, self.clock, settle=self.settle)
            assert report.left == 0
            found.update(report.found)
            await asyncio.sleep(0)
        return found


@pytest.mark.leaves_keys("ao:clock:*", "ao:lapses:*", "ao:inflight:*", "ao:wake:*")
@pytest.mark.parametrize("seed", range(3))
async def test_nothing_is_lost_and_nothing_doubled_while_the_doctor_mends(
    seed: int, coordinator: RedisMessageCoordinator, lane: Lane, peek: Peek, clock: ManualClock
) -> None:
    """Broken: mending beside running processes delivers a message twice, or takes one away."""
    world = World(lane=lane, ours=coordinator, clock=clock, chance=random.Random(seed))
    world.living.update(f"sender-{n}" for n in range(SENDERS))
    doctor = asyncio.create_task(world.doctor())
    await asyncio.gather(
        *(world.send(f"sender-{n}", 150) for n in range(SENDERS)),
        *(world.consume(f"consumer-{n}") for n in range(CONSUMERS)),
    )
    found = await doctor
    assert {"ghost", "unleased", "deadline"} <= set(found)
    # What died holding a lease comes back when the lease ends, as ever.
    clock.advance(2 * LEASE_S)
    await coordinator.recover_pending(WORLD)
    await examine(lane.client(), clock)
    v0 = world.v0()
    while (got := await v0.receive(BOX)) is not None:
        world.handled[got.message_id] += 1
        assert await v0.ack(BOX, got.token)
    dead = Counter(str(json.loads(entry)["message"]["message_id"]) for entry in await peek.dead(WORLD))
    assert [name for name, count in world.handled.items() if count > 1] == []
    assert [name for name, count in dead.items() if count > 1] == []
    assert world.accepted - set(world.handled) - set(dead) == set()
    assert (await peek.outstanding(WORLD), await peek.queue(WORLD)) == (0, [])
    assert (await peek.reserved(WORLD), await peek.deadlines(WORLD)) == ({}, {})
    assert found_in(await examine(lane.client(), clock)) == {}
