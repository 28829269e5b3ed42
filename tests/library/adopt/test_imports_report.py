"""The words of `tta-adopt imports`, of a plan that was made by hand."""

from __future__ import annotations

import json

import pytest

from tta_agent_coordination.adopt.findings import Finding
from tta_agent_coordination.adopt.imports.plan import Plan, Statement
from tta_agent_coordination.adopt.imports.report import as_json, as_text

STATEMENTS = tuple(
    Statement(file="c.py", line=line, module="agent_orchestration.models", split=line < 3)
    for line in range(1, 6)
)
FOUND = [
    Finding(rule="sys.path", file="c.py", line=9, what="is changed", remedy="take it out"),
    Finding(rule="module.copies", file="a", what="is there twice", remedy="delete one"),
]
PLAN = Plan(
    old={"a/models.py": "", "b/models.py": "", "c.py": "", "d.py": ""},
    new={"c.py": "x", "b/models.py": "x", "a/models.py": "x"},
    files=4,
    modules=("b/models.py", "a/models.py"),
    statements=STATEMENTS,
    findings=tuple(FOUND),
)


@pytest.mark.parametrize(
    ("written", "change"),
    [((), "3 files to write"), (("c.py", "a/models.py"), "2 of 3 files written")],
)
def test_text_ends_with_what_was_read_and_what_changes(written: tuple[str, ...], change: str) -> None:
    """Broken: a person takes what is only planned for done, or the other way round."""
    assert as_text(PLAN, FOUND, written) == (
        "c.py:9: sys.path: is changed; take it out\n"
        "a:1: module.copies: is there twice; delete one\n"
        f"4 files read, {change}: 2 modules re-exported, "
        "5 statements rewritten, 2 of them split; 2 findings\n"
    )


def test_json_has_the_names_that_programs_read_and_lines_a_person_can() -> None:
    """Broken: a program finds no number under the name it was told, or two runs list the same otherwise."""
    text = as_json(PLAN, FOUND, ["c.py", "a/models.py"])
    assert json.loads(text) == {
        "files": 4,
        "changes": ["a/models.py", "b/models.py", "c.py"],
        "written": ["a/models.py", "c.py"],
        "modules": ["a/models.py", "b/models.py"],
        "statements": 5,
        "split": 2,
        "findings": [
            {
                "rule": "sys.path",
                "file": "c.py",
                "line": 9,
                "what": "is changed",
                "remedy": "take it out",
            },
            {
                "rule": "module.copies",
                "file": "a",
                "line": 1,
                "what": "is there twice",
                "remedy": "delete one",
            },
        ],
    }
    assert text.startswith('{\n  "files": 4,\n')
    assert text.endswith("}\n")
