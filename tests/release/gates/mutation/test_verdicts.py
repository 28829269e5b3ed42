"""Floors kept, explained survivors, and what refuses."""

import dataclasses
import tomllib

import pytest

from release.gates.mutation.floors import REST, Floors
from release.gates.mutation.mutants import Mutant, Verdict
from release.gates.mutation.verdicts import (
    ACCEPTED,
    EQUIVALENT,
    Explanation,
    Measured,
    estimate,
    explanation_problems,
    is_surely_under,
    judge,
    ran_score,
    read_explanations,
    score,
    suggestions,
    unexplained,
)
from release.model import Problem

MODULE = "release/a.py"


def mutant(number: int, *, inert: bool = False) -> Mutant:
    return Mutant(
        module=MODULE,
        name=f"release.a.x_make__mutmut_{number}",
        function="make",
        was=f"return {number}",
        becomes=f"return {number + 1}",
        inert=inert,
    )


def explanation(number: int, kind: str) -> Explanation:
    each = mutant(number)
    return Explanation(
        module=each.module, function=each.function, was=each.was, becomes=each.becomes, kind=kind, reason="so"
    )


def measured(*verdicts: Verdict | None) -> Measured:
    """A module with a mutant for each verdict; None did not run."""
    mutants = [mutant(number) for number in range(len(verdicts))]
    known = {each.name: found for each, found in zip(mutants, verdicts, strict=True) if found is not None}
    return Measured(module=MODULE, tests=("tests/release/test_a.py",), mutants=mutants, verdicts=known)


def rules(problems: list[Problem]) -> list[str]:
    return [problem.rule for problem in problems]


K, S, N, T, B = Verdict.KILLED, Verdict.SURVIVED, Verdict.NO_TEST, Verdict.TIMEOUT, Verdict.BROKEN


def test_module_whose_mutants_are_noticed_is_good() -> None:
    """Killed and endless both mean that the tests noticed."""
    assert judge([measured(K, T)], Floors(percent={MODULE: 100}), []) == []


def test_module_under_its_floor_is_refused_with_figures() -> None:
    """The refusal says how far off it is."""
    problems = judge([measured(K, K, S)], Floors(percent={MODULE: 67}), [explanation(2, ACCEPTED)])
    assert rules(problems) == ["mutation.floor"]
    assert "2 of 3 mutants are noticed, 66.66 %; the floor is 67 %" in problems[0].what
    assert judge([measured(K, K, S)], Floors(percent={MODULE: 66}), [explanation(2, ACCEPTED)]) == []


def test_some_functions_are_not_held_against_the_whole_modules_floor() -> None:
    """All that nobody notices may lie in the functions of a sample; what is new in them is still refused."""
    floors = Floors(percent={MODULE: 90}, unexplained={MODULE: 1})
    found = [measured(K, S, S)]
    assert judge(found, floors, [explanation(2, ACCEPTED)], whole=False) == []
    assert rules(judge(found, floors, [explanation(2, ACCEPTED)])) == ["mutation.floor"]
    assert len(judge(found, floors, [], whole=False)) == 2


def test_each_unexplained_survivor_and_untested_mutant_is_refused() -> None:
    """Above the floor, too: each one is looked at by a person once."""
    problems = judge([measured(K, S, N)], Floors(percent={MODULE: 1}), [])
    assert rules(problems) == ["mutation.survivor-explained", "mutation.has-test"]
    assert problems[0].what == "no test notices 'return 1' -> 'return 2'"
    assert problems[1].what == "no own test runs 'return 2' -> 'return 3'"


def test_single_unexplained_mutant_is_refused_where_the_file_says_none() -> None:
    """A module that is not named in the table may leave none."""
    (problem,) = judge([measured(K, S)], Floors(percent={MODULE: 1}), [])
    assert problem.remedy.endswith("report/mutation-survivors.toml has the entry")


def test_unexplained_mutants_may_be_as_many_as_the_file_says() -> None:
    """A floor can be set before every survivor is looked at; one more is refused, and all are listed."""
    found = measured(K, S, N)
    assert judge([found], Floors(percent={MODULE: 1}, unexplained={MODULE: 2}), []) == []
    problems = judge([found], Floors(percent={MODULE: 1}, unexplained={MODULE: 1}), [])
    assert rules(problems) == ["mutation.survivor-explained", "mutation.has-test"]
    assert all("1 of these 2 may stay" in each.remedy for each in problems)
    explained = judge(
        [found], Floors(percent={MODULE: 1}, unexplained={MODULE: 1}), [explanation(1, ACCEPTED)]
    )
    assert explained == []


