"""An upload as an index judges it: the form it comes in, and the rules that need the index's memory.

Pure: bytes, what is on the shelf and the time go in; a form, or problems with the status the index answers,
come out.
"""

import base64
import datetime as dt
import email
import email.message
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from release.model import Problem
from release.rehearsal import archives, rules
from release.rehearsal.minting import Publisher
from release.rehearsal.shelf import Project

__all__ = ["STATE_RULES", "Judgement", "Token", "Verifier", "judge", "no_sigstore", "parse_form"]

STATE_RULES = {
    "upload.form": "the body is a multipart form with fields and one file",
    "upload.token": "the upload token is one of this index's and has not expired",
    "upload.project": "the upload token is for the file's project",
    "upload.status": "the project is active",
    "upload.size": "the file has at most 100 MiB",
    "upload.exists": "no other bytes stand under this file name",
    "upload.burned": "the file name was never used by a file that was deleted",
    "upload.one-sdist": "a release has one sdist",
    "upload.fourteen-days": "a release takes new files for 14 days",
    "attestation.trusted": "attestations come only with trusted publishing",
    "attestation.form": "attestations are a JSON list",
    "attestation.count": "a file has at most two attestations",
    "attestation.predicate": "a file's attestations have different predicate types",
    "attestation.verified": "each attestation is by the publisher, over this name and digest",
}
"""Rule -> what it asks. Every rule has a test that breaks it and nothing else."""

MAX_FILE = 100 << 20
"""Bytes of one file."""
MAX_ATTESTATIONS = 2
OPEN_FOR = dt.timedelta(days=14)
"""How long a release takes new files."""

