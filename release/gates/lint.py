"""The `lint` stage: every tool and every rule of our own runs, then all findings are shown at once."""

import os
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from release import shell
from release.binding import bound_or_none
from release.context import Context
from release.gates.candidate import candidate, install
from release.gates.gate import run_gate
from release.ledger import Ledger
from release.model import Checked, Kind, Problem, Refused, Report
from release.rules import committed, pins, workflows
from release.runner import Finished

__all__ = ["OWN", "Tool", "run", "tools"]


PACKAGE = "tta_agent_coordination"
"""What a user imports; its wheel is installed so that its types are those that a user's checker sees."""

_EDIT = "mend what it names in the file it names"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One linter: what it looks at, how it is called, how its findings are mended."""

    name: str
    package: str
    command: tuple[str, ...]
    remedy: str
    outside: bool = False
    """Run in an empty folder, so that only what is installed can be found."""


def _read_by_github(root: Path) -> tuple[list[str], list[str]]:
    """The workflows and actions below `.github`, as our own rules find them; either suffix counts."""
    workflows: list[str] = []
    actions: list[str] = []
    for path in sorted((root / ".github").rglob("*.y*ml")):
        if path.parent.name == "workflows":
            workflows.append(path.relative_to(root).as_posix())
        elif path.stem == "action":
            actions.append(path.relative_to(root).as_posix())
    return workflows, actions


def tools(root: Path) -> list[Tool]:
    """Every linter of this project, slowest first."""
    python = (sys.executable, "-m")
    schema = (*python, "check_jsonschema", "--builtin-schema")
    workflow_files, action_files = _read_by_github(root)
    return [
        Tool(
            name="pyright",
            package="pyright",
            command=(*python, "pyright", "--pythonpath", sys.executable),
            remedy=_EDIT,
        ),
        Tool(
            name="mypy",
            package="mypy",
            command=(*python, "mypy", "--strict", f"--cache-dir={os.devnull}", "tests/typing"),
            remedy="the typed examples must hold for both checkers: mend the annotation they stumble over",
        ),
        Tool(
            name="public types",
            package="pyright",
            command=(*python, "pyright", "--verifytypes", PACKAGE, "--ignoreexternal"),
            remedy="annotate what it names: a user's checker would have to guess",
            outside=True,
        ),
        Tool(
            name="zizmor",
            package="zizmor",
            command=(
                "zizmor",
                "--offline",
                "--persona",
                "auditor",
                "--strict-collection",
                "--no-progress",
                ".github",
            ),
            remedy=_EDIT,
        ),
        Tool(
            name="ruff check",
            package="ruff",
            command=("ruff", "check", "."),
            remedy="`ruff check --fix .` mends most",
        ),
        Tool(
            name="ruff format",
            package="ruff",
            command=("ruff", "format", "--check", "."),
            remedy="run `ruff format .`",
        ),
        Tool(
            name="workflow schema",
            package="check-jsonschema",
            command=(*schema, "vendor.github-workflows", *workflow_files),
            remedy=_EDIT,
        ),
        Tool(
            name="action schema",
            package="check-jsonschema",
            command=(*schema, "vendor.github-actions", *action_files),
            remedy=_EDIT,
        ),
        Tool(
            name="issue template schema",
            package="check-jsonschema",
            command=(*schema, "vendor.github-issue-config", ".github/ISSUE_TEMPLATE/config.yml"),
            remedy=_EDIT,
        ),
        Tool(
            name="dependabot schema",
            package="check-jsonschema",
            command=(*schema, "vendor.dependabot", ".github/dependabot.yml"),
            remedy=_EDIT,
        ),
        Tool(
            name="pyproject schema",
            package="validate-pyproject",
            command=(*python, "validate_pyproject", "pyproject.toml"),
            remedy=_EDIT,
        ),
        Tool(
            name="spelling",
            package="codespell",
            command=(
                *python,
                "codespell_lib",
                *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "noxfile.py"),
                *(".github", "benchmarks", "docs", "examples", "release", "scripts", "src", "tests"),
            ),
            remedy="mend the word, or add it to [tool.codespell] ignore-words-list with a reason",
        ),
    ]


OWN: dict[str, Callable[[Path], list[Problem]]] = {
    "action pins": pins.check,
    "workflow graph": workflows.check,
    "committed texts": committed.check,
    "shell lines": shell.check,
}
"""The rules this project wrote itself; each reads the tree below a root and returns every problem."""


def run(stage: str, context: Context) -> Report:
    """Run every tool, two at a time, and every rule of our own; refuse with all findings."""
    ledger = bound_or_none(context)
    return run_gate(context, ledger, stage, "all", lambda: look(context, ledger))


def look(context: Context, ledger: Ledger | None) -> Report:
    """All tools and rules over the tree, and the candidate's types as it is installed."""
    env = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
    }

    def one(tool: Tool) -> tuple[Tool, Finished]:
        finished = context.runner(tool.command, cwd=empty if tool.outside else context.root, env=env)
        context.console.print(
            f"  {tool.name}: {'clean' if finished.ok else 'FINDINGS'} ({finished.took_ms} ms)"
        )
        return tool, finished

    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(max_workers=2) as pool:
        wheel, origin = candidate(context, ledger, Path(folder))
        install(context, wheel)
        empty = Path(folder) / "empty"
        empty.mkdir()
        done = list(pool.map(one, tools(context.root)))
    problems = [
        Problem(
            rule=f"lint.{tool.name.replace(' ', '-')}",
            where=tool.name,
            what=f"exit code {finished.code}:\n{finished.tail(80)}",
            remedy=tool.remedy,
        )
        for tool, finished in done
        if not finished.ok
    ]
    for check in OWN.values():
        problems.extend(check(context.root))
    if problems:
        raise Refused(*problems)
    names = [tool.name for tool, _ in done] + list(OWN)
    return Report(
        kind=Kind.DONE,
        sentence=f"{len(names)} checks, no finding",
        checked=[
            Checked(what="checks", found=", ".join(names)),
            Checked(what="candidate", found=f"{wheel.name}, {origin}, installed for its types"),
        ],
        figures={"checks": len(names)},
        tools={tool.package: version(tool.package) for tool, _ in done},
    )
