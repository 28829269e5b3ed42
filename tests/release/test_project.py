"""What pyproject.toml says, and the names that follow from it."""

from pathlib import Path

import pytest
from packaging.version import Version

from release.model import Refused
from release.project import FILE, Project
from tests.release.ledger_support import rules_of
from tests.release.repo_support import PYPROJECT


def write(root: Path, text: str) -> Path:
    (root / FILE).write_text(text, encoding="utf-8")
    return root


def test_names_follow_from_the_project(tmp_path: Path) -> None:
    """PEP 503 for the index, `v` and PEP 440's normal form for the tag."""
    project = Project.read(write(tmp_path, PYPROJECT))
    assert (project.name, project.normalised) == ("Demo.Project", "demo-project")
    assert (project.version, project.version_text) == (Version("0.1.0"), "0.1.0")
    assert project.tag == "v0.1.0"
    assert project.urls == {"Source": "https://code.example.org/demo"}


def test_a_version_that_is_not_normal_is_kept_as_written(tmp_path: Path) -> None:
    """The rules must be able to say that it is not."""
    project = Project.read(write(tmp_path, PYPROJECT.replace("0.1.0", "0.1.0-RC.1")))
    assert (str(project.version), project.version_text) == ("0.1.0rc1", "0.1.0-RC.1")
    assert project.tag == "v0.1.0rc1"


def test_a_project_without_addresses_has_none(tmp_path: Path) -> None:
    """They are optional."""
    text = "\n".join(line for line in PYPROJECT.splitlines() if not line.startswith("urls"))
    assert Project.read(write(tmp_path, text)).urls == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[project", ["not TOML"]),
        ("", ["name", "version"]),
        ("project = 1", ["name", "version"]),
        ('[project]\nname = ""\nversion = 1', ["name", "version"]),
        ('[project]\nname = "x"\ndynamic = ["version"]', ["version"]),
        ('[project]\nname = "x"\nversion = "one"', ["'one'"]),
    ],
)
def test_every_problem_is_named(tmp_path: Path, text: str, says: list[str]) -> None:
    """A broken pyproject.toml ends in words, not in a traceback."""
    with pytest.raises(Refused) as caught:
        Project.read(write(tmp_path, text))
    assert rules_of(caught.value) == ["project.readable"] * len(says)
    for problem, word in zip(caught.value.problems, says, strict=True):
        assert word in problem.what


def test_no_file_is_refused(tmp_path: Path) -> None:
    """A stage run in the wrong folder says so."""
    with pytest.raises(Refused) as caught:
        Project.read(tmp_path)
    assert "does not exist" in caught.value.problems[0].what


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    """As is one in another encoding."""
    (tmp_path / FILE).write_bytes(b"\xff\xfe")
    with pytest.raises(Refused) as caught:
        Project.read(tmp_path)
    assert rules_of(caught.value) == ["project.readable"]
