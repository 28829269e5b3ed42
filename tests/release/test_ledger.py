"""The ledger's file: every break shows, a torn last line is no break, one writer at a time."""

import datetime as dt
import errno
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import rfc8785

from release import ledger as module
from release.evidence import Outcome, sha256
from release.ledger import NAME, Ledger
from release.model import Refused
from tests.release.ledger_support import (
    COMMIT,
    HERE,
    TREE,
    WHEEL,
    add,
    create,
    edited,
    opening,
    raw_lines,
    rewrite,
    rules_of,
)
from tests.release.repo_support import NOW

ROOT = Path(module.__file__).resolve().parent.parent


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A ledger of four lines."""
    folder = tmp_path / "ledger"
    ledger = create(folder)
    add(ledger, "lint")
    add(ledger, "test", "3.12", subject={WHEEL.name: WHEEL.sha256})
    add(ledger, "coverage", figures={"basis_points": 9_950, "floor": "release/"})
    return folder


def refusal(folder: Path) -> list[str]:
    """The rules by which reading refuses; it must leave the file as it is."""
    before = (folder / NAME).read_bytes()
    with pytest.raises(Refused) as caught:
        Ledger.read(folder)
    assert (folder / NAME).read_bytes() == before
    return rules_of(caught.value)


def test_what_was_appended_is_read_back(folder: Path) -> None:
    """Every later stage decides by what it reads."""
    written = Ledger.read(folder)
    assert written.opening == opening()
    assert written.opened_at == NOW.replace(microsecond=0)
    assert [(line.n, line.stage, line.leg) for line in written.lines] == [
        (1, "lint", "all"),
        (2, "test", "3.12"),
        (3, "coverage", "all"),
    ]
    raw = raw_lines(folder)
    assert [line.prev for line in written.lines] == [sha256(line) for line in raw[:-1]]
    assert written.genesis == sha256(raw[0])
    assert written.head == sha256(raw[-1])
    assert written.torn is None
    assert "rehearsal 0.1.0 aaaaaaaaaaaa lines=3" in repr(written)


def test_appending_keeps_the_object_up_to_date(tmp_path: Path) -> None:
    """The stage that appended hands its own head on."""
    ledger = create(tmp_path / "ledger")
    assert ledger.head == ledger.genesis
    line = ledger.append(
        stage="lint", outcome=Outcome.PASSED, subject={}, figures={}, tools={}, at=NOW, ran=HERE
    )
    again = Ledger.read(tmp_path / "ledger")
    assert (line.n, line.leg) == (1, "all")
    assert (ledger.lines, ledger.head, ledger.genesis) == (again.lines, again.head, again.genesis)
    assert ledger.lines == (line,)


def test_two_openings_of_the_same_files_differ(tmp_path: Path) -> None:
    """An evidence file of an earlier build of the same commit must not fit a later one."""
    first = Ledger.create(tmp_path / "one", opening(), at=NOW)
    second = Ledger.create(tmp_path / "two", opening(), at=NOW + dt.timedelta(seconds=1))
    assert first.genesis != second.genesis
    assert first.digests == second.digests


Hand = Callable[[list[bytes]], list[bytes]]


def remove(n: int) -> Hand:
    return lambda lines: lines[:n] + lines[n + 1 :]


def change(n: int, edit: Callable[[bytes], bytes]) -> Hand:
    return lambda lines: [edit(line) if n == i else line for i, line in enumerate(lines)]


HANDS: dict[str, tuple[Hand, set[str]]] = {
    "edited": (change(1, lambda line: edited(line, figures={"took_ms": 13})), {"ledger.chained"}),
    "line 0 edited": (change(0, lambda line: edited(line, version="0.1.1")), {"ledger.chained"}),
    "removed": (remove(1), {"ledger.numbered", "ledger.chained"}),
    "line 0 removed": (remove(0), {"ledger.readable", "ledger.numbered"}),
    "reordered": (
        lambda lines: [lines[0], lines[2], lines[1], lines[3]],
        {"ledger.numbered", "ledger.chained"},
    ),
    "repeated": (lambda lines: [*lines[:2], lines[1], *lines[2:]], {"ledger.numbered", "ledger.chained"}),
    "duplicate n": (change(3, lambda line: edited(line, n=2)), {"ledger.numbered"}),
    "gap": (change(3, lambda line: edited(line, n=7)), {"ledger.numbered"}),
    "prev": (change(3, lambda line: edited(line, prev="0" * 64)), {"ledger.chained"}),
    "non-canonical": (change(3, lambda line: line.replace(b'":', b'": ', 1)), {"ledger.readable"}),
    "float": (change(3, lambda line: line.replace(b"9950", b"9950.0")), {"ledger.readable"}),
    "unknown field": (change(3, lambda line: edited(line, note="x")), {"ledger.readable"}),
    "0": (change(0, lambda line: edited(line, note="x")), {"ledger.readable", "ledger.chained"}),
    "empty line": (change(2, lambda _: b""), {"ledger.readable", "ledger.chained"}),
    "empty line at the end": (lambda lines: [*lines, b""], {"ledger.readable"}),
    "CRLF": (change(1, lambda line: line + b"\r"), {"ledger.readable", "ledger.chained"}),
    "last line cut, with its line feed": (change(3, lambda line: line[:-9]), {"ledger.readable"}),
    "leg not in the plan": (change(3, lambda line: edited(line, leg="3.12")), {"ledger.in-plan"}),
    "stage not in it": (change(3, lambda line: edited(line, stage="moon")), {"ledger.in-plan"}),
    "other commit": (change(3, lambda line: edited(line, subject={"commit": TREE})), {"ledger.same-subject"}),
    "other wheel": (
        change(3, lambda line: edited(line, subject={WHEEL.name: "0" * 64})),
        {"ledger.same-subject"},
    ),
    "other file": (
        change(3, lambda line: edited(line, subject={"x.whl": "0" * 64})),
        {"ledger.same-subject"},
    ),
}
"""What somebody or something may do to the file, and the rules that refuse it."""


@pytest.mark.parametrize("hand", HANDS)
def test_a_break_is_refused_and_named(folder: Path, hand: str) -> None:
    """A record somebody or something changed must stop the release, not steer it."""
    rewrite(folder, HANDS[hand][0])
    assert set(refusal(folder)) == HANDS[hand][1]


def test_every_break_is_listed_with_its_line(folder: Path) -> None:
    """A person mends all of them in one go."""
    rewrite(folder, lambda lines: [b"x", lines[1], b"y", lines[3]])
    with pytest.raises(Refused) as caught:
        Ledger.read(folder)
    places = [problem.where for problem in caught.value.problems]
    assert any("line 1 (n=0)" in place for place in places)
    assert any("line 3 (n=2)" in place for place in places)
    says = {problem.rule: problem.what for problem in caught.value.problems}
    assert "None" not in says["ledger.readable"]
    assert says["ledger.chained"] == "does not name the line before it: one of the two was changed or moved"


def test_no_single_changed_byte_goes_unnoticed(folder: Path) -> None:
    """Each byte of the file is covered by the chain or by the head that the job hands on."""
    path = folder / NAME
    good, head = path.read_bytes(), Ledger.read(folder).head
    for at in range(0, len(good), 7):
        changed = bytearray(good)
        changed[at] ^= 1
        path.write_bytes(changed)
        try:
            read = Ledger.read(folder)
        except Refused:
            continue
        assert read.head != head, f"byte {at}"


@pytest.fixture
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of crashes a second: what fsync adds is not what these tests look at."""

    def skip(_descriptor: int) -> None:
        return None

    monkeypatch.setattr(os, "fsync", skip)


