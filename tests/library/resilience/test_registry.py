"""The registry of breakers: one object a name, names for everybody, and a sweep that harms nobody."""

# ruff: noqa: ANN401 - clients and results are of any kind here

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio as aioredis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tests.library.resilience.calls import succeed, trip
from tests.library.support.servers import Lane
from tests.library.support.waiting import eventually
from tta_agent_coordination.resilience import (
    CircuitBreakerConfig,
    CircuitBreakerRegistry,
    CircuitBreakerState,
)
from tta_agent_coordination.resilience import registry as registry_module
from tta_agent_coordination.testing import ManualClock


@pytest.fixture
async def registry(lane: Lane, clock: ManualClock) -> AsyncIterator[CircuitBreakerRegistry]:
    """One process's registry."""
    made = CircuitBreakerRegistry(lane.client(), clock=clock)
    yield made
    await made.aclose()


async def test_get_or_create_makes_each_breaker_once(registry: CircuitBreakerRegistry) -> None:
    """Broken: two breakers of one name count separately in one process."""
    first, again = await asyncio.gather(
        registry.get_or_create("a", CircuitBreakerConfig(1)), registry.get_or_create("a")
    )
    assert first is again
    assert first._config.failure_threshold == 1
    assert first._shell.link is not None
    assert first._shell.link.up is True, "both got it initialised"
    assert await registry.get("a") is first
    assert await registry.get("b") is None


async def test_names_are_known_to_all_processes(
    registry: CircuitBreakerRegistry, lane: Lane, clock: ManualClock
) -> None:
    """Broken: an operator's process sees no breakers."""
    await registry.get_or_create("workflow:x")
    await trip(await registry.get_or_create("b", CircuitBreakerConfig(1)))
    other = CircuitBreakerRegistry(lane.client(decode_responses=True), clock=clock)
    assert await other.list_names() == ["b", "workflow:x"]
    await other.sync_registry_with_redis()
    assert await other.get_all_states() == {"b": "open", "workflow:x": "closed"}
    assert await other.get_open_circuit_breakers() == ["b"]
    assert (await other.get_all_metrics())["b"]["state"] == "open"
    assert await other.reset_all() == 2
    assert await other.get_open_circuit_breakers() == []
    assert await registry.remove("b") is True
    await other.sync_registry_with_redis()
    assert await other.get("b") is None
    await other.aclose()


async def test_remove_leaves_nothing(registry: CircuitBreakerRegistry, client: Any) -> None:
    """Broken: removed breakers come back with their old state."""
    await trip(await registry.get_or_create("a", CircuitBreakerConfig(1)))
    assert await registry.remove("a") is True
    assert await registry.remove("a") is False
    assert await client.keys("*") == []


async def test_cleanup_takes_only_old_records_of_unregistered_breakers(
    registry: CircuitBreakerRegistry, client: Any
) -> None:
    """Broken: v0 took the last segment for the name, and swept `workflow:x` away while it was in use."""
    await registry.get_or_create("workflow:x")
    old = json.dumps({"state": "open", "state_changed_at": 0, "updated_at": 90_000})
    new = json.dumps({"state": "open", "state_changed_at": time.time(), "updated_at": time.time()})
    for name, text in (("workflow:x", old), ("workflow:gone", old), ("fresh", new), ("damaged", "{")):
        await client.set(f"ao:cb:state:{name}", text, ex=86_400)
    for number in range(300):
        await client.set(f"ao:cb:metrics:{number}", "{}", ex=60)
    assert await registry.cleanup_expired_states() == 1
    left = {key.decode() for key in await client.keys("ao:cb:state:*")}
    assert left == {"ao:cb:state:workflow:x", "ao:cb:state:fresh", "ao:cb:state:damaged"}
    stats = await registry.get_registry_stats()
    assert stats["last_cleanup_time"] == pytest.approx(time.time(), abs=60)


