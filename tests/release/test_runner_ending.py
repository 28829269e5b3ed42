"""What a stage runs ends with it: by a signal, with the nox above it, or after its time."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from release import runner
from release.runner import LocalRunner, ends_with_children


@pytest.fixture(autouse=True)
def nobody_handles_sigterm() -> Iterator[None]:
    """Whoever runs the tests, a mutation run for one, may handle it and is given it back."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def alive(tmp_path: Path) -> Path:
    """A named pipe: whoever holds it open for writing is alive, and its end is read when nobody is."""
    path = tmp_path / "alive"
    os.mkfifo(path)
    return path


def holding(alive: Path) -> str:
    """A program in a group of its own that says it is there and stays."""
    return (
        "import os, time\n"
        f"held = os.open({str(alive)!r}, os.O_WRONLY)\n"
        "os.write(held, b'here')\n"
        "time.sleep(600)\n"
    )


def running(program: str, *, threads: bool = False) -> str:
    """A stage in small, which runs a program through the runner, from another thread when asked."""
    call = f"LocalRunner()([sys.executable, '-c', {program!r}], cwd=Path.cwd())"
    if threads:
        call = f"ThreadPoolExecutor(1).submit(lambda: {call}).result()"
    return (
        # Whoever started the tests (nohup, a background job) may ignore signals, which is inherited.
        "import signal, sys\n"
        "for name in ('SIGTERM', 'SIGINT', 'SIGHUP'):\n"
        "    signal.signal(getattr(signal, name), signal.SIG_DFL)\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from pathlib import Path\n"
        "from release.runner import LocalRunner, ends_with_children\n"
        "with ends_with_children():\n"
        f"    {call}\n"
    )


def started(program: str, alive: Path, **env: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start a program, wait until the one that holds the pipe is there; returns the pipe's other end."""
    own = {name: value for name, value in os.environ.items() if name != "NOX_CURRENT_SESSION"}
    root = Path(runner.__file__).parents[1]
    child = subprocess.Popen(
        [sys.executable, "-c", program], cwd=root, env=own | env, stderr=subprocess.DEVNULL
    )
    reading = os.open(alive, os.O_RDONLY)
    assert os.read(reading, 4) == b"here"
    return child, reading


def ended(child: subprocess.Popen[bytes], reading: int) -> None:
    """Returns when every holder of the pipe is gone; a survivor holds the test until it times out."""
    assert os.read(reading, 1) == b""
    os.close(reading)
    child.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("threads", [False, True])
def test_a_process_that_is_told_to_end_ends_what_it_runs(
    alive: Path, number: signal.Signals, threads: bool
) -> None:
    """A cancelled job must not leave an upload or a server behind, whichever thread started it."""
    child, reading = started(running(holding(alive), threads=threads), alive)
    child.send_signal(number)
    ended(child, reading)
    assert child.returncode != 0


def test_a_stage_under_nox_ends_with_nox(alive: Path) -> None:
    """nox ends at a SIGTERM without a word to its session; the stage looks whether it is still there."""
    stage = running(holding(alive))
    nox = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {stage!r}])"
    child, reading = started(nox, alive, NOX_CURRENT_SESSION="build")
    child.terminate()
    ended(child, reading)


def test_a_timeout_reaches_what_a_stage_inside_runs(alive: Path, tmp_path: Path) -> None:
    """A rehearsed stage's programs are in groups of their own: asked to end, it ends them."""
    reader: list[int] = []
    opened = threading.Thread(target=lambda: reader.append(os.open(alive, os.O_RDONLY)))
    opened.start()
    # A mutation run says in front where the unmutated runner is.
    paths = [os.environ.get("PYTHONPATH", ""), str(Path(runner.__file__).parents[1])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    finished = LocalRunner()(
        [sys.executable, "-c", running(holding(alive))], cwd=tmp_path, env=env, timeout_s=4.0
    )
    assert finished.code == 124
    opened.join()
    assert os.read(reader[0], 4) in {b"here", b""}
    assert os.read(reader[0], 1) == b""
    os.close(reader[0])


def test_what_will_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that ignores the question gets no second one."""
    monkeypatch.setattr(runner, "GRACE_S", 0.1)
    script = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    assert LocalRunner()([sys.executable, "-c", script], cwd=tmp_path, timeout_s=1.5).code == 124


def test_nothing_is_started_once_the_end_was_asked_for(tmp_path: Path) -> None:
    """A queue of jobs must not go on behind a Ctrl-C; later runs of the same process are not held by it."""
    words = [sys.executable, "-c", ""]

    def told() -> None:
        with ends_with_children({}):
            try:
                signal.raise_signal(signal.SIGTERM)
            finally:
                late.append(LocalRunner()(words, cwd=tmp_path))

    late: list[runner.Finished] = []
    with pytest.raises(KeyboardInterrupt):
        told()
    assert (late[0].code, late[0].ok) == (143, False)
    assert "was told to end" in late[0].stderr
    assert LocalRunner()(words, cwd=tmp_path).ok
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_signals_that_somebody_handles_stay_theirs() -> None:
    """What a person ignores with nohup stays ignored; another thread installs nothing."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ends_with_children({"NOX_CURRENT_SESSION": "lint"}):
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)
    seen: list[object] = []

    def elsewhere() -> None:
        with ends_with_children({}):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [signal.SIG_DFL]
