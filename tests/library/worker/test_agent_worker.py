"""What a worker is told, and when it begins and ends: on a stand-in coordinator, in virtual time.

What becomes of messages is in `test_pump.py`, and on a real inbox in `test_worker.py`.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from tests.library.support.builders import WORLD, id_of
from tests.library.support.virtual import VirtualLoop, in_virtual_time
from tests.library.worker.bench import FOLLOW, Desk, Registry
from tta_agent_coordination import AgentWorker, MessageType, ReceivedMessage, RedisMessageCoordinator
from tta_agent_coordination._numbers import shown
from tta_agent_coordination.messaging import FailureType
from tta_agent_coordination.models import AgentId
from tta_agent_coordination.registries import RedisAgentRegistry
from tta_agent_coordination.worker import Follow

EVENT, REQUEST = MessageType.EVENT, MessageType.REQUEST


class Seen:
    """A handler that notes what it got, and waits where it is told to."""

    def __init__(self, *, holds: bool = False) -> None:
        self.ids: list[str | None] = []
        self.go_on = asyncio.Event()
        if not holds:
            self.go_on.set()

    async def __call__(self, received: ReceivedMessage) -> None:
        self.ids.append(id_of(received))
        await self.go_on.wait()


async def ignore(received: ReceivedMessage) -> None:
    """Handle a message by doing nothing."""
    del received


class Coordinator(Desk):
    """The stand-in coordinator, with what a worker of a registered agent asks of it."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__(loop)
        self.owners: list[tuple[AgentId, Callable[[], int | None] | None]] = []

    def bind_leases(self, agent: AgentId, owner: Callable[[], int | None] | None) -> None:
        self.owners.append((agent, owner))


def worker_on(desk: Desk, **options: Any) -> AgentWorker:  # noqa: ANN401 - whatever a worker takes
    """Return a worker of the stand-in coordinator."""
    return AgentWorker(WORLD, cast("RedisMessageCoordinator", desk), **options)


def run(main: Callable[[Coordinator], Awaitable[None]]) -> None:
    """Run a test in virtual time; no task may be left."""

    async def whole(loop: VirtualLoop) -> None:
        await main(Coordinator(loop))
        await turn()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    in_virtual_time(whole)


async def turn() -> None:
    """Let everything happen that needs no time."""
    for _ in range(3):
        await asyncio.sleep(0.001)


def test_worker_takes_what_its_options_say() -> None:
    """Broken: leases are of another length than was asked for, or more messages are held."""

    async def main(desk: Coordinator) -> None:
        options = {"concurrency": 3, "prefetch": 2, "visibility_timeout": 8, "handler_timeout": 60}
        async with worker_on(desk, handlers={None: ignore}, **options):
            desk.put(1)
            await turn()
        assert desk.asked("keeper", "receive")[:2] == [("keeper", WORLD, 8), ("receive", WORLD, 5, 8, 30.0)]
        assert ("keep", "res_1", 60) in desk.told

    run(main)


def test_options_have_the_defaults_that_are_written_down() -> None:
    """Broken: a worker holds or cuts off more than its documentation says."""

    async def main(desk: Coordinator) -> None:
        worker = worker_on(desk, handlers={None: Seen(holds=True)})
        desk.put(1)
        async with worker:
            await turn()
            began = desk.loop.time()
        assert desk.asked("receive")[0] == ("receive", WORLD, 2, 30.0, 30.0)
        assert ("keep", "res_1", 1_800.0) in desk.told
        assert 10 <= desk.loop.time() - began < 10.1
        assert worker.abandoned == 0

    run(main)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"concurrency": 0}, "concurrency must be a whole number"),
        ({"prefetch": -1}, "prefetch must be a whole number"),
        (
            {"prefetch": 2},
            r"prefetch \(2\) must be at most concurrency \(1\): others could work on what one holds ready",
        ),
        ({"visibility_timeout": 0}, "visibility_timeout must be a number"),
        ({"visibility_timeout": 604_801}, "visibility_timeout must be a number"),
        ({"handler_timeout": 0}, "handler_timeout must be a number"),
        ({"handler_timeout": 604_801}, "handler_timeout must be a number"),
        ({"grace": -1}, "grace must be a number"),
        ({"grace": 604_801}, "grace must be a number"),
    ],
)
def test_absurd_options_are_refused(options: dict[str, Any], text: str) -> None:
    """Broken: a worker that can never work, or never end, begins."""
    with pytest.raises(ValueError, match=text):
        AgentWorker(WORLD, **options)


