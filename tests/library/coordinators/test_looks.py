"""When a waiting receive looks again, and what each look asks: on a stand-in store, in virtual time.

What wakes it is in `test_waker.py`, what it finds on a real inbox in `test_waiting.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import Any, cast

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from tests.library.support.boxes import BOX
from tests.library.support.builders import id_of, make_message
from tests.library.support.virtual import VirtualLoop, in_virtual_time
from tta_agent_coordination import _codec, _keys
from tta_agent_coordination._redis.script import Call
from tta_agent_coordination._redis.scripts import Exchanged, Lane, Reserved, Status
from tta_agent_coordination.coordinators._calls import Calls
from tta_agent_coordination.coordinators._leases import Leases
from tta_agent_coordination.coordinators._observer import Observer
from tta_agent_coordination.coordinators._waking import IDLE_S, Waker
from tta_agent_coordination.exceptions import StoreUnavailableError
from tta_agent_coordination.messaging import ReceivedMessage

LEASE_US = 5_000_000
ENTRY = _codec.encode_entry(
    _codec.encode_message(make_message())[0], priority=5, enqueued_at="2023-11-14T22:13:20+00:00", nonce="0a"
)
FOUND = Reserved(
    status=Status.OK, token="res_1", entry=ENTRY, deadline_us=1_700_000_005_000_000, deliveries=1
)


def nothing(pause_s: float) -> Reserved:
    """The answer of an inbox in which something is due after so long; -1 for never."""
    return Reserved(status=Status.EMPTY, pause_us=round(pause_s * 1_000_000) if pause_s >= 0 else -1)


def away(why: Exception) -> StoreUnavailableError:
    """What a look fails with, and why."""
    error = StoreUnavailableError(str(why))
    error.__cause__ = why
    return error


class Bench:
    """A store that answers looks as it is told to, an observer, and a waker whose markers the test sets."""

    def __init__(self, loop: VirtualLoop, *, many: bool) -> None:
        self.loop = loop
        self.many = many
        self.looks: list[tuple[float, int]] = []
        """When each look was, and whether it waits (1) or took a marker (2)."""
        self.owners: list[str] = []
        """For which registration each look takes leases."""
        self.undo: list[str] = []
        self.answers: deque[Reserved | Exception] = deque()
        self.asleep_s: list[float] = []
        self.marker = asyncio.Event()
        self.inboxes: list[bytes] = []
        self.left = 0
        self.leases = Leases(
            cast("Calls", self),
            cast("Observer", self),
            cast("Waker", self),
            audit=True,
            clock=None,
            max_deliveries=10,
            ageing_us=0,
        )

    async def run(
        self, box: _keys.Inbox, build: Callable[[Lane], Call[Any]], *, undo: Sequence[Any] = ()
    ) -> Reserved | Exchanged:
        """As `Calls.run`."""
        assert box is BOX
        call = build(Lane(b"lane", 1))
        assert call.script.name == ("exchange" if self.many else "reserve")
        self.looks.append((round(self.loop.time(), 6), int(call.args[6 if self.many else 7])))
        assert call.args[4 if self.many else 5] == LEASE_US
        self.owners.append(str(call.args[8]))
        calls = [each(Lane(b"lane", 1)) for each in undo]
        self.undo = [f"{each.script.name} {each.args[-1]}" for each in calls]
        answer = self.answers.popleft() if self.answers else nothing(-1)
        await asyncio.sleep(0)
        if isinstance(answer, Exception):
            raise answer
        if not self.many:
            return answer
        taken = (answer,) if answer.status is Status.OK else ()
        return Exchanged(status=Status.OK, taken=taken, pause_us=answer.pause_us)

    def reclaimed(self, inbox: str, dead: int) -> None:
        """As `Observer.reclaimed`."""

    @contextlib.contextmanager
    def join(self, key: bytes) -> Generator[Bench]:
        """As `Waker.join`."""
        self.inboxes.append(key)
        try:
            yield self
        finally:
            self.left += 1

    async def wait(self, seconds: float) -> bool:
        """As `Ticket.wait`."""
        self.asleep_s.append(round(seconds, 6))
        try:
            async with asyncio.timeout(seconds):
                await self.marker.wait()
        except TimeoutError:
            return False
        self.marker.clear()
        return True

    async def receive(self, wait_s: float) -> ReceivedMessage | None:
        """Receive, or receive many and expect at most one."""
        if not self.many:
            return await self.leases.receive(BOX, LEASE_US, wait_s)
        received = await self.leases.receive_many(BOX, 3, LEASE_US, wait_s)
        assert len(received) <= 1
        return received[0] if received else None


Run = Callable[[Callable[[Bench], Any]], Bench]


@pytest.fixture(params=["receive", "receive_many"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run a test in virtual time; what it waited with has been left afterwards."""

    def in_loop(main: Callable[[Bench], Any]) -> Bench:
        async def whole(loop: VirtualLoop) -> Bench:
            bench = Bench(loop, many=request.param == "receive_many")
            await main(bench)
            assert bench.left == len(bench.inboxes)
            return bench

        return in_virtual_time(whole)

    return in_loop


def test_call_that_does_not_wait_looks_once(run: Run) -> None:
    """Broken: a receive that should answer at once waits, or takes a place among those who do."""

    async def main(bench: Bench) -> None:
        assert await bench.receive(0) is None
        assert bench.loop.time() == 0
        bench.answers.append(FOUND)
        assert id_of(await bench.receive(0)) == "message-1"

    bench = run(main)
    assert [waiting for _, waiting in bench.looks] == [0, 0]
    assert bench.inboxes == []


