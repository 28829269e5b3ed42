"""What a watch brings and what the publisher is told: on a stand-in connection, in virtual time.

What happens on a real server is in `test_events.py`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.library.support.virtual import VirtualLoop, in_virtual_time
from tta_agent_coordination._redis.registry_scripts import Change
from tta_agent_coordination.models import AgentId
from tta_agent_coordination.registries import _events
from tta_agent_coordination.registries._events import (
    BACKLOG,
    AgentEvent,
    AgentEventKind,
    PublisherRelay,
    RegistryWatch,
    to_event,
)
from tta_agent_coordination.registries._tasks import OwnedTasks

CHANNEL = b"ao:registry:events"
LINE = b"died|5|1700000020000000|world:2|1700000000000000|busy|dead"
DIED = AgentEvent(
    kind=AgentEventKind.DIED,
    agent_id=AgentId(type="world", instance="2"),
    epoch=5,
    status="dead",
    previous_status="busy",
    at="2023-11-14T22:13:40+00:00",
    heartbeat_age=20.0,
)
MISSED = AgentEvent(kind=AgentEventKind.MISSED)
SUBSCRIBED: dict[str, Any] = {"type": "subscribe", "data": 1}


def told(line: object) -> dict[str, Any]:
    """A line as it comes from the channel."""
    return {"type": "message", "data": line}


class PubSub:
    """One subscription of the stand-in client."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.closed = 0

    async def subscribe(self, *channels: bytes) -> None:
        """As in redis-py: the confirmation comes as a message."""
        assert channels == (CHANNEL,)
        assert self.client.prepared == len(self.client.made), "a cluster does not know its slots yet"
        if self.client.refusals:
            raise self.client.refusals.pop(0)
        self.client.messages.appendleft(SUBSCRIBED)

    async def get_message(self, *, timeout: float) -> dict[str, Any] | None:  # noqa: ASYNC109 - as in redis-py
        """Bring what comes within the time."""
        assert timeout == 1.0
        if self.client.silent_s:
            self.client.silent_s -= 1
            await asyncio.sleep(timeout)
            return None
        try:
            async with asyncio.timeout(timeout):
                while not self.client.messages:
                    self.client.changed.clear()
                    await self.client.changed.wait()
        except TimeoutError:
            return None
        message = self.client.messages.popleft()
        if isinstance(message, Exception):
            raise message
        return cast("dict[str, Any]", message)

    async def aclose(self) -> None:
        """Note that it was closed."""
        self.closed += 1
        if self.client.close_error is not None:
            raise self.client.close_error


class Client:
    """A client whose subscriptions bring what the test puts in."""

    def __init__(self) -> None:
        self.messages: deque[object] = deque()
        self.changed = asyncio.Event()
        self.made: list[PubSub] = []
        self.prepared = 0
        self.refusals: list[BaseException] = []
        self.silent_s = 0
        self.close_error: Exception | None = None

    def pubsub(self) -> PubSub:
        """As in redis-py."""
        self.made.append(PubSub(self))
        return self.made[-1]

    async def initialize(self) -> None:
        """As in redis-py."""
        self.prepared += 1

    def put(self, *messages: object) -> None:
        """Have messages come."""
        self.messages.extend(messages)
        self.changed.set()


def run(main: Callable[[Client, VirtualLoop], Awaitable[None]]) -> Client:
    """Run a test in virtual time; every subscription has to be closed once."""

    async def whole(loop: VirtualLoop) -> Client:
        client = Client()
        await main(client, loop)
        assert [each.closed for each in client.made] == [1] * len(client.made)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return client

    return in_virtual_time(whole)


@pytest.mark.parametrize("line", [LINE, LINE.decode()])
def test_watch_brings_each_event_from_its_start_on(line: object) -> None:
    """Broken: an event between the start and the first wait is lost, or never comes."""

    async def main(client: Client, _: VirtualLoop) -> None:
        watch = RegistryWatch(client, CHANNEL)
        assert repr(watch) == "RegistryWatch(b'ao:registry:events', closed)"
        async with watch as entered:
            assert entered is watch
            assert repr(watch) == "RegistryWatch(b'ao:registry:events', open)"
            client.put(told(line))
            assert await anext(watch) == DIED
            waiting = asyncio.ensure_future(anext(watch))
            await asyncio.sleep(600)
            client.put(told(line))
            assert await waiting == DIED
        assert "closed" in repr(watch)
        await watch.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(watch)

    run(main)


