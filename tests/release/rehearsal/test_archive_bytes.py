"""What an index says of an archive: which member, what is wrong with it, and what is no reason to refuse."""

import gzip
import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping

import pytest

from release.rehearsal import archives, rules
from tests.release.hostile_support import CENTRAL, END, patched, two_directories, with_header
from tests.release.rehearsal.support import (
    INFO,
    METADATA,
    SDIST,
    SDIST_NAME,
    WHEEL,
    WHEEL_NAME,
    record,
    sdist_members,
    tarred,
    wheel_members,
    zipped,
)

ROOT = "demo_project-1.0"
MODULE = "demo_project/__init__.py"
Said = list[tuple[str, str, str]]


def read(name: str, data: bytes) -> archives.Contents:
    file = rules.filename(name)
    assert isinstance(file, rules.Filename)
    return archives.read(file, data)


def said(data: bytes, name: str = WHEEL_NAME) -> Said:
    """Rule, member and what is said of it; of the file itself where no member is named."""
    found = read(name, data).problems
    assert all(
        problem.remedy == "build the file anew with a current backend, and upload what it wrote"
        for problem in found
    )
    return [(problem.rule, _member(name, problem.where), problem.what) for problem in found]


def _member(name: str, where: str) -> str:
    if where == name:
        return ""
    file, _, member = where.partition(": ")
    assert file == name
    assert member
    return member


def wheel(more: Mapping[str, bytes | None], *, listed: bool = True) -> Said:
    """Of a wheel with other members; None leaves one out. RECORD has them all, or those of the right one."""
    found = {name: data for name, data in {**wheel_members(), **more}.items() if data is not None}
    if listed:
        found[f"{INFO}/RECORD"] = record({name: data for name, data in found.items() if "RECORD" not in name})
    return said(zipped(found.items()))


def sdist(more: Mapping[str, bytes | None], *headers: tarfile.TarInfo) -> Said:
    found = {name: data for name, data in {**sdist_members(), **more}.items() if data is not None}
    return said(tarred(found, *headers), SDIST_NAME)


