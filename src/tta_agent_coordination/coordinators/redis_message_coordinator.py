"""Owns `RedisMessageCoordinator`: v0's interface over one Lua script an operation.

The shell only: it checks arguments, encodes, has `_calls` run one script, decodes, counts and logs. What an
operation does, and in which order, stands in the script of its name.
"""

from __future__ import annotations

import logging
import random
import secrets
from collections.abc import Awaitable, Callable, Generator, Sequence
from types import TracebackType
from typing import Any, Self, TypedDict, Unpack, cast

from tta_agent_coordination import _clock, _codec, _keys
from tta_agent_coordination._clock import Clock
from tta_agent_coordination._redis import scripts
from tta_agent_coordination._redis.client import Client, from_url, is_cluster, slot
from tta_agent_coordination._redis.scripts import Retry, Status
from tta_agent_coordination.coordinators import _inspect
from tta_agent_coordination.coordinators import _validation as check
from tta_agent_coordination.coordinators._calls import Calls
from tta_agent_coordination.coordinators._deadletters import DeadLetters
from tta_agent_coordination.coordinators._discovery import Discovery
from tta_agent_coordination.coordinators._outgoing import encoded, result_of
from tta_agent_coordination.coordinators._subscriptions import Subscriptions
from tta_agent_coordination.exceptions import MessageCoordinatorError, QueueFullError, SlotMismatchError
from tta_agent_coordination.interfaces import MessageCoordinator
from tta_agent_coordination.messaging import (
    DeadLetter,
    FailureType,
    InboxStats,
    MessageExplanation,
    MessageResult,
    MessageSubscription,
    ReceivedMessage,
)
from tta_agent_coordination.metrics import InMemoryMetrics, MessageMetrics
from tta_agent_coordination.models import AgentId, AgentMessage, MessageType

__all__ = ["CoordinatorOptions", "RedisMessageCoordinator"]

logger = logging.getLogger("tta_agent_coordination.coordinators")

_LONG_AUDIT = 50_000
"""Audit entries from which on an ack may have to look far for its own."""
_MAX_FOLLOW_UPS = 100
"""Messages one `then_send` carries at most."""


class CoordinatorOptions(TypedDict, total=False):
    """The keyword options of a coordinator."""

    queue_size: int
    retry_attempts: int
    backoff_base: float
    backoff_factor: float
    backoff_max: float
    max_deliveries: int
    dedup_ttl: float
    max_payload_bytes: int
    metrics: MessageMetrics | None
    audit: str
    hash_tags: bool
    jitter: bool
    clock: Clock | None


class _Done:
    """What `configure` returns: everything has happened, and awaiting it is allowed."""

    def __await__(self) -> Generator[Any, None, None]:
        yield from ()


