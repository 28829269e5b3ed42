"""The roadmap says what is done and how to see it; nothing is ticked that its own command does not prove."""

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass

import pytest

from release.__main__ import STAGES, parse
from release.rules.workflows import nox_line, sessions
from tests.release.workflow_support import ROOT

ROADMAP = ROOT / "docs/roadmap.md"
PHASES = ("Phase 0", "Phase 1", "Phase 2", "Phase 3", "Phase 4")
QUICK = ("python examples/basic_usage.py", "python -m nox -l", "python -m release doctor")
"""Commands that take a second or two; the others are whole sessions, or parts of the suite that runs this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """One line of a checklist."""

    phase: str
    ticked: bool
    text: str
    commands: tuple[str, ...]


def boxes() -> list[Box]:
    """Every box, in order."""
    found: list[Box] = []
    phase = ""
    for line in ROADMAP.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            phase = line.removeprefix("## ").partition(":")[0]
        if box := re.fullmatch(r"- \[([ x])\] (.+)", line):
            said, _, proof = box[2].rpartition(": ")
            commands = tuple(re.findall(r"`([^`]+)`", proof))
            found.append(Box(phase=phase, ticked=box[1] == "x", text=said, commands=commands))
    return found


def problem(command: str) -> str:
    """Why a command cannot be what proves a ticked box; empty when it can."""
    words = shlex.split(command)
    if line := nox_line(command):
        absent = set(line.sessions) - sessions((ROOT / "noxfile.py").read_text(encoding="utf-8"))
        for name in line.sessions:
            if name in STAGES:
                parse([name, *line.words])
        return f"no session {', '.join(sorted(absent))}" if absent else ""
    if words[:3] == ["python", "-m", "release"]:
        return "" if parse(words[3:])[0] else "no stage"
    if words[:4] == ["python", "-m", "pytest", "-q"]:
        absent_files = [word for word in words[4:] if not (ROOT / word).exists()]
        return f"no {', '.join(absent_files)}" if absent_files or len(words) == 4 else ""
    if words[0] == "python" and words[1:] != ["-m", "nox", "-l"]:
        return "" if (ROOT / words[1]).is_file() else f"no {words[1]}"
    return "" if command == "python -m nox -l" else "not a command of this repository"


def test_roadmap_has_the_five_phases() -> None:
    """Each has boxes, and every box says how to see that it is done."""
    found = boxes()
    assert tuple(dict.fromkeys(box.phase for box in found)) == PHASES
    assert [box.text for box in found if not box.commands] == []
    lines = ROADMAP.read_text(encoding="utf-8").count("\n- [")
    assert lines == len(found)


def test_roadmap_open_boxes_say_so() -> None:
    """What is not there, or waits for a person, is called "not yet"; what is ticked is not."""
    for box in boxes():
        assert ("Not yet" in box.text) is not box.ticked, box.text


@pytest.mark.parametrize("box", [box for box in boxes() if box.ticked], ids=lambda box: box.commands[0])
def test_roadmap_ticked_boxes_name_what_exists(box: Box) -> None:
    """A session, a stage with its options, or a file: no tick stands on something that is not there."""
    assert [problem(command) for command in box.commands if problem(command)] == []


def test_roadmap_a_command_that_proves_nothing_is_seen() -> None:
    """The check above can fail, for each kind of command."""
    assert problem("python -m nox -s nothing")
    assert problem("python -m pytest -q tests/nothing.py")
    assert problem("python nothing.py")
    assert problem("make release")
    with pytest.raises(SystemExit):
        problem("python -m release nothing")


@pytest.mark.parametrize("command", QUICK)
def test_roadmap_quick_commands_pass(command: str) -> None:
    """Run as they stand there."""
    assert command in [each for box in boxes() if box.ticked for each in box.commands]
    finished = subprocess.run(
        [sys.executable, *shlex.split(command)[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
