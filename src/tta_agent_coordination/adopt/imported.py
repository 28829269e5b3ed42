"""The rule on imports: whatever a project imports, it declares. Pure; reads the syntax tree, runs nothing."""

import ast
import re
import sys
import tomllib
import warnings
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from tta_agent_coordination.adopt.findings import Finding
from tta_agent_coordination.adopt.tables import BOM, strings
from tta_agent_coordination.adopt.tree import Project, Workspace

__all__ = ["undeclared"]

_OTHER_NAMES = {
    "Bio": ("biopython",),
    "Crypto": ("pycryptodome",),
    "Cryptodome": ("pycryptodomex",),
    "MySQLdb": ("mysqlclient",),
    "PIL": ("pillow",),
    "_cffi_backend": ("cffi",),
    "_pytest": ("pytest",),
    "_yaml": ("pyyaml",),
    "airflow": ("apache-airflow",),
    "allauth": ("django-allauth",),
    "apiclient": ("google-api-python-client",),
    "attr": ("attrs",),
    "bs4": ("beautifulsoup4",),
    "corsheaders": ("django-cors-headers",),
    "cv2": (
        "opencv-python",
        "opencv-python-headless",
        "opencv-contrib-python",
        "opencv-contrib-python-headless",
    ),
    "distutils": ("setuptools",),
    "dns": ("dnspython",),
    "environ": ("django-environ",),
    "fitz": ("pymupdf",),
    "gi": ("pygobject",),
    "git": ("gitpython",),
    "google": (
        "protobuf",
        "googleapis-common-protos",
    ),
    "googleapiclient": ("google-api-python-client",),
    "grpc": ("grpcio",),
    "grpc_health": ("grpcio-health-checking",),
    "grpc_reflection": ("grpcio-reflection",),
    "grpc_status": ("grpcio-status",),
    "grpc_tools": ("grpcio-tools",),
    "imblearn": ("imbalanced-learn",),
    "lightning_fabric": ("lightning",),
    "mpl_toolkits": ("matplotlib",),
    "nio": ("matrix-nio",),
    "osgeo": ("gdal",),
    "pkg_resources": ("setuptools",),
    "psycopg2": ("psycopg2-binary",),
    "pylab": ("matplotlib",),
    "pythoncom": ("pywin32",),
    "pywintypes": ("pywin32",),
    "rest_framework": ("djangorestframework",),
    "shapefile": ("pyshp",),
    "skimage": ("scikit-image",),
    "sklearn": ("scikit-learn",),
    "skopt": ("scikit-optimize",),
    "socks": ("pysocks",),
    "telegram": ("python-telegram-bot",),
    "umap": ("umap-learn",),
    "win32api": ("pywin32",),
    "win32com": ("pywin32",),
    "win32con": ("pywin32",),
    "win32event": ("pywin32",),
    "win32file": ("pywin32",),
    "win32gui": ("pywin32",),
    "win32process": ("pywin32",),
    "win32security": ("pywin32",),
    "win32service": ("pywin32",),
    "wx": ("wxpython",),
    "yaml": (
        "pyyaml",
        "ruamel-yaml",
    ),
}
"""Import names whose distributions are named otherwise; `python-x`, `pyx`, `x-...` go without saying."""

_TESTS = frozenset({"conftest.py", "test", "tests"})
"""Folders and files whose needs the dependency groups declare, wherever they are."""

_SCRIPT = re.compile(r"^# /// script\n(?P<content>(?:#(?: .*)?\n)+?)# ///$", re.MULTILINE)


