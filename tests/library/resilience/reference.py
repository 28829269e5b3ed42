"""A breaker as the contract tells it, with nothing clever: what the real decisions are held against.

It knows one store or one process, whichever it stands for, and is told the time in whole seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tta_agent_coordination.resilience import CircuitBreakerConfig

__all__ = ["Reference"]


@dataclass
class Reference:
    """Calls are known by a number; each remembers the period it began in and whether it was a probe."""

    config: CircuitBreakerConfig
    lease: float
    state: str = "closed"
    since: float = 0.0
    period: int = 0
    failures: list[float] = field(default_factory=list[float])
    successes: int = 0
    probes: dict[int, float] = field(default_factory=dict[int, float])
    began: dict[int, tuple[int, bool]] = field(default_factory=dict[int, tuple[int, bool]])

    def _become(self, state: str, since: float) -> None:
        self.state, self.since = state, since
        self.period += 1
        self.failures, self.successes, self.probes = [], 0, {}

    def ask(self, call: int, now: float) -> str:
        """Return `pass`, `open` or `busy`."""
        if self.state == "half_open" and now >= self.since + self.config.recovery_timeout_seconds:
            self._become("open", self.since + self.config.recovery_timeout_seconds)
        if self.state == "open":
            if now < self.since + self.config.timeout_seconds:
                return "open"
            self._become("half_open", now)
        if self.state == "half_open":
            self.probes = {probe: deadline for probe, deadline in self.probes.items() if deadline > now}
            spent = len(self.probes) + self.successes
            whole = max(self.config.half_open_max_calls, self.config.success_threshold)
            if len(self.probes) >= self.config.half_open_max_calls or spent >= whole:
                return "busy"
            self.probes[call] = now + self.lease
        self.began[call] = (self.period, self.state == "half_open")
        return "pass"

    def end(self, call: int, verdict: str, now: float) -> None:
        """Take the verdict of a call: `ok`, `failed` or `gone`."""
        period, was_probe = self.began.pop(call)
        if period != self.period:
            return
        if not was_probe:
            if verdict == "ok":
                self.failures = []
            if verdict == "failed":
                self.failures = [at for at in self.failures if at >= now - self.config.window_seconds] + [now]
                if len(self.failures) >= self.config.failure_threshold:
                    self._become("open", now)
            return
        stands = self.probes.pop(call, now) > now
        if verdict == "failed":
            self._become("open", now)
        elif verdict == "ok" and stands:
            self.successes += 1
            if self.successes >= self.config.success_threshold:
                self._become("closed", now)

    def open_by_hand(self, now: float) -> None:
        """Open, unless it is."""
        if self.state != "open":
            self._become("open", now)

    def reset(self, now: float) -> None:
        """Close, and clear the count."""
        self.failures = []
        if self.state != "closed":
            self._become("closed", now)
