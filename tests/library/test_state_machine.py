"""A random life of one inbox against the oracle, on every Redis: nothing lost, nothing doubled, order kept.

Two coordinators share the inbox, some clients die in the middle of a call, and the clock is moved, back too.
After every step the store is compared with what the oracle says.
"""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.library.conftest import START_US
from tests.library.support.builders import INPUT, WORLD, make_message, take
from tests.library.support.commands import Crash, crash_after, crash_before
from tests.library.support.oracle import Message, Oracle
from tests.library.support.peek import LEVELS, Peek
from tests.library.support.servers import EmbeddedLane, Lane, RealLane, RealServer
from tta_agent_coordination import FailureType, MessagePriority, RedisMessageCoordinator
from tta_agent_coordination.testing import ManualClock

STEPS = settings(stateful_step_count=25, phases=[Phase.explicit, Phase.reuse, Phase.generate])
"""A failing life is told as it was found: making it shorter takes longer than any test may."""
EXAMPLES = {"fakeredis": 6, "real": 25}
"""Runs at 30 examples a property. The scripts are the same on both; Lua inside this process is slower."""

NOTHING: MultipleResults[str] = multiple()
"""What a rule adds to the bundle of tokens when nobody got one."""

LIMITS: dict[str, Any] = {"queue_size": 8, "max_deliveries": 2, "retry_attempts": 2}
BACKOFF_S = 0.7
"""Dues end at other fractions of a second than sends, so the oracle never has to break a tie."""


