"""Turning a module of v0 into re-exports: definitions go, this package's names take their place.

Text in, text out. What TTA has besides stays: its own definitions, halves of classes, and every name that
some other file imports from the module.
"""

import ast
from collections.abc import Collection, Mapping, Sequence

import libcst as cst

from tta_agent_coordination.adopt.imports.bodies import (
    Body,
    drop,
    drop_helpers,
    drop_imports,
    exported,
    imported,
    is_import,
    is_standard,
    is_text,
)
from tta_agent_coordination.adopt.imports.classes import BASE, defined, half, is_enum, members, used
from tta_agent_coordination.adopt.imports.copies import ours
from tta_agent_coordination.adopt.imports.moved import Moved, Target
from tta_agent_coordination.adopt.imports.names import WIDTH, from_targets, statement
from tta_agent_coordination.adopt.imports.rewriting import handed_on

__all__ = ["shimmed"]


def shimmed(text: str, table: Mapping[str, Moved], wanted: Collection[str] | None) -> str:
    """The module with what moved re-exported from this package; again changes nothing.

    Args:
        text: A module of v0.
        table: What moved out of it.
        wanted: Names that other files import from it; None where that cannot be known, so that every import
            of the module stays.

    Raises:
        libcst.ParserSyntaxError: The text is no Python.
    """
    document = cst.parse_module(text)
    body: Body = [*document.body]
    listed = {*exported(ast.parse(text))}
    bound = {name for node in body for name, module in imported(node).items() if ours(module)}
    gone: set[str] = set()
    targets: list[tuple[str, Target]] = []
    for index in reversed(range(len(body))):
        node = body[index]
        name = defined(node)
        moved = table.get(name)
        if moved is None or not _replaceable(node, moved, bound):
            continue
        gone |= used(node)
        stays = half(node, moved, document) if isinstance(node, cst.ClassDef) else None
        if stays is None:
            drop(body, index)
            targets.append((name, moved.target))
        else:
            body[index] = stays
            targets.append((f"{BASE}{moved.target.name}", moved.target))
    if not targets:
        return text
    needed = listed | {*(wanted or ())}
    drop_helpers(body, gone, needed)
    if wanted is not None:
        drop_imports(body, gone, needed, document)
    again = {name for name, _ in targets if not name.startswith(BASE)}
    rest = [node for node in body if not is_import(node) and not is_text(node)]
    if not [node for node in rest if defined(node) != "__all__"]:
        body = [node for node in body if imported(node).get("annotations") != "__future__"]
    lines = [statement(module, names, document=document) for module, names in from_targets(targets).items()]
    at = _place(body)
    if at and (not is_import(body[at - 1]) or is_standard(body[at - 1])):
        lines[0] = lines[0].with_changes(leading_lines=[_BLANK])
    if at < len(body) and is_import(body[at]):
        body[at] = handed_on([_BLANK], body[at])
    body[at:at] = lines
    if not listed:
        public = {name for node in body if (name := defined(node)) and not name.startswith("_")}
        names = {*public, *again, *(name for name in wanted or () if not name.startswith("_"))}
        here = {*public, *(name for node in body for name in imported(node))}
        lines.append(_list(sorted(names & here), document))
        body.insert(_place(body, relative=True), lines[-1])
    behind = body.index(lines[-1]) + 1
    following = body[behind] if behind < len(body) else None
    if isinstance(following, cst.ClassDef | cst.FunctionDef):
        body[behind] = following.with_changes(leading_lines=_apart(following.leading_lines))
    return document.with_changes(body=body).code


def _replaceable(node: cst.CSTNode, moved: Moved, imported: Collection[str]) -> bool:
    """Whether a definition is v0's: no half of one, and no enumeration with members of its own."""
    if not isinstance(node, cst.ClassDef):
        return isinstance(node, cst.FunctionDef)
    if any(isinstance(base.value, cst.Name) and base.value.value in imported for base in node.bases):
        return False
    return not (is_enum(node) and {*members(node)} - moved.members)


_BLANK = cst.EmptyLine(indent=False)


def _place(body: Body, *, relative: bool = False) -> int:
    """Behind the absolute imports that a module begins with; `relative`: behind all imports there."""
    at = 0
    for node in body:
        text_or_import = is_text(node) or is_import(node)
        dotted = any(module.startswith(".") for module in imported(node).values())
        if not text_or_import or (dotted and not relative):
            break
        at += 1
    return at


def _list(names: Sequence[str], document: cst.Module) -> cst.SimpleStatementLine:
    """`__all__`, sorted, in one line where it fits."""
    line = f"__all__ = [{', '.join(f'"{name}"' for name in names)}]"
    if len(line) > WIDTH:
        rows = "".join(f'{document.default_indent}"{name}",\n' for name in names)
        line = f"__all__ = [\n{rows}]"
    parsed = cst.parse_statement(f"{line}\n")
    return cst.ensure_type(parsed, cst.SimpleStatementLine).with_changes(leading_lines=[_BLANK])


def _apart(lines: Sequence[cst.EmptyLine]) -> Sequence[cst.EmptyLine]:
    """The lines above a definition, behind two blank ones where they do not begin with one."""
    return lines if lines and lines[0].comment is None else [_BLANK, _BLANK, *lines]
