"""What the registry waits for, what it does not, and what it reads in pages."""

# ruff: noqa: ANN401 - clients and messages are of any kind here

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.library.registries.agents import FakeAgent
from tests.library.registries.conftest import TTL_S, MakeRegistry
from tests.library.registries.test_liveness import names, sweep
from tests.library.support.servers import Lane
from tests.library.support.waiting import eventually
from tta_agent_coordination import AgentEventKind, Liveness, RedisAgentRegistry, RedisMessageCoordinator
from tta_agent_coordination.registries._tasks import ending
from tta_agent_coordination.testing import ManualClock


async def test_registration_waits_for_the_one_before_it(make_registry: MakeRegistry) -> None:
    """Broken: an older registration of the same name comes after the newer one, and takes its place."""
    registry, slow, quick = make_registry(), FakeAgent(name="slow"), FakeAgent(name="quick")
    slow.hang = asyncio.Event()
    first = registry.register(slow)
    await eventually("the first is asked for its state", lambda: slow.hung == 1)
    second = registry.register(quick)
    for _ in range(20):
        await asyncio.sleep(0)
    assert registry._membership.records["world:1"].epoch is None
    slow.hang.set()
    await asyncio.gather(first, second)
    assert await names(registry) == {"quick": "alive"}


def test_leaving_before_any_loop_ran_waits_for_nothing() -> None:
    """Broken: an agent that came and went before the loop began asks a store for it, or never ends."""
    registry, agent = RedisAgentRegistry(object()), FakeAgent()
    registry.register(agent)
    gone = registry.deregister(agent.agent_id)

    async def wait() -> None:
        await gone

    asyncio.run(wait())
    assert registry.all() == []


@pytest.mark.parametrize("name", ["a b:c", ""])
async def test_death_of_a_name_that_is_none_hurts_nobody(
    name: str, make_registry: MakeRegistry, lane: Lane, clock: ManualClock
) -> None:
    """Broken: a hostile member ends the sweep, or the callbacks of those who watch for deaths."""
    registry, deaths = make_registry(), list[Any]()
    client: Any = lane.client()
    coordinator = RedisMessageCoordinator(lane.client(), clock=clock)

    async def died(event: Any) -> None:
        deaths.append(event.agent_id)

    registry.return_leases_through(coordinator)
    registry.add_death_callback(died)
    await client.hset("ao:registry:members", name, f"5|{int(TTL_S * 1e6)}|{clock.now_us()}||idle|{{}}")
    await client.zadd("ao:registry:due", {name: clock.now_us()})
    for _ in range(6):
        clock.advance(TTL_S)
        await sweep(registry)
    assert await client.exists("ao:registry:members", "ao:registry:due", "ao:registry:suspects") == 0
    assert deaths == ([None] if name == "" else [])
    await coordinator.aclose()


async def test_many_agents_of_ours_and_of_v0_are_read_in_pages(
    make_registry: MakeRegistry, client: Any
) -> None:
    """Broken: only the first page of a large registry is seen."""
    registry = make_registry()
    for number in range(400):
        registry.register(FakeAgent("ours", str(number)))
    await registry._tasks.settle()
    v0 = [f"ao:agents:v0:{number}" for number in range(1_200)]
    await client.sadd("ao:agents:index", *v0)
    assert len(await registry._directory.index()) == 1_600
    view = await registry._directory.view()
    assert sorted(view) == sorted(f"ours:{number}" for number in range(400))
    assert set(view.values()) == {Liveness.ALIVE}
    assert len(await registry._directory.unrenewed()) == 1_200
    for number in range(400):
        registry.deregister(FakeAgent("ours", str(number)).agent_id)
    await registry._tasks.settle()
    await client.delete("ao:agents:index")


async def test_subscription_stands_only_when_the_server_has_said_so(
    make_registry: MakeRegistry, lane: Lane
) -> None:
    """Broken: an event between asking for the subscription and having it is missed without a word."""
    own: Any = lane.client()
    pubsub, silences = own.pubsub, 2

    def slow() -> Any:
        made: Any = pubsub()
        get = made.get_message

        async def get_message(**options: Any) -> Any:
            nonlocal silences
            if silences:
                silences -= 1
                return None
            return await get(**options)

        made.get_message = get_message
        return made

    own.pubsub = slow
    registry = make_registry(client=own)
    async with registry.watch() as watch:
        assert silences == 0
        await registry.register(FakeAgent())
        assert (await anext(watch)).kind is AgentEventKind.REGISTERED


async def test_watch_that_is_closed_while_it_waits_ends_without_a_word(
    make_registry: MakeRegistry, lane: Lane, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: closing a watch tells of a lost connection, and makes it again."""
    own: Any = lane.client()
    pubsub, waiting, closed = own.pubsub, asyncio.Event(), asyncio.Event()

    def wrapped() -> Any:
        made: Any = pubsub()
        get, close = made.get_message, made.aclose

        async def get_message(**options: Any) -> Any:
            message = await get(**options)
            if message is not None:
                return message
            waiting.set()
            await closed.wait()
            raise RuntimeError("pubsub connection not set")

        async def aclose() -> None:
            closed.set()
            await close()

        made.get_message, made.aclose = get_message, aclose
        return made

    own.pubsub = wrapped
    watch = make_registry(client=own).watch()
    await watch.start()

    async def follow() -> list[Any]:
        return [event async for event in watch]

    following = asyncio.create_task(follow())
    await waiting.wait()
    await watch.aclose()
    assert await asyncio.wait_for(following, timeout=10) == []
    assert "closed" in repr(watch)
    assert "subscription lost" not in caplog.text


async def test_ending_what_has_gone_meanwhile_waits_for_nothing() -> None:
    """Broken: whoever awaits the end of heartbeats late waits for a task that is no longer there."""

    async def endless() -> None:
        await asyncio.Event().wait()

    task = asyncio.create_task(endless())
    await asyncio.sleep(0)
    pending = ending(task)
    await asyncio.wait([task])
    await pending
    await pending
    assert task.cancelled()
