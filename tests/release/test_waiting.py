"""Waiting for an index: progress, patience with a lag, no patience with a lie."""

import io
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from rich.console import Console

from release.indexes import INDEXES, IndexName
from release.model import Kind, Problem, Refused
from release.simple import Listed, Listing, Standing
from release.waiting import BUDGET_S, wait_until_listed
from tests.release.build_support import rules
from tests.release.index_support import artifact

INDEX = INDEXES[IndexName.TESTPYPI]
ARTIFACTS = [artifact("demo-1.0-py3-none-any.whl", b"wheel"), artifact("demo-1.0.tar.gz", b"sdist")]
LISTED = [
    Listed(
        name=each.name,
        url=f"https://example.org/{each.name}",
        sha256=each.sha256,
        size=each.size,
        yanked=None,
        metadata_sha256=None,
        provenance=None,
    )
    for each in ARTIFACTS
]
DOWN = Refused(Problem(rule="index.up", where="there", what="answers 503", remedy="later"), kind=Kind.NOT_YET)
BROKEN = Refused(Problem(rule="index.simple-api", where="there", what="garbage", remedy="look"))


class Waiter:
    """Answers one after the other, the last for ever; time passes only in `sleep`."""

    def __init__(self, answers: Sequence[int | Refused]) -> None:
        self.answers = list(answers)
        self.now = 1000.0
        self.slept: list[float] = []
        self.file = io.StringIO()

    def ask(self) -> Listing:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Refused):
            raise answer
        return Listing(project="demo", files=LISTED[:answer])

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def wait(self, ask: Callable[[], Listing] | None = None) -> Standing:
        console = Console(file=self.file, soft_wrap=True, highlight=False, markup=False)
        return wait_until_listed(
            INDEX, ARTIFACTS, ask or self.ask, console, clock=lambda: self.now, sleep=self.sleep
        )


def test_what_is_listed_already_is_not_waited_for() -> None:
    """No pause where none is needed."""
    waiter = Waiter([2])
    assert [file.name for file in waiter.wait().present] == [each.name for each in ARTIFACTS]
    assert waiter.slept == []


def test_a_lag_is_waited_out_with_growing_pauses_and_visible_progress() -> None:
    """A person sees that something happens, and the index is not hammered."""
    waiter = Waiter([0, 1, DOWN, 1, 0, 0, 0, 2])
    waiter.wait()
    assert waiter.slept == [1, 2, 4, 8, 15, 30, 30]
    said = waiter.file.getvalue().splitlines()
    assert said[0] == "  testpypi lists 0 of 2 files; asked 1 times in 0 s, again in 1 s"
    assert said[1] == "  testpypi lists 1 of 2 files; asked 2 times in 1 s, again in 2 s"
    assert said[2] == "  testpypi is down; asked 3 times in 3 s, again in 4 s"
    assert len(said) == len(waiter.slept)


@pytest.mark.parametrize(("answer", "rule"), [(1, "index.visible"), (DOWN, "index.up")])
def test_after_half_an_hour_it_is_not_yet(answer: int | Refused, rule: str) -> None:
    """The same command again goes on; nothing has failed."""
    waiter = Waiter([answer])
    with pytest.raises(Refused) as caught:
        waiter.wait()
    assert caught.value.kind is Kind.NOT_YET
    assert rules(caught.value.problems) == [rule]
    said = caught.value.problems[0].what
    assert said == ("is not listed after 30 minutes" if rule == "index.visible" else "answers 503")
    assert sum(waiter.slept) == BUDGET_S, "the time that is promised is used to its end"


def test_a_broken_index_is_not_waited_for() -> None:
    """Garbage does not get better."""
    waiter = Waiter([0, BROKEN])
    with pytest.raises(Refused) as caught:
        waiter.wait()
    assert caught.value is BROKEN
    assert waiter.slept == [1]


def test_other_bytes_are_not_waited_for() -> None:
    """Another file holds the name: refused at once, even while the second file is late."""
    waiter = Waiter([0])
    swapped = Listing(project="demo", files=[replace(LISTED[0], sha256="0" * 64)])
    with pytest.raises(Refused) as caught:
        waiter.wait(lambda: swapped)
    assert caught.value.kind is Kind.REFUSED
    assert rules(caught.value.problems) == ["index.digest"]
    assert waiter.slept == []
