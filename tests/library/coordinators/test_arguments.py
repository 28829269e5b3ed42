"""Bad arguments: ValueError before any command, for every limit and every argument."""

# ruff: noqa: ANN401 - arguments of every wrong type are the subject
from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.library.conftest import MakeCoordinator
from tests.library.support.builders import INPUT, WORLD, make_message
from tests.library.support.commands import count_commands
from tests.library.support.peek import Peek
from tests.library.support.servers import Lane
from tta_agent_coordination import (
    AgentId,
    CircuitBreakerRegistry,
    RedisAgentRegistry,
    RedisMessageCoordinator,
)

HUGE = 2**1100
"""Too large for a float: arithmetic on it raises OverflowError where nobody checked."""

DIGITS = 10**5_000
"""More digits than Python prints: a message that shows it raises an error of its own."""

LIMITS: list[tuple[str, list[Any]]] = [
    ("queue_size", [0, -1, math.nan, math.inf, 1.5, "many", True, -HUGE, HUGE, DIGITS, 2**53 + 1]),
    ("retry_attempts", [-1, math.nan, math.inf, 0.5, "three", DIGITS]),
    ("backoff_base", [-0.1, math.nan, math.inf, -math.inf, HUGE, "1"]),
    ("backoff_factor", [0.99, 0, -1, math.nan, math.inf, HUGE, "2"]),
    ("backoff_max", [-1, math.nan, math.inf, HUGE, "30"]),
]
BAD_LIMITS = [
    pytest.param(name, value, id=f"{name}-{n}") for name, bad in LIMITS for n, value in enumerate(bad)
]


@pytest.mark.parametrize(("name", "value"), BAD_LIMITS)
async def test_constructor_refuses_a_bad_limit(lane: Lane, name: str, value: Any) -> None:
    """Broken: limits are validated where they are given, with the argument's name in the message."""
    with pytest.raises(ValueError, match=name):
        RedisMessageCoordinator(lane.client(), **{name: value})


@pytest.mark.parametrize(("name", "value"), BAD_LIMITS)
async def test_configure_refuses_a_bad_limit(
    coordinator: RedisMessageCoordinator, name: str, value: object
) -> None:
    """Broken: configure validates like the constructor."""
    changes: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=name):
        coordinator.configure(**changes)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_deliveries", 0),
        ("max_deliveries", -1),
        ("max_deliveries", 10**5_000),
        ("max_payload_bytes", 10**5_000),
        ("dedup_ttl", 0),
        ("dedup_ttl", -1),
        ("dedup_ttl", math.nan),
        ("max_payload_bytes", 0),
        ("audit", "sometimes"),
        ("ageing", 0),
        ("ageing", -1),
        ("ageing", math.nan),
        ("ageing", math.inf),
    ],
    ids=range(13),
)
async def test_constructor_refuses_a_bad_option(lane: Lane, name: str, value: Any) -> None:
    """Broken: every option is checked at construction, not at the first message."""
    with pytest.raises(ValueError, match=name):
        RedisMessageCoordinator(lane.client(), **{name: value})


@pytest.mark.parametrize("prefix", ["", ":", " ", "a b", "a{b}", "a\nb"])
async def test_constructor_refuses_a_bad_prefix(lane: Lane, prefix: str) -> None:
    """Broken: a prefix that makes keys ambiguous is refused with a clear error."""
    with pytest.raises(ValueError, match="prefix"):
        RedisMessageCoordinator(lane.client(), prefix)


BAD_TIMEOUTS = [0, -1, math.nan, math.inf, 604_801, HUGE, "5", None]


@pytest.mark.parametrize("seconds", BAD_TIMEOUTS, ids=range(len(BAD_TIMEOUTS)))
async def test_bad_timeouts_are_refused_before_any_command(
    make_coordinator: MakeCoordinator, lane: Lane, seconds: Any
) -> None:
    """Broken: visibility timeouts lie in (0, 604800] seconds; nothing gets a deadline of nonsense."""
    client = lane.client()
    coordinator = make_coordinator(client=client)
    with count_commands(client) as counted:
        with pytest.raises(ValueError, match=r"^visibility_timeout "):
            await coordinator.receive(WORLD, seconds)
        with pytest.raises(ValueError, match=r"^visibility_timeout "):
            await coordinator.receive_many(WORLD, 1, seconds)
        with pytest.raises(ValueError, match=r"^visibility_timeout "):
            await coordinator._ack_and_receive(WORLD, (), 1, seconds)
        with pytest.raises(ValueError, match=r"^seconds "):
            await coordinator.extend(WORLD, "res_0000000000000000", seconds)
    assert counted.names == []


