"""The doctor's reading of one inbox, page by page: each element once, by commands that fit its key."""

from __future__ import annotations

from typing import Any, cast

import pytest

from tests.library.support.boxes import BOX
from tests.library.v0_model import v0_entry
from tta_agent_coordination.coordinators._calls import Calls
from tta_agent_coordination.doctor import inboxes
from tta_agent_coordination.doctor.findings import MARKS, Debris
from tta_agent_coordination.doctor.inboxes import Inboxes, Suspect

V0_BOX = "world:1"
ENTRY = v0_entry(V0_BOX, "message-1").encode()


class Pages:
    """Answers as a server does whose scans give ten elements at a time, and keeps what was asked."""

    def __init__(self, **held: Any) -> None:  # noqa: ANN401 - a list, a hash or pairs
        self.held = {getattr(BOX, name): value for name, value in held.items()}
        self.asked: list[tuple[Any, ...]] = []

    async def commands(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        """Answer several commands."""
        return [self.answer(*command) for command in commands]

    async def scan_page(self, *command: Any) -> Any:  # noqa: ANN401 - what a client answers
        """Answer a scan."""
        return self.answer(*command)

    def answer(self, name: str, key: bytes, *rest: Any) -> Any:  # noqa: ANN401 - what a client answers
        """Answer one command."""
        self.asked.append((name, key, *rest))
        held: Any = self.held[key]
        if name == "TYPE":
            return held
        if name == "LRANGE":
            first, last = rest
            return held[first : last + 1]
        is_hash = key == BOX.reserved
        cursor, count, many = rest
        assert (name, count, many) == ("HSCAN" if is_hash else "ZSCAN", "COUNT", 10)
        pairs: list[tuple[bytes, Any]] = [*held.items()] if is_hash else held
        page = pairs[cursor : cursor + 10]
        return cursor + 10 if cursor + 10 < len(pairs) else 0, dict(page) if is_hash else page


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a page be ten elements."""
    monkeypatch.setattr(inboxes, "_PAGE", 10)


def made(pages: Pages) -> Inboxes:
    """Return the doctor's look into what these pages hold."""
    return Inboxes(cast("Calls", pages), None)


async def suspects(**held: Any) -> list[tuple[bytes, bool, bool]]:  # noqa: ANN401 - a list, a hash or pairs
    """Return what is suspect in an inbox: text, whether it is a lease, whether it can be read."""
    pages = Pages(**held)
    look = made(pages)
    first = await look.first_pages({BOX: set(pages.held)})
    return [(each.text, each.lease, each.readable) async for each in look.suspects(BOX, first)]


def entries(many: int, start: int = 0) -> list[bytes]:
    """Return entries as v0 writes them."""
    return [v0_entry(V0_BOX, f"message-{number}").encode() for number in range(start, start + many)]


@pytest.mark.parametrize("many", [0, 9, 10, 25])
async def test_list_is_read_once_and_to_its_end(many: int) -> None:
    """Broken: the end of a long audit list is not seen, or parts of it are counted twice."""
    held = [b"%d" % number for number in range(many)]
    starts = [*range(0, many + 1, 10)]
    pages = Pages(queue=held)
    assert [each async for each in made(pages)._list(BOX.queue)] == held
    assert pages.asked == [("LRANGE", BOX.queue, start, start + 9) for start in starts]
    pages = Pages(queue=held)
    assert [each async for each in made(pages)._list(BOX.queue, held[:10])] == held
    assert pages.asked == [("LRANGE", BOX.queue, start, start + 9) for start in starts[1:]]


async def test_first_pages_are_read_of_the_keys_that_are_there_lists_first() -> None:
    """Broken: a key that is not there costs a command, or a set is read before its list."""
    pages = Pages(queue=[b"a"], reserved={b"res_1": b"a"}, deadlines=[(b"res_1", 1.0)], low=[])
    first = await made(pages).first_pages({BOX: set(pages.held)})
    assert first == {
        BOX.queue: [b"a"],
        BOX.reserved: (0, {b"res_1": b"a"}),
        BOX.deadlines: (0, [(b"res_1", 1.0)]),
        BOX.low: (0, []),
    }
    assert [(name, key) for name, key, *_ in pages.asked] == [
        ("LRANGE", BOX.queue),
        ("HSCAN", BOX.reserved),
        ("ZSCAN", BOX.deadlines),
        ("ZSCAN", BOX.low),
    ]
    assert pages.asked[0][2:] == (0, 9)
    assert all(rest == (0, "COUNT", 10) for _, _, *more in pages.asked[1:] if (rest := tuple(more)))


async def test_keys_of_another_type_are_named_with_their_inbox() -> None:
    """Broken: a script meets a key that it cannot read, and stops in the middle."""
    right = {
        "queue": b"list",
        "dlq": b"list",
        "deadlines": b"zset",
        "high": b"zset",
        "normal": b"zset",
        "low": b"zset",
        "reserved": b"hash",
        "inflight": b"hash",
        "lapses": b"hash",
        "dlq_info": b"hash",
    }
    pages = Pages(**right)
    assert await made(pages).wrong_types({BOX: set(pages.held)}) == {}
    assert {key for _, key in pages.asked} == set(pages.held)
    assert await made(Pages(**dict.fromkeys(right, b"none"))).wrong_types({BOX: set(pages.held)}) == {}
    wrong = Pages(**dict.fromkeys(right, b"string"))
    assert await made(wrong).wrong_types({BOX: set(wrong.held)}) == dict.fromkeys(wrong.held, BOX)
    assert await made(wrong).wrong_types({BOX: {BOX.dlq}}) == {BOX.dlq: BOX}


async def test_healthy_inbox_of_many_pages_has_no_suspects() -> None:
    """Broken: the second page of a long inbox counts as lost."""
    waiting, taken = entries(25), entries(25, 100)
    held = {b"res_%d" % number: entry for number, entry in enumerate(taken)}
    assert (
        await suspects(
            queue=waiting + taken,
            normal=[(entry, 1.0) for entry in waiting[:12]],
            high=[(entry, 1.0) for entry in waiting[12:]],
            reserved=held,
            deadlines=[(token, 1.0) for token in held],
        )
        == []
    )


async def test_reservation_and_deadline_need_each_other() -> None:
    """Broken: a message that nobody can get back stays reserved for ever."""
    taken = entries(12)
    found = await suspects(
        queue=[*taken, b"broken"],
        reserved={b"res_%02d" % number: entry for number, entry in enumerate(taken)} | {b"res_99": b"broken"},
        deadlines=[(b"res_%02d" % number, 1.0) for number in range(1, 30)],
    )
    assert found == [
        (b"res_00", True, True),
        *((b"res_%02d" % number, True, True) for number in range(12, 30)),
        (b"res_99", True, False),
    ]


async def test_copy_without_a_place_and_place_without_a_copy_are_suspect() -> None:
    """Broken: a message is lost or uncounted, and nobody looks at it."""
    ghost, twice, uncounted, fine = entries(4)
    found = await suspects(
        queue=[fine, ghost, twice, ghost, twice, b"broken"],
        low=[(fine, 1.0), (twice, 1.0), (uncounted, 1.0)],
    )
    assert found == [
        (ghost, False, True),
        (twice, False, True),
        (b"broken", False, False),
        (uncounted, False, True),
    ]


async def test_text_in_a_level_that_nobody_can_read_is_suspect_once() -> None:
    """Broken: every v0 consumer fails at one text for ever, or it is looked at as two things."""
    found = await suspects(
        queue=[b"broken", b"broken"], low=[(b"broken", 1.0)], high=[(b"broken", 2.0), (b"5", 1.0)]
    )
    assert found == [(b"broken", False, False), (b"5", False, False)]


@pytest.mark.parametrize(
    ("text", "lease", "mark", "place", "subject"),
    [
        (b"res_1", True, "u", BOX.reserved, "res_1"),
        (b"res_1", True, "d", BOX.deadlines, "res_1"),
        (ENTRY, False, "g", BOX.queue, "message-1"),
        (b"\xffbroken", False, "b", BOX.queue, "7 bytes, "),
    ],
)
def test_suspect_is_told_by_its_place_and_name(
    text: bytes, lease: bool, mark: str, place: bytes, subject: str
) -> None:
    """Broken: whoever reads a report cannot find the message, or reads what players wrote."""
    for mended in (True, False):
        suspect = Suspect(text=text, lease=lease, readable=True, mark=mark)
        told = suspect.finding(BOX, mended=mended)
        assert told == Debris(MARKS[mark], place.decode(), told.subject, mended)
        assert told.subject.startswith(subject)
    if not subject.endswith(", "):
        assert told.subject == subject
