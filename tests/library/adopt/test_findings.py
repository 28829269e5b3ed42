"""How findings are told: a line each for people, one object for programs."""

from __future__ import annotations

import errno
import json
import os

from tta_agent_coordination.adopt.findings import Finding, SetValue, as_json, as_text, unwritten

FOUND = [
    Finding(
        rule="python.ruff",
        file="a/pyproject.toml",
        line=7,
        what="is old",
        remedy="make it new",
        change=SetValue(path=("tool",), value="x"),
    ),
    Finding(rule="lock.missing", file="uv.lock", what="does not exist", remedy="run `uv lock`"),
]


def test_text_is_a_line_each_that_an_editor_opens() -> None:
    """Broken: an editor does not find the place, or a person not what to do."""
    assert as_text(FOUND) == (
        "a/pyproject.toml:7: python.ruff: is old; make it new\n"
        "uv.lock:1: lock.missing: does not exist; run `uv lock`\n"
    )
    assert as_text([]) == ""


def test_json_has_the_names_that_programs_read() -> None:
    """Broken: a program finds no number under the name it was told."""
    text = as_json(FOUND, files=17, rules=3)
    assert json.loads(text) == {
        "files": 17,
        "rules": 3,
        "findings": [
            {
                "rule": "python.ruff",
                "file": "a/pyproject.toml",
                "line": 7,
                "what": "is old",
                "remedy": "make it new",
                "fixable": True,
            },
            {
                "rule": "lock.missing",
                "file": "uv.lock",
                "line": 1,
                "what": "does not exist",
                "remedy": "run `uv lock`",
                "fixable": False,
            },
        ],
    }
    assert text.startswith('{\n  "files": 17,\n')
    assert text.endswith("}\n")


def test_file_that_could_not_be_replaced_is_a_finding_of_its_own() -> None:
    """Broken: a person does not learn which file is as it was, or why."""
    found = unwritten("a/b.py", OSError(errno.EACCES, os.strerror(errno.EACCES)))
    assert as_text([found]) == (
        f"a/b.py:1: input.unwritable: cannot be written: {os.strerror(errno.EACCES)}; "
        "give the user who runs this the right to write its folder; it was left as it is\n"
    )
    assert found.change is None
