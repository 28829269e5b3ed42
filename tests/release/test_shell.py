"""Shell lines in workflows are few, and ShellCheck has read each of them."""

import json
import shutil
import sys
from pathlib import Path
from typing import cast

import pytest

from release import shell
from release.runner import Finished, Runner
from tests.release.workflow_support import FOLDER, ROOT, SETUP, edit, set_up_text, text_of

CI = """\
jobs:
  one:
    steps:
      - uses: a/b@c
      - run: echo ä
      - run: |
          one
          two

"""
ACTION = "runs:\n  steps:\n    - run: echo 'a'\n      shell: bash\n"


def committed(root: Path, *, ci: str, set_up: str) -> None:
    """A tree with these two files."""
    for folder, name, text in ((FOLDER, "ci.yml", ci), (SETUP, "action.yml", set_up)):
        (root / folder).mkdir(parents=True)
        (root / folder / name).write_text(text, encoding="utf-8")
    (root / FOLDER / "broken.yml").write_text("jobs: [", encoding="utf-8")
    (root / ".github/dependabot.yml").write_text("run: echo $X\n", encoding="utf-8")


def test_shell_lines_of_the_committed_workflows_are_clean() -> None:
    """What `nox -s lint` calls finds nothing in this tree, and it has looked at every line."""
    places = [where for where, _ in shell.shell_lines(ROOT)]
    assert shell.check(ROOT) == []
    assert sum(where.startswith(f"{FOLDER}/release.yml") for where in places) == 12
    assert sum(where.startswith(SETUP) for where in places) == 2


def test_shell_lines_are_read_by_shellcheck(tmp_path: Path) -> None:
    """An unquoted variable, in a job as in the composite action, is named with the place of its step."""
    committed(
        tmp_path,
        ci=edit(text_of("ci.yml"), '"test-$PYTHON"', "test-$PYTHON"),
        set_up=edit(set_up_text(), '"$REDIS"', "$REDIS"),
    )
    found = shell.check(tmp_path)
    assert [problem.rule for problem in found] == ["shell.sc2086", "shell.sc2086"]
    assert [problem.where.rpartition(":")[0] for problem in found] == [
        f"{SETUP}/action.yml",
        f"{FOLDER}/ci.yml",
    ]
    assert all(problem.where.rpartition(":")[2].isdecimal() for problem in found)


def test_shellcheck_is_asked_once_about_all_lines_as_bash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a person has set up for it; its findings come in the order of the files, not in its own."""
    committed(tmp_path, ci=CI, set_up=ACTION)
    monkeypatch.setattr(shutil, "which", lambda name, path: f"{path}/{name}")  # pyright: ignore[reportUnknownArgumentType,reportUnknownLambdaType]
    asked: list[tuple[list[str], Path]] = []

    def answering(words: list[str], *, cwd: Path) -> Finished:
        asked.append((words[:4], cwd))
        first, second, third = words[4:]
        texts = [Path(each).read_bytes() for each in words[4:]]
        assert texts == [b"echo 'a'", b"echo \xc3\xa4", b"one\ntwo\n"]
        assert {Path(each).suffix for each in words[4:]} == {".sh"}
        comments = [
            {"file": third, "line": 2, "code": 2086, "message": "quote it"},
            {"file": first, "line": 1, "code": 1000, "message": "odd"},
            {"file": third, "line": 1, "code": 1, "message": "even"},
        ]
        assert second not in {comment["file"] for comment in comments}
        return Finished(argv=words, code=1, stdout=json.dumps(comments), stderr="", took_ms=1)

    found = shell.check(tmp_path, cast("Runner", answering))
    program = f"{Path(sys.executable).parent}/shellcheck"
    assert asked == [([program, "--norc", "--shell=bash", "--format=json"], tmp_path)]
    assert [(problem.rule, problem.where, problem.what) for problem in found] == [
        ("shell.sc1000", f"{SETUP}/action.yml:3", "line 1 of the script: odd"),
        ("shell.sc2086", f"{FOLDER}/ci.yml:6", "line 2 of the script: quote it"),
        ("shell.sc1", f"{FOLDER}/ci.yml:6", "line 1 of the script: even"),
    ]


def test_a_shellcheck_that_is_nowhere_is_called_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What starts it then says that there is none; five lines of what it said are enough."""
    committed(tmp_path, ci=CI, set_up=ACTION)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)  # pyright: ignore[reportUnknownArgumentType,reportUnknownLambdaType]
    said = "".join(f"line {number}\n" for number in range(6))

    def silent(words: list[str], **_: object) -> Finished:
        assert words[0] == "shellcheck"
        return Finished(argv=words, code=127, stdout="", stderr=said, took_ms=1)

    (problem,) = shell.check(tmp_path, cast("Runner", silent))
    assert (problem.rule, problem.where) == ("shell.checked", "shellcheck")
    assert problem.what == f"gave no answer:\n{said.partition('\n')[2].rstrip()}"


def test_shell_lines_none_is_nothing_to_check(tmp_path: Path) -> None:
    """A tree without workflows has no shell line that could be wrong."""
    assert shell.check(tmp_path) == []


def test_shell_lines_unread_are_a_finding() -> None:
    """A program that did not answer has checked nothing."""

    def silent(*_: object, **__: object) -> Finished:
        return Finished(argv=["shellcheck"], code=127, stdout="", stderr="could not be started", took_ms=1)

    found = shell.check(ROOT, silent)
    assert [problem.rule for problem in found] == ["shell.checked"]
    assert "could not be started" in found[0].what
