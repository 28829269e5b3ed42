"""`tta-adopt dependency`: the package from a commit first, from PyPI later."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.library.adopt.trees import adopt, in_order, write
from tta_agent_coordination.adopt.dependency import NAME, taken_from_git, taken_from_pypi

GIT = "https://github.com/theinterneti/tta-agent-coordination"


def read(root: Path) -> dict[str, Any]:
    """Return the root's pyproject.toml."""
    return tomllib.loads((root / "pyproject.toml").read_text("utf-8"))


def test_git_first_then_pypi(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: a source that is left behind hides the release, or a comment is lost."""
    write(tmp_path, in_order())
    assert adopt("dependency", str(tmp_path), "--from", "git", "--rev", "abc123") == 0
    data = read(tmp_path)
    assert NAME in data["project"]["dependencies"]
    assert data["tool"]["uv"]["sources"][NAME] == {"git": GIT, "rev": "abc123"}
    assert "git at abc123" in capsys.readouterr().out
    assert adopt("dependency", str(tmp_path), "--from", "pypi") == 0
    data = read(tmp_path)
    assert data["project"]["dependencies"][-1] == f"{NAME}>=0.1.0"
    assert set(data["tool"]["uv"]["sources"]) == {"ai-dev-toolkit", "tta-narrative-engine"}
    text = (tmp_path / "pyproject.toml").read_text("utf-8")
    assert "# agreed by everyone" in text
    assert f"-{NAME} = " in capsys.readouterr().out


@pytest.mark.parametrize("words", [("git", "--rev", "abc"), ("pypi",)])
def test_again_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    """Broken: every run makes a new diff."""
    write(tmp_path, {"pyproject.toml": '[project]\nname = "x"\n'})
    assert adopt("dependency", str(tmp_path), "--from", *words) == 0
    once = (tmp_path / "pyproject.toml").read_bytes()
    capsys.readouterr()
    assert adopt("dependency", str(tmp_path), "--from", *words) == 0
    assert (tmp_path / "pyproject.toml").read_bytes() == once
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_extras_and_markers_stay_and_empty_tables_go(tmp_path: Path) -> None:
    """Broken: an installation misses what it had asked for."""
    text = (
        '[project]\nname = "x"\n'
        'dependencies = ["???", "TTA_agent.coordination[otel]; sys_platform == \'linux\'"]\n'
        '[tool.uv.sources]\nTTA_agent_coordination = { git = "x" }\n'
    )
    write(tmp_path, {"pyproject.toml": text})
    assert adopt("dependency", str(tmp_path), "--from", "pypi") == 0
    data = read(tmp_path)
    assert data["project"]["dependencies"][1] == f'{NAME}[otel]>=0.1.0; sys_platform == "linux"'
    assert "uv" not in data.get("tool", {})


def test_what_is_to_go_is_named_in_both_copies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: a second copy goes on living beside the package."""
    files = in_order()
    files["src/agent_orchestration/messaging.py"] = ""
    files["packages/tta-ai-framework/src/tta_ai/orchestration/models.py"] = ""
    write(tmp_path, files)
    assert adopt("dependency", str(tmp_path), "--from", "pypi") == 0
    said = capsys.readouterr().out.splitlines()
    assert "src/agent_orchestration/messaging.py: delete once nothing imports it" in said
    assert (
        "packages/tta-ai-framework/src/tta_ai/orchestration/models.py: delete what moved, keep TTA's own half"
        in said
    )


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"pyproject.toml": "[tool.x]\n"}, "there is no [project] in this pyproject.toml; name the folder"),
        (
            {"pyproject.toml": "project = 5\n"},
            "there is no [project] in this pyproject.toml; name the folder",
        ),
        ({"pyproject.toml": "[project]\ndependencies = 'a'\n"}, "`dependencies` in [project] is no array"),
        ({}, "there is no pyproject.toml"),
    ],
)
def test_folder_without_a_project_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], files: dict[str, str], why: str
) -> None:
    """Broken: a dependency is declared where nobody reads it."""
    write(tmp_path, files)
    assert adopt("dependency", str(tmp_path), "--from", "pypi") == 1
    assert why in capsys.readouterr().err


def test_other_settings_of_uv_stay(tmp_path: Path) -> None:
    """Broken: the last source takes uv's other settings with it."""
    text = (
        f'[project]\nname = "x"\ndependencies = ["{NAME}"]\n[tool.uv]\nmanaged = true\n'
        f'[tool.uv.sources]\n{NAME} = {{ git = "x" }}\n'
    )
    write(tmp_path, {"pyproject.toml": text})
    assert adopt("dependency", str(tmp_path), "--from", "pypi") == 0
    assert read(tmp_path)["tool"] == {"uv": {"managed": True}}


def test_project_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a traceback, or the word that it is done."""
    write(tmp_path, in_order())

    def refuse(_path: Path, _target: Path) -> Path:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", refuse)
    assert adopt("dependency", str(tmp_path), "--from", "pypi") == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("pyproject.toml:1: input.unwritable: cannot be written: Permission denied; ")


@pytest.mark.parametrize("words", [("git",), ("pypi", "--rev", "abc")])
def test_commit_goes_with_git_only(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Broken: whatever is on a branch today is installed."""
    with pytest.raises(SystemExit) as ended:
        adopt("dependency", str(tmp_path), "--from", *words)
    assert ended.value.code == 2


def test_only_what_was_asked_for_changes() -> None:
    """Broken: line ends, a mark at the start or a comment are other than they were."""
    text = '\ufeff[project]\r\ndependencies = [\r\n  "b",  # kept\r\n]\r\n[tool.c]\r\ny = 2 # kept\r\n'
    once = taken_from_git(text, "abc")
    assert once.startswith(text.replace("# kept\r\n]", f'# kept\r\n  "{NAME}",\r\n]'))
    sources = tomllib.loads(once.removeprefix("\ufeff"))["tool"]["uv"]["sources"]
    assert sources == {NAME: {"git": GIT, "rev": "abc"}}
    assert taken_from_git(once, "abc") == once
    pypi = text.replace("# kept\r\n]", f'# kept\r\n  "{NAME}>=0.1.0",\r\n]')
    assert taken_from_pypi(text) == pypi
    assert taken_from_pypi(once).startswith(pypi)


def test_source_is_written_below_its_own_header() -> None:
    """Broken: a file gets headers of tables that hold nothing but tables."""
    assert taken_from_git('[project]\nname = "x"\n', "abc") == (
        f'[project]\nname = "x"\ndependencies = ["{NAME}"]\n\n'
        f'[tool.uv.sources]\n{NAME} = {{git = "{GIT}", rev = "abc"}}\n'
    )


def test_all_extras_stay() -> None:
    """Broken: an installation misses one of several extras."""
    text = f'[project]\ndependencies = ["{NAME}[worker,otel]>=0.0.1"]\n'
    assert taken_from_pypi(text) == text.replace("[worker,otel]>=0.0.1", "[otel,worker]>=0.1.0")


@pytest.mark.parametrize("settings", ["tool = 5\n", "tool.uv = 'x'\n", "tool.uv.sources = ['x']\n"])
def test_settings_that_are_no_tables_are_refused_or_left(settings: str) -> None:
    """Broken: a file that is TOML and no pyproject.toml ends the command with a traceback."""
    text = f"{settings}[project]\ndependencies = []\n"
    with pytest.raises(ValueError, match=r"on the way to \[tool.uv.sources\] is no table; correct it"):
        taken_from_git(text, "abc")
    assert taken_from_pypi(text) == text.replace("[]", f'["{NAME}>=0.1.0"]')
