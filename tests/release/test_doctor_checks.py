"""Each check of the doctor by itself, with git and the machine played: what it finds and says."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from release import doctor, pythons
from release.context import Context
from release.doctor import RUNBOOK, Finding, State
from release.model import Checked, Kind, Problem, Refused
from release.publisher import FILE, PublisherFacts
from release.rules import pins, release_graph, workflows
from release.runner import LocalRunner
from tests.release.gates.support import ScriptedRunner, make_context
from tests.release.publish_support import PUBLISHER

Check = Callable[[Context], Iterator[Finding]]
SIGNERS = ".github/allowed_signers"
KEY = 'a@example.org namespaces="git" ssh-ed25519 AAAA'


def found(check: Check, root: Path, answers: Mapping[str, str] | None = None) -> list[Finding]:
    """What a check finds where git gives these answers, by its words, and fails at all others."""

    def git(words: list[str], env: Mapping[str, str]) -> tuple[int, str]:
        assert words[0] == "git"
        assert env == {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
        said = (answers or {}).get(" ".join(words[1:]))
        return (1, "fatal") if said is None else (0, f"{said}\n")

    runner = ScriptedRunner(git)
    findings = list(check(make_context(root, runner)[0]))
    assert set(runner.folders) <= {root}
    return findings


def written(root: Path, name: str, text: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def ok(what: str, found: str, remedy: str = "") -> Finding:
    return Finding(what=what, state=State.OK, found=found, remedy=remedy)


def test_the_report_counts_shows_and_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line for each finding with what to do; only what is wrong is a problem."""

    def first(context: Context) -> Iterator[Finding]:
        assert context.root == tmp_path
        yield ok("a", "is there")
        yield Finding(what="b", state=State.NOT_YET, found="is not there", remedy="make it")

    def _second(context: Context) -> Iterator[Finding]:
        yield ok("c", f"is in {context.root}")
        raise ValueError("line 3")

    monkeypatch.setattr(doctor, "CHECKS", (_second, first))
    report = doctor.run("doctor", make_context(tmp_path, LocalRunner())[0])
    remedy = "restore the file from git, or mend what is named in it"
    assert report.kind is Kind.REFUSED
    assert report.sentence == "1 ok, 1 not yet, 0 cannot be seen from here, 1 wrong"
    assert report.checked == [
        Checked(what="second", found=f"wrong: cannot be looked at: ValueError: line 3 -> {remedy}"),
        Checked(what="a", found="ok: is there"),
        Checked(what="b", found="not yet: is not there -> make it"),
    ]
    assert report.problems == [
        Problem(
            rule="doctor.wrong",
            where="second",
            what="cannot be looked at: ValueError: line 3",
            remedy=remedy,
        )
    ]
    assert report.figures == {"ok": 1, "not_yet": 1, "unseen": 0, "wrong": 1}
    monkeypatch.setattr(doctor, "CHECKS", (first,))
    report = doctor.run("doctor", make_context(tmp_path, LocalRunner())[0])
    assert (report.kind, report.problems) == (Kind.DONE, [])


def test_the_publishers_facts_are_shown(tmp_path: Path) -> None:
    """Owner, repository, workflow and environments: what a person compares with the index's page."""
    written(tmp_path, FILE, PUBLISHER)
    address = "git@github.com:somebody/Demo-Project.git"
    assert found(doctor._publisher, tmp_path, {"remote get-url origin": address}) == [
        ok(FILE, "Somebody/demo-project, release.yml, environments testpypi and pypi"),
        ok(f"{FILE} owner-id", "4711"),
        ok("remote origin", "is Somebody/demo-project"),
    ]


def test_an_owner_without_a_number_is_told_how_to_find_it(tmp_path: Path) -> None:
    """Names change hands, numbers do not."""
    written(tmp_path, FILE, PUBLISHER.replace("4711", ""))
    assert found(doctor._publisher, tmp_path)[1] == Finding(
        what=f"{FILE} owner-id",
        state=State.NOT_YET,
        found="is empty",
        remedy="write what `gh api users/Somebody --jq .id` prints into it",
    )


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (None, "is not set"),
        ("https://github.com/somebody/fork", "is another repository"),
        ("https://github.com/nosomebody/demo-project", "is another repository"),
        ("https://github.com/somebody/demo-project/fork", "is another repository"),
    ],
)
def test_a_clone_of_anything_else_is_named(tmp_path: Path, address: str | None, said: str) -> None:
    """A fork's workflow has another identity, which no index trusts."""
    written(tmp_path, FILE, PUBLISHER)
    answers = {} if address is None else {"remote get-url origin": address}
    assert found(doctor._publisher, tmp_path, answers)[-1] == Finding(
        what="remote origin",
        state=State.NOT_YET,
        found=said,
        remedy="release from a clone of https://github.com/Somebody/demo-project",
    )


