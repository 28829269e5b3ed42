"""The `verify` stage in a real repository: a release and its tag, here and at the remote."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from release import build, publisher, pythons, verify
from release.context import Options
from release.indexes import INDEXES, IndexName
from release.ledger import Ledger
from release.model import Kind, Mode, Refused, Report
from release.rules.archives import read_archive
from release.signing.check import TRUST
from tests.release.build_support import built, context_with, project, replaying, rules
from tests.release.index_support import serving
from tests.release.ledger_support import add, opening
from tests.release.publish_support import PUBLISHER
from tests.release.repo_support import NOW, Repo


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    """The tiny project, built."""
    monkeypatch.setattr(pythons, "found", lambda: {"3.12": sys.executable})
    monkeypatch.delenv(TRUST, raising=False)
    repo = project(tmp_path, {publisher.FILE: PUBLISHER})
    build.run("build", context_with(repo, replaying()))
    return repo


def run(repo: Repo) -> Report:
    metadata = read_archive("tiny_demo-1.2.0-py3-none-any.whl", built().wheel).get(
        "tiny_demo-1.2.0.dist-info/METADATA"
    )
    with serving() as served, pytest.MonkeyPatch.context() as patch:
        patch.setitem(INDEXES, IndexName.PYPI, served.index)
        served.files("tiny-demo", built().files, metadata=metadata)
        return verify.run("verify", context_with(repo, replaying(), Options()))


def test_a_tag_that_moved_is_refused(tiny: Repo) -> None:
    """In a release the tag is the ledger's, here and at the remote."""
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
    assert run(tiny).kind is Kind.DONE
    tiny.git("push", "--quiet", "--force", "origin", "HEAD~1:refs/tags/v1.2.0")
    with pytest.raises(Refused) as caught:
        run(tiny)
    assert rules(caught.value.problems) == ["tag.not-moved"]
    assert "at origin" in caught.value.problems[0].where
