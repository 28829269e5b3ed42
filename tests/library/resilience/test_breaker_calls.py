"""What one call leaves behind: counters, log records with their correlation, and when the store is asked."""

# ruff: noqa: ANN401 - clients and results are of any kind here

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import pytest
import redis.asyncio as aioredis

from tests.library.resilience.calls import Boom, Gate, cancelled, fails, refused, succeed, trip
from tests.library.resilience.conftest import MakeBreaker
from tests.library.support.commands import count_commands
from tests.library.support.waiting import eventually
from tta_agent_coordination.exceptions import CircuitBreakerOpenError
from tta_agent_coordination.resilience import CircuitBreaker, CircuitBreakerState, get_circuit_breaker_metrics
from tta_agent_coordination.resilience._breaker_shell import Admission, BreakerShell
from tta_agent_coordination.resilience._breaker_state import Ticket
from tta_agent_coordination.resilience.breaker import _Renewal
from tta_agent_coordination.testing import ManualClock


def logged(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, Any]]:
    """Return the fields of the records of one kind of event."""
    kind = f"circuit_breaker_{event}"
    found = (vars(record) for record in caplog.records)
    return [fields for fields in found if fields.get("event_type") == kind]


@pytest.mark.parametrize("half_open", [False, True])
async def test_failed_call_is_logged_with_what_it_cost(
    make_breaker: MakeBreaker, clock: ManualClock, caplog: pytest.LogCaptureFixture, *, half_open: bool
) -> None:
    """Broken: the log of a failure names another breaker, another duration, or nobody's request."""
    caplog.set_level(logging.INFO)
    breaker = make_breaker(failure_threshold=1)
    await breaker.initialize()
    if half_open:
        await trip(breaker)
        clock.advance(60)
        caplog.clear()

    async def slow() -> None:
        clock.advance(1.5)
        raise Boom("it broke")

    with pytest.raises(Boom):
        await breaker.call(slow, correlation_id="id-1")
    assert await breaker.get_state() == "open"
    [failed] = logged(caplog, "failed_call")
    told = {name: failed[name] for name in ("circuit_breaker_name", "error", "duration_ms", "correlation_id")}
    assert told == {
        "circuit_breaker_name": "svc",
        "error": "it broke",
        "duration_ms": pytest.approx(1500.0, abs=0.001),
        "correlation_id": "id-1",
    }
    opening = logged(caplog, "state_transition")[-1]
    assert (opening["to_state"], opening["correlation_id"]) == ("open", "id-1")


@pytest.mark.parametrize(
    ("probes", "reason"), [(0, "circuit_breaker_open"), (2, "half_open_max_calls_reached")]
)
async def test_refused_call_is_logged_with_its_reason(
    make_breaker: MakeBreaker,
    clock: ManualClock,
    caplog: pytest.LogCaptureFixture,
    probes: int,
    reason: str,
) -> None:
    """Broken: v0's readers cannot tell an open breaker from one whose probes are under way."""
    caplog.set_level(logging.INFO)
    breaker = make_breaker()
    await trip(breaker)
    clock.advance(60 if probes else 0)
    tasks = [await Gate().begin(breaker) for _ in range(probes)]
    with pytest.raises(CircuitBreakerOpenError):
        await breaker.call(succeed, correlation_id="id-1")
    [rejected] = logged(caplog, "call_rejected")
    told = [rejected[name] for name in ("circuit_breaker_name", "reason", "correlation_id")]
    assert told == ["svc", reason, "id-1"]
    for task in tasks:
        await cancelled(task)


async def test_successes_are_counted_one_by_one(make_breaker: MakeBreaker) -> None:
    """Broken: a breaker of thousands of calls reports one success."""
    breaker = make_breaker()
    for _ in range(3):
        await breaker.call(succeed)
    metrics = await breaker.get_metrics()
    assert (metrics["total_calls"], metrics["successful_calls"]) == (3, 3)
    assert get_circuit_breaker_metrics().successful_calls == 3


async def test_initialised_breaker_is_among_the_states(make_breaker: MakeBreaker) -> None:
    """Broken: an exporter shows no breaker before its first change, or one without a state."""
    await make_breaker().initialize()
    assert get_circuit_breaker_metrics().states == {"svc": CircuitBreakerState.CLOSED}


async def test_late_success_of_a_call_does_not_close_its_own_breaker(make_breaker: MakeBreaker) -> None:
    """Broken: a call that began while all was well comes back late and closes what has opened since."""
    breaker = make_breaker()
    gate = Gate()
    task = await gate.begin(breaker)
    await trip(breaker)
    gate.succeed()
    await task
    assert await breaker.get_state() == "open"
    await refused(breaker)


