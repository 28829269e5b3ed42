"""One breaker's traffic with a store that answers what the test says: what it is asked, when, and by whom."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import pytest

from tests.library.support.virtual import VirtualLoop, in_virtual_time
from tests.library.test_scripts import arguments
from tta_agent_coordination import _keys
from tta_agent_coordination._redis.breaker_scripts import BreakerReply, BreakerStatus, Look, Renewed
from tta_agent_coordination._redis.client import Client
from tta_agent_coordination._redis.script import Call
from tta_agent_coordination.resilience import CircuitBreakerConfig, _breaker_push, get_circuit_breaker_metrics
from tta_agent_coordination.resilience import _breaker_state as core
from tta_agent_coordination.resilience._breaker_link import StoreLink
from tta_agent_coordination.resilience._breaker_shell import (
    ATTEMPTS,
    LOOK_INTERVAL_S,
    Admission,
    BreakerShell,
    Verdict,
)
from tta_agent_coordination.resilience._breaker_state import CircuitBreakerState, Record, Ticket, View
from tta_agent_coordination.resilience._v0_records import CircuitBreakerMetrics, write_counters
from tta_agent_coordination.testing import ManualClock

KEYS = _keys.breaker("ao", "svc", hash_tags=False)
CLOSED, OPEN, HALF_OPEN = CircuitBreakerState
START = 1_000.0
"""Where the clock of these tests starts, seconds."""


class Store:
    """Stands in the place of a link: keeps the calls, and gives the answers in order; then None."""

    def __init__(self, *answers: object) -> None:
        self.up: bool | None = True
        self.client: object = object()
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.times: list[float] = []
        self.answers = list(answers)
        self.gate: asyncio.Event | None = None

    def now_us(self) -> str:
        """Return what a script gets as its time."""
        return "7"

    async def run(self, call: Call[Any]) -> object:
        """Answer a call, after the gate is open where there is one."""
        names = [each.name for each in arguments(call.script.name, "ARGV")]
        self.calls.append((call.script.name, dict(zip(names, call.args, strict=True))))
        self.times.append(asyncio.get_running_loop().time())
        answer = self.answers.pop(0) if self.answers else None
        if self.gate is not None:
            await self.gate.wait()
        return answer

    @property
    def asked(self) -> list[str]:
        """The scripts that were called."""
        return [name for name, _ in self.calls]


@pytest.fixture
def clock() -> ManualClock:
    """The time of the breaker."""
    return ManualClock(int(START * 1_000_000))


@pytest.fixture(autouse=True)
def fresh_metrics() -> Iterator[None]:
    """The collector is the process's; each test starts at zero."""
    get_circuit_breaker_metrics().reset()
    yield
    get_circuit_breaker_metrics().reset()


def shell_on(clock: ManualClock, store: Store | None, **config: Any) -> BreakerShell:  # noqa: ANN401 - any option
    """Return a shell whose link is the store of a test, or none."""
    settings: dict[str, Any] = {"failure_threshold": 1, "timeout_seconds": 60, **config}
    shell = BreakerShell(cast("Client", object()), KEYS, CircuitBreakerConfig(**settings), clock)
    shell.link = cast("StoreLink | None", store)
    return shell


def record(
    state: CircuitBreakerState = OPEN, generation: int = 1, age: float = 0.0, at: int = 10**9
) -> Record:
    """Return what a store holds."""
    since = at - round(age * 1_000_000)
    return Record(state=state, generation=generation, since_us=since, successes=0, probes=0, now_us=at)


def reply(status: BreakerStatus, state: CircuitBreakerState = OPEN, **held: Any) -> BreakerReply:  # noqa: ANN401 - as record
    """Return an answer of a script."""
    return BreakerReply(status=status, record=record(state, **held))


def look(held: Record, *, foreign: bytes = b"", counters: bytes = b"") -> Look:
    """Return the answer of a look."""
    return Look(record=held, foreign=foreign, foreign_ttl_ms=-1, counters=counters)


def due(shell: BreakerShell) -> None:
    """Let the breaker be open since long ago, and the store know it."""
    shell.view = View(state=OPEN, since=0.0, epoch=3, generation=1, confirmed=True, stamp_us=1)


