"""The certificate authority: turns a job's ID token into a certificate of ten minutes that names the job.

Shapes follow Fulcio's v2 API and its registry of certificate extensions; the embedded proof that a
certificate was logged (an SCT) follows RFC 6962, section 3.2.
"""

import base64
import binascii
import datetime as dt
from collections.abc import Callable, Mapping

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pydantic import BaseModel, Field, ValidationError

from release.rehearsal.minting import Refusal, Verified, verified
from release.rehearsal.sigstore.keys import SigningKey, public_bytes
from release.rehearsal.wire import Request, Response, json_response

__all__ = ["AUDIENCE", "CertificateAuthority"]

AUDIENCE = "sigstore"
"""The audience an ID token for this authority has."""
LIFE = dt.timedelta(minutes=10)
"""How long a certificate is valid."""
_SCT_LIST = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_FULCIO = "1.3.6.1.4.1.57264.1."
_HOST = "https://github.com/"
_USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)
"""All that a certificate may say its key is for (RFC 5280, section 4.2.1.3)."""


class _Signing(BaseModel):
    """The body of a request for a certificate."""

    request: str = Field(alias="certificateSigningRequest", max_length=1 << 16)


class CertificateAuthority:
    """One self-signed authority, and the log that vouches for its certificates.

    Args:
        clock: UTC.
        keys: The issuer's public keys by key id.
    """

    def __init__(
        self, clock: Callable[[], dt.datetime], keys: Callable[[], Mapping[str, RSAPublicKey]]
    ) -> None:
        self._clock = clock
        self._keys = keys
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.log = SigningKey()
        """The key of the certificate log."""
        self.since = clock() - dt.timedelta(hours=1)
        """From when on the authority is valid."""
        self.root = self._self_signed()

    async def handle(self, request: Request) -> Response:
        """Answer one request: a certificate, or why not."""
        if (request.method, request.path) != ("POST", "/api/v2/signingCert"):
            return json_response({"code": 5, "message": "Not Found"}, status=404)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        claims = verified(
            token if scheme.lower() == "bearer" else "",
            keys=self._keys(),
            audience=AUDIENCE,
            now=self._clock(),
        )
        if isinstance(claims, Refusal):
            said = f"There was an error processing the identity token: {claims.detail}"
            return json_response({"code": 16, "message": said}, status=401)
        key = _requested_key(request.body)
        if key is None:
            said = "The signing request is malformed, or its key did not sign it"
            return json_response({"code": 3, "message": said}, status=400)
        chain = [_pem(self.issue(key, claims)), _pem(self.root)]
        return json_response({"signedCertificateEmbeddedSct": {"chain": {"certificates": chain}}})

    def issue(self, key: ec.EllipticCurvePublicKey, claims: Verified) -> x509.Certificate:
        """A certificate for `key` that names the job of the claims, with the log's proof inside."""
        now = self._clock().replace(microsecond=0)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.root.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now)
            .not_valid_after(now + LIFE)
            .add_extension(_usage("digital_signature"), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
            .add_extension(
                x509.SubjectAlternativeName(
                    [x509.UniformResourceIdentifier(_HOST + claims.text("job_workflow_ref"))]
                ),
                critical=True,
            )
        )
        for number, value in _extensions(claims).items():
            described = x509.UnrecognizedExtension(
                x509.ObjectIdentifier(_FULCIO + str(number)), asn1.encode_der(value)
            )
            builder = builder.add_extension(described, critical=False)
        logged = builder.sign(self._key, hashes.SHA256()).tbs_certificate_bytes
        proof = x509.UnrecognizedExtension(_SCT_LIST, self._proof(logged, now))
        return builder.add_extension(proof, critical=False).sign(self._key, hashes.SHA256())

    def _proof(self, logged: bytes, now: dt.datetime) -> bytes:
        """The extension's value for a certificate that was logged without it: a list with one SCT."""
        stamp = int(now.timestamp() * 1000)
        issuer = hashes.Hash(hashes.SHA256())
        issuer.update(public_bytes(self._key.public_key()))
        entry = issuer.finalize() + len(logged).to_bytes(3) + logged
        signed = self.log.sign(bytes([0, 0]) + stamp.to_bytes(8) + bytes([0, 1]) + entry + bytes(2))
        sct = (
            bytes([0])
            + self.log.key_id
            + stamp.to_bytes(8)
            + bytes(2)
            + bytes([4, 3])  # SHA-256, ECDSA
            + _sized(signed)
        )
        return asn1.encode_der(_sized(_sized(sct)))

    def _self_signed(self) -> x509.Certificate:
        name = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "release rehearsal"),
                x509.NameAttribute(NameOID.COMMON_NAME, "sigstore"),
            ]
        )
        identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.since)
            .not_valid_after(self.since + dt.timedelta(days=3650))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage("key_cert_sign", "crl_sign"), critical=True)
            .add_extension(identifier, critical=False)
            .sign(self._key, hashes.SHA256())
        )


def _extensions(claims: Verified) -> dict[int, str]:
    """Fulcio's extensions for a job of GitHub's: the last number of the object id, and its text."""
    repository = _HOST + claims.text("repository")
    run = f"{repository}/actions/runs/{claims.text('run_id')}/attempts/{claims.text('run_attempt')}"
    return {
        8: claims.text("iss"),
        9: _HOST + claims.text("job_workflow_ref"),
        10: claims.text("job_workflow_sha"),
        11: claims.text("runner_environment"),
        12: repository,
        13: claims.text("sha"),
        14: claims.text("ref"),
        15: claims.text("repository_id"),
        16: _HOST + claims.text("repository_owner"),
        17: claims.text("repository_owner_id"),
        18: _HOST + claims.text("workflow_ref"),
        19: claims.text("workflow_sha"),
        20: claims.text("event_name"),
        21: run,
        22: claims.text("repository_visibility"),
    }


def _requested_key(body: bytes) -> ec.EllipticCurvePublicKey | None:
    """The key that asks for a certificate; None where the request is not one, or not signed by it."""
    try:
        pem = base64.b64decode(_Signing.model_validate_json(body).request, validate=True)
        request = x509.load_pem_x509_csr(pem)
        key = request.public_key()
        proved = request.is_signature_valid
    except (ValidationError, binascii.Error, ValueError):
        return None
    return key if proved and isinstance(key, ec.EllipticCurvePublicKey) else None


def _usage(*allowed: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{name: name in allowed for name in _USAGES})


def _sized(data: bytes) -> bytes:
    """A vector of TLS: its length before it."""
    return len(data).to_bytes(2) + data


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
