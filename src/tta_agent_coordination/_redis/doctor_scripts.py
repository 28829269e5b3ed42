"""Owns one typed function for each script of the doctor: a mark for each thing that it looked at comes out.

A function returns a `Call`; `script.run` sends it. The contract of each script stands in its file's header.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tta_agent_coordination._keys import Inbox, Registry
from tta_agent_coordination._redis.registry_scripts import RegistryReply, RegistryStatus
from tta_agent_coordination._redis.replies import Lane, Reply, reply_of, text_of
from tta_agent_coordination._redis.script import Call, load

__all__ = ["Look", "doctor_entries", "doctor_index", "doctor_leases"]


@dataclass(frozen=True, slots=True)
class Look:
    """What to look at: a token or an entry, whether the entry can be read, and the mark to mend, if any."""

    text: bytes
    readable: bool
    mend: str = ""


_LEASES, _ENTRIES, _INDEX = load("doctor_leases"), load("doctor_entries"), load("doctor_index")


def doctor_leases(lane: Lane, box: Inbox, *, now_us: str, leases: Sequence[Look]) -> Call[Reply]:
    """Look at reservations by their tokens: OK with a mark for each."""
    return Call(
        script=_LEASES,
        keys=(
            lane.key,
            box.reserved,
            box.deadlines,
            box.inflight,
            box.lapses,
            *box.levels,
            box.queue,
            box.dlq,
            box.dlq_info,
        ),
        args=(lane.seq, now_us, *_flat(leases)),
        read=reply_of,
    )


def doctor_entries(lane: Lane, box: Inbox, *, now_us: str, entries: Sequence[Look]) -> Call[Reply]:
    """Look at entries by their texts: OK with a mark for each."""
    return Call(
        script=_ENTRIES,
        keys=(lane.key, box.reserved, box.lapses, *box.levels, box.queue, box.dlq, box.dlq_info),
        args=(lane.seq, now_us, *_flat(entries)),
        read=reply_of,
    )


def doctor_index(
    lane: Lane, keys: Registry, *, index: bytes, agents: Sequence[tuple[bytes, str, str]]
) -> Call[RegistryReply]:
    """Look at keys that an index names or should name (key, agent, mark to mend): OK with a mark for each."""
    return Call(
        script=_INDEX,
        keys=(lane.key, keys.members, index, *(key for key, _, _ in agents)),
        args=(lane.seq, *(part for _, name, mend in agents for part in (name, mend or "-"))),
        read=lambda answer: RegistryReply(RegistryStatus(text_of(answer[0])), text_of(answer[1])),
    )


def _flat(looks: Sequence[Look]) -> list[bytes | str]:
    return [part for look in looks for part in (look.text, f"{int(look.readable)}{look.mend or '-'}")]