@pytest.mark.parametrize(
    "address", ["https://github.com/SOMEBODY/demo-project", "x:Somebody/demo-project.git"]
)
def test_an_address_of_the_repository_may_have_any_form(tmp_path: Path, address: str) -> None:
    written(tmp_path, FILE, PUBLISHER)
    assert found(doctor._publisher, tmp_path, {"remote get-url origin": address})[-1].state is State.OK


def test_every_broken_fact_is_shown_as_it_is_refused(tmp_path: Path) -> None:
    """The same words as in the stage that would refuse them."""
    written(tmp_path, FILE, PUBLISHER.replace("Somebody", "").replace("release.yml", ""))
    with pytest.raises(Refused) as caught:
        PublisherFacts.read(tmp_path)
    assert len(caught.value.problems) == 2
    assert found(doctor._publisher, tmp_path) == [
        Finding(what=each.where, state=State.WRONG, found=each.what, remedy=each.remedy)
        for each in caught.value.problems
    ]


def test_what_is_wrong_with_workflows_and_pins_is_shown_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of the two may be sound while the other one is not."""
    problem = Problem(rule="x.y", where=".github/workflows/ci.yml line 3", what="is odd", remedy="mend it")
    wrong = Finding(what=problem.where, state=State.WRONG, found="is odd", remedy="mend it")
    proven = len(workflows.RULES) + len(release_graph.RULES) + len(pins.RULES)
    graph = ok("workflows", f"{proven} graph properties are proven")
    pinned = ok(pins.FILE, "every action is listed, by its full SHA")
    broken: list[object] = []

    def judge(module: object) -> Callable[[Path], list[Problem]]:
        def check(root: Path) -> list[Problem]:
            assert root == tmp_path
            return [problem] if module in broken else []

        return check

    for module in (workflows, pins):
        monkeypatch.setattr(module, "check", judge(module))
    assert found(doctor._workflows, tmp_path) == [graph, pinned]
    broken.append(pins)
    assert found(doctor._workflows, tmp_path) == [graph, wrong]
    broken.append(workflows)
    assert found(doctor._workflows, tmp_path) == [wrong, wrong]


@pytest.mark.parametrize(
    ("text", "state", "said", "remedy"),
    [
        (f"# Keys\n\n{KEY}\n  \n{KEY}\n", State.OK, "2 keys may sign", ""),
        (
            "# No key\n",
            State.NOT_YET,
            "lists no key",
            f"a maintainer adds the public half of a key; {RUNBOOK}, step 4",
        ),
        (
            f"{KEY}\na@b ssh-ed25519 AAAA\n{KEY}\n",
            State.WRONG,
            "1 of 3 lines are not a signer for git",
            f'write `name@example.org namespaces="git" ssh-ed25519 AAAA...`; {RUNBOOK}, step 4',
        ),
        (
            None,
            State.WRONG,
            "does not exist",
            "restore it from git: a release is signed by a key that it lists",
        ),
    ],
)
def test_the_list_of_signers_is_read(
    tmp_path: Path, text: str | None, state: State, said: str, remedy: str
) -> None:
    """Comments and empty lines are no keys; a line that git would pass over is wrong."""
    if text is not None:
        written(tmp_path, SIGNERS, text)
    assert found(doctor._signers, tmp_path) == [Finding(what=SIGNERS, state=state, found=said, remedy=remedy)]


@pytest.mark.parametrize(
    ("form", "key", "said"),
    [
        (None, None, "gpg.format is not set, user.signingkey is not set"),
        ("ssh", None, "gpg.format is ssh, user.signingkey is not set"),
        ("openpgp", "AB12", "gpg.format is openpgp, user.signingkey is set"),
        ("ssh", "key.pub", None),
    ],
)
def test_whether_git_signs_with_an_ssh_key(
    tmp_path: Path, form: str | None, key: str | None, said: str | None
) -> None:
    """Any other signature is not judged by the list of signers."""
    values = {"config gpg.format": form, "config user.signingkey": key}
    answers = {words: value for words, value in values.items() if value is not None}
    wanted = ok("git tag --sign", "signs with an SSH key")
    if said is not None:
        remedy = f"`git config gpg.format ssh` and `git config user.signingkey KEY.pub`; {RUNBOOK}, step 4"
        wanted = Finding(what="git tag --sign", state=State.NOT_YET, found=said, remedy=remedy)
    assert found(doctor._signing, tmp_path, answers) == [wanted]


OLDEST, *_, NEWEST = pythons.SUPPORTED


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (f"{NEWEST}\n{OLDEST}\n", None),
        ("\n".join(pythons.SUPPORTED), None),
        (f"{NEWEST}\n2.7\n", f"{NEWEST}, 2.7"),
        ("\n", "no Python"),
        (None, "no Python"),
    ],
)
def test_the_pythons_of_a_checkout_are_supported_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, names: str | None
) -> None:
    """What a maintainer's tools take from the file is what is tested."""
    monkeypatch.setattr(pythons, "found", lambda: dict.fromkeys(pythons.SUPPORTED, "python"))
    if text is not None:
        written(tmp_path, ".python-version", text)
    wanted = ok(".python-version", ", ".join((text or "").split()))
    if names is not None:
        remedy = f"name Pythons of {', '.join(pythons.SUPPORTED)}, one a line"
        wanted = Finding(what=".python-version", state=State.WRONG, found=f"names {names}", remedy=remedy)
    assert found(doctor._pythons, tmp_path) == [wanted, ok("Pythons", ", ".join(pythons.SUPPORTED))]


