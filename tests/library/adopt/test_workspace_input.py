"""What is no workspace, or cannot be read: one line each, without followers, and the rest goes on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.library.adopt.trees import TOOLKIT, found, in_order, replaced, write
from tta_agent_coordination.adopt.rules import check
from tta_agent_coordination.adopt.tree import read_workspace


def with_requests(folder: str = "packages/ai-dev-toolkit/src/ai_dev_toolkit") -> dict[str, str]:
    """Return the workspace in order with an import that nobody declares."""
    return {**in_order(), f"{folder}/more.py": "import requests\n"}


def test_values_of_other_types_are_no_traceback(tmp_path: Path) -> None:
    """Broken: TOML that nobody expected ends the run."""
    odd = '[project]\nname = 3\nversion = []\ndependencies = { a = 1 }\n[tool]\nuv = "x"\nhatch = 1\n'
    files = {"pyproject.toml": "project = 1\ntool = 2\n", "packages/odd/pyproject.toml": odd}
    assert {each.rule for each in found(tmp_path, files)} == {
        "python.declared",
        "project.name",
        "workspace.member",
    }


def test_unreadable_things_are_one_line_each_and_the_rest_goes_on(tmp_path: Path) -> None:
    """Broken: one bad file hides what is wrong with the others."""
    root = tmp_path / "tree"
    files = {**with_requests(), TOOLKIT: "[project\n", "Dockerfile": "FROM python:3.11\n"}
    del files["pyproject.toml"]
    found(root, files)
    (root / "packages/universal-agent-context/src/bad.py").write_bytes(b"x = '\xff'\n")
    (root / "loop").symlink_to(root)
    (root / "itself").symlink_to("itself")
    (root / "fine").symlink_to(root / "Dockerfile")
    rules = [(each.rule, each.file, each.line) for each in check(read_workspace(root))]
    assert rules == [
        ("input.link", "itself", 1),
        ("input.link", "loop", 1),
        ("input.toml", TOOLKIT, 1),
        ("input.encoding", "packages/universal-agent-context/src/bad.py", 1),
        ("input.pyproject", "pyproject.toml", 1),
    ]


def test_ten_thousand_files_are_read(tmp_path: Path) -> None:
    """Broken: a large tree ends in an error or is cut off."""
    files = in_order() | {
        f"packages/ai-dev-toolkit/src/ai_dev_toolkit/d{n % 100}/f{n}.txt": "" for n in range(10_000)
    }
    files["packages/ai-dev-toolkit/src/ai_dev_toolkit/last.py"] = "import requests\n"
    findings = found(tmp_path, files)
    assert [each.rule for each in findings] == ["import.undeclared"]
    assert len(read_workspace(tmp_path).paths) == len(files)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[project\n", 1),
        ("a = 1\na = 2\n", 2),
        ('a = 1\nb = """\n', 2),
        ("a = " + "[" * 9_999, 1),
    ],
)
def test_project_that_cannot_be_read_has_no_followers(tmp_path: Path, text: str, line: int) -> None:
    """Broken: one broken file makes a finding of every import below it, and of every source that names it."""
    findings = found(tmp_path, {**with_requests(), TOOLKIT: text})
    assert [(each.rule, each.file, each.line) for each in findings] == [("input.toml", TOOLKIT, line)]


def test_path_of_a_source_is_looked_for_though_a_project_cannot_be_read(tmp_path: Path) -> None:
    """Broken: a broken file hides what has nothing to do with it."""
    files = replaced("pyproject.toml", "[tool.ruff]", "pyyaml = { path = 'gone' }\n[tool.ruff]")
    findings = found(tmp_path, {**files, TOOLKIT: "[project\n"})
    assert {each.rule for each in findings} == {"input.toml", "source.folder"}


def test_files_of_no_project_are_read_all_the_same(tmp_path: Path) -> None:
    """Broken: a folder without any pyproject.toml ends in an error."""
    assert [each.rule for each in found(tmp_path, {"one.py": "import requests\n"})] == ["input.pyproject"]


def test_files_of_another_project_are_left_to_it(tmp_path: Path) -> None:
    """Broken: what an example declares in its own pyproject.toml is asked of the package around it."""
    files = with_requests("packages/ai-dev-toolkit/examples/one")
    files["packages/ai-dev-toolkit/examples/one/pyproject.toml"] = '[project]\nname = "one"\n'
    assert found(tmp_path, files) == []


@pytest.mark.parametrize("made", ["build", "dist"])
def test_package_named_like_what_builds_make_is_read(tmp_path: Path, made: str) -> None:
    """Broken: a part of the sources is overlooked for its name; or what a build left is judged."""
    folder = f"packages/ai-dev-toolkit/src/ai_dev_toolkit/{made}"
    assert found(tmp_path, with_requests(folder)) == []
    write(tmp_path, {f"{folder}/__init__.py": ""})
    assert [each.rule for each in check(read_workspace(tmp_path))] == ["import.undeclared"]


def test_pipe_is_one_line(tmp_path: Path) -> None:
    """Broken: the run waits for somebody to write into a pipe."""
    write(tmp_path, in_order())
    os.mkfifo(tmp_path / "packages/ai-dev-toolkit/pipe.py")
    (finding,) = check(read_workspace(tmp_path))
    assert (finding.rule, finding.what) == ("input.unreadable", "cannot be read: it is no file")


@pytest.mark.parametrize("path", ["x" * 5_000, "a\\u0000b", "\\u2028"])
def test_path_that_no_disk_has_does_not_exist(tmp_path: Path, path: str) -> None:
    """Broken: a name that is too long, or holds a zero, ends the run."""
    files = replaced("pyproject.toml", '["packages/*"]', f'["packages/*", "{path}"]')
    assert [each.rule for each in found(tmp_path, files)] == ["workspace.folder"]


def test_code_that_python_cannot_take_in_is_one_line(tmp_path: Path) -> None:
    """Broken: a generated file of thousands of brackets ends the run."""
    files = {
        **in_order(),
        "packages/ai-dev-toolkit/deep.py": "x = " + "(" * 5_000,
        "packages/ai-dev-toolkit/zero.py": "x = 1\0\n",
        "packages/ai-dev-toolkit/marked.py": "\ufeffimport json\n",
    }
    findings = found(tmp_path, files)
    assert [(each.rule, each.file.rpartition("/")[2]) for each in findings] == [
        ("input.python", "deep.py"),
        ("input.python", "zero.py"),
    ]
