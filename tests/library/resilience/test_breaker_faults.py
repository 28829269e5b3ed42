"""The breaker when the store is away, stalls or answers nonsense, and when processes die."""

# ruff: noqa: ANN401 - clients and results are of any kind here

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest
import redis.asyncio as aioredis

from tests.library.resilience.calls import Boom, Gate, cancelled, fails, refused, succeed, trip
from tests.library.resilience.conftest import MakeBreaker
from tests.library.resilience.process import CONFIG
from tests.library.support.commands import Send, count_commands, intercept
from tests.library.support.proxy import faulty_proxy
from tests.library.support.servers import RealLane, RealServer
from tests.library.support.waiting import eventually
from tta_agent_coordination._redis.breaker_scripts import breaker_renew, breaker_trip
from tta_agent_coordination._redis.script import load, run, script_names
from tta_agent_coordination.resilience import CircuitBreaker, CircuitBreakerConfig, CircuitBreakerState
from tta_agent_coordination.resilience._breaker_shell import ATTEMPTS, Admission, Verdict
from tta_agent_coordination.resilience._breaker_state import Ticket
from tta_agent_coordination.testing import ManualClock

ROOT = Path(__file__).parents[3]


@contextlib.contextmanager
def store_down(client: Any) -> Generator[None]:
    """Let every command of a client fail."""

    async def refuse(*_: Any) -> Any:
        raise aioredis.ConnectionError("nobody is there")

    with intercept(client, refuse):
        yield


@contextlib.contextmanager
def store_stalls(client: Any) -> Generator[None]:
    """Let every command of a client take longer than the breaker waits, with no time going by."""

    async def stall(*_: Any) -> Any:
        raise TimeoutError("it did not answer in time")

    with intercept(client, stall):
        yield


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the link said."""
    return [record.getMessage() for record in caplog.records if record.name.endswith("_breaker_link")]


async def test_breaker_works_locally_while_the_store_is_down(
    client: Any, make_breaker: MakeBreaker, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: without Redis nothing is protected, or nothing works; or the log drowns in the same warning."""
    breaker = make_breaker(client=client)
    with store_down(client):
        await breaker.initialize()
        await trip(breaker)
        await refused(breaker)
        clock.advance(60)
        gates = [Gate(), Gate()]
        tasks = [await gate.begin(breaker) for gate in gates]
        await refused(breaker)
        await cancelled(tasks[0])
        await breaker.call(succeed)
        gates[1].succeed()
        await tasks[1]
        assert breaker._state == "closed"
        await trip(breaker)
        clock.advance(60)
        await fails(breaker, 1)
        assert breaker._state == "open"
        await breaker.reset()
        await breaker._transition_to_open()
    (said,) = warnings_of(caplog)
    assert "works locally" in said
    assert "nobody is there" in said


def is_up(breaker: CircuitBreaker) -> bool:
    """Tell whether a breaker's store answers."""
    return breaker._shell.link is not None and breaker._shell.link.up is True


