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
from tests.library.support.commands import Send, intercept
from tests.library.support.servers import Lane
from tests.library.support.waiting import eventually
from tta_agent_coordination import _keys
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


@pytest.mark.parametrize("decode_responses", [False, True])
@pytest.mark.parametrize("hash_tags", [False, True])
async def test_names_that_no_breaker_can_have_hurt_nobody(
    lane: Lane, client: Any, clock: ManualClock, decode_responses: bool, hash_tags: bool
) -> None:
    """Broken: one odd member of the set of names ends every sweep and every sync, in all processes."""
    odd = ["{", "a}b"] if hash_tags else []
    await client.sadd("ao:cb:registry", b"\xff", "", "good", *odd)
    old = json.dumps({"state": "open", "state_changed_at": 0, "updated_at": 90_000})
    for name in (b"\xff", b"", b"{}", b"{{}", b"{a}b}", b"{gone}"):
        await client.set(b"ao:cb:state:" + name, old, ex=86_400)
    registry = CircuitBreakerRegistry(
        lane.client(decode_responses=decode_responses), hash_tags=hash_tags, clock=clock
    )
    assert await registry.list_names() == ["good"]
    await registry.sync_registry_with_redis()
    assert await registry.get("good") is not None
    assert await registry.cleanup_expired_states() == (1 if hash_tags else 4)
    assert await registry.get_registry_stats() is not None
    await registry.aclose()


