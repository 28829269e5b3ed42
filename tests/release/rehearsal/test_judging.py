"""What an index makes of an upload: its words, what it keeps, and what it asks of whoever verifies."""

import datetime as dt
import hashlib
import json
from base64 import b64encode
from dataclasses import replace
from typing import Any

import pytest
from packaging.version import Version

from release.model import Problem
from release.rehearsal import rules, uploads
from release.rehearsal.minting import Publisher
from release.rehearsal.shelf import Project, Stored
from release.rehearsal.uploads import Judgement, Token, Verifier
from tests.release.rehearsal.support import (
    METADATA,
    NOW,
    PUBLISHER,
    SDIST,
    SDIST_NAME,
    WHEEL,
    WHEEL_NAME,
    fields,
    sdist_members,
    tarred,
)

TOKEN = Token(project="demo-project", expires=NOW + dt.timedelta(seconds=1), publisher=PUBLISHER)
EMPTY = Project(name="demo-project")
SHA256, NO_BYTES = hashlib.sha256(WHEEL).hexdigest(), hashlib.sha256().hexdigest()
NEXT = "release the next version: an index never takes other bytes under a used name"
MINT = "mint a new token: run the job again"
TYPE = "multipart/form-data; boundary=xyz"


def form(attestations: str = "", name: str = WHEEL_NAME, data: bytes = WHEEL) -> rules.Form:
    said = {"attestations": attestations}
    return rules.Form(fields=fields(name, data, said=said), filename=name, content=data)


def judged(
    made: rules.Form,
    *,
    token: Token | None = TOKEN,
    project: Project | None = EMPTY,
    verifier: Verifier = uploads.no_sigstore,
) -> Judgement:
    return uploads.judge(made, token=token, project=project, now=NOW, verifier=verifier)


def verifying(wrong: str | None, asked: list[tuple[object, ...]] | None = None) -> Verifier:
    """A verifier with one answer, which notes what it is asked."""

    def verify(attestation: dict[str, Any], publisher: Publisher, name: str, sha256: str) -> str | None:
        if asked is not None:
            asked.append((attestation, publisher, name, sha256))
        return wrong

    return verify


def attestation(kind: str) -> dict[str, Any]:
    """As far as an index reads one itself."""
    return {"envelope": {"statement": b64encode(json.dumps({"predicateType": kind}).encode()).decode()}}


def stored(name: str, data: bytes = b"", uploaded: dt.datetime = NOW) -> Stored:
    return Stored(
        name=name,
        version=Version("1.0"),
        wheel=name.endswith(".whl"),
        sha256=hashlib.sha256(data).hexdigest(),
        blake2_256=rules.blake2_256(data),
        size=len(data),
        uploaded=uploaded,
        metadata=b"",
        requires_python=None,
        publisher="token",
    )


def holding(*files: Stored) -> Project:
    return Project(name="demo-project", files={file.name: file for file in files})


@pytest.mark.parametrize(
    ("made", "given", "found"),
    [
        (
            form(),
            {"token": None},
            (
                "upload.token",
                "invalid or non-existent authentication information",
                MINT,
            ),
        ),
        (
            form(),
            {"token": replace(TOKEN, expires=NOW)},
            ("upload.token", "the token has expired", MINT),
        ),
        (
            form(),
            {"token": replace(TOKEN, project="other")},
            (
                "upload.project",
                "the token is for project 'other', the file is of 'demo-project'",
                "upload only this project's files",
            ),
        ),
        (
            form(),
            {"project": None},
            (
                "upload.project",
                "the token is for project 'demo-project', the file is of 'demo-project'",
                "upload only this project's files",
            ),
        ),
        *(
            (
                form(),
                {"project": Project(name="demo-project", status=status)},
                ("upload.status", f"the project is {status}", "a project owner must make it active"),
            )
            for status in ("archived", "quarantined")
        ),
        (
            form(),
            {"project": holding(stored(WHEEL_NAME))},
            (
                "upload.exists",
                f"File already exists ({WHEEL_NAME}, sha256 {NO_BYTES}; now {SHA256})",
                NEXT,
            ),
        ),
        (
            form(),
            {"project": Project(name="demo-project", used={WHEEL_NAME: "x"})},
            ("upload.burned", f"This filename has already been used ({WHEEL_NAME})", NEXT),
        ),
        (
            form(name=SDIST_NAME, data=SDIST),
            {"project": holding(stored("demo_project-1.tar.gz"), stored(WHEEL_NAME))},
            ("upload.one-sdist", "only one sdist may be uploaded for 1.0", NEXT),
        ),
        (
            form(),
            {"project": Project(name="demo-project", released={Version("1"): NOW - dt.timedelta(days=14)})},
            ("upload.fourteen-days", "1.0 was created more than 14 days ago", NEXT),
        ),
        (
            form("[]"),
            {"token": replace(TOKEN, publisher=None)},
            ("attestation.trusted", "attestations need trusted publishing", "upload without them"),
        ),
        *(
            (form(text), {}, ("attestation.form", "attestations are not a JSON list", "sign the files anew"))
            for text in ("{}", "[", '""')
        ),
        (
            form(json.dumps([attestation("a")])),
            {},
            (
                "attestation.verified",
                f"nothing here can verify an attestation for {WHEEL_NAME}: there is no trust root",
                "sign the very bytes that are uploaded",
            ),
        ),
    ],
)
def test_what_is_said_of_an_upload_that_is_refused(
    made: rules.Form, given: dict[str, Any], found: tuple[str, str, str]
) -> None:
    """Once, and with what to do."""
    judgement = judged(made, **given)
    (problem,) = judgement.problems
    assert (problem.rule, problem.what, problem.remedy) == found
    assert problem.where == "upload"
    assert not judgement.attestations


