"""The subscription to other processes' changes, step by step: on a stand-in connection, in virtual time.

What it brings on a real server is in `test_breaker_push.py`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.library.support.virtual import VirtualLoop, in_virtual_time
from tta_agent_coordination.resilience import _breaker_push
from tta_agent_coordination.resilience._breaker_push import join, leave
from tta_agent_coordination.resilience._breaker_state import CircuitBreakerState, Record

CHANNEL = b"ao:cb:changes"
OPENED = b"open|3|2500000|1|svc"


class Ear:
    """A breaker that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[Record] = []
        self.looks = 0

    def changed_elsewhere(self, record: Record) -> None:
        self.told.append(record)

    def look_again(self) -> None:
        self.looks += 1


class Bench:
    """A client whose subscriptions bring what the test puts in."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        self.messages: deque[object] = deque()
        self.changed = asyncio.Event()
        self.subscribed: list[tuple[float, tuple[bytes, ...]]] = []
        self.waits: set[tuple[bool, float | None]] = set()
        self.refused = 0
        """So many further subscriptions fail."""
        self.open = 0

    def pubsub(self) -> Bench:
        self.open += 1
        return self

    async def subscribe(self, *channels: bytes) -> None:
        if self.refused:
            self.refused -= 1
            raise RedisConnectionError("no route")
        self.subscribed.append((self.loop.time(), channels))

    async def get_message(self, *, ignore_subscribe_messages: bool, timeout: float | None) -> Any:  # noqa: ANN401, ASYNC109 - as in redis-py
        self.waits.add((ignore_subscribe_messages, timeout))
        try:
            async with asyncio.timeout(timeout):
                while not self.messages:
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            return None
        message = self.messages.popleft()
        if isinstance(message, Exception):
            raise message
        return message

    async def aclose(self) -> None:
        self.open -= 1

    async def bring(self, *messages: object) -> None:
        """Have messages come, and let them be read."""
        self.messages.extend(messages)
        self.changed.set()
        await asyncio.sleep(0.01)


def run(main: Callable[[Bench], Awaitable[None]]) -> Bench:
    """Run a test in virtual time; nothing may listen afterwards."""

    async def whole(loop: VirtualLoop) -> Bench:
        bench = Bench(loop)
        await main(bench)
        assert bench.open == 0, "a connection is left open"
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert _breaker_push._listeners == {}
        return bench

    return in_virtual_time(whole)


@pytest.mark.parametrize("data", [OPENED, OPENED.decode()])
def test_change_is_told_to_each_breaker_of_that_name(data: object) -> None:
    """Broken: a twin, or a client that decodes its answers, never learns of an opening."""
    here, twin, other = Ear(), Ear(), Ear()

    async def main(bench: Bench) -> None:
        for name, ear in (("svc", here), ("svc", twin), ("other", other)):
            join(bench, CHANNEL, name, ear)
        assert [task.get_name() for task in asyncio.all_tasks()].count("breaker-changes-ao:cb:changes") == 1
        await bench.bring({"data": data})
        for name, ear in (("svc", here), ("svc", twin), ("other", other)):
            await leave(bench, CHANNEL, name, ear)

    bench = run(main)
    assert here.told == twin.told
    [record] = here.told
    assert (record.state, record.generation) == (CircuitBreakerState.OPEN, 3)
    assert other.told == []
    assert [ear.looks for ear in (here, twin, other)] == [1, 1, 1], "what was missed before is looked for"
    assert bench.subscribed == [(0, (CHANNEL,))]
    assert bench.waits == {(True, 1.0)}


@pytest.mark.parametrize(
    "odd", [{}, {"data": None}, {"data": 1}, {"data": b"\xff"}, {"data": b"hello"}, {"data": ""}]
)
def test_foreign_messages_are_passed_over(odd: object) -> None:
    """Broken: anything published on the channel deafens every breaker."""
    ear = Ear()

    async def main(bench: Bench) -> None:
        join(bench, CHANNEL, "svc", ear)
        await asyncio.sleep(3)
        await bench.bring(odd, {"data": OPENED.replace(b"svc", b"nobody")}, {"data": OPENED})
        await leave(bench, CHANNEL, "svc", ear)

    bench = run(main)
    assert len(ear.told) == 1
    assert len(bench.subscribed) == 1


def test_subscription_that_breaks_is_made_again_after_a_moment_and_everybody_looks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Broken: after an outage a breaker is deaf, does not know what it missed, or asks in a busy loop."""
    ears = Ear(), Ear(), Ear()

    async def main(bench: Bench) -> None:
        for name, ear in zip(("svc", "svc", "other"), ears, strict=True):
            join(bench, CHANNEL, name, ear)
        await asyncio.sleep(2)
        bench.refused = 2
        await bench.bring(OSError("gone"))
        await asyncio.sleep(0.4)
        assert bench.open == 0
        await asyncio.sleep(2)
        assert bench.open == 1
        await bench.bring({"data": OPENED})
        for name, ear in zip(("svc", "svc", "other"), ears, strict=True):
            await leave(bench, CHANNEL, name, ear)

    with caplog.at_level("INFO"):
        bench = run(main)
    assert bench.subscribed == [(0, (CHANNEL,)), (3.5, (CHANNEL,))]
    assert [ear.looks for ear in ears] == [2, 2, 2]
    assert [len(ear.told) for ear in ears] == [1, 1, 0]
    assert caplog.messages == [
        f"Circuit breakers: the subscription to b'ao:cb:changes' broke ({why}), subscribing again"
        for why in ("gone", "no route", "no route")
    ]


