"""Owns `RedisMessageCoordinator`: v0's interface over one Lua script an operation.

The shell only: it checks arguments and hands over to `_sending`, `_leases` and `_subscriptions`. What an
operation does, and in which order, stands in the script of its name. `_batches`, `_ownership` and `_upkeep`
hold the operations that stand apart.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Self, Unpack

from tta_agent_coordination import _clock, _keys
from tta_agent_coordination._clock import Clock
from tta_agent_coordination._redis.client import Client, from_url, is_cluster
from tta_agent_coordination._redis.scripts import Retry
from tta_agent_coordination.coordinators import _validation as check
from tta_agent_coordination.coordinators._batches import Batches
from tta_agent_coordination.coordinators._calls import Calls
from tta_agent_coordination.coordinators._deadletters import DeadLetters
from tta_agent_coordination.coordinators._discovery import Discovery
from tta_agent_coordination.coordinators._leases import Leases
from tta_agent_coordination.coordinators._observer import Observer
from tta_agent_coordination.coordinators._options import CoordinatorOptions, Done
from tta_agent_coordination.coordinators._ownership import Ownership
from tta_agent_coordination.coordinators._renewal import LeaseKeeper, lease_keeper
from tta_agent_coordination.coordinators._sending import Sender, SendOptions
from tta_agent_coordination.coordinators._subscriptions import Subscriptions
from tta_agent_coordination.coordinators._upkeep import Upkeep
from tta_agent_coordination.coordinators._waking import Waker
from tta_agent_coordination.interfaces import MessageCoordinator
from tta_agent_coordination.messaging import FailureType, MessageResult, MessageSubscription, ReceivedMessage
from tta_agent_coordination.metrics import InMemoryMetrics, MessageMetrics
from tta_agent_coordination.models import AgentId, AgentMessage, MessageType

__all__ = ["RedisMessageCoordinator"]


class RedisMessageCoordinator(Batches, Ownership, Upkeep, MessageCoordinator):
    """Durable inboxes on Redis, delivered at least once, highest priority first and FIFO inside a level.

    Each operation is one Lua script and one round trip: it happens as a whole or not at all. A command that
    the client library sends again does not act again. Time is the server's. Nothing runs between calls.

    Args:
        redis: A `redis.asyncio` client; with or without `decode_responses`. The caller closes it.
        key_prefix: Begins every key; trailing colons are dropped.
        queue_size: Most messages one inbox may hold: ready, delayed and reserved.
        retry_attempts: Failures a message may have and still be retried.
        backoff_base: Delay after the first failure, in seconds.
        backoff_factor: Growth of the delay with each further failure.
        backoff_max: Longest delay, in seconds; no delay exceeds a year.
        max_deliveries: Expired leases until a message is dead-lettered as poison.
        dedup_ttl: How long a `dedup_id` is remembered, in seconds.
        max_payload_bytes: Largest payload, as JSON.
        metrics: Counts what happens; None for an `InMemoryMetrics` of its own.
        audit: `exact` keeps v0's list of outstanding entries, where an ack looks for its own; `off` keeps
            none, and is only for inboxes that no v0 process shares.
        hash_tags: Brace the inbox in its keys, for a cluster. It is another key space: drain the old one
            first.
        jitter: Shorten each backoff at random, to no less than half.
        ageing: Seconds after which a waiting message goes ahead of the levels, the oldest first; None for
            strict priority, where LOW may wait for ever.
        clock: Takes the place of the server's clock, in tests.
        liveness: Says of `type:instance` whether it is alive, for `MessageResult.recipient_liveness`; such as
            `RedisAgentRegistry.liveness_view()`.

    Raises:
        ValueError: If an option is out of range, or a cluster client comes without `hash_tags`.
    """

    def __init__(
        self,
        redis: Client,
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
        ageing: float | None = None,
        clock: Clock | None = None,
        liveness: Callable[[str], str] | None = None,
    ) -> None:
        self._pfx = _keys.clean_prefix(key_prefix)
        if is_cluster(redis) and not hash_tags:
            raise ValueError(
                "a cluster client needs hash_tags=True, so that the keys of one inbox share a slot; it is "
                "another key space, so drain the inboxes of the old one first"
            )
        self._queue_size = check.whole("queue_size", queue_size, low=1)
        self._retry_attempts = check.whole("retry_attempts", retry_attempts, low=0)
        self._backoff_base = check.backoff("backoff_base", backoff_base)
        self._backoff_factor = check.backoff("backoff_factor", backoff_factor)
        self._backoff_max = check.backoff("backoff_max", backoff_max)
        self._audit = check.choice("audit", audit, ("exact", "off")) == "exact"
        self._hash_tags = hash_tags
        self._jitter = jitter
        self._clock = clock
        self.metrics: MessageMetrics = InMemoryMetrics() if metrics is None else metrics
        deliveries = check.whole("max_deliveries", max_deliveries, low=1)
        dedup_s = check.positive("dedup_ttl", dedup_ttl, high=check.MAX_DELAY_S)
        payload = check.whole("max_payload_bytes", max_payload_bytes, low=1)
        ageing_s = 0 if ageing is None else check.positive("ageing", ageing, high=check.MAX_DELAY_S)

        self._redis: Any = redis
        self._agent_router: Any = None
        self._owned_client: Client | None = None
        calls = self._calls = Calls(redis)
        observer = Observer(self)
        self._discovery = Discovery(calls, self._pfx, hash_tags=hash_tags)
        self._subscriptions = Subscriptions(calls, self._discovery)
        self._dead = DeadLetters(calls)
        self._sender = Sender(
            calls,
            self._discovery,
            observer,
            audit=self._audit,
            clock=clock,
            dedup_ms=max(1, round(dedup_s * 1_000)),
            max_payload_bytes=payload,
            liveness=liveness,
            prepare=self._subscriptions.catch_up,
        )
        self._waker = Waker(calls, self._pfx)
        self._leases = Leases(
            calls,
            observer,
            self._waker,
            audit=self._audit,
            clock=clock,
            max_deliveries=deliveries,
            ageing_us=_clock.to_us(ageing_s),
        )

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
        coordinator._owned_client = client
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
        """Wait for what is on its way, and close the client if `from_url` made it. Repeatable."""
        try:
            await self._sender.settle()
            await self._leases.settle()
            await self._subscriptions.settle()
            await self._calls.settle()
            await self._waker.settle()
        finally:
            if self._owned_client is not None:
                await self._owned_client.aclose()

    def _reserved_hash(self, agent_id: AgentId) -> str:
        return self._box(agent_id).reserved.decode()

    def _retry(self) -> Retry:
        return Retry(
            attempts=check.whole("retry_attempts", self._retry_attempts, low=0),
            base_s=check.backoff("backoff_base", self._backoff_base),
            factor=check.backoff("backoff_factor", self._backoff_factor),
            max_s=check.backoff("backoff_max", self._backoff_max),
            jitter=random.uniform(0.5, 1.0) if self._jitter else 1.0,  # noqa: S311 - guards nothing
        )

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

        A second call is a second message, even with the same `message_id`, unless `dedup_id` says otherwise.
        Calls for one inbox that come while one is under way go together by the next script, in their order.
        A call that is cancelled before its script leaves sends nothing; later it may or may not have.

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
        delay_s, expires_s = check.delay_and_expiry(delay, expires_in)
        options = SendOptions(delay_s=delay_s, expires_s=expires_s, dedup_id=check.dedup_id(dedup_id))
        return await self._sender.send(self._box(recipient), message, options, limit=self._limit())

    async def broadcast_message(
        self, sender: AgentId, message: AgentMessage, recipients: Sequence[AgentId] | None = None
    ) -> list[MessageResult]:
        """Send a message to several agents, each delivery atomic for itself.

        Args:
            sender: Who sends.
            message: The message; every recipient gets an entry of its own.
            recipients: Who gets it; None for the agents that subscribed to the message's type, and `[]` for
                nobody.

        Returns:
            One result a recipient, in their order (subscribers by name).

        Raises:
            MessageCoordinatorError: If the subscribers cannot be read; nothing was sent.
        """
        check.message_id(message)
        if recipients is None:
            await self._subscriptions.settle()
            message_type = str(MessageType(message.message_type).value)
            recipients = [_agent_of(box) for box in await self._discovery.subscribers(message_type)]
        recipients = check.items("recipients", recipients)
        if type(self).send_message is not RedisMessageCoordinator.send_message:
            return [await self.send_message(sender, recipient, message) for recipient in recipients]
        limit = self._limit()
        await self._subscriptions.catch_up()
        boxes = [self._box(recipient) for recipient in recipients]
        return await self._sender.broadcast(boxes, message, limit=limit) if boxes else []

    def subscribe_to_messages(
        self, agent_id: AgentId, message_types: Sequence[MessageType]
    ) -> MessageSubscription:
        """Record that an agent wants broadcasts of these types; direct messages always arrive.

        Synchronous, as in v0: storing it is a task that this coordinator owns, retries and logs. Without a
        running loop it is stored at the next awaited operation.

        Args:
            agent_id: Who wants them.
            message_types: Added to what the agent subscribed to before.

        Returns:
            The subscription. Awaiting it waits until it is stored, and raises if it could not be.
        """
        types = check.items("message_types", message_types)
        return self._subscriptions.subscribe(agent_id, self._box(agent_id), types)

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
        types = None if message_types is None else check.items("message_types", message_types)
        return await self._subscriptions.unsubscribe(self._box(agent_id), types)

    async def receive(
        self, agent_id: AgentId, visibility_timeout: float = 5, *, wait: float = 0
    ) -> ReceivedMessage | None:
        """Take the next message under a lease, atomically; wait for one where `wait` says so.

        On the way it ends leases that ran out: their messages go back to the place they had, or become dead
        letters after `max_deliveries` of that. Messages past their expiry, and texts that are no message,
        become dead letters. A call that is cancelled after the server acted leaves a lease that runs out by
        itself; one that waits gives the message back.

        All waits of a coordinator share one connection and are woken by what makes a message due. What a v0
        process sent is seen within 2 seconds, and so is everything on a cluster. While it waits, a store
        that is out of reach is tried again.

        Args:
            agent_id: Whose inbox.
            visibility_timeout: Length of the lease in seconds, up to a week. Nobody else gets the message
                before.
            wait: Longest time to wait until a message is due, in seconds; 0 for not at all.

        Returns:
            The message, or None when nothing is due.

        Raises:
            ValueError: If a time is out of range.
            MessageCoordinatorError: If the store failed.
        """
        lease_us = _clock.to_us(check.lease("visibility_timeout", visibility_timeout))
        wait_s = check.wait(wait)
        await self._subscriptions.catch_up()
        return await self._leases.receive(self._box(agent_id), lease_us, wait_s)

    async def ack(
        self, agent_id: AgentId, token: str, *, then_send: Sequence[tuple[AgentId, AgentMessage]] = ()
    ) -> bool:
        """End a lease for good and, in the same atomic step, send what follows from the message.

        It counts as long as the token holds its reservation, late or not. A second ack is False. Concurrent
        acks for one inbox share scripts, as sends do; one with `then_send` has its own.

        Args:
            agent_id: Whose inbox.
            token: The reservation.
            then_send: (recipient, message) pairs, at most 100; all are sent or none.

        Returns:
            False when the reservation was reclaimed or never was; then nothing is sent.

        Raises:
            QueueFullError: If a target inbox is full; the token stays held.
            PayloadError: If a message cannot be stored; the token stays held.
            SlotMismatchError: With `hash_tags`, if a target lies in another slot; nothing was sent to the
                server.
            MessageCoordinatorError: If the store failed.
        """
        check.token(token)
        box = self._box(agent_id)
        if not then_send:
            await self._subscriptions.catch_up()
            return await self._leases.ack(box, token)
        pairs = [(self._box(recipient), message) for recipient, message in check.follow_ups(then_send)]
        await self._subscriptions.catch_up()
        return await self._sender.ack_and_send(
            box,
            token,
            pairs,
            limit=self._limit(),
            one_slot=self._hash_tags,
        )

    async def nack(
        self,
        agent_id: AgentId,
        token: str,
        failure: FailureType = FailureType.TRANSIENT,
        error: str | None = None,
    ) -> bool:
        """Give a message back as failed, atomically.

        Its `delivery_attempts` grow by one. A permanent failure, more than `retry_attempts` failures, or an
        expiry that has passed make it a dead letter; else it is due again after
        min(`backoff_base` * `backoff_factor` ^ (attempts - 1), `backoff_max`) seconds.

        Args:
            agent_id: Whose inbox.
            token: The reservation; late or not, as long as it holds.
            failure: Permanent, or anything else for another try.
            error: Kept as `last_error`, up to 2,000 characters.

        Returns:
            False when the reservation was reclaimed or never was, or holds a text that is no message; that
            becomes a dead letter as it is.

        Raises:
            MessageCoordinatorError: If the store failed.
        """
        check.token(token)
        permanent = FailureType(failure) is FailureType.PERMANENT
        retry = self._retry()
        await self._subscriptions.catch_up()
        return await self._leases.nack(
            self._box(agent_id), token, permanent=permanent, error=error, retry=retry
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
        check.token(token)
        lease_us = _clock.to_us(check.lease("seconds", seconds))
        await self._subscriptions.catch_up()
        return await self._leases.extend(self._box(agent_id), token, lease_us)

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
        check.token(token)
        await self._subscriptions.catch_up()
        return await self._leases.release(self._box(agent_id), token)

    def lease_keeper(self, agent_id: AgentId, visibility_timeout: float) -> LeaseKeeper:
        """Return what renews leases of an inbox from a thread that a blocked event loop cannot hold up.

        Args:
            agent_id: Whose inbox.
            visibility_timeout: How long each renewal makes a lease, in seconds.

        Raises:
            ValueError: If the timeout is out of range.
            TypeError: If the client's connections have no synchronous twin.
        """
        lease_us = _clock.to_us(check.lease("visibility_timeout", visibility_timeout))
        return lease_keeper(self._redis, self._box(agent_id), lease_us=lease_us, clock=self._clock)

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
        return await self._leases.recover(boxes)

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
        return Done()


def _agent_of(box: _keys.Inbox) -> AgentId:
    """Return who has an inbox; unchecked, since v0 subscribes names that `AgentId` refuses: "player 1"."""
    kind, _, instance = box.name.partition(":")
    return AgentId.model_construct(type=kind, instance=None if instance == "default" else instance)
