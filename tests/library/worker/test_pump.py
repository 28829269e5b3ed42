"""The way of messages through a worker, step by step, with a stand-in coordinator and the loop's own time.

What a worker does with a real inbox is in `test_worker.py`; here it is what it asks for, when, and with what.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

import pytest

from tests.library.support.builders import WORLD, id_of
from tests.library.support.virtual import VirtualLoop, in_virtual_time
from tests.library.worker.bench import FOLLOW, Bench, Told, run
from tta_agent_coordination.exceptions import (
    MessageCoordinatorError,
    OutcomeUnknownError,
    PayloadNotJSONError,
    QueueFullError,
    StoreUnavailableError,
)
from tta_agent_coordination.messaging import FailureType, ReceivedMessage
from tta_agent_coordination.models import AgentId
from tta_agent_coordination.worker._handling import Done, Failed, Outcome, Released


def test_lone_message_is_kept_handled_acknowledged_and_dropped() -> None:
    """Broken: a lease is not renewed while its message waits or is worked on, or for ever after."""

    async def main(bench: Bench) -> None:
        bench.desk.put(1)
        await bench.turn()

    bench = run(main)
    assert bench.handled == ["message-1"]
    assert bench.failures == []
    assert bench.desk.told == [
        ("keeper", WORLD, 8),
        ("receive", WORLD, 2, 8, 30.0),
        ("keep", "res_1", 60),
        ("keep", "res_1", 60),
        ("keep", "res_1", 60),
        ("ack", WORLD, "res_1", ()),
        ("drop", "res_1"),
        ("receive", WORLD, 1, 8, 30.0),
        ("close",),
    ]


def test_worker_asks_for_as_many_as_it_has_places() -> None:
    """Broken: a worker holds more leases than it may, or has places that nothing ever fills again."""

    async def main(bench: Bench) -> None:
        bench.hold(1, 2, 3, 4, 5)
        bench.desk.put(1, 2)
        await bench.turn()
        assert bench.desk.asked("receive")[-1][2] == 3
        bench.desk.put(3, 4, 5, 6)
        await bench.turn()
        assert bench.handled == ["message-1", "message-2", "message-3"], "two places are for those held ready"
        assert len(bench.desk.inbox) == 1
        assert len(bench.desk.asked("receive")) == 2, "nothing is asked for where there is no place"
        bench.outcomes["message-1"] = Done((FOLLOW,))
        bench.go(1)
        await bench.turn()
        assert bench.handled[3:] == ["message-4"]
        assert bench.desk.asked("receive")[-1][2] == 1, "one place was given back by the message that ended"
        await bench.turn()
        assert bench.desk.inbox == deque()

    run(main, concurrency=3, prefetch=2)


def test_next_message_comes_with_the_acknowledgement_where_nobody_asks_already() -> None:
    """Broken: a message costs a worker that is busy two commands instead of one."""

    async def main(bench: Bench) -> None:
        bench.hold(1)
        bench.desk.put(1)
        await bench.turn()
        bench.desk.put(2, 3)
        bench.go(1)
        await bench.turn()

    bench = run(main, prefetch=0)
    assert bench.handled == ["message-1", "message-2", "message-3"]
    assert bench.desk.asked("receive", "ack and take", "ack")[:4] == [
        ("receive", WORLD, 1, 8, 30.0),
        ("ack and take", WORLD, "res_1", 1, 8),
        ("ack and take", WORLD, "res_2", 1, 8),
        ("ack and take", WORLD, "res_3", 1, 8),
    ]
    assert [told[1] for told in bench.desk.asked("drop")] == ["res_1", "res_2", "res_3"]
    assert [told[1:] for told in bench.desk.asked("keep")].count(("res_2", 60)) == 3


@pytest.mark.parametrize("concurrency", [1, 2])
def test_handler_alone_is_given_messages_by_one_script_at_a_time(concurrency: int) -> None:
    """Broken: two scripts take messages at once, and a handler alone gets the later message first.

    Handlers that run beside each other have no order to lose, and do not wait for each other's scripts.
    """
    most: list[int] = []

    async def main(bench: Bench) -> None:
        under_way, take = 0, bench.desk._ack_and_receive

        async def slow(
            agent: AgentId, tokens: Sequence[str], wanted: int, lease_s: float
        ) -> tuple[list[bool], list[ReceivedMessage]]:
            nonlocal under_way
            under_way += 1
            most.append(under_way)
            answer = await take(agent, tokens, wanted, lease_s)
            await asyncio.sleep(5)
            under_way -= 1
            return answer

        bench.desk._ack_and_receive = slow
        bench.hold(1, 2)
        bench.desk.put(1, 2)
        await bench.turn()
        bench.desk.put(3, 4, 5)
        bench.go(1)
        bench.go(2)
        await asyncio.sleep(40)
        assert bench.handled == [f"message-{number}" for number in range(1, 6)]

    run(main, concurrency=concurrency, prefetch=2 - concurrency)
    assert max(most) == concurrency


def test_places_that_come_free_during_a_wait_are_not_lost() -> None:
    """Broken: a worker takes less and less, until it takes nothing and looks idle."""

    async def main(bench: Bench) -> None:
        bench.hold(1, 2)
        bench.desk.put(1, 2)
        await bench.turn()
        assert bench.desk.asked("receive")[-1][2] == 1
        bench.go(1)
        bench.go(2)
        await bench.turn()
        assert bench.desk.asked("ack and take") == [], "somebody asks already"
        bench.hold(3, 4, 5)
        bench.desk.put(3)
        await bench.turn()
        assert bench.desk.asked("receive")[-1][2] == 2
        bench.desk.put(4, 5)
        await bench.turn()
        assert bench.handled == [f"message-{number}" for number in range(1, 6)]

    run(main, concurrency=3, prefetch=0)


def test_message_that_is_held_ready_is_begun_as_soon_as_a_handler_is_free() -> None:
    """Broken: what is held ready waits until another message comes, which may take days."""

    async def main(bench: Bench) -> None:
        bench.hold(1)
        bench.desk.put(1, 2)
        await bench.turn()
        bench.desk.meanwhile["ack and take"] = asyncio.Event().wait
        bench.go(1)
        await bench.turn()
        assert bench.handled == ["message-1", "message-2"], "it does not wait for the settlement either"
        await asyncio.sleep(60)

    run(main, grace=0)


def test_worker_keeps_nothing_of_messages_that_are_done() -> None:
    """Broken: a worker that runs for months keeps a task for each message it ever had."""

    async def main(bench: Bench) -> None:
        for number in range(5):
            bench.desk.put(number)
            await bench.turn()
        assert len(bench.handled) == 5
        assert not bench.pump._jobs
        assert not bench.pump._handling
        assert not bench.pump._waiting

    run(main)


@pytest.mark.parametrize(
    ("outcome", "asked"),
    [
        (Done((FOLLOW,)), ("ack", WORLD, "res_1", (FOLLOW,))),
        (Failed(FailureType.TIMEOUT, "late"), ("nack", WORLD, "res_1", FailureType.TIMEOUT, "late")),
        (Released(), ("release", WORLD, "res_1")),
    ],
)
def test_outcome_is_told_to_the_store(outcome: Outcome, asked: Told) -> None:
    """Broken: what became of a message is not what the store hears."""

    async def main(bench: Bench) -> None:
        bench.outcomes["message-1"] = outcome
        bench.desk.put(1)
        await bench.turn()

    bench = run(main)
    assert bench.desk.asked("ack", "nack", "release", "ack and take") == [asked]
    assert bench.desk.asked("drop") == [("drop", "res_1")]


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (QueueFullError("no room"), FailureType.TRANSIENT),
        (PayloadNotJSONError("a set"), FailureType.PERMANENT),
        (ValueError("too many"), FailureType.PERMANENT),
    ],
)
def test_follow_ups_that_cannot_be_sent_fail_their_message(
    error: Exception, failure: FailureType, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: a message is acknowledged whose follow-ups were never sent."""

    async def main(bench: Bench) -> None:
        bench.outcomes["message-1"] = Done((FOLLOW,))
        bench.desk.errors["ack"] = [error]
        bench.desk.put(1)
        await bench.turn()

    bench = run(main)
    why = f"what follows could not be sent: {type(error).__name__}: {error}"
    assert bench.desk.asked("nack") == [("nack", WORLD, "res_1", failure, why)]
    assert f"message message-1: {why}" in caplog.messages
    assert bench.failures == []


