"""Where mutants live and what is kept of them: the environment, the digests, the memory between runs."""

import os
import shutil
from pathlib import Path

import pytest

from release.gates.mutation import scratch
from release.gates.mutation.floors import FLOORS
from release.gates.mutation.scratch import Kept, Settings, Slot
from release.gates.mutation.verdicts import SURVIVORS
from release.model import Refused
from release.runner import LocalRunner
from tests.release.gates.mutation.support import Machine, context_of
from tests.release.gates.support import ScriptedRunner, commit_all, make_context


def test_settings_say_what_is_mutated_and_who_judges_it() -> None:
    """A module of the folders that no pattern leaves out; what a file does not say is empty."""
    found = Settings.read(
        '[tool.mutmut]\nsource_paths = ["src", "release"]\ndo_not_mutate = ["release/out_*.py"]\n'
        '[tool.tta-release.mutation-tests]\n"release/a.py" = ["tests/x.py"]\n'
    )
    assert found.tests == {"release/a.py": ["tests/x.py"]}
    asked = (
        "release/a.py",
        "src/p/b.py",
        "release/out_of.py",
        "release/a.lua",
        "tests/x.py",
        "releases/a.py",
    )
    assert [path for path in asked if found.mutated(path)] == ["release/a.py", "src/p/b.py"]
    assert Settings.read("") == Settings(roots=(), left_out=(), tests={})


def test_a_mutants_tests_get_no_secret_and_a_world_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mutated code may do anything with what it is given."""
    dropped = ("CI", "TTA_REQUIRE_REDIS", "PYTEST_ADDOPTS", "PYTHONSTARTUP", "PYTHONHOME", "VIRTUAL_ENV")
    secret = ("TWINE_PASSWORD", "UV_PUBLISH_URL", "ACTIONS_ID_TOKEN_REQUEST_URL", "GIT_DIR", "GH_TOKEN")
    for name in (*dropped, *secret):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("KEPT", "as it is")
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    env = scratch.environment(tmp_path / "pristine", tmp_path / "tmp")
    assert not env.keys() & {*dropped, *secret}
    assert env["KEPT"] == "as it is"
    paths = [str(tmp_path / "pristine" / "src"), str(tmp_path / "pristine")]
    assert env["PYTHONPATH"].split(os.pathsep) == paths
    assert (env["TMPDIR"], env["PYTHONHASHSEED"]) == (str(tmp_path / "tmp"), "0")


def tree(root: Path, **changed: str) -> Path:
    """A tree; `changed` replaces or adds texts, by a name's part before the dot."""
    texts = {
        "pyproject.toml": '[project]\nname = "x"\n[tool.tta-release]\na = 1\n',
        "data.lua": "one",
        "noxfile.py": "one",
        "README.md": "one",
        "src/code.py": "one",
        "release/data.txt": "one",
        FLOORS: "one",
        SURVIVORS: "one",
    }
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(changed.get(Path(name).stem, text), encoding="utf-8")
    return root


def outside(root: Path, tool: str = "1") -> str:
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    return scratch.outside(root, names, tool=tool)


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({}, True),
        ({"README": "two"}, True),
        ({"code": "two"}, True),
        ({Path(FLOORS).stem: "two"}, True),
        ({Path(SURVIVORS).stem: "two"}, True),
        ({"pyproject": '[tool.tta-release]\na = 2\n[project]\nname = "x"\n'}, True),
        ({"pyproject": '[project]\nname = "y"\n[tool.tta-release]\na = 1\n'}, False),
        ({"pyproject": '[project]\nname = "x"\n'}, False),
        ({"pyproject": '[project]\nname = "x"\n[tool.mutmut]\na = 1\n'}, False),
        ({"data": "two"}, False),
        ({"noxfile": "two"}, False),
    ],
)
def test_verdicts_depend_on_data_and_settings_and_on_no_prose(
    changed: dict[str, str], same: bool, tmp_path: Path
) -> None:
    """Python below the sources counts through its imports; the release tools' own table changes no test."""
    before = outside(tree(tmp_path / "a"))
    assert (outside(tree(tmp_path / "b", **changed)) == before) is same


def test_verdicts_depend_on_mutmut_and_on_where_data_stands(tmp_path: Path) -> None:
    """Another mutmut makes other mutants; a file under another name is another file."""
    root = tree(tmp_path)
    before = outside(root)
    assert outside(root, tool="2") != before
    shutil.move(root / "data.lua", root / "date.lua")
    assert outside(root) != before


