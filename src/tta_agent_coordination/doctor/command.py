"""Owns the command that runs the doctor: its arguments, what it prints where, and its exit codes.

Exit codes: 0 nothing is left behind, or all of it is mended; 1 something was found that is not mended; 2 it
could not look, or not to the end: wrong arguments, or a server that cannot be reached or failed meanwhile.
The report goes to standard output, how far it is to standard error. The password in a URL is never printed.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import sys

from tta_agent_coordination import _keys
from tta_agent_coordination._redis.client import STORE_ERRORS, Client, from_url, without_password
from tta_agent_coordination.doctor.examination import LOOKS, Examination
from tta_agent_coordination.doctor.findings import Report, as_json, as_text
from tta_agent_coordination.exceptions import CoordinationError

__all__ = ["BLIND", "CLEAN", "FOUND", "add_arguments", "run"]

CLEAN, FOUND, BLIND = 0, 1, 2

_FIRST_ANSWER_S = 10.0
"""How long the server may take to answer before the run begins."""


class _UsageError(Exception):
    """The doctor cannot look; the text says why, and what to do."""


def add_arguments(doctor: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    doctor.description = (
        "Look for what processes of TTA's first version (v0) leave behind when they end between two steps: "
        "reservations without a deadline, audit copies of messages that are nowhere else, dead index "
        f"entries, and more. Suspects are looked at {LOOKS} times, a pause apart, so that what a running v0 "
        "process is about to finish is not taken for debris. Without --repair nothing is changed."
    )
    doctor.epilog = (
        "exit codes: 0 nothing is left behind, or all of it is mended; 1 something was found that is not "
        "mended; 2 could not look"
    )
    doctor.add_argument(
        "--v0",
        required=True,
        nargs="?",
        const="",
        metavar="REDIS_URL",
        help="redis://, rediss:// or unix:// of the server that v0 uses (default: the environment variable "
        "REDIS_URL, which keeps a password out of the list of processes)",
    )
    doctor.add_argument(
        "--repair", action="store_true", help="mend it, in atomic steps; v0 processes may go on meanwhile"
    )
    doctor.add_argument("--format", default="text", choices=["text", "json"], help="default: text")
    doctor.add_argument("--key-prefix", default="ao", help="begins every key (default: ao)")
    doctor.add_argument(
        "--settle",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="the pause: longer than a v0 process may stand still between two steps (default: 10)",
    )


def run(values: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    try:
        report = asyncio.run(_run(values))
    except _UsageError as error:
        _say(str(error))
        return BLIND
    except KeyboardInterrupt:
        _say("interrupted; what was mended stays mended, run it again for the rest")
        return BLIND
    code = FOUND if report.left else CLEAN
    print(as_json(report, code) if values.format == "json" else as_text(report))  # noqa: T201 - a command prints
    return code


async def _run(values: argparse.Namespace) -> Report:
    url = values.v0 or os.environ.get("REDIS_URL")
    if not url:
        raise _UsageError("which server? give --v0 redis://HOST:PORT/0, or set REDIS_URL")
    if not (math.isfinite(values.settle) and values.settle >= 0):
        raise _UsageError(f"--settle {values.settle:g} must be a number of seconds, 0 or more")
    try:
        prefix = _keys.clean_prefix(values.key_prefix)
        client = from_url(url)
        server = without_password(url)
    except ValueError as error:
        raise _UsageError(str(error)) from None
    try:
        await _reach(client, server)
        examination = Examination(
            client,
            prefix,
            server=server,
            repair=values.repair,
            settle=lambda: _sleep(values.settle),
            say=_say,
        )
        return await examination.run()
    except CoordinationError as error:
        raise _UsageError(
            f"{server} failed meanwhile ({error}); what was mended stays mended, run it again for the rest"
        ) from error
    finally:
        await client.aclose()


async def _sleep(seconds: float) -> None:
    await asyncio.sleep(seconds)


async def _reach(client: Client, server: str) -> None:
    try:
        async with asyncio.timeout(_FIRST_ANSWER_S):
            await client.execute_command("PING")
    except (*STORE_ERRORS, TimeoutError) as error:
        why = str(error) or f"no answer within {_FIRST_ANSWER_S:g} s"
        raise _UsageError(f"{server} cannot be reached ({why}): start it, or correct the URL") from error


def _say(line: str) -> None:
    print(f"tta_agent_coordination doctor: {line}", file=sys.stderr)  # noqa: T201 - a command prints
