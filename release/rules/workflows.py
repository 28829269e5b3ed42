"""What holds for every workflow and composite action here: permissions, injection, conditions, sessions.

`release_graph` adds what holds for the release's own workflow, `pins` which actions may run. Each rule has an
id and a negative test.
"""

import ast
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from release import pythons
from release.model import Problem, Refused
from release.publisher import PublisherFacts
from release.rules import release_graph
from release.rules.workflow_model import (
    Composite,
    Job,
    Step,
    UnreadableError,
    Workflow,
    read_composite,
    read_workflow,
)

__all__ = ["RULES", "NoxLine", "Repository", "check", "nox_line", "problems", "sessions"]

ANALYSERS = ("codeql.yml", "scorecard.yml")
"""Files whose jobs run a third party's analysis and no session; they run no line of shell at all."""

MAY_WRITE = {
    ("release.yml", "testpypi", "id-token"),
    ("release.yml", "pypi", "id-token"),
    ("release.yml", "announce", "contents"),
    ("codeql.yml", "codeql", "security-events"),
    ("scorecard.yml", "scorecard", "security-events"),
}
"""File, job and scope of every grant that is more than `read`."""

GIVEN_TOKENS = {("release.yml", "announce", "GH_TOKEN")}
"""File, job and variable of every session that is given its job's own token."""

HOSTED = ("ubuntu-latest", "macos-latest", "windows-latest")
"""Runners that are new for every job."""

UNTRUSTED_TRIGGERS = (
    "pull_request_target",
    "workflow_run",
    "issue_comment",
    "issues",
    "discussion",
    "discussion_comment",
)
"""They run with the repository's rights on what a stranger wrote."""

MAX_SHELL_LINES = 3
MAX_TIMEOUT_MIN = 180

