"""One loopback index, asked directly: minting, uploading, the simple API, files, and what time does."""

import base64
import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from packaging.version import Version

from release.indexes import INDEXES, IndexName
from release.rehearsal import serving
from release.rehearsal.index import TOKEN_LIFE, LoopbackIndex
from release.rehearsal.issuer import Issuer
from release.rehearsal.minting import Publisher
from release.rehearsal.wire import Request, Response
from tests.release.conftest import Drilled
from tests.release.rehearsal.support import FACTS, METADATA, SDIST, SDIST_NAME, WHEEL, WHEEL_NAME, fields

SERVED = INDEXES[IndexName.PYPI].simple_url.removesuffix("/simple")
"""What the served addresses begin with."""

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
"""One for all tests: making it is what takes time."""
JSON = "application/vnd.pypi.simple.v1+json"


class Clock:
    """A time that only tests move."""

    def __init__(self) -> None:
        self.now = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)

    def __call__(self) -> dt.datetime:
        return self.now


class Counter:
    """An index with a pending publisher, its issuer, and their clock."""

    def __init__(self, folder: Path, name: IndexName = IndexName.PYPI) -> None:
        self.clock = Clock()
        self.issuer = Issuer(FACTS, self.clock, KEY)
        self.index = LoopbackIndex(
            INDEXES[name], folder=folder, clock=self.clock, keys=lambda: self.issuer.keys
        )
        self.index.publishers.append(
            Publisher(
                owner=FACTS.owner,
                owner_id=FACTS.owner_id,
                repository=FACTS.repository,
                workflow=FACTS.workflow,
                environment=FACTS.environments[name],
                project=FACTS.project,
                pending=True,
            )
        )

    def id_token(self, environment: str = "pypi", audience: str = "pypi") -> str:
        job = self.issuer.job(environment, ref="refs/tags/v1.0", sha="a" * 40)
        return self.issuer.sign(self.issuer.claims(job.token, audience))

    async def ask(self, method: str, target: str, body: bytes = b"", **headers: str) -> Response:
        host = headers.pop("host", INDEXES[self.index.index.name].hosts[0])
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.index.handle(
            Request(method=method, target=target, headers={"host": host, **named}, body=body)
        )

    async def mint(self, token: str) -> tuple[int, dict[str, Any]]:
        answer = await self.ask("POST", "/_/oidc/mint-token", json.dumps({"token": token}).encode())
        return answer.status, json.loads(answer.body)

    async def minted(self) -> str:
        status, answer = await self.mint(self.id_token())
        assert status == 200
        return answer["token"]

    async def upload(
        self,
        token: str,
        name: str = WHEEL_NAME,
        data: bytes = WHEEL,
        user: str = "__token__",
        authorization: str = "",
        said: Mapping[str, str] | None = None,
    ) -> Response:
        parts = [
            f'--b\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
            for key, values in fields(name, data, said=said).items()
            for value in values
        ]
        file = f'--b\r\nContent-Disposition: form-data; name="content"; filename="{name}"\r\n\r\n'.encode()
        return await self.ask(
            "POST",
            "/legacy/",
            b"".join([*parts, file, data, b"\r\n--b--\r\n"]),
            content_type="multipart/form-data; boundary=b",
            authorization=authorization or f"Basic {base64.b64encode(f'{user}:{token}'.encode()).decode()}",
        )

    async def page(self, project: str = "demo-project") -> dict[str, Any]:
        answer = await self.ask("GET", f"/simple/{project}/", accept=JSON)
        assert answer.status == 200
        assert answer.headers["content-type"] == JSON
        return json.loads(answer.body)


@pytest.fixture
def counter(tmp_path: Path) -> Counter:
    return Counter(tmp_path / "index")


def codes(answer: Mapping[str, Any]) -> list[str]:
    return [error["code"] for error in answer["errors"]]


