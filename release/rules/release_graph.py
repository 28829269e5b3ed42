"""What holds for the release's workflow: its graph, its steps, and what travels from job to job.

A job starts only when every job it needs has passed, at any distance, since no condition on the way says
otherwise. So "every path to the upload passes gate X" means: X is an ancestor of the upload.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from release.model import Problem
from release.plan import MUTATION_SHARDS
from release.rules.workflow_model import Composite, Job, Step, Workflow

__all__ = ["ROLES", "RULES", "Release", "Role", "problems"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What one job of a release is there for."""

    session: str
    """As the nox line names it."""
    words: str
    """The session's own words, behind `--mode release`."""
    after: Sequence[str] = ()
    """Jobs that must have passed, at any distance."""
    ledger: str = ""
    """The job whose ledger and head it takes up."""
    token: bool = False
    """True for the one job whose session is given the job's own token, as GH_TOKEN."""


ROLES = {
    "build": Role(session="build", words='--tag "$GITHUB_REF_NAME"'),
    "lint": Role(session="lint", words="--evidence", after=("build",), ledger="build"),
    "test": Role(
        session='"test-$PYTHON"', words="--require-redis --evidence", after=("build",), ledger="build"
    ),
    "mutation": Role(
        session="mutation",
        words=f'--shard "$SHARD/{MUTATION_SHARDS}" --evidence',
        after=("build",),
        ledger="build",
    ),
    "coverage": Role(session="coverage", words="--evidence", after=("build", "test"), ledger="build"),
    "collect": Role(
        session="collect",
        words="",
        after=("build", "lint", "test", "mutation", "coverage"),
        ledger="build",
    ),
    "testpypi": Role(session="testpypi", words="", after=("collect",), ledger="collect"),
    "smoke-testpypi": Role(session="smoke", words="--index testpypi", after=("testpypi",), ledger="testpypi"),
    "pypi": Role(
        session="pypi",
        words="",
        after=("build", "lint", "test", "mutation", "coverage", "collect", "testpypi", "smoke-testpypi"),
        ledger="smoke-testpypi",
    ),
    "smoke-pypi": Role(session="smoke", words="--index pypi", after=("pypi",), ledger="pypi"),
    "verify": Role(session="verify", words="", after=("smoke-pypi",), ledger="smoke-pypi"),
    "announce": Role(session="announce", words="", after=("pypi", "verify"), ledger="verify", token=True),
}
"""Every job there may be, by its id."""

_UPLOADS = ("testpypi", "pypi")
_JOB_KEYS = frozenset(
    [
        "name",
        "needs",
        "runs-on",
        "timeout-minutes",
        "permissions",
        "environment",
        "strategy",
        "outputs",
        "steps",
    ]
)
_STEP_KEYS = frozenset(["name", "id", "uses", "with", "env", "run"])
_COMPOSITE_KEYS = _STEP_KEYS | {"shell"}
_TOP_KEYS = frozenset(["name", "on", "permissions", "cache-mode", "concurrency", "defaults", "jobs"])
_DOWNLOAD_KEYS = frozenset(["artifact-ids", "path", "merge-multiple"])
_UPLOAD_KEYS = frozenset(["name", "path", "if-no-files-found", "retention-days", "include-hidden-files"])
_SHAPE = re.compile(r"checkout set-up (download )*session (upload )*$")
_FROM = re.compile(r"\$\{\{ needs\.([\w-]+)\.outputs\.([\w-]+) \}\}")
_FILLED_BY = re.compile(r"steps\.([\w-]+)\.outputs\.artifact-id\b")
_SET_UP = (
    "python -m pip install --quiet --require-hashes --no-deps --only-binary=:all: -r release/locks/nox.txt",
    (
        'if [ "$REDIS" = true ]; then sudo apt-get -qq update; '
        "sudo apt-get -qq install --yes --no-install-recommends redis-server fi"
    ),
)
"""Every shell line of the set-up, with single spaces: a lock by hash, and the runner's own redis-server."""
_ATTEMPT = "-${{ github.run_attempt }}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What the rules look at."""

    workflow: Workflow
    composites: Mapping[str, Composite]
    environments: Mapping[str, str]
    """Upload job -> environment, as `release/publisher.toml` has it."""
    pythons: Sequence[str]
    """The whole matrix."""
    jobs: Mapping[str, Job] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "jobs", self.workflow.jobs)


def _problem(
    release: Release, rule: str, place: str | int, what: str, remedy: str, *, file: str = ""
) -> Problem:
    """What is wrong at a line, or at what is named, of the workflow or of another file."""
    between = ":" if isinstance(place, int) else ": "
    where = f"{file or release.workflow.file}{between}{place}"
    return Problem(rule=f"release.{rule}", where=where, what=what, remedy=remedy)


