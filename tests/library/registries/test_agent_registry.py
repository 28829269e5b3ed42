"""The registry in memory: found, checked, restarted within a policy whose lockout ends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.library.registries.agents import FakeAgent
from tests.library.support.waiting import eventually
from tta_agent_coordination import Agent, AgentId, AgentRegistry
from tta_agent_coordination.registries import agent_registry
from tta_agent_coordination.registries._restart import (
    RestartHistory,
    RestartPolicy,
    after_attempt,
    may_restart,
)
from tta_agent_coordination.testing import ManualClock

ONE = AgentId(type="world", instance="1")


class Kind(StrEnum):
    """TTA's kinds of agents."""

    WORLD = "world"


def test_agents_are_found_by_id_and_type() -> None:
    """Broken: v0's names."""
    registry = AgentRegistry()
    agent, other = FakeAgent(), FakeAgent(instance=None)
    registry.register(agent)
    registry.register(other)
    registry.register(FakeAgent("input"))
    assert registry.get(AgentId(type=Kind.WORLD, instance="1")) is agent
    assert registry.get(AgentId(type="world", instance="default")) is other
    assert registry.get(AgentId(type="world", instance="9")) is None
    assert registry.discover("world") == registry.discover(Kind.WORLD) == [agent, other]
    assert len(registry.all()) == 3
    assert list(registry.snapshot()) == ["world:1", "world:default", "input:1"]
    agent.stop()
    other.set_degraded(True)
    assert registry.discover("world") == []
    registry.deregister(ONE)
    registry.deregister(ONE)
    assert registry.get(ONE) is None
    assert "2 agents" in repr(registry)


async def test_answers_can_be_awaited() -> None:
    """Broken: code that works with both registries awaits."""
    async with AgentRegistry() as registry:
        await registry.register(FakeAgent())
        await registry.deregister(ONE)
        await registry.stop_periodic_health_checks()


def test_mocks_can_be_made_of_it() -> None:
    """Broken: TTA's tests use Mock(spec=AgentRegistry)."""
    mock = Mock(spec=AgentRegistry)
    mock.get(ONE)
    with pytest.raises(AttributeError):
        mock.no_such_method()


async def test_health_decides_who_is_degraded() -> None:
    """Broken: an agent that is well is not used, or one that is not."""
    registry = AgentRegistry()
    agents = {name: FakeAgent(instance=name) for name in ("well", "new", "ill", "raising", "odd")}
    agents["new"].health = {"status": "initializing"}
    agents["ill"].health = {"status": "down"}
    agents["raising"].health = RuntimeError()
    agents["odd"].health = 7  # type: ignore[assignment]
    agents["well"].set_degraded(True)
    for agent in agents.values():
        registry.register(agent)
    results = await registry.run_health_checks_once()
    assert results["world:well"] == {"status": "healthy"}
    assert results["world:raising"] == {"status": "error", "error": "RuntimeError"}
    assert results["world:odd"]["status"] == "error"
    assert [name for name, agent in agents.items() if agent.degraded] == ["ill", "raising", "odd"]


async def test_agent_that_hangs_in_its_check_counts_as_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: one agent that hangs keeps all others unchecked."""

    class Hanging(FakeAgent):
        async def health_check(self) -> dict[str, Any]:
            await asyncio.Event().wait()
            return {}

        def set_degraded(self, _: bool, /) -> None:
            raise RuntimeError("no")

    monkeypatch.setattr(agent_registry, "HEALTH_TIMEOUT_S", 0.01)
    registry = AgentRegistry()
    registry.register(Hanging())
    registry.register(FakeAgent(instance="2"))
    results = await registry.run_health_checks_once()
    assert results["world:1"] == {"status": "error", "error": "TimeoutError"}
    assert results["world:2"] == {"status": "healthy"}


async def test_periodic_checks_run_until_they_are_stopped(caplog: pytest.LogCaptureFixture) -> None:
    """Broken: they are not run, die of a surprise, or cannot be stopped."""
    registry, agent = AgentRegistry(), FakeAgent()
    registry.register(agent)
    run, rounds = registry.run_health_checks_once, 0

    async def surprising() -> dict[str, Any]:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            raise RuntimeError("surprise")
        return await run()

    registry.run_health_checks_once = surprising  # type: ignore[method-assign]
    await registry.start_periodic_health_checks(interval_s=3600)
    task = registry._health_task
    await registry.stop_periodic_health_checks()
    assert task is not None
    assert task.cancelled()
    await registry.start_periodic_health_checks(interval_s=0.001)
    task = registry._health_task
    await registry.start_periodic_health_checks(interval_s=0.002)
    assert registry._health_task is task
    await eventually("the agent was asked twice", lambda: agent.asked >= 2)
    assert "next one is tried" in caplog.text
    await registry.aclose()
    assert task is not None
    assert task.cancelled()
    with pytest.raises(ValueError, match="interval_s"):
        registry.start_periodic_health_checks(interval_s=0)


def test_checks_of_a_loop_that_is_gone_do_not_hinder() -> None:
    """Broken: TTA starts and stops in different event loops."""
    registry = AgentRegistry()

    async def start() -> None:
        registry.start_periodic_health_checks(3600)

    asyncio.run(start())

    async def stop() -> None:
        registry.start_periodic_health_checks(3600)
        await registry.aclose()

    asyncio.run(stop())
    registry.stop_periodic_health_checks()


def restarts(registry: AgentRegistry, outcomes: Sequence[bool | Exception] = ()) -> list[Agent]:
    """Let restarts end like this, one after the other; return who was restarted."""
    asked: list[Agent] = []
    left = list(outcomes)

    async def restart(agent: Agent) -> bool:
        asked.append(agent)
        outcome = left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    registry.set_restart_callback(restart)
    return asked


async def test_failing_agent_is_restarted_within_the_policy(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: restarts come at once and for ever, or never again after the third failure."""
    registry, agent = AgentRegistry(clock=clock), FakeAgent()
    agent.health = {"status": "down"}
    registry.register(agent)
    asked = restarts(registry, [False, RuntimeError("no"), False, False, True])
    assert await registry.detect_and_recover() == {"checked": 1, "restarted": 0, "degraded": 1}
    for seconds, expected in ((9.9, 1), (0.1, 2), (19.9, 2), (0.1, 3), (59.9, 3), (0.1, 4), (59.9, 4)):
        clock.advance(seconds)
        await registry.detect_and_recover()
        assert len(asked) == expected
    assert "failures in a row" in caplog.text
    clock.advance(0.2)
    assert (await registry.detect_and_recover())["restarted"] == 1


