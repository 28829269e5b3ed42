"""Connections of the embedded world that end in an unusual way: none of them harms it."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import h11
import pytest

from release.rehearsal import wire
from release.rehearsal.proxy import Proxy
from release.rehearsal.tls import Authority
from release.rehearsal.wire import Request, Response

PATIENCE_S = 30.0


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)


async def answered(request: Request) -> Response:
    return Response(status=200, body=request.method.encode())


def complaints() -> list[dict[str, Any]]:
    """What this test's event loop is told of failed connections, from now on."""
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, about: told.append(about))
    return told


async def said_by(server: asyncio.Server, *asked: bytes) -> bytes:
    """All that a server says to a client that sends these bytes and ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.sockets[0].getsockname()[1]))
    for each in asked:
        writer.write(each)
        await writer.drain()
    writer.write_eof()
    said = await reader.read()
    writer.close()
    server.close()
    await server.wait_closed()
    return said


async def test_wire_hands_a_request_on_as_it_came() -> None:
    """A handler sees what the client meant, and the client gets what the handler said."""
    seen: list[Request] = []

    async def answer(request: Request) -> Response:
        seen.append(request)
        return wire.json_response({"a": 1}, status=201)

    head = (
        b"POST /a/b%20c?x=1&y=two%20words&x=2&z HTTP/1.1\r\nHost: Some.Where:80\r\nX-One: a\r\nx-one: b\r\n"
    )
    said = await said_by(await wire.serve(answer), head + b"content-length: 4\r\n\r\nbo", b"dy")
    (request,) = seen
    assert (request.method, request.path, request.host) == ("POST", "/a/b%20c", "some.where")
    assert [request.query(name) for name in "xyzw"] == ["1", "two words", None, None]
    assert request.headers == {"host": "Some.Where:80", "x-one": "b", "content-length": "4"}
    assert request.body == b"body"
    assert said.startswith(b"HTTP/1.1 201 Created\r\n")
    assert b"\r\ncontent-type: application/json\r\n" in said
    assert said.endswith(b'\r\ncontent-length: 8\r\n\r\n{"a": 1}')


async def test_wire_reads_a_body_that_comes_in_parts() -> None:
    """A wheel is longer than what a socket gives at once."""
    seen: list[Request] = []

    async def answer(request: Request) -> Response:
        seen.append(request)
        return Response(status=400, headers={"X-Why": "so"}, reason="File already exists")

    body = bytes(range(256)) * 2000
    head = b"POST /x HTTP/1.1\r\nhost: x\r\nx-who: \xe9\r\ncontent-length: %d\r\n\r\n" % len(body)
    said = await said_by(await wire.serve(answer), head, body)
    assert [request.body for request in seen] == [body]
    assert seen[0].headers["x-who"] == "é"
    assert said == b"HTTP/1.1 400 File already exists\r\nX-Why: so\r\ncontent-length: 0\r\n\r\n"


async def test_wire_answers_over_tls_as_the_host_it_was_asked_for(tmp_path: Path) -> None:
    """Under a certificate of the rehearsal's authority alone."""
    authority = Authority()
    trusting = ssl.create_default_context(cafile=authority.write(tmp_path / "authority.pem"))
    server = await wire.serve(answered, authority.server(["one.invalid", "there.invalid"]))
    port = int(server.sockets[0].getsockname()[1])
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=trusting, server_hostname="there.invalid"
    )
    shown: Any = writer.get_extra_info("peercert")
    assert (("organizationName", "release rehearsal"),) in shown["issuer"]
    writer.write(b"GET / HTTP/1.1\r\nhost: there.invalid\r\nconnection: close\r\n\r\n")
    assert (await reader.read()).endswith(b"\r\n\r\nGET")
    writer.close()
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        await asyncio.open_connection("127.0.0.1", port, ssl=trusting, server_hostname="else.invalid")
    server.close()
    await server.wait_closed()


async def test_wire_ends_a_connection_that_an_answer_ends() -> None:
    """The client was told so, and another question would get no answer."""

    async def last(request: Request) -> Response:
        return Response(status=200, headers={"connection": "close"}, body=request.method.encode())

    told = complaints()
    said = await said_by(await wire.serve(last), b"GET / HTTP/1.1\r\nhost: x\r\n\r\n" * 2)
    assert said.count(b"HTTP/1.1 200 OK") == 1
    assert told == []


