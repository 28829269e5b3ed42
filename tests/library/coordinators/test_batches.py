"""Many messages in one script: sending, receiving, acknowledging, and acknowledging with the next ones."""

# ruff: noqa: ANN401 - commands and answers of a Redis client may be anything
from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis.asyncio as aioredis
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.library.conftest import MakeCoordinator
from tests.library.support.builders import INPUT, WORLD, drain, ids_of, make_message, send_ids, take
from tests.library.support.commands import Around, Crash, Send, count_commands, crash_after, intercept
from tests.library.support.waiting import eventually
from tta_agent_coordination import AgentId, MessagePriority, ReceivedMessage, RedisMessageCoordinator
from tta_agent_coordination.exceptions import OutcomeUnknownError
from tta_agent_coordination.testing import ManualClock

WARM = AgentId(type="warm")


def messages(count: int, **options: Any) -> list[Any]:
    """Return messages with numbered ids."""
    return [make_message(f"message-{number:04}", **options) for number in range(count)]


def got(received: list[ReceivedMessage]) -> list[str]:
    """Return the ids of received messages."""
    return [one.queue_message.message.message_id for one in received]


async def warm(coordinator: RedisMessageCoordinator) -> None:
    """Have the batch scripts on the server."""
    await coordinator.send_many(INPUT, WARM, messages(2))
    received = await coordinator.receive_many(WARM, 2)
    assert await coordinator.ack_many(WARM, [one.token for one in received]) == [True] * 2


async def test_batch_keeps_order_and_costs_one_script_a_hundred(
    client: aioredis.Redis, make_coordinator: MakeCoordinator
) -> None:
    """Broken: a batch is a loop of single calls, or reorders what it carries."""
    coordinator = make_coordinator(client=client)
    await warm(coordinator)
    await coordinator.send_many(INPUT, WORLD, [])  # nothing to send costs nothing
    sent = messages(250)
    await coordinator.send_message(INPUT, WORLD, make_message("message-first"))
    with count_commands(client) as counted:
        results = await coordinator.send_many(INPUT, WORLD, sent)
        received = await coordinator.receive_many(WORLD, 251)
        held = await coordinator.ack_many(WORLD, [one.token for one in received])
    assert [result.message_id for result in results] == [one.message_id for one in sent]
    assert all(result.delivered for result in results)
    assert got(received) == ["message-first", *(one.message_id for one in sent)]
    assert held == [True] * 251
    assert counted.names == ["EVALSHA"] * 9
    assert (await coordinator.stats(WORLD)).audit == 0


async def test_batch_takes_one_for_five_seconds_at_once(
    client: aioredis.Redis, make_coordinator: MakeCoordinator, clock: ManualClock
) -> None:
    """Broken: a batch of one is refused, waits unasked, or holds leases of another length than a receive."""
    coordinator = make_coordinator(client=client)
    await warm(coordinator)
    with count_commands(client) as counted:
        assert await coordinator.receive_many(WORLD, 1) == []
    assert counted.names == ["EVALSHA"]
    await coordinator.send_many(INPUT, WORLD, messages(3))
    single = await take(coordinator)
    received = await coordinator.receive_many(WORLD, 1)
    _, more = await coordinator._ack_and_receive(WORLD, [], 1, 5)
    assert got(received + more) == ["message-0001", "message-0002"]
    assert {one.visibility_deadline for one in received + more} == {single.visibility_deadline}
    clock.advance(4.999)
    assert await coordinator.receive_many(WORLD, 1) == []
    tokens = [one.token for one in (single, *received, *more)]
    assert await coordinator.ack_many(WORLD, tokens) == [True] * 3


async def test_batch_takes_the_highest_level_first(coordinator: RedisMessageCoordinator) -> None:
    """Broken: priorities hold for single receives only."""
    for priority in (MessagePriority.LOW, MessagePriority.HIGH, MessagePriority.NORMAL):
        sent = [make_message(f"message-{priority.name}-{n}", priority=priority) for n in range(2)]
        await coordinator.send_many(INPUT, WORLD, sent)
    received = await coordinator.receive_many(WORLD, 5)
    assert got(received) == [
        "message-HIGH-0",
        "message-HIGH-1",
        "message-NORMAL-0",
        "message-NORMAL-1",
        "message-LOW-0",
    ]
    await coordinator.ack_many(WORLD, [one.token for one in received])
    assert await drain(coordinator) == ["message-LOW-1"]


