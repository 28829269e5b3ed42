"""Owns what users' own tests need: an embedded Redis, a clock they move, and a client that dies on purpose.

Not imported by the package root. The embedded Redis needs the extra `embedded`.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from redis.asyncio import Redis

from tta_agent_coordination._clock import to_us
from tta_agent_coordination._redis.client import Client, Pipeline

__all__ = ["CrashingClient", "InjectedCrash", "ManualClock", "embedded_redis"]


def embedded_redis(*, decode_responses: bool = False, server: object = None) -> Redis:
    """Return a client for a Redis inside this process, Lua included. No server, no socket, nothing kept.

    Args:
        decode_responses: As for `redis.asyncio.Redis`.
        server: A `fakeredis.FakeServer`, to let several clients share one store; None for a store of its own.

    Raises:
        ImportError: If the extra `embedded` is not installed.
    """
    try:
        import fakeredis  # noqa: PLC0415 - an extra
        import lupa  # noqa: F401, PLC0415 # pyright: ignore[reportUnusedImport, reportMissingImports]
    except ImportError as error:
        raise ImportError(
            "the embedded Redis needs the extra `embedded`: pip install 'tta-agent-coordination[embedded]', "
            "or '.[embedded]' in a checkout"
        ) from error
    module: Any = fakeredis
    made: Redis = module.FakeAsyncRedis(
        server=module.FakeServer() if server is None else server, decode_responses=decode_responses
    )
    return made


class ManualClock:
    """A clock that stands still until it is moved, in either direction.

    Args:
        now_us: Where it starts, in microseconds since the epoch.
    """

    def __init__(self, now_us: int = 1_700_000_000_000_000) -> None:
        self._now_us = now_us

    def __repr__(self) -> str:
        """Show the time."""
        return f"ManualClock({self._now_us})"

    def now_us(self) -> int:
        """Return microseconds since the epoch."""
        return self._now_us

    def advance(self, seconds: float) -> None:
        """Move the clock on, or back where `seconds` is negative."""
        self._now_us += to_us(seconds) if seconds >= 0 else -to_us(-seconds)

    def set(self, now_us: int) -> None:
        """Set the clock, in microseconds since the epoch."""
        self._now_us = now_us


class InjectedCrash(BaseException):
    """The process "died" here. Not an `Exception`, so that no handler mistakes it for an error."""


class CrashingClient:
    """A client that lets `crash_at` commands pass and then dies, before or after the next one is carried out.

    Dead once, dead for good: whatever is sent afterwards raises too. Give it to a coordinator, let the crash
    happen, and look at the store with another client.

    Args:
        client: The client that does the work.
        crash_at: Commands that pass; a pipeline counts as one.
        after: True to die after the fatal command was carried out, with its answer lost.
    """

    def __init__(self, client: Client, *, crash_at: int, after: bool = False) -> None:
        self._client = client
        self._left = crash_at
        self._after = after
        self.crashed: bool = False

    def __repr__(self) -> str:
        """Show whether it is alive."""
        return f"CrashingClient({'dead' if self.crashed else f'{self._left} commands to live'})"

    def __getattr__(self, name: str) -> object:
        """Hand everything else to the client."""
        return getattr(self._client, name)

    async def _pass[T](self, send: Awaitable[T]) -> T:
        if self.crashed or (self._left == 0 and not self._after):
            self.crashed = True
            close = getattr(send, "close", None)
            if close is not None:
                close()
            raise InjectedCrash
        try:
            return await send
        finally:  # an error is an answer too: the command was sent
            if self._left == 0:
                self.crashed = True
                raise InjectedCrash
            self._left -= 1

    def execute_command(self, *args: object, **options: object) -> Awaitable[Any]:
        """Send a command, unless this is where it dies."""
        return self._pass(self._client.execute_command(*args, **options))

    def pipeline(self, transaction: bool = True) -> Pipeline:
        """Return a pipeline that dies as one command."""
        pipeline = self._client.pipeline(transaction=transaction)
        execute = pipeline.execute

        def dying(raise_on_error: bool = True) -> Awaitable[list[Any]]:
            return self._pass(execute(raise_on_error=raise_on_error))

        pipeline.execute = dying
        return pipeline

    def aclose(self) -> Awaitable[None]:
        """Close the client; the dead hold no sockets."""
        return self._client.aclose()
