"""Owns what a handler is, and what becomes of its message: the one place that runs users' code."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from tta_agent_coordination._numbers import shown
from tta_agent_coordination.messaging import FailureType, ReceivedMessage
from tta_agent_coordination.models import AgentId, AgentMessage, MessageType

__all__ = ["Done", "Failed", "Follow", "Handler", "Outcome", "Released", "checked", "handle"]

logger = logging.getLogger(__name__)

type Follow = tuple[AgentId, AgentMessage]
"""A message to send, and the agent it goes to."""

type Handler = Callable[[ReceivedMessage], Awaitable[Sequence[Follow] | None]]
"""Works on one message; what it returns is sent in the same atomic step as the acknowledgement."""


@dataclass(frozen=True, slots=True)
class Done:
    """The message was worked on; `sends` go out with its acknowledgement."""

    sends: tuple[Follow, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """The message goes back, or to the dead letters."""

    failure: FailureType
    error: str


@dataclass(frozen=True, slots=True)
class Released:
    """The message goes back as if nobody had taken it."""


type Outcome = Done | Failed | Released


def checked(handler: object) -> Handler:
    """Return a handler that can be awaited.

    Raises:
        TypeError: If it is not a coroutine function, or an object whose call is one.
    """
    # Of the type: a class has a `__call__` too, its instances', and calling the class makes one of those.
    call = getattr(type(handler), "__call__", None)  # noqa: B004
    if not (inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(call)):
        raise TypeError(
            f"a handler is an `async def` function, not {handler!r}; let one that blocks run in a thread: "
            "`return await asyncio.to_thread(work, received)`"
        )
    return handler  # pyright: ignore[reportReturnType] - what it takes shows when it is called


async def handle(
    handlers: Mapping[MessageType | None, Handler],
    received: ReceivedMessage,
    *,
    timeout_s: float,
    permanent: tuple[type[Exception], ...],
    is_stopping: Callable[[], bool],
) -> Outcome:
    """Run the handler for a message; whatever it does is an outcome.

    Args:
        handlers: By message type; None takes what has no handler of its own.
        received: The message.
        timeout_s: Seconds after which the handler is cancelled.
        permanent: Errors that no further try mends.
        is_stopping: Tells whether a cancellation is the worker's own.
    """
    message = received.queue_message.message
    kind = MessageType(message.message_type)
    handler = handlers.get(kind) or handlers.get(None)
    if handler is None:
        why = f"no handler for {kind.value} messages: add one with @worker.handler(MessageType.{kind.name})"
        logger.error("message %s: %s", message.message_id, why)
        return Failed(FailureType.PERMANENT, why)
    limit = asyncio.timeout(timeout_s)
    try:
        async with limit:
            return _done(await handler(received))
    except asyncio.CancelledError:
        if not is_stopping():
            return Failed(FailureType.TRANSIENT, "the handler was cancelled")
        task = asyncio.current_task()
        while task is not None and task.uncancel():
            pass
        return Released()
    except Exception as error:
        if limit.expired():
            why = f"the handler took longer than handler_timeout ({timeout_s:g} s)"
            logger.error("message %s: %s", message.message_id, why)  # noqa: TRY400 - the trace shows the timer
            return Failed(FailureType.TIMEOUT, why)
        is_final = isinstance(error, permanent)
        logger.warning(
            "message %s failed %s: %r",
            message.message_id,
            "for good" if is_final else "and may be tried again",
            error,
            exc_info=error,
        )
        failure = FailureType.PERMANENT if is_final else FailureType.TRANSIENT
        return Failed(failure, f"{type(error).__name__}: {error}")


def _done(returned: object) -> Outcome:
    """Return what a handler's answer asks for."""
    if returned is None:
        return Done()
    pairs = tuple(cast("Sequence[object]", returned)) if isinstance(returned, list | tuple) else (returned,)
    sends: list[Follow] = []
    for pair in pairs:
        match pair:
            case (AgentId() as recipient, AgentMessage() as message):
                sends.append((recipient, message))
            case _:
                raise TypeError(
                    "a handler returns None, or a list of (recipient, message) pairs to send with the "
                    f"acknowledgement; not {shown(pair)}"
                )
    return Done(tuple(sends))