@pytest.mark.parametrize("damaged", [False, True])
async def test_sweep_that_cannot_read_who_is_registered_deletes_nothing(
    registry: CircuitBreakerRegistry, client: Any, damaged: bool
) -> None:
    """Broken: one lost answer, and the records of every other process's breakers are swept away."""
    old = json.dumps({"state": "open", "state_changed_at": 0, "updated_at": 90_000})
    await client.set("ao:cb:state:theirs", old, ex=86_400)
    await client.sadd("ao:cb:registry", "theirs")
    if damaged:
        await client.set("ao:cb:registry", "of the wrong type")

    async def lose(send: Send, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        if args[0] == "SMEMBERS" and not damaged:
            raise aioredis.ConnectionError("lost")
        return await send(*args, **options)

    own: Any = registry._redis
    with intercept(own, lose):
        assert await registry.cleanup_expired_states() == 0
    assert await client.exists("ao:cb:state:theirs") == 1


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


async def test_second_caller_gets_a_breaker_that_has_begun(registry: CircuitBreakerRegistry) -> None:
    """Broken: whoever asks while somebody else's beginning is under way gets a breaker that knows nothing."""
    first = asyncio.create_task(registry.get_or_create("a"))
    await asyncio.sleep(0)
    breaker = await registry.get_or_create("a")
    assert breaker._shell.link is not None
    assert breaker._shell.link.up is True
    assert await registry.list_names() == ["a"]
    assert await first is breaker


async def test_breakers_have_the_registrys_clock_and_prefix(
    lane: Lane, client: Any, clock: ManualClock
) -> None:
    """Broken: breakers of a registry wait by another clock, or share the records of another application."""
    registry = CircuitBreakerRegistry(lane.client(), "mine:", clock=clock)
    breaker = await registry.get_or_create("a", CircuitBreakerConfig(1, timeout_seconds=60))
    await trip(breaker)
    assert await client.exists("mine:cb:state:a") == 1
    assert await client.keys("ao:*") == []
    assert not await breaker.is_call_permitted()
    clock.advance(60)
    assert await breaker.is_call_permitted()
    await registry.remove("a")
    await registry.aclose()


async def test_only_an_entered_registry_subscribes(lane: Lane, clock: ManualClock) -> None:
    """Broken: a registry that nobody entered leaves sockets open, or an entered one asks once a second."""
    registry = CircuitBreakerRegistry(lane.client(), clock=clock)
    before = await registry.get_or_create("before")
    assert not before._shell._joined
    async with registry:
        inside = await registry.get_or_create("inside")
        assert before._shell._joined
        assert inside._shell._joined
    after = await registry.get_or_create("after")
    assert not any(breaker._shell._joined for breaker in (before, inside, after))
    await registry.aclose()


async def test_sweep_goes_by_age_and_by_who_is_registered(
    registry: CircuitBreakerRegistry, client: Any
) -> None:
    """Broken: the sweep takes another process's breaker, or one that changed in a day, or leaves old ones."""
    stamps = {"idle": (0, 86_400), "older": (0, 86_401), "unchanged": (0, 80_000), "elsewhere": (0, 90_000)}
    for name, (changed, updated) in stamps.items():
        text = json.dumps({"state": "open", "state_changed_at": changed, "updated_at": updated})
        await client.set(f"ao:cb:state:{name}", text)
    # Written 36,400 seconds ago, says what is left of its day, and 80,000 seconds after it had changed.
    text = json.dumps({"state": "open", "state_changed_at": 0, "updated_at": 80_000})
    await client.set("ao:cb:state:long", text, ex=50_000)
    await client.sadd("ao:cb:registry", "elsewhere")
    assert await registry.cleanup_expired_states() == 2
    left = {key.decode() for key in await client.keys("ao:cb:state:*")}
    assert left == {f"ao:cb:state:{name}" for name in ("idle", "unchanged", "elsewhere")}
    await client.flushall()


async def test_sweep_leaves_no_key_of_a_breaker(lane: Lane, client: Any, clock: ManualClock) -> None:
    """Broken: a swept breaker's slots or counters stay; or names in braces are read as if without."""
    registry = CircuitBreakerRegistry(lane.client(decode_responses=True), hash_tags=True, clock=clock)
    old = json.dumps({"state": "open", "state_changed_at": 0, "updated_at": 90_000})
    keys = _keys.breaker("ao", "gone", hash_tags=True)
    for key in (keys.shared, keys.probes, keys.metrics):
        await client.set(key, "something")
    await client.set(keys.mirror, old)
    await client.set("ao:cb:state:untagged", old)
    assert await registry.cleanup_expired_states() == 1
    await client.delete("ao:cb:cleanup:last")
    assert await client.keys("*") == [b"ao:cb:state:untagged"], "it is a breaker of another kind of registry"
    await client.flushall()
    await registry.aclose()


@pytest.mark.parametrize("lost", ["PTTL", "SCAN"])
async def test_sweep_spares_what_the_store_tells_nothing_of(
    registry: CircuitBreakerRegistry, client: Any, lost: str
) -> None:
    """Broken: a store that fails in the middle of a sweep ends it with an error, or makes records old."""
    text = json.dumps({"state": "open", "state_changed_at": 0, "updated_at": 80_000})
    await client.set("ao:cb:state:a", text, ex=50_000)

    async def lose(send: Send, words: tuple[Any, ...], options: dict[str, Any]) -> Any:
        if words[0] == lost:
            raise aioredis.ConnectionError("gone in between")
        return await send(*words, **options)

    own: Any = registry._redis
    with intercept(own, lose):
        assert await registry.cleanup_expired_states() == 0
    assert await client.exists("ao:cb:state:a") == 1
    await client.flushall()


async def test_stamp_of_a_sweep_that_is_no_number_counts_as_none(
    registry: CircuitBreakerRegistry, client: Any
) -> None:
    """Broken: what another version wrote there makes the stats raise."""
    await client.set("ao:cb:cleanup:last", "yesterday")
    assert (await registry.get_registry_stats())["last_cleanup_time"] is None
    await client.delete("ao:cb:cleanup:last")


async def test_sweep_waits_for_its_hour(registry: CircuitBreakerRegistry, client: Any) -> None:
    """Broken: the background task sweeps without end, or ends at once."""
    assert registry._cleanup_interval == 3600
    await registry.start_cleanup_task()
    for _ in range(5):
        await asyncio.sleep(0)
    assert (await registry.get_registry_stats())["cleanup_task_running"] is True
    assert await client.keys("*") == []


async def test_outage_is_told_by_its_command(
    registry: CircuitBreakerRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: an operator reads that something failed, and neither what nor why."""

    async def refuse(*_: Any) -> Any:
        raise aioredis.ConnectionError("nobody is there")

    own: Any = registry._redis
    with intercept(own, refuse):
        assert await registry.list_names() == []
    assert "SMEMBERS failed: nobody is there" in caplog.text
