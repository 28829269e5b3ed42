"""v0 and ours on one Redis: each reads, settles and counts what the other wrote."""

from __future__ import annotations

import json

import pytest

from tests.library.support.builders import INPUT, WORLD, drain, id_of, ids_of, make_message, send_ids, take
from tests.library.support.peek import Peek
from tests.library.support.servers import Lane
from tests.library.v0_model import V0Coordinator
from tta_agent_coordination import AgentMessage, FailureType, MessagePriority, RedisMessageCoordinator
from tta_agent_coordination.testing import ManualClock

BOX = "world:1"
pytestmark = pytest.mark.leaves_keys("ao:clock:*", "ao:lapses:*", "ao:inflight:*", "ao:wake:*")
"""What v0 takes last out of an inbox leaves side keys behind, which v0 does not know."""


@pytest.fixture
def v0(lane: Lane, clock: ManualClock) -> V0Coordinator:
    """A v0 process under the same prefix."""
    return V0Coordinator(lane.client(), now_us=clock.now_us)


async def test_ours_receives_what_v0_sent(
    coordinator: RedisMessageCoordinator, v0: V0Coordinator, peek: Peek
) -> None:
    """Broken: messages that wait when a process is upgraded would be lost to it."""
    await v0.send(BOX, "message-1", {"text": "höhle", "list": []}, priority=9, message_type="event")
    received = await take(coordinator)
    message = received.queue_message.message
    assert (message.message_id, message.payload) == ("message-1", {"text": "höhle", "list": []})
    assert (message.priority, message.message_type) == (MessagePriority.HIGH, "event")
    assert await coordinator.ack(WORLD, received.token) is True
    assert await peek.queue(WORLD) == []


async def test_v0_receives_what_ours_sent(
    coordinator: RedisMessageCoordinator, v0: V0Coordinator, peek: Peek
) -> None:
    """Broken: a v0 process beside us has to read our entries and find our keys."""
    sent = make_message("message-1", {"text": "höhle", "list": []}, priority=MessagePriority.HIGH)
    await coordinator.send_message(INPUT, WORLD, sent)
    received = await v0.receive(BOX)
    assert received is not None
    assert AgentMessage.model_validate(received.entry["message"]) == sent
    assert (received.entry["priority"], received.entry["delivery_attempts"]) == (9, 0)
    assert await v0.ack(BOX, received.token) is True
    assert (await peek.queue(WORLD), await peek.outstanding(WORLD)) == ([], 0)


async def test_order_is_high_first_whoever_sent(
    coordinator: RedisMessageCoordinator, v0: V0Coordinator
) -> None:
    """Broken: the levels are shared."""
    await v0.send(BOX, "v0-low-1", priority=1)
    await send_ids(coordinator, ["ours-normal"])
    await v0.send(BOX, "v0-high-1", priority=9)
    assert await drain(coordinator) == ["v0-high-1", "ours-normal", "v0-low-1"]


async def test_ours_settles_what_v0_reserved(
    coordinator: RedisMessageCoordinator, v0: V0Coordinator, clock: ManualClock, peek: Peek
) -> None:
    """Broken: a token is a field of one hash, whoever put it there."""
    for n in range(4):
        clock.advance(0.001)
        await v0.send(BOX, f"message-{n}")
    tokens = [received.token for _ in range(4) if (received := await v0.receive(BOX, 5)) is not None]
    assert await coordinator.ack(WORLD, tokens[0]) is True
    assert await coordinator.nack(WORLD, tokens[1], FailureType.PERMANENT) is True
    assert await coordinator.nack(WORLD, tokens[2], error="later") is True
    assert await coordinator.release(WORLD, tokens[3]) is True
    assert len(await peek.queue(WORLD)) == 2
    assert await drain(coordinator) == ["message-3"]
    clock.advance(5)
    again = await v0.receive(BOX)
    assert again is not None
    assert (again.message_id, again.entry["delivery_attempts"], again.entry["last_error"]) == (
        "message-2",
        1,
        "later",
    )
    assert await v0.ack(BOX, again.token) is True
    assert await peek.queue(WORLD) == []


async def test_v0_settles_what_ours_reserved(
    coordinator: RedisMessageCoordinator, v0: V0Coordinator, clock: ManualClock, peek: Peek
) -> None:
    """Broken: v0 finds our reservation, removes our audit copy, and its retry is readable for us."""
    await send_ids(coordinator, ["message-1", "message-2", "message-3"])
    tokens = [(await take(coordinator)).token for _ in range(3)]
    assert await v0.ack(BOX, tokens[0]) is True
    assert await v0.nack(BOX, tokens[1], error="v0's error") is True
    assert await v0.nack(BOX, tokens[2], permanent=True) is True
    clock.advance(5)
    received = await take(coordinator)
    assert (id_of(received), received.queue_message.delivery_attempts) == ("message-2", 1)
    assert received.queue_message.last_error == "v0's error"
    assert await coordinator.ack(WORLD, received.token) is True
    assert await peek.queue(WORLD) == []
    assert ids_of(await coordinator.dead_letters(WORLD)) == ["message-3"]


