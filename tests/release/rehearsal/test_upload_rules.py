"""What may be uploaded: every rule of the index, each broken alone by a file that is right otherwise."""

import datetime as dt
import hashlib
import io
import json
import struct
import tarfile
import zipfile
from base64 import b64encode
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest
from packaging.version import Version

from release.model import Problem
from release.rehearsal import archives, rules, uploads
from release.rehearsal.minting import Publisher
from release.rehearsal.rules import Form
from release.rehearsal.shelf import Project, Stored
from release.rehearsal.uploads import Judgement, Token
from tests.release.hostile_support import hostile, with_header
from tests.release.rehearsal.support import (
    INFO,
    METADATA,
    NOW,
    PUBLISHER,
    SDIST,
    SDIST_NAME,
    WHEEL,
    WHEEL_NAME,
    fields,
    record,
    sdist_members,
    tarred,
    wheel_members,
    zipped,
)

TOKEN = Token(project="demo-project", expires=NOW + dt.timedelta(minutes=15), publisher=PUBLISHER)


def form(name: str, data: bytes, metadata: str = METADATA, said: Mapping[str, str] | None = None) -> Form:
    return Form(fields=fields(name, data, metadata, said), filename=name, content=data)


def judged(form: Form, *, token: Token | None = TOKEN, project: Project | None = None) -> Judgement:
    """What the index makes of a form; its project has no files unless one is given."""
    return uploads.judge(form, token=token, project=project or Project(name="demo-project"), now=NOW)


def wheel(
    metadata: str = METADATA,
    more: Mapping[str, bytes] | None = None,
    said: Mapping[str, str] | None = None,
) -> Judgement:
    """A wheel with other metadata or members; form and RECORD fit, but for what is said."""
    return judged(form(WHEEL_NAME, zipped(wheel_members(metadata, more=more).items()), metadata, said))


def local() -> Judgement:
    """A wheel whose version has a local part, everywhere."""
    metadata = changed("Version: 1.0", "Version: 1.0+mine")
    found = wheel_members(metadata, info="demo_project-1.0+mine.dist-info")
    return judged(form("demo_project-1.0+mine-py3-none-any.whl", zipped(found.items()), metadata))


def members(**replaced: bytes | None) -> dict[str, bytes]:
    """The right wheel's members with one of dist-info replaced or left out, RECORD made anew."""
    found = {name: data for name, data in wheel_members().items() if name != f"{INFO}/RECORD"}
    for name, data in replaced.items():
        found.pop(f"{INFO}/{name}")
        if data is not None:
            found[f"{INFO}/{name}"] = data
    return found | {f"{INFO}/RECORD": record(found)}


def raw_wheel(found: Mapping[str, bytes] | bytes, name: str = WHEEL_NAME) -> Judgement:
    return judged(form(name, found if isinstance(found, bytes) else zipped(found.items())))


def sdist(found: Mapping[str, bytes] | bytes, *more: tarfile.TarInfo, name: str = SDIST_NAME) -> Judgement:
    return judged(form(name, found if isinstance(found, bytes) else tarred(found, *more)))


def changed(old: str, new: str) -> str:
    assert old in METADATA
    return METADATA.replace(old, new)


