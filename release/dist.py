"""What stands in `dist/`: exactly the ledger's artefacts, put there whole or not at all.

Owns the two folders' state when a build ends, whatever a build before left: every order of steps here may be
cut short at any point and is taken up by the next run.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from release import resume
from release.builder import unequal
from release.context import Context
from release.ledger import Ledger, Opening
from release.model import Artifact, Problem, Refused
from release.resume import Build
from release.rules.archives import measure

__all__ = ["dist_problems", "keep"]


def keep(
    context: Context, decision: Build, ledger: Ledger | None, opening: Opening, made: Sequence[Path]
) -> Ledger:
    """Step 4: `dist/` and the ledger as they must stand at the end, from whatever a run before left."""
    if decision is Build.COMPARE and ledger is not None:
        problems = resume.same_bytes(ledger.opening, opening.artifacts)
        problems += dist_problems(context.dist, ledger.opening.artifacts)
        for path in made:
            before = context.dist / path.name
            if before.is_file():
                problems += unequal(before, "dist/", path, "made now")
        if problems:
            raise Refused(*problems)
        if not context.dist.exists():
            _place(context, made)
        return ledger
    label = "unknown"
    if ledger is not None:
        label = ledger.opening.commit[:12]
        _aside(context, context.ledger, label=label)
    if context.dist.exists() and dist_problems(context.dist, opening.artifacts):
        _aside(context, context.dist, label=label)
    if not context.dist.exists():
        _place(context, made)
    return Ledger.create(context.ledger, opening, at=context.now())


def dist_problems(dist: Path, artifacts: Sequence[Artifact]) -> list[Problem]:
    """Where an existing `dist/` is not exactly the ledger's artefacts."""
    if not dist.exists():
        return []
    wanted = {artifact.name: artifact for artifact in artifacts}
    present = {path.name: path for path in dist.iterdir()}
    found: list[Problem] = []
    for name in sorted(wanted.keys() | present.keys()):
        if name not in wanted:
            what = "is none of the ledger's artefacts"
        elif name not in present:
            what = "is missing"
        elif not present[name].is_file() or measure(present[name]) != wanted[name]:
            what = f"has other bytes than the ledger's (sha256 {wanted[name].sha256})"
        else:
            continue
        found.append(
            Problem(
                rule="build.dist",
                where=f"dist/{name}",
                what=what,
                remedy="move dist/ away and run `nox -s build` again: the same commit makes the same bytes",
            )
        )
    return found


def _place(context: Context, made: Sequence[Path]) -> None:
    """Let `dist/` appear whole, in one rename."""
    fresh = context.root / "dist.new"
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        fresh.mkdir()
        for path in made:
            target = fresh / path.name
            with target.open("wb") as file:
                file.write(path.read_bytes())
                file.flush()
                os.fsync(file.fileno())
        fresh.rename(context.dist)
    except OSError as error:
        raise Refused(
            Problem(
                rule="build.dist-written",
                where="dist/",
                what=f"could not be written: {error.strerror}",
                remedy="make room or mend the permissions of the checkout, then run the same command again",
            )
        ) from error


def _aside(context: Context, folder: Path, *, label: str) -> None:
    """Keep what another commit left, under another name."""
    kept = resume.set_aside(folder, label=label)
    if kept is not None:
        context.console.print(f"  {folder.name}/ is of another commit: kept as {kept.name}/")
