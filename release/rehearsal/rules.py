"""What an index asks of one uploaded file, apart from its archive: names, metadata, the upload form.

Pure: text and bytes in, `Problem`s out, so that `python -m release check` can hold any project's files
against the same rules. The archive's own rules stand in `archives`, those that need the index's memory in
`uploads`, those about a token in `minting`.
"""

import email.message
import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import readme_renderer.rst
from packaging import errors
from packaging.metadata import Metadata, RawMetadata, parse_email
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    canonicalize_version,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version
from trove_classifiers import classifiers as known_classifiers
from trove_classifiers import deprecated_classifiers

from release.model import Problem

__all__ = [
    "FILE_RULES",
    "FORM_RULES",
    "Filename",
    "Form",
    "blake2_256",
    "filename",
    "filename_problems",
    "form_problems",
    "metadata_problems",
]

MAX_METADATA = (2, 5)
"""The newest metadata version an index takes."""
MAX_SUMMARY = 512
"""Characters."""

FILE_RULES = {
    "filename.form": "the name is `<name>-<version>.tar.gz` or a wheel's name, without a folder",
    "filename.sdist": "an sdist's name is the normalised project name and version (PEP 625)",
    "filename.wheel": "a wheel's name has the normalised project name and version",
    "filename.platform": "each platform tag of a wheel is one that the index serves",
    "filename.project": "the name in the file name is the metadata's",
    "filename.version": "the version in the file name is the metadata's",
    "metadata.valid": "every metadata field has a valid value for its metadata version",
    "metadata.version": "the metadata version is 2.5 at most",
    "metadata.local-version": "the version has no local part",
    "metadata.classifier": "every classifier is known, none is deprecated or private",
    "metadata.direct-url": "no dependency is a direct URL",
    "metadata.summary": "the summary is one line of at most 512 characters",
    "metadata.description": "the description renders",
}
FORM_RULES = {
    "form.action": "`:action` is file_upload",
    "form.protocol": "`protocol_version` is 1",
    "form.content": "the file is there, with a name",
    "form.filetype": "`filetype` is sdist or bdist_wheel and fits the file name",
    "form.pyversion": "`pyversion` is source for an sdist and something else for a wheel",
    "form.digest": "at least one digest, and each is that of the bytes",
    "form.metadata": "name, version and metadata version in the form are those in the file",
}
"""Rule -> what it asks. Every rule has a test that breaks it and nothing else."""

_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*\Z")
_PLATFORMS = re.compile(
    r"any|win32|win_(amd64|arm64|ia64)"
    r"|macosx_\d+_\d+_(x86_64|arm64|i386|ppc|ppc64|intel|fat|fat32|fat64|universal|universal2)"
    r"|manylinux(1|2010)_(x86_64|i686)"
    r"|manylinux2014_(x86_64|i686|aarch64|armv7l|ppc64|ppc64le|s390x)"
    r"|manylinux_\d+_\d+_(x86_64|i686|aarch64|armv7l|ppc64|ppc64le|s390x|riscv64)"
    r"|musllinux_\d+_\d+_(x86_64|i686|aarch64|armv7l|ppc64le|s390x|riscv64)"
    r"|linux_armv[67]l"
    r"|ios_\d+_\d+_(arm64|x86_64)_iphone(os|simulator)"
    r"|android_\d+_(arm64_v8a|armeabi_v7a|x86_64|x86)"
    r"|(pyodide|pyemscripten)_\d+_\d+_wasm32"
)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def blake2_256(data: bytes) -> str:
    """The digest that an index names and stores files by."""
    return hashlib.blake2b(data, digest_size=32).hexdigest()


_DIGESTS = {"sha256_digest": _sha256, "blake2_256_digest": blake2_256}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filename:
    """A file name that says what the file is."""

    name: str
    project: str
    """Normalised."""
    version: Version
    wheel: bool
    platforms: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """An upload as it came: text fields, and the file."""

    fields: Mapping[str, Sequence[str]]
    filename: str
    content: bytes

    def one(self, name: str) -> str:
        """The first value of a field, empty when absent."""
        return next(iter(self.fields.get(name, ())), "")


