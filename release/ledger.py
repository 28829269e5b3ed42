"""The record of one release: a file of chained lines that every stage verifies, adds to and resumes from.

It owns the file: the chain, one writer at a time, one write and an fsync for each line, a torn last line set
aside. It knows no stage, no git and no network. The chain shows accidents, not attackers: whoever can write
the file can rewrite all of it, which is why jobs hand the last line's digest on beside it.
"""

import datetime as dt
import errno
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

from filelock import FileLock, Timeout

from release.evidence import (
    UPLOADS,
    Line,
    Opening,
    Outcome,
    Proof,
    Ran,
    Zeroth,
    decode,
    digests,
    encode,
    proof_problems,
    sha256,
)
from release.model import Mode, Problem, Refused

__all__ = ["AUDIT_AGE", "NAME", "Ledger", "Line", "Opening", "Outcome", "Ran"]

NAME = "ledger.jsonl"

LOCK_NAME = ".lock"
LOCK_WAIT_S = 10.0
"""How long a writer waits for another: appending a line takes milliseconds."""

AUDIT_AGE = dt.timedelta(hours=24)
"""Advisories change daily: the only evidence that grows old."""

_RESTORE = (
    "restore the file from where the last stage left it (the job's artefact), or, when nothing was uploaded "
    "yet, move ledger/ and dist/ away and run `nox -s build`"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chain:
    """A verified ledger: line 0, the lines behind it, and the digest of each, line 0's first."""

    zeroth: Zeroth
    lines: tuple[Line, ...]
    shas: tuple[str, ...]


class Ledger:
    """One release's ledger. Make it with `create` or `read`; a broken one cannot be had."""

    def __init__(self, folder: Path, chain: _Chain, torn: Path | None) -> None:
        self.folder = folder
        self._chain = chain
        self._torn = torn

    def __repr__(self) -> str:
        opening = self.opening
        return f"<Ledger {opening.mode} {opening.version} {opening.commit[:12]} lines={len(self.lines)}>"

    @classmethod
    def create(cls, folder: Path, opening: Opening, *, at: dt.datetime) -> "Ledger":
        """Open a new ledger: write line 0.

        Raises:
            Refused: when there is a ledger already, another process writes it, or it cannot be written.
        """
        zeroth = Zeroth(
            at=_whole(at), **{field.name: getattr(opening, field.name) for field in fields(Opening)}
        )
        data = encode(zeroth)
        with _writer(folder):
            path = folder / NAME
            found = path.read_bytes() if path.exists() else b""
            torn = _set_aside(path, b"", found, n=0) if found and _torn_part(found) == found else None
            if found and torn is None:
                raise Refused(
                    Problem(
                        rule="ledger.absent",
                        where=f"ledger/{NAME}",
                        what="exists already; line 0 is written once",
                        remedy="go on with it, or move ledger/ and dist/ away first",
                    )
                )
            _write(path, data)
        return cls(folder, _verified(data + b"\n"), torn)

    @classmethod
    def read(cls, folder: Path) -> "Ledger":
        """Read and verify the ledger in `folder`; a torn last line is set aside (see `torn`).

        Raises:
            Refused: when there is none (rule `ledger.present`), or with every defect of the chain; the file
                is then left as it is.
        """
        path = folder / NAME
        data = _read(path)
        if not _torn_part(data):
            return cls(folder, _verified(data), None)
        with _writer(folder):
            # Only a writer that holds the lock can tell a torn line from one that is just being written.
            data = _read(path)
            part = _torn_part(data)
            whole = data[: len(data) - len(part)]
            if not whole:
                torn = _set_aside(path, whole, part, n=0)
                raise _absent(f"held a torn line only, set aside as {torn.name}")
            # Verified first: from a broken file nothing is cut off.
            chain = _verified(whole)
            return cls(folder, chain, _set_aside(path, whole, part, n=len(chain.shas)) if part else None)

    @property
    def opening(self) -> Opening:
        """What line 0 binds everything to."""
        return self._chain.zeroth.opening

    @property
    def opened_at(self) -> dt.datetime:
        """When line 0 was written, UTC."""
        return self._chain.zeroth.at

    @property
    def lines(self) -> tuple[Line, ...]:
        """Every line behind line 0."""
        return self._chain.lines

    @property
    def head(self) -> str:
        """SHA-256 of the last line: what a job hands on for `--expect-head`."""
        return self._chain.shas[-1]

    @property
    def genesis(self) -> str:
        """SHA-256 of line 0: what an evidence file names."""
        return self._chain.shas[0]

    @property
    def digests(self) -> str:
        """SHA-256 over the artefact list: what a job hands on for `--expect-digests`."""
        return digests(self.opening.artifacts)

    @property
    def torn(self) -> Path | None:
        """Where reading set a torn last line aside; None when it was whole."""
        return self._torn

    def latest(self, stage: str, leg: str = "all") -> Line | None:
        """The last line of a stage and leg: the only one that counts."""
        return next((line for line in reversed(self.lines) if (line.stage, line.leg) == (stage, leg)), None)

    def passed(self, stage: str, leg: str = "all", *, now: dt.datetime | None = None) -> bool:
        """True when the last line of a stage and leg counts as passed.

        A sample counts in a rehearsal only. A smoke counts when it follows the last upload to its index. An
        audit counts for 24 hours before `now`, and not at all without `now`; nothing else grows old.
        """
        line = self.latest(stage, leg)
        good = (Outcome.PASSED, Outcome.SAMPLE) if self.opening.mode is Mode.REHEARSAL else (Outcome.PASSED,)
        if line is None or line.outcome not in good:
            return False
        if stage == "smoke" and leg in UPLOADS:
            upload = self.latest(leg)
            return upload is not None and upload.outcome is Outcome.PASSED and upload.n < line.n
        if stage == "audit":
            return now is not None and dt.timedelta(0) <= now - line.at < AUDIT_AGE
        return True

    def uploaded(self) -> bool:
        """True when any line says that an upload was tried: some file may be public."""
        return any(line.stage in UPLOADS for line in self.lines)

    def append(
        self,
        *,
        stage: str,
        leg: str = "all",
        outcome: Outcome,
        subject: Mapping[str, str],
        figures: Mapping[str, int | str],
        tools: Mapping[str, str],
        at: dt.datetime,
        ran: Ran | None = None,
    ) -> Line:
        """Add a line and bring this object up to date with the file; returns the line.

        Another process may have added lines since this object read the file: they stay, and the new line
        follows them.

        Args:
            stage: The stage.
            leg: Its leg.
            outcome: How it ended.
            subject: What it vouches for; must be line 0's.
            figures: Integers and short texts.
            tools: Name and version of each tool whose word is taken.
            at: UTC; kept to the second.
            ran: Where it ran; this process by default.

        Raises:
            Refused: when the leg is not in the plan, the subject is not line 0's, another process holds the
                file, the file is no continuation of what this object has read, or it cannot be written.
            ValueError: when a figure is no integer or text, or names a path of this machine.
        """
        proof = Proof(
            stage=stage,
            leg=leg,
            outcome=outcome,
            subject=dict(subject),
            figures=dict(figures),
            tools=dict(tools),
            at=_whole(at),
            ran=ran or Ran.here(),
        )
        problems = proof_problems(self.opening, proof, where=f"{stage} {leg}")
        if problems:
            raise Refused(*problems)
        path = self.folder / NAME
        with _writer(self.folder):
            data = _read(path)
            part = _torn_part(data)
            whole = data[: len(data) - len(part)]
            chain = _verified(whole) if whole else None
            if chain is None or chain.shas[: len(self._chain.shas)] != self._chain.shas:
                raise Refused(
                    Problem(
                        rule="ledger.same-file",
                        where=f"ledger/{NAME}",
                        what="was replaced meanwhile: it does not go on from what this stage has read",
                        remedy="run the stage again",
                    )
                )
            if part:
                self._torn = _set_aside(path, whole, part, n=len(chain.shas))
            common = {field.name: getattr(proof, field.name) for field in fields(Proof)}
            line = Line(n=len(chain.shas), prev=chain.shas[-1], **common)
            encoded = encode(line)
            _write(path, encoded)
        self._chain = _Chain(
            zeroth=chain.zeroth, lines=(*chain.lines, line), shas=(*chain.shas, sha256(encoded))
        )
        return line


def _whole(at: dt.datetime) -> dt.datetime:
    """A time as the ledger keeps it: UTC, whole seconds."""
    if at.tzinfo is None:
        raise ValueError(f"{at} has no time zone")
    return at.astimezone(dt.UTC).replace(microsecond=0)


def _torn_part(data: bytes) -> bytes:
    """What stands behind the last line feed: a line whose writing was cut short."""
    return data[data.rfind(b"\n") + 1 :]


def _verified(data: bytes) -> _Chain:
    """Check every line of a file that ends in a line feed, and the chain through all of them.

    Raises:
        Refused: when it is empty (rule `ledger.present`), or with every defect found.
    """
    if not data:
        raise _absent("is empty")
    raw = data.removesuffix(b"\n").split(b"\n")
    shas = tuple(sha256(line) for line in raw)
    problems: list[Problem] = []
    zeroth: Zeroth | None = None
    lines: list[Line] = []
    for n, line in enumerate(raw):
        where = f"ledger/{NAME} line {n + 1} (n={n})"
        try:
            if n == 0:
                zeroth = decode(line, Zeroth)
                continue
            value = decode(line, Line)
        except ValueError as error:
            problems.append(Problem(rule="ledger.readable", where=where, what=str(error), remedy=_RESTORE))
            continue
        if value.n != n:
            what = f"says it is n={value.n}: a line was removed, added, repeated or moved"
            problems.append(Problem(rule="ledger.numbered", where=where, what=what, remedy=_RESTORE))
        if value.prev != shas[n - 1]:
            what = "does not name the line before it: one of the two was changed or moved"
            problems.append(Problem(rule="ledger.chained", where=where, what=what, remedy=_RESTORE))
        if zeroth is not None:
            problems.extend(proof_problems(zeroth, value, where=where))
        lines.append(value)
    if problems or zeroth is None:
        raise Refused(*problems)
    return _Chain(zeroth=zeroth, lines=tuple(lines), shas=shas)


@contextmanager
def _writer(folder: Path) -> Generator[None]:
    """Be the only writer of the ledger in `folder`."""
    lock = FileLock(folder / LOCK_NAME, timeout=LOCK_WAIT_S)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise Refused(
            Problem(
                rule="ledger.one-writer",
                where=f"ledger/{NAME}",
                what=f"another process has been writing it for {LOCK_WAIT_S:g} s",
                remedy="wait until the other stage has ended, then run the same command again",
            )
        ) from error
    except OSError as error:
        raise _not_written(error) from error
    try:
        yield
    finally:
        lock.release()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise _absent("does not exist") from error
    except OSError as error:
        raise Refused(
            Problem(
                rule="ledger.readable",
                where=f"ledger/{NAME}",
                what=f"could not be read: {error.strerror}",
                remedy="mend the permissions of ledger/",
            )
        ) from error


def _write(path: Path, line: bytes) -> None:
    """Add one line with one write, then fsync; what a full disk left of it is taken back."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
        try:
            before = os.fstat(descriptor).st_size
            data = line + b"\n"
            try:
                _write_whole(descriptor, data)
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, before)
                raise
        finally:
            os.close(descriptor)
        if before == 0:
            _sync_folder(path.parent)
    except OSError as error:
        raise _not_written(error) from error


def _write_whole(descriptor: int, data: bytes) -> None:
    """One write; a full disk may take a part of it without an error."""
    if os.write(descriptor, data) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _set_aside(path: Path, whole: bytes, part: bytes, *, n: int) -> Path:
    """Keep a torn line beside the ledger, then cut it off; safe to be cut short itself at any point."""
    aside = path.with_name(f"torn-{n}-{sha256(part)[:12]}.txt")
    try:
        with aside.open("wb") as file:
            file.write(part)
            file.flush()
            os.fsync(file.fileno())
        with path.open("r+b") as file:
            file.truncate(len(whole))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _not_written(error) from error
    return aside


def _sync_folder(folder: Path) -> None:
    """Make a new file's name durable too; Windows needs no such step and cannot open folders."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _absent(what: str) -> Refused:
    return Refused(
        Problem(
            rule="ledger.present",
            where=f"ledger/{NAME}",
            what=what,
            remedy="run `nox -s build`, which opens it",
        )
    )


def _not_written(error: OSError) -> Refused:
    return Refused(
        Problem(
            rule="ledger.written",
            where=f"ledger/{NAME}",
            what=f"could not be written: {error.strerror}",
            remedy="make room or mend the permissions of ledger/, then run the same command again",
        )
    )
