"""Registering, listing and deregistering: the contract, on every server."""

# ruff: noqa: ANN401 - clients are of any kind here

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.library.registries.agents import FakeAgent
from tests.library.registries.conftest import TTL_S, MakeRegistry
from tests.library.support.commands import count_commands
from tests.library.support.servers import Lane
from tests.library.support.waiting import eventually
from tta_agent_coordination import AgentId, AgentRegistry, AgentRegistryError, Liveness, RedisAgentRegistry
from tta_agent_coordination._redis import registry_scripts
from tta_agent_coordination.testing import ManualClock

ONE = AgentId(type="world", instance="1")


async def test_registration_is_visible_to_others_once_it_was_awaited(make_registry: MakeRegistry) -> None:
    """Broken: nobody knows when an agent can be found."""
    ours, theirs = make_registry(), make_registry()
    await ours.register(FakeAgent())
    (entry,) = await theirs.list_registered()
    assert entry["name"] == "world:1"
    assert entry["alive"] is True
    assert entry["liveness"] == "alive"
    assert entry["epoch"] == ours.epoch_of(ONE)


async def test_registration_is_stored_without_being_awaited(make_registry: MakeRegistry, client: Any) -> None:
    """Broken: v0's callers do not await; their agents would never be stored."""
    make_registry().register(FakeAgent())
    await eventually("the agent is stored", lambda: client.exists("ao:agents:world:1"))


async def test_entry_has_v0s_form(make_registry: MakeRegistry, client: Any, clock: ManualClock) -> None:
    """Broken: a v0 process, or TTA's router, cannot read what we stored."""
    agent = FakeAgent(instance=None)
    await make_registry().register(agent)
    text = await client.get("ao:agents:world:default")
    entry = json.loads(text)
    assert list(entry) == ["name", "agent_id", "status", "last_heartbeat"]
    assert entry["name"] == "world:default"
    assert entry["agent_id"] == {"type": "world", "instance": None}
    assert entry["status"]["status"] == "idle"
    assert entry["last_heartbeat"] == clock.now_us() / 1_000_000
    assert await client.smembers("ao:agents:index") == {b"ao:agents:world:default"}
    assert 0 < await client.pttl("ao:agents:world:default") <= TTL_S * 1000


async def test_state_is_stored_when_there_is_some(make_registry: MakeRegistry, client: Any) -> None:
    """Broken: an empty state restores nothing, and v0 leaves it out."""
    agent = FakeAgent()
    agent.state = {"step": 3}
    await make_registry().register(agent)
    assert json.loads(await client.get("ao:agents:world:1"))["state"] == {"step": 3}


async def test_new_object_gets_the_old_ones_state_before_its_own_is_stored(
    make_registry: MakeRegistry, client: Any
) -> None:
    """Broken: a restarted agent begins from nothing, and writes that over what it should go on from."""
    old = FakeAgent()
    old.state = {"step": 3}
    await make_registry().register(old)
    new = FakeAgent()
    await make_registry().register(new)
    assert new.imported == [{"step": 3}]
    assert json.loads(await client.get("ao:agents:world:1"))["state"] == {"step": 3}


async def test_agent_that_refuses_its_state_is_registered_all_the_same(make_registry: MakeRegistry) -> None:
    """Broken: one bad state keeps an agent out for good."""

    class Refusing(FakeAgent):
        async def import_state(self, _: dict[str, Any], /) -> None:
            raise RuntimeError("not mine")

    old = FakeAgent()
    old.state = {"step": 3}
    await make_registry().register(old)
    registry = make_registry()
    await registry.register(Refusing())
    assert registry.epoch_of(ONE) is not None


async def test_deregistering_takes_everything_away(make_registry: MakeRegistry, client: Any) -> None:
    """Broken: what is left makes the agent look suspect, then dead."""
    registry = make_registry()
    await registry.register(FakeAgent())
    await registry.deregister(ONE)
    assert await registry.list_registered() == []
    assert registry.get(ONE) is None
    left = {key for key in await client.keys("*") if not key.startswith(b"ao:registry:op:")}
    assert left <= {b"ao:registry:clock"}


async def test_deregistering_what_is_not_here_touches_nobody(make_registry: MakeRegistry) -> None:
    """Broken: a process takes away what another one registered."""
    await make_registry().register(FakeAgent())
    other = make_registry()
    await other.deregister(ONE)
    assert len(await other.list_registered()) == 1


async def test_deleting_by_hand_takes_away_whatever_it_is(make_registry: MakeRegistry) -> None:
    """Broken: TTA's component deletes agents by this name, whoever registered them."""
    ours, theirs = make_registry(), make_registry()
    await ours.register(FakeAgent())
    await theirs.register(FakeAgent(instance="2"))
    for agent_id in (ONE, AgentId(type="world", instance="2")):
        await theirs._delete(agent_id)
    assert await theirs.list_registered() == []


