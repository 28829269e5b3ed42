"""Owns what a circuit breaker and a retry cost: `python -m benchmarks breaker [--quick]`.

Three tables: nanoseconds of a closed call over the bare await, beside pybreaker, purgatory, aiobreaker and a
bare try; the time from a trip in one process to the rejection in another; a retry without a failure beside
stamina and tenacity. A peer that is not installed, or does not work on this Python, has a line that says so.
"""

# ruff: noqa: ANN401 - peers are imported where they are installed

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import logging
import platform
import statistics
import subprocess
import sys
import time
import types
from collections.abc import Awaitable, Callable
from typing import Any

import redis.asyncio as aioredis

from tta_agent_coordination import (
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitBreakerOpenError,
    RetryConfig,
    retry_with_backoff,
)

type Once = Callable[[], Awaitable[Any]]

CONFIG = CircuitBreakerConfig(failure_threshold=1, timeout_seconds=600)
PAUSE_S = 0.002
"""The other process calls this often."""


async def work() -> int:
    return 1


async def fail() -> None:
    raise ValueError


async def _ns_per_call(once: Once, calls: int) -> float:
    began = time.perf_counter_ns()
    for _ in range(calls):
        await once()
    return (time.perf_counter_ns() - began) / calls


async def _interleaved(subjects: dict[str, Once], *, rounds: int, calls: int) -> dict[str, float]:
    """Measure every subject in many short rounds; the best is the one that nothing else interrupted."""
    seen: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(rounds):
        for name, once in subjects.items():
            seen[name].append(await _ns_per_call(once, calls))
    return {name: min(values) for name, values in seen.items()}


def _peer(name: str, absent: dict[str, str]) -> Any:
    """Import a peer, or write down why not; what was written for other Pythons may raise anything."""
    try:
        return importlib.import_module(name)
    except Exception as error:  # noqa: BLE001 - a line of the table
        absent[name] = f"{type(error).__name__}: {error}"
        return None


def _purgatory(absent: dict[str, str]) -> Any:
    """Import purgatory, which asks setuptools' old module for its own version and lives without an answer."""
    if _peer("pkg_resources", {}) is None:
        stand_in: Any = types.ModuleType("pkg_resources")
        stand_in.DistributionNotFound = type("DistributionNotFound", (Exception,), {})

        def unknown(_: str) -> None:
            raise stand_in.DistributionNotFound

        stand_in.get_distribution = unknown
        sys.modules["pkg_resources"] = stand_in
    return _peer("purgatory", absent)


async def _breakers(client: aioredis.Redis, absent: dict[str, str]) -> dict[str, Once]:
    async def bare_try() -> int:
        try:
            return await work()
        except ValueError:
            return 0

    ours = CircuitBreaker(client, "cost")
    await ours.initialize()
    decorated = ours(work)
    subjects: dict[str, Once] = {
        "bare await": work,
        "bare try": bare_try,
        "ours, call": lambda: ours.call(work),
        "ours, decorated": decorated,
    }
    if aiobreaker := _peer("aiobreaker", absent):
        theirs: Any = aiobreaker.CircuitBreaker()
        subjects["aiobreaker"] = lambda: theirs.call_async(work)
    if pybreaker := _peer("pybreaker", absent):
        sync: Any = pybreaker.CircuitBreaker()

        async def through_sync() -> Any:
            # Its asynchronous form is tornado's; a coroutine it only creates, and nobody watches that.
            return await sync.call(work)

        subjects["pybreaker (blind)"] = through_sync
    if purgatory := _purgatory(absent):
        breaker: Any = await purgatory.AsyncCircuitBreakerFactory().get_breaker("cost")

        async def guarded() -> int:
            async with breaker:
                return await work()

        subjects["purgatory"] = guarded
    return subjects


def _retries(absent: dict[str, str]) -> dict[str, Once]:
    config = RetryConfig()
    subjects: dict[str, Once] = {
        "bare await": work,
        "ours, function": lambda: retry_with_backoff(work, config),
        "ours, decorated": retry_with_backoff(config)(work),
    }
    if tenacity := _peer("tenacity", absent):
        subjects["tenacity"] = tenacity.retry(stop=tenacity.stop_after_attempt(4))(work)
    if stamina := _peer("stamina", absent):
        subjects["stamina"] = stamina.retry(on=ValueError, attempts=4)(work)
    return subjects


