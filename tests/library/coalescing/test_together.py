"""Which calls go together, in which order, and how many at most."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import cast

import redis.asyncio as aioredis
from hypothesis import given
from hypothesis import strategies as st

from tests.library.coalescing.support import BOX, Recorded, barrier_in, behind, numbered, sending, turns, warm
from tests.library.support.builders import INPUT, NARRATIVE, WORLD, drain, make_message, send_ids, take_many
from tests.library.support.commands import count_commands
from tests.library.support.peek import Peek
from tta_agent_coordination import (
    MessagePriority,
    MessageResult,
    MessageType,
    RedisMessageCoordinator,
)
from tta_agent_coordination._keys import Inbox
from tta_agent_coordination.coordinators._coalescing import MAX_BYTES, MAX_ITEMS, Coalescer


async def test_lone_send_and_lone_ack_are_one_command_and_no_task(
    client: aioredis.Redis, coordinator: RedisMessageCoordinator
) -> None:
    """Broken: who sends alone pays for those who do not."""
    before = {task.get_name() for task in asyncio.all_tasks()}
    with barrier_in(client) as barrier:
        barrier.is_open.set()
        await send_ids(coordinator, ["message-1"])
        (received,) = await take_many(coordinator, 1)
        assert await coordinator.ack(WORLD, received.token)
    assert barrier.names == ["EVALSHA"] * 3
    assert barrier.tasks == before


async def test_sends_that_arrive_meanwhile_go_together_in_their_order(
    client: aioredis.Redis, coordinator: RedisMessageCoordinator
) -> None:
    """Broken: concurrent sends cost a script each, or overtake each other."""
    with barrier_in(client) as barrier:
        tasks = await behind(coordinator, barrier, numbered(40))
        barrier.is_open.set()
        results = await asyncio.gather(*tasks)
    assert [result.message_id for result in results] == ["message-first", *numbered(40)]
    assert all(result.delivered and result.error is None for result in results)
    assert barrier.carried == [1, 40]
    assert await drain(coordinator) == ["message-first", *numbered(40)]


async def test_who_sends_again_in_the_turn_of_the_answer_goes_with_the_others(
    real_coordinator: RedisMessageCoordinator,
) -> None:
    """Broken: of tasks that send again and again, every second script carries a single message."""
    coordinator, client = real_coordinator, cast("aioredis.Redis", real_coordinator._calls.client)

    async def send_five(who: int) -> None:
        for n in range(5):
            await send_ids(coordinator, [f"message-{who}-{n}"])

    with barrier_in(client) as barrier:
        barrier.is_open.set()
        await asyncio.gather(*(send_five(who) for who in range(10)))
    assert barrier.carried == [1, 10, 10, 10, 10, 9]
    stored = await drain(coordinator)
    for who in range(10):
        assert [one for one in stored if one.startswith(f"message-{who}-")] == [
            f"message-{who}-{n}" for n in range(5)
        ]


async def test_who_joins_again_in_the_turn_of_the_answer_goes_with_the_others() -> None:
    """The same without a server: each flush is away for a few turns."""
    flushed: list[int] = []

    async def flush(_: Inbox, items: Sequence[int], __: None) -> Sequence[int]:
        flushed.append(len(items))
        await turns(3)
        return list(items)

    coalescer = Coalescer(flush)

    async def join_five(who: int) -> None:
        for n in range(5):
            assert list(await coalescer.join(BOX, [who * 5 + n], size=1, terms=None)) == [who * 5 + n]

    await asyncio.gather(*(join_five(who) for who in range(10)))
    assert flushed == [1, 10, 10, 10, 10, 9]


async def test_inboxes_do_not_wait_for_each_other(
    client: aioredis.Redis, coordinator: RedisMessageCoordinator
) -> None:
    """Broken: what is under way for one recipient holds up another, or shares its script."""
    with barrier_in(client) as barrier:
        here = [sending(coordinator, f"here-00{n}", WORLD) for n in range(3)]
        there = [sending(coordinator, f"there-00{n}", NARRATIVE) for n in range(3)]
        await barrier.holds(2)
        await turns(3)
        assert barrier.carried == [1, 1]
        barrier.is_open.set()
        await asyncio.gather(*here, *there)
    assert barrier.carried == [1, 1, 2, 2]
    assert await drain(coordinator, WORLD) == ["here-000", "here-001", "here-002"]
    assert await drain(coordinator, NARRATIVE) == ["there-000", "there-001", "there-002"]


async def test_each_message_of_a_batch_keeps_its_options(
    client: aioredis.Redis, coordinator: RedisMessageCoordinator, peek: Peek
) -> None:
    """Broken: level, delay, expiry or idempotency key of one message is another's."""
    with barrier_in(client) as barrier:
        tasks = await behind(coordinator, barrier, [])
        high = make_message("high-0001", priority=MessagePriority.HIGH)
        low = make_message("low-00001", priority=MessagePriority.LOW)
        tasks += [
            asyncio.create_task(coordinator.send_message(INPUT, WORLD, low, expires_in=600)),
            sending(coordinator, "once-0001", dedup_id="a|b"),
            sending(coordinator, "delayed-1", delay=600),
            sending(coordinator, "other-001", dedup_id="c"),
            sending(coordinator, "once-0002", dedup_id="a|b"),
            asyncio.create_task(coordinator.send_message(INPUT, WORLD, high, dedup_id="d", delay=0)),
        ]
        await turns(2)
        barrier.is_open.set()
        results = await asyncio.gather(*tasks)
    assert barrier.carried == [1, 6]
    assert [(result.message_id, result.cause) for result in results[2:6]] == [
        ("once-0001", None),
        ("delayed-1", None),
        ("other-001", None),
        ("once-0001", "duplicate"),
    ]
    assert [len(await peek.level(WORLD, level)) for level in (9, 5, 1)] == [1, 4, 1]
    (entry,) = await peek.level(WORLD, 1)
    assert '"expires_at":' in entry
    assert await drain(coordinator) == ["high-0001", "message-first", "once-0001", "other-001", "low-00001"]
    (left,) = await peek.ready(WORLD)
    assert "delayed-1" in left
    assert (await coordinator.send_message(INPUT, WORLD, high, dedup_id="d")).cause == "duplicate"


