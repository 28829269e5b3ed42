"""A client for an index's JSON simple API: which files it lists, their digests, and the files themselves.

What an index answers is untrusted: sizes are bounded, the shape is validated, and an answer that breaks the
API is told apart from an index that is down or has nothing yet. Sources: the simple repository API (PEP 503,
629, 691, 700, 714) of the Python packaging specifications.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from threading import Thread
from typing import Annotated, Any, Self
from urllib.parse import urljoin, urlsplit

import requests
import requests.auth
from packaging.utils import canonicalize_name
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from release.indexes import Index
from release.model import Artifact, Kind, Problem, Refused
from release.rules.archives import digest_of

__all__ = ["IndexClient", "Listed", "Listing", "Standing", "compare"]

ACCEPT = "application/vnd.pypi.simple.v1+json"

PROVENANCE_ACCEPT = "application/vnd.pypi.integrity.v1+json"

PAGE_LIMIT = 32 * 1024 * 1024
"""Bytes of a project's page; the largest real ones have some ten."""

FILE_LIMIT = 64 * 1024 * 1024
"""Bytes of one file of this project."""

TIMEOUT_S = (10.0, 60.0)
"""To connect, and between two packets."""

ANSWER_S = 600.0
"""For one whole answer, since a byte a minute is never late between two packets; a file of `FILE_LIMIT` bytes
then has to come at 110 kB a second."""

AGAIN = "run the same command again later; nothing has to be undone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One file as an index lists it."""

    name: str
    url: str
    """Absolute."""
    sha256: str
    """Lower-case hex; empty when the index gives none."""
    size: int | None
    yanked: str | None
    """None: not yanked; otherwise the reason, which may be empty."""
    metadata_sha256: str | None
    """Digest of the separately served METADATA; None when the index serves none."""
    provenance: str | None
    """Where attestations are served, absolute; None when there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """All files of a project on an index; empty when the index does not know the project."""

    project: str
    files: Sequence[Listed]

    def get(self, name: str) -> Listed | None:
        """The file with exactly this name, or None."""
        return next((file for file in self.files if file.name == name), None)


Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+!-]{0,254}$")]


class _Answer(BaseModel):
    """One table of the answer; keys of later API versions are not looked at."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class _Hashes(_Answer):
    sha256: Sha256 | None = None


class _File(_Answer):
    filename: FileName
    url: Annotated[str, StringConstraints(min_length=1, max_length=2048)]
    hashes: _Hashes
    size: Annotated[int, Field(ge=0, lt=2**53)] | None = None
    yanked: bool | str = False
    core_metadata: Annotated[bool | _Hashes, Field(alias="core-metadata")] = False
    provenance: Annotated[str, StringConstraints(max_length=2048)] | None = None


class _Meta(_Answer):
    api_version: Annotated[str, Field(alias="api-version", pattern=r"^1\.\d+$")]


class _Page(_Answer):
    meta: _Meta
    name: Annotated[str, StringConstraints(max_length=256)]
    files: list[_File]


