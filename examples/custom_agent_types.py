"""Your own names for agents: an enum of types, an id that takes only those, and one inbox an instance.

pip install '.[embedded]'
python examples/custom_agent_types.py                                       # no server needed
REDIS_URL=redis://localhost:6379/0 python examples/custom_agent_types.py    # a real one
"""

from __future__ import annotations

import asyncio
import os
from enum import StrEnum
from uuid import uuid4

from tta_agent_coordination import AgentId, AgentMessage, MessageType, RedisMessageCoordinator


class Role(StrEnum):
    """What agents there are in this program; the values become part of the keys in Redis."""

    PLANNER = "planner"
    RESEARCHER = "researcher"


class RoleId(AgentId, frozen=True):
    """An agent id whose type is one of ours: a typing error is refused when it is made."""

    type: Role


PLANNER = RoleId(type=Role.PLANNER)
RESEARCHERS = [RoleId(type=Role.RESEARCHER, instance=name) for name in ("arts", "science")]


def open_coordinator() -> RedisMessageCoordinator:
    """Return a coordinator on REDIS_URL, or on a Redis inside this process."""
    prefix = f"example-types-{uuid4().hex[:8]}"
    if url := os.environ.get("REDIS_URL"):
        return RedisMessageCoordinator.from_url(url, key_prefix=prefix)
    from tta_agent_coordination.testing import embedded_redis  # noqa: PLC0415 - needs the extra `embedded`

    return RedisMessageCoordinator(embedded_redis(), key_prefix=prefix)


async def main() -> None:
    """Send a question to each researcher and let each take its own."""
    async with open_coordinator() as coordinator:
        for researcher in RESEARCHERS:
            question = AgentMessage(
                message_id=f"question-{researcher.instance}",
                sender=PLANNER,
                recipient=researcher,
                message_type=MessageType.REQUEST,
                payload={"topic": researcher.instance},
            )
            (await coordinator.send_message(PLANNER, researcher, question)).raise_for_error()
        for researcher in RESEARCHERS:
            received = await coordinator.receive(researcher)
            if received is None:
                raise LookupError(f"nothing for {researcher}")
            message = received.queue_message.message
            # What comes back from Redis is a plain AgentId, equal to any other of the same value.
            print(f"{message.recipient}: {message.payload['topic']}, {message.recipient == researcher}")
            await coordinator.ack(researcher, received.token)
    try:
        RoleId.model_validate({"type": "plumber"})
    except ValueError:
        print("a plumber is refused")


if __name__ == "__main__":
    asyncio.run(main())
