"""The registry's own names: what they refuse, what they pass on to a membership, and what they ask of it."""

# ruff: noqa: ANN401 - clients and options are of any kind here

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis.asyncio as aioredis

from tests.library.registries.agents import Capabilities, Capability, FakeAgent
from tests.library.registries.conftest import TTL_S, MakeRegistry
from tests.library.registries.test_liveness import ONE, sweep
from tests.library.support.commands import Send, count_commands, intercept
from tests.library.support.waiting import eventually
from tta_agent_coordination import AgentEvent, AgentEventKind, AgentId, Liveness, RedisAgentRegistry
from tta_agent_coordination.registries.redis_agent_registry import MAX_TTL_S, MIN_TTL_S
from tta_agent_coordination.testing import ManualClock


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"heartbeat_ttl_s": 0}, "heartbeat_ttl_s must be a number in [0.001, 3.1536e+07], not 0"),
        ({"heartbeat_ttl_s": 4e7}, "heartbeat_ttl_s must be a number in [0.001, 3.1536e+07], not 40000000.0"),
        ({"heartbeat_interval_s": 0}, "heartbeat_interval_s must be a number in (0, 3.1536e+07], not 0"),
        (
            {"heartbeat_interval_s": 4e7},
            "heartbeat_interval_s must be a number in (0, 3.1536e+07], not 40000000.0",
        ),
    ],
)
def test_number_that_means_nothing_is_refused_by_name(options: dict[str, Any], said: str) -> None:
    """Broken: whoever misspells a setting is told of another one, or of other bounds."""
    with pytest.raises(ValueError, match="must be a number") as caught:
        RedisAgentRegistry(object(), **options)
    assert str(caught.value) == said


@pytest.mark.parametrize("seconds", [MIN_TTL_S, MAX_TTL_S])
def test_bounds_of_the_ttl_and_of_the_interval_are_allowed(seconds: float) -> None:
    """Broken: the last number that the documentation allows is refused."""
    registry = RedisAgentRegistry(object(), heartbeat_ttl_s=seconds, heartbeat_interval_s=seconds)
    assert (registry._ttl, registry._hb_interval_s, registry._membership._interval_s) == (seconds,) * 3


def test_cluster_client_needs_hash_tags() -> None:
    """Broken: the first script fails with CROSSSLOT, in production."""
    cluster = aioredis.RedisCluster.__new__(aioredis.RedisCluster)
    with pytest.raises(ValueError, match=r"^a cluster client needs hash_tags=True"):
        RedisAgentRegistry(cluster)
    assert repr(RedisAgentRegistry(cluster, hash_tags=True)) == "RedisAgentRegistry('ao', ttl=30 s, 0 agents)"


async def test_health_is_timed_by_the_clock_that_was_given(
    make_registry: MakeRegistry, clock: ManualClock
) -> None:
    """Broken: a test cannot move the time in which restarts are counted."""
    registry = make_registry()
    assert registry._now() == clock.now_us() / 1_000_000


class Giving:
    """Notes whose leases were to be given back."""

    def __init__(self) -> None:
        self.asked: list[tuple[AgentId, int]] = []

    async def return_leases(self, agent_id: AgentId, owner: int) -> int:
        """Note it."""
        self.asked.append((agent_id, owner))
        return 0


async def test_leases_of_each_dead_are_asked_for_once_a_coordinator(make_registry: MakeRegistry) -> None:
    """Broken: leases come back by their end only; or each worker that starts doubles their cost."""
    registry = make_registry()
    one, other = Giving(), Giving()
    for coordinator in (one, other, one, other):
        registry.return_leases_through(coordinator)  # pyright: ignore[reportArgumentType] - what it needs of one
    died = AgentEvent(kind=AgentEventKind.DIED, agent_id=ONE, epoch=7)
    for event in (died, died.model_copy(update={"agent_id": None})):
        registry._membership._happened(event)
    await registry._tasks.settle()
    assert one.asked == other.asked == [(ONE, 7)]


async def test_whoever_listens_is_told_of_draining_until_it_ends(make_registry: MakeRegistry) -> None:
    """Broken: a worker goes on while its agent drains, or is called after it has gone."""
    registry = make_registry()
    two = AgentId(type="world", instance="2")
    for agent_id in (ONE, two):
        await registry.register(FakeAgent(instance=agent_id.instance))
    told: list[tuple[str, bool]] = []
    end = registry.on_draining(ONE, lambda draining: told.append(("first", draining)))
    registry.on_draining(ONE, lambda draining: told.append(("second", draining)))
    registry.on_draining(two, lambda draining: told.append(("other", draining)))
    assert await registry.set_draining(ONE) is True
    assert (registry.is_draining(ONE), registry.is_draining(two)) == (True, False)
    assert [str(agent.agent_id) for agent in registry.discover("world")] == ["world:2"]
    end()
    assert await registry.set_draining(ONE, draining=False) is True
    assert (registry.is_draining(ONE), len(registry.discover("world"))) == (False, 2)
    assert told == [("first", True), ("second", True), ("second", False)]


