"""What becomes of a message in a worker: handled, settled, given back; and how many are held at a time."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from tests.library.conftest import MakeCoordinator
from tests.library.support.builders import (
    INPUT,
    NARRATIVE,
    WORLD,
    drain,
    id_of,
    ids_of,
    make_message,
    send_ids,
    take,
)
from tests.library.support.peek import Peek
from tests.library.support.waiting import eventually
from tta_agent_coordination import (
    AgentWorker,
    MessageType,
    ReceivedMessage,
    RedisMessageCoordinator,
)
from tta_agent_coordination.testing import ManualClock
from tta_agent_coordination.worker import Follow, Handler

EVENT, REQUEST, RESPONSE = MessageType.EVENT, MessageType.REQUEST, MessageType.RESPONSE


class Seen:
    """A handler that notes what it got, and waits where it is told to."""

    def __init__(self, *, holds: bool = False) -> None:
        self.ids: list[str | None] = []
        self.running = 0
        self.most = 0
        self.go_on = asyncio.Event()
        if not holds:
            self.go_on.set()

    async def __call__(self, received: ReceivedMessage) -> None:
        self.ids.append(id_of(received))
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.go_on.wait()
        finally:
            self.running -= 1


async def empty(coordinator: RedisMessageCoordinator) -> bool:
    """Tell whether nothing is left in the inbox."""
    return (await coordinator.stats(WORLD)).depth == 0


async def test_worker_acknowledges_when_the_handler_returns(coordinator: RedisMessageCoordinator) -> None:
    """Broken: work that is done is delivered again."""
    seen = Seen()
    sent = await send_ids(coordinator, [f"message-{n}" for n in range(20)])
    async with AgentWorker(WORLD, coordinator, handlers={None: seen}):
        await eventually("all are done", lambda: empty(coordinator))
    assert seen.ids == sent
    assert await coordinator.dead_letters(WORLD) == []


async def test_worker_sees_what_is_sent_while_it_waits(coordinator: RedisMessageCoordinator) -> None:
    """Broken: a worker that found nothing never looks again."""
    seen = Seen()
    async with AgentWorker(WORLD, coordinator, handlers={None: seen}):
        for number in range(3):
            await send_ids(coordinator, [f"message-{number}"])
            await eventually("it is done", lambda: empty(coordinator))
    assert len(seen.ids) == 3


async def test_each_type_has_its_handler(coordinator: RedisMessageCoordinator) -> None:
    """Broken: an event is worked on as if it were a request."""
    worker = AgentWorker(WORLD, coordinator)
    events, others, answers = Seen(), Seen(), Seen()
    worker.handler(EVENT)(events)
    assert worker.handler()(others) is others
    worker.handler(RESPONSE)(answers)
    for message_id, kind in (("event-1", EVENT), ("request-1", REQUEST), ("response-1", RESPONSE)):
        await coordinator.send_message(INPUT, WORLD, make_message(message_id, message_type=kind))
    async with worker:
        await eventually("all are done", lambda: empty(coordinator))
    assert (events.ids, others.ids, answers.ids) == (["event-1"], ["request-1"], ["response-1"])


async def test_message_without_a_handler_is_a_dead_letter(coordinator: RedisMessageCoordinator) -> None:
    """Broken: what nobody can work on is delivered for ever, or vanishes."""
    await send_ids(coordinator, ["message-1"])
    async with AgentWorker(WORLD, coordinator, handlers={EVENT: Seen()}):
        await eventually("it is gone", lambda: empty(coordinator))
    [letter] = await coordinator.dead_letters(WORLD)
    assert letter.cause == "permanent"
    assert letter.queue_message is not None
    assert letter.queue_message.last_error is not None
    assert "@worker.handler(MessageType.REQUEST)" in letter.queue_message.last_error


async def test_what_a_handler_returns_is_sent_with_the_acknowledgement(
    coordinator: RedisMessageCoordinator,
) -> None:
    """Broken: the next agent in a pipeline gets nothing."""

    async def pass_on(received: ReceivedMessage) -> list[Follow]:
        return [(NARRATIVE, make_message(f"for-{id_of(received)}", recipient=NARRATIVE))] * 2

    await send_ids(coordinator, ["message-1"])
    async with AgentWorker(WORLD, coordinator, handlers={None: pass_on}):
        await eventually("it is done", lambda: empty(coordinator))
    assert await drain(coordinator, NARRATIVE) == ["for-message-1"] * 2


async def test_full_target_gives_the_message_back(
    make_coordinator: MakeCoordinator, clock: ManualClock
) -> None:
    """Broken: a message whose follow-up found no room is acknowledged, and the follow-up is lost."""
    coordinator = make_coordinator(queue_size=1)

    async def pass_on(received: ReceivedMessage) -> tuple[Follow, ...]:
        return ((NARRATIVE, make_message(f"for-{id_of(received)}", recipient=NARRATIVE)),)

    await send_ids(coordinator, ["message-0"], NARRATIVE)
    await send_ids(coordinator, ["message-1"])
    async with AgentWorker(WORLD, coordinator, handlers={None: pass_on}):
        await eventually("it is given back", lambda: delayed(coordinator, 1))
        assert await drain(coordinator, NARRATIVE) == ["message-0"]
        clock.advance(1)
        await eventually("it is done", lambda: empty(coordinator))
    assert await drain(coordinator, NARRATIVE) == ["for-message-1"]


async def delayed(coordinator: RedisMessageCoordinator, count: int) -> bool:
    """Tell whether so many messages wait for another try."""
    return (await coordinator.stats(WORLD)).delayed == count


async def returns_text(received: ReceivedMessage) -> Any:  # noqa: ANN401 - that is the fault
    return f"done with {id_of(received)}"


async def returns_half_a_pair(received: ReceivedMessage) -> Any:  # noqa: ANN401 - that is the fault
    del received
    return [(NARRATIVE, "message")]


async def returns_what_is_no_json(received: ReceivedMessage) -> list[Follow]:
    del received
    return [(NARRATIVE, make_message("message-2", {"set": {1}}))]


async def raises_type_error(received: ReceivedMessage) -> None:
    raise TypeError(id_of(received))


@pytest.mark.parametrize(
    ("handler", "error"),
    [
        (returns_text, "TypeError: a handler returns None, or a list of (recipient, message) pairs"),
        (returns_half_a_pair, "TypeError: a handler returns None, or a list of (recipient, message) pairs"),
        (returns_what_is_no_json, "what follows could not be sent: PayloadNotJSONError"),
        (raises_type_error, "TypeError: message-1"),
    ],
)
async def test_what_no_try_mends_is_a_dead_letter(
    coordinator: RedisMessageCoordinator, handler: Handler, error: str
) -> None:
    """Broken: a programming error is tried again and again, or its message is lost without a word."""
    await send_ids(coordinator, ["message-1"])
    async with AgentWorker(WORLD, coordinator, handlers={None: handler}):
        await eventually("it is gone", lambda: empty(coordinator))
    [letter] = await coordinator.dead_letters(WORLD)
    assert letter.cause == "permanent"
    assert letter.queue_message is not None
    assert (letter.queue_message.last_error or "").startswith(error)
    assert await drain(coordinator, NARRATIVE) == []


async def test_failure_is_tried_again(coordinator: RedisMessageCoordinator, clock: ManualClock) -> None:
    """Broken: what fails once is lost, or is tried without a pause."""
    deliveries: list[tuple[int, int, str | None]] = []

    async def fails_once(received: ReceivedMessage) -> None:
        message = received.queue_message
        deliveries.append((received.deliveries, message.delivery_attempts, message.last_error))
        if received.deliveries == 1:
            raise ConnectionError("no route")

    await send_ids(coordinator, ["message-1"])
    async with AgentWorker(WORLD, coordinator, handlers={None: fails_once}):
        await eventually("it waits for another try", lambda: delayed(coordinator, 1))
        clock.advance(1)
        await eventually("it is done", lambda: empty(coordinator))
    assert deliveries == [(1, 0, None), (2, 1, "ConnectionError: no route")]


async def test_permanent_errors_are_what_the_worker_is_told(coordinator: RedisMessageCoordinator) -> None:
    """Broken: an error that the user calls final is tried again."""

    async def refuses(received: ReceivedMessage) -> None:
        raise KeyError(id_of(received))

    await send_ids(coordinator, ["message-1"])
    async with AgentWorker(WORLD, coordinator, handlers={None: refuses}, permanent=(LookupError,)):
        await eventually("it is gone", lambda: empty(coordinator))
    assert [letter.cause for letter in await coordinator.dead_letters(WORLD)] == ["permanent"]


async def test_handler_that_is_cancelled_by_somebody_gives_the_message_back(
    coordinator: RedisMessageCoordinator, clock: ManualClock
) -> None:
    """Broken: a cancellation inside users' code ends the worker, or loses the message."""
    tries: list[int] = []

    async def is_cancelled_once(received: ReceivedMessage) -> None:
        tries.append(received.queue_message.delivery_attempts)
        if len(tries) == 1:
            raise asyncio.CancelledError

    await send_ids(coordinator, ["message-1"])
    async with AgentWorker(WORLD, coordinator, handlers={None: is_cancelled_once}):
        await eventually("it waits for another try", lambda: delayed(coordinator, 1))
        clock.advance(1)
        await eventually("it is done", lambda: empty(coordinator))
    assert tries == [0, 1]


