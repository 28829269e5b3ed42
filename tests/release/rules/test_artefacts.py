"""What a wheel and an sdist must hold, on artefacts of the real backend and on tampered copies of them."""

from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version

import pytest

from release.model import Problem
from release.rules.archives import read_archive
from release.rules.artefacts import Tree, expected_sdist, expected_wheel, sdist_problems, wheel_problems
from tests.release.build_support import EPOCH, Built, built, rules, tarred, zipped

BACKEND = f"hatchling {version('hatchling')}"
INFO = "tiny_demo-1.2.0.dist-info"
ROOT = "tiny_demo-1.2.0"


@pytest.fixture
def made() -> Built:
    return built()


def judge_wheel(
    made: Built, data: bytes | None = None, *, tree: Tree | None = None, name: str = ""
) -> list[Problem]:
    archive = read_archive(name or made.declared.wheel, data or made.wheel)
    return wheel_problems(archive, made.declared, tree or made.tree, epoch=EPOCH, backend=BACKEND)


def judge_sdist(made: Built, data: bytes | None = None, *, tree: Tree | None = None) -> list[Problem]:
    archive = read_archive(made.declared.sdist, data or made.sdist)
    return sdist_problems(archive, made.declared, tree or made.tree, epoch=EPOCH)


def wheel_with(made: Built, changes: Mapping[str, bytes | None]) -> bytes:
    """The wheel with members replaced, added, or (None) left out; RECORD stays as it is."""
    members = {member.name: member.data for member in read_archive(made.declared.wheel, made.wheel).members}
    merged: dict[str, bytes | None] = {**members, **changes}
    return zipped([(name, data) for name, data in merged.items() if data is not None])


def sdist_with(made: Built, changes: Mapping[str, bytes | None]) -> bytes:
    """As `wheel_with`, of the sdist."""
    members = {member.name: member.data for member in read_archive(made.declared.sdist, made.sdist).members}
    merged: dict[str, bytes | None] = {**members, **changes}
    return tarred([(name, data) for name, data in merged.items() if data is not None])


def test_what_the_backend_builds_has_no_problem(made: Built) -> None:
    """The expectation is what the real backend does: everything below differs from it in one thing."""
    assert judge_wheel(made) == []
    assert judge_sdist(made) == []


def test_repacking_alone_changes_nothing_that_is_judged(made: Built) -> None:
    """What the tampering tests find is the tampering."""
    assert judge_wheel(made, wheel_with(made, {})) == []
    assert judge_sdist(made, sdist_with(made, {})) == []


def test_the_expectation_lists_packages_licence_and_commands(made: Built) -> None:
    """A package's data files are in the wheel, other files of the tree are not."""
    wheel = expected_wheel(made.declared, made.tree)
    assert {"tiny_demo/script.lua", "tiny_demo/py.typed", "tiny_demo/inner/part.py"} <= wheel.keys()
    assert {f"{INFO}/licenses/LICENSE", f"{INFO}/entry_points.txt"} <= wheel.keys()
    assert not [name for name in wheel if "tests" in name or "README" in name]
    sdist = expected_sdist(made.declared, made.tree)
    assert {f"{ROOT}/PKG-INFO", f"{ROOT}/.gitignore", f"{ROOT}/tests/library/test_tiny.py"} <= sdist.keys()
    assert f"{ROOT}/release/locks/build.txt" not in sdist


def test_an_extra_member_of_a_wheel_is_refused(made: Built) -> None:
    """A file that is not committed cannot ride along."""
    problems = judge_wheel(made, wheel_with(made, {"tiny_demo/extra.py": b"import os\n"}))
    assert rules(problems) == ["artefact.unexpected-member", "artefact.record"]
    assert "tiny_demo/extra.py" in problems[0].where


def test_an_extra_member_of_an_sdist_is_refused(made: Built) -> None:
    """A file that is not committed cannot ride along."""
    problems = judge_sdist(made, sdist_with(made, {f"{ROOT}/src/tiny_demo/extra.py": b""}))
    assert rules(problems) == ["artefact.unexpected-member"]


