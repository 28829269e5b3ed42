"""The `build` stage: the bytes of a release, made twice and compared, and the ledger opened with them.

1. What is asked is decided from facts: a clean tree, the tag and changelog rules, two Pythons.
2. The commit is exported twice, and built in two environments whose circumstances differ.
3. All results must be the same bytes, and hold exactly what the tree and pyproject.toml say.
4. `dist/` appears in one rename, then the ledger is opened; a later run compares, and resumes from any point.
"""

import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from release import builder, environments, pythons, resume
from release.binding import record
from release.checkout import MAIN, Checkout
from release.context import Context
from release.dist import keep
from release.environments import Tool
from release.ledger import Ledger, Opening, Outcome
from release.model import Artifact, Checked, Kind, Mode, Problem, Refused, Report
from release.plan import Plan, plan_for
from release.project import Project
from release.resume import Build
from release.rules.archives import digest, read_archive
from release.rules.artefacts import measure, sdist_problems, wheel_problems
from release.rules.changelog import FILE as CHANGELOG
from release.rules.changelog import dated
from release.rules.metadata import Declared
from release.rules.tag import may_release

__all__ = ["LOCK", "backend", "run", "tools_say"]

LOCK = "release/locks/build.txt"
"""The lock of the front end and the backend."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bench:
    """The two interpreters a build is made with."""

    own: str
    """Version of this session's Python."""
    other: str | None
    """Another supported version that is here, with its interpreter; None when this one is alone."""
    other_python: str


def run(stage: str, context: Context) -> Report:
    """Build the checked-out commit, compare, and open or continue the ledger."""
    began = context.now()
    mode = context.options.mode or Mode.REHEARSAL
    checkout = Checkout(context.root, context.runner)
    project = Project.read(context.root)
    bench = _bench()
    plan = plan_for(mode, sharded=context.options.sharded)
    ledger = _found(context)
    notes = _asked(context, checkout, project, mode, bench, ledger)
    with tempfile.TemporaryDirectory(prefix="tta-build-") as folder:
        scratch = Path(folder)
        commit, epoch = checkout.head(), checkout.epoch()
        context.console.print(f"  exporting {commit[:12]} twice")
        trees = [
            checkout.archive(commit, scratch / each.depth / "tree")
            for each in (builder.FIRST, builder.SECOND)
        ]

        def opening_with(artifacts: tuple[Artifact, ...]) -> Opening:
            return _opening(context, checkout, project, mode, plan, trees[0], artifacts)

        # Refuse before the work: for this question the artefacts do not matter.
        decision = Build.OPEN
        if ledger is not None:
            decision = resume.build_again(ledger, opening_with(ledger.opening.artifacts))
        try:
            made = _made(context, bench, trees, scratch, epoch=epoch, mode=mode)
            _judge(context, trees[0], made, scratch, epoch=epoch)
            opening = opening_with(tuple(measure(path) for path in (made[0].wheel, made[0].sdist)))
            ledger = keep(context, decision, ledger, opening, [made[0].wheel, made[0].sdist])
        except Refused as refused:
            if ledger is not None and decision is Build.COMPARE:
                failed = Report(kind=Kind.REFUSED, sentence="", figures={"problems": len(refused.problems)})
                record(context, ledger, stage, "all", failed, Outcome.FAILED)
            raise
    took_ms = round((context.now() - began).total_seconds() * 1000)
    report = _report(opening, decision, bench, plan, notes, took_ms=took_ms)
    if context.options.again or not ledger.passed(stage):
        record(context, ledger, stage, "all", report)
    return report


def backend(lock: str) -> str:
    """The build backend as WHEEL's Generator line names it, with the version `lock` pins.

    Raises:
        Refused: when the lock's text does not pin it.
    """
    pinned = re.search(r"^hatchling==(\S+)", lock, re.MULTILINE)
    if pinned is None:
        raise Refused(_lock_problem("does not pin hatchling"))
    return f"hatchling {pinned[1]}"


def _bench() -> _Bench:
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    others = [each for each in pythons.found().items() if each[0] != own]
    other, other_python = others[0] if others else (None, sys.executable)
    return _Bench(own=own, other=other, other_python=other_python)


