"""The Lua scripts: each one's header is a contract, held here against its typed function and its own text."""

# ruff: noqa: ANN401 - clients are of any kind here

from __future__ import annotations

import inspect
import itertools
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import pytest

from tests.library.support.boxes import BOX
from tests.library.support.builders import NARRATIVE
from tests.library.support.servers import Lane as ServerLane
from tta_agent_coordination import _keys
from tta_agent_coordination._redis import script, scripts, upkeep_scripts
from tta_agent_coordination._redis.scripts import Lane, Put, Retry, Status

SECTIONS = ["Purpose", "KEYS", "ARGV", "RETURNS", "INVARIANT", "COST"]
LUA = files("tta_agent_coordination._redis").joinpath("lua")
TARGET = _keys.inbox("ao", NARRATIVE, hash_tags=False)
LANE = Lane(_keys.lane(BOX, "owner", 0), 7)
RETRY = Retry(attempts=3, base_s=1.0, factor=2.0, max_s=30.0, jitter=1.0)
NOW: dict[str, Any] = {"now_us": "", "audit": True}
PUT: dict[str, Any] = {"level": 5, "delay_us": 0, "expires_us": 0, "entry": b"e", "message_id": "m"}

CALLS: dict[str, list[script.Call[Any]]] = {
    "enqueue": [
        scripts.enqueue(LANE, BOX, **NOW, limit=9, put=Put(**PUT, dedup=dedup), dedup_ms=5)
        for dedup in (_keys.dedup(BOX, "order 7"), None)
    ],
    "enqueue_many": [
        scripts.enqueue_many(
            LANE,
            BOX,
            **NOW,
            limit=9,
            dedup_ms=5,
            puts=[Put(**PUT, dedup=_keys.dedup(BOX, str(n))) for n in range(3)],
        )
    ],
    "exchange": [
        scripts.exchange(
            LANE,
            BOX,
            **NOW,
            max_deliveries=10,
            lease_us=5,
            ageing_us=0,
            waiting=0,
            ended=["res_1"],
            tokens=["res_2", "res_3"],
            owner="",
        )
    ],
    "reserve": [scripts.reserve(LANE, BOX, **NOW, max_deliveries=10, token="res_1", lease_us=5)],
    "ack": [scripts.ack(LANE, BOX, **NOW, token="res_1")],
    "ack_send": [
        scripts.ack_send(
            LANE, BOX, **NOW, token="res_1", limit=9, targets=[TARGET], sends=[(1, 5, b"e"), (1, 9, b"f")]
        )
    ],
    "nack": [scripts.nack(LANE, BOX, **NOW, token="res_1", error="null", dead_cause="", retry=RETRY)],
    "release": [scripts.release(LANE, BOX, **NOW, token="res_1")],
    "extend": [scripts.extend(LANE, BOX, now_us="", token="res_1", lease_us=5)],
    "reclaim": [scripts.reclaim(LANE, BOX, **NOW, max_deliveries=10)],
    "requeue": [upkeep_scripts.requeue(LANE, BOX, **NOW, limit=9, letters=[(b"old", 5, b"new")])],
    "purge": [upkeep_scripts.purge(LANE, BOX, letters=[b"old"]), upkeep_scripts.purge(LANE, BOX, letters=[])],
    "dead_letters": [upkeep_scripts.dead_letters(BOX, start=0, count=1_000)],
    "find": [upkeep_scripts.find(BOX.high, BOX.high, kind="level", cursor="0", needle=b"x")],
    "stats": [upkeep_scripts.stats(BOX, now_us="")],
    "subscribe": [scripts.subscribe(LANE, BOX, types=["event"])],
    "unsubscribe": [
        scripts.unsubscribe(LANE, BOX, types=["event"]),
        scripts.unsubscribe(LANE, BOX, types=[]),
    ],
}
NAMES = script.script_names()
COORDINATION = [name for name in NAMES if not name.startswith(("breaker_", "doctor_", "registry_"))]
"""The coordinator's scripts; the others are held against their functions by their own tests."""
INCLUDES = sorted(entry.name.removesuffix(".lua") for entry in LUA.joinpath("include").iterdir())

