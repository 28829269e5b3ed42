"""How a registry calls scripts: lanes, limits and errors; on a stand-in client, in virtual time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from tests.library.conftest import START_US
from tests.library.support.virtual import VirtualLoop, in_virtual_time
from tta_agent_coordination import _keys
from tta_agent_coordination._redis.client import Client
from tta_agent_coordination._redis.registry_scripts import RegistryReply, RegistryStatus
from tta_agent_coordination._redis.script import Call, Script
from tta_agent_coordination._redis.scripts import Lane
from tta_agent_coordination.exceptions import AgentRegistryError
from tta_agent_coordination.registries._store import MAX_IN_FLIGHT, RegistryStore
from tta_agent_coordination.testing import ManualClock

KEYS = _keys.registry("ao", hash_tags=False)
SCRIPT = Script("one", "return {}", "digest")


def read(answer: list[Any]) -> RegistryReply:
    """Return an answer as a reply."""
    return RegistryReply(RegistryStatus(answer[0]), str(answer[1]))


def call(lane: Lane) -> Call[RegistryReply]:
    """Return a script on a lane."""
    return Call(script=SCRIPT, keys=(lane.key,), args=(lane.seq,), read=read)


class Bench:
    """A client that answers when it is told to."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        self.takes_s = 0.0
        self.answer: object = ["ok", "fine"]
        self.sent: list[tuple[Any, ...]] = []
        self.options: list[dict[str, Any]] = []
        self.running = self.most = 0
        self.store = RegistryStore(cast("Client", self), KEYS, ManualClock(START_US))

    async def execute_command(self, *parts: Any, **options: Any) -> object:  # noqa: ANN401 - as redis-py
        """Answer after a while."""
        self.sent.append(parts)
        self.options.append(options)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(self.takes_s)
        finally:
            self.running -= 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    @property
    def lanes(self) -> list[tuple[int, int]]:
        """The number of the lane, and the place in the sequence, of each script that was sent."""
        return [(int(parts[3].rsplit(b":", 1)[1]), parts[4]) for parts in self.sent]


def run(main: Callable[[Bench], Awaitable[None]]) -> Bench:
    """Run a test in virtual time."""

    async def whole(loop: VirtualLoop) -> Bench:
        bench = Bench(loop)
        await main(bench)
        assert bench.running == 0
        return bench

    return in_virtual_time(whole)


def test_lane_is_used_again_when_its_call_is_over_and_by_one_call_at_a_time() -> None:
    """Broken: two calls share a memory, and one is told the other's answer; or memories pile up."""

    async def main(bench: Bench) -> None:
        bench.takes_s = 1
        reply = await bench.store.write(call)
        assert reply == RegistryReply(RegistryStatus.OK, "fine")
        await asyncio.gather(*(bench.store.write(call) for _ in range(3)))
        await bench.store.write(call)
        assert bench.lanes[0] == (0, 1)
        assert sorted(lane for lane, _ in bench.lanes[1:4]) == [0, 1, 2]
        assert bench.lanes[4][0] in (0, 1, 2)
        assert [place for _, place in bench.lanes] == [1, 2, 3, 4, 5]
        owner = bench.sent[0][3].rsplit(b":", 1)[0]
        assert all(parts[3].startswith(owner) for parts in bench.sent)
        assert owner.rpartition(b":")[2] != b""
        assert bench.sent[0][3] == _keys.registry_lane(KEYS, owner.rpartition(b":")[2].decode(), 0)
        assert len(owner.rpartition(b":")[2]) == 16

    bench = run(main)
    assert bench.options == [{"NEVER_DECODE": True}] * 5


@pytest.mark.parametrize("way", ["failed", "cancelled"])
def test_lane_of_a_call_that_did_not_come_back_is_free_again(way: str) -> None:
    """Broken: each failure costs a lane and a place under way, until nothing is sent any more."""

    async def main(bench: Bench) -> None:
        bench.takes_s = 1
        for _ in range(2 * MAX_IN_FLIGHT):
            if way == "failed":
                bench.answer = RedisConnectionError("no route")
                with pytest.raises(AgentRegistryError, match=r"^no route$"):
                    await bench.store.write(call)
            else:
                task = asyncio.create_task(bench.store.write(call))
                await asyncio.sleep(0.5)
                task.cancel()
                await asyncio.wait({task})
                assert task.cancelled()
        assert {lane for lane, _ in bench.lanes} == {0}

    run(main)