async def test_limit_set_from_outside_is_checked_where_it_is_read(
    coordinator: RedisMessageCoordinator, peek: Peek
) -> None:
    """Broken: a send raises whatever Python or the client makes of a limit that somebody assigned."""
    coordinator._queue_size = DIGITS
    with pytest.raises(ValueError, match="queue_size must be a whole number"):
        await coordinator.send_message(INPUT, WORLD, make_message())
    assert await peek.keys() == set()
    coordinator._queue_size = 2**53
    assert (await coordinator.send_message(INPUT, WORLD, make_message())).delivered
    await peek.raw("FLUSHALL")


@pytest.mark.parametrize("wait", [-0.1, math.nan, math.inf, HUGE, "1", None], ids=range(6))
async def test_bad_waits_are_refused_before_any_command(
    make_coordinator: MakeCoordinator, lane: Lane, wait: Any
) -> None:
    """Broken: a receive waits for ever, or for a time that somebody else's arithmetic makes of it."""
    client = lane.client()
    coordinator = make_coordinator(client=client)
    with count_commands(client) as counted:
        with pytest.raises(ValueError, match=r"^wait must be a number"):
            await coordinator.receive(WORLD, wait=wait)
        with pytest.raises(ValueError, match=r"^wait must be a number"):
            await coordinator.receive_many(WORLD, 1, wait=wait)
    assert counted.names == []


async def test_refusal_names_the_argument_what_is_allowed_and_what_came(lane: Lane) -> None:
    """Broken: whoever reads the error has to guess what was given, or what would do."""
    with pytest.raises(ValueError, match=r"^audit must be one of exact, off, not 'sometimes'$"):
        RedisMessageCoordinator(lane.client(), audit="sometimes")
    coordinator = RedisMessageCoordinator(lane.client())
    with pytest.raises(ValueError, match=r"^dedup_id must be a text that is not empty, or None, not ''$"):
        await coordinator.send_message(INPUT, WORLD, make_message(), dedup_id="")
    with pytest.raises(ValueError, match=r"^token must be a text, not 7$"):
        await coordinator.ack(WORLD, 7)  # type: ignore[arg-type]  # what an untyped caller passes
    with pytest.raises(ValueError, match=r"^n must be a whole number in \[0, \d+\], not -1$"):
        await coordinator._ack_and_receive(WORLD, (), -1, 5)


async def test_longest_timeout_is_a_week(coordinator: RedisMessageCoordinator) -> None:
    """Broken: the limit itself is allowed."""
    assert await coordinator.receive(WORLD, 604_800) is None
    assert await coordinator.receive(WORLD, 0.000_001) is None


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"delay": -1}, "delay"),
        ({"delay": math.nan}, "delay"),
        ({"delay": math.inf}, "delay"),
        ({"delay": 31_536_001}, "delay"),
        ({"delay": HUGE}, "delay"),
        ({"expires_in": 0}, "expires_in"),
        ({"expires_in": -5}, "expires_in"),
        ({"expires_in": math.nan}, "expires_in"),
        ({"delay": 10, "expires_in": 10}, "expires_in"),
        ({"delay": 10, "expires_in": 5}, "expires_in"),
        ({"expires_in": HUGE}, "expires_in"),
        ({"dedup_id": ""}, "dedup_id"),
    ],
)
async def test_bad_send_options_are_refused_before_any_command(
    coordinator: RedisMessageCoordinator, peek: Peek, options: dict[str, Any], name: str
) -> None:
    """Broken: arguments that cannot be meant raise ValueError, they are not delivery results."""
    with pytest.raises(ValueError, match=rf"^{name} "):
        await coordinator.send_message(INPUT, WORLD, make_message(), **options)
    assert await peek.keys() == set()


