"""A worker: handlers by message type, a failure that is tried again, and a graceful end.

pip install '.[embedded]'
python examples/worker.py                                            # no server needed
REDIS_URL=redis://localhost:6379/0 python examples/worker.py         # a real one; Ctrl-C ends it early

A service runs the same worker with `python -m tta_agent_coordination worker module:worker`.
"""

from __future__ import annotations

import asyncio
import logging
import os

from tta_agent_coordination import AgentId, AgentMessage, AgentWorker, MessageType, RedisMessageCoordinator
from tta_agent_coordination import ReceivedMessage as Received

CLERK = AgentId(type="clerk")
SHOP = AgentId(type="shop")
ORDERS = 5

worker = AgentWorker(CLERK, concurrency=2, grace=5)
done: set[str] = set()


@worker.handler(MessageType.REQUEST)
async def pack(received: Received) -> None:
    """Pack an order: returning acknowledges it, raising lets it be tried again."""
    order = received.queue_message.message
    if order.message_id == "order-2" and received.deliveries == 1:
        raise ConnectionError("the printer is offline")
    done.add(order.message_id)
    print(f"{order.message_id}: packed at delivery {received.deliveries}")
    if len(done) == ORDERS:
        worker.stop()  # a service has no such line: SIGTERM or Ctrl-C ends it


@worker.handler(MessageType.EVENT)
async def note(received: Received) -> None:
    """Take note of an event."""
    print(f"noted: {received.queue_message.message.payload['text']}")


def open_coordinator() -> RedisMessageCoordinator:
    """Return a coordinator on REDIS_URL, or on a Redis inside this process."""
    if url := os.environ.get("REDIS_URL"):
        return RedisMessageCoordinator.from_url(url, key_prefix="example", backoff_base=0.1)
    from tta_agent_coordination.testing import embedded_redis  # noqa: PLC0415 - needs the extra `embedded`

    return RedisMessageCoordinator(embedded_redis(), key_prefix="example", backoff_base=0.1)


def message(message_id: str, kind: MessageType, text: str) -> AgentMessage:
    """Return a message from the shop."""
    return AgentMessage(
        message_id=message_id, sender=SHOP, recipient=CLERK, message_type=kind, payload={"text": text}
    )


async def main() -> None:
    """Send an event and some orders, and work until all are packed."""
    logging.basicConfig(level=logging.ERROR)  # at WARNING it shows the traceback of each failed try
    async with open_coordinator() as coordinator:
        await coordinator.send_message(SHOP, CLERK, message("event-1", MessageType.EVENT, "the shop is open"))
        for number in range(ORDERS):
            order = message(f"order-{number}", MessageType.REQUEST, "one tea pot")
            (await coordinator.send_message(SHOP, CLERK, order)).raise_for_error()
        worker.connect(coordinator)
        await worker.run()
        print(f"left in the inbox: {(await coordinator.stats(CLERK)).depth}")


if __name__ == "__main__":
    asyncio.run(main())
