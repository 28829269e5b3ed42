"""Owns the shapes of a coordinator's options and of an answer that is already there."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypedDict

from tta_agent_coordination._clock import Clock
from tta_agent_coordination.metrics import MessageMetrics

__all__ = ["CoordinatorOptions", "Done"]


class CoordinatorOptions(TypedDict, total=False):
    """The keyword options of a coordinator."""

    queue_size: int
    retry_attempts: int
    backoff_base: float
    backoff_factor: float
    backoff_max: float
    max_deliveries: int
    dedup_ttl: float
    max_payload_bytes: int
    metrics: MessageMetrics | None
    audit: str
    hash_tags: bool
    jitter: bool
    ageing: float | None
    clock: Clock | None
    liveness: Callable[[str], str] | None


class Done:
    """What `configure` returns: everything has happened, and awaiting it is allowed."""

    def __await__(self) -> Generator[Any, None, None]:
        yield from ()
