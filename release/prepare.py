"""The `prepare` stage: version, changelog date and links of the next release, as an edit to look at.

It changes two files and no history: the commit and the signed tag are the maintainer's, by the commands it
prints.
"""

import datetime as dt
import difflib
import os
import shutil
import tempfile
from collections.abc import MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import tomlkit
from packaging.version import InvalidVersion, Version

from release.checkout import Checkout
from release.context import Context
from release.model import Checked, Kind, Problem, Refused, Report
from release.project import FILE, Project
from release.rules import changelog
from release.rules.tag import name_of

__all__ = ["Edit", "commands", "edits", "run", "version_problems"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A file's text before and after."""

    name: str
    before: str
    after: str

    def diff(self) -> str:
        """The change as a unified diff."""
        before, after = self.before.splitlines(keepends=True), self.after.splitlines(keepends=True)
        return "".join(difflib.unified_diff(before, after, f"a/{self.name}", f"b/{self.name}"))


def run(stage: str, context: Context) -> Report:
    """Edit pyproject.toml and CHANGELOG.md for `context.options.version`, show the diff, print what to do."""
    del stage
    if context.options.version is None:
        raise Refused(
            Problem(
                rule="prepare.version-given",
                where="the command line",
                what="says no version",
                remedy="run `nox -s prepare -- 0.2.0` with the version to release",
            ),
            kind=Kind.USAGE,
        )
    checkout = Checkout(context.root, context.runner)
    project = Project.read(context.root)
    texts = {name: _read(context.root / name) for name in (FILE, changelog.FILE)}
    problems = [
        Problem(
            rule="prepare.clean-tree",
            where=path,
            what="is changed or untracked",
            remedy="commit it, undo it (`git restore`) or move it away: the release commit is this edit",
        )
        for path in checkout.dirty()
    ]
    remote = checkout.remote_tags()
    tags = checkout.tags() | (remote or frozenset())
    version, found = version_problems(context.options.version, tags=tags, text=texts[changelog.FILE])
    problems += found
    problems += changelog.format_problems(texts[changelog.FILE])
    problems += _unreleased_problems(texts[changelog.FILE])
    repository = project.urls.get("Source", "").rstrip("/")
    if not repository:
        remedy = "write the repository's address there: the changelog's links hang below it"
        problems.append(
            Problem(rule="prepare.repository", where=FILE, what="[project.urls] has no Source", remedy=remedy)
        )
    if problems or version is None:
        raise Refused(*problems)
    today = context.now().date()
    done = edits(texts[FILE], texts[changelog.FILE], version, tags=tags, today=today, repository=repository)
    for edit in done:
        _write(context.root / edit.name, edit.after)
        context.console.print(edit.diff(), end="")
    context.console.print("\nLook at it, then:\n")
    for command in commands(version):
        context.console.print(f"    {command}")
    context.console.print("")
    return Report(
        kind=Kind.DONE,
        sentence=f"{version} is prepared; commit it and push the signed tag {name_of(version)}",
        checked=[
            Checked(what="version", found=f"{project.version_text} -> {version}"),
            Checked(what="changelog", found=f"[{version}] - {today}"),
            Checked(
                what="tags at origin", found="not checked: no answer" if remote is None else str(len(remote))
            ),
            Checked(what="changed", found=", ".join(edit.name for edit in done)),
        ],
    )


def version_problems(asked: str, *, tags: frozenset[str], text: str) -> tuple[Version | None, list[Problem]]:
    """The version asked for, and why it may not be the next one.

    Args:
        asked: The version as a person typed it.
        tags: Every tag there is, here and at the remote.
        text: CHANGELOG.md.
    """
    problems: list[Problem] = []

    def wrong(rule: str, what: str, remedy: str) -> None:
        problems.append(Problem(rule=f"prepare.{rule}", where=f"version {asked}", what=what, remedy=remedy))

    try:
        version = Version(asked)
    except InvalidVersion:
        wrong("normal-version", "is no version", "write it as PEP 440 says, for example 0.2.0")
        return None, problems
    if str(version) != asked:
        wrong("normal-version", f"is not in normal form, which is {version}", f"ask for {version}")
    if version.local is not None:
        wrong("no-local", "has a local part, which no index takes", f"ask for {version.public}")
    remedy = "a version is used once: take the next one"
    tagged, sections = _versions(tags), set(changelog.released(text))
    if version in tagged:
        wrong("unused", f"has the tag {name_of(version)} already", remedy)
    if version in sections:
        wrong("unused", f"has a section in {changelog.FILE} already", remedy)
    greater = [each for each in tagged | sections if each > version]
    if greater:
        wrong("greater", f"is not greater than {max(greater)}, which is released", remedy)
    return version, problems


def edits(
    pyproject: str, text: str, version: Version, *, tags: frozenset[str], today: dt.date, repository: str
) -> list[Edit]:
    """What releasing `version` changes; a file that stays as it is is left out."""
    document = tomlkit.parse(pyproject)
    cast("MutableMapping[str, object]", document["project"])["version"] = str(version)
    before = max(_versions(tags) | set(changelog.released(text)), default=None)
    released = changelog.with_release(text, version, today=today, repository=repository, before=before)
    both = [
        Edit(name=FILE, before=pyproject, after=tomlkit.dumps(document)),
        Edit(name=changelog.FILE, before=text, after=released),
    ]
    return [edit for edit in both if edit.before != edit.after]


def commands(version: Version) -> list[str]:
    """What the maintainer runs next; the push of the tag starts the release."""
    tag = name_of(version)
    return [
        f'git commit --message "Release {version}" -- {FILE} {changelog.FILE}',
        "git push origin main",
        f'git -c gpg.format=ssh tag --sign --message "{tag}" {tag}',
        f"git push origin {tag}",
    ]


def _versions(tags: frozenset[str]) -> set[Version]:
    """The versions that tags stand for; tags of other forms are no releases."""
    found: set[Version] = set()
    for tag in tags:
        if tag.startswith("v"):
            with suppress(InvalidVersion):
                found.add(Version(tag))
    return found


def _unreleased_problems(text: str) -> list[Problem]:
    """Empty when there is something to release."""
    section = changelog.parse(text).unreleased
    if section is not None and section.entries:
        return []
    return [
        Problem(
            rule="prepare.says-something",
            where=f"{changelog.FILE} [{changelog.UNRELEASED}]",
            what="lists no change",
            remedy="write down what a user will notice, one list item each",
        )
    ]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError) as error:
        remedy = "every release has one, in UTF-8: begin it as Keep a Changelog 1.1 shows"
        raise Refused(
            Problem(rule="prepare.readable", where=path.name, what=f"cannot be read: {error}", remedy=remedy)
        ) from error


def _write(path: Path, text: str) -> None:
    """Replace a file's text, whole or not at all, and keep its mode."""
    try:
        handle, name = tempfile.mkstemp(prefix=".", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
            shutil.copymode(path, name)
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        remedy = "make room or mend the permissions, `git restore` what was edited, then run it again"
        what = f"could not be written: {error.strerror}"
        raise Refused(Problem(rule="prepare.written", where=path.name, what=what, remedy=remedy)) from error
