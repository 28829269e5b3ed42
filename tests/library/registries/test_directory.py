"""Who is registered and who of them is alive, page by page: on a stand-in store.

What registers there, ours and v0's, is in `test_registering.py`, `test_liveness.py` and `test_entries.py`.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from tests.library.support.virtual import in_virtual_time
from tta_agent_coordination import _keys
from tta_agent_coordination._redis.registry_scripts import Looked, Member, Page
from tta_agent_coordination._redis.script import Call
from tta_agent_coordination.registries._directory import KEYS_A_PAGE, Directory
from tta_agent_coordination.registries._liveness import Liveness
from tta_agent_coordination.registries._store import RegistryStore

KEYS = _keys.registry("ao", hash_tags=False)
NOW_US, TTL_US = 1_000_000_000, 60_000_000
ALIVE, SUSPECT, DEAD = NOW_US - 1, NOW_US - TTL_US, NOW_US - 2 * TTL_US
"""When somebody was seen who is that now."""


def entry(name: str, **more: object) -> bytes:
    """An agent's entry as it is stored."""
    kind, _, instance = name.partition(":")
    return json.dumps({"agent_id": {"type": kind, "instance": instance}, "status": {}} | more).encode()


def member(name: str, seen_us: int = ALIVE, *, draining: bool = False, text: bytes | None = None) -> Member:
    """What is stored of a registration."""
    return Member(
        epoch=7,
        ttl_us=TTL_US,
        seen_us=seen_us,
        draining=draining,
        status="idle",
        entry=entry(name) if text is None else text,
    )


class Store:
    """A store that answers in turn with what it was told to."""

    def __init__(self) -> None:
        self.keys = KEYS
        self.answers: deque[object] = deque()
        self.read_of: list[tuple[str, tuple[Any, ...]]] = []
        self.commanded: list[tuple[object, ...]] = []
        self.directory = Directory(cast("RegistryStore", self))

    def now_us(self) -> str:
        """As `RegistryStore.now_us`."""
        return "11"

    async def read(self, call: Call[Any]) -> object:
        """As `RegistryStore.read`."""
        self.read_of.append((call.script.name, call.args))
        return self.answers.popleft()

    async def command(self, *parts: object) -> object:
        """As `RegistryStore.command`."""
        self.commanded.append(parts)
        return self.answers.popleft()

    def page(self, *members: tuple[str, Member], cursor: str = "0", paused: bool = False) -> None:
        """Have a page of members answered."""
        self.answers.append(Page(cursor=cursor, now_us=NOW_US, paused=paused, members=members))

    def index(self, *names: str, cursor: int = 0) -> None:
        """Have a page of v0's index answered."""
        keys = [_keys.registry_agent(KEYS, name) for name in names]
        self.answers.append((str(cursor).encode(), keys))


def run(main: Callable[[Store], Awaitable[None]]) -> Store:
    """Run a test; every answer has to be used."""

    async def whole(_: object) -> Store:
        store = Store()
        await main(store)
        assert not store.answers
        return store

    return in_virtual_time(whole)


def test_everybody_is_listed_who_is_not_dead() -> None:
    """Broken: an agent behind the first page is missing, or one that is dead looks alive."""

    async def main(store: Store) -> None:
        known = member("a:1", text=entry("a:1", uptime=7))
        store.page(("a:1", known), ("b:2", member("b:2", SUSPECT, draining=True)), cursor="9")
        store.page(("c:3", member("c:3", DEAD)), ("d:4", member("d:4", NOW_US - TTL_US + 1)))
        store.index()
        found = await store.directory.list()
        assert [(each["agent_id"]["type"], each["alive"], each["liveness"]) for each in found] == [
            ("a", True, "alive"),
            ("b", False, "suspect"),
            ("d", True, "alive"),
        ]
        assert [(each["epoch"], each["draining"]) for each in found[:2]] == [(7, False), (7, True)]
        assert found[0]["uptime"] == 7
        assert store.read_of == [("registry_list", ("0", "11", 0)), ("registry_list", ("9", "11", 0))]
        store.page(("a:1", member("a:1", text=b"no json")))
        store.index()
        assert [each["name"] for each in await store.directory.list()] == ["a:1"]

    run(main)


def test_nobody_is_dead_while_deaths_are_held_back() -> None:
    """Broken: a store that stood still for a moment empties the registry."""

    async def main(store: Store) -> None:
        store.page(("a:1", member("a:1", DEAD)), paused=True)
        store.index()
        [found] = await store.directory.list()
        assert (found["alive"], found["liveness"]) == (False, "suspect")
        store.page(("a:1", member("a:1", DEAD)), paused=True)
        assert await store.directory.view() == {"a:1": Liveness.SUSPECT}
        store.answers.append(Looked(now_us=NOW_US, paused=True, member=member("a:1", DEAD), v0=None))
        found = await store.directory.get("a:1")
        assert found is not None
        assert found["liveness"] == "suspect"
        store.answers.append(Looked(now_us=NOW_US, paused=True, member=member("a:1", DEAD), v0=None))
        assert await store.directory.liveness("a:1") is Liveness.SUSPECT

    run(main)


