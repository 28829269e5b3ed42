"""Sending: what is stored, what is answered, what is refused."""

from __future__ import annotations

import enum
import json
import math
from typing import Any

import pytest

from tests.library.conftest import START_US, MakeCoordinator
from tests.library.support.builders import INPUT, NARRATIVE, WORLD, drain, id_of, make_message, take
from tests.library.support.peek import Peek
from tests.library.support.servers import Lane
from tta_agent_coordination import (
    AgentId,
    AgentMessage,
    InMemoryMetrics,
    MessageCoordinatorError,
    MessagePriority,
    RedisMessageCoordinator,
)
from tta_agent_coordination.testing import ManualClock


async def test_send_stores_one_text_in_level_and_audit_list(
    coordinator: RedisMessageCoordinator, peek: Peek
) -> None:
    """Broken: v0 processes and TTA's tools read the entry's own text as zset member and as audit copy."""
    result = await coordinator.send_message(INPUT, WORLD, make_message(payload={"a": 1}))
    assert (result.message_id, result.delivered, result.error) == ("message-1", True, None)
    (text,) = await peek.queue(WORLD)
    assert await peek.level(WORLD, 5) == {text: START_US}


async def test_send_stores_v0_fields_in_v0_order(coordinator: RedisMessageCoordinator, peek: Peek) -> None:
    """Broken: the stored JSON is a contract with v0, field order included."""
    await coordinator.send_message(
        INPUT, WORLD, make_message(payload={"a": 1}, priority=MessagePriority.HIGH)
    )
    (text,) = await peek.queue(WORLD)
    entry: dict[str, Any] = json.loads(text)
    assert list(entry)[:5] == ["message", "priority", "enqueued_at", "delivery_attempts", "last_error"]
    message = entry["message"]
    assert list(message) == [
        "message_id",
        "sender",
        "recipient",
        "message_type",
        "payload",
        "priority",
        "routing",
        "timestamp",
    ]
    assert message["sender"] == {"type": "input", "instance": "1"}
    assert (message["priority"], entry["priority"], entry["delivery_attempts"]) == (9, 9, 0)
    assert entry["last_error"] is None


async def test_send_writes_ascii_text(coordinator: RedisMessageCoordinator, peek: Peek) -> None:
    """Broken: v0 stores ASCII-escaped JSON; other bytes would differ between a client and its neighbour."""
    await coordinator.send_message(INPUT, WORLD, make_message(payload={"text": "höhle \U0001f409"}))
    (text,) = await peek.queue(WORLD)
    assert text.isascii()
    assert (await take(coordinator)).queue_message.message.payload == {"text": "höhle \U0001f409"}


@pytest.mark.parametrize(
    ("priority", "level"), [(MessagePriority.HIGH, 9), (MessagePriority.NORMAL, 5), (MessagePriority.LOW, 1)]
)
async def test_send_priority_selects_the_level(
    coordinator: RedisMessageCoordinator, peek: Peek, priority: MessagePriority, level: int
) -> None:
    """Broken: a priority is a sorted set of its own, named by v0's number."""
    await coordinator.send_message(INPUT, WORLD, make_message(priority=priority))
    assert len(await peek.level(WORLD, level)) == 1
    assert await peek.outstanding(WORLD) == 1


async def test_send_uses_the_prefix_without_its_trailing_colon(
    make_coordinator: MakeCoordinator, peek: Peek
) -> None:
    """Broken: `testao:` and `testao` name the same inboxes in v0."""
    await make_coordinator(key_prefix="testao:").send_message(INPUT, WORLD, make_message())
    assert "testao:queue:world:1" in await peek.keys()


async def test_send_without_an_instance_uses_default(
    coordinator: RedisMessageCoordinator, peek: Peek
) -> None:
    """Broken: an agent without an instance and the instance called default are one inbox."""
    await coordinator.send_message(INPUT, AgentId(type="world"), make_message())
    assert "ao:queue:world:default" in await peek.keys()
    assert id_of(await coordinator.receive(AgentId(type="world", instance="default"))) == "message-1"


async def test_send_with_a_str_enum_type_uses_its_value(
    coordinator: RedisMessageCoordinator, peek: Peek
) -> None:
    """Broken: TTA passes `(str, Enum)` members, whose f-string is the member's name and not its value."""

    class AgentType(str, enum.Enum):  # noqa: UP042 - TTA's own flavour is the point
        WBA = "world_builder"

    await coordinator.send_message(INPUT, AgentId(type=AgentType.WBA), make_message())
    assert "ao:queue:world_builder:default" in await peek.keys()


