"""Subscriptions on their way: what is stored late, by whom, and what is said of it."""

# ruff: noqa: ANN401 - commands and answers of a Redis client may be anything
from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.exceptions import ResponseError

from tests.library.conftest import MakeCoordinator
from tests.library.support.builders import NARRATIVE, WORLD
from tests.library.support.commands import intercept
from tests.library.support.servers import Lane
from tta_agent_coordination import MessageCoordinatorError, MessageType, RedisMessageCoordinator
from tta_agent_coordination.coordinators import _subscriptions


async def refuse(*_: Any) -> Any:
    """Stand between a client and a store that refuses everything."""
    raise ResponseError("not today")


def test_subscription_made_without_a_loop_is_stored_by_awaiting_it(
    sync_lane: tuple[asyncio.Runner, Lane],
) -> None:
    """Broken: awaiting a subscription says that it is stored when it is not."""
    runner, lane = sync_lane
    client = lane.client()
    coordinator = RedisMessageCoordinator(client)
    subscription = coordinator.subscribe_to_messages(WORLD, [MessageType.EVENT])

    async def later() -> int:
        async with coordinator:
            await subscription
            return await client.scard("ao:subs:world:1")

    assert runner.run(later()) == 1


def test_subscription_that_the_store_refuses_waits_for_the_next_operation(
    sync_lane: tuple[asyncio.Runner, Lane], caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: a subscription that failed on its way is forgotten, and nobody is told."""
    runner, lane = sync_lane
    client = lane.client()
    coordinator = RedisMessageCoordinator(client)
    coordinator.subscribe_to_messages(WORLD, [MessageType.EVENT])

    async def later() -> int:
        async with coordinator:
            with intercept(client, refuse), pytest.raises(MessageCoordinatorError):
                await coordinator.receive(NARRATIVE)
            await coordinator.receive(NARRATIVE)
            return await client.scard("ao:subs:world:1")

    assert runner.run(later()) == 1
    (told,) = [text for text in caplog.messages if "subscription" in text]
    assert told.startswith("A waiting subscription is not stored yet, the next operation tries again: ")
    assert "not today" in told


async def test_subscription_is_tried_again_and_says_so(
    lane: Lane,
    make_coordinator: MakeCoordinator,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Broken: a store that comes back finds no subscription, or a log without inbox and reason."""
    monkeypatch.setattr(_subscriptions, "_RETRY_DELAYS_S", (0.001, 0.002))
    client = lane.client()
    coordinator = make_coordinator(client=client)
    with intercept(client, refuse), pytest.raises(MessageCoordinatorError, match="not today"):
        await coordinator.subscribe_to_messages(WORLD, [MessageType.EVENT])
    first, second, last = caplog.messages
    assert first.startswith("Subscription of world:1, next try in 0.001 s: ")
    assert second.startswith("Subscription of world:1, next try in 0.002 s: ")
    assert last.startswith("Subscription of world:1 waits for the next operation: ")
    assert all("not today" in text for text in (first, second, last))
    await coordinator.receive(NARRATIVE)
    assert await client.scard("ao:subs:world:1") == 1


async def test_closing_is_not_failed_by_a_subscription_that_failed(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: leaving `async with` raises for a subscription that nobody awaited."""
    monkeypatch.setattr(_subscriptions, "_RETRY_DELAYS_S", ())
    client = lane.client()
    coordinator = RedisMessageCoordinator(client)
    with intercept(client, refuse):
        coordinator.subscribe_to_messages(WORLD, [MessageType.EVENT])
        await coordinator.aclose()
    await coordinator.aclose()
    assert await client.scard("ao:subs:world:1") == 1


async def test_nothing_is_kept_of_a_subscription_that_is_stored(coordinator: RedisMessageCoordinator) -> None:
    """Broken: a process that subscribes again and again holds every task it ever made."""
    await coordinator.subscribe_to_messages(WORLD, [MessageType.EVENT])
    assert coordinator._subscriptions._tasks == set()
    assert coordinator._subscriptions._waiting == []


async def test_unsubscribe_says_how_many_types_were_left(coordinator: RedisMessageCoordinator) -> None:
    """Broken: leaving what one never joined looks like leaving."""
    await coordinator.subscribe_to_messages(WORLD, [MessageType.EVENT, MessageType.REQUEST])
    assert await coordinator.unsubscribe(WORLD, []) == 0
    assert await coordinator.unsubscribe(WORLD, [MessageType.EVENT, MessageType.RESPONSE]) == 1
    assert await coordinator.unsubscribe(WORLD) == 1
    assert await coordinator.unsubscribe(WORLD) == 0
