"""Changes elsewhere: pushed inside `async with`, found by a look otherwise, and nothing left behind."""

# ruff: noqa: ANN401 - clients and results are of any kind here

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.library.resilience.calls import refused, succeed, trip
from tests.library.resilience.conftest import MakeBreaker
from tests.library.support.servers import Lane, RealLane
from tests.library.support.waiting import eventually
from tta_agent_coordination.resilience import CircuitBreaker, CircuitBreakerConfig, _breaker_push
from tta_agent_coordination.testing import ManualClock

ONE_FAILURE = CircuitBreakerConfig(failure_threshold=1)
CHANNEL = b"ao:cb:changes"


def other_tasks() -> set[asyncio.Task[Any]]:
    """Return every task but the test's own."""
    return asyncio.all_tasks() - {asyncio.current_task()}


async def subscribers(client: Any) -> int:
    """Return how many connections listen to the breakers' channel."""
    answer: list[Any] = await client.execute_command("PUBSUB", "NUMSUB", "ao:cb:changes")
    return int(dict(answer)[b"ao:cb:changes"] if isinstance(answer[0], tuple) else answer[1])


async def test_change_is_pushed_without_a_call(make_breaker: MakeBreaker, client: Any) -> None:
    """Broken: a process that is idle learns of an opening only after its next call has passed."""
    one, other = make_breaker(), make_breaker()
    async with other:
        await eventually("it listens", lambda: _listens(client))
        await trip(one)
        await eventually("the opening arrived", lambda: other._state == "open")
        await refused(other)
        await one.reset()
        await eventually("the closing arrived", lambda: other._state == "closed")


async def _listens(client: Any) -> bool:
    return await subscribers(client) > 0


async def test_one_subscription_for_all_breakers_of_a_client(
    lane: Lane, client: Any, clock: ManualClock
) -> None:
    """Broken: a hundred breakers take a hundred connections."""
    shared = lane.client()
    async with contextlib.AsyncExitStack() as stack:
        made = [
            await stack.enter_async_context(CircuitBreaker(shared, name, ONE_FAILURE, clock=clock))
            for name in ("a", "b", "c", "c")
        ]
        await eventually("they listen", lambda: _listens(client))
        assert await subscribers(client) == 1
        other = CircuitBreaker(lane.client(), "c", ONE_FAILURE, clock=clock)
        await other._transition_to_open()
        await eventually("both twins know", lambda: [each._state for each in made[2:]] == ["open", "open"])
        assert [each._state for each in made[:2]] == ["closed", "closed"]
        await made[0].aclose()
        assert await subscribers(client) == 1

    async def nobody() -> bool:
        return await subscribers(client) == 0

    assert not other_tasks()
    if lane.name == "real":  # fakeredis goes on counting connections that are closed
        await eventually("nobody listens", nobody)


async def test_nothing_outlives_the_last_call_without_closing(lane: Lane, clock: ManualClock) -> None:
    """Broken: a program that never calls `aclose`, like TTA, ends with pending tasks and open sockets."""
    breaker = CircuitBreaker(lane.client(), "svc", ONE_FAILURE, clock=clock)
    await breaker.initialize()
    await trip(breaker)
    clock.advance(60)
    await breaker.call(succeed)
    await breaker.get_state()
    await eventually("every task has ended", lambda: not other_tasks())


async def test_closing_twice_and_calling_afterwards_works(make_breaker: MakeBreaker) -> None:
    """Broken: shutdown code that closes twice, or calls late, raises."""
    breaker = make_breaker()
    async with breaker:
        pass
    await breaker.aclose()
    assert await breaker.call(succeed) == "fine"
    await breaker.aclose()
    assert not other_tasks()


async def test_subscription_survives_a_lost_connection(real_lane: RealLane, clock: ManualClock) -> None:
    """Broken: one broken connection ends the push for good."""
    client: Any = real_lane.client()
    async with CircuitBreaker(real_lane.client(), "svc", clock=clock) as breaker:
        await eventually("it listens", lambda: _listens(client))
        await client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        other = CircuitBreaker(real_lane.client(), "svc", clock=clock)
        await eventually("it listens again", lambda: _listens(client))
        await other._transition_to_open()
        await eventually("the opening arrived", lambda: breaker._state == "open")


