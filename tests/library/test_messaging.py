"""Results, received messages and subscriptions, without any Redis."""

from __future__ import annotations

import asyncio

import pytest

from tests.library.support.builders import WORLD, make_message
from tta_agent_coordination import (
    FailureType,
    MessageCoordinatorError,
    MessageResult,
    MessageSubscription,
    QueueMessage,
    ReceivedMessage,
)
from tta_agent_coordination import exceptions as errors

LEAVES: list[tuple[str, type[MessageCoordinatorError]]] = [
    ("queue full", errors.QueueFullError),
    ("store unavailable", errors.StoreUnavailableError),
    ("outcome unknown", errors.OutcomeUnknownError),
    ("payload not JSON", errors.PayloadNotJSONError),
    ("payload too large", errors.PayloadTooLargeError),
]


@pytest.mark.parametrize(("cause", "leaf"), LEAVES, ids=[cause for cause, _ in LEAVES])
def test_result_raises_the_leaf_of_its_cause(cause: str, leaf: type[MessageCoordinatorError]) -> None:
    """Broken: each machine-readable cause has its own exception, and the exception knows the cause."""
    result = MessageResult(message_id="message-1", delivered=False, error="what happened", cause=cause)
    with pytest.raises(leaf, match="what happened") as caught:
        result.raise_for_error()
    assert caught.value.cause == cause


def test_result_raises_for_an_unknown_cause() -> None:
    """Broken: a result made by somebody else, without a cause, still raises."""
    with pytest.raises(MessageCoordinatorError, match="v0 said no"):
        MessageResult(message_id="message-1", delivered=False, error="v0 said no").raise_for_error()
    for cause in (None, "of another version"):
        with pytest.raises(
            MessageCoordinatorError, match=cause or "^the message was not delivered$"
        ) as caught:
            MessageResult(message_id="message-1", delivered=False, cause=cause).raise_for_error()
        assert type(caught.value) is MessageCoordinatorError
        assert caught.value.__cause__ is None


def test_result_keeps_the_error_that_led_to_it() -> None:
    """Broken: nobody sees why the store was unavailable."""
    origin = OSError("no route")
    result = MessageResult(message_id="message-1", delivered=False, cause="store unavailable")
    assert result.caused_by(origin) is result
    with pytest.raises(errors.StoreUnavailableError) as caught:
        result.raise_for_error()
    assert caught.value.__cause__ is origin


def test_awaiting_a_subscription_waits_until_it_is_stored() -> None:
    """Broken: a subscriber goes on before the store knows of it, or never hears that it failed."""
    subscription = MessageSubscription(subscription_id="sub_1", agent_id=WORLD, message_types=[])
    stored: list[str] = []

    async def store() -> None:
        stored.append("sub_1")

    async def wait() -> MessageSubscription:
        return await subscription.stored_by(store)

    assert asyncio.run(wait()) is subscription
    assert stored == ["sub_1"]


def test_result_of_a_delivered_message_raises_nothing() -> None:
    """Broken: delivered is delivered, a duplicate too."""
    MessageResult(message_id="message-1", delivered=True).raise_for_error()
    MessageResult(message_id="message-1", delivered=True, cause="duplicate").raise_for_error()


def test_result_keeps_v0_fields_first() -> None:
    """Broken: new fields come at the end, never in between."""
    assert list(MessageResult.model_fields)[:3] == ["message_id", "delivered", "error"]
    assert list(QueueMessage.model_fields)[:5] == [
        "message",
        "priority",
        "enqueued_at",
        "delivery_attempts",
        "last_error",
    ]
    assert list(ReceivedMessage.model_fields)[:3] == ["token", "queue_message", "visibility_deadline"]
    assert list(MessageSubscription.model_fields)[:3] == ["subscription_id", "agent_id", "message_types"]


def test_models_can_be_built_the_way_v0_does() -> None:
    """Broken: TTA's tests build these objects themselves."""
    queued = QueueMessage(message=make_message(), enqueued_at="2020-01-01T00:00:00Z")
    assert (queued.delivery_attempts, queued.last_error) == (0, None)
    received = ReceivedMessage(
        token="res_1", queue_message=queued, visibility_deadline="2020-01-01T00:00:05Z"
    )
    assert received.queue_message.message.message_id == "message-1"


def test_failure_types_have_v0_values() -> None:
    """Broken: TTA passes and stores these."""
    assert [failure.value for failure in FailureType] == ["transient", "permanent", "timeout"]


def test_subscription_of_somebody_else_can_be_awaited() -> None:
    """Broken: awaiting a subscription that nobody has to store returns it."""
    subscription = MessageSubscription(subscription_id="sub_1", agent_id=WORLD, message_types=[])

    async def wait() -> MessageSubscription:
        return await subscription

    assert asyncio.run(wait()) is subscription
