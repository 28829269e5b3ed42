"""Owns the circuit breaker's decisions: `step(view, event, now, config)` returns a view and what to do.

A view is what one process knows. It changes by its own calls, by the store's answers and by hand, and each
change of state gets a new epoch: a result carries the epoch its call began in, and one of an older epoch is
dropped. While the store answers, half-open calls are admitted by the store, and this module only takes over
what it said; without it, the same rules are applied here to one process.

Pure: no Redis, no asyncio, no clock. `now` is in seconds of one clock that never goes back.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, replace
from enum import StrEnum

from tta_agent_coordination import _numbers

__all__ = [
    "Admitted",
    "Answered",
    "Ask",
    "Changed",
    "CircuitBreakerConfig",
    "CircuitBreakerState",
    "Cleared",
    "Consult",
    "Effect",
    "Event",
    "Failed",
    "Forced",
    "Foreign",
    "GaveUp",
    "Publish",
    "Record",
    "Refused",
    "Step",
    "Succeeded",
    "Ticket",
    "View",
    "is_due",
    "is_failure",
    "probe_budget",
    "recent",
    "step",
]


class CircuitBreakerState(StrEnum):
    """What a circuit breaker does with a call."""

    CLOSED = "closed"
    """Calls pass; consecutive failures are counted."""
    OPEN = "open"
    """Calls are refused."""
    HALF_OPEN = "half_open"
    """A few calls pass and decide whether to close or to open again."""


def is_failure(_error: Exception) -> bool:
    """Count every error as a failure."""
    return True


@dataclass
class CircuitBreakerConfig:
    """When a circuit breaker opens and how it finds its way back. Times are seconds; fractions are allowed.

    Attributes:
        failure_threshold: Consecutive failures that open it.
        timeout_seconds: How long it stays open; the next call after that is a probe.
        recovery_timeout_seconds: Longest half-open without a verdict; then it counts as open again.
        half_open_max_calls: Probes that may run at once, over all processes.
        success_threshold: Successful probes that close it.
        window_seconds: Failures older than this do not count.
        failure_if: Tells whether an error is a failure of what is protected; by default every `Exception` is.
            A call that raises any other error counts as a success, since it was answered, and raises it.

    Raises:
        ValueError: A count is no whole number from 1 to 2^53, or a time is not in (0, 100 years]. Only
            `timeout_seconds` may be 0.
    """

    failure_threshold: int = 5
    timeout_seconds: float = 60
    recovery_timeout_seconds: float = 300
    half_open_max_calls: int = 3
    success_threshold: int = 2
    window_seconds: float = 60
    _: KW_ONLY
    failure_if: Callable[[Exception], bool] = is_failure

    def __post_init__(self) -> None:
        for name in ("failure_threshold", "half_open_max_calls", "success_threshold"):
            _numbers.whole(name, getattr(self, name), low=1)
        for name in ("timeout_seconds", "recovery_timeout_seconds", "window_seconds"):
            positive = name != "timeout_seconds"
            _numbers.number(name, getattr(self, name), low=0, high=_numbers.MAX_SECONDS, open_low=positive)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What one process knows of a breaker.

    Attributes:
        state: What it does with a call.
        since: When it came into this state.
        epoch: Counts the changes of state; results of an older epoch are dropped.
        failures: When the consecutive failures happened, oldest first.
        successes: Successful probes of this half-open period.
        probes: Probes under way: ours without a store, else as many as the store last told.
        generation: The store's count of changes when it last answered, 0 where it had no record.
        confirmed: Whether the store holds this state under this generation.
        stamp_us: The store's time of its newest answer, microseconds.
    """

    state: CircuitBreakerState = CircuitBreakerState.CLOSED
    since: float = 0.0
    epoch: int = 0
    failures: tuple[float, ...] = ()
    successes: int = 0
    probes: int = 0
    generation: int = 0
    confirmed: bool = False
    stamp_us: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What the store holds, at the moment `now_us` of its clock. Generation 0: it holds nothing."""

    state: CircuitBreakerState
    generation: int
    since_us: int
    successes: int
    probes: int
    now_us: int

    @property
    def age(self) -> float:
        """Seconds since the last change, by the store's clock; none where that has been set back since."""
        return max(0, self.now_us - self.since_us) / 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """What a v0 process wrote after our last change. Ages are seconds, free of that process's clock."""

    state: CircuitBreakerState
    age: float
    failure_count: int = 0
    failure_age: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """Admits one call; its result is brought back with it."""

    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """May a call pass? `shared`: the store can be asked."""

    shared: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Succeeded:
    """An admitted call returned."""

    ticket: Ticket


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """An admitted call raised."""

    ticket: Ticket