async def test_success_sets_the_count_back(make_breaker: MakeBreaker) -> None:
    """Broken: failures far apart add up, or a success is held against the next call."""
    breaker = make_breaker()
    await fails(breaker, 2)
    await breaker.call(succeed, correlation_id="id-1")
    assert breaker._failure_count == 0
    await fails(breaker, 2)
    assert await breaker.get_state() == "closed"


async def test_function_that_returns_no_awaitable_can_probe(
    make_breaker: MakeBreaker, clock: ManualClock
) -> None:
    """Broken: what a closed breaker calls, a half-open one does not, so that it never closes."""
    breaker = make_breaker(success_threshold=1)
    await trip(breaker)
    clock.advance(60)

    def add(one: int, *, other: int) -> Any:
        return one + other

    assert await breaker.call(add, 1, other=2) == 3
    assert await breaker.get_state() == "closed"


async def test_half_open_breaker_asks_the_store_whether_there_is_room(
    make_breaker: MakeBreaker, clock: ManualClock
) -> None:
    """Broken: `is_call_permitted` promises a place that other processes' probes have taken."""
    here, there = make_breaker(), make_breaker()
    await trip(here)
    await there.initialize()
    clock.advance(60)
    tasks = [await Gate().begin(here)]
    assert await here.is_call_permitted() is True
    tasks.append(await Gate().begin(there))
    assert await here.is_call_permitted() is False
    for task in tasks:
        await cancelled(task)


@pytest.mark.parametrize("opened", [False, True])
async def test_asking_sends_nothing_where_the_state_decides(
    client: Any, make_breaker: MakeBreaker, *, opened: bool
) -> None:
    """Broken: each question of a closed or an open breaker costs a command."""
    breaker = make_breaker(client=client)
    await breaker.initialize()
    if opened:
        await trip(breaker)
    with count_commands(client) as sent:
        assert await breaker.is_call_permitted() is not opened
    assert sent.names == []


async def test_look_is_due_after_exactly_a_second(
    client: Any, make_breaker: MakeBreaker, clock: ManualClock
) -> None:
    """Broken: a breaker that is only asked for its state never learns of others, or asks each time."""
    breaker = make_breaker(client=client)
    await breaker.initialize()
    with count_commands(client) as sent:
        clock.advance(0.999999)
        await breaker.get_state()
        await asyncio.sleep(0)
        assert sent.names == []
        clock.advance(0.000001)
        await breaker.get_state()
        await eventually("it has looked", lambda: bool(sent.names))


async def test_probe_that_takes_long_renews_its_slot(
    make_breaker: MakeBreaker, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a probe that takes longer than its lease loses its place to another one."""
    breaker, gate, renewed = make_breaker(), Gate(), list[Admission]()
    await trip(breaker)
    clock.advance(60)

    async def renew(admission: Admission) -> None:
        renewed.append(admission)

    monkeypatch.setattr(BreakerShell, "lease", 0.09)
    monkeypatch.setattr(breaker._shell, "renew", renew)
    task = await gate.begin(breaker)
    await eventually("it was renewed", lambda: bool(renewed))
    assert renewed[0].probe
    gate.succeed()
    await task


async def test_renewal_is_due_well_within_the_lease(make_breaker: MakeBreaker) -> None:
    """Broken: the first renewal comes when the slot is somebody else's already."""
    shell = make_breaker(timeout_seconds=60)._shell
    now = asyncio.get_running_loop().time()
    renewal = _Renewal(shell, Admission(ticket=Ticket(epoch=0), probe="p"))
    assert renewal._timer.when() < now + shell.lease
    renewal.cancel()


async def test_stamps_are_of_the_wall_clock(make_breaker: MakeBreaker) -> None:
    """Broken: v0 and dashboards read seconds since this machine was started."""
    breaker = make_breaker(clock=None)
    before = time.time()
    await breaker.call(succeed)
    await fails(breaker)
    metrics = await breaker.get_metrics()
    assert before <= metrics["last_success_time"] <= metrics["last_failure_time"] <= time.time()


def test_local_breaker_takes_a_cluster_client() -> None:
    """Broken: whoever shares nothing has to choose how keys are laid out."""
    cluster = aioredis.RedisCluster.__new__(aioredis.RedisCluster)
    assert "None" in repr(CircuitBreaker(cluster, "x", scope="local"))
