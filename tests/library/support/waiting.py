"""Waiting for a described condition with a deadline; no test sleeps a guessed time."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable

__all__ = ["eventually"]

POLL_S = 0.005
"""How often the condition is looked at."""


async def eventually(
    what: str, condition: Callable[[], bool | Awaitable[bool]], *, deadline_s: float = 10.0
) -> None:
    """Return as soon as `condition` holds.

    Raises:
        AssertionError: it did not hold within `deadline_s`; the message names what was waited for.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + deadline_s
    while True:
        held = condition()
        if inspect.isawaitable(held):
            held = await held
        if held:
            return
        if loop.time() > end:
            raise AssertionError(f"not within {deadline_s} s: {what}")
        await asyncio.sleep(POLL_S)
