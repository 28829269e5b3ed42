"""Time as a client sees it: microseconds in, ISO-8601 out."""

from __future__ import annotations

import datetime as dt
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_agent_coordination import _clock
from tta_agent_coordination.testing import ManualClock


@pytest.mark.parametrize(
    ("seconds", "microseconds"), [(0, 0), (1, 1_000_000), (0.05, 50_000), (1e-9, 1), (7.5, 7_500_000)]
)
def test_seconds_become_whole_microseconds(seconds: float, microseconds: int) -> None:
    """Broken: a positive duration, however short, must not become none at all."""
    assert _clock.to_us(seconds) == microseconds


@given(st.integers(0, 2**53))
def test_iso_text_says_the_same_moment(microseconds: int) -> None:
    """Broken: a deadline that is told differs from the one that counts."""
    moment = dt.datetime.fromisoformat(_clock.iso_from_us(microseconds))
    assert moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC) == dt.timedelta(microseconds=microseconds)


def test_iso_text_ends_with_the_calendar() -> None:
    """Broken: a score of nonsense in the store makes an answer impossible."""
    assert _clock.iso_from_us(10**30).startswith("9999-12-31")


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("1600000000000000", 1_600_000_000_000_000),
        ("1.5", 1),
        ("inf", 253_402_300_799_000_000),
        ("-inf", -62_135_596_800_000_000),
    ],
)
def test_score_becomes_a_moment_of_the_calendar(text: str, microseconds: int) -> None:
    """Broken: a score that somebody set to infinity stops recovery."""
    assert _clock.score_us(text) == microseconds


def test_microseconds_become_seconds() -> None:
    """Broken: a time that is told is off by its unit."""
    assert _clock.from_us(1_500_000) == 1.5


def test_present_is_told_to_the_microsecond(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: the time that an entry shows is not the one at which it was written."""
    monkeypatch.setattr(time, "time_ns", lambda: 1_700_000_000_123_456_789)
    assert _clock.iso_now(None) == "2023-11-14T22:13:20.123456+00:00"


def test_script_time_is_empty_without_a_clock() -> None:
    """Broken: the server's own time is used only when nothing stands in for it."""
    assert _clock.script_time(None) == ""
    assert _clock.script_time(ManualClock(17)) == "17"
    assert _clock.iso_now(ManualClock(0)) == "1970-01-01T00:00:00+00:00"
    assert dt.datetime.fromisoformat(_clock.iso_now(None)).utcoffset() == dt.timedelta(0)
