"""What a second run does with what the first left behind: pure decisions, and setting a folder aside."""

import enum
from dataclasses import dataclass
from pathlib import Path

from release.ledger import Ledger, Opening
from release.model import Artifact, Problem, Refused

__all__ = ["Build", "build_again", "done", "same_bytes", "set_aside"]


class Build(enum.Enum):
    """What `build` does about the ledger it finds."""

    OPEN = "open"
    """There is none: make the files and open one."""
    COMPARE = "compare"
    """It is this commit's: make the files again and compare."""
    SET_ASIDE = "set aside"
    """It is another commit's and nothing was uploaded: set it aside, then open a new one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Difference:
    name: str
    before: object
    now: object


def build_again(ledger: Ledger | None, wanted: Opening) -> Build:
    """What `build` does about the ledger it finds.

    Args:
        ledger: The ledger in the folder, if any.
        wanted: What a new ledger would open with; its artefacts do not matter here, see `same_bytes`.

    Raises:
        Refused: when it is a ledger of the other mode, or one of another commit, tag or version from which
            something may have been uploaded.
    """
    if ledger is None:
        return Build.OPEN
    found = ledger.opening
    if found.mode is not wanted.mode:
        raise Refused(
            Problem(
                rule="build.same-mode",
                where="ledger/ledger.jsonl",
                what=f"is a {found.mode} ledger, this is a {wanted.mode} build; each refuses the other's",
                remedy="move ledger/ and dist/ away, or build in a clone of its own",
            )
        )
    names = ("project", "version", "tag", "tag_object", "commit", "tree", "epoch", "locks", "plan")
    pairs = (_Difference(name=name, before=getattr(found, name), now=getattr(wanted, name)) for name in names)
    differing = [pair for pair in pairs if pair.before != pair.now]
    if not differing:
        return Build.COMPARE
    if not ledger.uploaded():
        return Build.SET_ASIDE
    raise Refused(
        *(
            Problem(
                rule="build.uploaded",
                where="ledger/ledger.jsonl",
                what=f"something was uploaded from {pair.name} {pair.before}, this build is of {pair.now}",
                remedy="finish that release, or keep its record: move ledger/ and dist/ away, then build",
            )
            for pair in differing
        )
    )


def same_bytes(opening: Opening, made: tuple[Artifact, ...]) -> list[Problem]:
    """What differs between the files of line 0 and those that were made again from the same commit."""
    before = {artifact.name: artifact for artifact in opening.artifacts}
    now = {artifact.name: artifact for artifact in made}
    return [
        Problem(
            rule="build.same-bytes",
            where=f"dist/{name}",
            what=f"the ledger has {_described(before.get(name))}; made now: {_described(now.get(name))}",
            remedy="the commit is the same, so the tools are not: build with what the locks install",
        )
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]


def done(ledger: Ledger | None, stage: str, leg: str, *, again: bool) -> bool:
    """True when a gate has passed already and need not run; `again` is the person's `-- --again`."""
    return ledger is not None and not again and ledger.passed(stage, leg)


def set_aside(folder: Path, *, label: str) -> Path | None:
    """Rename a folder to `<name>.<label>`, or with a number behind it when that is taken.

    Returns:
        The new path; None when there is no such folder.
    """
    if not folder.exists():
        return None
    taken = 1
    target = folder.with_name(f"{folder.name}.{label}")
    while target.exists():
        taken += 1
        target = folder.with_name(f"{folder.name}.{label}.{taken}")
    return folder.rename(target)


def _described(artifact: Artifact | None) -> str:
    return "no such file" if artifact is None else f"{artifact.size} bytes, sha256 {artifact.sha256}"
