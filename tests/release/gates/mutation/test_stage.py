"""The stage as a whole, with a stand-in for mutmut's driver: what it runs, refuses, keeps and records."""

import itertools
import json
import os
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from release.context import Options
from release.gates.mutation import campaign, stage
from release.gates.mutation.verdicts import SURVIVORS
from release.model import Kind, Refused
from tests.release.gates.mutation.support import Machine, context_of, name_of, project, with_floors
from tests.release.gates.support import commit_all

ALL = {"release/a.py", "release/b.py", "src/pkg/c.py"}
"""The modules of the tree that have mutants and tests."""


@pytest.fixture(autouse=True)
def two_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """mutmut is a stand-in; the number of copies does not depend on the machine."""
    monkeypatch.setattr(stage, "mutmut_version", lambda: "3.8.1")
    monkeypatch.setattr(os, "cpu_count", lambda: 2)


def measured(root: Path) -> dict[str, Any]:
    return json.loads((root / "report" / "mutation.json").read_text(encoding="utf-8"))


def refusal(root: Path, machine: Machine, options: Options | None = None) -> Refused:
    context, _ = context_of(root, machine, options)
    with pytest.raises(Refused) as refused:
        stage.run("mutation", context)
    return refused.value


def rules(refused: Refused) -> list[str]:
    return [problem.rule for problem in refused.problems]


def test_everything_is_run_once_and_reported(tmp_path: Path) -> None:
    """The whole: mutants of each module against its own tests, wording and untested code told apart."""
    root, machine = project(tmp_path), Machine(codes={name_of("release/a.py", 2): 0})
    context, output = context_of(root, machine)
    report = stage.run("mutation", context)
    assert sorted(machine.judged) == sorted(name_of(module, number) for module in ALL for number in (1, 2))
    assert {str(job["tests"]) for job in machine.jobs if "tests" in job} == {
        "['tests/release/test_a.py']",
        "['tests/release/test_b.py']",
        "['tests/library/test_c.py']",
    }
    modules = measured(root)["modules"]
    assert "release/left_out.py" not in modules
    assert modules["release/a.py"]["killed"] == modules["release/a.py"]["survived"] == 1
    assert modules["release/a.py"]["inert"] == 1
    assert modules["release/a.py"]["unnoticed"][0]["becomes"] == "return 7"
    assert modules["release/untested.py"]["no_test"] == 2
    assert report.kind is Kind.DONE
    assert report.sentence.startswith("5 of 8 mutants noticed (62.50 %), all, ")
    assert "4 modules have no floor of their own yet" in report.sentence
    assert (report.figures["killed"], report.figures["survived"], report.figures["inert"]) == (5, 1, 4)
    assert "no evidence recorded" in output.getvalue()
    assert "release/a.py: 1 killed, 1 survived" in output.getvalue()


def test_checkout_is_not_touched(tmp_path: Path) -> None:
    """Mutated code must never stand in the checkout, whatever happens to the run."""
    root = project(tmp_path)
    before = {path: path.read_bytes() for path in root.rglob("*.py")}
    stage.run("mutation", context_of(root, Machine())[0])
    assert {path: path.read_bytes() for path in root.rglob("*.py")} == before
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=root, capture_output=True, text=True, check=True
    )
    assert status.stdout == ""


def test_second_run_judges_only_what_changed(tmp_path: Path) -> None:
    """Verdicts are used again exactly while sources and tests stay the same."""
    root = project(tmp_path)
    stage.run("mutation", context_of(root, Machine())[0])
    again = Machine()
    stage.run("mutation", context_of(root, again)[0])
    assert again.jobs == []
    assert measured(root)["modules"]["release/a.py"]["reused"] == 2
    (root / "tests/release/test_b.py").write_text("from release.b import twice\nx = 1\n", encoding="utf-8")
    (root / "README.md").write_text("other words", encoding="utf-8")
    with_floors(root, {"release/a.py": 10})
    changed = Machine()
    stage.run("mutation", context_of(root, changed)[0])
    assert sorted(changed.judged) == [name_of("release/b.py", 1), name_of("release/b.py", 2)]
    (root / "data.txt").write_text("data", encoding="utf-8")
    data = Machine()
    stage.run("mutation", context_of(root, data)[0])
    assert len(data.judged) == 6


def test_damaged_memory_is_no_memory(tmp_path: Path) -> None:
    """A run that was killed while it wrote costs time, not truth."""
    root = project(tmp_path)
    stage.run("mutation", context_of(root, Machine())[0])
    for path in (root / "mutants" / "verdicts").iterdir():
        path.write_text('{"inputs": "', encoding="utf-8")
    again = Machine()
    stage.run("mutation", context_of(root, again)[0])
    assert len(again.judged) == 6


