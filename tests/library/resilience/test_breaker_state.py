"""The pure decisions: held against the reference model, and rule by rule where the store comes in."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.library.resilience.reference import Reference
from tta_agent_coordination.resilience import CircuitBreakerConfig, CircuitBreakerState
from tta_agent_coordination.resilience import _breaker_state as core
from tta_agent_coordination.resilience._breaker_state import Foreign, Publish, Record, Step, Ticket, View

CLOSED, OPEN, HALF_OPEN = CircuitBreakerState
CONFIG = CircuitBreakerConfig()
NOW = 1_000.0

OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.just(0)),
        st.tuples(st.sampled_from(["ok", "failed", "failed", "gone"]), st.integers(0, 5)),
        st.tuples(st.just("advance"), st.sampled_from([0, 1, 4, 5, 9, 10, 11, 29, 30, 45])),
        st.tuples(st.sampled_from(["open", "reset"]), st.just(0)),
    ),
    max_size=60,
)
CONFIGS = st.builds(
    CircuitBreakerConfig,
    failure_threshold=st.integers(1, 4),
    timeout_seconds=st.sampled_from([0, 5, 10]),
    recovery_timeout_seconds=st.sampled_from([10, 30]),
    half_open_max_calls=st.integers(1, 3),
    success_threshold=st.integers(1, 4),
    window_seconds=st.sampled_from([5, 60]),
)
EVENTS: dict[str, Any] = {"ok": core.Succeeded, "failed": core.Failed, "gone": core.GaveUp}


class Alone:
    """One process without a store, driven through `step`."""

    def __init__(self, config: CircuitBreakerConfig) -> None:
        self.config = config
        self.view = View()
        self.tickets: dict[int, Ticket] = {}

    def _step(self, event: core.Event, now: float) -> tuple[core.Effect, ...]:
        before = self.view
        done = core.step(before, event, now, self.config)
        self.view = done.view
        changes = [effect for effect in done.effects if isinstance(effect, core.Changed)]
        assert (before.epoch != self.view.epoch) == bool(changes)
        if changes:
            assert (changes[0].old, changes[-1].new) == (before.state, self.view.state)
        return done.effects

    def ask(self, call: int, now: float) -> str:
        *_, answer = self._step(core.Ask(shared=False), now)
        if isinstance(answer, core.Refused):
            assert answer.retry_after is None or 0 < answer.retry_after <= self.config.timeout_seconds
            return "open" if answer.state is OPEN else "busy"
        assert isinstance(answer, core.Admitted)
        self.tickets[call] = answer.ticket
        return "pass"

    def end(self, call: int, verdict: str, now: float) -> None:
        self._step(EVENTS[verdict](ticket=self.tickets.pop(call)), now)


@given(config=CONFIGS, operations=OPERATIONS)
def test_decisions_equal_the_reference_model(
    config: CircuitBreakerConfig, operations: list[tuple[str, int]]
) -> None:
    """Broken: some order of calls, results, waits and resets lets the wrong call through."""
    reference, alone = Reference(config, lease=math.inf), Alone(config)
    now, calls = 0.0, 0
    for operation, number in operations:
        match operation:
            case "ask":
                calls += 1
                assert alone.ask(calls, now) == reference.ask(calls, now)
            case "advance":
                now += number
            case "open":
                alone._step(core.Forced(), now)
                reference.open_by_hand(now)
            case "reset":
                alone._step(core.Cleared(), now)
                reference.reset(now)
            case verdict:
                running = sorted(reference.began)
                assert running == sorted(alone.tickets)
                if running:
                    call = running[number % len(running)]
                    alone.end(call, verdict, now)
                    reference.end(call, verdict, now)
        assert (alone.view.state, alone.view.successes) == (reference.state, reference.successes)
        if alone.view.state is not CLOSED:
            assert alone.view.since == reference.since


@given(config=CONFIGS, operations=OPERATIONS)
def test_half_open_never_holds_more_than_its_budget(
    config: CircuitBreakerConfig, operations: list[tuple[str, int]]
) -> None:
    """Broken: more probes run at once than `half_open_max_calls`."""
    alone, running, now, calls = Alone(config), dict[int, int](), 0.0, 0
    for operation, number in [("open", 0), *operations]:
        match operation:
            case "ask":
                calls += 1
                if alone.ask(calls, now) == "pass" and alone.view.state is HALF_OPEN:
                    running[calls] = alone.view.epoch
            case "advance":
                now += number
            case "open" | "reset":
                alone._step(core.Forced() if operation == "open" else core.Cleared(), now)
            case verdict if alone.tickets:
                call = sorted(alone.tickets)[number % len(alone.tickets)]
                running.pop(call, None)
                alone.end(call, verdict, now)
            case _:
                pass
        here = [epoch for epoch in running.values() if epoch == alone.view.epoch]
        assert len(here) <= config.half_open_max_calls


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("failure_threshold", 0),
        ("half_open_max_calls", 0),
        ("success_threshold", -1),
        ("timeout_seconds", -0.1),
        ("timeout_seconds", math.nan),
        ("timeout_seconds", math.inf),
        ("recovery_timeout_seconds", 0),
        ("window_seconds", 0),
        ("window_seconds", -math.inf),
        ("window_seconds", 10**5_000),
        ("failure_threshold", 10**5_000),
        ("success_threshold", 2**53 + 1),
        ("half_open_max_calls", True),
        ("failure_threshold", 2.5),
    ],
    ids=range(14),
)
def test_config_refuses_what_cannot_work(name: str, value: float) -> None:
    """Broken: a breaker with a nonsensical limit opens at once, or never, and nobody is told."""
    options: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=name):
        CircuitBreakerConfig(**options)


def test_config_has_the_defaults_of_v0() -> None:
    """Broken: adopting the package changes when TTA's breakers open."""
    assert CircuitBreakerConfig(5, 60, 300, 3, 2, 60) == CONFIG
    assert CircuitBreakerConfig(timeout_seconds=0).timeout_seconds == 0


