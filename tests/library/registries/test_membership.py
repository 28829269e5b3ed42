"""One process's part in the registry, step by step: what it asks of the store and when, and what it says."""

# ruff: noqa: ANN401 - commands and options are of any kind here

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.library.registries.agents import FakeAgent
from tests.library.registries.conftest import TTL_S, MakeRegistry
from tests.library.registries.test_liveness import ONE, names, sweep
from tests.library.support.commands import Send, count_commands, intercept
from tta_agent_coordination import AgentEvent, AgentRegistryError, RedisAgentRegistry
from tta_agent_coordination._redis import registry_scripts
from tta_agent_coordination._redis.script import load
from tta_agent_coordination.registries import _membership
from tta_agent_coordination.testing import ManualClock


class Wire:
    """What one registry writes: noted by script, held back, or refused."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.held = asyncio.Event()
        self._hold, self._go_on = "", asyncio.Event()
        self._refuse: list[str] = []

    def hold(self, script: str) -> None:
        """Hold the next call of a script, until `let_go`."""
        self._hold = script
        self.held.clear()
        self._go_on.clear()

    def let_go(self) -> None:
        """Let it go on."""
        self._go_on.set()

    def refuse(self, script: str, times: int = 1) -> None:
        """Let the next calls of a script fail."""
        self._refuse += [script] * times

    async def around(self, send: Send, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Pass one command on, or let it wait or fail."""
        script = next((each for each in WRITES if args[:2] == ("EVALSHA", load(each).digest)), None)
        if script is None:
            return await send(*args, **options)
        self.sent.append(script)
        if script == self._hold:
            self._hold = ""
            self.held.set()
            await self._go_on.wait()
        if script in self._refuse:
            self._refuse.remove(script)
            raise RedisConnectionError("away")
        return await send(*args, **options)


WRITES = ["registry_register", "registry_deregister", "registry_drain", "registry_beat", "registry_prune"]


@contextlib.asynccontextmanager
async def wired(registry: RedisAgentRegistry) -> AsyncGenerator[Wire]:
    """Stand between a registry and the store for the length of a block; the server knows the scripts."""
    for each in WRITES:
        await registry._redis.execute_command("SCRIPT LOAD", load(each).text)
    wire = Wire()
    with intercept(registry._redis, wire.around):
        try:
            yield wire
        finally:
            wire.let_go()


async def turns() -> None:
    """Let everybody go on who can."""
    for _ in range(30):
        await asyncio.sleep(0)


async def test_each_registration_is_one_write(make_registry: MakeRegistry) -> None:
    """Broken: an agent registers over and over, with a new epoch each time."""
    registry = make_registry()
    async with wired(registry) as wire:
        pending = registry.register(FakeAgent())
        await pending
        await pending
        assert wire.sent.count("registry_register") == 1


async def test_registration_that_was_replaced_before_it_was_told_never_is(
    make_registry: MakeRegistry,
) -> None:
    """Broken: others see an agent that its process had replaced, or taken away, already."""
    registry = make_registry()
    async with wired(registry) as wire:
        for gone in (True, False):
            old = FakeAgent(name="old")
            old.hang = asyncio.Event()
            first = registry.register(old)
            await turns()
            second = registry.deregister(ONE) if gone else registry.register(FakeAgent(name="new"))
            old.hang.set()
            await first
            await second
            assert wire.sent.count("registry_register") == (not gone)
    assert await names(registry) == {"new": "alive"}


async def test_registration_waits_for_the_leaving_before_it(make_registry: MakeRegistry) -> None:
    """Broken: what takes the old registration away comes after the new one."""
    registry = make_registry()
    await registry.register(FakeAgent())
    async with wired(registry) as wire:
        wire.hold("registry_deregister")
        left = registry.deregister(ONE)
        await wire.held.wait()
        back = registry.register(FakeAgent())
        await turns()
        assert wire.sent == ["registry_deregister"]
        wire.let_go()
        await left
        await back
    assert len(await registry.list_registered()) == 1


async def test_leaving_waits_for_the_registration_before_it(make_registry: MakeRegistry) -> None:
    """Broken: the agent is registered after it has left, and stays until it lapses."""
    registry = make_registry()
    async with wired(registry) as wire:
        wire.hold("registry_register")
        come = registry.register(FakeAgent())
        await wire.held.wait()
        left = registry.deregister(ONE)
        await turns()
        wire.let_go()
        await come
        await left
        assert wire.sent == ["registry_register", "registry_deregister"]
    assert await registry.list_registered() == []
    assert registry._membership._leaving == []


