"""Every coordinator defect of v0: seen on the model of v0, absent here.

Each test first shows the model of v0 breaking the promise, step by step, then holds ours against the same
scenario. The first half keeps the second honest: a scenario in which v0 does well proves nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import time
from collections.abc import Awaitable, Callable

import pytest

from tests.library.conftest import START_US, MakeCoordinator
from tests.library.support.builders import (
    INPUT,
    NARRATIVE,
    WORLD,
    drain,
    id_of,
    make_message,
    send_ids,
    take,
)
from tests.library.support.commands import Crash, crash_after, crash_before
from tests.library.support.peek import Peek
from tests.library.support.servers import Lane, RealLane
from tests.library.v0_model import PausedAt, ProcessDied, Step, V0Coordinator, die_at, no_step, v0_entry
from tta_agent_coordination import MessageType, RedisMessageCoordinator
from tta_agent_coordination.testing import ManualClock

BOX = "world:1"
"""v0's name for WORLD's inbox."""


def v0_on(lane: Lane, clock: ManualClock, *, step: Step = no_step) -> V0Coordinator:
    """Return v0 under a prefix of its own, on the test's clock."""
    return V0Coordinator(lane.client(), "v0", now_us=clock.now_us, step=step)


async def v0_drain(v0: V0Coordinator) -> list[str]:
    """Receive and acknowledge until v0 finds nothing."""
    ids: list[str] = []
    while (received := await v0.receive(BOX)) is not None:
        ids.append(received.message_id)
        await v0.ack(BOX, received.token)
    return ids


async def test_two_consumers_never_receive_the_same_message(
    lane: Lane, clock: ManualClock, make_coordinator: MakeCoordinator
) -> None:
    """Broken: 200 messages became 554 deliveries, because nobody looked whether ZREM removed anything."""
    pause = PausedAt("receive.zrem")
    slow, fast = v0_on(lane, clock, step=pause), v0_on(lane, clock)
    await fast.send(BOX, "message-1")
    first = asyncio.create_task(slow.receive(BOX))
    await pause.reached.wait()
    second = await fast.receive(BOX)
    pause.go.set()
    both = [await first, second]
    assert [received and received.message_id for received in both] == ["message-1", "message-1"]

    consumers = [make_coordinator() for _ in range(5)]
    ids = await send_ids(consumers[0], [f"message-{n:03}" for n in range(50)])

    async def consume(consumer: RedisMessageCoordinator) -> list[str]:
        return await drain(consumer)

    delivered = list(itertools.chain(*await asyncio.gather(*map(consume, consumers))))
    assert sorted(delivered) == ids


@pytest.mark.parametrize(
    ("operation", "fatal"), [("receive", "receive.hset"), ("nack", "nack.lrem"), ("recover", "recover.zadd")]
)
async def test_crash_between_two_steps_loses_nothing(
    lane: Lane, clock: ManualClock, make_coordinator: MakeCoordinator, operation: str, fatal: str
) -> None:
    """Broken: a process that died between two commands took the message with it."""
    v0 = v0_on(lane, clock)
    await v0.send(BOX, "message-1")
    dying = v0_on(lane, clock, step=die_at(fatal))
    if operation == "receive":
        fatal_call: Awaitable[object] = dying.receive(BOX)
    else:
        received = await v0.receive(BOX, 1)
        assert received is not None
        clock.advance(2)
        fatal_call = dying.nack(BOX, received.token) if operation == "nack" else dying.recover(BOX)
    with pytest.raises(ProcessDied):
        await fatal_call
    clock.advance(1_000)
    await v0.recover(BOX)
    assert await v0.receive(BOX) is None, "v0 should have lost the message here"

    for crash in (crash_before, crash_after):
        survivor = make_coordinator(key_prefix=f"ours-{crash.__name__}")
        await survivor.send_message(INPUT, WORLD, make_message())
        client = lane.client()
        victim = make_coordinator(client=client, key_prefix=f"ours-{crash.__name__}")
        token = (await take(victim, WORLD, 1)).token if operation != "receive" else ""
        clock.advance(2)
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "receive": lambda victim=victim: victim.receive(WORLD),
            "nack": lambda victim=victim, token=token: victim.nack(WORLD, token),
            "recover": lambda victim=victim: victim.recover_pending(WORLD),
        }
        with crash(client, 0), pytest.raises(Crash):
            await calls[operation]()
        clock.advance(1_000)
        assert await drain(survivor) == ["message-1"]


