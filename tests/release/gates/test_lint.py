"""The lint stage shows every finding of every tool at once, and is green only when all are clean."""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from release.context import Context
from release.gates import lint as gate
from release.ledger import Ledger
from release.model import Kind, Problem, Refused
from release.rules.audit import locked
from release.runner import Finished
from tests.release.gates.support import ScriptedRunner, commit_all, make_context
from tests.release.ledger_support import create


def no_problems(_root: Path) -> list[Problem]:
    return []


@pytest.fixture(autouse=True)
def _no_own_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rules of our own have tests of their own; here they find nothing unless a test says so."""
    monkeypatch.setattr(gate, "OWN", {"own rule": no_problems})

    def no_version(package: str) -> str:
        return f"the version of {package}"

    # The linters themselves are only in the lint session's environment.
    monkeypatch.setattr(gate, "version", no_version)

    # The candidate has tests of its own, in test_test.py.
    def wheel(_context: Context, _ledger: Ledger | None, scratch: Path) -> tuple[Path, str]:
        return scratch / "p-1-py3-none-any.whl", "from nowhere"

    def installed(_context: Context, _wheel: Path) -> None:
        return None

    monkeypatch.setattr(gate, "candidate", wheel)
    monkeypatch.setattr(gate, "install", installed)


def test_clean_tools_and_rules_are_done_and_named(tmp_path: Path) -> None:
    """The reader sees what was looked at, with the version of each tool whose word was taken."""

    def answer(words: list[str], env: Mapping[str, str]) -> tuple[int, str]:
        del words, env
        return 0, ""

    runner = ScriptedRunner(answer)
    context, said = make_context(tmp_path, runner)
    report = gate.run("lint", context)
    assert report.kind is Kind.DONE
    known = gate.tools(tmp_path)
    assert len(runner.asked) == len(known)
    checks = [*(tool.name for tool in known), "own rule"]
    assert (report.checked[0].what, report.checked[0].found.split(", ")) == ("checks", checks)
    assert report.checked[1].what == "candidate"
    assert report.checked[1].found.startswith("p-1-py3-none-any.whl, from nowhere, ")
    assert report.figures == {"checks": len(checks)}
    assert report.tools == {tool.package: f"the version of {tool.package}" for tool in known}
    assert said.getvalue().count(": clean (7 ms)\n") == len(known)
    assert "  ruff check: clean (7 ms)\n" in said.getvalue()


def test_two_failing_tools_are_both_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person mends all findings in one go, those of our own rules included."""

    def own(root: Path) -> list[Problem]:
        assert root == tmp_path
        return [Problem(rule="own.rule", where="x", what="y", remedy="z")]

    monkeypatch.setattr(gate, "OWN", {"own rule": own})

    def answer(words: list[str], env: Mapping[str, str]) -> tuple[int, str]:
        del env
        return (1, f"{words[0]} found it") if {"--verifytypes", "zizmor"} & {*words} else (0, "")

    context, said = make_context(tmp_path, ScriptedRunner(answer))
    with pytest.raises(Refused) as caught:
        gate.run("lint", context)
    rules = [problem.rule for problem in caught.value.problems]
    assert rules == ["lint.public-types", "lint.zizmor", "own.rule"]
    assert "zizmor found it" in caught.value.problems[1].what
    assert "  zizmor: FINDINGS (7 ms)\n" in said.getvalue()
    assert "  mypy: clean (7 ms)\n" in said.getvalue()


def test_findings_are_quoted_to_their_last_eighty_lines(tmp_path: Path) -> None:
    """A page of them is enough to start with; the tool itself shows all."""
    printed = "\n".join(f"finding {number}" for number in range(81))
    context, _ = make_context(tmp_path, ScriptedRunner(lambda _words, _env: (1, printed)))
    with pytest.raises(Refused) as caught:
        gate.run("lint", context)
    assert caught.value.problems[0].what.splitlines()[1:] == printed.splitlines()[1:]


def test_tools_are_found_beside_the_interpreter_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another ruff on this machine is not the one that is locked; all else a tool needs is handed on."""
    given: list[Mapping[str, str]] = []

    def answer(words: list[str], env: Mapping[str, str]) -> tuple[int, str]:
        del words
        given.append(env)
        return 0, ""

    context, _ = make_context(tmp_path, ScriptedRunner(answer))
    own = str(Path(sys.executable).parent)
    monkeypatch.setenv("KEPT", "as it is")
    monkeypatch.setenv("PATH", "/elsewhere")
    gate.run("lint", context)
    assert {(env["PATH"], env["KEPT"]) for env in given} == {(f"{own}{os.pathsep}/elsewhere", "as it is")}
    given.clear()
    monkeypatch.delenv("PATH")
    gate.run("lint", context)
    assert {env["PATH"] for env in given} == {f"{own}{os.pathsep}"}


def test_the_ledgers_candidate_is_the_one_that_is_installed_and_vouched_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The types are those of the release's own wheel, and the pass stands in its ledger."""
    (tmp_path / ".gitignore").write_text("/ledger/\n", encoding="utf-8")
    commit = commit_all(tmp_path)
    context, _ = make_context(tmp_path, ScriptedRunner(lambda _words, _env: (0, "")))
    ledger = create(context.ledger, commit=commit, tree=commit)
    steps: list[object] = []

    def bound(asked: Context) -> Ledger:
        assert asked is context
        return ledger

    def wheel(asked: Context, given: Ledger | None, scratch: Path) -> tuple[Path, str]:
        steps.append((asked is context, given is ledger, [*scratch.iterdir()]))
        return scratch / "p-1-py3-none-any.whl", "from the ledger"

    def installed(asked: Context, found: Path) -> None:
        steps.append((asked is context, found.name))

    monkeypatch.setattr(gate, "bound_or_none", bound)
    monkeypatch.setattr(gate, "candidate", wheel)
    monkeypatch.setattr(gate, "install", installed)
    gate.run("lint", context)
    assert steps == [(True, True, []), (True, "p-1-py3-none-any.whl")]
    assert Ledger.read(context.ledger).passed("lint", "all")


