"""Owns the Lua scripts as data: reading, joining with what they include, and running one by its digest.

Knows nothing of what a script does; `scripts` has a typed function for each.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import Any

from redis.exceptions import NoScriptError

from tta_agent_coordination._redis.client import STORE_ERRORS, Client, Raw

__all__ = ["Call", "Script", "load", "run", "run_many", "script_names", "source"]

_INCLUDE = re.compile(r"^-- @include (\w+)$", re.MULTILINE)
_COMMENT = re.compile(r"^\s*--(?! @include).*\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """One script as the server knows it."""

    name: str
    text: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Call[T]:
    """One script with its keys and arguments, and the function that reads its answer."""

    script: Script
    keys: tuple[bytes, ...]
    args: tuple[bytes | str | int | float, ...]
    read: Callable[[list[Any]], T]

    def command(self) -> tuple[Any, ...]:
        """Return the command that runs the script by its digest."""
        return ("EVALSHA", self.script.digest, len(self.keys), *self.keys, *self.args)


def source(name: str) -> str:
    """Return a script file as it is written, header included."""
    return files(__package__).joinpath("lua", f"{name}.lua").read_text("utf-8")


def script_names() -> list[str]:
    """Return the names of all scripts, sorted."""
    found = files(__package__).joinpath("lua").iterdir()
    return sorted(entry.name.removesuffix(".lua") for entry in found if entry.name.endswith(".lua"))


@cache
def load(name: str) -> Script:
    """Return a script with its includes in place and its comments gone."""
    text = _INCLUDE.sub(
        lambda match: _COMMENT.sub("", source(f"include/{match[1]}")), _COMMENT.sub("", source(name))
    )
    return Script(name, text, sha1(text.encode(), usedforsecurity=False).hexdigest())


async def run[T](client: Client, call: Call[T]) -> T:
    """Run a script: one command, and two more where the server does not have it yet."""
    try:
        answer = await client.execute_command(*call.command(), **Raw)
    except NoScriptError:
        await client.execute_command("SCRIPT LOAD", call.script.text)
        answer = await client.execute_command(*call.command(), **Raw)
    return call.read(answer)


async def run_many[T](client: Client, calls: Sequence[Call[T]]) -> list[T | Exception]:
    """Run scripts in one pipeline a server; each answers for itself, with its error where it failed."""
    answers: list[Any] = await _pipeline(client, calls)
    missing = [index for index, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
    if missing:
        try:
            for script in {calls[index].script for index in missing}:
                await client.execute_command("SCRIPT LOAD", script.text)
            again: list[Any] = await _pipeline(client, [calls[index] for index in missing])
        except STORE_ERRORS as error:
            again = [error] * len(missing)  # the others have their answers
        for index, answer in zip(missing, again, strict=True):
            answers[index] = answer
    return [
        answer if isinstance(answer, Exception) else call.read(answer)
        for call, answer in zip(calls, answers, strict=True)
    ]


def _pipeline(client: Client, calls: Sequence[Call[Any]]) -> Awaitable[list[Any]]:
    pipeline = client.pipeline(transaction=False)
    for call in calls:
        pipeline.execute_command(*call.command(), **Raw)
    return pipeline.execute(raise_on_error=False)