async def test_ageing_holds_in_a_batch(make_coordinator: MakeCoordinator, clock: ManualClock) -> None:
    """Broken: a batch starves what waited too long."""
    coordinator = make_coordinator(ageing=5)
    await coordinator.send_many(INPUT, WORLD, [make_message("message-old", priority=MessagePriority.LOW)])
    clock.advance(6)
    await coordinator.send_many(INPUT, WORLD, [make_message("message-new", priority=MessagePriority.HIGH)])
    received = await coordinator.receive_many(WORLD, 10)
    assert got(received) == ["message-old", "message-new"]
    assert await coordinator.ack_many(WORLD, [one.token for one in received]) == [True, True]


async def test_each_message_of_a_batch_answers_for_itself(make_coordinator: MakeCoordinator) -> None:
    """Broken: one bad message fails its neighbours, or is reported as sent."""
    coordinator = make_coordinator(queue_size=3)
    sent = messages(6)
    sent[1] = make_message("message-set", payload={"bad": {1, 2}})
    results = await coordinator.send_many(INPUT, WORLD, sent, dedup_ids=["a", None, "a", None, "b", None])
    assert [(result.delivered, result.cause) for result in results] == [
        (True, None),
        (False, "payload not JSON"),
        (True, "duplicate"),
        (True, None),
        (True, None),
        (False, "queue full"),
    ]
    assert results[2].message_id == "message-0000"
    assert await drain(coordinator) == ["message-0000", "message-0003", "message-0004"]


async def test_delay_and_expiry_hold_for_a_batch(
    coordinator: RedisMessageCoordinator, clock: ManualClock
) -> None:
    """Broken: a batch ignores when its messages are due, or when nobody wants them any more."""
    await coordinator.send_many(INPUT, WORLD, messages(2), delay=5, expires_in=10)
    await coordinator.send_many(INPUT, WORLD, messages(150), expires_in=1)
    clock.advance(4.999)
    assert await coordinator.receive_many(WORLD, 10) == []
    clock.advance(0.002)
    received = await coordinator.receive_many(WORLD, 10)
    assert got(received) == ["message-0000", "message-0001"]
    letters = await coordinator.dead_letters(WORLD)
    assert {letter.cause for letter in letters} == {"expired"}
    assert len(ids_of(letters)) == 150
    assert await coordinator.ack_many(WORLD, [one.token for one in received]) == [True, True]


@pytest.mark.parametrize("arguments", [{"dedup_ids": ["a"]}, {"delay": -1}, {"expires_in": 0}])
async def test_bad_batch_is_refused_before_any_command(
    client: aioredis.Redis, make_coordinator: MakeCoordinator, arguments: dict[str, Any]
) -> None:
    """Broken: half a batch is sent, then an argument is refused."""
    coordinator = make_coordinator(client=client)
    with count_commands(client) as counted:
        with pytest.raises(ValueError, match=r"dedup_ids|delay|expires_in"):
            await coordinator.send_many(INPUT, WORLD, messages(2), **arguments)
        with pytest.raises(ValueError, match=r"^n must be a whole number"):
            await coordinator.receive_many(WORLD, 0)
        with pytest.raises(ValueError, match="token"):
            await coordinator.ack_many(WORLD, [1])  # type: ignore[list-item]  # what an untyped caller passes
    assert counted.names == []


async def test_ack_many_says_which_tokens_held(
    coordinator: RedisMessageCoordinator, clock: ManualClock
) -> None:
    """Broken: a lost token is reported as done, or a held one as lost."""
    await send_ids(coordinator, ["message-1", "message-2"])
    first, second = await take(coordinator), await take(coordinator)
    await coordinator.ack(WORLD, first.token)
    tokens = [first.token, second.token, second.token, "res_0000000000000000"]
    clock.advance(3_600)
    assert await coordinator.ack_many(WORLD, tokens) == [False, True, True, False]
    assert await coordinator.receive(WORLD) is None


