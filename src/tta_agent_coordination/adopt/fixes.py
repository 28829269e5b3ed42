"""Carrying out the changes of findings: comments and formatting are kept, nothing else is touched.

Pure: text in, text out. tomlkit edits TOML; other files are edited on the one line a finding names.
"""

import difflib
import io
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
from tta_agent_coordination.adopt.tables import BOM, at, is_a

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
        before, after = _lines(old[path]), _lines(new[path])
        pieces += (
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
            for line in difflib.unified_diff(before, after, f"a/{path}", f"b/{path}")
        )
    return "".join(pieces)


def _lines(text: str) -> list[str]:
    """The lines as other programs count them: a form feed or the like ends none."""
    return [*io.StringIO(text)]


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
    """Carry out one change; what stands there and is no table or array is left to a person."""
    here: Any = document
    for key in change.path[:-1]:
        if is_a(dict, here) and key not in here:
            here[key] = tomlkit.table()
        here = at(here, key)
    if not is_a(dict, here):
        return
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
            if is_a(list, here[key]):
                here[key].append(value)
        case _:
            if is_a(list, here[key]):
                here[key][here[key].index(change.old)] = change.new
