"""A rehearsal with all that it drives played: git, nox, the world, the workflow's run.

A test module that uses it binds the fixture `played`.
"""

import os
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.table import Table

from release.context import Context, Options
from release.evidence import Opening
from release.model import Problem, Refused, Report
from release.plan import Plan
from release.publisher import PublisherFacts
from release.rehearsal import drive
from release.rehearsal.reuse import Reused
from release.rehearsal.scratch import Scratch
from release.rehearsal.summary import Ran
from release.runner import Finished, Runner
from tests.release.ledger_support import opening
from tests.release.publish_support import PUBLISHER
from tests.release.repo_support import CHANGELOG, NOW, PYPROJECT, context_on

PLAN = Plan(
    legs={
        **dict.fromkeys(("build", "lint", "coverage", "mutation", "testpypi", "pypi"), ("all",)),
        "test": ("3.12", "3.13"),
        "smoke": ("local", "testpypi", "pypi"),
        "verify": ("all",),
    },
    absent=("test 3.14: no Python 3.14 here",),
)
HEAD, RELEASED = "a" * 40, "b" * 40
DATED = CHANGELOG.replace("[Unreleased]:", f"## [0.1.0] - {NOW.date()}\n\n- It.\n\n[Unreleased]:")
FACTS = PUBLISHER.replace('\npypi = "pypi"', '\npypi = "releases"')
WRONG = Problem(rule="some.rule", where="somewhere", what="is wrong", remedy="mend it")
RESULT = "RESULT done {session}: {session} is proved  \nnox > done\n"
GRANT = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"


@dataclass(frozen=True, kw_only=True)
class Played:
    """A ledger in memory, as far as the driver looks at one."""

    opening: Opening
    head: str = "of line 0"
    digests: str = "of both files"


@dataclass
class Stand:
    """A checkout to rehearse, and everything around it as the driver sees it."""

    folder: Path
    root: Path
    changelog: str = DATED
    tag: bool = True
    """Whether a signed tag can be made."""
    fails: str = ""
    """A session that is refused."""
    result: str = RESULT
    """What the session that is refused prints, or without one every session."""
    code: int = 0
    dirty: list[str] = field(default_factory=list[str])
    pythons: dict[str, str] = field(
        default_factory=lambda: {"3.12": "/bin/python3.12", "3.13": "/bin/python3.13"}
    )
    plan: Plan = PLAN
    reused: list[Reused] = field(default_factory=list[Reused])
    wrong: dict[str, list[Problem]] = field(default_factory=dict[str, list[Problem]])
    refused: dict[str, int] = field(default_factory=dict[str, int])
    runs: list[tuple[list[str], dict[str, object]]] = field(
        default_factory=list[tuple[list[str], dict[str, object]]]
    )
    calls: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict[str, "list[tuple[Any, ...]]"])
    ledgers: dict[Path, Played] = field(default_factory=dict[Path, "Played"])
    """By their folder, as they are now."""
    now: float = 100.0

    def leave(self, folder: Path, tag: str = "") -> Played:
        """A ledger in a folder."""
        folder.mkdir(parents=True)
        (folder / "ledger.jsonl").write_text("played", encoding="utf-8")
        opened = opening(plan=self.plan.legs, tag=tag, tag_object=tag and "e" * 40, commit=RELEASED)
        made = Played(opening=opened)
        self.ledgers[folder] = made
        return made

    def read(self, folder: Path) -> Played:
        """What stands in a folder's ledger; without one there is nothing to read."""
        if folder not in self.ledgers:
            raise Refused(WRONG)
        return self.ledgers[folder]

    def note(self, name: str, *given: object) -> None:
        self.calls.setdefault(name, []).append(given)

    @property
    def scratch(self) -> Path:
        (folder,) = (self.folder / "temp").glob("tta-rehearsal-*")
        return folder

    def monotonic(self) -> float:
        """Every look at the clock is a second later than the one before."""
        self.now += 1
        return self.now

    def context(self, options: Options | None = None) -> Context:
        return replace(context_on(self.root, options=options), runner=self.run)

    def run(self, argv: Sequence[str | os.PathLike[str]], **settings: object) -> Finished:
        """Play nox: the build leaves a ledger, every other session a line in it."""
        words = [os.fspath(word) for word in argv]
        self.runs.append((words, settings))
        clone = cast("Path", settings["cwd"])
        session = words[words.index("--session") + 1]
        if "--install-only" in words:
            said = "".join(f"line {number}\n" for number in range(12))
            failed = self.fails == "install"
            return Finished(argv=words, code=int(failed), stdout=said, stderr="", took_ms=1)
        if session == "build":
            tag = words[words.index("--tag") + 1] if "--tag" in words else ""
            self.leave(clone / "ledger", tag)
        if session != "prepare":
            ledger = self.ledgers[clone / "ledger"]
            self.ledgers[clone / "ledger"] = replace(ledger, head=f"after {session}")
        failed = session == self.fails
        said = (self.result if failed or not self.fails else RESULT).format(session=session)
        return Finished(argv=words, code=self.code if failed else 0, stdout=said, stderr="", took_ms=1)

    def sessions(self) -> list[str]:
        return [words[words.index("--session") + 1] for words, _ in self.runs if "-R" in words]

    def words(self, session: str) -> list[str]:
        """Behind `--`, of a session's first run."""
        (first, *_) = [words for words, _ in self.runs if "-R" in words and session in words]
        return first[first.index("--") + 1 :]

    def env(self, session: str) -> dict[str, str]:
        (first, *_) = [settings for words, settings in self.runs if "-R" in words and session in words]
        return cast("dict[str, str]", first["env"])


