"""Fixtures of the registry's tests: registries as one process has them, closed when the test is over."""

# ruff: noqa: ANN401 - clients and options are of any kind here

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Protocol

import pytest

from tests.library.support.servers import Lane
from tta_agent_coordination import RedisAgentRegistry
from tta_agent_coordination.testing import ManualClock

TTL_S = 30.0
"""The heartbeat TTL of the tests' registries, seconds."""


class MakeRegistry(Protocol):
    """Builds a registry as one process has it: with a client of its own."""

    def __call__(self, *, client: Any = None, **options: Any) -> RedisAgentRegistry: ...


@pytest.fixture
async def make_registry(lane: Lane, clock: ManualClock) -> AsyncIterator[MakeRegistry]:
    """Build registries on this lane and the manual clock."""
    made: list[RedisAgentRegistry] = []

    def make(*, client: Any = None, **options: Any) -> RedisAgentRegistry:
        options.setdefault("clock", clock)
        options.setdefault("heartbeat_ttl_s", TTL_S)
        registry = RedisAgentRegistry(client or lane.client(), **options)
        made.append(registry)
        return registry

    yield make
    for registry in made:
        await registry.aclose()