class _NoCredentials(requests.auth.AuthBase):
    """Keeps a netrc entry of this machine out of what is asked anonymously."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class IndexClient:
    """Asks one index, through the proxy and certificates that the environment names.

    Args:
        index: The index to ask.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._session = requests.Session()
        self._session.auth = _NoCredentials()
        self._session.headers["User-Agent"] = "tta-agent-coordination-release"
        # A cached page is how a file that is there stays unseen.
        self._session.headers["Cache-Control"] = "no-cache"
        self._session.hooks["response"] = [self._stay]

    def __repr__(self) -> str:
        """Names the index."""
        return f"IndexClient({self._index.name.value})"

    def __enter__(self) -> Self:
        """Use the client in a `with` block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close its connections."""
        self._session.close()

    def listing(self, project: str) -> Listing:
        """What the index lists for `project` (normalised) now; 404 and an empty page both are no files.

        Raises:
            Refused: of kind NOT_YET when the index is down or cannot be reached; of kind REFUSED when it
                refuses the question or its answer breaks the API.
        """
        url = self._index.project_url(project)
        body = self._get(url, limit=PAGE_LIMIT)
        if body is None:
            return Listing(project=project, files=())
        try:
            page = _Page.model_validate_json(body)
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            place = ".".join(map(str, first["loc"])) or "the page"
            raise self._broken("simple-api", url, f"{place}: {first['msg']}") from error
        if canonicalize_name(page.name) != project:
            raise self._broken("project", url, f"answers for another project, {page.name!r}")
        files = {file.filename: self._file(url, file) for file in page.files}
        if len(files) != len(page.files):
            raise self._broken("simple-api", url, "lists one file name twice")
        return Listing(project=project, files=tuple(files.values()))

    def fetch(self, file: Listed) -> bytes:
        """The bytes of a listed file.

        Raises:
            Refused: as `listing`; also when the bytes are not those that the index itself lists.
        """
        body = self._listed(file.url, limit=FILE_LIMIT)
        if digest_of(body) != file.sha256:
            raise self._broken("served-bytes", file.url, f"does not serve the bytes it lists ({file.sha256})")
        return body

    def metadata(self, file: Listed) -> bytes:
        """The METADATA that the index serves beside a file (PEP 658).

        Raises:
            Refused: as `fetch`.
        """
        url = f"{file.url}.metadata"
        body = self._listed(url, limit=PAGE_LIMIT)
        if digest_of(body) != file.metadata_sha256:
            raise self._broken(
                "served-bytes", url, f"does not serve the metadata it lists ({file.metadata_sha256})"
            )
        return body

    def provenance(self, url: str) -> bytes:
        """Who signed a listed file (PEP 740), as the index serves it; the caller checks it.

        Args:
            url: The file's `Listed.provenance`.

        Raises:
            Refused: as `listing`.
        """
        return self._listed(url, limit=PAGE_LIMIT, accept=PROVENANCE_ACCEPT)

    def _file(self, page: str, file: _File) -> Listed:
        try:
            url = urljoin(page, file.url.partition("#")[0])
            provenance = None if file.provenance is None else urljoin(page, file.provenance)
            strange = [
                each for each in (url, provenance or url) if urlsplit(each).scheme != urlsplit(page).scheme
            ]
        except ValueError as error:
            said = f"gives an address for {file.filename} that is none: {error}"
            raise self._broken("file-address", page, said) from error
        if strange:
            said = f"points to {strange[0]!r} for {file.filename}: another scheme"
            raise self._broken("file-address", page, said)
        yanked = file.yanked if isinstance(file.yanked, str) else ("" if file.yanked else None)
        core = file.core_metadata
        return Listed(
            name=file.filename,
            url=url,
            sha256=file.hashes.sha256 or "",
            size=file.size,
            yanked=yanked,
            metadata_sha256=core.sha256 if isinstance(core, _Hashes) else None,
            provenance=provenance,
        )

    def _stay(self, response: requests.Response, **_: object) -> None:
        """Refuse to be sent elsewhere, before anybody there is asked."""
        target = self._session.get_redirect_target(response)
        if target is not None and not _within(response.url, target):
            response.close()
            raise self._broken("redirect", response.url, f"redirects to another host or scheme, {target!r}")

    def _listed(self, url: str, *, limit: int, accept: str = ACCEPT) -> bytes:
        """The body at an address that the index itself gave."""
        body = self._get(url, limit=limit, accept=accept)
        if body is None:
            raise self._broken("http", url, "answers 404 to its own address")
        return body

    def _get(self, url: str, *, limit: int, accept: str = ACCEPT) -> bytes | None:
        """The body at `url`, whole and in time; None when the index has nothing there."""
        answer: Future[bytes | None] = Future()

        def ask() -> None:
            try:
                answer.set_result(self._ask(url, limit=limit, accept=accept))
            except BaseException as error:  # noqa: BLE001 - raised where the answer is waited for
                answer.set_exception(error)

        # Nothing that a connection is told bounds its headers and body as a whole. A daemon, so that the
        # process can end without an answer.
        Thread(target=ask, name=f"ask {url}", daemon=True).start()
        try:
            return answer.result(timeout=ANSWER_S)
        except TimeoutError as error:
            raise self._down(url, f"has not answered in full within {ANSWER_S:.0f} seconds") from error

    def _ask(self, url: str, *, limit: int, accept: str) -> bytes | None:
        """The same, however long it takes."""
        try:
            with closing(
                self._session.get(url, headers={"Accept": accept}, stream=True, timeout=TIMEOUT_S)
            ) as response:
                status = response.status_code
                if status == HTTPStatus.NOT_FOUND:
                    return None
                if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _LATER:
                    raise self._down(url, f"answers {status} {response.reason}")
                if status != HTTPStatus.OK:
                    raise self._broken("http", url, f"answers {status} {response.reason}")
                body = bytearray()
                for chunk in _chunks(response):
                    body += chunk
                    if len(body) > limit:
                        raise self._broken("size", url, f"sends more than {limit} bytes")
                return bytes(body)
        except requests.exceptions.SSLError as error:
            raise self._broken(
                "certificate", url, f"has no certificate that this machine trusts: {error}"
            ) from error
        except requests.exceptions.TooManyRedirects as error:
            raise self._broken("redirect", url, f"redirects without end: {error}") from error
        except ValueError as error:  # also what requests says of an address that it cannot take apart
            raise self._broken("file-address", url, f"is no address: {error}") from error
        except requests.exceptions.RequestException as error:
            raise self._down(url, f"cannot be reached: {error}") from error

    def _down(self, url: str, what: str) -> Refused:
        problem = Problem(rule="index.up", where=f"{self._index.name.value}: {url}", what=what, remedy=AGAIN)
        return Refused(problem, kind=Kind.NOT_YET)

    def _broken(self, rule: str, url: str, what: str) -> Refused:
        return Refused(
            Problem(
                rule=f"index.{rule}",
                where=f"{self._index.name.value}: {url}",
                what=what,
                remedy="look at the address in a browser; waiting will not mend it",
            )
        )


