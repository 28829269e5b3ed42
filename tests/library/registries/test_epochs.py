"""Two processes with one id: who registered last has it, whatever comes in which order."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable

import pytest

from tests.library.registries.agents import FakeAgent
from tests.library.registries.conftest import MakeRegistry
from tests.library.registries.test_liveness import ONE, sweep
from tta_agent_coordination import RedisAgentRegistry
from tta_agent_coordination.testing import ManualClock


async def test_old_registration_can_neither_write_nor_deregister(make_registry: MakeRegistry) -> None:
    """Broken: an old process takes its replacement out of the registry."""
    old, new = make_registry(), make_registry()
    replaced = FakeAgent(name="old")
    told: list[object] = []

    async def note(agent: object) -> None:
        told.append(agent)

    old.set_superseded_callback(note)
    await old.register(replaced)
    await new.register(FakeAgent(name="new"))
    await sweep(old)
    (entry,) = await new.list_registered()
    assert entry["name"] == "new"
    assert told == [replaced]
    assert old.epoch_of(ONE) is None
    await sweep(old)
    assert told == [replaced]
    await old.deregister(ONE)
    assert len(await new.list_registered()) == 1


async def test_old_process_that_deregisters_before_it_knows_leaves_its_replacement(
    make_registry: MakeRegistry,
) -> None:
    """Broken: a process that ends takes away who was started in its place."""
    old, new = make_registry(), make_registry()
    await old.register(FakeAgent(name="old"))
    await new.register(FakeAgent(name="new"))
    await old.deregister(ONE)
    (entry,) = await new.list_registered()
    assert entry["name"] == "new"
    assert entry["epoch"] == new.epoch_of(ONE)


async def test_old_process_cannot_drain_its_replacement(make_registry: MakeRegistry) -> None:
    """Broken: a process that ends stops who was started in its place."""
    old, new = make_registry(), make_registry()
    await old.register(FakeAgent(name="old"))
    await new.register(FakeAgent(name="new"))
    assert await old.set_draining(ONE) is False
    assert (await new.list_registered())[0]["draining"] is False


async def test_epochs_grow_when_the_clock_goes_back(make_registry: MakeRegistry, clock: ManualClock) -> None:
    """Broken: after a clock step an old registration equals, or outranks, a new one."""
    epochs: list[int | None] = []
    for _ in range(3):
        registry = make_registry()
        await registry.register(FakeAgent())
        epochs.append(registry.epoch_of(ONE))
        clock.advance(-100)
    known = [epoch for epoch in epochs if epoch is not None]
    assert len(known) == 3
    assert known == sorted(set(known))


STEPS: dict[str, Callable[[RedisAgentRegistry], Awaitable[object]]] = {
    "register": lambda registry: registry.register(FakeAgent()),
    "beat": sweep,
    "deregister": lambda registry: registry.deregister(ONE),
}
ORDERS = sorted(set(itertools.permutations("aaabbb")))
"""Every interleaving of the steps register, beat, deregister of two processes."""


@pytest.mark.parametrize("order", ORDERS, ids="".join)
async def test_two_processes_on_every_interleaving(
    make_registry: MakeRegistry, order: tuple[str, ...]
) -> None:
    """Broken: somewhere in between the newest registration is overwritten or taken away, or a ghost stays.

    The rule is short: what is listed is the last registration, unless its own process took it away. An older
    one that learns only then that its name is free lives, heartbeats, and registers again.
    """
    registries = {"a": make_registry(), "b": make_registry()}
    steps = {"a": iter(STEPS), "b": iter(STEPS)}
    holder: str | None = None
    for who in order:
        step = next(steps[who])
        await STEPS[step](registries[who])
        if step == "register" or (step == "beat" and holder is None):
            holder = who
        elif step == "deregister" and holder == who:
            holder = None
        listed = await registries[who].list_registered()
        assert len(listed) == (holder is not None)
        if holder is not None:
            assert listed[0]["epoch"] == registries[holder].epoch_of(ONE)