async def test_send_goes_to_the_recipient_argument(coordinator: RedisMessageCoordinator) -> None:
    """Broken: the argument selects the inbox, whatever the message itself says; broadcast relies on it."""
    await coordinator.send_message(INPUT, NARRATIVE, make_message(recipient=WORLD))
    assert await coordinator.receive(WORLD) is None
    received = await take(coordinator, NARRATIVE)
    assert received.queue_message.message.recipient == WORLD


async def test_send_fills_in_a_missing_timestamp(coordinator: RedisMessageCoordinator) -> None:
    """Broken: v0's callers read the timestamp from their own object after sending it."""
    message = make_message()
    assert message.timestamp is None
    await coordinator.send_message(INPUT, WORLD, message)
    assert message.timestamp is not None
    assert (await take(coordinator)).queue_message.message.timestamp == message.timestamp


async def test_send_keeps_a_given_timestamp(coordinator: RedisMessageCoordinator) -> None:
    """Broken: a timestamp is the sender's statement, not ours."""
    message = make_message()
    message.timestamp = "2020-01-01T00:00:00+00:00"
    await coordinator.send_message(INPUT, WORLD, message)
    assert (await take(coordinator)).queue_message.message.timestamp == "2020-01-01T00:00:00+00:00"


async def test_send_twice_is_two_messages(coordinator: RedisMessageCoordinator, peek: Peek) -> None:
    """Broken: a second call is a second message, even with the same id and the same payload."""
    message = make_message(payload={"same": True})
    for _ in range(3):
        assert (await coordinator.send_message(INPUT, WORLD, message)).delivered
    assert await peek.outstanding(WORLD) == 3
    assert await drain(coordinator) == ["message-1"] * 3


async def test_send_to_a_full_queue_says_so(make_coordinator: MakeCoordinator, peek: Peek) -> None:
    """Broken: the limit holds, is answered with v0's words, and counts as neither success nor error."""
    metrics = InMemoryMetrics()
    coordinator = make_coordinator(queue_size=2, metrics=metrics)
    answers = [await coordinator.send_message(INPUT, WORLD, make_message(f"message-{n}")) for n in range(3)]
    assert [answer.delivered for answer in answers] == [True, True, False]
    assert (answers[2].error, answers[2].cause) == ("queue full", "queue full")
    assert await peek.outstanding(WORLD) == 2
    delivery = metrics.snapshot()["delivery"]
    assert (delivery["delivered_ok"], delivery["delivered_error"]) == (2, 0)


async def test_send_counts_ready_delayed_and_reserved_as_depth(make_coordinator: MakeCoordinator) -> None:
    """Broken: depth is what is outstanding; a reserved or delayed message still occupies its place."""
    coordinator = make_coordinator(queue_size=3)
    await coordinator.send_message(INPUT, WORLD, make_message("reserved"))
    received = await take(coordinator)
    await coordinator.send_message(INPUT, WORLD, make_message("delayed"), delay=60)
    await coordinator.send_message(INPUT, WORLD, make_message("ready-1"))
    refused = await coordinator.send_message(INPUT, WORLD, make_message("refused"))
    assert refused.error == "queue full"
    assert await coordinator.ack(WORLD, received.token)
    assert (await coordinator.send_message(INPUT, WORLD, make_message("accepted"))).delivered


async def test_send_reads_the_limit_set_from_outside(coordinator: RedisMessageCoordinator) -> None:
    """Broken: TTA's component assigns `_queue_size` on a live coordinator."""
    await coordinator.send_message(INPUT, WORLD, make_message())
    coordinator._queue_size = 1
    assert (await coordinator.send_message(INPUT, WORLD, make_message())).error == "queue full"


async def test_send_with_delay_waits_for_it(coordinator: RedisMessageCoordinator, clock: ManualClock) -> None:
    """Broken: a delayed message is not due before its time, and due at it."""
    await coordinator.send_message(INPUT, WORLD, make_message(), delay=10)
    clock.advance(9.999)
    assert await coordinator.receive(WORLD) is None
    clock.advance(0.001)
    assert id_of(await coordinator.receive(WORLD)) == "message-1"