KEY_FAMILIES = {
    "op": "string",
    "reserved": "hash",
    "deadlines": "zset",
    "inflight": "hash",
    "lapses": "hash",
    "clock": "string",
    "high": "zset",
    "normal": "zset",
    "low": "zset",
    "queue": "list",
    "dlq": "list",
    "dlq_info": "hash",
    "dedup": "string",
    "wake": "zset",
    "subs": "set",
    "place": "mixed",
    "companion": "mixed",
}
"""What a header may call a key, and which Redis type that key has."""


@dataclass(frozen=True, kw_only=True)
class Argument:
    """One numbered line of KEYS or ARGV; `rest` stands for a line that counts as any number."""

    number: int
    rest: bool
    name: str
    kind: str


def sections(name: str) -> dict[str, str]:
    """Return the header of a script, section by section."""
    header: list[str] = []
    for line in script.source(name).splitlines():
        if not line.startswith("--") or line.startswith("-- @include"):
            break
        header.append(line[3:])
    found: dict[str, list[str]] = {}
    current = ""
    for line in header:
        match = re.match(r"([A-Z]\w+):(.*)", line)
        if match and match[1] in SECTIONS:
            current = match[1]
            found[current] = [match[2].strip()]
        else:
            found[current].append(line.strip())
    return {section: "\n".join(filter(None, lines)) for section, lines in found.items()}


def arguments(name: str, section: str) -> list[Argument]:
    """Return the numbered lines of a section."""
    lines = sections(name)[section].splitlines()
    parsed = [re.match(r"(\d+)(\.\.\.)? +(\w+) +(\w+) +\S", line) for line in lines]
    assert all(parsed), f"{name}: a line of {section} has no number, name, kind and meaning: {lines}"
    return [
        Argument(number=int(match[1]), rest=bool(match[2]), name=match[3], kind=match[4])
        for match in parsed
        if match
    ]


def statuses(name: str) -> set[str]:
    """Return the status words that a header promises: the first word of each alternative."""
    text = " ".join(sections(name)["RETURNS"].splitlines())
    alternatives = re.split(r" \| |; ", text)
    return {
        words[0]
        for part in alternatives
        if (words := re.findall(r"[a-z_]+", part)) and words[0] in set(Status)
    }


def body(name: str) -> str:
    """Return a script as the server sees it: includes in place, comments gone."""
    return script.load(name).text


def test_every_script_has_a_typed_function_and_the_other_way_round() -> None:
    """Broken: a Lua file nobody calls, or a call without a contract."""
    functions = {
        name
        for module in (scripts, upkeep_scripts)
        for name in module.__all__
        if inspect.isfunction(getattr(module, name))
    }
    assert set(COORDINATION) == functions == set(CALLS)
    for name, calls in CALLS.items():
        assert {call.script.name for call in calls} == {name}


def test_every_include_is_used() -> None:
    """Broken: Lua that no script contains is not tested by anything."""
    used = {include for name in NAMES for include in re.findall(r"@include (\w+)", script.source(name))}
    assert used == set(INCLUDES)


@pytest.mark.parametrize("name", NAMES)
def test_header_has_every_section_in_order(name: str) -> None:
    """Broken: a script without its contract cannot be reviewed."""
    found = sections(name)
    assert list(found) == SECTIONS
    assert all(found.values())


@pytest.mark.parametrize("name", COORDINATION)
def test_header_numbers_its_arguments(name: str) -> None:
    """Broken: positions are the interface; a number out of line hides one."""
    for section in ("KEYS", "ARGV"):
        listed = arguments(name, section)
        assert [argument.number for argument in listed] == list(range(1, len(listed) + 1))
        assert all(not argument.rest for argument in listed[:-1])


@pytest.mark.parametrize("name", COORDINATION)
def test_typed_function_passes_what_the_header_lists(name: str) -> None:
    """Broken: caller and script disagree about what stands where."""
    keys, argv = arguments(name, "KEYS"), arguments(name, "ARGV")
    longest = CALLS[name][0]
    if keys[-1].rest:
        assert len(longest.keys) > len(keys)
    else:
        assert len(longest.keys) == len(keys)
    assert (len(longest.args) >= len(argv)) if argv[-1].rest else (len(longest.args) == len(argv))
    for call in CALLS[name]:
        for argument, value in zip(argv, call.args, strict=False):
            if argument.rest:
                break
            assert_fits(argument, value)


def assert_fits(argument: Argument, value: object) -> None:
    """Hold one value against the kind that the header gives it."""
    text = value.decode() if isinstance(value, bytes) else str(value)
    match argument.kind:
        case "integer":
            assert re.fullmatch(r"-?\d+", text) or (argument.name == "now_us" and not text), argument
        case "flag":
            assert text in {"0", "1"}, argument
        case "float":
            float(text)
        case kind:
            assert kind in {"text", "json", "mixed"}, argument


