"""The `verify` stage: what the world now sees against the ledger, and a rebuild that ends in the same bytes.

1. The ledger fits and holds a passed upload; the tag is still the ledger's.
2. PyPI lists exactly the ledger's files for this version: digests, sizes, not yanked, core metadata.
3. What it serves has those digests, and its `.metadata` is the wheel's METADATA.
4. Each file is attested by this project's publisher, for the ledger's commit and tag.
5. The commit, exported and built afresh, gives the same bytes.
"""

import sys
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
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
from release.binding import bound, index_mode, record, tag_problems
from release.checkout import Checkout
from release.context import Context
from release.indexes import INDEXES, Index, IndexName
from release.ledger import Ledger, Outcome
from release.model import Artifact, Checked, Kind, Problem, Refused, Report
from release.publisher import PublisherFacts
from release.resume import same_bytes
from release.rules.archives import measure, read_archive
from release.signing.check import believing, provenance_problem, trust_file
from release.signing.kept import identity, job_claims
from release.simple import IndexClient, Listed, Listing, compare

__all__ = ["attested_problems", "listing_problems", "run"]

_WHO = "find out who uploaded it; what cannot be explained is yanked: see the rollback runbook"
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
        provenances = {
            file.name: client.provenance(file.provenance)
            for file in standing.present
            if file.provenance is not None
        }
    problems += _served_problems(index, standing.present, served, metadata)
    problems += attested_problems(context, ledger, served, provenances)
    context.console.print(f"  building {opening.commit[:12]} afresh")
    problems += _rebuilt_problems(context, ledger, served)
    if problems:
        raise Refused(*problems)
    took_ms = round((time.monotonic() - began) * 1000)
    return Report(
        kind=Kind.DONE,
        sentence=f"{index.name.value} serves the ledger's {len(served)} files of {opening.project} "
        f"{opening.version}, {_attested(provenances)}, and a rebuild gives the same bytes",
        checked=[
            Checked(what="listed", found=f"exactly {', '.join(sorted(served))}; none yanked"),
            Checked(what="served", found="the ledger's digests and sizes; .metadata is the wheel's METADATA"),
            Checked(what="rebuilt", found=f"{opening.tag or opening.commit[:12]}: the same bytes"),
            Checked(what="attestations", found=_attested(provenances)),
        ],
        figures={"files": len(served), "attested": len(provenances), "took_ms": took_ms},
        tools={name: version(name) for name in ("build", "hatchling", "pypi-attestations", "sigstore")},
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
    return problems + tag_problems(context, ledger.opening)


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


def attested_problems(
    context: Context, ledger: Ledger, present: Collection[str], provenances: Mapping[str, bytes]
) -> list[Problem]:
    """Step 4: who vouches for each of the ledger's files that the index lists.

    Args:
        context: The stage's context.
        ledger: The ledger.
        present: Names of the files that the index lists.
        provenances: File name -> what the index serves of who signed it; without those that nobody signed.
    """
    opening = ledger.opening
    publisher, claims = identity(PublisherFacts.read(context.root)), job_claims(opening)
    # Who uploads with a token cannot sign: PyPI takes attestations from jobs alone.
    by_token = any(line.stage == "pypi" and line.figures.get("publisher") == "token" for line in ledger.lines)
    problems: list[Problem] = []
    with believing(trust_file(opening.mode)):
        for artifact in opening.artifacts:
            served = provenances.get(artifact.name)
            if artifact.name not in present or (served is None and by_token):
                continue
            if served is None:
                wrong: str | None = "has no attestation, and the job that uploads signs"
            else:
                wrong = provenance_problem(served, artifact.name, artifact.sha256, publisher, claims)
            if wrong is not None:
                where = f"pypi: {artifact.name}"
                problems.append(Problem(rule="verify.attested", where=where, what=wrong, remedy=_WHO))
    return problems


def _attested(provenances: Mapping[str, bytes]) -> str:
    if not provenances:
        return "no attestations, since a token uploaded them"
    return f"{len(provenances)} attested by the publisher for this commit"


def _rebuilt_problems(context: Context, ledger: Ledger, served: Mapping[str, bytes]) -> list[Problem]:
    """Step 5: a fresh export of the commit, built once more, against the bytes the index serves."""
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
