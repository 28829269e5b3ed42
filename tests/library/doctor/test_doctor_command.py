"""`python -m tta_agent_coordination doctor`: what it says where, how it ends, and what it never says."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.library.support.peek import Peek
from tests.library.support.servers import RealLane, RealServer, started_server
from tests.library.v0_model import v0_entry
from tta_agent_coordination._redis.client import without_password
from tta_agent_coordination.cli import main
from tta_agent_coordination.doctor import command

ROOT = Path(__file__).parents[3]
UNREACHABLE = "redis://somebody:se%2Fcret@127.0.0.1:1/0"
POPULATE = """
for n = 0, 19999 do
  redis.call('RPUSH', 'ao:queue:world:' .. n, ARGV[1])
  redis.call('ZADD', 'ao:sched:world:' .. n .. ':prio:5', 1, ARGV[1])
  redis.call('SADD', 'ao:subs:world:' .. n, 'event')
  redis.call('SET', 'ao:agents:world:' .. n, '{"agent_id": {}}')
  redis.call('SET', 'ao:cb:state:world-' .. n, '{}')
  redis.call('SADD', 'ao:agents:index', 'ao:agents:world:' .. n)
end
"""
SECRETS = re.compile(r"secret|se/cret|se%2Fcret|somebody")


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take no server from the environment."""
    monkeypatch.delenv("REDIS_URL", raising=False)


async def doctor(*words: str, url: str = "") -> tuple[int, str, str]:
    """Run the command in a process of its own; return its exit code, output and what it said on the way."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", "tta_agent_coordination", "doctor", *words),
        cwd=ROOT,
        env=os.environ | ({"REDIS_URL": url} if url else {}),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_debris_is_found_then_mended_then_gone(real_lane: RealLane) -> None:
    """Broken: whoever runs it by hand or from a timer cannot tell what is left."""
    peek = Peek(real_lane.client())
    await peek.raw("RPUSH", "ao:queue:world:1", v0_entry("world:1", "message-1"))
    code, out, err = await doctor("--v0", real_lane.url, "--settle", "0")
    assert code == command.FOUND
    assert "ghost: 1 x audit copy of a message that is nowhere else" in out
    assert "ao:queue:world:1  message-1" in out
    assert out.splitlines()[-1].startswith("run it again with --repair")
    assert "tta_agent_coordination doctor: look 3 of 3: 1 suspects are not as they should be" in err
    code, out, _ = await doctor("--v0", "--settle", "0", "--repair", "--format", "json", url=real_lane.url)
    told = json.loads(out)
    assert (code, told["exit_code"], told["left"]) == (command.CLEAN, 0, 0)
    assert told["counts"] == {"ghost": {"found": 1, "mended": 1}}
    assert (told["server"], told["prefix"], told["repair"]) == (real_lane.url, "ao", True)
    code, out, _ = await doctor("--v0", real_lane.url, "--format", "text")
    assert (code, out.splitlines()[-1]) == (command.CLEAN, "nothing of v0 is left behind")


async def test_other_prefix_is_looked_at_and_only_that(real_lane: RealLane) -> None:
    """Broken: the doctor mends the keys of a system that nobody asked it to touch."""
    peek = Peek(real_lane.client())
    for prefix in ("ao", "other"):
        await peek.raw("RPUSH", f"{prefix}:queue:world:1", v0_entry("world:1", "message-1"))
    code, _, _ = await doctor("--v0", real_lane.url, "--settle", "0", "--repair", "--key-prefix", "other:")
    assert code == command.CLEAN
    left = [await peek.raw("LLEN", f"{prefix}:queue:world:1") for prefix in ("ao", "other")]
    assert left == [1, 0]
    for key in await peek.keys():
        await peek.raw("DEL", key)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--v0", UNREACHABLE, "--settle", "-1"], "--settle -1 must be a number of seconds"),
        (["--v0", UNREACHABLE, "--settle", "inf"], "--settle inf must be a number of seconds"),
        (["--v0"], "give --v0 redis://HOST:PORT/0, or set REDIS_URL"),
        (["--v0", "http://somebody:secret@127.0.0.1"], "must specify one of the following schemes"),
        (["--v0", "redis://somebody:secret@127.0.0.1:port"], "the URL of the server cannot be read"),
        (["--v0", "redis://:se/cret@127.0.0.1:1"], "the URL of the server cannot be read"),
        (["--v0", "redis://[::somebody"], "the URL of the server cannot be read"),
        (["--v0", UNREACHABLE], "redis://127.0.0.1:1/0 cannot be reached"),
        (["--v0", UNREACHABLE, "--key-prefix", "a b"], "key_prefix 'a b' must not be empty"),
    ],
)
def test_what_cannot_be_looked_at_is_told_without_the_password(
    words: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: a password ends up in a log, or a server that nobody looked at counts as clean."""
    assert main(["doctor", *words]) == command.BLIND
    said = capsys.readouterr()
    assert text in said.err
    assert said.out == ""
    assert not SECRETS.search(said.err)


