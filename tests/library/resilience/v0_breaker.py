"""A small model of v0's circuit breaker and retry: the same steps in the same order.

It stands in for TTA's first version wherever a test has to show that a promise was broken before, and
wherever a test needs a v0 process beside ours. It is written from v0's description and shares no code with
the package.
"""

# ruff: noqa: ANN401 - clients and results are of any kind here

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Any

import redis.asyncio as aioredis

__all__ = ["V0Breaker", "V0OpenError", "V0RetryError", "v0_retry"]


class V0OpenError(Exception):
    """v0's refusal."""


class V0RetryError(Exception):
    """v0's exhausted retry, without its cause."""


class V0Breaker:
    """v0's breaker: state of its own, one lock, and a SETEX of state and metrics inside it.

    Args:
        redis: a redis-py client.
        name: the breaker.
        failure_threshold: failures, of any age, that open it.
        timeout_s: open to half-open.
        max_calls: calls that are ever let into one half-open period.
        successes: successes that close it.
        prefix: the key prefix.
        wall: this machine's clock, seconds since the epoch.
    """

    def __init__(
        self,
        redis: aioredis.Redis,
        name: str,
        *,
        failure_threshold: int = 5,
        timeout_s: float = 60,
        max_calls: int = 3,
        successes: int = 2,
        prefix: str = "ao",
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._redis: Any = redis
        self._name, self._prefix, self._wall = name, prefix, wall
        self._threshold, self._timeout_s = failure_threshold, timeout_s
        self._max_calls, self._needed = max_calls, successes
        self.state = "closed"
        self.failure_count = 0
        self.half_open_calls = 0
        self.half_open_successes = 0
        self.last_failure_time: float | None = None
        self.changed_at = wall()
        self._lock = asyncio.Lock()

    async def initialize(self) -> None:
        """Take over the stored state."""
        text = await self._redis.get(f"{self._prefix}:cb:state:{self._name}")
        if text:
            stored: dict[str, Any] = json.loads(text)
            self.state, self.failure_count = stored["state"], stored["failure_count"]
            self.half_open_calls = stored["half_open_calls"]
            self.half_open_successes = stored["half_open_successes"]
            self.changed_at = stored["state_changed_at"]

    async def persist(self) -> None:
        """Write the whole state over whatever is there."""
        state = {
            "state": self.state,
            "failure_count": self.failure_count,
            "half_open_calls": self.half_open_calls,
            "half_open_successes": self.half_open_successes,
            "last_failure_time": self.last_failure_time,
            "state_changed_at": self.changed_at,
            "updated_at": self._wall(),
        }
        await self._setex("state", 86_400, state)

    async def _setex(self, family: str, ttl_s: int, record: dict[str, Any]) -> None:
        key = f"{self._prefix}:cb:{family}:{self._name}"
        await self._redis.execute_command("SETEX", key, ttl_s, json.dumps(record))

    async def _persist_metrics(self) -> None:
        await self._setex("metrics", 604_800, {"total_calls": 1})

    async def _become(self, state: str) -> None:
        self.state, self.changed_at = state, self._wall()
        self.half_open_calls = self.half_open_successes = 0
        if state == "closed":
            self.failure_count = 0
        await self.persist()
        await self._persist_metrics()

    async def call(self, func: Callable[[], Awaitable[Any]]) -> Any:
        """Decide, call, record: three steps, and nothing ties the third to the first."""
        async with self._lock:
            if self.state == "open":
                if self._wall() - self.changed_at < self._timeout_s:
                    await self._persist_metrics()
                    raise V0OpenError(self._name)
                await self._become("half_open")
            if self.state == "half_open":
                if self.half_open_calls >= self._max_calls:
                    await self._persist_metrics()
                    raise V0OpenError(self._name)
                self.half_open_calls += 1
        try:
            result = await func()
        except Exception:
            await self._failed()
            raise
        await self._succeeded()
        return result

    async def _succeeded(self) -> None:
        async with self._lock:
            if self.state == "half_open":
                self.half_open_successes += 1
                if self.half_open_successes >= self._needed:
                    await self._become("closed")
            await self._persist_metrics()

    async def _failed(self) -> None:
        async with self._lock:
            self.last_failure_time = self._wall()
            if self.state == "closed":
                self.failure_count += 1
                if self.failure_count >= self._threshold:
                    await self._become("open")
            elif self.state == "half_open":
                await self._become("open")
            await self.persist()
            await self._persist_metrics()


async def v0_retry(
    func: Callable[..., Any],
    *,
    max_retries: int = 3,
    base_delay: float = 0.0,
    max_delay: float = 60.0,
    exponential_base: float = 2.0,
) -> Any:
    """v0's loop: every Exception, a power without a bound, a check by `iscoroutinefunction`, no cause."""
    last: Exception | None = None
    for attempt in range(max_retries + 1):
        try:
            if iscoroutinefunction(func):
                return await func()
            return func()
        except Exception as error:  # noqa: BLE001 - v0 does
            last = error
            if attempt == max_retries:
                break
            delay = min(base_delay * (exponential_base**attempt), max_delay)
            await asyncio.sleep(delay * (0.5 + random.random() * 0.5))
    raise V0RetryError(f"All {max_retries + 1} attempts failed. Last error: {last}")
