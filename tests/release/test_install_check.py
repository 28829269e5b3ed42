"""One clean installation: what it proves, and each way in which it may fail."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from release import environments, smoke_probe
from release.environments import Tool
from release.install_check import Candidate, Leg, Proof, check, legs, proof_problems
from release.model import Refused
from release.rules.archives import Member, digest_of, read_archive
from release.runner import LocalRunner, Runner
from tests.release.build_support import FILES, Built, built, exported, rules, zipped
from tests.release.smoke_support import Played, proof_of

PYTHONS = {"3.12": "/a/python3.12", "3.13": "/a/python3.13", "3.14": "/a/python3.14"}
INFO = "tiny_demo-1.2.0.dist-info"


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
    assert [(each.name, each.interpreter, each.shipped_tests) for each in chosen] == [
        ("sdist by uv on Python 3.12", "/a/python3.12", True),
        ("wheel by pip on Python 3.14", "/a/python3.14", False),
        ("sdist by pip on Python 3.14", "/a/python3.14", False),
        ("wheel by uv on Python 3.12", "/a/python3.12", False),
    ]


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
    ("rule", "fails", "where", "remedy"),
    [
        ("installs", "candidate-uv.txt", "tiny_demo-1.2.0.tar.gz", "look at what the installer says"),
        ("complete", "check", "pip check", "mend the dependencies"),
        ("imports", "smoke_probe.py", "every module", "mend it and commit"),
        ("command", "--help", "tiny-demo", "mend it and commit"),
        ("example", "hello.py", "examples/hello.py", "mend it and commit"),
        ("shipped-tests", "pytest", "tests/library", "mend it and commit"),
    ],
)
def test_each_step_that_fails_is_named_with_what_was_said(
    rule: str, fails: str, where: str, remedy: str, tmp_path: Path
) -> None:
    """A person sees the step, the leg and the tool's own words."""
    chosen = leg(kind="sdist", shipped_tests=True)
    with pytest.raises(Refused) as caught:
        check(Played(fails=fails), chosen, candidate(built(), tmp_path), tmp_path / "leg")
    (problem,) = caught.value.problems
    assert (problem.rule, problem.where) == (f"smoke.{rule}", f"{chosen.name}: {where}")
    assert problem.what == "failed with exit code 1:\nit failed here"
    assert problem.remedy.startswith(remedy)


def test_a_leg_with_shipped_tests_reports_their_summary(tmp_path: Path) -> None:
    """The tests run from the sdist's folder, against what is installed, with tools from their own lock."""
    runner, made = Played(), candidate(built(), tmp_path)
    said = check(runner, leg(kind="sdist", shipped_tests=True), made, tmp_path / "leg")
    assert said == "3 modules, 1 commands, 1 examples, shipped tests: 12 passed in 0.10s"
    tests = next(words for words in runner.ran if "pytest" in words)
    assert tests[1:] == [
        *("-I", "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider"),
        *("-m", "not slow and not network", "tests/library"),
    ]


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
@pytest.mark.parametrize("tool", Tool)
def test_the_legs_installer_brings_locked_sets_and_one_artefact(
    tool: Tool, kind: str, tmp_path: Path
) -> None:
    """Each from where the candidate says: the set before the candidate, the test tools last."""
    runner, made = Played(), candidate(built(), tmp_path)
    made = replace(made, wheels=tmp_path / "wheels", test_lock=tmp_path / "test.txt")
    check(
        runner,
        replace(leg(tool, kind=kind, shipped_tests=True), interpreter="/a/python"),
        made,
        tmp_path / "leg",
    )
    home, environment = (
        tmp_path / "leg/home",
        environments.Environment(folder=tmp_path / "leg/env", made_by=""),
    )
    pinned = home / f"candidate-{tool.value}.txt"
    installs = [words for words in runner.ran if "install" in words]
    assert [words[words.index("--requirement") + 1] for words in installs] == [
        str(made.runtime_lock),
        str(pinned),
        str(made.test_lock),
    ]
    assert [words[words.index("--find-links") + 1] for words in installs] == [
        str(made.wheels),
        str(made.source),
        str(made.wheels),
    ]
    whole = runner.ran[3]
    assert "check" in whole
    for words in (*installs, whole):
        assert words[3] == tool.value
        assert f"--python={environment.python}" in words
    assert runner.ran[0] == ["/a/python", "-I", "-m", "venv", "--without-pip", str(environment.folder)]
    assert {runner.given[at][0] for at in (0, 1, 2, 3, 7)} == {home}
    artefact = made.wheel if kind == "wheel" else made.sdist
    assert pinned.read_text(encoding="utf-8") == f"tiny-demo==1.2.0 --hash=sha256:{artefact.sha256}\n"


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
    assert [runner.waits[runner.ran.index(words)] for _, words in used] == [120, 120, 120, 600]
    assert used[0][1][1:] == ["-I", smoke_probe.__file__, "tiny-demo", str(folder / "proof.json")]
    activated = [env.get("VIRTUAL_ENV", "") for (_, env), _ in used]
    assert activated == ["", str(folder / "env"), str(folder / "env"), ""]
    assert used[1][0][1]["PATH"].split(os.pathsep)[0] == str(scripts)


