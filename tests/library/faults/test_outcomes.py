"""Rare ends of a call: overtaken lanes, a gate full of waiting calls, pipelines that fail half-way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis.asyncio as aioredis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.library.conftest import MakeCoordinator
from tests.library.support.builders import INPUT, NARRATIVE, WORLD, drain, make_message, send_ids, take
from tests.library.support.commands import Send, intercept
from tests.library.support.peek import Peek
from tests.library.support.servers import RealLane, RealServer
from tta_agent_coordination import (
    MessageCoordinatorError,
    MessageType,
    OutcomeUnknownError,
    RedisMessageCoordinator,
)
from tta_agent_coordination._redis.gate import Gate
from tta_agent_coordination.coordinators import _discovery
from tta_agent_coordination.testing import ManualClock


class FailOn:
    """Fail the n-th command of one name, counted from 0, as a broken connection does."""

    def __init__(self, name: str, nth: int = 0) -> None:
        self._name, self._left = name, nth
        self.failed = False

    async def __call__(self, send: Send, args: tuple[Any, ...], options: dict[str, Any]) -> object:
        """Pass a command on, or fail."""
        if args[0] == self._name:
            if self._left == 0:
                self.failed = True
                raise RedisConnectionError("the connection broke")
            self._left -= 1
        return await send(*args, **options)


def overtaken(make_coordinator: MakeCoordinator) -> RedisMessageCoordinator:
    """Return a coordinator whose lane somebody else has already advanced, as after a copied process image."""
    original: Any = make_coordinator()
    copy: Any = make_coordinator()
    copy._calls._owner = original._calls._owner
    original._calls._sequence = iter(range(1_000, 2_000))
    copy.original = original
    return copy


async def test_overtaken_call_is_an_unknown_outcome(make_coordinator: MakeCoordinator, peek: Peek) -> None:
    """Broken: a refused zombie's caller is told that it worked, or for certain that it did not."""
    copy: Any = overtaken(make_coordinator)
    await send_ids(copy.original, ["message-1"])
    result = await copy.send_message(INPUT, WORLD, make_message("message-2"))
    assert (result.delivered, result.cause) == (False, "outcome unknown")
    with pytest.raises(OutcomeUnknownError, match="overtook"):
        await copy.receive(WORLD)
    with pytest.raises(OutcomeUnknownError):
        await copy.recover_pending(WORLD)
    (broadcast,) = await copy.broadcast_message(INPUT, make_message("message-3"), [WORLD])
    assert broadcast.cause == "outcome unknown"
    assert await peek.ids(WORLD) == ["message-1"]
    assert await drain(copy.original) == ["message-1"]


async def test_cancelled_waiting_calls_free_the_gate(private_server: RealServer) -> None:
    """Broken: calls that were cancelled while they waited for their turn took turns away for ever."""
    lane = RealLane(port=private_server.port)
    async with RedisMessageCoordinator(lane.client()) as coordinator:
        await send_ids(coordinator, ["first one"])
        private_server.pause()
        calls = [
            asyncio.create_task(coordinator.send_message(INPUT, WORLD, make_message(f"message-{n:02}")))
            for n in range(60)
        ]
        for _ in range(20):
            await asyncio.sleep(0)
        for call in calls[10:50:2]:
            call.cancel()
        private_server.resume()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        kept = [answer for answer in answers if not isinstance(answer, BaseException)]
        assert len(kept) == 40
        assert all(answer.delivered for answer in kept)
        again = await asyncio.gather(
            *(coordinator.send_message(INPUT, WORLD, make_message(f"again-{n:03}")) for n in range(100))
        )
        assert all(answer.delivered for answer in again)
    await lane.close()


async def test_turn_that_came_too_late_is_passed_on() -> None:
    """Broken: a call that is cancelled just when its turn comes keeps the turn."""
    gate = Gate(1)
    await gate.enter()
    late = asyncio.create_task(gate.enter())
    await asyncio.sleep(0)
    gate.leave()
    late.cancel()
    await asyncio.gather(late, return_exceptions=True)
    await asyncio.wait_for(gate.enter(), timeout=5)
    gate.leave()


