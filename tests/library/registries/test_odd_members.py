"""A registry beside what none of our scripts wrote, and on a server that is full or back with older data."""

# ruff: noqa: ANN401 - clients and answers are of any kind here

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.library.registries.agents import Capabilities, Capability, FakeAgent
from tests.library.registries.conftest import TTL_S, MakeRegistry
from tests.library.registries.test_liveness import ONE, names, noting, sweep
from tests.library.support.servers import RealLane, RealServer
from tta_agent_coordination import AgentEventKind, AgentId, RedisAgentRegistry
from tta_agent_coordination.testing import ManualClock

MEMBERS = "ao:registry:members"
LONG = "9" * 400
"""A number that no float holds."""


async def test_older_registration_that_a_restart_brings_back_ends_nobody(
    make_registry: MakeRegistry, client: Any
) -> None:
    """Broken: after a failover that missed a registration, a living agent stops its heartbeats for good."""
    old, new = make_registry(), make_registry()
    await old.register(FakeAgent(name="old"))
    kept = await client.hget(MEMBERS, "world:1")
    await new.register(FakeAgent(name="new"))
    before = new.epoch_of(ONE)
    await client.hset(MEMBERS, "world:1", kept)
    await sweep(new)
    after = new.epoch_of(ONE)
    assert before is not None
    assert after is not None
    assert after > before
    await sweep(old)
    assert old.epoch_of(ONE) is None
    assert await names(new) == {"new": "alive"}


async def test_heartbeats_pass_on_a_full_server(private_server: RealServer, clock: ManualClock) -> None:
    """Broken: a full server refuses heartbeats, and whoever only watches declares living agents dead."""
    lane = RealLane(port=private_server.port)
    registry = RedisAgentRegistry(lane.client(), heartbeat_ttl_s=TTL_S, clock=clock)
    watcher = RedisAgentRegistry(lane.client(), heartbeat_ttl_s=TTL_S, clock=clock)
    await registry.register(FakeAgent())
    await sweep(registry)
    client: Any = lane.client()
    await client.execute_command("CONFIG", "SET", "maxmemory", "1")
    for _ in range(6):
        clock.advance(TTL_S / 2)
        await sweep(registry)
        await sweep(watcher)
    assert await names(watcher) == {"world:1": "alive"}
    await registry.aclose()
    await lane.close()


async def test_death_of_an_agent_with_a_bar_in_its_name_is_told(
    make_registry: MakeRegistry, clock: ManualClock
) -> None:
    """Broken: what stands between the fields of an event ends a name early, and nobody hears of it."""
    theirs, ours = make_registry(), make_registry()
    await theirs.register(FakeAgent("a|b", "1|2"))
    told = noting(ours)
    for _ in range(3):
        clock.advance(TTL_S)
        await sweep(ours)
    assert [event.agent_id for event in told] == [AgentId(type="a|b", instance="1|2")]


@pytest.mark.parametrize(
    "line",
    [
        f"died|1|{LONG}|world:1|0||",
        f"died|1|5|world:1|{LONG}||",
        f"died|{LONG}|5|world:1|0||",
        "died|1|5|world:1",
        "died|1|5|a b:1|0||",
    ],
    ids=["time", "heartbeat", "epoch", "short", "name"],
)
async def test_line_that_is_no_event_does_not_end_a_watch(
    make_registry: MakeRegistry, client: Any, line: str
) -> None:
    """Broken: one who publishes nonsense on the channel ends everybody's subscription."""
    registry = make_registry()
    async with registry.watch() as watch:
        await client.publish("ao:registry:events", line)
        await registry.register(FakeAgent())
        async with asyncio.timeout(30):
            assert (await anext(watch)).kind is AgentEventKind.REGISTERED


async def test_v0_agents_with_names_that_we_refuse_are_found(
    make_registry: MakeRegistry, client: Any
) -> None:
    """Broken: one agent of v0 called "player 1" hides all others from diagnostics and from a search."""
    draws = Capabilities(agent_id=ONE, capabilities=[Capability(name="draw")]).model_dump(mode="json")
    for key, agent_id in {
        "ao:agents:old:player 1": {"type": "old", "instance": "player 1"},
        "ao:agents:nobody:1": {"instance": "1"},
        "ao:agents:number:1": {"type": "number", "instance": 1},
    }.items():
        entry = {
            "name": "x",
            "agent_id": agent_id,
            "status": {},
            "last_heartbeat": 1.0,
            "capabilities": draws,
        }
        await client.set(key, json.dumps(entry))
        await client.sadd("ao:agents:index", key)
    registry = make_registry()
    agent = FakeAgent()
    agent.capabilities = Capabilities(agent_id=ONE, capabilities=[Capability(name="draw")])
    await registry.register(agent)
    assert sorted(await registry.get_all_agents()) == ["old:player 1", "world:1"]
    assert [str(match.agent_id) for match in await registry.find_by_capability("draw")] == [
        "old:player 1",
        "world:1",
    ]


async def test_member_without_a_name_of_ours_is_listed(
    make_registry: MakeRegistry, client: Any, clock: ManualClock
) -> None:
    """Broken: one field that somebody wrote into the hash of members ends every list."""
    registry = make_registry()
    await registry.register(FakeAgent())
    for name in ("nobody", "no body:default"):
        await client.hset(MEMBERS, name, f"1|30000000|{clock.now_us()}||idle|not JSON")
    ids = {entry["name"]: entry["agent_id"] for entry in await registry.list_registered()}
    assert ids["nobody"] == {"type": "nobody", "instance": None}
    assert ids["no body:default"] == {"type": "no body", "instance": None}
    assert "world:1" in ids


@pytest.mark.parametrize("held", ["nonsense", "inf", "-5", str(2**53), LONG])
async def test_last_epoch_that_is_no_number_stops_no_registration(
    make_registry: MakeRegistry, client: Any, clock: ManualClock, held: str
) -> None:
    """Broken: one damaged key, and no agent can register any more."""
    await client.set("ao:registry:clock", held)
    registry = make_registry()
    await registry.register(FakeAgent())
    assert registry.epoch_of(ONE) == clock.now_us()


async def test_pause_that_is_no_time_is_set_anew(
    make_registry: MakeRegistry, client: Any, clock: ManualClock
) -> None:
    """Broken: one damaged key, and nobody who lapsed is ever taken away, or listed."""
    theirs, ours = make_registry(), make_registry()
    for number in range(20):
        await theirs.register(FakeAgent(instance=str(number)))
    for held in ("nonsense", "²", LONG):
        await client.set("ao:registry:pause", held)
        assert len(await ours.list_registered()) == 20
    await client.delete("ao:registry:pause")
    await client.lpush("ao:registry:pause", "of the wrong type")
    for _ in range(8):
        clock.advance(TTL_S)
        await sweep(ours)
    assert await ours.list_registered() == []
    assert await client.hlen(MEMBERS) == 0


async def test_agent_is_known_by_its_id_as_by_its_name(make_registry: MakeRegistry) -> None:
    """Broken: the one method that takes a text fails inside on the id that all others take."""
    registry = make_registry()
    await registry.register(FakeAgent())
    known = await registry.get_agent_info("world:1")
    assert known is not None
    assert await registry.get_agent_info(ONE) == known
