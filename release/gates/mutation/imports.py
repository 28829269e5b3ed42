"""Which tests judge a module, and everything their word depends on.

Pure: works on a mapping of paths to source texts. A module is judged by its own tests alone, so that one run
is quick, a verdict does not change with a distant test, and a module whose tests are missing shows.
"""

import ast
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

__all__ = ["Graph", "dotted", "is_test"]


def dotted(path: str) -> str:
    """The name under which a file is imported."""
    name = path.removeprefix("src/").removesuffix(".py").removesuffix("/__init__")
    return name.replace("/", ".")


def is_test(path: str) -> bool:
    """True for a file that pytest collects."""
    parts = PurePosixPath(path)
    return parts.parts[0] == "tests" and parts.name.startswith("test_") and parts.suffix == ".py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Who imports whom among the checkout's own files."""

    sources: Mapping[str, str]
    """Path, with `/`, from the checkout's root -> text: the Python files below src, release and tests."""
    direct: Mapping[str, frozenset[str]]
    """Path -> paths of the modules that its import statements name."""
    by_name: Mapping[str, frozenset[str]]
    """Path -> paths of the modules whose names are texts in it: what it may import at run time."""
    named: Mapping[str, Sequence[str]]
    """Module -> files or folders of the tests that judge it, in place of those the rules find."""
    _reached: dict[tuple[str, bool], frozenset[str]] = field(
        default_factory=dict[tuple[str, bool], frozenset[str]], repr=False, compare=False
    )

    @classmethod
    def of(cls, sources: Mapping[str, str], *, named: Mapping[str, Sequence[str]] | None = None) -> "Graph":
        """Read the import statements of all files.

        Args:
            sources: Path -> text.
            named: Module -> files or folders of the tests that judge it, whatever their names.

        Raises:
            SyntaxError: one of them is no Python.
        """
        paths = {dotted(path): path for path in sources}
        found = {path: _imported(path, text, paths.__contains__) for path, text in sources.items()}
        return cls(
            sources=sources,
            named=named or {},
            direct={path: frozenset(paths[name] for name in names) for path, (names, _) in found.items()},
            by_name={path: frozenset(paths[name] for name in texts) for path, (_, texts) in found.items()},
        )

    def reached(self, path: str, *, by_name: bool = False) -> frozenset[str]:
        """Every file that importing `path` runs, itself and the packages around them included.

        Args:
            path: Where to start.
            by_name: Follow what is imported by name at run time, too.
        """
        if (path, by_name) in self._reached:
            return self._reached[path, by_name]
        found: set[str] = set()
        waiting = [path]
        while waiting:
            current = waiting.pop()
            if current in found:
                continue
            found.add(current)
            waiting.extend(self.direct[current])
            waiting.extend(self._around(current))
            if by_name:
                waiting.extend(self.by_name[current])
        return self._reached.setdefault((path, by_name), frozenset(found))

    def _around(self, path: str) -> Iterable[str]:
        """The packages a file lies in, and the conftest files that pytest runs before a test."""
        for folder in PurePosixPath(path).parents:
            around = (str(folder / "__init__.py"), str(folder / "conftest.py"))
            yield from (each for each in around if each in self.sources)

    def own_tests(self, module: str) -> tuple[str, ...]:
        """The test files that judge a module, sorted: those in `named`, or those found by these rules.

        The first rule that finds any decides.

        1. They import it and are named after it: `test_locks.py`, `test_locks_drift.py`, `test_our_locks.py`.
        2. They are named after it and lie where the mirror of its folder is.
        3. They import it.
        4. They lie where the mirror of its folder is and reach it.
        5. They reach it.
        """
        stem = _stem(module)
        mirror = _mirror(module)
        stems = {_stem(path) for path in self.sources}
        tests = [path for path in sorted(self.sources) if is_test(path)]

        def after(path: str) -> bool:
            return stem in _named_after(path, stems)

        def imports(path: str) -> bool:
            return module in self.direct[path]

        def beside(path: str) -> bool:
            return str(PurePosixPath(path).parent) == mirror

        def reaches(path: str) -> bool:
            return module in self.reached(path)

        rules: tuple[Callable[[str], bool], ...] = (
            lambda path: after(path) and imports(path),
            lambda path: after(path) and beside(path) and reaches(path),
            imports,
            lambda path: beside(path) and reaches(path),
            reaches,
        )
        if module in self.named:
            rules = (
                lambda path: any(PurePosixPath(path).is_relative_to(each) for each in self.named[module]),
            )
        for rule in rules:
            found = tuple(path for path in tests if rule(path))
            if found:
                return found
        return ()

    def inputs(self, module: str, tests: Iterable[str], outside: str) -> str:
        """A digest of all that the verdicts on a module's mutants depend on.

        Args:
            module: The module.
            tests: The files that judge it.
            outside: Digest of what no import statement names: data files, tools, settings.
        """
        digest = hashlib.sha256(outside.encode())
        reached = self.reached(module, by_name=True).union(
            *(self.reached(test, by_name=True) for test in tests)
        )
        for path in sorted(reached):
            digest.update(f"\n{path} {hashlib.sha256(self.sources[path].encode()).hexdigest()}".encode())
        return digest.hexdigest()


def _stem(module: str) -> str:
    """What a module's tests are named after: `_keys.py` is `keys`, a package's `__init__.py` the package."""
    path = PurePosixPath(module)
    name = path.parent.name if path.stem == "__init__" else path.stem
    return name.removeprefix("_")


def _named_after(test: str, stems: Iterable[str]) -> list[str]:
    """The stems that a test file's name has in it; of several only the longest."""
    name = f"_{PurePosixPath(test).stem.removeprefix('test_')}_"
    within = [stem for stem in stems if f"_{stem}_" in name]
    return [stem for stem in within if len(stem) == max(map(len, within))]


def _mirror(module: str) -> str:
    """The folder of tests that mirrors a module's folder."""
    folder = PurePosixPath(module).parent
    if folder.parts[0] == "src":
        return str(PurePosixPath("tests", "library", *folder.parts[2:]))
    return str(PurePosixPath("tests", folder))


def _imported(path: str, text: str, known: Callable[[str], bool]) -> tuple[set[str], set[str]]:
    """The checkout's modules that a file names: in import statements, and as texts."""
    name = dotted(path)
    package = name if path.endswith("/__init__.py") else name.rpartition(".")[0]
    found: set[str] = set()
    texts: set[str] = set()
    for node in ast.walk(ast.parse(text, filename=path)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            inner = {f"{base}.{alias.name}" for alias in node.names}
            modules = {each for each in inner if known(each)}
            found.update(modules)
            if len(modules) < len(inner):
                found.add(base)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.add(node.value)
    found, texts = ({each for each in names if known(each)} - {name} for names in (found, texts))
    return found, texts