def test_what_an_upload_brings_is_kept() -> None:
    """The file's name as it was read, its metadata, and the attestations that were verified."""
    sent = [attestation("a"), attestation("b")]
    asked: list[tuple[object, ...]] = []
    judgement = judged(form(json.dumps(sent)), verifier=verifying(None, asked))
    assert judgement == Judgement(
        file=judgement.file, metadata=METADATA.encode(), attestations=sent, problems=()
    )
    assert judgement.file == rules.filename(WHEEL_NAME)
    assert asked == [(each, PUBLISHER, WHEEL_NAME, SHA256) for each in sent]
    assert judged(form()).attestations == []


def test_what_is_wrong_with_attestations_is_counted_and_verified() -> None:
    """Each of three is looked at; two of a kind are no two kinds, and neither are two of none."""
    sent = [attestation("a"), attestation("a"), {}]
    found = judged(form(json.dumps(sent)), verifier=verifying("is wrong")).problems
    assert [(problem.rule, problem.what, problem.remedy) for problem in found] == [
        ("attestation.count", "3 attestations, two are allowed", "send fewer"),
        ("attestation.predicate", "two attestations of one predicate type", "send one of each"),
        *[("attestation.verified", "is wrong", "sign the very bytes that are uploaded")] * 3,
    ]
    (problem,) = judged(form('[{}, {"envelope": 5}]'), verifier=verifying(None)).problems
    assert problem.rule == "attestation.predicate"


def test_the_same_bytes_again_change_nothing() -> None:
    """The answer is success, and says of which file."""
    found = judged(form(), project=holding(stored(WHEEL_NAME, WHEEL)))
    assert found == Judgement(repeated=True, file=found.file)
    assert found.file == rules.filename(WHEEL_NAME)


def test_a_refused_upload_is_of_its_file() -> None:
    """What is wrong with the archive, and no metadata where none was found."""
    data = tarred({name: text for name, text in sdist_members().items() if "PKG-INFO" not in name})
    found = judged(form(name=SDIST_NAME, data=data))
    assert (found.file, found.metadata) == (rules.filename(SDIST_NAME), b"")
    assert [problem.rule for problem in found.problems] == ["sdist.pkg-info"]


def test_a_wheel_may_stand_beside_another_and_an_sdist_beside_a_wheel() -> None:
    """One sdist is all that a release may have."""
    assert judged(form(), project=holding(stored("demo_project-1-py3-none-any.whl"))).problems == ()
    sdist = form(name=SDIST_NAME, data=SDIST)
    assert judged(sdist, project=holding(stored(WHEEL_NAME))).problems == ()


def part(head: str, data: bytes) -> bytes:
    return f"--xyz\r\nContent-Disposition: form-data{head}\r\n\r\n".encode() + data + b"\r\n"


FILE = part(f'; name="content"; filename="{WHEEL_NAME}"', b"x")


def test_a_field_in_no_encoding_or_without_a_name_is_kept_as_far_as_it_goes() -> None:
    """The rules say what is wrong with a form, not the program that takes it apart."""
    body = part('; name="a"', b"\xff") + part("", b"y") + FILE + b"--xyz--\r\n"
    found = uploads.parse_form(TYPE, body)
    assert isinstance(found, rules.Form)
    assert found.fields == {"a": ["\ufffd"], "": ["y"]}
    assert (found.filename, found.content) == (WHEEL_NAME, b"x")


@pytest.mark.parametrize(
    ("content_type", "body", "found"),
    [
        (
            "multipart/mixed; boundary=xyz",
            FILE + b"--xyz--\r\n",
            ("upload.form", "the body is not a multipart form", "use a current twine"),
        ),
        (
            "multipart/form-data",
            FILE + b"--xyz--\r\n",
            ("upload.form", "the body is not a multipart form", "use a current twine"),
        ),
        (TYPE, FILE, ("upload.form", "the form is cut short", "upload again")),
        (TYPE, b"x" + FILE + b"--xyz--\r\n", ("upload.form", "the form is cut short", "upload again")),
        (TYPE, b"x", ("upload.form", "the form is cut short", "upload again")),
        (TYPE, b"--xyz--\r\n", ("form.content", "the form has 0 files, not one", "use a current twine")),
        (
            TYPE,
            FILE + FILE + b"--xyz--\r\n",
            ("form.content", "the form has 2 files, not one", "use a current twine"),
        ),
    ],
)
def test_what_is_said_of_a_body_that_is_no_form(
    content_type: str, body: bytes, found: tuple[str, str, str]
) -> None:
    """Before anything in it is looked at."""
    problem = uploads.parse_form(content_type, body)
    assert isinstance(problem, Problem)
    assert (problem.rule, problem.what, problem.remedy) == found
