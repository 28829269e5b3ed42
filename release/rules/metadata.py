"""Whether a distribution's core metadata says what pyproject.toml says.

Owns `Declared` (what pyproject.toml promises) and the comparison with a METADATA or PKG-INFO file. Sources:
PEP 621 for the table, the core metadata specification for the file.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from packaging.metadata import InvalidMetadata, Metadata
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from release.model import Problem, Refused

__all__ = ["Declared", "metadata_problems"]

PYPROJECT = "pyproject.toml"
_MEND = "mend pyproject.toml and commit; metadata is never edited in an artefact"


class _Model(BaseModel):
    """One table of pyproject.toml; keys nobody asks for are not looked at."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class _Project(_Model):
    name: str
    version: str
    description: str
    readme: str
    requires_python: Annotated[str, Field(alias="requires-python")]
    license: str
    license_files: Annotated[list[str], Field(alias="license-files")] = []
    keywords: list[str] = []
    classifiers: list[str] = []
    dependencies: list[str] = []
    optional_dependencies: Annotated[dict[str, list[str]], Field(alias="optional-dependencies")] = {}
    scripts: dict[str, str] = {}
    urls: dict[str, str] = {}


class _Target(_Model):
    core_metadata_version: Annotated[str, Field(alias="core-metadata-version")]
    packages: list[str] = []
    only_include: Annotated[list[str], Field(alias="only-include")] = []


class _Targets(_Model):
    wheel: _Target
    sdist: _Target


class _Build(_Model):
    targets: _Targets


class _Hatch(_Model):
    build: _Build


class _Tool(_Model):
    hatch: _Hatch


class _Document(_Model):
    project: _Project
    tool: _Tool


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What pyproject.toml promises about the two artefacts."""

    name: str
    """Normalised (PEP 503)."""
    version: Version
    summary: str
    readme: str
    """Path of the long description."""
    requires_python: SpecifierSet
    license: str
    license_files: Sequence[str]
    keywords: Sequence[str]
    classifiers: Sequence[str]
    requires: frozenset[str]
    """Every requirement as `Requires-Dist` spells it, extras included."""
    extras: frozenset[str]
    scripts: Mapping[str, str]
    urls: Mapping[str, str]
    packages: Sequence[str]
    """Folders whose files make up the wheel, for example `src/tta_agent_coordination`."""
    only_include: Sequence[str]
    """Files and folders that make up the sdist."""
    metadata_version: str

    @property
    def stem(self) -> str:
        """`<name>-<version>` as file names spell it (PEP 625, the wheel specification)."""
        return f"{self.name.replace('-', '_')}-{self.version}"

    @property
    def wheel(self) -> str:
        """The wheel's file name."""
        return f"{self.stem}-py3-none-any.whl"

    @property
    def sdist(self) -> str:
        """The sdist's file name."""
        return f"{self.stem}.tar.gz"

    @classmethod
    def read(cls, pyproject: str) -> "Declared":
        """Read the text of a pyproject.toml.

        Raises:
            Refused: naming every key that is missing or has a value of another shape.
        """
        try:
            document = _Document.model_validate(tomllib.loads(pyproject))
        except tomllib.TOMLDecodeError as error:
            raise Refused(_pyproject_problem(f"is not TOML: {error}")) from error
        except ValidationError as error:
            lines = [f"{'.'.join(map(str, part['loc']))}: {part['msg']}" for part in error.errors()]
            raise Refused(*[_pyproject_problem(line) for line in lines]) from error
        project, targets = document.project, document.tool.hatch.build.targets
        try:
            requires = {_spelled(Requirement(text)) for text in project.dependencies}
            for extra, texts in project.optional_dependencies.items():
                requires |= {_of_extra(text, extra) for text in texts}
            return cls(
                name=canonicalize_name(project.name),
                version=Version(project.version),
                summary=project.description,
                readme=project.readme,
                requires_python=SpecifierSet(project.requires_python),
                license=project.license,
                license_files=tuple(project.license_files),
                keywords=tuple(project.keywords),
                classifiers=tuple(project.classifiers),
                requires=frozenset(requires),
                extras=frozenset(canonicalize_name(extra) for extra in project.optional_dependencies),
                scripts=project.scripts,
                urls=project.urls,
                packages=tuple(targets.wheel.packages),
                only_include=tuple(targets.sdist.only_include),
                metadata_version=targets.wheel.core_metadata_version,
            )
        except (InvalidVersion, InvalidRequirement, InvalidSpecifier) as error:
            raise Refused(_pyproject_problem(str(error))) from error


