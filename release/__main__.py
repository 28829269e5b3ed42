"""`python -m release <stage>`: reads the command line, runs one stage, prints its report, sets the exit code.

Exit codes: 0 done, 1 refused or failed, 2 usage, 75 not yet (run the same command again). The last line of
output is `RESULT <kind> <stage>: <sentence>`.
"""

import argparse
import datetime as dt
import errno
import importlib
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from release.context import Context, Options
from release.model import Kind, Mode, Problem, Refused, Report
from release.outputs import hand_on
from release.report import show
from release.runner import LocalRunner, ends_with_children
from release.summaries import summarise

__all__ = ["STAGES", "main"]

STAGES: dict[str, tuple[str, str]] = {
    "lint": ("release.gates.lint", "style, types, workflows, pins"),
    "test": ("release.gates.test", "the suite against the installed wheel, one leg a Python"),
    "chaos": ("release.gates.chaos", "the slow proofs: kills, stalls, restarts, handlers that hang"),
    "coverage": ("release.gates.coverage", "what the legs executed, together"),
    "mutation": ("release.gates.mutation.stage", "whether the tests notice broken code"),
    "build": ("release.build", "the bytes, twice, and the ledger that binds everything to them"),
    "collect": ("release.collect", "the evidence of parallel jobs into the ledger"),
    "testpypi": ("release.publish", "upload the ledger's files to TestPyPI"),
    "pypi": ("release.publish", "upload the ledger's files to PyPI"),
    "smoke": ("release.smoke", "install what an index serves into empty environments and use it"),
    "verify": ("release.verify", "what PyPI serves against the ledger, and a rebuild from the tag"),
    "announce": ("release.announce", "a release on GitHub with the published files, public at the very end"),
    "audit": ("release.audit", "vulnerabilities, licences and the bill of materials of what is locked"),
    "prepare": ("release.prepare", "version, changelog date and links of the next release"),
    "lock": ("release.locks", "the locks of every dependency group"),
    "drills": ("release.drills", "every tampering with a release, and the gate that refuses it"),
    "doctor": ("release.doctor", "what this checkout can show of the release set-up"),
    "check": ("release.check", "every rule that named files would break at PyPI, of any project"),
    "report": ("release.summaries", "the ledger of this checkout as a page"),
    "docs": ("release.docs", "the documentation site, its reference read from the code"),
    "rehearse": ("release.rehearsal.drive", "all of it, in order, offline, on an embedded index"),
}
"""Stage -> module with `run(stage, context) -> Report`, and what the help says."""

NO_ROOM = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
"""A full disk, a file beyond what the system allows, a used-up quota: a person makes room and goes on."""

TAKES_WORDS = {"prepare": 1, "check": sys.maxsize}
"""Stage -> words it takes at most; the others take none."""


