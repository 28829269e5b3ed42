"""What happens to agents, as others see it: once each, by subscription and through the publisher."""

# ruff: noqa: ANN401 - clients and metadata are of any kind here

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tests.library.registries.agents import FakeAgent
from tests.library.registries.conftest import TTL_S, MakeRegistry
from tests.library.registries.test_liveness import ONE, sweep
from tests.library.support.servers import Lane, RealLane, RealServer
from tests.library.support.waiting import eventually
from tta_agent_coordination import AgentEventKind, AgentId, RedisAgentRegistry
from tta_agent_coordination._redis.registry_scripts import parse_change
from tta_agent_coordination.registries._events import BACKLOG, AgentEvent, PublisherRelay, to_event
from tta_agent_coordination.registries._tasks import OwnedTasks
from tta_agent_coordination.testing import ManualClock


class Publisher:
    """A publisher as TTA has one: it notes what it gets."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.fail = False

    async def publish_agent_status_event(self, **event: Any) -> None:
        """Note it."""
        self.got.append(event)
        if self.fail:
            raise RuntimeError("publisher is down")

    @property
    def kinds(self) -> list[str]:
        """What kinds came."""
        return [event["metadata"]["event_type"] for event in self.got]


async def story(registry: RedisAgentRegistry, other: RedisAgentRegistry, clock: ManualClock) -> None:
    """Let an agent register, work, get suspect, recover, drain, die; and another one leave."""
    agent = FakeAgent()
    await registry.register(agent)
    await sweep(registry)
    agent.word = "busy"
    await sweep(registry)
    await sweep(registry)
    clock.advance(TTL_S)
    await sweep(other)
    await sweep(registry)
    await registry.set_draining(ONE)
    await registry.set_draining(ONE)
    await registry.set_draining(ONE, draining=False)
    await other.register(FakeAgent(instance="2"))
    await other.deregister(AgentId(type="world", instance="2"))
    for _ in range(4):
        clock.advance(TTL_S / 2)
        await sweep(other)


STORY = [
    ("registered", "world:1", "", "idle"),
    ("status_changed", "world:1", "idle", "busy"),
    ("suspect", "world:1", "busy", "busy"),
    ("recovered", "world:1", "busy", "busy"),
    ("draining", "world:1", "busy", "busy"),
    ("undrained", "world:1", "busy", "busy"),
    ("registered", "world:2", "", "idle"),
    ("deregistered", "world:2", "idle", "idle"),
    ("suspect", "world:1", "busy", "busy"),
    ("died", "world:1", "busy", "busy"),
]


async def test_every_watcher_sees_each_event_once(make_registry: MakeRegistry, clock: ManualClock) -> None:
    """Broken: an event is missing, doubled, or told although nothing changed."""
    registry, other = make_registry(), make_registry()
    async with registry.watch() as one, other.watch() as two:
        await story(registry, other, clock)
        for watch in (one, two):
            seen = [await anext(watch) for _ in STORY]
            told = [
                (event.kind.value, str(event.agent_id), event.previous_status, event.status) for event in seen
            ]
            assert told == STORY
            assert seen[0].epoch == seen[-1].epoch > 0
            assert seen[-1].heartbeat_age == 2 * TTL_S
            assert seen[-1].at > seen[0].at
    assert await _ends(one)


async def _ends(watch: Any) -> bool:
    try:
        await anext(watch)
    except StopAsyncIteration:
        return True
    return False


async def test_events_come_to_the_publisher_of_who_caused_them(
    make_registry: MakeRegistry, clock: ManualClock
) -> None:
    """Broken: with two processes each event comes twice, or to nobody."""
    mine, theirs = Publisher(), Publisher()
    registry = make_registry(enable_events=True, event_publisher=mine)
    other = make_registry(enable_events=True, event_publisher=theirs)
    await story(registry, other, clock)
    await registry.aclose()
    await other.aclose()
    assert mine.kinds == ["registered", "status_changed", "recovered", "draining", "undrained"]
    assert theirs.kinds == ["suspect", "registered", "deregistered", "suspect", "died"]
    changed = mine.got[1]
    assert changed["agent_id"] == "world:1"
    assert changed["agent_type"] == "world"
    assert changed["instance"] == "1"
    assert changed["status"] == "busy"
    assert changed["previous_status"] == "idle"
    assert changed["heartbeat_age"] == 0.0
    assert changed["metadata"]["name"] == "world:1"
    assert theirs.got[2]["metadata"]["reason"] == "explicit_deregistration"
    assert theirs.got[4]["heartbeat_age"] == 2 * TTL_S


async def test_no_publisher_is_asked_unless_events_are_enabled(make_registry: MakeRegistry) -> None:
    """Broken: v0's switch."""
    publisher = Publisher()
    registry = make_registry(event_publisher=publisher)
    await registry.register(FakeAgent())
    await registry.aclose()
    assert publisher.got == []


