"""The pages of a loopback index, whole: an installer may read any part of them."""

import datetime as dt
import hashlib
import json
from collections.abc import Mapping

import pytest
from packaging.version import Version

from release.rehearsal import serving
from release.rehearsal.shelf import Project, Stored
from release.rehearsal.wire import Request, Response

NOW = dt.datetime(2026, 1, 2, 3, 4, 5, 60, tzinfo=dt.UTC)
DIGEST = "0123456789" * 6 + "abcd"


def stored(name: str, version: str = "1.0", **changed: object) -> Stored:
    parts: dict[str, object] = {
        "name": name,
        "version": Version(version),
        "wheel": name.endswith(".whl"),
        "sha256": f"sha256 of {name}",
        "blake2_256": DIGEST,
        "size": len(name),
        "uploaded": NOW,
        "metadata": b"Name: demo\n",
        "requires_python": None,
        "publisher": "trusted",
        **changed,
    }
    return Stored(**parts)  # pyright: ignore[reportArgumentType] - the parts above


def projects(*files: Stored) -> dict[str, Project]:
    demo = Project(name="demo", files={file.name: file for file in files})
    return {"other": Project(name="other"), "demo": demo}


def page(
    path: str, held: Mapping[str, Project] | None = None, accept: str | None = serving.JSON_TYPE
) -> Response:
    headers = {} if accept is None else {"accept": accept}
    return serving.simple_page(
        Request(method="GET", target=path, headers=headers),
        projects() if held is None else held,
        now=NOW,
        lag=dt.timedelta(),
        index_host="index.invalid",
        files_host="files.invalid",
    )


def test_the_list_names_every_project_in_order() -> None:
    """A client that asks for the whole index finds out which version of the API it speaks."""
    answer = page("/simple/")
    assert answer.status == 200
    assert answer.headers == {
        "content-type": "application/vnd.pypi.simple.v1+json",
        "cache-control": "max-age=600, public",
        "vary": "Accept",
    }
    assert json.loads(answer.body) == {
        "meta": {"api-version": "1.4"},
        "projects": [{"name": "demo"}, {"name": "other"}],
    }


def test_a_page_has_all_that_an_installer_reads() -> None:
    """Where each file is, what is in it, who signed it and whether it was taken back."""
    held = projects(
        stored("b.whl", "2.0", requires_python=">=3.12", provenance=b"{}"),
        stored("a.tar.gz", yanked="broken"),
        stored("c.whl", "2.0", yanked=""),
    )
    answer = page("/simple/demo/", held)
    inside = {"sha256": hashlib.sha256(b"Name: demo\n").hexdigest()}
    same = {
        "upload-time": "2026-01-02T03:04:05.000060Z",
        "core-metadata": inside,
        "data-dist-info-metadata": inside,
    }
    folder = f"https://files.invalid/packages/01/23/{DIGEST[4:]}"
    files = [
        {
            "filename": "a.tar.gz",
            "url": f"{folder}/a.tar.gz",
            "hashes": {"sha256": "sha256 of a.tar.gz"},
            "requires-python": None,
            "size": 8,
            "yanked": "broken",
            "provenance": None,
            **same,
        },
        {
            "filename": "b.whl",
            "url": f"{folder}/b.whl",
            "hashes": {"sha256": "sha256 of b.whl"},
            "requires-python": ">=3.12",
            "size": 5,
            "yanked": False,
            "provenance": "https://index.invalid/integrity/demo/2.0/b.whl/provenance",
            **same,
        },
        {
            "filename": "c.whl",
            "url": f"{folder}/c.whl",
            "hashes": {"sha256": "sha256 of c.whl"},
            "requires-python": None,
            "size": 5,
            "yanked": True,
            "provenance": None,
            **same,
        },
    ]
    assert json.loads(answer.body) == {
        "meta": {"api-version": "1.4"},
        "name": "demo",
        "project-status": {"status": "active"},
        "alternate-locations": [],
        "versions": ["1.0", "2.0"],
        "files": files,
    }


def test_a_name_of_one_letter_is_a_name() -> None:
    """It is sent to its normal spelling as any other is."""
    assert page("/simple/X/").headers == {"location": "/simple/x/"}


@pytest.mark.parametrize("path", ["/simple/absent/", "/simple/demo/"])
def test_what_is_not_there_is_said_in_json(path: str) -> None:
    """Clients show the message; whether a project is hidden is not to be told from whether it exists."""
    hidden = {"demo": Project(name="demo", status="quarantined")}
    answer = page(path, hidden)
    assert (answer.status, json.loads(answer.body)) == (404, {"message": "Not Found"})


@pytest.mark.parametrize(
    "accept",
    [
        "application/vnd.pypi.simple.v1+json;q=0.9",
        "text/html,application/vnd.pypi.simple.v1+json",
        "text/html;q=0.1, application/vnd.pypi.simple.latest+json ;q=0.2",
        "application/*",
    ],
)
def test_a_client_that_takes_json_gets_it(accept: str) -> None:
    """However much rather it would have something else."""
    assert page("/simple/", accept=accept).status == 200


@pytest.mark.parametrize("accept", [None, "", "text/html", "application/json"])
def test_a_client_that_does_not_is_told_what_to_ask_for(accept: str | None) -> None:
    """Something else under a type that it did not ask for would be read as empty."""
    answer = page("/simple/", accept=accept)
    assert answer.status == 406
    assert answer.body == b"this index speaks JSON: accept application/vnd.pypi.simple.v1+json"


def test_files_and_their_metadata_are_served_as_bytes() -> None:
    """A file with its digest as its tag, so that a client can tell whether it has it already."""
    held = projects(stored("a.tar.gz"), stored("b.whl"))
    contents = {"a.tar.gz": b"sdist", "b.whl": b"wheel"}
    folder = f"/packages/01/23/{DIGEST[4:]}"
    answer = serving.files_page(f"{folder}/b.whl", held, contents.__getitem__)
    assert (answer.status, answer.body) == (200, b"wheel")
    assert answer.headers == {"content-type": "application/octet-stream", "etag": '"sha256 of b.whl"'}
    answer = serving.files_page(f"{folder}/b.whl.metadata", held, contents.__getitem__)
    assert (answer.status, answer.body) == (200, b"Name: demo\n")
    assert answer.headers == {"content-type": "application/octet-stream"}
    answer = serving.files_page(f"{folder}/c.whl", held, contents.__getitem__)
    assert (answer.status, answer.body) == (404, b"Not Found")


def test_a_provenance_is_served_or_said_to_be_absent() -> None:
    """A verifier tells a file that nobody signed from an index that does not answer."""
    held = projects(stored("a.tar.gz"), stored("b.whl", provenance=b"{}"))
    answer = serving.provenance_page("/integrity/demo/1.0/b.whl/provenance", held)
    assert (answer.status, answer.body) == (200, b"{}")
    assert answer.headers == {"content-type": "application/vnd.pypi.integrity.v1+json"}
    answer = serving.provenance_page("/integrity/demo/1.0/a.tar.gz/provenance", held)
    assert (answer.status, json.loads(answer.body)) == (404, {"message": "No provenance available"})
