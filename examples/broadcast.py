"""Broadcast: agents subscribe to a type of message; a broadcast reaches those, and each handles its own copy.

pip install '.[embedded]'
python examples/broadcast.py                                       # no server needed
REDIS_URL=redis://localhost:6379/0 python examples/broadcast.py    # a real one
"""

from __future__ import annotations

import asyncio
import os
from uuid import uuid4

from tta_agent_coordination import AgentId, AgentMessage, MessageType, RedisMessageCoordinator

NEWSROOM = AgentId(type="newsroom")
PRINT, RADIO, ARCHIVE = (AgentId(type=kind) for kind in ("print", "radio", "archive"))


def open_coordinator() -> RedisMessageCoordinator:
    """Return a coordinator on REDIS_URL, or on a Redis inside this process."""
    prefix = f"example-news-{uuid4().hex[:8]}"
    if url := os.environ.get("REDIS_URL"):
        return RedisMessageCoordinator.from_url(url, key_prefix=prefix)
    from tta_agent_coordination.testing import embedded_redis  # noqa: PLC0415 - needs the extra `embedded`

    return RedisMessageCoordinator(embedded_redis(), key_prefix=prefix)


def news(number: int, headline: str) -> AgentMessage:
    """Return an event; the recipient of a broadcast is whoever subscribed."""
    return AgentMessage(
        message_id=f"news-{number}",
        sender=NEWSROOM,
        recipient=NEWSROOM,
        message_type=MessageType.EVENT,
        payload={"headline": headline},
    )


async def main() -> None:
    """Two agents subscribe, one leaves again; messages sent to a name always arrive."""
    async with open_coordinator() as coordinator:
        for agent in (PRINT, RADIO):
            await coordinator.subscribe_to_messages(agent, [MessageType.EVENT])
        results = await coordinator.broadcast_message(NEWSROOM, news(1, "rain"))
        print(f"first broadcast: {sum(result.delivered for result in results)} agents")

        await coordinator.unsubscribe(RADIO, [MessageType.EVENT])
        await coordinator.broadcast_message(NEWSROOM, news(2, "sun"))
        await coordinator.send_message(NEWSROOM, ARCHIVE, news(3, "both"))

        for agent in (PRINT, RADIO, ARCHIVE):
            while received := await coordinator.receive(agent):
                print(f"{agent.type}: {received.queue_message.message.payload['headline']}")
                await coordinator.ack(agent, received.token)


if __name__ == "__main__":
    asyncio.run(main())
