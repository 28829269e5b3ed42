"""Concurrent calls that share a script: order, bounds, errors, cancellation, outages, loops, a cluster.

`Barrier` keeps scripts back in the client, so a test decides what is under way when a call arrives; the
faulty proxy keeps back what has already left.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncIterator, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import redis.asyncio as aioredis
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import ResponseError

from tests.library.support.builders import INPUT, NARRATIVE, WORLD, drain, make_message, send_ids, take_many
from tests.library.support.cluster import Cluster, started_cluster
from tests.library.support.commands import Send, count_commands, intercept
from tests.library.support.peek import Peek
from tests.library.support.proxy import FaultyProxy, faulty_proxy
from tests.library.support.servers import RealLane, RealServer, started_server
from tests.library.support.waiting import eventually
from tta_agent_coordination import (
    AgentId,
    AgentMessage,
    InMemoryMetrics,
    MessagePriority,
    MessageResult,
    MessageType,
    RedisMessageCoordinator,
    StoreUnavailableError,
    _keys,
)
from tta_agent_coordination.coordinators import _coalescing
from tta_agent_coordination.coordinators._coalescing import MAX_BYTES, MAX_ITEMS, Coalescer

pytestmark = pytest.mark.usefixtures("server_binary")

BOX = _keys.inbox("ao", WORLD, hash_tags=False)


@dataclass
class Barrier:
    """Keeps scripts back before they are sent, while it is closed; notes all commands and what they carry."""

    is_open: asyncio.Event = field(default_factory=asyncio.Event)
    names: list[str] = field(default_factory=list[str])
    scripts: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])
    tasks: set[str] = field(default_factory=set[str])

    async def __call__(self, send: Send, args: tuple[Any, ...], options: dict[str, Any]) -> object:
        """Keep a script back, pass on what is none."""
        self.names.append(str(args[0]))
        if args[0] == "EVALSHA":
            self.scripts.append(args)
            self.tasks |= {task.get_name() for task in asyncio.all_tasks()}
            await self.is_open.wait()
        return await send(*args, **options)

    @property
    def carried(self) -> list[int]:
        """How many messages each script puts into an inbox."""
        return [sum(str(part).startswith('b\'{"message"') for part in args) for args in self.scripts]

    async def holds(self, scripts: int) -> None:
        """Wait until so many scripts have come."""
        await eventually(f"{scripts} scripts came", lambda: len(self.scripts) >= scripts)


@contextlib.contextmanager
def barrier_in(client: aioredis.Redis) -> Generator[Barrier]:
    """Put a closed barrier before a client for the length of a block; it ends open, however that ends."""
    barrier = Barrier()
    try:
        with intercept(client, barrier):
            yield barrier
    finally:
        barrier.is_open.set()


@pytest.fixture
def client(real_lane: RealLane) -> aioredis.Redis:
    """A client of the real server."""
    return real_lane.client()


@pytest.fixture
def peek(real_lane: RealLane) -> Peek:
    """A look at what is stored."""
    return Peek(real_lane.client())


async def warm(coordinator: RedisMessageCoordinator) -> None:
    """Have every script on the server, and the recipients indexed."""
    for agent in (WORLD, NARRATIVE):
        for _ in range(2):  # the second time no script is missing, so the two that are behind go together
            calls = [coordinator.send_message(INPUT, agent, make_message(f"warm-{n}-up")) for n in range(3)]
            await asyncio.gather(*calls)
            held = await take_many(coordinator, 3, agent)
            assert all(await asyncio.gather(*(coordinator.ack(agent, one.token) for one in held)))


@pytest.fixture
async def coordinator(client: aioredis.Redis) -> AsyncIterator[RedisMessageCoordinator]:
    """A coordinator on the real server, with every script loaded."""
    async with RedisMessageCoordinator(client) as made:
        await warm(made)
        yield made
        assert lines_of(made) == 0, "an idle coordinator keeps no line"


def lines_of(coordinator: RedisMessageCoordinator) -> int:
    """Return for how many inboxes calls are under way."""
    return len(coordinator._sender._coalescer._lines) + len(coordinator._leases._acks._lines)


def sending(
    coordinator: RedisMessageCoordinator,
    message_id: str,
    agent: AgentId = WORLD,
    **options: Any,  # noqa: ANN401 - whatever send_message takes
) -> asyncio.Task[MessageResult]:
    """Start a send, and name its task as its message."""
    return asyncio.create_task(
        coordinator.send_message(INPUT, agent, make_message(message_id), **options), name=message_id
    )


async def turns(count: int) -> None:
    """Let the loop turn so many times."""
    for _ in range(count):
        await asyncio.sleep(0)


async def behind(
    coordinator: RedisMessageCoordinator, barrier: Barrier, ids: Sequence[str]
) -> list[asyncio.Task[MessageResult]]:
    """Start a send that the barrier keeps back, then those of `ids`, which have to wait for it."""
    first = sending(coordinator, "message-first")
    await barrier.holds(1)
    tasks = [first, *(sending(coordinator, message_id) for message_id in ids)]
    await turns(2)
    assert len(barrier.scripts) == 1, "somebody did not wait"
    return tasks


def numbered(count: int) -> list[str]:
    """Return so many message ids, in order."""
    return [f"message-{number:03}" for number in range(count)]


# --- What goes together ---


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
    client: aioredis.Redis, coordinator: RedisMessageCoordinator
) -> None:
    """Broken: of tasks that send again and again, every second script carries a single message."""

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


# --- Bounds ---


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


class Recorded:
    """A flush that carries nothing out and notes what it got."""

    def __init__(self) -> None:
        self.flushes: list[tuple[list[int], int]] = []
        self.free = asyncio.Event()

    async def __call__(self, box: _keys.Inbox, items: Sequence[int], terms: int) -> list[int]:
        """Wait, note, answer with the items."""
        assert box == BOX
        await self.free.wait()
        self.flushes.append((list(items), terms))
        return list(items)


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


# --- Errors ---


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
    client: aioredis.Redis, coordinator: RedisMessageCoordinator, peek: Peek
) -> None:
    """Broken: what somebody wrote to one key of a batch refuses everybody in it."""
    await peek.raw("LPUSH", _keys.dedup(BOX, "damaged"), "not a string")
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


# --- Cancellation ---


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
    real_lane: RealLane, peek: Peek
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
        assert await peek.ids(WORLD) == ["message-next"]
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


async def test_five_hundred_callers_and_fifty_inboxes(coordinator: RedisMessageCoordinator) -> None:
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
    await carry_out(coordinator, callers, [AgentId(type="world", instance=str(n)) for n in range(50)])


# --- Outages ---


@pytest.fixture
async def proxy(real_lane: RealLane) -> AsyncIterator[FaultyProxy]:
    """A proxy in front of the real server."""
    async with faulty_proxy(real_lane.port) as running:
        yield running


async def batch_on_the_wire(
    coordinator: RedisMessageCoordinator, proxy: FaultyProxy, ids: Sequence[str]
) -> list[asyncio.Task[MessageResult]]:
    """Start a first send that waits in the proxy, and those of `ids` behind it; let them go."""
    proxy.hold = 1
    held = proxy.held
    first = sending(coordinator, "message-first")
    await eventually("the first one is on the wire", lambda: proxy.held > held)
    waiting = [sending(coordinator, message_id) for message_id in ids]
    await turns(2)
    proxy.let_go()
    return [first, *waiting]


def errors_counted(coordinator: RedisMessageCoordinator) -> int:
    """Return how many failed sends the metrics know."""
    assert isinstance(coordinator.metrics, InMemoryMetrics)
    return coordinator.metrics.delivery.delivered_error


async def test_lost_reply_of_a_batch_doubles_nothing(
    proxy: FaultyProxy, real_lane: RealLane, peek: Peek
) -> None:
    """Broken: the batch that the client library sends again is carried out again."""
    client = real_lane.client(port=proxy.port)
    async with RedisMessageCoordinator(client) as coordinator:
        await warm(coordinator)
        tasks = await batch_on_the_wire(coordinator, proxy, numbered(5))
        await tasks[0]
        proxy.lose_replies = 2
        results = await asyncio.gather(*tasks)
        assert proxy.lose_replies == 0, "the fault this test is about never happened"
        assert [result.cause for result in results] == [None] * 6
        assert len(await peek.queue(WORLD)) == 6
        assert await drain(coordinator) == ["message-first", *numbered(5)]


async def test_connection_that_breaks_under_a_batch_is_an_unknown_outcome_for_each(
    proxy: FaultyProxy, real_lane: RealLane
) -> None:
    """Broken: of a batch whose outcome nobody knows, somebody is told that it worked, or that it did not."""
    client: Any = real_lane.client(port=proxy.port, retry=None)
    async with RedisMessageCoordinator(client) as coordinator:
        await warm(coordinator)
        before = errors_counted(coordinator)
        tasks = await batch_on_the_wire(coordinator, proxy, numbered(5))
        await tasks[0]
        proxy.lose_replies = 1
        results = await asyncio.gather(*tasks)
        assert [result.cause for result in results] == [None] + ["outcome unknown"] * 5
        assert errors_counted(coordinator) - before == 5, "each message counts"
        await send_ids(coordinator, ["message-next"])
        assert await drain(coordinator) == ["message-first", *numbered(5), "message-next"]


async def test_batch_that_the_server_refuses_is_refused_to_each(private_server: RealServer) -> None:
    """Broken: a server that is full takes a part of a batch, or one refusal is told to one caller alone."""
    client = RealLane(port=private_server.port).client()
    peek = Peek(client)
    async with RedisMessageCoordinator(client) as coordinator:
        await warm(coordinator)
        with barrier_in(client) as barrier:
            tasks = await behind(coordinator, barrier, numbered(4))
            await peek.raw("CONFIG", "SET", "maxmemory", 1)
            barrier.is_open.set()
            results = await asyncio.gather(*tasks)
        assert len(barrier.scripts) == 2
        assert [result.cause for result in results] == ["store unavailable"] * 5
        await peek.raw("CONFIG", "SET", "maxmemory", 0)
        await send_ids(coordinator, ["message-next"])
        assert await drain(coordinator) == ["message-next"]
    await client.aclose()


async def test_server_that_dies_under_a_batch_fails_each_and_the_next_goes_on(server_binary: str) -> None:
    """Broken: after a crash in the middle of a batch the line stands still."""
    with started_server(server_binary) as server:
        client: Any = RealLane(port=server.port).client(retry=None)
        coordinator = RedisMessageCoordinator(client)
        await warm(coordinator)
        server.pause()
        tasks = [sending(coordinator, message_id) for message_id in numbered(6)]
        await turns(5)
        server.end()
        results = await asyncio.gather(*tasks)
        assert {result.delivered for result in results} == {False}
        assert {result.cause for result in results} <= {"outcome unknown", "store unavailable"}
        port = server.port
    with started_server(server_binary, port=port):
        await warm(coordinator)
        await send_ids(coordinator, ["message-next"])
        assert await drain(coordinator) == ["message-next"]
        await coordinator.aclose()
        await client.aclose()


# --- Acknowledgements ---


async def acking(
    coordinator: RedisMessageCoordinator, barrier: Barrier, tokens: Sequence[str]
) -> list[asyncio.Task[bool]]:
    """Start acks of which all but the first have to wait for it."""
    tasks = [asyncio.create_task(coordinator.ack(WORLD, tokens[0]))]
    await barrier.holds(len(barrier.scripts) + 1)
    tasks += [asyncio.create_task(coordinator.ack(WORLD, token)) for token in tokens[1:]]
    await turns(2)
    return tasks


async def test_acks_share_a_script_and_each_gets_its_own_answer(
    client: aioredis.Redis, coordinator: RedisMessageCoordinator, peek: Peek
) -> None:
    """Broken: acks cost a script each, or one caller gets another's answer."""
    await send_ids(coordinator, numbered(4))
    tokens = [one.token for one in await take_many(coordinator, 4)]
    with barrier_in(client) as barrier:
        tasks = await acking(
            coordinator, barrier, [tokens[0], "res_gone", tokens[1], tokens[0], tokens[2], tokens[2]]
        )
        barrier.is_open.set()
        answers = await asyncio.gather(*tasks)
    assert answers == [True, False, True, False, True, False], "a second ack of a token is False"
    assert len(barrier.scripts) == 2
    assert list(await peek.reserved(WORLD)) == [tokens[3]]
    assert await coordinator.ack(WORLD, tokens[3])