def test_fault_of_ours_ends_the_subscription_and_the_next_breaker_begins_another() -> None:
    """Broken: after an unforeseen error no breaker of this client ever hears of a change again."""
    first, second = Ear(), Ear()

    async def main(bench: Bench) -> None:
        join(bench, CHANNEL, "svc", first)
        await asyncio.sleep(1)
        listener = _breaker_push._listeners[(id(bench), CHANNEL)]
        await bench.bring(LookupError("a fault"))
        assert not listener.is_alive
        assert isinstance(listener._task.exception(), LookupError)
        assert bench.open == 0
        join(bench, CHANNEL, "svc", second)
        await bench.bring({"data": OPENED})
        assert bench.subscribed[1:] != []
        await leave(bench, CHANNEL, "svc", second)

    run(main)
    assert (len(first.told), len(second.told)) == (0, 1)


def test_who_left_is_told_nothing_and_the_others_go_on_hearing() -> None:
    """Broken: a closed breaker goes on changing, or takes the subscription of its twin with it."""
    leaves, stays = Ear(), Ear()

    async def main(bench: Bench) -> None:
        for ear in (leaves, stays):
            join(bench, CHANNEL, "svc", ear)
        join(bench, CHANNEL, "other", leaves)
        await asyncio.sleep(1)
        for name in ("svc", "svc", "nobody", "other"):
            await leave(bench, CHANNEL, name, leaves)
        listener = _breaker_push._listeners[(id(bench), CHANNEL)]
        assert repr(listener) == "ChangeListener(b'ao:cb:changes', ['svc'])"
        await bench.bring({"data": OPENED})
        assert (len(leaves.told), len(stays.told)) == (0, 1)
        await leave(bench, CHANNEL, "svc", stays)
        await leave(bench, CHANNEL, "svc", stays)

    bench = run(main)
    assert len(bench.subscribed) == 1


def test_who_leaves_while_a_change_is_told_does_not_disturb_the_telling() -> None:
    """Broken: a breaker that closes itself over a change makes its twin miss it."""
    twin = Ear()

    async def main(bench: Bench) -> None:
        class Leaves(Ear):
            def changed_elsewhere(self, record: Record) -> None:
                super().changed_elsewhere(record)
                _breaker_push._listeners[(id(bench), CHANNEL)].remove("svc", self)

        leaves = Leaves()
        join(bench, CHANNEL, "svc", leaves)
        join(bench, CHANNEL, "svc", twin)
        await bench.bring({"data": OPENED})
        assert (len(leaves.told), len(twin.told)) == (1, 1)
        await leave(bench, CHANNEL, "svc", twin)

    run(main)


def test_clients_and_prefixes_have_subscriptions_of_their_own() -> None:
    """Broken: a breaker of one server is opened by the breaker of another."""
    ears = [Ear() for _ in range(3)]

    async def main(bench: Bench) -> None:
        other = Bench(bench.loop)
        joined = [(bench, CHANNEL), (other, CHANNEL), (bench, b"tta:cb:changes")]
        for (client, channel), ear in zip(joined, ears, strict=True):
            join(client, channel, "svc", ear)
        await asyncio.sleep(1)
        assert [channels for _, channels in bench.subscribed] == [(CHANNEL,), (b"tta:cb:changes",)]
        await other.bring({"data": OPENED})
        assert [len(ear.told) for ear in ears] == [0, 1, 0]
        for (client, channel), ear in zip(joined, ears, strict=True):
            await leave(client, channel, "svc", ear)
        assert other.open == 0

    run(main)


def test_leaving_in_a_later_loop_waits_for_nobody_and_joining_begins_anew() -> None:
    """Broken: closing a breaker in a second event loop waits for a task of the first one, which is over."""
    ear = Ear()
    old: list[Bench] = []

    async def begin(loop: VirtualLoop) -> None:
        old.append(Bench(loop))
        join(old[-1], CHANNEL, "svc", ear)
        await asyncio.sleep(1)

    async def main(bench: Bench) -> None:
        client = old[0]
        assert not _breaker_push._listeners[(id(client), CHANNEL)].is_alive
        client.loop = bench.loop
        client.changed = asyncio.Event()
        join(client, CHANNEL, "svc", ear)
        await client.bring({"data": OPENED})
        assert len(ear.told) == 1
        await leave(client, CHANNEL, "svc", ear)
        assert client.open == 0

    async def only_leave(bench: Bench) -> None:
        await leave(old[1], CHANNEL, "svc", ear)
        assert bench.loop.time() == 0

    for second in (main, only_leave):
        in_virtual_time(begin)
        run(second)