def test_a_missing_member_is_refused(made: Built) -> None:
    """A package without its data file is not published."""
    problems = judge_wheel(made, wheel_with(made, {"tiny_demo/script.lua": None}))
    assert rules(problems) == ["artefact.missing-member", "artefact.record"]
    assert rules(judge_sdist(made, sdist_with(made, {f"{ROOT}/LICENSE": None}))) == [
        "artefact.missing-member"
    ]


@pytest.mark.parametrize("name", ["METADATA", "RECORD", "WHEEL", "entry_points.txt"])
def test_a_missing_generated_member_is_refused(made: Built, name: str) -> None:
    """What the backend writes is expected as the tree's files are."""
    problems = judge_wheel(made, wheel_with(made, {f"{INFO}/{name}": None}))
    assert rules(problems)[0] == "artefact.missing-member"
    assert name in problems[0].where


def test_a_project_without_commands_has_no_entry_points(made: Built) -> None:
    """A command that pyproject.toml does not declare is not installed."""
    archive = read_archive(made.declared.wheel, made.wheel)
    declared = replace(made.declared, scripts={})
    problems = wheel_problems(archive, declared, made.tree, epoch=EPOCH, backend=BACKEND)
    assert rules(problems) == ["artefact.unexpected-member", "artefact.entry-points"]
    assert problems[1].what.endswith("pyproject.toml says {}")


def test_an_edited_file_is_refused(made: Built) -> None:
    """What is installed is what was committed."""
    problems = judge_wheel(made, wheel_with(made, {"tiny_demo/inner/part.py": b"evil = 1\n"}))
    assert rules(problems) == ["artefact.member-bytes", "artefact.record"]
    edited = sdist_with(made, {f"{ROOT}/src/tiny_demo/inner/part.py": b"evil = 1\n"})
    assert rules(judge_sdist(made, edited)) == ["artefact.member-bytes"]


def test_an_edited_version_in_the_metadata_is_refused(made: Built) -> None:
    """A wheel never says that it is another version than the tree is."""
    archive = read_archive(made.declared.wheel, made.wheel)
    metadata = (archive.get(f"{INFO}/METADATA") or b"").replace(b"Version: 1.2.0\n", b"Version: 1.2.1\n")
    problems = judge_wheel(made, wheel_with(made, {f"{INFO}/METADATA": metadata}))
    assert rules(problems) == ["metadata.version", "artefact.record"]
    assert rules(judge_sdist(made, sdist_with(made, {f"{ROOT}/PKG-INFO": metadata}))) == ["metadata.version"]


def test_a_member_that_stands_twice_is_refused(made: Built) -> None:
    """Two installers would take different files."""
    members = [(each.name, each.data) for each in read_archive("a.whl", made.wheel).members]
    problems = judge_wheel(made, zipped([*members, members[0]]))
    assert rules(problems) == ["artefact.duplicate-member"]


def test_an_execute_bit_is_refused(made: Built) -> None:
    """A mode that depends on who checked out the tree is not shipped."""
    members = [(each.name, each.data) for each in read_archive("a.whl", made.wheel).members]
    problems = judge_wheel(made, zipped(members, mode=0o755))
    assert set(rules(problems)) == {"artefact.mode"}
    assert len(problems) == len(members)


def test_a_time_that_is_not_the_commits_is_refused(made: Built) -> None:
    """A build without SOURCE_DATE_EPOCH is not this pipeline's."""
    members = [(each.name, each.data) for each in read_archive("a.whl", made.wheel).members]
    assert set(rules(judge_wheel(made, zipped(members, mtime=EPOCH + 60)))) == {"artefact.time"}


def test_a_link_among_the_shipped_files_is_refused(made: Built) -> None:
    """What an archive holds for a link is not what was committed."""
    tree = replace(made.tree, links=frozenset({"src/tiny_demo/link.py", "docs/link.md"}))
    problems = judge_wheel(made, tree=tree)
    assert rules(problems) == ["artefact.member-kind"]
    assert problems[0].where == "src/tiny_demo/link.py"


def test_another_name_is_refused(made: Built) -> None:
    """A file's name is what an index and an installer go by."""
    assert rules(judge_wheel(made, name="tiny-demo-1.2.0-py3-none-any.whl")) == ["artefact.name"]


