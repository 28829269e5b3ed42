"""Running a program for the adoption tools: what it sees, and what is kept of what it says."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tta_agent_coordination.adopt.running import run

TELLS = """
import json, os, sys
print(json.dumps([os.getcwd(), sys.stdin.read(), sorted(os.environ.items())]))
sys.stdout.flush()
sys.stderr.write("told on the way\\n")
sys.stderr.flush()
sys.stdout.buffer.write(b"\\xff h\\xc3\\xb6hle\\n")
raise SystemExit(3)
"""


def test_program_sees_its_own_project_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: uv works on this process's environment, waits for a keyboard, or breaks its lines."""
    theirs = {"PYTHONPATH": "/nowhere", "UV_FROZEN": "1", "UV_PROJECT": "/nowhere", "VIRTUAL_ENV": "/nowhere"}
    for name, value in {**theirs, "KEPT": "yes"}.items():
        monkeypatch.setenv(name, value)
    reading, writing = os.pipe()
    os.write(writing, b"typed")
    os.close(writing)
    saved = os.dup(0)
    os.dup2(reading, 0)
    try:
        ended = run([sys.executable, "-c", TELLS], cwd=tmp_path)
    finally:
        os.dup2(saved, 0)
        os.close(saved)
        os.close(reading)
    first, second, third = ended.output.splitlines()
    where, typed, pairs = json.loads(first)
    seen = dict(pairs)
    assert (Path(where), typed) == (tmp_path.resolve(), "")
    assert (seen["KEPT"], seen["UV_NO_WRAP"]) == ("yes", "1")
    assert theirs.keys().isdisjoint(seen)
    assert (ended.code, second, third) == (3, "told on the way", "\ufffd höhle")
    assert ended.last_line == third
