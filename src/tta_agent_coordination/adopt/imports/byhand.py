"""What no tool can move: the places of one file that a person has to look at, each with line and reason.

Pure: a syntax tree and what its imports name in, findings out.
"""

import ast
import re
from collections.abc import Iterator, Sequence

from tta_agent_coordination.adopt.findings import Finding
from tta_agent_coordination.adopt.imports.copies import Copies, Named, ours
from tta_agent_coordination.adopt.imports.holders import Holders, last_name
from tta_agent_coordination.adopt.imports.moved import MODULES

__all__ = ["by_hand"]

_MOVED = {name: moved for table in MODULES.values() for name, moved in table.items()}
_KEPT = {moved.target.name: moved.private for moved in _MOVED.values() if moved.private}
_FAMILIES = "agents|capabilities|cb|dlq|queue|reserved|reserved_deadlines|sched|subs"
_KEY = re.compile(rf"^ao:(?:{_FAMILIES})(?::|$)")
_KEY_BEHIND_PREFIX = re.compile(rf"^:(?:{_FAMILIES}):")
_DOTTED = re.compile(r"^[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+$")
_NAMES_PATH = frozenset({"append", "extend", "insert", "remove"})
_BY_NAME = frozenset({"delattr", "getattr", "hasattr", "setattr"})
_TAKE_ANY_TYPE = frozenset(
    {"AgentId", "AgentType", "getattr", "hash", "isinstance", "print", "repr", "str", "type"}
    | {"add", "append", "critical", "debug", "error", "exception", "format", "get", "info", "warning"}
)
"""Calls that do not mind whether an agent id's type is a text or TTA's enumeration."""


def by_hand(path: str, tree: ast.Module, copies: Copies) -> Iterator[Finding]:
    """The places of one file, by line.

    Args:
        path: The file, relative to the tree.
        tree: Its syntax tree.
        copies: Where v0 is.
    """
    nodes = [*ast.walk(tree)]
    found = [*_imports(path, nodes, copies), *_classes(path, tree, copies), *_texts(path, nodes, copies)]
    inside = any(path.startswith(f"{copy.folder}/") for copy in copies.all)
    if inside or _imports_v0(path, nodes, copies):
        holders = Holders(nodes)
        parents = {child: parent for parent in nodes for child in ast.iter_child_nodes(parent)}
        for node in nodes:
            found += _agent_ids(path, node, holders, parents)
            found += _private(path, node, holders)
            found += _private_of_subclass(path, node, holders)
            found += _keys(path, node, parents)
            found += _search_path(path, node)
            found += _collectors(path, node)
    yield from sorted({(each.line, each.rule, each.what): each for each in found}.values(), key=_place)


def _place(finding: Finding) -> tuple[int, str, str]:
    return finding.line, finding.rule, finding.what


def _imports_v0(path: str, nodes: Sequence[ast.AST], copies: Copies) -> bool:
    """Whether a file imports from a copy of v0, or from this package in its place."""
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            if (not node.level and ours(node.module)) or _named(path, node, copies):
                return True
        elif isinstance(node, ast.Import) and any(copies.absolute(each.name) for each in node.names):
            return True
    return False


def _named(path: str, node: ast.ImportFrom, copies: Copies) -> Named | None:
    """The module of v0 that an import takes names from."""
    return copies.named(path, node.level, node.module or "")


