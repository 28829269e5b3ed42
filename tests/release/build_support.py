"""A tiny project in a real git repository, and the context a stage is run with, for the tests of the bytes."""

import datetime as dt
import io
import os
import subprocess
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from release.context import Context, Options
from release.runner import LocalRunner, Runner

PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "tiny-demo"
version = "1.2.0"
description = "A demonstration"
readme = "README.md"
requires-python = ">=3.12"
license = "MIT"
license-files = ["LICENSE"]
keywords = ["demo"]
classifiers = ["Programming Language :: Python :: 3"]
dependencies = ["Redis >= 6.2", "pydantic>=2.10; python_version < '3.15' or os_name == 'nt'"]
scripts = { tiny-demo = "tiny_demo:main" }
urls = { Source = "https://example.org/tiny-demo" }

[project.optional-dependencies]
Fake_Server = ["fakeredis[lua]>=2.31; python_version < '3.15' or os_name == 'nt'"]

[tool.hatch.build.targets.wheel]
core-metadata-version = "2.4"
packages = ["src/tiny_demo"]

[tool.hatch.build.targets.sdist]
core-metadata-version = "2.4"
only-include = ["CHANGELOG.md", "LICENSE", "README.md", "examples", "pyproject.toml", "src", "tests"]
"""

LOCK = f"build=={version('build')} \\\n    --hash=sha256:0\nhatchling=={version('hatchling')} \\\n    --hash=sha256:0\n"

FILES: Mapping[str, str] = {
    ".gitignore": "/dist/\n/dist.*/\n/ledger/\n/ledger.*/\n__pycache__/\n",
    "CHANGELOG.md": "# Changelog\n\n## [Unreleased]\n",
    "LICENSE": "MIT\n",
    "README.md": "# tiny-demo\n\nA demonstration.\n",
    "examples/hello.py": 'import tiny_demo\n\nprint("hello", tiny_demo.answer())\n',
    "pyproject.toml": PYPROJECT,
    "release/locks/build.txt": LOCK,
    "src/tiny_demo/__init__.py": '"""Tiny."""\n\ndef answer():\n    return 42\n\ndef main():\n    print(answer())\n',
    "src/tiny_demo/inner/__init__.py": '"""A package in the package."""\n',
    "src/tiny_demo/inner/part.py": '"""A module in it."""\n',
    "src/tiny_demo/py.typed": "",
    "src/tiny_demo/script.lua": "return 1\n",
    "tests/library/test_tiny.py": "import tiny_demo\n\ndef test_answer():\n    assert tiny_demo.answer() == 42\n",
}

NOW = dt.datetime(2026, 3, 4, 5, 6, 7, tzinfo=dt.UTC)


def git(root: Path, *words: str) -> str:
    """Run git in `root`, independent of this machine's settings, at a fixed time."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_DATE": "1700000001 +0000",
        "GIT_COMMITTER_DATE": "1700000001 +0000",
    }
    who = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.org")
    done = subprocess.run(
        ["git", *who, *words], cwd=root, env=env, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def write(root: Path, files: Mapping[str, str]) -> None:
    """Write text files below `root`."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def commit(root: Path, message: str = "Change") -> str:
    """Commit everything; returns the commit's id."""
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", message)
    return git(root, "rev-parse", "HEAD")


def project(root: Path, **changes: str) -> Path:
    """A committed tiny project in the new folder `root`; `changes` are merged into its files by position."""
    root.mkdir(parents=True)
    git(root, "init", "--quiet", "--initial-branch=main")
    write(root, {**FILES, **changes})
    commit(root, "Begin")
    return root


def context_for(
    root: Path,
    runner: Runner | None = None,
    *,
    now: Callable[[], dt.datetime] = lambda: NOW,
    **options: object,
) -> Context:
    """A context on `root` whose console keeps what is printed."""
    return Context(
        root=root,
        runner=runner or LocalRunner(),
        console=Console(file=io.StringIO(), soft_wrap=True, highlight=False, width=200),
        now=now,
        options=Options(**options),  # pyright: ignore[reportArgumentType] - tests name real options
    )


def printed(context: Context) -> str:
    """What a stage printed."""
    file = context.console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()
