"""The synchronous connection beside an asyncio client: where it goes, as whom, and how long it waits."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import redis
import redis.asyncio as aioredis
from redis import connection
from redis.asyncio.cluster import ClusterNode as AsyncNode
from redis.asyncio.cluster import RedisCluster as AsyncCluster
from redis.asyncio.connection import AbstractConnection
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError
from redis.retry import Retry

from tta_agent_coordination._redis import blocking
from tta_agent_coordination._redis.blocking import BlockingClient
from tta_agent_coordination._redis.script import Call, Script


def read(answer: list[Any]) -> object:
    """Return the first element of an answer."""
    return answer[0]


CALL: Call[object] = Call(
    script=Script("one", "return {KEYS[1], ARGV[1]}", "0" * 40), keys=(b"key",), args=("1",), read=read
)


def made_from(client: Any, timeout_s: float = 0.7) -> redis.Redis:  # noqa: ANN401 - clients of any kind
    """Return the client that a blocking one makes at its first command."""
    made = BlockingClient(client, timeout_s=timeout_s)._make()
    assert isinstance(made, redis.Redis)
    return made


@pytest.mark.parametrize(
    ("url", "kind", "settings"),
    [
        (
            "redis://somebody:secret@localhost:6380/3?client_name=ours&socket_timeout=99&max_connections=5",
            connection.Connection,
            {"host": "localhost", "port": 6380, "db": 3, "username": "somebody", "password": "secret"},
        ),
        (
            "rediss://localhost?ssl_cert_reqs=none&ssl_check_hostname=false",
            connection.SSLConnection,
            {"host": "localhost", "ssl_cert_reqs": "none", "ssl_check_hostname": False},
        ),
        (
            "unix://:secret@/run/redis.sock?db=2",
            connection.UnixDomainSocketConnection,
            {"path": "/run/redis.sock", "db": 2, "password": "secret"},
        ),
    ],
)
def test_it_goes_where_the_client_goes_as_the_same_and_waits_as_it_is_told(
    monkeypatch: pytest.MonkeyPatch, url: str, kind: type, settings: dict[str, Any]
) -> None:
    """Broken: leases are renewed on another server, another database, as nobody, or never given up."""
    asked: list[dict[str, Any]] = []
    make_pool = redis.ConnectionPool

    def pool(**options: Any) -> redis.ConnectionPool:  # noqa: ANN401 - as redis-py
        asked.append(dict(options))
        return make_pool(**options)

    client: Any = aioredis.Redis
    given = client.from_url(url)
    monkeypatch.setattr(redis, "ConnectionPool", pool)
    assert made_from(given).connection_pool.connection_class is kind
    [options] = asked
    assert options.pop("retry") == Retry(ExponentialBackoff(cap=0.2, base=0.02), 2)
    assert {name: value for name, value in options.items() if value is not None} == settings | {
        "connection_class": kind,
        "max_connections": 1,
        "socket_timeout": 0.7,
        "socket_connect_timeout": 0.7,
    }


def test_credentials_that_a_provider_gives_are_asked_of_it() -> None:
    """Broken: a server whose passwords change is renewed at with none."""
    provider = redis.UsernamePasswordCredentialProvider("somebody", "secret")
    client = aioredis.Redis(host="localhost", credential_provider=provider)
    assert made_from(client).connection_pool.connection_kwargs["credential_provider"] is provider


def test_cluster_is_entered_at_the_same_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a cluster is entered at a node of another one, without its password, or by one node."""
    asked: list[dict[str, Any]] = []

    def cluster(**options: Any) -> str:  # noqa: ANN401 - as redis-py
        asked.append(options)
        return "a cluster"

    monkeypatch.setattr(blocking, "RedisCluster", cluster)
    nodes = [AsyncNode("localhost", 7001), AsyncNode("localhost", 7002)]
    client = AsyncCluster(startup_nodes=nodes, password="secret", client_name="ours")
    assert BlockingClient(client, timeout_s=0.7)._make() == "a cluster"
    [options] = asked
    entered = {(node.host, node.port) for node in options.pop("startup_nodes")}
    assert entered == {(node.host, node.port) for node in nodes}
    assert options.pop("retry") == Retry(ExponentialBackoff(cap=0.2, base=0.02), 2)
    assert {name: value for name, value in options.items() if value is not None} == {
        "password": "secret",
        "socket_timeout": 0.7,
        "socket_connect_timeout": 0.7,
    }


