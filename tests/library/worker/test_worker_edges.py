"""The rare turns of a worker: a store that refuses at the wrong moment, two ends at once, threads, loops."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import Any

import pytest
import redis.asyncio as aioredis

from tests.library.conftest import MakeCoordinator
from tests.library.support.builders import WORLD, drain, id_of, make_message, send_ids
from tests.library.support.commands import Send, intercept
from tests.library.support.peek import Peek
from tests.library.support.servers import Lane, RealLane
from tests.library.support.waiting import eventually
from tta_agent_coordination import AgentWorker, MessageType, ReceivedMessage, RedisMessageCoordinator
from tta_agent_coordination.messaging import QueueMessage
from tta_agent_coordination.worker._handling import Released, handle

GONE = aioredis.ConnectionError("gone")


async def test_store_that_refuses_to_give_is_asked_again(
    lane: Lane, make_coordinator: MakeCoordinator, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: one refused reservation ends a worker, or its places are lost with it."""
    client, refused, seen = lane.client(), 0, list[str | None]()
    coordinator, other = make_coordinator(client=client), make_coordinator()

    async def note(received: ReceivedMessage) -> None:
        seen.append(id_of(received))

    async def around(send: Send, args: tuple[Any, ...], options: dict[str, Any]) -> object:
        nonlocal refused
        if refused < 3:
            refused += 1
            raise GONE
        return await send(*args, **options)

    await send_ids(other, ["message-1"])
    with intercept(client, around):
        async with AgentWorker(WORLD, coordinator, handlers={None: note}):
            await eventually("it is handled", lambda: seen == ["message-1"])
    assert "does not reach its store" in caplog.text


async def test_message_that_comes_with_an_acknowledgement_at_the_end_is_given_back(
    lane: Lane, make_coordinator: MakeCoordinator
) -> None:
    """Broken: a worker that ends takes one message more, and keeps it until its lease ends."""
    client, seen = lane.client(), list[str | None]()
    coordinator, other = make_coordinator(client=client), make_coordinator()

    async def note(received: ReceivedMessage) -> None:
        seen.append(id_of(received))

    worker = AgentWorker(WORLD, coordinator, handlers={None: note}, prefetch=0)

    async def around(send: Send, args: tuple[Any, ...], options: dict[str, Any]) -> object:
        answer = await send(*args, **options)
        if b"message-2" in repr(answer).encode():
            worker.stop()
            pump = worker._pump
            await eventually("it ends", lambda: pump is not None and pump.stopping)
        return answer

    await send_ids(other, ["message-1", "message-2"])
    with intercept(client, around):
        await worker.run(handle_signals=False)
    assert seen == ["message-1"]
    stats = await other.stats(WORLD)
    assert (stats.ready, stats.reserved) == (1, 0)
    assert await drain(other) == ["message-2"]


