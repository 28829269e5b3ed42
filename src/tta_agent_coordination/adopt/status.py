"""How far a tree has come: its copies, its imports, the dependency, and which steps of the guide are open.

Judges what `plan` finds; changes nothing.
"""

import ast
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from packaging.utils import canonicalize_name

from tta_agent_coordination.adopt.dependency import NAME
from tta_agent_coordination.adopt.imports import plan
from tta_agent_coordination.adopt.imports.copies import Copies
from tta_agent_coordination.adopt.imports.moved import MODULES
from tta_agent_coordination.adopt.tables import at, table
from tta_agent_coordination.adopt.tree import Workspace

__all__ = ["CopyLeft", "Status", "Step", "as_json", "as_text", "look"]

_NOT_BY_HAND = frozenset({"module.copies", "import.module", "import.star"})
"""Rules that a step of their own speaks about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyLeft:
    """One copy of v0 by its folder: modules that define what moved, and modules that only re-export."""

    folder: str
    define: tuple[str, ...]
    only_re_export: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of the guide; `done` is None where only a person can say it."""

    done: bool | None
    what: str
    left: str = ""

    def __str__(self) -> str:
        """One line of a checklist."""
        mark = {True: "[x]", False: "[ ]", None: "[?]"}[self.done]
        return f"{mark} {self.what}" + (f": {self.left}" if self.left else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """All that is known of a tree."""

    copies: tuple[CopyLeft, ...]
    imports: dict[str, int]
    """Import statements of what moved, by the module they name; relative ones by their dots."""
    dependency: str
    by_hand: dict[str, int]
    """Places for a person, by rule."""
    steps: tuple[Step, ...]

    @property
    def open(self) -> int:
        """How many steps are not done, of those that can be seen here."""
        return sum(step.done is False for step in self.steps)


def look(workspace: Workspace) -> Status:
    """Say how far a tree has come."""
    planned = plan.make(workspace, rewriting=True)
    trees, _ = plan.parsed(planned.old)
    copies = Copies(planned.old.keys(), trees)
    left = tuple(
        CopyLeft(
            folder=copy.folder,
            define=tuple(name for name in MODULES if copy.file(name) in planned.modules),
            only_re_export=tuple(
                name for name in MODULES if copy.file(name) in trees and _re_exports(trees[copy.file(name)])
            ),
        )
        for copy in copies.all
    )
    rules = Counter(each.rule for each in planned.findings)
    by_hand = {rule: count for rule, count in sorted(rules.items()) if rule not in _NOT_BY_HAND}
    by_module = Counter(_family(each.module) for each in planned.statements)
    dependency = _dependency(workspace)
    return Status(
        copies=left,
        imports=dict(sorted(by_module.items())),
        dependency=dependency,
        by_hand=by_hand,
        steps=tuple(_steps(left, planned, rules, dependency)),
    )


def _steps(
    copies: tuple[CopyLeft, ...], planned: plan.Plan, rules: Counter[str], dependency: str
) -> Iterator[Step]:
    yield Step(
        done=bool(dependency),
        what=f"{NAME} is required",
        left="" if dependency else "tta-adopt dependency PATH --from git --rev COMMIT",
    )
    define = [f"{copy.folder}/{name}" for copy in copies for name in copy.define]
    yield Step(
        done=not define,
        what="every copy re-exports what moved",
        left=f"{len(define)} modules, by tta-adopt imports PATH --shim" if define else "",
    )
    loose = rules["import.module"] + rules["import.star"]
    statements = len(planned.statements)
    yield Step(
        done=not statements and not loose,
        what="imports name this package",
        left=f"{statements} statements, by tta-adopt imports PATH --rewrite"
        + (f", and {loose} by hand" if loose else "")
        if statements or loose
        else "",
    )
    hand = sum(count for rule, count in rules.items() if rule not in _NOT_BY_HAND)
    yield Step(
        done=not hand,
        what="what no tool can move is moved",
        left=f"{hand} places, which tta-adopt imports PATH --rewrite lists" if hand else "",
    )
    bare = [f"{copy.folder}/{name}" for copy in copies for name in copy.only_re_export]
    yield Step(
        done=not bare and not define,
        what="modules that only re-export are deleted",
        left=", ".join(bare),
    )
    yield Step(
        done=len(copies) <= 1,
        what="one copy is left",
        left=", ".join(copy.folder for copy in copies) if len(copies) > 1 else "",
    )
    yield Step(
        done=dependency.startswith("PyPI"),
        what="the package comes from PyPI",
        left="" if dependency.startswith("PyPI") else "tta-adopt dependency PATH --from pypi",
    )
    yield Step(done=None, what="staging, production and rollback, by the guide's checklists", left="a person")


def _re_exports(tree: ast.Module) -> bool:
    """Whether a module has imports, texts and `__all__`, and nothing else."""
    return all(
        isinstance(node, ast.Import | ast.ImportFrom)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__")
        for node in tree.body
    )


def _family(module: str) -> str:
    """What kind of import it is: relative, or below which root."""
    if module.startswith("."):
        return "relative"
    parts = module.split(".")
    root = next(at for at, part in enumerate(parts) if "orchestration" in part)
    return ".".join(parts[: root + 1])


def _dependency(workspace: Workspace) -> str:
    """Where the package comes from, in words; empty where nothing requires it."""
    for project in workspace.projects:
        for declared in (*project.dependencies, *project.development):
            if declared.name != NAME:
                continue
            for owner in (project, workspace.top):
                sources = table(owner.data, "tool", "uv", "sources") if owner is not None else {}
                for name, source in sources.items():
                    if canonicalize_name(name) == NAME:
                        return _source(source)
            return f"PyPI, {declared.requirement.specifier or 'any version'}"
    return ""


def _source(source: object) -> str:
    for kind in ("git", "path", "url", "index", "workspace"):
        if (value := at(source, kind)) is not None:
            rev = at(source, "rev") or at(source, "tag") or at(source, "branch")
            return f"{kind} {value}" + (f" at {rev}" if rev else "")
    return "a source that is not understood"


def as_text(status: Status) -> str:
    """Lines for a person: copies, imports, the dependency, places for a person, the steps."""
    lines = [
        f"copy {copy.folder}: {len(copy.define)} modules define what moved, "
        f"{len(copy.only_re_export)} only re-export"
        for copy in status.copies
    ]
    if not status.copies:
        lines.append("no copy of v0 is left")
    lines += [f"imports of {module}: {count}" for module, count in status.imports.items()]
    lines.append(f"dependency: {status.dependency or 'none'}")
    lines += [f"by hand, {rule}: {count}" for rule, count in status.by_hand.items()]
    lines += [str(step) for step in status.steps]
    return "".join(f"{line}\n" for line in lines)


def as_json(status: Status) -> str:
    """The same as one JSON object, for programs."""
    return json.dumps({**asdict(status), "open": status.open}, indent=2) + "\n"
