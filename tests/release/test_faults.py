"""Faults in the middle of a release: the same command again ends in the same state, or says why not."""

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from release.checkout import Checkout
from release.ledger import NAME, Ledger
from release.runner import LocalRunner
from tests.release import fault_child
from tests.release.build_support import project
from tests.release.conftest import Repaired
from tests.release.ledger_support import create
from tests.release.repo_support import Repo
from tests.release.test_collect import LEGS, PLAN, Fan

# Dozens of processes each: on a machine that does other work as well they take their time.
pytestmark = pytest.mark.timeout(600)

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt that was cut short, and the same command after it."""

    copy: str
    at: str
    first: int
    rules: str
    then: int

    @property
    def root(self) -> Path:
        return Path(self.copy) / "clone"

    def state(self) -> tuple[bytes, dict[str, bytes], list[str]]:
        """The ledger, `dist/`, and the names of the folders beside them."""
        dist = self.root / "dist"
        files = {path.name: path.read_bytes() for path in dist.iterdir()} if dist.exists() else {}
        names = sorted(path.name for path in self.root.iterdir() if path.name.startswith(("dist", "ledger")))
        return (self.root / "ledger" / NAME).read_bytes(), files, names


def played(stage: str, fault: str, repo: Repo, folder: Path) -> tuple[list[Attempt], Attempt]:
    """Every attempt in which the fault struck, in processes that are not this one; and the one it did not."""
    folder.mkdir()
    words = [sys.executable, "-m", fault_child.__name__, stage, fault, str(repo.root.parent), str(folder)]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    *struck, whole = [Attempt(**each) for each in json.loads(ended.stdout)]
    assert (whole.at, whole.first, whole.rules) == ("the end", fault_child.DONE, ""), ended.stderr
    return struck, whole


@pytest.fixture
def opened(repo: Repo) -> Repo:
    """A checkout with a rehearsal's ledger."""
    checkout = Checkout(repo.root, LocalRunner())
    create(repo.root / "ledger", commit=checkout.head(), tree=checkout.tree(), plan=PLAN)
    return repo


@pytest.fixture
def fanned(opened: Repo) -> Repo:
    """A checkout with a ledger, to which every job's evidence was fetched."""
    Fan(repo=opened, ledger=Ledger.read(opened.root / "ledger")).jobs()
    return opened


@pytest.fixture
def unbuilt(tmp_path: Path) -> Repo:
    """A checkout that nothing was built in."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    return project(folder)


SCENES = {"gates": "opened", "collect": "fanned", "build": "unbuilt"}
HALF = "half a line written"


@pytest.mark.drill
@pytest.mark.parametrize("stage", SCENES)
def test_fault_kill_at_every_step(
    request: pytest.FixtureRequest, stage: str, tmp_path: Path, repaired: Repaired
) -> None:
    """`kill -9` around every file, rename, line, half a line and fsync: the same command ends as if none."""
    struck, whole = played(stage, "kill", request.getfixturevalue(SCENES[stage]), tmp_path / "played")
    assert [each.at for each in struck].count(HALF) == (2 if stage == "build" else len(LEGS))
    for each in struck:
        assert (each.first, each.then) == (-signal.SIGKILL, fault_child.DONE), each
        assert each.state() == whole.state(), each
    repaired(f"kill -9 at any step of {stage}", ["killed"], len(struck))


@pytest.mark.drill
@pytest.mark.parametrize(
    ("stage", "rules"), [("collect", {"ledger.written"}), ("build", {"ledger.written", "build.dist-written"})]
)
def test_fault_full_disk_at_every_step(
    request: pytest.FixtureRequest, stage: str, rules: set[str], tmp_path: Path, repaired: Repaired
) -> None:
    """No room for a file, for a line or for half of it: the stage says so, and goes on when there is room."""
    struck, whole = played(stage, "full", request.getfixturevalue(SCENES[stage]), tmp_path / "played")
    assert HALF in {each.at for each in struck}
    for each in struck:
        assert (each.first, each.then) == (fault_child.REFUSED, fault_child.DONE), each
        assert each.state() == whole.state(), each
    assert {each.rules for each in struck} == rules
    repaired(f"a full disk in {stage}", {each.rules for each in struck}, len(struck))
