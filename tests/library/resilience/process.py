"""Processes of the tests' many: they take part in a shared breaker and write down when their probes ran.

Run as `python -m tests.library.resilience.process PORT MODE COUNT PROCESSES`. Modes: `probe` lets COUNT calls
of each process through and reports each, `hold` takes COUNT probes and stays in them until it is killed. One
interpreter is started, the processes are forked from it.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from contextvars import ContextVar

import redis.asyncio as aioredis

from tta_agent_coordination.exceptions import CircuitBreakerOpenError
from tta_agent_coordination.resilience import CircuitBreaker, CircuitBreakerConfig
from tta_agent_coordination.resilience._breaker_shell import Admission
from tta_agent_coordination.resilience._breaker_state import Refused

__all__ = ["CONFIG"]

CONFIG = CircuitBreakerConfig(
    failure_threshold=1,
    timeout_seconds=0.01,
    recovery_timeout_seconds=30,
    half_open_max_calls=3,
    success_threshold=3,
)


PERIOD: ContextVar[int] = ContextVar("PERIOD")
"""The half-open period that the store admitted the current call to, 0 where it found the breaker closed."""


def say(*words: object) -> None:
    """Tell the test, in one write: the processes share the pipe."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def probe(breaker: CircuitBreaker, count: int) -> None:
    """Call as often as allowed; each call says in which period and when it ran, and fails at random."""
    admit = breaker._shell.admit

    async def admit_and_note(correlation_id: str | None) -> Admission | Refused:
        admission = await admit(correlation_id)
        if isinstance(admission, Admission):
            PERIOD.set(admission.generation)
        return admission

    breaker._shell.admit = admit_and_note

    async def work() -> None:
        generation, began = PERIOD.get(), time.monotonic_ns()
        await asyncio.sleep(0.004)
        say("ran", generation, began, time.monotonic_ns())
        if began % 5 == 0:
            raise ValueError

    done = 0
    while done < count:
        if breaker._state == "closed":
            await breaker._transition_to_open()
        PERIOD.set(0)
        try:
            await breaker.call(work)
            done += 1
        except ValueError:
            done += 1
        except CircuitBreakerOpenError:
            await asyncio.sleep(0.002)


async def hold(breaker: CircuitBreaker, count: int) -> None:
    """Stay inside probes."""

    async def stay() -> None:
        say("holding")
        await asyncio.sleep(3600)

    await asyncio.gather(*(breaker.call(stay) for _ in range(count)))


async def main(port: int, mode: str, count: int) -> None:
    """Take part until done."""
    client = aioredis.Redis(port=port)
    async with CircuitBreaker(client, "svc", CONFIG) as breaker:
        await (probe if mode == "probe" else hold)(breaker, count)
    await client.aclose()


def run_forked(number: int, port: int, mode: str, count: int) -> int:
    """Run in `number` processes; return how many failed."""
    children: list[int] = []
    for _ in range(number):
        child = os.fork()
        if not child:
            asyncio.run(main(port, mode, count))
            os._exit(0)
        children.append(child)
    return sum(os.waitpid(child, 0)[1] != 0 for child in children)


if __name__ == "__main__":
    port_, mode_, count_, number_ = sys.argv[1:]
    if number_ == "1":
        asyncio.run(main(int(port_), mode_, int(count_)))
    else:
        sys.exit(run_forked(int(number_), int(port_), mode_, int(count_)))
