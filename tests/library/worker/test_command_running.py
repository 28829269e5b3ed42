"""What the command that runs a worker does between its arguments and its end, with no process and no server.

That a process takes signals and ends is in `test_command.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Self, cast

import pytest

from tests.library.support.builders import WORLD
from tests.library.support.virtual import VirtualLoop, in_virtual_time
from tta_agent_coordination import AgentWorker
from tta_agent_coordination.exceptions import StoreUnavailableError
from tta_agent_coordination.worker import command

URL = "redis://somebody:secret@127.0.0.1:6379/3"


class Coordinator:
    """A coordinator that answers at once, late, never or with an error."""

    def __init__(self, answer: float | Exception = 0) -> None:
        self.answer = answer
        self.asked: list[object] = []
        self.made: list[tuple[str, str]] = []
        self.refuses: Exception | None = None
        self.is_open = False

    def from_url(self, url: str, key_prefix: str) -> Coordinator:
        """As the class method of the real one."""
        self.made.append((url, key_prefix))
        if self.refuses is not None:
            raise self.refuses
        return self

    async def __aenter__(self) -> Self:
        self.is_open = True
        return self

    async def __aexit__(self, *_: object) -> None:
        self.is_open = False

    async def stats(self, agent: object) -> None:
        """Answer as it was told to."""
        self.asked.append(agent)
        if isinstance(self.answer, Exception):
            raise self.answer
        await asyncio.sleep(self.answer)


class Worker:
    """A worker that notes that it ran."""

    def __init__(self, coordinator: Coordinator | None = None, *, abandoned: int = 0) -> None:
        self.agent_id = WORLD
        self.coordinator = coordinator
        self.abandoned = abandoned
        self.runs = 0
        self.was_open = False

    def connect(self, coordinator: Coordinator) -> None:
        """As the real one."""
        self.coordinator = coordinator

    async def run(self) -> None:
        """Work, and end as asked."""
        assert self.coordinator is not None
        self.was_open = self.coordinator.is_open
        self.runs += 1


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server is named outside of a test."""
    monkeypatch.delenv("REDIS_URL", raising=False)


def begin(worker: Worker, url: str | None = None, key_prefix: str = "ao") -> int:
    """Run the command's inner part in virtual time; return its exit code."""

    async def main(_: VirtualLoop) -> int:
        return await command._run(cast("AgentWorker", worker), url, key_prefix)

    return in_virtual_time(main)


def test_worker_with_a_coordinator_runs_until_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    """Broken: a worker is never started, or its end is told as a failure."""
    coordinator = Coordinator()
    worker = Worker(coordinator)
    with caplog.at_level(logging.INFO):
        assert begin(worker) == command.DONE == 0
    assert worker.runs == 1
    assert coordinator.asked == [WORLD]
    [told] = caplog.messages
    assert told == (
        f"the worker of {WORLD} takes messages from the server of its coordinator until SIGTERM or SIGINT "
        "ends it"
    )


