"""Owns the floor: what a full cycle costs with minimal scripts, prepared arguments and undecoded replies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import redis.asyncio as aioredis
from redis.client import NEVER_DECODE

SEND = "return redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])"
SEND_AND_WAKE = "redis.call('ZADD', KEYS[2], '0', '1') return redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])"
RECEIVE = """
local hit = redis.call('ZRANGE', KEYS[1], 0, 0)
if not hit[1] then return nil end
redis.call('ZREM', KEYS[1], hit[1])
redis.call('HSET', KEYS[2], ARGV[1], hit[1])
redis.call('ZADD', KEYS[3], ARGV[2], ARGV[1])
return hit[1]
"""
ACK = "redis.call('HDEL', KEYS[1], ARGV[1]) return redis.call('ZREM', KEYS[2], ARGV[1])"

RAW: dict[str, Any] = {NEVER_DECODE: True}


@dataclass(frozen=True, kw_only=True)
class Digests:
    """The floor's scripts as the server knows them."""

    send: str
    send_and_wake: str
    receive: str
    ack: str


async def load(client: aioredis.Redis) -> Digests:
    """Load the floor's scripts."""
    texts = (SEND, SEND_AND_WAKE, RECEIVE, ACK)
    send, wake, receive, ack = [_text(await client.script_load(text)) for text in texts]
    return Digests(send=send, send_and_wake=wake, receive=receive, ack=ack)


def _text(digest: bytes | str) -> str:
    return digest.decode() if isinstance(digest, bytes) else digest


class Floor:
    """The three operations, one command each."""

    def __init__(self, client: aioredis.Redis, digests: Digests, entry: bytes) -> None:
        self._client = client
        self._digests = digests
        self._entry = entry

    async def send(self, number: int, *, wake: bool = False) -> None:
        entry = b"%s%016d" % (self._entry[:-16], number)
        keys = (
            (self._digests.send_and_wake, 2, b"floor:z", b"floor:wake")
            if wake
            else (self._digests.send, 1, b"floor:z")
        )
        await self._client.execute_command("EVALSHA", *keys, number, entry, **RAW)

    async def receive(self, number: int) -> bytes:
        token = b"res_%016d" % number
        await self._client.execute_command(
            "EVALSHA", self._digests.receive, 3, b"floor:z", b"floor:h", b"floor:d", token, number, **RAW
        )
        return token

    async def ack(self, token: bytes) -> None:
        await self._client.execute_command(
            "EVALSHA", self._digests.ack, 2, b"floor:h", b"floor:d", token, **RAW
        )
