"""What an index shows: the JSON simple API 1.4 of a project, and where it sends clients.

Pure: what is on the shelf and the time go in, answers come out. Specifications: the simple repository API
(PEP 503, 691, 700, 714, 740, 792).
"""

import datetime as dt
import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from packaging.utils import canonicalize_name

from release.rehearsal.minting import Publisher
from release.rehearsal.shelf import Project, Stored
from release.rehearsal.wire import Request, Response, json_response

__all__ = [
    "API_VERSION",
    "JSON_TYPE",
    "PROVENANCE",
    "files_page",
    "project_page",
    "provenance",
    "provenance_page",
    "simple_page",
]

API_VERSION = "1.4"
JSON_TYPE = "application/vnd.pypi.simple.v1+json"
PROVENANCE = "/integrity/"
"""Below it stand the provenances."""
_ACCEPTED = (JSON_TYPE, "application/vnd.pypi.simple.latest+json", "application/*")
_CACHE = {"cache-control": "max-age=600, public", "vary": "Accept"}
"""As the real index answers: a client that must see a file at once has to ask past its cache."""


def simple_page(
    request: Request,
    projects: Mapping[str, Project],
    *,
    now: dt.datetime,
    lag: dt.timedelta,
    index_host: str,
    files_host: str,
) -> Response:
    """Anything below `/simple/`: the list of projects, one project's page, or where that page is."""
    wanted = request.path.removeprefix("/simple").strip("/")
    if not wanted:
        return _json({"meta": _meta(), "projects": [{"name": name} for name in sorted(projects)]}, request)
    normal = f"/simple/{canonicalize_name(wanted)}/"
    if request.path != normal:
        return Response(status=301, headers={"location": normal})
    project = projects.get(canonicalize_name(wanted))
    if project is None or project.status == "quarantined":
        return json_response({"message": "Not Found"}, status=404)
    return project_page(
        project, project.shown(now, lag), request, index_host=index_host, files_host=files_host
    )


def project_page(
    project: Project, files: Collection[Stored], request: Request, *, index_host: str, files_host: str
) -> Response:
    """One project's page with the files that are shown."""
    page = {
        "meta": _meta(),
        "name": project.name,
        "project-status": {"status": project.status},
        "alternate-locations": [],
        "versions": [str(version) for version in sorted({file.version for file in files})],
        "files": [_entry(project, file, index_host, files_host) for file in files],
    }
    return _json(page, request)


def files_page(path: str, projects: Mapping[str, Project], content: Callable[[str], bytes]) -> Response:
    """A file, or with `.metadata` behind its address the metadata inside it."""
    for project in projects.values():
        for file in project.files.values():
            if path == file.path:
                headers = {"content-type": "application/octet-stream", "etag": f'"{file.sha256}"'}
                return Response(status=200, body=content(file.name), headers=headers)
            if path == f"{file.path}.metadata":
                headers = {"content-type": "application/octet-stream"}
                return Response(status=200, body=file.metadata, headers=headers)
    return Response(status=404, body=b"Not Found")


def provenance(publisher: Publisher | None, attestations: Sequence[Mapping[str, Any]]) -> bytes:
    """Who signed a file, as the index will say: the publisher it came from, and the attestations."""
    if publisher is None or not attestations:
        return b""
    bundle = {"publisher": publisher.identity.model_dump(), "attestations": list(attestations)}
    return json.dumps({"version": 1, "attestation_bundles": [bundle]}).encode()


def provenance_page(path: str, projects: Mapping[str, Project]) -> Response:
    """The provenance of a file (PEP 740)."""
    for project in projects.values():
        for file in project.files.values():
            if file.provenance and path == _provenance_path(project, file):
                headers = {"content-type": "application/vnd.pypi.integrity.v1+json"}
                return Response(status=200, body=file.provenance, headers=headers)
    return json_response({"message": "No provenance available"}, status=404)


def _provenance_path(project: Project, file: Stored) -> str:
    return f"{PROVENANCE}{project.name}/{file.version}/{file.name}/provenance"


def _meta() -> dict[str, str]:
    return {"api-version": API_VERSION}


def _entry(project: Project, file: Stored, index_host: str, files_host: str) -> dict[str, object]:
    inside = {"sha256": hashlib.sha256(file.metadata).hexdigest()}
    return {
        "filename": file.name,
        "url": f"https://{files_host}{file.path}",
        "hashes": {"sha256": file.sha256},
        "requires-python": file.requires_python,
        "size": file.size,
        "upload-time": file.uploaded.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "yanked": False if file.yanked is None else file.yanked or True,
        "core-metadata": inside,
        "data-dist-info-metadata": inside,
        "provenance": f"https://{index_host}{_provenance_path(project, file)}" if file.provenance else None,
    }


def _json(page: object, request: Request) -> Response:
    """JSON, for a client that takes it; this index speaks nothing else."""
    offered = [word.partition(";")[0].strip() for word in request.headers.get("accept", "").split(",")]
    if not any(kind in _ACCEPTED for kind in offered):
        return Response(
            status=406, body=b"this index speaks JSON: accept application/vnd.pypi.simple.v1+json"
        )
    return Response(status=200, body=json.dumps(page).encode(), headers={"content-type": JSON_TYPE, **_CACHE})
