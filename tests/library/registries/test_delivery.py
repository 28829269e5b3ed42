"""Delivery that knows who is alive: leases of the dead come back, sends say who is there."""

# ruff: noqa: ANN401 - clients are of any kind here

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from tests.library.conftest import MakeCoordinator
from tests.library.registries.agents import FakeAgent
from tests.library.registries.conftest import TTL_S, MakeRegistry
from tests.library.registries.test_liveness import sweep
from tests.library.support.builders import INPUT, WORLD, id_of, ids_of, make_message, send_ids
from tests.library.support.servers import Lane
from tests.library.support.waiting import eventually
from tta_agent_coordination import (
    AgentId,
    AgentWorker,
    MessageCoordinatorError,
    ReceivedMessage,
    RedisAgentRegistry,
    RedisMessageCoordinator,
)
from tta_agent_coordination.testing import ManualClock

LEASE_S = 600.0


async def bound(
    make_registry: MakeRegistry, make_coordinator: MakeCoordinator
) -> tuple[RedisAgentRegistry, RedisMessageCoordinator]:
    """Return a process whose leases are taken for its registration."""
    registry, coordinator = make_registry(), make_coordinator()
    await registry.register(FakeAgent())
    coordinator.bind_leases(WORLD, lambda: registry.epoch_of(WORLD))
    return registry, coordinator


async def finding(make_registry: MakeRegistry, make_coordinator: MakeCoordinator) -> RedisAgentRegistry:
    """Return a process that gives back the leases of those it finds dead."""
    registry = make_registry()
    coordinator = make_coordinator()
    registry.return_leases_through(coordinator)
    registry.return_leases_through(coordinator)
    return registry


async def die(clock: ManualClock, *finders: RedisAgentRegistry) -> None:
    """Let everybody who does not heartbeat die."""
    for _ in range(4):
        clock.advance(TTL_S / 2)
        for finder in finders:
            await sweep(finder)


async def test_leases_of_the_dead_come_back_at_once(
    make_registry: MakeRegistry, make_coordinator: MakeCoordinator, clock: ManualClock, client: Any
) -> None:
    """Broken: the messages of a worker that was killed wait for the end of their leases."""
    _, coordinator = await bound(make_registry, make_coordinator)
    finder = await finding(make_registry, make_coordinator)
    await send_ids(coordinator, ["first-1", "second-2", "third-3"])
    assert await coordinator.receive(WORLD, LEASE_S) is not None
    assert len(await coordinator.receive_many(WORLD, 1, LEASE_S)) == 1
    await die(clock, finder)
    assert await client.hlen("ao:reserved:world:1") == 0
    back = await make_coordinator().receive_many(WORLD, 5, LEASE_S)
    assert [id_of(received) for received in back] == ["first-1", "second-2", "third-3"]
    assert [received.deliveries for received in back] == [2, 2, 1]


async def test_lease_that_was_renewed_is_left_to_run_out(
    make_registry: MakeRegistry, make_coordinator: MakeCoordinator, clock: ManualClock
) -> None:
    """Broken: a worker whose event loop is blocked, but whose leases are renewed, loses its message."""
    _, coordinator = await bound(make_registry, make_coordinator)
    finder = await finding(make_registry, make_coordinator)
    await send_ids(coordinator, ["first-1"])
    received = await coordinator.receive(WORLD, LEASE_S)
    assert received is not None
    clock.advance(1)
    assert await coordinator.extend(WORLD, received.token, LEASE_S)
    await die(clock, finder)
    assert await coordinator.receive(WORLD) is None
    assert await coordinator.ack(WORLD, received.token) is True


async def test_leases_of_others_stay(
    make_registry: MakeRegistry, make_coordinator: MakeCoordinator, clock: ManualClock
) -> None:
    """Broken: one death ends the leases of everybody who works on the inbox."""
    _, coordinator = await bound(make_registry, make_coordinator)
    finder = await finding(make_registry, make_coordinator)
    unbound, other = make_coordinator(), make_coordinator()
    other.bind_leases(WORLD, lambda: 12345)
    await send_ids(coordinator, ["first-1", "second-2", "third-3"])
    tokens: list[str] = []
    for who in (unbound, other):
        received = await who.receive(WORLD, LEASE_S)
        assert received is not None
        tokens.append(received.token)
    assert await coordinator.receive(WORLD, LEASE_S) is not None
    await die(clock, finder)
    back = await unbound.receive_many(WORLD, 5, LEASE_S)
    assert [id_of(received) for received in back] == ["third-3"]
    assert await unbound.ack_many(WORLD, tokens) == [True, True]


