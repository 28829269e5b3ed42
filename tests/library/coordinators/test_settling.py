"""Settling a lease: ack, nack, extend, release, and acknowledging with follow-ups."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.library.conftest import START_US, MakeCoordinator
from tests.library.support.builders import INPUT, NARRATIVE, WORLD, drain, id_of, make_message, send_ids, take
from tests.library.support.peek import Peek
from tests.library.v0_model import v0_entry
from tta_agent_coordination import (
    FailureType,
    InMemoryMetrics,
    MessageCoordinatorError,
    MessagePriority,
    RedisMessageCoordinator,
)
from tta_agent_coordination.testing import ManualClock


async def test_ack_removes_every_trace(coordinator: RedisMessageCoordinator, peek: Peek) -> None:
    """Broken: an acknowledged message is gone from level, reservation and audit list."""
    await coordinator.send_message(INPUT, WORLD, make_message())
    received = await take(coordinator)
    assert await coordinator.ack(WORLD, received.token) is True
    assert await peek.queue(WORLD) == []
    assert await peek.outstanding(WORLD) == 0
    assert await peek.deadlines(WORLD) == {}


async def test_ack_without_an_audit_list_removes_every_trace(
    make_coordinator: MakeCoordinator, clock: ManualClock, peek: Peek
) -> None:
    """Broken: with `audit="off"` what came back before is acknowledged with an error, or leaves a count.

    Or a list that is not ours loses its first element.
    """
    coordinator = make_coordinator(audit="off")
    await peek.raw("RPUSH", peek.key("queue", WORLD), "of v0")
    await send_ids(coordinator, ["first-1", "second-2"])
    assert await coordinator.receive(WORLD, 1) is not None
    clock.advance(2)
    again = await take(coordinator, WORLD)
    assert (id_of(again), again.deliveries) == ("first-1", 2)
    assert await coordinator.ack(WORLD, again.token) is True
    assert await coordinator.ack(WORLD, again.token) is False
    assert await peek.raw("EXISTS", peek.key("lapses", WORLD)) == 0
    assert await drain(coordinator) == ["second-2"]
    assert await peek.queue(WORLD) == ["of v0"]
    await peek.raw("DEL", peek.key("queue", WORLD))
    assert not {key for key in await peek.keys() if ":op:" not in key and ":inboxes" not in key}


async def test_ack_a_second_time_is_false(coordinator: RedisMessageCoordinator) -> None:
    """Broken: a second call is a second operation, and there is nothing left to acknowledge."""
    await coordinator.send_message(INPUT, WORLD, make_message())
    received = await take(coordinator)
    assert await coordinator.ack(WORLD, received.token) is True
    assert await coordinator.ack(WORLD, received.token) is False


@pytest.mark.parametrize("token", ["res_0000000000000000", "", "nonsense", "res_*", "a:b{c}"])
async def test_settling_an_unknown_token_is_false(
    coordinator: RedisMessageCoordinator, peek: Peek, token: str
) -> None:
    """Broken: a token that holds nothing is False everywhere, and changes nothing."""
    await coordinator.send_message(INPUT, WORLD, make_message())
    before = (await peek.ready(WORLD), await peek.queue(WORLD))
    assert await coordinator.ack(WORLD, token) is False
    assert await coordinator.nack(WORLD, token) is False
    assert await coordinator.extend(WORLD, token, 5) is False
    assert await coordinator.release(WORLD, token) is False
    assert (await peek.ready(WORLD), await peek.queue(WORLD)) == before


async def test_settling_with_another_agents_token_is_false(coordinator: RedisMessageCoordinator) -> None:
    """Broken: a token belongs to one inbox."""
    await coordinator.send_message(INPUT, WORLD, make_message())
    received = await take(coordinator)
    assert await coordinator.ack(NARRATIVE, received.token) is False
    assert await coordinator.ack(WORLD, received.token) is True


async def test_ack_after_the_deadline_counts(
    coordinator: RedisMessageCoordinator, clock: ManualClock
) -> None:
    """Broken: as long as nobody reclaimed it, nobody else has the message; refusing would repeat the work."""
    await coordinator.send_message(INPUT, WORLD, make_message())
    received = await take(coordinator, WORLD, 1)
    clock.advance(100)
    assert await coordinator.ack(WORLD, received.token) is True
    assert await coordinator.receive(WORLD) is None


async def test_ack_after_reclaim_is_false(coordinator: RedisMessageCoordinator, clock: ManualClock) -> None:
    """Broken: once somebody else holds the message, the first holder's word counts no longer."""
    await coordinator.send_message(INPUT, WORLD, make_message())
    late = await take(coordinator, WORLD, 1)
    clock.advance(2)
    current = await take(coordinator)
    assert late.token != current.token
    assert await coordinator.ack(WORLD, late.token) is False
    assert await coordinator.nack(WORLD, late.token) is False
    assert await coordinator.ack(WORLD, current.token) is True


