"""Key names: v0's, unambiguous, and from one place."""

from __future__ import annotations

import fnmatch
import itertools
import re
from enum import Enum
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

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
    ("given_prefix", "clean"), [("ao", "ao"), ("ao:", "ao"), ("a:b::", "a:b"), ("é", "é"), ("XX", "XX")]
)
def test_prefix_loses_its_trailing_colons(given_prefix: str, clean: str) -> None:
    """Broken: v0 strips them."""
    assert _keys.clean_prefix(given_prefix) == clean


@pytest.mark.parametrize("prefix", ["", ":", "::", " ", "a b", "a\n", "a{b}", "\x00"])
def test_prefix_that_makes_keys_ambiguous_is_refused(prefix: str) -> None:
    """Broken: a clear error at construction, not keys that nobody finds again."""
    with pytest.raises(ValueError, match="key_prefix"):
        _keys.clean_prefix(prefix)


@pytest.mark.parametrize("prefix", [None, 7, b"ao"])
def test_prefix_that_is_no_text_is_refused(prefix: object) -> None:
    """Broken: an AttributeError of our inside, or keys that begin with something else."""
    with pytest.raises(ValueError, match=re.escape(f"key_prefix {prefix!r} must not be empty")):
        _keys.clean_prefix(cast("str", prefix))


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
        b"ao:reserved_deadlines:{a:b}",
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


def test_agent_without_an_instance_has_the_inbox_of_v0() -> None:
    """Broken: two spellings of one agent have two inboxes; an enum's name is not its value."""

    class Plain(Enum):
        WORLD = "world_building"

    assert _keys.inbox_name(AgentId(type="world", instance=None)) == "world:default"
    assert _keys.inbox_name(AgentId.model_construct(type=Plain.WORLD, instance="1")) == "world_building:1"


def test_what_names_no_agent_has_no_inbox() -> None:
    """Broken: an AttributeError of our inside for a caller who passed a text."""
    name: Any = "world:1"
    with pytest.raises(ValueError, match=r"^an agent is named by an AgentId, not by a str$"):
        _keys.inbox_name(name)


def test_dedup_key_is_short_and_takes_any_text() -> None:
    """Broken: a key that holds a lone surrogate stops a send, or a key grows with what it stands for."""
    box = _keys.inbox("ao", WORLD, hash_tags=False)
    assert re.fullmatch(rb"ao:dedup:world:1:[0-9a-f]{32}", _keys.dedup(box, "order 7"))
    assert _keys.dedup(box, "\ud800") != _keys.dedup(box, "\ud801")


def test_scan_pattern_takes_a_prefix_literally() -> None:
    """Broken: a prefix with a star in it finds the keys of others."""
    assert _keys.scan_pattern("ao", "queue") == "ao:queue:*"
    pattern = _keys.scan_pattern("a*[x]?", "queue")
    assert fnmatch.fnmatchcase("a*[x]?:queue:world:1", re.sub(r"\\(.)", r"[\1]", pattern))
    assert not fnmatch.fnmatchcase("ab[x]?:queue:world:1", re.sub(r"\\(.)", r"[\1]", pattern))


def test_breaker_keys_are_v0s_and_ours() -> None:
    """Broken: a v0 process does not see that a breaker opened."""
    assert _keys.breaker("ao", "model:a", hash_tags=False) == _keys.Breaker(
        name="model:a",
        shared=b"ao:cb:shared:model:a",
        probes=b"ao:cb:probes:model:a",
        mirror=b"ao:cb:state:model:a",
        metrics=b"ao:cb:metrics:model:a",
        channel=b"ao:cb:changes",
    )
    assert _keys.breaker("ao", "model", hash_tags=True) == _keys.Breaker(
        name="model",
        shared=b"ao:cb:shared:{model}",
        probes=b"ao:cb:probes:{model}",
        mirror=b"ao:cb:state:{model}",
        metrics=b"ao:cb:metrics:{model}",
        channel=b"ao:cb:changes",
    )
    assert _keys.breaker("ao", "{a}", hash_tags=False).shared == b"ao:cb:shared:{a}"
    assert _keys.breaker("ao", "X", hash_tags=True).name == "X"
    assert (_keys.breaker_registry("ao"), _keys.breaker_cleanup("ao")) == (
        b"ao:cb:registry",
        b"ao:cb:cleanup:last",
    )


@pytest.mark.parametrize(
    ("name", "tagged"), [("", False), ("", True), ("a{", True), ("}a", True), (7, False)]
)
def test_breaker_name_that_would_split_a_slot_is_refused(name: object, tagged: bool) -> None:
    """Broken: the keys of one breaker lie in two slots of a cluster."""
    with pytest.raises(ValueError, match="circuit breaker's name"):
        _keys.breaker("ao", cast("str", name), hash_tags=tagged)


@pytest.mark.parametrize(
    ("key", "tagged", "name"),
    [
        (b"ao:cb:state:model:a", False, "model:a"),
        (b"ao:cb:state:{model:a}", True, "model:a"),
        (b"ao:cb:state:{ab", False, "{ab"),
        (b"ao:cb:state:{ab", True, None),
        (b"ao:cb:state:ab}", True, None),
        (b"ao:cb:states:ab", False, None),
        (b"xx:cb:state:{ab}", True, None),
        (b"ao:cb:state:\xff", False, None),
    ],
)
def test_scanned_breaker_key_gives_back_its_name(key: bytes, tagged: bool, name: str | None) -> None:
    """Broken: a clean-up takes a foreign key for a breaker, or misses one."""
    assert _keys.parse_breaker_name("ao", key, hash_tags=tagged) == name


