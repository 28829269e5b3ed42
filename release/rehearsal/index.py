"""One loopback index, as TestPyPI or as PyPI: mints tokens, takes uploads, serves the simple API and files.

The shell around the pure rules: it owns the memory (projects, publishers, tokens, files in a folder) and
nothing else decides. It answers under the real host names of the index it stands for.
"""

import base64
import binascii
import datetime as dt
import hashlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from packaging.metadata import parse_email
from packaging.utils import canonicalize_name

from release.indexes import Index, IndexName
from release.model import Problem
from release.rehearsal import minting, serving, uploads
from release.rehearsal.rules import Filename, Form, blake2_256
from release.rehearsal.shelf import Project, Stored
from release.rehearsal.wire import Request, Response, json_response

__all__ = ["TOKEN_LIFE", "LoopbackIndex"]

TOKEN_LIFE = dt.timedelta(minutes=15)
"""How long a minted upload token may be used."""


class LoopbackIndex:
    """The memory and the behaviour of one index."""

    def __init__(
        self,
        index: Index,
        *,
        folder: Path,
        clock: Callable[[], dt.datetime],
        keys: Callable[[], Mapping[str, RSAPublicKey]],
    ) -> None:
        self.index = index
        self.lag = dt.timedelta()
        """How long a new file stays off the simple pages."""
        self.down = False
        """True: every request is answered with 503."""
        self.projects: dict[str, Project] = {}
        self.publishers: list[minting.Publisher] = []
        self.refusals: list[str] = []
        """Rule ids of what was refused, in order."""
        self.verifier: uploads.Verifier = uploads.no_sigstore
        self._folder = folder
        self._clock = clock
        self._keys = keys
        self._exchanged: set[str] = set()
        self._tokens: dict[str, uploads.Token] = {}
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def audience(self) -> str:
        """The audience an ID token for this index has."""
        return "testpypi" if self.index.name is IndexName.TESTPYPI else "pypi"

    def create(self, project: str) -> Project:
        """A project that exists already, without files."""
        name = canonicalize_name(project)
        return self.projects.setdefault(name, Project(name=name))

    def token(self, project: str, *, publisher: minting.Publisher | None = None) -> str:
        """Give out an upload token for one project; without a publisher it is a person's API token."""
        token = f"pypi-{secrets.token_urlsafe()}"
        expires = self._clock() + TOKEN_LIFE
        self._tokens[token] = uploads.Token(
            project=canonicalize_name(project), expires=expires, publisher=publisher
        )
        return token

    def yank(self, name: str, reason: str) -> None:
        """Yank a file (PEP 592)."""
        for project in self.projects.values():
            if name in project.files:
                project.files[name] = replace(project.files[name], yanked=reason)

    def delete(self, name: str) -> None:
        """Delete a file; its name stays used up."""
        for project in self.projects.values():
            project.files.pop(name, None)

    def content(self, name: str) -> bytes:
        """The bytes of a stored file."""
        return (self._folder / name).read_bytes()

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        if self.down:
            return Response(status=503, body=b"down for maintenance")
        if request.host == self.index.files_host:
            return serving.files_page(request.path, self.projects, self.content)
        match request.method, request.path:
            case "GET", "/_/oidc/audience":
                return json_response({"audience": self.audience})
            case "POST", "/_/oidc/mint-token":
                return self._mint(request)
            case "POST", "/legacy/":
                return self._upload(request)
            case "GET", path if path.startswith(serving.PROVENANCE):
                return serving.provenance_page(path, self.projects)
            case "GET" | "HEAD", path if path == "/simple" or path.startswith("/simple/"):
                return serving.simple_page(
                    request,
                    self.projects,
                    now=self._clock(),
                    lag=self.lag,
                    index_host=urlsplit(self.index.simple_url).netloc,
                    files_host=self.index.files_host,
                )
            case _, "/legacy/" | "/_/oidc/mint-token":
                return Response(status=405, body=b"Method Not Allowed")
            case _:
                return json_response({"message": "Not Found"}, status=404)

    def _mint(self, request: Request) -> Response:
        """Exchange an ID token for an upload token."""
        answer = self._minted(request.body)
        if isinstance(answer, minting.Refusal):
            self.refusals.append(answer.rule)
            errors = [{"code": answer.code, "description": answer.detail}]
            return json_response({"message": "Token request failed", "errors": errors}, status=422)
        expires = int((self._clock() + TOKEN_LIFE).timestamp())
        return json_response({"success": True, "token": answer, "expires": expires})

    def _minted(self, body: bytes) -> str | minting.Refusal:
        now = self._clock()
        token = minting.payload(body)
        if isinstance(token, minting.Refusal):
            return token
        verified = minting.verified(token, keys=self._keys(), audience=self.audience, now=now)
        if isinstance(verified, minting.Refusal):
            return verified
        granted = minting.grant(
            verified, publishers=self.publishers, projects=self.projects.keys(), exchanged=self._exchanged
        )
        if isinstance(granted, minting.Refusal):
            if granted.rule == "mint.pending-exists":
                self.publishers = [
                    publisher
                    for publisher in self.publishers
                    if not (publisher.pending and publisher.project in self.projects)
                ]
            return granted
        publisher = granted.publisher
        if publisher.pending:
            self.create(publisher.project)
            settled = replace(publisher, pending=False)
            self.publishers[self.publishers.index(publisher)] = settled
            publisher = settled
        self._exchanged.add(granted.jti)
        return self.token(publisher.project, publisher=publisher)

    def _upload(self, request: Request) -> Response:
        """Take a file, or say why not: the explanation stands in the status line, as on the real index."""
        token = self._tokens.get(_password(request.headers.get("authorization", "")))
        form = uploads.parse_form(request.headers.get("content-type", ""), request.body)
        if isinstance(form, Problem):
            return self._refused(400, (form,))
        project = self.projects.get(token.project) if token is not None else None
        judgement = uploads.judge(
            form, token=token, project=project, now=self._clock(), verifier=self.verifier
        )
        if judgement.problems:
            return self._refused(judgement.status, judgement.problems)
        if (
            project is not None
            and token is not None
            and judgement.file is not None
            and not judgement.repeated
        ):
            self._store(form, judgement.file, judgement, project, token.publisher)
        return Response(status=200)

    def _store(
        self,
        form: Form,
        file: Filename,
        judgement: uploads.Judgement,
        project: Project,
        publisher: minting.Publisher | None,
    ) -> None:
        stored = Stored(
            name=form.filename,
            version=file.version,
            wheel=file.wheel,
            sha256=hashlib.sha256(form.content).hexdigest(),
            blake2_256=blake2_256(form.content),
            size=len(form.content),
            uploaded=self._clock(),
            metadata=judgement.metadata,
            requires_python=parse_email(judgement.metadata)[0].get("requires_python"),
            publisher="token" if publisher is None else "trusted",
            provenance=serving.provenance(publisher, judgement.attestations),
        )
        (self._folder / form.filename).write_bytes(form.content)
        project.files[form.filename] = stored
        project.used[form.filename] = stored.sha256
        project.released.setdefault(file.version, stored.uploaded)

    def _refused(self, status: int, problems: tuple[Problem, ...]) -> Response:
        self.refusals.extend(problem.rule for problem in problems)
        said = "; ".join(f"{problem.what} [{problem.rule}]" for problem in problems)
        reason = " ".join(said.split()).encode("ascii", "replace").decode()
        return Response(
            status=status, reason=reason, body=said.encode(), headers={"content-type": "text/plain"}
        )


def _password(authorization: str) -> str:
    """The password of HTTP basic authentication with the user name for tokens."""
    scheme, _, encoded = authorization.partition(" ")
    try:
        user, _, password = base64.b64decode(encoded).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return password if scheme.lower() == "basic" and user == "__token__" else ""
