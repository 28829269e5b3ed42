"""What a rehearsal shows at its end: every stage with its time, every digest, and what is wrong."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from release.indexes import IndexName
from release.ledger import Ledger
from release.model import Problem
from release.rehearsal.world import World
from release.rules.archives import digest_of

__all__ = ["Ran", "defects", "digest_problems", "digest_table", "held", "stage_table"]


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
