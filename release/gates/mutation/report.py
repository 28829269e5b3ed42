"""What a mutation run leaves for a reader: `report/mutation.json`, entries for explanations, the table."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from release.gates.mutation.campaign import Part
from release.gates.mutation.floors import REST, Floors
from release.gates.mutation.mutants import Mutant, Verdict
from release.gates.mutation.verdicts import (
    NOTICED,
    UNNOTICED,
    Explanation,
    Measured,
    estimate,
    ran_score,
    score,
    suggestions,
    unexplained,
)
from release.model import Checked, Kind, Report

__all__ = ["report_of", "write"]

SHOWN = 12
"""So many modules without a floor are named on the screen; the file names all."""


def write(
    folder: Path,
    measured: Sequence[Measured],
    floors: Floors,
    explained: Sequence[Explanation],
    without: Sequence[str],
    *,
    part: Part,
    leg: str,
    tool: str,
    took_ms: int,
) -> None:
    """Write `mutation.json`, and `mutation-survivors.toml` with an entry for each unexplained mutant."""
    by_key = {each.key: each for each in explained}
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "part": part,
        "leg": leg,
        "took_ms": took_ms,
        "mutmut": tool,
        "rest_floor": floors.percent.get(REST),
        "without_floor": {name: floors.none_yet.get(name, "") for name in without},
        "modules": {each.module: _module(each, floors, by_key, part) for each in measured},
        "not_mutated": [
            {"module": each.module, "line": each.line, "what": each.what, "why": each.why}
            for module in measured
            for each in module.skipped
        ],
    }
    text = json.dumps(content, indent=1, ensure_ascii=False)
    (folder / "mutation.json").write_text(f"{text}\n", encoding="utf-8")
    left = [mutant for each in measured for mutant in unexplained(each, by_key)]
    (folder / "mutation-survivors.toml").write_text(suggestions(left), encoding="utf-8")


def _module(
    measured: Measured,
    floors: Floors,
    explained: Mapping[tuple[str, str, str, str], Explanation],
    part: Part,
) -> dict[str, object]:
    noticed, total = score(measured, explained)
    return {
        "own_tests": list(measured.tests),
        "mutants": len(measured.mutants),
        "inert": len(measured.mutants) - len(measured.runnable),
        **{str(each).replace(" ", "_"): measured.count(each) for each in Verdict},
        "not_run": len(measured.runnable) - len(measured.verdicts),
        "reused": measured.reused,
        "not_mutated": dict(Counter(each.why for each in measured.skipped)),
        "counts_as_noticed": noticed,
        "of": total,
        "floor": floors.percent.get(measured.module),
        "estimated_floor": floors.estimated.get(measured.module),
        "at_least": None if part is Part.SAMPLE else estimate(*ran_score(measured, explained)),
        "may_stay_unexplained": floors.unexplained.get(measured.module, 0),
        "took_ms": measured.took_ms,
        "red_baseline": bool(measured.baseline),
        "failed": bool(measured.failure),
        "unnoticed": [
            _mutant(each) | {"verdict": measured.verdicts[each.name], "explained": each.key in explained}
            for each in measured.unnoticed()
        ],
    }


def _mutant(mutant: Mutant) -> dict[str, object]:
    return {"name": mutant.name, "function": mutant.function, "was": mutant.was, "becomes": mutant.becomes}


def report_of(
    measured: Sequence[Measured],
    floors: Floors,
    explained: Sequence[Explanation],
    without: Sequence[str],
    *,
    part: Part,
    tool: str,
    took_ms: int,
) -> Report:
    """The stage's report for a run that nothing refused, or the table above its problems.

    Args:
        measured: The modules of this run.
        floors: What each must reach.
        explained: The mutants that a person let be.
        without: The modules of the whole tree that have no floor of their own yet.
        part: Which part of the mutants it was.
        tool: mutmut's version.
        took_ms: The run's time.
    """
    by_key = {each.key: each for each in explained}
    totals = {each: sum(module.count(each) for module in measured) for each in Verdict}
    noticed = sum(totals[each] for each in NOTICED)
    ran = noticed + sum(totals[each] for each in UNNOTICED)
    inert = sum(len(each.mutants) - len(each.runnable) for each in measured)
    passed_over = Counter(each.why for module in measured for each in module.skipped)
    share = f"{noticed * 100 / ran:.2f} %" if ran else "nothing ran"
    checked = [
        Checked(
            what=each.module,
            found=f"{each.count(*NOTICED)} of {each.count(*NOTICED, *UNNOTICED)} noticed, "
            + ", ".join(f"{each.count(kind)} {kind}" for kind in UNNOTICED)
            + _standing(each, floors, by_key, part),
        )
        for each in measured
        if each.verdicts
    ]
    checked.append(
        Checked(
            what="not run", found=f"{inert} mutants that change only the words of a message or a cast's type"
        )
    )
    checked.append(
        Checked(
            what="not mutated",
            found=", ".join(f"{count} x {why}" for why, count in sorted(passed_over.items())) or "nothing",
        )
    )
    if without:
        names = ", ".join(without[:SHOWN]) + (", ..." if len(without) > SHOWN else "")
        floor = f"together {floors.percent[REST]} %" if REST in floors.percent else "NONE, not even together"
        checked.append(
            Checked(what="no floor of their own", found=f"{len(without)} modules ({floor}): {names}")
        )
    return Report(
        kind=Kind.DONE,
        sentence=f"{noticed} of {ran} mutants noticed ({share}), {part}, {took_ms / 1000:.0f} s"
        + (f"; {len(without)} modules have no floor of their own yet" if without else ""),
        checked=checked,
        figures={
            "modules": len(measured),
            "mutants": sum(len(each.mutants) for each in measured),
            "inert": inert,
            **{str(kind).replace(" ", "_"): count for kind, count in totals.items()},
            "not_mutated": passed_over.total(),
            "without_floor": len(without),
            "unexplained": sum(len(unexplained(each, by_key)) for each in measured),
            "took_ms": took_ms,
        },
        tools={"mutmut": tool, "pytest": version("pytest")},
    )


def _standing(
    measured: Measured,
    floors: Floors,
    explained: Mapping[tuple[str, str, str, str], Explanation],
    part: Part,
) -> str:
    """How a module stands against its floor, and whether the floor can rise or fewer can stay unexplained.

    Of a module that was never measured whole: what the mutants that ran show of all of them. A sample shows
    nothing of those, as it takes them from a few functions.
    """
    floor = floors.percent.get(measured.module)
    if floor is None:
        noticed, ran, total = ran_score(measured, explained)
        known = floors.estimated.get(measured.module)
        before = "" if known is None else f"estimated floor {known} %, "
        shown = f" ({before}at least {estimate(noticed, ran, total)} % of all {total})"
        return "" if part is Part.SAMPLE else shown
    noticed, total = score(measured, explained)
    reached = noticed * 100 // total if total else 100
    raised = f"; the floor can rise to {reached} %" if reached > floor else ""
    left, allowed = len(unexplained(measured, explained)), floors.unexplained.get(measured.module, 0)
    stay = f"; {left} unexplained of {allowed} that may be" if allowed else ""
    return f" (floor {floor} %, reached {reached} %{raised}{stay})"