async def test_ack_does_not_wait_for_sends(
    client: aioredis.Redis, coordinator: RedisMessageCoordinator
) -> None:
    """Broken: a slow send holds up who only wants to acknowledge."""
    await send_ids(coordinator, ["message-1"])
    (received,) = await take_many(coordinator, 1)
    with barrier_in(client) as barrier:
        tasks = await behind(coordinator, barrier, numbered(2))
        ack = asyncio.create_task(coordinator.ack(WORLD, received.token))
        await barrier.holds(2)
        barrier.is_open.set()
        assert await ack is True
        await asyncio.gather(*tasks)
    await drain(coordinator)


async def test_token_that_cannot_be_sent_fails_alone(
    client: aioredis.Redis, coordinator: RedisMessageCoordinator
) -> None:
    """Broken: one caller's broken token fails the acks of the others."""
    await send_ids(coordinator, numbered(2))
    tokens = [one.token for one in await take_many(coordinator, 2)]
    with barrier_in(client) as barrier:
        tasks = await acking(coordinator, barrier, [tokens[0], tokens[1], "res_\ud800"])
        barrier.is_open.set()
        first, second, broken = await asyncio.gather(*tasks, return_exceptions=True)
    assert (first, second) == (True, True)
    assert isinstance(broken, ValueError)


