"""Owns the doctor's look at v0's indexes of agents and of capabilities."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tta_agent_coordination import _keys
from tta_agent_coordination._redis.doctor_scripts import doctor_index
from tta_agent_coordination._redis.registry_scripts import RegistryReply
from tta_agent_coordination._redis.replies import Lane
from tta_agent_coordination._redis.script import Call
from tta_agent_coordination.doctor.findings import MARKS, Debris, shown
from tta_agent_coordination.registries._entries import read_entry
from tta_agent_coordination.registries._store import RegistryStore

__all__ = ["FAMILIES", "Indexes", "Listed"]

FAMILIES = ("agents", "capabilities")

_PAGE = 500
"""Keys that one script or read takes."""


@dataclass(frozen=True, slots=True)
class Listed:
    """An agent that an index and its keys disagree about, and the mark that it has."""

    name: str
    mark: str = ""

    def finding(self, index: bytes, *, mended: bool) -> Debris:
        """Return how a report tells it."""
        return Debris(MARKS[self.mark], shown(index), shown(self.name), mended)


class Indexes:
    """Looks at the indexes of one prefix."""

    def __init__(self, store: RegistryStore) -> None:
        self._store = store

    def index(self, family: str) -> bytes:
        """Return the key of a family's index."""
        keys = self._store.keys
        return keys.index if family == "agents" else keys.capabilities_index

    def _key(self, family: str, name: str) -> bytes:
        keys = self._store.keys
        make = _keys.registry_agent if family == "agents" else _keys.registry_capabilities
        return make(keys, name)

    async def is_readable(self, family: str) -> bool:
        """Tell whether a family's index, and what says who is a member, are of their types."""
        kinds = [
            await self._store.command("TYPE", self.index(family)),
            await self._store.command("TYPE", self._store.keys.members),
        ]
        return kinds[0] in (b"set", b"none") and kinds[1] in (b"hash", b"none")

    async def members(self, family: str) -> AsyncGenerator[tuple[bytes, str | None]]:
        """Yield what an index names: each member, and the agent's name in it, None where there is none."""
        cursor = 0
        while True:
            answer: tuple[Any, list[bytes]] = await self._store.command(
                "SSCAN", self.index(family), cursor, "COUNT", _PAGE
            )
            for member in answer[1]:
                place = _keys.parse_place(self._store.keys.stem, member)
                yield member, place.name if place is not None and place.family == family else None
            cursor = int(answer[0])
            if not cursor:
                return

    async def judge(self, family: str, listed: Sequence[Listed], *, repair: bool) -> AsyncGenerator[Listed]:
        """Have the script look at agents of a family; with `repair`, mend those that keep the mark they had.

        Yields:
            Who has a mark, and the same as before if it had one.
        """
        index = self.index(family)
        for page in itertools.batched(listed, _PAGE):
            agents = [(self._key(family, each.name), each.name, each.mark if repair else "") for each in page]

            def build(lane: Lane, agents: Sequence[tuple[bytes, str, str]] = agents) -> Call[RegistryReply]:
                return doctor_index(lane, self._store.keys, index=index, agents=agents)

            reply = await self._store.write(build)
            for each, mark in zip(page, reply.text, strict=True):
                if mark != "-" and each.mark in ("", mark):
                    yield replace(each, mark=mark)

    async def broken(self, names: Sequence[str]) -> AsyncGenerator[str]:
        """Yield the agents whose registration is there and cannot be read."""
        for page in itertools.batched(names, _PAGE):
            texts: list[bytes | None] = await self._store.command(
                "MGET", *(self._key("agents", name) for name in page)
            )
            for name, text in zip(page, texts, strict=True):
                if text is None:
                    kind = await self._store.command("TYPE", self._key("agents", name))
                    if kind not in (b"none", b"string"):
                        yield name
                elif read_entry(text) is None:
                    yield name
