"""The workflow file rehearsed by act."""