def test_equivalent_mutant_counts_neither_way_and_accepted_one_as_unnoticed() -> None:
    """What nothing could notice is no debt; what nobody tests is."""
    found = measured(K, S, N)
    explained = {each.key: each for each in (explanation(1, EQUIVALENT), explanation(2, ACCEPTED))}
    assert score(found, explained) == (1, 2)
    assert unexplained(found, explained) == []
    killed_after_all = {each.key: each for each in (explanation(0, EQUIVALENT),)}
    assert score(measured(K), killed_after_all) == (1, 1)


def test_mutants_of_other_shards_count_as_noticed_unless_accepted() -> None:
    """Each shard can hold the whole module against its floor; their own shards refuse what survives."""
    found = measured(K, None, None, None, None)
    explained = {each.key: each for each in (explanation(1, ACCEPTED), explanation(2, EQUIVALENT))}
    assert score(found, explained) == (3, 4)


def test_inert_mutants_do_not_count() -> None:
    """Such mutants are never run."""
    found = Measured(module=MODULE, mutants=[mutant(0, inert=True)])
    assert score(found, {}) == (0, 0)
    assert judge([found], Floors(percent={MODULE: 100, REST: 100}), []) == []


def test_estimated_floor_is_held_and_asks_for_no_explanations() -> None:
    """A part of the mutants was measured once: how many survive is judged, not yet which."""
    found = measured(K, S, N, K)
    assert judge([found], Floors(estimated={MODULE: 50}, percent={REST: 100}), []) == []
    (problem,) = judge([found], Floors(estimated={MODULE: 51}), [])
    assert (problem.rule, problem.where) == ("mutation.floor", MODULE)
    assert problem.what == "2 of 4 mutants are noticed, 50.00 %; the floor is 51 %"


def test_equivalent_mutants_do_not_count_against_an_estimated_floor() -> None:
    """As for floors that were measured."""
    found = measured(K, S, None, K)
    explained = [explanation(1, EQUIVALENT), explanation(3, EQUIVALENT)]
    assert ran_score(found, {each.key: each for each in explained}) == (2, 2, 3)
    assert judge([measured(K, S)], Floors(estimated={MODULE: 100}), [explanation(1, EQUIVALENT)]) == []
    assert ran_score(measured(K, S), {each.key: each for each in [explanation(1, ACCEPTED)]}) == (1, 2, 2)


def test_part_of_the_mutants_speaks_against_an_estimated_floor_only_when_it_is_sure() -> None:
    """The shards of a release each see some of a module's mutants, by chance the weaker ones."""
    part = [K] * 6 + [S] * 4
    assert judge([measured(*part, None)], Floors(estimated={MODULE: 80}), []) == []
    assert rules(judge([measured(*part)], Floors(estimated={MODULE: 80}), [])) == ["mutation.floor"]
    assert rules(judge([measured(*part, None)], Floors(estimated={MODULE: 95}), [])) == ["mutation.floor"]


def test_run_that_failed_is_no_verdict_over_an_estimated_floor() -> None:
    """The one thing to mend is said once; a sample holds such a module together with the others."""
    failed = dataclasses.replace(measured(S), failure="no memory")
    assert rules(judge([failed], Floors(estimated={MODULE: 80}), [])) == ["mutation.runs"]
    red = dataclasses.replace(measured(S), baseline="1 failed")
    assert rules(judge([red], Floors(estimated={MODULE: 80}), [])) == ["mutation.baseline-is-green"]
    sampled = judge([measured(S)], Floors(estimated={MODULE: 80}, percent={REST: 60}), [], whole=False)
    assert [each.where for each in sampled] == ["all modules without a floor of their own"]


@pytest.mark.parametrize(
    ("noticed", "ran", "total", "percent"),
    [
        (12, 12, 12, 100),
        (11, 12, 12, 91),
        (0, 12, 12, 0),
        (0, 0, 12, 0),
        (0, 0, 0, 100),
        # Of 10, 5 ran and all were noticed: with 5 noticed in all that comes up once in 252 times, with 6
        # six times, which is more than once in a hundred.
        (5, 5, 10, 60),
        # With 1 of 10 noticed, it is among 5 every second time.
        (1, 5, 10, 10),
        (40, 40, 400, 89),
        (36, 40, 400, 74),
        (1000, 1100, 2200, 89),
    ],
)
def test_estimate_is_what_chance_alone_would_hardly_show(
    noticed: int, ran: int, total: int, percent: int
) -> None:
    """The share of which the part that ran is a likely picture; the numbers of ways outgrow a float."""
    assert estimate(noticed, ran, total) == percent


def test_modules_without_a_floor_are_held_together_against_the_rest_floor() -> None:
    """From the first day on there is a check that can fail."""
    assert judge([measured(S, N, K)], Floors(), []) == []
    assert judge([measured(S, N, K)], Floors(percent={REST: 33}), []) == []
    problems = judge([measured(S, N, K), measured(K)], Floors(percent={REST: 51}), [])
    assert rules(problems) == ["mutation.floor"]
    assert "2 of 4" in problems[0].what
    assert problems[0].where == "all modules without a floor of their own"
    assert problems[0].what.endswith("the floor is 51 %")


