"""A tiny project to build, in a real git repository, for the tests of the bytes."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from tests.release.repo_support import Repo, begin

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

LOCK = "".join(f"{name}=={version(name)} \\\n    --hash=sha256:0\n" for name in ("build", "hatchling"))

FILES: Mapping[str, str] = {
    ".gitignore": "/dist/\n/dist.*/\n/ledger/\n/ledger.*/\n__pycache__/\n",
    "CHANGELOG.md": "# Changelog\n\n## [Unreleased]\n",
    "LICENSE": "MIT\n",
    "README.md": "# tiny-demo\n\nA demonstration.\n",
    "examples/hello.py": 'import tiny_demo\n\nprint("hello", tiny_demo.answer())\n',
    "pyproject.toml": PYPROJECT,
    "release/locks/build.txt": LOCK,
    "src/tiny_demo/__init__.py": "def answer():\n    return 42\n\n\ndef main():\n    print(answer())\n",
    "src/tiny_demo/inner/__init__.py": '"""A package in the package."""\n',
    "src/tiny_demo/inner/part.py": '"""A module in it."""\n',
    "src/tiny_demo/py.typed": "",
    "src/tiny_demo/script.lua": "return 1\n",
    "tests/library/test_tiny.py": "import tiny_demo\n\n\ndef test_it():\n    assert tiny_demo.answer()\n",
}


def project(folder: Path, changes: Mapping[str, str] | None = None) -> Repo:
    """A clone in `folder` with the tiny project committed and pushed; `changes` replace or add files."""
    repo = begin(folder)
    for name, text in {**FILES, **(changes or {})}.items():
        repo.write(name, text)
    repo.commit("The tiny project")
    repo.push()
    return repo