async def test_foreign_messages_do_not_end_the_subscription(make_breaker: MakeBreaker, client: Any) -> None:
    """Broken: anything published on the channel deafens every breaker."""
    one, other = make_breaker(), make_breaker()
    async with other:
        await eventually("it listens", lambda: _listens(client))
        long = b"9" * 400  # a number that no float holds
        odd = [
            b"open|" + b"|".join(numbers) + b"|svc"
            for numbers in set(itertools.permutations((long, b"1", b"1")))
        ]
        for message in (b"\xff", b"hello", b"open|1|1|1|nobody", *odd):
            await client.publish("ao:cb:changes", message)
        await trip(one)
        await eventually("the opening arrived", lambda: other._state == "open")


@pytest.mark.parametrize("loops", [2])
def test_breaker_binds_to_no_loop_before_its_first_call(loops: int, clock: ManualClock) -> None:
    """Broken: a breaker made at import time works in the first event loop only."""
    client: Any = object()
    breaker = CircuitBreaker(client, "x", scope="local", clock=clock)
    for _ in range(loops):
        with asyncio.Runner() as runner:
            assert runner.run(breaker.call(succeed)) == "fine"


class Ear:
    """Somebody who wants to hear of changes, and counts."""

    def __init__(self) -> None:
        self.looks, self.changes = 0, 0

    def look_again(self) -> None:
        """Note that changes may have been missed."""
        self.looks += 1

    def changed_elsewhere(self, record: object) -> None:
        """Note a change."""
        del record
        self.changes += 1


async def test_subscription_that_breaks_for_good_is_made_again_and_everybody_looks(
    lane: Lane, client: Any, make_breaker: MakeBreaker, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: a client without retries is deaf after an outage, or does not know what it missed."""
    own: Any = lane.client()
    pubsub, broken, ear = own.pubsub, 1, Ear()

    def breaking() -> Any:
        nonlocal broken
        made: Any = pubsub()
        if broken:
            broken -= 1

            async def refuse(*_: Any, **__: Any) -> None:
                raise RedisConnectionError("gone")

            made.get_message = refuse
        return made

    own.pubsub = breaking
    with caplog.at_level("INFO"):
        _breaker_push.join(own, CHANNEL, "svc", ear)
        await eventually("it has looked twice", lambda: ear.looks == 2)
    assert "the subscription to b'ao:cb:changes' broke (gone), subscribing again" in caplog.text
    await eventually("it listens", lambda: _listens(client))
    await trip(make_breaker())
    await eventually("it heard", lambda: ear.changes == 1)
    await _breaker_push.leave(own, CHANNEL, "svc", ear)
    await eventually("every task has ended", lambda: not other_tasks())


async def test_leaving_twice_or_without_having_joined_takes_nobody_elses_place(lane: Lane) -> None:
    """Broken: a breaker that is closed twice ends the subscription of its twin."""
    own, ear, twin = lane.client(), Ear(), Ear()
    _breaker_push.join(own, CHANNEL, "svc", ear)
    _breaker_push.join(own, CHANNEL, "svc", twin)
    listener = _breaker_push._listeners[(id(own), CHANNEL)]
    assert repr(listener) == "ChangeListener(b'ao:cb:changes', ['svc'])"
    for _ in range(2):
        await _breaker_push.leave(own, CHANNEL, "svc", ear)
        await _breaker_push.leave(own, CHANNEL, "another", ear)
    assert listener.is_alive
    await _breaker_push.leave(own, CHANNEL, "svc", twin)
    await _breaker_push.leave(own, CHANNEL, "svc", twin)
    assert not other_tasks()


def test_leaving_in_a_later_loop_waits_for_nobody(sync_lane: tuple[asyncio.Runner, Lane]) -> None:
    """Broken: closing a breaker in a second event loop waits for a task of the first one, which is over."""
    runner, lane = sync_lane
    own, ear = lane.client(), Ear()

    async def join() -> None:
        _breaker_push.join(own, CHANNEL, "svc", ear)
        await eventually("it has looked", lambda: ear.looks == 1)

    with asyncio.Runner() as first:
        first.run(join())
    runner.run(_breaker_push.leave(own, CHANNEL, "svc", ear))
    assert (id(own), CHANNEL) not in _breaker_push._listeners