def parse(argv: Sequence[str]) -> tuple[str, Options]:
    """The stage and its options; argparse exits with 2 on a usage error."""
    own, rest = (
        (argv[: list(argv).index("--")], tuple(argv[list(argv).index("--") + 1 :]))
        if "--" in argv
        else (argv, ())
    )
    parser = argparse.ArgumentParser(
        prog="python -m release",
        description="One stage of a release; `nox -l` lists the sessions that run them.",
        epilog="\n".join(f"  {name:<10} {text}" for name, (_, text) in STAGES.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("stage", choices=STAGES, metavar="STAGE")
    parser.add_argument(
        "words",
        nargs="*",
        metavar="VERSION | DIST",
        help="prepare: the version to release, for example 0.2.0; check: wheels and sdists",
    )
    parser.add_argument("--mode", type=Mode, choices=list(Mode), help="what the ledger is for")
    parser.add_argument("--leg", help="the leg of a stage, for test the Python (3.12)")
    parser.add_argument("--tag", help="build: the tag being released, v0.1.0")
    parser.add_argument("--index", choices=["local", "testpypi", "pypi"], help="smoke: where to install from")
    parser.add_argument("--again", action="store_true", help="repeat a stage that has passed")
    parser.add_argument(
        "--fast",
        action="store_true",
        help="rehearse: reuse gates that fit, one Python, a sample; smoke: half of the installations",
    )
    parser.add_argument("--act", action="store_true", help="rehearse: run the workflow file itself, with act")
    parser.add_argument("--changed", action="store_true", help="mutation: only what differs from main")
    parser.add_argument(
        "--only",
        metavar="MODULE",
        nargs="+",
        action="extend",
        default=[],
        help="mutation: only these modules, or those in these folders (release/ledger.py src)",
    )
    parser.add_argument(
        "--at-most",
        metavar="N",
        type=int,
        help="mutation: of each module of --only N mutants, an estimate",
    )
    parser.add_argument(
        "--shard", metavar="I/N", help="mutation: the part of the mutants that is number I of N"
    )
    parser.add_argument(
        "--sharded", action="store_true", help="build, rehearsals: plan a release's mutation shards"
    )
    parser.add_argument(
        "--sample",
        metavar="SECONDS",
        type=int,
        nargs="?",
        const=30,
        help="mutation, rehearsals only: as many mutants as fit (30 unless said)",
    )
    parser.add_argument(
        "--check", action="store_true", help="lock: change nothing, fail when something would"
    )
    parser.add_argument("--kills", metavar="N", type=_count, help="chaos: workers killed (20 unless said)")
    parser.add_argument("--messages", metavar="N", type=_count, help="chaos: messages meanwhile (2000)")
    parser.add_argument("--require-redis", action="store_true", help="test: no redis-server is a failure")
    parser.add_argument("--evidence", action="store_true", help="write an evidence file, not a ledger line")
    parser.add_argument("--expect-head", metavar="SHA256", help="sha256 of the ledger's last line")
    parser.add_argument("--expect-digests", metavar="SHA256", help="sha256 over the ledger's artefact list")
    values = vars(parser.parse_args(own))
    stage, words = values.pop("stage"), tuple(values.pop("words"))
    only = tuple(values.pop("only"))
    taken = TAKES_WORDS.get(stage, 0)
    if len(words) > taken:
        parser.error(f"{stage} takes {'one word' if taken else 'no words'}, not {' '.join(words)!r}")
    if values["check"] and stage != "lock":
        parser.error(f"{stage} has no --check: it does what it does; only lock can look without changing")
    version = words[0] if stage == "prepare" and words else None
    return stage, Options(rest=rest, words=words, version=version, only=only, **values)


def _count(text: str) -> int:
    """A number of things, at least one."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def main(argv: Sequence[str], *, root: Path | None = None, console: Console | None = None) -> int:
    """Run one stage; returns the exit code."""
    stage, options = parse(argv)
    console = console or Console(soft_wrap=True, highlight=False, markup=False)
    context = Context(
        root=(root or Path.cwd()).resolve(),
        runner=LocalRunner(),
        console=console,
        now=lambda: dt.datetime.now(dt.UTC),
        options=options,
    )
    try:
        run: Callable[[str, Context], Report] = importlib.import_module(STAGES[stage][0]).run
    except ModuleNotFoundError as error:
        show(stage, _without(stage, error), console)
        return int(Kind.USAGE)
    try:
        with ends_with_children():
            report = run(stage, context)
        hand_on(context.ledger)
    except Refused as refused:
        count = len(refused.problems)
        first = refused.problems[0]
        # A problem may quote a tool at length; the last line stays one line.
        one = f"{first.where}: {first.what.splitlines()[0]}"
        what = one if count == 1 else f"{count} problems, listed above"
        report = Report(kind=refused.kind, sentence=what, problems=refused.problems)
    except KeyboardInterrupt:
        report = Report(kind=Kind.REFUSED, sentence="interrupted; the same command goes on where it stopped")
    except Exception as error:  # noqa: BLE001 - whatever it is: shown whole, and the last line says so
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            report = _no_room(error)
        else:
            console.print(traceback.format_exc(), end="")
            report = _defect(error)
    show(stage, report, console)
    summarise(stage, report, context.ledger)
    return int(report.kind)


def _no_room(error: OSError) -> Report:
    """What to say where a stage could not write what it works with; the ledger's own words are its own."""
    where = str(error.filename or "a file of this stage")
    problem = Problem(
        rule="main.room",
        where=where,
        what=f"could not be written: {error.strerror}",
        remedy="make room (TMPDIR says where temporary files go), then run the same command again",
    )
    sentence = f"{where}: {problem.what}; the same command goes on where it stopped"
    return Report(kind=Kind.REFUSED, sentence=sentence, problems=(problem,))


def _defect(error: Exception) -> Report:
    """What to say of an error that no stage expects: a file out of order, or a mistake in these tools."""
    problem = Problem(
        rule="main.defect",
        where=type(error).__name__,
        what=str(error) or "says nothing",
        remedy="see whether a file of the checkout is missing or changed (`git status`, `nox -s doctor`); "
        "otherwise the traceback above shows a mistake in release/, to be mended with a test",
    )
    sentence = f"{problem.where}, which no stage expects; shown whole above"
    return Report(kind=Kind.REFUSED, sentence=sentence, problems=(problem,))


def _without(stage: str, error: ModuleNotFoundError) -> Report:
    """What to say where this Python lacks a library that the stage needs."""
    problem = Problem(
        rule="main.environment",
        where=sys.executable,
        what=f"has no module {error.name!r}, which stage {stage} needs",
        remedy="run the stage as its nox session (`nox -l` lists them), which installs what it needs",
    )
    return Report(kind=Kind.USAGE, sentence="this Python lacks what the stage needs", problems=(problem,))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