def undeclared(workspace: Workspace) -> Iterator[Finding]:
    """`import.undeclared`, `input.python`: whatever is imported, some dependency declares.

    Imports inside `try`, `suppress(ImportError)` or `if TYPE_CHECKING` are optional and left alone, and so is
    a project whose backend finds its dependencies.
    """
    modules = {each.folder: _own_modules(each, workspace) for each in workspace.projects}
    providers = {module: each for each in workspace.members for module in modules[each.folder]}
    known: dict[tuple[str, bool], set[str]] = {}
    for path, text in workspace.texts.items():
        project = workspace.owner(path) if path.endswith(".py") else None
        if project is None:
            continue
        try:
            imports = _imported(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            yield Finding(
                rule="input.python",
                file=path,
                line=getattr(error, "lineno", None) or 1,
                what=f"is no Python: {getattr(error, 'msg', None) or str(error) or type(error).__name__}",
                remedy="correct it; its imports were not looked at",
            )
            continue
        if project.dynamic("dependencies"):
            continue
        key = (project.folder, _is_apart(path, project, workspace))
        if key not in known:
            known[key] = _declared(project, workspace, modules, apart=key[1])
        allowed, beside = known[key] | _of_script(text), path.rpartition("/")[0]
        for module, line in sorted(imports.items()):
            if module in sys.stdlib_module_names or module in allowed or _any_of(module, allowed):
                continue
            if f"{beside}/{module}.py" in workspace.paths:
                continue
            source = providers.get(module)
            yield Finding(
                rule="import.undeclared",
                file=path,
                line=line,
                what=f"imports {module}, which no dependency of {project.name or 'the root'} declares",
                remedy=f"declare {source.name if source else 'what it comes from'} in {project.file}",
            )


def _imported(text: str) -> dict[str, int]:
    """The top-level name of each import that is not optional, with its first line."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(text.removeprefix(BOM))
    return {module: line for line, module in sorted(_imports(tree), reverse=True)}


def _packages(project: Project) -> list[str]:
    """The folders that hatchling is told to install."""
    return strings(project.data, "tool", "hatch", "build", "targets", "wheel", "packages")


def _is_apart(path: str, project: Project, workspace: Workspace) -> bool:
    """Whether a file is not installed: a test, a script, an example, the documentation's set-up."""
    relative = path.removeprefix(project.inside(""))
    shipped = ("src/",) if project.inside("src") in workspace.folders else (f"{project.module}/",)
    shipped = tuple(f"{path.strip('/')}/" for path in _packages(project)) or shipped
    return not _TESTS.isdisjoint(PurePosixPath(relative).parts) or not relative.startswith(shipped)


def _own_modules(project: Project, workspace: Workspace) -> set[str]:
    """The import names whose code lies where a project is built from, or beside its pyproject.toml."""
    parents = (path.strip("/").rpartition("/")[0] for path in _packages(project))
    roots = {"", "src/", *(f"{parent}/" for parent in parents)}
    found = {project.module}
    for start in {project.inside(root) for root in roots}:
        for path in workspace.texts:
            if path.endswith(".py") and path.startswith(start):
                found.add(path.removeprefix(start).split("/")[0].removesuffix(".py"))
    return found


def _beside_tests(project: Project, workspace: Workspace) -> set[str]:
    """The names that become importable where a test runner or script puts its own folder on the path."""
    found = set[str]()
    for path in workspace.texts:
        if not path.endswith(".py") or workspace.owner(path) is not project:
            continue
        folder, _, name = path.rpartition("/")
        if f"{folder}/__init__.py" not in workspace.paths:
            found.add(name.removesuffix(".py"))
        # Its folder is a package too, with or without an __init__.py, unless it holds tests and no more.
        folder, _, package = folder.rpartition("/")
        if not name.startswith("test_") and f"{folder}/__init__.py" not in workspace.paths:
            found.add(package)
    return found


def _declared(
    project: Project, workspace: Workspace, modules: Mapping[str, set[str]], *, apart: bool
) -> set[str]:
    """Normalised distribution names that a project's files may import from, and modules of the workspace."""
    declared = {each.name for each in project.dependencies}
    found = set(modules[project.folder])
    if apart:
        top = workspace.top or project
        found |= _beside_tests(project, workspace) | modules[top.folder]
        for owner in (project, top):
            declared |= {each.name for each in (*owner.dependencies, *owner.development, *owner.other)}
    for name in declared:
        if (own := workspace.named(name)) is not None:
            found |= modules[own.folder]
    return declared | found


def _of_script(text: str) -> set[str]:
    """The normalised names that a script's own metadata (PEP 723) requires."""
    found = _SCRIPT.search(text)
    if found is None:
        return set()
    lines = (line.removeprefix("#") for line in found["content"].splitlines())
    try:
        written = strings(tomllib.loads("\n".join(lines)), "dependencies")
        return {canonicalize_name(Requirement(text).name) for text in written}
    except (tomllib.TOMLDecodeError, InvalidRequirement, RecursionError):
        return set()


def _any_of(module: str, declared: set[str]) -> bool:
    """Whether one of the declared distributions provides a module, judged by their names."""
    name = canonicalize_name(module)
    candidates = {name, f"python-{name}", f"py{name}", f"{name}-python", *_OTHER_NAMES.get(module, ())}
    return (
        not candidates.isdisjoint(declared)
        or any(each.startswith(f"{name}-") for each in declared)
        or name.replace("-", "") in {each.replace("-", "") for each in declared}
    )


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
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in _words(node.test):
            pending += node.orelse
        elif not (isinstance(node, ast.With) and any("suppress" in _words(item) for item in node.items)):
            # Only statements hold imports; expressions are most of a tree.
            for field in ("body", "orelse", "cases"):
                pending += getattr(node, field, ())


def _words(node: ast.AST) -> set[str]:
    """The names and attributes in an expression."""
    each = list(ast.walk(node))
    names = {one.id for one in each if isinstance(one, ast.Name)}
    return names | {one.attr for one in each if isinstance(one, ast.Attribute)}
