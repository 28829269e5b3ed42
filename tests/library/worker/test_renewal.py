"""Leases while somebody works: renewed from a thread, as long as the message is worked on, no longer."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import redis.asyncio as aioredis
from redis.asyncio.connection import AbstractConnection

from tests.library.conftest import START_US, MakeCoordinator
from tests.library.support.builders import WORLD, drain, id_of, send_ids, take
from tests.library.support.peek import Peek
from tests.library.support.servers import Lane, RealLane, RealServer, started_server
from tests.library.support.waiting import eventually
from tta_agent_coordination import AgentWorker, ReceivedMessage, RedisMessageCoordinator
from tta_agent_coordination._redis.script import Call
from tta_agent_coordination.testing import ManualClock

LEASE_S = 0.3
LEASE_US = 300_000


async def ends_at(peek: Peek, token: str, now_us: int) -> bool:
    """Tell whether a lease ends one length after `now_us`."""
    return (await peek.deadlines(WORLD)).get(token) == now_us + LEASE_US


async def test_kept_lease_moves_with_the_clock(
    coordinator: RedisMessageCoordinator, clock: ManualClock, peek: Peek
) -> None:
    """Broken: a message is delivered again while somebody works on it."""
    await send_ids(coordinator, ["message-1"])
    received = await take(coordinator, visibility_timeout=LEASE_S)
    keeper = coordinator.lease_keeper(WORLD, LEASE_S)
    keeper.keep(received.token, 60)
    try:
        for _ in range(3):
            clock.advance(0.1)
            await eventually("the lease is renewed", lambda: ends_at(peek, received.token, clock.now_us()))
    finally:
        keeper.close()
    assert await coordinator.ack(WORLD, received.token)


async def test_lease_is_left_alone_when_it_is_dropped_or_had_its_time(
    coordinator: RedisMessageCoordinator, clock: ManualClock, peek: Peek, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: a handler that never returns keeps its message for ever."""
    await send_ids(coordinator, ["message-1", "message-2", "message-3"])
    dropped, overdue, kept = [await take(coordinator, visibility_timeout=LEASE_S) for _ in range(3)]
    keeper = coordinator.lease_keeper(WORLD, LEASE_S)
    clock.advance(0.1)
    keeper.keep(dropped.token, 60)
    keeper.keep(overdue.token, 0)
    keeper.keep(kept.token, 60)
    keeper.drop(dropped.token)
    keeper.drop("res_unknown")
    try:
        await eventually("the third is renewed", lambda: ends_at(peek, kept.token, clock.now_us()))
    finally:
        keeper.close()
    deadlines = await peek.deadlines(WORLD)
    assert deadlines[dropped.token] == deadlines[overdue.token] == START_US + LEASE_US
    assert f"the lease {overdue.token} of world:1 is renewed no longer" in caplog.text
    clock.advance(1)
    assert await drain(coordinator) == ["message-1", "message-2", "message-3"]


async def test_beginning_to_work_begins_the_time_anew(
    coordinator: RedisMessageCoordinator, clock: ManualClock, peek: Peek
) -> None:
    """Broken: a message that waited for a handler gets less time than others."""
    await send_ids(coordinator, ["message-1"])
    received = await take(coordinator, visibility_timeout=LEASE_S)
    keeper = coordinator.lease_keeper(WORLD, LEASE_S)
    clock.advance(0.1)
    keeper.keep(received.token, 0)
    keeper.keep(received.token, 60)
    try:
        await eventually("the lease is renewed", lambda: ends_at(peek, received.token, clock.now_us()))
    finally:
        keeper.close()
    assert await coordinator.ack(WORLD, received.token)


