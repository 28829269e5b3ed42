"""The embedded Sigstore's own decisions; that real clients take its answers, the other tests here show."""

import base64
import datetime as dt
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st
from sigstore._internal import merkle  # pyright: ignore[reportMissingModuleSource]
from sigstore._internal.sct import verify_sct
from sigstore._internal.trust import KeyringPurpose
from sigstore.models import ClientTrustConfig, TransparencyLogEntry

from release.rehearsal.issuer import Issuer
from release.rehearsal.minting import Verified
from release.rehearsal.sigstore import trust
from release.rehearsal.sigstore.authority import LIFE, CertificateAuthority
from release.rehearsal.sigstore.log import TransparencyLog, inclusion, tree_hash
from release.rehearsal.wire import Request, Response
from release.rehearsal.world import now
from tests.release.rehearsal.support import FACTS

SIGNING, ENTRIES = "/api/v2/signingCert", "/api/v1/log/entries"


def csr(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None) -> bytes:
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    signed = made.sign(key or ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)


def request(path: str, body: object, *, method: str = "POST", bearer: str | None = None) -> Request:
    headers = {} if bearer is None else {"authorization": f"Bearer {bearer}"}
    return Request(method=method, target=path, headers=headers, body=json.dumps(body).encode())


class Asked:
    """An authority, and tokens of a job for it."""

    def __init__(self) -> None:
        self.issuer = Issuer(FACTS, now)
        self.authority = CertificateAuthority(now, lambda: self.issuer.keys)

    def token(self, audience: str = "sigstore", **claims: object) -> str:
        job = self.issuer.job("pypi", ref="refs/tags/v1.0", sha="a" * 40)
        return self.issuer.sign({**self.issuer.claims(job.token, audience), **claims})

    async def ask(self, pem: bytes, token: str | None) -> Response:
        body = {"certificateSigningRequest": base64.b64encode(pem).decode()}
        return await self.authority.handle(request(SIGNING, body, bearer=token))


@pytest.fixture(scope="module")
def asked() -> Asked:
    return Asked()


async def test_a_certificate_lives_ten_minutes_and_names_the_job(asked: Asked) -> None:
    """Anybody can read from it who signed, from which workflow, for which commit."""
    answer = await asked.ask(csr(), asked.token())
    chain = json.loads(answer.body)["signedCertificateEmbeddedSct"]["chain"]["certificates"]
    leaf, root = (x509.load_pem_x509_certificate(pem.encode()) for pem in chain)
    leaf.verify_directly_issued_by(root)
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == LIFE
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [
        "https://github.com/Somebody/demo-project/.github/workflows/release.yml@refs/tags/v1.0"
    ]


def test_a_certificate_says_of_the_job_what_the_public_one_says(asked: Asked) -> None:
    """Every claim under the number of Fulcio's registry: a claim under another one would be believed too."""
    own = (
        *("iss", "job_workflow_ref", "job_workflow_sha", "runner_environment", "repository", "sha", "ref"),
        *("repository_id", "repository_owner", "repository_owner_id", "workflow_ref", "workflow_sha"),
        *("event_name", "run_id", "run_attempt", "repository_visibility"),
    )
    claims = Verified(claims={name: f"<{name}>" for name in own})
    made = asked.authority.issue(ec.generate_private_key(ec.SECP256R1()).public_key(), claims)
    home = "https://github.com/"
    wanted = {
        8: "<iss>",
        9: f"{home}<job_workflow_ref>",
        10: "<job_workflow_sha>",
        11: "<runner_environment>",
        12: f"{home}<repository>",
        13: "<sha>",
        14: "<ref>",
        15: "<repository_id>",
        16: f"{home}<repository_owner>",
        17: "<repository_owner_id>",
        18: f"{home}<workflow_ref>",
        19: "<workflow_sha>",
        20: "<event_name>",
        21: f"{home}<repository>/actions/runs/<run_id>/attempts/<run_attempt>",
        22: "<repository_visibility>",
    }
    said = {
        each.oid.dotted_string: asn1.decode_der(str, each.value.value)
        for each in made.extensions
        if isinstance(each.value, x509.UnrecognizedExtension)
    }
    assert said == {f"1.3.6.1.4.1.57264.1.{number}": text for number, text in wanted.items()}


