"""Which Pythons are started outside of projects, line by line: `.python-version`, workflows, images."""

from __future__ import annotations

import pytest

from tests.library.adopt.workspaces import ROOT, Rule, changes, said
from tta_agent_coordination.adopt.findings import ReplaceOnLine
from tta_agent_coordination.adopt.workflows import images, version_files, workflows

CI = ".github/workflows/ci.yml"
EXCLUDED = "which >=3.12 excludes"
NAME_ONE = "name one that fits, such as 3.12"


def beside(text: str, path: str = CI, root: str = ROOT) -> dict[str, str]:
    """Return a workspace's root and one file."""
    return {"pyproject.toml": root, path: text}


def named(text: str) -> list[tuple[int, str]]:
    """Return the line of each version in a workflow that does not fit, and the version."""
    found = [line.split(" ") for line in said(workflows, beside(text))]
    return [(int(words[0].split(":")[1]), words[4].rstrip(",")) for words in found]


@pytest.mark.parametrize("path", [".python-version", "packages/a/.python-version"])
def test_version_file_with_one_version_is_mended(path: str) -> None:
    """Broken: everybody who enters the folder gets a Python that the workspace refuses."""
    files = beside("# why\n\n3.11.4  # not 3.10\n", path)
    assert said(version_files, files) == [
        f"{path}:3: python.version-file: names Python 3.11.4, {EXCLUDED}; {NAME_ONE}"
    ]
    assert changes(version_files, files) == [ReplaceOnLine(line=3, old="3.11.4", new="3.12")]


def test_version_file_with_several_is_left_to_a_person() -> None:
    """Broken: two lines come to name the same Python, or a second one is overlooked."""
    files = beside("3.13\n3.11\n\n3.9 3.8\n", ".python-version")
    assert [line.partition(": ")[0] for line in said(version_files, files)] == [
        ".python-version:2",
        ".python-version:4",
        ".python-version:4",
    ]
    assert changes(version_files, files) == [None, None, None]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (".python-version", "3.12\n"),
        (".python-version", "cpython-3.12.1-linux\n"),
        (".python-version", "2.7\n33.11\n"),
        ("python-version", "3.11\n"),
        ("x.python-version", "3.11\n"),
        ("docs/.python-versions", "3.11\n"),
    ],
)
def test_version_file_that_fits_and_other_files_are_fine(path: str, text: str) -> None:
    """Broken: a false alarm, or a file that no tool reads is held against the workspace."""
    assert said(version_files, beside(text, path)) == []


@pytest.mark.parametrize("rule", [version_files, workflows, images])
def test_without_a_range_nothing_is_held_against_it(rule: Rule) -> None:
    """Broken: a folder that is no workspace ends the run."""
    files = beside("image: python:3.11\npython-version: 3.11\n", CI, "[tool.x]\n") | {
        ".python-version": "3.11"
    }
    assert said(rule, files) == []


def test_every_file_is_looked_at() -> None:
    """Broken: the first file that is something else ends the search."""
    files = {
        "a/pyproject.toml": "",
        "pyproject.toml": ROOT,
        ".python-version": "3.11\n",
        ".github/a.yml": "python: 3.11\n",
        "x.py": "",
        "Dockerfile": "FROM python:3.11\n",
        "b/.python-version": "3.10\n",
        ".github/b.yml": "python: 3.10\n",
        "b/Dockerfile": "FROM python:3.10\n",
    }
    for rule, paths in (
        (version_files, [".python-version", "b/.python-version"]),
        (workflows, [".github/a.yml", ".github/b.yml"]),
        (images, ["Dockerfile", "b/Dockerfile"]),
    ):
        assert [line.partition(":")[0] for line in said(rule, files)] == paths


def test_version_in_a_workflow_is_a_line_that_a_person_changes() -> None:
    """Broken: a job runs on a Python that the workspace refuses, and nobody learns where."""
    files = beside("on: push\njobs:\n  a:\n    with:\n      python-version: '3.11'\n")
    assert said(workflows, files) == [f"{CI}:5: python.workflow: names Python 3.11, {EXCLUDED}; {NAME_ONE}"]
    assert changes(workflows, files) == [None]
    assert said(workflows, beside("python-version: 3.11\n", "elsewhere/ci.yml")) == []


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("python-version: 3.11\n", [(1, "3.11")]),
        ("- python_versions: [3.11, '3.12', \"3.10\"]\n", [(1, "3.11"), (1, "3.10")]),
        ('"PYTHON" : 3.11.2\n', [(1, "3.11.2")]),
        ("UV_PYTHON: cpython3.11\n", [(1, "3.11")]),
        ("pythons: 3.11\npython:3.11\nmy-python: 3.11\n", []),
        ("python-version: '>=3.9 <3.14'\nother: 3.9\n", []),
        ("python-version: ~3.9\npython: ^3.9\npython: =3.9\n", []),
        ("python-version: 3.12 # 3.9\n# python-version: 3.9\npython-version: '3.12'#3.9\n", [(3, "3.9")]),
        ("python:\n  - 3.11\n  - 3.12\n\n  - 3.10\nother:\n  - 3.9\n", [(2, "3.11"), (5, "3.10")]),
        ("python:\n- 3.11\n- 3.10\nos: 3.9\n", [(2, "3.11"), (3, "3.10")]),
        ("python: [\n  3.11,\n  3.10\n]\nother: 3.9\n", [(2, "3.11"), (3, "3.10")]),
        ("python: [\n  3.12, # 3.8\n3.11\n]\n3.9\n", []),
        ("  python: [\n    3.11\n  ]\n    3.9\n", [(2, "3.11")]),
        ("  python:\n  - 3.11\n - 3.9\n", [(2, "3.11")]),
        ("  python:\n    a:\n      3.11\n  b:\n      3.9\n", [(3, "3.11")]),
        ("python: [3.12]\n  - 3.9\n", []),
        ("python:\n  description: 3.9\n  default: 3.11\n  x-y : 3.8\n", [(3, "3.11")]),
        ("python: ${{ x }}\n  3.9\n", []),
        ("    3.9\n", []),
        ("python:\n  - 3.12\n# why\n  - 3.11\n", [(4, "3.11")]),
        ("python:\n\n  # 3.9\n  3.11\n", [(4, "3.11")]),
        ("include: [{ os: x, python: 3.11, y: 3.9 }, {python-version: [3.10, 3.9]}]\n",
         [(1, "3.11"), (1, "3.10"), (1, "3.9")]),
        ("a: {x: 1}\nb: { 'uv_python' : '3.11' }\n", [(2, "3.11")]),
        ("run: uv python install 3.11 '3.10' x 3.9\n", [(1, "3.11"), (1, "3.10")]),
        ("run: uv python pin 3.11\n", [(1, "3.11")]),
        ("run: uvx --python 3.11 x 3.9\n", [(1, "3.11")]),
        ("run: uv run --all --python=3.11 x\n", [(1, "3.11")]),
        ("run: uv run -p  3.11 x && uv run -p 3.10 y; uv run; x -p 3.9\n", [(1, "3.11"), (1, "3.10")]),
        ("run: uv python find 3.9\n", []),
    ],
)  # fmt: skip
def test_versions_are_found_where_they_start_a_python(text: str, lines: list[tuple[int, str]]) -> None:
    """Broken: a version that a job starts is overlooked, or one that is something else is reported."""
    assert named(text) == lines