def _kind(step: Step) -> str:
    if step.uses.startswith("actions/checkout@"):
        return "checkout"
    if step.uses == "$/.github/actions/setup":
        return "set-up"
    if step.uses.startswith("actions/download-artifact@"):
        return "download"
    if step.uses.startswith("actions/upload-artifact@"):
        return "upload"
    return "session" if step.run and not step.uses else "other"


def _of_kind(job: Job, kind: str) -> list[Step]:
    return [step for step in job.steps if _kind(step) == kind]


def _known(release: Release) -> Iterator[tuple[Job, Role]]:
    for job in release.jobs.values():
        if job.id in ROLES:
            yield job, ROLES[job.id]


def _trigger(release: Release) -> Iterator[Problem]:
    if release.workflow.triggers != {"push": {"tags": ["v*"]}}:
        remedy = 'write `on: {push: {tags: ["v*"]}}` and nothing besides: a release has one door'
        yield _problem(release, "trigger", "on", "starts on something else than a pushed tag v*", remedy)


def _concurrency(release: Release) -> Iterator[Problem]:
    wanted = {"group": "release", "cancel-in-progress": "false", "queue": "max"}
    if release.workflow.concurrency != wanted:
        remedy = (
            "write `group: release`, `cancel-in-progress: false`, `queue: max`: nothing cancels a publish"
        )
        yield _problem(release, "concurrency", "concurrency", "lets one release disturb another", remedy)


def _cache(release: Release) -> Iterator[Problem]:
    if release.workflow.cache_mode != "none":
        what = f"cache-mode is {release.workflow.cache_mode or 'not there'}"
        yield _problem(release, "cache", "cache-mode", what, "write `cache-mode: none` at the top")
    steps = [("", step) for job in release.jobs.values() for step in job.steps]
    steps += [(each.file, step) for each in release.composites.values() for step in each.steps]
    for file, step in steps:
        if step.uses.startswith("actions/cache") or any("cache" in key for key in step.settings):
            remedy = "take it away: what a release is made from comes from the tag and the locks alone"
            yield _problem(release, "cache", step.line, "a step uses a cache", remedy, file=file)


def _keys(release: Release) -> Iterator[Problem]:
    """Also keeps conditions, services, containers, called workflows and inherited environments out."""
    levels = [("", 1, "the top", release.workflow.keys - _TOP_KEYS)]
    for job in release.jobs.values():
        levels.append(("", job.line, f"job {job.id}", job.keys - _JOB_KEYS))
        levels += [("", step.line, f"a step of {job.id}", step.keys - _STEP_KEYS) for step in job.steps]
    for each in release.composites.values():
        levels += [(each.file, step.line, "a step", step.keys - _COMPOSITE_KEYS) for step in each.steps]
    for file, line, level, unknown in levels:
        if unknown:
            remedy = "take it away; nothing on the way to an upload is conditional or brought from elsewhere"
            what = f"{level} has {', '.join(sorted(unknown))}"
            yield _problem(release, "keys", line, what, remedy, file=file)


def _roles(release: Release) -> Iterator[Problem]:
    for name in sorted(ROLES.keys() ^ release.jobs.keys()):
        what = f"job {name} is {'missing' if name in ROLES else 'not one of a release'}"
        remedy = "keep to the jobs that ROLES in release/rules/release_graph.py lists"
        yield _problem(release, "roles", name, what, remedy)


def _gates(release: Release) -> Iterator[Problem]:
    for job, role in _known(release):
        around = [name for name in role.after if name not in release.workflow.ancestors(job.id)]
        if around:
            what = f"there is a way to {job.id} around {', '.join(around)}"
            yield _problem(release, "gates", job.line, what, f"add {', '.join(around)} to its `needs:`")


def _environments(release: Release) -> Iterator[Problem]:
    for job in release.jobs.values():
        wanted = release.environments.get(job.id, "") if job.id in _UPLOADS else ""
        if job.environment != wanted:
            what = f"job {job.id} runs in environment {job.environment!r}, not {wanted!r}"
            remedy = "give each upload the environment of release/publisher.toml, and no other job one"
            yield _problem(release, "environments", job.line, what, remedy)


def _tokens(release: Release) -> Iterator[Problem]:
    for job in release.jobs.values():
        mints = any(grant.scope == "id-token" and grant.access == "write" for grant in job.grants)
        if mints is not (job.id in _UPLOADS):
            what = f"job {job.id} {'may' if mints else 'may not'} mint an identity token"
            remedy = "grant `id-token: write` to testpypi and pypi, and to no other job"
            yield _problem(release, "tokens", job.line, what, remedy)


