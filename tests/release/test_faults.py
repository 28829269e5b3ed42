"""Faults in the middle of a release: the same command again ends in the same state, or says why not."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from release import build, publisher, pythons, smoke
from release.checkout import Checkout
from release.evidence import FOLDER, UPLOADS, read_evidence
from release.ledger import NAME, Ledger, Outcome
from release.rehearsal.github import CALLS, STATE
from release.rules.archives import read_archive
from release.runner import LocalRunner
from tests.release import fault_child
from tests.release.build_support import built, context_with, project, replaying
from tests.release.conftest import Repaired
from tests.release.index_support import serving
from tests.release.ledger_support import add, create
from tests.release.publish_support import PUBLISHER
from tests.release.repo_support import Repo
from tests.release.test_announce import verified
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
        """The ledger, `dist/` with the evidence, and the names of the folders beside them."""
        folders = (self.root / "dist", self.root / "ledger" / FOLDER)
        kept = [path for folder in folders if folder.exists() for path in folder.iterdir()]
        # What is not whole yet has a name that nothing reads or uploads.
        files = {path.name: path.read_bytes() for path in kept if not path.name.startswith(".")}
        names = sorted(path.name for path in self.root.iterdir() if path.name.startswith(("dist", "ledger")))
        return (self.root / "ledger" / NAME).read_bytes(), files, names

    def said(self) -> list[dict[str, Any]]:
        """The ledger's lines, but for what differs from run to run: how long it took, and so each digest."""
        lines = [json.loads(line) for line in (self.root / "ledger" / NAME).read_bytes().splitlines()]
        for line in lines:
            line.pop("prev")
            figures = line.get("figures", {})
            line["figures"] = {name: figures[name] for name in figures if not name.endswith("_ms")}
        return lines

    def lines(self, stage: str) -> list[dict[str, Any]]:
        """The lines of one stage, without their numbers."""
        found = [line for line in self.said() if line["stage"] == stage]
        return [{name: line[name] for name in line if name != "n"} for line in found]

    def release(self) -> dict[str, Any]:
        """What GitHub shows in the end, its files by name."""
        (found,) = json.loads((Path(self.copy) / "github" / STATE).read_text(encoding="utf-8")).values()
        return found | {"assets": sorted(found["assets"], key=lambda each: each["name"])}

    def changes(self) -> list[str]:
        """Every call that changed something on GitHub."""
        calls = (Path(self.copy) / "github" / CALLS).read_text(encoding="utf-8").splitlines()
        return [verb for call in calls if (verb := json.loads(call)[1]) != "view"]


def played(stage: str, fault: str, repo: Repo, folder: Path) -> tuple[list[Attempt], Attempt]:
    """Every attempt in which the fault struck, in processes that are not this one; and the one it did not."""
    folder.mkdir()
    words = [sys.executable, "-m", fault_child.__name__, stage, fault, str(repo.root.parent), str(folder)]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    sys.stderr.write(ended.stderr)
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


@pytest.fixture
def tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repo]:
    """A built checkout that was uploaded to both indexes, and the index that serves its files."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setattr(pythons, "found", lambda: {"3.12": sys.executable})
    folder = tmp_path / "tiny"
    folder.mkdir()
    locks = {smoke.RUNTIME_LOCK: "# runtime\n", smoke.TEST_LOCK: "# test\n"}
    repo = project(folder, {**locks, publisher.FILE: PUBLISHER})
    build.run("build", context_with(repo, replaying()))
    for index in UPLOADS:
        add(Ledger.read(repo.root / "ledger"), index, subject={}, figures={"publisher": "token"})
    wheel = read_archive(built().declared.wheel, built().wheel)
    with serving() as served:
        served.files(
            "tiny-demo", built().files, metadata=wheel.get(f"{built().declared.stem}.dist-info/METADATA")
        )
        monkeypatch.setenv("INDEX_AT", served.root)
        yield repo


@pytest.fixture
def published(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> Repo:
    """A checkout whose ledger holds a passed verify."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    return verified(repo, "1.0")


SCENES = {"gates": "opened", "a parallel job": "opened", "collect": "fanned", "build": "unbuilt"}
HALF = "half a line written"
HALVES = {"gates": len(LEGS), "a parallel job": 0, "collect": len(LEGS), "build": 2}
"""Lines that a stage writes in one go."""
ASSETS = ("the wheel", "the sdist", "the ledger", "the bill of materials")


KILLED = "kill -9 at any step of"


@pytest.mark.drill
@pytest.mark.parametrize("stage", SCENES)
def test_fault_kill_at_every_step(
    request: pytest.FixtureRequest, stage: str, tmp_path: Path, repaired: Repaired
) -> None:
    """`kill -9` around every file, rename, line, half a line and fsync: the same command ends as if none."""
    struck, whole = played(stage, "kill", request.getfixturevalue(SCENES[stage]), tmp_path / "played")
    assert [each.at for each in struck].count(HALF) == HALVES[stage]
    for each in struck:
        assert (each.first, each.then) == (-signal.SIGKILL, fault_child.DONE), each
        assert each.state() == whole.state(), each
    repaired(f"{KILLED} {stage}", ["killed"], len(struck))


