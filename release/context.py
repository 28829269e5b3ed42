"""What a stage is handed: the checkout it works on, the runner, the clock and the person's options."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from release.model import Mode
from release.runner import Runner

__all__ = ["Context", "Options"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line asked of a stage; each stage reads what concerns it."""

    mode: Mode | None = None
    """None: the stage's own default (build: rehearsal unless asked; stages that reach an index: release)."""
    leg: str | None = None
    tag: str | None = None
    index: str | None = None
    version: str | None = None
    """prepare: the version to release."""
    words: tuple[str, ...] = ()
    """What stands behind the stage's name: prepare's version, check's files."""
    again: bool = False
    fast: bool = False
    act: bool = False
    """rehearse: run the workflow file itself."""
    changed: bool = False
    only: tuple[str, ...] = ()
    """Modules whose mutants are judged, or folders of modules."""
    at_most: int | None = None
    """Of each of those modules judge so many mutants."""
    shard: str | None = None
    """`i/n`: the mutants whose name hashes to part i of n."""
    sharded: bool = False
    """build: a rehearsal's plan has a release's mutation shards, as its workflow has the jobs for them."""
    sample: int | None = None
    """Seconds a mutation sample may take; counts in a rehearsal only."""
    kills: int | None = None
    messages: int | None = None
    """Workers killed and messages sent meanwhile, in the chaos drills; None leaves it to them."""
    check: bool = False
    require_redis: bool = False
    """`CI` in the environment implies it: a missing redis-server is then a failure."""
    expect_head: str | None = None
    expect_digests: str | None = None
    evidence: bool = False
    """True in a parallel job: write `ledger/evidence/<stage>-<leg>.json` instead of a ledger line."""
    rest: tuple[str, ...] = ()
    """Words behind `--`, handed on to the tool (for example pytest)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One run of one stage."""

    root: Path
    """The checkout; `dist/` and `ledger/` stand in it."""
    runner: Runner
    console: Console
    now: Callable[[], dt.datetime]
    """UTC."""
    options: Options

    @property
    def dist(self) -> Path:
        """Holds exactly the wheel and the sdist."""
        return self.root / "dist"

    @property
    def ledger(self) -> Path:
        """Holds `ledger.jsonl`, `evidence/` and `attestations/`."""
        return self.root / "ledger"
