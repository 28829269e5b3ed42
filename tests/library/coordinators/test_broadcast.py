"""Broadcast and subscriptions: one result a recipient, and subscriptions that steer."""

# ruff: noqa: ANN401 - commands and answers of a Redis client may be anything
from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from tests.library.conftest import MakeCoordinator
from tests.library.support.builders import INPUT, NARRATIVE, WORLD, drain, make_message
from tests.library.support.commands import intercept
from tests.library.support.peek import Peek
from tests.library.support.servers import Lane
from tests.library.support.waiting import eventually
from tta_agent_coordination import (
    AgentId,
    AgentMessage,
    MessageResult,
    MessageType,
    RedisMessageCoordinator,
)

OTHER = AgentId(type="other")


async def subscribed(peek: Peek, agent: AgentId) -> set[str]:
    """Return the stored subscription of an agent."""
    return {value.decode() for value in await peek.raw("SMEMBERS", peek.key("subs", agent))}


async def test_broadcast_answers_in_order(coordinator: RedisMessageCoordinator) -> None:
    """Broken: one result a recipient, in the order they were named, all with the message's id."""
    results = await coordinator.broadcast_message(INPUT, make_message(), [WORLD, NARRATIVE, OTHER])
    assert [(result.message_id, result.delivered) for result in results] == [("message-1", True)] * 3
    for agent in (WORLD, NARRATIVE, OTHER):
        assert await drain(coordinator, agent) == ["message-1"]


async def test_broadcast_tells_apart_who_got_it(make_coordinator: MakeCoordinator) -> None:
    """Broken: a full inbox is its own recipient's result, not everybody's."""
    coordinator = make_coordinator(queue_size=1)
    await coordinator.send_message(INPUT, NARRATIVE, make_message("earlier"))
    results = await coordinator.broadcast_message(INPUT, make_message(), [WORLD, NARRATIVE, OTHER])
    assert [result.delivered for result in results] == [True, False, True]
    assert results[1].error == "queue full"


async def test_broadcast_to_nobody_is_nobody(coordinator: RedisMessageCoordinator, peek: Peek) -> None:
    """Broken: `[]` means nobody; it does not mean everybody."""
    await coordinator.subscribe_to_messages(WORLD, [MessageType.REQUEST])
    assert await coordinator.broadcast_message(INPUT, make_message(), []) == []
    assert await peek.outstanding(WORLD) == 0


async def test_broadcast_to_the_same_agent_twice_is_two_messages(
    coordinator: RedisMessageCoordinator,
) -> None:
    """Broken: the caller named it twice."""
    results = await coordinator.broadcast_message(INPUT, make_message(), [WORLD, WORLD])
    assert len(results) == 2
    assert await drain(coordinator) == ["message-1", "message-1"]


async def test_broadcast_without_recipients_goes_to_subscribers(coordinator: RedisMessageCoordinator) -> None:
    """Broken: subscriptions steer broadcast: who subscribed to the type gets it, nobody else."""
    await coordinator.subscribe_to_messages(WORLD, [MessageType.EVENT])
    await coordinator.subscribe_to_messages(NARRATIVE, [MessageType.REQUEST, MessageType.EVENT])
    await coordinator.subscribe_to_messages(OTHER, [MessageType.RESPONSE])
    results = await coordinator.broadcast_message(INPUT, make_message(message_type=MessageType.EVENT))
    assert [result.delivered for result in results] == [True, True]
    assert await drain(coordinator, WORLD) == await drain(coordinator, NARRATIVE) == ["message-1"]
    assert await coordinator.receive(OTHER) is None


async def test_broadcast_without_subscribers_is_empty(coordinator: RedisMessageCoordinator) -> None:
    """Broken: nobody subscribed is nobody, not an error."""
    assert await coordinator.broadcast_message(INPUT, make_message()) == []


async def test_direct_message_ignores_subscriptions(coordinator: RedisMessageCoordinator) -> None:
    """Broken: direct messages always arrive."""
    await coordinator.subscribe_to_messages(WORLD, [MessageType.EVENT])
    assert (
        await coordinator.send_message(INPUT, WORLD, make_message(message_type=MessageType.REQUEST))
    ).delivered
    assert await drain(coordinator) == ["message-1"]


async def test_broadcast_knows_subscribers_that_v0_recorded(
    coordinator: RedisMessageCoordinator, peek: Peek
) -> None:
    """Broken: a v0 process beside us records only its own set; it counts."""
    await peek.raw("SADD", peek.key("subs", WORLD), "event")
    results = await coordinator.broadcast_message(INPUT, make_message(message_type=MessageType.EVENT))
    assert len(results) == 1
    assert await drain(coordinator) == ["message-1"]


@pytest.mark.parametrize("overridden", [False, True])
async def test_broadcast_reaches_everybody_beside_names_that_we_refuse(lane: Lane, overridden: bool) -> None:
    """Broken: one subscriber of v0 called "player 1" ends every broadcast."""

    class Enhanced(RedisMessageCoordinator):
        async def send_message(self, *args: Any, **options: Any) -> MessageResult:
            return await super().send_message(*args, **options)

    peek = Peek(lane.client())
    await peek.raw("SADD", "ao:subs:ipa:player 1", "event")
    make = Enhanced if overridden else RedisMessageCoordinator
    async with make(lane.client()) as coordinator:
        await coordinator.subscribe_to_messages(WORLD, [MessageType.EVENT])
        message = make_message(message_type=MessageType.EVENT)
        results = await coordinator.broadcast_message(INPUT, message)
        assert [result.delivered for result in results] == [True, True]
        assert await peek.raw("ZCARD", "ao:sched:ipa:player 1:prio:5") == 1
        assert await drain(coordinator) == ["message-1"]


