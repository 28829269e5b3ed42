"""v0's indexes: what they name and is gone, what is there and they do not name, and what v0 cannot read."""

from __future__ import annotations

import json

import pytest
import redis.asyncio as aioredis

from tests.library.doctor.support import examine, found_in, unchanged_by
from tests.library.registries.agents import FakeAgent
from tests.library.registries.v0_registry import V0Registry
from tests.library.support.builders import WORLD
from tests.library.support.peek import Peek
from tests.library.v0_model import v0_entry
from tta_agent_coordination import RedisAgentRegistry
from tta_agent_coordination.doctor import examination, indexes
from tta_agent_coordination.testing import ManualClock

INDEXES = [("agents", "ao:agents:index"), ("capabilities", "ao:capabilities:index")]


async def names_in(peek: Peek, index: str) -> list[str]:
    """Return what an index names."""
    return sorted(member.decode() for member in await peek.raw("SMEMBERS", index))


async def put(peek: Peek, key: str) -> None:
    """Store what v0 stores for an agent."""
    await peek.raw("SET", key, json.dumps({"agent_id": {"type": "a", "instance": "b"}}), "PX", 600_000)


@pytest.mark.parametrize(("family", "index"), INDEXES)
async def test_dead_index_entries_go_and_unlisted_agents_are_named(
    family: str, index: str, client: aioredis.Redis, peek: Peek
) -> None:
    """Broken: v0's index grows with every agent that ever was; or an agent that came back is in no list."""
    await peek.raw("SADD", index, f"ao:{family}:dead:1", f"ao:{family}:alive:1")
    await put(peek, f"ao:{family}:alive:1")
    await put(peek, f"ao:{family}:back:1")
    looked = await unchanged_by(peek, lambda: examine(client, repair=False))
    assert (found_in(looked), looked.left) == ({"dead-index-entry": 1, "unlisted": 1}, 2)
    assert {(finding.kind, finding.place, finding.subject) for finding in looked.details} == {
        ("dead-index-entry", index, "dead:1"),
        ("unlisted", index, "back:1"),
    }
    mended = await examine(client)
    assert (found_in(mended), mended.left) == (found_in(looked), 0)
    assert await names_in(peek, index) == [f"ao:{family}:alive:1", f"ao:{family}:back:1"]
    assert found_in(await examine(client)) == {}


async def test_v0_process_that_was_away_is_listed_again(client: aioredis.Redis, peek: Peek) -> None:
    """Broken: v0's heartbeat writes no index, so an agent that stood still stays out of every list."""
    registry = V0Registry(client)
    agent = FakeAgent()
    await registry.persist(agent)
    await peek.raw("DEL", "ao:agents:world:1")
    assert found_in(await examine(client)) == {"dead-index-entry": 1}
    await registry.heartbeat(agent)
    assert await registry.list_registered() == []
    assert found_in(await examine(client)) == {"unlisted": 1}
    [entry] = await registry.list_registered()
    assert entry["name"] == agent.name


async def test_member_of_ours_stays_while_its_key_is_late(
    client: aioredis.Redis, clock: ManualClock, peek: Peek
) -> None:
    """Broken: the doctor ends an agent whose life our own registry decides."""
    async with RedisAgentRegistry(client, clock=clock) as registry:
        await registry.register(FakeAgent())
        await peek.raw("DEL", "ao:agents:world:1")
        assert found_in(await examine(client, clock)) == {}
        assert await names_in(peek, "ao:agents:index") == ["ao:agents:world:1"]
        await registry.deregister(WORLD)


async def test_agent_that_leaves_or_comes_meanwhile_is_no_debris(client: aioredis.Redis, peek: Peek) -> None:
    """Broken: between two steps of v0's register and deregister an agent looks dead, or unlisted."""
    await put(peek, "ao:agents:new:1")
    await peek.raw("SADD", "ao:agents:index", "ao:agents:late:1", "ao:agents:gone:1")

    async def settle() -> None:
        await put(peek, "ao:agents:late:1")
        await peek.raw("SADD", "ao:agents:index", "ao:agents:new:1")
        await peek.raw("SREM", "ao:agents:index", "ao:agents:gone:1")

    assert found_in(await examine(client, settle=settle)) == {}
    assert await names_in(peek, "ao:agents:index") == ["ao:agents:late:1", "ao:agents:new:1"]


async def test_agent_that_is_something_else_at_the_last_look_is_left_for_the_next_run(
    client: aioredis.Redis, peek: Peek
) -> None:
    """Broken: a report says of an agent that it was mended, and it was not."""
    await peek.raw("SADD", "ao:agents:index", "ao:agents:world:1")
    looks = 0

    async def settle() -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            await peek.raw("DEL", "ao:agents:index")
            await put(peek, "ao:agents:world:1")

    assert found_in(await examine(client, settle=settle)) == {}
    assert await names_in(peek, "ao:agents:index") == []
    assert found_in(await examine(client)) == {"unlisted": 1}


