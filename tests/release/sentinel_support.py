"""A Redis Sentinel for the documents' code: it watches one server under the name `mymaster`."""

import contextlib
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import redis

DEADLINE_S = 20.0
ATTEMPTS = 5
"""Another process may take the port between our choice and the sentinel's bind."""


@contextlib.contextmanager
def started_sentinel(binary: str, watched: int) -> Generator[int]:
    """Watch the server on loopback port `watched`, and yield the sentinel's own port."""
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(ATTEMPTS):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = int(probe.getsockname()[1])
            config = Path(folder) / "sentinel.conf"
            config.write_text(
                f"port {port}\nbind 127.0.0.1\ndir {folder}\n"
                f"sentinel monitor mymaster 127.0.0.1 {watched} 1\n",
                encoding="utf-8",
            )
            process = subprocess.Popen([binary, str(config), "--sentinel"], stdout=subprocess.DEVNULL)
            if _tells(process, port, watched):
                break
            process.kill()
            process.wait()
        else:
            raise RuntimeError(f"{binary} --sentinel did not answer; run it by hand to see why")
        try:
            yield port
        finally:
            process.kill()
            process.wait()


def _tells(process: subprocess.Popen[bytes], port: int, watched: int) -> bool:
    """Wait until the sentinel says where the primary is."""
    until = time.monotonic() + DEADLINE_S
    client: Any = redis.Redis(port=port, decode_responses=True)
    try:
        while process.poll() is None and time.monotonic() < until:
            with contextlib.suppress(redis.ConnectionError):
                told = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster")
                if str(watched) in str(told):
                    return True
            time.sleep(0.02)
        return False
    finally:
        client.close()
