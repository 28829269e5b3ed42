"""Owns retrying: v0's function form, a decorator, and the configuration of both.

The loop between attempts is tenacity's. The first attempt is made before tenacity is asked for anything, so a
call that does not fail costs next to nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import KW_ONLY, dataclass
from inspect import isawaitable, iscoroutinefunction
from typing import Any, Protocol, overload

from tenacity import AsyncRetrying, AttemptManager, RetryCallState, Retrying, retry_if_exception

from tta_agent_coordination import _numbers
from tta_agent_coordination.exceptions import RetryExhaustedError
from tta_agent_coordination.resilience._backoff import delay_before_retry

__all__ = ["PROGRAMMING_ERRORS", "RetryConfig", "retry_with_backoff", "retry_without_sleeping"]

PROGRAMMING_ERRORS = (TypeError, NameError, AttributeError, AssertionError, NotImplementedError)
"""What no repetition mends; raised at once, as it is."""

_log = logging.getLogger(__name__)


def is_worth_retrying(error: Exception) -> bool:
    """Return whether an error may go away by itself: everything but programming errors."""
    return not isinstance(error, PROGRAMMING_ERRORS)


@dataclass
class RetryConfig:
    """How often and how soon to try again. Read at every attempt, so it can be changed while in use.

    Attributes:
        max_retries: Attempts after the first one.
        base_delay: Seconds before the first retry.
        max_delay: Longest wait before a retry, seconds.
        exponential_base: Growth of the wait from one retry to the next.
        jitter: Multiply each wait with a random 0.5 to 1.0, so that many callers do not return at once.
        retry_if: Tells whether an error is worth another attempt; by default all but programming errors are.
            Any other error is raised as it is.
        deadline: Seconds from the first attempt after which none is started; None for no limit. An attempt
            that is running is not cut off.

    Raises:
        ValueError: A number is negative, not finite, or a base below 1; the deadline is 0.
    """

    max_retries: int = 3
    base_delay: float = 1.0
    max_delay: float = 60.0
    exponential_base: float = 2.0
    jitter: bool = True
    _: KW_ONLY
    retry_if: Callable[[Exception], bool] = is_worth_retrying
    deadline: float | None = None

    def __post_init__(self) -> None:
        _numbers.whole("max_retries", self.max_retries, low=0)
        for name, least in (("base_delay", 0.0), ("max_delay", 0.0), ("exponential_base", 1.0)):
            _numbers.number(name, getattr(self, name), low=least)
        if self.deadline is not None:
            _numbers.number("deadline", self.deadline, low=0, open_low=True)


class _Decorator(Protocol):
    def __call__[**P, T](self, func: Callable[P, T], /) -> Callable[P, T]: ...


class _Sleeping:
    """Whether retries sleep; one switch for the process, so that threads of a test see it, too."""

    enabled = True


@contextlib.contextmanager
def retry_without_sleeping() -> Generator[None]:
    """Retry at once for the length of a block, for tests. Attempts, log and errors stay as they are."""
    before, _Sleeping.enabled = _Sleeping.enabled, False
    try:
        yield
    finally:
        _Sleeping.enabled = before


def _sleep(seconds: float) -> None:
    if _Sleeping.enabled:
        time.sleep(seconds)


async def _sleep_async(seconds: float) -> None:
    await asyncio.sleep(seconds if _Sleeping.enabled else 0)


class _Policy:
    """What tenacity asks: whether, when, and what if never again."""

    def __init__(self, config: RetryConfig, started: float) -> None:
        self._config, self._started = config, started

    def retry_if(self, error: BaseException) -> bool:
        return isinstance(error, Exception) and self._config.retry_if(error)

    def wait(self, state: RetryCallState) -> float:
        config = self._config
        return delay_before_retry(
            state.attempt_number - 1,
            base=config.base_delay,
            factor=config.exponential_base,
            longest=config.max_delay,
            spread=random.random() if config.jitter else 1.0,  # noqa: S311 - spreads load, guards nothing
        )

    def stop(self, state: RetryCallState) -> bool:
        config = self._config
        if state.attempt_number > config.max_retries:
            return True
        if config.deadline is None:
            return False
        wait = state.upcoming_sleep if _Sleeping.enabled else 0.0
        return time.monotonic() - self._started + wait >= config.deadline

    def before_sleep(self, state: RetryCallState) -> None:
        error = _error_of(state)
        _log.warning(
            "Attempt %d failed: %s. Retrying in %.2fs...", state.attempt_number, error, state.upcoming_sleep
        )

    def give_up(self, state: RetryCallState) -> None:
        error = _error_of(state)
        raise RetryExhaustedError(
            f"All {state.attempt_number} attempts failed. Last error: {error}"
        ) from error

    def options(self) -> dict[str, Any]:
        return {
            "retry": retry_if_exception(self.retry_if),
            "wait": self.wait,
            "stop": self.stop,
            "before_sleep": self.before_sleep,
            "retry_error_callback": self.give_up,
        }


def _error_of(state: RetryCallState) -> BaseException | None:
    return None if state.outcome is None else state.outcome.exception()


def _note(attempt: AttemptManager, error: Exception) -> None:
    """Tell tenacity how an attempt failed; the next one it gives waits before, or gives up with an error."""
    attempt.retry_state.set_exception((type(error), error, error.__traceback__))


async def _run_async(config: RetryConfig, func: Callable[[], Any], first: object = None) -> Any:  # noqa: ANN401 - func's
    """Make attempts until one returns; `first` is an awaitable that the first attempt has made already."""
    started = time.monotonic()
    try:
        result = func() if first is None else first
        return await result if isawaitable(result) else result
    except Exception as error:  # noqa: BLE001 - the user's function
        attempts = aiter(AsyncRetrying(sleep=_sleep_async, **_Policy(config, started).options()))
        _note(await anext(attempts), error)
    while True:
        attempt = await anext(attempts)
        try:
            result = func()
            return await result if isawaitable(result) else result
        except Exception as error:  # noqa: BLE001 - the user's function
            _note(attempt, error)


def _run(config: RetryConfig, func: Callable[[], Any]) -> Any:  # noqa: ANN401 - func's
    """Make attempts until one returns; where it returns an awaitable, go on asynchronously."""
    started = time.monotonic()
    try:
        result = func()
    except Exception as error:  # noqa: BLE001 - the user's function
        attempts = iter(Retrying(sleep=_sleep, **_Policy(config, started).options()))
        _note(next(attempts), error)
    else:
        return _run_async(config, func, result) if isawaitable(result) else result
    while True:
        attempt = next(attempts)
        try:
            result = func()
        except Exception as error:  # noqa: BLE001 - the user's function
            _note(attempt, error)
        else:
            return _run_async(config, func, result) if isawaitable(result) else result


def _decorated(config: RetryConfig, func: Callable[..., Any]) -> Callable[..., Any]:
    if iscoroutinefunction(func):

        @functools.wraps(func)
        async def retried(*args: object, **kwargs: object) -> Any:  # noqa: ANN401 - func's
            return await _run_async(config, functools.partial(func, *args, **kwargs))

        return retried

    @functools.wraps(func)
    def retried_sync(*args: object, **kwargs: object) -> Any:  # noqa: ANN401 - func's
        return _run(config, functools.partial(func, *args, **kwargs))

    return retried_sync


@overload
def retry_with_backoff[**P, T](
    func: Callable[P, Awaitable[T]], retry_config: RetryConfig, /, *args: P.args, **kwargs: P.kwargs
) -> Coroutine[Any, Any, T]: ...
@overload
def retry_with_backoff[**P, T](
    func: Callable[P, T], retry_config: RetryConfig, /, *args: P.args, **kwargs: P.kwargs
) -> Coroutine[Any, Any, T]: ...
@overload
def retry_with_backoff[**P, T](func: Callable[P, T], /) -> Callable[P, T]: ...
@overload
def retry_with_backoff(retry_config: RetryConfig | None = None, /) -> _Decorator: ...
@overload
def retry_with_backoff(
    *,
    max_retries: int = 3,
    base_delay: float = 1.0,
    max_delay: float = 60.0,
    exponential_base: float = 2.0,
    jitter: bool = True,
    retry_if: Callable[[Exception], bool] = ...,
    deadline: float | None = None,
) -> _Decorator: ...
def retry_with_backoff(
    func: Callable[..., Any] | RetryConfig | None = None,
    retry_config: RetryConfig | None = None,
    /,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """Call a function, or decorate one, so that failures are tried again after growing waits.

    - `await retry_with_backoff(func, config, *args, **kwargs)` calls `func(*args, **kwargs)`, a synchronous
      or an asynchronous one; what it returns is awaited if it can be. All keyword arguments are `func`'s.
    - `@retry_with_backoff(config)`, `@retry_with_backoff(max_retries=5)` or `@retry_with_backoff` decorates.
      A synchronous function stays one, and sleeps its thread between attempts.

    Returns:
        A coroutine with the function's result, or a decorator, or the decorated function.

    Raises:
        RetryExhaustedError: `All N attempts failed. Last error: E`; E is its `__cause__`.
        Exception: What `retry_if` does not find worth retrying, as it is.
        ValueError: A number in the configuration cannot be used.
        TypeError: The arguments are of neither form, so that some of them would be passed over.
    """
    calls = func is not None and not isinstance(func, RetryConfig) and retry_config is not None
    if not calls and (retry_config is not None or args or (func is not None and kwargs)):
        raise TypeError(
            "options of a retry stand in a RetryConfig: retry_with_backoff(func, RetryConfig(...), *args, "
            "**kwargs) calls, @retry_with_backoff(RetryConfig(...)) or with keywords alone decorates"
        )
    if calls and not isinstance(retry_config, RetryConfig):
        raise TypeError(f"behind the function stands a RetryConfig, not a {type(retry_config).__name__}")
    if func is not None and not isinstance(func, RetryConfig) and not callable(func):
        raise TypeError(f"what is retried is a function, not a {type(func).__name__}")
    if isinstance(func, RetryConfig):
        return functools.partial(_decorated, func)
    if func is None:
        return functools.partial(_decorated, RetryConfig(**kwargs))
    if retry_config is None:
        return _decorated(RetryConfig(), func)
    return _run_async(retry_config, functools.partial(func, *args, **kwargs))
