"""Tests of the installed package. They need nothing outside `tests/library` and `examples`."""
