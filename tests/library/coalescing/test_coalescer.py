"""What becomes of calls that share a flush: who goes with whom, and whose error or cancellation is whose.

On a stand-in flush, in virtual time, where a caller whom nobody answers is a failure at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from tests.library.coalescing.support import BOX, turns
from tests.library.support.boxes import OTHER
from tests.library.support.virtual import in_virtual_time
from tta_agent_coordination import _keys
from tta_agent_coordination.coordinators._coalescing import MAX_BYTES, MAX_ITEMS, Coalescer
from tta_agent_coordination.exceptions import OutcomeUnknownError


class Bench:
    """A coalescer whose flushes wait for `let_go`, and answer each item with itself, in capitals."""

    def __init__(self) -> None:
        self.coalescer = Coalescer[str, int, str](self.flush)
        self.begun: list[tuple[str, str, int]] = []
        """Inbox, items and terms of each flush that was begun."""
        self.names: list[str] = []
        """In which tasks they were."""
        self.given_up: list[str] = []
        self.gates: list[asyncio.Event] = []
        self.errors: dict[str, Exception] = {}

    async def flush(self, box: _keys.Inbox, items: Sequence[str], terms: int) -> Sequence[str]:
        carried = "".join(items)
        self.begun.append((box.name, carried, terms))
        task = asyncio.current_task()
        assert task is not None
        self.names.append(task.get_name())
        gate = asyncio.Event()
        self.gates.append(gate)
        try:
            await gate.wait()
        except asyncio.CancelledError:
            self.given_up.append(carried)
            raise
        if carried in self.errors:
            raise self.errors[carried]
        return [item.upper() for item in items]

    def call(
        self, items: str, *, box: _keys.Inbox = BOX, size: int = 1, terms: int = 0
    ) -> asyncio.Task[Sequence[str]]:
        """Start a call with one item a letter."""
        join = self.coalescer.join(box, list(items), size=size, terms=terms)
        return asyncio.create_task(join, name=items[:9])

    async def carried(self) -> list[str]:
        """What each flush so far carried, after all that can happen without `let_go`."""
        await turns(5)
        return [items for _, items, _ in self.begun]

    async def let_go(self) -> list[str]:
        """Let the flushes that are under way come to their end; return what `carried` does."""
        for gate in self.gates:
            gate.set()
        return await self.carried()

    async def let_all_go(self) -> list[str]:
        """Let flushes come to their end until no line is left; return what `carried` does."""
        await turns(2)
        while self.coalescer._lines:
            before = len(self.begun)
            await self.let_go()
            assert len(self.begun) > before or not self.coalescer._lines, "a line stands still"
        return await self.carried()


def run(main: Callable[[Bench], Awaitable[None]]) -> None:
    """Run a test in virtual time; every line has to end with it."""

    async def whole(_: object) -> None:
        bench = Bench()
        await main(bench)
        await turns(5)
        assert bench.coalescer._lines == {}

    in_virtual_time(whole)


async def answers(*tasks: asyncio.Task[Sequence[str]]) -> list[object]:
    """What the callers got: their answers as one text, or their error."""
    got: list[Any] = await asyncio.gather(*tasks, return_exceptions=True)
    return [one if isinstance(one, BaseException) else "".join(one) for one in got]


def test_lone_call_goes_at_once_in_its_callers_own_task() -> None:
    """Broken: who calls alone pays for those who do not."""

    async def main(bench: Bench) -> None:
        call = bench.call("a", terms=7)
        await turns(1)
        assert bench.begun == [("world:1", "a", 7)]
        assert bench.names == ["a"]
        await bench.let_go()
        assert await answers(call) == ["A"]

    run(main)


def test_calls_that_come_meanwhile_go_together_in_their_order() -> None:
    """Broken: concurrent calls cost a script each, overtake each other, or get each other's answers."""

    async def main(bench: Bench) -> None:
        calls = [bench.call(items) for items in ("a", "bc", "d", "efg")]
        assert await bench.carried() == ["a"]
        assert await bench.let_go() == ["a", "bcdefg"]
        assert bench.names[1] == "carry a batch for world:1"
        later = bench.call("h")
        assert await bench.carried() == ["a", "bcdefg"]
        assert await bench.let_go() == ["a", "bcdefg", "h"]
        await bench.let_go()
        assert await answers(*calls, later) == ["A", "BC", "D", "EFG", "H"]

    run(main)


