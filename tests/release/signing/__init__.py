"""Signing a release, and telling whose signature a file has."""