def _asked(
    context: Context, checkout: Checkout, project: Project, mode: Mode, bench: _Bench, ledger: Ledger | None
) -> list[Checked]:
    """Step 1: everything that can be refused before a byte is made; returns what was looked at."""
    problems = [
        Problem(
            rule="build.clean-tree",
            where=path,
            what="is changed or untracked, and a build is of a commit",
            remedy="commit it, ignore it, or move it out of the checkout",
        )
        for path in checkout.dirty()
    ]
    if mode is Mode.RELEASE and bench.other is None:
        problems.append(
            Problem(
                rule="build.two-pythons",
                where="this machine",
                what=f"has Python {bench.own} alone; a release is built with two",
                remedy=f"install one of {', '.join(name for name in pythons.SUPPORTED if name != bench.own)}",
            )
        )
    lock = context.root / LOCK
    if not lock.is_file():
        problems.append(_lock_problem("does not exist"))
    else:
        problems += _unlocked(lock.read_text(encoding="utf-8"))
    tag, said = context.options.tag, "not checked: this build stands for no tag (--tag)"
    if tag is None and mode is Mode.RELEASE:
        problems.append(
            Problem(
                rule="tag.given",
                where="--tag",
                what="is missing, and a release is of a tag",
                remedy=f"`nox -s build -- --mode release --tag {project.tag}`",
            )
        )
    elif tag is not None:
        facts = checkout.tag_facts(tag)
        problems += may_release(facts, version=project.version, commit=checkout.head())
        day = context.now()
        if ledger is not None and ledger.opening.tag_object == facts.tag_object != "":
            day = ledger.opened_at  # a run again of an open release is judged by the day it was opened
        problems += dated(_changelog(context.root), project.version, today=day.date())
        said = f"{tag}, signed by {facts.signer}, on {MAIN}; the changelog has its dated section"
    if problems:
        raise Refused(*problems)
    return [Checked(what="tree", found="clean"), Checked(what="tag, changelog", found=said)]


def _changelog(root: Path) -> str:
    """The changelog's text; an absent one has no section at all."""
    path = root / CHANGELOG
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _lock_problem(what: str) -> Problem:
    return Problem(
        rule="build.locked", where=LOCK, what=what, remedy="run `nox -s lock` and commit its result"
    )


def _unlocked(lock: str) -> list[Problem]:
    """Build tools of this environment that are not what the lock pins."""
    pinned = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lock, re.MULTILINE))
    return [
        Problem(
            rule="build.locked",
            where=LOCK,
            what=f"pins {name} {pinned.get(name, 'not at all')}, this environment has {version(name)}",
            remedy="run the build as `nox -s build`, which installs the lock",
        )
        for name in ("build", "hatchling")
        if pinned.get(name) != version(name)
    ]


def _opening(
    context: Context,
    checkout: Checkout,
    project: Project,
    mode: Mode,
    plan: Plan,
    tree: Path,
    artifacts: tuple[Artifact, ...],
) -> Opening:
    """What a new ledger would say."""
    tag = context.options.tag or ""
    return Opening(
        mode=mode,
        project=project.normalised,
        version=str(project.version),
        tag=tag,
        tag_object=checkout.tag_facts(tag).tag_object if tag else "",
        commit=checkout.head(),
        tree=checkout.tree(),
        epoch=checkout.epoch(),
        locks={
            f"release/locks/{path.name}": digest(path)
            for path in sorted((tree / "release/locks").glob("*.txt"))
        },
        plan=plan.legs,
        artifacts=artifacts,
    )


def _found(context: Context) -> Ledger | None:
    """The ledger that is there; a broken one refuses."""
    try:
        return Ledger.read(context.ledger)
    except Refused as refused:
        if all(problem.rule == "ledger.present" for problem in refused.problems):
            return None
        raise


def _made(
    context: Context, bench: _Bench, trees: Sequence[Path], scratch: Path, *, epoch: int, mode: Mode
) -> list[builder.Made]:
    """Step 2: both builds, side by side."""
    homes = [scratch / "home-first", scratch / "home-second"]
    for home in homes:
        home.mkdir()
    second = f"Python {bench.other}" if bench.other else f"Python {bench.own} again: there is no other here"
    context.console.print(f"  building with Python {bench.own}, and with {second}")

    def first_build() -> builder.Made:
        return builder.make(
            context.runner,
            trees[0],
            scratch / "made-first",
            python=sys.executable,
            circumstances=builder.FIRST,
            epoch=epoch,
            home=homes[0],
        )

    def second_build() -> builder.Made:
        python = sys.executable
        if bench.other is not None:
            environment = environments.create(
                context.runner, bench.other_python, scratch / "second-python", home=homes[1]
            )
            environments.install_locked(
                context.runner,
                environment,
                trees[1] / LOCK,
                tool=Tool.UV,
                home=homes[1],
                wheels=environments.wheelhouse(mode),
            )
            python = str(environment.python)
        return builder.make(
            context.runner,
            trees[1],
            scratch / "made-second",
            python=python,
            circumstances=builder.SECOND,
            epoch=epoch,
            home=homes[1],
        )

    with ThreadPoolExecutor(max_workers=2) as pool:
        pending = [pool.submit(first_build), pool.submit(second_build)]
        return [each.result() for each in pending]


