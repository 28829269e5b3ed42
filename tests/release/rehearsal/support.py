"""Wheels, sdists and upload forms made in memory, right by default, for the tests of the embedded world."""

import base64
import datetime as dt
import gzip
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from packaging.metadata import parse_email

from release.publisher import PublisherFacts
from release.rehearsal.minting import Publisher

FACTS = PublisherFacts.model_validate(
    {
        "owner": "Somebody",
        "owner-id": "4711",
        "repository": "demo-project",
        "workflow": "release.yml",
        "project": "demo-project",
        "environments": {"testpypi": "testpypi", "pypi": "pypi"},
    }
)
NOW = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
PUBLISHER = Publisher(
    owner="Somebody",
    owner_id="4711",
    repository="r",
    workflow="w.yml",
    environment="",
    project="demo-project",
)
METADATA = (
    "Metadata-Version: 2.4\n"
    "Name: demo-project\n"
    "Version: 1.0\n"
    "Summary: A demonstration\n"
    "License-File: LICENSE\n"
    "Requires-Python: >=3.8\n"
    "Classifier: Programming Language :: Python :: 3\n"
    "Description-Content-Type: text/markdown\n"
    "\n"
    "# demo\n"
)
WHEEL_NAME = "demo_project-1.0-py3-none-any.whl"
SDIST_NAME = "demo_project-1.0.tar.gz"
INFO = "demo_project-1.0.dist-info"
WHEEL_FILE = "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def record(members: Mapping[str, bytes], info: str = INFO) -> bytes:
    """RECORD over `members`."""
    lines = [
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}"
        for name, data in members.items()
    ]
    return "\n".join([*lines, f"{info}/RECORD,,", ""]).encode()


def wheel_members(
    metadata: str = METADATA, info: str = INFO, more: Mapping[str, bytes] | None = None
) -> dict[str, bytes]:
    """The members of a right wheel; `more` adds or replaces some before RECORD is made."""
    members = {
        "demo_project/__init__.py": b'"""A demonstration."""\n',
        f"{info}/METADATA": metadata.encode(),
        f"{info}/WHEEL": WHEEL_FILE.encode(),
        f"{info}/licenses/LICENSE": b"MIT\n",
        **(more or {}),
    }
    return members | {f"{info}/RECORD": record(members, info)}


def zipped(members: Iterable[tuple[str, bytes]]) -> bytes:
    """A zip of exactly these members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, data in members:
            opened.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def sdist_members(metadata: str = METADATA, root: str = "demo_project-1.0") -> dict[str, bytes]:
    """The members of a right sdist."""
    return {
        f"{root}/PKG-INFO": metadata.encode(),
        f"{root}/LICENSE": b"MIT\n",
        f"{root}/pyproject.toml": (
            b'[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
            b'[project]\nname = "demo-project"\nversion = "1.0"\n'
        ),
        f"{root}/demo_project/__init__.py": b'"""A demonstration."""\n',
    }


def tarred(members: Mapping[str, bytes], *more: tarfile.TarInfo) -> bytes:
    """A gzipped tar of exactly these members; `more` are headers without data."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as opened:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            opened.addfile(info, io.BytesIO(data))
        for info in more:
            opened.addfile(info)
    return gzip.compress(buffer.getvalue(), mtime=0)


WHEEL = zipped(wheel_members().items())
SDIST = tarred(sdist_members())


def fields(
    name: str, data: bytes, metadata: str = METADATA, said: Mapping[str, str] | None = None
) -> dict[str, list[str]]:
    """The form's text fields as twine sends them; `said` replaces some, an empty text leaves one out."""
    declared = parse_email(metadata)[0]
    wheel = name.endswith(".whl")
    values = {
        ":action": "file_upload",
        "protocol_version": "1",
        "filetype": "bdist_wheel" if wheel else "sdist",
        "pyversion": "py3" if wheel else "source",
        "sha256_digest": hashlib.sha256(data).hexdigest(),
        "name": declared.get("name", ""),
        "version": declared.get("version", ""),
        "metadata_version": declared.get("metadata_version", ""),
        **(said or {}),
    }
    return {key: [value] for key, value in values.items() if value}


def written(folder: Path, files: Mapping[str, bytes] | None = None) -> list[Path]:
    """Write the right wheel and sdist (or `files`) into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = {WHEEL_NAME: WHEEL, SDIST_NAME: SDIST} if files is None else files
    for name, data in chosen.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in chosen]
