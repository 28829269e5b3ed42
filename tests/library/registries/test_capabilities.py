"""What agents can do: stored with them, listed, and found with a score."""

# ruff: noqa: ANN401 - clients are of any kind here

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import pytest
from pydantic import BaseModel

from tests.library.registries.agents import Capabilities, Capability, FakeAgent
from tests.library.registries.conftest import TTL_S, MakeRegistry
from tests.library.registries.test_liveness import ONE, sweep
from tta_agent_coordination import AgentId, CapabilityMatch
from tta_agent_coordination.registries._capabilities import matches, read_capabilities
from tta_agent_coordination.testing import ManualClock


def able(instance: str, *capabilities: tuple[str, str | None]) -> FakeAgent:
    """Return an agent that can do something."""
    agent = FakeAgent(instance=instance)
    agent.capabilities = Capabilities(
        agent_id=agent.agent_id,
        capabilities=[Capability(name=name, type=kind) for name, kind in capabilities],
    )
    return agent


async def test_capabilities_are_stored_as_v0_does(make_registry: MakeRegistry, client: Any) -> None:
    """Broken: TTA's readers look under these keys."""
    await make_registry().register(able("1", ("draw", "art")))
    stored = json.loads(await client.get("ao:capabilities:world:1"))
    assert stored == {
        "agent_id": {"type": "world", "instance": "1"},
        "capabilities": [{"name": "draw", "type": "art"}],
    }
    assert await client.smembers("ao:capabilities:index") == {b"ao:capabilities:world:1"}
    assert json.loads(await client.get("ao:agents:world:1"))["capabilities"] == stored
    assert 0 < await client.pttl("ao:capabilities:world:1") <= TTL_S * 1000


async def test_capabilities_are_listed(make_registry: MakeRegistry) -> None:
    """Broken: nobody can see what is on offer."""
    ours, theirs = make_registry(), make_registry()
    await ours.register(able("1", ("draw", None)))
    await theirs.register(able("2", ("write", None)))
    await theirs.register(FakeAgent(instance="3"))
    listed = await ours.list_all_capabilities()
    assert sorted(entry["capabilities"][0]["name"] for entry in listed) == ["draw", "write"]
    assert (await ours.get_agent_capabilities(AgentId(type="world", instance="2")) or {})["capabilities"]
    assert await ours.get_agent_capabilities(AgentId(type="world", instance="3")) is None
    assert await ours.get_agent_capabilities(AgentId(type="world", instance="4")) is None


async def test_found_by_name_and_type_best_first(make_registry: MakeRegistry, clock: ManualClock) -> None:
    """Broken: the agent that fits best is not the first."""
    registry, other = make_registry(), make_registry()
    await other.register(able("late", ("Draw", "art")))
    clock.advance(TTL_S)
    await registry.register(able("1", ("draw", "Art"), ("redraw", None)))
    await registry.register(able("2", ("write", "text")))
    found = await registry.find_by_capability("DRAW")
    assert [(match.agent_id.instance, match.capability["name"], match.score) for match in found] == [
        ("1", "draw", 1.0),
        ("1", "redraw", 0.5),
        ("late", "Draw", 0.5),
    ]
    assert [match.alive for match in found] == [True, True, False]
    of_type = await registry.find_by_capability(capability_type="art")
    assert [match.agent_id.instance for match in of_type] == ["1", "late"]
    assert await registry.find_by_capability("draw", capability_type="ar") == []
    assert len(await registry.find_by_capability()) == 4
    assert await registry.find_by_capability("sing") == []


async def test_draining_agent_is_not_found(make_registry: MakeRegistry) -> None:
    """Broken: an agent that ends gets new work."""
    registry = make_registry()
    await registry.register(able("1", ("draw", None)))
    await registry.set_draining(ONE)
    assert await registry.find_by_capability("draw") == []
    await registry.set_draining(ONE, draining=False)
    assert len(await registry.find_by_capability("draw")) == 1


