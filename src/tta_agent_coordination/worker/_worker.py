"""Owns `AgentWorker`: what a worker is told, and when it begins and ends. `_pump` does the work."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Generator, Mapping
from types import TracebackType
from typing import Self, cast

from tta_agent_coordination import _keys, _numbers
from tta_agent_coordination.coordinators import RedisMessageCoordinator
from tta_agent_coordination.messaging import ReceivedMessage
from tta_agent_coordination.models import AgentId, MessageType
from tta_agent_coordination.registries import RedisAgentRegistry
from tta_agent_coordination.resilience.retry import PROGRAMMING_ERRORS
from tta_agent_coordination.worker._handling import Handler, Outcome, checked, handle
from tta_agent_coordination.worker._pump import Limits, Pump

__all__ = ["AgentWorker"]

logger = logging.getLogger(__name__)

_LONGEST_S = 604_800
"""Longest time any option may name: a week, as for a lease."""


class AgentWorker:
    """Works on one agent's inbox: takes messages, hands each to its handler, and settles it.

    A message is acknowledged when its handler returns; the (recipient, message) pairs it returns are sent in
    the same atomic step. An exception gives the message back for another try, or makes it a dead letter where
    its type says that no try mends it. While a handler runs, its lease is renewed from a thread with a
    connection of its own, so a handler that blocks the event loop keeps its message, up to `handler_timeout`.

    Delivery is at least once: a message whose worker was killed is delivered again when its lease ends.
    A lost connection is waited out. In steady state a message costs one command.

    Args:
        agent_id: Whose inbox.
        coordinator: Reaches it; the caller closes it. None when it comes later, through `connect` or the
            command `python -m tta_agent_coordination worker`.
        handlers: By message type; None as the type takes what has no handler of its own.
        concurrency: Handlers that run at the same time, at most.
        prefetch: Messages held ready beside them, 0 to `concurrency`.
        visibility_timeout: Length of a lease in seconds, renewed every third of it: how long a message waits
            when its worker was killed.
        handler_timeout: Seconds a handler may take; then it is cancelled, its lease is no longer renewed, and
            the message is tried again.
        grace: Seconds handlers get to end when the worker stops; then they are cancelled and their messages
            released.
        permanent: Exception types that no further try mends.
        registry: Where the agent is registered. Its leases then come back as soon as it is declared dead, not
            only when they end, and while it drains the worker takes nothing new.

    Raises:
        ValueError: If a number is out of range.
        TypeError: If a handler is not an `async def` function.
    """

    def __init__(
        self,
        agent_id: AgentId,
        coordinator: RedisMessageCoordinator | None = None,
        *,
        handlers: Mapping[MessageType | None, Handler] | None = None,
        concurrency: int = 1,
        prefetch: int = 1,
        visibility_timeout: float = 30.0,
        handler_timeout: float = 1_800.0,
        grace: float = 10.0,
        permanent: tuple[type[Exception], ...] = PROGRAMMING_ERRORS,
        registry: RedisAgentRegistry | None = None,
    ) -> None:
        self.agent_id = agent_id
        self._name = _keys.inbox_name(agent_id)
        self.coordinator = coordinator
        concurrency = _numbers.whole("concurrency", concurrency, low=1)
        prefetch = _numbers.whole("prefetch", prefetch, low=0)
        if prefetch > concurrency:
            raise ValueError(
                f"prefetch ({prefetch}) must be at most concurrency ({concurrency}): others could "
                "work on what one holds ready"
            )
        self._limits = Limits(
            concurrency=concurrency,
            prefetch=prefetch,
            visibility_timeout=_seconds("visibility_timeout", visibility_timeout),
            handler_timeout=_seconds("handler_timeout", handler_timeout),
            grace=_numbers.number("grace", grace, low=0, high=_LONGEST_S),
        )
        self._permanent = _error_types(permanent)
        self._registry = registry
        self._unlisten: Callable[[], None] | None = None
        self._handlers: dict[MessageType | None, Handler] = {}
        for kind, function in (handlers or {}).items():
            self._add(kind, function)
        self._pump: Pump | None = None
        self._taking: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._stop_asked: asyncio.Event | None = None
        self._failure: BaseException | None = None
        self._abandoned = 0

    def __repr__(self) -> str:
        """Show the inbox, the limits and whether it works."""
        state = "working" if self._pump is not None else "at rest"
        return (
            f"{type(self).__name__}({self._name}, concurrency={self._limits.concurrency}, "
            f"prefetch={self._limits.prefetch}, {state})"
        )

    @property
    def abandoned(self) -> int:
        """Handlers that went on when they were cancelled at the last stop; they still run."""
        return self._abandoned

    def handler[H: Handler](self, *kinds: MessageType) -> Callable[[H], H]:
        """Return a decorator that makes a function the handler for some types; for all others without any.

        The function gets a `ReceivedMessage`, and returns None or a list of (recipient, message) pairs, at
        most 100, which are sent with the acknowledgement: all or none, and never twice.

        Raises:
            ValueError: If one of the types has a handler already.
            TypeError: If it is not an `async def` function.
        """

        def add(function: H) -> H:
            for kind in kinds or (None,):
                self._add(kind, function)
            return function

        return add

    def _add(self, kind: MessageType | None, function: Handler) -> None:
        kind = None if kind is None else MessageType(kind)
        if kind in self._handlers:
            name = "messages without a handler of their own" if kind is None else f"{kind.value} messages"
            raise ValueError(f"{name} have a handler already, {self._handlers[kind]!r}; a type has one")
        self._handlers[kind] = checked(function)

    def connect(self, coordinator: RedisMessageCoordinator) -> None:
        """Say through which coordinator the worker reaches its inbox, where that was not said before.

        Raises:
            RuntimeError: If it has one.
        """
        if self.coordinator is not None:
            raise RuntimeError(
                f"the worker of {self._name} has a coordinator already, {self.coordinator}; make another "
                "worker for another server"
            )
        self.coordinator = coordinator

    async def __aenter__(self) -> Self:
        """Begin to work, in the background."""
        self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, as `aclose` does."""
        await self.aclose()

    def _begin(self) -> None:
        if self._pump is not None:
            raise RuntimeError(f"the worker of {self._name} works already; wait for `aclose()` first")
        if self.coordinator is None:
            raise RuntimeError(
                f"the worker of {self._name} has no coordinator: give it one when it is made, or call "
                "connect(), or start it with `python -m tta_agent_coordination worker`"
            )
        if not self._handlers:
            raise RuntimeError(
                f"the worker of {self._name} has no handlers: add one with @worker.handler(MessageType...)"
            )
        self._failure, self._abandoned = None, 0
        self._stop_asked = asyncio.Event()
        self._pump = Pump(self.coordinator, self.agent_id, self._limits, self._handle, self._fail)
        if self._registry is not None:
            self._bind(self._registry, self.coordinator, self._pump)
        self._taking = asyncio.get_running_loop().create_task(self._pump.run())
        self._taking.add_done_callback(self._taking_ended)

    def _bind(self, registry: RedisAgentRegistry, coordinator: RedisMessageCoordinator, pump: Pump) -> None:
        coordinator.bind_leases(self.agent_id, lambda: registry.epoch_of(self.agent_id))
        registry.return_leases_through(coordinator)
        self._unlisten = registry.on_draining(self.agent_id, pump.pause)
        pump.pause(registry.is_draining(self.agent_id))

    async def _handle(self, received: ReceivedMessage) -> Outcome:
        pump = self._pump
        return await handle(
            self._handlers,
            received,
            timeout_s=self._limits.handler_timeout,
            permanent=self._permanent,
            is_stopping=lambda: pump is None or pump.stopping,
        )

    def _taking_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """End the worker for a reason that no repetition mends; `run` and `aclose` raise it."""
        if self._failure is None:
            self._failure = error
        self.stop()

    def stop(self) -> None:
        """Ask a running worker to end: `run` returns when it has. A second call ends the grace of handlers.

        To be called inside its event loop; from elsewhere with `loop.call_soon_threadsafe(worker.stop)`.
        """
        if self._stop_asked is None or self._pump is None:
            return
        if self._stop_asked.is_set():
            self._pump.hurry()
        self._stop_asked.set()

    async def aclose(self) -> None:
        """Stop taking, wait `grace` for handlers, release what was not started or still held. Repeatable.

        Where it is cancelled the grace is over: handlers are cancelled, and what is held is released all the
        same before this returns.

        Raises:
            Exception: What ended the worker, if that was not asked for.
        """
        pump, taking, stop_asked = self._pump, self._taking, self._stop_asked
        if pump is None or taking is None or stop_asked is None:
            return
        stop_asked.set()
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(
                self._end(pump, taking), name=f"end the worker of {self._name}"
            )
        ending = self._ending
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:
            pump.hurry()
            await asyncio.wait({ending})
            raise
        if self._failure is not None:
            raise self._failure

    async def _end(self, pump: Pump, taking: asyncio.Task[None]) -> None:
        """End what works, in a task that no caller's cancellation reaches."""
        pump.stopping = True
        taking.cancel()
        await asyncio.wait({taking})
        self._abandoned = await pump.drain()
        self._pump = self._taking = self._ending = None
        if self._unlisten is not None and self.coordinator is not None:
            self._unlisten()
            self._unlisten = None
            self.coordinator.bind_leases(self.agent_id, None)

    async def run(self, *, handle_signals: bool = True) -> None:
        """Work until `stop` is called or, in the main thread, SIGTERM or SIGINT comes; end as `aclose` does.

        Args:
            handle_signals: Take both signals for this long; a second one ends the grace of handlers.

        Raises:
            RuntimeError: If it works already, or lacks a coordinator or handlers.
            Exception: What ended the worker, if that was not asked for.
        """
        async with self:
            stop_asked = self._stop_asked
            assert stop_asked is not None  # noqa: S101 - it has begun
            with self._signals() if handle_signals else contextlib.nullcontext():
                await stop_asked.wait()
                logger.info("the worker of %s takes no more messages and ends", self._name)
                await self.aclose()

    @contextlib.contextmanager
    def _signals(self) -> Generator[None]:
        """Let SIGTERM and SIGINT ask the worker to end, where this thread may say so."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        for number in before:
            try:
                loop.add_signal_handler(number, self.stop)
            except NotImplementedError:  # Windows' loop
                signal.signal(number, lambda _number, _frame: loop.call_soon_threadsafe(self.stop))
        try:
            yield
        finally:
            for number, previous in before.items():
                with contextlib.suppress(NotImplementedError):
                    loop.remove_signal_handler(number)
                signal.signal(number, signal.SIG_DFL if previous is None else previous)


def _error_types(permanent: tuple[type[Exception], ...]) -> tuple[type[Exception], ...]:
    try:
        isinstance(cast("object", None), permanent)
    except TypeError:
        raise ValueError(
            f"permanent must be a tuple of exception types, not {_numbers.shown(permanent)}"
        ) from None
    return permanent


def _seconds(name: str, value: object) -> float:
    return _numbers.number(name, value, low=0, high=_LONGEST_S, open_low=True)
