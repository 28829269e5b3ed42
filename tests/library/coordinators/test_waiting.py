"""Receives that wait: what wakes them, what they cost, and what cancelling them leaves."""

# ruff: noqa: ANN401 - commands and answers of a Redis client may be anything
from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
import redis.asyncio as aioredis
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.library.conftest import MakeCoordinator
from tests.library.support.builders import INPUT, WORLD, drain, id_of, make_message, send_ids, take
from tests.library.support.commands import Send, count_commands, intercept
from tests.library.support.servers import Lane
from tests.library.support.waiting import eventually
from tta_agent_coordination import AgentId, FailureType, ReceivedMessage, RedisMessageCoordinator
from tta_agent_coordination.testing import ManualClock

LONG_S = 60.0
"""A wait that no test sits out."""


def waiting(coordinator: RedisMessageCoordinator, agent: AgentId = WORLD) -> asyncio.Task[Any]:
    """Start to wait for a message."""
    return asyncio.create_task(coordinator.receive(agent, wait=LONG_S))


async def blocked(coordinator: RedisMessageCoordinator, inboxes: int = 1) -> None:
    """Return when the coordinator reads the markers of some inboxes."""
    waker = coordinator._waker
    await eventually(
        f"{inboxes} markers read", lambda: waker._blocked is not None and len(waker._blocked) == inboxes
    )


async def ended(task: asyncio.Task[ReceivedMessage | None]) -> str:
    """Return the id of what a waiting receive got."""
    async with asyncio.timeout(30):
        message_id = id_of(await task)
    assert message_id is not None
    return message_id


async def command(client: aioredis.Redis, *parts: object) -> Any:
    """Send one command."""
    raw: Any = client
    return await raw.execute_command(*parts)


