"""Replies that get lost: redis-py sends the command again, and nothing happens twice.

The proxy lets a command run on the server and loses its answer. The client cannot tell this from a command
that never arrived, so it repeats; the lane of the coordinator has to recognise the repetition.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.library.conftest import START_US
from tests.library.support.builders import INPUT, NARRATIVE, WORLD, drain, id_of, make_message, send_ids, take
from tests.library.support.peek import Peek
from tests.library.support.proxy import FaultyProxy, faulty_proxy
from tests.library.support.servers import RealLane
from tta_agent_coordination import FailureType, MessageType, RedisMessageCoordinator
from tta_agent_coordination.testing import ManualClock


@pytest.fixture
async def proxy(real_lane: RealLane) -> AsyncIterator[FaultyProxy]:
    """A proxy in front of the real server."""
    async with faulty_proxy(real_lane.port) as running:
        yield running


@pytest.fixture
def peek(real_lane: RealLane) -> Peek:
    """A look past the proxy."""
    return Peek(real_lane.client())


@pytest.fixture(params=["connection breaks", "silence"])
async def coordinator(
    request: pytest.FixtureRequest, proxy: FaultyProxy, real_lane: RealLane, clock: ManualClock
) -> AsyncIterator[RedisMessageCoordinator]:
    """A coordinator behind the proxy; a lost reply shows as a broken connection or as silence."""
    proxy.silent = request.param == "silence"
    client = real_lane.client(port=proxy.port, socket_timeout=0.1)
    async with RedisMessageCoordinator(client, clock=clock) as made:
        await made.send_message(INPUT, NARRATIVE, make_message("first contact"))
        await made.ack(NARRATIVE, (await take(made, NARRATIVE)).token)
        yield made
        assert proxy.lose_replies == 0, "the fault this test is about never happened"


async def test_resent_send_is_one_message(
    coordinator: RedisMessageCoordinator, proxy: FaultyProxy, peek: Peek
) -> None:
    """Broken: one send during a network failure became two messages."""
    proxy.lose_replies = 2
    result = await coordinator.send_message(INPUT, WORLD, make_message())
    assert (result.delivered, result.cause) == (True, None)
    assert len(await peek.queue(WORLD)) == 1
    assert await drain(coordinator) == ["message-1"]


async def test_resent_send_with_a_dedup_id_is_not_its_own_duplicate(
    coordinator: RedisMessageCoordinator, proxy: FaultyProxy
) -> None:
    """Broken: the repetition of the first send is answered like the first send."""
    proxy.lose_replies = 1
    result = await coordinator.send_message(INPUT, WORLD, make_message(), dedup_id="order 7")
    assert (result.delivered, result.cause) == (True, None)
    assert await drain(coordinator) == ["message-1"]


async def test_resent_send_to_a_full_queue_stays_refused(
    coordinator: RedisMessageCoordinator, proxy: FaultyProxy, peek: Peek
) -> None:
    """Broken: an answer is remembered as it was given, also a refusal."""
    await send_ids(coordinator, ["message-0"])
    coordinator.configure(queue_size=1)
    proxy.lose_replies = 1
    assert (await coordinator.send_message(INPUT, WORLD, make_message())).error == "queue full"
    assert await peek.outstanding(WORLD) == 1


async def test_resent_receive_is_one_lease(
    coordinator: RedisMessageCoordinator, proxy: FaultyProxy, peek: Peek
) -> None:
    """Broken: the repetition reserved a second message, and the first one's token was known to nobody."""
    await send_ids(coordinator, ["message-1", "message-2"])
    proxy.lose_replies = 2
    received = await take(coordinator)
    assert id_of(received) == "message-1"
    assert received.deliveries == 1
    assert list(await peek.reserved(WORLD)) == [received.token]
    assert await coordinator.ack(WORLD, received.token) is True
    assert await drain(coordinator) == ["message-2"]


async def test_resent_receive_of_nothing_is_nothing(
    coordinator: RedisMessageCoordinator, proxy: FaultyProxy
) -> None:
    """Broken: an empty answer is an answer."""
    proxy.lose_replies = 1
    assert await coordinator.receive(WORLD) is None


async def test_resent_ack_is_true(
    coordinator: RedisMessageCoordinator, proxy: FaultyProxy, peek: Peek
) -> None:
    """Broken: the first ack worked; its repetition must not answer that the token is unknown."""
    await send_ids(coordinator, ["message-1"])
    received = await take(coordinator)
    proxy.lose_replies = 2
    assert await coordinator.ack(WORLD, received.token) is True
    assert await peek.queue(WORLD) == []
    assert await coordinator.ack(WORLD, received.token) is False


async def test_resent_ack_then_send_sends_once(
    coordinator: RedisMessageCoordinator, proxy: FaultyProxy
) -> None:
    """Broken: follow-ups were sent twice."""
    await send_ids(coordinator, ["message-1"])
    received = await take(coordinator)
    proxy.lose_replies = 1
    follow_ups = [(NARRATIVE, make_message("follow-1"))]
    assert await coordinator.ack(WORLD, received.token, then_send=follow_ups) is True
    assert await drain(coordinator, NARRATIVE) == ["follow-1"]


@pytest.mark.parametrize("failure", [FailureType.TRANSIENT, FailureType.PERMANENT])
async def test_resent_nack_counts_once(
    coordinator: RedisMessageCoordinator, proxy: FaultyProxy, peek: Peek, failure: FailureType
) -> None:
    """Broken: a repeated nack counted two failures, or buried a message twice."""
    await send_ids(coordinator, ["message-1"])
    received = await take(coordinator)
    proxy.lose_replies = 2
    assert await coordinator.nack(WORLD, received.token, failure, "once") is True
    entries = await peek.ready(WORLD) + await peek.dead(WORLD)
    assert len(entries) == 1
    assert '"delivery_attempts":1,' in entries[0].replace(" ", "")


