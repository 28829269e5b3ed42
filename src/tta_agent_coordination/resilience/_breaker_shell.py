"""Owns a breaker's view and its traffic with the store: performs what `_breaker_state` decides.

Knows nothing of the calls that are protected, but for the tickets they hold. Every method that waits for the
store does so for a limited time, and works on without it.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any, TypedDict

from tta_agent_coordination._clock import Clock, to_us
from tta_agent_coordination._keys import Breaker
from tta_agent_coordination._redis import breaker_scripts as scripts
from tta_agent_coordination._redis.breaker_scripts import BreakerReply, BreakerStatus
from tta_agent_coordination._redis.client import Client
from tta_agent_coordination._redis.script import Call
from tta_agent_coordination.resilience import _breaker_push as push
from tta_agent_coordination.resilience import _breaker_state as core
from tta_agent_coordination.resilience._breaker_link import StoreLink
from tta_agent_coordination.resilience._breaker_state import (
    CircuitBreakerConfig,
    CircuitBreakerState,
    Effect,
    Event,
    Record,
    Refused,
    Ticket,
    View,
)
from tta_agent_coordination.resilience._v0_records import (
    CircuitBreakerMetrics,
    read_counters,
    read_foreign,
    write_counters,
)
from tta_agent_coordination.resilience.collector import get_circuit_breaker_metrics

__all__ = ["Admission", "BreakerShell", "Verdict"]

LOOK_INTERVAL_S = 1.0
"""While calls happen, the store is looked at this often, in the background; seconds."""

MIN_LEASE_S, MAX_LEASE_S = 1.0, 10.0
"""Bounds of a probe's lease, seconds; in between it is the open time. It is renewed while the probe runs, so
only a process that died, or stood still for a whole lease, gives its slot away."""

MIN_RECORD_TTL_S = 86_400.0
"""Shortest life of the shared record after its last change, seconds."""

ATTEMPTS = 3
"""How often a decision is made again because the breaker changed in between."""


class Verdict:
    """What a probe found; the words are those of `breaker_result.lua`."""

    OK = "ok"
    FAILED = "failed"
    GONE = "gone"


_EVENTS: dict[str, type[core.Succeeded | core.Failed | core.GaveUp]] = {
    Verdict.OK: core.Succeeded,
    Verdict.FAILED: core.Failed,
    Verdict.GONE: core.GaveUp,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """One admitted call; `probe` and `generation` name the slot that the store granted, if it did."""

    ticket: Ticket
    probe: str = ""
    generation: int = 0


class _Timing(TypedDict):
    now_us: str
    ttl_ms: int


class BreakerShell:
    """The view of one breaker, and the tasks that carry it to the store and back.

    Attributes:
        view: What this process knows; may be replaced by hand.
        config: Read at every decision.
        metrics: Counters of this process; told to the store with a look.
    """

    def __init__(
        self, client: Client, keys: Breaker, config: CircuitBreakerConfig, clock: Clock | None
    ) -> None:
        self.config = config
        self.metrics = CircuitBreakerMetrics()
        self.now: Callable[[], float] = (
            time.monotonic if clock is None else lambda: clock.now_us() / 1_000_000
        )
        self.view = View(since=self.now())
        self.look_due = float("-inf")
        self.link: StoreLink | None = StoreLink(client, keys.name, clock)
        self._keys = keys
        self._kept = CircuitBreakerMetrics()
        self._telling: set[asyncio.Task[Any]] = set()
        self._looking: set[asyncio.Task[Any]] = set()
        self._wants_push = self._joined = False

    def apply(self, event: Event, correlation_id: str | None = None) -> None:
        """Take an event into the view; an opening that the store does not know is told in the background."""
        for effect in self._decide(event, correlation_id):
            if isinstance(effect, core.Publish) and self.link is not None and self.link.up is not False:
                self._own(self._telling, self._publish(effect), eager=True)

    def _decide(self, event: Event, correlation_id: str | None = None) -> tuple[Effect, ...]:
        now, before = self.now(), self.view
        decided = core.step(before, event, now, self.config)
        self.view = decided.view
        collector = get_circuit_breaker_metrics()
        for effect in decided.effects:
            if isinstance(effect, core.Changed):
                self.metrics.state_changes += 1
                collector.record_state_transition(self._keys.name, effect.old, effect.new, correlation_id)
                collector.record_state_duration(self._keys.name, effect.old, max(0.0, now - before.since))
        return decided.effects

    # What the calls need.

    async def admit(self, correlation_id: str | None) -> Admission | Refused:
        """Return an admission for one call, or why it is refused. Waits for the store only for a probe."""
        for _ in range(ATTEMPTS):
            shared = self.link is not None and self.link.up is not False
            for effect in self._decide(core.Ask(shared=shared), correlation_id):
                match effect:
                    case core.Admitted(ticket=ticket):
                        return Admission(ticket=ticket)
                    case core.Refused():
                        return effect
                    case core.Publish():
                        await self._publish(effect)
                    case core.Consult():
                        answer = await self._consult()
                        if answer is not None:
                            return answer
                    case _:
                        pass  # a change is for the collector, which has it
        return Refused(state=self.view.state, retry_after=None)

    async def _consult(self) -> Admission | Refused | None:
        probe, config = uuid.uuid4().hex, self.config
        call = scripts.breaker_probe(
            self._keys,
            probe=probe,
            open_us=to_us(config.timeout_seconds),
            half_open_us=to_us(config.recovery_timeout_seconds),
            lease_us=to_us(self.lease),
            slots=config.half_open_max_calls,
            budget=core.probe_budget(config),
            **self._timing(),
        )
        asking = self._own(self._telling, self._ask(call), eager=True)
        try:
            reply = await asyncio.shield(asking)
        except asyncio.CancelledError:
            self._own(self._telling, self._give_back(asking, probe))
            raise
        if reply is None or reply.status is BreakerStatus.CLOSED:
            return None
        if reply.status is BreakerStatus.GRANTED:
            return self._granted(reply, probe)
        left = (
            max(0.0, config.timeout_seconds - reply.record.age)
            if reply.status is BreakerStatus.OPEN
            else None
        )
        return Refused(state=reply.record.state, retry_after=left)

    def _granted(self, reply: BreakerReply, probe: str) -> Admission:
        # The period may be over before its grant is read. No epoch is -1: its verdict changes nothing here.
        here = self.view.generation == reply.record.generation
        ticket = Ticket(epoch=self.view.epoch if here else -1)
        return Admission(ticket=ticket, probe=probe, generation=reply.record.generation)

    async def _give_back(self, asking: asyncio.Task[BreakerReply | None], probe: str) -> None:
        reply = await asking
        if reply is not None and reply.status is BreakerStatus.GRANTED:
            await self._settle(self._granted(reply, probe), Verdict.GONE, None)

    async def conclude(self, admission: Admission, verdict: str, correlation_id: str | None = None) -> None:
        """Bring a call's verdict home; a probe's reaches the store even where the caller is cancelled."""
        if not admission.probe:
            self.apply(_EVENTS[verdict](ticket=admission.ticket), correlation_id)
        else:
            told = self._own(self._telling, self._settle(admission, verdict, correlation_id), eager=True)
            await asyncio.shield(told)

    def abandon(self, admission: Admission) -> None:
        """Free the slot of a call that was cancelled; it has no verdict."""
        if admission.probe:
            self._own(self._telling, self._settle(admission, Verdict.GONE, None), eager=True)
        else:
            self.apply(core.GaveUp(ticket=admission.ticket))

    async def _settle(self, admission: Admission, verdict: str, correlation_id: str | None) -> None:
        call = scripts.breaker_result(
            self._keys,
            probe=admission.probe,
            generation=admission.generation,
            verdict=verdict,
            threshold=self.config.success_threshold,
            **self._timing(),
        )
        if await self._ask(call, correlation_id) is None:
            self.apply(_EVENTS[verdict](ticket=admission.ticket), correlation_id)

    @property
    def lease(self) -> float:
        """How long a probe's slot is kept unless renewed, seconds."""
        return min(MAX_LEASE_S, max(MIN_LEASE_S, self.config.timeout_seconds))

    async def renew(self, admission: Admission) -> None:
        """Keep a probe's slot until cancelled, or until it is lost."""
        while self.link is not None:
            call = scripts.breaker_renew(
                self._keys,
                probe=admission.probe,
                generation=admission.generation,
                lease_us=to_us(self.lease),
                now_us=self.link.now_us(),
            )
            renewed = await self.link.run(call)
            if renewed is not None and renewed.status is BreakerStatus.LOST:
                return
            await asyncio.sleep(self.lease / 3)

    # What people ask for.

    async def open_by_hand(self) -> None:
        """Open at once here, and for everybody by the time this returns."""
        for _ in range(ATTEMPTS):
            self._decide(core.Forced())
            # Told even where it was open here: the others may have closed it since.
            age = self.now() - self.view.since
            await self._publish(core.Publish(generation=self.view.generation, age=age))
            if self.view.state is CircuitBreakerState.OPEN:
                return

    async def reset(self) -> None:
        """Close at once here, and for everybody by the time this returns; clear the count."""
        self._decide(core.Cleared())
        for _ in range(ATTEMPTS):
            reply = await self._ask(
                scripts.breaker_reset(self._keys, generation=self.view.generation, **self._timing())
            )
            if reply is None or reply.status is not BreakerStatus.STALE:
                break
        self._decide(core.Cleared())

    async def told(self) -> None:
        """Wait until what this process has to tell the store was told, or could not be."""
        if self._telling:
            await asyncio.wait(self._telling)

    # The traffic.

    def look_soon(self, now: float) -> None:
        """Start a look in the background, the only one until the next is due."""
        self.look_due = now + LOOK_INTERVAL_S
        if self.link is not None:
            self._own(self._looking, self.look())

    async def look(self, *, initial: bool = False) -> None:
        """Take over what the store holds, and keep our counters there; `initial` fetches counters instead."""
        if self.link is None:
            return
        self.look_due = self.now() + LOOK_INTERVAL_S
        snapshot = replace(self.metrics)
        fetch = initial and not snapshot.total_calls
        counters = b"" if fetch or snapshot == self._kept else write_counters(snapshot)
        asked_us = self.view.stamp_us
        seen = await self.link.run(
            scripts.breaker_read(self._keys, counters=counters, now_us=self.link.now_us())
        )
        if seen is None:
            return
        if counters:
            self._kept = snapshot
        stored = read_counters(seen.counters) if fetch else None
        if stored is not None and not self.metrics.total_calls:
            self.metrics, self._kept = stored, replace(stored)
        foreign = read_foreign(seen.foreign, seen.foreign_ttl_ms)
        self.apply(core.Answered(record=seen.record, foreign=foreign, initial=initial, asked_us=asked_us))
        self._join()

    async def _publish(self, effect: core.Publish) -> None:
        call = scripts.breaker_trip(
            self._keys,
            generation=effect.generation,
            age_us=to_us(max(0.0, effect.age)),
            failures=len(self.view.failures),
            **self._timing(),
        )
        await self._ask(call)

    async def _ask(self, call: Call[BreakerReply], correlation_id: str | None = None) -> BreakerReply | None:
        asked_us = self.view.stamp_us
        reply = None if self.link is None else await self.link.run(call)
        if reply is not None:
            self.look_due = self.now() + LOOK_INTERVAL_S
            self.apply(core.Answered(record=reply.record, asked_us=asked_us), correlation_id)
            self._join()
        return reply

    def _timing(self) -> _Timing:
        longest = 2 * (self.config.timeout_seconds + self.config.recovery_timeout_seconds)
        now_us = "" if self.link is None else self.link.now_us()
        return {"now_us": now_us, "ttl_ms": round(1000 * max(MIN_RECORD_TTL_S, longest))}

    def _own[T](
        self, tasks: set[asyncio.Task[Any]], work: Coroutine[Any, Any, T], *, eager: bool = False
    ) -> asyncio.Task[T]:
        task = asyncio.Task(work, loop=asyncio.get_running_loop(), eager_start=eager)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return task

    # The subscription.

    def changed_elsewhere(self, record: Record) -> None:
        """Take over a change that a process told."""
        self.apply(core.Answered(record=record))

    def look_again(self) -> None:
        """Find out what the subscription may have missed."""
        self.look_soon(self.now())

    def want_push(self) -> None:
        """Subscribe as soon as the store has answered a script."""
        self._wants_push = True

    def _join(self) -> None:
        if (
            self._wants_push
            and not self._joined
            and self.link is not None
            and hasattr(self.link.client, "pubsub")
        ):
            self._joined = True
            push.join(self.link.client, self._keys.channel, self._keys.name, self)

    async def close(self) -> None:
        """End the subscription, wait for what is on its way, and leave the counters with the store."""
        self._wants_push = False
        if self._joined and self.link is not None:
            self._joined = False
            await push.leave(self.link.client, self._keys.channel, self._keys.name, self)
        if self.link is not None and self.link.up and self.metrics != self._kept:
            self._own(self._looking, self.look())
        while self._telling or self._looking:
            await asyncio.wait(self._telling | self._looking)
