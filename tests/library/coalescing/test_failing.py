"""One call's error or cancellation, and those that shared its script."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import pytest
import redis.asyncio as aioredis
from hypothesis import given
from hypothesis import strategies as st

from tests.library.coalescing.support import (
    BOX,
    barrier_in,
    behind,
    lines_of,
    numbered,
    sending,
    turns,
    warm,
)
from tests.library.support.builders import INPUT, WORLD, drain, make_message, send_ids
from tests.library.support.peek import Peek
from tests.library.support.proxy import faulty_proxy
from tests.library.support.servers import RealLane
from tests.library.support.waiting import eventually
from tta_agent_coordination import (
    AgentId,
    MessageResult,
    RedisMessageCoordinator,
    StoreUnavailableError,
    _keys,
)


async def test_full_inbox_refuses_the_rest_of_a_batch_in_its_order(
    client: aioredis.Redis, coordinator: RedisMessageCoordinator
) -> None:
    """Broken: a batch passes the limit, or is refused as a whole where a part of it fits."""
    coordinator.configure(queue_size=4)
    with barrier_in(client) as barrier:
        tasks = await behind(coordinator, barrier, numbered(6))
        barrier.is_open.set()
        results = await asyncio.gather(*tasks)
    assert [result.cause for result in results] == [None] * 4 + ["queue full"] * 3
    assert await drain(coordinator) == ["message-first", *numbered(3)]


async def test_each_send_keeps_the_limit_it_began_with(
    client: aioredis.Redis, coordinator: RedisMessageCoordinator
) -> None:
    """Broken: a changed limit takes effect for sends that began before, or not at the next one."""
    coordinator.configure(queue_size=2)
    with barrier_in(client) as barrier:
        tasks = await behind(coordinator, barrier, numbered(2))
        coordinator._queue_size = 3  # as TTA sets it
        tasks.append(sending(coordinator, "message-wide"))
        await turns(1)
        barrier.is_open.set()
        results = await asyncio.gather(*tasks)
    assert [result.cause for result in results] == [None, None, "queue full", None]
    assert barrier.carried == [1, 2, 1]
    assert await drain(coordinator) == ["message-first", "message-000", "message-wide"]


async def test_payload_that_cannot_be_stored_fails_alone(
    client: aioredis.Redis, coordinator: RedisMessageCoordinator
) -> None:
    """Broken: one caller's mistake fails the batch."""
    bad = make_message("message-bad", {"value": float("nan")})
    changed = make_message("message-changed")
    with barrier_in(client) as barrier:
        tasks = await behind(coordinator, barrier, numbered(2))
        tasks.append(asyncio.create_task(coordinator.send_message(INPUT, WORLD, bad)))
        tasks.append(asyncio.create_task(coordinator.send_message(INPUT, WORLD, changed)))
        await turns(1)
        changed.payload = {"value": {1, 2}}  # encoded before it joined, so this is nobody's business
        changed.message_id = "message-other"
        barrier.is_open.set()
        results = await asyncio.gather(*tasks)
    assert [result.cause for result in results] == [None, None, None, "payload not JSON", None]
    assert results[-1].message_id == "message-changed"
    assert await drain(coordinator) == ["message-first", *numbered(2), "message-changed"]


@pytest.mark.leaves_keys("ao:dedup:*")
async def test_damaged_idempotency_key_fails_its_own_message_alone(
    real_lane: RealLane, real_coordinator: RedisMessageCoordinator
) -> None:
    """Broken: what somebody wrote to one key of a batch refuses everybody in it."""
    coordinator, client = real_coordinator, cast("aioredis.Redis", real_coordinator._calls.client)
    await Peek(real_lane.client()).raw("LPUSH", _keys.dedup(BOX, "damaged"), "not a string")
    with barrier_in(client) as barrier:
        tasks = await behind(coordinator, barrier, ["message-000"])
        tasks.append(sending(coordinator, "message-bad", dedup_id="damaged"))
        tasks.append(sending(coordinator, "message-001", dedup_id="sound"))
        await turns(1)
        barrier.is_open.set()
        results = await asyncio.gather(*tasks)
    assert barrier.carried == [1, 3]
    assert [result.cause for result in results] == [None, None, "store unavailable", None]
    assert "WRONGTYPE" in str(results[2].error)
    with pytest.raises(StoreUnavailableError, match="WRONGTYPE"):
        results[2].raise_for_error()
    assert await drain(coordinator) == ["message-first", "message-000", "message-001"]


async def test_unforeseen_error_reaches_everybody_and_stops_nobody_else(
    client: aioredis.Redis, coordinator: RedisMessageCoordinator
) -> None:
    """Broken: after an error that nobody expected, callers wait for ever."""
    broken = False

    class ClockError(Exception):
        pass

    class Clock:
        def now_us(self) -> int:
            if broken:
                raise ClockError("the clock stopped")
            return 1_700_000_000_000_000

    coordinator._sender._clock = Clock()
    with barrier_in(client) as barrier:
        tasks = await behind(coordinator, barrier, numbered(3))
        broken = True
        barrier.is_open.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], MessageResult)
    assert [type(result) for result in results[1:]] == [ClockError] * 3
    broken = False
    await send_ids(coordinator, ["message-last"])
    coordinator._sender._clock = None
    assert await drain(coordinator) == ["message-first", "message-last"]


