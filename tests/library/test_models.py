"""The models: what an agent and a message are."""

from __future__ import annotations

import enum
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.library.support.builders import INPUT, WORLD, make_message
from tta_agent_coordination import AgentId, AgentMessage, MessagePriority, MessageType, RoutingKey


class AgentType(str, enum.Enum):  # noqa: UP042 - TTA's own flavour, whose f-string is the member's name
    """TTA's enum."""

    WBA = "world_builder"


class TtaAgentId(AgentId, frozen=True):
    """TTA's subclass that narrows the type to its enum."""

    type: AgentType


def test_agent_id_is_equal_by_value() -> None:
    """Broken: an id read back from Redis finds the registration made with an equal one."""
    assert AgentId(type="a", instance="b") == AgentId(type="a", instance="b")
    assert AgentId(type="a", instance="b") != AgentId(type="a", instance="c")
    assert AgentId(type="a") != "a"
    assert len({AgentId(type="a"), AgentId(type="a"), AgentId(type="b")}) == 2
    hashes = {hash(AgentId(type="a", instance=str(number))) for number in range(20)}
    assert len(hashes) > 1, "a thousand ids in one set stay quick to find"


def test_agent_id_without_instance_is_not_the_default_instance() -> None:
    """Broken: the two share an inbox and still compare unequal, as in v0."""
    assert AgentId(type="a") != AgentId(type="a", instance="default")
    assert str(AgentId(type="a")) == str(AgentId(type="a", instance="default")) == "a:default"


def test_agent_id_is_frozen() -> None:
    """Broken: a hash that changes loses its place in every set."""
    agent = AgentId(type="a")
    with pytest.raises(ValidationError):
        agent.type = "b"  # pyright: ignore[reportAttributeAccessIssue] - that is the point


def test_agent_id_normalises_an_enum_to_its_value() -> None:
    """Broken: keys and JSON would hold the member's name, not v0's value."""
    agent = AgentId(type=AgentType.WBA)
    assert type(agent.type) is str
    assert agent == AgentId(type="world_builder")
    assert json.loads(agent.model_dump_json()) == {"type": "world_builder", "instance": None}


def test_agent_id_equals_a_subclass_of_the_same_value() -> None:
    """Broken: TTA keeps a subclass that narrows `type`; lookups with either find the other."""
    ours, ttas = AgentId(type="world_builder"), TtaAgentId(type=AgentType.WBA)
    assert ours == ttas
    assert ttas == ours
    assert {ours: 1}[ttas] == 1
    assert str(ttas) == "world_builder:default"


@pytest.mark.parametrize("char", ":{}*?[]\\ \t\n\x00\x7f\u2028")
def test_agent_id_refuses_what_would_end_or_match_a_key(char: str) -> None:
    """Broken: two agents share a key, or one agent's pattern finds another's."""
    for text in (char, f"a{char}b"):
        with pytest.raises(ValidationError):
            AgentId(type=text)
        with pytest.raises(ValidationError):
            AgentId(type="a", instance=text)


@given(st.text(st.characters() | st.sampled_from(":{}*?[]\\ \n\x00"), min_size=1, max_size=12))
def test_agent_id_accepts_exactly_what_keeps_keys_apart(text: str) -> None:
    """Broken: a text that is accepted must not be able to end, split or match a key."""
    try:
        agent = AgentId(type=text, instance=text)
    except ValidationError:
        return
    assert agent.type == text
    assert not set(text) & set(":{}*?[]\\")
    assert not any(char.isspace() or (not char.isprintable() and char.isascii()) for char in text)
    text.encode()


@pytest.mark.parametrize("value", [None, 3, b"bytes", ["a"], {"a": 1}])
def test_agent_id_refuses_a_type_that_is_no_text(value: object) -> None:
    """Broken: anything else would be formatted into a key."""
    with pytest.raises(ValidationError):
        AgentId.model_validate({"type": value})


def test_message_has_v0_defaults() -> None:
    """Broken: v0's callers leave these out."""
    message = AgentMessage(message_id="123456", sender=INPUT, recipient=WORLD, message_type=MessageType.EVENT)
    assert (message.payload, message.priority, message.routing, message.timestamp) == (
        {},
        MessagePriority.NORMAL,
        RoutingKey(topic=None, tags=[]),
        None,
    )


def test_message_id_has_at_least_six_characters() -> None:
    """Broken: v0 refuses shorter ids."""
    with pytest.raises(ValidationError, match="message_id"):
        make_message("12345")


def test_message_is_mutable() -> None:
    """Broken: send fills in the timestamp on the caller's object."""
    message = make_message()
    message.timestamp = "2020-01-01T00:00:00Z"
    assert message.timestamp == "2020-01-01T00:00:00Z"


def test_enums_have_v0_values() -> None:
    """Broken: the values stand in stored entries and key names."""
    assert {level.name: level.value for level in MessagePriority} == {"LOW": 1, "NORMAL": 5, "HIGH": 9}
    assert [str(kind.value) for kind in MessageType] == ["request", "response", "event"]
    assert json.dumps(MessagePriority.HIGH) == "9"


def test_message_reads_v0_json_with_unknown_fields() -> None:
    """Broken: another version's extra fields must not make a message unreadable."""
    data = make_message().model_dump(mode="json") | {"unknown": 1}
    assert AgentMessage.model_validate(data) == make_message()
