"""What we offer to users' own tests: it must be true to the real thing."""

from __future__ import annotations

import asyncio
import builtins
import importlib
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

import pytest
from redis.exceptions import ResponseError

from tests.library.conftest import EMBEDDED_GAP
from tests.library.support.builders import WORLD, drain, send_ids
from tests.library.support.peek import Peek
from tests.library.support.servers import Lane
from tta_agent_coordination import RedisMessageCoordinator
from tta_agent_coordination.testing import CrashingClient, InjectedCrash, ManualClock, embedded_redis


@pytest.mark.parametrize("decode_responses", [False, True])
async def test_embedded_redis_runs_the_coordinator(decode_responses: bool) -> None:
    """Broken: a user's test needs no server."""
    if EMBEDDED_GAP:
        with pytest.raises(ImportError, match="embedded"):
            embedded_redis()
        return
    client = embedded_redis(decode_responses=decode_responses)
    async with RedisMessageCoordinator(client) as coordinator:
        await send_ids(coordinator, ["message-1"])
        assert await drain(coordinator) == ["message-1"]
    await client.aclose()


async def test_embedded_redis_is_a_store_of_its_own(lane: Lane) -> None:
    """Broken: two tests would see each other's messages."""
    del lane
    if EMBEDDED_GAP:
        return
    first, second = embedded_redis(), embedded_redis()
    async with RedisMessageCoordinator(first) as one, RedisMessageCoordinator(second) as other:
        await send_ids(one, ["message-1"])
        assert await other.receive(WORLD) is None
        assert await drain(one) == ["message-1"]
    for client in (first, second):
        await client.aclose()


