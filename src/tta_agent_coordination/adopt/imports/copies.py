"""Where v0 lives in a tree, and what an import of it names: a module of one copy, and the package's own name.

Knows paths, dotted names and the top level of modules; edits nothing.
"""

import ast
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from tta_agent_coordination.adopt.imports.moved import MODULES, PACKAGE, STAYS_WHERE_UNSEEN, Target

__all__ = ["Copies", "Copy", "Named", "module_file", "ours"]

_TAILS = (("agent_orchestration",), ("tta_ai", "orchestration"))
"""How the folder of a copy ends."""
_UNSEEN = ("agent_orchestration", "src.agent_orchestration", "tta_ai.orchestration")
"""Names under which a copy is imported that is installed and not in the tree."""
_SOME = 2
"""So many of v0's modules make a folder a copy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """One copy of v0: its folder, relative to the tree with `/`, and the dotted names it is imported by."""

    folder: str
    names: tuple[str, ...]

    def file(self, module: str) -> str:
        """The path of a module of this copy, relative to the tree."""
        return f"{self.folder}/{module_file(module)}"

    def package(self, module: str) -> str:
        """The path of a module's `__init__.py`, relative to the tree."""
        return "/".join([self.folder, *filter(None, module.split(".")), "__init__.py"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A module that an import names: below which copy (None: one that is not in the tree), and which."""

    copy: Copy | None
    module: str
    """Below the copy's root, dotted; empty for the root itself."""


def module_file(module: str) -> str:
    """The path of a module below its copy."""
    return f"{module.replace('.', '/')}.py"


def ours(module: str | None) -> bool:
    """Whether an absolute module name is this package's."""
    return module is not None and (module == PACKAGE or module.startswith(f"{PACKAGE}."))


def _find(paths: Collection[str]) -> Iterator[Copy]:
    counts: dict[str, int] = {}
    for module in MODULES:
        end = f"/{module_file(module)}"
        for path in paths:
            if path.endswith(end):
                folder = path.removesuffix(end)
                counts[folder] = counts.get(folder, 0) + 1
    for folder, count in counts.items():
        parts = tuple(folder.split("/"))
        tail = next((tail for tail in _TAILS if parts[-len(tail) :] == tail), None)
        if tail is None or count < _SOME:
            continue
        names: list[str] = []
        for start in range(len(parts) - len(tail), -1, -1):
            if not parts[start].isidentifier():
                break
            names.append(".".join(parts[start:]))
        yield Copy(folder=folder, names=tuple(names))


@dataclass(frozen=True, slots=True)
class Copies:
    """The copies of a tree, the ones nearest to its root first.

    `trees` are the syntax trees of its files by path; those of the copies are looked at when it is asked what
    an import gets.
    """

    paths: Collection[str]
    trees: Mapping[str, ast.Module]
    all: tuple[Copy, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Find the copies."""
        found = sorted(_find(self.paths), key=lambda copy: (copy.folder.count("/"), copy.folder))
        object.__setattr__(self, "all", tuple(found))

    def absolute(self, module: str) -> Named | None:
        """Which module of v0 a dotted name without leading dots says; None where it says something else."""
        known = [(copy, name) for copy in self.all for name in copy.names]
        for copy, name in [*known, *((None, name) for name in _UNSEEN)]:
            if module == name or module.startswith(f"{name}."):
                return Named(copy=copy, module=module[len(name) + 1 :])
        return None

    def named(self, file: str, level: int, module: str) -> Named | None:
        """Which module of v0 an import in a file names; None where it names something else.

        Args:
            file: The path of the importing file, relative to the tree.
            level: How many dots the import begins with.
            module: What follows them; may be empty.
        """
        if not level:
            return self.absolute(module)
        parts = file.split("/")
        if len(parts) < level:
            return None
        path = "/".join([*parts[:-level], *filter(None, module.split("."))])
        for copy in self.all:
            if path == copy.folder or path.startswith(f"{copy.folder}/"):
                return Named(copy=copy, module=path[len(copy.folder) + 1 :].replace("/", "."))
        return None

    def target(self, named: Named, name: str) -> Target | None:
        """Where this package has what a module of v0 gives under a name; None where the name is TTA's own."""
        return self._target(named, name, frozenset())

    def _target(self, named: Named, name: str, seen: frozenset[str]) -> Target | None:
        copy = named.copy
        if copy is None:
            return _unseen(named.module, name)
        path = copy.file(named.module)
        if path not in self.paths:
            path = copy.package(named.module)
            if path not in self.paths:
                return _unseen(named.module, name)
        elif named.module not in MODULES:
            return None
        tree = self.trees.get(path)
        if tree is None or path in seen:
            return None
        for node in tree.body:
            if not isinstance(node, ast.ImportFrom):
                continue
            for alias in node.names:
                if (alias.asname or alias.name) != name:
                    continue
                if not node.level and ours(node.module):
                    return Target(module=node.module or "", name=alias.name)
                further = self.named(path, node.level, node.module or "")
                if further is not None:
                    return self._target(further, alias.name, seen | {path})
        return None


def _unseen(module: str, name: str) -> Target | None:
    """What a module gives that cannot be looked at: what v0's did, but for the names TTA keeps."""
    if name in STAYS_WHERE_UNSEEN:
        return None
    if module in MODULES:
        moved = MODULES[module].get(name)
        return moved.target if moved else None
    if module and not any(known.startswith(f"{module}.") for known in MODULES):
        return None
    for known, table in MODULES.items():
        if name in table and known.startswith(module):
            return table[name].target
    return None
