"""`tta-adopt workspace` as a person runs it: reports, exit codes, `--fix`, `--validate`, the lock."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.library.adopt.trees import (
    ENGINE,
    FRAMEWORK,
    PACKAGES,
    TOOLKIT,
    Programs,
    adopt,
    found,
    in_order,
    replaced,
    write,
)
from tta_agent_coordination.adopt.running import run
from tta_agent_coordination.adopt.validate import STEPS


def astray() -> dict[str, str]:
    """Return the workspace with everything broken that `--fix` mends."""
    files = in_order()
    files["pyproject.toml"] = ROOT_ASTRAY.replace(
        '"packages/*"', ", ".join(f'"packages/{name}"' for name in list(PACKAGES)[:2])
    )
    files[TOOLKIT] = files[TOOLKIT].replace(">=3.12", ">=3.11")
    files[FRAMEWORK] = (
        files[FRAMEWORK]
        .replace('requires-python = ">=3.12"\n', "")
        .replace(
            '"universal-agent-context>=0.3"',
            "\n  \"universal-agent-context; sys_platform != 'win32'\",  # ours\n",
        )
    )
    files[ENGINE] = files[ENGINE].replace("[tool.uv.sources]\ntta-ai-framework = { workspace = true }\n", "")
    files["Dockerfile"] = (
        "FROM ghcr.io/astral-sh/uv:python3.11-bookworm\r\nFROM python:3.11.2-slim\r\nRUN x\r\n"
    )
    return files


ROOT_ASTRAY = (
    in_order()["pyproject.toml"]
    .replace('"py312"', '"py310" # as ruff has it')
    .replace('pythonVersion = "3.12"', 'pythonVersion = "3.10"')
    .replace("ai-dev-toolkit = { workspace = true }", 'ai-dev-toolkit = { path = "packages/ai-dev-toolkit" }')
)


def test_report_has_a_line_a_finding_and_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: a person sees neither the place nor the way out."""
    write(tmp_path, replaced("Dockerfile", "3.12", "3.11"))
    assert adopt("workspace", str(tmp_path)) == 1
    assert capsys.readouterr().out.splitlines() == [
        "Dockerfile:1: python.image: the image has Python 3.11, which >=3.12 excludes; python:3.12",
        "1 finding in 17 files, 1 of them `--fix` can mend",
    ]


def test_report_as_json_is_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: a program has to parse sentences."""
    write(tmp_path, replaced("Dockerfile", "3.12", "3.11"))
    assert adopt("workspace", str(tmp_path), "--format", "json") == 1
    said = json.loads(capsys.readouterr().out)
    assert said["files"] == 17
    assert [(row["rule"], row["file"], row["line"], row["fixable"]) for row in said["findings"]] == [
        ("python.image", "Dockerfile", 1, True)
    ]


def test_workspace_in_order_is_exit_code_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: a workspace in order fails its gate."""
    write(tmp_path, in_order())
    programs = Programs()
    assert adopt("workspace", str(tmp_path), programs=programs) == 0
    assert programs.asked == ["uv lock --check"]
    assert capsys.readouterr().out.startswith("0 findings")


def test_lock_that_uv_refuses_is_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: a stale lock passes."""
    write(tmp_path, in_order())
    assert adopt("workspace", str(tmp_path), programs=Programs({"uv lock --check": 2})) == 1
    assert (
        "uv.lock:1: lock.current: `uv lock --check` ended with 2: last of uv lock" in capsys.readouterr().out
    )


def test_lock_that_is_missing_is_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: no lock at all passes."""
    write(tmp_path, in_order())
    (tmp_path / "uv.lock").unlink()
    assert adopt("workspace", str(tmp_path)) == 1
    assert "uv.lock:1: lock.missing" in capsys.readouterr().out


