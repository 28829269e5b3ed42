"""What the registry's typed functions pass to their scripts, by the names in the headers, and what they read.

What the scripts do with it is in `test_registry_scripts.py` and the tests of the registry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from tests.library.support.builders import WORLD
from tests.library.test_scripts import arguments
from tta_agent_coordination import _keys
from tta_agent_coordination._redis import registry_scripts as scripts
from tta_agent_coordination._redis.registry_scripts import (
    Beat,
    Change,
    Looked,
    Member,
    Page,
    RegistryReply,
    RegistryStatus,
    Returned,
    parse_change,
)
from tta_agent_coordination._redis.script import Call
from tta_agent_coordination._redis.scripts import Lane, Status

KEYS = _keys.registry("tta", hash_tags=False)
BOX = _keys.inbox("tta", WORLD, hash_tags=False)
LANE = Lane(b"lane", 7)
AGENT, CAPABILITY = _keys.registry_agent(KEYS, "a:1"), _keys.registry_capabilities(KEYS, "a:1")
OF_THE_REGISTRY: dict[str, object] = {
    "op": b"lane",
    "members": KEYS.members,
    "due": KEYS.due,
    "suspects": KEYS.suspects,
    "index": KEYS.index,
    "capabilities": KEYS.capabilities_index,
    "pause": KEYS.pause,
    "epochs": KEYS.clock,
    "agent": AGENT,
    "capability": CAPABILITY,
}
OF_THE_INBOX: dict[str, object] = {
    "op": b"lane",
    "reserved": BOX.reserved,
    "deadlines": BOX.deadlines,
    "inflight": BOX.inflight,
    "lapses": BOX.lapses,
    "clock": BOX.clock,
    "high": BOX.levels[0],
    "normal": BOX.levels[1],
    "low": BOX.levels[2],
    "queue": BOX.queue,
    "dlq": BOX.dlq,
    "dlq_info": BOX.dlq_info,
    "wake": BOX.wake,
}


def register(*, draining: bool) -> Call[RegistryReply]:
    """Return a registration."""
    return scripts.registry_register(
        LANE,
        KEYS,
        now_us="11",
        name="a:1",
        ttl_us=13,
        draining=draining,
        status="idle",
        entry=b"entry",
        capabilities=b"capabilities",
    )


REGISTERED: dict[str, object] = {
    "seq": 7,
    "now_us": "11",
    "name": "a:1",
    "ttl_us": 13,
    "status": "idle",
    "entry": b"entry",
    "advertised": b"capabilities",
    "channel": KEYS.channel,
}


def deregister(epoch: int | None) -> Call[RegistryReply]:
    """Return the end of a registration."""
    return scripts.registry_deregister(LANE, KEYS, now_us="11", name="a:1", epoch=epoch)


def drain(*, draining: bool) -> Call[RegistryReply]:
    """Return the beginning or the end of draining."""
    return scripts.registry_drain(LANE, KEYS, now_us="11", name="a:1", epoch=5, draining=draining)


BEATS = (
    Beat(name="a:1", epoch=5, status="idle", entry=b"one", capabilities=b"can"),
    Beat(name="b:2", epoch=6, status="busy", entry=b"two", capabilities=b""),
)


def beat(*, sweep: bool) -> Call[RegistryReply]:
    """Return two heartbeats."""
    return scripts.registry_beat(LANE, KEYS, now_us="11", ttl_us=13, sweep=sweep, beats=BEATS)


def give_back(*, audit: bool) -> Call[Returned]:
    """Return the end of a dead registration's leases."""
    return scripts.registry_return(LANE, BOX, now_us="11", audit=audit, max_deliveries=3, epoch=5, start=100)


