"""The breaker's scripts: held against the reference model on every server, and against their own headers."""

# ruff: noqa: ANN401 - clients and results are of any kind here

from __future__ import annotations

import asyncio
import inspect
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import NoScriptError, ResponseError

from tests.library.conftest import START_US
from tests.library.resilience.reference import Reference
from tests.library.support.servers import EmbeddedLane, Lane, RealLane
from tests.library.test_scripts import arguments, sections
from tta_agent_coordination import _keys
from tta_agent_coordination._redis import breaker_scripts as scripts
from tta_agent_coordination._redis import script
from tta_agent_coordination._redis.breaker_scripts import BadReplyError, BreakerReply, BreakerStatus
from tta_agent_coordination.resilience import CircuitBreakerConfig, CircuitBreakerState
from tta_agent_coordination.resilience import _breaker_state as core

KEYS = _keys.breaker("ao", "workflow:x", hash_tags=False)
TTL: dict[str, Any] = {"ttl_ms": 86_400_000}
LEASE_S = 3
CALLS: dict[str, script.Call[Any]] = {
    "breaker_trip": scripts.breaker_trip(KEYS, generation=0, now_us="", age_us=0, failures=5, **TTL),
    "breaker_probe": scripts.breaker_probe(
        KEYS, probe="p", now_us="", open_us=1, half_open_us=2, lease_us=3, slots=3, budget=3, **TTL
    ),
    "breaker_result": scripts.breaker_result(
        KEYS, probe="p", now_us="", generation=1, verdict="ok", threshold=2, **TTL
    ),
    "breaker_renew": scripts.breaker_renew(KEYS, probe="p", now_us="", generation=1, lease_us=3),
    "breaker_reset": scripts.breaker_reset(KEYS, generation=0, now_us="", **TTL),
    "breaker_read": scripts.breaker_read(KEYS, counters=b"", now_us=""),
}


class Store:
    """The scripts on one server, driven like the reference model; synchronous, for hypothesis."""

    def __init__(self, lane: Lane, config: CircuitBreakerConfig) -> None:
        if isinstance(lane, RealLane):
            self.client: Any = redis.Redis(port=lane.port)
        else:
            assert isinstance(lane, EmbeddedLane)
            import fakeredis  # noqa: PLC0415 - not on every interpreter

            self.client = fakeredis.FakeRedis(server=lane.server)
        self.config = config
        self.now = 0
        self.generation = 0
        self.generations: dict[int, int] = {}
        self.client.delete(KEYS.shared, KEYS.probes, KEYS.mirror, KEYS.metrics)

    def run[T](self, call: script.Call[T]) -> T:
        try:
            answer = self.client.execute_command(*call.command())
        except NoScriptError:
            self.client.script_load(call.script.text)
            answer = self.client.execute_command(*call.command())
        return call.read(answer)

    @property
    def now_us(self) -> str:
        return str(START_US + self.now * 1_000_000)

    def tell(self, call: script.Call[BreakerReply]) -> BreakerReply:
        """Run a script twice, as a client does whose reply was lost, and return the first answer."""
        reply = self.run(call)
        again = self.run(call)
        assert again.record == reply.record, f"{call.script.name} sent again did something again"
        self.generation = reply.record.generation
        return reply

    def ask(self, call: int) -> str:
        reply = self.tell(
            scripts.breaker_probe(
                KEYS,
                probe=str(call),
                now_us=self.now_us,
                open_us=round(self.config.timeout_seconds * 1_000_000),
                half_open_us=round(self.config.recovery_timeout_seconds * 1_000_000),
                lease_us=LEASE_S * 1_000_000,
                slots=self.config.half_open_max_calls,
                budget=core.probe_budget(self.config),
                **TTL,
            )
        )
        if reply.status is BreakerStatus.GRANTED:
            self.generations[call] = reply.record.generation
        return {"granted": "pass", "closed": "pass", "open": "open", "busy": "busy"}[reply.status]

    def end(self, call: int, verdict: str) -> BreakerReply:
        return self.tell(
            scripts.breaker_result(
                KEYS,
                probe=str(call),
                now_us=self.now_us,
                generation=self.generations.pop(call),
                verdict=verdict,
                threshold=self.config.success_threshold,
                **TTL,
            )
        )

    def trip(self, *, generation: int | None = None, age_us: int = 0) -> BreakerReply:
        at = self.generation if generation is None else generation
        return self.tell(
            scripts.breaker_trip(KEYS, generation=at, now_us=self.now_us, age_us=age_us, failures=5, **TTL)
        )

    def reset(self) -> BreakerReply:
        return self.tell(scripts.breaker_reset(KEYS, generation=self.generation, now_us=self.now_us, **TTL))

    def read(self) -> scripts.Look:
        return self.run(scripts.breaker_read(KEYS, counters=b"", now_us=self.now_us))


