"""What the typed functions of messages pass to their scripts, by the headers' names, and what they read.

What the scripts do with it is in the tests of the coordinator.
"""

# ruff: noqa: ANN401 - what a test changes may be anything
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from redis.exceptions import ResponseError

from tests.library.support.builders import NARRATIVE, WORLD
from tests.library.test_scripts import arguments
from tta_agent_coordination import _keys
from tta_agent_coordination._redis import scripts
from tta_agent_coordination._redis.script import Call
from tta_agent_coordination._redis.scripts import (
    Exchanged,
    Lane,
    Nacked,
    Put,
    Reclaimed,
    Reply,
    Reserved,
    Retry,
    Status,
)

BOX = _keys.inbox("ao", WORLD, hash_tags=False)
TARGET = _keys.inbox("ao", NARRATIVE, hash_tags=False)
LANE = Lane(b"lane", 7)
KEYS: dict[str, object] = {
    "op": b"lane",
    "reserved": BOX.reserved,
    "deadlines": BOX.deadlines,
    "inflight": BOX.inflight,
    "lapses": BOX.lapses,
    "clock": BOX.clock,
    "high": BOX.high,
    "normal": BOX.normal,
    "low": BOX.low,
    "queue": BOX.queue,
    "dlq": BOX.dlq,
    "dlq_info": BOX.dlq_info,
    "wake": BOX.wake,
    "subs": BOX.subs,
    "dedup": b"dedup",
}
NOW: dict[str, Any] = {"now_us": "11", "audit": True}
RETRY = Retry(attempts=3, base_s=0.1, factor=2.5, max_s=30.0, jitter=0.7)


def put(dedup: bytes | None = None, **changes: Any) -> Put:
    """Return a message to put; `changes` replace its parts."""
    parts: dict[str, Any] = {
        "level": 5,
        "delay_us": 0,
        "expires_us": 0,
        "entry": b"entry",
        "message_id": "m-1",
    }
    parts |= {"entry": b"entry", "message_id": "m-1", **changes}
    return Put(**parts, dedup=dedup)


def enqueue(one: Put) -> Call[Reply]:
    """Return one send."""
    return scripts.enqueue(LANE, BOX, **NOW, limit=9, put=one, dedup_ms=60)


def reserve(**changes: Any) -> Call[Reserved]:
    """Return one look for a message."""
    return scripts.reserve(LANE, BOX, **NOW, max_deliveries=10, token="res_1", lease_us=13, **changes)


def exchange(ended: list[str], tokens: list[str]) -> Call[Exchanged]:
    """Return the end of some reservations and the beginning of others."""
    return scripts.exchange(
        LANE,
        BOX,
        **NOW,
        max_deliveries=10,
        lease_us=13,
        ageing_us=17,
        waiting=2,
        ended=ended,
        tokens=tokens,
        owner="5",
    )


def nack(**changes: Any) -> Call[Nacked]:
    """Return the end of a reservation that failed."""
    return scripts.nack(
        LANE, BOX, **NOW, token="res_1", error='"why"', dead_cause="poison", retry=RETRY, **changes
    )


ENQUEUED = {
    "seq": 7,
    "now_us": "11",
    "audit": 1,
    "level": 9,
    "limit": 9,
    "delay_us": 2,
    "expires_us": 3,
    "entry": b"entry",
    "message_id": "m-1",
    "dedup_ms": 60,
}
HELD = {"seq": 7, "now_us": "11", "audit": 1, "token": "res_1"}
RESERVED = {
    **HELD,
    "max_deliveries": 10,
    "lease_us": 13,
    "ageing_us": 17,
    "waiting": 2,
    "owner": "5",
}
NACKED = {
    **HELD,
    "error": '"why"',
    "dead_cause": "poison",
    "retry_attempts": 3,
    "base_s": "0.1",
    "factor": "2.5",
    "max_s": "30.0",
    "jitter": "0.7",
}