def test_a_date_among_the_settings_counts_like_any_value(tmp_path: Path) -> None:
    """TOML has values that JSON has not."""
    first, other = (
        outside(tree(tmp_path / day, pyproject=f"[tool.uv]\nexclude-newer = 2026-01-0{day}\n"))
        for day in "12"
    )
    assert first != other


def test_verdicts_are_kept_for_exactly_what_they_were_made_from(tmp_path: Path) -> None:
    """Shards add up on the same inputs; other inputs, a torn file or none know nothing."""
    kept = Kept(folder=tmp_path / "mutants", tool="1")
    assert kept.codes("src/a.py", "x") == {}
    kept.keep("src/a.py", "x", {"one": 0})
    kept.keep("src/a.py", "x", {"two": 1})
    assert kept.codes("src/a.py", "x") == {"one": 0, "two": 1}
    assert kept.codes("src/a.py", "y") == kept.codes("src_a.py", "x") == {}
    kept.keep("src/a.py", "y", {"three": 0})
    assert (kept.codes("src/a.py", "y"), kept.codes("src/a.py", "x")) == ({"three": 0}, {})
    (file,) = (tmp_path / "mutants" / "verdicts").iterdir()
    assert file.name == "src.a.py.json", "where a person looks for them"
    file.write_text("{", encoding="utf-8")
    assert kept.codes("src/a.py", "y") == {}


def test_generated_mutants_are_kept_for_exactly_one_source(tmp_path: Path) -> None:
    """Another module, text, choice of lines or mutmut has a place of its own; what nobody uses goes."""
    kept = Kept(folder=tmp_path, tool="1")
    used = kept.generated("a.py", "text", None)
    places = {
        used,
        kept.generated("b.py", "text", None),
        kept.generated("a.py", "other", None),
        kept.generated("a.py", "text", []),
        kept.generated("a.py", "text", [1, 2]),
        Kept(folder=tmp_path, tool="2").generated("a.py", "text", None),
    }
    assert len(places) == 6
    assert kept.generated("a.py", "text", (1, 2)) in places
    assert {path.parent for path in places} == {tmp_path / "generated"}
    used.parent.mkdir()
    for path in (*places, used.parent / "other.txt"):
        path.write_text("{}", encoding="utf-8")
    kept.forget([used])
    assert sorted(path.name for path in used.parent.iterdir()) == sorted([used.name, "other.txt"])


