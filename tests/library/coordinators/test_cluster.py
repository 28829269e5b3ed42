"""What a cluster needs of the keys; `test_real_cluster` runs one."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio.cluster import RedisCluster

from tests.library.conftest import MakeCoordinator
from tests.library.support.builders import INPUT, NARRATIVE, WORLD, drain, make_message, send_ids, take
from tests.library.support.peek import Peek
from tta_agent_coordination import (
    MessageCoordinatorError,
    MessageType,
    RedisMessageCoordinator,
    SlotMismatchError,
)
from tta_agent_coordination.testing import ManualClock


async def test_untagged_cluster_client_is_refused() -> None:
    """Broken: without hash tags the keys of one script lie on different nodes; the error says what to do."""
    client: Any = RedisCluster(host="127.0.0.1", port=1)
    with pytest.raises(ValueError, match="hash_tags=True"):
        RedisMessageCoordinator(client)
    RedisMessageCoordinator(client, hash_tags=True)
    await client.aclose()


async def test_hash_tags_brace_the_inbox_in_every_key(make_coordinator: MakeCoordinator, peek: Peek) -> None:
    """Broken: one key outside the slot breaks the script on a cluster."""
    coordinator = make_coordinator(hash_tags=True, max_deliveries=1)
    await coordinator.subscribe_to_messages(WORLD, [MessageType.EVENT])
    await coordinator.send_message(INPUT, WORLD, make_message(), dedup_id="order 7")
    received = await take(coordinator)
    keys = await peek.keys()
    shared = {"ao:inboxes", "ao:subscribers:event"}
    assert shared <= keys
    assert all("{world:1}" in key for key in keys - shared)
    assert await coordinator.ack(WORLD, received.token) is True


async def test_hash_tags_do_everything_without(make_coordinator: MakeCoordinator, clock: ManualClock) -> None:
    """Broken: tagged keys are another key space, and nothing else."""
    coordinator = make_coordinator(hash_tags=True)
    await send_ids(coordinator, ["message-1", "message-2", "message-3"])
    await take(coordinator, WORLD, 1)
    clock.advance(2)
    assert await coordinator.recover_pending() == 1
    await coordinator.subscribe_to_messages(WORLD, [MessageType.EVENT])
    await coordinator.broadcast_message(INPUT, make_message("message-4", message_type=MessageType.EVENT))
    assert await drain(coordinator) == ["message-1", "message-2", "message-3", "message-4"]
    assert await make_coordinator().receive(WORLD) is None


async def test_then_send_across_slots_is_refused_before_anything(
    make_coordinator: MakeCoordinator, peek: Peek
) -> None:
    """Broken: keys that do not share a slot are refused before anything is written."""
    coordinator = make_coordinator(hash_tags=True)
    await send_ids(coordinator, ["message-1"])
    received = await take(coordinator)
    before = await peek.snapshot()
    with pytest.raises(SlotMismatchError, match="slot") as caught:
        await coordinator.ack(WORLD, received.token, then_send=[(NARRATIVE, make_message("follow-up"))])
    assert isinstance(caught.value, MessageCoordinatorError)
    assert await peek.snapshot() == before
    assert (
        await coordinator.ack(WORLD, received.token, then_send=[(WORLD, make_message("follow-up"))]) is True
    )
    assert await drain(coordinator) == ["follow-up"]
