"""The tables of what moved, held against the package itself."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import pytest
import redis.asyncio as aioredis

import tta_agent_coordination as package
from tta_agent_coordination.adopt.imports.moved import (
    MODULES,
    PACKAGE,
    STAYS_WHERE_UNSEEN,
    Moved,
    Target,
    _class,
    _function,
)

MOVED = [(module, name, moved) for module, table in MODULES.items() for name, moved in table.items()]
each = pytest.mark.parametrize(
    ("module", "name", "moved"), MOVED, ids=[f"{module}.{name}" for module, name, _ in MOVED]
)


def found(moved: Moved) -> Any:  # noqa: ANN401 - a class or a function
    """Return what the package has there."""
    return getattr(importlib.import_module(moved.target.module), moved.target.name)


def made(kind: type[Any]) -> object:
    """Return an object of a class, where its attributes are made by its constructor."""
    client = aioredis.Redis()
    known: dict[str, dict[str, Any]] = {
        "RedisMessageCoordinator": {"redis": client},
        "RedisAgentRegistry": {"redis": client},
        "CircuitBreaker": {"redis": client, "name": "a"},
        "AgentRegistry": {},
        "InMemoryMetrics": {},
        "CircuitBreakerMetricsCollector": {},
        "DeliveryStats": {},
        "QueueGauges": {},
        "RetryStats": {},
        "RetryConfig": {},
        "CircuitBreakerConfig": {},
        "CircuitBreakerMetrics": {},
    }
    return kind(**known[kind.__name__]) if kind.__name__ in known else kind


@each
def test_moved_name_is_where_the_table_says(module: str, name: str, moved: Moved) -> None:
    """Broken: a rewritten import fails."""
    del module, name
    assert found(moved).__name__ == moved.target.name
    assert moved.target.module.startswith(PACKAGE)
    if moved.target.module == PACKAGE:
        assert moved.target.name in package.__all__
    else:
        assert moved.target.name in importlib.import_module(moved.target.module).__all__


@each
def test_class_has_the_members_that_leave_with_it(module: str, name: str, moved: Moved) -> None:
    """Broken: a method of v0 is taken away, and the package has none in its place."""
    del module, name
    kind = found(moved)
    if inspect.isfunction(kind):
        assert not moved.members | moved.private
        return
    one = made(kind)
    fields = {*getattr(kind, "model_fields", ())}
    missing = [member for member in moved.members | moved.private if not hasattr(one, member)]
    assert [member for member in missing if member not in fields] == []


@each
def test_constructor_takes_what_a_half_hands_on(module: str, name: str, moved: Moved) -> None:
    """Broken: the constructor of a subclass that stays in TTA fails."""
    del module, name
    if moved.takes:
        assert {*moved.takes} <= {*inspect.signature(found(moved)).parameters}


def test_names_are_unique_and_those_that_stay_are_known() -> None:
    """Broken: an import from the package's root would not know which one is meant."""
    names = [name for _, name, _ in MOVED]
    assert len({*names}) == len(names)
    assert {*names} >= STAYS_WHERE_UNSEEN


def test_line_of_the_table_is_read_word_by_word() -> None:
    """Broken: a member that the package has stays in TTA, or one that it lacks leaves."""
    full = _class("A", "one two", private="_three _four", takes="five six", module=f"{PACKAGE}.b")
    assert full == Moved(
        target=Target(module=f"{PACKAGE}.b", name="A"),
        members=frozenset({"one", "two"}),
        private=frozenset({"_three", "_four"}),
        takes=("five", "six"),
    )
    assert _class("A", "") == _function("A") == Moved(target=Target(module=PACKAGE, name="A"))