def test_what_is_due_is_taken_without_waiting(run: Run) -> None:
    """Broken: a busy consumer pays for waiting."""

    async def main(bench: Bench) -> None:
        bench.answers.append(FOUND)
        assert id_of(await bench.receive(60)) == "message-1"

    bench = run(main)
    assert bench.looks == [(0, 1)]
    assert bench.inboxes == []


def test_wait_looks_as_soon_as_something_is_due_and_at_least_every_two_seconds(run: Run) -> None:
    """Broken: a delayed message, a lease that ends or a message of v0 is seen late; or it asks all day."""

    async def main(bench: Bench) -> None:
        bench.answers.extend([nothing(0.5), nothing(60), nothing(-1), nothing(0), nothing(0.25), FOUND])
        assert id_of(await bench.receive(60)) == "message-1"

    bench = run(main)
    assert bench.looks == [(0, 1), (0.5, 1), (2.4, 1), (4.3, 1), (4.301, 1), (4.551, 1)]
    assert bench.inboxes == [BOX.wake]
    assert IDLE_S == 1.9


def test_wait_ends_when_its_time_is_up(run: Run) -> None:
    """Broken: a wait takes longer than it may, or ends before its time."""

    async def main(bench: Bench) -> None:
        assert await bench.receive(5) is None
        assert bench.loop.time() == 5

    bench = run(main)
    assert bench.looks == [(0, 1), (1.9, 1), (3.8, 1), (5, 1)]
    assert bench.asleep_s == [1.9, 1.9, 1.2]


def test_marker_ends_the_pause_and_is_told_to_the_store(run: Run) -> None:
    """Broken: who was woken looks late, or leaves the marker of the next message unset."""

    async def main(bench: Bench) -> None:
        for at_s in (0.5, 1.0):
            bench.loop.call_at(at_s, bench.marker.set)
        bench.answers.extend([nothing(60), nothing(60), nothing(60), FOUND])
        assert id_of(await bench.receive(60)) == "message-1"

    assert run(main).looks == [(0, 1), (0.5, 2), (1.0, 2), (2.9, 1)]


@pytest.mark.parametrize("why", [RedisConnectionError("refused"), TimeoutError("late"), OSError("no route")])
def test_look_that_finds_no_server_is_tried_again_a_moment_later(run: Run, why: Exception) -> None:
    """Broken: one refused connection ends a wait of an hour, or the server is asked in a busy loop."""

    async def main(bench: Bench) -> None:
        bench.loop.call_at(2.2, bench.marker.set)
        bench.answers.extend([nothing(60), away(why), away(why), away(why), FOUND])
        assert id_of(await bench.receive(60)) == "message-1"

    assert run(main).looks == [(0, 1), (1.9, 1), (2.1, 1), (2.2, 2), (2.4, 1)]


def test_outage_that_outlasts_the_wait_is_raised(run: Run) -> None:
    """Broken: an outage that lasts as long as the wait looks like an empty inbox."""

    async def main(bench: Bench) -> None:
        errors = [away(RedisConnectionError(f"refused {number}")) for number in range(9)]
        bench.answers.extend([nothing(60), *errors])
        with pytest.raises(StoreUnavailableError, match="refused 2"):
            await bench.receive(2.2)

    assert run(main).looks == [(0, 1), (1.9, 1), (2.1, 1), (2.2, 1)]


def test_what_the_store_answers_is_raised_at_once(run: Run) -> None:
    """Broken: a damaged inbox is waited for instead of being reported."""

    async def main(bench: Bench) -> None:
        bench.answers.extend([nothing(60), away(ResponseError("WRONGTYPE"))])
        with pytest.raises(StoreUnavailableError, match="WRONGTYPE"):
            await bench.receive(60)

    assert run(main).looks == [(0, 1), (1.9, 1)]


def test_first_look_raises_whatever_it_fails_with(run: Run) -> None:
    """Broken: a caller with a wrong address waits for as long as it was ready to, and hears of nothing."""

    async def main(bench: Bench) -> None:
        bench.answers.append(away(RedisConnectionError("refused")))
        with pytest.raises(StoreUnavailableError, match="refused"):
            await bench.receive(60)

    assert run(main).looks == [(0, 1)]


def test_each_look_of_a_wait_can_be_undone(run: Run) -> None:
    """Broken: a message that a cancelled wait took hangs under a lease that nobody knows of."""

    async def main(bench: Bench) -> None:
        await bench.receive(1)
        tokens = [entry.removeprefix("release ") for entry in bench.undo]
        assert len(tokens) == len(set(tokens)) == (3 if bench.many else 1)
        assert all(token.startswith("res_") and len(token) == len("res_") + 16 for token in tokens)
        await bench.receive(0)
        assert len(bench.undo) == (3 if bench.many else 0)

    run(main)


def test_leases_are_taken_for_the_registration_of_the_moment(run: Run) -> None:
    """Broken: leases of a dead agent come back only when they end, or those of its successor with them."""
    epochs: list[int | None] = [7, None, 0]

    async def main(bench: Bench) -> None:
        bench.leases.owners["narrative:1"] = lambda: 1
        await bench.receive(0)
        bench.leases.owners[BOX.name] = lambda: epochs.pop(0)
        for _ in range(3):
            await bench.receive(0)

    assert run(main).owners == ["", "7", "", "0"]
