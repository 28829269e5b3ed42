"""Retrying: v0's function form, the decorator, and v0's defects."""

# ruff: noqa: ANN401 - clients and results are of any kind here

from __future__ import annotations

import asyncio
import inspect
import logging
import math
import re
import threading
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.library.resilience.calls import Boom, Gate, cancelled
from tests.library.resilience.v0_breaker import V0RetryError, v0_retry
from tta_agent_coordination.exceptions import CoordinationError, RetryExhaustedError
from tta_agent_coordination.resilience import RetryConfig, retry_with_backoff, retry_without_sleeping
from tta_agent_coordination.resilience import retry as retry_module
from tta_agent_coordination.resilience._backoff import delay_before_retry

AT_ONCE = RetryConfig(base_delay=0)


class Flaky:
    """A function that fails a number of times; counts its calls and keeps their arguments."""

    def __init__(self, failures: int, error: Exception | None = None) -> None:
        self.left = failures
        self.error = error or Boom("no luck")
        self.calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def __call__(self, *args: Any, **kwargs: Any) -> str:
        self.calls.append((args, kwargs))
        if self.left:
            self.left -= 1
            raise self.error
        return "fine"

    async def wait(self, *args: Any, **kwargs: Any) -> str:
        """Do the same, asynchronously."""
        await asyncio.sleep(0)
        return self(*args, **kwargs)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record the waits between attempts instead of waiting."""
    waits: list[float] = []

    async def note(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(retry_module, "_sleep_async", note)
    monkeypatch.setattr(retry_module, "_sleep", waits.append)
    return waits


async def test_function_form_passes_arguments_and_returns_the_result() -> None:
    """Broken: TTA's adapters call it this way, with arguments for the function."""
    flaky = Flaky(2)
    assert await retry_with_backoff(flaky.wait, AT_ONCE, 1, max_retries=7, retry_config="mine") == "fine"
    assert flaky.calls == [((1,), {"max_retries": 7, "retry_config": "mine"})] * 3


async def test_function_form_calls_a_synchronous_function() -> None:
    """Broken: v0 called synchronous functions inline."""
    flaky = Flaky(1)
    assert await retry_with_backoff(flaky, AT_ONCE, "x") == "fine"
    assert len(flaky.calls) == 2


async def test_exhaustion_says_what_v0_said_and_keeps_the_cause() -> None:
    """Broken: nobody can tell why; TTA's tests read the message."""
    flaky = Flaky(9)
    with pytest.raises(RetryExhaustedError) as caught:
        await retry_with_backoff(flaky.wait, AT_ONCE)
    assert str(caught.value) == "All 4 attempts failed. Last error: no luck"
    assert caught.value.__cause__ is flaky.error
    assert isinstance(caught.value, CoordinationError)
    with pytest.raises(V0RetryError) as before:
        await v0_retry(Flaky(9).wait)
    assert str(before.value) == str(caught.value)
    assert before.value.__cause__ is None, "v0 loses the cause"


@pytest.mark.parametrize(
    "error", [TypeError(), NameError(), AttributeError(), AssertionError(), NotImplementedError()]
)
async def test_programming_errors_are_not_retried(error: Exception) -> None:
    """Broken: a typing error is repeated for minutes and then dressed up as a communication problem."""
    old, flaky = Flaky(9, error), Flaky(9, error)
    with pytest.raises(V0RetryError):
        await v0_retry(old.wait)
    assert len(old.calls) == 4
    with pytest.raises(type(error)) as caught:
        await retry_with_backoff(flaky.wait, AT_ONCE)
    assert (caught.value, len(flaky.calls)) == (error, 1)


