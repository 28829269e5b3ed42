"""Rounds of health checks over several agents, and what is said of them: in virtual time.

When a restart is allowed is in `test_agent_registry.py`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any, cast

import pytest

from tests.library.registries.agents import FakeAgent
from tests.library.support.virtual import VirtualLoop, in_virtual_time
from tta_agent_coordination import Agent, AgentId, AgentRegistry
from tta_agent_coordination.testing import ManualClock

CENTURY_S = 100 * 365.25 * 86_400


class Kind(Enum):
    """Kinds of agents that are no texts."""

    WORLD = "world"


def run(main: Callable[[VirtualLoop], Awaitable[None]]) -> None:
    """Run a test in virtual time; no task may be left."""

    async def whole(loop: VirtualLoop) -> None:
        await main(loop)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    in_virtual_time(whole)


def registry_of(*agents: FakeAgent, clock: ManualClock | None = None) -> AgentRegistry:
    """Return a registry with some agents."""
    registry = AgentRegistry(clock=clock)
    for agent in agents:
        registry.register(agent)
    return registry


def ill(kind: str = "world", instance: str = "1") -> FakeAgent:
    """Return an agent that is not well."""
    agent = FakeAgent(kind, instance)
    agent.health = {"status": "down"}
    return agent


def test_agents_come_and_go_with_a_word(caplog: pytest.LogCaptureFixture) -> None:
    """Broken: an operator does not see which agents a process has."""
    registry = AgentRegistry()
    assert repr(registry) == "AgentRegistry(0 agents)"
    with caplog.at_level(logging.INFO):
        registry.register(FakeAgent(name="the world"))
        assert repr(registry) == "AgentRegistry(1 agents)"
        for _ in range(2):
            registry.deregister(AgentId(type="world", instance="1"))
    assert caplog.messages == ["Registered agent the world", "Deregistered agent the world"]


def test_agents_are_found_by_their_kind() -> None:
    """Broken: an enumeration's member finds nobody, or an agent that says nothing of itself is no use."""
    plain = FakeAgent(instance="2")
    del plain._running, plain._degraded
    agent = FakeAgent()
    registry = registry_of(agent, plain, FakeAgent("input"))
    kind = cast("str", Kind.WORLD)
    assert registry.discover(kind) == registry.discover("world") == [agent, plain]
    assert registry.discover("input:1") == []
    plain.set_degraded(True)
    assert registry.discover("world") == [agent]


def test_round_goes_over_all_agents_and_counts_them() -> None:
    """Broken: the agents behind the first one that is well, or that was replaced, are never restarted."""
    restarted: list[Agent] = []

    async def main(_: VirtualLoop) -> None:
        well, first, second, stopped = FakeAgent(instance="0"), ill(), ill("input"), FakeAgent(instance="9")
        stopped.stop()
        registry = registry_of(well, first, second, stopped)

        async def restart(agent: Agent) -> bool:
            restarted.append(agent)
            return True

        registry.set_restart_callback(restart)
        assert await registry.detect_and_recover() == {"checked": 4, "restarted": 3, "degraded": 3}
        assert restarted == [first, second, stopped]
        assert [agent.degraded for agent in (well, first, second, stopped)] == [False, True, True, True]
        marks: list[object] = []
        well.set_degraded = marks.append
        await registry.detect_and_recover()
        assert marks == [False]

    run(main)


def test_agent_that_was_replaced_while_it_was_checked_is_left_alone() -> None:
    """Broken: a successor is restarted for its predecessor, or the agents behind it are passed over."""
    restarted: list[Agent] = []

    async def main(_: VirtualLoop) -> None:
        old, last = ill(), ill("input")
        registry = registry_of(old, last)
        successor = FakeAgent()

        async def answer() -> dict[str, Any]:
            registry.register(successor)
            return {"status": "down"}

        async def restart(agent: Agent) -> bool:
            restarted.append(agent)
            return True

        old.health_check = answer
        registry.set_restart_callback(restart)
        assert await registry.detect_and_recover() == {"checked": 2, "restarted": 1, "degraded": 2}
        assert restarted == [last]

    run(main)


def test_restart_that_raises_is_told_and_counts_as_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    """Broken: an agent that cannot be restarted is tried for ever, or nobody hears why it is not."""
    clock = ManualClock()

    async def main(_: VirtualLoop) -> None:
        agent = ill()
        registry = registry_of(agent, clock=clock)
        tries = 0

        async def restart(_: Agent) -> bool:
            nonlocal tries
            tries += 1
            raise LookupError(f"fault {tries}")

        registry.set_restart_callback(restart)
        for _round in range(3):
            assert (await registry.detect_and_recover())["restarted"] == 0
            clock.advance(25)
        assert tries == 3
        await registry.detect_and_recover()
        assert tries == 3, "it is locked out"
        *failed, locked = caplog.messages
        assert failed == [
            f"Restarting agent world:1 failed: LookupError: fault {number}" for number in range(1, tries + 1)
        ]
        assert locked == "Agent world:1 is not restarted for 60 s after 3 failures in a row"
        registry.register(agent)
        await registry.detect_and_recover()
        assert tries == 4, "who registers again begins anew"

    run(main)


def test_restart_that_succeeds_begins_the_count_of_failures_anew(caplog: pytest.LogCaptureFixture) -> None:
    """Broken: an agent that fails now and then is locked out after a week."""
    clock = ManualClock()
    ends = [False, False, True, False, False, True]

    async def main(_: VirtualLoop) -> None:
        registry = registry_of(ill(), clock=clock)

        async def restart(_: Agent) -> bool:
            return ends.pop(0)

        registry.set_restart_callback(restart)
        restarted: list[int] = []
        while ends:
            restarted.append((await registry.detect_and_recover())["restarted"])
            clock.advance(61)
        assert restarted == [0, 0, 1, 0, 0, 1]

    run(main)
    assert caplog.messages == []