def test_embedded_redis_says_which_extra_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: without the extra, the error names the command that helps."""
    real_import: Callable[..., ModuleType] = builtins.__import__

    def without_fakeredis(
        name: str,
        names: Mapping[str, object] | None = None,
        local: Mapping[str, object] | None = None,
        fromlist: Sequence[str] = (),
        level: int = 0,
    ) -> ModuleType:
        if name == "fakeredis":
            raise ImportError(name)
        return real_import(name, names, local, fromlist, level)

    monkeypatch.setattr(builtins, "__import__", without_fakeredis)
    with pytest.raises(ImportError, match=r"pip install .*\[embedded\]"):
        embedded_redis()


async def test_embedded_redis_can_be_shared_and_can_decode() -> None:
    """Broken: two clients of one test see different stores, or get answers of a type they did not ask for."""
    if EMBEDDED_GAP:
        return
    server = importlib.import_module("fakeredis").FakeServer()
    writing, reading = embedded_redis(server=server), embedded_redis(server=server, decode_responses=True)
    other = embedded_redis()
    await writing.set("key", "value")
    assert [await client.get("key") for client in (writing, reading, other)] == [b"value", "value", None]
    for client in (writing, reading, other):
        await client.aclose()


def test_manual_clock_moves_only_when_told() -> None:
    """Broken: a test that moves the time decides what is due."""
    clock = ManualClock(1_000_000)
    assert clock.now_us() == clock.now_us() == 1_000_000
    clock.advance(1.5)
    assert clock.now_us() == 2_500_000
    clock.advance(-2.5)
    assert clock.now_us() == 0
    clock.advance(0.000_001)
    assert clock.now_us() == 1
    clock.set(7)
    assert clock.now_us() == 7
    assert repr(clock) == "ManualClock(7)"
    assert ManualClock().now_us() == 1_700_000_000_000_000


@pytest.mark.parametrize("after", [False, True])
async def test_crashing_client_dies_once_and_for_good(lane: Lane, after: bool) -> None:
    """Broken: a crash before a command leaves it undone, one after it leaves it done, and both are final."""
    await send_ids(RedisMessageCoordinator(lane.client()), ["message-1"])
    dying = CrashingClient(lane.client(), crash_at=0, after=after)
    coordinator = RedisMessageCoordinator(dying)
    with pytest.raises(InjectedCrash):
        await coordinator.receive(WORLD)
    assert dying.crashed is True
    assert repr(dying) == "CrashingClient(dead)"
    with pytest.raises(InjectedCrash):
        await coordinator.receive(WORLD)
    survivor = RedisMessageCoordinator(lane.client())
    stats = await survivor.stats(WORLD)
    assert (stats.ready, stats.reserved) in ({(0, 1), (1, 0)} if after else {(1, 0)})
    await Peek(lane.client()).raw("FLUSHALL")


async def test_crashing_client_lets_the_given_number_pass(lane: Lane) -> None:
    """Broken: a test says after how many commands the process dies; a pipeline is one of them."""
    dying = CrashingClient(lane.client(), crash_at=2)
    assert repr(dying) == "CrashingClient(2 commands to live)"
    assert dying.crashed is False
    assert await dying.execute_command("PING")
    pipeline = dying.pipeline(transaction=False)
    for _ in range(5):
        pipeline.execute_command("PING")
    assert len(await pipeline.execute()) == 5
    assert not dying.crashed
    with pytest.raises(InjectedCrash):
        await dying.pipeline().execute()
    assert dying.crashed


@pytest.mark.parametrize("after", [False, True])
async def test_crashing_client_counts_a_command_that_failed(lane: Lane, after: bool) -> None:
    """Broken: a crash comes later than the test says, behind as many commands as the server refused."""
    dying = CrashingClient(lane.client(), crash_at=1, after=after)
    with pytest.raises(ResponseError):
        await dying.execute_command("HGET", "too", "few", "or", "many")
    assert not dying.crashed
    with pytest.raises(InjectedCrash):
        await dying.execute_command("HGET", "too", "few", "or", "many")
    assert dying.crashed


async def test_dead_client_sends_nothing_and_can_be_closed(lane: Lane) -> None:
    """Broken: a test of a crash leaves sockets behind, or its dead client still reaches the store."""
    dying = CrashingClient(lane.client(), crash_at=0)

    async def never() -> None:
        raise AssertionError("it was sent")

    for send in (never(), asyncio.ensure_future(asyncio.sleep(0))):
        with pytest.raises(InjectedCrash):
            await dying._pass(send)
    await dying.aclose()
    assert dying.crashed


async def test_crashing_client_is_otherwise_the_client(lane: Lane) -> None:
    """Broken: whatever else is asked of a client is answered by it."""
    client = lane.client()
    assert CrashingClient(client, crash_at=0).connection_pool is client.connection_pool


async def test_crash_is_before_the_command_unless_asked_otherwise(lane: Lane) -> None:
    """Broken: a test of a crash before a command finds it carried out, or a dead client carries one out."""
    client: Any = lane.client()
    for after, left in ((False, None), (True, b"1")):
        dying = (
            CrashingClient(lane.client(), crash_at=0, after=after)
            if after
            else CrashingClient(lane.client(), crash_at=0)
        )
        for key in ("first", "second"):
            with pytest.raises(InjectedCrash):
                await dying.execute_command("SET", key, "1")
        assert [await client.get(key) for key in ("first", "second")] == [left, None]
    await client.flushall()


async def test_crashing_client_hands_on_options(lane: Lane) -> None:
    """Broken: an answer is decoded that was asked for as it is, or a pipeline hides what failed."""
    dying = CrashingClient(lane.client(decode_responses=True), crash_at=10)
    await dying.execute_command("SET", "key", "value")
    assert await dying.execute_command("GET", "key", NEVER_DECODE=True) == b"value"
    pipeline = dying.pipeline()
    pipeline.execute_command("INCR", "key")
    with pytest.raises(ResponseError):
        await pipeline.execute()
    pipeline = dying.pipeline()
    pipeline.execute_command("INCR", "key")
    [failed] = await pipeline.execute(raise_on_error=False)
    assert isinstance(failed, ResponseError)
    await dying.execute_command("DEL", "key")
