"""Owns the server of a drill: a process that can be stopped, killed and started again where it was."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import redis
from redis.exceptions import RedisError

__all__ = ["Server"]

START_DEADLINE_S = 20.0
"""How long a server may take to answer, its append-only file read."""


class Server:
    """A redis-server on a loopback port that keeps its port and its folder over restarts.

    Args:
        binary: The program.
        folder: Where it keeps its append-only file.
    """

    def __init__(self, binary: str, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._command = [binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)]
        self._command += ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]
        self._command += ["--maxmemory-policy", "noeviction", "--loglevel", "warning"]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> Any:  # noqa: ANN401 - redis-py's own types are partly unknown
        """Return a new client for the drill itself."""
        return redis.Redis(host="127.0.0.1", port=self.port, client_name="drill")

    def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            RuntimeError: If it does not.
        """
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        deadline = time.monotonic() + START_DEADLINE_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with self.client() as client:
                    client.execute_command("PING")
                    return
            except RedisError:
                time.sleep(0.02)
        self.kill()
        raise RuntimeError(f"redis-server did not answer: run `{' '.join(self._command)}` to see why")

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stall(self, seconds: float) -> None:
        """Let it stand still: connections stay open, nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self._process.send_signal(signal.SIGCONT)
