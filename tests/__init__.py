"""The tests: `library` mirrors the package, `release` mirrors the release tools."""
