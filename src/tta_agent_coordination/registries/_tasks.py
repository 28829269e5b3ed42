"""Owns what a registry starts: tasks that are held, ended and logged, and what stands for one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

__all__ = ["OwnedTasks", "Pending", "ending", "has_loop", "nothing", "runs"]

_log = logging.getLogger("tta_agent_coordination.registries")


def has_loop() -> bool:
    """Return whether an event loop runs here."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def runs(task: asyncio.Task[Any] | None) -> bool:
    """Return whether a task is under way in the loop that runs now."""
    return task is not None and not task.done() and task.get_loop() is asyncio.get_running_loop()


async def nothing() -> None:
    """Stand for what is done already."""


class Pending[T]:
    """What a synchronous method has started: can be awaited, any number of times, and need not be."""

    def __init__(self, finish: Callable[[], Awaitable[T]]) -> None:
        self._finish = finish

    def __await__(self) -> Generator[Any, None, T]:
        """Wait until it is done.

        Raises:
            AgentRegistryError: It could not be done.
        """
        return self._finish().__await__()


def ending(task: asyncio.Task[Any] | None) -> Pending[None]:
    """Cancel a task now; awaiting the answer waits until it has gone."""
    if task is None or task.done() or task.get_loop().is_closed():
        return Pending(nothing)
    task.cancel()

    async def gone() -> None:
        if runs(task):
            await asyncio.wait([task])

    return Pending(gone)


class OwnedTasks:
    """Tasks in the background; none is lost, none ends unseen."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __repr__(self) -> str:
        """Show how many run."""
        return f"OwnedTasks({len(self._tasks)} running)"

    def start[T](self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Start a task; its failure is logged here, and raised for whoever awaits it."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("%s failed: %s: %s", task.get_name(), type(error).__name__, error)

    async def settle(self) -> None:
        """Wait until none is left. Those of a loop that is gone are forgotten: nothing can end them."""
        loop = asyncio.get_running_loop()
        self._tasks = {task for task in self._tasks if task.get_loop() is loop}
        while self._tasks:
            await asyncio.wait(self._tasks)
