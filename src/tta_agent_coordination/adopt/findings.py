"""What a check found: one value a finding, with the mechanical change that mends it where there is one.

Owns the words of a report and the changes a file can take; knows neither the rules nor the disk.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "AddToArray",
    "Change",
    "Finding",
    "ReplaceInArray",
    "ReplaceOnLine",
    "SetValue",
    "as_json",
    "as_text",
    "unwritten",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetValue:
    """Set one key of a TOML file; missing tables on the way are made."""

    path: tuple[str, ...]
    value: str | dict[str, bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class AddToArray:
    """Append a string to an array of a TOML file unless it is there; missing tables are made."""

    path: tuple[str, ...]
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceInArray:
    """Replace one string of an array of a TOML file."""

    path: tuple[str, ...]
    old: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceOnLine:
    """Replace a text on one line (counted from 1) of any file."""

    line: int
    old: str
    new: str


type Change = SetValue | AddToArray | ReplaceInArray | ReplaceOnLine


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One violation: where, which rule, what is wrong and what to do.

    `file` is relative to the workspace, with `/`; `line` counts from 1 and is 1 where a file as a whole is
    meant. `change` is what `--fix` does about it, in `file`; None where a person has to decide.
    """

    rule: str
    file: str
    line: int = 1
    what: str
    remedy: str
    change: Change | None = None


def unwritten(path: str, error: OSError) -> Finding:
    """The finding for a file that could not be replaced."""
    return Finding(
        rule="input.unwritable",
        file=path,
        what=f"cannot be written: {error.strerror}",
        remedy="give the user who runs this the right to write its folder; it was left as it is",
    )


def as_text(findings: Sequence[Finding]) -> str:
    """One line a finding, in the order given, each as `file:line: rule: what; remedy`."""
    return "".join(f"{each.file}:{each.line}: {each.rule}: {each.what}; {each.remedy}\n" for each in findings)


def as_json(findings: Sequence[Finding], *, files: int, rules: int) -> str:
    """The findings as one JSON object, for programs.

    Args:
        findings: In the order given.
        files: How many files were looked at.
        rules: How many rules were applied.
    """
    rows = [
        {
            "rule": each.rule,
            "file": each.file,
            "line": each.line,
            "what": each.what,
            "remedy": each.remedy,
            "fixable": each.change is not None,
        }
        for each in findings
    ]
    return json.dumps({"files": files, "rules": rules, "findings": rows}, indent=2) + "\n"
