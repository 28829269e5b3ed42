"""Counting, stopping and breaking the commands that a client sends, without standing in for Redis.

The client stays the real one. Only its `execute_command` is wrapped, so a test can count calls, or end the
client's process before or after the n-th of them.
"""

# ruff: noqa: ANN401 - commands and answers of a Redis client may be anything
from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import redis.asyncio as aioredis
from redis.exceptions import RedisError

__all__ = ["Around", "Counted", "Crash", "count_commands", "crash_after", "crash_before", "intercept"]

type Send = Callable[..., Awaitable[Any]]
type Around = Callable[[Send, tuple[Any, ...], dict[str, Any]], Awaitable[Any]]


class Crash(BaseException):
    """The process ended here; nobody catches it."""


@dataclass
class Counted:
    """The names of the commands that went out, in order."""

    names: list[str] = field(default_factory=list[str])


@contextlib.contextmanager
def intercept(client: aioredis.Redis, around: Around) -> Generator[None]:
    """Pass each command of `client`, pipelines included, through `around` for the length of a block."""
    anything: Any = client
    send, make_pipeline = anything.execute_command, anything.pipeline

    async def execute_command(*args: Any, **options: Any) -> Any:
        return await around(send, args, options)

    def pipeline(*args: Any, **options: Any) -> Any:
        made = make_pipeline(*args, **options)
        run = made.execute

        async def execute(*run_args: Any, **run_options: Any) -> Any:
            async def whole(*_: Any, **__: Any) -> Any:
                return await run(*run_args, **run_options)

            return await around(whole, ("PIPELINE",), {})

        made.execute = execute
        return made

    anything.execute_command, anything.pipeline = execute_command, pipeline
    try:
        yield
    finally:
        del anything.execute_command, anything.pipeline


@contextlib.contextmanager
def count_commands(client: aioredis.Redis) -> Generator[Counted]:
    """Count what goes out during a block."""
    counted = Counted()

    async def around(send: Send, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        counted.names.append(str(args[0]))
        return await send(*args, **options)

    with intercept(client, around):
        yield counted


@contextlib.contextmanager
def crash_before(client: aioredis.Redis, nth: int) -> Generator[None]:
    """End the process before the n-th command, counted from 0, is sent."""
    seen = 0

    async def around(send: Send, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        nonlocal seen
        seen += 1
        if seen > nth:
            raise Crash(f"before {args[0]}")
        return await send(*args, **options)

    with intercept(client, around):
        yield


@contextlib.contextmanager
def crash_after(client: aioredis.Redis, nth: int) -> Generator[None]:
    """End the process after the n-th command, counted from 0, was carried out, its answer unseen."""
    seen = 0

    async def around(send: Send, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        nonlocal seen
        if seen > nth:
            raise Crash(f"before {args[0]}")
        seen += 1
        if seen <= nth:
            return await send(*args, **options)
        with contextlib.suppress(RedisError):
            await send(*args, **options)
        raise Crash(f"after {args[0]}")

    with intercept(client, around):
        yield
