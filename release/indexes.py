"""The two public package indexes, by the tools' own constants: no address is written in this repository."""

import enum
from dataclasses import dataclass
from urllib.parse import urlsplit

from pip._internal.models import index as _pip
from twine.utils import DEFAULT_REPOSITORY, TEST_REPOSITORY

__all__ = ["INDEXES", "Index", "IndexName"]


class IndexName(enum.StrEnum):
    """What `--index` takes; also the ledger's leg of an upload or smoke."""

    TESTPYPI = "testpypi"
    PYPI = "pypi"


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """Where one index takes uploads and serves files."""

    name: IndexName
    upload_url: str
    """What twine's `--repository-url` takes; twine mints a token only for exactly its own constants."""
    simple_url: str
    """The simple API's root, without a trailing slash."""
    files_host: str
    """Where the index keeps the files that its simple pages point at."""

    @property
    def hosts(self) -> tuple[str, ...]:
        """Host names of uploads (and of token minting), of the simple API and of the files."""
        urls = (self.upload_url, self.simple_url)
        return tuple(dict.fromkeys([*(urlsplit(url).hostname or "" for url in urls), self.files_host]))

    def project_url(self, project: str) -> str:
        """The simple page of `project` (already normalised), with its slash."""
        return f"{self.simple_url}/{project}/"


INDEXES = {
    IndexName.TESTPYPI: Index(
        name=IndexName.TESTPYPI,
        upload_url=TEST_REPOSITORY,
        simple_url=_pip.TestPyPI.simple_url,
        files_host=_pip.TestPyPI.file_storage_domain,
    ),
    IndexName.PYPI: Index(
        name=IndexName.PYPI,
        upload_url=DEFAULT_REPOSITORY,
        simple_url=_pip.PyPI.simple_url,
        files_host=_pip.PyPI.file_storage_domain,
    ),
}
