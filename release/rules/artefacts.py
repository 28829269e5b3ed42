"""What the wheel and the sdist must hold: exactly the tree's files, what the backend adds, and nothing else.

Owns the expected content of both artefacts, derived from pyproject.toml and the commit's files, and the
checks of what hatchling generates (WHEEL, RECORD, entry points). Bytes come in, problems go out.
"""

import base64
import configparser
import csv
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from release.model import Problem
from release.rules.archives import Archive, digest, measure
from release.rules.metadata import Declared, metadata_problems

__all__ = [
    "Tree",
    "digest",
    "expected_sdist",
    "expected_wheel",
    "measure",
    "sdist_problems",
    "wheel_problems",
]

GENERATED = None
"""Stands in an expectation for a member whose bytes the backend writes."""

_ALWAYS_IN_SDIST = (".gitignore", "pyproject.toml")
"""Files hatchling adds to every sdist when the tree has them at its root."""

_PLAIN = 0o644


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """The commit's files, as `git archive` hands them out."""

    files: Mapping[str, bytes]
    """Path -> bytes of every plain file."""
    links: frozenset[str] = frozenset()
    """Paths that are symbolic links."""


def expected_wheel(declared: Declared, tree: Tree) -> dict[str, bytes | None]:
    """Every member the wheel must have, with its bytes where the tree has them."""
    expected: dict[str, bytes | None] = {}
    for package in declared.packages:
        above = package.rpartition("/")[0]
        inside = {path: data for path, data in tree.files.items() if _under(path, [package])}
        expected |= {path.removeprefix(f"{above}/"): data for path, data in inside.items()}
    info = f"{declared.stem}.dist-info"
    expected |= {f"{info}/{generated}": GENERATED for generated in ("METADATA", "RECORD", "WHEEL")}
    if declared.scripts:
        expected[f"{info}/entry_points.txt"] = GENERATED
    expected |= {f"{info}/licenses/{path}": tree.files.get(path) for path in declared.license_files}
    return expected


def expected_sdist(declared: Declared, tree: Tree) -> dict[str, bytes | None]:
    """Every member the sdist must have, with its bytes where the tree has them."""
    single = {*_ALWAYS_IN_SDIST, declared.readme, *declared.license_files}
    chosen = [path for path in tree.files if path in single or _under(path, declared.only_include)]
    root = declared.stem
    return {f"{root}/PKG-INFO": GENERATED, **{f"{root}/{path}": tree.files[path] for path in chosen}}


def _under(path: str, roots: Sequence[str]) -> bool:
    """Whether `path` is one of `roots` or lies in one."""
    return any(path == root or path.startswith(f"{root}/") for root in roots)


def wheel_problems(
    archive: Archive, declared: Declared, tree: Tree, *, epoch: int, backend: str
) -> list[Problem]:
    """Everything that is wrong with a wheel of this project at this commit.

    Args:
        archive: The wheel.
        declared: What pyproject.toml says.
        tree: The commit's files.
        epoch: The commit's time in seconds, which every member must carry.
        backend: The build backend and its locked version, as WHEEL's Generator line names them.
    """
    expected = expected_wheel(declared, tree)
    info = f"{declared.stem}.dist-info"
    problems = [*archive.problems]
    problems += _name_problems(archive.name, declared.wheel)
    problems += _content_problems(archive, expected, epoch=epoch - epoch % 2)
    problems += _tree_problems(declared, tree)
    problems += _metadata_of(archive, f"{info}/METADATA", declared, tree)
    problems += _record_problems(archive, f"{info}/RECORD")
    problems += _wheel_file_problems(archive, f"{info}/WHEEL", backend)
    problems += _entry_point_problems(archive, f"{info}/entry_points.txt", declared)
    return problems


def sdist_problems(archive: Archive, declared: Declared, tree: Tree, *, epoch: int) -> list[Problem]:
    """Everything that is wrong with an sdist of this project; arguments as for `wheel_problems`."""
    problems = [*archive.problems]
    problems += _name_problems(archive.name, declared.sdist)
    problems += _content_problems(archive, expected_sdist(declared, tree), epoch=epoch)
    problems += _metadata_of(archive, f"{declared.stem}/PKG-INFO", declared, tree)
    return problems


def _name_problems(name: str, expected: str) -> Iterator[Problem]:
    if name != expected:
        yield Problem(
            rule="artefact.name",
            where=name,
            what=f"should be named {expected}",
            remedy="let the build name it; a renamed artefact installs as something else",
        )


