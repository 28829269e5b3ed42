"""What a send asks of the store, and makes of its answers: on a stand-in for it, in virtual time.

What the scripts do is in `test_sending.py`, `test_batches.py` and `test_settling.py`.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import pytest
from redis.exceptions import ResponseError

from tests.library.conftest import START_US
from tests.library.support.boxes import BOX, LANE, OTHER
from tests.library.support.builders import NARRATIVE, WORLD, make_message
from tests.library.support.virtual import in_virtual_time
from tta_agent_coordination import MessagePriority, MessageResult, _codec, _keys
from tta_agent_coordination._redis import scripts
from tta_agent_coordination._redis.script import Call
from tta_agent_coordination._redis.scripts import Lane, Put, Reply, Status
from tta_agent_coordination.coordinators._calls import Calls
from tta_agent_coordination.coordinators._discovery import Discovery
from tta_agent_coordination.coordinators._observer import Observer
from tta_agent_coordination.coordinators._sending import MAX_FOLLOW_UPS, Sender, SendOptions
from tta_agent_coordination.exceptions import (
    OutcomeUnknownError,
    PayloadNotJSONError,
    PayloadTooLargeError,
    QueueFullError,
    SlotMismatchError,
    StoreUnavailableError,
)
from tta_agent_coordination.models import AgentMessage
from tta_agent_coordination.testing import ManualClock

NOW = str(START_US)
NOW_ISO = "2023-11-14T22:13:20+00:00"
PLAIN = SendOptions()


class Store:
    """Notes each script and what came before it, and answers in turn with what it was told to."""

    def __init__(self, *, audit: bool = True, liveness: Callable[[str], str] | None = None) -> None:
        self.asked: list[tuple[_keys.Inbox, Call[Any]]] = []
        self.answers: deque[object] = deque()
        self.told: list[tuple[object, ...]] = []
        self.registered: list[list[_keys.Inbox]] = []
        self.prepared = 0
        self.prepare_error: Exception | None = None
        self.takes_s = 0.0
        self.sender = Sender(
            cast("Calls", self),
            cast("Discovery", self),
            cast("Observer", self),
            audit=audit,
            clock=ManualClock(START_US),
            dedup_ms=77,
            max_payload_bytes=100,
            liveness=liveness,
            prepare=self.prepare,
        )

    async def prepare(self) -> None:
        """Note that what waits was stored first."""
        self.prepared += 1
        if self.prepare_error is not None:
            raise self.prepare_error

    async def register(self, boxes: Sequence[_keys.Inbox]) -> None:
        """As `Discovery.register`."""
        self.registered.append(list(boxes))

    async def run(self, box: _keys.Inbox, build: Callable[[Lane], Call[Any]]) -> object:
        """As `Calls.run`."""
        self.asked.append((box, build(LANE)))
        answer = self.answers.popleft()
        await asyncio.sleep(self.takes_s)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def run_many(self, work: Sequence[tuple[_keys.Inbox, Callable[[Lane], Call[Any]]]]) -> list[object]:
        """As `Calls.run_many`."""
        self.asked += [(box, build(LANE)) for box, build in work]
        answers = [self.answers.popleft() for _ in work]
        if isinstance(answers[0], StoreUnavailableError) and str(answers[0]) == "all":
            raise answers[0]
        return answers

    def sent(self, result: MessageResult) -> MessageResult:
        """As `Observer.sent`."""
        self.told.append(("sent", result.message_id, result.cause))
        return result

    def depth(self, inbox: str, messages: int) -> None:
        """As `Observer.depth`."""
        self.told.append(("depth", inbox, messages))

    def followed_up(self, messages: int) -> None:
        """As `Observer.followed_up`."""
        self.told.append(("followed up", messages))

    def entries(self, which: int = -1) -> list[dict[str, Any]]:
        """The messages that one script stores."""
        return [
            json.loads(each)
            for each in self.asked[which][1].args
            if isinstance(each, bytes) and each.startswith(b"{")
        ]


def run(main: Callable[[Store], Awaitable[None]], **options: Any) -> Store:  # noqa: ANN401 - as the store's
    """Run a test; every answer has to be used."""

    async def whole(_: object) -> Store:
        store = Store(**options)
        await main(store)
        assert not store.answers
        return store

    return in_virtual_time(whole)


def ok(depth: int = 1) -> Reply:
    """The answer to a message that was stored."""
    return Reply(Status.OK, str(depth))


def parts(call: Call[Any]) -> tuple[str, tuple[bytes, ...], tuple[Any, ...]]:
    """What a script is and what it gets."""
    return call.script.name, call.keys, call.args


def putting(entry: bytes, options: SendOptions, level: int = 5, message_id: str = "message-1") -> Put:
    """What one message is put with."""
    dedup = None if options.dedup_id is None else _keys.dedup(BOX, options.dedup_id)
    return Put(level, round(options.delay_s * 1e6), round(options.expires_s * 1e6), entry, message_id, dedup)


@pytest.mark.parametrize(
    ("options", "priority"),
    [
        (PLAIN, MessagePriority.NORMAL),
        (SendOptions(delay_s=1.5, expires_s=3, dedup_id="once"), MessagePriority.HIGH),
    ],
)
@pytest.mark.parametrize("audit", [True, False])
def test_message_is_stored_with_what_its_sender_chose(
    options: SendOptions, priority: MessagePriority, audit: bool
) -> None:
    """Broken: a delay, an expiry, a level or an idempotency key is another one than was asked for."""

    async def main(store: Store) -> None:
        store.answers.append(ok(9))
        result = await store.sender.send(BOX, make_message(priority=priority), options, limit=3)
        assert result == MessageResult(message_id="message-1", delivered=True)
        [(box, call)] = store.asked
        [entry] = [each for each in call.args if isinstance(each, bytes) and each.startswith(b"{")]
        put = putting(entry, options, int(priority))
        expected = scripts.enqueue(LANE, BOX, now_us=NOW, audit=audit, limit=3, put=put, dedup_ms=77)
        assert (box, parts(call)) == (BOX, parts(expected))
        read = _codec.decode(entry)
        assert (read.priority, read.enqueued_at, read.delivery_attempts) == (int(priority), NOW_ISO, 0)
        assert len(json.loads(entry)["nonce"]) == 16
        assert store.registered == [[BOX]]
        assert store.prepared == 1

    told: list[tuple[object, ...]] = [("depth", "world:1", 9)] if audit else []
    assert run(main, audit=audit).told == [*told, ("sent", "message-1", None)]


def test_missing_time_of_a_message_is_filled_in_and_another_one_kept() -> None:
    """Broken: a message has no time, or another one than its sender gave it."""

    async def main(store: Store) -> None:
        for given, stored in (("", NOW_ISO), ("2020-01-01T00:00:00+00:00", "2020-01-01T00:00:00+00:00")):
            message = make_message()
            message.timestamp = given
            store.answers.append(ok())
            await store.sender.send(BOX, message, PLAIN, limit=3)
            assert message.timestamp == stored
            assert store.entries()[0]["message"]["timestamp"] == stored

    run(main)


def test_what_cannot_be_stored_is_an_outcome_and_asks_for_nothing() -> None:
    """Broken: one caller's mistake raises far from it, or reaches the store."""

    async def main(store: Store) -> None:
        largest = await store.sender.send(BOX, make_message(payload={"a": "x" * 93}), PLAIN, limit=3)
        assert largest.cause == "payload too large"
        assert largest.error == "payload is 101 bytes of JSON, more than 100"
        odd = await store.sender.send(BOX, make_message(payload={"a": {1}}), PLAIN, limit=3)
        assert odd.cause == "payload not JSON"
        assert odd.message_id == "message-1"
        with pytest.raises(PayloadNotJSONError) as told:
            odd.raise_for_error()
        assert isinstance(told.value.__cause__, TypeError)
        assert str(told.value.__cause__) in str(odd.error)
        level: Any = 7
        wrong = make_message()
        wrong.priority = level
        assert (await store.sender.send(BOX, wrong, PLAIN, limit=3)).cause == "payload not JSON"
        with pytest.raises(PayloadTooLargeError):
            largest.raise_for_error()
        store.answers.append(ok())
        assert (await store.sender.send(BOX, make_message(payload={"a": "x" * 92}), PLAIN, limit=3)).delivered
        with pytest.raises(ValueError, match="must be an AgentMessage"):
            await store.sender.send(BOX, cast("AgentMessage", 1), PLAIN, limit=3)

    store = run(main)
    assert len(store.asked) == 1


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (
            Reply(Status.FULL, "3"),
            MessageResult(message_id="message-1", delivered=False, error="queue full", cause="queue full"),
        ),
        (
            Reply(Status.DUPLICATE, "message-0"),
            MessageResult(message_id="message-0", delivered=True, cause="duplicate"),
        ),
        (
            StoreUnavailableError("no route"),
            MessageResult(
                message_id="message-1", delivered=False, error="no route", cause="store unavailable"
            ),
        ),
        (
            OutcomeUnknownError("reset"),
            MessageResult(message_id="message-1", delivered=False, error="reset", cause="outcome unknown"),
        ),
    ],
)
def test_outcome_is_what_the_store_answered(answer: object, result: MessageResult) -> None:
    """Broken: a message that was refused counts as sent, or one that may have been sent as refused."""

    async def main(store: Store) -> None:
        store.answers.append(answer)
        got = await store.sender.send(BOX, make_message(), PLAIN, limit=3)
        assert got.model_dump() == result.model_dump()

    assert run(main).told == [("sent", result.message_id, result.cause)]


