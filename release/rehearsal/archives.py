"""What an index asks of the archive itself: a wheel's zip and an sdist's tar, read as untrusted bytes.

Pure, and independent of the build stage's own checks, which are about this project: these are what an index
asks of any project's file. Every problem is returned, nothing raises for what is wrong with the bytes.
"""

import base64
import configparser
import csv
import hashlib
import io
import struct
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from packaging.metadata import parse_email

from release.model import Problem
from release.rehearsal.rules import Filename
from release.rules.archives import DAMAGED

__all__ = ["RULES", "Contents", "read"]

RULES = {
    "archive.readable": "the file is an intact archive of the kind its name says",
    "archive.size": "unpacked it is neither absurdly large nor absurdly well compressed",
    "archive.duplicate-member": "no two members have one name",
    "archive.escaping-member": "no member's name or link leads outside the folder it is unpacked into",
    "archive.licence-files": "every License-File that the metadata names is in the archive",
    "wheel.strict-zip": "the zip has one reading: no bytes around its members, equal headers, no comment",
    "wheel.dist-info": "there is one .dist-info folder, named as the file",
    "wheel.wheel-file": "WHEEL is there, with a wheel version 1.x and tags",
    "wheel.metadata": "METADATA is there",
    "wheel.record": "RECORD lists exactly the members, each with its digest and size",
    "wheel.entry-points": "entry_points.txt, where there is one, can be read",
    "sdist.root": "everything lies in one folder, named as the file",
    "sdist.pkg-info": "PKG-INFO is there, in that folder",
    "sdist.sparse": "no member is sparse",
    "sdist.member-kind": "every member is a file, a folder or a link",
}
"""Rule -> what it asks. Every rule has a test that breaks it and nothing else."""

MAX_UNPACKED = 1 << 30
"""Bytes; what an index unpacks before it gives up."""
MAX_RATIO = 50
"""How many times larger a member of more than `RATIO_FROM` bytes may be unpacked than packed."""
RATIO_FROM = 64 << 20