async def test_each_recovers_what_the_other_left(
    coordinator: RedisMessageCoordinator, v0: V0Coordinator, clock: ManualClock, peek: Peek
) -> None:
    """Broken: a dead process's messages return, whichever version it was and whichever recovers."""
    await v0.send(BOX, "message-1")
    await v0.receive(BOX, 1)
    clock.advance(2)
    assert await coordinator.recover_pending(WORLD) == 1
    await take(coordinator, WORLD, 1)
    clock.advance(2)
    assert await v0.recover(BOX) == 1
    assert await peek.queue(WORLD) == await peek.ready(WORLD)
    assert await drain(coordinator) == ["message-1"]


async def test_both_count_one_depth(coordinator: RedisMessageCoordinator, v0: V0Coordinator) -> None:
    """Broken: v0 counts the audit list, ours counts what is stored; a full inbox is full for both."""
    coordinator.configure(queue_size=4)
    v0.queue_size = 4
    for n in range(2):
        assert (await v0.send(BOX, f"v0-message-{n}")).delivered
        assert (await coordinator.send_message(INPUT, WORLD, make_message(f"our-message-{n}"))).delivered
    assert (await v0.send(BOX, "v0-message-2")).error == "queue full"
    assert (await coordinator.send_message(INPUT, WORLD, make_message("our-message-2"))).error == "queue full"
    assert (await coordinator.stats(WORLD)).audit == 4
    held = await take(coordinator)
    assert (await v0.send(BOX, "v0-message-2")).error == "queue full"
    await coordinator.ack(WORLD, held.token)
    assert (await v0.send(BOX, "v0-message-2")).delivered


async def test_audit_list_is_the_backlog_for_tta(
    coordinator: RedisMessageCoordinator, v0: V0Coordinator, clock: ManualClock, peek: Peek
) -> None:
    """Broken: TTA's router picks the agent with the shortest audit list."""
    router_sees: list[int] = []

    async def look() -> None:
        router_sees.append(int(await peek.raw("LLEN", "ao:queue:world:1")))

    await send_ids(coordinator, ["message-1", "message-2"])
    await v0.send(BOX, "message-3")
    await look()
    await coordinator.nack(WORLD, (await take(coordinator)).token)
    await look()
    await coordinator.ack(WORLD, (await take(coordinator)).token)
    await look()
    await coordinator.nack(WORLD, (await take(coordinator)).token, FailureType.PERMANENT)
    await look()
    clock.advance(5)
    await drain(coordinator)
    await look()
    assert router_sees == [3, 3, 2, 1, 0]


async def test_validator_finds_nothing_to_repair(
    coordinator: RedisMessageCoordinator, clock: ManualClock, peek: Peek
) -> None:
    """Broken: TTA's state validator requeues every reservation without a deadline, and drops the reverse."""
    await send_ids(coordinator, [f"message-{n}" for n in range(4)])
    held = [await take(coordinator, WORLD, 1) for _ in range(3)]
    for call in (coordinator.extend(WORLD, held[0].token, 50), coordinator.release(WORLD, held[1].token)):
        await call
    clock.advance(2)
    await take(coordinator)
    assert set(await peek.reserved(WORLD)) == set(await peek.deadlines(WORLD))
    for entry in (await peek.reserved(WORLD)).values():
        assert json.loads(entry)["priority"] == 5


async def test_wrapper_reads_our_reservation(coordinator: RedisMessageCoordinator, peek: Peek) -> None:
    """Broken: TTA's workflow wrapper HGETs the token from `_reserved_hash` and parses id and type."""
    await send_ids(coordinator, ["message-1"])
    received = await take(coordinator)
    reserved = coordinator._reserved_hash(WORLD)
    stored = await peek.raw("HGET", reserved, received.token)
    message = json.loads(stored)["message"]
    assert (message["message_id"], message["message_type"]) == ("message-1", "request")


async def test_v0_types_that_our_ids_refuse_do_not_stop_recovery(
    coordinator: RedisMessageCoordinator, v0: V0Coordinator, clock: ManualClock, peek: Peek
) -> None:
    """Broken: a key under our prefix with a name that we would refuse stops everybody's recovery."""
    for name in (
        "ao:reserved_deadlines:a b:c",
        "ao:reserved_deadlines:only",
        "ao:reserved_deadlines:a:b:c:d",
    ):
        await peek.raw("ZADD", name, 1, "res_x")
    await v0.send(BOX, "message-1")
    await v0.receive(BOX, 1)
    clock.advance(2)
    assert await coordinator.recover_pending() == 1
    assert await drain(coordinator) == ["message-1"]
