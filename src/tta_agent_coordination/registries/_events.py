"""Owns what happens to agents, as others see it: events, the subscription that brings them, the publisher.

The scripts publish an event with the change it tells of, so it is told once however many listen.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from enum import StrEnum
from types import TracebackType
from typing import Any, Protocol, Self, cast

from pydantic import BaseModel

from tta_agent_coordination import _clock
from tta_agent_coordination._redis.client import STORE_ERRORS
from tta_agent_coordination._redis.registry_scripts import Change, parse_change
from tta_agent_coordination.models import AgentId
from tta_agent_coordination.registries._entries import agent_id_of
from tta_agent_coordination.registries._tasks import OwnedTasks

__all__ = ["AgentEvent", "AgentEventKind", "PublisherRelay", "RegistryWatch", "to_event"]

SLICE_S = 1.0
"""How long one wait for a message lasts, below any client's socket timeout, seconds."""

PAUSE_S = 0.2
"""Pause before subscribing again after a failure, seconds."""

PUBLISH_TIMEOUT_S = 5.0
"""How long the user's publisher may take for one event, seconds."""

BACKLOG = 10_000
"""Events that wait for the user's publisher at most; older ones are dropped, and that is said."""

_log = logging.getLogger("tta_agent_coordination.registries")


class AgentEventKind(StrEnum):
    """What happened."""

    REGISTERED = "registered"
    """An agent registered, perhaps in the place of an older registration."""
    STATUS_CHANGED = "status_changed"
    """Its status has another word than before."""
    SUSPECT = "suspect"
    """Its heartbeat is overdue."""
    RECOVERED = "recovered"
    """It was suspect, and its heartbeat came."""
    DIED = "died"
    """Its heartbeat stayed away; the registration is gone."""
    DEREGISTERED = "deregistered"
    """It was taken away on purpose."""
    DRAINING = "draining"
    """It takes nothing new from now on."""
    UNDRAINED = "undrained"
    """It takes new work again."""
    EXPIRY_PAUSED = "expiry_paused"
    """Half of all agents or more lapsed together: deaths are held back. About no single agent."""
    MISSED = "missed"
    """The connection was lost: events may be missing, so look again. About no single agent."""


class AgentEvent(BaseModel, frozen=True):
    """One thing that happened to one registration.

    Args:
        kind: What happened.
        agent_id: Whom it is about, None for events about no single agent.
        epoch: The registration, 0 where there is none. A later one of the same agent has a larger number.
        status: The word for its status; for `expiry_paused` how many agents lapsed.
        previous_status: The word before; for `expiry_paused` how many agents there are.
        at: When, ISO-8601 UTC by the server's clock; empty for `missed`.
        heartbeat_age: Seconds since its last heartbeat.
    """

    kind: AgentEventKind
    agent_id: AgentId | None = None
    epoch: int = 0
    status: str = ""
    previous_status: str = ""
    at: str = ""
    heartbeat_age: float = 0.0


def to_event(change: Change) -> AgentEvent | None:
    """Return the event for a line, None where a newer version tells what we do not know."""
    try:
        return AgentEvent(
            kind=AgentEventKind(change.kind),
            agent_id=agent_id_of(change.name) if change.name else None,
            epoch=change.epoch,
            status=change.status,
            previous_status=change.previous,
            at=_clock.iso_from_us(change.at_us),
            heartbeat_age=max(0.0, _clock.from_us(change.at_us - change.seen_us)),
        )
    except ValueError:
        return None


class _PubSub(Protocol):
    def subscribe(self, *channels: bytes) -> Awaitable[object]: ...

    def get_message(self, *, timeout: float) -> Awaitable[dict[str, Any] | None]: ...

    def aclose(self) -> Awaitable[None]: ...


