"""Owns the operations on many messages of one inbox: a hundred a script, each script atomic.

They are a part of `RedisMessageCoordinator`; what they share with its other operations is declared here.
"""

from __future__ import annotations

from collections.abc import Sequence

from tta_agent_coordination import _clock
from tta_agent_coordination.coordinators import _validation as check
from tta_agent_coordination.coordinators._addressing import Addressing
from tta_agent_coordination.coordinators._leases import Leases
from tta_agent_coordination.coordinators._sending import Sender, SendOptions
from tta_agent_coordination.coordinators._subscriptions import Subscriptions
from tta_agent_coordination.messaging import MessageResult, ReceivedMessage
from tta_agent_coordination.models import AgentId, AgentMessage

__all__ = ["Batches"]


class Batches(Addressing):
    """The batch operations of a coordinator."""

    _sender: Sender
    _leases: Leases
    _subscriptions: Subscriptions

    async def send_many(
        self,
        sender: AgentId,
        recipient: AgentId,
        messages: Sequence[AgentMessage],
        *,
        delay: float = 0,
        expires_in: float | None = None,
        dedup_ids: Sequence[str | None] | None = None,
    ) -> list[MessageResult]:
        """Put messages into one inbox in their order, 100 in one atomic script.

        Args:
            sender: Who sends; it is not read.
            recipient: Selects the inbox.
            messages: Any number; each is accepted or refused for itself.
            delay: As for `send_message`, for all.
            expires_in: As for `send_message`, for all.
            dedup_ids: One idempotency key, or None, a message.

        Returns:
            One result a message. Neither the store nor a payload makes it raise.

        Raises:
            ValueError: If an option is out of range; nothing was sent.
        """
        del sender
        messages = check.items("messages", messages)
        delay_s, expires_s = check.delay_and_expiry(delay, expires_in)
        ids: list[str | None] = [None] * len(messages)
        if dedup_ids is not None:
            ids = [check.dedup_id(one) for one in check.items("dedup_ids", dedup_ids)]
        if len(ids) != len(messages):
            raise ValueError(
                f"dedup_ids has {len(ids)} entries for {len(messages)} messages; give one each, or None"
            )
        options = [SendOptions(delay_s=delay_s, expires_s=expires_s, dedup_id=one) for one in ids]
        return await self._sender.send_many(self._box(recipient), messages, options, limit=self._limit())

    async def receive_many(
        self, agent_id: AgentId, n: int, visibility_timeout: float = 5, *, wait: float = 0
    ) -> list[ReceivedMessage]:
        """Take up to `n` messages under leases, 100 in one atomic script; as `receive` in all else.

        Args:
            agent_id: Whose inbox.
            n: Most messages to take, at least 1.
            visibility_timeout: Length of the leases in seconds, up to a week.
            wait: Longest time to wait until one message is due, in seconds; it does not wait for more.

        Returns:
            What was due, in the order of delivery.

        Raises:
            ValueError: If an argument is out of range.
            MessageCoordinatorError: If the store failed.
        """
        n = check.whole("n", n, low=1)
        lease_us = _clock.to_us(check.lease("visibility_timeout", visibility_timeout))
        wait_s = check.wait(wait)
        await self._subscriptions.catch_up()
        return await self._leases.receive_many(self._box(agent_id), n, lease_us, wait_s)

    async def ack_many(self, agent_id: AgentId, tokens: Sequence[str]) -> list[bool]:
        """End leases for good, 100 in one atomic script.

        Args:
            agent_id: Whose inbox.
            tokens: The reservations; late or not, as long as they hold.

        Returns:
            For each token what `ack` would return; a token that is named twice counts twice.

        Raises:
            MessageCoordinatorError: If the store failed; earlier hundreds stay acknowledged.
        """
        held, _ = await self._ack_and_receive(agent_id, tokens, 0, 1)
        return held

    async def _ack_and_receive(
        self, agent_id: AgentId, tokens: Sequence[str], n: int, visibility_timeout: float
    ) -> tuple[list[bool], list[ReceivedMessage]]:
        """End leases and take up to `n` messages: one script for up to 100 of each. For `AgentWorker`.

        Returns:
            What `ack_many` would return, and what `receive_many` would.
        """
        tokens = check.items("tokens", tokens)
        for token in tokens:
            check.token(token)
        n = check.whole("n", n, low=0)
        lease_us = _clock.to_us(check.lease("visibility_timeout", visibility_timeout))
        await self._subscriptions.catch_up()
        return await self._leases.ack_and_receive(self._box(agent_id), tokens, n, lease_us)
