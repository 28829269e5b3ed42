"""The frozen values every release stage speaks in. Knows no file, no tool and no network."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = [
    "Artifact",
    "Checked",
    "Kind",
    "Mode",
    "Problem",
    "Refused",
    "Report",
]


class Mode(enum.StrEnum):
    """What a ledger is for; it stands in line 0 and is the only switch."""

    RELEASE = "release"
    REHEARSAL = "rehearsal"


class Kind(enum.IntEnum):
    """How a stage ended; the value is the exit code of `python -m release`."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    NOT_YET = 75


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong: the rule, the place, what happened, and what to do about it."""

    rule: str
    """Stable id, `<area>.<rule>`, for example `tag.is-version`."""
    where: str
    """A file, a member of an archive, a ledger line, an index: what a person opens next."""
    what: str
    remedy: str

    def __str__(self) -> str:
        """Three parts on two lines, as a person reads them."""
        return f"{self.where}: {self.what} [{self.rule}]\n    remedy: {self.remedy}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One thing a stage looked at and what it found, for the reader of its output."""

    what: str
    found: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One file of a release: its name, its size in bytes, its SHA-256 in lower-case hex."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a stage did: printed for a person, its figures recorded in the ledger."""

    kind: Kind
    sentence: str
    """The last line of output says it: what was proved, or why not."""
    checked: Sequence[Checked] = ()
    problems: Sequence[Problem] = ()
    figures: Mapping[str, int | str] = field(default_factory=dict[str, int | str])
    """Integers only (milliseconds, basis points, counts) and short texts."""
    tools: Mapping[str, str] = field(default_factory=dict[str, str])
    """Name and version of each tool whose word this stage took."""


class Refused(Exception):  # noqa: N818 - a verdict with its reasons, not a malfunction
    """A stage must not go on. Carries every problem found, so that a person mends all of them in one go."""

    def __init__(self, *problems: Problem, kind: Kind = Kind.REFUSED) -> None:
        self.problems = problems
        self.kind = kind
        super().__init__("\n".join(str(problem) for problem in problems))
