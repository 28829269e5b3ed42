"""Dead letters: listed with their cause, sent back, purged."""

from __future__ import annotations

import json
import re

import pytest
import redis.asyncio as aioredis

from tests.library.conftest import START_US, MakeCoordinator
from tests.library.support.builders import INPUT, WORLD, drain, ids_of, make_message, take
from tests.library.support.commands import Send, count_commands, intercept
from tests.library.support.peek import Peek
from tests.library.v0_model import v0_entry
from tta_agent_coordination import FailureType, RedisMessageCoordinator
from tta_agent_coordination.testing import ManualClock


async def bury(coordinator: RedisMessageCoordinator, *message_ids: str) -> None:
    """Send, receive and permanently fail messages."""
    for message_id in message_ids:
        await coordinator.send_message(INPUT, WORLD, make_message(message_id))
        received = await take(coordinator)
        assert await coordinator.nack(WORLD, received.token, FailureType.PERMANENT, f"error of {message_id}")


async def test_dead_letters_of_an_empty_queue_are_none(
    coordinator: RedisMessageCoordinator, peek: Peek
) -> None:
    """Broken: looking at nothing finds nothing and writes nothing."""
    assert await coordinator.dead_letters(WORLD) == []
    assert await coordinator.requeue_dead(WORLD, ["unknown"]) == 0
    assert await coordinator.purge_dead(WORLD) == 0
    assert await peek.dead(WORLD) == []


async def test_dead_letters_tell_message_cause_and_time(
    coordinator: RedisMessageCoordinator, clock: ManualClock
) -> None:
    """Broken: an operator has to see what died, of what and when."""
    clock.advance(5)
    await bury(coordinator, "message-1")
    (letter,) = await coordinator.dead_letters(WORLD)
    assert letter.queue_message is not None
    assert letter.queue_message.message.message_id == "message-1"
    assert letter.queue_message.last_error == "error of message-1"
    assert letter.cause == "permanent"
    assert letter.died_at == "2023-11-14T22:13:25+00:00"
    assert letter.id


async def test_dead_letters_are_listed_in_order_of_death(coordinator: RedisMessageCoordinator) -> None:
    """Broken: v0 appends dead letters by RPUSH; the oldest is listed first."""
    await bury(coordinator, "message-1", "message-2", "message-3")
    letters = await coordinator.dead_letters(WORLD)
    assert ids_of(letters) == [
        "message-1",
        "message-2",
        "message-3",
    ]
    assert len({letter.id for letter in letters}) == 3


async def test_dead_letters_of_v0_are_listed_too(coordinator: RedisMessageCoordinator, peek: Peek) -> None:
    """Broken: what a v0 process put there, readable or not, is shown and can be handled."""
    readable = v0_entry("world:1", "message-1")
    await peek.raw("RPUSH", peek.key("dlq", WORLD), readable, "junk")
    first, second = await coordinator.dead_letters(WORLD)
    assert ids_of([first, second]) == ["message-1", None]
    assert await coordinator.purge_dead(WORLD, [second.id]) == 1
    assert await peek.dead(WORLD) == [readable]


async def test_requeue_resets_attempts_and_goes_to_the_back(
    make_coordinator: MakeCoordinator, clock: ManualClock
) -> None:
    """Broken: a letter sent back starts anew, behind what is waiting."""
    coordinator = make_coordinator(retry_attempts=1)
    await coordinator.send_message(INPUT, WORLD, make_message("from the dead"))
    for _ in range(2):
        await coordinator.nack(WORLD, (await take(coordinator)).token, error="bad day")
        clock.advance(10)
    await coordinator.send_message(INPUT, WORLD, make_message("waiting"))
    (letter,) = await coordinator.dead_letters(WORLD)
    assert await coordinator.requeue_dead(WORLD, [letter.id]) == 1
    assert await coordinator.dead_letters(WORLD) == []
    await coordinator.ack(WORLD, (await take(coordinator)).token)
    received = await take(coordinator)
    assert received.queue_message.message.message_id == "from the dead"
    assert received.queue_message.delivery_attempts == 0
    assert await coordinator.nack(WORLD, received.token) is True
    assert await coordinator.dead_letters(WORLD) == []


async def test_requeue_resets_expiries(make_coordinator: MakeCoordinator, clock: ManualClock) -> None:
    """Broken: a poison letter sent back gets its full number of deliveries again."""
    coordinator = make_coordinator(max_deliveries=2)
    await coordinator.send_message(INPUT, WORLD, make_message())
    for _ in range(2):
        await take(coordinator, WORLD, 1)
        clock.advance(2)
    assert await coordinator.receive(WORLD) is None
    (letter,) = await coordinator.dead_letters(WORLD)
    assert await coordinator.requeue_dead(WORLD, [letter.id]) == 1
    for _ in range(2):
        await take(coordinator, WORLD, 1)
        clock.advance(2)
    assert await coordinator.receive(WORLD) is None
    (letter,) = await coordinator.dead_letters(WORLD)
    assert letter.cause == "poison"


