"""Receiving: what a consumer is handed, and what happens to what it cannot be handed."""

# ruff: noqa: ANN401 - commands and answers of a Redis client may be anything
from __future__ import annotations

import datetime as dt
import json
import re
from typing import Any

import pytest

from tests.library.conftest import START_US, MakeCoordinator
from tests.library.support.builders import INPUT, NARRATIVE, WORLD, drain, id_of, make_message, send_ids, take
from tests.library.support.commands import Send, intercept
from tests.library.support.peek import Peek
from tests.library.support.servers import Lane
from tests.library.v0_model import v0_entry
from tta_agent_coordination import MessagePriority, RedisMessageCoordinator
from tta_agent_coordination.testing import ManualClock


async def test_receive_from_an_empty_inbox_is_none(coordinator: RedisMessageCoordinator, peek: Peek) -> None:
    """Broken: nothing due is an expected outcome, not an error, and leaves no data."""
    assert await coordinator.receive(WORLD) is None
    assert await peek.outstanding(WORLD) == 0


async def test_receive_hands_over_the_whole_message(coordinator: RedisMessageCoordinator) -> None:
    """Broken: what comes out is what went in."""
    sent = make_message(payload={"question": [1, 2]}, priority=MessagePriority.HIGH)
    await coordinator.send_message(INPUT, WORLD, sent)
    received = await take(coordinator)
    assert received.queue_message.message.model_dump() == sent.model_dump()
    assert received.queue_message.priority == MessagePriority.HIGH
    assert (received.queue_message.delivery_attempts, received.queue_message.last_error) == (0, None)


async def test_receive_token_has_v0_form(coordinator: RedisMessageCoordinator) -> None:
    """Broken: TTA logs and compares tokens of the form res_ and 16 hexadecimal digits."""
    await coordinator.send_message(INPUT, WORLD, make_message())
    assert re.fullmatch(r"res_[0-9a-f]{16}", (await take(coordinator)).token)


async def test_receive_states_its_deadline_in_utc(coordinator: RedisMessageCoordinator) -> None:
    """Broken: `visibility_deadline` is an ISO-8601 text by the server's time."""
    await coordinator.send_message(INPUT, WORLD, make_message())
    stated = (await take(coordinator, WORLD, 7.5)).visibility_deadline
    assert stated is not None
    deadline = dt.datetime.fromisoformat(stated)
    assert deadline.utcoffset() == dt.timedelta(0)
    assert deadline.timestamp() == START_US / 1e6 + 7.5


async def test_receive_moves_the_entry_into_the_reservation(
    coordinator: RedisMessageCoordinator, peek: Peek
) -> None:
    """Broken: TTA's validator requeues each reservation without a deadline; both are written together."""
    await coordinator.send_message(INPUT, WORLD, make_message())
    (text,) = await peek.queue(WORLD)
    received = await take(coordinator, WORLD, 5)
    assert await peek.ready(WORLD) == []
    assert await peek.reserved(WORLD) == {received.token: text}
    assert await peek.deadlines(WORLD) == {received.token: START_US + 5_000_000}
    assert await peek.queue(WORLD) == [text]


async def test_receive_gives_each_message_once(make_coordinator: MakeCoordinator) -> None:
    """Broken: two consumers never hold one message at the same time."""
    first, second = make_coordinator(), make_coordinator()
    for n in range(10):
        await first.send_message(INPUT, WORLD, make_message(f"message-{n}"))
    ids = [id_of(await consumer.receive(WORLD)) for consumer in (first, second) * 6]
    assert sorted(filter(None, ids)) == [f"message-{n}" for n in range(10)]


async def test_receive_keeps_inboxes_apart(coordinator: RedisMessageCoordinator) -> None:
    """Broken: an inbox is one agent's own."""
    await coordinator.send_message(INPUT, WORLD, make_message())
    assert await coordinator.receive(NARRATIVE) is None
    assert await coordinator.receive(INPUT) is None
    assert id_of(await coordinator.receive(WORLD)) == "message-1"


async def test_receive_accepts_v0_positional_timeout(
    coordinator: RedisMessageCoordinator, clock: ManualClock
) -> None:
    """Broken: TTA calls `receive(agent, 0.05)`, with a float."""
    await coordinator.send_message(INPUT, WORLD, make_message())
    assert await coordinator.receive(WORLD, 0.05) is not None
    clock.advance(0.051)
    assert id_of(await coordinator.receive(agent_id=WORLD, visibility_timeout=5)) == "message-1"


