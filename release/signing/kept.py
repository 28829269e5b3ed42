"""The attestations of an upload: made once for each file, kept in `ledger/attestations/`, checked before use.

A run that finds one there checks it and takes it: a file has one signature however often its job is run.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError
from pypi_attestations import Attestation, GitHubPublisher

from release.context import Context
from release.environments import scrubbed
from release.evidence import Opening
from release.indexes import IndexName
from release.ledger import Ledger
from release.model import Artifact, Kind, Problem, Refused
from release.publisher import PublisherFacts
from release.runner import TIMED_OUT, Finished
from release.signing.check import (
    COMMIT,
    REF,
    attestation_problem,
    believing,
    trust_file,
)
from release.signing.signer import SUFFIX

__all__ = ["FOLDER", "attested_files", "identity", "job_claims"]

FOLDER = "attestations"
"""Below the ledger's folder."""
_HOME = Path(__file__).resolve().parents[2]
"""Where `release` is: the signer runs from there."""
_SIGN_S = 120.0
"""Seconds that signing may take."""


def identity(facts: PublisherFacts) -> GitHubPublisher:
    """The publisher whose signature a file on PyPI must have."""
    return GitHubPublisher(
        repository=f"{facts.owner}/{facts.repository}",
        workflow=facts.workflow,
        environment=facts.environments[IndexName.PYPI],
    )


def job_claims(opening: Opening) -> dict[str, str]:
    """What a certificate must say of its job: the release's commit, and the tag if there is one."""
    return {COMMIT: opening.commit} | ({REF: f"refs/tags/{opening.tag}"} if opening.tag else {})


def attested_files(
    context: Context, ledger: Ledger, files: Sequence[Path], grant: Mapping[str, str], scratch: Path
) -> list[Path]:
    """Copies of the files' attestations, each of them checked; what was not signed before is signed now.

    Args:
        context: The stage's context.
        ledger: The ledger; its folder keeps the attestations.
        files: Checked copies of what is about to be uploaded.
        grant: The variables by which this job asks for an ID token.
        scratch: A folder of this run's own, which holds the copies.

    Raises:
        Refused: a file could not be signed, or an attestation is not this job's word about these bytes.
    """
    trust = trust_file(ledger.opening.mode)
    kept = context.ledger / FOLDER
    kept.mkdir(exist_ok=True)
    unsigned = [file for file in files if not (kept / (file.name + SUFFIX)).exists()]
    if unsigned:
        believed = [f"--trust={trust}"] if trust is not None else []
        signing = context.runner(
            [
                sys.executable,
                "-E",
                "-s",
                "-m",
                "release.signing.signer",
                *believed,
                f"--out={kept}",
                *unsigned,
            ],
            cwd=_HOME,
            env=scrubbed(scratch, **grant),
            show=True,
            timeout_s=_SIGN_S,
        )
        if not signing.ok:
            raise _not_signed(signing)
    for file in files:
        if file not in unsigned:
            context.console.print(f"  {file.name}: signed by an earlier run")
    artifacts = {artifact.name: artifact for artifact in ledger.opening.artifacts}
    publisher, claims = identity(PublisherFacts.read(context.root)), job_claims(ledger.opening)
    copies: list[Path] = []
    with believing(trust):
        for file in files:
            path = kept / (file.name + SUFFIX)
            data = path.read_bytes()
            if wrong := _wrong(data, artifacts[file.name], publisher, claims):
                raise _not_ours(path, wrong)
            copy = file.parent / path.name
            copy.write_bytes(data)
            copies.append(copy)
    return copies


def _wrong(
    data: bytes, artifact: Artifact, publisher: GitHubPublisher, claims: Mapping[str, str]
) -> str | None:
    try:
        read = Attestation.model_validate_json(data)
    except ValidationError as error:
        return f"is no attestation: {error.errors()[0]['msg']}"
    return attestation_problem(read, artifact.name, artifact.sha256, publisher, claims)


def _not_signed(signing: Finished) -> Refused:
    passing = signing.code in {TIMED_OUT, Kind.NOT_YET}
    problem = Problem(
        rule="attestation.signed",
        where="Sigstore",
        what=f"did not sign, and nothing was uploaded:\n{signing.tail(6)}",
        remedy="run the same command again later: PyPI takes an attestation with its file or never"
        if passing
        else "mend what is named above, then run the same command again",
    )
    return Refused(problem, kind=Kind.NOT_YET if passing else Kind.REFUSED)


def _not_ours(path: Path, wrong: str) -> Refused:
    where = f"ledger/{FOLDER}/{path.name}"
    return Refused(
        Problem(
            rule="attestation.ours",
            where=where,
            what=f"is not this job's word about the ledger's file: {wrong}",
            remedy=f"find out who put it there; without {where} the next run signs anew",
        )
    )
