"""What `--fix` writes, to the byte: the change that was asked for, and every other character as it was."""

from __future__ import annotations

import tomllib

import pytest

from tta_agent_coordination.adopt import fixes
from tta_agent_coordination.adopt.findings import (
    AddToArray,
    Change,
    Finding,
    ReplaceInArray,
    ReplaceOnLine,
    SetValue,
)

BOM = "\ufeff"
MEMBERS = ("tool", "uv", "workspace", "members")
SOURCE = ("tool", "uv", "sources", "a")
DEPENDENCIES = ("project", "dependencies")


def changed(text: str, *changes: Change | None) -> str:
    """Return a file's text after the changes of some findings; the same text where none alters it."""
    findings = [Finding(rule="r", file="f", what="w", remedy="r", change=change) for change in changes]
    return fixes.changed({"f": text, "other": "x"}, findings).get("f", text)


@pytest.mark.parametrize(
    ("text", "change", "new"),
    [
        pytest.param(
            "# kept\n[project]\nname = 'a'   # kept\n",
            SetValue(path=("tool", "ruff", "target-version"), value="py312"),
            "# kept\n[project]\nname = 'a'   # kept\n\n[tool.ruff]\ntarget-version = \"py312\"\n",
            id="a table that is not there",
        ),
        pytest.param(
            "[tool.ruff]\nline-length=100\ntarget-version = 'py311' # old\n[a]\nb=1",
            SetValue(path=("tool", "ruff", "target-version"), value="py312"),
            '[tool.ruff]\nline-length=100\ntarget-version = "py312" # old\n[a]\nb=1',
            id="a value that is there",
        ),
        pytest.param(
            "[project]\nname='a'\n\n# last",
            SetValue(path=("tool", "uv", "sources", "b"), value={"workspace": True}),
            "[project]\nname='a'\n\n# last\n[tool.uv.sources]\nb = {workspace = true}\n",
            id="a source after a last line without an end",
        ),
        pytest.param(
            "x = 1\n[tool.uv]\ny = 2\n",
            SetValue(path=("x",), value="z"),
            'x = "z"\n[tool.uv]\ny = 2\n',
            id="a key of no table",
        ),
        pytest.param(
            "[tool.uv]\ny = 2\n",
            AddToArray(path=MEMBERS, value="packages/a"),
            '[tool.uv]\ny = 2\n\n[tool.uv.workspace]\nmembers = ["packages/a"]\n',
            id="an array that is not there",
        ),
        pytest.param(
            "[tool.uv.workspace]\nmembers = [\n  'packages/a',  # kept\n]\n",
            AddToArray(path=MEMBERS, value="packages/b"),
            "[tool.uv.workspace]\nmembers = [\n  'packages/a',  # kept\n  \"packages/b\",\n]\n",
            id="an array with a comment in it",
        ),
        pytest.param(
            "[tool.a]\nx = 1\n[project]\n[tool.uv]\ny = 2\n",
            SetValue(path=("tool", "uv", "z"), value="w"),
            '[tool.a]\nx = 1\n[project]\n[tool.uv]\ny = 2\nz = "w"\n',
            id="a table whose siblings stand apart",
        ),
        pytest.param(
            f"{BOM}x = 1\r\n# c\r\n[a]\r\nb = [ 'q',  # why\r\n 'r' ]\r\n",
            ReplaceInArray(path=("a", "b"), old="r", new="s"),
            f"{BOM}x = 1\r\n# c\r\n[a]\r\nb = [ 'q',  # why\r\n \"s\" ]\r\n",
            id="one of an array in a file of Windows, with a mark at its start",
        ),
        pytest.param(
            "one 3.11\ntwo 3.11 and 3.11\r\nthree\x0c3.11\nfour 3.11",
            ReplaceOnLine(line=2, old="3.11", new="3.12"),
            "one 3.11\ntwo 3.12 and 3.12\r\nthree\x0c3.11\nfour 3.11",
            id="a line of a file that is no TOML",
        ),
        pytest.param(
            f"{BOM}FROM python:3.11",
            ReplaceOnLine(line=1, old="python:3.11", new="python:3.12"),
            f"{BOM}FROM python:3.12",
            id="the only line",
        ),
    ],
)
def test_change_is_written_and_every_other_character_stays(text: str, change: Change, new: str) -> None:
    """Broken: a file of somebody else's loses a comment, its line ends, or a value nobody spoke of."""
    assert changed(text, change) == new


def test_changes_of_one_file_are_all_written() -> None:
    """Broken: of two findings in a file one is lost, or a line moves before the other is written."""
    text = "[project]\nrequires-python = '>=3.11'\n"
    new = changed(
        text,
        None,
        AddToArray(path=MEMBERS, value="packages/a"),
        ReplaceOnLine(line=2, old=">=3.11", new=">=3.12"),
        AddToArray(path=MEMBERS, value="packages/b"),
        SetValue(path=("tool", "uv", "sources", "a"), value={"workspace": True, "editable": False}),
    )
    assert new.startswith("[project]\nrequires-python = '>=3.12'\n")
    assert tomllib.loads(new)["tool"] == {
        "uv": {
            "workspace": {"members": ["packages/a", "packages/b"]},
            "sources": {"a": {"workspace": True, "editable": False}},
        }
    }


def test_file_that_no_change_alters_is_not_written() -> None:
    """Broken: files are replaced that are as they should be."""
    change = SetValue(path=("a",), value="b")
    findings = [
        Finding(rule="r", file="same", what="w", remedy="r", change=change),
        Finding(rule="r", file="told", what="w", remedy="r"),
        Finding(rule="r", file="other", what="w", remedy="r", change=change),
    ]
    texts = {"same": 'a = "b"\n', "told": "a = 1\n", "other": "a = 1\n"}
    assert fixes.changed(texts, findings) == {"other": 'a = "b"\n'}


def test_diff_is_one_that_other_programs_take() -> None:
    """Broken: whoever applies the printed diff gets another tree, or none."""
    old = {
        "b.py": "one\x0c\ntwo\u2028\r\nthree\rthree\n",
        "a.txt": "1\n2\n3\n4\n5\n6\n7\n8\n9\n",
        "same": "x\n",
        "gone": "not looked at\n",
    }
    new = {
        "b.py": "one\x0c\ntwo\u2028\r\nthree\rfour\n",
        "a.txt": "1\n2\n3\n4\n5\n6\n7\n8\nnine",
        "same": "x\n",
    }
    assert fixes.diff(old, new) == (
        "--- a/a.txt\n+++ b/a.txt\n@@ -6,4 +6,4 @@\n 6\n 7\n 8\n-9\n+nine\n\\ No newline at end of file\n"
        "--- a/b.py\n+++ b/b.py\n@@ -1,3 +1,3 @@\n one\x0c\n two\u2028\r\n-three\rthree\n+three\rfour\n"
    )


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("[project]\ndependencies = 'a'\n", ReplaceInArray(path=DEPENDENCIES, old="a", new="b")),
        ("[tool.uv.workspace]\nmembers = 'packages/*'\n", AddToArray(path=MEMBERS, value="packages/a")),
        ("[tool.uv]\nworkspace = 5\n", AddToArray(path=MEMBERS, value="packages/a")),
        ("[tool.uv]\nsources = ['a']\n", SetValue(path=SOURCE, value={"workspace": True})),
        ("tool = 'uv sources'\n", SetValue(path=SOURCE, value="x")),
    ],
)
def test_value_of_another_kind_is_left_to_a_person(text: str, change: Change) -> None:
    """Broken: a file that is TOML and no pyproject.toml ends the command with a traceback."""
    assert changed(text, change) == text
