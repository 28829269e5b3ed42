"""Who may upload: every rule of the minting endpoint, each broken alone."""

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from release.rehearsal import minting
from release.rehearsal.issuer import Issuer
from release.rehearsal.minting import Grant, Publisher, Refusal
from tests.release.rehearsal.support import FACTS

NOW = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
ISSUER = Issuer(FACTS, lambda: NOW)
PENDING = Publisher(
    owner=FACTS.owner,
    owner_id=FACTS.owner_id,
    repository=FACTS.repository,
    workflow=FACTS.workflow,
    environment="pypi",
    project=FACTS.project,
    pending=True,
)
REF, SHA = "refs/tags/v1.0", "a" * 40

Claims = dict[str, Any]


def claims(**changed: object) -> Claims:
    """The claims of a right token for PyPI, with changes; None leaves a claim out."""
    job = ISSUER.job("pypi", ref=REF, sha=SHA)
    found = {**ISSUER.claims(job.token, "pypi"), **changed}
    return {name: value for name, value in found.items() if value is not None}


def decided(
    token: str,
    publisher: Publisher = PENDING,
    *,
    audience: str = "pypi",
    projects: tuple[str, ...] = (),
    exchanged: tuple[str, ...] = (),
) -> Grant | Refusal:
    """What the index makes of a token."""
    found = minting.payload(json.dumps({"token": token}).encode())
    assert isinstance(found, str)
    checked = minting.verified(found, keys=ISSUER.keys, audience=audience, now=NOW)
    if isinstance(checked, Refusal):
        return checked
    return minting.grant(checked, publishers=[publisher], projects=projects, exchanged=exchanged)


def shifted(seconds: int, *names: str) -> dict[str, int]:
    """Time claims, so many seconds from now."""
    return dict.fromkeys(names, int(NOW.timestamp()) + seconds)


def resigned(token: str) -> str:
    """The same claims, signed by a key that the issuer does not publish, under the issuer's key id."""
    head = jwt.get_unverified_header(token)
    foreign = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    inside = jwt.decode(token, options={"verify_signature": False})
    return jwt.encode(inside, foreign, algorithm="RS256", headers={"kid": head["kid"]})


def symmetric(token: str) -> str:
    """The same claims under an algorithm that needs no key of the issuer's."""
    head = jwt.get_unverified_header(token)
    inside = jwt.decode(token, options={"verify_signature": False})
    return jwt.encode(inside, "x" * 64, algorithm="HS256", headers={"kid": head["kid"]})


def job_at(path: str, at: str = REF) -> dict[str, object]:
    return {"job_workflow_ref": f"{path}@{at}"}


HOME = f"{FACTS.owner}/{FACTS.repository}/.github/workflows"