async def test_receive_counts_deliveries(coordinator: RedisMessageCoordinator) -> None:
    """Broken: `deliveries` counts every hand-over, whatever ended the one before."""
    await coordinator.send_message(INPUT, WORLD, make_message())
    for expected in (1, 2, 3):
        received = await take(coordinator)
        assert received.deliveries == expected
        assert await coordinator.release(WORLD, received.token)


@pytest.mark.parametrize(
    "junk",
    [
        pytest.param("not json", id="no-json"),
        pytest.param("[]", id="array"),
        pytest.param("null", id="null"),
        pytest.param('{"message": 3}', id="wrong-shape"),
        pytest.param("", id="empty"),
        pytest.param(
            '{"message": {"message_id": "short"}, "priority": 5, "delivery_attempts": 0}', id="half"
        ),
        pytest.param("[" * 20_000, id="deep"),
        pytest.param(b"\xff\xfe\x00binary", id="binary"),
    ],
)
async def test_receive_dead_letters_what_it_cannot_read(
    coordinator: RedisMessageCoordinator, peek: Peek, junk: str | bytes
) -> None:
    """Broken: one undecodable entry stops neither this consumer nor the messages behind it."""
    await peek.raw("ZADD", peek.level_key(WORLD, 9), START_US, junk)
    await peek.raw("RPUSH", peek.key("queue", WORLD), junk)
    await coordinator.send_message(INPUT, WORLD, make_message())
    assert id_of(await coordinator.receive(WORLD)) == "message-1"
    text = junk if isinstance(junk, str) else junk.decode(errors="surrogateescape")
    assert await peek.dead(WORLD) == [text]
    (letter,) = await coordinator.dead_letters(WORLD)
    assert letter.cause == "undecodable"
    assert text not in await peek.queue(WORLD)


async def test_receive_passes_many_undecodable_entries(
    coordinator: RedisMessageCoordinator, peek: Peek
) -> None:
    """Broken: a consumer goes on however many bad entries lie in front."""
    for n in range(40):
        await peek.raw("ZADD", peek.level_key(WORLD, 9), START_US, f"junk {n:03}")
    await coordinator.send_message(INPUT, WORLD, make_message())
    assert await drain(coordinator) == ["message-1"]
    assert len(await peek.dead(WORLD)) == 40


async def test_receive_reads_both_separators(coordinator: RedisMessageCoordinator, peek: Peek) -> None:
    """Broken: v0 writes `", "` and `": "`, others write compact JSON; both are read."""
    wide = v0_entry("world:1", "message-1")
    compact = json.dumps(json.loads(v0_entry("world:1", "message-2")), separators=(",", ":"))
    await peek.raw("ZADD", peek.level_key(WORLD, 5), START_US - 2, wide, START_US - 1, compact)
    assert await drain(coordinator) == ["message-1", "message-2"]


async def test_receive_ignores_unknown_fields(coordinator: RedisMessageCoordinator, peek: Peek) -> None:
    """Broken: another writer's extra fields are allowed."""
    entry = json.loads(v0_entry("world:1", "message-1"))
    entry["extra"] = {"from": "elsewhere"}
    entry["message"]["unknown"] = 1
    await peek.raw("ZADD", peek.level_key(WORLD, 5), START_US, json.dumps(entry))
    assert await drain(coordinator) == ["message-1"]


async def test_unreadable_entry_that_somebody_else_buried_is_counted_once(
    lane: Lane,
    make_coordinator: MakeCoordinator,
    clock: ManualClock,
    peek: Peek,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Broken: two consumers tell of the death of one entry, or its burial fails the one who came second."""
    client = lane.client()
    slow, other = make_coordinator(client=client), make_coordinator()
    await send_ids(other, ["message-1"])
    await peek.raw("ZADD", peek.level_key(WORLD, 9), START_US, "junk")
    await other.receive(NARRATIVE)  # the script is on the server
    scripts_run = 0

    async def around(send: Send, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        nonlocal scripts_run
        scripts_run += 1
        if scripts_run == 2:  # the entry is reserved, and about to be buried
            clock.advance(6)
            await other.recover_pending(WORLD)
            assert id_of(await other.receive(WORLD)) == "message-1"
        return await send(*args, **options)

    with intercept(client, around):
        assert await slow.receive(WORLD, 5) is None
    assert scripts_run >= 3
    assert caplog.text.count("DLQ enqueue for world:1") == 1
    assert [letter.cause for letter in await other.dead_letters(WORLD)] == ["undecodable"]
