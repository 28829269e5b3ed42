"""What a mutation run leaves for a reader: the table, the file of figures, entries for explanations."""

import json
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from release.gates.mutation.campaign import Part
from release.gates.mutation.floors import REST, Floors
from release.gates.mutation.mutants import Mutant, Skipped, Verdict
from release.gates.mutation.report import report_of, write
from release.gates.mutation.verdicts import ACCEPTED, Explanation, Measured
from release.model import Kind, Report

MODULE = "release/a.py"
K, S, N, T, B = Verdict.KILLED, Verdict.SURVIVED, Verdict.NO_TEST, Verdict.TIMEOUT, Verdict.BROKEN


def measured(*verdicts: Verdict | None, module: str = MODULE, **known: Any) -> Measured:  # noqa: ANN401 - handed on
    """A module with a mutant for each verdict, and one more of wording; None did not run."""
    mutants = [
        Mutant(
            module=module,
            name=f"{module}-{number}",
            function="make",
            was=f"return {number}",
            becomes=f"return 'ä{number}'",
            inert=number == len(verdicts),
        )
        for number in range(len(verdicts) + 1)
    ]
    found = {each.name: verdict for each, verdict in zip(mutants, verdicts, strict=False) if verdict}
    return Measured(module=module, mutants=mutants, verdicts=found, **known)


def accepted(module: Measured, number: int) -> Explanation:
    each = module.mutants[number]
    return Explanation(
        module=each.module,
        function=each.function,
        was=each.was,
        becomes=each.becomes,
        kind=ACCEPTED,
        reason="so",
    )


def skipped(line: int, why: str, module: str = MODULE) -> Skipped:
    return Skipped(module=module, line=line, what="class A:", why=why)


def reported(
    *modules: Measured,
    floors: Floors | None = None,
    explained: tuple[Explanation, ...] = (),
    without: tuple[str, ...] = (),
    part: Part = Part.ALL,
) -> Report:
    return report_of(modules, floors or Floors(), explained, without, part=part, tool="3.8.1", took_ms=61_500)


def standing(module: Measured, floors: Floors, *explained: Explanation, part: Part = Part.ALL) -> str:
    """What the table says of one module."""
    return reported(module, floors=floors, explained=explained, part=part).checked[0].found


def written(
    folder: Path, *modules: Measured, floors: Floors | None = None, explained: tuple[Explanation, ...] = ()
) -> dict[str, Any]:
    """The file of figures, of a shard."""
    write(
        folder,
        modules,
        floors or Floors(),
        explained,
        ["release/b.py", "release/c.py"],
        part=Part.SHARD,
        leg="1/4",
        tool="3.8.1",
        took_ms=17,
    )
    return json.loads((folder / "mutation.json").read_text(encoding="utf-8"))


def test_a_run_is_summed_up_over_its_modules() -> None:
    """The sentence says how many of those that ran; the figures hold every kind of verdict."""
    one = measured(K, K, S, T, N, None, skipped=[skipped(1, "class body"), skipped(2, "module level")])
    two = measured(K, S, B, module="release/b.py", skipped=[skipped(3, "class body")])
    report = reported(one, two, without=("release/c.py",), explained=(accepted(one, 2),), part=Part.SHARD)
    assert report.kind is Kind.DONE
    assert report.sentence == (
        "4 of 7 mutants noticed (57.14 %), shard, 62 s; 1 modules have no floor of their own yet"
    )
    assert report.figures == {
        "modules": 2,
        "mutants": 11,
        "inert": 2,
        "killed": 3,
        "survived": 2,
        "no_test": 1,
        "timeout": 1,
        "broken": 1,
        "not_mutated": 3,
        "without_floor": 1,
        "unexplained": 2,
        "took_ms": 61_500,
    }
    assert report.tools == {"mutmut": "3.8.1", "pytest": version("pytest")}
    table = {line.what: line.found for line in report.checked}
    assert [*table] == [MODULE, "release/b.py", "not run", "not mutated", "no floor of their own"]
    assert table[MODULE].startswith("3 of 5 noticed, 1 survived, 1 no test (")
    assert table["release/b.py"].startswith("1 of 2 noticed, 1 survived, 0 no test (")
    assert table["not run"].startswith("2 mutants")
    assert table["not mutated"] == "2 x class body, 1 x module level"


