"""The stage with git played as well: what it asks git, what it judges, and what it says and records."""

import importlib.metadata
import itertools
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from release.context import Context, Options
from release.gates.mutation import stage
from release.gates.mutation.campaign import Campaign, Part, Scope, sampled_modules
from release.gates.mutation.floors import FLOORS
from release.gates.mutation.mutants import Shard
from release.gates.mutation.scratch import outside
from release.gates.mutation.verdicts import SURVIVORS
from release.ledger import Ledger, Outcome
from release.model import Kind, Mode, Problem, Refused, Report
from release.runner import Finished
from tests.release.gates.mutation.support import TREE, Machine, context_of, name_of, with_floors
from tests.release.ledger_support import opening
from tests.release.repo_support import NOW
from tests.release.runner_support import Call

A, B, C, LONELY = "release/a.py", "release/b.py", "src/pkg/c.py", "release/untested.py"
REMOTE, LOCAL = "refs/remotes/origin/main", "refs/heads/main"
BOTH = f"for-each-ref --format=%(refname) {REMOTE} {LOCAL}"
OPTIONS = (
    "`nox -s mutation -- --changed`, `-- --only release/ledger.py`, `-- --shard 2/4`, "
    "or nothing for everything"
)
VERSION = stage.mutmut_version
"""As imported: the fixture below replaces it."""


@dataclass(kw_only=True)
class Alone(Machine):
    """A machine that answers for git, too."""

    root: Path
    answers: dict[str, str] = field(default_factory=dict[str, str])
    """Words -> what git prints; it fails at all others but `ls-files`."""

    def answer(self, call: Call) -> Finished:
        if call.words[0] != "git":
            return super().answer(call)
        assert call.cwd == self.root
        asked = " ".join(call.words[1:])
        said = self.answers.get(asked)
        if asked == "ls-files -z --cached --others --exclude-standard":
            names = [path.relative_to(self.root) for path in self.root.rglob("*") if path.is_file()]
            said = "\0".join(
                name.as_posix() for name in names if name.parts[0] not in ("report", "ledger", "mutants")
            )
        return call.ended(128 if said is None else 0, said or "")


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """mutmut is a stand-in, and one module is judged after the other."""
    monkeypatch.setattr(stage, "mutmut_version", lambda: "3.8.1")
    monkeypatch.setattr(os, "cpu_count", lambda: 1)


@pytest.fixture
def alone(tmp_path: Path) -> Alone:
    """The tree, in which no module has a floor."""
    for name, text in TREE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    with_floors(tmp_path, {})
    return Alone(root=tmp_path)


def ran(alone: Alone, options: Options | None = None) -> Report:
    return stage.run("mutation", context_of(alone.root, alone, options)[0])


def refused(alone: Alone, options: Options | None = None) -> list[Problem]:
    with pytest.raises(Refused) as caught:
        ran(alone, options)
    usage = caught.value.problems[0].rule == "mutation.options"
    assert caught.value.kind is (Kind.USAGE if usage else Kind.REFUSED)
    return list(caught.value.problems)


def measured(alone: Alone) -> dict[str, Any]:
    return json.loads((alone.root / "report/mutation.json").read_text(encoding="utf-8"))


def explained(alone: Alone, becomes: str, more: str = "") -> None:
    """Write an explanation of a mutant of the first module, and what else is to stand behind it."""
    entry = f'module = "{A}"\nfunction = "make"\nwas = "return 1"\nbecomes = "{becomes}"\n'
    text = f'[[survivor]]\n{entry}kind = "equivalent"\nreason = "so"\n{more}'
    (alone.root / SURVIVORS).write_text(text, encoding="utf-8")


def judged(alone: Alone) -> list[str]:
    """The modules with mutants that were measured."""
    return [module for module, found in measured(alone)["modules"].items() if found["mutants"]]


EXCLUDE = "--changed, --only and --shard or --sample exclude each other"
AT_MOST = "--at-most takes a number of mutants, at least 1, and goes with --only"


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (Options(changed=True, shard="1/2"), EXCLUDE),
        (Options(changed=True, sample=30), EXCLUDE),
        (Options(changed=True, only=(A,)), EXCLUDE),
        (Options(only=(A,), shard="1/2"), EXCLUDE),
        (Options(only=(A,), sample=1), EXCLUDE),
        (Options(at_most=3), AT_MOST),
        (Options(at_most=3, changed=True), AT_MOST),
        (Options(at_most=0, only=(A,)), AT_MOST),
        (Options(shard="3/2"), "--shard 3/2 is not I/N with I from 1 to N"),
        (Options(shard="x", sample=30), "--shard x is not I/N with I from 1 to N"),
        (Options(sample=0), "--sample takes seconds, at least 1"),
    ],
)
def test_what_makes_no_sense_is_told_with_what_would(options: Options, what: str) -> None:
    """A mistyped command is told from a failed gate."""
    with pytest.raises(Refused) as caught:
        stage.scope_of(options)
    assert caught.value.kind is Kind.USAGE
    assert caught.value.problems == (
        Problem(rule="mutation.options", where="the command line", what=what, remedy=OPTIONS),
    )


