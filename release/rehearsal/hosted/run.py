"""Runs a transcript with act, on this machine, and reads from what act printed how each job ended.

act's host mode: no container, no network of its own. Its cache and artefact servers are off, and bound to
loopback should a later act start them anyway.
"""

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from release.model import Problem, Refused
from release.publisher import PublisherFacts
from release.rehearsal.summary import Ran

__all__ = ["JobEnd", "act_words", "event", "failure", "job_ends", "program", "ran"]

_LINE = re.compile(r"\[(?P<workflow>[^\]/]+)/(?P<job>[^\]]+?) *\] (?P<said>.*)")
_STEP = re.compile(r"  (?P<mark>✅|❌)  \w+ - Main (?P<step>.*?) ?\[(?P<took>[\d.hmsµn]+)\]")
_RESULT = re.compile(r"  \| RESULT (?P<kind>\S+) (?P<stage>\S+): (?P<sentence>.*)")
_SAID, _FAILED = "  | ", "  ❌"
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}
_TAIL = 12
"""Lines of a failed job that a message quotes."""


@dataclass(slots=True, kw_only=True)
class JobEnd:
    """One job as act told of it."""

    name: str
    passed: bool = False
    """act says of each leg of a matrix what it says of the whole."""
    broken: bool = False
    """A step of its own failed."""
    seconds: float = 0.0
    """Of the step that printed the result; of none, 0."""
    result: str = ""
    """The kind of its last RESULT line; empty without one."""
    sentence: str = ""
    printed: list[str] = field(default_factory=list[str])


def program(root: Path) -> str:
    """Where act is: in this session's own environment, else on PATH.

    Raises:
        Refused: it is neither.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    if found := shutil.which("act", path=path):
        return found
    raise Refused(
        Problem(
            rule="hosted.act",
            where=str(root),
            what="--act asks for the program act, which is not here",
            remedy="`nox -s rehearse -- --act` installs it from release/locks/act.txt",
        )
    )


def event(facts: PublisherFacts, tag: str, sha: str) -> str:
    """What GitHub tells a workflow of the push of a tag, as far as act reads it."""
    repository = {
        "name": facts.repository,
        "full_name": f"{facts.owner}/{facts.repository}",
        "owner": {"login": facts.owner},
        "default_branch": "main",
    }
    return json.dumps({"ref": f"refs/tags/{tag}", "after": sha, "created": True, "repository": repository})


def act_words(
    act: str,
    *,
    workflow: Path,
    event_file: Path,
    cache: Path,
    facts: PublisherFacts,
    jobs: int,
    variables: Mapping[str, str],
    stand_ins: Sequence[str],
) -> list[str]:
    """The command line; it is run in the repository whose HEAD is the tagged commit.

    Args:
        act: The program.
        workflow: The transcript.
        event_file: What `event` says.
        cache: A folder of this run; workspaces are made below it.
        facts: Who publishes.
        jobs: How many run at once.
        variables: The transcript's.
        stand_ins: The words of `standins.install`.
    """
    loopback = "127.0.0.1"
    return [
        *(act, "push", "--workflows", str(workflow), "--eventpath", str(event_file)),
        *("--platform", "ubuntu-latest=-self-hosted", "--pull=false", "--action-offline-mode"),
        *("--no-cache-server", "--cache-server-addr", loopback, "--artifact-server-addr", loopback),
        # Without it act would lay this folder's files itself, whatever the tag holds.
        "--no-skip-checkout",
        *("--action-cache-path", str(cache), "--concurrent-jobs", str(jobs), "--actor", facts.owner),
        *("--env", f"GITHUB_REPOSITORY={facts.owner}/{facts.repository}"),
        *("--secret", "GITHUB_TOKEN=rehearsal-token-of-no-use"),
        *(word for name, value in variables.items() for word in ("--var", f"{name}={value}")),
        *stand_ins,
    ]


def job_ends(output: str) -> list[JobEnd]:
    """Every job that began, in the order in which they began."""
    found: dict[str, JobEnd] = {}
    open_result: set[str] = set()
    for line in output.splitlines():
        if (read := _LINE.fullmatch(line)) is None:
            continue
        job = found.setdefault(read["job"], JobEnd(name=read["job"]))
        said = read["said"]
        if result := _RESULT.fullmatch(said):
            job.result, job.sentence = result["kind"], result["sentence"].rstrip()
            open_result.add(job.name)
        elif (step := _STEP.fullmatch(said)) and job.name in open_result:
            job.seconds = _seconds(step["took"])
            open_result.discard(job.name)
        elif said.startswith("🏁"):
            job.passed = said.endswith("Job succeeded")
        job.broken |= said.startswith(_FAILED)
        if said.startswith((_SAID, _FAILED)):
            job.printed.append(said.removeprefix(_SAID).strip())
    return list(found.values())


def ran(ends: Sequence[JobEnd]) -> Iterator[Ran]:
    """The jobs as steps of a rehearsal."""
    for job in ends:
        yield Ran(name=f"job {job.name}", seconds=job.seconds, proved=job.sentence)


def failure(ends: Sequence[JobEnd], tail: str) -> Problem:
    """Why the run did not succeed: the first job with a step that failed, or act's own last words."""
    failed = next((job for job in sorted(ends, key=lambda job: not job.broken) if not job.passed), None)
    where = "act" if failed is None else f"job {failed.name}"
    what = tail
    if failed is not None:
        what = "\n".join(failed.printed[-_TAIL:]) if failed.result in {"", "done"} else failed.sentence
    return Problem(
        rule="rehearsal.hosted",
        where=where,
        what=what or "ended without a word",
        remedy="mend what the job says above, commit, rehearse again: the hosted run would stop there",
    )


def _seconds(took: str) -> float:
    """Go's way to write a duration: `1m2.5s`, `59.8ms`."""
    parts = re.findall(r"([\d.]+)(h|ms|µs|ns|m|s)", took)
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