def _imports(path: str, nodes: Sequence[ast.AST], copies: Copies) -> Iterator[Finding]:
    """`import.module`, `import.star`: what gives moved names without naming them."""
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                named = copies.absolute(alias.name)
                if named is not None and named.module in MODULES:
                    yield _module(path, node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            named = _named(path, node, copies)
            if named is None:
                continue
            for alias in node.names:
                if alias.name == "*" and named.module in MODULES:
                    yield Finding(
                        rule="import.star",
                        file=path,
                        line=node.lineno,
                        what=f"takes whatever {'.' * node.level}{node.module or ''} has",
                        remedy="name what is used; what moved can then be imported from this package",
                    )
                elif ".".join(filter(None, [named.module, alias.name])) in MODULES:
                    yield _module(path, node.lineno, alias.name)


def _module(path: str, line: int, name: str) -> Finding:
    return Finding(
        rule="import.module",
        file=path,
        line=line,
        what=f"imports the module {name}, and what moved through it",
        remedy="import the names themselves; until then it works by the re-exports",
    )


def _classes(path: str, tree: ast.Module, copies: Copies) -> Iterator[Finding]:
    """`class.half`, `class.differs`: what is left of v0's classes in the modules that define them."""
    modules = [name for copy in copies.all for name in MODULES if copy.file(name) == path]
    table = {name: moved for module in modules for name, moved in MODULES[module].items()}
    for node in tree.body:
        if not isinstance(node, ast.ClassDef) or node.name not in table:
            continue
        moved = table[node.name]
        if _is_half(node, tree):
            kept = [name for name in _members(node) if name not in moved.members]
            if kept:
                yield Finding(
                    rule="class.half",
                    file=path,
                    line=node.lineno,
                    what=f"{node.name} keeps {', '.join(kept)}, which this package's class has not",
                    remedy="see that they still fit; objects that the package makes are of its own class",
                )
        else:
            yield Finding(
                rule="class.differs",
                file=path,
                line=node.lineno,
                what=f"{node.name} has members that this package's {moved.target.name} lacks",
                remedy="take them out or move them into a class of their own; it was left as it is",
            )


def _is_half(node: ast.ClassDef, tree: ast.Module) -> bool:
    """Whether a class is a subclass of this package's."""
    bound = {
        alias.asname or alias.name
        for each in tree.body
        if isinstance(each, ast.ImportFrom) and not each.level and ours(each.module)
        for alias in each.names
    }
    return any(isinstance(base, ast.Name) and base.id in bound for base in node.bases)


def _members(node: ast.ClassDef) -> Iterator[str]:
    """The public members of a class."""
    for each in node.body:
        match each:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found = name
            case ast.Assign(targets=[target, *_]) | ast.AnnAssign(target=target):
                found = last_name(target)
            case _:
                continue
        if found and not found.startswith("_"):
            yield found


def _agent_ids(
    path: str, node: ast.AST, holders: Holders, parents: dict[ast.AST, ast.AST]
) -> Iterator[Finding]:
    """`agent-id.type`: an enumeration's `.value` and `.name`, and a type handed on, of an agent id."""
    if not isinstance(node, ast.Attribute) or node.attr != "type" or holders.kind(node.value) != "AgentId":
        return
    parent = parents.get(node)
    if isinstance(parent, ast.Attribute) and parent.attr in {"value", "name"}:
        shown = ast.unparse(node)
        yield Finding(
            rule="agent-id.type",
            file=path,
            line=parent.lineno,
            what=f"{shown}.{parent.attr} on an agent id: one that was read back from Redis has a text there",
            remedy=f"write AgentType({shown}).{parent.attr}, which takes both",
        )
        return
    call = parents.get(parent) if isinstance(parent, ast.keyword) else parent
    if isinstance(call, ast.Call) and node is not call.func and last_name(call.func) not in _TAKE_ANY_TYPE:
        yield Finding(
            rule="agent-id.type",
            file=path,
            line=node.lineno,
            what=f"{ast.unparse(node)} goes to {last_name(call.func)}(), which may expect an AgentType",
            remedy=f"write AgentType({ast.unparse(node)}) where the enumeration is needed",
        )


def _private(path: str, node: ast.AST, holders: Holders) -> Iterator[Finding]:
    """`private.attribute`: what begins with an underscore, on an object of a class that moved."""
    match node:
        case ast.Attribute(attr=name, value=owner):
            pass
        case ast.Call(args=[owner, ast.Constant(value=str(name)), *_]) if last_name(node) in _BY_NAME:
            pass
        case _:
            return
    if name.startswith("_") and not name.startswith("__") and (kind := holders.kind(owner)) in _KEPT:
        yield _reached(path, node.lineno, kind, name)


def _private_of_subclass(path: str, node: ast.AST, holders: Holders) -> Iterator[Finding]:
    """`private.attribute`: v0's private names on `self`, in a subclass of a class that moved."""
    if not isinstance(node, ast.ClassDef):
        return
    kinds = [kind for base in node.bases if (kind := holders.of_class(last_name(base))) in _KEPT]
    for each in ast.walk(node):
        if isinstance(each, ast.Attribute) and last_name(each.value) == "self":
            for kind in kinds:
                if each.attr in _KEPT[kind]:
                    yield _reached(path, each.lineno, kind, each.attr)


def _reached(path: str, line: int, kind: str, name: str) -> Finding:
    if name in _KEPT[kind]:
        remedy = "it keeps its effect; a public option says the same and will last"
    else:
        remedy = "it is not promised here: use what is public, or keep it in a subclass"
    return Finding(
        rule="private.attribute", file=path, line=line, what=f"reaches for {name} of a {kind}", remedy=remedy
    )


def _keys(path: str, node: ast.AST, parents: dict[ast.AST, ast.AST]) -> Iterator[Finding]:
    """`redis.key`: keys of inboxes, agents and breakers that are spelled out."""
    if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
        return
    parent = parents.get(node)
    behind = isinstance(parent, ast.JoinedStr) and node in parent.values[1:2]
    if _KEY.match(node.value) or (behind and _KEY_BEHIND_PREFIX.match(node.value)):
        shown = ast.unparse(parent) if isinstance(parent, ast.JoinedStr) else ast.unparse(node)
        yield Finding(
            rule="redis.key",
            file=path,
            line=node.lineno,
            what=f"spells out the key {shown}",
            remedy="keys are v0's, so it goes on working; prefer stats(), dead_letters() and the registry",
        )


def _search_path(path: str, node: ast.AST) -> Iterator[Finding]:
    """`sys.path`: a changed search path decides which copy an import finds."""
    match node:
        case ast.Call(func=ast.Attribute(attr=method, value=changed)) if method in _NAMES_PATH:
            pass
        case ast.Subscript(ctx=ast.Store(), value=changed):
            pass
        case ast.Attribute(ctx=ast.Store()):
            changed = node
        case _:
            return
    if ast.unparse(changed) == "sys.path":
        yield Finding(
            rule="sys.path",
            file=path,
            line=node.lineno,
            what="changes sys.path, and with it which copy an import finds",
            remedy="install the projects instead; this package is found without it",
        )


def _collectors(path: str, node: ast.AST) -> Iterator[Finding]:
    """`collector.second`: a collector that no breaker counts in."""
    if isinstance(node, ast.Call) and last_name(node.func) == "CircuitBreakerMetricsCollector":
        yield Finding(
            rule="collector.second",
            file=path,
            line=node.lineno,
            what="makes a collector that no breaker counts in",
            remedy="take get_circuit_breaker_metrics(), the one of this process",
        )


def _texts(path: str, nodes: Sequence[ast.AST], copies: Copies) -> Iterator[Finding]:
    """`text.module`: a moved module in a text, as for mock.patch and importlib."""
    for node in nodes:
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            continue
        named = copies.absolute(node.value) if _DOTTED.match(node.value) else None
        if named and any(f"{named.module}.".startswith(f"{known}.") for known in MODULES):
            yield Finding(
                rule="text.module",
                file=path,
                line=node.lineno,
                what=f"names {node.value} in a text",
                remedy="name where the code looks it up after the move, which a tool cannot know",
            )
