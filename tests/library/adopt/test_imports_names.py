"""The names of one import statement: taken apart with their comments, and written down again."""

from __future__ import annotations

import libcst as cst
import pytest

from tta_agent_coordination.adopt.imports.moved import Target
from tta_agent_coordination.adopt.imports.names import (
    WIDTH,
    Piece,
    bare,
    from_targets,
    module_text,
    pieces,
    statement,
)

COMMENTED = """\
from a import (  # first
    # above b
    b,  # beside b
    # above c
    # and more
    c as d,
    e  # last
    # below
)
"""


def import_of(text: str) -> cst.ImportFrom:
    """Return the one statement of a text."""
    line = cst.ensure_type(cst.parse_statement(text), cst.SimpleStatementLine)
    return cst.ensure_type(line.body[0], cst.ImportFrom)


def written(names: list[Piece], *, module: str = "a", document: str = "", column: int = 0) -> str:
    """Return how names are written in a document."""
    parsed = cst.parse_module(document)
    return parsed.code_for_node(statement(module, names, document=parsed, column=column))


@pytest.mark.parametrize(
    ("text", "module"),
    [
        ("from a.b import c", "a.b"),
        ("from ..a import c", "..a"),
        ("from . import c", "."),
        ("from ... import c", "..."),
    ],
)
def test_module_is_written_with_its_dots(text: str, module: str) -> None:
    """Broken: a relative import comes to name another module."""
    assert module_text(import_of(text)) == module


def test_every_name_has_the_comments_that_belong_to_it() -> None:
    """Broken: a comment is lost, or speaks about another name."""
    assert pieces(import_of(COMMENTED)) == [
        Piece(name="b", above=("# first", "# above b"), beside="# beside b"),
        Piece(name="c", asname="d", above=("# above c", "# and more")),
        Piece(name="e", above=("# below",), beside="# last"),
    ]
    behind = "from a import (\n    b,  # beside\n    # below\n)\n"
    assert pieces(import_of(behind)) == [Piece(name="b", above=("# below",), beside="# beside")]
    inside = "from a import (\n    # above\n    b\n)\n"
    assert pieces(import_of(inside)) == [Piece(name="b", above=("# above",))]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("from a import b", [Piece(name="b")]),
        ("from a import b as c, d", [Piece(name="b", asname="c"), Piece(name="d")]),
        ("from a import (b, c,)", [Piece(name="b"), Piece(name="c")]),
        ("from a import *", []),
    ],
)
def test_names_without_comments_are_bare(text: str, names: list[Piece]) -> None:
    """Broken: a name is lost, or comes under another one."""
    assert pieces(import_of(text)) == names
    assert bare(names)


@pytest.mark.parametrize("piece", [Piece(name="b", above=("# x",)), Piece(name="b", beside="# x")])
def test_name_with_a_comment_is_not_bare(piece: Piece) -> None:
    """Broken: a statement with comments is put on one line, which loses them."""
    assert not bare([Piece(name="a"), piece])
    assert not bare([piece, Piece(name="a")])


def test_names_are_grouped_by_module_and_sorted() -> None:
    """Broken: two runs write the same names in another order, or under another name."""
    targets = [
        ("z", Target(module="m", name="z")),
        ("BaseB", Target(module="m", name="B")),
        ("a", Target(module="k", name="a")),
        ("B", Target(module="m", name="B")),
    ]
    grouped = from_targets(targets)
    assert [*grouped] == ["k", "m"]
    assert grouped["k"] == [Piece(name="a")]
    assert grouped["m"] == [Piece(name="B"), Piece(name="B", asname="BaseB"), Piece(name="z")]
    assert [str(piece) for piece in grouped["m"]] == ["B", "B as BaseB", "z"]
    assert [piece.bound for piece in grouped["m"]] == ["B", "BaseB", "z"]


def test_statement_is_one_line_where_it_fits() -> None:
    """Broken: lines are longer than TTA's, or every import takes three."""
    assert written([Piece(name="b"), Piece(name="c", asname="d")]) == "from a import b, c as d\n"
    longest = "b" * (WIDTH - len("from a import "))
    assert written([Piece(name=longest)]) == f"from a import {longest}\n"
    empty = cst.parse_module("")
    at_the_margin = statement("a", [Piece(name=longest)], document=empty)
    assert empty.code_for_node(at_the_margin) == f"from a import {longest}\n"
    assert written([Piece(name=longest + "b")]) == f"from a import (\n    {longest}b,\n)\n"
    assert written([Piece(name=longest)], column=1) == f"from a import (\n    {longest},\n)\n"
    assert written([Piece(name=longest[:-4])], column=4) == f"from a import {longest[:-4]}\n"


def test_statement_keeps_comments_in_brackets() -> None:
    """Broken: a comment that a linter or a person needs is gone."""
    names = [Piece(name="b", above=("# one", "# two"), beside="# three"), Piece(name="c")]
    assert written(names) == "from a import (\n    # one\n    # two\n    b,  # three\n    c,\n)\n"


def test_statement_has_the_documents_indentation_and_line_ends() -> None:
    """Broken: one file has two kinds of lines."""
    document = "if a:\r\n  b\r\n"
    assert written([Piece(name="c")], document=document) == "from a import c\r\n"
    assert (
        written([Piece(name="c", beside="# x")], document=document) == "from a import (\r\n  c,  # x\r\n)\r\n"
    )
