"""Real attestations of small files, signed by the embedded Sigstore for jobs that a test describes."""

import os
from dataclasses import dataclass
from pathlib import Path

from pypi_attestations import Attestation

from release.indexes import IndexName
from release.rehearsal.environment import child_environment
from release.rehearsal.issuer import Job
from release.rehearsal.world import World
from release.signing import signer
from release.signing.check import COMMIT, REF, TRUST
from release.signing.kept import identity
from tests.release.rehearsal.support import FACTS

__all__ = ["CLAIMS", "PUBLISHER", "Signing", "reach"]

SHA = "a" * 40
PUBLISHER = identity(FACTS)
CLAIMS = {COMMIT: SHA, REF: "refs/tags/v1.0"}


def reach(world: World, folder: Path) -> dict[str, str]:
    """The variables by which this process reaches the embedded world, and nothing else."""
    env = child_environment(
        os.environ,
        folder=folder,
        authority=world.authority,
        proxy=world.proxy_url,
    )
    reached = {name: env[name] for name in ("HTTPS_PROXY", "https_proxy", "REQUESTS_CA_BUNDLE")}
    return {**reached, TRUST: str(world.trust)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """What signs, and a folder for the files."""

    world: World
    folder: Path

    def job(self, *, ref: str = "refs/tags/v1.0", sha: str = SHA, **claims: object) -> Job:
        """A job of the release workflow; `claims` replace what its ID token says."""
        return self.world.issuer.job(FACTS.environments[IndexName.PYPI], ref=ref, sha=sha, **claims)

    def sign(
        self, name: str, data: bytes, *, ref: str = "refs/tags/v1.0", sha: str = SHA, **claims: object
    ) -> Attestation:
        """The attestation of a file, by such a job."""
        file, issuer = self.folder / name, self.world.issuer
        file.write_bytes(data)
        token = issuer.sign(issuer.claims(self.job(ref=ref, sha=sha, **claims).token, "sigstore"))
        signer.sign([file], self.folder, token, self.world.trust)
        return Attestation.model_validate_json((self.folder / (name + signer.SUFFIX)).read_bytes())