async def test_failed_sends_do_not_fill_the_queue(
    lane: Lane, clock: ManualClock, make_coordinator: MakeCoordinator
) -> None:
    """Broken: a sender that died between RPUSH and ZADD left an audit copy that counted as depth for ever."""
    v0 = v0_on(lane, clock, step=die_at("send.zadd"))
    for n in range(3):
        with pytest.raises(ProcessDied):
            await v0.send(BOX, f"message-{n}")
    healthy = v0_on(lane, clock)
    healthy.queue_size = 3
    assert (await healthy.send(BOX, "message-3")).error == "queue full"
    assert await healthy.receive(BOX) is None

    client = lane.client()
    coordinator = make_coordinator(client=client, queue_size=3)
    for n in range(3):
        with crash_before(client, 0), pytest.raises(Crash):
            await coordinator.send_message(INPUT, WORLD, make_message(f"message-{n}"))
    assert (
        await make_coordinator(queue_size=3).send_message(INPUT, WORLD, make_message("message-3"))
    ).delivered
    assert await drain(make_coordinator()) == ["message-3"]


async def test_concurrent_sends_do_not_pass_the_limit(
    lane: Lane, clock: ManualClock, make_coordinator: MakeCoordinator, peek: Peek
) -> None:
    """Broken: the limit was checked in one trip and used in another; 100 senders passed 10 by 17."""
    everybody_looked = asyncio.Barrier(20)

    async def look_then_write(step: str) -> None:
        if step == "send.rpush":
            await everybody_looked.wait()

    senders = [v0_on(lane, clock, step=look_then_write) for _ in range(20)]
    for sender in senders:
        sender.queue_size = 10
    results = await asyncio.gather(*(sender.send(BOX, f"message-{n:03}") for n, sender in enumerate(senders)))
    assert sum(result.delivered for result in results) == 20

    coordinators = [make_coordinator(queue_size=10) for _ in range(20)]
    answers = await asyncio.gather(
        *(
            coordinator.send_message(INPUT, WORLD, make_message(f"message-{n:03}"))
            for n, coordinator in enumerate(coordinators * 5)
        )
    )
    assert sum(answer.delivered for answer in answers) == 10
    assert await peek.outstanding(WORLD) == 10


async def test_equal_payloads_stay_two_messages(
    lane: Lane, clock: ManualClock, coordinator: RedisMessageCoordinator
) -> None:
    """Broken: two sends of one message had one text, and a sorted set keeps one text once."""
    v0 = v0_on(lane, clock)
    for _ in range(2):
        await v0.send(BOX, "message-1", {"same": 1})
    assert await v0_drain(v0) == ["message-1"]

    for _ in range(2):
        await coordinator.send_message(INPUT, WORLD, make_message(payload={"same": 1}))
    assert await drain(coordinator) == ["message-1", "message-1"]


async def test_ties_are_delivered_in_order_of_sending(
    lane: Lane, clock: ManualClock, coordinator: RedisMessageCoordinator
) -> None:
    """Broken: equal scores ordered by the entry's text, that is by the random id in its front."""
    ids = ["message-9", "message-1", "message-5"]
    v0 = v0_on(lane, clock)
    for message_id in ids:
        await v0.send(BOX, message_id)
        await coordinator.send_message(INPUT, WORLD, make_message(message_id))
    assert await v0_drain(v0) == sorted(ids)
    assert await drain(coordinator) == ids