async def test_broadcast_pipeline_that_breaks_tells_every_recipient(
    make_coordinator: MakeCoordinator, client: aioredis.Redis
) -> None:
    """Broken: a broadcast raises, or claims delivery, when its pipeline is lost."""
    coordinator = make_coordinator(client=client)
    await send_ids(coordinator, ["message-1"])
    await drain(coordinator)
    with intercept(client, FailOn("PIPELINE")):
        results = await coordinator.broadcast_message(INPUT, make_message(), [WORLD, NARRATIVE])
    assert [(result.delivered, result.cause) for result in results] == [(False, "outcome unknown")] * 2
    with pytest.raises(OutcomeUnknownError) as caught:
        results[0].raise_for_error()
    assert isinstance(caught.value.__cause__, RedisConnectionError)


async def test_broadcast_that_cannot_load_its_script_tells_every_recipient(
    make_coordinator: MakeCoordinator, client: aioredis.Redis
) -> None:
    """Broken: the store goes away between the first try and the loading of the script."""
    coordinator = make_coordinator(client=client)
    await Peek(client).raw("SCRIPT FLUSH")
    with intercept(client, FailOn("SCRIPT LOAD")):
        results = await coordinator.broadcast_message(INPUT, make_message(), [WORLD])
    assert [result.delivered for result in results] == [False]
    assert await coordinator.receive(WORLD) is None


async def test_broadcast_without_a_store_tells_every_recipient() -> None:
    """Broken: an outage makes a broadcast raise, although each recipient has a result."""
    lane = RealLane(port=1)
    async with RedisMessageCoordinator(lane.client(retry=Retry(NoBackoff(), 0))) as coordinator:
        results = await coordinator.broadcast_message(INPUT, make_message(), [WORLD, NARRATIVE])
    await lane.close()
    assert [(result.delivered, result.cause) for result in results] == [(False, "store unavailable")] * 2


async def test_broadcast_to_subscribers_raises_when_they_cannot_be_read(
    make_coordinator: MakeCoordinator, client: aioredis.Redis
) -> None:
    """Broken: an outage reads as "nobody is subscribed"."""
    coordinator = make_coordinator(client=client)
    await coordinator.subscribe_to_messages(WORLD, [MessageType.EVENT])
    event = make_message(message_type=MessageType.EVENT)
    for name in ("SSCAN", "SCAN", "PIPELINE"):
        fresh = make_coordinator(client=client)
        failing = FailOn(name)
        with intercept(client, failing), pytest.raises(MessageCoordinatorError):
            await fresh.broadcast_message(INPUT, event)
        assert failing.failed
    assert await coordinator.receive(WORLD) is None


async def test_broadcast_of_a_bad_payload_tells_every_recipient(coordinator: RedisMessageCoordinator) -> None:
    """Broken: what cannot be encoded is a result, in a broadcast too."""
    bad = make_message()
    object.__setattr__(bad, "payload", {"v": float("nan")})
    results = await coordinator.broadcast_message(INPUT, bad, [WORLD, NARRATIVE])
    assert [result.cause for result in results] == ["payload not JSON"] * 2


async def test_thousands_of_inboxes_are_recovered(
    real_lane: RealLane, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: an index longer than one page, or than what a process remembers, hides inboxes."""
    peek = Peek(real_lane.client())
    coordinator = RedisMessageCoordinator(real_lane.client(), clock=clock)
    monkeypatch.setattr(_discovery, "_MEMO", 2)
    await peek.raw("SADD", "ao:inboxes", *(f"agent:{n}" for n in range(1_500)))
    for n in range(5):
        await coordinator.send_message(
            INPUT, NARRATIVE.model_copy(update={"instance": str(n)}), make_message()
        )
    assert int(await peek.raw("SCARD", "ao:inboxes")) == 1_505
    await send_ids(coordinator, ["message-1"])
    received = await take(coordinator, WORLD, 5)
    await peek.raw("ZADD", peek.key("reserved_deadlines", WORLD), 1, received.token)
    assert await coordinator.recover_pending() == 1
    await peek.raw("FLUSHALL")
