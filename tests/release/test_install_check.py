"""One clean installation: what it proves, and each way in which it may fail."""

import os
import sys
from pathlib import Path

import pytest

from release import environments
from release.environments import Tool
from release.install_check import Candidate, Leg, Proof, check, legs, proof_problems
from release.model import Refused
from release.rules.archives import digest_of, read_archive
from release.runner import LocalRunner, Runner
from tests.release.build_support import FILES, Built, built, exported, rules, zipped
from tests.release.smoke_support import Played, proof_of

PYTHONS = {"3.12": "/a/python3.12", "3.13": "/a/python3.13", "3.14": "/a/python3.14"}


def candidate(made: Built, folder: Path) -> Candidate:
    """The tiny project as a candidate; its files stand in `folder`."""
    for name, data in made.files.items():
        (folder / name).write_bytes(data)
    lock = folder / "runtime.txt"
    lock.touch()
    shipped = exported(
        {name: FILES[name] for name in FILES if name.startswith(("examples", "tests"))}, folder / "s"
    )
    sdist, wheel = made.artifacts
    return Candidate(
        project=made.declared.name,
        version=str(made.declared.version),
        wheel=wheel,
        sdist=sdist,
        source=folder,
        contents=read_archive(wheel.name, made.wheel),
        shipped=shipped,
        runtime_lock=lock,
        test_lock=lock,
        wheels=None,
    )


def leg(tool: Tool = Tool.UV, *, kind: str = "wheel", shipped_tests: bool = False) -> Leg:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return Leg(kind=kind, tool=tool, python=version, interpreter=sys.executable, shipped_tests=shipped_tests)


def refused(runner: Runner, chosen: Leg, tmp_path: Path) -> list[str]:
    with pytest.raises(Refused) as caught:
        check(runner, chosen, candidate(built(), tmp_path), tmp_path / "leg")
    assert all(problem.where.startswith(chosen.name) for problem in caught.value.problems)
    return rules(caught.value.problems)


def test_both_artefacts_are_installed_by_both_tools_on_the_oldest_and_newest_python() -> None:
    """The four combinations, the shipped tests once."""
    chosen = legs(PYTHONS, fast=False, shipped_tests=True)
    assert {(each.kind, each.tool) for each in chosen} == {
        (kind, tool) for kind in ("wheel", "sdist") for tool in Tool
    }
    assert {each.python for each in chosen} == {"3.12", "3.14"}
    assert {each.interpreter for each in chosen} == {"/a/python3.12", "/a/python3.14"}
    assert [each.shipped_tests for each in chosen].count(True) == 1
    assert next(each for each in chosen if each.shipped_tests).kind == "sdist"


def test_a_fast_smoke_still_installs_both_artefacts_by_one_tool_each() -> None:
    """Half the work, both files, both tools, no shipped tests."""
    chosen = legs({"3.12": "/a/python3.12"}, fast=True, shipped_tests=False)
    assert {(each.kind, each.tool) for each in chosen} == {("wheel", Tool.PIP), ("sdist", Tool.UV)}
    assert not any(each.shipped_tests for each in chosen)


def test_a_wheel_is_really_installed_imported_and_used(tmp_path: Path) -> None:
    """Everything for real: environment, installer, probe, command, example."""
    made = built()
    info = f"{made.declared.stem}.dist-info"
    members = {member.name: member.data for member in read_archive("tiny.whl", made.wheel).members}
    lines = members[f"{info}/METADATA"].splitlines(keepends=True)
    members[f"{info}/METADATA"] = b"".join(line for line in lines if not line.startswith(b"Requires-Dist"))
    record = "".join(f"{name},,\n" for name in members)
    members[f"{info}/RECORD"] = record.encode()
    alone = Built(
        tree=made.tree, declared=made.declared, wheel=zipped(list(members.items())), sdist=made.sdist
    )
    said = check(LocalRunner(), leg(), candidate(alone, tmp_path), tmp_path / "leg")
    assert said == "3 modules, 1 commands, 1 examples"


@pytest.mark.parametrize("tool", Tool)
def test_a_missing_dependency_is_refused(tool: Tool, tmp_path: Path) -> None:
    """The real check of each installer finds what the lock forgot."""
    home = tmp_path / "home"
    home.mkdir()
    chosen = candidate(built(), tmp_path)
    environment = environments.create(LocalRunner(), sys.executable, tmp_path / "env", home=home)
    environments.install_candidate(
        LocalRunner(),
        environment,
        chosen.wheel,
        requirement="tiny-demo==1.2.0",
        source=tmp_path,
        tool=Tool.UV,
        home=home,
    )
    done = environments.check(LocalRunner(), environment, tool=tool, home=home)
    assert done.code == 1
    assert "pydantic" in done.tail()


def test_a_candidate_with_another_digest_is_refused(tmp_path: Path) -> None:
    """The real installer refuses it, and says which digest it found."""
    made = built()
    chosen = candidate(made, tmp_path)
    path = tmp_path / chosen.wheel.name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(Refused) as caught:
        check(LocalRunner(), leg(), chosen, tmp_path / "leg")
    assert rules(caught.value.problems) == ["smoke.installs"]


