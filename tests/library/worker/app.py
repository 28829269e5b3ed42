"""Programs for the tests of the command: workers, and what is none."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from tta_agent_coordination import AgentId, AgentWorker, ReceivedMessage, RedisMessageCoordinator

WORLD = AgentId(type="world", instance="1")

worker = AgentWorker(WORLD, grace=600)
own = AgentWorker(WORLD, RedisMessageCoordinator.from_url("redis://127.0.0.1:1/0"))
stubborn = AgentWorker(WORLD, grace=0)
faulty = AgentWorker(WORLD)
not_a_worker = 5


def say(*words: str) -> None:
    """Tell the test, at once."""
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


@worker.handler()
async def tell(received: ReceivedMessage) -> None:
    """Say what came; message-9 takes until it is told to end."""
    message_id = received.queue_message.message.message_id
    say("got", message_id)
    if message_id == "message-9":
        await asyncio.Event().wait()


@own.handler()
async def ignore(received: ReceivedMessage) -> None:
    """Do nothing."""
    del received


@stubborn.handler()
async def never(received: ReceivedMessage) -> None:
    """Ask the worker to end, and ignore that it does."""
    say("got", received.queue_message.message.message_id)
    os.kill(os.getpid(), signal.SIGTERM)
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue


def make() -> AgentWorker:
    """Return the worker."""
    return worker


async def make_later() -> AgentWorker:
    """Return the worker, too late."""
    return worker


def needs(argument: str) -> str:
    """Need something."""
    return argument