def test_calls_on_other_terms_go_by_themselves_in_their_turn() -> None:
    """Broken: a call is carried out on the terms of another one, or before its turn."""

    async def main(bench: Bench) -> None:
        calls = [
            bench.call(item, terms=terms) for item, terms in zip("abcdef", (0, 1, 1, 2, 1, 1), strict=True)
        ]
        assert await bench.let_all_go() == ["a", "bc", "d", "ef"]
        assert [terms for _, _, terms in bench.begun] == [0, 1, 2, 1]
        assert await answers(*calls) == list("ABCDEF")

    run(main)


@pytest.mark.parametrize(
    ("counts", "carried"),
    [
        ([1, 127], [128]),
        ([1, 128], [1, 128]),
        ([100, 28, 1], [128, 1]),
        ([129, 1], [129, 1]),
        ([1, 200, 1], [1, 200, 1]),
    ],
)
def test_flush_carries_at_most_128_items_unless_one_call_brings_more(
    counts: list[int], carried: list[int]
) -> None:
    """Broken: one script blocks the server for as long as there are callers, or one call never goes."""

    async def main(bench: Bench) -> None:
        calls = [bench.call("x" * count) for count in (1, *counts)]
        assert [len(items) for items in await bench.let_all_go()] == [1, *carried]
        assert await answers(*calls) == ["X" * count for count in (1, *counts)]

    assert MAX_ITEMS == 128
    run(main)


@pytest.mark.parametrize(
    ("sizes", "carried"),
    [
        ([1, MAX_BYTES - 1], ["bc"]),
        ([1, MAX_BYTES], ["b", "c"]),
        ([MAX_BYTES - 2, 1, 1, 1], ["bcd", "e"]),
        ([MAX_BYTES + 1, 1], ["b", "c"]),
        ([1, MAX_BYTES + 1, 1], ["b", "c", "d"]),
    ],
)
def test_flush_carries_at_most_a_mebibyte_unless_one_call_brings_more(
    sizes: list[int], carried: list[str]
) -> None:
    """Broken: large messages add up to a script of any size, or one that is too large never goes."""

    async def main(bench: Bench) -> None:
        calls = [bench.call(item, size=size) for item, size in zip("abcde", (1, *sizes), strict=False)]
        assert await bench.let_all_go() == ["a", *carried]
        assert await answers(*calls) == list("ABCDE")[: len(calls)]

    assert MAX_BYTES == 1024 * 1024
    run(main)


def test_call_that_is_cancelled_while_it_waits_is_withdrawn() -> None:
    """Broken: what was given up before it left is carried out, counts, or takes its neighbours with it."""

    async def main(bench: Bench) -> None:
        calls = [bench.call(items) for items in ("a", "b", "x" * 128, "c", "d")]
        await turns(2)
        calls[2].cancel()
        await turns(1)
        [line] = bench.coalescer._lines.values()
        assert len(line.waiting) == 3, "what was given up is kept for as long as a script hangs"
        assert await bench.let_go() == ["a", "bcd"]
        await bench.let_go()
        got = await answers(*calls)
        assert isinstance(got.pop(2), asyncio.CancelledError)
        assert got == ["A", "B", "C", "D"]

    run(main)


def test_call_that_is_cancelled_in_the_turn_in_which_its_batch_boards_is_passed_over() -> None:
    """Broken: a call that has ended takes room, or its answer is set a second time."""

    async def main(bench: Bench) -> None:
        calls = [bench.call(items) for items in ("a", "x" * 128, "b")]
        await turns(2)
        [line] = bench.coalescer._lines.values()
        places = list(line.waiting)
        places[0].cancel()  # as a caller that is cancelled and has had no turn yet
        line.board()
        assert ["".join(parcel.items) for _, parcel in line.boarded] == ["b"]
        assert not line.waiting
        line.boarded[0][0].set_result(["B"])
        line.boarded.clear()
        await bench.let_go()
        got = await answers(*calls)
        assert isinstance(got.pop(1), asyncio.CancelledError)
        assert got == ["A", "B"]

    run(main)


