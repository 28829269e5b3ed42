"""Owns what the package asks of a Redis client, and what an error of it says about an operation.

One small Protocol stands in front of redis-py, so the rest of the package is typed and knows no client class.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from types import TracebackType
from typing import Any, Protocol, Self, cast
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.client import NEVER_DECODE
from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MaxConnectionsError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

__all__ = [
    "STORE_ERRORS",
    "Client",
    "Link",
    "Pipeline",
    "Raw",
    "from_url",
    "is_cluster",
    "is_outage",
    "slot",
    "was_not_done",
    "without_password",
]

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


class Link:
    """A connection for commands that block, apart from all others.

    It is one of the client's pool while it is open, so opening and closing seldom connect. A pool that has
    no second one to give keeps its only one, and the link makes its own.
    """

    _STALL_S = 5.0
    """How long an answer may be overdue, in seconds, until the connection counts as lost."""

    def __init__(self, connection: Any, pool: Any, *, borrowed: bool) -> None:  # noqa: ANN401 - clients differ
        self._connection = connection
        self._pool = pool
        self._borrowed = borrowed

    @classmethod
    async def open(cls, client: Client) -> Self:
        """Take a connection of a client that talks to one server."""
        pool: Any = cast("Any", client).connection_pool
        if pool.max_connections > 1:
            return cls(await pool.get_connection(), pool, borrowed=True)
        connection: Any = pool.make_connection()
        await connection.connect()
        return cls(connection, pool, borrowed=False)

    async def pop_marker(self, keys: Sequence[bytes], seconds: float) -> bytes | None:
        """Wait for the first of some sorted sets to hold a member, and take it; return the key.

        A call that is cancelled or fails leaves the connection closed.
        """
        async with asyncio.timeout(seconds + self._STALL_S):
            await self._connection.send_command("BZPOPMIN", *keys, seconds)
            answer: Any = await self._connection.read_response(
                disable_decoding=True, timeout=2 * (seconds + self._STALL_S)
            )
        return None if answer is None else answer[0]

    async def close(self) -> None:
        """Give the connection back, or end it where it is the link's own."""
        if self._borrowed:
            await self._pool.release(self._connection)
        else:
            await self._connection.disconnect()


def from_url(url: str) -> Client:
    """Return a client for a URL (`redis://`, `rediss://`, `unix://`).

    Raises:
        ValueError: If it is none; the text does not repeat what may be part of a password.
    """
    redis: Any = Redis
    try:
        return cast("Client", redis.from_url(url))
    except ValueError as error:
        if "schemes" in str(error):
            raise
        raise ValueError(
            "the URL of the server cannot be read: look at its port and options, and write every character "
            "of user name and password that is no letter or digit as %XX"
        ) from None


def without_password(url: str) -> str:
    """Return a URL that can be parsed as it may be shown: without user name, password and options."""
    parts = urlsplit(url)
    # A password with a bare / # or ? ends the host too early, and the rest of it stands behind.
    if "@" in parts.path + parts.query + parts.fragment:
        return f"{parts.scheme}://..."
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def is_cluster(client: object) -> bool:
    """Tell whether a client talks to a cluster, where the keys of one script must share a slot."""
    return isinstance(client, RedisCluster)


def slot(key: bytes) -> int:
    """Return the cluster slot of a key."""
    return key_slot(key)


def is_outage(error: BaseException | None) -> bool:
    """Tell whether an error says that the server could not be reached, rather than what it answered."""
    return isinstance(error, OSError | RedisConnectionError | RedisTimeoutError)


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
