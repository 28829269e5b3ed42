"""Owns what the doctor reports: the kinds of debris, how much of each was found and mended, and how it reads.

Pure: no Redis, no asyncio. What stands in Redis may be hostile or confidential, so a report shows names,
tokens and message ids, with everything unprintable escaped, and never a payload.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

__all__ = ["KINDS", "MAX_DETAILS", "Debris", "Kind", "Report", "as_json", "as_text", "message_of", "shown"]

MAX_DETAILS = 1_000
"""Findings that a report describes one by one; the counts are of all."""

_DETAILS_A_KIND = 10
"""Findings of one kind that the text describes one by one."""

_MAX_CHARS = 120
"""What a report shows of one name, in characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of debris: what it is, and what mending does about it; nothing where it cannot be mended."""

    name: str
    what: str
    mending: str


KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            name="unleased",
            what="reservation without a deadline: nobody would ever take it back",
            mending="put back into its level; into the dead letters where it cannot be read",
        ),
        Kind(
            name="deadline",
            what="deadline of a reservation that is not there",
            mending="removed",
        ),
        Kind(
            name="ghost",
            what="audit copy of a message that is nowhere else: it fills the inbox for ever",
            mending="moved to the dead letters with the cause `ghost`",
        ),
        Kind(
            name="surplus",
            what="more audit copies of a message than places where it is",
            mending="surplus copies removed",
        ),
        Kind(
            name="uncounted",
            what="message without an audit copy: v0 does not count it",
            mending="copy added",
        ),
        Kind(
            name="unreadable",
            what="text in a level that is no message: it stops every v0 consumer",
            mending="moved to the dead letters with the cause `undecodable`",
        ),
        Kind(
            name="dead-index-entry",
            what="name in an index whose key is gone",
            mending="removed from the index",
        ),
        Kind(
            name="unlisted",
            what="key that its index does not name",
            mending="added to the index",
        ),
        Kind(
            name="wrong-type",
            what="key that holds another type of value; what belongs to it was not looked at",
            mending="",
        ),
        Kind(
            name="nameless",
            what="key of a family of v0, or member of an index, that names nobody",
            mending="",
        ),
        Kind(
            name="registration",
            what="registration that is no JSON: v0 lists no agents at all while it is there",
            mending="",
        ),
        Kind(
            name="not-looked-at",
            what="more suspects than one run looks at; run the doctor again",
            mending="",
        ),
    )
}
"""Every kind, in the order of a report."""

MARKS = {
    "u": "unleased",
    "d": "deadline",
    "g": "ghost",
    "e": "surplus",
    "m": "uncounted",
    "b": "unreadable",
    "i": "dead-index-entry",
    "n": "unlisted",
}
"""The scripts' mark -> the kind."""


@dataclass(frozen=True, slots=True)
class Debris:
    """One thing that is not as it should be: its kind, the key it is in, what it is there, and its fate."""

    kind: str
    place: str
    subject: str
    mended: bool = False


@dataclass(slots=True, kw_only=True)
class Report:
    """What one run looked at and found."""

    server: str
    prefix: str
    repair: bool
    keys: int = 0
    inboxes: int = 0
    agents: int = 0
    found: dict[str, int] = field(default_factory=dict[str, int])
    mended: dict[str, int] = field(default_factory=dict[str, int])
    details: list[Debris] = field(default_factory=list[Debris])

    def add(self, finding: Debris) -> None:
        """Count a finding, and keep it while there is room."""
        self.found[finding.kind] = self.found.get(finding.kind, 0) + 1
        self.mended[finding.kind] = self.mended.get(finding.kind, 0) + finding.mended
        if len(self.details) < MAX_DETAILS:
            self.details.append(finding)

    @property
    def left(self) -> int:
        """How much was found and not mended."""
        return sum(self.found.values()) - sum(self.mended.values())


def shown(text: bytes | str) -> str:
    """Return a text as one line that a terminal may print: escaped where it is not printable, and cut."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "backslashreplace")
    safe = "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text[:_MAX_CHARS])
    return safe if len(text) <= _MAX_CHARS else f"{safe}..."


def message_of(entry: bytes) -> str | None:
    """Return the id of the message in an entry, None where v0 could not read it: no JSON, or no message."""
    try:
        message: Any = json.loads(entry)["message"]
        return str(message["message_id"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def as_json(report: Report, exit_code: int) -> str:
    """Return a report as one JSON object."""
    return json.dumps(
        {
            "server": report.server,
            "prefix": report.prefix,
            "repair": report.repair,
            "looked_at": {"keys": report.keys, "inboxes": report.inboxes, "agents": report.agents},
            "counts": {
                kind: {"found": report.found[kind], "mended": report.mended[kind]}
                for kind in KINDS
                if kind in report.found
            },
            "findings": [
                {
                    "kind": finding.kind,
                    "place": finding.place,
                    "subject": finding.subject,
                    "mended": finding.mended,
                }
                for finding in report.details
            ],
            "left": report.left,
            "exit_code": exit_code,
        },
        indent=2,
    )


def as_text(report: Report) -> str:
    """Return a report for people."""
    return "\n".join(_lines(report))


def _lines(report: Report) -> Iterator[str]:
    yield (
        f"{report.server}, prefix {report.prefix}: looked at {report.keys:,} keys, "
        f"{report.inboxes:,} inboxes, {report.agents:,} agents"
    )
    for kind in KINDS.values():
        count = report.found.get(kind.name, 0)
        if not count:
            continue
        fate = f"{report.mended[kind.name]:,} mended ({kind.mending})" if report.repair else "not mended"
        if not kind.mending:
            fate = "for a person to look at"
        yield f"{kind.name}: {count:,} x {kind.what}; {fate}"
        details = [finding for finding in report.details if finding.kind == kind.name]
        for finding in details[:_DETAILS_A_KIND]:
            yield f"  {finding.place}  {finding.subject}"
        if count > len(details[:_DETAILS_A_KIND]):
            yield f"  ... and {count - len(details[:_DETAILS_A_KIND]):,} more"
    if not report.found:
        yield "nothing of v0 is left behind"
    elif report.left and not report.repair:
        yield "run it again with --repair to mend what can be mended; v0 processes may go on meanwhile"
    elif report.left:
        yield f"{report.left:,} left"
    else:
        yield "all of it is mended"
