"""The public API in typed use, for pyright and mypy: what they infer is asserted, nothing here ever runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from typing import Any, assert_type

from pydantic import BaseModel
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster

from tta_agent_coordination import (
    Agent,
    AgentEvent,
    AgentEventKind,
    AgentId,
    AgentMessage,
    AgentRegistry,
    AgentWorker,
    CapabilityMatch,
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitBreakerRegistry,
    CircuitBreakerState,
    DeadLetter,
    FailureType,
    InboxStats,
    InMemoryMetrics,
    Liveness,
    MessageCoordinator,
    MessageExplanation,
    MessageMetrics,
    MessagePriority,
    MessageResult,
    MessageSubscription,
    MessageType,
    NullMetrics,
    ReceivedMessage,
    RedisAgentRegistry,
    RedisMessageCoordinator,
    RegistryWatch,
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


async def in_batches(coordinator: RedisMessageCoordinator) -> None:
    """Many at once, and waiting for them."""
    sent = await coordinator.send_many(WRITER, EDITOR, (MESSAGE, MESSAGE), delay=0.5, expires_in=60)
    assert_type(sent, list[MessageResult])
    assert_type(sent[0].recipient_liveness, str | None)
    assert_type(await coordinator.receive(EDITOR, wait=2.5), ReceivedMessage | None)
    many = assert_type(await coordinator.receive_many(EDITOR, 10, 30, wait=60), list[ReceivedMessage])
    assert_type(await coordinator.ack_many(EDITOR, [received.token for received in many]), list[bool])


async def handle(received: ReceivedMessage) -> None:
    """A handler that has nothing to send."""
    assert_type(received.deliveries, int)


async def handle_and_answer(received: ReceivedMessage) -> list[tuple[AgentId, AgentMessage]]:
    """A handler whose messages go out with the acknowledgement."""
    return [(received.queue_message.message.sender, MESSAGE)]


async def worked(redis: Redis, coordinator: RedisMessageCoordinator, registry: RedisAgentRegistry) -> None:
    """A worker, made at once or in two steps."""
    worker = AgentWorker(
        EDITOR,
        coordinator,
        handlers={MessageType.REQUEST: handle_and_answer, None: handle},
        concurrency=4,
        prefetch=2,
        visibility_timeout=30,
        handler_timeout=600,
        grace=5,
        permanent=(KeyError,),
        registry=registry,
    )
    async with worker as entered:
        assert_type(entered, AgentWorker)
    later = AgentWorker(EDITOR)
    later.handler(MessageType.EVENT)(handle)
    decorated = later.handler(MessageType.REQUEST)(handle_and_answer)
    kept: Callable[[ReceivedMessage], Awaitable[list[tuple[AgentId, AgentMessage]]]] = decorated
    assert kept is handle_and_answer
    later.connect(RedisMessageCoordinator(redis))
    await later.run()
    later.stop()


class Clerk:
    """What a registry expects of an agent, and no more."""

    agent_id = AgentId(type="clerk")
    name = "clerk"

    def status_snapshot(self) -> dict[str, Any]:
        """Say how it is."""
        return {"status": "idle"}

    async def health_check(self) -> dict[str, Any]:
        """Say that it is well."""
        return {"status": "healthy"}

    def set_degraded(self, degraded: bool, /) -> None:
        """Take note."""

    async def export_state(self) -> dict[str, Any]:
        """Keep nothing."""
        return {}

    async def import_state(self, state: dict[str, Any], /) -> None:
        """Take nothing."""


class Skills(BaseModel):
    """What a clerk can do."""

    capabilities: list[dict[str, str]]


async def note(event: AgentEvent) -> None:
    """A callback about somebody."""
    assert_type(event.kind, AgentEventKind)
    assert_type(event.agent_id, AgentId | None)
    assert_type(event.heartbeat_age, float)


async def note_agent(agent: Agent) -> None:
    """A callback about an agent of this process."""
    assert_type(agent.agent_id, AgentId)


async def registered(redis: Redis, cluster: RedisCluster) -> None:
    """An agent's whole stay in the registry."""
    in_memory = AgentRegistry()
    in_memory.register(Clerk())
    assert_type(in_memory.discover("clerk"), list[Agent])
    plain: AgentRegistry = RedisAgentRegistry(cluster, hash_tags=True)
    assert_type(plain.get(EDITOR), Agent | None)
    registry = RedisAgentRegistry(redis, "ao", 30.0, 10.0, enable_events=True, event_publisher=None)
    async with registry as entered:
        assert_type(entered, RedisAgentRegistry)
        registry.set_superseded_callback(note_agent)
        registry.add_death_callback(note)
        registry.return_leases_through(RedisMessageCoordinator(redis, liveness=registry.liveness_view()))
        await registry.register(Clerk())
        await registry.start_heartbeats()
        assert_type(await registry.register_capabilities(EDITOR, Skills(capabilities=[])), bool)
        assert_type(await registry.find_by_capability("draw", capability_type="art"), list[CapabilityMatch])
        assert_type(await registry.list_registered(), list[dict[str, Any]])
        assert_type(await registry.get_agent_info("clerk:default"), dict[str, Any] | None)
        assert_type(await registry.get_all_agents(), dict[str, dict[str, Any]])
        assert_type(await registry.liveness(EDITOR), Liveness)
        assert_type(await registry.restore_state_if_available(Clerk()), bool)
        assert_type(registry.epoch_of(EDITOR), int | None)
        assert_type(await registry.set_draining(EDITOR, draining=False), bool)
        async with registry.watch() as watch:
            assert_type(watch, RegistryWatch)
            async for event in watch:
                await note(assert_type(event, AgentEvent))
        await registry.stop_heartbeats()
        await registry.deregister(EDITOR)


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
