"""The doctor: what v0 leaves behind is found, and mended beside running processes."""
