"""The trust root of the small Sigstore, as a client's configuration names one, and the real host names.

Shapes follow Sigstore's protobuf specifications (ClientTrustConfig v0.1, TrustedRoot v0.1, SigningConfig
v0.2).
"""

import base64
import json
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from release.rehearsal.sigstore.authority import CertificateAuthority
from release.rehearsal.sigstore.log import TransparencyLog

__all__ = ["AUTHORITY_HOST", "LOG_HOST", "write"]

AUTHORITY_HOST = "fulcio.sigstore.dev"
LOG_HOST = "rekor.sigstore.dev"
_OPERATOR = "release rehearsal"


def write(path: Path, authority: CertificateAuthority, log: TransparencyLog) -> Path:
    """Write the configuration by which a client trusts these two, and finds them."""
    since = authority.since
    valid = {"start": since.isoformat()}
    certificate = base64.b64encode(authority.root.public_bytes(serialization.Encoding.DER)).decode()

    def service(host: str) -> dict[str, object]:
        return {
            "url": f"https://{host}",
            "majorApiVersion": 1,
            "validFor": valid,
            "operator": _OPERATOR,
        }

    root = {
        "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
        "tlogs": [log.key.instance(f"https://{LOG_HOST}", since)],
        "certificateAuthorities": [
            {
                "subject": {"organization": _OPERATOR, "commonName": "sigstore"},
                "uri": f"https://{AUTHORITY_HOST}",
                "certChain": {"certificates": [{"rawBytes": certificate}]},
                "validFor": valid,
            }
        ],
        "ctlogs": [authority.log.instance("https://ctfe.sigstore.dev", since)],
        "timestampAuthorities": [],
    }
    signing = {
        "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
        "caUrls": [service(AUTHORITY_HOST)],
        "oidcUrls": [],
        "rekorTlogUrls": [service(LOG_HOST)],
        "rekorTlogConfig": {"selector": "ANY"},
        "tsaUrls": [],
        "tsaConfig": {"selector": "ANY"},
    }
    whole = {
        "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
        "trustedRoot": root,
        "signingConfig": signing,
    }
    path.write_text(json.dumps(whole), encoding="utf-8")
    return path