@dataclass(frozen=True, slots=True, kw_only=True)
class GaveUp:
    """An admitted call was cancelled: no verdict, and its slot is free."""

    ticket: Ticket


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The store told what it holds.

    `initial`: asked for by `initialize`; `asked_us`: the newest stamp that was known when it was asked, 0 for
    what was not asked for.
    """

    record: Record
    foreign: Foreign | None = None
    initial: bool = False
    asked_us: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Forced:
    """Somebody opens the breaker by hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleared:
    """Somebody resets the breaker by hand."""


type Event = Ask | Succeeded | Failed | GaveUp | Answered | Forced | Cleared


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """The call may pass."""

    ticket: Ticket


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The call may not pass; `retry_after` seconds until one may, None where nobody knows."""

    state: CircuitBreakerState
    retry_after: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Consult:
    """Ask the store for a probe's slot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """Tell the store that this process has been open for `age` seconds, if it is still at `generation`."""

    generation: int
    age: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """The state changed."""

    old: CircuitBreakerState
    new: CircuitBreakerState


type Effect = Admitted | Refused | Consult | Publish | Changed


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The next view, and what to do, in order."""

    view: View
    effects: tuple[Effect, ...] = ()


_CLOSED, _OPEN, _HALF_OPEN = CircuitBreakerState


def probe_budget(config: CircuitBreakerConfig) -> int:
    """Return how many probes of one half-open period may be under way or successful, together.

    A successful probe keeps its place, so one period never lets more than `half_open_max_calls` through to a
    verdict, unless closing takes more successes than that.
    """
    return max(config.half_open_max_calls, config.success_threshold)


def recent(failures: tuple[float, ...], now: float, config: CircuitBreakerConfig) -> tuple[float, ...]:
    """Return the failures that are not older than the window."""
    start = now - config.window_seconds
    if not failures or failures[0] >= start:
        return failures
    return tuple(at for at in failures if at >= start)


def is_due(view: View, now: float, config: CircuitBreakerConfig) -> bool:
    """Return whether an open breaker has been open for its whole time."""
    return now - view.since >= config.timeout_seconds


def step(view: View, event: Event, now: float, config: CircuitBreakerConfig) -> Step:
    """Return the next view and what to do about it."""
    match event:
        case Ask(shared=shared):
            return _ask(view, now, config, shared=shared)
        case Succeeded(ticket=ticket):
            return _succeeded(view, ticket, now, config)
        case Failed(ticket=ticket):
            return _failed(view, ticket, now, config)
        case GaveUp(ticket=ticket):
            if ticket.epoch == view.epoch and view.state is _HALF_OPEN:
                return Step(view=replace(view, probes=max(0, view.probes - 1)))
            return Step(view=view)
        case Answered():
            return _answered(view, event, now, config)
        case Forced():
            if view.state is _OPEN:
                return Step(view=view)
            return _opened(view, now, now)
        case _:  # Cleared
            if view.state is _CLOSED:
                return Step(view=replace(view, failures=()))
            return _moved(view, _CLOSED, now)


def _moved(view: View, state: CircuitBreakerState, since: float, *effects: Effect) -> Step:
    moved = replace(
        view,
        state=state,
        since=since,
        epoch=view.epoch + 1,
        failures=(),
        successes=0,
        probes=0,
        confirmed=False,
    )
    return Step(view=moved, effects=(Changed(old=view.state, new=state), *effects))


def _opened(view: View, since: float, now: float) -> Step:
    kept = view.failures
    opened = _moved(view, _OPEN, since, Publish(generation=view.generation, age=now - since))
    return Step(view=replace(opened.view, failures=kept), effects=opened.effects)


def _ask(view: View, now: float, config: CircuitBreakerConfig, *, shared: bool) -> Step:
    if view.state is _CLOSED:
        return Step(view=view, effects=(Admitted(ticket=Ticket(epoch=view.epoch)),))
    if view.state is _OPEN and not is_due(view, now, config):
        return _refused(view, view.since + config.timeout_seconds - now)
    if shared:
        if view.confirmed:
            return Step(view=view, effects=(Consult(),))
        # The store must know that we are open before it can grant a probe; half-open here means: due there.
        age = now - view.since if view.state is _OPEN else config.timeout_seconds
        return Step(view=view, effects=(Publish(generation=view.generation, age=age), Consult()))
    return _ask_alone(view, now, config)


def _ask_alone(view: View, now: float, config: CircuitBreakerConfig) -> Step:
    changes: tuple[Effect, ...] = ()
    lapse = view.since + config.recovery_timeout_seconds
    if view.state is _HALF_OPEN and now >= lapse:
        reopened = _moved(view, _OPEN, lapse)
        view, changes = reopened.view, reopened.effects
        if not is_due(view, now, config):
            refused = _refused(view, view.since + config.timeout_seconds - now)
            return Step(view=view, effects=(*changes, *refused.effects))
    if view.state is _OPEN:
        halved = _moved(view, _HALF_OPEN, now)
        view, changes = halved.view, (*changes, *halved.effects)
    busy = view.probes >= config.half_open_max_calls or view.probes + view.successes >= probe_budget(config)
    if busy:
        return Step(view=view, effects=(*changes, *_refused(view, None).effects))
    admitted = Admitted(ticket=Ticket(epoch=view.epoch))
    return Step(view=replace(view, probes=view.probes + 1), effects=(*changes, admitted))


def _refused(view: View, retry_after: float | None) -> Step:
    return Step(view=view, effects=(Refused(state=view.state, retry_after=retry_after),))


def _succeeded(view: View, ticket: Ticket, now: float, config: CircuitBreakerConfig) -> Step:
    if ticket.epoch != view.epoch or view.state is _OPEN:
        return Step(view=view)
    if view.state is _CLOSED:
        return Step(view=replace(view, failures=()))
    if view.successes + 1 >= config.success_threshold:
        return _moved(view, _CLOSED, now)
    return Step(view=replace(view, successes=view.successes + 1, probes=max(0, view.probes - 1)))


def _failed(view: View, ticket: Ticket, now: float, config: CircuitBreakerConfig) -> Step:
    if ticket.epoch != view.epoch or view.state is _OPEN:
        return Step(view=view)
    if view.state is _HALF_OPEN:
        return _opened(view, now, now)
    failures = (*recent(view.failures, now, config), now)
    counted = replace(view, failures=failures)
    return _opened(counted, now, now) if len(failures) >= config.failure_threshold else Step(view=counted)


def _is_overtaken(view: View, answer: Answered) -> bool:
    """Tell whether an answer is older than what is known.

    A higher generation never is. Nor is an answer older than what was known when it was asked for: the clock
    of the store was set back.
    """
    record = answer.record
    if record.generation > view.generation or record.now_us < answer.asked_us:
        return False
    behind_us = view.stamp_us - record.now_us
    return behind_us > 0 or (behind_us == 0 and record.generation < view.generation)


def _answered(view: View, answer: Answered, now: float, config: CircuitBreakerConfig) -> Step:
    if _is_overtaken(view, answer):
        return Step(view=view)
    record, foreign, initial = answer.record, answer.foreign, answer.initial
    adopted = _adopted(view, record, now, config)
    view, effects = adopted.view, adopted.effects
    if foreign is None or view.state is not _CLOSED:
        return adopted
    absent = record.generation == 0
    if foreign.state is _OPEN and (absent or foreign.age < record.age):
        opened = _opened(view, now - foreign.age, now)
        return Step(view=opened.view, effects=(*effects, *opened.effects))
    if initial and absent:
        if foreign.state is _HALF_OPEN:
            opened = _opened(view, now - config.timeout_seconds, now)
            return Step(view=opened.view, effects=(*effects, *opened.effects))
        if not view.failures:
            count = min(foreign.failure_count, config.failure_threshold - 1)
            inherited = recent((now - foreign.failure_age,) * count, now, config)
            return Step(view=replace(view, failures=inherited), effects=effects)
    return adopted


def _adopted(view: View, record: Record, now: float, config: CircuitBreakerConfig) -> Step:
    absent, known = record.generation == 0, record.generation == view.generation
    unseen = view.state is _OPEN and record.state is _HALF_OPEN  # a probe's failure it never heard of
    behind = absent or record.generation < view.generation or (known and (unseen or record.state is _CLOSED))
    if view.state is not _CLOSED and behind and (absent or not known or not view.confirmed):
        # The store does not know what we know: our opening is not published yet, or a failover lost it.
        # A missing record never closes a breaker. Tell it, under the generation that it is at.
        age = now - view.since if view.state is _OPEN else config.timeout_seconds
        kept = replace(view, generation=record.generation, confirmed=False, stamp_us=record.now_us)
        return Step(view=kept, effects=(Publish(generation=record.generation, age=age),))
    if known and not view.confirmed and view.state is record.state is _OPEN:
        # Dated by hand: ours counts, and is told when a probe is due.
        return Step(view=replace(view, stamp_us=record.now_us))
    if known and not view.confirmed and view.state is _HALF_OPEN and record.state is _OPEN:
        # Half-open by ourselves while the store was away: the verdicts of our probes are still to come.
        return Step(view=replace(view, stamp_us=record.now_us))
    same_state = record.state is view.state
    same_period = same_state and (absent or known or (record.state is _CLOSED and not view.confirmed))
    taken = replace(
        view,
        state=record.state,
        since=view.since if absent or (same_period and view.confirmed) else now - record.age,
        epoch=view.epoch if same_period else view.epoch + 1,
        failures=view.failures if same_period or (same_state and record.state is _OPEN) else (),
        # Within one period successes only grow: an older answer of the same moment takes none back.
        successes=max(record.successes, view.successes if same_period and known else 0),
        probes=record.probes,
        generation=record.generation,
        confirmed=True,
        stamp_us=record.now_us,
    )
    return Step(view=taken, effects=() if same_state else (Changed(old=view.state, new=record.state),))
