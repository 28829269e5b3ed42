"""The recording `gh`: it refuses what the real one refuses, so a stage that passes on it could pass there."""

import hashlib
import json
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from release.rehearsal import github
from release.rehearsal.github import CALLS, STATE
from release.rehearsal.summary import announced_problems
from tests.release.ledger_support import SDIST, WHEEL, create


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


def call(state: Path, *words: str) -> int:
    return github.main([str(state), "release", *words, "--repo", "o/r"])


def drafted(state: Path) -> Path:
    """A draft of v1; returns a file to add."""
    notes = state.parent / "notes.md"
    notes.write_text("said", encoding="utf-8")
    assert call(state, "create", "v1", "--draft", "--title", "t", "--notes-file", str(notes)) == 0
    return notes


def test_what_is_not_there_is_not_found(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In gh's own words, which the stage reads."""
    for words in (
        ("view", "v1", "--json", "assets"),
        ("upload", "v1", "x"),
        ("edit", "v1", "--draft=false", "--prerelease=false"),
    ):
        assert call(state, *words) == 1
        assert capsys.readouterr().err == "release not found\n"


def test_nothing_is_made_twice(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither a release nor a file: both are refused, and the first stays."""
    notes = drafted(state)
    assert call(state, "create", "v1", "--title", "other", "--notes-file", str(notes)) == 1
    assert capsys.readouterr().err == "HTTP 422: Validation Failed: tag_name already exists\n"
    assert call(state, "upload", "v1", str(notes)) == 0
    assert (state / "assets" / "v1" / notes.name).read_bytes() == notes.read_bytes()
    notes.write_text("other", encoding="utf-8")
    assert call(state, "upload", "v1", str(notes)) == 1
    assert "asset under the same name already exists" in capsys.readouterr().err
    found = json.loads((state / STATE).read_text(encoding="utf-8"))["v1"]
    assert found["name"] == "t"
    assert len(found["assets"]) == 1


def test_a_word_that_gh_does_not_know_is_a_usage_error(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stage that asks for something the stand-in does not play is seen at once."""
    with pytest.raises(SystemExit):
        call(state, "upload", "v1", "x", "--clobber")
    assert "--clobber" in capsys.readouterr().err


def test_its_exit_code_is_ghs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stage tells an absent release from a failure by it."""
    (tmp_path / "state").mkdir()
    words = ["release", "view", "v1", "--json", "assets", "--repo", "o/r"]
    monkeypatch.setattr(sys, "argv", [github.__file__, str(tmp_path / "state"), *words])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(github.__file__, run_name="__main__")
    assert ended.value.code == 1


def test_a_draft_is_filled_looked_at_and_published(
    state: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The whole life of a release: what was sent is what is shown and served, until a file is taken away."""
    notes = drafted(state)
    assert call(state, "upload", "v1", str(notes)) == 0
    assert call(state, "view", "v1", "--json", "assets,isDraft") == 0
    shown = json.loads(capsys.readouterr().out)
    said = hashlib.sha256(b"said").hexdigest()
    assert shown == {
        "isDraft": True,
        "assets": [{"name": "notes.md", "state": "uploaded", "digest": f"sha256:{said}"}],
    }
    assert call(state, "download", "v1", "--pattern", "notes.md", "--dir", str(tmp_path / "state")) == 0
    assert (tmp_path / "state" / "notes.md").read_bytes() == b"said"
    assert call(state, "delete-asset", "v1", "notes.md", "--yes") == 0
    assert call(state, "edit", "v1", "--draft=false", "--prerelease=false") == 0
    capsys.readouterr()
    assert call(state, "view", "v1", "--json", "assets,isDraft") == 0
    assert json.loads(capsys.readouterr().out) == {"isDraft": False, "assets": []}


def test_a_release_is_what_the_stage_asked_for(
    state: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A release candidate is marked as one from its draft on; a release without a title is none."""
    notes = tmp_path / "notes.md"
    notes.write_text("what is new", encoding="utf-8")
    words = ("create", "v1", "--draft", "--verify-tag", "--prerelease", "--notes-file", str(notes))
    with pytest.raises(SystemExit):
        call(state, *words)
    assert "--title" in capsys.readouterr().err
    assert call(state, *words, "--title", "1.0") == 0
    assert call(state, "view", "v1", "--json", "isDraft,isPrerelease,name,body,url") == 0
    assert json.loads(capsys.readouterr().out) == {
        "isDraft": True,
        "isPrerelease": True,
        "name": "1.0",
        "body": "what is new",
        "url": "https://github.com/o/r/releases/tag/v1",
    }
    assert call(state, "edit", "v1", "--draft=true", "--prerelease=false") == 0
    assert call(state, "view", "v1", "--json", "isDraft,isPrerelease") == 0
    assert json.loads(capsys.readouterr().out) == {"isDraft": True, "isPrerelease": False}
    assert call(state, "edit", "v1", "--draft=false", "--prerelease=true") == 0
    assert call(state, "view", "v1", "--json", "isDraft,isPrerelease") == 0
    assert json.loads(capsys.readouterr().out) == {"isDraft": False, "isPrerelease": True}


def test_it_is_a_program_that_imports_nothing_of_the_rehearsals(tmp_path: Path) -> None:
    """A rehearsed command finds it first on its PATH, and it keeps its state where the rehearsal looks."""
    folder, state = tmp_path / "deep" / "bin", tmp_path / "kept" / "state"
    github.install(folder, state, windows=False)
    (program,) = folder.iterdir()
    assert program.name == "gh"
    assert program.stat().st_mode & 0o777 == 0o744
    words = f"'{sys.executable}' '-I' '-S' '{Path(github.__file__).resolve()}' '{state}'"
    assert program.read_text(encoding="utf-8") == f'#!/bin/sh\nexec {words} "$@"\n'
    assert list(state.iterdir()) == []


def test_on_windows_it_is_a_command_file(tmp_path: Path) -> None:
    """There a program is found by its suffix."""
    state = tmp_path / "state"
    github.install(tmp_path / "bin", state, windows=True)
    (program,) = (tmp_path / "bin").iterdir()
    assert program.name == "gh.cmd"
    words = f'"{sys.executable}" "-I" "-S" "{Path(github.__file__).resolve()}" "{state}"'
    assert program.read_bytes() == f"@{words} %*\r\n".encode()


def test_every_call_is_written_down(state: Path) -> None:
    """Those that were refused as well, in order."""
    calls = [["view", "v1", "--json", "assets"], ["download", "v1", "--pattern", "x", "--dir", "."]]
    for words in calls:
        assert call(state, *words) == 1
    assert [json.loads(line) for line in (state / CALLS).read_text(encoding="utf-8").splitlines()] == [
        ["release", *words, "--repo", "o/r"] for words in calls
    ]


@pytest.mark.parametrize(
    "words",
    [
        ("view", "v1"),
        ("view",),
        ("create", "v1", "--title", "t"),
        ("upload", "v1"),
        ("delete-asset", "v1"),
        ("download", "v1", "--dir", "d"),
        ("download", "v1", "--pattern", "p"),
        ("edit", "v1", "--draft=false"),
        ("edit", "v1", "--prerelease=false"),
        ("edit", "v1", "--draft=no", "--prerelease=false"),
        ("edit", "v1", "--draft=false", "--prerelease=no"),
        ("view", "v1", "--js", "assets"),
        ("list",),
        (),
    ],
)
def test_a_call_that_says_too_little_is_a_usage_error(
    state: Path, capsys: pytest.CaptureFixture[str], words: Sequence[str]
) -> None:
    """The stage says all that the real one needs, in full."""
    drafted(state)
    with pytest.raises(SystemExit):
        call(state, *words)
    assert capsys.readouterr().err.startswith("usage: gh ")


@pytest.mark.parametrize(
    "words", [["release", "view", "v1", "--json", "a"], ["--repo", "o/r"], ["release"], []]
)
def test_a_call_without_a_repository_or_a_verb_is_a_usage_error(state: Path, words: Sequence[str]) -> None:
    """It would speak of whichever repository it is started in."""
    drafted(state)
    with pytest.raises(SystemExit):
        github.main([str(state), *words])


def test_other_releases_are_left_alone(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A call speaks of one tag."""
    notes = drafted(state)
    assert call(state, "upload", "v1", str(notes)) == 0
    assert call(state, "create", "v2", "--title", "t", "--notes-file", str(notes)) == 0
    assert call(state, "upload", "v2", str(notes)) == 0
    assert call(state, "delete-asset", "v2", "notes.md", "--yes") == 0
    shown: dict[str, object] = {}
    for tag in ("v1", "v2"):
        capsys.readouterr()
        assert call(state, "view", tag, "--json", "isDraft,isPrerelease,assets") == 0
        shown[tag] = json.loads(capsys.readouterr().out)
    said = hashlib.sha256(b"said").hexdigest()
    assets = [{"name": "notes.md", "state": "uploaded", "digest": f"sha256:{said}"}]
    assert shown == {
        "v1": {"isDraft": True, "isPrerelease": False, "assets": assets},
        "v2": {"isDraft": False, "isPrerelease": False, "assets": []},
    }


def test_a_rehearsal_looks_at_what_was_announced(tmp_path: Path, state: Path) -> None:
    """Public, with the ledger's digests; everything else is a defect of the stage."""
    ledger = create(tmp_path / "ledger")
    (absent,) = announced_problems(state, ledger)
    assert absent.where == "release v0.1.0 on the recording GitHub"
    names = ", ".join(each.name for each in ledger.opening.artifacts)
    assert absent.what == f"is a draft or absent, without the ledger's {names}"
    assets = [{"name": each.name, "digest": f"sha256:{each.sha256}"} for each in (WHEEL, SDIST)]

    def kept(**changes: object) -> None:
        shown = {"v0.1.0": {"isDraft": False, "assets": assets, **changes}}
        (state / STATE).write_text(json.dumps(shown), encoding="utf-8")

    kept()
    assert announced_problems(state, ledger) == []
    kept(isDraft=True)
    (draft,) = announced_problems(state, ledger)
    assert draft.what == "is a draft or absent, without the ledger's nothing"
    kept(assets=assets[:1])
    (lacking,) = announced_problems(state, ledger)
    assert lacking.what == f"is public, without the ledger's {SDIST.name}"
    kept(assets=[assets[0], {**assets[1], "digest": assets[0]["digest"]}])
    (other,) = announced_problems(state, ledger)
    assert (other.rule, other.what) == ("rehearsal.announced", lacking.what)