@pytest.mark.parametrize("name", COORDINATION)
def test_typed_function_passes_the_keys_the_header_names(name: str) -> None:
    """Broken: a key in another's place; a script would write into the wrong structure."""
    names: dict[bytes, str] = {
        LANE.key: "op",
        BOX.reserved: "reserved",
        BOX.deadlines: "deadlines",
        BOX.inflight: "inflight",
        BOX.lapses: "lapses",
        BOX.clock: "clock",
        BOX.high: "high",
        BOX.normal: "normal",
        BOX.low: "low",
        BOX.queue: "queue",
        BOX.dlq: "dlq",
        BOX.dlq_info: "dlq_info",
        BOX.wake: "wake",
        BOX.subs: "subs",
        _keys.dedup(BOX, "order 7"): "dedup",
    }
    for argument, key in zip(arguments(name, "KEYS"), CALLS[name][0].keys, strict=False):
        if argument.rest:
            break
        assert argument.kind == KEY_FAMILIES[argument.name]
        if argument.kind != "mixed":
            assert names[key] == argument.name


@pytest.mark.parametrize("name", COORDINATION)
def test_script_answers_only_what_its_header_returns(name: str) -> None:
    """Broken: a status word that the caller does not know raises far from its cause."""
    text = body(name)
    said = set(re.findall(r"return \{'(\w+)'", text)) | set(re.findall(r"remember\('(\w+)'", text))
    said |= set(re.findall(r"status = (?:\d+, )?'(\w+)'", text))
    said |= set(re.findall(r"local (?:reply|page)(?:, \w+)* = \{'(\w+)'", text))
    said |= set(re.findall(r"= 0, '(\w+)'", text))
    assert said == statuses(name)
    assert said <= set(Status)


@pytest.mark.parametrize("name", COORDINATION)
def test_script_uses_exactly_the_keys_it_lists(name: str) -> None:
    """Broken: a key that is not passed in KEYS is not in the slot, and a key that is unused is noise."""
    text = body(name)
    listed = arguments(name, "KEYS")
    used = {int(number) for number in re.findall(r"KEYS\[(\d+)\]", text)}
    fixed = {argument.number for argument in listed if not argument.rest}
    if re.search(r"KEYS\[\w*[a-z]", text):
        assert used <= fixed
    else:
        assert used == fixed


