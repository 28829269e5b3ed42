"""What a worker knows of the way to its store: when to try again, and what is said of it, once an outage."""

from __future__ import annotations

import logging

import pytest

from tta_agent_coordination.worker import _link
from tta_agent_coordination.worker._link import Link


@pytest.fixture
def longest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the longest of the waits that chance allows."""

    def upper(low: float, high: float) -> float:
        assert (low, high) == (0.5, 1.0)
        return high

    monkeypatch.setattr(_link.random, "uniform", upper)


@pytest.mark.usefixtures("longest")
def test_waits_double_up_to_five_seconds_and_begin_again() -> None:
    """Broken: workers of an outage storm their store, or one of yesterday makes them slow today."""
    link, error = Link("world:1"), OSError("nobody is there")
    assert [link.failed(error) for _ in range(8)] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0]
    assert {link.failed(error) for _ in range(2000)} == {5.0}
    link.well()
    assert link.failed(error) == 0.05


def test_outage_is_told_once_with_its_reason_and_its_end(caplog: pytest.LogCaptureFixture) -> None:
    """Broken: the log drowns in one warning, or nobody reads which inbox was cut off, why and until when."""
    caplog.set_level(logging.INFO)
    link = Link("world:1")
    link.well()
    for text in ("the first", "the second", "the third"):
        link.failed(OSError(text))
    link.well()
    link.well()
    link.failed(TimeoutError("another"))
    away = "the worker of world:1 does not reach its store ({}); it goes on trying, at least every 5 s"
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", away.format("OSError: the first")),
        ("INFO", "the worker of world:1 works again after 3 failures"),
        ("WARNING", away.format("TimeoutError: another")),
    ]
