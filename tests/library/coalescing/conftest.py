"""A coordinator on a real server whose scripts are loaded, alone or behind a faulty proxy."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import redis.asyncio as aioredis

from tests.library.coalescing.support import lines_of, warm
from tests.library.support.peek import Peek
from tests.library.support.proxy import FaultyProxy, faulty_proxy
from tests.library.support.servers import RealLane
from tta_agent_coordination import (
    RedisMessageCoordinator,
)


@pytest.fixture
def client(real_lane: RealLane) -> aioredis.Redis:
    """A client of the real server."""
    return real_lane.client()


@pytest.fixture
def peek(real_lane: RealLane) -> Peek:
    """A look at what is stored."""
    return Peek(real_lane.client())


@pytest.fixture
async def coordinator(client: aioredis.Redis) -> AsyncIterator[RedisMessageCoordinator]:
    """A coordinator on the real server, with every script loaded."""
    async with RedisMessageCoordinator(client) as made:
        await warm(made)
        yield made
        assert lines_of(made) == 0, "an idle coordinator keeps no line"


@pytest.fixture
async def proxy(real_lane: RealLane) -> AsyncIterator[FaultyProxy]:
    """A proxy in front of the real server."""
    async with faulty_proxy(real_lane.port) as running:
        yield running
