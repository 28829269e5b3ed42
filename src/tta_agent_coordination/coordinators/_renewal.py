"""Owns the renewal of leases while somebody works: a thread with a connection of its own.

A handler that blocks the event loop, or that never comes back, cannot hold it up. It renews each lease every
third of its length, until the lease is dropped or its time is over; what ends sooner costs no command.
"""

from __future__ import annotations

import itertools
import logging
import secrets
import threading
import time
from dataclasses import dataclass

from tta_agent_coordination import _clock, _keys
from tta_agent_coordination._clock import Clock
from tta_agent_coordination._redis import scripts
from tta_agent_coordination._redis.blocking import BlockingClient
from tta_agent_coordination._redis.client import STORE_ERRORS, Client
from tta_agent_coordination._redis.scripts import Lane, Status

__all__ = ["LeaseKeeper", "lease_keeper"]

logger = logging.getLogger(__name__)

_LOOKS_A_RENEWAL = 4
"""How often the thread looks at its leases between two renewals of one."""
_SHORTEST_LOOK_S = 0.005
"""What lies between two looks at least, seconds, however short the lease is."""
_LONGEST_TRY_S, _SHORTEST_TRY_S = 5.0, 0.2
"""How long one renewal may wait for the server, seconds; in between, as long as from one to the next."""


@dataclass(slots=True)
class _Kept:
    """One lease: when it is renewed next and when that ends; monotonic seconds."""

    due_s: float
    until_s: float


class LeaseKeeper:
    """Renews the leases of one inbox from a daemon thread.

    Every method may be called from any thread. The thread starts with the first lease and ends with `close`.

    Args:
        client: A connection that only this thread uses.
        box: The inbox.
        lease_us: How long each renewal makes a lease, in microseconds.
        clock: Takes the place of the server's clock, in tests.
    """

    def __init__(
        self, client: BlockingClient, box: _keys.Inbox, *, lease_us: int, clock: Clock | None
    ) -> None:
        self._client = client
        self._box = box
        self._lease_us = lease_us
        self._clock = clock
        self._interval_s = _clock.from_us(lease_us) / 3
        self._lock = threading.Lock()
        self._kept: dict[str, _Kept] = {}
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._owner = secrets.token_hex(8)
        self._sequence = itertools.count(1)
        self._failing = False

    def keep(self, token: str, longest_s: float) -> None:
        """Renew a lease from now on, and begin its time anew if it is kept already.

        Args:
            token: The reservation.
            longest_s: Seconds from now after which it is left to run out.
        """
        now = time.monotonic()
        with self._lock:
            kept = self._kept.get(token)
            due = now + self._interval_s if kept is None else kept.due_s
            self._kept[token] = _Kept(due, now + longest_s)
            if self._thread is None and not self._closing.is_set():
                self._thread = threading.Thread(
                    target=self._work, name=f"leases of {self._box.name}", daemon=True
                )
                self._thread.start()

    def drop(self, token: str) -> None:
        """Stop renewing a lease; unknown ones are passed over."""
        with self._lock:
            self._kept.pop(token, None)

    def close(self) -> None:
        """End the thread and its connection, and wait for that. Repeatable; nothing is renewed afterwards."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        pause_s = max(_SHORTEST_LOOK_S, self._interval_s / _LOOKS_A_RENEWAL)
        while not self._closing.wait(pause_s):
            due = self._due()
            if not due:
                continue
            try:
                for token in due:
                    self._renew(token)
            except STORE_ERRORS as error:
                if not self._failing:
                    logger.warning(
                        "leases of %s cannot be renewed (%s); trying on: what runs out is delivered again",
                        self._box.name,
                        error,
                    )
                self._failing = True
        self._client.close()

    def _due(self) -> list[str]:
        """Return what is to be renewed now, and forget what has had its time."""
        now = time.monotonic()
        with self._lock:
            for token in [token for token, kept in self._kept.items() if kept.until_s <= now]:
                del self._kept[token]
                logger.warning(
                    "the lease %s of %s is renewed no longer: its handler had its time; the message is "
                    "delivered again",
                    token,
                    self._box.name,
                )
            return [token for token, kept in self._kept.items() if kept.due_s <= now]

    def _renew(self, token: str) -> None:
        lane = Lane(_keys.lane(self._box, self._owner, 0), next(self._sequence))
        began = time.monotonic()
        reply = self._client.run(
            scripts.extend(
                lane,
                self._box,
                now_us=_clock.script_time(self._clock),
                token=token,
                lease_us=self._lease_us,
            )
        )
        self._failing = False
        with self._lock:
            kept = self._kept.get(token)
            if kept is None:
                return
            if reply.status is Status.LOST:
                del self._kept[token]
                logger.warning(
                    "the lease %s of %s was lost: somebody else may have the message; a longer "
                    "visibility_timeout outlasts longer outages",
                    token,
                    self._box.name,
                )
            else:
                kept.due_s = began + self._interval_s


def lease_keeper(client: Client, box: _keys.Inbox, *, lease_us: int, clock: Clock | None) -> LeaseKeeper:
    """Return a keeper with a connection of its own to a client's server; it connects at the first renewal."""
    timeout_s = min(_LONGEST_TRY_S, max(_SHORTEST_TRY_S, _clock.from_us(lease_us) / 3))
    return LeaseKeeper(BlockingClient(client, timeout_s=timeout_s), box, lease_us=lease_us, clock=clock)