def test_refusal_of_a_refusal_ends_the_worker() -> None:
    """Broken: a message that can neither be settled nor given back is tried for ever."""
    error = ValueError("a fault")

    async def main(bench: Bench) -> None:
        bench.outcomes["message-1"] = Failed(FailureType.TRANSIENT, "no")
        bench.desk.errors["nack"] = [error]
        bench.desk.put(1)
        await bench.turn()

    bench = run(main)
    assert bench.failures == [error]
    assert len(bench.desk.asked("nack")) == 1


@pytest.mark.parametrize("error", [StoreUnavailableError, OutcomeUnknownError])
def test_settlement_is_tried_until_the_store_answers(error: type[Exception]) -> None:
    """Broken: work that is done is done again because the store was away for a moment."""

    async def main(bench: Bench) -> None:
        bench.desk.errors["nack"] = [error(f"away {n}") for n in range(6)]
        bench.outcomes["message-1"] = Failed(FailureType.TRANSIENT, "no")
        bench.hold(2)
        bench.desk.put(1)
        await asyncio.sleep(50)
        assert len(bench.desk.asked("nack")) == 7
        assert bench.desk.asked("drop") == [("drop", "res_1")], "kept until the store has answered"
        assert bench.pump._link._failures == 0
        bench.desk.put(2)
        await bench.turn()
        assert bench.handled[1:] == ["message-2"]

    bench = run(main)
    assert bench.failures == []


