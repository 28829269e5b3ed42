"""Agents for the registry's tests: they say what they are told to say, and note what is asked of them."""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic import BaseModel

from tta_agent_coordination import AgentId

__all__ = ["Capabilities", "Capability", "FakeAgent"]


class Capability(BaseModel):
    """One thing an agent can do, as TTA describes it."""

    name: str
    type: str | None = None


class Capabilities(BaseModel):
    """What an agent advertises, as TTA's `AgentCapabilitySet`."""

    agent_id: AgentId
    capabilities: list[Capability]


class FakeAgent:
    """An agent as TTA's are: running, not degraded, with a status that counts its uptime."""

    def __init__(self, kind: str = "world", instance: str | None = "1", *, name: str | None = None) -> None:
        self.agent_id = AgentId(type=kind, instance=instance)
        self.name = name or str(self.agent_id)
        self._running = True
        self._degraded = False
        self.word = "idle"
        self.state: dict[str, Any] = {}
        self.imported: list[dict[str, Any]] = []
        self.health: dict[str, Any] | Exception = {"status": "healthy"}
        self.asked = 0
        self.uptime = 0.0
        self.capabilities: object = None
        self.hang: asyncio.Event | None = None
        self.hung = 0

    def status_snapshot(self) -> dict[str, Any]:
        """Return v0's default snapshot; the uptime is another one each time."""
        self.uptime += 1.0
        return {
            "name": self.name,
            "agent_id": self.agent_id.model_dump(),
            "running": self._running,
            "degraded": self._degraded,
            "status": self.word,
            "metrics": {"uptime_s": self.uptime, "requests": 0, "errors": 0},
        }

    async def health_check(self) -> dict[str, Any]:
        """Say what the test wants."""
        self.asked += 1
        if isinstance(self.health, Exception):
            raise self.health
        return self.health

    def set_degraded(self, degraded: bool, /) -> None:
        """Mark it."""
        self._degraded = degraded

    @property
    def degraded(self) -> bool:
        """Whether it is marked."""
        return self._degraded

    def stop(self) -> None:
        """Stop running."""
        self._running = False

    async def export_state(self) -> dict[str, Any]:
        """Return the state, after `hang` where it is set."""
        if self.hang is not None:
            self.hung += 1
            await self.hang.wait()
        return self.state

    async def import_state(self, state: dict[str, Any], /) -> None:
        """Note what came."""
        self.imported.append(state)
        self.state = state
