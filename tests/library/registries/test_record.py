"""What a process knows of one of its agents: what it said last is kept, what it cannot say is told once."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from tests.library.registries.agents import Capabilities, Capability, FakeAgent
from tta_agent_coordination import AgentId
from tta_agent_coordination.registries import _record as record_module
from tta_agent_coordination.registries._record import Registration

ABLE = Capabilities(agent_id=AgentId(type="world", instance="1"), capabilities=[Capability(name="dig")])
NOT_FINITE = "Out of range float values are not JSON compliant: nan"
ABLE_JSON = {
    "agent_id": {"type": "world", "instance": "1"},
    "capabilities": [{"name": "dig", "type": None}],
}


class Asked(FakeAgent):
    """An agent with a method for its capabilities, as TTA's have."""

    def get_capabilities(self) -> object:
        """Return what the test set."""
        return self.capabilities


class AskedAside(FakeAgent):
    """An agent whose capabilities have to be awaited."""

    async def get_capabilities(self) -> object:
        """Return what the test set, later."""
        await asyncio.sleep(0)
        return self.capabilities


class Hanging(FakeAgent):
    """An agent whose capabilities never come."""

    async def get_capabilities(self) -> object:
        """Wait."""
        self.hung += 1
        await asyncio.Event().wait()
        return None


class Silent(FakeAgent):
    """An agent that cannot say how it is."""

    broken = False

    def status_snapshot(self) -> dict[str, Any]:
        """Raise where the test says so."""
        if self.broken:
            raise LookupError("no status today")
        return super().status_snapshot()


def test_registration_begins_with_nothing_known() -> None:
    """Broken: an agent that was never asked is stored as degraded, draining, restored or taken away."""
    registration = Registration(FakeAgent("world", None))
    assert registration.name == "world:default"
    assert registration.epoch is None
    assert registration.step is registration.export is registration.after is None
    assert [registration.closed, registration.restored, registration.draining] == [False, False, False]
    assert registration.status == {}
    assert repr(registration) == "Registration('world:default', epoch=None, closed=False)"


async def test_registration_knows_what_it_comes_after() -> None:
    """Broken: two registrations of one agent are written in any order."""
    before = asyncio.ensure_future(asyncio.sleep(0))
    assert Registration(FakeAgent(), before).after is before
    await before


async def test_beat_carries_what_the_agent_said() -> None:
    """Broken: others read an old state, another status, or the capabilities of nobody."""
    agent = Asked()
    agent.state, agent.capabilities = {"turn": 3}, ABLE
    registration = Registration(agent)
    first = registration.beat(5.0)
    assert (first.name, first.epoch, first.status, first.capabilities) == ("world:1", 0, "idle", b"")
    assert "state" not in json.loads(first.entry)
    await registration.ask()
    registration.epoch = 7
    beat = registration.beat(12.5)
    entry = json.loads(beat.entry)
    assert (beat.name, beat.epoch, beat.status) == ("world:1", 7, "idle")
    assert (entry["last_heartbeat"], entry["state"]) == (12.5, {"turn": 3})
    assert entry["capabilities"] == json.loads(beat.capabilities) == ABLE_JSON
    assert entry["status"] == registration.status
    assert entry["status"]["metrics"]["uptime_s"] == 2.0, "it is asked at each heartbeat"


@pytest.mark.parametrize("kind", [FakeAgent, Asked, AskedAside])
async def test_capabilities_are_an_attribute_or_an_answer(kind: type[FakeAgent]) -> None:
    """Broken: an agent is not found by what it can do, because of how it says so."""
    agent = kind()
    agent.capabilities = ABLE
    registration = Registration(agent)
    await registration.ask()
    assert json.loads(registration.beat(1.0).capabilities) == ABLE_JSON


