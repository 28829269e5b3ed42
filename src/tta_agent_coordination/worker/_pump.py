"""Owns the way of messages through a worker: taken, held, handled, settled, and given back at the end.

A worker holds at most `concurrency + prefetch` leases. A lease is held from the script that reserves it to
the script that ends it; where there is work, one script does both, so a message costs one command.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tta_agent_coordination import _keys
from tta_agent_coordination.coordinators import RedisMessageCoordinator
from tta_agent_coordination.exceptions import (
    MessageCoordinatorError,
    OutcomeUnknownError,
    QueueFullError,
    StoreUnavailableError,
)
from tta_agent_coordination.messaging import FailureType, ReceivedMessage
from tta_agent_coordination.models import AgentId
from tta_agent_coordination.worker._handling import Done, Failed, Outcome, Released
from tta_agent_coordination.worker._inbox import ack_and_take, take
from tta_agent_coordination.worker._link import Link

__all__ = ["Limits", "Pump"]

logger = logging.getLogger(__name__)

_LAST_WORDS_S = 2.0
"""What cancelled handlers get to come to their end, and the last settlements to be sent, seconds."""
_SHORTEST_LOOK_S = 0.005
"""What lies between two looks at the loop at least, seconds, however short the lease is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a worker takes and how long; times in seconds."""

    concurrency: int
    prefetch: int
    visibility_timeout: float
    handler_timeout: float
    grace: float


class Pump:
    """Works on one inbox from `run` to `drain`; used once, inside one event loop."""

    def __init__(
        self,
        coordinator: RedisMessageCoordinator,
        agent: AgentId,
        limits: Limits,
        handle: Callable[[ReceivedMessage], Awaitable[Outcome]],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self._coordinator = coordinator
        self._agent = agent
        self._limits = limits
        self._handle = handle
        self._on_failure = on_failure
        self._keeper = coordinator.lease_keeper(agent, limits.visibility_timeout)
        self._name = _keys.inbox_name(agent)
        self._link = Link(self._name)
        self._free = limits.concurrency + limits.prefetch
        self._room = asyncio.Event()
        self._asking = False
        # One handler at a time sees messages in their order, so it is one script at a time that takes them.
        self._turn = asyncio.Lock() if limits.concurrency == 1 else contextlib.nullcontext()
        self._waiting: deque[ReceivedMessage] = deque()
        self._jobs: set[asyncio.Task[None]] = set()
        self._handling: dict[asyncio.Task[None], str] = {}
        self._hurry = asyncio.Event()
        self._open = asyncio.Event()
        self._open.set()
        self._take: asyncio.Task[list[ReceivedMessage]] | None = None
        self._looked_at = asyncio.get_running_loop().time()
        """When the loop last ran as it should; loop time, as is the next."""
        self._doubt_until = 0.0
        """Until then an answer may have waited, unread, for longer than its lease lasts."""
        self.stopping = False

    def pause(self, paused: bool) -> None:
        """Take nothing new, or go on; what waits for a message stops at once, and loses none."""
        if not paused:
            self._open.set()
            return
        self._open.clear()
        if self._take is not None:
            self._take.cancel()

    async def run(self) -> None:
        """Take messages until cancelled."""
        watching = asyncio.ensure_future(self._watch_the_loop())
        try:
            await self._run()
        finally:
            watching.cancel()

    async def _watch_the_loop(self) -> None:
        """Notice that the loop was blocked for half a lease or more.

        The answer to a reservation may have come in that time. Nobody renewed that lease, since nobody had
        read of it: whether it still holds has to be asked before the message is handled.
        """
        loop, half = asyncio.get_running_loop(), self._limits.visibility_timeout / 2
        while True:
            self._looked_at = loop.time()
            await asyncio.sleep(max(_SHORTEST_LOOK_S, half / 2))
            if loop.time() - self._looked_at >= half:
                self._doubt_until = loop.time() + half

    async def _run(self) -> None:
        while True:
            if not self._free:
                self._room.clear()
                await self._room.wait()
            await self._open.wait()
            async with self._turn:
                self._asking = True
            wanted, self._free = self._free, 0
            got: list[ReceivedMessage] = []
            try:
                got = await self._take_some(wanted)
                self._link.well()
            except MessageCoordinatorError as error:
                await asyncio.sleep(self._link.failed(error))
            finally:
                self._asking = False
                self._free += wanted - len(got)
            for received in got:
                self._admit(received)

    async def _take_some(self, wanted: int) -> list[ReceivedMessage]:
        """Wait for messages; none where the wait is over, or was ended by a pause."""
        taking = asyncio.ensure_future(
            take(self._coordinator, self._agent, wanted, self._limits.visibility_timeout)
        )
        self._take = taking
        try:
            await asyncio.wait([taking])
        except asyncio.CancelledError:
            taking.cancel()
            await asyncio.wait([taking])
            if not taking.cancelled() and taking.exception() is None:
                for received in taking.result():
                    self._start(self._give_back(received))
            raise
        finally:
            self._take = None
        return [] if taking.cancelled() else taking.result()

    def hurry(self) -> None:
        """End the grace that handlers have."""
        self._hurry.set()

    async def drain(self) -> int:
        """Give back what was not started, wait for what was, then give that back too.

        Returns:
            How many handlers did not end when they were cancelled; they still run.
        """
        self.stopping = True
        waiting = list(self._waiting)
        self._waiting.clear()
        for received in waiting:
            self._start(self._give_back(received))
        await self._all_done(self._limits.grace)
        self._hurry.set()
        for task in self._handling:
            task.cancel()
        if self._jobs:
            await asyncio.wait(self._jobs, timeout=_LAST_WORDS_S)
        left = list(self._handling.values())
        if left:
            logger.error(
                "handlers of %s ignore that they were cancelled: %s; their leases run out by themselves",
                self._name,
                ", ".join(left),
            )
        await asyncio.to_thread(self._keeper.close)
        return len(left)

    async def _all_done(self, within_s: float) -> None:
        """Wait for all jobs, until there is haste or the time is over."""
        if not self._jobs:
            return
        hurry = asyncio.ensure_future(self._hurry.wait())
        done = asyncio.ensure_future(asyncio.wait(self._jobs))
        try:
            await asyncio.wait({hurry, done}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hurry.cancel()
            done.cancel()

    def _start(self, job: Awaitable[None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(job)
        self._jobs.add(task)
        task.add_done_callback(self._over)
        return task

    def _over(self, task: asyncio.Task[None]) -> None:
        self._jobs.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_failure(error)

    def _admit(self, received: ReceivedMessage) -> None:
        """Hold a message until a handler is free for it."""
        self._keeper.keep(received.token, self._limits.handler_timeout)
        self._waiting.append(received)
        self._begin_waiting()

    def _begin_waiting(self) -> None:
        while self._waiting and len(self._handling) < self._limits.concurrency:
            received = self._waiting.popleft()
            task = self._start(self._work(received))
            self._handling[task] = received.queue_message.message.message_id

    async def _work(self, received: ReceivedMessage) -> None:
        """Handle one message and settle it; the next one is begun in between."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - it is one
        self._keeper.keep(received.token, self._limits.handler_timeout)
        following: ReceivedMessage | None = None
        try:
            outcome = await self._handle(received) if await self._holds(received) else None
        finally:
            del self._handling[task]
        if not self.stopping:
            self._begin_waiting()
        if outcome is not None:
            following = await self._settle(received, outcome)
        self._keeper.drop(received.token)
        if following is None:
            self._free += 1
            self._room.set()
        elif self.stopping:
            await self._give_back(following)
        else:
            self._admit(following)

    async def _holds(self, received: ReceivedMessage) -> bool:
        """Tell whether a message is still ours; asked only where the loop was blocked a moment ago."""
        now, half = asyncio.get_running_loop().time(), self._limits.visibility_timeout / 2
        # Right behind a block this may run before the watch does.
        if now >= self._doubt_until and now - self._looked_at < half:
            return True
        try:
            return await self._coordinator.extend(
                self._agent, received.token, self._limits.visibility_timeout
            )
        except MessageCoordinatorError as error:
            logger.warning(
                "message %s of %s is left alone: the event loop was blocked, and whether its lease still "
                "holds cannot be asked (%s); it comes again when the lease ends",
                received.queue_message.message.message_id,
                self._name,
                error,
            )
            return False

    async def _give_back(self, received: ReceivedMessage) -> None:
        await self._settle(received, Released())
        self._keeper.drop(received.token)

    async def _settle(self, received: ReceivedMessage, outcome: Outcome) -> ReceivedMessage | None:
        """Tell the store how it ended, as often as that takes; return the next message if one came with it.

        While the store is away the lease is renewed as before, so that work which is done is not done twice.
        """
        give_up = asyncio.get_running_loop().time() + self._limits.handler_timeout
        self._keeper.keep(received.token, self._limits.handler_timeout)
        while True:
            try:
                following = await self._settle_once(received.token, outcome)
            except (StoreUnavailableError, OutcomeUnknownError) as error:
                late = asyncio.get_running_loop().time() > give_up
                if late or not await self._pause(self._link.failed(error)):
                    logger.error(  # noqa: TRY400 - the store's failure is told by the link
                        "message %s of %s could not be settled (%s); it comes again when its lease ends",
                        received.queue_message.message.message_id,
                        self._name,
                        error,
                    )
                    return None
            except (MessageCoordinatorError, ValueError) as error:
                if not isinstance(outcome, Done):
                    raise
                kind = FailureType.TRANSIENT if isinstance(error, QueueFullError) else FailureType.PERMANENT
                outcome = Failed(kind, f"what follows could not be sent: {type(error).__name__}: {error}")
                logger.warning("message %s: %s", received.queue_message.message.message_id, outcome.error)
            else:
                self._link.well()
                return following

    async def _settle_once(self, token: str, outcome: Outcome) -> ReceivedMessage | None:
        match outcome:
            case Done(sends) if sends:
                await self._coordinator.ack(self._agent, token, then_send=sends)
            case Done():
                async with self._turn:
                    if self._open.is_set() and not (self.stopping or self._asking):
                        return await ack_and_take(
                            self._coordinator, self._agent, token, self._limits.visibility_timeout
                        )
                await self._coordinator.ack(self._agent, token)
            case Failed(failure, error):
                await self._coordinator.nack(self._agent, token, failure, error)
            case _:  # Released
                await self._coordinator.release(self._agent, token)
        return None

    async def _pause(self, seconds: float) -> bool:
        """Wait before another try; False when there is no time for one."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()
        return not self._hurry.is_set()