def record(state: CircuitBreakerState, generation: int, *, age: float = 0.0, now_us: int = 10**15) -> Record:
    """Return what the store holds after `age` seconds in a state."""
    since_us = now_us - round(age * 1_000_000)
    return Record(state=state, generation=generation, since_us=since_us, successes=0, probes=0, now_us=now_us)


ABSENT = record(CLOSED, 0)


def answered(view: View, held: Record, foreign: Foreign | None = None, *, initial: bool = False) -> Step:
    """Let a view hear what the store holds."""
    return core.step(view, core.Answered(record=held, foreign=foreign, initial=initial), NOW, CONFIG)


def test_answer_of_a_newer_generation_is_taken_over() -> None:
    """Broken: a process does not believe that another one opened the breaker."""
    heard = answered(View(since=NOW - 5, confirmed=True), record(OPEN, 7, age=3))
    assert (heard.view.state, heard.view.since, heard.view.generation) == (OPEN, NOW - 3, 7)
    assert heard.view.epoch == 1
    assert heard.effects == (core.Changed(old=CLOSED, new=OPEN),)


def test_answer_that_was_overtaken_is_dropped() -> None:
    """Broken: a reply that arrives late undoes a newer one."""
    view = View(state=OPEN, generation=7, stamp_us=2_000, confirmed=True)
    late = replace(record(CLOSED, 6), now_us=1_999)
    assert answered(view, late) == Step(view=view)
    same_moment = replace(record(CLOSED, 6), now_us=2_000)
    assert answered(view, same_moment) == Step(view=view)


def test_missing_record_never_closes_a_breaker() -> None:
    """Broken: an emptied store closes what a process knows to be open; it must be told instead."""
    for view in (
        View(state=OPEN, since=NOW - 9, epoch=3),
        View(state=OPEN, since=NOW - 9, epoch=3, generation=7, confirmed=True),
    ):
        heard = answered(view, ABSENT)
        assert (heard.view.state, heard.view.since, heard.view.epoch) == (OPEN, NOW - 9, 3)
        assert heard.effects == (Publish(generation=0, age=9.0),)