@pytest.mark.parametrize("given", ["argument", "environment", "both"])
def test_worker_without_one_gets_a_coordinator_for_the_url(
    given: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: a worker works on another server or under other keys, leaves it open, or logs a password."""
    coordinator, worker = Coordinator(), Worker()
    monkeypatch.setattr(command, "RedisMessageCoordinator", coordinator)
    if given != "argument":
        monkeypatch.setenv("REDIS_URL", URL if given == "environment" else "redis://elsewhere")
    with caplog.at_level(logging.INFO):
        assert begin(worker, None if given == "environment" else URL, "tta") == command.DONE
    assert coordinator.made == [(URL, "tta")]
    assert worker.coordinator is coordinator
    assert (worker.runs, worker.was_open, coordinator.is_open) == (1, True, False)
    assert "takes messages from redis://127.0.0.1:6379/3 until" in caplog.text
    assert "secret" not in caplog.text


def test_wrong_words_about_the_server_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a worker ends with a traceback of ours, or goes to a server that nobody named."""
    coordinator = Coordinator()
    monkeypatch.setattr(command, "RedisMessageCoordinator", coordinator)
    with pytest.raises(
        command._UsageError, match=r"^the worker has a coordinator of its own: leave --url out"
    ):
        begin(Worker(Coordinator()), URL)
    for url in (None, ""):
        with pytest.raises(
            command._UsageError, match=r"^which server[?] give --url redis://HOST:PORT/0, or set"
        ):
            begin(Worker(), url)
    coordinator.refuses = ValueError("no such scheme")
    with pytest.raises(command._UsageError, match=r"^no such scheme$"):
        begin(Worker(), URL)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (StoreUnavailableError("no route"), "no route"),
        (60.0, "no answer within 10 s"),
        (StoreUnavailableError(""), "no answer within 10 s"),
    ],
)
def test_server_that_does_not_answer_at_the_start_is_told(
    answer: float | Exception, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: a worker that reaches no server looks alive."""
    worker = Worker(Coordinator(answer))
    assert begin(worker) == command.UNREACHABLE == 3
    assert worker.runs == 0
    assert capsys.readouterr().err == (
        f"tta_agent_coordination worker: the server of its coordinator cannot be reached ({why}): start it, "
        "or correct the URL\n"
    )


def test_server_that_answers_late_is_waited_for() -> None:
    """Broken: a server that is busy for a moment counts as away."""
    worker = Worker(Coordinator(9.9))
    assert begin(worker) == command.DONE
    assert worker.runs == 1


def test_abandoned_handlers_do_not_hold_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a stuck handler keeps the process alive, or the last lines of its log are lost."""
    told: list[object] = []

    def end(code: int) -> None:
        told.append(code)
        raise SystemExit(code)

    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setattr(logging, "shutdown", lambda: told.append("the log is written"))
    with pytest.raises(SystemExit):
        begin(Worker(Coordinator(), abandoned=1))
    assert told == ["the log is written", command.ABANDONED]
    assert command.ABANDONED == 4


def values(app: str = "my_app:worker", level: str = "warning") -> argparse.Namespace:
    """The command's arguments."""
    return argparse.Namespace(app=app, url=URL, key_prefix="tta", log_level=level)


def test_command_logs_as_it_was_told_and_returns_the_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: a supervisor learns nothing, or a log has no times."""
    configured: list[dict[str, Any]] = []
    worker = Worker()
    asked: list[tuple[object, ...]] = []

    async def run(*what: object) -> int:
        asked.append(what)
        return command.UNREACHABLE

    async def broken(*_: object) -> int:
        raise LookupError("a fault")

    async def wrong(*_: object) -> int:
        raise command._UsageError("which server?")

    monkeypatch.setattr(logging, "basicConfig", lambda **options: configured.append(options))  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    monkeypatch.setattr(command, "load", lambda app: worker if app == "my_app:worker" else None)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    monkeypatch.setattr(command, "_run", run)
    assert command.run(values()) == command.UNREACHABLE
    assert asked == [(worker, URL, "tta")]
    assert configured == [{"level": "WARNING", "format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}]
    monkeypatch.setattr(command, "_run", broken)
    assert command.run(values()) == command.FAILED == 1
    assert "the worker of my_app:worker failed" in caplog.messages
    monkeypatch.setattr(command, "_run", wrong)
    assert command.run(values()) == command.USAGE == 2
    assert capsys.readouterr().err == "tta_agent_coordination worker: which server?\n"


def test_arguments_have_the_defaults_that_are_written_down() -> None:
    """Broken: a worker works under other keys than its coordinator elsewhere."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert parser.parse_args(["a:b"]) == argparse.Namespace(
        app="a:b", url=None, key_prefix="ao", log_level="info"
    )
    words = ["a:b", "--url", URL, "--key-prefix", "tta", "--log-level", "debug"]
    assert parser.parse_args(words) == argparse.Namespace(
        app="a:b", url=URL, key_prefix="tta", log_level="debug"
    )
    with pytest.raises(SystemExit):
        parser.parse_args(["a:b", "--log-level", "loud"])
    text = " ".join(parser.format_help().split())
    assert (
        "SIGTERM or SIGINT ends it: it takes no more messages, lets handlers come to their end for its "
        "grace, and gives back what is left. A second signal ends the grace."
    ) in text
    assert (
        "exit codes: 0 ended as asked; 1 failed; 2 wrong arguments; 3 the server could not be reached; "
        "4 ended, but handlers that ignore being cancelled were cut off"
    ) in text
    for level in ("debug", "info", "warning", "error"):
        assert parser.parse_args(["a:b", "--log-level", level]).log_level == level
    assert "MODULE:NAME an AgentWorker, or a function" in text
    assert "environment variable REDIS_URL)" in text
    assert "(default: ao)" in text
    assert "default: info" in text