def test_folder_without_a_pyproject_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: the wrong folder gives a page of followers."""
    assert adopt("workspace", str(tmp_path)) == 1
    assert (
        capsys.readouterr()
        .out.splitlines()[0]
        .startswith("pyproject.toml:1: input.pyproject: does not exist")
    )


def test_fix_mends_what_is_mechanical_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: comments or formatting are lost, or something is left."""
    write(tmp_path, astray())
    assert adopt("workspace", str(tmp_path), "--fix") == 0
    said = capsys.readouterr().out
    changes = [line for line in said.splitlines() if line[:1] in "+-" and line[:3] not in {"+++", "---"}]
    assert sorted(changes) == sorted(
        [
            "-FROM ghcr.io/astral-sh/uv:python3.11-bookworm",
            "-FROM python:3.11.2-slim",
            "+FROM ghcr.io/astral-sh/uv:python3.12-bookworm",
            "+FROM python:3.12-slim",
            '-requires-python = ">=3.11"',
            '+requires-python = ">=3.12"',
            '+requires-python = ">=3.12"',
            "-  \"universal-agent-context; sys_platform != 'win32'\",  # ours",
            '+  "universal-agent-context>=0.3; sys_platform != \\"win32\\"",  # ours',
            "+[tool.uv.sources]",
            "+tta-ai-framework = {workspace = true}",
            '-members = ["packages/ai-dev-toolkit", "packages/universal-agent-context"]',
            f"+members = {json.dumps([f'packages/{name}' for name in PACKAGES])}",
            '-ai-dev-toolkit = { path = "packages/ai-dev-toolkit" }',
            "+ai-dev-toolkit = {workspace = true}",
            '-target-version = "py310" # as ruff has it',
            '+target-version = "py312" # as ruff has it',
            '-pythonVersion = "3.10"',
            '+pythonVersion = "3.12"',
        ]
    )
    assert (tmp_path / "Dockerfile").read_bytes().count(b"\r\n") == 3


def test_fix_again_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: every run makes a new diff."""
    write(tmp_path, astray())
    adopt("workspace", str(tmp_path), "--fix")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert adopt("workspace", str(tmp_path), "--fix") == 0
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert capsys.readouterr().out.startswith("0 findings")


def test_fix_adds_a_workspace_table_and_keeps_the_mode(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: a root that has no members yet cannot be mended."""
    files = in_order()
    files["pyproject.toml"] = files["pyproject.toml"].replace(
        '[tool.uv.workspace]\nmembers = ["packages/*"]\n', ""
    )
    write(tmp_path, files)
    (tmp_path / "pyproject.toml").chmod(0o640)
    assert adopt("workspace", str(tmp_path), "--fix", "--format", "json") == 0
    said = capsys.readouterr()
    assert "+[tool.uv.workspace]" in said.err
    assert json.loads(said.out)["findings"] == []
    if os.name == "posix":
        assert (tmp_path / "pyproject.toml").stat().st_mode & 0o777 == 0o640


def test_fix_keeps_a_byte_order_mark(tmp_path: Path) -> None:
    """Broken: a file that uv reads is called broken, or another file after the change."""
    files = in_order()
    text = "[tool.ruff]\ntarget-version = 'py311'\n\n" + files["pyproject.toml"].replace(
        "[tool.ruff]\n", "[tool.x]\n"
    )
    files["pyproject.toml"] = "\ufeff" + text
    (finding,) = found(tmp_path, files)
    assert (finding.rule, finding.line) == ("python.ruff", 2)
    assert adopt("workspace", str(tmp_path), "--fix") == 0
    after = (tmp_path / "pyproject.toml").read_bytes().decode()
    assert after == files["pyproject.toml"].replace("'py311'", '"py312"')


def test_fix_follows_no_link_out_of_the_workspace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: a file that belongs to somebody else is changed."""
    outside = write(tmp_path, {"Dockerfile": "FROM python:3.11\n"}) / "Dockerfile"
    root = write(tmp_path / "root", in_order())
    (root / "Dockerfile").unlink()
    (root / "Dockerfile").symlink_to(outside)
    (root / "extra.py").write_text("import requests\n")
    (root / "compose.yml").write_text("image: python:3.11\n")
    (root / "linked.yml").symlink_to(root / "compose.yml")
    assert adopt("workspace", str(root), "--fix") == 1
    said = capsys.readouterr().out
    assert "--- a/compose.yml" in said
    assert "--- a/Dockerfile" not in said
    assert "Dockerfile:1: python.image: " in said
    assert outside.read_text() == "FROM python:3.11\n"


def test_file_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a traceback in the middle, and a diff of what was not written."""
    write(tmp_path, astray())
    replace = Path.replace

    def refuse(self: Path, target: Path) -> Path:
        if target.name == "Dockerfile":
            raise PermissionError(13, "Permission denied")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refuse)
    assert adopt("workspace", str(tmp_path), "--fix") == 1
    said = capsys.readouterr().out
    assert "Dockerfile:1: input.unwritable: cannot be written: Permission denied; " in said
    assert "--- a/Dockerfile" not in said
    assert "--- a/pyproject.toml" in said
    assert said.splitlines()[-1].startswith("3 findings")