@pytest.mark.usefixtures("no_fsync")
def test_a_last_line_torn_at_any_byte_is_set_aside_and_redone(tmp_path: Path) -> None:
    """A `kill -9` while a line was written costs that line and nothing else."""
    ledger = create(tmp_path)
    add(ledger, "lint")
    path, start = tmp_path / NAME, (tmp_path / NAME).stat().st_size
    add(ledger, "coverage", figures={}, tools={}, subject={})
    whole = path.read_bytes()
    before = sha256(raw_lines(tmp_path)[-2])
    for end in range(start, len(whole)):
        path.write_bytes(whole[:end])
        ledger = Ledger.read(tmp_path)
        assert ledger.head == before
        assert path.read_bytes() == whole[:start]
        if end == start:
            assert ledger.torn is None
        else:
            assert ledger.torn is not None
            assert ledger.torn.read_bytes() == whole[start:end]
            ledger.torn.unlink()
        if end % 16 == 0 or end == len(whole) - 1:
            add(ledger, "coverage", figures={}, tools={}, subject={})
            assert path.read_bytes() == whole


@pytest.mark.usefixtures("no_fsync")
def test_a_torn_line_zero_is_no_ledger_and_can_be_opened_again(tmp_path: Path) -> None:
    """A `kill -9` in the middle of `build` must not block the next one."""
    folder = tmp_path / "ledger"
    create(folder)
    whole = (folder / NAME).read_bytes()
    for end in (*range(0, len(whole) - 1, 29), len(whole) - 1):
        (folder / NAME).write_bytes(whole[:end])
        with pytest.raises(Refused) as caught:
            Ledger.read(folder)
        assert rules_of(caught.value) == ["ledger.present"]
        aside = folder / f"torn-0-{sha256(whole[:end])[:12]}.txt"
        assert aside.exists() is (end > 0)
        assert create(folder).torn is None
        aside.unlink(missing_ok=True)
        (folder / NAME).write_bytes(whole[:end])
        opened = create(folder)  # and without reading first
        assert opened.genesis == sha256(whole[:-1])
        assert opened.torn == (aside if end else None)
        assert aside.exists() is (end > 0)
        assert (folder / NAME).read_bytes() == whole


