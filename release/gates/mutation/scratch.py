"""Where mutants live: copies of the checkout outside of it, and what is kept in `mutants/` between runs.

The copies stand in a temporary folder, not in the checkout: a mutant that loses its working directory then
finds no git repository above it to damage.
"""

import fnmatch
import hashlib
import json
import os
import shutil
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from release.context import Context
from release.gates.mutation.floors import FLOORS
from release.gates.mutation.verdicts import SURVIVORS
from release.model import Problem, Refused
from release.runner import Finished

__all__ = ["Kept", "Settings", "Slot", "ask_git", "environment", "files", "outside", "snapshot"]

SOURCE_ROOTS = ("src/", "release/", "tests/")
"""Python files below these are followed by their imports; all other files count as data."""

SECRET = ("TWINE_", "UV_PUBLISH_", "ACTIONS_ID_TOKEN_", "GIT_")
"""Beginnings of names in the environment that mutated code does not get."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What pyproject.toml says of mutation."""

    roots: tuple[str, ...]
    """Folders whose modules are mutated."""
    left_out: tuple[str, ...]
    """Patterns of modules that are not."""
    tests: Mapping[str, Sequence[str]]
    """Module -> files or folders of the tests that judge it, where names and imports do not tell."""

    @classmethod
    def read(cls, text: str) -> "Settings":
        """Read the text of a pyproject.toml; what it does not say is empty."""
        tool = tomllib.loads(text).get("tool", {})
        mutmut = tool.get("mutmut", {})
        return cls(
            roots=tuple(mutmut.get("source_paths", ())),
            left_out=tuple(mutmut.get("do_not_mutate", ())),
            tests=dict(tool.get("tta-release", {}).get("mutation-tests", {})),
        )

    def mutated(self, path: str) -> bool:
        """True for a module that is mutated."""
        file = PurePosixPath(path)
        below = any(file.is_relative_to(root) for root in self.roots)
        return (
            below and file.suffix == ".py" and not any(fnmatch.fnmatch(path, each) for each in self.left_out)
        )