@pytest.fixture
def my_app(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of the user's."""
    made = ModuleType("my_app")
    monkeypatch.setitem(sys.modules, "my_app", made)
    return made


def test_worker_is_found_as_it_is_or_made_by_a_function(my_app: ModuleType) -> None:
    """Broken: a worker that is there is not found."""
    worker = AgentWorker(WORLD)

    def make(concurrency: int = 1) -> AgentWorker:
        assert concurrency == 1
        return worker

    for each in (worker, make):
        setattr(my_app, "worker", each)  # noqa: B010 - a module of no known type
        assert command.load("my_app:worker") is worker


def test_modules_of_the_current_directory_are_found_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a worker beside the user is not found, or one of that name elsewhere is taken."""
    (tmp_path / "app_beside_us.py").write_text(
        "from tta_agent_coordination import AgentId, AgentWorker\n"
        "worker = AgentWorker(AgentId(type='world', instance='1'))\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for _ in range(2):
        assert repr(command.load("app_beside_us:worker")).startswith("AgentWorker(world:1")
    assert sys.path[0] == str(tmp_path)
    assert sys.path.count(str(tmp_path)) == 1
    monkeypatch.delitem(sys.modules, "app_beside_us")


def with_needs(needed: int) -> AgentWorker:
    """A factory that cannot be called without arguments."""
    raise AssertionError(needed)


async def made_later() -> AgentWorker:
    """A factory that has to be awaited."""
    raise AssertionError


@pytest.mark.parametrize(
    ("app", "text"),
    [
        ("my_app", "^'my_app' is not MODULE:NAME; for example billing.agents:worker$"),
        ("my_app:", "^'my_app:' is not MODULE:NAME"),
        (":worker", "^':worker' is not MODULE:NAME"),
        ("my_app:worker:again", r"^module 'my_app' has no 'worker:again'"),
        ("argparse:worker", r"^module 'argparse' has no 'worker'; it has no AgentWorker at all$"),
        ("my_app:gone", "^module 'my_app' has no 'gone'; it has here, there$"),
        ("my_app:number", "^my_app:number is int, neither an AgentWorker nor a function that returns one$"),
        ("my_app:nothing", "^my_app:nothing is NoneType, neither an AgentWorker nor a function"),
        ("my_app:later", "^my_app:later is an `async def` function: the factory of a worker is a plain one$"),
        ("my_app:needs", "^my_app:needs cannot be called without arguments: .*'needed'"),
        (
            "no_such_module:worker",
            "^there is no module 'no_such_module': start the command in the directory that",
        ),
        (
            "my_app.inner:worker",
            "^there is no module 'my_app.inner'|^module 'my_app.inner' could not be imported",
        ),
    ],
)
def test_what_is_no_worker_is_told(my_app: ModuleType, app: str, text: str) -> None:
    """Broken: somebody who mistyped a name reads a traceback of ours."""
    contents = {
        "here": AgentWorker(WORLD),
        "there": AgentWorker(WORLD),
        "number": 1,
        "nothing": lambda: None,
        "later": made_later,
        "needs": with_needs,
    }
    for name, value in contents.items():
        setattr(my_app, name, value)
    with pytest.raises(command._UsageError, match=text):
        command.load(app)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("import no_such_module_anywhere", "ModuleNotFoundError: No module named 'no_such_module_anywhere'"),
        ("raise LookupError('a fault of yours')", "LookupError: a fault of yours"),
        ("raise ModuleNotFoundError('no name')", "ModuleNotFoundError: no name"),
    ],
)
def test_module_that_fails_to_import_is_shown_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, error: str
) -> None:
    """Broken: a fault in the user's own module is hidden behind a wrong name of ours."""
    (tmp_path / "app_that_fails.py").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(
        command._UsageError, match=r"^module 'app_that_fails' could not be imported; mend"
    ) as told:
        command.load("app_that_fails:worker")
    assert error in str(told.value)
    assert told.value.__cause__ is not None
