"""Who may upload: the rules by which an index turns a workflow's ID token into an upload token.

Pure: tokens, keys, publishers and times go in, a `Grant` or a `Refusal` with the index's own error code comes
out. Follows the index's documentation of trusted publishing and what its minting endpoint answers.
"""

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, cast

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from pydantic import BaseModel, StrictStr, ValidationError
from pypi_attestations import GitHubPublisher

from release.rehearsal.issuer import ISSUER

__all__ = ["RULES", "Grant", "Publisher", "Refusal", "Verified", "grant", "payload", "verified"]

LEEWAY_S = 30
"""By how much the clocks of the issuer and of the index may differ."""

RULES = {
    "mint.body": ("invalid-payload", "the body is JSON with a text field `token`"),
    "mint.jwt": ("invalid-payload", "the token is a JSON web token with an issuer"),
    "mint.issuer": ("invalid-payload", "the index knows the issuer"),
    "mint.signature": ("invalid-token", "signed with RS256 by a key that the issuer publishes"),
    "mint.required": ("invalid-token", "iss, iat, exp and aud are there"),
    "mint.audience": ("invalid-token", "one audience, and it is this index's"),
    "mint.expired": ("invalid-token", "not expired, within 30 s"),
    "mint.future": ("invalid-token", "neither issued nor valid only in the future, within 30 s"),
    "mint.pending-exists": (
        "invalid-pending-publisher",
        "the project of a pending publisher does not exist yet",
    ),
    "mint.claim-missing": ("invalid-publisher", "every claim that a publisher is checked by is there"),
    "mint.repository": ("invalid-publisher", "a publisher has this repository, in any case of letters"),
    "mint.owner": ("invalid-publisher", "a publisher has this repository owner"),
    "mint.owner-id": ("invalid-publisher", "a publisher has this owner's number"),
    "mint.workflow": ("invalid-publisher", "a publisher has this workflow file, at the token's ref or sha"),
    "mint.environment": ("invalid-publisher", "a publisher has this environment"),
    "mint.event": ("invalid-publisher", "the event is not pull_request_target"),
    "mint.replay": ("invalid-reuse-token", "the token was not exchanged before"),
}
"""Rule -> the index's error code, and what the rule asks."""

_CLAIMS = ("repository", "repository_owner", "repository_owner_id", "job_workflow_ref", "jti", "event_name")


