"""What a coordinator says: logs that operators and TTA look for, warnings once, and a client of its own."""

from __future__ import annotations

import asyncio
import logging
import os

import pytest

from tests.library.conftest import MakeCoordinator
from tests.library.support.builders import INPUT, WORLD, drain, make_message, send_ids, take
from tests.library.support.peek import Peek
from tests.library.support.servers import RealLane
from tta_agent_coordination import FailureType, RedisMessageCoordinator
from tta_agent_coordination.testing import ManualClock


async def test_dead_letter_is_logged_in_v0_words(
    coordinator: RedisMessageCoordinator, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: TTA's alerts look for this text."""
    await send_ids(coordinator, ["message-1"])
    await coordinator.nack(WORLD, (await take(coordinator)).token, FailureType.PERMANENT, "why")
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.getMessage() == "DLQ enqueue for world:1 message_id=message-1 attempts=1 error=why"


async def test_recovery_is_logged_in_v0_words(
    coordinator: RedisMessageCoordinator, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: TTA's operators look for this text."""
    caplog.set_level(logging.INFO)
    await send_ids(coordinator, ["message-1"])
    await take(coordinator, WORLD, 1)
    clock.advance(2)
    await coordinator.recover_pending(WORLD)
    assert "Recovered 1 messages for agent world:1" in caplog.messages


async def test_payload_is_never_logged(
    coordinator: RedisMessageCoordinator, peek: Peek, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: what agents say to each other does not belong into logs."""
    caplog.set_level(logging.DEBUG)
    await coordinator.send_message(INPUT, WORLD, make_message(payload={"note": "a secret"}))
    await peek.raw("ZADD", peek.level_key(WORLD, 9), 1, "a secret that nobody can read")
    await coordinator.nack(WORLD, (await take(coordinator)).token, FailureType.PERMANENT)
    assert caplog.records
    assert "secret" not in caplog.text


async def test_evicting_server_is_warned_about_once(
    real_lane: RealLane, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: a server that evicts keys loses messages, and nobody is told."""
    peek = Peek(real_lane.client())
    await peek.raw("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        async with RedisMessageCoordinator(real_lane.client()) as coordinator:
            await send_ids(coordinator, ["message-1", "message-2"])
            await coordinator.send_message(INPUT, INPUT, make_message())
            await drain(coordinator)
            await drain(coordinator, INPUT)
    finally:
        await peek.raw("CONFIG", "SET", "maxmemory-policy", "noeviction")
    assert len([text for text in caplog.messages if "noeviction" in text]) == 1


async def test_long_audit_list_is_warned_about_once(
    make_coordinator: MakeCoordinator, peek: Peek, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: above 50,000 entries an ack out of order becomes slow, and nobody is told."""
    members = [part for n in range(50_000) for part in (n, f"filler {n}")]
    for start in range(0, len(members), 20_000):
        await peek.raw("ZADD", peek.level_key(WORLD, 1), *members[start : start + 20_000])
    for audit, warnings in (("off", 0), ("exact", 1)):
        coordinator = make_coordinator(audit=audit, queue_size=100_000)
        await send_ids(coordinator, ["message-1", "message-2"])
        assert len([text for text in caplog.messages if "audit" in text]) == warnings
    await peek.raw("FLUSHALL")


async def test_from_url_owns_its_client(real_lane: RealLane) -> None:
    """Broken: a client that the coordinator made is closed by the coordinator."""
    async with RedisMessageCoordinator.from_url(real_lane.url, "ao", queue_size=5) as coordinator:
        await send_ids(coordinator, ["message-1"])
        assert await drain(coordinator) == ["message-1"]
        assert "queue_size=5" in repr(coordinator)


async def test_hundreds_of_calls_at_once_share_the_default_pool(real_lane: RealLane) -> None:
    """Broken: redis-py's default pool raises at one or two hundred concurrent tasks."""
    async with RedisMessageCoordinator(real_lane.client()) as coordinator:
        ids = [f"message-{n:03}" for n in range(300)]
        results = await asyncio.gather(
            *(coordinator.send_message(INPUT, WORLD, make_message(message_id)) for message_id in ids)
        )
        assert all(result.delivered for result in results)
        assert sorted(await drain(coordinator)) == ids


async def test_lanes_are_given_back(coordinator: RedisMessageCoordinator, peek: Peek) -> None:
    """Broken: memory grows with every message; a lane is reused, one for each call at the same time."""
    for n in range(20):
        await send_ids(coordinator, [f"message-{n:02}"])
    await drain(coordinator)
    lanes = [key for key in await peek.keys() if key.startswith("ao:op:")]
    assert len(lanes) == 1
    assert 0 < int(await peek.raw("PTTL", lanes[0])) <= 86_400_000


async def test_forked_process_has_lanes_of_its_own(
    coordinator: RedisMessageCoordinator, peek: Peek, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a child that goes on with its parent's lanes is answered with its parent's answers."""
    await send_ids(coordinator, ["message-1"])
    monkeypatch.setattr(os, "getpid", lambda: -1)
    await send_ids(coordinator, ["message-2"])
    assert len([key for key in await peek.keys() if key.startswith("ao:op:")]) == 2
    assert await drain(coordinator) == ["message-1", "message-2"]


@pytest.mark.parametrize("jitter", [False, True])
async def test_jitter_shortens_backoff_to_no_less_than_half(
    make_coordinator: MakeCoordinator, clock: ManualClock, peek: Peek, jitter: bool
) -> None:
    """Broken: without jitter the delay is exact; with it, lies between half and all of it."""
    coordinator = make_coordinator(jitter=jitter, backoff_base=10.0, retry_attempts=100)
    delays: set[int] = set()
    for n in range(8):
        await send_ids(coordinator, [f"message-{n}"])
        await coordinator.nack(WORLD, (await take(coordinator)).token)
        (due,) = (await peek.level(WORLD, 5)).values()
        delays.add(due - clock.now_us())
        clock.advance(20)
        await drain(coordinator)
    assert all(5_000_000 <= delay <= 10_000_000 for delay in delays)
    assert (len(delays) > 1) is jitter


async def test_audit_off_keeps_no_list(
    make_coordinator: MakeCoordinator, clock: ManualClock, peek: Peek
) -> None:
    """Broken: without an audit list every operation works and no list appears."""
    coordinator = make_coordinator(audit="off")
    await send_ids(coordinator, ["message-1", "message-2", "message-3"])
    await coordinator.nack(WORLD, (await take(coordinator)).token)
    await coordinator.release(WORLD, (await take(coordinator)).token)
    await coordinator.nack(WORLD, (await take(coordinator)).token, FailureType.PERMANENT)
    (letter,) = await coordinator.dead_letters(WORLD)
    await coordinator.requeue_dead(WORLD, [letter.id])
    clock.advance(10)
    assert "ao:queue:world:1" not in await peek.keys()
    assert await drain(coordinator) == ["message-3", "message-2", "message-1"]