MADE = dt.datetime(2026, 1, 2, 3, 4, 5, 999_999, tzinfo=dt.UTC)
SECOND = MADE.replace(microsecond=0)


def said(certificate: x509.Certificate) -> dict[type[x509.ExtensionType], tuple[bool, x509.ExtensionType]]:
    """Kind of extension -> whether who does not know it must refuse, and what it says."""
    return {type(each.value): (each.critical, each.value) for each in certificate.extensions}


def usages(certificate: x509.Certificate) -> set[str]:
    """What its key may be used for."""
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment")
    return {name for name in (*names, "key_agreement", "key_cert_sign", "crl_sign") if getattr(usage, name)}


def test_the_authority_signs_certificates_and_nothing_else() -> None:
    """Valid before the first certificate is made, and no authority below it may make others."""
    root = CertificateAuthority(lambda: MADE, dict).root
    assert root.subject.rfc4514_string() == "CN=sigstore,O=release rehearsal"
    assert root.issuer == root.subject
    root.verify_directly_issued_by(root)
    since = SECOND - dt.timedelta(hours=1)
    assert root.not_valid_before_utc == since
    assert root.not_valid_after_utc == since + dt.timedelta(days=3650)
    assert usages(root) == {"key_cert_sign", "crl_sign"}
    found = said(root)
    assert found[x509.BasicConstraints] == (True, x509.BasicConstraints(ca=True, path_length=0))
    assert {kind: critical for kind, (critical, _) in found.items()} == {
        x509.BasicConstraints: True,
        x509.KeyUsage: True,
        x509.SubjectKeyIdentifier: False,
    }


def test_a_certificate_is_for_signing_alone() -> None:
    """From the second in which it is made; a client that knows only the public parts can read it."""
    authority = CertificateAuthority(lambda: MADE, dict)
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    made = authority.issue(key, Verified(claims={"job_workflow_ref": "somebody/demo"}))
    assert made.not_valid_before_utc == SECOND
    assert usages(made) == {"digital_signature"}
    found = said(made)
    signing = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])
    assert found[x509.ExtendedKeyUsage] == (False, signing)
    assert found[x509.SubjectKeyIdentifier] == (False, x509.SubjectKeyIdentifier.from_public_key(key))
    above = authority.root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    issuer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(above)
    assert found[x509.AuthorityKeyIdentifier] == (False, issuer)
    assert {kind: critical for kind, (critical, _) in found.items() if critical} == {
        x509.KeyUsage: True,
        x509.SubjectAlternativeName: True,
    }


def test_a_client_takes_the_trust_root_and_what_it_vouches_for(asked: Asked, tmp_path: Path) -> None:
    """Sigstore's own client reads the file, finds both services, and verifies a certificate with its keys."""
    written = trust.write(tmp_path / "trust.json", asked.authority, TransparencyLog(now))
    config = ClientTrustConfig.from_json(written.read_text(encoding="utf-8"))
    told = json.loads(written.read_text(encoding="utf-8"))["trustedRoot"]
    (fulcio,) = told["certificateAuthorities"]
    assert fulcio["subject"] == {"organization": "release rehearsal", "commonName": "sigstore"}
    assert [each["baseUrl"] for each in told["ctlogs"]] == ["https://ctfe.sigstore.dev"]
    root, found = config.trusted_root, config.signing_config
    assert root.get_fulcio_certs() == [asked.authority.root]
    assert found.get_fulcio().url == "https://fulcio.sigstore.dev"
    assert [getattr(each, "url", "") for each in found.get_tlogs()] == ["https://rekor.sigstore.dev/api/v1"]
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    made = asked.authority.issue(key, Verified(claims={"job_workflow_ref": "somebody/demo"}))
    verify_sct(made, [asked.authority.root], root.ct_keyring(KeyringPurpose.VERIFY))
    proofs = made.extensions.get_extension_for_class(x509.PrecertificateSignedCertificateTimestamps).value
    assert [proof.timestamp for proof in proofs] == [made.not_valid_before_utc.replace(tzinfo=None)]


