"""A release that is ready to upload, in an environment that reaches the embedded world and nothing else.

A test module that uses it binds the fixtures: `running`, `uploadable` and `release`.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from release import publish
from release.context import Options
from release.indexes import IndexName
from release.ledger import Ledger, Outcome
from release.model import Mode, Refused, Report
from release.rehearsal import world
from release.rehearsal.environment import child_environment
from release.rehearsal.index import LoopbackIndex
from release.rehearsal.world import World
from release.rules.archives import measure
from release.signing.check import TRUST
from tests.release.ledger_support import add, opening
from tests.release.rehearsal.support import FACTS, written
from tests.release.repo_support import NOW, Repo, context_on

PUBLISHER = """\
owner = "Somebody"
owner-id = "4711"
repository = "demo-project"
workflow = "release.yml"
project = "demo-project"
[environments]
testpypi = "testpypi"
pypi = "pypi"
"""
PLAN = {
    "build": ("all",),
    "lint": ("all",),
    "test": ("3.12", "3.13"),
    "coverage": ("all",),
    "mutation": ("all",),
    "testpypi": ("all",),
    "smoke": ("local", "testpypi", "pypi"),
    "pypi": ("all",),
}
GATES = [("build", "all"), ("lint", "all"), ("test", "3.12"), ("test", "3.13"), ("coverage", "all")]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world.start(tmp_path_factory.mktemp("world"), FACTS) as started:
        yield started
        assert started.failures == []


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A checkout with a ledger and its files, in an environment that reaches the embedded world."""

    repo: Repo
    ledger: Ledger
    world: World
    patch: pytest.MonkeyPatch

    @property
    def root(self) -> Path:
        return self.repo.root

    def index(self, name: str) -> LoopbackIndex:
        return self.world.indexes[IndexName(name)]

    def job(self, environment: str, **claims: object) -> None:
        """Be in a job of this environment that may ask for an ID token; `claims` replace what it says."""
        job = self.world.issuer.job(
            environment, ref="refs/tags/v1.0", sha=self.ledger.opening.commit, **claims
        )
        for name, value in job.grant.items():
            self.patch.setenv(name, value)

    def run(self, stage: str) -> Report:
        return publish.run(stage, context_on(self.root, options=Options(mode=Mode.REHEARSAL)))

    def reread(self) -> Ledger:
        return Ledger.read(self.root / "ledger")

    def gates(self, *, but: tuple[str, str] | None = None, outcome: Outcome = Outcome.PASSED) -> None:
        """Everything a release has before it goes to PyPI, one thing left out."""
        legs = [(*leg, outcome) for leg in GATES]
        legs += [
            ("mutation", "all", Outcome.SAMPLE),
            ("testpypi", "all", outcome),
            ("smoke", "testpypi", outcome),
        ]
        for stage, leg, ended in legs:
            if (stage, leg) != but:
                add(self.ledger, stage, leg, ended)


@pytest.fixture(scope="module")
def uploadable(repo_template: Repo, tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """A repository with the publisher's facts and the files to upload, made once."""
    repo = copied(repo_template, tmp_path_factory.mktemp("publish") / "repo")
    repo.write("release/publisher.toml", PUBLISHER)
    repo.commit()
    repo.push()
    written(repo.root / "dist")
    return repo


def copied(repo: Repo, folder: Path) -> Repo:
    shutil.copytree(repo.root.parent, folder, symlinks=True)
    return Repo(root=folder / repo.root.name, key=folder / repo.key.name)


@pytest.fixture
def release(
    running: World,
    uploadable: Repo,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    untraced_children: None,
) -> Iterator[Release]:
    del untraced_children
    repo = copied(uploadable, tmp_path / "repo")
    before = {name: (dict(index.projects), list(index.publishers)) for name, index in running.indexes.items()}
    opened = opening(
        project="demo-project",
        version="1.0",
        commit=repo.git("rev-parse", "HEAD"),
        plan=PLAN,
        artifacts=tuple(measure(path) for path in sorted((repo.root / "dist").iterdir())),
    )
    env = child_environment(
        os.environ,
        folder=tmp_path / "child",
        authority=running.authority,
        proxy=running.proxy_url,
    )
    for name in ("HTTPS_PROXY", "https_proxy", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, env[name])
    monkeypatch.setenv(TRUST, str(running.trust))
    ledger = Ledger.create(repo.root / "ledger", opened, at=NOW)
    yield Release(repo=repo, ledger=ledger, world=running, patch=monkeypatch)
    for name, (projects, publishers) in before.items():
        index = running.indexes[name]
        index.projects, index.publishers, index.down = projects, publishers, False


def refused(release: Release, stage: str) -> Refused:
    with pytest.raises(Refused) as caught:
        release.run(stage)
    return caught.value


def tagged(release: Release) -> None:
    """Open the ledger anew, for a signed tag that origin has."""
    tag_object = release.repo.sign("v1.0")
    release.repo.git("push", "--quiet", "origin", "v1.0")
    (release.root / "ledger" / "ledger.jsonl").unlink()
    opened = replace(release.ledger.opening, tag="v1.0", tag_object=tag_object)
    Ledger.create(release.root / "ledger", opened, at=NOW)
