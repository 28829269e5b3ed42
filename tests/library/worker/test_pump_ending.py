"""How a worker ends: what it gives back, what it waits for and how long, on the bench of `test_pump.py`."""

from __future__ import annotations

import asyncio

import pytest

from tests.library.support.builders import WORLD, id_of
from tests.library.worker.bench import Bench, message, run
from tta_agent_coordination.exceptions import (
    StoreUnavailableError,
)
from tta_agent_coordination.messaging import ReceivedMessage
from tta_agent_coordination.worker import _pump
from tta_agent_coordination.worker._handling import Done, Outcome


def test_what_was_taken_as_the_worker_ends_is_released() -> None:
    """Broken: a message that arrives in the moment of the end hangs until its lease runs out."""

    async def main(bench: Bench) -> None:
        bench.hold(1)
        bench.desk.put(1)
        await bench.turn()

        async def refuse_to_end(*_: object, **__: object) -> list[ReceivedMessage]:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return [message(2), message(3)]
            raise AssertionError("it came to an end")

        assert bench.running is not None
        bench.desk.receive_many = refuse_to_end
        bench.pump.pause(paused=True)
        await bench.turn()
        bench.pump.pause(paused=False)
        await bench.turn()
        bench.go(1)
        await bench.end()
        assert bench.desk.asked("release") == [("release", WORLD, "res_2"), ("release", WORLD, "res_3")]
        assert bench.desk.asked("drop") == [("drop", "res_1"), ("drop", "res_2"), ("drop", "res_3")]
        assert bench.handled == ["message-1"]

    run(main, prefetch=0, concurrency=3)


@pytest.mark.parametrize("fails", [False, True])
def test_end_during_a_wait_that_brings_nothing_is_an_end(fails: bool) -> None:
    """Broken: a worker that waits for messages cannot be ended, or ends with somebody else's error."""

    async def main(bench: Bench) -> None:
        async def refuse_to_end(*_: object, **__: object) -> list[ReceivedMessage]:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if fails:
                    raise StoreUnavailableError("gone") from None
                raise
            raise AssertionError("it came to an end")

        bench.desk.receive_many = refuse_to_end
        bench.desk.put(1)
        await bench.turn()
        await bench.end()
        assert bench.running is not None
        assert bench.running.cancelled()
        assert bench.failures == []
        assert bench.desk.asked("release") == []

    run(main)


def test_draining_releases_what_was_not_begun_and_waits_for_what_was() -> None:
    """Broken: a deployment cuts off work, or keeps messages that nobody works on."""

    async def main(bench: Bench) -> None:
        bench.hold(1, 2)
        bench.desk.put(1, 2)
        await bench.turn()
        began = bench.loop.time()
        ending = asyncio.ensure_future(bench.end())
        await bench.turn()
        assert bench.desk.asked("release") == [("release", WORLD, "res_2")]
        assert bench.pump.stopping
        assert not ending.done()
        await asyncio.sleep(8)
        bench.go(1)
        assert await ending == 0
        assert bench.loop.time() - began < 9
        assert bench.desk.asked("ack", "ack and take") == [("ack", WORLD, "res_1", ())]
        assert bench.handled == ["message-1"]
        assert bench.desk.told[-1] == ("close",)

    run(main)


def test_what_is_held_ready_is_not_begun_once_the_worker_ends() -> None:
    """Broken: a worker that was asked to end begins another message, and the end takes that much longer."""

    async def main(bench: Bench) -> None:
        bench.hold(1)
        bench.desk.put(1, 2)
        await bench.turn()
        bench.pump.stopping = True
        bench.go(1)
        await bench.turn()
        assert bench.handled == ["message-1"]
        await bench.end()
        assert bench.desk.asked("release") == [("release", WORLD, "res_2")]

    run(main)


def test_grace_ends_after_its_time_and_what_is_left_is_released() -> None:
    """Broken: a shutdown takes longer than it may, or handlers get less time than was promised."""

    async def main(bench: Bench) -> None:
        bench.hold(1)
        bench.desk.put(1)
        await bench.turn()
        began = bench.loop.time()
        assert await bench.end() == 0
        assert 9 <= bench.loop.time() - began < 9.1
        assert bench.desk.asked("release") == [("release", WORLD, "res_1")]

    run(main)