async def test_capabilities_can_be_given_by_hand(make_registry: MakeRegistry, client: Any) -> None:
    """Broken: v0's register_capabilities."""
    registry = make_registry()
    said = Capabilities(agent_id=ONE, capabilities=[Capability(name="sing")])
    assert await registry.register_capabilities(ONE, said) is False
    await registry.register(FakeAgent())
    epoch = registry.epoch_of(ONE)
    assert await registry.register_capabilities(ONE, said) is True
    assert registry.epoch_of(ONE) == epoch
    for _ in range(2):
        await sweep(registry)
    assert [match.capability["name"] for match in await registry.find_by_capability()] == ["sing"]
    assert await client.smembers("ao:capabilities:index") == {b"ao:capabilities:world:1"}


async def test_what_is_no_set_of_capabilities_is_refused_by_hand(make_registry: MakeRegistry) -> None:
    """Broken: something that nobody can find is stored."""

    class Other(BaseModel):
        name: str = "x"

    registry = make_registry()
    await registry.register(FakeAgent())
    with pytest.raises(ValueError, match="no set of capabilities"):
        await registry.register_capabilities(ONE, Other())


class _List(BaseModel):
    capabilities: list[Any]

    def model_dump(self, **_: Any) -> Any:
        """Return what no model would."""
        return ["a list"]


@pytest.mark.parametrize("said", [None, {"capabilities": [{"name": "draw"}]}, "draw", _List(capabilities=[])])
async def test_what_an_agent_says_that_is_no_set_is_ignored(
    make_registry: MakeRegistry, client: Any, said: object
) -> None:
    """Broken: TTA's OpenHands proxy returns a plain dictionary, and must be registered without it."""
    agent = FakeAgent()
    agent.capabilities = said
    registry = make_registry()
    await registry.register(agent)
    assert await client.exists("ao:capabilities:world:1") == 0
    assert await registry.list_all_capabilities() == []


async def test_asked_by_method_where_there_is_one(make_registry: MakeRegistry) -> None:
    """Broken: TTA's agents have an async get_capabilities."""

    class Asked(FakeAgent):
        async def get_capabilities(self) -> object:
            return Capabilities(agent_id=self.agent_id, capabilities=[Capability(name="draw")])

    class Failing(FakeAgent):
        async def get_capabilities(self) -> object:
            raise RuntimeError("later")

    registry = make_registry()
    await registry.register(Asked())
    await registry.register(Failing(instance="2"))
    assert [match.agent_id.instance for match in await registry.find_by_capability("draw")] == ["1"]
    assert len(await registry.list_registered()) == 2


async def capability_keys(client: Any) -> set[bytes]:
    """Return v0's keys of capabilities, the index among them."""
    return set(await client.keys("ao:capabilities:*"))


async def test_agent_that_registers_again_without_capabilities_has_none(
    make_registry: MakeRegistry, client: Any
) -> None:
    """Broken: v0's readers give work to an agent for what only its predecessor could do."""
    await make_registry().register(able("1", ("draw", None)))
    assert await capability_keys(client) == {b"ao:capabilities:world:1", b"ao:capabilities:index"}
    await make_registry().register(FakeAgent())
    assert await capability_keys(client) == set()


async def test_deregistering_takes_capabilities_away(make_registry: MakeRegistry, client: Any) -> None:
    """Broken: v0's readers find an agent that has left by what it could do, for one TTL or for ever."""
    registry = make_registry()
    await registry.register(able("1", ("draw", None)))
    await registry.register(able("2", ("draw", None)))
    await registry.deregister(ONE)
    assert await capability_keys(client) == {b"ao:capabilities:world:2", b"ao:capabilities:index"}
    assert await client.smembers("ao:capabilities:index") == {b"ao:capabilities:world:2"}


async def test_death_takes_capabilities_out_of_the_index(
    make_registry: MakeRegistry, clock: ManualClock, client: Any
) -> None:
    """Broken: v0's index of capabilities grows with every agent that ever crashed."""
    ours, theirs = make_registry(), make_registry()
    await ours.register(able("1", ("draw", None)))
    await theirs.register(able("2", ("draw", None)))
    for _ in range(4):
        clock.advance(TTL_S / 2)
        await sweep(theirs)
    assert await client.smembers("ao:capabilities:index") == {b"ao:capabilities:world:2"}


