"""One GitHub release through the `gh` command line: what it has, and the five changes it may need.

Owns how gh is called and how its answers are read. It knows no ledger and decides nothing.
"""

import os
import re
import shutil
import tempfile
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from release.model import Kind, Problem, Refused
from release.rules.archives import digest
from release.runner import NOT_STARTED, TIMED_OUT, Finished, Runner

__all__ = ["TOKENS", "UPLOADED", "Asset", "GitHub", "Release", "take_token"]

TOKENS = ("GH_TOKEN", "GITHUB_TOKEN")
"""What gh authenticates with, the first one that is set."""

_ELSEWHERE = ("GH_HOST", "GH_REPO", "GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN", "GH_DEBUG")
"""Variables of gh that would lead it to another place, or let it print what it sends."""

_CALL_S = 300.0
"""Seconds one call may take: a file of some hundred kilobytes, and gh's own retries."""

_PASSING = re.compile(
    r"HTTP (?:5\d\d|429)\b|error connecting to|timeout|timed out|connection re(?:set|fused)"
)
"""In gh's words: GitHub is down or out of reach, which passes."""

_ABSENT = "release not found"

UPLOADED = "uploaded"
"""How GitHub calls the state of a file that it has whole."""


class _Answer(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, frozen=True)


class Asset(_Answer):
    """One file of a release, as GitHub has it."""

    name: str
    state: str = UPLOADED
    """`UPLOADED`; everything else is an upload that was cut short."""
    digest: Annotated[str, BeforeValidator(lambda value: value or "")] = ""
    """`sha256:` and the hex digits; empty where gh or GitHub is too old to say."""


class Release(_Answer):
    """One release, as GitHub has it."""

    is_draft: bool
    is_prerelease: bool
    url: str = ""
    assets: tuple[Asset, ...] = Field(default=())


def take_token(environ: MutableMapping[str, str]) -> dict[str, str]:
    """Take gh's token out of `environ`, so that no other child inherits it; empty when there is none."""
    found = {name: value for name in TOKENS if (value := environ.pop(name, ""))}
    return dict(list(found.items())[:1])


@dataclass(frozen=True, slots=True, kw_only=True)
class GitHub:
    """The release of one tag in one repository."""

    runner: Runner
    cwd: Path
    repository: str
    """`owner/name`."""
    tag: str
    token: dict[str, str]
    """One of `TOKENS`; empty leaves it to what the person told `gh auth login`."""

    def release(self) -> Release | None:
        """What there is, draft or not; None when there is no release of this tag.

        Raises:
            Refused: gh failed, or its answer cannot be read.
        """
        finished = self._run("view", self.tag, "--json", "assets,isDraft,isPrerelease,url")
        if not finished.ok and _ABSENT in finished.stderr:
            return None
        try:
            return Release.model_validate_json(self._checked(finished).stdout)
        except ValidationError as error:
            what = f"gave an answer that cannot be read: {error.errors()[0]['msg']}"
            raise Refused(self._problem("answers", what, "look at what `gh --version` this is")) from None

    def create(self, *, title: str, notes: Path, prerelease: bool) -> None:
        """Make a draft; the tag must be there already, so that none is made from a branch."""
        flags = ["--prerelease"] if prerelease else []
        self._change(
            "create", "--draft", "--verify-tag", "--title", title, "--notes-file", str(notes), *flags
        )

    def upload(self, file: Path) -> None:
        """Add a file; GitHub refuses one whose name is taken."""
        self._change("upload", str(file))

    def delete(self, name: str) -> None:
        """Take away a file whose upload was cut short."""
        self._change("delete-asset", name, "--yes")

    def publish(self, *, prerelease: bool) -> None:
        """Make the draft public."""
        self._change("edit", "--draft=false", f"--prerelease={str(prerelease).lower()}")

    def sha256(self, asset: Asset) -> str:
        """The digest of an asset's bytes: as GitHub says, or of what it serves."""
        if asset.digest.startswith("sha256:"):
            return asset.digest.removeprefix("sha256:")
        with tempfile.TemporaryDirectory(prefix="tta-announce-") as folder:
            return digest(self.fetch(asset, Path(folder)))

    def fetch(self, asset: Asset, folder: Path) -> Path:
        """Download an asset into a folder that has no file of its name; returns the file."""
        self._change("download", "--pattern", asset.name, "--dir", str(folder))
        return folder / asset.name

    def _change(self, verb: str, *words: str) -> None:
        self._checked(self._run(verb, self.tag, *words))

    def _run(self, verb: str, *words: str) -> Finished:
        program = shutil.which("gh") or "gh"
        env = {name: value for name, value in os.environ.items() if name not in {*TOKENS, *_ELSEWHERE}}
        env |= {"GH_PROMPT_DISABLED": "1", "GH_NO_UPDATE_NOTIFIER": "1", "NO_COLOR": "1", **self.token}
        words = (program, "release", verb, *words, "--repo", self.repository)
        return self.runner(words, cwd=self.cwd, env=env, timeout_s=_CALL_S)

    def _checked(self, finished: Finished) -> Finished:
        """The call itself when it succeeded.

        Raises:
            Refused: not yet where the same command may succeed later, refused otherwise.
        """
        if finished.ok:
            return finished
        verb, said = finished.argv[2], finished.tail(8)
        if finished.code == NOT_STARTED:
            remedy = "install the GitHub command line (gh); hosted runners have it"
            raise Refused(self._problem("program", f"cannot be asked: {said}", remedy))
        what = f"`gh release {verb}` did not succeed:\n{said}"
        if finished.code == TIMED_OUT or _PASSING.search(said):
            remedy = "wait, then run the same command again: it goes on where it stopped"
            raise Refused(self._problem("up", what, remedy), kind=Kind.NOT_YET)
        remedy = (
            "mend what gh names (`gh auth status` says who it is; it needs contents: write), "
            "then run the same command again: it goes on where it stopped"
        )
        raise Refused(self._problem("done", what, remedy))

    def _problem(self, rule: str, what: str, remedy: str) -> Problem:
        where = f"release {self.tag} of {self.repository}"
        return Problem(rule=f"github.{rule}", where=where, what=what, remedy=remedy)