def test_another_backend_is_refused(made: Built) -> None:
    """The locked backend built the wheel, or it is not released."""
    archive = read_archive(made.declared.wheel, made.wheel)
    problems = wheel_problems(archive, made.declared, made.tree, epoch=EPOCH, backend="hatchling 0.1")
    assert rules(problems) == ["artefact.wheel-file"]


@pytest.mark.parametrize(
    "change",
    [b"Tag: py3-none-linux_x86_64", b"Tag: py3-none-any\nTag: cp312-none-any", b"Root-Is-Purelib: false"],
)
def test_a_wheel_for_other_platforms_is_refused(made: Built, change: bytes) -> None:
    """WHEEL says pure and any, as the file's name does."""
    archive = read_archive(made.declared.wheel, made.wheel)
    key = change.partition(b":")[0]
    lines = (archive.get(f"{INFO}/WHEEL") or b"").splitlines()
    edited = b"\n".join(change if line.startswith(key) else line for line in lines) + b"\n"
    problems = judge_wheel(made, wheel_with(made, {f"{INFO}/WHEEL": edited}))
    assert rules(problems) == ["artefact.record", "artefact.wheel-file"]


@pytest.mark.parametrize(
    "entry_points",
    [
        b"[console_scripts]\ntiny-demo = tiny_demo:other\n",
        b"[console_scripts]\ntiny-demo = tiny_demo:main\nmore = tiny_demo:main\n",
        b"[console_scripts]\ntiny-demo = tiny_demo:main\n\n[pytest11]\nevil = tiny_demo\n",
        b"[console_scripts]\ntiny-demo: tiny_demo:main\n",
        b"[console_scripts]\ntiny-demo = tiny_demo:other\ntiny-demo = tiny_demo:main\n",
        b"no section\n",
    ],
)
def test_commands_that_were_not_declared_are_refused(made: Built, entry_points: bytes) -> None:
    """A wheel installs exactly the commands of pyproject.toml."""
    problems = judge_wheel(made, wheel_with(made, {f"{INFO}/entry_points.txt": entry_points}))
    assert rules(problems) == ["artefact.record", "artefact.entry-points"]


LISTED, STORED = "is not listed in RECORD", "is listed in RECORD but not in the archive"
TWICE = "stands twice in RECORD, or its line lacks a field"
DIGEST = "does not have the digest and size RECORD gives it"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            b"tiny_demo/script.lua,",
            b"tiny_demo/gone.lua,",
            [("tiny_demo/gone.lua", STORED), ("tiny_demo/script.lua", LISTED)],
        ),
        (b"RECORD,,\n", b"RECORD,,\ntiny_demo-1.2.0.dist-info/RECORD,,\n", [(f"{INFO}/RECORD", TWICE)]),
        (b",0\n", b",1\n", [("tiny_demo/py.typed", DIGEST)]),
        (b"RECORD,,\n", b"RECORD,,\nalone\n", [("alone", TWICE), ("alone", STORED)]),
        (b"RECORD,,\n", b"RECORD,,\n\xff,,\n", [("\ufffd", STORED)]),
    ],
    ids=["another name", "twice", "another size", "no fields", "not UTF-8"],
)
def test_a_record_that_does_not_fit_is_refused(
    made: Built, old: bytes, new: bytes, said: list[tuple[str, str]]
) -> None:
    """Installers that check RECORD and those that do not install the same files; each wrong line is named."""
    record = read_archive(made.declared.wheel, made.wheel).get(f"{INFO}/RECORD") or b""
    assert old in record
    problems = judge_wheel(made, wheel_with(made, {f"{INFO}/RECORD": record.replace(old, new)}))
    assert set(rules(problems)) == {"artefact.record"}
    wheel = made.declared.wheel
    assert [(each.where, each.what) for each in problems] == [
        (f"{wheel}: {name}", what) for name, what in said
    ]


