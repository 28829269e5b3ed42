"""Owns the registry in memory: which agents this process has, whether they are well, and who is restarted.

Knows no Redis. When a restart is allowed is `_restart`'s decision.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from enum import Enum
from types import TracebackType
from typing import Any, Self

from tta_agent_coordination import _keys, _numbers
from tta_agent_coordination._clock import Clock, from_us
from tta_agent_coordination.interfaces import Agent
from tta_agent_coordination.models import AgentId
from tta_agent_coordination.registries._restart import (
    RestartHistory,
    RestartPolicy,
    after_attempt,
    may_restart,
)
from tta_agent_coordination.registries._tasks import OwnedTasks, Pending, ending, has_loop, nothing, runs

__all__ = ["AgentRegistry"]

HEALTH_TIMEOUT_S = 10.0
"""How long one agent's health check may take; then it counts as failed. Seconds."""

_WELL = ("healthy", "initializing")

_log = logging.getLogger("tta_agent_coordination.registries")

type RestartCallback = Callable[[Agent], Awaitable[bool]]
type FallbackCallback = Callable[[Agent, Agent], Awaitable[bool]]


class AgentRegistry:
    """The agents of one process: found by id and type, checked for health, restarted when they fail.

    Nothing binds to an event loop at construction. `aclose`, or leaving `async with`, ends what it started.

    Args:
        clock: Takes the place of this process's clock, for tests.
    """

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._agents: dict[tuple[str, str], Agent] = {}
        self._clock = clock
        self._tasks = OwnedTasks()
        self._health_interval_s = 15.0
        self._health_task: asyncio.Task[None] | None = None
        self._policy = RestartPolicy()
        self._histories: dict[tuple[str, str], RestartHistory] = {}
        self._replaced: set[tuple[str, str]] = set()
        self._restart_cb: RestartCallback | None = None
        self._fallback_cb: FallbackCallback | None = None

    def __repr__(self) -> str:
        """Show how many agents there are."""
        return f"{type(self).__name__}({len(self._agents)} agents)"

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        await self.aclose()

    async def aclose(self) -> None:
        """End the health checks and wait for what is under way. The agents stay. Repeatable."""
        await self.stop_periodic_health_checks()
        await self._tasks.settle()

    def _key(self, agent_id: AgentId) -> tuple[str, str]:
        kind, _, instance = _keys.inbox_name(agent_id).partition(":")
        return kind, instance

    def _now(self) -> float:
        return time.monotonic() if self._clock is None else from_us(self._clock.now_us())

    def set_restart_callback(self, callback: RestartCallback) -> None:
        """Say how an agent is restarted: an async function of the agent that returns whether it succeeded."""
        self._restart_cb = callback

    def set_fallback_callback(self, callback: FallbackCallback) -> None:
        """Say what happens when an agent is not restarted and another one of its type is well.

        Args:
            callback: An async function of the failed agent and the other one. It is called once an outage,
                and again at the next sweep where it raised or returned false.
        """
        self._fallback_cb = callback

    # The agents.

    def register(self, agent: Agent) -> Awaitable[None]:
        """Add an agent, in the place of one with the same id. Awaiting the answer is allowed, not needed."""
        key = self._key(agent.agent_id)
        self._agents[key] = agent
        self._forget(key)
        _log.info("Registered agent %s", agent.name)
        return Pending(nothing)

    def deregister(self, agent_id: AgentId) -> Awaitable[None]:
        """Take an agent away, if it is there. Awaiting the answer is allowed, not needed."""
        key = self._key(agent_id)
        agent = self._agents.pop(key, None)
        self._forget(key)
        if agent is not None:
            _log.info("Deregistered agent %s", agent.name)
        return Pending(nothing)

    def _forget(self, key: tuple[str, str]) -> None:
        self._histories.pop(key, None)
        self._replaced.discard(key)

    def get(self, agent_id: AgentId) -> Agent | None:
        """Return an agent of this process, None where it is not here."""
        return self._agents.get(self._key(agent_id))

    def discover(self, agent_type: str) -> list[Agent]:
        """Return this process's agents of a type that run and are not degraded."""
        wanted: object = agent_type
        kind = wanted.value if isinstance(wanted, Enum) else agent_type
        return [
            agent
            for key, agent in self._agents.items()
            if key[0] == kind and _is_running(agent) and not getattr(agent, "_degraded", False)
        ]

    def all(self) -> list[Agent]:
        """Return all agents of this process."""
        return list(self._agents.values())

    def snapshot(self) -> dict[str, Any]:
        """Return the status of each agent of this process by its name."""
        return {agent.name: agent.status_snapshot() for agent in self.all()}

    # Health.

    async def run_health_checks_once(self) -> dict[str, Any]:
        """Check all agents at once; mark those that are not well as degraded, the others as well.

        Returns:
            What each agent's `health_check` returned, by name. One that raised, or took longer than 10 s,
            gives `{"status": "error", "error": ...}`.
        """
        agents = self.all()
        answers = await asyncio.gather(*map(_check, agents))
        for agent, answer in zip(agents, answers, strict=True):
            _set_degraded(agent, answer.get("status") not in _WELL)
        return {agent.name: answer for agent, answer in zip(agents, answers, strict=True)}

    async def detect_and_recover(self) -> dict[str, Any]:
        """Check all agents and try to restart those that are not well or do not run.

        Returns:
            Counts: `checked`, `restarted`, `degraded`.
        """
        agents = list(self._agents.items())
        answers = await asyncio.gather(*(_check(agent) for _, agent in agents))
        summary = {"checked": len(agents), "restarted": 0, "degraded": 0}
        for (key, agent), answer in zip(agents, answers, strict=True):
            well = answer.get("status") in _WELL and _is_running(agent)
            _set_degraded(agent, not well)
            if well:
                self._replaced.discard(key)
                continue
            summary["degraded"] += 1
            if self._agents.get(key) is not agent:
                continue  # replaced or taken away while it was checked
            if await self._restarted(key, agent):
                summary["restarted"] += 1
            else:
                await self._fall_back(key, agent)
        return summary

    async def _restarted(self, key: tuple[str, str], agent: Agent) -> bool:
        history = self._histories.get(key, RestartHistory())
        if self._restart_cb is None or not may_restart(history, self._now(), self._policy):
            return False
        succeeded = False
        try:
            succeeded = bool(await self._restart_cb(agent))
        except Exception as error:  # noqa: BLE001 - the user's function
            _log.warning("Restarting agent %s failed: %s: %s", agent.name, type(error).__name__, error)
        finally:
            history = after_attempt(history, self._now(), self._policy, succeeded=succeeded)
            if self._agents.get(key) is not None:
                self._histories[key] = history
        if self._now() < history.locked_until:
            _log.warning(
                "Agent %s is not restarted for %.0f s after %d failures in a row",
                agent.name,
                self._policy.lockout_s,
                history.failures,
            )
        return succeeded

    async def _fall_back(self, key: tuple[str, str], agent: Agent) -> None:
        if self._fallback_cb is None or key in self._replaced:
            return
        others = [other for other in self.discover(key[0]) if other is not agent]
        if not others:
            return
        try:
            if await self._fallback_cb(agent, others[0]):
                self._replaced.add(key)
        except Exception as error:  # noqa: BLE001 - the user's function
            _log.warning("Falling back from agent %s failed: %s: %s", agent.name, type(error).__name__, error)

    def start_periodic_health_checks(self, interval_s: float = 15.0) -> Awaitable[None]:
        """Run health checks every `interval_s` seconds; where they run already, change the interval.

        Nothing that an agent does ends them. Needs a running event loop; without one it only says so.

        Raises:
            ValueError: The interval is not in (0, 100 years].
        """
        self._health_interval_s = _numbers.number(
            "interval_s", interval_s, low=0, high=_numbers.MAX_SECONDS, open_low=True
        )
        if not has_loop():
            _log.warning("Health checks need a running event loop; they are not started")
        elif not runs(self._health_task):
            self._health_task = self._tasks.start(self._check_health_for_ever(), "health checks")
        return Pending(nothing)

    async def _check_health_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._health_interval_s)
            try:
                await self.run_health_checks_once()
            except Exception:  # noqa: BLE001 - the user's agents
                _log.exception("A round of health checks failed; the next one is tried all the same")

    def stop_periodic_health_checks(self) -> Awaitable[None]:
        """End the health checks, if they run. Awaiting the answer waits until they have."""
        task, self._health_task = self._health_task, None
        return ending(task)


def _is_running(agent: Agent) -> bool:
    return bool(getattr(agent, "_running", True))


async def _check(agent: Agent) -> dict[str, Any]:
    try:
        async with asyncio.timeout(HEALTH_TIMEOUT_S):
            return dict(await agent.health_check())
    except Exception as error:  # noqa: BLE001 - the user's agent
        return {"status": "error", "error": str(error) or type(error).__name__}


def _set_degraded(agent: Agent, degraded: bool) -> None:
    try:
        agent.set_degraded(degraded)
    except Exception as error:  # noqa: BLE001 - the user's agent
        _log.warning("Agent %s refused to be marked: %s: %s", agent.name, type(error).__name__, error)