def test_lost_generation_is_told_again() -> None:
    """Broken: a failover to a server that missed the opening closes the breaker everywhere."""
    heard = answered(View(state=OPEN, since=NOW - 9, generation=7, confirmed=True), record(CLOSED, 5))
    assert heard.view.state is OPEN
    assert heard.effects == (Publish(generation=5, age=9.0),)


def test_unpublished_opening_is_told_again() -> None:
    """Broken: an opening whose script was lost stays in one process."""
    heard = answered(View(state=OPEN, since=NOW - 2, generation=5), record(CLOSED, 5))
    assert heard.view.state is OPEN
    assert heard.effects == (Publish(generation=5, age=2.0),)


def test_closing_elsewhere_beats_an_unpublished_opening() -> None:
    """Broken: an opening of an older generation undoes a newer decision of the others."""
    heard = answered(View(state=OPEN, since=NOW - 2, generation=5), record(CLOSED, 6))
    assert heard.view.state is CLOSED
    assert heard.effects == (core.Changed(old=OPEN, new=CLOSED),)


def test_cycle_that_was_missed_ends_the_old_period() -> None:
    """Broken: failures from before an unseen opening and closing count against the new period."""
    view = View(failures=(NOW - 1,) * 4, epoch=2, generation=5, confirmed=True)
    assert answered(view, record(CLOSED, 9)).view.failures == ()
    assert answered(view, record(CLOSED, 9)).view.epoch == 3
    assert answered(view, record(CLOSED, 5)).view == replace(view, stamp_us=10**15)
    assert answered(view, ABSENT).view.failures == view.failures


def test_first_answer_does_not_drop_failures() -> None:
    """Broken: failures counted before the first answer of the store are forgotten."""
    view = View(failures=(NOW - 1,) * 4)
    assert answered(view, record(CLOSED, 9)).view.failures == view.failures


def test_hand_set_time_outlives_an_answer() -> None:
    """Broken: a time set by hand is overwritten by the next look, before the decision has read it."""
    view = View(state=OPEN, since=NOW - 500, generation=7, confirmed=False)
    assert answered(view, record(OPEN, 7, age=1)).view.since == NOW - 500


def test_probe_is_asked_of_the_store_after_it_was_told() -> None:
    """Broken: the store refuses a probe because it has not heard that the breaker is open."""
    view = View(state=OPEN, since=NOW - 61, generation=5)
    asked = core.step(view, core.Ask(shared=True), NOW, CONFIG)
    assert asked.effects == (Publish(generation=5, age=61.0), core.Consult())
    half_open = replace(view, state=HALF_OPEN, since=NOW)
    asked = core.step(half_open, core.Ask(shared=True), NOW, CONFIG)
    assert asked.effects == (Publish(generation=5, age=CONFIG.timeout_seconds), core.Consult())
    asked = core.step(replace(view, confirmed=True), core.Ask(shared=True), NOW, CONFIG)
    assert asked.effects == (core.Consult(),)


def test_v0_opening_newer_than_our_change_trips_us() -> None:
    """Broken: a v0 process that opens its breaker does not stop ours."""
    view = View(since=NOW - 50, generation=7, confirmed=True)
    heard = answered(view, record(CLOSED, 7, age=50), Foreign(state=OPEN, age=49))
    assert (heard.view.state, heard.view.since) == (OPEN, NOW - 49)
    assert heard.effects[-1] == Publish(generation=7, age=49.0)


def test_v0_opening_older_than_our_change_is_ignored() -> None:
    """Broken: a v0 process that repeats an old opening undoes our closing."""
    view = View(since=NOW - 50, generation=7, confirmed=True)
    heard = answered(view, record(CLOSED, 7, age=50), Foreign(state=OPEN, age=51))
    assert (heard.view.state, heard.effects) == (CLOSED, ())