async def test_handler_that_takes_too_long_is_cancelled_and_tried_again(
    coordinator: RedisMessageCoordinator,
) -> None:
    """Broken: a handler that never returns holds its slot and its message for ever."""
    seen = Seen(holds=True)
    await send_ids(coordinator, ["message-1"])
    async with AgentWorker(WORLD, coordinator, handlers={None: seen}, handler_timeout=0.05):
        await eventually("it is given back", lambda: delayed(coordinator, 1))
    explained = await coordinator.explain("message-1", WORLD)
    assert explained is not None
    assert explained.queue_message is not None
    assert explained.queue_message.last_error == "the handler took longer than handler_timeout (0.05 s)"
    assert seen.running == 0


async def test_timeout_of_the_handlers_own_is_a_failure_like_any_other(
    coordinator: RedisMessageCoordinator,
) -> None:
    """Broken: the worker blames its own limit for a timeout inside the handler."""

    async def times_out(received: ReceivedMessage) -> None:
        raise TimeoutError(id_of(received))

    await send_ids(coordinator, ["message-1"])
    async with AgentWorker(WORLD, coordinator, handlers={None: times_out}):
        await eventually("it is given back", lambda: delayed(coordinator, 1))
    explained = await coordinator.explain("message-1", WORLD)
    assert explained is not None
    assert explained.queue_message is not None
    assert explained.queue_message.last_error == "TimeoutError: message-1"


