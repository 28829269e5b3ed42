"""What decides which calls are under way when another one arrives.

`Barrier` keeps scripts back in the client; the faulty proxy keeps back what has already left.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis.asyncio as aioredis

from tests.library.support.boxes import BOX
from tests.library.support.builders import INPUT, NARRATIVE, WORLD, drain, make_message, send_ids
from tests.library.support.commands import Send, intercept
from tests.library.support.waiting import eventually
from tta_agent_coordination import (
    AgentId,
    MessageResult,
    RedisMessageCoordinator,
    _keys,
)
from tta_agent_coordination._redis import script


@dataclass
class Barrier:
    """Keeps scripts back before they are sent, while it is closed; notes all commands and what they carry."""

    is_open: asyncio.Event = field(default_factory=asyncio.Event)
    names: list[str] = field(default_factory=list[str])
    scripts: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])
    tasks: set[str] = field(default_factory=set[str])

    async def __call__(self, send: Send, args: tuple[Any, ...], options: dict[str, Any]) -> object:
        """Keep a script back, pass on what is none."""
        self.names.append(str(args[0]))
        if args[0] == "EVALSHA":
            self.scripts.append(args)
            self.tasks |= {task.get_name() for task in asyncio.all_tasks()}
            await self.is_open.wait()
        return await send(*args, **options)

    @property
    def carried(self) -> list[int]:
        """How many messages each script puts into an inbox."""
        return [sum(str(part).startswith('b\'{"message"') for part in args) for args in self.scripts]

    async def holds(self, scripts: int) -> None:
        """Wait until so many scripts have come."""
        await eventually(f"{scripts} scripts came", lambda: len(self.scripts) >= scripts)


@contextlib.contextmanager
def barrier_in(client: aioredis.Redis) -> Generator[Barrier]:
    """Put a closed barrier before a client for the length of a block; it ends open, however that ends."""
    barrier = Barrier()
    try:
        with intercept(client, barrier):
            yield barrier
    finally:
        barrier.is_open.set()


async def warm(coordinator: RedisMessageCoordinator) -> None:
    """Have every script on the server, and the recipients indexed."""
    for name in script.script_names():
        await coordinator._calls.client.execute_command("SCRIPT LOAD", script.load(name).text)
    for agent in (WORLD, NARRATIVE):
        await send_ids(coordinator, ["warm-up"], agent)
        assert await drain(coordinator, agent) == ["warm-up"]


def lines_of(coordinator: RedisMessageCoordinator) -> int:
    """Return for how many inboxes calls are under way."""
    return len(coordinator._sender._coalescer._lines) + len(coordinator._leases._acks._lines)


def sending(
    coordinator: RedisMessageCoordinator,
    message_id: str,
    agent: AgentId = WORLD,
    **options: Any,  # noqa: ANN401 - whatever send_message takes
) -> asyncio.Task[MessageResult]:
    """Start a send, and name its task as its message."""
    return asyncio.create_task(
        coordinator.send_message(INPUT, agent, make_message(message_id), **options), name=message_id
    )


async def turns(count: int) -> None:
    """Let the loop turn so many times."""
    for _ in range(count):
        await asyncio.sleep(0)


async def behind(
    coordinator: RedisMessageCoordinator, barrier: Barrier, ids: Sequence[str]
) -> list[asyncio.Task[MessageResult]]:
    """Start a send that the barrier keeps back, then those of `ids`, which have to wait for it."""
    first = sending(coordinator, "message-first")
    await barrier.holds(1)
    tasks = [first, *(sending(coordinator, message_id) for message_id in ids)]
    await turns(2)
    assert len(barrier.scripts) == 1, "somebody did not wait"
    return tasks


def numbered(count: int) -> list[str]:
    """Return so many message ids, in order."""
    return [f"message-{number:03}" for number in range(count)]


class Recorded:
    """A flush that carries nothing out and notes what it got."""

    def __init__(self) -> None:
        self.flushes: list[tuple[list[int], int]] = []
        self.free = asyncio.Event()

    async def __call__(self, box: _keys.Inbox, items: Sequence[int], terms: int) -> list[int]:
        """Wait, note, answer with the items."""
        assert box == BOX
        await self.free.wait()
        self.flushes.append((list(items), terms))
        return list(items)