def test_options_at_their_bounds_are_taken() -> None:
    """Broken: what the documentation allows is refused."""
    longest = dict.fromkeys(("visibility_timeout", "handler_timeout", "grace"), 604_800)
    AgentWorker(WORLD, concurrency=1, prefetch=0, visibility_timeout=1e-6, handler_timeout=1e-6, grace=0)
    AgentWorker(WORLD, concurrency=2, prefetch=2, **longest)


def test_handler_of_a_type_gets_its_messages_and_another_one_the_rest() -> None:
    """Broken: a message is worked on by the wrong function, or by none."""

    async def main(desk: Coordinator) -> None:
        events, requests, others = Seen(), Seen(), Seen()
        worker = worker_on(desk, handlers={EVENT: events})
        assert worker.handler(REQUEST)(requests) is requests
        assert worker.handler()(others) is others
        async with worker:
            desk.put(1)
            await turn()
        assert (events.ids, requests.ids, others.ids) == ([], ["message-1"], [])

    run(main)


def test_one_handler_may_serve_several_types() -> None:
    """Broken: of the types that a function is for, only one is."""
    worker = AgentWorker(WORLD)
    assert worker.abandoned == 0
    worker.handler(EVENT, REQUEST)(ignore)
    for kind in (EVENT, REQUEST):
        with pytest.raises(
            ValueError, match=f"{kind.value} messages have a handler already, <function ignore"
        ):
            worker.handler(kind)(ignore)
    worker.handler()(ignore)
    with pytest.raises(ValueError, match="messages without a handler of their own have a handler already"):
        worker.handler()(ignore)


def test_handler_must_be_awaitable() -> None:
    """Broken: a blocking function is called in the event loop."""
    blocking: Any = print
    with pytest.raises(TypeError, match=r"await asyncio\.to_thread"):
        AgentWorker(WORLD, handlers={EVENT: blocking})
    unknown: Any = "no type"
    with pytest.raises(ValueError, match="no type"):
        AgentWorker(WORLD, handlers={unknown: ignore})


def test_handlers_limit_and_final_errors_are_the_workers() -> None:
    """Broken: a handler has more time than it was given, or an error that is final is tried again."""

    async def endless(received: ReceivedMessage) -> None:
        del received
        await asyncio.Event().wait()

    async def refuses(received: ReceivedMessage) -> None:
        raise KeyError(id_of(received))

    async def main(desk: Coordinator) -> None:
        async with worker_on(desk, handlers={None: endless}, handler_timeout=5):
            desk.put(1)
            await asyncio.sleep(5.1)
        async with worker_on(desk, handlers={None: refuses}, permanent=(LookupError,)):
            desk.put(2)
            await turn()
        async with worker_on(desk, handlers={None: refuses}, permanent=()):
            desk.put(3)
            await turn()
        assert [told[2:4] for told in desk.asked("nack")] == [
            ("res_1", FailureType.TIMEOUT),
            ("res_2", FailureType.PERMANENT),
            ("res_3", FailureType.TRANSIENT),
        ]

    run(main)


def test_handler_that_is_cancelled_by_somebody_failed() -> None:
    """Broken: a cancellation inside users' code counts as no try, and the message comes for ever."""

    async def is_cancelled(received: ReceivedMessage) -> None:
        raise asyncio.CancelledError(id_of(received))

    async def main(desk: Coordinator) -> None:
        async with worker_on(desk, handlers={None: is_cancelled}):
            desk.put(1)
            await turn()
        assert [told[2:4] for told in desk.asked("nack")] == [("res_1", FailureType.TRANSIENT)]
        assert desk.asked("release") == []

    run(main)


