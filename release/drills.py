"""The `drills` stage: plays every tampering with a release and every fault in one, and shows how each ended.

A drill is a test of the release tools marked `drill`, on a real release: a git repository, built wheels, the
embedded index with the real twine. It tampers, sees a stage refuse, and notes the rule that did; or it cuts a
stage short, sees the same command end in the same state afterwards, and notes what had stopped the first one.
This stage holds the notes against the lists below: a drill that nobody played, that failed, or that was ended
by another rule is a failure.
"""

import os
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from release.context import Context
from release.model import Checked, Kind, Problem, Refused, Report

__all__ = [
    "DRILL",
    "FAULT",
    "FAULTS",
    "PLAYED",
    "REFUSED_BY",
    "STOPPED_BY",
    "TAMPERING",
    "Notes",
    "drill_problems",
    "read_notes",
    "run",
]

DRILL, REFUSED_BY = "drill", "refused-by"
"""The properties by which a test notes its drill and the rule that refused; in the runner's JUnit file."""

FAULT, STOPPED_BY, PLAYED = "fault", "stopped-by", "played"
"""The same for a fault: what stopped the first run, and how often it was played."""

TAMPERING: Mapping[str, str] = {
    "a flipped byte between stages": "build.dist",
    "an extra file in dist": "build.dist",
    "a swapped sdist": "build.dist",
    "an edited METADATA version": "metadata.version",
    "another project's wheel": "metadata.name",
    "a moved tag": "tag.not-moved",
    "an edited ledger line": "ledger.chained",
    "a rewritten ledger": "binding.expected-head",
    "an evidence file of another run": "collect.same-run",
    "a token for another repository": "mint.repository",
    "a token for another workflow": "mint.workflow",
    "a token for another environment": "mint.environment",
    "testpypi's token at PyPI": "mint.audience",
    "a replayed token": "mint.replay",
    "an attestation for other bytes": "attestation.ours",
    "a signature of another repository": "attestation.ours",
    "a signature of another workflow": "attestation.ours",
    "a signature for another tag": "attestation.ours",
}
"""Drill -> id of the rule that must refuse it."""


FAULTS: Mapping[str, str] = {
    "500 after the file was stored": "publish.index-up",
    "a connection cut in an upload": "publish.index-up",
    "the second file refused": "publish.uploaded",
    "an expired token": "publish.uploaded",
    "TestPyPI down": "index.up",
    "TestPyPI down in an upload": "publish.index-up",
    "an index that lags": "index.visible",
    "a full disk in build": "build.dist-written",
    "a full disk in a parallel job": "evidence.written",
    "a full disk in collect": "ledger.written",
    "no room for the rest of a line in gates": "ledger.written",
    "no room for the rest of a line in a parallel job": "evidence.written",
    "kill -9 at any step of build": "killed",
    "kill -9 at any step of gates": "killed",
    "kill -9 at any step of a parallel job": "killed",
    "kill -9 at any step of collect": "killed",
    "kill -9 in an upload": "killed",
    "kill -9 at any step of smoke": "killed",
    "kill -9 at any step of verify": "killed",
    "kill -9 at any step of announce": "killed",
}
"""Fault -> id of the rule it is told by, or `killed`; the same command afterwards ends in the same state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """What the drills' tests noted, each part in the order of its list."""

    refused: Mapping[str, str]
    """Tampering -> rule that refused it."""
    stopped: Mapping[str, str]
    """Fault -> what stopped the first run."""
    played: Mapping[str, int]
    """Fault -> how often it was played."""


