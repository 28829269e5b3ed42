"""Owns a synchronous connection beside an asyncio client, for a thread that no event loop can hold up.

It goes to the same server with the same credentials as the client it is made from, and shares nothing else.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import redis
from redis import connection
from redis.backoff import ExponentialBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import NoScriptError
from redis.retry import Retry

from tta_agent_coordination._redis.client import Client, Raw, is_cluster
from tta_agent_coordination._redis.script import Call

__all__ = ["BlockingClient"]

_ADDRESS = ("host", "port", "path", "db", "username", "password", "credential_provider")
"""What says where a connection goes and as whom; with what begins with `ssl_`, all that is taken over."""

_RETRIES = 2
"""How often one command is sent again; who calls tries again anyway."""


class BlockingClient:
    """Runs scripts from a thread, one at a time. Connects at the first command.

    Args:
        client: The asyncio client whose server it goes to; an embedded fakeredis is shared as it is.
        timeout_s: How long one try may wait for the server.

    Raises:
        TypeError: If the client's connections are of a kind that has no synchronous twin.
    """

    def __init__(self, client: Client, *, timeout_s: float) -> None:
        self._make = _maker(client, timeout_s)
        self._client: Any = None

    def run[T](self, call: Call[T]) -> T:
        """Run a script: one command, and two more where the server does not have it yet."""
        if self._client is None:
            self._client = self._make()
        try:
            answer: Any = self._client.execute_command(*call.command(), **Raw)
        except NoScriptError:
            self._client.execute_command("SCRIPT LOAD", call.script.text)
            answer = self._client.execute_command(*call.command(), **Raw)
        return call.read(answer)

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._client is not None:
            self._client.close()


def _maker(client: Client, timeout_s: float) -> Callable[[], Any]:
    given: Any = client
    waiting: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": Retry(ExponentialBackoff(cap=0.2, base=0.02), _RETRIES),
    }
    if is_cluster(client):
        nodes = [ClusterNode(node.host, node.port) for node in given.nodes_manager.startup_nodes.values()]
        return partial(RedisCluster, startup_nodes=nodes, **_taken(given.connection_kwargs), **waiting)
    pool = given.connection_pool
    settings: dict[str, Any] = pool.connection_kwargs
    if "server" in settings:
        fakeredis: Any = importlib.import_module("fakeredis")
        return partial(fakeredis.FakeRedis, server=settings["server"], db=settings["db"])
    kind: Any = getattr(connection, pool.connection_class.__name__, None)
    if kind is None:
        raise TypeError(
            f"leases cannot be renewed beside a client whose connections are {pool.connection_class!r}: use "
            "redis.asyncio.Redis with its own connection classes, or RedisMessageCoordinator.from_url"
        )
    own = redis.ConnectionPool(connection_class=kind, max_connections=1, **_taken(settings), **waiting)
    return partial(redis.Redis.from_pool, own)


def _taken(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name in _ADDRESS or name.startswith("ssl_")}