@pytest.mark.parametrize(
    ("audience", "claims"),
    [("pypi", {}), ("sigstore", {"exp": 1}), ("sigstore", {"iss": "https://example.org"})],
)
async def test_a_token_for_something_else_gets_no_certificate(
    asked: Asked, audience: str, claims: dict[str, object]
) -> None:
    """PyPI's audience, an expired one, another issuer's."""
    answer = await asked.ask(csr(), asked.token(audience, **claims))
    assert answer.status == 401
    told = json.loads(answer.body)
    assert told["code"] == 16
    assert told["message"].startswith("There was an error processing the identity token: ")


async def test_without_a_token_there_is_no_certificate(asked: Asked) -> None:
    """Not as an error of the authority's; a token that is not said to be one counts for nothing."""
    assert (await asked.ask(csr(), None)).status == 401
    body = {"certificateSigningRequest": base64.b64encode(csr()).decode()}
    for scheme, status in (("Basic", 401), ("bearer", 200)):
        headers = {"authorization": f"{scheme} {asked.token()}"}
        made = replace(request(SIGNING, body), headers=headers)
        assert (await asked.authority.handle(made)).status == status


async def test_a_request_that_is_none_gets_no_certificate(asked: Asked) -> None:
    """No Base64, no request, a kind of key that the clients do not use, one that is changed."""
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    for pem in (b"no request", csr(rsa_key)):
        answer = await asked.ask(pem, asked.token())
        assert answer.status == 400
        assert json.loads(answer.body) == {
            "code": 3,
            "message": "The signing request is malformed, or its key did not sign it",
        }
    good = base64.b64encode(csr()).decode()
    for body in ({}, {"certificateSigningRequest": f"*{good}"}):
        got = await asked.authority.handle(request(SIGNING, body, bearer=asked.token()))
        assert got.status == 400


async def test_a_request_that_its_key_did_not_sign_gets_no_certificate(asked: Asked) -> None:
    """Whoever asks must hold the key: here another key stands in the signed part."""
    ours, other = (x509.load_pem_x509_csr(csr()).public_bytes(serialization.Encoding.DER) for _ in range(2))
    swapped = ours[:-64] + other[-64:]
    label = "CERTIFICATE REQUEST"
    encoded = base64.encodebytes(swapped).decode()
    pem = f"-----BEGIN {label}-----\n{encoded}-----END {label}-----\n".encode()
    assert (await asked.ask(pem, asked.token())).status == 400


@pytest.mark.parametrize(("method", "path"), [("GET", SIGNING), ("POST", "/api/v2/other")])
async def test_the_authority_does_one_thing(asked: Asked, method: str, path: str) -> None:
    """What the clients do not ask for is not there."""
    answer = await asked.authority.handle(request(path, {}, method=method))
    assert (answer.status, json.loads(answer.body)) == (404, {"code": 5, "message": "Not Found"})