@pytest.mark.parametrize("state", [OPEN, HALF_OPEN])
def test_v0_closed_never_closes_ours(state: CircuitBreakerState) -> None:
    """Broken: v0's stale writer closes an open breaker, here too."""
    view = View(state=state, since=NOW - 5, generation=7, confirmed=True)
    heard = answered(view, record(state, 7, age=5), Foreign(state=CLOSED, age=0), initial=True)
    assert (heard.view.state, heard.effects) == (state, ())


def test_v0_record_is_inherited_where_ours_is_absent() -> None:
    """Broken: the day of the change-over forgets what v0 knew."""
    opened = answered(View(), ABSENT, Foreign(state=OPEN, age=20), initial=True)
    assert (opened.view.state, opened.view.since) == (OPEN, NOW - 20)
    probing = answered(View(), ABSENT, Foreign(state=HALF_OPEN, age=20), initial=True)
    assert (probing.view.state, core.is_due(probing.view, NOW, CONFIG)) == (OPEN, True)
    counted = answered(
        View(), ABSENT, Foreign(state=CLOSED, age=9, failure_count=3, failure_age=8), initial=True
    )
    assert counted.view.failures == (NOW - 8,) * 3
    full = answered(
        View(), ABSENT, Foreign(state=CLOSED, age=9, failure_count=50, failure_age=8), initial=True
    )
    assert len(full.view.failures) == CONFIG.failure_threshold - 1
    old = answered(
        View(), ABSENT, Foreign(state=CLOSED, age=9, failure_count=3, failure_age=61), initial=True
    )
    assert old.view.failures == ()


def test_v0_half_open_or_closed_is_ignored_later() -> None:
    """Broken: only a v0 opening means something to a running breaker."""
    for state in (HALF_OPEN, CLOSED):
        foreign = Foreign(state=state, age=0, failure_count=3, failure_age=1)
        assert answered(View(), ABSENT, foreign).view.failures == ()
        assert answered(View(), ABSENT, foreign).view.state is CLOSED


def test_half_open_that_lapsed_without_a_store_is_open_again() -> None:
    """Broken: without a store, probes that never end keep the breaker half-open for ever."""
    view = View(state=HALF_OPEN, since=NOW - 301, probes=3)
    asked = core.step(view, core.Ask(shared=False), NOW, CONFIG)
    assert (asked.view.state, asked.view.since) == (OPEN, NOW - 1)
    assert asked.effects[-1] == core.Refused(state=OPEN, retry_after=59.0)
    later = core.step(view, core.Ask(shared=False), NOW + 59, CONFIG)
    assert (later.view.state, later.view.since, later.view.probes) == (HALF_OPEN, NOW + 59, 1)


def test_result_of_another_epoch_changes_nothing() -> None:
    """Broken: a call that began before a change votes on what came after it."""
    for state in CircuitBreakerState:
        view = View(state=state, epoch=4, probes=1, failures=(NOW,))
        for event in (core.Succeeded, core.Failed, core.GaveUp):
            assert core.step(view, event(ticket=Ticket(epoch=3)), NOW, CONFIG) == Step(view=view)
    open_view = View(state=OPEN, epoch=4)
    for event in (core.Succeeded, core.Failed, core.GaveUp):
        assert core.step(open_view, event(ticket=Ticket(epoch=4)), NOW, CONFIG) == Step(view=open_view)


def test_v0_closed_adds_nothing_to_a_running_count() -> None:
    """Broken: failures that this process counted are replaced by those v0 counted."""
    view = View(failures=(NOW - 1,))
    foreign = Foreign(state=CLOSED, age=9, failure_count=3, failure_age=8)
    assert answered(view, ABSENT, foreign, initial=True).view.failures == (NOW - 1,)


def test_older_answer_of_the_same_moment_takes_no_success_back() -> None:
    """Broken: a look that was answered before a verdict and read after it hides the verdict."""
    view = View(state=HALF_OPEN, successes=1, generation=7, confirmed=True, stamp_us=10**15)
    assert answered(view, record(HALF_OPEN, 7)).view.successes == 1
    assert answered(view, record(HALF_OPEN, 8)).view.successes == 0