_EOCD = struct.Struct("<4s4H2LH")
_CENTRAL = struct.Struct("<4s4B4HL2L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_LOCATOR_SIZE = 20
"""Of what points to a zip64 directory, right before the last record."""
_STREAMED = 0x08
_DESCRIPTOR_SIZES = (12, 16)
_REBUILD = "build the file anew with a current backend, and upload what it wrote"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What was found in one file."""

    metadata: bytes | None = None
    """METADATA or PKG-INFO, where it was found."""
    problems: tuple[Problem, ...] = ()


def read(file: Filename, data: bytes) -> Contents:
    """Everything an index asks of the archive of `file`."""
    found = _Found(file.name)
    members = _wheel_members(data, found) if file.wheel else _sdist_members(data, found)
    if found.unreadable:
        return Contents(problems=tuple(found.problems))
    stem = f"{file.project.replace('-', '_')}-{file.version}"
    metadata = _check_wheel(stem, members, found) if file.wheel else _check_sdist(stem, members, found)
    return Contents(metadata=metadata, problems=tuple(found.problems))


class _Found:
    """Problems of one file, as they are found."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.problems: list[Problem] = []

    @property
    def unreadable(self) -> bool:
        """Whether nothing in the archive is worth looking at."""
        return any(problem.rule in {"archive.readable", "archive.size"} for problem in self.problems)

    def add(self, rule: str, what: str, member: str = "") -> None:
        where = f"{self._name}: {member}" if member else self._name
        self.problems.append(Problem(rule=rule, where=where, what=what, remedy=_REBUILD))


def _wheel_members(data: bytes, found: _Found) -> dict[str, bytes]:
    """Files of a zip by name."""
    members: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as opened:
            infos = opened.infolist()
            if sum(info.file_size for info in infos) > MAX_UNPACKED:
                found.add("archive.size", "is too large unpacked")
                return {}
            for name, count in Counter(info.filename for info in infos).items():
                if count > 1:
                    found.add("archive.duplicate-member", f"is there {count} times", name)
            for info in infos:
                if _absurd(info.file_size, info.compress_size):
                    found.add("archive.size", "is compressed absurdly well", info.filename)
                    continue
                if _escapes(info.filename):
                    found.add("archive.escaping-member", "leads outside the folder", info.filename)
                if not info.is_dir():
                    members[info.filename] = opened.read(info)
        ambiguities = list(_ambiguities(data))
    except DAMAGED as error:
        found.add("archive.readable", f"is not an intact zip: {error}")
        return {}
    for what in ambiguities:
        found.add("wheel.strict-zip", what)
    return members


def _ambiguities(data: bytes) -> Iterator[str]:
    """Why two readers could see different members in one zip."""
    end_at = len(data) - _EOCD.size
    signature, disk, start_disk, here, count, size, offset, comment = _EOCD.unpack_from(data, end_at)
    if signature != b"PK\x05\x06" or comment or disk or start_disk or here != count:
        yield "its directory does not end at the file's end"
        return
    if data[end_at - _LOCATOR_SIZE :].startswith(b"PK\x06\x07"):
        yield "it has a second directory, which only readers of zip64 see"
        return
    if offset + size != end_at:
        yield "there are bytes between its directory and its end"
        return
    at, expected = offset, 0
    # That each entry begins as one is what zipfile has looked at.
    for _ in range(count):
        central = _CENTRAL.unpack_from(data, at)
        name_size, extra_size, note_size, local_at = central[12], central[13], central[14], central[18]
        if local_at != expected:
            yield "its members do not follow each other without a gap"
            return
        at += _CENTRAL.size
        name = data[at : at + name_size]
        at += name_size + extra_size + note_size
        local = _LOCAL.unpack_from(data, local_at)
        named_at = local_at + _LOCAL.size
        if local[0] != b"PK\x03\x04" or data[named_at : named_at + local[9]] != name:
            yield f"the header of member {name.decode('utf-8', 'replace')} differs from the directory's"
            return
        packed = central[10]
        if not local[2] & _STREAMED and (local[7], local[8]) != (packed, central[11]):
            yield f"the sizes of member {name.decode('utf-8', 'replace')} differ from the directory's"
            return
        expected = named_at + local[9] + local[10] + packed
        if local[2] & _STREAMED:
            expected += _DESCRIPTOR_SIZES[data[expected : expected + 4] == b"PK\x07\x08"]
    if expected != offset or at != end_at:
        yield "there are bytes between its members and its directory"


def _check_wheel(stem: str, members: Mapping[str, bytes], found: _Found) -> bytes | None:
    """The members a wheel must have; returns its METADATA."""
    folders = {name.partition("/")[0] for name in members}
    folder = f"{stem}.dist-info"
    infos = sorted(name for name in folders if name.endswith(".dist-info"))
    if infos != [folder]:
        found.add("wheel.dist-info", f"has {', '.join(infos) or 'no folder'} where {folder} should be")
        return None
    wheel = parse_email(members.get(f"{folder}/WHEEL", b""))[1]
    if [version[:2] for version in wheel.get("wheel-version", [])] != ["1."] or not wheel.get("tag"):
        found.add(
            "wheel.wheel-file", "is missing, or names no wheel version 1.x or no tag", f"{folder}/WHEEL"
        )
    if f"{folder}/entry_points.txt" in members:
        _check_entry_points(f"{folder}/entry_points.txt", members, found)
    _check_record(f"{folder}/RECORD", members, found)
    metadata = members.get(f"{folder}/METADATA")
    if metadata is None:
        found.add("wheel.metadata", "is missing", f"{folder}/METADATA")
        return None
    _check_licences(f"{folder}/licenses", metadata, members, found)
    return metadata


def _check_entry_points(name: str, members: Mapping[str, bytes], found: _Found) -> None:
    parser = configparser.RawConfigParser(delimiters=("=",))
    try:
        parser.read_string(members[name].decode())
    except (configparser.Error, UnicodeDecodeError) as error:
        found.add("wheel.entry-points", f"cannot be read: {str(error).splitlines()[0]}", name)


def _check_record(name: str, members: Mapping[str, bytes], found: _Found) -> None:
    if name not in members:
        found.add("wheel.record", "is missing", name)
        return
    try:
        rows = list(csv.reader(members[name].decode().splitlines(), strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        found.add("wheel.record", f"cannot be read: {error}", name)
        return
    listed = {row[0]: row[1:] for row in rows if row}
    unsigned = {name, f"{name}.jws", f"{name}.p7s"}
    for member in sorted(members.keys() - listed.keys() - unsigned):
        found.add("wheel.record", "is not listed in RECORD", member)
    for member in sorted(listed.keys() - members.keys()):
        found.add("wheel.record", "is listed in RECORD and is not there", member)
    for member in sorted(listed.keys() & members.keys() - unsigned):
        own = base64.urlsafe_b64encode(hashlib.sha256(members[member]).digest()).rstrip(b"=").decode()
        if listed[member] != [f"sha256={own}", str(len(members[member]))]:
            found.add("wheel.record", "has another digest or size in RECORD", member)


def _sdist_members(data: bytes, found: _Found) -> dict[str, bytes]:
    """Files of a gzipped tar by name."""
    members: dict[str, bytes] = {}
    try:
        unpacker = zlib.decompressobj(wbits=31)
        tar = unpacker.decompress(data, MAX_UNPACKED)
        if unpacker.unconsumed_tail or _absurd(len(tar), len(data)):
            found.add("archive.size", "is too large unpacked, or compressed absurdly well")
            return {}
        if not unpacker.eof or unpacker.unused_data:
            found.add("archive.readable", "is not one whole gzip stream")
            return {}
        with tarfile.open(fileobj=io.BytesIO(tar), mode="r:") as opened:
            infos = opened.getmembers()
            for name, count in Counter(info.name for info in infos).items():
                if count > 1:
                    found.add("archive.duplicate-member", f"is there {count} times", name)
            for info in infos:
                _check_tar_member(info, found)
                if info.isfile() and not info.issparse() and (stored := opened.extractfile(info)):
                    members[info.name] = stored.read()
    except DAMAGED as error:
        found.add("archive.readable", f"is not an intact gzipped tar: {error}")
        return {}
    return members


def _check_tar_member(info: tarfile.TarInfo, found: _Found) -> None:
    target = info.linkname if info.islnk() else f"{info.name.rpartition('/')[0]}/{info.linkname}"
    linked = info.issym() or info.islnk()
    if _escapes(info.name) or (linked and (info.linkname.startswith("/") or _climbs(target))):
        found.add("archive.escaping-member", "leads outside the folder", info.name)
    if info.issparse():
        found.add("sdist.sparse", "is sparse", info.name)
    elif not (info.isfile() or info.isdir() or linked):
        found.add("sdist.member-kind", "is neither file, folder nor link", info.name)


def _check_sdist(stem: str, members: Mapping[str, bytes], found: _Found) -> bytes | None:
    """The members an sdist must have; returns its PKG-INFO."""
    roots = sorted({name.partition("/")[0] for name in members})
    if roots != [stem]:
        found.add("sdist.root", f"holds {', '.join(roots) or 'nothing'} where only {stem}/ should be")
        return None
    metadata = members.get(f"{stem}/PKG-INFO")
    if metadata is None:
        found.add("sdist.pkg-info", "is missing", f"{stem}/PKG-INFO")
        return None
    _check_licences(stem, metadata, members, found)
    return metadata


def _check_licences(folder: str, metadata: bytes, members: Mapping[str, bytes], found: _Found) -> None:
    for name in parse_email(metadata)[0].get("license_files", []):
        if f"{folder}/{name}" not in members:
            found.add(
                "archive.licence-files", "is named by License-File and is not there", f"{folder}/{name}"
            )


def _escapes(name: str) -> bool:
    """Whether a member could be written outside the folder it is unpacked into."""
    return not name or "\\" in name or "\0" in name or ":" in name or name.startswith("/") or _climbs(name)


def _climbs(name: str) -> bool:
    """Whether a relative path leaves where it starts, at its end or on its way."""
    depth = 0
    for part in name.split("/"):
        depth += -1 if part == ".." else part not in {"", "."}
        if depth < 0:
            return True
    return False


def _absurd(unpacked: int, packed: int) -> bool:
    return unpacked > RATIO_FROM and unpacked > MAX_RATIO * packed
