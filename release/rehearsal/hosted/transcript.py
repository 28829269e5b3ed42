"""The copy of a release's workflow that act can run, and every line in which it differs from the file.

Each kind of difference has a name and a reason; whatever is not one of them is copied as it stands. Works on
the text, line by line, so that a comparison of both files shows what was done.
"""

import enum
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from release.model import Problem, Refused
from release.rules.workflow_model import Job, Workflow

__all__ = ["Asked", "Difference", "Edit", "Transcript", "transcribed"]


class Difference(enum.StrEnum):
    """Why a line of the copy is another one."""

    OWN_ACTION = "`$/` is `./`: act knows no running commit, and the checkout has laid the same files"
    NO_KEY = "`cache-mode` and `queue` are left out: act does not know them"
    PYTHON = "a Python that is not here is left out"
    MODE = "`--mode rehearsal`: a release's ledger takes nothing that a rehearsal proves"
    SHARDED = "`--sharded`: a rehearsal plans the mutation jobs of a release only when told"
    SAMPLE = "`--sample`: a rehearsal judges some mutants, not all"
    FAST = "`--fast`: fewer installations, where the rehearsal was asked to be fast"
    GRANT = "`ACTIONS_ID_TOKEN_*`, as a hosted runner sets them where `id-token: write` is granted"
    TRUST = "the rehearsal's trust root, for the jobs that sign and verify"
    LEG_OUTPUT = "`vars.*` for an empty output: of a matrix act would keep what the first leg said"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the copy is for."""

    pythons: Collection[str]
    """Those on this machine."""
    tested: Collection[str]
    """Those of them that can prove something; the others are no legs here."""
    sample_s: int
    """Seconds of mutants a shard."""
    fast: bool
    """Fewer installations in a smoke."""
    grant: Callable[[Job], Mapping[str, str]]
    """What a job that may ask for an ID token is given."""
    trust: Mapping[str, Mapping[str, str]]
    """Job -> what it is told of the rehearsal's trust root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One line that differs."""

    line: int
    """Of the file, from 1."""
    before: str
    after: Sequence[str]
    why: frozenset[Difference]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """The copy."""

    text: str
    edits: Sequence[Edit]
    variables: Mapping[str, str]
    """For act's `--var`: what an output that no leg has filled in yet stands for, which is its expression."""


_KEY = re.compile(r"cache-mode:|  queue:")
_AXIS = re.compile(r"(        (\w+): \[)([^\]]*)(\])")
_LISTED = re.compile(r" {12}(\d+\.\d+)")
_PYTHON = re.compile(r'          python: "?(\d+\.\d+)"?')
_MODE = "--mode release"
_SESSION = re.compile(r"""-m nox -s "?([\w-]+)""")
_LEG_OUTPUT = re.compile(r"( {6}([\w-]+): )(\$\{\{ matrix\.(\w+) == '([^']+)' && .* \|\| )''( \}\})")
_OUTPUT = re.compile(r" {6}([\w-]+): (.+)")


def transcribed(workflow: Workflow, asked: Asked) -> Transcript:
    """Copy the workflow.

    Raises:
        Refused: it holds something that the copy would silently run as another workflow.
    """
    pen = _Pen(workflow, asked)
    lines = workflow.text.splitlines()
    for number, line in enumerate(lines, start=1):
        pen.write(number, line)
    if pen.problems:
        raise Refused(*pen.problems)
    return Transcript(text="\n".join(pen.lines) + "\n", edits=pen.edits, variables=pen.variables)