class RegistryWatch:
    """The events of a registry from now on: `async for event in registry.watch()`.

    The subscription stands once `start` has returned; `async with` starts and closes it, `async for` starts
    it. A connection that is lost is made again, and a `missed` event says so: events are hints, and the list
    of agents is the truth.
    """

    def __init__(self, client: object, channel: bytes) -> None:
        self._make_pubsub = cast("Callable[[], _PubSub]", getattr(client, "pubsub"))  # noqa: B009 - not in our Protocol
        # A cluster's client learns where its slots are with its first command, and a subscription is none.
        self._prepare = cast("Callable[[], Awaitable[object]]", getattr(client, "initialize"))  # noqa: B009
        self._channel = channel
        self._pubsub: _PubSub | None = None
        self._missed = False
        self._closed = False

    def __repr__(self) -> str:
        """Show the channel, and whether it is subscribed to."""
        return f"RegistryWatch({self._channel!r}, {'open' if self._pubsub else 'closed'})"

    async def __aenter__(self) -> Self:
        """Start it."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        await self.aclose()

    async def start(self) -> None:
        """Subscribe; returns once every later event will be seen."""
        self._closed = False
        await self._subscribed()

    async def _subscribed(self) -> _PubSub:
        while self._pubsub is None:
            pubsub = self._make_pubsub()
            try:
                await self._prepare()
                await pubsub.subscribe(self._channel)
                while True:
                    message = await pubsub.get_message(timeout=SLICE_S)
                    if message is not None and message["type"] == "subscribe":
                        break
            except STORE_ERRORS as error:
                await _close(pubsub)
                await self._lost(error)
            except BaseException:
                await _close(pubsub)
                raise
            else:
                self._pubsub = pubsub
        return self._pubsub

    async def _lost(self, error: BaseException) -> None:
        if not self._missed:
            _log.warning(
                "Registry events: subscription lost (%s: %s), trying again", type(error).__name__, error
            )
        self._missed = True
        await asyncio.sleep(PAUSE_S)

    def __aiter__(self) -> Self:
        """Return itself."""
        return self

    async def __anext__(self) -> AgentEvent:
        """Return the next event, however long that takes; ends once it was closed."""
        while not self._closed:
            pubsub = await self._subscribed()
            if self._missed:
                self._missed = False
                return AgentEvent(kind=AgentEventKind.MISSED)
            event = await self._next(pubsub)
            if event is not None:
                return event
        raise StopAsyncIteration

    async def _next(self, pubsub: _PubSub) -> AgentEvent | None:
        try:
            message = await pubsub.get_message(timeout=SLICE_S)
        except (*STORE_ERRORS, RuntimeError) as error:
            if self._pubsub is not pubsub:
                return None  # closed by us while we waited
            self._pubsub = None
            await _close(pubsub)
            await self._lost(error)
            return None
        if message is not None and message["type"] == "subscribe":
            # The client has made the connection again by itself.
            return AgentEvent(kind=AgentEventKind.MISSED)
        if message is None or message["type"] != "message":
            return None
        data: object = message["data"]
        line = data.decode("utf-8", "backslashreplace") if isinstance(data, bytes) else str(data)
        change = parse_change(line)
        return None if change is None else to_event(change)

    async def aclose(self) -> None:
        """End the subscription; an `async for` over it ends within a second. Repeatable."""
        self._closed = True
        pubsub, self._pubsub = self._pubsub, None
        if pubsub is not None:
            await _close(pubsub)


async def _close(pubsub: _PubSub) -> None:
    try:
        await pubsub.aclose()
    except STORE_ERRORS as error:
        _log.debug("Closing a subscription to a lost server: %s", error)


class PublisherRelay:
    """Brings events to the user's publisher, one after the other, without holding anybody up."""

    def __init__(self, publisher: object, tasks: OwnedTasks) -> None:
        self._publish: Callable[..., Awaitable[object]] | None = getattr(
            publisher, "publish_agent_status_event", None
        )
        self._tasks = tasks
        self._waiting: deque[tuple[AgentId, AgentEvent, dict[str, Any]]] = deque(maxlen=BACKLOG)
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        """Show how many events wait."""
        return f"PublisherRelay({len(self._waiting)} waiting)"

    def tell(self, event: AgentEvent, metadata: dict[str, Any]) -> None:
        """Bring an event to the publisher soon; `metadata` is added to what v0 sends along."""
        if self._publish is None or event.agent_id is None:
            return
        if len(self._waiting) == BACKLOG:
            _log.warning("The event publisher is %d events behind; the oldest is dropped", BACKLOG)
        self._waiting.append((event.agent_id, event, metadata))
        if self._task is None or self._task.done():
            self._task = self._tasks.start(self._drain(self._publish), "publish agent events")

    async def _drain(self, publish: Callable[..., Awaitable[object]]) -> None:
        while self._waiting:
            agent_id, event, metadata = self._waiting.popleft()
            try:
                async with asyncio.timeout(PUBLISH_TIMEOUT_S):
                    await publish(
                        agent_id=str(agent_id),
                        agent_type=agent_id.type,
                        status=event.status,
                        instance=agent_id.instance,
                        previous_status=event.previous_status or None,
                        heartbeat_age=event.heartbeat_age,
                        metadata={"event_type": event.kind.value, **metadata},
                    )
            except Exception as error:  # noqa: BLE001 - the user's publisher
                _log.warning("The event publisher failed: %s: %s", type(error).__name__, error)