async def test_acks_do_not_depend_on_the_dead_letters(
    client: aioredis.Redis, coordinator: RedisMessageCoordinator, peek: Peek
) -> None:
    """Broken: acks that share a script touch what a lone one does not, and fail by it."""
    await send_ids(coordinator, numbered(3))
    tokens = [one.token for one in await take_many(coordinator, 3)]
    await peek.raw("SET", "ao:dlq:world:1", "damaged")
    with barrier_in(client) as barrier:
        tasks = await acking(coordinator, barrier, tokens)
        barrier.is_open.set()
        assert await asyncio.gather(*tasks) == [True, True, True]
    await peek.raw("DEL", "ao:dlq:world:1")


async def test_acks_that_fail_together_raise_an_error_each(
    client: aioredis.Redis, coordinator: RedisMessageCoordinator, peek: Peek
) -> None:
    """Broken: callers share one exception, whose traceback grows with each of them."""
    await send_ids(coordinator, numbered(3))
    tokens = [one.token for one in await take_many(coordinator, 3)]
    await peek.raw("RENAME", "ao:reserved:world:1", "aside")
    await peek.raw("SET", "ao:reserved:world:1", "damaged")
    with barrier_in(client) as barrier:
        tasks = await acking(coordinator, barrier, tokens)
        barrier.is_open.set()
        errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert len({id(error) for error in errors}) == 3
    for error in errors:
        assert isinstance(error, StoreUnavailableError)
        assert "WRONGTYPE" in str(error)
        assert isinstance(error.__cause__, ResponseError)
    await peek.raw("RENAME", "aside", "ao:reserved:world:1")
    assert await coordinator.ack_many(WORLD, tokens) == [True] * 3