def _content_problems(
    archive: Archive, expected: Mapping[str, bytes | None], *, epoch: int
) -> Iterator[Problem]:
    """Members too many, too few, or with other bytes, mode or time than the tree's."""
    present = {member.name: member for member in archive.members}
    for name in sorted(present.keys() - expected.keys()):
        yield Problem(
            rule="artefact.unexpected-member",
            where=f"{archive.name}: {name}",
            what="does not come from the commit's tree",
            remedy="commit the file or add it to .gitignore; if it was put in after the build, build again",
        )
    for name in sorted(expected.keys() - present.keys()):
        yield Problem(
            rule="artefact.missing-member",
            where=f"{archive.name}: {name}",
            what="is not in the archive",
            remedy="see [tool.hatch.build.targets] in pyproject.toml, and export-ignore in .gitattributes",
        )
    for name in sorted(present.keys() & expected.keys()):
        member, data = present[name], expected[name]
        if data is not None and member.data != data:
            yield Problem(
                rule="artefact.member-bytes",
                where=f"{archive.name}: {name}",
                what="differs from the file in the commit's tree",
                remedy="remove dist/ and ledger/, then run `nox -s build`; never edit a built file",
            )
        if member.mode != _PLAIN:
            yield Problem(
                rule="artefact.mode",
                where=f"{archive.name}: {name}",
                what=f"has mode {member.mode:o}, not {_PLAIN:o}",
                remedy="take the execute bit off: `git update-index --chmod=-x PATH`, then commit",
            )
        if member.mtime != epoch:
            yield Problem(
                rule="artefact.time",
                where=f"{archive.name}: {name}",
                what=f"has time {member.mtime}, not the commit's {epoch}",
                remedy="build with `nox -s build`, which sets SOURCE_DATE_EPOCH",
            )


def _tree_problems(declared: Declared, tree: Tree) -> Iterator[Problem]:
    """Links among the files that are shipped: an archive would hold a copy, or nothing at all."""
    for path in sorted(tree.links):
        if _under(path, [*declared.packages, *declared.only_include]):
            yield Problem(
                rule="artefact.member-kind",
                where=path,
                what="is a symbolic link in the tree",
                remedy="commit the file itself: links do not survive in a wheel",
            )


def _metadata_of(archive: Archive, member: str, declared: Declared, tree: Tree) -> list[Problem]:
    data = archive.get(member)
    if data is None:  # reported as missing
        return []
    readme = tree.files.get(declared.readme, b"")
    return metadata_problems(f"{archive.name}: {member}", data, declared, readme)


def _record_problems(archive: Archive, member: str) -> Iterator[Problem]:
    """RECORD must list each member once, with its digest and size (the recording specification)."""
    data = archive.get(member)
    if data is None:
        return
    wanted = {
        stored.name: ("", "") if stored.name == member else (_record_hash(stored.data), str(len(stored.data)))
        for stored in archive.members
    }
    try:
        rows = [row for row in csv.reader(data.decode("utf-8", errors="replace").splitlines()) if row]
    except csv.Error as error:
        yield _record_problem(archive.name, member, f"is no table of comma-separated fields: {error}")
        return
    listed: dict[str, Sequence[str]] = {}
    for row in rows:
        if len(row) != 3 or row[0] in listed:  # path, digest, size
            yield _record_problem(archive.name, row[0], "stands twice in RECORD, or its line lacks a field")
        listed[row[0]] = tuple(row[1:])
    for name in sorted(wanted.keys() | listed.keys()):
        if name not in listed:
            yield _record_problem(archive.name, name, "is not listed in RECORD")
        elif name not in wanted:
            yield _record_problem(archive.name, name, "is listed in RECORD but not in the archive")
        elif listed[name] != wanted[name]:
            yield _record_problem(archive.name, name, "does not have the digest and size RECORD gives it")


def _record_hash(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode("ascii")


def _record_problem(archive: str, name: str, what: str) -> Problem:
    return Problem(
        rule="artefact.record",
        where=f"{archive}: {name}",
        what=what,
        remedy="remove dist/ and ledger/, then run `nox -s build`; never edit a built file",
    )


def _wheel_file_problems(archive: Archive, member: str, backend: str) -> Iterator[Problem]:
    """WHEEL must say: pure, for any Python 3, made by the locked backend."""
    data = archive.get(member)
    if data is None:
        return
    lines = data.decode("utf-8", errors="replace").splitlines()
    wanted = ["Wheel-Version: 1.0", f"Generator: {backend}", "Root-Is-Purelib: true", "Tag: py3-none-any"]
    if [line for line in lines if line] != wanted:
        yield Problem(
            rule="artefact.wheel-file",
            where=f"{archive.name}: {member}",
            what=f"says {'; '.join(lines)}, expected {'; '.join(wanted)}",
            remedy="build with `nox -s build`, in its locked environment",
        )


def _entry_point_problems(archive: Archive, member: str, declared: Declared) -> Iterator[Problem]:
    """The commands the wheel installs must be those of pyproject.toml."""
    data = archive.get(member)
    if data is None:
        return
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=True)
    parser.optionxform = str  # pyright: ignore[reportAttributeAccessIssue] - names keep their case; documented use
    said: dict[str, dict[str, str]] = {}
    try:
        parser.read_string(data.decode("utf-8", errors="replace"))
        said = {section: dict(parser.items(section)) for section in parser.sections()}
    except configparser.Error as error:
        said = {str(error): {}}
    wanted = {"console_scripts": dict(declared.scripts)} if declared.scripts else {}
    if said != wanted:
        yield Problem(
            rule="artefact.entry-points",
            where=f"{archive.name}: {member}",
            what=f"says {said}, pyproject.toml says {wanted}",
            remedy="remove dist/ and ledger/, then run `nox -s build`; never edit a built file",
        )
