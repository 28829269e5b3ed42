"""Every message that the library and the release tools can raise, read from their source without running it.

Pure. In the library a message is the first argument of a raised exception; in the release tools it is a
`Problem`, made directly or by a helper that returns one. What is filled in at run time stands in braces.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["NEXT", "Raised", "Stated", "errors_page", "problems_in", "raised_in"]

NEXT: Mapping[str, str] = {
    "AgentRegistryError": "see whether the server is reachable; agents go on working from what they know",
    "AttributeError": "use a name that the package exports",
    "BadReplyError": "nothing: the breaker takes it as a store that does not answer, and works locally",
    "CircuitBreakerOpenError": "wait `retry_after` seconds, or do without what is protected",
    "CoordinationError": "look at the leaf that was raised; this is the root to catch",
    "ImportError": "install the extra that the message names",
    "MessageCoordinatorError": "see whether the server is reachable and what it answered",
    "OutcomeUnknownError": "look with `explain`, or repeat a send under the same `dedup_id`",
    "PayloadError": "change the message; sending it again cannot help",
    "PayloadNotJSONError": "send only what JSON has: objects with string keys, finite numbers, no sets",
    "PayloadTooLargeError": "put the data elsewhere and send where it is, or raise `max_payload_bytes`",
    "QueueFullError": "send later or raise `queue_size`; see with `stats` who does not keep up",
    "RetryExhaustedError": "look at `__cause__`, the last failure",
    "RuntimeError": "call things in the order that the message names",
    "SlotMismatchError": "send with a `dedup_id` first, then acknowledge: two steps, the same effect",
    "StoreUnavailableError": "nothing was done, so the same call can be repeated once the server is well",
    "TypeError": "hand over what the message asks for",
    "UndecodableEntryError": "nothing: what cannot be read becomes a dead letter with this as its cause",
    "ValueError": "mend the argument; nothing was sent",
}
"""What to do about each exception of the library; `tests/release/site` asks for one line a class."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Raised:
    """One place where the library raises."""

    error: str
    """The exception's class."""
    message: str
    where: str
    """Module and function."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Stated:
    """One place where the release tools state a problem."""

    rule: str
    where: str
    what: str
    remedy: str


def raised_in(module: str, source: str) -> list[Raised]:
    """Every `raise Name(message)` of one module, in order; a bare or passed-on exception is none."""
    found: list[Raised] = []
    tree = ast.parse(source)
    constants = _constants(tree)
    for scope, node in _scoped(tree):
        if not isinstance(node, ast.Raise) or not isinstance(node.exc, ast.Call):
            continue
        name = ast.unparse(node.exc.func)
        if name.rpartition(".")[2][:1].isupper() and name != "AssertionError" and node.exc.args:
            message = _text(node.exc.args[0], _names(scope, node.lineno, constants))
            inside = [each.name for each in scope]
            found.append(Raised(error=name, message=message, where=".".join([module, *inside])))
    return found


def problems_in(source: str) -> list[Stated]:
    """Every `Problem` that one module of the release tools can state, in order."""
    tree = ast.parse(source)
    constants = _constants(tree)
    helpers = {
        node.name: node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.returns is not None and _makes_problem(node.returns)
    }
    templates = {
        name: (helper, call)
        for name, helper in helpers.items()
        for call in [_own_problem(helper)]
        if call is not None
    }
    found: list[Stated] = []
    for scope, node in _scoped(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        if node.func.id == "Problem" and not any(each.name in templates for each in scope):
            found.append(_stated(node, _names(scope, node.lineno, constants)))
        elif node.func.id in templates and not any(each.name == node.func.id for each in scope):
            helper, template = templates[node.func.id]
            names = _names(scope, node.lineno, constants)
            found.append(_stated(template, {**names, **_given(helper, node, names)}))
    return found


def _makes_problem(returns: ast.expr) -> bool:
    return ast.unparse(returns) == "Problem"


def _own_problem(helper: ast.FunctionDef) -> ast.Call | None:
    for node in ast.walk(helper):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Problem":
            return node
    return None


def _given(helper: ast.FunctionDef, call: ast.Call, names: Mapping[str, str]) -> dict[str, str]:
    """What a call hands to a helper, by parameter, as text."""
    places = [each.arg for each in helper.args.args]
    default = dict(
        zip(reversed(places), reversed([_text(each, names) for each in helper.args.defaults]), strict=False)
    )
    handed = {name: _text(value, names) for name, value in zip(places, call.args, strict=False)}
    named = {each.arg: _text(each.value, names) for each in call.keywords if each.arg is not None}
    return {**default, **handed, **named}


def _stated(call: ast.Call, names: Mapping[str, str]) -> Stated:
    fields = {each.arg: _text(each.value, names) for each in call.keywords if each.arg is not None}
    return Stated(**{name: fields.get(name, "") for name in ("rule", "where", "what", "remedy")})


type _Function = ast.FunctionDef | ast.AsyncFunctionDef


def _scoped(
    tree: ast.AST, scope: tuple[_Function, ...] = ()
) -> Iterator[tuple[tuple[_Function, ...], ast.AST]]:
    """Every node with the functions around it, outermost first."""
    for node in ast.iter_child_nodes(tree):
        yield scope, node
        inner = (*scope, node) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else scope
        yield from _scoped(node, inner)


def _constants(tree: ast.Module) -> dict[str, str]:
    """The module's own names for texts."""
    found: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and _is_text(node.value):
            found[node.targets[0].id] = _text(node.value, found)
    return found


