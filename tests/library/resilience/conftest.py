"""Fixtures of the breaker's tests: breakers that are closed at the end, and a way to call them."""

# ruff: noqa: ANN401 - clients and results are of any kind here

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Protocol

import pytest
import redis.asyncio as aioredis

from tests.library.support.servers import Lane
from tta_agent_coordination.resilience import (
    CircuitBreaker,
    CircuitBreakerConfig,
    get_circuit_breaker_metrics,
)
from tta_agent_coordination.testing import ManualClock

CONFIG: dict[str, Any] = {
    "failure_threshold": 3,
    "timeout_seconds": 60,
    "half_open_max_calls": 2,
    "success_threshold": 2,
}
"""What the tests' breakers have, unless they say otherwise."""


class MakeBreaker(Protocol):
    """Builds a breaker as one process has it: with a client of its own."""

    def __call__(
        self, name: str = "svc", *, client: Any = None, clock: ManualClock | None = None, **config: Any
    ) -> CircuitBreaker: ...


@pytest.fixture
async def make_breaker(lane: Lane, clock: ManualClock) -> AsyncIterator[MakeBreaker]:
    """Build breakers on this lane and the manual clock; they are closed when the test is over."""
    made: list[CircuitBreaker] = []

    def make(
        name: str = "svc",
        *,
        client: aioredis.Redis | None = None,
        clock: ManualClock | None = clock,
        **config: Any,
    ) -> CircuitBreaker:
        options = CircuitBreakerConfig(**{**CONFIG, **config})
        breaker = CircuitBreaker(client or lane.client(), name, options, clock=clock)
        made.append(breaker)
        return breaker

    yield make
    for breaker in made:
        await breaker.aclose()


@pytest.fixture(autouse=True)
def fresh_collector() -> Iterator[None]:
    """The collector is the process's; each test starts at zero."""
    get_circuit_breaker_metrics().reset()
    get_circuit_breaker_metrics().states.clear()
    yield
    get_circuit_breaker_metrics().reset()
    get_circuit_breaker_metrics().states.clear()