HOSTILE = [
    "",
    "a:b",
    "a{b",
    "a}b",
    "a*",
    "a?",
    "a[b",
    "a]b",
    "a b",
    "a\tb",
    "a\nb",
    "a\x00b",
    "a\x7fb",
    "a\u2028b",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_agent_id_refuses_what_makes_keys_ambiguous(text: str) -> None:
    """Broken: separators, braces, globs, whitespace and control characters never reach a key."""
    with pytest.raises(ValueError, match=r"type|instance"):
        AgentId(type=text)
    with pytest.raises(ValueError, match=r"type|instance"):
        AgentId(type="world", instance=text)


@pytest.mark.parametrize(
    "token", [None, 7, b"res_0000000000000000", ["res_0000000000000000"], "res_\ud800"], ids=range(5)
)
async def test_token_that_is_no_text_is_refused(
    coordinator: RedisMessageCoordinator, peek: Peek, token: Any
) -> None:
    """Broken: a token of another type is a mistake of the caller, not an unknown reservation."""
    for call in (coordinator.ack, coordinator.nack, coordinator.release):
        with pytest.raises(ValueError, match="token"):
            await call(WORLD, token)
    with pytest.raises(ValueError, match="token"):
        await coordinator.extend(WORLD, token, 5)
    assert await peek.keys() == set()


async def test_follow_ups_are_bounded(coordinator: RedisMessageCoordinator, peek: Peek) -> None:
    """Broken: one script's work is bounded; more than 100 follow-ups are refused before anything is sent."""
    follow_ups = [(INPUT, make_message(f"message-{n:03}")) for n in range(101)]
    with pytest.raises(ValueError, match="100"):
        await coordinator.ack(WORLD, "res_0000000000000000", then_send=follow_ups)
    assert await peek.keys() == set()


NO_AGENT = "an agent is named by an AgentId, not by a str"
NO_MESSAGE = "a message must be an AgentMessage, not a {}"
MESSAGE = make_message()

MISTAKES: dict[str, tuple[Callable[[Any], Awaitable[object]], str]] = {
    "send to a text": (lambda c: c.send_message(INPUT, "world", MESSAGE), NO_AGENT),
    "send nothing": (lambda c: c.send_message(INPUT, WORLD, None), NO_MESSAGE.format("NoneType")),
    "send a dict": (lambda c: c.send_message(INPUT, WORLD, {"a": 1}), NO_MESSAGE.format("dict")),
    "send one as many": (
        lambda c: c.send_many(INPUT, WORLD, MESSAGE),
        "messages must be a list, not one AgentMessage",
    ),
    "send many with a dict": (
        lambda c: c.send_many(INPUT, WORLD, [MESSAGE, {}]),
        NO_MESSAGE.format("dict"),
    ),
    "one dedup_id for two": (
        lambda c: c.send_many(INPUT, WORLD, [MESSAGE, MESSAGE], dedup_ids="ab"),
        "dedup_ids must be a list, not one str",
    ),
    "broadcast to one": (
        lambda c: c.broadcast_message(INPUT, MESSAGE, WORLD),
        "recipients must be a list, not one AgentId",
    ),
    "broadcast to texts": (lambda c: c.broadcast_message(INPUT, MESSAGE, ["world"]), NO_AGENT),
    "broadcast nothing": (
        lambda c: c.broadcast_message(INPUT, None, [WORLD]),
        NO_MESSAGE.format("NoneType"),
    ),
    "receive for a text": (lambda c: c.receive("world:1"), NO_AGENT),
    "acknowledge one as many": (lambda c: c.ack_many(WORLD, "res_1"), "tokens must be a list, not one str"),
    "acknowledge nothing": (lambda c: c.ack_many(WORLD, None), "tokens must be a list, not one NoneType"),
    "acknowledge odd tokens": (lambda c: c.ack_many(WORLD, ["res_1", "\ud800"]), "token must be a text"),
    "follow up with one message": (
        lambda c: c.ack(WORLD, "res_1", then_send=[MESSAGE]),
        "then_send must hold (recipient, message) pairs, not a AgentMessage",
    ),
    "follow up with one pair": (
        lambda c: c.ack(WORLD, "res_1", then_send=(WORLD, MESSAGE)),
        "then_send must hold (recipient, message) pairs, not a AgentId",
    ),
    "follow up with a text": (
        lambda c: c.ack(WORLD, "res_1", then_send="ab"),
        "then_send must be a list, not one str",
    ),
    "follow up with three": (
        lambda c: c.ack(WORLD, "res_1", then_send=[(WORLD, MESSAGE, 1)]),
        "then_send must hold (recipient, message) pairs, not a tuple",
    ),
    "follow up the other way round": (
        lambda c: c.ack(WORLD, "res_1", then_send=[(MESSAGE, WORLD)]),
        "an agent is named by an AgentId, not by a AgentMessage",
    ),
    "follow up with a dict": (
        lambda c: c.ack(WORLD, "res_1", then_send=[(WORLD, {})]),
        NO_MESSAGE.format("dict"),
    ),
    "explain the other way round": (
        lambda c: c.explain(WORLD, "message-1"),
        "message_id must be a text, not AgentId(",
    ),
    "requeue one": (lambda c: c.requeue_dead(WORLD, "abc"), "ids must be a list, not one str"),
    "purge one": (lambda c: c.purge_dead(WORLD, b"abc"), "ids must be a list, not one bytes"),
    "unsubscribe one": (
        lambda c: c.unsubscribe(WORLD, "event"),
        "message_types must be a list, not one str",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
async def test_mistaken_argument_is_named_before_any_command(
    make_coordinator: MakeCoordinator, lane: Lane, mistake: str
) -> None:
    """Broken: a mistake shows as an AttributeError of our inside, or as an answer: seven times False."""
    client = lane.client()
    coordinator = make_coordinator(client=client)
    call, text = MISTAKES[mistake]
    with count_commands(client) as counted, pytest.raises(ValueError, match=f"^{re.escape(text)}"):
        await call(coordinator)
    assert counted.names == []


async def test_subscription_to_one_type_without_a_list_is_refused(
    coordinator: RedisMessageCoordinator,
) -> None:
    """Broken: a text is taken apart into letters, and the error is about those."""
    types: Any = "event"
    with pytest.raises(ValueError, match=r"^message_types must be a list, not one str$"):
        coordinator.subscribe_to_messages(WORLD, types)


async def test_batches_are_taken_from_any_iterable(coordinator: RedisMessageCoordinator) -> None:
    """Broken: a generator of messages is refused, or used up before it is sent."""
    results = await coordinator.send_many(
        INPUT,
        WORLD,
        (make_message(f"message-{n}") for n in range(2)),  # type: ignore[arg-type]  # what untyped callers pass
        dedup_ids=(f"id {n}" for n in range(2)),  # type: ignore[arg-type]
    )
    assert [result.delivered for result in results] == [True, True]
    received = await coordinator.receive_many(WORLD, 2)
    tokens: Any = (one.token for one in received)
    assert await coordinator.ack_many(WORLD, tokens) == [True, True]


async def test_message_id_that_was_assigned_unchecked_is_a_result(
    coordinator: RedisMessageCoordinator,
) -> None:
    """Broken: the result cannot hold what the message holds, and the send raises an error about that."""
    message = make_message()
    message.message_id = 7  # type: ignore[assignment]  # a message checks nothing when it is assigned to
    result = await coordinator.send_message(INPUT, WORLD, message)
    assert (result.message_id, result.delivered, result.cause) == ("7", False, "payload not JSON")


@pytest.mark.parametrize("prefix", [None, 7, b"ao"])
async def test_prefix_that_is_no_text_is_refused(lane: Lane, prefix: Any) -> None:
    """Broken: an AttributeError of our inside."""
    for make in (RedisMessageCoordinator, RedisAgentRegistry, CircuitBreakerRegistry):
        with pytest.raises(ValueError, match=f"^key_prefix {prefix!r} "):
            make(lane.client(), prefix)
