"""What an inbox should do, said in plain Python: the oracle for the state machine.

It keeps every message that was ever accepted and says where it is. It knows no Redis, no keys and no JSON;
time is a number that the test moves. Where the contract leaves two orders open, the state machine avoids the
situation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Message", "Oracle"]

type State = Literal["stored", "reserved", "dead", "gone"]


@dataclass(kw_only=True)
class Message:
    """One accepted message and all that happened to it."""

    message_id: str
    level: int
    score: int
    expires_us: int | None
    state: State = "stored"
    attempts: int = 0
    expiries: int = 0
    deliveries: int = 0
    token: str | None = None
    deadline_us: int = 0
    cause: str | None = None


@dataclass(kw_only=True)
class Oracle:
    """One inbox."""

    now_us: int
    queue_size: int
    max_deliveries: int
    retry_attempts: int
    backoff_us: int
    last_score: int = 0
    messages: list[Message] = field(default_factory=list[Message])
    buried: list[Message] = field(default_factory=list[Message])

    def having(self, state: State) -> list[Message]:
        """Return the messages in one state."""
        return [message for message in self.messages if message.state == state]

    @property
    def depth(self) -> int:
        """Ready, delayed and reserved."""
        return len(self.having("stored")) + len(self.having("reserved"))

    def _next_score(self) -> int:
        self.last_score = max(self.now_us, self.last_score + 1)
        return self.last_score

    def _free_score(self, level: int, due_us: int) -> int:
        taken = {message.score for message in self.having("stored") if message.level == level}
        while due_us in taken:
            due_us += 1
        return due_us

    def _expired(self, message: Message) -> bool:
        return message.expires_us is not None and message.expires_us <= self.now_us

    def _bury(self, message: Message, cause: str) -> None:
        message.state, message.cause, message.token = "dead", cause, None
        self.buried.append(message)

    def send(
        self, message_id: str, level: int, *, delay_us: int = 0, expires_in_us: int | None = None
    ) -> bool:
        """Accept a message, unless the inbox is full."""
        if self.depth >= self.queue_size:
            return False
        score = self._free_score(level, self.now_us + delay_us) if delay_us else self._next_score()
        expires_us = None if expires_in_us is None else self.now_us + expires_in_us
        self.messages.append(Message(message_id=message_id, level=level, score=score, expires_us=expires_us))
        return True

    def reclaim(self) -> int:
        """End every lease that has run out; return how many messages went back."""
        back = 0
        run_out = [message for message in self.having("reserved") if message.deadline_us <= self.now_us]
        for message in sorted(run_out, key=lambda message: (message.deadline_us, message.token or "")):
            message.expiries += 1
            if self._expired(message):
                self._bury(message, "expired")
            elif message.expiries >= self.max_deliveries:
                self._bury(message, "poison")
            else:
                message.state, message.token = "stored", None
                back += 1
        return back

    def receive(self) -> Message | None:
        """Reclaim, bury what came too late, and return the message that must be handed out next."""
        self.reclaim()
        ready = max(self.now_us, self.last_score)
        for message in sorted(self.having("stored"), key=lambda message: (-message.level, message.score)):
            if message.score > ready:
                continue
            if self._expired(message):
                self._bury(message, "expired")
                continue
            return message
        return None

    def lease(self, message: Message, token: str, lease_us: int) -> None:
        """Note that a message was handed out."""
        message.state, message.token = "reserved", token
        message.deadline_us = self.now_us + lease_us
        message.deliveries += 1

    def holder(self, token: str) -> Message | None:
        """Return the message that a token holds."""
        return next((message for message in self.having("reserved") if message.token == token), None)

    def ack(self, token: str) -> bool:
        """End a lease for good."""
        message = self.holder(token)
        if message is None:
            return False
        message.state, message.token = "gone", None
        return True

    def nack(self, token: str, *, permanent: bool) -> bool:
        """End a lease that failed."""
        message = self.holder(token)
        if message is None:
            return False
        message.attempts += 1
        message.token = None
        if permanent:
            self._bury(message, "permanent")
        elif self._expired(message):
            self._bury(message, "expired")
        elif message.attempts > self.retry_attempts:
            self._bury(message, "retries exhausted")
        else:
            due = self.now_us + self.backoff_us * 2 ** (message.attempts - 1)
            message.score = self._free_score(message.level, due)
            message.state = "stored"
        return True

    def release(self, token: str) -> bool:
        """Give a message back uncounted, to its place."""
        message = self.holder(token)
        if message is None:
            return False
        message.state, message.token = "stored", None
        return True

    def extend(self, token: str, lease_us: int) -> bool:
        """Move the end of a lease."""
        message = self.holder(token)
        if message is None:
            return False
        message.deadline_us = self.now_us + lease_us
        return True

    def requeue(self, message: Message) -> bool:
        """Send a dead letter again, as a new message at the back."""
        if self.depth >= self.queue_size:
            return False
        self.buried.remove(message)
        message.state, message.cause, message.expires_us = "stored", None, None
        message.attempts = message.expiries = message.deliveries = 0
        message.score = self._next_score()
        return True

    def purge(self, message: Message) -> None:
        """Forget a dead letter."""
        self.buried.remove(message)
        message.state = "gone"
