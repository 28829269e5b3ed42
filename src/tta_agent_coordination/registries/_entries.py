"""Owns an agent's entry: v0's JSON, the word for its status, and reading what others wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from tta_agent_coordination.interfaces import Agent
from tta_agent_coordination.models import AgentId

__all__ = ["agent_id_of", "dump", "make_entry", "read_entry", "status_word", "stored_id"]

_MAX_WORD = 64
_SEPARATORS = str.maketrans({"|": "/", "\n": " ", "\r": " "})


def agent_id_of(name: str) -> AgentId:
    """Return the id for `type:instance`; a missing instance and `default` are one agent.

    Raises:
        ValueError: It is no such name.
    """
    kind, colon, instance = name.partition(":")
    if not colon:
        raise ValueError(f"an agent is named type:instance, not {name!r}")
    return AgentId(type=kind, instance=None if instance == "default" else instance)


def stored_id(entry: Mapping[str, Any]) -> AgentId | None:
    """Return whom an entry is about, None where it names nobody.

    The name is taken as it stands: v0 registers names that `AgentId` refuses, such as "player 1".
    """
    named = entry["agent_id"]
    kind, instance = named.get("type"), named.get("instance")
    if not isinstance(kind, str) or not (instance is None or isinstance(instance, str)):
        return None
    return AgentId.model_construct(type=kind, instance=instance)


def dump(value: object) -> bytes:
    """Return JSON with v0's separators.

    Raises:
        TypeError: Part of it is not JSON.
        ValueError: Part of it is not finite, or refers to itself.
    """
    return json.dumps(value, allow_nan=False).encode()


def make_entry(
    agent: Agent,
    *,
    status: dict[str, Any],
    last_heartbeat: float,
    state: dict[str, Any] | None,
    capabilities: dict[str, Any] | None,
) -> bytes:
    """Return the JSON of an agent; state and capabilities are left out where there are none.

    Raises:
        TypeError: Part of it is not JSON.
        ValueError: Part of it is not finite, or refers to itself.
    """
    entry: dict[str, Any] = {
        "name": agent.name,
        "agent_id": agent.agent_id.model_dump(mode="json"),
        "status": status,
        "last_heartbeat": last_heartbeat,
    }
    if state:
        entry["state"] = state
    if capabilities:
        entry["capabilities"] = capabilities
    return dump(entry)


def read_entry(text: bytes) -> dict[str, Any] | None:
    """Return an entry that somebody stored, None where it is no JSON object with an agent's id."""
    try:
        entry: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict):
        return None
    found = cast("dict[str, Any]", entry)
    return found if isinstance(found.get("agent_id"), dict) else None


def status_word(status: dict[str, Any]) -> str:
    """Return the one word that says how an agent is: degraded or stopped, else what its status says."""
    if status.get("degraded"):
        return "degraded"
    if not status.get("running", True):
        return "stopped"
    word = str(status.get("status", "running")).translate(_SEPARATORS)
    return word[:_MAX_WORD].encode("utf-8", "replace").decode()
