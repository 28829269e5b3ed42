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
    assert json.loads(_codec.needle(message_id)) == message_id


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


def test_depth_that_is_accepted_ends_at_the_limit() -> None:
    """Broken: the sender is refused what a reader would take, or the other way round."""
    payload: Any = {}
    for _ in range(189):
        payload = {"x": payload}
    assert _codec.decode(encoded(make_message(payload=payload))).message.payload == payload
    with pytest.raises(ValueError, match="deeper than 190 levels"):
        encoded(make_message(payload={"x": payload}))


def test_every_nested_value_is_looked_into() -> None:
    """Broken: a key that is no text is converted in silence when another value follows it."""
    payload: Any = {"x": [{"deep": {1: 2}}, {"fine": 1}], "y": [{"fine": 2}]}
    with pytest.raises(TypeError, match="payload key 1 is not text"):
        _codec.encode_payload(payload)
    with pytest.raises(TypeError, match="must be a JSON object, not list"):
        _codec.encode_payload([])


def test_empty_routing_is_written_as_v0_wrote_it() -> None:
    """Broken: every entry grows by blanks, or one form has two spellings."""
    tagged = make_message()
    object.__setattr__(tagged, "routing", RoutingKey(topic="t", tags=["a", "b"]))
    assert '"routing":{"topic":"t","tags":["a","b"]}' in _codec.encode_message(tagged)[0]
    object.__setattr__(tagged, "routing", RoutingKey(topic=None, tags=[]))
    assert '"routing":{"topic":null,"tags":[]}' in _codec.encode_message(tagged)[0]
    for routing in (RoutingKey(topic="t", tags=[]), RoutingKey(topic=None, tags=["a"])):
        object.__setattr__(tagged, "routing", routing)
        assert _codec.decode(encoded(tagged)).message.routing == routing


def test_refused_text_is_named() -> None:
    """Broken: a sender does not learn which fields must be texts."""
    message = make_message()
    for message_id in ("short", 7, b"long enough"):
        object.__setattr__(message, "message_id", message_id)
        with pytest.raises(ValueError, match="at least 6 characters"):
            _codec.encode_message(message)
    tagged = make_message()
    for topic, tags in ((7, []), (None, [7]), ("t", ["a", None])):
        object.__setattr__(tagged, "routing", RoutingKey.model_construct(topic=topic, tags=tags))
        with pytest.raises(ValueError, match="topic and tags must be texts"):
            _codec.encode_message(tagged)


def test_error_text_keeps_what_can_be_kept() -> None:
    """Broken: a lone surrogate in an exception's text loses the text, or the message."""
    assert json.loads(_codec.encode_error("a\ud800b")) == "a?b"
    assert json.loads(_codec.encode_error("x" * 2_001)) == "x" * 2_000


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (b"{", r"^Invalid JSON: "),
        (b'{"message":{"sender":1}}', r"^message\.sender: Input should be"),
    ],
)
def test_what_is_wrong_with_an_entry_is_said_with_its_place(entry: bytes, says: str) -> None:
    """Broken: an operator sees that an entry is bad, and not where."""
    text = json.loads(v0_entry("world:1", "message-1"))
    if b"sender" in entry:
        text["message"]["sender"] = 1
        entry = json.dumps(text).encode()
    with pytest.raises(_codec.UndecodableEntryError, match=says) as caught:
        _codec.decode(entry)
    assert "pydantic.dev" not in str(caught.value)


def test_nonce_is_looked_for_at_the_end_only() -> None:
    """Broken: reading the id of a large entry takes time in its length."""
    tail = b'"nonce":"feed0123beef4567","expires_at":1700000000000}'
    assert _codec.entry_id(b"x" * 5_000 + tail) == "feed0123beef4567"
    short = b'{"nonce":"feed0123beef4567"}'
    assert _codec.entry_id(short) == "feed0123beef4567"
    begins = b'"nonce":"feed0123beef4567"'
    inside, outside = (begins + b" " * (length - len(begins) - 1) + b"}" for length in (128, 129))
    assert _codec.entry_id(inside) == "feed0123beef4567"
    assert _codec.entry_id(outside) == outside.decode()


def test_revived_entry_keeps_its_text_up_to_the_tail() -> None:
    """Broken: a letter in v0's spelling is written anew although only its tail changes."""
    text = v0_entry("world:1", "message-1", {"delivery_attempts": 7, "a": [1.50]}).encode()
    head = text[: text.rfind(b'"delivery_attempts":')]
    revived = _codec.revive(text, "00aa")
    assert revived == (5, head + b'"delivery_attempts":0,"last_error":null,"nonce":"00aa"}')


def test_tail_is_not_taken_from_a_payload() -> None:
    """Broken: a sender that knows the form decides where its entry is cut."""
    error = '"delivery_attempts":1,"last_error":null}'
    entry = json.loads(v0_entry("world:1", "message-1")) | {"last_error": error}
    revived = _codec.revive(json.dumps(entry).encode(), "00aa")
    assert revived is not None
    assert json.loads(revived[1])["message"] == entry["message"]


def test_entry_without_an_expiry_is_revived_in_another_order() -> None:
    """Broken: a dead letter in another writer's order, without ours, cannot be sent back."""
    entry = json.loads(v0_entry("world:1", "message-1")) | {"delivery_attempts": 3, "last_error": "why"}
    shuffled = {name: entry[name] for name in reversed(entry)}
    revived = _codec.revive(json.dumps(shuffled).encode(), "00aa")
    assert revived is not None
    assert list(json.loads(revived[1])) == [
        *("message", "priority", "enqueued_at", "delivery_attempts", "last_error", "nonce"),
    ]
    assert (json.loads(revived[1])["delivery_attempts"], json.loads(revived[1])["last_error"]) == (0, None)


def test_failed_entry_counts_one_more_and_keeps_the_rest() -> None:
    """Broken: a message in another writer's order is tried for ever, or dies at once."""
    entry = (
        {"early": 1}
        | json.loads(v0_entry("world:1", "message-1", {"keep": []}))
        | {
            "delivery_attempts": 3,
            "nonce": "00aa",
            "expires_at": 5,
            "more": 1,
        }
    )
    shuffled = {name: entry[name] for name in reversed(entry)}
    failed = _codec.fail(json.dumps(shuffled).encode(), ValueError("why"))
    assert failed is not None
    attempts, text = failed
    assert attempts == 4
    assert json.loads(text) == entry | {"delivery_attempts": 4, "last_error": "why"}
    assert list(json.loads(text)) == [
        *("message", "priority", "enqueued_at", "more", "early"),
        *("delivery_attempts", "last_error", "nonce", "expires_at"),
    ]
    assert _codec.entry_id(text) == "00aa"
    assert b" " not in text


def test_number_that_is_none_is_not_written_again() -> None:
    """Broken: an entry of v0 with NaN in another order stops whoever meets it."""
    entry = json.loads(v0_entry("world:1", "message-1", {"x": math.nan}))
    shuffled = json.dumps({name: entry[name] for name in reversed(entry)}).encode()
    assert b"NaN" in shuffled
    assert math.isnan(_codec.decode(shuffled).message.payload["x"])
    assert _codec.fail(shuffled, "why") is None
    assert _codec.revive(shuffled, "00aa") is None
    spliced = _codec.revive(json.dumps(entry).encode(), "00aa")
    assert spliced is not None
    assert b"NaN" in spliced[1]