def test_what_has_to_come_first_fails_the_send() -> None:
    """Broken: a message overtakes the subscription that was made before it."""

    async def main(store: Store) -> None:
        store.prepare_error = cause = StoreUnavailableError("no route")
        cause.__cause__ = OSError("reset")
        result = await store.sender.send(BOX, make_message(), PLAIN, limit=3)
        assert result.cause == "store unavailable"
        with pytest.raises(StoreUnavailableError) as told:
            result.raise_for_error()
        assert told.value.__cause__ is cause.__cause__

    assert run(main).asked == []


def test_liveness_of_the_recipient_is_told_with_each_result() -> None:
    """Broken: who sends to a dead agent is not told, or of another agent."""

    async def main(store: Store) -> None:
        store.answers.extend([ok(), StoreUnavailableError("no route")])
        for _ in range(2):
            result = await store.sender.send(BOX, make_message(), PLAIN, limit=3)
            assert result.recipient_liveness == "world:1 is well"

    def well(name: str) -> str:
        return f"{name} is well"

    run(main, liveness=well)

    async def without(store: Store) -> None:
        store.answers.append(ok())
        assert (await store.sender.send(BOX, make_message(), PLAIN, limit=3)).recipient_liveness is None

    run(without)


def test_sends_that_come_meanwhile_share_a_script_on_the_same_limit() -> None:
    """Broken: concurrent sends cost a script each, or one is held to another one's limit."""

    async def main(store: Store) -> None:
        store.takes_s = 1
        store.answers.extend([ok(), [ok(2), Reply(Status.FULL, "3")], ok(4)])
        limits = (3, 3, 3, 9)
        calls = [
            store.sender.send(BOX, make_message(f"message-{number}"), PLAIN, limit=limit)
            for number, limit in enumerate(limits)
        ]
        results = await asyncio.gather(*calls)
        assert [result.cause for result in results] == [None, None, "queue full", None]
        assert [[each["message"]["message_id"] for each in store.entries(which)] for which in range(3)] == [
            ["message-0"],
            ["message-1", "message-2"],
            ["message-3"],
        ]
        entries = [each for each in store.asked[1][1].args if isinstance(each, bytes) and each[:1] == b"{"]
        puts = [putting(entry, PLAIN) for entry in entries]
        expected = scripts.enqueue_many(LANE, BOX, now_us=NOW, audit=True, limit=3, puts=puts, dedup_ms=77)
        assert parts(store.asked[1][1]) == parts(expected)
        assert [box for box, _ in store.asked] == [BOX] * 3
        assert int(store.asked[2][1].args[4]) == 9

    run(main)


