"""Addresses come from the tools, so that twine's trusted publishing recognises them."""

import twine.utils

from release.indexes import INDEXES, IndexName


def test_upload_addresses_are_twines_own() -> None:
    """twine mints a token only for exactly its two constants."""
    assert INDEXES[IndexName.PYPI].upload_url == twine.utils.DEFAULT_REPOSITORY
    assert INDEXES[IndexName.TESTPYPI].upload_url == twine.utils.TEST_REPOSITORY


def test_the_two_indexes_share_no_host() -> None:
    """A smoke of TestPyPI that reads PyPI proves nothing."""
    assert not set(INDEXES[IndexName.PYPI].hosts) & set(INDEXES[IndexName.TESTPYPI].hosts)


def test_project_page_ends_with_a_slash() -> None:
    """Without it an index answers with a redirect, which a rehearsal would hide."""
    index = INDEXES[IndexName.PYPI]
    assert index.project_url("a-b") == f"{index.simple_url}/a-b/"
