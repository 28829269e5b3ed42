"""Workspaces on disk for the adoption tools' tests: one in order, with the roadmap's four packages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tta_agent_coordination.adopt.cli import main
from tta_agent_coordination.adopt.findings import Finding
from tta_agent_coordination.adopt.rules import check
from tta_agent_coordination.adopt.running import Ended
from tta_agent_coordination.adopt.tree import read_workspace

ROOT = """\
# The workspace's own table.
[project]
name = "tta"
version = "0.1.0"
requires-python = ">=3.12"   # agreed by everyone
dependencies = ["ai-dev-toolkit>=1.0", "tta-narrative-engine>=0.2"]

[tool.uv.workspace]
members = ["packages/*"]

[tool.uv.sources]
ai-dev-toolkit = { workspace = true }
tta-narrative-engine = { workspace = true }

[tool.ruff]
target-version = "py312"

[tool.pyright]
pythonVersion = "3.12"
"""

MEMBER = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "{version}"
requires-python = ">=3.12"
license = "MIT"
license-files = ["LICENSE"]
classifiers = ["Programming Language :: Python :: 3.12"]
dependencies = [{dependencies}]
"""

WORKFLOW = """\
on: push
jobs:
  test:
    strategy:
      matrix:
        python-version: ["3.12", "3.13"]
    steps:
      - uses: actions/setup-python@v6
        with:
          python-version: ${{ matrix.python-version }}
"""

PACKAGES = {
    "ai-dev-toolkit": ("1.0", '"pyyaml>=6"', "import yaml\n"),
    "universal-agent-context": ("0.3", "", "import json\n"),
    "tta-ai-framework": ("0.1", '"universal-agent-context>=0.3"', "import universal_agent_context\n"),
    "tta-narrative-engine": ("0.2", '"tta-ai-framework>=0.1"', "from tta_ai_framework import answer\n"),
}


ENGINE = "packages/tta-narrative-engine/pyproject.toml"
FRAMEWORK = "packages/tta-ai-framework/pyproject.toml"
TOOLKIT = "packages/ai-dev-toolkit/pyproject.toml"
CI = ".github/workflows/ci.yml"


def in_order() -> dict[str, str]:
    """Return the files of a workspace without a violation."""
    files = {
        "pyproject.toml": ROOT,
        "uv.lock": "version = 1\n",
        ".python-version": "3.12\n",
        ".github/workflows/ci.yml": WORKFLOW,
        "Dockerfile": "FROM python:3.12-slim\nCOPY . .\n",
    }
    for name, (version, dependencies, code) in PACKAGES.items():
        text = MEMBER.format(name=name, version=version, dependencies=dependencies)
        own = [other for other in PACKAGES if other in dependencies]
        if own:
            text += "\n[tool.uv.sources]\n" + "".join(f"{other} = {{ workspace = true }}\n" for other in own)
        files[f"packages/{name}/pyproject.toml"] = text
        files[f"packages/{name}/LICENSE"] = "MIT\n"
        files[f"packages/{name}/src/{name.replace('-', '_')}/__init__.py"] = f"{code}answer = 42\n"
    return files


def write(root: Path, files: Mapping[str, str]) -> Path:
    """Write files below a folder and return it."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(text.encode())
    return root


def replaced(path: str, old: str, new: str) -> dict[str, str]:
    """Return the workspace in order with one text of one file changed."""
    files = in_order()
    assert old in files[path], f"{path} does not hold {old!r}"
    return {**files, path: files[path].replace(old, new)}


def without(*paths: str) -> dict[str, str]:
    """Return the workspace in order without some files."""
    return {path: text for path, text in in_order().items() if path not in paths}


def toolkit_with(text: str) -> dict[str, str]:
    """Return the workspace in order with text after one member's pyproject."""
    files = in_order()
    return {**files, TOOLKIT: files[TOOLKIT] + text}


def code(text: str, where: str = "src/ai_dev_toolkit/more.py") -> dict[str, str]:
    """Return the workspace in order with one more Python file in one member."""
    return {**in_order(), f"packages/ai-dev-toolkit/{where}": text}


def more(path: str, text: str) -> dict[str, str]:
    """Return the workspace in order with one more file."""
    return {**in_order(), path: text}


def nested_licence() -> dict[str, str]:
    """Return a licence file deeper than a pattern reaches."""
    return {"packages/ai-dev-toolkit/LICENSES/a/b.txt": ""}


def all_with(old: str, new: str) -> dict[str, str]:
    """Return the workspace in order with one text changed in every pyproject."""
    return {p: t.replace(old, new) if p.endswith(".toml") else t for p, t in in_order().items()}


def rootless(requires: str) -> dict[str, str]:
    """Return the workspace with a root that is no project, and one range in all members."""
    files = all_with(">=3.12", requires)
    return {**files, "pyproject.toml": '[tool.uv.workspace]\nmembers = ["packages/*"]\n'}


def built_by(
    backend: str, sources: dict[str, str], options: str = "", name: str = "ai-dev-toolkit"
) -> dict[str, str]:
    """Return the workspace with one member of another backend and other sources."""
    files = without("packages/ai-dev-toolkit/src/ai_dev_toolkit/__init__.py")
    text = files[TOOLKIT].replace('build-backend = "hatchling.build"', f'build-backend = "{backend}"')
    files[TOOLKIT] = text.replace('name = "ai-dev-toolkit"', f'name = "{name}"') + options
    return files | {f"packages/ai-dev-toolkit/{path}": text for path, text in sources.items()}


def found(root: Path, files: Mapping[str, str]) -> list[Finding]:
    """Write a workspace and return what the pure rules find in it."""
    return check(read_workspace(write(root, files)))


class Programs:
    """Stands for the other programs: keeps what was asked for and ends as it was told to, else with 0."""

    def __init__(self, codes: Mapping[str, int] | None = None) -> None:
        self.codes = codes or {}
        self.installed = ["pytest", "ruff", "pyright"]
        self.asked: list[str] = []
        self.seen: list[set[str]] = []

    def __call__(self, argv: Sequence[str], *, cwd: Path) -> Ended:
        """Keep the command and the folder's files."""
        command = " ".join(argv)
        self.asked.append(command)
        if argv[1] == "sync":
            write(cwd, {f".venv/bin/{tool}": "" for tool in self.installed})
        self.seen.append({path.relative_to(cwd).as_posix() for path in cwd.rglob("*")})
        return Ended(code=self.codes.get(command, 0), output=f"first\nlast of {command}\n\n")


def adopt(*words: str, programs: Programs | None = None) -> int:
    """Run `tta-adopt` in this process and return its exit code."""
    return main(words, run=programs or Programs())
