"""When a membership heartbeats and looks at v0's index, in a time of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest

from tests.library.support.virtual import VirtualLoop, in_virtual_time
from tta_agent_coordination import AgentRegistryError
from tta_agent_coordination._redis.registry_scripts import RegistryReply, RegistryStatus
from tta_agent_coordination.registries._directory import Directory
from tta_agent_coordination.registries._membership import Membership
from tta_agent_coordination.registries._store import RegistryStore
from tta_agent_coordination.registries._tasks import OwnedTasks
from tta_agent_coordination.testing import ManualClock


class Quiet:
    """A store and a directory that hold what a test says, and take everything."""

    def __init__(self) -> None:
        self.unrenewed_names: list[str] = []
        self.asked: list[float] = []
        self.pruned: list[float] = []

    async def unrenewed(self) -> list[str]:
        """Tell who has no key, and note when that was asked."""
        self.asked.append(asyncio.get_running_loop().time())
        return self.unrenewed_names

    async def write(self, build: object, *, within_s: float | None = None) -> RegistryReply:
        """Take a heartbeat, or names; only those come without a limit."""
        del build
        if within_s is None:
            self.pruned.append(asyncio.get_running_loop().time())
        return RegistryReply(RegistryStatus.OK, "")


def membership_of(quiet: Quiet, *, ttl_s: float = 30.0, interval_s: float = 10.0) -> Membership:
    """Return a membership on a store that answers at once."""
    return Membership(
        cast("RegistryStore", quiet),
        cast("Directory", quiet),
        OwnedTasks(),
        ttl_s=ttl_s,
        interval_s=interval_s,
        clock=ManualClock(1),
        publisher=None,
    )


def test_name_without_a_key_is_taken_away_after_exactly_one_ttl() -> None:
    """Broken: a v0 process that stood still for less than a TTL is taken out of its index for good."""
    quiet = Quiet()
    quiet.unrenewed_names = ["old:1"]

    async def scene(loop: VirtualLoop) -> None:
        membership = membership_of(quiet)
        for wait in (100.0, 29.0, 1.0, 0.0):
            loop.pass_by(wait)
            await membership.beat()
        assert membership._missing == {}

    in_virtual_time(scene)
    assert quiet.asked == [100.0, 130.0]
    assert quiet.pruned == [130.0]


def running(*costs: float) -> Callable[[VirtualLoop], Coroutine[Any, Any, list[float]]]:
    """Return a scene: heartbeats that take so long, and the times at which they began."""

    async def scene(loop: VirtualLoop) -> list[float]:
        membership, began, over = membership_of(Quiet()), list[float](), asyncio.Event()
        left = list(costs)

        async def beat() -> None:
            began.append(loop.time())
            if not left:
                over.set()
                await asyncio.Event().wait()
            loop.pass_by(left.pop(0))

        membership.beat = beat  # type: ignore[method-assign]
        membership.start()
        await over.wait()
        await membership.stop()
        return began

    return scene


def test_heartbeats_begin_an_interval_apart_however_long_they_take() -> None:
    """Broken: heartbeats drift by what they cost, until they come too late; or follow without a pause."""
    assert in_virtual_time(running(0.0, 4.0, 25.0, 0.5)) == [0.0, 10.0, 20.0, 45.0, 55.0]


def test_heartbeats_can_be_started_again_and_are_known_by_name() -> None:
    """Broken: after a stop nobody heartbeats, or somebody still does; a second start doubles them."""

    async def scene(loop: VirtualLoop) -> None:
        quiet = Quiet()
        membership = membership_of(quiet, ttl_s=1.0)
        for _ in range(2):
            before = len(quiet.asked)
            await membership.start()
            task = membership._heartbeats
            await membership.start()
            assert membership._heartbeats is task
            assert task is not None
            assert task.get_name() == "registry heartbeats"
            assert len(quiet.asked) == before + 1
            await membership.stop()
            assert task.done()
            loop.pass_by(2.0)

    in_virtual_time(scene)


def test_each_outage_is_told_once_and_its_end_too(caplog: pytest.LogCaptureFixture) -> None:
    """Broken: a log is silent about an outage, full of it, or tells of the end of one that never was."""
    caplog.set_level("INFO")
    away = AgentRegistryError("away")
    ends: list[Exception | None] = [None, away, away, away, None, None, away, None, ValueError("odd")]

    async def scene(loop: VirtualLoop) -> None:
        membership, over = membership_of(Quiet()), asyncio.Event()
        left = list(ends)

        async def beat() -> None:
            if not left:
                over.set()
                return
            if (error := left.pop(0)) is not None:
                raise error

        membership.beat = beat  # type: ignore[method-assign]
        membership.start()
        await over.wait()
        await membership.stop()
        assert loop.time() == pytest.approx(10.0 * len(ends))

    in_virtual_time(scene)
    outage = [
        "The store takes no heartbeats: away; they go on, and this is said once",
        "The store takes heartbeats again",
    ]
    assert caplog.messages == [*outage * 2, "A heartbeat failed; the next one is tried all the same"]
