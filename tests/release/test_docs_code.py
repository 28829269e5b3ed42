"""Every Python block of the documents runs, and prints what the block behind it shows.

The blocks of one page run in order in one namespace, as pasted into `python -m asyncio`: `await` is allowed
outside functions. A `text` fence right behind a Python block is what that block prints.
"""

import ast
import asyncio
import contextlib
import inspect
import io
import re
from collections.abc import Generator
from dataclasses import dataclass

import pytest

from tests.library.support.cluster import started_cluster
from tests.library.support.servers import started_server
from tests.release.sentinel_support import started_sentinel
from tests.release.test_docs import TEXTS
from tests.release.workflow_support import ROOT

FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One Python block, and what it prints where the page says so."""

    line: int
    code: str
    printed: str | None


def blocks(text: str) -> list[Block]:
    """The Python blocks of a page."""
    fences = list(FENCE.finditer(text))
    found: list[Block] = []
    for number, fence in enumerate(fences):
        if fence[1] == "python":
            behind = fences[number + 1] if number + 1 < len(fences) else None
            told = (
                behind is not None and behind[1] == "text" and not text[fence.end() : behind.start()].strip()
            )
            line = text.count("\n", 0, fence.start(2)) + 1
            found.append(Block(line=line, code=fence[2], printed=behind[2] if behind and told else None))
    return found


PAGES = {path.relative_to(ROOT).as_posix(): blocks(path.read_text(encoding="utf-8")) for path in TEXTS}
WITH_CODE = sorted(name for name, found in PAGES.items() if found)
NEEDS_A_SERVER = re.compile(r"REDIS_URL|REDIS_CLUSTER_URL|SENTINEL_PORT")
SERVED = [name for name in WITH_CODE if any(NEEDS_A_SERVER.search(each.code) for each in PAGES[name])]
"""Pages whose code needs a server, a cluster or a sentinel; without redis-server they are not run."""


def run(name: str) -> None:
    """Run a page's blocks in order."""
    names: dict[str, object] = {"__name__": "__main__"}
    with asyncio.Runner() as runner:
        for block in PAGES[name]:
            code = "\n" * (block.line - 1) + block.code
            compiled = compile(code, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                outcome: object = eval(compiled, names)
                if inspect.iscoroutine(outcome):
                    runner.run(outcome)
            if block.printed is not None:
                assert output.getvalue() == block.printed, f"{name}:{block.line}"


@pytest.fixture
def servers(server_binary: str, monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """A server, a cluster and a sentinel, where the pages look for them."""
    with (
        started_server(server_binary) as server,
        started_cluster(server_binary) as cluster,
        started_sentinel(server_binary, server.port) as sentinel,
    ):
        monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{server.port}/0")
        monkeypatch.setenv("REDIS_CLUSTER_URL", f"redis://127.0.0.1:{cluster.nodes[0].port}")
        monkeypatch.setenv("SENTINEL_PORT", str(sentinel))
        yield


@pytest.mark.parametrize("name", [name for name in WITH_CODE if name not in SERVED])
def test_code_of_the_page_runs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a reader pastes works, and prints what the page shows."""
    monkeypatch.delenv("REDIS_URL", raising=False)
    run(name)


@pytest.mark.usefixtures("servers")
@pytest.mark.parametrize("name", SERVED)
def test_code_of_the_page_runs_on_servers(name: str) -> None:
    """The same for pages that talk to a server, a cluster and a sentinel."""
    run(name)


def test_the_pages_with_code_are_those_that_teach() -> None:
    """A fence that this test no longer recognises would silently stop being run."""
    assert {"README.md", "docs/tutorial/first-inbox.md", "docs/how-to/deploy.md"} <= {*WITH_CODE}
    assert sum(len(found) for found in PAGES.values()) >= 20
    for name, found in PAGES.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        assert len(re.findall(r"^\s*```py", text, re.MULTILINE)) == len(found), name


def test_blocks_know_what_they_print() -> None:
    """Only a text fence right behind a block is its output."""
    text = "```python\nprint(1)\n```\n\n```text\n1\n```\n\n```python\nx = 2\n```\n.\n```text\nno\n```\n"
    assert [(block.line, block.printed) for block in blocks(text)] == [(2, "1\n"), (10, None)]
