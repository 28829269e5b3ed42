"""What a v0 process leaves in an inbox when it ends between two steps: found, mended, and nothing lost."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
import redis.asyncio as aioredis

from tests.library.conftest import MakeCoordinator
from tests.library.doctor.support import BOX, died, examine, found_in, unchanged_by
from tests.library.support.builders import WORLD, drain, send_ids, take
from tests.library.support.commands import count_commands
from tests.library.support.peek import Peek
from tests.library.support.servers import Lane
from tests.library.v0_model import V0Coordinator, die_at, v0_entry
from tta_agent_coordination import RedisMessageCoordinator
from tta_agent_coordination.doctor import examination, inboxes
from tta_agent_coordination.testing import ManualClock

pytestmark = pytest.mark.leaves_keys("ao:clock:*", "ao:lapses:*", "ao:inflight:*", "ao:wake:*")
"""What v0 takes last out of an inbox leaves side keys behind, which v0 does not know."""


@pytest.fixture
def v0(lane: Lane, clock: ManualClock) -> V0Coordinator:
    """A v0 process that lives."""
    return V0Coordinator(lane.client(), now_us=clock.now_us)


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """An operation and the step that it does not come to; what is found then, and where the message ends."""

    step: str
    found: tuple[str, ...]
    ends: str
    """`ready`, `dead`, `gone` (v0 lost it without a trace) or `both`: the old text dead."""

    async def happen(self, lane: Lane, clock: ManualClock) -> None:
        """Send a message and let the process die on its way."""
        v0 = V0Coordinator(lane.client(), now_us=clock.now_us)
        dying = V0Coordinator(lane.client(), now_us=clock.now_us, step=die_at(self.step))
        operation = self.step.partition(".")[0]
        if operation == "send":
            await died(dying.send(BOX, "message-1"))
            return
        await v0.send(BOX, "message-1")
        if operation == "receive":
            await died(dying.receive(BOX))
            return
        got = await v0.receive(BOX, 1)
        assert got is not None
        clock.advance(2)
        ends: dict[str, Callable[[], Awaitable[object]]] = {
            "ack": lambda: dying.ack(BOX, got.token),
            "nack": lambda: dying.nack(BOX, got.token),
            "recover": lambda: dying.recover(BOX),
        }
        await died(ends[operation]())


DEATHS = [
    Death(step="send.rpush", found=(), ends="gone"),
    Death(step="send.zadd", found=("ghost",), ends="dead"),
    Death(step="receive.hset", found=("ghost",), ends="dead"),
    Death(step="receive.deadline", found=("unleased",), ends="ready"),
    Death(step="ack.zrem", found=("deadline", "ghost"), ends="dead"),
    Death(step="ack.lrem", found=("ghost",), ends="dead"),
    Death(step="nack.zrem", found=("deadline", "ghost"), ends="dead"),
    Death(step="nack.lrem", found=("ghost",), ends="dead"),
    Death(step="nack.zadd", found=(), ends="gone"),
    Death(step="nack.rpush", found=("uncounted",), ends="ready"),
    Death(step="recover.hdel", found=("unleased",), ends="ready"),
    Death(step="recover.zadd", found=("ghost",), ends="dead"),
]


@pytest.mark.parametrize("death", DEATHS, ids=lambda death: death.step)
async def test_each_death_is_found_mended_and_loses_nothing(
    death: Death,
    client: aioredis.Redis,
    coordinator: RedisMessageCoordinator,
    v0: V0Coordinator,
    lane: Lane,
    clock: ManualClock,
    peek: Peek,
) -> None:
    """Broken: a message is stuck, uncounted or lost for ever, or an inbox fills up with nothing in it."""
    await death.happen(lane, clock)
    looked = await unchanged_by(peek, lambda: examine(client, clock, repair=False))
    assert (tuple(sorted(found_in(looked))), looked.left) == (death.found, len(death.found))
    assert (looked.server, looked.prefix) == ("redis://here", "ao")
    places = {"unleased": peek.key("reserved", WORLD), "deadline": peek.key("reserved_deadlines", WORLD)}
    for each in looked.details:
        assert each.place == places.get(each.kind, peek.key("queue", WORLD))
    mended = await examine(client, clock)
    assert (found_in(mended), mended.left) == (found_in(looked), 0)
    assert found_in(await examine(client, clock)) == {}
    assert set(await peek.reserved(WORLD)) == set(await peek.deadlines(WORLD)) == set()
    assert await peek.queue(WORLD) == await peek.ready(WORLD)
    letters = await coordinator.dead_letters(WORLD)
    assert [letter.cause for letter in letters] == (["ghost"] if death.ends == "dead" else [])
    clock.advance(60)
    got = await v0.receive(BOX)
    assert (got is not None) == (death.ends == "ready")
    if got is not None:
        assert (got.message_id, await v0.ack(BOX, got.token)) == ("message-1", True)
    assert await peek.queue(WORLD) == []


async def test_ghost_that_was_a_message_can_be_sent_again(
    client: aioredis.Redis,
    coordinator: RedisMessageCoordinator,
    v0: V0Coordinator,
    lane: Lane,
    clock: ManualClock,
) -> None:
    """Broken: what v0 lost between two steps is lost for good, though its audit copy was there."""
    await v0.send(BOX, "message-1", {"text": "höhle"})
    await died(V0Coordinator(lane.client(), now_us=clock.now_us, step=die_at("receive.hset")).receive(BOX))
    await examine(client, clock)
    letters = await coordinator.dead_letters(WORLD)
    assert await coordinator.requeue_dead(WORLD, [letter.id for letter in letters]) == 1
    received = await take(coordinator)
    assert received.queue_message.message.payload == {"text": "höhle"}
    assert await coordinator.ack(WORLD, received.token)


async def test_reservation_goes_back_to_the_level_and_place_it_had(
    client: aioredis.Redis,
    coordinator: RedisMessageCoordinator,
    v0: V0Coordinator,
    clock: ManualClock,
    peek: Peek,
) -> None:
    """Broken: a message that was first is last, or a HIGH one waits among the LOW ones."""
    await send_ids(coordinator, ["message-1", "message-2", "message-3"])
    await peek.raw("ZREM", peek.key("reserved_deadlines", WORLD), (await take(coordinator)).token)
    await v0.send(BOX, "v0-high-1", priority=9)
    await v0.receive(BOX)
    await peek.raw("DEL", peek.key("reserved_deadlines", WORLD))
    clock.advance(1)
    assert found_in(await examine(client, clock)) == {"unleased": 2}
    assert await drain(coordinator) == ["v0-high-1", "message-1", "message-2", "message-3"]


async def test_text_that_nobody_can_read_no_longer_stops_v0(
    client: aioredis.Redis,
    coordinator: RedisMessageCoordinator,
    v0: V0Coordinator,
    clock: ManualClock,
    peek: Peek,
) -> None:
    """Broken: every v0 consumer of the inbox fails at the same text, for ever."""
    texts = ['{"broken', "5", '{"message":{}}', "[" * 100_000]
    for score, text in enumerate(texts):
        await peek.raw("ZADD", peek.level_key(WORLD, 9), score, text)
        await peek.raw("RPUSH", peek.key("queue", WORLD), text)
    await v0.send(BOX, "message-1")
    with pytest.raises(ValueError, match="Unterminated string"):
        await v0.receive(BOX)
    looked = await examine(client, clock, repair=False)
    assert found_in(looked) == {"unreadable": len(texts)}
    report = await examine(client, clock)
    assert report.found["unreadable"] == len(texts)
    assert report.left == 0
    got = await v0.receive(BOX)
    assert got is not None
    assert (got.message_id, await v0.ack(BOX, got.token)) == ("message-1", True)
    assert sorted(await peek.dead(WORLD)) == sorted(texts)
    assert {letter.cause for letter in await coordinator.dead_letters(WORLD)} == {"undecodable"}
    assert await peek.queue(WORLD) == []


async def test_unreadable_text_that_somebody_holds_is_left_to_him(
    client: aioredis.Redis, clock: ManualClock, peek: Peek
) -> None:
    """Broken: a text that is held as well becomes a dead letter twice, once by the doctor."""
    await peek.raw("ZADD", peek.level_key(WORLD, 9), 1, "5")
    await peek.raw("HSET", peek.key("reserved", WORLD), "res_1", "5")
    await peek.raw("ZADD", peek.key("reserved_deadlines", WORLD), 1, "res_1")
    await peek.raw("RPUSH", peek.key("queue", WORLD), "5", "5")
    assert found_in(await unchanged_by(peek, lambda: examine(client, clock))) == {}
    for key in await peek.keys():
        await peek.raw("DEL", key)


async def test_reserved_text_that_nobody_can_read_becomes_a_dead_letter(
    client: aioredis.Redis, coordinator: RedisMessageCoordinator, clock: ManualClock, peek: Peek
) -> None:
    """Broken: mending a reservation puts a text into a level that stops every v0 consumer."""
    await peek.raw("HSET", peek.key("reserved", WORLD), "res_1", '{"broken')
    await peek.raw("RPUSH", peek.key("queue", WORLD), '{"broken')
    assert found_in(await examine(client, clock)) == {"unleased": 1}
    [letter] = await coordinator.dead_letters(WORLD)
    assert (letter.cause, letter.raw) == ("undecodable", b'{"broken')
    assert (await peek.outstanding(WORLD), await peek.queue(WORLD)) == (0, [])


async def test_dead_letter_is_not_doubled_by_its_own_audit_copy(
    client: aioredis.Redis, v0: V0Coordinator, clock: ManualClock, peek: Peek
) -> None:
    """Broken: v0 dead-letters what it cannot parse and keeps the audit copy, so the doctor adds a second."""
    await peek.raw("HSET", peek.key("reserved", WORLD), "res_1", '{"broken')
    await peek.raw("ZADD", peek.key("reserved_deadlines", WORLD), 1, "res_1")
    await peek.raw("RPUSH", peek.key("queue", WORLD), '{"broken')
    await v0.nack(BOX, "res_1")
    assert found_in(await examine(client, clock)) == {"ghost": 1}
    assert (await peek.dead(WORLD), await peek.queue(WORLD)) == (['{"broken'], [])


async def test_ghost_with_several_copies_is_one_dead_letter(
    client: aioredis.Redis, clock: ManualClock, peek: Peek
) -> None:
    """Broken: copies of a ghost stay, or each of them becomes a dead letter."""
    ghost, other = v0_entry(BOX, "ghost-1"), v0_entry(BOX, "message-1")
    await peek.raw("RPUSH", peek.key("queue", WORLD), ghost, other, ghost, ghost)
    await peek.raw("ZADD", peek.level_key(WORLD, 5), 1, other)
    assert found_in(await examine(client, clock)) == {"ghost": 1}
    assert (await peek.dead(WORLD), await peek.queue(WORLD)) == ([ghost], [other])
    await peek.raw("DEL", peek.key("queue", WORLD), peek.level_key(WORLD, 5))


async def test_surplus_copies_go_and_one_stays(
    client: aioredis.Redis, v0: V0Coordinator, clock: ManualClock, peek: Peek
) -> None:
    """Broken: two sends that collapsed into one message take two places of the queue for ever."""
    for _ in range(3):
        await v0.send(BOX, "message-1")
    assert len(await peek.queue(WORLD)) == 3
    assert found_in(await examine(client, clock)) == {"surplus": 1}
    assert await peek.queue(WORLD) == await peek.ready(WORLD)
    got = await v0.receive(BOX)
    assert got is not None
    assert found_in(await examine(client, clock)) == {}
    await v0.ack(BOX, got.token)
    assert await peek.queue(WORLD) == []


async def test_healthy_inboxes_are_left_alone_and_nobody_waits(
    client: aioredis.Redis,
    coordinator: RedisMessageCoordinator,
    make_coordinator: MakeCoordinator,
    v0: V0Coordinator,
    clock: ManualClock,
    peek: Peek,
) -> None:
    """Broken: what is delayed, leased, expired, dead or kept without audit copies counts as debris."""
    quiet = make_coordinator(key_prefix="quiet", audit="off")
    for each in (coordinator, quiet):
        await send_ids(each, ["message-1", "message-2"])
        await send_ids(each, ["message-3"], delay=60)
        await take(each, WORLD, 1)
        await each.nack(WORLD, (await take(each)).token)
    await v0.send(BOX, "v0-message-1")
    await v0.send(BOX, "v0-message-2")
    got = await v0.receive(BOX)
    assert got is not None
    await v0.nack(BOX, got.token, permanent=True)
    await v0.receive(BOX)
    await peek.raw("RPUSH", "ao:queue:{braced:1}", "ours with hash tags")
    clock.advance(2)

    async def settle() -> None:
        raise AssertionError("there is nothing to wait for")

    for prefix in ("ao", "quiet"):
        report = await unchanged_by(
            peek, lambda prefix=prefix: examine(client, clock, settle=settle, prefix=prefix)
        )
        assert (found_in(report), report.inboxes) == ({}, 1)
    for key in await peek.keys():
        await peek.raw("DEL", key)


async def test_what_a_living_process_finishes_is_no_debris(
    client: aioredis.Redis, clock: ManualClock, peek: Peek
) -> None:
    """Broken: the doctor mends what v0 was about to finish, and the message is there twice."""
    entry = v0_entry(BOX, "message-1")
    await peek.raw("RPUSH", peek.key("queue", WORLD), entry)
    await peek.raw("HSET", peek.key("reserved", WORLD), "res_1", v0_entry(BOX, "message-2"))
    await peek.raw("RPUSH", peek.key("queue", WORLD), v0_entry(BOX, "message-2"))
    looks = 0

    async def settle() -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            await peek.raw("ZADD", peek.level_key(WORLD, 5), 1, entry)
            await peek.raw("ZADD", peek.key("reserved_deadlines", WORLD), 1, "res_1")

    audit = await peek.queue(WORLD)
    report = await examine(client, clock, settle=settle)
    assert (found_in(report), looks) == ({}, 2)
    assert await peek.queue(WORLD) == audit
    assert await peek.dead(WORLD) == []
    assert len(await peek.ready(WORLD)) == len(await peek.reserved(WORLD)) == 1
    for key in await peek.keys():
        await peek.raw("DEL", key)


async def unchanged_by_all_but(
    peek: Peek, run: Callable[[], Awaitable[examination.Report]]
) -> examination.Report:
    """Run the doctor while somebody else writes; the audit list is his who wrote it."""
    before = await peek.queue(WORLD)
    report = await run()
    assert await peek.queue(WORLD) == before
    return report


async def test_suspect_that_changes_between_two_looks_is_left_for_the_next_run(
    client: aioredis.Redis, clock: ManualClock, peek: Peek
) -> None:
    """Broken: something is mended as what it was, not as what it is."""
    entry = v0_entry(BOX, "message-1")
    await peek.raw("RPUSH", peek.key("queue", WORLD), entry)
    looks = 0

    async def settle() -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            await peek.raw("ZADD", peek.level_key(WORLD, 5), 1, entry)
            await peek.raw("DEL", peek.key("queue", WORLD))

    assert found_in(await examine(client, clock, settle=settle)) == {}
    assert (await peek.queue(WORLD), await peek.dead(WORLD)) == ([], [])
    assert found_in(await examine(client, clock)) == {"uncounted": 1}
    assert await peek.queue(WORLD) == [entry]


async def test_long_lists_are_read_and_mended_in_pages(
    client: aioredis.Redis, clock: ManualClock, peek: Peek, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: only the first page of a long inbox is looked at, or one script holds the server for long."""
    monkeypatch.setattr(inboxes, "_PAGE", 100)
    monkeypatch.setattr(inboxes, "_BYTES_A_SCRIPT", 2_000)
    monkeypatch.setattr(inboxes, "_STEPS_A_REPAIR", 10_000)
    ghosts = [v0_entry(BOX, f"ghost-{n}", {"n": n}) for n in range(120)]
    waiting = [v0_entry(BOX, f"message-{n}", {"n": n}) for n in range(130)]
    await peek.raw("RPUSH", peek.key("queue", WORLD), *ghosts, *waiting)
    await peek.raw("ZADD", peek.level_key(WORLD, 5), *(part for entry in waiting for part in (1, entry)))
    tokens = [part for n in range(110) for part in (f"res_{n}", v0_entry(BOX, f"taken-{n}"))]
    await peek.raw("HSET", peek.key("reserved", WORLD), *tokens)
    report = await examine(client, clock)
    assert report.found == {"ghost": 120, "unleased": 110, "uncounted": 110}
    assert report.left == 0
    assert found_in(await examine(client, clock)) == {}
    assert sorted(await peek.dead(WORLD)) == sorted(ghosts)
    assert sorted(await peek.queue(WORLD)) == sorted(await peek.ready(WORLD))
    assert len(await peek.ready(WORLD)) == 240
    assert len({json.loads(entry)["message"]["message_id"] for entry in await peek.ready(WORLD)}) == 240