async def test_minting_creates_the_project_of_a_pending_publisher(counter: Counter) -> None:
    """The first release ever creates its project when its token is minted, before any file came."""
    assert (await counter.ask("GET", "/simple/demo-project/", accept=JSON)).status == 404
    status, answer = await counter.mint(counter.id_token())
    assert status == 200
    assert answer.pop("token").startswith("pypi-")
    assert answer == {"success": True, "expires": int((counter.clock.now + TOKEN_LIFE).timestamp())}
    page = await counter.page()
    assert (page["name"], page["files"]) == ("demo-project", [])
    assert [publisher.pending for publisher in counter.index.publishers] == [False]


@pytest.mark.parametrize(
    ("body", "code"), [(b"nonsense", "invalid-payload"), (b'{"token": "x"}', "invalid-payload")]
)
async def test_minting_answers_422_with_a_code(counter: Counter, body: bytes, code: str) -> None:
    """Clients read the error code from a list in the answer."""
    answer = await counter.ask("POST", "/_/oidc/mint-token", body)
    assert answer.status == 422
    told = json.loads(answer.body)
    assert codes(told) == [code]
    assert told["message"] == "Token request failed"
    assert all(error["description"] for error in told["errors"])


async def test_minting_refuses_a_replayed_token(counter: Counter) -> None:
    """An ID token that leaked after its use is worthless."""
    token = counter.id_token()
    assert (await counter.mint(token))[0] == 200
    status, answer = await counter.mint(token)
    assert (status, codes(answer)) == (422, ["invalid-reuse-token"])


@pytest.mark.drill
async def test_minting_refuses_testpypis_token(counter: Counter, drilled: Drilled) -> None:
    """The token for the trial index must not open the real one: by audience, and by environment.

    Asked directly: twine itself would not send a token of another audience.
    """
    for token, code in (
        (counter.id_token("testpypi", "testpypi"), "invalid-token"),
        (counter.id_token("testpypi", "pypi"), "invalid-publisher"),
    ):
        status, answer = await counter.mint(token)
        assert (status, codes(answer)) == (422, [code])
    assert counter.index.refusals == ["mint.audience", "mint.environment"]
    drilled("testpypi's token at PyPI", counter.index.refusals)
    assert counter.index.projects == {}


async def test_minting_refuses_an_expired_token(counter: Counter) -> None:
    """A token that lay around is worthless."""
    token = counter.id_token()
    counter.clock.now += dt.timedelta(minutes=5, seconds=30)
    status, answer = await counter.mint(token)
    assert (status, codes(answer)) == (422, ["invalid-token"])


async def test_minting_drops_a_pending_publisher_whose_project_exists(counter: Counter) -> None:
    """Somebody else took the name meanwhile: the pending publisher must not take it over."""
    counter.index.create("Demo.Project")
    status, answer = await counter.mint(counter.id_token())
    assert (status, codes(answer)) == (422, ["invalid-pending-publisher"])
    assert counter.index.publishers == []


async def test_upload_then_page_then_file(counter: Counter) -> None:
    """What was uploaded is what is listed, with everything an installer reads, and what is served."""
    token = await counter.minted()
    for name, data in ((WHEEL_NAME, WHEEL), (SDIST_NAME, SDIST)):
        assert (await counter.upload(token, name, data)).status == 200
    page = await counter.page()
    assert page["meta"] == {"api-version": "1.4"}
    assert page["versions"] == ["1.0"]
    assert page["project-status"] == {"status": "active"}
    by_name = {file["filename"]: file for file in page["files"]}
    assert set(by_name) == {WHEEL_NAME, SDIST_NAME}
    file = by_name[WHEEL_NAME]
    assert file["data-dist-info-metadata"] == file["core-metadata"], "older installers read the older name"
    assert file["hashes"] == {"sha256": hashlib.sha256(WHEEL).hexdigest()}
    assert (file["size"], file["yanked"], file["provenance"]) == (len(WHEEL), False, None)
    assert file["requires-python"] == ">=3.8"
    assert file["upload-time"] == "2026-01-02T03:04:05.000000Z"
    assert file["core-metadata"] == {"sha256": hashlib.sha256(METADATA.encode()).hexdigest()}
    host = INDEXES[IndexName.PYPI].files_host
    assert file["url"].startswith(f"https://{host}/packages/")
    path = file["url"].removeprefix(f"https://{host}")
    assert (await counter.ask("GET", path, host=host)).body == WHEEL
    assert (await counter.ask("GET", f"{path}.metadata", host=host)).body == METADATA.encode()
    assert (await counter.ask("GET", f"{path}.other", host=host)).status == 404


