"""What becomes of a message, handler by handler: no store, no worker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import pytest

from tests.library.support.builders import INPUT, WORLD, make_message
from tta_agent_coordination import FailureType, MessagePriority, MessageType, QueueMessage, ReceivedMessage
from tta_agent_coordination.worker._handling import (
    Done,
    Failed,
    Handler,
    Outcome,
    Released,
    checked,
    handle,
)

ANY: MessageType | None = None


def message(number: int = 1) -> ReceivedMessage:
    """Return one that is held."""
    queued = QueueMessage(message=make_message(f"message-{number}"), priority=MessagePriority.NORMAL)
    return ReceivedMessage(token="t", queue_message=queued, visibility_deadline="")


async def outcome(
    handlers: Mapping[MessageType | None, Handler], *, timeout_s: float = 10, stopping: bool = False
) -> Outcome:
    """Handle one message."""
    return await handle(
        handlers,
        message(),
        timeout_s=timeout_s,
        permanent=(KeyError,),
        is_stopping=lambda: stopping,
    )


def returning(value: Any) -> Handler:  # noqa: ANN401 - that is the point
    """Return a handler that returns this."""

    async def work(_: ReceivedMessage) -> Any:  # noqa: ANN401
        return value

    return work


def raising(error: BaseException) -> Handler:
    """Return a handler that raises this."""

    async def work(_: ReceivedMessage) -> None:
        raise error

    return work


async def test_handler_of_its_type_goes_before_the_one_for_all() -> None:
    """Broken: a message is worked on by the wrong handler."""
    kind = make_message().message_type
    here, there = (WORLD, make_message("message-here")), (INPUT, make_message("message-there"))
    both = {MessageType(kind): returning([here]), ANY: returning([there])}
    assert await outcome(both) == Done((here,))
    assert await outcome({ANY: returning([there])}) == Done((there,))


async def test_handler_gets_the_message() -> None:
    """Broken: a handler works on nothing."""
    seen: list[ReceivedMessage] = []

    async def note(received: ReceivedMessage) -> None:
        seen.append(received)

    assert await outcome({ANY: note}) == Done()
    assert seen == [message()]


async def test_message_without_a_handler_is_dead(caplog: pytest.LogCaptureFixture) -> None:
    """Broken: a message that nobody can work on comes again and again, or nobody reads why."""
    kind = MessageType(make_message().message_type)
    found = await outcome({})
    why = f"no handler for {kind.value} messages: add one with @worker.handler(MessageType.{kind.name})"
    assert found == Failed(FailureType.PERMANENT, why)
    assert f"message message-1: {why}" in caplog.text


@pytest.mark.parametrize(
    ("error", "failure", "words"),
    [
        (RuntimeError("a fault"), FailureType.TRANSIENT, "and may be tried again"),
        (KeyError("a fault"), FailureType.PERMANENT, "for good"),
        (TimeoutError("its own"), FailureType.TRANSIENT, "and may be tried again"),
    ],
)
async def test_error_is_a_failure_with_its_text(
    error: Exception, failure: FailureType, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: what can be mended is given up, what cannot is tried for ever, or the traceback is lost."""
    found = await outcome({ANY: raising(error)})
    assert found == Failed(failure, f"{type(error).__name__}: {error}")
    [record] = caplog.records
    assert record.getMessage() == f"message message-1 failed {words}: {error!r}"
    assert record.levelno == logging.WARNING
    assert record.exc_info is not None
    assert record.exc_info[1] is error


async def test_handler_that_takes_too_long_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    """Broken: one handler that hangs holds its place for ever, or it counts as some error of its own."""

    async def hang(_: ReceivedMessage) -> None:
        await asyncio.Event().wait()

    found = await outcome({ANY: hang}, timeout_s=0.01)
    why = "the handler took longer than handler_timeout (0.01 s)"
    assert found == Failed(FailureType.TIMEOUT, why)
    assert f"message message-1: {why}" in caplog.text


@pytest.mark.parametrize("stopping", [False, True])
async def test_cancelled_handler_gives_its_message_back(*, stopping: bool) -> None:
    """Broken: the worker's own end counts against a message, or a handler's cancellation ends the worker."""

    async def cancel(_: ReceivedMessage) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        if stopping:
            task.cancel()
        await asyncio.sleep(1)

    async def run() -> tuple[Outcome, int]:
        found = await outcome({ANY: cancel}, stopping=stopping)
        task = asyncio.current_task()
        assert task is not None
        return found, task.cancelling()

    found, left = await asyncio.create_task(run())
    if stopping:
        assert (found, left) == (Released(), 0), "what settles it must not be cancelled as well"
    else:
        assert found == Failed(FailureType.TRANSIENT, "the handler was cancelled")


@pytest.mark.parametrize("kind", [list, tuple])
async def test_what_a_handler_returns_is_sent(kind: type) -> None:
    """Broken: a follow-up is lost, or only the first one goes out."""
    follows = [(WORLD, make_message("message-a")), (INPUT, make_message("message-b"))]
    assert await outcome({ANY: returning(kind(follows))}) == Done(tuple(follows))
    assert await outcome({ANY: returning(None)}) == Done()
    assert await outcome({ANY: returning([])}) == Done()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("text", "'text'"),
        ([7], "7"),
        ((WORLD,), repr(WORLD)),
        ([(WORLD, "no message")], "'no message'"),
        ([("nobody", "message")], "'nobody'"),
        ([10**400], "an integer beyond 10^20"),
    ],
)
async def test_what_cannot_be_sent_is_an_error_that_shows_it(value: object, shown: str) -> None:
    """Broken: a handler's mistake is taken for an acknowledgement."""
    found = await outcome({ANY: returning(value)})
    assert isinstance(found, Failed)
    assert found.failure is FailureType.TRANSIENT
    assert found.error.startswith(
        "TypeError: a handler returns None, or a list of (recipient, message) pairs"
    )
    assert shown in found.error


class Callee:
    """An object whose call is a coroutine function, and one whose call is not."""

    async def __call__(self, _: ReceivedMessage) -> None:
        """Work."""


class Blocking:
    """An object that blocks."""

    def __call__(self, _: ReceivedMessage) -> None:
        """Work."""


def test_handler_has_to_be_a_coroutine_function() -> None:
    """Broken: a handler that blocks the loop is found out when the first message comes."""
    good = returning(None)
    callee = Callee()
    assert checked(good) is good
    assert checked(callee) is callee
    unfit: list[object] = [Blocking(), Blocking, Callee, print, 7]
    for bad in unfit:
        with pytest.raises(TypeError, match="a handler is an `async def` function, not"):
            checked(bad)
