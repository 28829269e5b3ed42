"""The trusted publisher's facts from `release/publisher.toml`: who may publish which project from where."""

from pathlib import Path

import tomlkit
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tomlkit.exceptions import TOMLKitError

from release.indexes import IndexName
from release.model import Problem, Refused

__all__ = ["FILE", "PublisherFacts"]

FILE = "release/publisher.toml"


class PublisherFacts(BaseModel):
    """All of the file."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=lambda name: name.replace("_", "-")
    )

    owner: str = Field(min_length=1)
    owner_id: str = Field(pattern=r"^\d*$")
    """Digits; empty until a person has filled it in."""
    repository: str = Field(min_length=1)
    workflow: str = Field(pattern=r"^[^/]+\.ya?ml$")
    project: str = Field(min_length=1)
    environments: dict[IndexName, str]

    @classmethod
    def read(cls, root: Path) -> "PublisherFacts":
        """The facts of the checkout at `root`.

        Raises:
            Refused: The file is missing or wrong, naming every field that is.
        """
        try:
            table = tomlkit.parse((root / FILE).read_text(encoding="utf-8")).unwrap()
            facts = cls.model_validate(table)
        except (OSError, TOMLKitError) as error:
            raise Refused(
                Problem(
                    rule="publisher.readable",
                    where=FILE,
                    what=str(error),
                    remedy="restore the file from git; it names who may publish",
                )
            ) from None
        except ValidationError as error:
            raise Refused(
                *(
                    Problem(
                        rule="publisher.fields",
                        where=f"{FILE} {'.'.join(str(part) for part in wrong['loc'])}",
                        what=wrong["msg"],
                        remedy="mend the field; the comments in the file say what each one is",
                    )
                    for wrong in error.errors()
                )
            ) from None
        missing = [name for name in IndexName if name not in facts.environments]
        if missing:
            raise Refused(
                Problem(
                    rule="publisher.fields",
                    where=f"{FILE} [environments]",
                    what=f"names no environment for {', '.join(missing)}",
                    remedy="add the environment whose jobs may upload there",
                )
            )
        return facts