async def test_opening_during_an_outage_is_told_when_the_store_is_back(
    client: Any, make_breaker: MakeBreaker, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: what happened during an outage stays in one process for ever."""
    breaker, other = make_breaker(client=client), make_breaker()
    await breaker.initialize()
    with store_down(client):
        await trip(breaker)
    clock.advance(7)
    caplog.set_level(logging.INFO)
    await refused(breaker)
    await eventually("the store is asked again", lambda: is_up(breaker))
    await breaker.get_state()
    await other.initialize()
    assert other._state == "open"
    assert (await refused(other)).retry_after == pytest.approx(53)
    assert sum("answers again" in said for said in warnings_of(caplog)) == 1


async def test_verdict_of_a_probe_counts_locally_when_the_store_goes_away(
    client: Any, make_breaker: MakeBreaker, clock: ManualClock
) -> None:
    """Broken: probes that end during an outage leave the breaker half-open."""
    breaker = make_breaker(client=client)
    await trip(breaker)
    clock.advance(60)
    gates = [Gate(), Gate()]
    tasks = [await gate.begin(breaker) for gate in gates]
    with store_down(client):
        for gate in gates:
            gate.succeed()
        await asyncio.gather(*tasks)
        assert breaker._state == "closed"


async def test_failed_probe_that_a_stalling_store_never_saw_opens_for_everybody(
    client: Any, make_breaker: MakeBreaker, clock: ManualClock
) -> None:
    """Broken: the store's older half-open record, read after a stall, takes back what the probe found."""
    breaker, other = make_breaker(client=client), make_breaker()
    await trip(breaker)
    clock.advance(60)
    gate = Gate()
    probe = await gate.begin(breaker)
    with store_stalls(client):
        gate.fail()
        with pytest.raises(Boom):
            await probe
    assert breaker._state == "open"
    clock.advance(2)
    await breaker.initialize()
    await breaker.get_state()
    assert (await refused(breaker)).retry_after == pytest.approx(58)
    await other.initialize()
    assert (await refused(other)).retry_after == pytest.approx(58)


async def test_failed_local_probe_counts_when_the_store_is_back_before_it_ends(
    client: Any, make_breaker: MakeBreaker, clock: ManualClock
) -> None:
    """Broken: a look in between changes the epoch, and the verdict of a probe begun before it is dropped."""
    breaker = make_breaker(client=client)
    await trip(breaker)
    clock.advance(60)
    gate = Gate()
    with store_stalls(client):
        await breaker.initialize()
        probe = await gate.begin(breaker)
    await breaker.initialize()
    gate.fail()
    with pytest.raises(Boom):
        await probe
    await breaker.get_state()
    clock.advance(2)
    assert (await refused(breaker)).retry_after == pytest.approx(58)


async def test_local_half_open_becomes_shared_when_the_store_is_back(
    client: Any, make_breaker: MakeBreaker, clock: ManualClock
) -> None:
    """Broken: a half-open state the store knows nothing of lets nobody through any more."""
    breaker = make_breaker(client=client)
    with store_down(client):
        await trip(breaker)
        clock.advance(60)
        await breaker.call(succeed)
    assert breaker._state == "half_open"
    clock.advance(1)
    await breaker.initialize()
    await breaker.get_state()
    await breaker.call(succeed)
    await breaker.call(succeed)
    assert await breaker.get_state() == "closed"


async def test_emptied_store_closes_nobody(
    client: Any, make_breaker: MakeBreaker, clock: ManualClock
) -> None:
    """Broken: FLUSHALL, or a failover to an empty replica, lets every call through again."""
    breaker, other = make_breaker(), make_breaker()
    await trip(breaker)
    await client.flushall()
    clock.advance(2)
    await refused(breaker)
    await eventually("it was told again", lambda: _known(other))
    assert (await refused(other)).retry_after == pytest.approx(58)


async def _known(other: CircuitBreaker) -> bool:
    await other.initialize()
    return other._state == "open"


@pytest.fixture
def tta_mock() -> AsyncMock:
    """The client TTA's unit tests hand over: it knows `get` and `setex`, and everything else is a mock."""
    mock = AsyncMock()
    mock.get.return_value = None
    mock.setex.return_value = True
    return mock


async def test_mock_of_ttas_tests_makes_it_local(tta_mock: AsyncMock) -> None:
    """Broken: TTA's unit tests fail, or warn of coroutines that nobody awaited."""
    breaker = CircuitBreaker(
        tta_mock, "test_breaker", CircuitBreakerConfig(failure_threshold=5, timeout_seconds=60)
    )
    async with breaker:
        assert await breaker.call(succeed) == "fine"
        await trip(breaker)
        assert breaker._state is CircuitBreakerState.OPEN
        breaker._state_changed_at = time.time() - 100
        await breaker.call(succeed)
        assert breaker._state == "half_open"
        await breaker.reset()
        assert (breaker._state, breaker._failure_count) == ("closed", 0)
    names = {call[0] for call in tta_mock.mock_calls}
    assert not {name for name in names if "pubsub" in name or "pipeline" in name or "publish" in name}


async def test_hand_set_state_of_an_unused_breaker_decides(tta_mock: AsyncMock) -> None:
    """Broken: TTA sets the state before the first call; a missing Redis record must not override it."""
    breaker = CircuitBreaker(tta_mock, "test_breaker", CircuitBreakerConfig())
    breaker._state = CircuitBreakerState.OPEN
    breaker._state_changed_at = time.time()
    assert "OPEN" in str(await refused(breaker))
    breaker._state_changed_at = time.time() - 100
    assert await breaker.call(succeed) == "fine"
    assert breaker._state == "half_open"
    await breaker.aclose()


@pytest.mark.parametrize("slot_is_free", [True, False])
async def test_probe_cancelled_while_it_asks_gives_its_slot_back(
    real_lane: RealLane, clock: ManualClock, slot_is_free: bool
) -> None:
    """Broken: a caller who gives up while the grant is on its way takes the slot along."""
    config = CircuitBreakerConfig(failure_threshold=1, half_open_max_calls=1, success_threshold=1)
    async with faulty_proxy(real_lane.port) as proxy:
        breaker = CircuitBreaker(real_lane.client(port=proxy.port), "svc", config, clock=clock)
        other = CircuitBreaker(real_lane.client(), "svc", config, clock=clock)
        await trip(breaker)
        await other.initialize()
        clock.advance(60)
        gate = Gate()
        holder = None if slot_is_free else await gate.begin(other)
        await breaker._shell.look()  # so the call has no other question to ask than for its slot
        proxy.hold = 1
        call = asyncio.create_task(breaker.call(succeed))
        await eventually("the question is on the wire", lambda: proxy.held == 1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        proxy.word, proxy.seen = load("breaker_result").digest.encode(), 0
        assert breaker._shell._telling
        proxy.let_go()
        await eventually("the question is settled", lambda: not breaker._shell._telling)
        assert (proxy.seen > 0) is slot_is_free
        if holder is not None:
            await refused(breaker)
            gate.succeed()
            await holder
        else:
            assert await breaker.call(succeed) == "fine"
            assert await breaker.get_state() == "closed"
        assert await other.call(succeed) == "fine"
        await breaker.aclose()
        await other.aclose()


async def test_lost_reply_costs_no_slot_and_counts_once(real_lane: RealLane, clock: ManualClock) -> None:
    """Broken: a command that redis-py sends again takes a second slot, or counts twice."""
    config = CircuitBreakerConfig(failure_threshold=1, half_open_max_calls=1, success_threshold=2)
    async with faulty_proxy(real_lane.port) as proxy:
        breaker = CircuitBreaker(real_lane.client(port=proxy.port), "svc", config, clock=clock)
        await trip(breaker)
        clock.advance(60)
        await breaker.call(succeed)
        assert breaker._shell.view.successes == 1
        await breaker._transition_to_open()
        clock.advance(60)
        proxy.lose_replies = 1
        await breaker.call(succeed)
        assert await breaker.get_state() == "half_open"
        assert breaker._shell.view.successes == 1
        await breaker.call(succeed)
        assert await breaker.get_state() == "closed"
        await breaker.aclose()


@contextlib.contextmanager
def processes(port: int, mode: str, count: int, number: int) -> Generator[subprocess.Popen[str]]:
    """Run other processes for the length of a block."""
    words = [str(word) for word in (port, mode, count, number)]
    command = [sys.executable, "-m", "tests.library.resilience.process", *words]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as started:
        try:
            yield started
        finally:
            started.kill()


async def test_budget_is_never_exceeded_by_one_call(real_lane: RealLane) -> None:
    """Broken: of many processes that share a breaker, one more than the budget probed at once."""
    with processes(real_lane.port, "probe", 12, 3) as started:
        output, _ = await asyncio.to_thread(started.communicate)
    assert started.returncode == 0
    lines = [line.split() for line in output.splitlines()]
    runs = [(int(generation), int(began), int(ended)) for _, generation, began, ended in lines]
    assert len(runs) == 36
    runs = [run for run in runs if run[0]]
    assert len(runs) > 12
    for generation, began, _ in runs:
        at_once = [other for other in runs if other[0] == generation and other[1] <= began < other[2]]
        assert len(at_once) <= CONFIG.half_open_max_calls
    for generation in {other[0] for other in runs}:
        assert sum(other[0] == generation for other in runs) <= CONFIG.half_open_max_calls


async def test_killed_process_gives_its_probes_back(real_lane: RealLane) -> None:
    """Broken: kill -9 of the process that holds the probes leaves it half-open for ever."""
    breaker = CircuitBreaker(real_lane.client(), "svc", CONFIG)
    await breaker._transition_to_open()
    with processes(real_lane.port, "hold", 3, 1) as holder:
        assert holder.stdout is not None
        for _ in range(3):
            assert await asyncio.to_thread(holder.stdout.readline) == "holding\n"
        error = await refused(breaker)
        assert "HALF_OPEN" in str(error)
        holder.kill()
        holder.wait()

    async def passes() -> bool:
        return await breaker.is_call_permitted()

    for _ in range(3):  # each lease ends at its own time
        await eventually("a lease has ended", passes)
        await breaker.call(succeed)
    assert await breaker.get_state() == "closed"
    await breaker.aclose()


async def test_running_probe_keeps_its_slot_beyond_one_lease(real_lane: RealLane) -> None:
    """Broken: a probe that takes longer than its lease is joined by one more than the budget."""
    config = CircuitBreakerConfig(
        failure_threshold=1, timeout_seconds=0, half_open_max_calls=1, success_threshold=1
    )
    breaker, gate = CircuitBreaker(real_lane.client(), "svc", config), Gate()
    await breaker._transition_to_open()
    task = await gate.begin(breaker)
    client: Any = real_lane.client()

    async def deadline_us() -> float:
        ((_, score),) = await client.zrange("ao:cb:probes:svc", 0, -1, withscores=True)
        return float(score)

    first = await deadline_us()

    async def renewed() -> bool:
        return await deadline_us() > first + 300_000

    await eventually("the lease was renewed", renewed)
    assert "HALF_OPEN" in str(await refused(breaker))
    gate.succeed()
    await task
    assert await breaker.get_state() == "closed"
    await breaker.aclose()


async def test_renewal_ends_with_its_period(make_breaker: MakeBreaker, clock: ManualClock) -> None:
    """Broken: a probe that hangs renews a lease that is somebody else's by now."""
    breaker = make_breaker()
    await trip(breaker)
    clock.advance(60)
    shell = breaker._shell
    admission = await shell.admit(None)
    assert isinstance(admission, Admission)
    await breaker.reset()
    await asyncio.wait_for(shell.renew(admission), timeout=5)
    assert breaker._shell.view.state == "closed"


@pytest.mark.slow
async def test_stalled_server_stops_no_call(private_server: RealServer) -> None:
    """Broken: a server that accepts and never answers (SIGSTOP) stops what the breaker should protect."""
    client, other_client = (aioredis.Redis(port=private_server.port) for _ in range(2))
    config = CircuitBreakerConfig(failure_threshold=2, timeout_seconds=0.2, success_threshold=1)
    other = CircuitBreaker(other_client, "svc", config)
    async with CircuitBreaker(client, "svc", config) as breaker:
        private_server.pause()
        try:
            slowest, end = 0.0, time.monotonic() + 1.5
            while time.monotonic() < end:
                began = time.monotonic()
                await breaker.call(succeed)
                slowest = max(slowest, time.monotonic() - began)
                await asyncio.sleep(0.01)
            assert slowest < 0.9, "a call waited for the store"
            await fails(breaker, 2)
            await refused(breaker)
            await eventually("the probe's time has come", breaker.is_call_permitted)
            began = time.monotonic()
            await breaker.call(succeed)
            assert time.monotonic() - began < 4
            await fails(breaker, 2)
        finally:
            private_server.resume()
        await eventually("the opening was told, or forgotten in peace", lambda: _settled(breaker, other))
    await other.aclose()
    for each in (client, other_client):
        await each.aclose()


async def _settled(breaker: CircuitBreaker, other: CircuitBreaker) -> bool:
    with contextlib.suppress(Exception):
        await breaker.call(succeed)
    await other.initialize()
    return (
        breaker._shell.link is not None and breaker._shell.link.up is True and breaker._state == other._state
    )


async def test_nothing_is_shown_without_a_name(tta_mock: AsyncMock) -> None:
    """Broken: a log line with a breaker in it does not say which, nor whether its store answers."""
    breaker = CircuitBreaker(tta_mock, "test_breaker")
    assert repr(breaker) == "CircuitBreaker('test_breaker', closed, StoreLink('test_breaker', up=None))"
    await breaker.initialize()
    assert "up=False" in repr(breaker)


async def test_store_that_forgets_at_every_question_refuses_a_probe_and_does_not_hang(
    make_breaker: MakeBreaker, clock: ManualClock, client: Any
) -> None:
    """Broken: a store that never knows that the breaker is open makes a call ask for its slot for ever."""
    own: Any = aioredis.Redis(connection_pool=client.connection_pool)
    breaker = make_breaker(client=own)
    await trip(breaker)
    clock.advance(60)
    await breaker.call(succeed)
    asked = 0

    async def forget(send: Send, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        nonlocal asked
        if args[:2] == ("EVALSHA", load("breaker_probe").digest):
            asked += 1
            await client.flushall()
        return await send(*args, **options)

    with intercept(own, forget):
        error = await refused(breaker)
    assert "HALF_OPEN" in str(error)
    assert error.retry_after is None
    assert asked == ATTEMPTS


@pytest.mark.parametrize("seconds", [1, 3_600])
async def test_store_whose_clock_went_back_still_tells_who_closed(
    make_breaker: MakeBreaker, clock: ManualClock, seconds: float
) -> None:
    """Broken: for as long as a clock was ahead, a process does not believe that others closed the breaker."""
    breaker, other = make_breaker(), make_breaker()
    await trip(breaker)
    server = ManualClock(clock.now_us())
    for one in (breaker, other):
        assert one._shell.link is not None
        one._shell.link._clock = server
    clock.advance(1)
    server.advance(seconds + 1)
    await breaker.initialize()
    server.advance(-seconds)
    await other.initialize()
    await other.reset()
    clock.advance(60)
    assert await breaker.call(succeed) == "fine"
    assert await breaker.get_state() == "closed"


async def test_breaker_that_opened_by_a_clock_ahead_is_probed_again(
    make_breaker: MakeBreaker, clock: ManualClock
) -> None:
    """Broken: a clock that was a day ahead for a minute keeps every process from calling for a day."""
    breaker, other = make_breaker(), make_breaker()
    server = ManualClock(clock.now_us())
    for one in (breaker, other):
        assert one._shell.link is not None
        one._shell.link._clock = server
    server.advance(86_400)
    await trip(breaker)
    server.advance(-86_400)
    await other.initialize()
    for late in (60, 0):
        for ticking in (clock, server):
            ticking.advance(60)
        if late:
            assert (await refused(other)).retry_after == late
    for _ in range(2):
        assert await other.call(succeed) == "fine"
    assert await other.get_state() == "closed"
    assert await breaker.call(succeed) == "fine"


async def test_full_server_takes_what_is_shared(private_server: RealServer, clock: ManualClock) -> None:
    """Broken: a full server that refuses counters counts as one that is down, and nothing is shared."""
    lane = RealLane(port=private_server.port)
    config = CircuitBreakerConfig(failure_threshold=3, timeout_seconds=60)
    one, other = (CircuitBreaker(lane.client(), "svc", config, clock=clock) for _ in range(2))
    client: Any = lane.client()
    for name in script_names():
        await client.execute_command("SCRIPT LOAD", load(name).text)
    await client.execute_command("CONFIG", "SET", "maxmemory", "1")
    await one.call(succeed)
    await one.call(succeed)
    clock.advance(2)
    await one.call(succeed)
    await trip(one)
    assert await one.get_state() == "open"
    await other.initialize()
    assert await other.get_state() == "open"
    clock.advance(60)
    shell = other._shell
    admission = await shell.admit(None)
    assert isinstance(admission, Admission)
    renewed = breaker_renew(
        shell._keys,
        probe=admission.probe,
        generation=admission.generation,
        lease_us=20_000_000,
        now_us=str(clock.now_us()),
    )
    assert (await run(client, renewed)).deadline_us == clock.now_us() + 20_000_000
    await shell.conclude(admission, Verdict.FAILED)
    earlier = breaker_trip(
        shell._keys,
        generation=shell.view.generation,
        now_us=str(clock.now_us()),
        age_us=1_000_000,
        failures=1,
        ttl_ms=86_400_000,
    )
    assert (await run(client, earlier)).record.age == 1
    for breaker in (one, other):
        assert breaker._shell.link is not None
        assert breaker._shell.link.up
        await breaker.aclose()
    await lane.close()


async def test_opening_by_hand_gives_up_where_somebody_closes_every_time(
    client: Any, make_breaker: MakeBreaker
) -> None:
    """Broken: who opens by hand and who resets by hand fight for ever."""
    breaker, other = make_breaker(client=client), make_breaker()
    trips = 0

    async def around(send: Send, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        nonlocal trips
        if args[:2] == ("EVALSHA", load("breaker_trip").digest):
            trips += 1
            await other._transition_to_open()
            await other.reset()
        return await send(*args, **options)

    with intercept(client, around):
        await asyncio.wait_for(breaker._transition_to_open(), timeout=10)
    assert trips == ATTEMPTS
    assert await breaker.get_state() == "closed"
    assert await other.get_state() == "closed"


async def test_breaker_without_a_store_has_no_lease_to_renew(client: Any) -> None:
    """Broken: a renewal with nobody to tell goes on for ever, or tells somebody."""
    breaker = CircuitBreaker(client, "svc", CircuitBreakerConfig(), scope="local")
    admission = Admission(ticket=Ticket(epoch=0), probe="probe", generation=1)
    with count_commands(client) as counted:
        await asyncio.wait_for(breaker._shell.renew(admission), timeout=5)
    assert counted.names == []