async def test_view_of_liveness_is_that_of_the_last_heartbeat(
    make_registry: MakeRegistry, clock: ManualClock
) -> None:
    """Broken: a sender is told nothing, something old, or each question costs a command."""
    ours, theirs = make_registry(), make_registry()
    await ours.register(FakeAgent())
    look = theirs.liveness_view()
    assert look("world:1") == Liveness.UNKNOWN.value == "unknown"
    await sweep(theirs)
    with count_commands(theirs._redis) as counted:
        assert (look("world:1"), look("world:2")) == ("alive", "unknown")
        assert theirs.liveness_view()("world:1") == "alive"
    assert counted.names == []
    clock.advance(TTL_S)
    await sweep(theirs)
    assert look("world:1") == "suspect"


async def test_deleting_an_agent_of_ours_is_one_command(make_registry: MakeRegistry) -> None:
    """Broken: it is taken away once by its epoch and once by its name."""
    registry = make_registry()
    await registry.register(FakeAgent())
    with count_commands(registry._redis) as counted:
        await registry._delete(ONE)
    assert counted.names.count("EVALSHA") - counted.names.count("SCRIPT LOAD") == 1
    assert await registry.list_registered() == []


async def test_deleting_waits_for_a_registration_that_is_on_its_way(make_registry: MakeRegistry) -> None:
    """Broken: the registration arrives after it was taken away, and stays until it lapses."""
    registry, sent, go_on = make_registry(), asyncio.Event(), asyncio.Event()
    writes = 0

    async def hold(send: Send, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        nonlocal writes
        writes += 1
        if writes == 2:  # behind the question for a predecessor
            sent.set()
            await go_on.wait()
        return await send(*args, **options)

    with intercept(registry._redis, hold):
        registry.register(FakeAgent())
        await sent.wait()
        deleting = asyncio.create_task(registry._delete(ONE))
        for _ in range(20):
            await asyncio.sleep(0)
        seen = writes
        go_on.set()
        await deleting
        assert seen == 2
    assert await registry.list_registered() == []


async def test_set_that_is_none_is_named_by_its_class(make_registry: MakeRegistry) -> None:
    """Broken: whoever hands over the wrong model is told of another class."""
    with pytest.raises(ValueError, match=r"^Capability is no set of capabilities: it needs a list"):
        await make_registry().register_capabilities(ONE, Capability(name="draw"))


async def test_capabilities_given_by_hand_are_told_at_once_and_nobody_is_swept(
    make_registry: MakeRegistry, clock: ManualClock, client: Any
) -> None:
    """Broken: they wait for a heartbeat; or whoever advertises declares others suspect meanwhile."""
    ours, theirs = make_registry(), make_registry()
    await theirs.register(FakeAgent(instance="2"))
    await ours.register(FakeAgent())
    clock.advance(TTL_S)
    said = Capabilities(agent_id=ONE, capabilities=[Capability(name="sing")])
    assert await ours.register_capabilities(AgentId(type="world", instance="2"), said) is False
    assert await ours.register_capabilities(ONE, said) is True
    assert await client.exists("ao:registry:suspects") == 0
    info = await theirs.get_agent_info(ONE)
    assert info is not None
    assert (info["agent_type"], info["instance"]) == ("world", "1")
    assert info["last_heartbeat"] == clock.now_us() / 1_000_000
    assert await theirs.get_agent_capabilities(ONE) == said.model_dump(mode="json")


async def test_predecessors_state_goes_to_the_agent_it_is_restored_for(
    make_registry: MakeRegistry,
) -> None:
    """Broken: who restores by hand restores nothing, or the state of somebody else."""
    registry, old, new = make_registry(), FakeAgent(), FakeAgent()
    old.state = {"step": 3}
    await registry.register(old)
    assert await registry.restore_state_if_available(new) is True
    assert new.imported == [{"step": 3}]


async def test_deregistering_twice_starts_one_step(make_registry: MakeRegistry) -> None:
    """Broken: each wait for the end takes the agent away once more."""
    registry = make_registry()
    await registry.register(FakeAgent())
    record = registry._membership.records["world:1"]
    left = registry.deregister(ONE)
    step = record.step
    await left
    await left
    assert record.step is step
    assert registry._membership._leaving == []
    await eventually("nothing runs", lambda: "0 running" in repr(registry._tasks))