def test_a_run_that_ran_nothing_says_so() -> None:
    """No share of nothing; a module without a verdict has no line, and a tree with all floors no last one."""
    report = reported(measured(None))
    assert report.sentence == "0 of 0 mutants noticed (nothing ran), all, 62 s"
    assert [(line.what, line.found.partition(" ")[0]) for line in report.checked] == [
        ("not run", "1"),
        ("not mutated", "nothing"),
    ]


@pytest.mark.parametrize(
    ("count", "floors", "found"),
    [
        (2, Floors(percent={REST: 60}), "2 modules (together 60 %): m0, m1"),
        (2, Floors(), "2 modules (NONE, not even together): m0, m1"),
        (
            12,
            Floors(percent={REST: 60}),
            f"12 modules (together 60 %): {', '.join(f'm{n}' for n in range(12))}",
        ),
        (
            13,
            Floors(percent={REST: 60}),
            f"13 modules (together 60 %): {', '.join(f'm{n}' for n in range(12))}, ...",
        ),
    ],
)
def test_modules_without_a_floor_are_named(count: int, floors: Floors, found: str) -> None:
    """A dozen on the screen, and how many there are."""
    report = reported(measured(K), floors=floors, without=tuple(f"m{number}" for number in range(count)))
    assert report.checked[-1].what == "no floor of their own"
    assert report.checked[-1].found == found


@pytest.mark.parametrize(
    ("floors", "found"),
    [
        (Floors(percent={MODULE: 66}), " (floor 66 %, reached 66 %)"),
        (Floors(percent={MODULE: 67}), " (floor 67 %, reached 66 %)"),
        (Floors(percent={MODULE: 65}), " (floor 65 %, reached 66 %; the floor can rise to 66 %)"),
        (
            Floors(percent={MODULE: 66}, unexplained={MODULE: 3}),
            " (floor 66 %, reached 66 %; 1 unexplained of 3 that may be)",
        ),
        (Floors(), " (at least 66 % of all 3)"),
        (Floors(estimated={MODULE: 40}), " (estimated floor 40 %, at least 66 % of all 3)"),
    ],
)
def test_a_module_is_shown_against_its_floor(floors: Floors, found: str) -> None:
    """Whether the floor can rise, and whether fewer can stay unexplained, without any sum of the reader's."""
    assert standing(measured(K, K, S), floors) == f"2 of 3 noticed, 1 survived, 0 no test{found}"


def test_what_a_person_explained_is_not_left_to_explain() -> None:
    """It counts against the floor all the same."""
    module = measured(K, K, S)
    floors = Floors(percent={MODULE: 66}, unexplained={MODULE: 1})
    assert standing(module, floors, accepted(module, 2)).endswith(
        "reached 66 %; 0 unexplained of 1 that may be)"
    )


def test_a_module_of_wording_alone_has_reached_its_floor() -> None:
    """Nothing can be noticed in it."""
    only = Measured(module=MODULE, verdicts={"gone": B})
    assert standing(only, Floors(percent={MODULE: 98})).endswith(
        "(floor 98 %, reached 100 %; the floor can rise to 100 %)"
    )


def test_a_sample_shows_nothing_of_a_module_without_a_floor() -> None:
    """Its mutants are of a few functions; against a floor it is shown as ever."""
    module = measured(K, S)
    for floors in (Floors(), Floors(estimated={MODULE: 40})):
        assert standing(module, floors, part=Part.SAMPLE) == "1 of 2 noticed, 1 survived, 0 no test"
    assert standing(module, Floors(percent={MODULE: 50}), part=Part.SAMPLE).endswith(
        " (floor 50 %, reached 50 %)"
    )


