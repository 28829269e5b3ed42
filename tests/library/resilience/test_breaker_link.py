"""One script within its time, and whether the store answers: on a stand-in client, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.library.conftest import START_US
from tests.library.support.virtual import VirtualLoop, in_virtual_time
from tta_agent_coordination._redis.client import Client
from tta_agent_coordination._redis.script import Call, Script
from tta_agent_coordination.resilience._breaker_link import COMMAND_TIMEOUT_S, StoreLink
from tta_agent_coordination.testing import ManualClock


def read(answer: list[Any]) -> str:
    """Return the first element of an answer, in capitals."""
    return answer[0].upper()


CALL: Call[str] = Call(script=Script("one", "return {}", "digest"), keys=(b"key",), args=(1,), read=read)


class Bench:
    """A link on a client that answers, or fails, as it is told to."""

    def __init__(self, loop: VirtualLoop, clock: ManualClock | None = None) -> None:
        self.loop = loop
        self.takes_s = 0.0
        self.answer: object = ["fine"]
        self.sent: list[tuple[Any, ...]] = []
        self.link = StoreLink(cast("Client", self), "svc", clock)

    async def execute_command(self, *parts: Any, **_: Any) -> object:  # noqa: ANN401 - as in redis-py
        self.sent.append(parts)
        await asyncio.sleep(self.takes_s)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def run(main: Callable[[Bench], Awaitable[None]]) -> None:
    """Run a test in virtual time."""

    async def whole(loop: VirtualLoop) -> None:
        await main(Bench(loop))

    in_virtual_time(whole)


def test_answer_comes_back_and_the_store_is_up(caplog: pytest.LogCaptureFixture) -> None:
    """Broken: a decision is made on what the store never said."""

    async def main(bench: Bench) -> None:
        assert bench.link.up is None
        bench.takes_s = 0.9
        assert await bench.link.run(CALL) == "FINE"
        assert bench.link.up is True
        assert bench.sent == [("EVALSHA", "digest", 1, b"key", 1)]
        assert bench.link.client is bench

    with caplog.at_level("INFO"):
        run(main)
    assert caplog.messages == []


@pytest.mark.parametrize(
    "answer",
    [RedisConnectionError("no route"), OSError("gone"), TypeError("a mock"), [1], ""],
)
def test_what_is_no_answer_is_none_and_told_once_until_the_store_answers(
    answer: object, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: a store that is away breaks the calls it should protect, or fills the log."""

    async def main(bench: Bench) -> None:
        for _ in range(2):
            bench.answer = answer
            assert await bench.link.run(CALL) is None
            assert bench.link.up is False
            assert await bench.link.run(CALL) is None
            bench.answer = ["fine"]
            assert await bench.link.run(CALL) == "FINE"
            assert bench.link.up is True
            assert caplog.messages[-1].endswith("its state is shared again")
            assert await bench.link.run(CALL) == "FINE"

    with caplog.at_level("INFO"):
        run(main)
    down, up, *again = caplog.messages
    assert down.startswith("Circuit breaker svc: the store did not answer (")
    assert down.endswith("); it works locally until it does")
    assert up == "Circuit breaker svc: the store answers again, its state is shared again"
    assert again == [down, up]
    assert [record.levelname for record in caplog.records[:2]] == ["WARNING", "INFO"]


def test_failure_is_told_with_its_type(caplog: pytest.LogCaptureFixture) -> None:
    """Broken: an error without a text, as many timeouts are, leaves an operator with nothing."""

    async def main(bench: Bench) -> None:
        bench.answer = RedisConnectionError("no route")
        assert await bench.link.run(CALL) is None

    run(main)
    [told] = caplog.messages
    assert "the store did not answer (ConnectionError: no route);" in told


def test_store_that_does_not_answer_costs_one_second(caplog: pytest.LogCaptureFixture) -> None:
    """Broken: a store that stands still holds up every protected call."""

    async def main(bench: Bench) -> None:
        bench.takes_s = 60
        assert await bench.link.run(CALL) is None
        assert bench.loop.time() == COMMAND_TIMEOUT_S == 1.0
        assert bench.link.up is False

    run(main)
    assert "(TimeoutError: )" in caplog.text


def test_cancelled_call_is_cancelled_and_says_nothing_of_the_store(caplog: pytest.LogCaptureFixture) -> None:
    """Broken: a caller who gives up marks a healthy store as away, or is not cancelled at all."""

    async def main(bench: Bench) -> None:
        bench.takes_s = 0.5
        task = asyncio.create_task(bench.link.run(CALL))
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        assert bench.link.up is None

    run(main)
    assert caplog.messages == []


def test_link_shows_its_breaker_and_tells_its_clocks_time() -> None:
    """Broken: a script decides by another time than the test's, or a log says nothing of whose link it is."""

    async def whole(loop: VirtualLoop) -> None:
        manual = Bench(loop, ManualClock(START_US)).link
        assert manual.now_us() == str(START_US)
        assert Bench(loop).link.now_us() == ""
        assert repr(manual) == "StoreLink('svc', up=None)"

    in_virtual_time(whole)
