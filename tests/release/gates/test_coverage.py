"""The coverage stage adds up what ran and refuses what is under its floor."""

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

import pytest
from coverage import CoverageData

from release.context import Context, Options
from release.gates import coverage as gate
from release.ledger import Ledger
from release.model import Kind, Mode, Refused, Report
from tests.release.gates.support import ScriptedRunner, commit_all, make_context
from tests.release.ledger_support import create


def entry(lines: int, of_lines: int, branches: int, of_branches: int) -> dict[str, dict[str, int]]:
    return {
        "summary": {
            "covered_lines": lines,
            "num_statements": of_lines,
            "covered_branches": branches,
            "num_branches": of_branches,
        }
    }


def test_measured_counts_lines_and_branches_below_the_prefix_only() -> None:
    """A well-tested package must not lift one that is not."""
    report = {
        "files": {
            "src/a.py": entry(3, 4, 1, 4),
            "src/c/d.py": entry(1, 1, 0, 1),
            "release/b.py": entry(10, 10, 0, 0),
        }
    }
    assert gate.measured(report, "src/") == 5_000
    assert (
        gate.measured({"files": {"src/a.py": entry(1, 1, 0, 0), "src/b.py": entry(0, 1, 0, 2)}}, "src/")
        == 2_500
    )
    assert gate.measured(report, "release/") == 10_000
    assert gate.measured(report, "nowhere/") == 0


class Data:
    """A root with floors and legs, and a runner that reports the given figures."""

    def __init__(self, root: Path, covered: int, *, joins: int = 0, reports: int = 0) -> None:
        self.root = root
        self.joins, self.reports = joins, reports
        self.given: list[Mapping[str, str]] = []
        self.report = {"files": {"src/a.py": entry(covered, 100, 0, 0)}}
        (root / "pyproject.toml").write_text(
            '[tool.tta-release.coverage-floors]\n"src/" = 90\n', encoding="utf-8"
        )
        (root / "report" / "coverage").mkdir(parents=True)
        self.runner = ScriptedRunner(self.answer)
        self.context, _ = make_context(root, self.runner, Options())

    def leg(self, name: str) -> None:
        (self.root / "report" / "coverage" / f".coverage.{name}").touch()

    def answer(self, words: list[str], env: Mapping[str, str]) -> tuple[int, str]:
        self.given.append(env)
        if "json" in words:
            Path(words[words.index("-o") + 1]).write_text(json.dumps(self.report), encoding="utf-8")
            return self.reports, "and this"
        return (self.joins, "no such table") if "combine" in words else (0, "")


def test_run_passes_at_the_floor(tmp_path: Path) -> None:
    """90 % meets a floor of 90 %."""
    data = Data(tmp_path, covered=90)
    data.leg("3.12")
    report = gate.run("coverage", data.context)
    assert report.kind is Kind.DONE
    assert report.figures == {"src_bp": 9_000}
    assert report.tools == {"coverage": version("coverage")}
    assert report.sentence == "src/ 90.00 %"
    assert [(each.what, each.found) for each in report.checked] == [
        ("legs", "3.12"),
        ("src/", "90.00 % (floor 90 %)"),
    ]
    assert [words[:4] for words in data.runner.asked] == [
        [sys.executable, "-m", "coverage", "combine"],
        [sys.executable, "-m", "coverage", "json"],
        [sys.executable, "-m", "coverage", "report"],
    ]
    assert data.runner.folders == [tmp_path] * 3
    assert data.runner.shown == [False, False, True]
    assert data.runner.asked[-1][1:] == ["-m", "coverage", "report"]
    assert data.runner.shown[-1], "the lines that are missing are not shown"


def test_legs_are_joined_apart_from_their_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each leg's file is kept as it was written, all programs read one joined file, and it is gone then."""
    data = Data(tmp_path, covered=100)
    for leg in ("3.13", "3.12"):
        data.leg(leg)
    monkeypatch.setenv("KEPT", "as it is")
    monkeypatch.setenv("COVERAGE_FILE", "elsewhere")
    report = gate.run("coverage", data.context)
    assert report.checked[0].found == "3.12, 3.13"
    files = [str(tmp_path / "report" / "coverage" / f".coverage.{leg}") for leg in ("3.12", "3.13")]
    assert data.runner.asked[0][3:] == ["combine", "--keep", "--quiet", *files]
    assert data.runner.asked[1][3:6] == ["json", "-q", "-o"]
    joined = {env["COVERAGE_FILE"] for env in data.given}
    assert len(joined) == 1
    assert not joined & {"elsewhere", *files}
    assert not Path(joined.pop()).parent.exists()
    assert {env["KEPT"] for env in data.given} == {"as it is"}


