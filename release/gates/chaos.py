"""The `chaos` stage: the slow proofs against the installed wheel, and one lost message is a failure.

The drills are programs of the tests (`python -m tests.chaos`); this stage gives them the wheel, needs a real
redis-server for them, and holds what they counted against what is promised.
"""

import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from release.binding import bound_or_none
from release.context import Context
from release.gates.candidate import candidate, install
from release.model import Checked, Kind, Problem, Refused, Report

__all__ = ["Drill", "drill_problems", "read_report", "run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """What one drill counted."""

    drill: str
    sent: int
    lost: int
    doubled: int
    allowed: int
    """Leases held when something was done to their holders: so many may be doubled."""
    took_s: float


def run(stage: str, context: Context) -> Report:
    """Play the drills with as many kills and messages as asked for.

    Raises:
        Refused: no redis-server, a lost message, or more doubled than leases were held.
    """
    del stage
    if shutil.which("redis-server") is None:
        raise Refused(
            Problem(
                rule="chaos.real-server",
                where="redis-server",
                what="is not on this machine, and nothing else can be stalled, killed and started again",
                remedy="install it (`apt-get install redis-server`) and run the session again",
            )
        )
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        wheel, origin = candidate(context, bound_or_none(context), scratch)
        install(context, wheel)
        context.console.print(f"  drills against {wheel.name} ({origin})")
        counted = scratch / "chaos.json"
        words = [sys.executable, "-m", "tests.chaos", f"--report={counted}", *_asked(context)]
        played = context.runner(words, cwd=context.root, show=True)
        drills = read_report(counted) if counted.exists() else []
    if problems := drill_problems(played.code, drills):
        raise Refused(*problems)
    sent, doubled = sum(each.sent for each in drills), sum(each.doubled for each in drills)
    return Report(
        kind=Kind.DONE,
        sentence=f"0 of {sent} messages lost, {doubled} doubled, in {len(drills)} drills",
        checked=[
            Checked(
                what=each.drill,
                found=f"{each.lost} lost, {each.doubled} doubled ({each.allowed} allowed) of {each.sent}",
            )
            for each in drills
        ],
        figures={"sent": sent, "doubled": doubled, "took_ms": played.took_ms},
    )


def _asked(context: Context) -> list[str]:
    """The words for the drills."""
    asked = {"--kills": context.options.kills, "--messages": context.options.messages}
    return [f"{word}={number}" for word, number in asked.items() if number is not None]


def read_report(path: Path) -> list[Drill]:
    """What the drills wrote down."""
    return [Drill(**each) for each in json.loads(path.read_text("utf-8"))]


def drill_problems(code: int, drills: Sequence[Drill]) -> list[Problem]:
    """Every drill that broke a promise.

    Args:
        code: The exit code of the drills.
        drills: What they counted.
    """
    problems: list[Problem] = []
    for each in drills:
        if each.lost:
            problems.append(
                Problem(
                    rule="chaos.nothing-lost",
                    where=f"drill {each.drill!r}",
                    what=f"{each.lost} of {each.sent} messages were lost",
                    remedy=f"`python -m tests.chaos --only {each.drill.split()[0]}` plays it alone",
                )
            )
        if each.doubled > each.allowed:
            problems.append(
                Problem(
                    rule="chaos.few-doubled",
                    where=f"drill {each.drill!r}",
                    what=f"{each.doubled} messages were doubled; {each.allowed} leases were at risk",
                    remedy=f"`python -m tests.chaos --only {each.drill.split()[0]}` plays it alone",
                )
            )
    if not problems and (code != 0 or not drills):
        problems.append(
            Problem(
                rule="chaos.plays",
                where="tests/chaos",
                what=f"the drills ended with code {code} after {len(drills)} of them",
                remedy="read what they printed above",
            )
        )
    return problems