@pytest.mark.parametrize(("concurrency", "prefetch"), [(1, 0), (1, 1), (3, 0), (3, 2)])
async def test_worker_holds_no_more_than_it_may(
    coordinator: RedisMessageCoordinator, concurrency: int, prefetch: int
) -> None:
    """Broken: one worker sits on messages that others could work on, or works on more than it should."""
    seen = Seen(holds=True)
    sent = await send_ids(coordinator, [f"message-{n}" for n in range(9)])
    async with AgentWorker(
        WORLD, coordinator, handlers={None: seen}, concurrency=concurrency, prefetch=prefetch
    ):
        await eventually("its handlers run", lambda: seen.running == concurrency)
        await eventually("it holds what it may", lambda: reserved(coordinator, concurrency + prefetch))
        seen.go_on.set()
        await eventually("all are done", lambda: empty(coordinator))
    assert seen.most == concurrency
    assert sorted(seen.ids, key=str) == sent


async def reserved(coordinator: RedisMessageCoordinator, count: int) -> bool:
    """Tell whether so many leases are held."""
    return (await coordinator.stats(WORLD)).reserved == count


async def test_two_workers_share_an_inbox(coordinator: RedisMessageCoordinator) -> None:
    """Broken: two workers get the same message."""
    first, second = Seen(), Seen()
    sent = await send_ids(coordinator, [f"message-{n}" for n in range(40)])
    async with (
        AgentWorker(WORLD, coordinator, handlers={None: first}),
        AgentWorker(WORLD, coordinator, handlers={None: second}),
    ):
        await eventually("all are done", lambda: empty(coordinator))
    assert sorted([*first.ids, *second.ids], key=str) == sorted(sent)


async def test_stopping_waits_for_handlers_and_releases_what_was_not_begun(
    coordinator: RedisMessageCoordinator,
) -> None:
    """Broken: a deployment cuts off work, or makes messages wait for a lease to end."""
    seen = Seen(holds=True)
    await send_ids(coordinator, ["message-1", "message-2", "message-3"])
    worker = AgentWorker(WORLD, coordinator, handlers={None: seen})
    async with worker:
        await eventually("the first is begun", lambda: seen.running == 1)
        await eventually("one is held ready", lambda: reserved(coordinator, 2))
        worker.stop()
        closing = asyncio.ensure_future(worker.aclose())
        await eventually("what was not begun is released", lambda: reserved(coordinator, 1))
        assert not closing.done()
        seen.go_on.set()
        await closing
    assert seen.ids == ["message-1"]
    received = await take(coordinator)
    assert (id_of(received), received.deliveries) == ("message-2", 2)
    await coordinator.release(WORLD, received.token)
    assert await drain(coordinator) == ["message-2", "message-3"]


