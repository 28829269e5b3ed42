"""A small Sigstore: a certificate authority, a transparency log, and the trust root for both.

Nothing here checks an attestation: real, unmodified sigstore and pypi-attestations are the clients, with this
trust root in place of the public one.
"""