def _judge(context: Context, tree: Path, made: Sequence[builder.Made], scratch: Path, *, epoch: int) -> None:
    """Step 3: the same bytes everywhere, and the right ones."""
    first, second = made
    problems = builder.unequal(first.sdist, first.made_in, second.sdist, second.made_in)
    for other, label in (
        (second.wheel, second.made_in),
        (first.wheel_from_sdist, f"{first.made_in} from the sdist"),
        (second.wheel_from_sdist, f"{second.made_in} from the sdist"),
    ):
        problems += builder.unequal(first.wheel, first.made_in, other, label)
    files = builder.read_tree(tree)
    declared = Declared.read(files.files["pyproject.toml"].decode("utf-8"))
    locked = backend((tree / LOCK).read_text(encoding="utf-8"))
    wheel = read_archive(first.wheel.name, first.wheel.read_bytes())
    sdist = read_archive(first.sdist.name, first.sdist.read_bytes())
    problems += wheel_problems(wheel, declared, files, epoch=epoch, backend=locked)
    problems += sdist_problems(sdist, declared, files, epoch=epoch)
    context.console.print("  checking both with twine and check-wheel-contents")
    problems += tools_say(context, first, scratch)
    if problems:
        raise Refused(*problems)


def tools_say(context: Context, made: builder.Made, scratch: Path) -> list[Problem]:
    """The findings of the two checkers that are not ours."""
    python = [sys.executable, "-I", "-m"]
    checks = {
        "twine check": [*python, "twine", "check", "--strict", made.wheel, made.sdist],
        "check-wheel-contents": [*python, "check_wheel_contents", "--no-config", made.wheel],
    }
    env = environments.scrubbed(scratch / "home-first")
    with ThreadPoolExecutor(max_workers=2) as pool:
        pending = {
            name: pool.submit(context.runner, words, cwd=scratch, env=env) for name, words in checks.items()
        }
    return [
        Problem(
            rule=f"build.{name.replace(' ', '-')}",
            where=made.wheel.name if "wheel" in name else "the artefacts",
            what=f"{name} finds:\n{done.tail()}",
            remedy="mend pyproject.toml, the README or the package as it says, and commit",
        )
        for name, done in ((name, each.result()) for name, each in pending.items())
        if not done.ok
    ]


def _report(
    opening: Opening,
    decision: Build,
    bench: _Bench,
    plan: Plan,
    notes: Sequence[Checked],
    *,
    took_ms: int,
) -> Report:
    second = f"Python {bench.other}" if bench.other else f"Python {bench.own} again (no other Python here)"
    ended = {
        Build.OPEN: "the ledger is open",
        Build.COMPARE: "the same bytes as the ledger's",
        Build.SET_ASIDE: "the ledger of another commit is set aside, a new one is open",
    }[decision]
    circumstances = f"2 folders, 2 umasks, 2 time zones, Python {bench.own} and {second}"
    checked = [
        *notes,
        Checked(what="built twice", found=circumstances),
        Checked(what="bytes", found="sdist, wheel and the wheel from the sdist: identical"),
        Checked(what="contents", found="exactly the tree's files; metadata as pyproject.toml says"),
        *(
            Checked(what=artifact.name, found=f"{artifact.size} bytes, sha256 {artifact.sha256}")
            for artifact in opening.artifacts
        ),
        *(Checked(what="not here", found=text) for text in plan.absent),
        Checked(what="ledger", found=ended),
    ]
    figures: Mapping[str, int | str] = {
        "pythons": f"{bench.own} {bench.other or bench.own}",
        "took_ms": took_ms,
    }
    return Report(
        kind=Kind.DONE,
        sentence=f"{len(opening.artifacts)} artefacts of {opening.project} {opening.version}, {ended}",
        checked=checked,
        figures=figures,
        tools={name: version(name) for name in ("build", "hatchling", "twine", "check-wheel-contents")},
    )
