"""What one index remembers: projects, their files, used-up names. No network, no clock."""

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from packaging.version import Version

__all__ = ["Project", "Stored"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One file the index took."""

    name: str
    version: Version
    wheel: bool
    sha256: str
    blake2_256: str
    size: int
    uploaded: dt.datetime
    """UTC."""
    metadata: bytes
    requires_python: str | None
    publisher: str
    """`trusted` or `token`."""
    provenance: bytes = b""
    """Who signed it, as JSON (PEP 740); empty: nobody."""
    yanked: str | None = None
    """The reason, where it was yanked."""

    @property
    def path(self) -> str:
        """Where the files host keeps it."""
        digest = self.blake2_256
        return f"/packages/{digest[:2]}/{digest[2:4]}/{digest[4:]}/{self.name}"


@dataclass(slots=True, kw_only=True)
class Project:
    """One project of the index."""

    name: str
    """Normalised."""
    files: dict[str, Stored] = field(default_factory=dict[str, Stored])
    used: dict[str, str] = field(default_factory=dict[str, str])
    """Every file name ever taken, with the SHA-256 of its bytes: a deleted name is used up too."""
    released: dict[Version, dt.datetime] = field(default_factory=dict[Version, dt.datetime])
    """When each version got its first file."""
    status: str = "active"
    """active, archived, quarantined or deprecated (PEP 792)."""

    def of(self, version: Version) -> Iterator[Stored]:
        """The files of one version."""
        return (stored for stored in self.files.values() if stored.version == version)

    def shown(self, now: dt.datetime, lag: dt.timedelta) -> list[Stored]:
        """The files that the simple pages show by now, by name."""
        visible: Iterable[Stored] = (file for file in self.files.values() if file.uploaded + lag <= now)
        return sorted(visible, key=lambda file: file.name)
