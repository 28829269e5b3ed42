"""How waiting receives are woken, step by step: on a stand-in for the connection, in virtual time.

What a receive makes of it on a real inbox is in `test_waiting.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.library.support.virtual import VirtualLoop, in_virtual_time
from tta_agent_coordination.coordinators import _waking
from tta_agent_coordination.coordinators._calls import Calls
from tta_agent_coordination.coordinators._waking import IDLE_S, Ticket, Waker
from tta_agent_coordination.exceptions import MessageCoordinatorError, StoreUnavailableError

A, B = b"ao:wake:world:1", b"ao:wake:narrative:1"


class Bench:
    """A server with markers, the way to it, and a waker on both."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        self.client = object()
        self.markers: set[bytes] = set()
        self.changed = asyncio.Event()
        self.reads: list[tuple[bytes, ...]] = []
        """Which keys each read looks at, in their order; the waker's own, which comes first, left out."""
        self.read_s: set[float] = set()
        self.commanded: list[tuple[object, ...]] = []
        self.commanding = asyncio.Event()
        self.opened = 0
        self.closed = 0
        self.open_errors: list[Exception] = []
        self.read_errors: list[Exception] = []
        self.command_errors: list[Exception] = []
        self.waker = Waker(cast("Calls", self), "ao")

    def put(self, key: bytes) -> None:
        """Set a marker, as a send does."""
        self.markers.add(key)
        self.changed.set()

    async def commands(self, parts: Sequence[tuple[Any, ...]]) -> None:
        """As `Calls.commands`: what the waker sets."""
        self.commanded.extend(parts)
        self.commanding.set()
        await asyncio.sleep(0.001)
        if self.command_errors:
            raise self.command_errors.pop(0)
        self.put(parts[0][1])

    async def open(self, client: object) -> Bench:
        """As `Link.open`."""
        assert client is self.client
        await asyncio.sleep(0.001)
        if self.open_errors:
            raise self.open_errors.pop(0)
        self.opened += 1
        return self

    async def close(self) -> None:
        """As `Link.close`."""
        self.closed += 1

    async def pop_marker(self, keys: Sequence[bytes], seconds: float) -> bytes | None:
        """As `Link.pop_marker`."""
        own, *others = keys
        assert own == self.waker._private
        self.reads.append(tuple(others))
        self.read_s.add(seconds)
        end = self.loop.time() + seconds
        while True:
            if self.read_errors:
                raise self.read_errors.pop(0)
            for key in keys:
                if key in self.markers:
                    self.markers.remove(key)
                    return key
            self.changed.clear()
            try:
                async with asyncio.timeout_at(end):
                    await self.changed.wait()
            except TimeoutError:
                return None

    def break_connection(self, error: Exception) -> None:
        """Have the read that is under way, or the next one, fail."""
        self.read_errors.append(error)
        self.changed.set()

    async def turn(self) -> None:
        """Let everything happen that needs no time to speak of."""
        await asyncio.sleep(0.01)


def run(monkeypatch: pytest.MonkeyPatch, main: Callable[[Bench], Awaitable[None]]) -> Bench:
    """Run a test in virtual time; afterwards nobody waits, and nothing may be left."""

    async def whole(loop: VirtualLoop) -> Bench:
        bench = Bench(loop)
        monkeypatch.setattr(_waking, "Link", bench)
        await main(bench)
        await bench.waker.settle()
        assert bench.closed == bench.opened, "a connection is kept that nobody reads"
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert bench.waker._tickets == {}
        assert bench.waker._pending == {}
        return bench

    return in_virtual_time(whole)


def waiting(ticket: Ticket, seconds: float = 60) -> asyncio.Task[bool]:
    """Start to wait."""
    return asyncio.create_task(ticket.wait(seconds))


