"""Owns the subscription that brings other processes' changes: one for each client and prefix.

All breakers of a client and prefix share it. A listener lives from the first breaker that joins to the last
that leaves. It is a shortcut: what it misses, each breaker's own look once a second finds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, cast

from tta_agent_coordination._redis.breaker_scripts import parse_change
from tta_agent_coordination._redis.client import STORE_ERRORS
from tta_agent_coordination.resilience._breaker_state import Record

__all__ = ["ChangeListener", "Subscriber", "join", "leave"]

SLICE_S = 1.0
"""How long one wait for a message lasts, below any client's socket timeout, seconds."""

PAUSE_S = 0.5
"""Pause before subscribing again after a failure, seconds."""

_log = logging.getLogger(__name__)


class Subscriber(Protocol):
    """What a listener calls: a breaker."""

    def changed_elsewhere(self, record: Record) -> None:
        """Take over a change that a process told."""
        ...

    def look_again(self) -> None:
        """Find out what may have been missed."""
        ...


class _PubSub(Protocol):
    def subscribe(self, *channels: bytes) -> Awaitable[object]: ...

    def get_message(
        self, *, ignore_subscribe_messages: bool, timeout: float
    ) -> Awaitable[dict[str, Any] | None]: ...

    def aclose(self) -> Awaitable[None]: ...


_listeners: dict[tuple[int, bytes], ChangeListener] = {}


class ChangeListener:
    """One subscription, and the breakers that want to hear from it."""

    def __init__(self, client: object, channel: bytes) -> None:
        self._make_pubsub = cast("Callable[[], _PubSub]", getattr(client, "pubsub"))  # noqa: B009 - not in our Protocol
        self._channel = channel
        self._members: dict[str, list[Subscriber]] = {}
        self._task = asyncio.create_task(self._listen(), name=f"breaker-changes-{channel.decode()}")

    def __repr__(self) -> str:
        """Show the channel and who listens."""
        return f"ChangeListener({self._channel!r}, {sorted(self._members)})"

    @property
    def is_alive(self) -> bool:
        """Whether it still listens, in the loop that runs now."""
        return not self._task.done() and self._task.get_loop() is asyncio.get_running_loop()

    def add(self, name: str, subscriber: Subscriber) -> None:
        """Bring changes of `name` to a breaker, too."""
        self._members.setdefault(name, []).append(subscriber)

    def remove(self, name: str, subscriber: Subscriber) -> bool:
        """Stop bringing changes to a breaker; tell whether nobody is left."""
        members = self._members.get(name, [])
        if subscriber in members:
            members.remove(subscriber)
        if not members:
            self._members.pop(name, None)
        return not self._members

    async def end(self) -> None:
        """End the subscription and its connection."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _listen(self) -> None:
        while True:
            pubsub = self._make_pubsub()
            try:
                await pubsub.subscribe(self._channel)
                for members in list(self._members.values()):
                    for member in members:
                        member.look_again()
                while True:
                    self._deliver(await pubsub.get_message(ignore_subscribe_messages=True, timeout=SLICE_S))
            except STORE_ERRORS as error:
                _log.info(
                    "Circuit breakers: the subscription to %r broke (%s), subscribing again",
                    self._channel,
                    error,
                )
            finally:
                await pubsub.aclose()
            await asyncio.sleep(PAUSE_S)

    def _deliver(self, message: dict[str, Any] | None) -> None:
        data = message.get("data") if message else None
        change = (
            parse_change(data.encode() if isinstance(data, str) else data)
            if isinstance(data, str | bytes)
            else None
        )
        if change is None:
            return
        name, record = change
        for member in list(self._members.get(name, ())):
            member.changed_elsewhere(record)


def join(client: object, channel: bytes, name: str, subscriber: Subscriber) -> None:
    """Bring changes of breaker `name` to `subscriber`, with the client's subscription or a new one."""
    key = (id(client), channel)
    listener = _listeners.get(key)
    if listener is None or not listener.is_alive:
        listener = _listeners[key] = ChangeListener(client, channel)
    listener.add(name, subscriber)


async def leave(client: object, channel: bytes, name: str, subscriber: Subscriber) -> None:
    """Stop what `join` began; the last one to leave ends the subscription."""
    key = (id(client), channel)
    listener = _listeners.get(key)
    if listener is None or not listener.remove(name, subscriber):
        return
    del _listeners[key]
    if listener.is_alive:
        await listener.end()