def test_embedded_server_is_shared_as_it_is() -> None:
    """Broken: a test's leases are renewed on an embedded server of their own."""
    fakeredis: Any = importlib.import_module("fakeredis")
    server = fakeredis.FakeServer()
    made = BlockingClient(fakeredis.FakeAsyncRedis(server=server, db=3), timeout_s=1)._make()
    made.set("key", "value")
    assert fakeredis.FakeRedis(server=server, db=3).get("key") == b"value"
    assert fakeredis.FakeRedis(server=server, db=0).get("key") is None


def test_connections_of_an_unknown_kind_are_refused_at_once() -> None:
    """Broken: a worker begins whose leases nobody renews."""

    class OddConnection(AbstractConnection):
        def repr_pieces(self) -> None:
            """Show nothing."""

        async def _connect(self) -> None:
            raise NotImplementedError

        def _host_error(self) -> str:
            return ""

    pool: Any = aioredis.ConnectionPool(connection_class=OddConnection)
    with pytest.raises(
        TypeError, match=r"beside a client whose connections are <class '.*OddConnection'>: use"
    ):
        BlockingClient(aioredis.Redis.from_pool(pool), timeout_s=1)


class Server:
    """A client that notes what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.options: list[dict[str, Any]] = []
        self.answers: list[object] = []
        self.closed = 0

    def execute_command(self, *parts: Any, **options: Any) -> object:  # noqa: ANN401 - as redis-py
        """Answer as it was told to."""
        self.asked.append(parts)
        self.options.append(options)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        """Note that it was closed."""
        self.closed += 1


def blocking_on(server: Server, monkeypatch: pytest.MonkeyPatch) -> tuple[BlockingClient, list[int]]:
    """A blocking client whose connection is the stand-in, and how often that was made."""
    made = BlockingClient(aioredis.Redis(host="localhost"), timeout_s=1)
    times: list[int] = []

    def make() -> Server:
        times.append(len(times))
        return server

    monkeypatch.setattr(made, "_make", make)
    return made, times


def test_script_is_one_command_on_one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: each renewal connects anew, sends the whole script, or reads bytes as text."""
    server = Server()
    client, made = blocking_on(server, monkeypatch)
    assert made == [], "a worker without messages connects to nothing"
    client.close()
    server.answers = [[b"one"], [b"two"]]
    assert [client.run(CALL), client.run(CALL)] == [b"one", b"two"]
    assert made == [0]
    assert server.asked == [("EVALSHA", "0" * 40, 1, b"key", "1")] * 2
    assert server.options == [{"NEVER_DECODE": True}] * 2
    client.close()
    assert server.closed == 1


def test_script_that_the_server_does_not_have_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a restarted server ends all renewals."""
    server = Server()
    client, _ = blocking_on(server, monkeypatch)
    server.answers = [NoScriptError("no such script"), b"digest", [b"one"]]
    assert client.run(CALL) == b"one"
    run = ("EVALSHA", "0" * 40, 1, b"key", "1")
    assert server.asked == [run, ("SCRIPT LOAD", "return {KEYS[1], ARGV[1]}"), run]
    assert server.options[2] == {"NEVER_DECODE": True}


def test_failure_is_the_clients_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: an outage is told as something else, or not at all."""
    server = Server()
    client, _ = blocking_on(server, monkeypatch)
    server.answers = [RedisConnectionError("no route")]
    with pytest.raises(RedisConnectionError, match="no route"):
        client.run(CALL)
