"""A sample over modules: which ones, how much of them, and until when."""

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from types import SimpleNamespace

import pytest

from release.gates.mutation import campaign
from release.gates.mutation.campaign import Part, Scope, sampled_lines, sampled_modules
from release.gates.mutation.imports import Graph
from tests.release.gates.mutation import campaign_support
from tests.release.gates.mutation.campaign_support import A, B, C, Place, both
from tests.release.gates.mutation.support import TREE, Machine

one_copy, place = campaign_support.one_copy, campaign_support.place


SAMPLE = Scope(part=Part.SAMPLE, seconds=100)


def clock(monkeypatch: pytest.MonkeyPatch, now: Callable[[], float]) -> None:
    monkeypatch.setattr(campaign, "time", SimpleNamespace(time=now, monotonic=itertools.count().__next__))


def test_a_sample_makes_and_runs_little_and_remembers_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole functions of few lines, few mutants, in silence, with an end for each module."""
    clock(monkeypatch, lambda: 1000.0)
    machine = Machine()
    made, _ = place.begin(machine, SAMPLE, modules=[A, C])
    found = {each.module: each for each in made.measure()}
    generate, *judges = machine.jobs
    assert generate["modules"] == [
        {"path": module, "lines": [1, 2], "out": str(made.kept.generated(module, TREE[module], [1, 2]))}
        for module in (A, C)
    ]
    assert generate["show"] is False
    assert [(job["until"], job["timeout_s"]) for job in judges] == [(1100.0, 20.0)] * 2
    assert machine.modules == [A, C]
    assert sorted(machine.judged) == sorted([*both(A), *both(C)])
    assert [*found] == [A, C]
    assert not (place.root / "mutants/verdicts").exists()


def test_the_seed_decides_which_mutants_a_sample_runs(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    clock(monkeypatch, lambda: 0.0)
    monkeypatch.setattr(campaign, "SAMPLE_MUTANTS", 1)
    chosen: dict[str, str] = {}
    for seed in "abcdef":
        machine = Machine()
        made, _ = place.begin(machine, SAMPLE, modules=[A])
        dataclasses.replace(made, seed=seed).measure()
        (chosen[seed],) = machine.judged
    assert set(chosen.values()) == {*both(A)}


def test_a_module_begun_late_is_left_soon_after_the_end(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten seconds after the sample's end it is left with what was judged by then."""
    looks = iter([1000.0, 1000.0, 1000.0, 1099.0, 1099.0])
    clock(monkeypatch, lambda: next(looks, 1099.0))
    machine = Machine()
    place.measure(machine, SAMPLE, modules=[A])
    assert machine.jobs[-1]["timeout_s"] == 11.0