def test_agents_of_v0_are_listed_behind_ours() -> None:
    """Broken: agents of v0 processes are missing, listed twice, or read one by one."""
    names = [f"v:{number:04}" for number in range(KEYS_A_PAGE + 2)]

    async def main(store: Store) -> None:
        store.page(("a:1", member("a:1")), ("dead:1", member("dead:1", DEAD)))
        store.index("a:1", "dead:1", *names[300:], cursor=5)
        store.index(*names[:301])
        texts: list[bytes | None] = [entry(name) for name in names]
        texts[1], texts[2] = None, b"no json"
        store.answers.extend([texts[:KEYS_A_PAGE], texts[KEYS_A_PAGE:]])
        found = await store.directory.list()
        listed = [f"{each['agent_id']['type']}:{each['agent_id']['instance']}" for each in found]
        assert listed == ["a:1", names[0], *names[3:]]
        assert {key: found[1][key] for key in ("alive", "liveness", "epoch", "draining")} == {
            "alive": True,
            "liveness": "alive",
            "epoch": None,
            "draining": False,
        }
        scans = [("SSCAN", KEYS.index, cursor, "COUNT", KEYS_A_PAGE) for cursor in (0, 5)]
        keys = [_keys.registry_agent(KEYS, name) for name in names]
        assert store.commanded == [*scans, ("MGET", *keys[:KEYS_A_PAGE]), ("MGET", *keys[KEYS_A_PAGE:])]

    run(main)


def test_index_holds_the_names_of_agents_alone() -> None:
    """Broken: what somebody else added to the index is read as an agent."""

    async def main(store: Store) -> None:
        store.answers.append((b"3", [b"elsewhere", _keys.registry_agent(KEYS, "b:2"), b"ao:agents:\xff:1"]))
        store.index("a:1", "b:2")
        assert await store.directory.index() == ["a:1", "b:2"]

    run(main)


@pytest.mark.parametrize(
    ("name", "agent"),
    [
        ("world:2", {"type": "world", "instance": "2"}),
        ("world:default", {"type": "world", "instance": None}),
        ("world:", {"type": "world", "instance": None}),
        ("world", {"type": "world", "instance": None}),
    ],
)
def test_member_without_a_readable_entry_is_shown_by_its_name(name: str, agent: dict[str, Any]) -> None:
    """Broken: one damaged entry hides an agent that is alive, or every agent."""

    async def main(store: Store) -> None:
        store.answers.append(
            Looked(now_us=NOW_US, paused=False, member=member(name, text=b"no json"), v0=b"anything")
        )
        assert await store.directory.get(name) == {
            "name": name,
            "agent_id": agent,
            "status": {},
            "last_heartbeat": 0.0,
            "alive": True,
            "liveness": "alive",
            "epoch": 7,
            "draining": False,
        }

    run(main)


@pytest.mark.parametrize(
    ("found", "v0", "listed", "state"),
    [
        (member("a:1"), None, True, Liveness.ALIVE),
        (member("a:1", SUSPECT), None, True, Liveness.SUSPECT),
        (member("a:1", DEAD), entry("a:1"), False, Liveness.DEAD),
        (None, entry("a:1"), True, Liveness.ALIVE),
        (None, b"no json", False, Liveness.ALIVE),
        (None, None, False, Liveness.UNKNOWN),
    ],
)
def test_one_agent_is_found_as_everybody_is(
    found: Member | None, v0: bytes | None, listed: bool, state: Liveness
) -> None:
    """Broken: one agent's state is another than in the list of all, or v0's key wins over its death."""

    async def main(store: Store) -> None:
        store.answers.extend([Looked(now_us=NOW_US, paused=False, member=found, v0=v0)] * 2)
        got = await store.directory.get("a:1")
        assert (got is not None) is listed
        assert got is None or (got["agent_id"], got["liveness"]) == (
            {"type": "a", "instance": "1"},
            state.value,
        )
        assert await store.directory.liveness("a:1") is state
        assert store.read_of == [("registry_get", ("a:1", "11"))] * 2

    run(main)


def test_view_leaves_entries_out_and_goes_over_all_pages() -> None:
    """Broken: a look at who is alive reads every entry, or misses a page."""

    async def main(store: Store) -> None:
        store.page(("a:1", member("a:1")), cursor="9")
        store.page(("b:2", member("b:2", SUSPECT)), ("c:3", member("c:3", DEAD)))
        assert await store.directory.view() == {
            "a:1": Liveness.ALIVE,
            "b:2": Liveness.SUSPECT,
            "c:3": Liveness.DEAD,
        }
        assert store.read_of == [("registry_list", ("0", "11", 1)), ("registry_list", ("9", "11", 1))]

    run(main)


def test_names_behind_which_nothing_stands_are_found() -> None:
    """Broken: v0's index grows for ever, or a living agent's name is taken from it."""
    names = [f"v:{number:04}" for number in range(KEYS_A_PAGE + 3)]

    async def main(store: Store) -> None:
        store.answers.extend([b"600", b"1"])
        store.page(("a:1", member("a:1")))
        store.index("a:1", *names)
        texts: list[bytes | None] = [b"anything"] * len(names)
        texts[3] = texts[KEYS_A_PAGE + 1] = None
        store.answers.extend([texts[:KEYS_A_PAGE], texts[KEYS_A_PAGE:]])
        assert await store.directory.unrenewed() == [names[3], names[KEYS_A_PAGE + 1]]
        keys = [_keys.registry_agent(KEYS, name) for name in names]
        assert store.commanded == [
            ("SCARD", KEYS.index),
            ("HLEN", KEYS.members),
            ("SSCAN", KEYS.index, 0, "COUNT", KEYS_A_PAGE),
            ("MGET", *keys[:KEYS_A_PAGE]),
            ("MGET", *keys[KEYS_A_PAGE:]),
        ]

    run(main)


@pytest.mark.parametrize(("listed", "members"), [(5, 5), (4, 5)])
def test_index_without_foreign_names_is_not_read(listed: int, members: int) -> None:
    """Broken: every round reads the whole index, although only ours are in it."""

    async def main(store: Store) -> None:
        store.answers.extend([listed, members])
        assert await store.directory.unrenewed() == []

    run(main)
