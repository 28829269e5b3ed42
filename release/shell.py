"""What judging the workflows needs a program for: ShellCheck reads every shell line in them."""

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from release.model import Problem
from release.rules.workflow_model import Step, UnreadableError, read_composite, read_workflow
from release.runner import LocalRunner, Runner

__all__ = ["check", "shell_lines"]


def shell_lines(root: Path) -> Iterator[tuple[str, str]]:
    """Where each `run:` of a workflow or composite action stands, and its script."""
    for path in sorted((root / ".github").rglob("*.y*ml")):
        name, text = path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")
        steps: Sequence[Step] = ()
        try:
            if path.parent.name == "workflows":
                steps = [step for job in read_workflow(name, text).jobs.values() for step in job.steps]
            elif path.stem == "action":
                steps = read_composite(name, text).steps
        except UnreadableError:
            continue  # the workflow rules report it
        for step in steps:
            if step.run:
                yield f"{name}:{step.line}", step.run


def check(root: Path, runner: Runner | None = None) -> list[Problem]:
    """What ShellCheck says about the shell lines below `root`; bash is what every one of them runs in."""
    program = shutil.which("shellcheck", path=str(Path(sys.executable).parent)) or "shellcheck"
    with tempfile.TemporaryDirectory() as folder:
        places: dict[str, str] = {}
        for number, (where, script) in enumerate(shell_lines(root)):
            file = Path(folder) / f"{number}.sh"
            file.write_bytes(script.encode())
            places[str(file)] = where
        if not places:
            return []
        words = [program, "--norc", "--shell=bash", "--format=json", *places]
        finished = (runner or LocalRunner())(words, cwd=root)
    try:
        comments = json.loads(finished.stdout)
    except ValueError:
        remedy = "install the lint group's lock; it brings the program"
        what = f"gave no answer:\n{finished.tail(5)}"
        return [Problem(rule="shell.checked", where="shellcheck", what=what, remedy=remedy)]
    return [
        Problem(
            rule=f"shell.sc{comment['code']}",
            where=places[comment["file"]],
            what=f"line {comment['line']} of the script: {comment['message']}",
            remedy="mend the line, or move it into a stage of `python -m release`",
        )
        for comment in sorted(comments, key=lambda comment: list(places).index(comment["file"]))
    ]
