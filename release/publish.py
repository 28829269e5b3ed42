"""The `testpypi` and `pypi` stages: bring exactly the ledger's files to an index, with the real twine.

1. Everything that can be refused is refused before anything is sent: files, evidence, tag, credentials.
2. The index is asked by digest: a file that is there is done, other bytes under its name are refused.
3. What goes to PyPI by trusted publishing is signed (PEP 740); what an earlier run signed is taken up.
4. What is absent is uploaded from copies whose digests were checked.
5. The line is recorded. A run that was cut short anywhere is taken up by the same command.
"""

import os
import re
import sys
import tempfile
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from release.binding import bound, index_mode, record, tag_problems
from release.context import Context
from release.dist import dist_problems
from release.environments import scrubbed
from release.indexes import INDEXES, Index, IndexName
from release.ledger import Ledger, Outcome
from release.model import Artifact, Checked, Kind, Problem, Refused, Report
from release.plan import GATES, unproved
from release.publisher import FILE, PublisherFacts
from release.rules.archives import digest_of
from release.runner import TIMED_OUT, Finished
from release.signing.kept import attested_files
from release.simple import AGAIN, IndexClient, compare

__all__ = ["Credentials", "failure", "run", "take_credentials", "upload_problems"]

_GRANT = ("ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN")
"""What a runner gives a job that may ask for an ID token."""
_PASSWORD = "TWINE_PASSWORD"  # noqa: S105 - the name of a variable
_UPLOAD_S = 600.0
"""Seconds the upload may take, twine's own retries included."""
_PASSING = re.compile(
    r"HTTPError: (?:5\d\d|408|425|429) |ConnectionError|ProxyError|Timeout|ConnectionReset"
    r"|RemoteDisconnected|SSLEOFError"
)
"""In twine's output: the index is down or out of reach, which passes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What twine may authenticate with, taken out of this process's environment."""

    publisher: str
    """`trusted`, `token`, or empty when there is neither."""
    variables: dict[str, str]
    """For twine's environment, and for nobody else's."""


def take_credentials(environ: MutableMapping[str, str]) -> Credentials:
    """Take every credential for an upload out of `environ`, so that no other child inherits one.

    A token in TWINE_PASSWORD wins, since a person set it on purpose.
    """
    grant = {name: value for name in _GRANT if (value := environ.pop(name, ""))}
    twine = {name: environ.pop(name) for name in list(environ) if name.startswith("TWINE_")}
    if password := twine.get(_PASSWORD):
        return Credentials(publisher="token", variables={"TWINE_USERNAME": "__token__", _PASSWORD: password})
    if len(grant) == len(_GRANT):
        return Credentials(publisher="trusted", variables={"GITHUB_ACTIONS": "true", **grant})
    return Credentials(publisher="", variables={})


def run(stage: str, context: Context) -> Report:
    """Upload what the index does not have yet; the stage's name is the index's."""
    name = IndexName(stage)
    credentials = take_credentials(os.environ)
    mode = index_mode(context)
    ledger = bound(context, mode=mode)
    problems = upload_problems(context, ledger, name)
    if problems:
        raise Refused(*problems)
    index, opening = INDEXES[name], ledger.opening
    with IndexClient(index) as client:
        standing = compare(index, client.listing(opening.project), opening.artifacts)
    if standing.problems:
        raise Refused(*standing.problems)
    for listed in standing.present:
        context.console.print(f"  {listed.name}: there already, sha256 {listed.sha256}")
    took_ms, signed = 0, 0
    if standing.absent:
        took_ms, signed = _upload(context, ledger, index, standing.absent, credentials)
    report = Report(
        kind=Kind.DONE,
        sentence=(
            f"{len(opening.artifacts)} files of {opening.project} {opening.version} are on {_title(name)}: "
            f"{len(standing.absent)} uploaded, {len(standing.present)} there already"
        ),
        checked=[
            Checked(what="tag", found=opening.tag or "none: this ledger stands for no tag"),
            Checked(what="publisher", found=_said(credentials, standing.absent)),
            Checked(what="attestations", found=_said_signed(credentials, index, standing.absent, signed)),
            *(
                Checked(what=artifact.name, found=f"{artifact.size} bytes, sha256 {artifact.sha256}")
                for artifact in opening.artifacts
            ),
        ],
        figures={
            "publisher": credentials.publisher if standing.absent else "none",
            "uploaded": len(standing.absent),
            "present": len(standing.present),
            "signed": signed,
            "took_ms": took_ms,
        },
        tools=_tools(),
    )
    if not ledger.passed(stage):
        # A second line would follow the smoke and take its worth: what passed is not recorded again.
        record(context, ledger, stage, "all", report)
    return report


def upload_problems(context: Context, ledger: Ledger, name: IndexName) -> list[Problem]:
    """Everything that keeps the ledger's files from being uploaded, found without asking the index.

    Args:
        context: The stage's context.
        ledger: The ledger, bound to the checkout.
        name: Where the upload goes.
    """
    opening = ledger.opening
    problems = dist_problems(context.dist, opening.artifacts)
    if not context.dist.exists():
        problems.append(
            Problem(
                rule="publish.dist",
                where="dist/",
                what="does not exist",
                remedy="fetch the build's artefact, or run `nox -s build`",
            )
        )
    facts = PublisherFacts.read(context.root)
    if facts.project != opening.project:
        problems.append(
            Problem(
                rule="publish.project",
                where=FILE,
                what=f"names project {facts.project}, the ledger is of {opening.project}",
                remedy="mend the file: the publisher on the index is for one project",
            )
        )
    if name is IndexName.PYPI:
        problems += unproved(ledger, ("build", *GATES, "testpypi"))
        problems += [problem for problem in unproved(ledger, ("smoke",)) if problem.where == "smoke testpypi"]
    return problems + tag_problems(context, opening)


