"""The issuer of ID tokens: what it says of a job, to whom, and how its word is checked."""

import datetime as dt
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from release.rehearsal.issuer import Issuer
from release.rehearsal.wire import Request, Response
from tests.release.rehearsal.support import FACTS

NOW = dt.datetime(2026, 1, 2, 3, 4, 5, 600_000, tzinfo=dt.UTC)
NOW_S = 1_767_323_045
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
REF, SHA = "refs/tags/v1.0", "a" * 40


@pytest.fixture
def issuer() -> Issuer:
    made = Issuer(FACTS, lambda: NOW, KEY)
    made.base = "http://127.0.0.1:5"
    return made


async def asked(issuer: Issuer, target: str, authorization: str | None = None) -> Response:
    headers = {} if authorization is None else {"authorization": authorization}
    return await issuer.handle(Request(method="GET", target=target, headers=headers))


def read(issuer: Issuer, token: str) -> dict[str, Any]:
    """What a token says, once its signature holds with the key that it names."""
    key = issuer.keys[jwt.get_unverified_header(token)["kid"]]
    return jwt.decode(
        token,
        key,
        algorithms=["RS256"],
        options={"verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False},
    )


@pytest.mark.parametrize(("ref", "kind"), [(REF, "tag"), ("refs/heads/tags", "branch")])
def test_a_job_is_described_as_githubs_documentation_does(issuer: Issuer, ref: str, kind: str) -> None:
    """Publishers' claims, and those that a signature's certificate names."""
    job = issuer.job("pypi", ref=ref, sha=SHA)
    home = "Somebody/demo-project"
    workflow = f"{home}/.github/workflows/release.yml@{ref}"
    said = issuer.claims(job.token, "pypi")
    assert len(str(said.pop("jti"))) == 36
    assert said == {
        "aud": "pypi",
        "iss": "https://token.actions.githubusercontent.com",
        "iat": NOW_S,
        "nbf": NOW_S,
        "exp": NOW_S + 300,
        "sub": f"repo:{home}:environment:pypi",
        "ref": ref,
        "ref_type": kind,
        "ref_protected": "true",
        "sha": SHA,
        "repository": home,
        "repository_id": "1",
        "repository_owner": "Somebody",
        "repository_owner_id": "4711",
        "repository_visibility": "public",
        "actor": "Somebody",
        "actor_id": "4711",
        "workflow": "release",
        "workflow_ref": workflow,
        "workflow_sha": SHA,
        "job_workflow_ref": workflow,
        "job_workflow_sha": SHA,
        "run_id": "1",
        "run_number": "1",
        "run_attempt": "1",
        "event_name": "push",
        "head_ref": "",
        "base_ref": "",
        "environment": "pypi",
        "runner_environment": "github-hosted",
    }


def test_a_test_may_say_something_else_of_a_job(issuer: Issuer) -> None:
    """In place of what such a job usually says, and beside it."""
    job = issuer.job("pypi", ref=REF, sha=SHA, run_id="7", more="x")
    said = issuer.claims(job.token, "pypi")
    assert (said["run_id"], said["more"], said["run_number"]) == ("7", "x", "1")


def test_before_it_listens_an_address_names_no_host() -> None:
    """The world says where, once the port is known."""
    job = Issuer(FACTS, lambda: NOW, KEY).job("pypi", ref=REF, sha=SHA)
    assert job.url == "/idtoken/1?api-version=2.0"


def test_every_token_and_every_job_is_another_one(issuer: Issuer) -> None:
    """A token is exchanged once, and what one job shows opens no other job's."""
    one, other = (issuer.job("pypi", ref=REF, sha=SHA) for _ in range(2))
    assert one.token != other.token
    assert min(len(one.token), len(other.token)) >= 32
    assert issuer.claims(one.token, "pypi")["jti"] != issuer.claims(one.token, "pypi")["jti"]
    assert Issuer(FACTS, lambda: NOW, KEY).keys.keys() != issuer.keys.keys()


def test_a_runner_is_told_where_to_ask_and_what_to_show(issuer: Issuer) -> None:
    """Under the names that clients look for."""
    job = issuer.job("pypi", ref=REF, sha=SHA)
    assert job.environment == {
        "GITHUB_ACTIONS": "true",
        "ACTIONS_ID_TOKEN_REQUEST_URL": "http://127.0.0.1:5/idtoken/1?api-version=2.0",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": job.token,
    }


@pytest.mark.parametrize(
    ("query", "audience"), [("&audience=pypi", "pypi"), ("", "https://github.com/Somebody")]
)
async def test_a_job_gets_a_token_for_whom_it_asks(issuer: Issuer, query: str, audience: str) -> None:
    """For the owner of the repository, where it names nobody."""
    job = issuer.job("pypi", ref=REF, sha=SHA)
    target = job.url.removeprefix("http://127.0.0.1:5") + query
    answer = await asked(issuer, target, f"Bearer {job.token}")
    assert answer.status == 200
    said = json.loads(answer.body)
    assert said.keys() == {"count", "value"}
    assert said["count"] == 1
    told = read(issuer, said["value"])
    assert (told["aud"], told["environment"]) == (audience, "pypi")


async def test_who_shows_no_jobs_token_gets_none(issuer: Issuer) -> None:
    """Neither a stranger nor a job that shows it in another way."""
    job = issuer.job("pypi", ref=REF, sha=SHA)
    for authorization in (None, "bearer x", f"Basic {job.token}", job.token, f"bearer {job.token} x"):
        answer = await asked(issuer, "/idtoken/1?audience=pypi", authorization)
        assert answer.status == 401
        assert json.loads(answer.body) == {"message": "no job shows this request token"}


async def test_its_keys_are_found_as_a_client_looks_for_them(issuer: Issuer) -> None:
    """From its name to the document, from there to the keys, and with those to its word."""
    document = json.loads((await asked(issuer, "/.well-known/openid-configuration")).body)
    assert document == {
        "issuer": "https://token.actions.githubusercontent.com",
        "jwks_uri": "http://127.0.0.1:5/.well-known/jwks",
        "id_token_signing_alg_values_supported": ["RS256"],
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public", "pairwise"],
    }
    (key,) = json.loads((await asked(issuer, "/.well-known/jwks")).body)["keys"]
    token = issuer.sign({"a": "b"})
    assert {name: key[name] for name in ("kty", "use", "alg")} == {"kty": "RSA", "use": "sig", "alg": "RS256"}
    assert key["kid"] == jwt.get_unverified_header(token)["kid"]
    assert jwt.decode(token, jwt.PyJWK(key).key, algorithms=["RS256"]) == {"a": "b"}


async def test_it_answers_nothing_else(issuer: Issuer) -> None:
    """What is not built is not pretended."""
    answer = await asked(issuer, "/elsewhere")
    assert (answer.status, json.loads(answer.body)) == (404, {"message": "not found"})


def test_an_issuer_has_a_key_that_no_other_has() -> None:
    """A token of one rehearsal is worthless in the next."""
    one, other = Issuer(FACTS, lambda: NOW), Issuer(FACTS, lambda: NOW)
    (key,), (second,) = one.keys.values(), other.keys.values()
    assert (key.key_size, key.public_numbers().e) == (2048, 65537)
    assert key.public_numbers() != second.public_numbers()
