"""The file of floors: what it may say, what may change in it, and which modules it must name."""

import pytest

from release.gates.mutation.floors import FLOORS, REST, Floors, floor_problems, read_floors
from release.gates.mutation.mutants import function_lines
from release.gates.mutation.scratch import Settings
from release.gates.mutation.verdicts import SURVIVORS, read_explanations
from release.model import Problem
from tests.release.workflow_support import ROOT


def anything(path: str) -> bool:
    return bool(path)


def found(problems: list[Problem]) -> list[tuple[str, str]]:
    return [(each.rule, each.what) for each in problems]


def test_file_says_floors_debts_and_reasons() -> None:
    """Each table is read as what it is."""
    text = (
        '[floors]\n"*" = 60\n"a.py" = 0\n"b.py" = 100\n[estimated]\n"d.py" = 100\n"e.py" = 0\n'
        '[unexplained]\n"a.py" = 1\n[none-yet]\n"c.py" = "so"\n'
    )
    floors, problems = read_floors(text)
    assert problems == []
    assert floors == Floors(
        percent={REST: 60, "a.py": 0, "b.py": 100},
        estimated={"d.py": 100, "e.py": 0},
        unexplained={"a.py": 1},
        none_yet={"c.py": "so"},
    )


def test_no_file_is_no_floors() -> None:
    """The first floor is written into an empty file."""
    assert read_floors("") == (Floors(), [])


