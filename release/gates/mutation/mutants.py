"""What a mutant is: its name, what it changed, whether that can matter, and what mutmut never mutates.

Pure: works on names and source text. Verdicts and floors are judged in `verdicts`.
"""

import ast
import enum
import hashlib
import re
import textwrap
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest

__all__ = [
    "Mutant",
    "Shard",
    "Skipped",
    "Verdict",
    "function_lines",
    "interleaved",
    "read_mutant",
    "skipped",
    "spread",
    "verdict",
]

WORDING_KEYWORDS = frozenset(
    {"description", "epilog", "found", "help", "metavar", "remedy", "sentence", "what"}
)
"""Arguments whose text is for a person to read."""

WORDING_CALLS = frozenset({"debug", "error", "exception", "info", "print", "warning"})
"""Calls whose text is for a person to read: print, and the methods of a console or a logger."""

PROBLEM_CALLS = frozenset({"_bad", "_broken", "_none", "_problem", "_refused", "_usage", "problem", "wrong"})
"""Helpers that make a problem of what they are given; a text of one word may be its rule or its place."""

CODECS = frozenset({"ascii", "utf-8"})
"""Names that mean the same in capitals, wherever they stand."""

UNTOUCHED_NAMES = frozenset({"__getattribute__", "__new__", "__setattr__"})
"""Functions mutmut leaves alone by name."""

ENUM_NAMES = frozenset({"Enum", "Flag", "IntEnum", "IntFlag", "StrEnum"})
ENUM_HOOKS = frozenset({"__init__", "_generate_next_value_"})
"""Functions mutmut leaves alone in an enum: they run while the class is made."""


class Verdict(enum.StrEnum):
    """What the tests said of a mutant."""

    KILLED = "killed"
    SURVIVED = "survived"
    NO_TEST = "no test"
    """No test of the module executes the function, except while it is imported."""
    TIMEOUT = "timeout"
    """The tests did not come to an end: noticed, like a failure."""
    BROKEN = "broken"
    """The run itself failed: nothing is known."""


_VERDICTS = {0: Verdict.SURVIVED, 1: Verdict.KILLED, 2: Verdict.KILLED, 3: Verdict.KILLED} | {
    5: Verdict.NO_TEST,
    33: Verdict.NO_TEST,
    24: Verdict.TIMEOUT,
    -24: Verdict.TIMEOUT,
    152: Verdict.TIMEOUT,
    255: Verdict.KILLED,
}
"""By exit code: pytest's own 0 to 5, mutmut's 33, SIGXCPU (24) with which an endless run is ended.

255 is mutmut's for an exception that came out of pytest itself. Without the mutant none did, so it is the
mutant's: a coroutine or a connection left behind, which is an error here and may show after the last test, or
a test that has another name.
"""


