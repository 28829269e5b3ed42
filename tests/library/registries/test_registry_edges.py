"""Rare turns of the registry: odd records, two loops, what is closed while it works."""

# ruff: noqa: ANN401 - clients and commands are of any kind here

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.library.registries.agents import Capabilities, Capability, FakeAgent
from tests.library.registries.conftest import TTL_S, MakeRegistry
from tests.library.registries.test_liveness import ONE, names, sweep
from tests.library.support.commands import Send, intercept
from tests.library.support.proxy import faulty_proxy
from tests.library.support.servers import Lane, RealLane
from tests.library.support.waiting import eventually
from tta_agent_coordination import (
    AgentEventKind,
    AgentId,
    AgentRegistry,
    AgentRegistryError,
    Liveness,
    RedisAgentRegistry,
)
from tta_agent_coordination.testing import ManualClock


async def test_member_whose_entry_is_broken_is_listed_by_name(
    make_registry: MakeRegistry, client: Any
) -> None:
    """Broken: one bad text hides an agent, or ends the list."""
    registry = make_registry()
    await registry.register(FakeAgent())
    member = await client.hget("ao:registry:members", "world:1")
    head = member[: member.index(b"{")]
    for broken in (b"{", b"[]", b'{"agent_id": 7}'):
        await client.hset("ao:registry:members", "world:1", head + broken)
        (entry,) = await registry.list_registered()
        assert entry["agent_id"] == {"type": "world", "instance": "1"}
        assert entry["alive"] is True
        assert await registry.restore_state_if_available(FakeAgent()) is False


async def test_v0_agents_are_listed_and_odd_keys_passed_over(
    make_registry: MakeRegistry, client: Any
) -> None:
    """Broken: during the change-over, v0's agents are not seen, or noise in the index ends the list."""
    entry = {"name": "old", "agent_id": {"type": "old", "instance": "1"}, "status": {}, "last_heartbeat": 1.0}
    await client.set("ao:agents:old:1", json.dumps(entry | {"state": {"a": 1}}))
    await client.set("ao:agents:bad:1", "{")
    keys = [
        "ao:agents:old:1",
        "ao:agents:bad:1",
        "ao:agents:gone:1",
        "elsewhere",
        b"ao:agents:\xff:1",
        "ao:agents:a",
    ]
    await client.sadd("ao:agents:index", *keys)
    registry = make_registry()
    assert await names(registry) == {"old": "alive"}
    assert (await registry.get_agent_info("old:1") or {})["epoch"] is None
    assert await registry.liveness(AgentId(type="old", instance="1")) is Liveness.ALIVE
    assert await registry.get_agent_info("bad:1") is None
    heir = FakeAgent("old")
    await registry.register(heir)
    assert heir.imported == [{"a": 1}]
    assert len(await registry.list_registered()) == 1


async def test_what_v0_renews_in_between_stays_in_the_index(make_registry: MakeRegistry, client: Any) -> None:
    """Broken: a v0 process that stalls for a moment is never seen again; it adds itself but once."""
    registry = make_registry()
    membership = registry._membership
    await client.sadd("ao:agents:index", "ao:agents:old:1")
    await sweep(registry)
    assert list(membership._missing) == ["old:1"]
    await sweep(registry)  # not due yet
    await client.set("ao:agents:old:1", "{}")
    membership._prune_due = 0.0
    await sweep(registry)
    assert membership._missing == {}
    assert await client.sismember("ao:agents:index", "ao:agents:old:1")


