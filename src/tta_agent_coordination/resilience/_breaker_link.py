"""Owns the way from a breaker to its store: one script within a time limit, and whether the store answers.

Knows no decision. A store that is down, or a client that answers nonsense, is said once and costs a caller at
most `COMMAND_TIMEOUT_S`; the breaker then works locally until a look succeeds.
"""

from __future__ import annotations

import asyncio
import logging

from tta_agent_coordination._clock import Clock, script_time
from tta_agent_coordination._redis.client import Client
from tta_agent_coordination._redis.script import Call, run

__all__ = ["COMMAND_TIMEOUT_S", "StoreLink"]

COMMAND_TIMEOUT_S = 1.0
"""Longest wait for one script, seconds; redis-py's own repetitions happen within it."""

_log = logging.getLogger(__name__)


class StoreLink:
    """Runs a breaker's scripts and keeps whether the store answers.

    Attributes:
        up: Whether the last script was answered well, None before the first one.
    """

    def __init__(self, client: Client, name: str, clock: Clock | None) -> None:
        self.client = client
        self.up: bool | None = None
        self._name = name
        self._clock = clock

    def __repr__(self) -> str:
        """Show whether the store answers."""
        return f"StoreLink({self._name!r}, up={self.up})"

    def now_us(self) -> str:
        """Return what a script gets as its time."""
        return script_time(self._clock)

    async def run[T](self, call: Call[T]) -> T | None:
        """Run a script; None where the store did not answer, or not what a script answers."""
        try:
            async with asyncio.timeout(COMMAND_TIMEOUT_S):
                answer = await run(self.client, call)
        except Exception as error:  # noqa: BLE001 - the client is the user's: TTA's tests hand over mocks
            self._is_down(error)
            return None
        if self.up is False:
            _log.info("Circuit breaker %s: the store answers again, its state is shared again", self._name)
        self.up = True
        return answer

    def _is_down(self, error: Exception) -> None:
        if self.up is not False:
            _log.warning(
                "Circuit breaker %s: the store did not answer (%s: %s); it works locally until it does",
                self._name,
                type(error).__name__,
                error,
            )
        self.up = False