async def test_batch_reclaims_what_ran_out(coordinator: RedisMessageCoordinator, clock: ManualClock) -> None:
    """Broken: a consumer that only takes batches never sees what a dead one held."""
    await coordinator.send_many(INPUT, WORLD, messages(3))
    await coordinator.receive_many(WORLD, 2, 5)
    clock.advance(6)
    received = await coordinator.receive_many(WORLD, 3)
    assert got(received) == ["message-0000", "message-0001", "message-0002"]
    assert [one.deliveries for one in received] == [2, 2, 1]
    await coordinator.ack_many(WORLD, [one.token for one in received])


async def test_batch_buries_what_it_cannot_read(
    coordinator: RedisMessageCoordinator, client: aioredis.Redis
) -> None:
    """Broken: one undecodable entry costs the whole batch."""
    await coordinator.send_many(INPUT, WORLD, messages(2))
    raw: Any = client
    await raw.execute_command("ZADD", "ao:sched:world:1:prio:5", 1, "not a message")
    received = await coordinator.receive_many(WORLD, 3)
    assert got(received) == ["message-0000", "message-0001"]
    assert [letter.cause for letter in await coordinator.dead_letters(WORLD)] == ["undecodable"]
    await coordinator.ack_many(WORLD, [one.token for one in received])


async def test_ack_and_receive_is_one_command(
    client: aioredis.Redis, make_coordinator: MakeCoordinator
) -> None:
    """Broken: a worker's steady state costs more than two commands a message, its send included."""
    coordinator = make_coordinator(client=client)
    await warm(coordinator)
    await coordinator.send_many(INPUT, WORLD, messages(3))
    held, received = await coordinator._ack_and_receive(WORLD, [], 1, 5)
    seen = got(received)
    with count_commands(client) as counted:
        for _ in range(3):
            held, received = await coordinator._ack_and_receive(WORLD, [received[0].token], 1, 5)
            assert held == [True]
            seen += got(received)
    assert counted.names == ["EVALSHA"] * 3
    assert seen == ["message-0000", "message-0001", "message-0002"]


