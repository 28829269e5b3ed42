"""What `rehearse -- --fast` may take from the checkout's own ledger instead of running it again.

Pure. A gate that has passed for HEAD is taken as it is when the rehearsal releases HEAD's very tree; where
`prepare` has changed version and changelog it counts as a sample, which a rehearsal may use and a release may
not.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from release.ledger import Ledger, Line, Outcome
from release.plan import GATES

__all__ = ["Reused", "reusable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reused:
    """One leg that need not run again."""

    stage: str
    leg: str
    outcome: Outcome
    figures: Mapping[str, int | str]
    tools: Mapping[str, str]
    n: int
    """The line in the checkout's ledger."""


def reusable(
    ledger: Ledger | None,
    *,
    head: str,
    released: str,
    plan: Mapping[str, Sequence[str]],
    unmeasured: Collection[str],
) -> list[Reused]:
    """The legs of the gates that `ledger` has proved for `head`.

    Args:
        ledger: The checkout's own; None when there is none.
        head: The checkout's commit.
        released: The commit that the rehearsal releases: `head`, or one with what `prepare` has changed.
        plan: What the rehearsal has to prove.
        unmeasured: The test legs that coverage needs data of, and has none; they run again where it has to.
    """
    if ledger is None or ledger.opening.commit != head:
        return []
    same = released == head
    covered = ledger.passed("coverage")
    return [
        Reused(
            stage=stage,
            leg=leg,
            outcome=line.outcome if same else Outcome.SAMPLE,
            figures={**line.figures, "reused_line": line.n, "same_tree": int(same)},
            tools=line.tools,
            n=line.n,
        )
        for stage, leg, line in _proved(ledger, plan)
        if stage != "test" or covered or leg not in unmeasured
    ]


def _proved(ledger: Ledger, plan: Mapping[str, Sequence[str]]) -> list[tuple[str, str, Line]]:
    found: list[tuple[str, str, Line]] = []
    for stage in GATES:
        for leg in plan.get(stage, ()):
            line = ledger.latest(stage, leg)
            if line is not None and ledger.passed(stage, leg):
                found.append((stage, leg, line))
    return found
