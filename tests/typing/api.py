"""The public API in typed use, for pyright and mypy: what they infer is asserted, nothing here ever runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from typing import assert_type

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster

from tta_agent_coordination import (
    AgentId,
    AgentMessage,
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitBreakerRegistry,
    CircuitBreakerState,
    DeadLetter,
    FailureType,
    InboxStats,
    InMemoryMetrics,
    MessageCoordinator,
    MessageExplanation,
    MessageMetrics,
    MessagePriority,
    MessageResult,
    MessageSubscription,
    MessageType,
    NullMetrics,
    ReceivedMessage,
    RedisMessageCoordinator,
    RetryConfig,
    RoutingKey,
    retry_with_backoff,
)
from tta_agent_coordination.testing import CrashingClient, ManualClock, embedded_redis


class Kind(StrEnum):
    """The agents of a program."""

    WRITER = "writer"
    EDITOR = "editor"


class OurId(AgentId, frozen=True):
    """The two lines by which a program narrows what an agent's type may be."""

    type: Kind


WRITER = AgentId(type=Kind.WRITER)
EDITOR = AgentId(type="editor", instance="night")
NARROW = OurId(type=Kind.EDITOR)

MESSAGE = AgentMessage(
    message_id="draft-1",
    sender=WRITER,
    recipient=EDITOR,
    message_type=MessageType.REQUEST,
    payload={"chapter": 1, "lines": ["a", "b"]},
    priority=MessagePriority.HIGH,
    routing=RoutingKey(topic="drafts", tags=["new"]),
)


def constructed(redis: Redis, cluster: RedisCluster) -> Sequence[MessageCoordinator]:
    """Every client a coordinator takes."""
    everything = RedisMessageCoordinator(
        redis,
        "ao",
        queue_size=10,
        retry_attempts=1,
        backoff_base=0.5,
        backoff_factor=3,
        backoff_max=9,
        max_deliveries=2,
        dedup_ttl=60,
        max_payload_bytes=1_000,
        metrics=NullMetrics(),
        audit="off",
        jitter=True,
        ageing=30,
        clock=ManualClock(),
    )
    return [
        everything,
        RedisMessageCoordinator(redis=redis, key_prefix="ao"),
        RedisMessageCoordinator(cluster, hash_tags=True),
        RedisMessageCoordinator(embedded_redis()),
        RedisMessageCoordinator(CrashingClient(embedded_redis(), crash_at=3, after=True)),
        assert_type(RedisMessageCoordinator.from_url("redis://", queue_size=5), RedisMessageCoordinator),
    ]


async def sent_and_received(coordinator: RedisMessageCoordinator) -> None:
    """A message's whole way."""
    sent = await coordinator.send_message(WRITER, EDITOR, MESSAGE, delay=1, expires_in=60, dedup_id="once")
    assert_type(sent, MessageResult)
    sent.raise_for_error()
    assert_type(await coordinator.broadcast_message(WRITER, MESSAGE, [EDITOR, NARROW]), list[MessageResult])
    assert_type(await coordinator.broadcast_message(WRITER, MESSAGE), list[MessageResult])
    received = assert_type(await coordinator.receive(EDITOR, visibility_timeout=0.5), ReceivedMessage | None)
    if received is None:
        return
    assert_type(received.token, str)
    assert_type(received.queue_message.message, AgentMessage)
    assert_type(await coordinator.extend(EDITOR, received.token, 30), bool)
    assert_type(await coordinator.nack(EDITOR, received.token, FailureType.PERMANENT, "why"), bool)
    assert_type(await coordinator.ack(EDITOR, received.token, then_send=[(WRITER, MESSAGE)]), bool)
    assert_type(await coordinator.release(EDITOR, received.token), bool)


async def looked_after(coordinator: RedisMessageCoordinator) -> None:
    """What operators ask."""
    subscription = coordinator.subscribe_to_messages(EDITOR, [MessageType.EVENT])
    assert_type(subscription, MessageSubscription)
    await subscription
    assert_type(await coordinator.unsubscribe(EDITOR), int)
    coordinator.configure(queue_size=5)
    await coordinator.configure(backoff_max=3)
    assert_type(await coordinator.recover_pending(), int)
    assert_type(await coordinator.stats(EDITOR), InboxStats)
    assert_type(await coordinator.explain("draft-1", EDITOR), MessageExplanation | None)
    letters = assert_type(await coordinator.dead_letters(EDITOR), list[DeadLetter])
    assert_type(await coordinator.requeue_dead(EDITOR, [letter.id for letter in letters]), int)
    assert_type(await coordinator.purge_dead(EDITOR), int)


async def answer(question: str, *, times: int = 1) -> int:
    """Something worth protecting."""
    return len(question) * times


def answer_now(question: str) -> int:
    """The same without waiting."""
    return len(question)


async def protected(redis: Redis) -> None:
    """Breakers keep the types of what they protect."""
    config = CircuitBreakerConfig(failure_threshold=2, timeout_seconds=0.1)
    async with CircuitBreaker(redis, "workflow:x", config) as breaker:
        assert_type(await breaker.call(answer, "?", correlation_id="c"), int)
        assert_type(await breaker.execute(answer, "?", times=2), int)
        assert_type(await breaker.get_state(), CircuitBreakerState)
        assert_type(await breaker.is_call_permitted(), bool)
        async with breaker.guard():
            await answer("?")
        guarded: Callable[[str], Awaitable[int]] = breaker(answer)
        assert_type(await guarded("?"), int)
        await breaker.reset()
    async with CircuitBreakerRegistry(redis) as registry:
        assert_type(await registry.get_or_create("x"), CircuitBreaker)
        assert_type(await registry.get("x"), CircuitBreaker | None)


async def retried() -> None:
    """All forms of a retry keep the types of what they try."""
    assert_type(await retry_with_backoff(answer, RetryConfig(max_retries=1), "?", times=3), int)
    assert_type(await retry_with_backoff(answer_now, RetryConfig(), "?"), int)
    assert_type(await retry_with_backoff(RetryConfig())(answer)("?"), int)
    assert_type(retry_with_backoff(max_retries=2, deadline=9)(answer_now)("?"), int)
    assert_type(retry_with_backoff(answer_now)("?"), int)


def counted(metrics: MessageMetrics = InMemoryMetrics()) -> MessageMetrics:  # noqa: B008 - only read
    """The default collector is one of those that are taken."""
    return metrics
