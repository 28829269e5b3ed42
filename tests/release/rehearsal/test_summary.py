"""The end of a rehearsal: digests held against the ledger, defects of the world, and the tables."""

import hashlib
import io
import re
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from rich.console import Console

from release.indexes import INDEXES, IndexName
from release.ledger import Ledger
from release.rehearsal.index import LoopbackIndex
from release.rehearsal.summary import Ran, defects, digest_problems, digest_table, stage_table
from release.rehearsal.world import World, now
from release.rules.archives import measure
from tests.release.ledger_support import create
from tests.release.rehearsal.support import SDIST_NAME, WHEEL_NAME, written
from tests.release.rehearsal.test_upload_rules import stored


@pytest.fixture
def started(tmp_path: Path) -> World:
    """A world whose indexes hold the right wheel and sdist; nobody connects to it."""
    indexes: dict[IndexName, LoopbackIndex] = {}
    for name, index in INDEXES.items():
        folder = tmp_path / "world" / name
        indexes[name] = LoopbackIndex(index, folder=folder, clock=now, keys=dict)
        project = indexes[name].create("demo-project")
        for path in written(folder):
            project.files |= stored(path.name, path.read_bytes()).files
    failures: list[BaseException] = []
    return cast(World, SimpleNamespace(indexes=indexes, failures=failures))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    files = tuple(measure(path) for path in sorted(written(tmp_path / "dist")))
    return create(tmp_path / "ledger", project="demo-project", artifacts=files)


def shown(table: object, width: int = 260) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def rows(text: str) -> list[list[str]]:
    """The cells of each line; two spaces or more part them."""
    return [re.split(r"\s{2,}", line.strip()) for line in text.splitlines() if line.strip(" \u2500")]


def letters(text: str) -> list[str]:
    return sorted(letter for letter in text if letter not in " \n\u2500")


def test_same_digests_are_no_problem_and_shown_as_the_same(started: World, ledger: Ledger) -> None:
    """The table has the digest once, and says of each index whether it is that one."""
    assert digest_problems(started, ledger) == []
    said = shown(digest_table(started, ledger))
    assert rows(said) == [
        ["file", "sha256 from the build", "testpypi", "pypi"],
        *([each.name, each.sha256, "the same", "the same"] for each in ledger.opening.artifacts),
    ]
    assert said.splitlines()[1].startswith(" file "), "the line begins where the text does"
    assert letters(shown(digest_table(started, ledger), 60)) == letters(said), "nothing is cut away"


def test_other_and_missing_files_are_problems(started: World, ledger: Ledger, tmp_path: Path) -> None:
    """Whatever the stages said, what the indexes keep is what counts: their bytes, not what they claim."""
    (tmp_path / "world" / "pypi" / WHEEL_NAME).write_bytes(b"other")
    started.indexes[IndexName.TESTPYPI].delete(SDIST_NAME)
    found = digest_problems(started, ledger)
    build = {each.name: each.sha256 for each in ledger.opening.artifacts}
    other = hashlib.sha256(b"other").hexdigest()
    assert {problem.where: problem.what for problem in found} == {
        f"pypi: {WHEEL_NAME}": f"holds {other}, the ledger has {build[WHEEL_NAME]}",
        f"testpypi: {SDIST_NAME}": f"holds nothing, the ledger has {build[SDIST_NAME]}",
    }
    assert {problem.rule for problem in found} == {"rehearsal.same-digests"}
    table = {row[0]: row[2:] for row in rows(shown(digest_table(started, ledger)))}
    assert (table[WHEEL_NAME], table[SDIST_NAME]) == (["the same", other], ["absent", "the same"])
    started.indexes[IndexName.PYPI].projects.clear()
    assert len(digest_problems(started, ledger)) == 3


def test_a_defect_of_the_world_is_a_problem(started: World) -> None:
    """A rehearsal whose own index failed proves nothing."""
    assert defects(started) == []
    started.failures.append(RuntimeError("boom"))
    (problem,) = defects(started)
    assert (problem.rule, "boom" in problem.what) == ("rehearsal.world", True)


def test_stages_are_shown_with_times() -> None:
    """One line a stage, and what brackets mean to a terminal stays text."""
    done = [
        Ran(name="lint", seconds=1.25, proved="0 findings [all]"),
        Ran(name="smoke testpypi", seconds=1234.56, proved="installed " * 9 + "x" * 90),
    ]
    said = shown(stage_table(done, 3.0))
    assert [line.rstrip() for line in said.splitlines() if line.strip(" \u2500")] == [
        f" {'stage':14}   {'seconds':>7}   what it proved",
        f" {'lint':14}   {'1.2':>7}   0 findings [all]",
        f" {'smoke testpypi':14}   {'1234.6':>7}   {done[1].proved}",
        f" {'together':14}   {'3.0':>7}   with the environments",
    ]
    narrow = shown(stage_table(done, 3.0), 34)
    assert letters(narrow) == letters(said), "nothing is cut away"
    assert [row[:2] for row in rows(narrow) if row[0] in {"lint", "smoke testpypi"}] == [
        ["lint", "1.2"],
        ["smoke testpypi", "1234.6"],
    ]