async def test_lambda_that_returns_a_coroutine_is_awaited() -> None:
    """Broken: the coroutine itself is returned as success, and the call never happens."""
    flaky = Flaky(1)
    unawaited: Any = await v0_retry(lambda: flaky.wait())
    assert asyncio.iscoroutine(unawaited)
    unawaited.close()
    assert await retry_with_backoff(lambda: flaky.wait(), AT_ONCE) == "fine"
    decorated: Any = retry_with_backoff(AT_ONCE)(lambda: flaky.wait())
    flaky.left = 1
    assert await decorated() == "fine"
    flaky.left = 9
    with pytest.raises(RetryExhaustedError, match="All 4 attempts"):
        await decorated()


async def test_many_retries_do_not_overflow(slept: list[float]) -> None:
    """Broken: the power overflows a float after 1,024 doublings and ends the retry with another error."""
    with pytest.raises(OverflowError):
        await v0_retry(Flaky(2_000), max_retries=1_100)
    config = RetryConfig(max_retries=1_100, base_delay=0.5, jitter=False)
    assert await retry_with_backoff(Flaky(1_100), config) == "fine"
    assert slept[-1] == 60


async def test_delays_grow_to_the_cap(slept: list[float]) -> None:
    """Broken: waits differ from v0's."""
    config = RetryConfig(max_retries=5, base_delay=1, max_delay=6, exponential_base=2, jitter=False)
    await retry_with_backoff(Flaky(5), config)
    assert slept == [1, 2, 4, 6, 6]


async def test_jitter_stays_between_half_and_whole(slept: list[float]) -> None:
    """Broken: callers that failed together come back together, or later than the cap."""
    await retry_with_backoff(Flaky(200), RetryConfig(max_retries=200, base_delay=8, exponential_base=1))
    assert all(4 <= wait <= 8 for wait in slept)
    assert max(slept) - min(slept) > 2


@given(
    retry=st.integers(0, 10**6),
    base=st.floats(0, 1e308),
    factor=st.floats(1, 1e308),
    longest=st.floats(0, 1e308),
    spread=st.floats(0, 1),
)
def test_delay_is_finite_and_never_above_the_cap(
    retry: int, base: float, factor: float, longest: float, spread: float
) -> None:
    """Broken: some finite configuration waits for ever, or ends in OverflowError."""
    delay = delay_before_retry(retry, base=base, factor=factor, longest=longest, spread=spread)
    assert 0 <= delay <= longest
    whole = delay_before_retry(retry, base=base, factor=factor, longest=longest)
    assert delay >= whole / 2 - math.ulp(whole)
    assert whole >= min(base, longest)


def test_no_delay_stays_none_after_any_number_of_retries() -> None:
    """Broken: a retry that is to come at once waits a second, or the longest time, after 1,024 doublings."""
    assert delay_before_retry(10**6, base=0, factor=2, longest=60) == 0
    assert delay_before_retry(10**6, base=0.1, factor=2, longest=60) == 60


async def test_config_is_read_at_every_attempt(slept: list[float]) -> None:
    """Broken: TTA changes base_delay while a retry runs."""
    config = RetryConfig(max_retries=1, base_delay=1, jitter=False)

    def change() -> None:
        config.max_retries, config.base_delay = 2, 7
        raise Boom

    with pytest.raises(RetryExhaustedError, match="All 3 attempts"):
        await retry_with_backoff(change, config)
    assert slept == [7, 14]


async def test_predicate_decides_what_is_worth_another_attempt() -> None:
    """Broken: what the user knows to be permanent is retried."""
    config = RetryConfig(base_delay=0, retry_if=lambda error: not isinstance(error, Boom))
    flaky = Flaky(9)
    with pytest.raises(Boom):
        await retry_with_backoff(flaky.wait, config)
    assert len(flaky.calls) == 1
    assert await retry_with_backoff(Flaky(2, TypeError()).wait, config) == "fine"


async def test_deadline_starts_no_late_attempt(slept: list[float]) -> None:
    """Broken: a caller with ten seconds left waits for a minute first."""
    flaky = Flaky(9)
    config = RetryConfig(max_retries=9, base_delay=1, jitter=False, deadline=3)
    with pytest.raises(RetryExhaustedError, match="All 3 attempts failed"):
        await retry_with_backoff(flaky, config)
    assert slept == [1, 2]