async def test_message_that_kills_its_consumer_ends_as_poison(
    lane: Lane, clock: ManualClock, coordinator: RedisMessageCoordinator, peek: Peek
) -> None:
    """Broken: an expired lease counted as nothing, so such a message came back for ever."""
    v0 = v0_on(lane, clock)
    await v0.send(BOX, "message-1")
    await coordinator.send_message(INPUT, WORLD, make_message())
    deliveries = {"v0": 0, "ours": 0}
    for _ in range(30):
        deliveries["v0"] += await v0.receive(BOX, 1) is not None
        deliveries["ours"] += await coordinator.receive(WORLD, 1) is not None
        clock.advance(2)
        await v0.recover(BOX)
    assert deliveries == {"v0": 30, "ours": 10}
    assert len(await peek.dead(WORLD)) == 1


async def test_acknowledged_message_is_never_redelivered(
    lane: Lane, clock: ManualClock, make_coordinator: MakeCoordinator
) -> None:
    """Broken: recover had read the entry, ack answered True, and recover put the message back."""
    pause = PausedAt("recover.zrem")
    v0, recovering = v0_on(lane, clock), v0_on(lane, clock, step=pause)
    await v0.send(BOX, "message-1")
    received = await v0.receive(BOX, 1)
    assert received is not None
    clock.advance(2)
    recovery = asyncio.create_task(recovering.recover(BOX))
    await pause.reached.wait()
    assert await v0.ack(BOX, received.token) is True
    pause.go.set()
    assert await recovery == 1
    assert await v0.receive(BOX) is not None

    holder, reclaimer = make_coordinator(), make_coordinator()
    acknowledged: list[bool] = []
    for first in ("ack", "recover"):
        await holder.send_message(INPUT, WORLD, make_message())
        token = (await take(holder, WORLD, 1)).token
        clock.advance(2)
        if first == "ack":
            answer, _ = await asyncio.gather(holder.ack(WORLD, token), reclaimer.recover_pending(WORLD))
        else:
            _, answer = await asyncio.gather(reclaimer.recover_pending(WORLD), holder.ack(WORLD, token))
        assert await drain(reclaimer) == ([] if answer else ["message-1"])
        acknowledged.append(answer)
    assert any(acknowledged)


async def test_cancelled_nack_keeps_the_message(
    lane: Lane, clock: ManualClock, make_coordinator: MakeCoordinator
) -> None:
    """Broken: nack dropped the reservation first and was cancelled before the retry was written."""
    pause = PausedAt("nack.zadd")
    v0 = v0_on(lane, clock, step=pause)
    await v0.send(BOX, "message-1")
    received = await v0.receive(BOX, 1)
    assert received is not None
    nacking = asyncio.create_task(v0.nack(BOX, received.token))
    await pause.reached.wait()
    nacking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await nacking
    clock.advance(1_000)
    await v0.recover(BOX)
    assert await v0.receive(BOX) is None

    for turns in range(12):
        coordinator = make_coordinator(key_prefix=f"turns-{turns}")
        await coordinator.send_message(INPUT, WORLD, make_message())
        nacking_ours = asyncio.create_task(coordinator.nack(WORLD, (await take(coordinator, WORLD, 1)).token))
        for _ in range(turns):
            await asyncio.sleep(0)
        nacking_ours.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await nacking_ours
        clock.advance(1_000)
        assert await drain(coordinator) == ["message-1"]


async def test_transient_failure_is_not_dead_lettered_when_the_store_fails(
    lane: Lane, clock: ManualClock, make_coordinator: MakeCoordinator, peek: Peek
) -> None:
    """Broken: when the retry could not be written, v0 buried a message that was only to be retried."""

    async def failing_once(name: str) -> None:
        if name == "nack.zadd":
            raise ConnectionError("the store went away")

    v0 = v0_on(lane, clock, step=failing_once)
    await v0.send(BOX, "message-1")
    received = await v0.receive(BOX)
    assert received is not None
    await v0.nack(BOX, received.token)
    assert await peek.raw("LLEN", "v0:dlq:world:1") == 1

    client = lane.client()
    coordinator = make_coordinator(client=client)
    await coordinator.send_message(INPUT, WORLD, make_message())
    token = (await take(coordinator, WORLD, 1)).token
    with crash_before(client, 0), pytest.raises(Crash):
        await coordinator.nack(WORLD, token)
    assert await peek.dead(WORLD) == []
    assert await coordinator.nack(WORLD, token) is True
    clock.advance(2)
    assert await drain(coordinator) == ["message-1"]


