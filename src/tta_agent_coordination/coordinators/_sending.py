"""Owns the way of a message out: encode once, name the inbox, run one script, make a result of its answer."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from redis.exceptions import ResponseError

from tta_agent_coordination import _clock, _codec, _keys
from tta_agent_coordination._clock import Clock
from tta_agent_coordination._redis import scripts
from tta_agent_coordination._redis.client import slot
from tta_agent_coordination._redis.script import Call
from tta_agent_coordination._redis.scripts import Lane, Reply, Status
from tta_agent_coordination.coordinators import _validation as check
from tta_agent_coordination.coordinators._calls import Build, Calls, settled
from tta_agent_coordination.coordinators._coalescing import Coalescer
from tta_agent_coordination.coordinators._discovery import Discovery
from tta_agent_coordination.coordinators._observer import Observer
from tta_agent_coordination.exceptions import (
    MessageCoordinatorError,
    PayloadNotJSONError,
    PayloadTooLargeError,
    QueueFullError,
    SlotMismatchError,
)
from tta_agent_coordination.messaging import MessageResult
from tta_agent_coordination.models import AgentMessage, MessagePriority

__all__ = ["SendOptions", "Sender"]

MAX_FOLLOW_UPS = 100
"""Messages one `then_send` carries at most."""


class SendOptions(NamedTuple):
    """What the caller of a send may choose; times in seconds, 0 for no expiry."""

    delay_s: float = 0
    expires_s: float = 0
    dedup_id: str | None = None


class _Outgoing(NamedTuple):
    """An encoded message, from which each recipient's entry is made."""

    message_id: str
    level: int
    json: str
    enqueued_at: str

    def entry(self) -> bytes:
        """Return a new entry; its nonce makes it unlike every other, equal payloads included."""
        return _codec.encode_entry(
            self.json, priority=self.level, enqueued_at=self.enqueued_at, nonce=secrets.token_hex(8)
        )


