"""What the breaker's tests call: something that works, something that does not, something that waits."""

# ruff: noqa: ANN401 - clients and results are of any kind here

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from tta_agent_coordination.exceptions import CircuitBreakerOpenError
from tta_agent_coordination.resilience import CircuitBreaker

__all__ = ["Boom", "Gate", "cancelled", "fail", "fails", "refused", "succeed", "trip"]


class Boom(Exception):  # noqa: N818 - what happens, not what it is called
    """What the other side raises."""


async def succeed(value: Any = "fine") -> Any:
    """Return."""
    return value


async def fail() -> None:
    """Raise."""
    raise Boom


async def fails(breaker: CircuitBreaker, times: int = 1) -> None:
    """Let calls fail."""
    for _ in range(times):
        with pytest.raises(Boom):
            await breaker.call(fail)


async def trip(breaker: CircuitBreaker) -> None:
    """Let calls fail until the breaker is open, and the others can know."""
    await fails(breaker, breaker._config.failure_threshold)
    assert await breaker.get_state() == "open"


async def refused(breaker: CircuitBreaker) -> CircuitBreakerOpenError:
    """Call, and return why it was refused."""

    async def never() -> None:
        pytest.fail("a refused call ran")

    with pytest.raises(CircuitBreakerOpenError) as caught:
        await breaker.call(never)
    return caught.value


class Gate:
    """A call that waits inside until it is told how to end."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self._verdict: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def __call__(self) -> None:
        """Wait."""
        self.entered.set()
        await self._verdict

    async def begin(self, breaker: CircuitBreaker) -> asyncio.Task[None]:
        """Start a call of this through a breaker, and return when it is inside."""
        return await self.inside(asyncio.create_task(breaker.call(self)))

    async def inside(self, task: asyncio.Task[None]) -> asyncio.Task[None]:
        """Return when somebody's call has come here."""
        await asyncio.wait_for(self.entered.wait(), timeout=10)
        return task

    def succeed(self) -> None:
        """Let it return."""
        self._verdict.set_result(None)

    def fail(self) -> None:
        """Let it raise."""
        self._verdict.set_exception(Boom())


async def cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel a call and wait until it has gone."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