@pytest.mark.parametrize("words", [[], ["--v0", "u", "--settle", "soon"], ["--v0", "u", "--format", "xml"]])
def test_wrong_arguments_are_a_run_that_could_not_look(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: a mistyped option looks like debris, or like none."""
    with pytest.raises(SystemExit) as ended:
        main(["doctor", *words])
    assert ended.value.code == command.BLIND
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://somebody:secret@host:1/0?ssl=1#x", "redis://host:1/0"),
        ("rediss://:a@secret@host/0", "rediss://host/0"),
        ("redis://:se/secret@host:1/0", "redis://..."),
        ("redis://:se#secret@host:1/0", "redis://..."),
        ("unix:///tmp/redis.sock?password=secret", "unix:///tmp/redis.sock"),
        ("redis://[::1]:7/0", "redis://[::1]:7/0"),
    ],
)
def test_shown_url_has_no_password(url: str, shown: str) -> None:
    """Broken: a password with a character of its own in it is printed."""
    assert without_password(url) == shown


async def test_server_that_wants_another_password_is_not_told_ours(server_binary: str) -> None:
    """Broken: the server's refusal carries the password into a log."""
    with started_server(server_binary) as server:
        lane = RealLane(port=server.port)
        await Peek(lane.client()).raw("CONFIG", "SET", "requirepass", "right")
        await lane.close()
        code, out, err = await doctor("--v0", f"redis://:secret@127.0.0.1:{server.port}/0")
    assert (code, out) == (command.BLIND, "")
    assert "cannot be reached" in err
    assert not SECRETS.search(err)


async def test_server_that_ends_meanwhile_is_told(
    private_server: RealServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: half a run counts as a whole one."""
    lane = RealLane(port=private_server.port)
    await Peek(lane.client()).raw("RPUSH", "ao:queue:world:1", "ghost")
    await lane.close()

    async def end(_: float) -> None:
        private_server.end()

    monkeypatch.setattr(command, "_sleep", end)
    assert await asyncio.to_thread(main, ["doctor", "--v0", lane.url, "--repair"]) == command.BLIND
    said = capsys.readouterr()
    assert "failed meanwhile" in said.err
    assert "what was mended stays mended" in said.err
    assert said.out == ""


async def test_silent_server_is_told(
    private_server: RealServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: the command hangs for ever where a server accepts and says nothing."""
    monkeypatch.setattr(command, "_FIRST_ANSWER_S", 0.2)
    private_server.pause()
    url = RealLane(port=private_server.port).url
    assert await asyncio.to_thread(main, ["doctor", "--v0", url]) == command.BLIND
    assert "no answer within 0.2 s" in capsys.readouterr().err


def test_interruption_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: an operator who ends a run reads a traceback, and does not know what is mended."""

    async def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "_run", interrupted)
    assert main(["doctor", "--v0", "redis://127.0.0.1:1/0"]) == command.BLIND
    assert "interrupted; what was mended stays mended" in capsys.readouterr().err


def test_help_names_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: whoever runs it from a timer has to read the code."""
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--help"])
    assert ended.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    for code in (command.CLEAN, command.FOUND, command.BLIND):
        assert f"{code} " in said.partition("exit codes:")[2]
    for option in ("--v0", "--repair", "--format", "--key-prefix", "--settle"):
        assert option in said


async def test_a_hundred_thousand_keys_are_looked_at_with_progress(
    real_lane: RealLane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a large server takes hours or all memory, or nobody knows whether it goes on."""
    # Tracing every line for every key doubles the time, and the other tests run the same lines.
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    client: Any = real_lane.client()
    await client.execute_command("EVAL", POPULATE, 0, v0_entry("world:n", "message-1"))
    await client.execute_command("RPUSH", "ao:queue:world:19999", v0_entry("world:19999", "ghost-1"))
    code, out, err = await doctor("--v0", real_lane.url, "--settle", "0", "--repair")
    assert code == command.CLEAN
    assert "looked at 100,001 keys, 20,000 inboxes, 20,000 agents" in out
    assert "ghost: 1 x" in out
    for text in ("50,", "keys seen", "10,000 of 20,000 inboxes read", "20,000 of 20,000 inboxes read"):
        assert text in err
    await client.flushall()