def test_mutants_of_sources_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    """The memory does not grow with every edit."""
    root = project(tmp_path)
    stage.run("mutation", context_of(root, Machine())[0])
    before = set((root / "mutants" / "generated").iterdir())
    (root / "release/a.py").write_text("def make():\n    return 9\n", encoding="utf-8")
    stage.run("mutation", context_of(root, Machine())[0])
    after = set((root / "mutants" / "generated").iterdir())
    assert len(before) == len(after)
    assert len(before - after) == 1


def test_shards_judge_everything_between_them(tmp_path: Path) -> None:
    """Parallel jobs split the mutants by name, and their memory adds up."""
    root = project(tmp_path)
    parts = [Machine(), Machine()]
    for number, machine in enumerate(parts, start=1):
        stage.run("mutation", context_of(root, machine, Options(shard=f"{number}/2"))[0])
    assert not set(parts[0].judged) & set(parts[1].judged)
    assert len(parts[0].judged) + len(parts[1].judged) == 6
    whole = Machine()
    stage.run("mutation", context_of(root, whole)[0])
    assert whole.judged == []


def test_changed_judges_modules_that_differ_from_main(tmp_path: Path) -> None:
    """A pull request answers for what it changes: committed, uncommitted and new files."""
    root = project(tmp_path)
    subprocess.run(["git", "switch", "--quiet", "--create", "topic"], cwd=root, check=True)
    (root / "release/b.py").write_text("def twice():\n    return 3\n", encoding="utf-8")
    machine = Machine()
    report = stage.run("mutation", context_of(root, machine, Options(changed=True))[0])
    assert sorted(machine.judged) == [name_of("release/b.py", 1), name_of("release/b.py", 2)]
    assert list(measured(root)["modules"]) == ["release/b.py"]
    assert ", changed, " in report.sentence


def test_changed_without_a_difference_says_so(tmp_path: Path) -> None:
    """Nothing to do is not the same as nothing found."""
    root, machine = project(tmp_path), Machine()
    report = stage.run("mutation", context_of(root, machine, Options(changed=True))[0])
    assert report.kind is Kind.DONE
    assert "nothing differs" in report.sentence
    assert machine.jobs == []


def test_changed_needs_a_main_branch(tmp_path: Path) -> None:
    """A shallow clone of a branch cannot say what it changed."""
    root = project(tmp_path)
    subprocess.run(["git", "branch", "--quiet", "--move", "main", "topic"], cwd=root, check=True)
    assert rules(refusal(root, Machine(), Options(changed=True))) == ["mutation.main-known"]


def test_only_keeps_what_is_known_of_other_modules(tmp_path: Path) -> None:
    """Module after module adds up to the whole, and each is held against its own floor."""
    root = project(tmp_path, floors={"release/a.py": 100})
    for module in sorted(ALL):
        stage.run("mutation", context_of(root, Machine(), Options(only=(module,)))[0])
    whole = Machine()
    stage.run("mutation", context_of(root, whole)[0])
    assert whole.judged == []
    again = Machine(codes={name_of("release/a.py", 2): 0})
    refused = refusal(root, again, Options(only=("release/a.py",), again=True))
    assert rules(refused) == ["mutation.survivor-explained", "mutation.floor"]
    assert again.modules == ["release/a.py"]


def test_at_most_so_many_mutants_show_what_to_write_into_the_file(tmp_path: Path) -> None:
    """A module too slow to be measured whole gets an estimated floor, and is held against it from then on."""
    root, machine = project(tmp_path), Machine()
    report = stage.run("mutation", context_of(root, machine, Options(only=("release/a.py",), at_most=1))[0])
    assert len(machine.judged) == 1
    assert [line.found for line in report.checked if line.what == "release/a.py"] == [
        "1 of 1 noticed, 0 survived, 0 no test (at least 50 % of all 2)"
    ]
    assert measured(root)["modules"]["release/a.py"]["at_least"] == 50
    with_floors(root, {}, estimated={"release/a.py": 50})
    again = Machine(codes=dict.fromkeys([name_of("release/a.py", 1), name_of("release/a.py", 2)], 0))
    report = stage.run("mutation", context_of(root, again, Options(only=("release/a.py",)))[0])
    assert again.judged == [
        name
        for name in (name_of("release/a.py", 1), name_of("release/a.py", 2))
        if name not in machine.judged
    ]
    assert any("(estimated floor 50 %, at least 50 % of all 2)" in line.found for line in report.checked)
    assert measured(root)["modules"]["release/a.py"]["estimated_floor"] == 50
    assert list(measured(root)["without_floor"]) == ["release/b.py", "release/untested.py", "src/pkg/c.py"]
    refused = refusal(root, again, Options(only=("release/a.py",), again=True))
    assert rules(refused) == ["mutation.floor"]


