"""Owns the circuit breaker as people use it: calls, blocks, decorated functions, and v0's names.

A call through a closed breaker waits for no Redis command. A half-open one waits for the store's grant and
brings it the verdict. What happens with the store is `_breaker_shell`'s.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from inspect import isawaitable, iscoroutinefunction
from types import TracebackType
from typing import Any, Self, cast

from tta_agent_coordination import _keys
from tta_agent_coordination._clock import Clock
from tta_agent_coordination._redis.client import Client, is_cluster
from tta_agent_coordination.exceptions import CircuitBreakerOpenError
from tta_agent_coordination.resilience import _breaker_state as core
from tta_agent_coordination.resilience._breaker_shell import Admission, BreakerShell, Verdict
from tta_agent_coordination.resilience._breaker_state import (
    CircuitBreakerConfig,
    CircuitBreakerState,
    Refused,
    Ticket,
)
from tta_agent_coordination.resilience._v0_records import CircuitBreakerMetrics
from tta_agent_coordination.resilience.collector import get_circuit_breaker_metrics

__all__ = ["CircuitBreaker"]

_log = logging.getLogger(__name__)

_CLOSED, _OPEN, _HALF_OPEN = CircuitBreakerState


class CircuitBreaker:
    """Stops calling what keeps failing, in all processes that use the same name.

    Consecutive failures are counted in each process; opening, half-open probes and closing are shared. A
    success while closed sets the count back, and failures older than the window drop out of it. Safe for
    concurrent calls in one event loop; nothing binds to a loop before the first call.

    Where the store does not answer, or answers nonsense, the breaker works for this process alone and says so
    once. Without `aclose` or `async with` no task and no socket outlives the last pending call, and changes
    elsewhere are found by a look once a second while calls happen; inside `async with` they are pushed as
    well.

    Args:
        redis: A redis-py asyncio client for one server, or for a cluster with `hash_tags`.
        name: What is protected, the same in all processes; may contain colons.
        config: Thresholds and times; read at every call, so changing it takes effect at once.
        key_prefix: Prefix of all keys, as in v0; a trailing colon is dropped.
        scope: `"shared-open"`, or `"local"` for a breaker that never speaks to the store.
        hash_tags: Put the name in braces, so that one breaker's keys share a slot.
        clock: Takes the place of this process's clock and of the server's, for tests.

    Raises:
        ValueError: The name, prefix or scope cannot be used, or a cluster client comes without `hash_tags`.
    """

    def __init__(
        self,
        redis: object,
        name: str,
        config: CircuitBreakerConfig | None = None,
        key_prefix: str = "ao",
        *,
        scope: str = "shared-open",
        hash_tags: bool = False,
        clock: Clock | None = None,
    ) -> None:
        if scope not in {"shared-open", "local"}:
            raise ValueError(f"scope must be 'shared-open' or 'local', not {scope!r}")
        if is_cluster(redis) and not hash_tags and scope != "local":
            raise ValueError(
                "a cluster client needs hash_tags=True: the keys of one breaker must share a slot"
            )
        keys = _keys.breaker(_keys.clean_prefix(key_prefix), name, hash_tags=hash_tags)
        self._name = name
        self._clock = clock
        self._shell = BreakerShell(cast("Client", redis), keys, config or CircuitBreakerConfig(), clock)
        if scope == "local":
            self._shell.link = None

    def __repr__(self) -> str:
        """Show the name, the state and whether the store answers."""
        return f"CircuitBreaker({self._name!r}, {self._shell.view.state.value}, {self._shell.link})"

    # v0's names for the local view. All can be set, and every decision reads what was set.

    @property
    def _config(self) -> CircuitBreakerConfig:
        return self._shell.config

    @_config.setter
    def _config(self, config: CircuitBreakerConfig) -> None:
        self._shell.config = config

    @property
    def _metrics(self) -> CircuitBreakerMetrics:
        return self._shell.metrics

    @_metrics.setter
    def _metrics(self, metrics: CircuitBreakerMetrics) -> None:
        self._shell.metrics = metrics

    @property
    def _state(self) -> CircuitBreakerState:
        return self._shell.view.state

    @_state.setter
    def _state(self, state: CircuitBreakerState) -> None:
        view = self._shell.view
        self._shell.view = replace(
            view,
            state=CircuitBreakerState(state),
            epoch=view.epoch + 1,
            successes=0,
            probes=0,
            confirmed=False,
        )

    @property
    def _state_changed_at(self) -> float:
        return self._wall() - (self._shell.now() - self._shell.view.since)

    @_state_changed_at.setter
    def _state_changed_at(self, at: float) -> None:
        since = self._shell.now() - (self._wall() - at)
        self._shell.view = replace(self._shell.view, since=since, confirmed=False)

    @property
    def _failure_count(self) -> int:
        view = self._shell.view
        if view.state is _CLOSED:
            return len(core.recent(view.failures, self._shell.now(), self._shell.config))
        return len(view.failures)

    @_failure_count.setter
    def _failure_count(self, count: int) -> None:
        self._shell.view = replace(self._shell.view, failures=(self._shell.now(),) * count)

    def _wall(self) -> float:
        return time.time() if self._clock is None else self._shell.now()

    async def initialize(self) -> None:
        """Take over what the store holds, and v0's counters. Waits a second at most, and raises nothing."""
        get_circuit_breaker_metrics().states.setdefault(self._name, self._shell.view.state)
        await self._shell.look(initial=True)

    async def __aenter__(self) -> Self:
        self._shell.want_push()
        await self.initialize()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the subscription, wait for what is on its way to the store, and leave the counters there.

        Takes about a second where the store does not answer. Can be repeated; the breaker can still be used
        then, without a subscription.
        """
        await self._shell.close()

    async def call[T](
        self,
        func: Callable[..., Awaitable[T]],
        *args: object,
        correlation_id: str | None = None,
        **kwargs: object,
    ) -> T:
        """Call `func(*args, **kwargs)` through the breaker and return its result.

        Args:
            func: What is protected; its result is awaited. Any `Exception` is a failure, unless the config's
                `failure_if` says otherwise; a cancelled call is neither failure nor success.
            args: Positional arguments of `func`.
            correlation_id: Stands in the log records of this call.
            kwargs: Keyword arguments of `func`.

        Raises:
            CircuitBreakerOpenError: The call was not let through; `func` was not called.
            Exception: Whatever `func` raised.
        """
        return await self._through(func, args, kwargs, correlation_id)

    async def execute[**P, T](
        self, func: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call `func(*args, **kwargs)` as `call` does; every keyword argument is `func`'s."""
        return await self._through(func, args, kwargs)

    def __call__[**P, T](
        self, func: Callable[P, Coroutine[Any, Any, T]]
    ) -> Callable[P, Coroutine[Any, Any, T]]:
        """Decorate a coroutine function: each of its calls goes through the breaker.

        Raises:
            TypeError: `func` is not a coroutine function; a breaker has to be awaited.
        """
        if not iscoroutinefunction(func):
            raise TypeError(f"a circuit breaker decorates coroutine functions, and {func!r} is none")

        @functools.wraps(func)
        async def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
            return await self._through(func, args, kwargs)

        return guarded

    async def _through[T](
        self,
        func: Callable[..., Awaitable[T]],
        args: tuple[object, ...],
        kwargs: dict[str, object],
        correlation_id: str | None = None,
    ) -> T:
        shell = self._shell
        view = shell.view
        if view.state is not _CLOSED:
            async with self.guard(correlation_id):
                return await _outcome(func, args, kwargs)
        started = shell.now()
        if started >= shell.look_due:
            shell.look_soon(started)
        shell.metrics.total_calls += 1
        get_circuit_breaker_metrics().calls_permitted += 1
        try:
            outcome: Any = func(*args, **kwargs)
            if hasattr(outcome, "__await__"):
                outcome = await outcome
        except Exception as error:
            if self._is_failure(error):
                self._count_failure(error, started, correlation_id)
                shell.apply(core.Failed(ticket=Ticket(epoch=view.epoch)), correlation_id)
            else:
                self._succeeded_closed(view.epoch)
            raise
        self._succeeded_closed(view.epoch)
        return outcome

    def _succeeded_closed(self, epoch: int) -> None:
        self._count_success()
        if self._shell.view.failures:
            self._shell.apply(core.Succeeded(ticket=Ticket(epoch=epoch)))

    @asynccontextmanager
    async def guard(self, correlation_id: str | None = None) -> AsyncGenerator[None]:
        """Protect a block as `call` protects a function: the block is one call.

        Raises:
            CircuitBreakerOpenError: The block was not let in.
        """
        shell = self._shell
        started = shell.now()
        if started >= shell.look_due:
            shell.look_soon(started)
        shell.metrics.total_calls += 1
        admission = await shell.admit(correlation_id)
        if isinstance(admission, Refused):
            raise self._refusal(admission, correlation_id)
        get_circuit_breaker_metrics().calls_permitted += 1
        renewal = _Renewal(shell, admission) if admission.probe else None
        try:
            yield
        except Exception as error:
            if self._is_failure(error):
                self._count_failure(error, started, correlation_id)
                await shell.conclude(admission, Verdict.FAILED, correlation_id)
            else:
                self._count_success()
                await shell.conclude(admission, Verdict.OK, correlation_id)
            raise
        except BaseException:
            shell.abandon(admission)
            raise
        else:
            self._count_success()
            await shell.conclude(admission, Verdict.OK, correlation_id)
        finally:
            if renewal is not None:
                renewal.cancel()

    async def get_state(self) -> CircuitBreakerState:
        """Return the state as this process sees it, once what it has to tell the store was told."""
        self._look_if_due()
        await self._shell.told()
        return self._shell.view.state

    async def is_call_permitted(self) -> bool:
        """Tell whether a call would be let through now, without changing anything."""
        self._look_if_due()
        shell = self._shell
        if shell.view.state is _HALF_OPEN and shell.link is not None and shell.link.up:
            await shell.look()
        asked = core.step(shell.view, core.Ask(shared=False), shell.now(), shell.config)
        return any(isinstance(effect, core.Admitted) for effect in asked.effects)

    async def get_metrics(self) -> dict[str, Any]:
        """Return v0's dictionary; times are seconds since the epoch, None for never."""
        metrics, config = self._shell.metrics, self._shell.config
        return {
            "name": self._name,
            "state": self._shell.view.state.value,
            "failure_count": self._failure_count,
            "total_calls": metrics.total_calls,
            "failed_calls": metrics.failed_calls,
            "successful_calls": metrics.successful_calls,
            "state_changes": metrics.state_changes,
            "last_failure_time": metrics.last_failure_time,
            "last_success_time": metrics.last_success_time,
            "state_changed_at": self._state_changed_at,
            "config": {
                "failure_threshold": config.failure_threshold,
                "timeout_seconds": config.timeout_seconds,
                "recovery_timeout_seconds": config.recovery_timeout_seconds,
            },
        }

    async def reset(self) -> None:
        """Close the breaker for everybody and clear the count, also where it was closed.

        Where the store does not answer, only this process closes, until the store is back and knows better.
        """
        await self._shell.reset()

    async def _transition_to_open(self) -> None:
        """Open the breaker by hand, for everybody; TTA calls this."""
        await self._shell.open_by_hand()

    def _look_if_due(self) -> None:
        now = self._shell.now()
        if now >= self._shell.look_due:
            self._shell.look_soon(now)

    def _is_failure(self, error: Exception) -> bool:
        try:
            return self._shell.config.failure_if(error)
        except Exception:  # noqa: BLE001 - the call's own error is what its caller waits for
            _log.exception("Circuit breaker %s: failure_if raised; the call counts as a failure", self._name)
            return True

    def _count_success(self) -> None:
        metrics, collector = self._shell.metrics, get_circuit_breaker_metrics()
        metrics.successful_calls += 1
        collector.successful_calls += 1
        metrics.last_success_time = collector.last_update = self._wall()

    def _count_failure(self, error: Exception, started: float, correlation_id: str | None) -> None:
        metrics = self._shell.metrics
        metrics.failed_calls += 1
        metrics.last_failure_time = self._wall()
        duration_ms = (self._shell.now() - started) * 1000
        get_circuit_breaker_metrics().record_failed_call(self._name, str(error), duration_ms, correlation_id)

    def _refusal(self, refused: Refused, correlation_id: str | None) -> CircuitBreakerOpenError:
        probing = refused.state is _HALF_OPEN
        reason = "half_open_max_calls_reached" if probing else "circuit_breaker_open"
        get_circuit_breaker_metrics().record_call_rejected(self._name, reason, correlation_id)
        state = "HALF_OPEN with max calls reached" if probing else "OPEN"
        return CircuitBreakerOpenError(
            f"Circuit breaker {self._name} is {state}", retry_after=refused.retry_after
        )


async def _outcome(func: Callable[..., Any], args: tuple[object, ...], kwargs: dict[str, object]) -> Any:  # noqa: ANN401 - func's
    result = func(*args, **kwargs)
    return await result if isawaitable(result) else result


class _Renewal:
    """Keeps a probe's slot while its call runs; most probes end before the first renewal is due."""

    def __init__(self, shell: BreakerShell, admission: Admission) -> None:
        self._shell, self._admission = shell, admission
        self._task: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(shell.lease / 3, self._start)

    def _start(self) -> None:
        self._task = asyncio.create_task(self._shell.renew(self._admission))

    def cancel(self) -> None:
        """End it with its call."""
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