@pytest.mark.parametrize(
    ("name", "build", "values"),
    [
        ("enqueue", lambda: enqueue(put(b"dedup", level=9, delay_us=2, expires_us=3)), ENQUEUED),
        ("reserve", lambda: reserve(ageing_us=17, waiting=2, owner="5"), RESERVED),
        ("reserve", lambda: reserve(), {**RESERVED, "ageing_us": 0, "waiting": 0, "owner": ""}),
        ("ack", lambda: scripts.ack(LANE, BOX, **NOW, token="res_1"), HELD),
        ("release", lambda: scripts.release(LANE, BOX, **NOW, token="res_1"), HELD),
        (
            "nack",
            lambda: nack(),
            {**NACKED, "how": "splice", "expected": b"", "replacement": b"", "attempts": 0},
        ),
        (
            "nack",
            lambda: nack(expected=b"old", attempts=4),
            {**NACKED, "how": "keep", "expected": b"old", "replacement": b"", "attempts": 4},
        ),
        (
            "nack",
            lambda: nack(expected=b"old", replacement=b"new", attempts=4),
            {**NACKED, "how": "replace", "expected": b"old", "replacement": b"new", "attempts": 4},
        ),
        (
            "extend",
            lambda: scripts.extend(LANE, BOX, now_us="11", token="res_1", lease_us=13),
            {**HELD, "lease_us": 13},
        ),
        (
            "reclaim",
            lambda: scripts.reclaim(LANE, BOX, **NOW, max_deliveries=10),
            {**HELD, "max_deliveries": 10},
        ),
    ],
)
def test_each_argument_is_what_the_header_calls_it(
    name: str, build: Callable[[], Call[object]], values: Mapping[str, object]
) -> None:
    """Broken: a script works on the wrong key, or takes one value for another."""
    call = build()
    assert call.script.name == name
    assert call.keys == tuple(KEYS[each.name] for each in arguments(name, "KEYS"))
    assert call.args == tuple(values[each.name] for each in arguments(name, "ARGV"))


def test_send_without_dedup_remembers_nothing() -> None:
    """Broken: a message is taken for one that came before, under a key that nobody named."""
    with_dedup, without = enqueue(put(b"dedup")), enqueue(put())
    assert without.script.name == "enqueue"
    assert (*without.keys, b"dedup") == with_dedup.keys
    assert (*without.args, "m-1", 60) == with_dedup.args


type Build = Callable[[dict[str, Any]], Call[Any]]


def builders(*build: Build) -> list[Build]:
    """Return them with their type."""
    return [*build]


@pytest.mark.parametrize(
    "build",
    builders(
        lambda now: scripts.enqueue(LANE, BOX, **now, limit=9, put=put(), dedup_ms=60),
        lambda now: scripts.enqueue_many(LANE, BOX, **now, limit=9, puts=[put()], dedup_ms=60),
        lambda now: scripts.reserve(LANE, BOX, **now, max_deliveries=10, token="res_1", lease_us=13),
        lambda now: scripts.exchange(
            LANE,
            BOX,
            **now,
            max_deliveries=10,
            lease_us=13,
            ageing_us=0,
            waiting=0,
            ended=[],
            tokens=[],
            owner="",
        ),
        lambda now: scripts.ack(LANE, BOX, **now, token="res_1"),
        lambda now: scripts.ack_send(LANE, BOX, **now, token="res_1", limit=9, targets=[], sends=[]),
        lambda now: scripts.nack(LANE, BOX, **now, token="res_1", error="", dead_cause="", retry=RETRY),
        lambda now: scripts.release(LANE, BOX, **now, token="res_1"),
        lambda now: scripts.reclaim(LANE, BOX, **now, max_deliveries=10),
    ),
)
def test_audit_that_is_off_is_passed_as_off(build: Build) -> None:
    """Broken: an inbox without an audit list gets one, or one with it is no longer v0's."""
    on, off = build({"now_us": "11", "audit": True}), build({"now_us": "11", "audit": False})
    assert on.args[2] == 1
    assert off.args == (*on.args[:2], 0, *on.args[3:])


def rest(
    call: Call[object], section: str, passed: tuple[Any, ...], named: Mapping[str, object]
) -> tuple[Any, ...]:
    """Return what stands behind the arguments that have a name, which are as the header calls them."""
    *fixed, last = arguments(call.script.name, section)
    assert last.rest
    assert passed[: len(fixed)] == tuple(named[each.name] for each in fixed)
    return passed[len(fixed) :]


