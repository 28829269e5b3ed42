"""Connections of the embedded world that end in an unusual way: none of them harms it."""

import asyncio
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h11
import pytest

from release.indexes import INDEXES, IndexName
from release.rehearsal import wire, world
from release.rehearsal.proxy import Proxy
from release.rehearsal.wire import Request, Response
from release.rehearsal.world import World
from tests.release.rehearsal.support import FACTS

HOST = INDEXES[IndexName.PYPI].hosts[0]
PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world.start(tmp_path_factory.mktemp("world"), FACTS) as started:
        yield started
        assert started.failures == []


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)


def until(condition: Callable[[], object]) -> None:
    """Wait for a condition that another thread brings about."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "the other side never came so far"
        time.sleep(0.01)


async def answered(request: Request) -> Response:
    return Response(status=200, body=request.method.encode())


def complaints() -> list[dict[str, Any]]:
    """What this test's event loop is told of failed connections, from now on."""
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, about: told.append(about))
    return told


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
def test_a_client_that_wants_one_answer_gets_one_and_the_end(running: World, head: bytes) -> None:
    """A client that reads to the end would otherwise wait for ever."""
    with connected(port_of(running.issuer.base)) as client:
        client.sendall(head)
        said = b""
        while part := client.recv(1000):
            said += part
    assert said.startswith(b"HTTP/1.1 404 ")


def test_the_world_ends_while_a_client_keeps_its_connection(tmp_path: Path) -> None:
    """What still listens when the rehearsal is over is hung up on, and no task is left behind."""
    with world.start(tmp_path, FACTS) as started:
        client = connected(port_of(started.issuer.base))
        client.sendall(b"GET /elsewhere HTTP/1.1\r\nhost: x\r\n\r\n")
        said = b""
        while not said.endswith(b'{"message": "not found"}'):
            said += client.recv(1000)
    with client:
        assert client.recv(1000) == b""
    assert started.failures == []


def test_the_proxy_reads_a_request_to_its_end_before_it_switches(running: World) -> None:
    """What belongs to the request would otherwise be sent on as the first bytes of the conversation."""
    before = running.proxy.passed[HOST]
    head = f"CONNECT {HOST}:443 HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 4\r\n\r\n".encode()
    with connected(port_of(running.proxy_url)) as client:
        client.sendall(head)
        until(lambda: running.proxy.passed[HOST] > before)
        client.sendall(b"body")
        assert client.recv(1000).startswith(b"HTTP/1.1 200 ")


async def test_the_proxy_hands_on_what_comes_with_the_request() -> None:
    """A client may say its hello in the same breath."""
    there = await asyncio.start_server(_echo, "127.0.0.1", 0)
    proxy = Proxy({"there.invalid": int(there.sockets[0].getsockname()[1])})
    server = await proxy.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.sockets[0].getsockname()[1]))
    client = h11.Connection(h11.CLIENT)
    asked = client.send(h11.Request(method="CONNECT", target="there.invalid:443", headers=[("host", "x")]))
    writer.write((asked or b"") + b"hello")
    assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200 ")
    writer.close()
    for each in (server, there):
        each.close()
        await each.wait_closed()


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while said := await reader.read(1000):
        writer.write(said)
    writer.close()