async def test_upload_shows_after_the_lag(counter: Counter) -> None:
    """A file is taken before it is shown: a client has to wait for it, not take it for lost."""
    counter.index.lag = dt.timedelta(seconds=60)
    assert (await counter.upload(await counter.minted())).status == 200
    counter.clock.now += dt.timedelta(seconds=59)
    assert (await counter.page())["versions"] == []
    counter.clock.now += dt.timedelta(seconds=1)
    assert [file["filename"] for file in (await counter.page())["files"]] == [WHEEL_NAME]


async def test_upload_is_idempotent_and_never_changes_bytes(counter: Counter) -> None:
    """The same bytes again are success and change nothing; other bytes are refused in the status line."""
    token = await counter.minted()
    assert (await counter.upload(token)).status == 200
    before = await counter.page()
    counter.clock.now += dt.timedelta(minutes=1)
    assert (await counter.upload(token)).status == 200
    assert await counter.page() == before
    answer = await counter.upload(token, data=SDIST)
    assert answer.status == 400
    assert answer.reason is not None
    assert "File already exists" in answer.reason
    assert counter.index.content(WHEEL_NAME) == WHEEL


async def test_upload_never_takes_a_deleted_name_again(counter: Counter) -> None:
    """Deleting a file burns its name, even for the same bytes."""
    token = await counter.minted()
    await counter.upload(token)
    counter.index.create("another")
    counter.index.delete(WHEEL_NAME)
    assert (await counter.page())["files"] == []
    assert (await counter.upload(token)).status == 400
    assert counter.index.refusals == ["upload.burned"]


async def test_upload_needs_a_token_of_this_index_in_its_time(counter: Counter, tmp_path: Path) -> None:
    """A foreign, expired or misused token uploads nothing."""
    other = Counter(tmp_path / "other", IndexName.TESTPYPI)
    other.index.create("demo-project")
    foreign = other.index.token("demo-project")
    token = await counter.minted()
    assert (await counter.upload(foreign)).status == 403
    assert (await counter.upload(token, user="somebody")).status == 403
    for wrong in ("Basic !", "Basic /w==", f"Bearer {token}"):
        answer = await counter.upload(token, authorization=wrong)
        assert answer.status == 403
    assert (await counter.ask("POST", "/legacy/", content_type="x")).status == 400
    assert (await counter.ask("POST", "/legacy/")).status == 400
    counter.clock.now += TOKEN_LIFE
    assert (await counter.upload(token)).status == 403
    assert counter.index.projects["demo-project"].files == {}


async def test_upload_fits_one_project(counter: Counter) -> None:
    """A token for one project opens no other."""
    counter.index.create("demo-project")
    counter.index.create("other")
    assert (await counter.upload(counter.index.token("other"))).status == 403


async def test_page_of_an_unknown_project_is_404(counter: Counter) -> None:
    """Absent is told apart from present and empty."""
    assert (await counter.ask("GET", "/simple/nothing/", accept=JSON)).status == 404


@pytest.mark.parametrize("asked", ["Demo.Project/", "demo_project/", "demo-project", "DEMO--project"])
async def test_page_stands_at_the_normalised_name(counter: Counter, asked: str) -> None:
    """Every other spelling is sent to the one address."""
    answer = await counter.ask("GET", f"/simple/{asked}", accept=JSON)
    assert (answer.status, answer.headers["location"]) == (301, "/simple/demo-project/")


async def test_page_shows_yanked_files_and_their_reason(counter: Counter) -> None:
    """A yanked file stays, marked, for those who pinned it."""
    await counter.upload(await counter.minted())
    counter.index.yank(WHEEL_NAME, "broken")
    assert [file["yanked"] for file in (await counter.page())["files"]] == ["broken"]
    counter.index.yank(WHEEL_NAME, "")
    assert [file["yanked"] for file in (await counter.page())["files"]] == [True]