@pytest.mark.parametrize("late", [False, True])
def test_when_everybody_who_waits_gives_up_nothing_is_carried_and_the_line_ends(late: bool) -> None:
    """Broken: a batch of nobody costs a script, or the line does not end and the next call waits for ever."""

    async def main(bench: Bench) -> None:
        waiting: list[asyncio.Task[Sequence[str]]] = []

        async def first() -> None:
            await bench.coalescer.join(BOX, ["a"], size=1, terms=0)
            for call in waiting:
                call.cancel()  # in the very step in which the batch behind it was started

        task = asyncio.create_task(first())
        await turns(1)
        waiting += [bench.call("b"), bench.call("c")]
        await turns(2)
        if not late:
            for call in waiting:
                call.cancel()
        assert await bench.let_go() == ["a"]
        await task
        assert all(isinstance(one, asyncio.CancelledError) for one in await answers(*waiting))
        following = bench.call("d")
        assert await bench.carried() == ["a", "d"]
        await bench.let_go()
        assert await answers(following) == ["D"]

    run(main)


@pytest.mark.parametrize("way", ["cancelled", "failed"])
def test_lone_call_that_does_not_come_back_lets_those_behind_it_go(way: str) -> None:
    """Broken: the callers behind one who gave up, or failed, wait for ever, or end with him."""

    async def main(bench: Bench) -> None:
        calls = [bench.call(item) for item in "abc"]
        await turns(2)
        bench.errors["a"] = LookupError("a fault")
        if way == "cancelled":
            calls[0].cancel()
            assert await bench.carried() == ["a", "bc"]
            await bench.let_go()
        else:
            assert await bench.let_go() == ["a", "bc"]
            await bench.let_go()
        got = await answers(*calls)
        assert type(got[0]) is (asyncio.CancelledError if way == "cancelled" else LookupError)
        assert got[1:] == ["B", "C"]
        assert bench.given_up == (["a"] if way == "cancelled" else [])

    run(main)


def test_error_of_a_batch_reaches_everybody_in_it_and_nobody_else() -> None:
    """Broken: after an error callers wait for ever, or somebody is told that it worked."""

    async def main(bench: Bench) -> None:
        bench.errors["bc"] = error = LookupError("a fault")
        calls = [bench.call(item, terms=terms) for item, terms in (("a", 0), ("b", 0), ("c", 0), ("d", 1))]
        assert await bench.let_all_go() == ["a", "bc", "d"]
        assert await answers(*calls) == ["A", error, error, "D"]

    run(main)


def test_cancelling_some_of_a_batch_under_way_leaves_the_others() -> None:
    """Broken: the cancellation of one caller reaches the script that carries the others, or their answers."""

    async def main(bench: Bench) -> None:
        calls = [bench.call(items) for items in ("a", "bc", "d", "ef")]
        await turns(2)
        assert await bench.let_go() == ["a", "bcdef"]
        calls[1].cancel()
        await turns(2)
        assert bench.given_up == []
        await bench.let_go()
        got = await answers(*calls)
        assert isinstance(got.pop(1), asyncio.CancelledError)
        assert got == ["A", "D", "EF"]

    run(main)


def test_batch_that_nobody_waits_for_is_cancelled_and_holds_up_nobody() -> None:
    """Broken: behind a script that hangs, and that everybody gave up, the next call hangs too."""

    async def main(bench: Bench) -> None:
        calls = [bench.call(item, terms=terms) for item, terms in (("a", 0), ("b", 0), ("c", 0), ("d", 1))]
        await turns(2)
        await bench.let_go()
        calls[3].cancel()  # it is not on board: the batch goes on
        await turns(2)
        calls[1].cancel()
        await turns(2)
        assert bench.given_up == []
        following = bench.call("e")
        calls[2].cancel()
        assert await bench.carried() == ["a", "bc", "e"]
        assert bench.given_up == ["bc"]
        await bench.let_go()
        assert await answers(following) == ["E"]
        assert [type(one) for one in await answers(*calls[1:])] == [asyncio.CancelledError] * 3

    run(main)