async def test_agent_that_is_well_is_left_alone(clock: ManualClock) -> None:
    """Broken: agents that work are restarted."""
    registry, agent = AgentRegistry(clock=clock), FakeAgent()
    registry.register(agent)
    asked = restarts(registry)
    agent.set_degraded(True)
    assert await registry.detect_and_recover() == {"checked": 1, "restarted": 0, "degraded": 0}
    assert not agent.degraded
    agent.stop()
    registry.set_restart_callback(_true)
    assert await registry.detect_and_recover() == {"checked": 1, "restarted": 1, "degraded": 1}
    assert asked == []


async def _true(_: Agent) -> bool:
    return True


async def test_agent_that_left_while_it_was_checked_is_not_restarted() -> None:
    """Broken: an agent is brought back that was taken away on purpose."""
    registry = AgentRegistry()

    class Leaving(FakeAgent):
        async def health_check(self) -> dict[str, Any]:
            registry.deregister(self.agent_id)
            return {"status": "down"}

    registry.register(Leaving())
    asked = restarts(registry)
    assert await registry.detect_and_recover() == {"checked": 1, "restarted": 0, "degraded": 1}
    assert asked == []


async def test_agent_that_left_while_it_was_restarted_has_no_history() -> None:
    """Broken: its successor is held to its record."""
    registry, agent = AgentRegistry(), FakeAgent()
    agent.health = {"status": "down"}
    registry.register(agent)

    async def leaving(_: Agent) -> bool:
        registry.deregister(ONE)
        return False

    registry.set_restart_callback(leaving)
    await registry.detect_and_recover()
    assert registry._histories == {}


async def test_fallback_is_called_once_an_outage() -> None:
    """Broken: v0 kept the callback and never called it."""
    registry = AgentRegistry()
    failed, other = FakeAgent(), FakeAgent(instance="2")
    failed.health = {"status": "down"}
    calls: list[tuple[Agent, Agent]] = []
    outcomes: list[bool | Exception] = [RuntimeError("no"), False, True, True]

    async def fall_back(agent: Agent, instead: Agent) -> bool:
        calls.append((agent, instead))
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    registry.register(failed)
    registry.set_fallback_callback(fall_back)
    await registry.detect_and_recover()
    assert calls == []  # there is nobody to fall back to
    registry.register(other)
    for _ in range(5):
        await registry.detect_and_recover()
    assert calls == [(failed, other)] * 3
    failed.health = {"status": "healthy"}
    await registry.detect_and_recover()
    failed.health = {"status": "down"}
    await registry.detect_and_recover()
    assert len(calls) == 4


# The policy itself.

POLICY = RestartPolicy()


def test_five_restarts_in_a_minute_are_the_budget() -> None:
    """Broken: an agent that fails right after each restart is restarted for ever."""
    history = RestartHistory()
    for number in range(5):
        assert may_restart(history, 5.0 * number, POLICY)
        history = after_attempt(history, 5.0 * number, POLICY, succeeded=True)
    assert not may_restart(history, 25.0, POLICY)
    assert not may_restart(history, 60.0, POLICY)
    assert may_restart(history, 60.1, POLICY)


@given(
    outcomes=st.lists(st.tuples(st.floats(0, 200), st.booleans()), max_size=40),
)
def test_lockout_always_ends_and_spacing_always_holds(outcomes: list[tuple[float, bool]]) -> None:
    """Broken: v0's lockout could only be cleared by a success that it did not allow."""
    history, now, attempts = RestartHistory(), 0.0, list[float]()
    for wait, succeeded in outcomes:
        now += wait
        if may_restart(history, now, POLICY):
            history = after_attempt(history, now, POLICY, succeeded=succeeded)
            attempts.append(now)
    assert all(b - a >= POLICY.spacing_s for a, b in pairwise(attempts))
    for at in attempts:
        assert sum(at - POLICY.window_s <= other <= at for other in attempts) <= POLICY.budget
    assert may_restart(history, now + max(POLICY.lockout_s, POLICY.window_s, POLICY.longest_s) + 1, POLICY)


def test_growth_has_a_cap() -> None:
    """Broken: after many failures the wait overflows, or is days."""
    history = RestartHistory(attempts=(0.0,), failures=10_000)
    assert not may_restart(history, 59.9, POLICY)
    assert may_restart(history, 60.0, POLICY)