def test_a_tool_that_is_missing_is_a_finding(tmp_path: Path) -> None:
    """A linter that could not start has found nothing, and that is not clean."""

    def answer(words: list[str], env: Mapping[str, str]) -> tuple[int, str]:
        del env
        return (127, "ruff could not be started") if words[0] == "ruff" else (0, "")

    context, _ = make_context(tmp_path, ScriptedRunner(answer))
    with pytest.raises(Refused, match="ruff could not be started"):
        gate.run("lint", context)


def test_tools_look_at_every_workflow_and_action(tmp_path: Path) -> None:
    """What GitHub reads, with either suffix, and no schema check does would be unchecked in silence."""
    actions = ("actions/deep/er/action.yaml", "actions/setup/action.yml")
    for name in ("workflows/a.yml", "workflows/action.yaml", "workflows/c.md", "other.yml", *actions):
        path = tmp_path / ".github" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    commands = {tool.name: tool.command for tool in gate.tools(tmp_path)}
    assert commands["workflow schema"][5:] == (".github/workflows/a.yml", ".github/workflows/action.yaml")
    assert commands["action schema"][5:] == tuple(f".github/{name}" for name in actions)


def test_tools_change_nothing_and_look_at_what_is_there() -> None:
    """A formatter that mends is never red, and a path that does not exist may count as clean."""
    root = Path(gate.__file__).parents[2]
    assert all(tool.remedy for tool in gate.tools(root))
    commands = {tool.name: tool.command for tool in gate.tools(root)}
    python = (sys.executable, "-m")
    assert commands["pyright"] == (*python, "pyright", "--pythonpath", sys.executable)
    assert commands["public types"] == (
        *(*python, "pyright", "--verifytypes"),
        *("tta_agent_coordination", "--ignoreexternal"),
    )
    assert commands["ruff check"] == ("ruff", "check", ".")
    assert commands["ruff format"] == ("ruff", "format", "--check", ".")
    assert commands["zizmor"] == (
        *("zizmor", "--offline", "--persona", "auditor", "--strict-collection", "--no-progress"),
        ".github",
    )
    assert commands["mypy"][1:4] == ("-m", "mypy", "--strict")
    assert commands["pyproject schema"][1:] == ("-m", "validate_pyproject", "pyproject.toml")
    schemas = {name: command[4:] for name, command in commands.items() if "--builtin-schema" in command}
    assert {commands[name][:4] for name in schemas} == {(*python, "check_jsonschema", "--builtin-schema")}
    assert {name: each[0] for name, each in schemas.items()} == {
        "workflow schema": "vendor.github-workflows",
        "action schema": "vendor.github-actions",
        "issue template schema": "vendor.github-issue-config",
        "dependabot schema": "vendor.dependabot",
    }
    assert commands["spelling"][:3] == (*python, "codespell_lib")
    spelled = commands["spelling"][3:]
    assert {"README.md", "CHANGELOG.md", "docs", "src", "release", "tests"} <= set(spelled)
    looked_at = [commands["mypy"][-1], *spelled, *(path for each in schemas.values() for path in each[1:])]
    assert [path for path in looked_at if not (root / path).exists()] == []


def test_every_tool_is_one_that_is_locked() -> None:
    """The version that a report names is the one that ran."""
    root = Path(gate.__file__).parents[2]
    names = {each.name for each in locked((root / "release/locks/lint.txt").read_text(encoding="utf-8"))}
    assert {tool.package for tool in gate.tools(root)} <= names


def test_public_types_are_those_of_what_is_installed(tmp_path: Path) -> None:
    """In the checkout the checker would look at the sources, which are not what users get."""
    folders: dict[str, Path] = {}

    class Watching(ScriptedRunner):
        def __call__(self, argv: Sequence[str | os.PathLike[str]], *, cwd: Path, **options: Any) -> Finished:  # noqa: ANN401 - handed on
            folders["--verifytypes" if "--verifytypes" in argv else "other"] = cwd
            assert not [*cwd.iterdir()] or cwd == tmp_path
            return super().__call__(argv, cwd=cwd, **options)

    context, _ = make_context(tmp_path, Watching(lambda _words, _env: (0, "")))
    gate.run("lint", context)
    assert folders["other"] == tmp_path
    assert not folders["--verifytypes"].is_relative_to(tmp_path)


def test_no_file_relaxes_its_type_checker() -> None:
    """A file that asks for less is checked less, and nobody sees it in a review of another file."""
    root = Path(gate.__file__).parents[2]
    found = [
        f"{path.relative_to(root)}: {line}"
        for folder in ("src", "release", "tests", "examples", "benchmarks")
        for path in (root / folder).rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.match(r"# (pyright: (basic|standard|strict|report)|mypy:|type: ignore)", line)
    ]
    assert found == []
