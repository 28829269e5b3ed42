"""The whole of a tree: which files change to what, and what is left for a person.

Reads the disk through `read_workspace`; writes nothing.
"""

import ast
import difflib
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from pathlib import PurePosixPath

import libcst as cst

from tta_agent_coordination.adopt.findings import Finding
from tta_agent_coordination.adopt.imports.byhand import by_hand
from tta_agent_coordination.adopt.imports.copies import Copies, Copy, Named, module_file
from tta_agent_coordination.adopt.imports.moved import MODULES, PACKAGE, Target
from tta_agent_coordination.adopt.imports.rewriting import Ask, rewrite
from tta_agent_coordination.adopt.imports.shim import shimmed
from tta_agent_coordination.adopt.tree import Workspace

__all__ = ["Plan", "Statement", "imported_names", "make", "parsed", "sources"]

_PROSE = frozenset(
    {".cfg", ".ini", ".ipynb", ".json", ".md", ".rst", ".sh", ".toml", ".txt", ".yaml", ".yml"}
)
_MARK = "\ufeff"
"""What some editors begin a file with."""
_MOST_BYTES = 1_000_000
"""Files beyond it are data, not text about modules."""
_WHOLE = "|".join(
    re.escape(module).replace(r"\.", "[./]") for module in sorted(MODULES, key=len, reverse=True)
)
_NAMES_A_MODULE = re.compile(
    rf"(?:agent_orchestration|tta_ai[./]orchestration)[./](?:{_WHOLE})(?![A-Za-z0-9_])"
)