async def test_lost_reply_of_acks_is_true_for_each(proxy: FaultyProxy, real_lane: RealLane) -> None:
    """Broken: acks that the client library sends again answer that the tokens are unknown."""
    client = real_lane.client(port=proxy.port)
    async with RedisMessageCoordinator(client) as coordinator:
        await warm(coordinator)
        await send_ids(coordinator, numbered(4))
        tokens = [one.token for one in await take_many(coordinator, 4)]
        proxy.hold = 1
        tasks = [asyncio.create_task(coordinator.ack(WORLD, token)) for token in tokens]
        await eventually("the first one is on the wire", lambda: proxy.held == 1)
        proxy.let_go()
        await tasks[0]
        proxy.lose_replies = 2
        assert await asyncio.gather(*tasks) == [True] * 4
        assert proxy.lose_replies == 0


async def test_cancelled_ack_is_withdrawn_and_leaves_the_others(
    client: aioredis.Redis, coordinator: RedisMessageCoordinator, peek: Peek
) -> None:
    """Broken: an ack that was given up before it left ends the reservation, or ends other callers' acks."""
    await send_ids(coordinator, numbered(4))
    tokens = [one.token for one in await take_many(coordinator, 4)]
    with barrier_in(client) as barrier:
        tasks = await acking(coordinator, barrier, tokens)
        tasks[2].cancel()
        tasks[0].cancel()
        await barrier.holds(2)
        barrier.is_open.set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert answers[1] is True
    assert answers[3] is True
    assert set(await peek.reserved(WORLD)) == {tokens[0], tokens[2]}
    assert await coordinator.ack_many(WORLD, [tokens[0], tokens[2]]) == [True, True]


