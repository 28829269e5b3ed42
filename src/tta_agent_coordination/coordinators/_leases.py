"""Owns the life of a lease: reserving, settling, and reclaiming what ran out."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from tta_agent_coordination import _clock, _codec, _keys
from tta_agent_coordination._clock import Clock
from tta_agent_coordination._redis import scripts
from tta_agent_coordination._redis.client import is_outage
from tta_agent_coordination._redis.registry_scripts import Returned, registry_return
from tta_agent_coordination._redis.scripts import Exchanged, Nacked, Reclaimed, Reply, Reserved, Retry, Status
from tta_agent_coordination.coordinators._calls import Build, Calls
from tta_agent_coordination.coordinators._coalescing import Coalescer
from tta_agent_coordination.coordinators._observer import Observer
from tta_agent_coordination.coordinators._waking import IDLE_S, Waker
from tta_agent_coordination.exceptions import MessageCoordinatorError
from tta_agent_coordination.messaging import ReceivedMessage

__all__ = ["Leases"]

A_PAGE = 100
"""Messages one script of a batch ends, and takes, at most."""

_LEAST_PAUSE_S = 0.001
"""What is due in a moment is looked for after this, in seconds; the server may be a moment short of it."""

_OUTAGE_PAUSE_S = 0.2
"""A waiting receive tries a store that is out of reach again after this, in seconds."""

_NO_RETRY = Retry(attempts=0, base_s=0.0, factor=1.0, max_s=0.0, jitter=1.0)


@dataclass(frozen=True, slots=True)
class _Pause:
    """Nothing was due; look again after this."""

    seconds: float


class Leases:
    """Reserves and settles for one coordinator.

    Attributes:
        owners: By inbox, what tells the epoch of the registration that leases are taken for.
    """

    def __init__(
        self,
        calls: Calls,
        observer: Observer,
        waker: Waker,
        *,
        audit: bool,
        clock: Clock | None,
        max_deliveries: int,
        ageing_us: int,
    ) -> None:
        self._calls = calls
        self._observer = observer
        self._waker = waker
        self._audit = audit
        self._clock = clock
        self._max_deliveries = max_deliveries
        self._ageing_us = ageing_us
        self.owners: dict[str, Callable[[], int | None]] = {}
        self._acks = Coalescer(self._flush)

    def _owner(self, box: _keys.Inbox) -> str:
        epoch = self.owners[box.name]() if box.name in self.owners else None
        return "" if epoch is None else str(epoch)

    def _now(self) -> str:
        return _clock.script_time(self._clock)

    async def receive(self, box: _keys.Inbox, lease_us: int, wait_s: float = 0) -> ReceivedMessage | None:
        """Take the next message that can be read; wait up to `wait_s` seconds until one is due.

        While it waits, a store that is out of reach is tried again; what it fails with last is raised.
        """
        if not wait_s:
            received = await self._next(box, lease_us)
            return received if isinstance(received, ReceivedMessage) else None
        return await self._wait(box, wait_s, lambda waiting: self._next(box, lease_us, waiting))

    async def _wait[T](
        self, box: _keys.Inbox, wait_s: float, look: Callable[[int], Awaitable[T | _Pause]]
    ) -> T | None:
        """Look again and again, as the marker or the last look says, until there is something but a pause."""
        loop = asyncio.get_running_loop()
        end = loop.time() + wait_s
        found = await look(1)
        if not isinstance(found, _Pause):
            return found
        with self._waker.join(box.wake) as ticket:
            while (left := end - loop.time()) > 0:
                took_marker = await ticket.wait(min(left, IDLE_S, max(found.seconds, _LEAST_PAUSE_S)))
                try:
                    found = await look(2 if took_marker else 1)
                except MessageCoordinatorError as error:
                    if not is_outage(error.__cause__) or loop.time() >= end:
                        raise
                    found = _Pause(_OUTAGE_PAUSE_S)
                if not isinstance(found, _Pause):
                    return found
        return None

    async def receive_many(
        self, box: _keys.Inbox, n: int, lease_us: int, wait_s: float = 0
    ) -> list[ReceivedMessage]:
        """Take up to `n` messages; wait up to `wait_s` seconds until there is one."""

        async def look(waiting: int) -> list[ReceivedMessage] | _Pause:
            _, received, pause = await self._exchange(box, (), n, lease_us, waiting)
            return received or pause

        found = await (self._wait(box, wait_s, look) if wait_s else look(0))
        return found if isinstance(found, list) else []

    async def ack_and_receive(
        self, box: _keys.Inbox, ended: Sequence[str], n: int, lease_us: int
    ) -> tuple[list[bool], list[ReceivedMessage]]:
        """End reservations and take up to `n` messages."""
        held, received, _ = await self._exchange(box, ended, n, lease_us, 0)
        return held, received

    async def _exchange(
        self, box: _keys.Inbox, ended: Sequence[str], n: int, lease_us: int, waiting: int
    ) -> tuple[list[bool], list[ReceivedMessage], _Pause]:
        """End and take in pages; say after how many seconds to look again where nothing was due.

        What was taken before a page failed is answered, and what was taken before a cancellation given back.
        """
        held: list[bool] = []
        received: list[ReceivedMessage] = []
        try:
            pause = await self._exchange_pages(box, list(ended), n, lease_us, waiting, held, received)
        except MessageCoordinatorError:
            if not received:
                raise
            pause = _Pause(IDLE_S)
        except asyncio.CancelledError:
            self._calls.undo(box, [self._release(box, message.token) for message in received])
            raise
        return held, received, pause

    async def _exchange_pages(
        self,
        box: _keys.Inbox,
        rest: list[str],
        n: int,
        lease_us: int,
        waiting: int,
        held: list[bool],
        received: list[ReceivedMessage],
    ) -> _Pause:
        """Fill `held` and `received` page by page."""
        while rest or len(received) < n:
            page, rest = rest[:A_PAGE], rest[A_PAGE:]
            wanted = 0 if rest else min(A_PAGE, n - len(received))
            tokens = [f"res_{secrets.token_hex(8)}" for _ in range(wanted)]
            reply = await self._calls.run(
                box,
                self._exchange_call(box, page, tokens, lease_us, waiting),
                undo=[self._release(box, token) for token in tokens],
            )
            held += reply.held
            self._observer.reclaimed(box.name, reply.dead)
            unreadable: list[tuple[Reserved, _codec.UndecodableEntryError]] = []
            for taken in reply.taken:
                try:
                    received.append(_read(taken))
                except _codec.UndecodableEntryError as error:
                    unreadable.append((taken, error))
            for taken, error in unreadable:
                await self._bury(box, taken.token, taken.entry, error)
            if not rest and reply.status is not Status.AGAIN and len(reply.taken) < wanted:
                return _pause(reply.pause_us)
            if not rest and not wanted:
                break
        return _Pause(IDLE_S)

    def _exchange_call(
        self, box: _keys.Inbox, ended: Sequence[str], tokens: Sequence[str], lease_us: int, waiting: int
    ) -> Build[Exchanged]:
        return lambda lane: scripts.exchange(
            lane,
            box,
            now_us=self._now(),
            audit=self._audit,
            max_deliveries=self._max_deliveries,
            lease_us=lease_us,
            ageing_us=self._ageing_us,
            waiting=waiting,
            ended=ended,
            tokens=tokens,
            owner=self._owner(box),
        )

    async def _next(self, box: _keys.Inbox, lease_us: int, waiting: int = 0) -> ReceivedMessage | _Pause:
        """Take the next message that can be read, or say after how many seconds to look again.

        Those that cannot be read are buried on the way. A waiting call that is cancelled gives back what it
        got.
        """
        while True:
            token = f"res_{secrets.token_hex(8)}"
            reply = await self._calls.run(
                box,
                self._reserve(box, token, lease_us, waiting),
                undo=[self._release(box, token)] if waiting else (),
            )
            self._observer.reclaimed(box.name, reply.dead)
            if reply.status is Status.EMPTY:
                return _pause(reply.pause_us)
            if reply.status is Status.AGAIN:
                continue
            try:
                return _read(reply)
            except _codec.UndecodableEntryError as error:
                await self._bury(box, token, reply.entry, error)

    def _reserve(self, box: _keys.Inbox, token: str, lease_us: int, waiting: int) -> Build[Reserved]:
        return lambda lane: scripts.reserve(
            lane,
            box,
            now_us=self._now(),
            audit=self._audit,
            max_deliveries=self._max_deliveries,
            token=token,
            lease_us=lease_us,
            ageing_us=self._ageing_us,
            waiting=waiting,
            owner=self._owner(box),
        )

    def _release(self, box: _keys.Inbox, token: str) -> Build[Reply]:
        return lambda lane: scripts.release(lane, box, now_us=self._now(), audit=self._audit, token=token)

    async def ack(self, box: _keys.Inbox, token: str) -> bool:
        """End a reservation for good."""
        size = len(token.encode())  # what cannot be sent is refused here: it must not fail others
        (answer,) = await self._acks.join(box, (token,), size=size, terms=None)
        if isinstance(answer, MessageCoordinatorError):
            raise type(answer)(str(answer)) from answer.__cause__
        return answer

    async def _flush(
        self, box: _keys.Inbox, tokens: Sequence[str], _: None
    ) -> Sequence[bool | MessageCoordinatorError]:
        """End reservations by one script; what fails as a whole fails for each of them."""
        try:
            if len(tokens) == 1:
                return [_held(await self._calls.run(box, self._ack(box, tokens[0])))]
            reply = await self._calls.run(box, self._exchange_call(box, tokens, (), 0, 0))
        except MessageCoordinatorError as error:
            return [error] * len(tokens)
        held = dict(zip(tokens, reply.held, strict=True))
        return [held.pop(token, False) for token in tokens]  # a second ack of a token is False

    def _ack(self, box: _keys.Inbox, token: str) -> Build[Reply]:
        return lambda lane: scripts.ack(lane, box, now_us="", audit=self._audit, token=token)

    async def settle(self) -> None:
        """Wait for the acks that share a script and are not answered yet."""
        await self._acks.settle()

    async def release(self, box: _keys.Inbox, token: str) -> bool:
        """Give a reservation back uncounted."""
        return _held(await self._calls.run(box, self._release(box, token)))

    async def extend(self, box: _keys.Inbox, token: str, lease_us: int) -> bool:
        """Move the end of a lease."""
        return _held(
            await self._calls.run(
                box,
                lambda lane: scripts.extend(lane, box, now_us=self._now(), token=token, lease_us=lease_us),
            )
        )

    async def nack(
        self, box: _keys.Inbox, token: str, *, permanent: bool, error: object, retry: Retry
    ) -> bool:
        """Give a reservation back as failed.

        The script changes the entry's tail as text. Where it does not know the tail, the entry is changed
        here and stored if it still is the same: two trips.
        """
        cause = "permanent" if permanent else ""
        reply = await self._nack(box, token, error=error, dead_cause=cause, retry=retry)
        while reply.status is Status.UNKNOWN_TAIL:
            failed = _codec.fail(reply.entry, error)
            if failed is None:
                await self._bury(box, token, reply.entry, "not a message")
                return False
            attempts, replacement = failed
            reply = await self._nack(
                box,
                token,
                error=error,
                dead_cause=cause,
                retry=retry,
                expected=reply.entry,
                replacement=replacement,
                attempts=attempts,
            )
        if reply.status is Status.RETRIED:
            self._observer.retried(_clock.from_us(reply.delay_us))
        elif reply.status is Status.DEAD:
            self._observer.died(box.name, reply.entry, reply.attempts, error)
        return reply.status is not Status.LOST

    async def _nack(
        self,
        box: _keys.Inbox,
        token: str,
        *,
        error: object,
        dead_cause: str,
        retry: Retry,
        expected: bytes | None = None,
        replacement: bytes | None = None,
        attempts: int = 0,
    ) -> Nacked:
        error_json = _codec.encode_error(error)
        return await self._calls.run(
            box,
            lambda lane: scripts.nack(
                lane,
                box,
                now_us=self._now(),
                audit=self._audit,
                token=token,
                error=error_json,
                dead_cause=dead_cause,
                retry=retry,
                expected=expected,
                replacement=replacement,
                attempts=attempts,
            ),
        )

    async def _bury(self, box: _keys.Inbox, token: str, entry: bytes, why: object) -> None:
        """Dead-letter a reserved text that is no message, as it is."""
        reply = await self._nack(
            box, token, error=None, dead_cause="undecodable", retry=_NO_RETRY, expected=entry
        )
        if reply.status is Status.DEAD:
            self._observer.died(box.name, entry, 0, f"undecodable entry: {why}")

    async def return_owned(self, box: _keys.Inbox, epoch: int) -> int:
        """End the leases that a dead registration took and never renewed; return how many went back."""
        total, start = 0, 0
        while start >= 0:
            reply = await self._calls.run(box, self._return(box, epoch, start))
            self._observer.reclaimed(box.name, reply.dead)
            total, start = total + reply.requeued, reply.following
        self._observer.recovered({box.name: total})
        return total

    def _return(self, box: _keys.Inbox, epoch: int, start: int) -> Build[Returned]:
        return lambda lane: registry_return(
            lane,
            box,
            now_us=self._now(),
            audit=self._audit,
            max_deliveries=self._max_deliveries,
            epoch=epoch,
            start=start,
        )

    def _reclaim(self, box: _keys.Inbox) -> Build[Reclaimed]:
        return lambda lane: scripts.reclaim(
            lane, box, now_us=self._now(), audit=self._audit, max_deliveries=self._max_deliveries
        )

    async def recover(self, boxes: Sequence[_keys.Inbox]) -> int:
        """End every expired lease of some inboxes, page by page; return how many messages went back.

        What one inbox's failure prevented is raised after the others had their turn.
        """
        total: Counter[str] = Counter()
        failure: MessageCoordinatorError | None = None
        while boxes:
            replies = await self._calls.run_many([(box, self._reclaim(box)) for box in boxes])
            unfinished: list[_keys.Inbox] = []
            for box, reply in zip(boxes, replies, strict=True):
                if isinstance(reply, MessageCoordinatorError):
                    failure = reply
                    continue
                total[box.name] += reply.requeued
                self._observer.reclaimed(box.name, reply.dead)
                if reply.seen == scripts.LEASES_A_SCRIPT:
                    unfinished.append(box)
            boxes = unfinished
        self._observer.recovered(total)
        if failure is not None:
            raise failure
        return total.total()


def _read(taken: Reserved) -> ReceivedMessage:
    """Return what was reserved.

    Raises:
        UndecodableEntryError: If it cannot be read.
    """
    return ReceivedMessage(
        token=taken.token,
        queue_message=_codec.decode(taken.entry),
        visibility_deadline=_clock.iso_from_us(taken.deadline_us),
        deliveries=taken.deliveries,
    )


def _pause(microseconds: int) -> _Pause:
    return _Pause(IDLE_S if microseconds < 0 else _clock.from_us(microseconds))


def _held(reply: Reply) -> bool:
    return reply.status is Status.OK
