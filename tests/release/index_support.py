"""A small index in this process that serves what a test tells it to, right or wrong."""

import json
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from release.indexes import INDEXES, Index, IndexName
from release.model import Artifact
from release.rules.archives import digest_of

JSON = "application/vnd.pypi.simple.v1+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(slots=True)
class Served:
    """What is served, by path, and what was asked."""

    port: int
    answers: dict[str, Answer | Callable[[], Answer]] = field(default_factory=dict[str, Any])
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list[tuple[str, dict[str, str]]])

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def index(self) -> Index:
        """This server as PyPI."""
        return replace(INDEXES[IndexName.PYPI], simple_url=f"{self.root}/simple", files_host="127.0.0.1")

    def page(self, project: str, files: Sequence[Mapping[str, object]], **changes: object) -> None:
        """Serve a project's page."""
        page = {"meta": {"api-version": "1.4"}, "name": project, "files": list(files), **changes}
        self.answers[f"/simple/{project}/"] = Answer(body=json.dumps(page).encode())

    def files(self, project: str, files: Mapping[str, bytes], metadata: bytes | None = None) -> None:
        """Serve files, their page and (for wheels) their metadata, all as they should be."""
        listed: list[dict[str, object]] = []
        for name, data in files.items():
            self.answers[f"/files/{name}"] = Answer(body=data)
            listed.append(entry(name, data))
            if metadata is not None and name.endswith(".whl"):
                self.answers[f"/files/{name}.metadata"] = Answer(body=metadata)
                listed[-1]["core-metadata"] = {"sha256": digest_of(metadata)}
        self.page(project, listed)


def entry(name: str, data: bytes, **changes: object) -> dict[str, object]:
    """A file as a page lists it."""
    return {
        "filename": name,
        "url": f"../../files/{name}",
        "hashes": {"sha256": digest_of(data)},
        "size": len(data),
        **changes,
    }


def artifact(name: str, data: bytes) -> Artifact:
    """What a ledger says of a file."""
    return Artifact(name=name, size=len(data), sha256=digest_of(data))


@contextmanager
def serving() -> Generator[Served]:
    """Serve on a free loopback port until the block ends; what is not told is a 404."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append((self.path, dict(self.headers)))
            found = served.answers.get(self.path, Answer(status=404))
            answer = found() if callable(found) else found
            self.send_response(answer.status)
            headers = {"Content-Type": JSON, "Content-Length": str(len(answer.body)), **answer.headers}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            del format, args

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served = Served(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()