async def test_register_then_deregister_at_once_leaves_nothing(make_registry: MakeRegistry) -> None:
    """Broken: the two run in the background; in the wrong order the agent stays for ever."""
    registry = make_registry()
    registry.register(FakeAgent())
    await registry.deregister(ONE)
    assert await registry.list_registered() == []
    registry.register(FakeAgent())
    registry.deregister(ONE)
    await registry.register(FakeAgent())
    assert len(await registry.list_registered()) == 1


async def test_second_object_of_one_id_takes_the_place_of_the_first(make_registry: MakeRegistry) -> None:
    """Broken: an agent that is replaced in its process loses its registration."""
    registry = make_registry()
    await registry.register(FakeAgent())
    first = registry.epoch_of(ONE)
    again = FakeAgent()
    await registry.register(again)
    second = registry.epoch_of(ONE)
    assert first is not None
    assert second is not None
    assert second > first
    assert registry.get(ONE) is again
    await registry._membership.beat()
    assert (await registry.list_registered())[0]["epoch"] == second


async def test_info_and_map_of_all_agents_have_v0s_form(make_registry: MakeRegistry) -> None:
    """Broken: TTA's diagnostics read these names; v0 listed a missing instance as `type:None`."""
    registry = make_registry()
    agent = FakeAgent(instance=None)
    agent.state = {"a": 1}
    await registry.register(agent)
    everybody = await registry.get_all_agents()
    assert list(everybody) == ["world:default"]
    info = await registry.get_agent_info("world:default")
    assert info is not None
    assert {key: value for key, value in info.items() if key != "status"} == {
        "agent_type": "world",
        "instance": None,
        "name": "world:default",
        "alive": True,
        "last_heartbeat": everybody["world:default"]["last_heartbeat"],
        "capabilities": None,
        "state": {"a": 1},
        "liveness": "alive",
        "epoch": registry.epoch_of(agent.agent_id),
        "draining": False,
    }
    assert await registry.get_agent_info("world:2") is None
    assert await registry.get_agent_info("world") is None
    assert await registry.get_agent_info("a b:c") is None


async def test_snapshot_joins_this_process_and_everybody(make_registry: MakeRegistry) -> None:
    """Broken: TTA's diagnostics show both sides."""
    ours, theirs = make_registry(), make_registry()
    await ours.register(FakeAgent())
    await theirs.register(FakeAgent(instance="2"))
    snapshot = await ours.snapshot_async()
    assert list(snapshot["local"]) == ["world:1"]
    assert sorted(entry["name"] for entry in snapshot["redis_index"]) == ["world:1", "world:2"]


async def test_listing_goes_over_many_pages(make_registry: MakeRegistry, client: Any) -> None:
    """Broken: agents beyond the first page are not seen."""
    registry = make_registry()
    await registry.register(FakeAgent())
    member = await client.hget("ao:registry:members", "world:1")
    copies = {f"world:{n}": member.replace(b'"1"', f'"{n}"'.encode()) for n in range(2, 1_201)}
    await client.hset("ao:registry:members", mapping=copies)
    with count_commands(registry._redis) as counted:
        assert len({entry["agent_id"]["instance"] for entry in await registry.list_registered()}) == 1_200
    assert counted.names.count("EVALSHA") > 1
    assert len(await registry.get_all_agents()) == 1_200


async def test_registry_is_an_agent_registry(make_registry: MakeRegistry) -> None:
    """Broken: TTA uses the inherited methods; v0's discover raised on the Redis registry."""
    registry = make_registry()
    assert isinstance(registry, AgentRegistry)
    agent = FakeAgent()
    await registry.register(agent)
    assert registry.discover("world") == [agent]
    assert registry.all() == [agent]
    assert (await registry.detect_and_recover())["checked"] == 1


async def test_works_with_a_client_that_decodes(make_registry: MakeRegistry, lane: Lane) -> None:
    """Broken: half of all clients are made with decode_responses."""
    registry = make_registry(client=lane.client(decode_responses=True))
    agent = FakeAgent()
    agent.state = {"text": "ü"}
    await registry.register(agent)
    (entry,) = await registry.list_registered()
    assert entry["state"] == {"text": "ü"}
    await registry.deregister(ONE)


def test_without_a_loop_registering_is_local_until_it_is_awaited_or_heartbeated(
    sync_lane: tuple[asyncio.Runner, Lane],
) -> None:
    """Broken: v0 blocked with asyncio.run, which breaks every client that is bound to another loop."""
    runner, lane = sync_lane
    registry = RedisAgentRegistry(lane.client())
    agent, other = FakeAgent(), FakeAgent(instance="2")
    pending = registry.register(agent)
    registry.register(other)
    assert registry.get(ONE) is agent

    async def rest() -> None:
        assert await registry.list_registered() == []
        await pending
        assert len(await registry.list_registered()) == 1
        await registry.start_heartbeats()
        await eventually("the other is registered", lambda: registry.epoch_of(other.agent_id) is not None)
        await registry.aclose()

    runner.run(rest())
    left = registry.deregister(ONE)
    registry.deregister(other.agent_id)

    async def leave() -> None:
        await left
        assert len(await registry.list_registered()) == 1
        await registry.start_heartbeats()
        await registry.aclose()
        assert await registry.list_registered() == []

    runner.run(leave())


