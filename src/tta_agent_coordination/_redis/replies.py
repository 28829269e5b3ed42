"""Owns what every script of the coordinator has in common: the lane it runs on, and how its answer begins."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

__all__ = ["Lane", "Reply", "Status", "reply_of", "status_of", "text_of"]


class Status(StrEnum):
    """The first element of every answer."""

    OK = "ok"
    FULL = "full"
    DUPLICATE = "duplicate"
    EMPTY = "empty"
    AGAIN = "again"
    LOST = "lost"
    RETRIED = "retried"
    DEAD = "dead"
    UNKNOWN_TAIL = "unknown_tail"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class Lane:
    """The lane a call runs on, and its place in the lane's sequence."""

    key: bytes
    seq: int


@dataclass(frozen=True, slots=True)
class Reply:
    """A status word and one text."""

    status: Status
    text: str


def text_of(value: object) -> str:
    """Return an element of an answer as text; bytes that are none show as escapes."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


_STATUSES: dict[object, Status] = {status.value.encode(): status for status in Status}


def status_of(word: object) -> Status:
    """Return a script's status word; looked up, since every answer begins with one."""
    return _STATUSES.get(word) or Status(text_of(word))


def reply_of(answer: list[Any]) -> Reply:
    """Return an answer of a status word and one text."""
    return Reply(status_of(answer[0]), text_of(answer[1]))
