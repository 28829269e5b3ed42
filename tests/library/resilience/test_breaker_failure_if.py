"""Which errors of a call count against what a breaker protects: `CircuitBreakerConfig.failure_if`."""

from __future__ import annotations

import logging

import pytest

from tests.library.resilience.calls import Boom, fail, fails, succeed, trip
from tests.library.resilience.conftest import MakeBreaker
from tta_agent_coordination.resilience import (
    CircuitBreaker,
    CircuitBreakerConfig,
    get_circuit_breaker_metrics,
)
from tta_agent_coordination.testing import ManualClock


class NotFound(Exception):  # noqa: N818 - an answer, not a failure
    """What a service that is well says of what it does not have."""


def is_outage(error: Exception) -> bool:
    """All but answers are failures."""
    return not isinstance(error, NotFound)


async def not_found() -> None:
    """Answer."""
    raise NotFound


async def answered(breaker: CircuitBreaker, times: int = 1) -> None:
    """Let calls raise what is no failure."""
    for _ in range(times):
        with pytest.raises(NotFound):
            await breaker.call(not_found)


async def test_answers_open_nothing_and_count_as_successes(make_breaker: MakeBreaker) -> None:
    """Broken: a healthy service is cut off because people ask for what it does not have."""
    breaker = make_breaker(failure_if=is_outage)
    await answered(breaker, 9)
    assert await breaker.get_state() == "closed"
    metrics = await breaker.get_metrics()
    assert [metrics[name] for name in ("total_calls", "successful_calls", "failed_calls")] == [9, 9, 0]
    assert metrics["last_failure_time"] is None
    assert get_circuit_breaker_metrics().failed_calls == 0


@pytest.mark.parametrize("error", [Boom(), KeyError("key"), ExceptionGroup("some", [Boom()])])
def test_without_a_rule_every_error_is_a_failure(error: Exception) -> None:
    """Broken: a breaker that nobody told anything about errors never opens."""
    assert CircuitBreakerConfig().failure_if(error) is True


async def test_an_answer_sets_the_count_of_failures_back(make_breaker: MakeBreaker) -> None:
    """Broken: failures with answers between them are taken for failures in a row."""
    breaker = make_breaker(failure_if=is_outage)
    await fails(breaker, 2)
    await answered(breaker)
    await fails(breaker, 2)
    assert await breaker.get_state() == "closed"
    await fails(breaker)
    assert await breaker.get_state() == "open"


async def test_answered_probes_close(make_breaker: MakeBreaker, clock: ManualClock) -> None:
    """Broken: a breaker stays open while all that its probes get are answers."""
    here, there = make_breaker(failure_if=is_outage), make_breaker(failure_if=is_outage)
    await trip(here)
    await there.initialize()
    clock.advance(60)
    await answered(there)
    assert await there.get_state() == "half_open"
    await answered(there)
    assert await there.get_state() == "closed"
    assert (await there.get_metrics())["successful_calls"] == 2
    await here.initialize()
    assert await here.get_state() == "closed"


async def test_failing_probe_opens_again(make_breaker: MakeBreaker, clock: ManualClock) -> None:
    """Broken: with a rule of its own, no probe can fail any more."""
    breaker = make_breaker(failure_if=is_outage)
    await trip(breaker)
    clock.advance(60)
    await fails(breaker)
    assert await breaker.get_state() == "open"


async def test_block_that_ends_by_an_answer_is_a_success(make_breaker: MakeBreaker) -> None:
    """Broken: blocks are judged by another rule than calls."""
    breaker = make_breaker(failure_if=is_outage, failure_threshold=1)
    with pytest.raises(NotFound):
        async with breaker.guard():
            raise NotFound
    assert await breaker.get_state() == "closed"
    with pytest.raises(Boom):
        async with breaker.guard():
            raise Boom
    assert await breaker.get_state() == "open"


@pytest.mark.parametrize("half_open", [False, True])
async def test_rule_that_raises_counts_as_failure_and_hides_no_error(
    make_breaker: MakeBreaker, clock: ManualClock, caplog: pytest.LogCaptureFixture, *, half_open: bool
) -> None:
    """Broken: a defect in the rule takes the error's place, or keeps a probe's slot."""

    def broken(error: Exception) -> bool:
        raise KeyError(error)

    breaker = make_breaker(failure_threshold=1, half_open_max_calls=1)
    if half_open:
        await trip(breaker)
        clock.advance(60)
    breaker._config.failure_if = broken
    with pytest.raises(Boom):
        await breaker.call(fail)
    assert await breaker.get_state() == "open"
    [said] = [record for record in caplog.records if "failure_if" in record.getMessage()]
    assert said.levelno == logging.ERROR
    assert said.getMessage() == "Circuit breaker svc: failure_if raised; the call counts as a failure"
    assert said.exc_info is not None
    assert said.exc_info[0] is KeyError
    clock.advance(60)
    await breaker.call(succeed)
    assert await breaker.get_state() == "half_open"