def test_sample_estimates_nothing(tmp_path: Path) -> None:
    """Its mutants are of a few functions, so they show nothing of the module's others."""
    root = project(tmp_path)
    report = stage.run("mutation", context_of(root, Machine(), Options(sample=600))[0])
    assert not any("at least" in line.found for line in report.checked)
    assert measured(root)["modules"]["release/a.py"]["at_least"] is None


def test_modules_without_a_floor_are_counted_over_the_whole_tree(tmp_path: Path) -> None:
    """A run over one module still says how many wait for their floor."""
    root = project(tmp_path, floors={"release/a.py": 100, "src/pkg/c.py": 100})
    report = stage.run("mutation", context_of(root, Machine(), Options(only=("release/a.py",)))[0])
    assert report.figures["without_floor"] == 2
    assert report.sentence.endswith("; 2 modules have no floor of their own yet")
    assert measured(root)["without_floor"] == {
        "release/b.py": "not looked at yet",
        "release/untested.py": "not looked at yet",
    }


def test_module_without_floor_and_reason_is_refused(tmp_path: Path) -> None:
    """A new module comes with its floor, or somebody says why not."""
    root = project(tmp_path)
    (root / "release/new.py").write_text("def fresh():\n    return 1\n", encoding="utf-8")
    (root / "release/names.py").write_text("ONE = 1\n", encoding="utf-8")
    refused = refusal(root, Machine())
    assert [(each.rule, each.where) for each in refused.problems] == [
        ("mutation.floor-or-reason", "release/new.py")
    ]


def test_unreadable_floors_are_refused(tmp_path: Path) -> None:
    """A floor that cannot be read holds nothing."""
    root = project(tmp_path)
    with_floors(root, {}, tail='[floor]\n"release/a.py" = 100\n')
    assert rules(refusal(root, Machine())) == ["mutation.floors-readable"]


def test_a_floor_that_is_reached_can_rise_only_above_itself(tmp_path: Path) -> None:
    """The line tells what to write into the file, and nothing where there is nothing to write."""
    root, machine = project(tmp_path), Machine(codes={name_of("release/a.py", 2): 0})
    with_floors(root, {"release/a.py": 50, "release/b.py": 90})
    (root / SURVIVORS).write_text(
        '[[survivor]]\nmodule = "release/a.py"\nfunction = "make"\nwas = "return 1"\nbecomes = "return 7"\n'
        'kind = "accepted"\nreason = "so"\n',
        encoding="utf-8",
    )
    report = stage.run("mutation", context_of(root, machine)[0])
    standing = {each.what: each.found.partition(" (")[2] for each in report.checked}
    assert standing["release/a.py"] == "floor 50 %, reached 50 %)"
    assert standing["release/b.py"] == "floor 90 %, reached 100 %; the floor can rise to 100 %)"


def test_unexplained_mutants_that_may_stay_are_said_and_only_become_fewer(tmp_path: Path) -> None:
    """A floor can be set before all survivors are looked at; the debt is a figure that only falls."""
    root, machine = project(tmp_path), Machine(codes={name_of("release/a.py", 2): 0})
    with_floors(root, {"release/a.py": 50}, {"release/a.py": 1})
    report = stage.run("mutation", context_of(root, machine)[0])
    assert any("1 unexplained of 1 that may be" in line.found for line in report.checked)
    assert report.figures["unexplained"] == 3
    assert measured(root)["modules"]["release/a.py"]["may_stay_unexplained"] == 1
    commit_all(root)
    with_floors(root, {"release/a.py": 50}, {"release/a.py": 2})
    assert rules(refusal(root, machine)) == ["mutation.unexplained-only-falls"]


def test_sample_takes_modules_of_both_roots_and_remembers_nothing(tmp_path: Path) -> None:
    """A rehearsal shows that the gate works, in seconds, and leaves the real memory alone."""
    root, machine = project(tmp_path), Machine()
    report = stage.run("mutation", context_of(root, machine, Options(sample=600))[0])
    assert set(measured(root)["modules"]) == ALL
    assert len(machine.judged) == 6
    assert ", sample, " in report.sentence
    assert not (root / "mutants").exists()
    assert not any(job["show"] for job in machine.jobs)
    assert all(job["timeout_s"] for job in machine.jobs if "tests" in job)
    lines = [each["lines"] for job in machine.jobs if "modules" in job for each in job["modules"]]
    assert sorted(lines) == [[1, 2], [1, 2], [3, 4]]