def test_marker_ends_the_wait_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a message that is sent is seen by chance, at the next look."""

    async def main(bench: Bench) -> None:
        with bench.waker.join(A) as ticket:
            task = waiting(ticket)
            await asyncio.sleep(10)
            assert not task.done()
            began = bench.loop.time()
            bench.put(A)
            assert await task is True
            assert bench.loop.time() == began
            assert bench.waker._pending == {}, "no further marker is taken for a call that looks"

    bench = run(monkeypatch, main)
    assert set(bench.reads) == {(A,)}
    assert bench.read_s == {IDLE_S}
    assert bench.commanded == []
    assert bench.opened == 1


def test_wait_without_a_marker_ends_when_its_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: what has no marker is never seen, or the server is asked all the time."""

    async def main(bench: Bench) -> None:
        began = bench.loop.time()
        with bench.waker.join(A) as ticket:
            for _ in range(2):
                assert await ticket.wait(3) is False
                assert ticket.turn is None
        assert 6 <= bench.loop.time() - began < 6.1
        assert len(bench.reads) <= 5

    run(monkeypatch, main)


def test_no_marker_is_read_while_everybody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a marker is taken from those who wait elsewhere, for one who is looking already."""

    async def main(bench: Bench) -> None:
        with bench.waker.join(A) as ticket:
            await asyncio.sleep(10)
            assert bench.reads == []
            assert await ticket.wait(1) is False
            await asyncio.sleep(10)
            bench.put(A)
            await bench.turn()
            assert bench.markers == {A}
            assert await ticket.wait(1) is True

    run(monkeypatch, main)


def test_inbox_that_comes_later_interrupts_the_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a second consumer is not woken before the read of the first ends, or each costs a command."""

    async def main(bench: Bench) -> None:
        with contextlib.ExitStack() as joined:
            first = waiting(joined.enter_context(bench.waker.join(A)))
            await bench.turn()
            again = waiting(joined.enter_context(bench.waker.join(A)))
            await bench.turn()
            assert bench.commanded == [], "this marker is read already"
            keys = [f"ao:wake:agent:{number}".encode() for number in range(3)]
            others = [waiting(joined.enter_context(bench.waker.join(key))) for key in keys]
            await bench.turn()
            private = bench.waker._private
            assert bench.commanded == [("ZADD", private, 0, "1"), ("PEXPIRE", private, 10_000)]
            assert bench.reads[-1] == (A, *keys)
            later = waiting(joined.enter_context(bench.waker.join(B)))
            await bench.turn()
            assert len(bench.commanded) == 4, "it can be interrupted again"
            assert bench.reads[-1] == (A, *keys, B)
            for key in (A, A, *keys, B):
                bench.put(key)
                await bench.turn()
            assert await asyncio.gather(first, again, *others, later) == [True] * 6

    run(monkeypatch, main)


def test_interruption_that_fails_can_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: one failed command, and no later consumer is ever woken; or the wait itself fails."""

    async def main(bench: Bench) -> None:
        with bench.waker.join(A) as one, bench.waker.join(B) as other:
            first = waiting(one, 1.5)
            await bench.turn()
            bench.command_errors.append(StoreUnavailableError("away"))
            assert await other.wait(0.5) is False
            second = waiting(other)
            await bench.turn()
            assert bench.reads[-1] == (A, B)
            bench.put(B)
            assert await second is True
            assert await first is False

    run(monkeypatch, main)


def test_inboxes_are_looked_at_in_the_order_of_their_last_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: one busy inbox keeps the markers of the others from ever being taken."""

    async def main(bench: Bench) -> None:
        with bench.waker.join(A) as busy, bench.waker.join(B) as quiet:
            first, second = waiting(busy), waiting(quiet)
            await bench.turn()
            assert bench.reads[-1] == (A, B)
            bench.put(A)
            assert await first is True
            first = waiting(busy)
            await bench.turn()
            assert bench.reads[-1] == (B, A)
            bench.put(A)
            bench.put(B)
            assert await asyncio.gather(first, second) == [True, True]

    run(monkeypatch, main)


