"""What pyproject.toml says about the project: its name, its version, and the tag that follows."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from release.model import Problem, Refused

__all__ = ["FILE", "Project"]

FILE = "pyproject.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """The project's own facts, read once."""

    name: str
    """As written."""
    version: Version
    version_text: str
    """As written; the rules want it in PEP 440 normal form."""
    urls: Mapping[str, str]
    """Label -> address, as written."""

    @property
    def normalised(self) -> str:
        """The name by PEP 503: what an index's address holds."""
        return canonicalize_name(self.name)

    @property
    def tag(self) -> str:
        """The one tag that releases this version."""
        return f"v{self.version}"

    @classmethod
    def read(cls, root: Path) -> "Project":
        """Read pyproject.toml.

        Raises:
            Refused: with every problem: no such file, no TOML, a missing field, a version that does not
                follow its specification.
        """
        try:
            table = tomllib.loads((root / FILE).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise _refused("does not exist", "run this in the project's checkout") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise _refused(f"is not TOML: {error}", "mend the syntax at the place it names") from error
        project: object = table.get("project")
        fields = cast("dict[str, object]", project) if isinstance(project, dict) else {}
        texts: dict[str, str] = {}
        problems: list[Problem] = []
        for key in ("name", "version"):
            value = fields.get(key)
            if isinstance(value, str) and value:
                texts[key] = value
            else:
                problems.append(
                    _problem(f"[project] {key} is not a text", "write it there; neither of them is dynamic")
                )
        urls = fields.get("urls")
        try:
            version = Version(texts.get("version", "0"))
        except InvalidVersion as error:
            problems.append(_problem(str(error), "write the version as PEP 440 says, for example 0.2.0"))
        else:
            if not problems:
                return cls(
                    name=texts["name"],
                    version=version,
                    version_text=texts["version"],
                    urls=cast("dict[str, str]", urls) if isinstance(urls, dict) else {},
                )
        raise Refused(*problems)


def _problem(what: str, remedy: str) -> Problem:
    return Problem(rule="project.readable", where=FILE, what=what, remedy=remedy)


def _refused(what: str, remedy: str) -> Refused:
    return Refused(_problem(what, remedy))