def header(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(f"{ROOT}/{name}")
    info.type, info.linkname = kind, link
    return info


def written(write: Callable[[zipfile.ZipFile], None]) -> bytes:
    """The right wheel's members, behind what is written first."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        write(opened)
        for name, data in wheel_members().items():
            opened.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()


@pytest.mark.parametrize(("name", "data"), [(WHEEL_NAME, WHEEL), (SDIST_NAME, SDIST)])
def test_a_right_archive_gives_its_metadata(name: str, data: bytes) -> None:
    """And nothing is said of it."""
    assert read(name, data) == archives.Contents(metadata=METADATA.encode())


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (WHEEL + bytes(22), "its directory does not end at the file's end"),
        (patched(WHEEL, END, 4, b"\1\0"), "its directory does not end at the file's end"),
        (patched(WHEEL, END, 6, b"\1\0"), "its directory does not end at the file's end"),
        (patched(WHEEL, END, 8, b"\1\0"), "its directory does not end at the file's end"),
        (patched(WHEEL, END, 20, b"\5\0"), "its directory does not end at the file's end"),
        (b"more" + WHEEL, "there are bytes between its directory and its end"),
    ],
)
def test_a_zip_has_one_reading(data: bytes, what: str) -> None:
    """The record at its end is at its end, is of one disk, has no comment, and lies behind the directory."""
    assert said(data) == [("wheel.strict-zip", "", what)]


def _directory() -> tuple[int, int]:
    size, offset = struct.unpack_from("<2L", WHEEL, len(WHEEL) - 10)
    return size, offset


def test_a_zip_has_no_bytes_between_its_members_and_its_directory() -> None:
    """The offset in the last record is mended, so that readers find the directory."""
    size, offset = _directory()
    end = WHEEL[-22:-10] + struct.pack("<2L", size, offset + 4) + WHEEL[-2:]
    data = WHEEL[:offset] + b"hide" + WHEEL[offset : offset + size] + end
    assert said(data) == [("wheel.strict-zip", "", "there are bytes between its members and its directory")]


def test_a_zip_has_its_members_in_the_directorys_order() -> None:
    """Another order is as good as a gap."""
    size, offset = _directory()
    entries = [CENTRAL + each for each in WHEEL[offset : offset + size].split(CENTRAL)[1:]]
    data = WHEEL[:offset] + b"".join([*entries[1:], entries[0]]) + WHEEL[offset + size :]
    assert said(data) == [("wheel.strict-zip", "", "its members do not follow each other without a gap")]


def test_a_zip_has_one_directory() -> None:
    """Python follows a second one, of zip64; other programs follow the first, which lists one more file."""
    found = zipped([*wheel_members().items(), ("demo_project/hidden.py", b"hidden")])
    data = two_directories(found)
    assert zipfile.ZipFile(io.BytesIO(data)).namelist() == [*wheel_members()]
    assert said(data) == [
        ("wheel.strict-zip", "", "it has a second directory, which only readers of zip64 see")
    ]


def _folder(opened: zipfile.ZipFile) -> None:
    opened.writestr(zipfile.ZipInfo("demo_project/"), b"")


def _in_the_directory(data: bytes, at: int, new: bytes) -> bytes:
    """The first entry of the directory has other bytes at a place."""
    start = data.index(CENTRAL) + at
    return data[:start] + new + data[start + len(new) :]


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (
            _in_the_directory(written(_folder), 46, b"\xff"),
            "the header of member \ufffdemo_project/ differs from the directory's",
        ),
        (
            written(_folder)[:3] + b"\5" + written(_folder)[4:],
            "the header of member demo_project/ differs from the directory's",
        ),
        (
            _in_the_directory(
                written(_folder)[:18] + b"\1" + written(_folder)[19:30] + b"\xff" + written(_folder)[31:],
                46,
                b"\xff",
            ),
            "the sizes of member \ufffdemo_project/ differ from the directory's",
        ),
        (
            written(_folder)[:22] + b"\1" + written(_folder)[23:],
            "the sizes of member demo_project/ differ from the directory's",
        ),
    ],
)
def test_a_folders_header_is_the_directorys(data: bytes, what: str) -> None:
    """Readers that skip folders would not see it; a name in no encoding is shown as far as it goes."""
    assert said(data) == [("wheel.strict-zip", "", what)]


def test_a_member_may_have_extra_fields_and_a_note() -> None:
    """Unusual, and read alike by everybody."""

    def noted(opened: zipfile.ZipFile) -> None:
        info = zipfile.ZipInfo("demo_project/")
        info.extra, info.comment = b"\x99\x99\x04\x00abcd", b"a note"
        opened.writestr(info, b"")

    assert said(written(noted)) == []


def test_the_members_of_a_wheel_may_be_as_large_as_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Together; and one byte more is too many."""
    whole = sum(len(data) for data in wheel_members().values())
    monkeypatch.setattr(archives, "MAX_UNPACKED", whole)
    assert said(WHEEL) == []
    monkeypatch.setattr(archives, "MAX_UNPACKED", whole - 1)
    assert said(WHEEL) == [("archive.size", "", "is too large unpacked")]


def test_an_sdist_is_unpacked_up_to_what_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would come behind is not looked at."""
    unpacked = len(gzip.decompress(SDIST))
    monkeypatch.setattr(archives, "MAX_UNPACKED", unpacked)
    assert said(SDIST, SDIST_NAME) == []
    monkeypatch.setattr(archives, "MAX_UNPACKED", unpacked - 1)
    assert said(SDIST, SDIST_NAME) == [
        ("archive.size", "", "is too large unpacked, or compressed absurdly well")
    ]


def test_all_that_is_compressed_absurdly_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of it is read, and what else is wrong is said as well."""
    monkeypatch.setattr(archives, "RATIO_FROM", 1000)
    zeros = bytes(1001)
    assert wheel({"demo_project/a": zeros * 60, "../b": b"", "demo_project/c": zeros * 60}) == [
        ("archive.size", "demo_project/a", "is compressed absurdly well"),
        ("archive.escaping-member", "../b", "leads outside the folder"),
        ("archive.size", "demo_project/c", "is compressed absurdly well"),
    ]


@pytest.mark.parametrize(
    ("ratio", "least", "absurd"), [(1, 999, False), (0, 999, True), (0, 1000, False), (50, 0, False)]
)
def test_large_and_well_compressed_is_absurd(
    monkeypatch: pytest.MonkeyPatch, ratio: int, least: int, *, absurd: bool
) -> None:
    """More than so many bytes, and more than so many times what they were packed to: both."""
    monkeypatch.setattr(archives, "RATIO_FROM", least)
    monkeypatch.setattr(archives, "MAX_RATIO", ratio)
    members = wheel_members(more={"demo_project/a": bytes(1000)})
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name, data in members.items():
            opened.writestr(zipfile.ZipInfo(name), data)
    expected: Said = [("archive.size", "demo_project/a", "is compressed absurdly well")] if absurd else []
    assert said(buffer.getvalue()) == expected


def test_a_name_stands_once_in_a_wheel() -> None:
    """zipfile warns of it when it writes, and takes the last when it reads."""
    found = [*wheel_members().items(), (MODULE, wheel_members()[MODULE])]
    with pytest.warns(UserWarning, match="Duplicate name"):
        data = zipped(found)
    assert said(data) == [("archive.duplicate-member", MODULE, "is there 2 times")]


def test_a_name_stands_once_in_an_sdist() -> None:
    """The later one would be written over the earlier."""
    assert sdist({}, header("LICENSE", tarfile.REGTYPE), header("LICENSE", tarfile.REGTYPE)) == [
        ("archive.duplicate-member", f"{ROOT}/LICENSE", "is there 3 times")
    ]


@pytest.mark.parametrize(
    "name", ["../a", "/a", "a\\b", "C:a", "a/../../b", "a//../../b", "a/./../../b", "a/../.."]
)
def test_a_member_that_leads_outside_is_refused(name: str) -> None:
    """At its end or on its way, for any system that may unpack it."""
    assert wheel({name: b""}) == [("archive.escaping-member", name, "leads outside the folder")]


@pytest.mark.parametrize("name", ["demo_project/../demo_project/a", "./a", "a/b/../../c", "a/..", "a..b"])
def test_a_member_that_stays_inside_is_taken(name: str) -> None:
    """However it gets there."""
    assert wheel({name: b""}) == []


@pytest.mark.parametrize(
    ("name", "kind", "link"),
    [
        ("a/b/link", tarfile.SYMTYPE, "../../x"),
        ("link", tarfile.SYMTYPE, "x"),
        ("a/link", tarfile.LNKTYPE, f"{ROOT}/PKG-INFO"),
        ("a", tarfile.DIRTYPE, ""),
    ],
)
def test_a_link_inside_the_folder_is_taken(name: str, kind: bytes, link: str) -> None:
    """A symbolic link begins at its own place, a hard one where the archive does."""
    assert sdist({}, header(name, kind, link)) == []


@pytest.mark.parametrize(
    ("name", "kind", "link"),
    [
        ("a/b/link", tarfile.SYMTYPE, "../../../../x"),
        ("a/link", tarfile.SYMTYPE, "/x"),
        ("a/link", tarfile.LNKTYPE, "../x"),
        ("a/link", tarfile.LNKTYPE, "/x"),
        ("../../x", tarfile.REGTYPE, ""),
    ],
)
def test_a_link_that_leads_outside_is_refused(name: str, kind: bytes, link: str) -> None:
    """Whatever was written behind it would land there."""
    found = [("archive.escaping-member", f"{ROOT}/{name}", "leads outside the folder")]
    assert [each for each in sdist({}, header(name, kind, link)) if each[0] != "sdist.root"] == found


def test_a_name_with_a_zero_byte_is_refused() -> None:
    """One program reads it to the end, another up to there."""
    found = said(with_header(f"{ROOT}/x", path=f"{ROOT}/a\0b"), SDIST_NAME)
    assert found[0] == ("archive.escaping-member", f"{ROOT}/a\0b", "leads outside the folder")


def test_holes_and_devices_are_refused_with_their_names() -> None:
    """An sdist is files, folders and links."""
    holes = header("holes", tarfile.REGTYPE)
    holes.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.map": "0,0"}
    holes.pax_headers |= {"GNU.sparse.size": "0", "GNU.sparse.numblocks": "1", "GNU.sparse.name": holes.name}
    assert sdist({}, holes, header("pipe", tarfile.FIFOTYPE)) == [
        ("sdist.sparse", f"{ROOT}/holes", "is sparse"),
        ("sdist.member-kind", f"{ROOT}/pipe", "is neither file, folder nor link"),
    ]


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (SDIST[:-9], "is not one whole gzip stream"),
        (SDIST + b"more", "is not one whole gzip stream"),
        (zlib.compress(gzip.decompress(SDIST)), "is not an intact gzipped tar: Error -3"),
        (gzip.compress(SDIST), "is not an intact gzipped tar: "),
    ],
)
def test_an_sdist_is_a_tar_in_one_gzip_stream(data: bytes, what: str) -> None:
    """Nothing behind it, nothing missing, no other way of packing, and packed once."""
    ((rule, member, text),) = said(data, SDIST_NAME)
    assert (rule, member) == ("archive.readable", "")
    assert text.startswith(what)


