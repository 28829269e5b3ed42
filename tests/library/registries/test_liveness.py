"""Who is alive, who is suspect, who is dead, and who says so: the contract, on every server."""

# ruff: noqa: ANN401 - clients are of any kind here

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.library.registries.agents import FakeAgent
from tests.library.registries.conftest import TTL_S, MakeRegistry
from tests.library.support.servers import Lane, RealLane
from tests.library.support.waiting import eventually
from tta_agent_coordination import AgentEvent, AgentId, Liveness, RedisAgentRegistry
from tta_agent_coordination.registries._liveness import (
    GUARD_FROM,
    dies_at,
    is_mass_lapse,
    liveness,
)
from tta_agent_coordination.testing import ManualClock

ONE = AgentId(type="world", instance="1")


def noting(registry: RedisAgentRegistry) -> list[AgentEvent]:
    """Return a list that gets each death this registry found."""
    deaths: list[AgentEvent] = []

    async def note(event: AgentEvent) -> None:
        deaths.append(event)

    registry.add_death_callback(note)
    return deaths


async def sweep(registry: RedisAgentRegistry) -> None:
    """Heartbeat once, and wait for what follows from it."""
    await registry._membership.beat()
    await registry._tasks.settle()


async def names(registry: RedisAgentRegistry) -> dict[str, str]:
    """Return name and liveness of everybody listed."""
    return {entry["name"]: entry["liveness"] for entry in await registry.list_registered()}


async def test_agent_is_alive_then_suspect_then_dead(
    make_registry: MakeRegistry, clock: ManualClock, client: Any
) -> None:
    """Broken: a crashed agent stays in the index for ever, or a slow one is gone at once."""
    ours, theirs = make_registry(), make_registry()
    deaths = noting(theirs)
    await ours.register(FakeAgent())
    clock.advance(TTL_S - 0.001)
    await sweep(theirs)
    assert await names(theirs) == {"world:1": "alive"}
    clock.advance(0.001)
    assert await names(theirs) == {"world:1": "suspect"}
    await client.delete("ao:agents:world:1")  # its time in Redis is one TTL
    await sweep(theirs)
    (entry,) = await theirs.list_registered()
    assert (entry["liveness"], entry["alive"]) == ("suspect", False)
    assert (await theirs.get_agent_info("world:1") or {})["alive"] is False
    clock.advance(TTL_S - 0.001)
    await sweep(theirs)
    assert await names(theirs) == {"world:1": "suspect"}
    assert deaths == []
    clock.advance(0.001)
    assert await theirs.liveness(ONE) is Liveness.DEAD
    assert await names(theirs) == {}
    assert await theirs.get_agent_info("world:1") is None
    await sweep(theirs)
    assert [event.epoch for event in deaths] == [ours.epoch_of(ONE)]
    assert deaths[0].heartbeat_age == 2 * TTL_S
    assert await client.exists("ao:agents:index", "ao:registry:members", "ao:registry:suspects") == 0
    assert await theirs.liveness(ONE) is Liveness.UNKNOWN


async def test_one_death_is_found_by_one_process(make_registry: MakeRegistry, clock: ManualClock) -> None:
    """Broken: a death is handled as often as there are processes."""
    await make_registry().register(FakeAgent())
    watching = [make_registry() for _ in range(5)]
    found = [noting(registry) for registry in watching]
    for _ in range(8):
        clock.advance(TTL_S / 3)
        await asyncio.gather(*(sweep(registry) for registry in watching))
    assert sum(map(len, found)) == 1


async def test_heartbeat_in_time_keeps_an_agent_alive(
    make_registry: MakeRegistry, clock: ManualClock
) -> None:
    """Broken: agents that heartbeat die."""
    ours, theirs = make_registry(), make_registry()
    await ours.register(FakeAgent())
    deaths = noting(theirs)
    for _ in range(12):
        clock.advance(TTL_S / 3)
        await sweep(ours)
        await sweep(theirs)
        assert await names(theirs) == {"world:1": "alive"}
    assert deaths == []


