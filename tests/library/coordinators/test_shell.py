"""The coordinator's shell: what each operation checks, and what it hands over to which part, in which order.

The parts are played; what they do has tests of its own, and what comes of it all is in the other tests here.
"""

# ruff: noqa: ANN401 - a played part takes and answers anything
from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from tests.library.support.builders import INPUT, NARRATIVE, WORLD, make_message
from tta_agent_coordination import (
    AgentId,
    AgentMessage,
    FailureType,
    InMemoryMetrics,
    MessageResult,
    MessageType,
    RedisMessageCoordinator,
    _keys,
)
from tta_agent_coordination._redis.scripts import Retry
from tta_agent_coordination.coordinators import redis_message_coordinator as shell
from tta_agent_coordination.coordinators._sending import SendOptions
from tta_agent_coordination.testing import ManualClock

type Asked = tuple[str, tuple[Any, ...], dict[str, Any]]

BOX = _keys.inbox("ao", WORLD, hash_tags=False)
OTHER = _keys.inbox("ao", NARRATIVE, hash_tags=False)
MESSAGE = make_message(message_type=MessageType.EVENT)
PARTS = ("Calls", "DeadLetters", "Discovery", "Leases", "Observer", "Sender", "Subscriptions", "Waker")
CATCH_UP: Asked = ("Subscriptions.catch_up", (), {})
RETRY = Retry(attempts=3, base_s=1.0, factor=2.0, max_s=30.0, jitter=1.0)


class Part:
    """Stands in for one part: notes what it is asked, in one list for all parts, and says that it is done."""

    def __init__(self, name: str, world: World) -> None:
        self.name = name
        self.world = world

    def __getattr__(self, name: str) -> Any:
        world, label = self.world, f"{self.name}.{name}"

        def ask(*args: Any, **named: Any) -> Any:
            world.asked.append((label, args, named))
            if label in world.failing:
                raise RuntimeError(label)
            return world.answers.get(label, f"{label} is done")

        async def ask_later(*args: Any, **named: Any) -> Any:
            return ask(*args, **named)

        self.__dict__[name] = ask if name == "subscribe" else ask_later
        return self.__dict__[name]


class World:
    """All parts of a coordinator, played."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.asked: list[Asked] = []
        self.answers: dict[str, Any] = {}
        self.failing: set[str] = set()
        self.made: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {}
        self.parts: dict[str, Part] = {}
        self.client = Part("Client", self)
        self.clustered: list[object] = []
        for name in PARTS:
            patch.setattr(shell, name, self._maker(name))
        patch.setattr(shell, "is_cluster", self.clustered.__contains__)

    def _maker(self, name: str) -> Callable[..., Part]:
        def make(*args: Any, **named: Any) -> Part:
            self.made[name] = (args, named)
            self.parts[name] = Part(name, self)
            return self.parts[name]

        return make

    def coordinator(self, *args: Any, **options: Any) -> RedisMessageCoordinator:
        """Build one."""
        return RedisMessageCoordinator(cast("Any", self.client), *args, **options)

    def run(self, operation: Callable[[RedisMessageCoordinator], Awaitable[Any]], **options: Any) -> Any:
        """Run one operation on a new coordinator."""

        async def whole() -> Any:
            return await operation(self.coordinator(**options))

        return asyncio.run(whole())


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Return the played parts."""
    return World(monkeypatch)


def test_parts_get_the_limits_that_are_documented(world: World) -> None:
    """Broken: who gives no limits gets others than the reference says."""
    coordinator = world.coordinator()
    parts = world.parts
    assert world.made == {
        "Calls": ((world.client,), {}),
        "Observer": ((coordinator,), {}),
        "Discovery": ((parts["Calls"], "ao"), {"hash_tags": False}),
        "Subscriptions": ((parts["Calls"], parts["Discovery"]), {}),
        "DeadLetters": ((parts["Calls"],), {}),
        "Sender": (
            (parts["Calls"], parts["Discovery"], parts["Observer"]),
            {
                "audit": True,
                "clock": None,
                "dedup_ms": 3_600_000,
                "max_payload_bytes": 4_194_304,
                "liveness": None,
                "prepare": parts["Subscriptions"].catch_up,
            },
        ),
        "Waker": ((parts["Calls"], "ao"), {}),
        "Leases": (
            (parts["Calls"], parts["Observer"], parts["Waker"]),
            {"audit": True, "clock": None, "max_deliveries": 10, "ageing_us": 0},
        ),
    }
    assert isinstance(coordinator.metrics, InMemoryMetrics)
    assert coordinator._redis is world.client
    assert coordinator._agent_router is None
    assert repr(coordinator) == (
        "RedisMessageCoordinator(key_prefix='ao', queue_size=10000, retry_attempts=3, audit=exact, "
        "hash_tags=False)"
    )
    assert coordinator._reserved_hash(WORLD) == "ao:reserved:world:1"