async def test_requeue_respects_the_queue_size(make_coordinator: MakeCoordinator, peek: Peek) -> None:
    """Broken: sending back is sending; it does not pass the limit, and what does not fit stays dead."""
    coordinator = make_coordinator(queue_size=2)
    await bury(coordinator, "message-1", "message-2", "message-3")
    letters = await coordinator.dead_letters(WORLD)
    moved = await coordinator.requeue_dead(WORLD, [letter.id for letter in letters])
    assert moved == 2
    assert await peek.outstanding(WORLD) == 2
    assert len(await peek.dead(WORLD)) == 1


async def test_requeue_keeps_audit_and_entry_one_text(
    coordinator: RedisMessageCoordinator, peek: Peek
) -> None:
    """Broken: after sending back, audit copy and member are the same text again."""
    await bury(coordinator, "message-1")
    (letter,) = await coordinator.dead_letters(WORLD)
    await coordinator.requeue_dead(WORLD, [letter.id])
    assert await peek.queue(WORLD) == await peek.ready(WORLD)
    entry = json.loads((await peek.ready(WORLD))[0])
    assert (entry["message"]["message_id"], entry["delivery_attempts"]) == ("message-1", 0)
    assert re.fullmatch("[0-9a-f]{16}", entry["nonce"])


async def test_requeue_of_an_unreadable_letter_leaves_it(
    coordinator: RedisMessageCoordinator, peek: Peek
) -> None:
    """Broken: what nobody can read is not put back in front of consumers."""
    await peek.raw("RPUSH", peek.key("dlq", WORLD), "junk")
    (letter,) = await coordinator.dead_letters(WORLD)
    assert await coordinator.requeue_dead(WORLD, [letter.id]) == 0
    assert await peek.dead(WORLD) == ["junk"]


async def test_purge_takes_the_named_letters(coordinator: RedisMessageCoordinator) -> None:
    """Broken: purging by id takes these and no others."""
    await bury(coordinator, "message-1", "message-2", "message-3")
    letters = await coordinator.dead_letters(WORLD)
    assert await coordinator.purge_dead(WORLD, [letters[1].id, "unknown"]) == 1
    left = await coordinator.dead_letters(WORLD)
    assert [letter.id for letter in left] == [letters[0].id, letters[2].id]
    assert [letter.cause for letter in left] == ["permanent", "permanent"]


async def test_purge_without_ids_takes_all(coordinator: RedisMessageCoordinator, peek: Peek) -> None:
    """Broken: an operator can empty the queue, and nothing remains beside it."""
    await bury(coordinator, "message-1", "message-2")
    assert await coordinator.purge_dead(WORLD) == 2
    assert await coordinator.dead_letters(WORLD) == []
    assert not [key for key in await peek.keys() if ":dlq" in key]


async def test_purge_of_no_ids_takes_none(coordinator: RedisMessageCoordinator) -> None:
    """Broken: an empty list is not the same as no list."""
    await bury(coordinator, "message-1")
    assert await coordinator.purge_dead(WORLD, []) == 0
    assert len(await coordinator.dead_letters(WORLD)) == 1


@pytest.mark.parametrize("text", [v0_entry("world:1", "message-1"), "junk"])
async def test_equal_letters_are_handled_one_by_one(
    coordinator: RedisMessageCoordinator, peek: Peek, text: str
) -> None:
    """Broken: v0's letters have no nonce; two equal texts are two letters."""
    await peek.raw("RPUSH", peek.key("dlq", WORLD), text, text)
    letters = await coordinator.dead_letters(WORLD)
    assert len(letters) == 2
    assert await coordinator.purge_dead(WORLD, [letters[0].id]) >= 1
    assert len(await peek.dead(WORLD)) <= 1


async def test_dead_letters_page_through_thousands(coordinator: RedisMessageCoordinator, peek: Peek) -> None:
    """Broken: listing pages by 1,000; each letter is listed once."""
    texts = [v0_entry("world:1", f"message-{n:04}", now_us=START_US) for n in range(2_300)]
    for start in range(0, len(texts), 500):
        await peek.raw("RPUSH", peek.key("dlq", WORLD), *texts[start : start + 500])
    letters = await coordinator.dead_letters(WORLD)
    assert ids_of(letters) == [f"message-{n:04}" for n in range(2_300)]


