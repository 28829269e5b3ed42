"""What the headers of the Lua scripts say, as pages: scripts with their contracts, and the keys they work on.

Pure. A header is the block of comments that a script starts with; `tests/library/test_scripts.py` holds each
one against its script and its typed function.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Entry", "Header", "key_families", "keys_page", "read_header", "scripts_page"]

_SECTION = re.compile(r"^([A-Z][A-Za-z]+):(?: (.*))?$")
_ENTRY = re.compile(r"^ {1,2}(\d+\S*) +(\S+) +(\S+) +(.*)$")

_HEAD = ("| | name | type | what it is |", "|---|---|---|---|")

_SCRIPTS = """\
# Scripts

Each operation is one of these Lua scripts, run by EVALSHA in one round trip. The page is read from
the headers of the files in `src/tta_agent_coordination/_redis/lua/`.

"""

_KEYS = """\
# Keys

Every key begins with the prefix, `ao` unless you chose another. The keys below are what
`src/tta_agent_coordination/_keys.py` makes for the agent `world_builder:main` and for the breaker
`payments`; with `hash_tags=True` the part shown in braces below shares one cluster slot.

| of | key | with `hash_tags` |
|---|---|---|
{own}

## What the scripts keep in them

| in the scripts | type | holds | touched by |
|---|---|---|---|
{touched}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One key or argument of a script."""

    place: str
    name: str
    kind: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The contract of one script."""

    name: str
    purpose: str
    keys: Sequence[Entry] = ()
    arguments: Sequence[Entry] = ()
    notes: Mapping[str, str] = field(default_factory=dict[str, str])
    """The other sections, by title: RETURNS, INVARIANT, COST."""


def read_header(name: str, source: str) -> Header:
    """Read the header of the script called `name`.

    Raises:
        ValueError: It has no Purpose.
    """
    sections: dict[str, list[str]] = {}
    title = ""
    for line in source.splitlines():
        if not line.startswith("--"):
            break
        text = line.removeprefix("--").removeprefix(" ")
        if found := _SECTION.match(text):
            title = found[1]
            sections[title] = [found[2]] if found[2] else []
        elif title:
            sections[title].append(text)
    if "Purpose" not in sections:
        raise ValueError(f"{name}.lua has no Purpose in its header: begin it with `-- Purpose: ...`")
    return Header(
        name=name,
        purpose=_joined(sections.pop("Purpose")),
        keys=_entries(sections.pop("KEYS", [])),
        arguments=_entries(sections.pop("ARGV", [])),
        notes={title: _joined(lines) for title, lines in sections.items()},
    )


def _joined(lines: Sequence[str]) -> str:
    return " ".join(line.strip() for line in lines)


def _entries(lines: Sequence[str]) -> list[Entry]:
    """Numbered lines, where a line that is none goes on with the text before it."""
    entries: list[Entry] = []
    for line in lines:
        if found := _ENTRY.match(line):
            entries.append(Entry(place=found[1], name=found[2], kind=found[3], text=found[4].strip()))
        elif entries:
            last = entries.pop()
            text = f"{last.text} {line.strip()}"
            entries.append(Entry(place=last.place, name=last.name, kind=last.kind, text=text))
    return entries


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _table(entries: Sequence[Entry]) -> list[str]:
    return [
        *_HEAD,
        *(f"| {each.place} | `{each.name}` | {each.kind} | {_cell(each.text)} |" for each in entries),
        "",
    ]


def scripts_page(headers: Sequence[Header]) -> str:
    """The page of all scripts, in the order given."""
    lines: list[str] = []
    for header in headers:
        lines += [f"## {header.name}", "", f"{header.purpose[:1].upper()}{header.purpose[1:]}", ""]
        if header.keys:
            lines += ["**KEYS**", "", *_table(header.keys)]
        if header.arguments:
            lines += ["**ARGV**", "", *_table(header.arguments)]
        for title, text in header.notes.items():
            body = f"`{text}`" if title == "RETURNS" else text
            lines += [f"**{title}**: {body}", ""]
    return _SCRIPTS + "\n".join(lines)


def key_families(headers: Sequence[Header]) -> dict[str, tuple[str, str, list[str]]]:
    """Key name as the headers call it -> its type, what it holds, and the scripts that touch it."""
    found: dict[str, tuple[str, str, list[str]]] = {}
    for header in headers:
        for each in header.keys:
            _, _, users = found.setdefault(each.name, (each.kind, each.text, []))
            users.append(header.name)
    return found


def keys_page(patterns: Sequence[tuple[str, str, str]], headers: Sequence[Header]) -> str:
    """The page of all keys.

    Args:
        patterns: What owns the key, its name in the code, and the key as it stands in Redis, for an
            example agent.
        headers: The scripts that touch them.
    """
    own = [f"| {owner} | `{plain}` | `{tagged}` |" for owner, plain, tagged in patterns]
    touched = [
        f"| `{name}` | {kind} | {_cell(text)} | {', '.join(users)} |"
        for name, (kind, text, users) in sorted(key_families(headers).items())
    ]
    return _KEYS.format(own="\n".join(own), touched="\n".join(touched))
