"""`scripts/validate-package.sh`, which upstream calls before a merge, and this repository in a workspace.

The gates themselves are tested elsewhere; here a stand-in says whether they pass.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tta_agent_coordination.adopt.cli import main
from tta_agent_coordination.adopt.lock import locked
from tta_agent_coordination.adopt.rules import RULES, check
from tta_agent_coordination.adopt.running import run
from tta_agent_coordination.adopt.tree import read_workspace

ROOT = Path(__file__).parents[2]
NAME = "tta-agent-coordination"
STAND_IN = """\
#!/bin/sh
echo "$*" >> "$CALLS"
[ "$4" = "$TOUCHING" ] && echo more >> README.md
[ "$4" != "$FAILING" ]
"""


def committed(target: Path) -> Path:
    """Copy what is in version control, or about to be, into a folder."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    for path in filter(None, listed.stdout.split("\0")):
        if (ROOT / path).is_file():
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, target / path)
    return target


def validate(
    tmp_path: Path, *words: str, failing: str = "", touching: str = ""
) -> tuple[int, str, list[str]]:
    """Run the script in a small repository; return its code, its last line, and the gates it ran."""
    repository, calls = tmp_path / "repository", tmp_path / "calls"
    (repository / "scripts").mkdir(parents=True)
    for path in ("pyproject.toml", "README.md", "scripts/validate-package.sh"):
        shutil.copy2(ROOT / path, repository / path)
    python = tmp_path / "python"
    python.write_text(STAND_IN)
    python.chmod(0o755)
    author = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "."], [*author, "commit", "-qm", "all"]):
        subprocess.run(["git", *command], cwd=repository, check=True)
    env = {**os.environ, "PYTHON": str(python), "CALLS": str(calls), "FAILING": failing, "TOUCHING": touching}
    ended = subprocess.run(
        [str(repository / "scripts/validate-package.sh"), *words],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    gates = calls.read_text().splitlines() if calls.exists() else []
    return ended.returncode, (ended.stdout + ended.stderr).splitlines()[-1], gates


def test_gates_run_in_a_fixed_order(tmp_path: Path) -> None:
    """The same gates, in the same order, and one verdict line."""
    code, line, gates = validate(tmp_path, NAME)
    assert gates == ["-m nox -s build", "-m nox -s lint", "-m nox -s test"]
    assert (code, line) == (0, f"PASSED {NAME}: build passed, lint passed, test passed, no file changed")


def test_failed_gate_is_named_and_the_others_still_run(tmp_path: Path) -> None:
    """Broken: one failure hides the next."""
    code, line, gates = validate(tmp_path, NAME, failing="lint")
    assert len(gates) == 3
    assert (code, line) == (1, f"FAILED {NAME}: build passed, lint FAILED, test passed, no file changed")


def test_changed_file_is_a_failure(tmp_path: Path) -> None:
    """Broken: what is merged is not what was tested."""
    code, line, _ = validate(tmp_path, NAME, touching="test")
    assert code == 1
    assert line.endswith("test passed, files CHANGED: see git status")


@pytest.mark.parametrize("words", [(), ("another-package",), (NAME, "more")])
def test_other_name_is_a_usage_error(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Broken: the gates of one package vouch for another."""
    code, line, gates = validate(tmp_path, *words)
    assert (code, gates) == (2, [])
    assert f"usage: scripts/validate-package.sh {NAME}" in line


def workspace_with_this_repository(root: Path) -> Path:
    """Make a workspace that holds this repository as the how-to says."""
    committed(root / "packages" / NAME)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (root / "pyproject.toml").write_text(
        f'[project]\nname = "tta-dev"\nversion = "0.1.0"\nrequires-python = "{project["requires-python"]}"\n'
        f'dependencies = ["{NAME}>={project["version"]}"]\n\n'
        '[tool.uv.workspace]\nmembers = ["packages/*"]\n\n'
        f"[tool.uv.sources]\n{NAME} = {{ workspace = true }}\n",
        encoding="utf-8",
    )
    return root


def test_this_repository_as_a_workspace_package_breaks_no_rule(tmp_path: Path) -> None:
    """Broken: upstream cannot take the package in without findings."""
    assert check(read_workspace(workspace_with_this_repository(tmp_path))) == []


def test_every_rule_is_in_the_how_to() -> None:
    """Broken: a finding that nobody can look up, or a page that promises a rule there is none of."""
    page = (ROOT / "docs/how-to/workspace.md").read_text(encoding="utf-8").partition("## The rules")[2]
    listed = {
        name
        for row in page.splitlines()
        if row.startswith("| `")
        for name in re.findall(r"`([a-z.-]+)`", row.split("|")[1])
    }
    said = " ".join(rule.__doc__ or "" for rule in (*RULES, locked))
    stated = set(re.findall(r"`((?:[a-z]+)\.[a-z-]+)`", said)) - {"uv.lock", "input.python"}
    assert listed == stated


@pytest.mark.network
def test_uv_accepts_this_repository_as_a_workspace_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: `uv sync` or `uv lock --check` refuses what the rules accept; needs an index."""
    monkeypatch.setenv("UV_PYTHON", sys.executable)
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    root = workspace_with_this_repository(tmp_path)
    synced = run(["uv", "sync"], cwd=root)
    assert synced.code == 0, synced.output
    imported = run([str(root / ".venv/bin/python"), "-c", "import tta_agent_coordination"], cwd=root)
    assert imported.code == 0, imported.output
    assert main(["workspace", str(root)]) == 0
