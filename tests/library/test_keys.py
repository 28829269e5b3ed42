"""Key names: v0's, unambiguous, and from one place."""

from __future__ import annotations

import itertools
import re
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.library.support.builders import WORLD
from tta_agent_coordination import AgentId, _keys

PARTS = st.from_regex(r"[A-Za-z0-9_.\-~@/ä]{1,12}", fullmatch=True)


def all_keys(box: _keys.Inbox) -> list[bytes]:
    """Return every key of an inbox."""
    return [
        box.queue,
        *box.levels,
        box.reserved,
        box.deadlines,
        box.dlq,
        box.subs,
        box.inflight,
        box.lapses,
        box.clock,
        box.dlq_info,
        _keys.lane(box, "owner", 3),
        _keys.dedup(box, "order 7"),
    ]


def test_inbox_keys_are_v0s() -> None:
    """Broken: TTA's own tools spell these names."""
    box = _keys.inbox("ao", WORLD, hash_tags=False)
    assert box.queue == b"ao:queue:world:1"
    assert box.levels == (b"ao:sched:world:1:prio:9", b"ao:sched:world:1:prio:5", b"ao:sched:world:1:prio:1")
    assert (box.reserved, box.deadlines) == (b"ao:reserved:world:1", b"ao:reserved_deadlines:world:1")
    assert (box.dlq, box.subs) == (b"ao:dlq:world:1", b"ao:subs:world:1")


def test_hash_tagged_keys_share_a_slot() -> None:
    """Broken: the keys of one script must lie in one cluster slot, and agents spread over the slots."""
    box = _keys.inbox("ao", WORLD, hash_tags=True)
    assert {re.findall(rb"\{([^}]*)\}", key)[0] for key in all_keys(box)} == {b"world:1"}


@pytest.mark.parametrize(
    ("given_prefix", "clean"), [("ao", "ao"), ("ao:", "ao"), ("a:b::", "a:b"), ("é", "é")]
)
def test_prefix_loses_its_trailing_colons(given_prefix: str, clean: str) -> None:
    """Broken: v0 strips them."""
    assert _keys.clean_prefix(given_prefix) == clean


@pytest.mark.parametrize("prefix", ["", ":", "::", " ", "a b", "a\n", "a{b}", "\x00"])
def test_prefix_that_makes_keys_ambiguous_is_refused(prefix: str) -> None:
    """Broken: a clear error at construction, not keys that nobody finds again."""
    with pytest.raises(ValueError, match="key_prefix"):
        _keys.clean_prefix(prefix)


@given(st.tuples(PARTS, PARTS), st.tuples(PARTS, PARTS))
def test_keys_of_two_agents_never_meet(first: tuple[str, str], second: tuple[str, str]) -> None:
    """Broken: one agent's key is another agent's key of another family."""
    if first == second:
        return
    keys = [
        set(all_keys(_keys.inbox("ao", AgentId(type=kind, instance=instance), hash_tags=False)))
        for kind, instance in (first, second)
    ]
    assert not keys[0] & keys[1]


@given(PARTS, PARTS)
def test_keys_of_one_agent_are_all_different(kind: str, instance: str) -> None:
    """Broken: two structures under one key."""
    keys = all_keys(_keys.inbox("ao", AgentId(type=kind, instance=instance), hash_tags=False))
    assert len(set(keys)) == len(keys)


@given(PARTS, PARTS, st.sampled_from(["ao", "a:b", "x*y", "a[b]"]))
def test_scanned_key_gives_back_its_inbox(kind: str, instance: str, prefix: str) -> None:
    """Broken: recovery over all agents parses the names it finds."""
    box = _keys.inbox(prefix, AgentId(type=kind, instance=instance), hash_tags=False)
    name = _keys.parse_inbox_name(prefix, "reserved_deadlines", box.deadlines)
    assert name == f"{kind}:{instance}" == box.name


@pytest.mark.parametrize(
    "key",
    [
        b"ao:reserved:a:b",
        b"ao:reserved_deadlines:a",
        b"ao:reserved_deadlines:a:b:c",
        b"x",
        b"ao:reserved_deadlines:\xff:b",
    ],
)
def test_scanned_key_of_somebody_else_is_no_inbox(key: bytes) -> None:
    """Broken: a foreign key under our prefix stops recovery."""
    assert _keys.parse_inbox_name("ao", "reserved_deadlines", key) is None


@given(st.lists(st.text(min_size=1), min_size=2, max_size=4, unique=True))
def test_dedup_keys_of_different_ids_differ(ids: list[str]) -> None:
    """Broken: two idempotency keys that share a Redis key lose a message."""
    box = _keys.inbox("ao", WORLD, hash_tags=False)
    keys = [_keys.dedup(box, dedup_id) for dedup_id in ids]
    assert all(first != second for first, second in itertools.combinations(keys, 2))
    assert all(re.fullmatch(rb"[\x21-\x7e]+", key) for key in keys)


def test_no_other_module_spells_a_key() -> None:
    """Broken: v0 built keys in six places; here they come from one."""
    root = Path(str(files("tta_agent_coordination")))
    families = "queue|sched|reserved|reserved_deadlines|dlq|subs|inflight|lapses|clock|dlq_info|dedup|inboxes"
    for path in root.rglob("*.py"):
        if path.name == "_keys.py" or "adopt" in path.parts:
            continue
        assert not re.search(rf"[\"'}}]:(?:{families}):", path.read_text("utf-8")), path.name


@pytest.mark.parametrize("name", ["a:b", "a b", "{a}", "a*"])
def test_agent_names_that_would_split_a_key_do_not_exist(name: str) -> None:
    """Broken: the keys rely on AgentId refusing these."""
    with pytest.raises(ValidationError):
        AgentId(type="a", instance=name)
