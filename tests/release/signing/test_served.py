"""`verify` on signed files: the ledger's files must be this publisher's word for this commit."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from release import build, publisher, pythons, verify
from release.context import Options
from release.indexes import INDEXES, IndexName
from release.ledger import Ledger
from release.model import Mode, Refused, Report
from release.rules.archives import digest_of, read_archive
from tests.release.build_support import built, context_with, copied, project, replaying, rules
from tests.release.index_support import Answer, Served, entry, serving
from tests.release.ledger_support import add
from tests.release.publish_support import PUBLISHER
from tests.release.repo_support import Repo
from tests.release.signing import support
from tests.release.signing.support import Signing

WHEEL, SDIST = "tiny_demo-1.2.0-py3-none-any.whl", "tiny_demo-1.2.0.tar.gz"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """The tiny project, built, and uploaded by a job."""
    repo = project(tmp_path_factory.mktemp("tiny"), {publisher.FILE: PUBLISHER})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pythons, "found", lambda: {"3.12": sys.executable})
        build.run("build", context_with(repo, replaying()))
    add(Ledger.read(repo.root / "ledger"), "pypi", subject={}, figures={"publisher": "trusted"})
    return repo


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The project as PyPI serves it."""

    repo: Repo
    index: Served
    signing: Signing

    @property
    def commit(self) -> str:
        return Ledger.read(self.repo.root / "ledger").opening.commit

    def provenance(self, name: str, data: bytes, *, sha: str | None = None) -> bytes:
        """Of a file, signed by the release's job."""
        signed = self.signing.sign(name, data, sha=sha or self.commit)
        bundle = {
            "publisher": support.PUBLISHER.model_dump(),
            "attestations": [json.loads(signed.model_dump_json())],
        }
        return json.dumps({"version": 1, "attestation_bundles": [bundle]}).encode()

    def serve(self, provenances: dict[str, bytes]) -> None:
        """The files, and who signed them."""
        metadata = read_archive(WHEEL, built().wheel).get("tiny_demo-1.2.0.dist-info/METADATA") or b""
        self.index.files("tiny-demo", built().files, metadata=metadata)
        listed: list[dict[str, object]] = []
        for name, data in built().files.items():
            changes: dict[str, object] = {}
            if name.endswith(".whl"):
                changes["core-metadata"] = {"sha256": digest_of(metadata)}
            if name in provenances:
                self.index.answers[f"/integrity/{name}"] = Answer(body=provenances[name])
                changes["provenance"] = f"{self.index.root}/integrity/{name}"
            listed.append(entry(name, data, **changes))
        self.index.page("tiny-demo", listed)

    def verify(self) -> Report:
        options = Options(mode=Mode.REHEARSAL)
        return verify.run("verify", context_with(self.repo, replaying(), options))

    def refused(self) -> Refused:
        with pytest.raises(Refused) as caught:
            self.verify()
        return caught.value


@pytest.fixture
def published(
    template: Repo, signing: Signing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Published]:
    monkeypatch.setattr(pythons, "found", lambda: {"3.12": sys.executable})
    with serving() as index:
        monkeypatch.setitem(INDEXES, IndexName.PYPI, index.index)
        yield Published(repo=copied(template, tmp_path / "repo"), index=index, signing=signing)


def both(published: Published) -> dict[str, bytes]:
    return {name: published.provenance(name, data) for name, data in built().files.items()}


def test_files_that_the_job_signed_are_verified(published: Published) -> None:
    """Listed, served, rebuilt, and signed for the ledger's commit."""
    published.serve(both(published))
    report = published.verify()
    assert report.figures["attested"] == 2
    assert "2 attested by the publisher for this commit" in report.sentence
    asked = [headers["Accept"] for path, headers in published.index.asked if path.startswith("/integrity/")]
    assert asked == ["application/vnd.pypi.integrity.v1+json"] * 2


def test_a_file_that_nobody_signed_is_refused(published: Published) -> None:
    """The job signs what it uploads: somebody else uploaded this one."""
    provenances = both(published)
    provenances.pop(SDIST)
    published.serve(provenances)
    found = published.refused()
    assert rules(found.problems) == ["verify.attested"]
    assert found.problems[0].where == f"pypi: {SDIST}"
    assert "has no attestation" in found.problems[0].what


def test_a_file_signed_for_another_commit_is_refused(published: Published) -> None:
    """The same bytes, another story of where they come from."""
    provenances = both(published)
    provenances[WHEEL] = published.provenance(WHEEL, built().wheel, sha="b" * 40)
    published.serve(provenances)
    found = published.refused()
    assert rules(found.problems) == ["verify.attested"]
    assert "b" * 40 in found.problems[0].what


def test_an_index_that_serves_another_files_provenance_is_refused(published: Published) -> None:
    """Each file's own attestation counts."""
    wheels = published.provenance(WHEEL, built().wheel)
    published.serve({WHEEL: wheels, SDIST: wheels})
    found = published.refused()
    assert rules(found.problems) == ["verify.attested"]
    assert found.problems[0].where == f"pypi: {SDIST}"


def test_what_a_token_uploaded_may_be_signed_or_not(published: Published) -> None:
    """A first run with a token and a second one by a job, for example; what is signed must be right."""
    figures = {"publisher": "token"}
    add(Ledger.read(published.repo.root / "ledger"), "pypi", subject={}, figures=figures)
    published.serve({})
    assert published.verify().figures["attested"] == 0
    published.serve({WHEEL: published.provenance(WHEEL, built().wheel)})
    assert published.verify().figures["attested"] == 1
    published.serve({WHEEL: b"{}"})
    assert rules(published.refused().problems) == ["verify.attested"]


def test_a_file_that_is_not_listed_is_said_once(published: Published) -> None:
    """Nobody expects a signature of what is not there."""
    published.index.answers["/simple/tiny-demo/"] = Answer(status=404)
    assert rules(published.refused().problems) == ["verify.listed", "verify.listed"]
