"""What a copy's class has that the package's has not: the half that stays in TTA, as a subclass.

Text of one class in, its half out; nothing is known of the module around it.
"""

import ast
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import cast

import libcst as cst

from tta_agent_coordination.adopt.imports.moved import Moved
from tta_agent_coordination.adopt.imports.names import text_of

__all__ = ["BASE", "defined", "half", "is_enum", "members", "used"]

BASE = "Base"
"""What the package's class is called beside TTA's subclass of it: `BaseAgentId`."""
_ENUMS = frozenset({"Enum", "StrEnum", "IntEnum", "Flag", "IntFlag"})
_SETTINGS = frozenset({"Config", "model_config"})
"""What configures a model and is no member of it."""
_LONGEST = 200
"""Characters of a text that may be an annotation."""


def used(node: cst.CSTNode) -> set[str]:
    """The names that a piece of code reads or binds, those inside quoted annotations included."""
    tree = ast.parse(text_of(node))
    found: set[str] = set()
    for each in ast.walk(tree):
        if isinstance(each, ast.Name):
            found.add(each.id)
        elif isinstance(each, ast.Constant) and isinstance(each.value, str) and len(each.value) < _LONGEST:
            found |= _quoted(each.value)
    return found


def _quoted(text: str) -> set[str]:
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError):
        return set()
    return {each.id for each in ast.walk(tree) if isinstance(each, ast.Name)}


def is_enum(node: cst.ClassDef) -> bool:
    """Whether a class is an enumeration, which has no subclasses."""
    return any(text_of(base.value).rpartition(".")[2] in _ENUMS for base in node.bases)


def members(node: cst.ClassDef) -> dict[str, cst.BaseStatement]:
    """The members of a class in order; texts, `pass` and what is not one member are left out."""
    return {name: each for each in _statements(node.body) if (name := defined(each))}


def _statements(suite: cst.BaseSuite) -> Iterator[cst.BaseStatement]:
    """The statements of a definition, each on a line of its own."""
    if not isinstance(suite, cst.IndentedBlock):
        row = cst.ensure_type(suite, cst.SimpleStatementSuite).body
        suite = cst.IndentedBlock([cst.SimpleStatementLine(row)])
    for each in suite.body:
        if isinstance(each, cst.SimpleStatementLine):
            for number, small in enumerate(each.body):
                alone = small.with_changes(semicolon=cst.MaybeSentinel.DEFAULT)
                yield each.with_changes(body=[alone], leading_lines=() if number else each.leading_lines)
        else:
            yield each


def defined(node: cst.CSTNode) -> str:
    """The one name that a statement defines or assigns; empty where it does neither."""
    match node:
        case cst.FunctionDef(name=name) | cst.ClassDef(name=name):
            return name.value
        case cst.SimpleStatementLine(
            body=[
                cst.AnnAssign(target=cst.Name(value=assigned))
                | cst.Assign(targets=[cst.AssignTarget(target=cst.Name(value=assigned))])
            ]
        ):
            return assigned
        case _:
            return ""


def half(node: cst.ClassDef, moved: Moved, document: cst.Module) -> cst.ClassDef | None:
    """The subclass that keeps what the package's class has not; None where that is nothing."""
    own = members(node)
    extras = [
        name
        for name in own
        if not name.startswith("_") and name not in moved.members and name not in _SETTINGS
    ]
    narrow = _narrowed(own.get(moved.narrows), document)
    if not extras and narrow is None:
        return None
    owner = node.name.value
    kept = _with_private(extras, own, moved, owner)
    theirs = ({*own} - kept) | moved.private | moved.members
    body: list[cst.BaseStatement] = []
    for name, member in own.items():
        if name == moved.narrows and narrow is not None:
            body.append(narrow)
        elif name == "__init__" and isinstance(member, cst.FunctionDef):
            read = kept.union(*(_attributes(own[one], owner) for one in kept))
            body += _constructor(member, read, theirs, owner, moved.takes)
        elif name in kept:
            body.append(member)
    if extras and node.get_docstring() is not None:
        body.insert(0, next(_statements(node.body)))
    else:
        body[0] = _close(body[0])
    frozen = [cst.Arg(keyword=cst.Name("frozen"), value=cst.Name("True"), equal=_TIGHT)] if narrow else []
    return node.with_changes(
        bases=[cst.Arg(cst.Name(f"{BASE}{moved.target.name}"))],
        keywords=frozen,
        lpar=cst.LeftParen(),
        rpar=cst.RightParen(),
        body=_indented(node.body, body),
    )