async def test_ack_removes_one_of_equal_audit_copies(make_coordinator: MakeCoordinator, peek: Peek) -> None:
    """Broken: the audit list is v0's backlog gauge; an ack takes out one entry, not all that look alike."""
    text = v0_entry("world:1", "message-1")
    await peek.raw("RPUSH", peek.key("queue", WORLD), text, text)
    await peek.raw("ZADD", peek.level_key(WORLD, 5), START_US, text)
    coordinator = make_coordinator()
    assert await drain(coordinator) == ["message-1"]
    assert await peek.queue(WORLD) == [text]
    await peek.raw("DEL", peek.key("queue", WORLD))


async def test_ack_in_the_middle_of_a_long_audit_list(
    coordinator: RedisMessageCoordinator, peek: Peek
) -> None:
    """Broken: the audit copy is found wherever it lies, not only near the ends."""
    texts = [v0_entry("world:1", f"message-{n:04}") for n in range(3_000)]
    await peek.raw("RPUSH", peek.key("queue", WORLD), *texts)
    await peek.raw("ZADD", peek.level_key(WORLD, 5), START_US, texts[1_500])
    assert await drain(coordinator) == ["message-1500"]
    audit = await peek.queue(WORLD)
    assert audit == texts[:1_500] + texts[1_501:]
    await peek.raw("DEL", peek.key("queue", WORLD))


async def test_nack_schedules_a_retry_with_backoff(
    coordinator: RedisMessageCoordinator, clock: ManualClock, peek: Peek
) -> None:
    """Broken: a transient failure comes back after base * factor^(attempts-1), attempts and error kept."""
    await coordinator.send_message(INPUT, WORLD, make_message())
    for attempts, delay in ((1, 1.0), (2, 2.0), (3, 4.0)):
        received = await take(coordinator)
        assert received.queue_message.delivery_attempts == attempts - 1
        assert (
            await coordinator.nack(WORLD, received.token, FailureType.TRANSIENT, f"failure {attempts}")
            is True
        )
        assert len(await peek.queue(WORLD)) == 1
        assert await peek.queue(WORLD) == await peek.ready(WORLD)
        clock.advance(delay - 0.001)
        assert await coordinator.receive(WORLD) is None
        clock.advance(0.001)
    last = await take(coordinator)
    assert (last.queue_message.delivery_attempts, last.queue_message.last_error) == (3, "failure 3")


async def test_nack_dead_letters_after_the_last_retry(make_coordinator: MakeCoordinator, peek: Peek) -> None:
    """Broken: attempts beyond `retry_attempts` go to the dead letter queue and leave everything else."""
    coordinator = make_coordinator(retry_attempts=0)
    await coordinator.send_message(INPUT, WORLD, make_message())
    received = await take(coordinator)
    assert await coordinator.nack(WORLD, received.token, error="no more") is True
    (dead,) = await peek.dead(WORLD)
    entry = json.loads(dead)
    assert (entry["delivery_attempts"], entry["last_error"]) == (1, "no more")
    assert (await peek.queue(WORLD), await peek.outstanding(WORLD)) == ([], 0)


async def test_nack_permanent_goes_to_the_dead_letters_at_once(
    coordinator: RedisMessageCoordinator, peek: Peek
) -> None:
    """Broken: a permanent failure is not retried."""
    await coordinator.send_message(INPUT, WORLD, make_message())
    received = await take(coordinator)
    assert await coordinator.nack(WORLD, received.token, FailureType.PERMANENT, "wrong") is True
    assert len(await peek.dead(WORLD)) == 1
    (letter,) = await coordinator.dead_letters(WORLD)
    assert letter.cause == "permanent"


async def test_nack_timeout_is_transient(coordinator: RedisMessageCoordinator, clock: ManualClock) -> None:
    """Broken: v0 treats TIMEOUT exactly like TRANSIENT."""
    await coordinator.send_message(INPUT, WORLD, make_message())
    received = await take(coordinator)
    assert await coordinator.nack(WORLD, received.token, FailureType.TIMEOUT) is True
    clock.advance(1)
    again = await take(coordinator)
    assert (again.queue_message.delivery_attempts, again.queue_message.last_error) == (1, None)


