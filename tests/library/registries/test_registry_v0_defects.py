"""Each defect of v0's registry: shown on a model of v0's steps, and gone here.

Every test runs the same story twice. The first half must show the defect, or the test proves nothing.
"""

# ruff: noqa: ANN401 - clients are of any kind here

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.library.registries.agents import Capabilities, Capability, FakeAgent
from tests.library.registries.conftest import TTL_S, MakeRegistry
from tests.library.registries.test_liveness import ONE, names, sweep
from tests.library.registries.v0_registry import V0Registry
from tests.library.support.commands import Send, intercept
from tests.library.support.servers import Lane, RealLane, RealServer
from tests.library.support.waiting import eventually
from tta_agent_coordination import AgentId, AgentRegistryError, RedisAgentRegistry
from tta_agent_coordination.testing import ManualClock


async def test_register_is_visible_when_it_returns(make_registry: MakeRegistry, client: Any) -> None:
    """Broken: whoever registers cannot know from when on others see it."""
    old, listed = V0Registry(client), asyncio.Event()

    async def slow(send: Send, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Let the write wait, which v0 sends from a task of its own: a busy server would."""
        if args[0] == "SET":
            await listed.wait()
        return await send(*args, **options)

    with intercept(client, slow):
        old.register(FakeAgent())
        assert await old.list_registered() == []
        listed.set()
        await asyncio.gather(*old.tasks)
    assert len(await old.list_registered()) == 1
    await old._delete(ONE)

    registry = make_registry()
    await registry.register(FakeAgent())
    assert len(await registry.list_registered()) == 1


async def test_crashed_agent_leaves_the_index(
    make_registry: MakeRegistry, client: Any, clock: ManualClock
) -> None:
    """Broken: the index grows with every crash, for ever, and each list looks every one of them up."""
    old = V0Registry(client, ttl_s=0.001)
    old.register(FakeAgent(instance="v0"))
    await asyncio.gather(*old.tasks)
    await eventually("v0's key is gone", lambda: _gone(client, "ao:agents:world:v0"))
    assert await client.smembers("ao:agents:index") == {b"ao:agents:world:v0"}

    crashed, other = make_registry(), make_registry()
    await crashed.register(FakeAgent())
    for _ in range(2):
        clock.advance(TTL_S)
        await sweep(other)
    assert b"ao:agents:world:1" not in await client.smembers("ao:agents:index")
    # What v0 processes leave goes too, once it was without a key for longer than a TTL.
    membership = other._membership
    for due in (0.0, 0.0):
        membership._prune_due = due
        membership._missing = {name: at - TTL_S for name, at in membership._missing.items()}
        await sweep(other)
    assert await client.exists("ao:agents:index") == 0


async def _gone(client: Any, key: str) -> bool:
    return not await client.exists(key)


async def test_reader_with_a_skewed_clock_sees_the_living(make_registry: MakeRegistry, client: Any) -> None:
    """Broken: a reader whose clock is a minute ahead takes everybody for dead."""
    writer = V0Registry(client)
    writer.register(FakeAgent(instance="v0"))
    await asyncio.gather(*writer.tasks)
    ahead = V0Registry(client, wall=lambda: writer._wall() + 60)
    assert [entry["alive"] for entry in await ahead.list_registered()] == [False]

    ours = make_registry()
    await ours.register(FakeAgent())
    fast = ManualClock(ours._clock.now_us() if ours._clock else 0)
    reader = make_registry()
    reader._clock = fast  # what this process believes; the store's scripts keep the server's
    fast.advance(60)
    assert await names(reader) == {"world:1": "alive", "world:v0": "alive"}


async def test_old_process_leaves_its_replacement(make_registry: MakeRegistry, client: Any) -> None:
    """Broken: the old process of a rolling restart deregisters the new one."""
    old, new = V0Registry(client), V0Registry(client)
    old.register(FakeAgent())
    new.register(FakeAgent())
    await asyncio.gather(*old.tasks, *new.tasks)
    old.deregister(ONE)
    await asyncio.gather(*old.tasks)
    assert await new.list_registered() == []

    ours, theirs = make_registry(), make_registry()
    await ours.register(FakeAgent())
    await theirs.register(FakeAgent())
    await ours.deregister(ONE)
    assert len(await theirs.list_registered()) == 1


async def test_deregister_during_a_heartbeat_leaves_no_ghost(
    make_registry: MakeRegistry, client: Any, lane: Lane
) -> None:
    """Broken: a heartbeat that is under way writes an agent back that has just left."""
    agent = FakeAgent(instance="v0")
    old = V0Registry(client)
    old.register(agent)
    await asyncio.gather(*old.tasks)
    agent.hang = asyncio.Event()
    beating = asyncio.create_task(old.heartbeat_once())
    await asyncio.sleep(0)
    old.deregister(agent.agent_id)
    await asyncio.gather(*old.tasks)
    agent.hang.set()
    await beating
    assert await client.exists("ao:agents:world:v0") == 1
    await client.delete("ao:agents:world:v0")

    for when in ("before", "after"):
        own = lane.client()
        registry = make_registry(client=own)
        await registry.register(FakeAgent())
        reached, go_on = asyncio.Event(), asyncio.Event()

        async def held_up(
            send: Send,
            args: tuple[Any, ...],
            options: dict[str, Any],
            *,
            when: str = when,
            reached: asyncio.Event = reached,
            go_on: asyncio.Event = go_on,
        ) -> Any:
            if reached.is_set():
                return await send(*args, **options)
            reached.set()
            answer = await send(*args, **options) if when == "after" else None
            await go_on.wait()
            return answer or await send(*args, **options)

        with intercept(own, held_up):
            beat = asyncio.create_task(sweep(registry))
            await reached.wait()
            left = registry.deregister(ONE)
            await left
            go_on.set()
            await beat
        assert await registry.list_registered() == []
        assert await client.exists("ao:agents:world:1") == 0


async def test_slow_agent_does_not_expire_the_others(make_registry: MakeRegistry, client: Any) -> None:
    """Broken: the agents behind one that hangs in export_state get no heartbeat and expire."""
    slow, quick = FakeAgent(instance="slow"), FakeAgent(instance="quick")
    old = V0Registry(client)
    for agent in (slow, quick):
        old.register(agent)
    await asyncio.gather(*old.tasks)
    slow.hang = asyncio.Event()
    seen = quick.uptime
    beating = asyncio.create_task(old.heartbeat_once())
    await asyncio.sleep(0)
    await client.ping()
    assert quick.uptime == seen
    slow.hang.set()
    await beating

    slow.hang = None
    registry = make_registry()
    for agent in (slow, quick):
        await registry.register(agent)
    slow.hang = asyncio.Event()
    seen, own = quick.uptime, slow.uptime
    await registry._membership.beat()
    assert quick.uptime > seen
    assert slow.uptime > own
    slow.hang.set()


async def test_outage_raises_and_is_never_nobody(private_server: RealServer) -> None:
    """Broken: while the store is away a router finds no agents, and acts on it."""
    lane = RealLane(port=private_server.port)
    options: dict[str, Any] = {"socket_timeout": 0.2, "retry": None, "socket_connect_timeout": 0.2}
    old, registry = V0Registry(lane.client(**options)), RedisAgentRegistry(lane.client(**options))
    await registry.register(FakeAgent())
    private_server.end()
    assert await old.list_registered() == []
    for question in (
        registry.list_registered,
        registry.snapshot_async,
        registry.get_all_agents,
        registry.list_all_capabilities,
        registry.find_by_capability,
        lambda: registry.get_agent_info("world:1"),
        lambda: registry.liveness(ONE),
        lambda: registry.get_agent_capabilities(ONE),
        lambda: registry.restore_state_if_available(FakeAgent()),
        lambda: registry.set_draining(ONE),
    ):
        with pytest.raises(AgentRegistryError):
            await question()
    await registry.aclose()
    await lane.close()


async def test_heartbeat_loop_survives_a_change_during_a_round(
    make_registry: MakeRegistry, client: Any
) -> None:
    """Broken: the loop ends for good when an agent registers while it awaits."""
    agents = [FakeAgent(instance=f"v{number}") for number in range(2)]
    old = V0Registry(client)
    for agent in agents:
        old.register(agent)
    await asyncio.gather(*old.tasks)
    agents[0].hang = asyncio.Event()
    agents[0].hung = 0
    loop = asyncio.create_task(old.heartbeat_loop(0.001))
    await eventually("it hangs in the first agent", lambda: agents[0].hung == 1)
    old.agents["another"] = agents[1]
    agents[0].hang.set()
    await eventually("v0's loop has ended", lambda: old.loop_ended)
    await loop

    registry = make_registry(clock=None, heartbeat_interval_s=0.001)
    first = FakeAgent()
    await registry.register(first)
    await registry.start_heartbeats()
    for number in range(2, 12):
        registry.register(FakeAgent(instance=str(number)))
        await asyncio.sleep(0)
    seen = first.uptime
    await eventually("the loop goes on", lambda: first.uptime > seen + 3)
    for number in range(2, 12):
        await registry.deregister(AgentId(type="world", instance=str(number)))
    assert set(await names(registry)) - {"world:v0", "world:v1"} == {"world:1"}


async def test_agent_with_capabilities_is_registered(make_registry: MakeRegistry, client: Any) -> None:
    """Broken: in v0 any agent that advertised a set could not be written as JSON, and was not registered."""
    agent = FakeAgent()
    said = Capabilities(agent_id=agent.agent_id, capabilities=[Capability(name="draw")])
    agent.state = {"capabilities": said}
    old = V0Registry(client)
    old.register(agent)
    assert isinstance((await asyncio.gather(*old.tasks, return_exceptions=True))[0], TypeError)

    agent.state, agent.capabilities = {}, said
    registry = make_registry()
    await registry.register(agent)
    assert [found.score for found in await registry.find_by_capability("draw")] == [1.0]