async def test_hash_tags_put_the_prefix_in_braces(make_registry: MakeRegistry, client: Any) -> None:
    """Broken: on a cluster the keys of one registry lie in different slots."""
    registry = make_registry(hash_tags=True)
    await registry.register(FakeAgent())
    await registry._membership.beat()
    assert len(await registry.list_registered()) == 1
    assert all(key.startswith(b"{ao}:") for key in await client.keys("*"))
    await registry.deregister(ONE)
    await client.flushall()


async def test_liveness_of_an_agent_nobody_knows_is_unknown(make_registry: MakeRegistry) -> None:
    """Broken: never registered and dead are different things."""
    registry = make_registry()
    assert await registry.liveness(ONE) is Liveness.UNKNOWN
    await registry.register(FakeAgent())
    assert await registry.liveness(ONE) is Liveness.ALIVE


@pytest.mark.parametrize(
    "options",
    [
        {"heartbeat_ttl_s": 0},
        {"heartbeat_ttl_s": float("nan")},
        {"heartbeat_ttl_s": -1},
        {"heartbeat_interval_s": 0},
        {"heartbeat_interval_s": float("inf")},
        {"key_prefix": ""},
        {"key_prefix": "a b"},
    ],
)
async def test_bad_arguments_are_refused(make_registry: MakeRegistry, options: dict[str, Any]) -> None:
    """Broken: a TTL that means nothing is found out in the script, or never."""
    with pytest.raises(ValueError, match=r"heartbeat|key_prefix"):
        make_registry(**options)


async def test_heartbeat_interval_is_a_third_of_the_ttl_and_a_second_at_least(
    make_registry: MakeRegistry,
) -> None:
    """Broken: v0's default."""
    assert make_registry(heartbeat_ttl_s=30)._hb_interval_s == 10
    assert make_registry(heartbeat_ttl_s=1)._hb_interval_s == 1
    assert make_registry(heartbeat_interval_s=0.2)._hb_interval_s == 0.2


async def test_a_thousand_heartbeats_are_one_command(make_registry: MakeRegistry) -> None:
    """Broken: the round trips of heartbeats grow with the agents."""
    registry = make_registry()
    membership = registry._membership
    await membership.beat()  # the server has the script
    for number in range(1_001):
        record = membership.add(FakeAgent(instance=str(number)))
        record.restored, record.epoch = True, 1
        record.closed = True  # its registration is not what is counted
    await registry._tasks.settle()
    membership._prune_due = float("inf")
    with count_commands(registry._redis) as counted:
        await membership.beat()
    assert counted.names == ["EVALSHA"] * 2


async def test_heartbeats_of_many_come_before_the_sweep(
    make_registry: MakeRegistry, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: agents that do not fit into the first script are swept as suspects by their own process."""
    monkeypatch.setattr(registry_scripts, "AGENTS_A_SCRIPT", 2)
    registry = make_registry()
    async with registry.watch() as watch:
        for number in range(5):
            await registry.register(FakeAgent(instance=str(number)))
        clock.advance(TTL_S)
        await registry._membership.beat()
        await registry.deregister(ONE)
        told = [(await anext(watch)).kind.value for _ in range(6)]
    assert told == ["registered"] * 5 + ["deregistered"]


async def test_deleting_what_nobody_registered_is_told_to_nobody(make_registry: MakeRegistry) -> None:
    """Broken: watchers hear that somebody left who was never there."""
    registry = make_registry()
    async with registry.watch() as watch:
        await registry._delete(ONE)
        await registry.register(FakeAgent())
        assert (await anext(watch)).kind.value == "registered"


async def test_state_that_is_not_json_leaves_the_last_one(make_registry: MakeRegistry, client: Any) -> None:
    """Broken: one field that JSON has no form for takes an agent out of the registry."""
    agent = FakeAgent()
    agent.state = {"a": 1}
    registry = make_registry()
    await registry.register(agent)
    agent.state = {"a": object()}
    await registry._membership.beat()
    await registry._tasks.settle()
    await registry._membership.beat()
    assert json.loads(await client.get("ao:agents:world:1"))["state"] == {"a": 1}


async def test_store_that_refuses_raises(make_registry: MakeRegistry, client: Any) -> None:
    """Broken: an error of the store reads as an answer."""
    registry = make_registry()
    await client.set("ao:registry:members", "x")
    with pytest.raises(AgentRegistryError):
        await registry.list_registered()
    await client.delete("ao:registry:members")