def test_a_line_that_another_writer_ended_meanwhile_is_not_torn(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What looked torn was being written: only the holder of the lock may say so."""
    data = (folder / NAME).read_bytes()
    looks = iter([data[:-3], data])
    monkeypatch.setattr(module, "_read", lambda _path: next(looks))  # pyright: ignore[reportUnknownLambdaType,reportUnknownArgumentType] - a Path
    ledger = Ledger.read(folder)
    assert ledger.torn is None
    assert [line.stage for line in ledger.lines] == ["lint", "test", "coverage"]
    assert not list(folder.glob("torn-*"))


def test_a_torn_line_behind_a_broken_one_is_left_alone(folder: Path) -> None:
    """What is broken is evidence: nothing is cut off from it."""
    rewrite(folder, remove(1))
    with (folder / NAME).open("ab") as file:
        file.write(b'{"at":')
    assert set(refusal(folder)) == {"ledger.numbered", "ledger.chained"}
    assert not list(folder.glob("torn-*"))


def test_a_line_torn_after_reading_is_set_aside_by_the_next_append(folder: Path) -> None:
    """Another writer may be killed between this stage's reading and its writing."""
    ledger = Ledger.read(folder)
    with (folder / NAME).open("ab") as file:
        file.write(b'{"at":')
    add(ledger, "mutation")
    assert ledger.torn is not None
    assert ledger.torn.read_bytes() == b'{"at":'
    assert ledger.torn.name.startswith("torn-4-")
    assert [line.stage for line in Ledger.read(folder).lines] == ["lint", "test", "coverage", "mutation"]


def test_lines_of_another_process_stay_and_are_followed(folder: Path) -> None:
    """Two stages on one laptop add to one ledger, in either order."""
    one, two = Ledger.read(folder), Ledger.read(folder)
    add(one, "mutation")
    add(two, "lint")
    assert [line.stage for line in two.lines[3:]] == ["mutation", "lint"]
    assert two.head == Ledger.read(folder).head


def test_a_file_replaced_meanwhile_is_refused(folder: Path) -> None:
    """A line about one build must not be added to the record of another."""
    ledger = Ledger.read(folder)
    (folder / NAME).unlink()
    create(folder, version="0.1.1")
    with pytest.raises(Refused) as caught:
        add(ledger, "mutation")
    assert rules_of(caught.value) == ["ledger.same-file"]
    (folder / NAME).write_bytes(b"")
    with pytest.raises(Refused) as caught:
        add(ledger, "mutation")
    assert rules_of(caught.value) == ["ledger.same-file"]


def test_a_second_ledger_is_not_opened_over_the_first(folder: Path) -> None:
    """Line 0 is written once: everything hangs on it."""
    before = (folder / NAME).read_bytes()
    with pytest.raises(Refused) as caught:
        create(folder)
    assert rules_of(caught.value) == ["ledger.absent"]
    assert (folder / NAME).read_bytes() == before


def test_no_ledger_is_refused_with_the_session_that_makes_one(tmp_path: Path) -> None:
    """The first thing a newcomer does wrong ends in a remedy."""
    with pytest.raises(Refused) as caught:
        Ledger.read(tmp_path)
    assert rules_of(caught.value) == ["ledger.present"]
    assert "nox -s build" in caught.value.problems[0].remedy


@contextmanager
def other_process_holding(lock: Path) -> Generator[None]:
    """Another process that holds the lock, and says so before it is used."""
    code = (
        "import sys; from filelock import FileLock\n"
        "with FileLock(sys.argv[1]): print('held', flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", code, str(lock)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "held\n"
        yield
        process.stdin.close()


def test_a_second_writer_waits_and_is_then_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two writers at once would fork the chain."""
    monkeypatch.setattr(module, "LOCK_WAIT_S", 0.01)
    ledger = Ledger.read(folder)
    before = (folder / NAME).read_bytes()
    with other_process_holding(folder / module.LOCK_NAME):
        with pytest.raises(Refused) as caught:
            add(ledger, "mutation")
        assert rules_of(caught.value) == ["ledger.one-writer"]
        assert Ledger.read(folder).head == ledger.head  # reading needs no lock
        with (folder / NAME).open("ab") as file:
            file.write(b"{")
        with pytest.raises(Refused) as caught:
            Ledger.read(folder)  # only the holder of the lock can tell a torn line from one being written
        assert rules_of(caught.value) == ["ledger.one-writer"]
    assert (folder / NAME).read_bytes() == before + b"{"


def test_two_processes_appending_at_once_make_one_chain(folder: Path) -> None:
    """Legs of one stage may run side by side on a laptop."""
    code = (
        "import datetime, pathlib, sys; from release.ledger import Ledger, Outcome\n"
        "ledger, at = Ledger.read(pathlib.Path(sys.argv[1])), datetime.datetime.now(datetime.UTC)\n"
        "for _ in range(10): ledger.append(stage='test', leg=sys.argv[2], outcome=Outcome.PASSED,"
        " subject={}, figures={}, tools={}, at=at)"
    )
    words = [sys.executable, "-c", code, str(folder)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    processes = [subprocess.Popen([*words, leg], env=env, cwd=ROOT) for leg in ("3.12", "3.13")]
    assert [process.wait(60) for process in processes] == [0, 0]
    lines = Ledger.read(folder).lines
    assert len(lines) == 3 + 20
    assert sorted(line.leg for line in lines[3:]) == ["3.12"] * 10 + ["3.13"] * 10


def test_a_full_disk_takes_back_what_it_wrote_of_the_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command again must find the ledger as it was."""
    before = (folder / NAME).read_bytes()
    real = os.write

    def half(descriptor: int, data: bytes) -> int:
        return real(descriptor, data[: len(data) // 2])

    ledger = Ledger.read(folder)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half)
        with pytest.raises(Refused) as caught:
            add(ledger, "mutation")
    assert rules_of(caught.value) == ["ledger.written"]
    assert os.strerror(errno.ENOSPC) in caught.value.problems[0].what
    assert (folder / NAME).read_bytes() == before
    assert len(ledger.lines) == 3
    add(ledger, "mutation")
    assert Ledger.read(folder).head == ledger.head


def test_a_line_is_one_write_and_an_fsync(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a stage relies on must be on the disk before the stage says so."""
    writes: list[bytes] = []
    synced: list[int] = []
    real_write, real_sync = os.write, os.fsync

    def write(descriptor: int, data: bytes) -> int:
        writes.append(data)
        return real_write(descriptor, data)

    def sync(descriptor: int) -> None:
        synced.append(len(writes))
        real_sync(descriptor)

    ledger = Ledger.read(folder)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        patch.setattr(os, "fsync", sync)
        add(ledger, "mutation")
    lines = [data for data in writes if data.startswith(b"{")]
    assert lines == [raw_lines(folder)[-1] + b"\n"]
    assert synced
    assert synced[-1] >= 1


def test_files_are_opened_as_bytes_and_for_their_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text mode would change line feeds on Windows, and nobody else writes evidence."""
    opened: dict[str, tuple[int, ...]] = {}
    real, text = os.open, 1 << 29

    def opens(path: Path, flags: int, *mode: int) -> int:
        opened[Path(path).name] = (flags, *mode)
        return real(path, flags & ~text, *mode)

    with monkeypatch.context() as patch:
        patch.setattr(os, "O_BINARY", text, raising=False)
        patch.setattr(os, "open", opens)
        create(tmp_path / "ledger")
    assert opened[NAME] == (os.O_WRONLY | os.O_APPEND | os.O_CREAT | text, 0o644)
    if hasattr(os, "O_DIRECTORY"):
        assert opened["ledger"] == (os.O_RDONLY | os.O_DIRECTORY,)


def test_a_new_ledgers_name_is_synced_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file whose folder was not written is not there after a power cut."""
    folders: list[bool] = []
    real = os.fsync

    def sync(descriptor: int) -> None:
        folders.append(stat.S_ISDIR(os.fstat(descriptor).st_mode))
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", sync)
        ledger = create(tmp_path)
        assert folders == ([False, True] if hasattr(os, "O_DIRECTORY") else [False])
        folders.clear()
        add(ledger, "lint")
        assert folders == [False]


def test_a_system_that_cannot_open_folders_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows."""
    monkeypatch.delattr(os, "O_DIRECTORY", raising=False)
    assert create(tmp_path).head == Ledger.read(tmp_path).head


def test_a_lock_that_cannot_be_taken_is_refused(folder: Path) -> None:
    """A folder of somebody else's, or no folder at all."""
    ledger = Ledger.read(folder)
    (folder / module.LOCK_NAME).unlink(missing_ok=True)
    (folder / module.LOCK_NAME).mkdir()
    with pytest.raises(Refused) as caught:
        add(ledger, "mutation")
    assert rules_of(caught.value) == ["ledger.written"]


def test_a_torn_line_that_cannot_be_set_aside_is_refused(folder: Path) -> None:
    """Cutting it off without keeping it would destroy evidence."""
    path = folder / NAME
    path.write_bytes(path.read_bytes() + b"{")
    before = path.read_bytes()
    (folder / f"torn-4-{sha256(b'{')[:12]}.txt").mkdir()
    with pytest.raises(Refused) as caught:
        Ledger.read(folder)
    assert rules_of(caught.value) == ["ledger.written"]
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """A place that takes no ledger is a refusal a person can act on."""
    (tmp_path / "ledger").write_text("a file", encoding="utf-8")
    with pytest.raises(Refused) as caught:
        create(tmp_path / "ledger")
    assert rules_of(caught.value) == ["ledger.written"]


def test_a_ledger_that_is_no_file_is_refused(tmp_path: Path) -> None:
    """As is one that cannot be read."""
    (tmp_path / NAME).mkdir()
    with pytest.raises(Refused) as caught:
        Ledger.read(tmp_path)
    assert rules_of(caught.value) == ["ledger.readable"]


@pytest.mark.parametrize(
    ("stage", "leg", "subject", "rules"),
    [
        ("moon", "all", {}, ["ledger.in-plan"]),
        ("test", "3.11", {}, ["ledger.in-plan"]),
        ("lint", "all", {"commit": TREE}, ["ledger.same-subject"]),
        ("lint", "all", {WHEEL.name: COMMIT}, ["ledger.same-subject"]),
        ("moon", "all", {"tree": COMMIT}, ["ledger.in-plan", "ledger.same-subject"]),
    ],
)
def test_what_does_not_belong_is_not_appended(
    folder: Path, stage: str, leg: str, subject: dict[str, str], rules: list[str]
) -> None:
    """A line about something else would vouch for bytes nobody looked at."""
    ledger, before = Ledger.read(folder), (folder / NAME).read_bytes()
    with pytest.raises(Refused) as caught:
        add(ledger, stage, leg, subject=subject)
    assert rules_of(caught.value) == rules
    assert (folder / NAME).read_bytes() == before


def test_times_are_kept_in_utc(folder: Path) -> None:
    """A laptop in another time zone writes the same line."""
    there = NOW.astimezone(dt.timezone(dt.timedelta(hours=9)))
    ledger = Ledger.read(folder)
    add(ledger, "mutation", at=there)
    line = ledger.lines[-1]
    assert line.at == NOW.replace(microsecond=0)
    assert line.at.tzinfo is dt.UTC


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"figures": {"x": 1.5}}, ".+"),
        ({"at": NOW.replace(tzinfo=None)}, "has no time zone"),
        ({"tools": {"x": "/usr/bin/x"}}, ".+"),
    ],
)
def test_a_stages_mistake_leaves_the_file_as_it_is(folder: Path, changes: dict[str, Any], says: str) -> None:
    """A float or a path in a figure is the stage's mistake, not the ledger's break."""
    ledger, before = Ledger.read(folder), (folder / NAME).read_bytes()
    with pytest.raises(ValueError, match=says):
        add(ledger, "mutation", **changes)
    assert (folder / NAME).read_bytes() == before


def test_the_file_is_what_another_program_would_write(folder: Path) -> None:
    """RFC 8785 and a line feed, nothing else: any language can check the chain."""
    data = (folder / NAME).read_bytes()
    tables = [json.loads(line) for line in data.splitlines()]
    assert b"".join(rfc8785.dumps(table) + b"\n" for table in tables) == data