async def test_odd_entries_are_passed_over(make_registry: MakeRegistry, client: Any) -> None:
    """Broken: what another program stored ends the search."""
    registry = make_registry()
    await registry.register(able("1", ("draw", None)))
    for number, capabilities in enumerate(([1, {"name": None}], "x", {"a": 1})):
        entry = {
            "name": "odd",
            "agent_id": {"type": "odd", "instance": str(number)},
            "capabilities": {"capabilities": capabilities},
        }
        await client.set(f"ao:agents:odd:{number}", json.dumps(entry))
        await client.sadd("ao:agents:index", f"ao:agents:odd:{number}")
    nobody = {"agent_id": {"instance": "1"}, "capabilities": {"capabilities": [{"name": "draw"}]}}
    await client.set("ao:agents:nobody:1", json.dumps(nobody))
    await client.sadd("ao:agents:index", "ao:agents:nobody:1")
    assert [match.agent_id.instance for match in await registry.find_by_capability("draw")] == ["1"]


def entry(instance: str, capabilities: object, **more: Any) -> dict[str, Any]:
    """Return an agent's entry as a registry lists it."""
    agent_id = {"type": "world", "instance": instance}
    return {"agent_id": agent_id, "alive": True, "capabilities": capabilities, **more}


def offering(*names: str) -> dict[str, Any]:
    """Return a set of capabilities."""
    return {"capabilities": [{"name": name} for name in names]}


def who(found: list[CapabilityMatch]) -> list[tuple[str | None, str]]:
    """Return the instances and the names of what they offer, in order."""
    return [(match.agent_id.instance, match.capability["name"]) for match in found]


@pytest.mark.parametrize(
    "odd",
    [
        entry("0", ["draw"]),
        entry("0", "draw"),
        entry("0", {}),
        entry("0", {"capabilities": "draw"}),
        entry("0", {"capabilities": ["draw"]}),
        entry("0", None),
        entry("0", offering("draw"), draining=True),
    ],
)
def test_odd_or_draining_entry_hides_nobody(odd: dict[str, Any]) -> None:
    """Broken: what one agent stored, v0's or another's, ends the search for all, or a draining one counts."""
    assert who(matches([odd, entry("1", offering("draw"))], name="draw", capability_type=None)) == [
        ("1", "draw")
    ]


def test_odd_capability_hides_no_other() -> None:
    """Broken: an agent is not found because of something else in its list."""
    mixed = {"capabilities": ["draw", None, {"name": "draw"}]}
    assert who(matches([entry("1", mixed)], name="draw", capability_type=None)) == [("1", "draw")]


def test_equal_fits_are_in_order_of_agent_and_name() -> None:
    """Broken: two processes that ask the same choose different agents."""
    listed = [entry("2", offering("draw a")), entry("1", offering("draw c", "draw b"))]
    found = matches(listed, name="draw", capability_type=None)
    assert who(found) == [("1", "draw b"), ("1", "draw c"), ("2", "draw a")]


class Kind(Enum):
    """A kind of capability, as TTA has them."""

    ART = "art"


class Dated(BaseModel):
    """A set of capabilities with a value that JSON has no form for."""

    since: datetime
    capabilities: list[str]


def test_type_may_be_asked_for_by_its_enum() -> None:
    """Broken: TTA asks with its own enum, and finds nobody."""
    listed = [entry("1", {"capabilities": [{"name": "draw", "type": "Art"}]})]
    wanted: Any = Kind.ART
    assert who(matches(listed, name=None, capability_type=wanted)) == [("1", "draw")]


def test_capabilities_are_read_as_json() -> None:
    """Broken: a set with a time in it cannot be stored, or an object that is no set ends the asking."""
    read = read_capabilities(Dated(since=datetime(2024, 1, 2, tzinfo=UTC), capabilities=["a"]))
    assert read == {"since": "2024-01-02T00:00:00Z", "capabilities": ["a"]}
    assert read_capabilities(object()) is None
    assert read_capabilities({"capabilities": []}) is None