def test_sample_of_a_tree_is_always_the_same(tmp_path: Path) -> None:
    """Two runs on one commit look at the same mutants."""
    orders: list[list[str]] = []
    for name in ("one", "two"):
        machine = Machine()
        stage.run("mutation", context_of(project(tmp_path / name), machine, Options(sample=600))[0])
        orders.append(sorted(machine.judged))
    assert orders[0] == orders[1]


@pytest.fixture
def seconds_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the clock takes a second, and a sample takes module after module."""
    clock = SimpleNamespace(time=itertools.count().__next__, monotonic=time.monotonic)
    monkeypatch.setattr(campaign, "time", clock)
    monkeypatch.setattr(campaign, "SAMPLE_BATCH", 1)


@pytest.mark.usefixtures("seconds_pass")
def test_sample_ends_when_its_time_is_over(tmp_path: Path) -> None:
    """The rehearsal has five minutes for everything."""
    root, machine = project(tmp_path), Machine()
    stage.run("mutation", context_of(root, machine, Options(sample=3))[0])
    assert len(machine.modules) == 1


@pytest.mark.usefixtures("seconds_pass")
def test_sample_goes_on_until_something_is_judged(tmp_path: Path) -> None:
    """A sample of nothing proves nothing: it turns to other modules a few times, then it is refused."""
    root, machine = project(tmp_path), Machine(late=True)
    assert rules(refusal(root, machine, Options(sample=3))) == ["mutation.sample-judged"]
    assert set(machine.modules) == ALL


def test_unexplained_survivor_and_untested_mutants_are_refused_with_entries(tmp_path: Path) -> None:
    """The refusal names each mutant; the entry to explain it is ready."""
    root = project(tmp_path, floors={"release/a.py": 50, "release/untested.py": 0})
    refused = refusal(root, Machine(codes={name_of("release/a.py", 2): 0}))
    assert rules(refused) == ["mutation.survivor-explained", "mutation.has-test", "mutation.has-test"]
    entries = (root / "report" / "mutation-survivors.toml").read_text(encoding="utf-8")
    assert entries.count("[[survivor]]") == 3
    filled = entries.replace('kind = ""', 'kind = "accepted"').replace('reason = ""', 'reason = "so"')
    (root / SURVIVORS).write_text(filled, encoding="utf-8")
    report = stage.run("mutation", context_of(root, Machine(codes={name_of("release/a.py", 2): 0}))[0])
    assert report.kind is Kind.DONE


def test_floor_that_could_rise_is_said(tmp_path: Path) -> None:
    """A ratchet is turned by people."""
    root = project(tmp_path, floors={"release/a.py": 50})
    report = stage.run("mutation", context_of(root, Machine())[0])
    assert any("the floor can rise to 100 %" in line.found for line in report.checked)


def test_floor_below_the_main_branch_is_refused(tmp_path: Path) -> None:
    """Lowering a floor is no way out."""
    root = project(tmp_path, floors={"release/a.py": 50, "*": 10})
    with_floors(root, {"release/a.py": 49})
    assert rules(refusal(root, Machine())) == ["mutation.floor-only-rises", "mutation.floor-only-rises"]


def test_red_baseline_is_refused_with_what_pytest_said(tmp_path: Path) -> None:
    """Tests that fail anyway prove nothing, and are not called survivors."""
    root = project(tmp_path, floors={"release/a.py": 100})
    refused = refusal(root, Machine(baseline=1))
    assert set(rules(refused)) == {"mutation.baseline-is-green"}
    assert len(refused.problems) == 3
    assert "1 failed in 0.1s" in refused.problems[0].what
    assert measured(root)["modules"]["release/a.py"]["red_baseline"] is True


def test_tests_that_cannot_be_imported_are_a_red_baseline(tmp_path: Path) -> None:
    """The person is sent to the tests, not to the mutants."""
    refused = refusal(project(tmp_path), Machine(collects=(1, "No module named 'x'")))
    assert set(rules(refused)) == {"mutation.baseline-is-green"}
    assert "No module named 'x'" in refused.problems[0].what


def test_own_tests_that_all_need_a_server_are_no_tests(tmp_path: Path) -> None:
    """pytest's code 5 means that nothing was selected."""
    root = project(tmp_path)
    stage.run("mutation", context_of(root, Machine(baseline=5))[0])
    assert measured(root)["modules"]["release/a.py"]["no_test"] == 2


