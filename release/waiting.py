"""Waits until an index shows what was uploaded, and tells "not yet" apart from "broken".

An index lags behind its uploads for seconds to minutes, and may be down for longer: both end well by asking
again. Other bytes under a release's name, or an answer outside the API, do not: those refuse at once.
"""

from collections.abc import Callable, Sequence
from itertools import chain, repeat

from rich.console import Console

from release.indexes import Index
from release.model import Artifact, Kind, Problem, Refused
from release.simple import AGAIN, Listing, Standing, compare

__all__ = ["BUDGET_S", "wait_until_listed"]

BUDGET_S = 1800.0
"""Seconds to wait in all."""

_PAUSES_S = (1.0, 2.0, 4.0, 8.0, 15.0)
_LAST_PAUSE_S = 30.0


def wait_until_listed(
    index: Index,
    artifacts: Sequence[Artifact],
    ask: Callable[[], Listing],
    console: Console,
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> Standing:
    """Ask until every artefact is listed with its digest.

    Args:
        index: The index, for the reader.
        artifacts: What the ledger holds.
        ask: Fetches the project's listing.
        console: Where progress is shown.
        clock: Seconds that only grow.
        sleep: Waits for so many seconds.

    Raises:
        Refused: of kind NOT_YET when the time is up; of kind REFUSED as soon as the index is found to be
            broken or to hold other bytes.
    """
    began, asked = clock(), 0
    pauses = chain(_PAUSES_S, repeat(_LAST_PAUSE_S))
    while True:
        seen, missing = _look(index, artifacts, ask)
        if isinstance(seen, Standing) and not missing:
            return seen
        asked, pause, waited = asked + 1, next(pauses), clock() - began
        if waited + pause > BUDGET_S:
            raise Refused(*missing, kind=Kind.NOT_YET)
        said = f"lists {len(seen.present)} of {len(artifacts)} files" if isinstance(seen, Standing) else seen
        console.print(
            f"  {index.name.value} {said}; asked {asked} times in {waited:.0f} s, again in {pause:.0f} s",
        )
        sleep(pause)


def _look(
    index: Index, artifacts: Sequence[Artifact], ask: Callable[[], Listing]
) -> tuple[Standing | str, Sequence[Problem]]:
    """What one question shows (or why there was no answer), and what is not visible yet."""
    try:
        standing = compare(index, ask(), artifacts)
    except Refused as refused:
        if refused.kind is not Kind.NOT_YET:
            raise
        return "is down", refused.problems
    if standing.problems:
        raise Refused(*standing.problems)
    return standing, [
        Problem(
            rule="index.visible",
            where=f"{index.name.value}: {artifact.name}",
            what=f"is not listed after {BUDGET_S / 60:.0f} minutes",
            remedy=AGAIN,
        )
        for artifact in standing.absent
    ]