async def test_publisher_that_fails_costs_one_event(
    make_registry: MakeRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: a publisher that is down takes the registry with it."""
    publisher = Publisher()
    registry = make_registry(enable_events=True, event_publisher=publisher)
    publisher.fail = True
    await registry.register(FakeAgent())
    await registry._tasks.settle()
    publisher.fail = False
    await registry.deregister(ONE)
    await registry._tasks.settle()
    assert publisher.kinds == ["registered", "deregistered"]
    assert "publisher failed" in caplog.text


async def test_publisher_that_is_no_publisher_is_left_alone(make_registry: MakeRegistry) -> None:
    """Broken: TTA may hand over None, or a half-made object."""
    registry = make_registry(enable_events=True, event_publisher=object())
    await registry.register(FakeAgent())


async def test_publisher_that_falls_behind_loses_the_oldest(caplog: pytest.LogCaptureFixture) -> None:
    """Broken: a publisher that hangs fills the memory."""
    publisher, tasks = Publisher(), OwnedTasks()
    relay = PublisherRelay(publisher, tasks)
    event = AgentEvent(kind=AgentEventKind.DIED, agent_id=ONE)
    for number in range(BACKLOG + 3):
        relay.tell(event, {"number": number})
    await tasks.settle()
    assert len(publisher.got) == BACKLOG
    assert publisher.got[0]["metadata"]["number"] == 3
    assert "the oldest is dropped" in caplog.text


async def test_watch_works_with_a_client_that_decodes(make_registry: MakeRegistry, lane: Lane) -> None:
    """Broken: half of all clients are made with decode_responses."""
    registry = make_registry(client=lane.client(decode_responses=True))
    async with registry.watch() as watch:
        await registry.register(FakeAgent())
        assert (await anext(watch)).kind is AgentEventKind.REGISTERED


async def test_watch_can_be_iterated_and_ended(make_registry: MakeRegistry) -> None:
    """Broken: the loop over events is how people use it."""
    registry = make_registry()
    watch = registry.watch()
    seen: list[AgentEvent] = []

    async def follow() -> None:
        async for event in watch:
            seen.append(event)  # noqa: PERF401 - the test looks at it meanwhile

    task = asyncio.create_task(follow())
    await eventually("it is subscribed", lambda: "open" in repr(watch))
    await registry.register(FakeAgent())
    await eventually("the event came", lambda: len(seen) == 1)
    await watch.aclose()
    await asyncio.wait_for(task, timeout=10)
    await watch.aclose()


async def test_strange_words_on_the_channel_are_skipped(make_registry: MakeRegistry, client: Any) -> None:
    """Broken: a newer version's event, or somebody's noise, ends the loop of a watcher."""
    registry = make_registry()
    async with registry.watch() as watch:
        for noise in (b"", b"hello", b"\xff\xfe", b"born|1|2|world:1|3||", b"died|x|2|world:1|3||"):
            await client.publish("ao:registry:events", noise)
        await registry.register(FakeAgent())
        assert (await anext(watch)).kind is AgentEventKind.REGISTERED


def test_line_for_an_unsafe_name_is_no_event() -> None:
    """Broken: what cannot be an agent's name ends the loop of a watcher."""
    change = parse_change("died|1|2|a b:c|3||")
    assert change is not None
    assert to_event(change) is None


async def test_lost_connection_is_made_again_and_said(private_server: RealServer) -> None:
    """Broken: after a server's restart a watcher waits for ever, and does not know what it missed."""
    lane = RealLane(port=private_server.port)
    registry = RedisAgentRegistry(lane.client())
    try:
        async with registry.watch() as watch:
            admin: Any = lane.client()
            await admin.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            event = await asyncio.wait_for(anext(watch), timeout=20)
            assert event.kind is AgentEventKind.MISSED
            await registry.register(FakeAgent())
            assert (await asyncio.wait_for(anext(watch), timeout=20)).kind is AgentEventKind.REGISTERED
    finally:
        await registry.aclose()
        await lane.close()


async def test_status_words_cannot_break_a_line(make_registry: MakeRegistry) -> None:
    """Broken: an agent's status text makes other people's events unreadable."""
    registry = make_registry()
    agent = FakeAgent()
    agent.word = "a|b\nc\ud800" + "x" * 200
    async with registry.watch() as watch:
        await registry.register(agent)
        assert (await anext(watch)).status.startswith("a/b c?xxx")
        agent.set_degraded(True)
        await sweep(registry)
        assert (await anext(watch)).status == "degraded"
        agent.set_degraded(False)
        agent.stop()
        await sweep(registry)
        assert (await anext(watch)).status == "stopped"


async def test_watch_waits_for_a_server_that_is_away(
    private_server: RealServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: a watcher that starts while the server is away ends with an error, or waits in silence."""
    lane = RealLane(port=private_server.port)
    registry = RedisAgentRegistry(lane.client(retry=Retry(NoBackoff(), 0)))
    private_server.end()
    watch = registry.watch()
    starting = asyncio.create_task(watch.start())
    await eventually("the loss is told", lambda: "subscription lost" in caplog.text)
    assert not starting.done()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert "closed" in repr(watch)
    await watch.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(watch)
    await lane.close()