async def test_unbound_inbox_takes_leases_for_nobody(
    make_registry: MakeRegistry, make_coordinator: MakeCoordinator, clock: ManualClock
) -> None:
    """Broken: what was unbound is given back with the dead."""
    _, coordinator = await bound(make_registry, make_coordinator)
    coordinator.bind_leases(WORLD, None)
    coordinator.bind_leases(WORLD, None)
    finder = await finding(make_registry, make_coordinator)
    await send_ids(coordinator, ["first-1"])
    assert await coordinator.receive(WORLD, LEASE_S) is not None
    await die(clock, finder)
    assert await coordinator.receive(WORLD) is None


async def test_message_that_kills_its_worker_is_poison_in_the_end(
    make_registry: MakeRegistry, make_coordinator: MakeCoordinator, clock: ManualClock
) -> None:
    """Broken: a message that kills every worker is handed out for ever, since its lease never expires."""
    finder = make_registry()
    finder.return_leases_through(make_coordinator(max_deliveries=2))
    await send_ids(make_coordinator(), ["deadly-1"])
    for _ in range(2):
        _, coordinator = await bound(make_registry, make_coordinator)
        assert await coordinator.receive(WORLD, LEASE_S) is not None
        await die(clock, finder)
    letters = await make_coordinator().dead_letters(WORLD)
    assert ids_of(letters) == ["deadly-1"]
    assert letters[0].cause == "poison"


async def test_hundreds_of_leases_come_back(
    make_registry: MakeRegistry, make_coordinator: MakeCoordinator, clock: ManualClock
) -> None:
    """Broken: what is not in the first page stays with the dead."""
    _, coordinator = await bound(make_registry, make_coordinator)
    other = make_coordinator()
    finder = await finding(make_registry, make_coordinator)
    await coordinator.send_many(INPUT, WORLD, [make_message(f"number-{n}") for n in range(760)])
    assert len(await other.receive_many(WORLD, 510, LEASE_S)) == 510
    assert len(await coordinator.receive_many(WORLD, 250, LEASE_S)) == 250
    await die(clock, finder)
    assert len(await other.receive_many(WORLD, 1000, LEASE_S)) == 250


async def test_leases_behind_five_hundred_of_others_come_back(
    make_registry: MakeRegistry, make_coordinator: MakeCoordinator, clock: ManualClock
) -> None:
    """Broken: a page without a lease of the dead is taken for the last, or the next one begins too far on."""
    _, coordinator = await bound(make_registry, make_coordinator)
    other = make_coordinator()
    finder = await finding(make_registry, make_coordinator)
    await coordinator.send_many(INPUT, WORLD, [make_message(f"number-{n}") for n in range(1001)])
    for who, number in ((coordinator, 50), (other, 450), (coordinator, 1), (other, 499), (coordinator, 1)):
        assert len(await who.receive_many(WORLD, number, LEASE_S)) == number
        clock.advance(0.001)
    await die(clock, finder)
    assert len(await other.receive_many(WORLD, 1000, LEASE_S)) == 52