def _table(
    title: str, figures: dict[str, float], own: str, targets: dict[str, float], absent: dict[str, str]
) -> None:
    bare = figures["bare await"]
    print(f"\n{title}, ns over the bare await ({bare:.0f} ns)")
    print(f"  {'':20}{'ns':>10}{'of ours':>10}{'target':>10}")
    for name, value in figures.items():
        over = value - bare
        goal = f"<= {targets[name]:.0f}" if name in targets else ""
        share = "" if name == "bare await" else f"{over / (figures[own] - bare):.2f}"
        print(f"  {name:20}{over:10.0f}{share:>10}{goal:>10}")
    for name, reason in absent.items():
        print(f"  {name:20}not measured on Python {platform.python_version()}: {reason}")


async def _other_process(port: int, how: str) -> None:
    """Call for ever; write down when the first call of a series was refused, and when calls pass again."""
    client = aioredis.Redis(port=port)
    breaker = CircuitBreaker(client, "trip", CONFIG)
    if how == "push":
        await breaker.__aenter__()
    await breaker.initialize()
    passing = False
    while True:
        try:
            await breaker.call(work)
            now_passing = True
        except CircuitBreakerOpenError:
            now_passing = False
        if now_passing != passing:
            passing = now_passing
            print("passes" if passing else "refuses", time.monotonic_ns(), flush=True)
        await asyncio.sleep(PAUSE_S)


async def _from_trip_to_rejection(client: aioredis.Redis, port: int, how: str, rounds: int) -> list[float]:
    command = [sys.executable, "-m", "benchmarks.breaker", "--other", how, "--port", str(port)]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    waits: list[float] = []
    breaker = CircuitBreaker(client, "trip", CONFIG)
    await breaker.reset()
    try:
        for number in range(rounds):
            assert (await process.stdout.readline()).startswith(b"passes")
            await asyncio.sleep(0.3 + number % 7 * 0.1)  # not in step with the other's looks
            with contextlib.suppress(ValueError):
                await breaker.call(fail)
            tripped = time.monotonic_ns()
            said = (await process.stdout.readline()).split()
            assert said[0] == b"refuses"
            waits.append((int(said[1]) - tripped) / 1_000_000)
            await breaker.reset()
    finally:
        process.kill()
        await process.wait()
    return waits


async def run(port: int, *, quick: bool) -> None:
    """Measure and print the three tables."""
    logging.disable(logging.WARNING)  # a trip is said in the log, once a round
    client = aioredis.Redis(port=port)
    rounds, calls = (40, 250) if quick else (300, 500)
    absent: dict[str, str] = {}
    try:
        figures = await _interleaved(await _breakers(client, absent), rounds=rounds, calls=calls)
        _table("closed call", figures, "ours, call", {"ours, call": 3_000}, absent)
        absent = {}
        figures = await _interleaved(_retries(absent), rounds=rounds, calls=calls // 5)
        goals = {"ours, function": 30_000.0, "ours, decorated": 30_000.0}
        _table("retry without a failure", figures, "ours, function", goals, absent)
        print("\nfrom a trip in one process to the rejection in another, ms")
        print(f"  {'':10}{'p50':>10}{'p99':>10}{'target':>10}")
        for how, number, goal in (("push", 20 if quick else 200, 50), ("look", 5 if quick else 60, 1_000)):
            waits = await _from_trip_to_rejection(client, port, how, number)
            p99 = statistics.quantiles(waits, n=100, method="inclusive")[98]
            print(f"  {how:10}{statistics.median(waits):10.1f}{p99:10.1f}{f'< {goal}':>10}")
    finally:
        await client.aclose()
        logging.disable(logging.NOTSET)


def main() -> None:
    """Be the other process of a measurement."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.breaker", description=main.__doc__)
    parser.add_argument("--other", choices=["push", "look"], required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    asyncio.run(_other_process(options.port, options.other))


if __name__ == "__main__":
    main()
