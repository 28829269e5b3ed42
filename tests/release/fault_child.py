"""Plays a stage over and over in processes that end before their time: `python -m tests.release.fault_child`.

It has no threads, so it can fork: each attempt starts with everything imported. It prints what each attempt
was cut short by, as JSON; what was left behind lies in the folders, for the tests to look at. The index that
smoke and verify ask is in the test's own process, at the address in `INDEX_AT`.
"""

import errno
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from release import announce, build, collect, publish, pythons, smoke, verify
from release.binding import bound
from release.checkout import Checkout
from release.context import Options
from release.gates.gate import run_gate
from release.indexes import INDEXES, IndexName
from release.ledger import LOCK_NAME, NAME
from release.model import Kind, Mode, Refused, Report
from release.plan import GATES
from release.rehearsal import github
from release.runner import Finished, LocalRunner, Runner
from tests.release.build_support import built, replaying
from tests.release.repo_support import context_on
from tests.release.smoke_support import Played

Stage = Callable[[Path], object]

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_CHANGING = {"os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.truncate"}
_MOST = 300
"""More steps than any stage takes: a stage that never comes through is a defect."""

BUILDS = {"build", "smoke", "verify"}
"""Stages that need the tiny project's files: made once, before the first attempt."""

DONE, REFUSED, BROKE = 0, 3, 4
"""Exit codes of an attempt."""

HALF_SENT = "half a file sent"
STRIDE = 61
"""Bytes that a file may have more in each attempt with too little room: a fraction of a line."""


def gates(root: Path) -> None:
    """Every gate of the plan, one after the other, as on a laptop; each has found nothing."""
    context = context_on(root)
    ledger = bound(context, mode=None)
    ended = Report(kind=Kind.DONE, sentence="fine", figures={"checks": 3})
    for stage in GATES:
        for leg in ledger.opening.plan.get(stage, ()):
            run_gate(context, ledger, stage, leg, lambda: ended)


def apart(root: Path) -> None:
    """One parallel job of the plan, which leaves an evidence file."""
    context = context_on(root, options=Options(evidence=True))
    ended = Report(kind=Kind.DONE, sentence="fine", figures={"checks": 3})
    run_gate(context, bound(context, mode=None), "lint", "all", lambda: ended)


def collected(root: Path) -> None:
    """The fan-in of all jobs' evidence."""
    collect.run("collect", context_on(root))


def rebuilt(root: Path) -> None:
    """The build; what the front end makes is replayed."""
    build.run("build", replace(context_on(root), runner=replaying()))


def uploaded(root: Path) -> None:
    """The upload; the real twine is in this process's own group, so that a kill reaches both."""
    context = context_on(root, options=Options(mode=Mode.REHEARSAL))
    publish.run("testpypi", replace(context, runner=together))


def smoked(root: Path) -> None:
    """The smoke of what TestPyPI serves, half of the installations; each is played."""
    index_at(IndexName.TESTPYPI)
    context = context_on(root, options=Options(index="testpypi", mode=Mode.REHEARSAL, fast=True))
    played = Played(commit=Checkout(root, LocalRunner()).head())
    smoke.run("smoke", replace(context, runner=stepped(played)))


def verified(root: Path) -> None:
    """The verification of what PyPI serves; the rebuild is replayed."""
    index_at(IndexName.PYPI)
    context = context_on(root, options=Options(mode=Mode.REHEARSAL))
    verify.run("verify", replace(context, runner=stepped(replaying())))


