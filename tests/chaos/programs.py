"""Owns what runs in the processes of a drill: a worker and a producer, forked from the drill itself.

Both write down what they did, one short write a line, which a `kill -9` does not take back.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

from tta_agent_coordination import (
    AgentId,
    AgentMessage,
    AgentWorker,
    MessageType,
    ReceivedMessage,
    RedisMessageCoordinator,
)

__all__ = ["AGENT", "CAPACITY", "HANDLER_TIMEOUT_S", "LEASE_S", "LINE", "fork", "produce", "work"]

AGENT, SENDER = AgentId(type="chaos"), AgentId(type="producer")
LEASE_S = 2.0
HANDLER_TIMEOUT_S = 8.0
CONCURRENCY, PREFETCH = 2, 1
CAPACITY = CONCURRENCY + PREFETCH
"""Leases one worker holds at most."""
LINE = 9
"""Bytes of one line in the record: an eight-digit id."""
QUEUE_SIZE = 1_000_000


def fork(program: Callable[[], None]) -> int:
    """Run a program in a process of its own; return the process's id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        logging.disable(logging.WARNING)
        program()
        code = 0
    finally:
        os._exit(code)


def work(url: str, record: Path) -> None:
    """Work until killed; write down each message that was handled."""
    asyncio.run(_work(url, record))


async def _work(url: str, record: Path) -> None:
    out = os.open(record, os.O_WRONLY | os.O_APPEND)

    async def handle(received: ReceivedMessage) -> None:
        message = received.queue_message.message
        is_first = received.deliveries == 1
        match message.payload["do"]:
            case "block":
                time.sleep(3 * LEASE_S)  # noqa: ASYNC251 - blocking the loop is what is tried
            case "hang" if is_first:
                await asyncio.Event().wait()
            case "freeze" if is_first:
                while True:
                    time.sleep(60)  # noqa: ASYNC251 - blocking the loop is what is tried
            case _:
                await asyncio.sleep(random.uniform(0, 0.004))
        os.write(out, f"{message.message_id}\n".encode())

    async with RedisMessageCoordinator.from_url(url, queue_size=QUEUE_SIZE) as coordinator:
        worker = AgentWorker(
            AGENT,
            coordinator,
            handlers={None: handle},
            concurrency=CONCURRENCY,
            prefetch=PREFETCH,
            visibility_timeout=LEASE_S,
            handler_timeout=HANDLER_TIMEOUT_S,
        )
        await worker.run()


def produce(url: str, first: int, count: int, pace_s: float, deed: str) -> None:
    """Send messages with ids from `first` on, each until it is accepted; the same one is never sent twice."""
    asyncio.run(_produce(url, first, count, pace_s, deed))


async def _produce(url: str, first: int, count: int, pace_s: float, deed: str) -> None:
    async with RedisMessageCoordinator.from_url(url, queue_size=QUEUE_SIZE) as coordinator:
        for number in range(first, first + count):
            message = AgentMessage(
                message_id=f"{number:08}",
                sender=SENDER,
                recipient=AGENT,
                message_type=MessageType.REQUEST,
                payload={"do": deed},
            )
            accepted = False
            while not accepted:  # the same message, however often it is sent
                result = await coordinator.send_message(SENDER, AGENT, message, dedup_id=message.message_id)
                accepted = result.delivered
            await asyncio.sleep(pace_s)