def test_a_record_that_is_no_table_is_a_problem_and_no_crash(made: Built) -> None:
    """A field that no reader of tables takes ends in one clear sentence."""
    record = read_archive(made.declared.wheel, made.wheel).get(f"{INFO}/RECORD") or b""
    problems = judge_wheel(made, wheel_with(made, {f"{INFO}/RECORD": record + b"x" * 200_000 + b",,\n"}))
    assert rules(problems) == ["artefact.record"]
    assert problems[0].where == f"{made.declared.wheel}: {INFO}/RECORD"
    assert problems[0].what == "is no table of comma-separated fields: field larger than field limit (131072)"


@pytest.mark.parametrize(
    ("name", "rule", "said"),
    [
        ("WHEEL", "artefact.wheel-file", "says \ufffd; odd, expected "),
        ("entry_points.txt", "artefact.entry-points", ""),
    ],
)
def test_a_generated_file_that_is_not_utf8_is_a_problem_and_no_crash(
    made: Built, name: str, rule: str, said: str
) -> None:
    """Whatever the bytes are, what they should have been is said."""
    problems = judge_wheel(made, wheel_with(made, {f"{INFO}/{name}": b"\xff\nodd\n"}))
    assert rules(problems) == ["artefact.record", rule]
    assert said in problems[1].what


def test_what_the_wheel_file_should_say_is_told_line_by_line(made: Built) -> None:
    """Both sides stand in the sentence."""
    (_, problem) = judge_wheel(made, wheel_with(made, {f"{INFO}/WHEEL": b"Wheel-Version: 2.0\nTag: none\n"}))
    wanted = f"Wheel-Version: 1.0; Generator: {BACKEND}; Root-Is-Purelib: true; Tag: py3-none-any"
    assert problem.what == f"says Wheel-Version: 2.0; Tag: none, expected {wanted}"


def test_a_command_with_a_sign_for_filling_in_is_told_as_it_stands(made: Built) -> None:
    """Nothing in the file is filled in: `%` is what was written."""
    changed = wheel_with(made, {f"{INFO}/entry_points.txt": b"[console_scripts]\na = b:%(c)s\n"})
    problems = [each for each in judge_wheel(made, changed) if each.rule == "artefact.entry-points"]
    assert "says {'console_scripts': {'a': 'b:%(c)s'}}" in problems[0].what


def test_commands_without_a_section_are_told_as_they_stand(made: Built) -> None:
    """What the file holds is in the sentence, also where it cannot be read."""
    changed = wheel_with(made, {f"{INFO}/entry_points.txt": b"no section\n"})
    what = judge_wheel(made, changed)[1].what
    assert "File contains no section headers" in what
    assert what.endswith("pyproject.toml says {'console_scripts': {'tiny-demo': 'tiny_demo:main'}}")


def test_a_package_deep_in_the_tree_is_expected_below_its_own_name(made: Built) -> None:
    """Each package stands at the wheel's root, and one does not replace another."""
    declared = replace(made.declared, packages=("a/b/one", "src/two"))
    tree = Tree(files={"a/b/one/x.py": b"1", "src/two/y.py": b"2", "a/b/z.py": b"3"})
    expected = expected_wheel(declared, tree)
    assert {name: data for name, data in expected.items() if "dist-info" not in name} == {
        "one/x.py": b"1",
        "two/y.py": b"2",
    }


def test_an_edited_licence_is_refused(made: Built) -> None:
    """The terms that are shipped are those that were committed."""
    problems = judge_wheel(made, wheel_with(made, {f"{INFO}/licenses/LICENSE": b"None\n"}))
    assert rules(problems) == ["artefact.member-bytes", "artefact.record"]


def test_a_tree_without_its_readme_is_judged_as_one_that_is_empty(made: Built) -> None:
    """A description that nobody committed is refused; none at all is not."""
    tree = replace(made.tree, files={n: d for n, d in made.tree.files.items() if n != "README.md"})
    assert rules(judge_wheel(made, tree=tree)) == ["metadata.description"]
    metadata = read_archive(made.declared.wheel, made.wheel).get(f"{INFO}/METADATA") or b""
    headers = metadata.partition(b"\n\n")[0] + b"\n\n"
    bare = wheel_with(made, {f"{INFO}/METADATA": headers})
    assert rules(judge_wheel(made, bare, tree=tree)) == ["artefact.record"]