async def test_nack_delay_is_capped(make_coordinator: MakeCoordinator, peek: Peek) -> None:
    """Broken: no backoff exceeds `backoff_max`, and huge factors neither overflow nor fail."""
    coordinator = make_coordinator(
        retry_attempts=5_000, backoff_base=1.0, backoff_factor=1e300, backoff_max=30.0
    )
    await coordinator.send_message(INPUT, WORLD, make_message())
    received = await take(coordinator)
    await coordinator.nack(WORLD, received.token)
    for _ in range(3):
        (score,) = (await peek.level(WORLD, 5)).values()
        await peek.raw("ZADD", peek.level_key(WORLD, 5), START_US, (await peek.ready(WORLD))[0])
        received = await take(coordinator)
        assert await coordinator.nack(WORLD, received.token) is True
    (score,) = (await peek.level(WORLD, 5)).values()
    assert score == START_US + 30_000_000


@pytest.mark.parametrize(
    "error",
    [
        '"}, "delivery_attempts": 99, "x": {"',
        "line\nbreak\ttab \x00 \x1f",
        "ünïcödé \U0001f409 \u2028",
        "%s %d %1 \\1 %%",
        "\\",
        "",
    ],
)
async def test_nack_keeps_any_error_text(
    coordinator: RedisMessageCoordinator, clock: ManualClock, peek: Peek, error: str
) -> None:
    """Broken: the error is spliced into stored JSON as text; no error text may change the entry's meaning."""
    await coordinator.send_message(INPUT, WORLD, make_message(payload={"delivery_attempts": 7}))
    for attempts in (1, 2):
        received = await take(coordinator)
        assert await coordinator.nack(WORLD, received.token, error=error)
        (text,) = await peek.ready(WORLD)
        entry = json.loads(text)
        assert (entry["delivery_attempts"], entry["last_error"]) == (attempts, error)
        assert entry["message"]["payload"] == {"delivery_attempts": 7}
        clock.advance(10)
    assert (await take(coordinator)).queue_message.last_error == error


async def test_nack_cuts_a_long_error(coordinator: RedisMessageCoordinator, clock: ManualClock) -> None:
    """Broken: an error text is kept up to 2,000 characters, so failures do not grow the store."""
    await coordinator.send_message(INPUT, WORLD, make_message())
    received = await take(coordinator)
    await coordinator.nack(WORLD, received.token, error="é" * 50_000)
    clock.advance(10)
    kept = (await take(coordinator)).queue_message.last_error
    assert kept is not None
    assert len(kept) == 2_000


async def test_nack_of_a_lone_surrogate_is_kept_readable(
    coordinator: RedisMessageCoordinator, clock: ManualClock
) -> None:
    """Broken: an error text that is no valid Unicode costs neither the nack nor the message."""
    await coordinator.send_message(INPUT, WORLD, make_message())
    received = await take(coordinator)
    assert await coordinator.nack(WORLD, received.token, error="bad \ud800 text") is True
    clock.advance(10)
    assert id_of(await coordinator.receive(WORLD)) == "message-1"


async def test_nack_rewrites_an_unknown_tail(
    coordinator: RedisMessageCoordinator, clock: ManualClock, peek: Peek
) -> None:
    """Broken: an entry whose tail we did not write still gets its attempts counted."""
    entry = json.loads(v0_entry("world:1", "message-1", {"keep": [1, [], {}]}))
    shuffled = {
        name: entry[name]
        for name in ("delivery_attempts", "last_error", "priority", "enqueued_at", "message")
    }
    text = json.dumps(shuffled, indent=1)
    await peek.raw("RPUSH", peek.key("queue", WORLD), text)
    await peek.raw("ZADD", peek.level_key(WORLD, 5), START_US, text)
    received = await take(coordinator)
    assert await coordinator.nack(WORLD, received.token, error="once") is True
    clock.advance(10)
    again = (await take(coordinator)).queue_message
    assert (again.delivery_attempts, again.last_error) == (1, "once")
    assert again.message.payload == {"keep": [1, [], {}]}
    assert len(await peek.queue(WORLD)) == 1


async def test_nack_of_an_unreadable_reservation_dead_letters_it(
    coordinator: RedisMessageCoordinator, peek: Peek
) -> None:
    """Broken: v0 answers False and keeps the raw text as a dead letter."""
    await peek.raw("HSET", peek.key("reserved", WORLD), "res_00000000000000aa", "junk")
    await peek.raw(
        "ZADD", peek.key("reserved_deadlines", WORLD), START_US + 9_000_000, "res_00000000000000aa"
    )
    assert await coordinator.nack(WORLD, "res_00000000000000aa") is False
    assert await peek.dead(WORLD) == ["junk"]
    assert await peek.reserved(WORLD) == {}


