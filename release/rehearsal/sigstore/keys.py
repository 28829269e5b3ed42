"""A signing key of the small Sigstore: ECDSA on P-256 with SHA-256, as the public services use it."""

import base64
import datetime as dt
import hashlib

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

__all__ = ["SigningKey", "public_bytes"]


def public_bytes(key: ec.EllipticCurvePublicKey) -> bytes:
    """A public key as DER (SubjectPublicKeyInfo)."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


class SigningKey:
    """A log's key, in memory only."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())

    @property
    def key_id(self) -> bytes:
        """SHA-256 of the public key (RFC 6962, section 3.2)."""
        return hashlib.sha256(public_bytes(self._key.public_key())).digest()

    def sign(self, data: bytes) -> bytes:
        """A signature over `data`, DER."""
        return self._key.sign(data, ec.ECDSA(hashes.SHA256()))

    def instance(self, url: str, since: dt.datetime) -> dict[str, object]:
        """The log with this key as a trust root names it (TransparencyLogInstance)."""
        return {
            "baseUrl": url,
            "hashAlgorithm": "SHA2_256",
            "publicKey": {
                "rawBytes": base64.b64encode(public_bytes(self._key.public_key())).decode(),
                "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                "validFor": {"start": since.isoformat()},
            },
            "logId": {"keyId": base64.b64encode(self.key_id).decode()},
        }