@pytest.mark.parametrize(
    ("options", "scope"),
    [
        (Options(), Scope(part=Part.ALL)),
        (Options(mode=Mode.RELEASE), Scope(part=Part.ALL)),
        (Options(changed=True), Scope(part=Part.CHANGED)),
        (Options(only=(A, "src")), Scope(part=Part.ONLY, only=(A, "src"))),
        (Options(only=(A,), at_most=1), Scope(part=Part.ONLY, only=(A,), at_most=1)),
        (Options(shard="2/3"), Scope(part=Part.SHARD, shard=Shard(number=2, of=3))),
        (Options(sample=1), Scope(part=Part.SAMPLE, seconds=1)),
        (Options(sample=1, mode=Mode.REHEARSAL), Scope(part=Part.SAMPLE, seconds=1)),
        (
            Options(shard="2/3", sample=5),
            Scope(part=Part.SAMPLE, seconds=5, shard=Shard(number=2, of=3)),
        ),
    ],
)
def test_each_option_has_its_scope(options: Options, scope: Scope) -> None:
    assert stage.scope_of(options) == scope


def sample_of_a_release(where: str) -> Problem:
    return Problem(
        rule="mutation.sample-is-for-rehearsals",
        where=where,
        what="a sample proves nothing for a release",
        remedy="leave --sample out, or run `nox -s rehearse`",
    )


def test_a_sample_of_a_release_is_refused_where_it_is_asked_for() -> None:
    """Only the whole counts when bytes go out."""
    with pytest.raises(Refused) as caught:
        stage.scope_of(Options(sample=30, mode=Mode.RELEASE))
    assert caught.value.problems == (sample_of_a_release("--mode release"),)
    assert caught.value.kind is Kind.REFUSED


@dataclass(kw_only=True)
class Recorded:
    """Stands in for the ledger: what the stage asks of it, and hands it."""

    ledger: Ledger | None
    passed: bool = False
    asked: list[object] = field(default_factory=list[object])
    lines: list[tuple[str, str, Report, Outcome]] = field(
        default_factory=list[tuple[str, str, Report, Outcome]]
    )

    def bound(self, context: Context) -> Ledger | None:
        self.asked.append(context.root)
        return self.ledger

    def done(self, ledger: Ledger | None, stage: str, leg: str, *, again: bool) -> bool:
        self.asked.extend([ledger, (stage, leg, again)])
        return self.passed

    def record(
        self, context: Context, ledger: Ledger, stage: str, leg: str, report: Report, outcome: Outcome
    ) -> None:
        assert context.root in self.asked
        assert ledger is self.ledger
        self.lines.append((stage, leg, report, outcome))