_DOTTED = re.compile(r"^[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One import of what moved: where, from which module, and whether it names something that stays too."""

    file: str
    line: int
    module: str
    split: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What would change, and what a person has to do. Paths are relative to the tree, with `/`."""

    old: Mapping[str, str]
    new: Mapping[str, str]
    """The new text of each file that changes."""
    files: int
    """How many Python files were read."""
    modules: tuple[str, ...]
    """Modules of v0 that become re-exports."""
    statements: tuple[Statement, ...]
    """Import statements that come to name this package."""
    findings: tuple[Finding, ...]
    """By file and line; lines are those of `new`, see `as_before`."""

    def as_before(self) -> tuple[Finding, ...]:
        """The findings with the lines of the files as they are before the change."""
        lines = {path: _lines_before(self.old[path], text) for path, text in self.new.items()}
        return tuple(
            replace(each, line=lines[each.file].get(each.line, 1)) if each.file in lines else each
            for each in self.findings
        )


def _lines_before(old: str, new: str) -> dict[int, int]:
    """The old line of each new one, counted from 1; a new statement is where the one before it was."""
    found: dict[int, int] = {}
    matcher = difflib.SequenceMatcher(None, old.splitlines(), new.splitlines(), autojunk=False)
    for _, start, _, begin, end in matcher.get_opcodes():
        for number in range(begin, end):
            found[number + 1] = start + 1
    for block in matcher.get_matching_blocks():
        for number in range(block.size):
            found[block.b + number + 1] = block.a + number + 1
    return found


def sources(workspace: Workspace) -> dict[str, str]:
    """The Python files of a tree; links are left out, since what they lead to is changed where it lies."""
    return {
        path: text
        for path, text in workspace.texts.items()
        if path.endswith(".py") and not (workspace.root / path).is_symlink()
    }


def parsed(texts: Mapping[str, str]) -> tuple[dict[str, ast.Module], list[Finding]]:
    """The syntax tree of each file that may name v0, and a finding for each that is no Python."""
    trees: dict[str, ast.Module] = {}
    broken: list[Finding] = []
    for path, text in texts.items():
        if "orchestration" in text or "orchestration" in path:
            try:
                trees[path] = _tree(text)
            except _UNREADABLE as error:
                broken.append(_broken(path, error))
    return trees, broken


_UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError, cst.ParserSyntaxError)
"""What a file can do to the two parsers."""


def _tree(text: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text.removeprefix(_MARK))


def _broken(path: str, error: Exception) -> Finding:
    return Finding(
        rule="input.python",
        file=path,
        line=getattr(error, "lineno", None) or 1,
        what=f"is no Python: {getattr(error, 'msg', None) or str(error) or type(error).__name__}",
        remedy="correct it; it was left as it is",
    )


def make(workspace: Workspace, *, rewriting: bool) -> Plan:
    """Say what changes in a tree.

    The modules that define what moved become re-exports in every copy. A file that cannot be read stops only
    itself.

    Args:
        workspace: The tree.
        rewriting: Whether imports come to name this package; without it no other file changes.
    """
    making = _Making(workspace)
    making.shim()
    if rewriting:
        making.rewrite()
    return making.plan()


class _Making:
    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.old = sources(workspace)
        self.new: dict[str, str] = {}
        self.trees, self.problems = parsed(self.old)
        self.problems += [each for each in workspace.unread if each.rule != "input.pyproject"]
        self.copies = Copies(self.old.keys(), self.trees)
        self.modules: list[str] = []
        self.statements: list[Statement] = []

    def _change(self, path: str, change: Callable[[str], str]) -> bool:
        """Change one file; one that a parser gives up on stays as it is, with a finding."""
        before = self.new.get(path, self.old[path])
        mark = before[: before.startswith(_MARK)]
        try:
            after = mark + change(before.removeprefix(mark))
            tree = _tree(after) if after != before else None
        except _UNREADABLE as error:
            self.problems.append(_broken(path, error))
            return False
        if tree is not None:
            self.new[path] = after
            self.trees[path] = tree
        return tree is not None

    def shim(self) -> None:
        wanted = imported_names(self.trees, self.copies)
        for copy in self.copies.all:
            for module, table in MODULES.items():
                path = copy.file(module)
                if path in self.trees:
                    needed = wanted.get(path, set())
                    if self._change(path, partial(shimmed, table=table, wanted=needed)):
                        self.modules.append(path)

    def rewrite(self) -> None:
        """Ask of the trees as the re-exports left them: a half that stays in TTA is not this package's."""
        for path in [*self.trees]:
            ask = partial(self._target, path)
            found = [*_statements(path, self.trees[path], ask)]
            if found and self._change(path, partial(rewrite, ask=ask)):
                self.statements += found

    def _target(self, path: str, level: int, module: str, name: str) -> Target | None:
        named = self.copies.named(path, level, module)
        return self.copies.target(named, name) if named is not None else None

    def plan(self) -> Plan:
        texts = {**self.old, **self.new}
        found = [*self.problems, *_twice(self.copies, texts), *_prose(self.workspace)]
        for path, tree in self.trees.items():
            found += by_hand(path, tree, self.copies)
        return Plan(
            old=self.old,
            new=self.new,
            files=len(self.old),
            modules=tuple(self.modules),
            statements=tuple(self.statements),
            findings=tuple(sorted(found, key=lambda each: (each.file, each.line, each.rule, each.what))),
        )


def _statements(path: str, tree: ast.Module, ask: Ask) -> Iterator[Statement]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = node.module or ""
            moved = [ask(node.level, module, alias.name) is not None for alias in node.names]
            if any(moved):
                shown = "." * node.level + module
                yield Statement(file=path, line=node.lineno, module=shown, split=not all(moved))


def imported_names(trees: Mapping[str, ast.Module], copies: Copies) -> dict[str, set[str] | None]:
    """By file of a copy: the names that other files take from it; None where that is whatever it has."""
    found: dict[str, set[str] | None] = {}

    def takes(named: Named | None, name: str | None) -> None:
        if named is None or named.copy is None or named.module not in MODULES:
            return
        file = named.copy.file(named.module)
        known = found.setdefault(file, set())
        if name is None:
            found[file] = None
        elif known is not None:
            known.add(name)

    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    takes(copies.named(path, 0, alias.name), None)
            elif isinstance(node, ast.ImportFrom):
                module = node.module or ""
                for alias in node.names:
                    takes(copies.named(path, node.level, module), None if alias.name == "*" else alias.name)
                    takes(copies.named(path, node.level, f"{module}.{alias.name}"), None)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                for module, name in _dotted(node.value):
                    takes(copies.named(path, 0, module), name)
    return found


def _dotted(text: str) -> Iterator[tuple[str, str]]:
    """Each way to read a dotted text as a module and a name in it."""
    if _DOTTED.match(text):
        parts = text.split(".")
        yield from ((".".join(parts[:at]), parts[at]) for at in range(2, len(parts)))


def _twice(copies: Copies, texts: Mapping[str, str]) -> Iterator[Finding]:
    """`module.copies`: a line for each of v0's modules that lies in two copies, one for all others."""
    for first, second in combinations(copies.all, 2):
        for module in MODULES:
            one, other = first.file(module), second.file(module)
            if one in texts and other in texts:
                same = "the same" if texts[one] == texts[other] else "another"
                yield Finding(
                    rule="module.copies",
                    file=one,
                    what=f"is in {other} too, {same} text",
                    remedy="choose the copy that stays, then delete the other",
                )
        rest = _below(first, texts) & _below(second, texts) - {module_file(module) for module in MODULES}
        if rest:
            yield Finding(
                rule="module.copies",
                file=first.folder,
                what=f"has {len(rest)} more modules that are in {second.folder} too",
                remedy="choose the copy that stays, then delete the other",
            )


def _below(copy: Copy, texts: Mapping[str, str]) -> set[str]:
    start = f"{copy.folder}/"
    return {path.removeprefix(start) for path in texts if path.startswith(start)}


def _prose(workspace: Workspace) -> Iterator[Finding]:
    """`prose.module`: a document, setting or script that names a module that moved."""
    for path in sorted(workspace.paths):
        file = workspace.root / path
        if PurePosixPath(path).suffix not in _PROSE or file.is_symlink():
            continue
        try:
            if file.stat().st_size > _MOST_BYTES:
                continue
            text = file.read_bytes().decode("utf-8", "replace")
        except OSError as error:
            yield Finding(
                rule="input.unreadable",
                file=path,
                what=f"cannot be read: {error.strerror}",
                remedy="give the user who runs this the right to read it",
            )
            continue
        hits = [*_NAMES_A_MODULE.finditer(text)]
        if hits:
            yield Finding(
                rule="prose.module",
                file=path,
                line=text[: hits[0].start()].count("\n") + 1,
                what=f"names a module that moved, {hits[0].group()}"
                + (f", and {len(hits) - 1} more" if hits[1:] else ""),
                remedy=f"say that it is in {PACKAGE} now",
            )