async def test_cancellation_passes_at_any_point() -> None:
    """Broken: a cancelled caller goes on retrying."""
    gate, asleep = Gate(), asyncio.Event()

    async def tell() -> None:
        asleep.set()
        raise Boom

    for form in (gate, tell):
        task = asyncio.create_task(retry_with_backoff(form, RetryConfig(base_delay=60)))
        await (gate.entered if form is gate else asleep).wait()
        await cancelled(task)
        assert task.cancelled()


async def test_decorator_forms_keep_name_and_signature() -> None:
    """Broken: one of the ways to write it does not decorate."""
    flaky = Flaky(2)

    @retry_with_backoff(AT_ONCE)
    async def with_config(number: int) -> str:
        """Say so."""
        return await flaky.wait(number)

    @retry_with_backoff(max_retries=0, base_delay=0)
    async def with_keywords() -> str:
        return await flaky.wait()

    @retry_with_backoff
    async def bare() -> str:
        return await flaky.wait()

    @retry_with_backoff()
    async def called() -> str:
        return await flaky.wait()

    assert (with_config.__name__, with_config.__doc__) == ("with_config", "Say so.")
    assert inspect.iscoroutinefunction(with_config)
    assert await with_config(3) == "fine"
    assert flaky.calls == [((3,), {})] * 3
    flaky.left = 1
    with pytest.raises(RetryExhaustedError, match="All 1 attempts"):
        await with_keywords()
    with retry_without_sleeping():
        for function in (bare, called):
            flaky.left = 3
            assert await function() == "fine"