@pytest.mark.parametrize(
    "measured", ["src/tta_agent_coordination", "lib/site-packages/tta_agent_coordination", "release"]
)
def test_what_another_folder_measured_is_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, measured: str
) -> None:
    """Each job of a workflow may have a working folder of its own, and only the last one joins."""
    monkeypatch.delenv("COVERAGE_PROCESS_START", raising=False)
    settings = tomllib.loads((Path(gate.__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    here, there = tmp_path / "here", tmp_path / "there"
    mine = here / measured.replace("lib/site-packages", "src") / "model.py"
    mine.parent.mkdir(parents=True)
    mine.write_text("CONSTANT = 1\n", encoding="utf-8")
    paths = settings["tool"]["coverage"]["paths"].items()
    lines = "\n".join(f"{name} = {json.dumps(patterns)}" for name, patterns in paths)
    (here / "pyproject.toml").write_text(f"[tool.coverage.paths]\n{lines}\n", encoding="utf-8")
    data = CoverageData(str(here / "leg"))
    data.add_lines({str(there / measured / "model.py"): [1]})
    data.write()
    words = [sys.executable, "-m", "coverage"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    for step in (["combine", "--quiet", "leg"], ["json", "--quiet", "-o", "report.json"]):
        subprocess.run([*words, *step], cwd=here, env=env, check=True)
    files = json.loads((here / "report.json").read_text(encoding="utf-8"))["files"]
    assert list(files) == [mine.relative_to(here).as_posix()]


def test_each_package_is_held_against_its_own_floor(tmp_path: Path) -> None:
    """All that are under theirs are named; one beside them that is not is no problem."""
    data = Data(tmp_path, covered=89)
    data.leg("3.12")
    (tmp_path / "pyproject.toml").write_text(
        '[tool.tta-release.coverage-floors]\n"src/" = 90\n"release/" = 50\n"none/" = 1\n', encoding="utf-8"
    )
    data.report["files"]["release/b.py"] = entry(1, 2, 0, 0)
    with pytest.raises(Refused) as caught:
        gate.run("coverage", data.context)
    assert [(each.where, each.what) for each in caught.value.problems] == [
        ("src/", "89.00 % of lines and branches ran; the floor is 90 %"),
        ("none/", "0.00 % of lines and branches ran; the floor is 1 %"),
    ]


def test_each_package_is_reported_by_its_name(tmp_path: Path) -> None:
    """In the order of the floors; the figures are what a later release is compared with."""
    data = Data(tmp_path, covered=90)
    data.leg("3.12")
    (tmp_path / "pyproject.toml").write_text(
        '[tool.tta-release.coverage-floors]\n"X/" = 50\n"src/" = 90\n', encoding="utf-8"
    )
    data.report["files"]["X/b.py"] = entry(1, 2, 0, 0)
    report = gate.run("coverage", data.context)
    assert report.sentence == "X/ 50.00 %, src/ 90.00 %"
    assert report.figures == {"X_bp": 5_000, "src_bp": 9_000}


def test_a_ledger_says_which_legs_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that this checkout is bound to."""
    data = Data(tmp_path, covered=100)
    data.leg("3.13")
    ledger = create(tmp_path / "release", mode=Mode.RELEASE)
    monkeypatch.setattr(gate, "bound_or_none", lambda _context: ledger)  # pyright: ignore[reportUnknownLambdaType,reportUnknownArgumentType]

    def plainly(
        _context: object, _ledger: object, _stage: str, _leg: str, work: Callable[[], Report]
    ) -> Report:
        return work()

    monkeypatch.setattr(gate, "run_gate", plainly)
    with pytest.raises(Refused, match=r"legs 3\.12, 3\.14, 3\.15"):
        gate.run("coverage", data.context)


def test_a_pass_is_evidence_of_the_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the gate's own name, for all legs together."""
    (tmp_path / ".gitignore").write_text("/ledger/\n/report/\n/pyproject.toml\n", encoding="utf-8")
    commit = commit_all(tmp_path)
    data = Data(tmp_path, covered=100)
    data.leg("3.12")
    ledger = create(data.context.ledger, commit=commit, tree=commit)

    def bound(context: Context) -> Ledger:
        assert context is data.context
        return ledger

    monkeypatch.setattr(gate, "bound_or_none", bound)
    gate.run("coverage", data.context)
    assert Ledger.read(data.context.ledger).passed("coverage", "all")


def test_run_refuses_below_the_floor(tmp_path: Path) -> None:
    """One line less is a drop."""
    data = Data(tmp_path, covered=89)
    data.leg("3.12")
    with pytest.raises(Refused, match=r"89\.00 % of lines and branches ran; the floor is 90 %") as caught:
        gate.run("coverage", data.context)
    assert [problem.rule for problem in caught.value.problems] == ["coverage.floor"]


def test_run_refuses_without_any_leg(tmp_path: Path) -> None:
    """No data is not full coverage."""
    with pytest.raises(Refused, match=r"no data of the test legs \(none at all\)") as caught:
        gate.run("coverage", Data(tmp_path, covered=100).context)
    (problem,) = caught.value.problems
    assert (problem.rule, problem.where) == ("coverage.legs", "report/coverage")


def test_join_for_a_release_needs_every_leg(tmp_path: Path) -> None:
    """One leg's data must not stand for the Pythons that a release promises."""
    data = Data(tmp_path, covered=100)
    data.leg("3.13")
    with pytest.raises(Refused, match=r"legs 3\.12, 3\.14, 3\.15"):
        gate.join(data.context, create(tmp_path / "release", mode=Mode.RELEASE))
    assert gate.join(data.context, create(tmp_path / "rehearsal")).kind is Kind.DONE


def test_run_refuses_data_it_cannot_read(tmp_path: Path) -> None:
    """A torn data file is said to be one, not reported as nothing covered."""
    data = Data(tmp_path, covered=100, joins=1)
    data.leg("3.12")
    with pytest.raises(Refused, match="no such table\nand this") as caught:
        gate.run("coverage", data.context)
    (problem,) = caught.value.problems
    assert (problem.rule, problem.where) == ("coverage.readable", "report/coverage")


def test_run_refuses_data_that_gives_no_report(tmp_path: Path) -> None:
    """Joined, and not readable all the same."""
    data = Data(tmp_path, covered=100, reports=1)
    data.leg("3.12")
    with pytest.raises(Refused, match="and this") as caught:
        gate.run("coverage", data.context)
    assert [problem.rule for problem in caught.value.problems] == ["coverage.readable"]