@pytest.mark.parametrize(
    ("path", "text", "old", "new"),
    [
        ("Dockerfile", "\nFROM python:3.11-slim AS x\n", "python:3.11", "python:3.12"),
        ("Dockerfile", "\nfrom --platform=x uv:python3.11.2-bookworm\n", "python3.11.2", "python3.12"),
        ("Dockerfile", "\nARG PYTHON_VERSION=3.11\n", "PYTHON_VERSION=3.11", "PYTHON_VERSION=3.12"),
        ("Dockerfile", "\nENV PYTHON_VERSION '3.11'\n", None, ""),
        ("Dockerfile", "\nENV PYTHON_VERSION 3.11\n", "PYTHON_VERSION 3.11", "PYTHON_VERSION 3.12"),
        ("compose.yaml", "\n  image: python:3.11\n", "python:3.11", "python:3.12"),
        ("compose.yaml", '\n  - PYTHON_VERSION: "3.11"\n', 'PYTHON_VERSION: "3.11', 'PYTHON_VERSION: "3.12'),
        ("devcontainer.json", '\n"image": "x/python:1-3.11"\n', "python:1-3.11", "python:1-3.12"),
        (CI, "\n  container: python:3.11\n", "python:3.11", "python:3.12"),
        (CI, "\n  image: Python:3.11\n", "Python:3.11", "Python:3.12"),
        (CI, "\n  env: python:3.11\n", "python:3.11", "python:3.12"),
        (CI, "\n  ENV PYTHON_VERSION: 3.11\n", None, ""),
        (CI, "\n  - python:3.11\n", None, ""),
        ("Dockerfile", "\nCOPY python:3.11 x\n", None, ""),
        ("Dockerfile", "\nFROM python:3.12.1\nFROM cpython:3.9\nFROM python:2.7\n", None, ""),
        ("README.md", "\nFROM python:3.11\n", None, ""),
    ],
)  # fmt: skip
def test_python_of_an_image_is_mended_in_its_place(path: str, text: str, old: str | None, new: str) -> None:
    """Broken: a container starts a Python that the workspace refuses, or another word changes with it."""
    files = beside(text, path)
    mended = [] if old is None else [ReplaceOnLine(line=2, old=old, new=new)]
    assert changes(images, files) == mended
    assert [line.split("; ")[1] for line in said(images, files)] == ([] if old is None else [new])


def test_image_is_named_by_its_line_and_version() -> None:
    """Broken: a person looks for a version that is not there."""
    files = beside(
        "FROM x\nFROM python:3.12\nFROM python:3.11.4 AS a\nFROM python:3.10 AS b\n", "a/Dockerfile"
    )
    assert said(images, files) == [
        f"a/Dockerfile:3: python.image: the image has Python 3.11.4, {EXCLUDED}; python:3.12",
        f"a/Dockerfile:4: python.image: the image has Python 3.10, {EXCLUDED}; python:3.12",
    ]


def test_image_with_a_digest_is_left_to_a_person() -> None:
    """Broken: a digest is left that belongs to another image."""
    files = beside("FROM python:3.11-slim@sha256:0f\nFROM python:3.10\n", "Dockerfile")
    assert said(images, files)[0] == (
        f"Dockerfile:1: python.image: the image has Python 3.11, {EXCLUDED}; Python 3.12, with its digest"
    )
    assert changes(images, files) == [None, ReplaceOnLine(line=2, old="python:3.10", new="python:3.12")]


def test_several_versions_of_one_line_are_each_told() -> None:
    """Broken: the second image of a line is overlooked, or a variable of a workflow hides it."""
    files = beside("container: {image: 'python:3.11', x: python_version=3.10, y: 'python:3.9'}\n")
    assert [line.split(" ")[6] for line in said(images, files)] == ["3.11,", "3.9,"]