def header(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(f"demo_project-1.0/{name}")
    info.type, info.linkname = kind, link
    return info


def sparse() -> tarfile.TarInfo:
    """A member that the pax headers call sparse."""
    info = tarfile.TarInfo("demo_project-1.0/holes")
    info.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.map": "0,0"}
    info.pax_headers |= {"GNU.sparse.size": "0", "GNU.sparse.numblocks": "1", "GNU.sparse.name": info.name}
    return info


def duplicated() -> bytes:
    """A zip with one name twice; zipfile warns of it, which is what it is told not to do here."""
    found = [*wheel_members().items(), ("demo_project/__init__.py", b'"""A demonstration."""\n')]
    with pytest.warns(UserWarning, match="Duplicate name"):
        return zipped(found)


def commented() -> bytes:
    buffer = io.BytesIO(WHEEL)
    with zipfile.ZipFile(buffer, "a") as opened:
        opened.comment = b"hello"
    return buffer.getvalue()


def lying() -> bytes:
    """The first local header names another member than the directory does; zipfile reads the directory."""
    name = b"demo_project/__init__.py"
    assert WHEEL[30 : 30 + len(name)] == name
    return WHEEL[:30] + b"demo_project/__hide__.py" + WHEEL[30 + len(name) :]


def gapped() -> bytes:
    """Bytes between the members and the directory, with the offset mended so that readers find it."""
    size, offset = struct.unpack_from("<2L", WHEEL, len(WHEEL) - 10)
    end = WHEEL[-22:-10] + struct.pack("<2L", size, offset + 4) + WHEEL[-2:]
    return WHEEL[:offset] + b"hide" + WHEEL[offset : offset + size] + end


def resized() -> bytes:
    """The first local header gives another size than the directory does."""
    return WHEEL[:18] + struct.pack("<L", 1) + WHEEL[22:]


def reordered() -> bytes:
    """The directory lists the members in another order than they lie in."""
    size, offset = struct.unpack_from("<2L", WHEEL, len(WHEEL) - 10)
    entries = [b"PK\x01\x02" + each for each in WHEEL[offset : offset + size].split(b"PK\x01\x02")[1:]]
    return WHEEL[:offset] + b"".join([*entries[1:], entries[0]]) + WHEEL[offset + size :]


def misnamed_folder() -> bytes:
    """A folder's own header names another folder; readers that skip folders do not notice."""
    found = zipped({"demo_project/": b"", **wheel_members()}.items())
    return found[:30] + b"demo_secret/"[:13].ljust(13, b"/") + found[43:]


def streamed() -> bytes:
    """The right wheel, written to where nothing can be mended afterwards: sizes follow the data."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def tell(self) -> int:
            raise OSError("a pipe")

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, data in wheel_members().items():
            opened.writestr(name, data)
    return pipe.getvalue()


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """From 64 KiB on, not 64 MiB, a member may be compressed absurdly well."""
    monkeypatch.setattr(archives, "RATIO_FROM", 1 << 16)


def bomb() -> bytes:
    """More of nothing than is let through, compressed far better than any source."""
    return zipped({**wheel_members(), "demo_project/zeros": bytes(archives.RATIO_FROM + 1)}.items())


def stored(name: str = WHEEL_NAME, data: bytes = WHEEL, *, ago: dt.timedelta = dt.timedelta()) -> Project:
    """A project with one file."""
    version = Version("1.0")
    sha256 = hashlib.sha256(data).hexdigest()
    file = Stored(
        name=name,
        version=version,
        wheel=name.endswith(".whl"),
        sha256=sha256,
        blake2_256=rules.blake2_256(data),
        size=len(data),
        uploaded=NOW - ago,
        metadata=METADATA.encode(),
        requires_python=None,
        publisher="trusted",
    )
    return Project(
        name="demo-project", files={name: file}, used={name: sha256}, released={version: NOW - ago}
    )


def deleted() -> Project:
    project = stored()
    project.files.clear()
    return project


def attested(*predicates: str) -> str:
    statements = [b64encode(json.dumps({"predicateType": kind}).encode()).decode() for kind in predicates]
    return json.dumps([{"envelope": {"statement": statement}} for statement in statements])


def _content(attestation: dict[str, Any], publisher: Publisher, name: str, sha256: str) -> None:
    """A verifier that finds nothing wrong."""


def with_attestations(text: str, token: Token = TOKEN, *, verifies: bool = True) -> Judgement:
    return uploads.judge(
        form(WHEEL_NAME, WHEEL, said={"attestations": text}),
        token=token,
        project=Project(name="demo-project"),
        now=NOW,
        verifier=_content if verifies else uploads.no_sigstore,
    )


def platform_wheel(platform: str) -> Judgement:
    name = f"demo_project-1.0-py3-none-{platform}.whl"
    return judged(form(name, WHEEL))


UNNORMAL = "Demo.Project-1.0-py3-none-any.whl"
OTHER_VERSION = {name.replace("-1.0", "-2.0"): data for name, data in wheel_members().items()}

BROKEN: list[tuple[str, Callable[[], Judgement]]] = [
    ("filename.form", lambda: raw_wheel(WHEEL, "../demo_project-1.0-py3-none-any.whl")),
    ("filename.form", lambda: raw_wheel(WHEEL, "demo_project-1.0.whl")),
    ("filename.form", lambda: sdist(SDIST, name="demo_project-1.0.zip")),
    ("filename.form", lambda: sdist(SDIST, name="demo_project.tar.gz")),
    ("filename.sdist", lambda: sdist(SDIST, name="demo-project-1.0.tar.gz")),
    ("filename.sdist", lambda: sdist(SDIST, name="Demo_Project-1.0.tar.gz")),
    ("filename.wheel", lambda: raw_wheel(WHEEL, "Demo_Project-1.0-py3-none-any.whl")),
    ("filename.platform", lambda: platform_wheel("linux_x86_64")),
    ("filename.project", lambda: wheel(changed("Name: demo-project", "Name: demo-projekt"))),
    ("filename.version", lambda: wheel(changed("Version: 1.0", "Version: 1.1"))),
    ("metadata.valid", lambda: wheel(changed("Requires-Python: >=3.8", "Requires-Python: new"))),
    ("metadata.valid", lambda: wheel(changed("Summary:", "Shortly:"))),
    ("metadata.valid", lambda: wheel(changed("Version: 1.0\n", "Version: one\n"))),
    ("metadata.valid", lambda: wheel(changed("Classifier:", "Requires-Dist: !\nClassifier:"))),
    ("metadata.version", lambda: wheel(changed("Metadata-Version: 2.4", "Metadata-Version: 2.6"))),
    ("metadata.classifier", lambda: wheel(changed("Python :: 3", "Python :: 9"))),
    ("metadata.classifier", lambda: wheel(changed("Programming Language :: Python :: 3", "Private :: No"))),
    (
        "metadata.classifier",
        lambda: wheel(
            changed(
                "Programming Language :: Python :: 3",
                "Topic :: Communications :: Chat :: AOL Instant Messenger",
            )
        ),
    ),
    ("metadata.local-version", local),
    (
        "metadata.direct-url",
        lambda: wheel(changed("Classifier:", "Requires-Dist: x @ https://x.invalid/x.whl\nClassifier:")),
    ),
    ("metadata.summary", lambda: wheel(changed("A demonstration", "x" * 513))),
    ("metadata.description", lambda: wheel(changed("text/markdown\n\n# demo", "text/x-rst\n\n.. image::"))),
    ("form.action", lambda: wheel(said={":action": "submit"})),
    ("form.protocol", lambda: wheel(said={"protocol_version": "2"})),
    ("form.filetype", lambda: wheel(said={"filetype": "sdist"})),
    ("form.filetype", lambda: wheel(said={"filetype": "bdist_egg"})),
    ("form.pyversion", lambda: wheel(said={"pyversion": "source"})),
    ("form.pyversion", lambda: judged(form(SDIST_NAME, SDIST, said={"pyversion": "py3"}))),
    ("form.digest", lambda: wheel(said={"sha256_digest": ""})),
    ("form.digest", lambda: wheel(said={"sha256_digest": "0" * 64})),
    ("form.digest", lambda: wheel(said={"blake2_256_digest": "0" * 64})),
    ("form.metadata", lambda: wheel(said={"version": "1.0.0"})),
    ("form.metadata", lambda: wheel(said={"metadata_version": "2.1"})),
    ("archive.readable", lambda: raw_wheel(b"PK not a zip")),
    ("archive.readable", lambda: raw_wheel(WHEEL[:40] + b"\xff" + WHEEL[41:])),
    ("archive.readable", lambda: sdist(b"\x1f\x8b not a gzip")),
    ("archive.readable", lambda: sdist(SDIST[:-30])),
    ("archive.readable", lambda: sdist(SDIST + b"more")),
    ("archive.size", lambda: raw_wheel(bomb())),
    (
        "archive.size",
        lambda: sdist({**sdist_members(), "demo_project-1.0/zeros": bytes(archives.RATIO_FROM + 1)}),
    ),
    ("archive.duplicate-member", lambda: raw_wheel(duplicated())),
    ("archive.duplicate-member", lambda: sdist(sdist_members(), header("LICENSE", tarfile.REGTYPE))),
    ("archive.escaping-member", lambda: wheel(more={"../evil.py": b""})),
    ("archive.escaping-member", lambda: wheel(more={"/etc/evil.py": b""})),
    ("archive.escaping-member", lambda: wheel(more={"demo_project/..\\evil.py": b""})),
    ("archive.escaping-member", lambda: sdist(sdist_members(), header("out", tarfile.SYMTYPE, "../../evil"))),
    (
        "archive.escaping-member",
        lambda: sdist(sdist_members(), header("out", tarfile.LNKTYPE, "/etc/passwd")),
    ),
    ("archive.licence-files", lambda: wheel(changed("License-File: LICENSE", "License-File: COPYING"))),
    (
        "archive.licence-files",
        lambda: sdist({k: v for k, v in sdist_members().items() if "LICENSE" not in k}),
    ),
    ("wheel.strict-zip", lambda: raw_wheel(WHEEL + b"more")),
    ("wheel.strict-zip", lambda: raw_wheel(b"more" + WHEEL)),
    ("wheel.strict-zip", lambda: raw_wheel(commented())),
    ("wheel.strict-zip", lambda: raw_wheel(gapped())),
    ("wheel.strict-zip", lambda: raw_wheel(resized())),
    ("wheel.strict-zip", lambda: raw_wheel(reordered())),
    ("wheel.strict-zip", lambda: raw_wheel(misnamed_folder())),
    ("wheel.dist-info", lambda: raw_wheel(OTHER_VERSION)),
    ("wheel.dist-info", lambda: wheel(more={"other-1.0.dist-info/METADATA": b""})),
    ("wheel.wheel-file", lambda: raw_wheel(members(WHEEL=None))),
    ("wheel.wheel-file", lambda: raw_wheel(members(WHEEL=b"Wheel-Version: 2.0\nTag: py3-none-any\n"))),
    ("wheel.metadata", lambda: raw_wheel(members(METADATA=None))),
    ("wheel.record", lambda: raw_wheel({k: v for k, v in wheel_members().items() if "RECORD" not in k})),
    ("wheel.record", lambda: raw_wheel({**wheel_members(), "demo_project/extra.py": b""})),
    ("wheel.record", lambda: raw_wheel({**wheel_members(), "demo_project/__init__.py": b"other\n"})),
    ("wheel.record", lambda: raw_wheel({k: v for k, v in wheel_members().items() if "__init__" not in k})),
    ("wheel.record", lambda: raw_wheel({**wheel_members(), f"{INFO}/RECORD": b"\xff"})),
    ("wheel.entry-points", lambda: wheel(more={f"{INFO}/entry_points.txt": b"[console_scripts\nx = y"})),
    ("sdist.root", lambda: sdist({**sdist_members(), "setup.py": b""})),
    ("sdist.root", lambda: sdist(sdist_members(root="demo-project-1.0"))),
    ("sdist.pkg-info", lambda: sdist({k: v for k, v in sdist_members().items() if "PKG-INFO" not in k})),
    ("sdist.sparse", lambda: sdist(sdist_members(), sparse())),
    ("sdist.member-kind", lambda: sdist(sdist_members(), header("pipe", tarfile.FIFOTYPE))),
    ("upload.token", lambda: judged(form(WHEEL_NAME, WHEEL), token=None)),
    (
        "upload.token",
        lambda: judged(
            form(WHEEL_NAME, WHEEL), token=Token(project="demo-project", expires=NOW, publisher=None)
        ),
    ),
    ("upload.project", lambda: judged(form("other-1.0-py3-none-any.whl", WHEEL))),
    ("upload.project", lambda: uploads.judge(form(WHEEL_NAME, WHEEL), token=TOKEN, project=None, now=NOW)),
    (
        "upload.status",
        lambda: judged(form(WHEEL_NAME, WHEEL), project=Project(name="demo-project", status="archived")),
    ),
    ("upload.exists", lambda: judged(form(WHEEL_NAME, WHEEL), project=stored(data=b"other"))),
    ("upload.burned", lambda: judged(form(WHEEL_NAME, WHEEL), project=deleted())),
    (
        "upload.one-sdist",
        lambda: judged(form(SDIST_NAME, SDIST), project=stored("demo-project-1.tar.gz", b"")),
    ),
    (
        "upload.fourteen-days",
        lambda: judged(form(SDIST_NAME, SDIST), project=stored(ago=dt.timedelta(days=14))),
    ),
    (
        "attestation.trusted",
        lambda: with_attestations("[]", Token(project="demo-project", expires=TOKEN.expires, publisher=None)),
    ),
    ("attestation.form", lambda: with_attestations("{}")),
    ("attestation.form", lambda: with_attestations("[")),
    ("attestation.count", lambda: with_attestations(attested("a", "b", "c"))),
    ("attestation.predicate", lambda: with_attestations(attested("a", "a"))),
    ("attestation.verified", lambda: with_attestations(attested("a"), verifies=False)),
]
ELSEWHERE = {"upload.form", "form.content", "upload.size"}
"""Rules with a test of their own below."""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Metadata-Version: 2.4", "Metadata-Version: ²"),
        ("Metadata-Version: 2.4", f"Metadata-Version: {'9' * 5000}"),
        ("\nVersion: 1.0", f"\nVersion: {'1' * 5000}"),
        ("text/markdown", "text/x-rst\n  and more"),
        ("text/markdown", "\n  text/x-rst;;=\n"),
    ],
)
def test_upload_refuses_hostile_metadata_without_a_crash(old: str, new: str) -> None:
    """What a field holds is a stranger's word, too."""
    judgement = wheel(changed(old, new))
    assert {problem.rule for problem in judgement.problems} <= {"metadata.valid", "form.metadata"}
    assert judgement.status == 400


HOLES = with_header("demo_project-1.0/odd", **{"GNU.sparse.map": "x"})
HOSTILE = {
    **{case: partial(raw_wheel, data) for case, data in hostile(WHEEL).items() if "date" not in case},
    "a map of holes that is none": partial(sdist, HOLES),
}


@pytest.mark.parametrize("attempt", HOSTILE.values(), ids=HOSTILE)
def test_upload_refuses_hostile_bytes_without_a_crash(attempt: Callable[[], Judgement]) -> None:
    """Who sends an archive does not choose how the index ends."""
    assert {problem.rule for problem in attempt().problems} <= {"archive.readable", "wheel.strict-zip"}
    assert attempt().status == 400


@pytest.mark.parametrize(("rule", "attempt"), BROKEN)
def test_upload_refuses(rule: str, attempt: Callable[[], Judgement]) -> None:
    """A file that one rule forbids must be refused by that rule, and by no other by accident."""
    judgement = attempt()
    assert {problem.rule for problem in judgement.problems} == {rule}
    forbidden = {"upload.token", "upload.project", "upload.status"}
    assert judgement.status == (403 if rule in forbidden else 400)
    assert all(problem.what and problem.remedy for problem in judgement.problems)


def test_upload_refuses_headers_that_differ_from_the_directory() -> None:
    """One reader takes a member's name from its header, another from the directory: neither may be misled."""
    problems = raw_wheel(lying()).problems
    assert {problem.rule for problem in problems} & {"archive.readable", "wheel.strict-zip"}


def test_upload_refuses_a_wheel_that_is_too_large_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """What all members say they unpack to is added up before any is read."""
    monkeypatch.setattr(archives, "MAX_UNPACKED", 100)
    assert "archive.size" in {problem.rule for problem in raw_wheel(WHEEL).problems}


def test_upload_takes_a_wheel_that_was_streamed() -> None:
    """Sizes behind the data are unusual and unambiguous."""
    assert raw_wheel(streamed()).problems == ()


def test_upload_takes_a_description_that_renders() -> None:
    """A right reStructuredText description is no problem."""
    assert wheel(changed("text/markdown\n\n# demo", "text/x-rst\n\ndemo\n====")).problems == ()


def test_upload_takes_one_attestation_of_unknown_shape_to_the_verifier() -> None:
    """What an attestation holds is the verifier's to judge, not the counter's."""
    assert with_attestations('[{"envelope": 5}]').problems == ()


def test_upload_refuses_a_file_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is of the file as it comes, and is the last size that is taken."""
    monkeypatch.setattr(uploads, "MAX_FILE", len(WHEEL))
    assert raw_wheel(WHEEL).problems == ()
    monkeypatch.setattr(uploads, "MAX_FILE", len(WHEEL) - 1)
    (problem,) = raw_wheel(WHEEL).problems
    assert (problem.rule, problem.where) == ("upload.size", "upload")
    assert problem.what == f"{WHEEL_NAME} has {len(WHEEL)} bytes, {len(WHEEL) - 1} are allowed"


def test_every_upload_rule_has_a_test_that_breaks_it() -> None:
    """A rule without a negative test could vanish unseen."""
    all_rules = {*rules.FILE_RULES, *rules.FORM_RULES, *archives.RULES, *uploads.STATE_RULES}
    assert {rule for rule, _ in BROKEN} | ELSEWHERE == all_rules


@pytest.mark.parametrize(("name", "data"), [(WHEEL_NAME, WHEEL), (SDIST_NAME, SDIST)])
def test_upload_takes_a_right_file(name: str, data: bytes) -> None:
    """The files that every negative test changes break no rule themselves."""
    judgement = judged(form(name, data))
    assert judgement.problems == ()
    assert judgement.status == 200
    assert judgement.metadata == METADATA.encode()
    assert not judgement.repeated


@pytest.mark.parametrize(
    "platform", ["win_amd64", "macosx_11_0_arm64", "manylinux_2_17_x86_64.manylinux2014_x86_64"]
)
def test_upload_takes_a_platform_that_the_index_serves(platform: str) -> None:
    """Portable platform tags are let through."""
    assert platform_wheel(platform).problems == ()


def test_upload_takes_a_dependency_by_name() -> None:
    """Only what is installed past the index is refused."""
    metadata = changed("Requires-Python", "Requires-Dist: redis>=6.2; extra == 'server'\nRequires-Python")
    assert wheel(metadata).problems == ()


def test_upload_says_once_that_a_summary_has_several_lines() -> None:
    """The library that reads metadata refuses it as well, in other words."""
    found = wheel(changed("A demonstration", "A demonstration\n  in two lines"))
    assert [problem.rule for problem in found.problems] == ["metadata.summary"]


def test_upload_of_other_bytes_is_told_both_digests() -> None:
    """Whoever rebuilt a release sees at once which bytes stand on the index."""
    (problem,) = judged(form(SDIST_NAME, SDIST), project=stored(SDIST_NAME, b"other")).problems
    sums = [hashlib.sha256(data).hexdigest() for data in (b"other", SDIST)]
    assert problem.what == f"File already exists ({SDIST_NAME}, sha256 {sums[0]}; now {sums[1]})"
    assert (problem.rule, problem.where) == ("upload.exists", "upload")


@pytest.mark.parametrize(
    ("judgement", "where", "what"),
    [
        (lambda: raw_wheel(bomb()), f"{WHEEL_NAME}: ", "compressed absurdly well"),
        (
            lambda: raw_wheel(members(**{"licenses/LICENSE": None})),
            f"{INFO}/licenses/LICENSE",
            "there",
        ),
        (
            lambda: sdist({k: v for k, v in sdist_members().items() if not k.endswith("PKG-INFO")}),
            "demo_project-1.0/PKG-INFO",
            "missing",
        ),
    ],
)
def test_upload_refuses_a_member_at_its_place(
    judgement: Callable[[], Judgement], where: str, what: str
) -> None:
    """The member is named behind the file: a wheel has hundreds of them."""
    found = [(problem.where, problem.what) for problem in judgement().problems]
    assert any(where in place and what in said for place, said in found), found


def test_upload_takes_the_same_bytes_twice() -> None:
    """A repeated upload of the same bytes is success, so that a cut answer can be retried."""
    judgement = judged(form(WHEEL_NAME, WHEEL), project=stored())
    assert judgement.repeated
    assert judgement.status == 200


def test_upload_takes_a_second_file_within_14_days() -> None:
    """The last moment at which a release is still open."""
    almost = dt.timedelta(days=14) - dt.timedelta(seconds=1)
    assert judged(form(SDIST_NAME, SDIST), project=stored(ago=almost)).problems == ()


def test_upload_takes_two_attestations_of_different_kinds() -> None:
    """The publisher's and the provenance's attestation may come together."""
    assert with_attestations(attested("a", "b")).problems == ()


def multipart(*parts: tuple[str, bytes], boundary: str = "xyz") -> bytes:
    body = b"".join(
        f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + data + b"\r\n"
        for head, data in parts
    )
    return body + f"--{boundary}--\r\n".encode()


TYPE = "multipart/form-data; boundary=xyz"
FILE = (f'name="content"; filename="{WHEEL_NAME}"', b"\r\n--\r\nbinary\x00\xff")


def test_form_keeps_fields_and_bytes() -> None:
    """Repeated fields stay in order and the file's bytes stay as they are, line ends included."""
    found = uploads.parse_form(
        TYPE, multipart(('name="classifiers"', b"a"), ('name="classifiers"', b"b"), FILE)
    )
    assert isinstance(found, Form)
    assert found.fields == {"classifiers": ["a", "b"]}
    assert (found.filename, found.content) == (WHEEL_NAME, FILE[1])


def test_form_leaves_other_files_out() -> None:
    """A signature beside the file, as old clients send it, is not the file."""
    signature = ('name="gpg_signature"; filename="x.asc"', b"signed")
    found = uploads.parse_form(TYPE, multipart(signature, FILE))
    assert isinstance(found, Form)
    assert (found.filename, found.fields) == (WHEEL_NAME, {})


@pytest.mark.parametrize(
    ("content_type", "body", "rule"),
    [
        ("application/json", b"{}", "upload.form"),
        ("multipart/form-data", multipart(FILE), "upload.form"),
        (TYPE, b"", "upload.form"),
        (TYPE, b"stray" + multipart(FILE), "upload.form"),
        (TYPE, multipart(FILE)[:-10], "upload.form"),
        (TYPE, multipart(('name=":action"', b"file_upload")), "form.content"),
        (TYPE, multipart(FILE, FILE), "form.content"),
    ],
)
def test_form_refuses(content_type: str, body: bytes, rule: str) -> None:
    """A body that is no whole form with one file is refused before anything else is looked at."""
    found = uploads.parse_form(content_type, body)
    assert isinstance(found, Problem)
    assert found.rule == rule