async def test_suspect_that_heartbeats_is_alive_again(
    make_registry: MakeRegistry, clock: ManualClock
) -> None:
    """Broken: a pause ends an agent."""
    ours, theirs = make_registry(), make_registry()
    await ours.register(FakeAgent())
    epoch = ours.epoch_of(ONE)
    clock.advance(TTL_S)
    await sweep(theirs)
    await sweep(ours)
    assert await names(theirs) == {"world:1": "alive"}
    assert ours.epoch_of(ONE) == epoch
    clock.advance(TTL_S * 0.9)
    await sweep(theirs)
    assert await names(theirs) == {"world:1": "alive"}


async def test_suspect_that_drains_and_heartbeats_is_alive_again(
    make_registry: MakeRegistry, clock: ManualClock
) -> None:
    """Broken: draining hides that an agent is suspect, so its next heartbeat does not save it."""
    ours, theirs = make_registry(), make_registry()
    await ours.register(FakeAgent())
    deaths = noting(theirs)
    for draining in (True, False):
        clock.advance(TTL_S)
        await sweep(theirs)
        assert await ours.set_draining(ONE, draining=draining) is True
        for _ in range(3):
            await sweep(ours)
            clock.advance(TTL_S * 0.9)
            await sweep(theirs)
        (entry,) = await theirs.list_registered()
        assert (entry["liveness"], entry["draining"]) == ("alive", draining)
    assert deaths == []


async def test_agent_declared_dead_that_lives_registers_again_under_a_new_epoch(
    make_registry: MakeRegistry, clock: ManualClock
) -> None:
    """Broken: after a long pause an agent is gone for good, or comes back under the epoch that died."""
    ours, theirs = make_registry(), make_registry()
    await ours.register(FakeAgent())
    before = ours.epoch_of(ONE)
    for _ in range(2):
        clock.advance(TTL_S)
        await sweep(theirs)
    assert await names(theirs) == {}
    await sweep(ours)
    after = ours.epoch_of(ONE)
    assert before is not None
    assert after is not None
    assert after > before
    assert await names(theirs) == {"world:1": "alive"}


async def test_found_late_is_not_dead_at_once(make_registry: MakeRegistry, clock: ManualClock) -> None:
    """Broken: after an outage the first process that is back declares all others dead."""
    ours, theirs = make_registry(), make_registry()
    await ours.register(FakeAgent())
    deaths = noting(theirs)
    clock.advance(10 * TTL_S)
    await sweep(theirs)
    await sweep(ours)
    assert deaths == []
    assert await names(theirs) == {"world:1": "alive"}
    clock.advance(TTL_S)
    await sweep(theirs)
    clock.advance(TTL_S)
    await sweep(theirs)
    assert len(deaths) == 1