def test_nothing_is_begun_while_the_last_take_comes_to_its_end() -> None:
    """Broken: a worker that was asked to end begins another message, or takes one more."""

    async def main(desk: Coordinator) -> None:
        seen, take = Seen(holds=True), desk.receive_many

        async def slow_to_end(agent: AgentId, wanted: int, lease_s: float, *, wait: float) -> Any:  # noqa: ANN401 - as the bench's
            try:
                return await take(agent, wanted, lease_s, wait=wait)
            except asyncio.CancelledError:
                await asyncio.sleep(5)
                raise

        desk.receive_many = slow_to_end
        worker = worker_on(desk, handlers={None: seen}, concurrency=2, prefetch=2)
        async with worker:
            desk.put(1, 2, 3)
            await turn()
            closing = asyncio.create_task(worker.aclose())
            await turn()
            seen.go_on.set()
            await turn()
            assert not closing.done()
            desk.put(4)
            await closing
        assert seen.ids == ["message-1", "message-2"]
        assert desk.asked("ack and take") == []
        assert desk.asked("release") == [("release", WORLD, "res_3")]

    run(main)


def test_what_a_handler_returns_goes_with_its_acknowledgement() -> None:
    """Broken: the next agent in a pipeline gets nothing."""

    async def pass_on(received: ReceivedMessage) -> list[Follow]:
        del received
        return [FOLLOW]

    async def main(desk: Coordinator) -> None:
        async with worker_on(desk, handlers={None: pass_on}):
            desk.put(1)
            await turn()
        assert desk.asked("ack") == [("ack", WORLD, "res_1", (FOLLOW,))]

    run(main)


def test_worker_says_what_it_lacks() -> None:
    """Broken: a worker that cannot work fails somewhere deep inside, or seems to work."""

    async def main(desk: Coordinator) -> None:
        worker = AgentWorker(WORLD)
        with pytest.raises(
            RuntimeError, match="the worker of world:1 has no coordinator: give it one when it"
        ):
            await worker.run()
        coordinator = cast("RedisMessageCoordinator", desk)
        worker.connect(coordinator)
        assert worker.coordinator is coordinator
        with pytest.raises(RuntimeError, match="the worker of world:1 has a coordinator already"):
            worker.connect(coordinator)
        with pytest.raises(RuntimeError, match="the worker of world:1 has no handlers: add one with @worker"):
            await worker.run()
        worker.handler()(ignore)
        async with worker:
            with pytest.raises(RuntimeError, match="the worker of world:1 works already"):
                await worker.run()

    run(main)


def test_worker_can_be_used_again_and_closed_twice() -> None:
    """Broken: a worker that was closed cannot begin anew, or closing twice is an error."""

    async def main(desk: Coordinator) -> None:
        seen = Seen()
        worker = worker_on(desk, handlers={None: seen})
        worker.stop()
        await worker.aclose()
        for number in (1, 2):
            async with worker as entered:
                assert entered is worker
                assert repr(worker) == "AgentWorker(world:1, concurrency=1, prefetch=1, working)"
                desk.put(number)
                await turn()
                await worker.aclose()
                assert repr(worker) == "AgentWorker(world:1, concurrency=1, prefetch=1, at rest)"
                worker.stop()
        assert seen.ids == ["message-1", "message-2"]
        assert len(desk.asked("keeper")) == len(desk.asked("close")) == 2

    run(main)


def test_run_works_until_it_is_asked_to_stop(caplog: pytest.LogCaptureFixture) -> None:
    """Broken: a worker ends by itself, or not when it is asked to."""

    async def main(desk: Coordinator) -> None:
        seen = Seen()
        worker = worker_on(desk, handlers={None: seen})
        running = asyncio.create_task(worker.run(handle_signals=False))
        await asyncio.sleep(600)
        desk.put(1)
        await turn()
        assert not running.done()
        worker.stop()
        await running
        assert seen.ids == ["message-1"]
        assert "at rest" in repr(worker)

    with caplog.at_level(logging.INFO):
        run(main)
    assert "the worker of world:1 takes no more messages and ends" in caplog.messages