def announced(root: Path) -> None:
    """The announcement, by a recording `gh` that keeps its releases beside the checkout."""
    programs, kept = root.parent / "programs", root.parent / "github"
    if not programs.exists():
        github.install(programs, kept)
    os.environ["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"
    context = context_on(root, options=Options(mode=Mode.REHEARSAL))
    announce.run("announce", replace(context, runner=stepped(LocalRunner())))


def index_at(name: IndexName) -> None:
    """Let an index be the one at `INDEX_AT`."""
    simple = f"{os.environ['INDEX_AT']}/simple"
    INDEXES[name] = replace(INDEXES[name], simple_url=simple, files_host="127.0.0.1")


_TOLD: list[Callable[[str, Callable[[], None]], None]] = []
"""What a trap does when a program is about to start; the second argument is what the fault leaves of it."""


def stepped(runner: Runner) -> Runner:
    """A runner that tells the trap of each program; an upload to GitHub may be struck in its middle, too."""

    def run(
        argv: Sequence[str | os.PathLike[str]],
        *,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        show: bool = False,
        timeout_s: float | None = None,
    ) -> Finished:
        words = [os.fspath(word) for word in argv]
        for tell in _TOLD:
            tell(f"before {Path(words[0]).name}", nothing)
            if words[1:3] == ["release", "upload"]:
                tell(HALF_SENT, partial(half_sent, Path(words[0]), tag=words[3], file=Path(words[4])))
        return runner(words, cwd=cwd, env=env, show=show, timeout_s=timeout_s)

    return run


def nothing() -> None:
    """Leave nothing."""


def half_sent(gh: Path, *, tag: str, file: Path) -> None:
    """Leave what GitHub keeps of an upload that was cut short: the file's name, and a state that says so."""
    book = gh.parent.parent / "github" / github.STATE
    releases = json.loads(book.read_text(encoding="utf-8"))
    releases[tag]["assets"].append({"name": file.name, "state": "starter", "digest": None})
    book.write_text(json.dumps(releases), encoding="utf-8")


def together(
    argv: Sequence[str | os.PathLike[str]],
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    show: bool = False,
    timeout_s: float | None = None,
) -> Finished:
    """A runner that leaves programs in this process's group."""
    del show
    words = [os.fspath(word) for word in argv]
    done = subprocess.run(
        words, cwd=cwd, env=env, check=False, capture_output=True, text=True, timeout=timeout_s
    )
    return Finished(argv=words, code=done.returncode, stdout=done.stdout, stderr=done.stderr, took_ms=0)


STAGES: dict[str, Stage] = {
    "gates": gates,
    "a parallel job": apart,
    "collect": collected,
    "build": rebuilt,
    "testpypi": uploaded,
    "smoke": smoked,
    "verify": verified,
    "announce": announced,
}


def attempt(stage: Stage, root: Path, before: Callable[[], None] | None = None) -> tuple[int, str]:
    """Run a stage in a process of its own.

    Args:
        stage: The stage.
        root: Its checkout.
        before: Called in that process first.

    Returns:
        How it ended (minus the signal when it was killed), and the rules by which it refused.
    """
    said, saying = os.pipe()
    child = os.fork()
    if child == 0:
        code = BROKE
        try:
            os.close(said)
            if before is not None:
                before()
            stage(root)
            code = DONE
        except Refused as refused:
            os.write(saying, " ".join(problem.rule for problem in refused.problems).encode())
            code = REFUSED
        except BaseException:  # noqa: BLE001 - a process of its own: nothing may run on behind it
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(saying)
    _, status = os.waitpid(child, 0)
    rules = os.read(said, 1 << 16).decode()
    os.close(said)
    return os.waitstatus_to_exitcode(status), rules


def die() -> None:
    """`kill -9` this process."""
    os.kill(os.getpid(), signal.SIGKILL)


def no_space() -> None:
    """Answer as a full disk does."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def trap(root: Path, at: int, note: Path, strike: Callable[[], None]) -> None:
    """Let a fault strike this process at its `at`-th step that changes something below `root`.

    A step is a file opened for writing, renamed, made or removed, half of a ledger's line, and an fsync. The
    step's name is left in `note`.
    """
    steps = itertools.count(1)
    write, sync, place = os.write, os.fsync, str(root)

    def step(name: str) -> bool:
        if next(steps) != at:
            return False
        descriptor = os.open(note, os.O_WRONLY | os.O_CREAT)
        write(descriptor, name.encode())
        return True

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if not args or not str(args[0]).startswith(place):
            return
        path = Path(str(args[0]))
        made_before = event == "os.mkdir" and path.exists()
        changes = event in _CHANGING or (event == "open" and args[2] & _WRITING and path.name != LOCK_NAME)
        if changes and not made_before and step(f"{event} {path.name}"):
            strike()

    def half_written(descriptor: int, data: bytes) -> int:
        ledger = {path.stat().st_ino for path in root.rglob(NAME)}
        if len(data) > 1 and os.fstat(descriptor).st_ino in ledger and step("half a line written"):
            write(descriptor, data[: len(data) // 2])
            strike()
        return write(descriptor, data)

    def synced(descriptor: int) -> None:
        if step("before an fsync"):
            strike()
        sync(descriptor)

    def told(name: str, leave: Callable[[], None]) -> None:
        if step(name):
            leave()
            strike()

    os.write, os.fsync = half_written, synced
    sys.addaudithook(hook)
    _TOLD.append(told)


def cramp(root: Path, at: int, note: Path) -> None:
    """Let no file of this process grow beyond so many strides.

    The system itself takes a part of what is written then, and refuses the rest.
    """
    import resource  # noqa: PLC0415 - not on every platform

    del root, note
    resource.setrlimit(resource.RLIMIT_FSIZE, (at * STRIDE, resource.RLIM_INFINITY))


FAULTS: dict[str, Callable[[Path, int, Path], None]] = {
    "kill": partial(trap, strike=die),
    "full": partial(trap, strike=no_space),
    "cramped": cramp,
}


def play(name: str, fault: str, template: Path, folder: Path) -> list[dict[str, object]]:
    """Let a fault strike a stage at each of its steps, each time in a copy of `template`.

    Args:
        name: The stage.
        fault: A key of `FAULTS`.
        template: The folder that holds `clone` and its origin.
        folder: Where the copies are made.

    Returns:
        For each attempt the copy, where it was struck, how it ended, the rules by which it refused, and how
        the same command ended then. In the last one nothing struck: there is no such step any more. What the
        first command left of the ledger's folder lies in `left` beside the checkout.
    """
    stage = STAGES[name]
    pythons.found = lambda: {f"{sys.version_info.major}.{sys.version_info.minor}": sys.executable}
    if name in BUILDS:
        built()
    played: list[dict[str, object]] = []
    for number in range(1, _MOST):
        copy, note = folder / str(number), folder / f"{number}.txt"
        shutil.copytree(template, copy, symlinks=True)
        root = copy / "clone"
        code, rules = attempt(stage, root, partial(FAULTS[fault], root, number, note))
        struck = note.exists() or code != DONE
        if (root / "ledger").exists():
            shutil.copytree(root / "ledger", copy / "left")
        then = attempt(stage, root)[0] if struck else code
        at = note.read_text(encoding="utf-8") if note.exists() else "no more room" if struck else "the end"
        played.append({"copy": str(copy), "at": at, "first": code, "rules": rules, "then": then})
        if not struck:
            break
    return played


if __name__ == "__main__":
    if sys.argv[1] == "once":
        STAGES[sys.argv[2]](Path(sys.argv[3]))
    else:
        name, fault, *places = sys.argv[1:]
        sys.stdout.write(json.dumps(play(name, fault, *map(Path, places))))
