"""Configure: keyword-only, None leaves a value, effective at once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.library.support.builders import INPUT, WORLD, drain, make_message, take
from tests.library.support.peek import Peek
from tta_agent_coordination import InMemoryMetrics, RedisMessageCoordinator
from tta_agent_coordination.testing import ManualClock


def values(coordinator: RedisMessageCoordinator) -> tuple[Any, ...]:
    """Return the attributes that TTA reads and assigns."""
    return (
        coordinator._queue_size,
        coordinator._retry_attempts,
        coordinator._backoff_base,
        coordinator._backoff_factor,
        coordinator._backoff_max,
    )


async def test_defaults_are_v0s(coordinator: RedisMessageCoordinator) -> None:
    """Broken: adopting by imports alone keeps every limit."""
    assert values(coordinator) == (10_000, 3, 1.0, 2.0, 30.0)


async def test_attributes_that_tta_touches_exist(coordinator: RedisMessageCoordinator) -> None:
    """Broken: TTA's wrapper, component and tools read these names."""
    assert coordinator._pfx == "ao"
    assert coordinator._redis is not None
    assert coordinator._agent_router is None
    assert coordinator._reserved_hash(WORLD) == "ao:reserved:world:1"
    assert isinstance(coordinator.metrics, InMemoryMetrics)


async def test_configure_changes_only_what_is_given(coordinator: RedisMessageCoordinator) -> None:
    """Broken: None means unchanged."""
    coordinator.configure(queue_size=5)
    assert values(coordinator) == (5, 3, 1.0, 2.0, 30.0)
    coordinator.configure(
        retry_attempts=0, backoff_base=0.5, backoff_factor=3.0, backoff_max=9.0, queue_size=None
    )
    assert values(coordinator) == (5, 0, 0.5, 3.0, 9.0)


async def test_smallest_values_are_allowed(coordinator: RedisMessageCoordinator, clock: ManualClock) -> None:
    """Broken: a delay that never grows, or an inbox of one, is refused."""
    coordinator.configure(queue_size=1, retry_attempts=9, backoff_base=2, backoff_factor=1, backoff_max=2)
    await coordinator.send_message(INPUT, WORLD, make_message())
    for _ in range(3):
        await coordinator.nack(WORLD, (await take(coordinator)).token)
        assert await coordinator.receive(WORLD) is None
        clock.advance(2)
    assert await drain(coordinator) == ["message-1"]


async def test_configure_takes_effect_at_once(
    coordinator: RedisMessageCoordinator, clock: ManualClock, peek: Peek
) -> None:
    """Broken: the very next operation knows the new limits."""
    await coordinator.send_message(INPUT, WORLD, make_message())
    coordinator.configure(queue_size=1, backoff_base=7.0, backoff_max=7.0)
    assert (await coordinator.send_message(INPUT, WORLD, make_message())).error == "queue full"
    await coordinator.nack(WORLD, (await take(coordinator)).token)
    clock.advance(6.999)
    assert await coordinator.receive(WORLD) is None
    clock.advance(0.001)
    received = await take(coordinator)
    coordinator.configure(retry_attempts=0)
    await coordinator.nack(WORLD, received.token)
    assert len(await peek.dead(WORLD)) == 1


async def test_attributes_set_from_outside_take_effect(
    coordinator: RedisMessageCoordinator, clock: ManualClock, peek: Peek
) -> None:
    """Broken: TTA's subclass assigns the private names after construction."""
    coordinator._retry_attempts, coordinator._backoff_base, coordinator._backoff_max = 1, 4.0, 4.0
    await coordinator.send_message(INPUT, WORLD, make_message())
    await coordinator.nack(WORLD, (await take(coordinator)).token)
    clock.advance(3.9)
    assert await coordinator.receive(WORLD) is None
    clock.advance(0.2)
    await coordinator.nack(WORLD, (await take(coordinator)).token)
    assert len(await peek.dead(WORLD)) == 1


@pytest.mark.parametrize("wrong", [{"queue_size": 0}, {"retry_attempts": -1}, {"backoff_base": float("nan")}])
async def test_configure_refuses_all_or_nothing(
    coordinator: RedisMessageCoordinator, wrong: dict[str, Any]
) -> None:
    """Broken: a refused call leaves every value as it was."""
    before = values(coordinator)
    with pytest.raises(ValueError, match=next(iter(wrong))):
        coordinator.configure(backoff_max=99.0, **wrong)
    assert values(coordinator) == before


async def test_configure_is_keyword_only(coordinator: RedisMessageCoordinator) -> None:
    """Broken: a positional limit would silently mean something else one day."""
    anything: Any = coordinator
    with pytest.raises(TypeError):
        anything.configure(5)
