"""What a coordinator looks through for v0's inboxes: so many pages a call, and the next call goes on."""

from __future__ import annotations

import pytest
import redis.asyncio as aioredis

from tests.library.conftest import MakeCoordinator
from tests.library.support.builders import WORLD, drain
from tests.library.support.commands import count_commands
from tests.library.support.peek import Peek
from tests.library.support.servers import Lane
from tests.library.v0_model import V0Coordinator
from tta_agent_coordination import RedisMessageCoordinator
from tta_agent_coordination.coordinators import _discovery
from tta_agent_coordination.testing import ManualClock


@pytest.mark.leaves_keys("ao:clock:*", "ao:lapses:*", "ao:inflight:*", "ao:wake:*")
async def test_one_call_looks_at_so_many_pages_and_the_next_goes_on(
    lane: Lane,
    client: aioredis.Redis,
    make_coordinator: MakeCoordinator,
    clock: ManualClock,
    peek: Peek,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Broken: a server with many keys holds one call for ever, or what lies behind is never found."""
    monkeypatch.setattr(_discovery, "_MAX_PAGES", 1)
    monkeypatch.setattr(_discovery, "_PAGE", 10)
    v0 = V0Coordinator(lane.client(), now_us=clock.now_us)
    await v0.send("world:1", "message-1")
    await v0.receive("world:1", 1)
    clock.advance(2)
    for number in range(300):
        await peek.raw("SET", f"ao:elsewhere:{number}", "x", "PX", 600_000)
    coordinator = make_coordinator(client=client)
    recovered, calls = 0, 0
    while not recovered:
        calls += 1
        assert calls < 300
        with count_commands(client) as counted:
            recovered = await coordinator.recover_pending()
        assert counted.names.count("SCAN") == 1
    assert await drain(coordinator) == ["message-1"]


async def test_limits_can_be_set_with_and_without_awaiting(coordinator: RedisMessageCoordinator) -> None:
    """Broken: code that awaits `configure`, as v0's callers do, fails."""
    coordinator.configure(queue_size=7)
    assert await coordinator.configure(retry_attempts=1) is None
    assert "queue_size=7, retry_attempts=1" in repr(coordinator)
    assert await drain(coordinator, WORLD) == []