GRANTED = reply(BreakerStatus.GRANTED, HALF_OPEN, generation=2)


def opened_by(caplog: pytest.LogCaptureFixture) -> list[str | None]:
    """Return whose calls changed the state."""
    return [vars(each)["correlation_id"] for each in caplog.records if "to_state" in vars(each)]


# What is told, and to whom.


async def test_opening_is_told_once_and_nothing_else_is(clock: ManualClock) -> None:
    """Broken: a change that is nobody's business is told to the store, or an opening is not."""
    told = reply(BreakerStatus.TRIPPED)
    store = Store(told)
    shell = shell_on(clock, store, timeout_seconds=40_000, recovery_timeout_seconds=20_000)
    shell.apply(core.Failed(ticket=Ticket(epoch=0)))
    assert store.calls == [
        (
            "breaker_trip",
            {
                "generation": 0,
                "now_us": "7",
                "age_us": 0,
                "failures": 1,
                "name": "svc",
                "channel": KEYS.channel,
                "ttl_ms": 120_000_000,
            },
        )
    ]
    await shell.told()
    assert (shell.view.generation, shell.view.confirmed) == (1, True)
    assert shell.look_due == START + LOOK_INTERVAL_S


@pytest.mark.parametrize("link", ["down", "none"])
async def test_opening_is_told_to_nobody_where_nobody_answers(clock: ManualClock, link: str) -> None:
    """Broken: each failure of a local breaker waits for a store that is known to be away."""
    store = Store()
    store.up = False
    shell = shell_on(clock, store if link == "down" else None)
    shell.apply(core.Failed(ticket=Ticket(epoch=0)))
    await shell.told()
    assert (store.calls, shell.view.state) == ([], OPEN)


async def test_changes_are_counted_and_timed(clock: ManualClock) -> None:
    """Broken: the time in a state is attributed to nobody, is never less than a second, or is an age."""
    shell = shell_on(clock, None)
    clock.advance(0.25)
    await shell.open_by_hand()
    clock.advance(2.5)
    await shell.reset()
    assert shell.metrics.state_changes == 2
    durations = get_circuit_breaker_metrics().state_durations
    assert durations == pytest.approx({"svc_closed": 0.25, "svc_open": 2.5})