async def test_nack_moves_v0_counters(make_coordinator: MakeCoordinator, clock: ManualClock) -> None:
    """Broken: nacks and retries move only on a retry, permanent only on a dead letter."""
    metrics = InMemoryMetrics()
    coordinator = make_coordinator(metrics=metrics, retry_attempts=1)
    await coordinator.send_message(INPUT, WORLD, make_message())
    for _ in range(2):
        received = await take(coordinator)
        await coordinator.nack(WORLD, received.token)
        clock.advance(10)
    retry = metrics.snapshot()["retry"]
    assert (retry["total_nacks"], retry["total_retries_scheduled"], retry["total_permanent_failures"]) == (
        1,
        1,
        1,
    )
    assert retry["last_backoff_seconds"] == 1.0


async def test_nack_accepts_v0_positional_form(
    coordinator: RedisMessageCoordinator, clock: ManualClock
) -> None:
    """Broken: TTA's wrapper calls `nack(agent, token, failure, error)` positionally."""
    await coordinator.send_message(INPUT, WORLD, make_message())
    received = await take(coordinator)
    assert await coordinator.nack(WORLD, received.token, FailureType.TRANSIENT, "positional")
    clock.advance(1)
    assert (await take(coordinator)).queue_message.last_error == "positional"


async def test_extend_moves_the_deadline(
    coordinator: RedisMessageCoordinator, clock: ManualClock, peek: Peek
) -> None:
    """Broken: a consumer that needs longer keeps its message."""
    await coordinator.send_message(INPUT, WORLD, make_message())
    received = await take(coordinator, WORLD, 1)
    clock.advance(0.5)
    assert await coordinator.extend(WORLD, received.token, 10) is True
    assert await peek.deadlines(WORLD) == {received.token: START_US + 10_500_000}
    clock.advance(9.9)
    assert await coordinator.receive(WORLD) is None
    clock.advance(0.2)
    assert id_of(await coordinator.receive(WORLD)) == "message-1"


async def test_extend_after_the_deadline_still_counts(
    coordinator: RedisMessageCoordinator, clock: ManualClock
) -> None:
    """Broken: late or not, the token holds until somebody reclaims."""
    await coordinator.send_message(INPUT, WORLD, make_message())
    received = await take(coordinator, WORLD, 1)
    clock.advance(5)
    assert await coordinator.extend(WORLD, received.token, 1) is True
    assert await coordinator.receive(WORLD) is None


async def test_release_puts_the_message_back_in_its_place(
    coordinator: RedisMessageCoordinator, peek: Peek
) -> None:
    """Broken: giving back counts nothing and costs the message no place."""
    for n in range(3):
        await coordinator.send_message(INPUT, WORLD, make_message(f"message-{n}"))
    text = (await peek.ready(WORLD))[0]
    received = await take(coordinator)
    assert await coordinator.release(WORLD, received.token) is True
    assert (await peek.ready(WORLD))[0] == text
    assert await coordinator.release(WORLD, received.token) is False
    assert await drain(coordinator) == ["message-0", "message-1", "message-2"]


async def test_release_never_becomes_poison(make_coordinator: MakeCoordinator) -> None:
    """Broken: only expiries count towards `max_deliveries`."""
    coordinator = make_coordinator(max_deliveries=2)
    await coordinator.send_message(INPUT, WORLD, make_message())
    for _ in range(20):
        assert await coordinator.release(WORLD, (await take(coordinator)).token)
    assert await drain(coordinator) == ["message-1"]


@pytest.mark.parametrize("how", ["ack", "ack_then_send", "nack", "nack_permanent", "release"])
async def test_every_settlement_ends_the_lease(
    make_coordinator: MakeCoordinator, peek: Peek, how: str
) -> None:
    """Broken: a deadline or a note that outlives its reservation is reclaimed for nobody."""
    coordinator = make_coordinator()
    await send_ids(coordinator, ["message-1", "message-2"])
    token, held = (await take(coordinator)).token, (await take(coordinator)).token
    match how:
        case "ack":
            assert await coordinator.ack(WORLD, token) is True
        case "ack_then_send":
            assert await coordinator.ack(WORLD, token, then_send=[(INPUT, make_message())]) is True
        case "release":
            assert await coordinator.release(WORLD, token) is True
        case _:
            failure = FailureType.PERMANENT if how == "nack_permanent" else FailureType.TRANSIENT
            assert await coordinator.nack(WORLD, token, failure) is True
    assert list(await peek.reserved(WORLD)) == [held]
    assert list(await peek.deadlines(WORLD)) == [held]
    assert await peek.raw("HKEYS", peek.key("inflight", WORLD)) == [held.encode()]


