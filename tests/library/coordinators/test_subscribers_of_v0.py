"""Subscribers that only v0 recorded: found by the first broadcast, and by every one after it."""

from __future__ import annotations

from tests.library.support.builders import INPUT, WORLD, drain, make_message
from tests.library.support.peek import Peek
from tta_agent_coordination import MessageType, RedisMessageCoordinator


async def test_broadcast_keeps_knowing_subscribers_that_v0_recorded(
    coordinator: RedisMessageCoordinator, peek: Peek
) -> None:
    """Broken: what one broadcast found out about v0's subscribers, the next one has forgotten."""
    await peek.raw("SADD", peek.key("subs", WORLD), "event")
    for n in range(3):
        event = make_message(f"message-{n}", message_type=MessageType.EVENT)
        assert len(await coordinator.broadcast_message(INPUT, event)) == 1
    assert await drain(coordinator) == ["message-0", "message-1", "message-2"]
