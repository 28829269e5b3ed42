"""Owns the name of every Redis key of the package. No other module spells one.

Pure: no Redis, no asyncio. The families of `Inbox` up to `subs` are v0's and stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from hashlib import blake2b
from typing import cast

from tta_agent_coordination.models import AgentId

__all__ = [
    "Breaker",
    "Inbox",
    "Place",
    "Registry",
    "breaker",
    "breaker_channel",
    "breaker_cleanup",
    "breaker_registry",
    "clean_prefix",
    "dedup",
    "inbox",
    "inbox_name",
    "inbox_of",
    "inboxes_index",
    "lane",
    "parse_agent_name",
    "parse_breaker_name",
    "parse_inbox_name",
    "parse_place",
    "registry",
    "registry_agent",
    "registry_capabilities",
    "registry_lane",
    "scan_pattern",
    "subscribers_index",
    "waker",
]

_GLOB = str.maketrans({char: f"\\{char}" for char in "*?[]\\"})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inbox:
    """All keys of one inbox, encoded once; `name` is `type:inst`, `stem` the same as it stands in keys.

    Compared by identity, which means nothing: use `name` to tell inboxes apart.
    """

    prefix: str
    name: str
    stem: str
    queue: bytes
    high: bytes
    normal: bytes
    low: bytes
    reserved: bytes
    deadlines: bytes
    dlq: bytes
    subs: bytes
    inflight: bytes
    lapses: bytes
    clock: bytes
    dlq_info: bytes
    wake: bytes

    @property
    def levels(self) -> tuple[bytes, bytes, bytes]:
        """The three schedules, HIGH first."""
        return self.high, self.normal, self.low


def clean_prefix(prefix: str) -> str:
    """Return a key prefix without trailing colons.

    Raises:
        ValueError: If it is no text or empty, or holds whitespace, control characters or braces.
    """
    cleaned = prefix.rstrip(":") if isinstance(cast("object", prefix), str) else ""
    if not cleaned or not cleaned.isprintable() or set(cleaned) & set(" {}"):
        raise ValueError(
            f"key_prefix {prefix!r} must not be empty nor contain whitespace, control characters or braces"
        )
    return cleaned


def inbox_name(agent_id: AgentId) -> str:
    """Return `type:inst`, with `default` for a missing instance, and an enum's value whatever its flavour.

    Raises:
        ValueError: If it is nothing that names an agent.
    """
    try:
        kind: object = agent_id.type
        return f"{kind.value if isinstance(kind, Enum) else kind}:{agent_id.instance or 'default'}"
    except AttributeError:
        raise ValueError(f"an agent is named by an AgentId, not by a {type(agent_id).__name__}") from None


def inbox(prefix: str, agent_id: AgentId, *, hash_tags: bool) -> Inbox:
    """Return the keys of an agent's inbox."""
    return inbox_of(prefix, inbox_name(agent_id), hash_tags)


@lru_cache(maxsize=4096)
def inbox_of(prefix: str, name: str, hash_tags: bool) -> Inbox:
    """Return the keys of the inbox called `type:inst`."""
    stem = f"{{{name}}}" if hash_tags else name

    def key(family: str, end: str = "") -> bytes:
        return f"{prefix}:{family}:{stem}{end}".encode()

    return Inbox(
        prefix=prefix,
        name=name,
        stem=stem,
        queue=key("queue"),
        high=key("sched", ":prio:9"),
        normal=key("sched", ":prio:5"),
        low=key("sched", ":prio:1"),
        reserved=key("reserved"),
        deadlines=key("reserved_deadlines"),
        dlq=key("dlq"),
        subs=key("subs"),
        inflight=key("inflight"),
        lapses=key("lapses"),
        clock=key("clock"),
        dlq_info=key("dlq_info"),
        wake=key("wake"),
    )


def lane(box: Inbox, owner: str, index: int) -> bytes:
    """Return the memory of one lane: one coordinator (`owner`), one inbox, one call in flight (`index`)."""
    return f"{box.prefix}:op:{box.stem}:{owner}:{index}".encode()


def waker(prefix: str, owner: str) -> bytes:
    """Return where one coordinator interrupts its own blocking read of wake-up markers."""
    return f"{prefix}:wake:{owner}".encode()