@pytest.mark.parametrize(
    ("build", "keys", "values"),
    [
        (lambda: register(draining=True), OF_THE_REGISTRY, REGISTERED | {"flags": "d"}),
        (lambda: register(draining=False), OF_THE_REGISTRY, REGISTERED | {"flags": ""}),
        (
            lambda: deregister(5),
            OF_THE_REGISTRY,
            {"seq": 7, "now_us": "11", "name": "a:1", "epoch": 5, "channel": KEYS.channel},
        ),
        (
            lambda: deregister(None),
            OF_THE_REGISTRY,
            {"seq": 7, "now_us": "11", "name": "a:1", "epoch": "", "channel": KEYS.channel},
        ),
        (
            lambda: drain(draining=True),
            OF_THE_REGISTRY,
            {"seq": 7, "now_us": "11", "name": "a:1", "epoch": 5, "draining": 1, "channel": KEYS.channel},
        ),
        (
            lambda: drain(draining=False),
            OF_THE_REGISTRY,
            {"seq": 7, "now_us": "11", "name": "a:1", "epoch": 5, "draining": 0, "channel": KEYS.channel},
        ),
        (
            lambda: scripts.registry_list(KEYS, cursor="9", now_us="11", brief=True),
            OF_THE_REGISTRY,
            {"cursor": "9", "now_us": "11", "brief": 1},
        ),
        (
            lambda: scripts.registry_list(KEYS, cursor="9", now_us="11", brief=False),
            OF_THE_REGISTRY,
            {"cursor": "9", "now_us": "11", "brief": 0},
        ),
        (
            lambda: scripts.registry_get(KEYS, name="a:1", now_us="11"),
            OF_THE_REGISTRY,
            {"name": "a:1", "now_us": "11"},
        ),
        (
            lambda: give_back(audit=True),
            OF_THE_INBOX,
            {"seq": 7, "now_us": "11", "audit": 1, "max_deliveries": 3, "owner": 5, "from": 100},
        ),
        (
            lambda: give_back(audit=False),
            OF_THE_INBOX,
            {"seq": 7, "now_us": "11", "audit": 0, "max_deliveries": 3, "owner": 5, "from": 100},
        ),
    ],
)
def test_each_argument_is_what_the_header_calls_it(
    build: Callable[[], Call[object]], keys: Mapping[str, object], values: Mapping[str, object]
) -> None:
    """Broken: a script works on the wrong key, or takes one value for another."""
    call = build()
    assert call.keys == tuple(keys[each.name] for each in arguments(call.script.name, "KEYS"))
    assert call.args == tuple(values[each.name] for each in arguments(call.script.name, "ARGV"))


def rest(
    call: Call[object], section: str, passed: Sequence[Any], named: Mapping[str, object]
) -> Sequence[Any]:
    """Return what stands behind the arguments that have a name, which are as the header calls them."""
    *fixed, last = arguments(call.script.name, section)
    assert last.rest
    assert list(passed[: len(fixed)]) == [named[each.name] for each in fixed]
    return passed[len(fixed) :]


@pytest.mark.parametrize("sweep", [True, False])
def test_heartbeats_go_with_the_keys_of_their_agents(sweep: bool) -> None:
    """Broken: one agent's heartbeat keeps another one alive, or its capabilities expire."""
    call = beat(sweep=sweep)
    assert call.script.name == "registry_beat"
    other = _keys.registry_agent(KEYS, "b:2")
    assert rest(call, "KEYS", call.keys, OF_THE_REGISTRY) == (AGENT, CAPABILITY, other)
    values = {
        "seq": 7,
        "now_us": "11",
        "ttl_us": 13,
        "sweep": int(sweep),
        "channel": KEYS.channel,
        "prefix": "tta",
    }
    told = ("a:1", 5, "idle", b"one", b"can", "b:2", 6, "busy", b"two", b"")
    assert rest(call, "ARGV", call.args, values) == told


def test_names_that_are_missing_go_with_their_keys() -> None:
    """Broken: the wrong name is taken from v0's index."""
    call = scripts.registry_prune(LANE, KEYS, names=["a:1", "b:2"])
    assert call.script.name == "registry_prune"
    keys = (AGENT, _keys.registry_agent(KEYS, "b:2"))
    assert rest(call, "KEYS", call.keys, OF_THE_REGISTRY) == keys
    assert rest(call, "ARGV", call.args, {"seq": 7}) == ("a:1", "b:2")


@pytest.mark.parametrize("word", [b"ok", "ok"])
@pytest.mark.parametrize(
    "build",
    [
        lambda: register(draining=True),
        lambda: beat(sweep=True),
        lambda: deregister(5),
        lambda: drain(draining=True),
        lambda: scripts.registry_prune(LANE, KEYS, names=["a:1"]),
    ],
)
def test_reply_is_a_word_and_its_lines(build: Callable[[], Call[RegistryReply]], word: bytes | str) -> None:
    """Broken: a client that decodes its answers fails, or an empty reply has a line."""
    reply = build().read([word, b"one\ntwo \xff"])
    assert reply == RegistryReply(RegistryStatus.OK, "one\ntwo \\xff")
    assert reply.lines == ["one", "two \\xff"]
    assert drain(draining=True).read([b"lost", b""]).lines == []