@pytest.mark.parametrize(
    ("rule", "fails"),
    [
        ("smoke.installs", "candidate-uv.txt"),
        ("smoke.complete", "check"),
        ("smoke.imports", "smoke_probe.py"),
        ("smoke.command", "--help"),
        ("smoke.example", "hello.py"),
        ("smoke.shipped-tests", "pytest"),
    ],
)
def test_each_step_that_fails_is_named_with_what_was_said(rule: str, fails: str, tmp_path: Path) -> None:
    """A person sees the step, the leg and the tool's own words."""
    assert refused(Played(fails=fails), leg(kind="sdist", shipped_tests=True), tmp_path) == [rule]


def test_a_leg_with_shipped_tests_reports_their_summary(tmp_path: Path) -> None:
    """The tests run from the sdist's folder, against what is installed, with tools from their own lock."""
    runner = Played()
    said = check(
        runner, leg(kind="sdist", shipped_tests=True), candidate(built(), tmp_path), tmp_path / "leg"
    )
    assert said == "3 modules, 1 commands, 1 examples, shipped tests: 12 passed in 0.10s"
    assert next(words for words in runner.ran if "pytest" in words)[-1] == "tests/library"


def test_whatever_runs_has_the_legs_own_home_and_an_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkout that is near, or a person's settings, would be tried instead of the candidate."""
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    runner, folder, made = Played(), tmp_path / "leg", candidate(built(), tmp_path)
    check(runner, leg(shipped_tests=True), made, folder)
    scripts = environments.Environment(folder=folder / "env", made_by="").scripts
    used = [
        (given, words)
        for given, words in zip(runner.given, runner.ran, strict=True)
        if Path(words[0]).parent == scripts
    ]
    places = [(Path(words[-1]).name, cwd) for (cwd, _), words in used]
    assert places == [
        ("proof.json", folder / "empty"),
        ("--help", folder / "empty"),
        ("hello.py", folder / "empty"),
        ("library", made.shipped),
    ]
    assert all(env["HOME"] == str(folder / "home") and "PYTHONPATH" not in env for _, env in runner.given)
    activated = [env.get("VIRTUAL_ENV", "") for (_, env), _ in used]
    assert activated == ["", str(folder / "env"), str(folder / "env"), ""]
    assert used[1][0][1]["PATH"].split(os.pathsep)[0] == str(scripts)


def test_a_probe_that_leaves_no_report_is_refused(tmp_path: Path) -> None:
    """A module that ends the interpreter with success proves nothing."""
    assert refused(Played(report="{}"), leg(), tmp_path) == ["smoke.imports"]


def test_what_the_probe_found_is_judged(tmp_path: Path) -> None:
    """An installation that works is not yet the right one."""
    proof = proof_of(built(), tmp_path / "leg/env").model_copy(update={"version": "9"})
    assert refused(Played(report=proof.model_dump_json()), leg(), tmp_path) == ["smoke.version"]


def found(tmp_path: Path, proof: Proof) -> list[str]:
    return rules(proof_problems(proof, candidate(built(), tmp_path), leg(), tmp_path))


def test_an_installation_as_it_should_be_has_no_problem(tmp_path: Path) -> None:
    """What installers add of their own is expected."""
    assert found(tmp_path, proof_of(built(), tmp_path)) == []


def test_a_module_from_anywhere_else_is_refused(tmp_path: Path) -> None:
    """What was tried is what was installed, and not a checkout that happened to be near."""
    proof = proof_of(built(), tmp_path)
    proof.modules["tiny_demo"] = "/elsewhere/tiny_demo/__init__.py"
    assert found(tmp_path, proof) == ["smoke.from-there"]


def test_a_module_that_nothing_imports_is_refused(tmp_path: Path) -> None:
    """A folder without `__init__.py` hides its modules from every walk through the package."""
    proof = proof_of(built(), tmp_path)
    del proof.modules["tiny_demo.inner.part"]
    assert found(tmp_path, proof) == ["smoke.every-module"]


@pytest.mark.parametrize("change", ["edited", "missing", "extra", "extra in the info"])
def test_installed_files_that_are_not_the_wheels_are_refused(tmp_path: Path, change: str) -> None:
    """The installed bytes are the ledger's, whichever artefact they came from."""
    proof = proof_of(built(), tmp_path)
    if change == "edited":
        proof.files["tiny_demo/script.lua"] = digest_of(b"other")
    elif change == "missing":
        del proof.files["tiny_demo/script.lua"]
    elif change == "extra":
        proof.files["tiny_demo/INSTALLER"] = digest_of(b"")
    else:
        proof.files[f"{built().declared.stem}.dist-info/evil"] = digest_of(b"")
    assert found(tmp_path, proof) == ["smoke.files"]


def test_another_version_or_none_is_refused(tmp_path: Path) -> None:
    """What pip believes to be installed is what was meant."""
    proof = proof_of(built(), tmp_path)
    assert found(tmp_path, proof.model_copy(update={"version": "1.2.1"})) == ["smoke.version"]
    assert found(tmp_path, proof.model_copy(update={"distributions": ["other"]})) == ["smoke.version"]
