"""The breaker as its users see it, alone and with others, on every server."""

# ruff: noqa: ANN401 - clients and results are of any kind here

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
import redis.asyncio as aioredis

from tests.library.resilience.calls import Boom, Gate, cancelled, fail, fails, refused, succeed, trip
from tests.library.resilience.conftest import MakeBreaker
from tests.library.support.commands import count_commands
from tests.library.support.servers import Lane
from tests.library.support.waiting import eventually
from tta_agent_coordination.exceptions import CircuitBreakerOpenError, CoordinationError
from tta_agent_coordination.resilience import (
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitBreakerMetrics,
    CircuitBreakerState,
    get_circuit_breaker_metrics,
)
from tta_agent_coordination.testing import ManualClock


@pytest.fixture
def breaker(make_breaker: MakeBreaker) -> CircuitBreaker:
    """One process's breaker."""
    return make_breaker()


async def test_call_returns_what_the_function_returns(breaker: CircuitBreaker) -> None:
    """Broken: a breaker changes results or loses arguments."""

    async def join(*args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    assert await breaker.call(join, 1, 2, key="v") == ((1, 2), {"key": "v"})
    assert await breaker.call(join, 1, correlation_id="c") == ((1,), {})
    assert await breaker.execute(join, 1, correlation_id="mine", func="f") == (
        (1,),
        {"correlation_id": "mine", "func": "f"},
    )
    assert await breaker.call(lambda: succeed(3)) == 3
    assert await breaker.call(lambda: 4) == 4  # pyright: ignore[reportArgumentType] - v0 raised TypeError here


async def test_failure_is_the_functions_own(breaker: CircuitBreaker) -> None:
    """Broken: a caller that catches its own exceptions no longer does."""
    error = Boom("mine")

    async def raising() -> None:
        raise error

    with pytest.raises(Boom) as caught:
        await breaker.call(raising)
    assert caught.value is error


async def test_threshold_of_consecutive_failures_opens_it(breaker: CircuitBreaker) -> None:
    """Broken: it opens too early, or not at all."""
    await fails(breaker, 2)
    await breaker.call(succeed)
    await fails(breaker, 2)
    assert breaker._state is CircuitBreakerState.CLOSED
    await fails(breaker, 1)
    assert breaker._state is CircuitBreakerState.OPEN


async def test_old_failures_drop_out_of_the_window(make_breaker: MakeBreaker, clock: ManualClock) -> None:
    """Broken: failures that are minutes apart open a breaker that nobody called in between."""
    breaker = make_breaker(window_seconds=10)
    for _ in range(6):
        await fails(breaker, 1)
        clock.advance(6)
    assert breaker._failure_count == 1
    assert await breaker.get_state() == "closed"


async def test_open_breaker_refuses_at_once_and_says_when(
    breaker: CircuitBreaker, clock: ManualClock
) -> None:
    """Broken: callers cannot tell a refusal from a failure, nor when to come back."""
    await trip(breaker)
    clock.advance(20)
    error = await refused(breaker)
    assert str(error) == "Circuit breaker svc is OPEN"
    assert error.retry_after == pytest.approx(40)
    assert isinstance(error, CoordinationError)


async def test_half_open_refuses_beyond_its_budget(breaker: CircuitBreaker, clock: ManualClock) -> None:
    """Broken: everybody tries at once whether the other side is back."""
    await trip(breaker)
    clock.advance(60)
    gates = [Gate(), Gate()]
    tasks = [await gate.begin(breaker) for gate in gates]
    assert str(await refused(breaker)) == "Circuit breaker svc is HALF_OPEN with max calls reached"
    for gate in gates:
        gate.succeed()
    await asyncio.gather(*tasks)
    assert await breaker.get_state() == "closed"


async def test_budget_holds_over_processes(make_breaker: MakeBreaker, clock: ManualClock) -> None:
    """Broken: each process probes for itself, and the failing side gets them all."""
    one, two, three = make_breaker(), make_breaker(), make_breaker()
    await trip(one)
    for other in (two, three):
        await other.initialize()
    clock.advance(60)
    gates = [Gate(), Gate()]
    tasks = [await gates[0].begin(one), await gates[1].begin(two)]
    assert str(await refused(three)).endswith("HALF_OPEN with max calls reached")
    gates[0].succeed()
    await tasks[0]
    assert str(await refused(three)).endswith("HALF_OPEN with max calls reached"), "a success keeps its place"
    gates[1].succeed()
    await tasks[1]
    assert await three.call(succeed) == "fine"
    assert [await each.get_state() for each in (two, three)] == ["closed", "closed"]


async def test_failed_probe_opens_it_again_for_everybody(
    make_breaker: MakeBreaker, clock: ManualClock
) -> None:
    """Broken: one probe fails and the others go on."""
    one, two = make_breaker(), make_breaker()
    await trip(one)
    await two.initialize()
    clock.advance(60)
    gate = Gate()
    task = await gate.begin(two)
    await fails(one, 1)
    assert one._state == "open"
    gate.succeed()
    await task
    assert await two.get_state() == "open"
    assert (await refused(two)).retry_after == pytest.approx(60)


async def test_half_open_without_a_verdict_counts_as_open_again(
    make_breaker: MakeBreaker, clock: ManualClock
) -> None:
    """Broken: probes that never end keep a breaker half-open for ever."""
    breaker = make_breaker(recovery_timeout_seconds=300)
    await trip(breaker)
    clock.advance(60)
    hanging = [await Gate().begin(breaker) for _ in range(2)]
    clock.advance(301)
    assert (await refused(breaker)).retry_after == pytest.approx(59)
    clock.advance(59)
    await breaker.call(succeed)
    for task in hanging:
        await cancelled(task)
    await breaker.call(succeed)
    assert await breaker.get_state() == "closed"


async def test_lease_of_a_process_that_died_ends(make_breaker: MakeBreaker, clock: ManualClock) -> None:
    """Broken: slots of killed processes stay taken for the rest of half-open."""
    dead, alive = make_breaker(), make_breaker()
    await trip(dead)
    await alive.initialize()
    clock.advance(60)
    tasks = [await Gate().begin(dead) for _ in range(2)]
    await refused(alive)
    clock.advance(10)
    assert await alive.call(succeed) == "fine"
    for task in tasks:
        await cancelled(task)


async def test_closed_calls_send_nothing_but_a_look_a_second(
    client: Any, make_breaker: MakeBreaker, clock: ManualClock
) -> None:
    """Broken: the breaker costs a command a call."""
    breaker = make_breaker(client=client)
    await breaker.initialize()
    with count_commands(client) as counted:
        for _ in range(200):
            await breaker.call(succeed)
        assert counted.names == []
        clock.advance(1)
        for _ in range(200):
            await breaker.call(succeed)
        await eventually("the look went out", lambda: bool(counted.names))
    assert counted.names == ["EVALSHA"]


async def test_uninitialised_breaker_learns_from_its_first_look(make_breaker: MakeBreaker) -> None:
    """Broken: without `initialize` a process never learns what the others know."""
    await trip(make_breaker())
    fresh = make_breaker()
    assert await fresh.call(succeed) == "fine"
    await eventually("the look has seen it", lambda: fresh._state == "open")
    await refused(fresh)


async def test_reset_closes_for_everybody_and_clears_the_count(make_breaker: MakeBreaker) -> None:
    """Broken: an operator's reset reaches one process, or leaves two failures standing."""
    one, two = make_breaker(), make_breaker()
    await two.initialize()
    await trip(one)
    await two.reset()
    assert [await two.get_state(), two._failure_count] == ["closed", 0]
    late = make_breaker()
    await late.initialize()
    assert late._state == "closed"
    await fails(late, 2)
    await late.reset()
    assert late._failure_count == 0


async def test_transition_to_open_opens_for_everybody(make_breaker: MakeBreaker, clock: ManualClock) -> None:
    """Broken: TTA's resource monitor opens a breaker by hand and the other processes go on."""
    one, two = make_breaker(), make_breaker()
    await one._transition_to_open()
    await one._transition_to_open()
    await two.initialize()
    assert (one._state, two._state) == ("open", "open")
    clock.advance(60)
    await two.call(succeed)
    await two.call(succeed)
    await one._transition_to_open()
    await two.initialize()
    assert two._state == "open", "it opens even where this process had missed the closing"
    assert one._metrics.state_changes >= 1


async def test_is_call_permitted_changes_nothing(make_breaker: MakeBreaker, clock: ManualClock) -> None:
    """Broken: asking whether a call may pass takes a probe's place, or opens half."""
    breaker, other = make_breaker(), make_breaker()
    assert await breaker.is_call_permitted() is True
    await trip(breaker)
    await other.initialize()
    assert await breaker.is_call_permitted() is False
    clock.advance(60)
    assert await breaker.is_call_permitted() is True
    assert breaker._state == "open"
    tasks = [await Gate().begin(breaker) for _ in range(2)]
    assert await breaker.is_call_permitted() is False
    for task in tasks:
        await cancelled(task)
    await breaker.get_state()
    assert await breaker.is_call_permitted() is True


async def test_guard_protects_a_block(breaker: CircuitBreaker) -> None:
    """Broken: a block counts otherwise than a call."""
    for _ in range(3):
        with pytest.raises(Boom):
            async with breaker.guard():
                raise Boom
    with pytest.raises(CircuitBreakerOpenError):
        async with breaker.guard():
            pytest.fail("a refused block ran")
    await breaker.reset()
    async with breaker.guard():
        pass
    assert breaker._metrics.successful_calls == 1


async def test_decorator_protects_each_call(breaker: CircuitBreaker) -> None:
    """Broken: the decorated function loses its name, its arguments or its protection."""

    @breaker
    async def double(number: int, *, correlation_id: str = "") -> str:
        """Say it twice."""
        if number < 0:
            raise Boom
        return f"{number * 2}{correlation_id}"

    assert (double.__name__, double.__doc__) == ("double", "Say it twice.")
    assert await double(2, correlation_id="c") == "4c"
    for _ in range(3):
        with pytest.raises(Boom):
            await double(-1)
    with pytest.raises(CircuitBreakerOpenError):
        await double(2)
    with pytest.raises(TypeError, match="coroutine function"):
        breaker(lambda: 1)  # pyright: ignore[reportArgumentType] - that is the point


async def test_cancelled_call_is_neither_failure_nor_success(breaker: CircuitBreaker) -> None:
    """Broken: timeouts of callers open the breaker, or vouch for the other side."""
    await fails(breaker, 2)
    for _ in range(5):
        await cancelled(await Gate().begin(breaker))
    assert (breaker._failure_count, breaker._state) == (2, "closed")
    assert (breaker._metrics.failed_calls, breaker._metrics.successful_calls) == (2, 0)


async def test_metrics_are_v0s_dictionary(breaker: CircuitBreaker, clock: ManualClock) -> None:
    """Broken: TTA's dashboards read these names."""
    await breaker.call(succeed)
    await trip(breaker)
    await refused(breaker)
    at = clock.now_us() / 1_000_000
    assert await breaker.get_metrics() == {
        "name": "svc",
        "state": "open",
        "failure_count": 3,
        "total_calls": 5,
        "failed_calls": 3,
        "successful_calls": 1,
        "state_changes": 1,
        "last_failure_time": at,
        "last_success_time": at,
        "state_changed_at": at,
        "config": {"failure_threshold": 3, "timeout_seconds": 60, "recovery_timeout_seconds": 300},
    }


async def test_process_collector_counts_calls(breaker: CircuitBreaker) -> None:
    """Broken: TTA asserts that the global collector counts successful_calls and failed_calls."""
    await breaker.initialize()
    await breaker.call(succeed)
    await trip(breaker)
    await refused(breaker)
    collector = get_circuit_breaker_metrics()
    snapshot = collector.get_snapshot()
    assert (snapshot["successful_calls"], snapshot["failed_calls"]) == (1, 3)
    assert (snapshot["calls_permitted"], snapshot["calls_rejected"]) == (4, 1)
    assert snapshot["state_transitions"] == {"closed_to_open": 1}
    assert (snapshot["success_rate"], snapshot["rejection_rate"]) == (0.25, 0.2)
    assert collector.states == {"svc": CircuitBreakerState.OPEN}
    assert collector is get_circuit_breaker_metrics()


async def test_counters_survive_a_restart_in_v0s_form(
    client: Any, make_breaker: MakeBreaker, clock: ManualClock
) -> None:
    """Broken: a restart sets every counter to zero, or v0 cannot read them."""
    breaker = make_breaker()
    await breaker.initialize()
    await breaker.call(succeed)
    await fails(breaker, 1)
    await breaker.aclose()
    stored: dict[str, Any] = json.loads(await client.get("ao:cb:metrics:svc"))
    assert stored.pop("updated_at") == pytest.approx(time.time(), abs=60)
    at = clock.now_us() / 1_000_000
    assert stored == {
        "total_calls": 2,
        "failed_calls": 1,
        "successful_calls": 1,
        "state_changes": 0,
        "last_failure_time": at,
        "last_success_time": at,
    }
    heir = make_breaker()
    await heir.initialize()
    assert heir._metrics == CircuitBreakerMetrics(2, 1, 1, 0, at, at)


async def test_damaged_records_of_v0_are_ignored(client: Any, make_breaker: MakeBreaker) -> None:
    """Broken: a broken JSON keeps a process from starting."""
    for text in ("", "{", '{"state": "ajar"}', "[]"):
        for family in ("state", "metrics"):
            await client.set(f"ao:cb:{family}:svc", text)
        breaker = make_breaker()
        await breaker.initialize()
        assert (breaker._state, breaker._metrics) == ("closed", CircuitBreakerMetrics())


async def test_hand_set_state_is_what_decisions_read(make_breaker: MakeBreaker, clock: ManualClock) -> None:
    """Broken: TTA's tests force `_state` and `_state_changed_at` and expect the next call to follow."""
    breaker = make_breaker()
    await breaker.initialize()
    now = clock.now_us() / 1_000_000
    breaker._state = CircuitBreakerState.OPEN
    breaker._state_changed_at = now
    await refused(breaker)
    breaker._state_changed_at = now - 100
    assert breaker._state_changed_at == pytest.approx(now - 100)
    assert await breaker.call(succeed) == "fine"
    assert breaker._state == "half_open"
    breaker._state = CircuitBreakerState.CLOSED
    breaker._failure_count = 2
    await fails(breaker, 1)
    assert await breaker.get_state() == "open"
    breaker._state_changed_at = now - 100
    breaker._config = CircuitBreakerConfig(timeout_seconds=101)
    await refused(breaker)
    breaker._metrics = CircuitBreakerMetrics()
    assert (await breaker.get_metrics())["total_calls"] == 0
    breaker._state = CircuitBreakerState.HALF_OPEN
    assert await breaker.call(succeed) == "fine"


async def test_clients_with_and_without_decoding_work(lane: Lane, clock: ManualClock) -> None:
    """Broken: a client with `decode_responses=True` makes the breaker work locally, or not at all."""
    async with (
        CircuitBreaker(lane.client(decode_responses=True), "svc", clock=clock) as one,
        CircuitBreaker(lane.client(), "svc", clock=clock) as other,
    ):
        await one._transition_to_open()
        await eventually("the change was pushed", lambda: other._state == "open")
        await other.reset()
        await eventually("the change was pushed", lambda: one._state == "closed")


async def test_names_may_hold_colons_and_anything_else(make_breaker: MakeBreaker, client: Any) -> None:
    """Broken: TTA names breakers `workflow:<name>`."""
    breaker = make_breaker("workflow:a b|c")
    await trip(breaker)
    assert await client.exists("ao:cb:state:workflow:a b|c") == 1
    twin = make_breaker("workflow:a b|c")
    await twin.initialize()
    assert twin._state == "open"


async def test_hash_tags_put_one_breaker_into_one_slot(lane: Lane, clock: ManualClock) -> None:
    """Broken: on a cluster the keys of one script lie in different slots."""
    client: Any = lane.client()
    async with CircuitBreaker(client, "a:b", hash_tags=True, clock=clock) as breaker:
        await breaker._transition_to_open()
        assert sorted(await client.keys("*")) == [b"ao:cb:shared:{a:b}", b"ao:cb:state:{a:b}"]


def test_constructor_refuses_what_cannot_work() -> None:
    """Broken: a mistake shows in the middle of an outage."""
    client: Any = object()
    mistakes: list[tuple[dict[str, Any], str]] = [
        ({"name": ""}, "name"),
        ({"name": "x", "scope": "galaxy"}, "scope"),
        ({"name": "x", "key_prefix": ":"}, "key_prefix"),
        ({"name": "x}", "hash_tags": True}, "braces"),
    ]
    for options, message in mistakes:
        with pytest.raises(ValueError, match=message):
            CircuitBreaker(client, **options)
    cluster = aioredis.RedisCluster.__new__(aioredis.RedisCluster)
    with pytest.raises(ValueError, match="hash_tags=True"):
        CircuitBreaker(cluster, "x")


async def test_local_breaker_speaks_to_no_store(clock: ManualClock) -> None:
    """Broken: `scope="local"` needs a server."""
    client: Any = object()
    config = CircuitBreakerConfig(failure_threshold=1, success_threshold=1)
    async with CircuitBreaker(client, "x", config, scope="local", clock=clock) as breaker:
        with pytest.raises(Boom):
            await breaker.call(fail)
        await refused(breaker)
        clock.advance(60)
        assert await breaker.is_call_permitted()
        task = await Gate().begin(breaker)
        await cancelled(task)
        await breaker.call(succeed)
        assert await breaker.get_state() == "closed"
        await breaker._transition_to_open()
        await breaker.reset()
        assert "CircuitBreaker('x', closed, None)" in repr(breaker)