CONFIGS = st.builds(
    CircuitBreakerConfig,
    timeout_seconds=st.sampled_from([0, 5]),
    recovery_timeout_seconds=st.sampled_from([10, 30]),
    half_open_max_calls=st.integers(1, 3),
    success_threshold=st.integers(1, 4),
)
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.just(0)),
        st.tuples(st.just("ask"), st.just(0)),
        st.tuples(st.sampled_from(["ok", "ok", "failed", "gone"]), st.integers(0, 5)),
        st.tuples(st.just("advance"), st.sampled_from([0, 1, 2, 3, 5, 10, 31])),
        st.tuples(st.sampled_from(["open", "reset"]), st.just(0)),
    ),
    min_size=12,
    max_size=40,
)


@given(config=CONFIGS, operations=OPERATIONS)
def test_scripts_equal_the_reference_model(
    sync_lane: tuple[asyncio.Runner, Lane], config: CircuitBreakerConfig, operations: list[tuple[str, int]]
) -> None:
    """Broken: processes that share a breaker let the wrong call through, or a resent command counts twice."""
    reference, store, calls = Reference(config, lease=LEASE_S), Store(sync_lane[1], config), 0
    for operation, number in [("open", 0), *operations]:
        match operation:
            case "ask":
                calls += 1
                assert store.ask(calls) == reference.ask(calls, store.now)
            case "advance":
                store.now += number
            case "open":
                store.trip()
                reference.open_by_hand(store.now)
            case "reset":
                store.reset()
                reference.reset(store.now)
            case verdict if store.generations:
                call = sorted(store.generations)[number % len(store.generations)]
                store.end(call, verdict)
                reference.end(call, verdict, store.now)
            case _:
                pass
        seen = store.read().record
        assert (seen.state, seen.successes) == (reference.state, reference.successes)
        assert seen.probes <= config.half_open_max_calls
        if seen.state is not CircuitBreakerState.CLOSED:
            assert seen.since_us - START_US == reference.since * 1_000_000
    store.client.close()


@pytest.fixture
def store(sync_lane: tuple[asyncio.Runner, Lane]) -> Iterator[Store]:
    """The scripts on an empty server."""
    made = Store(sync_lane[1], CircuitBreakerConfig())
    yield made
    made.client.close()


def test_stale_generation_changes_nothing(store: Store) -> None:
    """Broken: a process that has not heard of a change decides against it."""
    old = store.trip().record.generation
    store.reset()
    before = store.read()
    assert store.trip(generation=old).status is BreakerStatus.STALE
    assert store.trip(generation=0).status is BreakerStatus.STALE
    assert store.read() == before


@pytest.mark.parametrize("verdict", ["ok", "failed", "gone"])
def test_verdict_of_an_earlier_period_changes_nothing(store: Store, verdict: str) -> None:
    """Broken: a probe that outlived its half-open period decides about the next one."""
    store.config = CircuitBreakerConfig(timeout_seconds=0, half_open_max_calls=1, success_threshold=1)
    store.trip()
    assert store.ask(1) == "pass"
    store.trip()
    assert store.ask(2) == "pass", "a new period has all its slots"
    late, current = store.generations[1], store.generations[2]
    before = store.read()
    assert store.end(1, verdict).status is BreakerStatus.STALE
    assert store.read() == before
    renewals = [
        store.run(
            scripts.breaker_renew(KEYS, probe="2", now_us=store.now_us, generation=generation, lease_us=1)
        ).status
        for generation in (late, current)
    ]
    assert renewals == [BreakerStatus.LOST, BreakerStatus.HELD]


def test_generation_grows_past_a_lost_record(store: Store) -> None:
    """Broken: after a flush the store counts from one, and those that remember more ignore it for ever."""
    before = store.trip().record.generation
    store.client.delete(KEYS.shared)
    store.now += 1
    assert store.trip(generation=0).record.generation > before