def _shape(release: Release) -> Iterator[Problem]:
    for job in release.jobs.values():
        shape = "".join(f"{_kind(step)} " for step in job.steps)
        if not _SHAPE.fullmatch(shape):
            remedy = "checkout, $/.github/actions/setup, downloads, one nox line, uploads; nothing else"
            yield _problem(release, "shape", job.line, f"job {job.id} is: {shape.strip()}", remedy)


def _checkout(release: Release) -> Iterator[Problem]:
    for job in release.jobs.values():
        for step in _of_kind(job, "checkout"):
            if step.settings != {"fetch-depth": "0", "persist-credentials": "false"}:
                remedy = "write `fetch-depth: 0` and `persist-credentials: false`, nothing else"
                what = f"job {job.id} does not check out the tag with its whole history and no token"
                yield _problem(release, "checkout", step.line, what, remedy)


def _set_up(release: Release) -> Iterator[Problem]:
    """It runs in the jobs that mint tokens too."""
    for composite in release.composites.values():
        for step in composite.steps:
            line = " ".join(step.run.split())
            if line and line not in _SET_UP:
                remedy = f"write `{_SET_UP[0]}`; what else is needed belongs into a session, from a lock"
                what = f"a step runs `{line}`, which no hash vouches for"
                yield _problem(release, "set-up", step.line, what, remedy, file=composite.file)


def _lines(release: Release) -> Iterator[Problem]:
    for job, role in _known(release):
        words = ["--mode release", role.words]
        if role.ledger:
            words.append('--expect-head "$HEAD" --expect-digests "$DIGESTS"')
        wanted = f"python -m nox -s {role.session} -- {' '.join(word for word in words if word)}"
        for step in _of_kind(job, "session"):
            if step.run.strip() != wanted:
                yield _problem(release, "lines", step.line, f"job {job.id} runs `{step.run.strip()}`", wanted)


def _expectations(release: Release) -> Iterator[Problem]:
    for job, role in _known(release):
        wanted: dict[str, str] = {}
        if role.ledger:
            wanted["HEAD"] = f"${{{{ needs.{role.ledger}.outputs.head }}}}"
            wanted["DIGESTS"] = "${{ needs.build.outputs.digests }}"
        if role.token:
            wanted |= {"GH_TOKEN": "${{ github.token }}"}
        if job.id == "test":
            wanted["PYTHON"] = "${{ matrix.python }}"
        if job.id == "mutation":
            wanted["SHARD"] = "${{ matrix.shard }}"
        for step in _of_kind(job, "session"):
            if step.env != wanted:
                remedy = ", ".join(f"{name}: {value}" for name, value in wanted.items()) or "no env"
                what = f"job {job.id} is not told what to expect by the jobs it needs, or is told more"
                yield _problem(release, "expectations", step.line, what, remedy)


def _taken(release: Release) -> Iterator[Problem]:
    """The ledger of the job before and the dist of build, by id, each into its own folder."""
    for job, role in _known(release):
        if not role.ledger:
            continue
        got = {
            step.settings.get("path"): step.settings.get("artifact-ids") for step in _of_kind(job, "download")
        }
        wanted = {
            "ledger": f"${{{{ needs.{role.ledger}.outputs.ledger }}}}",
            "dist": "${{ needs.build.outputs.dist }}",
        }
        if any(got.get(path) != source for path, source in wanted.items()):
            remedy = ", ".join(f"{source} into {path}" for path, source in wanted.items())
            what = f"job {job.id} does not take up the ledger of {role.ledger} and the dist of build"
            yield _problem(release, "taken", job.line, what, remedy)


def _by_id(release: Release) -> Iterator[Problem]:
    for job in release.jobs.values():
        for step in _of_kind(job, "download"):
            ids = [each.strip() for each in step.settings.get("artifact-ids", "").split(",")]
            unknown = sorted(step.settings.keys() - _DOWNLOAD_KEYS)
            loose = [each or "no id" for each in ids if not _handed_on(release, job, each)]
            if unknown or loose:
                what = f"job {job.id} downloads {', '.join([*unknown, *loose])}"
                remedy = "name artefacts by the id that a job in `needs:` hands on from its own upload step"
                yield _problem(release, "by-id", step.line, what, remedy)


def _handed_on(release: Release, job: Job, expression: str) -> bool:
    """Whether `expression` is an output of a needed job that one of that job's uploads fills in."""
    match = _FROM.fullmatch(expression)
    if match is None or match[1] not in job.needs or match[1] not in release.jobs:
        return False
    giver = release.jobs[match[1]]
    filled = _FILLED_BY.search(giver.outputs.get(match[2], ""))
    return filled is not None and filled[1] in {step.id for step in _of_kind(giver, "upload")}


