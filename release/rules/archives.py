"""Reading a wheel or an sdist as untrusted bytes, and saying where two of them differ.

Owns the shape of an archive: which members it has, whether each is a plain file at a place that cannot
escape, whether the container is intact. It knows nothing of what a project's archive should hold.
"""

import gzip
import hashlib
import io
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from calendar import timegm
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from release.model import Artifact, Problem

__all__ = [
    "DAMAGED",
    "LIMIT",
    "Archive",
    "Member",
    "differences",
    "digest",
    "digest_of",
    "measure",
    "read_archive",
]

LIMIT = 64 * 1024 * 1024
"""Bytes an archive may hold unpacked; a larger one is refused before it fills the memory."""

DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)
"""What the standard library raises for bytes that are no intact archive; some of it only for hostile ones."""

_REBUILD = "remove dist/ and ledger/, then run `nox -s build`; never edit a built file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One plain file in an archive."""

    name: str
    data: bytes
    mode: int
    """Permission bits."""
    mtime: int
    """Seconds since the epoch; a zip stores even seconds only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A wheel or an sdist that was read to its end."""

    name: str
    """The file's name, which says what it is: `*.whl` or `*.tar.gz`."""
    members: Sequence[Member]
    """Its plain files, in stored order; what is not a plain file stands in `problems` only."""
    problems: Sequence[Problem]

    def get(self, name: str) -> bytes | None:
        """The bytes of the member `name`, or None."""
        return next((member.data for member in self.members if member.name == name), None)


def digest_of(data: bytes) -> str:
    """SHA-256 of `data`, lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def digest(path: Path) -> str:
    """SHA-256 of a file, lower-case hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def measure(path: Path) -> Artifact:
    """Name, size and digest of a file as it is now."""
    return Artifact(name=path.name, size=path.stat().st_size, sha256=digest(path))


def read_archive(name: str, data: bytes) -> Archive:
    """Read a wheel (`*.whl`) or an sdist (`*.tar.gz`) to its end.

    Never raises for what is wrong with the bytes: every defect is a problem of the archive that is returned.

    Args:
        name: The file's name.
        data: The whole file.
    """
    problems: list[Problem] = []

    def found(rule: str, member: str, what: str) -> None:
        where = f"{name}: {member}" if member else name
        problems.append(Problem(rule=f"artefact.{rule}", where=where, what=what, remedy=_REBUILD))

    if name.endswith(".whl"):
        members = list(_read_wheel(data, found))
    elif name.endswith(".tar.gz"):
        members = list(_read_sdist(data, found))
    else:
        members = []
        found("kind", "", "is neither a wheel (.whl) nor an sdist (.tar.gz)")
    for repeated, count in Counter(member.name for member in members).items():
        if count > 1:
            found(
                "duplicate-member",
                repeated,
                f"stands {count} times in the archive; installers take different ones",
            )
    folded = Counter(
        member.name.casefold() for member in {member.name: member for member in members}.values()
    )
    for clash in (fold for fold, count in folded.items() if count > 1):
        found(
            "case-clash", clash, "differs from another member by letter case only; not every disk keeps both"
        )
    return Archive(name=name, members=tuple(members), problems=tuple(problems))


_Found = Callable[[str, str, str], None]


def _escapes(name: str) -> bool:
    """Whether a member's name could be written outside the folder it is unpacked into."""
    parts = name.split("/")
    return (
        not name
        or "\\" in name
        or "\0" in name
        or ":" in name
        or "" in parts
        or "." in parts
        or ".." in parts
    )


def _read_wheel(data: bytes, found: _Found) -> Iterator[Member]:
    """The plain files of a zip; a wheel stores no folder entries."""
    try:
        opened = zipfile.ZipFile(io.BytesIO(data))
    except DAMAGED as error:
        found("readable", "", f"is not a readable zip file: {error}")
        return
    with opened as archive:
        if data[:4] != b"PK\x03\x04" or data[-22:-18] != b"PK\x05\x06":
            found("strict-zip", "", "has bytes before its first member or behind its directory")
        if data[-42:-38] == b"PK\x06\x07":
            found("strict-zip", "", "has a second directory, which only readers of zip64 see")
        left = LIMIT
        for info in archive.infolist():
            if _escapes(info.filename):
                found(
                    "escaping-member",
                    info.filename,
                    "could be written outside the folder it is unpacked into",
                )
                continue
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG):
                found("member-kind", info.filename, "is not a plain file")
                continue
            left -= info.file_size
            if left < 0:
                found("size", info.filename, f"brings the unpacked size over {LIMIT} bytes")
                return
            try:
                content = archive.read(info)
                mtime = timegm((*info.date_time, 0, 0, 0))
            except DAMAGED as error:
                found("intact", info.filename, f"cannot be unpacked: {error}")
                continue
            yield Member(
                name=info.filename,
                data=content,
                mode=stat.S_IMODE(info.external_attr >> 16),
                mtime=mtime,
            )


def _read_sdist(data: bytes, found: _Found) -> Iterator[Member]:
    """The plain files of a gzipped tar; hatchling stores no folder entries."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as unpacking:
            content = unpacking.read(LIMIT + 1)
    except DAMAGED as error:
        found("readable", "", f"is not an intact gzip file: {error}")
        return
    if len(content) > LIMIT:
        found("size", "", f"unpacks to more than {LIMIT} bytes")
        return
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            for info in archive:
                if _escapes(info.name):
                    found(
                        "escaping-member",
                        info.name,
                        "could be written outside the folder it is unpacked into",
                    )
                    continue
                if not info.isreg() or info.issparse():
                    found("member-kind", info.name, "is not a plain file")
                    continue
                stored = archive.extractfile(info)
                member = stored.read() if stored is not None else b""
                yield Member(name=info.name, data=member, mode=stat.S_IMODE(info.mode), mtime=int(info.mtime))
    except DAMAGED as error:
        found("readable", "", f"is not an intact tar file: {error}")


def differences(one: Archive, one_data: bytes, other: Archive, other_data: bytes) -> list[str]:
    """Where two archives differ, a sentence a member; empty when their bytes are the same.

    Args:
        one: The archive that is compared with.
        one_data: Its bytes.
        other: The archive that should be the same.
        other_data: Its bytes.
    """
    if one_data == other_data:
        return []
    mine = {member.name: member for member in one.members}
    theirs = {member.name: member for member in other.members}
    said = [f"{name} is only in the first" for name in mine.keys() - theirs.keys()]
    said += [f"{name} is only in the second" for name in theirs.keys() - mine.keys()]
    for name in mine.keys() & theirs.keys():
        said.extend(_member_differences(mine[name], theirs[name]))
    if said:
        return sorted(said)
    if [member.name for member in one.members] != [member.name for member in other.members]:
        return ["the members are the same, but stored in another order"]
    at = _first_difference(one_data, other_data)
    return [f"every member is the same; the container differs from byte {at} on (compression or header)"]


def _member_differences(one: Member, other: Member) -> Iterator[str]:
    """What differs in one member."""
    if one.data != other.data:
        at = _first_difference(one.data, other.data)
        yield f"{one.name} differs from byte {at} on ({len(one.data)} and {len(other.data)} bytes)"
    if one.mode != other.mode:
        yield f"{one.name} has mode {one.mode:o} in the first, {other.mode:o} in the second"
    if one.mtime != other.mtime:
        yield f"{one.name} has time {one.mtime} in the first, {other.mtime} in the second"


def _first_difference(one: bytes, other: bytes) -> int:
    """The offset of the first byte that differs, the shorter length when one begins with the other."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (left, right) in pairs if left != right), min(len(one), len(other)))