def test_large_sends_do_not_add_up() -> None:
    """Broken: concurrent sends of large messages make a script of any size."""

    async def main(store: Store) -> None:
        store.sender._max_payload_bytes = 1 << 20
        store.takes_s = 1
        store.answers.extend([ok()] * 3)
        large = {"text": "x" * 600_000}
        calls = [
            store.sender.send(BOX, make_message(payload=each), PLAIN, limit=3) for each in ({}, large, large)
        ]
        assert all(result.delivered for result in await asyncio.gather(*calls))
        store.answers.extend([ok()] * 3)
        many = [
            store.sender.send_many(BOX, [make_message(payload=each)], [PLAIN], limit=3)
            for each in ({}, large, large)
        ]
        assert all(result.delivered for [result] in await asyncio.gather(*many))

    assert [call.script.name for _, call in run(main).asked] == ["enqueue"] * 6


def test_what_fails_together_fails_for_each() -> None:
    """Broken: of sends that share a script somebody is told that it worked, or waits for ever."""

    async def main(store: Store) -> None:
        store.takes_s = 1
        stale = Reply(Status.STALE, "")
        for answer, causes in (
            (OutcomeUnknownError("reset"), ["outcome unknown"] * 2),
            ([ok(2), ResponseError("WRONGTYPE")], [None, "store unavailable"]),
            ([stale, ok(2)], ["outcome unknown", None]),
        ):
            store.answers.extend([ok(), answer])
            calls = [store.sender.send(BOX, make_message(f"message-{n}"), PLAIN, limit=3) for n in range(3)]
            results = await asyncio.gather(*calls)
            assert [result.cause for result in results] == [None, *causes]

    run(main)