def ask_git(context: Context, *words: str) -> Finished:
    """What git answers, which may be that it knows no such thing."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return context.runner(["git", *words], cwd=context.root, env=env | {"LC_ALL": "C"})


def git(context: Context, *words: str) -> str:
    """What git prints.

    Raises:
        Refused: when it fails.
    """
    finished = ask_git(context, *words)
    if not finished.ok:
        raise Refused(
            Problem(
                rule="mutation.git",
                where="the git checkout",
                what=f"git {words[0]} failed: {finished.tail(5)}",
                remedy="run this in a clone of the repository that has its main branch",
            )
        )
    return finished.stdout


def files(context: Context) -> list[str]:
    """Every file of the checkout that is there and not ignored, sorted."""
    listed = git(context, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    return sorted({name for name in listed.split("\0") if name and (context.root / name).is_file()})


def snapshot(context: Context, names: Iterable[str], folder: Path) -> None:
    """Copy the named files into a new folder and give the copy the package's metadata, as an install would.

    Raises:
        Refused: when the build backend cannot make the metadata.
    """
    for name in names:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(context.root / name, target)
    code = "import sys, hatchling.build as b; b.prepare_metadata_for_build_wheel(sys.argv[1])"
    made = context.runner([sys.executable, "-P", "-c", code, str(folder)], cwd=folder)
    if not made.ok:
        raise Refused(
            Problem(
                rule="mutation.metadata",
                where="pyproject.toml",
                what=f"no package metadata could be made from the tree:\n{made.tail(10)}",
                remedy="run `nox -s build` and mend what it names",
            )
        )


def outside(root: Path, names: Iterable[str], *, tool: str) -> str:
    """A digest of what verdicts depend on besides imported Python: data files, settings, the tools.

    Floors, explanations and prose are left out: no test run depends on them.

    Args:
        root: Where the files are.
        names: All files of the tree.
        tool: mutmut's version.
    """
    digest = hashlib.sha256(f"{sys.version} mutmut {tool}".encode())
    for name in names:
        followed = name.endswith(".py") and name.startswith(SOURCE_ROOTS)
        if followed or name.endswith(".md") or name in (FLOORS, SURVIVORS):
            continue
        data = (root / name).read_bytes()
        if name == "pyproject.toml":
            table = tomllib.loads(data.decode())
            table.get("tool", {}).pop("tta-release", None)
            data = json.dumps(table, sort_keys=True, default=str).encode()
        digest.update(f"\n{name} {hashlib.sha256(data).hexdigest()}".encode())
    return digest.hexdigest()


def environment(pristine: Path, temporary: Path) -> dict[str, str]:
    """The environment of a mutant's tests: no secret, no other lane, a temporary folder of its own.

    Programs that a test starts import the package from the unmutated copy, not from the checkout.
    """
    dropped = ("CI", "TTA_REQUIRE_REDIS", "PYTEST_ADDOPTS", "PYTHONSTARTUP", "PYTHONHOME", "VIRTUAL_ENV")
    env = {
        name: value
        for name, value in os.environ.items()
        if name not in dropped and not name.startswith(SECRET) and not name.endswith("_TOKEN")
    }
    path = os.pathsep.join([str(pristine / "src"), str(pristine)])
    return env | {"PYTHONPATH": path, "TMPDIR": str(temporary), "PYTHONHASHSEED": "0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One copy of the project in which one module at a time is the mutated one."""

    folder: Path
    pristine: Path
    """The project as it was exported, which no test writes to."""

    @classmethod
    def make(cls, folder: Path, pristine: Path) -> "Slot":
        """Make the folder, unless that was done before; `prepare` lays the project in it.

        mutmut wants its settings beside the copy, and the copy in `mutants/`.
        """
        if not folder.exists():
            folder.mkdir()
            shutil.copy2(pristine / "pyproject.toml", folder)
        return cls(folder=folder, pristine=pristine)

    @property
    def project(self) -> Path:
        """The copy."""
        return self.folder / "mutants"

    @property
    def results(self) -> Path:
        """Where the answers of the current module go, a line each."""
        return self.folder / "results.jsonl"

    @property
    def temporary(self) -> Path:
        """Where the current module's tests put their files."""
        return self.folder / "tmp"

    def prepare(self, module: str, code: str) -> str:
        """Put the mutated module in place; returns the original.

        A mutant of an earlier module may have written to the copy, so all files are laid anew.
        """
        shutil.copytree(self.pristine, self.project, dirs_exist_ok=True)
        self.results.unlink(missing_ok=True)
        shutil.rmtree(self.temporary, ignore_errors=True)
        self.temporary.mkdir()
        original = (self.project / module).read_text(encoding="utf-8")
        (self.project / module).write_text(code, encoding="utf-8")
        return original

    def restore(self, module: str, original: str) -> None:
        """Put the original back, and remove what the module's tests left."""
        (self.project / module).write_text(original, encoding="utf-8")
        self.results.unlink(missing_ok=True)
        shutil.rmtree(self.temporary, ignore_errors=True)

    def answers(self) -> list[tuple[str, str, int]]:
        """Kind, name and exit code of each answer so far; a line that is being written is left out."""
        if not self.results.exists():
            return []
        lines = self.results.read_text(encoding="utf-8").splitlines(keepends=True)
        read = [json.loads(line) for line in lines if line.endswith("\n")]
        return [(each["kind"], each["name"], each["code"]) for each in read]

    def codes(self) -> dict[str, int]:
        """Exit code by mutant so far."""
        return {name: code for kind, name, code in self.answers() if kind == "mutant"}

    def judged(self) -> int:
        """How many mutants of the current module are judged."""
        return len(self.codes())


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Verdicts and generated mutants of earlier runs, in `mutants/`, which git ignores."""

    folder: Path
    tool: str
    """mutmut's version: another one makes other mutants."""

    def codes(self, module: str, inputs: str) -> dict[str, int]:
        """Exit codes by mutant from runs on exactly these inputs; empty when anything has changed."""
        path = self._verdicts(module)
        if not path.exists():
            return {}
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError:
            return {}
        return dict(kept["codes"]) if kept["inputs"] == inputs else {}

    def keep(self, module: str, inputs: str, codes: Mapping[str, int]) -> None:
        """Keep exit codes, beside those of other shards on the same inputs."""
        path = self._verdicts(module)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        known = self.codes(module, inputs) | dict(codes)
        partial.write_text(json.dumps({"inputs": inputs, "codes": known}), encoding="utf-8")
        partial.replace(path)

    def generated(self, module: str, source: str, lines: Sequence[int] | None) -> Path:
        """Where the mutants of exactly this source are, or are to be put."""
        text = f"{self.tool}\n{module}\n{'all' if lines is None else list(lines)}\n{source}"
        return self.folder / "generated" / f"{hashlib.sha256(text.encode()).hexdigest()}.json"

    def forget(self, used: Iterable[Path]) -> None:
        """Remove generated mutants of sources that are no more."""
        keep = set(used)
        for path in (self.folder / "generated").glob("*.json"):
            if path not in keep:
                path.unlink()

    def _verdicts(self, module: str) -> Path:
        return self.folder / "verdicts" / f"{module.replace('/', '.')}.json"
