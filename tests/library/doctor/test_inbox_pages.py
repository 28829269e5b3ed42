"""The doctor's reading of one inbox, page by page: each element once, by commands that fit its key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from tests.library.support.boxes import BOX
from tests.library.v0_model import v0_entry
from tta_agent_coordination import _keys
from tta_agent_coordination._redis.replies import Lane, Reply, Status
from tta_agent_coordination._redis.script import Call
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
        (b"\xffbroken", False, "b", BOX.queue, "7 bytes, 87ae7b5b4093"),
    ],
)
def test_suspect_is_told_by_its_place_and_name(
    text: bytes, lease: bool, mark: str, place: bytes, subject: str
) -> None:
    """Broken: whoever reads a report cannot find the message, or reads what players wrote."""
    for mended in (True, False):
        suspect = Suspect(text=text, lease=lease, readable=True, mark=mark)
        told = suspect.finding(BOX, mended=mended)
        assert told == Debris(MARKS[mark], place.decode(), subject, mended)


@pytest.mark.parametrize(("listed", "suspect", "asked"), [(0, [0], 0), (1, [], 0), (3, [1, 2], 1)])
async def test_what_a_first_page_holds_is_not_asked_for_again(
    listed: int, suspect: list[int], asked: int
) -> None:
    """Broken: each inbox is read twice, or a key that is not there is; surplus is looked for again."""
    taken = entries(3)
    queue = {"queue": taken[:listed]} if listed else {}
    pages = Pages(reserved={b"res_1": taken[0]}, deadlines=[(b"res_1", 1.0)], **queue)
    look = made(pages)
    first = await look.first_pages({BOX: set(pages.held)})
    pages.asked.clear()
    assert [each.text async for each in look.suspects(BOX, first)] == [taken[each] for each in suspect]
    assert pages.asked == [("LRANGE", BOX.queue, 0, 9)] * asked


async def test_text_in_two_places_has_two_copies() -> None:
    """Broken: of two sends that v0 took for one, the copy of the second counts as surplus while it waits."""
    [entry] = entries(1)
    places = {"low": [(entry, 1.0)], "reserved": {b"res_1": entry}, "deadlines": [(b"res_1", 1.0)]}
    assert await suspects(queue=[entry, entry], **places) == []
    assert await suspects(queue=[entry] * 3, **places) == [(entry, False, True)]


@pytest.mark.parametrize("answers", [0, 3])
async def test_answer_that_is_missing_or_too_many_is_no_answer(answers: int) -> None:
    """Broken: every answer behind one that is missing counts for another key."""

    class Off(Pages):
        async def commands(self, commands: list[tuple[Any, ...]]) -> list[Any]:
            return [list[bytes]()] * answers if commands else []

    for key in ("queue", "low"):
        look = made(Off(**{key: []}))
        with pytest.raises(ValueError, match="zip"):
            await look.first_pages({BOX: {getattr(BOX, key)}})
        with pytest.raises(ValueError, match="zip"):
            await look.wrong_types({BOX: {getattr(BOX, key)}})


class Scripts(Pages):
    """Answers every script with one mark for all, and keeps what each was handed."""

    def __init__(self, marks: str = "", **held: Any) -> None:  # noqa: ANN401 - how long a list is
        super().__init__(**held)
        self.marks = marks
        self.handed: list[list[tuple[bytes, str]]] = []

    def answer(self, name: str, key: bytes, *rest: Any) -> Any:  # noqa: ANN401 - what a client answers
        """Say how long a list is."""
        assert (name, rest) == ("LLEN", ())
        return self.held[key]

    async def run(self, box: _keys.Inbox, build: Callable[[Lane], Call[Reply]]) -> Reply:
        """Answer one script."""
        assert box == BOX
        flat: list[Any] = list(build(Lane(b"lane", 1)).args[2:])
        self.handed.append([*zip(flat[::2], flat[1::2], strict=True)])
        return Reply(Status.OK, self.marks or "u" * len(self.handed[-1]))


def of(*lengths: int, lease: bool = True, mark: str = "") -> list[Suspect]:
    """Return suspects whose texts are so long."""
    return [Suspect(text=b"x" * each, lease=lease, readable=True, mark=mark) for each in lengths]


async def batches(scripts: Scripts, mine: list[Suspect], *, repair: bool = False) -> list[list[int]]:
    """Return how long the texts of each script were."""
    look = Inboxes(cast("Calls", scripts), None)
    assert len([each async for each in look.judge(BOX, mine, repair=repair)]) == len(mine)
    return [[len(text) for text, _ in each] for each in scripts.handed]


async def test_script_takes_so_many_bytes_and_so_many_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: one script holds the server for as long as somebody's debris is large."""
    monkeypatch.setattr(inboxes, "_BYTES_A_SCRIPT", 10)
    found = await batches(Scripts(), of(5, 5, 5, 5, 4, 4, 4, 11))
    assert found == [[5, 5], [5, 5], [4, 4], [4], [11]]
    monkeypatch.setattr(inboxes, "_PAIRS_A_SCRIPT", 2)
    for lease in (True, False):
        assert await batches(Scripts(), of(1, 1, 1, 1, 1, lease=lease)) == [[1, 1], [1, 1], [1]]


@pytest.mark.parametrize(("queue", "dlq", "many"), [(20, 0, 1), (0, 20, 1), (3, 1, 2), (0, 0, 4)])
async def test_script_that_mends_takes_less_of_a_longer_list(
    monkeypatch: pytest.MonkeyPatch, queue: int, dlq: int, many: int
) -> None:
    """Broken: each entry costs a walk along the list, and a script of many of them stops the server."""
    monkeypatch.setattr(inboxes, "_STEPS_A_REPAIR", 10)
    scripts = Scripts(queue=queue, dlq=dlq)
    found = await batches(scripts, of(1, 1, 1, 1, lease=False), repair=True)
    assert [len(each) for each in found] == [many] * (4 // many)


@pytest.mark.parametrize(("repair", "mend"), [(True, "u"), (False, "-")])
async def test_only_a_run_that_mends_says_so_to_the_script(repair: bool, mend: str) -> None:
    """Broken: a run that should only look changes what it finds, or one that should mend does not."""
    scripts = Scripts()
    await batches(scripts, of(1, mark="u"), repair=repair)
    assert scripts.handed == [[(b"x", f"1{mend}")]]


async def test_suspect_without_a_mark_of_its_own_ends_the_look() -> None:
    """Broken: the marks of some suspects are taken for those of others."""
    look = Inboxes(cast("Calls", Scripts(marks="u")), None)
    with pytest.raises(ValueError, match="zip"):
        _ = [each async for each in look.judge(BOX, of(1, 1), repair=False)]
