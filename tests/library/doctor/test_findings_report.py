"""The doctor's report, word by word: programs read the one form, and operators act on the other."""

from __future__ import annotations

import json

from tta_agent_coordination.doctor.findings import KINDS, Debris, Report, as_json, as_text, shown


def report(*, repair: bool, ghosts: int = 1) -> Report:
    """Return a report of ghosts that were mended if asked to, and of a key that names nobody."""
    made = Report(server="redis://here:1/0", prefix="ao", repair=repair, keys=12_000, inboxes=3_000, agents=7)
    made.add(Debris("nameless", "ao:queue:x", "key"))
    for n in range(ghosts):
        made.add(Debris("ghost", "ao:queue:a:b", f"message-{n}", mended=repair))
    return made


def test_json_has_the_names_that_programs_read() -> None:
    """Broken: a program that watches the doctor finds no number under the name it was told."""
    text = as_json(report(repair=True), 1)
    assert json.loads(text) == {
        "server": "redis://here:1/0",
        "prefix": "ao",
        "repair": True,
        "looked_at": {"keys": 12_000, "inboxes": 3_000, "agents": 7},
        "counts": {"ghost": {"found": 1, "mended": 1}, "nameless": {"found": 1, "mended": 0}},
        "findings": [
            {"kind": "nameless", "place": "ao:queue:x", "subject": "key", "mended": False},
            {"kind": "ghost", "place": "ao:queue:a:b", "subject": "message-0", "mended": True},
        ],
        "left": 1,
        "exit_code": 1,
    }
    assert text.splitlines()[1] == '  "server": "redis://here:1/0",'


def test_text_of_a_look_says_that_nothing_was_changed() -> None:
    """Broken: an operator believes that a look has mended something."""
    assert as_text(report(repair=False)).splitlines() == [
        "redis://here:1/0, prefix ao: looked at 12,000 keys, 3,000 inboxes, 7 agents",
        "ghost: 1 x audit copy of a message that is nowhere else: it fills the inbox for ever; not mended",
        "  ao:queue:a:b  message-0",
        f"nameless: 1 x {KINDS['nameless'].what}; for a person to look at",
        "  ao:queue:x  key",
        "run it again with --repair to mend what can be mended; v0 processes may go on meanwhile",
    ]


def test_text_of_a_repair_says_how_each_kind_was_mended() -> None:
    """Broken: an operator does not know where a message went."""
    lines = as_text(report(repair=True, ghosts=10)).splitlines()
    assert lines[1].endswith("; 10 mended (moved to the dead letters with the cause `ghost`)")
    assert lines[2:12] == [f"  ao:queue:a:b  message-{n}" for n in range(10)]
    assert lines[12].startswith("nameless: 1 x ")
    assert lines[-1] == "1 left"


def test_name_is_cut_only_when_it_is_longer_than_what_is_shown() -> None:
    """Broken: a whole name looks like the beginning of one."""
    assert shown("x" * 120) == "x" * 120
    assert shown(b"x" * 121) == "x" * 120 + "..."
