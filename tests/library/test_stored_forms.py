"""Hostile bytes in every key: whatever stands in the store, consumers go on and nothing disappears."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.library.conftest import START_US
from tests.library.support.builders import INPUT, WORLD, make_message, send_ids, take
from tests.library.support.peek import LEVELS, Peek
from tests.library.support.servers import Lane
from tests.library.v0_model import v0_entry
from tta_agent_coordination import MessagePriority, RedisMessageCoordinator
from tta_agent_coordination.testing import ManualClock

GOOD = v0_entry("world:1", "good-message").encode()
NEAR_MISSES = [
    b"",
    b"\xff\xfe\x00",
    b"{}",
    b"[]",
    b"null",
    b"NaN",
    b"[" * 300,
    GOOD[:-1],
    GOOD + b"}",
    GOOD.replace(b'"delivery_attempts": 0', b'"delivery_attempts": -1'),
    GOOD.replace(b'"delivery_attempts": 0', b'"delivery_attempts": 99999999999999999999'),
    GOOD.replace(b'"delivery_attempts": 0', b'"delivery_attempts": 1e400'),
    GOOD.replace(b'"last_error": null', b'"last_error": {"a": 1}'),
    GOOD.replace(b'"priority": 5', b'"priority": 7'),
    GOOD.replace(b"good-message", b"x"),
    GOOD.replace(b"good-message", b"\xff\xff\xff\xff\xff\xff"),
    GOOD.replace(b'"type": "world"', b'"type": "a:b*"'),
    GOOD[:-1] + b', "nonce": "abc", "expires_at": 1}',
    GOOD[:-1] + b', "expires_at": 99999999999999999999999}',
    GOOD[:-1] + b', "nonce": "' + b"n" * 300 + b'"}',
    b'"delivery_attempts":0,"last_error":null}',
    b'{"delivery_attempts":' * 50,
]
ENTRIES = st.sampled_from(NEAR_MISSES) | st.binary(max_size=30)
TOKENS = st.sampled_from([b"res_0000000000000000", b"", b"|", b"\xff", b"res_"]) | st.binary(max_size=12)
SCORES = st.sampled_from(
    [b"-inf", b"inf", b"0", b"-1", b"1.5", b"9007199254740993", b"1e300", str(START_US).encode()]
)
NOTES = st.sampled_from([b"", b"|", b"9|x||", b"5|1||", b"1|99999999999999999999||0|1", b"\xff", b"poison|"])
CLOCKS = st.none() | st.sampled_from(
    [b"", b"junk", b"-1", b"inf", b"nan", b"1e400", b"9007199254740991", b"9007199254740993", b"\xff"]
)
STORES = st.fixed_dictionaries(
    {
        "levels": st.dictionaries(st.sampled_from([9, 5, 1]), st.dictionaries(ENTRIES, SCORES, max_size=4)),
        "reserved": st.dictionaries(TOKENS, ENTRIES, max_size=3),
        "reserved_deadlines": st.dictionaries(TOKENS, SCORES, max_size=3),
        "inflight": st.dictionaries(TOKENS, NOTES, max_size=3),
        "lapses": st.dictionaries(ENTRIES, NOTES, max_size=3),
        "dlq": st.lists(ENTRIES, max_size=3),
        "dlq_info": st.dictionaries(ENTRIES, NOTES, max_size=3),
        "queue": st.lists(ENTRIES, max_size=3),
        "subs": st.lists(TOKENS, max_size=3),
        "clock": CLOCKS,
    }
)


async def write(peek: Peek, store: dict[str, Any]) -> None:
    """Put a generated store into WORLD's keys."""
    for level, members in store["levels"].items():
        for member, score in members.items():
            await peek.raw("ZADD", peek.level_key(WORLD, level), score, member)
    for member, score in store["reserved_deadlines"].items():
        await peek.raw("ZADD", peek.key("reserved_deadlines", WORLD), score, member)
    for family in ("reserved", "inflight", "lapses", "dlq_info"):
        for name, value in store[family].items():
            await peek.raw("HSET", peek.key(family, WORLD), name, value)
    for family in ("dlq", "queue"):
        for value in store[family]:
            await peek.raw("RPUSH", peek.key(family, WORLD), value)
    for value in store["subs"]:
        await peek.raw("SADD", peek.key("subs", WORLD), value)
    if store["clock"] is not None:
        await peek.raw("SET", peek.key("clock", WORLD), store["clock"])


def expected_to_remain(store: dict[str, Any]) -> int:
    """Return how many entries a store holds that nobody may lose."""
    return (
        sum(len(members) for members in store["levels"].values()) + len(store["reserved"]) + len(store["dlq"])
    )


async def stored(peek: Peek) -> int:
    """Count the entries in levels, reservations and dead letters, whatever their scores."""
    levels = [int(await peek.raw("ZCARD", peek.level_key(WORLD, level))) for level in LEVELS]
    held, dead = await peek.raw("HLEN", peek.key("reserved", WORLD)), await peek.dead(WORLD)
    return sum(levels) + int(held) + len(dead)