def test_an_sdist_has_one_folder() -> None:
    """Every other one is named; so is that there is none."""
    assert sdist({"a/x": b"", "setup.py": b""}) == [
        ("sdist.root", "", f"holds a, {ROOT}, setup.py where only {ROOT}/ should be")
    ]
    assert said(tarred({}), SDIST_NAME) == [("sdist.root", "", f"holds nothing where only {ROOT}/ should be")]


def test_what_an_archive_must_have_is_named() -> None:
    """Where it would have to be."""
    licence = ("archive.licence-files", "is named by License-File and is not there")
    assert sdist({f"{ROOT}/PKG-INFO": None}) == [("sdist.pkg-info", f"{ROOT}/PKG-INFO", "is missing")]
    assert sdist({f"{ROOT}/LICENSE": None}) == [(licence[0], f"{ROOT}/LICENSE", licence[1])]
    assert wheel({f"{INFO}/licenses/LICENSE": None}) == [(licence[0], f"{INFO}/licenses/LICENSE", licence[1])]
    assert wheel({f"{INFO}/METADATA": None}) == [("wheel.metadata", f"{INFO}/METADATA", "is missing")]


def test_a_project_without_a_licence_file_is_taken() -> None:
    """Only what the metadata names must be there."""
    metadata = METADATA.replace("License-File: LICENSE\n", "").encode()
    assert sdist({f"{ROOT}/PKG-INFO": metadata, f"{ROOT}/LICENSE": None}) == []


