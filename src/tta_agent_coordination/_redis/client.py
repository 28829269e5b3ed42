"""Owns what the package asks of a Redis client, and what an error of it says about an operation.

One small Protocol stands in front of redis-py, so the rest of the package is typed and knows no client class.
"""

from __future__ import annotations

from collections.abc import Awaitable
from types import TracebackType
from typing import Any, Protocol, cast

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.client import NEVER_DECODE
from redis.crc import key_slot
from redis.exceptions import MaxConnectionsError, RedisError, ResponseError

__all__ = ["STORE_ERRORS", "Client", "Pipeline", "Raw", "from_url", "is_cluster", "slot", "was_not_done"]

Raw: dict[str, Any] = {NEVER_DECODE: True}
"""Option of `execute_command`: answer in bytes, whatever the client decodes. Entries may hold any bytes."""

STORE_ERRORS = (RedisError, OSError)
"""What a client raises when the store or the way to it fails."""


class Pipeline(Protocol):
    """A queue of commands that go out together."""

    def execute_command(self, *args: Any, **options: Any) -> object:  # noqa: ANN401 - clients differ in them
        """Add a command."""
        ...

    def execute(self, raise_on_error: bool = True) -> Awaitable[list[Any]]:
        """Send them; with `raise_on_error=False` an error is an answer like any other."""
        ...


class Client(Protocol):
    """A client for one server or one cluster."""

    def execute_command(self, *args: Any, **options: Any) -> Awaitable[Any]:  # noqa: ANN401 - clients differ in them
        """Send one command and return its answer."""
        ...

    def pipeline(self, transaction: bool = True) -> Pipeline:
        """Return an empty pipeline."""
        ...

    def aclose(self) -> Awaitable[None]:
        """Close the client's connections."""
        ...


def from_url(url: str) -> Client:
    """Return a client for a URL (`redis://`, `rediss://`, `unix://`)."""
    redis: Any = Redis
    return cast("Client", redis.from_url(url))


def is_cluster(client: object) -> bool:
    """Tell whether a client talks to a cluster, where the keys of one script must share a slot."""
    return isinstance(client, RedisCluster)


def slot(key: bytes) -> int:
    """Return the cluster slot of a key."""
    return key_slot(key)


def was_not_done(error: BaseException) -> bool:
    """Tell whether an error proves that the command was not carried out.

    It does when the server answered with an error (a script checks before it writes), and when no byte was
    written: the pool had no connection to give, which shows in the traceback, since the error came out of
    `get_connection` before anything was sent. A reconnect inside redis-py's own retries proves nothing: an
    earlier try may have arrived.
    """
    if isinstance(error, ResponseError | MaxConnectionsError):
        return True
    frame: TracebackType | None = error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_name == "get_connection":
            return True
        frame = frame.tb_next
    return False