async def test_resent_release_gives_back_once(
    coordinator: RedisMessageCoordinator, proxy: FaultyProxy, peek: Peek
) -> None:
    """Broken: a repeated release answers like the first."""
    await send_ids(coordinator, ["message-1"])
    received = await take(coordinator)
    proxy.lose_replies = 1
    assert await coordinator.release(WORLD, received.token) is True
    assert len(await peek.ready(WORLD)) == 1


async def test_resent_extend_is_true(
    coordinator: RedisMessageCoordinator, proxy: FaultyProxy, peek: Peek
) -> None:
    """Broken: a repeated extend answers like the first."""
    await send_ids(coordinator, ["message-1"])
    received = await take(coordinator)
    proxy.lose_replies = 1
    assert await coordinator.extend(WORLD, received.token, 60) is True
    assert await peek.deadlines(WORLD) == {received.token: START_US + 60_000_000}


async def test_resent_recovery_counts_once(
    coordinator: RedisMessageCoordinator, proxy: FaultyProxy, clock: ManualClock
) -> None:
    """Broken: recovery answers how many it requeued, not how many its repetition still found."""
    await send_ids(coordinator, ["message-1", "message-2"])
    for _ in range(2):
        await take(coordinator)
    clock.advance(10)
    proxy.lose_replies = 1
    assert await coordinator.recover_pending(WORLD) == 2
    assert await drain(coordinator) == ["message-1", "message-2"]


async def test_resent_requeue_and_purge_count_once(
    coordinator: RedisMessageCoordinator, proxy: FaultyProxy, peek: Peek
) -> None:
    """Broken: handling dead letters twice would deliver one twice, or answer zero."""
    await send_ids(coordinator, ["message-1", "message-2"])
    for _ in range(2):
        await coordinator.nack(WORLD, (await take(coordinator)).token, FailureType.PERMANENT)
    first, second = await coordinator.dead_letters(WORLD)
    proxy.lose_replies = 1
    assert await coordinator.requeue_dead(WORLD, [first.id]) == 1
    assert len(await peek.ready(WORLD)) == 1
    proxy.lose_replies = 1
    assert await coordinator.purge_dead(WORLD, [second.id]) == 1
    assert await drain(coordinator) == ["message-1"]


async def test_resent_broadcast_is_one_message_each(
    coordinator: RedisMessageCoordinator, proxy: FaultyProxy
) -> None:
    """Broken: a pipeline is repeated as a whole."""
    proxy.lose_replies = 1
    await coordinator.broadcast_message(INPUT, make_message(), [WORLD, NARRATIVE])
    assert await drain(coordinator, WORLD) == await drain(coordinator, NARRATIVE) == ["message-1"]


async def test_resent_subscription_is_recorded(
    coordinator: RedisMessageCoordinator, proxy: FaultyProxy
) -> None:
    """Broken: subscribing survives a lost reply."""
    proxy.lose_replies = 1
    await coordinator.subscribe_to_messages(WORLD, [MessageType.EVENT])
    results = await coordinator.broadcast_message(INPUT, make_message(message_type=MessageType.EVENT))
    assert len(results) == 1
    assert await drain(coordinator) == ["message-1"]


async def test_lost_requests_are_sent_again(coordinator: RedisMessageCoordinator, proxy: FaultyProxy) -> None:
    """Broken: a command that never arrived is repeated until it does."""
    proxy.lose_requests = 2
    assert (await coordinator.send_message(INPUT, WORLD, make_message())).delivered
    proxy.lose_requests = 1
    received = await take(coordinator)
    proxy.lose_requests = 1
    assert await coordinator.ack(WORLD, received.token) is True


async def test_every_reply_of_a_busy_hour_may_get_lost(
    coordinator: RedisMessageCoordinator, proxy: FaultyProxy, peek: Peek, clock: ManualClock
) -> None:
    """Broken: any mixture of operations and losses leaves each message exactly once."""
    settled: list[str] = []
    for n in range(8):
        proxy.lose_replies += n % 3
        assert (await coordinator.send_message(INPUT, WORLD, make_message(f"message-{n:02}"))).delivered
        proxy.lose_replies += (n + 1) % 2
        received = await take(coordinator)
        if n % 4 == 3:
            assert await coordinator.nack(WORLD, received.token) is True
        else:
            assert await coordinator.ack(WORLD, received.token) is True
            settled.append(str(id_of(received)))
    clock.advance(60)
    while proxy.lose_replies:
        await coordinator.receive(NARRATIVE)
    assert sorted(settled + await drain(coordinator)) == [f"message-{n:02}" for n in range(8)]
    assert await peek.queue(WORLD) == []


async def test_outcome_is_unknown_when_every_reply_is_lost(
    proxy: FaultyProxy, real_lane: RealLane, peek: Peek
) -> None:
    """Broken: a send whose command may have run must not claim that it was not delivered for certain."""
    client: Any = real_lane.client(port=proxy.port, retry=None)
    async with RedisMessageCoordinator(client) as coordinator:
        await coordinator.receive(NARRATIVE)
        proxy.lose_replies = 50
        result = await coordinator.send_message(INPUT, WORLD, make_message())
        proxy.lose_replies = 0
        assert (result.delivered, result.cause) == (False, "outcome unknown")
        assert len(await peek.queue(WORLD)) == 1
        assert await drain(coordinator) == ["message-1"]