async def live_with(store: dict[str, Any], lane: Lane) -> None:
    """Do everything a coordinator can do on a hostile store."""
    client, clock = lane.client(), ManualClock(START_US)
    peek = Peek(client)
    await peek.raw("FLUSHALL")
    await write(peek, store)
    async with RedisMessageCoordinator(client, clock=clock, max_deliveries=3) as coordinator:
        await coordinator.stats(WORLD)
        await coordinator.explain("our-message", WORLD)
        sent = await coordinator.send_message(
            INPUT, WORLD, make_message("our-message", priority=MessagePriority.HIGH)
        )
        assert sent.delivered, sent
        assert await coordinator.explain("our-message", WORLD) is not None
        seen: list[str] = []
        for _ in range(40):
            received = await coordinator.receive(WORLD, 1)
            if received is None:
                break
            message_id = received.queue_message.message.message_id
            seen.append(message_id)
            settle = coordinator.nack if len(seen) % 2 and message_id != "our-message" else coordinator.ack
            await settle(WORLD, received.token)
            clock.advance(2)
        assert seen.count("our-message") == 1
        await coordinator.recover_pending(WORLD)
        await coordinator.recover_pending()
        letters = await coordinator.dead_letters(WORLD)
        await coordinator.requeue_dead(WORLD, [letter.id for letter in letters[:2]])
        for token in store["reserved"]:
            name = token.decode("utf-8", "replace")
            await coordinator.extend(WORLD, name, 1)
            await coordinator.nack(WORLD, name)
        await coordinator.broadcast_message(INPUT, make_message("to everybody"))
        left = await stored(peek)
        assert left >= expected_to_remain(store) - (len(seen) - 1), "an entry disappeared"
        await coordinator.purge_dead(WORLD)
        assert await coordinator.dead_letters(WORLD) == []
    await client.aclose()


@pytest.mark.leaves_keys("*")
@settings(max_examples=settings().max_examples // 2)
@given(store=STORES)
def test_hostile_store_stops_nobody(sync_lane: tuple[asyncio.Runner, Lane], store: dict[str, Any]) -> None:
    """Broken: some bytes in some key make an operation raise, lose an entry, or hide a good message."""
    runner, lane = sync_lane
    runner.run(live_with(store, lane))


@pytest.mark.parametrize("junk", NEAR_MISSES, ids=range(len(NEAR_MISSES)))
async def test_near_miss_is_delivered_or_dead_with_a_cause(
    coordinator: RedisMessageCoordinator, peek: Peek, junk: bytes
) -> None:
    """Broken: an entry that is almost one is read as what it says or is a dead letter, and never lost."""
    await peek.raw("ZADD", peek.level_key(WORLD, 9), START_US, junk)
    await send_ids(coordinator, ["behind it"])
    first = await take(coordinator)
    letters = await coordinator.dead_letters(WORLD)
    if first.queue_message.message.message_id == "behind it":
        assert [letter.raw for letter in letters] == [junk]
        assert letters[0].cause in {"undecodable", "expired"}
    else:
        assert letters == []
        assert await coordinator.nack(WORLD, first.token) is True
        assert len(await peek.ready(WORLD)) + len(await peek.dead(WORLD)) == 2


async def test_reservation_without_a_deadline_is_left_to_its_holder(
    coordinator: RedisMessageCoordinator, clock: ManualClock, peek: Peek
) -> None:
    """Broken: half a trace of a v0 process is neither recovered behind its back nor counted as free."""
    await peek.raw("HSET", peek.key("reserved", WORLD), "res_half", v0_entry("world:1", "message-1"))
    clock.advance(1_000_000)
    assert await coordinator.recover_pending(WORLD) == 0
    assert (await coordinator.stats(WORLD)).depth == 1
    assert await coordinator.ack(WORLD, "res_half") is True


async def test_foreign_members_of_the_indexes_are_passed_over(
    coordinator: RedisMessageCoordinator, clock: ManualClock, peek: Peek
) -> None:
    """Broken: a stranger's member in an index stops recovery and broadcast for everybody."""
    junk = [b"", b"\xff\xfe", b"a:b:c", b"nonsense", b"a b:c", b"{x}:y", b"*:*"]
    await peek.raw("SADD", "ao:inboxes", *junk)
    await peek.raw("SADD", "ao:subscribers:request", *junk)
    await send_ids(coordinator, ["message-1"])
    await take(coordinator, WORLD, 1)
    clock.advance(2)
    assert await coordinator.recover_pending() == 1
    assert await coordinator.broadcast_message(INPUT, make_message()) == []
    assert json.loads((await peek.ready(WORLD))[0])["message"]["message_id"] == "message-1"
    assert await coordinator.ack(WORLD, (await take(coordinator)).token)
