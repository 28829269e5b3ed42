"""What is asked of a Redis client by itself: addresses, what an error proves, a connection that blocks."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MaxConnectionsError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from tests.library.support.servers import Lane
from tta_agent_coordination._redis.client import (
    Link,
    from_url,
    is_cluster,
    is_outage,
    slot,
    was_not_done,
    without_password,
)


async def test_url_makes_a_client_of_its_server() -> None:
    """Broken: a worker talks to another server, or another database, than its URL says."""
    client: Any = from_url("redis://user:secret@127.0.0.1:6390/3")
    kwargs = client.connection_pool.connection_kwargs
    assert (kwargs["host"], kwargs["port"], kwargs["db"]) == ("127.0.0.1", 6390, 3)
    assert not is_cluster(client)
    await client.aclose()


def test_url_that_is_none_is_refused_without_its_password() -> None:
    """Broken: a password stands in a log because a character of it was not escaped."""
    with pytest.raises(ValueError, match="must specify one of the following schemes"):
        from_url("http://user:secret@127.0.0.1")
    with pytest.raises(ValueError, match=r"^the URL of the server cannot be read: .+ as %XX$") as caught:
        from_url("redis://user:se/cret@127.0.0.1:6379/0")
    assert "cret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://user:secret@host:6379/0?x=secret", "redis://host:6379/0"),
        ("redis://a@b@host/1", "redis://host/1"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock"),
        ("redis://user:sec/ret@host:6379/0", "redis://..."),
        ("redis://user:sec?ret@host:6379/0", "redis://..."),
        ("rediss://user:sec#ret@host:6379/0", "rediss://..."),
    ],
)
def test_shown_url_holds_no_password(url: str, shown: str) -> None:
    """Broken: the command's output tells a password."""
    assert without_password(url) == shown


@pytest.mark.parametrize(
    ("error", "outage"),
    [
        (OSError(), True),
        (RedisConnectionError(), True),
        (RedisTimeoutError(), True),
        (ResponseError(), False),
        (ValueError(), False),
        (None, False),
    ],
)
def test_outage_is_what_kept_the_server_from_being_reached(error: Exception | None, outage: bool) -> None:
    """Broken: a wrong command is waited for as if the server were down."""
    assert is_outage(error) is outage


def caught_from(call: Any) -> Exception:  # noqa: ANN401 - any function
    """Return what a call raises, with its traceback."""
    with pytest.raises(RedisConnectionError) as caught:
        call()
    return caught.value


def fails() -> NoReturn:
    """Fail as a connection does."""
    raise RedisConnectionError


def get_connection() -> NoReturn:
    """Fail where redis-py's pool does."""
    fails()


def test_error_proves_that_nothing_was_done_only_where_nothing_was_sent() -> None:
    """Broken: a send is reported as not done, and the message arrives; or nobody dares to try again."""
    assert was_not_done(ResponseError())
    assert was_not_done(MaxConnectionsError())
    assert was_not_done(caught_from(get_connection))
    assert not was_not_done(caught_from(fails))
    assert not was_not_done(RedisConnectionError())


def test_keys_of_one_tag_share_a_slot() -> None:
    """Broken: a script's keys are sent to two servers."""
    assert slot(b"ao:queue:{a:b}") == slot(b"ao:dlq:{a:b}") != slot(b"ao:dlq:{a:c}")
    assert 0 <= slot(b"x") < 16384


@pytest.mark.parametrize("connections", [1, 2, 4])
async def test_link_gives_back_what_it_borrowed_and_ends_what_is_its_own(
    lane: Lane, connections: int
) -> None:
    """Broken: a pool has no connection left after a few waits, or a wait leaves one open for ever."""
    client: Any = lane.client(max_connections=connections)
    for _ in range(connections + 2):
        link = await Link.open(client)
        assert await client.ping()
        await link.close()
        assert link._connection.is_connected is (connections > 1)


@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize("decode_responses", [False, True])
async def test_link_takes_markers_on_a_connection_of_its_own(
    lane: Lane, connections: int, decode_responses: bool
) -> None:
    """Broken: a wait blocks the commands of others, or keeps a connection for ever."""
    client: Any = lane.client(max_connections=connections, decode_responses=decode_responses)
    link = await Link.open(client)
    await client.zadd("b", {"marker": 1})
    assert await link.pop_marker([b"a", b"b"], 1) == b"b"
    assert await client.zcard("b") == 0
    assert await link.pop_marker([b"a", b"b"], 0.01) is None
    await link.close()
    again = await Link.open(client)
    await client.zadd("a", {"marker": 1})
    assert await again.pop_marker([b"a"], 1) == b"a"
    await again.close()
    assert await client.ping()