async def test_many_agents_are_looked_at_in_pages(
    client: aioredis.Redis, peek: Peek, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: only the first page of an index is looked at."""
    monkeypatch.setattr(indexes, "_PAGE", 7)
    await peek.raw("SADD", "ao:agents:index", *(f"ao:agents:dead:{n}" for n in range(200)))
    for n in range(20):
        await put(peek, f"ao:agents:back:{n}")
    report = await examine(client)
    assert (found_in(report), report.agents) == ({"dead-index-entry": 200, "unlisted": 20}, 220)
    assert len(await names_in(peek, "ao:agents:index")) == 20


@pytest.mark.parametrize(
    "value", ["{broken", "5", '{"agent_id": 5}', "[" * 100_000], ids=["no-json", "no-object", "no-id", "deep"]
)
async def test_registration_that_no_one_can_read_is_told_and_left(
    value: str, client: aioredis.Redis, peek: Peek
) -> None:
    """Broken: v0 lists no agents while one entry is broken, and nobody knows why."""
    await peek.raw("SET", "ao:agents:broken:1", value)
    await peek.raw("LPUSH", "ao:agents:list:1", "x")
    await peek.raw("SADD", "ao:agents:index", "ao:agents:broken:1", "ao:agents:list:1")
    report = await unchanged_by(peek, lambda: examine(client))
    assert (report.found, report.left) == ({"registration": 2}, 2)
    assert [finding.subject for finding in report.details] == ["broken:1", "list:1"]


async def test_registration_that_ends_while_it_is_read_is_none(client: aioredis.Redis, peek: Peek) -> None:
    """Broken: an agent whose key ended a moment ago counts as broken."""
    await peek.raw("SADD", "ao:agents:index", "ao:agents:gone:1")
    assert (await examine(client, repair=False)).found == {"dead-index-entry": 1}
    await peek.raw("DEL", "ao:agents:index")


async def test_member_that_names_no_agent_is_told_and_left(client: aioredis.Redis, peek: Peek) -> None:
    """Broken: a hostile member of an index stops the run, or is taken for an agent."""
    await peek.raw("SADD", "ao:agents:index", "elsewhere", b"ao:agents:\xff:1", "ao:capabilities:a:1")
    report = await unchanged_by(peek, lambda: examine(client))
    assert (report.found, report.left) == ({"nameless": 3}, 3)
    assert sorted(finding.subject for finding in report.details) == [
        "ao:agents:\\xff:1",
        "ao:capabilities:a:1",
        "elsewhere",
    ]


@pytest.mark.parametrize("key", ["ao:agents:index", "ao:registry:members"])
async def test_index_of_another_type_is_told_and_the_rest_looked_at(
    key: str, client: aioredis.Redis, peek: Peek
) -> None:
    """Broken: one damaged key hides all other debris."""
    await peek.raw("SET", key, "x", "PX", 600_000)
    await peek.raw("SADD", "ao:capabilities:index", "ao:capabilities:dead:1")
    await peek.raw("RPUSH", "ao:queue:world:1", "ghost")
    report = await examine(client)
    capabilities = {} if key == "ao:registry:members" else {"dead-index-entry": 1}
    assert report.found == {"wrong-type": 2 - len(capabilities), "ghost": 1} | capabilities
    wrong = [(each.place, each.subject) for each in report.details if each.kind == "wrong-type"]
    assert wrong == [(index, "index") for _, index in INDEXES[: len(wrong)]]
    assert await peek.raw("GET", key) == b"x"


async def test_index_that_becomes_another_type_meanwhile_is_told(client: aioredis.Redis, peek: Peek) -> None:
    """Broken: a key that changes its type between two looks ends the run in an error."""
    await peek.raw("SADD", "ao:agents:index", "ao:agents:dead:1")
    await peek.raw("RPUSH", "ao:queue:world:1", "ghost")

    async def settle() -> None:
        await peek.raw("SET", "ao:agents:index", "x", "PX", 600_000)

    report = await examine(client, settle=settle)
    assert (report.found, report.left) == ({"wrong-type": 1, "ghost": 1}, 1)
    [wrong] = [each for each in report.details if each.kind == "wrong-type"]
    assert (wrong.place, wrong.subject) == ("ao:agents:index", "became another type meanwhile")


async def test_progress_is_told_each_time_so_much_was_looked_at(
    client: aioredis.Redis, peek: Peek, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: nobody knows whether a look at a large server goes on, or every page is a line."""
    monkeypatch.setattr(examination, "_PAGE", 2)
    monkeypatch.setattr(examination, "_BOXES_A_PAGE", 4)
    monkeypatch.setattr(examination, "_SAY_EVERY", 10)
    for number in range(24):
        await peek.raw("RPUSH", f"ao:queue:world:{number}", v0_entry(f"world:{number}", "message-1"))
    said: list[str] = []
    assert (await examine(client, said=said)).inboxes == 24
    seen = [int(line.split()[0]) for line in said if "keys seen" in line]
    assert [number // 10 for number in seen] == [1, 2]
    assert [line for line in said if "read" in line] == [
        f"{done} of 24 inboxes read, {done} suspects" for done in (12, 20, 24)
    ]
    assert said[-3:] == [
        f"look {look} of 3: 24 suspects are not as they should be" for look in range(1, examination.LOOKS + 1)
    ]