@dataclass(frozen=True, slots=True, kw_only=True)
class Publisher:
    """One trusted publisher as its form on the index holds it."""

    owner: str
    owner_id: str
    repository: str
    workflow: str
    environment: str
    """Empty: any."""
    project: str
    pending: bool = False
    """True until the first token creates the project."""

    @property
    def identity(self) -> GitHubPublisher:
        """The publisher as attestations and their provenance name it."""
        repository = f"{self.owner}/{self.repository}"
        return GitHubPublisher(
            repository=repository, workflow=self.workflow, environment=self.environment or None
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why no upload token was given."""

    rule: str
    detail: str

    @property
    def code(self) -> str:
        """The index's error code."""
        return RULES[self.rule][0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """An ID token whose signature, issuer, audience and times hold."""

    claims: Mapping[str, Any]

    def text(self, claim: str) -> str:
        """A claim as text, empty when absent."""
        return str(self.claims.get(claim, ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """The publisher an ID token stands for."""

    publisher: Publisher
    jti: str


class _Body(BaseModel):
    token: StrictStr


def payload(body: bytes) -> str | Refusal:
    """The ID token in a minting request."""
    try:
        return _Body.model_validate_json(body).token
    except ValidationError as error:
        return Refusal(rule="mint.body", detail=error.errors()[0]["msg"])


def verified(
    token: str, *, keys: Mapping[str, RSAPublicKey], audience: str, now: dt.datetime
) -> Verified | Refusal:
    """The token's claims, once its signature, issuer, audience and times hold."""
    try:
        unverified = jwt.decode_complete(token, options={"verify_signature": False})
    except jwt.InvalidTokenError as error:
        return Refusal(rule="mint.jwt", detail=f"malformed JWT: {error}")
    claims = cast("dict[str, Any]", unverified["payload"])
    if "iss" not in claims:
        return Refusal(rule="mint.jwt", detail="malformed JWT: it names no issuer")
    if claims["iss"] != ISSUER:
        return Refusal(rule="mint.issuer", detail="unknown trusted publishing issuer")
    key = keys.get(str(unverified["header"].get("kid")))
    if key is None:
        return Refusal(rule="mint.signature", detail="malformed or invalid token: unknown key")
    try:
        # Times are checked below, against the index's own clock.
        jwt.decode(
            token,
            key,
            algorithms=["RS256"],
            audience=audience,
            options={
                "require": ["iss", "iat", "exp", "aud"],
                "strict_aud": True,
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
    except jwt.MissingRequiredClaimError as error:
        return Refusal(rule="mint.required", detail=f"malformed or invalid token: {error}")
    except jwt.InvalidAudienceError as error:
        return Refusal(rule="mint.audience", detail=f"malformed or invalid token: {error}")
    except jwt.InvalidTokenError as error:
        return Refusal(rule="mint.signature", detail=f"malformed or invalid token: {error}")
    return _in_time(claims, now.timestamp()) or Verified(claims=claims)


def _in_time(claims: Mapping[str, Any], now_s: float) -> Refusal | None:
    try:
        expires, begins = int(claims["exp"]), max(int(claims["iat"]), int(claims.get("nbf", claims["iat"])))
    except (TypeError, ValueError):
        return Refusal(rule="mint.required", detail="malformed or invalid token: a time is not a number")
    if expires <= now_s - LEEWAY_S:
        return Refusal(rule="mint.expired", detail="malformed or invalid token: expired")
    if begins > now_s + LEEWAY_S:
        return Refusal(rule="mint.future", detail="malformed or invalid token: not valid yet")
    return None


def grant(
    token: Verified,
    *,
    publishers: Collection[Publisher],
    projects: Collection[str],
    exchanged: Collection[str],
) -> Grant | Refusal:
    """The publisher that a verified token stands for, a pending one first.

    Args:
        token: The verified ID token.
        publishers: Every publisher the index knows.
        projects: Normalised names of the projects that exist.
        exchanged: The `jti` of every token exchanged before.
    """
    missing = [claim for claim in _CLAIMS if claim not in token.claims]
    if missing:
        return _no_publisher("mint.claim-missing", f"missing claim {missing[0]!r}")
    if token.text("event_name") == "pull_request_target":
        return _no_publisher("mint.event", "check failed for claim 'event_name'")
    if token.text("jti") in exchanged:
        return Refusal(rule="mint.replay", detail="invalid token: already used")
    misfits: list[Refusal] = []
    for publisher in sorted(publishers, key=lambda publisher: not publisher.pending):
        misfit = _misfit(publisher, token)
        if misfit is not None:
            misfits.append(misfit)
        elif publisher.pending and publisher.project in projects:
            return Refusal(rule="mint.pending-exists", detail="valid token, but the project already exists")
        else:
            return Grant(publisher=publisher, jti=token.text("jti"))
    # The publisher that came furthest says most about what is wrong.
    order = list(RULES)
    nearest = max(misfits, key=lambda refusal: order.index(refusal.rule), default=None)
    return nearest or _no_publisher("mint.repository", "the index knows no publisher")


def _misfit(publisher: Publisher, token: Verified) -> Refusal | None:
    """What keeps a token from standing for `publisher`."""
    home = f"{publisher.owner}/{publisher.repository}"
    if token.text("repository").lower() != home.lower():
        return _no_publisher("mint.repository", f"the repository is {token.text('repository')!r}")
    if token.text("repository_owner") != publisher.owner:
        return _no_publisher("mint.owner", f"the repository's owner is {token.text('repository_owner')!r}")
    if token.text("repository_owner_id") != publisher.owner_id:
        return _no_publisher("mint.owner-id", f"the owner's number is {token.text('repository_owner_id')!r}")
    where, _, at = token.text("job_workflow_ref").partition("@")
    folder, _, file = where.rpartition("/")
    at_own = at != "" and at in {token.text("ref"), token.text("sha")}
    if folder.lower() != f"{home}/.github/workflows".lower() or file != publisher.workflow or not at_own:
        return _no_publisher("mint.workflow", f"the workflow is {token.text('job_workflow_ref')!r}")
    if publisher.environment and token.text("environment").lower() != publisher.environment.lower():
        return _no_publisher("mint.environment", f"the environment is {token.text('environment')!r}")
    return None


def _no_publisher(rule: str, why: str) -> Refusal:
    return Refusal(rule=rule, detail=f"valid token, but no corresponding publisher ({why})")
