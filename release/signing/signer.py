"""Signs files in a process of its own: the one besides twine that is given a job's grant for ID tokens.

`python -m release.signing.signer [--trust FILE] --out FOLDER FILE...` writes `<file>.publish.attestation`
for each file into FOLDER. Exit code 75 says that Sigstore or the issuer could not be reached.
"""

import argparse
import sys
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path

import requests
from id import IdentityError, detect_credential
from pypi_attestations import Attestation, AttestationError, Distribution
from sigstore._internal.fulcio.client import FulcioClientError
from sigstore._internal.rekor import RekorClientError
from sigstore.errors import Error as SigstoreError
from sigstore.errors import NetworkError, TUFError
from sigstore.oidc import IdentityToken
from sigstore.sign import SigningContext

from release.model import Kind
from release.signing.check import trust_config

__all__ = ["SUFFIX", "main", "sign"]

SUFFIX = ".publish.attestation"
"""Behind a file's name: twine finds a file's attestation by it."""
_AUDIENCE = "sigstore"
_SHOWN = 500
"""Characters of a refusal that are shown."""


def sign(files: Sequence[Path], folder: Path, token: str, trust: Path | None) -> None:
    """Sign each file with one certificate, and write its attestation in one step.

    Args:
        files: What is signed.
        folder: Where the attestations go.
        token: The job's ID token, for Sigstore.
        trust: See `release.signing.check.trust_config`.

    Raises:
        AttestationError, sigstore.errors.Error: Not signed.
    """
    context = SigningContext.from_trust_config(trust_config(trust))
    with context.signer(IdentityToken(token)) as signer:
        for file in files:
            signed = Attestation.sign(signer, Distribution.from_file(file))
            made, part = folder / (file.name + SUFFIX), folder / (file.name + ".part")
            part.write_text(signed.model_dump_json(), encoding="utf-8")
            part.replace(made)
            print(f"  {file.name}: signed, log entry {_entry(signed)}")


def main(words: Sequence[str] | None = None) -> int:
    """Read the command line, sign, and say in one line what went wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m release.signing.signer", description="Sign files as this job."
    )
    parser.add_argument("--trust", type=Path, help="a rehearsal's trust root")
    parser.add_argument("--out", type=Path, required=True, help="where the attestations go")
    parser.add_argument("files", type=Path, nargs="+")
    asked = parser.parse_args(words)
    try:
        token = detect_credential(_AUDIENCE)
        if token is None:
            print("signer: this is no job that may ask for an ID token", file=sys.stderr)
            return Kind.REFUSED
        sign(asked.files, asked.out, token, asked.trust)
    except (NetworkError, TUFError, requests.RequestException) as error:
        print(f"signer: {type(error).__name__}: {error}", file=sys.stderr)
        return Kind.NOT_YET
    except (FulcioClientError, RekorClientError) as error:
        answered = error.__context__
        said, status = str(error), 0
        if isinstance(answered, requests.HTTPError) and answered.response is not None:
            said, status = f"{answered} {answered.response.text[:_SHOWN]}", answered.response.status_code
        print(f"signer: {type(error).__name__}: {said}", file=sys.stderr)
        return Kind.NOT_YET if status >= HTTPStatus.INTERNAL_SERVER_ERROR else Kind.REFUSED
    except (AttestationError, IdentityError, SigstoreError) as error:
        print(f"signer: {type(error).__name__}: {error}", file=sys.stderr)
        return Kind.REFUSED
    return Kind.DONE


def _entry(signed: Attestation) -> object:
    """Where in the transparency log it stands."""
    return signed.verification_material.transparency_entries[0].get("logIndex")


if __name__ == "__main__":
    sys.exit(main())
