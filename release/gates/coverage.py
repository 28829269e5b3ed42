"""The `coverage` stage: joins what all test legs executed and holds it against the floors in pyproject.toml.

Floors are whole per cent of lines and branches together, one a package; they only go up.
"""

import json
import os
import sys
import tempfile
import tomllib
from importlib.metadata import version
from pathlib import Path

from release.binding import bound_or_none
from release.context import Context
from release.gates.gate import run_gate
from release.gates.test import coverage_file
from release.ledger import Ledger
from release.model import Checked, Kind, Mode, Problem, Refused, Report

__all__ = ["measured", "run"]


def measured(report: dict[str, dict[str, dict[str, dict[str, int]]]], prefix: str) -> int:
    """Basis points of lines and branches executed below `prefix` (10,000 is all).

    `report` is the JSON report of coverage.py; a prefix under which nothing was measured is 0.
    """
    covered = total = 0
    for name, entry in report["files"].items():
        if Path(name).as_posix().startswith(prefix):
            summary = entry["summary"]
            covered += summary["covered_lines"] + summary["covered_branches"]
            total += summary["num_statements"] + summary["num_branches"]
    return covered * 10_000 // total if total else 0


def run(stage: str, context: Context) -> Report:
    """Join the legs and refuse what lies under its floor."""
    ledger = bound_or_none(context)
    return run_gate(context, ledger, stage, "all", lambda: join(context, ledger))


def join(context: Context, ledger: Ledger | None) -> Report:
    """Add up what the legs executed; for a release every leg must be there.

    A rehearsal tests its Pythons one after the other on one machine, where only the newest is traced.
    """
    table = tomllib.loads((context.root / "pyproject.toml").read_text(encoding="utf-8"))
    floors: dict[str, int] = table["tool"]["tta-release"]["coverage-floors"]
    folder = coverage_file(context.root, "x").parent
    legs = sorted(path.name.removeprefix(".coverage.") for path in folder.glob(".coverage.*"))
    released = ledger.opening if ledger is not None and ledger.opening.mode is Mode.RELEASE else None
    wanted = released.plan["test"] if released is not None else ()
    missing = [leg for leg in wanted if leg not in legs]
    if missing or not legs:
        raise Refused(
            Problem(
                rule="coverage.legs",
                where="report/coverage",
                what=f"no data of the test legs {', '.join(missing) or '(none at all)'}",
                remedy="run `nox -s test` first; it leaves the data there",
            )
        )
    with tempfile.TemporaryDirectory() as scratch:
        env = {**os.environ, "COVERAGE_FILE": str(Path(scratch) / "combined")}
        python = [sys.executable, "-m", "coverage"]
        files = [str(coverage_file(context.root, leg)) for leg in legs]
        joined = context.runner([*python, "combine", "--keep", "--quiet", *files], cwd=context.root, env=env)
        output = Path(scratch) / "coverage.json"
        asked = context.runner([*python, "json", "-q", "-o", str(output)], cwd=context.root, env=env)
        if not joined.ok or not asked.ok:
            raise Refused(
                Problem(
                    rule="coverage.readable",
                    where="report/coverage",
                    what=f"the data could not be joined:\n{joined.tail()}\n{asked.tail()}",
                    remedy="delete report/coverage and run `nox -s test` again",
                )
            )
        report = json.loads(output.read_text(encoding="utf-8"))
        context.runner([*python, "report"], cwd=context.root, env=env, show=True)
    found = {prefix: measured(report, prefix) for prefix in floors}
    problems = [
        Problem(
            rule="coverage.floor",
            where=prefix,
            what=f"{found[prefix] / 100:.2f} % of lines and branches ran; the floor is {floor} %",
            remedy="test what the table above lists as missing; a floor is never lowered",
        )
        for prefix, floor in floors.items()
        if found[prefix] < floor * 100
    ]
    if problems:
        raise Refused(*problems)
    return Report(
        kind=Kind.DONE,
        sentence=", ".join(f"{prefix} {value / 100:.2f} %" for prefix, value in found.items()),
        checked=[
            Checked(what="legs", found=", ".join(legs)),
            *(
                Checked(what=prefix, found=f"{found[prefix] / 100:.2f} % (floor {floor} %)")
                for prefix, floor in floors.items()
            ),
        ],
        figures={f"{prefix.strip('/')}_bp": value for prefix, value in found.items()},
        tools={"coverage": version("coverage")},
    )
