"""A TCP proxy between a client and a real Redis that loses replies and holds requests.

Owns the bytes in between and nothing else: it looks for one word in a request to tell which commands are
meant, by default EVALSHA, so a connection's own greeting always passes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

__all__ = ["FaultyProxy", "faulty_proxy"]

CHUNK = 1 << 16


@dataclass(kw_only=True)
class FaultyProxy:
    """What the proxy shall do wrong next, and what it has seen.

    Attributes:
        target: the port of the real server.
        port: the port clients connect to.
        word: a request that contains this is one the faults are meant for.
        lose_replies: how many of the next such requests run on the server and get no reply.
        lose_requests: how many of the next such requests never reach the server.
        silent: lost means silence; otherwise the connection breaks.
        hold: how many of the next such requests wait here until `let_go`, also when their client has gone.
        seen: how many such requests came by, lost and held ones included.
    """

    target: int
    port: int = 0
    word: bytes = b"EVALSHA"
    lose_replies: int = 0
    lose_requests: int = 0
    silent: bool = False
    hold: int = 0
    seen: int = 0
    held: int = 0
    forwarded_after_hold: int = 0
    _let_go: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])
    _writers: set[asyncio.StreamWriter] = field(default_factory=set[asyncio.StreamWriter])

    def let_go(self) -> None:
        """Send the held requests on to the server."""
        self._let_go.set()

    def break_connections(self) -> None:
        """Break every connection, as a dying network does."""
        for writer in self._writers:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one client's connection."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target)
        self._writers.update((writer, server_writer))
        carried = _Connection(proxy=self, client=writer, server=server_writer)
        replies = asyncio.create_task(carried.carry_replies(server_reader))
        try:
            await carried.carry_requests(reader)
        finally:
            replies.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await replies
            for end in (writer, server_writer):
                end.transport.abort()
                self._writers.discard(end)
            self._tasks.discard(task)

    async def close(self) -> None:
        """End every connection."""
        self._let_go.set()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def hold_until_let_go(self) -> None:
        """Wait for `let_go`."""
        self.held += 1
        await self._let_go.wait()
        self.forwarded_after_hold += 1


@dataclass(kw_only=True)
class _Connection:
    proxy: FaultyProxy
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    replies_to_lose: int = 0

    def _lost(self) -> None:
        if not self.proxy.silent:
            self.client.transport.abort()

    async def carry_requests(self, reader: asyncio.StreamReader) -> None:
        proxy = self.proxy
        while chunk := await _read(reader):
            if proxy.word in chunk:
                proxy.seen += 1
                if proxy.hold:
                    proxy.hold -= 1
                    await proxy.hold_until_let_go()
                elif proxy.lose_requests:
                    proxy.lose_requests -= 1
                    self._lost()
                    continue
                elif proxy.lose_replies:
                    proxy.lose_replies -= 1
                    self.replies_to_lose += 1
            self.server.write(chunk)
            with contextlib.suppress(ConnectionError):
                await self.server.drain()
        # A held request may have been the last one: let the server read it before the connection ends.
        with contextlib.suppress(ConnectionError):
            self.server.write_eof()
            await asyncio.wait_for(_until_end(self), timeout=5)

    async def carry_replies(self, reader: asyncio.StreamReader) -> None:
        while chunk := await _read(reader):
            if self.replies_to_lose:
                self.replies_to_lose -= 1
                self._lost()
                continue
            if not self.client.transport.is_closing():
                self.client.write(chunk)
        self.finished.set()

    finished: asyncio.Event = field(default_factory=asyncio.Event)


async def _until_end(connection: _Connection) -> None:
    await connection.finished.wait()


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(CHUNK)
    except ConnectionError:
        return b""


@contextlib.asynccontextmanager
async def faulty_proxy(target: int) -> AsyncGenerator[FaultyProxy]:
    """Run a proxy in front of `target` for the length of a block."""
    proxy = FaultyProxy(target=target)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = int(server.sockets[0].getsockname()[1])
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
        await server.wait_closed()
