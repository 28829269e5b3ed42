"""What a second run does with what the first left behind."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from release.evidence import Outcome
from release.model import Mode, Refused
from release.resume import Build, build_again, done, same_bytes, set_aside
from tests.release.ledger_support import SDIST, TREE, WHEEL, add, create, opening, rules_of


def test_without_a_ledger_build_opens_one() -> None:
    """The first run."""
    assert build_again(None, opening()) is Build.OPEN


def test_the_same_commit_is_compared(tmp_path: Path) -> None:
    """Its files exist; making them again proves that they follow from it."""
    ledger = create(tmp_path)
    assert build_again(ledger, opening()) is Build.COMPARE
    assert build_again(ledger, opening(artifacts=(WHEEL,))) is Build.COMPARE  # `same_bytes` looks at these
    add(ledger, "testpypi")
    assert build_again(ledger, opening()) is Build.COMPARE


@pytest.mark.parametrize(
    "changes",
    [
        {"commit": TREE},
        {"tree": "a" * 40},
        {"version": "0.1.1"},
        {"tag": "v0.1.0", "tag_object": "e" * 40},
        {"epoch": 1},
        {"locks": {}},
        {"plan": {"lint": ("all",)}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_another_commit_sets_the_old_aside_unless_something_was_uploaded(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    """The record of files that may be public is not put away by a program."""
    ledger = create(tmp_path)
    add(ledger, "lint")
    assert build_again(ledger, replace(opening(), **changes)) is Build.SET_ASIDE
    add(ledger, "testpypi", outcome=Outcome.FAILED)
    with pytest.raises(Refused) as caught:
        build_again(ledger, replace(opening(), **changes))
    assert set(rules_of(caught.value)) == {"build.uploaded"}
    assert {problem.where for problem in caught.value.problems} == {"ledger/ledger.jsonl"}
    assert {
        name for name in changes if any(name in problem.what for problem in caught.value.problems)
    } == set(changes)


def test_each_mode_refuses_the_others_ledger(tmp_path: Path) -> None:
    """A rehearsal must not be taken for a release, nor end one."""
    ledger = create(tmp_path)
    with pytest.raises(Refused) as caught:
        build_again(ledger, opening(mode=Mode.RELEASE))
    assert rules_of(caught.value) == ["build.same-mode"]
    assert caught.value.problems[0].where == "ledger/ledger.jsonl"


def test_other_bytes_from_the_same_commit_are_named() -> None:
    """Both digests are shown, and a file that only one of the builds made."""
    assert same_bytes(opening(), (SDIST, WHEEL)) == []
    other = replace(WHEEL, sha256="1" * 64)
    extra = replace(WHEEL, name="extra.whl")
    problems = same_bytes(opening(), (other, extra))
    assert [(problem.rule, problem.where) for problem in problems] == [
        ("build.same-bytes", f"dist/{WHEEL.name}"),
        ("build.same-bytes", f"dist/{SDIST.name}"),
        ("build.same-bytes", "dist/extra.whl"),
    ]
    assert WHEEL.sha256 in problems[0].what
    assert other.sha256 in problems[0].what
    assert "made now: no such file" in problems[1].what
    assert "the ledger has no such file" in problems[2].what


def test_a_passed_gate_is_done_unless_it_is_asked_for_again(tmp_path: Path) -> None:
    """A second run spends its time on what is missing."""
    ledger = create(tmp_path)
    assert not done(None, "lint", "all", again=False)
    assert not done(ledger, "lint", "all", again=False)
    add(ledger, "lint")
    assert done(ledger, "lint", "all", again=False)
    assert not done(ledger, "lint", "all", again=True)
    add(ledger, "test", "3.12")
    assert done(ledger, "test", "3.12", again=False)
    assert not done(ledger, "test", "3.13", again=False), "one leg says nothing of another"
    add(ledger, "lint", outcome=Outcome.FAILED)
    assert not done(ledger, "lint", "all", again=False)


def test_a_folder_is_set_aside_under_a_free_name(tmp_path: Path) -> None:
    """Nothing that was recorded is ever written over."""
    folder = tmp_path / "ledger"
    assert set_aside(folder, label="abc") is None
    for number, name in enumerate(("ledger.abc", "ledger.abc.2", "ledger.abc.3")):
        folder.mkdir()
        (folder / "file").write_text(str(number), encoding="utf-8")
        moved = set_aside(folder, label="abc")
        assert moved == tmp_path / name
        assert (tmp_path / name / "file").read_text(encoding="utf-8") == str(number)
    assert not folder.exists()