async def test_message_whose_lease_cannot_be_asked_about_is_left_alone(
    real_lane: RealLane, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: after a blocked loop and an outage a message is handled that may be somebody else's by now."""
    client, seen, blocked, refused = real_lane.client(), list[str | None](), False, False

    async def note(received: ReceivedMessage) -> None:
        seen.append(id_of(received))

    async def around(send: Send, args: tuple[Any, ...], options: dict[str, Any]) -> object:
        nonlocal blocked, refused
        if blocked and not refused:
            refused = True
            raise GONE
        answer = await send(*args, **options)
        if b"message-1" in repr(answer).encode() and not blocked:
            blocked = True
            time.sleep(0.6)  # noqa: ASYNC251 - blocking the loop for longer than a lease is what is tried
        return answer

    coordinator = RedisMessageCoordinator(client)
    await send_ids(coordinator, ["message-1"])
    with intercept(client, around):
        async with AgentWorker(WORLD, coordinator, handlers={None: note}, visibility_timeout=0.5, prefetch=0):
            await eventually("it came again, and is handled", lambda: seen == ["message-1"])
    assert "message message-1 of world:1 is left alone: the event loop was blocked" in caplog.text
    await coordinator.aclose()


async def test_settlement_that_finds_no_store_until_the_end_is_told(
    lane: Lane, make_coordinator: MakeCoordinator, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: a worker never ends while its store is away, or nobody hears that work will be repeated."""
    client, done = lane.client(), asyncio.Event()
    coordinator, other = make_coordinator(client=client), make_coordinator()

    async def note(received: ReceivedMessage) -> None:
        del received
        done.set()

    async def around(send: Send, args: tuple[Any, ...], options: dict[str, Any]) -> object:
        if done.is_set():
            raise GONE
        return await send(*args, **options)

    await send_ids(other, ["message-1"])
    worker = AgentWorker(WORLD, coordinator, handlers={None: note}, grace=0)
    with intercept(client, around):
        async with worker:
            await done.wait()
            await eventually("it was tried", lambda: "does not reach its store" in caplog.text)
    assert "message message-1 of world:1 could not be settled (gone)" in caplog.text
    assert (await other.stats(WORLD)).reserved == 1
    assert await other.release(WORLD, next(iter(await Peek(other._redis).reserved(WORLD))))
    assert await drain(other) == ["message-1"]


class OddCoordinator(RedisMessageCoordinator):
    """A subclass as users write them, with a fault in it."""

    async def nack(self, *args: Any, **options: Any) -> bool:  # noqa: ANN401 - what comes is passed on
        del args, options
        raise ValueError("a fault of the subclass")


async def test_fault_in_refusing_a_message_ends_the_worker_once(lane: Lane) -> None:
    """Broken: a message that can neither be handled nor refused is tried for ever."""
    coordinator = OddCoordinator(lane.client())
    both, waiting = asyncio.Event(), 0

    async def fails(received: ReceivedMessage) -> None:
        nonlocal waiting
        waiting += 1
        if waiting == 2:
            both.set()
        await both.wait()
        raise TypeError(id_of(received))

    await send_ids(coordinator, ["message-1", "message-2"])
    worker = AgentWorker(WORLD, coordinator, handlers={None: fails}, concurrency=2)
    with pytest.raises(ValueError, match="a fault of the subclass"):
        await worker.run(handle_signals=False)
    assert waiting == 2
    peek = Peek(coordinator._redis)
    for token in await peek.reserved(WORLD):
        assert await coordinator.release(WORLD, token)
    assert sorted(await drain(coordinator)) == ["message-1", "message-2"]
    await coordinator.aclose()


async def test_handler_that_is_cancelled_twice_at_the_end_releases_its_message() -> None:
    """Broken: a worker's task stays cancelled, and what settles the message is cancelled with it."""

    async def endless(received: ReceivedMessage) -> None:
        del received
        await asyncio.Event().wait()

    received = ReceivedMessage(token="res_1", queue_message=QueueMessage(message=make_message()))

    async def job() -> tuple[object, int]:
        outcome = await handle(
            {None: endless}, received, timeout_s=60, permanent=(), is_stopping=lambda: True
        )
        task = asyncio.current_task()
        assert task is not None
        return outcome, task.cancelling()

    task = asyncio.create_task(job())
    await asyncio.sleep(0)
    task.cancel()
    task.cancel()
    outcome, cancelling = await task
    assert (outcome, cancelling) == (Released(), 0)


async def test_worker_runs_in_a_thread_that_gets_no_signals(real_lane: RealLane) -> None:
    """Broken: a worker beside a web server, in a thread of its own, fails for the signals it cannot have."""
    seen: list[str | None] = []

    async def work() -> None:
        coordinator = RedisMessageCoordinator.from_url(real_lane.url)
        worker = AgentWorker(WORLD, coordinator)

        @worker.handler(MessageType.REQUEST)
        async def note(received: ReceivedMessage) -> None:
            seen.append(id_of(received))
            worker.stop()

        await send_ids(coordinator, ["message-1"])
        await worker.run()
        await coordinator.aclose()

    before = signal.getsignal(signal.SIGTERM)
    await asyncio.to_thread(lambda: asyncio.run(work()))
    assert seen == ["message-1"]
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_ends_a_worker_whose_loop_takes_none(
    number: signal.Signals, coordinator: RedisMessageCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: on Windows, whose loop takes no signals, Ctrl-C loses what the worker holds."""
    loop, begun = asyncio.get_running_loop(), asyncio.Event()

    def takes_none(*_: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(loop, "add_signal_handler", takes_none)
    monkeypatch.setattr(loop, "remove_signal_handler", takes_none)

    async def note(received: ReceivedMessage) -> None:
        del received
        begun.set()

    before = signal.getsignal(number)
    await send_ids(coordinator, ["message-1"])
    running = asyncio.create_task(AgentWorker(WORLD, coordinator, handlers={None: note}).run())
    await begun.wait()
    signal.raise_signal(number)
    await asyncio.wait_for(running, timeout=30)
    assert signal.getsignal(number) == before
