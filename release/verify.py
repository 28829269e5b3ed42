"""The `verify` stage: what the world now sees against the ledger, and a rebuild that ends in the same bytes.

1. The ledger fits and holds a passed upload; in a release the tag is still the ledger's.
2. PyPI lists exactly the ledger's files for this version: digests, sizes, not yanked, core metadata.
3. What it serves has those digests, and its `.metadata` is the wheel's METADATA.
4. The commit, exported and built afresh, gives the same bytes.
"""

import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import Version

from release import builder
from release.binding import bound, index_mode, record
from release.checkout import Checkout
from release.context import Context
from release.indexes import INDEXES, Index, IndexName
from release.ledger import Ledger, Outcome
from release.model import Artifact, Checked, Kind, Mode, Problem, Refused, Report
from release.resume import same_bytes
from release.rules.archives import measure, read_archive
from release.rules.tag import not_moved
from release.simple import IndexClient, Listed, Listing, compare

__all__ = ["listing_problems", "run"]

_NEVER = "nothing on an index can be replaced: yank this release, and release the next version"


def run(stage: str, context: Context) -> Report:
    """Verify the release on PyPI; always runs, whatever the ledger holds."""
    ledger = bound(context, mode=index_mode(context))
    try:
        report = _verified(context, ledger)
    except Refused as refused:
        if refused.kind is Kind.REFUSED:
            failed = Report(kind=Kind.REFUSED, sentence="", figures={"problems": len(refused.problems)})
            record(context, ledger, stage, "all", failed, Outcome.FAILED)
        raise
    record(context, ledger, stage, "all", report)
    return report


def _verified(context: Context, ledger: Ledger) -> Report:
    began = time.monotonic()
    opening, index = ledger.opening, INDEXES[IndexName.PYPI]
    problems = _before(context, ledger)
    if problems:
        raise Refused(*problems)
    context.console.print(f"  asking {index.name.value} what it lists and serves")
    with IndexClient(index) as client:
        listing = client.listing(opening.project)
        problems = listing_problems(index, listing, Version(opening.version), opening.artifacts)
        standing = compare(index, listing, opening.artifacts)
        served = {file.name: client.fetch(file) for file in standing.present}
        metadata = {
            file.name: client.metadata(file) for file in standing.present if file.metadata_sha256 is not None
        }
    problems += _served_problems(index, standing.present, served, metadata)
    context.console.print(f"  building {opening.commit[:12]} afresh")
    problems += _rebuilt_problems(context, ledger, served)
    if problems:
        raise Refused(*problems)
    took_ms = round((time.monotonic() - began) * 1000)
    return Report(
        kind=Kind.DONE,
        sentence=f"{index.name.value} serves the ledger's {len(served)} files of {opening.project} "
        f"{opening.version}, and a rebuild gives the same bytes; attestations not checked",
        checked=[
            Checked(what="listed", found=f"exactly {', '.join(sorted(served))}; none yanked"),
            Checked(what="served", found="the ledger's digests and sizes; .metadata is the wheel's METADATA"),
            Checked(what="rebuilt", found=f"{opening.tag or opening.commit[:12]}: the same bytes"),
            Checked(what="attestations", found="NOT CHECKED: this pipeline does not sign yet"),
        ],
        figures={"files": len(served), "attestations": "not checked", "took_ms": took_ms},
        tools={name: version(name) for name in ("build", "hatchling")},
    )


def _before(context: Context, ledger: Ledger) -> list[Problem]:
    """Step 1: there is something to verify, and the tag is what it was."""
    problems: list[Problem] = []
    if not ledger.passed("pypi"):
        problems.append(
            Problem(
                rule="verify.after-upload",
                where="pypi",
                what="the ledger holds no passed upload to it",
                remedy="run `nox -s pypi` first",
            )
        )
    opening = ledger.opening
    if opening.mode is Mode.RELEASE:
        checkout = Checkout(context.root, context.runner)
        local, remote = checkout.tag_facts(opening.tag), checkout.remote_tag(opening.tag)
        problems += not_moved(opening, local=local, remote=remote)
    return problems


