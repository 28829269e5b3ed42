"""What a workflow job hands on to the jobs that need it: the ledger's head, the digest of its artefact list.

A chain shows accidents, not attackers; so these two travel beside the ledger, as job outputs, and the next
job refuses a ledger that does not fit them (`--expect-head`, `--expect-digests`).
"""

import os
from collections.abc import Mapping
from pathlib import Path

from release.ledger import Ledger

__all__ = ["hand_on"]


def hand_on(folder: Path, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Append `head=` and `digests=` to the file that GitHub Actions names in `GITHUB_OUTPUT`.

    Args:
        folder: The ledger's folder. Without a ledger there is nothing to hand on.
        environ: The environment; this process's by default. Outside a workflow nothing is written.

    Returns:
        What was handed on, by name.

    Raises:
        Refused: the ledger is broken.
    """
    target = (os.environ if environ is None else environ).get("GITHUB_OUTPUT")
    if not target or not (folder / "ledger.jsonl").exists():
        return {}
    ledger = Ledger.read(folder)
    values = {"head": ledger.head, "digests": ledger.digests}
    with Path(target).open("a", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{name}={value}\n" for name, value in values.items())
    return values
