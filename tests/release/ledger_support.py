"""Ledgers to test with: an opening, a few lines, and ways to write what the ledger never would."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import rfc8785

from release.evidence import Opening, Outcome, Ran
from release.ledger import NAME, Ledger
from release.model import Artifact, Mode, Refused
from release.plan import RELEASE
from tests.release.repo_support import NOW

COMMIT, TREE, TAG_OBJECT = "a" * 40, "b" * 40, "e" * 40
WHEEL = Artifact(name="demo-0.1.0-py3-none-any.whl", size=10, sha256="c" * 64)
SDIST = Artifact(name="demo-0.1.0.tar.gz", size=20, sha256="d" * 64)
HERE = Ran(kind="local", run="", attempt=1, os="linux", arch="x86_64", python="3.12.1")


def opening(*, mode: Mode = Mode.REHEARSAL, **changes: object) -> Opening:
    """An opening; a release has its tag and the constant plan."""
    plan: Mapping[str, tuple[str, ...]] = {
        "lint": ("all",),
        "test": ("3.12", "3.13"),
        "coverage": ("all",),
        "mutation": ("all",),
        "audit": ("all",),
        "testpypi": ("all",),
        "smoke": ("local", "testpypi", "pypi"),
        "pypi": ("all",),
    }
    released = mode is Mode.RELEASE
    made = Opening(
        mode=mode,
        project="demo",
        version="0.1.0",
        tag="v0.1.0" if released else "",
        tag_object=TAG_OBJECT if released else "",
        commit=COMMIT,
        tree=TREE,
        epoch=1_700_000_001,
        locks={"release/locks/build.txt": "f" * 64},
        plan=RELEASE if released else plan,
        artifacts=(SDIST, WHEEL),
    )
    return replace(made, **cast("dict[str, Any]", changes))


def create(folder: Path, *, mode: Mode = Mode.REHEARSAL, **changes: object) -> Ledger:
    """A new ledger in `folder`."""
    return Ledger.create(folder, opening(mode=mode, **changes), at=NOW)


def add(
    ledger: Ledger, stage: str, leg: str = "all", outcome: Outcome = Outcome.PASSED, **changes: object
) -> None:
    """Append a line about line 0's commit."""
    words: dict[str, Any] = {
        "subject": {"commit": ledger.opening.commit},
        "figures": {"took_ms": 12},
        "tools": {"ruff": "0.1"},
        "at": NOW,
        "ran": HERE,
    }
    words.update(changes)
    ledger.append(stage=stage, leg=leg, outcome=outcome, **words)


def raw_lines(folder: Path) -> list[bytes]:
    """The file's lines without their line feeds."""
    return (folder / NAME).read_bytes().removesuffix(b"\n").split(b"\n")


def rewrite(folder: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """Replace the file's lines."""
    (folder / NAME).write_bytes(b"".join(line + b"\n" for line in change(raw_lines(folder))))


def edited(line: bytes, **changes: object) -> bytes:
    """A canonical line with other field values."""
    table: dict[str, Any] = json.loads(line)
    table.update(changes)
    return rfc8785.dumps(table)


def rules_of(refused: Refused) -> list[str]:
    """The rule ids of a refusal, each problem having all four parts."""
    for problem in refused.problems:
        assert problem.where
        assert problem.what
        assert problem.remedy
    return [problem.rule for problem in refused.problems]
