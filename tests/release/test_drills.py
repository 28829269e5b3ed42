"""The drills stage reads what the drills' tests noted, and takes no missing or other note for a refusal."""

from pathlib import Path

import pytest

from release import drills
from release.drills import TAMPERING, drill_problems
from release.model import Kind, Refused
from tests.release.gates.support import ScriptedRunner, make_context
from tests.release.ledger_support import rules_of

FIRST = next(iter(TAMPERING))


def case(drill: str, rule: str, more: str = "") -> str:
    """A test case as pytest writes it."""
    noted = f'<property name="drill" value="{drill}"/><property name="refused-by" value="{rule}"/>'
    return f'<testcase classname="a" name="b"><properties>{noted}</properties>{more}</testcase>'


def junit(path: Path, *cases: str) -> Path:
    path.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>", encoding="utf-8")
    return path


def test_notes_of_tests_that_passed_are_read_in_the_lists_order(tmp_path: Path) -> None:
    """A test that failed, broke or was skipped after its note has shown nothing."""
    last = [*TAMPERING][-1]
    path = junit(
        tmp_path / "j.xml",
        '<testcase classname="a" name="plain"/>',
        case("unlisted", "x"),
        case(last, TAMPERING[last]),
        case(FIRST, TAMPERING[FIRST]),
        *(
            case([*TAMPERING][n], "x", f"<{kind}/>")
            for n, kind in ((1, "failure"), (2, "error"), (3, "skipped"))
        ),
    )
    assert list(drills.read_notes(path).items()) == [
        (FIRST, TAMPERING[FIRST]),
        (last, TAMPERING[last]),
        ("unlisted", "x"),
    ]


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
    notes = {drill: rule for drill, rule in {**TAMPERING, **changed}.items() if rule is not None}
    (problem,) = drill_problems(0, notes)
    assert problem.rule == "drills.refused"
    assert next(iter(changed)) in problem.where
    assert said in problem.what
    assert len(drill_problems(1, notes)) == 1


def test_all_refused_is_no_problem_unless_a_test_failed() -> None:
    """One of a drill's tests may fail while another one notes the refusal."""
    assert drill_problems(0, TAMPERING) == []
    assert [problem.rule for problem in drill_problems(1, TAMPERING)] == ["drills.passes"]


def played(*cases: str, code: int = 0) -> ScriptedRunner:
    """A test runner that leaves a JUnit file of these cases; none at all without any."""

    def answer(words: list[str], env: object) -> tuple[int, str]:
        del env
        (path,) = (word.partition("=")[2] for word in words if word.startswith("--junitxml="))
        if cases:
            junit(Path(path), *cases)
        return code, ""

    return ScriptedRunner(answer)


def test_the_stage_shows_which_gate_refused(tmp_path: Path) -> None:
    """One line a drill, and how many of how many."""
    cases = [case(drill, rule) for drill, rule in TAMPERING.items()]
    runner = played(*cases)
    report = drills.run("drills", make_context(tmp_path, runner)[0])
    assert report.kind is Kind.DONE
    assert {each.what: each.found for each in report.checked} == {
        drill: f"refused by {rule}" for drill, rule in TAMPERING.items()
    }
    assert f"{len(TAMPERING)} of {len(TAMPERING)}" in report.sentence
    (asked,) = runner.asked
    assert asked[asked.index("pytest") :][2:4] == ["-m", "drill"]


def test_the_stage_refuses_what_was_not_refused(tmp_path: Path) -> None:
    """What was refused is shown all the same; a run that left nothing has shown nothing."""
    (kept, rule), *_ = TAMPERING.items()
    context, output = make_context(tmp_path, played(case(kept, rule), code=1))
    with pytest.raises(Refused) as caught:
        drills.run("drills", context)
    assert rules_of(caught.value) == ["drills.refused"] * (len(TAMPERING) - 1)
    assert f"{kept}: refused by {rule}" in output.getvalue()
    with pytest.raises(Refused) as caught:
        drills.run("drills", make_context(tmp_path, played(code=2))[0])
    assert rules_of(caught.value) == ["drills.refused"] * len(TAMPERING)
