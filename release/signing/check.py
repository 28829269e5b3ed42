"""Attestations (PEP 740): signing files as this workflow's job, and telling whose signature a file has.

Signing and checking are pypi-attestations' own; owned here are whose word counts, which commit and tag a
signature must name, and what a person is told. The trust root is Sigstore's; a rehearsal brings its own.
"""

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pypi_attestations import (
    Attestation,
    AttestationType,
    Distribution,
    GitHubPublisher,
    Provenance,
)
from sigstore.errors import Error as SigstoreError
from sigstore.errors import TUFError
from sigstore.models import ClientTrustConfig
from sigstore.verify import Verifier

from release.model import Kind, Mode, Problem, Refused

__all__ = ["TRUST", "attestation_problem", "believing", "provenance_problem", "trust_config", "trust_file"]

TRUST = "TTA_SIGSTORE"
"""Names the file with a rehearsal's own trust root."""
COMMIT = "1.3.6.1.4.1.57264.1.13"
"""In a certificate: the commit that the job ran for."""
REF = "1.3.6.1.4.1.57264.1.14"
"""In a certificate: the branch or tag that the job ran for."""
_LOG_VERSION = 1
"""An attestation's log entry is of the first version; the format has no room for the second's timestamps."""


def trust_file(mode: Mode, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The file with a rehearsal's trust root; None: Sigstore's own.

    Raises:
        Refused: when one is named in release mode, or is not there.
    """
    named = environ.get(TRUST)
    if not named:
        return None
    if mode is Mode.RELEASE:
        what, remedy = "is set, and a release trusts Sigstore's own root alone", f"unset {TRUST}"
    elif not Path(named).is_file():
        what, remedy = (
            "names a file that does not exist",
            f"run the rehearsal, which writes it, or unset {TRUST}",
        )
    else:
        return Path(named).resolve()
    raise Refused(Problem(rule="attestation.trust", where=TRUST, what=what, remedy=remedy))


def trust_config(path: Path | None) -> ClientTrustConfig:
    """Where to get signatures, and whom to believe: of `path`, or Sigstore's own, updated by TUF.

    Raises:
        sigstore.errors.Error: Sigstore's own could not be updated.
    """
    if path is None:
        config = ClientTrustConfig.production()
    else:
        config = ClientTrustConfig.from_json(path.read_text(encoding="utf-8"))
    config.force_tlog_version = _LOG_VERSION
    return config


@contextmanager
def believing(path: Path | None) -> Generator[None, None, None]:
    """Let attestations be checked against the trust root of `path`; with None nothing changes.

    pypi-attestations asks for Sigstore's production verifier by name and takes no other; for the length of
    a rehearsed check another one answers to that name.
    """
    if path is None:
        yield
        return
    verifier = Verifier(trusted_root=trust_config(path).trusted_root)
    usual = vars(Verifier)["production"]

    def ours(*, offline: bool = False) -> Verifier:
        del offline
        return verifier

    setattr(Verifier, "production", staticmethod(ours))  # noqa: B010 - a class of a library, for a while
    try:
        yield
    finally:
        setattr(Verifier, "production", usual)  # noqa: B010


def attestation_problem(
    read: Attestation, name: str, sha256: str, publisher: GitHubPublisher, claims: Mapping[str, str]
) -> str | None:
    """What keeps an attestation from being this publisher's word about these bytes; None: nothing.

    Args:
        read: The attestation.
        name: The file's name.
        sha256: Its digest, lower-case hex.
        publisher: Whose job must have signed it.
        claims: Object id -> text: what else the certificate must say.

    Raises:
        Refused: of kind NOT_YET when Sigstore's own trust root cannot be brought up to date.
    """
    try:
        kind, _ = read.verify(publisher, Distribution(name=name, digest=sha256))
    except TUFError as error:
        problem = Problem(
            rule="attestation.trust-up",
            where="Sigstore's trust root",
            what=f"could not be brought up to date: {error}",
            remedy="run the same command again later; nothing has to be undone",
        )
        raise Refused(problem, kind=Kind.NOT_YET) from error
    except (ValueError, SigstoreError) as error:  # an AttestationError is a ValueError
        return f"does not verify: {' '.join(str(error).split()) or type(error).__name__}"
    if kind != AttestationType.PYPI_PUBLISH_V1.value:
        return f"attests {kind}, not the publication"
    said = read.certificate_claims
    wrong = [
        f"{said.get(number)!r} instead of {text!r}"
        for number, text in claims.items()
        if said.get(number) != text
    ]
    return f"was signed for {', '.join(wrong)}" if wrong else None


def provenance_problem(
    served: bytes, name: str, sha256: str, publisher: GitHubPublisher, claims: Mapping[str, str]
) -> str | None:
    """What is wrong with the provenance that an index serves for a file; None: nothing.

    Args:
        served: The index's answer, untrusted.
        name: The file's name.
        sha256: Its digest, lower-case hex.
        publisher: The one publisher that may be named, and must have signed.
        claims: See `attestation_problem`.
    """
    try:
        provenance = Provenance.model_validate_json(served)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        return f"is no provenance: {place and f'{place}: '}{first['msg']}"
    bundles = provenance.attestation_bundles
    if not bundles or not all(bundle.attestations for bundle in bundles):
        return "holds no attestation"
    for bundle in bundles:
        facts: dict[str, Any] = bundle.publisher.model_dump(include=set(type(publisher).model_fields))
        if facts != publisher.model_dump():
            return f"names another publisher, {facts}"
        for read in bundle.attestations:
            if wrong := attestation_problem(read, name, sha256, publisher, claims):
                return wrong
    return None
