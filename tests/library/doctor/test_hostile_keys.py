"""Whatever stands in Redis: it is reported, the rest is mended, and nothing of it reaches a terminal raw."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis.asyncio as aioredis

from tests.library.doctor.support import examine, found_in
from tests.library.support.builders import WORLD
from tests.library.support.commands import Send, intercept
from tests.library.support.peek import Peek
from tests.library.support.servers import Lane
from tests.library.v0_model import v0_entry
from tta_agent_coordination._keys import Inbox
from tta_agent_coordination.doctor import inboxes
from tta_agent_coordination.doctor.findings import (
    MAX_DETAILS,
    Debris,
    Report,
    as_json,
    as_text,
    message_of,
    shown,
)
from tta_agent_coordination.exceptions import MessageCoordinatorError

WRONG = [
    "ao:queue:world:1",
    "ao:dlq:world:1",
    "ao:sched:world:1:prio:9",
    "ao:sched:world:1:prio:5",
    "ao:sched:world:1:prio:1",
    "ao:reserved_deadlines:world:1",
    "ao:reserved:world:1",
    "ao:inflight:world:1",
    "ao:lapses:world:1",
    "ao:dlq_info:world:1",
]


@pytest.mark.parametrize("key", WRONG)
async def test_key_of_another_type_is_told_and_other_inboxes_are_mended(
    key: str, client: aioredis.Redis, peek: Peek
) -> None:
    """Broken: one damaged key stops the run, or a script fails in the middle of its work."""
    await peek.raw("SET", key, "x", "PX", 600_000)
    if key != "ao:queue:world:1":
        await peek.raw("RPUSH", "ao:queue:world:1", "not looked at")
    await peek.raw("RPUSH", "ao:queue:world:2", "ghost")
    report = await examine(client)
    assert (report.found, report.left, report.inboxes) == ({"wrong-type": 1, "ghost": 1}, 1, 2)
    [wrong] = [finding for finding in report.details if finding.kind == "wrong-type"]
    assert (wrong.place, wrong.subject, report.repair) == (key, "inbox", True)
    assert await peek.raw("GET", key) == b"x"


@pytest.mark.leaves_keys("ao:inflight:*", "ao:lapses:*", "ao:dlq_info:*")
@pytest.mark.parametrize("key", WRONG)
async def test_key_that_becomes_another_type_meanwhile_changes_nothing(
    key: str, client: aioredis.Redis, peek: Peek
) -> None:
    """Broken: a script that finds a damaged key late has already taken a message away."""
    ghost, taken = v0_entry("world:1", "ghost-1"), v0_entry("world:1", "message-1")
    await peek.raw("RPUSH", "ao:queue:world:1", ghost, taken)
    await peek.raw("HSET", "ao:reserved:world:1", "res_1", taken)
    looks = 0

    async def settle() -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            await peek.raw("SET", key, "x")

    report = await examine(client, settle=settle)
    assert report.found["wrong-type"] == report.left == 1
    [late] = [finding for finding in report.details if finding.kind == "wrong-type"]
    assert (late.place, late.subject) == ("ao:queue:world:1", "became another type meanwhile")
    left = {key: await peek.raw("TYPE", key) for key in ("ao:queue:world:1", "ao:reserved:world:1")}
    if key in ("ao:inflight:world:1", "ao:reserved_deadlines:world:1"):
        return  # only the reservations' script touches them: the ghost is mended
    assert found_in(report) == {"wrong-type": 1}
    assert left["ao:queue:world:1"] == (b"string" if key == "ao:queue:world:1" else b"list")
    if key != "ao:queue:world:1":
        assert await peek.queue(WORLD) == [ghost, taken]


async def test_key_that_becomes_another_type_while_it_is_read_is_told(
    client: aioredis.Redis, peek: Peek, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: what changes between asking for the type and reading ends the run."""

    def reserved_only(box: Inbox) -> list[tuple[bytes, bytes]]:
        return [(box.reserved, b"hash")]

    await peek.raw("SET", "ao:queue:world:1", "x", "PX", 600_000)
    await peek.raw("RPUSH", "ao:queue:world:2", "ghost")
    monkeypatch.setattr(inboxes, "_types", reserved_only)
    report = await examine(client)
    assert (report.found, report.left) == ({"wrong-type": 1, "ghost": 1}, 1)
    assert report.details[0].place == "ao:queue:world:1"
    assert report.details[0].subject == "became another type meanwhile"


