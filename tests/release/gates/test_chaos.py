"""The chaos stage: one lost message is a failure, and so is a machine that cannot play the drills."""

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from release.context import Options
from release.gates import chaos
from release.model import Kind, Refused
from tests.chaos.drills import Outcome
from tests.release.gates.support import ScriptedRunner, make_context

FINE: dict[str, Any] = {
    "drill": "kill -9 of workers",
    "sent": 2000,
    "lost": 0,
    "doubled": 4,
    "allowed": 60,
    "took_s": 9.5,
}


def any_program(name: str) -> str:
    """Find every program."""
    return f"/usr/bin/{name}"


def all_but_a_server(name: str) -> str | None:
    """Find every program but redis-server."""
    return None if name == "redis-server" else f"/usr/bin/{name}"


class Played:
    """The stage against scripted programs."""

    def __init__(self, *drills: dict[str, Any], code: int = 0) -> None:
        self.drills, self.code = drills, code
        self.runner = ScriptedRunner(self.answer)

    def answer(self, words: list[str], env: Mapping[str, str]) -> tuple[int, str]:
        del env
        if "build" in words:
            (Path(words[words.index("--outdir") + 1]) / "p-1-py3-none-any.whl").touch()
        if "tests.chaos" in words:
            [report] = [word.partition("=")[2] for word in words if word.startswith("--report=")]
            if self.drills:
                Path(report).write_text(json.dumps(self.drills), encoding="utf-8")
            return self.code, ""
        return 0, ""


@pytest.fixture(autouse=True)
def _server(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a redis-server, whatever this machine has."""
    monkeypatch.setattr(shutil, "which", any_program)


def test_chaos_reports_what_the_drills_counted(tmp_path: Path) -> None:
    """The figures are what a reader wants to see."""
    played = Played(FINE, {**FINE, "drill": "CLIENT KILL", "doubled": 0, "allowed": 0})
    context, said = make_context(tmp_path, played.runner, Options(kills=100, messages=10_000))
    report = chaos.run("chaos", context)
    assert report.kind is Kind.DONE
    assert report.figures == {"sent": 4000, "doubled": 4, "took_ms": 7}
    assert "  drills against p-1-py3-none-any.whl (a wheel built from the tree)\n" in said.getvalue()
    installed, played_at = played.runner.asked[-2:]
    assert installed[-1].endswith("/p-1-py3-none-any.whl")
    assert played_at[3].startswith("--report=")
    assert report.sentence == "0 of 4000 messages lost, 4 doubled, in 2 drills"
    assert played.runner.asked[-1][:3] == [sys.executable, "-m", "tests.chaos"]
    assert {"--kills=100", "--messages=10000"} <= set(played.runner.asked[-1])
    assert played.runner.folders[-1] == tmp_path
    assert played.runner.shown[-1], "minutes pass without a word"
    assert [(each.what, each.found) for each in report.checked] == [
        ("kill -9 of workers", "0 lost, 4 doubled (60 allowed) of 2000"),
        ("CLIENT KILL", "0 lost, 0 doubled (0 allowed) of 2000"),
    ]


def test_chaos_leaves_its_size_to_the_drills(tmp_path: Path) -> None:
    """Without a word it plays what CI plays."""
    played = Played(FINE)
    chaos.run("chaos", make_context(tmp_path, played.runner)[0])
    assert not [word for word in played.runner.asked[-1] if word.startswith(("--kills", "--messages"))]


@pytest.mark.parametrize(
    ("played", "rule"),
    [
        (Played({**FINE, "lost": 1}, code=1), "chaos.nothing-lost"),
        (Played({**FINE, "doubled": 61}, code=1), "chaos.few-doubled"),
        (Played(FINE, code=1), "chaos.plays"),
        (Played(code=0), "chaos.plays"),
    ],
)
def test_chaos_refuses_a_broken_promise(tmp_path: Path, played: Played, rule: str) -> None:
    """One lost message, or a run that proved nothing, gates a release."""
    with pytest.raises(Refused) as refused:
        chaos.run("chaos", make_context(tmp_path, played.runner)[0])
    assert [problem.rule for problem in refused.value.problems] == [rule]
    assert all(problem.remedy for problem in refused.value.problems)


def test_chaos_names_every_drill_that_broke_a_promise() -> None:
    """With the command that plays it alone; so many doubled as leases were held are no broken promise."""
    drills = [
        chaos.Drill(drill="kill -9 of workers", sent=20, lost=2, doubled=7, allowed=6, took_s=1.0),
        chaos.Drill(drill="CLIENT KILL", sent=20, lost=0, doubled=6, allowed=6, took_s=1.0),
    ]
    found = chaos.drill_problems(1, drills)
    assert [(each.rule, each.where, each.what, each.remedy) for each in found] == [
        (
            "chaos.nothing-lost",
            "drill 'kill -9 of workers'",
            "2 of 20 messages were lost",
            "`python -m tests.chaos --only kill` plays it alone",
        ),
        (
            "chaos.few-doubled",
            "drill 'kill -9 of workers'",
            "7 messages were doubled; 6 leases were at risk",
            "`python -m tests.chaos --only kill` plays it alone",
        ),
    ]
    assert chaos.drill_problems(0, drills[1:]) == []
    (problem,) = chaos.drill_problems(2, drills[1:])
    assert (problem.where, problem.what) == ("tests/chaos", "the drills ended with code 2 after 1 of them")


def test_chaos_plays_against_the_ledgers_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is released is what is proven."""
    played, ledger, given = Played(FINE), object(), list[object]()
    context, _ = make_context(tmp_path, played.runner)

    def wheel(*asked: object) -> tuple[Path, str]:
        given.extend(asked[:2])
        return tmp_path / "p.whl", "the ledger's wheel"

    monkeypatch.setattr(chaos, "bound_or_none", lambda _context: ledger)  # pyright: ignore[reportUnknownLambdaType,reportUnknownArgumentType]
    monkeypatch.setattr(chaos, "candidate", wheel)
    chaos.run("chaos", context)
    assert given == [context, ledger]


def test_chaos_needs_a_real_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing stands in for what is killed and started again."""
    monkeypatch.setattr(shutil, "which", all_but_a_server)
    played = Played(FINE)
    with pytest.raises(Refused) as refused:
        chaos.run("chaos", make_context(tmp_path, played.runner)[0])
    assert [problem.rule for problem in refused.value.problems] == ["chaos.real-server"]
    assert refused.value.problems[0].where == "redis-server"
    assert played.runner.asked == []


def test_chaos_reads_what_the_drills_write() -> None:
    """Two programs that name a figure differently would agree on nothing."""
    assert set(Outcome.__dataclass_fields__) == set(chaos.Drill.__dataclass_fields__)
    assert Outcome(**FINE).passed
    lost: dict[str, Any] = {**FINE, "lost": 1}
    doubled: dict[str, Any] = {**FINE, "doubled": 61}
    assert not Outcome(**lost).passed
    assert not Outcome(**doubled).passed