@pytest.mark.parametrize("stops", [1, 2])
def test_second_stop_ends_the_grace(stops: int) -> None:
    """Broken: one Ctrl-C cuts handlers off, or whoever presses it twice waits for the whole grace."""

    async def main(desk: Coordinator) -> None:
        worker = worker_on(desk, handlers={None: Seen(holds=True)}, grace=600)
        running = asyncio.create_task(worker.run(handle_signals=False))
        desk.put(1)
        await turn()
        began = desk.loop.time()
        for _ in range(stops):
            worker.stop()
            await turn()
        await running
        assert (desk.loop.time() - began < 1) is (stops == 2)
        assert desk.asked("release") == [("release", WORLD, "res_1")]
        assert worker.abandoned == 0

    run(main)


def test_handlers_that_go_on_are_counted_until_the_next_begin() -> None:
    """Broken: a process that waits for a handler that never ends does not know it."""

    async def main(desk: Coordinator) -> None:
        end = asyncio.Event()

        async def stubborn(received: ReceivedMessage) -> None:
            del received
            while not end.is_set():
                try:
                    await end.wait()
                except asyncio.CancelledError:
                    continue

        worker = worker_on(desk, handlers={None: stubborn}, grace=0)
        async with worker:
            desk.put(1)
            await turn()
        assert worker.abandoned == 1
        end.set()
        await turn()
        async with worker:
            assert worker.abandoned == 0

    run(main)


@pytest.mark.parametrize("way", ["run", "aclose"])
@pytest.mark.parametrize("in_settling", [False, True])
def test_what_no_try_mends_ends_the_worker_and_is_raised(way: str, in_settling: bool) -> None:
    """Broken: a worker whose taking or settling has died looks alive."""

    async def main(desk: Coordinator) -> None:
        first = LookupError("a fault of ours")
        desk.errors["release" if in_settling else "receive"] = [first, LookupError("another")]

        async def cancelled(received: ReceivedMessage) -> None:
            del received
            await asyncio.Event().wait()

        worker = worker_on(desk, handlers={None: cancelled}, grace=0, concurrency=2)
        desk.put(1, 2)
        with pytest.raises(LookupError, match="a fault of ours"):  # noqa: PT012 - both ways raise it
            if way == "run":
                running = asyncio.create_task(worker.run(handle_signals=False))
                await turn()
                if in_settling:
                    worker.stop()
                await running
            else:
                async with worker:
                    await turn()
        assert "at rest" in repr(worker)
        worker.handler(EVENT)(ignore)
        desk.errors.clear()
        async with worker:
            await turn()  # it begins without what ended it before

    run(main)


def test_end_that_is_cancelled_ends_the_grace_and_still_gives_back() -> None:
    """Broken: a shutdown with a time limit of its own leaves messages under leases, or a worker at work."""

    async def main(desk: Coordinator) -> None:
        worker = worker_on(desk, handlers={None: Seen(holds=True)}, grace=600)
        async with worker:
            desk.put(1)
            await turn()
            first, second = asyncio.create_task(worker.aclose()), asyncio.create_task(worker.aclose())
            await asyncio.sleep(5)
            assert [task.get_name() for task in asyncio.all_tasks()].count("end the worker of world:1") == 1
            first.cancel()
            await asyncio.wait({first})
            assert first.cancelled()
            assert desk.loop.time() < 6
            assert desk.asked("release") == [("release", WORLD, "res_1")]
            assert "at rest" in repr(worker)
            await second
            assert len(desk.asked("close")) == 1
        async with worker:
            assert "working" in repr(worker)
        assert len(desk.asked("close")) == 2

    run(main)


@pytest.mark.parametrize("permanent", [[ValueError], ("ValueError",), None])
def test_permanent_errors_are_types(permanent: Any) -> None:  # noqa: ANN401 - that is the fault
    """Broken: a worker begins that fails at its first failure."""
    with pytest.raises(ValueError, match=r"^permanent must be a tuple of exception types, not ") as told:
        AgentWorker(WORLD, permanent=permanent)
    assert str(told.value).endswith(f"not {shown(permanent)}")


