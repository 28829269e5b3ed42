"""The CONNECT proxy: keeps the real host names, sends the known ones to loopback, refuses and lists the rest.

It never opens a connection to anything but 127.0.0.1. What it was asked for in vain is the proof that a
rehearsal needs no network, or the name of what does.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Mapping
from urllib.parse import urlsplit

import h11

__all__ = ["Proxy"]

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
        return await asyncio.start_server(self._connected, "127.0.0.1", 0)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._converse(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, h11.RemoteProtocolError):
            pass  # one side left: the other hears of it by the closed socket
        finally:
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = h11.Connection(h11.SERVER)
        while (event := wire.next_event()) is h11.NEED_DATA:
            wire.receive_data(await reader.read(_READ))
        if not isinstance(event, h11.Request):
            return
        target = event.target.decode("latin-1")
        name = _asked(event.method, target)
        port = self.routes.get(name) if event.method == b"CONNECT" else None
        if port is None:
            self.refused[name] += 1
            body = f"the rehearsal has no network: {name} is not part of it\n".encode()
            headers = [("content-length", str(len(body))), ("connection", "close")]
            writer.write(
                wire.send(h11.Response(status_code=403, headers=headers, reason="Not in the rehearsal"))
                or b""
            )
            writer.write(wire.send(h11.Data(data=body)) or b"")
            writer.write(wire.send(h11.EndOfMessage()) or b"")
            await writer.drain()
            return
        self.passed[name] += 1
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
        # h11 wants to have seen the end of the request before it switches protocol.
        while not isinstance(event := wire.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                wire.receive_data(await reader.read(_READ))
        writer.write(wire.send(h11.Response(status_code=200, headers=[])) or b"")
        early, _ = wire.trailing_data
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
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(_READ):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(ConnectionError, OSError):
        writer.close()
