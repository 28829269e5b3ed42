"""The `verify` stage: what an index lists and serves, held against the ledger and a rebuild."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.version import Version

from release import build, publisher, pythons, verify
from release.context import Options
from release.indexes import INDEXES, IndexName
from release.ledger import Ledger, Outcome
from release.model import Kind, Mode, Refused, Report
from release.rules.archives import digest_of, read_archive
from release.signing.check import TRUST
from release.simple import IndexClient
from tests.release.build_support import (
    Replaying,
    built,
    context_with,
    copied,
    project,
    repacked,
    replaying,
    rules,
)
from tests.release.index_support import Answer, Served, entry, serving
from tests.release.ledger_support import add, create, opening
from tests.release.publish_support import PUBLISHER
from tests.release.repo_support import NOW, Repo, context_on

REHEARSED = Options(mode=Mode.REHEARSAL)
WHEEL, SDIST = "tiny_demo-1.2.0-py3-none-any.whl", "tiny_demo-1.2.0.tar.gz"


def metadata() -> bytes:
    return read_archive(WHEEL, built().wheel).get("tiny_demo-1.2.0.dist-info/METADATA") or b""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """The tiny project, built and uploaded."""
    repo = project(tmp_path_factory.mktemp("tiny"), {publisher.FILE: PUBLISHER})
    build.run("build", context_with(repo, replaying()))
    add(Ledger.read(repo.root / "ledger"), "pypi", subject={}, figures={"publisher": "token"})
    return repo


@pytest.fixture
def tiny(template: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    monkeypatch.setattr(pythons, "found", lambda: {"3.12": sys.executable})
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    return copied(template, tmp_path / "repo")


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """An index that serves everything as it should be, as PyPI."""
    with serving() as served:
        monkeypatch.setitem(INDEXES, IndexName.PYPI, served.index)
        served.files("tiny-demo", built().files, metadata=metadata())
        yield served


def run(repo: Repo, runner: Replaying | None = None, options: Options = REHEARSED) -> Report:
    return verify.run("verify", context_with(repo, runner or replaying(), options))


def refused(repo: Repo, runner: Replaying | None = None) -> Refused:
    with pytest.raises(Refused) as caught:
        run(repo, runner)
    return caught.value


def outcomes(repo: Repo) -> list[str]:
    return [line.outcome for line in Ledger.read(repo.root / "ledger").lines if line.stage == "verify"]


def test_a_release_as_it_should_be_is_verified_every_time(tiny: Repo, index: Served) -> None:
    """Listing, bytes, metadata and rebuild; here a token uploaded the files, which signs nothing."""
    del index
    report = run(tiny)
    assert report.kind is Kind.DONE
    said = {checked.what: checked.found for checked in report.checked}
    assert said["attestations"] == "no attestations, since a token uploaded them"
    assert report.figures["attested"] == 0
    assert said["attestations"] in report.sentence
    run(tiny)
    assert outcomes(tiny) == ["passed", "passed"]


def test_nothing_uploaded_is_nothing_to_verify(tiny: Repo, index: Served) -> None:
    """The message names the command that is missing."""
    del index
    add(Ledger.read(tiny.root / "ledger"), "pypi", outcome=Outcome.FAILED, subject={})
    caught = refused(tiny)
    assert rules(caught.problems) == ["verify.after-upload"]
    assert "nox -s pypi" in caught.problems[0].remedy


def listing_rules(index: Served) -> list[str]:
    with IndexClient(index.index) as client:
        listing = client.listing("tiny-demo")
    return rules(verify.listing_problems(index.index, listing, Version("1.2.0"), built().artifacts))


def good() -> list[dict[str, object]]:
    core = {"core-metadata": {"sha256": digest_of(metadata())}}
    return [entry(WHEEL, built().wheel, **core), entry(SDIST, built().sdist)]


def test_exactly_the_ledgers_files_are_expected(index: Served) -> None:
    """Files of other versions are somebody else's business."""
    index.page("tiny-demo", [*good(), entry("tiny_demo-1.1.0.tar.gz", b"old", yanked=True)])
    assert listing_rules(index) == []


@pytest.mark.parametrize(
    ("extra", "rule"),
    [
        (entry("tiny_demo-1.2.0-cp312-cp312-linux_x86_64.whl", b"x"), "verify.only-ours"),
        (entry("tiny_demo-1.2.tar.gz", b"x"), "verify.only-ours"),
        (entry("tiny_demo-1.2.0-1-py3-none-any.whl", b"x"), "verify.only-ours"),
        (entry("something.egg", b"x"), "verify.only-ours"),
    ],
)
def test_a_file_that_is_not_the_ledgers_is_refused(
    index: Served, extra: dict[str, object], rule: str
) -> None:
    """An installer on some platform would take it instead."""
    index.page("tiny-demo", [*good(), extra])
    assert listing_rules(index) == [rule]


