"""The hash locks: one file a dependency group, names, versions and SHA-256 only, no address of an index."""

import os
import shutil
import sys
import tempfile
import tomllib
from pathlib import Path

from release.context import Context
from release.model import Checked, Kind, Problem, Refused, Report

__all__ = ["RUNTIME", "groups", "run"]

RUNTIME = "runtime"
"""The lock of what a clean-venv install of the candidate needs: the project's own dependencies with every
extra, since every module is imported there, and the build backend for an install from the sdist."""


def groups(root: Path) -> list[str]:
    """Names of the dependency groups that have a lock, sorted."""
    table = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    return sorted(table["dependency-groups"])


def compile_command(group: str, root: Path, output: Path) -> list[str]:
    """The resolver's command line for one lock; an existing `output` keeps the versions it pins."""
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        "--quiet",
        "--universal",
        "--generate-hashes",
        "--only-binary=:all:",
        "--no-annotate",
        "--no-header",
        "--no-emit-index-url",
        "--no-emit-find-links",
        "--python-version=3.12",
        f"--output-file={output}",
    ]
    project = root / "pyproject.toml"
    if group == RUNTIME:
        return [*command, str(project), "--all-extras", f"--group={project}:backend"]
    return [*command, f"--group={project}:{group}"]


def run(stage: str, context: Context) -> Report:
    """Resolve every group; with `--check` change nothing and refuse when a lock does not fit pyproject.toml.

    A lock keeps its pinned versions as long as they fit; `--again` resolves everything anew.
    """
    del stage
    folder = context.root / "release" / "locks"
    env = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
    env["UV_PYTHON_DOWNLOADS"] = "never"
    problems: list[Problem] = []
    changed: list[str] = []
    names = [*(name for name in groups(context.root) if name != "backend"), RUNTIME]
    with tempfile.TemporaryDirectory() as scratch:
        for name in names:
            current, fresh = folder / f"{name}.txt", Path(scratch) / f"{name}.txt"
            if current.exists() and not context.options.again:
                shutil.copyfile(current, fresh)
            context.console.print(f"  resolving {name}")
            finished = context.runner(compile_command(name, context.root, fresh), cwd=context.root, env=env)
            if not finished.ok:
                problems.append(
                    Problem(
                        rule="lock.resolves",
                        where=f"pyproject.toml [dependency-groups] {name}",
                        what=f"the resolver found no set of versions:\n{finished.tail()}",
                        remedy="loosen the requirement it names, or see whether the index is reachable",
                    )
                )
                continue
            if current.exists() and current.read_bytes() == fresh.read_bytes():
                continue
            changed.append(name)
            if not context.options.check:
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(fresh, current)
    if context.options.check:
        problems.extend(
            Problem(
                rule="lock.current",
                where=f"release/locks/{name}.txt",
                what="does not hold what pyproject.toml asks for",
                remedy="run `nox -s lock` and commit the result",
            )
            for name in changed
        )
    if problems:
        raise Refused(*problems)
    return Report(
        kind=Kind.DONE,
        sentence=f"{len(names)} locks, {len(changed)} changed",
        checked=[
            Checked(what="locks", found=", ".join(names)),
            Checked(what="changed", found=", ".join(changed) or "none"),
        ],
    )
