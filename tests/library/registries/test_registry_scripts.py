"""The registry's scripts: held against a reference made of the pure decisions, and against their headers."""

# ruff: noqa: ANN401 - clients and answers are of any kind here

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import NoScriptError

from tests.library.conftest import START_US
from tests.library.support.builders import WORLD
from tests.library.support.servers import EmbeddedLane, Lane, RealLane
from tests.library.test_scripts import arguments, sections
from tta_agent_coordination import _keys
from tta_agent_coordination._redis import registry_scripts as scripts
from tta_agent_coordination._redis import script
from tta_agent_coordination._redis.registry_scripts import Beat, RegistryStatus
from tta_agent_coordination._redis.scripts import Lane as ScriptLane
from tta_agent_coordination.registries._liveness import GUARD_TTLS, dies_at, is_mass_lapse

KEYS = _keys.registry("ao", hash_tags=False)
LANE = ScriptLane(_keys.registry_lane(KEYS, "owner", 0), 7)
BEAT = Beat(name="a:1", epoch=5, status="idle", entry=b"{}", capabilities=b"{}")
CALLS: dict[str, script.Call[Any]] = {
    "registry_register": scripts.registry_register(
        LANE,
        KEYS,
        now_us="",
        name="a:1",
        ttl_us=1,
        draining=False,
        status="idle",
        entry=b"{}",
        capabilities=b"",
    ),
    "registry_beat": scripts.registry_beat(LANE, KEYS, now_us="", ttl_us=1, sweep=True, beats=[BEAT]),
    "registry_deregister": scripts.registry_deregister(LANE, KEYS, now_us="", name="a:1", epoch=None),
    "registry_drain": scripts.registry_drain(LANE, KEYS, now_us="", name="a:1", epoch=5, draining=True),
    "registry_list": scripts.registry_list(KEYS, cursor="0", now_us="", brief=True),
    "registry_get": scripts.registry_get(KEYS, name="a:1", now_us=""),
    "registry_prune": scripts.registry_prune(LANE, KEYS, names=["a:1"]),
    "registry_return": scripts.registry_return(
        LANE,
        _keys.inbox("ao", WORLD, hash_tags=False),
        now_us="",
        audit=True,
        max_deliveries=10,
        epoch=5,
        start=0,
    ),
}
NAMES = [name for name in script.script_names() if name.startswith("registry_")]


def test_every_script_has_a_typed_function_and_the_other_way_round() -> None:
    """Broken: a Lua file nobody calls, or a call without a contract."""
    functions = {
        name
        for name in scripts.__all__
        if name.startswith("registry_") and inspect.isfunction(getattr(scripts, name))
    }
    assert set(NAMES) == functions == set(CALLS)
    for name, call in CALLS.items():
        assert call.script.name == name


@pytest.mark.parametrize("name", NAMES)
def test_typed_function_passes_what_the_header_lists(name: str) -> None:
    """Broken: caller and script disagree about what stands where."""
    for section, passed in (("KEYS", CALLS[name].keys), ("ARGV", CALLS[name].args)):
        listed = arguments(name, section)
        assert [argument.number for argument in listed] == list(range(1, len(listed) + 1))
        assert all(not argument.rest for argument in listed[:-1])
        if listed[-1].rest:
            assert len(passed) >= len(listed)
        else:
            assert len(passed) == len(listed)


@pytest.mark.parametrize("name", NAMES)
def test_script_answers_only_what_its_header_returns(name: str) -> None:
    """Broken: a status word that the caller does not know raises far from its cause."""
    text = script.load(name).text
    said = set(re.findall(r"return \{'(\w+)'", text)) | set(re.findall(r"remember\('(\w+)'", text))
    said |= set(re.findall(r"local page = \{'(\w+)'", text))
    said |= set(re.findall(r"remember\(more and '(\w+)' or '(\w+)'", text)[0] if "more and" in text else ())
    promised = set(re.findall(r"[a-z]+", sections(name)["RETURNS"])) & set(RegistryStatus)
    assert said == promised


@pytest.mark.parametrize("name", ["registry_list", "registry_get"])
def test_reading_script_writes_nothing(name: str) -> None:
    """Broken: looking must not touch."""
    commands = set(re.findall(r"redis\.p?call\('(\w+)'", script.load(name).text))
    assert commands <= {"TIME", "GET", "HGET", "HSCAN"}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in {"registry_list", "registry_get"}])
