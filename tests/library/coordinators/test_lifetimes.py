"""Lifetimes: what a coordinator owns it ends, and it owns nothing between calls."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.library.support.builders import INPUT, WORLD, drain, make_message, take
from tests.library.support.commands import count_commands, intercept
from tests.library.support.peek import Peek
from tests.library.support.servers import Lane
from tta_agent_coordination import MessageType, RedisMessageCoordinator


def own_tasks() -> set[str]:
    """Return the names of all tasks but this one."""
    return {task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()}


async def test_no_task_outlives_the_last_call(lane: Lane) -> None:
    """Broken: without aclose, no task and no socket of ours outlives the last pending call."""
    coordinator = RedisMessageCoordinator(lane.client())
    before = own_tasks()
    await coordinator.send_message(INPUT, WORLD, make_message())
    received = await take(coordinator)
    await coordinator.ack(WORLD, received.token)
    await coordinator.subscribe_to_messages(WORLD, [MessageType.EVENT])
    assert own_tasks() == before


async def test_a_lone_send_makes_no_task(coordinator: RedisMessageCoordinator) -> None:
    """Broken: a lone call runs inline: no task is created for it."""
    loop, made = asyncio.get_running_loop(), list[Any]()

    def factory(
        loop: asyncio.AbstractEventLoop,
        coro: Any,  # noqa: ANN401 - whatever anybody starts
        **options: Any,  # noqa: ANN401 - whatever the loop adds
    ) -> asyncio.Task[Any]:
        made.append(coro)
        return asyncio.Task(coro, loop=loop, **options)

    await coordinator.send_message(INPUT, WORLD, make_message())
    loop.set_task_factory(factory)
    try:
        await coordinator.send_message(INPUT, WORLD, make_message())
    finally:
        loop.set_task_factory(None)
    assert made == []


async def test_aclose_can_be_repeated(lane: Lane) -> None:
    """Broken: closing twice, by hand and by `async with`, is harmless."""
    async with RedisMessageCoordinator(lane.client()) as coordinator:
        await coordinator.send_message(INPUT, WORLD, make_message())
        await coordinator.aclose()
    await coordinator.aclose()


async def test_aclose_leaves_the_callers_client_open(lane: Lane) -> None:
    """Broken: who made the client closes it."""
    client = lane.client()
    async with RedisMessageCoordinator(client) as coordinator:
        await coordinator.send_message(INPUT, WORLD, make_message())
    assert await Peek(client).raw("PING")


async def test_aclose_that_is_cancelled_closes_its_own_client(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a time limit around the end of a block leaves the sockets of `from_url` open."""
    client, closed = lane.client(), list[bool]()

    def give(_: str) -> object:
        return client

    monkeypatch.setattr("tta_agent_coordination.coordinators.redis_message_coordinator.from_url", give)

    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    async def close() -> None:
        closed.append(True)

    monkeypatch.setattr(client, "aclose", close)
    coordinator = RedisMessageCoordinator.from_url("redis://")
    with intercept(client, hang):
        coordinator.subscribe_to_messages(WORLD, [MessageType.EVENT])
        closing = asyncio.create_task(coordinator.aclose())
        await asyncio.sleep(0)
        assert closed == []
        closing.cancel()
        await asyncio.wait([closing])
        assert closing.cancelled()
        assert closed == [True]
        for task in coordinator._subscriptions._tasks:
            task.cancel()
    await coordinator.aclose()


async def test_aclose_waits_for_what_was_started(lane: Lane) -> None:
    """Broken: a subscription that is still being written is neither lost nor left running."""
    client = lane.client()
    coordinator = RedisMessageCoordinator(client)
    coordinator.subscribe_to_messages(WORLD, [MessageType.EVENT])
    before = own_tasks()
    await coordinator.aclose()
    assert await client.scard("ao:subs:world:1") == 1
    assert not [name for name in own_tasks() - before if "subscri" in name]


def test_construction_binds_to_no_loop(sync_lane: tuple[asyncio.Runner, Lane]) -> None:
    """Broken: a coordinator built before any loop runs works in the loop that comes."""
    runner, lane = sync_lane
    coordinator = RedisMessageCoordinator(lane.client())

    async def cycle() -> list[str]:
        await coordinator.send_message(INPUT, WORLD, make_message())
        return await drain(coordinator)

    assert runner.run(cycle()) == ["message-1"]


async def test_construction_sends_no_command(lane: Lane) -> None:
    """Broken: building an object talks to nobody."""
    client = lane.client()
    with count_commands(client) as counted:
        RedisMessageCoordinator(client)
    assert counted.names == []


async def test_each_operation_is_one_command(lane: Lane) -> None:
    """Broken: one operation, one script, one round trip; a full cycle costs three commands."""
    client = lane.client()
    coordinator = RedisMessageCoordinator(client)
    await coordinator.send_message(INPUT, WORLD, make_message())
    await coordinator.ack(WORLD, (await take(coordinator)).token)
    with count_commands(client) as counted:
        await coordinator.send_message(INPUT, WORLD, make_message())
        received = await take(coordinator)
        await coordinator.ack(WORLD, received.token)
    assert counted.names == ["EVALSHA"] * 3


@pytest.mark.parametrize("settle", ["nack", "release", "extend"])
async def test_each_settlement_is_one_command(lane: Lane, settle: str) -> None:
    """Broken: nack, release and extend are one script each, on entries that we wrote."""
    client = lane.client()
    coordinator = RedisMessageCoordinator(client)
    for _ in range(2):
        await coordinator.send_message(INPUT, WORLD, make_message())
    arguments: dict[str, Any] = {"extend": {"seconds": 5}}.get(settle, {})
    await getattr(coordinator, settle)(WORLD, (await take(coordinator)).token, **arguments)
    received = await take(coordinator)
    with count_commands(client) as counted:
        assert await getattr(coordinator, settle)(WORLD, received.token, **arguments)
    assert counted.names == ["EVALSHA"]


async def test_repr_shows_the_state(coordinator: RedisMessageCoordinator) -> None:
    """Broken: a coordinator in a log line says which one it is."""
    assert "ao" in repr(coordinator)
    assert "RedisMessageCoordinator" in repr(coordinator)