class _Pen:
    """Where the copying stands."""

    def __init__(self, workflow: Workflow, asked: Asked) -> None:
        self._workflow = workflow
        self._asked = asked
        self._by_line = {job.line: job for job in workflow.jobs.values()}
        self._job: Job | None = None
        self.lines: list[str] = []
        self.edits: list[Edit] = []
        self.variables: dict[str, str] = {}
        self.problems: list[Problem] = []

    def write(self, number: int, line: str) -> None:
        """Copy one line, edited where it has to be."""
        self._job = self._by_line.get(number, self._job)
        why: set[Difference] = set()
        after = self._edited(number, line, why)
        self.lines.extend(after)
        if why:
            self.edits.append(Edit(line=number, before=line, after=after, why=frozenset(why)))

    def _edited(self, number: int, line: str, why: set[Difference]) -> list[str]:
        if self._job is None and _KEY.match(line):
            why.add(Difference.NO_KEY)
            return []
        if "uses: $/" in line:
            why.add(Difference.OWN_ACTION)
            return [line.replace("uses: $/", "uses: ./")]
        if _MODE in line and (session := _SESSION.search(line)):
            return [self._nox(line, session[1], why)]
        if self._job is None:
            return [line]
        if line == "    steps:":
            return [*self._env(self._job, number, why), line]
        if self._job.matrix and (axis := _AXIS.fullmatch(line)) and axis[2] == "python":
            return [self._axis(number, axis, why)]
        named = _OUTPUT.fullmatch(line)
        if self._job.matrix and named and self._job.outputs.get(named[1]) == named[2]:
            return [self._output(number, line, self._job, why)]
        return self._set_up(number, line, why)

    def _nox(self, line: str, session: str, why: set[Difference]) -> str:
        words = "--mode rehearsal"
        why.add(Difference.MODE)
        if session == "build":
            words += " --sharded"
            why.add(Difference.SHARDED)
        if session == "mutation":
            words += f" --sample {self._asked.sample_s}"
            why.add(Difference.SAMPLE)
        if session == "smoke" and self._asked.fast:
            words += " --fast"
            why.add(Difference.FAST)
        return line.replace(_MODE, words)

    def _env(self, job: Job, number: int, why: set[Difference]) -> list[str]:
        """The job's `env:`, where it is told something."""
        told: dict[str, str] = {}
        if any((grant.scope, grant.access) == ("id-token", "write") for grant in job.grants):
            told.update(self._asked.grant(job))
            why.add(Difference.GRANT)
        if job.id in self._asked.trust:
            told.update(self._asked.trust[job.id])
            why.add(Difference.TRUST)
        if told and "env" in job.keys:
            self._refuse(number, "job-env", f"job {job.id} has an `env:` of its own, and needs another")
        lines = [f"      {name}: {json.dumps(value)}" for name, value in told.items()]
        return ["    env:", *lines] if lines else []

    def _axis(self, number: int, axis: re.Match[str], why: set[Difference]) -> str:
        versions = axis[3].split(", ")
        kept = [version for version in versions if version.replace('"', "") in self._asked.tested]
        if not kept:
            self._refuse(number, "python", f"none of {axis[3]} can be tested here")
        if kept != versions:
            why.add(Difference.PYTHON)
        return f"{axis[1]}{', '.join(kept)}{axis[4]}"

    def _set_up(self, number: int, line: str, why: set[Difference]) -> list[str]:
        """A line of a step: what the set-up is asked to bring must be here."""
        if (listed := _LISTED.fullmatch(line)) and listed[1] not in self._asked.pythons:
            why.add(Difference.PYTHON)
            return []
        if (one := _PYTHON.fullmatch(line)) and one[1] not in self._asked.pythons:
            self._refuse(number, "python", f"asks for Python {one[1]}, which is not here")
        return [line]

    def _output(self, number: int, line: str, job: Job, why: set[Difference]) -> str:
        found = _LEG_OUTPUT.fullmatch(line)
        if found is None or found[4] not in job.matrix:
            what = f"job {job.id} has an output that is not one leg's own: {line.strip()}"
            self._refuse(number, "leg-output", what)
            return line
        if found[4] == "python" and found[5] not in self._asked.tested:
            return line
        name = re.sub(r"\W", "_", f"REHEARSAL_{job.id}_{found[2]}").upper()
        expression = f"{found[3]}vars.{name}{found[6]}"
        self.variables[name] = expression
        why.add(Difference.LEG_OUTPUT)
        return f"{found[1]}{expression}"

    def _refuse(self, number: int, rule: str, what: str) -> None:
        remedy = "rehearse without --act, or teach release/rehearsal/hosted/transcript.py what it is"
        if rule == "python":
            remedy = "install that Python so that `python3.X` starts it, or rehearse without --act"
        where = f"{self._workflow.file}:{number}"
        self.problems.append(Problem(rule=f"hosted.{rule}", where=where, what=what, remedy=remedy))
