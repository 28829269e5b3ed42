"""Owns what an agent says it can do: reading it from an agent, and finding who fits with a score.

Pure. A set of capabilities is any JSON object with a list `capabilities` of objects that have a `name`; TTA's
`AgentCapabilitySet` is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any, cast

from pydantic import BaseModel

from tta_agent_coordination.models import AgentId
from tta_agent_coordination.registries._entries import stored_id

__all__ = ["CapabilityMatch", "matches", "read_capabilities"]

_EXACT, _PART = 1.0, 0.5
_SUSPECT = 0.5
"""What the score of an agent is multiplied with while it is suspect."""


class CapabilityMatch(BaseModel, frozen=True):
    """An agent that can do what was asked for.

    Args:
        agent_id: The agent.
        capability: What it says of it, as it stored it.
        score: How well it fits, in (0, 1]: 1 for the same name, 0.5 where the name only contains what was
            asked for, half of that while the agent is suspect.
        alive: False while the agent is suspect.
    """

    agent_id: AgentId
    capability: dict[str, Any]
    score: float
    alive: bool


def read_capabilities(found: object) -> dict[str, Any] | None:
    """Return what an agent advertises as a JSON object, None where it is no set of capabilities.

    A plain dictionary is none: TTA's agents return those for other ends.
    """
    dump = cast("Callable[..., object] | None", getattr(found, "model_dump", None))
    if dump is None:
        return None
    dumped = dump(mode="json")
    if not isinstance(dumped, dict):
        return None
    found_set = cast("dict[str, Any]", dumped)
    return found_set if isinstance(found_set.get("capabilities"), list) else None


def _text(value: object) -> str:
    return str(value.value if isinstance(value, Enum) else value).casefold()


def _fit(wanted: str | None, found: object) -> float:
    if wanted is None:
        return _EXACT
    if found is None:
        return 0.0
    mine, theirs = _text(wanted), _text(found)
    return _EXACT if mine == theirs else _PART if mine in theirs else 0.0


def matches(
    registered: Iterable[Mapping[str, Any]], *, name: str | None, capability_type: str | None
) -> list[CapabilityMatch]:
    """Return who offers a capability, best first, then by agent; equal names count whatever their case."""
    found: list[CapabilityMatch] = []
    for entry in registered:
        advertised = entry.get("capabilities")
        is_set = isinstance(advertised, Mapping)
        offered = cast("Mapping[str, object]", advertised).get("capabilities") if is_set else None
        agent_id = stored_id(entry)
        if agent_id is None or entry.get("draining") or not isinstance(offered, list):
            continue
        for capability in cast("list[object]", offered):
            if not isinstance(capability, dict):
                continue
            said = cast("dict[str, Any]", capability)
            of_type = _fit(capability_type, said.get("type")) == _EXACT
            score = _fit(name, said.get("name")) if of_type else 0.0
            if score:
                alive = bool(entry["alive"])
                found.append(
                    CapabilityMatch(
                        agent_id=agent_id,
                        capability=said,
                        score=score * (1.0 if alive else _SUSPECT),
                        alive=alive,
                    )
                )
    return sorted(
        found, key=lambda match: (-match.score, str(match.agent_id), str(match.capability.get("name")))
    )
