"""The end of a rehearsal: digests held against the ledger, defects of the world, and the tables."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from release.indexes import IndexName
from release.ledger import Ledger
from release.rehearsal import world
from release.rehearsal.summary import Ran, defects, digest_problems, digest_table, stage_table
from release.rehearsal.world import World
from release.rules.archives import measure
from tests.release.ledger_support import create
from tests.release.rehearsal.support import FACTS, SDIST_NAME, WHEEL_NAME, written
from tests.release.rehearsal.test_upload_rules import stored


@pytest.fixture
def started(tmp_path: Path) -> Iterator[World]:
    """A world whose indexes hold the right wheel and sdist."""
    with world.start(tmp_path / "world", FACTS) as found:
        for index in found.indexes.values():
            project = index.create("demo-project")
            for path in written(tmp_path / "world" / index.index.name):
                project.files |= stored(path.name, path.read_bytes()).files
        yield found


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    files = tuple(measure(path) for path in sorted(written(tmp_path / "dist")))
    return create(tmp_path / "ledger", project="demo-project", artifacts=files)


def shown(table: object) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_same_digests_are_no_problem_and_shown_as_the_same(started: World, ledger: Ledger) -> None:
    """The table has the digest once, and says of each index whether it is that one."""
    assert digest_problems(started, ledger) == []
    said = shown(digest_table(started, ledger))
    assert said.count("the same") == 4
    assert all(artifact.sha256 in said for artifact in ledger.opening.artifacts)


def test_other_and_missing_files_are_problems(started: World, ledger: Ledger, tmp_path: Path) -> None:
    """Whatever the stages said, what the indexes keep is what counts: their bytes, not what they claim."""
    (tmp_path / "world" / "pypi" / WHEEL_NAME).write_bytes(b"other")
    started.indexes[IndexName.TESTPYPI].delete(SDIST_NAME)
    found = digest_problems(started, ledger)
    assert {problem.where for problem in found} == {f"pypi: {WHEEL_NAME}", f"testpypi: {SDIST_NAME}"}
    assert {problem.rule for problem in found} == {"rehearsal.same-digests"}
    assert "absent" in shown(digest_table(started, ledger))
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
    said = shown(stage_table([Ran(name="lint", seconds=1.25, proved="0 findings [all]")], 3.0))
    assert "lint" in said
    assert "1.2" in said
    assert "0 findings [all]" in said
    assert "3.0" in said
