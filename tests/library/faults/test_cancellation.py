"""Cancelled calls whose command is still on its way: zombies, which the server refuses.

Cancelling a call does not stop a command that has left. The proxy keeps such a command back until the
coordinator has gone on, and only then lets the server see it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from tests.library.support.builders import INPUT, NARRATIVE, WORLD, drain, id_of, make_message, send_ids, take
from tests.library.support.peek import Peek
from tests.library.support.proxy import FaultyProxy, faulty_proxy
from tests.library.support.servers import RealLane
from tests.library.support.waiting import eventually
from tta_agent_coordination import RedisMessageCoordinator
from tta_agent_coordination.testing import ManualClock


@pytest.fixture
async def proxy(real_lane: RealLane) -> AsyncIterator[FaultyProxy]:
    """A proxy in front of the real server."""
    async with faulty_proxy(real_lane.port) as running:
        yield running


@pytest.fixture
def peek(real_lane: RealLane) -> Peek:
    """A look past the proxy."""
    return Peek(real_lane.client())


@pytest.fixture
async def coordinator(
    proxy: FaultyProxy, real_lane: RealLane, clock: ManualClock
) -> AsyncIterator[RedisMessageCoordinator]:
    """A coordinator whose every command goes through the proxy, scripts loaded."""
    async with RedisMessageCoordinator(real_lane.client(port=proxy.port), clock=clock) as made:
        for settle in (made.ack, made.nack, made.release):
            await send_ids(made, ["warm up"], NARRATIVE)
            await settle(NARRATIVE, (await take(made, NARRATIVE)).token)
            clock.advance(60)
        await drain(made, NARRATIVE)
        yield made


async def cancel_on_the_wire(proxy: FaultyProxy, call: Coroutine[Any, Any, Any]) -> None:
    """Start a call, cancel it while its command waits in the proxy."""
    proxy.hold = 1
    held = proxy.held
    task = asyncio.create_task(call)
    await eventually("the command is on the wire", lambda: proxy.held > held)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def zombie_arrives(proxy: FaultyProxy, peek: Peek) -> None:
    """Let the held command go on, and wait until the server has answered it."""
    before = await script_calls(peek)
    proxy.let_go()

    async def arrived() -> bool:
        return await script_calls(peek) > before

    await eventually("the server has run the held command", arrived)


async def script_calls(peek: Peek) -> int:
    """Return how many EVALSHA the server has run."""
    stats = (await peek.raw("INFO", "commandstats"))["cmdstat_evalsha"]
    return int(stats["calls"])


async def test_zombie_send_is_refused(
    coordinator: RedisMessageCoordinator, proxy: FaultyProxy, peek: Peek
) -> None:
    """Broken: a send that was cancelled and followed by another one still arrived, behind it."""
    await cancel_on_the_wire(proxy, coordinator.send_message(INPUT, WORLD, make_message("zombie")))
    await send_ids(coordinator, ["message-1"])
    await zombie_arrives(proxy, peek)
    assert await peek.ids(WORLD) == ["message-1"]
    assert await drain(coordinator) == ["message-1"]


async def test_zombie_receive_is_refused(
    coordinator: RedisMessageCoordinator, proxy: FaultyProxy, peek: Peek
) -> None:
    """Broken: a receive that was cancelled took a message away from everybody for a whole lease."""
    await send_ids(coordinator, ["message-1", "message-2"])
    await cancel_on_the_wire(proxy, coordinator.receive(WORLD, 600))
    received = await take(coordinator)
    await zombie_arrives(proxy, peek)
    assert list(await peek.reserved(WORLD)) == [received.token]
    assert id_of(await coordinator.receive(WORLD)) == "message-2"


@pytest.mark.parametrize("operation", ["ack", "nack", "release", "extend"])
async def test_zombie_settlement_is_refused(
    coordinator: RedisMessageCoordinator, proxy: FaultyProxy, peek: Peek, operation: str
) -> None:
    """Broken: a settlement that its caller gave up arrived after he had decided otherwise."""
    await send_ids(coordinator, ["message-1"])
    received = await take(coordinator)
    arguments = (600,) if operation == "extend" else ()
    await cancel_on_the_wire(proxy, getattr(coordinator, operation)(WORLD, received.token, *arguments))
    assert await coordinator.extend(WORLD, received.token, 7) is True
    before = (await peek.reserved(WORLD), await peek.deadlines(WORLD))
    await zombie_arrives(proxy, peek)
    assert (await peek.reserved(WORLD), await peek.deadlines(WORLD)) == before
    assert await coordinator.ack(WORLD, received.token) is True


async def test_cancelled_send_that_arrives_first_counts_once(
    coordinator: RedisMessageCoordinator, proxy: FaultyProxy, peek: Peek
) -> None:
    """Broken: a cancelled send may have been sent; if so, it is there once and stops nothing."""
    await cancel_on_the_wire(proxy, coordinator.send_message(INPUT, WORLD, make_message("early one")))
    await zombie_arrives(proxy, peek)
    await send_ids(coordinator, ["message-1"])
    assert await drain(coordinator) == ["early one", "message-1"]


async def test_cancelled_receive_that_arrives_first_comes_back(
    coordinator: RedisMessageCoordinator, proxy: FaultyProxy, peek: Peek, clock: ManualClock
) -> None:
    """Broken: a message reserved for a caller who has gone returns when its lease ends."""
    await send_ids(coordinator, ["message-1"])
    await cancel_on_the_wire(proxy, coordinator.receive(WORLD, 5))
    await zombie_arrives(proxy, peek)
    clock.advance(6)
    assert await drain(coordinator) == ["message-1"]


async def test_concurrent_calls_survive_the_cancellation_of_one(
    coordinator: RedisMessageCoordinator, proxy: FaultyProxy, peek: Peek
) -> None:
    """Broken: calls in flight at the same time use lanes of their own; cancelling one refuses no other."""
    await cancel_on_the_wire(proxy, coordinator.send_message(INPUT, WORLD, make_message("zombie")))
    results = await asyncio.gather(
        *(coordinator.send_message(INPUT, WORLD, make_message(f"message-{n}")) for n in range(8))
    )
    assert all(result.delivered for result in results)
    await zombie_arrives(proxy, peek)
    assert sorted(await drain(coordinator)) == [f"message-{n}" for n in range(8)]
