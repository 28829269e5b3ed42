"""The `announce` stage: a release on GitHub with exactly the published files, public at the very end.

1. The ledger fits and holds a passed `verify`; `dist/` is the ledger's; the tag is what it was.
2. A draft is made, or the one that a run before left is taken up.
3. What it lacks is uploaded; a file that is there with the same digest stays, with another one it is refused.
   The ledger there may be an earlier one: `verify` adds a line each time it runs, and a workflow of which all
   jobs ran again has a new one. It stays when it is whole, opens as this one and holds a passed `verify`.
4. Everything is read back, and only then the draft becomes public.

It leaves no line: the ledger is one of the files, and what it would say is what GitHub shows.
"""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from packaging.version import Version

from release import sbom
from release.binding import bound, index_mode, tag_problems
from release.context import Context
from release.dist import dist_problems
from release.github import UPLOADED, GitHub, Release, take_token
from release.ledger import NAME, Ledger
from release.model import Checked, Kind, Problem, Refused, Report
from release.plan import unproved
from release.publisher import PublisherFacts
from release.rules import changelog
from release.rules.archives import digest
from release.rules.tag import name_of

__all__ = ["NOT_PUBLISHED", "notes_of", "run", "status_line"]

README = "README.md"
NOT_PUBLISHED = "**Not yet published.**"
"""How README's status line begins until there is a release."""


_EARLIER = "of an earlier run for the same files, which stays: "


def status_line(project: str, version: str) -> str:
    """README's status line from this release on."""
    return f"**{version} is published:** `pip install {project}`."


def run(stage: str, context: Context) -> Report:
    """Draft the release of the ledger's tag on GitHub, give it its files, and make it public."""
    del stage
    token = take_token(os.environ)
    ledger = bound(context, mode=index_mode(context))
    problems = _before(context, ledger)
    if problems:
        raise Refused(*problems)
    opening, facts = ledger.opening, PublisherFacts.read(context.root)
    version = Version(opening.version)
    notes = notes_of(context, ledger)
    with tempfile.TemporaryDirectory(prefix="tta-announce-") as folder:
        files = _files(context, ledger, Path(folder))
        github = GitHub(
            runner=context.runner,
            cwd=Path(folder),
            repository=f"{facts.owner}/{facts.repository}",
            tag=opening.tag or name_of(version),
            token=token,
        )
        found = github.release()
        if found is None:
            text = Path(folder) / "notes.md"
            text.write_bytes(notes.encode())
            title = f"{opening.project} {opening.version}"
            github.create(title=title, notes=text, prerelease=version.is_prerelease)
            context.console.print(f"  {github.tag}: drafted")
        digests = {file.name: digest(file) for file in files}
        earlier = _earlier_ledger(github, found, ledger, digests[NAME])
        digests |= earlier
        kept, added = _bring(context, github, files, found, digests)
        # What GitHub has is read once more, so that nothing becomes public which was only sent.
        standing = github.release()
        if standing is None or {each.name: github.sha256(each) for each in standing.assets} != digests:
            raise Refused(_incomplete(github))
        if standing.is_draft or standing.is_prerelease is not version.is_prerelease:
            github.publish(prerelease=version.is_prerelease)
    state = (
        "drafted and made public" if found is None else "made public" if found.is_draft else "public before"
    )
    kind = "a pre-release" if version.is_prerelease else "a release"
    return Report(
        kind=Kind.DONE,
        sentence=f"{github.tag} is {kind} on GitHub with {len(files)} files: {state}, {added} uploaded, "
        f"{kept} there already",
        checked=[
            Checked(what="release", found=standing.url or f"{github.repository} {github.tag}"),
            *(
                Checked(what=name, found=f"{_EARLIER if name in earlier else ''}sha256 {sha256}")
                for name, sha256 in digests.items()
            ),
            Checked(what="notes", found=f"{changelog.FILE}, section {opening.version}"),
            Checked(what=README, found=_readme(context.root, opening.project, opening.version)),
        ],
        figures={"files": len(files), "uploaded": added, "present": kept},
    )


def notes_of(context: Context, ledger: Ledger) -> str:
    """The release's section of the changelog, and the digests of its files.

    Raises:
        Refused: the changelog has no such section.
    """
    opening = ledger.opening
    text = (context.root / changelog.FILE).read_text(encoding="utf-8")
    section = changelog.parse(text).section(Version(opening.version))
    if section is None:
        raise Refused(
            Problem(
                rule="announce.notes",
                where=changelog.FILE,
                what=f"has no section {opening.version}",
                remedy="check out the commit the ledger is of; its build saw the section",
            )
        )
    files = [f"{artifact.sha256}  {artifact.name}" for artifact in opening.artifacts]
    return "\n".join([section.body, "", "### Files", "", "```text", *files, "```", ""])


