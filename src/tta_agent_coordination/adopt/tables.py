"""Reading TOML that somebody else wrote: values that may be missing or of another type, and their lines.

tomllib gives values without lines; the lines found here are for a person who opens the file.
"""

import re
from typing import Any, cast

__all__ = ["BOM", "at", "is_a", "line_of", "strings", "table"]

BOM = "\N{BYTE ORDER MARK}"
"""What some editors begin a file with; uv reads over it, tomllib and tomlkit do not."""

_HEADER = re.compile(r"^\s*\[{1,2}\s*(?P<name>[^\[\]]+?)\s*\]{1,2}\s*(?:#.*)?$")
_KEY = re.compile(
    r"^\s*(?P<name>(?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*'))*)\s*="
)
_PART = re.compile(r"[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*'")


def at(data: object, *path: str) -> object:
    """The value below nested tables; None where one is missing or is no table."""
    for key in path:
        if not isinstance(data, dict):
            return None
        data = cast("dict[str, object]", data).get(key)
    return data


def table(data: object, *path: str) -> dict[str, Any]:
    """The table at a path; empty where there is none."""
    value = at(data, *path)
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def strings(data: object, *path: str) -> list[str]:
    """The strings of an array at a path; a single string counts as one, anything else is left out."""
    value = at(data, *path)
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        return []
    return [item for item in cast("list[object]", value) if isinstance(item, str)]


def is_a(kind: type, value: object) -> bool:
    """Whether a value is of a kind, for a value of which no checker knows any."""
    return isinstance(value, kind)


def line_of(text: str, *path: str, needle: str = "") -> int:
    """The line, from 1, where a key stands, or the first line from there on that holds `needle`.

    The longest part of the path that can be found counts: a key inside an inline table has its table's line.
    """
    best, best_length = 1, 0
    inside: tuple[str, ...] = ()
    lines = text.removeprefix(BOM).splitlines()
    for number, line in enumerate(lines, start=1):
        if header := _HEADER.match(line):
            full = inside = _parts(header["name"])
        elif key := _KEY.match(line):
            full = inside + _parts(key["name"])
        else:
            continue
        if len(full) > best_length and path[: len(full)] == full:
            best, best_length = number, len(full)
    if needle and best_length:
        for number in range(best, len(lines) + 1):
            if needle in lines[number - 1]:
                return number
    return best


def _parts(name: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in _PART.findall(name))