def test_writing_script_asks_its_lane_first(name: str) -> None:
    """Broken: work done before the lane is asked is done twice when a command is sent again."""
    text = script.load(name).text
    first_call = re.search(r"redis\.p?call\([^)]*\)", text)
    assert first_call
    assert first_call[0] == "redis.call('GET', KEYS[1])"
    assert "remember(" in text


class Store:
    """The scripts on one server; synchronous, for hypothesis."""

    def __init__(self, lane: Lane) -> None:
        if isinstance(lane, RealLane):
            self.client: Any = redis.Redis(port=lane.port)
        else:
            assert isinstance(lane, EmbeddedLane)
            import fakeredis  # noqa: PLC0415 - not on every interpreter

            self.client = fakeredis.FakeRedis(server=lane.server)
        self.sequence = 0

    def lane(self) -> ScriptLane:
        """Return the only lane, one further."""
        self.sequence += 1
        return ScriptLane(LANE.key, self.sequence)

    def run[T](self, call: script.Call[T]) -> T:
        """Run a script."""
        try:
            answer = self.client.execute_command(*call.command())
        except NoScriptError:
            self.client.script_load(call.script.text)
            answer = self.client.execute_command(*call.command())
        return call.read(answer)

    def scores(self, key: bytes) -> dict[str, int]:
        """Return a sorted set."""
        return {name.decode(): int(score) for name, score in self.client.zrange(key, 0, -1, withscores=True)}


TTL_US = 10_000_000


@dataclass
class Reference:
    """What the scripts must do, by the pure decisions."""

    due: dict[str, int] = field(default_factory=dict[str, int])
    suspects: dict[str, int] = field(default_factory=dict[str, int])
    pause: int | None = None

    def register(self, name: str, now: int) -> list[str]:
        """Register."""
        self.suspects.pop(name, None)
        self.due[name] = now + TTL_US
        return [f"registered {name}"]

    def beat(self, names: list[str], now: int) -> list[str]:
        """Heartbeat and sweep."""
        told: list[str] = []
        for name in names:
            if name not in self.due and name not in self.suspects:
                told.append(f"gone {name}")
                continue
            if self.suspects.pop(name, None) is not None:
                told.append(f"recovered {name}")
            self.due[name] = now + TTL_US
        return told + self.sweep(now)

    def sweep(self, now: int) -> list[str]:
        """Take the lapsed away."""
        told: list[str] = []
        for due, name in sorted((due, name) for name, due in self.due.items() if due <= now):
            del self.due[name]
            self.suspects[name] = dies_at(due_us=due, ttl_us=TTL_US, now_us=now)
            told.append(f"suspect {name}")
        dead = sorted((at, name) for name, at in self.suspects.items() if at <= now)
        total = len(self.suspects) + len(self.due)
        if not is_mass_lapse(total=total, lapsed=len(self.suspects)):
            self.pause = None
        elif dead:
            if self.pause is None:
                self.pause = now + GUARD_TTLS * TTL_US
                told.append("expiry_paused ")
            if now < self.pause:
                return told
        for _, name in dead:
            del self.suspects[name]
            told.append(f"died {name}")
        return told


def told(lines: list[str]) -> list[str]:
    """Return kind and name of each line."""
    found: list[str] = []
    for line in lines:
        change = scripts.parse_change(line)
        found.append(" ".join(line.split("|")[:2]) if change is None else f"{change.kind} {change.name}")
    return found