def filename(name: str) -> Filename | Problem:
    """What a file name says, or why it says nothing."""
    try:
        if not _SAFE_NAME.match(name):
            return _problem(
                "filename.form", name, f"{name!r} is not a plain file name", "upload the file itself"
            )
        if name.endswith(".whl"):
            project, version, _, tags = parse_wheel_filename(name)
            platforms = sorted({tag.platform for tag in tags})
            return Filename(name=name, project=project, version=version, wheel=True, platforms=platforms)
        if name.endswith(".tar.gz"):
            project, version = parse_sdist_filename(name)
            return Filename(name=name, project=project, version=version, wheel=False)
    except (InvalidWheelFilename, InvalidSdistFilename) as error:
        return _problem("filename.form", name, str(error), "build the file anew; do not rename it")
    return _problem("filename.form", name, "is neither .tar.gz nor .whl", "upload sdists and wheels only")


def filename_problems(file: Filename) -> Iterator[Problem]:
    """Every way in which a readable file name is not the one an index takes."""
    stem = f"{file.project.replace('-', '_')}-{file.version}"
    if file.wheel:
        if not file.name.startswith(f"{stem}-"):
            yield _problem("filename.wheel", file.name, f"does not begin with {stem}-", _REBUILD)
        for platform in file.platforms:
            if not _PLATFORMS.fullmatch(platform):
                yield _problem(
                    "filename.platform",
                    file.name,
                    f"the index serves no wheel for platform {platform!r}",
                    "build for a portable platform (manylinux, musllinux, macOS, Windows) or for any",
                )
    elif file.name != f"{stem}.tar.gz":
        yield _problem("filename.sdist", file.name, f"is not {stem}.tar.gz", _REBUILD)


def metadata_problems(where: str, raw: bytes, file: Filename) -> Iterator[Problem]:
    """Every metadata rule that METADATA or PKG-INFO, taken from the file itself, breaks."""
    fields, unparsed = parse_email(raw)
    for key in unparsed:
        yield _problem("metadata.valid", where, f"unknown or malformed field {key!r}", _PYPROJECT)
    declared = fields.get("metadata_version")
    if declared is not None and _as_pair(declared) > MAX_METADATA:
        newest = ".".join(str(part) for part in MAX_METADATA)
        yield _problem(
            "metadata.version",
            where,
            f"metadata version {declared} is newer than {newest}",
            "set an older one",
        )
        return
    try:
        Metadata.from_raw(fields)
    except errors.ExceptionGroup as group:
        for error in group.exceptions:
            if "summary" not in str(error):
                yield _problem("metadata.valid", where, str(error), _PYPROJECT)
    except ValueError as error:  # a number of thousands of digits
        yield _problem("metadata.valid", where, str(error), _PYPROJECT)
        return
    yield from _identity_problems(where, fields, file)
    yield from _content_problems(where, fields)


def _identity_problems(where: str, fields: RawMetadata, file: Filename) -> Iterator[Problem]:
    name, declared = fields.get("name", ""), fields.get("version", "")
    if canonicalize_name(name) != file.project:
        yield _problem(
            "filename.project", where, f"name {name!r} is not the file name's {file.project}", _REBUILD
        )
    try:
        version = Version(declared)
    except InvalidVersion:
        return  # metadata.valid says so
    if version.local:
        yield _problem(
            "metadata.local-version",
            where,
            f"version {declared} has a local part",
            "release a version without +",
        )
    if canonicalize_version(version) != canonicalize_version(file.version):
        yield _problem(
            "filename.version", where, f"version {declared} is not the file name's {file.version}", _REBUILD
        )