async def test_send_counts_success(make_coordinator: MakeCoordinator) -> None:
    """Broken: the delivery counters are what TTA's dashboards show."""
    metrics = InMemoryMetrics()
    coordinator = make_coordinator(metrics=metrics)
    await coordinator.send_message(INPUT, WORLD, make_message())
    bad = make_message(payload={"no": math.nan})
    await coordinator.send_message(INPUT, WORLD, bad)
    delivery = metrics.snapshot()["delivery"]
    assert (delivery["delivered_ok"], delivery["delivered_error"]) == (1, 1)


def _circular() -> dict[str, Any]:
    loop: dict[str, Any] = {}
    loop["self"] = loop
    return loop


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param({"v": math.nan}, id="nan"),
        pytest.param({"v": math.inf}, id="infinity"),
        pytest.param({"v": {1, 2}}, id="set"),
        pytest.param({"v": object()}, id="object"),
        pytest.param({"v": b"bytes"}, id="bytes"),
        pytest.param({"v": {1: "integer key"}}, id="integer-key"),
        pytest.param({"v": "\ud800"}, id="lone-surrogate"),
        pytest.param(_circular(), id="circular"),
    ],
)
async def test_send_refuses_a_payload_that_is_not_json(
    coordinator: RedisMessageCoordinator, peek: Peek, payload: dict[str, Any]
) -> None:
    """Broken: encoding is strict, never raises out of send, and nothing reaches the store."""
    message = make_message()
    object.__setattr__(message, "payload", payload)
    result = await coordinator.send_message(INPUT, WORLD, message)
    assert (result.delivered, result.cause) == (False, "payload not JSON")
    assert result.error
    with pytest.raises(MessageCoordinatorError):
        result.raise_for_error()
    assert await peek.keys() == set()


async def test_send_accepts_what_json_can_say(coordinator: RedisMessageCoordinator) -> None:
    """Broken: payload is opaque; nothing is rounded, reordered or turned from list to object on its way."""
    payload: dict[str, Any] = {
        "empty list": [],
        "empty object": {},
        "big": 2**63 + 1,
        "float": 0.1,
        "none": None,
        "nested": [[], {"x": [1.0, True, "\u0000\u2028"]}],
        '"delivery_attempts":': 7,
    }
    await coordinator.send_message(INPUT, WORLD, make_message(payload=payload))
    received = (await take(coordinator)).queue_message.message.payload
    assert received == payload
    assert list(received) == list(payload)


async def test_send_refuses_a_payload_that_is_too_large(
    make_coordinator: MakeCoordinator, peek: Peek
) -> None:
    """Broken: the size limit is checked before the store sees anything."""
    coordinator = make_coordinator(max_payload_bytes=1_000)
    result = await coordinator.send_message(INPUT, WORLD, make_message(payload={"v": "x" * 2_000}))
    assert (result.delivered, result.cause) == (False, "payload too large")
    assert await peek.keys() == set()
    assert (await coordinator.send_message(INPUT, WORLD, make_message(payload={"v": "x" * 500}))).delivered


@pytest.mark.parametrize("decode_responses", [False, True])
async def test_coordinator_works_with_either_kind_of_client(
    make_coordinator: MakeCoordinator, lane: Lane, decode_responses: bool
) -> None:
    """Broken: TTA uses clients with and without `decode_responses`."""
    coordinator = make_coordinator(client=lane.client(decode_responses=decode_responses))
    for message_id in ("message-1", "message-2", "message-3"):
        await coordinator.send_message(INPUT, WORLD, make_message(message_id, {"ä": "ö"}))
    first, second, third = [await take(coordinator) for _ in range(3)]
    assert first.queue_message.message.payload == {"ä": "ö"}
    assert await coordinator.ack(WORLD, first.token)
    assert await coordinator.nack(WORLD, second.token, error="later")
    assert await coordinator.release(WORLD, third.token)
    assert id_of(await coordinator.receive(WORLD)) == "message-3"


async def test_send_result_is_truthful_for_a_subclass_of_the_message(
    coordinator: RedisMessageCoordinator,
) -> None:
    """Broken: TTA may subclass the models; what is stored stays v0's form."""

    class TtaMessage(AgentMessage):
        pass

    message = TtaMessage(**make_message().model_dump())
    assert (await coordinator.send_message(INPUT, WORLD, message)).delivered
    assert id_of(await coordinator.receive(WORLD)) == "message-1"
