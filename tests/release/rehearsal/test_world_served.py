"""The embedded world as any client meets it: who answers where, and what is left when it ends."""

import asyncio
import datetime as dt
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
import requests

from release.indexes import INDEXES, IndexName
from release.rehearsal import world
from release.rehearsal.environment import child_environment
from release.rehearsal.index import LoopbackIndex
from release.rehearsal.issuer import ISSUER
from release.rehearsal.minting import Publisher
from release.rehearsal.proxy import Proxy
from release.rehearsal.sigstore import trust
from release.rehearsal.world import World
from tests.release.rehearsal.support import FACTS

PYPI = INDEXES[IndexName.PYPI]
JSON = {"accept": "application/vnd.pypi.simple.v1+json"}
MADE = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world.start(tmp_path_factory.mktemp("world"), FACTS) as started:
        yield started
        assert started.failures == []


@pytest.fixture(scope="module")
def env(running: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("child")
    return child_environment(os.environ, folder=folder, authority=running.authority, proxy=running.proxy_url)


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)


def threads() -> set[threading.Thread]:
    """Those of every world that runs."""
    return {thread for thread in threading.enumerate() if thread.name == "rehearsal-world"}


def session(env: dict[str, str]) -> requests.Session:
    """A client that follows the children's environment and nothing of this process's."""
    client = requests.Session()
    client.trust_env = False
    client.proxies = {"https": env["HTTPS_PROXY"], "http": env["HTTP_PROXY"]}
    client.verify = env["REQUESTS_CA_BUNDLE"]
    return client


def test_a_world_stands_in_for_every_host_of_a_release(tmp_path: Path) -> None:
    """With a publisher waiting on both indexes, at the time it is told, in a folder of its own."""
    folder = tmp_path / "deep" / "world"
    with world.start(folder, FACTS, clock=lambda: MADE) as started:
        hosts = {host for index in INDEXES.values() for host in index.hosts}
        assert set(started.proxy.routes) == {trust.AUTHORITY_HOST, trust.LOG_HOST, *hosts}
        assert started.folder == folder
        assert started.authority == folder / "authority.pem"
        assert started.authority.read_bytes().startswith(b"-----BEGIN CERTIFICATE-----\n")
        assert started.trust == folder / "trust.json"
        assert started.trust.is_file()
        assert started.log.entries == []
        assert list(started.indexes) == list(INDEXES)
        for name, index in started.indexes.items():
            assert index.index == INDEXES[name]
            assert (folder / name).is_dir()
            assert index.publishers == [
                Publisher(
                    owner="Somebody",
                    owner_id="4711",
                    repository="demo-project",
                    workflow="release.yml",
                    environment=name.value,
                    project="demo-project",
                    pending=True,
                )
            ]
            assert index.token("demo-project").startswith("pypi-")
        job = started.issuer.job("pypi", ref="refs/tags/v1.0", sha="a" * 40)
        assert started.issuer.claims(job.token, "pypi")["iat"] == int(MADE.timestamp())
        assert started.failures == []


def test_a_world_lives_now_unless_it_is_told_another_time(running: World) -> None:
    """Its tokens would be refused as old or as not yet valid otherwise; one time for all of it."""
    before = int(world.now().timestamp())
    job = running.issuer.job("pypi", ref="refs/tags/v1.0", sha="a" * 40)
    issued = running.issuer.claims(job.token, "pypi")["iat"]
    assert issued in range(before, int(world.now().timestamp()) + 1)
    assert world.now().tzinfo is dt.UTC


def test_each_host_is_answered_for_by_its_own_server(tmp_path: Path) -> None:
    """Under its real name; the indexes do not know of each other's projects, and take the issuer's word."""
    with world.start(tmp_path / "world", FACTS) as started:
        env = child_environment(
            os.environ, folder=tmp_path / "child", authority=started.authority, proxy=started.proxy_url
        )
        with session(env) as client:
            for name, index in started.indexes.items():
                ask_index(client, started, name, index)
            said = {
                host: client.post(f"https://{host}/", timeout=PATIENCE_S).json()
                for host in (trust.AUTHORITY_HOST, trust.LOG_HOST)
            }
    assert said[trust.AUTHORITY_HOST] == {"code": 5, "message": "Not Found"}
    assert said[trust.LOG_HOST] == {"code": 404, "message": "not found"}
    assert started.failures == []


def ask_index(client: requests.Session, started: World, name: IndexName, index: LoopbackIndex) -> None:
    project = index.create(f"only-{name}").name
    for other, each in INDEXES.items():
        found = client.get(each.project_url(project), headers=JSON, timeout=PATIENCE_S)
        assert found.status_code == (200 if other == name else 404)
    answer = client.get(f"https://{index.index.files_host}/packages/x", timeout=PATIENCE_S)
    assert (answer.status_code, answer.text) == (404, "Not Found")
    job = started.issuer.job(FACTS.environments[name], ref="refs/tags/v1.0", sha="a" * 40)
    token = started.issuer.sign(started.issuer.claims(job.token, index.audience))
    url = f"https://{index.index.hosts[0]}/_/oidc/mint-token"
    minted = client.post(url, json={"token": token}, timeout=PATIENCE_S)
    assert (minted.status_code, minted.json()["success"]) == (200, True)