def test_settling_waits_for_who_shares_a_script() -> None:
    """Broken: a coordinator is closed under its callers."""

    async def main(store: Store) -> None:
        store.takes_s = 1
        store.answers.extend([ok(), [ok(), ok()]])
        calls = [
            asyncio.create_task(store.sender.send(BOX, make_message(f"message-{n}"), PLAIN, limit=3))
            for n in range(3)
        ]
        await asyncio.sleep(0.5)
        await store.sender.settle()
        await asyncio.sleep(0.001)
        assert all(call.done() for call in calls)

    run(main)


def test_many_messages_go_in_pages_and_each_has_its_own_outcome() -> None:
    """Broken: a batch of one caller is one script of any size, or a bad message takes others along."""

    async def main(store: Store) -> None:
        messages = [make_message(f"message-{number}") for number in range(MAX_FOLLOW_UPS + 2)]
        messages[1].payload = {"a": {1}}
        options = [SendOptions(delay_s=number) for number in range(MAX_FOLLOW_UPS + 2)]
        page = [ok(number) for number in range(MAX_FOLLOW_UPS)]
        page[7] = Reply(Status.FULL, "3")
        store.answers.extend([page, StoreUnavailableError("no route")])
        results = await store.sender.send_many(BOX, messages, options, limit=3)
        assert [result.message_id for result in results] == [message.message_id for message in messages]
        causes = {number: result.cause for number, result in enumerate(results) if result.cause}
        assert causes == {
            1: "payload not JSON",
            8: "queue full",
            MAX_FOLLOW_UPS + 1: "store unavailable",
        }
        ids = [each["message"]["message_id"] for each in store.entries(0)]
        assert ids == ["message-0", *(f"message-{number}" for number in range(2, MAX_FOLLOW_UPS + 1))]
        assert [each["message"]["message_id"] for each in store.entries(1)] == [
            f"message-{MAX_FOLLOW_UPS + 1}"
        ]
        hows = [str(each).split("|")[1] for each in store.asked[0][1].args[5:] if isinstance(each, str)]
        assert hows == [str(number * 1_000_000) for number in range(2, MAX_FOLLOW_UPS + 1)]

    store = run(main)
    assert [call.script.name for _, call in store.asked] == ["enqueue_many", "enqueue"]
    assert MAX_FOLLOW_UPS == 100

    assert [call.args[at] for (_, call), at in zip(store.asked, (3, 4), strict=True)] == [3, 3], "the limit"

    async def none(store: Store) -> None:
        assert await store.sender.send_many(BOX, [], [], limit=3) == []
        store.prepare_error = StoreUnavailableError("no route")
        results = await store.sender.send_many(BOX, [make_message(), make_message()], [PLAIN] * 2, limit=3)
        assert [result.cause for result in results] == ["store unavailable"] * 2

    assert run(none).asked == []


