"""The committed workflows, and ways to spoil them: every rule is seen refusing what it is there to refuse."""

import re
from pathlib import Path

from release import pythons
from release.model import Problem
from release.rules import release_graph, workflows
from release.rules.workflow_model import Composite, read_composite, read_workflow

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ".github/workflows"
SETUP = ".github/actions/setup"
ENVIRONMENTS = {"testpypi": "testpypi", "pypi": "pypi"}


def text_of(name: str) -> str:
    """A committed workflow's text."""
    return (ROOT / FOLDER / name).read_text(encoding="utf-8")


def set_up_text() -> str:
    """The committed composite action's text."""
    return (ROOT / SETUP / "action.yml").read_text(encoding="utf-8")


def composites(text: str | None = None) -> dict[str, Composite]:
    """The composite actions, with another text when given."""
    return {SETUP: read_composite(f"{SETUP}/action.yml", set_up_text() if text is None else text)}


def edit(text: str, old: str, new: str, *, job: str = "") -> str:
    """`text` with the first `old` replaced, inside one job when named; an absent `old` is an error."""
    if not job:
        assert old in text, f"{old!r} is not there: the test spoils nothing"
        return text.replace(old, new, 1)
    block = re.search(rf"^  {re.escape(job)}:\n(?:(?:    .*)?\n)+", text, re.MULTILINE)
    assert block is not None, f"there is no job {job}"
    return text[: block.start()] + edit(block[0], old, new) + text[block.end() :]


def job_at(file: str, text: str, where: str) -> str:
    """The job around the line that a problem names, or what it names instead; nothing for the top."""
    named, _, place = where.rpartition(":")
    assert named == f"{FOLDER}/{file}"
    if not place.isdigit():
        assert place.startswith(" ")
        return place[1:]
    above = text.splitlines()[: int(place)]
    assert above
    return next((each[2:-1] for each in reversed(above) if re.fullmatch(r"  [\w-]+:", each)), "")


def judge_release(text: str, set_up: str | None = None) -> list[Problem]:
    """What the release rules say about a text in the place of release.yml."""
    workflow = read_workflow(f"{FOLDER}/release.yml", text)
    return release_graph.problems(workflow, composites(set_up), ENVIRONMENTS, pythons.SUPPORTED)


def judge(name: str, text: str, set_up: str | None = None) -> list[Problem]:
    """What the rules for every workflow say about a text in the place of the file `name`."""
    noxfile = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    return workflows.problems(
        workflows.Repository(
            workflows=[read_workflow(f"{FOLDER}/{name}", text)],
            composites=composites(set_up),
            sessions=workflows.sessions(noxfile),
        )
    )


def rules(problems: list[Problem]) -> set[str]:
    """The rule ids that were broken."""
    return {problem.rule for problem in problems}
