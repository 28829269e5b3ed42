"""Reading wheels and sdists as untrusted bytes."""

import gzip
import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from release.rules import archives
from release.rules.archives import differences, digest, digest_of, measure, read_archive
from tests.release.build_support import EPOCH, rules, tarred, zipped

WHEEL, SDIST = "demo-1.0-py3-none-any.whl", "demo-1.0.tar.gz"
TWO = [("demo/__init__.py", b"one\n"), ("demo/other.py", b"two\n")]


def rules_of(name: str, data: bytes) -> list[str]:
    return rules(read_archive(name, data).problems)


@pytest.mark.parametrize(("name", "data"), [(WHEEL, zipped(TWO)), (SDIST, tarred(TWO))])
def test_an_intact_archive_is_read_member_by_member(name: str, data: bytes) -> None:
    """What a check sees is what an installer would write."""
    archive = read_archive(name, data)
    assert archive.problems == ()
    assert [(member.name, member.data, member.mode) for member in archive.members] == [
        (member, content, 0o644) for member, content in TWO
    ]
    assert {member.mtime for member in archive.members} <= {EPOCH, EPOCH - 1}
    assert archive.get("demo/other.py") == b"two\n"
    assert archive.get("demo/none.py") is None


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize(
    "escape", ["../evil.py", "/etc/evil", "demo/../../evil", "demo//evil", "./evil", "demo\\evil", "C:evil"]
)
def test_a_member_that_could_leave_its_folder_is_refused(pack: object, escape: str) -> None:
    """An archive never writes outside the folder it is unpacked into."""
    name, data = (
        (WHEEL, zipped([*TWO, (escape, b"")])) if pack is zipped else (SDIST, tarred([*TWO, (escape, b"")]))
    )
    archive = read_archive(name, data)
    assert rules(archive.problems) == ["artefact.escaping-member"]
    assert [member.name for member in archive.members] == [member for member, _ in TWO]


@pytest.mark.parametrize(("name", "data"), [(WHEEL, zipped([*TWO, TWO[0]])), (SDIST, tarred([*TWO, TWO[0]]))])
def test_a_member_that_stands_twice_is_refused(name: str, data: bytes) -> None:
    """Two installers never take two different files from one archive."""
    archive = read_archive(name, data)
    assert rules(archive.problems) == ["artefact.duplicate-member"]
    assert "demo/__init__.py" in archive.problems[0].where


def test_members_that_differ_by_case_only_are_refused() -> None:
    """Not every disk keeps both."""
    assert rules_of(WHEEL, zipped([*TWO, ("demo/OTHER.py", b"")])) == ["artefact.case-clash"]


@pytest.mark.parametrize(
    ("kind", "link"),
    [
        (tarfile.SYMTYPE, "/etc/passwd"),
        (tarfile.LNKTYPE, "demo/other.py"),
        (tarfile.DIRTYPE, ""),
        (tarfile.FIFOTYPE, ""),
    ],
)
def test_an_sdist_member_that_is_no_plain_file_is_refused(kind: bytes, link: str) -> None:
    """Links, folders and devices have no place in an sdist of ours."""
    buffer = io.BytesIO(gzip.decompress(tarred(TWO)))
    with tarfile.open(fileobj=buffer, mode="a") as archive:
        info = tarfile.TarInfo("demo/odd")
        info.type, info.linkname = kind, link
        archive.addfile(info)
    assert rules_of(SDIST, gzip.compress(buffer.getvalue())) == ["artefact.member-kind"]


def test_a_wheel_member_that_is_a_link_is_refused() -> None:
    """A link in a zip is a text file to one installer and a link to another."""
    buffer = io.BytesIO(zipped(TWO))
    with zipfile.ZipFile(buffer, "a") as archive:
        info = zipfile.ZipInfo("demo/odd")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    assert rules_of(WHEEL, buffer.getvalue()) == ["artefact.member-kind"]


def test_a_flipped_byte_in_a_wheel_is_found() -> None:
    """Damage on the way is found without any digest to compare with."""
    data = bytearray(zipped(TWO))
    at = data.index(b"demo/other.py") + len("demo/other.py") + 2
    data[at] ^= 0x10
    archive = read_archive(WHEEL, bytes(data))
    assert rules(archive.problems) == ["artefact.intact"]
    assert "demo/other.py" in archive.problems[0].where


def test_a_flipped_byte_in_an_sdist_is_found() -> None:
    """The gzip trailer is checked, not only read past."""
    data = bytearray(tarred(TWO))
    data[-6] ^= 1
    assert rules_of(SDIST, bytes(data)) == ["artefact.readable"]


