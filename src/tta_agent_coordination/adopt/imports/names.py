"""The names of one `from x import ...`: taken apart with their comments, and written down again.

Knows the form of a statement and nothing of what the names mean.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import libcst as cst

from tta_agent_coordination.adopt.imports.moved import Target

__all__ = ["WIDTH", "Piece", "bare", "from_targets", "module_text", "pieces", "statement", "text_of"]

WIDTH = 88
"""Columns of a line of TTA's."""

text_of: Callable[[cst.CSTNode], str] = cst.Module([]).code_for_node
"""The text of one node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One imported name with the comments that belong to it."""

    name: str
    asname: str = ""
    above: tuple[str, ...] = ()
    beside: str = ""

    def __str__(self) -> str:
        """Write it as in the statement."""
        return f"{self.name} as {self.asname}" if self.asname else self.name

    @property
    def bound(self) -> str:
        """The name that the importing module gets."""
        return self.asname or self.name

    @property
    def order(self) -> tuple[str, str]:
        """Where it stands in a sorted statement: classes before functions, as capitals come first."""
        return self.name, self.asname


def module_text(node: cst.ImportFrom) -> str:
    """The module of a statement, with its dots."""
    name = text_of(node.module) if node.module is not None else ""
    return "." * len(node.relative) + name


def from_targets(targets: Sequence[tuple[str, Target]]) -> dict[str, list[Piece]]:
    """Group what is imported as which name by the module it comes from."""
    grouped: dict[str, list[Piece]] = {}
    for bound, target in targets:
        piece = Piece(name=target.name, asname=bound if bound != target.name else "")
        grouped.setdefault(target.module, []).append(piece)
    return {module: sorted(grouped[module], key=lambda piece: piece.order) for module in sorted(grouped)}


def _comments(space: cst.BaseParenthesizableWhitespace | None) -> tuple[str, list[str]]:
    """The comment on the line that ends here, and those on lines of their own below."""
    if not isinstance(space, cst.ParenthesizedWhitespace):
        return "", []
    beside = space.first_line.comment.value if space.first_line.comment else ""
    return beside, [line.comment.value for line in space.empty_lines if line.comment]


def pieces(node: cst.ImportFrom) -> list[Piece]:
    """The names of a statement, each with its comments; none for a star."""
    if isinstance(node.names, cst.ImportStar):
        return []
    beside, above = _comments(node.lpar.whitespace_after if node.lpar else None)
    above = [beside, *above] if beside else above
    found: list[Piece] = []
    for alias in node.names:
        comma = alias.comma if isinstance(alias.comma, cst.Comma) else None
        after, below = _comments(comma.whitespace_after if comma else None)
        found.append(
            Piece(
                name=text_of(alias.name),
                asname=text_of(alias.asname.name) if alias.asname else "",
                above=tuple(above),
                beside=after,
            )
        )
        above = below
    last, below = _comments(node.rpar.whitespace_before if node.rpar else None)
    # Nothing follows them: they stay with the last name.
    found[-1] = replace(found[-1], above=(*found[-1].above, *above, *below), beside=found[-1].beside or last)
    return found


def bare(found: Sequence[Piece]) -> bool:
    """Whether no name carries a comment."""
    return not any(piece.above or piece.beside for piece in found)


def statement(
    module: str, found: Sequence[Piece], *, document: cst.Module, column: int = 0
) -> cst.SimpleStatementLine:
    """One statement on a line of its own, in brackets where it is too long or has comments.

    Args:
        module: The module, with its dots.
        found: The names; at least one.
        document: The file it is for: its indentation and line ends are used.
        column: How far it will be indented.
    """
    line = f"from {module} import {', '.join(map(str, found))}"
    if not bare(found) or column + len(line) > WIDTH:
        rows: list[str] = []
        for piece in found:
            rows += piece.above
            rows.append(f"{piece}," + (f"  {piece.beside}" if piece.beside else ""))
        inside = "".join(f"{document.default_indent}{row}\n" for row in rows)
        line = f"from {module} import (\n{inside})"
    parsed = cst.parse_statement(f"{line}\n")
    return cst.ensure_type(parsed, cst.SimpleStatementLine)
