"""The `doctor` stage: what this checkout can show of the release set-up, and what only a person can look up.

Changes nothing and asks no network. It ends as refused only where something is wrong; what is merely open
says what comes next.
"""

import enum
import os
import re
import shutil
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from release import pythons
from release.checkout import ALLOWED_SIGNERS
from release.context import Context
from release.locks import groups
from release.model import Checked, Kind, Problem, Refused, Report
from release.publisher import FILE as PUBLISHER
from release.publisher import PublisherFacts
from release.rules import pins, release_graph, workflows

__all__ = ["CHECKS", "RUNBOOK", "Finding", "State", "run"]

RUNBOOK = "docs/how-to/release.md"


class State(enum.StrEnum):
    """What was seen."""

    OK = "ok"
    NOT_YET = "not yet"
    """Open: somebody has to do it before a release, and nothing is broken until then."""
    UNSEEN = "cannot be seen from here"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    what: str
    state: State
    found: str
    remedy: str = ""
    """What to do; empty when there is nothing to do."""


def run(stage: str, context: Context) -> Report:
    """Look at everything and show it; refused when something is wrong."""
    del stage
    findings = [finding for check in CHECKS for finding in _looked(check, context)]
    counts = {state: sum(finding.state is state for finding in findings) for state in State}
    checked = [Checked(what=each.what, found=_said(each)) for each in findings]
    problems = [
        Problem(rule="doctor.wrong", where=each.what, what=each.found, remedy=each.remedy)
        for each in findings
        if each.state is State.WRONG
    ]
    return Report(
        kind=Kind.REFUSED if problems else Kind.DONE,
        sentence=", ".join(f"{counts[state]} {state.value}" for state in State),
        checked=checked,
        problems=problems,
        figures={state.name.lower(): counts[state] for state in State},
    )


def _looked(check: Callable[[Context], Iterator[Finding]], context: Context) -> list[Finding]:
    """What one check finds; a file that it cannot read is a finding as well, and ends no other check."""
    try:
        return list(check(context))
    except (OSError, ValueError, LookupError, RecursionError) as error:
        return [
            Finding(
                what=check.__name__.removeprefix("_"),
                state=State.WRONG,
                found=f"cannot be looked at: {type(error).__name__}: {error}",
                remedy="restore the file from git, or mend what is named in it",
            )
        ]


def _said(finding: Finding) -> str:
    remedy = f" -> {finding.remedy}" if finding.remedy else ""
    return f"{finding.state.value}: {finding.found}{remedy}"


def _publisher(context: Context) -> Iterator[Finding]:
    try:
        facts = PublisherFacts.read(context.root)
    except Refused as refused:
        for problem in refused.problems:
            yield Finding(what=problem.where, state=State.WRONG, found=problem.what, remedy=problem.remedy)
        return
    environments = " and ".join(facts.environments.values())
    found = f"{facts.owner}/{facts.repository}, {facts.workflow}, environments {environments}"
    yield Finding(what=PUBLISHER, state=State.OK, found=found)
    what = f"{PUBLISHER} owner-id"
    if facts.owner_id:
        yield Finding(what=what, state=State.OK, found=facts.owner_id)
    else:
        remedy = f"write what `gh api users/{facts.owner} --jq .id` prints into it"
        yield Finding(what=what, state=State.NOT_YET, found="is empty", remedy=remedy)
    url = _git(context, "remote", "get-url", "origin")
    path = url.removesuffix(".git").replace(":", "/").lower()
    if path.endswith(f"/{facts.owner}/{facts.repository}".lower()):
        yield Finding(what="remote origin", state=State.OK, found=f"is {facts.owner}/{facts.repository}")
    else:
        remedy = f"release from a clone of https://github.com/{facts.owner}/{facts.repository}"
        found = "is another repository" if url else "is not set"
        yield Finding(what="remote origin", state=State.NOT_YET, found=found, remedy=remedy)


def _workflows(context: Context) -> Iterator[Finding]:
    proven = len(workflows.RULES) + len(release_graph.RULES) + len(pins.RULES)
    judged = {
        "workflows": (workflows.check(context.root), f"{proven} graph properties are proven"),
        pins.FILE: (pins.check(context.root), "every action is listed, by its full SHA"),
    }
    for what, (problems, found) in judged.items():
        if not problems:
            yield Finding(what=what, state=State.OK, found=found)
        for problem in problems:
            yield Finding(what=problem.where, state=State.WRONG, found=problem.what, remedy=problem.remedy)


_SIGNER = re.compile(
    r'\S+ (?:\S+,)?namespaces="git"(?:,\S+)? (?:ssh-|ecdsa-sha2-|sk-ssh-|sk-ecdsa-sha2-)\S+ \S+'
)
"""A line of `ALLOWED_SIGNERS`; the kinds that begin with sk are keys on a token that somebody must touch."""


def _signers(context: Context) -> Iterator[Finding]:
    path = context.root / ALLOWED_SIGNERS
    if not path.is_file():
        remedy = "restore it from git: a release is signed by a key that it lists"
        yield Finding(what=ALLOWED_SIGNERS, state=State.WRONG, found="does not exist", remedy=remedy)
        return
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    keys = [line for line in lines if not line.startswith("#")]
    broken = [line for line in keys if not _SIGNER.match(line)]
    if broken:
        remedy = f'write `name@example.org namespaces="git" ssh-ed25519 AAAA...`; {RUNBOOK}, step 4'
        found = f"{len(broken)} of {len(keys)} lines are not a signer for git"
        yield Finding(what=ALLOWED_SIGNERS, state=State.WRONG, found=found, remedy=remedy)
    elif keys:
        yield Finding(what=ALLOWED_SIGNERS, state=State.OK, found=f"{len(keys)} keys may sign")
    else:
        remedy = f"a maintainer adds the public half of a key; {RUNBOOK}, step 4"
        yield Finding(what=ALLOWED_SIGNERS, state=State.NOT_YET, found="lists no key", remedy=remedy)


