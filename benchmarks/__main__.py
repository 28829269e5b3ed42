"""Prints figures: `python -m benchmarks [PART ...] [--quick]`, all parts where none is named."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
from collections.abc import Awaitable, Callable
from importlib import metadata

import redis.asyncio as aioredis

from benchmarks import adoption, backlog, breaker, coalescing, cycle, memory, registry, waiting, workspace
from benchmarks.server import started_server

LIBRARIES = ("redis", "pydantic", "hiredis", "tenacity", "stamina", "pybreaker", "purgatory", "aiobreaker")


async def _cycle(port: int, *, quick: bool) -> None:
    client = aioredis.Redis(port=port)
    rounds, block, messages = (5, 100, 2_000) if quick else (25, 300, 20_000)
    try:
        print(
            "\ncycle = send + receive + ack of a 200-byte payload; floor = minimal scripts, one command each"
        )
        print(f"{'':24}{'ours':>10}{'floor':>10}{'ratio':>8}{'target':>8}")
        for audit in ("exact", "off"):
            figures = await cycle.measure(client, audit=audit, rounds=rounds, block=block)
            print(f"audit={audit}")
            _row("commands a cycle", figures.commands, 3, 1)
            _row(
                "client wall, us a cycle",
                figures.wall_us,
                figures.wall_us / figures.wall_ratio,
                1.3,
                figures.wall_ratio,
            )
            for name in cycle.OPERATIONS:
                _row(f"server CPU, us a {name}", figures.cpu_us[name], figures.floor_cpu_us[name], 2.0)
            ours, plain = await memory.bytes_per_message(client, audit=audit, messages=messages)
            _row("server bytes a message", ours, plain, 1.25 if audit == "off" else None)
    finally:
        await client.aclose()


def _row(name: str, ours: float, floor: float, target: float | None, ratio: float | None = None) -> None:
    shown = ours / floor if ratio is None else ratio
    goal = "" if target is None else f"<= {target:g}"
    print(f"  {name:22}{ours:10.1f}{floor:10.1f}{shown:8.2f}{goal:>8}")


PARTS: dict[str, Callable[..., Awaitable[None]]] = {
    "cycle": _cycle,
    "backlog": backlog.run,
    "breaker": breaker.run,
    "coalescing": coalescing.run,
    "waiting": waiting.run,
    "registry": registry.run,
    "workspace": workspace.run,
    "adoption": adoption.run,
}


async def _versions(port: int) -> str:
    client = aioredis.Redis(port=port)
    try:
        server = (await client.info("server"))["redis_version"]
    finally:
        await client.aclose()
    found = {one.name.lower(): one.version for one in metadata.distributions()}
    libraries = ", ".join(f"{name} {found[name]}" for name in LIBRARIES if name in found)
    return f"Python {platform.python_version()}, server {server}, {os.cpu_count()} cores; {libraries}"


def main() -> None:
    """Measure on servers of our own, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("what", nargs="*", choices=[*PARTS, []], help="which figures; all by default")
    parser.add_argument("--quick", action="store_true", help="fewer rounds: seconds instead of minutes")
    options = parser.parse_args()
    with started_server() as port:
        print(asyncio.run(_versions(port)))
    for name in options.what or PARTS:
        with started_server() as port:
            asyncio.run(PARTS[name](port, quick=options.quick))


if __name__ == "__main__":
    main()