def _names(scope: Sequence[_Function], line: int, constants: Mapping[str, str]) -> dict[str, str]:
    """What names hold that are assigned text above `line`: the module's and the functions', nearest last."""
    found = dict(constants)
    for function in scope:
        assigned = [each for each in ast.walk(function) if isinstance(each, ast.Assign)]
        for node in sorted(assigned, key=lambda each: each.lineno):
            target = node.targets[0]
            if node.lineno < line and isinstance(target, ast.Name):
                found.pop(target.id, None)
                if _is_text(node.value):
                    found[target.id] = _text(node.value, found)
    return found


def _is_text(node: ast.expr) -> bool:
    match node:
        case ast.Constant(value=str()) | ast.JoinedStr():
            return True
        case ast.BinOp(left=left, right=right, op=ast.Add()):
            return _is_text(left) or _is_text(right)
        case ast.IfExp(body=body, orelse=orelse):
            return _is_text(body) or _is_text(orelse)
        case _:
            return False


def _text(node: ast.expr, names: Mapping[str, str]) -> str:
    """An expression as a reader sees it: text as it is, everything else in braces."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part, names) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return _text(node.value, names)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left, names) + _text(node.right, names)
    if isinstance(node, ast.IfExp):
        return f"{_text(node.body, names)} | {_text(node.orelse, names)}"
    if isinstance(node, ast.Name) and node.id in names:
        return names[node.id]
    return f"{{{ast.unparse(node)}}}"


def _cell(text: str) -> str:
    return (
        " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "")
    )


def errors_page(raised: Sequence[Raised], stated: Sequence[Stated]) -> str:
    """The page of all messages: the library's by exception, the release tools' by rule."""
    lines = [
        "# Errors",
        "",
        "Every message that can be raised, read from the source. Braces stand for what is filled in.",
        "",
        "## The library",
        "",
        "All exceptions but those for bad arguments descend from `CoordinationError`. A send does not",
        "raise for what the store or the payload does: it returns a `MessageResult` whose `cause` is the",
        "machine-readable form of the same errors, and `raise_for_error()` turns it into one of them.",
        "",
    ]
    for error in sorted({each.error for each in raised}):
        lines += [
            f"### {error}",
            "",
            f"What to do next: {NEXT.get(error, 'see its page in the API reference')}.",
            "",
        ]
        lines += ["| message | raised in |", "|---|---|"]
        lines += [
            f"| {_cell(each.message)} | `{each.where}` |"
            for each in sorted(set(raised))
            if each.error == error
        ]
        lines.append("")
    lines += [
        "## The release tools",
        "",
        "A stage refuses with one or more problems: the rule, the place, what is wrong there, the remedy.",
        "",
        "| rule | where | what | what to do next |",
        "|---|---|---|---|",
    ]
    for each in sorted(set(stated)):
        cells = (each.where, each.what, each.remedy)
        lines.append(f"| `{_cell(each.rule)}` | " + " | ".join(map(_cell, cells)) + " |")
    return "\n".join([*lines, ""])