@pytest.mark.drill
def test_fault_kill_in_smoke(tried: Repo, tmp_path: Path, repaired: Repaired) -> None:
    """Between any two programs of an installation and around its line: it counts once it is whole, once."""
    struck, whole = played("smoke", "kill", tried, tmp_path / "played")
    assert {"before python", HALF} <= {each.at for each in struck}
    for each in struck:
        assert (each.first, each.then) == (-signal.SIGKILL, fault_child.DONE), each
        assert each.said() == whole.said(), each
        assert [line["outcome"] for line in each.lines("smoke")] == ["sample"], each
    repaired(f"{KILLED} smoke", ["killed"], len(struck))


@pytest.mark.drill
def test_fault_kill_in_verify(tried: Repo, tmp_path: Path, repaired: Repaired) -> None:
    """It always runs: where the killed one had left its whole line there are two, and the last one counts."""
    struck, whole = played("verify", "kill", tried, tmp_path / "played")
    assert {"before git", "before python", HALF} <= {each.at for each in struck}
    counts: set[int] = set()
    for each in struck:
        assert (each.first, each.then) == (-signal.SIGKILL, fault_child.DONE), each
        lines = each.lines("verify")
        assert whole.lines("verify") == lines[-1:], each
        assert [line["outcome"] for line in lines] == ["passed"] * len(lines), each
        counts.add(len(lines))
    assert counts == {1, 2}
    repaired(f"{KILLED} verify", ["killed"], len(struck))


@pytest.mark.drill
def test_fault_kill_in_announce(published: Repo, tmp_path: Path, repaired: Repaired) -> None:
    """Between any two calls to GitHub, and in the middle of every upload: public last, nothing sent twice."""
    struck, whole = played("announce", "kill", published, tmp_path / "played")
    assert [each.at for each in struck].count(fault_child.HALF_SENT) == len(ASSETS)
    assert whole.changes() == ["create", *["upload"] * len(ASSETS), "edit"]
    for each in struck:
        assert (each.first, each.then) == (-signal.SIGKILL, fault_child.DONE), each
        assert each.release() == whole.release(), each
        assert each.state() == whole.state(), each
        torn = ["delete-asset"] if each.at == fault_child.HALF_SENT else []
        assert sorted(each.changes()) == sorted([*whole.changes(), *torn]), each
    repaired(f"{KILLED} announce", ["killed"], len(struck))


@pytest.mark.drill
@pytest.mark.parametrize(
    ("stage", "rules"),
    [
        ("a parallel job", {"evidence.written"}),
        ("collect", {"ledger.written"}),
        ("build", {"ledger.written", "build.dist-written"}),
    ],
)
def test_fault_full_disk_at_every_step(
    request: pytest.FixtureRequest, stage: str, rules: set[str], tmp_path: Path, repaired: Repaired
) -> None:
    """No room for a file, for a line or for half of it: the stage says so, and goes on when there is room."""
    struck, whole = played(stage, "full", request.getfixturevalue(SCENES[stage]), tmp_path / "played")
    assert [each.at for each in struck].count(HALF) == HALVES[stage]
    for each in struck:
        assert (each.first, each.then) == (fault_child.REFUSED, fault_child.DONE), each
        assert each.state() == whole.state(), each
        believed(each.copy)
    assert {each.rules for each in struck} == rules
    repaired(f"a full disk in {stage}", {each.rules for each in struck}, len(struck))


@pytest.mark.drill
@pytest.mark.parametrize(
    ("stage", "rule"), [("gates", "ledger.written"), ("a parallel job", "evidence.written")]
)
def test_fault_a_file_that_may_grow_no_more(
    opened: Repo, stage: str, rule: str, tmp_path: Path, repaired: Repaired
) -> None:
    """The system takes a part of a line and refuses the rest: nothing half-written is believed."""
    struck, whole = played(stage, "cramped", opened, tmp_path / "played")
    for each in struck:
        assert (each.first, each.rules, each.then) == (fault_child.REFUSED, rule, fault_child.DONE), each
        assert each.state() == whole.state(), each
        believed(each.copy)
    repaired(f"no room for the rest of a line in {stage}", {each.rules for each in struck}, len(struck))


def believed(copy: str) -> None:
    """What a stage that ran out of room left is whole, in the ledger and in the evidence."""
    left = Path(copy) / "left"
    if (left / NAME).exists() and (left / NAME).stat().st_size:
        assert Ledger.read(left).torn is None
    for file in (left / FOLDER).glob("*"):
        assert read_evidence(file).outcome is Outcome.PASSED