async def test_undecodable_entry_does_not_stop_the_consumer(
    lane: Lane, clock: ManualClock, coordinator: RedisMessageCoordinator, peek: Peek
) -> None:
    """Broken: one entry that nobody can read raised in every receive, for ever."""
    v0 = v0_on(lane, clock)
    await peek.raw("ZADD", v0.level_key(BOX, 9), START_US, "junk")
    await v0.send(BOX, "message-1")
    for _ in range(3):
        with pytest.raises(ValueError, match="Expecting value"):
            await v0.receive(BOX)

    await peek.raw("ZADD", peek.level_key(WORLD, 9), START_US, "junk")
    await coordinator.send_message(INPUT, WORLD, make_message())
    assert await drain(coordinator) == ["message-1"]


async def test_expired_lease_comes_back_without_being_asked_for(
    lane: Lane, clock: ManualClock, coordinator: RedisMessageCoordinator
) -> None:
    """Broken: unless somebody called recover, a dead consumer's message was never seen again."""
    v0 = v0_on(lane, clock)
    await v0.send(BOX, "message-1")
    await coordinator.send_message(INPUT, WORLD, make_message())
    await v0.receive(BOX, 1)
    await take(coordinator, WORLD, 1)
    clock.advance(3_600)
    assert await v0.receive(BOX) is None
    assert id_of(await coordinator.receive(WORLD)) == "message-1"


async def test_ack_does_not_pay_for_the_backlog(real_lane: RealLane) -> None:
    """Broken: one ack behind a long backlog walked the audit list and blocked the server for 120 ms."""
    peek = Peek(real_lane.client())
    v0 = V0Coordinator(real_lane.client())
    v0.queue_size = 1_000_000
    coordinator = RedisMessageCoordinator(real_lane.client(), audit="off", queue_size=v0.queue_size)

    async def server_us(command: str, action: Callable[[], Awaitable[bool]]) -> float:
        await peek.raw("CONFIG", "RESETSTAT")
        assert await action()
        stats = await peek.raw("INFO", "commandstats")
        return float(stats[f"cmdstat_{command}"]["usec"])

    async def v0_ack() -> float:
        await v0.send(BOX, "message-high", priority=9)
        received = await v0.receive(BOX)
        assert received is not None
        return await server_us("lrem", lambda: v0.ack(BOX, received.token))

    async def our_ack() -> float:
        await coordinator.send_message(INPUT, WORLD, make_message())
        received = await take(coordinator)
        return await server_us("evalsha", lambda: coordinator.ack(WORLD, received.token))

    async def cheapest(measure: Callable[[], Awaitable[float]]) -> float:
        return min([await measure() for _ in range(5)])

    before = {"v0": await cheapest(v0_ack), "ours": await cheapest(our_ack)}
    filler = """
        for i = 1, 20000 do
            local text = string.gsub(ARGV[1], 'message%-low', 'message-low-' .. ARGV[2] + i)
            redis.call('RPUSH', KEYS[1], text)
            redis.call('ZADD', KEYS[2], ARGV[2] + i, text)
        end
        return 1"""
    low = peek.level_key(WORLD, 1)
    for start in range(0, 60_000, 20_000):
        await peek.raw("EVAL", filler, 2, peek.key("queue", WORLD), low, v0_entry(BOX, "message-low"), start)
    after = {"v0": await cheapest(v0_ack), "ours": await cheapest(our_ack)}
    assert after["v0"] > 20 * (before["v0"] + 1)
    assert after["ours"] < 5 * (before["ours"] + 10)
    assert after["v0"] > after["ours"]


