"""The coverage stage adds up what ran and refuses what is under its floor."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from release.context import Options
from release.gates import coverage as gate
from release.model import Kind, Mode, Refused
from tests.release.gates.support import ScriptedRunner, make_context
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
    report = {"files": {"src/a.py": entry(3, 4, 1, 4), "release/b.py": entry(10, 10, 0, 0)}}
    assert gate.measured(report, "src/") == 5_000
    assert gate.measured(report, "release/") == 10_000
    assert gate.measured(report, "nowhere/") == 0


class Data:
    """A root with floors and legs, and a runner that reports the given figures."""

    def __init__(self, root: Path, covered: int, *, joins: int = 0) -> None:
        self.root = root
        self.joins = joins
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
        del env
        if "json" in words:
            Path(words[words.index("-o") + 1]).write_text(json.dumps(self.report), encoding="utf-8")
        return (self.joins, "no such table") if "combine" in words else (0, "")


def test_run_passes_at_the_floor(tmp_path: Path) -> None:
    """90 % meets a floor of 90 %."""
    data = Data(tmp_path, covered=90)
    data.leg("3.12")
    report = gate.run("coverage", data.context)
    assert report.kind is Kind.DONE
    assert report.figures == {"src_bp": 9_000}
    assert data.runner.asked[-1][1:] == ["-m", "coverage", "report"]
    assert data.runner.shown[-1], "the lines that are missing are not shown"


def test_run_refuses_below_the_floor(tmp_path: Path) -> None:
    """One line less is a drop."""
    data = Data(tmp_path, covered=89)
    data.leg("3.12")
    with pytest.raises(Refused, match=r"89\.00 % of lines and branches ran; the floor is 90 %") as caught:
        gate.run("coverage", data.context)
    assert [problem.rule for problem in caught.value.problems] == ["coverage.floor"]


def test_run_refuses_without_any_leg(tmp_path: Path) -> None:
    """No data is not full coverage."""
    with pytest.raises(Refused, match="none at all"):
        gate.run("coverage", Data(tmp_path, covered=100).context)


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
    with pytest.raises(Refused, match="no such table"):
        gate.run("coverage", data.context)