def test_settlement_is_given_up_when_a_handler_would_have_had_its_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Broken: a place is lost for as long as the store is away, or a lease is kept for ever."""
    times: list[float] = []

    async def main(bench: Bench) -> None:
        async def away() -> None:
            times.append(bench.loop.time())
            bench.desk.meanwhile["nack"] = away
            raise StoreUnavailableError("away")

        bench.desk.meanwhile["nack"] = away
        bench.outcomes["message-1"] = Failed(FailureType.TRANSIENT, "no")
        bench.desk.put(1)
        await asyncio.sleep(80)
        assert 55 < times[-1] - times[0] < 66
        assert times[-2] - times[0] <= 60
        assert bench.desk.asked("drop") == [("drop", "res_1")]
        bench.desk.put(2)
        await bench.turn()
        assert bench.handled == ["message-1", "message-2"]

    run(main)
    [first, *_] = caplog.messages
    assert first.startswith("the worker of world:1 does not reach its store (StoreUnavailableError: away)")
    assert (
        "message message-1 of world:1 could not be settled (away); it comes again when its lease ends"
        in caplog.messages
    )


def test_store_that_refuses_to_give_is_asked_again_for_as_many(caplog: pytest.LogCaptureFixture) -> None:
    """Broken: an outage takes a worker's places away, one refused reservation at a time."""

    async def main(bench: Bench) -> None:
        bench.desk.errors["receive"] = [StoreUnavailableError("away"), MessageCoordinatorError("no")]
        bench.pump.pause(paused=True)
        await bench.turn()
        bench.pump.pause(paused=False)
        await asyncio.sleep(1)
        assert [told[2] for told in bench.desk.asked("receive")] == [2] * 4
        assert bench.pump._link._failures == 2
        bench.desk.put(1)
        await bench.turn()
        assert bench.handled == ["message-1"]
        assert bench.pump._link._failures == 0

    run(main)
    assert "the worker of world:1 does not reach its store (StoreUnavailableError: away)" in caplog.text


def test_worker_that_begins_paused_takes_nothing_until_it_goes_on() -> None:
    """Broken: an agent that drains as its worker begins gets messages, or the worker never begins."""

    async def whole(loop: VirtualLoop) -> None:
        bench = Bench(loop)
        bench.pump.pause(paused=True)
        bench.desk.put(1)
        await bench.begin()
        assert bench.desk.asked("receive") == []
        bench.pump.pause(paused=False)
        await bench.turn()
        assert bench.handled == ["message-1"]
        await bench.end()

    in_virtual_time(whole)


def test_pause_ends_the_wait_and_loses_nothing() -> None:
    """Broken: a draining agent takes messages, or a paused worker never goes on."""

    async def main(bench: Bench) -> None:
        bench.pump.pause(paused=True)
        await bench.turn()
        assert bench.pump._take is None
        bench.desk.put(1)
        await asyncio.sleep(100)
        assert bench.handled == []
        bench.pump.pause(paused=True)
        bench.pump.pause(paused=False)
        await bench.turn()
        assert bench.handled == ["message-1"]
        assert [told[2] for told in bench.desk.asked("receive")] == [2, 2, 1]

    run(main)


def test_paused_worker_takes_nothing_with_an_acknowledgement() -> None:
    """Broken: a draining agent gets a new message with each one that it ends."""

    async def main(bench: Bench) -> None:
        bench.hold(1)
        bench.desk.put(1)
        await bench.turn()
        bench.pump.pause(paused=True)
        bench.desk.put(2)
        bench.go(1)
        await bench.turn()
        assert bench.desk.asked("ack", "ack and take") == [("ack", WORLD, "res_1", ())]
        assert bench.handled == ["message-1"]

    run(main, prefetch=0)