@pytest.mark.parametrize(
    ("key", "place"),
    [
        (b"ao:queue:world:1", _keys.Place("inbox", "world:1")),
        (b"ao:sched:world:1:prio:5", _keys.Place("inbox", "world:1")),
        (b"ao:sched:input:12:prio:5", _keys.Place("inbox", "input:12")),
        (b"ao:sched:world:1", _keys.Place("inbox", None)),
        (b"ao:sched:world:1:prio:7", _keys.Place("inbox", None)),
        (b"ao:sched:\xff:1:prio:9", _keys.Place("inbox", None)),
        (b"ao:agents:world:1", _keys.Place("agents", "world:1")),
        (b"ao:agents:world", _keys.Place("agents", None)),
        (b"ao:agents:index", None),
        (b"ao:capabilities:world:1", _keys.Place("capabilities", "world:1")),
        (b"ao:capabilities:index", None),
        (b"ao:capabilities:XXindexXX", _keys.Place("capabilities", None)),
        (b"ao:moon:world:1", None),
        (b"ao:\xff:world:1", None),
        (b"ao:queue:", None),
        (b"ao:queue:{world:1}", None),
        (b"queue:world:1", None),
        (b"queue:", None),
        (b"xx:queue:world:1", None),
    ],
)
def test_key_of_v0_is_told_its_place(key: bytes, place: _keys.Place | None) -> None:
    """Broken: what v0 left of one agent is taken for another's, or for nobody's."""
    assert _keys.parse_place("ao", key) == place


@pytest.mark.parametrize(("tagged", "stem"), [(False, "ao"), (True, "{ao}")])
def test_registry_keys_are_v0s_and_ours(tagged: bool, stem: str) -> None:
    """Broken: v0 does not find our agents, or a cluster splits the registry over its slots."""
    keys = _keys.registry("ao", hash_tags=tagged)
    assert keys == _keys.Registry(
        stem=stem,
        index=f"{stem}:agents:index".encode(),
        capabilities_index=f"{stem}:capabilities:index".encode(),
        members=f"{stem}:registry:members".encode(),
        due=f"{stem}:registry:due".encode(),
        suspects=f"{stem}:registry:suspects".encode(),
        clock=f"{stem}:registry:clock".encode(),
        pause=f"{stem}:registry:pause".encode(),
        channel=f"{stem}:registry:events".encode(),
    )
    assert _keys.registry_agent(keys, "world:1") == f"{stem}:agents:world:1".encode()
    assert _keys.registry_capabilities(keys, "world:1") == f"{stem}:capabilities:world:1".encode()
    assert _keys.registry_lane(keys, "owner", 3) == f"{stem}:registry:op:owner:3".encode()


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (b"ao:agents:world:1", "world:1"),
        (b"ao:agents:index", None),
        (b"ao:agents:a:b:c", None),
        (b"ao:agent:world:1", None),
        (b"ao:agents:\xff:1", None),
    ],
)
def test_member_of_the_index_gives_back_its_agent(key: bytes, name: str | None) -> None:
    """Broken: a foreign member of v0's index stops the listing of agents."""
    assert _keys.parse_agent_name(_keys.registry("ao", hash_tags=False), key) == name


@pytest.mark.parametrize(
    ("key", "place"),
    [
        *(
            (f"ao:{family}:world:1", ("inbox", "world:1"))
            for family in ("queue", "reserved", "dlq", "inflight")
        ),
        *(
            (f"ao:{family}:world:1", ("inbox", "world:1"))
            for family in ("reserved_deadlines", "lapses", "dlq_info")
        ),
        *((f"ao:sched:world:1:prio:{level}", ("inbox", "world:1")) for level in (9, 5, 1)),
        ("ao:agents:world:1", ("agents", "world:1")),
        ("ao:capabilities:world:1", ("capabilities", "world:1")),
        ("ao:queue:a b:c", ("inbox", "a b:c")),
        *(
            (key, ("inbox", None))
            for key in ("ao:queue:only", "ao:queue:a:b:c", "ao:queue::1", "ao:queue:a:")
        ),
        *((key, ("inbox", None)) for key in ("ao:sched:a:b", "ao:sched:a:b:prio:7", "ao:queue:a\n:b")),
        ("ao:agents:a", ("agents", None)),
        *((key, None) for key in ("ao:agents:index", "ao:capabilities:index", "ao:subs:a:b", "ao:clock:a:b")),
        *(
            (key, None)
            for key in ("ao:queue:{a:b}", "ao:inboxes", "ao:queue:", "oa:queue:a:b", "ao2:queue:a:b")
        ),
    ],
)
def test_place_of_a_scanned_key(key: str, place: tuple[str, str | None] | None) -> None:
    """Broken: the doctor mends a key that is not v0's, or passes over one that is."""
    found = _keys.parse_place("ao", key.encode())
    assert (found and (found.family, found.name)) == place


def test_place_of_a_key_that_is_no_text() -> None:
    """Broken: one key of another program ends the doctor's run."""
    for key in (b"ao:queue:\xff:1", b"ao:sched:\xff:1:prio:9"):
        assert _keys.parse_place("ao", key) == _keys.Place("inbox", None)
    assert _keys.parse_place("ao", b"ao:\xff:a:b") is None
