"""Calls: which lane each takes, what a cancelled one leaves, and which errors stand for the client's."""

# ruff: noqa: ANN401 - commands and answers of a Redis client may be anything
from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any

import pytest
import redis.asyncio as aioredis
from redis.exceptions import ResponseError

from tests.library.support.boxes import BOX, OTHER
from tests.library.support.commands import Send, intercept
from tests.library.support.servers import Lane as ServerLane
from tests.library.support.waiting import eventually
from tta_agent_coordination import MessageCoordinatorError
from tta_agent_coordination._redis import scripts, upkeep_scripts
from tta_agent_coordination._redis.script import Call
from tta_agent_coordination._redis.scripts import Lane, Reply
from tta_agent_coordination.coordinators import _calls
from tta_agent_coordination.coordinators._calls import Calls
from tta_agent_coordination.exceptions import StoreUnavailableError

NOW: dict[str, Any] = {"now_us": "", "audit": True, "max_deliveries": 10}
LANE = re.compile(rb"ao:op:world:1:[0-9a-f]{16}:(\d+)")


def leave(lane: Lane) -> Call[Reply]:
    """Return a call that changes nothing but its lane."""
    return scripts.unsubscribe(lane, BOX, types=["event"])


class Held:
    """Calls that a test lets go one by one."""

    def __init__(self) -> None:
        self.waiting: dict[int, asyncio.Event] = {}
        self.seen: list[int] = []

    async def around(self, send: Send, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Note which lane a script is sent on, and hold it back."""
        if args[0] == "EVALSHA" and b":op:world:1:" in args[3]:
            found = LANE.fullmatch(args[3])
            assert found is not None, args[3]
            index = int(found[1])
            self.seen.append(index)
            assert index not in self.waiting, f"lane {index} is taken twice"
            self.waiting[index] = asyncio.Event()
            try:
                await self.waiting[index].wait()
            finally:
                del self.waiting[index]
        return await send(*args, **options)


@contextmanager
def holding(client: aioredis.Redis) -> Generator[Held]:
    """Hold all scripts back for the length of a block."""
    held = Held()
    with intercept(client, held.around):
        yield held


async def refuse(*_: Any) -> Any:
    """Stand between a client and a store that refuses everything."""
    raise ResponseError("not today")


async def begun(held: Held, calls: Calls, indexes: set[int]) -> asyncio.Task[Reply]:
    """Start a call, and wait until exactly these lanes are on the way."""
    task = asyncio.create_task(calls.run(BOX, leave))
    await eventually(f"lanes {indexes} are taken", lambda: set(held.waiting) == indexes)
    return task


async def test_calls_alone_share_a_lane_and_count_on(client: aioredis.Redis) -> None:
    """Broken: each call leaves a key of its own for a day, or an old command is not told from a new one."""
    calls, lanes = Calls(client), list[Lane]()

    def build(lane: Lane) -> Call[Reply]:
        lanes.append(lane)
        return leave(lane)

    for _ in range(3):
        await calls.run(BOX, build)
    assert [lane.seq for lane in lanes] == [1, 2, 3]
    (key,) = {lane.key for lane in lanes}
    assert LANE.fullmatch(key)
    assert key.endswith(b":0")
    assert calls._busy == {}


async def test_calls_at_once_take_the_lowest_lanes_that_are_free(client: aioredis.Redis) -> None:
    """Broken: two calls under way share a lane, so that one is refused as stale; or no lane is used again."""
    calls = Calls(client)
    await calls.run(BOX, leave)
    with holding(client) as held:
        tasks = [await begun(held, calls, set(range(n + 1))) for n in range(4)]
        held.waiting[1].set()
        await tasks[1]
        held.waiting[2].set()
        await tasks[2]
        tasks[1] = await begun(held, calls, {0, 1, 3})
        tasks[2] = await begun(held, calls, {0, 1, 2, 3})
        tasks.append(await begun(held, calls, {0, 1, 2, 3, 4}))
        for waiting in held.waiting.values():
            waiting.set()
        answers = await asyncio.gather(*tasks)
    assert [answer.text for answer in answers] == ["0"] * 5
    assert calls._busy == {}


async def test_lanes_of_a_parent_are_left_to_it(
    client: aioredis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a forked process goes on in its parent's lanes, or stumbles over calls begun before."""
    calls = Calls(client)
    await calls.run(BOX, leave)
    owner, pid = calls._owner, os.getpid()
    with holding(client) as held:
        tasks: list[asyncio.Task[Any]] = [await begun(held, calls, set(range(n + 1))) for n in range(2)]
        monkeypatch.setattr(_calls.os, "getpid", lambda: pid + 1)
        tasks.append(asyncio.create_task(calls.run(OTHER, lambda lane: scripts.reclaim(lane, OTHER, **NOW))))
        await eventually("the child has begun", lambda: calls._owner != owner)
        for waiting in held.waiting.values():
            waiting.set()
        await asyncio.gather(*tasks)
    assert calls._busy == {}


async def test_cancelled_call_keeps_its_lane_until_it_is_undone(client: aioredis.Redis) -> None:
    """Broken: the undoing of a cancelled call races another call in its lane, or keeps the lane for ever."""
    calls = Calls(client)
    await calls.run(BOX, leave)
    with holding(client) as held:
        task = asyncio.create_task(calls.run(BOX, leave, undo=[leave]))
        await eventually("the call is under way", lambda: 0 in held.waiting)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await eventually("it is being undone", lambda: 0 in held.waiting)
        names = {one.get_name() for one in asyncio.all_tasks()}
        assert "undo a cancelled call for world:1" in names
        beside = await begun(held, calls, {0, 1})
        settling = asyncio.create_task(calls.settle())
        held.waiting[1].set()
        await beside
        assert not settling.done()
        held.waiting[0].set()
        await settling
        after = await begun(held, calls, {0})
        held.waiting[0].set()
        await after
    assert held.seen == [0, 0, 1, 0]
    assert (calls._busy, calls._undoing) == ({}, set())


async def test_cancelled_call_without_an_undoing_frees_its_lane(client: aioredis.Redis) -> None:
    """Broken: every cancelled ack takes a lane away."""
    calls = Calls(client)
    await calls.run(BOX, leave)
    with holding(client) as held:
        task = await begun(held, calls, {0})
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (calls._busy, calls._undoing) == ({}, set())


async def test_what_earlier_calls_did_can_be_undone_aside(client: aioredis.Redis) -> None:
    """Broken: undoing holds up who was cancelled, or shares a lane with who comes next."""
    calls = Calls(client)
    await calls.run(BOX, leave)
    with holding(client) as held:
        calls.undo(BOX, [])
        assert calls._undoing == set()
        calls.undo(BOX, [leave])
        await eventually("it is being undone", lambda: 0 in held.waiting)
        beside = await begun(held, calls, {0, 1})
        for number in (1, 0):
            held.waiting[number].set()
        await beside
        await calls.settle()
    assert (calls._busy, calls._undoing) == ({}, set())


async def test_undoing_that_fails_is_said_and_frees_its_lane(
    client: aioredis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: nobody learns which inbox's message comes only when its lease ends."""
    calls, reached = Calls(client), asyncio.Event()

    async def around(*_: Any) -> Any:
        if reached.is_set():
            raise ResponseError("not today")
        reached.set()
        return await asyncio.Event().wait()

    with intercept(client, around):
        task = asyncio.create_task(calls.run(BOX, leave, undo=[leave]))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await calls.settle()
    assert caplog.messages == [
        (
            "Could not give back what a cancelled receive took for world:1 (not today); it comes again when "
            "its lease ends"
        )
    ]
    assert calls._busy == {}


CALLS: dict[str, Callable[[Calls], Awaitable[Any]]] = {
    "run": lambda calls: calls.run(BOX, leave),
    "read": lambda calls: calls.read(upkeep_scripts.stats(BOX, now_us="")),
    "add_to_set": lambda calls: calls.add_to_set(b"index", "name"),
    "scan_page": lambda calls: calls.scan_page("SCAN", 0),
    "commands": lambda calls: calls.commands([("GET", "key")]),
}


@pytest.mark.parametrize("name", CALLS)
async def test_error_of_the_store_comes_with_its_words(client: aioredis.Redis, name: str) -> None:
    """Broken: an operator reads that something failed, and not what the server said."""
    calls = Calls(client)
    with (
        intercept(client, refuse),
        pytest.raises(StoreUnavailableError, match=r"^not today$") as caught,
    ):
        await CALLS[name](calls)
    assert isinstance(caught.value.__cause__, ResponseError)


async def test_pipelines_answer_with_the_words_of_each_error(client: aioredis.Redis) -> None:
    """Broken: what failed as a whole fails without a reason."""
    calls = Calls(client)
    with intercept(client, refuse):
        answers = await calls.run_many([(BOX, leave), (OTHER, leave)])
    assert [str(answer) for answer in answers] == ["not today"] * 2
    assert all(isinstance(answer, MessageCoordinatorError) for answer in answers)
    assert calls._busy == {}


async def test_scripts_go_in_pages_and_all_answer(
    client: aioredis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: of more scripts than a pipeline holds, only the last page answers."""
    monkeypatch.setattr(_calls, "PIPELINE_CALLS", 2)
    answers = await Calls(client).run_many([(BOX if n % 2 else OTHER, leave) for n in range(5)])
    assert [isinstance(answer, Reply) for answer in answers] == [True] * 5


async def test_plain_commands_go_in_pages_and_answer_in_order(
    client: aioredis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a broadcast to thousands is one endless pipeline, or an answer is somebody else's."""
    monkeypatch.setattr(_calls, "PIPELINE_CALLS", 2)
    calls = Calls(client)
    anything: Any = client
    transactions, sent = list[Any](), list[str]()

    async def around(send: Send, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        sent.append(str(args[0]))
        return await send(*args, **options)

    with intercept(client, around):
        make = anything.pipeline

        def pipeline(*, transaction: bool) -> Any:
            transactions.append(transaction)
            return make(transaction=transaction)

        anything.pipeline = pipeline
        assert await calls.commands([]) == []
        assert await calls.commands([("ECHO", str(n)) for n in range(5)]) == [b"0", b"1", b"2", b"3", b"4"]
    assert sent == ["PIPELINE"] * 3
    assert transactions == [False] * 3  # on a cluster they lie in many slots


async def test_answers_are_bytes_whatever_the_client_decodes(lane: ServerLane) -> None:
    """Broken: an index that holds a name in another encoding ends every broadcast of a decoding client."""
    client = lane.client(decode_responses=True)
    calls = Calls(client)
    await client.sadd("ao:index", b"\xff")  # type: ignore[misc]  # the client's stubs know no bytes here
    assert await calls.scan_page("SSCAN", "ao:index", 0) == (0, [b"\xff"])
    assert await calls.commands([("SMEMBERS", "ao:index")]) in ([{b"\xff"}], [[b"\xff"]])
    await client.delete("ao:index")