def test_leases_of_a_registered_agent_are_bound_to_its_registration() -> None:
    """Broken: the leases of an agent that died come back only when they end."""

    async def main(desk: Coordinator) -> None:
        registry = Registry()
        worker = worker_on(desk, handlers={None: ignore}, registry=cast("RedisAgentRegistry", registry))
        async with worker:
            assert registry.returns_through is desk
            [(agent, owner)] = desk.owners
            assert agent == WORLD
            assert owner is not None
            assert owner() == 7
            assert len(registry.listeners) == 1
        assert desk.owners[1:] == [(WORLD, None)]
        assert registry.listeners == []
        await worker.aclose()
        assert len(desk.owners) == 2
        async with worker:
            assert len(registry.listeners) == 1

    run(main)


@pytest.mark.parametrize("from_the_start", [False, True])
def test_agent_that_drains_takes_nothing_new(from_the_start: bool) -> None:
    """Broken: an agent that is to be taken out of service goes on taking messages."""

    async def main(desk: Coordinator) -> None:
        seen, registry = Seen(), Registry(draining=from_the_start)
        async with worker_on(desk, handlers={None: seen}, registry=cast("RedisAgentRegistry", registry)):
            await turn()
            if not from_the_start:
                registry.listeners[0](True)  # noqa: FBT003 - as the registry calls it
                await turn()
            desk.put(1)
            await asyncio.sleep(60)
            assert seen.ids == []
            registry.listeners[0](False)  # noqa: FBT003 - as the registry calls it
            await turn()
            assert seen.ids == ["message-1"]

    run(main)


def test_worker_without_a_registry_binds_nothing() -> None:
    """Broken: leases of an agent that is not registered are taken for somebody."""

    async def main(desk: Coordinator) -> None:
        async with worker_on(desk, handlers={None: ignore}):
            await turn()
        assert desk.owners == []

    run(main)


@pytest.mark.parametrize("takes_signals", [True, False])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_ask_the_worker_to_end_and_are_given_back(
    number: signal.Signals, takes_signals: bool
) -> None:
    """Broken: a deployment cuts off work, or later signals go to a worker that has ended."""

    async def main(desk: Coordinator) -> None:
        given: dict[int, Callable[[], None]] = {}
        removed: list[int] = []

        def add(which: int, listener: Callable[[], None]) -> None:
            if not takes_signals:
                raise NotImplementedError  # as Windows' loop does
            given[which] = listener

        def remove(which: int) -> None:
            if not takes_signals:
                raise NotImplementedError
            removed.append(which)

        loop: Any = desk.loop
        loop.add_signal_handler, loop.remove_signal_handler = add, remove
        worker = worker_on(desk, handlers={None: ignore})
        running = asyncio.create_task(worker.run())
        await turn()
        if takes_signals:
            assert set(given) == {signal.SIGTERM, signal.SIGINT}
            given[number]()
        else:
            handler = signal.getsignal(number)
            assert callable(handler)
            handler(number, None)
        await running
        assert set(removed) == set(given)

    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    run(main)
    assert {each: signal.getsignal(each) for each in before} == before


def test_worker_that_is_told_so_or_runs_in_a_thread_leaves_signals_alone() -> None:
    """Broken: a worker beside a web server takes the signals that are the server's."""

    async def main(desk: Coordinator) -> None:
        def refuse(*_: object) -> None:
            raise AssertionError("it took a signal")

        loop: Any = desk.loop
        loop.add_signal_handler = refuse
        worker = worker_on(desk, handlers={None: ignore})
        if threading.current_thread() is threading.main_thread():
            running = asyncio.create_task(worker.run(handle_signals=False))
        else:
            running = asyncio.create_task(worker.run())
        await turn()
        worker.stop()
        await running

    errors: list[BaseException] = []

    def in_thread() -> None:
        try:
            run(main)
        except BaseException as error:  # noqa: BLE001 - told to the test's own thread
            errors.append(error)

    run(main)
    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    assert errors == []