@pytest.mark.parametrize("here", [[], [NEWEST], [OLDEST, NEWEST]])
def test_pythons_that_are_not_here_are_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: list[str]
) -> None:
    """The hosted runners have all of them."""
    monkeypatch.setattr(pythons, "SUPPORTED", (OLDEST, "3.99", "3.98", NEWEST))
    monkeypatch.setattr(pythons, "found", lambda: dict.fromkeys(here, "python"))
    absent = [version for version in pythons.SUPPORTED if version not in here]
    assert found(doctor._pythons, tmp_path)[-1] == Finding(
        what="Pythons",
        state=State.NOT_YET,
        found=f"{', '.join(here) or 'none'} here, without {', '.join(absent)}",
        remedy="the workflow has all of them; install them here to run every leg on this machine",
    )


def test_programs_are_looked_for_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing says what it is missed for."""
    monkeypatch.setattr(shutil, "which", {"git": "/usr/bin/git", "uv": "/usr/bin/uv"}.get)
    findings = {finding.what: finding for finding in found(doctor._programs, tmp_path)}
    assert [*findings] == [*doctor.PROGRAMS]
    assert findings["git"] == ok("git", "is here, for everything")
    assert findings["uv"] == ok("uv", "is here, for making environments quickly; nox[uv] brings it")
    assert findings["gh"] == Finding(
        what="gh",
        state=State.NOT_YET,
        found="is not on PATH",
        remedy="install it on the machine that needs it for announcing by hand",
    )
    assert findings["redis-server"].remedy.endswith("for testing on a real server")


GROUPS = """\
[dependency-groups]
backend = ["hatchling"]
base = ["First_One>=1"]
lint = ["ruff", {include-group = "base"}, "Pyright[x]"]
"""


def test_locks_that_hold_what_is_asked_for_are_counted(tmp_path: Path) -> None:
    """The build backend comes with the lock of what users install, and has none of its own."""
    written(tmp_path, "pyproject.toml", GROUPS)
    written(tmp_path, "release/locks/base.txt", "first-one==1 \\\n    --hash=sha256:0\n")
    written(tmp_path, "release/locks/lint.txt", "First.One==1\nruff==2\npyright==3 ; os_name == 'nt'\n")
    assert found(doctor._locks, tmp_path) == [
        ok(
            "release/locks",
            "2 locks hold every package that pyproject.toml asks for",
            "`nox -s lock -- --check` resolves them, which needs the network",
        )
    ]


def test_every_lock_that_lacks_something_is_named(tmp_path: Path) -> None:
    """With all it lacks; nobody has to find the next one by a second run."""
    written(tmp_path, "pyproject.toml", GROUPS)
    written(tmp_path, "release/locks/lint.txt", "other==1\n# pyright\n")
    remedy = "run `nox -s lock` and commit the result"
    wrong = {"base": "does not exist", "lint": "lacks first-one, pyright, ruff"}
    assert found(doctor._locks, tmp_path) == [
        Finding(what=f"release/locks/{name}.txt", state=State.WRONG, found=said, remedy=remedy)
        for name, said in wrong.items()
    ]


def test_settings_elsewhere_are_left_to_a_person(tmp_path: Path) -> None:
    """Each with what to compare it with."""
    findings = found(doctor._elsewhere, tmp_path)
    assert {(finding.state, finding.found) for finding in findings} == {(State.UNSEEN, "is a setting")}
    assert all(RUNBOOK in finding.remedy for finding in findings)
    assert findings[0].what == "pending publishers on TestPyPI and PyPI"
