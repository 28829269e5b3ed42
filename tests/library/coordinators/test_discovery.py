"""Which inboxes a coordinator knows: what it names once, where it looks again, and what it warns of."""

# ruff: noqa: ANN401 - commands and answers of a Redis client may be anything
from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest
import redis.asyncio as aioredis
from redis.exceptions import ResponseError

from tests.library.conftest import MakeCoordinator
from tests.library.support.builders import INPUT, NARRATIVE, WORLD, drain, make_message, send_ids
from tests.library.support.commands import Send, intercept
from tests.library.support.peek import Peek
from tta_agent_coordination import AgentId, MessageType, RedisMessageCoordinator
from tta_agent_coordination.coordinators import _discovery


@contextmanager
def noting(client: aioredis.Redis, memory: Any = None) -> Generator[list[tuple[Any, ...]]]:
    """Note the commands that go out; answer INFO with `memory`, or raise it where it is an error."""
    sent: list[tuple[Any, ...]] = []

    async def around(send: Send, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        sent.append(args)
        if str(args[0]).upper() != "INFO":
            return await send(*args, **options)
        assert [str(part).lower() for part in args[1:]] == ["memory"]
        if isinstance(memory, Exception):
            raise memory
        return memory

    with intercept(client, around):
        yield sent


def named(sent: list[tuple[Any, ...]]) -> list[str]:
    """Return the inboxes that were named in an index."""
    return [str(name) for args in sent if args[0] == "SADD" for name in args[2:]]


async def test_inbox_is_named_once_before_its_first_message(
    client: aioredis.Redis, make_coordinator: MakeCoordinator, peek: Peek
) -> None:
    """Broken: every message costs a second command, or an inbox is found by nobody."""
    coordinator = make_coordinator(client=client)
    with noting(client) as sent:
        for agent in (WORLD, NARRATIVE, WORLD, NARRATIVE, WORLD):
            await coordinator.send_message(INPUT, agent, make_message())
    assert named(sent) == ["world:1", "narrative:1"]
    assert await peek.raw("SMEMBERS", "ao:inboxes") == {b"world:1", b"narrative:1"}
    await drain(coordinator)
    await drain(coordinator, NARRATIVE)


async def test_name_that_a_failover_lost_is_given_again(
    client: aioredis.Redis, make_coordinator: MakeCoordinator, peek: Peek, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: on a cluster nobody recovers what an inbox held whose name was lost, or sends cost more."""
    now = 1_000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    coordinator = make_coordinator(client=client, hash_tags=True)

    async def sent_to(*agents: AgentId) -> list[str]:
        with noting(client) as sent:
            for agent in agents:
                await coordinator.send_message(INPUT, agent, make_message())
        return named(sent)

    assert await sent_to(WORLD, NARRATIVE, WORLD) == ["world:1", "narrative:1"]
    await peek.raw("DEL", "ao:inboxes")
    now += 599.5
    assert await sent_to(WORLD, NARRATIVE) == []
    now += 0.5
    assert await sent_to(WORLD, WORLD) == ["world:1"]
    now += 599.5
    assert await sent_to(WORLD, NARRATIVE) == ["narrative:1"]
    assert await peek.raw("SMEMBERS", "ao:inboxes") == {b"world:1", b"narrative:1"}
    await peek.raw("FLUSHALL")


async def test_name_is_given_once_where_a_scan_finds_the_inbox_too(
    client: aioredis.Redis, make_coordinator: MakeCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: each inbox costs a command every ten minutes for nothing."""
    now = 1_000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    coordinator = make_coordinator(client=client)
    with noting(client) as sent:
        await coordinator.send_message(INPUT, WORLD, make_message())
        now += 1_000
        await coordinator.send_message(INPUT, WORLD, make_message())
    assert named(sent) == ["world:1"]
    await drain(coordinator)


async def test_memory_of_names_is_bounded(
    client: aioredis.Redis, make_coordinator: MakeCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a process that sends to ever new agents remembers them all."""
    monkeypatch.setattr(_discovery, "_MEMO", 2)
    coordinator = make_coordinator(client=client)
    agents = [AgentId(type="many", instance=str(n)) for n in range(4)]
    with noting(client) as sent:
        for n in (0, 1, 2, 0, 1, 2, 3, 3, 0):
            await coordinator.send_message(INPUT, agents[n], make_message())
    assert named(sent) == ["many:0", "many:1", "many:2", "many:3", "many:0"]
    for agent in agents:
        await drain(coordinator, agent)


WARNING = (
    "Redis may evict messages: maxmemory-policy is allkeys-lru; set it to noeviction so that a full server "
    "refuses new messages instead of losing old ones"
)


@pytest.mark.parametrize(
    ("memory", "told"),
    [
        ({"maxmemory_policy": "allkeys-lru"}, [WARNING]),
        ({"maxmemory_policy": "noeviction"}, []),
        ({"used_memory": 1}, []),
        ({"maxmemory_policy": {"node-1": "allkeys-lru"}}, []),
        (b"# Memory", []),
        (ResponseError("unknown command"), []),
    ],
    ids=["evicts", "refuses", "does not say", "a node each", "another form", "knows no INFO"],
)
async def test_policy_of_the_server_is_asked_for_once(
    client: aioredis.Redis,
    make_coordinator: MakeCoordinator,
    caplog: pytest.LogCaptureFixture,
    memory: Any,
    told: list[str],
) -> None:
    """Broken: a server that loses messages is not told of, or one whose answer is strange loses a send."""
    coordinator = make_coordinator(client=client)
    with noting(client, memory) as sent:
        await send_ids(coordinator, ["message-1"])
        assert (await coordinator.send_message(INPUT, NARRATIVE, make_message())).delivered
    assert [args[0] for args in sent].count("INFO") == 1
    assert caplog.messages == told
    await drain(coordinator)
    await drain(coordinator, NARRATIVE)


async def test_subscribers_of_v0_are_looked_for_once_a_minute(
    client: aioredis.Redis,
    make_coordinator: MakeCoordinator,
    peek: Peek,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Broken: every broadcast reads all keys of the server, or what v0 subscribes later is never seen."""
    now = 1_000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    coordinator = make_coordinator(client=client)
    event = make_message(message_type=MessageType.EVENT)

    async def told() -> tuple[int, int]:
        with noting(client) as sent:
            results = await coordinator.broadcast_message(INPUT, event)
        return len(results), sum(args[0] == "SCAN" for args in sent)

    assert await told() == (0, 1), "a server with a few keys is one page"
    await peek.raw("SADD", peek.key("subs", WORLD), "event")
    now += 60
    assert await told() == (0, 0)
    now += 0.5
    assert await told() == (1, 1)
    now += 60
    assert await told() == (1, 0)
    assert await drain(coordinator) == ["message-1"] * 2


async def test_index_is_read_to_its_end(
    coordinator: RedisMessageCoordinator, peek: Peek, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: of many subscribers only those on the last page are told."""
    monkeypatch.setattr(_discovery, "_PAGE", 10)
    assert await coordinator._discovery.subscribers("event") == [], "the look for v0's is over"
    agents = [AgentId(type="many", instance=str(n)) for n in range(1_000)]
    await peek.raw("SADD", "ao:subscribers:event", *(f"many:{agent.instance}" for agent in agents))
    for agent in agents:
        await peek.raw("SADD", peek.key("subs", agent), "event")
    boxes = await coordinator._discovery.subscribers("event")
    assert sorted(box.name for box in boxes) == sorted(f"many:{agent.instance}" for agent in agents)
    await peek.raw("FLUSHALL")


async def test_keys_are_looked_through_to_their_end(
    coordinator: RedisMessageCoordinator, peek: Peek, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: of what v0 reserved only the last page is recovered."""
    monkeypatch.setattr(_discovery, "_PAGE", 10)
    await peek.raw("SADD", "ao:inboxes", "indexed:1")
    names = [f"many:{n}" for n in range(300)]
    for name in names:
        await peek.raw("ZADD", f"ao:reserved_deadlines:{name}", 1, "res_0000000000000000")
    found = [box.name for box in await coordinator._discovery.inboxes()]
    assert found == sorted(["indexed:1", *names])
    await peek.raw("FLUSHALL")


async def test_names_that_can_be_none_of_ours_are_passed_over(
    coordinator: RedisMessageCoordinator, peek: Peek
) -> None:
    """Broken: one strange member of an index ends every recovery, or makes keys that nobody meant."""
    await peek.raw("SADD", "ao:inboxes", "world:1", "no colon", "one:too:many", b"\xff:1")
    assert [box.name for box in await coordinator._discovery.inboxes()] == ["world:1"]


async def test_braced_inboxes_are_found_by_the_index_alone(
    client: aioredis.Redis, make_coordinator: MakeCoordinator, peek: Peek
) -> None:
    """Broken: with hash tags the keys of another key space are recovered, or a scan finds nothing."""
    coordinator = make_coordinator(client=client, hash_tags=True)
    await peek.raw("SADD", "ao:inboxes", "world:1")
    await peek.raw("ZADD", "ao:reserved_deadlines:narrative:1", 1, "res_0000000000000000")
    with noting(client) as sent:
        (box,) = await coordinator._discovery.inboxes()
    assert (box.name, box.reserved) == ("world:1", b"ao:reserved:{world:1}")
    assert [args[0] for args in sent] == ["SSCAN"]
    await peek.raw("FLUSHALL")


async def test_each_type_has_an_index_of_its_own(coordinator: RedisMessageCoordinator, peek: Peek) -> None:
    """Broken: a coordinator of another prefix, or of another type's subscribers, is told as well."""
    await coordinator.subscribe_to_messages(WORLD, [MessageType.EVENT, MessageType.REQUEST])
    for kind in ("event", "request"):
        assert await peek.raw("SMEMBERS", f"ao:subscribers:{kind}") == {b"world:1"}
    assert await peek.raw("EXISTS", "ao:subscribers:response") == 0