def _content_problems(where: str, fields: RawMetadata) -> Iterator[Problem]:
    for classifier in fields.get("classifiers", []):
        if classifier in deprecated_classifiers:
            yield _problem(
                "metadata.classifier", where, f"classifier {classifier!r} is deprecated", _PYPROJECT
            )
        elif classifier not in known_classifiers:
            yield _problem(
                "metadata.classifier", where, f"classifier {classifier!r} is not known", _PYPROJECT
            )
    for text in fields.get("requires_dist", []):
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue  # metadata.valid says so
        if requirement.url:
            yield _problem("metadata.direct-url", where, f"dependency {text!r} is a direct URL", _PYPROJECT)
    summary = fields.get("summary", "")
    if len(summary) > MAX_SUMMARY or "\n" in summary:
        yield _problem("metadata.summary", where, f"{len(summary)} characters or several lines", _PYPROJECT)
    yield from _description_problems(where, fields)


def _description_problems(where: str, fields: RawMetadata) -> Iterator[Problem]:
    """Only reStructuredText can fail to render; plain text and Markdown cannot."""
    text = fields.get("description")
    message = email.message.EmailMessage()
    declared = fields.get("description_content_type", "text/x-rst")
    message["content-type"] = " ".join(declared.split())
    if text and message.get_content_type() == "text/x-rst":
        warnings = io.StringIO()
        if readme_renderer.rst.render(text, stream=warnings) is None:
            first = warnings.getvalue().partition("\n")[0]
            yield _problem("metadata.description", where, f"does not render: {first}", "mend the readme")


def form_problems(form: Form, file: Filename, raw: bytes | None) -> Iterator[Problem]:
    """Every rule of the upload form; `raw` is the metadata in the file, where it was found."""
    if form.one(":action") != "file_upload":
        yield _problem("form.action", form.filename, f"unknown action {form.one(':action')!r}", _CLIENT)
    if form.one("protocol_version") != "1":
        yield _problem("form.protocol", form.filename, "unknown protocol version", _CLIENT)
    kind, python = form.one("filetype"), form.one("pyversion")
    if kind != ("bdist_wheel" if file.wheel else "sdist"):
        yield _problem("form.filetype", form.filename, f"file type {kind!r} does not fit the name", _CLIENT)
    if (python == "source") == file.wheel or not python:
        yield _problem(
            "form.pyversion", form.filename, f"python version {python!r} does not fit the file", _CLIENT
        )
    digests = {field: form.one(field) for field in _DIGESTS if form.one(field)}
    if not digests:
        yield _problem("form.digest", form.filename, "no digest came with the file", _CLIENT)
    for field, digest in digests.items():
        own = _DIGESTS[field](form.content)
        if digest.lower() != own:
            yield _problem(
                "form.digest",
                form.filename,
                f"{field} is {digest}, that of the bytes is {own}",
                "upload again",
            )
    if raw is not None:
        yield from _form_metadata_problems(form, parse_email(raw)[0])


def _form_metadata_problems(form: Form, fields: RawMetadata) -> Iterator[Problem]:
    inside = {
        "name": canonicalize_name(fields.get("name", "")),
        "version": fields.get("version", ""),
        "metadata_version": fields.get("metadata_version", ""),
    }
    for field, own in inside.items():
        said = canonicalize_name(form.one(field)) if field == "name" else form.one(field)
        if said != own:
            yield _problem(
                "form.metadata", form.filename, f"{field} is {said!r}, in the file {own!r}", _CLIENT
            )


_REBUILD = "build the file anew with a current backend; do not rename it"
_PYPROJECT = "mend the field in pyproject.toml and build anew"
_CLIENT = "use a current twine"


def _as_pair(version: str) -> tuple[int, ...]:
    """A version of the metadata as numbers; what is none, or absurdly long, is not in it."""
    return tuple(int(part) for part in re.findall(r"(?<![^.])[0-9]{1,9}(?![^.])", version))


def _problem(rule: str, where: str, what: str, remedy: str) -> Problem:
    return Problem(rule=rule, where=where, what=what, remedy=remedy)