REFUSED: list[tuple[str, Callable[[], Grant | Refusal]]] = [
    ("mint.jwt", lambda: decided("no.token.at-all")),
    ("mint.jwt", lambda: decided(ISSUER.sign(claims(iss=None)))),
    ("mint.issuer", lambda: decided(ISSUER.sign(claims(iss="https://elsewhere.invalid")))),
    ("mint.signature", lambda: decided(resigned(ISSUER.sign(claims())))),
    ("mint.signature", lambda: decided(symmetric(ISSUER.sign(claims())))),
    ("mint.signature", lambda: decided(Issuer(FACTS, lambda: NOW).sign(claims()))),
    ("mint.required", lambda: decided(ISSUER.sign(claims(exp=None)))),
    ("mint.required", lambda: decided(ISSUER.sign(claims(iat=None)))),
    ("mint.required", lambda: decided(ISSUER.sign(claims(aud=None)))),
    ("mint.required", lambda: decided(ISSUER.sign(claims(exp="soon")))),
    ("mint.audience", lambda: decided(ISSUER.sign(claims(aud="testpypi")))),
    ("mint.audience", lambda: decided(ISSUER.sign(claims(aud=["pypi", "testpypi"])))),
    ("mint.expired", lambda: decided(ISSUER.sign(claims(**shifted(-30, "exp"))))),
    ("mint.future", lambda: decided(ISSUER.sign(claims(**shifted(31, "iat"))))),
    ("mint.future", lambda: decided(ISSUER.sign(claims(**shifted(31, "nbf"))))),
    ("mint.pending-exists", lambda: decided(ISSUER.sign(claims()), projects=(FACTS.project,))),
    *(
        ("mint.claim-missing", lambda name=name: decided(ISSUER.sign(claims(**{name: None}))))
        for name in ("repository", "repository_owner", "repository_owner_id", "job_workflow_ref", "jti")
    ),
    ("mint.repository", lambda: decided(ISSUER.sign(claims(repository="Somebody/other")))),
    ("mint.owner", lambda: decided(ISSUER.sign(claims(repository_owner="somebody")))),
    ("mint.owner-id", lambda: decided(ISSUER.sign(claims(repository_owner_id="4712")))),
    ("mint.workflow", lambda: decided(ISSUER.sign(claims(**job_at(f"{HOME}/ci.yml"))))),
    (
        "mint.workflow",
        lambda: decided(ISSUER.sign(claims(**job_at(f"{HOME}/release.yml", "refs/heads/main")))),
    ),
    ("mint.workflow", lambda: decided(ISSUER.sign(claims(**job_at("x/y/.github/workflows/release.yml"))))),
    (
        "mint.workflow",
        lambda: decided(ISSUER.sign(claims(ref="", job_workflow_ref=f"{HOME}/release.yml"))),
    ),
    ("mint.environment", lambda: decided(ISSUER.sign(claims(environment="testpypi")))),
    ("mint.environment", lambda: decided(ISSUER.sign(claims(environment=None)))),
    ("mint.event", lambda: decided(ISSUER.sign(claims(event_name="pull_request_target")))),
    ("mint.replay", lambda: decided(ISSUER.sign(claims(jti="once")), exchanged=("once",))),
]


@pytest.mark.parametrize(("rule", "attempt"), REFUSED)
def test_minting_refuses(rule: str, attempt: Callable[[], Grant | Refusal]) -> None:
    """A token that one rule forbids must not become an upload token, and the answer names that rule."""
    answer = attempt()
    assert isinstance(answer, Refusal)
    assert answer.rule == rule
    assert answer.code == minting.RULES[rule][0]
    assert answer.detail


NOBODY = "valid token, but no corresponding publisher"


@pytest.mark.parametrize(
    ("changed", "detail"),
    [
        ({"iss": None}, "malformed JWT: it names no issuer"),
        ({"iss": "https://elsewhere.invalid"}, "unknown trusted publishing issuer"),
        ({"exp": "soon"}, "malformed or invalid token: a time is not a number"),
        (shifted(-30, "exp"), "malformed or invalid token: expired"),
        (shifted(31, "iat"), "malformed or invalid token: not valid yet"),
        ({"jti": "once"}, "invalid token: already used"),
        ({"repository": None}, f"{NOBODY} (missing claim 'repository')"),
        ({"repository": "a/b"}, f"{NOBODY} (the repository is 'a/b')"),
        ({"repository_owner": "somebody"}, f"{NOBODY} (the repository's owner is 'somebody')"),
        ({"repository_owner_id": "4712"}, f"{NOBODY} (the owner's number is '4712')"),
        (job_at(f"{HOME}/ci.yml"), f"{NOBODY} (the workflow is '{HOME}/ci.yml@{REF}')"),
        ({"environment": "else"}, f"{NOBODY} (the environment is 'else')"),
        ({"environment": None}, f"{NOBODY} (the environment is '')"),
        ({"event_name": "pull_request_target"}, f"{NOBODY} (check failed for claim 'event_name')"),
    ],
)
def test_a_refusal_says_what_was_found_instead(changed: Claims, detail: str) -> None:
    """It is all that a person sees of what went wrong, in the log of an upload."""
    answer = decided(ISSUER.sign(claims(**changed)), exchanged=("once",))
    assert isinstance(answer, Refusal)
    assert answer.detail == detail


