"""The doctor's command from its arguments to its exit code, on an embedded server in this process."""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import Iterator
from typing import Any, cast

import pytest

from tests.library.support.peek import Peek
from tests.library.support.servers import EmbeddedLane
from tests.library.v0_model import v0_entry
from tta_agent_coordination._redis.client import Client
from tta_agent_coordination.cli import main
from tta_agent_coordination.doctor import command

URL = "redis://somebody:secret@host:1/0"
SHOWN = "redis://host:1/0"


class Embedded:
    """An embedded server to which every client of the command leads, and what the command asked for."""

    def __init__(self) -> None:
        """Begin with an empty server."""
        fakeredis: Any = importlib.import_module("fakeredis")
        self.lane = EmbeddedLane(server=fakeredis.FakeServer())
        self.urls: list[str] = []
        self.pauses: list[float] = []

    def client(self, url: str) -> Client:
        """Stand for `from_url`."""
        self.urls.append(url)
        return cast("Client", self.lane.client())

    async def pause(self, seconds: float) -> None:
        """Stand for the pause between two looks."""
        self.pauses.append(seconds)


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Embedded]:
    """Lead the command to an embedded server that holds one ghost, and let it pause for no time."""
    made = Embedded()
    monkeypatch.setattr(command, "from_url", made.client)
    monkeypatch.setattr(command, "_sleep", made.pause)
    monkeypatch.delenv("REDIS_URL", raising=False)
    asyncio.run(_haunted(made.lane))
    yield made
    made.lane.clients.clear()


async def _haunted(lane: EmbeddedLane) -> None:
    await Peek(lane.client()).raw("RPUSH", "ao:queue:world:1", v0_entry("world:1", "message-1"))
    await lane.close()


def test_look_reports_for_people_and_changes_nothing(
    embedded: Embedded, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: whoever only looks changes something, or takes debris for a clean server."""
    for words in ([], ["--format", "text"]):
        assert main(["doctor", "--v0", URL, *words]) == command.FOUND
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith(f"{SHOWN}, prefix ao: looked at ")
        assert lines[2] == "  ao:queue:world:1  message-1"
        assert lines[-1].startswith("run it again with --repair")
    assert embedded.urls == [URL, URL]
    assert embedded.pauses == [10.0] * 4


def test_repair_reports_for_programs_and_ends_clean(
    embedded: Embedded, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a timer's run says that something is left after it was mended, or mends without being asked."""
    monkeypatch.setenv("REDIS_URL", URL)
    words = ["doctor", "--v0", "--settle", "0.5", "--format", "json"]
    ends: list[tuple[int, bool, int, int]] = []
    for repair in ([], ["--repair"], []):
        code = main([*words, *repair])
        told = json.loads(capsys.readouterr().out)
        assert (told["server"], told["exit_code"]) == (SHOWN, code)
        ends.append((code, told["repair"], told["left"], told["looked_at"]["keys"]))
    assert ends[0] == (command.FOUND, False, 1, 1)
    assert ends[1][:3] == (command.CLEAN, True, 0)
    assert ends[2][:3] == (command.CLEAN, False, 0)
    assert set(embedded.pauses) == {0.5}


def test_pause_of_no_time_is_one(embedded: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: the shortest pause is refused, or ends the run."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.undo()
    monkeypatch.setattr(command, "from_url", embedded.client)
    monkeypatch.setattr(command.asyncio, "sleep", sleep)
    assert main(["doctor", "--v0", URL, "--settle", "0"]) == command.FOUND
    assert waited == [0.0, 0.0]


def test_interrupted_run_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: an operator who ends a run does not know how to go on."""

    async def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "_run", interrupted)
    assert main(["doctor", "--v0", URL]) == command.BLIND
    said = "interrupted; what was mended stays mended, run it again for the rest"
    assert capsys.readouterr().err == f"tta_agent_coordination doctor: {said}\n"


def test_help_says_what_each_option_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: an operator has to read the source before he lets it near a server."""
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main(["doctor", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    usage, _, rest = said.partition("Look for what processes of TTA's first version (v0) leave behind")
    assert usage.endswith(
        "--v0 [REDIS_URL] [--repair] [--format {text,json}] [--key-prefix KEY_PREFIX] [--settle SECONDS] "
    )
    assert rest.startswith(" when they end between two steps: reservations without a deadline, audit copies")
    assert "copies of messages that are nowhere else, dead index entries, and more." in rest
    description, _, options = rest.partition(" options: ")
    assert description.endswith("is not taken for debris. Without --repair nothing is changed.")
    for option in (
        "--v0 [REDIS_URL] redis://, rediss:// or unix://",
        "--repair mend it, in atomic steps",
        "--format {text,json} default: text",
        "--key-prefix KEY_PREFIX begins every key (default: ao)",
        "--settle SECONDS the pause:",
    ):
        assert option in options
    assert options.endswith(
        "exit codes: 0 nothing is left behind, or all of it is mended; 1 something was found that is not "
        "mended; 2 could not look"
    )
