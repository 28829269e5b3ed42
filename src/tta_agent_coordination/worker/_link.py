"""Owns what a worker knows of the way to the store: when to try again, and what to say of it, once."""

from __future__ import annotations

import logging
import random

__all__ = ["Link"]

logger = logging.getLogger(__name__)

_FIRST_S = 0.05
"""Wait before the second try, seconds."""
_LONGEST_S = 5.0
"""Longest wait between two tries, seconds."""


class Link:
    """Counts failures in a row, of all who use the same store."""

    def __init__(self, inbox: str) -> None:
        self._inbox = inbox
        self._failures = 0

    def failed(self, error: Exception) -> float:
        """Note a failure; return how many seconds to wait before trying again."""
        self._failures += 1
        longest = min(_LONGEST_S, _FIRST_S * 2 ** min(self._failures - 1, 16))
        if self._failures == 1:
            logger.warning(
                "the worker of %s does not reach its store (%s: %s); it goes on trying, at least every %g s",
                self._inbox,
                type(error).__name__,
                error,
                _LONGEST_S,
            )
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - guards nothing

    def well(self) -> None:
        """Note that the store answered."""
        if self._failures:
            logger.info("the worker of %s works again after %s failures", self._inbox, self._failures)
        self._failures = 0