def test_parts_get_what_was_asked_for(world: World) -> None:
    """Broken: an option is taken for another one, or for none."""
    metrics, clock = InMemoryMetrics(), ManualClock(0)
    coordinator = world.coordinator(
        "tta::",
        metrics=metrics,
        clock=clock,
        liveness=str.upper,
        audit="off",
        hash_tags=True,
        dedup_ttl=0.0026,
        max_payload_bytes=1,
        max_deliveries=1,
        ageing=1.5,
        queue_size=1,
        retry_attempts=0,
    )
    assert coordinator.metrics is metrics
    assert world.made["Discovery"][0][1] == world.made["Waker"][0][1] == "tta"
    assert world.made["Discovery"][1] == {"hash_tags": True}
    sender = world.made["Sender"][1]
    assert (sender["audit"], sender["clock"], sender["liveness"]) == (False, clock, str.upper)
    assert (sender["dedup_ms"], sender["max_payload_bytes"]) == (3, 1)
    assert world.made["Leases"][1] == {
        "audit": False,
        "clock": clock,
        "max_deliveries": 1,
        "ageing_us": 1_500_000,
    }
    assert repr(coordinator) == (
        "RedisMessageCoordinator(key_prefix='tta', queue_size=1, retry_attempts=0, audit=off, hash_tags=True)"
    )
    assert coordinator._reserved_hash(WORLD) == "tta:reserved:{world:1}"


def test_idempotency_key_is_remembered_for_a_millisecond_at_least(world: World) -> None:
    """Broken: the server refuses to remember a key for no time at all, and with it the message."""
    world.coordinator(dedup_ttl=0.0001)
    assert world.made["Sender"][1]["dedup_ms"] == 1


YEAR_S = 31_536_000


@pytest.mark.parametrize(
    ("name", "bad", "good"),
    [
        ("queue_size", 0, 1),
        ("retry_attempts", -1, 0),
        ("backoff_base", -0.1, 0),
        ("backoff_factor", 0.9, 1),
        ("backoff_max", -0.1, 0),
        ("audit", "none", "exact"),
        ("max_deliveries", 0, 1),
        ("dedup_ttl", 0, 0.1),
        ("dedup_ttl", YEAR_S + 1, YEAR_S),
        ("max_payload_bytes", 0, 1),
        ("ageing", 0, 0.1),
        ("ageing", YEAR_S + 1, YEAR_S),
    ],
)
def test_constructor_names_the_option_that_is_out_of_range(
    world: World, name: str, bad: object, good: object
) -> None:
    """Broken: a limit of the reference is another one, or the message names another option."""
    with pytest.raises(ValueError, match=f"^{name} must be"):
        world.coordinator(**{name: bad})
    world.coordinator(**{name: good})


def test_cluster_needs_hash_tags(world: World) -> None:
    """Broken: the first script fails on a cluster, long after the coordinator was made."""
    world.clustered.append(world.client)
    with pytest.raises(ValueError, match=r"^a cluster client needs hash_tags=True"):
        world.coordinator()
    world.coordinator(hash_tags=True)


