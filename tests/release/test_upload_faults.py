"""Faults between an upload and its index: the same command again ends in the same state, or says why not.

The real twine uploads to the embedded index; the fault is the index's, the network's or the process's own.
"""

import asyncio
import datetime as dt
import io
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
from rich.console import Console

from release.indexes import INDEXES, IndexName
from release.model import Kind, Refused
from release.rehearsal import proxy
from release.rehearsal.wire import Request, Response
from release.simple import IndexClient
from release.waiting import wait_until_listed
from tests.release import fault_child, publish_support
from tests.release.conftest import Repaired
from tests.release.ledger_support import rules_of
from tests.release.publish_support import Release, refused
from tests.release.test_faults import ROOT

# Each starts the real twine more than once.
pytestmark = pytest.mark.timeout(300)

running, uploadable, release = publish_support.running, publish_support.uploadable, publish_support.release


def on_index(release: Release) -> dict[str, str]:
    """What TestPyPI holds: file name -> SHA-256."""
    project = release.index("testpypi").projects.get("demo-project")
    return {} if project is None else {name: file.sha256 for name, file in project.files.items()}


def settled(release: Release) -> None:
    """The one end: the index holds the ledger's bytes and never held others, and the ledger says so."""
    wanted = {each.name: each.sha256 for each in release.ledger.opening.artifacts}
    assert on_index(release) == wanted
    assert release.index("testpypi").projects["demo-project"].used == wanted
    assert release.reread().passed("testpypi")
    assert release.reread().torn is None


def again(release: Release, *, uploaded: int) -> None:
    """The same command in a new job: it uploads so many files, and that is the end."""
    release.job("testpypi")
    assert release.run("testpypi").figures["uploaded"] == uploaded
    settled(release)


@pytest.mark.drill
@pytest.mark.parametrize("at", [1, 2])
def test_fault_500_after_the_file_was_stored(release: Release, at: int, repaired: Repaired) -> None:
    """The index keeps a file and answers 500 to every retry: the same command sends only what is absent."""
    index = release.index("testpypi")
    store, uploads = index._upload, iter(range(1, 100))

    def faulty(request: Request) -> Response:
        answer = store(request)
        if next(uploads) >= at:
            return Response(status=500, body=b"Internal Server Error")
        return answer

    release.patch.setattr(index, "_upload", faulty)
    release.job("testpypi")
    found = refused(release, "testpypi")
    assert (rules_of(found), found.kind) == (["publish.index-up"], Kind.NOT_YET)
    stored = on_index(release)
    assert len(stored) == at
    release.patch.setattr(index, "_upload", store)
    release.job("testpypi")
    report = release.run("testpypi")
    assert (report.figures["uploaded"], report.figures["present"]) == (2 - at, at)
    settled(release)
    assert stored.items() <= on_index(release).items()
    repaired("500 after the file was stored", rules_of(found), 1)


@pytest.mark.drill
def test_fault_the_second_file_is_refused(release: Release, repaired: Repaired) -> None:
    """The index takes one file and refuses the other for a reason of its own: named, and taken up later."""
    index = release.index("testpypi")
    store, uploads = index._upload, iter(range(1, 100))

    def picky(request: Request) -> Response:
        return store(request) if next(uploads) == 1 else Response(status=400, reason="Bad Request: not today")

    release.patch.setattr(index, "_upload", picky)
    release.job("testpypi")
    found = refused(release, "testpypi")
    assert (found.kind, len(on_index(release))) == (Kind.REFUSED, 1)
    assert "not today" in found.problems[0].what
    release.patch.setattr(index, "_upload", store)
    again(release, uploaded=1)
    repaired("the second file refused", rules_of(found), 1)


@pytest.mark.drill
@pytest.mark.parametrize("taken", [0, 1])
def test_fault_a_connection_cut_in_an_upload(release: Release, repaired: Repaired, taken: int) -> None:
    """The network goes in the middle of a file's bytes and stays away: nothing of that file is kept."""
    pipe, index = proxy._pipe, release.index("testpypi")
    cuts: list[int] = []

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passed, upwards = 0, False
        while data := await reader.read(512):
            # What a client sends begins with its hello.
            upwards = upwards or (passed == 0 and data[5:6] == b"\x01")
            passed += len(data) if index.projects and len(on_index(release)) >= taken else 1
            if cuts or (upwards and passed > 1500):
                cuts.append(passed)
                writer.transport.abort()
                raise ConnectionResetError("cut")
            writer.write(data)
            await writer.drain()
        writer.close()

    release.patch.setattr(proxy, "_pipe", cut)
    release.job("testpypi")
    found = refused(release, "testpypi")
    assert (found.kind, len(on_index(release))) == (Kind.NOT_YET, taken)
    assert cuts
    release.patch.setattr(proxy, "_pipe", pipe)
    again(release, uploaded=2 - taken)
    repaired("a connection cut in an upload", rules_of(found), 1)


