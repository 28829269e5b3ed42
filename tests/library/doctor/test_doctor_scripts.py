"""The doctor's scripts: their headers are held against their typed functions and their own text."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
import redis.asyncio as aioredis

from tests.library.support.boxes import BOX
from tests.library.support.peek import Peek
from tests.library.test_scripts import arguments, sections
from tta_agent_coordination import _keys
from tta_agent_coordination._redis import doctor_scripts as scripts
from tta_agent_coordination._redis import script
from tta_agent_coordination._redis.doctor_scripts import Look
from tta_agent_coordination._redis.replies import Lane, Status

KEYS = _keys.registry("ao", hash_tags=False)
LANE = Lane(_keys.lane(BOX, "owner", 0), 7)
LOOKS = [Look(b"res_1", readable=True, mend="u"), Look(b"res_2", readable=False)]
NAMES = [name for name in script.script_names() if name.startswith("doctor_")]


def calls() -> dict[str, script.Call[Any]]:
    """Return a call of each script, each with two things to look at, the first of them to be mended."""
    agents = [(b"ao:agents:a:1", "a:1", "i"), (b"ao:agents:b:1", "b:1", "")]
    return {
        "doctor_leases": scripts.doctor_leases(LANE, BOX, now_us="12", leases=LOOKS),
        "doctor_entries": scripts.doctor_entries(LANE, BOX, now_us="12", entries=LOOKS),
        "doctor_index": scripts.doctor_index(LANE, KEYS, index=KEYS.index, agents=agents),
    }


def test_every_script_has_a_typed_function_and_the_other_way_round() -> None:
    """Broken: a Lua file nobody calls, or a call without a contract."""
    functions = {name for name in scripts.__all__ if inspect.isfunction(getattr(scripts, name))}
    assert set(NAMES) == functions == set(calls())
    for name, call in calls().items():
        assert call.script.name == name


@pytest.mark.parametrize("name", NAMES)
def test_typed_function_passes_what_the_header_lists(name: str) -> None:
    """Broken: caller and script disagree about what stands where."""
    keys, call = arguments(name, "KEYS"), calls()[name]
    assert [argument.number for argument in keys] == list(range(1, len(keys) + 1))
    many = keys[-1].rest
    assert len(call.keys) > len(keys) if many else len(call.keys) == len(keys)
    argv = re.findall(r"^(\d+)(\.\.\.)? +\w+ +\w+ +\S", sections(name)["ARGV"], re.MULTILINE)
    assert [int(number) for number, _ in argv] == list(range(1, len(argv) + 1))
    assert [rest for _, rest in argv] == [""] * (len(argv) - 1) + ["..."]
    assert len(call.args) == len(argv) - 1 + 2 * len(LOOKS)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("doctor_leases", (7, "12", b"res_1", "1u", b"res_2", "0-")),
        ("doctor_entries", (7, "12", b"res_1", "1u", b"res_2", "0-")),
        ("doctor_index", (7, "a:1", "i", "b:1", "-")),
    ],
)
def test_pairs_stand_as_the_header_says(name: str, args: tuple[bytes | str | int, ...]) -> None:
    """Broken: the script mends what it should only look at, or buries what can be read."""
    assert calls()[name].args == args


@pytest.mark.parametrize("name", NAMES)
def test_script_passes_the_keys_the_header_names(name: str) -> None:
    """Broken: a key in another's place; a script would write into the wrong structure."""
    known: dict[bytes, str] = {
        getattr(BOX, field): field
        for field in (
            *("reserved", "deadlines", "inflight", "lapses", "high", "normal", "low"),
            *("queue", "dlq", "dlq_info"),
        )
    } | {LANE.key: "op", KEYS.members: "members", KEYS.index: "index"}
    for argument, key in zip(arguments(name, "KEYS"), calls()[name].keys, strict=False):
        if not argument.rest:
            assert known[key] == argument.name


@pytest.mark.parametrize("name", NAMES)
def test_writing_script_asks_its_lane_first(name: str) -> None:
    """Broken: work done before the lane is asked is done twice when a command is sent again."""
    text = script.load(name).text
    first_call = re.search(r"redis\.p?call\([^)]*\)", text)
    assert first_call
    assert first_call[0] == "redis.call('GET', KEYS[1])"
    assert set(re.findall(r"remember\('(\w+)'", text)) == {"ok"}
    assert re.findall(r"[a-z_]+", sections(name)["RETURNS"])[0] == "ok"


@pytest.mark.parametrize("name", NAMES)
async def test_script_that_is_sent_again_says_what_it_said(
    name: str, client: aioredis.Redis, peek: Peek
) -> None:
    """Broken: a lost reply makes the doctor mend twice, or count as mended what it did not."""
    ghost = '{"message":{"message_id":"message-1"}}'
    await peek.raw("RPUSH", "ao:queue:world:1", ghost)
    await peek.raw("HSET", "ao:reserved:world:1", "res_1", "taken")
    await peek.raw("SADD", "ao:agents:index", "ao:agents:a:1")
    sent = calls() | {
        "doctor_entries": scripts.doctor_entries(
            LANE, BOX, now_us="", entries=[Look(ghost.encode(), readable=True, mend="g")]
        )
    }
    answers = [await script.run(client, sent[name]) for _ in range(2)]  # type: ignore[arg-type] - redis-py's own
    assert answers[0] == answers[1]
    assert answers[0].status == Status.OK
    assert answers[0].text == {"doctor_leases": "u-", "doctor_entries": "g", "doctor_index": "i-"}[name]
    assert await peek.raw("LLEN", "ao:dlq:world:1") == (name == "doctor_entries")
    for key in await peek.keys():
        await peek.raw("DEL", key)
