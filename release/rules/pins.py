"""Which actions may run: those of `release/action-pins.toml`, by full commit SHA, the tag behind it."""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints, TypeAdapter, ValidationError

from release.model import Problem
from release.rules.workflow_model import UnreadableError, Use, read_composite, read_workflow

__all__ = ["FILE", "RULES", "Pin", "check", "problems", "read"]

FILE = "release/action-pins.toml"

RULES = ("pins.form", "pins.listed", "pins.sha", "pins.tag")
"""What holds of each `uses:`; that the list itself can be read is not among them."""


class Pin(BaseModel):
    """One action that may run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tag: Annotated[str, StringConstraints(min_length=1)]
    sha: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]


_LIST = TypeAdapter(dict[Annotated[str, StringConstraints(pattern=r"^[^/]+/[^/]+$")], Pin])


def read(text: str) -> tuple[dict[str, Pin], list[Problem]]:
    """The list by `owner/repository`, and what is wrong with it."""
    try:
        return _LIST.validate_python(tomllib.loads(text)), []
    except tomllib.TOMLDecodeError as error:
        return {}, [_problem("pins.readable", FILE, str(error), "mend the line it names")]
    except ValidationError as error:
        remedy = 'write ["owner/repository"] with a `tag` and the 40 hex digits of its commit as `sha`'
        return {}, [
            _problem(
                "pins.entry", f"{FILE} {' '.join(str(part) for part in wrong['loc'])}", wrong["msg"], remedy
            )
            for wrong in error.errors()
        ]


def problems(file: str, uses: Iterable[Use], pins: Mapping[str, Pin]) -> list[Problem]:
    """What is wrong with the `uses:` of one file."""
    return [problem for use in uses if (problem := _judge(f"{file}:{use.line}", use, pins)) is not None]


def _judge(where: str, use: Use, pins: Mapping[str, Pin]) -> Problem | None:
    if use.what.startswith("$/"):
        return None  # the running commit itself; that the folder exists is the workflow rules' business
    name, at, ref = use.what.partition("@")
    action = "/".join(name.split("/")[:2])
    if name.startswith((".", "docker:")) or not at:
        remedy = "use `$/folder` for an action of this repository, `owner/repository@SHA # tag` for another"
        return _problem("pins.form", where, f"`{use.what}` names no repository at a commit", remedy)
    pin = pins.get(action)
    if pin is None:
        remedy = f"read the action, then add it to {FILE} with its tag and full SHA; better, do without it"
        return _problem("pins.listed", where, f"{action} is not in {FILE}", remedy)
    if ref != pin.sha:
        remedy = f"write `{name}@{pin.sha} # {pin.tag}`, or move the pin in {FILE} after reading what changed"
        return _problem("pins.sha", where, f"{action} stands at {ref}, the list has {pin.sha}", remedy)
    if use.comment != pin.tag:
        remedy = f"write `# {pin.tag}` behind the SHA: it is what a reviewer reads"
        return _problem("pins.tag", where, f"the comment says {use.comment!r}, the list {pin.tag!r}", remedy)
    return None


def _problem(rule: str, where: str, what: str, remedy: str) -> Problem:
    return Problem(rule=rule, where=where, what=what, remedy=remedy)


def check(root: Path) -> list[Problem]:
    """Hold every workflow and composite action below `root` against the list."""
    pins, found = read((root / FILE).read_text(encoding="utf-8"))
    for path in sorted((root / ".github").rglob("*.y*ml")):
        name, text = path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")
        try:
            if path.parent.name == "workflows":
                found += problems(name, read_workflow(name, text).uses, pins)
            elif path.stem == "action":
                found += problems(name, read_composite(name, text).uses, pins)
        except UnreadableError:
            continue  # the workflow rules report it
    return found
