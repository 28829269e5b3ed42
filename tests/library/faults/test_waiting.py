"""Waiting receives while the server or the way to it fails."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tests.library.support.builders import WORLD, id_of, send_ids
from tests.library.support.servers import RealLane, RealServer, started_server
from tests.library.support.waiting import eventually
from tta_agent_coordination import RedisMessageCoordinator, StoreUnavailableError

LONG_S = 60.0
"""A wait that no test sits out."""


async def blocked(coordinator: RedisMessageCoordinator) -> None:
    """Return when the coordinator reads markers."""
    await eventually("markers are read", lambda: coordinator._waker._blocked is not None)


async def test_killed_connection_is_opened_again(
    real_lane: RealLane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: CLIENT KILL ends the wait, or leaves a consumer that nothing wakes."""
    monkeypatch.setattr("tta_agent_coordination.coordinators._leases.IDLE_S", LONG_S)
    client: Any = real_lane.client()
    async with (
        RedisMessageCoordinator(real_lane.client()) as coordinator,
        RedisMessageCoordinator(real_lane.client()) as sender,
    ):
        for number in range(3):
            task = asyncio.create_task(coordinator.receive(WORLD, wait=LONG_S))
            await blocked(coordinator)
            clients = (await client.execute_command("CLIENT", "LIST")).decode().splitlines()
            reading = [line for line in clients if "cmd=bzpopmin" in line]
            for line in reading:
                await client.execute_command("CLIENT", "KILL", "ID", line.split()[0].partition("=")[2])
            await eventually("the read ended", lambda: coordinator._waker._blocked is None)
            await blocked(coordinator)
            await send_ids(sender, [f"message-{number}"])
            async with asyncio.timeout(30):
                received = await task
            assert received is not None
            assert id_of(received) == f"message-{number}"
            await coordinator.ack(WORLD, received.token)


async def test_wait_outlives_a_restart_of_the_server(server_binary: str) -> None:
    """Broken: a server that restarts ends every consumer, or wakes none of them afterwards."""
    with started_server(server_binary) as first:
        port = first.port
        lane = RealLane(port=port)
        client = lane.client(retry=Retry(NoBackoff(), 0))
        coordinator = RedisMessageCoordinator(client)
        task = asyncio.create_task(coordinator.receive(WORLD, wait=LONG_S))
        await blocked(coordinator)
        first.end()
        await eventually("the outage is noticed", lambda: coordinator._waker._blocked is None)
    with started_server(server_binary, port=port):
        await blocked(coordinator)
        async with RedisMessageCoordinator(lane.client()) as sender:
            await send_ids(sender, ["message-1"])
        async with asyncio.timeout(30):
            assert id_of(await task) == "message-1"
        await coordinator.aclose()
        await lane.close()


async def test_wait_that_ends_in_an_outage_says_so(private_server: RealServer) -> None:
    """Broken: an outage that lasts as long as the wait looks like an empty inbox."""
    lane = RealLane(port=private_server.port)
    coordinator = RedisMessageCoordinator(lane.client(retry=Retry(NoBackoff(), 0)))
    task = asyncio.create_task(coordinator.receive(WORLD, wait=0.5))
    await blocked(coordinator)
    private_server.end()
    with pytest.raises(StoreUnavailableError):
        await task
    await coordinator.aclose()
    await lane.close()


async def test_first_look_of_a_wait_raises_what_the_store_answers(
    real_lane: RealLane,
) -> None:
    """Broken: a damaged inbox is waited for instead of being reported."""
    client: Any = real_lane.client()
    await client.execute_command("SET", "ao:reserved:world:1", "text")
    coordinator = RedisMessageCoordinator(client)
    with pytest.raises(StoreUnavailableError, match="WRONGTYPE"):
        await coordinator.receive(WORLD, wait=LONG_S)
    await coordinator.aclose()
    await client.execute_command("DEL", "ao:reserved:world:1")