@pytest.mark.parametrize(
    ("text", "where", "says"),
    [
        ("[floors", FLOORS, "is no TOML"),
        ("floors = 3", f"{FLOORS}: floors", "is not a table"),
        ("[floor]\n", f"{FLOORS}: floor", "is no table of this file"),
        ('[floors]\n"a.py" = 101', f"{FLOORS}: floors 'a.py'", "is 101"),
        ('[floors]\n"a.py" = -1', f"{FLOORS}: floors 'a.py'", "is -1"),
        ('[floors]\n"a.py" = "90"', f"{FLOORS}: floors 'a.py'", "is '90'"),
        ('[floors]\n"a.py" = true', f"{FLOORS}: floors 'a.py'", "is True"),
        ('[estimated]\n"a.py" = 101', f"{FLOORS}: estimated 'a.py'", "is 101"),
        ('[estimated]\n"a.py" = -1', f"{FLOORS}: estimated 'a.py'", "is -1"),
        ('[unexplained]\n"a.py" = 0', f"{FLOORS}: unexplained 'a.py'", "is 0"),
        ('[none-yet]\n"a.py" = " "', f"{FLOORS}: none-yet 'a.py'", "is ' '"),
        ('[none-yet]\n"a.py" = 1', f"{FLOORS}: none-yet 'a.py'", "is 1"),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str, where: str, says: str) -> None:
    """A mistyped floor would be no floor."""
    floors, (problem,) = read_floors(text)
    assert (problem.rule, problem.where) == ("mutation.floors-readable", where)
    assert says in problem.what
    assert (dict(floors.percent), dict(floors.unexplained), dict(floors.none_yet)) == ({}, {}, {})


def test_entries_beside_a_bad_one_are_read() -> None:
    """One mistake does not hide what else is there, and all mistakes are named at once."""
    floors, problems = read_floors('[floors]\n"a.py" = 101\n"b.py" = 7\n"c.py" = 3.5\n[other]\n')
    assert floors.percent == {"b.py": 7}
    behind, (first,) = read_floors('floors = 3\n[unexplained]\n"a.py" = 2\n')
    assert (behind.unexplained, first.where) == ({"a.py": 2}, f"{FLOORS}: floors")
    assert [each.where for each in problems] == [
        f"{FLOORS}: other",
        f"{FLOORS}: floors 'a.py'",
        f"{FLOORS}: floors 'c.py'",
    ]


def test_floor_never_falls_and_never_vanishes() -> None:
    """A ratchet: what was reached stays."""
    same = {"release/e.py": 80}
    before = {"release/a.py": 80, "release/b.py": 0, "release/gone.py": 80, "release/c.py": 80, REST: 50}
    now = {"release/a.py": 79, "release/c.py": 81, REST: 49, "release/d.py": 0}
    problems = floor_problems(
        Floors(percent=now | same), Floors(percent=before | same), lambda path: path != "release/gone.py", []
    )
    assert found(problems) == [
        ("mutation.floor-only-rises", "was 80 % on the main branch and is 79 %"),
        ("mutation.floor-only-rises", "was 0 % on the main branch and is gone"),
        ("mutation.floor-only-rises", "was 50 % on the main branch and is 49 %"),
    ]
    assert problems[0].where == f"{FLOORS}: floors 'release/a.py'"


def test_unexplained_mutants_of_a_module_with_a_floor_only_become_fewer() -> None:
    """The other side of the ratchet; a module that gets its first floor says how many there are."""
    percent = {"release/a.py": 80, "release/b.py": 80, "release/c.py": 80}
    before = Floors(percent=percent, unexplained={"release/a.py": 5, "release/c.py": 5})
    now = Floors(
        percent=percent | {"release/d.py": 1},
        unexplained={"release/a.py": 6, "release/b.py": 1, "release/c.py": 5, "release/d.py": 9},
    )
    problems = floor_problems(now, before, anything, [])
    assert found(problems) == [
        ("mutation.unexplained-only-falls", "was 5 on the main branch and is 6"),
        ("mutation.unexplained-only-falls", "was 0 on the main branch and is 1"),
    ]
    assert problems[1].where == f"{FLOORS}: unexplained 'release/b.py'"


def test_entries_of_modules_that_do_not_exist_are_refused() -> None:
    """A renamed module would lose its floor unseen."""
    floors = Floors(
        percent={"release/old.py": 80, "release/new.py": 80, REST: 10},
        unexplained={"release/older.py": 2},
        none_yet={"release/oldest.py": "so"},
    )
    problems = floor_problems(floors, Floors(), "release/new.py".__eq__, [])
    assert {each.rule for each in problems} == {"mutation.floor-fits"}
    assert [each.where for each in problems] == [
        f"{FLOORS}: floors 'release/old.py'",
        f"{FLOORS}: unexplained 'release/older.py'",
        f"{FLOORS}: none-yet 'release/oldest.py'",
    ]


def test_module_has_either_a_floor_or_a_reason() -> None:
    """No module is forgotten, and a reason does not outlive the floor that ends it."""
    floors = Floors(
        percent={"release/a.py": 80, "release/b.py": 0, REST: 10},
        none_yet={"release/b.py": "so", "release/c.py": "so"},
    )
    functions = ["release/d.py", "release/c.py", "release/b.py", "release/a.py"]
    problems = floor_problems(floors, Floors(), anything, functions)
    assert {each.rule for each in problems} == {"mutation.floor-or-reason"}
    assert [(each.where, each.what) for each in problems] == [
        ("release/b.py", "stands in [floors] and in [none-yet]"),
        ("release/d.py", "has neither a floor nor a reason to have none"),
    ]
    assert "`nox -s mutation -- --only release/d.py`" in problems[1].remedy


def test_module_with_an_estimated_floor_stands_in_no_other_table() -> None:
    """An estimate that stays beside the measured floor would be held no more, and read as if it were."""
    floors = Floors(
        percent={"release/a.py": 80},
        estimated={"release/a.py": 70, "release/b.py": 70, "release/c.py": 70, "release/gone.py": 70},
        none_yet={"release/b.py": "so"},
    )
    functions = ["release/a.py", "release/b.py", "release/c.py"]
    problems = floor_problems(floors, Floors(), functions.__contains__, functions)
    assert [(each.rule, each.where, each.what) for each in problems] == [
        ("mutation.floor-fits", f"{FLOORS}: estimated 'release/gone.py'", "there is no such module"),
        ("mutation.floor-or-reason", "release/a.py", "stands in [floors] and in [estimated]"),
        ("mutation.floor-or-reason", "release/b.py", "stands in [estimated] and in [none-yet]"),
    ]


def test_estimated_floor_never_falls_and_may_become_a_floor() -> None:
    """The ratchet holds through the first whole measurement, and does not turn back."""
    before = Floors(percent={"a.py": 80}, estimated={"b.py": 70, "c.py": 70, "d.py": 70, "e.py": 70})
    now = Floors(percent={"b.py": 70, "c.py": 69}, estimated={"a.py": 90, "d.py": 71, "e.py": 69})
    problems = floor_problems(now, before, anything, [])
    assert [(each.rule, each.where, each.what) for each in problems] == [
        ("mutation.floor-only-rises", f"{FLOORS}: floors 'a.py'", "was 80 % on the main branch and is gone"),
        (
            "mutation.floor-only-rises",
            f"{FLOORS}: estimated 'c.py'",
            "was 70 % on the main branch and is 69 %",
        ),
        (
            "mutation.floor-only-rises",
            f"{FLOORS}: estimated 'e.py'",
            "was 70 % on the main branch and is 69 %",
        ),
    ]


def test_file_of_this_tree_names_every_module() -> None:
    """A new module shows here in seconds, not in the mutation run of its pull request."""
    settings = Settings.read((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    floors, problems = read_floors((ROOT / FLOORS).read_text(encoding="utf-8"))
    assert problems == []
    paths = [
        path.relative_to(ROOT).as_posix() for root in settings.roots for path in (ROOT / root).rglob("*.py")
    ]
    functions = [
        name
        for name in paths
        if settings.mutated(name) and function_lines((ROOT / name).read_text(encoding="utf-8"))
    ]
    assert len(functions) > 100
    assert floor_problems(floors, Floors(), paths.__contains__, functions) == []


def test_page_of_figures_counts_what_the_files_hold() -> None:
    """Whoever gives a module its floor says so on the page, where it is read."""
    floors, _ = read_floors((ROOT / FLOORS).read_text(encoding="utf-8"))
    explained, _ = read_explanations((ROOT / SURVIVORS).read_text(encoding="utf-8"))
    own = len(floors.percent.keys() - {REST})
    estimated, without = len(floors.estimated), len(floors.none_yet)
    page = " ".join((ROOT / "docs/mutation-figures.md").read_text(encoding="utf-8").split())
    assert f"**{own} of {own + estimated + without} modules have a floor.**" in page
    assert f" {estimated} more have an estimated one, {without} none yet, " in page
    assert f" {len(explained)} are explained one by one " in page
    assert f" may leave {sum(floors.unexplained.values())} more unexplained" in page
