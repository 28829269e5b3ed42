"""`tta-adopt` as it is called: its words, its exit codes, and what it writes, on trees of a few files."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.library.adopt.trees import Programs, adopt, write
from tta_agent_coordination.adopt.cli import main

ROOT = '[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.12"\n'
NAME = "tta-agent-coordination"
V0 = "src/agent_orchestration"
USER = "from agent_orchestration.metrics import MessageMetrics\n"


def ends(*words: str) -> int | str | None:
    """Return the exit code with which the command's line ends a run."""
    with pytest.raises(SystemExit) as ended:
        adopt(*words)
    return ended.value.code


def small(root: Path, files: dict[str, str] | None = None) -> str:
    """Write a workspace of one file, and more, and return its path."""
    return str(write(root, {"pyproject.toml": ROOT, "uv.lock": ""} | (files or {})))


def v0(root: Path) -> str:
    """Write a copy of v0 of two modules, and who imports it; one of them has nothing that moved."""
    copy = {f"{V0}/metrics.py": "class MessageMetrics:\n    pass\n", f"{V0}/models.py": "X = 1\n"}
    return small(root, copy | {"user.py": USER})


@pytest.mark.parametrize(
    ("words", "phrases"),
    [
        (
            (),
            [
                "usage: tta-adopt ",
                "Move a workspace over to tta-agent-coordination.",
                "check a workspace's packaging, and mend it",
                "require this package, and say where it comes from",
                "take from this package what moved out of the tree",
                "say what is left to do",
            ],
        ),
        (
            ("workspace",),
            [
                "the folder with the workspace's pyproject.toml",
                "how findings are printed",
                "change what is mechanical, and print the diff",
                "lock, sync, test and check a scratch copy",
            ],
        ),
        (
            ("dependency",),
            [
                "the folder with the project's pyproject.toml",
                "its source",
                "the commit or tag to take, with --from git",
            ],
        ),
        (
            ("imports",),
            [
                "the folder of the tree",
                "turn v0's modules into re-exports; no consumer changes",
                "the same, and rewrite the imports themselves",
                "write the files; without it the diff is printed",
                "how it is printed",
            ],
        ),
        (("status",), ["the folder of the tree", "how it is printed"]),
    ],
)
def test_help_says_what_each_word_does(
    words: tuple[str, ...], phrases: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: a person has to read the code to know what a command changes."""
    assert ends(*words, "--help") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert [phrase for phrase in phrases if phrase not in said] == []


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("workspace",),
        ("workspace", ".", "--fix", "--validate"),
        ("workspace", ".", "--format", "xml"),
        ("dependency", "."),
        ("dependency", "--from", "pypi"),
        ("dependency", ".", "--from", "elsewhere"),
        ("dependency", ".", "--from", "git"),
        ("dependency", ".", "--from", "pypi", "--rev", "abc"),
        ("imports", "."),
        ("imports", "--shim"),
        ("imports", ".", "--shim", "--rewrite"),
        ("imports", ".", "--shim", "--format", "xml"),
        ("status",),
        ("status", ".", "--format", "xml"),
    ],
)
def test_line_that_means_nothing_is_refused(words: tuple[str, ...]) -> None:
    """Broken: a command guesses what was meant, and changes files by it."""
    assert ends(*words) == 2


def test_commit_without_git_is_refused_with_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: a person does not learn which word is missing."""
    assert ends("dependency", ".", "--from", "git") == 2
    assert "tta-adopt: error: --rev COMMIT goes with --from git, and only with it" in capsys.readouterr().err


def test_words_of_the_process_are_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: the installed command does nothing that it is told."""
    monkeypatch.setattr(sys, "argv", ["tta-adopt", "status", small(tmp_path)])
    assert main() == 1
    assert capsys.readouterr().out.startswith("no copy of v0 is left\n")


def test_what_is_no_folder_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: a typing error looks like a tree without findings."""
    for path in (tmp_path / "gone", tmp_path / "file"):
        (tmp_path / "file").touch()
        assert adopt("status", str(path)) == 2
        assert capsys.readouterr().err == (
            f"{path} is no folder; name the one with the workspace's pyproject.toml\n"
        )


@pytest.mark.parametrize("module", ["libcst", "packaging", "tomlkit"])
def test_extra_that_is_missing_is_named(
    module: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a traceback instead of the command that helps."""
    monkeypatch.setitem(sys.modules, module, None)
    assert adopt("workspace", str(tmp_path)) == 2
    assert capsys.readouterr().err == (
        "tta-adopt needs the extra `adopt`: pip install 'tta-agent-coordination[adopt]', "
        "or '.[adopt]' in a checkout\n"
    )


def test_workspace_says_how_many_it_found_and_can_mend(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: a gate reads another number than a person."""
    root = small(tmp_path)
    assert adopt("workspace", root) == 0
    assert capsys.readouterr().out == "0 findings in 2 files, 0 of them `--fix` can mend\n"
    assert adopt("workspace", root, "--format", "text") == 0
    assert capsys.readouterr().out == "0 findings in 2 files, 0 of them `--fix` can mend\n"
    write(tmp_path, {"Dockerfile": "FROM python:3.11\n"})
    assert adopt("workspace", root, programs=Programs({"uv lock --check": 2})) == 1
    assert [line.partition("; ")[0] for line in capsys.readouterr().out.splitlines()][1:] == [
        "uv.lock:1: lock.current: `uv lock --check` ended with 2: last of uv lock --check",
        "2 findings in 3 files, 1 of them `--fix` can mend",
    ]
    assert adopt("workspace", root) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "1 finding in 3 files, 1 of them `--fix` can mend"


def test_workspace_as_json_counts_files_and_rules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: a program does not see that a rule was left out."""
    root = small(tmp_path, {"Dockerfile": "FROM python:3.11\n"})
    assert adopt("workspace", root, "--format", "json") == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["files"], said["rules"], len(said["findings"])) == (3, 22, 1)
    assert adopt("workspace", root, "--fix", "--format", "json") == 0
    after = capsys.readouterr()
    assert json.loads(after.out)["findings"] == []
    assert after.err.startswith("--- a/Dockerfile\n")


def test_fix_prints_what_it_wrote_and_then_what_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: a report tells of what is mended already, or a diff of what was not written."""
    root = small(tmp_path, {"Dockerfile": "FROM python:3.11\n", "x.py": "import requests\n"})
    assert adopt("workspace", root, "--fix") == 1
    diff, _, report = capsys.readouterr().out.partition("x.py:1")
    assert diff == ("--- a/Dockerfile\n+++ b/Dockerfile\n@@ -1 +1 @@\n-FROM python:3.11\n+FROM python:3.12\n")
    assert report.splitlines()[1:] == ["1 finding in 4 files, 0 of them `--fix` can mend"]
    assert (tmp_path / "Dockerfile").read_text() == "FROM python:3.12\n"
    assert adopt("workspace", root) == 1
    assert capsys.readouterr().out.startswith("x.py:1: import.undeclared: ")


@pytest.mark.parametrize("step", ["write_bytes", "chmod", "replace"])
def test_file_that_cannot_be_replaced_is_as_it_was(
    step: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a half-written file, a file of our own that stays behind, or no word that nothing was done."""
    root = small(tmp_path, {"Dockerfile": "FROM python:3.11\n", "a/Dockerfile": "FROM python:3.10\n"})
    whole = getattr(Path, step)

    def refuse(self: Path, *args: object) -> object:
        if self == tmp_path / ".Dockerfile.tta-adopt":
            raise PermissionError(13, "Permission denied")
        return whole(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Path, step, refuse)
        assert adopt("workspace", root, "--fix") == 1
    said = capsys.readouterr().out
    assert said.startswith("--- a/a/Dockerfile\n+++ b/a/Dockerfile\n")
    assert "--- a/Dockerfile" not in said
    assert "Dockerfile:1: input.unwritable: cannot be written: Permission denied; " in said
    assert said.splitlines()[-1] == "2 findings in 4 files, 1 of them `--fix` can mend"
    assert (tmp_path / "Dockerfile").read_text() == "FROM python:3.11\n"
    assert (tmp_path / "a/Dockerfile").read_text() == "FROM python:3.12\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "Dockerfile",
        "a",
        "pyproject.toml",
        "uv.lock",
    ]


def test_link_inside_the_workspace_is_mended_where_it_leads(tmp_path: Path) -> None:
    """Broken: a link becomes a file, or its rights are another's."""
    root = small(tmp_path / "root", {"images/Dockerfile": "FROM python:3.11\n"})
    target, link = Path(root, "images/Dockerfile"), Path(root, "Dockerfile")
    target.chmod(0o640)
    link.symlink_to(target)
    assert adopt("workspace", root, "--fix") == 0
    assert link.is_symlink()
    assert target.read_text() == "FROM python:3.12\n"
    if os.name == "posix":
        assert target.stat().st_mode & 0o777 == 0o640


def test_link_out_of_the_workspace_is_left_and_the_rest_is_mended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: a file that belongs to somebody else is changed, or nothing else is."""
    root = small(tmp_path / "root", {f"{name}/Dockerfile": "FROM python:3.11\n" for name in ("a", "b", "c")})
    outside = write(tmp_path, {"Dockerfile": "FROM python:3.11\n"}) / "Dockerfile"
    Path(root, "b/Dockerfile").unlink()
    Path(root, "b/Dockerfile").symlink_to(outside)
    assert adopt("workspace", root, "--fix") == 1
    assert outside.read_text() == "FROM python:3.11\n"
    assert [Path(root, f"{name}/Dockerfile").read_text() for name in ("a", "c")] == ["FROM python:3.12\n"] * 2
    assert "b/Dockerfile:1: python.image: " in capsys.readouterr().out


def test_dependency_says_what_it_wrote_and_what_comes_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: a person does not see what changed, or what is still to be run."""
    root = small(tmp_path, {f"{V0}/metrics.py": ""})
    assert adopt("dependency", root, "--from", "git", "--rev", "abc") == 0
    diff, _, rest = capsys.readouterr().out.partition(f"{V0}/metrics.py: delete")
    assert diff.startswith("--- a/pyproject.toml\n+++ b/pyproject.toml\n")
    assert f'+dependencies = ["{NAME}"]\n' in diff
    assert rest.splitlines()[-1] == f"{NAME} comes from git at abc; now run `uv lock`"
    assert adopt("dependency", root, "--from", "pypi") == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{NAME} comes from PyPI; now run `uv lock`"
    assert adopt("dependency", root, "--from", "pypi") == 0
    assert "---" not in capsys.readouterr().out
    assert f'"{NAME}>=0.1.0"' in (tmp_path / "pyproject.toml").read_text()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "there is no pyproject.toml that can be read; name the folder that holds the project's"),
        ("[tool.x]\n", "there is no [project] in this pyproject.toml; name the folder"),
    ],
)
def test_dependency_of_what_is_no_project_is_refused(
    text: str | None, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: a dependency is declared where nobody reads it."""
    if text is not None:
        write(tmp_path, {"pyproject.toml": text})
    for words in (("pypi",), ("git", "--rev", "a")):
        assert adopt("dependency", str(tmp_path), "--from", *words) == 1
        said = capsys.readouterr()
        assert said.err.startswith(f"{tmp_path}: {why}")
        assert said.err.endswith("\n")
        assert said.out == ""


def test_dependency_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a traceback, or the word that it is done."""
    root = small(tmp_path)

    def refuse(_path: Path, _target: Path) -> Path:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", refuse)
    assert adopt("dependency", root, "--from", "pypi") == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("pyproject.toml:1: input.unwritable: cannot be written: Permission denied; ")


def test_imports_prints_a_diff_until_it_is_told_to_write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: reading changes a tree, or writing leaves it as it was."""
    root = v0(tmp_path)
    before = {path: path.read_text() for path in tmp_path.rglob("*.py")}
    for mode, files, statements in (("--shim", 1, 0), ("--rewrite", 2, 1)):
        assert adopt("imports", root, mode) == 1
        said = capsys.readouterr().out
        assert said.count("--- a/") == files
        assert said.splitlines()[-1] == (
            f"3 files read, {files} files to write: 1 modules re-exported, "
            f"{statements} statements rewritten, 0 of them split; 0 findings"
        )
    assert {path: path.read_text() for path in tmp_path.rglob("*.py")} == before
    assert adopt("imports", root, "--rewrite", "--apply") == 0
    said = capsys.readouterr().out
    assert said.count("--- a/") == 2
    assert "2 of 2 files written" in said
    assert (tmp_path / "user.py").read_text() == (
        "from tta_agent_coordination import InMemoryMetrics as MessageMetrics\n"
    )


def test_imports_as_json_keeps_the_diff_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: a program has to parse sentences, or a diff."""
    root = v0(tmp_path)
    assert adopt("imports", root, "--shim", "--format", "json", "--apply") == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["written"] == [f"{V0}/metrics.py"]
    assert said.err.startswith(f"--- a/{V0}/metrics.py\n")


def test_imports_that_cannot_be_written_are_findings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: one folder without rights stops a run in its middle, and nobody knows where."""
    root = v0(tmp_path)
    replace = Path.replace

    def refuse(self: Path, target: Path) -> Path:
        if target.name == "metrics.py":
            raise PermissionError(13, "Permission denied")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refuse)
    assert adopt("imports", root, "--rewrite", "--apply") == 1
    said = capsys.readouterr().out
    assert f"{V0}/metrics.py:1: input.unwritable: cannot be written: Permission denied; " in said
    assert "1 of 2 files written" in said
    assert "1 findings\n" in said
    assert "tta_agent_coordination" in (tmp_path / "user.py").read_text()


def test_findings_of_imports_have_the_lines_that_a_person_sees(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: the list leads to other lines, before the change or after it."""
    head = "from agent_orchestration.metrics import MessageMetrics, Other\n"
    root = v0(tmp_path)
    write(tmp_path, {"user.py": head + "import sys\nsys.path.append('x')\n"})
    assert adopt("imports", root, "--rewrite") == 1
    assert "user.py:3: sys.path: " in capsys.readouterr().out
    assert adopt("imports", root, "--rewrite", "--apply") == 1
    assert "user.py:4: sys.path: " in capsys.readouterr().out
    assert (tmp_path / "user.py").read_text().splitlines()[3] == "sys.path.append('x')"
    assert adopt("imports", root, "--rewrite", "--apply") == 1


def test_status_is_open_until_every_step_is_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: a gate passes though a step is open, or never does."""
    root = small(tmp_path)
    assert adopt("status", root, "--format", "json") == 1
    assert json.loads(capsys.readouterr().out)["open"] == 2
    assert adopt("status", root, "--format", "text") == 1
    assert capsys.readouterr().out.startswith("no copy of v0 is left\n")
    write(tmp_path, {"pyproject.toml": f"[project]\nname = 'x'\ndependencies = ['{NAME}']\n"})
    assert adopt("status", root) == 0
    assert f"dependency: PyPI, any version\n[x] {NAME} is required\n" in capsys.readouterr().out


def test_validate_fails_when_one_step_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: a failed step passes because the last one did not fail."""
    root = small(tmp_path)
    assert adopt("workspace", root, "--validate") == 0
    assert len(capsys.readouterr().out.splitlines()) == 5
    assert adopt("workspace", root, "--validate", programs=Programs({"uv run pytest -v": 5})) == 1
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()].count("FAILED") == 1