def run(stage: str, context: Context) -> Report:
    """Run the tests marked `drill` and hold their notes against the lists.

    Raises:
        Refused: a drill that was not played, did not end as it must, or was ended by another rule.
    """
    del stage
    with tempfile.TemporaryDirectory() as folder:
        junit = Path(folder) / "junit.xml"
        words = ["-q", "-m", "drill", f"--junitxml={junit}", "-o", "junit_family=xunit1"]
        # As many workers as cores; one that is done takes over what another has not begun.
        words += ["-n", str(max(2, os.cpu_count() or 2)), "--dist", "worksteal", "tests/release"]
        # Collecting the tests imports the package, which this session does not install.
        env = {**os.environ, "PYTHONPATH": str(context.root / "src")}
        done = context.runner([sys.executable, "-m", "pytest", *words], cwd=context.root, env=env, show=True)
        notes = read_notes(junit) if junit.exists() else Notes(refused={}, stopped={}, played={})
    problems = drill_problems(done.code, notes)
    played = sum(notes.played.values())
    checked = [Checked(what=drill, found=f"refused by {rule}") for drill, rule in notes.refused.items()]
    checked.append(Checked(what=f"-- {len(notes.stopped)} faults, {played} times", found="the same end --"))
    checked += [
        Checked(what=fault, found=f"{stopped_by}, then the same end; played {_times(notes.played[fault])}")
        for fault, stopped_by in notes.stopped.items()
    ]
    if problems:
        for each in checked:
            context.console.print(f"  {each.what}: {each.found}")
        raise Refused(*problems)
    return Report(
        kind=Kind.DONE,
        sentence=(
            f"{len(notes.refused)} of {len(TAMPERING)} tamperings were refused, each by the gate named for "
            f"it; {len(notes.stopped)} of {len(FAULTS)} faults, played {played} times, ended as if none"
        ),
        checked=checked,
        figures={
            "drills": len(notes.refused),
            "faults": len(notes.stopped),
            "played": played,
            "took_ms": done.took_ms,
        },
        tools={"pytest": version("pytest")},
    )


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def read_notes(path: Path) -> Notes:
    """What the tests that passed noted."""
    refused: dict[str, str] = {}
    stopped: dict[str, str] = {}
    played: Counter[str] = Counter()
    for case in ET.parse(path).getroot().iter("testcase"):  # noqa: S314 - written by our own pytest a moment ago
        if any(case.find(kind) is not None for kind in ("failure", "error", "skipped")):
            continue
        said = {each.attrib["name"]: each.attrib["value"] for each in case.iter("property")}
        if DRILL in said:
            refused[said[DRILL]] = said.get(REFUSED_BY, "")
        if FAULT in said:
            stopped[said[FAULT]] = said.get(STOPPED_BY, "")
            played[said[FAULT]] += int(said.get(PLAYED, "0"))
    return Notes(refused=_in_order(refused, TAMPERING), stopped=_in_order(stopped, FAULTS), played=played)


def _in_order(notes: Mapping[str, str], listed: Mapping[str, str]) -> dict[str, str]:
    """The notes in the list's order, unlisted ones last."""
    return {name: notes[name] for name in [*listed, *sorted(notes.keys() - listed.keys())] if name in notes}


def drill_problems(code: int, notes: Notes) -> list[Problem]:
    """Every drill that did not end by the rule named for it.

    Args:
        code: The test runner's exit code.
        notes: What the tests noted.
    """
    problems = _unlike("drill", "refused", TAMPERING, notes.refused)
    problems += _unlike("fault", "stopped", FAULTS, notes.stopped)
    if code != 0 and not problems:
        problems.append(
            Problem(
                rule="drills.passes",
                where="tests/release",
                what=f"the drills' tests ended with code {code}",
                remedy="mend the failures shown above",
            )
        )
    return problems


def _unlike(kind: str, verb: str, listed: Mapping[str, str], noted: Mapping[str, str]) -> list[Problem]:
    """Where the notes differ from the list."""
    problems: list[Problem] = []
    for name in [*listed, *(each for each in noted if each not in listed)]:
        wanted, found = listed.get(name), noted.get(name)
        if wanted == found:
            continue
        if wanted is None:
            what = f"is not in the list of {kind}s"
        elif found is None:
            what = f"was not {verb}, or nobody played it; {wanted} must have {verb} it"
        else:
            what = f"was {verb} by {found or 'nothing'}, and must have been by {wanted}"
        problems.append(
            Problem(
                rule=f"drills.{verb}",
                where=f"{kind} {name!r}",
                what=what,
                remedy="read the test's failure above and mend the gate; the list is in release/drills.py",
            )
        )
    return problems