async def test_lost_lease_is_told_once_and_not_taken_back(
    coordinator: RedisMessageCoordinator, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: a renewal brings a reservation back that somebody else has."""
    await send_ids(coordinator, ["message-1"])
    received = await take(coordinator, visibility_timeout=LEASE_S)
    keeper = coordinator.lease_keeper(WORLD, LEASE_S)
    assert await coordinator.ack(WORLD, received.token)
    keeper.keep(received.token, 60)
    try:
        await eventually(
            "it is told", lambda: f"the lease {received.token} of world:1 was lost" in caplog.text
        )
    finally:
        keeper.close()
    assert caplog.text.count("was lost") == 1


async def test_closed_keeper_keeps_nothing(coordinator: RedisMessageCoordinator) -> None:
    """Broken: a thread outlives its worker."""
    keeper = coordinator.lease_keeper(WORLD, LEASE_S)
    keeper.close()
    keeper.keep("res_0", 60)
    keeper.close()
    assert "leases of world:1" not in {thread.name for thread in threading.enumerate()}


async def test_handler_that_blocks_the_loop_for_three_leases_keeps_its_message(
    make_coordinator: MakeCoordinator, lane: Lane
) -> None:
    """Broken: a handler that computes, or calls something that blocks, has its message delivered again."""
    coordinator = make_coordinator(clock=None)
    other = make_coordinator(clock=None, client=lane.client())
    await send_ids(coordinator, ["message-1", "message-2"])
    deliveries: list[tuple[str | None, int]] = []

    async def blocks(received: ReceivedMessage) -> None:
        deliveries.append((id_of(received), received.deliveries))
        end = time.monotonic() + 3 * LEASE_S
        while time.monotonic() < end:
            time.sleep(0.01)  # noqa: ASYNC251 - blocking the loop is what is tested
        assert await other.receive(WORLD) is None, "somebody else got it"

    async def is_empty() -> bool:
        return (await other.stats(WORLD)).depth == 0

    async with AgentWorker(WORLD, coordinator, handlers={None: blocks}, visibility_timeout=LEASE_S):
        await eventually("both are done", is_empty)
    assert deliveries == [("message-1", 1), ("message-2", 1)]


async def test_script_the_server_forgot_is_loaded_again(
    coordinator: RedisMessageCoordinator, clock: ManualClock, peek: Peek
) -> None:
    """Broken: a restarted server ends all renewals."""
    await send_ids(coordinator, ["message-1"])
    received = await take(coordinator, visibility_timeout=LEASE_S)
    keeper = coordinator.lease_keeper(WORLD, LEASE_S)
    keeper.keep(received.token, 60)
    try:
        for _ in range(2):
            await peek.raw("SCRIPT FLUSH")
            clock.advance(0.1)
            await eventually("the lease is renewed", lambda: ends_at(peek, received.token, clock.now_us()))
    finally:
        keeper.close()
    assert await coordinator.ack(WORLD, received.token)


async def test_keeper_survives_a_server_that_stalls(
    private_server: RealServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: one outage and leases are renewed no more, without a word."""
    lane = RealLane(port=private_server.port)
    clock = ManualClock()
    coordinator = RedisMessageCoordinator(lane.client(), clock=clock)
    await send_ids(coordinator, ["message-1"])
    received = await take(coordinator, visibility_timeout=LEASE_S)
    keeper = coordinator.lease_keeper(WORLD, LEASE_S)
    private_server.pause()
    try:
        clock.advance(0.1)
        keeper.keep(received.token, 60)
        await eventually("it is told", lambda: "leases of world:1 cannot be renewed" in caplog.text)
        private_server.resume()
        clock.advance(0.1)
        peek = Peek(lane.client())
        await eventually("the lease is renewed", lambda: ends_at(peek, received.token, clock.now_us()))
    finally:
        private_server.resume()
        keeper.close()
        await lane.close()
    assert caplog.text.count("cannot be renewed") == 1


@pytest.mark.parametrize("scheme", ["redis", "unix"])
async def test_keeper_goes_where_the_client_goes(
    server_binary: str, tmp_path_factory: pytest.TempPathFactory, scheme: str
) -> None:
    """Broken: leases are renewed on another server, another database, or as nobody."""
    socket = tmp_path_factory.mktemp("r") / "s"

    with started_server(server_binary, "--unixsocket", str(socket)) as server:
        lane = RealLane(port=server.port)
        await Peek(lane.client()).raw("CONFIG SET", "requirepass", "secret")
        await lane.close()
        where = f"127.0.0.1:{server.port}/3" if scheme == "redis" else f"{socket}?db=3"
        clock = ManualClock()
        url = f"{scheme}://:secret@{where}"
        async with RedisMessageCoordinator.from_url(url, clock=clock) as coordinator:
            await send_ids(coordinator, ["message-1"])
            received = await take(coordinator, visibility_timeout=LEASE_S)
            keeper = coordinator.lease_keeper(WORLD, LEASE_S)
            clock.advance(0.1)
            keeper.keep(received.token, 60)
            peek = Peek(coordinator._redis)
            try:
                await eventually(
                    "the lease is renewed", lambda: ends_at(peek, received.token, clock.now_us())
                )
            finally:
                keeper.close()


def test_connections_of_an_unknown_kind_are_refused_at_once() -> None:
    """Broken: a worker begins whose leases nobody renews."""

    class OddConnection(AbstractConnection):
        def repr_pieces(self) -> None:
            """Show nothing."""

        async def _connect(self) -> None:
            raise NotImplementedError

        def _host_error(self) -> str:
            return ""

    pool: Any = aioredis.ConnectionPool(connection_class=OddConnection)
    coordinator = RedisMessageCoordinator(aioredis.Redis.from_pool(pool))
    with pytest.raises(TypeError, match="leases cannot be renewed beside a client whose connections are"):
        coordinator.lease_keeper(WORLD, LEASE_S)


async def test_outage_of_many_renewals_is_told_once(
    coordinator: RedisMessageCoordinator,
    clock: ManualClock,
    peek: Peek,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Broken: the log drowns in the same warning, or the thread ends with the second failure."""
    await send_ids(coordinator, ["message-1"])
    received = await take(coordinator, visibility_timeout=LEASE_S)
    keeper = coordinator.lease_keeper(WORLD, LEASE_S)
    run, tries = keeper._client.run, 0

    def fails_thrice[T](call: Call[T]) -> T:
        nonlocal tries
        tries += 1
        if tries <= 3:
            raise aioredis.ConnectionError("nobody is there")
        return run(call)

    keeper._client.run = fails_thrice
    clock.advance(0.1)
    keeper.keep(received.token, 60)
    try:
        await eventually("the lease is renewed", lambda: ends_at(peek, received.token, clock.now_us()))
    finally:
        keeper.close()
    assert tries >= 4
    assert caplog.text.count("cannot be renewed") == 1
    assert await coordinator.ack(WORLD, received.token)


async def test_lease_dropped_while_it_is_renewed_is_not_kept_again(
    coordinator: RedisMessageCoordinator, clock: ManualClock, peek: Peek, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: a renewal under way keeps what was dropped meanwhile, or tells of a loss that is none."""
    await send_ids(coordinator, ["message-1", "message-2"])
    dropped, kept = [await take(coordinator, visibility_timeout=LEASE_S) for _ in range(2)]
    keeper = coordinator.lease_keeper(WORLD, LEASE_S)
    run = keeper._client.run
    asked: list[bool] = []

    def drops[T](call: Call[T]) -> T:
        asked.append(dropped.token in call.args)
        reply = run(call)
        keeper.drop(dropped.token)
        return reply

    keeper._client.run = drops
    keeper.keep(dropped.token, 60)
    try:
        await eventually("it is renewed, and dropped", lambda: bool(asked))
        keeper.keep(kept.token, 60)
        for _ in range(2):
            clock.advance(0.1)
            await eventually("the other is renewed", lambda: ends_at(peek, kept.token, clock.now_us()))
    finally:
        keeper.close()
    assert asked.count(True) == 1
    assert "lost" not in caplog.text
