"""Owns what an argument may be. Everything raises ValueError, before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from pydantic import BaseModel

from tta_agent_coordination._numbers import number, shown, whole
from tta_agent_coordination.models import AgentMessage

__all__ = [
    "MAX_DELAY_S",
    "MAX_LEASE_S",
    "backoff",
    "choice",
    "dedup_id",
    "delay_and_expiry",
    "follow_ups",
    "items",
    "lease",
    "message_id",
    "number",
    "positive",
    "text",
    "token",
    "wait",
    "whole",
]

MAX_LEASE_S = 604_800
"""Longest lease: a week."""
MAX_DELAY_S = 31_536_000
"""Longest delay: a year."""
_MAX_EXPIRY_S = 100 * MAX_DELAY_S
_PAIR = 2


def positive(name: str, value: object, *, high: float) -> float:
    """Return a number in (0, high]."""
    return number(name, value, low=0, high=high, open_low=True)


def lease(name: str, value: object) -> float:
    """Return the length of a lease in seconds, in (0, 604800]."""
    return positive(name, value, high=MAX_LEASE_S)


def wait(value: object) -> float:
    """Return how long to wait at most, in seconds: finite, at least 0."""
    return number("wait", value, low=0)


def backoff(name: str, value: object) -> float:
    """Return a part of the backoff: finite, at least 0, the factor at least 1."""
    return number(name, value, low=1 if name.endswith("factor") else 0)


def choice(name: str, value: object, allowed: tuple[str, ...]) -> str:
    """Return one of the allowed words."""
    if value in allowed:
        return cast("str", value)
    raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {shown(value)}")


def delay_and_expiry(delay: object, expires_in: object) -> tuple[float, float]:
    """Return both in seconds, with 0 for no expiry; a message must live longer than it is delayed."""
    wait = number("delay", delay, low=0, high=MAX_DELAY_S)
    if expires_in is None:
        return wait, 0
    life = positive("expires_in", expires_in, high=_MAX_EXPIRY_S)
    if life <= wait:
        raise ValueError(f"expires_in ({life:g} s) must be longer than delay ({wait:g} s)")
    return wait, life


def dedup_id(value: object) -> str | None:
    """Return an idempotency key: any text but the empty one, or None."""
    if value is None or (isinstance(value, str) and value):
        return value
    raise ValueError(f"dedup_id must be a text that is not empty, or None, not {shown(value)}")


def token(value: object) -> None:
    """Refuse what can be no token; a text that names no reservation is an answer, not an error."""
    text("token", value)


def text(name: str, value: object) -> str:
    """Return a text that can be sent."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            pass
        else:
            return value
    raise ValueError(f"{name} must be a text, not {shown(value)}")


def items[T](name: str, value: Iterable[T]) -> list[T]:
    """Return what is in a sequence; a text or a model is one thing, though Python would take it apart."""
    given = cast("object", value)
    if isinstance(given, Iterable) and not isinstance(given, str | bytes | BaseModel):
        return list(value)
    raise ValueError(f"{name} must be a list, not one {type(given).__name__}")


def message_id(value: object) -> str:
    """Return the id of a message, as a text."""
    try:
        return str(cast("AgentMessage", value).message_id)
    except AttributeError:
        raise ValueError(f"a message must be an AgentMessage, not a {type(value).__name__}") from None


def follow_ups[A, M](value: Iterable[tuple[A, M]]) -> list[tuple[A, M]]:
    """Return the pairs of `then_send`."""
    pairs = items("then_send", value)
    for pair in pairs:
        kind = type(cast("object", pair))
        if not issubclass(kind, tuple | list) or len(pair) != _PAIR:
            raise ValueError(f"then_send must hold (recipient, message) pairs, not a {kind.__name__}")
    return pairs
