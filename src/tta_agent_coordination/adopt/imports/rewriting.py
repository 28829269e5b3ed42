"""Rewriting the imports of one file: what moved comes from this package, what stays keeps its statement.

Comments and formatting of everything else survive. What a name means is asked of whoever calls.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, zip_longest
from typing import override

import libcst as cst

from tta_agent_coordination.adopt.imports.copies import ours
from tta_agent_coordination.adopt.imports.moved import Target
from tta_agent_coordination.adopt.imports.names import (
    Piece,
    bare,
    module_text,
    pieces,
    statement,
)

__all__ = ["Ask", "handed_on", "rewrite"]

type Ask = Callable[[int, str, str], Target | None]
"""Where the package has a name: by the dots, the module and the name of an import."""

_PRAGMAS = ("# noqa", "# type:", "# pyright:", "# pylint:", "# ruff:", "# isort:", "# pragma:", "# mypy:")
"""Comments that speak about a statement's names, whichever of two statements they end in."""


def rewrite(text: str, ask: Ask) -> str:
    """Rewrite a file's imports; again changes nothing.

    Raises:
        libcst.ParserSyntaxError: The text is no Python.
    """
    document = cst.parse_module(text)
    return document.visit(_Worker(document, ask)).code


def handed_on(lines: Sequence[cst.EmptyLine], following: cst.BaseStatement) -> cst.BaseStatement:
    """Give the blank lines before a statement that goes away to the one behind it, if that has none."""
    blank = [line for line in lines if line.comment is None]
    if isinstance(following, cst.SimpleStatementLine) and not following.leading_lines:
        return following.with_changes(leading_lines=blank)
    return following


@dataclass(slots=True)
class _Line:
    """One statement of a block; `fresh` where it was written here."""

    node: cst.BaseStatement
    fresh: bool = False

    @property
    def source(self) -> cst.ImportFrom | cst.Import | None:
        """The import that it is, and nothing else."""
        if isinstance(self.node, cst.SimpleStatementLine) and len(self.node.body) == 1:
            only = self.node.body[0]
            return only if isinstance(only, cst.ImportFrom | cst.Import) else None
        return None

    @property
    def is_ours(self) -> bool:
        """Whether it imports from this package."""
        return isinstance(self.source, cst.ImportFrom) and ours(module_text(self.source))

    @property
    def is_relative(self) -> bool:
        """Whether it imports by dots."""
        return isinstance(self.source, cst.ImportFrom) and bool(self.source.relative)

    @property
    def mergeable(self) -> str:
        """The module of this package that it imports names from, without any comment; else empty."""
        source, node = self.source, self.node
        if not isinstance(source, cst.ImportFrom) or not isinstance(node, cst.SimpleStatementLine):
            return ""
        module = module_text(source)
        commented = node.trailing_whitespace.comment or any(line.comment for line in node.leading_lines)
        names = pieces(source)
        return module if ours(module) and not commented and names and bare(names) else ""