class Clone(Scratch):
    """The scratch repository without git."""

    __slots__ = ()

    def commit_release(self, version: str) -> None:
        stand(self).note("commit", version)

    def publish(self, tag: str) -> bool:
        stand(self).note("publish", tag)
        return stand(self).tag

    def add_entry(self) -> None:
        stand(self).note("entry")


def stand(clone: Scratch) -> Stand:
    return cast("Stand", getattr(clone.runner, "__self__"))  # noqa: B009 - a bound method's


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stand:
    """What the driver calls, in its own module's names."""
    root = tmp_path / "checkout"
    (root / "release").mkdir(parents=True)
    (root / "release" / "publisher.toml").write_text(FACTS, encoding="utf-8")
    (tmp_path / "temp").mkdir()
    it = Stand(folder=tmp_path, root=root)

    @contextmanager
    def start(folder: Path, facts: PublisherFacts) -> Generator[object, None, None]:
        it.note("world", folder, facts)

        def job(environment: str, *, ref: str, sha: str) -> object:
            it.note("job", environment, ref, sha)
            return SimpleNamespace(grant={GRANT: environment})

        made = SimpleNamespace(
            authority=folder / "ca.pem",
            proxy_url="http://proxy",
            trust=folder / "trust.json",
            issuer=SimpleNamespace(job=job),
            proxy=SimpleNamespace(refused=it.refused),
        )
        try:
            yield made
        finally:
            it.note("world ended")

    def clone(runner: Runner, source: Path, folder: Path, env: Mapping[str, str]) -> Scratch:
        it.note("clone", source, folder, dict(env))
        (folder / "clone").mkdir()
        for name, text in (("CHANGELOG.md", it.changelog), ("pyproject.toml", PYPROJECT)):
            (folder / "clone" / name).write_text(text, encoding="utf-8")
        return Clone(root=folder / "clone", folder=folder, runner=runner, env=env)

    class Checkout:
        def __init__(self, root: Path, runner: object) -> None:
            assert runner == it.run
            self.root = root

        def head(self) -> str:
            return {it.root: HEAD, it.scratch / "clone": RELEASED}[self.root]

        def dirty(self) -> list[str]:
            assert self.root == it.root
            return it.dirty

        def tags(self) -> frozenset[str]:
            assert self.root == it.scratch / "clone"
            return frozenset()

    def child_environment(base: Mapping[str, str], **given: object) -> dict[str, str]:
        it.note("environment", dict(base), given)
        return {"HOME": "child"}

    def reusable(outer: Played | None, **given: object) -> list[Reused]:
        it.note("reusable", outer, given)
        return it.reused

    def table(name: str, *given: object) -> Table:
        it.note(name, *given)
        made = Table(title=name)
        made.add_column(f"[i]{'y' * 100}")
        return made

    def found_wrong(name: str, *given: object) -> list[Problem]:
        it.note(name, *given)
        return it.wrong.get(name, [])

    def walk(context: Context, course: object) -> list[Ran]:
        it.note("walk", context, course)
        it.leave(it.scratch / "clone" / "ledger")
        return [Ran(name="job announce", seconds=1, proved="announced")]

    def noted(name: str) -> Callable[..., None]:
        def call(*given: object, **named: object) -> None:
            it.note(name, *given, *([named] if named else []))

        return call

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temp"))
    monkeypatch.setattr(drive, "time", SimpleNamespace(monotonic=it.monotonic))
    monkeypatch.setattr(drive, "here", lambda: it.plan)
    monkeypatch.setattr(drive.pythons, "found", lambda: it.pythons)
    monkeypatch.setattr(drive.world, "start", start)
    monkeypatch.setattr(drive.github, "install", noted("gh"))
    monkeypatch.setattr(drive.scratch, "clone", clone)
    monkeypatch.setattr(drive.hosted, "walk", walk)
    monkeypatch.setattr(drive, "Checkout", Checkout)
    monkeypatch.setattr(drive, "Ledger", SimpleNamespace(read=it.read))
    monkeypatch.setattr(drive, "child_environment", child_environment)
    monkeypatch.setattr(drive, "fill_wheelhouse", noted("wheelhouse"))
    monkeypatch.setattr(drive, "reusable", reusable)
    monkeypatch.setattr(drive, "record", noted("record"))
    for name in ("stage_table", "digest_table"):
        monkeypatch.setattr(drive, name, partial(table, name))
    for name in ("digest_problems", "announced_problems", "defects"):
        monkeypatch.setattr(drive, name, partial(found_wrong, name))
    monkeypatch.delenv("NOX_CURRENT_SESSION", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    return it


WHOLE = [
    *("build", "lint", "test-3.12", "test-3.13", "coverage", "mutation", "collect"),
    *("testpypi", "smoke", "pypi", "smoke", "verify", "announce"),
]


def refused(played: Stand, options: Options | None = None) -> Problem:
    """The one problem that stops the rehearsal."""
    with pytest.raises(Refused) as caught:
        drive.run("rehearse", played.context(options))
    (problem,) = caught.value.problems
    return problem


def not_shown(report: Report) -> list[str]:
    return [each.found for each in report.checked if each.what == "not shown here"]
