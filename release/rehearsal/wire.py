"""HTTP/1.1 on asyncio streams: parses with h11, knows nothing of what is served.

One connection, one task; requests on it are answered in order. A handler that fails is a defect of the
rehearsal: the connection is cut, and asyncio hands the error to the loop's exception handler.
"""

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

import h11

__all__ = ["Handler", "Request", "Response", "json_response", "receive", "send", "serve"]

_READ = 1 << 16
"""Bytes asked of a socket at once."""
MAX_BODY = 128 << 20
"""Bytes of a request's body; above the largest file an index takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, complete."""

    method: str
    target: str
    """As sent: path and query."""
    headers: Mapping[str, str]
    """Lower-case names; the last of repeated ones."""
    body: bytes = b""

    @property
    def path(self) -> str:
        """The target without its query, still percent-encoded."""
        return urlsplit(self.target).path

    @property
    def host(self) -> str:
        """The host the client meant, without a port."""
        return self.headers.get("host", "").partition(":")[0].lower()

    def query(self, name: str) -> str | None:
        """The first value of a query parameter."""
        return next(iter(parse_qs(urlsplit(self.target).query).get(name, [])), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One answer."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    reason: str | None = None
    """The status line's phrase; indexes put their explanation there. None: the standard one."""


Handler = Callable[[Request], Awaitable[Response]]


def json_response(value: object, *, status: int = 200, content_type: str = "application/json") -> Response:
    """`value` as JSON."""
    return Response(status=status, body=json.dumps(value).encode(), headers={"content-type": content_type})


async def serve(handler: Handler, tls: ssl.SSLContext | None = None) -> asyncio.Server:
    """Listen on a free port of 127.0.0.1 and answer with `handler`."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _converse(reader, writer, handler)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass  # the client left: its own matter
        finally:
            writer.close()

    return await asyncio.start_server(connected, "127.0.0.1", ssl=tls)


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handler: Handler) -> None:
    """Answer requests until the client or the protocol ends the connection."""
    wire = h11.Connection(h11.SERVER)
    while True:
        try:
            request = await _request(wire, reader, writer)
        except h11.RemoteProtocolError as error:
            # A request is read when no answer is on its way, so that there may be one now.
            await _answer(wire, writer, _plain(error.error_status_hint, str(error)))
            return
        if request is None:
            return
        response = await handler(request)
        await _answer(wire, writer, response, head=request.method == "HEAD")
        if wire.their_state is not h11.DONE:  # one side wants to close, which h11 says of both
            return
        wire.start_next_cycle()


async def _request(
    wire: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> Request | None:
    """The next whole request, or None when the client closed."""
    head = await receive(wire, reader, writer)
    if not isinstance(head, h11.Request):
        return None
    body = bytearray()
    while isinstance(event := await receive(wire, reader, writer), h11.Data):
        body += event.data
        if len(body) > MAX_BODY:
            raise h11.RemoteProtocolError("the request is too large", error_status_hint=413)
    return Request(
        method=head.method.decode(),
        target=head.target.decode(),
        headers={name.decode(): value.decode("latin-1") for name, value in head.headers},
        body=bytes(body),
    )


async def _answer(
    wire: h11.Connection, writer: asyncio.StreamWriter, response: Response, *, head: bool = False
) -> None:
    """Send one response."""
    headers = [*response.headers.items(), ("content-length", str(len(response.body)))]
    reason = response.reason if response.reason is not None else HTTPStatus(response.status).phrase
    start = h11.Response(status_code=response.status, headers=headers, reason=reason)
    body = [] if head else [h11.Data(data=response.body)]
    send(wire, writer, start, *body, h11.EndOfMessage())
    await writer.drain()


async def receive(
    wire: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
    """What the client says next; its connection is read as far as that takes.

    Raises:
        h11.RemoteProtocolError: it does not speak HTTP.
    """
    while (event := wire.next_event()) is h11.NEED_DATA:
        if wire.they_are_waiting_for_100_continue:
            send(wire, writer, h11.InformationalResponse(status_code=100, headers=[]))
        wire.receive_data(await reader.read(_READ))
    return event


def send(wire: h11.Connection, writer: asyncio.StreamWriter, *events: h11.Event) -> None:
    """Write events as the bytes they are in HTTP."""
    writer.writelines(filter(None, map(wire.send, events)))


def _plain(status: int, text: str) -> Response:
    return Response(status=status, body=text.encode(), headers={"content-type": "text/plain; charset=utf-8"})