async def test_ack_then_send_does_both(coordinator: RedisMessageCoordinator) -> None:
    """Broken: acknowledging and the follow-ups are one step."""
    await coordinator.send_message(INPUT, WORLD, make_message())
    received = await take(coordinator)
    follow_ups = [(NARRATIVE, make_message("follow-1")), (INPUT, make_message("follow-2"))]
    assert await coordinator.ack(WORLD, received.token, then_send=follow_ups) is True
    assert await drain(coordinator, NARRATIVE) == ["follow-1"]
    assert await drain(coordinator, INPUT) == ["follow-2"]
    assert await drain(coordinator, WORLD) == []


async def test_ack_then_send_to_a_full_target_keeps_the_lease(
    make_coordinator: MakeCoordinator, peek: Peek
) -> None:
    """Broken: all or nothing; a full target raises, sends nothing, and the token stays held."""
    coordinator = make_coordinator(queue_size=2)
    await coordinator.send_message(INPUT, WORLD, make_message())
    received = await take(coordinator)
    await send_ids(coordinator, ["earlier-0", "earlier-1"], NARRATIVE)
    before = await peek.snapshot()
    follow_ups = [(INPUT, make_message("follow-1")), (NARRATIVE, make_message("follow-2"))]
    with pytest.raises(MessageCoordinatorError, match="full"):
        await coordinator.ack(WORLD, received.token, then_send=follow_ups)
    after = await peek.snapshot()
    assert _data(after) == _data(before)
    assert await coordinator.ack(WORLD, received.token) is True


async def test_ack_then_send_twice_to_one_target_counts_both(make_coordinator: MakeCoordinator) -> None:
    """Broken: the limit holds for the sum of the follow-ups to one inbox."""
    coordinator = make_coordinator(queue_size=2)
    await coordinator.send_message(INPUT, WORLD, make_message())
    await coordinator.send_message(INPUT, NARRATIVE, make_message("earlier"))
    received = await take(coordinator)
    follow_ups = [(NARRATIVE, make_message("follow-1")), (NARRATIVE, make_message("follow-2"))]
    with pytest.raises(MessageCoordinatorError, match="full"):
        await coordinator.ack(WORLD, received.token, then_send=follow_ups)
    assert await drain(coordinator, NARRATIVE) == ["earlier"]


async def test_ack_then_send_with_a_lost_token_sends_nothing(
    coordinator: RedisMessageCoordinator, clock: ManualClock
) -> None:
    """Broken: who lost the lease does not speak for the message any more."""
    await coordinator.send_message(INPUT, WORLD, make_message())
    late = await take(coordinator, WORLD, 1)
    clock.advance(2)
    await take(coordinator)
    assert (
        await coordinator.ack(WORLD, late.token, then_send=[(NARRATIVE, make_message("follow-1"))]) is False
    )
    assert await coordinator.receive(NARRATIVE) is None


async def test_ack_then_send_refuses_a_bad_payload_before_anything(
    coordinator: RedisMessageCoordinator, peek: Peek
) -> None:
    """Broken: a follow-up that cannot be encoded leaves the lease as it was."""
    await coordinator.send_message(INPUT, WORLD, make_message())
    received = await take(coordinator)
    bad = make_message("follow-1")
    object.__setattr__(bad, "payload", {"v": float("nan")})
    before = await peek.snapshot()
    with pytest.raises(MessageCoordinatorError):
        await coordinator.ack(WORLD, received.token, then_send=[(NARRATIVE, bad)])
    assert _data(await peek.snapshot()) == _data(before)


async def test_ack_then_send_to_its_own_inbox(make_coordinator: MakeCoordinator) -> None:
    """Broken: a follow-up may go to the inbox that is being acknowledged."""
    coordinator = make_coordinator()
    await coordinator.send_message(INPUT, WORLD, make_message(priority=MessagePriority.HIGH))
    received = await take(coordinator)
    assert await coordinator.ack(WORLD, received.token, then_send=[(WORLD, make_message("follow-1"))]) is True
    assert await drain(coordinator) == ["follow-1"]


def _data(snapshot: dict[str, Any]) -> dict[str, Any]:
    """Return a snapshot without lanes, which remember refusals too, and without the index of inboxes."""
    return {key: value for key, value in snapshot.items() if key.split(":")[1] not in {"op", "inboxes"}}
