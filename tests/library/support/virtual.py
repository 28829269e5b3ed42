"""An event loop whose time the test owns: waiting costs none, and no busy machine changes what happens.

Time passes only when nothing is left to do but wait, and then as far as the next timer; `pass_by` lets it
pass while the loop stands still, as code that blocks does. What would run in a thread runs at once. A test
that waits for what will never come fails: at once where no timer is left, else after `LIMIT_S` of its time.
For tests without sockets and threads.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["LIMIT_S", "VirtualLoop", "in_virtual_time"]

LIMIT_S = 3_600.0
"""A test that takes longer than this, in its own time, has no end."""


class _Selector(selectors.DefaultSelector):
    """Does not wait for a timer: it moves the time."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready; where nothing is, let the time pass until the next timer is due.

        Raises:
            AssertionError: There is neither anything to do nor a timer.
        """
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everybody waits, and nothing will ever wake them"
            self.now_s += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop with its own time."""

    def __init__(self) -> None:
        self._owned = _Selector()
        super().__init__(self._owned)

    def time(self) -> float:
        """Return the loop's own time, seconds."""
        return self._owned.now_s

    def pass_by(self, seconds: float) -> None:
        """Let time pass in which the loop does nothing."""
        self._owned.now_s += seconds

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # noqa: ANN401 - as in asyncio
        """Call a function here and now."""
        del executor
        done = self.create_future()
        done.set_result(func(*args))
        return done


def in_virtual_time[T](main: Callable[[VirtualLoop], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine on a loop of its own, whose time is given to it."""
    loop = VirtualLoop()

    async def limited() -> T:
        async with asyncio.timeout(LIMIT_S):
            return await main(loop)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(limited())
