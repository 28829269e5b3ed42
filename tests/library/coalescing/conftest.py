"""A coordinator on a server that has all its scripts, alone or behind a faulty proxy.

What needs commands that are truly under way, or errors that only a real server answers with, asks for
`real_lane`; the barrier decides what is under way on the embedded server as well.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import redis.asyncio as aioredis

from tests.library.coalescing.support import lines_of, warm
from tests.library.support.proxy import FaultyProxy, faulty_proxy
from tests.library.support.servers import RealLane
from tta_agent_coordination import RedisMessageCoordinator


@pytest.fixture
async def coordinator(client: aioredis.Redis) -> AsyncIterator[RedisMessageCoordinator]:
    """A coordinator on this lane, with every script on the server."""
    async with RedisMessageCoordinator(client) as made:
        await warm(made)
        yield made
        assert lines_of(made) == 0, "an idle coordinator keeps no line"


@pytest.fixture
async def real_coordinator(real_lane: RealLane) -> AsyncIterator[RedisMessageCoordinator]:
    """The same on the real server, for what cannot be seen on the embedded one."""
    async with RedisMessageCoordinator(real_lane.client()) as made:
        await warm(made)
        yield made
        assert lines_of(made) == 0, "an idle coordinator keeps no line"


@pytest.fixture
async def proxy(real_lane: RealLane) -> AsyncIterator[FaultyProxy]:
    """A proxy in front of the real server."""
    async with faulty_proxy(real_lane.port) as running:
        yield running
