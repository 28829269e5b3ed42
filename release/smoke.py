"""The `smoke` stage: install what an index serves into empty environments, and use it.

1. The ledger fits, and for an index holds a passed upload that this smoke follows.
2. The index lists both files with the ledger's digests (or `dist/` holds them), and serves those bytes.
3. Wheel and sdist, by pip and by uv, each in an environment of its own: see `release.install_check`.
"""

import io
import tarfile
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from release import environments, pythons
from release.binding import bound, index_mode, record
from release.context import Context
from release.dist import dist_problems
from release.indexes import INDEXES, IndexName
from release.install_check import Candidate, Leg, check, legs
from release.ledger import Ledger, Outcome
from release.model import Artifact, Checked, Kind, Problem, Refused, Report
from release.resume import done
from release.rules.archives import digest, read_archive
from release.simple import IndexClient
from release.waiting import wait_until_listed

__all__ = ["LOCAL", "RUNTIME_LOCK", "TEST_LOCK", "run", "unpack_shipped"]

LOCAL = "local"
"""The leg that installs the files in `dist/`."""

RUNTIME_LOCK = "release/locks/runtime.txt"
TEST_LOCK = "release/locks/test.txt"

_NOT_HERE = "not run here: a full smoke from dist/ or TestPyPI runs them against the same bytes"