def test_many_messages_keep_their_idempotency_keys() -> None:
    """Broken: a batch that is sent again is stored again, or taken for another agent's."""

    async def main(store: Store) -> None:
        store.answers.append([ok(), ok()])
        options = [SendOptions(dedup_id="one"), SendOptions(dedup_id="two")]
        await store.sender.send_many(BOX, [make_message(), make_message()], options, limit=3)
        [(_, call)] = store.asked
        assert call.keys[-2:] == (_keys.dedup(BOX, "one"), _keys.dedup(BOX, "two"))

    run(main)


def test_many_messages_whose_batch_somebody_cancels_have_an_unknown_outcome_each() -> None:
    """Broken: a shutdown that cancels every task but its own makes its own send raise, or hang."""

    async def main(store: Store) -> None:
        store.takes_s = 1
        store.answers.extend([ok(), [ok(), ok()]])
        first = asyncio.create_task(store.sender.send(BOX, make_message(), PLAIN, limit=3))
        await asyncio.sleep(0.5)
        messages = [make_message(), make_message()]
        many = asyncio.create_task(store.sender.send_many(BOX, messages, [PLAIN] * 2, limit=3))
        await asyncio.sleep(1)
        [batch] = [task for task in asyncio.all_tasks() if task.get_name() == "carry a batch for world:1"]
        batch.cancel()
        assert (await first).delivered
        assert [result.cause for result in await many] == ["outcome unknown"] * 2

    run(main)


def test_broadcast_goes_to_each_inbox_with_an_entry_of_its_own() -> None:
    """Broken: a recipient gets another one's outcome, or two entries that are taken for one."""

    async def main(store: Store) -> None:
        store.answers.extend([ok(), StoreUnavailableError("no route")])
        results = await store.sender.broadcast([BOX, OTHER], make_message(), limit=3)
        assert [(result.message_id, result.cause) for result in results] == [
            ("message-1", None),
            ("message-1", "store unavailable"),
        ]
        assert store.registered == [[BOX, OTHER]]
        assert [box for box, _ in store.asked] == [BOX, OTHER]
        nonces = {store.entries(which)[0]["nonce"] for which in (0, 1)}
        assert len(nonces) == 2
        for box, call in store.asked:
            [entry] = [each for each in call.args if isinstance(each, bytes)]
            put = putting(entry, PLAIN)
            expected = scripts.enqueue(LANE, box, now_us=NOW, audit=True, limit=3, put=put, dedup_ms=77)
            assert parts(call) == parts(expected)

    assert run(main).told == [
        ("depth", "world:1", 1),
        ("sent", "message-1", None),
        ("sent", "message-1", "store unavailable"),
    ]


def test_broadcast_that_fails_as_a_whole_fails_for_each() -> None:
    """Broken: a broadcast raises, or tells fewer outcomes than there are recipients."""

    async def main(store: Store) -> None:
        odd = await store.sender.broadcast([BOX, OTHER], make_message(payload={"a": {1}}), limit=3)
        assert [result.cause for result in odd] == ["payload not JSON"] * 2
        assert [result.message_id for result in odd] == ["message-1"] * 2
        store.answers.extend([StoreUnavailableError("all"), ok()])
        away = await store.sender.broadcast([BOX, OTHER], make_message(), limit=3)
        assert [result.cause for result in away] == ["store unavailable"] * 2

    run(main)


