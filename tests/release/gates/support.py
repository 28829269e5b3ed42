"""A runner that answers from a script instead of starting programs, and a context around it."""

import datetime as dt
import io
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from release.context import Context, Options
from release.runner import Finished

Answer = Callable[[list[str], Mapping[str, str]], tuple[int, str]]


class ScriptedRunner:
    """Hands each call to `answer(argv, env) -> (code, output)` and keeps what was asked."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.asked: list[list[str]] = []

    def __call__(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        show: bool = False,
        timeout_s: float | None = None,
    ) -> Finished:
        del cwd, show, timeout_s
        words = [os.fspath(word) for word in argv]
        self.asked.append(words)
        code, output = self._answer(words, env or {})
        return Finished(argv=words, code=code, stdout=output, stderr="", took_ms=7)


def make_context(
    root: Path, runner: ScriptedRunner, options: Options | None = None
) -> tuple[Context, io.StringIO]:
    """A context over `root` with captured output."""
    output = io.StringIO()
    context = Context(
        root=root,
        runner=runner,
        console=Console(file=output, soft_wrap=True),
        now=lambda: dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC),
        options=options or Options(),
    )
    return context, output