async def test_half_of_twenty_lapsing_together_holds_deaths_back(
    make_registry: MakeRegistry, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: a store that stood still empties the registry."""
    caplog.set_level(logging.WARNING)
    ours, theirs = make_registry(), make_registry()
    for number in range(10):
        await ours.register(FakeAgent(instance=f"a{number}"))
        await theirs.register(FakeAgent(instance=f"b{number}"))
    deaths = noting(theirs)
    async with theirs.watch() as watch:
        for _ in range(6):  # two TTLs until they are due, and nearly two that deaths wait
            clock.advance(TTL_S / 2)
            await sweep(theirs)
        clock.advance(TTL_S - 0.001)
        await sweep(theirs)
        assert deaths == []
        states = await names(theirs)
        assert sorted(states.values()) == ["alive"] * 10 + ["suspect"] * 10
        clock.advance(0.001)
        await sweep(theirs)
        assert len(deaths) == 10
        kinds = [(await anext(watch)).kind.value for _ in range(21)]
    assert kinds.count("expiry_paused") == 1
    assert kinds.count("died") == 10
    assert len(await names(theirs)) == 10
    assert sum("lapsed together" in record.message for record in caplog.records) == 1


@pytest.mark.parametrize(("here", "lapsing"), [(9, 10), (11, 10)])
async def test_fewer_than_twenty_or_fewer_than_half_die_in_time(
    make_registry: MakeRegistry, clock: ManualClock, here: int, lapsing: int
) -> None:
    """Broken: the guard keeps the dead of an ordinary crash."""
    ours, theirs = make_registry(), make_registry()
    for number in range(lapsing):
        await ours.register(FakeAgent(instance=f"a{number}"))
    for number in range(here):
        await theirs.register(FakeAgent(instance=f"b{number}"))
    deaths = noting(theirs)
    for _ in range(4):
        clock.advance(TTL_S / 2)
        await sweep(theirs)
    assert len(deaths) == lapsing


async def test_pause_ends_when_the_lapsed_are_back(make_registry: MakeRegistry, clock: ManualClock) -> None:
    """Broken: one mass lapse hides the next one, or keeps later dead for ever."""
    ours, theirs = make_registry(), make_registry()
    for number in range(10):
        await ours.register(FakeAgent(instance=f"a{number}"))
        await theirs.register(FakeAgent(instance=f"b{number}"))
    deaths = noting(theirs)
    for _ in range(5):
        clock.advance(TTL_S / 2)
        await sweep(theirs)
    await sweep(ours)
    await sweep(theirs)
    assert await theirs._redis.exists("ao:registry:pause") == 0
    await ours.deregister(AgentId(type="world", instance="a9"))
    for _ in range(4):
        clock.advance(TTL_S / 2)
        await sweep(theirs)
    assert len(deaths) == 9
    assert [entry["alive"] for entry in await theirs.list_registered()] == [True] * 10


async def test_many_deaths_take_several_scripts(
    make_registry: MakeRegistry, clock: ManualClock, client: Any
) -> None:
    """Broken: one script takes away thousands and blocks the server, or some are never taken away."""
    ours, theirs = make_registry(), make_registry()
    await ours.register(FakeAgent())
    member = await client.hget("ao:registry:members", "world:1")
    ghosts = {f"world:x{number}": member for number in range(450)}
    await client.hset("ao:registry:members", mapping=ghosts)
    due = await client.zscore("ao:registry:due", "world:1")
    await client.zadd("ao:registry:due", dict.fromkeys(ghosts, due))
    deaths = noting(theirs)
    for _ in range(8):
        clock.advance(TTL_S / 2)
        await sweep(theirs)
    assert len(deaths) == 451
    assert await client.hlen("ao:registry:members") == 0


async def test_clocks_a_minute_apart_do_not_matter(
    real_lane: RealLane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a reader whose clock is a minute ahead sees everybody dead, or the dead alive."""
    ours, theirs = RedisAgentRegistry(real_lane.client()), RedisAgentRegistry(real_lane.client())
    real = time.time
    for skew in (-60.0, 60.0):
        monkeypatch.setattr(time, "time", lambda skew=skew: real() + skew)
        await ours.register(FakeAgent())
        monkeypatch.setattr(time, "time", lambda skew=skew: real() - skew)
        await sweep(theirs)
        assert await names(theirs) == {"world:1": "alive"}
        assert (await theirs.get_agent_info("world:1") or {})["alive"] is True


async def test_heartbeats_run_until_they_are_stopped(make_registry: MakeRegistry) -> None:
    """Broken: heartbeats are never sent, or go on after they were stopped."""
    registry = make_registry(clock=None, heartbeat_interval_s=0.01)
    agent = FakeAgent()
    await registry.register(agent)
    first = registry.start_heartbeats()
    task = registry._membership._heartbeats
    registry.start_heartbeats()
    assert registry._membership._heartbeats is task
    await first
    seen = agent.uptime
    await eventually("three more heartbeats", lambda: agent.uptime > seen + 3)
    stopped = registry.stop_heartbeats()
    await stopped
    assert task is not None
    assert task.done()
    await registry.stop_heartbeats()
    await registry.start_heartbeats()
    await registry.aclose()


def test_without_a_loop_heartbeats_are_not_started(
    sync_lane: tuple[asyncio.Runner, Lane], caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: v0 made a loop that nobody runs."""
    _, lane = sync_lane
    registry = RedisAgentRegistry(lane.client())
    registry.start_heartbeats()
    registry.start_periodic_health_checks()
    assert caplog.text.count("running event loop") == 2
    registry.stop_heartbeats()


async def test_loop_survives_whatever_an_agent_does(
    make_registry: MakeRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: the heartbeat loop dies on the first surprise, and everybody with it."""

    class Odd(FakeAgent):
        def status_snapshot(self) -> dict[str, Any]:
            raise RuntimeError("odd")

    registry = make_registry(clock=None, heartbeat_interval_s=0.01)
    odd, sound = Odd(instance="odd"), FakeAgent()
    odd.agent_id = AgentId(type="world", instance="odd")
    await registry.register(odd)
    await registry.register(sound)
    await registry.start_heartbeats()
    seen = sound.uptime
    await eventually("three more heartbeats", lambda: sound.uptime > seen + 3)
    assert {entry["name"] for entry in await registry.list_registered()} == {"world:odd", "world:1"}
    assert caplog.text.count("status_snapshot failed") == 1


async def test_surprise_inside_a_heartbeat_does_not_end_the_loop(
    make_registry: MakeRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: one exception that nobody thought of ends heartbeats for good."""
    registry = make_registry(clock=None, heartbeat_interval_s=0.01)
    agent = FakeAgent()
    await registry.register(agent)
    beat, rounds = registry._membership.beat, 0

    async def surprising() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            raise RuntimeError("dictionary changed size during iteration")
        await beat()

    registry._membership.beat = surprising  # type: ignore[method-assign]
    await registry.start_heartbeats()
    assert rounds == 2
    assert "next one is tried" in caplog.text


# The decisions themselves.


@given(age=st.integers(-10, 400), ttl=st.integers(1, 100), paused=st.booleans())
def test_liveness_follows_the_age(age: int, ttl: int, paused: bool) -> None:
    """Broken: the borders of alive, suspect and dead move."""
    found = liveness(seen_us=1000, ttl_us=ttl, now_us=1000 + age, paused=paused)
    expected = Liveness.ALIVE if age < ttl else Liveness.SUSPECT if age < 2 * ttl or paused else Liveness.DEAD
    assert found is expected
    if not paused:
        assert liveness(seen_us=1000, ttl_us=ttl, now_us=1000 + age) is expected


def test_lapsed_agent_dies_one_ttl_later_and_never_at_once() -> None:
    """Broken: who is found late has no time to come back."""
    assert dies_at(due_us=100, ttl_us=30, now_us=100) == 130
    assert dies_at(due_us=100, ttl_us=30, now_us=115) == 130
    assert dies_at(due_us=100, ttl_us=30, now_us=500) == 515
    assert dies_at(due_us=100, ttl_us=31, now_us=500) == 515, "a score is whole microseconds"


def test_mass_lapse_takes_twenty_and_a_half() -> None:
    """Broken: a handful of agents is never protected from an ordinary crash, and half of many is a crash."""
    assert not is_mass_lapse(total=GUARD_FROM - 1, lapsed=GUARD_FROM - 1)
    assert is_mass_lapse(total=GUARD_FROM, lapsed=GUARD_FROM // 2)
    assert not is_mass_lapse(total=GUARD_FROM, lapsed=GUARD_FROM // 2 - 1)
