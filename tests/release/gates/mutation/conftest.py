"""What every test of the mutation gate checks on its way."""

import sys
from collections.abc import Callable

import pytest

from release.model import Problem

_POSIX = ["test_driver.py", "test_driver_program.py", "test_lane_limits.py"]

collect_ignore = _POSIX if sys.platform == "win32" else []
"""mutmut does not run on Windows, and the driver uses signals that are not there."""


@pytest.fixture(autouse=True)
def complete_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal names its rule, the place, what happened and what to do; none of them may be missing."""
    make: Callable[..., None] = Problem.__init__

    def checked(self: Problem, **parts: str) -> None:
        make(self, **parts)
        assert all(type(part) is str and part for part in parts.values()), parts

    monkeypatch.setattr(Problem, "__init__", checked)
