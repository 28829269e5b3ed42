"""Concurrent calls that share a script."""