def test_marker_goes_to_who_waits_longest_and_to_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: one marker wakes all, or a younger wait overtakes an older one."""

    async def main(bench: Bench) -> None:
        with bench.waker.join(A) as first, bench.waker.join(A) as second, bench.waker.join(A) as third:
            tasks = [waiting(ticket) for ticket in (second, first, third)]
            await bench.turn()
            done: list[list[bool]] = []
            for _ in range(3):
                bench.put(A)
                await bench.turn()
                done.append([task.done() for task in tasks])
            assert done == [[False, True, False], [True, True, False], [True, True, True]]
            assert [task.result() for task in tasks] == [True] * 3

    bench = run(monkeypatch, main)
    assert set(bench.reads) == {(A,)}, "the marker is read for as long as anybody waits for it"


def test_marker_that_comes_during_a_look_is_kept_for_its_next_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a message sent right after a look that found nothing is seen one wait too late."""

    async def main(bench: Bench) -> None:
        with bench.waker.join(A) as ticket, bench.waker.join(A) as younger:
            bench.waker._give(A)
            assert (ticket.hinted, younger.hinted) == (True, False)
            began = bench.loop.time()
            assert await ticket.wait(60) is True
            assert bench.loop.time() == began
            assert await ticket.wait(1) is False, "it was one marker"
            assert ticket.hinted is False

    bench = run(monkeypatch, main)
    assert bench.commanded == []


@pytest.mark.parametrize("somebody_waits", [True, False])
def test_marker_of_one_who_leaves_goes_to_the_next_or_back(
    monkeypatch: pytest.MonkeyPatch, somebody_waits: bool
) -> None:
    """Broken: a message is due, its marker went with a call that was cancelled, and others sleep on."""

    async def main(bench: Bench) -> None:
        with bench.waker.join(B) as elsewhere:
            held = waiting(elsewhere, 5)
            await bench.turn()
            with contextlib.ExitStack() as joined:
                with bench.waker.join(A):
                    other = joined.enter_context(bench.waker.join(A)) if somebody_waits else None
                    task = waiting(other) if other else None
                    await bench.turn()
                    bench.waker._give(A)
                    if task is not None:
                        assert await task is True
                        bench.waker._give(A)
                if other is not None:
                    assert other.hinted
                    assert await other.wait(1) is True
            assert await held is False
        await bench.waker.settle()
        given_back = [("ZADD", A, 0, "1"), ("PEXPIRE", A, 10_000)]
        assert [told for told in bench.commanded if told[1] == A] == ([] if somebody_waits else given_back)
        assert bench.markers - {bench.waker._private} == (set() if somebody_waits else {A})

    run(monkeypatch, main)


def test_cancelled_wait_that_was_just_given_a_marker_passes_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: the marker goes down with the call that was given it, while another one waits."""

    async def main(bench: Bench) -> None:
        async def receive(ticket: contextlib.AbstractContextManager[Ticket]) -> bool:
            with ticket as mine:
                return await mine.wait(60)

        first = asyncio.create_task(receive(bench.waker.join(A)))
        await bench.turn()
        second = asyncio.create_task(receive(bench.waker.join(A)))
        await bench.turn()
        bench.waker._give(A)
        first.cancel()
        assert await second is True
        assert first.cancelled()
        third = asyncio.create_task(receive(bench.waker.join(A)))
        await bench.turn()
        third.cancel()
        await asyncio.wait({third})
        assert bench.markers == set()

    bench = run(monkeypatch, main)
    assert bench.commanded == [], "a wait that was given nothing gives nothing back"


def test_wait_that_is_cancelled_while_it_interrupts_the_read_is_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Broken: a call that is cancelled in that moment fails with something else, or blocks later ones."""

    async def main(bench: Bench) -> None:
        with bench.waker.join(A) as stays, bench.waker.join(B) as leaves:
            first, second = waiting(stays), waiting(leaves)
            await bench.turn()
            bench.put(B)
            assert await second is True
            await bench.turn()
            second = waiting(leaves)
            await bench.commanding.wait()
            second.cancel()
            await asyncio.wait({second})
            assert second.cancelled()
            assert leaves.hinted is False
            second = waiting(leaves)
            await bench.turn()
            assert bench.reads[-1] == (A, B)
            bench.put(B)
            bench.put(A)
            assert await asyncio.gather(first, second) == [True, True]

    run(monkeypatch, main)


