"""The stored form: v0's JSON, strict on the way in, forgiving on the way out."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.library.support.builders import INPUT, WORLD, make_message
from tests.library.v0_model import v0_entry
from tta_agent_coordination import AgentMessage, MessagePriority, MessageType, RoutingKey, _codec

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=12,
)
PAYLOADS = st.dictionaries(st.text(st.characters(codec="utf-8")), JSON, max_size=5)
TEXTS = st.text(st.characters(codec="utf-8"))


def encoded(message: AgentMessage, nonce: str = "0123456789abcdef") -> bytes:
    """Return a message as a fresh entry."""
    text, _ = _codec.encode_message(message)
    return _codec.encode_entry(
        text, priority=int(message.priority), enqueued_at="2020-01-01T00:00:00+00:00", nonce=nonce
    )


@given(
    payload=PAYLOADS,
    message_id=st.text(st.characters(codec="utf-8"), min_size=6),
    topic=st.none() | TEXTS,
    tags=st.lists(TEXTS, max_size=3),
    timestamp=st.none() | TEXTS,
    priority=st.sampled_from(MessagePriority),
    kind=st.sampled_from(MessageType),
)
def test_message_comes_back_as_it_went_in(
    payload: dict[str, Any],
    message_id: str,
    topic: str | None,
    tags: list[str],
    timestamp: str | None,
    priority: MessagePriority,
    kind: MessageType,
) -> None:
    """Broken: some text, number or nesting changes on its way through the store."""
    message = AgentMessage(
        message_id=message_id,
        sender=INPUT,
        recipient=WORLD,
        message_type=kind,
        payload=payload,
        priority=priority,
        routing=RoutingKey(topic=topic, tags=tags),
        timestamp=timestamp,
    )
    entry = encoded(message)
    decoded = _codec.decode(entry)
    assert decoded.message == message
    assert (decoded.priority, decoded.delivery_attempts, decoded.last_error) == (priority, 0, None)
    assert entry.isascii()
    assert list(json.loads(entry)["message"]) == list(AgentMessage.model_fields)


def test_entry_has_v0_fields_then_ours() -> None:
    """Broken: new fields come behind v0's, and v0 ignores them."""
    assert list(json.loads(encoded(make_message()))) == [
        "message",
        "priority",
        "enqueued_at",
        "delivery_attempts",
        "last_error",
        "nonce",
    ]


def test_entry_of_v0_is_read() -> None:
    """Broken: what v0 wrote is unreadable."""
    decoded = _codec.decode(v0_entry("world:1", "message-1", {"a": [1]}, priority=9).encode())
    assert decoded.message.payload == {"a": [1]}
    assert decoded.priority == MessagePriority.HIGH


@given(st.binary(max_size=200))
def test_decoding_any_bytes_gives_an_entry_or_one_error(junk: bytes) -> None:
    """Broken: a consumer meets an exception that nobody expected."""
    with pytest.raises(_codec.UndecodableEntryError):
        _codec.decode(junk)


@given(st.data())
def test_decoding_a_damaged_entry_gives_an_entry_or_one_error(data: st.DataObject) -> None:
    """Broken: one flipped, missing or doubled byte stops a consumer."""
    entry = encoded(make_message(payload={"a": [1, {"b": None}], "ü": "\U0001f409"}))
    at = data.draw(st.integers(0, len(entry) - 1))
    cut = data.draw(st.integers(0, 3))
    damaged = entry[:at] + data.draw(st.binary(max_size=3)) + entry[at + cut :]
    with contextlib.suppress(_codec.UndecodableEntryError):
        assert _codec.decode(damaged).message.message_id


@given(JSON)
def test_decoding_any_json_gives_an_entry_or_one_error(value: object) -> None:
    """Broken: valid JSON of another shape is no entry."""
    with pytest.raises(_codec.UndecodableEntryError):
        _codec.decode(json.dumps(value).encode())


@given(
    field=st.sampled_from(["message", "priority", "enqueued_at", "delivery_attempts", "last_error"]),
    value=JSON,
)
def test_decoding_an_entry_with_a_foreign_value_gives_an_entry_or_one_error(
    field: str, value: object
) -> None:
    """Broken: a field of another type, as another writer may leave it."""
    entry = json.loads(encoded(make_message())) | {field: value}
    with contextlib.suppress(_codec.UndecodableEntryError):
        _codec.decode(json.dumps(entry).encode())


@pytest.mark.parametrize("depth", [10, 150, 189])
def test_nested_payload_that_is_accepted_can_be_read(depth: int) -> None:
    """Broken: a sender may store what no consumer can read back."""
    payload: Any = {}
    for _ in range(depth - 1):
        payload = {"x": payload}
    assert _codec.decode(encoded(make_message(payload=payload))).message.payload == payload