# --- Lifetimes ---


async def test_closing_waits_for_all_who_wait(client: aioredis.Redis) -> None:
    """Broken: a coordinator is closed under the callers of a batch."""
    coordinator = RedisMessageCoordinator(client)
    await warm(coordinator)
    with barrier_in(client) as barrier:
        first, *waiting = await behind(coordinator, barrier, numbered(3))
        closing = asyncio.create_task(coordinator.aclose())
        await turns(5)
        assert not closing.done()
        first.cancel()
        await barrier.holds(2)
        again = asyncio.create_task(coordinator.aclose())
        await turns(5)
        assert not closing.done()
        assert not again.done()
        barrier.is_open.set()
        await asyncio.gather(closing, again)
        assert all(task.done() for task in waiting)
    await drain(coordinator)


def test_loops_share_no_line(shared_server: RealServer) -> None:
    """Broken: a loop that ended in the middle of a send leaves a line in which the next loop waits."""
    lane = RealLane(port=shared_server.port)
    client = lane.client()
    coordinator = RedisMessageCoordinator(client)

    async def whole_life() -> None:
        await warm(coordinator)
        await asyncio.gather(*(sending(coordinator, message_id) for message_id in numbered(5)))
        assert await drain(coordinator) == numbered(5)
        await coordinator.aclose()
        await client.connection_pool.disconnect()

    for _ in range(2):
        asyncio.run(whole_life())
    abandoned = asyncio.new_event_loop()
    line = _coalescing._Line[Any, int, Any](abandoned, BOX)  # as a loop leaves it that ended under a send
    coordinator._sender._coalescer._lines[abandoned, BOX.name] = line
    abandoned.close()
    asyncio.run(whole_life())

    async def clean() -> None:
        await Peek(lane.client()).raw("FLUSHALL")
        await lane.close()

    asyncio.run(clean())


async def test_settling_looks_at_its_own_loop_alone() -> None:
    """Broken: closing in one loop waits for a call of another, which it cannot see end."""
    recorded = Recorded()
    coalescer = Coalescer(recorded)
    other = asyncio.new_event_loop()
    coalescer._lines[other, BOX.name] = line = _coalescing._Line[int, int, int](other, BOX)
    line.waiting[other.create_future()] = _coalescing._Parcel([1], 1, 0)
    async with asyncio.timeout(10):
        await coalescer.settle()
    other.close()


# --- A cluster ---


@pytest.fixture(scope="module")
def cluster(server_binary: str) -> Iterator[Cluster]:
    """One cluster for the tests of this file."""
    with started_cluster(server_binary) as made:
        yield made


async def test_concurrent_calls_on_a_cluster_go_to_the_inboxes_own_nodes(cluster: Cluster) -> None:
    """Broken: a batch carries keys of two slots, which a cluster refuses."""
    client = await cluster.client().initialize()  # redis-py fails where its first commands are concurrent
    agents = [AgentId(type="world", instance=str(number)) for number in range(9)]
    async with RedisMessageCoordinator(client, hash_tags=True) as coordinator:

        def message(number: int) -> AgentMessage:
            return make_message(f"message-{number:03}")

        sent = await asyncio.gather(
            *(
                coordinator.send_message(INPUT, agent, message(number), dedup_id=str(number))
                for number in range(20)
                for agent in agents
            )
        )
        assert [result.error for result in sent] == [None] * len(sent)
        for agent in agents:
            held = await take_many(coordinator, 20, agent)
            assert [one.queue_message.message.message_id for one in held] == numbered(20)
            assert all(await asyncio.gather(*(coordinator.ack(agent, one.token) for one in held)))
    await client.execute_command("FLUSHALL", target_nodes=client.PRIMARIES)
    await client.aclose()
