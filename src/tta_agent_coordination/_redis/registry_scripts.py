"""Owns one typed function for each script of the agent registry: a status word and its facts come out.

A function returns a `Call`; `script.run` sends it. The contract of each script stands in its file's header.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tta_agent_coordination._keys import Inbox, Registry, registry_agent, registry_capabilities
from tta_agent_coordination._redis.script import Call, load
from tta_agent_coordination._redis.scripts import Lane, Status, reclaim

__all__ = [
    "AGENTS_A_SCRIPT",
    "Beat",
    "Change",
    "Looked",
    "Member",
    "Page",
    "RegistryReply",
    "RegistryStatus",
    "Returned",
    "parse_change",
    "registry_beat",
    "registry_deregister",
    "registry_drain",
    "registry_get",
    "registry_list",
    "registry_prune",
    "registry_register",
    "registry_return",
]

AGENTS_A_SCRIPT = 1_000
"""Heartbeats one script takes at most."""

_MAX_DIGITS = 18
"""Of a moment in microseconds, or an epoch; what is longer is none of ours."""


class RegistryStatus(StrEnum):
    """The first element of every answer."""

    OK = "ok"
    AGAIN = "again"
    LOST = "lost"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class RegistryReply:
    """A status word and what belongs to it; lines where the script tells several things."""

    status: RegistryStatus
    text: str

    @property
    def lines(self) -> list[str]:
        """The lines of the text."""
        return self.text.split("\n") if self.text else []


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """One agent's heartbeat: `entry` and `capabilities` are JSON, the latter empty where there are none."""

    name: str
    epoch: int
    status: str
    entry: bytes
    capabilities: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """What is stored of one registration. Times are microseconds by the server's clock."""

    epoch: int
    ttl_us: int
    seen_us: int
    draining: bool
    status: str
    entry: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of members; a `cursor` of "0" ends it. `paused`: deaths are held back."""

    cursor: str
    now_us: int
    paused: bool
    members: tuple[tuple[str, Member], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What is known of one agent: our record, and what stands under v0's key; None for nothing."""

    now_us: int
    paused: bool
    member: Member | None
    v0: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One line of the channel: what happened to which registration. Times are microseconds."""

    kind: str
    epoch: int
    at_us: int
    name: str
    seen_us: int
    previous: str
    status: str


@dataclass(frozen=True, slots=True)
class Returned:
    """The answer of `registry_return`: what went back, what died, the rank to go on at or -1."""

    status: Status
    requeued: int = 0
    dead: int = 0
    following: int = -1


_REGISTER, _BEAT, _DEREGISTER = load("registry_register"), load("registry_beat"), load("registry_deregister")
_RETURN = load("registry_return")
_DRAIN, _LIST, _GET, _PRUNE = (
    load("registry_drain"),
    load("registry_list"),
    load("registry_get"),
    load("registry_prune"),
)


def _text(value: object) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _reply(answer: list[Any]) -> RegistryReply:
    return RegistryReply(RegistryStatus(_text(answer[0])), _text(answer[1]))


def _member(value: bytes) -> Member | None:
    try:
        epoch, ttl, seen, flags, status, entry = value.split(b"|", 5)
        return Member(
            epoch=int(epoch),
            ttl_us=int(ttl),
            seen_us=int(seen),
            draining=b"d" in flags,
            status=_text(status),
            entry=entry,
        )
    except ValueError:
        return None


def _paused(pause: object, now_us: int) -> bool:
    text = _text(pause)
    return text.isdecimal() and len(text) <= _MAX_DIGITS and int(text) > now_us


def registry_register(
    lane: Lane,
    keys: Registry,
    *,
    now_us: str,
    name: str,
    ttl_us: int,
    draining: bool,
    status: str,
    entry: bytes,
    capabilities: bytes,
) -> Call[RegistryReply]:
    """Register an agent under a new epoch: OK with `epoch|at`."""
    return Call(
        script=_REGISTER,
        keys=(
            lane.key,
            keys.members,
            keys.due,
            keys.suspects,
            keys.index,
            keys.capabilities_index,
            keys.clock,
            registry_agent(keys, name),
            registry_capabilities(keys, name),
        ),
        args=(
            lane.seq,
            now_us,
            name,
            ttl_us,
            "d" if draining else "",
            status,
            entry,
            capabilities,
            keys.channel,
        ),
        read=_reply,
    )


def registry_beat(
    lane: Lane, keys: Registry, *, now_us: str, ttl_us: int, sweep: bool, beats: Sequence[Beat]
) -> Call[RegistryReply]:
    """Take heartbeats: OK, or AGAIN where the sweep has more to do; with lines either way."""
    agents: list[bytes] = []
    flat: list[bytes | str | int] = []
    for beat in beats:
        agents.append(registry_agent(keys, beat.name))
        if beat.capabilities:
            agents.append(registry_capabilities(keys, beat.name))
        flat += (beat.name, beat.epoch, beat.status, beat.entry, beat.capabilities)
    shared = (keys.members, keys.due, keys.suspects, keys.index, keys.capabilities_index, keys.pause)
    return Call(
        script=_BEAT,
        keys=(lane.key, *shared, *agents),
        args=(lane.seq, now_us, ttl_us, int(sweep), keys.channel, keys.stem, *flat),
        read=_reply,
    )


def registry_deregister(
    lane: Lane, keys: Registry, *, now_us: str, name: str, epoch: int | None
) -> Call[RegistryReply]:
    """Take a registration away: OK, with its line where it was the newest; None is any."""
    return Call(
        script=_DEREGISTER,
        keys=(
            lane.key,
            keys.members,
            keys.due,
            keys.suspects,
            keys.index,
            keys.capabilities_index,
            registry_agent(keys, name),
            registry_capabilities(keys, name),
        ),
        args=(lane.seq, now_us, name, "" if epoch is None else epoch, keys.channel),
        read=_reply,
    )


def registry_drain(
    lane: Lane, keys: Registry, *, now_us: str, name: str, epoch: int, draining: bool
) -> Call[RegistryReply]:
    """Mark a registration as draining or not: OK with its line where it changed, or LOST."""
    return Call(
        script=_DRAIN,
        keys=(lane.key, keys.members),
        args=(lane.seq, now_us, name, epoch, int(draining), keys.channel),
        read=_reply,
    )


def registry_list(keys: Registry, *, cursor: str, now_us: str, brief: bool) -> Call[Page]:
    """Read one page of members; `brief` leaves their entries empty."""

    def read(answer: list[Any]) -> Page:
        now = int(answer[2])
        named = zip(answer[4::2], answer[5::2], strict=True)
        members = ((_text(name), _member(value)) for name, value in named)
        return Page(
            cursor=_text(answer[1]),
            now_us=now,
            paused=_paused(answer[3], now),
            members=tuple((name, member) for name, member in members if member is not None),
        )

    return Call(script=_LIST, keys=(keys.members, keys.pause), args=(cursor, now_us, int(brief)), read=read)


def registry_get(keys: Registry, *, name: str, now_us: str) -> Call[Looked]:
    """Read what is known of one agent."""

    def read(answer: list[Any]) -> Looked:
        now = int(answer[1])
        return Looked(
            now_us=now, paused=_paused(answer[2], now), member=_member(answer[3]), v0=answer[4] or None
        )

    return Call(
        script=_GET,
        keys=(keys.members, keys.pause, registry_agent(keys, name)),
        args=(name, now_us),
        read=read,
    )


def registry_prune(lane: Lane, keys: Registry, *, names: Sequence[str]) -> Call[RegistryReply]:
    """Take names from v0's index where neither a key nor a member stands behind them: OK with how many."""
    return Call(
        script=_PRUNE,
        keys=(lane.key, keys.members, keys.index, *(registry_agent(keys, name) for name in names)),
        args=(lane.seq, *names),
        read=_reply,
    )


def registry_return(
    lane: Lane, box: Inbox, *, now_us: str, audit: bool, max_deliveries: int, epoch: int, start: int
) -> Call[Returned]:
    """End the leases of one inbox that a registration took and never renewed, from a rank on."""
    like = reclaim(lane, box, now_us=now_us, audit=audit, max_deliveries=max_deliveries)

    def read(answer: list[Any]) -> Returned:
        numbers = [int(number) for number in _text(answer[1]).split("|")] if answer[1] else []
        return Returned(Status(_text(answer[0])), *numbers)

    return Call(script=_RETURN, keys=like.keys, args=(*like.args, epoch, start), read=read)


def parse_change(line: str) -> Change | None:
    """Return what a line of the channel or of a reply tells, None where it is not one of ours.

    A name may hold the separator, and nothing else may.
    """
    try:
        kind, epoch, at_us, rest = line.split("|", 3)
        name, seen_us, previous, status = rest.rsplit("|", 3)
        if max(map(len, (epoch, at_us, seen_us))) > _MAX_DIGITS:
            return None
        return Change(
            kind=kind,
            epoch=int(epoch),
            at_us=int(at_us),
            name=name,
            seen_us=int(seen_us),
            previous=previous,
            status=status,
        )
    except ValueError:
        return None
