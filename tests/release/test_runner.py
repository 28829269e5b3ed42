"""Programs are run as asked, and every way they can end is told apart."""

import sys
from pathlib import Path

import pytest

from release.runner import LocalRunner


def test_runner_keeps_both_streams_and_the_code(tmp_path: Path) -> None:
    """A failure message quotes what the program said."""
    script = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    finished = LocalRunner()([sys.executable, "-c", script], cwd=tmp_path)
    assert (finished.code, finished.stdout, finished.stderr, finished.ok) == (3, "out\n", "err\n", False)
    assert finished.tail() == "out\n\nerr"


def test_runner_shows_lines_as_they_come(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A long step whose output stays hidden looks like a hang."""
    finished = LocalRunner()([sys.executable, "-c", "print('one'); print('two')"], cwd=tmp_path, show=True)
    assert finished.ok
    assert capsys.readouterr().out == finished.stdout == "one\ntwo\n"


@pytest.mark.parametrize("show", [False, True])
def test_runner_kills_after_the_timeout(tmp_path: Path, show: bool) -> None:
    """A program that hangs must not hold a release for ever."""
    script = "import time; print('began', flush=True); time.sleep(60)"
    finished = LocalRunner()([sys.executable, "-c", script], cwd=tmp_path, show=show, timeout_s=0.5)
    assert finished.code == 124
    assert "killed after 0.5 s" in finished.stderr


def test_runner_reports_a_program_that_cannot_start(tmp_path: Path) -> None:
    """A missing tool is a finding with its name, not a traceback."""
    finished = LocalRunner()(["no-such-program"], cwd=tmp_path)
    assert finished.code == 127
    assert "no-such-program could not be started" in finished.stderr


def test_runner_gives_the_child_only_the_environment_it_is_handed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scrubbed environment that leaks a token is no scrubbed environment."""
    monkeypatch.setenv("TWINE_PASSWORD", "secret")
    finished = LocalRunner()(
        [sys.executable, "-c", "import os; print(os.environ.get('TWINE_PASSWORD'))"],
        cwd=tmp_path,
        env={"A": "1"},
    )
    assert finished.stdout == "None\n"


def test_runner_replaces_bytes_that_are_not_text(tmp_path: Path) -> None:
    """A tool that prints a broken byte must not stop the stage."""
    script = "import sys; sys.stdout.buffer.write(bytes([255, 10]))"
    assert LocalRunner()([sys.executable, "-c", script], cwd=tmp_path).stdout == "\N{REPLACEMENT CHARACTER}\n"


@pytest.mark.parametrize("show", [False, True])
def test_runner_kills_what_the_program_started_too(tmp_path: Path, show: bool) -> None:
    """A grandchild that keeps the pipe open would hold the stage after its parent is gone."""
    script = (
        "import subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "import time; time.sleep(60)"
    )
    finished = LocalRunner()([sys.executable, "-c", script], cwd=tmp_path, show=show, timeout_s=0.5)
    assert finished.code == 124
    assert finished.took_ms < 30_000