def _upload(
    context: Context, ledger: Ledger, index: Index, absent: Sequence[Artifact], credentials: Credentials
) -> tuple[int, int]:
    """Sign what is to be signed and run twine over copies of the absent files.

    Returns:
        The milliseconds twine took, and how many of the files have an attestation.

    Raises:
        Refused: when it did not succeed; a `failed` line then says that an upload was tried.
    """
    stage = index.name.value
    if not credentials.publisher:
        raise Refused(
            Problem(
                rule="publish.credentials",
                where=f"{stage} session",
                what=f"has neither a job's grant for an ID token nor {_PASSWORD}",
                remedy="push the signed tag: the workflow's job uploads by trusted publishing",
            )
        )
    with tempfile.TemporaryDirectory(prefix="tta-publish-") as folder:
        scratch = Path(folder)
        files = _copies(context.dist, absent, scratch / "files")
        attested: list[Path] = []
        if index.name is IndexName.PYPI and credentials.publisher == "trusted":
            attested = attested_files(context, ledger, files, credentials.variables, scratch)
        config = scratch / "empty.cfg"
        config.touch()
        env = scrubbed(scratch, **credentials.variables)
        finished = context.runner(
            [
                sys.executable,
                "-I",
                "-m",
                "twine",
                "--no-color",
                "upload",
                *_options(index, config, signed=bool(attested)),
                *files,
                *attested,
            ],
            cwd=scratch,
            env=env,
            show=True,
            timeout_s=_UPLOAD_S,
        )
    if finished.ok:
        return finished.took_ms, len(attested)
    tried = Report(
        kind=Kind.REFUSED,
        sentence="",
        figures={
            "publisher": credentials.publisher,
            "tried": len(absent),
            "signed": len(attested),
            "took_ms": finished.took_ms,
        },
        tools=_tools(),
    )
    record(context, ledger, stage, "all", tried, Outcome.FAILED)
    raise failure(index, finished)


def _options(index: Index, config: Path, *, signed: bool) -> list[str]:
    """Twine's options: the index's own address, no prompt, no configuration, never --skip-existing."""
    return [
        *(["--attestations"] if signed else []),
        f"--repository-url={index.upload_url}",
        "--non-interactive",
        "--disable-progress-bar",
        f"--config-file={config}",
    ]


def _copies(dist: Path, artifacts: Sequence[Artifact], folder: Path) -> list[Path]:
    """Copies of the files, whose bytes were checked on the way: what is checked is what is sent."""
    folder.mkdir()
    for artifact in artifacts:
        data = (dist / artifact.name).read_bytes()
        if digest_of(data) != artifact.sha256:
            raise Refused(
                Problem(
                    rule="publish.bytes",
                    where=f"dist/{artifact.name}",
                    what=f"has sha256 {digest_of(data)}, the ledger's is {artifact.sha256}",
                    remedy="something changed the file just now: find out what before anything is sent",
                )
            )
        (folder / artifact.name).write_bytes(data)
    return [folder / artifact.name for artifact in artifacts]


def failure(index: Index, finished: Finished) -> Refused:
    """Why twine failed: not yet where the same command may succeed later, refused otherwise."""
    said = " ".join(finished.tail().split())
    passing = finished.code == TIMED_OUT or _PASSING.search(said) is not None
    what = f"twine {version('twine')} did not succeed:\n{finished.tail(12)}"
    if passing:
        problem = Problem(rule="publish.index-up", where=index.upload_url, what=what, remedy=AGAIN)
        return Refused(problem, kind=Kind.NOT_YET)
    return Refused(
        Problem(
            rule="publish.uploaded",
            where=index.upload_url,
            what=what,
            remedy=(
                f"mend what the index names (the publisher's facts are in {FILE}), then run the same command "
                f"again; files that were taken are found there and left alone"
            ),
        )
    )


def _said(credentials: Credentials, absent: Sequence[Artifact]) -> str:
    if not absent:
        return "not needed: nothing was uploaded"
    return {
        "trusted": "trusted publishing, no stored secret",
        "token": "token (TWINE_PASSWORD); PyPI takes no attestations with it",
    }[credentials.publisher]


def _said_signed(credentials: Credentials, index: Index, absent: Sequence[Artifact], signed: int) -> str:
    if not absent:
        return "not needed: nothing was uploaded"
    if index.name is IndexName.TESTPYPI:
        return "none: what is signed for a rehearsal on TestPyPI could be replayed"
    if credentials.publisher == "token":
        return "none: PyPI takes them with trusted publishing only, now or later"
    return f"{signed} signed as this job, checked, and uploaded beside their files"


def _tools() -> dict[str, str]:
    return {name: version(name) for name in ("twine", "pypi-attestations", "sigstore")}


def _title(name: IndexName) -> str:
    return {IndexName.TESTPYPI: "TestPyPI", IndexName.PYPI: "PyPI"}[name]
