"""Shell lines in workflows are few, and ShellCheck has read each of them."""

from pathlib import Path

from release import workflows
from release.runner import Finished
from tests.release.workflow_support import FOLDER, ROOT, SETUP, edit, set_up_text, text_of


def committed(root: Path, *, ci: str, set_up: str) -> None:
    """A tree with these two files."""
    for folder, name, text in ((FOLDER, "ci.yml", ci), (SETUP, "action.yml", set_up)):
        (root / folder).mkdir(parents=True)
        (root / folder / name).write_text(text, encoding="utf-8")
    (root / FOLDER / "broken.yml").write_text("jobs: [", encoding="utf-8")
    (root / ".github/dependabot.yml").write_text("run: echo $X\n", encoding="utf-8")


def test_shell_lines_of_the_committed_workflows_are_clean() -> None:
    """What `nox -s lint` calls finds nothing in this tree, and it has looked at every line."""
    places = [where for where, _ in workflows.shell_lines(ROOT)]
    assert workflows.check(ROOT) == []
    assert sum(where.startswith(f"{FOLDER}/release.yml") for where in places) == 12
    assert sum(where.startswith(SETUP) for where in places) == 2


def test_shell_lines_are_read_by_shellcheck(tmp_path: Path) -> None:
    """An unquoted variable, in a job as in the composite action, is named with the place of its step."""
    committed(
        tmp_path,
        ci=edit(text_of("ci.yml"), '"test-$PYTHON"', "test-$PYTHON"),
        set_up=edit(set_up_text(), '"$REDIS"', "$REDIS"),
    )
    found = workflows.check(tmp_path)
    assert [problem.rule for problem in found] == ["shell.sc2086", "shell.sc2086"]
    assert [problem.where.rpartition(":")[0] for problem in found] == [
        f"{SETUP}/action.yml",
        f"{FOLDER}/ci.yml",
    ]
    assert all(problem.where.rpartition(":")[2].isdecimal() for problem in found)


def test_shell_lines_none_is_nothing_to_check(tmp_path: Path) -> None:
    """A tree without workflows has no shell line that could be wrong."""
    assert workflows.check(tmp_path) == []


def test_shell_lines_unread_are_a_finding() -> None:
    """A program that did not answer has checked nothing."""

    def silent(*_: object, **__: object) -> Finished:
        return Finished(argv=["shellcheck"], code=127, stdout="", stderr="could not be started", took_ms=1)

    found = workflows.check(ROOT, silent)
    assert [problem.rule for problem in found] == ["shell.checked"]
    assert "could not be started" in found[0].what
