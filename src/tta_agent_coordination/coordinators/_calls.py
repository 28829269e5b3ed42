"""Owns how a coordinator calls scripts: lanes, the bound on calls in flight, and the mapping of errors.

A lane is one coordinator, one inbox, one call in flight. Its sequence numbers come from one counter that only
grows, so a lane that is taken again is always ahead of whatever an earlier, cancelled call may still have on
the wire: such a command does its work if it comes first, and is refused as stale if it comes after its
successor.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from tta_agent_coordination import _keys
from tta_agent_coordination._redis import script
from tta_agent_coordination._redis.client import STORE_ERRORS, Client, Raw, was_not_done
from tta_agent_coordination._redis.gate import Gate
from tta_agent_coordination._redis.scripts import Lane, Status
from tta_agent_coordination.exceptions import (
    MessageCoordinatorError,
    OutcomeUnknownError,
    StoreUnavailableError,
)

__all__ = ["Build", "Calls", "settled"]

logger = logging.getLogger("tta_agent_coordination.coordinators")

MAX_IN_FLIGHT = 32
"""Calls one coordinator has under way; a default client has 100 connections to give, then raises."""

PIPELINE_CALLS = 256
"""Scripts one pipeline carries at most."""

type Build[T] = Callable[[Lane], script.Call[T]]


class Calls:
    """Sends scripts for one coordinator and raises only `MessageCoordinatorError`."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._gate = Gate(MAX_IN_FLIGHT)
        self._undoing: set[asyncio.Task[None]] = set()
        self._begin_lanes()

    def _begin_lanes(self) -> None:
        self._pid = os.getpid()
        self._owner = secrets.token_hex(8)
        self._sequence = itertools.count(1)
        self._busy: dict[str, int] = {}

    def _take(self, box: _keys.Inbox) -> tuple[Lane, int]:
        """Take the lowest free lane of an inbox; a bit a lane, an entry only while calls are under way."""
        if self._pid != os.getpid():
            self._begin_lanes()  # after a fork the parent's lanes are the parent's
        busy = self._busy.get(box.name, 0)
        bit = ~busy & (busy + 1)
        self._busy[box.name] = busy | bit
        return Lane(_keys.lane(box, self._owner, bit.bit_length() - 1), next(self._sequence)), bit

    def _give_back(self, box: _keys.Inbox, bit: int) -> None:
        left = self._busy.get(box.name, 0) & ~bit
        if left:
            self._busy[box.name] = left
        else:
            self._busy.pop(box.name, None)

    async def run[T](self, box: _keys.Inbox, build: Build[T], *, undo: Sequence[Build[Any]] = ()) -> T:
        """Run one script on a lane of its inbox.

        Args:
            box: Whose lane.
            build: Makes the call for a lane.
            undo: What to run, in a task of its own, when this call is cancelled. It takes the call's lane:
                if the cancelled command comes after it, that is refused as stale.

        Raises:
            StoreUnavailableError: If it was not carried out.
            OutcomeUnknownError: If it may have been.
        """
        await self._gate.enter()
        try:
            lane, bit = self._take(box)
            try:
                answer = await script.run(self.client, build(lane))
            except STORE_ERRORS as error:
                raise mapped(error) from error
            except asyncio.CancelledError:
                if undo:
                    self._begin_undo(box, lane, bit, undo)
                    bit = 0
                raise
            finally:
                self._give_back(box, bit)
        finally:
            self._gate.leave()
        return _checked(answer)

    def undo(self, box: _keys.Inbox, undo: Sequence[Build[Any]]) -> None:
        """Run scripts in a task of its own, for a caller that was cancelled between two of its calls."""
        if undo:
            self._begin_undo(box, *self._take(box), undo)

    def _begin_undo(self, box: _keys.Inbox, lane: Lane, bit: int, undo: Sequence[Build[Any]]) -> None:
        async def run() -> None:
            try:
                for build in undo:
                    await script.run(self.client, build(Lane(lane.key, next(self._sequence))))
            except STORE_ERRORS as error:
                logger.warning(
                    "Could not give back what a cancelled receive took for %s (%s); it comes again when its "
                    "lease ends",
                    box.name,
                    error,
                )
            finally:
                self._give_back(box, bit)

        task = asyncio.create_task(run(), name=f"undo a cancelled call for {box.name}")
        self._undoing.add(task)
        task.add_done_callback(self._undoing.discard)

    async def settle(self) -> None:
        """Wait until what was cancelled is undone, or has failed to."""
        loop = asyncio.get_running_loop()
        undoing = [task for task in self._undoing if task.get_loop() is loop]
        if undoing:
            await asyncio.wait(undoing)

    async def run_many[T](
        self, work: Sequence[tuple[_keys.Inbox, Build[T]]]
    ) -> list[T | MessageCoordinatorError]:
        """Run scripts in pipelines, each on a lane of its own; each answers for itself."""
        answers: list[T | MessageCoordinatorError] = []
        for start in range(0, len(work), PIPELINE_CALLS):
            answers += await self._run_page(work[start : start + PIPELINE_CALLS])
        return answers

    async def _run_page[T](
        self, work: Sequence[tuple[_keys.Inbox, Build[T]]]
    ) -> list[T | MessageCoordinatorError]:
        await self._gate.enter()
        taken: list[tuple[_keys.Inbox, int]] = []
        try:
            calls: list[script.Call[T]] = []
            for box, build in work:
                lane, bit = self._take(box)
                taken.append((box, bit))
                calls.append(build(lane))
            try:
                answers = await script.run_many(self.client, calls)
            except STORE_ERRORS as error:
                return [_chained(error) for _ in work]
            return [settled(answer) for answer in answers]
        finally:
            for box, bit in taken:
                self._give_back(box, bit)
            self._gate.leave()

    async def read[T](self, call: script.Call[T]) -> T:
        """Run a script that writes nothing, and so needs no lane."""
        await self._gate.enter()
        try:
            return await script.run(self.client, call)
        except STORE_ERRORS as error:
            raise mapped(error) from error
        finally:
            self._gate.leave()

    async def add_to_set(self, key: bytes, *members: str) -> None:
        """Add members to an index; doing it twice is doing it once."""
        await self._plain("SADD", key, *members)

    async def scan_page(self, *parts: object) -> tuple[int, list[bytes]]:
        """Run one step of SCAN or SSCAN; return the next cursor and the page."""
        cursor, page = await self._plain(*parts)
        return int(cursor), page

    async def _plain(self, *parts: object) -> Any:  # noqa: ANN401 - whatever the command answers
        await self._gate.enter()
        try:
            return await self.client.execute_command(*parts, **Raw)
        except STORE_ERRORS as error:
            raise mapped(error) from error
        finally:
            self._gate.leave()

    async def commands(self, commands: Sequence[tuple[object, ...]]) -> list[Any]:
        """Run plain commands in pipelines; the first error ends it."""
        answers: list[Any] = []
        for start in range(0, len(commands), PIPELINE_CALLS):
            pipeline = self.client.pipeline(transaction=False)
            for parts in commands[start : start + PIPELINE_CALLS]:
                pipeline.execute_command(*parts, **Raw)
            await self._gate.enter()
            try:
                answers += await pipeline.execute()
            except STORE_ERRORS as error:
                raise mapped(error) from error
            finally:
                self._gate.leave()
        return answers


def mapped(error: BaseException) -> MessageCoordinatorError:
    """Return the error of ours that stands for one of the client."""
    return (StoreUnavailableError if was_not_done(error) else OutcomeUnknownError)(str(error))


def _chained(error: BaseException) -> MessageCoordinatorError:
    ours = mapped(error)
    ours.__cause__ = error
    return ours


def settled[T](answer: T | Exception) -> T | MessageCoordinatorError:
    """Return one of several answers, with the error of ours for one of the client."""
    if isinstance(answer, STORE_ERRORS):
        return _chained(answer)
    if isinstance(answer, Exception):
        raise answer
    try:
        return _checked(answer)
    except MessageCoordinatorError as error:
        return error


def _checked[T](answer: T) -> T:
    if getattr(answer, "status", None) is Status.STALE:
        raise OutcomeUnknownError(
            "a later call on the same lane overtook this one; it may or may not have been done"
        )
    return answer