class Sender:
    """Sends for one coordinator."""

    def __init__(
        self,
        calls: Calls,
        discovery: Discovery,
        observer: Observer,
        *,
        audit: bool,
        clock: Clock | None,
        dedup_ms: int,
        max_payload_bytes: int,
        liveness: Callable[[str], str] | None = None,
        prepare: Callable[[], Awaitable[None]],
    ) -> None:
        self._calls = calls
        self._discovery = discovery
        self._observer = observer
        self._audit = audit
        self._clock = clock
        self._dedup_ms = dedup_ms
        self._max_payload_bytes = max_payload_bytes
        self._liveness = liveness
        self._prepare = prepare
        self._coalescer = Coalescer(self._flush)

    def _encode(self, message: AgentMessage) -> _Outgoing:
        """Encode a message, filling in a missing timestamp.

        Raises:
            PayloadNotJSONError: If it is not strict JSON.
            PayloadTooLargeError: If its payload is larger than allowed.
        """
        message_id = check.message_id(message)
        now = _clock.iso_now(self._clock)
        if not message.timestamp:
            message.timestamp = now
        try:
            text, payload_bytes = _codec.encode_message(message)
            level = int(MessagePriority(message.priority))
        except (TypeError, ValueError, AttributeError) as error:
            raise PayloadNotJSONError(str(error)) from error
        if payload_bytes > self._max_payload_bytes:
            raise PayloadTooLargeError(
                f"payload is {payload_bytes} bytes of JSON, more than {self._max_payload_bytes}"
            )
        return _Outgoing(message_id=message_id, level=level, json=text, enqueued_at=now)

    def _put(self, box: _keys.Inbox, outgoing: _Outgoing, options: SendOptions) -> scripts.Put:
        return scripts.Put(
            level=outgoing.level,
            delay_us=_clock.to_us(options.delay_s),
            expires_us=_clock.to_us(options.expires_s),
            entry=outgoing.entry(),
            message_id=outgoing.message_id,
            dedup=None if options.dedup_id is None else _keys.dedup(box, options.dedup_id),
        )

    async def send(
        self, box: _keys.Inbox, message: AgentMessage, options: SendOptions, *, limit: int
    ) -> MessageResult:
        """Send one message; neither its payload nor the store makes this raise."""
        message_id = check.message_id(message)
        try:
            put = self._put(box, self._encode(message), options)
            (outcome,) = await self._coalescer.join(box, (put,), size=len(put.entry), terms=limit)
        except MessageCoordinatorError as error:
            outcome = error
        return self._result(box, message_id, outcome)

    async def send_many(
        self,
        box: _keys.Inbox,
        messages: Sequence[AgentMessage],
        options: Sequence[SendOptions],
        *,
        limit: int,
    ) -> list[MessageResult]:
        """Send messages in order, 100 a script; each has its own outcome, and nothing makes this raise."""
        ids = [check.message_id(message) for message in messages]
        outcomes: list[Reply | MessageCoordinatorError] = []
        puts: list[scripts.Put] = []
        places: list[int] = []
        for message, option in zip(messages, options, strict=True):
            try:
                put = self._put(box, self._encode(message), option)
            except MessageCoordinatorError as error:
                outcomes.append(error)
                continue
            places.append(len(outcomes))
            outcomes.append(Reply(Status.OK, "0"))
            puts.append(put)
        for start in range(0, len(puts), MAX_FOLLOW_UPS):
            page = puts[start : start + MAX_FOLLOW_UPS]
            size = sum(len(put.entry) for put in page)
            try:
                answers = await self._coalescer.join(box, page, size=size, terms=limit)
            except MessageCoordinatorError as error:
                answers = [error] * len(page)
            for place, answer in zip(places[start : start + MAX_FOLLOW_UPS], answers, strict=True):
                outcomes[place] = answer
        return [
            self._result(box, message_id, outcome) for message_id, outcome in zip(ids, outcomes, strict=True)
        ]

    async def _flush(
        self, box: _keys.Inbox, puts: Sequence[scripts.Put], limit: int
    ) -> Sequence[Reply | MessageCoordinatorError]:
        """Put messages into one inbox by one script; what fails as a whole fails for each of them."""

        def build(lane: Lane) -> Call[list[Reply | ResponseError] | Reply]:
            return scripts.enqueue_many(
                lane,
                box,
                now_us=_clock.script_time(self._clock),
                audit=self._audit,
                limit=limit,
                puts=puts,
                dedup_ms=self._dedup_ms,
            )

        try:
            await self._prepare()
            await self._discovery.register([box])
            if len(puts) == 1:
                return [await self._calls.run(box, self._build(box, puts[0], limit))]
            answer = await self._calls.run(box, build)
        except MessageCoordinatorError as error:
            return [error] * len(puts)
        return [settled(one) for one in answer] if isinstance(answer, list) else [answer] * len(puts)

    def _build(self, box: _keys.Inbox, put: scripts.Put, limit: int) -> Build[Reply]:
        return lambda lane: scripts.enqueue(
            lane,
            box,
            now_us=_clock.script_time(self._clock),
            audit=self._audit,
            limit=limit,
            put=put,
            dedup_ms=self._dedup_ms,
        )

    async def broadcast(
        self, boxes: Sequence[_keys.Inbox], message: AgentMessage, *, limit: int
    ) -> list[MessageResult]:
        """Send one message to many inboxes in one pipeline; each delivery is atomic for itself."""
        try:
            outgoing = self._encode(message)
            await self._discovery.register(boxes)
            puts = [self._put(box, outgoing, SendOptions()) for box in boxes]
            work = [(box, self._build(box, put, limit)) for box, put in zip(boxes, puts, strict=True)]
            outcomes = await self._calls.run_many(work)
        except MessageCoordinatorError as error:
            outcomes = [error] * len(boxes)
        return [
            self._result(box, check.message_id(message), outcome)
            for box, outcome in zip(boxes, outcomes, strict=True)
        ]

    async def settle(self) -> None:
        """Wait for the sends that share a script and are not answered yet."""
        await self._coalescer.settle()

    def _result(
        self, box: _keys.Inbox, message_id: str, outcome: Reply | MessageCoordinatorError
    ) -> MessageResult:
        result = self._result_of(box, message_id, outcome)
        if self._liveness is not None:
            result.recipient_liveness = str(self._liveness(box.name))
        return result

    def _result_of(
        self, box: _keys.Inbox, message_id: str, outcome: Reply | MessageCoordinatorError
    ) -> MessageResult:
        if isinstance(outcome, MessageCoordinatorError):
            failed = MessageResult(
                message_id=message_id, delivered=False, error=str(outcome), cause=outcome.cause
            )
            return self._observer.sent(failed.caused_by(outcome.__cause__ or outcome))
        if outcome.status is Status.FULL:
            full = MessageResult(
                message_id=message_id, delivered=False, error="queue full", cause="queue full"
            )
            return self._observer.sent(full)
        if outcome.status is Status.DUPLICATE:
            return self._observer.sent(
                MessageResult(message_id=outcome.text, delivered=True, cause="duplicate")
            )
        if self._audit:
            self._observer.depth(box.name, int(outcome.text))
        return self._observer.sent(MessageResult(message_id=message_id, delivered=True))

    async def ack_and_send(
        self,
        box: _keys.Inbox,
        token: str,
        follow_ups: Sequence[tuple[_keys.Inbox, AgentMessage]],
        *,
        limit: int,
        one_slot: bool,
    ) -> bool:
        """End a reservation and send what follows from it, all or nothing; False when the token is lost.

        Raises:
            ValueError: If there are more than 100 follow-ups.
            PayloadError: If one cannot be stored; the token stays held.
            SlotMismatchError: With `one_slot`, if a target lies in another slot; nothing was sent.
            QueueFullError: If a target is full; the token stays held.
        """
        if len(follow_ups) > MAX_FOLLOW_UPS:
            raise ValueError(f"then_send takes at most {MAX_FOLLOW_UPS} messages, not {len(follow_ups)}")
        targets = list({target.name: target for target, _ in follow_ups}.values())
        numbers = {target.name: number for number, target in enumerate(targets, 1)}
        sends: list[tuple[int, int, bytes]] = []
        for target, message in follow_ups:
            outgoing = self._encode(message)
            sends.append((numbers[target.name], outgoing.level, outgoing.entry()))
        for target in targets if one_slot else ():
            if slot(target.reserved) != slot(box.reserved):
                raise SlotMismatchError(
                    f"{box.name} and {target.name} lie in different cluster slots: with hash_tags, one "
                    "atomic step concerns one agent; send with a dedup_id first, then acknowledge"
                )
        await self._discovery.register(targets)

        def build(lane: Lane) -> Call[Reply]:
            return scripts.ack_send(
                lane,
                box,
                now_us=_clock.script_time(self._clock),
                audit=self._audit,
                token=token,
                limit=limit,
                targets=targets,
                sends=sends,
            )

        reply = await self._calls.run(box, build)
        if reply.status is Status.FULL:
            full = targets[int(reply.text) - 1]
            raise QueueFullError(
                f"queue full: {full.name} has no room; nothing was sent, {token} is still held"
            )
        if reply.status is Status.OK:
            self._observer.followed_up(len(sends))
        return reply.status is Status.OK
