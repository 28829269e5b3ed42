"""A tiny project to build, in a real git repository, for the tests of the bytes."""

import contextlib
import datetime as dt
import functools
import gzip
import io
import shutil
import stat
import tarfile
import tempfile
import time
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

import pytest
from hatchling import build as backend

from release import builder
from release.context import Context, Options
from release.model import Artifact, Problem
from release.rules.archives import digest_of, read_archive
from release.rules.artefacts import Tree
from release.rules.metadata import Declared
from release.runner import Finished, Runner
from tests.release.repo_support import NOW, Repo, begin, context_on
from tests.release.runner_support import Call, Double

EPOCH = 1_700_000_001
"""The committer time of every commit that the tests make; odd, since a zip keeps even seconds only."""

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


def copied(template: Repo, folder: Path) -> Repo:
    """A copy of a clone and its origin."""
    shutil.copytree(template.root.parent, folder, symlinks=True)
    return Repo(root=folder / template.root.name, key=folder / template.key.name)


def exported(files: Mapping[str, str], folder: Path) -> Path:
    """The files as an export would leave them."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    return folder


def zipped(members: Sequence[tuple[str, bytes]], *, mode: int = 0o644, mtime: int = EPOCH) -> bytes:
    """A wheel of exactly these members, all with one mode and time."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")  # a name that stands twice is what some tests are about
        for name, data in members:
            info = zipfile.ZipInfo(name, date_time=time.gmtime(mtime)[:6])
            info.external_attr = (stat.S_IFREG | mode) << 16
            archive.writestr(info, data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def tarred(members: Sequence[tuple[str, bytes]], *, mode: int = 0o644, mtime: int = EPOCH) -> bytes:
    """An sdist of exactly these members, all with one mode and time."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.mtime = len(data), mode, mtime
            archive.addfile(info, io.BytesIO(data))
    return gzip.compress(buffer.getvalue(), mtime=0)


def rules(problems: Sequence[Problem]) -> list[str]:
    """Rule ids, each problem having all four parts."""
    for problem in problems:
        assert problem.where
        assert problem.what
        assert problem.remedy
    return [problem.rule for problem in problems]


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """The tiny project as the real backend builds it."""

    tree: Tree
    declared: Declared
    wheel: bytes
    sdist: bytes

    @property
    def artifacts(self) -> tuple[Artifact, Artifact]:
        """What a ledger says of both."""
        return self.artifact(self.declared.sdist, self.sdist), self.artifact(self.declared.wheel, self.wheel)

    @staticmethod
    def artifact(name: str, data: bytes) -> Artifact:
        return Artifact(name=name, size=len(data), sha256=digest_of(data))

    @property
    def files(self) -> dict[str, bytes]:
        return {self.declared.wheel: self.wheel, self.declared.sdist: self.sdist}


@functools.cache
def built() -> Built:
    """Built once in a process, by the backend itself: `test_build_for_real` has the front end add nothing."""
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        tree, out = exported(FILES, Path(name) / "tree"), Path(name) / "out"
        out.mkdir()
        patch.setenv("SOURCE_DATE_EPOCH", str(EPOCH))
        with contextlib.chdir(tree):
            sdist, wheel = out / backend.build_sdist(str(out)), out / backend.build_wheel(str(out))
        return Built(
            tree=builder.read_tree(tree),
            declared=Declared.read(PYPROJECT),
            wheel=wheel.read_bytes(),
            sdist=sdist.read_bytes(),
        )


@dataclass(slots=True, kw_only=True)
class Replaying(Double):
    """A runner that answers for the front end, the checkers and the installers, and runs all else for real.

    What the front end leaves is taken from `builds`, one entry a build (file name -> bytes), so that a test
    of what happens around a build takes milliseconds.
    """

    builds: dict[str, dict[str, bytes]]
    """`first` and `second` (by their umask) -> the files that build leaves."""
    from_sdist: dict[str, dict[str, bytes]] = field(default_factory=dict[str, dict[str, bytes]])
    """The same, for what is built from the sdist and differs."""
    finds: dict[str, str] = field(default_factory=dict[str, str])
    """A word of a command, of a checker's name for example -> what it prints before it fails."""
    ran: list[list[str]] = field(default_factory=list[list[str]])
    """Every command that was answered for, in order."""
    homes: list[Path] = field(default_factory=list[Path])
    """The home that each was given; it was there."""
    places: list[Path] = field(default_factory=list[Path])
    """Where each ran."""
    epochs: set[str] = field(default_factory=set[str])
    """The times that the front end was given to stamp files with."""

    def answer(self, call: Call) -> Finished:
        words = call.words
        if "--no-isolation" in words:
            self.epochs.add(call.env["SOURCE_DATE_EPOCH"])
            build = "second" if "77" in words else "first"
            files = self.builds[build] | (self.from_sdist.get(build, {}) if "--sdist" not in words else {})
            out = Path(words[words.index("--outdir") + 1])
            out.mkdir(parents=True)
            for name, data in files.items():
                if "--sdist" in words or name.endswith(".whl"):
                    (out / name).write_bytes(data)
        elif not {"twine", "check_wheel_contents", "venv", "uv", "pip"} & set(words):
            return call.really()
        self.ran.append(words)
        self.places.append(call.cwd)
        self.homes.append(Path(call.env["HOME"]))
        assert self.homes[-1].is_dir()
        said = next((said for word, said in self.finds.items() if word in words), "")
        return call.ended(1 if said else 0, said)


def replaying(
    first: Mapping[str, bytes] | None = None, second: Mapping[str, bytes] | None = None
) -> Replaying:
    """Answer with the tiny project as it is really built; `first` and `second` replace files of one build."""
    files = built().files
    return Replaying(
        builds={"first": {**files, **(first or {})}, "second": {**files, **(second or first or {})}}
    )


def context_with(
    repo: Repo, runner: Runner | None = None, options: Options | None = None, *, now: dt.datetime = NOW
) -> Context:
    """A stage's context on the tiny project."""
    context = context_on(repo.root, now=now, options=options)
    return context if runner is None else replace(context, runner=runner)


def repacked(name: str, data: bytes, changes: Mapping[str, bytes] | None = None) -> bytes:
    """The same members (or `changes` of them) in other bytes."""
    members = {member.name: member.data for member in read_archive(name, data).members} | dict(changes or {})
    return (zipped if name.endswith(".whl") else tarred)(list(members.items()))


@dataclass(slots=True, kw_only=True)
class Recording(Double):
    """A runner that starts nothing: it keeps each command and ends it with `code`."""

    code: int = 0
    ran: list[list[str]] = field(default_factory=list[list[str]])

    def answer(self, call: Call) -> Finished:
        self.ran.append(call.words)
        return call.ended(self.code, error="said so")