def test_chosen_few_are_not_held_against_the_rest_floor() -> None:
    """A change may be to the weakest module, which is nobody's fault who makes it."""
    assert judge([measured(S, S, S)], Floors(percent={REST: 100}), [], rest_is_under=None) == []


@pytest.mark.parametrize(
    ("noticed", "ran", "floor", "under"),
    [
        (0, 0, 100, False),
        (2, 4, 60, False),
        (0, 5, 60, False),
        (0, 6, 60, True),
        (6, 20, 60, True),
        (7, 20, 60, False),
        (559, 1000, 60, True),
        (570, 1000, 60, False),
        (3500, 6000, 60, True),
        (3550, 6000, 60, False),
        (19, 20, 100, True),
        (20, 20, 100, False),
        (0, 20, 0, False),
    ],
)
def test_part_speaks_against_the_floor_only_when_chance_does_not_explain_it(
    noticed: int, ran: int, floor: int, under: bool
) -> None:
    """A rehearsal is not red by bad luck, and not green when the tests are gone."""
    assert is_surely_under(noticed, ran, floor) is under


def test_red_baseline_is_told_apart_from_survivors() -> None:
    """Tests that fail without a mutant would kill every mutant and prove nothing."""
    tests = ("tests/release/test_a.py", "tests/release/test_b.py")
    red = Measured(module=MODULE, tests=tests, mutants=[mutant(0)], baseline="1 failed")
    problems = judge([red], Floors(percent={MODULE: 100}), [])
    assert rules(problems) == ["mutation.baseline-is-green"]
    assert problems[0].where == "tests/release/test_a.py, tests/release/test_b.py"
    assert "1 failed" in problems[0].what


def test_failed_run_is_refused() -> None:
    """A driver that dies must not look like a module without survivors."""
    broken = Measured(module=MODULE, mutants=[mutant(0)], failure="segmentation fault")
    assert rules(judge([broken], Floors(percent={MODULE: 0}), [])) == ["mutation.runs"]


def test_mutant_of_which_nothing_is_known_is_refused() -> None:
    """A dead test process is neither a kill nor a survivor, floor or not."""
    problems = judge([measured(K, B)], Floors(), [])
    assert rules(problems) == ["mutation.judged"]
    assert "'return 1'" in problems[0].what


def test_explanation_of_a_mutant_that_is_gone_is_refused() -> None:
    """Explanations are looked at again when the code changes; other modules' are not this run's concern."""
    stale = explanation(5, ACCEPTED)
    elsewhere = Explanation(
        module="release/b.py", function="make", was="a", becomes="b", kind=ACCEPTED, reason="so"
    )
    problems = explanation_problems([stale, explanation(0, ACCEPTED), elsewhere], [measured(S)])
    assert rules(problems) == ["mutation.explanation-fits"]
    assert "'return 5' -> 'return 6'" in problems[0].what


def test_suggested_entries_are_read_once_a_person_filled_them() -> None:
    """The entry the tool writes is the entry the tool reads."""
    entry = suggestions([mutant(1)])
    assert rules(read_explanations(entry)[1]) == ["mutation.explanations-readable"]
    filled = entry.replace('kind = ""', f'kind = "{ACCEPTED}"').replace('reason = ""', 'reason = "so"')
    assert read_explanations(filled) == ([explanation(1, ACCEPTED)], [])
    assert tomllib.loads(suggestions([])) == {"survivor": []}


ENTRY = 'module = "m"\nfunction = "f"\nwas = "a"\nbecomes = "b"\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[survivor", "no TOML"),
        ("survivor = 3", "`survivor` is not an array of tables"),
        (
            "survivor = [3]",
            "entry 1 does not have exactly the texts module, function, was, becomes, kind, reason",
        ),
        (f'[[survivor]]\n{ENTRY}kind = "accepted"', "exactly the texts"),
        (f'[[survivor]]\n{ENTRY}kind = "accepted"\nreason = 3', "exactly the texts"),
        (f'[[survivor]]\n{ENTRY}kind = "fine"\nreason = "so"', "of kind 'fine'"),
        (f'[[survivor]]\n{ENTRY}kind = "accepted"\nreason = " "', "no reason"),
    ],
)
def test_unreadable_explanations_are_refused(text: str, says: str) -> None:
    """An entry that does not explain does not excuse."""
    found, problems = read_explanations(text)
    assert found == []
    assert rules(problems) == ["mutation.explanations-readable"]
    assert says in problems[0].what


def test_no_explanations_are_fine() -> None:
    """The file need not be there."""
    assert read_explanations("") == ([], [])