def test_batch_tells_of_each_message_what_is_special() -> None:
    """Broken: a delay, an expiry or an idempotency key belongs to another message of the batch."""
    puts = [
        put(b"first", level=9),
        put(level=1, entry=b"plain"),
        put(level=5, delay_us=2, entry=b"late", message_id="m-2"),
        put(level=1, expires_us=3, entry=b"short", message_id="m-3"),
        put(b"second", level=5, entry=b"again", message_id="m-4"),
    ]
    call = scripts.enqueue_many(LANE, BOX, **NOW, limit=9, puts=puts, dedup_ms=60)
    assert call.script.name == "enqueue_many"
    assert rest(call, "KEYS", call.keys, KEYS) == (b"first", b"second")
    told = (
        "9|0|0|1|m-1",
        b"entry",
        b"1",
        b"plain",
        "5|2|0|0|m-2",
        b"late",
        "1|0|3|0|m-3",
        b"short",
        "5|0|0|2|m-4",
        b"again",
    )
    named = {"seq": 7, "now_us": "11", "audit": 1, "limit": 9, "dedup_ms": 60}
    assert rest(call, "ARGV", call.args, named) == told


@pytest.mark.parametrize("level", [9, 5, 1])
def test_plain_message_of_a_batch_goes_with_its_level(level: int) -> None:
    """Broken: a message of a batch stands in another level than one that is sent alone."""
    call = scripts.enqueue_many(LANE, BOX, **NOW, limit=9, puts=[put(level=level)], dedup_ms=60)
    assert call.args[-2:] == (str(level).encode(), b"entry")


@pytest.mark.parametrize(
    ("answer", "read"),
    [
        ([b"ok", b"8|ooo"], [Reply(Status.OK, "8")] * 3),
        (
            [b"ok", b"8|ofd5:m-1:oe9:WRONGTYPEo"],
            [
                Reply(Status.OK, "8"),
                Reply(Status.FULL, "8"),
                Reply(Status.DUPLICATE, "m-1:o"),
                ("WRONGTYPE",),
                Reply(Status.OK, "8"),
            ],
        ),
        (
            [b"ok", b"8|d11:a|b \xff 12345o"],
            [Reply(Status.DUPLICATE, "a|b \\xff 12345"), Reply(Status.OK, "8")],
        ),
        ([b"stale", b""], Reply(Status.STALE, "")),
    ],
)
def test_batch_has_an_answer_for_each_message(answer: list[Any], read: object) -> None:
    """Broken: one message's outcome is told of another one, which is then sent again or never."""
    call = scripts.enqueue_many(LANE, BOX, **NOW, limit=9, puts=[put()] * 3, dedup_ms=60)
    found = call.read(answer)
    if isinstance(found, list):
        assert [each.args if isinstance(each, ResponseError) else each for each in found] == read
    else:
        assert found == read


def test_exchange_tells_the_old_tokens_from_the_new() -> None:
    """Broken: a message that was handed out is taken for done."""
    call = exchange(["res_1", "res_2"], ["res_3", "res_4", "res_5"])
    assert call.script.name == "exchange"
    assert call.keys == tuple(KEYS[each.name] for each in arguments("exchange", "KEYS"))
    tokens = ("res_1", "res_2", "res_3", "res_4", "res_5")
    assert rest(call, "ARGV", call.args, {**RESERVED, "ended": 2}) == tokens


def test_follow_ups_go_with_the_keys_of_their_targets() -> None:
    """Broken: what follows from a message arrives in another inbox."""
    sends = [(1, 5, b"first"), (2, 9, b"second")]
    call = scripts.ack_send(LANE, BOX, **NOW, token="res_1", limit=9, targets=[TARGET, BOX], sends=sends)
    assert call.script.name == "ack_send"
    assert rest(call, "KEYS", call.keys, KEYS) == tuple(
        key
        for box in (TARGET, BOX)
        for key in (box.reserved, box.clock, box.high, box.normal, box.low, box.queue, box.wake)
    )
    told = (1, 5, b"first", 2, 9, b"second")
    assert rest(call, "ARGV", call.args, {**HELD, "limit": 9}) == told


@pytest.mark.parametrize(
    ("build", "name"), [(scripts.subscribe, "subscribe"), (scripts.unsubscribe, "unsubscribe")]
)
def test_subscriptions_name_their_types(build: Callable[..., Call[Reply]], name: str) -> None:
    """Broken: an agent gets what it did not ask for, or what it no longer wants."""
    call = build(LANE, BOX, types=["event", "request"])
    assert call.script.name == name
    assert call.keys == (b"lane", BOX.subs)
    assert rest(call, "ARGV", call.args, {"seq": 7}) == ("event", "request")