def test_failed_control_is_refused(tmp_path: Path) -> None:
    """What fails without a mutant kills every mutant."""
    refused = refusal(project(tmp_path), Machine(control=1))
    assert set(rules(refused)) == {"mutation.runs"}
    assert "without a mutant (code 1)" in refused.problems[0].what


def test_driver_that_dies_is_refused_and_its_answers_are_kept(tmp_path: Path) -> None:
    """The same command goes on where it stopped."""
    root = project(tmp_path)
    refused = refusal(root, Machine(dies=(1, "Traceback")))
    assert set(rules(refused)) == {"mutation.runs"}
    assert "Traceback" in refused.problems[0].what
    again = Machine()
    stage.run("mutation", context_of(root, again)[0])
    assert again.judged == []


def test_driver_that_is_killed_outside_of_a_sample_is_refused(tmp_path: Path) -> None:
    """Where no time was set, being killed is a failure."""
    assert set(rules(refusal(project(tmp_path), Machine(dies=(-9, "Killed"))))) == {"mutation.runs"}
    sampled = context_of(project(tmp_path / "other"), Machine(dies=(-9, "")), Options(sample=600))[0]
    assert stage.run("mutation", sampled).kind is Kind.DONE


def test_interrupted_run_stops_its_drivers_and_keeps_their_answers(tmp_path: Path) -> None:
    """Ctrl-C in the second hour loses nothing."""
    root, machine = project(tmp_path), Machine()

    def interrupt() -> None:
        raise KeyboardInterrupt

    context, _ = context_of(root, Machine(during=interrupt))
    with pytest.raises(KeyboardInterrupt):
        stage.run("mutation", context)
    stage.run("mutation", context_of(root, machine)[0])
    assert len(machine.judged) == 6


def test_verdicts_that_cannot_be_kept_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk the run fails, and does not wait for a copy that is never given back."""
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    root = project(tmp_path)
    for module in ALL:
        (root / "mutants" / "verdicts" / f"{module.replace('/', '.')}.partial").mkdir(parents=True)
    with pytest.raises(OSError, match="partial"):
        stage.run("mutation", context_of(root, Machine())[0])


def test_tree_without_metadata_is_refused(tmp_path: Path) -> None:
    """The tests ask for the installed version."""
    assert rules(refusal(project(tmp_path), Machine(metadata=1))) == ["mutation.metadata"]


def test_tests_get_no_secret_and_import_only_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken code runs; it must not be able to publish, nor to write into the checkout."""
    for name in (
        "TWINE_PASSWORD",
        "GITHUB_TOKEN",
        "ACTIONS_ID_TOKEN_REQUEST_URL",
        "TTA_REQUIRE_REDIS",
        "GIT_DIR_",
    ):
        monkeypatch.setenv(name, "secret")
    root, machine = project(tmp_path / "checkout"), Machine()
    stage.run("mutation", context_of(root, machine)[0])
    for env in machine.environments:
        assert "secret" not in env.values()
        assert str(root) not in env["PYTHONPATH"]
        assert not env["TMPDIR"].startswith(str(root))


def test_outside_of_a_repository_git_is_named(tmp_path: Path) -> None:
    """The list of files is git's."""
    context, _ = context_of(tmp_path, Machine())
    with pytest.raises(Refused, match="git"):
        stage.run("mutation", context)


def test_sample_is_not_held_against_the_floors_of_modules(tmp_path: Path) -> None:
    """The few functions of a sample may be the weakest ones of their module."""
    root, machine = project(tmp_path), Machine(codes={name_of("release/a.py", 2): 0})
    with_floors(root, {"release/a.py": 90}, {"release/a.py": 1})
    assert stage.run("mutation", context_of(root, machine, Options(sample=600))[0]).kind is Kind.DONE
    assert rules(refusal(root, machine)) == ["mutation.floor"]


def test_hopeless_sample_is_refused(tmp_path: Path) -> None:
    """The gate can fail from the first day on, in a rehearsal as well."""
    root = project(tmp_path, floors={"*": 90})
    codes = {name_of(module, number): 0 for module in ALL for number in (1, 2)}
    assert rules(refusal(root, Machine(codes=codes), Options(sample=600))) == ["mutation.floor"]
    assert rules(refusal(root, Machine(codes=codes), Options(shard="1/1"))) == ["mutation.floor"]
    assert rules(refusal(root, Machine(codes=codes))) == ["mutation.floor"]
