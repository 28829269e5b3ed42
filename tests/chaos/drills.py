"""Owns the drills: what is done to the processes and the server, and the count of what came of it."""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from redis.exceptions import RedisError

from tests.chaos.programs import AGENT, CAPACITY, LEASE_S, LINE, fork, produce, work
from tests.chaos.server import Server

__all__ = ["DRILLS", "Outcome", "Size", "play"]

PATIENCE_S = 60.0
"""Without any message handled for so long, what is missing counts as lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large a drill is."""

    kills: int
    messages: int
    workers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of the messages of a drill."""

    drill: str
    sent: int
    lost: int
    doubled: int
    allowed: int
    """How many may be doubled: the leases held when something was done to who held them."""
    took_s: float

    @property
    def passed(self) -> bool:
        """Whether nothing was lost and no more doubled than could not be helped."""
        return self.lost == 0 and self.doubled <= self.allowed


class Field:
    """The processes of one drill, and their record."""

    def __init__(self, server: Server, record: Path, size: Size) -> None:
        self.server, self.record, self.size = server, record, size
        record.touch()
        self.workers = [self._worker() for _ in range(size.workers)]
        self.producers: list[int] = []
        self.sent = 0

    def _worker(self) -> int:
        return fork(partial(work, self.server.url, self.record))

    def send(self, count: int, *, pace_s: float = 0.0, deed: str = "work") -> None:
        """Start a producer of so many messages."""
        self.producers.append(fork(partial(produce, self.server.url, self.sent, count, pace_s, deed)))
        self.sent += count

    def handled(self) -> int:
        """Return how many times a message was handled."""
        return self.record.stat().st_size // LINE

    def until_handled(self, count: int) -> None:
        """Wait until so many were handled, or nothing happens any more."""
        seen, since = self.handled(), time.monotonic()
        while seen < count and time.monotonic() - since < PATIENCE_S:
            time.sleep(0.005)
            if (now := self.handled()) != seen:
                seen, since = now, time.monotonic()

    def kill_one(self) -> None:
        """End a worker in the middle of whatever it does; a fresh one takes its place."""
        index = random.randrange(len(self.workers))
        _end(self.workers[index])
        self.workers[index] = self._worker()

    def distinct(self) -> set[str]:
        """Return the messages that were handled."""
        return set(self.record.read_text("ascii").split())

    def finish(self) -> None:
        """Wait until all that was sent is handled, or nothing happens any more."""
        seen, since = -1, time.monotonic()
        while time.monotonic() - since < PATIENCE_S:
            if (now := self.handled()) != seen:
                seen, since = now, time.monotonic()
                if len(self.distinct()) == self.sent:
                    break
            time.sleep(0.05)

    def end(self) -> None:
        """End all processes."""
        for child in (*self.workers, *self.producers):
            _end(child)


def _end(child: int) -> None:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def kill(field: Field) -> int:
    """`kill -9` of workers at random moments; fresh ones finish."""
    size = field.size
    field.send(size.messages, pace_s=0.001)
    for moment in sorted(random.randrange(size.messages) for _ in range(size.kills)):
        field.until_handled(moment)
        time.sleep(random.uniform(0, 0.02))
        field.kill_one()
    return size.kills * CAPACITY


def stall(field: Field) -> int:
    """SIGSTOP of the server for 6 s."""
    field.send(500, pace_s=0.002)
    field.until_handled(100)
    field.server.stall(6)
    return field.size.workers * CAPACITY


def cut(field: Field) -> int:
    """CLIENT KILL of every connection, 20 times."""
    field.send(500, pace_s=0.005)
    with field.server.client() as client:
        for time_s in range(20):
            field.until_handled(20 * time_s)
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    return 0


def forget(field: Field) -> int:
    """SCRIPT FLUSH, 40 times."""
    field.send(500, pace_s=0.002)
    with field.server.client() as client:
        for turn in range(40):
            field.until_handled(10 * turn)
            client.execute_command("SCRIPT", "FLUSH")
    return 0


def restart(field: Field) -> int:
    """`kill -9` of the server and a start from its append-only file, 3 times."""
    field.send(500, pace_s=0.002)
    for turn in range(3):
        field.until_handled(100 * (turn + 1))
        field.server.kill()
        field.server.start()
    return 3 * field.size.workers * CAPACITY


def block(field: Field) -> int:
    """Handlers that block the event loop for three leases."""
    field.send(field.size.workers, deed="block")
    field.send(200)
    return 0


def hang(field: Field) -> int:
    """Handlers that never return: half wait for ever, half block the event loop for ever.

    A loop that is blocked for ever cannot acknowledge what its other handlers had just done, and those leases
    are not renewed beyond `handler_timeout` either.
    """
    frozen = 2
    field.send(2, deed="hang")
    field.send(frozen, deed="freeze")
    field.send(200)
    return frozen * (CAPACITY - 1)


DRILLS: Mapping[str, Callable[[Field], int]] = {
    "kill -9 of workers": kill,
    "server stalled 6 s": stall,
    "CLIENT KILL": cut,
    "SCRIPT FLUSH": forget,
    "server killed, AOF": restart,
    "blocked three leases": block,
    "never returns": hang,
}
"""Name -> what is done; it returns how many messages may be doubled."""


@contextmanager
def _field(binary: str, size: Size) -> Generator[Field]:
    with tempfile.TemporaryDirectory(prefix="tta-chaos-") as folder:
        server = Server(binary, Path(folder))
        server.start()
        try:
            field = Field(server, Path(folder) / "record", size)
            try:
                yield field
            finally:
                field.end()
        finally:
            server.kill()


def play(name: str, binary: str, size: Size) -> Outcome:
    """Play one drill from an empty server to the last message, and count."""
    began = time.monotonic()
    with _field(binary, size) as field:
        allowed = DRILLS[name](field)
        field.finish()
        distinct, handled = field.distinct(), field.handled()
        lost = field.sent - len(distinct)
        if lost:
            sys.stderr.write(f"{name}: {_state(field.server)}\n")
    return Outcome(
        drill=name,
        sent=field.sent,
        lost=lost,
        doubled=handled - len(distinct),
        allowed=allowed,
        took_s=time.monotonic() - began,
    )


def _state(server: Server) -> str:
    """Return what the server still holds, for whoever looks for a lost message."""
    inbox = f"{AGENT.type}:default"
    try:
        with server.client() as client:
            held = client.execute_command("HLEN", f"ao:reserved:{inbox}")
            ready = client.execute_command("ZCARD", f"ao:sched:{inbox}:prio:5")
            dead = client.execute_command("LLEN", f"ao:dlq:{inbox}")
    except RedisError as error:
        return f"the server does not answer: {error}"
    return f"left in the server after {LEASE_S:g} s leases: {held} held, {ready} waiting, {dead} dead"