@pytest.mark.parametrize("way", ["write", "read", "command"])
def test_no_more_than_32_commands_are_under_way(way: str) -> None:
    """Broken: a registry of many agents takes every connection of the client, or only one."""

    async def main(bench: Bench) -> None:
        bench.takes_s = 1
        ways: dict[str, Callable[[], Awaitable[Any]]] = {
            "write": lambda: bench.store.write(call),
            "read": lambda: bench.store.read(call(Lane(b"lane:0", 1))),
            "command": lambda: bench.store.command("PING"),
        }
        for _ in range(2):
            await asyncio.gather(*(ways[way]() for _ in range(3 * MAX_IN_FLIGHT)))

    bench = run(main)
    assert bench.most == MAX_IN_FLIGHT == 32
    assert len(bench.sent) == 6 * MAX_IN_FLIGHT


def test_call_that_was_overtaken_is_an_error() -> None:
    """Broken: a registration that may not have been done counts as done."""

    async def main(bench: Bench) -> None:
        bench.answer = ["stale", ""]
        with pytest.raises(
            AgentRegistryError, match="a later call of this registry overtook this one; it may"
        ):
            await bench.store.write(call)

    run(main)


def test_call_that_takes_too_long_is_an_error() -> None:
    """Broken: a heartbeat waits for a silent server until its agent is dead, or a late one counts as lost."""

    async def main(bench: Bench) -> None:
        bench.takes_s = 5
        with pytest.raises(AgentRegistryError, match=r"did not answer within 2 s; it may or may not") as told:
            await bench.store.write(call, within_s=2)
        assert bench.loop.time() == 2
        assert isinstance(told.value.__cause__, TimeoutError)
        assert (await bench.store.write(call)).text == "fine"
        assert (await bench.store.write(call, within_s=6)).text == "fine"
        bench.takes_s = 900
        assert (await bench.store.read(call(Lane(b"lane:0", 1)))).text == "fine"

    run(main)


@pytest.mark.parametrize(
    "error", [RedisConnectionError("no route"), ResponseError("no route"), OSError("no route")]
)
def test_whatever_the_store_does_is_one_error(error: Exception) -> None:
    """Broken: callers have to know the client's errors, or lose the cause."""

    async def main(bench: Bench) -> None:
        bench.answer = error
        for asking in (
            bench.store.write(call),
            bench.store.read(call(Lane(b"lane:0", 1))),
            bench.store.command("PING"),
        ):
            with pytest.raises(AgentRegistryError, match=r"^no route$") as told:
                await asking
            assert told.value.__cause__ is error

    run(main)


def test_plain_command_goes_as_it_is() -> None:
    """Broken: another key is asked about, or bytes are read as text."""

    async def main(bench: Bench) -> None:
        bench.answer = [b"one"]
        assert await bench.store.command("HMGET", b"key", "field") == [b"one"]
        assert bench.sent == [("HMGET", b"key", "field")]
        assert bench.options == [{"NEVER_DECODE": True}]

    run(main)


def test_forked_process_has_lanes_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: after a fork two processes use one memory, and the call of one does nothing."""

    async def main(bench: Bench) -> None:
        for _ in range(2):
            await bench.store.write(call)
        before = bench.sent[0][3]
        monkeypatch.setattr(os, "getpid", lambda: 1)
        for _ in range(2):
            await bench.store.write(call)
        assert bench.sent[1][3] == before
        assert bench.sent[2][3] == bench.sent[3][3] != before
        assert bench.lanes == [(0, 1), (0, 2), (0, 1), (0, 2)]

    run(main)


def test_store_shows_its_keys_and_tells_its_clocks_time() -> None:
    """Broken: a script decides by another time than the test's."""

    async def main(bench: Bench) -> None:
        assert repr(bench.store) == "RegistryStore('ao')"
        assert bench.store.now_us() == str(START_US)
        assert bench.store.keys is KEYS
        assert bench.store.client is bench

    run(main)