@pytest.mark.parametrize("depth", [250, 5_000, 200_000])
@pytest.mark.parametrize("inner", ["list", "object"])
def test_nesting_that_no_reader_accepts_is_refused(depth: int, inner: str) -> None:
    """Broken: a payload beyond the reader's depth is a clear error to its sender."""
    nested: Any = 1
    for _ in range(depth):
        nested = [nested] if inner == "list" else {"x": nested}
    message = make_message()
    object.__setattr__(message, "payload", {"x": nested})
    with pytest.raises(ValueError, match="nested"):
        _codec.encode_message(message)


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        -math.inf,
        {1: 2},
        {None: 1},
        {(1, 2): 3},
        {1, 2},
        b"x",
        object(),
        1j,
        "\ud800",
        {"\udfff": 1},
    ],
)
def test_payload_that_is_not_json_is_refused(value: object) -> None:
    """Broken: encoding is strict; nothing is converted in silence."""
    message = make_message()
    for payload in ({"x": value}, {"x": [{"y": value}]}):
        object.__setattr__(message, "payload", payload)
        with pytest.raises((TypeError, ValueError)):
            _codec.encode_message(message)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("message_id", "\ud800 message"),
        ("timestamp", "\udfff"),
        ("routing", RoutingKey.model_construct(topic="\ud800", tags=[])),
    ],
)
def test_text_that_is_not_unicode_is_refused_in_every_field(field: str, value: object) -> None:
    """Broken: an id or a tag that cannot be encoded stores an entry nobody can read."""
    message = make_message()
    object.__setattr__(message, field, value)
    with pytest.raises((TypeError, ValueError)):
        _codec.encode_message(message)


def test_entry_id_is_the_nonce_or_the_text() -> None:
    """Broken: a dead letter's id names one letter."""
    assert _codec.entry_id(encoded(make_message(), nonce="feed0123beef4567")) == "feed0123beef4567"
    text = v0_entry("world:1", "message-1")
    assert _codec.entry_id(text.encode()) == text
    assert _codec.entry_id(b"\xff") == "\\xff"


def test_entry_id_is_not_taken_from_a_payload() -> None:
    """Broken: a sender could name another message's bookkeeping."""
    fake = {"nonce": "feed0123beef4567"}
    text = v0_entry("world:1", "message-1", fake)
    assert _codec.entry_id(text.encode()) == text
    entry = json.loads(v0_entry("world:1", "message-1"))
    entry["last_error"] = '","nonce":"feed0123beef4567"}'
    assert _codec.entry_id(json.dumps(entry).encode()) != "feed0123beef4567"


@given(error=st.none() | st.text(), attempts=st.integers(0, 10**8), payload=PAYLOADS)
def test_revived_entry_is_new_and_keeps_its_message(
    error: str | None, attempts: int, payload: dict[str, Any]
) -> None:
    """Broken: a letter sent back loses its content, or keeps its failures."""
    entry = json.loads(v0_entry("world:1", "message-1", payload)) | {"delivery_attempts": attempts}
    entry["last_error"] = json.loads(_codec.encode_error(error))
    for separators in ((", ", ": "), (",", ":")):
        text = json.dumps(entry, separators=separators).encode()
        revived = _codec.revive(text, "00aa00aa00aa00aa")
        assert revived is not None
        level, new = revived
        decoded = _codec.decode(new)
        assert (level, decoded.delivery_attempts, decoded.last_error) == (5, 0, None)
        assert decoded.message.payload == payload
        assert _codec.entry_id(new) == "00aa00aa00aa00aa"


def test_unreadable_entry_is_not_revived() -> None:
    """Broken: what nobody can read would be put before consumers again."""
    assert _codec.revive(b"junk", "00aa") is None
    assert _codec.fail(b"junk", "error") is None


@given(st.text())
def test_error_text_is_valid_json_of_bounded_length(error: str) -> None:
    """Broken: the error is spliced into stored JSON; it must be one JSON string, whatever it says."""
    text = _codec.encode_error(error)
    assert text.isascii()
    assert len(json.loads(text)) <= 2_000
    json.loads(text).encode()


def test_error_that_is_no_text_is_told_as_text() -> None:
    """Broken: callers pass exceptions; losing the message over that would be worse than accepting it."""
    assert _codec.encode_error(None) == "null"
    assert json.loads(_codec.encode_error(ValueError("why"))) == "why"


@given(st.text(min_size=6))
def test_needle_is_in_every_entry_with_the_id(message_id: str) -> None:
    """Broken: explain cannot find a message by its id."""
    try:
        entry = encoded(make_message(message_id))
    except ValueError:
        return
    assert _codec.needle(message_id) in entry


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("payload", [1]),
        ("payload", "text"),
        ("message_id", "short"),
        ("message_id", 7),
        ("timestamp", 7),
        ("priority", 7),
        ("routing", RoutingKey.model_construct(topic=None, tags=[1])),
    ],
)
def test_field_that_was_made_wrong_is_refused(field: str, value: object) -> None:
    """Broken: messages are mutable; what was assigned after validation stores an entry nobody can read."""
    message = make_message()
    object.__setattr__(message, field, value)
    with pytest.raises((TypeError, ValueError)):
        encoded(message)


def test_entry_with_an_unknown_tail_is_revived() -> None:
    """Broken: a dead letter in another writer's order cannot be sent back."""
    entry = json.loads(v0_entry("world:1", "message-1", {"keep": []}))
    shuffled = {name: entry[name] for name in reversed(entry)} | {"expires_at": 5, "more": 1}
    revived = _codec.revive(json.dumps(shuffled).encode(), "00aa00aa00aa00aa")
    assert revived is not None
    decoded = _codec.decode(revived[1])
    assert (decoded.message.payload, decoded.delivery_attempts) == ({"keep": []}, 0)
    assert _codec.entry_id(revived[1]) == "00aa00aa00aa00aa"
    assert b"expires_at" not in revived[1]
