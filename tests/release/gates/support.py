"""A runner that answers from a script instead of starting programs, and a context around it."""

import datetime as dt
import io
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console

from release.context import Context, Options
from release.runner import Finished, Runner
from tests.release.runner_support import Call, Double

Answer = Callable[[list[str], Mapping[str, str]], tuple[int, str]]


class ScriptedRunner(Double):
    """Hands each call to `script(argv, env) -> (code, output)` and keeps what was asked, and how."""

    def __init__(self, script: Answer) -> None:
        self._script = script
        self.asked: list[list[str]] = []
        self.folders: list[Path] = []
        """The working directory of each call."""
        self.shown: list[bool] = []
        """Whether each call's output was printed as it came."""
        self.waits: list[float | None] = []
        """How long each call might take, seconds."""

    def answer(self, call: Call) -> Finished:
        self.waits.append(call.timeout_s)
        self.asked.append(call.words)
        self.folders.append(call.cwd)
        self.shown.append(call.show)
        return call.ended(*self._script(call.words, call.env), took_ms=7)


def make_context(root: Path, runner: Runner, options: Options | None = None) -> tuple[Context, io.StringIO]:
    """A context over `root` with captured output."""
    output = io.StringIO()
    context = Context(
        root=root,
        runner=runner,
        console=Console(file=output, soft_wrap=True, markup=False),
        now=lambda: dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC),
        options=options or Options(),
    )
    return context, output


def commit_all(root: Path) -> str:
    """Make `root` a git repository with one commit of everything in it; returns the commit's id."""

    def git(*words: str) -> str:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false")
        return subprocess.run(
            ["git", *identity, *words], cwd=root, check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "--quiet", "--initial-branch=main")
    git("add", "--all")
    git("commit", "--quiet", "--allow-empty", "--message=one")
    return git("rev-parse", "HEAD")