AGENTS = [f"a:{number}" for number in range(24)]
STEPS = st.lists(
    st.tuples(
        st.sampled_from([0, 1, TTL_US // 4, TTL_US // 2, TTL_US, 3 * TTL_US]),
        st.sampled_from(["beat", "beat", "beat", "register", "leave"]),
        st.sampled_from([(0, 24), (0, 12), (12, 24), (0, 0), (0, 13), (20, 24), (5, 6)]),
    ),
    min_size=8,
    max_size=25,
)


@given(steps=STEPS, here=st.sampled_from([24, 19, 4]))
def test_scripts_decide_as_the_reference(sync_lane: Any, steps: list[Any], here: int) -> None:
    """Broken: who is suspect, who is dead and when deaths wait is another matter in Lua than in Python."""
    _, lane = sync_lane
    store, reference, now = Store(lane), Reference(), START_US
    store.client.flushall()
    epochs: dict[str, int] = {}

    def register(name: str) -> None:
        call = scripts.registry_register(
            store.lane(),
            KEYS,
            now_us=str(now),
            name=name,
            ttl_us=TTL_US,
            draining=False,
            status="idle",
            entry=b"{}",
            capabilities=b"",
        )
        epochs[name] = int(store.run(call).text.split("|")[0])
        reference.register(name, now)

    for name in AGENTS[:here]:
        register(name)
    assert len(set(epochs.values())) == here
    for advance, step, (first, last) in steps:
        now += advance
        names = AGENTS[first : min(last, here)]
        if step == "beat":
            beats = [
                Beat(name=name, epoch=epochs[name], status="idle", entry=b"{}", capabilities=b"")
                for name in names
            ]
            reply = store.run(
                scripts.registry_beat(
                    store.lane(), KEYS, now_us=str(now), ttl_us=TTL_US, sweep=True, beats=beats
                )
            )
            assert told(reply.lines) == reference.beat(names, now)
        elif step == "register":
            for name in names:
                register(name)
        else:
            for name in names:
                store.run(
                    scripts.registry_deregister(
                        store.lane(), KEYS, now_us=str(now), name=name, epoch=epochs[name]
                    )
                )
                reference.due.pop(name, None)
                reference.suspects.pop(name, None)
        assert store.scores(KEYS.due) == reference.due
        assert store.scores(KEYS.suspects) == reference.suspects
        pause = store.client.get(KEYS.pause)
        assert (None if pause is None else int(pause)) == reference.pause
        members = {name.decode() for name in store.client.hkeys(KEYS.members)}
        assert members == set(reference.due) | set(reference.suspects)
        index = {key.decode().removeprefix("ao:agents:") for key in store.client.smembers(KEYS.index)}
        assert index == members
    store.client.flushall()


def test_a_command_sent_again_answers_what_it_answered(sync_lane: Any) -> None:
    """Broken: a lost reply makes a second registration, and the first owner's epoch is old."""
    _, lane = sync_lane
    store = Store(lane)
    call = scripts.registry_register(
        store.lane(),
        KEYS,
        now_us=str(START_US),
        name="a:1",
        ttl_us=TTL_US,
        draining=False,
        status="idle",
        entry=b"{}",
        capabilities=b"",
    )
    assert store.run(call) == store.run(call)
    beat = Beat(name="a:1", epoch=1, status="idle", entry=b"{}", capabilities=b"")
    late = scripts.registry_beat(
        store.lane(), KEYS, now_us=str(START_US + 3 * TTL_US), ttl_us=TTL_US, sweep=True, beats=[beat]
    )
    first = store.run(late)
    assert told(first.lines) == ["superseded a:1", "suspect a:1"]
    assert store.run(late) == first
    assert store.run(call).status is RegistryStatus.STALE


@pytest.mark.parametrize("noise", [b"", b"1|2", b"x|2|3||idle|{}"])
def test_member_that_is_no_member_is_passed_over(sync_lane: Any, noise: bytes) -> None:
    """Broken: one bad record ends every list."""
    _, lane = sync_lane
    store = Store(lane)
    store.client.hset(KEYS.members, "a:1", noise)
    page = store.run(scripts.registry_list(KEYS, cursor="0", now_us=str(START_US), brief=False))
    assert page.members == ()
    looked = store.run(scripts.registry_get(KEYS, name="a:1", now_us=str(START_US)))
    assert (looked.member, looked.v0) == (None, None)
    store.client.zadd(KEYS.due, {"a:1": START_US - 1})
    for seconds in (0, 1, 2):
        store.run(
            scripts.registry_beat(
                store.lane(),
                KEYS,
                now_us=str(START_US + seconds * TTL_US),
                ttl_us=TTL_US,
                sweep=True,
                beats=[],
            )
        )
    assert store.client.zcard(KEYS.due) == 0
    store.client.delete(KEYS.members)