class _Worker(cst.CSTTransformer):
    def __init__(self, document: cst.Module, ask: Ask) -> None:
        super().__init__()
        self._document = document
        self._ask = ask
        self._depth = 0

    @property
    def _column(self) -> int:
        return self._depth * len(self._document.default_indent)

    @override
    def on_visit(self, node: cst.CSTNode) -> bool:
        # Only blocks hold imports; expressions and single statements are most of a tree.
        if isinstance(node, cst.IndentedBlock):
            self._depth += 1
        return not isinstance(node, cst.SimpleStatementLine | cst.BaseExpression)

    @override
    def leave_IndentedBlock(
        self, original_node: cst.IndentedBlock, updated_node: cst.IndentedBlock
    ) -> cst.IndentedBlock:
        del original_node
        body = self._block(updated_node.body)
        self._depth -= 1
        return updated_node.with_changes(body=body)

    @override
    def leave_Module(self, original_node: cst.Module, updated_node: cst.Module) -> cst.Module:
        del original_node
        return updated_node.with_changes(body=self._block(updated_node.body, outermost=True))

    @override
    def leave_SimpleStatementSuite(
        self, original_node: cst.SimpleStatementSuite, updated_node: cst.SimpleStatementSuite
    ) -> cst.SimpleStatementSuite:
        del original_node
        return updated_node.with_changes(body=self._row(updated_node.body))

    def _block(
        self, body: Sequence[cst.BaseStatement], *, outermost: bool = False
    ) -> list[cst.BaseStatement]:
        lines: list[_Line] = []
        for node in body:
            lines += self._statement(node)
        if any(line.fresh for line in lines):
            lines = self._merged(lines)
        for line, following in pairwise(lines) if outermost else ():
            if line.fresh and line.is_ours and following.is_relative:
                following.node = handed_on([cst.EmptyLine()], following.node)
        return [line.node for line in lines]

    def _statement(self, node: cst.BaseStatement) -> list[_Line]:
        source = _Line(node).source
        if not isinstance(node, cst.SimpleStatementLine) or source is None:
            if isinstance(node, cst.SimpleStatementLine):
                node = node.with_changes(body=self._row(node.body))
            return [_Line(node)]
        parts = self._parts(source)
        if not parts:
            return [_Line(node)]
        comment = node.trailing_whitespace.comment
        on_all = comment is not None and comment.value.startswith(_PRAGMAS)
        plain = node.trailing_whitespace.with_changes(comment=None, whitespace=cst.SimpleWhitespace(""))
        new: list[_Line] = []
        for number, (module, names) in enumerate(parts):
            made = statement(module, names, document=self._document, column=self._column)
            made = made.with_changes(
                leading_lines=() if number else node.leading_lines,
                trailing_whitespace=plain if number and not on_all else node.trailing_whitespace,
            )
            new.append(_Line(made, fresh=True))
        return new

    def _row(self, body: Sequence[cst.BaseSmallStatement]) -> list[cst.BaseSmallStatement]:
        """Rewrite statements that share a line: they go on sharing it."""
        row: list[cst.BaseSmallStatement] = []
        for small in body:
            parts = self._parts(small)
            made = [statement(module, names, document=self._document).body[0] for module, names in parts]
            if made:
                between = cst.Semicolon(whitespace_after=cst.SimpleWhitespace(" "))
                row += [one.with_changes(semicolon=between) for one in made[:-1]]
                row.append(made[-1].with_changes(semicolon=small.semicolon))
            else:
                row.append(small)
        return row

    def _parts(self, node: cst.CSTNode) -> list[tuple[str, list[Piece]]]:
        """The statements that take the place of an import, as module and names; none where it stays."""
        if not isinstance(node, cst.ImportFrom):
            return []
        module = module_text(node)
        dots = len(node.relative)
        moved: list[tuple[Piece, Target]] = []
        stays: list[Piece] = []
        for piece in pieces(node):
            target = self._ask(dots, module[dots:], piece.name)
            if target is None:
                stays.append(piece)
            else:
                moved.append((piece, target))
        if not moved:
            return []
        grouped: dict[str, list[Piece]] = {}
        for piece, target in moved:
            asname = piece.bound if piece.bound != target.name else ""
            grouped.setdefault(target.module, []).append(replace(piece, name=target.name, asname=asname))
        ordered = [
            (name, sorted(found, key=lambda piece: piece.order) if bare(found) else found)
            for name, found in sorted(grouped.items())
        ]
        return [*ordered, (module, stays)] if stays else ordered

    def _merged(self, lines: list[_Line]) -> list[_Line]:
        """Join statements from one module of this package that stand in one run of imports."""
        first: dict[str, int] = {}
        result: list[_Line] = []
        for line, following in zip_longest(lines, lines[1:]):
            if line.source is None:
                first.clear()
            module = line.mergeable
            earlier = result[first[module]] if module in first else None
            if earlier is not None and (line.fresh or earlier.fresh):
                result[first[module]] = self._joined(module, earlier, line)
                if following is not None:
                    gone = cst.ensure_type(line.node, cst.SimpleStatementLine)
                    following.node = handed_on(gone.leading_lines, following.node)
                continue
            if module:
                first.setdefault(module, len(result))
            result.append(line)
        return result

    def _joined(self, module: str, earlier: _Line, later: _Line) -> _Line:
        kept = cst.ensure_type(earlier.node, cst.SimpleStatementLine)
        names = [*pieces(cst.ensure_type(kept.body[0], cst.ImportFrom))]
        added = cst.ensure_type(later.node, cst.SimpleStatementLine).body[0]
        names += pieces(cst.ensure_type(added, cst.ImportFrom))
        unique = sorted({(name.order): name for name in names}.values(), key=lambda name: name.order)
        made = statement(module, unique, document=self._document, column=self._column)
        return _Line(made.with_changes(leading_lines=kept.leading_lines), fresh=True)