def test_a_sample_begins_no_module_behind_its_end(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes back without verdicts."""
    now = [1000.0]
    clock(monkeypatch, lambda: now[0])
    machine = Machine(during=lambda: now.insert(0, 1100.0))
    found = place.measure(machine, SAMPLE, modules=[A, C])
    assert machine.modules == [A]
    assert [*found] == [A, C]
    assert found[C].verdicts == {}


def test_a_sample_turns_to_other_modules_in_its_time(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """And to no other once that is over and something was judged."""
    monkeypatch.setattr(campaign, "SAMPLE_BATCH", 1)
    now = [1000.0]
    clock(monkeypatch, lambda: now[0])
    made, _ = place.begin(Machine(), SAMPLE, modules=[A, C])
    assert [each.module for each in made.measure()] == [A, C]
    now = [1000.0]
    made, _ = place.begin(Machine(during=lambda: now.insert(0, 1100.0)), SAMPLE, modules=[A, C])
    assert [each.module for each in made.measure()] == [A]


def test_each_modules_functions_are_chosen_by_the_seed_and_its_name(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Modules that are alike show different functions."""
    clock(monkeypatch, lambda: 1000.0)
    seeds: list[str] = []

    def lines(source: str, *, seed: str) -> list[int]:
        assert source in TREE.values()
        seeds.append(seed)
        return [1, 2]

    monkeypatch.setattr(campaign, "sampled_lines", lines)
    place.measure(Machine(), SAMPLE, modules=[A, C])
    assert seeds == [f"seed {A}", f"seed {C}"]


def test_a_sample_that_judged_something_gives_no_more_time(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where making the next mutants took all that was left, they are not run."""
    monkeypatch.setattr(campaign, "SAMPLE_BATCH", 1)
    now = [1000.0]
    clock(monkeypatch, lambda: now[0])
    machine = Machine()
    generate = machine._generate

    def slowly(job: dict[str, list[dict[str, str]]]) -> tuple[int, str]:
        now[0] += 60.0
        return generate(job)

    monkeypatch.setattr(machine, "_generate", slowly)
    found = place.measure(machine, SAMPLE, modules=[A, C])
    assert len(found[A].verdicts) == 2
    assert found[C].verdicts == {}


@pytest.mark.parametrize("batch", [1, 2])
def test_a_sample_that_judged_nothing_tries_on(
    place: Place, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    """As often as it may, and then no more: here each look at the clock takes longer than its time."""
    monkeypatch.setattr(campaign, "SAMPLE_BATCH", batch)
    monkeypatch.setattr(campaign, "SAMPLE_TRIES", 2)
    ticks = itertools.count(1000.0, 200.0)
    latest = [0.0]

    def now() -> float:
        latest[0] = next(ticks)
        return latest[0]

    clock(monkeypatch, now)
    machine = Machine()
    found = place.measure(machine, SAMPLE, modules=[A, B, C])
    assert machine.jobs[-1].get("until") is None
    assert [*found] == [A, B, C][: 2 * batch]


def test_each_try_of_a_sample_gets_its_least_time(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Making the mutants may have taken all of it."""
    now = [1000.0]
    clock(monkeypatch, lambda: now[0])
    machine = Machine()
    generate = machine._generate

    def slowly(job: dict[str, list[dict[str, str]]]) -> tuple[int, str]:
        now.insert(0, 2000.0)
        return generate(job)

    monkeypatch.setattr(machine, "_generate", slowly)
    place.measure(machine, SAMPLE, modules=[A])
    assert machine.jobs[-1]["until"] == 2005.0
    assert machine.jobs[-1]["timeout_s"] == 15.0


def tree_of(*, tests: Mapping[str, int]) -> Graph:
    """A graph where each module has so many test files."""
    sources = dict.fromkeys(tests, "def f():\n    return 1\n")
    for module, number in tests.items():
        name = module.removesuffix(".py").replace("/", ".").removeprefix("src.")
        stem = name.rpartition(".")[2]
        for at in range(number):
            sources[f"tests/x/test_{stem}_{'abcd'[at]}.py"] = f"import {name}\n"
    return Graph.of(sources)


def test_a_sample_takes_modules_below_each_root_in_turn() -> None:
    """Of those that few files judge, in an order that the seed decides."""
    tests = {
        "release/one.py": 1,
        "release/deep/two.py": 3,
        "release/many.py": 4,
        "release/none.py": 0,
        "src/p/six.py": 1,
    }
    graph = tree_of(tests=tests)
    orders = {tuple(sampled_modules(graph, [*tests], seed=seed)) for seed in "abcdefgh"}
    assert orders == {
        ("release/one.py", "src/p/six.py", "release/deep/two.py"),
        ("release/deep/two.py", "src/p/six.py", "release/one.py"),
    }
    bare = Graph.of({**graph.sources, "release/one.py": "ONE = 1\n"})
    assert sampled_modules(bare, [*tests], seed="a") == ["release/deep/two.py", "src/p/six.py"]


def test_a_sample_fills_its_lines_with_whole_functions() -> None:
    """Forty lines at most."""
    function = "def f{}():\n" + "    x = 1\n" * 9
    four = "".join(function.format(number) for number in range(4))
    assert sampled_lines(four, seed="a") == [*range(1, 41)]
    five = four + "def g():\n    return 1\n"
    orders = {tuple(sampled_lines(five, seed=seed)) for seed in "abcdefgh"}
    assert len(orders) > 1
    assert {len(lines) for lines in orders} <= {32, 40}


def test_the_shortest_function_is_sampled_where_all_are_too_long() -> None:
    source = "def g():\n" + "    x = 1\n" * 60 + "def h():\n" + "    x = 1\n" * 50
    assert sampled_lines(source, seed="a") == [*range(62, 113)]
