"""Owns subscriptions on their way to Redis: v0's synchronous call, its task, and what is not stored yet."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from tta_agent_coordination import _keys
from tta_agent_coordination._redis import scripts
from tta_agent_coordination.coordinators._calls import Calls
from tta_agent_coordination.coordinators._discovery import Discovery
from tta_agent_coordination.exceptions import MessageCoordinatorError
from tta_agent_coordination.messaging import MessageSubscription
from tta_agent_coordination.models import AgentId, MessageType

__all__ = ["Subscriptions"]

logger = logging.getLogger("tta_agent_coordination.coordinators")

_RETRY_DELAYS_S = (0.1, 0.3, 1.0, 3.0)


@dataclass(frozen=True, slots=True)
class _Wish:
    box: _keys.Inbox
    types: tuple[str, ...]


class Subscriptions:
    """Records the subscriptions of one coordinator."""

    def __init__(self, calls: Calls, discovery: Discovery) -> None:
        self._calls = calls
        self._discovery = discovery
        self._waiting: list[_Wish] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def subscribe(
        self, agent_id: AgentId, box: _keys.Inbox, types: Sequence[MessageType]
    ) -> MessageSubscription:
        """Begin to store a subscription; without a running loop it waits for the next operation."""
        subscription = MessageSubscription(
            subscription_id=f"sub_{secrets.token_hex(6)}", agent_id=agent_id, message_types=list(types)
        )
        wish = _Wish(box, tuple(str(MessageType(kind).value) for kind in types))
        if not wish.types:
            return subscription
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._waiting.append(wish)
            return subscription.stored_by(self._store_waiting)
        task = loop.create_task(self._store(wish), name=f"subscribe {box.name}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return subscription.stored_by(lambda: asyncio.shield(task))

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # it was logged; whoever awaits the subscription gets it too

    async def _record(self, wish: _Wish) -> None:
        await self._discovery.index_subscriber(wish.box, wish.types)
        await self._calls.run(wish.box, lambda lane: scripts.subscribe(lane, wish.box, types=wish.types))

    async def _store(self, wish: _Wish) -> None:
        try:
            for delay in _RETRY_DELAYS_S:
                try:
                    return await self._record(wish)
                except MessageCoordinatorError as error:
                    logger.warning("Subscription of %s, next try in %s s: %s", wish.box.name, delay, error)
                await asyncio.sleep(delay)
            return await self._record(wish)
        except BaseException as error:
            self._waiting.append(wish)
            logger.warning("Subscription of %s waits for the next operation: %s", wish.box.name, error)
            raise

    async def _store_waiting(self) -> None:
        """Store what had no loop, or no store, when it was asked for."""
        while self._waiting:
            wish = self._waiting.pop(0)
            try:
                await self._record(wish)
            except BaseException:
                self._waiting.append(wish)
                raise

    async def catch_up(self) -> None:
        """Store what waits. A store that fails here will fail the caller's own operation soon enough."""
        if self._waiting:
            try:
                await self._store_waiting()
            except MessageCoordinatorError as error:
                logger.warning(
                    "A waiting subscription is not stored yet, the next operation tries again: %s", error
                )

    async def settle(self) -> None:
        """Wait until everything that was asked for is stored, or has failed."""
        loop = asyncio.get_running_loop()
        tasks = [task for task in self._tasks if task.get_loop() is loop]
        if tasks:
            await asyncio.gather(*tasks, return_exceptions=True)
        await self.catch_up()

    async def unsubscribe(self, box: _keys.Inbox, types: Sequence[MessageType] | None) -> int:
        """Take types away, after what was asked for earlier."""
        await self.settle()
        names = () if types is None else tuple(str(MessageType(kind).value) for kind in types)
        if types is not None and not names:
            return 0
        reply = await self._calls.run(box, lambda lane: scripts.unsubscribe(lane, box, types=names))
        return int(reply.text)
