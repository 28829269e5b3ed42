"""What reserving, settling and reclaiming ask of the store, and make of its answers: on a stand-in for it.

What the scripts do is in `test_receiving.py`, `test_settling.py` and `test_recovery.py`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

import pytest

from tests.library.conftest import START_US
from tests.library.support.boxes import BOX, LANE, OTHER
from tests.library.support.builders import id_of, make_message
from tests.library.support.virtual import in_virtual_time
from tta_agent_coordination import _codec, _keys
from tta_agent_coordination._redis import scripts
from tta_agent_coordination._redis.registry_scripts import Returned
from tta_agent_coordination._redis.script import Call
from tta_agent_coordination._redis.scripts import (
    LEASES_A_SCRIPT,
    Exchanged,
    Lane,
    Nacked,
    Reclaimed,
    Reply,
    Reserved,
    Retry,
    Status,
)
from tta_agent_coordination.coordinators._calls import Calls
from tta_agent_coordination.coordinators._leases import A_PAGE, Leases
from tta_agent_coordination.coordinators._observer import Observer
from tta_agent_coordination.coordinators._waking import Waker
from tta_agent_coordination.exceptions import OutcomeUnknownError, StoreUnavailableError
from tta_agent_coordination.testing import ManualClock

NOW = str(START_US)
LEASE_US = 5_000_000
RETRY = Retry(attempts=3, base_s=1.0, factor=2.0, max_s=30.0, jitter=1.0)


def entry(number: int) -> bytes:
    """A message as it is stored."""
    text, _ = _codec.encode_message(make_message(f"message-{number}"))
    return _codec.encode_entry(
        text, priority=5, enqueued_at="2023-11-14T22:13:20+00:00", nonce=f"{number:04x}"
    )


def reserved(number: int, text: bytes | None = None) -> Reserved:
    """A message under a lease."""
    return Reserved(
        status=Status.OK,
        token=f"res_{number}",
        entry=entry(number) if text is None else text,
        deadline_us=START_US + LEASE_US,
        deliveries=number + 1,
        dead=number,
    )


class Store:
    """Notes each script, and answers in turn with what it was told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[_keys.Inbox, Call[Any]]] = []
        self.undos: list[tuple[Call[Any], ...]] = []
        self.undone: list[tuple[_keys.Inbox, tuple[Call[Any], ...]]] = []
        self.answers: deque[object] = deque()
        self.told: list[tuple[object, ...]] = []
        self.leases = Leases(
            cast("Calls", self),
            cast("Observer", self),
            cast("Waker", None),
            audit=True,
            clock=ManualClock(START_US),
            max_deliveries=7,
            ageing_us=11,
        )
        self.leases.owners[BOX.name] = lambda: 3

    async def run(
        self,
        box: _keys.Inbox,
        build: Callable[[Lane], Call[Any]],
        *,
        undo: Sequence[Callable[[Lane], Any]] = (),
    ) -> object:
        """As `Calls.run`."""
        assert box in (BOX, OTHER), "the lane of no inbox"
        self.asked.append((box, build(LANE)))
        self.undos.append(tuple(each(LANE) for each in undo))
        answer = self.answers.popleft()
        await asyncio.sleep(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def run_many(self, work: Sequence[tuple[_keys.Inbox, Callable[[Lane], Call[Any]]]]) -> list[object]:
        """As `Calls.run_many`."""
        self.asked += [(box, build(LANE)) for box, build in work]
        return [self.answers.popleft() for _ in work]

    def undo(self, box: _keys.Inbox, undo: Sequence[Callable[[Lane], Call[Any]]]) -> None:
        """As `Calls.undo`."""
        self.undone.append((box, tuple(each(LANE) for each in undo)))

    def reclaimed(self, inbox: str, dead: int) -> None:
        """As `Observer.reclaimed`."""
        self.told.append(("reclaimed", inbox, dead))

    def died(self, inbox: str, text: bytes, attempts: int, error: object) -> None:
        """As `Observer.died`."""
        self.told.append(("died", inbox, text, attempts, str(error)))

    def retried(self, delay_s: float) -> None:
        """As `Observer.retried`."""
        self.told.append(("retried", delay_s))

    def recovered(self, messages: Mapping[str, int]) -> None:
        """As `Observer.recovered`."""
        self.told.append(("recovered", dict(messages)))

    def scripts(self, since: int = 0) -> list[tuple[str, tuple[bytes, ...], tuple[Any, ...]]]:
        """The scripts that were asked for, with what they got."""
        return [parts(call) for _, call in self.asked[since:]]

    def tokens(self, which: int) -> list[str]:
        """The tokens that one exchange made up."""
        _, _, args = self.scripts()[which]
        return [str(each) for each in args[9 + int(args[7]) :]]


def parts(call: Call[Any]) -> tuple[str, tuple[bytes, ...], tuple[Any, ...]]:
    """What a script is and what it gets."""
    return call.script.name, call.keys, call.args


def release(token: str) -> tuple[str, tuple[bytes, ...], tuple[Any, ...]]:
    """What gives a reservation back."""
    return parts(scripts.release(LANE, BOX, now_us=NOW, audit=True, token=token))


def bury(token: str, text: bytes) -> tuple[str, tuple[bytes, ...], tuple[Any, ...]]:
    """What makes a dead letter of what cannot be read."""
    none = Retry(attempts=0, base_s=0.0, factor=1.0, max_s=0.0, jitter=1.0)
    call = scripts.nack(
        LANE,
        BOX,
        now_us=NOW,
        audit=True,
        token=token,
        error="null",
        dead_cause="undecodable",
        retry=none,
        expected=text,
    )
    return parts(call)


def exchange(ended: Sequence[str], tokens: Sequence[str], lease_us: int = LEASE_US, waiting: int = 0) -> Any:  # noqa: ANN401 - name, keys and arguments
    """What ends and takes in one step."""
    call = scripts.exchange(
        LANE,
        BOX,
        now_us=NOW,
        audit=True,
        max_deliveries=7,
        lease_us=lease_us,
        ageing_us=11,
        waiting=waiting,
        ended=ended,
        tokens=tokens,
        owner="3",
    )
    return parts(call)


def run(main: Callable[[Store], Awaitable[None]]) -> Store:
    """Run a test; every answer has to be used."""

    async def whole(_: object) -> Store:
        store = Store()
        await main(store)
        assert not store.answers
        return store

    return in_virtual_time(whole)


def test_receive_reserves_for_this_agent_and_says_what_it_got() -> None:
    """Broken: a lease of another length, for another owner, or a delivery that is counted wrongly."""

    async def main(store: Store) -> None:
        store.answers.append(reserved(2))
        received = await store.leases.receive(BOX, LEASE_US)
        assert received is not None
        assert (id_of(received), received.token, received.deliveries) == ("message-2", "res_2", 3)
        assert received.visibility_deadline == "2023-11-14T22:13:25+00:00"
        name, keys, args = store.scripts()[0]
        token = str(args[4])
        call = scripts.reserve(
            LANE,
            BOX,
            now_us=NOW,
            audit=True,
            max_deliveries=7,
            token=token,
            lease_us=LEASE_US,
            ageing_us=11,
            waiting=0,
            owner="3",
        )
        assert (name, keys, args) == parts(call)
        assert len(token) == len("res_") + 16

    store = run(main)
    assert [box for box, _ in store.asked] == [BOX]
    assert store.told == [("reclaimed", "world:1", 2)]


def test_receive_goes_on_where_the_scripts_share_of_work_was_done() -> None:
    """Broken: behind many expired messages a good one is not found, and the inbox looks empty."""

    async def main(store: Store) -> None:
        again = Reserved(status=Status.AGAIN, dead=50)
        store.answers.extend([again, again, reserved(1)])
        assert id_of(await store.leases.receive(BOX, LEASE_US)) == "message-1"
        tokens = [args[4] for _, _, args in store.scripts()]
        assert len(set(tokens)) == 3, "each try has a token of its own"

    assert run(main).told == [("reclaimed", "world:1", dead) for dead in (50, 50, 1)]


def test_receive_buries_what_cannot_be_read_and_goes_on() -> None:
    """Broken: one damaged entry stops an inbox, or is delivered for ever."""

    async def main(store: Store) -> None:
        buried = Nacked(status=Status.DEAD, entry=b"{")
        store.answers.extend(
            [reserved(0, b"{"), buried, reserved(0, b"["), Nacked(status=Status.LOST), reserved(1)]
        )
        assert id_of(await store.leases.receive(BOX, LEASE_US)) == "message-1"
        asked = store.scripts()
        assert asked[1] == bury(str(asked[0][2][4]), b"{")
        assert asked[3] == bury(str(asked[2][2][4]), b"[")

    [died] = [told for told in run(main).told if told[0] == "died"]
    assert died[1:4] == ("world:1", b"{", 0)
    assert str(died[4]).startswith("undecodable entry: ")
    assert str(died[4]) != "undecodable entry: None"


def test_batch_is_taken_in_pages_until_there_is_enough() -> None:
    """Broken: one script blocks the server for a whole batch, or more is taken than was asked for."""

    async def main(store: Store) -> None:
        pages = [range(A_PAGE), range(A_PAGE, 2 * A_PAGE), range(2 * A_PAGE, 2 * A_PAGE + 30)]
        for page in pages:
            taken = tuple(reserved(number) for number in page)
            store.answers.append(Exchanged(status=Status.OK, taken=taken, dead=len(page)))
        received = await store.leases.receive_many(BOX, 230, LEASE_US)
        assert [id_of(one) for one in received] == [f"message-{number}" for number in range(230)]
        for which, size in enumerate((100, 100, 30)):
            tokens = store.tokens(which)
            assert len(set(tokens)) == size
            assert store.scripts()[which] == exchange([], tokens)
            assert [parts(call) for call in store.undos[which]] == [release(token) for token in tokens]

    store = run(main)
    assert store.told == [("reclaimed", "world:1", dead) for dead in (100, 100, 30)]
    assert A_PAGE == 100


def test_batch_ends_where_nothing_more_is_due_and_goes_on_behind_a_share_of_work() -> None:
    """Broken: a batch asks again and again for what is not there, or misses what is behind the expired."""

    async def main(store: Store) -> None:
        store.answers.extend(
            [
                Exchanged(status=Status.AGAIN, taken=(reserved(1),)),
                Exchanged(status=Status.OK, taken=(reserved(2),)),
            ]
        )
        received = await store.leases.receive_many(BOX, 5, LEASE_US)
        assert [id_of(one) for one in received] == ["message-1", "message-2"]
        assert [len(store.tokens(which)) for which in (0, 1)] == [5, 4]
        store.answers.append(Exchanged(status=Status.OK))
        assert await store.leases.receive_many(BOX, 5, LEASE_US) == []
        assert await store.leases.receive_many(BOX, 0, LEASE_US) == []

    run(main)


def test_batch_buries_what_cannot_be_read_behind_what_can() -> None:
    """Broken: an entry that cannot be read takes the messages beside it along, or the rest of the batch."""

    async def main(store: Store) -> None:
        bad = Reserved(status=Status.OK, token="res_bad", entry=b"{", deadline_us=1, deliveries=1)
        store.answers.extend(
            [
                Exchanged(status=Status.OK, taken=(bad, reserved(1))),
                Nacked(status=Status.DEAD, entry=b"{"),
                Exchanged(status=Status.OK, taken=(reserved(2),)),
            ]
        )
        received = await store.leases.receive_many(BOX, 2, LEASE_US)
        assert [id_of(one) for one in received] == ["message-1", "message-2"]
        assert store.scripts()[1] == bury("res_bad", b"{")
        assert len(store.tokens(2)) == 1

    died = [told for told in run(main).told if told[0] == "died"]
    assert [told[1:4] for told in died] == [("world:1", b"{", 0)]
    assert died[0][4] != "undecodable entry: None"


def test_messages_are_ended_in_pages_and_the_last_one_takes() -> None:
    """Broken: a message is taken before those that were done are ended, or an end is told of another one."""

    async def main(store: Store) -> None:
        ended = [f"res_{number}" for number in range(230)]
        first = tuple(number % 2 == 0 for number in range(100))
        store.answers.extend(
            [
                Exchanged(status=Status.OK, held=first),
                Exchanged(status=Status.AGAIN, held=(True,) * 100),
                Exchanged(status=Status.OK, held=(True,) * 30, taken=(reserved(1),)),
            ]
        )
        held, received = await store.leases.ack_and_receive(BOX, ended, 1, LEASE_US)
        assert held == [*first, *(True,) * 130]
        assert [id_of(one) for one in received] == ["message-1"]
        assert store.scripts()[:2] == [exchange(ended[:100], []), exchange(ended[100:200], [])]
        assert store.scripts()[2] == exchange(ended[200:], store.tokens(2))
        assert len(store.tokens(2)) == 1
        store.answers.append(Exchanged(status=Status.OK, held=(False,)))
        assert await store.leases.ack_and_receive(BOX, ["res_9"], 0, LEASE_US) == ([False], [])

    run(main)


def test_page_that_fails_leaves_what_was_taken_before_it() -> None:
    """Broken: messages that were taken hang under leases that nobody knows of."""

    async def main(store: Store) -> None:
        full = Exchanged(status=Status.OK, taken=tuple(reserved(number) for number in range(100)))
        store.answers.extend([full, OutcomeUnknownError("gone")])
        assert len(await store.leases.receive_many(BOX, 101, LEASE_US)) == 100
        store.answers.append(OutcomeUnknownError("gone"))
        with pytest.raises(OutcomeUnknownError, match="gone"):
            await store.leases.receive_many(BOX, 101, LEASE_US)
        store.answers.extend([full, asyncio.CancelledError()])
        with pytest.raises(asyncio.CancelledError):
            await store.leases.receive_many(BOX, 101, LEASE_US)
        [(box, undone)] = store.undone
        assert box is BOX
        assert [parts(call) for call in undone] == [release(f"res_{number}") for number in range(100)]

    run(main)


def test_lone_ack_is_one_small_script() -> None:
    """Broken: ending one message costs what ending a hundred does."""

    async def main(store: Store) -> None:
        store.answers.extend([Reply(Status.OK, ""), Reply(Status.LOST, "")])
        assert await store.leases.ack(BOX, "res_1") is True
        assert await store.leases.ack(BOX, "res_1") is False
        call = scripts.ack(LANE, BOX, now_us="", audit=True, token="res_1")
        assert store.scripts() == [parts(call)] * 2

    run(main)


def test_acks_that_come_meanwhile_share_a_script_and_each_hears_of_its_own() -> None:
    """Broken: an ack is told of another one's lease, or a second ack of one token is true as well."""

    async def main(store: Store) -> None:
        store.answers.extend(
            [Reply(Status.OK, ""), Exchanged(status=Status.OK, held=(True, False, True, True))]
        )
        tokens = ["res_0", "res_1", "res_2", "res_3", "res_3"]
        calls = [asyncio.create_task(store.leases.ack(BOX, token)) for token in tokens]
        await asyncio.sleep(0)
        await store.leases.settle()
        await asyncio.sleep(0)
        assert all(call.done() for call in calls), "settling waits for who shares a script"
        assert [call.result() for call in calls] == [True, True, False, True, False]
        assert store.scripts()[1] == exchange(tokens[1:], [], lease_us=0)

    run(main)


def test_acks_that_fail_together_raise_an_error_each() -> None:
    """Broken: one error is raised in many tasks, and each adds its trace to that of the others."""

    async def main(store: Store) -> None:
        cause = OSError("reset")
        error = OutcomeUnknownError("gone")
        error.__cause__ = cause
        store.answers.extend([StoreUnavailableError("away"), error])
        calls = [store.leases.ack(BOX, f"res_{number}") for number in range(3)]
        lone, *together = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(lone, StoreUnavailableError)
        assert str(lone) == "away"
        for each in together:
            assert isinstance(each, OutcomeUnknownError)
            assert each is not error
            assert str(each) == "gone"
            assert each.__cause__ is cause
        assert together[0] is not together[1]

    run(main)


def test_token_that_cannot_be_sent_fails_alone() -> None:
    """Broken: one caller's mistake fails the acks of others."""

    async def main(store: Store) -> None:
        with pytest.raises(UnicodeEncodeError):
            await store.leases.ack(BOX, "\ud800")

    assert run(main).asked == []


def test_acks_of_large_tokens_do_not_add_up() -> None:
    """Broken: tokens of any length make a script of any length."""

    async def main(store: Store) -> None:
        large = ["a" * 600_000, "b" * 600_000]
        store.answers.extend([Reply(Status.OK, "")] * 3)
        assert all(await asyncio.gather(*(store.leases.ack(BOX, token) for token in ["res_1", *large])))
        assert [name for name, _, _ in store.scripts()] == ["ack"] * 3

    run(main)


@pytest.mark.parametrize(("status", "held"), [(Status.OK, True), (Status.LOST, False)])
def test_release_and_extend_say_whether_the_lease_was_held(status: Status, held: bool) -> None:
    """Broken: a lease that is gone counts as held."""

    async def main(store: Store) -> None:
        store.answers.extend([Reply(status, ""), Reply(status, "")])
        assert await store.leases.release(BOX, "res_1") is held
        assert await store.leases.extend(BOX, "res_1", 9) is held
        extend = scripts.extend(LANE, BOX, now_us=NOW, token="res_1", lease_us=9)
        assert store.scripts() == [release("res_1"), parts(extend)]

    run(main)


def nack(error: str, cause: str, **how: Any) -> tuple[str, tuple[bytes, ...], tuple[Any, ...]]:  # noqa: ANN401 - as `scripts.nack`
    """What gives a reservation back as failed."""
    call = scripts.nack(
        LANE, BOX, now_us=NOW, audit=True, token="res_1", error=error, dead_cause=cause, retry=RETRY, **how
    )
    return parts(call)


@pytest.mark.parametrize(
    ("answer", "told", "held"),
    [
        (Nacked(status=Status.RETRIED, delay_us=1_500_000), ("retried", 1.5), True),
        (
            Nacked(status=Status.DEAD, attempts=3, entry=b"text"),
            ("died", "world:1", b"text", 3, "a fault"),
            True,
        ),
        (Nacked(status=Status.LOST), None, False),
    ],
)
def test_failed_message_is_told_as_what_became_of_it(
    answer: Nacked, told: tuple[object, ...] | None, held: bool
) -> None:
    """Broken: a dead letter counts as a retry, or a lease that is gone as held."""

    async def main(store: Store) -> None:
        for permanent in (False, True):
            store.answers.append(answer)
            done = await store.leases.nack(BOX, "res_1", permanent=permanent, error="a fault", retry=RETRY)
            assert done is held
        assert store.scripts() == [nack('"a fault"', ""), nack('"a fault"', "permanent")]

    assert run(main).told == ([told] * 2 if told else [])


def test_entry_that_the_script_cannot_change_is_changed_here_until_it_stays_the_same() -> None:
    """Broken: a failure of a message that a v0 process wrote is not counted, or overwrites what changed."""

    async def main(store: Store) -> None:
        unknown = [Nacked(status=Status.UNKNOWN_TAIL, entry=entry(number)) for number in (1, 2)]
        store.answers.extend([*unknown, Nacked(status=Status.RETRIED, delay_us=1)])
        assert await store.leases.nack(BOX, "res_1", permanent=False, error="a fault", retry=RETRY) is True
        first, second, third = store.scripts()
        assert first == nack('"a fault"', "")
        for asked, was in ((second, entry(1)), (third, entry(2))):
            changed = _codec.fail(was, "a fault")
            assert changed is not None
            attempts, replacement = changed
            assert asked == nack('"a fault"', "", expected=was, replacement=replacement, attempts=attempts)

    assert run(main).told == [("retried", 1e-6)]


def test_failed_entry_that_cannot_be_read_is_buried() -> None:
    """Broken: what nobody can read is given back for ever, or counts as given back."""

    async def main(store: Store) -> None:
        store.answers.extend(
            [Nacked(status=Status.UNKNOWN_TAIL, entry=b"{"), Nacked(status=Status.DEAD, entry=b"{")]
        )
        assert await store.leases.nack(BOX, "res_1", permanent=False, error="a fault", retry=RETRY) is False
        assert store.scripts()[1] == bury("res_1", b"{")

    assert run(main).told == [("died", "world:1", b"{", 0, "undecodable entry: not a message")]


def test_leases_of_a_dead_registration_go_back_page_by_page() -> None:
    """Broken: some leases of a dead agent stay, or those of its successor go back with them."""

    async def main(store: Store) -> None:
        store.answers.extend(
            [
                Returned(Status.OK, requeued=3, dead=1, following=100),
                Returned(Status.OK, requeued=4, dead=0, following=0),
                Returned(Status.OK, requeued=2, dead=2, following=-1),
            ]
        )
        assert await store.leases.return_owned(BOX, 7) == 9
        assert {name for name, _, _ in store.scripts()} == {"registry_return"}
        like = scripts.reclaim(LANE, BOX, now_us=NOW, audit=True, max_deliveries=7)
        assert [(keys, args) for _, keys, args in store.scripts()] == [
            (like.keys, (*like.args, 7, start)) for start in (0, 100, 0)
        ]

    assert run(main).told == [
        ("reclaimed", "world:1", 1),
        ("reclaimed", "world:1", 0),
        ("reclaimed", "world:1", 2),
        ("recovered", {"world:1": 9}),
    ]


def test_expired_leases_go_back_until_a_page_is_not_full() -> None:
    """Broken: leases behind the first hundred stay where they are."""

    async def main(store: Store) -> None:
        full = LEASES_A_SCRIPT
        store.answers.extend(
            [
                Reclaimed(Status.OK, full - 1, 1, full),
                Reclaimed(Status.OK, 2, 0, 2),
                Reclaimed(Status.OK, 5, 0, full - 1),
            ]
        )
        assert await store.leases.recover([BOX, OTHER]) == full + 6
        asked = [box for box, _ in store.asked]
        assert asked == [BOX, OTHER, BOX]
        call = scripts.reclaim(LANE, BOX, now_us=NOW, audit=True, max_deliveries=7)
        assert store.scripts()[0] == parts(call)
        assert await store.leases.recover([]) == 0

    assert run(main).told == [
        ("reclaimed", "world:1", 1),
        ("reclaimed", "narrative:1", 0),
        ("reclaimed", "world:1", 0),
        ("recovered", {"world:1": LEASES_A_SCRIPT + 4, "narrative:1": 2}),
        ("recovered", {}),
    ]


def test_failure_at_one_inbox_is_raised_behind_the_others() -> None:
    """Broken: one damaged inbox keeps the messages of all behind it, or its error is lost."""

    async def main(store: Store) -> None:
        failure = StoreUnavailableError("WRONGTYPE")
        store.answers.extend([failure, Reclaimed(Status.OK, 2, 0, 2)])
        with pytest.raises(StoreUnavailableError, match="WRONGTYPE"):
            await store.leases.recover([BOX, OTHER])

    assert run(main).told == [("reclaimed", "narrative:1", 0), ("recovered", {"narrative:1": 2})]
