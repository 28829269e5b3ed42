"""When leases are renewed and when no longer, with neither thread nor waiting: the test is the clock.

The look of the thread runs in the test itself. What the thread and a real connection do is in
`tests/library/worker/test_renewal.py`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, cast

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.library.conftest import START_US
from tests.library.support.boxes import BOX
from tta_agent_coordination._redis.blocking import BlockingClient
from tta_agent_coordination._redis.replies import Reply, Status
from tta_agent_coordination._redis.script import Call
from tta_agent_coordination.coordinators import _renewal
from tta_agent_coordination.coordinators._renewal import LeaseKeeper, lease_keeper
from tta_agent_coordination.testing import ManualClock

LEASE_US = 12_000_000
"""Renewed every 4 s, looked at every second."""
BEGIN_S = 100.0


class Store:
    """A connection that carries nothing out: it notes what is asked, and answers as it is told to."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.asked: list[tuple[float, str]] = []
        """When, by the monotonic clock, and of which lease."""
        self.calls: list[Call[Any]] = []
        self.lost: set[str] = set()
        self.error: Exception | None = None
        self.takes_s = 0.0
        self.meanwhile: Callable[[], None] = lambda: None
        self.closed = 0

    def run(self, call: Call[Any]) -> Reply:
        token = str(call.args[2])
        self.asked.append((self.bench.now_s, token))
        self.calls.append(call)
        self.bench.now_s += self.takes_s
        self.meanwhile()
        if self.error is not None:
            raise self.error
        return Reply(Status.LOST if token in self.lost else Status.OK, "")

    def close(self) -> None:
        self.closed += 1


class Bench:
    """A keeper whose monotonic clock is moved by its own waiting."""

    def __init__(self) -> None:
        self.now_s = BEGIN_S
        self.left = 0
        self.waited: set[float] = set()
        self.store = Store(self)
        self.clock = ManualClock(START_US)
        self.keeper = self.another()

    def another(self, lease_us: int = LEASE_US) -> LeaseKeeper:
        made = LeaseKeeper(cast("BlockingClient", self.store), BOX, lease_us=lease_us, clock=self.clock)
        made._closing = cast("threading.Event", self)
        return made

    def monotonic(self) -> float:
        return self.now_s

    def is_set(self) -> bool:
        return True  # so that no thread is started

    def wait(self, seconds: float) -> bool:
        self.waited.add(seconds)
        self.now_s += seconds
        self.left -= 1
        return self.left < 0

    def look(self, times: int) -> list[tuple[float, str]]:
        """Let so many looks pass; return what was asked in them, times counted from the first keep."""
        self.store.asked.clear()
        self.left = times
        self.keeper._work()
        return [(at_s - BEGIN_S, token) for at_s, token in self.store.asked]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench()
    monkeypatch.setattr(_renewal, "time", made)
    return made


def test_lease_is_renewed_every_third_of_its_length(bench: Bench) -> None:
    """Broken: a lease runs out between two renewals, or is renewed at every look."""
    bench.keeper.keep("res_1", 60)
    assert bench.look(13) == [(4.0, "res_1"), (8.0, "res_1"), (12.0, "res_1")]
    assert bench.waited == {1.0}


@pytest.mark.parametrize(
    ("lease_us", "pause_s", "renewals"), [(1, 0.005, 5), (60_000, 0.005, 1), (120_000, 0.01, 1)]
)
def test_thread_takes_a_breath_however_short_the_lease(
    bench: Bench, lease_us: int, pause_s: float, renewals: int
) -> None:
    """Broken: a lease of microseconds keeps a core busy with looking, and the server with renewing."""
    bench.keeper = bench.another(lease_us)
    bench.keeper.keep("res_1", 60)
    assert len(bench.look(5)) == renewals
    assert bench.waited == {pause_s}


def test_slow_renewal_does_not_put_off_the_next(bench: Bench) -> None:
    """Broken: the time a renewal takes is added to the lease's, which ends before the next one."""
    bench.store.takes_s = 2.5
    bench.keeper.keep("res_1", 60)
    assert bench.look(7) == [(4.0, "res_1"), (8.5, "res_1")]


def test_renewal_says_which_lease_and_how_long_and_is_never_taken_for_the_last_one(bench: Bench) -> None:
    """Broken: the server takes a renewal for a repetition of the one before, and the lease runs out."""
    bench.keeper.keep("res_1", 60)
    bench.look(4)
    bench.clock.advance(4)
    bench.look(4)
    other = bench.another()
    other.keep("res_1", 60)
    bench.keeper = other
    bench.look(4)
    first, second, third = bench.store.calls
    assert first.args == (1, str(START_US), "res_1", LEASE_US)
    assert second.args == (2, str(START_US + 4_000_000), "res_1", LEASE_US)
    assert first.keys == second.keys
    assert first.keys[1:] == (BOX.reserved, BOX.deadlines)
    owner, place = first.keys[0].rsplit(b":", 1)
    assert owner.startswith(b"ao:op:world:1:")
    assert place == b"0"
    assert third.keys[0] != first.keys[0], "two keepers share the memory of what was done last"
    assert len(owner) == len(b"ao:op:world:1:") + 16


