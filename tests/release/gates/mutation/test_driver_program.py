"""The driver as the program it is: a verb and a job file, beside whatever mutmut the environment has."""

import json
import os
import runpy
import sys
from pathlib import Path

import pytest

from release.gates.mutation import driver
from tests.release.gates.mutation.test_driver import StandIn

MODULES = (
    "configuration",
    "mutation.trampoline",
    "runners.harness",
    "state",
    "workers.isolation",
)
"""What the driver asks of mutmut to judge."""


def test_the_program_does_what_its_words_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stage starts it by verb and job file, and reads its answers while it works."""
    stand_in = StandIn(codes={"a.x_make__mutmut_1": 1})
    for name in MODULES:
        monkeypatch.setitem(sys.modules, f"mutmut.{name}", stand_in.module(name))  # type: ignore[arg-type] # as far as it is used
    monkeypatch.setitem(sys.modules, "pytest", stand_in.pytest())  # type: ignore[arg-type] # as far as it is used
    (tmp_path / "mutants").mkdir()
    job = {"tests": ["t"], "mutants": ["a.x_make__mutmut_1"], "until": None, "parent": os.getppid()}
    job |= {name: str(tmp_path / name) for name in ("results", "stop", "sign")}
    (tmp_path / "judge.json").write_text(json.dumps(job), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", [driver.__file__, "judge", "judge.json"])
    runpy.run_path(driver.__file__, run_name="__main__")
    answers = [json.loads(line) for line in (tmp_path / "results").read_text(encoding="utf-8").splitlines()]
    assert [(each["kind"], each["code"]) for each in answers] == [
        ("baseline", 0),
        ("control", 0),
        ("mutant", 1),
    ]
    assert stand_in.stopped