async def test_minting_tells_its_audience(counter: Counter) -> None:
    """A client asks for it before it asks its issuer for a token."""
    answer = await counter.ask("GET", "/_/oidc/audience")
    assert (answer.status, json.loads(answer.body)) == (200, {"audience": "pypi"})
    assert answer.headers["content-type"] == "application/json"


async def test_a_refused_upload_says_why_twice(counter: Counter) -> None:
    """In the status line, which twine shows, and as text."""
    await counter.upload(token := await counter.minted())
    answer = await counter.upload(token, data=WHEEL + b"more")
    assert answer.headers == {"content-type": "text/plain"}
    assert answer.reason is not None
    assert answer.reason in answer.body.decode()
    sums = [hashlib.sha256(data).hexdigest() for data in (WHEEL, WHEEL + b"more")]
    assert f"File already exists ({WHEEL_NAME}, sha256 {sums[0]}; now {sums[1]})" in answer.reason


def test_a_provenance_names_the_publisher_and_the_attestations(counter: Counter) -> None:
    """PEP 740: version 1, one bundle of the publisher; none for a person, and none without signatures."""
    (publisher,) = counter.index.publishers
    said = json.loads(serving.provenance(publisher, [{"version": 1}]))
    assert (said["version"], len(said["attestation_bundles"])) == (1, 1)
    (bundle,) = said["attestation_bundles"]
    assert bundle["attestations"] == [{"version": 1}]
    assert bundle["publisher"]["repository"] == "Somebody/demo-project"
    assert bundle["publisher"]["workflow"] == "release.yml"
    assert bundle["publisher"]["environment"] == "pypi"
    assert serving.provenance(publisher, []) == serving.provenance(None, [{"version": 1}]) == b""


async def test_a_provenance_is_served_where_the_page_says(counter: Counter) -> None:
    """A client follows the page's address; a file that nobody signed has none."""
    await counter.upload(await counter.minted())
    absent = await counter.ask("GET", f"/integrity/demo-project/1.0/{WHEEL_NAME}/provenance")
    assert absent.status == 404
    files = counter.index.projects["demo-project"].files
    files[WHEEL_NAME] = replace(files[WHEEL_NAME], provenance=b'{"version": 1}')
    (shown,) = [file["provenance"] for file in (await counter.page())["files"]]
    answer = await counter.ask("GET", str(shown).removeprefix(SERVED))
    assert (answer.status, answer.body) == (200, b'{"version": 1}')
    assert answer.headers["content-type"] == "application/vnd.pypi.integrity.v1+json"


async def test_yanking_leaves_other_projects_alone(counter: Counter) -> None:
    """A file belongs to one project, whatever else the index holds."""
    counter.index.create("another")
    await counter.upload(await counter.minted())
    counter.index.yank(WHEEL_NAME, "broken")
    assert counter.index.projects["another"].files == {}
    assert [file["yanked"] for file in (await counter.page())["files"]] == ["broken"]


async def test_page_of_a_quarantined_project_is_hidden(counter: Counter) -> None:
    """Quarantine takes a project away from installers."""
    project = counter.index.create("demo-project")
    project.status = "quarantined"
    assert (await counter.ask("GET", "/simple/demo-project/", accept=JSON)).status == 404


async def test_page_lists_projects_and_speaks_json_only(counter: Counter) -> None:
    """A client that does not say what it reads is told so, not given something else."""
    counter.index.create("demo-project")
    answer = await counter.ask("GET", "/simple/", accept=f"text/html;q=0.1, {JSON}")
    assert json.loads(answer.body)["projects"] == [{"name": "demo-project"}]
    assert (await counter.ask("GET", "/simple/", accept="text/html")).status == 406
    for method, path in (("HEAD", "/simple/"), ("GET", "/simple")):
        assert await counter.ask(method, path, accept=JSON) == await counter.ask(
            "GET", "/simple/", accept=JSON
        )