@pytest.mark.parametrize(
    ("name", "data", "rule"),
    [
        (WHEEL, b"", "artefact.readable"),
        (WHEEL, b"PK\x03\x04 and then nothing", "artefact.readable"),
        (WHEEL, b"#!/bin/sh\n" + zipped(TWO), "artefact.strict-zip"),
        (SDIST, b"", "artefact.readable"),
        (SDIST, gzip.compress(b"no tar at all"), "artefact.readable"),
        (SDIST, tarred(TWO)[:60], "artefact.readable"),
        ("demo-1.0.egg", zipped(TWO), "artefact.kind"),
    ],
    ids=["no wheel", "cut wheel", "prefixed wheel", "no sdist", "not a tar", "cut sdist", "egg"],
)
def test_what_is_no_archive_of_ours_is_a_problem_and_no_crash(name: str, data: bytes, rule: str) -> None:
    """Garbage ends in one clear sentence."""
    assert rules_of(name, data) == [rule]


def test_a_wheel_with_bytes_behind_its_directory_is_refused() -> None:
    """Two readers of one zip never see two different archives."""
    assert "artefact.strict-zip" in rules_of(WHEEL, zipped(TWO) + b"more")


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_an_archive_that_unpacks_to_too_much_is_refused(
    pack: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bomb is refused before it fills the memory."""
    members = [("demo/big.py", b"0" * 20_000)]
    name, data = (WHEEL, zipped(members)) if pack is zipped else (SDIST, tarred(members))
    assert rules_of(name, data) == []
    monkeypatch.setattr(archives, "LIMIT", 19_000)
    archive = read_archive(name, data)
    assert rules(archive.problems) == ["artefact.size"]
    assert archive.members == ()


def compared(one: bytes, other: bytes, name: str = WHEEL) -> list[str]:
    return differences(read_archive(name, one), one, read_archive(name, other), other)


def test_equal_archives_have_no_difference() -> None:
    """The comparison does not invent anything."""
    assert compared(zipped(TWO), zipped(TWO)) == []
    assert compared(tarred(TWO), tarred(TWO), SDIST) == []


def test_a_difference_names_the_member_and_the_byte() -> None:
    """A person sees what to look at, not only that something is wrong."""
    other = [TWO[0], ("demo/other.py", b"twe\n")]
    assert compared(zipped(TWO), zipped(other)) == ["demo/other.py differs from byte 2 on (4 and 4 bytes)"]
    assert compared(tarred(TWO), tarred(other), SDIST) == [
        "demo/other.py differs from byte 2 on (4 and 4 bytes)"
    ]


def test_every_kind_of_difference_is_named() -> None:
    """Members too many or too few, modes, times, order and the container are told apart."""
    assert compared(zipped(TWO), zipped(TWO[:1])) == ["demo/other.py is only in the first"]
    assert compared(zipped(TWO[:1]), zipped(TWO)) == ["demo/other.py is only in the second"]
    assert compared(zipped(TWO[:1]), zipped(TWO[:1], mode=0o755)) == [
        "demo/__init__.py has mode 644 in the first, 755 in the second"
    ]
    assert compared(tarred(TWO[:1]), tarred(TWO[:1], mtime=EPOCH + 1), SDIST) == [
        f"demo/__init__.py has time {EPOCH} in the first, {EPOCH + 1} in the second"
    ]
    assert compared(zipped(TWO), zipped(TWO[::-1])) == [
        "the members are the same, but stored in another order"
    ]
    longer = [("demo/__init__.py", b"one\nand more")]
    assert compared(zipped(TWO[:1]), zipped(longer)) == [
        "demo/__init__.py differs from byte 4 on (4 and 12 bytes)"
    ]
    packed = gzip.compress(gzip.decompress(tarred(TWO)), mtime=1)
    assert compared(tarred(TWO), packed, SDIST) == [
        "every member is the same; the container differs from byte 4 on (compression or header)"
    ]


def test_a_file_is_measured_as_its_bytes_are(tmp_path: Path) -> None:
    """The ledger's digest is the digest of the file."""
    path = tmp_path / "some.whl"
    path.write_bytes(b"abc")
    assert (
        digest(path)
        == digest_of(b"abc")
        == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
    assert (measure(path).name, measure(path).size, measure(path).sha256) == (
        "some.whl",
        3,
        digest_of(b"abc"),
    )