async def test_send_that_is_cancelled_while_it_waits_is_withdrawn(
    client: aioredis.Redis, coordinator: RedisMessageCoordinator
) -> None:
    """Broken: what was given up before it left arrives, or takes its neighbours with it."""
    with barrier_in(client) as barrier:
        tasks = await behind(coordinator, barrier, numbered(5))
        tasks[1].cancel()
        tasks[3].cancel()
        await turns(1)
        (line,) = coordinator._sender._coalescer._lines.values()
        assert len(line.waiting) == 3, "what was given up is kept as long as a script hangs"
        tasks[5].cancel()  # and one in the very turn of the start
        barrier.is_open.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(result, asyncio.CancelledError) for result in results] == [
        False,
        True,
        False,
        True,
        False,
        True,
    ]
    assert barrier.carried == [1, 2]
    assert await drain(coordinator) == ["message-first", "message-001", "message-003"]


@pytest.mark.parametrize("moment", ["before the first is back", "as the first is back"])
async def test_when_everybody_who_waits_gives_up_nothing_is_sent(
    client: aioredis.Redis, coordinator: RedisMessageCoordinator, moment: str
) -> None:
    """Broken: a batch of nobody costs a script, or the line does not end."""
    waiting: list[asyncio.Task[MessageResult]] = []

    def give_up() -> None:
        for task in waiting:
            task.cancel()

    async def send_first() -> None:
        await send_ids(coordinator, ["message-first"])
        give_up()  # in the very step in which the batch behind it was started

    with barrier_in(client) as barrier:
        first = asyncio.create_task(send_first())
        await barrier.holds(1)
        waiting += [sending(coordinator, message_id) for message_id in numbered(3)]
        await turns(2)
        if moment == "before the first is back":
            give_up()
        barrier.is_open.set()
        await first
        await asyncio.gather(*waiting, return_exceptions=True)
        await eventually("the line has ended", lambda: lines_of(coordinator) == 0)
    assert barrier.carried == [1]
    assert await drain(coordinator) == ["message-first"]


async def test_cancelling_the_first_send_lets_those_behind_it_go(
    client: aioredis.Redis, coordinator: RedisMessageCoordinator
) -> None:
    """Broken: the callers behind one who gave up wait for ever, or are cancelled with him."""
    with barrier_in(client) as barrier:
        first, *waiting = await behind(coordinator, barrier, numbered(3))
        first.cancel()
        await barrier.holds(2)
        assert first.cancelled()
        barrier.is_open.set()
        assert all(result.delivered for result in await asyncio.gather(*waiting))
    assert await drain(coordinator) == numbered(3)


async def test_cancelling_one_of_a_batch_under_way_leaves_the_others(
    client: aioredis.Redis, coordinator: RedisMessageCoordinator
) -> None:
    """Broken: the cancellation of one caller reaches the script that carries the others."""
    with barrier_in(client) as barrier:
        first, *waiting = await behind(coordinator, barrier, numbered(4))
        first.cancel()
        await barrier.holds(2)
        waiting[0].cancel()
        waiting[2].cancel()
        await turns(2)
        barrier.is_open.set()
        results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [isinstance(result, asyncio.CancelledError) for result in results] == [True, False, True, False]
    assert len(barrier.scripts) == 2
    assert await drain(coordinator) == numbered(4)  # those who left may have been sent, and here they were


async def test_batch_that_nobody_waits_for_holds_up_nobody(
    client: aioredis.Redis, coordinator: RedisMessageCoordinator
) -> None:
    """Broken: behind a script that hangs, and that everybody gave up, the next send hangs too."""
    with barrier_in(client) as barrier:
        first, *waiting = await behind(coordinator, barrier, numbered(3))
        first.cancel()
        await barrier.holds(2)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        following = sending(coordinator, "message-next")
        await barrier.holds(3)
        barrier.is_open.set()
        assert (await following).delivered
    assert await drain(coordinator) == ["message-next"]


async def test_batch_given_up_on_the_wire_cannot_arrive_behind_its_successor(
    real_lane: RealLane,
) -> None:
    """Broken: a batch that everybody gave up arrives late, behind what was sent after it."""
    async with (
        faulty_proxy(real_lane.port) as proxy,
        RedisMessageCoordinator(real_lane.client(port=proxy.port)) as coordinator,
    ):
        await warm(coordinator)
        proxy.hold = 2
        first = sending(coordinator, "message-first")
        await eventually("the first one is on the wire", lambda: proxy.held == 1)
        waiting = [sending(coordinator, message_id) for message_id in numbered(3)]
        await turns(2)
        first.cancel()
        await eventually("the batch is on the wire", lambda: proxy.held == 2)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await send_ids(coordinator, ["message-next"])
        proxy.let_go()
        await eventually("both have arrived", lambda: proxy.forwarded_after_hold == 2)
        await proxy.close()
        assert await Peek(real_lane.client()).ids(WORLD) == ["message-next"]
        assert await drain(coordinator) == ["message-next"]


