"""What the README shows works when pasted, and what it points at exists."""

import re
import subprocess
import sys
from pathlib import Path

from release.__main__ import parse
from tests.release.workflow_support import ROOT

LINES = 15
"""Lines of the README's program, blank ones not counted."""

NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_readme_program_is_short_and_runs_as_pasted(tmp_path: Path) -> None:
    """The first thing a newcomer tries is the program in the README: 15 lines, and what it prints."""
    found = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", README, flags=re.DOTALL)
    assert len(found) == 1
    program, printed = found[0]
    assert len([line for line in program.splitlines() if line.strip()]) <= LINES
    pasted = tmp_path / "pasted.py"
    pasted.write_text(program, encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, str(pasted)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (0, printed), ran.stderr


def test_readme_names_proofs_that_exist() -> None:
    """A promise whose proof is gone is only a claim."""
    rows = re.findall(r"^\| (.+) \| `(tests/[^`]+)` \|$", README, re.MULTILINE)
    assert len(rows) >= 12
    for promise, proof in rows:
        file, _, test = proof.partition("::")
        source = (ROOT / file).read_text(encoding="utf-8")
        assert re.search(rf"^(async )?def {test}\(", source, re.MULTILINE), promise


def test_readme_figures_are_the_committed_ones_with_commands_that_exist() -> None:
    """Every figure can be measured again by who reads it, and its numbers are among the measured ones."""
    rows = re.findall(
        r"^\| (.+) \| (.+) \| (.+) \| `python -m nox -s (bench|chaos) -- (.+)` \|$", README, re.MULTILINE
    )
    below = README.partition("## Figures")[2].partition("\n## ")[0]
    assert len(rows) == len(re.findall(r"^\| .*\d", below, re.MULTILINE)) >= 8
    help_text = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    committed = set(NUMBER.findall((ROOT / "docs/figures.md").read_text(encoding="utf-8")))
    for what, here, target, session, words in rows:
        assert set(NUMBER.findall(f"{here} {target}")) <= committed, what
        if session == "chaos":
            assert parse([session, *words.split()])[0] == session
        else:
            assert all(word in help_text for word in words.split()), words


def test_readme_commands_are_those_that_the_gate_runs() -> None:
    """`.ci/run` must call what the README tells people to call."""
    gate = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    commands = re.findall(
        r"^python -m pip install \"nox\[uv\]\" && (python -m nox -s \w+)$", README, flags=re.MULTILINE
    )
    assert commands == ["python -m nox -s rehearse", "python -m nox -s test"]
    for command in commands:
        assert command in gate
    assert 'pip install --quiet "nox[uv]"' in gate
