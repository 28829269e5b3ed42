"""A worker whose store goes away: it waits, says so once, and goes on; what is done is settled afterwards."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis.asyncio as aioredis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tests.library.support.builders import WORLD, id_of, send_ids
from tests.library.support.commands import Send, intercept
from tests.library.support.servers import RealLane, RealServer, started_server
from tests.library.support.waiting import eventually
from tta_agent_coordination import AgentWorker, ReceivedMessage, RedisMessageCoordinator
from tta_agent_coordination.worker._link import Link


def test_failures_in_a_row_wait_longer_and_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """Broken: a store that is away for an hour fills the log, or is asked a thousand times a second."""
    link = Link("world:1")
    with caplog.at_level(logging.INFO):
        waits = [link.failed(ConnectionError("gone")) for _ in range(12)]
        link.well()
        link.well()
    assert 0.025 <= waits[0] <= 0.05
    assert 2.5 <= waits[-1] <= 5.0
    told = [record.levelname for record in caplog.records]
    assert told == ["WARNING", "INFO"]
    assert "gone" in caplog.text
    assert "after 12 failures" in caplog.text


def impatient(server: RealServer) -> tuple[RealLane, RedisMessageCoordinator]:
    """A coordinator whose client gives up at once, so that the worker is the one who waits."""
    lane = RealLane(port=server.port)
    return lane, RedisMessageCoordinator(lane.client(retry=Retry(NoBackoff(), 0), socket_timeout=1.0))


async def test_worker_goes_on_when_the_server_is_back(
    server_binary: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: a restarted server leaves workers that sleep for ever, or that have ended."""
    seen: list[str | None] = []

    async def handle(received: ReceivedMessage) -> None:
        seen.append(id_of(received))

    with started_server(server_binary) as first:
        lane, coordinator = impatient(first)
        worker = AgentWorker(WORLD, coordinator, handlers={None: handle})
        await worker.__aenter__()
        await send_ids(coordinator, ["message-1"])
        await eventually("the first is handled", lambda: seen == ["message-1"])
        first.end()
        await eventually("the worker has noticed", lambda: bool(caplog.records))
        with started_server(server_binary, port=first.port):
            sender = RedisMessageCoordinator(lane.client())
            await send_ids(sender, ["message-2"])
            await eventually("the second is handled", lambda: seen[1:] == ["message-2"], deadline_s=30)
            await worker.aclose()
            await coordinator.aclose()
        await lane.close()


async def test_work_that_was_done_is_settled_after_a_stall(
    private_server: RealServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: a handler that ends while the server stands still is played again."""
    runs: list[str | None] = []
    go_on = asyncio.Event()

    async def handle(received: ReceivedMessage) -> None:
        runs.append(id_of(received))
        await go_on.wait()

    lane, coordinator = impatient(private_server)
    worker = AgentWorker(WORLD, coordinator, handlers={None: handle}, visibility_timeout=30)
    await worker.__aenter__()
    await send_ids(coordinator, ["message-1"])
    await eventually("it is handled", lambda: runs == ["message-1"])
    private_server.pause()
    go_on.set()
    await eventually("a settlement has failed", lambda: "does not reach its store" in caplog.text)
    private_server.resume()
    watching = RedisMessageCoordinator(lane.client())

    async def empty() -> bool:
        return (await watching.stats(WORLD)).depth == 0

    await eventually("it is settled", empty, deadline_s=30)
    assert runs == ["message-1"]
    await worker.aclose()
    await coordinator.aclose()
    await lane.close()


async def test_an_answer_that_waited_for_a_blocked_loop_is_asked_about(real_lane: RealLane) -> None:
    """Broken: a message whose lease ran out before its answer was read is handled a second time."""
    seen: list[str | None] = []
    client = real_lane.client()
    blocked = threading.Event()

    async def handle(received: ReceivedMessage) -> None:
        seen.append(id_of(received))

    async def somebody_else() -> str | None:
        own = aioredis.Redis(host="127.0.0.1", port=real_lane.port)
        received = await RedisMessageCoordinator(own).receive(WORLD, 60)
        await own.aclose()
        return id_of(received)

    async def around(send: Send, args: tuple[Any, ...], options: dict[str, Any]) -> object:
        answer = await send(*args, **options)
        if b"message-1" in repr(answer).encode() and not blocked.is_set():
            blocked.set()
            time.sleep(1.0)  # noqa: ASYNC251 - blocking the loop for two leases is what is tried
            with ThreadPoolExecutor(1) as pool:
                assert pool.submit(lambda: asyncio.run(somebody_else())).result() == "message-1"
        return answer

    coordinator = RedisMessageCoordinator(client)
    await send_ids(coordinator, ["message-1"])
    with intercept(client, around):
        async with AgentWorker(WORLD, coordinator, handlers={None: handle}, visibility_timeout=0.5):
            await eventually("the loop was blocked", blocked.is_set)
            await send_ids(coordinator, ["message-2"])
            await eventually("the next is handled", lambda: "message-2" in seen)
    assert seen == ["message-2"]
    assert (await coordinator.stats(WORLD)).reserved == 1
    await coordinator.aclose()
    raw: Any = client
    await raw.flushall()


async def test_work_that_is_done_keeps_its_lease_until_it_is_settled(
    real_lane: RealLane, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: a handler uses most of its time, its settlement is late, and the message is handled twice."""
    client, done, runs, late = real_lane.client(), asyncio.Event(), 0, False
    handler_s, late_s, timeout_s = 1.5, 1.6, 2.0
    """The settlement is sent when the handler's time, counted from its beginning, has long been over."""

    async def handle(received: ReceivedMessage) -> None:
        nonlocal runs
        runs += received.deliveries
        await asyncio.sleep(handler_s)
        done.set()

    async def around(send: Send, args: tuple[Any, ...], options: dict[str, Any]) -> object:
        nonlocal late
        if done.is_set() and not late:
            late = True
            await asyncio.sleep(late_s)
        return await send(*args, **options)

    coordinator, other = RedisMessageCoordinator(client), RedisMessageCoordinator(real_lane.client())
    await send_ids(other, ["message-1"])
    worker = AgentWorker(
        WORLD, coordinator, handlers={None: handle}, visibility_timeout=0.3, handler_timeout=timeout_s
    )
    with intercept(client, around):
        async with worker:
            await eventually("it is done", done.is_set)
            while (await other.stats(WORLD)).depth:
                assert await other.receive(WORLD, 60) is None
    assert (runs, late) == (1, True)
    assert "renewed no longer" not in caplog.text
    await coordinator.aclose()
    await other.aclose()
