"""A small model of v0: the same keys, the same entries, the same order of steps, one Redis command a step.

It stands in for TTA's first coordinator wherever a test has to show that a promise was broken before, and
wherever a test needs somebody else to write v0's stored form. It is written from v0's description and shares
no code with the package. Before each Redis command it awaits `step(name)`: a test lets one coordinator wait
there, lets another overtake it, or lets the process die.
"""

# ruff: noqa: ANN401 - commands and answers of a Redis client may be anything
from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import redis.asyncio as aioredis

__all__ = [
    "LEVELS",
    "PausedAt",
    "ProcessDied",
    "Reserved",
    "V0Coordinator",
    "V0Result",
    "die_at",
    "no_step",
    "v0_entry",
]

LEVELS = (9, 5, 1)
"""HIGH, NORMAL, LOW: the order in which v0 looks for work."""

type Step = Callable[[str], Awaitable[None]]
type Entry = dict[str, Any]


class ProcessDied(BaseException):
    """The process ended here: no handler of v0 sees it, nothing after it runs."""


async def no_step(name: str) -> None:
    """Let every step pass."""
    del name


def die_at(fatal: str) -> Step:
    """Return a hook that ends the process just before the step called `fatal`."""

    async def step(name: str) -> None:
        if name == fatal:
            raise ProcessDied(name)

    return step


@dataclass(frozen=True)
class V0Result:
    """What v0's send answers."""

    message_id: str
    delivered: bool
    error: str | None = None


@dataclass(frozen=True)
class Reserved:
    """What v0's receive answers."""

    token: str
    entry: Entry
    text: str

    @property
    def message_id(self) -> str:
        """The id of the message inside."""
        return str(self.entry["message"]["message_id"])


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