async def test_prune_leaves_who_came_back_meanwhile(make_registry: MakeRegistry, client: Any) -> None:
    """Broken: between looking and taking away a process came back, and is taken away."""
    registry = make_registry()
    membership = registry._membership
    for name in ("key", "member", "gone"):
        await client.sadd("ao:agents:index", f"ao:agents:{name}:1")
    await sweep(registry)
    membership._prune_due = 0.0
    membership._missing = {name: at - 2 * TTL_S for name, at in membership._missing.items()}

    async def come_back(send: Send, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        answer = await send(*args, **options)
        if args[0] == "MGET":
            await client.set("ao:agents:key:1", "{}")
            await client.hset("ao:registry:members", "member:1", "1|1|1||idle|{}")
        return answer

    with intercept(registry._redis, come_back):
        await sweep(registry)
    assert await client.smembers("ao:agents:index") == {b"ao:agents:key:1", b"ao:agents:member:1"}
    await client.delete("ao:registry:members")


async def test_draining_and_capabilities_of_who_is_not_registered(make_registry: MakeRegistry) -> None:
    """Broken: a call for an agent that is not here does something."""
    ours, theirs = make_registry(), make_registry()
    assert await ours.set_draining(ONE) is False
    assert ours.is_draining(ONE) is False
    assert ours.epoch_of(ONE) is None
    await ours.register(FakeAgent())
    await theirs.register(FakeAgent())
    record = ours._membership.records["world:1"]
    record.closed, record.epoch = True, None
    assert await ours.set_draining(ONE) is False
    said = Capabilities(agent_id=ONE, capabilities=[Capability(name="draw")])
    assert await ours.register_capabilities(ONE, said) is False
    assert await theirs.list_all_capabilities() == []


async def test_draining_lasts_over_a_new_registration(
    make_registry: MakeRegistry, clock: ManualClock
) -> None:
    """Broken: an agent that drains, and was taken for dead meanwhile, gets new work again."""
    ours, theirs = make_registry(), make_registry()
    await ours.register(FakeAgent())
    await ours.set_draining(ONE)
    clock.advance(TTL_S)
    await sweep(theirs)
    await sweep(ours)
    assert (await theirs.list_registered())[0]["draining"] is True
    await theirs._delete(ONE)
    await sweep(ours)
    (entry,) = await theirs.list_registered()
    assert entry["draining"] is True
    await ours.set_draining(ONE, draining=False)
    assert (await theirs.list_registered())[0]["draining"] is False


async def test_agent_whose_name_is_not_json_has_no_heartbeat_and_hurts_nobody(
    make_registry: MakeRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: one agent that cannot be written keeps all others from it."""
    registry = make_registry()
    odd, sound = FakeAgent(instance="odd"), FakeAgent()
    await registry.register(odd)
    await registry.register(sound)
    odd.name = object()  # type: ignore[assignment]
    seen = sound.uptime
    await sweep(registry)
    assert sound.uptime > seen
    assert "has no heartbeat" in caplog.text


async def test_sweeping_ends_for_this_round(
    make_registry: MakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a registry that is swept by many, and lapses faster, keeps one process sweeping for ever."""
    from tta_agent_coordination.registries import _membership  # noqa: PLC0415 - only here

    monkeypatch.setattr(_membership, "SWEEPS", 2)
    registry = make_registry()
    client: Any = registry._redis
    await client.zadd("ao:registry:due", {f"x:{number}": 1 for number in range(1000)})
    await sweep(registry)
    assert await client.zcard("ao:registry:due") == 600
    await client.delete("ao:registry:due")


async def test_closing_does_not_wait_for_an_agent_that_hangs(make_registry: MakeRegistry) -> None:
    """Broken: one agent that never says its state keeps a process from ending."""
    registry, slow = make_registry(), FakeAgent()
    await registry.register(slow)
    slow.hang = asyncio.Event()
    await registry._membership.beat()
    await eventually("it is asked", lambda: slow.hung == 1)
    await asyncio.wait_for(registry.aclose(), timeout=3)
    assert registry._membership.records["world:1"].export is not None


async def test_closing_that_is_cancelled_ends_the_health_checks_all_the_same(
    make_registry: MakeRegistry,
) -> None:
    """Broken: a time limit around the end of a block leaves a task that checks agents for ever."""
    registry = make_registry()
    registry.start_periodic_health_checks()
    registry.start_heartbeats()
    closing = asyncio.create_task(registry.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])
    await eventually("its tasks have ended", lambda: asyncio.all_tasks() == {asyncio.current_task()})


def test_two_loops_one_after_the_other(sync_lane: tuple[asyncio.Runner, Lane]) -> None:
    """Broken: what an earlier loop left is waited for, and never ends."""
    runner, lane = sync_lane
    registry = RedisAgentRegistry(lane.client())

    async def begin() -> None:
        registry.start_heartbeats()
        registry.register(FakeAgent())

    with asyncio.Runner() as other:
        other.run(begin())

    async def go_on() -> None:
        await registry.stop_heartbeats()
        record = registry._membership.records["world:1"]
        await registry._membership.registered(record)
        await registry.start_heartbeats()
        await registry.deregister(ONE)
        await registry.aclose()

    runner.run(go_on())


def test_representations_show_state() -> None:
    """Broken: a debugger shows addresses."""
    registry = RedisAgentRegistry(object())
    registry.register(FakeAgent())
    assert repr(registry) == "RedisAgentRegistry('ao', ttl=30 s, 1 agents)"
    assert repr(registry._membership) == "Membership(1 agents)"
    assert "epoch=None" in repr(registry._membership.records["world:1"])
    assert "'ao'" in repr(registry._store)
    assert "0 running" in repr(registry._tasks)
    assert "0 waiting" in repr(registry._membership._relay)
    assert repr(AgentRegistry()) == "AgentRegistry(0 agents)"


async def test_watch_that_loses_its_connection_for_good_tries_again(
    real_lane: RealLane, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: a client without retries leaves a watcher dead, or silent about what it missed."""
    async with faulty_proxy(real_lane.port) as proxy:
        lane = RealLane(port=proxy.port)
        registry = RedisAgentRegistry(lane.client(retry=None))
        async with registry.watch() as watch:
            await registry.register(FakeAgent())
            assert (await anext(watch)).kind is AgentEventKind.REGISTERED
            proxy.break_connections()
            event = await asyncio.wait_for(anext(watch), timeout=20)
            assert event.kind is AgentEventKind.MISSED
            witness = RedisAgentRegistry(real_lane.client())
            await witness.register(FakeAgent(instance="2"))
            assert (await asyncio.wait_for(anext(watch), timeout=20)).kind is AgentEventKind.REGISTERED
        await registry.aclose()
        await witness.aclose()
        await lane.close()
    assert caplog.text.count("no subscription") <= 1


async def test_watch_waits_for_a_store_that_is_away(make_registry: MakeRegistry, lane: Lane) -> None:
    """Broken: a watcher that is started during an outage fails instead of waiting for its end."""
    own = lane.client()
    registry = make_registry(client=own)
    anything: Any = own
    pubsub, away = anything.pubsub, 2

    def failing() -> Any:
        nonlocal away
        made: Any = pubsub()
        if away:
            away -= 1

            async def refuse(*_: Any) -> None:
                raise RedisConnectionError("away")

            made.subscribe = refuse
            made.aclose = refuse
        return made

    anything.pubsub = failing
    async with registry.watch() as watch:
        assert (await anext(watch)).kind is AgentEventKind.MISSED
        await registry.register(FakeAgent())
        assert (await anext(watch)).kind is AgentEventKind.REGISTERED


async def test_watch_that_is_cancelled_while_it_starts_leaves_nothing(real_lane: RealLane) -> None:
    """Broken: a cancelled start keeps a connection."""
    registry = RedisAgentRegistry(real_lane.client())
    watch = registry.watch()
    task = asyncio.create_task(watch.start())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "closed" in repr(watch)


async def test_command_that_the_store_refuses_raises(make_registry: MakeRegistry, client: Any) -> None:
    """Broken: v0's part of the list fails silently."""
    registry = make_registry()
    await client.set("ao:agents:index", "x")
    with pytest.raises(AgentRegistryError):
        await registry.list_registered()
    await client.delete("ao:agents:index")


async def test_command_that_was_overtaken_says_so(make_registry: MakeRegistry) -> None:
    """Broken: a command that came too late reads as done."""
    registry = make_registry()
    await registry.register(FakeAgent())
    await registry._membership.beat()
    registry._store._sequence = itertools.count(1)
    with pytest.raises(AgentRegistryError, match="overtook"):
        await registry._membership.beat()