async def test_stats_are_v0s_dictionary(registry: CircuitBreakerRegistry) -> None:
    """Broken: TTA's diagnostics read these names."""
    await trip(await registry.get_or_create("a", CircuitBreakerConfig(1)))
    await registry.get_or_create("b")
    await registry.start_cleanup_task()
    await registry.start_cleanup_task()
    assert await registry.get_registry_stats() == {
        "total_circuit_breakers": 2,
        "state_counts": {"closed": 1, "open": 1, "half_open": 0},
        "last_cleanup_time": None,
        "cleanup_task_running": True,
    }
    await registry.stop_cleanup_task()
    await registry.stop_cleanup_task()
    assert (await registry.get_registry_stats())["cleanup_task_running"] is False


async def test_background_sweep_sweeps(registry: CircuitBreakerRegistry, client: Any) -> None:
    """Broken: the task runs and does nothing."""
    registry._cleanup_interval = 0.01
    await registry.start_cleanup_task()

    async def swept() -> bool:
        return bool(await client.exists("ao:cb:cleanup:last"))

    await eventually("a sweep has ended", swept)


async def test_entered_registry_pushes_to_its_breakers(lane: Lane, clock: ManualClock) -> None:
    """Broken: breakers of a registry learn by looking only."""
    async with CircuitBreakerRegistry(lane.client(), clock=clock) as registry:
        one = await registry.get_or_create("a")
        other = CircuitBreakerRegistry(lane.client(), clock=clock)
        two = await other.get_or_create("a")
        await other.__aenter__()
        await one._transition_to_open()
        await eventually("the opening arrived", lambda: two._state is CircuitBreakerState.OPEN)
        await other.aclose()
        await other.aclose()
    assert not asyncio.all_tasks() - {asyncio.current_task()}


async def test_outage_is_not_an_error(clock: ManualClock) -> None:
    """Broken: without a store no breaker can be had."""
    client: Any = aioredis.Redis(port=1, retry=Retry(NoBackoff(), 0))
    registry = CircuitBreakerRegistry(client, clock=clock)
    breaker = await registry.get_or_create("a")
    assert await breaker.call(succeed) == "fine"
    assert await registry.list_names() == []
    await registry.sync_registry_with_redis()
    assert await registry.cleanup_expired_states() == 0
    assert (await registry.get_registry_stats())["total_circuit_breakers"] == 1
    assert await registry.remove("a") is True
    assert "[]" in repr(registry)
    await registry.aclose()
    await client.aclose()


async def test_hash_tags_reach_the_keys(lane: Lane, client: Any, clock: ManualClock) -> None:
    """Broken: on a cluster the registry deletes and sweeps keys that nobody has."""
    async with CircuitBreakerRegistry(lane.client(), hash_tags=True, clock=clock) as registry:
        await trip(await registry.get_or_create("a:b", CircuitBreakerConfig(1)))
        assert await client.exists("ao:cb:state:{a:b}") == 1
        await client.set("ao:cb:state:untagged", '{"state": "open"}', ex=1)
        assert await registry.cleanup_expired_states() == 0
        await registry.remove("a:b")
        assert await client.exists("ao:cb:state:{a:b}") == 0


async def test_breaker_that_has_begun_is_given_out_at_once(
    registry: CircuitBreakerRegistry, client: Any
) -> None:
    """Broken: every look-up of a breaker asks the store again, or waits for a beginning that is over."""
    first = await registry.get_or_create("a")
    await eventually("it has begun", lambda: not registry._starting)
    await client.delete("ao:cb:registry")
    assert await registry.get_or_create("a", CircuitBreakerConfig(1)) is first
    assert await registry.list_names() == []


async def test_sweep_ends_where_a_store_has_no_end(
    registry: CircuitBreakerRegistry, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a sweep of a server that fills faster than it is read goes on for ever."""
    monkeypatch.setattr(registry_module, "MAX_SCAN_PAGES", 1)
    old = json.dumps({"state": "closed", "state_changed_at": 1.0, "updated_at": 1.0})
    for number in range(600):
        await client.set(f"ao:cb:state:{number}", old, ex=60)
    pages: list[object] = []

    async def counting(*words: object) -> Any:
        pages.extend(word for word in words[:1] if word == "SCAN")
        return await command(*words)

    command = registry._command
    monkeypatch.setattr(registry, "_command", counting)
    await registry.cleanup_expired_states()
    assert pages == ["SCAN"]
    await client.flushall()
