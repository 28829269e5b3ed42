"""What a registry starts in the background: held until it ends, told when it fails, ended once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

import pytest

from tta_agent_coordination.registries._tasks import OwnedTasks, Pending, ending, has_loop, nothing, runs


async def told(pending: Awaitable[None]) -> None:
    """Await what a synchronous method gave."""
    await pending


def test_loop_is_seen_where_there_is_one() -> None:
    """Broken: a registry made before the loop starts a task without one, or never starts any."""

    async def inside() -> bool:
        return has_loop()

    assert not has_loop()
    assert asyncio.run(inside())


async def test_failure_in_the_background_is_logged_with_its_name(caplog: pytest.LogCaptureFixture) -> None:
    """Broken: a task of ours dies and nobody hears of it."""

    async def fails() -> None:
        raise LookupError("gone")

    tasks = OwnedTasks()
    with caplog.at_level(logging.WARNING):
        task = tasks.start(fails(), "heartbeats of world:1")
        assert repr(tasks) == "OwnedTasks(1 running)"
        with pytest.raises(LookupError):
            await task
        await tasks.settle()
    assert repr(tasks) == "OwnedTasks(0 running)"
    assert [record.getMessage() for record in caplog.records] == [
        "heartbeats of world:1 failed: LookupError: gone"
    ]


async def test_end_of_a_task_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Broken: every close of a registry warns of what it has cancelled itself."""
    tasks = OwnedTasks()
    with caplog.at_level(logging.DEBUG, "tta_agent_coordination"):
        done = tasks.start(nothing(), "done")
        endless = tasks.start(asyncio.Event().wait(), "endless")
        await done
        await told(ending(endless))
        await tasks.settle()
    assert endless.cancelled()
    assert caplog.records == []


async def test_settling_waits_for_what_still_runs() -> None:
    """Broken: a registry counts as closed while what it started still writes."""
    ended: list[str] = []

    async def work() -> None:
        await asyncio.sleep(0)
        ended.append("work")

    tasks = OwnedTasks()
    tasks.start(work(), "work")
    await tasks.settle()
    assert ended == ["work"]


async def test_ending_waits_until_the_task_has_gone() -> None:
    """Broken: a registry counts as closed while its heartbeat still writes."""
    began, goes = asyncio.Event(), asyncio.Event()

    async def slow_to_end() -> None:
        try:
            began.set()
            await asyncio.Event().wait()
        finally:
            await goes.wait()

    task = asyncio.create_task(slow_to_end())
    await began.wait()
    waiting = asyncio.create_task(told(ending(task)))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    goes.set()
    await waiting
    assert task.cancelled()


async def test_ending_of_what_has_ended_is_done() -> None:
    """Broken: a second close cancels, or waits for, something that is not there."""
    task = asyncio.create_task(nothing())
    await task
    for each in (None, task):
        assert not runs(each)
        await told(ending(each))
    assert not task.cancelled()
    running = asyncio.create_task(asyncio.Event().wait())
    assert runs(running)
    await told(ending(running))


def test_task_of_a_loop_that_is_closed_is_left_alone() -> None:
    """Broken: close after `asyncio.run` fails, or waits for ever."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(nothing())
    loop.close()

    async def end() -> None:
        await told(ending(task))

    asyncio.run(end())
    assert not task.cancelling()
    task.get_coro().close()  # pyright: ignore[reportOptionalMemberAccess] - a task made of one


async def test_pending_can_be_awaited_again() -> None:
    """Broken: the answer of a synchronous method is good for one await only."""
    pending = Pending(nothing)
    await pending
    await pending
