"""TLS for the rehearsal: one throw-away authority, and a certificate for each server's real host names.

Owns the authority's key, in memory only. Clients trust it, and nothing else, through one PEM file.
"""

import ssl
from collections.abc import Sequence
from pathlib import Path

import trustme

__all__ = ["Authority"]


class Authority:
    """A certificate authority that lives as long as one rehearsal."""

    def __init__(self) -> None:
        self._ca = trustme.CA(organization_name="release rehearsal")

    def write(self, path: Path) -> Path:
        """Write the authority's certificate (no key) where a client's CA settings can point at it."""
        path.write_bytes(self._ca.cert_pem.bytes())
        return path

    def server(self, hosts: Sequence[str]) -> ssl.SSLContext:
        """What a server needs to be taken for any of `hosts`."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        issued = self._ca.issue_cert(*hosts)
        with issued.private_key_and_cert_chain_pem.tempfile() as pem:
            context.load_cert_chain(pem)
        return context
