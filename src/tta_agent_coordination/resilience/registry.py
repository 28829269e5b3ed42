"""Owns a process's circuit breakers by name, and the names that all processes know.

The breakers decide for themselves; this creates them once, lists them, and sweeps away records nobody uses.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from typing import Any, Self, cast

from tta_agent_coordination import _keys
from tta_agent_coordination._clock import Clock
from tta_agent_coordination._redis.client import STORE_ERRORS, Client, Raw
from tta_agent_coordination.resilience._breaker_state import CircuitBreakerConfig, CircuitBreakerState
from tta_agent_coordination.resilience._v0_records import read_foreign
from tta_agent_coordination.resilience.breaker import CircuitBreaker

__all__ = ["CircuitBreakerRegistry"]

CLEANUP_INTERVAL_S = 3600.0
"""Pause between two sweeps of the background task, seconds."""

STALE_AFTER_S = 86_400.0
"""A state record of a breaker that is not registered goes when it has not changed for this long, seconds."""

MAX_SCAN_PAGES = 10_000
"""A sweep ends after this many pages of SCAN, of about 100 keys each."""

_log = logging.getLogger(__name__)


class CircuitBreakerRegistry:
    """Creates each circuit breaker once, and knows the names of all.

    Nothing here raises for the store: an outage is logged, and the breakers work locally. Every method is one
    command or one command a key; none reads a state and writes it back.

    Args:
        redis: A redis-py asyncio client for one server, or for a cluster with `hash_tags`.
        key_prefix: Prefix of all keys, as in v0; a trailing colon is dropped.
        hash_tags: As for `CircuitBreaker`.
        clock: As for `CircuitBreaker`.
    """

    def __init__(
        self, redis: object, key_prefix: str = "ao", *, hash_tags: bool = False, clock: Clock | None = None
    ) -> None:
        self._redis = cast("Client", redis)
        self._pfx = _keys.clean_prefix(key_prefix)
        self._hash_tags = hash_tags
        self._clock = clock
        self._circuit_breakers: dict[str, CircuitBreaker] = {}
        self._starting: dict[str, asyncio.Task[None]] = {}
        self._cleanup_interval = CLEANUP_INTERVAL_S
        self._cleanup_task: asyncio.Task[None] | None = None
        self._entered = False

    def __repr__(self) -> str:
        """Show the names."""
        return f"CircuitBreakerRegistry({self._pfx!r}, {sorted(self._circuit_breakers)})"

    async def __aenter__(self) -> Self:
        """Subscribe the breakers to changes elsewhere, those to come included."""
        self._entered = True
        for breaker in list(self._circuit_breakers.values()):
            await breaker.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the sweeping task and close every breaker; can be repeated."""
        self._entered = False
        await self.stop_cleanup_task()
        await asyncio.gather(*(breaker.aclose() for breaker in self._circuit_breakers.values()))

    async def get_or_create(self, name: str, config: CircuitBreakerConfig | None = None) -> CircuitBreaker:
        """Return the breaker called `name`, initialised; `config` counts only where it is created."""
        if name not in self._circuit_breakers:
            self._circuit_breakers[name] = self._make(name, config)
            self._starting[name] = asyncio.create_task(self._start(name))
            self._starting[name].add_done_callback(lambda _: self._starting.pop(name, None))
        starting = self._starting.get(name)
        breaker = self._circuit_breakers[name]
        if starting is not None:
            await asyncio.shield(starting)
        return breaker

    def _make(self, name: str, config: CircuitBreakerConfig | None) -> CircuitBreaker:
        return CircuitBreaker(
            self._redis, name, config, self._pfx, hash_tags=self._hash_tags, clock=self._clock
        )

    async def _start(self, name: str) -> None:
        await self._open(self._circuit_breakers[name])
        await self._command("SADD", _keys.breaker_registry(self._pfx), name)

    async def _open(self, breaker: CircuitBreaker) -> None:
        if self._entered:
            await breaker.__aenter__()
        else:
            await breaker.initialize()

    async def get(self, name: str) -> CircuitBreaker | None:
        """Return the breaker called `name`, None where this process has none."""
        return self._circuit_breakers.get(name)

    async def remove(self, name: str) -> bool:
        """Forget a breaker, here and in the store; False where this process has none of that name."""
        breaker = self._circuit_breakers.pop(name, None)
        if breaker is None:
            return False
        await breaker.aclose()
        await self._command("SREM", _keys.breaker_registry(self._pfx), name)
        await self._delete(name)
        return True

    async def _delete(self, name: str) -> None:
        keys = _keys.breaker(self._pfx, name, hash_tags=self._hash_tags)
        await self._command("DEL", keys.shared, keys.probes, keys.mirror, keys.metrics)

    async def list_names(self) -> list[str]:
        """Return every name that some process registered, sorted; empty where the store does not answer."""
        return sorted(await self._known() or ())

    async def _known(self) -> set[str] | None:
        """Return every name that can be a breaker's in the set of names, None where it cannot be read."""
        members = await self._command("SMEMBERS", _keys.breaker_registry(self._pfx))
        return None if members is None else {name for member in members if (name := self._name(member))}

    def _name(self, member: bytes) -> str | None:
        try:
            return _keys.breaker(self._pfx, member.decode(), hash_tags=self._hash_tags).name
        except ValueError:
            return None

    async def get_all_metrics(self) -> dict[str, Any]:
        """Return `get_metrics` of each breaker of this process."""
        return {name: await breaker.get_metrics() for name, breaker in list(self._circuit_breakers.items())}

    async def get_all_states(self) -> dict[str, CircuitBreakerState]:
        """Return the state of each breaker of this process."""
        return {name: await breaker.get_state() for name, breaker in list(self._circuit_breakers.items())}

    async def get_open_circuit_breakers(self) -> list[str]:
        """Return the names of the breakers that are open."""
        states = await self.get_all_states()
        return [name for name, state in states.items() if state is CircuitBreakerState.OPEN]

    async def reset_all(self) -> int:
        """Reset every breaker of this process; return how many."""
        breakers = list(self._circuit_breakers.values())
        for breaker in breakers:
            await breaker.reset()
        return len(breakers)

    async def cleanup_expired_states(self) -> int:
        """Delete records of unregistered breakers that have not changed for a day; return how many.

        Deletes nothing where the store does not say who is registered.
        """
        known, swept = await self._known(), 0
        if known is None:
            return 0
        async for key in self._state_keys():
            name = _keys.parse_breaker_name(self._pfx, key, hash_tags=self._hash_tags)
            if (
                not name
                or self._name(name.encode()) is None
                or name in known
                or name in self._circuit_breakers
            ):
                continue
            text, ttl_ms = await self._command("GET", key), await self._command("PTTL", key)
            stored = read_foreign(text or b"", -1 if ttl_ms is None else int(ttl_ms))
            if stored is not None and stored.age > STALE_AFTER_S:
                await self._delete(name)
                swept += 1
        await self._command("SET", _keys.breaker_cleanup(self._pfx), int(time.time()))
        return swept

    async def _state_keys(self) -> AsyncGenerator[bytes]:
        cursor, pattern = 0, _keys.scan_pattern(self._pfx, "cb:state")
        for _ in range(MAX_SCAN_PAGES):
            page = await self._command("SCAN", cursor, "MATCH", pattern, "COUNT", 100)
            if page is None:
                return
            for key in page[1]:
                yield key
            cursor = int(page[0])
            if not cursor:
                return

    async def start_cleanup_task(self) -> None:
        """Sweep once an hour in the background, until `stop_cleanup_task` or `aclose`."""
        if self._cleanup_task is None or self._cleanup_task.done():
            self._cleanup_task = asyncio.create_task(self._sweep_for_ever())

    async def stop_cleanup_task(self) -> None:
        """End the background sweep."""
        task, self._cleanup_task = self._cleanup_task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._cleanup_interval)
            await self.cleanup_expired_states()

    async def sync_registry_with_redis(self) -> None:
        """Create the breakers that others registered, and drop those that nobody has registered any more.

        Does nothing where the store does not answer.
        """
        names = await self._known()
        if names is None:
            return
        for name in set(self._circuit_breakers) - names:
            await self._circuit_breakers.pop(name).aclose()
        for name in names - set(self._circuit_breakers):
            breaker = self._circuit_breakers[name] = self._make(name, None)
            await self._open(breaker)

    async def get_registry_stats(self) -> dict[str, Any]:
        """Return how many breakers there are, in which states, and when they were swept (None for never)."""
        states = await self.get_all_states()
        last = await self._command("GET", _keys.breaker_cleanup(self._pfx))
        return {
            "total_circuit_breakers": len(self._circuit_breakers),
            "state_counts": {
                state.value: sum(held is state for held in states.values()) for state in CircuitBreakerState
            },
            "last_cleanup_time": int(last) if last is not None and last.isdigit() else None,
            "cleanup_task_running": self._cleanup_task is not None and not self._cleanup_task.done(),
        }

    async def _command(self, *command: object) -> Any:  # noqa: ANN401 - whatever the command answers
        try:
            return await self._redis.execute_command(*command, **Raw)
        except STORE_ERRORS as error:
            _log.warning("Circuit breaker registry: %s failed: %s", command[0], error)
            return None
