"""The exception tree."""

from __future__ import annotations

import inspect
import re

import tta_agent_coordination
from tta_agent_coordination import CoordinationError, exceptions


def classes() -> dict[str, type[BaseException]]:
    """Return every exception that the module defines."""
    return {
        name: value
        for name, value in vars(exceptions).items()
        if inspect.isclass(value)
        and issubclass(value, BaseException)
        and value.__module__ == exceptions.__name__
    }


def test_every_exception_has_one_root() -> None:
    """Broken: `except CoordinationError` catches whatever the package raises."""
    assert all(issubclass(value, CoordinationError) for value in classes().values())
    assert CoordinationError.__bases__ == (Exception,)


def test_every_exception_is_exported_and_explained() -> None:
    """Broken: who has to catch an exception has to be able to name and to read it."""
    assert set(classes()) == set(exceptions.__all__)
    for name, value in classes().items():
        assert getattr(tta_agent_coordination, name) is value
        assert value.__doc__


def test_rejection_says_when_to_come_back() -> None:
    """Broken: a caller that was refused waits for nothing, or not at all."""
    told = exceptions.CircuitBreakerOpenError("model is open", retry_after=2.5)
    assert (str(told), told.retry_after) == ("model is open", 2.5)
    bare = exceptions.CircuitBreakerOpenError()
    assert (str(bare), bare.retry_after) == ("", None)


def test_module_docstring_draws_the_whole_tree() -> None:
    """Broken: the drawn tree is what readers learn from; it shows each class under its base."""
    drawn: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    for line in (exceptions.__doc__ or "").splitlines():
        match = re.match(r"([\s│├└─]*)(\w+Error)\b", line)
        if not match:
            continue
        depth, name = len(match[1]), match[2]
        path = [*(entry for entry in path if entry[0] < depth), (depth, name)]
        drawn[name] = path[-2][1] if len(path) > 1 else "Exception"
    assert drawn == {name: value.__bases__[0].__name__ for name, value in classes().items()}
