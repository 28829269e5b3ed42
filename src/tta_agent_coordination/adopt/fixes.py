"""Carrying out the changes of findings: comments and formatting are kept, nothing else is touched.

Pure: text in, text out. tomlkit edits TOML; other files are edited on the one line a finding names.
"""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import tomlkit

from tta_agent_coordination.adopt.findings import (
    AddToArray,
    Change,
    Finding,
    ReplaceInArray,
    ReplaceOnLine,
    SetValue,
)
from tta_agent_coordination.adopt.tables import BOM

__all__ = ["changed", "diff"]


def changed(texts: Mapping[str, str], findings: Sequence[Finding]) -> dict[str, str]:
    """The new text of every file that some finding's change alters.

    Args:
        texts: The text of each file by its path.
        findings: Those without a change are left out.
    """
    by_file: dict[str, list[Change]] = {}
    for finding in findings:
        if finding.change is not None:
            by_file.setdefault(finding.file, []).append(finding.change)
    new = {path: _apply(texts[path], changes) for path, changes in by_file.items()}
    return {path: text for path, text in new.items() if text != texts[path]}


def diff(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    """A unified diff of every changed file, by path."""
    pieces: list[str] = []
    for path in sorted(new):
        before, after = old[path].splitlines(keepends=True), new[path].splitlines(keepends=True)
        pieces += (
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
            for line in difflib.unified_diff(before, after, f"a/{path}", f"b/{path}")
        )
    return "".join(pieces)


def _apply(text: str, changes: Sequence[Change]) -> str:
    lines = text.splitlines(keepends=True)
    for change in changes:
        if isinstance(change, ReplaceOnLine):
            lines[change.line - 1] = lines[change.line - 1].replace(change.old, change.new)
    text = "".join(lines)
    edits = [change for change in changes if not isinstance(change, ReplaceOnLine)]
    if not edits:
        return text
    document = tomlkit.parse(text.removeprefix(BOM))
    for change in edits:
        _edit(document, change)
    return (BOM if text.startswith(BOM) else "") + tomlkit.dumps(document)


def _edit(document: tomlkit.TOMLDocument, change: SetValue | AddToArray | ReplaceInArray) -> None:
    here: Any = document
    for key in change.path[:-1]:
        if key not in here:
            here[key] = tomlkit.table(is_super_table=key != change.path[-2])
        here = here[key]
    key = change.path[-1]
    match change:
        case SetValue(value=dict() as value):
            here[key] = tomlkit.inline_table()
            for word, said in value.items():
                here[key][word] = said
        case SetValue(value=value):
            here[key] = value
        case AddToArray(value=value):
            if key not in here:
                here[key] = tomlkit.array()
            here[key].append(value)
        case _:
            here[key][here[key].index(change.old)] = change.new