def test_call_that_waits_behind_a_batch_can_be_cancelled_and_leaves_the_batch() -> None:
    """Broken: who gives up before his turn cancels the script of those before him."""

    async def main(bench: Bench) -> None:
        calls = [bench.call(item) for item in "ab"]
        await turns(2)
        await bench.let_go()
        waiting = bench.call("c")
        await turns(2)
        waiting.cancel()
        await turns(2)
        assert bench.given_up == []
        await bench.let_go()
        assert await answers(*calls) == ["A", "B"]

    run(main)


def test_somebody_who_cancels_the_batch_itself_cancels_no_caller() -> None:
    """Broken: a shutdown that cancels every task but its own ends its own call as cancelled."""

    async def main(bench: Bench) -> None:
        calls = [bench.call(item, terms=terms) for item, terms in (("a", 0), ("b", 0), ("c", 0), ("d", 1))]
        await turns(2)
        await bench.let_go()
        [batch] = [task for task in asyncio.all_tasks() if task.get_name() == "carry a batch for world:1"]
        batch.cancel()
        assert await bench.let_all_go() == ["a", "bc", "d"]
        first, *failed, last = await answers(*calls)
        assert (first, last) == ("A", "D")
        for error in failed:
            assert isinstance(error, OutcomeUnknownError)
            assert str(error) == (
                "the task that carried this call was cancelled; it may or may not have been done"
            )

    run(main)


def test_inboxes_do_not_wait_for_each_other() -> None:
    """Broken: what is under way for one recipient holds up another, or shares its script."""

    async def main(bench: Bench) -> None:
        calls = [bench.call(item, box=box) for item, box in zip("abcd", (BOX, OTHER) * 2, strict=True)]
        await turns(2)
        assert [begun[:2] for begun in bench.begun] == [("world:1", "a"), ("narrative:1", "b")]
        await bench.let_go()
        assert [begun[:2] for begun in bench.begun[2:]] == [("world:1", "c"), ("narrative:1", "d")]
        await bench.let_go()
        assert await answers(*calls) == list("ABCD")

    run(main)


def test_settling_waits_for_what_is_under_way_and_for_all_who_wait() -> None:
    """Broken: a coordinator is closed under the callers of a batch, or never."""

    async def main(bench: Bench) -> None:
        await bench.coalescer.settle()
        calls = [bench.call(item, terms=terms) for item, terms in (("a", 0), ("b", 0), ("c", 0), ("d", 1))]
        await turns(2)
        before = asyncio.create_task(bench.coalescer.settle())
        await bench.let_go()
        under_way = asyncio.create_task(bench.coalescer.settle())
        await turns(3)
        assert not before.done()
        assert not under_way.done()
        await bench.let_go()
        await turns(3)
        assert [call.done() for call in calls] == [True, True, True, False]
        assert not before.done(), "somebody who waited when it was asked waits still"
        await bench.let_go()
        await before
        await under_way
        assert await answers(*calls) == list("ABCD")

    run(main)


def test_settling_waits_for_a_batch_that_nobody_waits_for() -> None:
    """Broken: the connection is closed under a script that is being given up."""

    async def main(bench: Bench) -> None:
        ended = asyncio.Event()

        async def reluctant(_: _keys.Inbox, items: Sequence[str], __: int) -> Sequence[str]:
            try:
                await asyncio.sleep(60)
            finally:
                if items == ["b"]:
                    await ended.wait()
            return list(items)

        bench.coalescer._flush = reluctant
        bench.call("a")
        second = bench.call("b")
        await asyncio.sleep(61)
        second.cancel()
        await turns(2)
        settling = asyncio.create_task(bench.coalescer.settle())
        await asyncio.sleep(5)
        assert not settling.done()
        ended.set()
        await settling

    run(main)
