"""Attestations (PEP 740): who signs a release's files, where signatures are kept, and whose are believed."""
