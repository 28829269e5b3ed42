"""How often a failing agent is restarted: spaced, within a budget, and locked out after failures."""

from __future__ import annotations

from tta_agent_coordination.registries._restart import (
    RestartHistory,
    RestartPolicy,
    after_attempt,
    may_restart,
)

POLICY = RestartPolicy(spacing_s=1.0, window_s=60.0, budget=3, failures=10)


def attempted(*times: float, succeeded: bool = True) -> RestartHistory:
    """Return the history of attempts at these times."""
    history = RestartHistory()
    for now in times:
        history = after_attempt(history, now, POLICY, succeeded=succeeded)
    return history


def test_budget_counts_the_attempts_of_a_window() -> None:
    """Broken: an agent that fails after each restart is restarted without end, or never again."""
    history = attempted(1000.0, 1010.0, 1020.0)
    assert not may_restart(history, 1050.0, POLICY)
    assert not may_restart(history, 1060.0, POLICY), "the first is just within the window"
    assert may_restart(history, 1060.5, POLICY)


def test_attempts_out_of_the_window_are_forgotten() -> None:
    """Broken: the history of an agent that fails for weeks grows without end, or is lost too early."""
    assert attempted(1000.0, 1030.0, 1060.0).attempts == (1000.0, 1030.0, 1060.0)
    assert attempted(1000.0, 1030.0, 1060.5).attempts == (1030.0, 1060.5)
