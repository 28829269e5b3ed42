"""The CONNECT proxy: keeps the real host names, sends the known ones to loopback, refuses and lists the rest.

It never opens a connection to anything but 127.0.0.1. What it was asked for in vain is the proof that a
rehearsal needs no network, or the name of what does.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from urllib.parse import urlsplit

import h11

from release.rehearsal.wire import receive, send

__all__ = ["Proxy"]

_LOOPBACK = "127.0.0.1"
_READ = 1 << 16
_HTTPS = 443


class Proxy:
    """Sends `host:443` to a loopback port for each host in `routes`."""

    def __init__(self, routes: Mapping[str, int]) -> None:
        self.routes = dict(routes)
        """Host name -> port. A host that is taken out is refused, as one that was never there."""
        self.refused: Counter[str] = Counter()
        """How often each other host was asked for; the port stands behind it unless it is 443."""
        self.passed: Counter[str] = Counter()
        """Connections made, by host."""

    async def start(self) -> asyncio.Server:
        """Listen on a free port of 127.0.0.1."""
        return await asyncio.start_server(self._connected, _LOOPBACK)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._converse(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, h11.RemoteProtocolError):
            pass  # one side left: the other hears of it by the closed socket
        finally:
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = h11.Connection(h11.SERVER)
        asked = await receive(conversation, reader, writer)
        if not isinstance(asked, h11.Request):
            return
        name = _asked(asked.method, asked.target.decode())
        port = self.routes.get(name) if asked.method == b"CONNECT" else None
        if port is None:
            self.refused[name] += 1
            body = f"the rehearsal has no network: {name} is not part of it\n".encode()
            headers = [("content-length", str(len(body))), ("connection", "close")]
            start = h11.Response(status_code=403, headers=headers, reason="Not in the rehearsal")
            send(conversation, writer, start, h11.Data(data=body))
            await writer.drain()
            return
        self.passed[name] += 1
        there_reader, there_writer = await asyncio.open_connection(_LOOPBACK, port)
        # h11 wants to have seen the end of the request before it switches protocol.
        while not isinstance(await receive(conversation, reader, writer), h11.EndOfMessage):
            pass
        send(conversation, writer, h11.Response(status_code=200, headers=[]))
        early, _ = conversation.trailing_data
        there_writer.write(early)
        try:
            await asyncio.gather(_pipe(reader, there_writer), _pipe(there_reader, writer))
        finally:
            there_writer.close()


def _asked(method: bytes, target: str) -> str:
    """The host a client asked for, with its port unless that is the usual one."""
    parts = urlsplit(f"//{target}" if method == b"CONNECT" else target)
    host = (parts.hostname or target).lower()
    usual = _HTTPS if method == b"CONNECT" else 80
    return host if parts.port in {None, usual} else f"{host}:{parts.port}"


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hand bytes on until one side ends, then end the other."""
    while data := await reader.read(_READ):
        writer.write(data)
        await writer.drain()
    writer.close()
