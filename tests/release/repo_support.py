"""A real git repository with an origin, real SSH signatures, and the context a stage gets on it."""

import datetime as dt
import io
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from release.context import Context, Options
from release.runner import LocalRunner

NOW = dt.datetime(2026, 3, 4, 5, 6, 7, 999_999, tzinfo=dt.UTC)
SIGNER = "maintainer@example.org"

PYPROJECT = """\
[project]
name = "Demo.Project"
version = "0.1.0"  # kept
requires-python = ">=3.12"
urls = { Source = "https://code.example.org/demo" }
"""

CHANGELOG = """\
# Changelog

## [Unreleased]

### Added

- `demo.thing` does it.

[Unreleased]: https://code.example.org/demo/commits/main
"""


def run_git(root: Path, *words: str) -> str:
    """Run git independently of this machine's settings; returns what it printed."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_COMMITTER_DATE": "1700000001 +0000",
        "GIT_AUTHOR_DATE": "1700000000 +0000",
    }
    who = ("-c", "user.name=Somebody", "-c", f"user.email={SIGNER}", "-c", "protocol.file.allow=always")
    done = subprocess.run(
        ["git", *who, *words], cwd=root, env=env, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def new_key(path: Path) -> Path:
    """A throw-away SSH key; its public half stands beside it as `.pub`."""
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", SIGNER, "-f", str(path)]
    subprocess.run(words, check=True, capture_output=True)
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class Repo:
    """A clone with an origin beside it."""

    root: Path
    key: Path
    """The key that `.github/allowed_signers` of main lists."""

    def git(self, *words: str) -> str:
        return run_git(self.root, *words)

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
        return path

    def commit(self, message: str = "Change") -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        return self.git("rev-parse", "HEAD")

    def push(self) -> None:
        self.git("push", "--quiet", "origin", "main")

    def sign(self, tag: str, *, key: Path | None = None, at: str = "HEAD") -> str:
        """Make a signed tag; returns the id of its object."""
        settings = ("-c", "gpg.format=ssh", "-c", f"user.signingkey={key or self.key}")
        self.git(*settings, "tag", "--sign", "--message", tag, tag, at)
        return self.git("rev-parse", f"refs/tags/{tag}")


def begin(folder: Path) -> Repo:
    """A new clone in `folder/clone` with a bare origin beside it, and one pushed commit."""
    key = new_key(folder / "key")
    origin, root = folder / "origin.git", folder / "clone"
    for path, kind in ((origin, ["--bare"]), (root, [])):
        run_git(folder, "init", "--quiet", "--template=", "--initial-branch=main", *kind, str(path))
    repo = Repo(root=root, key=key)
    # A relative address, so that the folder can be copied.
    repo.git("remote", "add", "origin", "../origin.git")
    public = key.with_suffix(".pub").read_text(encoding="utf-8").strip()
    repo.write(".github/allowed_signers", f'{SIGNER} namespaces="git" {public}\n')
    repo.write(".gitignore", "/dist/\n/ledger/\n")
    repo.write("pyproject.toml", PYPROJECT)
    repo.write("CHANGELOG.md", CHANGELOG)
    repo.commit("Begin")
    repo.push()
    return repo


def context_on(root: Path, *, now: dt.datetime = NOW, options: Options | None = None) -> Context:
    """A context whose console keeps what is printed."""
    return Context(
        root=root,
        runner=LocalRunner(),
        console=Console(file=io.StringIO(), soft_wrap=True, highlight=False, markup=False),
        now=lambda: now,
        options=options or Options(),
    )


def printed(context: Context) -> str:
    """What a stage printed so far."""
    assert isinstance(context.console.file, io.StringIO)
    return context.console.file.getvalue()