def test_hurry_ends_the_grace() -> None:
    """Broken: whoever asks a second time waits for the whole grace all the same."""

    async def main(bench: Bench) -> None:
        bench.hold(1)
        bench.desk.put(1)
        await bench.turn()
        began = bench.loop.time()
        ending = asyncio.ensure_future(bench.end())
        await asyncio.sleep(1)
        bench.pump.hurry()
        assert await ending == 0
        assert bench.loop.time() - began < 1.1
        assert bench.desk.asked("release") == [("release", WORLD, "res_1")]

    run(main)


def test_stubborn_handlers_are_named_and_left_after_two_seconds(caplog: pytest.LogCaptureFixture) -> None:
    """Broken: a handler that ignores its cancellation holds up the end, or nobody hears of it."""

    async def main(bench: Bench) -> None:
        end = asyncio.Event()

        async def stubborn(received: ReceivedMessage) -> Outcome:
            bench.handled.append(id_of(received))
            while not end.is_set():
                try:
                    await end.wait()
                except asyncio.CancelledError:
                    continue
            return Done()

        bench.pump._handle = stubborn
        bench.desk.put(1, 2)
        await bench.turn()
        began = bench.loop.time()
        assert await bench.end() == 2
        assert 11 <= bench.loop.time() - began < 11.1
        end.set()
        await bench.turn()
        assert [told[1] for told in bench.desk.asked("drop")] == ["res_1", "res_2"]

    run(main, concurrency=2, prefetch=0)
    assert (
        "handlers of world:1 ignore that they were cancelled: message-1, message-2; their leases run out by "
        "themselves" in caplog.messages
    )


def test_idle_worker_ends_at_once() -> None:
    """Broken: a worker with nothing to do takes its grace to end."""

    async def main(bench: Bench) -> None:
        began = bench.loop.time()
        assert await bench.end() == 0
        assert bench.loop.time() - began < 0.1

    run(main)


def test_settlement_that_finds_no_store_at_the_end_is_given_up_with_the_grace(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Broken: a worker never ends while its store is away."""

    async def main(bench: Bench) -> None:
        bench.hold(1)
        bench.outcomes["message-1"] = Done()
        bench.desk.errors["ack"] = [StoreUnavailableError("away")] * 99
        bench.desk.put(1)
        await bench.turn()
        bench.go(1)
        await bench.turn()
        began = bench.loop.time()
        assert await bench.end() == 0
        assert 9 <= bench.loop.time() - began < 9.1
        assert bench.desk.asked("drop") == [("drop", "res_1")]

    run(main)
    assert "message message-1 of world:1 could not be settled (away)" in caplog.text


def test_message_that_comes_with_the_last_acknowledgement_is_released() -> None:
    """Broken: a worker that ends takes one message more, and keeps it until its lease ends."""

    async def main(bench: Bench) -> None:
        async def end() -> None:
            bench.pump.stopping = True

        bench.hold(1)
        bench.desk.put(1)
        await bench.turn()
        bench.desk.put(2)
        bench.desk.meanwhile["ack and take"] = end
        bench.go(1)
        await bench.turn()
        assert bench.desk.asked("ack and take", "release") == [
            ("ack and take", WORLD, "res_1", 1, 8),
            ("release", WORLD, "res_2"),
        ]
        assert bench.desk.asked("drop") == [("drop", "res_1"), ("drop", "res_2")]
        await bench.end()
        assert bench.handled == ["message-1"]

    run(main, prefetch=0)


def test_watch_ends_with_the_worker() -> None:
    """Broken: each worker that was closed leaves a task that wakes for ever."""

    async def main(bench: Bench) -> None:
        await bench.turn()
        assert await bench.end() == 0
        await bench.turn()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main)


def test_last_words_are_two_seconds() -> None:
    """Broken: cancelled handlers get no time to clean up, or as much as they like."""
    assert _pump._LAST_WORDS_S == 2.0