def test_a_probe_that_leaves_no_report_is_refused(tmp_path: Path) -> None:
    """A module that ends the interpreter with success proves nothing."""
    with pytest.raises(Refused) as caught:
        check(Played(report="{}"), leg(), candidate(built(), tmp_path), tmp_path / "leg")
    (problem,) = caught.value.problems
    assert (problem.rule, problem.where) == ("smoke.imports", f"{leg().name}: every module")
    assert problem.what.startswith("left no report: ")
    assert "ends the interpreter" in problem.remedy


def test_what_the_probe_found_is_judged(tmp_path: Path) -> None:
    """An installation that works is not yet the right one."""
    proof = proof_of(built(), tmp_path / "leg/env").model_copy(update={"version": "9"})
    assert refused(Played(report=proof.model_dump_json()), leg(), tmp_path) == ["smoke.version"]


def found(tmp_path: Path, proof: Proof, *members: Member) -> list[tuple[str, str]]:
    """Rule and place of each problem, where the wheel holds these members as well."""
    made = candidate(built(), tmp_path)
    made = replace(made, contents=replace(made.contents, members=(*made.contents.members, *members)))
    problems = proof_problems(proof, made, leg(), tmp_path)
    begin = f"{leg().name}: "
    assert all(problem.where.startswith(begin) for problem in problems)
    return [
        (rule.removeprefix("smoke."), problem.where.removeprefix(begin))
        for rule, problem in zip(rules(problems), problems, strict=True)
    ]


def test_an_installation_as_it_should_be_has_no_problem(tmp_path: Path) -> None:
    """What installers add of their own is expected, commands by their name on each platform among it."""
    proof = proof_of(built(), tmp_path)
    proof.files["../../../Scripts/tiny-demo.exe"] = digest_of(b"")
    assert found(tmp_path, proof) == []


def test_a_program_of_the_package_need_not_be_imported(tmp_path: Path) -> None:
    """`__main__` does its work when it is imported, so the walk leaves it out."""
    name = "tiny_demo/__main__.py"
    proof = proof_of(built(), tmp_path)
    proof.files[name] = digest_of(b"")
    program = replace(candidate(built(), tmp_path).contents.members[0], name=name, data=b"")
    assert found(tmp_path, proof, program) == []


def test_modules_from_anywhere_else_are_refused(tmp_path: Path) -> None:
    """What was tried is what was installed, and not a checkout that happened to be near."""
    proof = proof_of(built(), tmp_path)
    proof.modules["tiny_demo.inner"] = f"{tmp_path}/../tiny_demo/inner/__init__.py"
    proof.modules["tiny_demo"] = "/elsewhere/tiny_demo/__init__.py"
    assert found(tmp_path, proof) == [("from-there", "tiny_demo"), ("from-there", "tiny_demo.inner")]


def test_modules_that_nothing_imports_are_refused(tmp_path: Path) -> None:
    """A folder without `__init__.py` hides its modules from every walk through the package."""
    proof = proof_of(built(), tmp_path)
    del proof.modules["tiny_demo.inner.part"], proof.modules["tiny_demo.inner"]
    made = candidate(built(), tmp_path)
    problems = proof_problems(proof, made, leg(), tmp_path)
    assert [problem.where.rpartition(" ")[2] for problem in problems] == [
        "tiny_demo.inner",
        "tiny_demo.inner.part",
    ]
    assert {problem.rule for problem in problems} == {"smoke.every-module"}
    assert all("__init__.py" in problem.remedy for problem in problems)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("tiny_demo/script.lua", b"other"),
        ("tiny_demo/script.lua", None),
        ("tiny_demo/INSTALLER", b""),
        (f"{INFO}/evil", b""),
        (f"{INFO}/inner/INSTALLER", b""),
        ("../../../bin/other", b""),
        ("bin/tiny-demo", b""),
    ],
)
def test_installed_files_that_are_not_the_wheels_are_refused(
    tmp_path: Path, name: str, data: bytes | None
) -> None:
    """The installed bytes are the ledger's, whichever artefact they came from."""
    proof = proof_of(built(), tmp_path)
    proof.files.pop(name, None)
    if data is not None:
        proof.files[name] = digest_of(data)
    assert found(tmp_path, proof) == [("files", name)]


def test_every_file_that_differs_is_named(tmp_path: Path) -> None:
    """What an installer adds, and what is as it should be, ends no search."""
    proof = proof_of(built(), tmp_path)
    names = [name for name in proof.files if name.startswith("tiny_demo/")]
    assert len(names) > 2
    for name in names:
        proof.files[name] = digest_of(b"other")
    assert found(tmp_path, proof) == [("files", name) for name in sorted(names)]


def test_another_version_or_none_is_refused(tmp_path: Path) -> None:
    """What pip believes to be installed is what was meant."""
    proof, other = proof_of(built(), tmp_path), [("version", "tiny-demo")]
    assert found(tmp_path, proof.model_copy(update={"version": "1.2.1"})) == other
    assert found(tmp_path, proof.model_copy(update={"distributions": ["other"]})) == other
    assert found(tmp_path, proof.model_copy(update={"distributions": ["other", "Tiny_Demo"]})) == []
