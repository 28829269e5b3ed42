"""The embedded world of a rehearsal: issuer, Sigstore, both indexes and proxy, in one loop on 127.0.0.1.

Owns starting and stopping them, and the one thread the loop runs in, so that stages (which are synchronous
and wait for programs) can be walked beside it.
"""

import asyncio
import datetime as dt
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pypi_attestations import Attestation

from release.indexes import INDEXES, IndexName
from release.publisher import PublisherFacts
from release.rehearsal import wire
from release.rehearsal.index import LoopbackIndex
from release.rehearsal.issuer import Issuer
from release.rehearsal.minting import Publisher
from release.rehearsal.proxy import Proxy
from release.rehearsal.sigstore import trust
from release.rehearsal.sigstore.authority import CertificateAuthority
from release.rehearsal.sigstore.log import TransparencyLog
from release.rehearsal.tls import Authority
from release.signing.check import attestation_problem, believing

__all__ = ["World", "now", "start"]


def now() -> dt.datetime:
    """The time, UTC."""
    return dt.datetime.now(dt.UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What runs."""

    folder: Path
    authority: Path
    """PEM file of the one certificate authority that clients may trust."""
    proxy_url: str
    proxy: Proxy
    issuer: Issuer
    trust: Path
    """The trust root that attestations are signed and checked with."""
    log: TransparencyLog
    indexes: Mapping[IndexName, LoopbackIndex]
    failures: list[BaseException] = field(default_factory=list[BaseException])
    """Defects of the world itself; a rehearsal with one has failed, whatever the clients made of it."""


@contextmanager
def start(
    folder: Path, facts: PublisherFacts, *, clock: Callable[[], dt.datetime] = now
) -> Generator[World, None, None]:
    """Start everything, with a pending publisher for the project on both indexes; stop it at the end.

    Args:
        folder: A scratch folder for the files of the indexes and the authority's certificate.
        facts: Who may publish.
        clock: The time that issuer and indexes live by.
    """
    folder.mkdir(parents=True, exist_ok=True)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="rehearsal-world", daemon=True)
    thread.start()
    servers: list[asyncio.Server] = []
    try:
        yield asyncio.run_coroutine_threadsafe(_start(folder, facts, clock, servers), loop).result()
    finally:
        asyncio.run_coroutine_threadsafe(_stop(servers), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _start(
    folder: Path, facts: PublisherFacts, clock: Callable[[], dt.datetime], servers: list[asyncio.Server]
) -> World:
    """Start each server and note it in `servers` at once, so that what did start is stopped in any case."""

    def port(server: asyncio.Server) -> int:
        servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    failures: list[BaseException] = []

    def failed(_: asyncio.AbstractEventLoop, about: dict[str, Any]) -> None:
        failures.append(about.get("exception") or RuntimeError(about["message"]))

    asyncio.get_running_loop().set_exception_handler(failed)
    authority = Authority()
    issuer = Issuer(facts, clock)
    issuer.base = f"http://127.0.0.1:{port(await wire.serve(issuer.handle))}"
    routes: dict[str, int] = {}
    certificates, log = CertificateAuthority(clock, lambda: issuer.keys), TransparencyLog(clock)
    for host, handle in ((trust.AUTHORITY_HOST, certificates.handle), (trust.LOG_HOST, log.handle)):
        routes[host] = port(await wire.serve(handle, authority.server([host])))
    trusted = trust.write(folder / "trust.json", certificates, log)
    indexes: dict[IndexName, LoopbackIndex] = {}
    for name, index in INDEXES.items():
        here = LoopbackIndex(index, folder=folder / name, clock=clock, keys=lambda: issuer.keys)
        here.publishers.append(_pending(facts, name))
        here.verifier = partial(_wrong, trusted)
        server = await wire.serve(here.handle, authority.server(index.hosts))
        routes |= dict.fromkeys(index.hosts, port(server))
        indexes[name] = here
    proxy = Proxy(routes)
    proxy_port = port(await proxy.start())
    return World(
        folder=folder,
        authority=authority.write(folder / "authority.pem"),
        proxy_url=f"http://127.0.0.1:{proxy_port}",
        proxy=proxy,
        issuer=issuer,
        trust=trusted,
        log=log,
        indexes=indexes,
        failures=failures,
    )


def _wrong(
    trusted: Path, attestation: Mapping[str, Any], publisher: Publisher, name: str, sha256: str
) -> str | None:
    """What an index finds wrong with an attestation; it does not know which commit is released."""
    try:
        read = Attestation.model_validate(attestation)
    except ValidationError as error:
        return f"is no attestation: {error.errors()[0]['msg']}"
    with believing(trusted):
        return attestation_problem(read, name, sha256, publisher.identity, claims={})


async def _stop(servers: Sequence[asyncio.Server]) -> None:
    """Close every server and end every connection's task of this loop."""
    for server in servers:
        server.close()
    own = asyncio.current_task()
    tasks = [task for task in asyncio.all_tasks() if task is not own]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _pending(facts: PublisherFacts, name: IndexName) -> Publisher:
    return Publisher(
        owner=facts.owner,
        owner_id=facts.owner_id,
        repository=facts.repository,
        workflow=facts.workflow,
        environment=facts.environments[name],
        project=facts.project,
        pending=True,
    )
