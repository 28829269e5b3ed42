"""Two agents: one sends, the other receives, fails once, and succeeds.

pip install '.[embedded]'
python examples/basic_usage.py                                       # no server needed
REDIS_URL=redis://localhost:6379/0 python examples/basic_usage.py    # a real one
"""

from __future__ import annotations

import asyncio
import os

from tta_agent_coordination import (
    AgentId,
    AgentMessage,
    FailureType,
    MessagePriority,
    MessageType,
    RedisMessageCoordinator,
)

WRITER = AgentId(type="writer")
EDITOR = AgentId(type="editor", instance="night-shift")


def open_coordinator() -> RedisMessageCoordinator:
    """Return a coordinator on REDIS_URL, or on a Redis inside this process."""
    if url := os.environ.get("REDIS_URL"):
        return RedisMessageCoordinator.from_url(url, key_prefix="example", backoff_base=0.1)
    from tta_agent_coordination.testing import embedded_redis  # noqa: PLC0415 - needs the extra `embedded`

    return RedisMessageCoordinator(embedded_redis(), key_prefix="example", backoff_base=0.1)


def draft(number: int, priority: MessagePriority = MessagePriority.NORMAL) -> AgentMessage:
    """Return a message from the writer to the editor."""
    return AgentMessage(
        message_id=f"draft-{number}",
        sender=WRITER,
        recipient=EDITOR,
        message_type=MessageType.REQUEST,
        payload={"chapter": number},
        priority=priority,
    )


async def main() -> None:
    """Send three drafts, the urgent one last, and work through them."""
    async with open_coordinator() as coordinator:
        for message in (draft(1), draft(2), draft(3, MessagePriority.HIGH)):
            result = await coordinator.send_message(WRITER, EDITOR, message)
            result.raise_for_error()

        failed_once = False
        done = 0
        while done < 3:
            received = await coordinator.receive(EDITOR, visibility_timeout=30)
            if received is None:  # the failed draft waits for its second try
                await asyncio.sleep(0.05)
                continue
            message_id = received.queue_message.message.message_id
            if message_id == "draft-1" and not failed_once:
                failed_once = True
                await coordinator.nack(EDITOR, received.token, FailureType.TRANSIENT, "out of coffee")
                print(f"{message_id}: failed, will be retried")
                continue
            await coordinator.ack(EDITOR, received.token)
            done += 1
            print(f"{message_id}: done at delivery {received.deliveries}")

        stats = await coordinator.stats(EDITOR)
        print(f"left in the inbox: {stats.depth}")


if __name__ == "__main__":
    asyncio.run(main())
