"""The pure decisions: held against the reference model, and rule by rule where the store comes in."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.library.resilience.reference import Reference
from tta_agent_coordination.resilience import CircuitBreakerConfig, CircuitBreakerState
from tta_agent_coordination.resilience import _breaker_state as core
from tta_agent_coordination.resilience._breaker_state import (
    Foreign,
    Publish,
    Record,
    Step,
    Ticket,
    View,
)

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
    min_size=15,
    max_size=60,
)
"""Long enough to open and to come back: short lists are what Hypothesis likes best."""
MANY = settings(max_examples=max(120, settings().max_examples))
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


@MANY
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


@MANY
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
        ("window_seconds", 3.2e9),
        ("failure_threshold", 10**5_000),
        ("success_threshold", 2**53 + 1),
        ("half_open_max_calls", True),
        ("failure_threshold", 2.5),
    ],
    ids=range(15),
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
    probing = replace(view, state=HALF_OPEN, probes=1)
    assert answered(probing, replace(record(HALF_OPEN, 7), now_us=1_999)) == Step(view=probing)


def test_newer_generation_counts_whatever_the_clock_says() -> None:
    """Broken: after a step of the server's clock a process ignores what others decided."""
    view = View(state=OPEN, generation=7, stamp_us=2_000, confirmed=True)
    assert answered(view, replace(record(CLOSED, 8), now_us=1_999)).view.state is CLOSED


@pytest.mark.parametrize(("asked_us", "is_news"), [(0, False), (1_999, False), (2_000, True), (3_000, True)])
def test_answer_older_than_its_question_is_of_a_clock_that_was_set_back(asked_us: int, is_news: bool) -> None:
    """Broken: until a clock that was set back has caught up, no answer of the store is believed."""
    view = View(state=CLOSED, generation=7, stamp_us=3_000, confirmed=True)
    answer = core.Answered(record=replace(record(OPEN, 6), now_us=1_999), asked_us=asked_us)
    assert (core.step(view, answer, NOW, CONFIG).view.state is OPEN) == is_news


def test_change_that_is_still_to_come_has_no_age() -> None:
    """Broken: a clock that was set back keeps a process from asking for a probe until it has caught up."""
    heard = answered(View(), record(OPEN, 7, age=-3_600))
    assert (heard.view.state, heard.view.since) == (OPEN, NOW)


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
    assert probing.effects == (
        core.Changed(old=CLOSED, new=OPEN),
        Publish(generation=0, age=CONFIG.timeout_seconds),
    )
    counted = answered(
        View(), ABSENT, Foreign(state=CLOSED, age=9, failure_count=3, failure_age=8), initial=True
    )
    assert (counted.view.failures, counted.effects) == ((NOW - 8,) * 3, ())
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
    assert answered(view, record(OPEN, 7)).view.successes == 0


def test_closing_that_the_store_has_is_confirmed() -> None:
    """Broken: a process tells the store again and again what it holds already, or dates it anew."""
    view = View(since=5.0, epoch=3, generation=7)
    heard = answered(view, record(CLOSED, 7, age=3))
    assert heard == Step(view=replace(view, since=NOW - 3, confirmed=True, stamp_us=10**15))
    opened = View(state=OPEN, since=NOW - 5, epoch=3, generation=7, confirmed=True)
    later = answered(opened, record(OPEN, 8, age=1)).view
    assert (later.since, later.generation, later.epoch) == (NOW - 1, 8, 4)


def after(view: View, event: core.Event, now: float = NOW) -> Step:
    """Let something happen."""
    return core.step(view, event, now, CONFIG)


def test_failures_in_a_row_open_at_the_threshold() -> None:
    """Broken: a breaker opens too early, too late, or never."""
    view = View(epoch=3, generation=7)
    for count in range(1, CONFIG.failure_threshold):
        done = after(view, core.Failed(ticket=Ticket(epoch=3)), NOW + count)
        assert done == Step(view=replace(view, failures=(*view.failures, NOW + count)))
        view = done.view
    last = NOW + CONFIG.failure_threshold
    opened = after(view, core.Failed(ticket=Ticket(epoch=3)), last)
    assert opened.effects == (core.Changed(old=CLOSED, new=OPEN), Publish(generation=7, age=0))
    assert opened.view == View(
        state=OPEN, since=last, epoch=4, generation=7, failures=(*view.failures, last), confirmed=False
    )


def test_failures_older_than_the_window_do_not_count() -> None:
    """Broken: a failure an hour ago opens the breaker with those of now; the window's edge is in it."""
    edge = NOW - CONFIG.window_seconds
    failures = (edge - 1, edge, edge + 1)
    assert core.recent(failures, NOW, CONFIG) == (edge, edge + 1)
    assert core.recent(failures[1:], NOW, CONFIG) == failures[1:]
    assert core.recent((), NOW, CONFIG) == ()
    done = after(View(failures=failures), core.Failed(ticket=Ticket(epoch=0)))
    assert done.view.failures == (edge, edge + 1, NOW)


