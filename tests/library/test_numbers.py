"""Numbers that people hand over: finite, whole where it counts, and refused with the argument's name."""

from __future__ import annotations

import math

import pytest

from tta_agent_coordination._numbers import MAX_WHOLE, number, shown, whole


@pytest.mark.parametrize("value", [1, 1.5, 3, 3.0])
def test_number_within_its_bounds_is_taken(value: float) -> None:
    """Broken: a bound itself is refused, or an integer stays one where seconds are counted."""
    found = number("seconds", value, low=1, high=3)
    assert found == value
    assert isinstance(found, float)


@pytest.mark.parametrize(
    "value", [0.999, 3.001, math.inf, -math.inf, math.nan, 10**400, True, "2", None, [2]]
)
def test_number_out_of_its_bounds_is_refused(value: object) -> None:
    """Broken: a time that is no time reaches a script."""
    with pytest.raises(ValueError, match=r"^seconds must be a number in \[1, 3\], not "):
        number("seconds", value, low=1, high=3)


def test_number_may_have_to_be_above_its_bound() -> None:
    """Broken: a lease of 0 seconds is taken, or one just above it is refused."""
    assert number("lease", 1e-9, low=0, high=2, open_low=True) == 1e-9
    assert number("lease", 2, low=0, high=2, open_low=True) == 2
    with pytest.raises(ValueError, match=r"^lease must be a number in \(0, 2\], not 0$"):
        number("lease", 0, low=0, high=2, open_low=True)
    assert number("lease", 0, low=0, high=2) == 0


def test_number_without_an_upper_bound_is_finite() -> None:
    """Broken: what multiplies to infinity is taken."""
    assert number("factor", 1e300, low=0) == 1e300
    with pytest.raises(ValueError, match="factor"):
        number("factor", 1.1e300, low=0)


@pytest.mark.parametrize("value", [0, 5, 7])
def test_whole_number_within_its_bounds_is_taken(value: int) -> None:
    """Broken: a bound itself is refused."""
    assert whole("retries", value, low=0, high=7) == value


@pytest.mark.parametrize("value", [-1, 8, 5.0, False, "5", None])
def test_whole_number_out_of_its_bounds_is_refused(value: object) -> None:
    """Broken: half a retry, or a truth value, counts as a number."""
    with pytest.raises(ValueError, match=rf"^retries must be a whole number in \[0, 7\], not {value!r}$"):
        whole("retries", value, low=0, high=7)


def test_whole_number_is_one_that_lua_counts_exactly() -> None:
    """Broken: 2^53 + 1 is stored as 2^53."""
    assert whole("size", MAX_WHOLE, low=0) == 2**53
    with pytest.raises(ValueError, match="size"):
        whole("size", MAX_WHOLE + 1, low=0)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (10**20 - 1, "99999999999999999999"),
        (10**20, "an integer beyond 10^20"),
        pytest.param(-(10**5000), "an integer beyond 10^20", id="endless"),
        (1e25, "1e+25"),
        ("10", "'10'"),
    ],
)
def test_message_shows_no_endless_number(value: object, text: str) -> None:
    """Broken: an integer of thousands of digits fails in the message that refuses it."""
    assert shown(value) == text