def test_decorated_synchronous_function_stays_one(
    slept: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: a synchronous function becomes a coroutine that nobody awaits."""
    flaky = Flaky(2)

    @retry_with_backoff(RetryConfig(base_delay=1, jitter=False))
    def work(word: str) -> str:
        return flaky(word)

    caplog.set_level(logging.WARNING)
    assert work("x") == "fine"
    assert slept == [1, 2]
    assert caplog.messages[0] == "Attempt 1 failed: no luck. Retrying in 1.00s..."
    flaky.left = 9
    with pytest.raises(RetryExhaustedError, match="All 4 attempts"):
        work("x")
    flaky.error = TypeError()
    with pytest.raises(TypeError):
        work("x")


async def test_synchronous_function_that_turns_asynchronous_late_is_awaited(slept: list[float]) -> None:
    """Broken: a function that fails before it returns its coroutine hands the coroutine out."""
    flaky, first = Flaky(1), [True]

    def work() -> Any:
        if first.pop() if first else False:
            raise Boom
        return flaky.wait()

    assert await retry_with_backoff(AT_ONCE)(work)() == "fine"
    assert len(slept) == 2


def test_switch_removes_sleeping_for_a_block_and_for_threads() -> None:
    """Broken: users' tests of retried code take minutes."""
    began = time.monotonic()
    decorated = retry_with_backoff(RetryConfig(base_delay=60, deadline=30))(Flaky(3))
    with retry_without_sleeping():
        thread = threading.Thread(target=decorated)
        thread.start()
        thread.join()
        with asyncio.Runner() as runner:
            assert runner.run(retry_with_backoff(Flaky(3).wait, RetryConfig(base_delay=60))) == "fine"
    assert time.monotonic() - began < 20
    assert retry_module._Sleeping.enabled is True


async def test_without_the_switch_it_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: the test switch is what production runs with."""
    waits: list[float] = []

    async def note(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", note)
    monkeypatch.setattr(time, "sleep", waits.append)
    await retry_with_backoff(Flaky(1), RetryConfig(base_delay=8, jitter=False))
    retry_with_backoff(RetryConfig(base_delay=9, jitter=False))(Flaky(1))()
    assert waits == [8, 9]


def nothing() -> None:
    """Do nothing."""


@pytest.mark.parametrize(
    ("arguments", "options", "text"),
    [
        ((nothing,), {"max_retries": 5}, "options of a retry stand in a RetryConfig"),
        ((nothing, None, 1), {}, "options of a retry stand in a RetryConfig"),
        ((RetryConfig(),), {"max_retries": 5}, "options of a retry stand in a RetryConfig"),
        ((RetryConfig(), RetryConfig()), {}, "options of a retry stand in a RetryConfig"),
        ((None, RetryConfig()), {}, "options of a retry stand in a RetryConfig"),
        ((nothing, {"max_retries": 5}), {}, "behind the function stands a RetryConfig, not a dict"),
        ((7,), {}, "what is retried is a function, not a int"),
        ((7, RetryConfig()), {}, "what is retried is a function, not a int"),
    ],
    ids=range(8),
)
def test_arguments_of_neither_form_are_refused(arguments: Any, options: Any, text: str) -> None:
    """Broken: `retry_with_backoff(func, max_retries=5)` tries four times, and nobody says so."""
    make: Any = retry_with_backoff
    with pytest.raises(TypeError, match=f"^{re.escape(text)}"):
        make(*arguments, **options)


async def test_concurrent_retries_do_not_mix() -> None:
    """Broken: retries that share a configuration share their count of attempts, too."""
    flaky = [Flaky(number % 4) for number in range(40)]
    results = await asyncio.gather(*(retry_with_backoff(each.wait, AT_ONCE) for each in flaky))
    assert set(results) == {"fine"}
    assert [len(each.calls) for each in flaky] == [number % 4 + 1 for number in range(40)]


def test_config_has_v0s_positions_and_defaults() -> None:
    """Broken: TTA builds it by position or keyword and changes it afterwards."""
    config = RetryConfig(5, 0.5, 30.0, 3.0, False)  # noqa: FBT003 - v0's positions
    assert (config.max_retries, config.base_delay, config.max_delay) == (5, 0.5, 30.0)
    assert (config.exponential_base, config.jitter) == (3.0, False)
    assert RetryConfig() == RetryConfig(3, 1.0, 60.0, 2.0, jitter=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_retries", -1),
        ("max_retries", math.nan),
        ("base_delay", -0.1),
        ("base_delay", math.inf),
        ("max_delay", math.nan),
        ("exponential_base", 0.5),
        ("deadline", 0),
        ("deadline", math.inf),
        ("max_retries", 10**5_000),
        ("max_delay", 10**5_000),
        ("base_delay", "1"),
    ],
    ids=range(11),
)
def test_config_refuses_what_cannot_work(name: str, value: float) -> None:
    """Broken: a nonsensical number shows as a strange wait in production."""
    options: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=rf"^{name} "):
        RetryConfig(**options)


def test_config_takes_fractions_of_a_second() -> None:
    """Broken: a caller that has half a second cannot say so."""
    assert RetryConfig(max_delay=0.5, deadline=0.5).max_delay == 0.5


async def test_function_that_succeeds_at_once_is_called_once() -> None:
    """Broken: a result that is no awaitable is awaited, or handed out as a coroutine."""
    assert await retry_with_backoff(Flaky(0), AT_ONCE) == "fine"
    assert retry_with_backoff(AT_ONCE)(Flaky(0))() == "fine"


def test_wait_that_ends_at_the_deadline_is_too_long(
    slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: an attempt begins when the caller's time is over."""
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    config = RetryConfig(max_retries=9, base_delay=1, exponential_base=1, jitter=False, deadline=1)
    with pytest.raises(RetryExhaustedError, match="All 1 attempts"):
        retry_with_backoff(config)(Flaky(9))()
    config.deadline = 1.5
    with pytest.raises(RetryExhaustedError, match="All 10 attempts"):
        retry_with_backoff(config)(Flaky(10))()
    assert slept == [1] * 9
    config.deadline = 0.5
    with retry_without_sleeping():
        assert retry_with_backoff(config)(Flaky(3))() == "fine"