def test_success_ends_a_row_of_failures() -> None:
    """Broken: failures add up over days although calls succeed between them."""
    view = View(epoch=3, since=5.0, failures=(NOW - 1,) * 4)
    assert after(view, core.Succeeded(ticket=Ticket(epoch=3))) == Step(view=replace(view, failures=()))


def test_enough_successful_probes_close() -> None:
    """Broken: a breaker closes after one lucky call, or never; its period starts with nothing counted."""
    view = View(state=HALF_OPEN, since=5.0, epoch=3, generation=7, probes=2, confirmed=True)
    first = after(view, core.Succeeded(ticket=Ticket(epoch=3)))
    assert first == Step(view=replace(view, successes=1, probes=1))
    alone = after(replace(view, probes=0), core.Succeeded(ticket=Ticket(epoch=3)))
    assert (alone.view.successes, alone.view.probes) == (1, 0)
    closed = after(first.view, core.Succeeded(ticket=Ticket(epoch=3)), NOW + 1)
    assert closed == Step(
        view=View(state=CLOSED, since=NOW + 1, epoch=4, generation=7, confirmed=False),
        effects=(core.Changed(old=HALF_OPEN, new=CLOSED),),
    )


def test_probe_that_fails_opens_again() -> None:
    """Broken: a half-open breaker lets calls through to what is still down."""
    view = View(state=HALF_OPEN, since=5.0, epoch=3, generation=7, probes=2, successes=1, confirmed=True)
    opened = after(view, core.Failed(ticket=Ticket(epoch=3)))
    assert opened.view == View(state=OPEN, since=NOW, epoch=4, generation=7)
    assert opened.effects == (core.Changed(old=HALF_OPEN, new=OPEN), Publish(generation=7, age=0))


def test_probe_that_was_cancelled_frees_its_place() -> None:
    """Broken: cancelled probes fill the half-open breaker, and no call passes for five minutes."""
    view = View(state=HALF_OPEN, epoch=3, probes=2, successes=1)
    gone = core.GaveUp(ticket=Ticket(epoch=3))
    assert after(view, gone) == Step(view=replace(view, probes=1))
    assert after(replace(view, probes=0), gone) == Step(view=replace(view, probes=0))
    closed = View(epoch=3, probes=2)
    assert after(closed, gone) == Step(view=closed)


def test_by_hand_it_opens_at_once_and_forgets_on_reset() -> None:
    """Broken: an operator's word is not the last."""
    view = View(since=5.0, epoch=3, generation=7, failures=(NOW - 1,), confirmed=True)
    opened = after(view, core.Forced())
    assert opened.view == View(state=OPEN, since=NOW, epoch=4, generation=7, failures=(NOW - 1,))
    assert after(opened.view, core.Forced(), NOW + 1) == Step(view=opened.view)
    assert after(view, core.Cleared()) == Step(view=replace(view, failures=()))
    cleared = after(opened.view, core.Cleared(), NOW + 2)
    assert cleared.view == View(since=NOW + 2, epoch=5, generation=7)
    assert cleared.effects == (core.Changed(old=OPEN, new=CLOSED),)


@pytest.mark.parametrize("shared", [True, False])
def test_refusal_says_how_long_it_lasts(shared: bool) -> None:
    """Broken: a caller comes back too early, or waits for nothing; a ticket votes in the wrong period."""
    ask = core.Ask(shared=shared)
    view = View(state=OPEN, since=NOW - 20, epoch=3)
    assert after(view, ask) == Step(view=view, effects=(core.Refused(state=OPEN, retry_after=40.0),))
    closed = View(epoch=3)
    assert after(closed, ask) == Step(view=closed, effects=(core.Admitted(ticket=Ticket(epoch=3)),))


def test_question_to_the_store_changes_nothing_here() -> None:
    """Broken: a view that only asks forgets what it knows."""
    view = View(state=OPEN, since=NOW - 61, generation=5, epoch=3)
    assert after(view, core.Ask(shared=True)).view == view
    told = replace(view, confirmed=True)
    assert after(told, core.Ask(shared=True)).view == told


def test_probes_without_a_store_keep_to_both_limits() -> None:
    """Broken: more probes run at once than may, or more of them over a period than a verdict needs."""
    ask = core.Ask(shared=False)
    refused = (core.Refused(state=HALF_OPEN, retry_after=None),)
    full = View(state=HALF_OPEN, since=NOW, epoch=3, probes=3)
    assert after(full, ask) == Step(view=full, effects=refused)
    spent = View(state=HALF_OPEN, since=NOW, epoch=3, probes=2, successes=1)
    assert after(spent, ask) == Step(view=spent, effects=refused)
    room = View(state=HALF_OPEN, since=NOW, epoch=3, probes=1, successes=1)
    assert after(room, ask) == Step(
        view=replace(room, probes=2), effects=(core.Admitted(ticket=Ticket(epoch=3)),)
    )
    patient = CircuitBreakerConfig(half_open_max_calls=1, success_threshold=3)
    assert core.step(full, ask, NOW, patient).effects == refused
    one = View(state=HALF_OPEN, since=NOW, epoch=3, probes=0, successes=2)
    assert core.step(one, ask, NOW, patient).view.probes == 1