async def test_wire_answers_the_question_for_a_head_without_the_body() -> None:
    """An installer asks so for a file's size; bytes behind the head would be the next answer's."""
    told = complaints()
    said = await said_by(await wire.serve(answered), b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n" * 2)
    assert said == b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n" * 2
    assert told == []


async def test_wire_answers_nonsense_with_400() -> None:
    """A broken client hears of it in words; the server goes on."""
    told = complaints()
    said = await said_by(await wire.serve(answered), b"this is not HTTP\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"\r\ncontent-type: text/plain; charset=utf-8\r\n" in said
    assert b"illegal request line" in said
    assert told == []


async def test_wire_says_go_on_and_bounds_what_it_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that asks before it sends is told to; one that sends too much is stopped."""
    monkeypatch.setattr(wire, "MAX_BODY", 4)
    head = b"POST /x HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: %d\r\n\r\n"
    server = await wire.serve(answered)
    port = int(server.sockets[0].getsockname()[1])
    for sent, answer in ((b"just", b"HTTP/1.1 200 OK"), (b"too much.", b"HTTP/1.1 413 ")):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head % len(sent))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        writer.write(sent)
        writer.write_eof()
        said = await reader.read()
        assert said.startswith(answer)
        writer.close()
    assert said.endswith(b"\r\n\r\nthe request is too large")
    server.close()
    await server.wait_closed()


async def test_a_client_that_resets_its_connection_is_no_failure() -> None:
    """A client that was killed is its own matter: the server goes on, and nobody hears of a defect."""
    told = complaints()
    server = await wire.serve(answered)
    port = int(server.sockets[0].getsockname()[1])
    reset = connected(port)
    reset.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    reset.close()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert (await reader.read()).endswith(b"GET")
    writer.close()
    server.close()
    await server.wait_closed()
    assert told == []


@pytest.mark.parametrize(
    "head", [b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n"]
)
async def test_a_client_that_wants_one_answer_gets_one_and_the_end(head: bytes) -> None:
    """A client that reads to the end would otherwise wait for ever."""
    server = await wire.serve(answered)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.sockets[0].getsockname()[1]))
    writer.write(head)
    assert (await asyncio.wait_for(reader.read(), PATIENCE_S)).startswith(b"HTTP/1.1 200 ")
    writer.close()
    server.close()
    await server.wait_closed()


@asynccontextmanager
async def asking(
    proxy: Proxy, head: str = ""
) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client of this proxy that has asked for there.invalid."""
    server = await proxy.start()
    host, port = server.sockets[0].getsockname()
    assert host == "127.0.0.1"
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(f"CONNECT there.invalid:443 HTTP/1.1\r\nhost: there.invalid\r\n{head}\r\n".encode())
    yield reader, writer
    writer.close()
    server.close()
    await server.wait_closed()


async def test_the_proxy_reads_a_request_to_its_end_before_it_switches() -> None:
    """What belongs to the request would otherwise be sent on as the first bytes of the conversation."""
    reached = asyncio.Event()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.set()
        await _echo(reader, writer)

    there = await asyncio.start_server(echo, "127.0.0.1", 0)
    proxy = Proxy({"there.invalid": int(there.sockets[0].getsockname()[1])})
    async with asking(proxy, "transfer-encoding: chunked\r\n") as (reader, writer):
        await asyncio.wait_for(reached.wait(), PATIENCE_S)
        writer.write(b"4\r\nbody\r\n0\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        for said in (b"hello", b"again"):
            writer.write(said)
            assert await reader.readexactly(5) == said
        writer.write_eof()
        assert await reader.read() == b""
    there.close()
    await there.wait_closed()


async def test_the_proxy_connects_to_nothing_but_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the name, and whatever the machine takes `localhost` for."""
    asked: list[tuple[object, ...]] = []

    async def refuse(*words: object) -> None:
        asked.append(words)
        raise ConnectionRefusedError

    async with asking(Proxy({"there.invalid": 9})) as (reader, _):
        monkeypatch.setattr(asyncio, "open_connection", refuse)
        assert await reader.read() == b""
    assert asked == [("127.0.0.1", 9)]


async def test_a_client_that_is_killed_ends_its_conversation_and_nothing_else() -> None:
    """The other side hears of the end, and nobody of a defect."""
    ended = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        await reader.read()
        writer.close()
        ended.set()

    told = complaints()
    there = await asyncio.start_server(wait, "127.0.0.1", 0)
    proxy = Proxy({"there.invalid": int(there.sockets[0].getsockname()[1])})
    async with asking(proxy) as (reader, writer):
        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200 ")
        own: socket.socket = writer.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        await asyncio.wait_for(ended.wait(), PATIENCE_S)
    there.close()
    await there.wait_closed()
    assert told == []


async def test_the_proxy_counts_what_it_refused() -> None:
    """Each vain attempt is one, by host and unusual port; the client reads why."""
    proxy = Proxy({"there.invalid": 9})
    for target in ("a.invalid:443", "A.invalid:443", "a.invalid:8443"):
        said = await said_by(await proxy.start(), f"CONNECT {target} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        assert said.startswith(b"HTTP/1.1 403 Not in the rehearsal\r\n")
    text = b"the rehearsal has no network: a.invalid:8443 is not part of it\n"
    headers = b"content-length: %d\r\nconnection: close\r\n" % len(text)
    assert said == b"HTTP/1.1 403 Not in the rehearsal\r\n" + headers + b"\r\n" + text
    for host in (b"there.invalid", b"there.invalid:80", b"there.invalid:443"):
        await said_by(await proxy.start(), b"GET http://%s/x HTTP/1.1\r\nhost: x\r\n\r\n" % host)
    assert proxy.refused == {
        "a.invalid": 2,
        "a.invalid:8443": 1,
        "there.invalid": 2,
        "there.invalid:443": 1,
    }
    assert proxy.passed == {}


async def test_the_proxy_hands_on_what_comes_with_the_request() -> None:
    """A client may say its hello in the same breath."""
    there = await asyncio.start_server(_echo, "127.0.0.1", 0)
    proxy = Proxy({"there.invalid": int(there.sockets[0].getsockname()[1])})
    client = h11.Connection(h11.CLIENT)
    asked = client.send(h11.Request(method="CONNECT", target="there.invalid:443", headers=[("host", "x")]))
    for count in (1, 2):
        server = await proxy.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.sockets[0].getsockname()[1]))
        writer.write((asked or b"") + b"hello")
        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200 ")
        assert (proxy.passed, proxy.refused) == ({"there.invalid": count}, {})
        writer.close()
        server.close()
        await server.wait_closed()
    there.close()
    await there.wait_closed()


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while said := await reader.read(1000):
        writer.write(said)
    writer.close()
