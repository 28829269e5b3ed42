"""The rule on imports: whatever a project imports, it declares. Pure; reads the syntax tree, runs nothing."""

import ast
import sys
import warnings
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import cast

from tta_agent_coordination.adopt.findings import Finding
from tta_agent_coordination.adopt.tables import strings
from tta_agent_coordination.adopt.tree import Project, Workspace

__all__ = ["undeclared"]

_OTHER_NAMES = {
    "Crypto": ("pycryptodome",),
    "OpenSSL": ("pyopenssl",),
    "PIL": ("pillow",),
    "_pytest": ("pytest",),
    "attr": ("attrs",),
    "bs4": ("beautifulsoup4",),
    "cv2": ("opencv-python", "opencv-python-headless"),
    "fitz": ("pymupdf",),
    "git": ("gitpython",),
    "grpc": ("grpcio",),
    "pkg_resources": ("setuptools",),
    "psycopg2": ("psycopg2-binary",),
    "skimage": ("scikit-image",),
    "sklearn": ("scikit-learn",),
    "yaml": ("pyyaml", "ruamel-yaml"),
}
"""Import names whose distributions are named otherwise; `python-x`, `pyx`, `x-python` go without saying."""

_TESTS = frozenset({"conftest.py", "test", "tests"})
"""Folders and files whose needs the dependency groups declare, wherever they are."""


def undeclared(workspace: Workspace) -> Iterator[Finding]:
    """`import.undeclared`, `input.python`: whatever is imported, some dependency declares.

    Imports inside `try` or `if TYPE_CHECKING` are optional and left alone.
    """
    providers = {module: each for each in workspace.members for module in _own_modules(each, workspace)}
    known: dict[tuple[str, bool], set[str]] = {}
    for path, text in workspace.texts.items():
        project = workspace.owner(path) if path.endswith(".py") else None
        if project is None:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            yield Finding(
                rule="input.python",
                file=path,
                line=getattr(error, "lineno", None) or 1,
                what=f"is no Python: {getattr(error, 'msg', error)}",
                remedy="correct it; its imports were not looked at",
            )
            continue
        relative = path.removeprefix(f"{project.folder}/")
        apart = not _TESTS.isdisjoint(PurePosixPath(relative).parts) or not relative.startswith(
            _shipped(project, workspace)
        )
        key = (project.folder, apart)
        if key not in known:
            known[key] = _declared(project, workspace, apart=apart)
        beside = path.rpartition("/")[0]
        for module, line in sorted({module: line for line, module in _imports(tree)}.items()):
            if module in sys.stdlib_module_names or module in known[key]:
                continue
            if f"{beside}/{module}.py".lstrip("/") in workspace.paths or _any_of(module, known[key]):
                continue
            source = providers.get(module)
            yield Finding(
                rule="import.undeclared",
                file=path,
                line=line,
                what=f"imports {module}, which no dependency of {project.name or 'the root'} declares",
                remedy=f"declare {source.name if source else 'what it comes from'} in {project.file}",
            )


def _shipped(project: Project, workspace: Workspace) -> tuple[str, ...]:
    """Where the sources lie that are installed, as the beginnings of paths relative to the project."""
    listed = strings(project.data, "tool", "hatch", "build", "targets", "wheel", "packages")
    if listed:
        return tuple(f"{path.strip('/')}/" for path in listed)
    return ("src/",) if project.inside("src") in workspace.folders else (f"{project.module}/",)


def _own_modules(project: Project, workspace: Workspace) -> set[str]:
    """The import names whose code lies in a project's folder."""
    found = {project.module} if project.module else set[str]()
    listed = strings(project.data, "tool", "hatch", "build", "targets", "wheel", "packages")
    for root in ["", "src/", "tests/", *(path.rstrip("/").rpartition("/")[0] + "/" for path in listed)]:
        start = project.inside(root.lstrip("/"))
        for path in workspace.texts:
            if path.startswith(start) and path.endswith(".py"):
                found.add(path.removeprefix(start).lstrip("/").split("/")[0].removesuffix(".py"))
    return found - {"src"}


def _declared(project: Project, workspace: Workspace, *, apart: bool) -> set[str]:
    """Normalised distribution names that a project's files may import from, and its own modules."""
    allowed = {each.name for each in project.dependencies} | _own_modules(project, workspace)
    if apart:
        everyone = [project, *([workspace.top] if workspace.top is not None else [])]
        allowed |= {each.name for owner in everyone for each in (*owner.dependencies, *owner.development)}
    for name in list(allowed):
        if (own := workspace.named(name)) is not None:
            allowed |= _own_modules(own, workspace)
    return allowed


def _any_of(module: str, declared: set[str]) -> bool:
    """Whether one of the declared distributions provides a module, judged by their names."""
    name = module.lower().replace("_", "-")
    candidates = {name, f"python-{name}", f"py{name}", f"{name}-python", *_OTHER_NAMES.get(module, ())}
    return not candidates.isdisjoint(declared) or any(each.startswith(f"{name}-") for each in declared)


def _imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and top-level name of each absolute import that is not optional."""
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if not node.level and node.module:
                yield node.lineno, node.module.split(".")[0]
        elif isinstance(node, ast.Try | ast.TryStar):
            pending += [*node.orelse, *node.finalbody]
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending += node.orelse
        else:
            # Only statements hold imports; expressions are most of a tree.
            for field in ("body", "orelse", "handlers", "cases", "finalbody"):
                inner: object = getattr(node, field, ())
                pending += cast("list[ast.AST]", inner) if isinstance(inner, list) else ()
