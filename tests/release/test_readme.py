"""What the README shows works when pasted, and what it points at exists."""

import re
import subprocess
import sys
from pathlib import Path

from tests.release.workflow_support import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_readme_program_runs_as_pasted(tmp_path: Path) -> None:
    """The first thing a newcomer tries is the program in the README."""
    programs = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(programs) == 1
    pasted = tmp_path / "pasted.py"
    pasted.write_text(programs[0], encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, str(pasted)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (0, "{'chapter': 1}\n"), ran.stderr


def test_readme_names_proofs_that_exist() -> None:
    """A promise whose proof is gone is only a claim."""
    proofs = re.findall(r"\| `(tests/[^`]+)` \|", README)
    assert len(proofs) >= 6
    for proof in proofs:
        assert (ROOT / proof).exists(), proof


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
