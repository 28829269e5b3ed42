"""Runs of the doctor for tests, and what v0 leaves behind when it ends between two steps."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, cast

import redis.asyncio as aioredis

from tests.library.support.peek import Peek
from tests.library.v0_model import ProcessDied
from tta_agent_coordination._redis.client import Client
from tta_agent_coordination.doctor.examination import Examination
from tta_agent_coordination.doctor.findings import Report
from tta_agent_coordination.testing import ManualClock

__all__ = ["BOX", "died", "examine", "found_in", "unchanged_by"]

BOX = "world:1"
"""WORLD's inbox, as v0 calls it."""


async def nothing() -> None:
    """Pass at once."""


async def examine(
    client: aioredis.Redis,
    clock: ManualClock | None = None,
    *,
    repair: bool = True,
    settle: Callable[[], Awaitable[object]] = nothing,
    said: list[str] | None = None,
    prefix: str = "ao",
) -> Report:
    """Run the doctor once; `settle` is what happens between two looks."""
    return await Examination(
        cast("Client", client),
        prefix,
        server="redis://here",
        repair=repair,
        settle=settle,
        say=(said if said is not None else []).append,
        clock=clock,
    ).run()


def found_in(report: Report) -> dict[str, int]:
    """Return what was found, and check that the report says of all of it whether it was mended."""
    assert report.left == sum(not finding.mended for finding in report.details)
    return {kind: count for kind, count in report.found.items() if count}


async def died(call: Awaitable[Any]) -> None:
    """Let an operation of v0 end where its process dies."""
    with contextlib.suppress(ProcessDied):
        await call
        raise AssertionError("the process did not die")


async def unchanged_by(peek: Peek, run: Callable[[], Awaitable[Report]]) -> Report:
    """Run the doctor, and check that no key but the memory of its own calls changed."""
    before = await peek.snapshot()
    report = await run()
    after = {key: value for key, value in (await peek.snapshot()).items() if ":op:" not in key}
    assert after == {key: value for key, value in before.items() if ":op:" not in key}
    return report
