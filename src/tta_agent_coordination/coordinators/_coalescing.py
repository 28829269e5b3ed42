"""Owns which concurrent calls share a script: a lone one goes at once, those that come meanwhile go together.

Knows neither messages nor Redis. An inbox has a line while calls are under way. The call that finds none goes
by itself, in its caller's own task. What arrives until it is back waits in the order of arrival and then goes
in batches, each in a task of its own, so that no caller's cancellation reaches what belongs to the others.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from tta_agent_coordination._keys import Inbox
from tta_agent_coordination.exceptions import OutcomeUnknownError

__all__ = ["MAX_BYTES", "MAX_ITEMS", "Coalescer", "Flush"]

MAX_ITEMS = 128
"""Items one batch carries at most, unless a single call brings more."""

MAX_BYTES = 1 << 20
"""Bytes one batch carries at most, unless a single call brings more."""

type Flush[T, K, R] = Callable[[Inbox, Sequence[T], K], Awaitable[Sequence[R]]]
"""Carries items of one inbox out, all on the same terms; answers for each of them, in their order."""

type _Place[R] = asyncio.Future[Sequence[R]]


@dataclass(frozen=True, slots=True)
class _Parcel[T, K]:
    """What one call wants carried out, in one piece."""

    items: Sequence[T]
    size: int
    terms: K


class _Line[T, K, R]:
    """One inbox while calls are under way: who waits, and who is on the way together."""

    def __init__(self, loop: asyncio.AbstractEventLoop, box: Inbox) -> None:
        self.loop = loop
        self.box = box
        self.waiting: OrderedDict[_Place[R], _Parcel[T, K]] = OrderedDict()
        self.boarded: list[tuple[_Place[R], _Parcel[T, K]]] = []
        self.task: asyncio.Task[Sequence[R]] | None = None

    def board(self) -> None:
        """Let those who wait longest board: as many as fit and agree on the terms, without who gave up."""
        count = size = 0
        while self.waiting:
            place, parcel = next(iter(self.waiting.items()))
            if not place.done():
                count, size = count + len(parcel.items), size + parcel.size
                if self.boarded and (
                    count > MAX_ITEMS or size > MAX_BYTES or parcel.terms != self.boarded[0][1].terms
                ):
                    return
                self.boarded.append((place, parcel))
            self.waiting.popitem(last=False)


class Coalescer[T, K, R]:
    """Carries out the calls of one kind for one coordinator, concurrent ones for an inbox together.

    For each inbox at most one flush is under way, and calls are carried out in the order in which they came.
    Nothing is delayed to wait for more. Loops share nothing.
    """

    def __init__(self, flush: Flush[T, K, R]) -> None:
        self._flush = flush
        self._lines: dict[tuple[asyncio.AbstractEventLoop, str], _Line[T, K, R]] = {}

    async def join(self, box: Inbox, items: Sequence[T], *, size: int, terms: K) -> Sequence[R]:
        """Carry out some items in one piece, perhaps together with others.

        A call that is cancelled while it waits is withdrawn; later it may have been carried out. A batch that
        nobody waits for any more is cancelled as a lone call would be: it must not hold up who comes next.

        Args:
            box: Whose line.
            items: What to carry out.
            size: Their size in bytes.
            terms: Only calls with equal terms go together.

        Returns:
            An answer for each item.

        Raises:
            OutcomeUnknownError: If somebody else cancelled the batch.
        """
        loop = asyncio.get_running_loop()
        line = self._lines.get((loop, box.name))
        if line is None:
            line = self._lines[loop, box.name] = _Line(loop, box)
            try:
                return await self._flush(box, items, terms)
            finally:
                self._go_on(line)
        place: _Place[R] = loop.create_future()
        line.waiting[place] = _Parcel(items, size, terms)
        try:
            return await place
        except asyncio.CancelledError:
            line.waiting.pop(place, None)
            if line.task is not None and line.boarded and all(other.done() for other, _ in line.boarded):
                line.task.cancel()
            raise

    def _go_on(self, line: _Line[T, K, R]) -> None:
        """Start a batch of those who wait, or end the line."""
        if not line.waiting:
            del self._lines[line.loop, line.box.name]
            return
        line.task = line.loop.create_task(self._carry(line), name=f"carry a batch for {line.box.name}")
        line.task.add_done_callback(partial(self._land, line))

    async def _carry(self, line: _Line[T, K, R]) -> Sequence[R]:
        """Carry out a batch; it is made up here, so that who comes in the turn of the start goes with it."""
        line.board()
        if not line.boarded:
            return ()
        items = [item for _, parcel in line.boarded for item in parcel.items]
        return await self._flush(line.box, items, line.boarded[0][1].terms)

    def _land(self, line: _Line[T, K, R], task: asyncio.Task[Sequence[R]]) -> None:
        """Tell everybody on board what came of it, and go on behind what they do in the same turn."""
        boarded, line.boarded, line.task = line.boarded, [], None
        failure = (
            OutcomeUnknownError(
                "the task that carried this call was cancelled; it may or may not have been done"
            )
            if task.cancelled()
            else task.exception()
        )
        start = 0
        for place, parcel in boarded:
            end = start + len(parcel.items)
            if place.done():
                pass
            elif failure is not None:
                place.set_exception(failure)
            else:
                place.set_result(task.result()[start:end])
            start = end
        line.loop.call_soon(self._go_on, line)

    async def settle(self) -> None:
        """Wait for the batches under way and for all who wait now."""
        loop = asyncio.get_running_loop()
        pending: set[asyncio.Future[Sequence[R]]] = set()
        for line in self._lines.values():
            if line.loop is loop:
                pending.update(line.waiting)
                if line.task is not None:
                    pending.add(line.task)
        if pending:
            await asyncio.wait(pending)
