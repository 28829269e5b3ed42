"""How a script's answer is read: its status word, and texts of any bytes."""

from __future__ import annotations

import pytest

from tta_agent_coordination._redis.replies import Reply, Status, reply_of, status_of, text_of


@pytest.mark.parametrize(("value", "text"), [(b"a", "a"), (b"\xff", "\\xff"), ("a", "a"), (7, "7")])
def test_element_of_any_kind_is_a_text(value: object, text: str) -> None:
    """Broken: an id of any bytes that somebody stored stops the call that meets it."""
    assert text_of(value) == text


@pytest.mark.parametrize("status", list(Status))
def test_status_word_is_read_as_bytes_and_as_text(status: Status) -> None:
    """Broken: a client that decodes its answers is not understood."""
    assert status_of(status.value.encode()) is status
    assert status_of(status.value) is status


def test_unknown_status_word_is_named() -> None:
    """Broken: the scripts of another version are taken for an answer of ours."""
    with pytest.raises(ValueError, match="'moon' is not a valid Status"):
        status_of(b"moon")


def test_answer_of_two_elements_is_a_reply() -> None:
    """Broken: a status and what it is about change places."""
    assert reply_of([b"dead", b"00aa"]) == Reply(Status.DEAD, "00aa")