def proposed(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - parts of JSON
    envelope = {"payload": base64.b64encode(b"statement").decode(), "signatures": [{"sig": "c2ln"}]}
    content = {"envelope": json.dumps(envelope), "verifiers": ["cGVt"], **changes}
    return {"kind": "dsse", "apiVersion": "0.0.1", "spec": {"proposedContent": content}}


async def test_the_log_takes_signed_statements_in_order() -> None:
    """Each entry gets the next index, and the log keeps digests only."""
    log = TransparencyLog(now)
    answers = [await log.handle(request(ENTRIES, proposed())) for _ in range(3)]
    assert [answer.status for answer in answers] == [201, 201, 201]
    entries = [next(iter(json.loads(answer.body).values())) for answer in answers]
    assert [entry["logIndex"] for entry in entries] == [0, 1, 2]
    assert all(b"statement" not in body for body in log.entries)


async def test_a_client_verifies_what_the_log_answers(asked: Asked, tmp_path: Path) -> None:
    """Proof, checkpoint and promise hold with the log's key alone; the entry is of what was proposed."""
    log = TransparencyLog(now)
    trusted = trust.write(tmp_path / "trust.json", asked.authority, log).read_text(encoding="utf-8")
    keys = ClientTrustConfig.from_json(trusted).trusted_root.rekor_keyring(KeyringPurpose.VERIFY)
    answers = [json.loads((await log.handle(request(ENTRIES, proposed()))).body) for _ in range(3)]
    for answer in answers:
        entry = TransparencyLogEntry._from_v1_response(answer)  # pyright: ignore[reportPrivateUsage]
        entry._verify(keys)  # pyright: ignore[reportPrivateUsage]
    ((name, said),) = answers[-1].items()
    body = base64.b64decode(said["body"])
    assert body == json.dumps(json.loads(body), separators=(",", ":")).encode(), "as the public log writes it"
    assert (name, body) == (hashlib.sha256(b"\0" + body).hexdigest(), log.entries[2])
    envelope = proposed()["spec"]["proposedContent"]["envelope"].encode()
    spec = {
        "envelopeHash": {"algorithm": "sha256", "value": hashlib.sha256(envelope).hexdigest()},
        "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(b"statement").hexdigest()},
        "signatures": [{"signature": "c2ln", "verifier": "cGVt"}],
    }
    assert json.loads(body) == {"apiVersion": "0.0.1", "kind": "dsse", "spec": spec}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {**proposed(), "kind": "hashedrekord"},
        {**proposed(), "apiVersion": "0.0.2"},
        proposed(envelope="{}"),
        proposed(envelope=json.dumps({"payload": "***", "signatures": [{"sig": ""}]})),
        proposed(verifiers=[]),
    ],
)
async def test_the_log_takes_nothing_else(body: dict[str, object]) -> None:
    """And keeps nothing of it."""
    log = TransparencyLog(now)
    answer = await log.handle(request(ENTRIES, body))
    told = json.loads(answer.body)
    assert (answer.status, told["code"]) == (400, 400)
    why = r"error processing entry: (\d validation error.* for _(Entry|Envelope)|.*[Bb]ase64.*)"
    assert re.fullmatch(why, told["message"])
    assert log.entries == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", ENTRIES, 201),
        ("POST", f"{ENTRIES}/", 201),
        ("GET", ENTRIES, 404),
        ("POST", f"{ENTRIES}X", 404),
        ("POST", "/api/v1/log", 404),
    ],
)
async def test_the_log_does_one_thing(method: str, path: str, status: int) -> None:
    """Clients write its address with a slash at the end or without one."""
    answer = await TransparencyLog(now).handle(request(path, proposed(), method=method))
    assert answer.status == status
    if status == 404:
        assert json.loads(answer.body) == {"code": 404, "message": "not found"}


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=40), st.data())
def test_every_leaf_is_proven_to_be_in_the_tree(leaves: list[bytes], data: st.DataObject) -> None:
    """The client's own arithmetic leads from a leaf and its proof to the root, and from no other leaf."""
    index = data.draw(st.integers(0, len(leaves) - 1))
    proof = inclusion(leaves, index)
    inner, border = merkle._decomp_inclusion_proof(index, len(leaves))
    assert len(proof) == inner + border

    def root(leaf: bytes) -> bytes:
        below = merkle._chain_inner(leaf, proof[:inner], index)
        return merkle._chain_border_right(below, proof[inner:])

    assert root(leaves[index]) == tree_hash(leaves)
    assert root(bytes(32)) != tree_hash(leaves) or leaves[index] == bytes(32)