def test_a_missing_a_changed_and_a_yanked_file_are_refused(index: Served) -> None:
    """Each in its own words."""
    wheel, sdist = good()
    index.page("tiny-demo", [wheel])
    assert listing_rules(index) == ["verify.listed"]
    index.page("tiny-demo", [wheel, {**sdist, "hashes": {"sha256": "0" * 64}}])
    assert listing_rules(index) == ["index.digest"]
    index.page("tiny-demo", [wheel, {**sdist, "yanked": "broken"}])
    assert listing_rules(index) == ["verify.yanked"]
    index.page("tiny-demo", [{**wheel, "core-metadata": False}, sdist])
    assert listing_rules(index) == ["verify.metadata"]


def test_what_is_listed_without_a_signature_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job that uploads signs; only who uploads with a token cannot, and the ledger says who did."""
    monkeypatch.delenv(TRUST, raising=False)
    (tmp_path / publisher.FILE).parent.mkdir()
    (tmp_path / publisher.FILE).write_text(PUBLISHER, encoding="utf-8")
    ledger = create(tmp_path / "ledger", artifacts=built().artifacts)
    context = context_on(tmp_path)

    def found(present: set[str], provenances: dict[str, bytes]) -> list[tuple[str, str]]:
        problems = verify.attested_problems(context, ledger, present, provenances)
        assert rules(problems) == ["verify.attested"] * len(problems)
        return [(problem.where, problem.what.partition(",")[0]) for problem in problems]

    assert found(set(), {}) == [], "what is not listed is said elsewhere"
    assert found({WHEEL}, {}) == [(f"pypi: {WHEEL}", "has no attestation")]
    add(ledger, "pypi", subject={}, figures={"publisher": "token"})
    ledger = Ledger.read(tmp_path / "ledger")
    assert found({WHEEL, SDIST}, {}) == []
    [(where, _)] = found({WHEEL, SDIST}, {SDIST: b"garbage"})
    assert where == f"pypi: {SDIST}"


def test_an_index_that_is_down_is_not_yet(tiny: Repo, index: Served) -> None:
    """Nothing has failed, and nothing is recorded."""
    index.answers["/simple/tiny-demo/"] = Answer(status=503)
    assert refused(tiny).kind is Kind.NOT_YET
    assert outcomes(tiny) == []


def test_other_bytes_than_listed_are_refused(tiny: Repo, index: Served) -> None:
    """What is served is looked at, not only what is listed."""
    index.answers[f"/files/{SDIST}"] = Answer(body=b"other")
    assert rules(refused(tiny).problems) == ["index.served-bytes"]
    assert outcomes(tiny) == ["failed"]


def test_metadata_that_is_not_the_wheels_is_refused(tiny: Repo, index: Served) -> None:
    """An installer resolves by the `.metadata` file: it must be the wheel's own."""
    index.files("tiny-demo", built().files, metadata=metadata().replace(b"redis", b"evils"))
    assert rules(refused(tiny).problems) == ["verify.metadata"]


def test_a_rebuild_with_other_bytes_is_refused_and_named(tiny: Repo, index: Served) -> None:
    """What was published follows from the commit, or somebody has to say why not."""
    del index
    other = repacked(SDIST, built().sdist, {"tiny_demo-1.2.0/README.md": b"other\n"})
    caught = refused(tiny, replaying({SDIST: other}))
    assert set(rules(caught.problems)) == {"build.same-bytes"}
    assert any("README.md differs from byte" in problem.what for problem in caught.problems)
    assert outcomes(tiny) == ["failed"]


def test_an_absent_project_is_refused(tiny: Repo, index: Served) -> None:
    """After a passed upload and smoke, nothing there is a difference."""
    index.answers["/simple/tiny-demo/"] = Answer(status=404)
    assert rules(refused(tiny).problems) == ["verify.listed", "verify.listed"]
    other = {SDIST: repacked(SDIST, built().sdist, {"tiny_demo-1.2.0/README.md": b"other\n"})}
    found = rules(refused(tiny, replaying(other)).problems)
    assert found == ["verify.listed", "verify.listed", "build.same-bytes"], (
        "the rebuild is judged all the same"
    )


def test_a_tag_that_moved_is_refused(tiny: Repo, index: Served) -> None:
    """In a release the tag is the ledger's, here and at the remote."""
    del index
    tag_object = tiny.sign("v1.2.0")
    tiny.git("push", "--quiet", "origin", "v1.2.0")
    rehearsed = Ledger.read(tiny.root / "ledger").opening
    (tiny.root / "ledger").rename(tiny.root / "ledger.rehearsed")
    released = replace(
        rehearsed,
        mode=Mode.RELEASE,
        tag="v1.2.0",
        tag_object=tag_object,
        plan=opening(mode=Mode.RELEASE).plan,
    )
    figures = {"publisher": "token"}
    add(Ledger.create(tiny.root / "ledger", released, at=NOW), "pypi", subject={}, figures=figures)
    assert run(tiny, options=Options()).kind is Kind.DONE
    tiny.git("push", "--quiet", "--force", "origin", "HEAD~1:refs/tags/v1.2.0")
    with pytest.raises(Refused) as caught:
        run(tiny, options=Options())
    assert rules(caught.value.problems) == ["tag.not-moved"]
    assert "at origin" in caught.value.problems[0].where