def test_git_is_asked_about_this_checkout_and_in_one_language(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hook's GIT_DIR would answer for another repository."""
    monkeypatch.setenv("GIT_DIR", "/elsewhere")
    given: list[dict[str, str]] = []

    def answer(words: list[str], env: object) -> tuple[int, str]:
        assert words == ["git", "diff"]
        assert isinstance(env, dict)
        given.append(env)  # pyright: ignore[reportUnknownArgumentType]
        return len(given) - 1, said

    said = "".join(f"line {number}\n" for number in range(1, 7))
    runner = ScriptedRunner(answer)
    context, _ = make_context(tmp_path, runner)
    assert scratch.git(context, "diff") == said
    with pytest.raises(Refused) as caught:
        scratch.git(context, "diff")
    (problem,) = caught.value.problems
    assert (problem.rule, problem.where) == ("mutation.git", "the git checkout")
    assert problem.what == f"git diff failed: {said.partition('\n')[2].rstrip()}"
    assert runner.folders == [tmp_path, tmp_path]
    assert all("GIT_DIR" not in env and env["LC_ALL"] == "C" and "PATH" in env for env in given)


def test_files_are_those_that_are_there_and_not_ignored(tmp_path: Path) -> None:
    """Committed, new and oddly named ones; a deleted one is still in the index, and cannot be copied."""
    names = {".gitignore", "b.py", "a/c d\n.py", "gone.py"}
    for name in (*names, "ignored.log"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("*.log\n", encoding="utf-8")
    commit_all(tmp_path)
    (tmp_path / "gone.py").unlink()
    (tmp_path / "new.py").touch()
    context, _ = make_context(tmp_path, LocalRunner())
    assert scratch.files(context) == sorted({*names, "new.py"} - {"gone.py"})


def test_a_snapshot_has_the_metadata_of_an_install(tmp_path: Path) -> None:
    """Times and modes are kept, and nothing of the folder it was started in is imported."""
    root = tmp_path / "from"
    (root / "a").mkdir(parents=True)
    (root / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "copied"\nversion = "4.2"\n',
        encoding="utf-8",
    )
    for name in ("a/hatchling.py", "hatchling.py"):
        (root / name).write_text("raise SystemExit(9)\n", encoding="utf-8")
    os.utime(root / "a" / "hatchling.py", (1, 1))
    context, _ = make_context(root, LocalRunner())
    scratch.snapshot(context, ["pyproject.toml", "a/hatchling.py", "hatchling.py"], tmp_path / "to")
    metadata = (tmp_path / "to" / "copied-4.2.dist-info" / "METADATA").read_text(encoding="utf-8")
    assert "\nVersion: 4.2\n" in metadata
    assert (tmp_path / "to" / "a" / "hatchling.py").stat().st_mtime == 1


def test_a_snapshot_without_metadata_is_refused(tmp_path: Path) -> None:
    """Tests read the version from the package's metadata; the message quotes the build backend."""
    (tmp_path / "from" / "a").mkdir(parents=True)
    (tmp_path / "from" / "a" / "b.py").write_text("x", encoding="utf-8")
    (tmp_path / "from" / "other").touch()
    context, _ = context_of(tmp_path / "from", Machine())
    scratch.snapshot(context, ["a/b.py"], tmp_path / "to")
    assert [path.name for path in sorted((tmp_path / "to").rglob("*"))] == ["a", "b.py"]
    said = "".join(f"line {number}\n" for number in range(1, 12))
    context, _ = make_context(tmp_path / "from", ScriptedRunner(lambda _words, _env: (1, said)))
    with pytest.raises(Refused) as caught:
        scratch.snapshot(context, ["a/b.py"], tmp_path / "again")
    (problem,) = caught.value.problems
    assert (problem.rule, problem.where) == ("mutation.metadata", "pyproject.toml")
    _, _, quoted = problem.what.partition("\n")
    assert quoted == said.partition("\n")[2].rstrip()


def test_a_slot_is_laid_anew_for_each_module(tmp_path: Path) -> None:
    """A mutant that writes to the project judges its own module, and none behind it."""
    (tmp_path / "pristine").mkdir()
    for name in ("pyproject.toml", "a.py", "b.py"):
        (tmp_path / "pristine" / name).write_text(name, encoding="utf-8")
    slot = Slot.make(tmp_path / "slot", tmp_path / "pristine")
    slot.restore("a.py", slot.prepare("a.py", "mutated"))
    (slot.project / "pyproject.toml").write_text("written by a mutant", encoding="utf-8")
    (slot.project / "b.py").unlink()
    slot.prepare("a.py", "mutated")
    assert {path.name: path.read_text(encoding="utf-8") for path in slot.project.iterdir()} == {
        "pyproject.toml": "pyproject.toml",
        "a.py": "mutated",
        "b.py": "b.py",
    }


def test_a_slot_holds_one_mutated_module_at_a_time(tmp_path: Path) -> None:
    """What the last module left is gone, a half-written answer is not read, the copy is made once."""
    (tmp_path / "pristine").mkdir()
    (tmp_path / "pristine" / "pyproject.toml").write_text("settings", encoding="utf-8")
    (tmp_path / "pristine" / "a.py").write_text("original", encoding="utf-8")
    slot = Slot.make(tmp_path / "slot", tmp_path / "pristine")
    assert (slot.folder / "pyproject.toml").read_text(encoding="utf-8") == "settings"
    assert (slot.answers(), slot.judged()) == ([], 0)
    original = slot.prepare("a.py", "mutated")
    assert (original, (slot.project / "a.py").read_text(encoding="utf-8")) == ("original", "mutated")
    lines = ['{"kind": "baseline", "name": "", "code": 0}\n', '{"kind": "mutant", "name": "m", "code": 1}\n']
    slot.results.write_text("".join(lines) + '{"kind": "mut', encoding="utf-8")
    (slot.temporary / "left").touch()
    assert slot.answers() == [("baseline", "", 0), ("mutant", "m", 1)]
    assert (slot.codes(), slot.judged()) == ({"m": 1}, 1)
    assert Slot.make(tmp_path / "slot", tmp_path / "pristine").judged() == 1
    slot.restore("a.py", original)
    assert (slot.project / "a.py").read_text(encoding="utf-8") == "original"
    for _ in range(2):
        assert not slot.results.exists()
        assert not slot.temporary.exists()
        # The tests of a module may have removed what is to be removed.
        slot.restore("a.py", original)
