"""One run over modules, without git: who is asked for what, in which order, and what is kept."""

import itertools
import json
import os
import sys
import threading
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from release.context import Options
from release.gates.mutation import campaign, driver
from release.gates.mutation.campaign import Part, Scope
from release.gates.mutation.imports import Graph
from release.gates.mutation.mutants import Shard, Verdict
from release.gates.mutation.scratch import environment
from release.gates.mutation.verdicts import Measured
from release.model import Refused
from release.runner import Finished
from tests.release.gates.mutation import campaign_support
from tests.release.gates.mutation.campaign_support import LONELY, MODULES, A, B, C, Place, both
from tests.release.gates.mutation.support import TREE, Machine, name_of
from tests.release.runner_support import Call

one_copy, place = campaign_support.one_copy, campaign_support.place


@dataclass(kw_only=True)
class Watched(Machine):
    """A machine that keeps how its driver was started."""

    words: list[list[str]] = field(default_factory=list[list[str]])
    folders: list[Path] = field(default_factory=list[Path])

    def answer(self, call: Call) -> Finished:
        self.words.append(call.words)
        self.folders.append(call.cwd)
        return super().answer(call)


def test_every_module_comes_back_with_what_is_known_of_it(place: Place) -> None:
    """Its tests, all its mutants, the verdicts, what cannot be mutated."""
    machine = Machine(codes={name_of(A, 2): 0, name_of(B, 1): 24})
    found = place.measure(machine)
    assert [*found] == sorted(MODULES)
    assert found[A].tests == ("tests/release/test_a.py",)
    assert [mutant.name for mutant in found[A].mutants] == [*both(A), name_of(A, 3)]
    assert {mutant.module for mutant in found[A].mutants} == {A}
    assert (found[A].mutants[1].was, found[A].mutants[1].becomes) == ("return 1", "return 7")
    assert found[A].verdicts == {name_of(A, 1): Verdict.KILLED, name_of(A, 2): Verdict.SURVIVED}
    assert found[B].verdicts == {name_of(B, 1): Verdict.TIMEOUT, name_of(B, 2): Verdict.KILLED}
    assert found[LONELY].verdicts == dict.fromkeys(both(LONELY), Verdict.NO_TEST)
    assert [each.reused for each in found.values()] == [0, 0, 0, 0]
    assert {each.baseline for each in found.values()} == {each.failure for each in found.values()} == {""}


