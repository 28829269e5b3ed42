"""The drills stage reads what the drills' tests noted, and takes no missing or other note for a refusal."""

import os
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from release import drills
from release.drills import FAULTS, TAMPERING, Notes, drill_problems
from release.model import Kind, Refused
from tests.release.gates.support import ScriptedRunner, make_context
from tests.release.ledger_support import rules_of

FIRST = next(iter(TAMPERING))
FAULTY = next(iter(FAULTS))
ALL = Notes(refused=TAMPERING, stopped=FAULTS, played=Counter([*FAULTS]))


def case(drill: str, rule: str, more: str = "") -> str:
    """A test case as pytest writes it."""
    noted = f'<property name="drill" value="{drill}"/><property name="refused-by" value="{rule}"/>'
    return f'<testcase classname="a" name="b"><properties>{noted}</properties>{more}</testcase>'


def fault(name: str, rule: str, played: int, more: str = "") -> str:
    """The same of a fault."""
    values = {"fault": name, "stopped-by": rule, "played": played}
    noted = "".join(f'<property name="{key}" value="{value}"/>' for key, value in values.items())
    return f'<testcase classname="a" name="c"><properties>{noted}</properties>{more}</testcase>'


def junit(path: Path, *cases: str) -> Path:
    path.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>", encoding="utf-8")
    return path


def test_notes_of_tests_that_passed_are_read_in_the_lists_order(tmp_path: Path) -> None:
    """A test that failed, broke or was skipped after its note has shown nothing; plays add up."""
    last, last_fault = [*TAMPERING][-1], [*FAULTS][-1]
    path = junit(
        tmp_path / "j.xml",
        '<testcase classname="a" name="drill"/>',
        fault([*FAULTS][1], "x", 1, "<failure/>"),
        *(
            case([*TAMPERING][n], "x", f"<{kind}/>")
            for n, kind in ((1, "failure"), (2, "error"), (3, "skipped"))
        ),
        case("unlisted", "x"),
        case(last, TAMPERING[last]),
        case(FIRST, TAMPERING[FIRST]),
        fault("other", "x", 1),
        fault(last_fault, "killed", 20),
        fault(last_fault, "killed", 3),
        fault(FAULTY, FAULTS[FAULTY], 1),
    )
    notes = drills.read_notes(path)
    assert list(notes.refused.items()) == [
        (FIRST, TAMPERING[FIRST]),
        (last, TAMPERING[last]),
        ("unlisted", "x"),
    ]
    assert list(notes.stopped.items()) == [(FAULTY, FAULTS[FAULTY]), (last_fault, "killed"), ("other", "x")]
    assert notes.played == {FAULTY: 1, last_fault: 23, "other": 1}


def test_a_note_that_lacks_what_ended_it_is_no_end(tmp_path: Path) -> None:
    """A test that names its drill and not the rule has seen nothing refuse."""
    alone = [
        f'<testcase><properties><property name="{kind}" value="{name}"/></properties></testcase>'
        for kind, name in (("drill", FIRST), ("fault", FAULTY))
    ]
    notes = drills.read_notes(junit(tmp_path / "j.xml", *alone))
    assert notes == Notes(refused={FIRST: ""}, stopped={FAULTY: ""}, played={FAULTY: 0})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({FIRST: None}, "nobody played it"),
        ({FIRST: "other.rule"}, "was refused by other.rule"),
        ({FIRST: ""}, "was refused by nothing"),
        ({"unlisted": "x"}, "not in the list"),
    ],
)
def test_a_drill_without_its_refusal_is_a_problem(changed: dict[str, str | None], said: str) -> None:
    """Each is named, whatever the runner's exit code."""
    refused = {drill: rule for drill, rule in {**TAMPERING, **changed}.items() if rule is not None}
    notes = replace(ALL, refused=refused)
    (problem,) = drill_problems(0, notes)
    assert problem.rule == "drills.refused"
    assert problem.where == f"drill {next(iter(changed))!r}"
    assert said in problem.what
    assert len(drill_problems(1, notes)) == 1