async def test_change_is_logged_with_the_call_that_made_it(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: nobody finds the request after which a breaker opened, or was half-open."""
    caplog.set_level(logging.INFO)
    shell = shell_on(clock, None)
    await shell.conclude(Admission(ticket=Ticket(epoch=0)), Verdict.FAILED, "id-1")
    clock.advance(60)
    admitted = await shell.admit("id-2")
    assert isinstance(admitted, Admission)
    store = Store()
    shell.link = cast("StoreLink", store)
    await shell.conclude(replace(admitted, probe="p", generation=1), Verdict.FAILED, "id-3")
    assert shell.view.state is OPEN
    assert opened_by(caplog) == ["id-1", "id-2", "id-3"]
    assert store.asked[0] == "breaker_result"


# Probes.


async def test_probe_is_asked_for_in_the_same_turn(clock: ManualClock) -> None:
    """Broken: a caller who gives up at once was never heard of, and his slot cannot be given back."""
    store = Store(GRANTED)
    store.gate = asyncio.Event()
    shell = shell_on(clock, store, half_open_max_calls=2, success_threshold=3)
    due(shell)
    asking = asyncio.create_task(shell.admit(None))
    await asyncio.sleep(0)
    [(name, told)] = store.calls
    assert name == "breaker_probe"
    assert told == {
        "probe": told["probe"],
        "now_us": "7",
        "open_us": 60_000_000,
        "half_open_us": 300_000_000,
        "lease_us": 10_000_000,
        "slots": 2,
        "budget": 3,
        "name": "svc",
        "channel": KEYS.channel,
        "ttl_ms": 86_400_000,
    }
    store.gate.set()
    assert await asking == Admission(ticket=Ticket(epoch=shell.view.epoch), probe=told["probe"], generation=2)


@pytest.mark.parametrize(
    ("answer", "given_back"),
    [(GRANTED, True), (reply(BreakerStatus.BUSY, HALF_OPEN, generation=2), False), (None, False)],
)
async def test_slot_of_a_caller_who_gave_up_is_given_back(
    clock: ManualClock, answer: object, given_back: bool
) -> None:
    """Broken: a grant that nobody waits for keeps its slot until its lease ends."""
    store = Store(answer)
    store.gate = asyncio.Event()
    shell = shell_on(clock, store)
    due(shell)
    asking = asyncio.create_task(shell.admit(None))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    store.gate.set()
    while shell._telling:
        await shell.told()
    assert store.asked == ["breaker_probe", "breaker_result"][: 1 + given_back]
    if given_back:
        told = {name: store.calls[1][1][name] for name in ("probe", "generation", "verdict")}
        assert told == {"probe": store.calls[0][1]["probe"], "generation": 2, "verdict": Verdict.GONE}


@pytest.mark.parametrize(
    ("answer", "retry_after"),
    [
        (reply(BreakerStatus.BUSY, HALF_OPEN, generation=2, age=1.0), None),
        (reply(BreakerStatus.OPEN, OPEN, age=59.5), 0.5),
        (reply(BreakerStatus.OPEN, OPEN, age=61.0), 0.0),
    ],
)
async def test_refusal_says_when_to_come_back_where_the_store_knows(
    clock: ManualClock, answer: BreakerReply, retry_after: float | None
) -> None:
    """Broken: a caller waits longer than he has to, or for a time that nobody promised."""
    shell = shell_on(clock, Store(answer))
    due(shell)
    refused = await shell.admit(None)
    assert isinstance(refused, core.Refused)
    assert refused.state is answer.record.state
    assert refused.retry_after == (None if retry_after is None else pytest.approx(retry_after))


@pytest.mark.parametrize(("generation", "epoch"), [(2, 3), (1, -1), (3, -1)])
def test_grant_of_another_period_has_a_ticket_of_none(
    clock: ManualClock, generation: int, epoch: int
) -> None:
    """Broken: the verdict of a probe of an earlier period decides over this one."""
    shell = shell_on(clock, None)
    shell.view = View(state=HALF_OPEN, epoch=3, generation=2)
    granted = shell._granted(reply(BreakerStatus.GRANTED, HALF_OPEN, generation=generation), "p")
    assert granted == Admission(ticket=Ticket(epoch=epoch), probe="p", generation=generation)


async def test_verdict_and_free_slot_are_told_in_the_same_turn(clock: ManualClock) -> None:
    """Broken: a program that ends with its last call has told nobody what its probe found."""
    store = Store()
    store.gate = asyncio.Event()
    shell = shell_on(clock, store)
    probe = Admission(ticket=Ticket(epoch=0), probe="p", generation=4)
    shell.abandon(probe)
    assert store.asked == ["breaker_result"]
    concluding = asyncio.create_task(shell.conclude(probe, Verdict.OK))
    await asyncio.sleep(0)
    told = [
        (name, *(values[each] for each in ("probe", "generation", "verdict", "threshold")))
        for name, values in store.calls
    ]
    assert told == [("breaker_result", "p", 4, verdict, 2) for verdict in (Verdict.GONE, Verdict.OK)]
    store.gate.set()
    await concluding
    await shell.told()


async def test_cancelled_call_of_a_local_breaker_frees_its_slot(clock: ManualClock) -> None:
    """Broken: a call that was cancelled closes the breaker, or keeps its slot for the rest of half-open."""
    shell = shell_on(clock, None, half_open_max_calls=1, success_threshold=1)
    await shell.open_by_hand()
    clock.advance(60)
    admitted = await shell.admit(None)
    assert isinstance(admitted, Admission)
    assert isinstance(await shell.admit(None), core.Refused)
    shell.abandon(admitted)
    assert shell.view.state is HALF_OPEN
    assert isinstance(await shell.admit(None), Admission)


def test_slot_is_renewed_three_times_a_lease_until_it_is_lost(clock: ManualClock) -> None:
    """Broken: a slot lapses while its probe runs, is renewed all the time, or after somebody else has it."""
    held, lost = (
        Renewed(status=status, deadline_us=0) for status in (BreakerStatus.HELD, BreakerStatus.LOST)
    )
    store = Store(held, None, held, lost, held)
    shell = shell_on(clock, store, timeout_seconds=6)

    async def scene(_: VirtualLoop) -> None:
        await shell.renew(Admission(ticket=Ticket(epoch=0), probe="p", generation=4))

    in_virtual_time(scene)
    assert store.times == [0.0, 2.0, 4.0, 6.0]
    told = {"probe": "p", "now_us": "7", "generation": 4, "lease_us": 6_000_000}
    assert store.calls == [("breaker_renew", told)] * 4


# By hand.


async def test_opening_by_hand_is_at_once_and_tells_its_age(clock: ManualClock) -> None:
    """Broken: the others stay open for longer, or shorter, than this one."""
    store = Store()
    shell = shell_on(clock, store)
    await shell.open_by_hand()
    assert shell.view.state is OPEN
    clock.advance(3)
    await shell.open_by_hand()
    assert [told["age_us"] for _, told in store.calls] == [0, 3_000_000]


async def test_reset_clears_what_was_counted_while_it_waited(clock: ManualClock) -> None:
    """Broken: two failures stand after a reset, and the next one opens the breaker."""
    store = Store(None)
    store.gate = asyncio.Event()
    shell = shell_on(clock, store, failure_threshold=3)
    resetting = asyncio.create_task(shell.reset())
    await asyncio.sleep(0)
    shell.apply(core.Failed(ticket=Ticket(epoch=0)))
    assert shell.view.failures
    store.gate.set()
    await resetting
    assert shell.view.failures == ()


async def test_reset_is_tried_again_where_the_breaker_changed_meanwhile(clock: ManualClock) -> None:
    """Broken: a reset loses against a failure in that moment, or goes on for ever."""
    stale = [reply(BreakerStatus.STALE, OPEN, generation=number, at=10**9 + number) for number in range(2, 9)]
    store = Store(*stale)
    await shell_on(clock, store).reset()
    resets = [told["generation"] for name, told in store.calls if name == "breaker_reset"]
    assert resets == [0, 2, 3][:ATTEMPTS]
    store = Store(reply(BreakerStatus.RESET, CLOSED))
    await shell_on(clock, store).reset()
    assert store.asked == ["breaker_reset"]


# Looks.

COUNTERS = write_counters(CircuitBreakerMetrics(total_calls=5, failed_calls=1))
NOTHING = record(CLOSED, generation=0)


async def test_counters_are_told_when_they_changed_and_fetched_at_first_only(clock: ManualClock) -> None:
    """Broken: a process that restarts loses its counters, takes those of another, or tells them always."""
    store = Store(*[look(NOTHING, counters=COUNTERS)] * 4)
    shell = shell_on(clock, store)
    await shell.look()
    assert shell.metrics == CircuitBreakerMetrics()
    await shell.look(initial=True)
    assert shell.metrics == CircuitBreakerMetrics(total_calls=5, failed_calls=1)
    shell.metrics.total_calls += 1
    await shell.look()
    await shell.look(initial=True)
    assert shell.metrics.total_calls == 6
    told = [values["counters"] for _, values in store.calls]
    assert [json.loads(each)["total_calls"] if each else None for each in told] == [None, None, 6, None]


async def test_first_look_of_a_process_that_has_called_tells_its_counters(clock: ManualClock) -> None:
    """Broken: calls before `initialize` are overwritten by what an earlier process counted."""
    store = Store(look(NOTHING, counters=COUNTERS))
    shell = shell_on(clock, store)
    shell.metrics.total_calls = 1
    await shell.look(initial=True)
    assert json.loads(store.calls[0][1]["counters"])["total_calls"] == 1
    assert shell.metrics.total_calls == 1


@pytest.mark.parametrize(("initial", "failures"), [(True, 2), (False, 0)])
async def test_failures_of_v0_are_inherited_at_first_only(
    clock: ManualClock, initial: bool, failures: int
) -> None:
    """Broken: each look adds up what a v0 process has counted, or a rolling upgrade begins from nothing."""
    stamp = 1_700_000_000.0
    v0 = {"state": "closed", "failure_count": 2, "last_failure_time": stamp}
    v0 |= {"state_changed_at": stamp, "updated_at": stamp}
    shell = shell_on(clock, Store(look(NOTHING, foreign=json.dumps(v0).encode())), failure_threshold=5)
    await shell.look(initial=initial)
    assert len(shell.view.failures) == failures


@pytest.mark.parametrize("way", ["look", "reset"])
async def test_answer_from_before_the_clock_was_set_back_is_believed(clock: ManualClock, way: str) -> None:
    """Broken: for as long as a clock was ahead, nothing is learnt of the others."""
    held = record(CLOSED, generation=1, at=500)
    store = Store(look(held) if way == "look" else BreakerReply(status=BreakerStatus.CLOSED, record=held))
    shell = shell_on(clock, store)
    shell.view = View(generation=1, confirmed=True, stamp_us=1_000)
    await (shell.look() if way == "look" else shell.reset())
    assert shell.view.stamp_us == 500
    shell.changed_elsewhere(replace(held, now_us=400))
    assert shell.view.stamp_us == 500, "what was not asked for may be late"


async def test_look_is_due_a_second_after_the_last(clock: ManualClock) -> None:
    """Broken: every call starts a look of its own, or sends it before it goes on."""
    store = Store()
    shell = shell_on(clock, store)
    shell.look_again()
    assert shell.look_due == START + LOOK_INTERVAL_S
    assert store.asked == [], "whoever calls does not wait for it"
    await shell.close()
    assert store.asked == ["breaker_read"]
    shell.link = None
    await shell.look()
    shell.look_soon(7.0)
    assert (store.asked, shell.look_due) == (["breaker_read"], 7.0 + LOOK_INTERVAL_S)


# The subscription and the end.


class Listening:
    """A client that could subscribe."""

    pubsub = None


async def test_subscription_is_joined_once_and_left_at_the_end(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: each answer subscribes again, or a breaker that was closed goes on listening."""
    happened: list[tuple[object, ...]] = []

    def join(*args: object) -> None:
        happened.append(("join", *args))

    async def leave(*args: object) -> None:
        happened.append(("leave", *args))

    monkeypatch.setattr(_breaker_push, "join", join)
    monkeypatch.setattr(_breaker_push, "leave", leave)
    store = Store(*[look(NOTHING), reply(BreakerStatus.RESET, CLOSED)] * 3)
    store.client = Listening()
    shell = shell_on(clock, store)

    async def answer() -> None:
        await shell.look()
        await shell.reset()

    await answer()
    assert happened == []
    shell.want_push()
    await answer()
    whom = (store.client, KEYS.channel, "svc", shell)
    assert happened == [("join", *whom)]
    await shell.close()
    await answer()
    await shell.close()
    assert happened == [("join", *whom), ("leave", *whom)]


async def test_client_that_cannot_subscribe_is_not_asked_to(clock: ManualClock) -> None:
    """Broken: a breaker on a cluster's client, or on a mock of a test, fails with its first answer."""
    shell = shell_on(clock, Store(look(NOTHING)))
    shell.want_push()
    await shell.look()
    await shell.close()


@pytest.mark.parametrize(
    ("up", "called", "looks"),
    [(True, True, 1), (True, False, 0), (False, True, 0), (None, True, 0)],
)
async def test_closing_leaves_the_counters_with_a_store_that_answers(
    clock: ManualClock, up: bool | None, called: bool, looks: int
) -> None:
    """Broken: what was counted since the last look is lost; or closing waits for a store that is away."""
    store = Store(look(NOTHING))
    store.up = up
    shell = shell_on(clock, store)
    shell.metrics.total_calls += called
    await shell.close()
    assert store.asked == ["breaker_read"] * looks


@pytest.mark.parametrize("what", ["telling", "looking"])
async def test_closing_waits_for_what_is_on_its_way(clock: ManualClock, what: str) -> None:
    """Broken: the loop ends with tasks that are still running."""
    store = Store()
    store.gate = asyncio.Event()
    shell = shell_on(clock, store)
    if what == "telling":
        shell.abandon(Admission(ticket=Ticket(epoch=0), probe="p", generation=1))
    else:
        shell.look_again()
    closing = asyncio.create_task(shell.close())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not closing.done()
    store.gate.set()
    await closing
    assert len(store.calls) == 1
    await shell.told()