def test_nothing_is_kept_of_an_agent_that_went() -> None:
    """Broken: a process with many short-lived agents keeps something of each."""

    async def main(_: VirtualLoop) -> None:
        failed = ill()
        registry = registry_of(failed, FakeAgent(instance="2"), clock=ManualClock())

        async def no(*_: Agent) -> bool:
            return False

        async def yes(*_: Agent) -> bool:
            return True

        registry.set_restart_callback(no)
        registry.set_fallback_callback(yes)
        await registry.detect_and_recover()
        assert len(registry._histories) == len(registry._replaced) == 1
        registry.deregister(failed.agent_id)
        assert not registry._histories
        assert not registry._replaced

    run(main)


def test_without_callbacks_nothing_is_tried_and_agents_may_refuse_their_mark(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Broken: a registry that was told nothing fills the log, or one agent's fault ends a round."""

    async def main(_: VirtualLoop) -> None:
        refusing, last = ill(), ill(instance="3")

        def refuse(degraded: bool, /) -> None:
            raise LookupError(degraded)

        refusing.set_degraded = refuse
        registry = registry_of(refusing, FakeAgent(instance="2"), last)
        assert await registry.detect_and_recover() == {"checked": 3, "restarted": 0, "degraded": 2}
        assert last.degraded

    run(main)
    assert caplog.messages == ["Agent world:1 refused to be marked: LookupError: True"]


def test_check_that_takes_too_long_is_an_error() -> None:
    """Broken: one agent that hangs keeps the health of all others from being seen."""

    async def main(loop: VirtualLoop) -> None:
        slow, hanging = FakeAgent(instance="1"), FakeAgent(instance="2")

        async def late() -> dict[str, Any]:
            await asyncio.sleep(9.9)
            return {"status": "healthy"}

        async def never() -> dict[str, Any]:
            await asyncio.sleep(1e6)
            return {"status": "healthy"}

        slow.health_check, hanging.health_check = late, never
        answers = await registry_of(slow, hanging).run_health_checks_once()
        assert loop.time() == 10
        assert answers == {
            "world:1": {"status": "healthy"},
            "world:2": {"status": "error", "error": "TimeoutError"},
        }
        assert (slow.degraded, hanging.degraded) == (False, True)

    run(main)


def test_fallback_is_told_once_an_outage_and_again_where_it_failed(caplog: pytest.LogCaptureFixture) -> None:
    """Broken: work stays with an agent that is down, or moves at every round."""
    calls: list[tuple[Agent, Agent]] = []
    ends: list[bool | Exception] = [LookupError("a fault"), False, True]

    async def main(_: VirtualLoop) -> None:
        failed, other = ill(), FakeAgent(instance="2")
        registry = registry_of(failed, other, FakeAgent("input"))

        async def fall_back(agent: Agent, instead: Agent) -> bool:
            calls.append((agent, instead))
            end = ends.pop(0)
            if isinstance(end, Exception):
                raise end
            return end

        registry.set_fallback_callback(fall_back)
        for _round in range(5):
            await registry.detect_and_recover()
        assert calls == [(failed, other)] * 3
        ends[:] = [True, True, True]
        registry.register(failed)
        await registry.detect_and_recover()
        assert len(calls) == 4, "who registers again begins anew"
        registry.deregister(failed.agent_id)
        registry.register(failed)
        await registry.detect_and_recover()
        assert len(calls) == 5

    run(main)
    assert caplog.messages == ["Falling back from agent world:1 failed: LookupError: a fault"]


@pytest.mark.parametrize("interval_s", [None, 15.0, 40.0])
def test_health_is_checked_in_rounds(interval_s: float | None) -> None:
    """Broken: agents are checked never, once, or all the time."""

    async def main(loop: VirtualLoop) -> None:
        agent = FakeAgent()
        registry = registry_of(agent)
        if interval_s is None:
            registry.start_periodic_health_checks()
        else:
            registry.start_periodic_health_checks(interval_s)
        assert [task.get_name() for task in asyncio.all_tasks()].count("health checks") == 1
        wanted = interval_s or 15.0
        for rounds in range(3):
            await asyncio.sleep(wanted - 0.5)
            assert agent.asked == rounds
            await asyncio.sleep(0.5)
            await asyncio.sleep(0)
            await asyncio.sleep(0.0)
            assert loop.time() == wanted * (rounds + 1)
            await asyncio.sleep(0)
            assert agent.asked == rounds + 1
        registry.start_periodic_health_checks(1)
        assert [task.get_name() for task in asyncio.all_tasks()].count("health checks") == 1
        await registry.stop_periodic_health_checks()
        asked = agent.asked
        await asyncio.sleep(100)
        assert agent.asked == asked
        await registry.aclose()

    run(main)


@pytest.mark.parametrize("interval_s", [0, -1, CENTURY_S * 1.1, float("nan"), "1"])
def test_interval_out_of_range_is_refused(interval_s: Any) -> None:  # noqa: ANN401 - that is the fault
    """Broken: checks in a busy loop, or never."""
    with pytest.raises(ValueError, match="interval_s must be a number"):
        AgentRegistry().start_periodic_health_checks(interval_s)


def test_checks_without_a_loop_are_not_started_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """Broken: synchronous code that starts checks believes that they run."""
    AgentRegistry().start_periodic_health_checks(1e-6)
    assert caplog.messages == ["Health checks need a running event loop; they are not started"]