_SHIPPED = ("examples", "tests", "pyproject.toml")
"""What of the sdist is used; its source is left behind, so that only what is installed can be imported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Served:
    """Both artefacts as they were got, and where from."""

    source: str | Path
    files: dict[str, bytes]
    said: str


def run(stage: str, context: Context) -> Report:
    """Smoke one leg: `--index local`, `testpypi` or `pypi`."""
    leg = context.options.index or LOCAL
    ledger = bound(context, mode=None if leg == LOCAL else index_mode(context))
    if done(ledger, stage, leg, again=context.options.again):
        return Report(kind=Kind.DONE, sentence=f"{leg} passed before; `-- --again` repeats it")
    try:
        report = _smoked(context, ledger, leg)
    except Refused as refused:
        if refused.kind is Kind.REFUSED:
            failed = Report(kind=Kind.REFUSED, sentence="", figures={"problems": len(refused.problems)})
            record(context, ledger, stage, leg, failed, Outcome.FAILED)
        raise
    outcome = Outcome.SAMPLE if context.options.fast else Outcome.PASSED
    record(context, ledger, stage, leg, report, outcome)
    return report


def _smoked(context: Context, ledger: Ledger, leg: str) -> Report:
    """All of one leg."""
    began = time.monotonic()
    problems = _before(context, ledger, leg)
    if problems:
        raise Refused(*problems)
    served = _local(context, ledger) if leg == LOCAL else _from_index(context, ledger, IndexName(leg))
    waited_ms = round((time.monotonic() - began) * 1000)
    wheel, sdist = _pair(ledger)
    with tempfile.TemporaryDirectory(prefix="tta-smoke-") as folder:
        scratch = Path(folder)
        shipped = scratch / "shipped"
        unpack_shipped(served.files[sdist.name], shipped)
        candidate = Candidate(
            project=ledger.opening.project,
            version=ledger.opening.version,
            wheel=wheel,
            sdist=sdist,
            source=served.source,
            contents=read_archive(wheel.name, served.files[wheel.name]),
            shipped=shipped,
            runtime_lock=context.root / RUNTIME_LOCK,
            test_lock=context.root / TEST_LOCK,
            wheels=environments.wheelhouse(ledger.opening.mode),
        )
        # The same bytes were tested when TestPyPI served them.
        tests = leg != IndexName.PYPI and not context.options.fast
        chosen = legs(pythons.found(), fast=context.options.fast, shipped_tests=tests)
        checked = _each(context, chosen, candidate, scratch)
    took_ms = round((time.monotonic() - began) * 1000)
    return Report(
        kind=Kind.DONE,
        sentence=f"{ledger.opening.project} {ledger.opening.version} from {leg}: "
        f"{len(chosen)} clean installations work, all with the ledger's bytes",
        checked=[
            Checked(what=leg, found=served.said),
            *checked,
            *([] if tests else [Checked(what="shipped tests", found=_NOT_HERE)]),
        ],
        figures={
            "installations": len(chosen),
            "shipped_tests": "run once" if tests else "not run",
            "waited_ms": waited_ms,
            "took_ms": took_ms,
        },
        tools={name: version(name) for name in ("pip", "uv")},
    )


def _before(context: Context, ledger: Ledger, leg: str) -> list[Problem]:
    """What has to hold before anything is installed."""
    problems: list[Problem] = []
    opening = ledger.opening
    if leg != LOCAL and not ledger.passed(leg):
        problems.append(
            Problem(
                rule="smoke.after-upload",
                where=leg,
                what="the ledger holds no passed upload to it",
                remedy=f"run `nox -s {leg}` first",
            )
        )
    if not pythons.found():
        problems.append(
            Problem(
                rule="smoke.python",
                where="this machine",
                what="has no supported Python",
                remedy=f"install one of {', '.join(pythons.SUPPORTED)}",
            )
        )
    for lock in (RUNTIME_LOCK, TEST_LOCK):
        path = context.root / lock
        if not path.is_file() or digest(path) != opening.locks.get(lock):
            problems.append(
                Problem(
                    rule="smoke.lock",
                    where=lock,
                    what="is missing, or is not the lock the ledger opened with",
                    remedy=f"restore it from the commit: `git checkout {opening.commit[:12]} -- {lock}`",
                )
            )
    return problems


def _pair(ledger: Ledger) -> tuple[Artifact, Artifact]:
    """The wheel and the sdist."""
    wheel = next(each for each in ledger.opening.artifacts if each.name.endswith(".whl"))
    return wheel, next(each for each in ledger.opening.artifacts if each is not wheel)


def _local(context: Context, ledger: Ledger) -> _Served:
    """The files in `dist/`."""
    artifacts = ledger.opening.artifacts
    if not context.dist.is_dir():
        raise Refused(
            Problem(rule="smoke.dist", where="dist/", what="does not exist", remedy="run `nox -s build`")
        )
    problems = dist_problems(context.dist, artifacts)
    if problems:
        raise Refused(*problems)
    return _Served(
        source=context.dist,
        files={each.name: (context.dist / each.name).read_bytes() for each in artifacts},
        said=f"dist/ holds the ledger's {len(artifacts)} files",
    )


def _from_index(context: Context, ledger: Ledger, name: IndexName) -> _Served:
    """What an index lists and serves, once it does."""
    index = INDEXES[name]
    opening = ledger.opening
    with IndexClient(index) as client:
        standing = wait_until_listed(
            index,
            opening.artifacts,
            lambda: client.listing(opening.project),
            context.console,
            clock=time.monotonic,
            sleep=time.sleep,
        )
        files = {file.name: client.fetch(file) for file in standing.present}
    return _Served(
        source=index.simple_url,
        files=files,
        said=f"lists and serves {len(files)} files with the ledger's digests",
    )


def unpack_shipped(sdist: bytes, folder: Path) -> None:
    """Unpack what the sdist ships besides the source."""
    with tarfile.open(fileobj=io.BytesIO(sdist), mode="r:gz") as archive:
        for member in archive.getmembers():
            inner = member.name.partition("/")[2]
            if inner.partition("/")[0] in _SHIPPED:
                archive.extract(member.replace(name=inner), folder, filter="data")


def _each(context: Context, chosen: list[Leg], candidate: Candidate, scratch: Path) -> list[Checked]:
    """Every leg, two at a time; all problems of all legs together."""

    def one(leg: Leg) -> Checked | Refused:
        context.console.print(f"  {leg.name}: installing")
        began = time.monotonic()
        folder = scratch / f"{leg.kind}-{leg.tool.value}-{leg.python}"
        try:
            found = Checked(what=leg.name, found=check(context.runner, leg, candidate, folder))
        except Refused as refused:
            context.console.print(f"  {leg.name}: FAILED")
            return refused
        context.console.print(f"  {leg.name}: works ({time.monotonic() - began:.1f} s)")
        return found

    with ThreadPoolExecutor(max_workers=2) as pool:
        results = list(pool.map(one, chosen))
    problems = [problem for each in results if isinstance(each, Refused) for problem in each.problems]
    if problems:
        raise Refused(*problems)
    return [each for each in results if isinstance(each, Checked)]