def test_watch_can_be_iterated_and_started_again() -> None:
    """Broken: `async for` never begins or never ends, or a watch that was closed stays so."""

    async def main(client: Client, _: VirtualLoop) -> None:
        watch = RegistryWatch(client, CHANNEL)
        client.put(told(LINE), told(LINE))
        seen: list[AgentEvent] = []
        async for event in watch:
            seen.append(event)
            if len(seen) == 2:
                await watch.aclose()
        assert seen == [DIED, DIED]
        client.put(told(LINE))
        await watch.start()
        assert await anext(watch) == DIED
        await watch.aclose()
        assert len(client.made) == 2

    run(main)


def test_start_returns_when_the_subscription_stands() -> None:
    """Broken: what happens right after the start is not seen."""

    async def main(client: Client, loop: VirtualLoop) -> None:
        client.silent_s = 3
        client.messages.append({"type": "pong", "data": b""})
        async with RegistryWatch(client, CHANNEL):
            assert loop.time() == 3
            assert client.messages == deque([{"type": "pong", "data": b""}])

    run(main)


@pytest.mark.parametrize(
    "odd",
    [
        {"type": "pong", "data": LINE},
        told(b"hello"),
        told(b"\xff|5|1|a:1|1|a|b"),
        told(None),
        told(LINE.replace(b"died", b"renamed")),
        told(LINE.replace(b"world:2", b"world")),
    ],
)
def test_foreign_messages_are_passed_over(odd: object) -> None:
    """Broken: anything published on the channel, or what a newer version tells, ends a watch."""

    async def main(client: Client, _: VirtualLoop) -> None:
        async with RegistryWatch(client, CHANNEL) as watch:
            client.put(odd, told(LINE))
            assert await anext(watch) == DIED

    run(main)