async def test_list_that_becomes_another_type_behind_its_first_page_is_told(
    lane: Lane, peek: Peek, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: the report does not say which inbox could not be read to its end."""
    monkeypatch.setattr(inboxes, "_PAGE", 2)
    await peek.raw("RPUSH", "ao:queue:world:1", *(v0_entry("world:1", f"ghost-{n}") for n in range(3)))
    own, pipelines = lane.client(), 0

    async def change(send: Send, args: tuple[Any, ...], options: dict[str, Any]) -> object:
        nonlocal pipelines
        pipelines += args[0] == "PIPELINE"
        if pipelines == 3:  # after the types and the first pages it reads on
            await peek.raw("SET", "ao:queue:world:1", "x", "PX", 600_000)
        return await send(*args, **options)

    with intercept(own, change):
        report = await examine(own)
    assert [(each.kind, each.place, each.subject) for each in report.details] == [
        ("wrong-type", "ao:queue:world:1", "became another type meanwhile")
    ]


async def test_keys_that_name_nobody_are_told_and_left(client: aioredis.Redis, peek: Peek) -> None:
    """Broken: a key under v0's families that our names refuse stops the run, or is mended by guesswork."""
    strange = ["ao:queue:only", "ao:reserved:a:b:c", "ao:sched:a:b:prio:7", "ao:agents::1", "ao:queue:a\n:b"]
    for key in strange:
        await peek.raw("SET", key, "x")
    await peek.raw("SET", b"ao:queue:\xff\x1b[31m:1", "x")
    await peek.raw("SET", "ao:elsewhere:a:b", "x", "PX", 600_000)
    await peek.raw("SET", "aoelse", "x", "PX", 600_000)
    report = await examine(client)
    assert (report.found, report.left, report.keys) == ({"nameless": 6}, 6, 7)
    assert {finding.subject for finding in report.details} == {"key"}
    said = as_text(report) + as_json(report, 1)
    assert "\x1b" not in said
    assert "\\xff\\u001b[31m" in as_text(report)


async def test_prefix_with_glob_characters_is_taken_literally(client: aioredis.Redis, peek: Peek) -> None:
    """Broken: the doctor of one system mends the keys of another."""
    for prefix in ("a*", "ab"):
        await peek.raw("RPUSH", f"{prefix}:queue:world:1", "ghost")
    assert found_in(await examine(client, prefix="a*")) == {"ghost": 1}
    assert await peek.raw("LLEN", "ab:queue:world:1") == 1
    for key in await peek.keys():
        await peek.raw("DEL", key)


async def test_store_that_refuses_ends_the_run(client: aioredis.Redis, peek: Peek) -> None:
    """Broken: an outage in the middle looks like a clean server."""
    await peek.raw("RPUSH", "ao:queue:world:1", "ghost")

    async def settle() -> None:
        async def refused(*_: object, **__: object) -> None:
            raise aioredis.ConnectionError("gone")

        monkey.setattr(client, "execute_command", refused)

    with pytest.MonkeyPatch.context() as monkey, pytest.raises(MessageCoordinatorError, match="gone"):
        await examine(client, settle=settle)
    assert await peek.raw("LLEN", "ao:queue:world:1") == 1


def test_report_shows_no_payload_and_nothing_unprintable() -> None:
    """Broken: a report copies what players wrote into a log, or rewrites the operator's terminal."""
    assert shown("a\x1b]0;b\u202e") == "a\\u001b]0;b\\u202e"
    assert shown("x" * 500) == "x" * 120 + "..."
    assert message_of(v0_entry("world:1", "message-1").encode()) == "message-1"
    for hostile in (b"\xff", b"5", b"[]", b'{"message":5}', b'{"message":{}}', b"[" * 100_000):
        assert message_of(hostile) is None


def test_report_counts_all_and_describes_some() -> None:
    """Broken: a report of a million findings fills the memory, or leaves uncounted what it does not show."""
    report = Report(server="redis://here", prefix="ao", repair=True, keys=5)
    for n in range(MAX_DETAILS + 5):
        report.add(Debris("ghost", "ao:queue:a:b", f"message-{n}", mended=n > 2))
    assert len(report.details) == MAX_DETAILS
    told = json.loads(as_json(report, 1))
    assert told["counts"] == {"ghost": {"found": MAX_DETAILS + 5, "mended": MAX_DETAILS + 2}}
    assert (told["left"], told["exit_code"], len(told["findings"])) == (3, 1, MAX_DETAILS)
    assert told["findings"][0] == {
        "kind": "ghost",
        "place": "ao:queue:a:b",
        "subject": "message-0",
        "mended": False,
    }
    lines = as_text(report).splitlines()
    assert lines[1].startswith("ghost: 1,005 x audit copy of a message that is nowhere else")
    assert "1,002 mended" in lines[1]
    assert lines[-2:] == ["  ... and 995 more", "3 left"]


@pytest.mark.parametrize(
    ("repair", "mended", "kind", "last"),
    [
        (False, False, "ghost", "run it again with --repair to mend what can be mended"),
        (True, True, "ghost", "all of it is mended"),
        (True, False, "nameless", "1 left"),
    ],
)
def test_report_ends_with_what_to_do(repair: bool, mended: bool, kind: str, last: str) -> None:
    """Broken: whoever reads it does not know whether anything is left."""
    report = Report(server="redis://here", prefix="ao", repair=repair)
    assert as_text(report).endswith("nothing of v0 is left behind")
    report.add(Debris(kind, "ao:queue:a:b", "x", mended=mended))
    assert as_text(report).splitlines()[-1].startswith(last)
    fate = "for a person to look at" if kind == "nameless" else "mended"
    assert fate in as_text(report)