async def test_skewed_client_clock_neither_hides_messages_nor_steals_leases(
    real_lane: RealLane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: scores and deadlines were each machine's own time."""
    now = time.time_ns() // 1000
    fast, right = (
        V0Coordinator(real_lane.client(), "v0", now_us=lambda skew=skew: now + skew)
        for skew in (3_600_000_000, 0)
    )
    await fast.send(BOX, "message-1")
    assert await right.receive(BOX) is None, "v0 hides a message from the future"
    await right.send(BOX, "message-2")
    assert (held := await right.receive(BOX, 5)) is not None
    assert await fast.recover(BOX) == 1, "v0 takes a lease that is still running"
    assert await right.ack(BOX, held.token) is False

    sender, receiver = (RedisMessageCoordinator(real_lane.client()) for _ in range(2))
    real_time, real_time_ns = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: real_time() + 3_600)
    monkeypatch.setattr(time, "time_ns", lambda: real_time_ns() + 3_600_000_000_000)
    await sender.send_message(INPUT, WORLD, make_message())
    monkeypatch.undo()
    received = await take(receiver, WORLD, 60)
    monkeypatch.setattr(time, "time", lambda: real_time() + 3_600)
    monkeypatch.setattr(time, "time_ns", lambda: real_time_ns() + 3_600_000_000_000)
    assert await sender.recover_pending(WORLD) == 0
    assert await sender.receive(WORLD) is None
    monkeypatch.undo()
    assert await receiver.ack(WORLD, received.token) is True


async def test_subscriptions_steer_broadcast(
    lane: Lane, clock: ManualClock, coordinator: RedisMessageCoordinator
) -> None:
    """Broken: a subscription was written and never read."""
    v0 = v0_on(lane, clock)
    await v0.subscribe(BOX, "event")
    assert await v0.broadcast([], "message-1", "event") == []
    assert await v0.receive(BOX) is None

    await coordinator.subscribe_to_messages(WORLD, [MessageType.EVENT])
    await coordinator.subscribe_to_messages(NARRATIVE, [MessageType.REQUEST])
    await coordinator.broadcast_message(INPUT, make_message(message_type=MessageType.EVENT))
    assert await drain(coordinator, WORLD) == ["message-1"]
    assert await drain(coordinator, NARRATIVE) == []


async def test_recovered_message_keeps_its_place(
    lane: Lane, clock: ManualClock, coordinator: RedisMessageCoordinator
) -> None:
    """Broken: a recovered message went to the back of its level."""
    v0 = v0_on(lane, clock)
    for n in range(3):
        clock.advance(0.001)
        await v0.send(BOX, f"message-{n}")
        await coordinator.send_message(INPUT, WORLD, make_message(f"message-{n}"))
    await v0.receive(BOX, 1)
    await take(coordinator, WORLD, 1)
    clock.advance(2)
    await v0.recover(BOX)
    assert await v0_drain(v0) == ["message-1", "message-2", "message-0"]
    assert await drain(coordinator) == ["message-0", "message-1", "message-2"]


@pytest.mark.parametrize("wrong", [math.nan, math.inf, 2**1100])
async def test_absurd_limits_are_refused_before_they_cost_a_message(
    lane: Lane, clock: ManualClock, coordinator: RedisMessageCoordinator, wrong: float
) -> None:
    """Broken: nobody validated limits; the first nack met the nonsense with the reservation already gone."""
    v0 = v0_on(lane, clock)
    v0.backoff = (wrong, 2.0, wrong)
    await v0.send(BOX, "message-1")
    received = await v0.receive(BOX)
    assert received is not None
    with pytest.raises((ValueError, OverflowError)):
        await v0.nack(BOX, received.token)
    clock.advance(1_000)
    await v0.recover(BOX)
    assert await v0.receive(BOX) is None

    with pytest.raises(ValueError, match="backoff"):
        coordinator.configure(backoff_base=wrong, backoff_max=wrong)
    await coordinator.send_message(INPUT, WORLD, make_message())
    assert await coordinator.nack(WORLD, (await take(coordinator)).token) is True
    clock.advance(1)
    assert await drain(coordinator) == ["message-1"]