@pytest.mark.parametrize(
    ("info", "cause", "died_at"),
    [
        ("poison|1700000000000000", "poison", "2023-11-14T22:13:20+00:00"),
        ("poison|999999999999999999", "poison", "9999-12-31T23:59:59+00:00"),
        ("poison|9999999999999999999", "poison", None),
        ("poison|soon", "poison", None),
        ("poison|-5", "poison", None),
        ("poison|or|1700000000000000", "poison", None),
        ("poison", "poison", None),
        ("|", None, None),
    ],
)
async def test_what_somebody_else_noted_of_a_death_is_listed_as_far_as_it_can_be_read(
    coordinator: RedisMessageCoordinator, peek: Peek, info: str, cause: str | None, died_at: str | None
) -> None:
    """Broken: one note that nobody understands hides all dead letters."""
    await bury(coordinator, "message-1")
    (field,) = await peek.raw("HKEYS", peek.key("dlq_info", WORLD))
    await peek.raw("HSET", peek.key("dlq_info", WORLD), field, info)
    (letter,) = await coordinator.dead_letters(WORLD)
    assert (letter.cause, letter.died_at) == (cause, died_at)


async def test_hundreds_are_handled_a_hundred_a_script(
    make_coordinator: MakeCoordinator, client: aioredis.Redis, peek: Peek
) -> None:
    """Broken: one script does all the work there is, or the answer counts only the last hundred."""
    coordinator = make_coordinator(client=client, queue_size=150)
    texts = [v0_entry("world:1", f"message-{n:04}", now_us=START_US) for n in range(400)]
    await peek.raw("RPUSH", peek.key("dlq", WORLD), *texts)
    await bury(coordinator, "message-last")
    letters = await coordinator.dead_letters(WORLD)
    assert await coordinator.requeue_dead(WORLD, [letters[-1].id]) == 1
    ids = [letter.id for letter in letters[:-1]]
    with count_commands(client) as counted:
        assert await coordinator.requeue_dead(WORLD, ids) == 149
    assert counted.names == ["EVALSHA"] * 3  # a page of letters, a hundred, and the hundred that did not fit
    assert (await coordinator.stats(WORLD)).ready == 150
    left = [letter.id for letter in await coordinator.dead_letters(WORLD)]
    assert left == ids[149:]
    assert await coordinator.purge_dead(WORLD, left[:1]) == 1
    with count_commands(client) as counted:
        assert await coordinator.purge_dead(WORLD, left) == 250
    assert counted.names == ["EVALSHA"] * 4


async def test_equal_letters_come_back_as_two_messages(
    coordinator: RedisMessageCoordinator, peek: Peek
) -> None:
    """Broken: v0's letters have no nonce; sent again as one text, two of them would be one message."""
    text = v0_entry("world:1", "message-1")
    await peek.raw("RPUSH", peek.key("dlq", WORLD), text, text)
    (first, _) = await coordinator.dead_letters(WORLD)
    assert await coordinator.requeue_dead(WORLD, [first.id]) == 2
    assert await drain(coordinator) == ["message-1", "message-1"]


async def test_dead_letters_of_a_requeued_message_can_be_drained(
    coordinator: RedisMessageCoordinator,
) -> None:
    """Broken: a letter sent back is an ordinary message again."""
    await bury(coordinator, "message-1", "message-2")
    ids = [letter.id for letter in await coordinator.dead_letters(WORLD)]
    assert await coordinator.requeue_dead(WORLD, ids) == 2
    assert await drain(coordinator) == ["message-1", "message-2"]


async def test_requeue_by_two_operators_sends_once(
    make_coordinator: MakeCoordinator, client: aioredis.Redis, peek: Peek
) -> None:
    """Broken: both saw the letter, both sent it again."""
    slow, fast = make_coordinator(client=client), make_coordinator()
    await bury(slow, "message-0")
    await slow.requeue_dead(WORLD, [letter.id for letter in await slow.dead_letters(WORLD)])
    assert await drain(slow) == ["message-0"]
    await bury(fast, "message-1")
    (letter,) = await fast.dead_letters(WORLD)
    seen = 0

    async def overtaken(send: Send, args: tuple[object, ...], options: dict[str, object]) -> object:
        nonlocal seen
        seen += args[0] == "EVALSHA"
        if seen == 2:  # the slow one has read the letters and is about to send
            assert await fast.requeue_dead(WORLD, [letter.id]) == 1
        return await send(*args, **options)

    with intercept(client, overtaken):
        assert await slow.requeue_dead(WORLD, [letter.id]) == 0
    assert seen == 2
    assert len(await peek.ready(WORLD)) == 1
    assert await drain(fast) == ["message-1"]