def test_half_open_lapses_at_the_end_of_its_time() -> None:
    """Broken: the period without a verdict ends a moment late, or a fresh one at once."""
    ask, length = core.Ask(shared=False), CONFIG.recovery_timeout_seconds
    view = View(state=HALF_OPEN, since=NOW - length, epoch=3, probes=1)
    assert after(view, ask).view.state is OPEN
    assert after(view, ask, NOW - 1).view == replace(view, probes=2)


def test_answer_takes_over_what_the_store_counts() -> None:
    """Broken: a process decides by counts of another period, or takes an old answer for a new one."""
    held = replace(record(HALF_OPEN, 8, age=3), probes=2, successes=1)
    heard = answered(View(state=OPEN, since=NOW - 70, epoch=3, generation=7, confirmed=True), held)
    assert heard.view == View(
        state=HALF_OPEN,
        since=NOW - 3,
        epoch=4,
        probes=2,
        successes=1,
        generation=8,
        confirmed=True,
        stamp_us=held.now_us,
    )
    again = answered(heard.view, replace(held, probes=1))
    assert again == Step(view=replace(heard.view, probes=1))


def test_told_again_is_kept_until_the_store_has_it() -> None:
    """Broken: a process believes that the store knows what it was only going to tell it."""
    view = View(state=OPEN, since=NOW - 9, epoch=3, generation=7, confirmed=True)
    held = record(CLOSED, 5)
    assert answered(view, held).view == replace(view, generation=5, confirmed=False, stamp_us=held.now_us)
    probing = View(state=HALF_OPEN, since=NOW - 2, generation=7, confirmed=True)
    told = answered(probing, held)
    assert told.effects == (Publish(generation=5, age=CONFIG.timeout_seconds),)


def test_half_open_by_ourselves_waits_for_its_own_probes() -> None:
    """Broken: the store's older opening ends the probes that were begun while it was away."""
    view = View(state=HALF_OPEN, since=NOW - 2, epoch=3, generation=7, probes=1)
    held = record(OPEN, 7, age=70)
    assert answered(view, held) == Step(view=replace(view, stamp_us=held.now_us))
    newer = answered(view, record(OPEN, 8, age=1))
    assert (newer.view.state, newer.view.epoch) == (OPEN, 4)
    believed = answered(replace(view, confirmed=True), held)
    assert (believed.view.state, believed.view.epoch) == (OPEN, 4)


def test_time_set_by_hand_is_kept_with_the_answers_moment() -> None:
    """Broken: an answer that was overtaken is taken for a new one after a time was set by hand."""
    view = View(state=OPEN, since=NOW - 500, generation=7)
    held = record(OPEN, 7, age=1)
    assert answered(view, held) == Step(view=replace(view, stamp_us=held.now_us))


def test_failed_probe_that_was_not_heard_of_is_told_again() -> None:
    """Broken: one process's failed probe is lost, and the others close the breaker on it."""
    view = View(state=OPEN, since=NOW - 1, epoch=3, generation=7)
    told = answered(view, record(HALF_OPEN, 7, age=5))
    assert (told.view.state, told.effects) == (OPEN, (Publish(generation=7, age=1.0),))
    heard = answered(replace(view, confirmed=True), record(HALF_OPEN, 7, age=5))
    assert heard.view.state is HALF_OPEN


def test_v0_opening_is_told_after_what_was_taken_over() -> None:
    """Broken: a change is not announced because another one came with it."""
    view = View(state=OPEN, since=NOW - 90, generation=6, confirmed=True)
    heard = answered(view, record(CLOSED, 7, age=50), Foreign(state=OPEN, age=49))
    assert heard.effects == (
        core.Changed(old=OPEN, new=CLOSED),
        core.Changed(old=CLOSED, new=OPEN),
        Publish(generation=7, age=49.0),
    )
    same_age = answered(
        View(since=NOW - 50, generation=7), record(CLOSED, 7, age=50), Foreign(state=OPEN, age=50)
    )
    assert same_age.view.state is CLOSED


def test_missing_record_leaves_the_counts_of_a_period_alone() -> None:
    """Broken: a store that was emptied takes successes back, or starts a period anew."""
    view = View(failures=(NOW - 1,), since=5.0, epoch=3, confirmed=True)
    assert answered(view, ABSENT) == Step(view=replace(view, stamp_us=ABSENT.now_us))
