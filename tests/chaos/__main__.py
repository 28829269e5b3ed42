"""`python -m tests.chaos [--kills N] [--messages N] [--workers N] [--only WORD] [--report FILE]`.

Exit codes: 0 nothing lost; 1 a message was lost, or doubled where that could be helped; 2 usage; 3 no
redis-server.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tests.chaos.drills import DRILLS, Outcome, Size, play
from tests.library.support.servers import find_server_binary, server_version

__all__ = ["main"]

ROW = "{:<22} {:>7} {:>6} {:>8} {:>8} {:>7}"


def main(argv: Sequence[str]) -> int:
    """Play the drills; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="workers killed (default: 20)")
    parser.add_argument("--messages", type=int, default=2_000, help="messages meanwhile (default: 2000)")
    parser.add_argument("--workers", type=int, default=4, help="worker processes (default: 4)")
    parser.add_argument("--only", default="", help="drills whose name contains this")
    parser.add_argument("--report", type=Path, help="write the outcomes there, as JSON")
    values = parser.parse_args(argv)
    binary = find_server_binary()
    if binary is None:
        say("chaos needs a real redis-server: install one, or name it in TTA_REDIS_SERVER")
        return 3
    size = Size(kills=values.kills, messages=values.messages, workers=values.workers)
    say(f"{server_version(binary)}, {size.workers} workers")
    say(ROW.format("drill", "sent", "lost", "doubled", "allowed", "took s"))
    outcomes: list[Outcome] = []
    for name in DRILLS:
        if values.only in name:
            outcome = play(name, binary, size)
            outcomes.append(outcome)
            say(shown(outcome))
    if values.report is not None:
        values.report.write_text(json.dumps([asdict(outcome) for outcome in outcomes]), encoding="utf-8")
    return 0 if outcomes and all(outcome.passed for outcome in outcomes) else 1


def shown(outcome: Outcome) -> str:
    """Return one line of the table."""
    row = ROW.format(
        outcome.drill,
        outcome.sent,
        outcome.lost,
        outcome.doubled,
        outcome.allowed,
        f"{outcome.took_s:.1f}",
    )
    return row if outcome.passed else f"{row}  FAILED"


def say(text: str) -> None:
    """Show a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