def test_a_world_runs_beside_and_ends_with_its_block(tmp_path: Path) -> None:
    """One thread, which keeps no program from ending; nothing of it is left behind."""
    others = threads()
    with world.start(tmp_path, FACTS) as started:
        (thread,) = threads() - others
        assert thread.daemon
    assert not thread.is_alive()
    for url in (started.proxy_url, started.issuer.base):
        with pytest.raises(ConnectionRefusedError):
            connected(port_of(url))


def test_what_did_start_is_stopped_when_the_rest_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failure reaches the caller; no server and no thread stays."""
    ports: list[int] = []

    async def fail(self: Proxy) -> asyncio.Server:
        ports.extend(self.routes.values())
        raise OSError("no port is free")

    monkeypatch.setattr(Proxy, "start", fail)
    others = threads()
    with pytest.raises(OSError, match="no port is free"), world.start(tmp_path, FACTS):
        pass
    assert threads() == others
    assert ports
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            connected(port)


def test_a_defect_without_an_exception_is_kept_in_words(tmp_path: Path) -> None:
    """The event loop tells of some in words only."""

    def clock() -> dt.datetime:
        asyncio.get_running_loop().call_exception_handler({"message": "a task was lost"})
        return MADE

    with world.start(tmp_path, FACTS, clock=clock) as started:
        pass
    assert {(type(failure), str(failure)) for failure in started.failures} == {
        (RuntimeError, "a task was lost")
    }


def test_proxy_refuses_and_lists_other_hosts(running: World, env: dict[str, str]) -> None:
    """Whatever needs the network during a rehearsal fails, and its host's name is kept for the report."""
    with session(env) as client:
        for url in ("https://elsewhere.invalid/x", f"https://{PYPI.hosts[1]}:8443/"):
            with pytest.raises(requests.exceptions.ProxyError):
                client.get(url, timeout=10)
        assert client.get("http://plain.invalid/y", timeout=10).status_code == 403
    assert running.proxy.refused["elsewhere.invalid"] == 1
    assert running.proxy.refused[f"{PYPI.hosts[1]}:8443"] == 1
    assert running.proxy.refused["plain.invalid"] == 1


def test_tls_is_trusted_only_through_the_rehearsals_authority(env: dict[str, str]) -> None:
    """A client with the machine's own authorities does not take the world for the real index."""
    with session(env) as client:
        client.verify = True
        with pytest.raises(requests.exceptions.SSLError):
            client.get(PYPI.project_url("demo-project"), headers=JSON, timeout=10)


def test_issuer_gives_tokens_to_its_jobs_only(running: World) -> None:
    """Who does not show the job's request token gets no ID token."""
    job = running.issuer.job("pypi", ref="refs/tags/v1.0", sha="a" * 40)
    asked = f"{job.url}&audience=pypi"
    with requests.Session() as client:
        client.trust_env = False
        stranger = client.get(asked, headers={"authorization": "bearer x"}, timeout=10)
        assert stranger.status_code == 401
        assert client.get(asked, headers={"authorization": f"bearer {job.token}"}, timeout=10).json()["value"]
        found = client.get(f"{running.issuer.base}/.well-known/openid-configuration", timeout=10).json()
        assert found["issuer"] == ISSUER
        (key,) = client.get(found["jwks_uri"], timeout=10).json()["keys"]
        assert (key["kid"], key["alg"]) == (next(iter(running.issuer.keys)), "RS256")
        assert client.get(f"{running.issuer.base}/elsewhere", timeout=10).status_code == 404
        plain = client.get(job.url, headers={"authorization": f"bearer {job.token}"}, timeout=10).json()[
            "value"
        ]
        claims = jwt.decode(plain, options={"verify_signature": False})
        assert claims["aud"] == "https://github.com/Somebody"


def test_clients_that_leave_do_no_harm(running: World) -> None:
    """A connection that says nothing, half a request, or half an upload is the client's own matter."""
    proxy, issuer = (int(url.rpartition(":")[2]) for url in (running.proxy_url, running.issuer.base))
    for port in (proxy, issuer):
        for said in (b"", b"POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf", b"\0\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
                client.sendall(said)
                client.shutdown(socket.SHUT_WR)
                while client.recv(1000):
                    pass
    assert running.failures == []


def test_a_defect_of_a_server_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler that fails cuts the connection, and the rehearsal hears of it."""
    with world.start(tmp_path, FACTS) as started:
        monkeypatch.setattr(started.issuer, "_jobs", None)
        asked = f"{started.issuer.base}/idtoken/1"
        with requests.Session() as client:
            client.trust_env = False
            with pytest.raises(requests.exceptions.ConnectionError):
                client.get(asked, headers={"authorization": "bearer x"}, timeout=10)
    (failure,) = started.failures
    assert isinstance(failure, TypeError)


def test_the_world_ends_while_a_client_keeps_its_connection(tmp_path: Path) -> None:
    """What still listens when the rehearsal is over is hung up on, and no task is left behind."""
    with world.start(tmp_path, FACTS) as started:
        client = connected(port_of(started.issuer.base))
        client.sendall(b"GET /elsewhere HTTP/1.1\r\nhost: x\r\n\r\n")
        said = b""
        while not said.endswith(b'{"message": "not found"}'):
            said += client.recv(1000)
    with client:
        assert client.recv(1000) == b""
    assert started.failures == []
