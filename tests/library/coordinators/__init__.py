"""The coordinator, one topic a file."""