FORBIDDEN = {
    r"redis\.sha1hex": "fakeredis does not have it",
    r"cmsgpack|struct\.|bit\.": "fakeredis does not have it",
    r"cjson\.encode": "turns [] into {} and rounds large integers",
    r"redis\.replicate_commands|redis\.setresp": "not on every server",
    r"'KEYS'|'SCAN'|'FLUSH\w+'|'CLIENT'|'EVAL\w*'|'RANDOMKEY'": "unbounded or not allowed in a script",
    r"'SMEMBERS'|'HGETALL'|'HKEYS'|'HVALS'": "unbounded",
    r"math\.random|os\.|io\.": "not repeatable",
    r"\bgoto\b|\bload(?:string)?\(": "not the same in every Lua",
    r"\.\.\s*tostring\(|tostring\(now": "cuts microsecond stamps to 14 digits",
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("pattern", FORBIDDEN)
def test_script_does_not_use(name: str, pattern: str) -> None:
    """Broken: an experiment showed that this construct loses, rounds or blocks; the table says which."""
    assert not re.search(pattern, body(name)), FORBIDDEN[pattern]


@pytest.mark.parametrize("name", NAMES)
def test_script_assigns_no_global(name: str) -> None:
    """Broken: one leaked global breaks every later script on fakeredis."""
    text = body(name)
    local = {"KEYS", "ARGV"}
    for names in re.findall(r"local ((?:\w+, )*\w+)", text):
        local |= set(names.split(", "))
    for names in re.findall(r"\bfor ((?:\w+, )*\w+) (?:=|in)", text):
        local |= set(names.split(", "))
    for function, parameters in re.findall(r"function (\w*)\(([^)]*)\)", text):
        local |= {function, *parameters.split(", ")}
    assigned: set[str] = set()
    for names in re.findall(r"^\s*((?:\w+, )*\w+) = ", text, re.MULTILINE):
        assigned |= set(names.split(", "))
    table_fields = set(re.findall(r"^\s+(\w+) = [^=]*,$", text, re.MULTILINE))
    assert assigned - table_fields <= local
    assert not re.search(r"^function |[^l] function \w+\(", text, re.MULTILINE)


BOUNDED = {
    ("subscribe", "ARGV, 2"),
    ("unsubscribe", "ARGV, 2"),
    ("enqueue_many", "list"),
    ("enqueue_many", "copies"),
}
"""What scripts unpack: a caller's message types, and the at most 128 messages of a batch."""


@pytest.mark.parametrize("name", COORDINATION)
def test_script_bounds_what_it_unpacks(name: str) -> None:
    """Broken: Lua unpacks a limited number of values; a larger one fails in the middle of the work."""
    for what in re.findall(r"unpack\(([^)]*)\)", body(name)):
        assert (name, what) in {
            ("subscribe", "ARGV, 2"),
            ("unsubscribe", "ARGV, 2"),
            ("enqueue_many", "list"),
            ("enqueue_many", "copies"),
        }, f"unpack({what}) is unbounded"


@pytest.mark.parametrize("name", COORDINATION)
def test_include_stands_behind_what_it_needs(name: str) -> None:
    """Broken: an include reads locals of another one; out of order they are nil."""
    source = script.source(name)
    order = re.findall(r"^-- @include (\w+)", source, re.MULTILINE)
    for position, include in enumerate(order):
        first = script.source(f"include/{include}").splitlines()[0]
        match = re.match(rf"-- Include: {include}\.(?: Needs ([^.]+)\.)?", first)
        assert match, f"include/{include}.lua does not say what it is and needs: {first}"
        needs = set((match[1] or "").replace(" ", "").split(","))
        assert needs & set(INCLUDES) <= set(order[:position]), f"{include} needs {needs}"


@pytest.mark.parametrize(
    "name", [name for name in COORDINATION if name not in {"stats", "find", "dead_letters"}]
)
def test_writing_script_asks_its_lane_first(name: str) -> None:
    """Broken: work done before the lane is asked is done twice when a command is sent again."""
    text = body(name)
    first_call = re.search(r"redis\.p?call\([^)]*\)", text)
    assert first_call
    assert first_call[0] == "redis.call('GET', KEYS[1])"
    assert "remember(" in text


@pytest.mark.parametrize("name", ["stats", "find", "dead_letters"])
def test_reading_script_writes_nothing(name: str) -> None:
    """Broken: looking must not touch."""
    commands = set(re.findall(r"redis\.p?call\('(\w+)'", body(name)))
    assert commands <= {
        "TIME",
        "GET",
        "ZCARD",
        "ZCOUNT",
        "ZRANGE",
        "ZRANGEBYSCORE",
        "ZSCORE",
        "HLEN",
        "HGET",
        "HSCAN",
        "LLEN",
        "LRANGE",
    }


@pytest.mark.parametrize("name", NAMES)
def test_script_text_is_what_its_digest_says(name: str) -> None:
    """Broken: EVALSHA would run something else, or nothing for ever."""
    loaded = script.load(name)
    assert re.fullmatch(r"[0-9a-f]{40}", loaded.digest)
    assert "@include" not in loaded.text
    assert not re.search(r"^\s*--", loaded.text, re.MULTILINE)


def test_scripts_are_the_files_of_the_folder() -> None:
    """Broken: a script is delivered and nothing here looks at it."""
    assert script.script_names() == sorted(
        entry.name.removesuffix(".lua") for entry in LUA.iterdir() if entry.name.endswith(".lua")
    )
    assert "include" not in script.script_names()
    assert "enqueue" in script.script_names()


@pytest.mark.parametrize("decode_responses", [False, True])
async def test_answer_is_bytes_whatever_the_client_decodes(lane: ServerLane, decode_responses: bool) -> None:
    """Broken: an entry that is no text stops a client that decodes."""
    client: Any = lane.client(decode_responses=decode_responses)
    first, *_ = CALLS["enqueue"]
    call = script.Call(script=first.script, keys=first.keys, args=first.args, read=list[Any])
    for _ in range(2):
        await client.script_flush()
        assert (await script.run(client, call))[0] == b"ok"
        assert (await script.run(client, call))[0] == b"ok"
    answers = await script.run_many(client, [call, call])
    assert [answer[0] for answer in answers if isinstance(answer, list)] == [b"ok"] * 2


@pytest.mark.parametrize(
    ("before", "then", "status"),
    [
        (7, 8, Status.LOST),
        (8, 7, Status.STALE),
        (9, 10, Status.LOST),
        (10, 9, Status.STALE),
        (199, 1000, Status.LOST),
        (1000, 999, Status.STALE),
    ],
)
async def test_lane_refuses_what_comes_after_its_successor(
    client: Any, before: int, then: int, status: Status
) -> None:
    """Broken: a late command does its work, or a lane is stuck where its numbers get a digit more."""
    for number, expected in ((before, Status.LOST), (then, status)):
        lane = Lane(_keys.lane(BOX, "somebody", 0), number)
        call = scripts.extend(lane, BOX, now_us="", token="res_1", lease_us=5)
        assert (await script.run(client, call)).status is expected


async def test_reserve_tells_what_it_ended_and_what_comes_next(client: Any) -> None:
    """Broken: a message that died on the way is not counted, or who waits sleeps past the next one."""
    lanes = (Lane(_keys.lane(BOX, "somebody", 0), number) for number in itertools.count(1))

    async def put(name: str, level: int, delay_us: int = 0) -> None:
        entry = b'{"message":"%s","delivery_attempts":0,"last_error":null}' % name.encode()
        new = Put(level=level, delay_us=delay_us, expires_us=0, entry=entry, message_id=name, dedup=None)
        call = scripts.enqueue(next(lanes), BOX, now_us="1000", audit=True, limit=9, put=new, dedup_ms=1)
        assert (await script.run(client, call)).status is Status.OK

    async def reserve(token: str, now_us: int) -> scripts.Reserved:
        call = scripts.reserve(
            next(lanes),
            BOX,
            now_us=str(now_us),
            audit=True,
            max_deliveries=2,
            token=token,
            lease_us=50,
            waiting=1,
        )
        return await script.run(client, call)

    for name, level, delay_us in (("a", 5, 0), ("b", 1, 900), ("c", 9, 700), ("d", 5, 800)):
        await put(name, level, delay_us)
    assert (await reserve("res_1", 1100)).deliveries == 1
    assert (await reserve("res_2", 1100)).pause_us == 50
    again = await reserve("res_3", 1200)
    assert (again.token, again.deliveries, again.requeued, again.dead) == ("res_3", 2, 1, 0)
    nothing = await reserve("res_4", 1300)
    assert (nothing.status, nothing.dead, nothing.pause_us) == (Status.EMPTY, 1, 400)
    assert (await reserve("res_5", 1700)).deadline_us == 1750
    last = await reserve("res_6", 1800)
    assert (last.requeued, last.dead) == (1, 0)
    assert b'"c"' in last.entry
    last = await reserve("res_7", 1900)
    assert (last.requeued, last.dead) == (0, 1)
    assert b'"d"' in last.entry
    call = scripts.exchange(
        next(lanes),
        BOX,
        now_us="1980",
        audit=True,
        max_deliveries=2,
        lease_us=50,
        ageing_us=0,
        waiting=1,
        ended=[],
        tokens=["res_8", "res_9"],
        owner="",
    )
    both = await script.run(client, call)
    assert [one.token for one in both.taken] == ["res_8", "res_9"]
    assert [one.deliveries for one in both.taken] == [2, 1]
    assert (both.dead, both.pause_us) == (0, -1)
    call = scripts.exchange(
        next(lanes),
        BOX,
        now_us="2100",
        audit=True,
        max_deliveries=2,
        lease_us=50,
        ageing_us=0,
        waiting=1,
        ended=["res_9"],
        tokens=["res_10"],
        owner="",
    )
    last = await script.run(client, call)
    assert (last.held, last.taken, last.dead, last.pause_us) == ((True,), (), 1, -1)
    await client.flushdb()


@pytest.mark.parametrize("name", ["enqueue_many", "exchange"])
async def test_batch_that_was_overtaken_says_so(client: Any, name: str) -> None:
    """Broken: a batch whose successor on the lane came first is read as one that was done."""
    (batch,) = CALLS[name]
    later = Lane(LANE.key, LANE.seq + 1)
    await script.run(client, scripts.release(later, BOX, **NOW, token="res_1"))
    assert (await script.run(client, batch)).status is Status.STALE
    await client.flushdb()