def _pyproject_problem(what: str) -> Problem:
    return Problem(
        rule="metadata.pyproject",
        where=PYPROJECT,
        what=what,
        remedy="mend the key it names; the artefacts are checked against this file",
    )


def _spelled(requirement: Requirement) -> str:
    """A requirement with its name normalised, as the backend and this check both spell it."""
    requirement.name = canonicalize_name(requirement.name)
    return str(requirement)


def _of_extra(text: str, extra: str) -> str:
    """A requirement of an extra as `Requires-Dist` spells it."""
    requirement = Requirement(text)
    only = f"extra == '{canonicalize_name(extra)}'"
    marker = only if requirement.marker is None else f"({requirement.marker}) and {only}"
    requirement.marker = None
    joint = " ; " if requirement.url else "; "
    return _spelled(Requirement(f"{requirement}{joint}{marker}"))


def metadata_problems(where: str, data: bytes, declared: Declared, readme: bytes) -> list[Problem]:
    """What a METADATA or PKG-INFO file says that pyproject.toml does not, or the other way round.

    Args:
        where: The archive and member, for the reader.
        data: The file.
        declared: What pyproject.toml says.
        readme: The long description's bytes, from the tree.
    """

    def problem(rule: str, what: str, remedy: str) -> Problem:
        return Problem(rule=f"metadata.{rule}", where=where, what=what, remedy=remedy)

    try:
        metadata = Metadata.from_email(data, validate=True)
    except ExceptionGroup as group:
        return [problem("valid", text, _MEND) for text in _texts(group)]
    says: dict[str, tuple[object, object]] = {
        "metadata-version": (metadata.metadata_version, declared.metadata_version),
        "name": (metadata.name, declared.name),
        "version": (str(metadata.version), str(declared.version)),
        "summary": (metadata.summary, declared.summary),
        "requires-python": (str(metadata.requires_python), str(declared.requires_python)),
        "license": (metadata.license_expression, declared.license),
        "license-files": (sorted(metadata.license_files or []), sorted(declared.license_files)),
        "keywords": (sorted(metadata.keywords or []), sorted(declared.keywords)),
        "classifiers": (sorted(metadata.classifiers or []), sorted(declared.classifiers)),
        "requires-dist": (sorted(map(_spelled, metadata.requires_dist or [])), sorted(declared.requires)),
        "provides-extra": (sorted(metadata.provides_extra or []), sorted(declared.extras)),
        "project-urls": (metadata.project_urls or {}, dict(declared.urls)),
        "dynamic": (metadata.dynamic or [], []),
    }
    problems = [
        problem(rule, f"says {_short(said)}, pyproject.toml says {_short(promised)}", _MEND)
        for rule, (said, promised) in says.items()
        if said != promised
    ]
    if (metadata.description or "").strip() != readme.decode("utf-8", errors="replace").strip():
        problems.append(problem("description", f"is not the text of {declared.readme}", _MEND))
    if metadata.version.local is not None:
        problems.append(
            problem("local-version", f"{metadata.version} has a local part; no index takes it", _MEND)
        )
    problems.extend(
        problem("direct-url", f"depends on {requirement}, an address: no index takes it", _MEND)
        for requirement in metadata.requires_dist or []
        if requirement.url
    )
    return problems


def _texts(group: ExceptionGroup[Exception]) -> list[str]:
    """Each finding of the metadata parser as one sentence."""
    return [
        f"{error.field}: {error}" if isinstance(error, InvalidMetadata) else str(error)
        for error in group.exceptions
    ]


def _short(value: object) -> str:
    """A value as a message quotes it."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."