_UPLOADS = ("testpypi", "pypi")
_DEFAULTS = {"run": {"shell": "bash"}}
# Expressions know no case, go over lines, and hold texts in which braces mean nothing.
_TAKES_FAILURE_FOR_SUCCESS = re.compile(r"\b(always|failure|cancelled|success)\s*\(", re.IGNORECASE)
_EXPRESSION = re.compile(r"\$\{\{((?:'[^']*'|[^'])*?)\}\}")
_SECRET = re.compile(r"\bsecrets\b|\bgithub\b(?!\s*\.\s*(?!token\b)[a-z_])", re.IGNORECASE)
"""Any of the secrets; of what GitHub knows the token, or all of it together."""
_LEG = re.compile(r"-(\d+\.\d+|\$PYTHON)$")
_NO_LINE_OF_SHELL = re.compile(r"[;|&<>()`\n]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """What the rules look at: all workflows, all composite actions by folder, and the session names."""

    workflows: Sequence[Workflow]
    composites: Mapping[str, Composite]
    """By the folder a `uses: $/folder` names."""
    sessions: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoxLine:
    """One `python -m nox -s SESSION... [-- WORDS]`."""

    sessions: Sequence[str]
    """Without their Python legs."""
    words: Sequence[str]


def nox_line(run: str) -> NoxLine | None:
    """The nox call that `run` is, and nothing besides; None when it is anything else."""
    run = run.strip()
    if _NO_LINE_OF_SHELL.search(run):
        return None
    try:
        words = shlex.split(run)
    except ValueError:
        return None
    if words[:4] != ["python", "-m", "nox", "-s"]:
        return None
    end = words.index("--") if "--" in words else len(words)
    names = tuple(_LEG.sub("", word) for word in words[4:end])
    return NoxLine(sessions=names, words=tuple(words[end + 1 :])) if names else None


def sessions(noxfile: str) -> frozenset[str]:
    """The names of the sessions that a noxfile's text defines."""
    return frozenset(
        node.name
        for node in ast.parse(noxfile).body
        if isinstance(node, ast.FunctionDef)
        and any(ast.unparse(decorator).startswith("nox.session") for decorator in node.decorator_list)
    )


def _problem(rule: str, file: str, place: str | int, what: str, remedy: str) -> Problem:
    where = f"{file}:{place}" if isinstance(place, int) else f"{file}: {place}"
    return Problem(rule=f"workflow.{rule}", where=where, what=what, remedy=remedy)


def _jobs(repository: Repository) -> Iterator[tuple[str, Job]]:
    for workflow in repository.workflows:
        for job in workflow.jobs.values():
            yield workflow.file, job


def _steps(repository: Repository) -> Iterator[tuple[str, Step]]:
    """Every step of every job and of every composite action."""
    for file, job in _jobs(repository):
        for step in job.steps:
            yield file, step
    for composite in repository.composites.values():
        for step in composite.steps:
            yield composite.file, step


def _permissions(repository: Repository) -> Iterator[Problem]:
    for workflow in repository.workflows:
        if workflow.permissions != {}:
            remedy = "write `permissions: {}` at the top and grant a job what it needs, with the reason"
            yield _problem("permissions", workflow.file, "permissions", "are not empty at the top", remedy)
    for file, job in _jobs(repository):
        if job.grants_all:
            remedy = "list the scopes the job needs below its `permissions:`, each with the reason behind it"
            yield _problem("permissions", file, job.line, f"job {job.id} has {job.grants_all} rights", remedy)


def _reasons(repository: Repository) -> Iterator[Problem]:
    for file, job in _jobs(repository):
        for grant in job.grants:
            if not grant.reason:
                what = f"job {job.id} is granted {grant.scope}: {grant.access} without a reason"
                yield _problem("reasons", file, grant.line, what, "say behind it what the job does with it")


def _writes(repository: Repository) -> Iterator[Problem]:
    for file, job in _jobs(repository):
        for grant in job.grants:
            entry = (file.rpartition("/")[2], job.id, grant.scope)
            if grant.access not in {"read", "none"} and entry not in MAY_WRITE:
                what = f"job {job.id} may {grant.access} {grant.scope}"
                remedy = (
                    "take the grant away; MAY_WRITE in release/rules/workflows.py lists the few there are"
                )
                yield _problem("writes", file, grant.line, what, remedy)


def _secrets(repository: Repository) -> Iterator[Problem]:
    texts = [(each.file, each.text) for each in (*repository.workflows, *repository.composites.values())]
    jobs = {workflow.file: workflow.jobs.values() for workflow in repository.workflows}
    for file, text in texts:
        lines = text.splitlines()
        for found in _EXPRESSION.finditer(text):
            number = text.count("\n", 0, found.start()) + 1
            owner = [job.id for job in jobs.get(file, ()) if job.line <= number][-1:]
            name, _, value = lines[number - 1].strip().partition(": ")
            given = (file.rpartition("/")[2], *owner, name) in GIVEN_TOKENS
            if _SECRET.search(found[1]) and not (given and value == "${{ github.token }}"):
                remedy = "do without it: uploads use trusted publishing, everything else needs no secret"
                yield _problem("secrets", file, number, "reads a secret or the job's token", remedy)


def _triggers(repository: Repository) -> Iterator[Problem]:
    for workflow in repository.workflows:
        triggers = [workflow.triggers] if isinstance(workflow.triggers, str) else workflow.triggers
        for name in UNTRUSTED_TRIGGERS:
            if name in triggers:
                remedy = "use push, pull_request, schedule or workflow_dispatch"
                what = f"runs on {name}, with the repository's rights on what a stranger wrote"
                yield _problem("triggers", workflow.file, "on", what, remedy)


def _timeouts(repository: Repository) -> Iterator[Problem]:
    for file, job in _jobs(repository):
        if not job.timeout.isdecimal() or not 0 < int(job.timeout) <= MAX_TIMEOUT_MIN:
            what = f"job {job.id} has {job.timeout or 'no'} timeout-minutes"
            yield _problem("timeouts", file, job.line, what, f"give it 1 to {MAX_TIMEOUT_MIN} minutes")


def _conditions(repository: Repository) -> Iterator[Problem]:
    places = [(file, job.line, job.condition) for file, job in _jobs(repository)]
    places += [(file, step.line, step.condition) for file, step in _steps(repository)]
    for file, line, condition in places:
        if _TAKES_FAILURE_FOR_SUCCESS.search(condition):
            remedy = "let it run only when everything before it has passed"
            yield _problem("conditions", file, line, f"`if: {condition}` goes on after a failure", remedy)


def _failures(repository: Repository) -> Iterator[Problem]:
    places = [(file, job.line, job.keys) for file, job in _jobs(repository)]
    places += [(file, step.line, step.keys) for file, step in _steps(repository)]
    for file, line, keys in places:
        if "continue-on-error" in keys:
            remedy = "take the key away: a failure is a failure"
            yield _problem("failures", file, line, "continue-on-error hides a failure", remedy)


def _injection(repository: Repository) -> Iterator[Problem]:
    for file, step in _steps(repository):
        if "${{" in step.run or "${{" in step.settings.get("script", ""):
            remedy = 'put the value into `env:` and write "$NAME" in the shell line'
            yield _problem("injection", file, step.line, "an expression becomes part of a shell line", remedy)


def _shell(repository: Repository) -> Iterator[Problem]:
    remedy = "write `defaults: {run: {shell: bash}}` at the top of the file, and no other shell or folder"
    for workflow in repository.workflows:
        if workflow.defaults != _DEFAULTS and (
            workflow.defaults or workflow.file.rpartition("/")[2] not in ANALYSERS
        ):
            yield _problem("shell", workflow.file, "defaults", "are not bash and nothing besides", remedy)
        for job in workflow.jobs.values():
            if "defaults" in job.keys:
                yield _problem(
                    "shell", workflow.file, job.line, f"job {job.id} has defaults of its own", remedy
                )
    for file, step in _steps(repository):
        if step.shell not in {"", "bash"} or "working-directory" in step.keys:
            what = "a step runs in another shell or folder"
            yield _problem("shell", file, step.line, what, remedy)
        if len(step.run.strip().splitlines()) > MAX_SHELL_LINES:
            remedy = "move it into a stage of `python -m release`, where it is typed and tested"
            what = f"a shell script of more than {MAX_SHELL_LINES} lines"
            yield _problem("shell", file, step.line, what, remedy)


def _checkouts(repository: Repository) -> Iterator[Problem]:
    for file, step in _steps(repository):
        if step.uses.startswith("actions/checkout@"):
            if step.settings.get("persist-credentials") != "false":
                remedy = "write `persist-credentials: false`"
                what = "the checkout leaves its token in .git/config"
                yield _problem("checkouts", file, step.line, what, remedy)
            for key in sorted(step.settings.keys() & {"ref", "repository", "token", "ssh-key", "path"}):
                remedy = f"leave `{key}` out: a run looks at the commit it was started for"
                what = f"the checkout's {key} is not the default"
                yield _problem("checkouts", file, step.line, what, remedy)


def _called(repository: Repository) -> Iterator[Problem]:
    for file, job in _jobs(repository):
        if "uses" in job.keys:
            remedy = "write the job's steps here: these rules read this file, not the one it calls"
            yield _problem("called", file, job.line, f"job {job.id} is another workflow", remedy)


def _local(repository: Repository) -> Iterator[Problem]:
    for file, step in _steps(repository):
        folder = step.uses.removeprefix("$/")
        if step.uses.startswith("$/") and folder not in repository.composites:
            remedy = "name a folder below .github/actions that has an action.yml"
            yield _problem("local", file, step.line, f"`{step.uses}` is not there", remedy)
    for composite in repository.composites.values():
        if composite.using != "composite":
            remedy = "keep to `using: composite`, whose steps these rules can read"
            yield _problem("local", composite.file, "runs", f"using is {composite.using!r}", remedy)


def _runners(repository: Repository) -> Iterator[Problem]:
    for file, job in _jobs(repository):
        labels = job.matrix.get("os", ()) if job.runs_on == "${{ matrix.os }}" else (job.runs_on,)
        if not labels or "include" in job.matrix_extra or any(label not in HOSTED for label in labels):
            remedy = f"use one of {', '.join(HOSTED)}, and no `include` in a matrix"
            what = f"job {job.id} runs on {', '.join(labels) or job.runs_on}"
            yield _problem("runners", file, job.line, what, remedy)


def _needs(repository: Repository) -> Iterator[Problem]:
    for workflow in repository.workflows:
        for job in workflow.jobs.values():
            missing = [name for name in job.needs if name not in workflow.jobs]
            if missing or job.id in workflow.ancestors(job.id):
                what = (
                    f"job {job.id} needs {', '.join(missing) or 'itself, at some distance'}, "
                    f"which can never have passed"
                )
                yield _problem("needs", workflow.file, job.line, what, "mend `needs:`")


def _one_session(repository: Repository) -> Iterator[Problem]:
    for file, job in _jobs(repository):
        name = file.rpartition("/")[2]
        lines = [step for step in job.steps if "run" in step.keys]
        if name in ANALYSERS:
            if lines:
                remedy = "leave shell lines to sessions; this file only calls an analysis"
                yield _problem("one-session", file, lines[0].line, f"job {job.id} runs a shell line", remedy)
            continue
        found = nox_line(lines[0].run) if len(lines) == 1 else None
        if found is None:
            remedy = "let the job run one line, `python -m nox -s SESSION -- ...`, and nothing besides"
            what = f"job {job.id} has {len(lines)} shell lines, or one that is more than a nox session"
            yield _problem("one-session", file, job.line, what, remedy)
            continue
        own = found.sessions[-1]
        if own == "smoke" and "--index" in found.words[:-1]:
            own = job.id if job.id == f"smoke-{found.words[found.words.index('--index') + 1]}" else own
        if own != job.id or any(session not in repository.sessions for session in found.sessions):
            remedy = "give the job the name of the session it runs, one that the noxfile defines"
            what = f"job {job.id} runs {', '.join(found.sessions)}"
            yield _problem("one-session", file, job.line, what, remedy)


def _uploads(repository: Repository) -> Iterator[Problem]:
    for file, job in _jobs(repository):
        for step in job.steps:
            line = nox_line(step.run)
            own = job.id if file.endswith("/release.yml") else ""
            names = line.sessions if line is not None else ()
            by_session = any(name in _UPLOADS and name != own for name in names)
            if by_session or "twine" in step.run or "publish" in step.uses:
                remedy = "upload only in the jobs testpypi and pypi of release.yml, by their sessions"
                yield _problem("uploads", file, step.line, f"job {job.id} uploads to an index", remedy)


RULES: dict[str, Callable[[Repository], Iterator[Problem]]] = {
    "workflow.permissions": _permissions,
    "workflow.reasons": _reasons,
    "workflow.writes": _writes,
    "workflow.secrets": _secrets,
    "workflow.triggers": _triggers,
    "workflow.timeouts": _timeouts,
    "workflow.conditions": _conditions,
    "workflow.failures": _failures,
    "workflow.injection": _injection,
    "workflow.shell": _shell,
    "workflow.checkouts": _checkouts,
    "workflow.called": _called,
    "workflow.local": _local,
    "workflow.runners": _runners,
    "workflow.needs": _needs,
    "workflow.one-session": _one_session,
    "workflow.uploads": _uploads,
}
"""Rule id -> the rule. A rule yields only problems of its own id."""


def problems(repository: Repository) -> list[Problem]:
    """Everything that is wrong with the workflows and composite actions of a repository."""
    return [problem for rule in RULES.values() for problem in rule(repository)]


def check(root: Path) -> list[Problem]:
    """Read the workflows, the composite actions, the noxfile and the publisher's facts; judge them all."""
    found: list[Problem] = []
    workflows: list[Workflow] = []
    composites: dict[str, Composite] = {}
    for path in sorted((root / ".github").rglob("*.y*ml")):
        name, text = path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")
        try:
            if path.parent.name == "workflows":
                workflows.append(read_workflow(name, text))
            elif path.stem == "action":
                composites[path.parent.relative_to(root).as_posix()] = read_composite(name, text)
        except UnreadableError as error:
            found.append(_problem("readable", name, "YAML", str(error), "mend what it names"))
    names = sessions((root / "noxfile.py").read_text(encoding="utf-8"))
    found += problems(Repository(workflows=workflows, composites=composites, sessions=names))
    try:
        facts = PublisherFacts.read(root)
    except Refused as refused:
        return [*found, *refused.problems]
    file = f".github/workflows/{facts.workflow}"
    release = next((workflow for workflow in workflows if workflow.file == file), None)
    if release is None:
        what = "is not there or cannot be read, and release/publisher.toml names it"
        found.append(_problem("readable", file, "file", what, "restore it, or name the file that publishes"))
    else:
        environments = {index.value: name for index, name in facts.environments.items()}
        found += release_graph.problems(release, composites, environments, pythons.SUPPORTED)
    return found