class PausedAt:
    """A hook that stops at one step until the test lets it go on, so that another process can overtake.

    `reached` is set when the step is next; `go` lets it happen.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.reached = asyncio.Event()
        self.go = asyncio.Event()

    async def __call__(self, name: str) -> None:
        """Wait at the named step, pass at every other."""
        if name == self._name:
            self.reached.set()
            await self.go.wait()


class V0Coordinator:
    """v0's send, receive, ack, nack, recover and subscribe for inboxes `type:inst`, as sequences of commands.

    Args:
        redis: a redis-py client, with or without `decode_responses`.
        prefix: the key prefix.
        step: awaited with the step's name before each command.
        now_us: this machine's clock; v0 has no other.
    """

    def __init__(
        self,
        redis: aioredis.Redis,
        prefix: str = "ao",
        *,
        step: Step = no_step,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._redis: Any = redis
        self._prefix = prefix
        self._step = step
        self._now_us = now_us
        self.queue_size = 10_000
        self.retry_attempts = 3
        self.backoff = (1.0, 2.0, 30.0)

    def key(self, family: str, inbox: str) -> str:
        """Return `{prefix}:{family}:{type}:{inst}`."""
        return f"{self._prefix}:{family}:{inbox}"

    def level_key(self, inbox: str, level: int) -> str:
        """Return the sorted set of one priority level."""
        return f"{self._prefix}:sched:{inbox}:prio:{level}"

    async def _do(self, step: str, *command: Any) -> Any:
        await self._step(step)
        return await self._redis.execute_command(*command)

    async def send(
        self,
        inbox: str,
        message_id: str,
        payload: Entry | None = None,
        *,
        priority: int = 5,
        sender: str = "ipa:default",
        message_type: str = "request",
    ) -> V0Result:
        """LLEN, then RPUSH to the audit list, then ZADD: three trips, each may be the last one."""
        try:
            depth = int(await self._do("send.llen", "LLEN", self.key("queue", inbox)))
            if depth >= self.queue_size:
                return V0Result(message_id, delivered=False, error="queue full")
            now = self._now_us()
            text = v0_entry(
                inbox,
                message_id,
                payload,
                priority=priority,
                sender=sender,
                now_us=now,
                message_type=message_type,
            )
            await self._do("send.rpush", "RPUSH", self.key("queue", inbox), text)
            await self._do("send.zadd", "ZADD", self.level_key(inbox, priority), now, text)
        except Exception as problem:  # noqa: BLE001 - v0 hides every failure of a send
            return V0Result(message_id, delivered=False, error=str(problem))
        return V0Result(message_id, delivered=True)

    async def broadcast(self, recipients: list[str], message_id: str, message_type: str) -> list[V0Result]:
        """Send to every recipient that was named; nobody reads the subscriptions."""
        return [await self.send(inbox, message_id, message_type=message_type) for inbox in recipients]

    async def subscribe(self, inbox: str, *message_types: str) -> None:
        """Record the subscription, which no other method reads."""
        await self._do("subscribe.sadd", "SADD", self.key("subs", inbox), *message_types)

    async def receive(self, inbox: str, visibility_timeout: float = 5) -> Reserved | None:
        """Find the first due entry, remove it, reserve it: whether anything was removed goes unseen."""
        for level in LEVELS:
            key, now = self.level_key(inbox, level), self._now_us()
            found = await self._do("receive.find", "ZRANGEBYSCORE", key, 0, now, "LIMIT", 0, 1)
            if not found:
                continue
            text = _text(found[0])
            entry: Entry = json.loads(text)
            token = "res_" + uuid.uuid4().hex[:16]
            deadline = now + int(visibility_timeout * 1_000_000)
            await self._do("receive.zrem", "ZREM", key, text)
            await self._do("receive.hset", "HSET", self.key("reserved", inbox), token, text)
            await self._do("receive.deadline", "ZADD", self.key("reserved_deadlines", inbox), deadline, token)
            return Reserved(token, entry, text)
        return None

    async def _take_reserved(self, operation: str, inbox: str, token: str) -> str | None:
        value = await self._do(f"{operation}.hget", "HGET", self.key("reserved", inbox), token)
        if value is None:
            return None
        await self._do(f"{operation}.hdel", "HDEL", self.key("reserved", inbox), token)
        await self._do(f"{operation}.zrem", "ZREM", self.key("reserved_deadlines", inbox), token)
        return _text(value)

    async def ack(self, inbox: str, token: str) -> bool:
        """Read the reservation, drop it, drop the audit copy."""
        text = await self._take_reserved("ack", inbox, token)
        if text is None:
            return False
        await self._do("ack.lrem", "LREM", self.key("queue", inbox), 1, text)
        return True

    async def nack(
        self, inbox: str, token: str, *, permanent: bool = False, error: str | None = None
    ) -> bool:
        """Drop the reservation first, then schedule the retry: what ends in between ends the message."""
        text = await self._take_reserved("nack", inbox, token)
        if text is None:
            return False
        try:
            entry: Entry = json.loads(text)
        except ValueError:
            await self._do("nack.rpush_dlq", "RPUSH", self.key("dlq", inbox), text)
            return False
        entry["delivery_attempts"] += 1
        entry["last_error"] = error
        changed = json.dumps(entry)
        await self._do("nack.lrem", "LREM", self.key("queue", inbox), 1, text)
        if permanent or entry["delivery_attempts"] > self.retry_attempts:
            await self._do("nack.rpush_dlq", "RPUSH", self.key("dlq", inbox), changed)
            return True
        base, factor, longest = self.backoff
        delay = min(base * factor ** (entry["delivery_attempts"] - 1), longest)
        due = self._now_us() + int(delay * 1_000_000)
        try:
            await self._do("nack.zadd", "ZADD", self.level_key(inbox, entry["priority"]), due, changed)
            await self._do("nack.rpush", "RPUSH", self.key("queue", inbox), changed)
        except Exception:  # noqa: BLE001 - v0 answers every failure here with the dead letter queue
            await self._do("nack.rpush_dlq", "RPUSH", self.key("dlq", inbox), changed)
        return True

    async def recover(self, inbox: str) -> int:
        """Put every reservation with a passed deadline back, ready now, attempts unchanged."""
        deadlines = self.key("reserved_deadlines", inbox)
        expired = await self._do("recover.find", "ZRANGEBYSCORE", deadlines, 0, self._now_us())
        requeued = 0
        for token in map(_text, expired):
            value = await self._do("recover.hget", "HGET", self.key("reserved", inbox), token)
            await self._do("recover.zrem", "ZREM", deadlines, token)
            await self._do("recover.hdel", "HDEL", self.key("reserved", inbox), token)
            if value is None:
                continue
            text = _text(value)
            try:
                priority = json.loads(text)["priority"]
            except ValueError:
                await self._do("recover.rpush_dlq", "RPUSH", self.key("dlq", inbox), text)
                continue
            await self._do("recover.zadd", "ZADD", self.level_key(inbox, priority), self._now_us(), text)
            requeued += 1
        return requeued


def v0_entry(
    inbox: str,
    message_id: str,
    payload: Entry | None = None,
    *,
    priority: int = 5,
    sender: str = "ipa:default",
    now_us: int = 1_700_000_000_000_000,
    message_type: str = "request",
) -> str:
    """Return the text that v0 stores for a message: default separators, ASCII, the fields in v0's order."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(now_us / 1_000_000))

    def address(name: str) -> Entry:
        kind, instance = name.split(":")
        return {"type": kind, "instance": None if instance == "default" else instance}

    message: Entry = {
        "message_id": message_id,
        "sender": address(sender),
        "recipient": address(inbox),
        "message_type": message_type,
        "payload": payload or {},
        "priority": priority,
        "routing": {"topic": None, "tags": []},
        "timestamp": stamp,
    }
    entry: Entry = {
        "message": message,
        "priority": priority,
        "enqueued_at": stamp,
        "delivery_attempts": 0,
        "last_error": None,
    }
    return json.dumps(entry)
