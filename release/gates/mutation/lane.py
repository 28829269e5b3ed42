"""A pytest plugin for mutation runs.

No server for each mutant, no mutant that eats all memory, and none that leaves the encoding of a file to the
machine it runs on: only a machine with another encoding than UTF-8 would show it.

Loaded by `-p`; `nox -s test` never sees it.
"""

import sys
import warnings
from collections.abc import Sequence

import pytest

__all__ = [
    "MEMORY_LIMIT",
    "SERVER_FIXTURE",
    "limit_memory",
    "pytest_collection_modifyitems",
    "pytest_configure",
]

MEMORY_LIMIT = 4 * 2**30
"""Bytes of address space a process of a mutation run may take."""

SERVER_FIXTURE = "server_binary"
"""The fixture of the tests' conftests through which every test comes to a real server."""

_ENCODINGS = ("ignore::EncodingWarning", r"error::EncodingWarning:(release|tta_agent_coordination)\b")
"""Ours name the encoding of every text; the tests and what is installed may not."""


def pytest_configure(config: pytest.Config) -> None:
    """Hold this process to both; Python warns of encodings where it runs with `-X warn_default_encoding`."""
    # Between tests the filters hold that pytest has read by now: mutmut's own files are none of ours, either.
    warnings.simplefilter("ignore", EncodingWarning)
    for line in _ENCODINGS:
        config.addinivalue_line("filterwarnings", line)
    limit_memory()


def limit_memory() -> None:
    """Limit this process and its children; a mutant that allocates without end then fails alone."""
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - not on every platform

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = MEMORY_LIMIT if hard == resource.RLIM_INFINITY else min(MEMORY_LIMIT, hard)
    if soft == resource.RLIM_INFINITY or soft > wanted:
        resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs a real server: starting one for each mutant would take hours."""
    left_out = [item for item in items if _needs_server(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not _needs_server(item)]


def _needs_server(item: pytest.Item) -> bool:
    fixtures: Sequence[str] = getattr(item, "fixturenames", ())
    call = getattr(item, "callspec", None)
    return SERVER_FIXTURE in fixtures or (call is not None and call.params.get("redis_lane") == "real")
