"""The sessions: each is a docstring, an install from a hash lock, and one `python -m release <stage>` call.

What a session does is written, typed and tested in `release/`. Options go behind `--`:
`nox -s smoke -- --index testpypi`; words for pytest behind a second one: `nox -s test -- -- -k dedup`.
"""

import sys
from pathlib import Path

import nox

sys.path.insert(0, str(Path(__file__).resolve().parent))
from release import pythons

nox.needs_version = ">=2026.4"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = True
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "test", "build"]

FOUND = list(pythons.found())
MAIN = FOUND[-1] if FOUND else pythons.SUPPORTED[0]
"""The newest supported Python here. With none, nox itself names the one that is missing and fails."""

OWN_WORDS = sys.argv[: sys.argv.index("--")] if "--" in sys.argv else sys.argv
ASKED = {word.removeprefix("test-") for word in OWN_WORDS} & {*pythons.SUPPORTED}
if ABSENT := sorted(ASKED - {*FOUND}):
    sys.exit(
        f"Python {', '.join(ABSENT)} is not on this machine (found: {', '.join(FOUND) or 'none'}). "
        "Install it so that `python3.X` starts it, or run `nox -s test` for those that are here. "
        "Nothing is downloaded for you."
    )


def install(session: nox.Session, group: str) -> None:
    """Bring the session's environment to what `release/locks/<group>.txt` says: hashes checked."""
    lock = f"release/locks/{group}.txt"
    session.install("--require-hashes", "--no-deps", "--only-binary", ":all:", "-r", lock)


def stage(session: nox.Session, *words: str) -> None:
    """Run one stage of the release tools with the session's own interpreter.

    Compiled modules are kept even where a machine's settings say otherwise: without them every program that
    the tests start would compile its imports again, which doubles the time of a run.
    """
    session.run("python", "-m", "release", *words, *session.posargs, env={"PYTHONDONTWRITEBYTECODE": None})


@nox.session(python=MAIN)
def lint(session: nox.Session) -> None:
    """Style, strict types, workflows, pins, spelling: any finding fails."""
    install(session, "lint")
    stage(session, "lint")


@nox.session(python=FOUND or [MAIN])
def test(session: nox.Session) -> None:
    """The suite against the installed wheel, on fakeredis and a real server; one leg a Python found."""
    install(session, "test")
    stage(session, "test", "--leg", str(session.python))


@nox.session(python=MAIN)
def chaos(session: nox.Session) -> None:
    """Kills, stalls, restarts, hangs: one lost message fails (-- --kills 100 --messages 10000)."""
    install(session, "test")
    stage(session, "chaos")


@nox.session(python=MAIN)
def coverage(session: nox.Session) -> None:
    """Branch coverage of all test legs together, against the committed floors."""
    install(session, "test")
    stage(session, "coverage")


@nox.session(python=MAIN)
def mutation(session: nox.Session) -> None:
    """Whether the tests notice broken code: mutants against the committed floors."""
    install(session, "mutation")
    stage(session, "mutation")


@nox.session(python=MAIN)
def bench(session: nox.Session) -> None:
    """Speed and size beside the floor and the peers (-- breaker --quick); needs redis-server."""
    install(session, "bench")
    session.run("python", "-m", "benchmarks", *session.posargs, env={"PYTHONPATH": "src"})


@nox.session(python=MAIN)
def build(session: nox.Session) -> None:
    """The wheel and the sdist, made twice and compared byte by byte; opens the ledger."""
    install(session, "build")
    stage(session, "build")


@nox.session(python=MAIN)
def collect(session: nox.Session) -> None:
    """The evidence files of parallel jobs into the ledger, in plan order."""
    install(session, "release")
    stage(session, "collect")


@nox.session(python=MAIN)
def testpypi(session: nox.Session) -> None:
    """Upload the ledger's files to TestPyPI by trusted publishing."""
    install(session, "publish")
    stage(session, "testpypi")


@nox.session(python=MAIN)
def smoke(session: nox.Session) -> None:
    """Install what an index serves into empty environments and use it (-- --index local|testpypi|pypi)."""
    install(session, "build")
    stage(session, "smoke")


@nox.session(python=MAIN)
def pypi(session: nox.Session) -> None:
    """Upload the same files to PyPI, only behind every gate and the TestPyPI smoke."""
    install(session, "publish")
    stage(session, "pypi")


@nox.session(python=MAIN)
def verify(session: nox.Session) -> None:
    """What PyPI serves and who signed it against the ledger, and a rebuild from the tag."""
    install(session, "verify")
    stage(session, "verify")


@nox.session(python=MAIN)
def announce(session: nox.Session) -> None:
    """A release on GitHub with the published files, the ledger and the bill of materials; public last."""
    install(session, "announce")
    stage(session, "announce")


@nox.session(python=MAIN)
def report(session: nox.Session) -> None:
    """The ledger of this checkout as a page: report/release.md."""
    install(session, "release")
    stage(session, "report")


@nox.session(python=MAIN)
def rehearse(session: nox.Session) -> None:
    """The whole release, offline, on an embedded index (-- --fast: less of it; -- --act: the workflow)."""
    install(session, "rehearsal")
    if "--act" in session.posargs:
        install(session, "act")
    stage(session, "rehearse")


@nox.session(python=MAIN)
def drills(session: nox.Session) -> None:
    """Tamper with a release, and break it off, in every way listed; shows how each ended."""
    install(session, "test")
    stage(session, "drills")


@nox.session(python=MAIN)
def doctor(session: nox.Session) -> None:
    """What this checkout can show of the release set-up, and what only a person can look up."""
    install(session, "test")
    stage(session, "doctor")


@nox.session(python=MAIN)
def prepare(session: nox.Session) -> None:
    """Version, changelog date and links of the next release (-- 0.2.0); prints the signed-tag command."""
    install(session, "release")
    stage(session, "prepare")


@nox.session(python=MAIN)
def lock(session: nox.Session) -> None:
    """Every dependency group, resolved into release/locks (-- --check changes nothing, -- --again renews)."""
    install(session, "build")
    stage(session, "lock")


@nox.session(python=MAIN)
def audit(session: nox.Session) -> None:
    """Known vulnerabilities and licences of what is locked, and the bill of materials; needs the network."""
    install(session, "audit")
    stage(session, "audit")


@nox.session(python=MAIN)
def docs(session: nox.Session) -> None:
    """The documentation site, its reference read from the code: report/site; a warning fails."""
    install(session, "docs")
    stage(session, "docs")