def test_marker_for_nobody_goes_back_for_others_to_find(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a coordinator takes the marker of an inbox it no longer waits for, and others sleep on."""

    async def main(bench: Bench) -> None:
        with bench.waker.join(B) as stays:
            task = waiting(stays, 5)
            with bench.waker.join(A) as leaves:
                assert await leaves.wait(0.5) is False
            assert bench.reads == [(A, B)], "the read that was begun for both is still under way"
            bench.put(A)
            await bench.turn()
            assert bench.commanded == [("ZADD", A, 0, "1"), ("PEXPIRE", A, 10_000)]
            assert await task is False
        assert bench.markers == {A}
        assert set(bench.reads[1:]) == {(B,)}

    run(monkeypatch, main)


def test_marker_that_cannot_be_given_back_fails_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: an outage in that moment ends the waking of all others."""

    async def main(bench: Bench) -> None:
        with bench.waker.join(B) as stays:
            task = waiting(stays)
            await bench.turn()
            bench.waker._orphans.update((A, b"ao:wake:agent:1"))
            bench.command_errors.append(StoreUnavailableError("away"))
            await asyncio.sleep(IDLE_S)
            assert {told[1] for told in bench.commanded} == {A, b"ao:wake:agent:1"}
            assert bench.opened == 1
            bench.put(B)
            assert await task is True

    run(monkeypatch, main)


@pytest.mark.parametrize(
    "error", [RedisConnectionError("reset"), OSError("reset"), MessageCoordinatorError("reset")]
)
def test_lost_connection_is_told_once_and_opened_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """Broken: one lost connection leaves consumers that nothing wakes, or is opened in a busy loop."""

    async def main(bench: Bench) -> None:
        with bench.waker.join(A) as ticket:
            task = waiting(ticket)
            await bench.turn()
            bench.break_connection(error)
            await asyncio.sleep(0.4)
            assert (bench.opened, bench.closed) == (1, 1)
            bench.open_errors.append(error)
            await asyncio.sleep(0.2)
            assert (bench.opened, bench.closed) == (1, 1)
            await asyncio.sleep(0.5)
            assert (bench.opened, bench.closed) == (2, 1)
            bench.put(A)
            assert await task is True
            assert len(caplog.messages) == 1
            task = waiting(ticket)
            await bench.turn()
            bench.break_connection(error)
            await asyncio.sleep(0.6)
            bench.put(A)
            assert await task is True

    run(monkeypatch, main)
    told = "Lost the connection that wakes waiting receives (reset); until it is back each looks every 1.9 s"
    assert caplog.messages == [told, told]


def test_next_wait_does_not_sit_out_the_pause_after_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: who begins to wait while the connection is away is woken half a second too late."""

    async def main(bench: Bench) -> None:
        with bench.waker.join(A) as one, bench.waker.join(B) as other:
            tasks = [waiting(one)]
            await bench.turn()
            bench.break_connection(RedisConnectionError("reset"))
            await bench.turn()
            assert bench.opened == 1
            tasks.append(waiting(other))
            await bench.turn()
            assert bench.opened == 2
            assert bench.reads[-1] == (A, B)
            bench.put(A)
            bench.put(B)
            assert await asyncio.gather(*tasks) == [True, True]

    run(monkeypatch, main)


def test_fault_of_ours_is_not_taken_for_a_lost_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a programming error is repeated twice a second for ever."""

    async def main(bench: Bench) -> None:
        with bench.waker.join(A) as ticket:
            task = waiting(ticket, 3)
            await bench.turn()
            reading = bench.waker._task
            assert reading is not None
            bench.break_connection(LookupError("a fault"))
            await asyncio.wait({reading})
            assert isinstance(reading.exception(), LookupError)
            assert await task is False

    run(monkeypatch, main)


def test_last_one_who_leaves_ends_the_read_and_the_next_one_begins_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Broken: a task or a connection outlives the last call, or the next call waits behind it."""

    async def main(bench: Bench) -> None:
        for number in range(1, 4):
            with bench.waker.join(A) as ticket:
                task = waiting(ticket)
                await bench.turn()
                assert [each.get_name() for each in asyncio.all_tasks()].count("wake waiting receives") == 1
                bench.put(A)
                assert await task is True
            assert bench.waker._task is None
            await bench.waker.settle()
            assert (bench.opened, bench.closed) == (number, number)
            assert not bench.waker._ending

    run(monkeypatch, main)


def test_who_leaves_in_the_middle_of_a_read_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a coordinator cannot be closed before its read of markers ends by itself."""

    async def main(bench: Bench) -> None:
        with bench.waker.join(A) as ticket:
            assert await ticket.wait(0.5) is False
        began = bench.loop.time()
        await bench.waker.settle()
        assert bench.loop.time() == began
        with bench.waker.join(A):
            await bench.turn()
            assert bench.waker._blocked is None
        await bench.waker.settle()

    run(monkeypatch, main)


def test_who_leaves_and_comes_back_at_once_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: the task of before ends the read of the next, or both read, and a marker is lost."""

    async def main(bench: Bench) -> None:
        with bench.waker.join(A) as ticket:
            assert await ticket.wait(0.5) is False
        with bench.waker.join(A) as ticket:
            task = waiting(ticket)
            await bench.turn()
            assert bench.reads[-1] == (A,)
            assert (bench.opened, bench.closed) == (2, 1)
            bench.put(A)
            assert await task is True

    run(monkeypatch, main)


def test_on_a_cluster_each_looks_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: one connection to one node waits for markers of others."""

    async def main(bench: Bench) -> None:
        def is_cluster(client: object) -> bool:
            return client is bench.client

        monkeypatch.setattr(_waking, "is_cluster", is_cluster)
        began = bench.loop.time()
        with bench.waker.join(A) as ticket:
            assert await ticket.wait(1) is False
        assert bench.loop.time() - began == 1
        assert bench.opened == 0

    run(monkeypatch, main)


def test_waker_of_a_loop_that_ended_begins_anew_in_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: what belongs to a loop that has ended keeps the next one from waiting."""

    async def left_behind(loop: VirtualLoop) -> Bench:
        bench = Bench(loop)
        monkeypatch.setattr(_waking, "Link", bench)
        bench.waker.join(A).__enter__()
        bench.waker._ending.add(asyncio.create_task(asyncio.sleep(60)))
        await bench.turn()
        return bench

    old = in_virtual_time(left_behind)

    async def main(bench: Bench) -> None:
        bench.waker, ended = old.waker, old.waker._ending
        bench.waker._calls = cast("Calls", bench)
        async with asyncio.timeout(5):
            await bench.waker.settle()
        with bench.waker.join(A) as ticket:
            assert bench.waker._ending is not ended
            task = waiting(ticket)
            await bench.turn()
            bench.put(A)
            assert await task is True

    run(monkeypatch, main)


def test_marker_and_end_of_the_time_in_one_turn_count_as_the_marker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a timer that is due together with the marker raises in the event loop, or takes it away."""

    async def main(bench: Bench) -> None:
        raised: list[dict[str, Any]] = []
        bench.loop.set_exception_handler(lambda _, context: raised.append(context))
        with bench.waker.join(A) as ticket:
            task = waiting(ticket, 1)
            await bench.turn()
            bench.loop.call_soon(bench.waker._give, A)
            bench.loop.pass_by(2)
            assert await task is True
        assert raised == []

    run(monkeypatch, main)


def test_two_coordinators_interrupt_themselves_alone() -> None:
    """Broken: a read is interrupted by another process, and the one that meant itself sleeps on."""
    calls = cast("Calls", None)
    one, other = Waker(calls, "ao")._private, Waker(calls, "ao")._private
    assert one != other
    assert one.startswith(b"ao:wake:")
    assert len(one) == len(b"ao:wake:") + 16