def dedup(box: Inbox, dedup_id: str) -> bytes:
    """Return the key of an idempotency key; any text is allowed, so it is hashed."""
    digest = blake2b(dedup_id.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return f"{box.prefix}:dedup:{box.stem}:{digest}".encode()


def inboxes_index(prefix: str) -> bytes:
    """Return the set of all inbox names."""
    return f"{prefix}:inboxes".encode()


def subscribers_index(prefix: str, message_type: str) -> bytes:
    """Return the set of inbox names that ever subscribed to a type; the `subs` sets decide."""
    return f"{prefix}:subscribers:{message_type}".encode()


def scan_pattern(prefix: str, family: str) -> str:
    """Return a SCAN pattern for a family of inbox keys; the prefix's glob characters are taken literally."""
    return f"{prefix.translate(_GLOB)}:{family}:*"


def parse_inbox_name(prefix: str, family: str, key: bytes) -> str | None:
    """Return the inbox name in a scanned key, None where it is not one of ours."""
    start = f"{prefix}:{family}:".encode()
    name = key[len(start) :]
    if not key.startswith(start) or name.count(b":") != 1 or b"{" in name:
        return None
    try:
        return name.decode()
    except UnicodeDecodeError:
        return None


@dataclass(frozen=True, slots=True)
class Place:
    """What a key of v0 belongs to: `inbox`, `agents` or `capabilities`, and the name `type:inst` there.

    The name is None in a key of such a family that names nobody. An index is no place.
    """

    family: str
    name: str | None


_INBOX_FAMILIES = ("queue", "reserved", "reserved_deadlines", "dlq", "inflight", "lapses", "dlq_info")
_SCHEDULES = (b":prio:9", b":prio:5", b":prio:1")


def parse_place(prefix: str, key: bytes) -> Place | None:
    """Return where a key belongs that v0 may share; None for every other, and for those with hash tags."""
    start = f"{prefix}:".encode()
    family, _, rest = key.removeprefix(start).partition(b":")
    if not key.startswith(start) or not rest or b"{" in rest:
        return None
    if family == b"sched":
        end = next((end for end in _SCHEDULES if rest.endswith(end)), None)
        inner = "" if end is None else rest[: -len(end)].decode("utf-8", "surrogateescape")
        return Place("inbox", _name_of_two(inner))
    word = family.decode("utf-8", "replace")
    name = _name_of_two(rest.decode("utf-8", "surrogateescape"))
    if word in _INBOX_FAMILIES:
        return Place("inbox", name)
    return Place(word, name) if word in ("agents", "capabilities") and rest != b"index" else None


def _name_of_two(text: str) -> str | None:
    kind, colon, instance = text.partition(":")
    return text if kind and colon and instance and ":" not in instance and text.isprintable() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """All keys of one circuit breaker; `mirror` and `metrics` are v0's JSON, `channel` tells changes."""

    name: str
    shared: bytes
    probes: bytes
    mirror: bytes
    metrics: bytes
    channel: bytes


def breaker(prefix: str, name: str, *, hash_tags: bool) -> Breaker:
    """Return the keys of a circuit breaker; its name may contain colons.

    Raises:
        ValueError: If the name is no text or empty, or holds braces where `hash_tags` puts it into some.
    """
    if not isinstance(cast("object", name), str) or not name or (hash_tags and set(name) & set("{}")):
        raise ValueError(
            f"a circuit breaker's name must not be empty nor, with hash_tags, hold braces: {name!r}"
        )
    stem = f"{{{name}}}" if hash_tags else name
    return Breaker(
        name=name,
        shared=f"{prefix}:cb:shared:{stem}".encode(),
        probes=f"{prefix}:cb:probes:{stem}".encode(),
        mirror=f"{prefix}:cb:state:{stem}".encode(),
        metrics=f"{prefix}:cb:metrics:{stem}".encode(),
        channel=breaker_channel(prefix),
    )


def breaker_channel(prefix: str) -> bytes:
    """Return the channel on which all breakers of a prefix tell their changes."""
    return f"{prefix}:cb:changes".encode()


def breaker_registry(prefix: str) -> bytes:
    """Return the set of all breaker names."""
    return f"{prefix}:cb:registry".encode()


def breaker_cleanup(prefix: str) -> bytes:
    """Return where the time of the last clean-up is kept, whole seconds since the epoch."""
    return f"{prefix}:cb:cleanup:last".encode()


def parse_breaker_name(prefix: str, key: bytes, *, hash_tags: bool) -> str | None:
    """Return the breaker name, colons included, in a scanned `cb:state` key, None where there is none."""
    start = f"{prefix}:cb:state:".encode()
    stem = key[len(start) :]
    if hash_tags and not (stem.startswith(b"{") and stem.endswith(b"}")):
        return None
    try:
        return (stem[1:-1] if hash_tags else stem).decode() if key.startswith(start) else None
    except UnicodeDecodeError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """All keys of a registry but those of single agents; `stem` is the prefix as it stands in keys."""

    stem: str
    index: bytes
    capabilities_index: bytes
    members: bytes
    due: bytes
    suspects: bytes
    clock: bytes
    pause: bytes
    channel: bytes


def registry(prefix: str, *, hash_tags: bool) -> Registry:
    """Return the keys of the registry; with `hash_tags` the prefix stands in braces, so all share a slot."""
    stem = f"{{{prefix}}}" if hash_tags else prefix
    return Registry(
        stem=stem,
        index=f"{stem}:agents:index".encode(),
        capabilities_index=f"{stem}:capabilities:index".encode(),
        members=f"{stem}:registry:members".encode(),
        due=f"{stem}:registry:due".encode(),
        suspects=f"{stem}:registry:suspects".encode(),
        clock=f"{stem}:registry:clock".encode(),
        pause=f"{stem}:registry:pause".encode(),
        channel=f"{stem}:registry:events".encode(),
    )


def registry_agent(keys: Registry, name: str) -> bytes:
    """Return where the agent called `type:inst` is registered, as v0 does."""
    return f"{keys.stem}:agents:{name}".encode()


def registry_capabilities(keys: Registry, name: str) -> bytes:
    """Return where the capabilities of the agent called `type:inst` are, as in v0."""
    return f"{keys.stem}:capabilities:{name}".encode()


def registry_lane(keys: Registry, owner: str, index: int) -> bytes:
    """Return the memory of one lane: one registry object (`owner`), one call in flight (`index`)."""
    return f"{keys.stem}:registry:op:{owner}:{index}".encode()


def parse_agent_name(keys: Registry, key: bytes) -> str | None:
    """Return the agent's name in a member of the index, None where it is not one of ours."""
    start = f"{keys.stem}:agents:".encode()
    name = key[len(start) :]
    if not key.startswith(start) or name.count(b":") != 1:
        return None
    try:
        return name.decode()
    except UnicodeDecodeError:
        return None
