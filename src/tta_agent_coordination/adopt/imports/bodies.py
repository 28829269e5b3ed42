"""The top level of a module: what its statements define and import, and taking away what is not needed.

Works on a list of statements in place; does not know what moved.
"""

import ast
import sys
from collections.abc import Collection, Iterator

import libcst as cst

from tta_agent_coordination.adopt.imports.classes import defined, used
from tta_agent_coordination.adopt.imports.names import module_text, pieces, statement, text_of
from tta_agent_coordination.adopt.imports.rewriting import handed_on

__all__ = [
    "Body",
    "drop",
    "drop_helpers",
    "drop_imports",
    "exported",
    "imported",
    "is_import",
    "is_standard",
    "is_text",
]

type Body = list[cst.BaseStatement]

_LOGGERS = frozenset({"log", "logger"})
"""Names of helpers that go, as private ones do, with the only code that used them."""


def _small(node: cst.CSTNode) -> cst.CSTNode | None:
    """The statement of a line that holds one."""
    return node.body[0] if isinstance(node, cst.SimpleStatementLine) and len(node.body) == 1 else None


def is_import(node: cst.CSTNode) -> bool:
    """Whether a line is an import and nothing else."""
    return isinstance(_small(node), cst.Import | cst.ImportFrom)


def is_text(node: cst.CSTNode) -> bool:
    """Whether a line is a docstring, or another text that nobody reads."""
    only = _small(node)
    return isinstance(only, cst.Expr) and isinstance(only.value, cst.SimpleString | cst.ConcatenatedString)


def is_standard(node: cst.CSTNode) -> bool:
    """Whether a line imports from the standard library only."""
    modules = [*imported(node).values()]
    return bool(modules) and all(module.split(".")[0] in sys.stdlib_module_names for module in modules)


def imported(node: cst.CSTNode) -> dict[str, str]:
    """The names that an import on a line of its own binds, and the module of each."""
    only = _small(node)
    if isinstance(only, cst.ImportFrom):
        return {piece.bound: module_text(only) for piece in pieces(only)}
    return dict(map(_alias, only.names)) if isinstance(only, cst.Import) else {}


def _alias(alias: cst.ImportAlias) -> tuple[str, str]:
    """The name that one part of an `import` binds, and its module."""
    module = text_of(alias.name)
    return text_of(alias.asname.name) if alias.asname else module.split(".")[0], module


def exported(tree: ast.Module) -> Iterator[str]:
    """The texts in the module's `__all__`."""
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
                for each in ast.walk(node):
                    if isinstance(each, ast.Constant) and isinstance(each.value, str):
                        yield each.value


def drop(body: Body, index: int) -> None:
    """Take one statement away; the one behind it gets its blank lines where it has none."""
    node = body.pop(index)
    if index < len(body) and isinstance(node, cst.SimpleStatementLine):
        body[index] = handed_on(node.leading_lines, body[index])


def drop_helpers(body: Body, gone: set[str], needed: Collection[str]) -> None:
    """Take away private definitions, and loggers, that only what went used; and theirs in turn."""
    for index in reversed(range(len(body))):
        name = defined(body[index])
        private = name in _LOGGERS or (name.startswith("_") and not name.startswith("__"))
        if not private or name not in gone or name in needed:
            continue
        if any(name in used(node) for node in body if node is not body[index]):
            continue
        gone |= used(body[index])
        drop(body, index)
        drop_helpers(body, gone, needed)
        return


def drop_imports(body: Body, gone: Collection[str], needed: Collection[str], document: cst.Module) -> None:
    """Take away imported names that only what went used."""
    left = {name for node in body for name in used(node)}
    for index in reversed(range(len(body))):
        only = _small(body[index])
        names = imported(body[index])
        stale = {name for name in names if name in gone and name not in left and name not in needed}
        if not stale or "__future__" in names.values():
            continue
        if stale == {*names}:
            drop(body, index)
            continue
        line = cst.ensure_type(body[index], cst.SimpleStatementLine)
        if isinstance(only, cst.ImportFrom):
            kept = [piece for piece in pieces(only) if piece.bound not in stale]
            made = statement(module_text(only), kept, document=document)
            body[index] = line.with_changes(body=made.body)
        else:
            only = cst.ensure_type(only, cst.Import)
            aliases = [
                alias.with_changes(comma=cst.MaybeSentinel.DEFAULT)
                for alias in only.names
                if _alias(alias)[0] not in stale
            ]
            body[index] = line.with_changes(body=[only.with_changes(names=aliases)])
