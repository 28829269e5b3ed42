"""The command that runs a worker: what it says where it cannot, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest

from tests.library.support.builders import drain, send_ids
from tests.library.support.servers import RealLane
from tests.library.support.waiting import eventually
from tests.library.worker import app
from tta_agent_coordination import RedisMessageCoordinator
from tta_agent_coordination.cli import main
from tta_agent_coordination.worker import command

APP = "tests.library.worker.app"
ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Start where the tests' modules are, and forget what the command adds to the path."""
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("REDIS_URL", raising=False)
    before = list(sys.path)
    yield
    sys.path[:] = before


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([APP], "is not MODULE:NAME"),
        ([":worker"], "is not MODULE:NAME"),
        (
            ["no_such_module:worker"],
            "there is no module 'no_such_module': start the command in the directory",
        ),
        (["tests.no_such_module:worker"], "there is no module 'tests.no_such_module'"),
        (["tests.library.worker.broken_app:worker"], "No module named 'no_such_module_anywhere'"),
        ([f"{APP}:workers"], "has no 'workers'; it has faulty, own, stubborn, worker"),
        (["tests.library.support:worker"], "has no 'worker'; it has no AgentWorker at all"),
        ([f"{APP}:not_a_worker"], "is int, neither an AgentWorker nor a function that returns one"),
        ([f"{APP}:make_later"], "is an `async def` function"),
        ([f"{APP}:needs"], "cannot be called without arguments"),
        ([f"{APP}:worker"], "give --url redis://HOST:PORT/0, or set REDIS_URL"),
        ([f"{APP}:worker", "--url", "http://127.0.0.1"], "must specify one of the following schemes"),
        ([f"{APP}:own", "--url", "redis://127.0.0.1"], "has a coordinator of its own"),
    ],
)
def test_wrong_arguments_are_told(words: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: somebody who mistyped a name reads a traceback of ours."""
    assert main(["worker", *words]) == command.USAGE
    assert text in capsys.readouterr().err


def test_module_that_fails_to_import_is_shown_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: a fault in the user's own module is hidden; or a module beside us is not found."""
    (tmp_path / "app_that_raises.py").write_text("raise LookupError('a fault of yours')\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert main(["worker", "app_that_raises:worker"]) == command.USAGE
    assert "LookupError: a fault of yours" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [[f"{APP}:make", "--url", "redis://somebody:secret@127.0.0.1:1/0"], [f"{APP}:own"]]
)
def test_unreachable_server_is_told_without_the_password(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a worker that reaches no server looks alive, or writes a password into a log."""
    monkeypatch.setattr(app.worker, "coordinator", None)
    assert main(["worker", *words]) == command.UNREACHABLE
    said = capsys.readouterr().err
    assert "cannot be reached" in said
    assert "secret" not in said


def test_worker_that_fails_ends_with_its_code(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: a supervisor takes a failed worker for one that was asked to end."""

    async def broken(*_: object) -> int:
        raise LookupError("a fault of ours")

    monkeypatch.setattr(command, "_run", broken)
    assert main(["worker", f"{APP}:faulty", "--log-level", "error"]) == command.FAILED
    assert "a fault of ours" in caplog.text


@contextlib.asynccontextmanager
async def running(name: str, lane: RealLane) -> AsyncGenerator[asyncio.subprocess.Process]:
    """Run the command in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-W", "error", "-m", "tta_agent_coordination", "worker", f"{APP}:{name}"),
        env={**os.environ, "REDIS_URL": lane.url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def line_of(process: asyncio.subprocess.Process) -> str:
    """Return the next line it says."""
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_ends_the_worker_and_a_second_one_its_grace(
    real_lane: RealLane, number: signal.Signals
) -> None:
    """Broken: a deployment loses messages, or has to kill its workers."""
    coordinator = RedisMessageCoordinator(real_lane.client())
    async with running("make", real_lane) as process:
        await send_ids(coordinator, ["message-1"], app.WORLD)
        assert await line_of(process) == "got message-1"
        await send_ids(coordinator, ["message-9", "message-2"], app.WORLD)
        assert await line_of(process) == "got message-9"

        async def holds(count: int) -> bool:
            return (await coordinator.stats(app.WORLD)).reserved == count

        await eventually("it holds both", lambda: holds(2))
        process.send_signal(number)
        await eventually("it gave back what it had not begun", lambda: holds(1))
        assert process.returncode is None
        process.send_signal(number)
        assert await process.wait() == command.DONE
        assert process.stderr is not None
        said = (await process.stderr.read()).decode()
    begun = f"the worker of {app.WORLD} takes messages from {real_lane.url} until SIGTERM or SIGINT"
    assert begun in said, "whoever starts it sees that it works"
    assert await drain(coordinator, app.WORLD) == ["message-9", "message-2"]


async def test_handler_that_ignores_its_end_does_not_hold_the_process(real_lane: RealLane) -> None:
    """Broken: a worker with a stuck handler has to be killed, with all that it holds."""
    coordinator = RedisMessageCoordinator(real_lane.client())
    await send_ids(coordinator, ["message-1", "message-2"], app.WORLD)
    async with running("stubborn", real_lane) as process:
        assert await line_of(process) == "got message-1"
        assert await process.wait() == command.ABANDONED
    stats = await coordinator.stats(app.WORLD)
    assert (stats.ready, stats.reserved) == (1, 1)
    [token] = await held(coordinator)
    await coordinator.ack(app.WORLD, token)
    assert await drain(coordinator, app.WORLD) == ["message-2"]


async def held(coordinator: RedisMessageCoordinator) -> list[str]:
    """Return the tokens that somebody holds."""
    found = await coordinator._redis.execute_command("HKEYS", coordinator._reserved_hash(app.WORLD))
    return [token.decode() for token in found]


def test_help_names_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: whoever writes a service file has to read the code."""
    with pytest.raises(SystemExit) as ended:
        main(["worker", "--help"])
    assert ended.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    for code in (command.DONE, command.FAILED, command.USAGE, command.UNREACHABLE, command.ABANDONED):
        assert f"{code} " in said
    assert "MODULE:NAME" in said