def refuse_to_list(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let one folder be one that this user may not list."""
    scan = os.scandir

    def refuse(path: int | os.PathLike[str]) -> Any:  # noqa: ANN401 - what os.scandir returns has no public name
        if not isinstance(path, int) and Path(path) == folder:
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)


def test_folder_that_cannot_be_listed_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: what is below is passed over in silence."""
    write(tmp_path, {**in_order(), "docs/x.md": ""})
    refuse_to_list(monkeypatch, tmp_path / "docs")
    assert adopt("workspace", str(tmp_path)) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("docs:1: input.unreadable: cannot be listed: Permission denied; ")
    assert len(said) == 2


@pytest.mark.parametrize("place", ["docs", "."])
def test_validate_does_not_judge_half_a_copy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Broken: what could not be copied is missing, and the tests that pass are others."""
    write(tmp_path, {**in_order(), "docs/x.md": ""})
    refuse_to_list(monkeypatch, tmp_path / place)
    programs = Programs()
    assert adopt("workspace", str(tmp_path), "--validate", programs=programs) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("FAILED: copying: ")
    assert "Permission denied" in said[0]
    assert said[1] == "not run: uv lock: copying failed"
    assert programs.asked == []


def test_validate_copies_what_git_has_and_no_pipe(tmp_path: Path) -> None:
    """Broken: a version that comes from tags is lost, or the copy waits for a pipe."""
    write(tmp_path, {**in_order(), ".git/HEAD": "", "src/build/x.py": "", "src/__pycache__/x.pyc": ""})
    os.mkfifo(tmp_path / "pipe")
    programs = Programs()
    assert adopt("workspace", str(tmp_path), "--validate", programs=programs) == 0
    assert {".git/HEAD", "src/build/x.py"} <= programs.seen[0]
    assert not {"pipe", "src/__pycache__"} & programs.seen[0]


def test_validate_gives_one_verdict_a_step_in_a_scratch_copy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: the workspace itself is changed, or its old lock and environment decide."""
    write(tmp_path, {**in_order(), ".venv/bin/python": "", "packages/ai-dev-toolkit/.venv/x": ""})
    before = sorted(tmp_path.rglob("*"))
    programs = Programs()
    assert adopt("workspace", str(tmp_path), "--validate", programs=programs) == 0
    assert programs.asked == [" ".join(step) for step in STEPS]
    assert "packages/ai-dev-toolkit/LICENSE" in programs.seen[0]
    assert not {path for path in programs.seen[0] if ".venv" in path or path == "uv.lock"}
    assert capsys.readouterr().out.splitlines()[0] == "passed: uv lock: last of uv lock"
    assert sorted(tmp_path.rglob("*")) == before


def test_validate_runs_the_checks_though_one_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: a failing test hides what ruff and pyright would say."""
    write(tmp_path, in_order())
    assert adopt("workspace", str(tmp_path), "--validate", programs=Programs({"uv run pytest -v": 5})) == 1
    verdicts = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in verdicts] == ["passed", "passed", "FAILED", "passed", "passed"]
    assert verdicts[2] == "FAILED: uv run pytest -v: exit 5: last of uv run pytest -v"


def test_validate_does_not_run_what_needs_a_failed_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: five failures where there is one."""
    write(tmp_path, in_order())
    programs = Programs({"uv lock": 1})
    assert adopt("workspace", str(tmp_path), "--validate", programs=programs) == 1
    assert programs.asked == ["uv lock"]
    assert capsys.readouterr().out.splitlines()[1] == "not run: uv sync --all-extras: uv lock failed"


def test_no_folder_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: a typing error looks like a workspace without findings."""
    assert adopt("workspace", str(tmp_path / "gone")) == 2
    assert "is no folder" in capsys.readouterr().err


def test_missing_extra_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a traceback instead of the command that helps."""
    monkeypatch.setitem(sys.modules, "tomlkit", None)
    assert adopt("workspace", str(tmp_path)) == 2
    assert "pip install 'tta-agent-coordination[adopt]'" in capsys.readouterr().err


def test_programs_are_really_run(tmp_path: Path) -> None:
    """Broken: the one way to run a program loses its output or its code."""
    ended = run([sys.executable, "-c", "print('here'); raise SystemExit(3)"], cwd=tmp_path)
    assert (ended.code, ended.last_line) == (3, "here")
    gone = run([str(tmp_path / "no-such-program")], cwd=tmp_path)
    assert gone.code == 127
    assert "could not be started" in gone.last_line
    assert run([sys.executable, "-c", ""], cwd=tmp_path).last_line == ""