SEND = {"limit": 10_000}
OPERATIONS: dict[str, tuple[Callable[[RedisMessageCoordinator], Awaitable[Any]], list[Asked]]] = {
    "send": (
        lambda made: made.send_message(INPUT, WORLD, MESSAGE),
        [("Sender.send", (BOX, MESSAGE, SendOptions()), SEND)],
    ),
    "send later": (
        lambda made: made.send_message(INPUT, WORLD, MESSAGE, delay=2, expires_in=5, dedup_id="7"),
        [("Sender.send", (BOX, MESSAGE, SendOptions(2, 5, "7")), SEND)],
    ),
    "broadcast": (
        lambda made: made.broadcast_message(INPUT, MESSAGE, (NARRATIVE, WORLD)),
        [CATCH_UP, ("Sender.broadcast", ([OTHER, BOX], MESSAGE), SEND)],
    ),
    "broadcast to subscribers": (
        lambda made: made.broadcast_message(INPUT, MESSAGE),
        [
            ("Subscriptions.settle", (), {}),
            ("Discovery.subscribers", ("event",), {}),
            CATCH_UP,
            ("Sender.broadcast", ([OTHER, BOX], MESSAGE), SEND),
        ],
    ),
    "unsubscribe": (
        lambda made: made.unsubscribe(WORLD, (MessageType.EVENT,)),
        [("Subscriptions.unsubscribe", (BOX, [MessageType.EVENT]), {})],
    ),
    "unsubscribe from all": (
        lambda made: made.unsubscribe(WORLD),
        [("Subscriptions.unsubscribe", (BOX, None), {})],
    ),
    "receive": (
        lambda made: made.receive(WORLD),
        [CATCH_UP, ("Leases.receive", (BOX, 5_000_000, 0), {})],
    ),
    "receive and wait": (
        lambda made: made.receive(WORLD, 1.5, wait=2.5),
        [CATCH_UP, ("Leases.receive", (BOX, 1_500_000, 2.5), {})],
    ),
    "ack": (lambda made: made.ack(WORLD, "res_1"), [CATCH_UP, ("Leases.ack", (BOX, "res_1"), {})]),
    "ack and send": (
        lambda made: made.ack(WORLD, "res_1", then_send=[(NARRATIVE, MESSAGE)]),
        [
            CATCH_UP,
            ("Sender.ack_and_send", (BOX, "res_1", [(OTHER, MESSAGE)]), {**SEND, "one_slot": False}),
        ],
    ),
    "nack": (
        lambda made: made.nack(WORLD, "res_1"),
        [
            CATCH_UP,
            ("Leases.nack", (BOX, "res_1"), {"permanent": False, "error": None, "retry": RETRY}),
        ],
    ),
    "nack for good": (
        lambda made: made.nack(WORLD, "res_1", FailureType.PERMANENT, "why"),
        [
            CATCH_UP,
            ("Leases.nack", (BOX, "res_1"), {"permanent": True, "error": "why", "retry": RETRY}),
        ],
    ),
    "extend": (
        lambda made: made.extend(WORLD, "res_1", 1.5),
        [CATCH_UP, ("Leases.extend", (BOX, "res_1", 1_500_000), {})],
    ),
    "release": (
        lambda made: made.release(WORLD, "res_1"),
        [CATCH_UP, ("Leases.release", (BOX, "res_1"), {})],
    ),
    "recover": (
        lambda made: made.recover_pending(WORLD),
        [CATCH_UP, ("Leases.recover", ([BOX],), {})],
    ),
    "recover all": (
        lambda made: made.recover_pending(),
        [CATCH_UP, ("Discovery.inboxes", (), {}), ("Leases.recover", ([OTHER],), {})],
    ),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_goes_to_its_part_and_its_answer_comes_back(world: World, name: str) -> None:
    """Broken: an argument arrives as another one, or a subscription is overtaken by what came after it."""
    operation, asked = OPERATIONS[name]
    world.answers["Discovery.subscribers"] = [OTHER, BOX]
    world.answers["Discovery.inboxes"] = [OTHER]
    assert world.run(operation) == f"{asked[-1][0]} is done"
    assert world.asked == asked


def test_follow_ups_of_a_cluster_share_a_slot(world: World) -> None:
    """Broken: a script with keys of two slots goes to a server, which refuses it."""
    world.run(lambda made: made.ack(WORLD, "res_1", then_send=[(NARRATIVE, MESSAGE)]), hash_tags=True)
    assert world.asked[-1][2] == {**SEND, "one_slot": True}


def test_broadcast_to_nobody_sends_nothing(world: World) -> None:
    """Broken: an empty list stands for everybody."""
    assert world.run(lambda made: made.broadcast_message(INPUT, MESSAGE, [])) == []
    assert world.asked == [CATCH_UP]


class Sending(RedisMessageCoordinator):
    """A coordinator that sends in a way of its own."""

    async def send_message(
        self, sender: AgentId, recipient: AgentId, message: AgentMessage, **options: Any
    ) -> MessageResult:
        """Answer with what it was given."""
        return cast("MessageResult", (sender, recipient, message, options))


def test_broadcast_goes_through_a_send_of_the_users_own(world: World) -> None:
    """Broken: what a user's class adds to each message is missing in broadcasts, or v0's names fail."""
    names = ("world:1", "world:default", "world:player 1")
    world.answers["Discovery.subscribers"] = [_keys.inbox_of("ao", name, hash_tags=False) for name in names]
    made = Sending(cast("Any", world.client))
    results = cast("list[Any]", asyncio.run(made.broadcast_message(INPUT, MESSAGE)))
    assert [(sender, message, options) for sender, _, message, options in results] == [
        (INPUT, MESSAGE, {})
    ] * 3
    assert [(to.type, to.instance) for _, to, _, _ in results] == [
        ("world", "1"),
        ("world", None),
        ("world", "player 1"),
    ]
    assert [name for name, _, _ in world.asked] == ["Subscriptions.settle", "Discovery.subscribers"]


def test_subscription_is_recorded_at_once(world: World) -> None:
    """Broken: as in v0, nobody has to await a subscription."""
    made = world.coordinator()
    answer: object = made.subscribe_to_messages(WORLD, (MessageType.EVENT,))
    assert answer == "Subscriptions.subscribe is done"
    assert world.asked == [("Subscriptions.subscribe", (WORLD, BOX, [MessageType.EVENT]), {})]


def test_lease_keeper_renews_over_the_callers_client(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: leases are renewed elsewhere, or to another length."""
    given: list[object] = []

    def keeper(*args: object, **named: object) -> str:
        given.extend((args, named))
        return "keeper"

    monkeypatch.setattr(shell, "lease_keeper", keeper)
    clock = ManualClock(0)
    made: object = world.coordinator(clock=clock).lease_keeper(WORLD, 1.5)
    assert made == "keeper"
    assert given == [(world.client, BOX), {"lease_us": 1_500_000, "clock": clock}]


WRONG: list[tuple[Callable[[Any], Awaitable[Any]], str]] = [
    (lambda made: made.broadcast_message(INPUT, "text", []), "a message must be an AgentMessage"),
    (lambda made: made.broadcast_message(INPUT, MESSAGE, "text"), "recipients must be a list"),
    (lambda made: made.unsubscribe(WORLD, "event"), "message_types must be a list"),
    (lambda made: made.receive(WORLD, 0), "visibility_timeout must be"),
    (lambda made: made.receive(WORLD, wait=-1), "wait must be"),
    (lambda made: made.ack(WORLD, 7), "token must be"),
    (lambda made: made.ack(WORLD, "res_1", then_send="text"), "then_send must be a list"),
    (lambda made: made.nack(WORLD, 7), "token must be"),
    (lambda made: made.nack(WORLD, "res_1", "odd"), "'odd' is not a valid FailureType"),
    (lambda made: made.extend(WORLD, 7, 1), "token must be"),
    (lambda made: made.extend(WORLD, "res_1", 0), "seconds must be"),
    (lambda made: made.release(WORLD, 7), "token must be"),
    (lambda made: made.send_message(INPUT, WORLD, MESSAGE, delay=-1), "delay must be"),
    (lambda made: made.send_message(INPUT, WORLD, MESSAGE, expires_in=0), "expires_in must be"),
    (lambda made: made.send_message(INPUT, WORLD, MESSAGE, dedup_id=""), "dedup_id must be"),
]


@pytest.mark.parametrize(("operation", "said"), WRONG)
def test_argument_that_is_wrong_is_named_before_anybody_is_asked(
    world: World, operation: Callable[[Any], Awaitable[Any]], said: str
) -> None:
    """Broken: half of an operation happens, or the message names another argument."""
    with pytest.raises(ValueError, match=f"^{said}"):
        world.run(operation)
    assert world.asked == []


def test_argument_of_what_is_not_awaited_is_named(world: World) -> None:
    """Broken: a subscription to the letters of a word, or a lease that cannot be."""
    made: Any = world.coordinator()
    with pytest.raises(ValueError, match=r"^message_types must be a list"):
        made.subscribe_to_messages(WORLD, "event")
    with pytest.raises(ValueError, match=r"^visibility_timeout must be"):
        made.lease_keeper(WORLD, 0)


CHANGES: dict[str, Any] = {
    "queue_size": 1,
    "retry_attempts": 0,
    "backoff_base": 0,
    "backoff_factor": 1,
    "backoff_max": 0,
}


def limits(made: RedisMessageCoordinator) -> dict[str, object]:
    """Return the limits that hold; TTA reads and writes the attributes."""
    return {name: getattr(made, f"_{name}") for name in CHANGES}


@pytest.mark.parametrize("name", CHANGES)
def test_limit_is_changed_alone(world: World, name: str) -> None:
    """Broken: a change of one limit changes another one, or resets it."""
    before = {
        "queue_size": 7,
        "retry_attempts": 8,
        "backoff_base": 9.0,
        "backoff_factor": 10.0,
        "backoff_max": 11.0,
    }
    made = world.coordinator(**before)
    assert limits(made) == before
    made.configure(**{name: CHANGES[name]})
    assert limits(made) == {**before, name: CHANGES[name]}


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("queue_size", 0),
        ("retry_attempts", -1),
        ("backoff_base", -1),
        ("backoff_factor", 0.9),
        ("backoff_max", -1),
    ],
)
def test_limits_change_together_or_not_at_all(world: World, name: str, bad: float) -> None:
    """Broken: a configuration that was refused holds in part."""
    made = world.coordinator()
    before = limits(made)
    with pytest.raises(ValueError, match=f"^{name} must be"):
        made.configure(**CHANGES | cast("dict[str, Any]", {name: bad}))
    assert limits(made) == before
    made.configure(**CHANGES)
    assert limits(made) == CHANGES


@pytest.mark.parametrize(
    ("name", "bad"),
    [("retry_attempts", -1), ("backoff_base", -1), ("backoff_factor", 0.9), ("backoff_max", -1)],
)
def test_limit_that_was_assigned_is_checked_when_it_is_used(world: World, name: str, bad: float) -> None:
    """Broken: TTA assigns attributes; a message is retried for ever, or its script fails."""
    made = world.coordinator(**{**CHANGES, "retry_attempts": 0})
    asyncio.run(made.nack(WORLD, "res_1"))
    assert world.asked[-1][2]["retry"] == Retry(attempts=0, base_s=0, factor=1, max_s=0, jitter=1.0)
    setattr(made, f"_{name}", bad)
    with pytest.raises(ValueError, match=f"^{name} must be"):
        asyncio.run(made.nack(WORLD, "res_1"))


def test_jitter_shortens_a_backoff_to_half_at_most(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: agents that failed together come back together, or a retry comes at once."""
    bounds: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        bounds.append((low, high))
        return 0.7

    monkeypatch.setattr(random, "uniform", uniform)
    world.run(lambda made: made.nack(WORLD, "res_1"), jitter=True)
    assert world.asked[-1][2]["retry"].jitter == 0.7
    assert bounds == [(0.5, 1.0)]


SETTLED = ["Sender", "Leases", "Subscriptions", "Calls", "Waker"]
"""Who is waited for at the end: what sends may need a subscription, and all of them the calls."""


def test_end_waits_for_every_part_and_leaves_the_callers_client(world: World) -> None:
    """Broken: what was on its way is lost, or somebody else's client is closed."""

    async def whole() -> None:
        async with world.coordinator() as made:
            assert isinstance(made, RedisMessageCoordinator)
            assert world.asked == []

    asyncio.run(whole())
    assert world.asked == [(f"{name}.settle", (), {}) for name in SETTLED]


@pytest.mark.parametrize("failing", [None, *SETTLED])
def test_client_of_its_own_is_closed_whatever_fails(
    world: World, monkeypatch: pytest.MonkeyPatch, failing: str | None
) -> None:
    """Broken: a connection is left open where a part could not end."""
    urls: list[str] = []

    def from_url(url: str) -> Part:
        urls.append(url)
        return world.client

    monkeypatch.setattr(shell, "from_url", from_url)
    made = RedisMessageCoordinator.from_url("redis://there", "tta", queue_size=7)
    assert repr(made).startswith("RedisMessageCoordinator(key_prefix='tta', queue_size=7, ")
    assert urls == ["redis://there"]
    assert world.made["Calls"] == ((world.client,), {})
    world.failing = {f"{failing}.settle"}
    if failing is None:
        asyncio.run(made.aclose())
    else:
        with pytest.raises(RuntimeError, match=failing):
            asyncio.run(made.aclose())
    assert world.asked[-1] == ("Client.aclose", (), {})
    assert RedisMessageCoordinator.from_url("redis://there")._pfx == "ao"