def _signing(context: Context) -> Iterator[Finding]:
    form, key = _git(context, "config", "gpg.format"), _git(context, "config", "user.signingkey")
    if form == "ssh" and key:
        yield Finding(what="git tag --sign", state=State.OK, found="signs with an SSH key")
        return
    remedy = f"`git config gpg.format ssh` and `git config user.signingkey KEY.pub`; {RUNBOOK}, step 4"
    found = f"gpg.format is {form or 'not set'}, user.signingkey is {'set' if key else 'not set'}"
    yield Finding(what="git tag --sign", state=State.NOT_YET, found=found, remedy=remedy)


def _pythons(context: Context) -> Iterator[Finding]:
    path = context.root / ".python-version"
    words = path.read_text(encoding="utf-8").split() if path.is_file() else []
    if words and set(words) <= set(pythons.SUPPORTED):
        yield Finding(what=".python-version", state=State.OK, found=", ".join(words))
    else:
        remedy = f"name Pythons of {', '.join(pythons.SUPPORTED)}, one a line"
        found = f"names {', '.join(words) or 'no Python'}"
        yield Finding(what=".python-version", state=State.WRONG, found=found, remedy=remedy)
    here = list(pythons.found())
    absent = [version for version in pythons.SUPPORTED if version not in here]
    if absent:
        remedy = "the workflow has all of them; install them here to run every leg on this machine"
        found = f"{', '.join(here) or 'none'} here, without {', '.join(absent)}"
        yield Finding(what="Pythons", state=State.NOT_YET, found=found, remedy=remedy)
    else:
        yield Finding(what="Pythons", state=State.OK, found=", ".join(here))


PROGRAMS: Mapping[str, str] = {
    "git": "everything",
    "ssh-keygen": "signing tags, and judging signatures",
    "uv": "making environments quickly; nox[uv] brings it",
    "gh": "announcing by hand; hosted runners have it",
    "redis-server": "testing on a real server",
}
"""What is looked for on PATH, and what it is for."""


def _programs(context: Context) -> Iterator[Finding]:
    del context
    for name, purpose in PROGRAMS.items():
        if shutil.which(name):
            yield Finding(what=name, state=State.OK, found=f"is here, for {purpose}")
        else:
            remedy = f"install it on the machine that needs it for {purpose.partition(';')[0]}"
            yield Finding(what=name, state=State.NOT_YET, found="is not on PATH", remedy=remedy)


def _locks(context: Context) -> Iterator[Finding]:
    """What the names show without a network; `nox -s lock -- --check` resolves."""
    table = tomllib.loads((context.root / "pyproject.toml").read_text(encoding="utf-8"))
    names = [name for name in groups(context.root) if name != "backend"]
    sound = True
    for name in names:
        file = f"release/locks/{name}.txt"
        path = context.root / file
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        held = {canonicalize_name(line.partition("==")[0]) for line in text.splitlines() if "==" in line}
        absent = sorted(_asked(table["dependency-groups"], name) - held)
        if absent:
            sound = False
            found = f"lacks {', '.join(absent)}" if text else "does not exist"
            remedy = "run `nox -s lock` and commit the result"
            yield Finding(what=file, state=State.WRONG, found=found, remedy=remedy)
    if sound:
        found = f"{len(names)} locks hold every package that pyproject.toml asks for"
        remedy = "`nox -s lock -- --check` resolves them, which needs the network"
        yield Finding(what="release/locks", state=State.OK, found=found, remedy=remedy)


def _asked(table: Mapping[str, Sequence[Any]], group: str) -> set[str]:
    """The packages a dependency group names, with those of the groups it includes."""
    asked: set[str] = set()
    for entry in table[group]:
        if isinstance(entry, str):
            asked.add(canonicalize_name(Requirement(entry).name))
        else:
            asked |= _asked(table, entry["include-group"])
    return asked


_ELSEWHERE = {
    "pending publishers on TestPyPI and PyPI": f"compare them with {PUBLISHER}; {RUNBOOK}, step 1",
    "deployment rules and reviewers of the environments": f"tags `v*` only; {RUNBOOK}, step 2",
    "tag rules": f"nobody moves or deletes a tag `v*`; {RUNBOOK}, step 3",
    "rules for main, default permissions, vulnerability reports": f"{RUNBOOK}, step 5",
}
"""What stands in settings of PyPI and GitHub, and what to do about it."""


def _elsewhere(context: Context) -> Iterator[Finding]:
    del context
    for what, remedy in _ELSEWHERE.items():
        yield Finding(what=what, state=State.UNSEEN, found="is a setting", remedy=remedy)


CHECKS: Sequence[Callable[[Context], Iterator[Finding]]] = (
    _publisher,
    _workflows,
    _signers,
    _signing,
    _pythons,
    _programs,
    _locks,
    _elsewhere,
)


def _git(context: Context, *words: str) -> str:
    """What git answers; empty where it has no answer, or is not here."""
    env = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    finished = context.runner(["git", *words], cwd=context.root, env=env)
    return finished.stdout.strip() if finished.ok else ""