async def test_index_that_is_down_says_503(counter: Counter) -> None:
    """Down is told apart from absent."""
    assert counter.index.down is False
    counter.index.down = True
    answer = await counter.ask("GET", "/simple/demo-project/", accept=JSON)
    assert (answer.status, answer.body) == (503, b"down for maintenance")


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "/legacy/", 405, b"Method Not Allowed"),
        ("GET", "/_/oidc/mint-token", 405, b"Method Not Allowed"),
        ("GET", "/pypi/x/json", 404, b'{"message": "Not Found"}'),
        ("POST", "/simple/", 404, b'{"message": "Not Found"}'),
    ],
)
async def test_index_answers_nothing_else(
    counter: Counter, method: str, path: str, status: int, body: bytes
) -> None:
    """What is not built is not pretended."""
    answer = await counter.ask(method, path)
    assert (answer.status, answer.body) == (status, body)


def test_an_index_keeps_its_files_wherever_it_is_told(tmp_path: Path) -> None:
    """In a folder that is there already, or that nothing is there of yet."""
    folder = tmp_path / "deep" / "index"
    assert Counter(folder).index.projects == Counter(folder).index.projects == {}
    assert folder.is_dir()


async def test_a_file_remembers_who_brought_it(counter: Counter) -> None:
    """A workflow by trusted publishing, or a person with a token of their own; and when its release began."""
    files = counter.index.create("demo-project").files
    assert (await counter.upload(counter.index.token("Demo.Project"), SDIST_NAME, SDIST)).status == 200
    began = counter.clock.now
    counter.index.projects.clear()
    token = await counter.minted()
    project = counter.index.projects["demo-project"]
    counter.clock.now += dt.timedelta(minutes=1)
    for name, data in ((WHEEL_NAME, WHEEL), (SDIST_NAME, SDIST)):
        counter.clock.now += dt.timedelta(minutes=1)
        assert (await counter.upload(token, name, data)).status == 200
    assert {name: file.publisher for name, file in files.items()} == {SDIST_NAME: "token"}
    assert {name: file.publisher for name, file in project.files.items()} == {
        WHEEL_NAME: "trusted",
        SDIST_NAME: "trusted",
    }
    assert project.used == {
        WHEEL_NAME: hashlib.sha256(WHEEL).hexdigest(),
        SDIST_NAME: hashlib.sha256(SDIST).hexdigest(),
    }
    assert project.released == {Version("1.0"): began + dt.timedelta(minutes=2)}


async def test_a_signed_file_is_served_with_its_publishers_word(counter: Counter) -> None:
    """Once what checks attestations has found nothing wrong; as it is, nothing does."""
    signed = json.dumps([{"version": 1}])
    refused = await counter.upload(token := await counter.minted(), said={"attestations": signed})
    assert refused.status == 400
    assert "there is no trust root" in refused.body.decode()
    asked: list[tuple[object, ...]] = []

    def verifier(*words: object) -> None:
        asked.append(words)

    counter.index.verifier = verifier
    assert (await counter.upload(token, said={"attestations": signed})).status == 200
    (publisher,) = counter.index.publishers
    assert asked == [({"version": 1}, publisher, WHEEL_NAME, hashlib.sha256(WHEEL).hexdigest())]
    (file,) = (await counter.page())["files"]
    assert file["provenance"].startswith(f"{SERVED}/integrity/")
    path = file["provenance"].removeprefix(SERVED)
    assert (await counter.ask("GET", path)).body == serving.provenance(publisher, [{"version": 1}])


async def test_a_status_line_holds_every_problem_in_plain_letters(counter: Counter) -> None:
    """HTTP has no others there; the text below has them."""
    said = {"attestations": "[", "metadata_version": "9.9", "name": "d\u00e9mo"}
    answer = await counter.upload(await counter.minted(), said=said)
    assert answer.reason is not None
    assert len(counter.index.refusals) > 1
    assert "d?mo" in answer.reason
    assert "d\u00e9mo" in answer.body.decode()
    for rule, following in pairwise([*counter.index.refusals, ""]):
        assert f"[{rule}]{'; ' if following else ''}" in answer.reason


async def test_publishers_of_other_projects_are_left_alone(counter: Counter) -> None:
    """A refused pending publisher takes no other one with it."""
    other = replace(counter.index.publishers[0], project="other", environment="elsewhere")
    counter.index.publishers.append(other)
    counter.index.create("demo-project")
    await counter.mint(counter.id_token())
    assert counter.index.publishers == [other]
