"""Prints the figures as ratios: `python -m benchmarks [--quick]`."""

from __future__ import annotations

import argparse
import asyncio

import redis.asyncio as aioredis

from benchmarks import cycle, memory
from benchmarks.server import started_server


async def _run(port: int, *, quick: bool) -> None:
    client = aioredis.Redis(port=port)
    rounds, block, messages = (5, 100, 2_000) if quick else (25, 300, 20_000)
    try:
        print(
            "cycle = send + receive + ack of a 200-byte payload; floor = minimal scripts, one command each\n"
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


def main() -> None:
    """Start a server, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: seconds instead of a minute")
    options = parser.parse_args()
    with started_server() as port:
        asyncio.run(_run(port, quick=options.quick))


if __name__ == "__main__":
    main()
