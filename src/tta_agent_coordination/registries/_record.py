"""Owns what this process knows of one of its registrations: epoch, last state, and the steps under way.

What an agent says of itself (state, capabilities) is asked for aside, within a time limit; a heartbeat takes
what was last said.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import Any

from tta_agent_coordination import _keys
from tta_agent_coordination._redis.registry_scripts import Beat
from tta_agent_coordination.interfaces import Agent
from tta_agent_coordination.registries._capabilities import read_capabilities
from tta_agent_coordination.registries._entries import dump, make_entry, status_word

__all__ = ["EXPORT_TIMEOUT_S", "Registration"]

EXPORT_TIMEOUT_S = 5.0
"""How long an agent may take to say its state and its capabilities, seconds."""

_log = logging.getLogger("tta_agent_coordination.registries")


class Registration:
    """One agent of this process on its way to the store, there, or on its way back.

    Attributes:
        epoch: The registration's number, None while the store has none of it.
        closed: It was taken away, or superseded; nothing is written for it any more.
        restored: What a predecessor left was looked for.
        draining: It takes nothing new.
        step: The last step that was started; the next one waits for it.
        export: The agent is being asked for its state.
        after: The last step of the registration that this one replaces.
    """

    def __init__(self, agent: Agent, after: asyncio.Task[Any] | None = None) -> None:
        self.agent = agent
        self.name = _keys.inbox_name(agent.agent_id)
        self.epoch: int | None = None
        self.closed = False
        self.restored = False
        self.draining = False
        self.step: asyncio.Task[Any] | None = None
        self.export: asyncio.Task[None] | None = None
        self.after = after
        self._state: dict[str, Any] | None = None
        self._capabilities: dict[str, Any] | None = None
        self._set_by_hand = False
        self._status: dict[str, Any] = {}
        self._word = "unknown"
        self._said: set[str] = set()

    def __repr__(self) -> str:
        """Show the name and the epoch."""
        return f"Registration({self.name!r}, epoch={self.epoch}, closed={self.closed})"

    def advertise(self, capabilities: dict[str, Any] | None) -> None:
        """Take capabilities that were given by hand; the agent is not asked for them any more."""
        self._capabilities = capabilities
        self._set_by_hand = True

    async def ask(self) -> None:
        """Ask the agent for its state and capabilities; what it does not say in time stays as it was."""
        try:
            async with asyncio.timeout(EXPORT_TIMEOUT_S):
                state = await self.agent.export_state()
            dump(state)
            self._state = state
        except Exception as error:  # noqa: BLE001 - the user's agent
            self._say_once("export_state", error)
        try:
            async with asyncio.timeout(EXPORT_TIMEOUT_S):
                await self._ask_for_capabilities()
        except Exception as error:  # noqa: BLE001 - the user's agent
            self._say_once("get_capabilities", error)

    async def _ask_for_capabilities(self) -> None:
        if self._set_by_hand:
            return
        ask = getattr(self.agent, "get_capabilities", None)
        found: object = getattr(self.agent, "capabilities", None) if ask is None else ask()
        if inspect.isawaitable(found):
            found = await found
        capabilities = read_capabilities(found)
        dump(capabilities)
        self._capabilities = capabilities

    def _say_once(self, what: str, error: Exception) -> None:
        if what not in self._said:
            self._said.add(what)
            _log.warning(
                "Agent %s: %s failed (%s: %s); what it said last is kept, and this is said once",
                self.name,
                what,
                type(error).__name__,
                error,
            )

    def beat(self, last_heartbeat: float) -> Beat:
        """Return what the store is told now: the status of this moment, the rest as last known."""
        try:
            status = self.agent.status_snapshot()
            dump(status)
            self._status, self._word = status, status_word(status)
        except Exception as error:  # noqa: BLE001 - the user's agent
            self._say_once("status_snapshot", error)
        entry = make_entry(
            self.agent,
            status=self._status,
            last_heartbeat=last_heartbeat,
            state=self._state,
            capabilities=self._capabilities,
        )
        return Beat(
            name=self.name,
            epoch=self.epoch or 0,
            status=self._word,
            entry=entry,
            capabilities=dump(self._capabilities) if self._capabilities else b"",
        )

    @property
    def status(self) -> dict[str, Any]:
        """What the agent last said of itself."""
        return self._status
