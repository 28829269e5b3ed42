"""An agent's entry by itself: v0's JSON, the one word for its status, and what others wrote."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from tests.library.registries.agents import FakeAgent
from tta_agent_coordination import AgentId
from tta_agent_coordination.registries._entries import (
    agent_id_of,
    dump,
    make_entry,
    read_entry,
    status_word,
    stored_id,
)


@pytest.mark.parametrize(
    ("name", "kind", "instance"),
    [("world:1", "world", "1"), ("world:default", "world", None)],
)
def test_name_is_an_agents_id(name: str, kind: str, instance: str | None) -> None:
    """Broken: an agent without an instance is two of them."""
    found = agent_id_of(name)
    assert (found.type, found.instance) == (kind, instance)
    assert isinstance(found, AgentId)


def test_name_without_a_colon_is_refused() -> None:
    """Broken: a mistyped name makes an agent that nobody has."""
    with pytest.raises(ValueError, match=r"^an agent is named type:instance, not 'world'$"):
        agent_id_of("world")


@pytest.mark.parametrize(
    ("agent_id", "named"),
    [
        ({"type": "world", "instance": "1"}, "world:1"),
        ({"type": "world", "instance": None}, "world:default"),
        ({"type": "world"}, "world:default"),
        ({"type": "old", "instance": "player 1", "more": 1}, "old:player 1"),
    ],
)
def test_stored_name_is_taken_as_it_stands(agent_id: dict[str, Any], named: str) -> None:
    """Broken: an agent of v0 whose name we would refuse cannot be found, or hides the others."""
    found = stored_id({"agent_id": agent_id})
    assert isinstance(found, AgentId)
    assert str(found) == named


@pytest.mark.parametrize(
    "agent_id", [{}, {"instance": "1"}, {"type": 7}, {"type": "a", "instance": 7}, {"type": None}]
)
def test_entry_that_names_nobody_has_no_id(agent_id: dict[str, Any]) -> None:
    """Broken: one bad entry ends a list of agents."""
    assert stored_id({"agent_id": agent_id}) is None


def test_json_has_v0s_separators_and_no_nan() -> None:
    """Broken: a reader that compares texts sees a change, or one that is strict cannot read."""
    assert dump({"a": [1, "ü"]}) == b'{"a": [1, "\\u00fc"]}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        dump({"a": math.nan})


def test_entry_leaves_out_what_there_is_not() -> None:
    """Broken: v0 restores an empty state over a full one, or finds keys it does not know."""
    agent = FakeAgent(name="the world")
    head = {
        "name": "the world",
        "agent_id": {"type": "world", "instance": "1"},
        "status": {"running": True},
        "last_heartbeat": 12.5,
    }
    bare = make_entry(agent, status={"running": True}, last_heartbeat=12.5, state={}, capabilities=None)
    assert list(json.loads(bare).items()) == list(head.items())
    full = make_entry(
        agent, status={"running": True}, last_heartbeat=12.5, state={"a": 1}, capabilities={"b": 2}
    )
    assert json.loads(full) == head | {"state": {"a": 1}, "capabilities": {"b": 2}}


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"7", b"\xff", b"{}", b'{"agent_id": "world:1"}', b"[" * 100_000]
)
def test_text_that_is_no_entry_is_none(text: bytes) -> None:
    """Broken: one bad text ends a list of agents."""
    assert read_entry(text) is None


def test_entry_that_others_wrote_is_read_whole() -> None:
    """Broken: what we do not know of is dropped."""
    entry = {"agent_id": {"type": "old", "instance": None}, "more": [1]}
    assert read_entry(json.dumps(entry).encode()) == entry


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ({}, "running"),
        ({"running": True, "status": "idle"}, "idle"),
        ({"running": False, "status": "idle"}, "stopped"),
        ({"running": False, "degraded": True}, "degraded"),
        ({"degraded": False, "status": "busy"}, "busy"),
        ({"status": "a|b\nc\rd"}, "a/b c d"),
        ({"status": 7}, "7"),
        ({"status": "x" * 65}, "x" * 64),
        ({"status": "\ud800ab"}, "?ab"),
    ],
)
def test_status_is_one_word(status: dict[str, Any], word: str) -> None:
    """Broken: a status breaks the line it stands in, or a stopped agent looks busy."""
    assert status_word(status) == word