def _within(url: str, target: str) -> bool:
    """Whether an address stays on the host, port and scheme of the one that it stands on."""
    try:
        return urlsplit(urljoin(url, target))[:2] == urlsplit(url)[:2]
    except ValueError:
        return False


_LATER = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})


def _chunks(response: requests.Response) -> Iterable[bytes]:
    """The body in pieces, as they come."""
    pieces: Iterable[Any] = response.iter_content(65536)
    return pieces


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where the files of a release stand on an index."""

    present: Sequence[Listed]
    """Listed with the ledger's digest."""
    absent: Sequence[Artifact]
    """Not listed."""
    problems: Sequence[Problem]
    """Listed with other bytes, or without a digest: waiting does not help."""


def compare(index: Index, listing: Listing, artifacts: Sequence[Artifact]) -> Standing:
    """Hold what an index lists against the ledger's artefacts."""
    present: list[Listed] = []
    absent: list[Artifact] = []
    problems: list[Problem] = []
    for artifact in artifacts:
        file = listing.get(artifact.name)
        if file is None:
            absent.append(artifact)
        elif file.sha256 == artifact.sha256 and file.size in (artifact.size, None):
            present.append(file)
        else:
            has = f"sha256 {file.sha256 or 'not given'}, {file.size} bytes"
            problems.append(
                Problem(
                    rule="index.digest",
                    where=f"{index.name.value}: {artifact.name}",
                    what=f"lists {has}; the ledger has sha256 {artifact.sha256}, {artifact.size} bytes",
                    remedy="other bytes hold this name for ever: release the next version instead",
                )
            )
    return Standing(present=present, absent=absent, problems=problems)
