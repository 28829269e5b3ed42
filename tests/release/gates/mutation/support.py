"""A small project under git, and a runner that answers for mutmut's driver and lets git run."""

import datetime as dt
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from release.context import Context, Options
from release.gates.mutation import driver
from release.gates.mutation.floors import FLOORS
from release.runner import Finished
from tests.release.gates.support import commit_all
from tests.release.runner_support import Call, Double

PYPROJECT = """
[tool.mutmut]
source_paths = ["src", "release"]
do_not_mutate = ["release/left_out.py"]
"""

TREE = {
    ".gitignore": "/ledger/\n/mutants/\n/report/\n",
    "README.md": "words",
    "pyproject.toml": PYPROJECT,
    "release/__init__.py": "",
    "release/a.py": "def make():\n    return 1\n",
    "release/b.py": "from release.a import make\n\ndef twice():\n    return 2 * make()\n",
    "release/left_out.py": "def never():\n    return 1\n",
    "release/untested.py": "def lonely():\n    return 1\n",
    "src/pkg/__init__.py": "",
    "src/pkg/c.py": "def count():\n    return 3\n",
    "tests/library/test_c.py": "from pkg.c import count\n",
    "tests/release/test_a.py": "from release.a import make\n",
    "tests/release/test_b.py": "from release.b import twice\n",
}

FUNCTIONS = {
    "release/a.py": "make",
    "release/b.py": "twice",
    "release/untested.py": "lonely",
    "src/pkg/c.py": "count",
}


def name_of(module: str, number: int) -> str:
    """mutmut's name of a mutant of the tree's modules."""
    dotted = module.removeprefix("src/").removesuffix(".py").replace("/", ".")
    return f"{dotted}.x_{FUNCTIONS[module]}__mutmut_{number}"


def project(root: Path, floors: Mapping[str, int] | None = None) -> Path:
    """Write the tree with these floors and commit it."""
    for name, text in TREE.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    with_floors(root, floors or {})
    commit_all(root)
    return root


def with_floors(
    root: Path,
    floors: Mapping[str, int],
    unexplained: Mapping[str, int] | None = None,
    tail: str = "",
    estimated: Mapping[str, int] | None = None,
) -> None:
    """Write floors, and a reason for each module that has none, uncommitted.

    Args:
        root: The checkout.
        floors: Module, or `*` -> whole per cent.
        unexplained: Module -> mutants that may be left unexplained.
        tail: What stands at the end of the file.
        estimated: Module -> whole per cent.
    """
    named = {**floors, **(estimated or {})}
    reasons = dict.fromkeys((name for name in FUNCTIONS if name not in named), '"not looked at yet"')
    tables = {
        "floors": floors,
        "estimated": estimated or {},
        "unexplained": unexplained or {},
        "none-yet": reasons,
    }
    lines = [
        line
        for table, values in tables.items()
        for line in (f"[{table}]", *(f'"{name}" = {value}' for name, value in values.items()))
    ]
    (root / FLOORS).write_text("\n".join([*lines, tail]), encoding="utf-8")


@dataclass(kw_only=True)
class Machine(Double):
    """A runner. Each function of the tree has three mutants: two of code, the third of wording."""

    codes: dict[str, int] = field(default_factory=dict[str, int])
    """Exit code by mutant; those not named are killed."""
    baseline: int = 0
    control: int = 0
    dies: tuple[int, str] = (0, "")
    """Exit code and output of the judging driver."""
    late: bool = False
    """The judging driver is ended before its first verdict."""
    collects: tuple[int, str] | None = None
    """Exit code and output of a judging driver that cannot import the tests."""
    generates: int = 0
    """Exit code of the generating driver."""
    during: Callable[[], object] = lambda: None
    """Called while a module is judged."""
    judged: list[str] = field(default_factory=list[str])
    """Mutants that were run, in order."""
    modules: list[str] = field(default_factory=list[str])
    """Modules that were judged, in order."""
    jobs: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    environments: list[Mapping[str, str]] = field(default_factory=list[Mapping[str, str]])
    metadata: int = 0

    def answer(self, call: Call) -> Finished:
        words = call.words
        if words[0] == "git":
            return call.really()
        if driver.__file__ not in words:
            assert "prepare_metadata_for_build_wheel" in words[3]
            return call.ended(self.metadata, error="no such backend")
        assert words[words.index("-X") + 1] == "warn_default_encoding"
        job = json.loads(Path(words[-1]).read_text(encoding="utf-8"))
        self.jobs.append(job | {"timeout_s": call.timeout_s, "show": call.show})
        self.environments.append(call.env)
        code, output = self._generate(job) if words[-2] == "generate" else self._judge(job, call.cwd)
        return call.ended(code, output)

    def _generate(self, job: dict[str, list[dict[str, str]]]) -> tuple[int, str]:
        if self.generates:
            return self.generates, "cannot parse"
        for each in job["modules"]:
            module = each["path"]
            mutants: dict[str, list[str]] = {}
            for number, line in enumerate(("return None", "return 7", 'raise ValueError("XXnoXX")'), start=1):
                before = 'raise ValueError("no")' if number == 3 else "return 1"
                name = name_of(module, number) if module in FUNCTIONS else ""
                mangled = name.rpartition(".")[2].partition("__")[0]
                if name:
                    mutants[name] = [
                        f"def {mangled}__mutmut_orig():\n    {before}\n",
                        f"def {mangled}__mutmut_{number}():\n    {line}\n",
                    ]
            out = Path(each["out"])
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(
                json.dumps({"code": f"# mutated {module}\n", "mutants": mutants}), encoding="utf-8"
            )
        return 0, ""

    def _judge(self, job: dict[str, list[str]], cwd: Path) -> tuple[int, str]:
        self.during()
        mutated = [
            path
            for path in (cwd / "mutants").rglob("*.py")
            if path.read_text(encoding="utf-8").startswith("# mutated")
        ]
        assert len(mutated) == 1
        if self.collects:
            return self.collects
        answers: list[dict[str, Any]] = [{"kind": "baseline", "code": self.baseline, "name": ""}]
        if not self.baseline:
            answers.append({"kind": "control", "code": self.control, "name": driver.CONTROL})
        self.modules.extend(path.relative_to(cwd / "mutants").as_posix() for path in mutated)
        if self.late:
            self.dies = (124, "")
        elif not self.baseline and not self.control:
            self.judged.extend(job["mutants"])
            answers += [
                {"kind": "mutant", "code": self.codes.get(name, 1), "name": name} for name in job["mutants"]
            ]
        lines = "".join(json.dumps(each) + "\n" for each in answers)
        Path(str(job["results"])).write_text(lines + '{"kind": "mut', encoding="utf-8")
        return self.dies if self.dies[0] else (0, "1 failed in 0.1s")


def context_of(root: Path, machine: Machine, options: Options | None = None) -> tuple[Context, io.StringIO]:
    """A context over the project with these options and captured output."""
    output = io.StringIO()
    context = Context(
        root=root,
        runner=machine,
        console=Console(file=output, soft_wrap=True, markup=False),
        now=lambda: dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC),
        options=options or Options(),
    )
    return context, output
