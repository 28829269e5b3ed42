"""What a rehearsal shows at its end: every stage with its time, every digest, and what is wrong."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.version import Version
from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from release.indexes import IndexName
from release.ledger import Ledger
from release.model import Problem
from release.rehearsal.github import STATE
from release.rehearsal.world import World
from release.rules.archives import digest_of
from release.rules.tag import name_of

__all__ = ["Ran", "announced_problems", "defects", "digest_problems", "digest_table", "held", "stage_table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """One step as it ended."""

    name: str
    seconds: float
    proved: str


def digest_problems(started: World, ledger: Ledger) -> list[Problem]:
    """Files of the ledger that an index does not hold with the ledger's digest."""
    pairs = [
        (artifact, name, held(started, ledger, name, artifact.name))
        for artifact in ledger.opening.artifacts
        for name in IndexName
    ]
    return [
        Problem(
            rule="rehearsal.same-digests",
            where=f"{name}: {artifact.name}",
            what=f"holds {found or 'nothing'}, the ledger has {artifact.sha256}",
            remedy="the pipeline changed bytes on their way: find out where before any release",
        )
        for artifact, name, found in pairs
        if found != artifact.sha256
    ]


def held(started: World, ledger: Ledger, name: IndexName, file: str) -> str:
    """SHA-256 of the bytes an index keeps under a file name, empty when it has none."""
    index = started.indexes[name]
    project = index.projects.get(ledger.opening.project)
    return digest_of(index.content(file)) if project is not None and file in project.files else ""


def announced_problems(kept: Path, ledger: Ledger) -> list[Problem]:
    """What the recording GitHub does not show as the ledger's release: public, with the ledger's digests.

    Args:
        kept: Where the recording `gh` keeps its state.
        ledger: The rehearsal's ledger.
    """
    opening = ledger.opening
    tag = opening.tag or name_of(Version(opening.version))
    book = kept / STATE
    releases: dict[str, Any] = json.loads(book.read_text(encoding="utf-8")) if book.exists() else {}
    found = releases.get(tag, {"isDraft": True, "assets": []})
    shown = {each["name"]: each["digest"] for each in found["assets"]}
    wrong = [each.name for each in opening.artifacts if shown.get(each.name) != f"sha256:{each.sha256}"]
    if not wrong and not found["isDraft"]:
        return []
    return [
        Problem(
            rule="rehearsal.announced",
            where=f"release {tag} on the recording GitHub",
            what=f"is {'a draft or absent' if found['isDraft'] else 'public'}, "
            f"without the ledger's {', '.join(wrong) or 'nothing'}",
            remedy="the announce stage did not do what it said: mend release/announce.py before any release",
        )
    ]


def defects(started: World) -> list[Problem]:
    """What went wrong in the embedded world itself."""
    return [
        Problem(
            rule="rehearsal.world",
            where="the embedded world",
            what=f"failed: {failure!r}",
            remedy="this is a defect of the rehearsal, not of the release: mend release/rehearsal",
        )
        for failure in started.failures
    ]


def stage_table(done: Sequence[Ran], seconds: float) -> Table:
    """Every stage, what it took and what it proved."""
    table = Table(box=SIMPLE, pad_edge=False)
    table.add_column("stage", no_wrap=True)
    table.add_column("seconds", justify="right", no_wrap=True)
    table.add_column("what it proved", overflow="fold")
    for ran in done:
        table.add_row(ran.name, f"{ran.seconds:.1f}", Text(ran.proved))
    table.add_row("together", f"{seconds:.1f}", "with the environments")
    return table


def digest_table(started: World, ledger: Ledger) -> Table:
    """The digest of each file in the ledger and on each index."""
    table = Table(box=SIMPLE, pad_edge=False)
    for title in ("file", "sha256 from the build", *(name.value for name in IndexName)):
        table.add_column(title, overflow="fold")
    for artifact in ledger.opening.artifacts:
        found = [held(started, ledger, name, artifact.name) for name in IndexName]
        said = ["the same" if digest == artifact.sha256 else digest or "absent" for digest in found]
        table.add_row(artifact.name, artifact.sha256, *said)
    return table