@pytest.mark.parametrize(
    ("more", "there"),
    [
        ({"other-2.0.dist-info/METADATA": b""}, f"{INFO}, other-2.0.dist-info"),
        ({name: None for name in wheel_members() if name.startswith(INFO)}, "no folder"),
    ],
)
def test_a_wheel_has_one_dist_info(more: Mapping[str, bytes | None], there: str) -> None:
    """All that look like one are named."""
    found = {name: data for name, data in {**wheel_members(), **more}.items() if data is not None}
    assert said(zipped(found.items())) == [("wheel.dist-info", "", f"has {there} where {INFO} should be")]


def test_a_dist_info_further_down_is_not_the_wheels() -> None:
    """A package may bring along another one's."""
    assert wheel({"demo_project/vendor/other-2.0.dist-info/METADATA": b""}) == []


@pytest.mark.parametrize(
    "text",
    [
        None,
        "Wheel-Version: 2.0\nTag: py3-none-any\n",
        "Wheel-Version: 1.0\n",
        "Tag: py3-none-any\n",
        "Wheel-Version: 1\nWheel-Version: .0\nTag: py3-none-any\n",
        "Wheel-Version: 1.0\nWheel-Version: 1.0\nTag: py3-none-any\n",
    ],
)
def test_a_wheel_says_its_version_once_and_its_tags(text: str | None) -> None:
    """In WHEEL; installers of today know the first version."""
    assert wheel({f"{INFO}/WHEEL": None if text is None else text.encode()}) == [
        ("wheel.wheel-file", f"{INFO}/WHEEL", "is missing, or names no wheel version 1.x or no tag")
    ]


@pytest.mark.parametrize("text", ["[console_scripts]\ndemo = demo:main [server]\n", ""])
def test_entry_points_that_can_be_read_are_taken(text: str) -> None:
    """An object has a colon in it, which is no delimiter."""
    assert wheel({f"{INFO}/entry_points.txt": text.encode()}) == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"demo = demo:main\n", "File contains no section headers."),
        (b"[console_scripts]\ndemo: demo\n", "Source contains parsing errors: '<string>'"),
        (
            b"[a]\nb = c\nb = d\n",
            "While reading from '<string>' [line  3]: option 'b' in section 'a' already exists",
        ),
        (b"\xff", "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
    ],
)
def test_entry_points_that_cannot_be_read_are_refused(text: bytes, why: str) -> None:
    """With the first line of the reason; installers would stop there."""
    place = f"{INFO}/entry_points.txt"
    assert wheel({place: text}) == [("wheel.entry-points", place, f"cannot be read: {why}")]


def test_record_lists_what_is_there_and_nothing_else() -> None:
    """With digest and size; RECORD itself and its signatures have none."""
    members = wheel_members()
    rows = members[f"{INFO}/RECORD"].decode()
    place = f"{INFO}/RECORD"
    assert wheel({place: None}, listed=False) == [("wheel.record", place, "is missing")]
    assert wheel({place: f"gone.py,,\n\n{rows}".encode()}, listed=False) == [
        ("wheel.record", "gone.py", "is listed in RECORD and is not there")
    ]
    assert wheel({"more.py": b"", f"{place}.jws": b"", f"{place}.p7s": b""}, listed=False) == [
        ("wheel.record", "more.py", "is not listed in RECORD")
    ]
    for changed in (rows.replace(f",{len(members[MODULE])}\n", ",1\n", 1), rows.replace("sha256", "md5", 1)):
        assert wheel({place: changed.encode()}, listed=False) == [
            ("wheel.record", MODULE, "has another digest or size in RECORD")
        ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b'"a"b,,\n', "',' expected after '\"'"),
        (b"\xff", "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
    ],
)
def test_a_record_that_cannot_be_read_is_refused(text: bytes, why: str) -> None:
    """A lenient reader would find some rows in it."""
    place = f"{INFO}/RECORD"
    assert wheel({place: text}, listed=False) == [("wheel.record", place, f"cannot be read: {why}")]