def test_opening_can_be_dated_back(store: Store) -> None:
    """Broken: an opening that is told late starts its time anew for everybody."""
    assert store.trip(age_us=40_000_000).record.age == 40
    assert store.trip(age_us=50_000_000).record.age == 50
    assert store.trip(age_us=10_000_000).record.age == 50


def test_mirror_is_v0s_record(store: Store) -> None:
    """Broken: v0 processes and TTA's tools cannot read the state, or it stays for ever."""
    store.trip()
    stored: dict[str, Any] = json.loads(store.client.get("ao:cb:state:workflow:x"))
    generation = stored.pop("generation")
    assert generation == store.generation
    at = START_US / 1_000_000
    assert stored == {
        "state": "open",
        "failure_count": 5,
        "half_open_calls": 0,
        "half_open_successes": 0,
        "last_failure_time": at,
        "state_changed_at": at,
        "updated_at": at,
    }
    assert 86_300 < store.client.ttl("ao:cb:state:workflow:x") <= 86_400
    store.reset()
    assert json.loads(store.client.get("ao:cb:state:workflow:x"))["state"] == "closed"


def test_every_key_ends_by_itself(store: Store) -> None:
    """Broken: breakers with generated names fill the store."""
    store.config = CircuitBreakerConfig(timeout_seconds=0)
    store.trip()
    assert store.ask(1) == "pass"
    store.run(scripts.breaker_read(KEYS, counters=b"{}", now_us=""))
    assert 604_000 < store.client.ttl(KEYS.metrics) <= 604_800
    for key in store.client.keys("*"):
        assert store.client.ttl(key) > 0, key


@pytest.mark.parametrize("name", [name for name in CALLS if name != "breaker_read"])
@pytest.mark.parametrize("damaged", ["shared", "probes"])
def test_damaged_key_shows_before_anything_is_written(store: Store, name: str, damaged: str) -> None:
    """Broken: a script that fails in the middle leaves half a change behind."""
    store.trip()
    key = getattr(KEYS, damaged)
    store.client.set(key, "not what it should be")
    before = {kept: store.client.dump(kept) for kept in store.client.keys("*")}
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        store.run(CALLS[name])
    assert {kept: store.client.dump(kept) for kept in store.client.keys("*")} == before


def test_every_script_has_a_typed_function_and_the_other_way_round() -> None:
    """Broken: a Lua file nobody calls, or a call without a contract."""
    functions = {
        name
        for name in scripts.__all__
        if name.startswith("breaker_") and inspect.isfunction(getattr(scripts, name))
    }
    assert functions == set(CALLS) == {name for name in script.script_names() if name.startswith("breaker_")}
    assert all(call.script.name == name for name, call in CALLS.items())


@pytest.mark.parametrize("name", CALLS)
def test_typed_function_passes_what_the_header_lists(name: str) -> None:
    """Broken: caller and script disagree about what stands where."""
    keys, argv = arguments(name, "KEYS"), arguments(name, "ARGV")
    call = CALLS[name]
    assert [getattr(KEYS, key.name) for key in keys] == list(call.keys)
    assert [argument.number for argument in argv] == list(range(1, len(call.args) + 1))
    assert {argument.name: argument.number for argument in argv}["now_us"] == 2
    for argument, value in zip(argv, call.args, strict=True):
        if argument.kind == "integer" and argument.name != "now_us":
            assert isinstance(value, int), argument


@pytest.mark.parametrize("name", CALLS)
def test_script_answers_only_what_its_header_returns(name: str) -> None:
    """Broken: a status word that the caller does not know raises far from its cause."""
    text = script.load(name).text
    said = set(re.findall(r"answer\('(\w+)'\)", text)) | set(re.findall(r"return \{'(\w+)'", text))
    promised = {part.split()[0] for part in sections(name)["RETURNS"].split("|")}
    assert said == promised <= set(BreakerStatus)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"OK",
        [],
        [b"tripped"],
        [b"tripped", b"ajar", b"1", b"1", b"0", b"0", b"1"],
        [b"hurrah", b"open", b"1", b"1", b"0", b"0", b"1"],
        [b"tripped", b"open", b"one", b"1", b"0", b"0", b"1"],
        [b"tripped", b"open", 1, b"1", b"0", b"0", b"1"],
    ],
)
def test_nonsense_is_not_taken_for_an_answer(answer: Any) -> None:
    """Broken: a mock, a proxy or another program at that port decides about calls."""
    with pytest.raises(BadReplyError):
        CALLS["breaker_trip"].read(answer)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (7, "^expected a list from a script, got int$"),
        ([b"ok"], "^expected 7 elements from a script, got 1$"),
        (["ok", *[b"1"] * 6], "^expected bytes from a script, got str$"),
        ([b"tripped", b"open", b"x", *[b"1"] * 4], "^expected a number from a script, got 'x'$"),
        ([b"tripped", b"a\xffb", *[b"1"] * 5], r"^not a breaker's record: 'tripped', 'a\\\\xffb'$"),
    ],
)
def test_nonsense_is_named(answer: Any, says: str) -> None:
    """Broken: an operator does not learn what answered in the place of Redis."""
    with pytest.raises(BadReplyError, match=says):
        CALLS["breaker_trip"].read(answer)