async def test_capabilities_given_by_hand_are_not_asked_for() -> None:
    """Broken: what an operator set is gone after the next heartbeat."""
    agent = Asked()
    agent.capabilities = ABLE
    registration = Registration(agent)
    registration.advertise({"capabilities": [{"name": "fly"}]})
    await registration.ask()
    assert json.loads(registration.beat(1.0).capabilities) == {"capabilities": [{"name": "fly"}]}
    registration.advertise(None)
    await registration.ask()
    assert registration.beat(1.0).capabilities == b""


async def test_what_cannot_be_said_stays_as_it_was_and_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Broken: a fault of an agent ends its heartbeat, wipes its state, or fills the log."""
    agent = Silent()
    agent.state, agent.capabilities = {"turn": 1}, ABLE
    registration = Registration(agent)
    await registration.ask()
    good = registration.beat(1.0)
    agent.state, agent.capabilities, agent.broken = {"turn": float("nan")}, [object()], True
    agent.get_capabilities = lambda: 1 / 0  # pyright: ignore[reportAttributeAccessIssue]
    for _ in range(2):
        await registration.ask()
        assert registration.beat(1.0) == good
    ends = "; what it said last is kept, and this is said once"
    assert [record.getMessage() for record in caplog.records] == [
        f"Agent world:1: export_state failed (ValueError: {NOT_FINITE}){ends}",
        f"Agent world:1: get_capabilities failed (ZeroDivisionError: division by zero){ends}",
        f"Agent world:1: status_snapshot failed (LookupError: no status today){ends}",
    ]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    assert {record.name for record in caplog.records} == {"tta_agent_coordination.registries"}


async def test_status_that_is_not_json_is_not_taken() -> None:
    """Broken: one bad status makes every later heartbeat of this process fail."""
    agent = FakeAgent()
    registration = Registration(agent)
    before = registration.beat(1.0)
    agent.word = object()  # pyright: ignore[reportAttributeAccessIssue] - that is the point
    assert registration.beat(1.0) == before


async def test_agent_that_does_not_answer_in_time_is_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: an agent that hangs stops the heartbeat of all others for ever."""
    monkeypatch.setattr(record_module, "EXPORT_TIMEOUT_S", 0.01)
    agent = Hanging()
    agent.hang = asyncio.Event()
    await asyncio.wait_for(Registration(agent).ask(), 10)
    assert agent.hung == 2
    assert "export_state failed (TimeoutError" in caplog.text
    assert "get_capabilities failed (TimeoutError" in caplog.text


class Bare:
    """An agent as the contract has it: it says nothing of what it can do."""

    agent_id = AgentId(type="world", instance="1")
    name = "bare"

    def status_snapshot(self) -> dict[str, Any]:
        """Fail from the beginning."""
        raise LookupError("no status yet")

    async def health_check(self) -> dict[str, Any]:
        """Say nothing."""
        return {}

    def set_degraded(self, degraded: bool, /) -> None:
        """Do nothing."""

    async def export_state(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    async def import_state(self, state: dict[str, Any], /) -> None:
        """Do nothing."""


async def test_agent_that_says_nothing_is_unknown_and_blamed_for_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Broken: an agent without capabilities is reported as faulty, or one without a status as running."""
    registration = Registration(Bare())
    await registration.ask()
    assert caplog.records == []
    beat = registration.beat(1.0)
    assert (beat.status, beat.capabilities) == ("unknown", b"")
    assert json.loads(beat.entry)["status"] == {}


class Endless:
    """A set of capabilities that JSON has no form for."""

    def model_dump(self, mode: str) -> dict[str, Any]:
        """Return it."""
        assert mode == "json"
        return {"capabilities": [float("inf")]}


async def test_capabilities_that_are_not_json_are_not_taken() -> None:
    """Broken: one bad set makes every later heartbeat of this process fail."""
    agent = FakeAgent()
    agent.capabilities = Endless()
    registration = Registration(agent)
    await registration.ask()
    assert registration.beat(1.0).capabilities == b""