def test_what_cannot_be_mutated_is_listed_by_module(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the module's own text."""
    monkeypatch.setitem(TREE, A, TREE[A] + "ONE = make()\n")
    found = place.measure(Machine(), modules=[A, B])
    assert [(each.module, each.line) for each in found[A].skipped] == [(A, 3)]
    assert found[B].skipped == []


def test_how_the_drivers_are_started(place: Place) -> None:
    """Isolated from the checkout, with a warning where an encoding is not named, on a job in a file."""
    machine = Watched()
    made, output = place.begin(machine, modules=[A])
    made.measure()
    assert output.getvalue().splitlines()[0] == "  making the mutants of 1 modules"
    pristine, slot = made.scratch / "pristine", made.scratch / "slot-0"
    program = [sys.executable, "-P", "-X", "warn_default_encoding", driver.__file__]
    assert machine.words == [
        [*program, "generate", str(pristine / "generate.json")],
        [*program, "judge", str(slot / "judge.json")],
    ]
    assert machine.folders == [pristine, slot]
    assert machine.environments == [
        environment(pristine, made.scratch),
        environment(pristine, slot / "tmp"),
    ]
    generate, judge = machine.jobs
    assert generate == {
        "modules": [{"path": A, "lines": None, "out": str(made.kept.generated(A, TREE[A], None))}],
        "processes": 1,
        "timeout_s": None,
        "show": True,
    }
    assert judge == {
        "tests": ["tests/release/test_a.py"],
        "mutants": both(A),
        "results": str(slot / "results.jsonl"),
        "stop": str(made.scratch / "stop"),
        "parent": os.getpid(),
        "sign": str(made.scratch / "sign"),
        "until": None,
        "timeout_s": None,
        "show": False,
    }
    assert (slot / "mutants" / A).read_text(encoding="utf-8") == TREE[A]


@pytest.mark.parametrize(("cores", "copies"), [(None, 1), (2, 2), (9, 3)])
def test_as_many_copies_as_cores_and_modules(
    place: Place, monkeypatch: pytest.MonkeyPatch, cores: int | None, copies: int
) -> None:
    """A copy for each module that waits at most; the mutants are made by as many processes as cores."""
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    machine = Machine()
    made, _ = place.begin(machine)
    made.measure()
    assert sorted(path.name for path in made.scratch.glob("slot-*")) == [f"slot-{n}" for n in range(copies)]
    assert machine.jobs[0]["processes"] == (cores or 1)


def test_modules_with_the_most_mutants_go_first(place: Place) -> None:
    """None is left running alone at the end."""
    place.measure(Machine(), Scope(part=Part.ONLY, at_most=1), modules=[A])
    machine = Machine()
    place.measure(machine, modules=[A, B])
    assert machine.modules == [B, A]
    assert machine.judged[:2] == both(B)


def test_verdicts_of_the_same_inputs_are_used_again(place: Place) -> None:
    """What is known is not run, and counted as reused; other inputs, or a doubt, judge it anew."""
    place.measure(Machine(codes={name_of(A, 2): 0}), modules=[A, LONELY])
    again = Machine()
    found = place.measure(again, modules=[A, LONELY])
    assert again.jobs == []
    assert found[A].reused == 2
    assert found[A].verdicts == {name_of(A, 1): Verdict.KILLED, name_of(A, 2): Verdict.SURVIVED}
    assert found[LONELY].reused == 0
    for options in (Options(), Options(again=True)):
        machine = Machine()
        assert place.measure(machine, modules=[A], options=options, outside="other data")[A].reused == 0
        assert machine.judged == both(A)


def test_a_part_of_the_mutants_goes_on_where_the_last_one_stopped(place: Place) -> None:
    """The same ones are chosen first, and a larger part runs only what is left."""
    few, more = Machine(), Machine()
    assert len(place.measure(few, Scope(part=Part.ONLY, at_most=1), modules=[A])[A].verdicts) == 1
    found = place.measure(more, Scope(part=Part.ONLY, at_most=2), modules=[A])
    assert (len(few.judged), len(more.judged), found[A].reused) == (1, 1, 1)
    assert sorted(few.judged + more.judged) == both(A)


def test_a_shard_runs_its_own_and_never_only_wording(place: Place) -> None:
    """Two shards share all mutants but the inert ones out."""
    runs = [Machine(), Machine()]
    for number, machine in enumerate(runs, start=1):
        place.measure(machine, Scope(part=Part.SHARD, shard=Shard(number=number, of=2)))
        assert all(Shard(number=number, of=2).holds(name) for name in machine.judged)
    assert sorted(runs[0].judged + runs[1].judged) == sorted([*both(A), *both(B), *both(C)])


@pytest.mark.parametrize(
    ("part", "kept"),
    [(Part.ALL, False), (Part.SHARD, False), (Part.CHANGED, True), (Part.ONLY, True)],
)
def test_mutants_of_other_sources_are_forgotten_by_whole_runs(place: Place, part: Part, kept: bool) -> None:
    """A run over one module knows nothing of the others' sources."""
    place.measure(Machine(), Scope(part=Part.ONLY), modules=[B])
    shard = Shard(number=1, of=1) if part is Part.SHARD else None
    made, _ = place.begin(Machine(), Scope(part=part, shard=shard), modules=[A])
    made.measure()
    assert made.kept.generated(A, TREE[A], None).exists()
    assert made.kept.generated(B, TREE[B], None).exists() is kept


def test_only_mutants_that_are_not_there_are_made(place: Place) -> None:
    """Making them takes minutes."""
    place.measure(Machine(), modules=[A])
    machine = Machine()
    made, output = place.begin(machine, modules=[A, B, C])
    made.measure()
    assert [each["path"] for each in machine.jobs[0]["modules"]] == [B, C]
    assert "  making the mutants of 2 modules\n" in output.getvalue()


def test_mutants_that_cannot_be_made_are_told(place: Place) -> None:
    """With the words of the generator, and where to leave a module out."""
    with pytest.raises(Refused) as caught:
        place.measure(Machine(generates=1))
    (problem,) = caught.value.problems
    assert (problem.rule, problem.where) == ("mutation.generates", "src, release")
    assert problem.what == "mutmut could not make the mutants:\ncannot parse"
    assert "[tool.mutmut]" in problem.remedy


def test_a_module_that_leaves_no_mutants_is_left_out(place: Place) -> None:
    """Where the generator made no file there is nothing to judge."""

    class Half(Machine):
        def _generate(self, job: dict[str, list[dict[str, str]]]) -> tuple[int, str]:
            return super()._generate({"modules": job["modules"][1:]})

    assert [*place.measure(Half(), modules=[A, B])] == [B]


def test_each_module_says_its_counts(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line a module that ran; the numbers that are zero are left out."""
    ticks = itertools.count(step=125)
    monkeypatch.setattr(campaign, "time", SimpleNamespace(time=lambda: 0.0, monotonic=ticks.__next__))
    made, output = place.begin(Machine(codes={name_of(A, 2): 0}), modules=[A, LONELY])
    found = {each.module: each.took_ms for each in made.measure()}
    assert output.getvalue().splitlines()[1:] == ["  release/a.py: 1 killed, 1 survived, 125.0 s"]
    assert found == {A: 125_000, LONELY: 0}
    made, output = place.begin(Machine(baseline=1), modules=[A], outside="other")
    made.measure()
    assert "  release/a.py: none judged, 125.0 s\n" in output.getvalue()


def test_a_long_run_says_how_far_it_is(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every quarter of a minute; a module that is still being judged counts by its answers so far."""
    place.measure(Machine(), Scope(part=Part.ONLY, at_most=1), modules=[A, B, C])
    now, turns, looks = [1000], itertools.count(), itertools.count(1)
    reached, go = [threading.Event() for _ in range(3)], [threading.Event() for _ in range(3)]
    go[0].set()
    clock = SimpleNamespace(time=lambda: 0.0, monotonic=lambda: now[0])
    monkeypatch.setattr(campaign, "time", clock)

    def judging() -> None:
        turn = next(turns)
        answer = {"kind": "mutant", "name": name_of(A, 1), "code": 1}
        results = made.scratch / "slot-0/results.jsonl"
        results.write_text(f"{json.dumps(answer)}\n", encoding="utf-8")
        reached[turn].set()
        assert go[turn].wait(10), "the run does not wait for its modules"

    def wait(running: set[Any], *, timeout: float, return_when: str) -> tuple[set[Any], set[Any]]:
        assert (timeout, return_when) == (1, futures.FIRST_COMPLETED)
        look = next(looks)
        if look == 2:
            now[0] += 14
            return set(), running
        if look > 2:
            go[look - 2].set()
        over, left = futures.wait(running, return_when=return_when)
        if left:
            assert reached[3 - len(left)].wait(10), "the next module is not begun"
        now[0] += 15 if look == 1 else 1
        return over, left

    monkeypatch.setattr(campaign, "futures", SimpleNamespace(**vars(futures) | {"wait": wait}))
    made, output = place.begin(Machine(during=judging), modules=[A, B, C])
    made.measure()
    said = [line for line in output.getvalue().splitlines() if "judged after" in line]
    assert said == ["  2 of 3 mutants judged after 15 s", "  3 of 3 mutants judged after 30 s"]


def test_a_run_that_ends_early_stops_its_drivers_and_keeps_the_answers(place: Place) -> None:
    """Drivers that still run look at one file; what was answered counts for the next run."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    machine = Machine(during=interrupt)
    made, _ = place.begin(machine, modules=[A])
    with pytest.raises(KeyboardInterrupt):
        made.measure()
    assert (made.scratch / "stop").exists()
    assert (made.scratch / "slot-0/mutants" / A).read_text(encoding="utf-8") == TREE[A]
    done, _ = place.begin(Machine(), modules=[A])
    done.measure()
    assert not (done.scratch / "stop").exists()


def test_a_run_that_ends_early_begins_no_further_module(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for one that was begun before the run knew of its end."""
    turns, over = itertools.count(), threading.Event()

    class Pool(futures.ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            over.set()
            super().shutdown(wait=wait)

    def judging() -> None:
        if next(turns) == 0:
            raise KeyboardInterrupt
        assert over.wait(10), "the end of the run does not end its pool"

    monkeypatch.setattr(campaign, "futures", SimpleNamespace(**vars(futures) | {"ThreadPoolExecutor": Pool}))
    machine = Machine(during=judging)
    made, _ = place.begin(machine, modules=[A, B, C])
    with pytest.raises(KeyboardInterrupt):
        made.measure()
    assert ["tests/library/test_c.py"] not in [job.get("tests") for job in machine.jobs]


def test_own_tests_of_which_none_is_left_are_no_tests(place: Place) -> None:
    """pytest's code 5 means that nothing was selected."""
    assert place.measure(Machine(baseline=5), modules=[A])[A].verdicts == dict.fromkeys(
        both(A), Verdict.NO_TEST
    )


@pytest.mark.parametrize(("part", "failure"), [(Part.ALL, "Killed"), (Part.SAMPLE, "")])
def test_only_a_samples_driver_may_be_killed(place: Place, part: Part, failure: str) -> None:
    """Its time was over; in any other run it is a failure."""
    scope = Scope(part=part, seconds=600)
    assert place.measure(Machine(dies=(-9, "Killed")), scope, modules=[A])[A].failure == failure


def test_a_failed_module_does_not_keep_the_copy_from_the_next(place: Place) -> None:
    """The first error ends the run; without the copy the others would wait for ever."""
    (place.root / "mutants/verdicts/release.a.py.partial").mkdir(parents=True)
    with pytest.raises(OSError, match="partial"):
        place.measure(Machine(), modules=[A, B, C])


def ended(code: int, said: str = "said so") -> Finished:
    return Finished(argv=[], code=code, stdout=said, stderr="", took_ms=1)


FINE = [("baseline", "", 0), ("control", "", 0)]


@pytest.mark.parametrize(
    ("answers", "code", "sampled", "verdicts", "baseline", "failure"),
    [
        ([*FINE, ("mutant", "b", 1)], 0, False, {"b": Verdict.KILLED}, "", ""),
        (
            [("baseline", "", 5), ("mutant", "c", 1)],
            0,
            False,
            {"b": Verdict.NO_TEST, "c": Verdict.KILLED},
            "",
            "",
        ),
        ([("baseline", "", 1)], 0, False, {}, "said so", ""),
        (
            [("baseline", "", 0), ("control", "", 2)],
            0,
            False,
            {},
            "",
            "the tests pass once and fail when they are run again without a mutant (code 2)",
        ),
        ([], 1, False, {}, "said so", ""),
        ([], 124, True, {}, "", ""),
        ([*FINE, ("mutant", "b", 0)], -9, True, {"b": Verdict.SURVIVED}, "", ""),
        ([*FINE, ("mutant", "b", 0)], -9, False, {"b": Verdict.SURVIVED}, "", "said so"),
        ([*FINE], 1, True, {}, "", "said so"),
        ([("baseline", "", 1)], 1, False, {}, "said so", "said so"),
    ],
)
def test_what_a_drivers_answers_and_its_end_mean(
    answers: list[tuple[str, str, int]],
    code: int,
    sampled: bool,
    verdicts: dict[str, Verdict],
    baseline: str,
    failure: str,
) -> None:
    """Verdicts, a red baseline, or why nothing is known; what was known before stays."""
    known = {"a": Verdict.KILLED}
    before = Measured(module=A, verdicts=known)
    found = campaign._with_troubles(before, ["b"], answers, ended(code), sampled=sampled)
    assert found.verdicts == known | verdicts
    assert (found.baseline, found.failure) == (baseline, failure)
    assert before.verdicts == {"a": Verdict.KILLED}


def test_verdicts_are_kept_as_they_were_answered(place: Place) -> None:
    """By the digest of everything they depend on."""
    place.measure(Machine(codes={name_of(A, 2): 0}), modules=[A])
    kept = json.loads((place.root / "mutants/verdicts/release.a.py.json").read_text(encoding="utf-8"))
    graph = Graph.of({name: text for name, text in TREE.items() if name.endswith(".py")})
    assert kept == {
        "inputs": graph.inputs(A, ("tests/release/test_a.py",), ""),
        "codes": {name_of(A, 1): 1, name_of(A, 2): 0},
    }