def test_look_carries_what_is_stored() -> None:
    """Broken: what v0 wrote, or the counters of an earlier process, are never taken over."""
    look = CALLS["breaker_read"].read(
        [b"ok", b"open", b"7", b"5", b"1", b"2", b"9", b'{"state": "open"}', b"1500", b'{"total_calls": 3}']
    )
    assert (look.foreign, look.foreign_ttl_ms) == (b'{"state": "open"}', 1500)
    assert look.counters == b'{"total_calls": 3}'


def test_renewal_says_until_when_the_slot_is_held() -> None:
    """Broken: a slot that was lost has a deadline, or one that is held has another."""
    read = CALLS["breaker_renew"].read
    assert read([b"held", b"17"]) == scripts.Renewed(status=BreakerStatus.HELD, deadline_us=17)
    assert read([b"lost", b"17"]) == scripts.Renewed(status=BreakerStatus.LOST, deadline_us=0)


def test_nonsense_is_not_taken_for_a_look() -> None:
    """Broken: as above, where the answer is longer."""
    good: list[Any] = [b"ok", b"open", b"1", b"1", b"0", b"0", b"1", b"", b"-1", b""]
    assert CALLS["breaker_read"].read(good).record.generation == 1
    for bad in (good[:-1], [*good[:7], None, b"-1", b""], [*good[:7], b"", b"x", b""]):
        with pytest.raises(BadReplyError, match="expected"):
            CALLS["breaker_read"].read(bad)
    for bad in (None, [b"held", b"x"], [b"perhaps", b"1"]):
        with pytest.raises(BadReplyError, match=r"expected|not a renewal: b'perhaps'"):
            CALLS["breaker_renew"].read(bad)  # pyright: ignore[reportArgumentType] - that is the point


@pytest.mark.parametrize("message", [b"", b"open|1|2", b"ajar|1|2|3|x", b"open|a|2|3|x", b"open|1|2|3|\xff"])
def test_foreign_message_is_not_taken_for_a_change(message: bytes) -> None:
    """Broken: anything published on the channel ends the subscription."""
    assert scripts.parse_change(message) is None


def test_change_holds_the_longest_numbers_of_ours() -> None:
    """Broken: a generation at its limit is taken for somebody else's; one past it is nobody's."""
    changed = scripts.parse_change(f"open|{'9' * 18}|5|9|flow".encode())
    assert changed is not None
    assert changed[1].generation == 10**18 - 1
    assert scripts.parse_change(f"open|1{'0' * 18}|5|9|flow".encode()) is None


def test_change_carries_any_name() -> None:
    """Broken: a name with the separator in it is cut."""
    assert scripts.parse_change("open|7|5|9|work|flow:ü".encode()) == (
        "work|flow:ü",
        core.Record(
            state=CircuitBreakerState.OPEN, generation=7, since_us=5, successes=0, probes=0, now_us=9
        ),
    )


def test_opening_of_a_clock_ahead_is_dated_anew(sync_lane: tuple[asyncio.Runner, Lane]) -> None:
    """Broken: a clock that was ahead when the breaker opened keeps it open until it has caught up."""
    store = Store(sync_lane[1], CircuitBreakerConfig(timeout_seconds=5))
    store.now = 1_000
    store.trip()
    store.now = 10
    assert store.ask(1) == "open"
    assert store.read().record.age == 0
    store.now = 14
    assert store.ask(2) == "open"
    store.now = 15
    assert store.ask(3) == "pass"
    store.client.close()
