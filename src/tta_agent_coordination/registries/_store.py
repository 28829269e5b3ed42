"""Owns how a registry calls scripts: its lanes, and the one error it raises for whatever the store does."""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
from collections.abc import Callable
from typing import Any

from tta_agent_coordination import _keys
from tta_agent_coordination._clock import Clock, script_time
from tta_agent_coordination._redis import script
from tta_agent_coordination._redis.client import STORE_ERRORS, Client, Raw
from tta_agent_coordination._redis.gate import Gate
from tta_agent_coordination._redis.registry_scripts import RegistryReply, RegistryStatus
from tta_agent_coordination._redis.scripts import Lane
from tta_agent_coordination.exceptions import AgentRegistryError

__all__ = ["RegistryStore"]

MAX_IN_FLIGHT = 32
"""Commands one registry has under way; a default client has 100 connections to give, then raises."""


class RegistryStore:
    """Runs the scripts of one registry object.

    A lane is one registry object and one call in flight; its memory makes a command that is sent again answer
    what it answered, and one that comes late do nothing.
    """

    def __init__(self, client: Client, keys: _keys.Registry, clock: Clock | None) -> None:
        self.client = client
        self.keys = keys
        self._clock = clock
        self._gate = Gate(MAX_IN_FLIGHT)
        self._begin_lanes()

    def __repr__(self) -> str:
        """Show where the keys begin."""
        return f"RegistryStore({self.keys.stem!r})"

    def _begin_lanes(self) -> None:
        self._pid = os.getpid()
        self._owner = secrets.token_hex(8)
        self._sequence = itertools.count(1)
        self._lanes = itertools.count()
        self._free: list[int] = []

    def now_us(self) -> str:
        """Return what a script gets as its time."""
        return script_time(self._clock)

    async def write(
        self, build: Callable[[Lane], script.Call[RegistryReply]], *, within_s: float | None = None
    ) -> RegistryReply:
        """Run a script that writes, on a lane of its own.

        Raises:
            AgentRegistryError: The store failed, or did not answer within `within_s` seconds; it may or
                may not have been done.
        """
        if self._pid != os.getpid():
            self._begin_lanes()  # after a fork the parent's lanes are the parent's
        await self._gate.enter()
        free = self._free
        index = free.pop() if free else next(self._lanes)
        lane = Lane(_keys.registry_lane(self.keys, self._owner, index), next(self._sequence))
        try:
            reply = await self._run(build(lane), within_s)
        finally:
            free.append(index)
            self._gate.leave()
        if reply.status is RegistryStatus.STALE:
            raise AgentRegistryError(
                "a later call of this registry overtook this one; it may or may not have been done"
            )
        return reply

    async def read[T](self, call: script.Call[T]) -> T:
        """Run a script that only reads.

        Raises:
            AgentRegistryError: The store failed.
        """
        await self._gate.enter()
        try:
            return await self._run(call, None)
        finally:
            self._gate.leave()

    async def _run[T](self, call: script.Call[T], within_s: float | None) -> T:
        try:
            async with asyncio.timeout(within_s):
                return await script.run(self.client, call)
        except TimeoutError as error:
            raise AgentRegistryError(
                f"the registry's store did not answer within {within_s} s; it may or may not have been done"
            ) from error
        except STORE_ERRORS as error:
            raise AgentRegistryError(str(error)) from error

    async def command(self, *parts: object) -> Any:  # noqa: ANN401 - whatever the command answers
        """Run a plain command.

        Raises:
            AgentRegistryError: The store failed.
        """
        await self._gate.enter()
        try:
            return await self.client.execute_command(*parts, **Raw)
        except STORE_ERRORS as error:
            raise AgentRegistryError(str(error)) from error
        finally:
            self._gate.leave()
