"""Owns the command that runs a worker: reading its arguments, finding the worker, and its exit codes.

Exit codes: 0 the worker ended because it was asked to (SIGTERM, SIGINT); 1 it failed; 2 wrong arguments, or
no worker where they point; 3 the server could not be reached at the start; 4 it ended, and handlers that
ignore being cancelled were cut off.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import inspect
import logging
import os
import sys
import traceback

from tta_agent_coordination._redis.client import without_password
from tta_agent_coordination.coordinators import RedisMessageCoordinator
from tta_agent_coordination.exceptions import MessageCoordinatorError
from tta_agent_coordination.worker._worker import AgentWorker

__all__ = ["ABANDONED", "DONE", "FAILED", "UNREACHABLE", "USAGE", "add_arguments", "load", "run"]

DONE, FAILED, USAGE, UNREACHABLE, ABANDONED = 0, 1, 2, 3, 4

logger: logging.Logger = logging.getLogger(__name__)

_FIRST_ANSWER_S = 10.0
"""How long the server may take to answer before the worker begins."""


class _UsageError(Exception):
    """There is no worker where the arguments point; the text says what to do."""


def run(values: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    logging.basicConfig(
        level=values.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    try:
        worker = load(values.app)
        code = asyncio.run(_run(worker, values.url, values.key_prefix))
    except _UsageError as error:
        print(f"tta_agent_coordination worker: {error}", file=sys.stderr)  # noqa: T201 - a command prints
        return USAGE
    except Exception:
        logger.exception("the worker of %s failed", values.app)
        return FAILED
    return code


def add_arguments(worker: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    worker.description = (
        "Run an AgentWorker. SIGTERM or SIGINT ends it: it takes no more messages, lets handlers come to "
        "their end for its grace, and gives back what is left. A second signal ends the grace."
    )
    worker.epilog = (
        "exit codes: 0 ended as asked; 1 failed; 2 wrong arguments; 3 the server could not be reached; "
        "4 ended, but handlers that ignore being cancelled were cut off"
    )
    worker.add_argument(
        "app",
        metavar="MODULE:NAME",
        help="an AgentWorker, or a function without arguments that returns one; `billing.agents:worker`",
    )
    worker.add_argument(
        "--url",
        default=None,
        help="redis://, rediss:// or unix:// of the server, for a worker without a coordinator of its own "
        "(default: the environment variable REDIS_URL)",
    )
    worker.add_argument(
        "--key-prefix", default="ao", help="begins every key, for such a worker (default: ao)"
    )
    worker.add_argument(
        "--log-level", default="info", choices=["debug", "info", "warning", "error"], help="default: info"
    )


def load(app: str) -> AgentWorker:
    """Return the worker that `module:name` names; the current directory is searched as well.

    Raises:
        _UsageError: If there is none.
    """
    name, colon, attribute = app.partition(":")
    if not (name and colon and attribute):
        raise _UsageError(f"{app!r} is not MODULE:NAME; for example billing.agents:worker")
    if (here := os.getcwd()) not in sys.path:  # noqa: PTH109 - a text, as sys.path holds them
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _UsageError(_broken(name)) from error
        raise _UsageError(
            f"there is no module {error.name!r}: start the command in the directory that holds it, install "
            "the package it is in, or correct the name"
        ) from error
    except Exception as error:
        raise _UsageError(_broken(name)) from error
    if not hasattr(module, attribute):
        found = sorted(key for key, value in vars(module).items() if isinstance(value, AgentWorker))
        hint = f"it has {', '.join(found)}" if found else "it has no AgentWorker at all"
        raise _UsageError(f"module {name!r} has no {attribute!r}; {hint}")
    value: object = getattr(module, attribute)
    if not isinstance(value, AgentWorker) and callable(value):
        if inspect.iscoroutinefunction(value):
            raise _UsageError(f"{app} is an `async def` function: the factory of a worker is a plain one")
        try:
            inspect.signature(value).bind()
        except TypeError as error:
            raise _UsageError(f"{app} cannot be called without arguments: {error}") from error
        value = value()
    if not isinstance(value, AgentWorker):
        raise _UsageError(
            f"{app} is {type(value).__name__}, neither an AgentWorker nor a function that returns one"
        )
    return value


def _broken(name: str) -> str:
    return f"module {name!r} could not be imported; mend what it raised:\n{traceback.format_exc()}"


async def _run(worker: AgentWorker, url: str | None, key_prefix: str) -> int:
    """Run a worker with its own coordinator, or with one for the URL."""
    if worker.coordinator is not None:
        if url is not None:
            raise _UsageError("the worker has a coordinator of its own: leave --url out, or build it without")
        return await _work(worker, "the server of its coordinator")
    url = url or os.environ.get("REDIS_URL")
    if not url:
        raise _UsageError("which server? give --url redis://HOST:PORT/0, or set REDIS_URL")
    try:
        coordinator = RedisMessageCoordinator.from_url(url, key_prefix)
    except ValueError as error:
        raise _UsageError(str(error)) from error
    async with coordinator:
        worker.connect(coordinator)
        return await _work(worker, without_password(url))


async def _work(worker: AgentWorker, where: str) -> int:
    assert worker.coordinator is not None  # noqa: S101 - both callers have seen to it
    try:
        async with asyncio.timeout(_FIRST_ANSWER_S):
            await worker.coordinator.stats(worker.agent_id)
    except (MessageCoordinatorError, TimeoutError) as error:
        why = str(error) or f"no answer within {_FIRST_ANSWER_S:g} s"
        print(  # noqa: T201 - a command prints
            f"tta_agent_coordination worker: {where} cannot be reached ({why}): start it, or correct the URL",
            file=sys.stderr,
        )
        return UNREACHABLE
    name = worker.agent_id
    logger.info("the worker of %s takes messages from %s until SIGTERM or SIGINT ends it", name, where)
    await worker.run()
    if worker.abandoned:
        # They would hold the event loop, and so the process, for as long as they like.
        logging.shutdown()
        os._exit(ABANDONED)
    return DONE