async def test_messages_sent_with_send_many_keep_their_place_and_their_script(
    client: aioredis.Redis, coordinator: RedisMessageCoordinator
) -> None:
    """Broken: a batch of one caller overtakes the sends before it, or is torn apart."""
    many = [make_message(f"many-{n:04}") for n in range(150)]
    with barrier_in(client) as barrier:
        tasks = await behind(coordinator, barrier, numbered(40))
        batch = asyncio.create_task(coordinator.send_many(INPUT, WORLD, many))
        await turns(1)
        last = sending(coordinator, "message-last")
        await turns(1)
        barrier.is_open.set()
        assert all(result.delivered for result in await batch)
        await asyncio.gather(*tasks, last)
    assert barrier.carried == [1, 40, 101, 50]
    assert await drain(coordinator) == [
        "message-first",
        *numbered(40),
        *(one.message_id for one in many[:100]),
        "message-last",
        *(one.message_id for one in many[100:]),
    ]


async def test_first_sends_to_an_inbox_keep_their_order(client: aioredis.Redis) -> None:
    """Broken: while the first send names a new inbox in the index, a later one overtakes it."""
    async with RedisMessageCoordinator(client) as coordinator:
        with count_commands(client) as counted:
            tasks = [sending(coordinator, message_id) for message_id in numbered(30)]
            await asyncio.gather(*tasks)
        assert counted.names.count("SADD") == 1
        assert await drain(coordinator) == numbered(30)


async def test_sends_keep_their_order_while_a_subscription_waits(client: aioredis.Redis, peek: Peek) -> None:
    """Broken: the send that stores a waiting subscription on its way is overtaken by the next."""
    async with RedisMessageCoordinator(client) as coordinator:
        await warm(coordinator)
        subscribe = asyncio.to_thread(coordinator.subscribe_to_messages, WORLD, [MessageType.EVENT])
        await subscribe  # without a running loop it waits for the next operation
        await asyncio.gather(*(sending(coordinator, message_id) for message_id in numbered(5)))
        assert await peek.raw("SMEMBERS", "ao:subs:world:1") == {b"event"}
        assert await drain(coordinator) == numbered(5)