def verdict(code: int) -> Verdict:
    """What an exit code of a mutant's test run means."""
    return _VERDICTS.get(code, Verdict.BROKEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One change to one function."""

    module: str
    """Path of the file, from the checkout's root, with `/`."""
    name: str
    """mutmut's name; its number changes with the function's text."""
    function: str
    """`make` or `Maker.make`."""
    was: str
    """The lines that changed, before, without indentation."""
    becomes: str
    inert: bool
    """True when only a sentence for a person or a type for the checker changed: counted, not run."""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """The same while the function's other lines change: how an explanation finds its mutant."""
        return self.module, self.function, self.was, self.becomes


def read_mutant(*, module: str, name: str, original: str, mutated: str) -> Mutant:
    """Compare a function's source before and after.

    Args:
        module: The file it is from.
        name: mutmut's name of the mutant.
        original: Source of the function, as mutmut copied it.
        mutated: Source of the mutant.
    """
    mangled = name.rpartition(".")[2].split("__mutmut_")[0]
    function = ".".join(mangled.split("ǁ")[1:]) if "ǁ" in mangled else mangled.removeprefix("x_")
    before, after = (_plain(text, mangled, function) for text in (original, mutated))
    was, becomes = _changed_lines(before.splitlines(), after.splitlines())
    # Reading Python is slow, so it is done only where it can matter.
    respelled = was.lower().replace("xx", "") == becomes.lower().replace("xx", "")
    suspect = respelled or "cast(" in was or was.startswith(("def ", "async def "))
    return Mutant(
        module=module,
        name=name,
        function=function,
        was=was,
        becomes=becomes,
        inert=suspect and _inert(ast.parse(before), ast.parse(after)),
    )


def _plain(source: str, mangled: str, function: str) -> str:
    """The function as text of its own: no indentation, and under its name whichever copy it is."""
    return re.sub(rf"{mangled}__mutmut_(orig|\d+)", function.rpartition(".")[2], textwrap.dedent(source))


def _changed_lines(before: list[str], after: list[str]) -> tuple[str, str]:
    """What differs between two texts that share their beginning and their end."""
    shorter = min(len(before), len(after))
    head = next((at for at in range(shorter) if before[at] != after[at]), shorter)
    most = shorter - head
    tail = next((at for at in range(most) if before[-1 - at] != after[-1 - at]), most)
    was, becomes = (
        "\n".join(line.strip() for line in lines[head : len(lines) - tail]) for lines in (before, after)
    )
    return was, becomes


def _inert(before: ast.AST, after: ast.AST) -> bool:
    """True when what differs first is text for a person, or makes no difference.

    That is the type in a `cast`, a type variable's bound, and how the name of an encoding is spelled.
    """
    path = _to_change(before, after)
    if any(isinstance(node, ast.TypeVar) for node in path):
        return True
    value = path[-1].value if path and isinstance(path[-1], ast.Constant) else None
    text, words = isinstance(value, str), isinstance(value, str) and " " in value
    if text and value in CODECS:
        renamed = _to_change(after, before)[-1]
        return isinstance(renamed, ast.Constant) and renamed.value == value.upper()
    for inner, outer in pairwise(path[::-1]):
        match outer:
            case ast.keyword():
                return text and (outer.arg in WORDING_KEYWORDS or (outer.arg == "where" and words))
            case ast.Call(func=func, args=args) if inner in args:
                raised = any(isinstance(above, ast.Raise) and above.exc is outer for above in path)
                name = _last_name(func)
                told = raised or name in WORDING_CALLS or (words and name in PROBLEM_CALLS)
                return (text and told) or (name == "cast" and inner is args[0])
            case ast.IfExp() if inner is not outer.test:
                pass
            case ast.BinOp() | ast.JoinedStr() | ast.FormattedValue():
                pass
            case ast.Assign(targets=[ast.Name(id=name)]):
                return words and name in WORDING_KEYWORDS
            case _:
                break
    return False


def _to_change(before: ast.AST, after: ast.AST) -> list[ast.AST]:
    """The nodes from the root down to the first that differs in kind or value; empty when none does."""
    if type(before) is not type(after):
        return [before]
    if isinstance(before, ast.Constant) and ast.dump(before) != ast.dump(after):
        return [before]
    for ours, theirs in zip(ast.iter_child_nodes(before), ast.iter_child_nodes(after), strict=False):
        found = _to_change(ours, theirs)
        if found:
            return [before, *found]
    return []


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """Code that mutmut does not mutate."""

    module: str
    line: int
    what: str
    why: str


def skipped(module: str, source: str) -> list[Skipped]:
    """Everything in a file that can go wrong and that mutmut passes over in silence.

    Left out are imports, docstrings, and names that are declared without a value.
    """
    found: list[Skipped] = []

    def add(node: ast.stmt | ast.expr, what: str, why: str) -> None:
        found.append(Skipped(module=module, line=node.lineno, what=what, why=why))

    def function(
        node: ast.FunctionDef | ast.AsyncFunctionDef,
        prefix: str = "",
        untouched: frozenset[str] = UNTOUCHED_NAMES,
    ) -> None:
        if not _plain_function(node):
            add(node, f"{prefix}{node.name}", "decorated function")
        elif node.name in untouched:
            add(node, f"{prefix}{node.name}", "function left alone by name")

    def members(node: ast.ClassDef) -> None:
        enumeration = any(_last_name(base) in ENUM_NAMES for base in node.bases)
        untouched = UNTOUCHED_NAMES | ENUM_HOOKS if enumeration else UNTOUCHED_NAMES
        for inner in node.body:
            if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                function(inner, f"{node.name}.", untouched)
            elif isinstance(inner, ast.ClassDef):
                add(inner, f"{node.name}.{inner.name}", "class inside a class")
            elif _acts(inner):
                add(inner, f"{node.name}: {_first_line(inner)}", "class body")

    for statement in ast.parse(source).body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            function(statement)
        elif isinstance(statement, ast.ClassDef):
            members(statement)
        elif _acts(statement):
            add(statement, _first_line(statement), "module level")
    return found


def function_lines(source: str) -> list[tuple[str, range]]:
    """Each function that mutmut mutates, with its lines."""
    found: list[tuple[str, range]] = []
    for statement in ast.parse(source).body:
        inner = statement.body if isinstance(statement, ast.ClassDef) else [statement]
        prefix = f"{statement.name}." if isinstance(statement, ast.ClassDef) else ""
        found.extend(
            (f"{prefix}{node.name}", range(node.lineno, (node.end_lineno or node.lineno) + 1))
            for node in inner
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and _plain_function(node)
            and node.name not in UNTOUCHED_NAMES
        )
    return found


def _plain_function(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """True without decorators, or with exactly one that is `staticmethod` or `classmethod`."""
    names = [ast.unparse(decorator) for decorator in node.decorator_list]
    return names in ([], ["staticmethod"], ["classmethod"])


def _acts(node: ast.stmt) -> bool:
    """True for a statement that computes something when the file is imported."""
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Pass():
            return False
        case ast.AnnAssign(value=None):
            return False
        case ast.Expr(value=ast.Constant()):
            return False
        case ast.Assign(targets=[ast.Name(id="__all__")]):
            return False
        case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING"), orelse=[]):
            return False
        case _:
            return True


def _last_name(node: ast.expr) -> str:
    return ast.unparse(node).rpartition(".")[2]


def _first_line(node: ast.stmt) -> str:
    return ast.unparse(node).splitlines()[0][:60]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Part `number` of `of` (both from 1) of all mutants; which part, the mutant's name alone decides."""

    number: int
    of: int

    @property
    def leg(self) -> str:
        """The name under which the ledger knows it."""
        return f"shard-{self.number}-of-{self.of}"

    def holds(self, name: str) -> bool:
        """True for the mutants of this part."""
        return _hashed(name) % self.of == self.number - 1

    @classmethod
    def read(cls, text: str) -> "Shard | None":
        """`2/4` as a shard; None when it is not one."""
        parts = text.split("/")
        if len(parts) != 2 or not all(part.isdecimal() for part in parts):
            return None
        shard = cls(number=int(parts[0]), of=int(parts[1]))
        return shard if 1 <= shard.number <= shard.of else None


def spread(names: Collection[str], seed: str) -> list[str]:
    """All names in an order that the seed alone decides."""
    return sorted(names, key=lambda name: (_hashed(f"{seed} {name}"), name))


def interleaved(groups: Sequence[Sequence[str]]) -> Iterator[str]:
    """One of each group in turn, until all are given."""
    for turn in zip_longest(*groups):
        yield from (name for name in turn if name is not None)


def _hashed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