async def test_receive_many_waits_for_the_first(
    make_coordinator: MakeCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a batch consumer polls, or waits for a full batch."""
    monkeypatch.setattr("tta_agent_coordination.coordinators._leases.IDLE_S", 60.0)
    coordinator, sender = make_coordinator(), make_coordinator()
    assert await coordinator.receive_many(WORLD, 5, wait=0.01) == []
    task = asyncio.create_task(coordinator.receive_many(WORLD, 5, wait=60))
    await eventually("markers are read", lambda: coordinator._waker._blocked is not None)
    await sender.send_many(INPUT, WORLD, messages(3))
    async with asyncio.timeout(30):
        received = await task
    assert got(received) == ["message-0000", "message-0001", "message-0002"]
    await coordinator.ack_many(WORLD, [one.token for one in received])


async def test_resent_batch_acts_once(client: aioredis.Redis, make_coordinator: MakeCoordinator) -> None:
    """Broken: redis-py sends a command again when its answer was lost, and the batch is doubled."""
    coordinator = make_coordinator(client=client)
    await warm(coordinator)

    async def twice(send: Send, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        first = await send(*args, **options)
        second = await send(*args, **options)
        if args[0] == "EVALSHA":
            assert first[:2] == second[:2]
            assert first[5:] == second[5:]
        return second

    with intercept(client, twice):
        results = await coordinator.send_many(INPUT, WORLD, messages(3))
        received = await coordinator.receive_many(WORLD, 2)
        held, more = await coordinator._ack_and_receive(WORLD, [one.token for one in received], 5, 5)
    assert [result.delivered for result in results] == [True] * 3
    assert got(received) == ["message-0000", "message-0001"]
    assert (held, got(more)) == ([True, True], ["message-0002"])
    stats = await coordinator.stats(WORLD)
    assert (stats.reserved, stats.audit) == (1, 1)
    assert await coordinator.ack_many(WORLD, [more[0].token]) == [True]


async def test_cancelled_batch_gives_back_what_it_got(
    client: aioredis.Redis, make_coordinator: MakeCoordinator
) -> None:
    """Broken: a hundred messages hang under leases that nobody knows of."""
    coordinator = make_coordinator(client=client)
    await warm(coordinator)
    await coordinator.send_many(INPUT, WORLD, messages(3))
    reached, first = asyncio.Event(), True

    async def around(send: Send, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        nonlocal first
        answer = await send(*args, **options)
        if first:
            first = False
            reached.set()
            await asyncio.Event().wait()
        return answer

    with intercept(client, around):
        task = asyncio.create_task(coordinator.receive_many(WORLD, 3))
        await reached.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await coordinator._calls.settle()
    assert await drain(coordinator) == ["message-0000", "message-0001", "message-0002"]


def at_script(nth: int, what: Callable[[], Awaitable[None]]) -> Around:
    """Do something in the place of the n-th script, counted from 1."""
    seen = 0

    async def around(send: Send, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        nonlocal seen
        seen += args[0] == "EVALSHA"
        if args[0] == "EVALSHA" and seen == nth:
            await what()
        return await send(*args, **options)

    return around


async def lost() -> None:
    """Fail as a connection does."""
    raise RedisConnectionError("lost")


@pytest.mark.parametrize("wait", [0, 60])
async def test_batch_whose_later_page_fails_is_what_came_before(
    client: aioredis.Redis, make_coordinator: MakeCoordinator, wait: float
) -> None:
    """Broken: a hundred messages hang under leases of a week, since the script for the next ones failed."""
    coordinator = make_coordinator(client=client)
    await warm(coordinator)
    await coordinator.send_many(INPUT, WORLD, messages(101))
    with intercept(client, at_script(2, lost)):
        received = await coordinator.receive_many(WORLD, 150, 604_800, wait=wait)
    assert got(received) == [f"message-{number:04}" for number in range(100)]
    last = await coordinator.receive_many(WORLD, 150)
    assert got(last) == ["message-0100"]
    assert await coordinator.ack_many(WORLD, [one.token for one in (*received, *last)]) == [True] * 101
    with intercept(client, at_script(1, lost)), pytest.raises(OutcomeUnknownError):
        await coordinator.receive_many(WORLD, 150)


async def test_batch_whose_burial_fails_is_all_that_can_be_read(
    client: aioredis.Redis, make_coordinator: MakeCoordinator
) -> None:
    """Broken: what stands behind an undecodable entry hangs under a lease that nobody knows of."""
    coordinator = make_coordinator(client=client)
    await warm(coordinator)
    await coordinator.send_many(INPUT, WORLD, messages(2))
    raw: Any = client
    await raw.execute_command("ZADD", "ao:sched:world:1:prio:5", 1, "not a message")
    with intercept(client, at_script(2, lost)):
        received = await coordinator.receive_many(WORLD, 3)
    assert got(received) == ["message-0000", "message-0001"]
    assert await coordinator.ack_many(WORLD, [one.token for one in received]) == [True] * 2


async def test_batch_that_is_cancelled_at_a_later_page_gives_everything_back(
    client: aioredis.Redis, make_coordinator: MakeCoordinator
) -> None:
    """Broken: a worker that ends keeps a hundred messages from the others for as long as its leases last."""
    coordinator = make_coordinator(client=client)
    await warm(coordinator)
    await coordinator.send_many(INPUT, WORLD, messages(101))
    reached = asyncio.Event()

    async def hang() -> None:
        reached.set()
        await asyncio.Event().wait()

    with intercept(client, at_script(2, hang)):
        task = asyncio.create_task(coordinator.receive_many(WORLD, 150, 604_800))
        await reached.wait()
        task.cancel()
        await asyncio.wait([task])
        await coordinator.aclose()
    assert task.cancelled()
    received = await coordinator.receive_many(WORLD, 150)
    assert got(received) == [f"message-{number:04}" for number in range(101)]
    await coordinator.ack_many(WORLD, [one.token for one in received])


async def test_crash_after_a_batch_loses_nothing(
    client: aioredis.Redis, make_coordinator: MakeCoordinator, clock: ManualClock
) -> None:
    """Broken: a process that ends between its batch and the answer takes messages with it."""
    coordinator = make_coordinator(client=client)
    await warm(coordinator)
    await coordinator.send_many(INPUT, WORLD, messages(3))
    with crash_after(client, 0), pytest.raises(Crash):
        await coordinator.receive_many(WORLD, 3, 5)
    clock.advance(6)
    assert await drain(make_coordinator()) == ["message-0000", "message-0001", "message-0002"]
