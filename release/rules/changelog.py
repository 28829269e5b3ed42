"""CHANGELOG.md by Keep a Changelog 1.1: reading, judging, and dating what is unreleased."""

import datetime as dt
import re
from dataclasses import dataclass

from packaging.version import InvalidVersion, Version

from release.model import Problem

__all__ = [
    "CATEGORIES",
    "FILE",
    "MAX_AGE",
    "UNRELEASED",
    "Changelog",
    "Link",
    "Section",
    "dated",
    "format_problems",
    "parse",
    "released",
    "with_release",
]

FILE = "CHANGELOG.md"
UNRELEASED = "Unreleased"
CATEGORIES = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
MAX_AGE = dt.timedelta(days=3)
"""How long before its release, in UTC days, a section may be dated: a review, a weekend."""

_HEADING = re.compile(r"^## +\[?(?P<name>[^\]\s]+)\]?(?: +- +(?P<date>\S+))?.*$")
_LINK = re.compile(r"^\[(?P<name>[^\]]+)\]: +(?P<url>\S+)$")
_ENTRY = re.compile(r"^[-*] +\S")
_FENCE = re.compile(r"^ {0,3}(```|~~~)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One `## ` section."""

    name: str
    """`Unreleased`, or a version as written."""
    date: str
    """As written; empty for Unreleased."""
    line: int
    """The heading's line number, from 1."""
    body: str
    """Everything below the heading, without blank lines around it and without link definitions."""

    @property
    def entries(self) -> int:
        """How many list items it has."""
        return sum(1 for line in self.body.splitlines() if _ENTRY.match(line))

    @property
    def version(self) -> Version | None:
        """Its version; None for Unreleased and for what is not a version."""
        try:
            return Version(self.name)
        except InvalidVersion:
            return None

    @property
    def day(self) -> dt.date | None:
        """Its date; None when there is none or it is not YYYY-MM-DD."""
        try:
            return dt.date.fromisoformat(self.date) if len(self.date) == len("2026-01-31") else None
        except ValueError:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link definition: `[name]: url`."""

    name: str
    url: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Changelog:
    """A changelog in its parts."""

    sections: tuple[Section, ...]
    """As they stand, newest first."""
    links: tuple[Link, ...]
    """Its link definitions, as they stand."""

    def section(self, version: Version) -> Section | None:
        """The section of a version."""
        return next((section for section in self.sections if section.version == version), None)

    @property
    def unreleased(self) -> Section | None:
        """The section on top that collects what comes next."""
        return next((section for section in self.sections if section.name == UNRELEASED), None)


def parse(text: str) -> Changelog:
    """Take a changelog apart; what it says is not judged, and nothing in it is an error."""
    found: list[tuple[int, re.Match[str], list[str]]] = []
    links: list[Link] = []
    fenced = False
    for number, line in enumerate(text.splitlines(), start=1):
        fenced ^= _FENCE.match(line) is not None
        heading = None if fenced else _HEADING.match(line)
        link = None if fenced else _LINK.match(line)
        if heading:
            found.append((number, heading, []))
        elif link:
            links.append(Link(name=link["name"], url=link["url"], line=number))
        elif found:
            found[-1][2].append(line)
    return Changelog(
        sections=tuple(
            Section(
                name=heading["name"],
                date=heading["date"] or "",
                line=number,
                body="\n".join(body).strip("\n"),
            )
            for number, heading, body in found
        ),
        links=tuple(links),
    )


def format_problems(text: str) -> list[Problem]:
    """What keeps a changelog from being one a person and the release tools can rely on."""
    changelog = parse(text)
    problems: list[Problem] = []

    def wrong(rule: str, section: Section, what: str, remedy: str) -> None:
        where = f"{FILE} line {section.line} [{section.name}]"
        problems.append(Problem(rule=f"changelog.{rule}", where=where, what=what, remedy=remedy))

    seen: set[object] = set()
    newest: Version | None = None
    for section in changelog.sections:
        key = section.version or section.name
        if key in seen:
            wrong("once", section, "has two sections", "join them")
        seen.add(key)
        for line in section.body.splitlines():
            category = line.removeprefix("### ").strip()
            if line.startswith("### ") and category not in CATEGORIES:
                wrong(
                    "category", section, f"has a category {category!r}", f"use one of {', '.join(CATEGORIES)}"
                )
        if section.name == UNRELEASED:
            continue
        if section.version is None or str(section.version) != section.name:
            wrong(
                "normal-version",
                section,
                "is not a version in normal form",
                "write `## [0.2.0] - 2026-01-31`",
            )
            continue
        if section.day is None:
            wrong("date", section, f"has the date {section.date!r}", "write YYYY-MM-DD behind the version")
        if newest is not None and section.version > newest:
            wrong("order", section, f"stands below {newest}", "put the newest section on top")
        newest = section.version
    if not changelog.sections or changelog.sections[0].name != UNRELEASED:
        problems.append(
            Problem(
                rule="changelog.unreleased-first",
                where=FILE,
                what=f"its first section is not {UNRELEASED}",
                remedy=f"add `## [{UNRELEASED}]` on top",
            )
        )
    return problems


def dated(text: str, version: Version, *, today: dt.date) -> list[Problem]:
    """Why a changelog does not fit the release of `version` on `today` (UTC); empty when it does."""
    section = parse(text).section(version)
    if section is None:
        return [
            Problem(
                rule="changelog.has-version",
                where=FILE,
                what=f"has no section for {version}",
                remedy=f"run `nox -s prepare -- {version}` and commit the result before tagging",
            )
        ]
    where = f"{FILE} line {section.line} [{section.name}]"
    problems: list[Problem] = []
    oldest = today - MAX_AGE
    if section.day is None or not oldest <= section.day <= today:
        problems.append(
            Problem(
                rule="changelog.dated",
                where=where,
                what=f"is dated {section.date or 'not at all'}; today it must be {oldest} to {today} (UTC)",
                remedy="put the day of the release there, commit, and tag that commit",
            )
        )
    if not section.entries:
        problems.append(
            Problem(
                rule="changelog.says-something",
                where=where,
                what="lists no change",
                remedy="write down what a user will notice, one list item each",
            )
        )
    return problems


def released(text: str) -> list[Version]:
    """Every version that has a section, as they stand."""
    return [section.version for section in parse(text).sections if section.version is not None]


def with_release(
    text: str, version: Version, *, today: dt.date, repository: str, before: Version | None
) -> str:
    """The changelog with Unreleased turned into the section of `version`, and a new, empty Unreleased on top.

    Args:
        text: The changelog; it must have an Unreleased section.
        version: What is released.
        today: The date of its section.
        repository: The address that comparisons hang below, without a trailing slash.
        before: The release before it, which its link compares with; None for the first one.
    """
    changelog = parse(text)
    top = changelog.unreleased
    if top is None:
        raise ValueError(f"the changelog has no {UNRELEASED} section")
    first = f"{repository}/releases/tag/v{version}"
    fresh = [
        f"[{UNRELEASED}]: {repository}/compare/v{version}...HEAD",
        f"[{version}]: {first if before is None else f'{repository}/compare/v{before}...v{version}'}",
    ]
    stale = [link.line for link in changelog.links if link.name in (UNRELEASED, str(version))]
    kept = [link.line for link in changelog.links if link.line not in stale]
    place = min((*stale, *kept), default=None)
    lines: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if number == place:
            lines += fresh
        if number == top.line:
            lines += [f"## [{UNRELEASED}]", "", f"## [{version}] - {today.isoformat()}"]
        elif number not in stale:
            lines.append(line)
    if place is None:
        lines += ["", *fresh]
    return "\n".join(lines) + "\n"