async def test_heartbeat_leaves_what_is_under_way_alone(make_registry: MakeRegistry) -> None:
    """Broken: each heartbeat starts what has not ended yet once more; or who waits holds others up."""
    registry, leaving, coming = make_registry(), FakeAgent(instance="0"), FakeAgent()
    await registry.register(leaving)
    record = registry._membership.records["world:0"]
    async with wired(registry) as wire:
        wire.hold("registry_deregister")
        left = registry.deregister(leaving.agent_id)
        await wire.held.wait()
        coming.hang = asyncio.Event()
        come = registry.register(coming)
        await turns()
        behind = FakeAgent(instance="2")
        await registry.register(behind)
        steps = [record.step, registry._membership.records["world:1"].step]
        seen = behind.uptime
        await registry._membership.beat()
        assert behind.uptime > seen
        assert [record.step, registry._membership.records["world:1"].step] == steps
        coming.hang.set()
        wire.let_go()
        await come
        await left
    assert await names(registry) == {"world:1": "alive", "world:2": "alive"}


@pytest.mark.parametrize("fails", [False, True])
async def test_predecessors_state_is_imported_once(
    make_registry: MakeRegistry, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """Broken: an agent that works already is set back to where another one had stopped."""
    monkeypatch.setattr(_membership, "_RETRY_DELAYS_S", (0.0,))
    old = FakeAgent()
    old.state = {"step": 3}
    await make_registry().register(old)
    registry, new = make_registry(), FakeAgent()
    async with wired(registry) as wire:
        if fails:
            wire.refuse("registry_register")
        await registry.register(new)
    assert new.imported == [{"step": 3}]


@pytest.mark.parametrize("state", [{}, [1], "text", 5, None])
async def test_state_that_is_none_is_not_imported(
    make_registry: MakeRegistry, client: Any, state: object
) -> None:
    """Broken: an agent is handed what is no state, or told that it took one."""
    entry = {"name": "old", "agent_id": {"type": "world", "instance": "1"}, "state": state}
    await client.set("ao:agents:world:1", json.dumps(entry))
    agent = FakeAgent()
    assert await make_registry().restore_state_if_available(agent) is False
    assert agent.imported == []
    await client.delete("ao:agents:world:1")


async def test_whether_a_state_was_taken_is_said(
    make_registry: MakeRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: who restores by hand goes on from a state that the agent has refused."""

    class Refusing(FakeAgent):
        async def import_state(self, _: dict[str, Any], /) -> None:
            raise RuntimeError("not mine")

    registry, old = make_registry(), FakeAgent()
    old.state = {"step": 3}
    await registry.register(old)
    assert await registry.restore_state_if_available(FakeAgent()) is True
    assert await registry.restore_state_if_available(Refusing()) is False
    assert caplog.messages == ["Agent world:1: import_state failed: RuntimeError: not mine"]


async def test_publisher_is_told_what_watchers_are_told(make_registry: MakeRegistry) -> None:
    """Broken: the process that changes an agent tells of another epoch or time, or not of whom."""

    class Terse(FakeAgent):
        def status_snapshot(self) -> dict[str, Any]:
            return {"status": "idle"}

    registry = make_registry()
    told: list[tuple[AgentEvent, dict[str, Any]]] = []
    registry._membership._relay.tell = lambda event, metadata: told.append((event, metadata))  # type: ignore[method-assign]
    async with registry.watch() as watch:
        await registry.register(Terse())
        await registry.set_draining(ONE)
        seen = [await anext(watch) for _ in range(2)]
    assert told == [(event, {"name": "world:1", "status": "idle"}) for event in seen]


async def test_failures_are_told_with_whom_they_are_about(
    make_registry: MakeRegistry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: a log full of failures does not say whose they are, nor what is done about them."""
    monkeypatch.setattr(_membership, "_RETRY_DELAYS_S", (0.0,))
    registry = make_registry()
    async with wired(registry) as wire:
        for script, act in (
            ("registry_register", lambda: registry.register(FakeAgent())),
            ("registry_deregister", lambda: registry.deregister(ONE)),
        ):
            wire.refuse(script, 2)
            pending: Any = act()
            with pytest.raises(AgentRegistryError):
                await pending
            await registry._tasks.settle()
            if script == "registry_register":
                await sweep(registry)
    assert caplog.messages == [
        "Registering world:1, next try in 0.0 s: away",
        "register world:1 failed: AgentRegistryError: away",
        "Deregistering world:1, next try in 0.0 s: away",
        "deregister world:1 failed: AgentRegistryError: away",
    ]


async def test_leavings_that_failed_are_done_each_by_itself(
    make_registry: MakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: waiting for one agent's end forgets the other's, which stays until it lapses."""
    monkeypatch.setattr(_membership, "_RETRY_DELAYS_S", ())
    registry, two = make_registry(), FakeAgent(instance="2")
    await registry.register(FakeAgent())
    await registry.register(two)
    async with wired(registry) as wire:
        wire.refuse("registry_deregister", 2)
        left = [registry.deregister(ONE), registry.deregister(two.agent_id)]
        await registry._tasks.settle()
        assert len(registry._membership._leaving) == 2
        await left[0]
        assert [record.name for record in registry._membership._leaving] == ["world:2"]
        await sweep(registry)
        assert registry._membership._leaving == []
    assert await registry.list_registered() == []


async def test_deleting_asks_nothing_of_a_registration_that_failed(
    make_registry: MakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: an agent that could not be registered cannot be deleted."""
    monkeypatch.setattr(_membership, "_RETRY_DELAYS_S", ())
    registry = make_registry()
    async with wired(registry) as wire:
        wire.refuse("registry_register")
        with contextlib.suppress(AgentRegistryError):
            await registry.register(FakeAgent())
        await registry._delete(ONE)
        assert wire.sent == ["registry_register", "registry_deregister"]


def test_what_began_without_a_loop_and_was_taken_back_is_done() -> None:
    """Broken: who awaits an answer from before the loop waits for a store that was never asked, or fails."""
    registry, agent = RedisAgentRegistry(object()), FakeAgent()
    pending: list[Any] = [registry.register(agent), registry.deregister(ONE), registry.start_heartbeats()]

    async def wait() -> None:
        for each in pending:
            await each

    asyncio.run(wait())
    assert repr(registry._membership) == "Membership(0 agents)"


async def test_superseded_registration_is_over(
    make_registry: MakeRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: awaiting the old registration again takes the name back from who has it."""
    ours, theirs, told = make_registry(), make_registry(), list[object]()

    async def note(agent: object) -> None:
        told.append(agent)

    ours.set_superseded_callback(note)
    agents = [FakeAgent("a|b"), FakeAgent("world")]
    pending = [ours.register(agent) for agent in agents]
    for each in pending:
        await each
    records = list(ours._membership.records.values())
    for agent in agents:
        await theirs.register(FakeAgent(agent.agent_id.type))
    await sweep(ours)
    assert sorted(told, key=str) == sorted(agents, key=str)
    assert sorted(caplog.messages) == [
        f"Agent {name}:1: another process has registered its name; its heartbeats end here"
        for name in ("a|b", "world")
    ]
    assert repr(ours._membership) == "Membership(0 agents)"
    assert [record.epoch for record in records] == [None, None]
    for each in pending:
        await each
    assert {entry["epoch"] for entry in await ours.list_registered()} == {
        theirs.epoch_of(agent.agent_id) for agent in agents
    }


async def test_superseded_agent_that_nobody_asks_for_is_only_logged(
    make_registry: MakeRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: without a callback the log is full of a failure that is none."""
    ours, theirs = make_registry(), make_registry()
    await ours.register(FakeAgent())
    await theirs.register(FakeAgent())
    await sweep(ours)
    assert caplog.messages == [
        "Agent world:1: another process has registered its name; its heartbeats end here"
    ]


async def test_what_happens_to_agents_is_logged(
    make_registry: MakeRegistry, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: nobody can read afterwards who died, of what, and who came back."""
    ours, theirs = make_registry(), make_registry()
    await ours.register(FakeAgent())
    for _ in range(2):
        clock.advance(TTL_S)
        await sweep(theirs)
    await sweep(ours)
    assert caplog.messages == [
        "Agent world:1 died: no heartbeat for 60.0 s",
        "Agent world:1 was taken out of the registry and registers again",
    ]
    caplog.clear()
    for number in range(19):
        await theirs.register(FakeAgent("other", str(number)))
    for _ in range(5):
        clock.advance(TTL_S / 2)
        await sweep(ours)
    (said,) = caplog.messages
    assert said == (
        "19 of 20 agents lapsed together: the store is held to be the reason, "
        "and deaths wait for two heartbeat TTLs at most"
    )
    for number in range(19):
        theirs.deregister(FakeAgent("other", str(number)).agent_id)
    await theirs._tasks.settle()
    await ours._redis.delete("ao:registry:pause")


@pytest.mark.parametrize("name", ["a\nb:1", "a|b:1", "a b:c"])
async def test_death_of_a_name_that_breaks_its_line_hurts_nobody(
    make_registry: MakeRegistry, clock: ManualClock, client: Any, name: str
) -> None:
    """Broken: what somebody wrote under an odd name ends every heartbeat that finds its death."""
    registry = make_registry()
    await registry.register(FakeAgent())
    await client.hset("ao:registry:members", name, f"5|{int(TTL_S * 1e6)}|{clock.now_us()}||idle|{{}}")
    await client.zadd("ao:registry:due", {name: clock.now_us()})
    for _ in range(6):
        clock.advance(TTL_S / 2)
        await sweep(registry)
    assert await client.hkeys("ao:registry:members") == [b"world:1"]


async def test_agent_without_a_heartbeat_is_told_by_name(
    make_registry: MakeRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: one of a thousand agents cannot be written, and nobody knows which."""
    registry, agent = make_registry(), FakeAgent()
    await registry.register(agent)
    agent.name = object()  # type: ignore[assignment]
    await sweep(registry)
    assert caplog.messages[-1] == (
        "Agent world:1 has no heartbeat: TypeError: Object of type object is not JSON serializable"
    )


async def test_heartbeat_stores_its_time(
    make_registry: MakeRegistry, clock: ManualClock, client: Any
) -> None:
    """Broken: v0's readers take an agent for dead that heartbeats."""
    registry = make_registry()
    await registry.register(FakeAgent())
    clock.advance(7)
    await sweep(registry)
    entry = json.loads(await client.get("ao:agents:world:1"))
    assert entry["last_heartbeat"] == clock.now_us() / 1_000_000


async def test_agents_that_fit_into_one_script_are_one_command(
    make_registry: MakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: each heartbeat costs a command more than it has to, or looks through v0's index each time."""
    monkeypatch.setattr(registry_scripts, "AGENTS_A_SCRIPT", 2)
    registry = make_registry()
    for instance in ("1", "2"):
        await registry.register(FakeAgent(instance=instance))
    await sweep(registry)
    with count_commands(registry._redis) as counted:
        await registry._membership.beat()
    assert counted.names == ["EVALSHA"]


@pytest.mark.parametrize(("ttl", "within"), [(0.5, 1.0), (1.5, 1.5), (TTL_S, TTL_S)])
async def test_heartbeat_waits_for_one_ttl_and_a_second_at_least(
    make_registry: MakeRegistry, ttl: float, within: float
) -> None:
    """Broken: a heartbeat hangs for ever on a silent server, or gives up on one that is only slow."""
    registry = make_registry(heartbeat_ttl_s=ttl)
    write, waited = registry._store.write, list[float | None]()

    async def noting(build: Any, *, within_s: float | None = None) -> Any:
        waited.append(within_s)
        return await write(build, within_s=within_s)

    registry._store.write = noting  # type: ignore[method-assign]
    await registry._membership.beat()
    assert waited == [within]


async def test_names_that_are_gone_leave_v0s_index_in_pages(
    make_registry: MakeRegistry, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: of many names some stay in v0's index for ever, or one script takes thousands."""
    monkeypatch.setattr(registry_scripts, "AGENTS_A_SCRIPT", 2)
    registry = make_registry()
    await client.sadd("ao:agents:index", *(f"ao:agents:gone:{number}" for number in range(5)))
    async with wired(registry) as wire:
        await registry._membership.beat()
        assert wire.sent.count("registry_prune") == 0
        membership = registry._membership
        membership._prune_due = 0.0
        membership._missing = {name: at - TTL_S for name, at in membership._missing.items()}
        await registry._membership.beat()
        assert wire.sent.count("registry_prune") == 3
    assert await client.exists("ao:agents:index") == 0
    assert membership._missing == {}


async def test_question_to_an_agent_is_known_by_name(make_registry: MakeRegistry) -> None:
    """Broken: an agent that hangs cannot be found among the tasks."""
    registry, slow = make_registry(), FakeAgent()
    await registry.register(slow)
    slow.hang = asyncio.Event()
    await registry._membership.beat()
    export = registry._membership.records["world:1"].export
    assert export is not None
    assert export.get_name() == "ask world:1"
    slow.hang.set()
