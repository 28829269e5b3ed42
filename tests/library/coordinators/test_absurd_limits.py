"""Whole limits beyond all reason: refused where they are given, or harmless."""

from __future__ import annotations

import pytest

from tests.library.support.builders import INPUT, WORLD, make_message
from tta_agent_coordination import RedisMessageCoordinator


@pytest.mark.parametrize("size", [2**63, 2**1100], ids=["2^63", "2^1100"])
async def test_huge_whole_limits_are_refused_or_work(coordinator: RedisMessageCoordinator, size: int) -> None:
    """Broken: a limit that is accepted breaks every later operation."""
    try:
        coordinator.configure(queue_size=size, retry_attempts=size)
    except ValueError:
        return
    assert (await coordinator.send_message(INPUT, WORLD, make_message())).delivered
    received = await coordinator.receive(WORLD)
    assert received is not None
    assert await coordinator.nack(WORLD, received.token) is True