def test_a_fault_without_its_end_is_a_problem() -> None:
    """Not played, and stopped by another rule: both are named."""
    stopped = {name: rule for name, rule in FAULTS.items() if name != FAULTY} | {[*FAULTS][1]: "other.rule"}
    first, second = drill_problems(0, replace(ALL, stopped=stopped))
    assert (first.rule, second.rule) == ("drills.stopped", "drills.stopped")
    assert "nobody played it" in first.what
    assert first.where == f"fault {FAULTY!r}"
    assert "was stopped by other.rule" in second.what


def test_all_refused_is_no_problem_unless_a_test_failed() -> None:
    """One of a drill's tests may fail while another one notes the refusal."""
    assert drill_problems(0, ALL) == []
    (problem,) = drill_problems(1, ALL)
    assert (problem.rule, problem.where) == ("drills.passes", "tests/release")


def played(*cases: str, code: int = 0) -> ScriptedRunner:
    """A test runner that leaves a JUnit file of these cases; none at all without any."""

    def answer(words: list[str], env: Mapping[str, str]) -> tuple[int, str]:
        assert Path(env["PYTHONPATH"]).name == "src", "the package is not installed in this session"
        (path,) = (word.partition("=")[2] for word in words if word.startswith("--junitxml="))
        if cases:
            junit(Path(path), *cases)
        return code, ""

    return ScriptedRunner(answer)


def test_the_stage_shows_which_gate_refused(tmp_path: Path) -> None:
    """One line a drill and a fault, and how many of how many."""
    cases = [case(drill, rule) for drill, rule in TAMPERING.items()]
    cases += [fault(name, rule, 2) for name, rule in FAULTS.items()]
    runner = played(*cases, fault(FAULTY, FAULTS[FAULTY], 5))
    report = drills.run("drills", make_context(tmp_path, runner)[0])
    assert report.kind is Kind.DONE
    found = {each.what: each.found for each in report.checked}
    assert found.items() >= {drill: f"refused by {rule}" for drill, rule in TAMPERING.items()}.items()
    assert found[FAULTY] == f"{FAULTS[FAULTY]}, then the same end; played 7 times"
    plays = 2 * len(FAULTS) + 5
    assert f"-- {len(FAULTS)} faults, {plays} times" in found
    assert f"{len(TAMPERING)} of {len(TAMPERING)} tamperings" in report.sentence
    assert f"{len(FAULTS)} of {len(FAULTS)} faults, played {plays} times" in report.sentence
    assert report.figures == {"drills": len(TAMPERING), "faults": len(FAULTS), "played": plays, "took_ms": 7}
    assert set(report.tools) == {"pytest"}
    assert (runner.folders, runner.shown) == ([tmp_path], [True])


@pytest.mark.parametrize(("cores", "workers"), [(None, "2"), (1, "2"), (8, "8")])
def test_what_the_test_runner_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int | None, workers: str
) -> None:
    """The drills alone, noted in a form that keeps properties, by as many workers as there are cores."""
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    runner = played()
    with pytest.raises(Refused):
        drills.run("drills", make_context(tmp_path, runner)[0])
    (asked,) = runner.asked
    (notes,) = (word for word in asked if word.startswith("--junitxml="))
    assert asked == [
        *(sys.executable, "-m", "pytest", "-q", "-m", "drill", notes, "-o", "junit_family=xunit1"),
        *("-n", workers, "--dist", "worksteal", "tests/release"),
    ]


def test_the_stage_refuses_what_was_not_refused(tmp_path: Path) -> None:
    """What was refused is shown all the same; a run that left nothing has shown nothing."""
    (kept, rule), *_ = TAMPERING.items()
    runner = played(case(kept, rule), fault(FAULTY, FAULTS[FAULTY], 1), code=1)
    context, output = make_context(tmp_path, runner)
    with pytest.raises(Refused) as caught:
        drills.run("drills", context)
    missing = ["drills.refused"] * (len(TAMPERING) - 1) + ["drills.stopped"] * (len(FAULTS) - 1)
    assert rules_of(caught.value) == missing
    assert f"{kept}: refused by {rule}" in output.getvalue()
    assert f"{FAULTY}: {FAULTS[FAULTY]}, then the same end; played once" in output.getvalue()
    with pytest.raises(Refused) as caught:
        drills.run("drills", make_context(tmp_path, played(code=2))[0])
    assert len(rules_of(caught.value)) == len(TAMPERING) + len(FAULTS)