def _before(context: Context, ledger: Ledger) -> list[Problem]:
    """Step 1."""
    opening = ledger.opening
    problems = unproved(ledger, ("verify",))
    if not context.dist.exists():
        remedy = "fetch the build's artefact, or run `nox -s build`"
        problems.append(_problem("dist", "dist/", "does not exist", remedy))
    problems += dist_problems(context.dist, opening.artifacts)
    return problems + tag_problems(context, opening)


def _files(context: Context, ledger: Ledger, folder: Path) -> list[Path]:
    """The release's files in order: both dists, the ledger, the bill of materials."""
    made = folder / sbom.FILE
    made.write_bytes(sbom.of_checkout(context, ledger.opening.artifacts).encode())
    dists = [context.dist / artifact.name for artifact in ledger.opening.artifacts]
    return [*dists, context.ledger / NAME, made]


def _earlier_ledger(github: GitHub, found: Release | None, ledger: Ledger, ours: str) -> dict[str, str]:
    """Name and digest of the ledger on GitHub, when it is another one that vouches for this release as well.

    Args:
        github: The release there.
        found: What it has.
        ledger: The ledger here.
        ours: SHA-256 of its file.
    """
    assets = found.assets if found is not None else ()
    asset = next((each for each in assets if each.name == NAME and each.state == UPLOADED), None)
    if asset is None or github.sha256(asset) == ours:
        return {}
    with tempfile.TemporaryDirectory(prefix="tta-announce-") as folder:
        sha256 = digest(github.fetch(asset, Path(folder)))
        try:
            there = Ledger.read(Path(folder))
        except Refused:
            return {}
        vouches = there.torn is None and there.opening == ledger.opening and not unproved(there, ("verify",))
    return {NAME: sha256} if vouches else {}


def _bring(
    context: Context, github: GitHub, files: list[Path], found: Release | None, wanted: Mapping[str, str]
) -> tuple[int, int]:
    """Steps 2 and 3; returns how many files were there already and how many were uploaded.

    Args:
        context: The stage's context.
        github: The release there.
        found: What it has.
        files: What it must have.
        wanted: Their digests there.

    Raises:
        Refused: before anything is sent, with every file that has other bytes, or is none of this release's.
    """
    assets = {each.name: each for each in found.assets} if found is not None else {}
    torn = [name for name, each in assets.items() if each.state != UPLOADED]
    there = {name: github.sha256(each) for name, each in assets.items() if name not in torn}
    problems = _asset_problems(github.tag, there, wanted)
    if problems:
        raise Refused(*problems)
    for name in torn:
        github.delete(name)
    missing = [file for file in files if file.name not in there]
    for file in missing:
        github.upload(file)
        context.console.print(f"  {file.name}: uploaded, sha256 {wanted[file.name]}")
    return len(there), len(missing)


def _asset_problems(tag: str, there: Mapping[str, str], wanted: Mapping[str, str]) -> list[Problem]:
    """What the release on GitHub has that is not exactly a file of this one."""
    problems: list[Problem] = []
    for name, sha256 in there.items():
        delete = f"if the release is a draft, `gh release delete-asset {tag} {name}` and run this again"
        if name not in wanted:
            what = "is none of this release's files"
            problems.append(_problem("only-ours", f"{tag}: {name}", what, f"find out who added it; {delete}"))
        elif sha256 != wanted[name]:
            what = f"has sha256 {sha256} on GitHub and {wanted[name]} here; nothing is replaced"
            problems.append(_problem("same-bytes", f"{tag}: {name}", what, f"find out why; {delete}"))
    return problems


def _incomplete(github: GitHub) -> Problem:
    what = "does not have exactly the files that were sent, so it stays a draft"
    remedy = "run the same command again; if it stays so, look at the draft's files on GitHub"
    return _problem("complete", f"release {github.tag}", what, remedy)


def _readme(root: Path, project: str, version: str) -> str:
    """What README's status line says, and what it should say from now on."""
    line = status_line(project, version)
    text = (root / README).read_text(encoding="utf-8")
    if line in text:
        return f"says it: {line}"
    said = NOT_PUBLISHED if NOT_PUBLISHED in text else "its status line"
    return f"NEXT: commit `{line}` to main in place of what follows {said}"


def _problem(rule: str, where: str, what: str, remedy: str) -> Problem:
    return Problem(rule=f"announce.{rule}", where=where, what=what, remedy=remedy)
