"""What a copy's class has that the package's has not: the half that stays in TTA, as a subclass.

Text of one class in, its half out; nothing is known of the module around it.
"""

import ast
from collections.abc import Iterable, Iterator

import libcst as cst

from tta_agent_coordination.adopt.imports.moved import Moved

__all__ = ["BASE", "half", "is_enum", "members", "used"]

BASE = "Base"
"""What the package's class is called beside TTA's subclass of it: `BaseAgentId`."""
_ENUMS = frozenset({"Enum", "StrEnum", "IntEnum", "Flag", "IntFlag"})
_SETTINGS = frozenset({"Config", "model_config"})
"""What configures a model and is no member of it."""
_LONGEST = 200
"""Characters of a text that may be an annotation."""


def used(node: cst.CSTNode) -> set[str]:
    """The names that a piece of code reads or binds, those inside quoted annotations included."""
    tree = ast.parse(cst.Module([]).code_for_node(node))
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
    return any(cst.Module([]).code_for_node(base.value).rpartition(".")[2] in _ENUMS for base in node.bases)


def members(node: cst.ClassDef) -> dict[str, cst.BaseStatement]:
    """The members of a class in order; texts, `pass` and what is not one member are left out."""
    found: dict[str, cst.BaseStatement] = {}
    for each in node.body.body if isinstance(node.body, cst.IndentedBlock) else ():
        if name := _name(each):
            found[name] = each
    return found


def _name(node: cst.CSTNode) -> str:
    if isinstance(node, cst.FunctionDef | cst.ClassDef):
        return node.name.value
    if isinstance(node, cst.SimpleStatementLine):
        only = node.body[0]
        target = None
        if isinstance(only, cst.AnnAssign):
            target = only.target
        elif isinstance(only, cst.Assign) and len(only.targets) == 1:
            target = only.targets[0].target
        if isinstance(target, cst.Name):
            return target.value
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
    kept = _with_private(extras, own, moved, node.name.value)
    body: list[cst.BaseStatement] = []
    for name, member in own.items():
        if name == moved.narrows and narrow is not None:
            body.append(narrow)
        elif name == "__init__" and isinstance(member, cst.FunctionDef):
            wanted = {read for one in kept for read in _attributes(own[one], node.name.value)}
            body += _constructor(member, wanted - {*own} - moved.private - moved.members, moved, document)
        elif name in kept:
            body.append(member)
    text = node.body.body[0]
    if extras and isinstance(text, cst.SimpleStatementLine) and node.get_docstring() is not None:
        body.insert(0, text)
    else:
        body[0] = body[0].with_changes(leading_lines=())
    frozen = [cst.Arg(keyword=cst.Name("frozen"), value=cst.Name("True"), equal=_TIGHT)] if narrow else []
    return node.with_changes(
        bases=[cst.Arg(cst.Name(f"{BASE}{moved.target.name}"))],
        keywords=frozen,
        lpar=cst.LeftParen(),
        rpar=cst.RightParen(),
        body=cst.ensure_type(node.body, cst.IndentedBlock).with_changes(body=body),
    )


_TIGHT = cst.AssignEqual(
    whitespace_before=cst.SimpleWhitespace(""), whitespace_after=cst.SimpleWhitespace("")
)


def _narrowed(member: cst.BaseStatement | None, document: cst.Module) -> cst.BaseStatement | None:
    """The field with TTA's type and without a default; None where it is any text there, too."""
    only = member.body[0] if isinstance(member, cst.SimpleStatementLine) else None
    if not isinstance(only, cst.AnnAssign) or document.code_for_node(only.annotation.annotation) == "str":
        return None
    return cst.SimpleStatementLine([only.with_changes(value=None, equal=cst.MaybeSentinel.DEFAULT)])


def _attributes(node: cst.CSTNode, owner: str) -> set[str]:
    """What a member reads or calls of its own object or class."""
    tree = ast.parse(cst.Module([]).code_for_node(node))
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
    node: cst.FunctionDef, wanted: set[str], moved: Moved, document: cst.Module
) -> Iterator[cst.BaseStatement]:
    """v0's constructor, reduced to what the members that stay need; nothing where they need nothing."""
    needed = set(wanted)
    kept: list[cst.BaseStatement] = []
    for statement in reversed(node.body.body):
        tree = ast.parse(cst.Module([]).code_for_node(statement))
        bound = {
            each.attr if isinstance(each, ast.Attribute) else each.id
            for each in ast.walk(tree)
            if isinstance(each, ast.Attribute | ast.Name) and isinstance(each.ctx, ast.Store)
        }
        if bound & needed and isinstance(statement, cst.BaseStatement):
            kept.insert(0, statement)
            needed |= used(statement)
    if not kept:
        return
    names = [
        parameter.name.value
        for parameter in (*node.params.posonly_params, *node.params.params, *node.params.kwonly_params)
    ]
    passed = ", ".join(f"{name}={name}" for name in names if name in moved.takes)
    call = cst.parse_statement(f"super().__init__({passed})", config=document.config_for_parsing)
    body = cst.ensure_type(node.body, cst.IndentedBlock).with_changes(
        body=[call, kept[0].with_changes(leading_lines=()), *kept[1:]]
    )
    yield node.with_changes(body=body)
