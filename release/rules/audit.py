"""What an audit may conclude: locked requirements, advisories about them, and the licences they are under.

Pure. What could not be audited is a problem like a vulnerability: silence of a service is no clean bill.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from release.model import Problem

__all__ = [
    "DATA",
    "Locked",
    "Rulebook",
    "advisory_problems",
    "licence_of",
    "licence_problems",
    "locked",
]

DATA = "release/audit.toml"
"""The file with licences and exceptions."""

_CLASSIFIERS = {
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: MIT License": "MIT",
    "License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "License :: OSI Approved :: Python Software Foundation License": "PSF-2.0",
}
"""Classifiers that name one licence; "BSD License" names several and is not here."""
_OPERATORS = frozenset(["AND", "OR", "WITH", "(", ")"])


class Rulebook(BaseModel):
    """What `release/audit.toml` says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    licences: frozenset[str]
    stated: Mapping[str, str] = Field(default_factory=dict[str, str])
    ignored: Mapping[str, str] = Field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Locked:
    """One requirement of a hash lock."""

    name: str
    """Normalised."""
    version: str


def locked(text: str, *, everywhere: bool = False) -> list[Locked]:
    """Read a hash lock: the requirements that apply to this machine, or with `everywhere` to any, by name.

    Raises:
        ValueError: A line is not one pinned requirement.
    """
    found: list[Locked] = []
    for line in text.replace("\\\n", " ").splitlines():
        words = [word for word in line.split() if not word.startswith("--hash=")]
        if not words:
            continue
        try:
            requirement = Requirement(" ".join(words))
        except InvalidRequirement as error:
            raise ValueError(f"{line.strip()!r} is no requirement: {error}") from None
        pins = [each.version for each in requirement.specifier if each.operator == "=="]
        if len(pins) != 1 or len(requirement.specifier) != 1:
            raise ValueError(f"{requirement} is not pinned to one version")
        if everywhere or requirement.marker is None or requirement.marker.evaluate():
            name = canonicalize_name(requirement.name)
            found.append(Locked(name=name, version=pins[0]))
    return sorted(found)


class _Vulnerability(BaseModel):
    id: str
    fix_versions: Sequence[str] = ()
    aliases: Sequence[str] = ()


class _Dependency(BaseModel):
    name: str
    version: str = ""
    vulns: Sequence[_Vulnerability] | None = None
    skip_reason: str = ""


class _Answer(BaseModel):
    dependencies: Sequence[_Dependency]


def advisory_problems(
    output: str, wanted: Iterable[Locked], ignored: Mapping[str, str]
) -> tuple[list[Problem], Literal["audited", "not audited"]]:
    """Judge what pip-audit printed (`--format json`) about `wanted`.

    Returns:
        Every vulnerability that is not ignored with a reason, and every requirement that was not audited;
        and whether all were.
    """
    try:
        answer = _Answer.model_validate_json(output)
    except ValidationError:
        shown = output.strip().splitlines()[-1][:200] if output.strip() else "nothing"
        return [
            _unaudited("the whole audit", f"ended without an answer that can be read; it printed: {shown}")
        ], "not audited"
    told = {
        (canonicalize_name(each.name), each.version): each
        for each in answer.dependencies
        if each.vulns is not None
    }
    silent: dict[str, str] = {
        canonicalize_name(each.name): each.skip_reason for each in answer.dependencies if each.vulns is None
    }
    problems: list[Problem] = []
    missing: list[Locked] = []
    for one in sorted(set(wanted)):
        found = told.get((canonicalize_name(one.name), one.version))
        if found is None:
            missing.append(one)
            continue
        for vulnerability in found.vulns or ():
            names = {vulnerability.id, *vulnerability.aliases}
            if not names & {*ignored}:
                fixed = ", ".join(vulnerability.fix_versions) or "no version yet"
                problems.append(
                    Problem(
                        rule="audit.vulnerable",
                        where=f"{one.name} {one.version}",
                        what=f"has the known vulnerability {vulnerability.id}; fixed in {fixed}",
                        remedy=f"`nox -s lock -- --again` where a fix is out; else read it, and state in "
                        f"{DATA} [ignored] why it does not concern this project",
                    )
                )
    if missing:
        first = missing[0]
        reason = silent.get(first.name) or "the answer does not mention it"
        others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        problems.append(
            _unaudited(f"{first.name} {first.version}{others}", f"could not be audited: {reason}")
        )
    return problems, "not audited" if missing else "audited"


def _unaudited(where: str, what: str) -> Problem:
    return Problem(
        rule="audit.answered",
        where=where,
        what=what,
        remedy="see whether the advisory service is reachable from here, then run the same command again",
    )


def licence_of(
    expression: str | None, classifiers: Sequence[str], stated: str | None
) -> tuple[str | None, str]:
    """The SPDX expression a package is under, and where that is from; None when nothing says it."""
    for text, source in ((expression, "its License-Expression"), (stated, f"{DATA} [stated]")):
        if text:
            try:
                return canonicalize_license_expression(text), source
            except InvalidLicenseExpression:
                continue
    known = sorted({_CLASSIFIERS[each] for each in classifiers if each in _CLASSIFIERS})
    return (" AND ".join(known), "its classifiers") if known else (None, "nowhere")


def licence_problems(found: Mapping[str, str | None], rulebook: Rulebook) -> list[Problem]:
    """Judge each package's expression: one side of an OR must be allowed, both sides of an AND."""
    problems: list[Problem] = []
    for name, expression in sorted(found.items()):
        if expression is None:
            problems.append(
                Problem(
                    rule="audit.licence-known",
                    where=name,
                    what="says nowhere under which licence it is",
                    remedy=f"read its licence file and state the SPDX identifier in {DATA} [stated]",
                )
            )
        elif not _allowed(expression, rulebook.licences):
            problems.append(
                Problem(
                    rule="audit.licence-allowed",
                    where=name,
                    what=f"is under {expression}, which is not among the allowed licences",
                    remedy=f"do without it, or add the licence to {DATA} with the reason why it may be",
                )
            )
    problems.extend(
        Problem(
            rule="audit.stated-is-needed",
            where=f"{DATA} [stated] {name}",
            what="speaks of a package that is not locked",
            remedy="delete the line",
        )
        for name in sorted({*rulebook.stated} - {*found})
    )
    return problems


def _allowed(expression: str, licences: frozenset[str]) -> bool:
    """Evaluate a canonical SPDX expression: identifiers become truth values, the operators stay.

    An exception (`WITH ...`) only ever allows more, so it is dropped.
    """
    words = (
        re.sub(r"\s+WITH\s+\S+?(?=[\s)]|$)", "", expression).replace("(", " ( ").replace(")", " ) ").split()
    )
    return _either([word if word in _OPERATORS else str(word in licences) for word in words])


def _either(words: list[str]) -> bool:
    """`a OR b`, where AND binds closer."""
    value = _both(words)
    while words and words[0] == "OR":
        words.pop(0)
        value = _both(words) or value
    return value


def _both(words: list[str]) -> bool:
    value = _single(words)
    while words and words[0] == "AND":
        words.pop(0)
        value = _single(words) and value
    return value


def _single(words: list[str]) -> bool:
    word = words.pop(0)
    if word == "(":
        value = _either(words)
        words.pop(0)
        return value
    return word == "True"


def rulebook_of(table: object) -> Rulebook:
    """Check what was read from `release/audit.toml`.

    Raises:
        ValueError: It is not what it should be.
    """
    return Rulebook.model_validate_json(json.dumps(table))
