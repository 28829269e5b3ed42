"""What every gate has in common: passed is done, a failure is evidence too."""

from collections.abc import Callable

from release.binding import record
from release.context import Context
from release.ledger import Ledger, Outcome
from release.model import Kind, Refused, Report
from release.resume import done

__all__ = ["run_gate"]


def run_gate(
    context: Context, ledger: Ledger | None, stage: str, leg: str, work: Callable[[], Report]
) -> Report:
    """Run one leg of a gate against its ledger.

    Args:
        context: The stage's context.
        ledger: What the evidence goes to; None records nothing.
        stage: The gate.
        leg: Its leg.
        work: Does the checking; raises `Refused` when the gate does not hold.

    Returns:
        The work's report, or one that says that the leg has passed before.

    Raises:
        Refused: what `work` raised, after a `failed` line was recorded, so that an older pass counts no more.
    """
    if done(ledger, stage, leg, again=context.options.again):
        return Report(kind=Kind.DONE, sentence=f"{leg} passed before; `-- --again` repeats it")
    try:
        report = work()
    except Refused as refused:
        if ledger is not None and refused.kind is Kind.REFUSED:
            failed = Report(kind=Kind.REFUSED, sentence="", figures={"problems": len(refused.problems)})
            record(context, ledger, stage, leg, failed, Outcome.FAILED)
        raise
    if ledger is not None:
        record(context, ledger, stage, leg, report)
    return report
