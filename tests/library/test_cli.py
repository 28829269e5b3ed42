"""The command line: which commands there are, what each is handed, and that its code comes back."""

from __future__ import annotations

import argparse
from types import ModuleType
from typing import Any

import pytest

from tta_agent_coordination import cli
from tta_agent_coordination.doctor import command as doctor
from tta_agent_coordination.worker import command as worker


@pytest.mark.parametrize(
    ("words", "module", "given"),
    [
        (["worker", "app:worker", "--url", "redis://127.0.0.1/3"], worker, {"app": "app:worker"}),
        (["doctor", "--v0", "redis://127.0.0.1/3", "--repair"], doctor, {"repair": True}),
    ],
)
def test_command_gets_its_arguments_and_gives_its_code(
    words: list[str], module: ModuleType, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a supervisor sees another exit code than the command's, or a command gets no arguments."""
    seen: list[argparse.Namespace] = []

    def run(values: argparse.Namespace) -> int:
        seen.append(values)
        return 42

    monkeypatch.setattr(module, "run", run)
    assert cli.main(words) == 42
    assert given.items() <= vars(seen[0]).items()


@pytest.mark.parametrize("words", [[], ["no-such-command"]])
def test_wrong_command_is_told_with_those_there_are(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: somebody who types no command, or a wrong one, reads a traceback, or nothing."""
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "usage: python -m tta_agent_coordination [-h] COMMAND ..." in said
    assert ("required: COMMAND" if not words else "choose from worker, doctor") in said.replace("'", "")


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: `--help` does not say what can be run."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    assert ended.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Durable per-agent inboxes" in said
    assert " worker run an AgentWorker until SIGTERM or SIGINT " in said
    assert " doctor find what processes of TTA's first version left behind, and mend it " in said
