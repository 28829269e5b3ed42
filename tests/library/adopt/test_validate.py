"""The scratch copy that `--validate` builds: where it lies, what is in it, and what each step comes to."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.library.adopt.trees import Programs, in_order, write
from tta_agent_coordination.adopt.running import Ended
from tta_agent_coordination.adopt.validate import STEPS, Verdict, validate


class Watched(Programs):
    """Programs that keep the folder they were run in, and whether a link in it is one."""

    def __init__(self, codes: dict[str, int] | None = None) -> None:
        """Begin with nothing seen."""
        super().__init__(codes)
        self.folders: set[Path] = set()
        self.linked: set[bool] = set()

    def __call__(self, argv: Sequence[str], *, cwd: Path) -> Ended:
        """Look around, then do as all programs do."""
        self.folders.add(cwd)
        self.linked.add((cwd / "link").is_symlink())
        return super().__call__(argv, cwd=cwd)


def commands() -> list[str]:
    """Return every step as it is typed."""
    return [" ".join(step) for step in STEPS]


def test_copy_lies_elsewhere_under_the_same_name_and_goes(tmp_path: Path) -> None:
    """Broken: a check writes into the workspace, or into the folder it was started in."""
    root = write(tmp_path / "space", in_order())
    (root / "link").symlink_to("pyproject.toml")
    before = sorted(root.rglob("*"))
    programs = Watched()
    verdicts = [*validate(root, programs)]
    assert [(each.step, each.passed, each.detail) for each in verdicts] == [
        (command, True, f"last of {command}") for command in commands()
    ]
    (folder,) = programs.folders
    assert (folder.name, folder.parent.parent) == ("space", Path(tempfile.gettempdir()))
    assert folder.parent.name.startswith("tta-adopt-")
    assert not folder.parent.exists()
    assert programs.linked == {True}
    assert sorted(root.rglob("*")) == before


def test_tool_that_the_environment_lacks_fails_alone(tmp_path: Path) -> None:
    """Broken: a tool of another environment judges the workspace, or the steps behind it are not run."""
    programs = Programs()
    programs.installed.remove("ruff")
    verdicts = [*validate(write(tmp_path, in_order()), programs)]
    assert [(each.step, each.passed) for each in verdicts] == [
        (command, "ruff" not in command) for command in commands()
    ]
    assert verdicts[3].detail == "the root's environment has no ruff; add it to [dependency-groups] dev"
    assert [command for command in commands() if "ruff" not in command] == programs.asked


def test_step_that_uv_itself_fails_ends_the_rest(tmp_path: Path) -> None:
    """Broken: tests run in half an environment, and their verdict counts."""
    programs = Programs({"uv sync --all-extras": 2})
    verdicts = [*validate(write(tmp_path, in_order()), programs)]
    assert [(each.step, each.passed) for each in verdicts] == list(
        zip(commands(), [True, False, None, None, None], strict=True)
    )
    assert verdicts[1].detail == "exit 2: last of uv sync --all-extras"
    assert {each.detail for each in verdicts[2:]} == {"uv sync --all-extras failed"}


def test_verdict_without_a_word_is_one_line() -> None:
    """Broken: a line ends in the middle."""
    assert str(Verdict(step="uv lock", passed=True, detail="")) == "passed: uv lock"
    assert str(Verdict(step="uv lock", passed=None, detail="why")) == "not run: uv lock: why"