class RedisMessageCoordinator(MessageCoordinator):
    """Durable inboxes on Redis, delivered at least once, highest priority first and FIFO inside a level.

    Each operation is one Lua script and one round trip: it happens as a whole or not at all. A command that the
    client library sends again does not act again. Time is the server's. Nothing runs between calls.

    Args:
        redis: A `redis.asyncio` client; with or without `decode_responses`. The caller closes it.
        key_prefix: Begins every key; trailing colons are dropped.
        queue_size: Most messages one inbox may hold: ready, delayed and reserved.
        retry_attempts: Failures a message may have and still be retried.
        backoff_base: Delay after the first failure, in seconds.
        backoff_factor: Growth of the delay with each further failure.
        backoff_max: Longest delay, in seconds.
        max_deliveries: Expired leases until a message is dead-lettered as poison.
        dedup_ttl: How long a `dedup_id` is remembered, in seconds.
        max_payload_bytes: Largest payload, as JSON.
        metrics: Counts what happens; None for an `InMemoryMetrics` of its own.
        audit: `exact` keeps v0's list of outstanding entries, which makes an ack as slow as its look-up there;
            `off` keeps none, and is only for inboxes that no v0 process shares.
        hash_tags: Brace the inbox in its keys, for a cluster. It is another key space: drain the old one first.
        jitter: Shorten each backoff at random, to no less than half.
        clock: Takes the place of the server's clock, in tests.

    Raises:
        ValueError: If an option is out of range, or a cluster client comes without `hash_tags`.
    """

    def __init__(
        self,
        redis: Any,
        key_prefix: str = "ao",
        *,
        queue_size: int = 10_000,
        retry_attempts: int = 3,
        backoff_base: float = 1.0,
        backoff_factor: float = 2.0,
        backoff_max: float = 30.0,
        max_deliveries: int = 10,
        dedup_ttl: float = 3_600,
        max_payload_bytes: int = 4_194_304,
        metrics: MessageMetrics | None = None,
        audit: str = "exact",
        hash_tags: bool = False,
        jitter: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._pfx = _keys.clean_prefix(key_prefix)
        if is_cluster(redis) and not hash_tags:
            raise ValueError(
                "a cluster client needs hash_tags=True, so that the keys of one inbox share a slot; it is another "
                "key space, so drain the inboxes of the old one first"
            )
        self._queue_size = check.whole("queue_size", queue_size, low=1)
        self._retry_attempts = check.whole("retry_attempts", retry_attempts, low=0)
        self._backoff_base = check.backoff("backoff_base", backoff_base)
        self._backoff_factor = check.backoff("backoff_factor", backoff_factor)
        self._backoff_max = check.backoff("backoff_max", backoff_max)
        self._max_deliveries = check.whole("max_deliveries", max_deliveries, low=1)
        self._dedup_ms = max(1, round(check.positive("dedup_ttl", dedup_ttl, high=check.MAX_DELAY_S) * 1_000))
        self._max_payload_bytes = check.whole("max_payload_bytes", max_payload_bytes, low=1)
        self._audit = check.choice("audit", audit, ("exact", "off")) == "exact"
        self._hash_tags = hash_tags
        self._jitter = jitter
        self._clock = clock
        self.metrics: MessageMetrics = InMemoryMetrics() if metrics is None else metrics

        self._redis = redis
        self._agent_router: Any = None
        self._owned_client: Client | None = None
        self._warned_of_metrics = False
        self._warned_of_audit = False
        self._calls = Calls(cast("Client", redis))
        self._discovery = Discovery(self._calls, self._pfx, hash_tags=hash_tags)
        self._subscriptions = Subscriptions(self._calls, self._discovery)
        self._dead = DeadLetters(self._calls)

    @classmethod
    def from_url(cls, url: str, key_prefix: str = "ao", **options: Unpack[CoordinatorOptions]) -> Self:
        """Return a coordinator with a client of its own, which `aclose` closes.

        Args:
            url: `redis://`, `rediss://` or `unix://`.
            key_prefix: Begins every key.
            **options: As for the constructor.
        """
        client = from_url(url)
        coordinator = cls(client, key_prefix, **options)
        coordinator._owned_client = client  # noqa: SLF001 - it is the class's own
        return coordinator

    def __repr__(self) -> str:
        """Show the prefix and the limits."""
        return (
            f"{type(self).__name__}(key_prefix={self._pfx!r}, queue_size={self._queue_size}, "
            f"retry_attempts={self._retry_attempts}, audit={'exact' if self._audit else 'off'}, "
            f"hash_tags={self._hash_tags})"
        )

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        await self.aclose()

    async def aclose(self) -> None:
        """Wait for subscriptions that are being stored, and close the client if `from_url` made it. Repeatable."""
        await self._subscriptions.settle()
        if self._owned_client is not None:
            await self._owned_client.aclose()

    def _box(self, agent_id: AgentId) -> _keys.Inbox:
        return _keys.inbox(self._pfx, agent_id, hash_tags=self._hash_tags)

    def _reserved_hash(self, agent_id: AgentId) -> str:
        return self._box(agent_id).reserved.decode()

    def _now(self) -> str:
        return _clock.script_time(self._clock)

    def _count(self, counted: Callable[[], None]) -> None:
        """Tell the metrics; they come from the user, and one that raises never breaks an operation."""
        try:
            counted()
        except Exception:
            if not self._warned_of_metrics:
                self._warned_of_metrics = True
                logger.exception("The metrics object %r failed; this is said once", self.metrics)

    async def send_message(
        self,
        sender: AgentId,
        recipient: AgentId,
        message: AgentMessage,
        *,
        delay: float = 0,
        expires_in: float | None = None,
        dedup_id: str | None = None,
    ) -> MessageResult:
        """Put a message into the recipient's inbox, atomically.

        A second call is a second message, even with the same `message_id`, unless `dedup_id` says otherwise. A
        cancelled call may or may not have sent it.

        Args:
            sender: Who sends; it is not read, the message names its sender itself.
            recipient: Selects the inbox, whatever the message says.
            message: The message; a missing timestamp is filled in.
            delay: Seconds until it may be received, up to a year.
            expires_in: Seconds until nobody wants it any more; longer than `delay`.
            dedup_id: An idempotency key for this inbox, remembered `dedup_ttl` seconds.

        Returns:
            What became of it. Neither the store nor the payload makes a send raise.

        Raises:
            ValueError: If an option is out of range; nothing was sent.
        """
        del sender
        delay_s, expiry_s = check.delay_and_expiry(delay, expires_in)
        key = check.dedup_id(dedup_id)
        limit = check.whole("queue_size", self._queue_size, low=1)
        await self._subscriptions.catch_up()
        box = self._box(recipient)
        try:
            outgoing = encoded(
                message, now_iso=_clock.iso_now(self._clock), max_payload_bytes=self._max_payload_bytes
            )
            await self._discovery.register([box])
            entry = outgoing.entry()
            reply = await self._calls.run(
                box,
                lambda lane: scripts.enqueue(
                    lane,
                    box,
                    now_us=self._now(),
                    audit=self._audit,
                    level=outgoing.level,
                    limit=limit,
                    delay_us=_clock.to_us(delay_s),
                    expires_us=_clock.to_us(expiry_s),
                    entry=entry,
                    message_id=message.message_id,
                    dedup=None if key is None else _keys.dedup(box, key),
                    dedup_ms=self._dedup_ms,
                ),
            )
        except MessageCoordinatorError as error:
            return self._sent(box, message, error)
        return self._sent(box, message, reply)

    def _sent(
        self, box: _keys.Inbox, message: AgentMessage, outcome: scripts.Reply | MessageCoordinatorError
    ) -> MessageResult:
        """Count the outcome of one send and return its result."""
        result = result_of(message.message_id, outcome)
        if result.delivered:
            self._count(lambda: self.metrics.inc_delivered_ok(1))
        elif result.cause != "queue full":
            self._count(lambda: self.metrics.inc_delivered_error(1))
        if self._audit and not self._warned_of_audit and not isinstance(outcome, MessageCoordinatorError):
            depth = int(outcome.text) if outcome.status is Status.OK else 0
            if depth > _LONG_AUDIT:
                self._warned_of_audit = True
                logger.warning(
                    "Inbox %s holds %s messages: with audit='exact' an ack out of order has to look through its "
                    "audit list; where no v0 process shares the inbox, audit='off' costs the same at any length",
                    box.name,
                    depth,
                )
        return result

    async def broadcast_message(
        self, sender: AgentId, message: AgentMessage, recipients: Sequence[AgentId] | None = None
    ) -> list[MessageResult]:
        """Send a message to several agents, each delivery atomic for itself.

        Args:
            sender: Who sends.
            message: The message; every recipient gets an entry of its own.
            recipients: Who gets it; None for the agents that subscribed to the message's type, and `[]` for nobody.

        Returns:
            One result a recipient, in their order (subscribers by name).

        Raises:
            MessageCoordinatorError: If the subscribers cannot be read; nothing was sent.
        """
        if recipients is None:
            await self._subscriptions.settle()
            boxes = await self._discovery.subscribers(str(MessageType(message.message_type).value))
            recipients = [_agent_of(box) for box in boxes]
        if not recipients:
            return []
        if type(self).send_message is not RedisMessageCoordinator.send_message:
            return [await self.send_message(sender, recipient, message) for recipient in recipients]
        await self._subscriptions.catch_up()
        boxes = [self._box(recipient) for recipient in recipients]
        limit = check.whole("queue_size", self._queue_size, low=1)
        try:
            outgoing = encoded(
                message, now_iso=_clock.iso_now(self._clock), max_payload_bytes=self._max_payload_bytes
            )
            await self._discovery.register(boxes)
        except MessageCoordinatorError as error:
            return [self._sent(box, message, error) for box in boxes]

        def build(box: _keys.Inbox) -> Callable[[scripts.Lane], Any]:
            entry = outgoing.entry()
            return lambda lane: scripts.enqueue(
                lane,
                box,
                now_us=self._now(),
                audit=self._audit,
                level=outgoing.level,
                limit=limit,
                delay_us=0,
                expires_us=0,
                entry=entry,
                message_id=message.message_id,
                dedup=None,
                dedup_ms=0,
            )

        outcomes = await self._calls.run_many([(box, build(box)) for box in boxes])
        return [self._sent(box, message, outcome) for box, outcome in zip(boxes, outcomes, strict=True)]

    def subscribe_to_messages(
        self, agent_id: AgentId, message_types: Sequence[MessageType]
    ) -> MessageSubscription:
        """Record that an agent wants broadcasts of these types; direct messages always arrive.

        Synchronous, as in v0: storing it is a task that this coordinator owns, retries and logs. Without a running
        loop it is stored at the next awaited operation.

        Args:
            agent_id: Who wants them.
            message_types: Added to what the agent subscribed to before.

        Returns:
            The subscription. Awaiting it waits until it is stored, and raises if it could not be.
        """
        return self._subscriptions.subscribe(agent_id, self._box(agent_id), message_types)

    async def unsubscribe(self, agent_id: AgentId, message_types: Sequence[MessageType] | None = None) -> int:
        """Take subscriptions away.

        Args:
            agent_id: Whose.
            message_types: Which; None for all.

        Returns:
            How many there were.

        Raises:
            MessageCoordinatorError: If the store failed.
        """
        return await self._subscriptions.unsubscribe(self._box(agent_id), message_types)

    async def receive(self, agent_id: AgentId, visibility_timeout: float = 5) -> ReceivedMessage | None:
        """Take the next message under a lease, atomically.

        On the way it ends leases that ran out: their messages go back to the place they had, or become dead letters
        after `max_deliveries` of that. Messages past their expiry, and texts that are no message, become dead
        letters. A call that is cancelled after the server acted leaves a lease that runs out by itself.

        Args:
            agent_id: Whose inbox.
            visibility_timeout: Length of the lease in seconds, up to a week. Nobody else gets the message before.

        Returns:
            The message, or None when nothing is due.

        Raises:
            ValueError: If the timeout is out of range.
            MessageCoordinatorError: If the store failed.
        """
        lease_us = _clock.to_us(check.lease("visibility_timeout", visibility_timeout))
        await self._subscriptions.catch_up()
        box = self._box(agent_id)
        while True:
            token = f"res_{secrets.token_hex(8)}"
            reply = await self._calls.run(
                box,
                lambda lane, token=token: scripts.reserve(
                    lane,
                    box,
                    now_us=self._now(),
                    audit=self._audit,
                    max_deliveries=self._max_deliveries,
                    token=token,
                    lease_us=lease_us,
                ),
            )
            self._reclaimed(box, reply.dead)
            if reply.status is Status.EMPTY:
                return None
            if reply.status is not Status.OK:
                continue
            try:
                queue_message = _codec.decode(reply.entry)
            except _codec.UndecodableEntryError as error:
                await self._bury(box, token, reply.entry, str(error))
                continue
            return ReceivedMessage(
                token=token,
                queue_message=queue_message,
                visibility_deadline=_clock.iso_from_us(reply.deadline_us),
                deliveries=reply.deliveries,
            )

    def _reclaimed(self, box: _keys.Inbox, dead: int) -> None:
        if dead:
            self._count(lambda: self.metrics.inc_permanent(dead))
            logger.error(
                "Dead-lettered %s messages for %s: expired, or poison after too many leases", dead, box.name
            )

    async def ack(
        self, agent_id: AgentId, token: str, *, then_send: Sequence[tuple[AgentId, AgentMessage]] = ()
    ) -> bool:
        """End a lease for good and, in the same atomic step, send what follows from the message.

        It counts as long as the token holds its reservation, late or not. A second ack is False.

        Args:
            agent_id: Whose inbox.
            token: The reservation.
            then_send: (recipient, message) pairs, at most 100; all are sent or none.

        Returns:
            False when the reservation was reclaimed or never was; then nothing is sent.

        Raises:
            QueueFullError: If a target inbox is full; the token stays held.
            PayloadError: If a message cannot be stored; the token stays held.
            SlotMismatchError: With `hash_tags`, if a target lies in another slot; nothing was sent to the server.
            MessageCoordinatorError: If the store failed.
        """
        await self._subscriptions.catch_up()
        box = self._box(agent_id)
        if then_send:
            return await self._ack_and_send(box, token, then_send)
        reply = await self._calls.run(
            box, lambda lane: scripts.ack(lane, box, now_us="", audit=self._audit, token=token)
        )
        return reply.status is Status.OK

    async def _ack_and_send(
        self, box: _keys.Inbox, token: str, follow_ups: Sequence[tuple[AgentId, AgentMessage]]
    ) -> bool:
        if len(follow_ups) > _MAX_FOLLOW_UPS:
            raise ValueError(f"then_send takes at most {_MAX_FOLLOW_UPS} messages, not {len(follow_ups)}")
        limit = check.whole("queue_size", self._queue_size, low=1)
        now_iso = _clock.iso_now(self._clock)
        targets: dict[_keys.Inbox, int] = {}
        sends: list[tuple[int, int, bytes]] = []
        for recipient, message in follow_ups:
            number = targets.setdefault(self._box(recipient), len(targets) + 1)
            outgoing = encoded(message, now_iso=now_iso, max_payload_bytes=self._max_payload_bytes)
            sends.append((number, outgoing.level, outgoing.entry()))
        for target in targets if self._hash_tags else ():
            if slot(target.reserved) != slot(box.reserved):
                raise SlotMismatchError(
                    f"{box.name} and {target.name} lie in different cluster slots: with hash_tags, one atomic step "
                    "concerns one agent; send with a dedup_id first, then acknowledge"
                )
        await self._discovery.register(targets)
        reply = await self._calls.run(
            box,
            lambda lane: scripts.ack_send(
                lane,
                box,
                now_us=self._now(),
                audit=self._audit,
                token=token,
                limit=limit,
                targets=list(targets),
                sends=sends,
            ),
        )
        if reply.status is Status.FULL:
            full = list(targets)[int(reply.text) - 1]
            raise QueueFullError(
                f"queue full: {full.name} has no room; nothing was sent, {token} is still held"
            )
        if reply.status is Status.OK:
            self._count(lambda: self.metrics.inc_delivered_ok(len(sends)))
        return reply.status is Status.OK

    async def nack(
        self,
        agent_id: AgentId,
        token: str,
        failure: FailureType = FailureType.TRANSIENT,
        error: str | None = None,
    ) -> bool:
        """Give a message back as failed, atomically.

        Its `delivery_attempts` grow by one. A permanent failure, more than `retry_attempts` failures, or an expiry
        that has passed make it a dead letter; else it is due again after
        min(`backoff_base` * `backoff_factor` ^ (attempts - 1), `backoff_max`) seconds.

        Args:
            agent_id: Whose inbox.
            token: The reservation; late or not, as long as it holds.
            failure: Permanent, or anything else for another try.
            error: Kept as `last_error`, up to 2,000 characters.

        Returns:
            False when the reservation was reclaimed or never was, or holds a text that is no message; that becomes
            a dead letter as it is.

        Raises:
            MessageCoordinatorError: If the store failed.
        """
        permanent = FailureType(failure) is FailureType.PERMANENT
        await self._subscriptions.catch_up()
        box = self._box(agent_id)
        reply = await self._nack(box, token, error=error, dead_cause="permanent" if permanent else "")
        while reply.status in {Status.UNKNOWN_TAIL, Status.CHANGED}:
            entry = reply.entry
            failed = _codec.fail(entry, error)
            if failed is None:
                await self._bury(box, token, entry, "not a message")
                return False
            attempts, replacement = failed
            reply = await self._nack(
                box,
                token,
                error=error,
                dead_cause="permanent" if permanent else "",
                expected=entry,
                replacement=replacement,
                attempts=attempts,
            )
        if reply.status is Status.RETRIED:
            delay = _clock.from_us(reply.delay_us)
            self._count(lambda: self.metrics.inc_retries_scheduled(1, last_backoff_seconds=delay))
            self._count(lambda: self.metrics.inc_nacks(1))
        elif reply.status is Status.DEAD:
            self._count(lambda: self.metrics.inc_permanent(1))
            logger.error(
                "DLQ enqueue for %s message_id=%s attempts=%s error=%s",
                box.name,
                _message_id(reply.entry),
                reply.attempts,
                error,
            )
        return reply.status is not Status.LOST

    async def _nack(
        self,
        box: _keys.Inbox,
        token: str,
        *,
        error: object,
        dead_cause: str,
        expected: bytes = b"",
        replacement: bytes = b"",
        attempts: int = 0,
    ) -> scripts.Nacked:
        retry = Retry(
            attempts=check.whole("retry_attempts", self._retry_attempts, low=0),
            base_s=check.backoff("backoff_base", self._backoff_base),
            factor=check.backoff("backoff_factor", self._backoff_factor),
            max_s=check.backoff("backoff_max", self._backoff_max),
            jitter=random.uniform(0.5, 1.0) if self._jitter else 1.0,  # noqa: S311 - spreads load, guards nothing
        )
        return await self._calls.run(
            box,
            lambda lane: scripts.nack(
                lane,
                box,
                now_us=self._now(),
                audit=self._audit,
                token=token,
                error=_codec.encode_error(error),
                dead_cause=dead_cause,
                retry=retry,
                expected=expected,
                replacement=replacement,
                attempts=attempts,
            ),
        )

    async def _bury(self, box: _keys.Inbox, token: str, entry: bytes, why: str) -> None:
        """Dead-letter a reserved text that is no message, as it is."""
        reply = await self._nack(box, token, error=None, dead_cause="undecodable", expected=entry)
        if reply.status is Status.DEAD:
            self._count(lambda: self.metrics.inc_permanent(1))
            logger.error(
                "DLQ enqueue for %s message_id=None attempts=0 error=undecodable entry: %s", box.name, why
            )

    async def extend(self, agent_id: AgentId, token: str, seconds: float) -> bool:
        """Let a lease end `seconds` from now by the server's clock, and never earlier than it would have.

        Args:
            agent_id: Whose inbox.
            token: The reservation; late or not, as long as it holds.
            seconds: Up to a week.

        Returns:
            False when the reservation was reclaimed or never was.

        Raises:
            ValueError: If `seconds` is out of range.
            MessageCoordinatorError: If the store failed.
        """
        lease_us = _clock.to_us(check.lease("seconds", seconds))
        await self._subscriptions.catch_up()
        box = self._box(agent_id)
        reply = await self._calls.run(
            box, lambda lane: scripts.extend(lane, box, now_us=self._now(), token=token, lease_us=lease_us)
        )
        return reply.status is Status.OK

    async def release(self, agent_id: AgentId, token: str) -> bool:
        """Give a message back untouched: to the place it had, with nothing counted.

        Args:
            agent_id: Whose inbox.
            token: The reservation.

        Returns:
            False when the reservation was reclaimed or never was.

        Raises:
            MessageCoordinatorError: If the store failed.
        """
        await self._subscriptions.catch_up()
        box = self._box(agent_id)
        reply = await self._calls.run(
            box, lambda lane: scripts.release(lane, box, now_us=self._now(), audit=self._audit, token=token)
        )
        return reply.status is Status.OK

    async def recover_pending(self, agent_id: AgentId | None = None) -> int:
        """Put messages whose lease ran out back to the place they had, with one expiry counted.

        `receive` does this for its own inbox; nobody has to call it. Each script handles at most 100 leases.

        Args:
            agent_id: Whose inbox; None for all that exist, those that only v0 wrote included.

        Returns:
            How many went back; dead letters are not counted.

        Raises:
            MessageCoordinatorError: If the store failed; what was recovered until then stays recovered.
        """
        await self._subscriptions.catch_up()
        boxes = await self._discovery.inboxes() if agent_id is None else [self._box(agent_id)]
        total = 0
        for box in boxes:
            requeued = await self._recover(box)
            if requeued:
                logger.info("Recovered %s messages for agent %s", requeued, box.name)
            total += requeued
        return total

    async def _recover(self, box: _keys.Inbox) -> int:
        requeued = 0
        while True:
            reply = await self._calls.run(
                box,
                lambda lane: scripts.reclaim(
                    lane, box, now_us=self._now(), audit=self._audit, max_deliveries=self._max_deliveries
                ),
            )
            requeued += reply.requeued
            self._reclaimed(box, reply.dead)
            if reply.seen < scripts.LEASES_A_SCRIPT:
                return requeued

    def configure(
        self,
        *,
        queue_size: int | None = None,
        retry_attempts: int | None = None,
        backoff_base: float | None = None,
        backoff_factor: float | None = None,
        backoff_max: float | None = None,
    ) -> Awaitable[None]:
        """Change limits from now on; all of them or, if one is out of range, none.

        Args:
            queue_size: As for the constructor; None leaves it.
            retry_attempts: As for the constructor; None leaves it.
            backoff_base: Seconds; None leaves it.
            backoff_factor: None leaves it.
            backoff_max: Seconds; None leaves it.

        Returns:
            Something that may be awaited, as v0's callers do; the change has already happened.

        Raises:
            ValueError: If a value is out of range.
        """
        size = self._queue_size if queue_size is None else check.whole("queue_size", queue_size, low=1)
        attempts = (
            self._retry_attempts
            if retry_attempts is None
            else check.whole("retry_attempts", retry_attempts, low=0)
        )
        base = self._backoff_base if backoff_base is None else check.backoff("backoff_base", backoff_base)
        factor = (
            self._backoff_factor
            if backoff_factor is None
            else check.backoff("backoff_factor", backoff_factor)
        )
        longest = self._backoff_max if backoff_max is None else check.backoff("backoff_max", backoff_max)
        self._queue_size, self._retry_attempts = size, attempts
        self._backoff_base, self._backoff_factor, self._backoff_max = base, factor, longest
        return _Done()

    async def stats(self, agent_id: AgentId) -> InboxStats:
        """Count what an inbox holds, in one moment; nothing is changed.

        Raises:
            MessageCoordinatorError: If the store failed.
        """
        return await _inspect.stats(self._calls, self._box(agent_id), now_us=self._now())

    async def explain(self, message_id: str, agent_id: AgentId) -> MessageExplanation | None:
        """Say where a message is and why; nothing is changed.

        It looks page by page, so a message that moves meanwhile may be missed.

        Returns:
            The first copy found, or None: never sent, acknowledged, purged, or in another inbox.

        Raises:
            MessageCoordinatorError: If the store failed.
        """
        return await _inspect.explain(
            self._calls, agent_id, self._box(agent_id), message_id, now_us=self._now()
        )

    async def dead_letters(self, agent_id: AgentId) -> list[DeadLetter]:
        """Return an inbox's dead letters, the oldest first, read in pages of up to 1,000.

        Raises:
            MessageCoordinatorError: If the store failed.
        """
        return await self._dead.list(self._box(agent_id))

    async def requeue_dead(self, agent_id: AgentId, ids: Sequence[str]) -> int:
        """Send dead letters again: without attempts, expiries and expiry, at the back, up to `queue_size`.

        Each letter goes at most once; 100 letters are one atomic step. What cannot be read stays dead.

        Args:
            agent_id: Whose inbox.
            ids: Ids from `dead_letters`; unknown ones are passed over.

        Returns:
            How many were sent.

        Raises:
            MessageCoordinatorError: If the store failed.
        """
        box = self._box(agent_id)
        await self._discovery.register([box])
        limit = check.whole("queue_size", self._queue_size, low=1)
        return await self._dead.requeue(box, ids, now_us=self._now(), audit=self._audit, limit=limit)

    async def purge_dead(self, agent_id: AgentId, ids: Sequence[str] | None = None) -> int:
        """Delete dead letters for good.

        Args:
            agent_id: Whose inbox.
            ids: Ids from `dead_letters`; None for all.

        Returns:
            How many were deleted.

        Raises:
            MessageCoordinatorError: If the store failed.
        """
        return await self._dead.purge(self._box(agent_id), ids)


def _agent_of(box: _keys.Inbox) -> AgentId:
    kind, _, instance = box.name.partition(":")
    return AgentId(type=kind, instance=None if instance == "default" else instance)


def _message_id(entry: bytes) -> str | None:
    try:
        return _codec.decode(entry).message.message_id
    except _codec.UndecodableEntryError:
        return None