def test_keeping_again_begins_the_time_anew_and_leaves_the_next_renewal(bench: Bench) -> None:
    """Broken: a lease that is kept again and again, as each step of its message begins, is never renewed."""
    bench.keeper.keep("res_1", 2)
    bench.now_s += 1
    bench.keeper.keep("res_1", 8)
    assert bench.look(3) == [(4.0, "res_1")]
    assert bench.look(4) == [(8.0, "res_1")]


def test_lease_that_had_its_time_is_told_of_and_left(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Broken: a handler that never returns keeps its message, or loses it a moment too early."""
    bench.keeper.keep("res_1", 8)
    bench.keeper.keep("res_2", 8.5)
    assert bench.look(12) == [(4.0, "res_1"), (4.0, "res_2"), (8.0, "res_2")]
    assert [record.getMessage() for record in caplog.records] == [
        f"the lease {token} of world:1 is renewed no longer: its handler had its time; the message is "
        "delivered again"
        for token in ("res_1", "res_2")
    ]


def test_lost_lease_is_told_once_and_the_others_are_renewed(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: the loss of one lease ends the renewal of others, or is told at each look."""
    bench.store.lost = {"res_1"}
    for token in ("res_1", "res_2"):
        bench.keeper.keep(token, 60)
    assert bench.look(8) == [(4.0, "res_1"), (4.0, "res_2"), (8.0, "res_2")]
    assert [record.getMessage() for record in caplog.records] == [
        (
            "the lease res_1 of world:1 was lost: somebody else may have the message; a longer "
            "visibility_timeout outlasts longer outages"
        )
    ]


def test_dropped_lease_is_not_renewed(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Broken: a message that was given back is held for ever by nobody."""
    for token in ("res_1", "res_2"):
        bench.keeper.keep(token, 60)
    bench.keeper.drop("res_1")
    bench.keeper.drop("res_1")
    assert bench.look(4) == [(4.0, "res_2")]
    bench.store.meanwhile = lambda: bench.keeper.drop("res_2")
    bench.store.lost = {"res_2"}
    assert len(bench.look(8)) == 1
    assert caplog.text == "", "what was dropped under its renewal is not lost"


def test_outage_is_told_once_each_time_and_what_was_due_is_tried_at_the_next_look(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: after a failure a lease waits for its next turn, and runs out; or the log drowns."""
    for token in ("res_1", "res_2"):
        bench.keeper.keep(token, 60)
    with caplog.at_level(logging.WARNING):
        for error in (RedisConnectionError("no route"), OSError("gone")):
            bench.store.error = error
            assert [token for _, token in bench.look(6)].count("res_2") == 0
            bench.store.error = None
            assert [token for _, token in bench.look(1)] == ["res_1", "res_2"]
    assert [record.getMessage() for record in caplog.records] == [
        f"leases of world:1 cannot be renewed ({why}); trying on: what runs out is delivered again"
        for why in ("no route", "gone")
    ]
    bench.store.error = LookupError("a fault of ours")
    with pytest.raises(LookupError):
        bench.look(6)


def test_connection_is_closed_when_the_looking_ends(bench: Bench) -> None:
    """Broken: each worker that ends leaves a connection behind."""
    bench.keeper.keep("res_1", 60)
    bench.look(0)
    assert bench.store.closed == 1
    assert bench.store.asked == []


def test_thread_begins_with_the_first_lease_and_holds_up_no_process() -> None:
    """Broken: a process that forgets to close its worker never ends, or each lease begins a thread."""
    bench = Bench()
    keeper = LeaseKeeper(cast("BlockingClient", bench.store), BOX, lease_us=LEASE_US, clock=None)
    assert keeper._thread is None
    keeper.keep("res_1", 60)
    thread = keeper._thread
    keeper.keep("res_2", 60)
    assert thread is not None
    assert keeper._thread is thread
    assert thread.daemon
    assert thread.name == "leases of world:1"
    keeper.close()
    assert not thread.is_alive()
    assert bench.store.closed == 1


@pytest.mark.parametrize(("lease_s", "timeout_s"), [(0.1, 0.2), (0.9, 0.3), (12, 4.0), (60, 5.0)])
def test_one_try_may_take_as_long_as_from_one_renewal_to_the_next(
    monkeypatch: pytest.MonkeyPatch, lease_s: float, timeout_s: float
) -> None:
    """Broken: one stalled renewal outlasts the lease, or none has time for its answer."""
    made: list[tuple[object, float]] = []

    class Client:
        def __init__(self, client: object, *, timeout_s: float) -> None:
            made.append((client, timeout_s))

    monkeypatch.setattr(_renewal, "BlockingClient", Client)
    client: Any = object()
    clock = ManualClock()
    keeper = lease_keeper(client, BOX, lease_us=round(lease_s * 1_000_000), clock=clock)
    [(given, limit)] = made
    assert given is client
    assert limit == pytest.approx(timeout_s)
    assert isinstance(keeper._client, Client)
    assert (keeper._box, keeper._lease_us, keeper._clock) == (BOX, round(lease_s * 1_000_000), clock)