@pytest.fixture
def recorded(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """A rehearsal's ledger."""
    ledger = Ledger.create(tmp_path_factory.mktemp("other") / "ledger", opening(), at=NOW)
    made = Recorded(ledger=ledger)
    monkeypatch.setattr(stage, "bound_or_none", made.bound)
    monkeypatch.setattr(stage, "done", made.done)
    monkeypatch.setattr(stage, "record", made.record)
    return made


@pytest.mark.parametrize(
    ("options", "leg", "outcome"),
    [
        (Options(), "all", Outcome.PASSED),
        (Options(again=True), "all", Outcome.PASSED),
        (Options(shard="1/1"), "shard-1-of-1", Outcome.PASSED),
        (Options(sample=600, shard="1/1"), "shard-1-of-1", Outcome.SAMPLE),
    ],
)
def test_what_passed_is_recorded(
    alone: Alone, recorded: Recorded, options: Options, leg: str, outcome: Outcome
) -> None:
    """As what it was: a whole, a shard, or a sample."""
    alone.answers["rev-parse --verify --quiet HEAD^{tree}"] = "f" * 40
    report = ran(alone, options)
    assert recorded.lines == [("mutation", leg, report, outcome)]
    assert recorded.asked == [alone.root, recorded.ledger, ("mutation", leg, options.again)]


@pytest.mark.parametrize("options", [Options(changed=True), Options(only=(A,))])
def test_what_is_for_a_person_asks_no_ledger(alone: Alone, recorded: Recorded, options: Options) -> None:
    """A look at a part of the modules proves nothing of the rest."""
    alone.answers |= {BOTH: LOCAL, f"merge-base {LOCAL} HEAD": "0" * 40}
    alone.answers |= {f"diff --name-only -z {'0' * 40} --": A, OTHERS: ""}
    ran(alone, options)
    assert (recorded.asked, recorded.lines) == ([None, ("mutation", "all", False)], [])


OTHERS = "ls-files -z --others --exclude-standard"


def test_what_passed_before_is_not_repeated(alone: Alone, recorded: Recorded) -> None:
    """And it is said how to repeat it."""
    recorded.passed = True
    assert ran(alone, Options(shard="1/2")) == Report(
        kind=Kind.DONE, sentence="shard-1-of-2 passed before; `-- --again` repeats it"
    )
    assert (alone.jobs, recorded.lines) == ([], [])


def test_what_was_refused_is_recorded_as_failed(alone: Alone, recorded: Recorded) -> None:
    """It undoes a pass; without a ledger nothing is recorded."""
    alone.baseline = 1
    problems = refused(alone)
    (line,) = recorded.lines
    failed = Report(kind=Kind.REFUSED, sentence="", figures={"problems": len(problems)})
    assert line == ("mutation", "all", failed, Outcome.FAILED)
    recorded.ledger = None
    assert [problem.rule for problem in refused(alone, Options(only=(A,)))] == ["mutation.baseline-is-green"]
    assert len(recorded.lines) == 1


def test_a_sample_is_refused_on_a_releases_ledger(
    alone: Alone, recorded: Recorded, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The ledger's own mode decides."""
    recorded.ledger = Ledger.create(
        tmp_path_factory.mktemp("release") / "ledger", opening(mode=Mode.RELEASE), at=NOW
    )
    assert refused(alone, Options(sample=600)) == [sample_of_a_release("ledger/ledger.jsonl")]
    assert ran(alone).kind is Kind.DONE


def test_the_report_and_its_file_say_what_was_measured(alone: Alone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both, for a person and for a program: part, leg, tool, time, and who has no floor."""
    ticks = itertools.count(100.0, 2.0)
    monkeypatch.setattr(stage, "time", SimpleNamespace(monotonic=ticks.__next__))
    with_floors(alone.root, {A: 100}, estimated={C: 50})
    explained(alone, "return 7")
    alone.codes[name_of(A, 2)] = 0
    report = ran(alone, Options(shard="1/1"))
    noticed, without = report.sentence.split("; ")
    assert noticed == "5 of 8 mutants noticed (62.50 %), shard, 2 s"
    assert without == "2 modules have no floor of their own yet"
    assert report.tools["mutmut"] == "3.8.1"
    found = measured(alone)
    assert (found["part"], found["leg"]) == ("shard", "shard-1-of-1")
    assert (found["mutmut"], found["took_ms"]) == ("3.8.1", 2000)
    assert list(found["without_floor"]) == [B, LONELY]
    assert judged(alone) == [A, B, LONELY, C]
    assert [found["modules"][module]["floor"] for module in (A, C)] == [100, None]
    assert [each["explained"] for each in found["modules"][A]["unnoticed"]] == [True]
    assert report.checked[0].found == "1 of 2 noticed, 1 survived, 0 no test (floor 100 %, reached 100 %)"
    assert report.figures["unexplained"] == 2


def test_every_problem_is_told_under_the_table(alone: Alone) -> None:
    """What is wrong with the files, with the floors, with explanations, and with the modules."""
    with_floors(alone.root, {A: 100}, tail="[other]\n")
    (alone.root / "release/new.py").write_text("def fresh():\n    return 1\n", encoding="utf-8")
    explained(alone, "return 8", "[[survivor]]\nmodule = 3\n")
    alone.answers[f"cat-file blob {LOCAL}:{FLOORS}"] = f'[floors]\n"{B}" = 30\n'
    alone.codes[name_of(A, 1)] = 0
    context, output = context_of(alone.root, alone)
    with pytest.raises(Refused) as caught:
        stage.run("mutation", context)
    rules = [problem.rule.removeprefix("mutation.") for problem in caught.value.problems]
    assert rules == [
        "explanations-readable",
        "floors-readable",
        "floor-only-rises",
        "floor-or-reason",
        "explanation-fits",
        "survivor-explained",
        "floor",
    ]
    assert "\n  release/a.py  1 of 2 noticed, 1 survived" in output.getvalue()


def test_a_sample_judges_no_explanation(alone: Alone) -> None:
    """A mutant that it does not run may still need its own; nor do a few functions hold a module's floor."""
    alone.answers["rev-parse --verify --quiet HEAD^{tree}"] = "f" * 40
    explained(alone, "return 8")
    with_floors(alone.root, {A: 90}, {A: 1})
    alone.codes[name_of(A, 2)] = 0
    assert ran(alone, Options(sample=600)).kind is Kind.DONE
    assert [problem.rule for problem in refused(alone)] == ["mutation.explanation-fits", "mutation.floor"]


@pytest.mark.parametrize(
    ("options", "held"),
    [
        (Options(), True),
        (Options(shard="1/1"), True),
        (Options(sample=600), True),
        (Options(only=("release", "src")), False),
    ],
)
def test_modules_without_a_floor_are_held_together(alone: Alone, options: Options, held: bool) -> None:
    """But for chosen ones, which may be the weakest of them."""
    alone.answers["rev-parse --verify --quiet HEAD^{tree}"] = "f" * 40
    with_floors(alone.root, {"*": 90})
    alone.codes = {name_of(module, number): 0 for module in (A, B, C) for number in (1, 2)}
    if held:
        assert [problem.rule for problem in refused(alone, options)] == ["mutation.floor"]
    else:
        assert ran(alone, options).kind is Kind.DONE


def test_a_sample_of_nothing_is_told(alone: Alone) -> None:
    """It proves nothing."""
    alone.answers["rev-parse --verify --quiet HEAD^{tree}"] = "f" * 40
    alone.late = True
    assert refused(alone, Options(sample=600)) == [
        Problem(
            rule="mutation.sample-judged",
            where="--sample 600",
            what="not one mutant was judged in that time",
            remedy="give it more seconds, or look at what else this machine is doing",
        )
    ]


def test_nothing_that_differs_is_said(alone: Alone) -> None:
    """Nothing to do is not the same as nothing found."""
    alone.answers |= {BOTH: LOCAL, f"merge-base {LOCAL} HEAD": "0" * 40}
    alone.answers |= {f"diff --name-only -z {'0' * 40} --": "README.md", OTHERS: ""}
    assert ran(alone, Options(changed=True)) == Report(
        kind=Kind.DONE, sentence="no module to mutate: nothing differs from origin/main"
    )


@pytest.mark.parametrize(("refs", "main"), [([LOCAL], LOCAL), ([LOCAL, REMOTE], REMOTE)])
def test_what_differs_from_the_main_branch_is_judged(alone: Alone, refs: list[str], main: str) -> None:
    """Committed, uncommitted and new: from where the branch left the remote's main, if that is known."""
    alone.answers |= {BOTH: "\n".join(refs), f"merge-base {main} HEAD": f"{'0' * 40}\n"}
    alone.answers |= {f"diff --name-only -z {'0' * 40} --": f"{B}\0README.md\0", OTHERS: f"{C}\0"}
    ran(alone, Options(changed=True))
    assert judged(alone) == [B, C]


def test_without_a_main_branch_nothing_can_differ(alone: Alone) -> None:
    """A shallow clone of a branch cannot say what it changed."""
    alone.answers[BOTH] = ""
    assert refused(alone, Options(changed=True)) == [
        Problem(
            rule="mutation.main-known",
            where="the git checkout",
            what="has neither origin/main nor main, so what has changed is not known",
            remedy="fetch the main branch, or leave --changed out",
        )
    ]


def test_the_floors_of_before_are_the_remotes(alone: Alone) -> None:
    """Or the local main's; where neither has any, floors only begin."""
    with_floors(alone.root, {A: 40})
    alone.answers[f"cat-file blob {LOCAL}:{FLOORS}"] = f'[floors]\n"{A}" = 50\n'
    (problem,) = refused(alone)
    assert problem.what == "was 50 % on the main branch and is 40 %"
    alone.answers[f"cat-file blob {REMOTE}:{FLOORS}"] = f'[floors]\n"{A}" = 30\n'
    assert ran(alone).kind is Kind.DONE
    alone.answers.clear()
    assert ran(alone).kind is Kind.DONE


@pytest.mark.parametrize(
    ("only", "modules"),
    [((B, "src", B), [B, C]), (("src/",), [C]), (("src", "release"), [A, B, LONELY, C])],
)
def test_named_modules_are_judged_in_the_trees_order(
    alone: Alone, only: tuple[str, ...], modules: list[str]
) -> None:
    """A module, or all below a folder, each once."""
    ran(alone, Options(only=only))
    assert judged(alone) == modules


@pytest.mark.parametrize("name", ["release/gone.py", "release/left_out.py", "tests", "src/pk"])
def test_a_name_of_no_module_is_told(alone: Alone, name: str) -> None:
    """A mistyped name is not a module without survivors."""
    what = f"--only {name} is no module that is mutated, and no folder of such"
    assert refused(alone, Options(only=(A, name))) == [
        Problem(rule="mutation.options", where="the command line", what=what, remedy=OPTIONS)
    ]


def planned(alone: Alone, options: Options, monkeypatch: pytest.MonkeyPatch) -> Campaign:
    """The campaign that a run begins."""
    made: list[Campaign] = []

    def measure(self: Campaign) -> list[object]:
        made.append(self)
        return []

    monkeypatch.setattr(Campaign, "measure", measure)
    (alone.root / "docs").mkdir()
    (alone.root / "docs/conf.py").write_text("no Python", encoding="utf-8")
    settings = f'[tool.tta-release.mutation-tests]\n"{A}" = ["tests/library"]\n'
    with (alone.root / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(settings)
    if options.sample:
        refused(alone, options)
    else:
        ran(alone, options)
    return made[0]


def test_a_campaign_knows_the_tree_and_who_judges_whom(alone: Alone, monkeypatch: pytest.MonkeyPatch) -> None:
    """It works on a copy; what is no code of ours is not read, and what verdicts depend on is digested."""
    digests: list[object] = []

    def digest(root: Path, names: Sequence[str], *, tool: str) -> str:
        digests.extend([root.name, tool, outside(root, names, tool=tool)])
        return "digest"

    monkeypatch.setattr(stage, "outside", digest)
    made = planned(alone, Options(only=(A, C)), monkeypatch)
    assert made.context.root == alone.root
    assert made.scope == Scope(part=Part.ONLY, only=(A, C))
    assert made.scratch.name.startswith("tta-mutation-")
    assert made.modules == [A, C]
    assert {name for name in made.graph.sources if not name.startswith(("release/", "src/"))} == {
        name for name in TREE if name.startswith("tests/")
    }
    assert made.graph.sources[B] == TREE[B]
    assert made.graph.own_tests(A) == ("tests/library/test_c.py",)
    assert made.settings.roots == ("src", "release")
    assert (made.seed, made.outside) == ("", "digest")
    assert digests[:2] == ["pristine", "3.8.1"]
    assert (made.kept.folder, made.kept.tool) == (alone.root / "mutants", "3.8.1")
    assert not made.scratch.exists()


@pytest.mark.parametrize(("tree", "first"), [("e" * 40, A), ("f" * 40, B)])
def test_a_samples_campaign_takes_the_commits_tree_for_its_seed(
    alone: Alone, monkeypatch: pytest.MonkeyPatch, tree: str, first: str
) -> None:
    """Two samples of one commit are the same, those of two may differ, and none is remembered."""
    alone.answers["rev-parse --verify --quiet HEAD^{tree}"] = tree
    made = planned(alone, Options(sample=600), monkeypatch)
    assert (made.seed, made.outside) == (tree, "")
    assert made.kept.folder == made.scratch / "kept"
    assert made.modules == sampled_modules(made.graph, [A, B, LONELY, C], seed=tree)
    assert made.modules[0] == first


def test_a_tree_without_files_of_floors_has_none(alone: Alone) -> None:
    """Both files may be absent in a tree that begins with mutation."""
    (alone.root / FLOORS).unlink()
    assert {problem.rule for problem in refused(alone)} == {"mutation.floor-or-reason"}


def test_a_missing_tool_is_named_with_its_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test environment has no mutmut; Windows has none that works."""
    remedy = "run `nox -s mutation`, which installs its lock; on Windows run it in WSL"

    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    for platform, version, what in (
        ("win32", {"mutmut": "3.9.9"}.__getitem__, "does not run on Windows"),
        ("linux", absent, "is not installed for this Python"),
    ):
        monkeypatch.setattr(importlib.metadata, "version", version)
        with pytest.raises(Refused) as caught:
            VERSION(platform)
        assert caught.value.problems == (
            Problem(rule="mutation.tool", where="mutmut", what=what, remedy=remedy),
        )
    monkeypatch.setattr(importlib.metadata, "version", {"mutmut": "3.9.9"}.__getitem__)
    assert VERSION("linux") == "3.9.9"