@pytest.mark.parametrize("turn", range(24))
async def test_cancelling_at_any_turn_neither_loses_nor_doubles(
    coordinator: RedisMessageCoordinator, turn: int
) -> None:
    """Broken: there is a moment in which one caller's cancellation costs another one his message."""
    tasks = [sending(coordinator, message_id) for message_id in numbered(6)]
    await turns(turn)
    tasks[0].cancel()
    tasks[3].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    delivered = [one.message_id for one in results if isinstance(one, MessageResult) and one.delivered]
    assert {"message-001", "message-002", "message-004", "message-005"} <= set(delivered)
    stored = await drain(coordinator)
    assert stored == sorted(set(stored)), "doubled, or out of order"
    assert set(delivered) <= set(stored)
    assert set(stored) - set(delivered) <= {"message-000", "message-003"}


async def test_somebody_who_cancels_the_batch_itself_cancels_no_caller(
    client: aioredis.Redis, coordinator: RedisMessageCoordinator
) -> None:
    """Broken: a shutdown that cancels every task but its own ends its own send as cancelled."""
    with barrier_in(client) as barrier:
        first, *waiting = await behind(coordinator, barrier, numbered(2))
        many = asyncio.create_task(coordinator.send_many(INPUT, WORLD, [make_message("message-many")]))
        await turns(1)
        first.cancel()
        await barrier.holds(2)
        (batch,) = [task for task in asyncio.all_tasks() if task.get_name() == "carry a batch for world:1"]
        batch.cancel()
        results = [*await asyncio.gather(*waiting), *await many]
        barrier.is_open.set()
    assert [result.cause for result in results] == ["outcome unknown"] * 3
    await send_ids(coordinator, ["message-next"])
    assert await drain(coordinator) == ["message-next"]


@dataclass(frozen=True)
class Plan:
    """What one of many callers does: to whom he sends, when he starts, and when he gives up."""

    inbox: int
    starts: int
    gives_up: int | None


plans = st.lists(
    st.builds(
        Plan,
        inbox=st.integers(0, 2),
        starts=st.integers(0, 12),
        gives_up=st.none() | st.integers(0, 20),
    ),
    min_size=1,
    max_size=60,
)


async def carry_out(
    coordinator: RedisMessageCoordinator, callers: Sequence[Plan], agents: list[AgentId]
) -> None:
    """Do what the callers plan, and hold what is stored against what they were told."""
    order: list[tuple[int, str]] = []

    async def call(number: int, plan: Plan) -> MessageResult:
        await turns(plan.starts)
        message_id = f"message-{number:04}"
        order.append((plan.inbox, message_id))
        return await coordinator.send_message(INPUT, agents[plan.inbox], make_message(message_id))

    async def give_up(task: asyncio.Task[MessageResult], after: int) -> None:
        await turns(after)
        task.cancel()

    tasks = [asyncio.create_task(call(number, plan)) for number, plan in enumerate(callers)]
    ends = [
        asyncio.create_task(give_up(task, plan.gives_up))
        for task, plan in zip(tasks, callers, strict=True)
        if plan.gives_up is not None
    ]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.gather(*ends)
    accepted = {one.message_id for one in results if isinstance(one, MessageResult) and one.delivered}
    given_up = {
        f"message-{number:04}"
        for number, result in enumerate(results)
        if isinstance(result, asyncio.CancelledError)
    }
    assert len(accepted) + len(given_up) == len(callers)
    for inbox, agent in enumerate(agents):
        started = [message_id for where, message_id in order if where == inbox]
        stored = await drain(coordinator, agent)
        assert [one for one in stored if one in accepted] == [one for one in started if one in accepted]
        assert set(stored) - accepted <= given_up
        assert len(stored) == len(set(stored))


@given(callers=plans)
def test_any_plan_of_callers_keeps_order_and_every_accepted_message(
    sync_lane: tuple[asyncio.Runner, Any], callers: list[Plan]
) -> None:
    """Broken: some interleaving of sends and cancellations loses, doubles or reorders what was accepted."""
    runner, lane = sync_lane
    agents = [AgentId(type="world", instance=str(n)) for n in range(3)]

    async def scenario() -> None:
        async with RedisMessageCoordinator(lane.client()) as coordinator:
            await carry_out(coordinator, callers, agents)

    runner.run(scenario())


async def test_five_hundred_callers_and_fifty_inboxes(real_coordinator: RedisMessageCoordinator) -> None:
    """Broken: among many callers, a third of whom give up, a message is lost, doubled or overtaken."""
    dice = random.Random(7)
    callers = [
        Plan(
            inbox=dice.randrange(50),
            starts=dice.randrange(40),
            gives_up=dice.randrange(80) if dice.random() < 0.3 else None,
        )
        for _ in range(500)
    ]
    await carry_out(real_coordinator, callers, [AgentId(type="world", instance=str(n)) for n in range(50)])