class InboxLife(RuleBasedStateMachine):
    """Every operation, in every order."""

    tokens: Bundle[str] = Bundle("tokens")

    def __init__(self, lane: Lane) -> None:
        super().__init__()
        self.lane = lane
        self.runner = asyncio.Runner()
        self.clock = ManualClock(START_US)
        self.oracle = Oracle(now_us=START_US, backoff_us=int(BACKOFF_S * 1e6), **LIMITS)
        self.sent = 0
        self.clients = [lane.client(), lane.client()]
        self.coordinators = [
            RedisMessageCoordinator(client, clock=self.clock, backoff_base=BACKOFF_S, **LIMITS)
            for client in self.clients
        ]
        self.peek = Peek(lane.client())
        self.run(self._begin())

    def run[T](self, what: Coroutine[Any, Any, T]) -> T:
        """Run one call to its end."""
        return self.runner.run(what)

    async def _begin(self) -> None:
        """Have the server know every script, so that a crash counts operations and not their loading."""
        await self.peek.raw("FLUSHALL")
        for settle in (self.coordinators[0].ack, self.coordinators[0].nack):
            await self.coordinators[0].send_message(INPUT, WORLD, make_message())
            await settle(WORLD, (await take(self.coordinators[0])).token)
            await self.peek.raw("FLUSHALL")

    def teardown(self) -> None:
        """Leave an empty store and close what was opened."""
        self.run(self.peek.raw("FLUSHALL"))
        for coordinator in self.coordinators:
            self.run(coordinator.aclose())
        self.run(self.lane.close())
        self.runner.close()

    who = st.sampled_from([0, 1])
    levels = st.sampled_from(list(MessagePriority))

    @rule(
        who=who,
        level=levels,
        delay=st.sampled_from([0, 0, 0, 2, 5]),
        expires=st.sampled_from([None, None, 8, 20]),
    )
    def send(self, who: int, level: MessagePriority, delay: int, expires: int | None) -> None:
        """A message is accepted exactly when there is room."""
        self.sent += 1
        message_id = f"message-{self.sent:03}"
        delay_us = delay * 1_000_000 + 500_000 + self.sent if delay else 0
        expected = self.oracle.send(
            message_id, int(level), delay_us=delay_us, expires_in_us=expires and expires * 1_000_000
        )
        message = make_message(message_id, {"n": self.sent, "delivery_attempts": 9}, priority=level)
        result = self.run(
            self.coordinators[who].send_message(
                INPUT, WORLD, message, delay=delay_us / 1e6, expires_in=expires
            )
        )
        assert result.delivered is expected

    @rule(who=who)
    def send_and_die_before(self, who: int) -> None:
        """A send that never left is no message."""
        with crash_before(self.clients[who], 0), pytest.raises(Crash):
            self.run(self.coordinators[who].send_message(INPUT, WORLD, make_message("never sent")))

    @rule(target=tokens, who=who, lease=st.sampled_from([1, 3, 3, 60]))
    def receive(self, who: int, lease: int) -> MultipleResults[str] | str:
        """The message that is handed out is the one whose turn it is."""
        expected = self.oracle.receive()
        received = self.run(self.coordinators[who].receive(WORLD, lease))
        if expected is None or received is None:
            assert received is None
            assert expected is None
            return NOTHING
        inner = received.queue_message
        assert inner.message.message_id == expected.message_id
        assert inner.delivery_attempts == expected.attempts
        self.oracle.lease(expected, received.token, lease * 1_000_000)
        assert received.deliveries == expected.deliveries
        return received.token

    @rule(target=tokens, who=who)
    def receive_and_die(self, who: int) -> MultipleResults[str] | str:
        """A consumer that died with the answer on its way leaves a lease behind, and nothing else."""
        expected = self.oracle.receive()
        with crash_after(self.clients[who], 0), pytest.raises(Crash):
            self.run(self.coordinators[who].receive(WORLD, 3))
        known = {message.token for message in self.oracle.having("reserved")}
        new = [token for token in self.run(self.peek.reserved(WORLD)) if token not in known]
        assert len(new) == (expected is not None)
        if expected is None:
            return NOTHING
        self.oracle.lease(expected, new[0], 3_000_000)
        return new[0]

    @rule(who=who)
    def consumer_dies(self, who: int) -> None:
        """A message whose consumer died is back in its place, or poison."""
        expected = self.oracle.receive()
        received = self.run(self.coordinators[who].receive(WORLD, 1))
        assert (received is None) == (expected is None)
        if expected is not None and received is not None:
            self.oracle.lease(expected, received.token, 1_000_000)
        self.time_passes(2)
        self.recover(who)

    @rule(who=who, token=tokens)
    def ack(self, who: int, token: str) -> None:
        """A token is good until it is used or reclaimed."""
        assert self.run(self.coordinators[who].ack(WORLD, token)) is self.oracle.ack(token)

    @rule(who=who, token=tokens, permanent=st.sampled_from([False, False, True]))
    def nack(self, who: int, token: str, permanent: bool) -> None:
        """A failure is counted once, and retried or buried."""
        failure = FailureType.PERMANENT if permanent else FailureType.TRANSIENT
        answer = self.run(self.coordinators[who].nack(WORLD, token, failure, 'why\n"},{'))
        assert answer is self.oracle.nack(token, permanent=permanent)

    @rule(who=who, token=tokens)
    def nack_and_die(self, who: int, token: str) -> None:
        """A nack that left is a nack, whether or not its answer was seen."""
        with crash_after(self.clients[who], 0), pytest.raises(Crash):
            self.run(self.coordinators[who].nack(WORLD, token, error="died"))
        self.oracle.nack(token, permanent=False)

    @rule(who=who, token=tokens)
    def release(self, who: int, token: str) -> None:
        """Giving back counts nothing."""
        assert self.run(self.coordinators[who].release(WORLD, token)) is self.oracle.release(token)

    @rule(who=who, token=tokens)
    def extend(self, who: int, token: str) -> None:
        """A longer lease."""
        assert self.run(self.coordinators[who].extend(WORLD, token, 100)) is self.oracle.extend(
            token, 100_000_000
        )

    @rule(who=who)
    def recover(self, who: int) -> None:
        """Exactly the leases that ran out come back."""
        assert self.run(self.coordinators[who].recover_pending(WORLD)) == self.oracle.reclaim()

    @rule(seconds=st.sampled_from([0, 2, 4, 5, 30, -3]))
    def time_passes(self, seconds: int) -> None:
        """The server's clock moves, back too."""
        self.clock.advance(seconds)
        self.oracle.now_us += seconds * 1_000_000

    @precondition(lambda self: self.oracle.buried)
    @rule(who=who, data=st.data())
    def requeue_dead(self, who: int, data: st.DataObject) -> None:
        """A dead letter is sent again when there is room."""
        letters = self.run(self.coordinators[who].dead_letters(WORLD))
        index = data.draw(st.integers(0, len(letters) - 1))
        expected = self.oracle.requeue(self.oracle.buried[index])
        assert self.run(self.coordinators[who].requeue_dead(WORLD, [letters[index].id])) == expected

    @precondition(lambda self: self.oracle.buried)
    @rule(who=who, data=st.data())
    def purge_dead(self, who: int, data: st.DataObject) -> None:
        """A dead letter is forgotten."""
        letters = self.run(self.coordinators[who].dead_letters(WORLD))
        index = data.draw(st.integers(0, len(letters) - 1))
        self.oracle.purge(self.oracle.buried[index])
        assert self.run(self.coordinators[who].purge_dead(WORLD, [letters[index].id])) == 1

    @invariant()
    def store_agrees_with_the_oracle(self) -> None:
        """Every accepted message is in exactly one place, with its attempts and its order."""
        self.run(self._compare())

    async def _compare(self) -> None:
        oracle, peek = self.oracle, self.peek
        for level in LEVELS:
            stored = [message for message in oracle.having("stored") if message.level == level]
            expected = [said(message) for message in sorted(stored, key=lambda message: message.score)]
            assert [read(text) for text in await peek.level(WORLD, level)] == expected
        reserved = await peek.reserved(WORLD)
        held = {message.token: message for message in oracle.having("reserved")}
        assert {token: read(text) for token, text in reserved.items()} == {
            token: said(message) for token, message in held.items()
        }
        assert await peek.deadlines(WORLD) == {token: message.deadline_us for token, message in held.items()}
        assert [read(text) for text in await peek.dead(WORLD)] == [said(message) for message in oracle.buried]
        audit = await peek.queue(WORLD)
        assert len(audit) == oracle.depth
        assert sorted(audit) == sorted([*await peek.ready(WORLD), *reserved.values()])
        stats = await self.coordinators[0].stats(WORLD)
        assert (stats.depth, stats.reserved, stats.dead) == (oracle.depth, len(held), len(oracle.buried))


def said(message: Message) -> tuple[str, int]:
    """Return what the oracle says of a message's stored form."""
    return message.message_id, message.attempts


def read(text: str) -> tuple[str, int]:
    """Return the same from a stored entry."""
    entry = json.loads(text)
    return entry["message"]["message_id"], entry["delivery_attempts"]


def test_random_life_of_an_inbox(redis_lane: str, request: pytest.FixtureRequest) -> None:
    """Broken: some order of operations loses, doubles, reorders or miscounts a message."""
    server: RealServer | None = request.getfixturevalue("shared_server") if redis_lane == "real" else None

    def life() -> InboxLife:
        if server is not None:
            return InboxLife(RealLane(port=server.port))
        fakeredis: Any = importlib.import_module("fakeredis")
        return InboxLife(EmbeddedLane(server=fakeredis.FakeServer()))

    examples = EXAMPLES[redis_lane] * settings().max_examples // 30
    factory: Any = life
    run_state_machine_as_test(factory, settings=settings(STEPS, max_examples=examples))