@pytest.mark.parametrize("still_ours", [True, False])
@pytest.mark.parametrize("blocked_s", [3.9, 4.1, 20.0])
def test_message_whose_answer_waited_for_a_blocked_loop_is_asked_about(
    blocked_s: float, still_ours: bool
) -> None:
    """Broken: a message whose lease ran out before its answer was read is handled by two."""

    async def main(bench: Bench) -> None:
        bench.desk.still_ours = still_ours
        await asyncio.sleep(2)  # the watch has just looked

        async def blocks() -> None:
            bench.loop.pass_by(blocked_s)

        bench.desk.meanwhile["receive"] = blocks
        bench.pump.pause(paused=True)
        await bench.turn()
        bench.desk.put(1)
        bench.pump.pause(paused=False)
        await bench.turn()
        asked = blocked_s > 4
        assert bench.desk.asked("extend") == ([("extend", WORLD, "res_1", 8)] if asked else [])
        assert bench.handled == (["message-1"] if still_ours or not asked else [])
        assert bench.desk.asked("drop") == [("drop", "res_1")]
        bench.desk.put(2)
        await bench.turn()
        assert bench.handled[-1:] == (["message-2"] if still_ours or not asked else []), (
            "in doubt for a while"
        )
        await asyncio.sleep(4.1)
        told = len(bench.desk.asked("extend"))
        bench.desk.put(3)
        await bench.turn()
        assert len(bench.desk.asked("extend")) == told, "no doubt is left, and nothing is asked"
        assert bench.handled[-1] == "message-3"
        assert bench.desk.asked("receive")[-1][2] == 1, "no place was lost on the way"

    run(main)


def test_message_nobody_can_ask_about_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    """Broken: after a blocked loop and an outage a message is handled that may be somebody else's."""

    async def main(bench: Bench) -> None:
        async def blocks() -> None:
            bench.loop.pass_by(30)

        bench.desk.errors["extend"] = [StoreUnavailableError("away")]
        bench.desk.meanwhile["receive"] = blocks
        bench.pump.pause(paused=True)
        await bench.turn()
        bench.desk.put(1)
        bench.pump.pause(paused=False)
        await bench.turn()
        assert bench.handled == []
        assert bench.desk.asked("ack", "ack and take", "nack", "release") == []
        assert bench.desk.asked("drop") == [("drop", "res_1")]

    run(main)
    [told] = caplog.messages
    assert told == (
        "message message-1 of world:1 is left alone: the event loop was blocked, and whether its lease still "
        "holds cannot be asked (away); it comes again when the lease ends"
    )


EPSILON_S = 2.0**-20


@pytest.mark.parametrize(
    ("blocked_s", "held_ready", "asked"),
    [
        (3 - EPSILON_S, True, False),
        (4 - 2 * EPSILON_S, True, False),
        (4 - EPSILON_S, True, True),
        (5, True, True),
        (4 - 2 * EPSILON_S, False, False),
        (4 - EPSILON_S, False, True),
    ],
)
def test_block_counts_from_half_a_lease_on(blocked_s: float, held_ready: bool, asked: bool) -> None:
    """Broken: a lease that may have run out is trusted, or each message costs a command more.

    What is held ready is begun right behind the block, before the watch has seen it.
    """

    async def main(bench: Bench) -> None:
        async def block(received: ReceivedMessage) -> Outcome:
            bench.handled.append(id_of(received))
            if bench.handled == ["message-1"]:
                await asyncio.sleep(4 + EPSILON_S - bench.loop.time())  # the watch looks every 2 s
                bench.loop.pass_by(blocked_s)
            return Done()

        bench.pump._handle = block
        bench.desk.put(1, 2) if held_ready else bench.desk.put(1)
        await asyncio.sleep(9)
        if not held_ready:
            bench.desk.put(2)
            await bench.turn()
        assert bench.handled == ["message-1", "message-2"]
        assert bool(bench.desk.asked("extend")) is asked

    run(main)


def test_doubt_ends_half_a_lease_after_the_block() -> None:
    """Broken: one block, and every message costs a command more for longer than it may tell anything."""

    async def main(bench: Bench) -> None:
        bench.loop.call_at(4 + EPSILON_S, bench.loop.pass_by, 6)
        bench.loop.call_at(14 + EPSILON_S - 2 * EPSILON_S, bench.desk.put, 1)
        bench.loop.call_at(14 + EPSILON_S, bench.desk.put, 2)
        await asyncio.sleep(20)
        assert bench.handled == ["message-1", "message-2"]
        assert bench.desk.asked("extend") == [("extend", WORLD, "res_1", 8)]

    run(main)


@pytest.mark.parametrize(("lease_s", "looks"), [(0.004, 200), (0.02, 200), (0.08, 50)])
def test_watch_takes_a_breath_however_short_the_lease(
    monkeypatch: pytest.MonkeyPatch, lease_s: float, looks: int
) -> None:
    """Broken: with a lease of microseconds a worker that waits for work leaves the loop no rest."""
    slept: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        slept.append(seconds)
        await sleep(seconds)

    async def main(_bench: Bench) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(asyncio, "sleep", noted)
            await sleep(1)

    run(main, visibility_timeout=lease_s)
    assert len(slept) == pytest.approx(looks, abs=1)
