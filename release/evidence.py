"""What a line of evidence holds and how it is written: the ledger's lines and the files of parallel jobs.

One text form for both: RFC 8785 JSON and a line feed. Reading is the inverse of writing and nothing more:
what this module would not have written, byte for byte, it refuses to read.
"""

import datetime as dt
import enum
import functools
import hashlib
import os
import platform
import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import rfc8785
from pydantic import ConfigDict, Field, PlainSerializer, TypeAdapter, ValidationError, with_config

from release.model import Artifact, Mode, Problem, Refused

__all__ = [
    "FOLDER",
    "LOCAL",
    "NO_LINE",
    "UPLOADS",
    "Evidence",
    "Line",
    "Opening",
    "Outcome",
    "Proof",
    "Ran",
    "Zeroth",
    "decode",
    "digests",
    "encode",
    "proof_problems",
    "read_evidence",
    "sha256",
    "write_evidence",
]

FOLDER = "evidence"
"""Below the ledger's folder: the evidence files of parallel jobs."""

NO_LINE: Literal["0"] = "0"
"""`prev` of line 0, which has no line before it."""

LOCAL = "local"
"""`ran.kind` outside a workflow."""

UPLOADS = ("testpypi", "pypi")
"""Stages that upload; each is also the name of the index and of the smoke leg that must follow it."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
GitId = Annotated[str, Field(pattern=r"^(?:[0-9a-f]{40}|[0-9a-f]{64})$")]
Word = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
"""A stage or a leg: also part of a file name."""
Whole = Annotated[int, Field(ge=0, le=2**53 - 1)]
Instant = Annotated[dt.datetime, PlainSerializer(lambda at: f"{at:%Y-%m-%dT%H:%M:%SZ}", return_type=str)]
"""UTC, whole seconds."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_PATH = re.compile(r"(?:^|[\s=:'\"(])(?:/[^\s/]|~/|[A-Za-z]:\\)")
"""A text that names a place on somebody's machine."""


class Outcome(enum.StrEnum):
    """How a leg of a stage ended."""

    PASSED = "passed"
    FAILED = "failed"
    SAMPLE = "sample"
    """Part of the work was done, and passed; it counts in a rehearsal only."""


@with_config(ConfigDict(strict=True, extra="forbid"))
@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """Where a stage ran: the kind of machine, never its name, its user or a path on it."""

    kind: str
    """`github-actions`, or `local`."""
    run: str
    """The workflow run's id; empty when local. No evidence crosses runs."""
    attempt: Whole
    os: str
    arch: str
    python: str

    @classmethod
    def here(cls, environ: Mapping[str, str] | None = None) -> "Ran":
        """Describe this process; `environ` defaults to its environment."""
        env = os.environ if environ is None else environ
        hosted = env.get("GITHUB_ACTIONS") == "true"
        attempt = env.get("GITHUB_RUN_ATTEMPT", "")
        return cls(
            kind="github-actions" if hosted else LOCAL,
            run=env.get("GITHUB_RUN_ID", "") if hosted else "",
            attempt=int(attempt) if hosted and attempt.isdecimal() else 1,
            os=platform.system().lower(),
            arch=platform.machine().lower(),
            python=platform.python_version(),
        )


@with_config(ConfigDict(strict=True, extra="forbid"))
@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What a release is: the project, the commit, the bytes, and what has to be proved about them."""

    mode: Mode
    project: str
    """The normalised name."""
    version: str
    tag: str
    """Empty in a build that no tag stands for."""
    tag_object: GitId | Literal[""]
    commit: GitId
    tree: GitId
    epoch: Whole
    """The commit's committer time, seconds since 1970."""
    locks: Mapping[str, Sha256]
    """Lock file (relative to the root, with `/`) -> SHA-256."""
    plan: Mapping[Word, tuple[Word, ...]]
    """Stage -> its legs, in the order in which they are collected."""
    artifacts: tuple[Artifact, ...]
    """The wheel and the sdist, by name."""

    def __post_init__(self) -> None:
        # Whoever opens a ledger may hand lists: what is kept is the same as what is read back.
        object.__setattr__(self, "plan", {stage: tuple(legs) for stage, legs in self.plan.items()})
        object.__setattr__(
            self, "artifacts", tuple(sorted(self.artifacts, key=lambda artifact: artifact.name))
        )
        names = [artifact.name for artifact in self.artifacts]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"no artefact, or two of one name: {', '.join(names)}")
        if any(not _SHA256.fullmatch(artifact.sha256) for artifact in self.artifacts):
            raise ValueError("an artefact's sha256 is not 64 lower-case hexadecimal digits")
        if bool(self.tag) != bool(self.tag_object) or (self.mode is Mode.RELEASE and not self.tag):
            raise ValueError("a release has a tag, and a tag has its object")


@dataclass(frozen=True, slots=True, kw_only=True)
class Zeroth(Opening):
    """Line 0 as it is written."""

    v: Literal[1] = 1
    n: Literal[0] = 0
    prev: Literal["0"] = NO_LINE
    stage: Literal["open"] = "open"
    at: Instant
    """Makes line 0, and with it the genesis, of every opening its own."""

    @property
    def opening(self) -> Opening:
        """Line 0 without what every line has."""
        return Opening(**{field.name: getattr(self, field.name) for field in fields(Opening)})


@with_config(ConfigDict(strict=True, extra="forbid"))
@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What one leg of one stage found: the common part of a ledger line and an evidence file."""

    v: Literal[1] = 1
    stage: Word
    leg: Word
    outcome: Outcome
    subject: Mapping[str, str]
    """What it vouches for: `commit` and `tree`, or file name -> SHA-256; all of them line 0's."""
    figures: Mapping[str, int | str]
    """Integers (milliseconds, basis points, counts) and short texts."""
    tools: Mapping[str, str]
    at: Instant
    ran: Ran


@dataclass(frozen=True, slots=True, kw_only=True)
class Line(Proof):
    """A ledger line behind line 0."""

    n: Annotated[int, Field(ge=1)]
    prev: Sha256
    """SHA-256 of the line before, without its line feed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence(Proof):
    """What a parallel job hands to `collect`."""

    genesis: Sha256
    """SHA-256 of line 0 of the ledger the job worked with."""

    @classmethod
    def of(cls, proof: Proof, *, genesis: str) -> "Evidence":
        """A proof as the file of a parallel job."""
        return cls(genesis=genesis, **{field.name: getattr(proof, field.name) for field in fields(Proof)})


def sha256(data: bytes) -> str:
    """Lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def digests(artifacts: tuple[Artifact, ...]) -> str:
    """SHA-256 over the canonical list of artefacts: what `--expect-digests` is compared with."""
    ordered = sorted(artifacts, key=lambda artifact: artifact.name)
    return sha256(rfc8785.dumps([asdict(artifact) for artifact in ordered]))


def encode(value: Zeroth | Line | Evidence) -> bytes:
    """The canonical text, without its line feed.

    Raises:
        ValueError: when the value holds what a ledger may not: a float, an integer beyond 2^53, an unknown
            type, a time that is not UTC, a path of this machine. That is a mistake in the stage.
    """
    data = rfc8785.dumps(_adapter(type(value)).dump_python(value, mode="json", warnings="error"))
    if decode(data, type(value)) != value:
        raise ValueError(f"would be read back as something else: {data.decode()}")
    return data


def decode[T: Zeroth | Line | Evidence](data: bytes, form: type[T]) -> T:
    """The inverse of `encode`.

    Raises:
        ValueError: with everything that is wrong, in one line each.
    """
    adapter = _adapter(form)
    try:
        value = adapter.validate_json(data)
    except ValidationError as error:
        found = (f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}" for each in error.errors())
        raise ValueError("\n".join(found)) from error
    plain = adapter.dump_python(value, mode="json")
    if rfc8785.dumps(plain) != data:
        raise ValueError(
            "is not in canonical form: RFC 8785 JSON, no unknown or repeated field, whole numbers, UTC with Z"
        )
    places = [text for text in _texts(plain) if _PATH.search(text)]
    if places:
        raise ValueError("\n".join(f"names a place on a machine: {text!r}" for text in places))
    return value


@functools.cache
def _adapter(form: type) -> TypeAdapter[Any]:
    """Making one takes milliseconds; a ledger has many lines of one form."""
    return TypeAdapter(form)


def proof_problems(opening: Opening, proof: Proof, *, where: str) -> list[Problem]:
    """What keeps a proof from belonging to a ledger that opened with `opening`."""
    problems: list[Problem] = []
    if proof.leg not in opening.plan.get(proof.stage, ()):
        legs = ", ".join(opening.plan.get(proof.stage, ())) or "none"
        problems.append(
            Problem(
                rule="ledger.in-plan",
                where=where,
                what=f"stage {proof.stage} leg {proof.leg} is not in the plan (its legs there: {legs})",
                remedy="run a leg of the plan, or build again where the plan has it",
            )
        )
    known = {"commit": opening.commit, "tree": opening.tree}
    known |= {artifact.name: artifact.sha256 for artifact in opening.artifacts}
    problems.extend(
        Problem(
            rule="ledger.same-subject",
            where=where,
            what=f"is about {name} {value}, the ledger is about {known.get(name, 'nothing of that name')}",
            remedy="repeat the stage for what this ledger opened with",
        )
        for name, value in proof.subject.items()
        if known.get(name) != value
    )
    return problems


def write_evidence(folder: Path, evidence: Evidence) -> Path:
    """Write `evidence/<stage>-<leg>.json` below the ledger's folder, whole or not at all; return its path."""
    target = folder / FOLDER / f"{evidence.stage}-{evidence.leg}.json"
    data = encode(evidence) + b"\n"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".", dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(target)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise Refused(
            Problem(
                rule="evidence.written",
                where=f"ledger/{FOLDER}/{target.name}",
                what=f"could not be written: {error.strerror}",
                remedy="make room or mend the permissions there, then run the same command again",
            )
        ) from error
    return target


def read_evidence(path: Path) -> Evidence:
    """Read one evidence file.

    Raises:
        Refused: when it is not exactly what `write_evidence` writes.
    """
    remedy = "run that job again; an evidence file is never edited"
    try:
        return decode(path.read_bytes().removesuffix(b"\n"), Evidence)
    except (OSError, ValueError) as error:
        raise Refused(
            Problem(rule="evidence.readable", where=f"{FOLDER}/{path.name}", what=str(error), remedy=remedy)
        ) from error


def _texts(value: object) -> list[str]:
    """Every text in a JSON value, keys included."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        pairs = cast("dict[str, object]", value).items()
        return [text for key, inner in pairs for text in (key, *_texts(inner))]
    if isinstance(value, list):
        return [text for inner in cast("list[object]", value) for text in _texts(inner)]
    return []
