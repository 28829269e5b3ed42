"""Reading wheels and sdists as untrusted bytes."""

import gzip
import io
import stat
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from release.rules import archives
from release.rules.archives import differences, digest, digest_of, measure, read_archive
from tests.release.build_support import EPOCH, rules, tarred, zipped
from tests.release.hostile_support import hostile, two_directories, with_header

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
    assert read_archive(SDIST, bytes(data)).problems[0].where == SDIST


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


HOSTILE = {
    **{
        case: (WHEEL, data)
        for case, data in hostile(zipped(TWO)).items()
        if case != "more members than there are"
    },
    "an endless time": (SDIST, with_header("demo/odd", mtime="inf")),
    "a map of holes that is none": (SDIST, with_header("demo/odd", **{"GNU.sparse.map": "x"})),
}


@pytest.mark.parametrize(("name", "data"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_bytes_are_a_problem_and_no_crash(name: str, data: bytes) -> None:
    """Who sends an archive does not choose how the reader ends."""
    assert set(rules_of(name, data)) & {"artefact.readable", "artefact.intact"}


def odd_first(name: str, attributes: int) -> bytes:
    """A wheel in which a member with other attributes stands before the others."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = attributes
        archive.writestr(info, "odd")
        for member, content in TWO:
            archive.writestr(zipfile.ZipInfo(member), content)
    return buffer.getvalue()


def link_first() -> bytes:
    """An sdist in which a link stands before the others."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        link = tarfile.TarInfo("demo/odd")
        link.type, link.linkname = tarfile.SYMTYPE, "other.py"
        archive.addfile(link)
        for member, content in TWO:
            info = tarfile.TarInfo(member)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return gzip.compress(buffer.getvalue())


ESCAPES = "could be written outside the folder it is unpacked into"


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("a.egg", b"", ("kind", "a.egg", "is neither a wheel (.whl) nor an sdist (.tar.gz)")),
        (
            WHEEL,
            b"#!/bin/sh\n" + zipped(TWO),
            ("strict-zip", WHEEL, "has bytes before its first member or behind its directory"),
        ),
        (
            WHEEL,
            two_directories(zipped([*TWO, ("demo/hidden.py", b"")])),
            ("strict-zip", WHEEL, "has a second directory, which only readers of zip64 see"),
        ),
        (WHEEL, zipped([("../evil.py", b""), *TWO]), ("escaping-member", f"{WHEEL}: ../evil.py", ESCAPES)),
        (SDIST, tarred([("../evil.py", b""), *TWO]), ("escaping-member", f"{SDIST}: ../evil.py", ESCAPES)),
        (
            WHEEL,
            odd_first("demo/odd", (stat.S_IFLNK | 0o777) << 16),
            ("member-kind", f"{WHEEL}: demo/odd", "is not a plain file"),
        ),
        (SDIST, link_first(), ("member-kind", f"{SDIST}: demo/odd", "is not a plain file")),
        (
            WHEEL,
            zipped([*TWO, ("demo/OTHER.py", b"")]),
            (
                "case-clash",
                f"{WHEEL}: demo/other.py",
                "differs from another member by letter case only; not every disk keeps both",
            ),
        ),
    ],
    ids=[
        "kind",
        "prefix",
        "two directories",
        "wheel escape",
        "sdist escape",
        "wheel link",
        "sdist link",
        "case",
    ],
)
def test_a_defect_is_told_where_it_is_and_the_members_behind_it_are_read(
    name: str, data: bytes, problem: tuple[str, str, str]
) -> None:
    """A person finds the member; one defect hides none that stands behind it."""
    archive = read_archive(name, data)
    rule, where, what = problem
    assert [(each.rule, each.where, each.what) for each in archive.problems] == [
        (f"artefact.{rule}", where, what)
    ]
    assert archive.name == name
    assert name == "a.egg" or {member for member, _ in TWO} <= {each.name for each in archive.members}


@pytest.mark.parametrize(
    ("name", "data"),
    [
        (WHEEL, b""),
        (SDIST, b""),
        (SDIST, gzip.compress(b"no tar at all")),
        (SDIST, gzip.compress(tarred(TWO))),
    ],
    ids=["no zip", "no gzip", "no tar", "packed twice"],
)
def test_a_file_that_cannot_be_read_is_named_itself(name: str, data: bytes) -> None:
    """No member is to blame, and an sdist is a tar packed once."""
    (problem,) = read_archive(name, data).problems
    assert (problem.rule, problem.where) == ("artefact.readable", name)


def test_a_damaged_member_hides_none_behind_it() -> None:
    """The members behind it are read and judged as well."""
    data = bytearray(zipped(TWO))
    at = data.index(b"demo/__init__.py") + len("demo/__init__.py") + 2
    data[at] ^= 0x10
    archive = read_archive(WHEEL, bytes(data))
    assert rules(archive.problems) == ["artefact.intact"]
    assert [member.name for member in archive.members] == ["demo/other.py"]


def test_a_wheel_member_of_no_kind_is_a_plain_file() -> None:
    """Packers that store permission bits only say nothing about the kind."""
    archive = read_archive(WHEEL, odd_first("demo/odd", 0o600 << 16))
    assert archive.problems == ()
    assert archive.members[0].mode == 0o600


def test_a_name_with_a_null_byte_is_refused() -> None:
    """Programs that end a name there would write another file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("demo/odd")
        info.pax_headers = {"path": "demo/od\0d"}
        archive.addfile(info)
    assert rules_of(SDIST, gzip.compress(buffer.getvalue())) == ["artefact.escaping-member"]


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_an_archive_exactly_as_large_as_allowed_is_read(
    pack: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit itself is allowed; one byte more is refused, and the sentence names what is too large."""
    members = [("demo/big.py", b"0" * 20_000)]
    name, data = (WHEEL, zipped(members)) if pack is zipped else (SDIST, tarred(members))
    size = 20_000 if pack is zipped else len(gzip.decompress(data))
    monkeypatch.setattr(archives, "LIMIT", size)
    assert rules_of(name, data) == []
    monkeypatch.setattr(archives, "LIMIT", size - 1)
    (problem,) = read_archive(name, data).problems
    assert problem.where == (f"{WHEEL}: demo/big.py" if pack is zipped else SDIST)


def test_a_bomb_is_not_unpacked_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is over the limit never gets into the memory."""
    data = gzip.compress(bytes(64 * 2**20), compresslevel=1)
    monkeypatch.setattr(archives, "LIMIT", 19_000)
    tracemalloc.start()
    try:
        assert rules_of(SDIST, data) == ["artefact.size"]
        assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    finally:
        tracemalloc.stop()


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
