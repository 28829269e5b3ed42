"""The bound on commands under way: so many at once, the others in turn, and cancelling costs no place."""

from __future__ import annotations

import asyncio

from tta_agent_coordination._redis.gate import Gate


class Crowd:
    """Tasks that go in at once and leave when they are told to."""

    def __init__(self, limit: int) -> None:
        self.gate = Gate(limit)
        self.inside: list[int] = []
        self._leave = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []

    async def _go(self, number: int) -> None:
        await self.gate.enter()
        self.inside.append(number)
        await self._leave.wait()

    async def arrive(self, count: int) -> None:
        """Let more of them come; return when none of them can go further."""
        first = len(self.tasks)
        self.tasks += [asyncio.create_task(self._go(first + number)) for number in range(count)]
        await self.settle()

    async def settle(self) -> None:
        """Give every task its turns."""
        for _ in range(10):
            await asyncio.sleep(0)

    async def end(self) -> None:
        """End all tasks."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def test_no_more_than_the_limit_are_inside() -> None:
    """Broken: a client's pool runs out of connections and commands fail."""
    crowd = Crowd(3)
    await crowd.arrive(7)
    assert crowd.inside == [0, 1, 2]
    for expected in (4, 5, 6, 7):
        crowd.gate.leave()
        await crowd.settle()
        assert crowd.inside == list(range(expected)), "in order of arrival, one for one"
    await crowd.end()


async def test_places_given_back_are_as_many_as_were_taken() -> None:
    """Broken: the limit grows or shrinks with every call, until everything waits."""
    crowd = Crowd(2)
    for _ in range(3):
        await crowd.gate.enter()
        crowd.gate.leave()
    await crowd.gate.enter()
    await crowd.gate.enter()
    crowd.gate.leave()
    crowd.gate.leave()
    await crowd.arrive(5)
    assert crowd.inside == [0, 1]
    await crowd.end()


async def test_cancelled_while_waiting_takes_no_place() -> None:
    """Broken: a caller that gave up keeps its place in the queue, or lets a second one in."""
    crowd = Crowd(1)
    await crowd.arrive(3)
    crowd.tasks[1].cancel()
    await crowd.settle()
    assert crowd.inside == [0]
    crowd.gate.leave()
    await crowd.settle()
    assert crowd.inside == [0, 2]
    await crowd.arrive(1)
    assert crowd.inside == [0, 2]
    await crowd.end()


async def test_cancelled_in_its_turn_hands_the_place_on() -> None:
    """Broken: a place that was given to a caller in the moment it gave up is lost for ever."""
    crowd = Crowd(1)
    await crowd.arrive(3)
    crowd.gate.leave()
    crowd.tasks[1].cancel()
    await crowd.settle()
    assert crowd.inside == [0, 2]
    await crowd.end()
