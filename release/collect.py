"""The `collect` stage: the fan-in. Every evidence file of the parallel jobs is verified, then all are added.

Nothing is added while anything is wrong, so a second run starts from the same ledger.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from release.binding import bound
from release.context import Context
from release.evidence import FOLDER, Evidence, Outcome, Proof, Ran, proof_problems, read_evidence
from release.ledger import Ledger
from release.model import Checked, Kind, Mode, Problem, Refused, Report
from release.plan import GATES

__all__ = ["Found", "chosen", "run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An evidence file: where it was, below the evidence folder, and what it holds."""

    where: str
    evidence: Evidence


def run(stage: str, context: Context) -> Report:
    """Verify the evidence files below `ledger/evidence` and append them in plan order."""
    del stage
    ledger = bound(context, mode=None)
    folder = context.ledger / FOLDER
    found: list[Found] = []
    problems: list[Problem] = []
    # Each job's artefact may have been unpacked into a folder of its own.
    for path in sorted(folder.rglob("*.json")):
        where = path.relative_to(context.ledger).as_posix()
        try:
            found.append(Found(where=where, evidence=read_evidence(path)))
        except Refused as refused:
            problems.extend(refused.problems)
        else:
            problems.extend(_name_problems(path, found[-1]))
    accepted, refusals = chosen(ledger, found, here=Ran.here())
    problems.extend(refusals)
    if problems:
        raise Refused(*problems)
    for each in accepted:
        proof = each.evidence
        line = ledger.append(**{name: getattr(proof, name) for name in _APPENDED})
        told = f"  {proof.stage} {proof.leg}: {proof.outcome}, ledger line n={line.n}"
        context.console.print(told)
    legs = [f"{gate} {leg}" for gate, leg in _planned(ledger)]
    return Report(
        kind=Kind.DONE,
        sentence=f"{len(accepted)} legs collected, {len(legs)} of {len(legs)} proved; head {ledger.head}",
        checked=[
            Checked(what="evidence files", found=str(len(found))),
            Checked(what="legs", found=", ".join(legs)),
            Checked(what="head", found=ledger.head),
        ],
        figures={"collected": len(accepted), "legs": len(legs)},
    )


_APPENDED = tuple(field.name for field in fields(Proof) if field.name != "v")


def chosen(ledger: Ledger, found: Sequence[Found], *, here: Ran) -> tuple[list[Found], list[Problem]]:
    """The evidence to append, in plan order, and every problem; with a problem nothing may be appended.

    Args:
        ledger: What it is appended to.
        found: All evidence there is.
        here: Where `collect` runs: evidence must be of the same workflow run.
    """
    problems: list[Problem] = []
    legs: defaultdict[tuple[str, str], list[Found]] = defaultdict(list)
    for each in found:
        problems.extend(_own_problems(ledger, each, here))
        legs[each.evidence.stage, each.evidence.leg].append(each)
    accepted: list[Found] = []
    for stage, leg in _planned(ledger):
        line, files = ledger.latest(stage, leg), legs[stage, leg]
        # What an earlier, interrupted run of this stage has appended is there already.
        fresh = [file for file in files if line is None or not _same(line, file.evidence)]
        places = [file.where for file in fresh]
        if line is not None and ledger.passed(stage, leg):
            places.append(f"ledger line n={line.n}")
        if len(places) > 1:
            what = f"has {len(places)} outcomes: {', '.join(places)}"
            remedy = "fetch the evidence by the ids this run's jobs handed on, one a job"
            problems.append(_problem("one-outcome", f"{stage} {leg}", what, remedy))
        elif fresh:
            accepted.append(fresh[0])
        elif not places:
            remedy = "run that job, and fetch what it wrote"
            problems.append(_problem("every-leg", f"{stage} {leg}", "has no evidence", remedy))
    return accepted, problems


def _planned(ledger: Ledger) -> list[tuple[str, str]]:
    """Stage and leg of all that is collected, in plan order."""
    return [(gate, leg) for gate in GATES for leg in ledger.opening.plan.get(gate, ())]


def _own_problems(ledger: Ledger, found: Found, here: Ran) -> list[Problem]:
    """What is wrong with one evidence file by itself."""
    evidence, where = found.evidence, found.where
    problems: list[Problem] = []
    if evidence.genesis != ledger.genesis:
        problems.append(
            _problem(
                "same-genesis",
                where,
                f"was made for the ledger {evidence.genesis}, this one is {ledger.genesis}",
                "fetch the evidence of this run's jobs, by artefact id",
            )
        )
    ran, own = f"{evidence.ran.kind} {evidence.ran.run}".strip(), f"{here.kind} {here.run}".strip()
    if ran != own:
        remedy = "no evidence crosses workflow runs: run the job again in this one"
        problems.append(_problem("same-run", where, f"was made in the run {ran}, this is {own}", remedy))
    if (evidence.stage, evidence.leg) not in _planned(ledger):
        what = f"is of stage {evidence.stage} leg {evidence.leg}, which the plan does not collect"
        problems.append(_problem("known-leg", where, what, "remove it, and look where it came from"))
    else:
        problems.extend(proof_problems(ledger.opening, evidence, where=where))
    good = (Outcome.PASSED, Outcome.SAMPLE) if ledger.opening.mode is Mode.REHEARSAL else (Outcome.PASSED,)
    if evidence.outcome not in good:
        what = f"says {evidence.stage} {evidence.leg}: {evidence.outcome}"
        problems.append(_problem("passed", where, what, "mend what failed, and run that job again"))
    return problems


def _name_problems(path: Path, found: Found) -> list[Problem]:
    """Empty when a file has the name its content asks for."""
    name = f"{found.evidence.stage}-{found.evidence.leg}.json"
    if path.name == name:
        return []
    return [_problem("named", found.where, f"holds {name}", "fetch the evidence again; nothing renames it")]


def _same(line: Proof, evidence: Evidence) -> bool:
    """True when a ledger line is this very evidence."""
    return all(getattr(line, field.name) == getattr(evidence, field.name) for field in fields(Proof))


def _problem(rule: str, where: str, what: str, remedy: str) -> Problem:
    return Problem(rule=f"collect.{rule}", where=where, what=what, remedy=remedy)