def _indented(suite: cst.BaseSuite, body: Sequence[cst.BaseStatement]) -> cst.IndentedBlock:
    """The block of a definition with other statements; one for it where it stood on the line itself."""
    return suite.with_changes(body=body) if isinstance(suite, cst.IndentedBlock) else cst.IndentedBlock(body)


def _close(node: cst.BaseStatement) -> cst.BaseStatement:
    """A statement without blank lines above it; comments stay."""
    lines = cast("cst.SimpleStatementLine | cst.BaseCompoundStatement", node).leading_lines
    return node.with_changes(leading_lines=[line for line in lines if line.comment])


_TIGHT = cst.AssignEqual(
    whitespace_before=cst.SimpleWhitespace(""), whitespace_after=cst.SimpleWhitespace("")
)


def _narrowed(member: cst.BaseStatement | None, document: cst.Module) -> cst.BaseStatement | None:
    """The field with TTA's type and without a default; None where it is any text there, too."""
    only = member.body[0] if isinstance(member, cst.SimpleStatementLine) else None
    if not isinstance(only, cst.AnnAssign) or document.code_for_node(only.annotation.annotation) == "str":
        return None
    return cst.SimpleStatementLine([cst.AnnAssign(only.target, only.annotation)])


def _attributes(node: cst.CSTNode, owner: str) -> set[str]:
    """What a member reads or calls of its own object or class."""
    tree = ast.parse(text_of(node))
    return {
        each.attr
        for each in ast.walk(tree)
        if isinstance(each, ast.Attribute)
        and isinstance(each.value, ast.Name)
        and each.value.id in {"self", "cls", owner}
    }


def _with_private(
    extras: Iterable[str], own: dict[str, cst.BaseStatement], moved: Moved, owner: str
) -> set[str]:
    """The members that stay, and the private ones that they call."""
    kept: set[str] = set()
    pending = [*extras]
    while pending:
        name = pending.pop()
        if name not in kept:
            kept.add(name)
            called = _attributes(own[name], owner) & {*own}
            pending += [one for one in called if one.startswith("_") and one not in moved.private]
    return kept - {"__init__"}


def _constructor(
    node: cst.FunctionDef, read: Iterable[str], theirs: Collection[str], owner: str, takes: Collection[str]
) -> Iterator[cst.BaseStatement]:
    """v0's constructor, reduced to what the members that stay need; nothing where they need nothing."""
    needed = {*read}.difference(theirs)
    kept: list[cst.BaseStatement] = []
    for statement in reversed([*_statements(node.body)]):
        tree = ast.parse(text_of(statement))
        bound = {
            each.attr if isinstance(each, ast.Attribute) else each.id
            for each in ast.walk(tree)
            if isinstance(each, ast.Attribute | ast.Name) and isinstance(each.ctx, ast.Store)
        }
        if bound & needed:
            kept.insert(0, statement)
            needed |= used(statement) | _attributes(statement, owner).difference(theirs)
    if not kept:
        return
    names = [
        parameter.name.value
        for parameter in (*node.params.posonly_params, *node.params.params, *node.params.kwonly_params)
    ]
    passed = ", ".join(f"{name}={name}" for name in names if name in takes)
    call = cst.parse_statement(f"super().__init__({passed})")
    body = [call, _close(kept[0]), *kept[1:]]
    yield node.with_changes(body=_indented(node.body, body))
