"""The `build` stage with the front end, the backend and the checkers themselves."""

import sys
from pathlib import Path

import pytest

from release import build, pythons
from release.builder import Made
from release.ledger import Ledger
from release.rules.archives import digest_of
from tests.release.build_support import LOCK, built, context_with, project, repacked, rules
from tests.release.repo_support import Repo

OWN = f"{sys.version_info.major}.{sys.version_info.minor}"
WHEEL, SDIST = "tiny_demo-1.2.0-py3-none-any.whl", "tiny_demo-1.2.0.tar.gz"


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    """The tiny project, on a machine with one Python."""
    monkeypatch.setattr(pythons, "found", lambda: {OWN: sys.executable})
    (tmp_path / "repo").mkdir()
    return project(tmp_path / "repo")


def test_a_commit_is_built_for_real_and_opens_a_ledger(tiny: Repo) -> None:
    """The real front end and backend, twice, in circumstances that differ, end in one set of bytes."""
    context = context_with(tiny)
    build.run("build", context)
    assert sorted(path.name for path in context.dist.iterdir()) == [WHEEL, SDIST]
    assert {path.name: path.read_bytes() for path in context.dist.iterdir()} == built().files
    ledger = Ledger.read(context.ledger)
    assert ledger.opening.locks == {"release/locks/build.txt": digest_of(LOCK.encode())}
    assert ledger.opening.artifacts == tuple(sorted(built().artifacts, key=lambda each: each.name))
    assert ledger.passed("build")


def test_the_checkers_findings_are_refusals(tiny: Repo, tmp_path: Path) -> None:
    """twine and check-wheel-contents are run for real here, on files that neither takes."""
    (tmp_path / "home-first").mkdir()
    record = b"tiny_demo/a.pyc,,\ntiny_demo-1.2.0.dist-info/RECORD,,\n"
    changes = {"tiny_demo/a.pyc": b"", "tiny_demo-1.2.0.dist-info/RECORD": record}
    wheel, sdist = tmp_path / WHEEL, tmp_path / SDIST
    wheel.write_bytes(repacked(WHEEL, built().wheel, changes))
    sdist.write_bytes(b"no archive")
    made = Made(made_in="here", sdist=sdist, wheel=wheel, wheel_from_sdist=wheel)
    problems = build.tools_say(context_with(tiny), made, tmp_path)
    assert rules(problems) == ["build.twine-check", "build.check-wheel-contents"]
    assert "W001" in problems[1].what
