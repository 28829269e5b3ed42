"""Reading TOML that somebody else wrote: whatever stands there, and the line a person is sent to."""

from __future__ import annotations

import pytest

from tta_agent_coordination.adopt.tables import BOM, at, line_of, strings, table

DATA: dict[str, object] = {
    "tool": {"uv": {"members": ["a", 5, "b"], "one": "c", "no": False, "table": {"x": 1}}},
    "text": "tool",
}


def test_value_is_what_the_whole_path_leads_to() -> None:
    """Broken: a rule judges another key's value, or ends at a value that is no table."""
    assert at(DATA, "tool", "uv", "one") == "c"
    assert at(DATA, "tool", "uv", "no") is False
    assert at(DATA) is DATA
    for path in (("tool", "other", "one"), ("text", "uv"), ("tool", "uv", "one", "c"), ("absent",)):
        assert at(DATA, *path) is None
    assert at(None, "tool") is None
    assert at(["tool"], "tool") is None


def test_value_of_another_kind_is_no_table_and_holds_no_strings() -> None:
    """Broken: a number where a table belongs ends the command with a traceback."""
    assert table(DATA, "tool", "uv", "table") == {"x": 1}
    assert strings(DATA, "tool", "uv", "members") == ["a", "b"]
    assert strings(DATA, "tool", "uv", "one") == ["c"]
    for path in (("tool", "uv", "no"), ("absent",), ("text", "x")):
        assert table(DATA, *path) == {}
        assert strings(DATA, *path) == []
    assert table(DATA, "tool", "uv", "members") == {}
    assert strings(DATA, "tool", "uv", "table") == []


TEXT = """\
top = 1
[project]   # the project
name = "a"
'quoted.key' = 2
dependencies = [
  "first>=1",
  "second>=1",
]

[ tool . "uv" ]
sources.one.path = "x"
members = ["second"]
[[tool.uv.index]]
name = "second"
[tool.uv.workspace]
members = []
"""


@pytest.mark.parametrize(
    ("path", "needle", "line"),
    [
        (("top",), "", 1),
        (("project",), "", 2),
        (("project", "name"), "", 3),
        (("project", "quoted.key"), "", 4),
        (("project", "dependencies"), "", 5),
        (("project", "dependencies"), "first", 6),
        (("project", "dependencies"), "second", 7),
        (("project", "dependencies"), "dependencies", 5),
        (("project", "dependencies"), "third", 5),
        (("project", "optional-dependencies"), "", 2),
        (("tool", "uv"), "", 10),
        (("tool", "uv", "sources", "one"), "", 10),
        (("tool", "uv", "sources", "one", "path"), "", 11),
        (("tool", "uv", "sources", "one", "path", "x"), "", 11),
        (("tool", "uv", "members"), "", 12),
        (("tool", "uv", "index", "name"), "", 14),
        (("tool", "uv", "workspace", "members"), "", 16),
        (("tool", "uv", "workspace", "members"), "members", 16),
        (("name",), "", 1),
        (("absent",), "second", 1),
        ((), "", 1),
    ],
)
def test_line_is_where_the_longest_part_of_the_path_stands(
    path: tuple[str, ...], needle: str, line: int
) -> None:
    """Broken: a person is sent to a line of another table that has a key of the same name."""
    assert line_of(TEXT, *path, needle=needle) == line
    assert line_of(BOM + TEXT, *path, needle=needle) == line


def test_first_of_two_places_counts_and_the_last_line_is_one() -> None:
    """Broken: the line is past the end of the file, or that of a repeated header."""
    text = "[[a]]\nb = 1\n[[a]]\nb = 2\n[c]\nd = [ 1,\n'last' ]"
    assert line_of(text, "a", "b") == 2
    assert line_of(text, "c", "d", needle="last") == 7
    assert line_of(f"{BOM}[project]\nx = 1\n", "project") == 1
    assert line_of(f"{BOM}[project]\nx = 1\n", "project", "x") == 2
    assert line_of('[a]\nX = 1\ny = "XXXX"\n', "a", "X") == 2
    assert line_of("", "project", needle="x") == 1