@pytest.mark.parametrize("error", [RedisConnectionError("gone"), OSError("gone"), RuntimeError("gone")])
def test_lost_connection_is_made_again_and_said(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """Broken: a watch is deaf after an outage, fills the log, or does not say what it may have missed."""

    async def main(client: Client, loop: VirtualLoop) -> None:
        client.close_error = RedisConnectionError("lost")
        async with RegistryWatch(client, CHANNEL) as watch:
            client.put(told(LINE))
            assert await anext(watch) == DIED
            began = loop.time()
            client.refusals.extend([RedisConnectionError("no route"), OSError("no route")])
            client.put(error)
            assert await anext(watch) == MISSED
            assert loop.time() - began == pytest.approx(0.6)
            client.put(told(LINE))
            assert await anext(watch) == DIED
            client.put(error)
            assert await anext(watch) == MISSED

    with caplog.at_level(logging.DEBUG):
        client = run(main)
    assert len(client.made) == 5
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert (
        warnings == [f"Registry events: subscription lost ({type(error).__name__}: gone), trying again"] * 2
    )
    assert "Closing a subscription to a lost server: lost" in caplog.text


def test_watch_that_begins_in_an_outage_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """Broken: a watch that never reaches its server says nothing, or gives up."""

    async def main(client: Client, loop: VirtualLoop) -> None:
        client.refusals.append(RedisConnectionError("no route"))
        async with RegistryWatch(client, CHANNEL) as watch:
            assert loop.time() == pytest.approx(0.2)
            assert await anext(watch) == MISSED

    run(main)
    assert caplog.messages == ["Registry events: subscription lost (ConnectionError: no route), trying again"]


def test_connection_that_the_client_made_again_by_itself_is_said() -> None:
    """Broken: what was missed while redis-py reconnected is missed without a word."""

    async def main(client: Client, _: VirtualLoop) -> None:
        async with RegistryWatch(client, CHANNEL) as watch:
            client.put(SUBSCRIBED, told(LINE))
            assert [await anext(watch), await anext(watch)] == [MISSED, DIED]

    run(main)


@pytest.mark.parametrize("error", [RuntimeError("closed"), RedisConnectionError("closed"), None])
def test_watch_that_is_closed_while_it_waits_ends_without_a_word(
    error: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: closing a watch looks like an outage, or begins another subscription."""

    async def main(client: Client, loop: VirtualLoop) -> None:
        watch = RegistryWatch(client, CHANNEL)
        await watch.start()
        waiting = asyncio.ensure_future(anext(watch, None))
        await asyncio.sleep(0.5)
        await watch.aclose()
        if error is not None:
            client.put(error)
        assert await waiting is None
        assert loop.time() <= 1.5

    client = run(main)
    assert caplog.messages == []
    assert len(client.made) == 1


@pytest.mark.parametrize("error", [LookupError("a fault"), asyncio.CancelledError()])
def test_start_that_fails_or_is_cancelled_leaves_no_subscription(error: BaseException) -> None:
    """Broken: each watch that was given up holds a connection."""

    async def main(client: Client, _: VirtualLoop) -> None:
        client.refusals.append(error)
        with pytest.raises(type(error)):
            await RegistryWatch(client, CHANNEL).start()

    run(main)


@pytest.mark.parametrize(
    ("change", "event"),
    [
        (("died", 5, 1_700_000_020_000_000, "world:2", 1_700_000_000_000_000, "busy", "dead"), DIED),
        (
            ("expiry_paused", 0, 1_700_000_020_000_000, "", 1_700_000_020_000_001, "20", "10"),
            AgentEvent(
                kind=AgentEventKind.EXPIRY_PAUSED,
                status="10",
                previous_status="20",
                at="2023-11-14T22:13:40+00:00",
            ),
        ),
        (("renamed", 5, 1, "world:2", 1, "", ""), None),
        (("died", 5, 1, "world", 1, "", ""), None),
    ],
)
def test_event_tells_what_its_line_does(change: tuple[Any, ...], event: AgentEvent | None) -> None:
    """Broken: an event is about another agent, at another time, or one of a newer version raises."""
    kind, epoch, at_us, name, seen_us, previous, status = change
    line = Change(
        kind=kind, epoch=epoch, at_us=at_us, name=name, seen_us=seen_us, previous=previous, status=status
    )
    assert to_event(line) == event


class Publisher:
    """A user's publisher that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.takes_s: list[float] = []
        self.errors: list[Exception] = []

    async def publish_agent_status_event(self, **what: Any) -> None:  # noqa: ANN401 - as in v0
        """Note an event."""
        self.told.append(what)
        if self.takes_s:
            await asyncio.sleep(self.takes_s.pop(0))
        if self.errors:
            raise self.errors.pop(0)


def test_publisher_is_told_one_event_after_the_other() -> None:
    """Broken: events come out of order, twice, or hold up who caused them."""
    publisher = Publisher()

    async def main(_: Client, loop: VirtualLoop) -> None:
        tasks = OwnedTasks()
        relay = PublisherRelay(publisher, tasks)
        publisher.takes_s = [2, 0]
        for number in range(3):
            relay.tell(DIED, {"number": number})
        assert repr(relay) == "PublisherRelay(3 waiting)"
        await asyncio.sleep(1)
        assert len(publisher.told) == 1
        assert [task.get_name() for task in asyncio.all_tasks()].count("publish agent events") == 1
        await asyncio.sleep(2)
        assert [each["metadata"]["number"] for each in publisher.told] == [0, 1, 2]
        assert loop.time() == 3
        relay.tell(MISSED, {})
        relay.tell(DIED.model_copy(update={"previous_status": ""}), {})
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert repr(relay) == "PublisherRelay(0 waiting)"

    run(main)
    assert publisher.told[0] == {
        "agent_id": str(DIED.agent_id),
        "agent_type": "world",
        "status": "dead",
        "instance": "2",
        "previous_status": "busy",
        "heartbeat_age": 20.0,
        "metadata": {"event_type": "died", "number": 0},
    }
    assert publisher.told[3]["previous_status"] is None
    assert len(publisher.told) == 4


def test_publisher_that_fails_or_hangs_costs_its_own_event_alone(caplog: pytest.LogCaptureFixture) -> None:
    """Broken: a user's publisher that raises, or never returns, ends the publishing."""
    publisher = Publisher()

    async def main(_: Client, loop: VirtualLoop) -> None:
        relay = PublisherRelay(publisher, OwnedTasks())
        publisher.takes_s = [4, 60]
        publisher.errors = [LookupError("a fault")]
        for number in range(3):
            relay.tell(DIED, {"number": number})
        await asyncio.sleep(10)
        assert loop.time() == 10

    run(main)
    assert len(publisher.told) == 3
    assert caplog.messages == [
        "The event publisher failed: LookupError: a fault",
        "The event publisher failed: TimeoutError: ",
    ]


def test_publisher_that_falls_behind_loses_the_oldest(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a slow publisher takes all memory, or loses events without a word."""
    assert BACKLOG == 10_000
    monkeypatch.setattr(_events, "BACKLOG", 3)
    publisher = Publisher()

    async def main(_: Client, __: VirtualLoop) -> None:
        relay = PublisherRelay(publisher, OwnedTasks())
        for number in range(4):
            relay.tell(DIED, {"number": number})
        await asyncio.sleep(1)

    run(main)
    assert [each["metadata"]["number"] for each in publisher.told] == [1, 2, 3]
    assert caplog.messages == ["The event publisher is 3 events behind; the oldest is dropped"]


def test_without_a_publisher_nothing_waits() -> None:
    """Broken: events of a registry without a publisher pile up."""

    async def main(_: Client, __: VirtualLoop) -> None:
        for publisher in (None, object()):
            relay = PublisherRelay(publisher, OwnedTasks())
            relay.tell(DIED, {})
            assert repr(relay) == "PublisherRelay(0 waiting)"

    run(main)
