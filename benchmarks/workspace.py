"""Owns the measurement of `tta-adopt workspace`: seconds on trees, what `--fix` leaves, bad files."""

from __future__ import annotations

import re
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path

from tta_agent_coordination.adopt import fixes, lock, rules, tree

PACKAGES = 20
ROOT = """\
[project]
name = "root"
version = "1.0"
requires-python = ">=3.12"

[tool.uv.workspace]
members = ["packages/*"]

[tool.uv.sources]
"""
MEMBER = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "package-{number}"
version = "1.{number}"
requires-python = ">=3.12"  # as everywhere
license = "MIT"
classifiers = ["Programming Language :: Python :: 3.12"]
dependencies = [
  "httpx>=0.27",
  {neighbour}
]

[tool.ruff]
target-version = "py312"
"""
MODULE = """\
import json
from dataclasses import dataclass

import httpx


@dataclass
class Answer{number}:
    text: str

    def sent(self) -> httpx.Request:
        body = json.dumps({{"text": self.text, "parts": [part for part in self.text.split() if part]}})
        return httpx.Request("POST", "https://example.org", content=body)
"""
IDS = re.compile(r"`([a-z]+\.[a-z-]+)`")


def generated(files: int) -> dict[str, str]:
    """Return a workspace in order of so many files: packages that need each other, modules, images."""
    sources = "".join(f"package-{number} = {{ workspace = true }}\n" for number in range(PACKAGES - 1))
    made = {
        "pyproject.toml": ROOT + sources,
        "Dockerfile": "FROM python:3.12-slim\n",
        ".python-version": "3.12\n",
        ".github/workflows/ci.yml": 'jobs:\n  test:\n    with:\n      python-version: "3.12"\n',
    }
    for number in range(PACKAGES):
        neighbour = f'"package-{number - 1}>=1.0",' if number else ""
        folder = f"packages/package-{number}"
        made[f"{folder}/pyproject.toml"] = MEMBER.format(number=number, neighbour=neighbour)
        made[f"{folder}/LICENSE"] = "MIT\n"
        made[f"{folder}/Dockerfile"] = "FROM python:3.12-slim\n"
        made[f"{folder}/src/package_{number}/__init__.py"] = ""
    for number in range(files - len(made)):
        place = number % PACKAGES
        made[f"packages/package-{place}/src/package_{place}/m{number}.py"] = MODULE.format(number=number)
    return made


def astray(files: dict[str, str]) -> dict[str, str]:
    """Return the workspace with everything broken in each package that `--fix` mends."""
    changed = {path: text.replace("python:3.12", "python:3.11") for path, text in files.items()}
    for path, text in changed.items():
        if path.startswith("packages/") and path.endswith(".toml"):
            older = text.replace('">=3.12"', '">=3.11"').replace('"py312"', '"py311"')
            changed[path] = re.sub(r"(package-\d+)>=1.0", r"\1", older)
    changed["pyproject.toml"] = ROOT.replace("packages/*", "packages/package-1*")
    return changed


def written(root: Path, files: dict[str, str]) -> Path:
    """Write the files and return their folder."""
    for folder in {(root / path).parent for path in files}:
        folder.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        (root / path).write_bytes(text.encode())
    return root


def _seconds(root: Path, rounds: int) -> tuple[float, tree.Workspace, Counter[str]]:
    """The median time of reading and checking a tree, and what was found."""
    took: list[float] = []
    while True:
        begin = time.perf_counter()
        workspace = tree.read_workspace(root)
        found = rules.check(workspace)
        took.append(time.perf_counter() - begin)
        if len(took) == rounds:
            return statistics.median(took), workspace, Counter(each.rule for each in found)


def _fixed(root: Path) -> tuple[int, int]:
    """Mend a tree as `--fix` does, once; return how many findings there were and how many files changed."""
    workspace = tree.read_workspace(root)
    found = rules.check(workspace)
    new = fixes.changed(workspace.texts, found)
    for path, text in new.items():
        (root / path).write_bytes(text.encode())
    return len(found), len(new)


def _badly(root: Path, files: int) -> None:
    """Print what a large tree with bad files in it comes to: one line each."""
    written(root, generated(files))
    modules = sorted(root.glob("packages/*/src/*/m*.py"))
    for number, path in enumerate(modules[:400]):
        match number % 4:
            case 0:
                path.write_bytes(b"name = '\xff'\n")
            case 1:
                path.write_bytes(b"def (:\n")
            case 2:
                path.unlink()
                path.symlink_to(path.name)
            case _:
                path.write_bytes(b"x = " + b"(" * 5_000)
    for number in (3, 7):
        (root / f"packages/package-{number}/pyproject.toml").write_bytes(b"[project\n")
    seconds, workspace, found = _seconds(root, 1)
    bad = sum(count for rule, count in found.items() if rule.startswith("input."))
    print(f"{len(workspace.paths):,} files, 402 bad ones: {seconds:.2f} s, {bad} lines for them")
    print("  " + ", ".join(f"{rule} {count}" for rule, count in sorted(found.items())))
    assert bad == 402


async def run(port: int, *, quick: bool) -> None:  # noqa: ARG001 - of the parts, this one needs no server
    """Measure and print."""
    functions = (*rules.RULES, lock.locked)
    ids = {word for function in functions for word in IDS.findall(function.__doc__ or "")} - {
        "input.python",
        "uv.lock",
    }
    print(f"\nworkspace: {len(ids)} rules; without uv's own check of the lock")
    with tempfile.TemporaryDirectory() as scratch:
        for files in (1_000, 10_000):
            root = written(Path(scratch, str(files)), generated(files))
            seconds, workspace, found = _seconds(root, 3 if quick else 9)
            print(f"{len(workspace.paths):,} files in order: {seconds:.2f} s, {found.total()} findings")
            assert not found
        root = written(Path(scratch, "astray"), astray(generated(1_000)))
        for turn in ("first", "second", "third"):
            findings, changed = _fixed(root)
            print(f"--fix, {turn} run: {findings} findings, {changed} files changed")
        assert (findings, changed) == (0, 0)
        _badly(Path(scratch, "bad"), 10_000)
