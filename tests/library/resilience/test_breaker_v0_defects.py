"""Each defect of v0's breaker: shown on a model of v0's steps, and gone here.

Every test runs the same story twice. The first half must show the defect, or the test proves nothing.
"""

# ruff: noqa: ANN401 - clients and results are of any kind here

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.library.conftest import START_US
from tests.library.resilience.calls import Boom, Gate, cancelled, fail, fails, refused, succeed, trip
from tests.library.resilience.conftest import MakeBreaker
from tests.library.resilience.v0_breaker import V0Breaker, V0OpenError
from tests.library.support.commands import intercept
from tests.library.support.waiting import eventually
from tta_agent_coordination.testing import ManualClock

V0: dict[str, Any] = {"failure_threshold": 3, "max_calls": 2, "successes": 2}


def wall_of(clock: ManualClock) -> Any:
    """Return a machine's clock that goes with the manual one."""
    return lambda: clock.now_us() / 1_000_000


async def v0_fails(breaker: V0Breaker, times: int) -> None:
    for _ in range(times):
        with pytest.raises(Boom):
            await breaker.call(fail)


async def test_state_is_shared_between_processes(
    client: Any, make_breaker: MakeBreaker, clock: ManualClock
) -> None:
    """Broken: the state is per process; each one hammers the failing side until it has counted for itself."""
    one, other = (V0Breaker(client, "v0", wall=wall_of(clock), **V0) for _ in range(2))
    await v0_fails(one, 3)
    assert await other.call(succeed) == "fine"

    ours, theirs = make_breaker(), make_breaker()
    await theirs.initialize()
    await trip(ours)
    clock.advance(1)
    await theirs.call(succeed)
    await eventually("the look once a second has seen it", lambda: theirs._state == "open")
    await refused(theirs)


async def test_stale_writer_does_not_close_an_open_breaker(
    client: Any, make_breaker: MakeBreaker, clock: ManualClock
) -> None:
    """Broken: a process that still believes in closed writes that over the opening of another."""
    one, stale = (V0Breaker(client, "v0", wall=wall_of(clock), **V0) for _ in range(2))
    await v0_fails(one, 3)
    await v0_fails(stale, 1)
    newcomer = V0Breaker(client, "v0", wall=wall_of(clock), **V0)
    await newcomer.initialize()
    assert newcomer.state == "closed"

    await trip(make_breaker())
    await v0_fails(V0Breaker(client, "svc", wall=wall_of(clock), **V0), 1)
    assert json.loads(await client.get("ao:cb:state:svc"))["state"] == "closed"
    late = make_breaker()
    await late.initialize()
    assert late._state == "open"
    await refused(late)


async def test_cancelled_probe_does_not_keep_its_place(
    client: Any, make_breaker: MakeBreaker, clock: ManualClock
) -> None:
    """Broken: half-open sticks for ever once its probes were cancelled; only a restart helps."""
    old = V0Breaker(client, "v0", wall=wall_of(clock), **V0)
    await v0_fails(old, 3)
    clock.advance(60)
    for _ in range(2):
        gate = Gate()
        await cancelled(await gate.inside(asyncio.create_task(old.call(gate))))
    clock.advance(86_400)
    with pytest.raises(V0OpenError):
        await old.call(succeed)

    breaker = make_breaker()
    await trip(breaker)
    clock.advance(60)
    for _ in range(5):
        await cancelled(await Gate().begin(breaker))
        assert await breaker.get_state() == "half_open"
    await breaker.call(succeed)
    await breaker.call(succeed)
    assert await breaker.get_state() == "closed"


async def test_rare_errors_over_weeks_do_not_open_it(
    client: Any, make_breaker: MakeBreaker, clock: ManualClock
) -> None:
    """Broken: failures add up for ever, so a few errors a week open the breaker."""
    old, breaker = V0Breaker(client, "v0", wall=wall_of(clock), **V0), make_breaker()
    for number in range(4):
        await v0_fails(old, 1 if number < 3 else 0)
        await fails(breaker, 1)
        for _ in range(19):
            if number < 2:
                await old.call(succeed)
            await breaker.call(succeed)
            clock.advance(3600)
    assert old.state == "open"
    assert breaker._state == "closed"


async def test_success_begun_before_the_trip_does_not_close_it(
    client: Any, make_breaker: MakeBreaker, clock: ManualClock
) -> None:
    """Broken: calls that began while all was well return late and vouch for a side that is down."""
    old, breaker = V0Breaker(client, "v0", wall=wall_of(clock), **V0), make_breaker()
    old_gates, gates = [Gate(), Gate()], [Gate(), Gate()]
    old_tasks = [asyncio.create_task(old.call(gate)) for gate in old_gates]
    for gate, task in zip(old_gates, old_tasks, strict=True):
        await gate.inside(task)
    tasks = [await gate.begin(breaker) for gate in gates]
    await v0_fails(old, 3)
    await trip(breaker)
    clock.advance(60)
    old_probe, probe = asyncio.create_task(old.call(Gate())), await Gate().begin(breaker)
    await eventually("v0's probe runs", lambda: old.state == "half_open")
    for gate in (*old_gates, *gates):
        gate.succeed()
    await asyncio.gather(*old_tasks, *tasks)
    assert old.state == "closed"
    assert await breaker.get_state() == "half_open"
    assert breaker._shell.view.successes == 0
    for task in (old_probe, probe):
        await cancelled(task)


async def test_closed_call_waits_for_no_command(client: Any, make_breaker: MakeBreaker) -> None:
    """Broken: every call waits for SETEX inside a lock; a slow store lines up what it should protect."""
    never = asyncio.Event()

    async def stalled(*_: Any) -> None:
        await never.wait()

    old, breaker = V0Breaker(client, "v0", **V0), make_breaker(client=client, clock=None)
    with intercept(client, stalled):
        old_call = asyncio.create_task(old.call(succeed))
        for _ in range(100):
            assert await asyncio.wait_for(breaker.call(succeed), timeout=0.5) == "fine"
        assert not old_call.done()
        await cancelled(old_call)
        never.set()
        await breaker.aclose()


async def test_opening_of_a_v0_process_trips_ours(
    client: Any, make_breaker: MakeBreaker, clock: ManualClock
) -> None:
    """Broken: during the change-over, ours goes on calling what v0 has found to be down."""
    ours = make_breaker()
    await ours.initialize()
    clock.advance(5)
    await v0_fails(V0Breaker(client, "svc", wall=wall_of(clock), **V0), 3)
    await ours.call(succeed)
    await eventually("the look has seen v0's opening", lambda: ours._state == "open")
    assert await ours.get_state() == "open"
    other = make_breaker()
    await other.initialize()
    await refused(other)


async def test_old_opening_of_a_v0_process_is_ignored(
    client: Any, make_breaker: MakeBreaker, clock: ManualClock
) -> None:
    """Broken: a v0 process writes its old opening again and again, and undoes our closing."""
    slow_clock = ManualClock(START_US - 7_200_000_000)
    old = V0Breaker(client, "svc", wall=wall_of(slow_clock), **V0)
    await v0_fails(old, 3)
    ours = make_breaker()
    await ours.initialize()
    assert ours._state == "open"
    await ours.reset()
    for _ in range(3):
        for moved in (clock, slow_clock):
            moved.advance(10)
        await old.persist()
        await ours.initialize()
        assert ours._state == "closed"
