"""The artefact store: what one job uploads, another gets by its number, as the real actions lay it."""

import runpy
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from release.rehearsal.hosted import artefacts
from release.rehearsal.hosted.artefacts import held, main


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The workspace of a job, which its steps run in."""
    place = tmp_path / "workspace"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


def upload(job: Path, name: str, path: str, **changed: str) -> int:
    environ = {
        "ARTIFACT_NAME": name,
        "ARTIFACT_PATH": path,
        "ARTIFACT_IF_NO_FILES_FOUND": "error",
        "ARTIFACT_INCLUDE_HIDDEN_FILES": "false",
        "GITHUB_OUTPUT": str(job.parent / "output"),
        **changed,
    }
    return main([str(job.parent / "store"), "upload"], environ)


def download(job: Path, numbers: str, path: str, *, merge: str = "false") -> int:
    environ = {"ARTIFACT_IDS": numbers, "ARTIFACT_PATH": path, "ARTIFACT_MERGE_MULTIPLE": merge}
    return main([str(job.parent / "store"), "download"], environ)


def lay(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def tree(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_folder_comes_back_without_its_own_name(job: Path) -> None:
    """dist and ledger are handed on so: the next job says where they go."""
    lay(job, {"dist/a.whl": "wheel", "dist/X.tar.gz": "sdist", "dist/sub/b": "b", "other": "x"})
    assert upload(job, "dist-1", "dist") == 0
    assert (job.parent / "output").read_text() == "artifact-id=1\n"
    assert download(job, "1", "back") == 0
    assert tree(job / "back") == {"a.whl": "wheel", "X.tar.gz": "sdist", "sub/b": "b"}


def test_a_step_says_what_it_did(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever reads the log of a job sees which artefacts came and went."""
    lay(job, {"one/x": "x", "one/y": "y", "Xtra/z": "z"})
    assert upload(job, "first", "one") == upload(job, "second", "Xtra") == 0
    assert download(job, "1,2", "back") == 0
    assert capsys.readouterr().out.splitlines() == [
        "artefact 1, first: 2 files",
        "artefact 2, second: 1 files",
        "downloaded first, second",
    ]


def test_a_file_comes_back_under_its_own_name(job: Path) -> None:
    """Evidence is one file."""
    lay(job, {"ledger/evidence/lint-all.json": "{}"})
    assert upload(job, "evidence", "ledger/evidence/lint-all.json") == 0
    assert download(job, "1", "in/evidence") == 0
    assert tree(job / "in") == {"evidence/lint-all.json": "{}"}


def test_several_paths_keep_what_they_do_not_share(job: Path) -> None:
    """A test leg hands on its evidence and what it executed, each where it belongs."""
    lay(job, {"ledger/evidence/test-3.13.json": "{}", "report/coverage/.coverage.3.13": "c", "report/x": "x"})
    paths = "ledger/evidence/test-3.13.json\n  report/coverage\n\n"
    assert upload(job, "leg", paths, ARTIFACT_INCLUDE_HIDDEN_FILES="true") == 0
    assert download(job, "1", "back") == 0
    assert tree(job / "back") == {
        "ledger/evidence/test-3.13.json": "{}",
        "report/coverage/.coverage.3.13": "c",
    }


def test_hidden_files_stay_out_unless_asked_for(job: Path) -> None:
    """The real action leaves them out, and a workflow that forgets to ask loses them."""
    lay(job, {"dist/seen": "s", "dist/.hidden": "h", "dist/.folder/in": "i"})
    assert upload(job, "without", "dist") == 0
    assert download(job, "1", "back") == 0
    assert tree(job / "back") == {"seen": "s"}


def test_modes_do_not_travel(job: Path) -> None:
    """A program that was uploaded is no program any more."""
    lay(job, {"dist/program": "#!/bin/sh\n"})
    (job / "dist" / "program").chmod(0o755)
    assert upload(job, "dist", "dist") == 0
    assert download(job, "1", "back") == 0
    assert not (job / "back" / "program").stat().st_mode & 0o111


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"ARTIFACT_PATH": "nothing"}, "no files were found under nothing\n"),
        ({"ARTIFACT_PATH": "nothing\nnowhere"}, "no files were found under nothing, nowhere\n"),
        ({"ARTIFACT_PATH": "dist/*.whl"}, "no patterns"),
        ({"ARTIFACT_IF_NO_FILES_FOUND": "warn"}, "alone"),
        ({"ARTIFACT_NAME": "there"}, "never replaces one"),
    ],
)
def test_what_the_action_or_the_stand_in_refuses(
    job: Path, capsys: pytest.CaptureFixture[str], changed: Mapping[str, str], said: str
) -> None:
    """The step fails, and says why in the runner's own form."""
    lay(job, {"dist/a.whl": "wheel"})
    assert upload(job, "there", "dist") == 0
    capsys.readouterr()
    assert upload(job, "new", "dist", **changed) == 1
    error = capsys.readouterr().out
    assert error.startswith("::error::")
    assert said in error
    assert (job.parent / "output").read_text() == "artifact-id=1\n"


def test_several_artefacts_merge_only_when_asked(job: Path) -> None:
    """collect merges the evidence of all gates; without that each has a folder of its own."""
    for name in ("a", "b"):
        lay(job, {f"{name}/{name}.json": name})
        assert upload(job, name, name) == 0
    assert download(job, "1, 2", "apart") == 0
    assert tree(job / "apart") == {"a/a.json": "a", "b/b.json": "b"}
    assert download(job, " 1,\n2, , ", "together", merge="true") == 0
    assert tree(job / "together") == {"a.json": "a", "b.json": "b"}


@pytest.mark.parametrize(
    ("numbers", "said"),
    [(" , ", "every output that names one is empty"), ("1, 7", "'7'"), ("${{ vars.X }}", "'${{ vars.X }}'")],
)
def test_numbers_of_nothing_fail(
    job: Path, capsys: pytest.CaptureFixture[str], numbers: str, said: str
) -> None:
    """A lost output is found where it is used, and nothing is laid."""
    lay(job, {"a/a": "a"})
    assert upload(job, "a", "a") == 0
    capsys.readouterr()
    assert download(job, numbers, "back") == 1
    assert said in capsys.readouterr().out
    assert not (job / "back").exists()


def test_held_finds_an_artefact_by_its_name(job: Path) -> None:
    """The rehearsal looks at the last ledger."""
    lay(job, {"a/x": "x", "b/y": "y"})
    for name in ("a", "b"):
        assert upload(job, name, name) == 0
    found = held(job.parent / "store", "b")
    assert found is not None
    assert tree(found) == {"y": "y"}
    assert held(job.parent / "store", "c") is None


def test_it_runs_by_itself(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in starts it by its file, with no import path but Python's own."""
    lay(job, {"a/x": "x"})
    environ = {
        "ARTIFACT_NAME": "a",
        "ARTIFACT_PATH": "a",
        "ARTIFACT_IF_NO_FILES_FOUND": "error",
        "ARTIFACT_INCLUDE_HIDDEN_FILES": "false",
        "GITHUB_OUTPUT": str(job.parent / "output"),
    }
    words = [str(artefacts.__file__), str(job.parent / "store"), "upload"]
    done = subprocess.run(
        [sys.executable, "-I", *words], env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout == "artefact 1, a: 1 files\n"
    monkeypatch.setattr(sys, "argv", words)
    for name, value in (environ | {"ARTIFACT_NAME": "again"}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(words[0], run_name="__main__")
    assert ended.value.code == 0
    assert held(job.parent / "store", "again") is not None
