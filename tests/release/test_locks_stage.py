"""The `lock` stage: what it asks the resolver, what it writes, what it refuses. The resolver is played."""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from release import locks
from release.context import Options
from release.model import Kind, Refused
from tests.release.gates.support import ScriptedRunner, make_context

PYPROJECT = '[dependency-groups]\nlint = ["ruff"]\nbackend = ["hatchling"]\n'


def resolver(answers: Mapping[str, str], *, fails: str = "") -> ScriptedRunner:
    """A resolver that writes these texts, by lock; where there is none it leaves the file as it found it."""

    def answer(words: list[str], env: object) -> tuple[int, str]:
        assert isinstance(env, dict)
        assert env["UV_PYTHON_DOWNLOADS"] == "never"
        assert "UV_INDEX_URL" not in env
        (path,) = (Path(word.partition("=")[2]) for word in words if word.startswith("--output-file="))
        if path.stem == fails:
            return 1, "no version of ruff fits"
        if path.stem in answers:
            path.write_text(answers[path.stem], encoding="utf-8")
        return 0, ""

    return ScriptedRunner(answer)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one group and the locks of today."""
    monkeypatch.setenv("UV_INDEX_URL", "https://elsewhere.invalid/")
    (tmp_path / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    folder = tmp_path / "release" / "locks"
    folder.mkdir(parents=True)
    for name in ("lint", locks.RUNTIME):
        (folder / f"{name}.txt").write_text("old\n", encoding="utf-8")
    return tmp_path


def lock(root: Path, name: str) -> str:
    return (root / "release" / "locks" / f"{name}.txt").read_text(encoding="utf-8")


def test_what_is_asked_of_the_resolver(tmp_path: Path) -> None:
    """A group by itself; for users the package with all extras and what its sdist builds with."""
    output, project = tmp_path / "x.txt", tmp_path / "pyproject.toml"
    words = locks.compile_command("lint", tmp_path, output)
    assert words == [
        *(sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--universal", "--generate-hashes"),
        *("--only-binary=:all:", "--no-annotate", "--no-header", "--no-emit-index-url"),
        *("--no-emit-find-links", "--python-version=3.12"),
        *(f"--output-file={output}", f"--group={project}:lint"),
    ]
    assert locks.compile_command(locks.RUNTIME, tmp_path, output)[-3:] == [
        str(project),
        "--all-extras",
        f"--group={project}:backend",
    ]


def test_only_what_changed_is_written(root: Path) -> None:
    """The resolver is handed the pins of before, and one that gives them back has changed nothing."""
    runner = resolver({"lint": "new\n"})
    context, output = make_context(root, runner)
    report = locks.run("lock", context)
    assert (report.kind, report.sentence) == (Kind.DONE, "2 locks, 1 changed")
    assert [each.found for each in report.checked] == [f"lint, {locks.RUNTIME}", "lint"]
    assert [each.what for each in report.checked] == ["locks", "changed"]
    assert (lock(root, "lint"), lock(root, locks.RUNTIME)) == ("new\n", "old\n")
    assert output.getvalue() == f"  resolving lint\n  resolving {locks.RUNTIME}\n"
    assert runner.folders == [root, root]
    groups = [words[-1].removeprefix(f"--group={root / 'pyproject.toml'}:") for words in runner.asked]
    assert groups == ["lint", "backend"]


def test_nothing_changed_is_said(root: Path) -> None:
    report = locks.run("lock", make_context(root, resolver({}))[0])
    assert report.checked[-1].found == "none"


def test_all_that_changed_are_named_and_written_even_behind_one_that_did_not(root: Path) -> None:
    """The first lock that fits ends nothing."""
    (root / "pyproject.toml").write_text(PYPROJECT + 'test = ["pytest"]\n', encoding="utf-8")
    report = locks.run("lock", make_context(root, resolver({"test": "new\n", locks.RUNTIME: "new\n"}))[0])
    assert report.checked[-1].found == f"test, {locks.RUNTIME}"
    assert (lock(root, "lint"), lock(root, "test")) == ("old\n", "new\n")


def test_the_first_locks_are_made_with_their_folder(root: Path) -> None:
    """A project that never had locks asks for nothing but this stage."""
    shutil.rmtree(root / "release")
    locks.run("lock", make_context(root, resolver({"lint": "new\n", locks.RUNTIME: "new\n"}))[0])
    assert lock(root, "lint") == "new\n"


def test_everything_anew_starts_without_the_pins_of_before(root: Path) -> None:
    """With `--again` the resolver sees no file."""
    seen: list[bool] = []

    def answer(words: list[str], env: object) -> tuple[int, str]:
        del env
        (path,) = (Path(word.partition("=")[2]) for word in words if word.startswith("--output-file="))
        seen.append(path.exists())
        path.write_text("new\n", encoding="utf-8")
        return 0, ""

    context, _ = make_context(root, ScriptedRunner(answer), options=Options(again=True))
    locks.run("lock", context)
    assert seen == [False, False]
    assert lock(root, locks.RUNTIME) == "new\n"


def test_check_changes_nothing_and_names_what_is_old(root: Path) -> None:
    context, _ = make_context(root, resolver({"lint": "new\n"}), options=Options(check=True))
    with pytest.raises(Refused) as caught:
        locks.run("lock", context)
    (problem,) = caught.value.problems
    assert (problem.rule, problem.where) == ("lock.current", "release/locks/lint.txt")
    assert problem.what == "does not hold what pyproject.toml asks for"
    assert "`nox -s lock`" in problem.remedy
    assert lock(root, "lint") == "old\n"


def test_check_of_what_fits_is_done(root: Path) -> None:
    context, _ = make_context(root, resolver({}), options=Options(check=True))
    assert locks.run("lock", context).kind is Kind.DONE


def test_what_cannot_be_resolved_is_named_and_the_others_are_made(root: Path) -> None:
    (root / "release" / "locks" / "lint.txt").unlink()
    with pytest.raises(Refused) as caught:
        locks.run("lock", make_context(root, resolver({locks.RUNTIME: "new\n"}, fails="lint"))[0])
    (problem,) = caught.value.problems
    assert (problem.rule, problem.where) == ("lock.resolves", "pyproject.toml [dependency-groups] lint")
    assert "requirement" in problem.remedy
    assert "no version of ruff fits" in problem.what
    assert not (root / "release" / "locks" / "lint.txt").exists()
    assert lock(root, locks.RUNTIME) == "new\n"
