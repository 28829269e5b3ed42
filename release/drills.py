"""The `drills` stage: plays every tampering of a release and shows which gate refused it.

A drill is a test of the release tools marked `drill`. It tampers with a real release (a git repository, built
wheels, the embedded index with the real twine), sees a stage refuse, and notes the rule that did. This stage
holds the notes against the list below: a drill that nobody played, that failed, or that another rule refused
is a failure.
"""

import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from release.context import Context
from release.model import Checked, Kind, Problem, Refused, Report

__all__ = ["DRILL", "REFUSED_BY", "TAMPERING", "drill_problems", "read_notes", "run"]

DRILL, REFUSED_BY = "drill", "refused-by"
"""The properties by which a test notes its drill and the rule that refused; in the runner's JUnit file."""

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
}
"""Drill -> id of the rule that must refuse it. What needs Sigstore is not among them yet."""


def run(stage: str, context: Context) -> Report:
    """Run the tests marked `drill` and hold their notes against the list.

    Raises:
        Refused: a drill that did not refuse, was not played, or was refused by another rule.
    """
    del stage
    with tempfile.TemporaryDirectory() as folder:
        junit = Path(folder) / "junit.xml"
        words = ["-q", "-m", "drill", f"--junitxml={junit}", "-o", "junit_family=xunit1", "tests/release"]
        played = context.runner([sys.executable, "-m", "pytest", *words], cwd=context.root, show=True)
        notes = read_notes(junit) if junit.exists() else {}
    problems = drill_problems(played.code, notes)
    checked = [Checked(what=drill, found=f"refused by {rule}") for drill, rule in notes.items()]
    if problems:
        for each in checked:
            context.console.print(f"  {each.what}: {each.found}", markup=False)
        raise Refused(*problems)
    return Report(
        kind=Kind.DONE,
        sentence=f"{len(notes)} of {len(TAMPERING)} drills were refused, each by the gate named for it",
        checked=checked,
        figures={"drills": len(notes), "took_ms": played.took_ms},
        tools={"pytest": version("pytest")},
    )


def read_notes(path: Path) -> dict[str, str]:
    """Drill -> rule that refused it, of the tests that passed, in the order of `TAMPERING`."""
    notes: dict[str, str] = {}
    for case in ET.parse(path).getroot().iter("testcase"):  # noqa: S314 - written by our own pytest a moment ago
        if any(case.find(kind) is not None for kind in ("failure", "error", "skipped")):
            continue
        said = {each.get("name"): each.get("value", "") for each in case.iter("property")}
        if DRILL in said:
            notes[said[DRILL]] = said.get(REFUSED_BY, "")
    return {drill: notes[drill] for drill in sorted(notes, key=[*TAMPERING, *sorted(notes)].index)}


def drill_problems(code: int, notes: Mapping[str, str]) -> list[Problem]:
    """Every drill that was not refused by the rule named for it.

    Args:
        code: The test runner's exit code.
        notes: Drill -> rule that refused it.
    """
    problems: list[Problem] = []
    for drill in [*TAMPERING, *(each for each in notes if each not in TAMPERING)]:
        wanted, found = TAMPERING.get(drill), notes.get(drill)
        if wanted == found:
            continue
        if wanted is None:
            what = "is not in the list of drills"
        elif found is None:
            what = f"was not refused, or nobody played it; rule {wanted} must refuse it"
        else:
            what = f"was refused by {found or 'nothing'}, and rule {wanted} must refuse it"
        problems.append(
            Problem(
                rule="drills.refused",
                where=f"drill {drill!r}",
                what=what,
                remedy="read the test's failure above and mend the gate; the list is in release/drills.py",
            )
        )
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