async def settled(coordinator: RedisMessageCoordinator, tasks: list[asyncio.Task[Any]]) -> None:
    """Cancel what waits, and wait until it has ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await coordinator.aclose()


@pytest.mark.parametrize("wait", [-1, math.nan, math.inf, "1", None])
async def test_wait_out_of_range_is_refused_before_any_command(
    client: aioredis.Redis, make_coordinator: MakeCoordinator, wait: Any
) -> None:
    """Broken: a wait that cannot end, or an error after the server was asked."""
    coordinator = make_coordinator(client=client)
    with count_commands(client) as counted, pytest.raises(ValueError, match="wait"):
        await coordinator.receive(WORLD, wait=wait)
    assert counted.names == []


async def test_wait_ends_without_a_message(coordinator: RedisMessageCoordinator) -> None:
    """Broken: a wait for nothing never ends, or raises."""
    assert await coordinator.receive(WORLD, wait=0.05) is None


async def test_look_that_finds_no_server_is_tried_again_while_there_is_time(
    client: aioredis.Redis, make_coordinator: MakeCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: one connection that is refused at the moment of the marker ends a wait of an hour."""
    monkeypatch.setattr("tta_agent_coordination.coordinators._leases.IDLE_S", LONG_S)
    coordinator, sender = make_coordinator(client=client), make_coordinator()
    looks = 0

    async def second_look_fails(send: Send, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        nonlocal looks
        looks += args[0] == "EVALSHA"
        if args[0] == "EVALSHA" and looks == 2:
            raise RedisConnectionError("refused")
        return await send(*args, **options)

    assert await coordinator.receive(AgentId(type="warm")) is None  # the script is on the server
    with intercept(client, second_look_fails):
        task = waiting(coordinator)
        await blocked(coordinator)
        await send_ids(sender, ["message-1"])
        assert await ended(task) == "message-1"
    assert looks == 3


async def test_wait_takes_what_is_due_at_once(
    client: aioredis.Redis, make_coordinator: MakeCoordinator
) -> None:
    """Broken: a busy consumer pays for waiting, in commands or in connections."""
    coordinator = make_coordinator(client=client)
    await send_ids(coordinator, ["message-1"])
    assert await coordinator.receive(AgentId(type="warm")) is None  # the script is on the server
    with count_commands(client) as counted:
        received = await coordinator.receive(WORLD, wait=LONG_S)
    assert id_of(received) == "message-1"
    assert counted.names == ["EVALSHA"]
    await coordinator.ack(WORLD, received.token if received else "")


async def test_send_wakes_one_who_waits(
    client: aioredis.Redis, make_coordinator: MakeCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: the message is seen by chance, at the next look."""
    monkeypatch.setattr("tta_agent_coordination.coordinators._leases.IDLE_S", LONG_S)
    coordinator, sender = make_coordinator(client=client), make_coordinator()
    task = waiting(coordinator)
    await blocked(coordinator)
    await send_ids(sender, ["message-1"])
    assert await ended(task) == "message-1"


@pytest.mark.parametrize("way", ["nack", "release", "requeue", "then_send", "recover", "delayed"])
async def test_whatever_makes_a_message_due_wakes(
    make_coordinator: MakeCoordinator, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Broken: a message that comes back, or follows from another, waits for somebody to look."""
    monkeypatch.setattr("tta_agent_coordination.coordinators._leases.IDLE_S", LONG_S)
    consumer, other = make_coordinator(), make_coordinator(backoff_base=0)
    source = AgentId(type="source")
    await send_ids(other, ["message-1"], source if way == "then_send" else WORLD)
    held = await take(other, source if way == "then_send" else WORLD, 600)
    if way == "requeue":
        await other.nack(WORLD, held.token, FailureType.PERMANENT)
    task = waiting(consumer)
    await blocked(consumer)
    if way == "nack":
        await other.nack(WORLD, held.token)
    elif way == "release":
        await other.release(WORLD, held.token)
    elif way == "requeue":
        letters = await other.dead_letters(WORLD)
        await other.requeue_dead(WORLD, [letter.id for letter in letters])
    elif way == "then_send":
        await other.ack(source, held.token, then_send=[(WORLD, make_message("message-1"))])
    elif way == "recover":
        clock.advance(601)
        await other.recover_pending(WORLD)
    else:
        await send_ids(other, ["message-2"], delay=0.02)
        clock.advance(0.02)
    assert await ended(task) == ("message-2" if way == "delayed" else "message-1")


async def test_one_marker_serves_many_who_wait(
    make_coordinator: MakeCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: two messages, one marker, and the second consumer sleeps although a message is due."""
    monkeypatch.setattr("tta_agent_coordination.coordinators._leases.IDLE_S", LONG_S)
    consumers = [make_coordinator() for _ in range(3)]
    tasks = [waiting(consumer) for consumer in consumers for _ in range(2)]
    for consumer in consumers:
        await blocked(consumer)
    sender = make_coordinator()
    source = AgentId(type="source")
    await send_ids(sender, ["start-1"], source)
    held = await take(sender, source)
    ids = [f"message-{number}" for number in range(6)]
    await sender.ack(source, held.token, then_send=[(WORLD, make_message(one)) for one in ids])
    assert sorted([await ended(task) for task in tasks]) == ids


async def test_every_message_reaches_someone_who_waits(make_coordinator: MakeCoordinator) -> None:
    """Broken: with many inboxes and consumers at once, a message is lost, doubled or not seen."""
    consumer, sender = make_coordinator(), make_coordinator()
    agents = [AgentId(type="world", instance=str(number)) for number in range(40)]
    tasks = [waiting(consumer, agent) for agent in agents]
    await blocked(consumer, len(agents))
    for number, agent in enumerate(agents):
        await send_ids(sender, [f"message-{number}"], agent)
    assert [await ended(task) for task in tasks] == [f"message-{number}" for number in range(40)]


async def test_many_waiting_inboxes_share_one_connection(
    lane: Lane, make_coordinator: MakeCoordinator
) -> None:
    """Broken: each wait holds a connection, and a default client has no more to give for anything."""
    client = lane.client()
    coordinator, sender = make_coordinator(client=client), make_coordinator()
    # The embedded server reads every marker of a blocking call by itself: a quarter is as telling.
    count = 1_000 if lane.name == "real" else 250
    agents = [AgentId(type="world", instance=str(number)) for number in range(count)]
    tasks = [waiting(coordinator, agent) for agent in agents]
    # Not all at once: each looks by itself now and then, and on a busy machine some always do.
    await eventually(
        "one connection reads most markers",
        lambda: len(coordinator._waker._blocked or ()) > len(agents) // 2,
        deadline_s=60,
    )
    pool: Any = client.connection_pool
    assert await command(client, "PING")
    assert len(pool._in_use_connections) <= 1 + 32
    for number in (0, count // 2, count - 1):
        await send_ids(sender, [f"message-{number}"], agents[number])
        assert await ended(tasks[number]) == f"message-{number}"
    await settled(coordinator, tasks)
    assert len(pool._in_use_connections) == 0


async def test_connection_is_given_back_when_nobody_waits(
    lane: Lane, make_coordinator: MakeCoordinator
) -> None:
    """Broken: a task or a connection outlives the last call."""
    client = lane.client()
    coordinator = make_coordinator(client=client)
    before = asyncio.all_tasks()
    assert await coordinator.receive(WORLD, wait=0.05) is None
    pool: Any = client.connection_pool
    await eventually("the connection is back", lambda: not pool._in_use_connections)
    await eventually(
        "the task has ended",
        lambda: not [task for task in asyncio.all_tasks() - before if "wake" in task.get_name()],
    )


async def test_pool_of_one_keeps_its_connection(lane: Lane, make_coordinator: MakeCoordinator) -> None:
    """Broken: the wait holds the only connection, so its own look at the inbox finds none."""
    client = lane.client(max_connections=1)
    coordinator, sender = make_coordinator(client=client), make_coordinator()
    task = waiting(coordinator)
    await blocked(coordinator)
    await send_ids(sender, ["message-1"])
    assert await ended(task) == "message-1"
    await coordinator.aclose()


async def test_message_of_v0_is_seen_without_a_marker(
    client: aioredis.Redis, make_coordinator: MakeCoordinator
) -> None:
    """Broken: v0 processes set no marker, and what they send is never seen."""
    coordinator = make_coordinator(clock=None)
    task = waiting(coordinator)
    await blocked(coordinator)
    await send_ids(make_coordinator(clock=None), ["message-1"])
    await command(client, "DEL", "ao:wake:world:1")
    assert await ended(task) == "message-1"


async def test_expired_lease_is_seen_when_it_ends(
    coordinator: RedisMessageCoordinator, clock: ManualClock, make_coordinator: MakeCoordinator
) -> None:
    """Broken: a dead consumer's message comes back only when somebody happens to look."""
    await send_ids(coordinator, ["message-1"])
    await take(coordinator, WORLD, 0.05)
    consumer = make_coordinator()
    task = waiting(consumer)
    await blocked(consumer)
    clock.advance(0.05)
    assert await ended(task) == "message-1"


async def test_cancelled_wait_passes_its_marker_on(
    make_coordinator: MakeCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: the marker goes down with the call that was given it, while another one waits."""
    monkeypatch.setattr("tta_agent_coordination.coordinators._leases.IDLE_S", LONG_S)
    coordinator, sender = make_coordinator(), make_coordinator()
    first = waiting(coordinator)
    await blocked(coordinator)
    second = waiting(coordinator)
    await eventually("both wait", lambda: coordinator._waker._pending == {b"ao:wake:world:1": 2})
    give = coordinator._waker._give

    def give_and_cancel(key: bytes) -> None:
        give(key)
        first.cancel()

    monkeypatch.setattr(coordinator._waker, "_give", give_and_cancel)
    await send_ids(sender, ["message-1"])
    assert await ended(second) == "message-1"
    assert first.cancelled()


@pytest.mark.parametrize("late", [False, True])
async def test_cancelled_wait_gives_back_what_it_got(
    lane: Lane, make_coordinator: MakeCoordinator, late: bool
) -> None:
    """Broken: the message hangs under a lease that nobody knows of, until it runs out.

    `late`: the cancelled command reaches the server only after the call was undone.
    """
    client = lane.client()
    coordinator, sender = make_coordinator(client=client), make_coordinator()
    await send_ids(sender, ["message-1"])
    reached, commands = asyncio.Event(), 0
    held_back: list[tuple[Send, tuple[Any, ...], dict[str, Any]]] = []

    async def around(send: Send, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        nonlocal commands
        commands += 1
        if commands > 1:
            return await send(*args, **options)
        if late:
            held_back.append((send, args, options))
        else:
            await send(*args, **options)
        reached.set()
        return await asyncio.Event().wait()

    await drain(sender, AgentId(type="warm"))  # the script is on the server
    with intercept(client, around):
        task = waiting(coordinator)
        await reached.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await coordinator.aclose()
    for send, args, options in held_back:
        await send(*args, **options)
    assert commands >= 2
    received = await take(sender)
    assert id_of(received) == "message-1"
    assert received.deliveries == (1 if late else 2)
    await sender.ack(WORLD, received.token)


async def test_marker_for_nobody_goes_back(
    make_coordinator: MakeCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a coordinator takes the marker of an inbox it no longer waits for, and others sleep on."""
    monkeypatch.setattr("tta_agent_coordination.coordinators._leases.IDLE_S", LONG_S)
    coordinator, other, sender = make_coordinator(), make_coordinator(), make_coordinator()
    elsewhere = waiting(coordinator, AgentId(type="elsewhere"))
    gone = waiting(coordinator)
    await blocked(coordinator, 2)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    task = waiting(other)
    await blocked(other)
    await send_ids(sender, ["message-1"])
    assert await ended(task) == "message-1"
    await settled(coordinator, [elsewhere])


def test_wait_works_in_one_loop_after_another(
    sync_lane: tuple[asyncio.Runner, Lane],
) -> None:
    """Broken: what belongs to a loop that has ended keeps the next one from waiting."""
    runner, lane = sync_lane
    coordinator = RedisMessageCoordinator(lane.client())

    async def leave_waiting() -> None:
        waiting(coordinator)
        await blocked(coordinator)

    async def again() -> None:
        coordinator._redis = coordinator._calls.client = lane.client()
        assert await coordinator.receive(WORLD, wait=0.05) is None
        await coordinator.aclose()

    with asyncio.Runner() as first:
        first.run(leave_waiting())
    runner.run(again())


async def test_marker_goes_with_the_last_message(
    coordinator: RedisMessageCoordinator, client: aioredis.Redis
) -> None:
    """Broken: an empty inbox keeps a side key, and the next wait is woken for nothing."""
    await send_ids(coordinator, ["message-1", "message-2"])
    assert await command(client, "ZCARD", "ao:wake:world:1") == 1
    await drain(coordinator)
    assert await command(client, "EXISTS", "ao:wake:world:1") == 0


async def test_sender_is_not_failed_by_a_damaged_marker(
    coordinator: RedisMessageCoordinator, client: aioredis.Redis
) -> None:
    """Broken: a hint fails an operation whose work is done."""
    await command(client, "SET", "ao:wake:world:1", "text")
    result = await coordinator.send_message(INPUT, WORLD, make_message())
    assert result.delivered
    received = await coordinator.receive(WORLD, wait=0.05)
    assert received is not None
    assert await coordinator.receive(WORLD, wait=0.05) is None
    assert await coordinator.ack(WORLD, received.token)


async def test_what_a_cancelled_wait_cannot_give_back_comes_when_its_lease_ends(
    lane: Lane, make_coordinator: MakeCoordinator, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: a store that fails while a cancelled wait is undone is an error nobody catches, or silence."""
    client = lane.client()
    coordinator, sender = make_coordinator(client=client), make_coordinator()
    await send_ids(sender, ["message-1"])
    reached, commands = asyncio.Event(), 0

    async def around(send: Send, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        nonlocal commands
        commands += 1
        if commands > 1:
            raise aioredis.ConnectionError("nobody is there")
        await send(*args, **options)
        reached.set()
        return await asyncio.Event().wait()

    await drain(sender, AgentId(type="warm"))  # the script is on the server
    with intercept(client, around):
        task = waiting(coordinator)
        await reached.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await coordinator.aclose()
    assert "Could not give back what a cancelled receive took for world:1 (nobody is there)" in caplog.text
    assert await sender.receive(WORLD) is None
    clock.advance(60)
    assert await drain(sender) == ["message-1"]


async def test_marker_that_comes_during_a_look_is_kept_for_the_next_wait(
    lane: Lane, make_coordinator: MakeCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a message sent right after a look that found nothing waits for the look after the next."""
    for module in ("_leases", "_waking"):
        monkeypatch.setattr(f"tta_agent_coordination.coordinators.{module}.IDLE_S", LONG_S)
    client = lane.client()
    coordinator, sender = make_coordinator(client=client), make_coordinator()
    looked, go_on = asyncio.Event(), asyncio.Event()

    async def around(send: Send, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        answer = await send(*args, **options)
        if coordinator._waker._blocked and not looked.is_set():
            looked.set()
            await go_on.wait()
        return answer

    with intercept(client, around):
        task = waiting(coordinator)
        await blocked(coordinator)
        (ticket,) = coordinator._waker._tickets[b"ao:wake:world:1"]
        assert ticket.turn is not None
        ticket.turn.set_result(False)  # its time is up: it looks by itself
        await looked.wait()
        await send_ids(sender, ["message-1"])
        await eventually("the marker was taken during the look", lambda: ticket.hinted)
        go_on.set()
        assert await ended(task) == "message-1"


async def test_marker_and_end_of_the_wait_in_one_moment_count_as_the_marker(
    coordinator: RedisMessageCoordinator,
) -> None:
    """Broken: a timer that is due together with the marker raises in the event loop, or takes it away."""
    loop = asyncio.get_running_loop()
    raised: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: raised.append(context))
    waker, key, seconds = coordinator._waker, b"ao:wake:world:1", 0.01
    with waker.join(key) as ticket:
        task = asyncio.create_task(ticket.wait(seconds))
        await asyncio.sleep(0)
        due = loop.time() + 2 * seconds
        assert ticket.turn is not None
        loop.call_soon(waker._give, key)
        while loop.time() < due:  # the loop stands still until the timer is due as well
            pass
        assert await task is True
    await waker.settle()
    assert raised == []


async def test_connection_that_cannot_be_had_is_asked_for_again(
    lane: Lane,
    make_coordinator: MakeCoordinator,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Broken: a pool that is empty when a wait begins leaves a consumer that nothing wakes."""
    monkeypatch.setattr("tta_agent_coordination.coordinators._leases.IDLE_S", LONG_S)
    monkeypatch.setattr("tta_agent_coordination.coordinators._waking._RETRY_S", 0)
    client = lane.client(max_connections=2)
    pool: Any = client.connection_pool
    coordinator, sender = make_coordinator(client=client), make_coordinator()
    taken: list[Any] = []

    async def around(send: Send, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        answer = await send(*args, **options)
        if not taken:
            taken.extend([await pool.get_connection() for _ in range(2)])
        return answer

    await coordinator.receive(WORLD)  # the script is on the server
    with intercept(client, around):
        task = waiting(coordinator)
        tries = 0
        get_connection = pool.get_connection

        async def count() -> Any:
            nonlocal tries
            tries += 1
            return await get_connection()

        monkeypatch.setattr(pool, "get_connection", count)
        await eventually("it was asked for again and again", lambda: tries > 3)
        assert caplog.text.count("Lost the connection that wakes") == 1
        for connection in taken:
            await pool.release(connection)
        await blocked(coordinator)
        await send_ids(sender, ["message-1"])
        assert await ended(task) == "message-1"