@pytest.mark.parametrize("word", [b"ok", "ok"])
@pytest.mark.parametrize(
    "build",
    [
        lambda: enqueue(put()),
        lambda: enqueue(put(b"dedup")),
        lambda: scripts.ack(LANE, BOX, **NOW, token="res_1"),
        lambda: scripts.ack_send(LANE, BOX, **NOW, token="res_1", limit=9, targets=[], sends=[]),
        lambda: scripts.release(LANE, BOX, **NOW, token="res_1"),
        lambda: scripts.extend(LANE, BOX, now_us="11", token="res_1", lease_us=13),
        lambda: scripts.subscribe(LANE, BOX, types=["event"]),
        lambda: scripts.unsubscribe(LANE, BOX, types=["event"]),
    ],
)
def test_reply_is_a_word_and_a_text(build: Callable[[], Call[Reply]], word: bytes | str) -> None:
    """Broken: a client that decodes its answers fails."""
    assert build().read([word, b"8"]) == Reply(Status.OK, "8")


@pytest.mark.parametrize(
    ("answer", "read"),
    [
        (
            [b"ok", b"entry", b"20|3|1|2"],
            Reserved(
                status=Status.OK,
                token="res_1",
                entry=b"entry",
                deadline_us=20,
                deliveries=3,
                requeued=1,
                dead=2,
            ),
        ),
        ([b"empty", b"", b"1|2|17"], Reserved(status=Status.EMPTY, requeued=1, dead=2, pause_us=17)),
        ([b"empty", b"", b"0|0|-1"], Reserved(status=Status.EMPTY)),
        ([b"again", b"", b"1|2"], Reserved(status=Status.AGAIN, requeued=1, dead=2)),
        ([b"stale"], Reserved(status=Status.STALE)),
    ],
)
def test_what_was_reserved(answer: list[Any], read: Reserved) -> None:
    """Broken: a message is lost on its way to the caller, or a caller that waits sleeps too long."""
    assert reserve().read(answer) == read


@pytest.mark.parametrize("word", ["ok", "again"])
def test_what_was_exchanged(word: str) -> None:
    """Broken: a message goes with another one's token, or an ack that failed counts as done."""
    answer = [word.encode(), b"101|4|2|17", b"one", b"res_3|20|1", b"two", b"res_4|21|3"]
    assert exchange(["a", "b", "c"], ["res_3", "res_4"]).read(answer) == Exchanged(
        status=Status(word),
        held=(True, False, True),
        taken=(
            Reserved(status=Status.OK, token="res_3", entry=b"one", deadline_us=20, deliveries=1),
            Reserved(status=Status.OK, token="res_4", entry=b"two", deadline_us=21, deliveries=3),
        ),
        dead=2,
        pause_us=17,
    )
    assert exchange([], []).read([b"stale"]) == Exchanged(status=Status.STALE)


@pytest.mark.parametrize(
    ("answer", "read"),
    [
        ([b"retried", b"2|1500"], Nacked(status=Status.RETRIED, attempts=2, delay_us=1_500)),
        (
            [b"dead", b"3|a|b \xff", b"entry"],
            Nacked(status=Status.DEAD, attempts=3, cause="a|b \\xff", entry=b"entry"),
        ),
        ([b"dead", b"3|poison"], Nacked(status=Status.DEAD, attempts=3, cause="poison")),
        ([b"unknown_tail", b"", b"entry"], Nacked(status=Status.UNKNOWN_TAIL, entry=b"entry")),
        ([b"lost", b""], Nacked(status=Status.LOST)),
        ([b"stale", b""], Nacked(status=Status.STALE)),
    ],
)
def test_what_became_of_a_failure(answer: list[Any], read: Nacked) -> None:
    """Broken: a dead letter is counted as a retry, or its text is missing in the log."""
    assert nack().read(answer) == read


@pytest.mark.parametrize(
    ("answer", "read"),
    [
        ([b"ok", b"3|1|100"], Reclaimed(Status.OK, requeued=3, dead=1, seen=100)),
        ([b"stale", b""], Reclaimed(Status.STALE)),
    ],
)
def test_what_went_back(answer: list[Any], read: Reclaimed) -> None:
    """Broken: leases behind the first page stay, or a call that was overtaken counts as done."""
    call = scripts.reclaim(LANE, BOX, **NOW, max_deliveries=10)
    assert call.read(answer) == read
