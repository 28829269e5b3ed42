"""Every message that the library, its commands and the release tools have, read from source, not run.

Pure. In the library a message is the first argument of an exception that is made, whoever raises it, or of a
line for the log; a command writes it to standard error. A check states it as a `Problem` (the release tools)
or a `Finding` (`tta-adopt`), made directly or by a helper that returns one. What is filled in at run time
stands in braces.
"""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

__all__ = [
    "Logged",
    "Raised",
    "Said",
    "Stated",
    "findings_in",
    "kinds_in",
    "logged_in",
    "problems_in",
    "raised_in",
    "said_in",
]

_LEVELS = ("debug", "info", "warning", "error", "exception", "critical")
_LOGGER = re.compile(r"^(\w+)(?:: [\w.]+)? = logging\.getLogger\(", re.MULTILINE)
_LEVEL = re.compile(r"logging\.([a-z]+)")
_FILLED = re.compile(r"%[-+ #0]*\d*(?:\.\d+)?[sdrgfx]")
"""Where a line for the log takes its next argument."""

_ERROR = re.compile(r"_?[A-Z]\w*Error")
_TELLING = ("sys.stderr.write", "parser.error", "_say")
"""What a command of ours writes to standard error with, beside `print`."""
_CHECKS: Mapping[str, str] = {"Problem": "where", "Finding": "file"}
"""What a check states -> its field with the place."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Raised:
    """One place where the library makes an exception."""

    error: str
    """The exception's class."""
    message: str
    where: str
    """Module and function."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Logged:
    """One place where the library writes to the log."""

    level: str
    message: str
    where: str


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Said:
    """One place where a command says to standard error why it does not go on."""

    message: str
    where: str


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Stated:
    """One place where a check states what it found."""

    rule: str
    where: str
    what: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """A call and where it stands."""

    node: ast.Call
    where: str
    scope: tuple["_Function", ...]
    constants: Mapping[str, str]

    def text(self, node: ast.expr) -> str:
        """An argument as a reader sees it, names that hold text followed."""
        return _text(node, _names(self.scope, self.node.lineno, self.constants))


def _calls(module: str, source: str) -> Iterator[_Call]:
    read = _read(source)
    for scope, node in read.calls:
        where = ".".join([module, *(each.name for each in scope)])
        yield _Call(node=node, where=where, scope=scope, constants=read.constants)


def raised_in(module: str, source: str) -> list[Raised]:
    """Every exception with a message that one module makes, in order; one that is passed on is none."""
    found: list[Raised] = []
    for call in _calls(module, source):
        made = call.node.func
        classes = [made.body, made.orelse] if isinstance(made, ast.IfExp) else [made]
        found += [
            Raised(error=name, message=call.text(call.node.args[0]), where=call.where)
            for name in map(ast.unparse, classes)
            if _ERROR.fullmatch(name.rpartition(".")[2]) and name != "AssertionError" and call.node.args
        ]
    return found


def logged_in(module: str, source: str) -> list[Logged]:
    """Every line that one module writes to its log, in order, its arguments put in."""
    found: list[Logged] = []
    loggers = set(_LOGGER.findall(source))
    for call in _calls(module, source):
        match call.node:
            case ast.Call(func=ast.Attribute(value=logger, attr="log"), args=[level, *told]) if told:
                kind = " or ".join(dict.fromkeys(_LEVEL.findall(ast.unparse(level).lower())))
            case ast.Call(func=ast.Attribute(value=logger, attr=kind), args=[_, *_] as told) if (
                kind in _LEVELS
            ):
                pass
            case _:
                continue
        if ast.unparse(logger) in loggers:
            given = iter([call.text(each) for each in told[1:]])
            message = _FILLED.sub(lambda place: next(given, place[0]), call.text(told[0]))  # noqa: B023 - used at once
            found.append(Logged(level=kind, message=message, where=call.where))
    return found


def said_in(module: str, source: str) -> list[Said]:
    """Every text that one module writes to standard error, or hands to an argument parser as a fault."""
    found: list[Said] = []
    for call in _calls(module, source):
        to_file = {each.arg: ast.unparse(each.value) for each in call.node.keywords}.get("file")
        name = ast.unparse(call.node.func)
        told = (name, to_file) == ("print", "sys.stderr") or name in _TELLING
        if told and call.node.args:
            found.append(Said(message=call.text(call.node.args[0]).strip(), where=call.where))
    return found


def problems_in(source: str) -> list[Stated]:
    """Every `Problem` that one module of the release tools can state, in order."""
    return _stated_in(source, "Problem")


def findings_in(source: str) -> list[Stated]:
    """Every `Finding` that one module of the adoption tools can state, in order."""
    return _stated_in(source, "Finding")


def kinds_in(source: str) -> list[Stated]:
    """Every `Kind` of debris that one module of the doctor tells apart, with what mending does about it."""
    found: list[Stated] = []
    for call in _calls("", source):
        if ast.unparse(call.node.func) == "Kind":
            fields = {each.arg: call.text(each.value) for each in call.node.keywords}
            remedy = fields.get("mending") or "a person has to look"
            found.append(Stated(rule=fields["name"], where="", what=fields["what"], remedy=remedy))
    return found


def _stated_in(source: str, kind: str) -> list[Stated]:
    if kind not in source:
        return []
    read = _read(source)
    constants = read.constants
    templates = {
        node.name: (node, call)
        for node in read.functions
        for call in [_template(node, kind)]
        if call is not None
    }
    found: list[Stated] = []
    for scope, node in read.calls:
        if not isinstance(node.func, ast.Name):
            continue
        if _names_rule(node, kind) and not any(each.name in templates for each in scope):
            found.append(_stated(node, kind, _names(scope, node.lineno, constants)))
        elif node.func.id in templates and not any(each.name == node.func.id for each in scope):
            helper, template = templates[node.func.id]
            names = _names(scope, node.lineno, constants)
            found.append(_stated(template, kind, {**names, **_given(helper, node, names)}))
    return found


def _names_rule(call: ast.Call, kind: str) -> bool:
    """True where a call makes what a check states; the doctor's findings, for one, have no rule."""
    made = isinstance(call.func, ast.Name) and call.func.id == kind
    return made and any(each.arg in ("rule", None) for each in call.keywords)