async def test_grace_ends_and_the_message_is_released_uncounted(
    coordinator: RedisMessageCoordinator,
) -> None:
    """Broken: a handler that is cut off at a shutdown counts as a failure, or holds up the shutdown."""
    seen = Seen(holds=True)
    await send_ids(coordinator, ["message-1"])
    worker = AgentWorker(WORLD, coordinator, handlers={None: seen}, grace=0)
    async with worker:
        await eventually("it runs", lambda: seen.running == 1)
    assert (seen.running, worker.abandoned) == (0, 0)
    received = await take(coordinator)
    assert received.queue_message.delivery_attempts == 0
    await coordinator.ack(WORLD, received.token)


async def test_second_stop_ends_the_grace(coordinator: RedisMessageCoordinator) -> None:
    """Broken: whoever presses Ctrl-C twice still waits for the whole grace."""
    seen = Seen(holds=True)
    await send_ids(coordinator, ["message-1"])
    worker = AgentWorker(WORLD, coordinator, handlers={None: seen}, grace=600)
    running = asyncio.ensure_future(worker.run(handle_signals=False))
    await eventually("it runs", lambda: seen.running == 1)
    worker.stop()
    worker.stop()
    await running
    assert await drain(coordinator) == ["message-1"]


async def test_end_that_is_cancelled_gives_everything_back_all_the_same(
    coordinator: RedisMessageCoordinator,
) -> None:
    """Broken: a time limit around a worker leaves handlers, leases and a thread that renews them."""
    seen = Seen(holds=True)
    await send_ids(coordinator, ["message-1", "message-2"])
    worker = AgentWorker(WORLD, coordinator, handlers={None: seen}, grace=600)
    async with worker:
        await eventually("one runs", lambda: seen.running == 1)
        closing = [asyncio.ensure_future(worker.aclose()) for _ in range(2)]
        await asyncio.sleep(0)
        closing[0].cancel()
        await asyncio.wait(closing)
        assert [task.cancelled() for task in closing] == [True, False]
        assert seen.running == 0
        assert "leases of world:1" not in {thread.name for thread in threading.enumerate()}
    assert await drain(coordinator) == ["message-1", "message-2"]