def test_the_file_says_what_ran_and_what_has_no_floor(tmp_path: Path) -> None:
    """In a folder that need not be there yet; why a module has no floor stands beside its name."""
    module = measured(K, skipped=[skipped(7, "class body")])
    floors = Floors(percent={REST: 60}, none_yet={"release/b.py": "not yet"})
    found = written(tmp_path / "new" / "report", module, floors=floors)
    assert {name: value for name, value in found.items() if name != "modules"} == {
        "part": "shard",
        "leg": "1/4",
        "took_ms": 17,
        "mutmut": "3.8.1",
        "rest_floor": 60,
        "without_floor": {"release/b.py": "not yet", "release/c.py": ""},
        "not_mutated": [{"module": MODULE, "line": 7, "what": "class A:", "why": "class body"}],
    }
    assert [*found["modules"]] == [MODULE]
    text = (tmp_path / "new" / "report" / "mutation.json").read_text(encoding="utf-8")
    assert text.endswith("\n}\n")
    assert '\n "part": "shard",\n' in text


def test_the_file_has_all_that_is_known_of_a_module(tmp_path: Path) -> None:
    """A program that reads it needs no other file."""
    module = measured(
        *(K, K, S, T, N, B, None),
        tests=("tests/x.py",),
        skipped=[skipped(1, "class body"), skipped(2, "module level"), skipped(3, "class body")],
        reused=4,
        took_ms=9,
    )
    floors = Floors(percent={MODULE: 55}, unexplained={MODULE: 3})
    found = written(tmp_path, module, floors=floors, explained=(accepted(module, 2),))["modules"][MODULE]
    assert '"was": "return 2",\n     "becomes": "return \'ä2\'",' in (tmp_path / "mutation.json").read_text(
        "utf-8"
    )
    assert found.pop("unnoticed") == [
        {
            "name": f"{MODULE}-{number}",
            "function": "make",
            "was": f"return {number}",
            "becomes": f"return 'ä{number}'",
            "verdict": verdict,
            "explained": explained,
        }
        for number, verdict, explained in ((2, "survived", True), (4, "no test", False))
    ]
    assert found == {
        "own_tests": ["tests/x.py"],
        "mutants": 8,
        "inert": 1,
        "killed": 2,
        "survived": 1,
        "no_test": 1,
        "timeout": 1,
        "broken": 1,
        "not_run": 1,
        "reused": 4,
        "not_mutated": {"class body": 2, "module level": 1},
        "counts_as_noticed": 4,
        "of": 7,
        "floor": 55,
        "estimated_floor": None,
        "at_least": 42,
        "may_stay_unexplained": 3,
        "took_ms": 9,
        "red_baseline": False,
        "failed": False,
    }


@pytest.mark.parametrize("trouble", ["baseline", "failure"])
def test_the_file_says_of_which_module_nothing_is_known(tmp_path: Path, trouble: str) -> None:
    """Red tests and a run that broke are two things."""
    found = written(tmp_path, measured(None, **{trouble: "1 failed"}), floors=Floors(estimated={MODULE: 40}))[
        "modules"
    ][MODULE]
    assert (found["red_baseline"], found["failed"]) == (trouble == "baseline", trouble == "failure")
    assert (found["floor"], found["estimated_floor"], found["may_stay_unexplained"]) == (None, 40, 0)


def test_a_sample_estimates_nothing_in_the_file(tmp_path: Path) -> None:
    """What a few functions show is no share of the module."""
    write(tmp_path, [measured(K)], Floors(), [], [], part=Part.SAMPLE, leg="s", tool="1", took_ms=1)
    text = (tmp_path / "mutation.json").read_text(encoding="utf-8")
    assert json.loads(text)["modules"][MODULE]["at_least"] is None


def test_a_mutant_that_nobody_explained_gets_an_entry(tmp_path: Path) -> None:
    """Complete but for what a person says; beside an earlier run's, which it replaces."""
    module = measured(S, S, K)
    for _ in range(2):
        written(tmp_path, module, explained=(accepted(module, 0),))
    text = (tmp_path / "mutation-survivors.toml").read_text(encoding="utf-8")
    assert tomllib.loads(text)["survivor"] == [
        {
            "module": MODULE,
            "function": "make",
            "was": "return 1",
            "becomes": "return 'ä1'",
            "kind": "",
            "reason": "",
        }
    ]