@pytest.mark.parametrize(("bound", "scripts"), [("_STEPS_A_REPAIR", 1 + 1 + 17), ("_BYTES_A_SCRIPT", 3 * 50)])
async def test_no_script_does_more_than_its_share(
    bound: str,
    scripts: int,
    client: aioredis.Redis,
    clock: ManualClock,
    peek: Peek,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Broken: mending a long inbox holds the server for seconds, and everybody who waits for it."""
    monkeypatch.setattr(inboxes, bound, 200)
    await peek.raw("RPUSH", peek.key("queue", WORLD), *(v0_entry(BOX, f"ghost-{n}") for n in range(50)))
    with count_commands(client) as counted:
        assert found_in(await examine(client, clock)) == {"ghost": 50}
    assert counted.names.count("EVALSHA") - counted.names.count("SCRIPT LOAD") == scripts
    assert len(await peek.dead(WORLD)) == 50


async def test_run_that_has_no_room_says_so_and_the_next_one_goes_on(
    client: aioredis.Redis, clock: ManualClock, peek: Peek, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a server full of debris takes all memory of the machine, or the rest goes unsaid."""
    monkeypatch.setattr(examination, "MAX_SUSPECTS", 4)
    for box in ("world:1", "world:2"):
        await peek.raw("RPUSH", f"ao:queue:{box}", *(v0_entry(box, f"ghost-{n}") for n in range(2)))
    assert (await examine(client, clock, repair=False)).found == {"ghost": 4}
    monkeypatch.setattr(examination, "MAX_SUSPECTS", 3)
    await peek.raw("DEL", "ao:queue:world:1", "ao:queue:world:2")
    for box in ("world:1", "world:2"):
        await peek.raw("RPUSH", f"ao:queue:{box}", *(v0_entry(box, f"ghost-{n}") for n in range(2)))
    report = await examine(client, clock)
    assert (report.found, report.left) == ({"not-looked-at": 1, "ghost": 3}, 1)
    assert report.details[0].subject == "1 suspects"
    assert report.details[0].place == "ao:queue:world:2"
    report = await examine(client, clock)
    assert (report.found, report.left) == ({"ghost": 1}, 0)