def _template(helper: ast.FunctionDef, kind: str) -> ast.Call | None:
    """The call that makes what a helper returns; None for a function whose callers fill in nothing."""
    returns = helper.returns and ast.unparse(helper.returns)
    if returns not in (kind, f"Iterator[{kind}]"):
        return None
    handed = {each.arg for each in (*helper.args.args, *helper.args.kwonlyargs)}
    for node in ast.walk(helper):
        if isinstance(node, ast.Call) and _names_rule(node, kind):
            rules = [ast.unparse(each.value) for each in node.keywords if each.arg == "rule"]
            if returns == kind or handed.intersection(rules):
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


def _stated(call: ast.Call, kind: str, names: Mapping[str, str]) -> Stated:
    fields = {each.arg: _text(each.value, names) for each in call.keywords if each.arg is not None}
    fields["where"] = fields.get(_CHECKS[kind], "")
    return Stated(**{name: fields.get(name, "") for name in ("rule", "where", "what", "remedy")})


type _Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True, kw_only=True)
class _Module:
    """What the questions about one module have in common."""

    constants: Mapping[str, str]
    functions: Sequence[ast.FunctionDef]
    calls: Sequence[tuple[tuple[_Function, ...], ast.Call]]
    """Each with the functions around it, outermost first."""


@lru_cache(maxsize=8)
def _read(source: str) -> _Module:
    """One module; kept for a moment, since it is asked several questions in a row."""
    tree = ast.parse(source)
    functions: list[ast.FunctionDef] = []
    calls: list[tuple[tuple[_Function, ...], ast.Call]] = []

    def collect(around: ast.AST, scope: tuple[_Function, ...]) -> None:
        for node in ast.iter_child_nodes(around):
            inner = scope
            if isinstance(node, ast.Call):
                calls.append((scope, node))
            elif isinstance(node, ast.FunctionDef):
                functions.append(node)
                inner = (*scope, node)
            elif isinstance(node, ast.AsyncFunctionDef):
                inner = (*scope, node)
            collect(node, inner)

    collect(tree, ())
    return _Module(constants=_constants(tree), functions=functions, calls=calls)


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