@pytest.mark.drill
def test_fault_an_expired_token(release: Release, repaired: Repaired) -> None:
    """The upload token's time is over behind the first file: the index says so, a new job gets a new one."""
    index = release.index("testpypi")
    store = index._upload

    def slow(request: Request) -> Response:
        answer = store(request)
        index._tokens = {
            token: replace(known, expires=known.expires - dt.timedelta(minutes=16))
            for token, known in index._tokens.items()
        }
        return answer

    release.patch.setattr(index, "_upload", slow)
    release.job("testpypi")
    found = refused(release, "testpypi")
    assert (found.kind, len(on_index(release))) == (Kind.REFUSED, 1)
    assert "403" in found.problems[0].what
    release.patch.setattr(index, "_upload", store)
    again(release, uploaded=1)
    repaired("an expired token", rules_of(found), 1)


@pytest.mark.drill
def test_fault_testpypi_down(release: Release, repaired: Repaired) -> None:
    """Before the upload it is one sentence and nothing is recorded; the same command later is as if none."""
    release.job("testpypi")
    release.index("testpypi").down = True
    found = refused(release, "testpypi")
    assert (found.kind, release.reread().lines) == (Kind.NOT_YET, ())
    release.index("testpypi").down = False
    again(release, uploaded=2)
    repaired("TestPyPI down", rules_of(found), 1)


@pytest.mark.drill
def test_fault_testpypi_goes_down_in_an_upload(release: Release, repaired: Repaired) -> None:
    """It goes behind the first file: twine's own retries end, the person is asked for patience."""
    index = release.index("testpypi")
    store = index._upload

    def last(request: Request) -> Response:
        index.down = True
        return store(request)

    release.patch.setattr(index, "_upload", last)
    release.job("testpypi")
    found = refused(release, "testpypi")
    assert (found.kind, len(on_index(release))) == (Kind.NOT_YET, 1)
    release.patch.setattr(index, "_upload", store)
    index.down = False
    again(release, uploaded=1)
    repaired("TestPyPI down in an upload", rules_of(found), 1)


@pytest.mark.drill
def test_fault_an_index_that_lags(release: Release, repaired: Repaired) -> None:
    """Both files are there and not listed: an upload again changes nothing, a smoke waits and says why."""
    index = release.index("testpypi")
    release.patch.setattr(index, "lag", dt.timedelta(hours=1))
    release.job("testpypi")
    release.run("testpypi")
    line = release.reread().head
    again(release, uploaded=2)
    assert release.reread().head == line

    clock, console = iter(range(0, 100_000, 600)), Console(file=io.StringIO(), markup=False)
    with IndexClient(INDEXES[IndexName.TESTPYPI]) as client, pytest.raises(Refused) as caught:
        wait_until_listed(
            INDEXES[IndexName.TESTPYPI],
            release.ledger.opening.artifacts,
            lambda: client.listing("demo-project"),
            console,
            clock=lambda: next(clock),
            sleep=lambda _: None,
        )
    assert caught.value.kind is Kind.NOT_YET
    release.patch.setattr(index, "lag", dt.timedelta())
    again(release, uploaded=0)
    repaired("an index that lags", rules_of(caught.value), 1)


@pytest.mark.drill
@pytest.mark.parametrize(
    "at", ["before a token", "before a file", "behind the first file", "behind all files"]
)
@pytest.mark.parametrize("lagging", [False, True])
def test_fault_kill_in_an_upload(release: Release, at: str, lagging: bool, repaired: Repaired) -> None:
    """`kill -9` of stage and twine, even where the index does not list yet what it has taken."""
    index = release.index("testpypi")
    store, mint, uploads = index._upload, index._mint, iter(range(1, 100))
    killed: list[int] = []

    def kill() -> None:
        os.killpg(child.pid, signal.SIGKILL)
        killed.append(child.pid)

    def minting(request: Request) -> Response:
        if at == "before a token":
            kill()
        return mint(request)

    def storing(request: Request) -> Response:
        number = next(uploads)
        if at == "before a file":
            kill()
            return Response(status=503)
        answer = store(request)
        if number == {"behind the first file": 1, "behind all files": 2}.get(at):
            kill()
        return answer

    if lagging:
        release.patch.setattr(index, "lag", dt.timedelta(hours=1))
    release.patch.setattr(index, "_mint", minting)
    release.patch.setattr(index, "_upload", storing)
    release.job("testpypi")
    words = [sys.executable, "-m", fault_child.__name__, "once", "testpypi", str(release.root)]
    child = subprocess.Popen(words, cwd=ROOT, start_new_session=True)
    assert (child.wait(), len(killed)) == (-signal.SIGKILL, 1)
    taken = {"behind the first file": 1, "behind all files": 2}.get(at, 0)
    assert (len(on_index(release)), release.reread().lines) == (taken, ())
    release.patch.setattr(index, "_mint", mint)
    release.patch.setattr(index, "_upload", store)
    again(release, uploaded=2 if lagging else 2 - taken)
    repaired("kill -9 in an upload", ["killed"], 1)
