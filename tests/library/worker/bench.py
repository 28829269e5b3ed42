"""A pump at work on a stand-in coordinator, in virtual time: what it asks for, when, and with what."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from tests.library.support.builders import NARRATIVE, WORLD, id_of, make_message
from tests.library.support.virtual import VirtualLoop, in_virtual_time
from tta_agent_coordination import RedisMessageCoordinator
from tta_agent_coordination.messaging import FailureType, QueueMessage, ReceivedMessage
from tta_agent_coordination.models import AgentId
from tta_agent_coordination.worker._handling import Done, Outcome, Released
from tta_agent_coordination.worker._pump import Limits, Pump

type Told = tuple[object, ...]

FOLLOW = (NARRATIVE, make_message("follow-1", recipient=NARRATIVE))


def message(number: int) -> ReceivedMessage:
    """A message as it comes under a lease."""
    return ReceivedMessage(
        token=f"res_{number}", queue_message=QueueMessage(message=make_message(f"message-{number}"))
    )


class Desk:
    """A coordinator, and its lease keeper, that note what they are asked, and answer as they are told to."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        self.told: list[Told] = []
        self.begin_s = loop.time()
        self.inbox: deque[ReceivedMessage] = deque()
        self.arrived = asyncio.Event()
        self.errors: dict[str, list[Exception]] = {}
        self.meanwhile: dict[str, Callable[[], Awaitable[object]]] = {}
        self.still_ours = True

    async def note(self, name: str, *what: object) -> None:
        self.told.append((name, *what))
        if name in self.meanwhile:
            await self.meanwhile.pop(name)()
        if self.errors.get(name):
            raise self.errors[name].pop(0)

    def asked(self, *names: str) -> list[Told]:
        """What was asked of some methods."""
        return [told for told in self.told if told[0] in names]

    def put(self, *numbers: int) -> None:
        """Have messages come."""
        self.inbox.extend(message(number) for number in numbers)
        self.arrived.set()

    def lease_keeper(self, agent: AgentId, timeout_s: float) -> Desk:
        self.told.append(("keeper", agent, timeout_s))
        return self

    def keep(self, token: str, longest_s: float) -> None:
        self.told.append(("keep", token, longest_s))

    def drop(self, token: str) -> None:
        self.told.append(("drop", token))

    def close(self) -> None:
        self.told.append(("close",))

    async def receive_many(
        self, agent: AgentId, wanted: int, lease_s: float, *, wait: float
    ) -> list[ReceivedMessage]:
        await self.note("receive", agent, wanted, lease_s, wait)
        if not self.inbox:
            self.arrived.clear()
            await self.arrived.wait()
        return [self.inbox.popleft() for _ in range(min(wanted, len(self.inbox)))]

    async def _ack_and_receive(
        self, agent: AgentId, tokens: Sequence[str], wanted: int, lease_s: float
    ) -> tuple[list[bool], list[ReceivedMessage]]:
        await self.note("ack and take", agent, *tokens, wanted, lease_s)
        return [True], [self.inbox.popleft()] if self.inbox else []

    async def ack(self, agent: AgentId, token: str, *, then_send: object = ()) -> bool:
        await self.note("ack", agent, token, then_send)
        return True

    async def nack(self, agent: AgentId, token: str, failure: FailureType, error: str) -> bool:
        await self.note("nack", agent, token, failure, error)
        return True

    async def release(self, agent: AgentId, token: str) -> bool:
        await self.note("release", agent, token)
        return True

    async def extend(self, agent: AgentId, token: str, seconds: float) -> bool:
        await self.note("extend", agent, token, seconds)
        return self.still_ours


class Registry:
    """A registry that knows one agent."""

    def __init__(self, *, draining: bool = False) -> None:
        self.draining = draining
        self.returns_through: object = None
        self.listeners: list[Callable[[bool], None]] = []

    def epoch_of(self, agent: AgentId) -> int | None:
        return 7 if agent == WORLD else None

    def return_leases_through(self, coordinator: object) -> None:
        self.returns_through = coordinator

    def on_draining(self, agent: AgentId, listener: Callable[[bool], None]) -> Callable[[], None]:
        assert agent == WORLD
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def is_draining(self, agent: AgentId) -> bool:
        return agent == WORLD and self.draining


class Bench:
    """A pump at work in virtual time; its handlers wait where they are told to."""

    def __init__(self, loop: VirtualLoop, **limits: Any) -> None:  # noqa: ANN401 - times and numbers
        defaults = {
            "concurrency": 1,
            "prefetch": 1,
            "visibility_timeout": 8,
            "handler_timeout": 60,
            "grace": 9,
        }
        self.loop = loop
        self.desk = Desk(loop)
        self.handled: list[str | None] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.failures: list[BaseException] = []
        self.pump = Pump(
            cast("RedisMessageCoordinator", self.desk),
            WORLD,
            Limits(**(defaults | {"grace": 9} | limits)),
            self.handle,
            self.failures.append,
        )
        self.running: asyncio.Task[None] | None = None

    async def handle(self, received: ReceivedMessage) -> Outcome:
        message_id = id_of(received) or ""
        self.handled.append(message_id)
        if message_id in self.gates:
            try:
                await self.gates[message_id].wait()
            except asyncio.CancelledError:
                return Released()
        return self.outcomes.get(message_id, Done())

    def hold(self, *numbers: int) -> None:
        """Have the handlers of some messages wait for `go`."""
        self.gates.update({f"message-{number}": asyncio.Event() for number in numbers})

    def go(self, number: int) -> None:
        """Let a handler come to its end."""
        self.gates[f"message-{number}"].set()

    async def begin(self) -> None:
        """Start to take messages."""
        self.running = asyncio.create_task(self.pump.run())
        await self.turn()

    async def turn(self) -> None:
        """Let everything happen that needs no time; a moment passes, or two where the loop was blocked."""
        for _ in range(3):
            await asyncio.sleep(0.001)

    async def end(self) -> int:
        """Stop taking, and drain."""
        assert self.running is not None
        self.pump.stopping = True
        self.running.cancel()
        await asyncio.wait({self.running})
        return await self.pump.drain()


def run(main: Callable[[Bench], Awaitable[None]], **limits: Any) -> Bench:  # noqa: ANN401 - times and numbers
    """Run a test in virtual time, on a pump that is at work, and end the pump where the test did not."""

    async def whole(loop: VirtualLoop) -> Bench:
        bench = Bench(loop, **limits)
        await bench.begin()
        await main(bench)
        if not bench.pump.stopping:
            await bench.end()
        return bench

    return in_virtual_time(whole)