_FORBIDDEN = frozenset({"upload.token", "upload.project", "upload.status"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An upload token the index gave out."""

    project: str
    expires: dt.datetime
    publisher: Publisher | None
    """None: a person's API token."""


Verifier = Callable[[dict[str, Any], Publisher, str, str], str | None]
"""(attestation, publisher, file name, SHA-256) -> what is wrong with it, or None."""


def no_sigstore(attestation: dict[str, Any], publisher: Publisher, name: str, sha256: str) -> str | None:
    """Refuses every attestation: without a trust root none can be verified."""
    del attestation, publisher, sha256
    return f"nothing here can verify an attestation for {name}: there is no trust root"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What the index makes of one upload."""

    problems: tuple[Problem, ...] = ()
    repeated: bool = False
    """True when these very bytes stand under this name already: answered with success, nothing changes."""
    file: rules.Filename | None = None
    metadata: bytes = b""
    attestations: Sequence[Mapping[str, Any]] = ()
    """Those that came with the file, each of them verified."""

    @property
    def status(self) -> int:
        """The HTTP status the index answers."""
        if not self.problems:
            return 200
        return 403 if any(problem.rule in _FORBIDDEN for problem in self.problems) else 400


def parse_form(content_type: str, body: bytes) -> rules.Form | Problem:
    """The fields and the file of a multipart form (RFC 7578)."""
    head = email.message.EmailMessage()
    head["content-type"] = content_type
    boundary = head.get_boundary()
    if head.get_content_type() != "multipart/form-data" or not boundary:
        return _problem("upload.form", "the body is not a multipart form", "use a current twine")
    first, *parts = (b"\r\n" + body).split(b"\r\n--" + boundary.encode())
    if first or not parts or not parts[-1].startswith(b"--"):
        return _problem("upload.form", "the form is cut short", "upload again")
    fields: dict[str, list[str]] = {}
    files: list[tuple[str, bytes]] = []
    for part in parts[:-1]:
        headers, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        described = email.message_from_bytes(headers)
        name = str(described.get_param("name", "", header="content-disposition"))
        file = described.get_filename()
        if file is None:
            fields.setdefault(name, []).append(content.decode("utf-8", "replace"))
        elif name == "content":
            files.append((file, content))
    if len(files) != 1:
        return _problem("form.content", f"the form has {len(files)} files, not one", "use a current twine")
    return rules.Form(fields=fields, filename=files[0][0], content=files[0][1])


def judge(
    form: rules.Form,
    *,
    token: Token | None,
    project: Project | None,
    now: dt.datetime,
    verifier: Verifier = no_sigstore,
) -> Judgement:
    """Hold one upload against every rule.

    Args:
        form: The upload.
        token: What the client authenticated with; None when the index does not know it.
        project: The project that the token is for.
        now: UTC.
        verifier: What checks attestations.
    """
    if token is None or token.expires <= now:
        what = (
            "invalid or non-existent authentication information" if token is None else "the token has expired"
        )
        return Judgement(problems=(_problem("upload.token", what, "mint a new token: run the job again"),))
    file = rules.filename(form.filename)
    if isinstance(file, Problem):
        return Judgement(problems=(file,))
    if project is None or file.project != token.project:
        what = f"the token is for project {token.project!r}, the file is of {file.project!r}"
        return Judgement(problems=(_problem("upload.project", what, "upload only this project's files"),))
    if project.status in {"archived", "quarantined"}:
        what = f"the project is {project.status}"
        return Judgement(problems=(_problem("upload.status", what, "a project owner must make it active"),))
    sha256 = hashlib.sha256(form.content).hexdigest()
    if project.files.get(form.filename) and project.files[form.filename].sha256 == sha256:
        return Judgement(repeated=True, file=file)
    found = list(_memory_problems(form, file, sha256, project, now))
    contents = archives.read(file, form.content)
    found += rules.filename_problems(file)
    found += contents.problems
    if contents.metadata is not None:
        found += rules.metadata_problems(f"{form.filename} metadata", contents.metadata, file)
    found += rules.form_problems(form, file, contents.metadata)
    found += _attestation_problems(form, sha256, token, verifier)
    attested: list[dict[str, Any]] = [] if found else json.loads(form.one("attestations") or "[]")
    return Judgement(
        problems=tuple(found), file=file, metadata=contents.metadata or b"", attestations=attested
    )


def _memory_problems(
    form: rules.Form, file: rules.Filename, sha256: str, project: Project, now: dt.datetime
) -> Iterator[Problem]:
    name = form.filename
    if len(form.content) > MAX_FILE:
        yield _problem(
            "upload.size", f"{name} has {len(form.content)} bytes, {MAX_FILE} are allowed", "make it smaller"
        )
    if name in project.files:
        there = project.files[name].sha256
        yield _problem("upload.exists", f"File already exists ({name}, sha256 {there}; now {sha256})", _NEXT)
    elif name in project.used:
        yield _problem("upload.burned", f"This filename has already been used ({name})", _NEXT)
    elif not file.wheel and any(not stored.wheel for stored in project.of(file.version)):
        yield _problem("upload.one-sdist", f"only one sdist may be uploaded for {file.version}", _NEXT)
    began = project.released.get(file.version)
    if began is not None and began + OPEN_FOR <= now:
        yield _problem("upload.fourteen-days", f"{file.version} was created more than 14 days ago", _NEXT)


def _attestation_problems(
    form: rules.Form, sha256: str, token: Token, verifier: Verifier
) -> Iterator[Problem]:
    if not form.one("attestations"):
        return
    if token.publisher is None:
        yield _problem("attestation.trusted", "attestations need trusted publishing", "upload without them")
        return
    try:
        read = json.loads(form.one("attestations"))
    except ValueError:
        read = None
    if not isinstance(read, list):
        yield _problem("attestation.form", "attestations are not a JSON list", "sign the files anew")
        return
    attestations = cast("list[dict[str, Any]]", read)
    if len(attestations) > MAX_ATTESTATIONS:
        yield _problem(
            "attestation.count", f"{len(attestations)} attestations, two are allowed", "send fewer"
        )
    kinds = [_predicate_type(attestation) for attestation in attestations]
    if len(set(kinds)) != len(kinds):
        yield _problem("attestation.predicate", "two attestations of one predicate type", "send one of each")
    for attestation in attestations:
        wrong = verifier(attestation, token.publisher, form.filename, sha256)
        if wrong is not None:
            yield _problem("attestation.verified", wrong, "sign the very bytes that are uploaded")


def _predicate_type(attestation: dict[str, Any]) -> str | None:
    """The predicate type that an attestation's signed statement claims; None where it cannot be read."""
    try:
        statement = json.loads(base64.b64decode(attestation["envelope"]["statement"]))
        return str(statement["predicateType"])
    except (KeyError, TypeError, ValueError):
        return None


_NEXT = "release the next version: an index never takes other bytes under a used name"


def _problem(rule: str, what: str, remedy: str) -> Problem:
    return Problem(rule=rule, where="upload", what=what, remedy=remedy)
