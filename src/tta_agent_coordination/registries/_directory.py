"""Owns reading the registry: who is registered, by us and by v0, and who of them is alive."""

from __future__ import annotations

from typing import Any

from tta_agent_coordination import _keys
from tta_agent_coordination._redis import registry_scripts as scripts
from tta_agent_coordination._redis.registry_scripts import Member
from tta_agent_coordination.registries._entries import read_entry
from tta_agent_coordination.registries._liveness import Liveness, liveness
from tta_agent_coordination.registries._store import RegistryStore

__all__ = ["Directory"]

KEYS_A_PAGE = 500
"""v0's keys that one command reads."""


class Directory:
    """Reads what all processes registered."""

    def __init__(self, store: RegistryStore) -> None:
        self._store = store

    async def list(self) -> list[dict[str, Any]]:
        """Return the entry of everybody that is alive or suspect, with what we know added."""
        found: dict[str, dict[str, Any]] = {}
        known: set[str] = set()
        cursor = "0"
        while True:
            page = await self._store.read(
                scripts.registry_list(
                    self._store.keys, cursor=cursor, now_us=self._store.now_us(), brief=False
                )
            )
            for name, member in page.members:
                known.add(name)
                entry = _joined(name, member, page.now_us, paused=page.paused)
                if entry is not None:
                    found[name] = entry
            cursor = page.cursor
            if cursor == "0":
                break
        foreign = [name for name in await self.index() if name not in known]
        for start in range(0, len(foreign), KEYS_A_PAGE):
            names = foreign[start : start + KEYS_A_PAGE]
            keys = (_keys.registry_agent(self._store.keys, name) for name in names)
            texts: list[bytes | None] = await self._store.command("MGET", *keys)
            for name, text in zip(names, texts, strict=True):
                entry = None if text is None else _foreign(text)
                if entry is not None:
                    found[name] = entry
        return list(found.values())

    async def index(self) -> list[str]:
        """Return all names in v0's index, those whose keys are gone included."""
        names: set[str] = set()
        cursor = 0
        while True:
            answer: tuple[Any, list[bytes]] = await self._store.command(
                "SSCAN", self._store.keys.index, cursor, "COUNT", KEYS_A_PAGE
            )
            names.update(
                name
                for key in answer[1]
                if (name := _keys.parse_agent_name(self._store.keys, key)) is not None
            )
            cursor = int(answer[0])
            if not cursor:
                return sorted(names)

    async def unrenewed(self) -> list[str]:
        """Return the names in v0's index behind which there is neither a member nor a key, as of now."""
        listed = await self._store.command("SCARD", self._store.keys.index)
        if int(listed) <= int(await self._store.command("HLEN", self._store.keys.members)):
            return []
        known = await self.view()
        foreign = [name for name in await self.index() if name not in known]
        gone: list[str] = []
        for start in range(0, len(foreign), KEYS_A_PAGE):
            names = foreign[start : start + KEYS_A_PAGE]
            keys = (_keys.registry_agent(self._store.keys, name) for name in names)
            texts: list[bytes | None] = await self._store.command("MGET", *keys)
            gone += [name for name, text in zip(names, texts, strict=True) if text is None]
        return gone

    async def get(self, name: str) -> dict[str, Any] | None:
        """Return one agent's entry with what we know added, None where it is dead or was never there."""
        looked = await self._store.read(
            scripts.registry_get(self._store.keys, name=name, now_us=self._store.now_us())
        )
        if looked.member is not None:
            return _joined(name, looked.member, looked.now_us, paused=looked.paused)
        return None if looked.v0 is None else _foreign(looked.v0)

    async def liveness(self, name: str) -> Liveness:
        """Return whether one agent is alive."""
        looked = await self._store.read(
            scripts.registry_get(self._store.keys, name=name, now_us=self._store.now_us())
        )
        if looked.member is not None:
            return _liveness(looked.member, looked.now_us, paused=looked.paused)
        return Liveness.UNKNOWN if looked.v0 is None else Liveness.ALIVE

    async def view(self) -> dict[str, Liveness]:
        """Return the liveness of everybody that we know of, entries left out."""
        found: dict[str, Liveness] = {}
        cursor = "0"
        while True:
            page = await self._store.read(
                scripts.registry_list(
                    self._store.keys, cursor=cursor, now_us=self._store.now_us(), brief=True
                )
            )
            for name, member in page.members:
                found[name] = _liveness(member, page.now_us, paused=page.paused)
            cursor = page.cursor
            if cursor == "0":
                return found


def _liveness(member: Member, now_us: int, *, paused: bool) -> Liveness:
    return liveness(seen_us=member.seen_us, ttl_us=member.ttl_us, now_us=now_us, paused=paused)


def _joined(name: str, member: Member, now_us: int, *, paused: bool) -> dict[str, Any] | None:
    state = _liveness(member, now_us, paused=paused)
    if state is Liveness.DEAD:
        return None
    entry = read_entry(member.entry)
    if entry is None:
        kind, _, instance = name.partition(":")
        entry = {
            "name": name,
            "agent_id": {"type": kind, "instance": None if instance in ("", "default") else instance},
            "status": {},
            "last_heartbeat": 0.0,
        }
    return entry | {
        "alive": state is Liveness.ALIVE,
        "liveness": state.value,
        "epoch": member.epoch,
        "draining": member.draining,
    }


def _foreign(text: bytes) -> dict[str, Any] | None:
    """Return what a v0 process stored: alive, since Redis keeps its key for one TTL after a heartbeat."""
    entry = read_entry(text)
    if entry is None:
        return None
    return entry | {"alive": True, "liveness": Liveness.ALIVE.value, "epoch": None, "draining": False}
