"""Owns every exception the package raises, and which of them stands for which cause of a failed delivery.

    CoordinationError
    ├── MessageCoordinatorError          an operation of the message coordinator failed
    │   ├── QueueFullError               the inbox holds `queue_size` messages
    │   ├── StoreUnavailableError        the server refused, or was never reached: nothing was done
    │   ├── OutcomeUnknownError          the connection was lost: it may have been done
    │   ├── SlotMismatchError            the keys of one operation lie in different cluster slots
    │   └── PayloadError                 the message cannot be stored
    │       ├── PayloadNotJSONError      it is not JSON, or JSON that no reader could read back
    │       └── PayloadTooLargeError     it is larger than `max_payload_bytes`
    ├── AgentRegistryError               an operation of the agent registry failed
    ├── CircuitBreakerOpenError          the breaker did not let a call through
    └── RetryExhaustedError              every attempt failed

Bad arguments are not in it: they raise `ValueError`, before anything is sent.
"""

from __future__ import annotations

from typing import ClassVar

from tta_agent_coordination.messaging import register_causes

__all__ = [
    "AgentRegistryError",
    "CircuitBreakerOpenError",
    "CoordinationError",
    "MessageCoordinatorError",
    "OutcomeUnknownError",
    "PayloadError",
    "PayloadNotJSONError",
    "PayloadTooLargeError",
    "QueueFullError",
    "RetryExhaustedError",
    "SlotMismatchError",
    "StoreUnavailableError",
]


class CoordinationError(Exception):
    """The root of all errors of this package."""


class MessageCoordinatorError(CoordinationError):
    """An operation of the message coordinator failed.

    Attributes:
        cause: The machine-readable cause, as in `MessageResult.cause`; None where there is no finer one.
    """

    cause: ClassVar[str | None] = None


class QueueFullError(MessageCoordinatorError):
    """The inbox holds `queue_size` messages; nothing was stored."""

    cause: ClassVar[str | None] = "queue full"


class StoreUnavailableError(MessageCoordinatorError):
    """The server answered with an error, or no byte reached it; nothing was done."""

    cause: ClassVar[str | None] = "store unavailable"


class OutcomeUnknownError(MessageCoordinatorError):
    """The connection failed while an operation was under way; it may or may not have been done."""

    cause: ClassVar[str | None] = "outcome unknown"


class SlotMismatchError(MessageCoordinatorError):
    """The keys of one atomic operation lie in different cluster slots; nothing was sent."""


class PayloadError(MessageCoordinatorError):
    """The message cannot be stored; nothing was sent."""


class PayloadNotJSONError(PayloadError):
    """The message is not strict JSON, or JSON that no reader could read back."""

    cause: ClassVar[str | None] = "payload not JSON"


class PayloadTooLargeError(PayloadError):
    """The payload is larger than `max_payload_bytes`."""

    cause: ClassVar[str | None] = "payload too large"


class AgentRegistryError(CoordinationError):
    """An operation of the agent registry failed."""


class CircuitBreakerOpenError(CoordinationError):
    """A circuit breaker did not let a call through.

    Attributes:
        retry_after: Seconds until the next call may be tried, None where nobody knows.
    """

    def __init__(self, message: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RetryExhaustedError(CoordinationError):
    """Every attempt of a retried call failed; the last failure is its `__cause__`."""


register_causes(
    {
        "": MessageCoordinatorError,
        "queue full": QueueFullError,
        "store unavailable": StoreUnavailableError,
        "outcome unknown": OutcomeUnknownError,
        "payload not JSON": PayloadNotJSONError,
        "payload too large": PayloadTooLargeError,
    }
)