def _outputs(release: Release) -> Iterator[Problem]:
    """`head` and `digests` come from the session, everything else is the id of an upload."""
    for job in release.jobs.values():
        uploads = {step.id for step in _of_kind(job, "upload")}
        for name, value in job.outputs.items():
            filled = _FILLED_BY.search(value)
            if name in {"head", "digests"}:
                sound = value == f"${{{{ steps.session.outputs.{name} }}}}" and [
                    step.id for step in _of_kind(job, "session")
                ] == ["session"]
            else:
                sound = filled is not None and filled[1] in uploads
            if not sound:
                what = f"job {job.id} hands on {name} from elsewhere: {value}"
                remedy = "let the session fill `head` and `digests`, an upload's artifact-id the others"
                yield _problem(release, "outputs", job.line, what, remedy)


def _fan_in(release: Release) -> Iterator[Problem]:
    """Every evidence file that a parallel job uploads is one that collect takes up."""
    collect = release.jobs.get("collect")
    taken = (
        ",".join(step.settings.get("artifact-ids", "") for step in _of_kind(collect, "download"))
        if collect is not None
        else ""
    )
    got = set(_FROM.findall(taken))
    for job in release.jobs.values():
        left = [name for name in job.outputs if name.startswith("evidence") and (job.id, name) not in got]
        legs = math.prod(len(values) for values in job.matrix.values())
        given = sum(name.startswith("evidence") for name in job.outputs)
        evidence = "--evidence" in ROLES[job.id].words if job.id in ROLES else False
        if left or (evidence and given != legs):
            what = f"collect does not get all evidence of {job.id} ({legs} legs, {given} handed on)"
            remedy = "hand on one evidence artefact a leg, and download each in collect"
            yield _problem(release, "fan-in", job.line, what, remedy)


def _kept(release: Release) -> Iterator[Problem]:
    names: list[str] = []
    for job in release.jobs.values():
        for step in _of_kind(job, "upload"):
            name = step.settings.get("name", "")
            wrong = [
                *sorted(step.settings.keys() - _UPLOAD_KEYS),
                *(["retention-days"] if step.settings.get("retention-days") != "90" else []),
                *(["if-no-files-found"] if step.settings.get("if-no-files-found") != "error" else []),
                *(["name"] if not name.endswith(_ATTEMPT) or name in names else []),
                *(["name"] if job.matrix and "${{ matrix." not in name else []),
            ]
            names.append(name)
            if wrong:
                what = f"job {job.id} uploads {name or 'an artefact'} with a wrong {', '.join(wrong)}"
                remedy = f"a name of its own that ends in {_ATTEMPT}, 90 days, `if-no-files-found: error`"
                yield _problem(release, "kept", step.line, what, remedy)


def _matrix(release: Release) -> Iterator[Problem]:
    for job in release.jobs.values():
        shards = tuple(str(number) for number in range(1, MUTATION_SHARDS + 1))
        axes = {"test": {"python": tuple(release.pythons)}, "mutation": {"shard": shards}}
        wanted = axes.get(job.id, {})
        if dict(job.matrix) != wanted or job.matrix_extra:
            what = f"job {job.id} runs the legs {dict(job.matrix)}"
            remedy = (
                f"test runs {', '.join(release.pythons)} and mutation {', '.join(shards)}, in that order; "
                f"no other job has a matrix"
            )
            yield _problem(release, "matrix", job.line, what, remedy)


def _runner(release: Release) -> Iterator[Problem]:
    for job in release.jobs.values():
        if job.runs_on != "ubuntu-latest":
            remedy = "write `runs-on: ubuntu-latest`"
            yield _problem(release, "runner", job.line, f"job {job.id} runs on {job.runs_on}", remedy)


RULES: dict[str, Callable[[Release], Iterator[Problem]]] = {
    "release.trigger": _trigger,
    "release.concurrency": _concurrency,
    "release.cache": _cache,
    "release.keys": _keys,
    "release.roles": _roles,
    "release.gates": _gates,
    "release.environments": _environments,
    "release.tokens": _tokens,
    "release.shape": _shape,
    "release.checkout": _checkout,
    "release.set-up": _set_up,
    "release.lines": _lines,
    "release.expectations": _expectations,
    "release.taken": _taken,
    "release.by-id": _by_id,
    "release.outputs": _outputs,
    "release.fan-in": _fan_in,
    "release.kept": _kept,
    "release.matrix": _matrix,
    "release.runner": _runner,
}
"""Rule id -> the rule. A rule yields only problems of its own id."""


def problems(
    workflow: Workflow,
    composites: Mapping[str, Composite],
    environments: Mapping[str, str],
    pythons: Sequence[str],
) -> list[Problem]:
    """Everything that is wrong with the release's workflow."""
    release = Release(
        workflow=workflow, composites=composites, environments=environments, pythons=tuple(pythons)
    )
    return [problem for rule in RULES.values() for problem in rule(release)]