def test_end_and_follow_ups_are_one_step() -> None:
    """Broken: a follow-up goes to another agent, at another level, or without the end of its message."""

    async def main(store: Store) -> None:
        store.answers.append(Reply(Status.OK, ""))
        follow_ups = [
            (OTHER, make_message("follow-one", priority=MessagePriority.HIGH)),
            (BOX, make_message("follow-two")),
            (OTHER, make_message("follow-three")),
        ]
        done = await store.sender.ack_and_send(BOX, "res_1", follow_ups, limit=3, one_slot=False)
        assert done is True
        [(box, call)] = store.asked
        entries = [each for each in call.args if isinstance(each, bytes) and each.startswith(b"{")]
        assert [json.loads(each)["message"]["message_id"] for each in entries] == [
            "follow-one",
            "follow-two",
            "follow-three",
        ]
        expected = scripts.ack_send(
            LANE,
            BOX,
            now_us=NOW,
            audit=True,
            token="res_1",
            limit=3,
            targets=[OTHER, BOX],
            sends=[(1, 9, entries[0]), (2, 5, entries[1]), (1, 5, entries[2])],
        )
        assert (box, parts(call)) == (BOX, parts(expected))
        assert store.registered == [[OTHER, BOX]]

    assert run(main).told == [("followed up", 3)]


def test_follow_ups_that_were_not_sent_are_told() -> None:
    """Broken: a message counts as done although nothing followed from it."""

    async def main(store: Store) -> None:
        follow_ups = [(BOX, make_message()), (OTHER, make_message())]
        store.answers.append(Reply(Status.FULL, "2"))
        with pytest.raises(QueueFullError) as told:
            await store.sender.ack_and_send(BOX, "res_1", follow_ups, limit=3, one_slot=False)
        assert str(told.value) == "queue full: narrative:1 has no room; nothing was sent, res_1 is still held"
        store.answers.append(Reply(Status.LOST, ""))
        assert await store.sender.ack_and_send(BOX, "res_1", follow_ups, limit=3, one_slot=False) is False
        with pytest.raises(PayloadNotJSONError):
            await store.sender.ack_and_send(
                BOX, "res_1", [(BOX, make_message(payload={"a": {1}}))], limit=3, one_slot=False
            )
        most = [(BOX, make_message())] * MAX_FOLLOW_UPS
        with pytest.raises(ValueError, match=r"^then_send takes at most 100 messages, not 101$"):
            await store.sender.ack_and_send(BOX, "res_1", [*most, most[0]], limit=3, one_slot=False)
        store.answers.append(Reply(Status.OK, ""))
        assert await store.sender.ack_and_send(BOX, "res_1", most, limit=3, one_slot=False) is True

    assert run(main).told == [("followed up", 100)]


def test_follow_ups_of_another_slot_are_refused_before_anything_is_sent() -> None:
    """Broken: a cluster refuses half of a step."""
    here = _keys.inbox("ao", WORLD, hash_tags=True)
    there = _keys.inbox("ao", NARRATIVE, hash_tags=True)

    async def main(store: Store) -> None:
        with pytest.raises(
            SlotMismatchError, match=r"^world:1 and narrative:1 lie in different cluster slots"
        ):
            await store.sender.ack_and_send(
                here, "res_1", [(here, make_message()), (there, make_message())], limit=3, one_slot=True
            )
        assert store.registered == []
        for pairs, one_slot in (((here, True)), ((there, False))):
            store.answers.append(Reply(Status.OK, ""))
            assert await store.sender.ack_and_send(
                here, "res_1", [(pairs, make_message())], limit=3, one_slot=one_slot
            )

    run(main)