async def test_store_that_refuses_leaves_the_leases_to_run_out(
    make_registry: MakeRegistry,
    make_coordinator: MakeCoordinator,
    clock: ManualClock,
    client: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Broken: a failure on the way is not told, or ends the heartbeats."""
    _, coordinator = await bound(make_registry, make_coordinator)
    finder = await finding(make_registry, make_coordinator)
    await client.set("ao:reserved_deadlines:world:1", "x")
    with pytest.raises(MessageCoordinatorError):
        await coordinator.return_leases(WORLD, 1)
    await die(clock, finder)
    assert "death of world:1 failed" in caplog.text
    await client.delete("ao:reserved_deadlines:world:1")


class Handled:
    """A handler that notes what it was given."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    async def __call__(self, received: ReceivedMessage) -> None:
        """Note it."""
        self.ids.append(received.queue_message.message.message_id)


async def test_draining_agent_receives_nothing_new(
    make_registry: MakeRegistry, make_coordinator: MakeCoordinator
) -> None:
    """Broken: an agent that is to end goes on taking messages."""
    registry, coordinator, handled = make_registry(clock=None), make_coordinator(clock=None), Handled()
    await registry.register(FakeAgent())

    async def handler(received: ReceivedMessage) -> None:
        await handled(received)

    async with AgentWorker(WORLD, coordinator, handlers={None: handler}, registry=registry):
        await send_ids(coordinator, ["first-1"])
        await eventually("the first is handled", lambda: handled.ids == ["first-1"])
        assert await registry.set_draining(WORLD) is True
        assert registry.discover("world") == []
        await send_ids(coordinator, ["second-2"])
        stats = await coordinator.stats(WORLD)
        assert (stats.ready, stats.reserved) == (1, 0)
        for _ in range(20):
            await asyncio.sleep(0)
        assert handled.ids == ["first-1"]
        assert await registry.set_draining(WORLD, draining=False) is True
        await eventually("it goes on", lambda: handled.ids == ["first-1", "second-2"])
    assert registry._membership._on_draining[str(WORLD)] == []


async def test_draining_in_the_middle_of_work_ends_after_it(
    make_registry: MakeRegistry, make_coordinator: MakeCoordinator
) -> None:
    """Broken: the acknowledgement of the last message takes the next one with it."""
    registry, coordinator, handled = make_registry(clock=None), make_coordinator(clock=None), Handled()
    await registry.register(FakeAgent())
    await registry.set_draining(WORLD)
    go_on = asyncio.Event()

    async def handler(received: ReceivedMessage) -> None:
        await handled(received)
        await go_on.wait()

    worker = AgentWorker(WORLD, coordinator, handlers={None: handler}, prefetch=0, registry=registry)
    await send_ids(coordinator, ["first-1", "second-2"])
    async with worker:
        for _ in range(20):
            await asyncio.sleep(0)
        assert handled.ids == []
        await registry.set_draining(WORLD, draining=False)
        await eventually("the first is handled", lambda: handled.ids == ["first-1"])
        await registry.set_draining(WORLD)
        go_on.set()

        async def is_settled() -> bool:
            stats = await coordinator.stats(WORLD)
            return (stats.ready, stats.reserved) == (1, 0)

        await eventually("the first is settled, and the second waits", is_settled)
        assert handled.ids == ["first-1"]


class Late(RedisMessageCoordinator):
    """A coordinator whose answer is there in the moment in which its call is cancelled."""

    async def receive_many(
        self, agent_id: AgentId, n: int, visibility_timeout: float = 5, *, wait: float = 0
    ) -> list[ReceivedMessage]:
        """Wait until cancelled, and answer all the same."""
        del wait
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return await super().receive_many(agent_id, n, visibility_timeout)


async def test_worker_that_ends_gives_back_what_came_in_that_moment(lane: Lane) -> None:
    """Broken: a message that arrives while the worker ends waits for the end of its lease."""
    coordinator = Late(lane.client())
    await send_ids(coordinator, ["first-1"])
    async with AgentWorker(WORLD, coordinator, handlers={None: Handled().__call__}):
        for _ in range(20):
            await asyncio.sleep(0)
    stats = await coordinator.stats(WORLD)
    assert (stats.ready, stats.reserved) == (1, 0)
    await coordinator.aclose()


async def test_worker_takes_leases_for_its_registration(
    make_registry: MakeRegistry, make_coordinator: MakeCoordinator, client: Any
) -> None:
    """Broken: a worker that is bound takes leases that nobody gives back."""
    registry, coordinator = make_registry(clock=None), make_coordinator(clock=None)
    await registry.register(FakeAgent())
    go_on = asyncio.Event()

    async def handler(_: ReceivedMessage) -> None:
        await go_on.wait()

    await send_ids(coordinator, ["first-1"])
    async with AgentWorker(WORLD, coordinator, handlers={None: handler}, registry=registry):
        await eventually("it is taken", lambda: client.hlen("ao:inflight:world:1"))
        (note,) = await client.hvals("ao:inflight:world:1")
        assert f"|{registry.epoch_of(WORLD)}@".encode() in note
        go_on.set()
        await eventually("it is settled", lambda: _is_empty(client))
    await send_ids(coordinator, ["second-2"])
    assert await coordinator.receive(WORLD, LEASE_S) is not None
    (note,) = await client.hvals("ao:inflight:world:1")
    assert b"@" not in note


async def _is_empty(client: Any) -> bool:
    return not await client.exists("ao:inflight:world:1")


async def test_send_says_whether_its_recipient_is_alive_where_that_is_asked_for(
    make_registry: MakeRegistry, make_coordinator: MakeCoordinator, clock: ManualClock
) -> None:
    """Broken: a sender learns too late that nobody is there, or every send looks it up."""
    ours, theirs = make_registry(), make_registry()
    coordinator = make_coordinator(liveness=theirs.liveness_view())
    theirs.liveness_view()
    plain = make_coordinator()

    async def said() -> str | None:
        result = await coordinator.send_message(INPUT, WORLD, make_message("hello-1"))
        assert result.delivered
        return result.recipient_liveness

    assert await said() == "unknown"
    await ours.register(FakeAgent())
    await sweep(theirs)
    assert await said() == "alive"
    clock.advance(TTL_S)
    await sweep(theirs)
    assert await said() == "suspect"
    results = await coordinator.send_many(INPUT, WORLD, [make_message("hello-2")])
    results += await coordinator.broadcast_message(INPUT, make_message("hello-3"), [WORLD, AgentId(type="x")])
    assert [result.recipient_liveness for result in results] == ["suspect", "suspect", "unknown"]
    unasked = await plain.send_message(INPUT, WORLD, make_message("hello-4"))
    assert unasked.recipient_liveness is None
