"""The OIDC issuer: gives a job of the rehearsed workflow the ID token that the real one would get.

Shapes follow GitHub's documentation of OpenID Connect in Actions. The address a job asks is on loopback;
the issuer named inside the token is the real one, so that what checks tokens needs no exception.
"""

import datetime as dt
import secrets
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from release.publisher import PublisherFacts
from release.rehearsal.wire import Request, Response, json_response

__all__ = ["ISSUER", "Issuer", "Job"]

ISSUER = "https://token.actions.githubusercontent.com"
_LIFE = dt.timedelta(minutes=5)
"""How long an ID token may be exchanged."""
_PATH = "/idtoken/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A workflow job that was granted `id-token: write`."""

    url: str
    token: str
    """What the job shows to be given an ID token; an ID token it is not."""

    @property
    def grant(self) -> dict[str, str]:
        """The variables by which such a job asks for an ID token."""
        return {"ACTIONS_ID_TOKEN_REQUEST_URL": self.url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": self.token}

    @property
    def environment(self) -> dict[str, str]:
        """All of what a runner gives such a job that a client looks for."""
        return {"GITHUB_ACTIONS": "true", **self.grant}


class Issuer:
    """Signs ID tokens (RS256) for the jobs it was told of, and publishes its keys."""

    def __init__(
        self, facts: PublisherFacts, clock: Callable[[], dt.datetime], key: rsa.RSAPrivateKey | None = None
    ) -> None:
        self._facts = facts
        self._clock = clock
        self._key = key or rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._key_id = secrets.token_hex()
        self._jobs: dict[str, Mapping[str, object]] = {}
        self.base = ""
        """Where it listens; set by the world once the port is known."""

    @property
    def keys(self) -> dict[str, rsa.RSAPublicKey]:
        """Public keys by key id."""
        return {self._key_id: self._key.public_key()}

    def job(self, environment: str, *, ref: str, sha: str, **claims: object) -> Job:
        """A job of the workflow in `environment`; further claims replace the usual ones."""
        bearer = secrets.token_urlsafe()
        self._jobs[bearer] = {**self._claims(environment, ref=ref, sha=sha), **claims}
        return Job(url=f"{self.base}{_PATH}1?api-version=2.0", token=bearer)

    def sign(self, claims: Mapping[str, object]) -> str:
        """Any claims, signed: what the tests of the minting rules need."""
        return jwt.encode(dict(claims), self._key, algorithm="RS256", headers={"kid": self._key_id})

    def claims(self, bearer: str, audience: str) -> dict[str, object]:
        """What a token for a job says when it is asked for now."""
        now = int(self._clock().timestamp())
        return {
            "jti": str(uuid.uuid4()),
            "aud": audience,
            "iss": ISSUER,
            "iat": now,
            "nbf": now,
            "exp": now + int(_LIFE.total_seconds()),
            **self._jobs[bearer],
        }

    async def handle(self, request: Request) -> Response:
        """The request address of jobs, the discovery document and the keys."""
        if request.path == "/.well-known/openid-configuration":
            return json_response(
                {
                    "issuer": ISSUER,
                    "jwks_uri": f"{self.base}/.well-known/jwks",
                    "id_token_signing_alg_values_supported": ["RS256"],
                    "response_types_supported": ["id_token"],
                    "subject_types_supported": ["public", "pairwise"],
                }
            )
        if request.path == "/.well-known/jwks":
            keys: list[dict[str, object]] = [
                {**RSAAlgorithm.to_jwk(key, as_dict=True), "kid": key_id, "use": "sig", "alg": "RS256"}
                for key_id, key in self.keys.items()
            ]
            return json_response({"keys": keys})
        if not request.path.startswith(_PATH):
            return json_response({"message": "not found"}, status=404)
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        audience = request.query("audience")
        if scheme.lower() != "bearer" or bearer not in self._jobs:
            return json_response({"message": "no job shows this request token"}, status=401)
        if audience is None:
            audience = f"https://github.com/{self._facts.owner}"
        return json_response({"count": 1, "value": self.sign(self.claims(bearer, audience))})

    def _claims(self, environment: str, *, ref: str, sha: str) -> dict[str, object]:
        facts = self._facts
        repository = f"{facts.owner}/{facts.repository}"
        workflow = f"{repository}/.github/workflows/{facts.workflow}@{ref}"
        return {
            "sub": f"repo:{repository}:environment:{environment}",
            "ref": ref,
            "ref_type": "tag" if ref.startswith("refs/tags/") else "branch",
            "ref_protected": "true",
            "sha": sha,
            "repository": repository,
            "repository_id": "1",
            "repository_owner": facts.owner,
            "repository_owner_id": facts.owner_id,
            "repository_visibility": "public",
            "actor": facts.owner,
            "actor_id": facts.owner_id,
            "workflow": "release",
            "workflow_ref": workflow,
            "workflow_sha": sha,
            "job_workflow_ref": workflow,
            "job_workflow_sha": sha,
            "run_id": "1",
            "run_number": "1",
            "run_attempt": "1",
            "event_name": "push",
            "head_ref": "",
            "base_ref": "",
            "environment": environment,
            "runner_environment": "github-hosted",
        }