async def test_handler_that_ignores_its_end_is_left_behind_and_told(
    coordinator: RedisMessageCoordinator, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: one handler that swallows its cancellation keeps the worker from ever ending."""
    monkeypatch.setattr("tta_agent_coordination.worker._pump._LAST_WORDS_S", 0.05)
    begun, end = asyncio.Event(), asyncio.Event()

    async def stubborn(received: ReceivedMessage) -> None:
        del received
        begun.set()
        while not end.is_set():
            try:
                await end.wait()
            except asyncio.CancelledError:
                continue

    await send_ids(coordinator, ["message-1"])
    worker = AgentWorker(WORLD, coordinator, handlers={None: stubborn}, grace=0)
    async with worker:
        await begun.wait()
    assert worker.abandoned == 1
    assert "ignore that they were cancelled: message-1" in caplog.text
    end.set()
    await eventually("it ends after all", lambda: empty(coordinator))


async def test_worker_can_be_used_again(coordinator: RedisMessageCoordinator) -> None:
    """Broken: a worker that was closed cannot begin anew, or closing twice is an error."""
    seen = Seen()
    worker = AgentWorker(WORLD, coordinator, handlers={None: seen})
    for number in (1, 2):
        await send_ids(coordinator, [f"message-{number}"])
        async with worker:
            assert "working" in repr(worker)
            await eventually("it is done", lambda: empty(coordinator))
            await worker.aclose()
        assert "at rest" in repr(worker)
        worker.stop()
        await worker.aclose()
    assert seen.ids == ["message-1", "message-2"]


async def test_closed_worker_leaves_no_thread_and_no_task(coordinator: RedisMessageCoordinator) -> None:
    """Broken: a worker that has ended goes on in the background."""
    seen = Seen(holds=True)
    await send_ids(coordinator, ["message-1"])
    async with AgentWorker(WORLD, coordinator, handlers={None: seen}, grace=0):
        await eventually("it runs", lambda: seen.running == 1)
        assert "leases of world:1" in {thread.name for thread in threading.enumerate()}
    assert "leases of world:1" not in {thread.name for thread in threading.enumerate()}
    await eventually("its tasks end", lambda: asyncio.all_tasks() == {asyncio.current_task()})
    await drain(coordinator)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"concurrency": 0}, "concurrency must be a whole number"),
        ({"prefetch": -1}, "prefetch must be a whole number"),
        ({"prefetch": 2}, r"prefetch \(2\) must be at most concurrency \(1\)"),
        ({"visibility_timeout": 0}, "visibility_timeout must be a number"),
        ({"visibility_timeout": 604_801}, "visibility_timeout must be a number"),
        ({"handler_timeout": float("inf")}, "handler_timeout must be a number"),
        ({"grace": -1}, "grace must be a number"),
        ({"permanent": ["KeyError"]}, "permanent must be a tuple of exception types"),
    ],
)
def test_absurd_options_are_refused(options: dict[str, Any], text: str) -> None:
    """Broken: a worker that can never work begins."""
    with pytest.raises(ValueError, match=text):
        AgentWorker(WORLD, **options)


def test_handler_must_be_awaitable_and_the_only_one() -> None:
    """Broken: a blocking function is called in the event loop, or one handler hides another."""
    worker = AgentWorker(WORLD)
    blocking: Any = print
    with pytest.raises(TypeError, match=r"await asyncio\.to_thread"):
        worker.handler(EVENT)(blocking)
    worker.handler(EVENT)(raises_type_error)
    with pytest.raises(ValueError, match="event messages have a handler already"):
        worker.handler(EVENT)(returns_text)
    worker.handler()(raises_type_error)
    with pytest.raises(ValueError, match="messages without a handler of their own have a handler already"):
        worker.handler()(returns_text)


async def test_worker_says_what_it_lacks(coordinator: RedisMessageCoordinator) -> None:
    """Broken: a worker that cannot work fails somewhere deep inside."""
    worker = AgentWorker(WORLD)
    with pytest.raises(RuntimeError, match="no coordinator: give it one when it is made"):
        await worker.run()
    worker.connect(coordinator)
    with pytest.raises(RuntimeError, match="has a coordinator already"):
        worker.connect(coordinator)
    with pytest.raises(RuntimeError, match="no handlers: add one"):
        await worker.run()
    worker.handler()(raises_type_error)
    async with worker:
        with pytest.raises(RuntimeError, match="works already"):
            await worker.run()


async def test_what_no_try_mends_in_the_worker_itself_ends_it(
    make_coordinator: MakeCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a worker whose taking has died looks alive."""
    coordinator = make_coordinator()

    async def broken(*_: object, **__: object) -> None:
        raise LookupError("a fault of ours")

    for name in ("receive", "receive_many"):
        monkeypatch.setattr(coordinator, name, broken, raising=False)
    with pytest.raises(LookupError, match="a fault of ours"):
        await AgentWorker(WORLD, coordinator, handlers={None: Seen()}).run(handle_signals=False)


async def test_what_no_try_mends_in_settling_ends_the_worker(
    make_coordinator: MakeCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a slot dies without a word, and one after the other, until the worker does nothing."""
    coordinator = make_coordinator()
    await send_ids(coordinator, ["message-1"])

    async def broken(*_: object, **__: object) -> None:
        raise LookupError("a fault of ours")

    monkeypatch.setattr(coordinator, "nack", broken)
    with pytest.raises(LookupError, match="a fault of ours"):
        await AgentWorker(WORLD, coordinator, handlers={None: raises_type_error}).run(handle_signals=False)
    assert await coordinator.release(WORLD, next(iter(await Peek(coordinator._redis).reserved(WORLD))))
    assert await drain(coordinator) == ["message-1"]


async def test_dead_letter_is_told_to_nobody_else(coordinator: RedisMessageCoordinator) -> None:
    """Broken: one message that kills its handler takes the others with it."""

    async def picky(received: ReceivedMessage) -> None:
        if id_of(received) == "message-2":
            raise TypeError

    await send_ids(coordinator, ["message-1", "message-2", "message-3"])
    async with AgentWorker(WORLD, coordinator, handlers={None: picky}):
        await eventually("all are gone", lambda: empty(coordinator))
    assert ids_of(await coordinator.dead_letters(WORLD)) == ["message-2"]
