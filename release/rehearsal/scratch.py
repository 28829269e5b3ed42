"""The repository a rehearsal releases from: a clone of HEAD with an origin of its own, prepared and tagged.

Everything is thrown away afterwards: the clone, its bare origin, the key that signs the tag. Nothing reaches
the person's repository, which is only read.
"""

import datetime as dt
import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from release.checkout import ALLOWED_SIGNERS, Checkout
from release.model import Problem, Refused
from release.project import Project
from release.rules import changelog
from release.rules.tag import name_of
from release.runner import Finished, Runner

__all__ = ["Scratch", "clone", "next_version", "with_an_entry"]

_ORIGIN = "origin.git"
_PRINCIPAL = "rehearsal@localhost"
_WHO = {"user.name": "Rehearsal", "user.email": _PRINCIPAL}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scratch:
    """The clone and what it takes to work in it."""

    root: Path
    folder: Path
    """Where the origin and the key are, too."""
    runner: Runner
    env: Mapping[str, str]
    """The rehearsed commands' environment: no settings of the person's git."""

    @property
    def origin(self) -> Path:
        """The bare repository that the clone pushes to."""
        return self.folder / _ORIGIN

    def commit_release(self, version: str) -> None:
        """Commit what `prepare` has changed."""
        self.git("commit", "--quiet", "--all", f"--message=Release {version}")

    def publish(self, tag: str) -> bool:
        """Push main and, where a key can be made, the signed tag; returns whether there is a tag.

        The key is allowed by a commit on top of the tagged one: the tagged tree is just what is released.
        """
        self.git("push", "--quiet", "origin", "HEAD:refs/heads/main")
        key = self._key()
        if key is None:
            return False
        commit = self.git("rev-parse", "HEAD").stdout.strip()
        self.git(
            "-c", "gpg.format=ssh", "-c", f"user.signingkey={key}", "tag", "--sign", f"--message={tag}", tag
        )
        self._allow(key.with_suffix(".pub").read_text(encoding="utf-8").strip())
        self.git("push", "--quiet", "origin", "HEAD:refs/heads/main", f"refs/tags/{tag}")
        self.git("checkout", "--quiet", "--detach", commit)
        self.git("fetch", "--quiet", "origin")
        return True

    def add_entry(self) -> None:
        """Make Unreleased say something, where a release has just emptied it."""
        path = self.root / changelog.FILE
        text = path.read_text(encoding="utf-8")
        section = changelog.parse(text).unreleased
        if section is not None and not section.entries:
            path.write_bytes(with_an_entry(text, section.line).encode())
            self.git("commit", "--quiet", "--all", "--message=Say something to release")

    def git(self, *words: str) -> Finished:
        """Run git in the clone; a failure refuses with what it said."""
        return _git(self.runner, self.root, self.env, *words)

    def _key(self) -> Path | None:
        """A throw-away signing key, or None without ssh-keygen."""
        if shutil.which("ssh-keygen", path=self.env.get("PATH")) is None:
            return None
        key = self.folder / "key"
        made = self.runner(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", _PRINCIPAL, "-f", key],
            cwd=self.folder,
            env=self.env,
        )
        if not made.ok:
            raise Refused(_problem("ssh-keygen", made, "repair OpenSSH's ssh-keygen"))
        return key

    def _allow(self, public: str) -> None:
        path = self.root / ALLOWED_SIGNERS
        path.parent.mkdir(exist_ok=True)
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        line = f'{_PRINCIPAL} namespaces="git" {public}\n'
        path.write_bytes((before + line).encode())
        self.git("add", "--force", ALLOWED_SIGNERS)
        self.git("commit", "--quiet", "--message=Allow the rehearsal's key")


def clone(runner: Runner, source: Path, folder: Path, env: Mapping[str, str]) -> Scratch:
    """Clone HEAD of `source` with a bare clone of it as origin.

    Args:
        runner: Starts git.
        source: The person's checkout; only read.
        folder: An existing scratch folder.
        env: The rehearsed commands' environment.
    """
    origin, root = folder / _ORIGIN, folder / "clone"
    # The person's own git settings may be what lets the checkout be read (safe.directory).
    _git(
        runner,
        source,
        dict(os.environ),
        "clone",
        "--quiet",
        "--bare",
        "--no-hardlinks",
        str(source),
        str(origin),
    )
    head = Checkout(source, runner).head()
    _git(runner, origin, env, "update-ref", "refs/heads/main", head)
    _git(runner, origin, env, "symbolic-ref", "HEAD", "refs/heads/main")
    _git(runner, folder, env, "clone", "--quiet", str(origin), str(root))
    scratch = Scratch(root=root, folder=folder, runner=runner, env=env)
    for name, value in {**_WHO, "commit.gpgSign": "false", "tag.gpgSign": "false"}.items():
        scratch.git("config", name, value)
    return scratch


def next_version(project: Project, text: str, tags: Collection[str], *, today: dt.date) -> Version | None:
    """The version that `prepare` has to make ready before it can be released today; None when it is ready.

    Args:
        project: What pyproject.toml says.
        text: The changelog.
        tags: Every tag there is.
        today: UTC.
    """
    used = name_of(project.version) in tags
    if not used and not changelog.dated(text, project.version, today=today):
        return None
    sections = changelog.released(text)
    if not used and project.version not in sections:
        return project.version
    newest = max([project.version, *sections])
    while name_of(newest) in tags or newest in sections or newest == project.version:
        newest = Version(f"{newest.major}.{newest.minor}.{newest.micro + 1}")
    return newest


def with_an_entry(text: str, line: int) -> str:
    """The changelog with one entry below its heading on line `line`."""
    lines: Sequence[str] = text.splitlines()
    entry = ["", "### Changed", "", "- Nothing: this is a rehearsal."]
    return "\n".join([*lines[:line], *entry, *lines[line:]]) + "\n"


def _git(runner: Runner, cwd: Path, env: Mapping[str, str], *words: str) -> Finished:
    finished = runner(["git", *words], cwd=cwd, env=env)
    if not finished.ok:
        raise Refused(
            _problem(f"git {words[0]}", finished, "mend what git says; the repository was only read")
        )
    return finished


def _problem(command: str, finished: Finished, remedy: str) -> Problem:
    return Problem(
        rule="rehearsal.repository",
        where="the scratch clone",
        what=f"{command} failed: {finished.tail(5)}",
        remedy=remedy,
    )