async def test_broadcast_calls_an_overridden_send_for_each_recipient(lane: Lane) -> None:
    """Broken: TTA's coordinator overrides `send_message`; broadcast must not pass it by."""
    sent: list[AgentId] = []

    class Enhanced(RedisMessageCoordinator):
        async def send_message(
            self,
            sender: AgentId,
            recipient: AgentId,
            message: AgentMessage,
            **options: Any,
        ) -> MessageResult:
            sent.append(recipient)
            return await super().send_message(sender, recipient, message, **options)

    async with Enhanced(redis=lane.client(), key_prefix="ao") as coordinator:
        results = await coordinator.broadcast_message(INPUT, make_message(), [WORLD, NARRATIVE])
        assert [result.delivered for result in results] == [True, True]
        assert sent == [WORLD, NARRATIVE]
        assert await drain(coordinator, NARRATIVE) == ["message-1"]


async def test_subscribe_is_synchronous_and_awaitable(
    coordinator: RedisMessageCoordinator, peek: Peek
) -> None:
    """Broken: v0's synchronous signature stays; awaiting the answer makes sure it is recorded."""
    subscription = coordinator.subscribe_to_messages(WORLD, [MessageType.EVENT, MessageType.REQUEST])
    assert re.fullmatch(r"sub_[0-9a-f]{12}", subscription.subscription_id)
    assert subscription.agent_id == WORLD
    assert subscription.message_types == [MessageType.EVENT, MessageType.REQUEST]
    await subscription
    assert await subscribed(peek, WORLD) == {"event", "request"}


async def test_subscribe_records_in_the_background(coordinator: RedisMessageCoordinator, peek: Peek) -> None:
    """Broken: v0's callers do not await; TTA's test looks 50 ms later."""
    coordinator.subscribe_to_messages(WORLD, [MessageType.EVENT])

    async def recorded() -> bool:
        return await subscribed(peek, WORLD) == {"event"}

    await eventually("the subscription is stored", recorded, deadline_s=2)


async def test_subscribe_adds_to_what_is_there(coordinator: RedisMessageCoordinator, peek: Peek) -> None:
    """Broken: a second subscription widens the first."""
    await coordinator.subscribe_to_messages(WORLD, [MessageType.EVENT])
    await coordinator.subscribe_to_messages(WORLD, [MessageType.REQUEST])
    assert await subscribed(peek, WORLD) == {"event", "request"}


async def test_unsubscribe_takes_types_or_all(coordinator: RedisMessageCoordinator, peek: Peek) -> None:
    """Broken: an agent can leave one type, or all of them, and gets no more broadcasts."""
    await coordinator.subscribe_to_messages(WORLD, list(MessageType))
    await coordinator.unsubscribe(WORLD, [MessageType.EVENT])
    assert await subscribed(peek, WORLD) == {"request", "response"}
    assert await coordinator.broadcast_message(INPUT, make_message(message_type=MessageType.EVENT)) == []
    await coordinator.unsubscribe(WORLD)
    assert await subscribed(peek, WORLD) == set()
    assert await coordinator.broadcast_message(INPUT, make_message()) == []


async def test_subscribe_and_unsubscribe_of_no_types_are_nothing(
    coordinator: RedisMessageCoordinator, peek: Peek
) -> None:
    """Broken: an empty list is neither all types nor an error."""
    await coordinator.subscribe_to_messages(WORLD, [])
    assert await subscribed(peek, WORLD) == set()
    await coordinator.subscribe_to_messages(WORLD, [MessageType.EVENT])
    await coordinator.unsubscribe(WORLD, [])
    assert await subscribed(peek, WORLD) == {"event"}


def test_subscribe_without_a_loop_records_at_the_next_operation(
    sync_lane: tuple[asyncio.Runner, Lane],
) -> None:
    """Broken: v0's method may be called before any loop runs; the subscription is not forgotten."""
    runner, lane = sync_lane
    coordinator = RedisMessageCoordinator(lane.client())
    coordinator.subscribe_to_messages(WORLD, [MessageType.EVENT])

    async def later() -> int:
        async with coordinator:
            await coordinator.receive(WORLD)
            return len(
                await coordinator.broadcast_message(INPUT, make_message(message_type=MessageType.EVENT))
            )

    assert runner.run(later()) == 1


async def test_subscription_cancelled_on_its_way_is_stored_by_the_next_operation(
    lane: Lane, make_coordinator: MakeCoordinator
) -> None:
    """Broken: a subscription whose task was cancelled is forgotten, or ends in an error nobody catches."""
    client = lane.client()
    coordinator = make_coordinator(client=client)
    reached = asyncio.Event()
    raised: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context))

    async def around(*_: Any) -> Any:
        reached.set()
        return await asyncio.Event().wait()

    with intercept(client, around):
        subscription = coordinator.subscribe_to_messages(WORLD, [MessageType.EVENT])
        await reached.wait()
        (task,) = [one for one in asyncio.all_tasks() if one.get_name() == "subscribe world:1"]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await subscription
    assert raised == []
    assert await coordinator.receive(NARRATIVE) is None
    told = await coordinator.broadcast_message(INPUT, make_message(message_type=MessageType.EVENT))
    assert [result.delivered for result in told] == [True]
    assert await drain(coordinator) == ["message-1"]