def test_a_refusal_of_a_key_or_of_a_project_says_so() -> None:
    """Neither is a claim of the token."""
    stranger = decided(Issuer(FACTS, lambda: NOW).sign(claims()))
    assert isinstance(stranger, Refusal)
    assert stranger.detail == "malformed or invalid token: unknown key"
    taken = decided(ISSUER.sign(claims()), projects=(FACTS.project,))
    assert isinstance(taken, Refusal)
    assert taken.detail == "valid token, but the project already exists"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"token": 5}', b'{"token": null}'])
def test_minting_refuses_a_body_without_a_token(body: bytes) -> None:
    """A malformed request is told apart from a bad token."""
    answer = minting.payload(body)
    assert isinstance(answer, Refusal)
    assert (answer.rule, answer.code) == ("mint.body", "invalid-payload")
    assert answer.detail.startswith(("Invalid JSON: ", "Input should be ", "Field required"))


def test_every_minting_rule_has_a_test_that_breaks_it() -> None:
    """A rule without a negative test could vanish unseen."""
    assert {rule for rule, _ in REFUSED} | {"mint.body"} == set(minting.RULES)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"repository": "somebody/DEMO-project"},
        {"environment": "PyPI"},
        job_at(f"{HOME}/release.yml", SHA),
        shifted(-29, "exp"),
        shifted(30, "iat", "nbf"),
        {"nbf": None},
        {"ref": "refs/tags/v1@2", **job_at(f"{HOME}/release.yml", "refs/tags/v1@2")},
    ],
)
def test_minting_grants_what_fits(changed: dict[str, object]) -> None:
    """The edges that must be let through: letter case, the leeway, a workflow named by its commit."""
    answer = decided(ISSUER.sign(claims(jti="its own", **changed)))
    assert answer == Grant(publisher=PENDING, jti="its own")


def test_minting_prefers_the_pending_publisher() -> None:
    """A pending publisher creates its project even where another one fits too."""
    settled = replace(PENDING, pending=False, project="other")
    checked = minting.verified(ISSUER.sign(claims()), keys=ISSUER.keys, audience="pypi", now=NOW)
    assert isinstance(checked, minting.Verified)
    answer = minting.grant(checked, publishers=[settled, PENDING], projects=["other"], exchanged=())
    assert isinstance(answer, Grant)
    assert answer.publisher is PENDING


def test_minting_names_what_the_nearest_publisher_lacks() -> None:
    """With several publishers the answer speaks of the one that came furthest, not of a stranger."""
    near, far = replace(PENDING, environment="other"), replace(PENDING, repository="elsewhere")
    checked = minting.verified(ISSUER.sign(claims()), keys=ISSUER.keys, audience="pypi", now=NOW)
    assert isinstance(checked, minting.Verified)
    answer = minting.grant(checked, publishers=[near, far], projects=(), exchanged=())
    assert isinstance(answer, Refusal)
    assert answer.rule == "mint.environment"
    none = minting.grant(checked, publishers=[], projects=(), exchanged=())
    assert isinstance(none, Refusal)
    assert none.code == "invalid-publisher"
    assert none.detail == f"{NOBODY} (the index knows no publisher)"


@pytest.mark.parametrize("year", [2001, 2100])
def test_minting_reads_no_clock_but_the_indexs(year: int) -> None:
    """A rehearsal that stands at another time takes the tokens of that time, and no others."""
    then = dt.datetime(year, 1, 2, tzinfo=dt.UTC)
    issuer = Issuer(FACTS, lambda: then)
    token = issuer.sign(issuer.claims(issuer.job("pypi", ref=REF, sha=SHA).token, "pypi"))
    checked = minting.verified(token, keys=issuer.keys, audience="pypi", now=then)
    assert isinstance(checked, minting.Verified)
