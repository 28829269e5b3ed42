"""The release tools' tests: one module a module."""
