"""The registry while something breaks: the server, a process, an agent, the way in between."""

# ruff: noqa: ANN401 - commands are of any kind here

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.library.registries.agents import FakeAgent
from tests.library.registries.conftest import TTL_S, MakeRegistry
from tests.library.registries.test_liveness import ONE, names, noting, sweep
from tests.library.support.builders import WORLD, id_of, send_ids
from tests.library.support.commands import Send, intercept
from tests.library.support.proxy import faulty_proxy
from tests.library.support.servers import RealLane, RealServer
from tests.library.support.waiting import eventually
from tta_agent_coordination import (
    AgentEventKind,
    AgentId,
    AgentRegistryError,
    RedisAgentRegistry,
    RedisMessageCoordinator,
)
from tta_agent_coordination.registries import _membership, _record
from tta_agent_coordination.testing import ManualClock

BRISK: dict[str, Any] = {"heartbeat_ttl_s": 0.5, "heartbeat_interval_s": 0.1}


@contextlib.asynccontextmanager
async def running(lane: RealLane, *args: object) -> AsyncGenerator[asyncio.subprocess.Process]:
    """Run a process of the tests', until it says that it is ready; it is killed at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.library.registries.process",
        str(lane.port),
        *map(str, args),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_killed_process_dies_once_and_its_leases_come_back(real_lane: RealLane) -> None:
    """Broken: after kill -9 nobody is told, or everybody is; messages wait for the end of their leases."""
    finders = [RedisAgentRegistry(real_lane.client(), **BRISK) for _ in range(3)]
    coordinator = RedisMessageCoordinator(real_lane.client())
    found = [noting(finder) for finder in finders]
    await send_ids(coordinator, ["first-1", "second-2"])
    async with finders[0].watch() as one, finders[1].watch() as two, running(real_lane, 0.5, 2) as process:
        for finder in finders:
            finder.return_leases_through(coordinator)
            await finder.start_heartbeats()
        assert len(await names(finders[0])) == 1
        assert await coordinator.receive(WORLD) is None
        process.send_signal(signal.SIGKILL)
        for watch in (one, two):
            kinds: list[AgentEventKind] = []
            while AgentEventKind.DIED not in kinds:
                kinds.append((await asyncio.wait_for(anext(watch), timeout=20)).kind)
            assert kinds.count(AgentEventKind.SUSPECT) >= 1
        await eventually("the dead is told to one", lambda: sum(map(len, found)) == 1)
        back: list[str] = []
        for _ in range(2):
            received = await coordinator.receive(WORLD, 600, wait=20)
            assert received is not None
            back.append(str(id_of(received)))
        assert back == ["first-1", "second-2"]
        assert await names(finders[0]) == {}
    for finder in finders:
        await finder.aclose()
    assert sum(map(len, found)) == 1
    await coordinator.aclose()


async def test_stopped_server_kills_nobody(private_server: RealServer) -> None:
    """Broken: a server that stood still for some TTLs wakes up, and declares everybody dead."""
    lane = RealLane(port=private_server.port)
    registries = [
        RedisAgentRegistry(lane.client(), heartbeat_ttl_s=1.0, heartbeat_interval_s=0.1) for _ in range(3)
    ]
    found = [noting(registry) for registry in registries]
    agents = [AgentId(type="world", instance=str(number)) for number in range(3)]
    for registry, agent in zip(registries, agents, strict=True):
        await registry.register(FakeAgent(instance=agent.instance))
        await registry.start_heartbeats()

    def epochs() -> list[int | None]:
        return [registry.epoch_of(agent) for registry, agent in zip(registries, agents, strict=True)]

    before = epochs()
    loop = asyncio.get_running_loop()
    private_server.pause()
    stopped = loop.time()
    await eventually("more than two TTLs have passed", lambda: loop.time() - stopped > 2.2)
    private_server.resume()

    async def are_all_alive() -> bool:
        return await names(registries[0]) == {f"world:{n}": "alive" for n in range(3)}

    await eventually("all are alive", are_all_alive)
    again = loop.time()
    await eventually("another TTL has passed", lambda: loop.time() - again > 1.0)
    assert await are_all_alive()
    assert found == [[], [], []]
    assert before == epochs()
    for registry in registries:
        await registry.aclose()
    await lane.close()


async def test_heartbeats_go_on_after_an_outage(
    private_server: RealServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: heartbeats end with the first error, or fill the log with one line each."""
    caplog.set_level("INFO")
    lane = RealLane(port=private_server.port)
    client = lane.client()
    registry = RedisAgentRegistry(client, heartbeat_ttl_s=0.5, heartbeat_interval_s=0.01)
    agent = FakeAgent()
    await registry.register(agent)
    await registry.start_heartbeats()
    away = True

    async def outage(send: Send, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        if away:
            raise RedisConnectionError("away")
        return await send(*args, **options)

    with intercept(client, outage):
        seen = agent.uptime
        await eventually("some heartbeats have failed", lambda: agent.uptime > seen + 5)
        away = False
        await eventually("the store takes them again", lambda: "takes heartbeats again" in caplog.text)
    assert caplog.text.count("takes no heartbeats") == 1
    assert await names(registry) == {"world:1": "alive"}
    await registry.aclose()
    await lane.close()


async def test_silent_server_holds_a_heartbeat_for_one_ttl_at_most(private_server: RealServer) -> None:
    """Broken: a heartbeat waits for ever for a server that does not answer, and none follows."""
    lane = RealLane(port=private_server.port)
    registry = RedisAgentRegistry(lane.client(socket_timeout=None), heartbeat_ttl_s=0.2)
    await registry.register(FakeAgent())
    private_server.pause()
    with pytest.raises(AgentRegistryError, match="did not answer within 1"):
        await registry._membership.beat()
    private_server.resume()
    await registry._membership.beat()
    await registry.aclose()
    await lane.close()


async def test_hanging_export_state_delays_nobody(
    make_registry: MakeRegistry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: an agent that never says its state is never registered, or keeps others from it."""
    monkeypatch.setattr(_record, "EXPORT_TIMEOUT_S", 0.01)
    registry = make_registry()
    slow = FakeAgent()
    slow.hang = asyncio.Event()
    await registry.register(slow)
    for _ in range(3):
        await sweep(registry)
    assert await names(registry) == {"world:1": "alive"}
    assert caplog.text.count("export_state failed") == 1
    slow.hang.set()
    slow.hang = None
    slow.state = {"step": 1}
    await sweep(registry)
    await sweep(registry)
    assert (await registry.list_registered())[0]["state"] == {"step": 1}


async def test_one_question_at_a_time_to_a_slow_agent(make_registry: MakeRegistry) -> None:
    """Broken: each heartbeat starts another export of an agent that still works on the last."""
    registry = make_registry()
    slow = FakeAgent()
    await registry.register(slow)
    slow.hang = asyncio.Event()
    for _ in range(5):
        await registry._membership.beat()
        await asyncio.sleep(0)
    assert slow.hung == 1
    slow.hang.set()


async def test_lost_replies_neither_double_nor_lose_an_event(real_lane: RealLane, clock: ManualClock) -> None:
    """Broken: redis-py sends a command again when its reply was lost, and it is told twice, or not at all."""
    options: dict[str, Any] = {"heartbeat_ttl_s": TTL_S, "clock": clock}
    witness = RedisAgentRegistry(real_lane.client(), **options)
    async with witness.watch() as watch, faulty_proxy(real_lane.port) as proxy:
        lane = RealLane(port=proxy.port)
        registry = RedisAgentRegistry(lane.client(), **options)
        deaths = noting(registry)
        await witness.register(FakeAgent(instance="2"))
        proxy.lose_replies = 2
        await registry.register(FakeAgent())
        proxy.lose_replies = 1
        await sweep(registry)
        assert proxy.lose_replies == 0
        await registry.set_draining(ONE)
        for _ in range(2):
            clock.advance(TTL_S * 0.99)
            await sweep(registry)
        clock.advance(TTL_S / 2)
        proxy.lose_replies = 1
        await sweep(registry)
        assert proxy.lose_replies == 0
        proxy.lose_replies = 1
        await registry.deregister(ONE)
        seen = [(event.kind.value, str(event.agent_id)) for event in [await anext(watch) for _ in range(6)]]
        assert len(deaths) == 1
        await registry.aclose()
        await lane.close()
    assert seen == [
        ("registered", "world:2"),
        ("registered", "world:1"),
        ("draining", "world:1"),
        ("suspect", "world:2"),
        ("died", "world:2"),
        ("deregistered", "world:1"),
    ]
    await witness.aclose()


def failing(times: int) -> Any:
    """Return what fails so many scripts, then lets them pass."""
    left = times

    async def around(send: Send, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        nonlocal left
        if args[0] == "EVALSHA" and left:
            left -= 1
            raise RedisConnectionError("away")
        return await send(*args, **options)

    return around


async def test_registering_is_tried_again(
    make_registry: MakeRegistry,
    monkeypatch: pytest.MonkeyPatch,
    client: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Broken: a store that is away for a moment keeps an agent out."""
    monkeypatch.setattr(_membership, "_RETRY_DELAYS_S", (0.0, 0.0))
    registry = make_registry(client=client)
    with intercept(client, failing(2)):
        await registry.register(FakeAgent())
    assert caplog.text.count("next try") == 2
    assert len(await registry.list_registered()) == 1
    with intercept(client, failing(2)):
        await registry.deregister(ONE)
    assert caplog.text.count("next try") == 4
    assert await registry.list_registered() == []


async def test_what_could_not_be_told_is_told_by_the_next_heartbeat(
    make_registry: MakeRegistry, monkeypatch: pytest.MonkeyPatch, client: Any
) -> None:
    """Broken: after a longer outage an agent is in no registry, or stays in one, for good."""
    monkeypatch.setattr(_membership, "_RETRY_DELAYS_S", ())
    registry = make_registry(client=client)
    with intercept(client, failing(1)):
        pending = registry.register(FakeAgent())
        with pytest.raises(AgentRegistryError):
            await pending
    await sweep(registry)
    assert len(await registry.list_registered()) == 1
    with intercept(client, failing(1)):
        pending = registry.deregister(ONE)
        with pytest.raises(AgentRegistryError):
            await pending
    assert len(await registry.list_registered()) == 1
    await sweep(registry)
    assert await registry.list_registered() == []
    with intercept(client, failing(1)), pytest.raises(AgentRegistryError):
        await registry.register(FakeAgent())
    again = registry._membership.records["world:1"]
    await registry._membership.registered(again)
    assert len(await registry.list_registered()) == 1
    with intercept(client, failing(1)):
        left = registry.deregister(ONE)
        with pytest.raises(AgentRegistryError):
            await left
    await left
    assert await registry.list_registered() == []


async def test_callbacks_that_fail_are_told_and_hurt_nobody(
    make_registry: MakeRegistry, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: an exception of the user's ends the heartbeats, or vanishes."""

    async def fail(_: object) -> None:
        raise RuntimeError("mine")

    ours, theirs = make_registry(), make_registry()
    theirs.add_death_callback(fail)
    ours.set_superseded_callback(fail)
    await ours.register(FakeAgent())
    await theirs.register(FakeAgent())
    await sweep(ours)
    assert "superseded world:1 failed" in caplog.text
    await theirs.deregister(ONE)
    await ours.register(FakeAgent())
    for _ in range(2):
        clock.advance(TTL_S)
        await sweep(theirs)
    assert "death of world:1 failed" in caplog.text


@pytest.mark.parametrize("kind", ["gone", "superseded"])
async def test_late_answer_says_nothing_of_a_newer_registration(
    make_registry: MakeRegistry, kind: str
) -> None:
    """Broken: what a heartbeat learned of an old registration ends the one that took its place meanwhile."""
    ours, theirs = make_registry(), make_registry()
    await ours.register(FakeAgent())
    if kind == "gone":
        await theirs._delete(ONE)
    else:
        await theirs.register(FakeAgent())
    answered, go_on = asyncio.Event(), asyncio.Event()

    async def hold_the_first(send: Send, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        answer = await send(*args, **options)
        if not answered.is_set():
            answered.set()
            await go_on.wait()
        return answer

    with intercept(ours._redis, hold_the_first):
        late = asyncio.ensure_future(ours._membership.beat())
        await answered.wait()
        await ours.register(FakeAgent())
        epoch = ours.epoch_of(ONE)
        go_on.set()
        await late
        await ours._tasks.settle()
    assert epoch is not None
    assert ours.epoch_of(ONE) == epoch
    (entry,) = await theirs.list_registered()
    assert entry["epoch"] == epoch


async def test_superseded_agent_without_a_callback_just_stops(make_registry: MakeRegistry) -> None:
    """Broken: a callback is needed to stay sound."""
    ours, theirs = make_registry(), make_registry()
    await ours.register(FakeAgent())
    await theirs.register(FakeAgent())
    await sweep(ours)
    assert ours.epoch_of(ONE) is None


async def test_forked_child_has_lanes_of_its_own(
    make_registry: MakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: parent and child number their commands alike, and each takes the other's for its own."""
    registry = make_registry()
    await registry.register(FakeAgent())
    before = registry._store._owner
    monkeypatch.setattr("os.getpid", lambda: -1)
    await sweep(registry)
    assert registry._store._owner != before