def listing_problems(
    index: Index, listing: Listing, released: Version, artifacts: Sequence[Artifact]
) -> list[Problem]:
    """Where the listed files of one version are not exactly the ledger's, or not in good standing.

    Args:
        index: For the reader.
        listing: Everything the index lists for the project.
        released: The version; files of other versions are not looked at.
        artifacts: The ledger's files.
    """

    def problem(rule: str, name: str, what: str, remedy: str) -> Problem:
        return Problem(rule=f"verify.{rule}", where=f"{index.name.value}: {name}", what=what, remedy=remedy)

    standing = compare(index, listing, artifacts)
    problems = list(standing.problems)
    problems += [
        problem("listed", absent.name, "is not listed", "run `nox -s pypi` again: it uploads what is absent")
        for absent in standing.absent
    ]
    ours = {artifact.name for artifact in artifacts}
    for file in listing.files:
        if file.name in ours or _version_of(file.name) not in (released, None):
            continue
        what = (
            "is listed for this release and is not in the ledger" if _version_of(file.name) else "is unknown"
        )
        problems.append(problem("only-ours", file.name, what, f"find out who uploaded it; {_NEVER}"))
    for file in standing.present:
        if file.yanked is not None:
            reason = file.yanked or "no reason given"
            problems.append(problem("yanked", file.name, f"is yanked: {reason}", "see the rollback runbook"))
        if file.name.endswith(".whl") and file.metadata_sha256 is None:
            what = "has no core metadata beside it"
            problems.append(problem("metadata", file.name, what, "wait a minute and run this again"))
    return problems


def _version_of(name: str) -> Version | None:
    """The version a file's name is of; None for a name that is neither a wheel's nor an sdist's."""
    try:
        return parse_wheel_filename(name)[1] if name.endswith(".whl") else parse_sdist_filename(name)[1]
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None


def _served_problems(
    index: Index, present: Sequence[Listed], served: Mapping[str, bytes], metadata: Mapping[str, bytes]
) -> list[Problem]:
    """Step 3: digests and sizes were compared already; what is left is METADATA."""
    problems: list[Problem] = []
    for file in present:
        where = f"{index.name.value}: {file.name}"
        members = read_archive(file.name, served[file.name]).members
        inside = [each.data for each in members if each.name.endswith(".dist-info/METADATA")]
        if file.name in metadata and file.name.endswith(".whl") and inside != [metadata[file.name]]:
            what = "serves a .metadata that is not the METADATA in the wheel"
            problems.append(Problem(rule="verify.metadata", where=where, what=what, remedy=_NEVER))
    return problems


def _rebuilt_problems(context: Context, ledger: Ledger, served: Mapping[str, bytes]) -> list[Problem]:
    """Step 4: a fresh export of the commit, built once more, against the bytes the index serves."""
    opening = ledger.opening
    with tempfile.TemporaryDirectory(prefix="tta-verify-") as folder:
        scratch = Path(folder)
        home, index = scratch / "home", scratch / "index"
        home.mkdir()
        index.mkdir()
        made = builder.make(
            context.runner,
            Checkout(context.root, context.runner).archive(opening.commit, scratch / "export" / "tree"),
            scratch / "made",
            python=sys.executable,
            circumstances=builder.SECOND,
            epoch=opening.epoch,
            home=home,
        )
        problems: list[Problem] = []
        for path in (made.wheel, made.sdist):
            if path.name in served:
                (index / path.name).write_bytes(served[path.name])
                problems += builder.unequal(
                    index / path.name, "what PyPI serves", path, "rebuilt from the commit"
                )
        return problems + same_bytes(opening, (measure(made.wheel), measure(made.sdist)))