async def test_batch_carries_at_most_128_messages(
    client: aioredis.Redis, coordinator: RedisMessageCoordinator
) -> None:
    """Broken: one script blocks the server for as long as there are callers."""
    with barrier_in(client) as barrier:
        tasks = await behind(coordinator, barrier, numbered(300))
        barrier.is_open.set()
        await asyncio.gather(*tasks)
    assert barrier.carried == [1, 128, 128, 44]
    assert await drain(coordinator) == ["message-first", *numbered(300)]


async def test_batch_carries_at_most_a_mebibyte_unless_one_message_is_larger(
    client: aioredis.Redis, coordinator: RedisMessageCoordinator
) -> None:
    """Broken: large messages add up to a script of any size, or one that is too large never goes."""

    def start(message_id: str, size: int) -> asyncio.Task[MessageResult]:
        message = make_message(message_id, {"text": "x" * size})
        return asyncio.create_task(coordinator.send_message(INPUT, WORLD, message))

    with barrier_in(client) as barrier:
        tasks = await behind(coordinator, barrier, [])
        tasks += [start(f"large-{n:04}", 300_000) for n in range(7)]
        tasks += [start("huge-0001", MAX_BYTES + 1), start("small-001", 1), start("small-002", 1)]
        await turns(2)
        barrier.is_open.set()
        results = await asyncio.gather(*tasks)
    assert all(result.delivered for result in results)
    assert barrier.carried == [1, 3, 3, 1, 1, 2]


@given(
    calls=st.lists(
        st.tuples(st.integers(1, 150), st.integers(0, MAX_BYTES // 2), st.integers(0, 1), st.booleans()),
        max_size=40,
    )
)
def test_batches_are_in_order_in_bounds_and_on_the_same_terms(
    calls: list[tuple[int, int, int, bool]],
) -> None:
    """Broken: some sequence of calls makes a batch too large, mixes terms, reorders or tears a call."""

    async def scenario() -> None:
        recorded = Recorded()
        coalescer = Coalescer(recorded)
        first = asyncio.create_task(coalescer.join(BOX, [-1], size=1, terms=0))
        await turns(1)
        tasks: list[asyncio.Task[Sequence[int]]] = []
        wanted: list[tuple[list[int], int, int]] = []
        number = 0
        for count, size, terms, gives_up in calls:
            items = list(range(number, number + count))
            number += count
            task = asyncio.create_task(coalescer.join(BOX, items, size=size, terms=terms))
            await turns(1)
            if gives_up:
                task.cancel()
            else:
                tasks.append(task)
                wanted.append((items, size, terms))
        recorded.free.set()
        assert list(await first) == [-1]
        answers = await asyncio.gather(*tasks)
        assert [list(answer) for answer in answers] == [items for items, _, _ in wanted]
        assert recorded.flushes.pop(0) == ([-1], 0)
        assert [item for items, _ in recorded.flushes for item in items] == [
            item for items, _, _ in wanted for item in items
        ]
        for items, terms in recorded.flushes:
            mine = [call for call in wanted if call[0][0] in items]
            assert {call[2] for call in mine} == {terms}
            assert [item for call in mine for item in call[0]] == items
            if len(mine) > 1:
                assert len(items) <= MAX_ITEMS
                assert sum(call[1] for call in mine) <= MAX_BYTES
        for (left, terms), (right, other_terms) in itertools.pairwise(recorded.flushes):
            following = next(call for call in wanted if call[0][0] == right[0])
            size = sum(call[1] for call in wanted if call[0][0] in left)
            assert (
                terms != other_terms
                or len(left) + len(following[0]) > MAX_ITEMS
                or size + following[1] > MAX_BYTES
            ), "these two could have gone together"
        await turns(3)
        assert not coalescer._lines

    asyncio.run(scenario())