STORED = b'5|60000000|1700000000000000|d|idle \xff|{"a":"b|c"}'
MEMBER = Member(
    epoch=5,
    ttl_us=60_000_000,
    seen_us=1_700_000_000_000_000,
    draining=True,
    status="idle \\xff",
    entry=b'{"a":"b|c"}',
)


@pytest.mark.parametrize(
    "odd", [b"", b"5|1|1||idle", b"x|1|1||idle|{}", b"5|x|1||idle|{}", b"5|1|x||idle|{}"]
)
def test_page_holds_what_is_stored_and_passes_over_what_is_not_ours(odd: bytes) -> None:
    """Broken: one value that somebody else wrote hides every agent, or an agent that drains does not."""
    read = scripts.registry_list(KEYS, cursor="0", now_us="", brief=False).read
    well = STORED.replace(b"|d|", b"||")
    page = read([b"ok", b"17", b"20", b"21", b"a:1", STORED, b"odd", odd, b"b:2", well])
    assert page.cursor == "17"
    assert (page.now_us, page.paused) == (20, True)
    assert [name for name, _ in page.members] == ["a:1", "b:2"]
    assert page.members[0][1] == MEMBER
    assert page.members[1][1].draining is False
    assert read([b"ok", b"0", b"20", b"20"]) == Page(cursor="0", now_us=20, paused=False, members=())


@pytest.mark.parametrize(
    ("pause", "paused"),
    [
        (b"21", True),
        (b"20", False),
        (b"", False),
        (b"-30", False),
        (b"text", False),
        (b"9" * 18, True),
        (b"9" * 19, False),
    ],
)
def test_deaths_are_held_back_until_the_pause_is_over(pause: bytes, paused: bool) -> None:
    """Broken: what somebody wrote under that key stops every look at the agents."""
    page = scripts.registry_list(KEYS, cursor="0", now_us="", brief=False).read([b"ok", b"0", b"20", pause])
    assert page.paused is paused


def test_what_is_known_of_one_agent() -> None:
    """Broken: an agent that is not there looks as if it were, or the other way round."""
    read = scripts.registry_get(KEYS, name="a:1", now_us="").read
    assert read([b"ok", b"20", b"21", STORED, b"v0"]) == Looked(
        now_us=20, paused=True, member=MEMBER, v0=b"v0"
    )
    assert read([b"ok", b"20", b"0", b"", b""]) == Looked(now_us=20, paused=False, member=None, v0=None)


@pytest.mark.parametrize(
    ("answer", "returned"),
    [
        ([b"ok", b"3|1|100"], Returned(Status.OK, requeued=3, dead=1, following=100)),
        ([b"ok", b"0|0|-1"], Returned(Status.OK, requeued=0, dead=0, following=-1)),
        ([b"stale", b""], Returned(Status.STALE, requeued=0, dead=0, following=-1)),
    ],
)
def test_what_went_back(answer: list[Any], returned: Returned) -> None:
    """Broken: leases behind the first page stay, or a call that was overtaken counts as done."""
    assert give_back(audit=True).read(answer) == returned


def test_change_is_what_its_line_tells() -> None:
    """Broken: an event is about another registration, or at another time."""
    assert parse_change("died|5|20|a|b:1|11|busy|dead") == Change(
        kind="died", epoch=5, at_us=20, name="a|b:1", seen_us=11, previous="busy", status="dead"
    )


@pytest.mark.parametrize("which", [1, 2, 4])
def test_number_that_no_server_writes_is_not_ours(which: int) -> None:
    """Broken: a number of a thousand digits takes a second to read, or a real one is refused."""
    parts = ["died", "5", "20", "a:1", "11", "busy", "dead"]
    parts[which] = "9" * 18
    assert parse_change("|".join(parts)) is not None
    parts[which] = "9" * 19
    assert parse_change("|".join(parts)) is None


@pytest.mark.parametrize(
    "line",
    ["", "hello", "died|5|20|a:1|11|busy", "died|x|20|a:1|11|a|b", "died|5|x|a:1|11|a|b", "d|5|20|a:1|x|a|b"],
)
def test_line_that_is_not_ours_is_none(line: str) -> None:
    """Broken: anything published on the channel ends the watching."""
    assert parse_change(line) is None
