"""Owns how receives wait: one task and one connection a coordinator read the wake-up markers of all inboxes.

A marker is a hint, set by whatever makes a message due; it moves no data. So whatever goes wrong here costs
time only: who waits looks by itself every `IDLE_S` seconds, which is also how messages without a marker, of
a v0 process, are seen. On a cluster, where one connection does not see every inbox, that is the only way.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections import deque
from collections.abc import Generator

from tta_agent_coordination import _keys
from tta_agent_coordination._redis.client import STORE_ERRORS, Link, is_cluster
from tta_agent_coordination.coordinators._calls import Calls
from tta_agent_coordination.exceptions import MessageCoordinatorError

__all__ = ["IDLE_S", "Ticket", "Waker"]

logger = logging.getLogger("tta_agent_coordination.coordinators")

IDLE_S = 1.9
"""Longest time between two looks of one who waits, in seconds: what has no marker is seen within 2."""

_RETRY_S = 0.5
"""Pause before the connection that was lost is opened again, in seconds."""

_MARKER_MS = 10_000
"""Life of a marker that is set from here; it is needed for a moment only, by who already waits."""


class Ticket:
    """One call that waits for one inbox."""

    def __init__(self, waker: Waker, key: bytes) -> None:
        self._waker = waker
        self.key = key
        self.turn: asyncio.Future[bool] | None = None
        self.counted = False
        self.hinted = False

    async def wait(self, seconds: float) -> bool:
        """Return True as soon as this call took the inbox's marker, False when the time is up."""
        if self.hinted:
            self.hinted = False
            return True
        turn = asyncio.get_running_loop().create_future()
        self.turn = turn
        timer = turn.get_loop().call_later(seconds, _time_is_up, turn)
        try:
            await self._waker.announce(self)
            return await turn
        except asyncio.CancelledError:
            self.hinted = turn.done() and not turn.cancelled() and turn.result()
            raise
        finally:
            timer.cancel()
            self.turn = None
            self._waker.retire(self)


def _time_is_up(turn: asyncio.Future[bool]) -> None:
    if not turn.done():
        turn.set_result(False)


class Waker:
    """Wakes the waiting receives of one coordinator."""

    def __init__(self, calls: Calls, prefix: str) -> None:
        self._calls = calls
        self._private = _keys.waker(prefix, secrets.token_hex(8))
        self._begin()

    def _begin(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tickets: dict[bytes, deque[Ticket]] = {}
        self._pending: dict[bytes, int] = {}
        self._orphans: set[bytes] = set()
        self._task: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._blocked: frozenset[bytes] | None = None
        self._interrupting = False

    @contextlib.contextmanager
    def join(self, key: bytes) -> Generator[Ticket]:
        """Wait for an inbox for the length of a block; the connection is there while anybody does."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._begin()  # the loop of earlier calls has ended, and their task with it
            self._loop = loop
        ticket = Ticket(self, key)
        self._tickets.setdefault(key, deque()).append(ticket)
        if self._task is None and not is_cluster(self._calls.client):
            self._changed, self._blocked = asyncio.Event(), None
            self._task = loop.create_task(self._run(self._changed), name="wake waiting receives")
        try:
            yield ticket
        finally:
            self._leave(ticket)

    def _leave(self, ticket: Ticket) -> None:
        others = self._tickets[ticket.key]
        others.remove(ticket)
        if not others:
            del self._tickets[ticket.key]
        if ticket.hinted:
            self._give(ticket.key)
        if not self._tickets and self._task is not None:
            task, self._task = self._task, None
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
            if self._blocked is None:
                self._changed.set()
            else:
                task.cancel()

    async def announce(self, ticket: Ticket) -> None:
        """Have an inbox's marker read, interrupting a read that is under way without it."""
        key, ticket.counted = ticket.key, True
        count = self._pending.pop(key, 0)
        self._pending[key] = count + 1  # last in line: the server looks at the keys in this order
        if self._blocked is None:
            self._changed.set()
        elif key not in self._blocked and not self._interrupting:
            self._interrupting = True
            try:
                with contextlib.suppress(MessageCoordinatorError):
                    await self._mark(self._private)
            finally:
                self._interrupting = False

    def retire(self, ticket: Ticket) -> None:
        """Undo `announce`, once: from the moment it is answered, no marker is read for this call."""
        if ticket.counted:
            ticket.counted = False
            self._pending[ticket.key] -= 1
            if not self._pending[ticket.key]:
                del self._pending[ticket.key]

    async def settle(self) -> None:
        """Wait until the connection of those who no longer wait is closed."""
        ending = [task for task in self._ending if task.get_loop() is asyncio.get_running_loop()]
        if ending:
            await asyncio.wait(ending)

    async def _mark(self, key: bytes) -> None:
        await self._calls.commands([("ZADD", key, 0, "1"), ("PEXPIRE", key, _MARKER_MS)])

    def _give(self, key: bytes) -> None:
        """Hand a marker to the longest waiting call of its inbox; nobody's goes back for others to find."""
        tickets = self._tickets.get(key, ())
        for ticket in tickets:
            if ticket.turn is not None and not ticket.turn.done():
                ticket.turn.set_result(True)
                self.retire(ticket)
                return
        for ticket in tickets:
            ticket.hinted = True  # it is looking right now, and may come too early
            return
        self._orphans.add(key)

    async def _run(self, changed: asyncio.Event) -> None:
        link: Link | None = None
        failing = False
        try:
            while self._task is asyncio.current_task():
                changed.clear()
                if not self._pending:
                    await changed.wait()
                    continue
                try:
                    if link is None:
                        link = await Link.open(self._calls.client)
                        continue
                    await self._read(link)
                    failing = False
                except (*STORE_ERRORS, MessageCoordinatorError) as error:
                    if not failing:
                        logger.warning(
                            "Lost the connection that wakes waiting receives (%s); until it is back each "
                            "looks every %g s",
                            error,
                            IDLE_S,
                        )
                    failing = True
                    if link is not None:
                        link = await link.close()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_RETRY_S):
                            await changed.wait()
        finally:
            await self._return_orphans()
            if link is not None:
                await link.close()

    async def _return_orphans(self) -> None:
        while self._orphans:
            with contextlib.suppress(MessageCoordinatorError):
                await self._mark(self._orphans.pop())

    async def _read(self, link: Link) -> None:
        self._blocked = frozenset(self._pending)
        try:
            key = await link.pop_marker((self._private, *self._pending), IDLE_S)
        finally:
            self._blocked = None
        if key is not None and key != self._private:
            self._give(key)
        await self._return_orphans()
